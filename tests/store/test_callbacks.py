"""Deliveries that await an answer, and answers, as the store keeps them: across segments, crashes, pruning and conversion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest

from hub.message import Answer, Awaited, Binding, CallRecord, Delivery, DeliveryState, Direction, Message, Outcome
from hub.store.base import AwaitedQuery
from hub.store.change import Change
from hub.store.sealer import Sealer
from hub.store.sqlite import SqliteStore
from tests.store.conftest import SqliteOpener
from tests.store.sealed_support import LocalKeys
from tests.store.store_support import DAY_US, finish, make_call, make_message, now_us, put, put_one

PLACE = "lis/in"


@pytest.fixture(params=[None, "aes-256-gcm"], ids=["plain", "sealed"])
def sealer(request: pytest.FixtureRequest) -> Sealer | None:
    return None if request.param is None else Sealer(LocalKeys(), request.param)


def attempt(store: SqliteStore, delivery: Delivery, key: str, due: int = 0) -> CallRecord:
    awaited = Awaited(key, PLACE, delivery.id, delivery.message_id, now_us(), due)
    return make_call(
        store, PLACE, direction=Direction.OUT, message_id=delivery.message_id, delivery_id=delivery.id, awaited=awaited
    )


async def asked(store: SqliteStore, key: str, due: int = 0) -> tuple[Message, Delivery]:
    """A delivered message whose answer is awaited."""
    message, delivery = await put_one(store)
    await finish(store, delivery, DeliveryState.DELIVERED, attempt(store, delivery, key, due))
    return message, delivery


async def answered(store: SqliteStore, key: str, *, waiting: bool = False, **values: Any) -> Message:
    message = make_message(store, source="lis/result", correlation=key, **values)
    message.answer = Answer(key, [PLACE], waiting)
    assert (await put(store, message)).outcome is Outcome.OK
    return message


async def test_the_newest_delivery_with_a_key_is_found_in_whatever_segment(opener: SqliteOpener) -> None:
    store = await opener(segment_messages=3)
    _, first = await asked(store, "T1")
    for _ in range(7):
        await put_one(store)
    _, second = await asked(store, "T2")
    assert len(store.reader.segments()) > 2
    for key, delivery in (("T1", first), ("T2", second)):
        found = await store.reader.awaited([PLACE], key)
        assert found is not None
        assert (found.delivery_id, found.message_id, found.place) == (delivery.id, delivery.message_id, PLACE)
    _, again = await asked(store, "T1")
    found = await store.reader.awaited(["x/y", PLACE], "T1")
    assert found is not None
    assert found.delivery_id == again.id
    assert await store.reader.awaited(["x/y"], "T1") is None
    assert await store.reader.awaited([PLACE], "T3") is None


async def test_a_delivery_that_is_tried_again_keeps_one_row(opener: SqliteOpener) -> None:
    store = await opener()
    _, delivery = await put_one(store)
    await finish(store, delivery, DeliveryState.RETRYING, attempt(store, delivery, "T1"))
    message = await answered(store, "T1")
    await store.apply(bindings=[Binding(message.id, delivery.message_id, delivery.id)])
    await finish(store, delivery, DeliveryState.DELIVERED, attempt(store, delivery, "T2", 5))
    assert await store.reader.awaited([PLACE], "T1") is None
    found = await store.reader.awaited([PLACE], "T2")
    assert found is not None
    assert (found.due, found.answered) == (5, message.id)


async def test_an_answer_in_another_segment_is_bound_in_one_change(opener: SqliteOpener) -> None:
    store = await opener(segment_messages=3)
    request, delivery = await asked(store, "T1", due=5)
    for _ in range(7):
        await put_one(store)
    answer = await answered(store, "T1", waiting=True)
    (open_,) = await store.reader.open_answers(10)
    assert (open_.message_id, open_.key, open_.places, open_.waiting, open_.request) == (
        answer.id,
        "T1",
        [PLACE],
        True,
        0,
    )
    made = Delivery(store.ids.next(), answer.id, "back", "his/back")
    await store.apply(create=[made], bindings=[Binding(answer.id, request.id, delivery.id)])
    stored = await store.reader.message(answer.id)
    assert stored is not None
    assert (stored.causation, stored.correlation) == (request.id, "T1")
    assert stored.request is not None
    assert (stored.request.id, stored.request.raw, stored.request.type) == (request.id, b"", request.type)
    assert await store.reader.open_answers(10) == []
    assert await store.reader.unanswered_counts(now_us()) == {}
    chain = await store.reader.chain(request.id)
    assert ([row.answered for row in chain.awaited], [row.message_id for row in chain.answered_by]) == (
        [answer.id],
        [answer.id],
    )
    assert (await store.reader.verify_ledger()).balanced


async def test_what_goes_on_without_stays_to_be_matched(opener: SqliteOpener) -> None:
    store = await opener()
    answer = await answered(store, "T1", waiting=True)
    await store.apply(bindings=[Binding(answer.id)])
    (open_,) = await store.reader.open_answers(10)
    assert (open_.waiting, open_.request) == (False, 0)
    many = [await answered(store, f"N{number}") for number in range(5)]
    waiting = await answered(store, "W", waiting=True)
    newest = await store.reader.open_answers(2)
    assert [row.message_id for row in newest] == [many[-1].id, waiting.id]


async def test_a_change_in_the_catalog_keeps_everything_about_answers(opener: SqliteOpener) -> None:
    store = await opener()
    message, delivery = await put_one(store)
    answer = replace(make_message(store), answer=Answer("T", [PLACE], True))
    answer.request = message
    call = attempt(store, delivery, "T", 7)
    change = Change.of([answer], [], [], [call], bindings=[Binding(answer.id, message.id, delivery.id)])
    read = Change.decode(change.encode())
    assert read.messages[0].answer == answer.answer
    assert read.calls[0].awaited == call.awaited
    assert read.bindings == change.bindings


async def test_pruning_takes_both_sides_with_their_messages(opener: SqliteOpener, tmp_path: Path) -> None:
    store = await opener()
    old = now_us() - 10 * DAY_US
    message = make_message(store, received_at=old)
    delivery = Delivery(store.ids.next(), message.id, "to_lis", PLACE)
    await put(store, message, [delivery])
    await finish(store, delivery, DeliveryState.DELIVERED, attempt(store, delivery, "T1"))
    await answered(store, "T1", received_at=old)
    _, young = await asked(store, "T2")
    assert (await store.prune((now_us() - 5 * DAY_US) // 1000)).messages == 2
    assert await store.reader.awaited([PLACE], "T1") is None
    assert await store.reader.open_answers(10) == []
    assert [row.delivery_id for row in await store.reader.unanswered(AwaitedQuery())] == [young.id]
    # What was pruned in between costs nothing but its own row.
    await store.apply(bindings=[Binding(message.id, message.id, delivery.id)])


async def test_a_store_of_version_2_is_converted(opener: SqliteOpener, tmp_path: Path) -> None:
    store = await opener()
    await put_one(store)
    await store.close()
    for path in (tmp_path / "store").glob("*.db"):
        connection = apsw.Connection(str(path))
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        if "awaited" in tables:
            connection.execute("DROP TABLE awaited; DROP TABLE answer")
            for table, column in (("payload", "form"), ("fixed", "form"), ("body", "forms")):
                connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        if "meta" in tables:
            connection.execute("UPDATE meta SET value = 2 WHERE key = 'schema_version'")
        connection.close()
    store = await opener()
    _, delivery = await asked(store, "T1")
    found = await store.reader.awaited([PLACE], "T1")
    assert found is not None
    assert found.delivery_id == delivery.id


async def test_keys_are_sealed_with_the_store(opener: SqliteOpener, tmp_path: Path, sealer: Sealer | None) -> None:
    store = await opener()
    await asked(store, "TASK-4711-AWAITED")
    await answered(store, "TASK-4711-ANSWERED")
    await store.close()
    found = b"".join(path.read_bytes() for path in (tmp_path / "store").glob("*.db*"))
    assert (b"TASK-4711-AWAITED" in found, b"TASK-4711-ANSWERED" in found) == (sealer is None, sealer is None)
