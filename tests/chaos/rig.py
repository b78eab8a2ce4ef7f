"""The hub as it is run: a configuration of its own, processes of its own, and what tests ask of them again and again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from hub.audit import verify
from hub.store.merged import open_reader
from tests.chaos.sink import CheckingSink
from tests.ports import free_port

__all__ = ["EAGER", "REPOSITORY", "HubProcess", "Said", "Site", "free_port", "until"]

REPOSITORY = Path(__file__).resolve().parents[2]

#: A contract that never gives up and never pauses for long: what is late is late by the target's fault.
EAGER: dict[str, Any] = {
    "timeout": "1s",
    "retry": {"attempts": 100_000, "interval": "50ms"},
    "breaker": {"failures": 1000, "open_for": "50ms", "max_open_for": "100ms"},
}

_HIS = """
id: his
name: sends admissions by MLLP and notes by HTTP
settings:
  adt: {type: port, required: true}
  notes: {type: port, required: true}
interfaces:
  adt:
    direction: in
    adapter: mllp
    listen: {port: "${adt}"}
    codec: hl7v2
    keys: {patient_id: PID-3.1, name: PID-5.1}
  notes:
    direction: in
    adapter: http
    listen: {port: "${notes}", path: /notes, auth: {type: none}}
    codec: json
    type: type
    control_id: control
    keys: {patient_id: patient}
"""
_WEB = """
id: web
name: takes documents by HTTP
settings:
  url: {type: url, required: true}
interfaces:
  adt:
    direction: out
    accepts: ADT^*
    adapter: http
    connect: {url: "${url}/adt"}
    codec: json
    mapping: adt
    order_by: PID-3.1
  notes:
    direction: out
    accepts: note
    adapter: http
    connect: {url: "${url}/notes"}
    codec: json
    order_by: patient
"""
_LIS = """
id: lis
name: takes HL7 by MLLP
settings:
  port: {type: port, required: true}
interfaces:
  adt:
    direction: out
    accepts: ADT^*
    adapter: mllp
    connect: {host: 127.0.0.1, port: "${port}", connections: 4}
    codec: hl7v2
    order_by: PID-3.1
"""
_ADT = """
from: {codec: hl7v2, types: ["ADT^*"]}
to: {codec: json}
fields:
  control: {expr: MSH-10, required: true}
  patient: PID-3.1
  family: PID-5.1
  born: PID-7 | date
  sex: PID-8
  ward: PV1-3.1
"""


async def until(condition: Callable[[], Any], seconds: float = 30.0, what: str = "the condition") -> None:
    """Wait for a condition; fails at the deadline."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not come true in time"
        await asyncio.sleep(0.01)


