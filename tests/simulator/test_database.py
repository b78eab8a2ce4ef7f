"""Databases that are played: asked by a client of their own (psycopg), and by the hub's adapter."""

from __future__ import annotations

import asyncio
import json
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hub.api import HubError, PermanentError, SendError, TransientError, UnreachableError
from hub.simulator import Behaviour, Simulator
from tests.adapters.sql_support import Kept, Reader, outgoing, sender
from tests.simulator.database_support import CONTRACT, REFUSED, ROW, client, database, started, write
from tests.simulator.simulator_support import Played, played


@pytest.fixture(scope="module")
def party() -> Iterator[Played]:
    with played() as found:
        yield found


@pytest.fixture
def lab(party: Played, tmp_path: Path) -> Iterator[Simulator]:
    found = started(party, tmp_path)
    assert found.not_simulated == {}
    yield found
    party.run(found.stop())


def calls(lab: Simulator) -> list[tuple[str, str, str]]:
    return [(call.interface, call.verdict, call.code) for call in lab.calls]


# -- who may come in --------------------------------------------------------------------------------------------------------


def test_settings_lead_to_it_and_a_product_it_speaks_is_chosen(lab: Simulator) -> None:
    assert (lab.settings["product"], lab.settings["host"]) == ("kingbase", "127.0.0.1")
    with client(lab) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    ("wrong", "state"),
    [({"password": "x"}, "authentication"), ({"user": "x"}, "authentication"), ({"dbname": "x"}, "exist")],
)
def test_others_are_not_let_in(lab: Simulator, wrong: dict[str, str], state: str) -> None:
    with pytest.raises(psycopg.OperationalError, match=state), client(lab, **wrong):
        pass


# -- what it refuses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("statement", "state"), REFUSED)
def test_what_does_not_fit_is_refused_with_its_state(lab: Simulator, statement: str, state: str) -> None:
    with client(lab) as connection:
        connection.execute("INSERT INTO result (number, item) VALUES ('L0', 'GLU')")
        connection.commit()
        with pytest.raises(psycopg.Error) as told:
            connection.execute(statement)
        assert told.value.sqlstate == state
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            connection.execute("SELECT 1")
        connection.rollback()
        assert connection.execute("SELECT number, item FROM result").fetchall() == [("L0", "GLU")]


def test_what_is_not_committed_is_not_there(lab: Simulator) -> None:
    with client(lab) as connection:
        connection.execute("INSERT INTO result (number, item) VALUES ('L1', 'GLU')")
        connection.rollback()
        assert connection.execute("SELECT count(*) FROM result").fetchone() == (0,)
    with client(lab) as gone:
        gone.execute("INSERT INTO result (number, item) VALUES ('L1', 'GLU')")
        gone.pgconn.finish()
    with client(lab) as connection:
        assert connection.execute("SELECT count(*) FROM result").fetchone() == (0,)


@pytest.mark.parametrize("statement", ["ATTACH DATABASE '{file}' AS x", "VACUUM INTO '{file}'"])
def test_no_statement_reaches_a_file(lab: Simulator, statement: str, tmp_path: Path) -> None:
    with client(lab) as connection:
        connection.autocommit = True
        with pytest.raises(psycopg.Error):
            connection.execute(statement.replace("{file}", str(tmp_path / "made")))
    assert not (tmp_path / "made").exists()


