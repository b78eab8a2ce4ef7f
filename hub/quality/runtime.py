"""What the generated code of a rule set calls. Small; whatever it raises is caught around the rule that called it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from time import perf_counter as clock
from typing import Any, NamedTuple, NoReturn

from hub.i18n import t
from hub.mapping.context import Context
from hub.mapping.runtime import FunctionError, as_list, equal, number_of, plain_text
from hub.mapping.tables_choice import Chosen
from hub.mapping.tables_dates import ALWAYS, Days, day_of
from hub.quality.moments import Bound, in_order, limit_of, now_of, span_of
from hub.quality.quantities import QUANTITIES, unit_key

__all__ = [
    "MAX_FINDINGS",
    "MAX_OF_A_RULE",
    "RULE_RUNTIME",
    "Note",
    "Run",
    "Stopped",
    "among_targets",
    "in_range_of_dates",
    "in_range_of_numbers",
    "in_table",
    "listed_in",
    "of_length",
    "quantity_fault",
]

#: Longest run over one message, in seconds: marks must be there within 500 ms (002:1067).
MAX_SECONDS = 0.4
#: Most findings on one message, and of one rule on one message.
MAX_FINDINGS = 200
MAX_OF_A_RULE = 20


class Note(NamedTuple):
    """A finding before it is put in words. ``detail``: what the default text says more; ``broken``: the rule itself failed."""

    rule: int
    place: str
    value: Any = None
    detail: str = ""
    broken: bool = False


@dataclass(slots=True)
class Run(Context):
    """The context of one run, with what it finds."""

    notes: list[Note] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)
    begun: float = field(default_factory=lambda: clock())


class Stopped(FunctionError):
    """The whole run ends: too many findings, or too much to look through."""


class _EnoughError(Exception):
    """One rule has found enough."""


def note(run: Run, rule: int, place: str, value: Any = None, detail: str = "") -> None:
    run.notes.append(Note(rule, place, value, detail))
    count = run.counts[rule] = run.counts.get(rule, 0) + 1
    if len(run.notes) >= MAX_FINDINGS:
        raise Stopped(
            t(
                f"more than {MAX_FINDINGS} findings; the rest was not looked for",
                f"问题超过 {MAX_FINDINGS} 处，其余未再检查",
            )
        )
    if count >= MAX_OF_A_RULE:
        raise _EnoughError


def broken(run: Run, rule: int, error: Exception) -> None:
    """A rule that can't work on this message is a finding; the other rules go on."""
    if isinstance(error, Stopped):
        raise error
    if isinstance(error, _EnoughError):
        return
    # The text of a foreign exception may hold personal data: only its kind is told.
    told = error.text if isinstance(error, FunctionError) else type(error).__name__
    run.notes.append(Note(rule, "", None, told, True))


def in_time(run: Run) -> None:
    """Asked every few elements of a loop: the number of elements alone does not bound what patterns and checks cost."""
    if clock() - run.begun > MAX_SECONDS:
        raise Stopped(
            t(
                f"the rules took longer than {MAX_SECONDS} s; the rest was not checked",
                f"规则执行超过 {MAX_SECONDS} 秒，其余未检查",
            )
        )


def over_budget() -> NoReturn:
    raise Stopped(
        t(
            "the message has more to look through than rules may; the rest was not checked",
            "消息内容超过规则可检查的数量，其余未检查",
        )
    )


def there(value: Any) -> bool:
    """Whether a value of a plain tree is there: null, blanks and what is empty are not."""
    if type(value) is str:
        return value != "" and not value.isspace()
    return value is not None and value != "" and value != [] and value != {}


def passed(answer: Any) -> bool:
    """What a check that is no yes-or-no says: a converter that gives a value has understood it."""
    return answer if type(answer) is bool else answer is not None and answer != ""


# -- tests of a value: made when a set is compiled, called for each value -------------------------------------------------

Test = Callable[[Any], bool]
DatedTest = Callable[[Any, Context], bool]


def of_length(least: int | None, most: int | None) -> Test:
    def test(value: Any) -> bool:
        size = len(value if isinstance(value, str | list | tuple) else plain_text(value))
        return (least is None or size >= least) and (most is None or size <= most)

    return test


def _number(value: Any) -> int | float | Decimal | None:
    if isinstance(value, str):
        return number_of(value)
    return value if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else None


