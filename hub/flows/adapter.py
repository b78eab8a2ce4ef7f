"""Flows as the adapter ``flow``: what is routed to ``flow/NAME`` is an event, what a flow sends comes from ``flow/NAME``.

So events have the order by key, the retries and the dead letters every delivery has, and what is sent has them as well.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from pydantic import BaseModel

from hub.api import Adapter, Bound, IntakePort, Outgoing, Receiver, Reply, Sender
from hub.errors import UnreachableError
from hub.i18n import t

__all__ = ["FlowAdapter", "NoOptions", "Takes"]


class Takes(Protocol):
    """What flows need of the service."""

    async def take(self, flow: str, outgoing: Outgoing) -> str:
        """Let a flow have a message; returns what became of it. Raises :class:`~hub.errors.SendError`."""

    def status(self, flow: str) -> dict[str, Any]: ...


class NoOptions(BaseModel):
    """There is nothing to say of the connection."""

    model_config = {"extra": "forbid"}


class FlowAdapter(Adapter):
    """``service`` is None in a worker that does not own the flows."""

    name: ClassVar[str] = "flow"
    listen_options: ClassVar[type[BaseModel] | None] = NoOptions
    connect_options: ClassVar[type[BaseModel] | None] = NoOptions

    def __init__(self) -> None:
        self.service: Takes | None = None

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        return _Source(self, bound.interface_id)

    def sender(self, bound: Bound) -> Sender:
        return _Events(self, bound.interface_id)


class _Source(Receiver):
    """The interface of what a flow sends; nothing listens."""

    def __init__(self, adapter: FlowAdapter, flow: str) -> None:
        self._adapter = adapter
        self._flow = flow

    async def start(self) -> None:
        return

    async def stop(self, grace: float) -> None:
        return

    def status(self) -> dict[str, Any]:
        service = self._adapter.service
        return {"instances": service.status(self._flow)} if service is not None else {}


class _Events(Sender):
    def __init__(self, adapter: FlowAdapter, flow: str) -> None:
        self._adapter = adapter
        self._flow = flow

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        return

    async def send(self, outgoing: Outgoing) -> Reply:
        service = self._adapter.service
        if service is None:
            raise UnreachableError(t("flows run in another worker", "流程在其他工作进程中运行"), code="flow.worker")
        return Reply(ok=True, code=await service.take(self._flow, outgoing))

    async def probe(self) -> str:
        if self._adapter.service is None:
            raise UnreachableError(t("flows run in another worker", "流程在其他工作进程中运行"), code="flow.worker")
        return t("runs", "运行中")