class Site:
    """Configuration, plugins, mappings and data folder of one hub."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "config" / "hub.yaml"
        self.data = folder / "var"
        self.admin_port = free_port()
        self.config: dict[str, Any] = {
            "language": "en",
            "plugins": ["../plugins"],
            "mappings": ["../mappings"],
            "watch": False,
            "store": {"path": "../var", "min_free_disk": 0},
            "admin": {"port": self.admin_port},
            "systems": {},
            "routes": {},
        }
        for name, text in (("his", _HIS), ("web", _WEB), ("lis", _LIS)):
            self.plugin(name, text)
        self.mapping("adt", _ADT)

    def plugin(self, name: str, text: str, code: str = "") -> None:
        folder = self.folder / "plugins" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "plugin.yaml").write_text(text, encoding="utf-8")
        if code:
            (folder / "plugin.py").write_text(code, encoding="utf-8")

    def mapping(self, name: str, text: str) -> None:
        (self.folder / "mappings").mkdir(exist_ok=True)
        (self.folder / "mappings" / f"{name}.yaml").write_text(text, encoding="utf-8")

    def source(self, name: str = "his", **interfaces: Any) -> tuple[int, int]:
        """A sending system; returns the ports of its MLLP and its HTTP interface."""
        ports = free_port(), free_port()
        settings = {"adt": ports[0], "notes": ports[1]}
        self.config["systems"][name] = {"plugin": "his", "settings": settings, "interfaces": interfaces}
        return ports

    def web(self, name: str, sink: CheckingSink, source: str = "his", **contract: Any) -> None:
        """A receiving system by HTTP that gets everything the source sends."""
        self.config["systems"][name] = {
            "plugin": "web",
            "settings": {"url": f"http://127.0.0.1:{sink.port}"},
            "interfaces": {"adt": contract, "notes": contract},
        }
        self.config["routes"][f"adt_{name}"] = {"from": f"{source}/adt", "to": f"{name}/adt"}
        self.config["routes"][f"notes_{name}"] = {"from": f"{source}/notes", "to": f"{name}/notes"}

    def lis(self, name: str, sink: CheckingSink, source: str = "his", **contract: Any) -> None:
        """A receiving system by MLLP that gets the admissions of the source."""
        self.config["systems"][name] = {
            "plugin": "lis",
            "settings": {"port": sink.port},
            "interfaces": {"adt": contract},
        }
        self.config["routes"][f"adt_{name}"] = {"from": f"{source}/adt", "to": f"{name}/adt"}

    def write(self) -> Path:
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text(yaml.safe_dump(self.config, allow_unicode=True, sort_keys=False), encoding="utf-8")
        return self.file

    async def audited(self) -> dict[str, Any]:
        """Prove with the hub's own command that nothing vanished, and that every file is sound; returns the ledger."""
        said = await run(self, "verify-ledger", "--json")
        ledger: dict[str, Any] = said.json
        assert said.status == 0, said
        assert ledger["balanced"], ledger
        for folder in sorted(self.data.glob("worker-*")):
            reader = open_reader([folder])
            try:
                assert await reader.check() == []
                assert verify(await reader.audit()) == []
            finally:
                await reader.close()
        return ledger

    async def settled(self) -> dict[str, Any]:
        """As :meth:`audited`, and everything has arrived: nothing moves, nothing is dead."""
        ledger = await self.audited()
        for row in ledger["rows"]:
            assert (row["moving"], row["dead"], row["held"], row["skipped"]) == (0, 0, 0, 0), row
            assert row["routed"] == row["delivered"], row
        return ledger


class Said:
    """What a command said."""

    def __init__(self, status: int, out: bytes, error: bytes) -> None:
        self.status = status
        self.out = out.decode("utf-8", "replace")
        self.error = error.decode("utf-8", "replace")

    def __repr__(self) -> str:
        return f"status {self.status}\n{self.out[-2000:]}\n{self.error[-2000:]}"

    @property
    def json(self) -> Any:
        assert self.out, self
        return json.loads(self.out)


def command(site: Site, *words: str) -> list[str]:
    return [sys.executable, "-m", "hub.cli", words[0], "--config", str(site.file), *words[1:]]


def environment() -> dict[str, str]:
    return {**os.environ, "TONGQU_LANG": "en", "PYTHONUNBUFFERED": "1"}


