"""Sending mails: pooled connections, and what the answers of a server mean."""

from __future__ import annotations

import asyncio
import contextlib
import json
import smtplib
import ssl
import time
from typing import Any, cast

from adapters.mail.compose import Composer, Mail
from adapters.mail.connection import Threads, connect, lost, overdue, unreachable
from adapters.mail.options import MailConnect
from adapters.mail.smtp import Delivered, Refused, SmtpSession
from adapters.tls import client_context
from hub.api import Bound, Outgoing, PermanentError, Reply, Sender, SendError, TransientError, UnreachableError
from hub.i18n import t
from hub.masking import mask_text

__all__ = ["MailSender"]

#: An idle connection is asked whether it is alive after so long, seconds.
_ASK_AFTER = 5.0
#: Codes that ask for a login, or for another one (RFC 4954 section 6).
_LOGIN_CODES = (530, 534, 535, 538)


class MailSender(Sender):
    """One SMTP server."""

    def __init__(self, bound: Bound) -> None:
        self._options = options = cast(MailConnect, bound.options)
        self._composer = Composer(options)
        self._address = f"{options.host}:{options.at_port}"
        self._threads = Threads(options.connections, bound.place)
        self._context: ssl.SSLContext | None = None
        self._room = asyncio.Semaphore(options.connections)
        self._idle: list[tuple[float, SmtpSession]] = []
        self._busy: set[SmtpSession] = set()
        self._stopped = False
        self._sent = self._failures = 0

    async def start(self) -> None:
        if self._options.encryption != "none":
            self._context = client_context(self._options.tls)

    async def stop(self) -> None:
        self._stopped = True
        for _, session in self._idle:
            session.close()
        self._idle.clear()
        for session in self._busy:
            session.wire.abort()  # its thread ends, and who waits for that closes it
        self._threads.close()

    @property
    def capacity(self) -> int:
        return self._options.connections

    def status(self) -> dict[str, Any]:
        return {
            "target": self._address,
            "connections": len(self._idle) + len(self._busy),
            "sent": self._sent,
            "failures": self._failures,
        }

    async def probe(self) -> str:
        started = time.perf_counter()
        session = await self._open()
        self._discard(session)
        took = (time.perf_counter() - started) * 1000
        return t(f"logged in to {self._address} in {took:.0f} ms", f"已登录 {self._address}，用时 {took:.0f} 毫秒")

    async def send(self, outgoing: Outgoing) -> Reply:
        if self._stopped:
            raise self._stopping()
        connected = False
        session: SmtpSession | None = None
        try:
            async with asyncio.timeout(outgoing.timeout), self._room:
                mail = await self._threads.run(None, lambda: self._composer.compose(outgoing), outgoing.timeout)
                session, fresh = await self._session()
                connected = True
                try:
                    return await self._deliver(session, mail, outgoing.timeout)
                except (smtplib.SMTPException, OSError):
                    if fresh or session.content:
                        raise
                # A connection that was idle and is gone: no mail can have been sent over it.
                self._discard(session)
                session = await self._open()
                return await self._deliver(session, mail, outgoing.timeout)
        except TimeoutError:
            self._failures += 1
            text = overdue(self._address, outgoing.timeout)
            if connected:
                raise TransientError(text, code="mail.timeout") from None
            raise UnreachableError(text, code="mail.timeout") from None
        except (smtplib.SMTPException, OSError) as error:
            self._failures += 1
            raise lost(self._address) from error
        except SendError:
            self._failures += 1
            raise
        finally:
            if session in self._busy:
                self._discard(session)

    async def _deliver(self, session: SmtpSession, mail: Mail, seconds: float) -> Reply:
        """The connection goes back to the pool after any answer; after an exception it does not."""
        options = self._options

        def call() -> Delivered | Refused:
            try:
                return session.deliver(options.sender, mail.recipients, mail.data, options.partial, seconds)
            except Refused as refusal:
                return refusal

        found = await self._threads.run(session.wire, call, seconds)
        if isinstance(found, Refused) and found.code in (421, *_LOGIN_CODES):
            self._discard(session)
        elif isinstance(found, Delivered) or await self._threads.run(session.wire, session.reset, seconds):
            self._give_back(session)
        if isinstance(found, Delivered):
            self._sent += 1
            return Reply(ok=True, code=str(found.code), body=_told(found.accepted, found.refused))
        self._failures += 1
        if found.step == "size":
            text = t("the mail is larger than the server takes", "邮件超过服务器允许的大小")
            raise PermanentError(text, code="mail.size")
        if found.code in _LOGIN_CODES:
            raise self._opening_failed(Refused("login", found.code, found.text))
        return Reply(
            ok=False,
            code=str(found.code),
            error=_masked(found.text),
            transient=400 <= found.code < 500,
            unavailable=found.code == 421,
            body=_told(0, found.refused) if found.refused else b"",
        )

    # -- connections -------------------------------------------------------------------------------------------------

    async def _session(self) -> tuple[SmtpSession, bool]:
        """A connection, and whether it is a new one."""
        while self._idle:
            since, session = self._idle.pop()
            self._busy.add(session)
            idle = time.monotonic() - since
            try:
                if idle < _ASK_AFTER or (
                    idle < self._options.idle_timeout
                    and await self._threads.run(session.wire, session.alive, self._options.connect_timeout)
                ):
                    return session, False
            except BaseException:
                self._discard(session)
                raise
            self._discard(session)
        return await self._open(), True

    async def _open(self) -> SmtpSession:
        options = self._options
        if self._stopped:
            raise self._stopping()
        if self._context is None:
            await self.start()
        session: SmtpSession | None = None
        try:
            async with asyncio.timeout(options.connect_timeout):
                wire = await connect(options, options.at_port)
                session = SmtpSession(wire, options, self._context)
                self._busy.add(session)
                await self._threads.run(wire, session.greet, options.connect_timeout)
                return session
        except BaseException as error:
            if session is not None:
                self._discard(session)
            if isinstance(error, TimeoutError):
                text = overdue(self._address, options.connect_timeout)
                raise UnreachableError(text, code="mail.unreachable") from None
            if isinstance(error, Refused):
                raise self._opening_failed(error) from None
            if isinstance(error, ssl.SSLError | OSError | smtplib.SMTPException):
                raise unreachable(self._address, error) from error
            raise

    def _stopping(self) -> UnreachableError:
        return UnreachableError(t("the hub is stopping", "平台正在停止"), code="mail.stopped")

    def _opening_failed(self, refusal: Refused) -> UnreachableError:
        told = f"{refusal.code} {_masked(refusal.text)}"
        if refusal.step == "login":
            text = t(f"{self._address}: login refused: {told}", f"{self._address}：登录被拒绝：{told}")
            return UnreachableError(text, code="mail.login")
        if refusal.step == "tls":
            text = t(f"{self._address} offers no STARTTLS: {told}", f"{self._address} 不支持 STARTTLS：{told}")
            return UnreachableError(text, code="mail.tls")
        return unreachable(self._address, told)

    def _give_back(self, session: SmtpSession) -> None:
        self._busy.discard(session)
        if self._stopped:
            session.close()
        else:
            self._idle.append((time.monotonic(), session))

    def _discard(self, session: SmtpSession | None) -> None:
        if session is not None:
            self._busy.discard(session)
            with contextlib.suppress(OSError):
                session.close()


def _masked(text: bytes) -> str:
    return mask_text(text.decode("utf-8", "replace")[:300].replace("\n", " "))


def _told(accepted: int, refused: Any) -> bytes:
    """For the contract's rules and the call log: which recipients were refused, by their number, no addresses."""
    return json.dumps(
        {"accepted": accepted, "refused": [{"recipient": number, "code": code} for number, code in refused]}
    ).encode()
