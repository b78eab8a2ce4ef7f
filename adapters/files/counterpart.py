"""The other end of a folder for simulators: takes the files the hub writes, and lays out files for it to read.

A folder in which there is something already is not touched: its files are somebody's. One the simulator has made goes with it.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from adapters.files.naming import Template, fields_of
from adapters.files.options import FileConnect, FileListen
from hub.api import HubError
from hub.i18n import t
from hub.simulator.behaviour import Behaviour
from hub.simulator.calls import SimulatedReply
from hub.simulator.counterpart import Counterpart, Listening
from hub.simulator.party import Facts, Opened, Party
from hub.simulator.side import Side, Unfit

__all__ = ["FileCounterpart"]

#: Folders are looked at so often, seconds.
_LOOK_S = 0.05
_LARGEST = 64 << 20
_MOST = 10_000
_PLACE = re.compile(r"\{\w+\}")


class FileCounterpart(Counterpart):
    """Of ``file``. Nothing is answered: of the ways to misbehave none is possible."""

    answers = False

    def listening(self, sides: Sequence[Side], party: Party) -> Listening:
        return _Folders(sides, party)

    async def send(
        self, side: Side, to: str, options: Mapping[str, Any], body: bytes, behaviour: Behaviour | None
    ) -> SimulatedReply:
        raise HubError(
            t("the hub reads a folder, nobody calls it", "枢纽读取文件夹，无对方调用"),
            code="simulate.source",
            remedy=t("lay a file out: offer", "请用 offer 放置文件"),
        )


class _Folders(Listening):
    def __init__(self, sides: Sequence[Side], party: Party) -> None:
        self._party = party
        self._outs = [side for side in sides if isinstance(side.bound.options, FileConnect)]
        self._roots = {Path(cast(FileConnect | FileListen, side.bound.options).root) for side in sides}
        self._made: list[Path] = []
        self._seen: set[tuple[str, str, int, int]] = set()
        self._number = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        for root in self._roots:
            if root.is_dir() and not any(root.iterdir()):
                continue
            first = next((above for above in reversed((root, *root.parents)) if not above.exists()), root)
            try:
                root.mkdir(mode=0o700, parents=True)
            except OSError as error:
                raise HubError(
                    t(
                        f"the folder {root} can't be used: {error.strerror}",
                        f"文件夹 {root} 无法使用：{error.strerror}",
                    ),
                    code="simulate.folder",
                    remedy=t(
                        "leave the setting to the simulator, or give a new or empty folder",
                        "请由模拟器生成该设置，或给出新的或空的文件夹",
                    ),
                ) from error
            self._made.append(first)
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        for folder in self._made:
            await asyncio.to_thread(shutil.rmtree, folder, True)
        self._made.clear()

    # -- files the hub writes ----------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            for side in self._outs:
                for body in await asyncio.to_thread(self._new, side):
                    self._party.hear(await asyncio.to_thread(self._opened, side, body))
            await asyncio.sleep(_LOOK_S)

    def _new(self, side: Side) -> list[bytes | None]:
        """Files that came since, None for one that is too large; with a marker those whose marker has come."""
        found: list[bytes | None] = []
        for entry, file in self._written(side):
            key = (side.interface, *entry)
            if key in self._seen:
                continue
            with suppress(OSError):
                found.append(file.read_bytes() if file.stat().st_size <= _LARGEST else None)
                self._seen.add(key)
        return found

    def _written(self, side: Side) -> Iterator[tuple[tuple[str, int, int], Path]]:
        """(path, time, size) of each whole file whose name is one the interface gives."""
        options = cast(FileConnect, side.bound.options)
        root = Path(options.root)
        name = _pattern(options.name)
        folder = _pattern(options.folder) if options.folder else re.compile("")
        marker = Template(options.marker)
        listed = 0
        for base, folders, names in os.walk(root):
            folders.sort()
            below = os.path.relpath(base, root)
            if folder.fullmatch("" if below == "." else below) is None:
                continue
            for one in sorted(names):
                listed += 1
                if listed > _MOST:
                    return
                if one.startswith(".") or name.fullmatch(one) is None:
                    continue
                file = Path(base) / one
                if options.marker and not (file.parent / marker.fill(fields_of(one), str)).exists():
                    continue
                with suppress(OSError):
                    facts = file.stat()
                    yield (str(file), facts.st_mtime_ns, facts.st_size), file

    def _opened(self, side: Side, body: bytes | None) -> Opened:
        if body is None:
            return Opened(side, b"", Facts(), unfit=Unfit("file.size", t("the file is too large", "文件过大")))
        return self._party.read(side, body, Facts())

    # -- files the hub reads -----------------------------------------------------------------------------------------------

    async def offer(self, side: Side, body: bytes) -> None:
        await asyncio.to_thread(self._lay, side, cast(FileListen, side.bound.options), body)

    def _lay(self, side: Side, options: FileListen, body: bytes) -> None:
        self._number += 1
        name = _name_like(options, f"{self._number:06}-{secrets.token_hex(4)}", side.interface)
        folder = Path(options.root) / options.folder
        folder.mkdir(parents=True, exist_ok=True)
        passing = folder / f".{name}.part"
        passing.write_bytes(body)
        passing.replace(folder / name)
        if options.complete.by == "marker":
            (folder / Template(options.complete.marker).fill(fields_of(name), str)).touch()


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(".+".join(re.escape(part) for part in _PLACE.split(template)))


def _name_like(options: FileListen, number: str, interface: str) -> str:
    """A name the interface reads. Raises :class:`HubError` where only the contract's author knows one."""
    for wanted in options.match:
        name = wanted.replace("*", number, 1).replace("*", "").replace("?", "0")
        if "[" not in name and (options.naming is None or re.fullmatch(options.naming.pattern, name)):
            return name
    raise HubError(
        t(
            f"{interface}: a file name can't be derived from match and naming",
            f"{interface}：无法由 match 与 naming 推出文件名",
        ),
        code="simulate.offer",
        remedy=t("lay the file out yourself", "请自行放置文件"),
    )
