"""Codes of an authenticator application: TOTP (RFC 6238) over HOTP (RFC 4226), SHA-1, six digits, 30 seconds, as all of them do it."""

from __future__ import annotations

import base64
import hmac
from urllib.parse import quote

__all__ = ["STEP_S", "code_at", "matching_step", "uri"]

STEP_S = 30
DIGITS = 6


def hotp(secret: bytes, counter: int, digits: int = DIGITS, digest: str = "sha1") -> str:
    """RFC 4226, 5.3."""
    mac = hmac.digest(secret, counter.to_bytes(8, "big"), digest)
    at = mac[-1] & 15
    number = int.from_bytes(mac[at : at + 4], "big") & 0x7FFFFFFF
    return str(number % 10**digits).zfill(digits)


def code_at(secret: bytes, now: float, digits: int = DIGITS, digest: str = "sha1") -> str:
    """The code at a Unix time."""
    return hotp(secret, int(now) // STEP_S, digits, digest)


def matching_step(secret: bytes, code: str, now: float, after: int, drift: int = 1) -> int:
    """The step a code belongs to, 0 for none. Only steps later than ``after``: a code that was used is never taken again (RFC 6238, 5.2)."""
    step = int(now) // STEP_S
    found = 0
    given = code.encode("utf-8", "surrogatepass")
    for each in range(step - drift, step + drift + 1):
        if hmac.compare_digest(hotp(secret, each).encode(), given) and each > after:
            found = each
    return found


def uri(secret: bytes, user: str, issuer: str) -> str:
    """What the application reads from a QR code."""
    text = base64.b32encode(secret).decode().rstrip("=")
    label = f"{quote(issuer, safe='')}:{quote(user, safe='')}"
    return f"otpauth://totp/{label}?secret={text}&issuer={quote(issuer, safe='')}&algorithm=SHA1&digits=6&period=30"
