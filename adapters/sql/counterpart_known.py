"""The statements of interfaces, by which the other end of a database knows for which of them it is being asked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import text
from sqlalchemy.sql.base import Executable

from adapters.sql.connect import Rows, SqlConnect, Statement
from adapters.sql.listen import ByOutbox, SqlListen
from adapters.sql.products import Product
from adapters.sql.source import Query, bound, settle
from adapters.sql.statements import (
    delete_rows,
    exists,
    insert_rows,
    note_delivery,
    update_rows,
    upsert_rows,
    value_names,
)
from hub.simulator.side import Side

__all__ = ["Known", "Spoken", "declared_statements"]

_SENT = re.compile(r"\$\d+(?:::[A-Za-z_ ]+(?:\(\d+(?:, ?\d+)?\))?)?")
_WRITTEN = re.compile(r"%\((\w+)\)s(?:::[A-Za-z_ ]+(?:\(\d+(?:, ?\d+)?\))?)?")
_MANY = re.compile(r"(\((?:\?, )*\?\))(?:, \1)+")


class Spoken:
    """One statement of an interface: as it is sent, but for values; the names of its parameters in their order."""

    def __init__(self, statement: Executable, product: Product, columns: Mapping[str, str] | None = None) -> None:
        """``columns``: parameter -> what it is called."""
        compiled = str(statement.compile(dialect=product.dialect()))  # type: ignore[attr-defined]
        order = list(dict.fromkeys(_WRITTEN.findall(compiled)))
        self.names = [(columns or {}).get(name, name) for name in order]
        self.text = _plain(_WRITTEN.sub("?", compiled).replace("%%", "%"))
        self.sql = _WRITTEN.sub(lambda found: f"${order.index(found[1]) + 1}", compiled).replace("%%", "%")


def declared_statements(side: Side) -> Iterator[Spoken]:
    """Those a contract names itself: of statements and rows, not of sources."""
    options = side.bound.options
    if isinstance(options, SqlConnect):
        yield from _written(options)


class Known:
    """Of one database."""

    def __init__(self, sides: Sequence[Side]) -> None:
        self._found: dict[str, list[tuple[Side, Sequence[str]]]] = {}
        for side in sides:
            options = side.bound.options
            spoken = _written(options) if isinstance(options, SqlConnect) else _read(cast(SqlListen, options))
            for one in spoken:
                self._found.setdefault(one.text, []).append((side, one.names))

    def sides(self, sql: str) -> list[Side]:
        """The interfaces with this statement."""
        return [side for side, _ in self._found.get(_plain(_SENT.sub("?", sql)), ())]

    def named(self, sql: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters by the names the contract has for them, or by their numbers."""
        found = self._found.get(_plain(_SENT.sub("?", sql)))
        names = found[0][1] if found else ()
        return {names[at - 1] if (at := int(key)) <= len(names) else key: value for key, value in params.items()}


def _plain(sql: str) -> str:
    return _MANY.sub(r"\1", " ".join(sql.split()))


def _written(options: SqlConnect) -> Iterator[Spoken]:
    product = options.database.kind
    if options.dedupe is not None:
        yield Spoken(note_delivery(options.dedupe), product)
    for step in options.write:
        if isinstance(step, Statement):
            yield Spoken(text(step.sql).bindparams(*(bound(name) for name in step.params)), product)
        elif isinstance(step, Rows):
            yield from _of_rows(step, product)


def _of_rows(step: Rows, product: Product) -> Iterator[Spoken]:
    more = [step.idempotency_column] if step.idempotency_column else []
    columns = {parameter: name for name, parameter in value_names([*step.columns, *more]).items()}
    match step.action:
        case "insert":
            yield Spoken(insert_rows(step, more), product, columns)
        case "update":
            yield Spoken(update_rows(step), product, columns)
        case "delete":
            yield Spoken(delete_rows(step), product, columns)
        case "upsert":
            whole = upsert_rows(step, product, product.dialect())
            if whole is not None:
                yield Spoken(whole, product, columns)
                return
            if len(step.columns) > len(step.key):
                yield Spoken(update_rows(step), product, columns)
            yield Spoken(exists(step), product, columns)
            yield Spoken(insert_rows(step), product, columns)


def _read(options: SqlListen) -> Iterator[Spoken]:
    product = options.database.kind
    query = Query(options, product.row_values)
    after = [0] * len(query.order)
    for start in ({"after": None}, {"after": after}, {"after": None, "begin": 0}):
        yield Spoken(query.page(start["after"], 1, begin=start.get("begin")), product)  # type: ignore[arg-type]
        yield Spoken(query.waiting(start["after"], 1, begin=start.get("begin")), product)  # type: ignore[arg-type]
    if isinstance(options.read, ByOutbox):
        for done in (options.read.done, options.read.failed):
            if done:
                yield Spoken(settle(options, options.read, done), product)
