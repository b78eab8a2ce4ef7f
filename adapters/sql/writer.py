"""Writing one message: its steps in one transaction, in a thread of the adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import BigInteger, Connection, DateTime, Numeric, String, column, outparam, select, text
from sqlalchemy.exc import DBAPIError

from adapters.sql.connect import Call, Out, Rows, Source, SqlConnect, Statement
from adapters.sql.database import SqlDatabase
from adapters.sql.errors import Kind, classify
from adapters.sql.paths import Path
from adapters.sql.rows import JsonWriter
from adapters.sql.source import bound, named
from adapters.sql.statements import (
    call_statement,
    delete_rows,
    exists,
    insert_rows,
    note_delivery,
    update_rows,
    upsert_rows,
    value_names,
)
from adapters.sql.values import ValueReader, read_body, rows_of
from hub.api import PermanentError, TransientError
from hub.i18n import t

__all__ = ["AlreadyDelivered", "Suspected", "Writer"]

_OUT_TYPES: dict[str, Any] = {
    "text": String(4000),
    "integer": BigInteger(),
    "decimal": Numeric(),
    "datetime": DateTime(),
}

#: Does one step: connection, body, key of the delivery, answer to fill in.
_Step = Callable[[Connection, Any, str, "_Answer"], None]


class AlreadyDelivered(Exception):
    """This delivery was written before; the transaction is undone."""


class Suspected(Exception):
    """A key exists already, perhaps that of this very delivery: :meth:`Writer.was_written` tells, in a new transaction."""

    def __init__(self, step: Rows, key: str, error: DBAPIError) -> None:
        super().__init__(step.table)
        self.step, self.key, self.error = step, key, error


class _Answer:
    """What the reply tells."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.rows = 0
        self.keys: list[dict[str, Any]] = []
        self.out: dict[str, Any] = {}
        self.result: list[dict[str, Any]] = []

    def add_keys(self, keys: Mapping[str, Any]) -> None:
        if len(self.keys) < self._most:
            self.keys.append(dict(keys))

    def add_rows(self, found: Any) -> None:
        names = list(found.keys())
        rows = found.fetchmany(self._most - len(self.result) + 1)
        if len(rows) + len(self.result) > self._most:
            raise PermanentError(
                t(f"the result has more than reply_rows ({self._most}) rows", f"结果超过 reply_rows（{self._most}）行"),
                code="sql.result",
            )
        self.result += [dict(zip(names, row, strict=False)) for row in rows]

    def as_dict(self) -> dict[str, Any]:
        known: dict[str, Any] = {"rows": self.rows}
        for name in ("keys", "out", "result"):
            if value := getattr(self, name):
                known[name] = value
        return known


