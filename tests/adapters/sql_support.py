"""What the tests of the SQL adapter share: an intake in memory that commits or dies as told, and one run of a receiver."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from adapters.polling import Run
from adapters.sql import SqlAdapter
from adapters.sql.connect import SqlConnect
from adapters.sql.listen import SqlListen
from adapters.sql.receiver import SqlReceiver
from adapters.sql.sender import SqlSender
from hub.api import Bound, HubError, IntakePort, Item, Outgoing, Receipt
from hub.codecs.json_codec import JsonCodec
from hub.contract import Interface
from hub.message import Outcome


class Died(BaseException):
    """The hub is gone in this moment."""


class Kept:
    """An intake that keeps messages and marks together, recognises repetitions, and can die before or after its commit."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.marks: dict[str, str] = {}
        self.runs: list[tuple[Mapping[str, str], HubError | None]] = []
        self.duplicates: list[str] = []
        self.refuse: set[str] = set()  # control ids
        self.die_before = -1  # page at which it dies, counted down
        self.die_after = -1
        self.pages = 0

    async def take(
        self, bound: Bound, items: Sequence[Item], *, mark: str | None = None, name: str = "", remote: str = ""
    ) -> list[Receipt]:
        if self.die_before == self.pages:
            raise Died
        self.pages += 1
        receipts = []
        known = {(item.control_id, item.raw) for item in self.items}
        for item in items:
            if item.control_id in self.refuse:
                receipts.append(Receipt(Outcome.REFUSED, error=HubError("bad")))
            elif (item.control_id, item.raw) in known:
                self.duplicates.append(item.control_id)
                receipts.append(Receipt(Outcome.DUPLICATE))
            else:
                self.items.append(item)
                receipts.append(Receipt(Outcome.OK))
        if mark is not None:
            self.marks[name] = mark
        if self.die_after == self.pages - 1:
            raise Died
        return receipts

    async def mark(self, bound: Bound, name: str = "") -> str:
        return self.marks.get(name, "")

    def note_run(self, bound: Bound, **what: Any) -> None:
        self.runs.append((what["params"], what["error"]))

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(item.raw) for item in self.items]

    @property
    def ids(self) -> list[str]:
        return [item.control_id for item in self.items]


def lite(path: Path, *statements: str) -> dict[str, Any]:
    """Run statements on a SQLite file; its ``database`` option."""
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.executescript(statement)
    connection.close()
    return {"product": "sqlite", "database": str(path)}


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def bound_in(contract: dict[str, Any] | None = None, **options: Any) -> Bound:
    interface = Interface.model_validate({"direction": "in", "adapter": "sql", "codec": "json", **(contract or {})})
    given = SqlListen.model_validate({"schedule": {"manual": True}, **options})
    return Bound("his/rows", "his", "rows", "his@1", interface, JsonCodec(), {}, given)


class Reader:
    """A receiver whose runs the test makes itself; ends with the ``async with`` block."""

    def __init__(self, intake: Kept, contract: dict[str, Any] | None = None, **options: Any) -> None:
        self.receiver = cast(
            SqlReceiver, SqlAdapter().receiver(bound_in(contract, **options), cast(IntakePort, intake))
        )

    async def __aenter__(self) -> Reader:
        await self.receiver.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.receiver.stop(5)

    async def run(self) -> Run:
        run = Run(time.time(), "manual")
        await self.receiver.read(run)
        return run


def sender(contract: dict[str, Any] | None = None, **options: Any) -> SqlSender:
    interface = Interface.model_validate({"direction": "out", "adapter": "sql", "codec": "json", **(contract or {})})
    given = SqlConnect.model_validate(options)
    return cast(
        SqlSender, SqlAdapter().sender(Bound("his/write", "his", "write", "his@1", interface, JsonCodec(), {}, given))
    )


def outgoing(body: Any, key: str = "k1", timeout: float = 10.0) -> Outgoing:
    raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    return Outgoing(raw, 1, key, "t", "c", 1, timeout)
