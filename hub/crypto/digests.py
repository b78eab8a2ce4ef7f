"""SM3 by hashlib where Python's own OpenSSL has it, else by ``cryptography``, which brings an OpenSSL of its own."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

__all__ = ["Hash", "hmac_sm3", "sm3", "sm3_hash", "sm3_hex"]


class Hash(Protocol):
    """A running hash."""

    def update(self, data: bytes, /) -> None: ...
    def copy(self) -> Any: ...
    def digest(self) -> bytes: ...


class CryptographyHash:
    """SM3 of ``cryptography`` in hashlib's words."""

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


def _in_hashlib() -> bool:
    """Python's OpenSSL may be built without SM3, or be in a mode that forbids it."""
    try:
        hashlib.new("sm3", b"").digest()
    except ValueError:
        return False
    return True


_FAST = _in_hashlib()


def sm3_hash(data: bytes = b"") -> Hash:
    """A running SM3 (GB/T 32905-2016) that has absorbed ``data``."""
    return hashlib.new("sm3", data) if _FAST else CryptographyHash(data)


def sm3(data: bytes) -> bytes:
    """SM3 of some bytes, 32 bytes."""
    return sm3_hash(data).digest()


def sm3_hex(data: bytes) -> str:
    """SM3 of some bytes, 64 lower-case hex digits."""
    return sm3_hash(data).digest().hex()


def hmac_sm3(key: bytes, data: bytes) -> bytes:
    """HMAC with SM3 (RFC 2104), 32 bytes."""
    if _FAST:
        return hmac.digest(key, data, "sm3")
    running = HMAC(key, hashes.SM3())
    running.update(data)
    return running.finalize()
