"""Frames of STOMP 1.2 (stomp.github.io, specification 1.2): bytes to frames and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["BadFrame", "Frame", "FrameReader", "encode"]

_MOST_HEADERS = 256
_LONGEST_HEAD = 64 << 10
_ESCAPED = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", ":": "\\c"}
_PLAIN = {"\\\\": "\\", "\\n": "\n", "\\r": "\r", "\\c": ":"}
_TO_ESCAPE = re.compile(r"[\\\n\r:]")
_ESCAPE = re.compile(r"\\(?:[\\nrc]|.|$)", re.DOTALL)
#: Frames whose headers are not escaped, so that clients of 1.0 can read them.
_UNESCAPED = frozenset(("CONNECT", "CONNECTED"))


class BadFrame(Exception):
    """What came is not STOMP, or more than is allowed; the text never quotes it."""


@dataclass(slots=True)
class Frame:
    command: str
    headers: dict[str, str]  # of repeated headers the first, as the specification says
    body: bytes = b""


def encode(command: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """A frame; ``content-length`` is the caller's decision and must be right where the body has a NUL."""
    lines = [command]
    if command in _UNESCAPED:
        for name, value in headers.items():
            if "\n" in name + value or "\r" in name + value or ":" in name:
                raise ValueError(f"header {name} can't be written in a {command} frame")
            lines.append(f"{name}:{value}")
    else:
        lines += [f"{_escape(name)}:{_escape(value)}" for name, value in headers.items()]
    return "\n".join(lines).encode() + b"\n\n" + body + b"\0"


class FrameReader:
    """Takes bytes as they come, gives frames as they are complete."""

    def __init__(self, limit: int) -> None:
        """``limit``: largest body, bytes."""
        self._limit = limit
        self._buffer = bytearray()
        self._at = 0  # what is before it has been looked through for the end of the head
        self._head: tuple[str, dict[str, str], int, int | None] | None = None  # with start and length of the body
        self._searched = 0

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> Frame | None:
        """The next complete frame, or None; raises :class:`BadFrame`, after which the connection is of no more use."""
        if self._head is None and not self._read_head():
            return None
        assert self._head is not None  # noqa: S101
        command, headers, start, length = self._head
        buffer = self._buffer
        if length is not None:
            end = start + length
            if len(buffer) <= end:
                return None
            if buffer[end]:
                raise BadFrame("the body does not end where content-length says")
        else:
            end = buffer.find(0, max(start, self._searched))
            if end < 0:
                self._searched = len(buffer)
                if len(buffer) - start > self._limit:
                    raise BadFrame(f"a body of more than {self._limit} bytes")
                return None
            if end - start > self._limit:
                raise BadFrame(f"a body of more than {self._limit} bytes")
        body = bytes(buffer[start:end])
        del buffer[: end + 1]
        self._head = None
        self._at = self._searched = 0
        return Frame(command, headers, body)

    def _read_head(self) -> bool:
        buffer = self._buffer
        skip = 0
        while skip < len(buffer) and buffer[skip] in (10, 13):  # heart-beats and line ends between frames
            skip += 1
        if skip:
            del buffer[:skip]
            self._at = 0
        end, blank = self._end_of_head()
        if end < 0:
            if len(buffer) > _LONGEST_HEAD:
                raise BadFrame("the headers are too long")
            self._at = max(0, len(buffer) - 3)
            return False
        if end > _LONGEST_HEAD:
            raise BadFrame("the headers are too long")
        try:
            lines = buffer[:end].decode("utf-8").split("\n")
        except UnicodeDecodeError:
            raise BadFrame("the headers are not UTF-8") from None
        lines = [line.removesuffix("\r") for line in lines]
        command = lines[0]
        if len(lines) - 1 > _MOST_HEADERS:
            raise BadFrame("too many headers")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or not name:
                raise BadFrame("a header without a name or a value")
            if command not in _UNESCAPED:
                name, value = _unescape(name), _unescape(value)
            headers.setdefault(name, value)
        length: int | None = None
        told = headers.get("content-length")
        if told is not None:
            told = told.strip()
            if not (told.isascii() and told.isdigit() and len(told) < 16):
                raise BadFrame("content-length is not a number")
            length = int(told)
            if length > self._limit:
                raise BadFrame(f"a body of more than {self._limit} bytes")
        self._head = command, headers, end + blank, length
        self._searched = 0
        return True

    def _end_of_head(self) -> tuple[int, int]:
        """Where the empty line begins, counted from the line end before it, and how long both are; (-1, 0): not yet."""
        plain = self._buffer.find(b"\n\n", self._at)
        mixed = self._buffer.find(b"\n\r\n", self._at)
        if plain >= 0 and (mixed < 0 or plain < mixed):
            return plain, 2
        return (mixed, 3) if mixed >= 0 else (-1, 0)


def _escape(text: str) -> str:
    return _TO_ESCAPE.sub(lambda found: _ESCAPED[found[0]], text)


def _unescape(text: str) -> str:
    def plain(found: re.Match[str]) -> str:
        char = _PLAIN.get(found[0])
        if char is None:
            raise BadFrame("an escape that does not exist")
        return char

    return _ESCAPE.sub(plain, text) if "\\" in text else text
