"""One delivery to its end: fan-out, retries, what counts as a try, breaker, rate, and targets that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise

import pytest

from hub.api import Outgoing, PermanentError, Reply, TransientError, UnreachableError
from hub.ids import id_text
from hub.message import DeliveryState, Outcome
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Site, until
from tests.kernel.wire import accept

M1 = {"id": "m1", "type": "t", "key": "a"}


def failing(*errors: Exception | Reply) -> Callable[[Outgoing], Reply]:
    """Fails as told, one call after the other, then accepts."""
    left = list(errors)

    def react(outgoing: Outgoing) -> Reply:
        if not left:
            return accept(outgoing)
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return react


async def test_each_target_has_its_own_fate(site: Site, start: StartHub) -> None:
    good, bad, down = site.target("good"), site.target("bad"), site.target("down", breaker={"open_for": "10ms"})
    bad.react = failing(PermanentError("no", code="x.no"))

    def unreachable(outgoing: Outgoing) -> Reply:
        raise UnreachableError("nobody there")

    down.react = unreachable
    hub = await start(site)
    await hub.wire.submit("his/in", M1)
    (delivered,) = await hub.reached(DeliveryState.DELIVERED, target="good/up")
    (dead,) = await hub.reached(DeliveryState.DEAD, target="bad/up")
    await until(lambda: len(down.calls) >= 3)
    moving = await hub.only("down/up")
    assert moving.state in (DeliveryState.PENDING, DeliveryState.RETRYING)
    assert (delivered.attempts, dead.attempts, moving.attempts) == (1, 1, 0)
    assert (dead.step, dead.reason) == ("send", "no")
    assert len(good.calls) == len(bad.calls) == 1
    assert {call.idempotency_key for call in down.calls} == {id_text(moving.id)}
    down.react = accept
    await hub.reached(DeliveryState.DELIVERED, 2)


async def test_three_retries_and_then_dead(site: Site, start: StartHub) -> None:
    peer = site.target()
    peer.react = lambda outgoing: Reply(False, b"{}", code="500", error="busy", transient=True)
    hub = await start(site)
    await hub.wire.submit("his/in", M1)
    (dead,) = await hub.reached(DeliveryState.DEAD)
    assert dead.attempts == 4
    assert [call.attempt for call in peer.calls] == [1, 2, 3, 4]
    assert len({call.idempotency_key for call in peer.calls}) == 1
    calls = await hub.calls("sink/up")
    assert [(call.outcome, call.attempt, call.code) for call in calls] == [
        (Outcome.TRANSIENT, attempt, "500") for attempt in (1, 2, 3, 4)
    ]
    # The pause is kept: no retry begins before its time.
    begun = [call.at for call in calls]
    assert all(later - earlier >= 20_000 for earlier, later in pairwise(begun))
    assert hub.node.metrics.outbound("sink/up").snapshot()["dead"] == 1


async def test_a_passing_failure_is_forgotten_once_it_is_delivered(site: Site, start: StartHub) -> None:
    peer = site.target()
    peer.react = failing(TransientError("reset", response=b'{"half":1}'), Reply(False, transient=True, code="502"))
    hub = await start(site)
    await hub.wire.submit("his/in", M1)
    (done,) = await hub.reached(DeliveryState.DELIVERED)
    assert (done.attempts, done.step, done.reason) == (3, "", "")
    calls = await hub.calls("sink/up")
    assert [call.outcome for call in calls] == [Outcome.TRANSIENT, Outcome.TRANSIENT, Outcome.OK]
    assert calls[0].response == b'{"half":1}'


async def test_an_unreachable_target_does_not_use_up_tries(site: Site, start: StartHub) -> None:
    peer = site.target(breaker={"failures": 5, "open_for": "5ms", "max_open_for": "10ms"})
    peer.react = failing(*[UnreachableError("refused")] * 9, TransientError("a"), TransientError("b"))
    hub = await start(site)
    await hub.wire.submit("his/in", M1)
    (done,) = await hub.reached(DeliveryState.DELIVERED)
    assert done.attempts == 3
    assert len(peer.calls) == 12


async def test_a_target_that_stays_away_too_long_makes_the_delivery_dead(site: Site, start: StartHub) -> None:
    peer = site.target(
        breaker={"open_for": "5ms", "max_open_for": "10ms"}, retry={"attempts": 3, "give_up_after": "200ms"}
    )

    def away(outgoing: Outgoing) -> Reply:
        raise UnreachableError("refused", code="x.refused")

    peer.react = away
    hub = await start(site)
    await hub.wire.submit("his/in", M1)
    (dead,) = await hub.reached(DeliveryState.DEAD)
    assert (dead.attempts, dead.reason) == (0, "refused")
    assert len(peer.calls) > 1


async def test_out_of_service_is_not_a_try_and_its_pause_is_kept(site: Site, start: StartHub) -> None:
    peer = site.target(breaker={"open_for": "1ms", "max_open_for": "1ms"})
    peer.react = failing(Reply(False, code="503", error="later", unavailable=True, retry_after=0.1))
    hub = await start(site)
    await hub.wire.submit("his/in", M1)
    (done,) = await hub.reached(DeliveryState.DELIVERED)
    first, second = await hub.calls("sink/up")
    assert (first.outcome, done.attempts) == (Outcome.UNREACHABLE, 1)
    assert second.at - first.at >= 100_000


async def test_the_breaker_lets_one_call_through_at_a_time(site: Site, start: StartHub) -> None:
    peer = site.target(order_by="", concurrency=8, breaker={"failures": 1, "open_for": "10ms", "max_open_for": "10ms"})

    def away(outgoing: Outgoing) -> Reply:
        raise UnreachableError("refused")

    peer.react = away
    hub = await start(site)
    target = hub.node.engine.targets["sink/up"]
    await hub.send(1)
    await until(lambda: target.breaker.state == "open")
    gate = asyncio.Event()

    async def wait_for_gate(outgoing: Outgoing) -> Reply:
        await gate.wait()
        raise UnreachableError("still away")

    peer.most_under_way = 0
    peer.react = wait_for_gate
    await hub.send(20, first=1)
    await until(lambda: peer.under_way == 1)
    await asyncio.sleep(0.05)  # several times the breaker's pause: nothing else may go out meanwhile
    assert peer.most_under_way == 1
    peer.react = accept
    gate.set()
    await hub.reached(DeliveryState.DELIVERED, 21)
    assert target.breaker.state == "closed"


async def test_the_rate_is_kept(site: Site, start: StartHub) -> None:
    peer = site.target(order_by="", rate=20)
    hub = await start(site)
    await hub.send(26)
    await hub.reached(DeliveryState.DELIVERED, 26)
    begun = [call.at for call in await hub.calls("sink/up")]
    # 20 at once, and 6 more at 20 per second: 300 ms at least, give or take the resolution of the clocks.
    assert begun[-1] - begun[0] >= 290_000
    assert len(peer.calls) == 26


@pytest.mark.parametrize(("concurrency", "capacity", "most"), [(3, 0, 3), (8, 2, 2), (1, 0, 1)])
async def test_no_more_calls_at_once_than_allowed(
    site: Site, start: StartHub, concurrency: int, capacity: int, most: int
) -> None:
    peer = site.target(order_by="", concurrency=concurrency)
    site.config["systems"]["sink"]["interfaces"]["up"]["connect"] = {"channel": site.channel, "capacity": capacity}
    gate = asyncio.Event()

    async def wait_for_gate(outgoing: Outgoing) -> Reply:
        await gate.wait()
        return accept(outgoing)

    peer.react = wait_for_gate
    hub = await start(site)
    await hub.send(20)
    await until(lambda: peer.under_way == most)
    gate.set()
    await hub.reached(DeliveryState.DELIVERED, 20)
    assert peer.most_under_way == most


async def test_a_sender_that_throws_fails_its_own_deliveries(site: Site, start: StartHub) -> None:
    broken, good = site.target("broken"), site.target("good")

    def bug(outgoing: Outgoing) -> Reply:
        raise ZeroDivisionError("id 110101199003070011")

    broken.react = bug
    hub = await start(site)
    await hub.send(3)
    dead = await hub.reached(DeliveryState.DEAD, 3, target="broken/up")
    await hub.reached(DeliveryState.DELIVERED, 3, target="good/up")
    assert all(d.attempts == 4 and "ZeroDivisionError" in d.reason for d in dead)
    assert all("110101199003070011" not in d.reason for d in dead)
    assert len(good.calls) == 3


async def test_a_sender_that_hangs_is_cut_off_each_time(
    site: Site, start: StartHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.delivery.target.OVERDUE_S", 0.05)
    monkeypatch.setattr("hub.delivery.engine.SWEEP_S", 0.02)
    peer = site.target(timeout="50ms", concurrency=1)

    async def hang(outgoing: Outgoing) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    peer.react = hang
    hub = await start(site)
    await hub.wire.submit("his/in", M1)
    (dead,) = await hub.reached(DeliveryState.DEAD)
    assert (dead.attempts, dead.step) == (4, "send")
    assert [call.code for call in await hub.calls("sink/up")] == ["send.overdue"] * 4
    peer.react = accept
    await hub.wire.submit("his/in", {**M1, "id": "m2"})
    await hub.reached(DeliveryState.DELIVERED)


async def test_a_delivery_is_made_while_another_target_hangs(site: Site, start: StartHub) -> None:
    slow, quick = site.target("slow", concurrency=1), site.target("quick")
    gate = asyncio.Event()

    async def wait_for_gate(outgoing: Outgoing) -> Reply:
        await gate.wait()
        return accept(outgoing)

    slow.react = wait_for_gate
    hub = await start(site)
    await hub.send(50)
    await hub.reached(DeliveryState.DELIVERED, 50, target="quick/up")
    assert len(slow.calls) == 1
    assert sorted(quick.ids()) == sorted(f"m{n}" for n in range(50))
    gate.set()
    await hub.reached(DeliveryState.DELIVERED, 50, target="slow/up")


async def test_what_is_sent_and_answered_is_kept_with_the_attempt(site: Site, start: StartHub) -> None:
    peer = site.target(mapping="m")
    site.mapping("m", "from: {codec: json}\nto: {codec: json}\nfields: {id: id, of: {const: hub}}\n")
    peer.react = lambda outgoing: Reply(True, b'{"code":7}', code="201")
    hub = await start(site)
    receipt = await hub.wire.submit("his/in", M1)
    await hub.reached(DeliveryState.DELIVERED)
    (call,) = await hub.calls("sink/up")
    assert call.request == peer.calls[0].body == b'{"id":"m1","of":"hub"}'
    assert (call.response, call.code, call.plugin) == (b'{"code":7}', "201", "sink@1.0.0")
    assert call.mapping == hub.node.deployment.mappings.get("m").stamp
    assert call.message_id == receipt.message_id
    assert peer.calls[0].control_id == "m1"


async def test_bodies_are_not_kept_where_the_configuration_says_so(site: Site, start: StartHub) -> None:
    peer = site.target(mapping="m")
    site.mapping("m", "from: {codec: json}\nto: {codec: json}\nfields: {id: id}\n")
    site.config["store"]["keep_bodies"] = False
    hub = await start(site)
    await hub.wire.submit("his/in", M1)
    await hub.reached(DeliveryState.DELIVERED)
    (call,) = await hub.calls("sink/up")
    assert (call.request, call.response) == (None, None)
    assert len(peer.calls) == 1


async def test_the_contracts_own_idempotency_key(site: Site, start: StartHub) -> None:
    peer = site.target(idempotency="id | upper")
    hub = await start(site)
    await hub.wire.submit("his/in", M1)
    await hub.wire.submit("his/in", {"type": "t", "key": "a"})
    done = await hub.reached(DeliveryState.DELIVERED, 2)
    assert [call.idempotency_key for call in peer.calls] == ["M1", id_text(done[1].id)]


async def test_a_large_message_is_mapped_beside_the_loop(site: Site, start: StartHub) -> None:
    peer = site.target(mapping="m")
    site.mapping("m", "from: {codec: json}\nto: {codec: json}\nfields: {id: id, size: {expr: text | length}}\n")
    hub = await start(site)
    await hub.wire.submit("his/in", {**M1, "text": "x" * 400_000})
    await hub.reached(DeliveryState.DELIVERED)
    assert peer.bodies == [{"id": "m1", "size": 400_000}]
