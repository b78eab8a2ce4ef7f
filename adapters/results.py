"""An interface nobody calls: what comes in is what an interface of the same system was answered (``results`` of a contract)."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from hub.api import Adapter, Bound, IntakePort, Receiver

__all__ = ["ResultsAdapter", "ResultsListen"]


class ResultsListen(BaseModel):
    """``listen`` of the adapter ``results``; there is nothing to set."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Nobody(Receiver):
    async def start(self) -> None:
        return

    async def stop(self, grace: float) -> None:
        return

    def status(self) -> dict[str, Any]:
        return {"source": "results"}


class ResultsAdapter(Adapter):
    """Has no transport of its own."""

    name: ClassVar[str] = "results"
    listen_options: ClassVar[type[BaseModel] | None] = ResultsListen
    reads_source: ClassVar[bool] = True
    alone: ClassVar[bool] = True
    opaque: ClassVar[bool] = False

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        return _Nobody()
