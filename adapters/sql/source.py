"""The statements that read a source page by page: always by key (``WHERE key > last``), never by ``OFFSET``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    and_,
    asc,
    bindparam,
    column,
    delete,
    func,
    literal_column,
    or_,
    select,
    table,
    text,
    tuple_,
    update,
)
from sqlalchemy.sql.dml import Delete, Update
from sqlalchemy.types import NULLTYPE

from adapters.sql.listen import ByComparison, ByOutbox, BySequence, ByTimestamp, Detail, SqlListen
from adapters.sql.options import Scalar

__all__ = ["DetailQuery", "Query", "bound", "named", "settle"]

_Select = Select[*tuple[Any, ...]]

#: Values in one IN list: Oracle allows 1000, SQL Server 2100 parameters in all.
LIST = 500


def bound(name: str, value: Any = None, **more: Any) -> Any:
    """A parameter the driver gets as it is: SQLAlchemy's own types would add casts that lose a time zone."""
    return bindparam(name, value, type_=NULLTYPE, **more)


def named(name: str) -> FromClause:
    """A table by its dotted name."""
    schema, _, last = name.rpartition(".")
    return table(last, schema=schema or None)


def _selected(name: str | None, query: str, params: Mapping[str, Scalar], needed: Sequence[str]) -> FromClause:
    if name:
        return named(name)
    clause = text(query.strip().rstrip(";"))
    if params:
        used = {key: value for key, value in params.items() if key in clause._bindparams}
        clause = clause.bindparams(*(bound(key, value) for key, value in used.items()))
    return clause.columns(*(column(each) for each in dict.fromkeys(needed))).subquery("source")


class Query:
    """The rows of an interface in the order they are read in."""

    def __init__(self, options: SqlListen, row_values: bool) -> None:
        read = options.read
        match read:
            case ByTimestamp():
                self.order = list(dict.fromkeys([read.column, *read.key]))
                self.key = list(read.key)
                version = options.version or [read.column]
            case BySequence():
                self.order, self.key, version = [read.column], [read.column], options.version
            case ByOutbox() | ByComparison():
                self.order, self.key, version = list(read.key), list(read.key), options.version
        self.version = list(version)
        self._row_values = row_values
        self._options = options
        #: Columns of the message; empty: all there are.
        self.shown = list(options.columns)
        more = [options.payload] if options.payload is not None else []
        joined = [parent for detail in options.details for parent in detail.match.values()]
        self.needed = list(dict.fromkeys([*self.shown, *self.order, *self.key, *self.version, *more, *joined]))
        self._from = _selected(options.table, options.query, options.params, self.needed)
        self._order: list[ColumnElement[Any]] = [column(name) for name in self.order]

    def page(self, after: Sequence[Any] | None, limit: int, *, begin: Any = None) -> _Select:
        """The rows after these values of :attr:`order`, or from ``begin`` of its first column on, or all."""
        return self._where(self._select(), after, begin).order_by(*(asc(each) for each in self._order)).limit(limit)

    def nothing(self) -> _Select:
        """The page without rows: whether it can be read at all."""
        return self._select().where(literal_column("1") == literal_column("0"))

    def waiting(self, after: Sequence[Any] | None, most: int, *, begin: Any = None) -> _Select:
        """How many rows there are, counted up to ``most``, and the lowest value of the first column."""
        rows = self._where(select(self._order[0].label("first")).select_from(self._from), after, begin)
        rows = rows.order_by(*(asc(each) for each in self._order)).limit(most)
        inner = rows.subquery("waiting")
        return select(func.count(), func.min(inner.c.first)).select_from(inner)

    def _select(self) -> _Select:
        if self.shown or self._options.payload is not None:
            return select(*(column(name) for name in self.needed)).select_from(self._from)
        return select(literal_column("*")).select_from(self._from)

    def _where(self, found: _Select, after: Sequence[Any] | None, begin: Any) -> _Select:
        options = self._options
        conditions: list[ColumnElement[bool]] = []
        if options.where.strip():
            clause = text(f"({options.where.strip()})")
            used = {key: value for key, value in options.params.items() if key in clause._bindparams}
            conditions.append(clause.bindparams(*(bound(k, v) for k, v in used.items())))  # type: ignore[arg-type]
        if isinstance(options.read, ByOutbox):
            conditions += [_equals(name, value) for name, value in options.read.pending.items()]
        if after is not None:
            conditions.append(_after(self._order, after, self._row_values))
        elif begin is not None:
            conditions.append(self._order[0] >= bound("begin", begin))
        return found.where(*conditions)


def _equals(name: str, value: Scalar) -> ColumnElement[bool]:
    if value is None:
        return column(name).is_(None)
    return and_(column(name) == bound("pending", value, unique=True))


def _after(columns: Sequence[ColumnElement[Any]], values: Sequence[Any], row_values: bool) -> ColumnElement[bool]:
    binds = [bound(f"after{number}", value) for number, value in enumerate(values)]
    if len(columns) == 1:
        return and_(columns[0] > binds[0])
    if row_values:
        return tuple_(*columns) > tuple_(*binds)
    further: ColumnElement[bool] = columns[-1] > binds[-1]
    for each, value in list(zip(columns, binds, strict=True))[-2::-1]:
        further = or_(each > value, and_(each == value, further))
    # What the rest implies already, said so that an index on the first column is used.
    return and_(columns[0] >= binds[0], further)


class DetailQuery:
    """The rows of a detail for a page of rows."""

    def __init__(self, detail: Detail) -> None:
        self.detail = detail
        self.keys = list(detail.match)  # columns of the detail
        self.parents = list(detail.match.values())  # columns of the row
        needed = list(dict.fromkeys([*detail.columns, *self.keys, *detail.order_by]))
        self._from = _selected(detail.table, detail.query, {}, needed)
        self._columns: list[Any] = [column(name) for name in needed] if detail.columns else [literal_column("*")]

    def rows(self, values: Sequence[tuple[Any, ...]], most: int) -> _Select:
        """For at most :data:`LIST` values of :attr:`parents`."""
        keys: list[ColumnElement[Any]] = [column(name) for name in self.keys]
        condition: ColumnElement[bool]
        if len(keys) == 1:
            condition = keys[0].in_(bound("keys", [value[0] for value in values], expanding=True))
        else:
            condition = or_(
                *(
                    and_(
                        *(
                            key == bound(f"k{at}_{n}", part)
                            for n, (key, part) in enumerate(zip(keys, value, strict=True))
                        )
                    )
                    for at, value in enumerate(values)
                )
            )
        found = select(*self._columns).select_from(self._from).where(condition)
        if self.detail.order_by:
            found = found.order_by(*(asc(column(name)) for name in self.detail.order_by))
        return found.limit(most)


def settle(options: SqlListen, read: ByOutbox, done: object) -> Delete | Update:
    """Delete a row of the outbox, or write ``done`` into it; the key as parameters ``k0``, ``k1`` …"""
    name = options.table or ""
    where = [column(each) == bound(f"k{number}") for number, each in enumerate(read.key)]
    if not isinstance(done, Mapping):
        return delete(named(name)).where(*where)  # type: ignore[arg-type]
    schema, _, last = name.rpartition(".")
    target = table(last, *(column(each) for each in done), schema=schema or None)
    values = {
        each: func.current_timestamp() if value == "now" else bound(f"v{number}", value)
        for number, (each, value) in enumerate(done.items())
    }
    return update(target).where(*where).values(values)
