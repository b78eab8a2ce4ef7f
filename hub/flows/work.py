"""What the keeper of flows is given to do, and what became of it. Plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hub.errors import HubError
from hub.flows.events import Event, Settled, Tick

__all__ = ["Accepted", "Fate", "Incoming", "Order", "Told", "Work"]


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message for a flow. ``decode`` reads bytes that were kept; ``answers``: control id of the flow's own message it answers."""

    flow: str
    place: str
    type: str
    message_id: int
    raw: bytes
    tree: Any
    answers: str = ""
    part: int = 0  # of a message that its route's mapping split, from 1


@dataclass(frozen=True, slots=True)
class Accepted:
    """A message of the outbox is one of the hub now."""

    seq: int
    message_id: int


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a message that was sent."""

    settled: Settled


@dataclass(frozen=True, slots=True)
class Order:
    """What a person wants."""

    instance: int
    event: Event


Work = Incoming | Accepted | Fate | Order | Tick


@dataclass(slots=True)
class Told:
    """What became of a piece of work."""

    verdict: str = ""
    instance: int = 0
    error: HubError | None = None
