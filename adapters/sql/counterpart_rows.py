"""Rows laid out in a table the hub reads: with the number, the time or the mark by which it finds what is new."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast
from zoneinfo import ZoneInfo

from adapters.sql.counterpart_tables import SqlRefusal, Tables, quoted
from adapters.sql.listen import ByOutbox, BySequence, ByTimestamp, Detail, SqlListen
from hub.api import HubError
from hub.i18n import t
from hub.simulator.side import Side

__all__ = ["RowsLaid", "last_part", "lay_source"]


def last_part(name: str) -> str:
    return name.rpartition(".")[2]


def lay_source(tables: Tables, options: SqlListen) -> bool:
    """The table an interface reads, as its contract has it; False where the DDL has it already."""
    if options.table is None or tables.columns(last_part(options.table)):
        return False
    read = options.read
    columns: dict[str, str] = {}
    key = [read.column] if isinstance(read, BySequence) else list(read.key)
    if isinstance(read, BySequence):
        columns[read.column] = "BIGINT"
    elif isinstance(read, ByTimestamp):
        columns[read.column] = "TIMESTAMP"
    marks = [read.pending, read.done, read.failed] if isinstance(read, ByOutbox) else []
    more = [name for mark in marks if isinstance(mark, dict) for name in mark]
    payload = [options.payload] if options.payload is not None else []
    parents = [name for detail in options.details for name in detail.match.values()]
    for name in (*key, *more, *payload, *options.columns, *options.version, *parents):
        columns.setdefault(name, "")
    tables.lay(last_part(options.table), columns, key)
    for detail in options.details:
        if detail.table is not None and not tables.columns(last_part(detail.table)):
            tables.lay(last_part(detail.table), dict.fromkeys([*detail.match, *detail.columns], ""))
    return True


class RowsLaid:
    """Of one interface. ``open``: its columns are those of the first row that is laid out."""

    def __init__(self, side: Side, tables: Tables, *, is_open: bool) -> None:
        self._side, self._tables, self._open = side, tables, is_open
        self._options = cast(SqlListen, side.bound.options)

    def put(self, body: bytes) -> None:
        """Raises :class:`HubError` for what can't be a row of the table."""
        options = self._options
        if options.table is None:
            raise _can_not(
                t(f"{self._side.interface} reads a query", f"{self._side.interface} 读取查询结果"),
                t("write rows into its tables", "请直接向相关表写入记录"),
            )
        row = self._row(body)
        lists = {detail.field: row.pop(detail.field, None) or [] for detail in options.details}
        row = {name: _plain(value) for name, value in row.items()}
        table = last_part(options.table)
        try:
            if self._open:
                self._tables.lay(table, dict.fromkeys(row, ""))
                self._open = False
            self._tables.begin()
            try:
                if self._complete(table, row):
                    self._insert(table, row, replace=True)
                    for detail in options.details:
                        self._details(detail, row, lists[detail.field])
            except BaseException:
                self._tables.end(commit=False)
                raise
            self._tables.end(commit=True)
        except SqlRefusal as refusal:
            about = f" {refusal.column}" if refusal.column else ""
            raise _can_not(f"{refusal.state} {refusal.text}{about}", "") from None

    def _row(self, body: bytes) -> dict[str, Any]:
        options = self._options
        if options.payload is not None:
            return {options.payload: body.decode(self._side.bound.contract.encoding or "utf-8", "replace")}
        tree = self._side.bound.codec.decode(body, encoding=self._side.bound.contract.encoding)
        if not isinstance(tree, dict):
            raise _can_not(t("a row is an object", "一行应为一个对象"), "")
        return tree

    def _complete(self, table: str, row: dict[str, Any]) -> bool:
        """With what makes it new; False where the very same row lies there."""
        read = self._options.read
        if isinstance(read, ByOutbox):
            row |= {name: _plain(value) for name, value in read.pending.items()}
        elif self._there(table, row):
            return False
        if isinstance(read, BySequence):
            self._number(table, row, read.column)
            return True
        for name in read.key:
            if row.get(name) is None:
                row.pop(name, None)
                self._number(table, row, name)
        if isinstance(read, ByTimestamp):
            newest = self._most(table, read.column)
            if row.get(read.column) is None or (newest is not None and str(row[read.column]) <= str(newest)):
                clock = ZoneInfo(self._options.database.tz)
                row[read.column] = datetime.now(clock).replace(tzinfo=None).isoformat(" ", "microseconds")
        return True

    def _there(self, table: str, row: Mapping[str, Any]) -> bool:
        where = " AND ".join(f"{quoted(name)} IS ${at}" for at, name in enumerate(row, 1)) or "0"
        found = self._tables.run(f"SELECT 1 FROM {quoted(table)} WHERE {where}", _numbered(row))  # noqa: S608
        return bool(found.rows)

    def _number(self, table: str, row: dict[str, Any], name: str) -> None:
        """A number of its own, above all others."""
        most = self._most(table, name)
        given = row.get(name)
        if not isinstance(given, int) or (isinstance(most, int) and given <= most):
            row[name] = most + 1 if isinstance(most, int) else 1

    def _most(self, table: str, name: str) -> Any:
        return self._tables.run(f"SELECT max({quoted(name)}) FROM {quoted(table)}", {}).rows[0][0]  # noqa: S608

    def _insert(self, table: str, row: Mapping[str, Any], *, replace: bool = False) -> None:
        names = ", ".join(map(quoted, row))
        values = ", ".join(f"${at}" for at in range(1, len(row) + 1))
        word = "INSERT OR REPLACE" if replace else "INSERT"
        self._tables.run(f"{word} INTO {quoted(table)} ({names}) VALUES ({values})", _numbered(row))

    def _details(self, detail: Detail, row: Mapping[str, Any], entries: Any) -> None:
        if detail.table is None or not isinstance(entries, list):
            raise _can_not(t(f"{detail.field} can't be laid out", f"无法放置 {detail.field}"), "")
        table = last_part(detail.table)
        for entry in entries:
            own = {name: row.get(parent) for name, parent in detail.match.items()}
            given = {name: _plain(value) for name, value in dict(entry).items()} | own
            self._tables.lay(table, dict.fromkeys(given, ""))
            self._insert(table, given)


def _numbered(row: Mapping[str, Any]) -> dict[str, Any]:
    return {str(at): value for at, value in enumerate(row.values(), 1)}


def _plain(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, bool):
        return int(value)
    return value if isinstance(value, str | int | float | bytes) or value is None else str(value)


def _can_not(text: str, remedy: str) -> HubError:
    return HubError(text, code="simulate.offer", remedy=remedy)
