"""The hub under test: a real one on a folder of its own, with a system of each tested plugin and stand-ins around it."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hub.api import Adapter, Outgoing, Receipt
from hub.contract import Interface
from hub.errors import Problem
from hub.i18n import t
from hub.message import CallRecord, Delivery, DeliveryState, Direction
from hub.verify.observed import LogKeeper, ObservedNode
from hub.verify.samples import Sample, answer_for
from hub.verify.site import Subject, VerifySite
from hub.verify.standin import NAME

__all__ = ["TIMEOUT_S", "Handed", "Party", "Rig", "RigError"]

#: Longest call of a tested interface, seconds; contracts wait longer, but nothing here is further away than loopback.
TIMEOUT_S = 6.0
#: Longest wait for what should happen within milliseconds, seconds; slow only where something is wrong, or the machine busy.
PATIENCE_S = 25.0
_LOOK_S = 0.02
_FINAL = (DeliveryState.DELIVERED, DeliveryState.DEAD, DeliveryState.HELD, DeliveryState.SKIPPED)
#: Waits of adapters that keep connections of their own, seconds.
_WAITS = {"reply_timeout": TIMEOUT_S / 2, "pause": 0.02, "max_pause": 0.05}
#: Schemes that sign the second and nothing that differs within it: two tries within one look like a replay.
_BY_SECOND = frozenset(("tencent_tc3",))


class RigError(Exception):
    """Something that should have happened did not; the text is for people."""


@dataclass(slots=True)
class Party:
    """What is to run in the hub for one plugin."""

    subject: Subject
    settings: dict[str, Any]  # secrets as their values
    samples: dict[str, Sample]  # of the ``out`` interfaces that can be tested

    @property
    def id(self) -> str:
        return self.subject.id

    @property
    def interfaces(self) -> Mapping[str, Interface]:
        return self.subject.plugin.contract.interfaces

    def place(self, interface: str) -> str:
        return f"{self.id}/{interface}"


@dataclass(slots=True)
class Handed:
    """One message handed in, and its delivery."""

    place: str
    message: int
    delivery: Delivery
    calls: list[CallRecord] = field(default_factory=list)  # attempts, oldest first

    @property
    def state(self) -> DeliveryState:
        return self.delivery.state


class Rig:
    """Start it with all parties; then hand in messages and see what becomes of them."""

    def __init__(self, site: VerifySite, folder: Path, parties: Sequence[Party]) -> None:
        self._site = site
        self._folder = folder
        self.parties = {party.id: party for party in parties}
        self.node: ObservedNode
        self.log: list[tuple[str, str]] = []  # file of the code that wrote it, text
        self._numbers: dict[str, int] = defaultdict(int)
        self._due: dict[str, float] = {}
        self.file = folder / "config" / "hub.yaml"

    # -- configuration -------------------------------------------------------------------------------------------

    def write(self) -> None:
        """The configuration, from what the parties say now."""
        systems: dict[str, Any] = {}
        routes: dict[str, Any] = {}
        for party in self.parties.values():
            systems[party.id] = {
                "plugin": party.id,
                "settings": self._settings(party),
                "interfaces": {
                    name: _hurried(one, self._site.registry.adapters[one.adapter])
                    for name, one in party.interfaces.items()
                    if one.direction == "out"
                },
            }
            around = self._around(party)
            if not around:
                continue
            plugin = f"verify_{party.id}"
            file = self._folder / "plugins" / plugin / "plugin.yaml"
            _write(file, {"id": plugin, "name": plugin, "interfaces": around})
            systems[plugin] = {"plugin": plugin}
            for name, one in around.items():
                tested = name.partition("_")[2]
                if one["direction"] == "in":
                    routes[f"{party.id}_{tested}"] = {"from": f"{plugin}/{name}", "to": party.place(tested)}
                else:
                    routes[f"{party.id}_{tested}"] = {
                        "from": party.place(tested), "to": f"{plugin}/{name}", "mapping": "",
                    }  # fmt: skip
        standin = self._folder / "plugins" / "verify_standin"
        around_all = {"in": {"direction": "in", "adapter": NAME, "codec": "binary"}}
        _write(standin / "plugin.yaml", {"id": "verify_standin", "name": "verify_standin", "interfaces": around_all})
        (standin / "plugin.py").write_text("from hub.verify.standin import hub_adapters\n", encoding="utf-8")
        loaded = self._site.loaded
        config = {
            "plugins": [*map(str, loaded.plugin_folders), str(self._folder / "plugins")],
            "mappings": [str(folder) for folder in loaded.mapping_folders if folder.is_dir()],
            "schemas": [str(folder) for folder in loaded.schema_folders if folder.is_dir()],
            "watch": False,
            "store": {"path": "../var", "min_free_disk": 0, "text_index": False},
            "delivery": {"retry": {"attempts": 3, "interval": 0.01}},
            "admin": {"port": 0},
            "include": [],
            "systems": systems,
            "routes": routes,
        }
        _write(self.file, config)

    def _settings(self, party: Party) -> dict[str, Any]:
        """Secrets go into files of their own."""
        declared = party.subject.plugin.contract.settings
        found: dict[str, Any] = {}
        for name, value in party.settings.items():
            if name in declared and declared[name].type == "secret" and value is not None:
                file = self._folder / "secrets" / f"{party.id}.{name}"
                file.parent.mkdir(mode=0o700, exist_ok=True)
                file.touch(0o600)
                file.write_text(str(value), encoding="utf-8")
                found[name] = f"file:{file}"
            else:
                found[name] = value
        return found

    def _around(self, party: Party) -> dict[str, Any]:
        """Interfaces of the stand-in: one that feeds each tested target, one that answers each interface in request style."""
        found: dict[str, Any] = {}
        for name, sample in party.samples.items():
            found[f"to_{name}"] = {
                "direction": "in",
                "adapter": NAME,
                "codec": sample.codec,
                "encoding": sample.encoding,
                "format": dict(sample.format),
                "type": "$verify_type",
                "control_id": "$verify_number",
                "keys": {key: f"$verify_key_{key}" for key in sample.keys},
            }
        for name, one in party.interfaces.items():
            if one.direction == "in" and one.style == "request":
                reply = base64.b64encode(answer_for(self._site, one)).decode()
                found[f"from_{name}"] = {
                    "direction": "out",
                    "adapter": NAME,
                    "codec": one.codec,
                    "connect": {"reply": reply},
                    "order_by": "",
                }
        return found

    # -- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        self.node = ObservedNode(self.file)
        await self.node.start()

    async def stop(self) -> None:
        await self.node.stop(1.0)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Keep every log line made meanwhile."""
        keeper = LogKeeper()
        keeper.lines = self.log
        root = logging.getLogger()
        root.addHandler(keeper)
        try:
            yield
        finally:
            root.removeHandler(keeper)

    def why_not(self, place: str) -> str:
        """Why an interface does not run; "" when it does."""
        system = place.partition("/")[0]
        problems = [*self.node.problems, *self.node.deployment.problems]
        running = place in self.node.receivers or place in self.node.engine.targets
        if running and system in self.node.deployment.systems:
            return ""
        near = [p for p in problems if system in p.key or system in p.text or f"/{system}/" in p.file]
        return "; ".join(dict.fromkeys(_told(p) for p in near)) or t("it does not run", "未运行")

    # -- messages ------------------------------------------------------------------------------------------------

    async def hand_in(self, party: Party, interface: str, sample: Sample | None = None) -> Handed:
        """One message on its way to an interface, stored; raises :class:`RigError` when it is not accepted."""
        sample = sample or party.samples[interface]
        place = f"verify_{party.id}/to_{interface}"
        bound = self.node.deployment.inbound.get(place)
        for needed in (party.place(interface), place):
            if why := self.why_not(needed):
                raise RigError(why)
        assert bound is not None  # noqa: S101 - it runs
        await self._apart(party.interfaces[interface], place)
        self._numbers[place] += 1
        number = f"{interface}-{self._numbers[place]}"
        params = {"verify_type": sample.type, "verify_number": number}
        params |= {f"verify_key_{key}": value for key, value in sample.keys.items()}
        done: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self.node.intake.submit(bound, sample.raw, done.set_result, params=params)
        async with asyncio.timeout(PATIENCE_S):
            receipt = await done
        if not receipt.accepted:
            raise RigError(t("the message is not accepted: ", "消息未被接收：") + _error(receipt))
        found = await self.node.store.reader.deliveries_of(receipt.message_id)
        if len(found) != 1:
            raise RigError(t(f"{len(found)} deliveries instead of one", f"产生 {len(found)} 个投递，应为 1 个"))
        return Handed(party.place(interface), receipt.message_id, found[0])

    async def _apart(self, interface: Interface, place: str) -> None:
        """Equal messages of one second would have equal signatures with some schemes, which looks like a replay."""
        pause = _pause(interface)
        if pause > 1:
            now = time.monotonic()
            due = max(now, self._due.get(place, 0.0))
            self._due[place] = due + pause
            await asyncio.sleep(due - now)

    async def ended(self, handed: Handed, seconds: float = PATIENCE_S) -> Handed:
        """Wait until nothing moves any more; raises :class:`RigError` when that does not happen."""
        await self.until(handed, lambda: handed.state in _FINAL, seconds)
        return handed

    async def until(self, handed: Handed, reached: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
        """Look at a delivery and its calls again and again until ``reached``; raises :class:`RigError` after ``seconds``."""
        end = time.monotonic() + seconds
        while True:
            await self.look(handed)
            if reached():
                return
            if time.monotonic() > end:
                last = handed.calls[-1] if handed.calls else None
                told = f"{last.outcome.word} {last.code} {last.error}" if last is not None else t("no call", "无调用")
                state = handed.state.word
                raise RigError(
                    t(
                        f"still {state} after {seconds:.0f} s; last call: {told}",
                        f"{seconds:.0f} 秒后仍为 {state}；最近一次调用：{told}",
                    )
                )
            await asyncio.sleep(_LOOK_S)

    async def look(self, handed: Handed) -> None:
        reader = self.node.store.reader
        found = await reader.delivery(handed.delivery.id)
        if found is not None:
            handed.delivery = found
        calls = await reader.calls_of(handed.message)
        own = [c for c in calls if c.direction is Direction.OUT and c.delivery_id == handed.delivery.id]
        handed.calls = sorted(own, key=lambda call: call.id)

    def outgoing(self, handed: Handed) -> list[Outgoing]:
        """What the adapter was given at each attempt."""
        return self.node.outgoing.get(handed.delivery.id, [])

    def address(self, place: str) -> tuple[str, int]:
        """Where an interface listens; port 0 where it does not listen on one."""
        receiver = self.node.receivers.get(place)
        status = receiver.status() if receiver is not None else {}
        return "127.0.0.1", int(status.get("port") or 0)


def _hurried(interface: Interface, adapter: Adapter) -> dict[str, Any]:
    """Overrides under which an interface behaves as declared, only without the waiting."""
    found: dict[str, Any] = {
        "timeout": min(interface.timeout, TIMEOUT_S),
        "retry": {"interval": _pause(interface), "max_interval": _pause(interface), "jitter": 0},
        "breaker": {"failures": 100_000, "open_for": 0.05, "max_open_for": 0.1},
        "rate": 0,
        "hours": None,
    }
    if interface.collect is not None:
        found["collect"] = {"within": 0.05}
    options = adapter.connect_options.model_fields if adapter.connect_options is not None else {}
    if connect := {name: value for name, value in _WAITS.items() if name in options}:
        found["connect"] = connect
    return found


def _pause(interface: Interface) -> float:
    """Seconds between tries: short, but for schemes whose signatures only differ from second to second."""
    names = {one if isinstance(one, str) else next(iter(one), "") for one in interface.security}
    return 1.05 if names & _BY_SECOND else 0.01


def _write(file: Path, data: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(data, allow_unicode=True, sort_keys=False), encoding="utf-8")


def _told(problem: Problem) -> str:
    return f"{problem.key}: {problem.text}" if problem.key else problem.text


def _error(receipt: Receipt) -> str:
    return receipt.error.text if receipt.error is not None else receipt.outcome.word
