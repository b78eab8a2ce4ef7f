"""What the sides of a book say of the same day, side by side."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from adapters.reconcile.book import Kept
from adapters.reconcile.options import ReconcileConnect

__all__ = ["compare"]

_PLAIN = ("amount", "state")


class _Sum:
    __slots__ = ("abnormal", "amount", "difference", "matched", "total")

    def __init__(self) -> None:
        self.total = self.matched = self.abnormal = self.amount = self.difference = 0

    def as_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}


def compare(options: ReconcileConnect, day: str, complete: set[str], things: Iterable[list[Kept]]) -> dict[str, Any]:
    """The report of a day: counts, sums and the list of differences (004:8112). Amounts in the smallest unit.

    A thing is abnormal when a side that takes part lacks it (unless no money moved on the others), when what is compared differs, or
    when a side's list of the day has it twice. Sides whose list of the day has not come, and that are not required, are left out.
    The day on which a side has it is not compared: about midnight they differ, and the numbers still meet.
    """
    present = [name for name, side in options.sides.items() if side.continuous or name in complete]
    names = {name: options.sides[name].name or name for name in present}
    entries, amounts = dict.fromkeys(present, 0), dict.fromkeys(present, 0)
    kinds: dict[str, _Sum] = {}
    everything = _Sum()
    differences: list[dict[str, Any]] = []
    for thing in things:
        known = [kept for kept in thing if kept.side in names]
        if not known:
            continue
        for kept in known:
            if kept.day == day and kept.data["state"] not in options.void:
                entries[kept.side] += kept.times
                amounts[kept.side] += kept.data["amount"] * kept.times
        found = _difference(options, present, known)
        if found is None and all(kept.data["state"] in options.void for kept in known):
            continue  # nothing was paid, and nobody says otherwise
        for one in (everything, kinds.setdefault(known[0].kind, _Sum())):
            one.total += 1
            one.amount += _amount(present, known)
            one.matched += found is None
            one.abnormal += found is not None
            one.difference += found["difference"] if found is not None else 0
        if found is not None and len(differences) < options.listed:
            differences.append(found)
    return {
        "book": options.book,
        "day": day,
        "sides": {
            side: {"name": name, "entries": entries[side], "amount": amounts[side]} for side, name in names.items()
        },
        "leftOut": [name for name in options.sides if name not in names],
        **everything.as_dict(),
        "kinds": {kind: one.as_dict() for kind, one in sorted(kinds.items())},
        "differences": differences,
        "unlisted": everything.abnormal - len(differences),
    }


def _amount(present: list[str], known: list[Kept]) -> int:
    """What was moved, as the first of the sides says that has it."""
    by_side = {kept.side: kept.data["amount"] for kept in known}
    return int(next(by_side[side] for side in present if side in by_side))


def _difference(options: ReconcileConnect, present: list[str], known: list[Kept]) -> dict[str, Any] | None:
    problems = []
    there = {kept.side for kept in known}
    live = [kept for kept in known if kept.data["state"] not in options.void]
    missing = [side for side in present if side not in there] if live else []
    if missing:
        problems.append("missing")
    for name in options.compare:
        values = {_plain(_value(kept, name)) for kept in known if name in _PLAIN or name in kept.data["details"]}
        if name == "state" and not live:
            continue  # closed here and cancelled there is the same to the till
        if len(values) > 1:
            problems.append(name)
    if any(kept.times > 1 for kept in known):
        problems.append("duplicate")
    if not problems:
        return None
    amounts = [kept.data["amount"] * kept.times if kept in live else 0 for kept in known] + [0] * bool(missing)
    return {
        "kind": known[0].kind,
        "key": known[0].key,
        "problems": problems,
        "missing": missing,
        "difference": max(amounts) - min(amounts),
        "sides": {kept.side: {"day": kept.day, "at": kept.at, "times": kept.times, **kept.data} for kept in known},
    }


def _value(kept: Kept, name: str) -> Any:
    return kept.data[name] if name in _PLAIN else kept.data["details"][name]


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else repr(value)
