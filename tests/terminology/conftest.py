"""The fixtures of the kernel's tests, for hubs with an admin API."""

from tests.kernel.conftest import _english, site, start, without_indexer

__all__ = ["_english", "site", "start", "without_indexer"]
