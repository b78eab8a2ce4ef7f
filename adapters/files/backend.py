"""What the three kinds of place have in common: folders below a root, read and written through one small interface.

Paths are relative to the root, parts joined by ``/``. A name is the text of its bytes in the character set of ``names``; bytes that
don't fit it are kept as surrogates (PEP 383), so that every name can be given back exactly.
"""

from __future__ import annotations

import stat as modes
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from hub.api import PermanentError, SendError, TransientError, UnreachableError
from hub.i18n import t
from hub.masking import mask_text

__all__ = [
    "BLOCK",
    "MAX_NAME",
    "AlreadyThere",
    "Backend",
    "Content",
    "Entry",
    "FileMissing",
    "check_path",
    "failed",
    "forbidden",
    "full",
    "kind_of",
    "no_answer",
    "parent_of",
    "shown",
    "too_long",
    "unreachable",
]

#: How much is read at a time, bytes.
BLOCK = 256 << 10
#: Longest name of a file or folder in bytes, as file systems have it, and of a whole path.
MAX_NAME = 255
_MAX_PATH = 4000


class FileMissing(PermanentError):
    """There is no such file or folder."""

    code = "file.missing"


class AlreadyThere(PermanentError):
    """A file of this name exists, and must not be overwritten."""

    code = "file.exists"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a folder."""

    path: str
    kind: str  # "file", "folder", "other": links, devices, pipes, sockets
    size: int = 0
    modified: float = 0.0  # Unix seconds, as exactly as the place tells it; some tell minutes only
    stamp: str = (
        ""  # tells one content from the next, together with path and size; stays the same for an unchanged file
    )

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


class Content(ABC):
    """A file being read from some place on, in order."""

    @abstractmethod
    async def read(self, size: int) -> bytes:
        """At most ``size`` bytes; empty at the end. Raises :class:`SendError`."""

    @abstractmethod
    async def close(self) -> None:
        """Give back what it holds; never raises."""


class Backend(ABC):
    """One connection to one place, used by one task at a time. Every method raises :class:`SendError` when it fails."""

    #: Whether :meth:`entry` tells the same stamp as :meth:`entries`.
    exact_stamps = True

    @abstractmethod
    async def open(self) -> None:
        """Connect; raises :class:`UnreachableError`."""

    @abstractmethod
    async def close(self) -> None:
        """End the connection, also from the middle of a call that hangs; never raises."""

    async def alive(self) -> bool:
        """Whether a connection that was not used for a while still answers."""
        return True

    @abstractmethod
    async def entries(self, folder: str, limit: int) -> list[Entry]:
        """The first ``limit`` entries of a folder, in no order; links are not followed."""

    @abstractmethod
    async def entry(self, path: str) -> Entry | None:
        """One entry; None when there is none."""

    @abstractmethod
    async def read(self, path: str, offset: int = 0) -> Content:
        """Begin to read a regular file."""

    async def whole(self, path: str, most: int) -> bytes:
        """A regular file from its beginning: all of it, or, of one that is longer, more than ``most`` bytes."""
        parts: list[bytes] = []
        size = 0
        content = await self.read(path)
        try:
            while size <= most and (block := await content.read(BLOCK)):
                parts.append(block)
                size += len(block)
        finally:
            await content.close()
        return b"".join(parts)

    @abstractmethod
    async def write(self, path: str, parts: Sequence[bytes | memoryview], offset: int, mode: int | None) -> None:
        """Write a file from ``offset`` on (0: anew) until it is on the other side's disk; what stood behind is cut off where
        the place can do that. ``mode``: its permissions."""

    @abstractmethod
    async def rename(self, old: str, new: str, *, replace: bool) -> None:
        """Give a file another path; without ``replace`` raises :class:`AlreadyThere` rather than overwrite one."""

    @abstractmethod
    async def remove(self, path: str) -> None:
        """Remove a file; none there is no error."""

    @abstractmethod
    async def make_folders(self, folder: str) -> None:
        """Make a folder and those above it, where they are missing."""

    async def settle(self) -> None:
        """Return once what was renamed, removed and made stays so through a power failure, as far as the place lets one know."""
        return


def parent_of(path: str) -> str:
    """The folder of a path; "" for the root."""
    return path.rpartition("/")[0]


def check_path(path: str) -> str:
    """A relative path that stays below the root, as it is; raises :class:`PermanentError`."""
    parts = path.split("/") if path else []
    for part in parts:
        if part in ("", ".", "..") or "\0" in part:
            raise PermanentError(
                t("a path leads out of the folder", "路径超出所在文件夹"),
                code="file.path",
            )
        if len(part.encode("utf-8", "surrogateescape")) > MAX_NAME:
            raise too_long()
    if len(path) > _MAX_PATH:
        raise too_long()
    return path


def shown(path: str) -> str:
    """A path for people: bytes that are no text as %XX, personal data masked."""
    text = "".join(f"%{ord(c) - 0xDC00:02X}" if "\udc80" <= c <= "\udcff" else c for c in path)
    return mask_text("".join(c if c.isprintable() else f"%{ord(c):02X}" for c in text))


def kind_of(mode: int) -> str:
    """The kind of an entry by its POSIX mode."""
    return "file" if modes.S_ISREG(mode) else "folder" if modes.S_ISDIR(mode) else "other"


# -- errors, in words that are the same for all places -----------------------------------------------------------------


def unreachable(address: str, reason: str, *, code: str = "file.unreachable") -> UnreachableError:
    return UnreachableError(t(f"can't reach {address}: {reason}", f"无法连接 {address}：{reason}"), code=code)


def forbidden(path: str) -> SendError:
    """Somebody has to put it right on the other side; the file itself is not at fault."""
    return TransientError(t(f"no permission for {shown(path)}", f"没有 {shown(path)} 的权限"), code="file.permission")


def full(path: str) -> SendError:
    return TransientError(
        t(f"no room left to write {shown(path)}", f"空间不足，无法写入 {shown(path)}"), code="file.full"
    )


def too_long() -> SendError:
    return PermanentError(t("the name is too long", "文件名过长"), code="file.name")


def failed(path: str, reason: str) -> SendError:
    return TransientError(t(f"{shown(path)}: {reason}", f"{shown(path)}：{reason}"), code="file.failed")


def no_answer(address: str, seconds: float) -> SendError:
    return TransientError(
        t(f"{address} did not answer within {seconds:g} s", f"{address} 在 {seconds:g} 秒内无响应"), code="file.timeout"
    )
