"""The hub as everybody runs it: a process of its own, its command line, its admin API."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp

from hub.i18n import language
from tests.demo.place import REPOSITORY, Place

__all__ = ["DemoError", "Hub", "Said"]

#: Time the hub gets to start or to stop, seconds.
_PATIENCE = 60.0
_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")


class DemoError(Exception):
    """The story can't go on."""


class Said:
    """What a command said."""

    def __init__(self, status: int, out: bytes, error: bytes) -> None:
        self.status = status
        self.out = out.decode("utf-8", "replace").strip()
        self.error = error.decode("utf-8", "replace").strip()

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.out)
        except ValueError as error:
            raise DemoError(f"not JSON: {self.out[:300]} {self.error[:300]}") from error


class Hub:
    """``hub run`` as a subprocess."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.address = ""
        self._process: asyncio.subprocess.Process | None = None
        self._environment = {**os.environ, "TONGQU_LANG": language(), "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
        self._environment.pop("TONGQU_ADMIN_URL", None)

    # -- the process ---------------------------------------------------------------------------------------------

    def command(self, *words: str) -> list[str]:
        """``hub flows list`` has its options after both words, ``hub dead resend`` before the second."""
        head = 2 if words[0] == "flows" else 1
        return [sys.executable, "-m", "hub.cli", *words[:head], "--config", str(self.place.config), *words[head:]]

    def shown(self, *words: str) -> str:
        """A command as a person types it in the repository."""
        folder = os.path.relpath(Path(sys.executable).parent, REPOSITORY)
        config = os.path.relpath(self.place.config, REPOSITORY)
        url = "" if self.place.config.is_relative_to(REPOSITORY / "config") else f"TONGQU_ADMIN_URL={self.address} "
        return f"{url}{folder}/hub {shlex.join([words[0], '--config', config, *words[1:]])}"

    async def start(self) -> None:
        """Start it and wait until it is ready for messages."""
        self.place.log.parent.mkdir(parents=True, exist_ok=True)
        with self.place.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.command("run"), cwd=REPOSITORY, env=self._environment, stdout=log, stderr=log
            )
        reasons = "no answer"
        try:
            async with asyncio.timeout(_PATIENCE):
                while True:
                    if self._process.returncode is not None:
                        raise DemoError(f"hub run ended with status {self._process.returncode}:\n{self._tail()}")
                    if not self.address:
                        found = _ADDRESS.search(self.place.log.read_text("utf-8", "replace"))
                        self.address = found[0] if found else ""
                    if self.address:
                        status, answer = await self._ask("/readyz")
                        if status == 200:
                            break
                        reasons = str(answer)
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise DemoError(f"hub run was not ready within {_PATIENCE:g} s ({reasons}):\n{self._tail()}") from None
        self._environment["TONGQU_ADMIN_URL"] = self.address

    async def stop(self) -> int:
        """Ask it to stop and wait; the exit status."""
        process = self._process
        if process is None:
            return -1
        if process.returncode is not None:
            return process.returncode
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_PATIENCE):
                return await process.wait()
        except TimeoutError:
            process.kill()
            return await process.wait()

    async def wait(self) -> None:
        if self._process is not None:
            await self._process.wait()

    def _tail(self) -> str:
        return "\n".join(self.place.log.read_text("utf-8", "replace").splitlines()[-20:])

    # -- asking it -----------------------------------------------------------------------------------------------

    async def _ask(self, path: str, token: str = "") -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(self.address + path, headers=headers, timeout=aiohttp.ClientTimeout(10)) as response,
            ):
                return response.status, await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return 0, repr(error)

    async def get(self, path: str) -> Any:
        """The answer of the admin API."""
        status, answer = await self._ask(path, (self.place.data / "admin.token").read_text().strip())
        if status != 200:
            raise DemoError(f"{path}: {status} {answer}")
        return answer

    async def status(self) -> Any:
        """The status of the only worker."""
        return (await self.get("/api/v1/status"))["workers"][0]

    async def cli(self, *words: str) -> Said:
        """Run a command of the ``hub`` program."""
        process = await asyncio.create_subprocess_exec(
            *self.command(*words),
            cwd=REPOSITORY,
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, error = await process.communicate()
        return Said(process.returncode or 0, out, error)

    async def cli_json(self, *words: Any) -> Any:
        said = await self.cli(*[str(word) for word in words], "--json")
        return said.json
