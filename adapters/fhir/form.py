"""The form of an answer: JSON or XML, indented or not, by ``_format``, ``_pretty`` and ``Accept`` (FHIR R4, RESTful API, 3.1.0.1.11)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from lxml import etree

from adapters.http.problem import Refusal
from hub.codecs.fhir import FhirCodec, FhirFormat

__all__ = ["JSON_TYPES", "XML_TYPES", "Form", "Forms", "media_type", "utf8"]

JSON_TYPES = frozenset(("application/fhir+json", "application/json", "application/json+fhir", "text/json"))
XML_TYPES = frozenset(("application/fhir+xml", "application/xml", "application/xml+fhir", "text/xml"))
_SHORT = {"json": "json", "xml": "xml"} | dict.fromkeys(JSON_TYPES, "json") | dict.fromkeys(XML_TYPES, "xml")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_MOST_REMEMBERED = 256
_UTF8 = ("", "utf-8", "utf8")


def media_type(header: str) -> tuple[str, str]:
    """(type, charset) of a ``Content-Type``, in lower case."""
    kind, *parameters = header.lower().split(";")
    charset = ""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset":
            charset = value.strip().strip('"')
    return kind.strip(), charset


@dataclass(frozen=True, slots=True)
class Form:
    """Writes the answers to one request."""

    codec: FhirCodec
    pretty: bool = False

    @property
    def content_type(self) -> str:
        return f"{self.codec.content_type}; charset=utf-8"

    def write(self, tree: Any) -> bytes:
        """Raises :class:`~hub.api.CodecError` for what can't be written."""
        data = self.codec.encode(tree)
        if not self.pretty:
            return data
        if data.startswith(b"<"):
            return _indented_xml(data)
        return _indented_json(data.decode()).encode()


class Forms:
    """The forms of one version of FHIR. ``default``: where the request wants none."""

    def __init__(self, version: Literal["R4", "R4B", "R5"], default: Literal["json", "xml"]) -> None:
        self._codecs: dict[str, FhirCodec] = {
            "json": FhirCodec(FhirFormat(version=version)),
            "xml": FhirCodec().configured(FhirFormat(version=version, write="xml")),
        }
        self._default = default
        self._chosen: dict[tuple[str, str], str] = {}  # most callers send the same again and again
        self.fallback = Form(self._codecs[default])

    def of(self, query: Iterable[tuple[str, str]], accept: str, content_type: str) -> Form:
        """Raises :class:`Refusal` (406) where the request wants neither JSON nor XML."""
        wanted = ""
        pretty = False
        for name, value in query:
            if name == "_format":
                # A + that was not encoded has become a blank.
                wanted = media_type(value)[0].replace(" ", "+")
                if wanted not in _SHORT:
                    raise _not_acceptable()
            elif name == "_pretty":
                pretty = value == "true"
        if wanted:
            return Form(self._codecs[_SHORT[wanted]], pretty)
        kind = self._chosen.get((accept, content_type), "")
        if not kind:
            kind = self._accepted(accept, media_type(content_type)[0])
            if len(self._chosen) >= _MOST_REMEMBERED:
                self._chosen.clear()
            self._chosen[accept, content_type] = kind
        return Form(self._codecs[kind], pretty)

    def _accepted(self, accept: str, sent: str) -> str:
        usual = _SHORT.get(sent, self._default)
        best, chosen = 0.0, ""
        for part in accept[:1024].lower().split(","):
            kind, *parameters = (piece.strip() for piece in part.split(";"))
            weight = 1.0
            for parameter in parameters:
                name, _, value = parameter.partition("=")
                if name.strip() == "q":
                    try:
                        weight = float(value)
                    except ValueError:
                        weight = 0.0
            found = usual if kind in ("*/*", "application/*", "") else _SHORT.get(kind, "")
            if found and best < weight <= 1.0:
                best, chosen = weight, found
        if not chosen:
            raise _not_acceptable()
        return chosen


def _not_acceptable() -> Refusal:
    return Refusal(
        406,
        "fhir.accept",
        (
            "answers are application/fhir+json or application/fhir+xml",
            "应答只能是 application/fhir+json 或 application/fhir+xml",
        ),
        ("name one of them in Accept or _format", "请在 Accept 或 _format 中指定其一"),
    )


def utf8(charset: str) -> bool:
    """Whether a charset is the only one FHIR knows."""
    return charset in _UTF8


def _indented_json(text: str) -> str:
    """The same tokens with line ends and blanks between them: numbers stay digit for digit as they are."""
    out: list[str] = []
    depth = 0
    pieces = _TOKEN.findall(text)
    for at, piece in enumerate(pieces):
        if piece in "{[":
            out.append(piece)
            if pieces[at + 1] not in "}]":
                depth += 1
                out.append("\n" + "  " * depth)
        elif piece in "}]":
            if pieces[at - 1] not in "{[":
                depth -= 1
                out.append("\n" + "  " * depth)
            out.append(piece)
        elif piece == ",":
            out.append(",\n" + "  " * depth)
        elif piece == ":":
            out.append(": ")
        else:
            out.append(piece)
    return "".join(out)


def _indented_xml(data: bytes) -> bytes:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    return etree.tostring(etree.fromstring(data, parser), encoding="UTF-8", xml_declaration=True, pretty_print=True)
