"""The kernel's public face: everything an adapter or a plugin may use, and nothing else.

Adapters implement :class:`Adapter`; plugins and packages contribute through the hooks in :mod:`hub.hookspecs`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pydantic import BaseModel

from hub.codecs.base import Codec
from hub.contract import Interface
from hub.errors import (
    CodecError,
    ExchangeError,
    HubError,
    PermanentError,
    Problem,
    SendError,
    StoreBusy,
    TransientError,
    UnreachableError,
)
from hub.hookspecs import hookimpl
from hub.i18n import t
from hub.masking import Confidential
from hub.message import Outcome
from hub.security import OpenedParams, Opening, Protection, Refused, Scheme, SchemeOptions, Wire
from hub.store.sealed_file import FileReader, FileWriter, sealed_size
from hub.store.sealing import file_sealer

if TYPE_CHECKING:
    from hub.callers.door import Callers
    from hub.checking.checks import Checks
    from hub.mapping import Context
    from hub.simulator.counterpart import Counterpart

__all__ = [
    "Adapter",
    "Bound",
    "Codec",
    "CodecError",
    "Confidential",
    "ExchangeError",
    "FileReader",
    "FileWriter",
    "HubError",
    "IntakePort",
    "Item",
    "OpenedParams",
    "Opening",
    "Outgoing",
    "PermanentError",
    "Problem",
    "Protection",
    "Receipt",
    "Receiver",
    "Refused",
    "Reply",
    "Scheme",
    "SchemeOptions",
    "SendError",
    "Sender",
    "StoreBusy",
    "TransientError",
    "UnreachableError",
    "Wire",
    "file_sealer",
    "hookimpl",
    "sealed_size",
]


@dataclass(slots=True)
class Bound:
    """An interface of a contract as deployed in one system: settings filled in, overrides applied."""

    place: str  # "system/interface"
    system: str
    interface_id: str
    plugin: str  # "id@version"
    contract: Interface
    codec: Codec
    settings: Mapping[str, Any]  # secrets resolved; never log
    options: BaseModel  # the adapter's own settings model, filled from ``listen`` or ``connect``
    reply_codec: Codec | None = None  # of the target's replies, where it is not ``codec``
    checks: Checks | None = None  # what ``validate`` of the contract asks for; None: nothing
    protection: Protection | None = None  # what ``security`` of the contract asks for; None: nothing
    data: Path = Path()  # the hub's data folder, for what an adapter keeps on disk
    callers: Callers | None = None  # given where :attr:`asks_caller`
    #: Of a target without ``order_by`` that knows the ordering key of messages in a codec by other means.
    order_key: Callable[[str], Callable[[Any, Context], str]] | None = None

    @property
    def asks_caller(self) -> bool:
        """Do its options (``asks_caller``; ``caller`` of a transport without headers) or its schemes want to know who calls?"""
        schemes = self.protection.schemes if self.protection is not None else ()
        wanted = getattr(self.options, "asks_caller", False) or getattr(self.options, "caller", False)
        return wanted is True or any(scheme.asks_caller for scheme in schemes)


@dataclass(slots=True)
class Receipt:
    """The hub's answer to a received message; the adapter says it in its protocol's words."""

    outcome: Outcome  # OK, DUPLICATE, CONFLICT: acknowledge. REFUSED, or anything else: don't.
    message_id: int = 0
    type: str = ""
    control_id: str = ""
    #: For a refusal: ``StoreBusy`` means "not now, try later", the rest "never". For an exchange that failed: ``ExchangeError``.
    error: HubError | None = None
    reply: bytes | None = None  # request style: the body of the answer; with an error that of the refusal
    reply_status: int = 0  # request style: HTTP status to answer with, 0 = the adapter's default
    #: What validation found, as ``Finding.as_dict``; with a refusal the reasons, with an acceptance what was noted.
    findings: Sequence[Mapping[str, str]] = ()

    @property
    def accepted(self) -> bool:
        return self.outcome in (Outcome.OK, Outcome.DUPLICATE, Outcome.CONFLICT) and self.error is None


@dataclass(slots=True)
class Item:
    """One message read from a source."""

    raw: bytes
    control_id: str = ""  # one the source has for it, by which a repetition is recognised
    params: Mapping[str, str] | None = None  # to the call log, masked by the adapter
    error: HubError | None = None  # why it is refused whatever is in it, e.g. a wrong signature


class IntakePort(Protocol):
    """Where adapters hand over what they receive."""

    def submit(
        self,
        bound: Bound,
        raw: bytes,
        done: Callable[[Receipt], None],
        *,
        remote: str = "",
        control_id: str = "",
        params: Mapping[str, str] | None = None,
    ) -> None:
        """Take in one message; called on the event loop, returns at once.

        ``done`` runs on the event loop exactly once: for ``event`` style after the message is committed with fsync, for
        ``request`` style after the exchange is complete and stored, or earlier with a refusal.
        ``control_id`` is one the transport carries (an ``Idempotency-Key`` header); the contract's expression wins.
        ``params`` is known to the contract's expressions and goes to the call log; masked by the caller, or :class:`Confidential`.
        """

    async def take(
        self, bound: Bound, items: Sequence[Item], *, mark: str | None = None, name: str = "", remote: str = ""
    ) -> list[Receipt]:
        """Take in what was read from a source, event style: all of it and ``mark`` in one commit, or nothing.

        ``mark`` says from where to go on, in the adapter's words; :meth:`mark` gives it back, also after a crash. What can't be
        accepted for its content gets a refusal of its own, is kept in the call log in the same commit, and does not stop
        the others. Raises :class:`StoreBusy`, and nothing was taken, when the store can't take it now: try again later.
        """

    async def mark(self, bound: Bound, name: str = "") -> str:
        """The ``mark`` of the last :meth:`take` with this ``name``; "" before the first."""

    async def check(
        self, bound: Bound, raw: bytes, *, params: Mapping[str, str] | None = None
    ) -> Sequence[Mapping[str, str]]:
        """What validation of the interface finds in these bytes, as ``Finding.as_dict``; nothing is stored or counted.

        Raises :class:`HubError` for bytes that can't be read, :class:`StoreBusy` when it can't be asked now.
        """

    def note_run(
        self,
        bound: Bound,
        *,
        started_us: int,
        params: Mapping[str, str],
        error: HubError | None = None,
        remote: str = "",
    ) -> None:
        """Record one run of reading a source in the call log: when, how much, why it failed."""

    def refuse(self, bound: Bound, raw: bytes, error: HubError, *, remote: str = "") -> None:
        """Record a call that the adapter itself refused (bad framing, too large, not authorised); never raises."""

    def ready(self) -> bool:
        """False while nothing can be accepted; adapters then stop reading (backpressure) or refuse politely."""


class Receiver(ABC):
    """A listening interface."""

    @abstractmethod
    async def start(self) -> None:
        """Begin to accept; raises :class:`HubError` with a remedy when it can't (port in use, bad certificate)."""

    @abstractmethod
    async def stop(self, grace: float) -> None:
        """Accept nothing more, let calls under way finish within ``grace`` seconds, close."""

    def status(self) -> dict[str, Any]:
        """Figures for the status page: address, open connections …"""
        return {}

    def run_now(self) -> None:
        """Read the source now, whatever the schedule says; returns at once."""
        raise HubError(
            t("this interface listens, there is nothing to start", "此接口为监听式，无需启动"), code="interface.listens"
        )

    async def probe(self) -> str:
        """Test without side effects that the source can be read; a short text, or a :class:`SendError` when it can't."""
        return t("listening", "监听中")


