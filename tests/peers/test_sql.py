"""The SQL adapter against PostgreSQL and MariaDB: types, exactly once, writing, and every fault."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.api import HubError, PermanentError, TransientError, UnreachableError
from tests.adapters.certificates import Authority
from tests.adapters.sql_support import Died, Kept, Reader, outgoing, sender
from tests.peers.databases import MariaDb, PostgreSql
from tests.peers.process import free_port

pytestmark = pytest.mark.peers


def at(server: PostgreSql | MariaDb, **more: Any) -> dict[str, Any]:
    product = "postgresql" if isinstance(server, PostgreSql) else "mariadb"
    return {
        "product": product,
        "host": "127.0.0.1",
        "port": server.port,
        "database": "hub",
        "user": "hub",
        "password": "secret",
        "connect_timeout": "2s",
        **more,
    }


@pytest.fixture(
    params=[
        pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql")),
        pytest.param("mariadb", marks=pytest.mark.xdist_group("mariadb")),
    ]
)
def server(request: pytest.FixtureRequest) -> PostgreSql | MariaDb:
    found: PostgreSql | MariaDb = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def table(server: PostgreSql | MariaDb) -> Iterator[str]:
    zoned = "timestamptz" if isinstance(server, PostgreSql) else "TIMESTAMP(6)"
    server.sql(
        "DROP TABLE IF EXISTS visit; CREATE TABLE visit (id INT PRIMARY KEY, name VARCHAR(40) NOT NULL,"
        f" changed {zoned} NOT NULL DEFAULT CURRENT_TIMESTAMP(6), ik VARCHAR(80) UNIQUE)"
        + (" ENGINE=InnoDB" if isinstance(server, MariaDb) else "")
    )
    yield "visit"
    server.sql("DROP TABLE visit")


BY_TIME = {"by": "timestamp", "column": "changed", "key": "id"}
INSERT: dict[str, Any] = {"action": "insert", "table": "visit", "columns": {"id": "id", "name": "name"}}


async def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        await asyncio.sleep(0.01)


@contextlib.contextmanager
def hanging(server: PostgreSql | MariaDb) -> Iterator[None]:
    server.pause()
    try:
        yield
    finally:
        server.resume()


class Open:
    """A started sender."""

    def __init__(
        self, server: PostgreSql | MariaDb, write: Any, database: dict[str, Any] | None = None, **options: Any
    ) -> None:
        self.sender = sender(database=at(server, **(database or {})), write=write, **options)

    async def __aenter__(self) -> Any:
        await self.sender.start()
        return self.sender

    async def __aexit__(self, *error: object) -> None:
        await self.sender.stop()


# -- reading -----------------------------------------------------------------------------------------------------------


@pytest.mark.xdist_group("postgresql")
async def test_types_of_postgresql(postgresql: PostgreSql) -> None:
    postgresql.sql(
        "DROP TABLE IF EXISTS typ; CREATE TABLE typ (id bigint, n numeric(30,4), f float8, b bool, d date, t timestamp, z timestamptz,"
        " raw bytea, j jsonb, u uuid, a int[], c char(3));"
        "INSERT INTO typ VALUES (9007199254740993, 12345678901234567890.1200, 0.1, true, '2026-01-15', '2026-01-15 09:30:15.25',"
        " '2026-01-15 09:30:15+00', '\\x00ff', '{\"x\": 1.10, \"y\": [12345678901234567890.5]}', '00000000-0000-0000-0000-000000000001',"
        " '{1,2}', 'a')"
    )
    intake = Kept()
    async with Reader(intake, database=at(postgresql), table="typ", read={"by": "sequence", "column": "id"}) as reader:
        await reader.run()
    assert intake.items[0].raw.decode() == (
        '{"id":9007199254740993,"n":12345678901234567890.1200,"f":0.1,"b":true,"d":"2026-01-15",'
        '"t":"2026-01-15T09:30:15.250000+08:00","z":"2026-01-15T17:30:15+08:00","raw":"AP8=",'
        '"j":{"x": 1.10, "y": [12345678901234567890.5]},"u":"00000000-0000-0000-0000-000000000001","a":[1,2],"c":"a  "}'
    )
    postgresql.sql("DROP TABLE typ")


@pytest.mark.xdist_group("mariadb")
async def test_types_of_mariadb(mariadb: MariaDb) -> None:
    mariadb.sql(
        "SET NAMES utf8mb4; DROP TABLE IF EXISTS typ; CREATE TABLE typ (id BIGINT UNSIGNED, n DECIMAL(30,4), d DATE, t DATETIME(3), c TIME, raw BLOB,"
        " s VARCHAR(20), bit1 TINYINT(1)) CHARACTER SET utf8mb4;"
        "INSERT INTO typ VALUES (18446744073709551615, 12345678901234567890.12, '2026-01-15', '2026-01-15 09:30:15.25', '-30:00:01',"
        " x'00ff', '张𠮷', 1)"
    )
    intake = Kept()
    read = {"by": "sequence", "column": "id"}
    async with Reader(intake, database=at(mariadb), table="typ", read=read) as reader:
        await reader.run()
    assert intake.items[0].raw.decode() == (
        '{"id":18446744073709551615,"n":12345678901234567890.1200,"d":"2026-01-15","t":"2026-01-15T09:30:15.250000+08:00",'
        '"c":"-30:00:01","raw":"AP8=","s":"张𠮷","bit1":1}'
    )
    mariadb.sql("DROP TABLE typ")


@pytest.mark.xdist_group("postgresql")
async def test_a_time_with_a_zone_marks_the_place_exactly(postgresql: PostgreSql) -> None:
    postgresql.sql(
        "DROP TABLE IF EXISTS z; CREATE TABLE z (id int, at timestamptz); SET timezone = 'Asia/Shanghai';"
        "INSERT INTO z SELECT n, '2026-01-15 00:00:00.000001+00'::timestamptz + n / 3 * interval '1 microsecond' FROM generate_series(0, 9) n"
    )
    intake = Kept()
    read = {"by": "timestamp", "column": "at", "key": "id"}
    async with Reader(intake, database=at(postgresql), table="z", read=read, page=2) as reader:
        await reader.run()
        await reader.run()
        assert [body["id"] for body in intake.bodies] == list(range(10))
        postgresql.sql("INSERT INTO z VALUES (10, now()), (11, '2026-01-15 00:00:00+00')")
        await reader.run()
        assert intake.bodies[-1]["id"] == 10
    assert not intake.duplicates
    postgresql.sql("DROP TABLE z")


@pytest.mark.parametrize("when", ["die_before", "die_after"])
async def test_exactly_once_through_crashes_while_rows_are_written(
    server: PostgreSql | MariaDb, table: str, when: str
) -> None:
    intake = Kept()
    options: dict[str, Any] = {"database": at(server), "table": table, "read": BY_TIME, "page": 7, "columns": ["id"]}
    number = 0
    for crash in (0, 1, 3, -1):
        values = ", ".join(f"({n}, 'n')" for n in range(number, number + 20))
        server.sql(f"INSERT INTO visit (id, name) VALUES {values}")
        number += 20
        setattr(intake, when, intake.pages + crash if crash >= 0 else -1)
        async with Reader(intake, **options) as reader:
            try:
                await reader.run()
            except Died:
                continue
    assert [body["id"] for body in intake.bodies] == list(range(80))
    assert not intake.duplicates


async def test_an_outbox_filled_by_a_trigger(server: PostgreSql | MariaDb, table: str) -> None:
    if isinstance(server, PostgreSql):
        server.sql(
            "DROP TABLE IF EXISTS outbox; CREATE TABLE outbox (n bigserial PRIMARY KEY, op text, id int);"
            "CREATE OR REPLACE FUNCTION tell() RETURNS trigger AS $$ BEGIN"
            " INSERT INTO outbox (op, id) VALUES (TG_OP, COALESCE(NEW.id, OLD.id)); RETURN NULL; END $$ LANGUAGE plpgsql;"
            "CREATE TRIGGER told AFTER INSERT OR UPDATE OR DELETE ON visit FOR EACH ROW EXECUTE FUNCTION tell()"
        )
    else:
        server.sql(
            "DROP TABLE IF EXISTS outbox; CREATE TABLE outbox (n BIGINT AUTO_INCREMENT PRIMARY KEY, op TEXT, id INT);"
            "CREATE TRIGGER told1 AFTER INSERT ON visit FOR EACH ROW INSERT INTO outbox (op, id) VALUES ('INSERT', NEW.id);"
            "CREATE TRIGGER told2 AFTER UPDATE ON visit FOR EACH ROW INSERT INTO outbox (op, id) VALUES ('UPDATE', NEW.id);"
            "CREATE TRIGGER told3 AFTER DELETE ON visit FOR EACH ROW INSERT INTO outbox (op, id) VALUES ('DELETE', OLD.id)"
        )
    server.sql(
        "INSERT INTO visit (id, name) VALUES (1,'a'),(2,'b'); UPDATE visit SET name='c' WHERE id=1; DELETE FROM visit WHERE id=2"
    )
    intake = Kept()
    intake.die_after = 1
    options: dict[str, Any] = {
        "database": at(server),
        "query": "",
        "table": "outbox",
        "read": {"by": "outbox", "key": "n", "done": "delete"},
        "page": 1,
    }
    async with Reader(intake, **options) as reader:
        with pytest.raises(Died):
            await reader.run()
    intake.die_after = -1
    async with Reader(intake, **options) as reader:
        await reader.run()
    assert [(body["op"], body["id"]) for body in intake.bodies] == [
        ("INSERT", 1),
        ("INSERT", 2),
        ("UPDATE", 1),
        ("DELETE", 2),
    ]
    assert server.sql("SELECT count(*) FROM outbox").strip() == "0"
    assert not intake.duplicates


async def test_a_comparison_of_a_table_somebody_else_sorts(
    server: PostgreSql | MariaDb, table: str, tmp_path: Path
) -> None:
    server.sql("INSERT INTO visit (id, name) VALUES (1,'b'),(2,'A'),(3,'a '),(4,'Z'),(5,'张')")
    intake = Kept()
    read = {"by": "compare", "key": ["name", "id"], "state": str(tmp_path / "state")}
    options: dict[str, Any] = {
        "database": at(server),
        "table": table,
        "columns": ["id", "name"],
        "read": read,
        "page": 2,
    }
    async with Reader(intake, **options) as reader:
        assert (await reader.run()).taken == 5
        assert (await reader.run()).taken == 0
        server.sql("DELETE FROM visit WHERE id = 2; INSERT INTO visit (id, name) VALUES (6, 'm')")
        await reader.run()
    assert sorted((body["_change"], body["id"]) for body in intake.bodies[5:]) == [("added", 6), ("removed", 2)]


async def test_details_are_read_in_the_same_snapshot(server: PostgreSql | MariaDb, table: str) -> None:
    server.sql(
        "DROP TABLE IF EXISTS item; CREATE TABLE item (visit INT, code VARCHAR(9));"
        "INSERT INTO visit (id, name) VALUES (1,'a'),(2,'b'); INSERT INTO item VALUES (1,'x'),(1,'y'),(3,'z')"
    )
    intake = Kept()
    details = [{"field": "items", "table": "item", "columns": "code", "match": {"visit": "id"}, "order_by": "code"}]
    options: dict[str, Any] = {"database": at(server), "table": table, "columns": ["id"], "details": details}
    async with Reader(intake, **options, read={"by": "sequence", "column": "id"}) as reader:
        await reader.run()
    assert intake.bodies == [{"id": 1, "items": [{"code": "x"}, {"code": "y"}]}, {"id": 2, "items": []}]
    server.sql("DROP TABLE item")


@pytest.mark.xdist_group("postgresql")
async def test_a_column_finer_than_python_is_noticed(postgresql: PostgreSql) -> None:
    """Played by a type whose comparison sees more than the driver reads."""
    postgresql.sql("DROP TABLE IF EXISTS t; CREATE TABLE t (id int, at float4); INSERT INTO t VALUES (1, 1.1), (2, 2)")
    # 1.1 as single precision is more than the 1.1 it is read as.
    intake = Kept()
    read = {"by": "sequence", "column": "at"}
    async with Reader(intake, database=at(postgresql), query="SELECT id, at FROM t", read=read, page=1) as reader:
        with pytest.raises(HubError) as caught:
            await reader.run()
    assert caught.value.code == "sql.precision"
    postgresql.sql("DROP TABLE t")


async def test_conditions_and_times_mean_what_they_say(server: PostgreSql | MariaDb) -> None:
    """Per cent signs, typed parameters, and times in the zone of the interface whatever that of the server is."""
    zoned = "timestamptz" if isinstance(server, PostgreSql) else "TIMESTAMP NULL"
    server.sql(
        f"SET {'TimeZone' if isinstance(server, PostgreSql) else 'time_zone'} = '+00:00';"
        f"DROP TABLE IF EXISTS t; CREATE TABLE t (id INT, at {zoned}, d DATE, name VARCHAR(20));"
        "INSERT INTO t VALUES (1, '2026-01-15 01:00:00', '2026-01-15', 'ab%c'), (2, '2026-01-15 02:00:00', '2026-01-16', 'abc'),"
        " (3, '2026-01-15 03:00:00', '2026-01-17', 'x')"
    )
    intake = Kept()
    options: dict[str, Any] = {
        "database": at(server),
        "table": "t",
        "where": "d >= :d AND name LIKE 'a%'",
        "params": {"d": "2026-01-16"},
    }
    async with Reader(intake, **options, read={"by": "timestamp", "column": "at", "key": "id"}) as reader:
        await reader.run()
    assert intake.items[0].raw == b'{"id":2,"at":"2026-01-15T10:00:00+08:00","d":"2026-01-16","name":"abc"}'
    assert len(intake.items) == 1
    intake = Kept()
    read = {"by": "timestamp", "column": "at", "key": "id", "start": "2026-01-15 11:00:00"}
    async with Reader(intake, database=at(server), table="t", read=read) as reader:
        await reader.run()
    assert [body["id"] for body in intake.bodies] == [3]
    write = {"sql": "UPDATE t SET at = :at WHERE name LIKE '%x'", "params": {"at": {"from": "at", "as": "datetime"}}}
    async with Open(server, write) as one:
        assert json.loads((await one.send(outgoing({"at": "2026-01-15T12:00:00Z"}))).body) == {"rows": 1}
    async with Reader(intake, database=at(server), table="t", read=read) as reader:
        await reader.run()
    assert intake.bodies[-1]["at"] == "2026-01-15T20:00:00+08:00"
    server.sql("DROP TABLE t")


async def test_a_page_with_details_that_ends_early(server: PostgreSql | MariaDb, table: str) -> None:
    values = ", ".join(f"({number}, '{'n' * 40}')" for number in range(3000))
    server.sql(
        "DROP TABLE IF EXISTS item; CREATE TABLE item (visit INT, code VARCHAR(9));"
        f"INSERT INTO visit (id, name) VALUES {values}; INSERT INTO item SELECT id, 'x' FROM visit"
    )
    intake = Kept()
    details = [{"field": "items", "table": "item", "columns": "code", "match": {"visit": "id"}}]
    options: dict[str, Any] = {"database": at(server), "table": table, "columns": ["id", "name"], "details": details}
    read = {"by": "sequence", "column": "id"}
    async with Reader(intake, **options, read=read, page=5000, page_bytes="64KB") as reader:
        await reader.run()
    assert intake.pages > 2
    assert [(body["id"], body["items"]) for body in intake.bodies] == [(n, [{"code": "x"}]) for n in range(3000)]
    server.sql("DROP TABLE item")


async def test_a_session_for_reading_can_not_write(server: PostgreSql | MariaDb, table: str) -> None:
    server.sql("INSERT INTO visit (id, name) VALUES (1,'a')")
    if isinstance(server, PostgreSql):
        server.sql("CREATE OR REPLACE FUNCTION wipe() RETURNS int AS $$ DELETE FROM visit; SELECT 1 $$ LANGUAGE sql")
    else:
        server.sql(
            "DROP FUNCTION IF EXISTS wipe; CREATE FUNCTION wipe() RETURNS INT MODIFIES SQL DATA RETURN"
            " (SELECT 1); SET GLOBAL log_bin_trust_function_creators = 1; DROP FUNCTION wipe;\nDELIMITER //\n"
            "CREATE FUNCTION wipe() RETURNS INT MODIFIES SQL DATA BEGIN DELETE FROM visit; RETURN 1; END//\n"
        )
    query = "SELECT id, changed, wipe() AS w FROM visit"
    async with Reader(Kept(), database=at(server), query=query, read=BY_TIME) as reader:
        with pytest.raises(HubError):
            await reader.run()
    assert server.sql("SELECT count(*) FROM visit").strip() == "1"


# -- writing -----------------------------------------------------------------------------------------------------------


async def test_rows_are_inserted_changed_and_deleted(server: PostgreSql | MariaDb, table: str) -> None:
    upsert = {**INSERT, "action": "upsert", "key": "id"}
    async with Open(server, upsert) as one:
        body = [{"id": n, "name": f"n{n}"} for n in range(300)]
        assert json.loads((await one.send(outgoing(body))).body)["rows"] == 300
        await one.send(outgoing([{"id": 1, "name": "张三'; --"}, {"id": 300, "name": "new"}]))
    assert server.sql("SELECT name FROM visit WHERE id IN (0, 1, 300) ORDER BY id") == "n0\n张三'; --\nnew\n"
    async with Open(server, {**INSERT, "action": "update", "key": "id", "must_exist": True}) as one:
        assert (
            json.loads((await one.send(outgoing({"id": 1, "name": "张三'; --"}))).body)["rows"] == 1
        )  # met, though the same
        with pytest.raises(PermanentError):
            await one.send(outgoing([{"id": 2, "name": "x"}, {"id": 999, "name": "x"}]))
    assert server.sql("SELECT name FROM visit WHERE id = 2") == "n2\n"
    async with Open(server, {"action": "delete", "table": "visit", "columns": {"id": "id"}, "key": "id"}) as one:
        assert json.loads((await one.send(outgoing([{"id": 1}, {"id": 2}]))).body)["rows"] == 2


async def test_strings_reach_columns_of_every_type(server: PostgreSql | MariaDb) -> None:
    kind = "TIMESTAMP" if isinstance(server, PostgreSql) else "DATETIME"
    server.sql(
        f"DROP TABLE IF EXISTS typ; CREATE TABLE typ (id INT, n NUMERIC(12,3), d DATE, t {kind} NULL, b BOOLEAN)"
    )
    columns = {
        "id": "id",
        "n": "n",
        "d": "d",
        "t": {"from": "t", "as": "datetime"},
        "b": {"from": "b", "as": "boolean"},
    }
    async with Open(server, {"action": "insert", "table": "typ", "columns": columns}) as one:
        await one.send(outgoing(b'{"id": "7", "n": 1.250, "d": "2026-01-15", "t": "2026-01-15T01:30:15Z", "b": "Y"}'))
        with pytest.raises(PermanentError) as caught:
            await one.send(outgoing({"id": "seven"}))
        assert caught.value.code == "sql.data"
        assert "seven" not in caught.value.text
    found = server.sql("SELECT id, n, d, t FROM typ").strip().replace("\t", "|")
    assert found == "7|1.250|2026-01-15|2026-01-15 09:30:15"
    server.sql("DROP TABLE typ")


async def test_generated_keys(server: PostgreSql | MariaDb) -> None:
    serial = "SERIAL" if isinstance(server, PostgreSql) else "INT AUTO_INCREMENT"
    server.sql(f"DROP TABLE IF EXISTS made; CREATE TABLE made (id {serial} PRIMARY KEY, name TEXT)")
    write = {"action": "insert", "table": "made", "columns": {"name": "name"}, "returning": "id"}
    async with Open(server, write) as one:
        assert json.loads((await one.send(outgoing([{"name": "a"}, {"name": "b"}]))).body) == {
            "rows": 2,
            "keys": [{"id": 1}, {"id": 2}],
        }
    if isinstance(server, MariaDb):  # spoken to as MySQL it is found out all the same
        async with Open(server, write, {"product": "mysql"}) as one:
            assert json.loads((await one.send(outgoing({"name": "c"}))).body)["keys"] == [{"id": 3}]
    server.sql("DROP TABLE made")


async def test_a_procedure_answers_with_its_output_parameters(server: PostgreSql | MariaDb, table: str) -> None:
    if isinstance(server, PostgreSql):
        server.sql(
            "CREATE OR REPLACE PROCEDURE register(who varchar, OUT no int, OUT said text) AS $$ BEGIN"
            " INSERT INTO visit (id, name) VALUES (42, who) RETURNING id INTO no; said := 'ok ' || who; END $$ LANGUAGE plpgsql"
        )
    else:
        server.sql(
            "DROP PROCEDURE IF EXISTS register;\nDELIMITER //\nCREATE PROCEDURE register(IN who VARCHAR(40), OUT no INT, OUT said TEXT)"
            " BEGIN INSERT INTO visit (id, name) VALUES (42, who); SET no = 42; SET said = CONCAT('ok ', who); END//\n"
        )
    call = {"call": "register", "params": {"who": "name", "no": {"out": "integer"}, "said": {"out": "text"}}}
    async with Open(server, call, dedupe=None) as one:
        reply = json.loads((await one.send(outgoing({"name": "张三"}))).body)
        assert reply["out"] == {"no": 42, "said": "ok 张三"}
        with pytest.raises(PermanentError) as caught:
            await one.send(outgoing({"name": "b"}))
        assert caught.value.code == "sql.duplicate"
    assert server.sql("SELECT name FROM visit") == "张三\n"


@pytest.mark.parametrize("by", ["column", "table"])
async def test_the_same_delivery_at_once_and_again_is_written_once(
    server: PostgreSql | MariaDb, table: str, by: str
) -> None:
    server.sql("DROP TABLE IF EXISTS seen; CREATE TABLE seen (k VARCHAR(200) PRIMARY KEY, at TIMESTAMP NULL)")
    write = {**INSERT, "idempotency_column": "ik"} if by == "column" else INSERT
    more = {} if by == "column" else {"dedupe": {"table": "seen", "column": "k", "at": "at"}}
    async with Open(server, write, **more) as one:
        body = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
        replies = await asyncio.gather(*(one.send(outgoing(body, "key")) for _ in range(4)))
        assert sorted(reply.code for reply in replies) == ["already delivered"] * 3 + ["ok"]
        with pytest.raises(PermanentError) as caught:
            await one.send(outgoing(body, "other"))
        assert caught.value.code == "sql.duplicate"
    assert server.sql("SELECT count(*) FROM visit").strip() == "2"


# -- faults ------------------------------------------------------------------------------------------------------------


async def test_nobody_there_and_wrong_credentials(server: PostgreSql | MariaDb, table: str) -> None:
    for change, code in (
        ({"port": free_port()}, "sql.unreachable"),
        ({"password": "wrong"}, "sql.credentials"),
        ({"database": "none"}, "sql.credentials"),
    ):
        async with Open(server, INSERT, change) as one:
            for call in (lambda one=one: one.send(outgoing({"id": 1, "name": "a"})), one.probe):
                with pytest.raises(UnreachableError) as caught:
                    await call()
                assert caught.value.code == code
                assert "wrong" not in caught.value.text
    async with Reader(Kept(), database=at(server, password="wrong"), table=table, read=BY_TIME) as reader:
        with pytest.raises(UnreachableError):
            await reader.run()


async def test_deadlock_and_lock_are_tried_again(server: PostgreSql | MariaDb, table: str) -> None:
    server.sql("INSERT INTO visit (id, name) VALUES (1,'a'),(2,'b')")
    slow = "pg_sleep(0.3)" if isinstance(server, PostgreSql) else "SLEEP(0.3)"
    steps = [
        {"sql": "UPDATE visit SET name = 'x' WHERE id = :a", "params": {"a": "a"}},
        {"sql": f"SELECT {slow}"},
        {"sql": "UPDATE visit SET name = 'y' WHERE id = :b", "params": {"b": "b"}},
    ]
    async with Open(server, steps) as one:
        found = await asyncio.gather(
            one.send(outgoing({"a": 1, "b": 2})), one.send(outgoing({"a": 2, "b": 1})), return_exceptions=True
        )
        failed = [each for each in found if isinstance(each, TransientError)]
        assert len(failed) == 1
        assert failed[0].code == "sql.deadlock"
    async with Open(server, steps, {"statement_timeout": "1s"}) as one:
        holder = asyncio.create_task(
            asyncio.to_thread(
                server.sql, f"BEGIN; UPDATE visit SET name='h' WHERE id=1; SELECT {slow.replace('0.3', '3')}; COMMIT"
            )
        )
        locked = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
            if isinstance(server, PostgreSql)
            else "SELECT count(*) FROM information_schema.processlist WHERE state = 'User sleep'"
        )
        await until(lambda: server.sql(locked).strip() != "0")
        with pytest.raises(TransientError) as caught:
            await one.send(outgoing({"a": 1, "b": 2}))
        assert caught.value.code == "sql.timeout"
        await holder


async def test_a_server_that_hangs_is_given_up_and_found_again(server: PostgreSql | MariaDb, table: str) -> None:
    async with Open(server, INSERT, {"connections": 2}) as one:
        await one.send(outgoing({"id": 1, "name": "a"}))
        with hanging(server):
            for _ in range(3):  # more than there are connections: none may stay behind
                with pytest.raises((TransientError, UnreachableError)):
                    await one.send(outgoing({"id": 2, "name": "b"}, timeout=0.3))
        await until(lambda: not one.status()["busy"])
        assert (await one.send(outgoing({"id": 3, "name": "c"}))).ok
    intake = Kept()
    options: dict[str, Any] = {"database": at(server, statement_timeout="2s", connect_timeout="2s"), "table": table}
    async with Reader(intake, **options, read=BY_TIME) as reader:
        await reader.run()
        with hanging(server), pytest.raises((TransientError, UnreachableError)):
            await reader.run()
        server.sql("INSERT INTO visit (id, name) VALUES (9, 'z')")
        await reader.run()
    assert intake.bodies[-1]["id"] == 9
    assert not intake.duplicates


async def test_a_server_killed_under_load_loses_and_repeats_nothing(server: PostgreSql | MariaDb, table: str) -> None:
    done: set[int] = set()
    stop = False

    async def write(one: Any, first: int) -> None:
        number = first
        while not stop or number not in done:
            if number in done:
                number += 10
            try:
                await one.send(outgoing({"id": number, "name": "n"}, f"key-{number}", timeout=5.0))
                done.add(number)
            except (TransientError, UnreachableError):
                await asyncio.sleep(0.02)

    intake = Kept()
    read = {
        "database": at(server),
        "table": table,
        "read": {"by": "sequence", "column": "id", "overlap": 200},
        "columns": ["id"],
    }
    async with Open(server, {**INSERT, "idempotency_column": "ik"}) as one, Reader(intake, **read) as reader:
        writers = [asyncio.create_task(write(one, first)) for first in range(4)]
        await until(lambda: len(done) > 40)
        await reader.run()
        await asyncio.to_thread(server.kill)
        with pytest.raises((TransientError, UnreachableError)):
            await reader.run()
        await asyncio.to_thread(server.start)
        count = len(done)
        await until(lambda: len(done) > count + 20)
        stop = True
        await asyncio.gather(*writers)
        await reader.run()
    assert int(server.sql("SELECT count(*) FROM visit").strip()) == len(done)
    assert len(intake.ids) == len(set(intake.ids))
    assert not intake.duplicates


async def test_a_procedure_that_refuses_is_not_asked_again(server: PostgreSql | MariaDb) -> None:
    if isinstance(server, PostgreSql):
        server.sql("CREATE OR REPLACE PROCEDURE refuse() AS $$ BEGIN RAISE EXCEPTION 'closed'; END $$ LANGUAGE plpgsql")
    else:
        server.sql(
            "DROP PROCEDURE IF EXISTS refuse;\nDELIMITER //\nCREATE PROCEDURE refuse()"
            " BEGIN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'closed'; END//\n"
        )
    async with Open(server, {"call": "refuse"}) as one:
        with pytest.raises(PermanentError, match="closed") as caught:
            await one.send(outgoing({}))
        assert caught.value.code == "sql.raised"


async def test_rows_committed_late_are_found_by_the_overlap(server: PostgreSql | MariaDb, table: str) -> None:
    """A transaction that began early and ends late: its row is older than what was read already."""
    slow = "pg_sleep(1)" if isinstance(server, PostgreSql) else "SLEEP(1)"
    late = asyncio.create_task(
        asyncio.to_thread(server.sql, f"BEGIN; INSERT INTO visit (id, name) VALUES (1, 'late'); SELECT {slow}; COMMIT")
    )
    watch = "pg_stat_activity" if isinstance(server, PostgreSql) else "information_schema.processlist"
    text = "query" if isinstance(server, PostgreSql) else "info"
    find = f"SELECT count(*) FROM {watch} WHERE {text} LIKE '%{slow[:5]}%(1%' AND {text} NOT LIKE '%LIKE%'"
    await until(lambda: server.sql(find).strip() != "0")
    server.sql("INSERT INTO visit (id, name) VALUES (2, 'n')")
    intake = Kept()
    options: dict[str, Any] = {"database": at(server), "table": table, "columns": ["id"]}
    async with Reader(intake, **options, read={**BY_TIME, "overlap": "1m"}) as reader:
        await reader.run()
        assert [body["id"] for body in intake.bodies] == [2]
        await late
        await reader.run()
    assert [body["id"] for body in intake.bodies] == [2, 1]
    assert not intake.duplicates


async def test_a_connection_cut_in_the_middle(server: PostgreSql | MariaDb, table: str) -> None:
    slow = "pg_sleep(20)" if isinstance(server, PostgreSql) else "SLEEP(20)"
    async with Open(server, [INSERT, {"sql": f"SELECT {slow}"}]) as one:
        call = asyncio.create_task(one.send(outgoing({"id": 1, "name": "a"})))
        if isinstance(server, PostgreSql):
            find = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
            end = "SELECT pg_terminate_backend({})"
        else:
            find = "SELECT id FROM information_schema.processlist WHERE state = 'User sleep'"
            end = "KILL {}"
        await until(lambda: server.sql(find).strip())
        server.sql(end.format(server.sql(find).strip().splitlines()[0]))
        with pytest.raises(TransientError) as caught:
            await call
        assert caught.value.code == "sql.lost"
    assert server.sql("SELECT count(*) FROM visit").strip() == "0"


# -- TLS, and other products -------------------------------------------------------------------------------------------


class TlsMariaDb(MariaDb):
    """With the certificate ``server.pem`` of its folder."""

    def command(self) -> Any:
        return [
            *super().command(),
            f"--ssl-cert={self.folder / 'server.pem'}",
            f"--ssl-key={self.folder / 'server.key'}",
            f"--ssl-ca={self.folder / 'ca.pem'}",
        ]


def certify(folder: Path) -> None:
    Authority(folder, "ca").issue("server", "127.0.0.1", "db.hospital.example")


async def check_tls(server: PostgreSql | MariaDb, folder: Path, tmp_path: Path) -> None:
    """Trusted, not trusted, wrong name, not verified."""
    certify(other := tmp_path)
    write = {"sql": "SELECT 1"}
    right = {"ca": str(folder / "ca.pem")}
    async with Open(server, write, {"tls": right}) as one:
        assert (await one.send(outgoing({}))).ok
    async with Open(server, write, {"tls": {"verify": False}}) as one:
        assert (await one.send(outgoing({}))).ok
    for tls, host in (({"ca": str(other / "ca.pem")}, "127.0.0.1"), ({}, "127.0.0.1"), (right, "localhost")):
        async with Open(server, write, {"tls": tls, "host": host}) as one:
            with pytest.raises(UnreachableError) as caught:
                await one.send(outgoing({}))
            assert caught.value.code == "sql.tls"


@pytest.mark.xdist_group("postgresql")
async def test_tls_of_postgresql(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    server = PostgreSql(tmp_path_factory.mktemp("pgtls"))
    server.start()
    try:
        certify(server.folder / "data")
        server.own(server.folder / "data")
        (server.folder / "data" / "server.key").chmod(0o600)
        server.sql("ALTER SYSTEM SET ssl_cert_file = 'server.pem'")
        server.sql("ALTER SYSTEM SET ssl_key_file = 'server.key'")
        server.sql("ALTER SYSTEM SET ssl = on")
        server.sql("SELECT pg_reload_conf()")
        ca = tmp_path / "given"
        ca.mkdir()
        (ca / "ca.pem").write_bytes((server.folder / "data" / "ca.pem").read_bytes())
        await check_tls(server, ca, tmp_path)
        named = {"ca": str(ca / "ca.pem"), "server_name": "db.hospital.example"}
        write = {"sql": "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", "result": True}
        async with Open(server, write, {"tls": named}) as one:
            assert json.loads((await one.send(outgoing({}))).body)["result"] == [{"ssl": True}]
        async with Open(server, write) as one:
            assert json.loads((await one.send(outgoing({}))).body)["result"] == [{"ssl": False}]
    finally:
        server.stop()


@pytest.mark.xdist_group("mariadb")
async def test_tls_of_mariadb(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    server = TlsMariaDb(tmp_path_factory.mktemp("mytls"))
    certify(server.folder)
    server.start()
    try:
        await check_tls(server, server.folder, tmp_path)
        write = {"sql": "SHOW SESSION STATUS LIKE 'Ssl_cipher'", "result": True}
        async with Open(server, write, {"tls": {"ca": str(server.folder / "ca.pem")}}) as one:
            assert "TLS" in json.loads((await one.send(outgoing({}))).body)["result"][0]["Value"]
    finally:
        server.stop()


@pytest.mark.xdist_group("postgresql")
@pytest.mark.parametrize("product", ["kingbase", "gaussdb"])
async def test_products_that_speak_like_postgresql(postgresql: PostgreSql, product: str) -> None:
    """Their dialects, driver and two-step upsert, proven on the protocol's owner."""
    postgresql.sql(
        "DROP TABLE IF EXISTS visit; CREATE TABLE visit (id int PRIMARY KEY, name text NOT NULL, n int GENERATED ALWAYS AS (id) STORED)"
    )
    database = {"product": product}
    async with Open(postgresql, {**INSERT, "action": "upsert", "key": "id"}, database) as one:
        await one.send(outgoing([{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]))
        await one.send(outgoing([{"id": 1, "name": "A"}, {"id": 2, "name": "b"}]))
    intake = Kept()
    read = {"by": "sequence", "column": "id"}
    async with Reader(
        intake, database=at(postgresql, **database), table="visit", read=read, columns=["id", "name"]
    ) as reader:
        await reader.run()
    assert intake.bodies == [{"id": 1, "name": "A"}, {"id": 2, "name": "b"}]
    postgresql.sql("DROP TABLE visit")


@pytest.mark.xdist_group("mariadb")
async def test_two_steps_in_a_product_like_mysql(mariadb: MariaDb) -> None:
    mariadb.sql("DROP TABLE IF EXISTS visit; CREATE TABLE visit (id INT PRIMARY KEY, name TEXT)")
    async with Open(mariadb, {**INSERT, "action": "upsert", "key": "id"}, {"product": "gbase8a"}) as one:
        for name in ("a", "a", "b"):
            assert json.loads((await one.send(outgoing({"id": 1, "name": name}))).body)["rows"] == 1
    assert mariadb.sql("SELECT name FROM visit; DROP TABLE visit") == "b\n"
