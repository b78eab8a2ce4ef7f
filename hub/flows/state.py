"""What is known of one instance of a flow, as it is stored; times are microseconds since the Unix epoch, UTC."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from decimal import Decimal
from typing import Any

from hub.codecs.json_codec import JsonCodec

__all__ = ["OPEN", "WAITING", "Closing", "Instance", "Record", "Undo", "plain"]

_JSON = JsonCodec()

#: States in which something may still happen by itself or by a person.
OPEN = ("running", "held", "compensating")
#: States of a step the instance is at.
WAITING = ("active", "held")


@dataclass(slots=True)
class Record:
    """The latest run of one step."""

    state: str = "active"  # active, done, skipped, failed, held, dropped, undone
    run: int = 1  # a step may be gone through several times
    tries: int = 0  # messages sent in this run
    since: int = 0
    ended: int = 0
    due: int = 0  # 0: nothing is timed
    timed: str = ""  # what happens then: timeout, retry, delay
    sent: str = ""  # control id of the message that is awaited, "" for none
    delivered: bool = False
    dead: bool = False  # what was sent is a dead letter: it has no effect any more unless somebody sends it again
    early: dict[str, Any] | None = None  # variables of a later answer that was there before the reply
    rounds: int = 0  # of repeat
    through: list[str] = field(default_factory=list)  # branches of parallel that are through
    code: str = ""
    text: str = ""  # why it failed, masked


@dataclass(slots=True)
class Undo:
    """A step that has an effect to be undone should the flow fail."""

    step: str
    run: int
    result: dict[str, Any] = field(default_factory=dict)  # what variables it set


@dataclass(slots=True)
class Closing:
    """The flow is being undone, and then ends."""

    state: str  # failed, cancelled, ended
    end: str
    reason: str
    step: str = ""  # which is being undone
    run: int = 0
    tries: int = 0
    sent: str = ""
    held: bool = False
    code: str = ""
    text: str = ""
    undone: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Instance:
    """One exchange. Never changed in place by the core: it works on a copy."""

    id: str
    flow: str
    version: str  # digest of the definition it runs by
    key: str
    started_at: int
    state: str = "running"  # running, held, compensating, ended, failed, cancelled
    end: str = ""
    reason: str = ""
    updated_at: int = 0
    ended_at: int = 0
    deadline: int = 0
    vars: dict[str, Any] = field(default_factory=dict)
    docs: dict[str, dict[str, Any]] = field(default_factory=dict)  # name -> version, data
    choices: dict[str, str] = field(default_factory=dict)
    error: dict[str, str] = field(default_factory=dict)
    at: dict[str, str] = field(default_factory=dict)  # list of steps -> the step it is at
    steps: dict[str, Record] = field(default_factory=dict)
    undo: list[Undo] = field(default_factory=list)
    strays: dict[str, str] = field(default_factory=dict)  # control id of what a dropped step has sent -> the step
    parked: list[dict[str, Any]] = field(default_factory=list)  # messages that came before they were waited for
    closing: Closing | None = None

    @property
    def open(self) -> bool:
        return self.state in OPEN

    @property
    def due(self) -> int:
        """When something is timed next; 0: nothing is."""
        if not self.open or self.closing is not None:
            return 0
        times = [r.due for r in self.steps.values() if r.due and r.state in WAITING]
        return min([*times, *([self.deadline] if self.deadline else [])], default=0)

    def awaited(self) -> set[str]:
        """Control ids of messages whose fate matters."""
        found = {r.sent for r in self.steps.values() if r.sent and r.state in WAITING}
        if self.closing is not None and self.closing.sent:
            found.add(self.closing.sent)
        return found | self.strays.keys()

    def dump(self) -> bytes:
        return _JSON.encode(asdict(self))

    @classmethod
    def load(cls, raw: bytes) -> Instance:
        data = _JSON.decode(raw)
        found = cls(**{f.name: data[f.name] for f in fields(cls) if f.name in data})
        found.steps = {name: Record(**record) for name, record in data["steps"].items()}
        found.undo = [Undo(**entry) for entry in data["undo"]]
        found.closing = Closing(**data["closing"]) if data.get("closing") else None
        return found


def plain(value: Any, depth: int = 64) -> Any:
    """A value as it is kept: what JSON has, amounts digit for digit, anything else as text."""
    if value is None or isinstance(value, bool | int | float | str | Decimal):
        return value
    if depth and isinstance(value, dict):
        return {str(key): plain(each, depth - 1) for key, each in value.items()}
    if depth and isinstance(value, list | tuple):
        return [plain(each, depth - 1) for each in value]
    return str(value)
