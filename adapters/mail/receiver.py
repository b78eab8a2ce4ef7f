"""Reading a mailbox: which mails, page by page into the hub, and out of the way."""

from __future__ import annotations

import asyncio
import imaplib
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar, cast

from adapters.mail.connection import Threads, connect, lost, overdue, unreachable
from adapters.mail.imap import ImapSession, LoginRefused, NoStartTls, TooMuch
from adapters.mail.options import MailListen
from adapters.mail.splitting import messages_of
from adapters.polling import PollingReceiver, Run
from adapters.tls import client_context
from hub.api import (
    Bound,
    HubError,
    IntakePort,
    Item,
    PermanentError,
    SendError,
    StoreBusy,
    TransientError,
    UnreachableError,
)
from hub.i18n import t
from hub.masking import mask_text

__all__ = ["MailReceiver"]

T = TypeVar("T")
#: UIDs whose sizes are asked for at once.
_ASK = 500


@dataclass(slots=True)
class _Place:
    """How far the folder is read; the mark."""

    validity: int = 0
    uid: int = 0  # the last one that was taken
    #: Taken, but perhaps not yet out of the way.
    open: list[int] = field(default_factory=list)
    #: What became of them, where this process knows.
    refused: set[int] | None = None

    def mark(self) -> str:
        return json.dumps({"validity": self.validity, "uid": self.uid, "open": self.open}, separators=(",", ":"))


@dataclass(slots=True)
class _Read:
    """One mail of a page."""

    uid: int
    raw: bytes = b""
    items: Sequence[Item] = ()
    error: HubError | None = None  # why it is refused, by this adapter


