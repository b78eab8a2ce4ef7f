"""Several changes that belong together, and their form in the catalog while they are made in more than one file."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import orjson

from hub.message import (
    Answer,
    Awaited,
    Binding,
    CallRecord,
    CheckRecord,
    CheckVerdict,
    Delivery,
    DeliveryState,
    Direction,
    Message,
    Outcome,
)
from hub.store.base import Put

__all__ = ["Change", "Part", "Together"]

_BYTES = {"raw", "content_hash", "payload", "request", "response"}
_IN_MEMORY = {"tree", "message"}
_NEWEST = 1 << 62  # an id that falls into the newest segment


@dataclass(slots=True)
class Together:
    """The arguments of :meth:`hub.store.base.Store.put_together`."""

    puts: Sequence[Put]
    calls: Sequence[CallRecord]
    marks: dict[str, str]  # by key of ``meta``
    settled: Sequence[Delivery] = ()

    @property
    def id(self) -> int:
        """Says which segment it belongs to; 0: the newest."""
        if self.puts:
            return self.puts[0].message.id
        return self.settled[0].id if self.settled else 0


@dataclass(slots=True)
class Part:
    """What of a change falls to one segment."""

    messages: list[Message] = field(default_factory=list)
    create: list[Delivery] = field(default_factory=list)
    update: list[Delivery] = field(default_factory=list)
    calls: list[CallRecord] = field(default_factory=list)
    noted: list[Delivery] = field(default_factory=list)  # created later for messages of this segment
    marks: dict[str, str] = field(default_factory=dict)
    bound: list[Binding] = field(default_factory=list)  # answers of this segment
    answered: list[Binding] = field(default_factory=list)  # deliveries of this segment


@dataclass(slots=True)
class Change:
    """The arguments of :meth:`hub.store.base.Store.apply`, copied: what the caller does to them later does not matter."""

    messages: list[Message]
    create: list[Delivery]
    update: list[Delivery]
    calls: list[CallRecord]
    audit: dict[str, Any] | None = None
    marks: dict[str, str] = field(default_factory=dict)  # go with the first message
    bindings: list[Binding] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        messages: Sequence[Message],
        create: Sequence[Delivery],
        update: Sequence[Delivery],
        calls: Sequence[CallRecord],
        audit: dict[str, Any] | None = None,
        marks: dict[str, str] | None = None,
        bindings: Sequence[Binding] = (),
    ) -> Change:
        return cls(
            [replace(message, tree=None, request=None) for message in messages],
            [replace(delivery, message=None) for delivery in create],
            [replace(delivery, message=None) for delivery in update],
            [replace(call) for call in calls],
            audit,
            marks or {},
            list(bindings),
        )

    def parts(self, segment_of: Callable[[int], int]) -> dict[int, Part]:
        """First id of each segment concerned -> its share; ``segment_of`` finds the segment of an id."""
        parts: dict[int, Part] = {}
        own = {message.id for message in self.messages}

        def part(row_id: int) -> Part:
            return parts.setdefault(segment_of(row_id), Part())

        for message in self.messages:
            part(message.id).messages.append(message)
        for delivery in self.create:
            part(delivery.id).create.append(delivery)
            if delivery.message_id not in own:
                part(delivery.message_id).noted.append(delivery)
        for delivery in self.update:
            part(delivery.id).update.append(delivery)
        for call in self.calls:
            part(call.delivery_id or call.message_id or call.id).calls.append(call)
        for binding in self.bindings:
            part(binding.answer).bound.append(binding)
            if binding.delivery:
                part(binding.delivery).answered.append(binding)
        if self.marks:
            part(self.messages[0].id if self.messages else _NEWEST).marks.update(self.marks)
        return parts

    def made_for(self, message: Message) -> list[Delivery]:
        """The deliveries this change makes for one of its own messages."""
        return [delivery for delivery in self.create if delivery.message_id == message.id]

    def encode(self) -> bytes:
        """The change without its audit entry."""
        kinds: dict[str, Sequence[Message | Delivery | CallRecord]] = {
            "messages": self.messages,
            "create": self.create,
            "update": self.update,
            "calls": self.calls,
        }
        rows = {kind: [_plain(row) for row in rows] for kind, rows in kinds.items()}
        return orjson.dumps(rows | {"marks": self.marks, "bindings": self.bindings})

    @classmethod
    def decode(cls, body: bytes) -> Change:
        """The reverse of :meth:`encode`."""
        found = orjson.loads(body)
        deliveries = {
            kind: [Delivery(**{**_rich(row), "state": DeliveryState(row["state"])}) for row in found[kind]]
            for kind in ("create", "update")
        }
        return cls(
            [Message(**{**_rich(row), "answer": _answer(row.get("answer"))}) for row in found["messages"]],
            deliveries["create"],
            deliveries["update"],
            [
                CallRecord(
                    **{
                        **_rich(row),
                        "direction": Direction(row["direction"]),
                        "outcome": Outcome(row["outcome"]),
                        "check": _check(row.get("check")),
                        "awaited": _awaited(row.get("awaited")),
                    }
                )
                for row in found["calls"]
            ],
            marks=found.get("marks", {}),
            bindings=[Binding(**row) for row in found.get("bindings", ())],
        )


def _check(values: dict[str, Any] | None) -> CheckRecord | None:
    return CheckRecord(**{**values, "verdict": CheckVerdict(values["verdict"])}) if values else None


def _answer(values: dict[str, Any] | None) -> Answer | None:
    return Answer(**values) if values else None


def _awaited(values: dict[str, Any] | None) -> Awaited | None:
    return Awaited(**values) if values else None


def _plain(row: Message | Delivery | CallRecord) -> dict[str, Any]:
    values = {f.name: getattr(row, f.name) for f in fields(row) if f.name not in _IN_MEMORY}
    for name in _BYTES & values.keys():
        if values[name] is not None:
            values[name] = b64encode(values[name]).decode()
    return values


def _rich(values: dict[str, Any]) -> dict[str, Any]:
    for name in _BYTES & values.keys():
        if values[name] is not None:
            values[name] = b64decode(values[name])
    return values
