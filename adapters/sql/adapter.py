"""The adapter ``sql``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.sql.connect import SqlConnect
from adapters.sql.listen import SqlListen
from hub.api import Adapter, Bound, IntakePort, Receiver, Sender

if TYPE_CHECKING:
    from hub.simulator.counterpart import Counterpart

__all__ = ["SqlAdapter"]


class SqlAdapter(Adapter):
    """Relational databases through SQLAlchemy Core; the products are in :mod:`adapters.sql.products`."""

    name = "sql"
    listen_options = SqlListen
    reads_source = True
    opaque = False
    connect_options = SqlConnect

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        from adapters.sql.receiver import SqlReceiver  # with SQLAlchemy, which takes a while to load

        return SqlReceiver(bound, intake)

    def sender(self, bound: Bound) -> Sender:
        from adapters.sql.sender import SqlSender

        return SqlSender(bound)

    def counterpart(self) -> Counterpart:
        from adapters.sql.counterpart import SqlCounterpart

        return SqlCounterpart()
