"""What the tests of the adapter ``cmpp`` share."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from adapters.cmpp.adapter import CmppAdapter
from adapters.cmpp.options import CmppConnect, CmppListen
from adapters.cmpp.receiver import CmppReceiver
from adapters.cmpp.sender import CmppSender
from hub.api import Bound, Item, Outgoing, Receipt, StoreBusy
from hub.codecs.json_codec import JsonCodec
from hub.contract import Interface
from hub.message import Outcome
from tests.adapters.cmpp.ismg import Ismg
from tests.adapters.mllp_support import DEADLINE, MemoryIntake, until

__all__ = ["DEADLINE", "Intake", "both", "calling", "message", "options", "until"]


class Intake(MemoryIntake):
    """With marks and pages, all or nothing, as the hub's."""

    def __init__(self) -> None:
        super().__init__()
        self.marks: dict[str, str] = {}
        self.busy = 0  # so many pages are not taken
        self.control_ids: list[str] = []
        self.text_keys: list[str] = []  # of reports: the text they are of

    def submit(self, bound: Bound, raw: bytes, done: Callable[[Receipt], None], **more: Any) -> None:
        self.control_ids.append(more["control_id"])
        if more.get("params"):
            self.text_keys.append(more["params"]["text_key"])
        super().submit(bound, raw, done, **more)

    async def take(
        self, bound: Bound, items: Sequence[Item], *, mark: str | None = None, name: str = "", remote: str = ""
    ) -> list[Receipt]:
        if self.busy:
            self.busy -= 1
            raise StoreBusy("full")
        self.taken += [item.raw for item in items]
        self.control_ids += [item.control_id for item in items]
        if mark is not None:
            self.marks[name] = mark
        return [Receipt(Outcome.OK) for _ in items]

    async def mark(self, bound: Bound, name: str = "") -> str:
        return self.marks.get(name, "")

    @property
    def trees(self) -> list[dict[str, Any]]:
        return [json.loads(raw) for raw in self.taken]


def options(ismg: Ismg, **more: Any) -> dict[str, Any]:
    return {
        "host": "127.0.0.1",
        "port": ismg.port,
        "account": "901234",
        "password": "secret",
        "src_id": "10690001",
        "pause": 0.02,
        "max_pause": 0.1,
        **more,
    }


def bound(name: str, direction: Any, chosen: Any) -> Bound:
    interface = Interface(direction=direction, adapter="cmpp", codec="json")
    return Bound(f"gw/{name}", "gw", name, "gw@1", interface, JsonCodec(), {}, chosen)


@asynccontextmanager
async def calling(ismg: Ismg, **more: Any) -> AsyncIterator[CmppSender]:
    sender = CmppAdapter().sender(bound("send", "out", CmppConnect(**options(ismg, **more))))
    assert isinstance(sender, CmppSender)
    await sender.start()
    try:
        yield sender
    finally:
        await sender.stop()


@asynccontextmanager
async def both(
    ismg: Ismg, intake: Intake, listen: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[tuple[CmppSender, CmppReceiver]]:
    """A sender and the interface that takes what comes over its connections."""
    adapter = CmppAdapter()
    receiver = adapter.receiver(bound("up", "in", CmppListen(**({"of": "send"} | (listen or {})))), intake)
    sender = adapter.sender(bound("send", "out", CmppConnect(**options(ismg, **more))))
    assert isinstance(receiver, CmppReceiver)
    assert isinstance(sender, CmppSender)
    await receiver.start()
    await sender.start()
    try:
        await until(lambda: sender.status()["connections"] == sender._options.connections)
        yield sender, receiver
    finally:
        await receiver.stop(5)
        await sender.stop()


def message(text: str = "hello", key: str = "k", timeout: float = DEADLINE, **more: Any) -> Outgoing:
    body = json.dumps({"phone": "13900000000", "text": text, **more}).encode()
    return Outgoing(body, 1, key, "sms.notice", "1", 1, timeout)
