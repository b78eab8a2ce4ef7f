"""Databases: read by the adapter alone and into the store of a running hub, and written; beside the plain driver.

``python -m benchmarks.adapters.tables [ROWS]`` reads one large table into a hub, from SQLite and from PostgreSQL, and tells its peak memory.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import orjson
import psycopg
import pytest
import uvloop
import yaml

from adapters.sql import SqlAdapter
from benchmarks.adapters.measure import Case, Run, bind, client, expect, lanes, read_all
from benchmarks.rig import folder as temporary_folder
from hub.contract import StoreConfig
from hub.message import CallRecord, Direction, Message, Outcome
from hub.store.base import Put
from hub.store.sqlite import SqliteStore
from tests.kernel.process import HubProcess, wait_for
from tests.peers.databases import PostgreSql

__all__ = ["main", "postgresql", "sqlite"]

_PAGE = 1000
_WINDOW_US = 7 * 86_400_000_000
_COLUMNS = "patient, name, sex, born, item, value, unit, doctor, changed"
_CREATE = (
    "CREATE TABLE lab (id {identity} PRIMARY KEY, patient TEXT, name TEXT, sex TEXT, born TEXT, item TEXT,"
    " value DOUBLE PRECISION, unit TEXT, doctor TEXT, changed TEXT)"
)
_OUT = "CREATE TABLE result (id INTEGER PRIMARY KEY, patient TEXT, name TEXT, value DOUBLE PRECISION)"
_PLUGIN = """
id: rows
name: Rows of the benchmark
settings: {{}}
interfaces:
  in:
    direction: in
    adapter: sql
    codec: json
    type: "'lab.row'"
    keys: {{patient_id: patient}}
    listen:
      database: {database}
      table: lab
      read: {{by: sequence, column: id}}
      page: {page}
      schedule: {{manual: true}}
