"""The receiving side of the ASTM adapter: what analysers send, and the answers to their queries."""

from __future__ import annotations

import asyncio
import ssl
from functools import partial
from hashlib import blake2b
from typing import Any, ClassVar

from adapters.streams.listener import StreamReceiver
from adapters.tcp.astm_line import Line
from adapters.tcp.astm_options import AstmListen, Dial
from adapters.tls import client_context
from hub.api import Bound, HubError, IntakePort, Receipt, Receiver, SendError, StoreBusy, UnreachableError
from hub.i18n import t
from hub.logs import get_logger
from hub.masking import mask_text
from hub.tasks import end

__all__ = ["AstmQueries", "AstmReceiver", "Registry"]

log = get_logger(__name__)

#: Longest wait until an answer to a query is through, seconds; after that the analyser asks again.
_ANSWER = 60.0


class Registry:
    """The interfaces of this process that share a connection, by system and interface."""

    def __init__(self) -> None:
        self.receivers: dict[tuple[str, str], AstmReceiver] = {}
        self.queries: dict[tuple[str, str], AstmQueries] = {}


class AstmQueries(Receiver):
    """An interface that takes the queries (records Q) which come over the connection of another one."""

    def __init__(self, bound: Bound, intake: IntakePort, options: AstmListen, registry: Registry) -> None:
        self.bound = bound
        self.intake = intake
        self._key = (bound.system, options.queries_of)
        self._registry = registry

    async def start(self) -> None:
        self._registry.queries[self._key] = self

    async def stop(self, grace: float) -> None:
        if self._registry.queries.get(self._key) is self:
            del self._registry.queries[self._key]

    async def probe(self) -> str:
        receiver = self._registry.receivers.get(self._key)
        if receiver is None:
            raise not_here(*self._key)
        return await receiver.probe()


