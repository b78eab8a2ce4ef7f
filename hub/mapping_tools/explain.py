"""Where one field of a target comes from: rule, source values with their places, code tables; or why it is not there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hub.errors import HubError, MappingError
from hub.i18n import t
from hub.mapping import CompiledMapping
from hub.mapping.chain import readable
from hub.mapping.functions.choice import chosen_rows
from hub.mapping.nodes import (
    CallNode,
    ConditionalNode,
    DictNode,
    LiteralNode,
    LogicNode,
    Node,
    PathNode,
    StepNode,
    VariableNode,
)
from hub.mapping.runtime import FunctionError, is_absent, plain_text
from hub.mapping.tables_dates import day_of
from hub.mapping_tools.explanation import Explanation, Field, Lookup, Origin, Part, Read
from hub.mapping_tools.places import Places, places_of
from hub.mapping_tools.scope import Evaluator, Frame, Named
from hub.mapping_tools.shown import shown
from hub.mapping_tools.steps import MISSING, at, steps_text
from hub.mapping_tools.uses import uses
from hub.mapping_tools.walk import Condition, Made, Walk
from hub.mapping_tools.walk_hl7 import Spot, parse_spot
from hub.mapping_tools.walk_plain import PlainWalk
from hub.mapping_tools.workbench import Input, Workbench
from hub.validation import did_you_mean

__all__ = ["MAX_FIELDS", "explain"]

#: Most fields explained at once, when the target named is an object or list.
MAX_FIELDS = 200


def explain(
    bench: Workbench, name: str, given: Input, target: str, *, output: int = 1, clear: bool = False
) -> Explanation:
    """Trace a target field, or all fields of an object or list, back to the input.

    ``output`` counts from 1 among the targets of a mapping that splits. Values are masked unless ``clear``. What the last of several
    steps reads is traced in the step before. Raises :class:`HubError` for a target no rule writes, and for a mapping that can't be run at all on
    this input.
    """
    parts = bench.parts(name)
    if len(parts) == 1:
        return _explain(bench, parts[0].name, given, target, output, clear)
    stages = list(_stages(parts, given))
    total = len(stages[-1])
    if (total and output > total) or not stages[-2]:
        raise HubError(t(f"there are {total} outputs", f"共有 {total} 个输出"), code="mapping.no_output")
    within, source = (stages[-1][output - 1].number, stages[-1][output - 1].source) if total else (1, 0)
    taken = stages[-2][source]
    whole = latest = _explain(bench, parts[-1].name, taken.given, target, within, clear)
    whole.output, whole.outputs = output, total
    for part, stage in zip(parts[-2::-1], stages[-3::-1], strict=True):
        found = _explain_all(bench, part.name, stage[taken.source].given, list(_origins(latest)), taken.number, clear)
        if found is None:
            break
        latest.before, latest, taken = found, found, stage[taken.source]
    return whole


@dataclass(frozen=True, slots=True)
class _Stage:
    """An input of a step: output ``number``, from 1, that the step before made of its input ``source``, from 0."""

    given: Input
    number: int = 1
    source: int = 0


def _stages(parts: Sequence[CompiledMapping], given: Input) -> Iterator[list[_Stage]]:
    """The inputs of every step, and the outputs of the last."""
    stage = [_Stage(given)]
    yield stage
    for number, part in enumerate(parts):
        after = parts[number + 1] if number + 1 < len(parts) else None
        stage = [
            _Stage(Input(given.name, tree if after is None else readable(after, tree), given.context), count, source)
            for source, one in enumerate(stage)
            for count, tree in enumerate(part.run(one.given.tree, given.context), 1)
        ]
        yield stage


def _origins(found: Explanation) -> Iterator[str]:
    """The paths of everything read."""
    for one in found.fields:
        for part in (one.rule, *one.conditions, *one.variables):
            for read in part.reads:
                yield from (origin.path for origin in read.origins)


def _explain_all(
    bench: Workbench, name: str, given: Input, targets: Sequence[str], output: int, clear: bool
) -> Explanation | None:
    """Where a step took several of its targets from; None when that can't be told of any."""
    result: Explanation | None = None
    told: list[str] = []
    for target in dict.fromkeys(targets):
        try:
            found = _explain(bench, name, given, target, output, clear)
        except HubError:
            continue
        told.append(target)
        if result is None:
            result = found
        else:
            result.fields += [one for one in found.fields if one not in result.fields]
        result.target = ", ".join(told)
        if len(result.fields) >= MAX_FIELDS:
            break
    return result


