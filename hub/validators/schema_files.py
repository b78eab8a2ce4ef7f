"""Schema files below the configured folders, and nothing else: names are relative to the folders, wherever a reference comes from.

Every file has a URI of its own, ``schema:///freight_ministry/waybill.json``, by which libraries resolve references. A path that leads out of the
folders can't be written in it, another scheme is not opened, and symbolic links are followed only within the folders.
"""

from __future__ import annotations

import posixpath
import urllib.parse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from hub.errors import Problem
from hub.i18n import t

__all__ = ["MAX_BYTES", "Reference", "SchemaFiles", "Source", "UnreadableError", "gather", "name_of", "uri_of"]

#: Largest schema file, bytes.
MAX_BYTES = 16 << 20
_SCHEME = "schema"


class Source(NamedTuple):
    """A schema file that was read."""

    name: str
    path: Path
    raw: bytes


class Reference(NamedTuple):
    """That a file refers to another one, as it is written in it; ``place`` finds out where: line (0: not known) and key."""

    uri: str
    place: Callable[[], tuple[int, str]]


class UnreadableError(Exception):
    """A schema file that is not there or can't be read; the text says why."""


def uri_of(name: str) -> str:
    """The URI of a file of this name."""
    return f"{_SCHEME}:///{urllib.parse.quote(name)}"


def name_of(uri: str, base: str = "") -> str:
    """The name in a URI, which may be relative to the file ``base``. Raises :class:`UnreadableError` for any outside of the folders."""
    try:
        parts = urllib.parse.urlsplit(uri)
    except ValueError:
        parts = urllib.parse.urlsplit("invalid:")
    path = urllib.parse.unquote(parts.path)
    if not parts.scheme and not parts.netloc:
        name = posixpath.normpath(posixpath.join(posixpath.dirname(base), path))
        if name.startswith(("/", "../")):
            raise UnreadableError(t(f"{uri[:200]} leads out of the schema folders", f"{uri[:200]} 超出了 schema 目录"))
        return name
    if parts.scheme != _SCHEME or parts.netloc:
        raise UnreadableError(
            t(
                f"{uri[:200]} is outside of the schema folders, and nothing is fetched",
                f"{uri[:200]} 不在 schema 目录内，系统不会从网络获取",
            )
        )
    return posixpath.normpath(path).lstrip("/")


class SchemaFiles:
    """The folders, the first of which that has a name wins."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(Path(folder) for folder in folders)

    def find(self, name: str) -> Path:
        """The file of a name; raises :class:`UnreadableError`."""
        if name.startswith("/") or "\\" in name or "\0" in name or ".." in name.split("/"):
            raise UnreadableError(
                t(f"{name!r} is not a name below the schema folders", f"{name!r} 不是 schema 目录下的文件名")
            )
        for folder in self.folders:
            path = folder / name
            if path.is_file():
                if not path.resolve().is_relative_to(folder.resolve()):
                    raise UnreadableError(
                        t(f"{name!r} is a link that leads out of {folder}", f"{name!r} 是指向 {folder} 之外的链接")
                    )
                return path
        where = ", ".join(map(str, self.folders)) or t("no folder", "（无目录）")
        raise UnreadableError(t(f"there is no file {name!r} in {where}", f"{where} 中没有文件 {name!r}"))

    def read(self, name: str) -> tuple[Path, bytes]:
        """The file and its bytes; raises :class:`UnreadableError`."""
        path = self.find(name)
        try:
            with path.open("rb") as stream:
                raw = stream.read(MAX_BYTES + 1)
        except OSError as error:
            reason = error.strerror or str(error)
            raise UnreadableError(t(f"{path} can't be read: {reason}", f"{path} 无法读取：{reason}")) from error
        if len(raw) > MAX_BYTES:
            raise UnreadableError(t(f"{path} is larger than {MAX_BYTES >> 20} MB", f"{path} 超过 {MAX_BYTES >> 20} MB"))
        return path, raw


def gather(
    first: Source, files: SchemaFiles, references: Callable[[Source], Iterable[Reference]]
) -> tuple[list[Source], list[Problem]]:
    """A file and all it refers to, directly or through others, in a fixed order; and what is wrong with the references.

    ``references`` reads those of one file and raises :class:`hub.errors.ConfigError` for a file that can't be read as a schema.
    """
    sources, problems = {first.name: first}, []
    open_ends = [first]
    while open_ends:
        source = open_ends.pop()
        seen: set[str] = set()
        for reference in references(source):
            uri = reference.uri.partition("#")[0]
            if uri in seen:
                continue
            seen.add(uri)
            try:
                name = name_of(uri, source.name)
                if name in sources:
                    continue
                sources[name] = Source(name, *files.read(name))
            except UnreadableError as error:
                remedy = t(
                    "write the path from this file to another one below the schema folders",
                    "请写出从本文件到 schema 目录内另一文件的相对路径",
                )
                problems.append(Problem(str(error), str(source.path), *reference.place(), remedy))
            else:
                open_ends.append(sources[name])
    return list(sources.values()), problems