class MailReceiver(PollingReceiver):
    """One folder of one mailbox, over a connection that is made for each run."""

    def __init__(self, bound: Bound, intake: IntakePort) -> None:
        self._options = options = cast(MailListen, bound.options)
        super().__init__(bound, intake, options.schedule)
        self._address = f"{options.host}:{options.at_port}"
        self._threads = Threads(1, bound.place)
        self._probes = Threads(1, bound.place)
        self._context: ssl.SSLContext | None = None
        self._place: _Place | None = None
        #: Larger than the server said: not tried again.
        self._oversize: set[int] = set()

    @property
    def source(self) -> str:
        return f"imap://{self._address}/{self._options.folder}"

    async def start(self) -> None:
        self._secure()
        await super().start()

    async def stop(self, grace: float) -> None:
        await super().stop(grace)
        self._threads.close()
        self._probes.close()

    async def probe(self) -> str:
        started = time.perf_counter()
        async with self._session(self._probes) as session:
            folder = await self._call(session, lambda: session.select(change=False), self._probes)
        took = (time.perf_counter() - started) * 1000
        return t(
            f"{folder.mails} mails in {self.source}, {took:.0f} ms",
            f"{self.source} 中有 {folder.mails} 封邮件，用时 {took:.0f} 毫秒",
        )

    async def read(self, run: Run) -> None:
        async with self._session(self._threads) as session:
            folder = await self._call(session, lambda: session.select(change=self._options.after != "leave"))
            place = self._place or await self._load()
            if place.validity != folder.validity:
                if place.validity:
                    run.details["mailbox"] = t("made anew, read from its beginning", "邮箱已重建，从头读取")
                place = _Place(folder.validity)
            self._place = place
            opened = bool(place.open)
            await self._settle(session, place)
            waiting: list[int] = []
            while self.go_on(run):
                waiting = waiting or await self._call(session, lambda: session.search(place.uid, folder))
                if not waiting:
                    break
                opened = self._options.after != "leave"
                del waiting[: await self._page(session, run, place, waiting)]
            if opened:  # so that a restart need not look after them again
                await self.take(run, [], place.mark())

    async def _load(self) -> _Place:
        text = await self.intake.mark(self.bound)
        if not text:
            return _Place()
        try:
            found = json.loads(text)
            return _Place(int(found["validity"]), int(found["uid"]), [int(uid) for uid in found["open"]])
        except (ValueError, TypeError, KeyError):
            raise HubError(
                t("the mark of the mailbox can't be read", "邮箱读取位置标记无法解析"), code="mail.mark"
            ) from None

    # -- pages -------------------------------------------------------------------------------------------------------

    async def _page(self, session: ImapSession, run: Run, place: _Place, waiting: Sequence[int]) -> int:
        """Take one page of these mails; how many they were."""
        options = self._options
        uids = waiting[: min(options.page, _ASK)]
        sizes = await self._call(session, lambda: session.sizes(uids))
        mails: list[_Read] = []
        left = options.page_size
        for uid in uids:
            mail = await self._read(session, uid, sizes.get(uid))
            left -= len(mail.raw)
            mails.append(mail)
            if left <= 0:
                break
        last = mails[-1].uid
        after = _Place(place.validity, last, [] if options.after == "leave" else [mail.uid for mail in mails])
        items = [item for mail in mails for item in mail.items]
        receipts = iter(await self.take(run, items, after.mark()))
        place.uid, place.open, place.refused = last, after.open, set()
        for mail in mails:
            accepted = [next(receipts).accepted for _ in mail.items]
            if mail.error is not None:
                self.intake.refuse(self.bound, mail.raw, mail.error, remote=self.source)
                run.refused += 1
            if mail.error is not None or not all(accepted):
                place.refused.add(mail.uid)
        self._oversize.difference_update(uids)
        await self._settle(session, place)
        return len(mails)

    async def _read(self, session: ImapSession, uid: int, size: int | None) -> _Read:
        """One mail and its messages. A mail that is gone has none."""
        options = self._options
        # Some servers tell sizes that are not exact; what counts is what comes.
        if uid in self._oversize or (size is not None and size > options.max_size + (64 << 10)):
            return _Read(uid, await self._call(session, lambda: session.head(uid)), error=self._too_large())
        encoding = self.bound.contract.encoding or "utf-8"

        def fetch() -> _Read:
            raw = session.fetch(uid, options.max_size)
            if raw is None:
                return _Read(uid)
            if len(raw) > options.max_size:
                return _Read(uid, raw[: 64 << 10], error=self._too_large())
            try:
                return _Read(uid, raw, messages_of(raw, options, encoding))
            except PermanentError as error:
                return _Read(uid, raw, error=error)

        try:
            return await self._call(session, fetch)
        except TransientError as error:
            if isinstance(error.__cause__, TooMuch):
                self._oversize.add(uid)
            raise

    def _too_large(self) -> PermanentError:
        size = self._options.max_size
        return PermanentError(t(f"the mail is larger than {size} bytes", f"邮件超过 {size} 字节"), code="mail.size")

    # -- out of the way ----------------------------------------------------------------------------------------------

    async def _settle(self, session: ImapSession, place: _Place) -> None:
        """Move, flag or delete what is taken; can be repeated after a crash."""
        if not place.open:
            return
        options = self._options
        refused = place.refused
        if refused is None:
            refused = place.refused = await self._judge(session, place.open)
        good = [uid for uid in place.open if uid not in refused]
        bad = [uid for uid in place.open if uid in refused]
        if bad and options.after != "leave":
            await self._call(session, lambda: session.move(bad, options.error))
        if good and options.after == "move":
            await self._call(session, lambda: session.move(good, options.archive))
        elif good and options.after == "delete":
            await self._call(session, lambda: session.delete(good))
        elif good and options.after == "flag":
            await self._call(session, lambda: session.flag(good, options.flags))
        place.open, place.refused = [], None

    async def _judge(self, session: ImapSession, uids: Sequence[int]) -> set[int]:
        """Which of the mails of the last page were refused, where the process died before it could put them away.

        They are stored; nothing is taken again, only asked.
        """
        refused = set()
        sizes = await self._call(session, lambda: session.sizes(uids))
        for uid in sizes:
            mail = await self._read(session, uid, sizes[uid])
            try:
                if mail.error is not None:
                    raise mail.error
                for item in mail.items:
                    await self.intake.check(self.bound, item.raw, params=item.params)
            except StoreBusy:
                raise
            except HubError:
                refused.add(uid)
        return refused

    # -- the connection ----------------------------------------------------------------------------------------------

    def _secure(self) -> None:
        if self._options.encryption != "none" and self._context is None:
            self._context = client_context(self._options.tls)

    @asynccontextmanager
    async def _session(self, threads: Threads) -> AsyncIterator[ImapSession]:
        session = await self._open(threads)
        try:
            yield session
            with suppress(SendError):
                await self._call(session, session.logout, threads)
        finally:
            session.close()

    async def _open(self, threads: Threads) -> ImapSession:
        options = self._options
        self._secure()
        session: ImapSession | None = None
        try:
            async with asyncio.timeout(options.connect_timeout):
                wire = await connect(options, options.at_port)
                session = ImapSession(wire, options, self._context)
                await threads.run(wire, session.greet, options.connect_timeout)
                return session
        except BaseException as error:
            if session is not None:
                session.close()
            failure = self._opening_failed(error)
            if failure is None:
                raise
            raise failure from error

    def _opening_failed(self, error: BaseException) -> UnreachableError | None:
        if isinstance(error, TimeoutError):
            return UnreachableError(overdue(self._address, self._options.connect_timeout), code="mail.unreachable")
        if isinstance(error, LoginRefused):
            told = mask_text(str(error)[:200])
            text = t(f"{self._address}: login refused: {told}", f"{self._address}：登录被拒绝：{told}")
            return UnreachableError(text, code="mail.login")
        if isinstance(error, NoStartTls):
            text = t(f"{self._address} offers no STARTTLS", f"{self._address} 不支持 STARTTLS")
            return UnreachableError(text, code="mail.tls")
        if isinstance(error, OSError | imaplib.IMAP4.error | ValueError | LookupError):
            return unreachable(self._address, error)
        return None

    async def _call(self, session: ImapSession, call: Callable[[], T], threads: Threads | None = None) -> T:
        seconds = self._options.timeout
        try:
            return await (threads or self._threads).run(session.wire, call, seconds)
        except TimeoutError:
            raise TransientError(overdue(self._address, seconds), code="mail.timeout") from None
        except (imaplib.IMAP4.abort, OSError, ValueError, LookupError) as error:
            raise lost(self._address) from error
        except imaplib.IMAP4.error as error:
            told = mask_text(str(error)[:200])
            raise TransientError(
                t(f"{self._address} refuses: {told}", f"{self._address} 拒绝：{told}"), code="mail.refused"
            ) from error
