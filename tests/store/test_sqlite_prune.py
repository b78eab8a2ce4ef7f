"""Pruning: whole segments, single rows, nothing that is needed, no stalled intake, a ledger that can still be proved."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

import hub.store.prune
from hub.message import DeliveryState, Outcome
from hub.store.base import CallQuery, DeliveryQuery
from hub.store.change import Change
from hub.store.prune import Pruner
from hub.store.segment import list_segments
from hub.store.sqlite import SqliteStore
from hub.store.unit import APPLY
from tests.store.conftest import SqliteOpener
from tests.store.store_support import DAY_US, finish, make_call, make_delivery, make_message, now_us, put, put_one


async def fill(
    store: SqliteStore, messages: int, days_ago: int, state: DeliveryState = DeliveryState.DELIVERED
) -> list[int]:
    """Messages of a day, each with a delivery in ``state`` and its calls; returns the deliveries' ids."""
    made: list[int] = []
    for _ in range(messages):
        message = make_message(store, raw=os.urandom(50), received_at=now_us() - days_ago * DAY_US)
        delivery = make_delivery(store, message)
        await put(store, message, [delivery], call=make_call(store))
        await finish(store, delivery, state, make_call(store, "lis/in", delivery_id=delivery.id, request=b"q"))
        made.append(delivery.id)
    return made


def limit(days: int) -> int:
    return (now_us() - days * DAY_US) // 1000


async def balanced(store: SqliteStore, messages: int) -> None:
    report = await store.reader.verify_ledger()
    assert report.balanced, report.problems
    assert report.messages == messages


async def test_whole_segments_go_with_their_indexes(opener: SqliteOpener) -> None:
    store = await opener(segment_messages=10)
    await fill(store, 30, 10)
    await fill(store, 15, 0)
    old = list_segments(store.folder)[:3]
    for segment in old:
        segment.keys_path.write_bytes(b"k")
        segment.text_path.write_bytes(b"t")
    report = await store.prune(limit(5))
    assert (report.messages, report.kept) == (30, 0)
    assert report.bytes > 30 * 50
    for segment in old:
        assert not segment.path.exists()
        assert not segment.keys_path.exists()
        assert not segment.text_path.exists()
    assert len(store.reader.segments()) == 2
    await balanced(store, 15)
    await store.close()
    store = await opener(segment_messages=10)
    await fill(store, 1, 0)
    await balanced(store, 16)


@pytest.mark.parametrize(
    "state", [DeliveryState.PENDING, DeliveryState.RETRYING, DeliveryState.DEAD, DeliveryState.HELD]
)
async def test_a_segment_stays_with_what_is_needed(opener: SqliteOpener, state: DeliveryState) -> None:
    store = await opener(segment_messages=10)
    await fill(store, 5, 10)
    (needed,) = await fill(store, 1, 10, state)
    await fill(store, 5, 10)
    await fill(store, 5, 0)
    report = await store.prune(limit(5))
    assert (report.messages, report.kept) == (10, 1)
    delivery = await store.reader.delivery(needed)
    assert delivery is not None
    assert delivery.message is not None
    assert len(await store.reader.calls_of(delivery.message_id)) == 2
    await balanced(store, 6)
    await finish(store, delivery, DeliveryState.SKIPPED)
    report = await store.prune(limit(5))
    assert (report.messages, report.kept) == (1, 0)
    assert len(store.reader.segments()) == 1
    await balanced(store, 5)


async def test_an_operators_delivery_in_a_newer_segment_keeps_its_message(opener: SqliteOpener) -> None:
    store = await opener(segment_messages=10)
    ids = await fill(store, 10, 10)
    await fill(store, 5, 0)
    source = await store.reader.delivery(ids[3])
    assert source is not None
    assert source.message is not None
    forwarded = make_delivery(store, source.message, "emr/in", route="")
    await store.apply(create=[forwarded], audit={"actor": "li"})
    report = await store.prune(limit(5))
    assert (report.messages, report.kept) == (9, 1)
    found = await store.reader.delivery(forwarded.id)
    assert found is not None
    assert found.message == source.message
    await balanced(store, 6)
    await finish(store, forwarded, DeliveryState.DELIVERED)
    await store.prune(limit(5))
    await balanced(store, 5)
    assert await store.reader.message(source.message_id) is None


