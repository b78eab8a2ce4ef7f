"""Rules in effect that contradict each other (002:958): no value could satisfy both.

Compared are rules on the same path inside the same loops, whose conditions are the same or one of which has none. Equal priorities are
an error that names both; otherwise the higher priority stays and the other rule is left out, which is said as a warning. A rule of
an included set can't be put out by a rule outside of it, unless it says ``allow_local: true``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from hub.errors import Problem
from hub.i18n import t
from hub.mapping.compiler import parse
from hub.mapping.nodes import ArrayNode, CompareNode, ExpressionError, LiteralNode, LogicNode, PathNode
from hub.mapping.patterns import Pattern, compile_pattern
from hub.mapping.runtime import FunctionError, equal, number_of, plain_text
from hub.mapping.tables_model import CodeTable
from hub.quality.effective import EffectiveRule
from hub.quality.model import Range
from hub.quality.moments import bound_of, limit_of, now_of

__all__ = ["settle_conflicts"]

#: Values of a code table looked at when two rules are compared.
_MOST_CODES = 10_000
_LOWEST, _HIGHEST = float("-inf"), float("inf")


@dataclass(frozen=True, slots=True)
class _Demand:
    """What a rule says of one path. One of the members is set."""

    rule: EffectiveRule
    path: str
    presence: bool | None = None
    allowed: tuple[Any, ...] | None = None
    excluded: tuple[Any, ...] | None = None
    span: tuple[float, float] | None = None
    dates: bool = False
    sizes: tuple[float, float] | None = None
    pattern: Pattern | None = None


def settle_conflicts(
    rules: list[EffectiveRule], codec: str, namespaces: dict[str, str], find_table: Callable[[str], CodeTable | None]
) -> tuple[list[EffectiveRule], list[Problem]]:
    """(the rules that stay, what is to be said about the others)."""
    problems: list[Problem] = []
    lost: set[str] = set()
    by_path: dict[tuple[Any, ...], list[_Demand]] = {}
    for rule in rules:
        for demand in _demands(rule, codec, namespaces, find_table):
            key = (tuple(_plain(each) for each in rule.model.each), demand.path)
            for other in by_path.get(key, ()):
                if other.rule.id != rule.id and _same_condition(rule, other.rule) and _contradict(demand, other):
                    _settle(other.rule, rule, demand.path, problems, lost)
            by_path.setdefault(key, []).append(demand)
    return [rule for rule in rules if rule.id not in lost], problems


def _plain(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _same_condition(one: EffectiveRule, other: EffectiveRule) -> bool:
    first, second = _plain(one.model.when), _plain(other.model.when)
    return first == second or not first or not second


def _settle(one: EffectiveRule, other: EffectiveRule, path: str, problems: list[Problem], lost: set[str]) -> None:
    if one.id in lost or other.id in lost:
        return
    winner, loser = (one, other) if one.model.priority >= other.model.priority else (other, one)
    protected = winner.depth < loser.depth and not loser.model.allow_local
    if winner.model.priority == loser.model.priority or protected:
        for rule, against in ((one, other), (other, one)):
            problems.append(_contradiction(rule, against, path, protected=protected))
        return
    lost.add(loser.id)
    problems.append(
        loser.place.problem(
            t(
                f"contradicts {winner.id} on {path} ({winner.where}), which has the higher priority: this rule is not asked",
                f"在 {path} 上与 {winner.id}（{winner.where}）矛盾，后者优先级更高：本规则不执行",
            ),
            remedy=t("disable it, or narrow one of the two by when:", "请停用，或用 when: 缩小其一的范围"),
            severity="warning",
        )
    )


def _contradiction(rule: EffectiveRule, against: EffectiveRule, path: str, *, protected: bool) -> Problem:
    remedy = (
        t(
            "rules of an included set can't be put out; correct the other rule",
            "所包含规则集的规则不可被覆盖，请更正另一条规则",
        )
        if protected
        else t(
            "correct one, narrow it by when:, or give one the higher priority:",
            "请更正其一、用 when: 缩小范围，或提高其一的 priority:",
        )
    )
    return rule.place.problem(
        t(f"contradicts {against.id} on {path}: {against.where}", f"在 {path} 上与 {against.id} 矛盾：{against.where}"),
        remedy=remedy,
    )


# -- what a rule demands --------------------------------------------------------------------------------------------------


def _demands(
    rule: EffectiveRule, codec: str, namespaces: dict[str, str], find_table: Callable[[str], CodeTable | None]
) -> Iterator[_Demand]:
    model = rule.model
    test = model.test
    if test in ("required", "forbidden"):
        for path in model.said(test):
            yield _Demand(rule, _plain(path), presence=test == "required")
        return
    if test == "assert":
        yield from _of_assertion(rule, codec, namespaces)
        return
    for path in (_plain(path) for path in model.path):
        if model.one_of is not None:
            yield _Demand(rule, path, allowed=tuple(model.one_of))
        elif model.range is not None:
            yield _Demand(rule, path, span=_span(model.range), dates=model.range.of_dates)
        elif model.length is not None:
            low, high = model.length.min, model.length.max
            yield _Demand(rule, path, sizes=(_LOWEST if low is None else low, _HIGHEST if high is None else high))
        elif model.pattern is not None:
            try:
                yield _Demand(rule, path, pattern=compile_pattern(model.pattern))
            except FunctionError:
                return
        elif model.table is not None:
            wanted = model.table
            table = find_table(f"{wanted.name}@{wanted.version}" if wanted.version else wanted.name)
            if table is not None and not table.versions and len(table.rows) <= _MOST_CODES:
                codes = {row.source if wanted.column == "from" else row.target for row in table.rows}
                yield _Demand(rule, path, allowed=tuple(sorted(codes)))


def _span(limits: Range) -> tuple[float, float]:
    now = now_of(time.time_ns() // 1000)

    def at(bound: Any, default: float, *, end: bool) -> float:
        if bound is None:
            return default
        if isinstance(bound, str):
            span = limit_of(bound_of(bound), now)
            return max(span.end - 1, span.first) if end else span.first
        return float(bound)

    return at(limits.min, _LOWEST, end=False), at(limits.max, _HIGHEST, end=True)


_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


def _of_assertion(rule: EffectiveRule, codec: str, namespaces: dict[str, str]) -> Iterator[_Demand]:
    """What comparisons of a path with constants say, those joined by ``and``."""
    try:
        todo: list[Any] = [parse(rule.model.assert_ or "", codec, namespaces)]
    except ExpressionError:
        return
    while todo:
        node = todo.pop()
        if isinstance(node, LogicNode) and node.operator == "and":
            todo += [node.left, node.right]
        elif isinstance(node, CompareNode):
            left, right, operator = node.left, node.right, node.operator
            if isinstance(left, LiteralNode) and operator in _TURNED:
                left, right, operator = right, left, _TURNED[operator]
            if isinstance(left, PathNode):
                yield from _of_comparison(rule, _plain(left.text), operator, right)


def _of_comparison(rule: EffectiveRule, path: str, operator: str, right: Any) -> Iterator[_Demand]:
    if isinstance(right, ArrayNode) and all(isinstance(item, LiteralNode) for item in right.items):
        values = tuple(item.value for item in right.items if isinstance(item, LiteralNode))
        if operator == "in":
            yield _Demand(rule, path, allowed=values)
        elif operator == "not in":
            yield _Demand(rule, path, excluded=values)
        return
    if not isinstance(right, LiteralNode):
        return
    value = right.value
    if value is None or value == "":
        if operator in ("==", "!="):
            yield _Demand(rule, path, presence=operator == "!=")
    elif operator == "==":
        yield _Demand(rule, path, allowed=(value,))
    elif operator == "!=":
        yield _Demand(rule, path, excluded=(value,))
    elif (number := _number(value)) is not None:
        # Whether the bound itself is allowed does not matter: two spans that only touch are left alone.
        yield _Demand(rule, path, span=(number, _HIGHEST) if operator in (">", ">=") else (_LOWEST, number))


def _number(value: Any) -> float | None:
    found = number_of(value) if isinstance(value, str) else None if isinstance(value, bool) else value
    return None if found is None else float(found)


# -- whether two demands can both be met ---------------------------------------------------------------------------------


def _contradict(one: _Demand, other: _Demand) -> bool:
    if one.presence is not None or other.presence is not None:
        return one.presence is not None and other.presence is not None and one.presence != other.presence
    if other.allowed is not None:
        one, other = other, one
    if one.allowed is not None:
        if other.allowed is not None and _texts(one.allowed) and _texts(other.allowed):
            return set(one.allowed).isdisjoint(other.allowed)  # two texts are equal when they are the same
        return not any(_fits(value, other) for value in one.allowed)
    for first, second in ((one.span, other.span), (one.sizes, other.sizes)):
        if first is not None and second is not None:
            return one.dates == other.dates and (first[0] > second[1] or second[0] > first[1])
    return False


def _texts(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _fits(value: Any, demand: _Demand) -> bool:
    """Whether a value a rule allows is right by another rule too."""
    if demand.allowed is not None:
        return _among(value, demand.allowed)
    if demand.excluded is not None:
        return not _among(value, demand.excluded)
    if demand.sizes is not None:
        return demand.sizes[0] <= len(plain_text(value)) <= demand.sizes[1]
    if demand.pattern is not None:
        return demand.pattern.fullmatch(plain_text(value))
    if demand.span is not None and not demand.dates:
        number = _number(value)
        return number is not None and demand.span[0] <= number <= demand.span[1]
    return True


def _among(value: Any, values: Iterable[Any]) -> bool:
    return any(equal(value, other) for other in values)
