"""Writing to a database, on SQLite: actions, steps, idempotency, errors."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.sql.sender import SqlSender
from hub.api import PermanentError, TransientError, UnreachableError
from tests.adapters.sql_support import lite, outgoing, rows, sender

TABLE = "CREATE TABLE patient (id INTEGER PRIMARY KEY, name TEXT NOT NULL, born TEXT, price TEXT, doc BLOB, raw TEXT, ik TEXT UNIQUE)"
COLUMNS = {"id": "id", "name": "names[0].text", "born": "born"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    lite(tmp_path / "his.db", TABLE, "CREATE TABLE seen (key TEXT PRIMARY KEY, at TEXT)")
    return tmp_path / "his.db"


class Open:
    """A started sender."""

    def __init__(self, file: Path, write: Any, **options: Any) -> None:
        database = {"product": "sqlite", "database": str(file), **options.pop("database", {})}
        self.sender: SqlSender = sender(database=database, write=write, **options)

    async def __aenter__(self) -> SqlSender:
        await self.sender.start()
        return self.sender

    async def __aexit__(self, *error: object) -> None:
        await self.sender.stop()


async def test_the_four_actions(file: Path) -> None:
    insert = {"action": "insert", "table": "patient", "columns": COLUMNS}
    async with Open(file, insert) as one:
        reply = await one.send(
            outgoing([{"id": 1, "names": [{"text": "张三"}]}, {"id": 2, "names": [{"text": "b"}], "born": "2001"}])
        )
        assert (reply.ok, json.loads(reply.body)) == (True, {"rows": 2})
    assert rows(file, "SELECT id, name, born FROM patient") == [(1, "张三", None), (2, "b", "2001")]
    upsert = {**insert, "action": "upsert", "key": "id"}
    async with Open(file, upsert) as one:
        reply = await one.send(outgoing([{"id": 2, "names": [{"text": "B"}]}, {"id": 3, "names": [{"text": "c"}]}]))
        assert json.loads(reply.body) == {"rows": 2, "keys": [{"id": 2}, {"id": 3}]}
    assert rows(file, "SELECT id, name, born FROM patient WHERE id > 1") == [(2, "B", None), (3, "c", None)]
    update = {
        "action": "update",
        "table": "patient",
        "columns": {"id": "id", "name": "n"},
        "key": ["id"],
        "must_exist": True,
    }
    async with Open(file, update) as one:
        assert json.loads((await one.send(outgoing({"id": 3, "n": "C"}))).body) == {"rows": 1, "keys": [{"id": 3}]}
        with pytest.raises(PermanentError) as caught:
            await one.send(outgoing([{"id": 1, "n": "changed"}, {"id": 9, "n": "none"}]))
        assert caught.value.code == "sql.no_row"
    delete = {"action": "delete", "table": "patient", "columns": {"id": "id"}, "key": ["id"]}
    async with Open(file, delete) as one:
        assert json.loads((await one.send(outgoing([{"id": 2}, {"id": 9}]))).body)["rows"] == 1
    assert rows(file, "SELECT id, name FROM patient") == [(1, "张三"), (3, "C")]


async def test_a_body_with_details_is_written_in_one_transaction(file: Path) -> None:
    lite(file, "CREATE TABLE item (patient INTEGER, line INTEGER NOT NULL, code TEXT)")
    write = [
        {"action": "insert", "table": "patient", "columns": {"id": "id", "name": "name"}},
        {
            "action": "insert",
            "table": "item",
            "rows": "items",
            "columns": {"patient": "$.id", "line": "line", "code": {"value": "x"}},
        },
    ]
    async with Open(file, write) as one:
        body = {"id": 1, "name": "a", "items": [{"line": 1}, {"line": 2}]}
        assert json.loads((await one.send(outgoing(body))).body) == {"rows": 3}
        with pytest.raises(PermanentError) as caught:
            await one.send(outgoing({"id": 2, "name": "b", "items": [{"line": 1}, {"line": None}]}))
        assert caught.value.code == "sql.constraint"
    assert rows(file, "SELECT * FROM item") == [(1, 1, "x"), (1, 2, "x")]
    assert rows(file, "SELECT id FROM patient") == [(1,)]


async def test_values_take_the_form_that_is_asked_for(file: Path) -> None:
    columns = {
        "id": {"from": "n", "as": "integer"},
        "name": {"from": "flag", "as": "text"},
        "born": {"from": "at", "as": "text"},
        "price": {"from": "price", "as": "text"},
        "doc": {"from": "doc", "as": "binary"},
        "raw": "whole",
    }
    async with Open(file, {"action": "insert", "table": "patient", "columns": columns}) as one:
        await one.send(
            outgoing(
                b'{"n": "7", "flag": true, "price": 12345678901234567890.1200, "doc": "AQI=", "whole": {"a": [1.10]}}'
            )
        )
        for bad in ({"n": "1.5"}, {"n": [1]}, {"n": 1, "doc": "?"}, {"n": 1e80}):
            with pytest.raises(PermanentError, match="`as`"):
                await one.send(outgoing(bad))
    assert rows(file, "SELECT id, name, price, doc, raw FROM patient") == [
        (7, "true", "12345678901234567890.1200", b"\x01\x02", '{"a":[1.10]}')
    ]


async def test_a_repetition_is_recognised_by_a_column_or_by_a_table(file: Path) -> None:
    insert = {"action": "insert", "table": "patient", "columns": {"id": "id", "name": "name"}}
    async with Open(file, {**insert, "idempotency_column": "ik"}) as one:
        body = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
        await one.send(outgoing(body, "key-1"))
        again = await one.send(outgoing(body, "key-1"))
        assert (again.ok, again.code, json.loads(again.body)) == (
            True, "already delivered", {"rows": 0, "already_delivered": True},
        )  # fmt: skip
        with pytest.raises(PermanentError) as caught:  # another delivery with the same primary key is no repetition
            await one.send(outgoing(body, "key-2"))
        assert caught.value.code == "sql.duplicate"
    assert rows(file, "SELECT id, ik FROM patient") == [(1, "key-1"), (2, "key-1.1")]
    change = {"sql": "UPDATE patient SET name = name || :more", "params": {"more": {"value": "!"}}}
    async with Open(file, change, dedupe={"table": "seen", "column": "key", "at": "at"}) as one:
        replies = await asyncio.gather(*(one.send(outgoing({}, f"d{n % 2}")) for n in range(6)))
        assert sorted(reply.code for reply in replies) == ["already delivered"] * 4 + ["ok"] * 2
        assert one.status()["repeated"] == 4
    assert rows(file, "SELECT name FROM patient") == [("a!!",), ("b!!",)]
    assert rows(file, "SELECT key, at IS NOT NULL FROM seen ORDER BY key") == [("d0", 1), ("d1", 1)]


async def test_what_fails_is_not_remembered_as_written(file: Path) -> None:
    insert = {"action": "insert", "table": "patient", "columns": {"id": "id", "name": "name"}}
    async with Open(file, insert, dedupe={"table": "seen", "column": "key"}) as one:
        with pytest.raises(PermanentError):
            await one.send(outgoing({"id": 1}))
    assert rows(file, "SELECT * FROM seen") == []


async def test_generated_keys_and_results_come_back(file: Path) -> None:
    insert = {"action": "insert", "table": "patient", "columns": {"name": "name"}, "returning": ["id"]}
    query = {"sql": "SELECT id, name FROM patient WHERE name = :n", "params": {"n": "name"}, "result": True}
    async with Open(file, [insert, query], reply_rows=2) as one:
        body = {"name": "a'; DROP TABLE patient; --"}
        reply = json.loads((await one.send(outgoing(body))).body)
        assert reply == {"rows": 1, "keys": [{"id": 1}], "result": [{"id": 1, **body}]}
        await one.send(outgoing(body))
        with pytest.raises(PermanentError, match="reply_rows"):
            await one.send(outgoing(body))
    assert rows(file, "SELECT count(*) FROM patient") == [(2,)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1]",
        b"null",
        b'"x"',
        b"\xff",
        b"[" * 100_000,
        b'{"id": NaN}',
        b'{"id":' + b"9" * 5000 + b"}",
        b"[{},{},{}]",
    ],
)
async def test_a_body_that_is_not_rows_is_refused(file: Path, body: bytes) -> None:
    async with Open(file, {"action": "insert", "table": "patient", "columns": COLUMNS}, max_rows=2) as one:
        with pytest.raises(PermanentError):
            await one.send(outgoing(body))
    assert rows(file, "SELECT * FROM patient") == []


async def test_a_key_without_a_value_changes_nothing(file: Path) -> None:
    async with Open(file, {"action": "upsert", "table": "patient", "columns": COLUMNS, "key": "id"}) as one:
        with pytest.raises(PermanentError) as caught:
            await one.send(outgoing({"names": [{"text": "x"}]}))
        assert caught.value.code == "sql.key"


async def test_a_locked_database_is_tried_again_and_a_missing_one_is_unreachable(file: Path) -> None:
    insert = {"action": "insert", "table": "patient", "columns": {"id": "id", "name": "name"}}
    other = sqlite3.connect(file, isolation_level=None)
    async with Open(file, insert, database={"statement_timeout": "0.05s"}) as one:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TransientError) as caught:
            await one.send(outgoing({"id": 1, "name": "a"}))
        assert caught.value.code == "sql.timeout"
        other.execute("ROLLBACK")
        assert (await one.send(outgoing({"id": 1, "name": "a"}))).ok
        assert str(file) in await one.probe()
    other.close()
    async with Open(file.with_name("none.db"), insert) as one:
        with pytest.raises(UnreachableError):
            await one.send(outgoing({"id": 1, "name": "a"}))
        with pytest.raises(UnreachableError):
            await one.probe()


async def test_a_statement_that_takes_too_long_is_cut_off(file: Path) -> None:
    slow = {"sql": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"}
    async with Open(file, slow) as one:
        with pytest.raises(TransientError) as caught:
            await one.send(outgoing({}, timeout=0.2))
        assert caught.value.code == "sql.timeout"
        assert one.status()["busy"] == 0  # its thread came back


async def test_stopping_ends_what_is_under_way(file: Path) -> None:
    slow = {"sql": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"}
    async with Open(file, slow) as one:
        call = asyncio.create_task(one.send(outgoing({})))
        while not one.status()["busy"]:
            await asyncio.sleep(0)
    with pytest.raises((TransientError, UnreachableError)):
        await call
    end = time.monotonic() + 10
    while any(thread.name.startswith("sql sqlite") for thread in threading.enumerate()):
        assert time.monotonic() < end, "a thread stayed behind"
        await asyncio.sleep(0.01)


async def test_no_error_text_tells_what_was_written(file: Path) -> None:
    write = {"action": "insert", "table": "patient", "columns": {"id": "id", "name": "name"}}
    async with Open(file, write) as one:
        await one.send(outgoing({"id": 1, "name": "张三丰"}))
        with pytest.raises(PermanentError) as caught:
            await one.send(outgoing({"id": 1, "name": "张三丰"}))
    assert "张三丰" not in caught.value.text
    assert caught.value.code == "sql.duplicate"


async def test_numbers_with_a_fraction_and_times_of_day_into_sqlite(tmp_path: Path) -> None:
    lite(
        file := tmp_path / "a.db",
        "CREATE TABLE result (id INTEGER, exact TEXT, amount NUMERIC(10, 2), value REAL, at TEXT)",
    )
    columns: dict[str, Any] = {name: name for name in ("id", "exact", "amount", "value")}
    write = {"action": "insert", "table": "result", "columns": columns | {"at": {"from": "at", "as": "time"}}}
    body = b'{"id": 1, "exact": 1.10, "amount": 12.50, "value": 0.3, "at": "09:30:15"}'
    async with Open(file, write) as one:
        assert (await one.send(outgoing(body))).ok
    assert rows(file, "SELECT exact, amount, value, at FROM result") == [("1.10", 12.5, 0.3, "09:30:15")]
    assert rows(file, "SELECT typeof(amount), typeof(value) FROM result") == [("real", "real")]


def test_decimals_of_a_body_keep_their_digits() -> None:
    from adapters.sql.values import read_body

    assert read_body(b"[1.10, 1e2]") == [Decimal("1.10"), Decimal("1e2")]
