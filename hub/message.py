"""What arrived (message), its way to each target (delivery), each call made for it (call)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

__all__ = [
    "OPEN_STATES",
    "Answer",
    "Awaited",
    "Binding",
    "CallRecord",
    "CheckRecord",
    "CheckVerdict",
    "Delivery",
    "DeliveryState",
    "Direction",
    "Envelope",
    "Message",
    "Outcome",
]


class DeliveryState(IntEnum):
    """States of a delivery. The numbers are stored: never renumber."""

    PENDING = 0
    IN_FLIGHT = 1  # only ever in memory: after a crash the delivery is pending or retrying again
    RETRYING = 2
    DELIVERED = 3
    DEAD = 4
    HELD = 5
    SKIPPED = 6

    @property
    def word(self) -> str:
        return self.name.lower()


#: States in which a delivery still moves by itself.
OPEN_STATES = (DeliveryState.PENDING, DeliveryState.RETRYING)


class Direction(IntEnum):
    """Direction of a call, seen from the hub. Stored: never renumber."""

    IN = 0
    OUT = 1


class Outcome(IntEnum):
    """How a call ended. Stored: never renumber."""

    OK = 0  # out: delivered; in: accepted
    UNREACHABLE = 1  # the target could not be reached; not counted as a try
    TRANSIENT = 2
    PERMANENT = 3
    REJECTED = 4  # the target answered with a business error code
    DUPLICATE = 5  # in: same control id and bytes seen before; answered as the first time
    CONFLICT = 6  # in: same control id with other bytes
    REFUSED = 7  # in: not accepted (malformed, too large, unauthorised, hub busy)
    FAILED = 8  # out: the hub itself could not make the call (decode, mapping, encode)

    @property
    def word(self) -> str:
        return self.name.lower()


class CheckVerdict(IntEnum):
    """What the checks an interface asks for said of a message. Stored: never renumber."""

    CLEAN = 0  # nothing was found
    MARKED = 1  # something was found; the message goes on
    REFUSED = 2  # in: not accepted; out: not sent
    NOT_CHECKED = 3  # some check could not be made: too slow, too many at once, broken

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(slots=True)
class Envelope:
    """What routing and search need to know about a message, read without a full parse."""

    type: str
    control_id: str = ""
    keys: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Awaited:
    """That the target of a delivery answers later, by a message of its own that carries ``key``."""

    key: str
    place: str  # "system/interface" of the target
    delivery_id: int
    message_id: int
    at: int  # microseconds since the epoch at which the call began
    due: int = 0  # microseconds since the epoch from which on it is overdue; 0: never, -1: the call failed, nothing is promised
    answered: int = 0  # id of the first message that answered, 0 while there is none


@dataclass(slots=True)
class Answer:
    """That a message answers what was sent to one of ``places`` under ``key``."""

    key: str
    places: list[str]  # "system/interface" of targets
    waiting: bool  # to be routed once it is known, or given up, what it answers
    message_id: int = 0  # of the answer itself
    request: int = 0  # id of the message it answers; 0: not known
    delivery: int = 0  # of these, the delivery that was awaiting it


@dataclass(slots=True)
class Binding:
    """What has become known of an answer; ``request`` 0: it goes on without."""

    answer: int  # id of the message that answers
    request: int = 0
    delivery: int = 0


@dataclass(slots=True)
class Message:
    """What arrived, byte for byte, with its envelope. Immutable once stored, except the decoded ``tree`` cache."""

    id: int
    received_at: int  # microseconds since the Unix epoch, UTC
    source: str  # "system/interface"
    type: str
    control_id: str
    raw: bytes
    keys: dict[str, str] = field(default_factory=dict)
    content_hash: bytes = b""
    remote: str = ""  # peer address, for the call log
    codec: str = ""
    correlation: str = ""  # of an answer to something sent: the number both sides know it by
    causation: int = 0  # id of the message it answers, or was made from; 0 when it came from outside by itself
    conflict: bool = False  # same control id as an earlier message, other bytes
    answer: Answer | None = None  # stored with the message; None for what is read from the store
    tree: Any = None  # decoded once, shared by every delivery; never stored
    #: The message it answers, or was made from, without its bytes; in memory only.
    request: Message | None = field(default=None, compare=False, repr=False)


@dataclass(slots=True)
class Delivery:
    """One message on its way to one target."""

    id: int
    message_id: int
    route: str  # route id; "" for one an operator made (forward, replay)
    target: str  # "system/interface"
    order_key: str = ""  # deliveries with the same key reach the target in id order; "" = unordered
    state: DeliveryState = DeliveryState.PENDING
    attempts: int = 0  # tries that counted against the retry policy
    next_at: int = 0  # microseconds since the epoch at which a retrying delivery is due
    step: str = ""  # step that failed last: decode, map, encode, validate, send, classify
    reason: str = ""
    parent: int = 0  # delivery this one was split from
    part: int = 0  # position within the parent, from 1
    parts: int = 0  # number of deliveries this one was split into (it is then SKIPPED and they carry on)
    payload: bytes | None = None  # fixed bytes to send instead of mapping the message (split parts, edited resends)
    updated_at: int = 0
    message: Message | None = None  # in memory only; loaded from the store when absent


@dataclass(slots=True)
class CheckRecord:
    """The report on one message as it is kept, with the call it belongs to."""

    verdict: CheckVerdict
    findings: list[dict[str, str]]  # as hub.validators.report.Finding.as_dict gives them; at most some dozens
    errors: int = 0  # of all findings, also those not kept
    warnings: int = 0
    score: float | None = None  # 0 … 100 by the quality rules; None: no rules were asked
    took_us: int = 0
    checks: str = ""  # validators with the hash of what they check by: "schema:a/b.json@1f2e3d, …"


@dataclass(slots=True)
class CallRecord:
    """One row of the call log: an attempt out, or a call in."""

    id: int
    at: int  # microseconds since the epoch at which the call began
    direction: Direction
    place: str  # "system/interface"
    outcome: Outcome
    message_id: int = 0
    delivery_id: int = 0
    attempt: int = 0
    code: str = ""  # business or protocol code of the reply: AA, 200, 1001
    error: str = ""  # masked, for people
    took_us: int = 0
    remote: str = ""
    params: str = ""  # JSON object: method, path, headers worth keeping; masked
    request: bytes | None = None  # what was sent (out) or refused (in); None when the message already holds it
    response: bytes | None = None
    mapping: str = ""  # "name@hash" of the mapping that made the request
    plugin: str = ""  # "id@version"
    check: CheckRecord | None = None  # what validation found in the bytes of this call; None: not asked for
    awaited: Awaited | None = None  # what the target will answer later; None for what is read from the store
