"""Data keys for tests: made on the spot, kept in memory."""

from __future__ import annotations

import hashlib

from hub.keys import KeyUnavailable

__all__ = ["LocalKeys"]


class LocalKeys:
    """As many versions as are asked for; ``lost`` ones can't be had."""

    def __init__(self, seed: str = "one") -> None:
        self._seed = seed
        self.version = 1
        self.lost: set[int] = set()

    def current(self) -> tuple[int, bytes]:
        return self.version, self.get(self.version)

    def get(self, version: int) -> bytes:
        if version in self.lost or not 1 <= version <= self.version:
            raise KeyUnavailable(f"version {version} is not there")
        return hashlib.sha256(f"{self._seed} {version}".encode()).digest()
