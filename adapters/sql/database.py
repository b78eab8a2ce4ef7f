"""One database: its engine, its own bounded threads, and sessions set up for what they are for."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import select
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

import adapters.sql.dialects  # noqa: F401 - makes those of ours known
from adapters.sql.errors import send_error
from adapters.sql.options import Database
from adapters.sql.sessions import connect_arguments, prepare_sessions
from hub.api import HubError, PermanentError, TransientError, UnreachableError
from hub.i18n import t

__all__ = ["SqlDatabase"]

T = TypeVar("T")

#: Time a thread gets to come back after its connection was cut, seconds.
_CUT_GRACE_S = 1.0
#: A connection that rested longer is tried before it is used: the server may be gone, or have closed it.
_FRESH_S = 1.0


class _Job:
    """One piece of work in a thread; can be cut off from outside, and only while it has its connection."""

    __slots__ = ("_connection", "_lock", "connected", "cut_off")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Any = None
        self.connected = False
        self.cut_off = False

    def begin(self, connection: Any) -> None:
        with self._lock:
            self._connection = connection
            if isinstance(connection, sqlite3.Connection):
                # Its interrupt() reaches only a statement that runs in that very moment.
                connection.set_progress_handler(lambda: self.cut_off, 10_000)
            elif self.cut_off:
                _cut(connection)

    def end(self) -> None:
        with self._lock:
            self._connection = None

    def cut(self) -> None:
        with self._lock:
            self.cut_off = True
            if self._connection is not None and not isinstance(self._connection, sqlite3.Connection):
                _cut(self._connection)


class SqlDatabase:
    """Work on a database runs in threads of its own, one connection each. Belongs to one event loop."""

    def __init__(self, options: Database, *, read_only: bool) -> None:
        self.options = options
        self.product = options.kind
        self.place = options.place()
        self._read_only = read_only
        self._engine: Engine | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._jobs: dict[asyncio.Future[Any], _Job] = {}

    def open(self) -> None:
        """Load the driver; connections are made when they are needed. Raises :class:`HubError` with the remedy."""
        options = self.options
        try:
            self._engine = create_engine(
                options.address(),
                pool_size=options.connections,
                max_overflow=0,
                pool_reset_on_return=None,  # every transaction is ended where it began
                pool_recycle=int(options.idle_timeout),
                connect_args=connect_arguments(options),
                hide_parameters=True,
            )
        except (ImportError, NoSuchModuleError) as error:
            package = self.product.package or options.driver
            raise HubError(
                t(
                    f"{self.place}: the driver for {options.product} is missing",
                    f"{self.place}：缺少 {options.product} 的驱动",
                ),
                code="sql.driver",
                remedy=t(f"install it: pip install {package}", f"请安装：pip install {package}"),
            ) from error
        except (ArgumentError, TypeError, ValueError):
            raise HubError(
                t(f"{self.place}: the address or an option is not accepted", f"{self.place}：地址或选项不被接受"),
                code="sql.options",
                remedy=t("check database.url, driver and options", "请检查 database.url、driver 与 options"),
            ) from None  # it may hold the password
        prepare_sessions(self._engine, options, self._read_only)
        self._threads = ThreadPoolExecutor(options.connections, f"sql {options.product}")

    @property
    def dialect(self) -> Any:
        """As it knows itself once connected."""
        return self._engine.dialect if self._engine is not None else self.product.dialect()

    def status(self) -> dict[str, Any]:
        return {"product": self.options.product, "busy": len(self._jobs), "connections": self.options.connections}

    async def run(self, work: Callable[[Connection], T], within: float) -> T:
        """Do something in one transaction, committed at its end, within so many seconds.

        Raises :class:`UnreachableError` when there was no connection, otherwise what :func:`send_error` makes of it;
        :class:`TransientError` beyond the time, whatever the database did with it.
        """
        threads = self._threads
        if threads is None:
            raise UnreachableError(t(f"{self.place}: not started", f"{self.place}：尚未启动"), code="sql.stopped")
        job = _Job()
        future = asyncio.get_running_loop().run_in_executor(threads, self._do, job, work)
        self._jobs[future] = job
        future.add_done_callback(self._over)
        done, _ = await self._settle(job, future, within)
        if done:
            return future.result()
        job.cut()
        await asyncio.wait([future], timeout=_CUT_GRACE_S)
        if future.done() and not future.exception():
            return future.result()  # it was just finished, and committed
        text = t(f"{self.place}: no answer within {within:g} s", f"{self.place}：{within:g} 秒内无应答")
        raise (TransientError if job.connected else UnreachableError)(text, code="sql.timeout")

    async def _settle(self, job: _Job, future: asyncio.Future[T], within: float) -> tuple[set[Any], set[Any]]:
        try:
            return await asyncio.wait([future], timeout=within)
        except asyncio.CancelledError:
            job.cut()
            await asyncio.wait([future], timeout=_CUT_GRACE_S)
            raise

    def _over(self, future: asyncio.Future[Any]) -> None:
        del self._jobs[future]
        if not future.cancelled():
            future.exception()  # nobody may be left to look at it

    def _do(self, job: _Job, work: Callable[[Connection], T]) -> T:
        engine = self._engine
        if engine is None or job.cut_off:
            raise UnreachableError(t(f"{self.place}: stopped", f"{self.place}：已停止"), code="sql.stopped")
        connection = self._connect(engine, job)
        try:
            with connection.begin():
                return work(connection)
        except SQLAlchemyError as error:
            raise send_error(error, self.product, self.place) from None
        except UnicodeError:
            raise PermanentError(
                t(
                    f"{self.place}: a text is not in the character set it should be in",
                    f"{self.place}：文本的字符集不符",
                ),
                code="sql.data",
            ) from None
        finally:
            self._give_back(connection, job)

    def _connect(self, engine: Engine, job: _Job) -> Connection:
        """A connection that works, in the hands of ``job``."""
        while True:
            try:
                connection = engine.connect()
            except (SQLAlchemyError, OSError) as error:
                raise send_error(error, self.product, self.place, connecting=True) from None
            plain = connection.connection.dbapi_connection
            job.begin(plain)
            rested = time.monotonic() - connection.info.get("used", math.inf)
            if (rested > _FRESH_S or _stirs(plain)) and not self._answers(engine, plain):
                connection.invalidate()
                self._give_back(connection, job)
                if not job.cut_off:
                    continue
            if job.cut_off:
                self._give_back(connection, job)
                raise UnreachableError(t(f"{self.place}: no answer", f"{self.place}：无应答"), code="sql.timeout")
            job.connected = True
            return connection

    def _answers(self, engine: Engine, plain: Any) -> bool:
        try:
            return bool(engine.dialect.do_ping(plain))
        except Exception:  # whatever it is, another connection is made
            return False

    def _give_back(self, connection: Connection, job: _Job) -> None:
        job.end()
        with contextlib.suppress(SQLAlchemyError):
            if job.cut_off and not connection.invalidated:
                connection.invalidate()
            elif not connection.invalidated:
                connection.info["used"] = time.monotonic()
            connection.close()

    async def close(self) -> None:
        """Cut off what is under way, end threads and connections."""
        threads, engine = self._threads, self._engine
        self._threads = self._engine = None
        for job in list(self._jobs.values()):
            job.cut()
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)
            if self._jobs:
                await asyncio.wait(list(self._jobs), timeout=_CUT_GRACE_S)
        if engine is not None:
            await asyncio.to_thread(engine.dispose)


def _stirs(connection: Any) -> bool:
    """Has something come over a connection at rest? Then the server has most likely closed it."""
    with contextlib.suppress(Exception):
        plain = getattr(connection, "_sock", None) or connection  # PyMySQL; psycopg
        watched = select.poll()
        watched.register(plain.fileno(), select.POLLIN)
        return bool(watched.poll(0))
    return False


def _cut(connection: Any) -> None:
    """End what a connection is doing, from another thread: the driver then sees a broken connection."""
    with contextlib.suppress(Exception):
        if (plain := getattr(connection, "_sock", None)) is not None:  # PyMySQL
            plain.shutdown(socket.SHUT_RDWR)
        elif hasattr(connection, "fileno"):  # psycopg
            with socket.socket(fileno=os.dup(connection.fileno())) as twin:
                twin.shutdown(socket.SHUT_RDWR)
        else:  # oracledb, pymssql
            connection.cancel()
