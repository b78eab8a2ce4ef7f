"""A book of entries from several sides, compared day by day: three-way reconciliation (004:8112, 8128). Sends only."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel

from adapters.reconcile.options import ReconcileConnect
from adapters.reconcile.sender import ReconcileSender
from hub.api import Adapter, Bound, Sender

__all__ = ["ReconcileAdapter"]


class ReconcileAdapter(Adapter):
    """What is delivered to it is kept in a book, or asks for a comparison, whose report is the reply."""

    name: ClassVar[str] = "reconcile"
    connect_options: ClassVar[type[BaseModel] | None] = ReconcileConnect
    alone: ClassVar[bool] = True
    protects: ClassVar[tuple[Literal["in", "out"], ...]] = ()
    opaque: ClassVar[bool] = False

    def sender(self, bound: Bound) -> Sender:
        return ReconcileSender(bound)
