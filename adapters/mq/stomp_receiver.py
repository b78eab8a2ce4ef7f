"""The receiving side of ``stomp``: a subscription whose messages are acknowledged one by one, after their commit."""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial
from typing import Any, cast

from adapters.mq.envelope import control_of, error_headers, params_of, unexpected
from adapters.mq.stomp_frames import Frame
from adapters.mq.stomp_link import Refused, StompLink, connect, context_of, explain
from adapters.mq.stomp_options import StompListen
from hub.api import Bound, IntakePort, Receipt, Receiver, SendError, StoreBusy, UnreachableError
from hub.i18n import t
from hub.logs import get_logger
from hub.masking import mask_text

__all__ = ["StompReceiver"]

log = get_logger(__name__)

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 30.0
_FAREWELL_S = 2.0
#: Headers by which a repetition is recognised: that of a hub, the AMQP message id as RabbitMQ passes it on, the broker's own.
_CONTROL = ("idempotency-key", "amqp-message-id", "message-id")
#: Headers told as properties; the rest is told as ``header_<name>``.
_PROPERTIES = (
    "destination",
    "message-id",
    "correlation-id",
    "reply-to",
    "type",
    "content-type",
    "timestamp",
    "priority",
)
#: Headers of a connection, not of a message.
_TRANSIENT = frozenset(("subscription", "ack", "content-length", "receipt", "destination"))


class _Session:
    """One connection and the messages that came over it."""

    __slots__ = ("ended", "held", "left", "link", "number", "open", "paused", "subscribed", "waiting")

    def __init__(self, link: StompLink) -> None:
        self.link = link
        self.ended = asyncio.Event()  # lost, something left in the queue, or to be stopped
        self.left = False
        self.subscribed = False
        self.open: dict[str, int] = {}  # ack ids of messages not settled yet -> bytes
        self.held = 0
        self.paused = False
        self.number = 0
        self.waiting: dict[str, str] = {}  # receipt asked for -> ack id it allows to acknowledge


