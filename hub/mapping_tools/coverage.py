"""What a mapping makes of its inputs: what is sent and never read, read and never sent, and never written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hub.errors import HubError
from hub.mapping import CompiledMapping
from hub.mapping.chain import readable
from hub.mapping.document import Document, Leaf, Text
from hub.mapping.nodes import Node, PathNode
from hub.mapping_tools.places import Place, Places, places_of
from hub.mapping_tools.required import required_fields
from hub.mapping_tools.scope import Frame
from hub.mapping_tools.shown import shown
from hub.mapping_tools.steps import parse_steps, steps_text
from hub.mapping_tools.uses import uses
from hub.mapping_tools.walk import Walk
from hub.mapping_tools.workbench import Input, Workbench

__all__ = ["Coverage", "NeverRead", "NeverThere", "NeverWritten", "coverage"]


@dataclass(frozen=True, slots=True)
class NeverRead:
    """Values that are in the inputs and that no rule reads. ``whole``: nothing of the segment or object is read at all."""

    path: str
    count: int
    of: int  # so many values there are at this path
    example: str
    whole: bool = False


@dataclass(frozen=True, slots=True)
class NeverThere:
    """A path that led nowhere in every input."""

    path: str
    file: str
    line: int
    rule: str


@dataclass(frozen=True, slots=True)
class NeverWritten:
    """A field of the target without a value in every case."""

    target: str
    file: str
    line: int
    rule: str


@dataclass(slots=True)
class Coverage:
    """``required``: fields the target's schema demands and no case wrote. ``failed``: input -> why it could not be looked at.

    ``steps``: of a mapping of steps one for each, which have everything but ``inputs`` and ``failed``.
    """

    mapping: str
    inputs: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    never_read: list[NeverRead] = field(default_factory=list)
    never_there: list[NeverThere] = field(default_factory=list)
    never_written: list[NeverWritten] = field(default_factory=list)
    required: list[str] = field(default_factory=list)
    fields: int = 0  # of the target, with a rule
    paths: int = 0  # of the source, in rules
    copies: bool = False  # the target starts from a copy of the source, so that everything is sent on
    steps: list[Coverage] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {
            "mapping": self.mapping,
            "inputs": self.inputs,
            "failed": self.failed,
            "fields": self.fields,
            "paths": self.paths,
            "copies_source": self.copies,
            "never_read": [
                {"path": n.path, "count": n.count, "of": n.of, "example": n.example, "whole": n.whole}
                for n in self.never_read
            ],
            "never_there": [{"path": n.path, "file": n.file, "line": n.line, "rule": n.rule} for n in self.never_there],
            "never_written": [
                {"target": n.target, "file": n.file, "line": n.line, "rule": n.rule} for n in self.never_written
            ],
            "required_never_written": self.required,
            "steps": [step.as_dict() for step in self.steps],
        }


def coverage(
    bench: Workbench,
    name: str,
    inputs: Iterable[Input],
    schema: Mapping[str, Any] | None = None,
    *,
    clear: bool = False,
) -> Coverage:
    """Look at what a mapping does with these inputs; ``schema`` is a JSON Schema of one target.

    Conditions don't count: a field is read if a rule reads it for any element, whether it ran or not. Raises
    :class:`HubError` for a mapping with errors and for a format whose places are not known.
    """
    parts = bench.parts(name)
    if len(parts) == 1:
        return _coverage(bench, parts[0].name, inputs, schema, clear=clear)
    result = Coverage(bench.library.get(name).stamp)
    given = list(inputs)
    result.inputs = [one.name for one in given]
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        step = _coverage(bench, part.name, given, schema if last else None, clear=clear)
        step.inputs = list(dict.fromkeys(step.inputs))  # one may have become several
        result.steps.append(step)
        result.failed |= {failed: f"{part.name}: {text}" for failed, text in step.failed.items()}
        if not last:
            given = list(_handed_on(part, parts[number + 1], given, result))
    result.inputs = [one for one in result.inputs if one not in result.failed]
    return result


def _handed_on(part: CompiledMapping, after: CompiledMapping, inputs: list[Input], result: Coverage) -> Iterator[Input]:
    """What the step after gets."""
    for given in inputs:
        if given.name in result.failed:
            continue
        try:
            for tree in part.run(given.tree, given.context):
                yield Input(given.name, readable(after, tree), given.context)
        except HubError as error:
            result.failed[given.name] = error.text


def _coverage(
    bench: Workbench, name: str, inputs: Iterable[Input], schema: Mapping[str, Any] | None, *, clear: bool
) -> Coverage:
    document = bench.document(name)
    result = Coverage(bench.library.get(name).stamp, copies=document.base)
    everything = bench.walk(document, None)
    reads = _Reads(bench, document)
    unread: dict[str, _Tally] = {}
    written: set[str] = set()
    present: set[str] = set()
    for given in inputs:
        places = places_of(document.source_codec, given.tree)
        try:
            walk = bench.walk(document, given)
        except HubError as error:
            result.failed[given.name] = error.text
            continue
        result.inputs.append(given.name)
        touched = reads.of(walk, places, given)
        _tally(unread, places, touched)
        for made in walk.made:
            if made.state == "written":
                written.add(made.pattern)
                if schema is not None:
                    present.update(_inside(made.pattern, made.value))
    patterns = {made.pattern: made for made in everything.made}
    result.fields = len(patterns)
    result.never_written = [
        NeverWritten(pattern, made.document.file, _line(made.leaf), made.text)
        for pattern, made in patterns.items()
        if pattern not in written
    ]
    stated = reads.stated(everything, places_of(document.source_codec, None))
    result.paths = len(stated)
    result.never_there = sorted(
        (there for key, there in stated.items() if key not in reads.there), key=lambda there: (there.file, there.line)
    )
    if not document.base:
        result.never_read = _never_read(unread, clear=clear)
    if schema is not None:
        result.required = required_fields(schema, present)
    return result


def _inside(path: str, value: Any) -> Iterator[str]:
    """The path of a value that was written, and of everything in it."""
    yield path
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _inside(steps_text((*parse_steps(path), key)), below)
    elif isinstance(value, list):
        for below in value:
            yield from _inside(f"{path}[]", below)


def _line(leaf: Leaf) -> int:
    return leaf.expr.line if leaf.expr is not None else leaf.line


# -- reading -----------------------------------------------------------------------------------------------------------

#: Keys whose path leads to elements rather than to a value.
_LOOPS = ("each", "split", "from")
#: File, line and text of a path in a rule.
_Key = tuple[str, int, str]


@dataclass(slots=True)
class _Touched:
    """Places of one input. A place that is taken is taken with everything in it; one that is tested only as a whole."""

    taken: set[Place] = field(default_factory=set)
    tested: set[Place] = field(default_factory=set)


class _Reads:
    """Collects what the rules of a mapping read; ``there`` are the paths that led somewhere in some input."""

    def __init__(self, bench: Workbench, document: Document) -> None:
        self._bench = bench
        self._expressions = bench.expressions(document)
        self.there: set[_Key] = set()

    def _texts(self, walk: Walk) -> Iterable[tuple[Text, str, Frame, bool, bool]]:
        """(text, file, frame, whether it is only tested, whether the path is copied with all its repetitions)"""
        copies = walk.document.target_codec == "hl7v2"
        for made in walk.made:
            if made.leaf.expr is not None:
                yield made.leaf.expr, made.document.file, made.frame, False, copies
        for asked in walk.asked:
            if asked.keyword not in _LOOPS:
                yield asked.text, asked.file, asked.frame, not asked.keyword.startswith("vars."), False

    def of(self, walk: Walk, places: Places, given: Input) -> _Touched:
        touched = _Touched()

        def holds(node: Node, frame: Frame) -> bool:
            take(node, "", 0, frame, tested=True, every=False)
            return walk.seems_to_hold(node, frame)

        def take(node: Node, file: str, line: int, frame: Frame, *, tested: bool, every: bool) -> None:
            for use in uses(node, self._expressions.functions, tested=tested, every=every):
                if not isinstance(use.node, PathNode):
                    continue
                found = places.found(use.node, frame, holds, every=use.every)
                if found:
                    self.there.add((file, line, use.node.text))
                (touched.tested if use.tested else touched.taken).update(one.place for one in found)

        for text, file, frame, tested, copied in self._texts(walk):
            if frame.reachable:
                node = self._expressions.parse(text)
                every = copied and isinstance(node, PathNode)
                take(node, file, text.line, frame, tested=tested, every=every)
        for asked in walk.asked:
            if asked.keyword in _LOOPS and asked.frame.reachable:
                path = self._expressions.parse(asked.text)
                if isinstance(path, PathNode) and places.elements(path, asked.frame, holds):
                    self.there.add((asked.file, asked.text.line, path.text))
        return touched

    def stated(self, walk: Walk, places: Places) -> dict[_Key, NeverThere]:
        """Every path in a rule."""
        found: dict[_Key, NeverThere] = {}
        rules = [(made.leaf.expr, made.document.file, made.frame) for made in walk.made if made.leaf.expr is not None]
        rules += [(asked.text, asked.file, asked.frame) for asked in walk.asked]
        for text, file, frame in rules:
            for use in uses(self._expressions.parse(text), self._expressions.functions):
                if isinstance(use.node, PathNode):
                    label = places.label(use.node, frame)
                    found.setdefault((file, text.line, use.node.text), NeverThere(label, file, text.line, text.text))
        return found


# -- what nobody reads -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Tally:
    group: str
    unread: int = 0
    total: int = 0
    example: Any = None


def _tally(found: dict[str, _Tally], places: Places, touched: _Touched) -> None:
    tested = {place[:size] for place in touched.tested for size in range(len(place) + 1)}
    for occurring in places.occurring():
        tally = found.setdefault(occurring.path, _Tally(occurring.group))
        tally.total += 1
        place = occurring.place
        read = any(place[:size] in touched.taken for size in range(len(place) + 1))
        if not read and occurring.shortest not in tested:
            tally.unread += 1
            tally.example = occurring.value if tally.example is None else tally.example


def _never_read(found: dict[str, _Tally], *, clear: bool) -> list[NeverRead]:
    """One line for each path; one for a whole group of which nothing is read."""
    untouched = {tally.group for tally in found.values()} - {
        tally.group for tally in found.values() if tally.unread < tally.total
    }
    result: list[NeverRead] = []
    told: set[str] = set()
    for path, tally in found.items():
        if tally.group and tally.group in untouched:
            if tally.group not in told:
                told.add(tally.group)
                members = [other for other in found.values() if other.group == tally.group]
                result.append(
                    NeverRead(tally.group, sum(m.unread for m in members), sum(m.total for m in members), "", True)
                )
        elif tally.unread:
            result.append(NeverRead(path, tally.unread, tally.total, shown(tally.example, clear=clear)))
    return result