def _explain(bench: Workbench, name: str, given: Input, target: str, output: int, clear: bool) -> Explanation:
    document = bench.document(name)
    walk = bench.walk(document, given)
    chosen = [made for made in walk.made if made.output == output - 1]
    if walk.outputs and not chosen:
        raise HubError(t(f"there are {walk.outputs} outputs", f"共有 {walk.outputs} 个输出"), code="mapping.no_output")
    wanted = _wanted(walk, chosen, target)
    evaluator = Evaluator(bench.expressions(document), given.tree, given.context)
    tracer = _Tracer(bench, walk, evaluator, places_of(document.source_codec, given.tree), day_of(given.context), clear)
    result = Explanation(bench.library.get(name).stamp, target, output, walk.outputs)
    result.fields = [tracer.field(made, steps) for made, steps in wanted[:MAX_FIELDS]]
    try:
        bench.library.get(name).run(given.tree, given.context)
    except MappingError as error:
        result.failure = error.text
    return result


def _wanted(walk: Walk, chosen: list[Made], target: str) -> list[tuple[Made, tuple[Any, ...]]]:
    """The rules behind a target with the steps from there into their value: what is written, else what might have been."""
    found: list[tuple[Made, tuple[Any, ...]]] = []
    if walk.document.target_codec == "hl7v2":
        spot = parse_spot(target)
        found = [(made, ()) for made in chosen if isinstance(made.spot, Spot) and _touches(made.spot, spot)]
        written = [pair for pair in found if pair[0].state == "written"]
        if spot.field and written and written[-1][0].spot.covers(spot):
            return written[-1:]  # what was written last stays
        # A part of what is asked for may have been written by one rule and another part by another.
        found = written or found
    else:
        assert isinstance(walk, PlainWalk)  # noqa: S101 - all but those for HL7 v2 are
        steps = walk.target_steps(target)
        for made in chosen:
            own = made.spot if None not in steps else walk.target_steps(made.pattern)
            if own[: len(steps)] == steps:
                found.append((made, ()))
            elif steps[: len(own)] == own and (
                made.state != "written" or at(made.value, steps[len(own) :]) is not MISSING
            ):
                found.append((made, steps[len(own) :]))
        found = [pair for pair in found if pair[0].state in ("written", "failed")] or found
    if not found:
        raise HubError(
            t(f"no rule writes {target}", f"没有写 {target} 的规则"),
            code="mapping.no_rule",
            remedy=did_you_mean(target, {made.target for made in chosen} | {made.pattern for made in walk.made}),
        )
    return found


def _touches(one: Spot, other: Spot) -> bool:
    return one.covers(other) or other.covers(one)