class StompReceiver(Receiver):
    """One subscription; connects again for as long as it is not stopped."""

    def __init__(self, bound: Bound, intake: IntakePort) -> None:
        self._bound, self._intake = bound, intake
        self._options = options = cast(StompListen, bound.options)
        self._address = options.address
        self._request = bound.contract.style == "request"
        self._task: asyncio.Task[None] | None = None
        self._session: _Session | None = None
        self._stop = asyncio.Event()
        self._settled = asyncio.Event()
        self._connected = False
        self._error: SendError | None = None
        self._taken = self._refused = self._left = self._connections = self._under_way = 0

    # -- hub.api.Receiver ----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to connect; a broker that is away is tried again until it comes. Raises for TLS files that can't be used."""
        context = context_of(self._options)
        self._task = asyncio.create_task(self._run(context), name=f"stomp {self._bound.place}")

    async def stop(self, grace: float) -> None:
        task, session = self._task, self._session
        if task is None:
            return
        self._stop.set()
        if session is not None:
            session.left = True
            session.ended.set()
        done, _ = await asyncio.wait([task], timeout=grace)
        if not done:
            task.cancel()
            await asyncio.wait([task])
        if self._session is not None:
            self._session.link.abort(ConnectionError("stopped"))
            self._session = None
        self._connected = False

    def status(self) -> dict[str, Any]:
        return {
            "broker": self._address,
            "destination": self._options.destination,
            "connected": self._connected,
            "error": mask_text(self._error.text) if self._error is not None else "",
            "connections": self._connections,
            "under_way": self._under_way,
            "taken": self._taken,
            "refused": self._refused,
            "left": self._left,
        }

    async def probe(self) -> str:
        if self._error is not None:
            raise self._error
        name = self._options.destination
        if not self._connected:
            raise UnreachableError(
                t(f"{self._address}: not connected", f"{self._address}：未连接"), code="mq.unreachable"
            )
        return t(f"subscribed to {name} of {self._address}", f"已订阅 {self._address} 的 {name}")

    # -- connections ---------------------------------------------------------------------------------------------

    async def _run(self, context: Any) -> None:
        pause = _FIRST_PAUSE_S
        while not self._stop.is_set():
            error: SendError | None = None
            session: _Session | None = None
            try:
                link = await connect(self._options, context, self._options.max_size)
                session = self._open(link)
                await session.ended.wait()
                if session.subscribed:
                    pause = _FIRST_PAUSE_S
                if session.left and link.connected:
                    await self._wind_up(session)
            except Exception as failed:
                error = failed if isinstance(failed, SendError) else unexpected(failed, self._bound.place)
            finally:
                if session is not None and session.link.connected:
                    await session.link.close(_FAREWELL_S)
            if session is not None and session.left:
                await self._until_ready()
                continue
            self._lost(error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stop.wait()
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    def _open(self, link: StompLink) -> _Session:
        self._session = session = _Session(link)
        link.on_frame = partial(self._frame, session)
        link.on_lost = partial(self._link_lost, session)
        link.write("SUBSCRIBE", {**self._options.subscription(), "receipt": "subscribed"})
        return session

    def _link_lost(self, session: _Session, error: Exception) -> None:
        if not session.ended.is_set():
            self._lost(explain(error, self._address))
        session.ended.set()
        self._settled.set()

    def _lost(self, error: SendError | None) -> None:
        self._connected = False
        if error is None or self._stop.is_set():
            return
        if self._error is None:  # once for each time it is away, not once for each try
            log.warning("%s: %s", self._bound.place, mask_text(error.text))
            self._intake.note_run(
                self._bound,
                started_us=int(time.time() * 1e6),
                params={"destination": self._options.destination},
                error=error,
                remote=self._address,
            )
        self._error = error

    async def _wind_up(self, session: _Session) -> None:
        """Wait for what is under way, so that it is acknowledged; what was left goes back when the connection closes."""
        while session.open and session.link.connected:
            self._settled.clear()
            await self._settled.wait()

    async def _until_ready(self) -> None:
        pause = _FIRST_PAUSE_S
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stop.wait()
            if self._intake.ready():
                return
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    # -- frames --------------------------------------------------------------------------------------------------

    def _frame(self, session: _Session, frame: Frame) -> None:
        if frame.command == "MESSAGE":
            self._message(session, frame)
        elif frame.command == "RECEIPT":
            number = frame.headers.get("receipt-id", "")
            if number == "subscribed":
                self._connections += 1
                session.subscribed = True
                self._connected, self._error = True, None
            elif (ack := session.waiting.pop(number, None)) is not None:
                self._close_one(session, ack, "ACK")
        elif frame.command == "ERROR":
            session.link.abort(Refused(frame))

    def _message(self, session: _Session, frame: Frame) -> None:
        headers = frame.headers
        ack = headers.get("ack") or headers.get("message-id", "")
        if session.left:
            self._left += 1
            return  # neither taken nor acknowledged: it goes back when the connection closes
        session.open[ack] = len(frame.body)
        session.held += len(frame.body)
        if session.held >= self._options.max_buffered and not session.paused:
            session.paused = True
            session.link.pause_reading()
        self._under_way += 1
        control_id = next((found for name in _CONTROL if (found := control_of(headers.get(name)))), "")
        known = {name.replace("-", "_"): headers.get(name) for name in _PROPERTIES}
        rest = [(name, value) for name, value in headers.items() if name not in _PROPERTIES and name not in _TRANSIENT]
        self._intake.submit(
            self._bound,
            frame.body,
            partial(self._done, session, ack, frame),
            remote=self._address,
            control_id=control_id,
            params=params_of(known, rest),
        )

    def _done(self, session: _Session, ack: str, frame: Frame, receipt: Receipt) -> None:
        self._under_way -= 1
        headers = frame.headers
        reply_to = headers.get("reply-to") if self._request else None
        if receipt.accepted:
            self._taken += 1
            if receipt.reply is not None and reply_to:
                self._then_ack(session, ack, reply_to, _correlation(headers), receipt.reply)
            else:
                self._close_one(session, ack, "ACK")
        elif isinstance(receipt.error, StoreBusy):
            self._left += 1
            if not session.left:
                log.warning("%s: the hub is busy, messages stay in the queue", self._bound.place)
            session.left = True
            session.ended.set()
            self._close_one(session, ack, "")
        else:
            self._refused += 1
            reason = error_headers(receipt.error)
            if reply_to:
                self._then_ack(session, ack, reply_to, _correlation(headers) | reason, receipt.reply or b"")
            elif self._options.refused == "park":
                kept = {name: value for name, value in headers.items() if name not in _TRANSIENT and name != "expires"}
                kept |= reason | {"x-original-destination": headers.get("destination", ""), "persistent": "true"}
                self._then_ack(session, ack, self._options.park_destination, kept, frame.body)
            else:
                self._close_one(session, ack, "NACK")

    def _then_ack(self, session: _Session, ack: str, destination: str, headers: dict[str, str], body: bytes) -> None:
        """Send, and acknowledge when the broker confirms."""
        session.number += 1
        number = f"r{session.number}"
        session.waiting[number] = ack
        own = {"destination": destination, "receipt": number, "content-length": str(len(body))}
        session.link.write("SEND", {**headers, **own}, body)

    def _close_one(self, session: _Session, ack: str, command: str) -> None:
        size = session.open.pop(ack, None)
        if size is None:
            return
        session.held -= size
        if command:
            session.link.write(command, {"id": ack})
        if session.paused and session.held < self._options.max_buffered:
            session.paused = False
            session.link.resume_reading()
        if not session.open:
            self._settled.set()


def _correlation(headers: dict[str, str]) -> dict[str, str]:
    found = headers.get("correlation-id") or headers.get("message-id")
    return {"correlation-id": found} if found else {}
