"""``retry.once``: what may have been carried out is not sent again, whatever happened to the hub meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.api import Outgoing, Reply
from hub.check import check
from hub.errors import StoreBusy
from hub.message import DeliveryState
from tests.delivery.test_results import asking, reply
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Site, until
from tests.kernel.wire import accept

_ONCE = {"attempts": 0, "once": True}


async def never(outgoing: Outgoing) -> Reply:
    await asyncio.sleep(3600)
    raise AssertionError


async def test_what_was_under_way_when_the_hub_stopped_is_dead(site: Site, start: StartHub) -> None:
    peer = site.target(retry=_ONCE)
    peer.react = never
    hub = await start(site)
    await hub.send(1)
    await until(lambda: peer.calls)
    peer.react = accept
    await hub.restart()
    (dead,) = await hub.reached(DeliveryState.DEAD)
    (call,) = await hub.calls("sink/up")
    assert (dead.attempts, call.code) == (1, "delivery.interrupted")
    assert len(peer.calls) == 1
    # What comes now is sent, and an operator may say that the other is sent all the same.
    await hub.send(1, first=1)
    await hub.reached(DeliveryState.DELIVERED, 1)
    await hub.act("resend", [dead.id])
    await hub.reached(DeliveryState.DELIVERED, 2)
    assert [body["id"] for body in peer.bodies] == ["m0", "m1", "m0"]


async def test_other_targets_get_it_again(site: Site, start: StartHub) -> None:
    peer = site.target(retry={"attempts": 0})
    peer.react = never
    hub = await start(site)
    await hub.send(1)
    await until(lambda: peer.calls)
    peer.react = accept
    await hub.restart()
    await hub.reached(DeliveryState.DELIVERED)
    assert len(peer.calls) == 2


async def test_an_answer_the_store_cannot_take_now_waits_for_it(
    site: Site, start: StartHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.delivery.target.STORE_AGAIN_S", 0.01)
    peer = asking(site)
    site.config["systems"]["registry"]["interfaces"]["ask"] = {"retry": _ONCE}
    peer.react = lambda out: reply("a")
    hub = await start(site)
    together = hub.node.store.put_together
    refusals = iter([StoreBusy("full"), StoreBusy("full")])

    async def refuse_twice(*arguments: Any, **options: Any) -> Any:
        for error in refusals:
            raise error
        return await together(*arguments, **options)

    monkeypatch.setattr(hub.node.store, "put_together", refuse_twice)
    await hub.wire.submit("his/in", {"id": "m1", "type": "t"})
    await hub.reached(DeliveryState.DELIVERED, 1, target="sink/up")
    await hub.reached(DeliveryState.DELIVERED, 1, target="registry/ask")
    assert len(peer.calls) == 1
    assert next(refusals, None) is None


@pytest.mark.parametrize(
    ("contract", "key", "text"),
    [
        ({"retry": {"once": True}}, "retry", "say attempts: 0"),
        ({"retry": _ONCE, "collect": {"messages": 2, "within": "1s"}}, "retry.once", "sent once each"),
    ],
)
def test_what_cannot_be(site: Site, contract: dict[str, Any], key: str, text: str) -> None:
    site.target(**contract)
    told = [problem for problem in check(site.write()).problems if problem.key.endswith(f"up.{key}")]
    assert any(text in problem.text for problem in told), told
