"""The fields of a JSON Schema as rows of a table: path, type, length, whether required, codes, meaning, source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

__all__ = ["Condition", "FieldRow", "Fields", "SchemaFiles", "json_fields"]

#: Most rows of one schema, deepest nesting, largest file in bytes: schemas are files of others.
MAX_ROWS, MAX_DEPTH, MAX_FILE = 4000, 12, 4 << 20


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field. ``kind`` and ``limits`` are words of the schema; ``enum`` the values allowed, ``table`` a code table."""

    path: str
    title: str = ""
    kind: str = ""
    limits: str = ""
    required: bool = False
    enum: tuple[str, ...] = ()
    table: str = ""
    description: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """When some rows hold: the field has one of these values."""

    path: str
    values: tuple[str, ...]
    title: str = ""  # of the schema that then holds


@dataclass(slots=True)
class Fields:
    """``groups`` hold only under their condition; ``sources`` are what the schemas themselves cite."""

    title: str = ""
    description: str = ""
    sources: list[str] = field(default_factory=list)
    rows: list[FieldRow] = field(default_factory=list)
    groups: list[tuple[Condition, list[FieldRow]]] = field(default_factory=list)


class SchemaFiles:
    """Schema files below some folders, each read once. What can't be read counts as a schema that says nothing."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = [folder.resolve() for folder in folders]
        self._read: dict[Path, Any] = {}
        self.fields: dict[Path, Fields] = {}  # what :func:`json_fields` has found

    def find(self, name: str) -> Path | None:
        """The file a contract names; None where there is none below the folders."""
        for folder in self._folders:
            path = (folder / name).resolve()
            if path.is_relative_to(folder) and path.is_file():
                return path
        return None

    def name(self, path: Path) -> str:
        """How a contract names the file."""
        for folder in self._folders:
            if path.is_relative_to(folder):
                return path.relative_to(folder).as_posix()
        return path.name

    def load(self, path: Path) -> Any:
        if path not in self._read:
            tree: Any = {}
            try:
                if path.stat().st_size <= MAX_FILE:
                    tree = orjson.loads(path.read_bytes())
            except (OSError, orjson.JSONDecodeError):
                tree = {}
            self._read[path] = tree
        return self._read[path]

    def follow(self, path: Path, reference: str) -> tuple[Path, Any] | None:
        """What ``$ref`` in a file means; None for what is not there or outside the folders."""
        file, _, pointer = reference.partition("#")
        target = path
        if file:
            target = (path.parent / file).resolve()
            if not any(target.is_relative_to(folder) for folder in self._folders) or not target.is_file():
                return None
        node = self.load(target)
        for part in pointer.strip("/").split("/") if pointer.strip("/") else ():
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(node, Mapping) and key in node:
                node = node[key]
            elif isinstance(node, list) and key.isdecimal() and int(key) < len(node):
                node = node[int(key)]
            else:
                return None
        return target, node


def json_fields(files: SchemaFiles, path: Path) -> Fields:
    """Everything the schema says of fields, in the order it is written."""
    if path not in files.fields:
        files.fields[path] = _Walk(files).run(path)
    return files.fields[path]


class _Walk:
    def __init__(self, files: SchemaFiles) -> None:
        self._files = files
        self._count = 0
        self._found = Fields()

    def run(self, path: Path) -> Fields:
        tree = self._files.load(path)
        found = self._found
        if isinstance(tree, Mapping):
            found.title, found.description = _text(tree, "title"), _text(tree, "description")
            if _text(tree, "x-source"):
                found.sources.append(_text(tree, "x-source"))
            found.rows = list(self._below(path, tree, "", 0))
            for condition, then in self._conditions(path, tree):
                rows = list(self._then(path, then))
                if rows:
                    found.groups.append((condition, rows))
        return found

    def _conditions(self, path: Path, tree: Mapping[str, Any]) -> Iterator[tuple[Condition, Mapping[str, Any]]]:
        for part in [tree, *_list(tree, "allOf")]:
            test, then = (part.get("if"), part.get("then")) if isinstance(part, Mapping) else (None, None)
            if not isinstance(test, Mapping) or not isinstance(then, Mapping):
                continue
            for name, rule in _mapping(test, "properties").items():
                values = _values(rule) if isinstance(rule, Mapping) else ()
                if values:
                    yield Condition(str(name), values, self._title(path, then)), then
                    break

    def _title(self, path: Path, then: Mapping[str, Any]) -> str:
        """Of the file that the first field under a condition refers to."""
        for child in _mapping(then, "properties").values():
            reference = child.get("$ref") if isinstance(child, Mapping) else None
            found = self._files.follow(path, reference.partition("#")[0]) if isinstance(reference, str) else None
            if found is not None and found[0] != path and isinstance(found[1], Mapping):
                return _text(found[1], "title")
        return ""

    def _then(self, path: Path, then: Mapping[str, Any]) -> Iterator[FieldRow]:
        """What holds under a condition: fields of its own, and names of others that are then required."""
        told = set()
        for row in self._below(path, then, "", 0):
            told.add(row.path)
            yield row
        for name in _list(then, "required"):
            if str(name) not in told:
                yield FieldRow(str(name), required=True)

    def _below(self, path: Path, node: Any, prefix: str, depth: int) -> Iterator[FieldRow]:
        """The fields within a node."""
        if not isinstance(node, Mapping) or depth > MAX_DEPTH:
            return
        path, node = self._resolved(path, node)
        required = {str(name) for name in _list(node, "required")}
        for name, child in _mapping(node, "properties").items():
            yield from self._field(
                path, child, f"{prefix}.{name}" if prefix else str(name), str(name) in required, depth
            )
        items = node.get("items")
        if isinstance(items, Mapping):
            yield from self._items(path, items, prefix + "[]", depth)
        for part in _list(node, "allOf"):
            if isinstance(part, Mapping) and "if" not in part:
                yield from self._below(path, part, prefix, depth + 1)
        for key in ("oneOf", "anyOf"):
            for part in _list(node, key):
                yield from self._below(path, part, prefix, depth + 1)

    def _items(self, path: Path, items: Mapping[str, Any], prefix: str, depth: int) -> Iterator[FieldRow]:
        inner_path, inner = self._resolved(path, items)
        if "properties" in inner or "items" in inner or "allOf" in inner:
            yield from self._below(inner_path, inner, prefix, depth + 1)
        else:
            yield from self._field(path, items, prefix, False, depth)

    def _field(self, path: Path, node: Any, name: str, required: bool, depth: int) -> Iterator[FieldRow]:
        if self._count >= MAX_ROWS:
            return
        self._count += 1
        if not isinstance(node, Mapping):
            yield FieldRow(name, required=required)
            return
        inner_path, inner = self._resolved(path, node)
        row = self._row(path, inner, name, required)
        items = inner.get("items")
        if row.kind == "array" and isinstance(items, Mapping):
            _, item = self._resolved(inner_path, items)
            row = replace(row, kind=f"array of {_kind(item)}" if _kind(item) else "array")
        yield row
        yield from self._below(inner_path, inner, name, depth + 1)

    def _row(self, path: Path, node: Mapping[str, Any], name: str, required: bool) -> FieldRow:
        branches = [self._resolved(path, part)[1] for key in ("oneOf", "anyOf") for part in _list(node, key)]
        simple = [part for part in branches if "properties" not in part]
        kinds = dict.fromkeys(kind for part in (node, *simple) if (kind := _kind(part)))
        limits = dict.fromkeys(limit for part in (node, *simple) if (limit := _limits(part)))
        values = dict.fromkeys(value for part in (node, *simple) for value in _values(part))
        return FieldRow(
            name,
            _text(node, "title"),
            " | ".join(kinds),
            "; ".join(limits),
            required,
            tuple(values),
            _text(node, "x-table"),
            _text(node, "description"),
            _text(node, "x-source"),
        )

    def _resolved(self, path: Path, node: Mapping[str, Any]) -> tuple[Path, Mapping[str, Any]]:
        """The node with what its ``$ref`` leads to below its own words."""
        for _ in range(MAX_DEPTH):
            reference = node.get("$ref")
            if not isinstance(reference, str):
                break
            found = self._files.follow(path, reference)
            if found is None or not isinstance(found[1], Mapping):
                break
            path = found[0]
            own = {key: value for key, value in node.items() if key != "$ref"}
            below = found[1]
            if "$schema" in below:  # what a file says of itself is not said of the field
                below = {key: value for key, value in below.items() if key not in ("description", "x-source")}
            node = {**below, **own}
        return path, node


def _kind(node: Mapping[str, Any]) -> str:
    kind = node.get("type")
    words = [str(one) for one in kind if one != "null"] if isinstance(kind, list) else [str(kind)] if kind else []
    if not words:
        words = ["object"] if "properties" in node else ["array"] if "items" in node else []
    found = " | ".join(words)
    return f"{found} ({node['format']})" if found and isinstance(node.get("format"), str) else found


def _limits(node: Mapping[str, Any]) -> str:
    low, high = node.get("minLength"), node.get("maxLength")
    found = []
    if isinstance(high, int):
        found.append(str(high) if low == high else f"{low}..{high}" if isinstance(low, int) and low > 1 else f"≤{high}")
    elif isinstance(low, int) and low > 1:
        found.append(f"≥{low}")
    for key, sign in (
        ("minimum", "≥"),
        ("exclusiveMinimum", ">"),
        ("maximum", "≤"),
        ("exclusiveMaximum", "<"),
        ("minItems", "≥"),
        ("maxItems", "≤"),
    ):
        if isinstance(node.get(key), int | float) and not isinstance(node.get(key), bool):
            found.append(f"{sign}{node[key]}" + (" ×" if key.endswith("Items") else ""))
    if isinstance(node.get("pattern"), str):
        found.append(str(node["pattern"]))
    return " ".join(found)


def _values(node: Mapping[str, Any]) -> tuple[str, ...]:
    if "const" in node:
        return (_value(node["const"]),)
    return tuple(_value(one) for one in _list(node, "enum") if one is not None)


def _value(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _text(node: Mapping[str, Any], key: str) -> str:
    found = node.get(key)
    return found if isinstance(found, str) else ""


def _list(node: Mapping[str, Any], key: str) -> list[Any]:
    found = node.get(key)
    return found if isinstance(found, list) else []


def _mapping(node: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = node.get(key)
    return found if isinstance(found, Mapping) else {}
