"""What a simulated database refuses, and how, is what PostgreSQL refuses; what it answers to the hub is what PostgreSQL answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hub.simulator import Simulator
from tests.peers.databases import PostgreSql
from tests.simulator.database_support import REFUSED, ROW, TABLES, client, started, write
from tests.simulator.simulator_support import Played, played

pytestmark = [pytest.mark.peers]
#: Statements of many kinds, one after another in one transaction.
ASKED = [
    "INSERT INTO result (number, item, value, pieces, taken_at, positive) VALUES ('L1', 'GLU', 5.1, 2, '2026-01-15T09:30:00', true)",
    "INSERT INTO result (number, item, value) VALUES ('L3', 'NA', 139.456)",
    "INSERT INTO result (number, item, value) SELECT 'L2', item, value + 1 FROM result WHERE number = 'L1' AND NOT EXISTS (SELECT 1 FROM result WHERE number = 'L2') RETURNING number, value",
    "INSERT INTO result (number, item) VALUES ('L2', 'NEW') ON CONFLICT (number) DO UPDATE SET item = excluded.item",
    "INSERT INTO result (number, item) VALUES ('L2', 'NEW') ON CONFLICT (number) DO NOTHING",
    "UPDATE result SET pieces = COALESCE(pieces, 0) + 1 WHERE item LIKE 'G%' OR item LIKE 'n%'",
    "SELECT number, item, value, pieces, taken_at, positive, picture FROM result ORDER BY number",
    "SELECT COUNT(*), SUM(CASE WHEN pieces > 2 THEN 1 ELSE 0 END), MAX(pieces) FROM result GROUP BY item HAVING COUNT(*) > 0 ORDER BY 2",
    "SELECT number FROM result WHERE CAST(NULL AS VARCHAR(8)) IS NULL AND LOWER(item) LIKE '%' || 'lu' ESCAPE '!'",
    "DELETE FROM result WHERE number = 'L9'",
    "DELETE FROM result",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSql]:
    found = PostgreSql(tmp_path_factory.mktemp("postgresql"))
    try:
        found.start()
        found.sql(TABLES)
        yield found
    finally:
        found.stop()


@pytest.fixture(scope="module")
def party() -> Iterator[Played]:
    with played() as found:
        yield found


@pytest.fixture(scope="module")
def lab(party: Played, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    found = started(party, tmp_path_factory.mktemp("lab"))
    yield found
    party.run(found.stop())


def real(server: PostgreSql) -> psycopg.Connection[Any]:
    return psycopg.connect(host="127.0.0.1", port=server.port, user="hub", password="secret", dbname="hub")


def refusals(connection: psycopg.Connection[Any]) -> list[tuple[str, str | None, str | None]]:
    """(statement, SQLSTATE, column) of each refusal."""
    found: list[tuple[str, str | None, str | None]] = []
    for statement, _ in REFUSED:
        connection.execute("INSERT INTO result (number, item) VALUES ('L0', 'GLU')")
        try:
            connection.execute(statement)
            found.append((statement, None, None))
        except psycopg.Error as error:
            found.append((statement, error.sqlstate, error.diag.column_name if error.sqlstate == "23502" else None))
        connection.rollback()
    return found


def answers(connection: psycopg.Connection[Any]) -> list[Any]:
    found: list[Any] = []
    for statement in ASKED:
        cursor = connection.execute(statement)
        rows = cursor.fetchall() if cursor.description is not None else None
        columns = [one.name for one in cursor.description] if cursor.description is not None else None
        found.append((statement, cursor.rowcount, columns if rows and "COUNT" not in statement else None, rows))
    connection.rollback()
    return found


def test_both_refuse_the_same_in_the_same_words(server: PostgreSql, lab: Simulator) -> None:
    with real(server) as ours, client(lab) as theirs:
        wanted = refusals(ours)
        assert refusals(theirs) == wanted
    assert [(statement, state) for statement, state, _ in wanted] == REFUSED


def test_both_answer_the_same(server: PostgreSql, lab: Simulator) -> None:
    with real(server) as ours, client(lab) as theirs:
        assert answers(theirs) == answers(ours)


def test_the_hub_writes_to_both_alike(server: PostgreSql, lab: Simulator, tmp_path: Path) -> None:
    bodies = [ROW, {**ROW, "number": "L2", "value": "12.345"}, {**ROW, "number": "123456789"}, {**ROW, "pieces": "two"}]
    with real(server) as connection:  # the contract says his.result, which is passed over where it is played
        connection.execute("CREATE SCHEMA IF NOT EXISTS his")
        connection.execute("DROP TABLE IF EXISTS his.result")
        connection.execute("CREATE TABLE his.result AS SELECT * FROM result")
        connection.execute("ALTER TABLE his.result ADD PRIMARY KEY (number)")
    at = {"product": "postgresql", "host": "127.0.0.1", "port": server.port, "user": "hub", "password": "secret"}
    told = [
        [one if isinstance(one, dict) else (type(one).__name__, one.code) for one in found]
        for found in (write(lab, "results", *bodies), write(lab, "results", *bodies, at={**at, "database": "hub"}))
    ]
    assert json.dumps(told[0]) == json.dumps(told[1])
