"""One writer per folder: an advisory lock that ends with the process that holds it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from hub.errors import HubError
from hub.i18n import t

__all__ = ["FolderLock"]


class FolderLock:
    """``flock`` on the file ``lock`` of a folder; its text is the pid of the holder."""

    def __init__(self, folder: Path) -> None:
        """Take the lock; raises :class:`HubError` (``store.locked``) when another process has it."""
        self._path = folder / "lock"
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip() or "?"
            os.close(self._descriptor)
            raise HubError(
                t(
                    f"the store in {folder} is in use by process {holder}",
                    f"存储目录 {folder} 正被进程 {holder} 使用",
                ),
                code="store.locked",
                remedy=t(
                    f"stop process {holder}, or give this hub another store.path",
                    f"停止进程 {holder}，或为本枢纽设置其他 store.path",
                ),
            ) from None
        except BaseException:
            os.close(self._descriptor)
            raise
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        os.close(self._descriptor)
