"""The statements that write rows, in the words of each product. Values are always parameters, names always quoted where needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, TableClause, Update, column, delete, func, insert, select, table, text, update
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.base import Executable

from adapters.sql.connect import Call, Dedupe, Out, Rows
from adapters.sql.products import Product
from adapters.sql.source import bound

__all__ = [
    "call_statement",
    "delete_rows",
    "exists",
    "insert_rows",
    "note_delivery",
    "update_rows",
    "upsert_rows",
    "value_names",
]

_SQLSERVER_TYPES = {"text": "NVARCHAR(MAX)", "integer": "BIGINT", "decimal": "DECIMAL(38, 10)", "datetime": "DATETIME2"}


def value_names(columns: Sequence[str]) -> dict[str, str]:
    """Column -> name of the parameter with its value. Column names themselves may hold what a driver can't take."""
    return {name: f"p{number}" for number, name in enumerate(columns)}


def _table(name: str, columns: Sequence[str]) -> TableClause:
    schema, _, last = name.rpartition(".")
    return table(last, *(column(each) for each in columns), schema=schema or None)


def _values(columns: Sequence[str]) -> dict[str, Any]:
    return {name: bound(parameter) for name, parameter in value_names(columns).items()}


def _key(step: Rows) -> list[ColumnElement[bool]]:
    names = value_names(list(step.columns))
    return [column(name) == bound(names[name]) for name in step.key]


def insert_rows(step: Rows, more: Sequence[str] = ()) -> Executable:
    columns = [*step.columns, *more]
    target = _table(step.table, [*columns, *(name for name in step.returning if name not in columns)])
    found = insert(target).values(_values(columns))
    return found.returning(*(target.c[name] for name in step.returning)) if step.returning else found


def update_rows(step: Rows) -> Update:
    columns = list(step.columns)
    values = {name: value for name, value in _values(columns).items() if name not in step.key}
    return update(_table(step.table, columns)).where(*_key(step)).values(values)


def delete_rows(step: Rows) -> Executable:
    return delete(_table(step.table, list(step.columns))).where(*_key(step))


def exists(step: Rows) -> Executable:
    """Whether a row with this key is there."""
    return select(text("1")).select_from(_table(step.table, [])).where(*_key(step))


def upsert_rows(step: Rows, product: Product, dialect: Dialect) -> Executable | None:
    """``None`` for a product where it takes two statements."""
    columns = list(step.columns)
    changed = [name for name in columns if name not in step.key]
    target = _table(step.table, columns)
    match product.upsert:
        case "on_conflict":
            make = sqlite.insert if product.family == "sqlite" else postgresql.insert
            found = make(target).values(_values(columns))
            if not changed:
                return found.on_conflict_do_nothing(index_elements=list(step.key))
            return found.on_conflict_do_update(
                index_elements=list(step.key), set_={name: found.excluded[name] for name in changed}
            )
        case "duplicate_key":
            replaced = mysql.insert(target).values(_values(columns))
            # With nothing to change the key is given its own value: IGNORE would hide other errors.
            return replaced.on_duplicate_key_update({name: replaced.inserted[name] for name in changed or step.key[:1]})
        case "merge":
            return _merge(step, product, dialect, changed)
        case "two_step":
            return None


def _merge(step: Rows, product: Product, dialect: Dialect, changed: Sequence[str]) -> Executable:
    quote = dialect.identifier_preparer.quote
    names = value_names(list(step.columns))
    target = ".".join(quote(part) for part in step.table.split("."))
    oracle = product.family == "oracle"
    given = ", ".join(f":{names[name]} AS {quote(name)}" for name in step.columns)
    same = " AND ".join(f"t.{quote(name)} = s.{quote(name)}" for name in step.key)
    update_part = ", ".join(f"t.{quote(name)} = s.{quote(name)}" for name in changed)
    columns = ", ".join(quote(name) for name in step.columns)
    values = ", ".join(f"s.{quote(name)}" for name in step.columns)
    # Without HOLDLOCK two of them may both find nothing and insert (SQL Server, MERGE, remarks on concurrency).
    head = f"MERGE INTO {target} t" if oracle else f"MERGE INTO {target} WITH (HOLDLOCK) AS t"
    # Names come from the configuration, validated and quoted; values are parameters.
    sql = f"{head} USING (SELECT {given}{' FROM DUAL' if oracle else ''}) s ON ({same})"  # noqa: S608
    if changed:
        sql += f" WHEN MATCHED THEN UPDATE SET {update_part}"
    sql += f" WHEN NOT MATCHED THEN INSERT ({columns}) VALUES ({values})"  # noqa: S608
    return text(sql if oracle else sql + ";").bindparams(*(bound(name) for name in names.values()))


def note_delivery(dedupe: Dedupe) -> Executable:
    """Remember a delivery; the parameter is ``key``."""
    columns = [dedupe.column, *([dedupe.at] if dedupe.at else [])]
    values = {dedupe.column: bound("key")} | ({dedupe.at: func.current_timestamp()} if dedupe.at else {})
    return insert(_table(dedupe.table, columns)).values(values)


def call_statement(step: Call, product: Product, dialect: Dialect) -> tuple[list[str], str, list[str]]:
    """Statements before, the call, and statements after it that fetch the output parameters; values as ``:p0`` …"""
    quote = dialect.identifier_preparer.quote
    name = ".".join(quote(part) for part in step.call.split("."))
    outs = [each for each, value in step.params.items() if isinstance(value, Out)]
    places = {each: f":p{number}" for number, each in enumerate(step.params)}
    match product.family:
        case "postgresql":
            # CALL answers with one row of the output parameters.
            arguments = ", ".join("NULL" if each in outs else place for each, place in places.items())
            return [], f"CALL {name}({arguments})", []
        case "mysql":
            variables = {each: f"@tongqu_{number}" for number, each in enumerate(outs)}
            arguments = ", ".join(variables.get(each, place) for each, place in places.items())
            before = [f"SET {', '.join(f'{variable} = NULL' for variable in variables.values())}"] if outs else []
            after = [f"SELECT {', '.join(variables.values())}"] if outs else []
            return before, f"CALL {name}({arguments})", after
        case "sqlserver":
            wanted = [value.out for value in step.params.values() if isinstance(value, Out)]
            declared = [f"@o{number} {_SQLSERVER_TYPES[out]}" for number, out in enumerate(wanted)]
            arguments = ", ".join(
                f"@{each} = @o{outs.index(each)} OUTPUT" if each in outs else f"@{each} = {place}"
                for each, place in places.items()
            )
            head = f"SET NOCOUNT ON; DECLARE {', '.join(declared)}; " if outs else "SET NOCOUNT ON; "
            tail = f"; SELECT {', '.join(f'@o{n}' for n in range(len(outs)))}" if outs else ""
            return [], f"{head}EXEC {name} {arguments}{tail}", []
        case _:
            return [], f"BEGIN {name}({', '.join(places.values())}); END;", []
