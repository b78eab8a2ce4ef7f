"""Tables of a simulated database: laid out from the DDL beside a contract or from the contract itself, kept in SQLite in memory.

SQLite is looser than the products it stands for: a text fits into any column, however long. Triggers see to types and lengths here,
and what SQLite says of an error becomes the SQLSTATE of PostgreSQL (appendix A).
"""

from __future__ import annotations

import asyncio
import math
import re
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

__all__ = ["Answer", "SqlRefusal", "Tables", "quoted"]

#: Object identifiers of PostgreSQL's types (pg_type.dat).
_BOOL, _BYTES, _INT8, _TEXT, _NUMERIC = 16, 17, 20, 25, 1700
_DATED = {"date": 1082, "time": 1083, "timestamp": 1114, "datetime": 1114, "timestamptz": 1184, "boolean": _BOOL}
_DATED |= {"bool": _BOOL, "json": 114, "jsonb": 3802}
_INTEGERS = {"smallint": 16, "int2": 16, "integer": 32, "int": 32, "int4": 32, "bigint": 64, "int8": 64}
_TEXTS = frozenset(("varchar", "character varying", "char", "character", "nvarchar", "nchar", "varchar2", "text"))
_NUMBERS = frozenset(("numeric", "decimal", "number"))
_CHECKED_DATES = {"date": "date", "time": "time", "timestamp": "datetime", "datetime": "datetime"}
_DECLARED = re.compile(r"([a-z0-9 ]+?)\s*(?:\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?(?:\s+with(?:out)? time zone)?")
_QUOTED = re.compile(r"('(?:[^']|'')*'|\"(?:[^\"]|\"\")*\")")
_CAST = re.compile(r"(\$\d+)::[A-Za-z_ ]+(?:\(\d+(?:, ?\d+)?\))?")
#: The action of SQLite that opens a file, also for VACUUM INTO; nothing asked of these tables may.
_ATTACH = 24
#: Longest statement, seconds: whoever asks must not stop the party.
_LONGEST_S = 10.0
_OWN = re.compile(r"(2\d\w{3})\|(.*)", re.DOTALL)
_CONSTRAINTS = {
    "SQLITE_CONSTRAINT_NOTNULL": "23502",
    "SQLITE_CONSTRAINT_FOREIGNKEY": "23503",
    "SQLITE_CONSTRAINT_PRIMARYKEY": "23505",
    "SQLITE_CONSTRAINT_UNIQUE": "23505",
    "SQLITE_CONSTRAINT_CHECK": "23514",
    "SQLITE_CONSTRAINT_TRIGGER": "P0001",
    "SQLITE_MISMATCH": "22P02",
}
_SAID = (
    ("no such table", "42P01"),
    ("no such column", "42703"),
    ("has no column named", "42703"),
    ("no such function", "42883"),
    ("ambiguous column", "42702"),
    ("ON CONFLICT clause", "42P10"),
    ("one statement at a time", "42601"),
    ("syntax error", "42601"),
    ("incomplete input", "42601"),
    ("not authorized", "42501"),
    ("interrupted", "57014"),
)


class SqlRefusal(Exception):
    """What the database does not do: SQLSTATE, text without values, and the names it is about."""

    def __init__(self, state: str, text: str, *, table: str = "", column: str = "") -> None:
        super().__init__(text)
        self.state, self.text, self.table, self.column = state, text, table, column


@dataclass(slots=True)
class Answer:
    """``columns``: name and type of each, None where the statement gives no rows; ``tag``: what was done, as PostgreSQL tells it."""

    tag: str
    columns: list[tuple[str, int]] | None = None
    rows: list[tuple[Any, ...]] = field(default_factory=list)


