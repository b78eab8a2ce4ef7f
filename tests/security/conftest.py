"""Hubs of a test, as in the kernel's tests."""

from tests.kernel.conftest import _english, site, start, without_indexer

__all__ = ["_english", "site", "start", "without_indexer"]