class AstmReceiver(StreamReceiver):
    """Listens for analysers, or keeps a connection to one, for one interface."""

    protocol: ClassVar[str] = "astm"

    def __init__(self, bound: Bound, intake: IntakePort, options: AstmListen, registry: Registry) -> None:
        super().__init__(bound, intake, options)
        self.options = options
        self._registry = registry
        self._key = (bound.system, bound.interface_id)
        self._max_size = bound.contract.max_size or options.max_size
        self._lines: list[Line] = []  # the newest one last
        self._dialing: asyncio.Task[None] | None = None
        self._failure = ""  # why the analyser can't be connected to
        self._answers: set[asyncio.Task[None]] = set()
        self.unfinished_count = self.answered = self.unanswered = 0

    # -- Receiver ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        dial = self.options.dial
        if dial is None:
            await super().start()
        else:
            context = client_context(dial.tls) if dial.tls else None
            self._stopping = False
            self._tick()
            self._dialing = asyncio.create_task(self._keep_connected(dial, context))
        self._registry.receivers[self._key] = self

    async def stop(self, grace: float) -> None:
        if self._registry.receivers.get(self._key) is self:
            del self._registry.receivers[self._key]
        await super().stop(grace)
        task, self._dialing = self._dialing, None
        if task is not None:
            self._stopping = True
            await end(task)
            await self._end(grace)
        await end(*self._answers)

    def status(self) -> dict[str, Any]:
        dial = self.options.dial
        where = {"connects_to": f"{dial.host}:{dial.port}", "last_error": self._failure} if dial else {}
        return {
            **super().status(),
            **where,
            "peers": [f"{line.remote} {line.state.value}" for line in self._lines],
            "unfinished": self.unfinished_count,
            "queries_answered": self.answered,
            "queries_unanswered": self.unanswered,
        }

    async def probe(self) -> str:
        """That the analyser is there: a listener can only say whether it has connected."""
        if self._lines:
            return t(f"connected: {self._lines[-1].remote}", f"已连接：{self._lines[-1].remote}")
        if self.options.dial is not None:
            raise UnreachableError(
                self._failure or t("the analyser is not connected", "仪器未连接"), code="astm.unreachable"
            )
        return t("listening, no analyser is connected", "监听中，尚无仪器连接")

    def connection(self) -> Line:
        return Line(self.options, self, self._max_size)

    def no_frame(self, count: int) -> HubError:
        return HubError(t(f"{count} bytes outside frames", f"{count} 字节不在帧内"), code="astm.no_frame")

    def line(self) -> Line:
        """The newest connection, for what is sent to the analyser; raises :class:`UnreachableError`."""
        if not self._lines:
            raise UnreachableError(t("the analyser is not connected", "仪器未连接"), code="astm.unreachable")
        return self._lines[-1]

    # -- connecting --------------------------------------------------------------------------------------------

    async def _keep_connected(self, dial: Dial, context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        name = (dial.tls.server_name or dial.host) if dial.tls else None
        while True:
            try:
                async with asyncio.timeout(dial.connect_timeout):
                    _, line = await loop.create_connection(
                        self.connection, dial.host, dial.port, ssl=context, server_hostname=name
                    )
            except (OSError, TimeoutError) as error:
                reason = str(error) if isinstance(error, ssl.SSLError) else getattr(error, "strerror", "") or ""
                failure = t(f"can't connect to {dial.host}:{dial.port}", f"无法连接 {dial.host}:{dial.port}")
                failure = f"{failure}: {reason or type(error).__name__}"
                if failure != self._failure:  # once, not at every try
                    self._failure = failure
                    self.refuse(b"", HubError(failure, code="astm.unreachable"), f"{dial.host}:{dial.port}")
            else:
                self._failure = ""
                await line.gone.wait()
            await asyncio.sleep(dial.retry)

    # -- Owner -------------------------------------------------------------------------------------------------

    def opened(self, line: Line, address: str) -> bool:
        if self.options.dial is None:
            if not self.admit(line, address):
                return False
        else:
            self._connections.add(line)
        self._lines.append(line)
        return True

    def closed(self, line: Line) -> None:
        if line in self._lines:
            self._lines.remove(line)
        self.dismiss(line)

    def ready(self) -> bool:
        return not self._stopping and self.intake.ready()

    def unfinished(self, line: Line, text: bytes, reason: str) -> None:
        self.unfinished_count += 1
        error = HubError(
            t(f"the transmission was not finished: {reason}", f"传输未完成：{reason}"),
            code="astm.unfinished",
            remedy=t(
                "the analyser sends it again; if its messages never have a record L, set message: frame",
                "仪器会重新发送；如其消息没有 L 记录，请设置 message: frame",
            ),
        )
        self.refuse(text, error, line.remote)

    def take(self, line: Line, text: bytes, token: int) -> None:
        self.frames += 1
        queries = self._registry.queries.get(self._key) if _asks(text) else None
        bound, intake = (queries.bound, queries.intake) if queries else (self.bound, self.intake)
        if not intake.ready():
            line.verdict(token, "busy")
            return
        request = bound.contract.style == "request"
        # Analysers seldom number their messages: one that comes again for want of an ACK is recognised by its bytes. A query
        # asked again wants the answer of now.
        control_id = "" if request else blake2b(text, digest_size=16).hexdigest()
        intake.submit(
            bound, text, partial(self._done, line, text, token, request), remote=line.remote, control_id=control_id
        )

    def _done(self, line: Line, text: bytes, token: int, request: bool, receipt: Receipt) -> None:
        if receipt.accepted:
            line.verdict(token, "accepted")
            if request and receipt.reply:
                self._answer(line, receipt.reply)
            return
        if isinstance(receipt.error, StoreBusy):
            line.verdict(token, "busy")
        elif request and receipt.message_id:
            # The query is stored, but nobody could answer it: say so, or the analyser waits for nothing.
            line.verdict(token, "accepted")
            self._answer(line, _no_information(text))
        else:
            self.refused += 1
            line.verdict(token, "refused")

    # -- answers to queries ------------------------------------------------------------------------------------

    def _answer(self, line: Line, message: bytes) -> None:
        task = asyncio.create_task(self._send_answer(line, message))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _send_answer(self, line: Line, message: bytes) -> None:
        try:
            await line.send(message, _ANSWER)
            self.answered += 1
        except HubError as error:
            self.unanswered += 1
            log.warning("%s: a query could not be answered: %s", self.bound.place, mask_text(error.text))


def not_here(system: str, interface: str) -> SendError:
    return UnreachableError(
        t(
            f"the connection of {system}/{interface} is not in this process: give both systems the same worker",
            f"{system}/{interface} 的连接不在本进程：请为两个系统指定同一 worker",
        ),
        code="astm.line",
    )


def _asks(text: bytes) -> bool:
    """Whether a message has a record Q."""
    return b"\rQ" + text[1:2] in text


def _no_information(query: bytes) -> bytes:
    """The answer to a query that failed: a terminator that says so (E1394 L-3: Q, error in last request)."""
    field = query[1:2]
    return query[:5] + b"\r" + field.join((b"L", b"1", b"Q")) + b"\r"
