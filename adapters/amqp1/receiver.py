"""The receiving side of ``amqp1``: a link with credit, whose messages are accepted one by one, after their commit."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Coroutine
from functools import partial
from typing import Any, cast

from adapters.amqp1.errors import explain
from adapters.amqp1.link import connect, context_of
from adapters.amqp1.message import Incoming, encode, read
from adapters.amqp1.options import Amqp1Listen
from adapters.amqp1.outbox import Outbox
from adapters.amqp1.session import Session, Taken
from adapters.mq.envelope import error_headers, unexpected
from hub.api import Bound, HubError, IntakePort, Receipt, Receiver, SendError, StoreBusy, UnreachableError
from hub.i18n import t
from hub.logs import get_logger
from hub.masking import mask_text

__all__ = ["Amqp1Receiver"]

log = get_logger(__name__)

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 30.0
#: Longest wait until the broker has heard every outcome and parts with us.
_FAREWELL_S = 5.0
#: Longest wait until an answer or a parked message is accepted.
_ANSWER_S = 30.0
#: Why an answer is tried again; for every other reason who asked is gone.
_NOT_NOW = ("mq.unreachable", "mq.timeout", "mq.unconfirmed", "mq.login", "mq.certificate")


class Amqp1Receiver(Receiver):
    """One link; connects again for as long as it is not stopped."""

    def __init__(self, bound: Bound, intake: IntakePort) -> None:
        self._bound, self._intake = bound, intake
        self._options = options = cast(Amqp1Listen, bound.options)
        self._address = options.address
        self._request = bound.contract.style == "request"
        self._outbox: Outbox
        self._task: asyncio.Task[None] | None = None
        self._answers: set[asyncio.Task[None]] = set()
        self._session: Session | None = None
        self._stop = asyncio.Event()
        self._connected = False
        self._error: SendError | None = None
        self._taken = self._refused = self._left = self._connections = 0

    # -- hub.api.Receiver ----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to connect; a broker that is away is tried again until it comes. Raises for TLS files that can't be used."""
        context = context_of(self._options)
        self._outbox = Outbox(self._options, context, self._bound.place)
        self._task = asyncio.create_task(self._run(context), name=f"amqp1 {self._bound.place}")

    async def stop(self, grace: float) -> None:
        task, session = self._task, self._session
        if task is None:
            return
        self._stop.set()
        if session is not None:
            session.leave()
        done, _ = await asyncio.wait([task], timeout=grace)
        if not done:
            task.cancel()
            await asyncio.wait([task])
        await self._outbox.close()
        for answer in tuple(self._answers):
            answer.cancel()
        if self._session is not None:
            self._session.link.abort(ConnectionError("stopped"))
            self._session = None
        self._connected = False

    def status(self) -> dict[str, Any]:
        return {
            "broker": self._address,
            "source": self._options.source,
            "connected": self._connected,
            "error": mask_text(self._error.text) if self._error is not None else "",
            "connections": self._connections,
            "under_way": self._session.open if self._session is not None else 0,
            "taken": self._taken,
            "refused": self._refused,
            "left": self._left + (self._session.given_back if self._session is not None else 0),
        }

    async def probe(self) -> str:
        if self._error is not None:
            raise self._error
        if not self._connected:
            raise UnreachableError(
                t(f"{self._address}: not connected", f"{self._address}：未连接"), code="mq.unreachable"
            )
        name = self._options.source
        return t(f"reading {name} of {self._address}", f"正在读取 {self._address} 的 {name}")

    # -- connections ---------------------------------------------------------------------------------------------

    async def _run(self, context: ssl.SSLContext | None) -> None:
        pause = _FIRST_PAUSE_S
        while not self._stop.is_set():
            error: SendError | None = None
            try:
                session = await self._open(context)
                pause = _FIRST_PAUSE_S
                if await self._serve(session):
                    await self._until_ready()
                    continue
                error = self._explain(session.error) if session.error is not None else None
            except Exception as failed:
                error = failed if isinstance(failed, SendError) else unexpected(failed, self._bound.place)
            self._lost(error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stop.wait()
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    async def _open(self, context: ssl.SSLContext | None) -> Session:
        options = self._options
        link = await connect(options, context, options.max_buffered)
        session = Session(link, options, self._message)
        try:
            async with asyncio.timeout(options.connect_timeout):
                await session.begin()
        except Exception as error:
            await link.close(_FAREWELL_S)
            raise self._explain(error) from None
        self._session = session
        self._connections += 1
        self._connected, self._error = True, None
        if self._stop.is_set():
            session.leave()
        return session

    async def _serve(self, session: Session) -> bool:
        """Until the end of a connection; true where it ended because the hub is busy or stops."""
        try:
            await session.ended.wait()
            await session.wind_up()
        finally:
            self._connected = False
            self._left += session.given_back
            session.given_back = 0
            if session.link.connected:
                await session.link.close(_FAREWELL_S)
        return session.leaving and session.error is None

    def _explain(self, error: Exception) -> SendError:
        return explain(error, self._address)

    def _lost(self, error: SendError | None) -> None:
        if error is None or self._stop.is_set():
            return
        if self._error is None:  # once for each time it is away, not once for each try
            log.warning("%s: %s", self._bound.place, mask_text(error.text))
            self._intake.note_run(
                self._bound,
                started_us=int(time.time() * 1e6),
                params={"source": self._options.source},
                error=error,
                remote=self._address,
            )
        self._error = error

    async def _until_ready(self) -> None:
        pause = _FIRST_PAUSE_S
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stop.wait()
            if self._intake.ready():
                return
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    # -- messages ------------------------------------------------------------------------------------------------

    def _message(self, session: Session, taken: Taken, raw: bytes) -> None:
        try:
            if taken.size > self._options.max_size:
                limit = self._options.max_size
                raise HubError(t(f"the message is larger than {limit} bytes", f"消息超过 {limit} 字节"), code="mq.size")
            message = read(raw, self._options.source)
        except HubError as error:
            self._intake.refuse(self._bound, raw, error, remote=self._address)
            self._refused += 1
            session.reject(taken, error)
            return
        self._intake.submit(
            self._bound,
            message.body,
            partial(self._done, session, taken, message),
            remote=self._address,
            control_id=message.control_id,
            params=message.params,
        )

    def _done(self, session: Session, taken: Taken, message: Incoming, receipt: Receipt) -> None:
        reply_to = message.reply_to if self._request else ""
        if receipt.accepted:
            self._taken += 1
            if receipt.reply is not None and reply_to:
                self._then(self._answer(session, taken, message, receipt.reply, {}))
            else:
                session.accept(taken)
        elif isinstance(receipt.error, StoreBusy):
            if not session.leaving:
                log.warning("%s: the hub is busy, messages stay in the queue", self._bound.place)
            session.leave()
            session.give_back(taken)
        else:
            self._refused += 1
            if reply_to:
                self._then(self._answer(session, taken, message, receipt.reply or b"", error_headers(receipt.error)))
            elif self._options.refused == "park":
                self._then(self._park(session, taken, message, error_headers(receipt.error)))
            else:
                session.reject(taken, receipt.error)

    def _then(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _answer(
        self, session: Session, taken: Taken, message: Incoming, body: bytes, properties: dict[str, str]
    ) -> None:
        """Send the answer, and accept the request when the broker has it or never will."""
        correlation = message.correlation_id if message.correlation_id is not None else message.message_id
        try:
            payload = encode(
                body,
                correlation_id=correlation,
                properties=properties,
                content_type=self._bound.codec.content_type if body else "",
                to=message.reply_to,
            )
            await self._outbox.publish(message.reply_to, payload, _ANSWER_S)
        except Exception as failed:
            error = failed if isinstance(failed, SendError) else unexpected(failed, self._bound.place)
            log.warning("%s: an answer could not be sent: %s", self._bound.place, mask_text(error.text))
            if error.code in _NOT_NOW:
                session.error = session.error or error
                session.leave()
                session.give_back(taken)  # it comes again, is recognised, and answered as before
                return
        session.accept(taken)

    async def _park(self, session: Session, taken: Taken, message: Incoming, reason: dict[str, str]) -> None:
        target = self._options.park_target
        properties = reason | {"x-original-source": self._options.source}
        try:
            payload = encode(message.body, properties=properties, around=message.around)
            await self._outbox.publish(target, payload, _ANSWER_S)
        except Exception as failed:
            error = failed if isinstance(failed, SendError) else unexpected(failed, self._bound.place)
            log.warning("%s: can't be parked in %s: %s", self._bound.place, target, mask_text(error.text))
            session.error = session.error or error
            session.leave()
            session.give_back(taken)
            return
        session.accept(taken)
