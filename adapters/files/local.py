"""Folders of this machine, also those a network file system brings.

Every path is walked from the root by directory descriptors without following links, so that a link put into a folder leads nowhere. The
calls block, so they run in a thread of the backend.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from adapters.files.backend import (
    AlreadyThere,
    Backend,
    Content,
    Entry,
    FileMissing,
    check_path,
    failed,
    forbidden,
    full,
    kind_of,
    parent_of,
    shown,
    too_long,
    unreachable,
)
from hub.api import PermanentError, SendError
from hub.i18n import t

__all__ = ["LocalFiles"]

T = TypeVar("T")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # opening a pipe must not wait for its other end
_NO_LINKS = frozenset((errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK))


class LocalFiles(Backend):
    """See the module; ``charset`` is that of names."""

    def __init__(self, root: str, charset: str = "utf-8") -> None:
        self._root = root
        self._charset = charset
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="files")
        self._fd = -1
        self._open: set[int] = set()  # descriptors of files being read; touched by the thread only
        self._touched: set[str] = set()  # folders whose entries changed and are not on the disk yet; by the thread only

    # -- Backend -------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        def connect() -> int:
            return os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

        try:
            self._fd = await asyncio.get_running_loop().run_in_executor(self._thread, connect)
        except (OSError, ValueError) as error:
            raise unreachable(self._root, getattr(error, "strerror", None) or str(error)) from error

    async def close(self) -> None:
        def work() -> None:
            for fd in (*self._open, self._fd):
                if fd >= 0:
                    os.close(fd)
            self._open.clear()
            self._fd = -1

        self._thread.submit(work)  # after what it is at: a call to a dead network file system may hang there
        self._thread.shutdown(wait=False)

    async def entries(self, folder: str, limit: int) -> list[Entry]:
        def work() -> list[Entry]:
            found: list[Entry] = []
            prefix = f"{folder}/" if folder else ""
            with self._folder(folder) as fd, os.scandir(fd) as listing:
                for item in listing:
                    if len(found) == limit:
                        break
                    with contextlib.suppress(FileNotFoundError):  # gone meanwhile
                        found.append(_entry(prefix + self._text(item.name), item.stat(follow_symlinks=False)))
            return found

        return await self._call(folder, work)

    async def entry(self, path: str) -> Entry | None:
        def work() -> Entry | None:
            try:
                with self._folder(parent_of(path)) as fd:
                    return _entry(path, os.stat(self._name(path), dir_fd=fd, follow_symlinks=False))
            except (FileNotFoundError, NotADirectoryError):
                return None

        return await self._call(path, work)

    async def read(self, path: str, offset: int = 0) -> Content:
        def work() -> int:
            file = self._opened(path)
            os.lseek(file, offset, os.SEEK_SET)
            self._open.add(file)
            return file

        return _LocalContent(self, path, await self._call(path, work))

    async def whole(self, path: str, most: int) -> bytes:
        def work() -> bytes:
            with open(self._opened(path), "rb", buffering=0) as file:
                parts: list[bytes] = []
                left = most + 1
                while left > 0 and (block := file.read(left)):
                    parts.append(block)
                    left -= len(block)
                return b"".join(parts)

        return await self._call(path, work)

    async def write(self, path: str, parts: Sequence[bytes | memoryview], offset: int, mode: int | None) -> None:
        def work() -> None:
            with self._folder(parent_of(path)) as fd:
                file = os.open(self._name(path), os.O_WRONLY | os.O_CREAT | _FILE, mode or 0o666, dir_fd=fd)
                with open(file, "wb", buffering=0) as stream:
                    if not stat.S_ISREG(os.fstat(file).st_mode):
                        raise _not_a_file(path)
                    os.ftruncate(file, offset)
                    os.lseek(file, offset, os.SEEK_SET)
                    for part in parts:
                        view = memoryview(part)
                        while view:
                            view = view[stream.write(view) or 0 :]
                    if mode is not None:
                        os.fchmod(file, mode)
                    os.fsync(file)
                self._touched.add(parent_of(path))

        await self._call(path, work)

    async def rename(self, old: str, new: str, *, replace: bool) -> None:
        def work() -> None:
            with self._folder(parent_of(old)) as source, self._folder(parent_of(new)) as target:
                if not replace:
                    _without_overwriting(self._name(old), source, self._name(new), target)
                else:
                    os.replace(self._name(old), self._name(new), src_dir_fd=source, dst_dir_fd=target)
                self._touched |= {parent_of(old), parent_of(new)}

        await self._call(new, work)

    async def remove(self, path: str) -> None:
        def work() -> None:
            with contextlib.suppress(FileNotFoundError), self._folder(parent_of(path)) as fd:
                os.unlink(self._name(path), dir_fd=fd)
                self._touched.add(parent_of(path))

        await self._call(path, work)

    async def make_folders(self, folder: str) -> None:
        def work() -> None:
            made = ""
            for part in check_path(folder).split("/") if folder else ():
                with self._folder(made) as fd, contextlib.suppress(FileExistsError):
                    os.mkdir(self._name(part), dir_fd=fd)
                    self._touched.add(made)
                made = f"{made}/{part}" if made else part
            with self._folder(made):
                """It is a folder, and not a link to one."""

        await self._call(folder, work)

    async def settle(self) -> None:
        def work() -> None:
            for folder in list(self._touched):
                # One that is gone meanwhile has nothing that could come back.
                with contextlib.suppress(FileNotFoundError), self._folder(folder) as fd:
                    os.fsync(fd)
                self._touched.discard(folder)

        if self._touched:
            await self._call("", work)

    # -- paths ---------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _folder(self, folder: str) -> Iterator[int]:
        """A descriptor of a folder, every part of its path a folder itself and no link."""
        fd = os.dup(self._fd)
        try:
            for part in check_path(folder).split("/") if folder else ():
                below = os.open(self._name(part), _FOLDER, dir_fd=fd)
                os.close(fd)
                fd = below
            yield fd
        finally:
            os.close(fd)

    def _opened(self, path: str) -> int:
        """A descriptor of a regular file, for reading."""
        with self._folder(parent_of(path)) as fd:
            file = os.open(self._name(path), os.O_RDONLY | _FILE, dir_fd=fd)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise _not_a_file(path)
        return file

    def _name(self, path: str) -> bytes:
        return check_path(path).rpartition("/")[2].encode(self._charset, "surrogateescape")

    def _text(self, name: str) -> str:
        return os.fsencode(name).decode(self._charset, "surrogateescape")

    def _forget(self, fd: int) -> None:
        def work() -> None:
            if fd in self._open:
                self._open.discard(fd)
                os.close(fd)

        with contextlib.suppress(RuntimeError):  # closed already, and the descriptor with it
            self._thread.submit(work)

    async def _call(self, path: str, work: Callable[[], T]) -> T:
        """Do it in the thread; also when the caller is cancelled it is done to its end, so that no descriptor is lost."""
        try:
            return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, work))
        except OSError as error:
            raise _sorted_out(path, error) from error
        except RuntimeError as error:
            raise failed(path, t("the place is closed", "连接已关闭")) from error
        except UnicodeEncodeError as error:
            text = t(f"the name can't be written in {self._charset}", f"文件名无法用 {self._charset} 表示")
            raise PermanentError(text, code="file.name") from error


class _LocalContent(Content):
    def __init__(self, files: LocalFiles, path: str, fd: int) -> None:
        self._files, self._path, self._fd = files, path, fd

    async def read(self, size: int) -> bytes:
        return await self._files._call(self._path, lambda: os.read(self._fd, size))

    async def close(self) -> None:
        self._files._forget(self._fd)


def _entry(path: str, found: os.stat_result) -> Entry:
    stamp = f"{found.st_mtime_ns}.{found.st_ino}"
    return Entry(path, kind_of(found.st_mode), found.st_size, found.st_mtime, stamp)


def _without_overwriting(old: bytes, source: int, new: bytes, target: int) -> None:
    """Link, then unlink: a rename would overwrite. Safe to repeat after a crash between the two."""
    try:
        os.link(old, new, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except FileExistsError:
        there = os.stat(new, dir_fd=target, follow_symlinks=False)
        if not os.path.samestat(there, os.stat(old, dir_fd=source, follow_symlinks=False)):
            raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # A file system without hard links: look, then rename.
        with contextlib.suppress(FileNotFoundError):
            os.stat(new, dir_fd=target, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, "exists") from None
        os.rename(old, new, src_dir_fd=source, dst_dir_fd=target)
        return
    os.unlink(old, dir_fd=source)


def _not_a_file(path: str) -> SendError:
    return PermanentError(t(f"{shown(path)} is not a regular file", f"{shown(path)} 不是普通文件"), code="file.kind")


def _sorted_out(path: str, error: OSError) -> SendError:
    number = error.errno
    if number == errno.ENOENT:
        return FileMissing(t(f"{shown(path)} does not exist", f"{shown(path)} 不存在"))
    if number == errno.EEXIST:
        return AlreadyThere(t(f"{shown(path)} exists", f"{shown(path)} 已存在"))
    if number in (errno.ENOTDIR, errno.ELOOP, errno.EISDIR):
        text = t(f"{shown(path)} is a link or of another kind", f"{shown(path)} 是链接或类型不符")
        return PermanentError(text, code="file.kind")
    if number == errno.ENAMETOOLONG:
        return too_long()
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return forbidden(path)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return full(path)
    if number == errno.EXDEV:
        text = t("the folders are on different file systems", "各文件夹不在同一文件系统上")
        return PermanentError(f"{shown(path)}: {text}", code="file.device")
    return failed(path, error.strerror or type(error).__name__)
