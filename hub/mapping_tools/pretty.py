"""Outputs laid out for eyes. Only blanks and line ends are added: numbers keep their digits, texts their escapes."""

from __future__ import annotations

import re

__all__ = ["pretty"]

_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s"{}\[\],:]+')


def pretty(output: bytes, codec: str) -> bytes:
    """JSON indented, HL7 v2 with one line for each segment; anything else as it is."""
    if codec == "hl7v2":
        return output.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if codec != "json":
        return output
    parts: list[str] = []
    depth = 0
    before = ""
    for piece in _PIECE.findall(output.decode("utf-8")):
        if piece in "}]":
            depth -= 1
            if before not in "{[":
                parts.append("\n" + "  " * depth)
        elif before and before in "{[":
            parts.append("\n" + "  " * depth)
        parts.append(piece)
        if piece in "{[":
            depth += 1
        elif piece == ",":
            parts.append("\n" + "  " * depth)
        elif piece == ":":
            parts.append(" ")
        before = piece
    return "".join(parts).encode("utf-8")
