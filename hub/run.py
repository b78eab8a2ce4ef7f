"""Running the hub: one process, or a supervisor with one process per worker."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from hub import __version__
from hub.admin.backend import Backend, NodeBackend
from hub.admin.front import FrontBackend
from hub.admin.serve import AdminServer, own_token_of, token_of
from hub.audit.desk import AuditDesk
from hub.audit.keeper import AuditKeeper
from hub.callers.desk import CallerDesk
from hub.child_process import ChildProcess
from hub.config import load_config
from hub.contract import HubConfig, SystemConfig
from hub.deployment import load_deployment
from hub.errors import ConfigError, HubError
from hub.flows.desk import FlowDesk
from hub.i18n import t
from hub.logs import get_logger
from hub.message import OPEN_STATES
from hub.node import Node, data_folder, salt_of, worker_folder
from hub.people.opened import open_people
from hub.people.people import People
from hub.process_loop import calm_collector, stop_event
from hub.store.lock import FolderLock
from hub.store.merged import open_reader
from hub.store.sealer import Sealer
from hub.store.sealing import store_sealer
from hub.tasks import end, stopped
from hub.watch import Watcher

__all__ = ["run_single", "run_supervisor"]

log = get_logger(__name__)

#: A worker that dies is started again after so long; the pause doubles while it keeps dying.
RESTART_S = 0.5
RESTART_MOST_S = 30.0
#: Workers get so long to finish after the supervisor was told to stop.
STOP_S = 30.0


async def _nothing_left_behind(data: Path, workers: int, sealer: Sealer) -> None:
    """Refuse to run with fewer workers than have work: nobody would deliver what lies in the other folders."""
    kept = {worker_folder(data, worker) for worker in range(workers)}
    others = [folder for folder in sorted(data.glob("worker-*")) if folder not in kept]
    if not others:
        return
    reader = open_reader(others, sealer)
    try:
        counts = await reader.counts()
    finally:
        await reader.close()
    waiting = sum(number for (_, state), number in counts.items() if state in OPEN_STATES)
    if waiting:
        needed = max(int(folder.name.rpartition("-")[2]) for folder in others) + 1
        raise HubError(
            t(
                f"{waiting} deliveries wait in folders of workers that would not run",
                f"未运行的工作进程目录中还有 {waiting} 条待投递",
            ),
            code="run.workers",
            remedy=t(
                f"run with --workers {needed} until they are delivered", f"请先以 --workers {needed} 运行至投递完毕"
            ),
        )


async def run_single(config_file: Path, ready: Callable[[Node, str], None] | None = None) -> int:
    """Everything in this process; returns the exit status once told to stop."""
    stop = stop_event()
    hub = load_config(config_file)
    if hub.unusable:
        raise ConfigError(hub.problems)
    lock = _own(data_folder(config_file, hub.hub))
    try:
        data = data_folder(config_file, hub.hub)
        await _nothing_left_behind(data, 1, store_sealer(hub.hub, config_file.parent))
        keeper = AuditKeeper(config_file, hub.hub, data)
        return await _run_node(config_file, stop, ready, data, keeper)
    finally:
        lock.release()


def _own(data: Path) -> FolderLock:
    """One hub per data folder: workers of a second one would only fight over the stores."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    return FolderLock(data)


async def _run_node(
    config_file: Path, stop: asyncio.Event, ready: Callable[[Node, str], None] | None, data: Path, keeper: AuditKeeper
) -> int:
    node = Node(config_file)
    await keeper.start(__version__)
    try:
        await node.start()
    except BaseException:
        await keeper.stop()
        raise
    calm_collector()
    config = node.deployment.config
    backend = NodeBackend(node)
    backend.audit = AuditDesk(keeper, config)
    backend.callers = CallerDesk(config, config_file.parent, data)
    backend.flows = _flow_desk(config_file, config, data)
    people = await _people(config_file, config, data, backend, lambda: node.deployment.config.systems)
    admin = AdminServer(backend, own_token_of(config.admin, config_file, data), config.admin.proxies)
    watching = _watch(config_file, config, backend)
    try:
        await admin.listen(config.admin.host, config.admin.port)
        if ready is not None:
            ready(node, admin.address)
        await stop.wait()
        log.info("stopping")
    finally:
        await end(watching)
        await stopped("admin API", admin.stop(), STOP_S)
        await stopped("people", people.close(), STOP_S)
        backend.callers.close()
        await node.stop()
        await keeper.stop()
    return 0


def _flow_desk(config_file: Path, config: HubConfig, data: Path) -> FlowDesk:
    folders = [(config_file.parent / folder).resolve() for folder in config.flows]
    return FlowDesk(data, folders, salt_of(data), store_sealer(config, config_file.parent))


async def _people(
    config_file: Path,
    config: HubConfig,
    data: Path,
    backend: Backend,
    systems: Callable[[], Mapping[str, SystemConfig]],
) -> People:
    """Those who may look at and change this hub, in the one process they talk to."""
    backend.people = await open_people(config, config_file.parent, data, systems=systems, send=backend.send)
    return backend.people


class _Systems:
    """The systems of the configuration as the workers have it."""

    def __init__(self, config_file: Path, config: HubConfig) -> None:
        self._file = config_file
        self.present: Mapping[str, SystemConfig] = config.systems

    def read(self) -> None:
        """The workers have read it anew."""
        self.present = load_config(self._file).hub.systems


