"""Hubs of a test, as the kernel's tests have them."""

from __future__ import annotations

from tests.kernel.conftest import _english, site, start, without_indexer

__all__ = ["_english", "site", "start", "without_indexer"]
