"""``retry.once``: what may have been carried out is not sent again, whatever happened to the hub meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from hub.api import Outgoing, Reply
from hub.contract import RetryPolicy
from hub.errors import ConfigError, StoreBusy
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


def test_once_and_further_attempts_contradict_each_other() -> None:
    with pytest.raises(ValidationError, match="attempts: 0"):
        RetryPolicy(once=True)
    assert RetryPolicy.model_validate(orjson.loads(b'{"once": true, "attempts": 0}')).once


async def test_messages_that_go_together_cannot_be_sent_once_each(site: Site, start: StartHub) -> None:
    site.target(retry=_ONCE, collect={"messages": 2, "within": "1s"})
    with pytest.raises((ConfigError, AssertionError), match="once"):
        hub = await start(site)
        told = [problem.text for problem in hub.node.problems]
        raise AssertionError(" ".join(told))