"""
_TICK = os.sysconf("SC_CLK_TCK")

_Fetch = Callable[[], Iterator[list[tuple[Any, ...]]]]


@dataclass(slots=True)
class _Database:
    """A table ``lab`` with rows, and how the plain driver reads and writes."""

    options: dict[str, Any]
    rows: int
    fetch: _Fetch  # pages of rows, with the driver alone
    insert: Callable[[list[tuple[Any, ...]]], None]  # into ``result``, each row a transaction
    clear: Callable[[], None]  # empty ``result``
    stored: Callable[[], int]  # rows of ``result``
    driver: str


def _row(number: int) -> tuple[Any, ...]:
    return (
        number,
        f"P{number % 5000:05}",
        f"样本{number % 977}",
        "MF"[number % 2],
        f"19{number % 90 + 10}-02-03",
        "GLU",
        number % 200 / 10,
        "mmol/L",
        f"D{number % 50}",
        f"2026-01-15 {number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}",
    )


def _lite(folder: Path, rows: int) -> _Database:
    path = folder / "front.db"
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(_CREATE.format(identity="INTEGER"))
    connection.execute(_OUT)
    connection.execute("BEGIN")
    connection.executemany(f"INSERT INTO lab VALUES ({', '.join('?' * 10)})", map(_row, range(1, rows + 1)))
    connection.execute("COMMIT")

    def fetch() -> Iterator[list[tuple[Any, ...]]]:
        cursor = connection.execute("SELECT * FROM lab ORDER BY id")
        while page := cursor.fetchmany(_PAGE):
            yield page

    def insert(values: list[tuple[Any, ...]]) -> None:
        for value in values:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO result VALUES (?, ?, ?, ?)", value)
            connection.execute("COMMIT")

    def clear() -> None:
        connection.execute("DELETE FROM result")

    def stored() -> int:
        return int(connection.execute("SELECT count(*) FROM result").fetchone()[0])

    return _Database({"product": "sqlite", "database": str(path)}, rows, fetch, insert, clear, stored, "sqlite3")


def _postgres(server: PostgreSql, rows: int) -> _Database:
    connection = psycopg.connect(
        host="127.0.0.1",
        port=server.port,
        dbname="hub",
        user="hub",
        password="secret",
        sslmode="disable",
        autocommit=True,
    )
    connection.execute("DROP TABLE IF EXISTS lab, result")
    connection.execute(_CREATE.format(identity="BIGINT"))
    connection.execute(_OUT)
    with connection.cursor() as cursor, cursor.copy(f"COPY lab (id, {_COLUMNS}) FROM STDIN") as copy:
        for number in range(1, rows + 1):
            copy.write_row(_row(number))

    def fetch() -> Iterator[list[tuple[Any, ...]]]:
        with connection.transaction(), connection.cursor("bare") as named:
            named.execute("SELECT * FROM lab ORDER BY id")
            while page := named.fetchmany(_PAGE):
                yield page

    def insert(values: list[tuple[Any, ...]]) -> None:
        for value in values:
            with connection.transaction():
                connection.execute("INSERT INTO result VALUES (%s, %s, %s, %s)", value)

    def clear() -> None:
        connection.execute("TRUNCATE result")

    def stored() -> int:
        found = connection.execute("SELECT count(*) FROM result").fetchone()
        return int(found[0]) if found else 0

    options = {"product": "postgresql", "host": "127.0.0.1", "port": server.port, "database": "hub", "user": "hub"}
    return _Database({**options, "password": "secret"}, rows, fetch, insert, clear, stored, "psycopg")


def sqlite(folder: Path, share: float) -> Iterator[Case]:
    yield from _cases(folder, _lite(folder, max(100, int(100_000 * share))), max(20, int(1_000 * share)), " SQLite")


def postgresql(folder: Path, share: float) -> Iterator[Case]:
    server = PostgreSql(folder / "postgresql")
    server.start()
    try:
        database = _postgres(server, max(100, int(100_000 * share)))
        yield from _cases(folder, database, max(20, int(1_000 * share)), " PostgreSQL")
    finally:
        server.stop()


def _cases(folder: Path, database: _Database, count: int, name: str) -> Iterator[Case]:
    adapter, rows = SqlAdapter(), database.rows
    listen = {"database": database.options, "table": "lab", "read": {"by": "sequence", "column": "id"}, "page": _PAGE}
    listen["schedule"] = {"manual": True}

    def read() -> Run:
        return read_all(adapter, bind(adapter, "in", listen), rows)

    def fetch() -> Run:
        return client(lambda: expect(sum(len(page) for page in database.fetch()), rows, database.driver), rows)

    yield Case(adapter.name, "in" + name, f"{database.driver} alone, which makes no messages", read, fetch)
    yield Case(
        adapter.name,
        "in, stored",
        f"{database.driver}, and the rows as messages into our store, nothing else",
        lambda: into_hub(folder, database)[0],
        lambda: into_store(folder, database),
    )
    columns = {"id": "id", "patient": "patient", "name": "name", "value": "value"}
    write = {"action": "insert", "table": "result", "columns": columns}
    values = [(number, f"P{number:05}", "样本", number / 10) for number in range(count)]
    bodies = [orjson.dumps(dict(zip(columns, value, strict=True))) for value in values]

    def send() -> Run:
        database.clear()
        run = lanes(adapter, bind(adapter, "out", {"database": database.options, "write": write}), bodies, 1)
        expect(database.stored(), count, adapter.name)
        return run

    def insert() -> Run:
        database.clear()
        run = client(lambda: database.insert(values), count)
        expect(database.stored(), count, database.driver)
        return run

    yield Case(adapter.name, "out" + name, f"{database.driver}, one row a transaction", send, insert)


def into_store(folder: Path, database: _Database) -> Run:
    """The least that can be done to have every row as a durable message: fetch, write JSON, commit page by page with receipts."""

    async def run() -> None:
        store = SqliteStore(Path(mkdtemp(dir=folder)), StoreConfig(min_free_disk=0))
        await store.open()
        names = ["id", *_COLUMNS.split(", ")]
        taken = 0
        for page in database.fetch():
            now = time.time_ns() // 1000
            puts = []
            for row in page:
                raw = orjson.dumps(dict(zip(names, row, strict=True)))
                number, keys = store.ids.next(), {"patient_id": row[1]}
                digest = blake2b(raw, digest_size=16).digest()
                message = Message(number, now, "lis/in", "lab.row", str(row[0]), raw, keys, digest, "lab", "json")
                receipt = CallRecord(store.ids.next(), now, Direction.IN, "lis/in", Outcome.OK, number, remote="lab")
                puts.append(Put(message, (), _WINDOW_US, receipt))
            taken += len(await store.put_together(puts, mark=("lis/in", str(page[-1][0]))))
        await store.close()
        expect(taken, database.rows, "the store")

    return client(lambda: uvloop.run(run()), database.rows)


def into_hub(folder: Path, database: _Database) -> tuple[Run, int]:
    """One run of a hub with everything on, and the peak of its memory in bytes."""
    site = Path(mkdtemp(dir=folder))
    for name in ("plugins/rows", "mappings", "config"):
        (site / name).mkdir(parents=True)
    options = orjson.dumps(database.options).decode()
    (site / "plugins/rows/plugin.yaml").write_text(_PLUGIN.format(database=options, page=_PAGE), encoding="utf-8")
    config = {
        "plugins": ["../plugins"],
        "mappings": ["../mappings"],
        "watch": False,
        "store": {"path": "../var", "min_free_disk": 0},
        "admin": {"port": 0},
        "systems": {"lis": {"plugin": "rows", "settings": {}}},
        "routes": {},
    }
    file = site / "config/hub.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    with HubProcess(file) as hub:

        def runs() -> list[dict[str, Any]]:
            time.sleep(0.3)  # to be asked costs the hub something
            return [run for worker in hub.workers() for run in worker["inbound"]["lis/in"]["runs"]]

        used = _processor(hub.pid)
        hub.call("POST", "/api/v1/interfaces/lis/in/poll")
        wait_for(runs, "the run ends", 1200)
        used = _processor(hub.pid) - used
        (run,) = runs()
        expect(run["taken"], database.rows, f"the hub ({run['error']})")
        peak = next(line for line in Path(f"/proc/{hub.pid}/status").read_text().splitlines() if "VmHWM" in line)
        return Run(database.rows, run["took_s"], used), int(peak.split()[1]) << 10


def _processor(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def main(rows: int) -> None:
    with temporary_folder() as name:
        folder = Path(name)
        folder.chmod(0o711)
        _report(folder, _lite(folder, rows))
        server = PostgreSql(folder / "postgresql")
        try:
            server.start()
        except pytest.skip.Exception as missing:
            print(missing)
            return
        try:
            _report(folder, _postgres(server, rows))
        finally:
            server.stop()


def _report(folder: Path, database: _Database) -> None:
    rows = database.rows
    alone = client(lambda: expect(sum(len(page) for page in database.fetch()), rows, database.driver), rows)
    least = into_store(folder, database)
    hub, peak = into_hub(folder, database)
    print(f"{database.options['product']}, {rows:,} rows:")
    for name, run in (
        (f"{database.driver} alone", alone),
        ("and into the store, nothing else", least),
        ("the hub", hub),
    ):
        each = run.processor / rows * 1e6
        print(f"  {name:<36}{run.seconds:>8.1f} s{rows / run.seconds:>12,.0f} rows/s{each:>8.1f} us of processor a row")
    print(
        f"  peak memory of the hub: {peak >> 20} MB; {hub.seconds / least.seconds:.2f} times the bare store", flush=True
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
