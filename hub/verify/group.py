"""Several plugins in one hub: everything that is found by calling, in the order in which it can be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from hub.contract import Interface
from hub.errors import HubError
from hub.i18n import t
from hub.masking import mask_text
from hub.simulator import Simulator
from hub.verify.benchmark import benchmark
from hub.verify.faults import matrix, shapes, unauthorised
from hub.verify.incoming import receive, refusals
from hub.verify.model import Result, Status
from hub.verify.outage import Waiting, after_restart, while_away
from hub.verify.outgoing import idempotency, order, probe_up, round_trip
from hub.verify.personal import leaks, mapping_leaks
from hub.verify.reading import read_again, take
from hub.verify.rig import Party, Rig
from hub.verify.samples import Sample, sample_of, tested_settings
from hub.verify.sharing import Sharing
from hub.verify.site import Subject, VerifySite
from hub.verify.static import sending
from hub.verify.talk import Talk

__all__ = ["Group"]

#: Conversations with parties at once: most of the time they wait.
_AT_ONCE = 16
_PLUGINS_AT_ONCE = 6
#: Longest wait for a port.
_PORT_S = 30.0
#: What must hold of an interface before anything else can be looked at.
_FIRST = {"out": "round_trip", "in": "receive"}

R = TypeVar("R")


class Group:
    """The calling checks of some plugins."""

    def __init__(
        self, site: VerifySite, folder: Path, subjects: list[Subject], sharing: Sharing, *, benchmark: bool
    ) -> None:
        self._site = site
        self._folder = folder
        self._subjects = {subject.id: subject for subject in subjects}
        self._sharing = sharing
        self._benchmark = benchmark
        self._results: dict[str, list[Result]] = {name: [] for name in self._subjects}
        self._seconds: dict[str, float] = dict.fromkeys(self._subjects, 0.0)
        self._talks: dict[str, Talk] = {}
        self._good: dict[str, list[str]] = {}  # plugin -> ``out`` interfaces that made a round trip
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._plugins = asyncio.Semaphore(_PLUGINS_AT_ONCE)

    async def run(self) -> dict[str, tuple[list[Result], float]]:
        """Everything; never raises for what a plugin does."""
        simulators = await self._simulators()
        parties = [self._party(name, simulator) for name, simulator in simulators.items()]
        rig = Rig(self._site, self._folder, parties)
        rig.write()
        with rig.listening():
            await rig.start()
            try:
                self._talks = {party.id: Talk(rig, party, simulators[party.id]) for party in parties}
                await self._each(self._converse)
                await self._outage(rig)
                await self._each(self._look_back)
            finally:
                await rig.stop()
                await asyncio.gather(*(self._stop(talk.simulator) for talk in self._talks.values()))
        return {name: (results, self._seconds[name]) for name, results in self._results.items()}

    async def _each(self, step: Any) -> None:
        async def one(talk: Talk) -> None:
            begun = time.perf_counter()
            name = talk.party.id
            try:
                async with self._plugins:
                    await step(talk)
            except Exception as error:  # ours, or a simulated party's: this plugin is not verified, the others are
                why = mask_text(f"{type(error).__name__}: {error}")
                self._results[name].append(Result("manifest", Status.FAILED, "", why))
            self._seconds[name] += time.perf_counter() - begun

        await asyncio.gather(*(one(talk) for talk in self._talks.values()))

    # -- before ------------------------------------------------------------------------------------------------------

    async def _simulators(self) -> dict[str, Simulator]:
        found: dict[str, Simulator] = {}
        for name, subject in self._subjects.items():
            try:
                found[name] = await self._simulator(subject, tested_settings(self._site, subject))
            except HubError as error:
                self._not_called(name, t(f"the party can't be simulated: {error.text}", f"无法模拟对方：{error.text}"))
            except Exception as error:  # of the simulated party itself, or of a plugin's code it runs
                self._not_called(name, mask_text(f"{type(error).__name__}: {error}"), Status.FAILED)
        return found

    async def _simulator(
        self, subject: Subject, settings: dict[str, Any], before: Simulator | None = None
    ) -> Simulator:
        return await Simulator.start(
            subject.plugin,
            self._site.registry,
            self._site.mappings,
            settings=settings,
            keys=before.keys if before is not None else None,
            schemas=self._site.loaded.schema_folders,
            lenient=True,  # an order can be refunded although none was made: each interface is tested by itself
        )

    def _not_called(self, name: str, why: str, status: Status = Status.SKIPPED) -> None:
        """No interface of a plugin can be called."""
        results = self._results[name]
        for interface, contract in self._subjects[name].plugin.contract.interfaces.items():
            results += self._skipped(interface, contract, why, status=status)

    def _skipped(
        self, interface: str, contract: Interface, why: str, remedy: str = "", status: Status = Status.SKIPPED
    ) -> list[Result]:
        """Of the checks of an interface the first; the others would only say the same."""
        return [Result(_FIRST[contract.direction], status, interface, why, remedy)]

    def _why_not(self, plugin: str, interface: str, simulator: Simulator) -> str:
        """Why an interface can't be called here; "" when it can."""
        declared = self._subjects[plugin].declared.skip.get(interface, "")
        why = simulator.not_simulated.get(interface, "")
        return declared or (t(f"not simulated: {why}", f"未能模拟：{why}") if why else "")

    def _alone(self, contract: Interface) -> bool:
        """There is no other party to talk to."""
        return self._site.registry.adapters[contract.adapter].alone

    def _party(self, name: str, simulator: Simulator) -> Party:
        subject = self._subjects[name]
        samples: dict[str, Sample] = {}
        for interface, contract in sending(subject):
            if self._alone(contract):
                continue
            why = self._why_not(name, interface, simulator)
            if why:
                self._results[name] += self._skipped(interface, contract, why)
                continue
            found = sample_of(self._site, subject, interface, simulator.settings)
            if isinstance(found, Sample):
                samples[interface] = found
                continue
            text = t(f"there is no message to send: {found}", f"没有可发送的消息：{found}")
            remedy = t("give one in verify.yaml under messages:", "请在 verify.yaml 的 messages: 中给出")
            self._results[name] += self._skipped(interface, contract, text, remedy)
        return Party(subject, dict(simulator.settings), samples)

    # -- first: everything while the party is there ------------------------------------------------------------------

    async def _converse(self, talk: Talk) -> None:
        name = talk.party.id
        results = self._results[name]
        outs = list(talk.party.samples)
        trips = await self._all(round_trip(talk, one) for one in outs)
        results += trips
        good = [one for one, trip in zip(outs, trips, strict=True) if trip.status is Status.PASSED]
        self._good[name] = good
        results += await self._all(probe_up(talk, one) for one in outs)
        interfaces = talk.party.interfaces
        heard = [one for one in good if one not in talk.misheard]
        own = self._sharing.own(name, "shape")
        groups = shapes({one: interfaces[one] for one in heard if one in own}, talk.silent_answers)
        for found in await self._all(matrix(talk, group) for group in groups):
            results += found
        for group in groups:
            results += await unauthorised(talk, group)
        own = self._sharing.own(name, "message")
        for check in (idempotency, order):
            found_one = await self._all(check(talk, one) for one in heard if one in own)
            results += [result for result in found_one if result is not None]
        await self._receive(talk)
        if self._benchmark:
            results += await benchmark(talk, good)

    async def _receive(self, talk: Talk) -> None:
        results = self._results[talk.party.id]
        own = self._sharing.own(talk.party.id, "listener")
        for name, contract in talk.party.interfaces.items():
            if contract.direction != "in" or self._alone(contract):
                continue
            why = self._why_not(talk.party.id, name, talk.simulator)
            if why:
                results += self._skipped(name, contract, why)
                continue
            source = name in talk.simulator.sources
            found = await (take if source else receive)(talk, name)
            results.append(found)
            if found.status is Status.PASSED and name in own:
                results += await (read_again if source else refusals)(talk, name)

    # -- then: the party goes, the hub is restarted, the party comes back -------------------------------------------

    async def _outage(self, rig: Rig) -> None:
        going = [talk for talk in self._talks.values() if self._good.get(talk.party.id)]
        await asyncio.gather(*(self._stop(talk.simulator) for talk in going))
        waiting: dict[str, list[Waiting]] = {}

        async def away(talk: Talk) -> None:
            name = talk.party.id
            own = self._sharing.own(name, "message")
            waiting[name], probes = await while_away(talk, [one for one in self._good[name] if one in own])
            self._results[name] += probes

        await asyncio.gather(*(away(talk) for talk in going))
        await rig.stop()
        for talk in going:
            await self._return(talk)
        await rig.start()

        async def back(talk: Talk) -> None:
            name = talk.party.id
            self._results[name] += await asyncio.gather(*(after_restart(talk, one) for one in waiting[name]))

        await asyncio.gather(*(back(talk) for talk in going))

    async def _return(self, talk: Talk) -> None:
        """At the same port, which a call of another process may have for a while as its own end."""
        end = time.monotonic() + _PORT_S
        while True:
            try:
                talk.simulator = await self._simulator(talk.party.subject, talk.party.settings, talk.simulator)
            except HubError as error:
                if error.code == "simulate.listen" and time.monotonic() < end:
                    await asyncio.sleep(0.2)
                    continue
                self._lost(talk, error)
            except Exception as error:  # told by what waits in vain
                self._lost(talk, error)
            return

    def _lost(self, talk: Talk, error: Exception) -> None:
        why = mask_text(f"{type(error).__name__}: {error}")
        self._results[talk.party.id].append(Result("outage", Status.FAILED, "", why))

    # -- last: what was written of it all ----------------------------------------------------------------------------

    async def _look_back(self, talk: Talk) -> None:
        results = self._results[talk.party.id]
        results.append(await leaks(talk))
        results += await mapping_leaks(self._site, talk)

    async def _all(self, works: Iterable[Awaitable[R]]) -> list[R]:
        async def one(work: Awaitable[R]) -> R:
            async with self._room:
                return await work

        return list(await asyncio.gather(*(one(work) for work in works)))

    async def _stop(self, simulator: Simulator) -> None:
        with suppress(Exception):  # it was to go; what is left of it ends with the process
            async with asyncio.timeout(10.0):
                await simulator.stop()
