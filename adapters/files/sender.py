"""Writing files: under a passing name, whole and on the disk, then the final name; a repetition recognises what the first try did."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import datetime
from hashlib import blake2b
from typing import Any, cast
from zoneinfo import ZoneInfo

from adapters.files.backend import BLOCK, AlreadyThere, Backend, FileMissing, check_path, parent_of, shown, unreachable
from adapters.files.naming import MissingVariable, Template, fields_of, safe
from adapters.files.options import Writing
from hub.api import Bound, Outgoing, PermanentError, Reply, Sender, SendError, TransientError, UnreachableError
from hub.i18n import t
from hub.ids import id_text, millis_of

__all__ = ["FilesSender"]

#: Transfers of smaller files are begun anew.
_RESUME_FROM = 1 << 20
#: Bytes before the place a transfer goes on at that must be the right ones.
_OVERLAP = 64 << 10
#: An idle connection is asked whether it is alive after so long, seconds.
_ASK_AFTER = 5.0
_MADE = 1000


class FilesSender(Sender):
    """For all three kinds of place; ``connect`` makes a backend, ``address`` names it for people."""

    def __init__(self, bound: Bound, connect: Callable[[], Backend], address: str) -> None:
        self._options = options = cast(Writing, bound.options)
        self._connect, self._address = connect, address
        self._folder, self._name = Template(options.folder), Template(options.name)
        self._temporary, self._marker = Template(options.temporary), Template(options.marker)
        self._zone = ZoneInfo(options.tz)
        self._mode = int(options.mode, 8) if options.mode else None
        self._room = asyncio.Semaphore(options.connections)
        self._idle: list[tuple[float, Backend]] = []
        self._busy: set[Backend] = set()
        self._made: set[str] = set()  # folders
        self._stopped = False
        self._written = self._repeated = self._resumed = self._failures = 0

    # -- Sender ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        self._stopped = False

    async def stop(self) -> None:
        self._stopped = True
        backends = [*(backend for _, backend in self._idle), *self._busy]
        self._idle.clear()
        for backend in backends:
            await backend.close()

    @property
    def capacity(self) -> int:
        return self._options.connections

    async def send(self, outgoing: Outgoing) -> Reply:
        folder, name, temporary = self._names(outgoing)
        connected = False
        try:
            async with asyncio.timeout(outgoing.timeout), self._room, contextlib.AsyncExitStack() as stack:
                backend = await self._connection()
                connected = True
                self._busy.add(backend)
                stack.callback(self._busy.discard, backend)
                try:
                    reply = await self._write(backend, folder, name, temporary, outgoing)
                except BaseException:
                    self._busy.discard(backend)
                    await backend.close()
                    raise
                await self._give_back(backend)
                return reply
        except TimeoutError:
            self._failures += 1
            text = t(
                f"{self._address}: not done within {outgoing.timeout:g} s",
                f"{self._address}：{outgoing.timeout:g} 秒内未完成",
            )
            if not connected:
                raise UnreachableError(text, code="file.timeout") from None
            raise TransientError(text, code="file.timeout") from None
        except FileMissing as error:
            # The folder was taken away, or is no longer mounted, since the connection was made: the message is not at fault.
            self._failures += 1
            self._made.clear()
            raise unreachable(self._address, error.text) from error
        except SendError:
            self._failures += 1
            self._made.clear()
            raise

    async def probe(self) -> str:
        started = time.perf_counter()
        backend = self._connect()
        try:
            await backend.open()
            folder = self._options.folder
            try:
                await backend.entries("" if "{" in folder else folder, 1)
            except FileMissing:
                await backend.entries("", 1)  # it is made for the first file
        finally:
            await backend.close()
        took = (time.perf_counter() - started) * 1000
        return t(
            f"folder of {self._address} read in {took:.0f} ms", f"已读取 {self._address} 的文件夹，用时 {took:.0f} 毫秒"
        )

    def status(self) -> dict[str, Any]:
        return {
            "target": self._address,
            "connections": len(self._idle) + len(self._busy),
            "written": self._written,
            "repeated": self._repeated,
            "resumed": self._resumed,
            "failures": self._failures,
        }

    # -- connections -------------------------------------------------------------------------------------------------

    async def _connection(self) -> Backend:
        while self._idle:
            since, backend = self._idle.pop()
            idle = time.monotonic() - since
            self._busy.add(backend)
            try:
                if idle < _ASK_AFTER or (idle < self._options.idle_timeout and await backend.alive()):
                    return backend
            except BaseException:
                await backend.close()
                raise
            finally:
                self._busy.discard(backend)
            await backend.close()
        if self._stopped:
            raise UnreachableError(t("the hub is stopping", "平台正在停止"), code="file.stopped")
        backend = self._connect()
        try:
            await backend.open()
        except BaseException:
            await backend.close()
            raise
        return backend

    async def _give_back(self, backend: Backend) -> None:
        if self._stopped:
            await backend.close()
        else:
            self._idle.append((time.monotonic(), backend))

    # -- one file ----------------------------------------------------------------------------------------------------

    def _names(self, outgoing: Outgoing) -> tuple[str, str, str]:
        """Folder, name and path on the way; the same for every try of a delivery."""
        moment = datetime.fromtimestamp(millis_of(outgoing.delivery_id) / 1000, self._zone)
        variables = {
            **outgoing.variables,
            "key": outgoing.idempotency_key,
            "delivery": id_text(outgoing.delivery_id),
            "type": outgoing.type,
            "control_id": outgoing.control_id or None,
            "date": f"{moment:%Y%m%d}",
            "time": f"{moment:%Y%m%d%H%M%S}{moment.microsecond // 1000:03d}",
        }
        try:
            folder = self._folder.fill(variables, safe)
            name = self._name.fill(variables, safe)
            temporary = self._temporary.fill(variables, safe) or folder
        except MissingVariable as error:
            raise PermanentError(
                t(f"the message has no {error.name} for the name of its file", f"消息中没有文件名所需的 {error.name}"),
                code="file.name",
            ) from None
        # Not made from the name, which may be as long as a name can be; the content is part of it, so that what
        # is there can only be the beginning of the same.
        digest = blake2b(outgoing.idempotency_key.encode() + b"\0" + outgoing.body, digest_size=12).hexdigest()
        passing = f"{temporary}/.{digest}.part" if temporary else f".{digest}.part"
        check_path(f"{folder}/{name}" if folder else name)
        return folder, name, passing

    async def _write(self, backend: Backend, folder: str, name: str, passing: str, outgoing: Outgoing) -> Reply:
        body, path = outgoing.body, f"{folder}/{name}" if folder else name
        settled = await self._settled(backend, path, body)
        if settled:
            await backend.remove(passing)  # where a rename is two steps, an earlier try may have ended between them
            return await self._finished(backend, path, settled)
        await self._folders(backend, folder)
        await self._folders(backend, parent_of(passing))
        keeps = self._options.resume and len(body) >= _RESUME_FROM
        offset = await self._offset(backend, passing, body) if keeps else 0
        try:
            await backend.write(passing, [memoryview(body)[offset:]], offset, self._mode)
            self._resumed += bool(offset)
            await backend.rename(passing, path, replace=self._options.exists == "replace")
        except AlreadyThere:
            # Somebody was quicker: perhaps an earlier try of this delivery.
            settled = await self._settled(backend, path, body)
            await backend.remove(passing)
            if settled:
                return await self._finished(backend, path, settled)
            raise
        except SendError as error:
            if not keeps or isinstance(error, PermanentError):
                with contextlib.suppress(SendError):
                    await backend.remove(passing)
            raise
        self._written += 1
        return await self._finished(backend, path, "written")

    async def _settled(self, backend: Backend, path: str, body: bytes) -> str:
        """What a file that is there already means: "" go on; "repeated" or "kept": nothing to write."""
        there = await backend.entry(path)
        if there is None:
            return ""
        if there.kind == "file" and there.size == len(body) and await _holds(backend, path, body, 0):
            self._repeated += 1
            return "repeated"
        if self._options.exists == "keep":
            return "kept"
        if self._options.exists == "refuse" or there.kind != "file":
            raise AlreadyThere(
                t(f"{shown(path)} exists with other content", f"{shown(path)} 已存在且内容不同"), code="file.exists"
            )
        return ""

    async def _finished(self, backend: Backend, path: str, code: str) -> Reply:
        await backend.settle()  # the marker must not outlive the file
        if self._options.marker:
            folder, slash, name = path.rpartition("/")
            marker = folder + slash + self._marker.fill(fields_of(name), str)
            if await backend.entry(marker) is None:
                await backend.write(marker, [], 0, self._mode)
        await backend.settle()
        return Reply(ok=True, code=code)

    async def _offset(self, backend: Backend, passing: str, body: bytes) -> int:
        """Where to go on: behind what is there, as far as it is certainly the beginning of this body."""
        there = await backend.entry(passing)
        if there is None or there.kind != "file" or not 0 < there.size <= len(body):
            return 0
        begin = max(0, there.size - _OVERLAP)
        if not await _holds(backend, passing, body[begin : there.size], begin):
            return 0
        return min(there.size, len(body) - 1)  # something is always written, and so made durable

    async def _folders(self, backend: Backend, folder: str) -> None:
        if folder and folder not in self._made:
            await backend.make_folders(folder)
            if len(self._made) >= _MADE:
                self._made.clear()
            self._made.add(folder)


async def _holds(backend: Backend, path: str, wanted: bytes, offset: int) -> bool:
    """Whether a file goes on with these bytes at this place, and ends after them."""
    at = 0
    try:
        content = await backend.read(path, offset)
    except FileMissing:
        return False
    try:
        while block := await content.read(BLOCK):
            if wanted[at : at + len(block)] != block:
                return False
            at += len(block)
    finally:
        await content.close()
    return at == len(wanted)
