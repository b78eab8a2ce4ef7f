"""SM3 of ``cryptography``, which brings an OpenSSL of its own, in hashlib's words. Loaded only where Python's own has none: it takes 8 MB."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

__all__ = ["CryptographyHash", "hmac_of"]


class CryptographyHash:
    """A running SM3."""

    __slots__ = ("_hash",)

    def __init__(self, data: bytes = b"", *, running: hashes.Hash | None = None) -> None:
        self._hash = running or hashes.Hash(hashes.SM3())
        self._hash.update(data)

    def update(self, data: bytes, /) -> None:
        self._hash.update(data)

    def copy(self) -> CryptographyHash:
        return CryptographyHash(running=self._hash.copy())

    def digest(self) -> bytes:
        return self._hash.copy().finalize()


def hmac_of(key: bytes, data: bytes) -> bytes:
    """HMAC with SM3 (RFC 2104), 32 bytes."""
    running = HMAC(key, hashes.SM3())
    running.update(data)
    return running.finalize()
