"""The sending side of ``reconcile``: entering and comparing, one after the other, in a thread of its own."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import orjson

from adapters.reconcile.book import Book
from adapters.reconcile.comparing import compare
from adapters.reconcile.entries import Batch, Listing, read_request
from adapters.reconcile.options import ReconcileConnect
from hub.api import Bound, HubError, Outgoing, Reply, Sender, SendError, TransientError
from hub.i18n import t

__all__ = ["ReconcileSender"]


class ReconcileSender(Sender):
    """A book that is opened at the first call."""

    def __init__(self, bound: Bound) -> None:
        self._options = cast(ReconcileConnect, bound.options)
        self._data = bound.data
        self._book: Book | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"book {self._options.book}")
        self._pruned = ""
        self._entered = 0

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        await asyncio.to_thread(self._thread.shutdown)
        if self._book is not None:
            self._book.close()

    @property
    def capacity(self) -> int:
        return 1

    async def send(self, outgoing: Outgoing) -> Reply:
        """The reply of a batch is ``{"entered": n}``, of a comparison the report, of a listing ``{"entries": [...]}``.

        Raises :class:`PermanentError` for what can't be read, :class:`TransientError` when the book can't be written now.
        """
        work = asyncio.get_running_loop().run_in_executor(self._thread, self._do, outgoing.body)
        try:
            async with asyncio.timeout(outgoing.timeout):
                return await work
        except TimeoutError:
            text = t("the book did not answer in time", "账簿未在时限内应答")
            raise TransientError(text, code="reconcile.timeout") from None

    def _do(self, body: bytes) -> Reply:
        request = read_request(body, set(self._options.sides))
        try:
            book = self._opened()
            if isinstance(request, Batch):
                entered = book.enter(request)
                self._entered += entered
                self._prune(book)
                return Reply(True, orjson.dumps({"code": "ok", "entered": entered}), code="ok")
            if isinstance(request, Listing):
                return self._listing(book, request)
            return self._compared(book, request.day)
        except (sqlite3.Error, OSError) as error:
            text = t(f"the book can't be used: {error}", f"账簿无法使用：{error}")
            raise TransientError(text, code="reconcile.book") from error
        except SendError:
            raise
        except HubError as error:  # the keys can't be had just now
            raise TransientError(error.text, code=error.code) from error

    def _listing(self, book: Book, request: Listing) -> Reply:
        entries = [
            {"kind": kept.kind, "key": kept.key, "at": kept.at, **kept.data}
            for kept in book.listed(request.side, request.day)
        ]
        told = {"code": "ok", "day": request.day, "side": request.side, "entries": entries}
        return Reply(True, orjson.dumps(told), code="ok")

    def _compared(self, book: Book, day: str) -> Reply:
        options = self._options
        complete = book.complete(day)
        waiting = [name for name, side in options.sides.items() if side.required and name not in complete]
        if waiting:
            names = ", ".join(options.sides[name].name or name for name in waiting)
            text = t(f"entries of {day} have not come yet from: {names}", f"{day} 的明细尚未到齐：{names}")
            body = orjson.dumps({"code": "incomplete", "message": text, "waiting": waiting})
            return Reply(False, body, code="incomplete", error=text, transient=True)
        report = book.file(day, compare(options, day, complete, book.touched(day)))
        return Reply(True, orjson.dumps({"code": "ok", **report}), code="ok")

    def _opened(self) -> Book:
        if self._book is None:
            self._book = Book(self._data, self._options.book)
        return self._book

    def _prune(self, book: Book) -> None:
        """Once a day."""
        today = datetime.now(UTC).date()
        if self._pruned != today.isoformat():
            book.prune((today - timedelta(seconds=self._options.keep)).isoformat())
            self._pruned = today.isoformat()

    async def probe(self) -> str:
        started = time.perf_counter()
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._look)
        except (sqlite3.Error, OSError, HubError) as error:
            raise TransientError(str(error), code="reconcile.book") from error
        took = (time.perf_counter() - started) * 1000
        return t(f"book {self._options.book}, {took:.0f} ms", f"账簿 {self._options.book}，{took:.0f} 毫秒")

    def _look(self) -> None:
        self._opened().complete("")

    def status(self) -> dict[str, Any]:
        return {"book": self._options.book, "entered": self._entered}