def test_bytes_that_are_no_protocol_end_the_connection(lab: Simulator, party: Played) -> None:
    async def said(raw: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(lab.settings["host"], lab.settings["port"])
        writer.write(raw)
        writer.write_eof()
        found = await reader.read()
        writer.close()
        return found

    for raw in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 64, b"", b"\0\0\0\x08\x04\xd2\x16\x2f"):
        assert party.run(said(raw)) in (b"", b"N")
    with client(lab) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_messages_of_any_bytes_end_the_connection_and_nothing_else(lab: Simulator, party: Played) -> None:
    chance = random.Random(7)
    unhandled: list[Any] = []

    async def once(kinds: bytes) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: unhandled.append(context))
        reader, writer = await asyncio.open_connection(lab.settings["host"], lab.settings["port"])
        words = b"\0".join(
            [b"user", lab.settings["user"].encode(), b"database", lab.settings["name"].encode(), b"", b""]
        )
        secret = lab.settings["password"].encode() + b"\0"
        raw = struct.pack("!ii", len(words) + 8, 196608) + words + b"p" + struct.pack("!i", len(secret) + 4) + secret
        for kind in kinds:
            body = chance.choice([b"", b"SELECT 1\0", b"\0SELECT $1\0\0\0", b"\0\0\0\1\0\1\0\1", chance.randbytes(20)])
            raw += bytes([kind]) + struct.pack("!i", len(body) + chance.choice([4, 4, 4, 4, 3, 40, -9])) + body
        writer.write(raw)
        writer.write_eof()
        assert (await reader.read()).startswith(b"R")
        writer.close()

    for _ in range(150):
        party.run(once(bytes(chance.choices(b"QPBDECHSXz", k=6))))
    assert unhandled == []
    with client(lab) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


# -- what the hub writes and asks ---------------------------------------------------------------------------------------------


def test_rows_are_written_and_found_with_their_types(lab: Simulator) -> None:
    picture = "iVBORw0KGgo="
    written = write(
        lab, "results", {**ROW, "picture": picture}, {**ROW, "number": "L2", "value": 12}, {**ROW, "item": "GLU2"}
    )
    assert [one["rows"] for one in written] == [1, 1, 1]
    assert calls(lab) == [("results", "accepted", "")] * 3
    body = json.loads(lab.calls[0].body)
    assert body["statements"][0]["params"]["item"] == "GLU"
    with client(lab) as connection:
        found = connection.execute("SELECT number, item, picture FROM result ORDER BY number").fetchall()
    assert found == [("L1", "GLU2", None), ("L2", "GLU", None)]
    (all_of_them, large, none) = write(lab, "found", {"item": "GLU%"}, {"item": "GLU%", "least": 10}, {"item": "glu%"})
    row = {"number": "L1", "value": 5.1, "pieces": 2, "taken_at": "2026-01-15T09:30:00+08:00", "positive": True}
    assert all_of_them["result"] == [row, {**row, "number": "L2", "value": 12}]
    assert [one["number"] for one in large["result"]] == ["L2"]
    assert none == {"rows": 0}
    assert calls(lab)[3:] == [("found", "accepted", "")] * 3


def test_tables_no_file_has_are_as_the_contract_names_them(lab: Simulator) -> None:
    body = {"orders": [{"patient": "P1", "urgent": True}, {"patient": "P2", "urgent": False}]}
    first, second = write(lab, "orders", body, body)
    assert [first["keys"], second["keys"]] == [[{"id": 1}, {"id": 2}], [{"id": 3}, {"id": 4}]]
    assert write(lab, "orders", body) == [{"rows": 0, "already_delivered": True}]
    with client(lab) as connection:
        assert connection.execute("SELECT urgent FROM lab_order").fetchall() == [(True,), (False,), (True,), (False,)]
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO hub_delivery (delivery) VALUES ('k0')")


def test_wrong_rows_are_refused_for_good_and_told(lab: Simulator) -> None:
    wrong = [{**ROW, "number": "123456789"}, {**ROW, "item": None}, {**ROW, "pieces": "two"}]
    found = write(lab, "results", *wrong, ROW)
    assert [(type(one), one.code) for one in found[:3]] == [
        (PermanentError, "sql.data"), (PermanentError, "sql.constraint"), (PermanentError, "sql.data"),
    ]  # fmt: skip
    assert found[3]["rows"] == 1
    states = [("results", "refused", state) for state in ("22001", "23502", "22P02")]
    assert calls(lab) == [*states, ("results", "accepted", "")]
    assert "number" in lab.calls[0].problem
    assert "123456789" not in lab.calls[0].problem


