"""A registry in a folder, and time that a test moves."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hub.access import AccessDatabase
from hub.callers.door import Callers, Door
from hub.callers.issuing import CallerCredentials, Issued
from hub.callers.limits import AbuseRule
from hub.callers.orders import CallerOrders
from hub.callers.schema import SCHEMA
from hub.callers.sealing import Secrets
from hub.callers.traffic import Traffic

__all__ = ["EVERY", "Clock", "Registry", "Ring"]

EVERY = ("api_key", "bearer", "basic", "jwt", "oauth2", "mtls")
AUDIENCE = "hub.test"


class Ring:
    """Data keys without a key store."""

    def current(self) -> tuple[int, bytes]:
        return 1, b"\x07" * 32

    def get(self, version: int) -> bytes:
        return b"\x07" * 32


class Clock:
    """Now, plus what a test adds."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class Registry:
    """The writer and as many readers as a test wants, each with connections of its own as in processes of their own."""

    def __init__(self, folder: Path, abuse: AbuseRule = AbuseRule(5, 60.0, 600.0)) -> None:  # noqa: B008 - frozen
        self.folder = folder
        self.clock = Clock()
        self.abuse = abuse
        self.secrets = Secrets(folder, Ring)
        self.orders = CallerOrders(AccessDatabase(folder, [SCHEMA]), Traffic(folder), self.secrets, self.clock)
        self.credentials = CallerCredentials(self.orders)
        self.open: list[Callers] = []

    def callers(self) -> Callers:
        made = Callers(self.folder, self.secrets, audience=AUDIENCE, abuse=self.abuse, clock=self.clock)
        self.open.append(made)
        return made

    def door(self, place: str = "his/adt", accept: Sequence[str] = EVERY) -> Door:
        return self.callers().door(place, accept)

    def caller(self, name: str = "east", **order: Any) -> str:
        """An approved caller; may call everything of the system his."""
        given = {"id": name, "name": "East hospital", "kind": "institution", "places": ["his/*"], **order}
        self.orders.apply(given, "ann")
        self.orders.review(name, "bob", approve=True)
        return name

    def issue(self, kind: str = "api_key", caller: str = "east", **order: Any) -> Issued:
        return self.credentials.issue(caller, {"kind": kind, **order}, "bob")

    def close(self) -> None:
        for each in self.open:
            each.close()
        self.orders.traffic.close()
        self.orders.database.close()
