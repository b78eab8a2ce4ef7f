"""Whether the fields of a schema say where they are from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from lxml import etree

from hub.validators.schema_files import SchemaFiles, UnreadableError, name_of
from hub.verify.citations import Citations

__all__ = ["uncited_fields"]

#: What people read in a JSON schema (Validation 9.1, Core 8.3), and what others add for this.
_TEXTS = ("title", "description", "$comment", "x-source", "source")
#: Where the fields of the same thing stand; ``if`` and ``not`` declare none.
_SAME = ("allOf", "anyOf", "oneOf", "prefixItems")
_SAME_ONE = ("items", "then", "else", "additionalProperties", "additionalItems")
_SAME_NAMED = ("dependentSchemas",)
_FIELDS = ("properties", "patternProperties")
_XSD = "{http://www.w3.org/2001/XMLSchema}"


def uncited_fields(name: str, files: SchemaFiles, citations: Citations) -> list[str] | None:
    """The fields of a schema for which neither they nor what they are in cite a source; None where the schema can't be read.

    A field is what has no fields below it. It may be declared in several places, of which one is enough; what a reference leads to,
    and the whole file that stands in, cite for it as well.
    """
    walk = _Xsd if name.lower().endswith((".xsd", ".wsdl")) else _Json
    try:
        found = walk(files, citations).fields(name)
    except (UnreadableError, ValueError, etree.XMLSyntaxError):
        return None
    groups = {path[:length] for path in found for length in range(len(path))}
    return [".".join(path) or "*" for path, cited in found.items() if not cited and path not in groups]


class _Json:
    def __init__(self, files: SchemaFiles, citations: Citations) -> None:
        self._files = files
        self._citations = citations
        self._documents: dict[str, Any] = {}
        self._found: dict[tuple[str, ...], bool] = {}

    def fields(self, name: str) -> dict[tuple[str, ...], bool]:
        file, _, pointer = name.partition("#")
        node = self._at(file, pointer)
        self._walk(node, file, (), self._cites(self._document(file)) or self._cites(node), ())
        return self._found

    def _document(self, file: str) -> Any:
        if file not in self._documents:
            self._documents[file] = json.loads(self._files.read(file)[1])
        return self._documents[file]

    def _at(self, file: str, pointer: str) -> Any:
        """What a JSON pointer (RFC 6901) leads to; raises ``ValueError``."""
        node = self._document(file)
        for part in pointer.split("/")[1:]:
            part = part.replace("~1", "/").replace("~0", "~")
            try:
                node = node[int(part)] if isinstance(node, list) else node[part]
            except (KeyError, IndexError, TypeError) as error:
                raise ValueError(pointer) from error
        return node

    def _cites(self, node: Any) -> bool:
        return isinstance(node, Mapping) and self._citations.cites(*(node.get(key) for key in _TEXTS))

    def _walk(self, node: Any, file: str, path: tuple[str, ...], cited: bool, followed: tuple[str, ...]) -> None:
        """``cited``: by this or what it is in; ``followed``: the references that led here."""
        self._found[path] = self._found.get(path, False) or cited
        if not isinstance(node, Mapping):
            return
        if isinstance(reference := node.get("$ref"), str):
            self._follow(reference, file, path, cited, followed)
        for key in _FIELDS:
            for name, below in _named(node.get(key)):
                self._walk(below, file, (*path, name), cited or self._cites(below), followed)
        for below in _alike(node):
            self._walk(below, file, path, cited or self._cites(below), followed)

    def _follow(self, reference: str, file: str, path: tuple[str, ...], cited: bool, followed: tuple[str, ...]) -> None:
        target, _, pointer = reference.partition("#")
        if target:
            file = name_of(target, file)
            cited = cited or self._cites(self._document(file))
        if pointer and not pointer.startswith("/"):
            raise ValueError(reference)  # an anchor: none of ours has one
        step = f"{file}#{pointer}"
        if step in followed:
            self._found[path] = True  # what contains itself has no new fields the second time
            return
        node = self._at(file, pointer)
        self._walk(node, file, path, cited or self._cites(node), (*followed, step))


def _named(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        yield from node.items()


def _alike(node: Mapping[str, Any]) -> Iterator[Any]:
    for key in _SAME:
        if isinstance(below := node.get(key), list):
            yield from below
    for key in _SAME_ONE:
        if isinstance(below := node.get(key), Mapping):
            yield below
    for key in _SAME_NAMED:
        yield from (below for _, below in _named(node.get(key)))


class _Xsd:
    """Elements and attributes by their names; what is in a named type is cited by the type, or by the whole schema."""

    def __init__(self, files: SchemaFiles, citations: Citations) -> None:
        self._files = files
        self._citations = citations

    def fields(self, name: str) -> dict[tuple[str, ...], bool]:
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, remove_comments=False)
        root = etree.fromstring(self._files.read(name)[1], parser)
        found: dict[tuple[str, ...], bool] = {}
        for node in root.iter(f"{_XSD}element", f"{_XSD}attribute"):
            if node.get("name") is None:
                continue
            around = [node, *node.iterancestors()]
            path = tuple(str(one.get("name")) for one in reversed(around) if one.get("name") is not None)
            found[path] = found.get(path, False) or any(map(self._cites, around))
        return found or {(): self._cites(root)}

    def _cites(self, node: Any) -> bool:
        notes = node.findall(f"{_XSD}annotation/{_XSD}documentation")
        return self._citations.cites(*("".join(note.itertext()) for note in notes))
