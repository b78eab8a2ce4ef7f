"""What explaining a target field gives: plain data for people and programs. Values are texts, masked where they have to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hub.mapping_tools.walk import Include

__all__ = ["Explanation", "Field", "Lookup", "Origin", "Part", "Read"]


@dataclass(frozen=True, slots=True)
class Origin:
    """A place a value comes from. ``span`` is (first byte, byte behind the last) in the input as it came."""

    path: str
    value: str
    where: str = ""
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """A path of a rule; nothing in ``origins`` when it leads nowhere in this input. ``decides``: it is only tested."""

    path: str
    origins: tuple[Origin, ...]
    decides: bool = False


@dataclass(frozen=True, slots=True)
class Lookup:
    """A value translated by a code table, or by the cases of ``match``. ``line`` 0: it is not listed."""

    table: str  # "" for match
    version: str
    file: str
    line: int
    value: str
    result: str


@dataclass(frozen=True, slots=True)
class Part:
    """An expression with what it reads: the rule, a condition, or a variable."""

    keyword: str  # "", when, where, each, from, split, vars.name
    text: str
    file: str
    line: int
    value: str = ""  # of a variable
    holds: bool | None = None  # of a condition
    reads: tuple[Read, ...] = ()
    lookups: tuple[Lookup, ...] = ()


@dataclass(frozen=True, slots=True)
class Field:
    """One target field."""

    target: str
    state: str
    value: str
    rule: Part
    constant: bool
    default: str  # what takes the place of an absent value; "" when there is none
    required: bool
    conditions: tuple[Part, ...]
    variables: tuple[Part, ...]
    includes: tuple[Include, ...]
    error: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "state": self.state,
            "value": self.value,
            "constant": self.constant,
            "default": self.default,
            "required": self.required,
            "rule": _part_dict(self.rule),
            "conditions": [{**_part_dict(p), "holds": p.holds} for p in self.conditions],
            "variables": [{**_part_dict(p), "value": p.value} for p in self.variables],
            "includes": [{"name": i.name, "file": i.file, "line": i.line} for i in self.includes],
            "error": self.error,
        }


@dataclass(slots=True)
class Explanation:
    mapping: str
    target: str
    output: int  # from 1
    outputs: int
    fields: list[Field] = field(default_factory=list)
    failure: str = ""  # why the mapping as a whole can't be run on this input
    before: Explanation | None = None  # of a mapping of steps: where the step before took what was read here

    def as_dict(self) -> dict[str, Any]:
        return {
            "mapping": self.mapping,
            "target": self.target,
            "output": self.output,
            "outputs": self.outputs,
            "failure": self.failure,
            "fields": [one.as_dict() for one in self.fields],
            "before": self.before.as_dict() if self.before is not None else None,
        }


def _part_dict(part: Part) -> dict[str, Any]:
    return {
        "keyword": part.keyword,
        "text": part.text,
        "file": part.file,
        "line": part.line,
        "reads": [
            {
                "path": read.path,
                "decides": read.decides,
                "origins": [
                    {"path": o.path, "where": o.where, "bytes": o.span, "value": o.value} for o in read.origins
                ],
            }
            for read in part.reads
        ],
        "lookups": [
            {
                "table": lookup.table,
                "version": lookup.version,
                "file": lookup.file,
                "line": lookup.line,
                "value": lookup.value,
                "result": lookup.result,
            }
            for lookup in part.lookups
        ],
    }
