"""What happens to an instance, and what follows: events in, commands out. Plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hub.flows.state import Instance

__all__ = ["Arrived", "Cancelled", "Completed", "Document", "Note", "Outcome", "Retried", "Sending", "Settled", "Tick"]


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message came in. ``pack`` is what is kept when it comes before it is waited for; ``answers``: control id of what it answers."""

    event: str
    place: str
    type: str
    message_id: int
    tree: Any
    pack: dict[str, Any] = field(default_factory=dict)
    answers: str = ""


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a message the flow has sent. ``unknown``: it is not delivered, and yet may have had its effect."""

    sent: str
    delivered: bool
    code: str = ""
    text: str = ""
    status: int = 0
    tree: Any = None  # of the reply
    unknown: bool = False
    broken: str = ""  # why the reply can't be read


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A person has decided."""

    step: str
    choice: str
    fields: dict[str, Any]
    actor: str


@dataclass(frozen=True, slots=True)
class Retried:
    """A person lets a held step be tried again, or leaves it out."""

    step: str  # "": the one that is held
    actor: str
    skip: bool = False


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A person breaks the flow off; what was done is undone."""

    actor: str
    reason: str = ""


Event = Arrived | Settled | Tick | Completed | Retried | Cancelled


@dataclass(frozen=True, slots=True)
class Sending:
    """A message to send; the same control id is never sent with two effects."""

    control_id: str
    step: str
    undo: bool
    target: str
    type: str
    route: str
    body: bytes  # JSON


@dataclass(frozen=True, slots=True)
class Note:
    """A line of the history."""

    what: str
    step: str = ""
    text: str = ""
    message_id: int = 0


@dataclass(frozen=True, slots=True)
class Document:
    """A new version of a document."""

    name: str
    version: int
    data: Any
    message_id: int


@dataclass(slots=True)
class Outcome:
    """What follows from an event. ``verdict``: started, taken, kept, ignored, done."""

    instance: Instance
    verdict: str = "ignored"
    sendings: list[Sending] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