def _watch(config_file: Path, config: HubConfig, backend: Backend) -> asyncio.Task[None] | None:
    """Take up saved changes of the configuration, unless it says not to."""
    if not config.watch:
        return None

    async def reload(actor: str) -> None:
        try:
            await backend.reload(actor)
        except ConfigError as error:
            if backend.audit is not None:
                await backend.audit.refused(
                    actor, "config.reload", config_file.name, {"problems": len(error.problems)}, "refused"
                )
            raise

    backend.watcher = Watcher(config_file, reload)
    return asyncio.create_task(backend.watcher.run(), name="file watcher")


class _Child:
    """A worker process that is started again when it dies."""

    def __init__(self, config_file: Path, worker: int, workers: int) -> None:
        self.worker = worker
        self.ready = asyncio.Event()
        self._command = [
            *(sys.executable, "-P", "-m", "hub.run_worker", "--config", str(config_file)),
            *("--workers", str(workers), "--worker", str(worker)),
        ]
        self._process: ChildProcess | None = None

    async def keep(self, stop: asyncio.Event) -> None:
        pause = RESTART_S
        while not stop.is_set():
            loop = asyncio.get_running_loop()
            begun = loop.time()
            try:
                process = self._process = await ChildProcess.start(self._command, reads="stdout")
            except OSError as error:  # no memory, or too many processes, for the moment
                ended = f"can't be started: {error.strerror}"
            else:
                if stop.is_set():  # told to end while it was being started: there was nothing to end then
                    await self.end()
                    return
                await self._listen(process)
                ended = f"ended with status {await process.wait()}"
            self.ready.clear()
            if stop.is_set():
                return
            pause = RESTART_S if loop.time() - begun > RESTART_MOST_S else min(pause * 2, RESTART_MOST_S)
            log.error("worker %d %s; starting it again in %.1f s", self.worker, ended, pause)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await stop.wait()

    async def _listen(self, process: ChildProcess) -> None:
        """Until it says nothing more: it has ended."""
        while True:
            try:
                line = await process.lines.readline()
            except ValueError:  # longer than any line of ours: asyncio has dropped it
                continue
            if not line:
                return
            if line.strip().endswith(b"ready"):
                self.ready.set()

    async def end(self) -> int:
        process = self._process
        if process is None or not process.running:
            return 0
        process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                return await process.wait()
        except TimeoutError:
            log.error("worker %d did not stop within %.0f s and is killed", self.worker, STOP_S)
            process.kill()
            return await process.wait()


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def _all_ready(children: list[_Child]) -> None:
    for child in children:
        await child.ready.wait()


async def run_supervisor(config_file: Path, workers: int, ready: Callable[[str], None] | None = None) -> int:
    """Start the workers, keep them running, and answer the admin API for all of them."""
    stop = stop_event()
    config = (await asyncio.to_thread(load_deployment, config_file)).config  # the rest is for the workers
    data = data_folder(config_file, config)
    lock = _own(data)
    try:
        return await _supervise(config_file, config, data, workers, stop, ready)
    finally:
        lock.release()


async def _supervise(
    config_file: Path,
    config: HubConfig,
    data: Path,
    workers: int,
    stop: asyncio.Event,
    ready: Callable[[str], None] | None,
) -> int:
    folders = {worker: worker_folder(data, worker) for worker in range(workers)}
    left = [p.name for p in sorted(data.glob("worker-*")) if p not in folders.values()]
    if left:
        log.warning(
            "%s", t(f"folders of workers that are not running: {left}", f"以下工作进程未运行，其目录为：{left}")
        )
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    keeper = AuditKeeper(config_file, config, data)
    token = token_of(config.admin, config_file, data)
    await keeper.start(__version__, workers)
    children = [_Child(config_file, worker, workers) for worker in range(workers)]
    keepers = [asyncio.create_task(child.keep(stop)) for child in children]
    stopping = asyncio.create_task(_wait(stop))
    starting = asyncio.create_task(_all_ready(children))
    await asyncio.wait({stopping, starting}, return_when=asyncio.FIRST_COMPLETED)
    status = 0
    try:
        if not stop.is_set():
            sockets = {worker: folder / "admin.sock" for worker, folder in folders.items()}
            reader = open_reader(list(folders.values()), store_sealer(config, config_file.parent))
            front = FrontBackend(sockets, reader, token, salt_of(data))
            front.audit = AuditDesk(keeper, config)
            front.callers = CallerDesk(config, config_file.parent, data)
            front.flows = _flow_desk(config_file, config, data)
            systems = _Systems(config_file, config)
            front.on_reload = systems.read
            people = await _people(config_file, config, data, front, lambda: systems.present)
            admin = AdminServer(front, own_token_of(config.admin, config_file, data), config.admin.proxies)
            watching = _watch(config_file, config, front)
            try:
                await admin.listen(config.admin.host, config.admin.port)
                if ready is not None:
                    ready(admin.address)
                await stop.wait()
            finally:
                await end(watching)
                await stopped("admin API", admin.stop(), STOP_S)
                await stopped("people", people.close(), STOP_S)
                front.callers.close()
                await front.close()
    finally:
        stop.set()
        starting.cancel()
        statuses = await asyncio.gather(*(child.end() for child in children))
        await asyncio.gather(*keepers, return_exceptions=True)
        await keeper.stop()
        status = next((s for s in statuses if s), 0)
    return status if status >= 0 else os.EX_SOFTWARE
