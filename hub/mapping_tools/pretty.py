"""Outputs laid out for eyes. Only blanks and line ends are added: numbers keep their digits, texts their escapes."""

from __future__ import annotations

import json
import re

from hub.mapping.formats import kind_of_tree

__all__ = ["pretty"]

_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s"{}\[\],:]+')


def pretty(output: bytes, codec: str) -> bytes:
    """JSON indented, whatever codec wrote it; HL7 v2 with one line for each segment; anything else as it is."""
    if codec == "hl7v2":
        return output.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if kind_of_tree(codec) != "json" or output.lstrip()[:1] not in (b"{", b"["):
        return output
    try:
        text = output.decode("utf-8")
        documents = text.splitlines() if codec == "jsonl" else [text]
        for document in documents:
            json.loads(document)
    except (ValueError, RecursionError):
        return output
    return b"\n".join(_indented(document) for document in documents)


def _indented(document: str) -> bytes:
    parts: list[str] = []
    depth = 0
    before = ""
    for piece in _PIECE.findall(document):
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