class Tables:
    """One database. Transactions are one after another: whoever works on it holds :attr:`lock`."""

    def __init__(self, zone: str, schemas: Sequence[str] = ()) -> None:
        """``zone``: of its clock; ``schemas``: names before tables, which are passed over."""
        self.lock = asyncio.Lock()
        names = "|".join(re.escape(name) for name in sorted(schemas, key=len, reverse=True))
        self._schemas = re.compile(rf"\b(?:{names})\.") if names else None
        self._db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._db.set_authorizer(lambda action, *_: sqlite3.SQLITE_DENY if action == _ATTACH else sqlite3.SQLITE_OK)
        self._until = math.inf  # when the statement that runs is cut off
        self._db.set_progress_handler(lambda: time.monotonic() > self._until, 100_000)
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.execute("PRAGMA case_sensitive_like = ON")
        clock = ZoneInfo(zone)
        functions = {
            "now": lambda: datetime.now(clock).isoformat(" ", "microseconds")[:26],
            "version": lambda: "PostgreSQL 15.0 (simulated)",
            "current_schema": lambda: "public",
        }
        for name, function in functions.items():
            self._db.create_function(name, 0, function)
        self._types: dict[str, int] = {}

    def script(self, ddl: str) -> None:
        """Make tables. Raises :class:`SqlRefusal` for what SQLite does not understand."""
        try:
            self._db.executescript(self._spoken(ddl))
        except sqlite3.Error as error:
            raise _refusal(error) from None
        for name in self._names():
            self._see_to(name)

    # -- what there is -----------------------------------------------------------------------------------------------

    def _names(self) -> list[str]:
        return [name for (name,) in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]

    def columns(self, table: str) -> dict[str, str]:
        """Column -> declared type, in lower case; empty for a table that is not there."""
        found = self._db.execute(f"PRAGMA table_info({quoted(table)})")  # a pragma takes no parameter
        return {name: declared.lower() for _, name, declared, *_ in found}

    def lay(self, table: str, columns: Mapping[str, str], key: Sequence[str] = (), unique: Sequence[str] = ()) -> None:
        """A table as a contract has it, or further columns of one that is there already."""
        there = {name.lower() for name in self.columns(table)}
        parts = [f"{quoted(name)} {declared}" for name, declared in columns.items() if name.lower() not in there]
        if there:
            for part in parts:
                self._db.execute(f"ALTER TABLE {quoted(table)} ADD COLUMN {part}")
        else:
            if key:
                parts.append(f"PRIMARY KEY ({', '.join(map(quoted, key))})")
            self._db.execute(f"CREATE TABLE {quoted(table)} ({', '.join(parts)})")
        for name in unique:
            self._db.execute(f"CREATE UNIQUE INDEX {quoted(f'{table} {name}')} ON {quoted(table)} ({quoted(name)})")
        self._see_to(table)

    def _see_to(self, table: str) -> None:
        """Triggers that refuse what does not fit the columns, and write times and decimals as the columns have them."""
        checks: list[str] = []
        forms: list[str] = []
        for name, declared in self.columns(table).items():
            kind, size, scale = _read(declared)
            new, own = f"NEW.{quoted(name)}", quoted(name)
            for state, wrong in _wrong(new, kind, size, scale):
                told = f"{state}|{name}".replace("'", "''")
                checks.append(f"SELECT RAISE(ABORT, '{told}') WHERE {new} IS NOT NULL AND {wrong};")
            if kind in _DATED:
                self._types[name.lower()] = _DATED[kind]
            change = f"UPDATE {quoted(table)} SET {own} ="  # noqa: S608 - names of the DDL, quoted
            if kind.startswith(("timestamp", "datetime")):
                forms.append(
                    f"{change} replace({own}, 'T', ' ') WHERE rowid = NEW.rowid AND {own} LIKE '____-__-__T%';"
                )
            elif kind in _NUMBERS and size:
                rounded = f"round({own}, {scale})"
                forms.append(f"{change} {rounded} WHERE rowid = NEW.rowid AND {own} <> {rounded};")
        for event in ("INSERT", "UPDATE") if checks or forms else ():
            trigger = quoted(f"types {table} {event}")
            self._db.execute(f"DROP TRIGGER IF EXISTS {trigger}")
            body = " ".join([*checks, *forms])
            self._db.execute(f"CREATE TRIGGER {trigger} AFTER {event} ON {quoted(table)} BEGIN {body} END")

    # -- what is asked ---------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        self._db.execute("BEGIN")

    def end(self, *, commit: bool) -> None:
        """Raises :class:`SqlRefusal` for a constraint that is checked now; then nothing is kept."""
        if not self._db.in_transaction:
            return
        try:
            self._db.execute("COMMIT" if commit else "ROLLBACK")
        except sqlite3.Error as error:
            self._db.execute("ROLLBACK")
            raise _refusal(error) from None

    def run(self, sql: str, params: Mapping[str, Any]) -> Answer:
        """One statement with parameters ``$1`` … Raises :class:`SqlRefusal`; what it had done is undone."""
        self._until = time.monotonic() + _LONGEST_S
        try:
            cursor = self._db.execute(self._spoken(sql), params)
            rows = cursor.fetchall()
        except (sqlite3.Error, sqlite3.Warning, OverflowError) as error:
            raise _refusal(error) from None
        finally:
            self._until = math.inf
        word = sql.split(None, 1)[0].upper() if sql.split() else ""
        if cursor.description is None:
            count = max(cursor.rowcount, 0)
            return Answer(f"INSERT 0 {count}" if word == "INSERT" else f"{word} {count}")
        columns = [
            (name, self._type(name, [row[at] for row in rows])) for at, (name, *_) in enumerate(cursor.description)
        ]
        tag = f"INSERT 0 {len(rows)}" if word == "INSERT" else f"{word} {len(rows)}"
        return Answer(tag, columns, rows)

    def check(self, sql: str, params: Sequence[str]) -> None:
        """Raises :class:`SqlRefusal` for a statement with these parameters that can't be run, whatever the values."""
        try:
            self._db.execute(f"EXPLAIN {self._spoken(sql)}", dict.fromkeys(params)).close()
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise _refusal(error) from None

    def _spoken(self, sql: str) -> str:
        """In SQLite's words: without casts of parameters and names of schemas, with a clock in the database's zone."""
        parts = _QUOTED.split(sql)
        for at in range(0, len(parts), 2):
            part = _CAST.sub(r"\1", parts[at]).replace("pg_catalog.", "")
            if self._schemas is not None:
                part = self._schemas.sub("", part)
            parts[at] = re.sub(r"\bCURRENT_TIMESTAMP\b", "now()", part, flags=re.IGNORECASE)
        return "".join(parts)

    def _type(self, name: str, values: Sequence[Any]) -> int:
        if (known := self._types.get(name.lower())) is not None:
            return known
        kinds = {type(value) for value in values if value is not None}
        if kinds == {int}:
            return _INT8
        if kinds and kinds <= {int, float}:
            return _NUMERIC
        return _BYTES if kinds == {bytes} else _TEXT


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _read(declared: str) -> tuple[str, int, int]:
    """Type, length or digits, decimals."""
    found = _DECLARED.fullmatch(declared)
    if found is None:
        return declared, 0, 0
    return found[1], int(found[2] or 0), int(found[3] or 0)