class _Tracer:
    def __init__(
        self, bench: Workbench, walk: Walk, evaluator: Evaluator, places: Places, day: int, clear: bool
    ) -> None:
        self._bench = bench
        self._walk = walk
        self._evaluator = evaluator
        self._places = places
        self._day = day
        self._clear = clear

    def field(self, made: Made, steps: tuple[Any, ...]) -> Field:
        leaf = made.leaf
        value = made.value
        target = made.target
        if steps:
            value = at(value, steps)
            path = (*made.spot, *steps)
            target = self._walk.target_text(path) if isinstance(self._walk, PlainWalk) else steps_text(path)
        variables: dict[int, Part] = {}
        rule = Part("", made.text, made.document.file, leaf.line)
        if leaf.expr is not None:
            node = self._evaluator.expressions.parse(leaf.expr)
            reads, lookups = self._reads(node, made.frame, variables) if made.frame.reachable else ((), ())
            rule = Part("", made.text, made.document.file, leaf.expr.line, reads=reads, lookups=lookups)
        return Field(
            target,
            made.state,
            shown(value, clear=self._clear or leaf.const is not None) if made.state == "written" else "",
            rule,
            leaf.const is not None,
            shown(leaf.default[0], clear=True) if leaf.default is not None else "",
            leaf.required,
            tuple(self._condition(condition, variables) for condition in made.conditions),
            tuple(variables.values()),
            made.includes,
            f"{made.error.reason}" + (f" ({made.error.value})" if made.error.value else "") if made.error else "",
        )

    def _condition(self, condition: Condition, variables: dict[int, Part]) -> Part:
        reads: tuple[Read, ...] = ()
        lookups: tuple[Lookup, ...] = ()
        if condition.frame.reachable:
            node = self._evaluator.expressions.parse(condition.text)
            reads, lookups = self._reads(node, condition.frame, variables)
        return Part(
            condition.keyword,
            condition.text.text,
            condition.file,
            condition.text.line,
            holds=condition.holds,
            reads=reads,
            lookups=lookups,
        )

    # -- what an expression reads --------------------------------------------------------------------------------

    def _value(self, node: Node, frame: Frame) -> Any:
        """None where it can't be computed: the rule's own error says why."""
        try:
            return self._evaluator.value(node, frame)[0]
        except MappingError:
            return None

    def _pick(self, frame: Frame) -> Any:
        """Follows the alternative that was taken."""

        def pick(node: Node) -> tuple[Node, ...] | None:
            if isinstance(node, ConditionalNode):
                return (node.then,) if self._value(node.test, frame) else (node.otherwise,)
            if isinstance(node, LogicNode):
                stop = bool(self._value(node.left, frame)) == (node.operator == "or")
                return (node.left,) if stop else (node.left, node.right)
            if isinstance(node, CallNode) and node.name == "default":
                return None if is_absent(self._value(node.arguments[0], frame)) else node.arguments[:1]
            return None

        return pick

    def _reads(
        self, node: Node, frame: Frame, variables: dict[int, Part]
    ) -> tuple[tuple[Read, ...], tuple[Lookup, ...]]:
        reads: dict[Read, None] = {}
        lookups: dict[Lookup, None] = {}
        for use in uses(node, self._evaluator.expressions.functions, self._pick(frame)):
            if isinstance(use.node, PathNode):
                found = self._places.found(use.node, frame, self._walk.seems_to_hold, every=use.every)
                origins = tuple(
                    Origin(
                        one.path,
                        shown(one.value, clear=self._clear),
                        self._places.describe(one.place),
                        self._places.span(one.place),
                    )
                    for one in found
                )
                reads[Read(self._places.label(use.node, frame), origins, use.tested)] = None
            elif isinstance(use.node, VariableNode):
                self._variable(use.node.name, frame, variables)
            elif isinstance(use.node, StepNode) and isinstance(use.node.base, VariableNode):
                self._variable(use.node.base.name, frame, variables)
            elif isinstance(use.node, CallNode):
                lookups |= dict.fromkeys(self._lookups(use.node, frame))
        return tuple(reads), tuple(lookups)

    def _variable(self, name: str, frame: Frame, variables: dict[int, Part]) -> None:
        named: Named | None = frame.names.get(name)
        if named is None or named.text is None or named.frame is None or id(named) in variables:
            return
        node = self._evaluator.expressions.parse(named.text)
        inner: dict[int, Part] = {}
        reads, lookups = self._reads(node, named.frame, inner)
        for key, part in inner.items():
            variables.setdefault(key, part)
        value = shown(self._value(node, named.frame), clear=self._clear)
        file = named.document.file if named.document is not None else ""
        variables[id(named)] = Part(
            f"${name}", named.text.text, file, named.text.line, value, reads=reads, lookups=lookups
        )

    def _lookups(self, node: CallNode, frame: Frame) -> Iterator[Lookup]:
        """The row of a code table, or the case of ``match``, that a value came to. Codes name nobody: they are not masked where listed."""
        value = self._value(node.arguments[0], frame)
        if is_absent(value):
            return
        try:
            text = plain_text(value)
        except FunctionError:
            return
        result = self._value(node, frame)
        wanted = node.arguments[1] if len(node.arguments) > 1 else dict(node.keywords).get("name")
        if node.name == "match":
            listed = isinstance(wanted, DictNode) and any(
                key is not None and plain_text(key) == text for key, _ in wanted.items
            )
            told = shown(text, clear=listed or self._clear)
            yield Lookup("", "", "", 0, told, shown(result, clear=listed or self._clear))
            return
        if not isinstance(wanted, LiteralNode):
            return
        chosen = chosen_rows(node, str(wanted.value), self._bench.library.table)
        found = chosen.row(text, self._day)
        listed = found is not None
        table, line = (chosen.tables[0], 0) if found is None else (found[0], found[1].line)
        yield Lookup(
            table.name,
            table.version,
            table.file,
            line,
            shown(text, clear=listed or self._clear),
            shown(result, clear=listed or self._clear),
        )
