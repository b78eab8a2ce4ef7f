"""A laboratory's database, played: its contract and tables, a client without the hub, and what the hub's adapter gets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from hub.api import SendError
from hub.registry import Registry
from hub.simulator import Simulator
from tests.adapters.sql_support import outgoing, sender
from tests.simulator.simulator_support import Played, plugins

__all__ = ["CONTRACT", "REFUSED", "ROW", "TABLES", "client", "database", "started", "write"]

TABLES = """
CREATE TABLE result (
  number VARCHAR(8) PRIMARY KEY, item VARCHAR(10) NOT NULL, value NUMERIC(6,2), pieces SMALLINT, taken_at TIMESTAMP,
  positive BOOLEAN, picture BYTEA, CHECK (pieces <> 13)
);
CREATE TABLE item (number VARCHAR(8) NOT NULL REFERENCES result (number), note TEXT);
"""
CONTRACT = """
id: lab
name: 检验数据库
settings:
  product: {type: string, default: mysql, choices: [mysql, kingbase, postgresql]}
  host: {type: host, required: true}
  port: {type: port, required: true}
  name: {type: string, required: true}
  user: {type: string, required: true}
  password: {type: secret, required: true}
defaults:
  sql: {codec: json}
  sql in: {listen: {database: &db {product: "${product}", host: "${host}", port: "${port}", database: "${name}", user: "${user}", password: "${password}"}, schedule: {manual: true}}}
  sql out: {connect: {database: *db}}
interfaces:
  results:
    direction: out
    adapter: sql
    connect:
      write:
        - action: upsert
          table: his.result
          key: number
          columns: {number: number, item: item, value: {from: value, as: decimal}, pieces: pieces, taken_at: {from: at, as: datetime}, positive: positive, picture: {from: picture, as: binary}}
  changes:
    direction: out
    adapter: sql
    connect:
      write:
        - sql: UPDATE result SET pieces = :pieces WHERE number = :number
          params: {pieces: pieces, number: number}
  found:
    direction: out
    adapter: sql
    connect:
      write:
        - sql: SELECT number, value, pieces, taken_at, positive FROM result WHERE item LIKE :item AND (CAST(:least AS NUMERIC(6,2)) IS NULL OR value >= :least) ORDER BY number
          params: {item: item, least: {from: least, as: decimal}}
          result: true
  orders:
    direction: out
    adapter: sql
    connect:
      dedupe: {table: hub_delivery, column: delivery, at: noted_at}
      write: {action: insert, table: lab_order, columns: {patient: patient, urgent: {from: urgent, as: boolean}}, returning: id, rows: orders}
  counted:
    direction: in
    adapter: sql
    listen: {table: report, read: {by: sequence, column: id}, columns: [id, text]}
    control_id: text
    examples: [row.json]
  queue:
    direction: in
    adapter: sql
    listen:
      table: outbox
      read: {by: outbox, key: id, pending: {state: 0}, done: {state: 1, done_at: now}}
      payload: message
  changed:
    direction: in
    adapter: sql
    listen: {table: bed, read: {by: timestamp, column: changed, key: bed}, details: [{field: notes, table: bed_note, match: {bed: bed}, columns: [text]}]}
  compared:
    direction: in
    adapter: sql
    listen: {table: ward, read: {by: compare, key: ward}}
"""
#: Statements on these tables, in which there is a row L0, and the SQLSTATE of the refusal.
REFUSED = [
    ("INSERT INTO result (number, item) VALUES ('123456789', 'GLU')", "22001"),
    ("INSERT INTO result (number) VALUES ('L9')", "23502"),
    ("INSERT INTO result (number, item) VALUES ('L0', 'GLU')", "23505"),
    ("INSERT INTO result (number, item, pieces) VALUES ('L9', 'GLU', 'many')", "22P02"),
    ("INSERT INTO result (number, item, pieces) VALUES ('L9', 'GLU', 40000)", "22003"),
    ("INSERT INTO result (number, item, value) VALUES ('L9', 'GLU', 10000)", "22003"),
    ("INSERT INTO result (number, item, pieces) VALUES ('L9', 'GLU', 13)", "23514"),
    ("INSERT INTO result (number, item, taken_at) VALUES ('L9', 'GLU', 'soon')", "22007"),
    ("INSERT INTO item (number) VALUES ('L9')", "23503"),
    ("UPDATE result SET item = NULL", "23502"),
    ("UPDATE result SET item = 'longer than ten'", "22001"),
    ("INSERT INTO result (nummer) VALUES ('L9')", "42703"),
    ("SELECT nummer FROM result", "42703"),
    ("SELECT * FROM results", "42P01"),
    ("SELEKT 1", "42601"),
    ("SELECT nothing_known(1)", "42883"),
]
ROW = {"number": "L1", "item": "GLU", "value": 5.10, "pieces": 2, "at": "2026-01-15T09:30:00", "positive": True}


def started(party: Played, folder: Path, contract: str = CONTRACT, tables: str = TABLES, **options: Any) -> Simulator:
    (folder / "lab").mkdir(exist_ok=True)
    (folder / "lab" / "plugin.yaml").write_text(contract, encoding="utf-8")
    (folder / "lab" / "tables.sql").write_text(tables, encoding="utf-8")
    (folder / "lab" / "row.json").write_text('{"text": "first"}', encoding="utf-8")
    registry = Registry.discover([folder])
    assert not registry.problems, registry.problems
    return party.run(Simulator.start(registry.plugins["lab"], registry, plugins()[1], **options))


def database(lab: Simulator) -> dict[str, Any]:
    given = lab.settings
    return {name: given[name] for name in ("product", "host", "port", "user", "password")} | {"database": given["name"]}


@contextmanager
def client(lab: Simulator, **other: Any) -> Iterator[psycopg.Connection[Any]]:
    at = {"host": lab.settings["host"], "port": lab.settings["port"], "user": lab.settings["user"]}
    at |= {"password": lab.settings["password"], "dbname": lab.settings["name"]} | other
    with psycopg.connect(**at, connect_timeout=10) as connection:
        yield connection


def write(
    lab: Simulator, interface: str, *bodies: Any, timeout: float = 10.0, at: dict[str, Any] | None = None
) -> list[Any]:
    """What the hub's adapter gets for each: a reply, or the error it raises. ``at``: another database than the played one."""
    connect = lab._sides[interface].bound.options.model_dump(by_alias=True, exclude_unset=True)
    connect["database"] = at or database(lab)

    async def all_of_them() -> list[Any]:
        out = sender(**connect)
        await out.start()
        found: list[Any] = []
        try:
            for number, body in enumerate(bodies):
                try:
                    reply = await out.send(outgoing(body, f"k{number}", timeout))
                    found.append(json.loads(reply.body))
                except SendError as error:
                    found.append(error)
        finally:
            await out.stop()
        return found

    return asyncio.run(all_of_them())