def _exact(bound: int | float | None) -> Decimal | None:
    return None if bound is None else Decimal(repr(bound)) if isinstance(bound, float) else Decimal(bound)


def in_range_of_numbers(low: int | float | None, high: int | float | None) -> Test:
    least, most = _exact(low), _exact(high)

    def test(value: Any) -> bool:
        number = _number(value)
        return number is not None and (least is None or number >= least) and (most is None or number <= most)

    return test


def in_range_of_dates(low: Bound | None, high: Bound | None) -> DatedTest:
    def test(value: Any, context: Context) -> bool:
        try:
            span = span_of(value)
        except FunctionError:
            return False
        now = now_of(context.now_us)
        return (low is None or limit_of(low, now).first < span.end) and (
            high is None or span.first <= max(limit_of(high, now).end - 1, limit_of(high, now).first)
        )

    return test


def listed_in(values: Sequence[Any]) -> Test:
    texts = frozenset(value for value in values if isinstance(value, str))

    def test(value: Any) -> bool:
        return (type(value) is str and value in texts) or any(equal(value, other) for other in values)

    return test


def in_table(chosen: Chosen) -> DatedTest:
    if chosen.dated:
        return lambda value, context: chosen.find(plain_text(value), day_of(context)) is not None
    entries = frozenset(chosen.entries())
    return lambda value, context: (value if type(value) is str else plain_text(value)) in entries


def among_targets(chosen: Chosen, *, fixed: bool) -> DatedTest:
    """Whether a table translates something into a value on the day of the message; ``fixed``: one version, whatever the day."""
    versions = [
        (ALWAYS if fixed else table.days, _spans((row.target, row.days) for row in table.rows))
        for table in chosen.tables
    ]

    def test(value: Any, context: Context) -> bool:
        day, text = day_of(context), plain_text(value)
        for days, targets in versions:
            if days.first <= day <= days.last:
                return any(span.first <= day <= span.last for span in targets.get(text, ()))
        return False

    return test


def _spans(rows: Iterable[tuple[str, Days]]) -> dict[str, list[Days]]:
    found: dict[str, list[Days]] = {}
    for target, days in rows:
        found.setdefault(target, []).append(days)
    return found


def quantity_fault(name: str) -> Callable[[Any, Any], str | None]:
    """What is wrong with a value and its unit, None when it is plausible."""
    limits = QUANTITIES[name].limits
    usual = QUANTITIES[name].usual

    def fault(value: Any, unit: Any) -> str | None:
        number = _number(value)
        if number is None:
            return t("not a number", "不是数字")
        found = limits.get(usual if unit is None or unit == "" else unit_key(plain_text(unit)))
        if found is None:
            return t(
                f"the unit is not one of {', '.join(limits)}",
                f"单位不在 {'、'.join(limits)} 之中",
            )
        if found[0] <= number <= found[1]:
            return None
        return t(f"not between {found[0]} and {found[1]}", f"不在 {found[0]} 至 {found[1]} 之间")

    return fault


# -- tests of several values ----------------------------------------------------------------------------------------------


def first_backwards(values: Sequence[Any], strict: bool) -> int:
    """Which date is before one written before it, or is none at all; -1 when all are in order."""
    latest = None
    for number, value in enumerate(values):
        if value is None or value == "" or value == '""':
            continue
        try:
            span = span_of(value)
        except FunctionError:
            return number
        if latest is not None and not in_order(latest, span, strict=strict):
            return number
        latest = span
    return -1


def repeated(seen: set[str], value: Any) -> bool:
    text = value if type(value) is str else plain_text(value)
    if text in seen:
        return True
    seen.add(text)
    return False


def gap(state: list[int | None], value: Any) -> bool:
    """Whether a number does not follow the one before; counting goes on from it."""
    number = _number(value)
    wanted = state[0]
    if number is None or number != int(number):
        return True
    state[0] = int(number) + 1
    return wanted is not None and number != wanted


RULE_RUNTIME: dict[str, Any] = {
    "Exception": Exception,
    "FunctionError": FunctionError,
    "set": set,
    "as_list": as_list,
    "note": note,
    "broken": broken,
    "in_time": in_time,
    "over_budget": over_budget,
    "there": there,
    "passed": passed,
    "first_backwards": first_backwards,
    "repeated": repeated,
    "gap": gap,
}