@dataclass(slots=True)
class Outgoing:
    """One call to make."""

    body: bytes
    delivery_id: int
    idempotency_key: str
    type: str
    control_id: str  # of the source message
    attempt: int
    timeout: float  # seconds
    variables: Mapping[str, Any] = field(default_factory=dict)  # for templates in ``connect`` (path parts, query)


@dataclass(slots=True)
class Reply:
    """The answer of a target. ``ok`` is the protocol's own verdict; the contract's rules may overrule it."""

    ok: bool
    body: bytes = b""
    status: int = 0  # HTTP status
    code: str = ""  # protocol code: "AA", "200"
    error: str = ""  # protocol error text, masked
    transient: bool = False  # when not ok: may the same bytes succeed later?
    unavailable: bool = False  # when not ok: the target says it is not in service (HTTP 503)
    retry_after: float = 0.0  # seconds the target asked for


class Sender(ABC):
    """A client of one target; pools its connections. Calls may overlap up to the contract's concurrency."""

    @abstractmethod
    async def start(self) -> None: ...

    @abstractmethod
    async def stop(self) -> None: ...

    @abstractmethod
    async def send(self, outgoing: Outgoing) -> Reply:
        """Make one call within ``outgoing.timeout`` seconds.

        Raises :class:`UnreachableError` when not a byte can have reached the target's application,
        :class:`TransientError` when the outcome is unknown or may change, :class:`PermanentError` when it can't.
        """

    @property
    def capacity(self) -> int:
        """Calls it can make at once; 0 = as many as it is given. More would only wait inside it, their timeout running."""
        return 0

    @abstractmethod
    async def probe(self) -> str:
        """Test the connection without side effects; returns a short text, raises :class:`SendError` when it fails."""

    def status(self) -> dict[str, Any]:
        return {}


class Adapter(ABC):
    """A transport: knows bytes and connections, nothing about business."""

    name: ClassVar[str]
    listen_options: ClassVar[type[BaseModel] | None] = None  # model of ``listen``; None: can't receive
    connect_options: ClassVar[type[BaseModel] | None] = None  # model of ``connect``; None: can't send
    #: What it receives it reads from a source: nobody waits there for an answer, so there is no request style.
    reads_source: ClassVar[bool] = False

    #: Nobody is at the other end: a clock, answers to calls made elsewhere, the hub's own books.
    alone: ClassVar[bool] = False

    #: Directions in which it applies ``Bound.protection`` itself, because it has headers and addresses to sign.
    protects: ClassVar[tuple[Literal["in", "out"], ...]] = ()
    #: Where it does not, the hub signs and encrypts around it, if its bodies are bytes it carries and does not look into.
    opaque: ClassVar[bool] = True
    #: What it receives may have waited for long, in a queue: when it was signed says nothing. Holds for every source as well.
    queued: ClassVar[bool] = False

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        raise HubError(f"adapter {self.name} can't receive")

    def sender(self, bound: Bound) -> Sender:
        raise HubError(f"adapter {self.name} can't send")

    def descriptions(self, options: BaseModel, address: str = "") -> Mapping[str, bytes]:
        """What tools of the other side read, by file name, as the receiver with these options serves it: a WSDL.

        ``address`` is where callers reach it; default: what the options say. Raises :class:`HubError` for a file that can't be read.
        """
        return {}

    def counterpart(self) -> Counterpart | None:
        """The other end of the transport, for simulators; None: there is none yet."""
        return None
