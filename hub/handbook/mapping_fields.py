"""Where the fields of what is sent come from: the rules of a mapping, by target, and the code tables they use."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from hub.errors import HubError
from hub.mapping.document import Document
from hub.mapping.functions.choice import chosen_rows
from hub.mapping.nodes import CallNode, LiteralNode, PathNode, StepNode, VariableNode
from hub.mapping.tables import CodeTable
from hub.mapping_tools.comments import comments_of
from hub.mapping_tools.places import outline_places
from hub.mapping_tools.shown import shown
from hub.mapping_tools.uses import uses
from hub.mapping_tools.walk import Made
from hub.mapping_tools.workbench import Workbench
from hub.yaml_source import load

__all__ = ["MappedField", "MappedFields", "Mappings", "same_place"]

_ELEMENT = re.compile(r"\[\d*\]")


@dataclass(frozen=True, slots=True)
class MappedField:
    """One rule. ``sources`` are paths and settings it reads, ``rule`` the expression, ``constant`` what is always written."""

    target: str
    sources: tuple[str, ...] = ()
    rule: str = ""
    constant: str = ""
    default: str = ""
    required: bool = False
    when: str = ""
    note: str = ""


@dataclass(slots=True)
class MappedFields:
    name: str
    source_codec: str
    target_codec: str
    description: str = ""
    fields: list[MappedField] = field(default_factory=list)
    tables: dict[str, CodeTable] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)  # $name -> expression


def same_place(path: str) -> str:
    """A path without element numbers, so that the rule of ``items[0].code`` is found for the field ``items[].code``."""
    return _ELEMENT.sub("", path).lstrip("$.")


class Mappings:
    """The mappings of a deployment, each read once; None for one that can't be used."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self._known: dict[str, MappedFields | None] = {}

    def get(self, name: str) -> MappedFields | None:
        if name not in self._known:
            try:
                self._known[name] = self._read(name)
            except HubError:
                self._known[name] = None
        return self._known[name]

    def table(self, name: str) -> CodeTable | None:
        return self.bench.library.table(name)

    def _read(self, name: str) -> MappedFields:
        """Of several steps the last one says what is sent."""
        parts = self.bench.parts(name)
        document = self.bench.document(parts[-1].name)
        found = MappedFields(name, parts[0].source_codec, document.target_codec, _description(document.file))
        expressions = self.bench.expressions(document)
        places = outline_places(document.source_codec)
        notes: dict[str, dict[int, str]] = {}
        walk = self.bench.walk(document, None)
        for asked in walk.asked:
            if asked.keyword.startswith("vars."):
                found.variables.setdefault("$" + asked.keyword.removeprefix("vars."), asked.text.text)
        for made in walk.outline:
            if not isinstance(made, Made):
                continue
            leaf = made.leaf
            sources: dict[str, None] = {}
            if leaf.expr is not None:
                for use in uses(expressions.parse(leaf.expr), expressions.functions):
                    node = use.node
                    if isinstance(node, PathNode):
                        sources[places.label(node, made.frame)] = None
                    elif isinstance(node, VariableNode) and node.name != "number":
                        sources[f"${node.name}"] = None
                    elif isinstance(node, StepNode) and isinstance(node.base, VariableNode):
                        sources[f"${node.base.name}.{node.step}"] = None
                    elif isinstance(node, CallNode):
                        self._note_table(node, found)
            found.fields.append(
                MappedField(
                    made.pattern or "$",
                    tuple(sources),
                    made.text,
                    shown(leaf.const[0], clear=True) if leaf.const is not None else "",
                    shown(leaf.default[0], clear=True) if leaf.default is not None else "",
                    leaf.required,
                    leaf.when.text if leaf.when is not None else "",
                    _note(made.document, leaf.line, notes),
                )
            )
        return found

    def _note_table(self, node: CallNode, found: MappedFields) -> None:
        wanted = node.arguments[1] if len(node.arguments) > 1 else dict(node.keywords).get("name")
        if node.name == "table" and isinstance(wanted, LiteralNode):
            for table in chosen_rows(node, str(wanted.value), self.bench.library.table).tables:
                found.tables[table.name] = table


def _note(document: Document, line: int, notes: dict[str, dict[int, str]]) -> str:
    """The comment beside a rule."""
    if document.file not in notes:
        try:
            notes[document.file] = comments_of(Path(document.file).read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError):
            notes[document.file] = {}
    return notes[document.file].get(line, "")


def _description(file: str) -> str:
    try:
        data = load(file).data
    except HubError:
        return ""
    return str(data.get("description") or "") if isinstance(data, dict) else ""
