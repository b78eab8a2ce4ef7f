"""Which files of a folder are to be read now: by name, whole, in order."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from fnmatch import translate

from adapters.files.backend import Backend, Entry
from adapters.files.naming import Template, fields_of
from adapters.files.options import Reading
from hub.api import HubError
from hub.i18n import t

__all__ = ["Look"]


class Look:
    """Looks at the folder; remembers sizes and times from one look to the next."""

    def __init__(self, options: Reading) -> None:
        self._options = options
        flags = 0 if options.case else re.IGNORECASE
        self._match = re.compile("|".join(translate(text) for text in options.match), flags)
        self._ignore = re.compile("|".join(translate(text) for text in options.ignore) or r"(?!)", flags)
        self._marker = Template(options.complete.marker) if options.complete.by == "marker" else None
        self._renamed = _any_of(options.rename_to) if options.after == "rename" else None
        self._last: dict[str, tuple[int, float]] = {}
        self._skipped = {options.error}
        if options.after == "archive":
            self._skipped.add((options.archive.split("%")[0] + "x").rpartition("/")[0])
        if options.answer is not None:
            self._skipped.add(options.answer.folder)
        self.listing: list[Entry] = []  # every file, also those that are not read
        self.whole = False  # whether these are all

    async def candidates(self, backend: Backend) -> list[Entry]:
        """The files to read, in order. Raises :class:`SendError` when the folder can't be read."""
        found = await self._files(backend)
        complete = self._options.complete
        if complete.by == "marker":
            found = self._marked(found)
        else:
            found = [entry for entry in found if self._wanted(entry.name)]
            if complete.by == "stable":
                if any(self._last.get(entry.path) != (entry.size, entry.modified) for entry in found):
                    self._note(found)
                    await asyncio.sleep(complete.settle)
                    found = [entry for entry in await self._files(backend) if self._wanted(entry.name)]
                stable = [entry for entry in found if self._last.get(entry.path) == (entry.size, entry.modified)]
                self._note(found)
                found = stable
        if self._options.order == "time":
            return sorted(found, key=lambda entry: (entry.modified, entry.path))
        return sorted(found, key=lambda entry: entry.path)

    def marker_of(self, path: str) -> str:
        """The path of the marker file of a file; "" where there are none."""
        if self._marker is None:
            return ""
        folder, slash, name = path.rpartition("/")
        return folder + slash + self._marker.fill(fields_of(name), str)

    def _note(self, found: Sequence[Entry]) -> None:
        self._last = {entry.path: (entry.size, entry.modified) for entry in found}

    def _wanted(self, name: str) -> bool:
        if self._renamed is not None and self._renamed.fullmatch(name):
            return False
        return bool(self._match.match(name)) and not self._ignore.match(name)

    def _marked(self, found: list[Entry]) -> list[Entry]:
        paths = {entry.path for entry in found}
        markers = {self.marker_of(path) for path in paths} & paths
        return [
            entry
            for entry in found
            if entry.path not in markers and self.marker_of(entry.path) in paths and self._wanted(entry.name)
        ]

    async def _files(self, backend: Backend) -> list[Entry]:
        options = self._options
        files: list[Entry] = []
        whole = True
        folders = [(options.folder, 0)]
        while folders:
            folder, depth = folders.pop()
            left = options.max_files - len(files)
            listed = await backend.entries(folder, left + 1)
            if len(listed) > left:
                del listed[left:]
                whole = False
            for entry in listed:
                if entry.kind == "file":
                    files.append(entry)
                elif entry.kind == "folder" and depth < options.recurse and entry.path not in self._skipped:
                    folders.append((entry.path, depth + 1))
            if not whole:
                break
            if len(folders) > options.max_files:
                raise HubError(t("too many folders", "文件夹过多"), code="file.folders")
        self.listing, self.whole = files, whole
        return files


def _any_of(template: str) -> re.Pattern[str]:
    """Every name a template can make."""
    parts = re.split(r"\{[A-Za-z_]\w*\}", template)
    return re.compile(".*".join(re.escape(part) for part in parts), re.DOTALL)