def _wrong(column: str, kind: str, size: int, scale: int) -> list[tuple[str, str]]:
    """(SQLSTATE, condition) of values the column does not take."""
    if kind in _INTEGERS:
        most = 2 ** (_INTEGERS[kind] - 1)
        return [
            ("22P02", f"typeof({column}) <> 'integer'"),
            ("22003", f"{column} NOT BETWEEN -{most - 1} - 1 AND {most - 1}"),
        ]
    if kind in _TEXTS:
        return [("22P02", f"typeof({column}) <> 'text'"), *([("22001", f"length({column}) > {size}")] if size else [])]
    if kind in _NUMBERS:
        too_large = [("22003", f"abs({column}) >= 1e{size - scale}")] if size else []
        return [("22P02", f"typeof({column}) NOT IN ('integer', 'real')"), *too_large]
    if kind in ("boolean", "bool"):
        return [("22P02", f"{column} NOT IN (0, 1)")]
    if kind in ("bytea", "blob"):
        return [("22P02", f"typeof({column}) <> 'blob'")]
    if kind in ("json", "jsonb"):
        return [("22P02", f"NOT json_valid({column})")]
    if (reads := _CHECKED_DATES.get(kind)) is not None:
        return [("22007", f"(typeof({column}) <> 'text' OR {reads}({column}) IS NULL)")]
    return []


def _refusal(error: Exception) -> SqlRefusal:
    text = str(error)
    name = getattr(error, "sqlite_errorname", "") or ""
    if (own := _OWN.fullmatch(text)) is not None:
        return SqlRefusal(own[1], "a value does not fit its column", column=own[2])
    if (state := _CONSTRAINTS.get(name)) is not None:
        place = text.rpartition(": ")[2].partition(",")[0]
        table, _, column = place.rpartition(".")
        return SqlRefusal(state, "a constraint forbids it", table=table, column=column)
    if isinstance(error, OverflowError):
        return SqlRefusal("22003", "a number is too large")
    return SqlRefusal(next((state for said, state in _SAID if said in text), "XX000"), text)