# -- misbehaving -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind", "hub_code"),
    [
        ("55P03", TransientError, "sql.timeout"),  # locked
        ("40P01", TransientError, "sql.deadlock"),
        ("53300", TransientError, "sql.busy"),
        ("sql.busy", TransientError, "sql.busy"),
        ("57P01", TransientError, "sql.lost"),
        ("42P01", PermanentError, "sql.statement"),  # a table that is missing
        ("42501", PermanentError, "sql.statement"),  # a right that is
        ("sql.raised", PermanentError, "sql.raised"),
        ("23514", PermanentError, "sql.constraint"),
    ],
)
def test_errors_on_demand_are_classed_and_nothing_is_written(
    lab: Simulator, code: str, kind: type[SendError], hub_code: str
) -> None:
    lab.misbehave("results", Behaviour("error", code))
    failed, written = write(lab, "results", ROW, ROW)
    assert (type(failed), failed.code) == (kind, hub_code)
    assert written["rows"] == 1
    assert [verdict for _, verdict, _ in calls(lab)] == ["misbehaved", "accepted"]


@pytest.mark.parametrize("kind", ["refuse", "reset", "truncated", "garbage", "silent", "unauthorised"])
def test_an_answer_that_does_not_come_leaves_the_outcome_open(lab: Simulator, kind: Any) -> None:
    lab.misbehave("results", Behaviour(kind))
    failed, asked = write(lab, "results", ROW, {**ROW, "number": "L2"}, timeout=2.0)
    assert isinstance(failed, TransientError)
    assert not isinstance(failed, UnreachableError)
    assert asked["rows"] == 1
    with client(lab) as connection:
        there = connection.execute("SELECT count(*) FROM result WHERE number = 'L1'").fetchone()
    assert there == (int(kind not in ("refuse", "unauthorised")),)


def test_one_interface_misbehaves_and_others_do_not(lab: Simulator) -> None:
    lab.misbehave("changes", Behaviour("error", "42501"), times=None)
    (written,) = write(lab, "results", ROW)
    (refused,) = write(lab, "changes", {"number": "L1", "pieces": 3})
    assert written["rows"] == 1
    assert refused.code == "sql.statement"
    lab.behave()
    (slow,) = write(lab, "changes", {"number": "L1", "pieces": 3})
    assert slow["rows"] == 1


def test_a_party_that_is_gone_is_unreachable_also_over_a_connection_that_rested_a_moment(
    lab: Simulator, party: Played
) -> None:
    connect = lab._sides["results"].bound.options.model_dump(by_alias=True, exclude_unset=True)
    connect["database"] = database(lab)

    async def before_and_after() -> None:
        out = sender(**connect)
        await out.start()
        try:
            assert (await out.send(outgoing(ROW))).ok
            await asyncio.to_thread(party.run, lab.stop())
            with pytest.raises(UnreachableError):
                await out.send(outgoing(ROW))
            with pytest.raises(UnreachableError):
                await out.probe()
        finally:
            await out.stop()

    asyncio.run(before_and_after())


# -- what the hub reads ----------------------------------------------------------------------------------------------------------


def read(
    lab: Simulator, party: Played, interface: str, *offers: Any, intake: Kept | None = None, folder: Path | None = None
) -> Kept:
    """Offer, and let the hub's adapter run once after each."""
    listen = lab._sides[interface].bound.options.model_dump(exclude_unset=True)
    listen["database"] = database(lab)
    if folder is not None:
        listen["read"]["state"] = str(folder / "compare")
    kept = intake or Kept()

    async def runs() -> None:
        async with Reader(kept, **listen) as reader:
            for offer in offers or (None,):
                if offer is not None:
                    body = offer if isinstance(offer, bytes) else json.dumps(offer).encode()
                    await asyncio.to_thread(party.run, lab.offer(interface, body))
                await reader.run()

    asyncio.run(runs())
    return kept


