"""A mapping file as rules, every one with its line. Plain data: made by :mod:`hub.mapping.document_read`, knows nothing of YAML, formats or code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hub.errors import Problem
from hub.mapping.document_lookups import Lookup

__all__ = ["Definition", "Document", "Field", "Leaf", "ListRule", "ObjectRule", "Rules", "Text"]


@dataclass(frozen=True, slots=True)
class Text:
    """A text of the file with its line: an expression, a path, a name."""

    text: str
    line: int


@dataclass(slots=True)
class Leaf:
    """One value. ``const`` holds a one-element tuple, so that a constant null can be told from none."""

    line: int
    expr: Text | None = None
    const: tuple[Any] | None = None
    default: tuple[Any] | None = None
    required: bool = False
    keep_null: bool = False
    when: Text | None = None


@dataclass(slots=True)
class Field:
    """A key of the target as written, with its rule."""

    key: str
    line: int
    rule: Rules


@dataclass(slots=True)
class ObjectRule:
    """Several fields; with ``each`` once per element; with ``include`` those of another mapping first.

    ``without`` are fields of the included mapping that are left out.
    ``value`` takes the place of fields where an ``each`` makes single values.
    """

    line: int
    fields: list[Field] = field(default_factory=list)
    value: Leaf | None = None
    each: Text | None = None
    where: Text | None = None
    distinct: Text | None = None
    when: Text | None = None
    include: Text | None = None
    origin: Text | None = None
    without: list[Text] = field(default_factory=list)


@dataclass(slots=True)
class ListRule:
    line: int
    items: list[Rules]


Rules = Leaf | ObjectRule | ListRule


@dataclass(frozen=True, slots=True)
class Definition:
    """A function of ``define:``; an argument is ``$name`` in its body."""

    name: str
    parameters: tuple[str, ...]
    body: Text
    file: str


@dataclass(slots=True)
class Document:
    """A mapping file, checked for shape."""

    name: str
    file: str
    source_codec: str = ""
    target_codec: str = ""
    source_namespaces: dict[str, str] = field(default_factory=dict)
    target_namespaces: dict[str, str] = field(default_factory=dict)
    types: tuple[str, ...] = ()
    empty_absent: bool = False
    base: bool = False
    remove: list[Text] = field(default_factory=list)
    fragment: bool = False
    when: Text | None = None
    split: Text | None = None
    variables: dict[str, Text] = field(default_factory=dict)
    lookups: dict[str, Lookup] = field(default_factory=dict)
    definitions: dict[str, Definition] = field(default_factory=dict)
    uses: list[Text] = field(default_factory=list)
    fields: Rules | None = None
    fields_line: int = 0
    #: Names of mappings that run one after the other; such a file has no rules of its own.
    steps: list[Text] = field(default_factory=list)
    #: It has definitions for others and makes nothing itself.
    shared: bool = False
    problems: list[Problem] = field(default_factory=list)