async def run(site: Site, *words: str) -> Said:
    """Run a command of the ``hub`` program."""
    process = await asyncio.create_subprocess_exec(
        *command(site, *words),
        cwd=REPOSITORY,
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    return Said(process.returncode or 0, out, error)


class HubProcess:
    """``hub run`` as a process of its own; may be killed and started again."""

    def __init__(self, site: Site, *options: str) -> None:
        self.site = site
        self.options = options
        self.environment: dict[str, str] = {}  # more than this process has
        self.lives = 0
        self.log = site.folder / "hub.log"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def spawn(self) -> None:
        """Start the process and wait for nothing."""
        assert not self.running
        self.site.write()
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command(self.site, "run", *self.options),
                cwd=REPOSITORY,
                env={**environment(), **self.environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.lives += 1

    async def ready(self, seconds: float = 30.0) -> None:
        """Wait until it takes messages."""
        end = time.monotonic() + seconds
        while True:
            assert self.running, f"hub run ended with status {self.status}:\n{self.tail()}"
            status, answer = await self._ask("GET", "/readyz")
            if status == 200:
                return
            assert time.monotonic() < end, f"the hub was not ready in time: {answer}\n{self.tail()}"
            await asyncio.sleep(0.02)

    async def start(self) -> HubProcess:
        await self.spawn()
        await self.ready()
        return self

    @property
    def status(self) -> int | None:
        return None if self._process is None else self._process.returncode

    async def kill(self, pid: int = 0) -> None:
        """``kill -9`` the process, or one that belongs to it."""
        os.kill(pid or self.pid, signal.SIGKILL)
        if not pid or pid == self.pid:
            await self.gone()

    async def kill_group(self) -> None:
        os.killpg(self.pid, signal.SIGKILL)
        await self.gone()

    async def stop(self, seconds: float = 40.0) -> int:
        """SIGTERM; returns the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return await self.gone(seconds)

    async def gone(self, seconds: float = 40.0) -> int:
        assert self._process is not None
        try:
            async with asyncio.timeout(seconds):
                return await self._process.wait()
        except TimeoutError:
            raise AssertionError(f"the hub did not end within {seconds:g} s:\n{self.tail()}") from None

    async def end(self) -> None:
        """Leave no process behind."""
        for pid in self.family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:])

    def complaints(self, *expected: str) -> list[str]:
        """Lines of the log at level error and tracebacks, except those that hold one of the expected texts."""
        found = []
        for line in self.log.read_text("utf-8", "replace").splitlines():
            bad = " ERROR " in line or " CRITICAL " in line or line.startswith("Traceback")
            if bad and not any(text in line for text in expected):
                found.append(line)
        return found

    # -- processes -------------------------------------------------------------------------------------------------

    def family(self) -> dict[int, str]:
        """Processes of this hub, of all its lives: pid -> command line.

        They are told by the folder they name: numbers of processes and groups are soon given to others.
        """
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if f"{self.site.folder}/" in words and any(
                program in words for program in ("hub.cli run", "hub.run_worker", "hub.store.indexer")
            ):
                found[int(entry.name)] = words
        return found

    def workers(self) -> list[int]:
        return [pid for pid, words in self.family().items() if "--worker " in words]

    def indexers(self) -> list[int]:
        return [pid for pid, words in self.family().items() if "hub.store.indexer" in words]

    def memory(self) -> int:
        """Resident bytes of the main process."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) << 10
        raise AssertionError("no VmRSS")

    # -- asking it -------------------------------------------------------------------------------------------------

    async def _ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {"X-Actor": "chaos"}
        token = self.site.data / "admin.token"
        if token.exists():
            headers["Authorization"] = f"Bearer {token.read_text().strip()}"
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60)) as session,
                session.request(
                    method, f"http://127.0.0.1:{self.site.admin_port}{path}", headers=headers, json=body
                ) as response,
            ):
                return response.status, await response.json(content_type=None)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return 0, repr(error)

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """An answer of the admin API."""
        status, answer = await self._ask(method, path, body)
        assert status == 200, f"{method} {path}: {status} {answer}"
        return answer

    async def statuses(self) -> list[dict[str, Any]]:
        """The status of each worker."""
        found: list[dict[str, Any]] = (await self.ask("GET", "/api/v1/status"))["workers"]
        return found

    async def idle(self, seconds: float = 60.0) -> None:
        """Wait until nothing is on its way any more."""
        end = time.monotonic() + seconds
        while True:
            rows = [row for worker in await self.statuses() for row in worker["outbound"].values()]
            moving = [row for row in rows if row["in_memory"] or row["in_flight"] or row["more_in_store"]]
            if not moving:
                return
            assert time.monotonic() < end, f"still on their way: {moving}"
            await asyncio.sleep(0.05)

    async def cli(self, *words: str) -> Said:
        return await run(self.site, *words)