async def test_rows_of_a_segment_that_is_partly_old(opener: SqliteOpener) -> None:
    store = await opener()
    start = now_us()
    old = await fill(store, 400, 10)
    young = await fill(store, 7, 0)
    refusal = make_call(store, outcome=Outcome.REFUSED)
    store.log(refusal)
    report = await store.prune((start - 5 * DAY_US) // 1000)
    assert (report.messages, report.kept) == (400, 0)
    assert report.bytes == 400 * 50
    left = await store.reader.deliveries(DeliveryQuery(limit=1000))
    assert [d.id for d in left] == young[::-1]
    assert await store.reader.delivery(old[0]) is None
    assert refusal.id in [call.id for call in await store.reader.calls(CallQuery(limit=1000))]
    await balanced(store, 7)
    tables = await store.reader.ask(
        lambda segments: {
            table: segments[0].connection().execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]
            for table in ("message", "payload", "delivery", "call", "body", "pruned")
        }
    )
    assert tables == {"message": 7, "payload": 7, "delivery": 7, "call": 15, "body": 7, "pruned": 1}
    await store.close()
    store = await opener()
    await fill(store, 3, 0)
    await balanced(store, 10)


async def test_old_calls_without_a_message_go_too(opener: SqliteOpener, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await opener()
    for _ in range(5):
        store.log(make_call(store, outcome=Outcome.REFUSED, request=b"bytes"))
    message, _ = await put_one(store)
    await asyncio.sleep(0.002)
    before = now_us() // 1000
    await asyncio.sleep(0.002)
    store.log(make_call(store, outcome=Outcome.REFUSED))
    await store.prune(before)
    calls = await store.reader.calls(CallQuery())
    assert len(calls) == 1
    assert await store.reader.message(message.id) is not None  # it is still to be delivered


async def test_repeats_of_what_was_pruned_are_no_problem(opener: SqliteOpener) -> None:
    store = await opener(segment_messages=5)
    old = make_message(store, "C1", b"x", received_at=now_us() - 10 * DAY_US)
    await put(store, old, window=20 * DAY_US)
    await fill(store, 4, 10)
    call = make_call(store)
    assert (
        await put(store, make_message(store, "C1", b"x"), window=20 * DAY_US, call=call)
    ).outcome is Outcome.DUPLICATE
    await fill(store, 2, 0)
    await store.prune(limit(5))
    await balanced(store, 2)
    again = await put(store, make_message(store, "C1", b"x"), window=20 * DAY_US)
    assert again.outcome is Outcome.OK


async def test_pruning_while_messages_come_in(opener: SqliteOpener) -> None:
    store = await opener(segment_messages=300)
    chance = random.Random(1)
    for _ in range(4):
        await fill(store, 150, 10)
        await fill(store, 2, 10, chance.choice([DeliveryState.DEAD, DeliveryState.HELD]))
    stop = False
    made: list[int] = []

    async def write() -> None:
        while not stop:
            message, delivery = await put_one(store)
            await finish(store, delivery, DeliveryState.DELIVERED)
            made.append(message.id)

    writing = [asyncio.create_task(write()) for _ in range(4)]
    report = await store.prune(limit(5))
    stop = True
    await asyncio.gather(*writing)
    assert (report.messages, report.kept) == (600, 8)
    assert made
    await balanced(store, 8 + len(made))
    await store.close()
    again = await opener(segment_messages=300)
    await balanced(again, 8 + len(made))


async def test_a_delivery_set_going_again_while_pruning_keeps_its_message(
    opener: SqliteOpener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between reading what is old and deleting it, an operator resends it."""
    store = await opener()
    ids = await fill(store, 3, 10, DeliveryState.SKIPPED)
    delivery = await store.reader.delivery(ids[1])
    assert delivery is not None
    delivery.state = DeliveryState.PENDING
    delete = Pruner._delete
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def resend_first(self: Pruner, *arguments: object) -> None:
        store._writer._write_run([(APPLY, Change.of((), (), [delivery], ()), future)])
        delete(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Pruner, "_delete", resend_first)
    report = await store.prune(limit(5))
    assert (report.messages, report.kept) == (2, 1)
    assert [d.id for d in await store.open_deliveries("lis/in", 0, 10, 1 << 20)] == [ids[1]]
    await balanced(store, 1)


async def test_a_crash_between_decision_and_deletion_is_finished_at_the_next_start(
    opener: SqliteOpener, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = await opener(segment_messages=10)
    await fill(store, 10, 10)
    await fill(store, 5, 0)
    with monkeypatch.context() as patch:

        def fail(path: Path) -> int:
            raise PermissionError("no")

        patch.setattr(hub.store.prune, "remove_file", fail)
        with pytest.raises(PermissionError):
            await store.prune(limit(5))
    await balanced(store, 5)
    await store.close()
    assert len(list(store.folder.glob("removed-*"))) == 1
    store = await opener(segment_messages=10)
    assert not list(store.folder.glob("removed-*"))
    assert len(list_segments(store.folder)) == 1
    await balanced(store, 5)
