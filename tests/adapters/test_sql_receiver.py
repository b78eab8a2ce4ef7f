"""Reading a database, on SQLite: pages, marks, overlaps, outboxes, details."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hub.api import HubError, PermanentError, UnreachableError
from tests.adapters.sql_support import Died, Kept, Reader, lite, rows

PATIENTS = """
CREATE TABLE patient (id INTEGER PRIMARY KEY, name TEXT, changed TEXT);
INSERT INTO patient VALUES (1, '张三', '2026-01-15 09:00:00'), (2, '李四', '2026-01-15 09:00:00'),
  (3, '王五', '2026-01-15 09:00:00'), (4, '赵六', '2026-01-15 09:00:01'), (5, 'x', '2026-01-15 08:00:00');
"""
BY_TIME = {"by": "timestamp", "column": "changed", "key": "id"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "his.db"


async def test_rows_are_read_in_the_order_of_time_and_key_page_by_page(file: Path) -> None:
    intake = Kept()
    async with Reader(intake, database=lite(file, PATIENTS), table="patient", read=BY_TIME, page=2) as reader:
        run = await reader.run()
        assert intake.ids == [
            "5@2026-01-15 08:00:00",
            "1@2026-01-15 09:00:00",
            "2@2026-01-15 09:00:00",
            "3@2026-01-15 09:00:00",
            "4@2026-01-15 09:00:01",
        ]
        assert intake.items[1].raw == '{"id":1,"name":"张三","changed":"2026-01-15 09:00:00"}'.encode()
        assert (run.taken, intake.pages) == (5, 3)
        assert (await reader.run()).taken == 0
        lite(file, "UPDATE patient SET name='李四四', changed='2026-01-15 10:00:00' WHERE id=2")
        assert (await reader.run()).taken == 1
    assert intake.bodies[-1] == {"id": 2, "name": "李四四", "changed": "2026-01-15 10:00:00"}
    assert list(intake.marks.values()) == ['{"after":["2026-01-15 10:00:00",2]}']


@pytest.mark.parametrize("page", range(4))
@pytest.mark.parametrize("when", ["die_before", "die_after"])
async def test_after_a_crash_at_any_page_nothing_is_lost_and_nothing_taken_twice(
    file: Path, page: int, when: str
) -> None:
    intake = Kept()
    setattr(intake, when, page)
    options: dict[str, Any] = {"database": lite(file, PATIENTS), "table": "patient", "read": BY_TIME, "page": 2}
    async with Reader(intake, **options) as reader:
        try:
            await reader.run()
            assert page >= 3
        except Died:
            assert page < 3
    intake.die_before = intake.die_after = -1
    async with Reader(intake, **options) as reader:
        await reader.run()
    assert sorted(body["id"] for body in intake.bodies) == [1, 2, 3, 4, 5]
    assert not intake.duplicates


async def test_a_row_that_becomes_visible_late_is_found_by_the_overlap(file: Path) -> None:
    intake = Kept()
    options: dict[str, Any] = {
        "database": lite(file, PATIENTS),
        "table": "patient",
        "read": {**BY_TIME, "overlap": "1h"},
        "page": 2,
    }
    async with Reader(intake, **options) as reader:
        await reader.run()
        lite(file, "INSERT INTO patient VALUES (6, 'late', '2026-01-15 08:30:00')")
        assert (await reader.run()).taken == 1
        assert not intake.duplicates  # what is known is not even offered
        lite(file, "INSERT INTO patient VALUES (7, 'too late', '2026-01-15 07:59:59')")
        assert (await reader.run()).taken == 0
    async with Reader(intake, **options) as reader:  # a new process remembers nothing: the intake recognises them
        run = await reader.run()
        assert (run.taken, run.duplicates) == (0, 5)
    assert list(intake.marks.values()) == ['{"after":["2026-01-15 09:00:01",4]}']


async def test_an_overlap_longer_than_the_memory_of_the_intake_is_refused(file: Path) -> None:
    read = {**BY_TIME, "overlap": "2h"}
    with pytest.raises(HubError, match="duplicate_window"):
        async with Reader(
            Kept(), {"duplicate_window": "1h"}, database=lite(file, PATIENTS), table="patient", read=read
        ):
            pass


async def test_by_sequence_with_gaps_filled_later(file: Path) -> None:
    intake = Kept()
    database = lite(
        file, "CREATE TABLE event (n INTEGER, body TEXT)", "INSERT INTO event VALUES (1,'a'),(2,'b'),(5,'e')"
    )
    read = {"by": "sequence", "column": "n", "overlap": 3}
    async with Reader(intake, database=database, table="event", read=read, payload="body") as reader:
        await reader.run()
        lite(file, "INSERT INTO event VALUES (3,'c'),(6,'f')")
        await reader.run()
    assert [(item.control_id, item.raw) for item in intake.items] == [
        ("1", b"a"), ("2", b"b"), ("5", b"e"), ("3", b"c"), ("6", b"f"),
    ]  # fmt: skip


async def test_reading_can_begin_at_a_number_or_a_time(file: Path) -> None:
    database = lite(file, PATIENTS)
    intake = Kept()
    async with Reader(
        intake, database=database, table="patient", read={"by": "sequence", "column": "id", "start": 3}
    ) as one:
        await one.run()
    assert intake.ids == ["4", "5"]
    intake = Kept()
    read = {**BY_TIME, "start": "2026-01-15 09:00:01"}
    async with Reader(intake, database=database, table="patient", read=read) as one:
        await one.run()
    assert intake.ids == ["4@2026-01-15 09:00:01"]


async def test_a_query_with_parameters_columns_and_a_condition(file: Path) -> None:
    intake = Kept()
    async with Reader(
        intake,
        database=lite(file, PATIENTS),
        query="SELECT id AS number, name FROM patient WHERE id > :low;",
        where="name <> :not",
        params={"low": 1, "not": "x'; DROP TABLE patient; --"},
        columns=["name"],
        read={"by": "sequence", "column": "number"},
        page=2,
    ) as reader:
        await reader.run()
    assert intake.bodies == [{"name": "李四"}, {"name": "王五"}, {"name": "赵六"}, {"name": "x"}]
    assert intake.ids == ["2", "3", "4", "5"]


async def test_master_and_detail_become_one_message(file: Path) -> None:
    intake = Kept()
    database = lite(
        file,
        "CREATE TABLE orders (hospital TEXT, id INTEGER, total REAL)",
        "CREATE TABLE item (hospital TEXT, order_id INTEGER, line INTEGER, code TEXT)",
        "INSERT INTO orders VALUES ('A', 1, 2.5), ('A', 2, 1), ('B', 3, 0)",
        "INSERT INTO item VALUES ('A',1,2,'y'), ('A',1,1,'x'), ('B',3,1,'z'), ('B',1,1,'no')",
    )
    details = [
        {
            "field": "items",
            "table": "item",
            "columns": ["line", "code"],
            "match": {"hospital": "hospital", "order_id": "id"},
            "order_by": "line",
        },
        {
            "field": "lines",
            "query": "SELECT order_id, count(*) AS n FROM item GROUP BY order_id",
            "match": {"order_id": "id"},
        },
    ]
    options: dict[str, Any] = {"database": database, "table": "orders", "read": {"by": "sequence", "column": "id"}}
    async with Reader(intake, **options, columns=["id"], details=details, page=2) as reader:
        await reader.run()
    assert intake.bodies == [
        {"id": 1, "items": [{"line": 1, "code": "x"}, {"line": 2, "code": "y"}], "lines": [{"order_id": 1, "n": 3}]},
        {"id": 2, "items": [], "lines": []},
        {"id": 3, "items": [{"line": 1, "code": "z"}], "lines": [{"order_id": 3, "n": 1}]},
    ]
    async with Reader(Kept(), **options, details=details, detail_rows=2) as reader:
        with pytest.raises(HubError, match="more than 2 rows of items"):
            await reader.run()


async def test_a_page_ends_early_when_its_messages_are_large(file: Path) -> None:
    intake = Kept()
    database = lite(
        file,
        "CREATE TABLE doc (id INTEGER PRIMARY KEY, body TEXT)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 5)"
        " INSERT INTO doc SELECT i, printf('%.*c', 40000, 'x') FROM n",
    )
    read = {"by": "sequence", "column": "id"}
    async with Reader(intake, database=database, table="doc", read=read, payload="body", page_bytes="64KB") as reader:
        await reader.run()
    assert (len(intake.items), intake.pages) == (5, 3)


OUTBOX = """
CREATE TABLE outbox (id INTEGER PRIMARY KEY, status TEXT, sent TEXT, body TEXT);
INSERT INTO outbox VALUES (1,'N',NULL,'a'), (2,'S',NULL,'old'), (3,'N',NULL,'b'), (4,'N',NULL,'bad'), (5,NULL,NULL,'null');
"""
BY_FLAG = {
    "by": "outbox",
    "key": "id",
    "pending": {"status": "N"},
    "done": {"status": "S", "sent": "now"},
    "failed": {"status": "E"},
}


async def test_an_outbox_is_marked_after_the_commit(file: Path) -> None:
    intake = Kept()
    intake.refuse = {"4"}
    async with Reader(
        intake, database=lite(file, OUTBOX), table="outbox", read=BY_FLAG, payload="body", page=2
    ) as reader:
        run = await reader.run()
    assert (run.taken, run.refused) == (2, 1)
    assert [item.raw for item in intake.items] == [b"a", b"b"]
    assert rows(file, "SELECT id, status, sent IS NOT NULL FROM outbox ORDER BY id") == [
        (1, "S", 1), (2, "S", 0), (3, "S", 1), (4, "E", 0), (5, None, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("done", ["delete", {"status": "S"}])
@pytest.mark.parametrize("page", range(3))
@pytest.mark.parametrize("when", ["die_before", "die_after"])
async def test_a_crash_between_commit_and_marking_repeats_nothing(file: Path, page: int, when: str, done: Any) -> None:
    intake = Kept()
    setattr(intake, when, page)
    read = {"by": "outbox", "key": "id", "pending": {"status": "N"}, "done": done}
    options: dict[str, Any] = {
        "database": lite(file, OUTBOX),
        "table": "outbox",
        "read": read,
        "payload": "body",
        "page": 1,
    }
    async with Reader(intake, **options) as reader:
        with pytest.raises(Died):
            await reader.run()
    intake.die_before = intake.die_after = -1
    async with Reader(intake, **options) as reader:
        await reader.run()
    assert [item.raw for item in intake.items] == [b"a", b"b", b"bad"]
    assert not intake.duplicates
    assert rows(file, "SELECT count(*) FROM outbox WHERE status = 'N'") == [(0,)]


async def test_what_waits_is_counted_and_the_connection_can_be_tested(file: Path) -> None:
    intake = Kept()
    intake.die_before = 0
    async with Reader(intake, database=lite(file, PATIENTS), table="patient", read=BY_TIME) as reader:
        assert str(file) in await reader.receiver.probe()
        with pytest.raises(Died):
            await reader.run()
        waiting = reader.receiver.status()["waiting"]
        assert (waiting["rows"], waiting["or_more"]) == (5, False)
        assert waiting["oldest_s"] > 0
        intake.die_before = -1
        await reader.run()
        assert reader.receiver.status()["waiting"] == {"rows": 0, "or_more": False}


async def test_reading_can_not_write(file: Path) -> None:
    query = "DELETE FROM patient RETURNING id, changed"
    async with Reader(Kept(), database=lite(file, PATIENTS), query=query, read=BY_TIME) as reader:
        with pytest.raises(PermanentError):
            await reader.run()
    assert rows(file, "SELECT count(*) FROM patient") == [(5,)]


async def test_a_source_that_is_not_there_or_looks_otherwise_says_so(file: Path) -> None:
    database = {"product": "sqlite", "database": str(file)}
    async with Reader(Kept(), database=database, table="patient", read=BY_TIME) as reader:
        with pytest.raises(UnreachableError):
            await reader.receiver.probe()
    assert not file.exists()
    database = lite(file, PATIENTS)
    async with Reader(Kept(), database=database, table="gone", read=BY_TIME) as reader:
        with pytest.raises(PermanentError, match="no such table"):
            await reader.receiver.probe()
    read = {"by": "timestamp", "column": "changed", "key": "nr"}
    async with Reader(Kept(), database=database, table="patient", read=read, columns=["id"]) as reader:
        with pytest.raises(PermanentError, match="nr"):
            await reader.run()


async def test_a_key_that_is_null_stops_reading_instead_of_passing_it_over(file: Path) -> None:
    database = lite(file, "CREATE TABLE t (k TEXT, at TEXT)", "INSERT INTO t VALUES (NULL, '2026-01-01')")
    intake = Kept()
    async with Reader(
        intake, database=database, table="t", read={"by": "timestamp", "column": "at", "key": "k"}
    ) as reader:
        with pytest.raises(HubError, match="NULL"):
            await reader.run()
    assert not intake.items


async def test_text_that_is_not_unicode_is_an_error_that_does_not_cite_it(file: Path) -> None:
    database = lite(
        file, "CREATE TABLE t (id INTEGER, name TEXT)", "INSERT INTO t VALUES (1, CAST(x'5A68616E67FF' AS TEXT))"
    )
    async with Reader(Kept(), database=database, table="t", read={"by": "sequence", "column": "id"}) as reader:
        with pytest.raises(PermanentError) as caught:
            await reader.run()
    assert caught.value.code == "sql.data"
    assert "Zhang" not in caught.value.text
