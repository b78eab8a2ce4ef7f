"""Paddings of block ciphers of 16 bytes: ``pkcs7`` (RFC 5652, 6.3), ``zero`` and ``none``."""

from __future__ import annotations

from typing import Literal

from cryptography.hazmat.primitives.padding import PKCS7

from hub.crypto.errors import CryptoError, cannot_decrypt
from hub.i18n import t

__all__ = ["BLOCK", "PADDINGS", "Padding", "pad", "unpad"]

Padding = Literal["pkcs7", "zero", "none"]
PADDINGS = ("pkcs7", "zero", "none")
BLOCK = 16

_PKCS7 = PKCS7(BLOCK * 8)


def pad(data: bytes, kind: Padding) -> bytes:
    """Whole blocks. ``zero`` adds nothing to data that are whole blocks, ``none`` refuses all others."""
    missing = -len(data) % BLOCK
    if kind == "pkcs7":
        missing = missing or BLOCK
        return data + bytes((missing,)) * missing
    if kind == "zero":
        return data + bytes(missing) if missing else data
    if missing:
        raise CryptoError(
            t("without padding the data must be whole blocks of 16 bytes", "无填充时数据须为 16 字节的整数倍"),
            code="crypto.option",
        )
    return data


def unpad(data: bytes, kind: Padding) -> bytes:
    """The data without their padding; ``zero`` cuts all zeros at the end.

    Raises the one error of all failed decryptions, in a time that does not depend on where a forged padding is wrong.
    """
    if kind == "zero":
        return data.rstrip(b"\0")
    if kind == "none":
        return data
    unpadder = _PKCS7.unpadder()
    try:
        return unpadder.update(data) + unpadder.finalize()
    except ValueError:
        raise cannot_decrypt() from None
