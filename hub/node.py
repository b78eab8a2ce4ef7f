"""One running worker: builds everything from the configuration, starts it in the right order, stops it without loss."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub.api import Bound, IntakePort, Receiver, Sender
from hub.audit import entry as audit_entry
from hub.audit.config_state import ConfigState, config_state
from hub.contract import HubConfig
from hub.delivery.engine import LATE_S, DeliveryEngine
from hub.delivery.lookup_readings import Readings
from hub.delivery.lookups import Lookups
from hub.deployment import Deployment, assign_workers, diff, load_deployment
from hub.errors import ConfigError, HubError, Problem
from hub.folders import data_folder, salt_of, stored_key, worker_folder
from hub.i18n import t
from hub.intake import Intake
from hub.keys.keeper import KeyKeeper
from hub.logs import get_logger
from hub.mapping import Context
from hub.masking import mask_text
from hub.message import CheckRecord, CheckVerdict, Direction, Outcome
from hub.metrics import Metrics
from hub.operations import Operations
from hub.probing import ProbeResult, probe
from hub.replay import Replayer
from hub.router import Router
from hub.security.around import ProtectedIntake, ProtectedSender
from hub.store.base import StoreReader
from hub.store.indexer_process import IndexerProcess
from hub.store.merged import MergedReader
from hub.store.reader import SqliteReader
from hub.store.sealing import seals, store_sealer
from hub.store.sqlite import SqliteStore
from hub.tasks import end, stopped

if TYPE_CHECKING:
    from hub.audit.archiving import Archived
    from hub.callers.door import Callers
    from hub.checking.service import CheckService
    from hub.flows.service import FlowService

__all__ = ["Node", "data_folder", "salt_of", "stored_key", "worker_folder"]

log = get_logger(__name__)

#: Time calls under way get at a stop, seconds.
GRACE_S = 10.0
PRUNE_EVERY_S = 3600.0
ARCHIVE_EVERY_S = 6 * 3600.0
#: Parts of hub.yaml a reload does not change.
_AT_START = ("store", "intake", "delivery", "validation", "keys", "security", "access", "audit", "admin", "log")


def _changed_checks(old: Deployment, new: Deployment) -> list[str]:
    """Places that are checked by something else than before."""

    def stamps(deployment: Deployment) -> dict[str, str]:
        both = {**deployment.inbound, **deployment.outbound}
        return {place: bound.checks.stamp for place, bound in both.items() if bound.checks is not None}

    before, now = stamps(old), stamps(new)
    return sorted(place for place in before.keys() | now.keys() if before.get(place) != now.get(place))


class Node:
    """The hub, or one worker of several.

    ``mine`` tells which systems' inbound interfaces this worker owns, where it is not the configuration that shares them out.
    """

    def __init__(
        self, config_file: Path, *, worker: int = 0, workers: int = 1, mine: Callable[[str], bool] | None = None
    ) -> None:
        self.config_file = config_file
        self.worker = worker
        self._workers = workers
        self.started_at = time.time()
        self.metrics = Metrics()
        self.receivers: dict[str, Receiver] = {}
        self.problems: list[Problem] = []
        self._mine = mine or (lambda system: True)
        self._outdated: set[str] = set()  # targets that could not be changed by a reload and go on as they were
        self._reloading = asyncio.Lock()
        self._archiving = asyncio.Lock()
        self._indexer: IndexerProcess | None = None
        self._checking: CheckService | None = None
        self._callers: Callers | None = None
        self._counting: asyncio.Task[None] | None = None
        self.flows: FlowService | None = None  # of the worker that owns them
        self._housekeeping: list[asyncio.Task[None]] = []
        self._others: list[SqliteReader] = []  # of other workers' folders, for lookups
        self._config: HubConfig  # as it was at the start
        self._config_state: ConfigState  # of the files in use
        self.deployment: Deployment
        self.keys: KeyKeeper
        self.store: SqliteStore
        self.engine: DeliveryEngine
        self.intake: Intake
        self.operations: Operations
        self._readings: Readings
        self._everywhere: StoreReader

    # -- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load, open the store, start targets (what was left open goes first), then listen."""
        self._config_state = await asyncio.to_thread(config_state, self.config_file)
        deployment = await asyncio.to_thread(load_deployment, self.config_file)
        if self._workers > 1:
            owner = assign_workers(deployment, self._workers)
            self._mine = lambda system: owner.get(system, 0) == self.worker
        self._tell(deployment.problems)
        config = self._config = deployment.config
        data = data_folder(self.config_file, config)
        folder = worker_folder(data, self.worker)
        self.keys = KeyKeeper(config.keys, self.config_file.parent, self._bounds, warns=self.worker == 0)
        self.metrics.more.append(self.keys.families)
        sealer = store_sealer(config, self.config_file.parent)
        seals(data, sealer)
        self.store = SqliteStore(folder, config.store, worker=self.worker, sealer=sealer)
        self.store.on_commit = self.metrics.store.commit
        await self.store.open()
        try:
            self.engine = DeliveryEngine(
                self.store,
                config.delivery,
                self.metrics,
                self._make_sender,
                keep_bodies=config.store.keep_bodies,
            )
            salt = salt_of(data)
            others = [other for other in sorted(data.glob("worker-*")) if other != folder]
            self._others = [SqliteReader(other, sealer=sealer) for other in others]
            everywhere = MergedReader([self.store.reader, *self._others]) if others else self.store.reader
            self._readings = Readings(everywhere, partial(stored_key, salt))
            self.engine.lookups = Lookups(
                self.store, self.engine.targets, self._readings, keep_bodies=config.store.keep_bodies
            )
            self.intake = Intake(
                self.store,
                self.engine,
                config.intake,
                self.metrics,
                salt=salt,
                queue_limit=config.store.queue,
                siblings=[other for other in sorted(data.glob("worker-*")) if other != folder],
                everywhere=everywhere,
            )
            self.engine.intake = self.intake
            self.operations = Operations(self.store, self.engine)
            self._everywhere = everywhere
            await self._prepare_flows(deployment)
            self._use(deployment)
            for place, error in (await self.engine.start(deployment.outbound, deployment)).items():
                self._tell_of(place, error)
            if self.flows is not None:
                self.flows.begin(self.intake)
            for place, bound in deployment.inbound.items():
                await self._listen(place, bound)
        except BaseException:
            await self.stop(0.0)
            raise
        self._indexer = IndexerProcess(
            [folder],
            text=config.store.text_index,
            text_messages=config.store.text_index_messages,
            config_file=self.config_file if self.store.encrypted else None,
        )
        await self._indexer.start()
        self._housekeeping = [
            asyncio.create_task(self._prune_loop(), name="prune"),
            asyncio.create_task(self._measure_loop(), name="measure"),
            asyncio.create_task(self.keys.run(), name="keys"),
            asyncio.create_task(self._archive_loop(), name="audit archive"),
        ]

    def _use(self, deployment: Deployment) -> None:
        router = Router(deployment.routes, deployment.sources_of, deployment.inbound, deployment.outbound)
        self._use_checks(deployment)
        self._use_callers(deployment)
        self.intake.use(deployment, router)
        self.deployment = deployment

    async def _prepare_flows(self, deployment: Deployment) -> None:
        """Before a deployment is used: its flows, and the earlier versions of them by which something still runs."""
        if not self._mine("flow"):
            return
        if self.flows is None:
            data = data_folder(self.config_file, deployment.config)
            if not deployment.flows and not (data / "flows").is_dir():
                return
            from hub.flows.service import FlowService  # most hubs have none

            flows = FlowService(
                data, salt_of(data), self.store.sealer, self.store.ids, self.store.reader, self._everywhere
            )
            try:
                await flows.open()
            except HubError as error:
                return self._tell_of("flows", error)  # what is meant for flows waits in the store; the rest works
            self.flows = flows
            self.engine.watch_settled(flows.settled)
        await self.flows.prepare(deployment)
        adapter = deployment.registry.adapters.get("flow")
        if adapter is not None:
            adapter.service = self.flows  # type: ignore[attr-defined]  # the hub's own adapter for flows

    def _use_checks(self, deployment: Deployment) -> None:
        checked = [b for b in (*deployment.inbound.values(), *deployment.outbound.values()) if b.checks is not None]
        if self._checking is None and checked:
            from hub.checking.service import CheckService  # most hubs need none of it
            from hub.checking.statistics import StatisticsKeeper

            keeper = StatisticsKeeper(self.store.folder, self._config.store.retention)
            self._checking = CheckService(self._config.validation, self.metrics, keeper)
            self.intake.checking = self.engine.checking = self._checking
        if self._checking is not None:
            own = (b for b in checked if b.contract.direction == "out" or self._mine(b.system))
            self._checking.use(b.checks for b in own if b.checks is not None)

    def _use_callers(self, deployment: Deployment) -> None:
        asking = [b for b in deployment.inbound.values() if self._mine(b.system) and b.asks_caller]
        if not asking:
            return
        from hub.callers.opened import give_callers, open_callers  # most hubs need none of it

        if self._callers is None:
            data = data_folder(self.config_file, self._config)
            try:
                self._callers = open_callers(self._config, self.config_file.parent, data)
            except HubError as error:
                return self._tell_of("access", error)  # these interfaces refuse to start; the others work
            self.metrics.more.append(self._callers.families)
            self._counting = asyncio.create_task(self._callers.run(), name="callers")
        for bound in asking:
            give_callers(bound, self._callers)

    def _tell(self, problems: list[Problem]) -> None:
        self.problems = problems
        for problem in problems:
            (log.error if problem.severity == "error" else log.warning)("%s", problem)

    def _tell_of(self, place: str, error: Exception) -> None:
        """One interface that can't listen or connect must not keep the others from working (invariant 5)."""
        if isinstance(error, HubError):
            problem = Problem(mask_text(error.text), key=place, remedy=error.remedy)
        else:
            problem = Problem(
                t(
                    f"the adapter failed to start: {mask_text(repr(error))}",
                    f"适配器启动失败：{mask_text(repr(error))}",
                ),
                key=place,
                remedy=t("tell the author of the adapter", "请联系适配器的作者"),
            )
        self.problems.append(problem)
        log.error("%s", problem)

    def _make_sender(self, bound: Bound) -> Sender:
        adapter = self.deployment.adapters[bound.contract.adapter]
        sender = adapter.sender(bound)
        if bound.protection is None or "out" in adapter.protects:
            return sender
        return ProtectedSender(sender, bound.protection)

    async def _listen(self, place: str, bound: Bound) -> None:
        if not self._mine(bound.system):
            return
        try:
            adapter = self.deployment.adapters[bound.contract.adapter]
            intake: IntakePort = self.intake
            if bound.protection is not None and "in" not in adapter.protects:
                live = not (adapter.queued or adapter.reads_source)
                intake = ProtectedIntake(intake, bound.protection, live=live)
            if getattr(bound.options, "caller", False):
                intake = self._door(bound, intake)
            receiver = adapter.receiver(bound, intake)
            await receiver.start()
        except Exception as error:
            self._tell_of(place, error)
            return
        self.receivers[place] = receiver

    def _door(self, bound: Bound, intake: IntakePort) -> IntakePort:
        """Where the adapter can't ask who calls, somebody stands in between who can."""
        if bound.callers is None:
            raise HubError(
                t("callers can't be checked", "无法核验调用方"),
                code="caller.unavailable",
                remedy=t("see the problem with access", "请查看 access 的问题"),
            )
        from hub.callers.peers import PeerIntake  # most hubs need none of it

        return PeerIntake(intake, bound.callers.door(bound.place))

    async def stop(self, grace: float = GRACE_S) -> None:
        """Stop accepting, finish or park what is under way, make everything durable."""
        late = grace + LATE_S
        await end(*self._housekeeping)
        await asyncio.gather(*(stopped(place, r.stop(grace), late) for place, r in self.receivers.items()))
        if self.flows is not None:
            self.flows.quiet()
        if hasattr(self, "intake"):
            await stopped("intake", self.intake.drain(grace), late)
            await self.engine.stop(grace)
        if self.flows is not None:
            await stopped("flows", self.flows.close(), late)
        if self._checking is not None:
            await stopped("checks", self._checking.stop(), late)
        if self._indexer is not None:
            await stopped("indexer", self._indexer.stop(), late)
        if self._callers is not None and self._counting is not None:
            await end(self._counting)
            self._callers.close()
        for reader in self._others:
            await reader.close()
        await self.store.close()
        await asyncio.to_thread(self.keys.close)

    def _bounds(self) -> list[Bound]:
        return [*self.deployment.inbound.values(), *self.deployment.outbound.values()]

    # -- reload --------------------------------------------------------------------------------------------------

    async def reload(self, actor: str) -> dict[str, Any]:
        """Read the configuration anew and change only what differs; open connections and messages under way stay.

        Raises :class:`~hub.errors.ConfigError`, and changes nothing, when the new configuration has errors.
        """
        async with self._reloading:
            old = self.deployment
            state = await asyncio.to_thread(config_state, self.config_file)
            new = await asyncio.to_thread(load_deployment, self.config_file)
            known = {str(problem) for problem in old.problems}
            # A mistake in a plugin shows in each system that uses it; it is told once.
            errors = {str(problem): problem for problem in new.problems if problem.severity == "error"}
            fresh = [problem for text, problem in errors.items() if text not in known]
            if fresh:
                raise ConfigError(fresh)
            try:
                await self._prepare_flows(new)
                change = diff(old, new)
                checks = _changed_checks(old, new)
                detail = change.as_dict() | {"checks": checks, "config": self._config_state.diff(state)}
                entry = audit_entry(actor, "config.reload", str(self.config_file.name), detail, "")
                await self.store.apply(audit=entry)
            except BaseException:
                # It goes on as before, with routes for what has begun by the new definitions meanwhile.
                if self.flows is not None:
                    await self.flows.prepare(old)
                    self._use(old)
                    self.flows.use()
                raise
            self._config_state = state
            self._use(new)
            if self.flows is not None:
                self.flows.use()
            self._tell([*new.problems, *self._later(new.config)])
            for place in change.stop_inbound:
                if place in self.receivers:
                    await stopped(place, self.receivers.pop(place).stop(GRACE_S), GRACE_S + LATE_S)
            for place in change.stop_outbound:
                if place in self.engine.targets:
                    await self.engine.remove(place, GRACE_S)
            for place, bound in new.outbound.items():
                try:
                    if place in self.engine.targets:
                        keep = place not in change.restart_outbound and place not in self._outdated
                        await self.engine.replace(bound, new, keep_sender=keep)
                    else:
                        await self.engine.add(bound, new)
                    self._outdated.discard(place)
                except Exception as error:
                    self._outdated.add(place)
                    self._tell_of(place, error)
            if self.flows is not None and not self.flows.begun:
                self.flows.begin(self.intake)
            for place, bound in new.inbound.items():
                if place not in self.receivers:  # new, changed, or it could not listen before
                    await self._listen(place, bound)
            before = old.mappings.stamps
            now = new.mappings.stamps
            summary = change.as_dict() | {
                "mappings": sorted(n for n, stamp in now.items() if before.get(n) != stamp),
                "checks": checks,
            }
            log.info("reloaded: %s", summary)
            return summary

    def _later(self, config: HubConfig) -> list[Problem]:
        """Parts of the configuration that are read at a start only."""
        changed = [part for part in _AT_START if getattr(config, part) != getattr(self._config, part)]
        return [
            Problem(
                t("changed, and used from the next start on", "已更改，下次启动后生效"),
                str(self.config_file),
                key=part,
                remedy=t("restart the hub", "请重启枢纽"),
                severity="warning",
            )
            for part in changed
        ]

    # -- housekeeping --------------------------------------------------------------------------------------------

    async def _prune_loop(self) -> None:
        retention = self.deployment.config.store.retention
        while retention:
            try:
                report = await self.store.prune(int((time.time() - retention) * 1000))
                if report.messages:
                    log.info("pruned %d messages, %d bytes", report.messages, report.bytes)
            except Exception as error:  # of the disk, most likely; it is tried again
                log.error("pruning failed: %s", mask_text(str(error)))
            await asyncio.sleep(PRUNE_EVERY_S)

    async def _archive_loop(self) -> None:
        while True:
            await asyncio.sleep(ARCHIVE_EVERY_S)
            try:
                await self.archive_audit()
            except Exception as error:  # of the disk, most likely; it is tried again
                log.error("archiving the audit trail failed: %s", mask_text(str(error)))

    async def archive_audit(self, older_than: float | None = None) -> Archived:
        """Move old entries of this worker's chain into archives; ``older_than`` seconds, by default as configured.

        Raises :class:`HubError` where the chain is not sound or the archive can't be written.
        """
        # Rarely done, and with what signs: not loaded until then.
        from hub.audit.archiving import archive_chain
        from hub.audit.signing import Signer
        from hub.audit.sources import archive_folder, worker_source

        config, base = self._config, self.config_file.parent
        after = config.audit.archive_after if older_than is None else older_than
        folder = archive_folder(config, base, data_folder(self.config_file, config))
        source = worker_source(self.store.folder, folder)
        before_us = int((time.time() - after) * 1e6)
        async with self._archiving:
            done = await asyncio.to_thread(archive_chain, source, before_us, Signer(config, base))
            if done.last:
                await self.store.trim_audit(done.last)
        return done

    async def _measure_loop(self) -> None:
        """Figures that are looked up rather than counted: queue depth by state, index lag."""
        while True:
            try:
                for place, target in self.engine.targets.items():
                    self.metrics.outbound(place).watch(target.status())
                await self._measure_answers()
                self.metrics.store.watch(await self.store.reader.size(), self.store)
            except Exception as error:  # of one adapter, or of the disk: the figures of later count as well
                log.error("figures can't be measured: %s", mask_text(repr(error)))
            await asyncio.sleep(2.0)

    async def _measure_answers(self) -> None:
        """What is awaited of targets that answer later."""
        awaiting = {p: bound.contract.callback is not None for p, bound in self.deployment.outbound.items()}
        counts: dict[str, tuple[int, int]] = {}
        if any(awaiting.values()):
            counts = await self.store.reader.unanswered_counts(time.time_ns() // 1000)
        for place, awaits in awaiting.items():
            self.metrics.outbound(place).answers = counts.get(place, (0, 0)) if awaits else None

    # -- for people ----------------------------------------------------------------------------------------------

    async def check_again(self, message_id: int, *, missing: bool = False) -> CheckRecord | None:
        """Check a stored message by the rules of today and keep the report with it.

        None, and nothing is done, where its interface asks for no checks or is gone, or, with ``missing``, where there is a
        report already.
        """
        message = await self.store.reader.message(message_id)
        bound = self.deployment.inbound.get(message.source) if message is not None else None
        if message is None or bound is None or bound.checks is None or self._checking is None:
            return None
        calls = await self.store.reader.calls_of(message_id)
        receipt = next(
            (c for c in calls if c.direction is Direction.IN and c.outcome in (Outcome.OK, Outcome.CONFLICT)), None
        )
        done = (
            receipt is not None and receipt.check is not None and receipt.check.verdict is not CheckVerdict.NOT_CHECKED
        )
        if receipt is None or (missing and done):
            return None
        context = Context(settings=bound.settings, message=message, now_us=message.received_at)
        decode = partial(bound.codec.decode, message.raw, encoding=bound.contract.encoding)
        record = await self._checking.again(bound.checks, message.raw, decode, context)
        self.store.keep_report(message.id, receipt.id, message.source, record)
        return record

    def replayer(self) -> Replayer:
        plans = {place: target.plan for place, target in self.engine.targets.items()}
        return Replayer(self.store.reader, self.deployment, plans, self._readings)

    async def probe(self, name: str) -> list[ProbeResult]:
        """Test the connections of a system or of one interface, as far as this worker has them."""
        return await probe(name, self.receivers, self.engine.targets)

    def run_now(self, place: str) -> None:
        """Let an interface that is read by a schedule be read at once."""
        receiver = self.receivers.get(place)
        if receiver is None:
            raise HubError(t(f"{place} is not running here", f"{place} 未在此运行"), code="interface.unknown")
        receiver.run_now()

    def status(self) -> dict[str, Any]:
        """What is running and how it fares."""
        return {
            "worker": self.worker,
            "started_at": self.started_at,
            "writable": self.store.writable,
            "queued": self.store.queued,
            "inbound": {place: receiver.status() for place, receiver in self.receivers.items()},
            "outbound": {place: target.status() for place, target in self.engine.targets.items()},
            "flows": self.flows is not None,
            "problems": [p.as_dict() for p in self.problems],
            "figures": self.metrics.snapshot(),
        }

    def readiness(self) -> list[str]:
        """Why this worker is not ready for messages; empty when it is."""
        reasons = []
        if not self.store.writable:
            reasons.append(t("the store can't be written", "存储不可写"))
        elif self.store.disk_low:
            reasons.append(t("the disk is almost full", "磁盘空间不足"))
        elif not self.intake.ready():
            reasons.append(t("intake is stopped or its queue is full", "接收已停止或队列已满"))
        missing = [p for p, b in self.deployment.inbound.items() if self._mine(b.system) and p not in self.receivers]
        if missing:
            reasons.append(t("not listening: ", "未在监听：") + ", ".join(missing))
        return reasons
