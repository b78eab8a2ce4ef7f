"""The elements and attributes of an XML Schema as rows of a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lxml import etree

from hub.codecs.xml_charset import to_utf8
from hub.codecs.xml_parse import parse
from hub.errors import CodecError
from hub.handbook.schema_fields import MAX_DEPTH, MAX_FILE, MAX_ROWS, FieldRow, Fields

__all__ = ["xsd_fields"]

_XS = "{http://www.w3.org/2001/XMLSchema}"
_GROUPS = frozenset(f"{_XS}{name}" for name in ("sequence", "choice", "all"))
_FACETS = (("minLength", "≥"), ("maxLength", "≤"), ("length", ""), ("minInclusive", "≥"), ("maxInclusive", "≤"))


def xsd_fields(path: Path) -> Fields:
    """What the schema says of its global elements; files it includes from beside it are read as well."""
    walk = _Walk()
    walk.read(path.resolve(), path.resolve().parent)
    for element in walk.roots:
        walk.found.rows += walk.element(element, "", 0)
    return walk.found


class _Walk:
    def __init__(self) -> None:
        self.found = Fields()
        self.roots: list[etree._Element] = []
        self._named: dict[tuple[str, str], etree._Element] = {}
        self._files: set[Path] = set()
        self._count = 0

    def read(self, path: Path, folder: Path) -> None:
        if path in self._files or len(self._files) >= 50 or not path.is_relative_to(folder) or not path.is_file():
            return
        first = not self._files
        self._files.add(path)
        if path.stat().st_size > MAX_FILE:
            return
        try:
            root = parse(to_utf8(path.read_bytes(), "").data)
        except CodecError:
            return
        for child in root:
            name = child.get("name")
            if child.tag in (f"{_XS}include", f"{_XS}import") and child.get("schemaLocation"):
                self.read((path.parent / str(child.get("schemaLocation"))).resolve(), folder)
            elif isinstance(child.tag, str) and name:
                self._named.setdefault((child.tag.removeprefix(_XS), name), child)
                if first and child.tag == f"{_XS}element":
                    self.roots.append(child)
        if first:
            self.found.title = _documented(root)

    def element(self, node: etree._Element, prefix: str, depth: int) -> Iterator[FieldRow]:
        if depth > MAX_DEPTH or self._count >= MAX_ROWS:
            return
        self._count += 1
        least, most = node.get("minOccurs", "1"), node.get("maxOccurs", "1")
        reference = node.get("ref")
        if reference:
            node = self._named.get(("element", reference.rpartition(":")[2]), node)
        name = node.get("name") or (reference or "").rpartition(":")[2]
        kind, body = self._type(node)
        path = f"{prefix}/{name}" if prefix else name
        limits, values = self._facets(body)
        yield FieldRow(
            path + ("[]" if most not in ("0", "1") else ""),
            kind=kind,
            limits=limits,
            required=least != "0",
            enum=values,
            description=_documented(node) or (_documented(body) if body is not None else ""),
        )
        if body is not None:
            yield from self._content(body, path, depth + 1)

    def _content(self, body: etree._Element, path: str, depth: int) -> Iterator[FieldRow]:
        if depth > MAX_DEPTH:
            return
        for child in body:
            if child.tag == f"{_XS}element":
                yield from self.element(child, path, depth)
            elif child.tag == f"{_XS}attribute" and child.get("name"):
                yield FieldRow(
                    f"{path}/@{child.get('name')}",
                    kind=(child.get("type") or "").rpartition(":")[2],
                    required=child.get("use") == "required",
                    description=_documented(child),
                )
            elif child.tag in _GROUPS or child.tag in (f"{_XS}complexContent", f"{_XS}simpleContent"):
                yield from self._content(child, path, depth)
            elif child.tag in (f"{_XS}extension", f"{_XS}restriction"):
                base = self._named.get(("complexType", (child.get("base") or "").rpartition(":")[2]))
                if base is not None and child.tag == f"{_XS}extension":
                    yield from self._content(base, path, depth + 1)
                yield from self._content(child, path, depth)
            elif child.tag == f"{_XS}group" and child.get("ref"):
                group = self._named.get(("group", str(child.get("ref")).rpartition(":")[2]))
                if group is not None:
                    yield from self._content(group, path, depth + 1)

    def _type(self, node: etree._Element) -> tuple[str, etree._Element | None]:
        name = (node.get("type") or "").rpartition(":")[2]
        for kind in ("complexType", "simpleType"):
            own = node.find(f"{_XS}{kind}")
            found = own if own is not None else self._named.get((kind, name)) if name else None
            if found is not None:
                return ("object" if kind == "complexType" else self._base(found) or name), found
        return name, None

    def _base(self, body: etree._Element) -> str:
        rule = body.find(f"{_XS}restriction")
        return (rule.get("base") or "").rpartition(":")[2] if rule is not None else ""

    def _facets(self, body: etree._Element | None) -> tuple[str, tuple[str, ...]]:
        rule = body.find(f"{_XS}restriction") if body is not None else None
        if rule is None:
            return "", ()
        limits = [f"{sign}{facet.get('value')}" for name, sign in _FACETS for facet in rule.findall(f"{_XS}{name}")]
        limits += [facet.get("value") or "" for facet in rule.findall(f"{_XS}pattern")]
        return " ".join(limits), tuple(one.get("value") or "" for one in rule.findall(f"{_XS}enumeration"))


def _documented(node: etree._Element) -> str:
    texts = [
        " ".join("".join(map(str, one.itertext())).split())
        for one in node.findall(f"{_XS}annotation/{_XS}documentation")
    ]
    return " ".join(text for text in texts if text)