def test_numbered_rows_are_taken_once(lab: Simulator, party: Played) -> None:
    kept = read(lab, party, "counted", {"text": "second"}, {"text": "third", "id": 1}, {"text": "third", "id": 3})
    assert kept.bodies == [{"id": 1, "text": "first"}, {"id": 2, "text": "second"}, {"id": 3, "text": "third"}]
    assert len(read(lab, party, "counted", intake=kept).items) == 3
    assert {call.interface for call in lab.calls} == {"counted"}


def test_rows_that_can_not_be_are_not_laid_out(lab: Simulator, party: Played) -> None:
    for strange in (b'{"verify": "not a message"}', b"[1]", b"no json"):
        with pytest.raises(HubError):
            party.run(lab.offer("counted", strange))
    kept = read(lab, party, "counted")
    assert kept.bodies == [{"id": 1, "text": "first"}]


def test_an_outbox_is_emptied_and_what_comes_again_is_the_same(lab: Simulator, party: Played) -> None:
    kept = Kept()
    kept.refuse = {"2"}
    read(lab, party, "queue", b"MSH|one", b"\xe4\xb8\xad", b"three", intake=kept)
    assert [item.raw for item in kept.items] == [b"MSH|one", b"three"]
    with client(lab) as connection:
        found = connection.execute("SELECT id, state, done_at IS NULL FROM outbox ORDER BY id").fetchall()
    assert found == [(1, 1, False), (2, 1, False), (3, 1, False)]


def test_changed_rows_come_with_what_belongs_to_them(lab: Simulator, party: Played) -> None:
    first = {
        "bed": "B1",
        "ward": "W1",
        "changed": "2026-01-15 09:30:00",
        "notes": [{"text": "clean"}, {"text": "near"}],
    }
    kept = read(lab, party, "changed", first, {**first, "ward": "W2", "notes": []})
    assert [(one["ward"], len(one["notes"])) for one in kept.bodies] == [("W1", 2), ("W2", 2)]
    assert kept.bodies[0]["changed"] == "2026-01-15T09:30:00+08:00"
    assert kept.bodies[1]["changed"] > kept.bodies[0]["changed"]


def test_compared_rows_are_added_and_changed(lab: Simulator, party: Played, tmp_path: Path) -> None:
    rows = [{"ward": "W1", "beds": 10}, {"ward": "W1", "beds": 11}, {"ward": "W2", "beds": 5}]
    kept = read(lab, party, "compared", *rows, folder=tmp_path)
    assert [(one["ward"], one["_change"]) for one in kept.bodies] == [
        ("W1", "added"),
        ("W1", "changed"),
        ("W2", "added"),
    ]


def test_a_source_that_fails_is_told_and_read_the_next_time(lab: Simulator, party: Played) -> None:
    lab.misbehave("counted", Behaviour("status", "503"))
    with pytest.raises(TransientError):
        read(lab, party, "counted")
    assert read(lab, party, "counted").bodies == [{"id": 1, "text": "first"}]


# -- what can't be played ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kingbase, postgresql": "oracle"}, "mysql"),
        ({"FROM result WHERE": "FROM outcome WHERE"}, "found"),
    ],
)
def test_what_can_not_be_played_says_so(party: Played, tmp_path: Path, change: dict[str, str], told: str) -> None:
    contract = CONTRACT
    for old, new in change.items():
        contract = contract.replace(old, new)
    found = started(party, tmp_path, contract)
    party.run(found.stop())
    assert set(found.not_simulated) >= {"results", "found", "counted"}
    assert all(told in why for why in found.not_simulated.values())


def test_tables_that_can_not_be_read_and_procedures_say_so(party: Played, tmp_path: Path) -> None:
    found = started(party, tmp_path, tables="CREATE TABEL x (a);")
    party.run(found.stop())
    assert "tables.sql" in found.not_simulated["results"]
    called = CONTRACT.replace("sql: UPDATE result SET pieces = :pieces WHERE number = :number", "call: change")
    found = started(party, tmp_path, called)
    party.run(found.stop())
    assert set(found.not_simulated) == {"changes"}
