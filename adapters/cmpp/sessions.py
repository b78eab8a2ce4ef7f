"""The connections of one account: opened at the start, kept open, opened again; and a place in a window for whoever sends."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from adapters.cmpp.options import CmppAccount
from adapters.cmpp.pdu import BadPdu, Pdu
from adapters.cmpp.session import Refused, Session
from adapters.tls import client_context
from hub.api import SendError, UnreachableError
from hub.i18n import t
from hub.logs import get_logger
from hub.masking import mask_text

__all__ = ["Sessions"]

log = get_logger(__name__)

_FAREWELL_S = 2.0
#: A connection that lasted so long makes the next pause short again.
_STABLE_S = 30.0
#: Status of CONNECT_RESP.
_TOO_HIGH = 4


class Sessions:
    """``on_deliver`` gets every DELIVER of every connection."""

    def __init__(self, place: str, options: CmppAccount, on_deliver: Callable[[Session, Pdu], None]) -> None:
        self.options = options
        self.connects = 0
        self._place = place
        self._on_deliver = on_deliver
        self._context: ssl.SSLContext | None = None
        self._open: list[Session] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._error: SendError | None = None  # why there is no connection; None: not tried yet, or there is one
        self._version = 0x20 if options.version == "2.0" else 0x30

    async def start(self) -> None:
        """Begin to connect; raises for TLS files that can't be used."""
        options = self.options
        self._context = client_context(options.tls) if options.tls is not None else None
        self._tasks = [
            asyncio.create_task(self._keep(), name=f"cmpp {self._place} {number}")
            for number in range(options.connections)
        ]

    async def stop(self, seconds: float = _FAREWELL_S) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(session.close(seconds) for session in list(self._open)))
        self._error = self._stopped()
        self._wake(all_of_them=True)

    async def session(self) -> Session:
        """One that has room for a SUBMIT, the least busy; waits for it. Raises :class:`UnreachableError` when there is none."""
        while True:
            free = [session for session in self._open if session.room]
            if free:
                return min(free, key=lambda session: session.waiting)
            if self._error is not None and not self._open:
                raise self._again(self._error)
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            try:
                await future
            except asyncio.CancelledError:
                if future.done() and not future.cancelled():
                    self._wake()  # the room that was meant for this one
                raise
            finally:
                with contextlib.suppress(ValueError):
                    self._waiting.remove(future)

    async def probe(self) -> str:
        """A round trip of ACTIVE_TEST; no connection is opened for it, the gateway counts them."""
        session = next((session for session in self._open if session.open), None)
        if session is None:
            raise self._again(self._error or self._not_yet())
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self.options.connect_timeout):
                await session.active_test()
        except (TimeoutError, ConnectionError) as error:
            raise self._explain(error) from None
        took = (time.perf_counter() - started) * 1000
        return t(
            f"{self.options.address}: ACTIVE_TEST answered in {took:.0f} ms",
            f"{self.options.address}：ACTIVE_TEST {took:.0f} 毫秒内应答",
        )

    def status(self) -> dict[str, Any]:
        return {
            "gateway": self.options.address,
            "connections": len(self._open),
            "connects": self.connects,
            "version": ", ".join(sorted({f"{s.version >> 4}.{s.version & 15}" for s in self._open})),
            "unanswered": sum(session.waiting for session in self._open),
            "error": mask_text(self._error.text) if self._error is not None else "",
        }

    # -- keeping them open -----------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        options, loop = self.options, asyncio.get_running_loop()
        pause = options.pause
        while True:
            begun = loop.time()
            try:
                session = await self._connect()
            except Exception as error:
                if isinstance(error, Refused) and error.status == _TOO_HIGH and self._lower():
                    continue
                self._failed(error)
            else:
                self._error = None
                self.connects += 1
                self._wake(all_of_them=True)
                await session.gone.wait()
                if loop.time() - begun >= _STABLE_S:
                    pause = options.pause
            await asyncio.sleep(pause)
            pause = min(pause * 2, options.max_pause)

    async def _connect(self) -> Session:
        options = self.options
        session = Session(options, self._version)
        name = (options.tls.server_name or options.host) if options.tls is not None else None
        try:
            async with asyncio.timeout(options.connect_timeout):
                await asyncio.get_running_loop().create_connection(
                    lambda: session, options.host, options.port, ssl=self._context, server_hostname=name
                )
                # Set before the login ends: what comes in the same packet as CONNECT_RESP must not be lost.
                session.on_deliver, session.on_room = self._on_deliver, self._wake
                await session.log_in()
        except BaseException:
            session.abort(ConnectionError("login failed"))
            raise
        if session.gone.is_set():
            raise ConnectionError(t("the gateway closed the connection", "网关关闭了连接"))
        session.on_lost = self._lost
        self._open.append(session)
        return session

    def _lower(self) -> bool:
        """Whether there is a lower version to try."""
        if self.options.version != "auto" or self._version == 0x20:
            return False
        self._version = 0x20
        return True

    def _lost(self, session: Session, error: Exception) -> None:
        if session in self._open:
            self._open.remove(session)
        if not self._open:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        if self._open or not self._tasks:
            return  # a further connection, and those there are go on; or all are to end
        explained = self._explain(error)
        if self._error is None or self._error.text != explained.text:  # once, not at every try
            log.warning("%s: %s", self._place, mask_text(explained.text))
        self._error = explained
        self._wake(all_of_them=True)

    def _wake(self, *, all_of_them: bool = False) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                if not all_of_them:
                    return

    @staticmethod
    def _again(error: SendError) -> SendError:
        """A fresh one for each caller: an exception keeps the frames of everybody it was raised to."""
        return UnreachableError(error.text, code=error.code)

    def _not_yet(self) -> SendError:
        address = self.options.address
        return UnreachableError(t(f"{address}: not connected yet", f"{address}：尚未连接"), code="cmpp.unreachable")

    def _stopped(self) -> SendError:
        return UnreachableError(t(f"{self._place} is stopped", f"{self._place} 已停止"), code="cmpp.stopped")

    def _explain(self, error: Exception) -> SendError:
        """Why there is no connection; nothing has reached the gateway's application."""
        address = self.options.address
        if isinstance(error, Refused):
            text, remedy = _STATUS.get(
                error.status, (("another error", "其他错误"), ("ask the operator", "请询问运营商"))
            )
            code = "cmpp.login" if error.status in (2, 3) else "cmpp.connect"
            return UnreachableError(
                t(
                    f"{address} refuses CONNECT, status {error.status}: {text[0]} -> {remedy[0]}",
                    f"{address} 拒绝登录，状态 {error.status}：{text[1]} -> {remedy[1]}",
                ),
                code=code,
            )
        if isinstance(error, ssl.SSLCertVerificationError):
            why = error.verify_message
            return UnreachableError(
                t(
                    f"{address}: its certificate is not accepted: {why} -> check tls.ca and tls.server_name",
                    f"{address}：证书未通过校验：{why} -> 请检查 tls.ca 与 tls.server_name",
                ),
                code="cmpp.certificate",
            )
        if isinstance(error, BadPdu):
            return UnreachableError(
                t(f"{address} does not speak CMPP: {error}", f"{address} 不符合 CMPP：{error}"), code="cmpp.protocol"
            )
        if isinstance(error, TimeoutError):
            return UnreachableError(
                t(f"{address} does not answer in time", f"{address} 未在规定时间内应答"), code="cmpp.timeout"
            )
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return UnreachableError(t(f"{address}: {reason}", f"{address}：{reason}"), code="cmpp.unreachable")


#: Status of CONNECT_RESP: what it says, what to do (CMPP 3.0 8.4.1.2).
_STATUS = {
    1: (("wrong structure", "消息结构错"), ("check version", "请检查 version")),
    2: (
        ("illegal source address", "非法源地址"),
        ("check account, and that the gateway knows this machine's address", "请核对 account 及本机地址是否已报备"),
    ),
    3: (
        ("authentication failed", "认证错"),
        ("check password and the clock of this machine", "请核对 password 与本机时钟"),
    ),
    4: (("version too high", "版本太高"), ("set version: '2.0'", "请设置 version: '2.0'")),
    5: (
        ("another error", "其他错误"),
        ("ask the operator; often too many connections", "请询问运营商，常见为连接数超限"),
    ),
}
