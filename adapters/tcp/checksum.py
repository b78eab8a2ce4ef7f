"""Checksums of frames: what serial lines and devices use."""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Checksum", "checksum_bytes", "checksum_size"]


class Checksum(BaseModel):
    """``checksum`` of a framing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["xor", "sum", "crc16_modbus", "crc16_arc", "crc16_ccitt", "crc16_xmodem"] = Field(
        description="xor: of all bytes; sum: modulo 256; crc16_modbus, crc16_arc: polynomial 0x8005 reflected, begin FFFF, 0; "
        "crc16_ccitt, crc16_xmodem: polynomial 0x1021, begin FFFF, 0"
    )
    form: Literal["binary", "hex"] = Field("binary", description="bytes, or hexadecimal digits (two for each byte)")
    order: Literal["big", "little"] = Field("big", description="which byte of a crc16 comes first")
    covers: Literal["body", "frame"] = Field(
        "body",
        description="body: the message alone; frame: everything from the first byte of the frame to the checksum",
    )


def _xor(data: bytes) -> int:
    # The digits of one large number folded: much faster than a loop, and the order of bytes does not matter.
    value = int.from_bytes(data, "big")
    bits = (max(len(data), 1) - 1).bit_length()
    for step in reversed(range(bits)):
        width = 8 << step
        value = (value >> width) ^ (value & ((1 << width) - 1))
    return value


def _reflected(data: bytes, value: int) -> int:
    for byte in data:
        value = (value >> 8) ^ _TABLE_8005[(value ^ byte) & 0xFF]
    return value


def _entry(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ 0xA001 if value & 1 else value >> 1
    return value


_TABLE_8005 = tuple(map(_entry, range(256)))

_KINDS: dict[str, tuple[int, Callable[[bytes], int]]] = {
    "xor": (1, _xor),
    "sum": (1, lambda data: sum(data) & 0xFF),
    "crc16_modbus": (2, lambda data: _reflected(data, 0xFFFF)),
    "crc16_arc": (2, lambda data: _reflected(data, 0)),
    "crc16_ccitt": (2, lambda data: crc_hqx(data, 0xFFFF)),
    "crc16_xmodem": (2, lambda data: crc_hqx(data, 0)),
}


def checksum_size(options: Checksum) -> int:
    """Bytes it takes in a frame."""
    return _KINDS[options.kind][0] * (2 if options.form == "hex" else 1)


def checksum_bytes(options: Checksum, data: bytes) -> bytes:
    """As it stands in the frame; hexadecimal digits in capitals."""
    size, compute = _KINDS[options.kind]
    value = compute(data).to_bytes(size, options.order)
    return value.hex().upper().encode("ascii") if options.form == "hex" else value
