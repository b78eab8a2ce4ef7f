"""Saved files take effect by themselves: configuration, contracts, plugin code, mappings, code tables and schemas are watched, and keys.

By looking at the files' times a few times a second rather than by the operating system's notices: those do not cross network drives and
container mounts, and miss editors that replace files. A file that is still being written is left alone until it has been the same twice.
"""

from __future__ import annotations

import asyncio
import glob
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from hub.config import load_config
from hub.errors import ConfigError, HubError, Problem
from hub.keys.config import CHANGED
from hub.privacy.load import SITE_FILE

__all__ = ["WATCHER", "Watcher"]

log = logging.getLogger(__name__)

#: Who reloads, in the audit trail.
WATCHER = "file watcher"
_EVERY_S = 0.3
#: Looking may take this share of one processor; where there are very many files, it is done less often.
_SHARE = 0.03
_TESTS = ".tests.yaml"
_SCHEMAS = (".json", ".xsd", ".sch", ".yaml")

#: A file's time of change (ns), size and number; replaced files differ in the last.
Stamp = tuple[int, int, int]


class Watcher:
    """Calls ``reload`` soon after a file has changed; what it refuses is kept in :attr:`refused` until it is mended.

    ``refused`` is about the files as they are now; the hub goes on with what it read before.
    """

    def __init__(self, config_file: Path, reload: Callable[[str], Awaitable[Any]], every: float = _EVERY_S) -> None:
        self.refused: list[Problem] = []
        self._config_file = config_file
        self._reload = reload
        self._every = every
        self._loaded = load_config(config_file)
        self._used = self.look()

    async def run(self) -> None:
        """Watch until cancelled."""
        seen = self._used
        pause = self._every
        while True:
            await asyncio.sleep(pause)
            begun = time.perf_counter()
            before, seen = seen, await asyncio.to_thread(self.look)
            pause = max(self._every, (time.perf_counter() - begun) / _SHARE)
            if seen != self._used and seen == before and await self._take_up():
                self._used = seen

    async def _take_up(self) -> bool:
        """Reload; False when it has to be tried again with the same files."""
        told = self.refused
        again = False
        try:
            await self._reload(WATCHER)
        except ConfigError as error:
            self.refused = error.problems
        except HubError as error:  # no fault of the files: a worker is just being started again
            self.refused = [Problem(error.text, str(self._config_file), remedy=error.remedy)]
            again = True
        except Exception as error:  # whatever it is, the next change must be noticed as well
            log.exception("the changed files could not be read")
            self.refused = [Problem(type(error).__name__, str(self._config_file))]
        else:
            self.refused = []
        for problem in self.refused if self.refused != told else ():
            log.error("not taken over, what was read before stays in use: %s", problem)
        self._loaded = await asyncio.to_thread(load_config, self._config_file)  # it may name other folders now
        return not again

    def look(self) -> dict[str, Stamp]:
        """The files there are, with their stamps. For a thread: it reads folders."""
        found: dict[str, Stamp] = {}
        for path in self._files():
            with suppress(OSError):  # removed since the folder was read
                state = os.stat(path)
                found[path] = (state.st_mtime_ns, state.st_size, state.st_ino)
        return found

    def _files(self) -> Iterator[str]:
        base = self._config_file.parent
        yield str(self._config_file)
        yield str(base / self._loaded.hub.keys.path / CHANGED)
        yield str(base / SITE_FILE)
        for pattern in self._loaded.hub.include:
            yield from glob.glob(str(base / pattern), recursive=True)
        for folder in self._loaded.plugin_folders:
            yield from _below(folder, lambda name: name in ("plugin.yaml", "profile.yaml") or name.endswith(".py"))
        for folder in self._loaded.mapping_folders:
            yield from _below(folder, lambda name: name.endswith((".yaml", ".csv")) and not name.endswith(_TESTS))
        for folder in self._loaded.flow_folders:
            yield from _below(folder, lambda name: name.endswith(".yaml"))
        for folder in self._loaded.schema_folders:
            yield from _below(folder, lambda name: name.endswith(_SCHEMAS) and not name.endswith(_TESTS))


def _below(folder: Path, wanted: Callable[[str], bool]) -> Iterator[str]:
    for where, _, names in os.walk(folder):
        for name in names:
            if wanted(name):
                yield f"{where}/{name}"
