"""SM3 by hashlib where Python's own OpenSSL has it, else by ``cryptography`` (:mod:`hub.crypto.digests_slow`)."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Protocol

__all__ = ["Hash", "hmac_sm3", "sm3", "sm3_hash", "sm3_hex"]


class Hash(Protocol):
    """A running hash."""

    def update(self, data: bytes, /) -> None: ...
    def copy(self) -> Any: ...
    def digest(self) -> bytes: ...


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
    if _FAST:
        return hashlib.new("sm3", data)
    from hub.crypto.digests_slow import CryptographyHash

    return CryptographyHash(data)


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
    from hub.crypto.digests_slow import hmac_of

    return hmac_of(key, data)
