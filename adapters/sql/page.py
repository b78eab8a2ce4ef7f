"""Reading one page: rows, their details, and the messages made of them. Runs in a thread of the adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from adapters.sql.listen import SqlListen
from adapters.sql.marks import dump_values
from adapters.sql.rows import JsonWriter, key_text, plain_bytes
from adapters.sql.source import LIST, DetailQuery, Query
from hub.api import HubError, Item
from hub.i18n import t

__all__ = ["Page", "PageReader", "Row"]

#: Rows a driver may fetch ahead, so that a page of large rows does not fill the memory.
_AHEAD = 200

_Record = dict[str, Any]


@dataclass(slots=True)
class Row(Item):
    """One row as read, which is also the message it makes."""

    key: tuple[Any, ...] = ()
    record: _Record | None = None  # the row itself, where something is to be added to its message


@dataclass(slots=True)
class Page:
    """Rows in their order."""

    rows: list[Row]
    last: tuple[Any, ...] | None  # values of the order columns of the last row
    more: bool  # whether there may be another page


class PageReader:
    """Reads pages of one interface."""

    def __init__(self, options: SqlListen, query: Query, place: str, encoding: str) -> None:
        self._options = options
        self._query = query
        self._place = place
        self._encoding = encoding
        self._details = [DetailQuery(detail) for detail in options.details]
        self.dump = JsonWriter(ZoneInfo(options.database.tz)).dump

    def read(
        self, connection: Connection, after: Sequence[Any] | None, begin: Any = None, *, records: bool = False
    ) -> Page:
        """The rows after these values of the order columns, else from ``begin`` on; ``records``: keep the rows as well."""
        options, query, dump = self._options, self._query, self.dump
        statement = query.page(after, options.page, begin=begin)
        streamed = connection.execution_options(stream_results=True, max_row_buffer=_AHEAD)
        with streamed.execute(statement) as result:
            names = list(result.keys())
            at = self._places(names)
            # What is needed beyond the columns of the message stands behind them.
            shown = query.shown or names
            values: Iterable[Any] = result
            joined: list[_Record] | None = None
            if self._details:
                values = list(self._bounded(result))
                result.close()  # some drivers allow one open result at a time
                joined = self._join(connection, shown, at, values)
            keys = [at(name) for name in query.key]
            version = [at(name) for name in query.version]
            payload = at(options.payload) if options.payload is not None else -1
            rows: list[Row] = []
            size = 0
            row: Any = None
            for number, row in enumerate(values):
                record: _Record | None = None
                if payload >= 0:
                    raw = plain_bytes(row[payload], self._encoding)
                else:
                    record = joined[number] if joined is not None else dict(zip(shown, row, strict=False))
                    raw = dump(record)
                key = tuple([row[each] for each in keys])
                control = key_text(key)
                if version:
                    control += "@" + key_text([row[each] for each in version])
                rows.append(Row(raw, control, key=key, record=record if records else None))
                size += len(raw)
                if size >= options.page_bytes:
                    break
            if not rows:
                return Page(rows, None, False)
            last = tuple([row[at(name)] for name in query.order])
            dump_values(last)  # a key that can't be told from another must not be passed over
            whole = joined is None and size < options.page_bytes
            return Page(rows, last, len(rows) == options.page or not whole)

    def _places(self, names: list[str]) -> Callable[[str], int]:
        """Where a column stands among those read; some databases give its name in other letters."""
        if len(set(names)) < len(names):
            raise HubError(
                t(f"{self._place}: two columns have the same name", f"{self._place}：存在同名的列"),
                code="sql.columns",
                remedy=t("name them apart in query, or list columns", "请在 query 中为其取不同名称，或列出 columns"),
            )
        places = {name: number for number, name in enumerate(names)}
        loose = {name.lower(): number for number, name in enumerate(names)}

        def at(name: str) -> int:
            found = places.get(name, loose.get(name.lower()))
            if found is None:
                raise HubError(
                    t(f"{self._place}: there is no column {name}", f"{self._place}：没有列 {name}"),
                    code="sql.columns",
                    remedy=t("compare the options with the table", "请对照表结构检查配置"),
                )
            return found

        return at

    # -- details -------------------------------------------------------------------------------------------------

    def _bounded(self, result: Iterable[Any]) -> Iterable[Any]:
        """Rows until they are larger than a page may be, by a measure that is cheap."""
        size = 0
        for row in result:
            yield row
            size += sum(len(value) if isinstance(value, str | bytes) else 16 for value in row)
            if size >= self._options.page_bytes:
                return

    def _join(
        self, connection: Connection, shown: Sequence[str], at: Callable[[str], int], rows: Sequence[Any]
    ) -> list[_Record]:
        records: list[_Record] = [dict(zip(shown, row, strict=False)) for row in rows]
        for query in self._details:
            places = [at(name) for name in query.parents]
            parents = [tuple([row[place] for place in places]) for row in rows]
            lists = self._children(connection, query, list(dict.fromkeys(parents)))
            for parent, record in zip(parents, records, strict=True):
                record[query.detail.field] = lists.get(parent, [])
        return records

    def _children(
        self, connection: Connection, query: DetailQuery, parents: list[tuple[Any, ...]]
    ) -> dict[tuple[Any, ...], list[_Record]]:
        most = left = self._options.detail_rows
        lists: dict[tuple[Any, ...], list[_Record]] = {}
        for start in range(0, len(parents), LIST):
            streamed = connection.execution_options(stream_results=True, max_row_buffer=_AHEAD)
            with streamed.execute(query.rows(parents[start : start + LIST], left + 1)) as result:
                names = list(result.keys())
                at = self._places(names)
                keys = [at(name) for name in query.keys]
                shown = query.detail.columns or names
                for row in result:
                    left -= 1
                    if left < 0:
                        raise self._too_many(query.detail.field, most)
                    lists.setdefault(tuple([row[key] for key in keys]), []).append(dict(zip(shown, row, strict=False)))
        return lists

    def _too_many(self, field: str, most: int) -> HubError:
        return HubError(
            t(
                f"{self._place}: more than {most} rows of {field} in one page",
                f"{self._place}：一页中 {field} 的明细超过 {most} 行",
            ),
            code="sql.details",
            remedy=t("lower page, or raise detail_rows", "请减小 page 或调大 detail_rows"),
        )
