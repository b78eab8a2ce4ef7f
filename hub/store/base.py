"""What the hub asks of a store. The conformance suite ``tests/store/conformance.py`` is written against this module.

Two halves:

* :class:`Store` is the single writer of one worker. Its hot-path calls (``put``, ``finish``, ``log``) are plain functions
  called on the event loop: they queue work and return at once; ``done`` runs on the event loop after the
  commit that made the work durable (fsync included), in the order of the calls. Many calls share one commit.
* :class:`StoreReader` answers questions, never blocks the writer, and may be opened by another process while the hub
  runs (the command line does).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hub.errors import HubError
from hub.ids import IdGenerator
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

if TYPE_CHECKING:
    from hub.store.sealer import Sealer

__all__ = [
    "AwaitedQuery",
    "CallQuery",
    "Chain",
    "DeliveryQuery",
    "LedgerReport",
    "LedgerRow",
    "MessageQuery",
    "MessageRow",
    "PlaceQuality",
    "PruneReport",
    "Put",
    "PutResult",
    "ReportQuery",
    "SearchPage",
    "Store",
    "StoreReader",
]


@dataclass(slots=True)
class PutResult:
    """What became of a message handed to :meth:`Store.put`."""

    message: Message
    outcome: Outcome  # OK, DUPLICATE, CONFLICT (stored and flagged) or REFUSED (``error`` says why)
    earlier: int = 0  # id of the earlier message, for DUPLICATE and CONFLICT
    error: HubError | None = None


@dataclass(slots=True)
class Put:
    """One message of several that are stored together; see :meth:`Store.put` for what the parts mean."""

    message: Message
    deliveries: Sequence[Delivery] = ()
    duplicate_window_us: int = 0
    call: CallRecord | None = None


@dataclass(slots=True)
class MessageQuery:
    """A search for messages; every given condition must hold. Results come newest first."""

    since_ms: int = 0  # Unix milliseconds, inclusive
    until_ms: int = 0  # exclusive; 0 = open
    system: str = ""
    source: str = ""  # "system/interface"
    type: str = ""  # exact, or a prefix when it ends with *
    control_id: str = ""
    correlation: str = ""
    state: DeliveryState | None = None  # some delivery of the message is in this state
    target: str = ""  # some delivery of the message goes there ("system/interface" or "system")
    route: str = ""
    keys: dict[str, str] = field(default_factory=dict)  # business key -> value; names match by substring
    text: str = ""  # free text inside the payload; every word must occur
    conflict: bool | None = None
    before: int = 0  # only messages with a lower id (paging)
    limit: int = 50


@dataclass(slots=True)
class MessageRow:
    """One line of a search result; no payload."""

    id: int
    received_at: int
    source: str
    type: str
    control_id: str
    keys: dict[str, str]
    size: int
    conflict: bool
    causation: int
    correlation: str
    deliveries: list[tuple[str, DeliveryState]]  # (target, state)


@dataclass(slots=True)
class SearchPage:
    rows: list[MessageRow]
    more: bool  # there may be older matches: ask again with ``before`` = id of the last row
    text_lag: int = 0  # stored messages that free text can't find yet; business keys never lag


@dataclass(slots=True)
class DeliveryQuery:
    """A search for deliveries, newest first (``oldest_first`` turns it round)."""

    states: Sequence[DeliveryState] = ()
    target: str = ""  # "system/interface" or "system"
    route: str = ""
    since_ms: int = 0  # by the time the delivery was created
    until_ms: int = 0
    reason: str = ""  # substring
    before: int = 0
    after: int = 0
    oldest_first: bool = False
    limit: int = 50


@dataclass(slots=True)
class CallQuery:
    """A search in the call log, newest first."""

    place: str = ""  # "system/interface" or "system"
    direction: Direction | None = None
    outcomes: Sequence[Outcome] = ()
    since_ms: int = 0
    until_ms: int = 0
    before: int = 0
    limit: int = 50
    bodies: bool = False  # also load request and response bytes


@dataclass(slots=True)
class ReportQuery:
    """A search for the calls whose bytes were found wanting or could not be checked, newest first."""

    place: str = ""  # "system/interface" or "system"
    verdicts: Sequence[CheckVerdict] = ()
    rule: str = ""  # exact, or a prefix when it ends with *
    since_ms: int = 0
    until_ms: int = 0
    before: int = 0
    limit: int = 50


@dataclass(slots=True)
class AwaitedQuery:
    """A search for deliveries whose target has not answered yet, newest first."""

    target: str = ""  # "system/interface" or "system"
    due_before: int = 0  # only those due before this time, microseconds since the epoch; 0: all
    before: int = 0
    limit: int = 50


@dataclass(slots=True)
class Chain:
    """What a message answers, and what answers it."""

    answer: Answer | None = None
    awaited: list[Awaited] = field(default_factory=list)  # by its deliveries
    answered_by: list[Answer] = field(default_factory=list)


@dataclass(slots=True)
class PlaceQuality:
    """What the checks of one interface found in one day, counted from the stored reports."""

    place: str  # "system/interface"
    day: str  # 2026-11-28, Beijing time
    checked: int = 0  # messages with a report; those that could not be checked are not among them
    marked: int = 0  # of these, with findings, and accepted or sent
    failed: int = 0  # of these, with at least one error
    refused: int = 0  # of these, not accepted or not sent
    not_checked: int = 0
    scored: int = 0
    score: float = 0.0  # mean of those scored
    rules: dict[str, int] = field(default_factory=dict)  # rule -> messages it found something in
    fields: dict[str, int] = field(default_factory=dict)  # path -> messages that were asked for it
    filled: dict[str, int] = field(default_factory=dict)  # path -> of these, messages that have it
    delays: dict[str, int] = field(default_factory=dict)  # before, minute, hour, day, week, later -> messages


@dataclass(slots=True)
class LedgerRow:
    """Invariant 2 for one route and target: ``routed`` must equal the sum of the states."""

    route: str
    target: str
    routed: int  # deliveries the stored messages say were made for this route and target
    delivered: int = 0
    dead: int = 0
    held: int = 0
    skipped: int = 0
    moving: int = 0

    @property
    def balanced(self) -> bool:
        return self.routed == self.delivered + self.dead + self.held + self.skipped + self.moving


@dataclass(slots=True)
class LedgerReport:
    messages: int
    filtered: int  # messages that matched no route
    rows: list[LedgerRow]
    problems: list[str]  # empty when the ledger balances; each names the ids concerned
    waiting: int = 0  # answers that are routed once it is known what they answer

    @property
    def balanced(self) -> bool:
        return not self.problems and all(row.balanced for row in self.rows)


@dataclass(slots=True)
class PruneReport:
    messages: int
    bytes: int
    kept: int  # messages older than asked for that are kept because a delivery still needs them


class StoreReader(ABC):
    """Questions about what is stored. Safe to use while a writer, in this or another process, goes on writing."""

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def message(self, message_id: int) -> Message | None:
        """The message with its raw bytes."""

    @abstractmethod
    async def envelope(self, message_id: int) -> Message | None:
        """The message without its raw bytes."""

    @abstractmethod
    async def raw_part(self, message_id: int, at: int, count: int) -> bytes | None:
        """Up to ``count`` of the raw bytes of a message from ``at`` on, none at its end; None when there is no such message."""

    @abstractmethod
    async def delivery(self, delivery_id: int) -> Delivery | None:
        """The delivery with its message and, if it has one, its fixed payload."""

    @abstractmethod
    async def deliveries_of(self, message_id: int) -> list[Delivery]:
        """All deliveries of a message, oldest first, without message and payload."""

    @abstractmethod
    async def calls_of(self, message_id: int) -> list[CallRecord]:
        """The call log of a message and its deliveries, oldest first, bodies included."""

    @abstractmethod
    async def search(self, query: MessageQuery) -> SearchPage: ...

    @abstractmethod
    async def deliveries(self, query: DeliveryQuery) -> list[Delivery]:
        """Without message and payload."""

    @abstractmethod
    async def calls(self, query: CallQuery) -> list[CallRecord]: ...

    @abstractmethod
    async def reports(self, query: ReportQuery) -> list[CallRecord]:
        """Calls with their reports, without bodies; those with nothing found are left out."""

    @abstractmethod
    async def quality(self, since_ms: int, until_ms: int = 0, place: str = "") -> list[PlaceQuality]:
        """By place and day, for calls made from ``since_ms`` on; ``place`` is an interface or a system."""

    @abstractmethod
    async def awaited(self, places: Sequence[str], key: str) -> Awaited | None:
        """The delivery to one of these targets that is known by this key; of several the newest."""

    @abstractmethod
    async def unanswered(self, query: AwaitedQuery) -> list[Awaited]: ...

    @abstractmethod
    async def unanswered_counts(self, now_us: int) -> dict[str, tuple[int, int]]:
        """Target -> (deliveries whose answer is awaited, of these overdue)."""

    @abstractmethod
    async def chain(self, message_id: int) -> Chain: ...

    @abstractmethod
    async def open_answers(self, limit: int) -> list[Answer]:
        """Answers whose routes have not been asked yet, and the newest of which it is not known what they answer; oldest first."""

    @abstractmethod
    async def counts(self) -> dict[tuple[str, DeliveryState], int]:
        """Number of deliveries by target and state, delivered ones left out (they are counted by metrics)."""

    @abstractmethod
    async def verify_ledger(self, progress: Callable[[int, int], None] | None = None) -> LedgerReport:
        """Prove invariant 2 from the stored rows alone; ``progress(done, total)`` in messages."""

    @abstractmethod
    async def check(self, progress: Callable[[int, int], None] | None = None) -> list[str]:
        """A full integrity check of every file; the findings, empty when sound."""

    @abstractmethod
    async def size(self) -> dict[str, int]:
        """messages, bytes, segments, text_lag (messages not yet in the text index), key_lag, unsealed.

        The last: of an encrypted store, messages in segments that still hold plain rows, or may.
        """

    @abstractmethod
    async def mark(self, name: str) -> tuple[int, str]:
        """How far a source has been read, as :meth:`Store.put_together` noted it last: (id made then, value).

        (0, "") when it never did.
        """

    @abstractmethod
    async def audit(self, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """Entries of the audit trail with seq > after, oldest first."""


class Store(ABC):
    """The single writer of one worker."""

    ids: IdGenerator
    reader: StoreReader
    sealer: Sealer | None  # opens what is encrypted, also in the folders of other workers

    @abstractmethod
    async def open(self) -> None:
        """Open or create; migrate the schema; refuse with :class:`~hub.errors.StoreCorrupt` what is damaged."""

    @abstractmethod
    async def close(self) -> None:
        """Commit what is queued, then close. Nothing may be put afterwards."""

    # -- hot path ------------------------------------------------------------------------------------------------

    @abstractmethod
    def put(
        self,
        message: Message,
        deliveries: Sequence[Delivery],
        done: Callable[[PutResult], None],
        *,
        duplicate_window_us: int = 0,
        call: CallRecord | None = None,
    ) -> None:
        """Store a message and the deliveries routing made of it in one commit.

        With a ``control_id`` and a window, a message of the same source and control id received within the window
        makes this one a DUPLICATE (same ``content_hash``: nothing is stored) or a CONFLICT (other bytes: stored and
        flagged). ``call`` is the row of the call log for this receipt; its ``outcome``, ``message_id`` (the earlier message's for
        a duplicate) and ``took_us`` (up to the commit) are filled in here.
        ``done`` always runs, with ``outcome=REFUSED`` and an error when the commit failed.
        Raises :class:`~hub.errors.StoreBusy` at once, and calls nothing, when the queue is full or the disk is.
        """

    @abstractmethod
    def finish(self, delivery: Delivery, call: CallRecord | None, done: Callable[[], None] | None = None) -> None:
        """Record the present state of a delivery and the attempt that led to it.

        Never lost while the process lives: a failed commit is tried again until it succeeds (see :attr:`writable`).
        """

    @abstractmethod
    def log(self, call: CallRecord) -> None:
        """Append to the call log without waiting; dropped, and counted, when the store can't take it."""

    @abstractmethod
    def keep_report(self, message_id: int, call_id: int, place: str, check: CheckRecord) -> bool:
        """Keep what was found in a stored message, with the call that brought it; replaces an earlier report.

        Written with one of the next commits, without an answer; False, and nothing is kept, when the store can't take it.
        """

    @abstractmethod
    async def put_together(
        self,
        puts: Sequence[Put],
        *,
        calls: Sequence[CallRecord] = (),
        mark: tuple[str, str] | None = None,
        settled: Sequence[Delivery] = (),
    ) -> list[PutResult]:
        """Store several messages of one source, refusals among them, and how far the source has been read: all or nothing.

        ``mark`` is (name, value) for :meth:`StoreReader.mark`; a source that is read again from there loses nothing and
        repeats nothing. ``calls`` are refusals of what came with these messages. ``settled``: deliveries that have
        ended by this, whose present state is recorded. The results are in the order of ``puts``.
        Raises :class:`~hub.errors.HubError` (:class:`~hub.errors.StoreBusy` when it may succeed later), and nothing is stored then.
        """

    @property
    @abstractmethod
    def writable(self) -> bool:
        """False while commits fail (disk full, read-only): intake refuses and deliveries pause until True again."""

    @property
    @abstractmethod
    def queued(self) -> int:
        """Operations waiting for a commit."""

    # -- operators -----------------------------------------------------------------------------------------------

    @abstractmethod
    async def apply(
        self,
        *,
        messages: Sequence[Message] = (),
        create: Sequence[Delivery] = (),
        update: Sequence[Delivery] = (),
        calls: Sequence[CallRecord] = (),
        audit: dict[str, Any] | None = None,
        bindings: Sequence[Binding] = (),
    ) -> None:
        """Several changes and their audit entry as one unit: after a crash either all of them are there or none."""

    # -- feeding the queues --------------------------------------------------------------------------------------

    @abstractmethod
    async def open_targets(self) -> dict[str, int]:
        """Targets that have pending or retrying deliveries, with their number."""

    @abstractmethod
    async def open_deliveries(self, target: str, after: int, limit: int, max_bytes: int) -> list[Delivery]:
        """Pending and retrying deliveries of a target with id > after, in id order, messages (with raw bytes) included.

        Stops after ``limit`` deliveries or when ``max_bytes`` of raw bytes are loaded (always at least one).
        """

    @abstractmethod
    async def open_for_key(self, target: str, order_key: str, after: int, limit: int, max_bytes: int) -> list[Delivery]:
        """The same, for one ordering key only."""

    @abstractmethod
    async def open_children(self, target: str) -> list[Delivery]:
        """Pending and retrying parts of splits (``parent`` set), in id order, without messages.

        They go before everything else of their ordering key: their parent was taken before the deliveries that now have
        lower ids than they.
        """

    @abstractmethod
    async def reported(self) -> None:
        """Wait until the callbacks of everything that can be read by now have run.

        A commit can be read a moment before its callbacks run: who acts on what was read waits for them first, or it
        would be taken for news once more when they come.
        """

    # -- housekeeping --------------------------------------------------------------------------------------------

    @abstractmethod
    async def prune(self, before_ms: int, progress: Callable[[int, int], None] | None = None) -> PruneReport:
        """Remove what was received before a Unix time in ms, except what a delivery that is not final still needs."""
