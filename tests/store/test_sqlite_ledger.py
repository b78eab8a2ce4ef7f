"""The ledger finds what is wrong and names it."""

from __future__ import annotations

import apsw
import pytest

from hub.ids import id_text
from hub.message import DeliveryState
from hub.store.sqlite import SqliteStore
from hub.store.unit import TASK
from tests.store.conftest import SqliteOpener
from tests.store.store_support import finish, make_call, make_delivery, make_message, put, put_one


async def tamper(store: SqliteStore, sql: str, *parameters: object) -> None:
    """Change rows behind the store's back, in every segment."""
    for entry in store._writer.segments.entries:
        connection = apsw.Connection(str(entry.path))
        connection.set_busy_timeout(5000)
        await store._in_turn(TASK, lambda c=connection: c.execute(sql, parameters).fetchall())  # type: ignore[misc]
        connection.close()


async def problems(store: SqliteStore) -> list[str]:
    report = await store.reader.verify_ledger()
    assert not report.balanced
    return report.problems


@pytest.fixture(params=[1000, 4])
async def store(request: pytest.FixtureRequest, opener: SqliteOpener) -> SqliteStore:
    made = await opener(segment_messages=request.param)
    for _ in range(10):
        message = make_message(made)
        delivery = make_delivery(made, message)
        await put(made, message, [delivery], call=make_call(made))
        await finish(made, delivery, DeliveryState.DELIVERED)
    return made


async def ids(store: SqliteStore) -> tuple[list[int], list[int]]:
    from hub.store.base import DeliveryQuery

    found = await store.reader.deliveries(DeliveryQuery(oldest_first=True))
    return [d.message_id for d in found], [d.id for d in found]


async def test_a_missing_message(store: SqliteStore) -> None:
    messages, deliveries = await ids(store)
    await tamper(store, "DELETE FROM message WHERE id = ?", messages[5])
    found = await problems(store)
    assert len(found) == 3
    assert any("number 6 is missing" in p and id_text(messages[4]) in p and id_text(messages[6]) in p for p in found)
    assert any(id_text(deliveries[5]) in p and id_text(messages[5]) in p for p in found)
    assert any("call" in p and id_text(messages[5]) in p for p in found)


@pytest.mark.parametrize("place", [0, 9])
async def test_missing_messages_at_the_ends(store: SqliteStore, place: int) -> None:
    messages, _ = await ids(store)
    await tamper(store, "DELETE FROM message WHERE id = ?", messages[place])
    found = await problems(store)
    assert any(id_text(messages[place]) in p for p in found)


async def test_a_number_used_twice(store: SqliteStore) -> None:
    messages, _ = await ids(store)
    await tamper(store, "UPDATE message SET seq = 3 WHERE id = ?", messages[3])
    found = await problems(store)
    assert any("number 3" in p and "twice" in p for p in found)
    assert any("number 4 is missing" in p for p in found)


async def test_a_missing_delivery(store: SqliteStore) -> None:
    messages, deliveries = await ids(store)
    await tamper(store, "DELETE FROM delivery WHERE id = ?", deliveries[2])
    (found,) = await problems(store)
    assert id_text(messages[2]) in found
    assert "lis/in" in found
    report = await store.reader.verify_ledger()
    assert [(row.routed, row.delivered, row.balanced) for row in report.rows] == [(10, 9, False)]


async def test_a_delivery_nobody_routed(store: SqliteStore) -> None:
    messages, deliveries = await ids(store)
    await tamper(
        store,
        "INSERT INTO delivery SELECT id + 1000, message_id, route, target, state, order_key, attempts, next_at, step, "
        "reason, parent, part, parts, updated_at FROM delivery WHERE id = ?",
        deliveries[2],
    )
    (found,) = await problems(store)
    assert id_text(messages[2]) in found
    assert "not routed" in found


async def test_missing_parts_of_a_split(store: SqliteStore) -> None:
    message, parent = await put_one(store)
    children = [make_delivery(store, message, parent=parent.id, part=n, route=parent.route) for n in (1, 2)]
    parent.state, parent.parts = DeliveryState.SKIPPED, 2
    await store.apply(create=children, update=[parent])
    assert (await store.reader.verify_ledger()).balanced
    await tamper(store, "UPDATE delivery SET parent = 0 WHERE id = ?", children[1].id)
    (found,) = await problems(store)
    assert id_text(parent.id) in found
    assert "2 parts, 1" in found


async def test_an_operators_delivery_that_vanished(store: SqliteStore) -> None:
    messages, _ = await ids(store)
    message = await store.reader.message(messages[0])
    assert message is not None
    forwarded = make_delivery(store, message, "emr/in", route="")
    await store.apply(create=[forwarded], audit={"actor": "li"})
    assert (await store.reader.verify_ledger()).balanced
    await tamper(store, "DELETE FROM delivery WHERE id = ?", forwarded.id)
    (found,) = await problems(store)
    assert id_text(messages[0]) in found
    assert "emr/in" in found


async def test_very_many_problems_are_counted(opener: SqliteOpener) -> None:
    store = await opener()
    for _ in range(1200):
        store.put(make_message(store), [], lambda result: None)
    await put_one(store)
    await tamper(store, "UPDATE message SET routed = '1>1' WHERE routed = ''")
    found = await problems(store)
    assert len(found) == 1001
    assert "200 further" in found[-1]
