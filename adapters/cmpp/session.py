"""One CMPP connection: CONNECT, requests and answers, ACTIVE_TEST, TERMINATE. Everything on the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import cast
from zoneinfo import ZoneInfo

from adapters.cmpp.options import CmppAccount
from adapters.cmpp.pdu import (
    RESPONSE,
    BadPdu,
    Command,
    ConnectReply,
    Pdu,
    PduReader,
    Submit,
    SubmitReply,
    authenticator,
    gateway_authentic,
    pack,
    pack_connect,
    pack_deliver_reply,
    pack_submit,
    read_connect_reply,
    read_submit_reply,
)
from hub.i18n import t

__all__ = ["Refused", "Session"]

#: Two connections that wait for the gateway must not have the numbers of each other.
_NUMBERS = 1 << 32
#: ACTIVE_TESTs whose answer is still looked for.
_MOST_TESTS = 16


class Refused(Exception):
    """CONNECT_RESP with another status than 0."""

    def __init__(self, status: int, version: int) -> None:
        super().__init__(str(status))
        self.status = status
        self.version = version


class Session(asyncio.Protocol):
    """``on_deliver`` gets every DELIVER as it came, ``on_lost`` the end, once; ``on_room`` that another SUBMIT may go."""

    def __init__(self, options: CmppAccount, version: int) -> None:
        self.version = version
        self.on_deliver: Callable[[Session, Pdu], None] = lambda session, pdu: None
        self.on_lost: Callable[[Session, Exception], None] = lambda session, error: None
        self.on_room: Callable[[], None] = lambda: None
        self.gone = asyncio.Event()
        self.open = False  # logged in, and neither side has said good-bye
        self.undone = 0  # DELIVERs taken that are not answered yet
        self.strange = 0  # PDUs that answer nothing, or that nobody knows
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = PduReader()
        self._sequence = secrets.randbelow(_NUMBERS)
        self._login: asyncio.Future[ConnectReply] = self._loop.create_future()
        self._submits: dict[
            int, tuple[asyncio.Future[SubmitReply], asyncio.TimerHandle, Callable[[SubmitReply], None]]
        ] = {}
        self._tests: dict[int, asyncio.Future[None]] = {}
        self._farewell: asyncio.Future[None] = self._loop.create_future()
        self._heard = self._loop.time()
        self._unheard = 0  # ACTIVE_TESTs in a row without an answer
        self._timer: asyncio.TimerHandle | None = None
        self._error: Exception | None = None
        self._drained = asyncio.Event()
        self._drained.set()
        self._full = False  # the peer does not read: nothing more is read from it, or answers would pile up
        self._held = False  # the owner wants nothing more just now
        self._admitted = False

    # -- what its owner does ---------------------------------------------------------------------------------------------

    @property
    def room(self) -> bool:
        """Whether another SUBMIT may go out now."""
        return self.open and not self._full and len(self._submits) < self._options.window

    @property
    def waiting(self) -> int:
        return len(self._submits)

    async def log_in(self) -> None:
        """Raises :class:`Refused`, ``ConnectionError`` or :class:`BadPdu`."""
        options = self._options
        secret = options.password.get_secret_value()
        stamp = datetime.now(ZoneInfo(options.zone)).strftime("%m%d%H%M%S")
        self._write(pack_connect(self._number(), options.account, secret, self.version, stamp))
        reply = await self._login
        if reply.status:
            raise Refused(reply.status, reply.version)
        digest = authenticator(options.account, secret, stamp)
        if options.verify_gateway and not gateway_authentic(reply, digest, secret):
            raise BadPdu(
                t(
                    "the gateway does not prove that it knows the password -> check host and password; "
                    "verify_gateway: false for gateways that can't",
                    "网关未能证明其知晓密码 -> 请核对 host 与 password；网关不支持时设置 verify_gateway: false",
                )
            )
        if reply.version < self.version:  # it says by its version what it will speak
            self.version = 0x20
        self.open = self._admitted = True
        self._timer = self._loop.call_later(options.heartbeat, self._beat)
        self._read()

    def submit(self, submit: Submit, told: Callable[[SubmitReply], None]) -> asyncio.Future[SubmitReply]:
        """Send one; to be asked only while there is :attr:`room`.

        ``told`` gets the answer before anything that came behind it is looked at: the report may be in the same packet.
        The future fails with ``TimeoutError`` after ``reply_timeout`` and with ``ConnectionError`` when the connection ends: what
        became of the message is not known then. ``ValueError``: a field does not fit, nothing was sent.
        """
        number = self._number()
        while number in self._submits:
            number = self._number()
        data = pack_submit(number, submit, self.version)
        future: asyncio.Future[SubmitReply] = self._loop.create_future()
        future.add_done_callback(_seen)
        timer = self._loop.call_later(self._options.reply_timeout, self._too_late, number)
        self._submits[number] = future, timer, told
        self._drained.clear()
        self._write(data)
        return future

    def answer_deliver(self, pdu: Pdu, result: int) -> None:
        self._write(pack_deliver_reply(pdu.sequence, int.from_bytes(pdu.body[:8], "big"), result, self.version))

    async def active_test(self) -> None:
        """Ask the gateway for a sign of life and wait for it; ``ConnectionError`` when the connection ends instead."""
        await self._ask_for_life()

    def pause_reading(self) -> None:
        self._held = True
        self._regulate()

    def resume_reading(self) -> None:
        self._held = False
        self._regulate()

    async def close(self, seconds: float) -> None:
        """Wait for what is unanswered, say good-bye, close; all within ``seconds``."""
        self.open = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds / 2):
                await self._drained.wait()
        if self._transport is not None:
            self._write(pack(Command.TERMINATE, self._number()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds / 2):
                    await self._farewell
        self.abort(ConnectionError("closed"))
        await self.gone.wait()

    def abort(self, error: Exception) -> None:
        self._error = self._error or error
        self.open = False
        if self._transport is not None:
            self._transport.abort()
        else:
            self.gone.set()

    # -- asyncio.Protocol ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def pause_writing(self) -> None:
        self._full = True
        self._regulate()

    def resume_writing(self) -> None:
        self._full = False
        self._regulate()
        self.on_room()

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        self._unheard = 0
        self._reader.feed(data)
        self._read()

    def _read(self) -> None:
        try:
            while self._transport is not None and not self._transport.is_closing():
                if self._login.done() and not self._admitted:
                    return  # what follows CONNECT_RESP waits until the gateway has proved who it is
                pdu = self._reader.next()
                if pdu is None:
                    return
                self._take(pdu)
        except BadPdu as error:
            self.abort(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.open = False
        if self._timer is not None:
            self._timer.cancel()
        inside = self._reader.unfinished
        error = self._error or exc
        if error is None:
            text = t(f", inside a PDU after {inside} bytes", f"，PDU 只收到 {inside} 字节") if inside else ""
            error = ConnectionError(t("the gateway closed the connection", "网关关闭了连接") + text)
        lost = error if isinstance(error, ConnectionError) else ConnectionError(str(error))
        if not self._login.done():
            self._login.set_exception(error)
            self._login.exception()  # where nobody waits for it any more
        for future, timer, _ in self._submits.values():
            timer.cancel()
            if not future.done():
                future.set_exception(lost)
        self._submits.clear()
        for test in self._tests.values():
            if not test.done():
                test.set_exception(lost)
        self._drained.set()
        if not self._farewell.done():
            self._farewell.set_result(None)
        self.gone.set()
        self.on_lost(self, error)

    # -- parts -----------------------------------------------------------------------------------------------------------

    def _regulate(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        wanted = not (self._full or self._held)
        if wanted and not transport.is_reading():
            self._heard = self._loop.time()
            transport.resume_reading()
        elif not wanted and transport.is_reading():
            transport.pause_reading()

    def _number(self) -> int:
        self._sequence = (self._sequence + 1) % _NUMBERS
        return self._sequence

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _take(self, pdu: Pdu) -> None:
        command = pdu.command
        if not self._login.done():
            if command != Command.CONNECT | RESPONSE:
                raise BadPdu(t("the first PDU is no CONNECT_RESP", "首个 PDU 不是 CONNECT_RESP"))
            self._login.set_result(read_connect_reply(pdu.body))
        elif command == Command.SUBMIT | RESPONSE:
            reply = read_submit_reply(pdu.body)
            found = self._submits.pop(pdu.sequence, None)
            if found is None:
                self.strange += 1
                return
            future, timer, told = found
            timer.cancel()
            told(reply)
            if not future.done():
                future.set_result(reply)
            self._freed()
        elif command == Command.DELIVER:
            self.on_deliver(self, pdu)
        elif command == Command.ACTIVE_TEST:
            self._write(pack(Command.ACTIVE_TEST | RESPONSE, pdu.sequence, b"\0"))
        elif command == Command.ACTIVE_TEST | RESPONSE:
            test = self._tests.pop(pdu.sequence, None)
            if test is not None and not test.done():
                test.set_result(None)
        elif command == Command.TERMINATE:
            self._write(pack(Command.TERMINATE | RESPONSE, pdu.sequence))
            self._error = ConnectionError(t("the gateway said good-bye (TERMINATE)", "网关发来 TERMINATE"))
            self.open = False
            if self._transport is not None:
                self._transport.close()
        elif command == Command.TERMINATE | RESPONSE:
            if not self._farewell.done():
                self._farewell.set_result(None)
        else:
            self.strange += 1

    def _freed(self) -> None:
        if not self._submits:
            self._drained.set()
        self.on_room()

    def _too_late(self, number: int) -> None:
        found = self._submits.pop(number, None)
        if found is not None:
            if not found[0].done():
                found[0].set_exception(TimeoutError())
            self._freed()

    def _ask_for_life(self) -> asyncio.Future[None]:
        number = self._number()
        while len(self._tests) >= _MOST_TESTS:  # never answered, though the gateway says other things
            self._tests.pop(next(iter(self._tests))).cancel()
        self._tests[number] = future = self._loop.create_future()
        future.add_done_callback(_seen)
        self._write(pack(Command.ACTIVE_TEST, number))
        return future

    def _beat(self) -> None:
        """Silent for C: ask; no answer within T: ask again; after N of them the gateway is gone."""
        options, now = self._options, self._loop.time()
        silent = now - self._heard
        if self._transport is not None and not self._transport.is_reading():
            silent, self._unheard = 0.0, 0  # we do not read: its silence is ours
        if self._unheard:
            if self._unheard >= options.tries:
                self.abort(ConnectionError(t("the gateway is silent", "网关无响应")))
                return
        elif silent < options.heartbeat:
            self._timer = self._loop.call_later(max(options.heartbeat - silent, 0.01), self._beat)
            return
        self._unheard += 1
        self._ask_for_life()
        self._timer = self._loop.call_later(options.reply_timeout, self._beat)


def _seen(future: asyncio.Future[SubmitReply] | asyncio.Future[None]) -> None:
    """An answer nobody waits for any more has no exception worth a word."""
    if not future.cancelled():
        future.exception()
