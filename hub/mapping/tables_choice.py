"""Which rows of a code table ``table()`` asks: one version or the newest of the day, forwards or in reverse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hub.errors import Problem
from hub.i18n import t
from hub.mapping.tables_dates import ALWAYS, Days, day_text
from hub.mapping.tables_model import CodeTable, Row

__all__ = ["Chosen", "TableError", "choose", "version_problems"]

#: Most rows an error names.
_NAMED = 5

Find = Callable[[str], CodeTable | None]


class TableError(Exception):
    """A table that can't be used as it is asked for."""

    def __init__(self, text: str, remedy: str) -> None:
        super().__init__(text)
        self.text = text
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class _Version:
    table: CodeTable
    days: Days
    rows: dict[str, tuple[Row, ...]]


class Chosen:
    """What one use of a table asks. ``dated``: the answer depends on the day of the message."""

    def __init__(self, versions: list[_Version], reverse: bool) -> None:
        self._versions = versions  # the newest first
        self._reverse = reverse
        self.dated = len(versions) > 1 or any(
            version.days != ALWAYS or any(row.days != ALWAYS for rows in version.rows.values() for row in rows)
            for version in versions
        )

    @property
    def tables(self) -> list[CodeTable]:
        """The files that are asked, the newest first."""
        return [version.table for version in self._versions]

    def row(self, text: str, day: int) -> tuple[CodeTable, Row] | None:
        """The row that translates a text on a day, with its file; None when none does.

        Only the newest version of the day is asked: what it no longer lists is not looked for in an older one.
        """
        for version in self._versions:
            if version.days.first <= day <= version.days.last:
                for row in version.rows.get(text, ()):
                    if row.days.first <= day <= row.days.last:
                        return version.table, row
                return None
        return None

    def entries(self) -> dict[str, Any]:
        """Text to text, when nothing depends on the day."""
        (version,) = self._versions
        return {text: self._result(rows[0]) for text, rows in version.rows.items()}

    def find(self, text: str, day: int) -> str | None:
        """What a text becomes on a day; None when it is not listed."""
        found = self.row(text, day)
        return None if found is None else self._result(found[1])

    def _result(self, row: Row) -> str:
        return row.source if self._reverse else row.target


def choose(name: str, find: Find, *, version: str = "", reverse: bool = False) -> Chosen | None:
    """The rows for ``table(name, version=…, reverse=…)``; None when there is no such table. Raises :class:`TableError`.

    ``find`` gives the table of a file name without suffix, and is asked for nothing but the files that are used.
    """
    if version:
        table = _fixed(name, version, find)
        return None if table is None else Chosen([_Version(table, ALWAYS, _by_key(table, reverse))], reverse)
    newest = find(name)
    if newest is None:
        return None
    tables = _by_date(newest, find)
    for first, second in _ties(tables):
        raise TableError(*_tie(first, second))
    return Chosen([_Version(table, table.days, _by_key(table, reverse)) for table in tables], reverse)


def _fixed(name: str, version: str, find: Find) -> CodeTable | None:
    table = find(f"{name}@{version}")
    if table is not None:
        return table
    table = find(name)
    if table is None or table.version == version:
        return table
    known = ", ".join(filter(None, (table.label, *(stem.partition("@")[2] for stem in table.versions))))
    raise TableError(
        t(f"table {name} has no version {version!r}", f"代码表 {name} 没有版本 {version!r}"),
        t(f"it has {known}", f"现有：{known}")
        if known
        else t(f"add tables/{name}@{version}.csv", f"请添加 tables/{name}@{version}.csv"),
    )


def _by_date(newest: CodeTable, find: Find) -> list[CodeTable]:
    """Those that take part in the choice by date, the newest first: the file without @ always, others that say from when."""
    others = (find(name) for name, dated in newest.versions.items() if dated)
    chosen = [newest, *(table for table in others if table is not None and table.days.first > ALWAYS.first)]
    return sorted(chosen, key=lambda table: table.days.first, reverse=True)


def _ties(tables: list[CodeTable]) -> list[tuple[CodeTable, CodeTable]]:
    return [(first, second) for first, second in pairwise(tables) if first.days.first == second.days.first]


def _tie(first: CodeTable, second: CodeTable) -> tuple[str, str]:
    day = day_text(first.days.first)
    return (
        t(
            f"{first.name} and {second.name} are both valid from {day}",
            f"{first.name} 与 {second.name} 均自 {day} 起有效",
        ),
        t("give one another # valid_from:", "请更改其一的 # valid_from:"),
    )


def version_problems(name: str, find: Find) -> list[Problem]:
    """What is wrong between the versions of a table, as opposed to within one file."""
    newest = find(name)
    if newest is None:
        return []
    found = []
    for first, second in _ties(_by_date(newest, find)):
        text, remedy = _tie(first, second)
        found.append(Problem(text, first.file, key=f"table {name}", remedy=remedy))
    return found


def _by_key(table: CodeTable, reverse: bool) -> dict[str, tuple[Row, ...]]:
    found: dict[str, list[Row]] = {}
    clashes: list[tuple[Row, Row]] = []
    for row in table.rows:
        if not reverse:
            found.setdefault(row.source, []).append(row)
        elif row.target:
            before = found.setdefault(row.target, [])
            other = next((other for other in before if other.days.overlap(row.days)), None)
            if other is None:
                before.append(row)
            else:
                clashes.append((other, row))
    if clashes:
        named = ", ".join(
            t(
                f"{other.target!r} from {other.source!r} (line {other.line}) and {row.source!r} (line {row.line})",
                f"{other.target!r} 来自 {other.source!r}（第 {other.line} 行）与 {row.source!r}（第 {row.line} 行）",
            )
            for other, row in clashes[:_NAMED]
        )
        more = t(f" and {len(clashes) - _NAMED} more", f"，另有 {len(clashes) - _NAMED} 处") if clashes[_NAMED:] else ""
        raise TableError(
            t(
                f"table {table.name} is not one-to-one in reverse: {named}{more}",
                f"代码表 {table.name} 反向不唯一：{named}{more}",
            ),
            t("write a table of its own for this direction", "请为此方向另建代码表"),
        )
    return {text: tuple(rows) for text, rows in found.items()}
