"""The five verbs: on every state, single and in bulk, audited, and while deliveries move."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from hub.api import HubError, Outgoing, PermanentError, Reply
from hub.audit import verify
from hub.ids import id_text
from hub.message import Delivery, DeliveryState
from hub.operations import BULK_PAGE, VERBS
from hub.store.base import DeliveryQuery
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Hub, Site, until
from tests.kernel.test_intake import commits_held_back
from tests.kernel.wire import Peer, accept

S = DeliveryState
#: What each verb makes of a delivery in each state; what is not named is refused.
TABLE: dict[str, dict[DeliveryState, DeliveryState]] = {
    "resend": {S.DEAD: S.DELIVERED, S.HELD: S.DELIVERED, S.SKIPPED: S.DELIVERED},
    "forward": {
        S.PENDING: S.PENDING,
        S.RETRYING: S.RETRYING,
        S.DELIVERED: S.DELIVERED,
        S.DEAD: S.SKIPPED,
        S.HELD: S.SKIPPED,
        S.SKIPPED: S.SKIPPED,
    },
    "hold": {S.PENDING: S.HELD, S.RETRYING: S.HELD, S.DEAD: S.HELD},
    "delete": {S.DEAD: S.SKIPPED, S.HELD: S.SKIPPED},
    "ignore": {S.PENDING: S.SKIPPED, S.RETRYING: S.SKIPPED, S.DEAD: S.SKIPPED, S.HELD: S.SKIPPED},
}


def refuse(outgoing: Outgoing) -> Reply:
    raise PermanentError("not like this")


def fail(outgoing: Outgoing) -> Reply:
    return Reply(False, transient=True, code="500")


async def in_state(hub: Hub, peer: Peer, state: DeliveryState) -> Delivery:
    """The one delivery of a hub, brought into a state by what target and operators do."""
    if state is S.PENDING:
        gate = asyncio.Event()

        async def wait(outgoing: Outgoing) -> Reply:
            await gate.wait()
            return accept(outgoing)

        peer.react = wait
        await hub.send(2, key=lambda n: "a")
        await until(lambda: peer.under_way == 1)
        second = (await hub.deliveries(target="sink/up"))[1]
        assert second.state is S.PENDING
        return second
    peer.react = {S.RETRYING: fail, S.DELIVERED: accept}.get(state, refuse)
    await hub.send(1)
    if state in (S.RETRYING, S.DELIVERED):
        (found,) = await hub.reached(state)
        return found
    (dead,) = await hub.reached(S.DEAD)
    if state is S.HELD:
        await hub.act("hold", [dead.id])
    elif state is S.SKIPPED:
        await hub.act("ignore", [dead.id])
    return await hub.delivery(dead.id)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("state", [S.PENDING, S.RETRYING, S.DELIVERED, S.DEAD, S.HELD, S.SKIPPED])
async def test_every_verb_on_every_state(site: Site, start: StartHub, verb: str, state: DeliveryState) -> None:
    peer = site.target(retry={"attempts": 3, "interval": "1h"})
    other = site.target("other")
    del site.config["routes"]["to_other"]
    hub = await start(site)
    delivery = await in_state(hub, peer, state)
    before = len(await hub.node.store.reader.audit())
    calls = len(peer.calls)
    if state is not S.PENDING:
        peer.react = accept
    result = await hub.act(verb, [delivery.id], reason="asked by phone", target="other/up" if verb == "forward" else "")
    wanted = TABLE[verb].get(state)
    entries = await hub.node.store.reader.audit()
    if wanted is None:
        assert (result.done, list(result.refused)) == ([], [delivery.id])
        assert state.word in result.refused[delivery.id]
        assert len(entries) == before
        assert (await hub.delivery(delivery.id)).state is state
        assert len(peer.calls) == calls
        return
    assert (result.done, result.refused) == ([delivery.id], {})
    if verb == "resend":
        await hub.reached(S.DELIVERED)
        assert len(peer.calls) == calls + 1
    after = await hub.delivery(delivery.id)
    assert after.state is wanted
    if verb == "forward":
        (made,) = result.made
        await until(lambda: len(other.calls) == 1)
        (copy,) = await hub.reached(S.DELIVERED, target="other/up")
        assert (copy.id, copy.message_id, copy.route) == (made, delivery.message_id, "")
    else:
        assert result.made == []
    if wanted in (S.SKIPPED, S.HELD) and after.state is not state:
        assert "asked by phone" in after.reason
        assert len(peer.calls) == calls
    assert len(entries) == before + 1
    entry = entries[-1]["entry"]
    assert (entry["action"], entry["actor"], entry["reason"]) == (f"delivery.{verb}", "li", "asked by phone")
    assert entry["detail"]["deliveries"] == [id_text(delivery.id)]
    assert verify(entries) == []


async def test_what_does_not_exist_is_told(site: Site, start: StartHub) -> None:
    site.target()
    hub = await start(site)
    result = await hub.act("resend", [12345])
    assert list(result.refused) == [12345]
    assert await hub.node.store.reader.audit() == []
    with pytest.raises(HubError, match="there are: sink/up"):
        await hub.act("forward", [12345], target="nowhere/up")


async def test_bulk_by_query_page_by_page(site: Site, start: StartHub) -> None:
    peer = site.target()
    peer.react = refuse
    count = BULK_PAGE * 2 + 50
    hub = await start(site)
    await hub.send(count)
    await hub.reached(S.DEAD, count)
    operations = hub.node.operations
    ids = await operations.select(DeliveryQuery(states=(S.DEAD,), target="sink"), 100_000)
    assert ids == sorted(ids)
    assert len(ids) == count
    assert await operations.select(DeliveryQuery(states=(S.DEAD,)), 7) == ids[:7]
    peer.react = accept
    result = await hub.act("resend", [*ids, *ids[:3], 99])
    assert (sorted(result.done), list(result.refused)) == (ids, [99])
    await hub.reached(S.DELIVERED, count)
    assert Counter(peer.ids()) == {f"m{n}": 2 for n in range(count)}
    assert len(await hub.node.store.reader.audit()) == 3


async def test_bulk_with_mixed_states_does_what_can_be_done(site: Site, start: StartHub) -> None:
    peer = site.target()
    peer.react = lambda out: refuse(out) if int(out.control_id[1:]) % 2 else accept(out)
    hub = await start(site)
    await hub.send(40)
    dead = await hub.reached(S.DEAD, 20)
    await hub.reached(S.DELIVERED, 20)
    everything = [d.id for d in await hub.deliveries()]
    result = await hub.act("delete", everything)
    assert sorted(result.done) == sorted(d.id for d in dead)
    assert len(result.refused) == 20
    await hub.reached(S.SKIPPED, 20)


async def test_resend_starts_over_with_its_tries(site: Site, start: StartHub) -> None:
    peer = site.target()
    peer.react = fail
    hub = await start(site)
    await hub.send(1)
    (dead,) = await hub.reached(S.DEAD)
    await hub.act("resend", [dead.id])
    await until(lambda: len(peer.calls) == 8)
    (dead,) = await hub.reached(S.DEAD)
    assert dead.attempts == 4
    assert len({call.idempotency_key for call in peer.calls}) == 1


NEW = "from: {codec: json}\nto: {codec: json}\nfields: {id: id, version: {const: new}}\n"
OLD = "from: {codec: json}\nto: {codec: json}\nfields: {id: id, version: {const: old}}\n"


@pytest.mark.parametrize(("step", "version"), [("auto", "old"), ("send", "old"), ("map", "new")])
async def test_resend_after_a_refusal_from_a_chosen_step(site: Site, start: StartHub, step: str, version: str) -> None:
    """Failed at sending: the same bytes again, unless the operator wants them made anew."""
    peer = site.target(mapping="m")
    site.mapping("m", OLD)
    peer.react = refuse
    hub = await start(site)
    await hub.send(1)
    (dead,) = await hub.reached(S.DEAD)
    site.mapping("m", NEW)
    await hub.reload()
    peer.react = accept
    await hub.act("resend", [dead.id], step=step)
    await hub.reached(S.DELIVERED)
    assert [body["version"] for body in peer.bodies] == ["old", version]


@pytest.mark.parametrize("step", ["auto", "map", "send"])
async def test_resend_after_a_mapping_was_mended(site: Site, start: StartHub, step: str) -> None:
    peer = site.target(mapping="m")
    site.mapping("m", "from: {codec: json}\nto: {codec: json}\nfields: {id: {expr: missing, required: true}}\n")
    hub = await start(site)
    await hub.send(1)
    (dead,) = await hub.reached(S.DEAD)
    assert (dead.step, dead.attempts) == ("map", 1)
    assert "m.yaml:3" in dead.reason
    assert peer.calls == []
    site.mapping("m", NEW)
    await hub.reload()
    await hub.act("resend", [dead.id], step=step)
    await hub.reached(S.DELIVERED)
    assert peer.bodies == [{"id": "m0", "version": "new"}]


async def test_what_is_being_sent_can_not_be_held(site: Site, start: StartHub) -> None:
    peer = site.target()
    gate = asyncio.Event()

    async def wait(outgoing: Outgoing) -> Reply:
        await gate.wait()
        return accept(outgoing)

    peer.react = wait
    hub = await start(site)
    await hub.send(1)
    await until(lambda: peer.under_way == 1)
    delivery = await hub.only()
    for verb in ("hold", "ignore"):
        result = await hub.act(verb, [delivery.id])
        assert "being sent" in result.refused[delivery.id]
    gate.set()
    await hub.reached(S.DELIVERED)
    assert len(peer.calls) == 1


@pytest.mark.parametrize("window", [10, 2000])
async def test_what_is_held_in_the_middle_of_its_key_is_not_sent(site: Site, start: StartHub, window: int) -> None:
    """Wherever the delivery is at that moment: ready, following, waiting for its retry, or in the store only."""
    peer = site.target()
    site.config["delivery"] = {"window": window, "retry": {"attempts": 3, "interval": "20ms"}}
    gate = asyncio.Event()

    async def wait(outgoing: Outgoing) -> Reply:
        await gate.wait()
        return accept(outgoing)

    peer.react = wait
    hub = await start(site)
    await hub.send(120, key=lambda n: str(n % 3))
    await until(lambda: peer.under_way == 3)
    rows = await hub.deliveries()
    held = [row.id for row in rows[10::7]]
    assert (await hub.act("hold", held)).refused == {}
    gate.set()
    await hub.reached(S.DELIVERED, 120 - len(held))
    sent = {call.delivery_id for call in peer.calls}
    assert sent.isdisjoint(held)
    await hub.reached(S.HELD, len(held))
    await hub.act("resend", held)
    await hub.reached(S.DELIVERED, 120)
    assert len(peer.calls) == 120


async def test_holding_while_everything_moves(site: Site, start: StartHub) -> None:
    """Each delivery is either held and was not sent, or refused and was sent once; nothing in between."""
    peer = site.target(order_by="", concurrency=4)
    site.config["delivery"]["window"] = 20

    async def slowly(outgoing: Outgoing) -> Reply:
        await asyncio.sleep(0.001)
        return accept(outgoing)

    peer.react = slowly
    hub = await start(site)
    await hub.send(300)
    rows = await hub.deliveries()
    results = await asyncio.gather(*(hub.act("hold", [row.id]) for row in rows[::-1][:250]))
    held = {number for result in results for number in result.done}
    await hub.reached(S.DELIVERED, 300 - len(held))
    await hub.reached(S.HELD, len(held))
    sent = [call.delivery_id for call in peer.calls]
    assert len(sent) == len(set(sent)) == 300 - len(held)
    assert held.isdisjoint(sent)


async def test_two_operators_set_the_same_delivery_going_once(site: Site, start: StartHub) -> None:
    peer = site.target()
    peer.react = refuse
    hub = await start(site)
    await hub.send(10)
    dead = [d.id for d in await hub.reached(S.DEAD, 10)]
    peer.react = accept
    peer.calls.clear()
    results = await asyncio.gather(*(hub.act("resend", dead) for _ in range(5)))
    await hub.reached(S.DELIVERED, 10)
    assert sorted(number for result in results for number in result.done) == sorted(dead)
    assert len(peer.calls) == 10


async def test_the_parent_of_a_split_is_left_alone(site: Site, start: StartHub) -> None:
    site.target(mapping="m")
    site.mapping("m", "from: {codec: json}\nto: {codec: json}\nsplit: items\nfields: {id: .}\n")
    hub = await start(site)
    await hub.wire.submit("his/in", {"id": "m1", "type": "t", "key": "a", "items": [1, 2]})
    await hub.reached(S.DELIVERED, 2)
    (parent,) = await hub.reached(S.SKIPPED)
    result = await hub.act("resend", [parent.id])
    assert "split" in result.refused[parent.id]


async def test_an_action_that_can_not_be_stored_changes_nothing(site: Site, start: StartHub) -> None:
    peer = site.target()
    gate = asyncio.Event()

    async def wait(outgoing: Outgoing) -> Reply:
        await gate.wait()
        return accept(outgoing)

    peer.react = wait
    hub = await start(site)
    await hub.send(5, key=lambda n: "a")
    await until(lambda: peer.under_way == 1)
    rows = await hub.deliveries()
    with commits_held_back(hub):
        with pytest.raises(HubError):
            await hub.act("hold", [row.id for row in rows[1:3]])
        gate.set()
        await asyncio.sleep(0.05)
    await hub.reached(S.DELIVERED, 5)
    assert [d.control_id for d in peer.calls] == [f"m{n}" for n in range(5)]
    assert await hub.node.store.reader.audit() == []


async def test_forwarding_with_a_full_window_loses_nothing(site: Site, start: StartHub) -> None:
    peer, other = site.target(), site.target("other", order_by=None)
    site.config["delivery"]["window"] = 10
    peer.react = refuse
    hub = await start(site)
    await hub.send(60)
    dead = [d.id for d in await hub.reached(S.DEAD, 60, target="sink/up")]
    acting = asyncio.create_task(hub.act("forward", dead, target="other/up"))
    await hub.send(200, first=60)
    result = await acting
    assert len(result.made) == 60
    await hub.reached(S.DELIVERED, 320, target="other/up")
    assert Counter(other.ids()) == {f"m{n}": 2 if n < 60 else 1 for n in range(260)}
    await hub.reached(S.DEAD, 200, target="sink/up")
