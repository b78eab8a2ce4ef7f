"""Writing to a database: an outgoing body becomes rows, statements or a procedure call, in one transaction."""

from __future__ import annotations

import time
from typing import Any, cast

from sqlalchemy import Connection, select, text

from adapters.sql.connect import SqlConnect
from adapters.sql.database import SqlDatabase
from adapters.sql.errors import send_error
from adapters.sql.writer import AlreadyDelivered, Suspected, Writer
from hub.api import Bound, Outgoing, Reply, Sender, UnreachableError
from hub.i18n import t

__all__ = ["SqlSender"]

_ALREADY = b'{"rows":0,"already_delivered":true}'


class SqlSender(Sender):
    """Writes to one database."""

    def __init__(self, bound: Bound) -> None:
        self._options = options = cast(SqlConnect, bound.options)
        self._place = bound.place
        self._database = SqlDatabase(options.database, read_only=False)
        self._writer: Writer | None = None
        self._repeated = 0

    async def start(self) -> None:
        """Load the driver; connections are opened when the first calls come. Raises :class:`HubError`."""
        self._database.open()
        self._writer = Writer(self._options, self._database)

    async def stop(self) -> None:
        self._writer = None
        await self._database.close()

    async def send(self, outgoing: Outgoing) -> Reply:
        writer = self._writer
        if writer is None:
            raise UnreachableError(t(f"{self._place} is not started", f"{self._place} 尚未启动"), code="sql.stopped")

        def write(connection: Connection) -> bytes:
            return writer.write(connection, outgoing.body, outgoing.idempotency_key)

        started = time.monotonic()
        try:
            return Reply(True, await self._database.run(write, outgoing.timeout), code="ok")
        except AlreadyDelivered:
            pass
        except Suspected as error:
            suspected = error
            left = max(outgoing.timeout - (time.monotonic() - started), 0.1)
            there = await self._database.run(lambda connection: writer.was_written(connection, suspected), left)
            if not there:
                raise send_error(suspected.error, self._database.product, self._database.place) from None
        self._repeated += 1
        return Reply(True, _ALREADY, code="already delivered")

    @property
    def capacity(self) -> int:
        return self._options.database.connections

    async def probe(self) -> str:
        started = time.perf_counter()

        def look(connection: Connection) -> None:
            connection.execute(select(text("1"))).close()

        await self._database.run(look, self._options.database.connect_timeout * 2)
        took = (time.perf_counter() - started) * 1000
        place = self._database.place
        return t(f"connected to {place} in {took:.0f} ms", f"已连接 {place}，用时 {took:.0f} 毫秒")

    def status(self) -> dict[str, Any]:
        return {"target": self._database.place, "repeated": self._repeated} | self._database.status()
