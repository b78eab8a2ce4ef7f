"""The adapter of the systems around the tested one: what they send is handed in by the test, what they are sent is kept.

It has no transport: real connections are between the tested interfaces and the simulated party.
"""

from __future__ import annotations

import base64
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from hub.api import Adapter, Bound, IntakePort, Outgoing, Receiver, Reply, Sender, hookimpl

__all__ = ["NAME", "StandIn", "hub_adapters"]

NAME = "verify_standin"


class _Listen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Connect(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    reply: str = Field("", description="what it answers to everything, base 64")


class _Feed(Receiver):
    async def start(self) -> None:
        return

    async def stop(self, grace: float) -> None:
        return


class _Taker(Sender):
    def __init__(self, reply: bytes) -> None:
        self._reply = reply

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        return

    async def send(self, outgoing: Outgoing) -> Reply:
        return Reply(True, self._reply, 200, "200")

    async def probe(self) -> str:
        return ""


class StandIn(Adapter):
    name: ClassVar[str] = NAME
    listen_options: ClassVar[type[BaseModel] | None] = _Listen
    connect_options: ClassVar[type[BaseModel] | None] = _Connect

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        return _Feed()

    def sender(self, bound: Bound) -> Sender:
        options: Any = bound.options
        return _Taker(base64.b64decode(options.reply))


@hookimpl
def hub_adapters() -> list[Adapter]:
    return [StandIn()]
