"""What every store must do. A test module subclasses each class here and provides the fixture ``opener``.

``opener(**settings)`` opens the store of this test with these settings of :class:`hub.contract.StoreConfig`; called again,
it closes and opens it again. What is open after the test is closed.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from hub.audit import verify as verify_trail
from hub.errors import HubError, StoreBusy
from hub.ids import millis_of
from hub.message import Delivery, DeliveryState, Direction, Outcome
from hub.store.base import CallQuery, DeliveryQuery, Put, PutResult, Store
from tests.store.store_support import (
    DAY_US,
    HOUR_US,
    bare,
    finish,
    make_call,
    make_delivery,
    make_message,
    put,
    put_one,
)

Opener = Callable[..., Awaitable[Store]]

MB = 1 << 20


class PutConformance:
    async def test_message_and_delivery_come_back_as_they_were(self, opener: Opener) -> None:
        store = await opener()
        raw = bytes(range(256)) * 3
        message = make_message(
            store, "C1", raw, keys={"patient_id": "8001", "name": "张三丰"}, correlation="corr", causation=77
        )
        delivery = make_delivery(
            store, message, order_key="8001", payload=b"\x00fixed", next_at=5, reason="r", step="map"
        )
        result = await put(store, message, [delivery])
        assert (result.outcome, result.earlier, result.error) == (Outcome.OK, 0, None)
        stored = await store.reader.message(message.id)
        assert stored == message
        found = await store.reader.delivery(delivery.id)
        assert found == replace(delivery, message=stored)
        assert await store.reader.deliveries_of(message.id) == [bare(delivery)]

    async def test_unknown_ids(self, opener: Opener) -> None:
        store = await opener()
        assert await store.reader.message(5) is None
        assert await store.reader.delivery(5) is None
        assert await store.reader.deliveries_of(5) == []
        assert await store.reader.calls_of(5) == []

    async def test_done_runs_after_the_commit_in_the_order_of_the_calls(self, opener: Opener) -> None:
        store = await opener()
        order: list[int] = []
        messages = [make_message(store, raw=b"%d" % n) for n in range(500)]
        for message in messages[:-1]:
            store.put(message, [], lambda result: order.append(result.message.id))
        await put(store, messages[-1])
        assert order == [m.id for m in messages[:-1]]
        for message in messages:
            assert await store.reader.message(message.id) == message

    async def test_a_failing_callback_does_not_stop_the_others(self, opener: Opener) -> None:
        store = await opener()

        def broken(result: PutResult) -> None:
            raise RuntimeError("callback")

        store.put(make_message(store), [], broken)
        assert (await put(store, make_message(store))).outcome is Outcome.OK

    async def test_a_message_that_cannot_be_stored_fails_alone(self, opener: Opener) -> None:
        store = await opener()
        results: list[PutResult] = []
        messages = [make_message(store, f"C{n}", b"%d" % n) for n in range(20)]
        messages[7] = replace(messages[7], control_id="half a pair \ud800")
        messages[12] = replace(messages[12], id=messages[3].id)
        for message in messages:
            store.put(message, [make_delivery(store, message)], results.append, duplicate_window_us=DAY_US)
        await put(store, make_message(store))
        outcomes = [result.outcome for result in results]
        assert [n for n, outcome in enumerate(outcomes) if outcome is Outcome.REFUSED] == [7, 12]
        assert all(isinstance(results[n].error, HubError) for n in (7, 12))
        assert "half a pair" not in str(results[7].error)
        report = await store.reader.verify_ledger()
        assert report.balanced
        assert report.messages == 19

    async def test_what_could_not_be_stored_makes_no_duplicate(self, opener: Opener) -> None:
        store = await opener()
        results: list[PutResult] = []
        for target in ("half a pair \ud800", "lis/in", "lis/in"):
            message = make_message(store, "C1", b"same")
            store.put(message, [make_delivery(store, message, target)], results.append, duplicate_window_us=DAY_US)
        await put(store, make_message(store))
        assert [result.outcome for result in results] == [Outcome.REFUSED, Outcome.OK, Outcome.DUPLICATE]

    async def test_call_of_the_receipt_is_completed(self, opener: Opener) -> None:
        store = await opener()
        message = make_message(store, "C1")
        call = make_call(store, outcome=Outcome.REFUSED, remote="127.0.0.1:1", params='{"a":1}')
        await put(store, message, call=call)
        (found,) = await store.reader.calls_of(message.id)
        assert (found.outcome, found.message_id, found.remote, found.params) == (
            Outcome.OK,
            message.id,
            "127.0.0.1:1",
            '{"a":1}',
        )
        assert 0 <= found.took_us < 60_000_000

    async def test_a_full_queue_refuses_at_once(self, opener: Opener) -> None:
        store = await opener(queue=200)
        results: list[PutResult] = []
        for number in range(200):
            store.put(make_message(store, raw=b"%d" % number), [], results.append)
        with pytest.raises(StoreBusy):
            store.put(make_message(store), [], results.append)
        assert store.queued == 200
        assert (await put_when_possible(store)).outcome is Outcome.OK
        assert len(results) == 200
        assert all(result.outcome is Outcome.OK for result in results)

    async def test_ids_grow_across_restarts(self, opener: Opener) -> None:
        store = await opener()
        message, delivery = await put_one(store)
        call = make_call(store)
        store.log(call)
        await store.close()
        again = await opener()
        assert again.ids.next() > max(message.id, delivery.id, call.id)

    async def test_a_closed_store_takes_nothing(self, opener: Opener) -> None:
        store = await opener()
        _, delivery = await put_one(store)
        await store.close()
        with pytest.raises(StoreBusy):
            store.put(make_message(store), [], lambda result: None)
        with pytest.raises(HubError):
            store.finish(delivery, None)
        assert not store.writable

    async def test_closing_commits_what_is_queued(self, opener: Opener) -> None:
        store = await opener()
        results: list[PutResult] = []
        for number in range(300):
            store.put(make_message(store, raw=b"%d" % number), [], results.append)
        await store.close()
        assert [result.outcome for result in results] == [Outcome.OK] * 300
        again = await opener()
        assert (await again.reader.size())["messages"] == 300


async def put_when_possible(store: Store) -> PutResult:
    while True:
        try:
            return await put(store, make_message(store, raw=b"last"))
        except StoreBusy:
            await asyncio.sleep(0.01)


class DuplicateConformance:
    async def test_same_bytes_are_a_duplicate(self, opener: Opener) -> None:
        store = await opener()
        first = make_message(store, "C1", b"one")
        await put(store, first, [make_delivery(store, first)], window=DAY_US)
        second = make_message(store, "C1", b"one")
        call = make_call(store)
        result = await put(store, second, [make_delivery(store, second)], window=DAY_US, call=call)
        assert (result.outcome, result.earlier) == (Outcome.DUPLICATE, first.id)
        assert await store.reader.message(second.id) is None
        assert await store.reader.deliveries_of(second.id) == []
        (seen,) = await store.reader.calls_of(first.id)
        assert (seen.id, seen.outcome) == (call.id, Outcome.DUPLICATE)

    async def test_other_bytes_are_a_conflict_and_stored(self, opener: Opener) -> None:
        store = await opener()
        first = make_message(store, "C1", b"one")
        await put(store, first, window=DAY_US)
        second = make_message(store, "C1", b"two")
        result = await put(store, second, [make_delivery(store, second)], window=DAY_US)
        assert (result.outcome, result.earlier) == (Outcome.CONFLICT, first.id)
        stored = await store.reader.message(second.id)
        assert stored is not None
        assert stored.conflict
        assert len(await store.reader.deliveries_of(second.id)) == 1

    async def test_each_of_several_conflicting_ones_is_recognised_when_it_comes_again(self, opener: Opener) -> None:
        store = await opener()
        sent = [make_message(store, "C1", b"%d" % n) for n in range(6)]
        outcomes = [(await put(store, m, window=DAY_US)).outcome for m in sent]
        assert outcomes == [Outcome.OK] + [Outcome.CONFLICT] * 5
        for message in sent:
            again = await put(store, make_message(store, "C1", message.raw), window=DAY_US)
            assert (again.outcome, again.earlier) == (Outcome.DUPLICATE, message.id)

    async def test_within_one_batch(self, opener: Opener) -> None:
        store = await opener()
        results: list[PutResult] = []
        for raw in (b"one", b"one", b"two", b"two", b"one"):
            store.put(make_message(store, "C1", raw), [], results.append, duplicate_window_us=DAY_US)
        await put(store, make_message(store))
        assert [r.outcome.word for r in results] == ["ok", "duplicate", "conflict", "duplicate", "duplicate"]
        ids = [r.message.id for r in results]
        assert [r.earlier for r in results] == [0, ids[0], ids[0], ids[2], ids[0]]

    async def test_other_sources_and_missing_ids_have_nothing_to_do_with_it(self, opener: Opener) -> None:
        store = await opener()
        await put(store, make_message(store, "C1"), window=DAY_US)
        assert (await put(store, make_message(store, "C1", source="his/orm"), window=DAY_US)).outcome is Outcome.OK
        assert (await put(store, make_message(store, ""), window=DAY_US)).outcome is Outcome.OK
        assert (await put(store, make_message(store, ""), window=DAY_US)).outcome is Outcome.OK

    async def test_without_a_window_nothing_is_compared(self, opener: Opener) -> None:
        store = await opener()
        await put(store, make_message(store, "C1"))
        assert (await put(store, make_message(store, "C1"))).outcome is Outcome.OK
        assert (await put(store, make_message(store, "C1"), window=DAY_US)).outcome is Outcome.DUPLICATE

    async def test_the_window_is_by_time_of_receipt(self, opener: Opener) -> None:
        store = await opener()
        start = make_message(store).received_at
        old = make_message(store, "C1", received_at=start - 2 * HOUR_US)
        await put(store, old, window=HOUR_US)
        edge = make_message(store, "C1", received_at=start - HOUR_US)
        assert (await put(store, edge, window=HOUR_US)).outcome is Outcome.DUPLICATE
        late = make_message(store, "C1", received_at=start)
        assert (await put(store, late, window=HOUR_US)).outcome is Outcome.OK
        assert (await put(store, make_message(store, "C1", received_at=start), window=HOUR_US)).earlier == late.id

    async def test_survives_a_restart(self, opener: Opener) -> None:
        store = await opener()
        first = make_message(store, "C1", b"one")
        await put(store, first, window=DAY_US)
        await store.close()
        again = await opener()
        result = await put(again, make_message(again, "C1", b"one"), window=DAY_US)
        assert (result.outcome, result.earlier) == (Outcome.DUPLICATE, first.id)
        assert (await put(again, make_message(again, "C1", b"two"), window=DAY_US)).outcome is Outcome.CONFLICT
        assert (await put(again, make_message(again, "C2", b"two"), window=DAY_US)).outcome is Outcome.OK

    async def test_against_a_simple_model(self, opener: Opener) -> None:
        store = await opener()
        chance = random.Random(7)
        known: dict[str, dict[bytes, int]] = {}
        for _ in range(400):
            control_id, raw = f"C{chance.randrange(12)}", b"%d" % chance.randrange(4)
            message = make_message(store, control_id, raw)
            result = await put(store, message, window=DAY_US)
            seen = known.setdefault(control_id, {})
            if raw in seen:
                assert (result.outcome, result.earlier) == (Outcome.DUPLICATE, seen[raw])
            else:
                assert result.outcome is (Outcome.CONFLICT if seen else Outcome.OK)
                assert result.earlier in (seen.values() or (0,))
                seen[raw] = message.id


class FinishConformance:
    async def test_state_and_attempt_are_recorded(self, opener: Opener) -> None:
        store = await opener()
        message, delivery = await put_one(store)
        delivery.attempts, delivery.next_at, delivery.step, delivery.reason = 2, 99, "send", "timeout"
        call = make_call(
            store,
            "lis/in",
            Outcome.TRANSIENT,
            direction=Direction.OUT,
            delivery_id=delivery.id,
            attempt=2,
            request=b"out",
            response=b"",
            mapping="m@1",
            plugin="lis@1",
        )
        await finish(store, delivery, DeliveryState.RETRYING, call)
        found = await store.reader.delivery(delivery.id)
        assert found is not None
        assert bare(found) == bare(delivery)
        (seen,) = await store.reader.calls_of(message.id)
        assert seen == call
        assert (seen.request, seen.response) == (b"out", b"")

    async def test_what_is_recorded_is_the_state_at_the_time_of_the_call(self, opener: Opener) -> None:
        store = await opener()
        _, delivery = await put_one(store)
        delivery.state = DeliveryState.DEAD
        store.finish(delivery, None)
        delivery.state = DeliveryState.HELD
        await put_one(store)
        found = await store.reader.delivery(delivery.id)
        assert found is not None
        assert found.state is DeliveryState.DEAD

    async def test_the_last_of_several_counts(self, opener: Opener) -> None:
        store = await opener()
        _, delivery = await put_one(store)
        for state in (DeliveryState.RETRYING, DeliveryState.DEAD, DeliveryState.PENDING, DeliveryState.DELIVERED):
            delivery.state = state
            store.finish(delivery, None)
        await put_one(store)
        found = await store.reader.delivery(delivery.id)
        assert found is not None
        assert found.state is DeliveryState.DELIVERED

    @pytest.mark.parametrize(("attempts", "state"), [(0, DeliveryState.PENDING), (1, DeliveryState.RETRYING)])
    async def test_in_flight_is_never_stored(self, opener: Opener, attempts: int, state: DeliveryState) -> None:
        store = await opener()
        _, delivery = await put_one(store)
        delivery.attempts = attempts
        await finish(store, delivery, DeliveryState.IN_FLIGHT)
        found = await store.reader.delivery(delivery.id)
        assert found is not None
        assert found.state is state

    async def test_texts_that_cannot_be_stored_do_not_lose_the_state(self, opener: Opener) -> None:
        store = await opener()
        message, delivery = await put_one(store)
        _, other = await put_one(store)
        other.state = DeliveryState.DELIVERED
        store.finish(other, None)
        delivery.reason = "reply \udcff"
        call = make_call(store, "lis/in", Outcome.REJECTED, delivery_id=delivery.id, error="reply \udcff")
        await finish(store, delivery, DeliveryState.DEAD, call)
        found = await store.reader.delivery(delivery.id)
        assert found is not None
        assert (found.state, found.reason) == (DeliveryState.DEAD, "reply ?")
        assert [c.error for c in await store.reader.calls_of(message.id)] == ["reply ?"]
        assert (await store.reader.verify_ledger()).balanced

    async def test_a_state_that_cannot_be_recorded_does_not_stop_the_others(self, opener: Opener) -> None:
        store = await opener()
        _, delivery = await put_one(store)
        impossible = replace(delivery, id=1 << 70)
        store.finish(impossible, None)
        await finish(store, delivery, DeliveryState.DELIVERED)
        assert store.writable
        found = await store.reader.delivery(delivery.id)
        assert found is not None
        assert found.state is DeliveryState.DELIVERED

    async def test_log_is_kept(self, opener: Opener) -> None:
        store = await opener()
        call = make_call(store, outcome=Outcome.REFUSED, error="too large", request=b"bytes", code="intake.too_large")
        store.log(call)
        await put_one(store)
        (found,) = await store.reader.calls(CallQuery(outcomes=[Outcome.REFUSED], bodies=True))
        assert found == call


class ApplyConformance:
    async def test_all_kinds_of_changes_and_their_audit_entry(self, opener: Opener) -> None:
        store = await opener()
        message, delivery = await put_one(store, payload=b"old")
        edited = make_message(store, raw=b"edited", causation=message.id)
        copy = make_delivery(store, edited, "pacs/in", payload=b"new", route="")
        forwarded = make_delivery(store, message, "emr/in", route="")
        delivery.state, delivery.reason, delivery.payload = DeliveryState.SKIPPED, "forwarded", None
        call = make_call(store, "console/op", message_id=message.id)
        await store.apply(
            messages=[edited],
            create=[copy, forwarded],
            update=[delivery],
            calls=[call],
            audit={"actor": "li", "action": "delivery.forward"},
        )
        assert await store.reader.message(edited.id) == edited
        found = await store.reader.delivery(copy.id)
        assert found is not None
        assert found.payload == b"new"
        assert [d.id for d in await store.reader.deliveries_of(message.id)] == [delivery.id, forwarded.id]
        changed = await store.reader.delivery(delivery.id)
        assert changed is not None
        assert (changed.state, changed.reason, changed.payload) == (DeliveryState.SKIPPED, "forwarded", None)
        assert [c.id for c in await store.reader.calls_of(message.id)] == [call.id]
        (entry,) = await store.reader.audit()
        assert (entry["seq"], entry["entry"]["actor"]) == (1, "li")
        report = await store.reader.verify_ledger()
        assert report.balanced, report.problems

    async def test_the_audit_trail_is_a_chain(self, opener: Opener) -> None:
        store = await opener()
        for number in range(5):
            await store.apply(audit={"actor": "王", "number": number})
        await store.close()
        store = await opener()
        await store.apply(audit={"actor": "王", "number": 5})
        entries = await store.reader.audit()
        assert [entry["seq"] for entry in entries] == [1, 2, 3, 4, 5, 6]
        assert verify_trail(entries) == []
        assert [e["seq"] for e in await store.reader.audit(after=2, limit=2)] == [3, 4]

    async def test_impossible_changes_change_nothing(self, opener: Opener) -> None:
        store = await opener()
        message, delivery = await put_one(store)
        delivery.state = DeliveryState.DEAD
        ghost = make_message(store)
        taken = make_delivery(store, message, "emr/in", id=delivery.id)
        unknown = make_delivery(store, message, "emr/in")
        good = make_delivery(store, message, "emr/in")
        for changes in (
            {"create": [good, make_delivery(store, ghost)]},
            {"create": [good, taken]},
            {"create": [good], "update": [unknown]},
            {"messages": [make_message(store, "\ud800")], "create": [good]},
        ):
            for audit in (None, {"actor": "li"}):
                with pytest.raises(HubError):
                    await store.apply(**{"update": [delivery], **changes}, audit=audit)  # type: ignore[arg-type]
        assert await store.reader.audit() == []
        assert await store.reader.deliveries_of(message.id) == [bare(replace(delivery, state=DeliveryState.PENDING))]
        report = await store.reader.verify_ledger()
        assert report.balanced, report.problems

    async def test_split_parts(self, opener: Opener) -> None:
        store = await opener()
        message, parent = await put_one(store, order_key="P1")
        children = [
            make_delivery(
                store, message, route=parent.route, parent=parent.id, part=n, payload=b"%d" % n, order_key="P1"
            )
            for n in (1, 2, 3)
        ]
        parent.state, parent.parts = DeliveryState.SKIPPED, 3
        await store.apply(create=children, update=[parent])
        assert [d.id for d in await store.open_children("lis/in")] == [c.id for c in children]
        opened = await store.open_deliveries("lis/in", 0, 10, MB)
        assert [(d.part, d.payload) for d in opened] == [(1, b"1"), (2, b"2"), (3, b"3")]
        await finish(store, children[0], DeliveryState.DELIVERED)
        assert [d.id for d in await store.open_children("lis/in")] == [c.id for c in children[1:]]
        report = await store.reader.verify_ledger()
        assert report.balanced, report.problems
        assert [(r.routed, r.delivered, r.skipped, r.moving) for r in report.rows] == [(4, 1, 1, 2)]


class FeedConformance:
    async def test_open_deliveries_in_pages(self, opener: Opener) -> None:
        store = await opener()
        mine: list[Delivery] = []
        for number in range(30):
            _, delivery = await put_one(store, order_key=f"K{number % 3}")
            await put_one(store, "other/in")
            if number % 5 == 0:
                await finish(store, delivery, DeliveryState.DELIVERED)
            elif number % 5 == 1:
                await finish(store, delivery, DeliveryState.DEAD)
            else:
                if number % 5 == 2:
                    await finish(store, delivery, DeliveryState.RETRYING)
                mine.append(delivery)
        assert await store.open_targets() == {"lis/in": len(mine), "other/in": 30}
        found: list[Delivery] = []
        while page := await store.open_deliveries("lis/in", found[-1].id if found else 0, 4, MB):
            assert len(page) <= 4
            found += page
        assert [d.id for d in found] == [d.id for d in mine]
        assert all(d.message is not None and d.message.raw and d.message.id == d.message_id for d in found)
        keyed = await store.open_for_key("lis/in", "K1", mine[2].id, 100, MB)
        assert [d.id for d in keyed] == [d.id for d in mine if d.order_key == "K1" and d.id > mine[2].id]
        assert await store.open_deliveries("nobody/in", 0, 10, MB) == []

    async def test_pages_are_bounded_by_bytes_but_never_empty(self, opener: Opener) -> None:
        store = await opener()
        for _ in range(5):
            message = make_message(store, raw=bytes(1000))
            await put(store, message, [make_delivery(store, message)])
        assert len(await store.open_deliveries("lis/in", 0, 10, 10)) == 1
        assert len(await store.open_deliveries("lis/in", 0, 10, 2500)) == 2
        assert len(await store.open_deliveries("lis/in", 0, 10, MB)) == 5

    async def test_after_a_restart_the_same_are_open(self, opener: Opener) -> None:
        store = await opener()
        made = [(await put_one(store))[1] for _ in range(5)]
        await finish(store, made[1], DeliveryState.DELIVERED)
        await store.close()
        again = await opener()
        assert await again.open_targets() == {"lis/in": 4}
        opened = await again.open_deliveries("lis/in", 0, 10, MB)
        assert [d.id for d in opened] == [d.id for n, d in enumerate(made) if n != 1]


class QueryConformance:
    async def test_deliveries_against_a_simple_model(self, opener: Opener) -> None:
        store = await opener()
        chance = random.Random(3)
        made: list[Delivery] = []
        states = [s for s in DeliveryState if s is not DeliveryState.IN_FLIGHT]
        for _ in range(120):
            _, delivery = await put_one(
                store, chance.choice(["lis/in", "lis/orders", "pacs/in"]), route=chance.choice(["a", "b"])
            )
            delivery.reason = chance.choice(["", "timeout", "code 500: 拒绝"])
            await finish(store, delivery, chance.choice(states))
            made.append(bare(delivery))
        middle = made[60].id
        for _ in range(150):
            query = DeliveryQuery(
                states=chance.choice([(), (), chance.sample(states, chance.randint(1, 4))]),
                target=chance.choice(["", "", "lis", "pacs", "lis/in", "none", "lis/none"]),
                route=chance.choice(["", "", "a", "none"]),
                reason=chance.choice(["", "", "500", "拒"]),
                before=chance.choice([0, 0, middle]),
                after=chance.choice([0, 0, middle, made[20].id]),
                since_ms=chance.choice([0, 0, millis_of(middle)]),
                until_ms=chance.choice([0, 0, millis_of(middle)]),
                oldest_first=chance.random() < 0.5,
                limit=chance.choice([1, 7, 500]),
            )
            expected = [
                d
                for d in made
                if (not query.states or d.state in query.states)
                and (not query.target or d.target == query.target or d.target.startswith(query.target + "/"))
                and (not query.route or d.route == query.route)
                and query.reason in d.reason
                and (not query.before or d.id < query.before)
                and d.id > query.after
                and (not query.since_ms or millis_of(d.id) >= query.since_ms)
                and (not query.until_ms or millis_of(d.id) < query.until_ms)
            ]
            if not query.oldest_first:
                expected.reverse()
            assert await store.reader.deliveries(query) == expected[: query.limit], query

    async def test_calls_against_a_simple_model(self, opener: Opener) -> None:
        store = await opener()
        chance = random.Random(4)
        made = []
        for _ in range(150):
            call = make_call(
                store,
                chance.choice(["his/adt", "his/orm", "lis/in"]),
                chance.choice(list(Outcome)),
                direction=chance.choice(list(Direction)),
                request=chance.choice([None, b"q"]),
            )
            store.log(call)
            made.append(call)
        await put_one(store)
        middle = made[70].id
        for _ in range(120):
            query = CallQuery(
                place=chance.choice(["", "", "his", "his/orm", "none"]),
                direction=chance.choice([None, None, Direction.IN, Direction.OUT]),
                outcomes=chance.choice([(), (), chance.sample(list(Outcome), 3)]),
                before=chance.choice([0, 0, middle]),
                since_ms=chance.choice([0, 0, millis_of(middle)]),
                until_ms=chance.choice([0, 0, millis_of(middle)]),
                limit=chance.choice([1, 9, 500]),
                bodies=chance.random() < 0.5,
            )
            expected = [
                c if query.bodies else replace(c, request=None)
                for c in reversed(made)
                if (not query.place or c.place == query.place or c.place.startswith(query.place + "/"))
                and (query.direction is None or c.direction is query.direction)
                and (not query.outcomes or c.outcome in query.outcomes)
                and (not query.before or c.id < query.before)
                and (not query.since_ms or millis_of(c.id) >= query.since_ms)
                and (not query.until_ms or millis_of(c.id) < query.until_ms)
            ]
            assert await store.reader.calls(query) == expected[: query.limit], query

    async def test_counts(self, opener: Opener) -> None:
        store = await opener()
        chance = random.Random(5)
        expected: Counter[tuple[str, DeliveryState]] = Counter()
        for _ in range(60):
            _, delivery = await put_one(store, chance.choice(["lis/in", "pacs/in"]))
            await finish(store, delivery, chance.choice([s for s in DeliveryState if s is not DeliveryState.IN_FLIGHT]))
            if delivery.state is not DeliveryState.DELIVERED:
                expected[delivery.target, delivery.state] += 1
        assert await store.reader.counts() == dict(expected)


class LedgerConformance:
    async def test_balances_after_any_mixture(self, opener: Opener) -> None:
        store = await opener()
        chance = random.Random(6)
        live: list[Delivery] = []
        messages = filtered = 0
        for number in range(300):
            message = make_message(store, f"C{chance.randrange(150)}", b"%d" % chance.randrange(2))
            made = [make_delivery(store, message, t) for t in ("lis/in", "pacs/in", "emr/in")[: chance.randrange(4)]]
            result = await put(store, message, made, window=DAY_US, call=make_call(store))
            if result.outcome is not Outcome.DUPLICATE:
                messages += 1
                filtered += not made
                live += made
            if live and chance.random() < 0.6:
                delivery = chance.choice(live)
                await finish(store, delivery, chance.choice(list(DeliveryState)))
            if live and number % 25 == 0:
                source = chance.choice(live)
                forward = make_delivery(store, make_message(store), "emr/in", route="", message_id=source.message_id)
                await store.apply(create=[forward], audit={"actor": "li"})
        report = await store.reader.verify_ledger()
        assert report.balanced, report.problems
        assert (report.messages, report.filtered) == (messages, filtered)
        assert sum(row.routed for row in report.rows) == len(live) + 12

    async def test_reports_progress(self, opener: Opener) -> None:
        store = await opener()
        await put_one(store)
        seen: list[tuple[int, int]] = []
        await store.reader.verify_ledger(lambda done, total: seen.append((done, total)))
        assert seen[-1] == (1, 1)

    async def test_check_finds_nothing_in_a_sound_store(self, opener: Opener) -> None:
        store = await opener()
        await put_one(store)
        assert await store.reader.check() == []


class TogetherConformance:
    """Messages of one source stored with how far it has been read."""

    async def test_all_of_them_and_the_mark(self, opener: Opener) -> None:
        store = await opener()
        assert await store.reader.mark("his/rows") == (0, "")
        puts = []
        for number in range(35):
            message = make_message(store, f"R{number}", b"row %d" % number)
            puts.append(Put(message, [make_delivery(store, message)], DAY_US, make_call(store)))
        refusal = make_call(store, outcome=Outcome.REFUSED, error="row 35: no number")
        results = await store.put_together(puts, calls=[refusal], mark=("his/rows", "2026-01-02|35"))
        assert [(r.message.id, r.outcome) for r in results] == [(p.message.id, Outcome.OK) for p in puts]
        for each in puts:
            assert await store.reader.message(each.message.id) == each.message
            assert [d.id for d in await store.reader.deliveries_of(each.message.id)] == [each.deliveries[0].id]
            assert [c.message_id for c in await store.reader.calls_of(each.message.id)] == [each.message.id]
        assert refusal.id in [call.id for call in await store.reader.calls(CallQuery(outcomes=[Outcome.REFUSED]))]
        noted, value = await store.reader.mark("his/rows")
        assert value == "2026-01-02|35"
        assert noted > puts[-1].message.id
        assert await store.reader.mark("his") == (0, "")
        await store.close()
        again = await opener()
        assert await again.reader.mark("his/rows") == (noted, value)
        assert (await again.reader.verify_ledger()).balanced

    async def test_a_mark_alone_and_the_newest_of_several(self, opener: Opener) -> None:
        store = await opener()
        for number in range(12):
            message = make_message(store, raw=b"%d" % number)
            assert await store.put_together([Put(message)], mark=("a", str(number)))
            assert await store.put_together([], mark=("b", str(-number))) == []
        assert (await store.reader.mark("a"))[1] == "11"
        assert (await store.reader.mark("b"))[1] == "-11"

    async def test_repeats_are_recognised_among_them_and_from_before(self, opener: Opener) -> None:
        store = await opener()
        first = make_message(store, "A", b"a")
        await put(store, first, window=DAY_US)
        same, new, again, other = (
            make_message(store, name, raw) for name, raw in (("A", b"a"), ("B", b"b"), ("B", b"b"), ("B", b"c"))
        )
        results = await store.put_together(
            [Put(m, [make_delivery(store, m)], DAY_US) for m in (same, new, again, other)]
        )
        assert [(r.outcome, r.earlier) for r in results] == [
            (Outcome.DUPLICATE, first.id),
            (Outcome.OK, 0),
            (Outcome.DUPLICATE, new.id),
            (Outcome.CONFLICT, new.id),
        ]
        assert await store.reader.message(again.id) is None
        assert (await store.reader.verify_ledger()).balanced

    async def test_one_that_cannot_be_stored_leaves_out_all(self, opener: Opener) -> None:
        store = await opener()
        good, bad = make_message(store, "G", b"g"), make_message(store, "B", b"b", correlation="\ud800")
        with pytest.raises(HubError):
            await store.put_together([Put(good, (), DAY_US), Put(bad, (), DAY_US)], mark=("a", "2"))
        assert await store.reader.message(good.id) is None
        assert await store.reader.mark("a") == (0, "")
        repeated = make_message(store, "G", b"g")
        (result,) = await store.put_together([Put(repeated, (), DAY_US)], mark=("a", "1"))
        assert result.outcome is Outcome.OK
        assert (await store.reader.verify_ledger()).balanced

    async def test_marks_outlive_the_messages(self, opener: Opener) -> None:
        store = await opener()
        old = make_message(store).received_at - 10 * DAY_US
        for number in range(12):
            message = make_message(store, received_at=old)
            await store.put_together([Put(message)], mark=(f"source {number % 3}", str(number)))
        for _ in range(12):
            await put_one(store)
        await store.prune((old + DAY_US) // 1000)
        await store.close()
        again = await opener()
        assert [(await again.reader.mark(f"source {number}"))[1] for number in range(3)] == ["9", "10", "11"]

    async def test_a_closed_store_takes_nothing(self, opener: Opener) -> None:
        store = await opener()
        await store.close()
        with pytest.raises(StoreBusy):
            await store.put_together([Put(make_message(store))])


class PruneConformance:
    async def test_old_messages_go_and_what_is_needed_stays(self, opener: Opener) -> None:
        store = await opener()
        start = make_message(store).received_at
        by_state: dict[DeliveryState, int] = {}
        for state in (s for s in DeliveryState if s is not DeliveryState.IN_FLIGHT):
            message = make_message(store, raw=b"old", received_at=start - 10 * DAY_US)
            delivery = make_delivery(store, message)
            await put(store, message, [delivery], call=make_call(store))
            await finish(store, delivery, state)
            by_state[state] = message.id
        filtered = make_message(store, received_at=start - 10 * DAY_US)
        await put(store, filtered)
        young, _ = await put_one(store)
        seen: list[tuple[int, int]] = []
        report = await store.prune((start - 5 * DAY_US) // 1000, lambda done, total: seen.append((done, total)))
        assert (report.messages, report.kept) == (3, 4)
        assert report.bytes > 0
        assert seen[-1][0] == seen[-1][1]
        kept = {state for state, message_id in by_state.items() if await store.reader.message(message_id)}
        assert kept == {DeliveryState.PENDING, DeliveryState.RETRYING, DeliveryState.DEAD, DeliveryState.HELD}
        assert await store.reader.message(filtered.id) is None
        assert await store.reader.message(young.id) is not None
        assert await store.reader.deliveries_of(by_state[DeliveryState.DELIVERED]) == []
        ledger = await store.reader.verify_ledger()
        assert ledger.balanced, ledger.problems
        assert ledger.messages == 5
        await store.close()
        again = await opener()
        await put_one(again)
        ledger = await again.reader.verify_ledger()
        assert ledger.balanced, ledger.problems
