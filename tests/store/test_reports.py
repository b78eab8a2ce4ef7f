"""Reports of validation in the store: kept with their calls, replaced, counted, converted, pruned."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from hub.ids import first_id_at
from hub.message import CheckRecord, CheckVerdict, DeliveryState, Direction, Message, Outcome
from hub.store.base import PlaceQuality, ReportQuery
from hub.store.change import Change
from hub.store.merged import MergedReader
from hub.store.reports import add_up
from hub.store.sqlite import SqliteStore
from tests.store.conftest import SqliteOpener
from tests.store.store_support import finish, make_call, make_delivery, make_message, put, put_one

FINDING = {"rule": "a.b", "level": "field", "severity": "error", "kind": "code", "place": "PID-8", "text": "不在表中"}
CLEAN = CheckRecord(CheckVerdict.CLEAN, [], took_us=12, checks="x@1")
BAD = CheckRecord(CheckVerdict.MARKED, [FINDING], errors=1, score=40.0, took_us=30, checks="x@1, y@2")


async def with_report(store: SqliteStore, check: CheckRecord | None, **values: object) -> Message:
    message = make_message(store, **values)
    result = await put(store, message, call=make_call(store, message_id=message.id, check=check))
    assert result.outcome is Outcome.OK
    return message


async def kept(store: SqliteStore, message: Message) -> CheckRecord | None:
    (call,) = await store.reader.calls_of(message.id)
    return call.check


async def test_a_report_is_in_the_commit_of_its_message_and_survives(opener: SqliteOpener) -> None:
    store = await opener()
    messages = [await with_report(store, check) for check in (BAD, CLEAN, None)]
    store = await opener()
    assert [await kept(store, message) for message in messages] == [BAD, CLEAN, None]


async def test_reports_of_attempts_and_refusals(opener: SqliteOpener) -> None:
    store = await opener()
    _, delivery = await put_one(store)
    attempt = make_call(store, "lis/in", direction=Direction.OUT, delivery_id=delivery.id, check=BAD)
    await finish(store, delivery, DeliveryState.DELIVERED, attempt)
    refusal = make_call(store, outcome=Outcome.REFUSED, check=replace(BAD, verdict=CheckVerdict.REFUSED))
    store.log(refusal)
    await put_one(store)  # behind it
    found = await store.reader.reports(ReportQuery())
    assert [(call.id, call.place, call.check) for call in found] == [
        (refusal.id, "his/adt", refusal.check),
        (attempt.id, "lis/in", BAD),
    ]


async def test_a_later_report_replaces_the_first_one(opener: SqliteOpener) -> None:
    store = await opener()
    message = await with_report(store, CLEAN)
    (call,) = await store.reader.calls_of(message.id)
    assert store.keep_report(message.id, call.id, call.place, BAD)
    await put_one(store)
    assert await kept(store, message) == BAD


async def test_a_report_for_what_has_been_pruned_is_not_kept(opener: SqliteOpener) -> None:
    store = await opener()
    message = await with_report(store, BAD)
    (call,) = await store.reader.calls_of(message.id)
    await store.prune(int(time.time() * 1000) + 60_000)
    assert await store.reader.reports(ReportQuery()) == []
    assert store.keep_report(message.id, call.id, call.place, BAD)
    await put_one(store)
    assert await store.reader.reports(ReportQuery()) == []
    assert await store.reader.check() == []


async def test_a_closed_store_keeps_none_and_says_so(opener: SqliteOpener) -> None:
    store = await opener()
    await store.close()
    assert not store.keep_report(1, 2, "his/adt", CLEAN)


async def test_reports_of_older_segments(opener: SqliteOpener) -> None:
    store = await opener(segment_messages=3)
    messages = [await with_report(store, None) for _ in range(8)]
    for message in messages:
        (call,) = await store.reader.calls_of(message.id)
        store.keep_report(message.id, call.id, call.place, BAD)
    await put_one(store)
    assert [await kept(store, message) for message in messages] == [BAD] * 8
    found = await store.reader.reports(ReportQuery(limit=5))
    assert [call.message_id for call in found] == [message.id for message in reversed(messages[3:])]
    more = await store.reader.reports(ReportQuery(before=found[-1].id))
    assert [call.message_id for call in more] == [message.id for message in reversed(messages[:3])]
    (counted,) = await store.reader.quality(0)
    assert (counted.checked, counted.rules) == (8, {"a.b": 8})


@pytest.mark.parametrize(
    ("query", "count"),
    [
        (ReportQuery(), 3),
        (ReportQuery(place="his"), 2),
        (ReportQuery(place="his/adt"), 2),
        (ReportQuery(place="hi"), 0),
        (ReportQuery(verdicts=(CheckVerdict.NOT_CHECKED,)), 1),
        (ReportQuery(rule="a.b"), 2),
        (ReportQuery(rule="a.*"), 2),
        (ReportQuery(rule="a"), 0),
        (ReportQuery(rule='a.b","x'), 0),
        (ReportQuery(until_ms=1_600_000_000_000), 0),
        (ReportQuery(limit=1), 1),
    ],
)
async def test_searching(opener: SqliteOpener, query: ReportQuery, count: int) -> None:
    store = await opener()
    for source, check in (
        ("his/adt", BAD),
        ("his/adt", replace(BAD, verdict=CheckVerdict.NOT_CHECKED, findings=[{**FINDING, "rule": "x.not_checked"}])),
        ("lis/oru", BAD),
        ("lis/oru", CLEAN),
    ):
        message = make_message(store, source=source)
        await put(store, message, call=make_call(store, source, message_id=message.id, check=check))
    assert len(await store.reader.reports(query)) == count
    both = MergedReader([store.reader, store.reader])
    assert len(await both.reports(query)) == min(2 * count, query.limit)


async def test_days_are_those_of_beijing(opener: SqliteOpener) -> None:
    store = await opener()
    midnight = 1_764_259_200_000  # 2025-11-28T00:00+08:00
    for offset_ms, check in ((-1, BAD), (0, CLEAN), (1, replace(BAD, score=60.0))):
        call_id = first_id_at(midnight + offset_ms)
        message = make_message(store, id=call_id + 1)
        await put(store, message, call=make_call(store, id=call_id + 2, message_id=message.id, check=check))
    days = await store.reader.quality(0)
    assert [(day.day, day.checked, day.marked, day.failed, day.score) for day in days] == [
        ("2025-11-28", 2, 1, 1, 60.0),
        ("2025-11-27", 1, 1, 1, 40.0),
    ]
    assert [day.day for day in await store.reader.quality(midnight)] == ["2025-11-28"]


def test_adding_up_weighs_scores() -> None:
    one = PlaceQuality("a/b", "d", checked=3, scored=1, score=100.0, rules={"r": 1})
    other = PlaceQuality("a/b", "d", checked=5, not_checked=2, scored=3, score=20.0, rules={"r": 2, "s": 1})
    assert add_up([one, other, PlaceQuality("a/c", "d")]) == [
        PlaceQuality("a/b", "d", checked=8, not_checked=2, scored=4, score=40.0, rules={"r": 3, "s": 1}),
        PlaceQuality("a/c", "d"),
    ]


async def test_a_decided_change_keeps_the_report(opener: SqliteOpener) -> None:
    store = await opener()
    message = make_message(store)
    delivery = make_delivery(store, message)
    for check in (BAD, None):
        change = Change.of([message], [delivery], (), [make_call(store, check=check)])
        (call,) = Change.decode(change.encode()).calls
        assert call.check == check


async def test_a_store_of_before_is_converted(opener: SqliteOpener, tmp_path: Path) -> None:
    store = await opener()
    message = await with_report(store, None)
    await store.close()
    for path in (tmp_path / "store").glob("*.db"):
        connection = apsw.Connection(str(path))
        if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'report'").fetchone():
            for table in ("report", "answer", "awaited"):
                connection.execute(f"DROP TABLE {table}")
            for table, column in (("payload", "form"), ("fixed", "form"), ("body", "forms")):
                connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").fetchone():
            connection.execute("UPDATE meta SET value = 1 WHERE key = 'schema_version'")
        connection.close()
    store = await opener()
    assert await kept(store, message) is None
    later = await with_report(store, BAD)
    assert await kept(store, later) == BAD
    assert (await store.reader.verify_ledger()).balanced


async def test_a_report_with_texts_that_cant_be_stored_costs_only_itself(opener: SqliteOpener) -> None:
    store = await opener()
    message = await with_report(store, CLEAN)
    (call,) = await store.reader.calls_of(message.id)
    store.keep_report(message.id, call.id, call.place, replace(BAD, checks="\ud800"))
    results = await asyncio.gather(*(put(store, make_message(store)) for _ in range(3)))
    assert [result.outcome for result in results] == [Outcome.OK] * 3
    assert await kept(store, message) == CLEAN
