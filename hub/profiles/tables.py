"""``each``: one interface or setting for every row of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hub.errors import Problem
from hub.i18n import t
from hub.profiles.document import Layer
from hub.profiles.parameters import ABSENT, Scope, fill, has_reference, referenced, references
from hub.validation import did_you_mean
from hub.yaml_source import Place

__all__ = ["MAX_ROWS", "Tables", "entries"]

#: Most rows of one table.
MAX_ROWS = 1000

#: Name of a table -> its rows and where they are written.
Tables = Mapping[str, tuple[list[dict[str, Any]], Place]]


def entries(
    data: Mapping[str, Any], place: Place, scope: Scope, tables: Tables, problems: list[Problem]
) -> Iterator[tuple[str, Layer]]:
    """The interfaces or settings of one file by name: those written out, and one for each row of those with ``each``.

    ``place`` is that of ``data``.
    """
    for name, entry in data.items():
        at = Place(place.document, (*place.path, name))
        many = isinstance(entry, dict) and "each" in entry
        if not many and not has_reference(name):
            yield name, Layer(at, entry, scope)
        elif not many:
            remedy = t("add each: the name of a table, or the rows", "请添加 each：表名或各行")
            problems.append(at.problem(t("a name made from rows needs each", "由行生成的名称需要 each"), remedy=remedy))
        elif not has_reference(name):
            remedy = t("put a column of the table into the name, e.g. ${{id}}", "请在名称中写表的列，如 ${{id}}")
            problems.append(at.problem(t("every row would get this name", "每行都会得到同一名称"), remedy=remedy))
        else:
            yield from _of_rows(name, entry, at, scope, tables, problems)


def _of_rows(
    name: str, entry: dict[str, Any], at: Place, scope: Scope, tables: Tables, problems: list[Problem]
) -> Iterator[tuple[str, Layer]]:
    found = _rows(entry["each"], at, scope, tables, problems)
    if found is None:
        return
    rows, origin = found
    if len(rows) > MAX_ROWS:
        text = t(f"more than {MAX_ROWS} rows", f"超过 {MAX_ROWS} 行")
        problems.append(origin.problem(text, remedy=t("split the table", "请拆分该表")))
        return
    columns = frozenset(column for row in rows for column in row)
    template = {key: value for key, value in entry.items() if key != "each"}
    seen: dict[str, int] = {}
    for number, row in enumerate(rows):
        values = {
            column: (value, Place(origin.document, (*origin.path, number, column))) for column, value in row.items()
        }
        here = Scope(values, columns, scope)
        lacking = [column for column in references(name) if column in columns and column not in row]
        before = len(problems)
        made = None if lacking else fill(name, here, at, (), problems)
        if len(problems) > before:
            return  # no fault of the row
        if made is ABSENT or not isinstance(made, str | int) or not str(made):
            text = t(f"row {number + 1} makes no name", f"第 {number + 1} 行未生成名称")
            problems.append(origin.problem(text, (number,), remedy=t(f"it is made as {name}", f"名称写法为 {name}")))
        elif str(made) in seen:
            text = t(
                f"makes {made!r} as row {seen[str(made)] + 1} does", f"与第 {seen[str(made)] + 1} 行同样生成 {made!r}"
            )
            problems.append(origin.problem(text, (number,), remedy=t("make them differ", "请使其不同")))
        else:
            seen[str(made)] = number
            yield str(made), Layer(at, template, here)


def _rows(
    each: Any, at: Place, scope: Scope, tables: Tables, problems: list[Problem]
) -> tuple[list[dict[str, Any]], Place] | None:
    """The rows and where they are written; None with a problem told."""
    origin = Place(at.document, (*at.path, "each"))
    if referenced(each):
        origin = scope.place(referenced(each)) or origin
    before = len(problems)
    rows = fill(each, scope, at, ("each",), problems)
    if isinstance(rows, str):
        if rows in tables:
            return tables[rows]
        text = t(f"there is no table {rows!r}", f"没有名为 {rows!r} 的表")
        problems.append(origin.problem(text, remedy=did_you_mean(rows, tables)))
        return None
    if len(problems) > before:
        return None
    if rows is ABSENT:
        return [], origin
    if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
        return rows, origin
    text = t("expected the name of a table, or rows of keys and values", "应为表名，或由键值组成的各行")
    problems.append(origin.problem(text, remedy=t("write e.g. each: services", "例如 each: services")))
    return None