class Writer:
    """The steps of one interface, prepared."""

    def __init__(self, options: SqlConnect, database: SqlDatabase) -> None:
        self._options = options
        self._product = options.database.kind
        self._dialect = database.dialect
        self._zone = ZoneInfo(options.database.tz)
        self._dump = JsonWriter(self._zone).dump
        self._note = note_delivery(options.dedupe) if options.dedupe is not None else None
        self._steps = [self._prepare(step) for step in options.write]

    def write(self, connection: Connection, body: bytes, key: str) -> bytes:
        """Returns the reply. Raises :class:`AlreadyDelivered`, driver errors, :class:`PermanentError`."""
        tree = read_body(body)
        answer = _Answer(self._options.reply_rows)
        if self._note is not None:
            try:
                connection.execute(self._note, {"key": key})
            except DBAPIError as error:
                if classify(error, self._product)[0] is Kind.DUPLICATE:
                    raise AlreadyDelivered from None
                raise
        for step in self._steps:
            step(connection, tree, key, answer)
        return self._dump(answer.as_dict())

    def was_written(self, connection: Connection, suspected: Suspected) -> bool:
        """Whether a row with the key of the delivery is there."""
        where = column(suspected.step.idempotency_column or "") == bound("key", suspected.key)
        return (
            connection.execute(select(text("1")).select_from(named(suspected.step.table)).where(where)).first()
            is not None
        )

    def _prepare(self, step: Rows | Statement | Call) -> _Step:
        match step:
            case Rows():
                return self._rows_step(step)
            case Statement():
                return self._statement_step(step)
            case Call():
                return self._call_step(step)

    # -- rows ----------------------------------------------------------------------------------------------------

    def _rows_step(self, step: Rows) -> _Step:
        names = value_names([*step.columns, *([step.idempotency_column] if step.idempotency_column else [])])
        readers = [(names[name], ValueReader(name, value, self._zone)) for name, value in step.columns.items()]
        path, most = Path(step.rows), self._options.max_rows
        do = {
            "insert": self._insert,
            "update": self._change,
            "delete": self._change,
            "upsert": self._upsert,
        }[step.action](step, names)

        def run(connection: Connection, body: Any, key: str, answer: _Answer) -> None:
            rows = rows_of(path.get(body, body), most, step.rows)
            values = [{name: reader.get(row, body) for name, reader in readers} for row in rows]
            for each in values:
                for each_key in step.key:
                    if each[names[each_key]] is None:
                        raise PermanentError(
                            t(f"the key column {each_key} has no value", f"键列 {each_key} 没有值"), code="sql.key"
                        )
            if step.idempotency_column:
                for number, each in enumerate(values):
                    each[names[step.idempotency_column]] = f"{key}.{number}" if number else key
            if values:
                do(connection, values, answer)
                for each in values:
                    if step.key:
                        answer.add_keys({name: each[names[name]] for name in step.key})

        return run

    def _insert(
        self, step: Rows, names: Mapping[str, str]
    ) -> Callable[[Connection, list[dict[str, Any]], _Answer], None]:
        own = step.idempotency_column
        more = [own] if own else []
        statement = insert_rows(step, more)
        plain = insert_rows(step.model_copy(update={"returning": []}), more)

        def add(connection: Connection, each: dict[str, Any], answer: _Answer) -> None:
            if connection.dialect.insert_returning:
                answer.add_keys(dict(zip(step.returning, connection.execute(statement, each).one(), strict=True)))
            elif len(step.returning) == 1:
                answer.add_keys({step.returning[0]: connection.execute(plain, each).lastrowid})
            else:
                raise PermanentError(
                    t("this database can tell one generated column only", "该数据库只能返回一个自增列"),
                    code="sql.returning",
                )

        def run(connection: Connection, values: list[dict[str, Any]], answer: _Answer) -> None:
            try:
                if not step.returning:
                    connection.execute(plain, values)
                for each in values if step.returning else ():
                    add(connection, each, answer)
            except DBAPIError as error:
                if own and classify(error, self._product)[0] is Kind.DUPLICATE:
                    raise Suspected(step, values[0][names[own]], error) from None
                raise
            answer.rows += len(values)

        return run

    def _change(
        self, step: Rows, names: Mapping[str, str]
    ) -> Callable[[Connection, list[dict[str, Any]], _Answer], None]:
        statement = update_rows(step) if step.action == "update" else delete_rows(step)

        def run(connection: Connection, values: list[dict[str, Any]], answer: _Answer) -> None:
            for each in values:
                met = connection.execute(statement, each).rowcount
                if step.must_exist and met < 1:
                    raise PermanentError(
                        t(f"{step.table} has no row with this key", f"{step.table} 中没有该键值的记录"),
                        code="sql.no_row",
                    )
                answer.rows += max(met, 0)

        return run

    def _upsert(
        self, step: Rows, names: Mapping[str, str]
    ) -> Callable[[Connection, list[dict[str, Any]], _Answer], None]:
        statement = upsert_rows(step, self._product, self._dialect)
        if statement is not None:

            def run(connection: Connection, values: list[dict[str, Any]], answer: _Answer) -> None:
                connection.execute(statement, values)
                answer.rows += len(values)

            return run
        change = update_rows(step) if len(step.columns) > len(step.key) else None
        there = exists(step)
        add = insert_rows(step)

        def run_two(connection: Connection, values: list[dict[str, Any]], answer: _Answer) -> None:
            for each in values:
                if change is not None and connection.execute(change, each).rowcount > 0:
                    continue
                key = {names[name]: each[names[name]] for name in step.key}
                if connection.execute(there, key).first() is not None:
                    continue  # as it was already
                try:
                    connection.execute(add, each)
                except DBAPIError as error:
                    if classify(error, self._product)[0] is Kind.DUPLICATE:
                        raise TransientError(
                            t("another one wrote the same row just now", "其他会话刚写入了同一行"), code="sql.race"
                        ) from None
                    raise
            answer.rows += len(values)

        return run_two

    # -- statements and procedures -------------------------------------------------------------------------------

    def _statement_step(self, step: Statement) -> _Step:
        readers = {name: ValueReader(name, value, self._zone) for name, value in step.params.items()}
        statement = text(step.sql).bindparams(*(bound(name) for name in readers))
        path, most = Path(step.rows or ""), self._options.max_rows

        def run(connection: Connection, body: Any, key: str, answer: _Answer) -> None:
            rows = [body] if step.rows is None else rows_of(path.get(body, body), most, step.rows)
            for row in rows:
                found = connection.execute(statement, {name: reader.get(row, body) for name, reader in readers.items()})
                if found.returns_rows:
                    if step.result:
                        answer.add_rows(found)
                    found.close()
                else:
                    answer.rows += max(found.rowcount, 0)

        return run

    def _call_step(self, step: Call) -> _Step:
        before, call, after = call_statement(step, self._product, self._dialect)
        given = {
            f"p{number}": ValueReader(name, value, self._zone)
            for number, (name, value) in enumerate(step.params.items())
            if isinstance(value, Source)
        }
        outs = {
            f"p{number}": name for number, (name, value) in enumerate(step.params.items()) if isinstance(value, Out)
        }
        statement = text(call).bindparams(*(bound(name) for name in given))
        if self._product.family == "oracle":
            types = {f"p{n}": _OUT_TYPES[v.out] for n, v in enumerate(step.params.values()) if isinstance(v, Out)}
            statement = statement.bindparams(*(outparam(name, kind) for name, kind in types.items()))

        def run(connection: Connection, body: Any, key: str, answer: _Answer) -> None:
            for sql in before:
                connection.execute(text(sql))
            found = connection.execute(statement, {name: reader.get(body, body) for name, reader in given.items()})
            if self._product.family == "oracle":
                answer.out |= {outs[name]: value for name, value in getattr(found, "out_parameters", {}).items()}
                return
            if not after:
                first = found.first() if found.returns_rows else None
            else:
                found.close()
                first = connection.execute(text(after[0])).first()
            if outs and first is not None:
                answer.out |= dict(zip(outs.values(), first, strict=False))

        return run
