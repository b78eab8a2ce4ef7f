"""Content codings ``gzip`` and ``deflate`` (RFC 9110, 8.4.1) with a limit on what comes out."""

from __future__ import annotations

import asyncio
import gzip
import zlib

__all__ = ["ACCEPT_ENCODING", "BadCoding", "TooLong", "UnknownCoding", "codings", "compress", "decode", "decode_async"]

ACCEPT_ENCODING = "gzip, deflate"

_SLICE = 16 << 10
#: A gzip stream may have many members; each costs time however little it holds.
_MAX_MEMBERS = 4096
#: Above this, bytes, the work is done in a thread: the event loop must not stand still for it.
_THREAD_ABOVE = 128 << 10


class UnknownCoding(Exception):
    """A content coding other than gzip, deflate and identity; the text names it."""


class BadCoding(Exception):
    """Bytes that are not what their ``Content-Encoding`` says."""


class TooLong(Exception):
    """More bytes than the limit come out of the compressed ones."""


def codings(header: str) -> list[str]:
    """The codings of a ``Content-Encoding`` header in the order they were applied, ``identity`` left out.

    Raises :class:`UnknownCoding` for one that can't be undone here, and for more than two.
    """
    found: list[str] = []
    for part in header.lower().split(","):
        name = part.strip()
        if name in ("", "identity"):
            continue
        if name not in ("gzip", "x-gzip", "deflate"):
            raise UnknownCoding(name[:32])
        found.append("gzip" if name == "x-gzip" else name)
    if len(found) > 2:
        raise UnknownCoding(f"{len(found)} layers")
    return found


def decode(data: bytes, applied: list[str], limit: int) -> bytes:
    """Undo ``applied`` codings, last first; raises :class:`BadCoding` or :class:`TooLong`.

    Never holds more than ``limit`` bytes (plus one buffer) per layer.
    """
    for name in reversed(applied):
        data = _gunzip(data, limit) if name == "gzip" else _inflate(data, limit)
    return data


async def decode_async(data: bytes, applied: list[str], limit: int) -> bytes:
    """:func:`decode`, in a thread where it may take long."""
    if len(data) > _THREAD_ABOVE:
        return await asyncio.to_thread(decode, data, applied, limit)
    return decode(data, applied, limit)


async def compress(data: bytes) -> bytes:
    """gzip; the same bytes give the same bytes."""
    if len(data) > _THREAD_ABOVE:
        return await asyncio.to_thread(gzip.compress, data, 6, mtime=0)
    return gzip.compress(data, 6, mtime=0)


def _gunzip(data: bytes, limit: int) -> bytes:
    """Members one after the other (RFC 1952, 2.2), fed in slices so that a rest is never copied as a whole."""
    out: list[bytes] = []
    size = 0
    members = 0
    engine = None
    view = memoryview(data)
    for start in range(0, len(data), _SLICE):
        rest: bytes | memoryview = view[start : start + _SLICE]
        while rest:
            if engine is None:
                members += 1
                if members > _MAX_MEMBERS:
                    raise BadCoding("too many gzip members")
                engine = zlib.decompressobj(31)
            try:
                part = engine.decompress(rest, limit - size + 1)
            except zlib.error as error:
                raise BadCoding(str(error)) from None
            size += len(part)
            if size > limit:
                raise TooLong
            out.append(part)
            if engine.eof:
                rest = engine.unused_data
                engine = None
            else:
                rest = engine.unconsumed_tail
    if engine is not None or not members:
        raise BadCoding("the gzip stream ends early")
    return b"".join(out)


def _inflate(data: bytes, limit: int) -> bytes:
    """``deflate`` is zlib format (RFC 9110, 8.4.1.2); some senders leave its header away, which is accepted too."""
    zlib_header = len(data) >= 2 and data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
    engine = zlib.decompressobj(15 if zlib_header else -15)
    try:
        out = engine.decompress(data, limit + 1)
    except zlib.error as error:
        raise BadCoding(str(error)) from None
    if len(out) > limit:
        raise TooLong
    if not engine.eof or engine.unused_data:
        raise BadCoding("the deflate stream ends early" if not engine.eof else "bytes follow the deflate stream")
    return out
