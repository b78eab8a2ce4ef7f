"""Templates of the texts that are signed: ``{method}\\n{path}\\n{timestamp}\\n{body|sha256|hex}``.

Compiled once, run for each call over bytes. They reach the call and the values the scheme declares, nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from urllib.parse import quote

from hub.crypto.classic import DigestName, digest
from hub.security.places import Encoding, Place, encode, form_pairs
from hub.security.wire import Wire

__all__ = ["Template", "filtered"]

Values = Mapping[str, bytes]
_Piece = Callable[[Wire, Values], bytes]

_FIELD = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_DIGESTS: tuple[DigestName, ...] = ("md5", "sha1", "sha256", "sha384", "sha512", "sm3")
_ENCODINGS: tuple[Encoding, ...] = ("hex", "HEX", "base64", "base64url")
_CALL = ("method", "host", "target", "path", "query", "status", "body")


def _query_sorted(wire: Wire) -> bytes:
    """The query with its parameters in the order of their names and then values, percent-encoded as they came."""
    parts = wire.query.split("&") if wire.query else []
    return "&".join(sorted(parts)).encode("utf-8", "surrogateescape")


class Template:
    """A text with ``{name|filter|filter}`` in it; ``{{`` and ``}}`` stand for braces.

    Names: ``method``, ``host``, ``target``, ``path``, ``query``, ``query_sorted``, ``status``, ``body``, ``header.NAME``,
    ``query.NAME``, ``field.PATH``, of a reply ``asked.NAME`` (a header of the request it answers), and the values the scheme
    declares. Filters: ``md5 sha1 sha256 sha384 sha512 sm3`` (bytes),
    ``hex HEX base64 base64url`` (text), ``upper lower url`` (percent-encoded), ``strip``.
    """

    def __init__(self, text: str, values: Collection[str]) -> None:
        """``values``: names the scheme gives. Raises ``ValueError`` naming what is unknown."""
        self.names: set[str] = set()
        pieces: list[_Piece] = []
        last = 0
        for found in _FIELD.finditer(text):
            if found.start() > last:
                pieces.append(_literal(text[last : found.start()]))
            last = found.end()
            if found[0] in ("{{", "}}"):
                pieces.append(_literal(found[0][0]))
            elif found[1] is None:
                raise ValueError(f"a lone {found[0]} in {text!r}: write {found[0] * 2} for the character itself")
            else:
                pieces.append(self._piece(found[1], values))
        if last < len(text):
            pieces.append(_literal(text[last:]))
        self._pieces = tuple(pieces)

    def fill(self, wire: Wire, values: Values) -> bytes:
        """The text for one call. Raises :class:`hub.errors.HubError` for a body that has not the fields asked for."""
        return b"".join([piece(wire, values) for piece in self._pieces])

    def _piece(self, written: str, values: Collection[str]) -> _Piece:
        name, *filters = (part.strip() for part in written.split("|"))
        piece = self._source(name, values)
        for each in filters:
            piece = _filtered(piece, each)
        return piece

    def _source(self, name: str, values: Collection[str]) -> _Piece:
        self.names.add(name)
        if name in values:
            return lambda _, given: given[name]
        if name == "body":
            return lambda wire, _: wire.body
        if name == "query_sorted":
            return lambda wire, _: _query_sorted(wire)
        if name in _CALL:
            return lambda wire, _: str(getattr(wire, name)).encode("utf-8", "surrogateescape")
        kind, dot, rest = name.partition(".")
        if dot and rest:
            if kind == "header":
                header = rest.lower()
                return lambda wire, _: wire.headers.get(header, "").encode("utf-8", "surrogateescape")
            if kind == "asked":
                header = rest.lower()
                return lambda wire, _: wire.asked.get(header, "").encode("utf-8", "surrogateescape")
            if kind == "query":
                return lambda wire, _: dict(form_pairs(wire.query)).get(rest, "").encode("utf-8", "surrogateescape")
            if kind == "field":
                place = Place(field=rest)
                return lambda wire, _: place.read(wire).encode("utf-8", "surrogateescape")
        places = ("query_sorted", "header.NAME", "query.NAME", "field.PATH", "asked.NAME")
        known = ", ".join([*_CALL, *places, *sorted(values)])
        raise ValueError(f"unknown name {{{name}}}; known: {known}")


def _literal(text: str) -> _Piece:
    data = text.encode()
    return lambda wire, values: data


def filtered(name: str) -> Callable[[bytes], bytes]:
    """What a filter does. Raises ``ValueError`` for an unknown one."""
    for algorithm in _DIGESTS:
        if name == algorithm:
            return lambda data: digest(algorithm, data)
    for encoding in _ENCODINGS:
        if name == encoding:
            return lambda data: encode(data, encoding).encode()
    plain: dict[str, Callable[[bytes], bytes]] = {
        "upper": bytes.upper,
        "lower": bytes.lower,
        "strip": bytes.strip,
        "url": lambda data: quote(data, safe="").encode(),
    }
    if name in plain:
        return plain[name]
    raise ValueError(f"unknown filter {name!r}; known: {', '.join([*_DIGESTS, *_ENCODINGS, *plain])}")


def _filtered(piece: _Piece, name: str) -> _Piece:
    change = filtered(name)
    return lambda wire, values: change(piece(wire, values))
