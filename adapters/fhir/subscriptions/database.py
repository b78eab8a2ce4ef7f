"""A small SQLite file that several processes of the hub share."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import apsw

from hub.api import HubError, StoreBusy
from hub.i18n import t

__all__ = ["Database"]

R = TypeVar("R")

_BUSY_MS = 10_000
#: Changes that share one commit at most.
_BATCH = 500


class Database:
    """One connection, in a thread of its own; what is asked at the same time shares a commit. Belongs to one event loop."""

    def __init__(self, file: Path, schema: str) -> None:
        self._file = file
        self._schema = schema
        self._thread: ThreadPoolExecutor | None = None
        self._db: apsw.Connection
        self._lock = -1
        self._waiting: list[tuple[Callable[[apsw.Connection], Any], asyncio.Future[Any]]] = []
        self._working: asyncio.Task[None] | None = None

    async def open(self, *, owner: bool) -> None:
        """``owner``: of the facade, which only one interface of a system can have. Raises :class:`HubError`."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="subscriptions")
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._open, owner)
        except BaseException:
            self._thread.shutdown(wait=False)
            self._thread = None
            raise

    def _open(self, owner: bool) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if owner:
                self._lock = os.open(self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The file has the credentials of subscribers in it.
            os.close(os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._db = db = apsw.Connection(str(self._file))
            db.set_busy_timeout(_BUSY_MS)
            db.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=OFF")
            with db:
                db.execute(self._schema)
        except BlockingIOError:
            os.close(self._lock)
            raise HubError(
                t(
                    "another interface of this system serves subscriptions already",
                    "该系统的另一个接口已提供订阅服务",
                ),
                code="fhir.subscriptions",
                remedy=t(
                    "let one interface of the system have the interaction subscribe",
                    "一个系统只能有一个接口使用 subscribe",
                ),
            ) from None
        except (OSError, apsw.Error) as error:
            raise HubError(
                t(
                    f"{self._file} can't be opened: {type(error).__name__}",
                    f"无法打开 {self._file}：{type(error).__name__}",
                ),
                code="fhir.subscriptions",
                remedy=t("check the folder, its rights and the disk", "请检查该目录、权限与磁盘"),
            ) from error

    async def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._working is not None:
            await asyncio.wait([self._working])
        await asyncio.get_running_loop().run_in_executor(thread, self._close)
        thread.shutdown()

    def _close(self) -> None:
        self._db.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # -- running -------------------------------------------------------------------------------------------------

    async def write(self, change: Callable[[apsw.Connection], R]) -> R:
        """What it returns, once it is committed with fsync. Raises :class:`StoreBusy` when it can't be stored, and what ``change`` raises."""
        if self._thread is None:
            raise StoreBusy(t("subscriptions are not open", "订阅存储未打开"))
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((change, future))
        if self._working is None:
            self._working = asyncio.create_task(self._work(self._thread), name=f"store {self._file.name}")
        return await future

    async def _work(self, thread: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
                results = await loop.run_in_executor(thread, self._commit, [change for change, _ in batch])
                for (_, future), (result, error) in zip(batch, results, strict=True):
                    if future.done():
                        continue
                    if error is not None:
                        future.set_exception(error)
                    else:
                        future.set_result(result)
        finally:
            self._working = None

    def _commit(self, changes: list[Callable[[apsw.Connection], Any]]) -> list[tuple[Any, Exception | None]]:
        results: list[tuple[Any, Exception | None]] = []
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            for change in changes:
                try:
                    with db:  # a savepoint
                        results.append((change(db), None))
                except (apsw.FullError, apsw.IOError, apsw.BusyError):
                    raise
                except Exception as error:
                    results.append((None, error))
            db.execute("COMMIT")
        except Exception as error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            busy = StoreBusy(
                t(f"the subscriptions can't be stored: {type(error).__name__}", f"订阅无法存储：{type(error).__name__}")
            )
            return [(None, busy)] * len(changes)
        return results

    async def read(self, question: Callable[[apsw.Connection], R]) -> R:
        """Raises :class:`StoreBusy`."""
        if self._thread is None:
            raise StoreBusy(t("subscriptions are not open", "订阅存储未打开"))
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, question, self._db)
        except apsw.Error as error:
            raise StoreBusy(
                t(f"the subscriptions can't be read: {type(error).__name__}", f"订阅无法读取：{type(error).__name__}")
            ) from error
