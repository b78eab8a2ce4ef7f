"""What becomes of a file once its messages are stored: archived, deleted, renamed, left; or, refused, put aside with the reason.

Every step can be repeated after a crash, and nothing is ever overwritten.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime

from adapters.files.backend import AlreadyThere, Backend, FileMissing, parent_of, shown
from adapters.files.naming import Template, fields_of
from adapters.files.options import Reading
from hub.api import HubError
from hub.i18n import t
from hub.masking import mask_text

__all__ = ["Finisher"]

#: Files of the same name in one folder of the archive.
_SAME = 10_000


class Finisher:
    """For one run; ``marker_of`` names the marker file of a file, "" where there is none."""

    def __init__(
        self, backend: Backend, options: Reading, marker_of: Callable[[str], str], now: datetime, taken: dict[str, int]
    ) -> None:
        self._backend, self._options, self._marker_of, self._now = backend, options, marker_of, now
        self._made: set[str] = set()
        self._taken = taken  # numbers that files of the same name had last, so that each need not be tried again

    async def accepted(self, path: str) -> None:
        """Raises :class:`SendError`; to be called again then."""
        options = self._options
        if options.after == "leave":
            return
        await self._remove_marker(path)
        if options.after == "delete":
            await self._backend.remove(path)
        elif options.after == "rename":
            folder, slash, name = path.rpartition("/")
            target = Template(options.rename_to).fill(fields_of(name), str)
            await self._move(path, folder + slash + target)
        else:
            await self._move(path, self._below(self._now.strftime(options.archive), path))

    async def refused(self, path: str, error: HubError) -> None:
        """Put a file into the error folder, what is wrong with it beside."""
        options = self._options
        if not options.error:
            return
        if options.after == "leave":
            await self._explain(self._below(options.error, path), path, error)
            return
        await self._remove_marker(path)
        await self._move(path, self._below(options.error, path), explain=error)

    def _below(self, folder: str, path: str) -> str:
        """The same path below another folder; folders of a recursive read stay."""
        inner = path.removeprefix(f"{self._options.folder}/") if self._options.folder else path
        return f"{folder}/{inner}"

    async def _move(self, path: str, target: str, *, explain: HubError | None = None) -> None:
        """Move to the target or, where that exists, to one with a number; nothing when the file is gone: moved before a crash."""
        await self._folders(parent_of(target))
        stem, dot, ext = target.rpartition(".")
        if "/" in ext or not stem or stem.endswith("/"):
            stem, dot, ext = target, "", ""
        first = self._taken.get(target, 0)
        for number in range(first, first + _SAME):
            free = f"{stem}~{number}{dot}{ext}" if number else target
            try:
                await self._backend.rename(path, free, replace=False)
            except AlreadyThere:
                continue
            except FileMissing:
                if await self._backend.entry(path) is not None:
                    raise
                return
            if len(self._taken) > 10_000:
                self._taken.clear()
            self._taken[target] = number
            if explain is not None:
                await self._explain(free, path, explain)
            return
        raise AlreadyThere(t(f"too many files {shown(target)}", f"同名文件 {shown(target)} 过多"))

    async def _explain(self, target: str, path: str, error: HubError) -> None:
        await self._folders(parent_of(target))
        reason = {
            "file": shown(path),
            "time": self._now.isoformat(timespec="seconds"),
            "code": error.code,
            "reason": mask_text(error.text),
            "remedy": error.remedy,
        }
        text = json.dumps(reason, ensure_ascii=False, indent=2) + "\n"
        await self._backend.write(f"{target}.reason.json", [text.encode()], 0, None)

    async def _folders(self, folder: str) -> None:
        if folder not in self._made:
            await self._backend.make_folders(folder)
            self._made.add(folder)

    async def _remove_marker(self, path: str) -> None:
        marker = self._marker_of(path)
        if marker:
            await self._backend.remove(marker)
