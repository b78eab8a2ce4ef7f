"""One plugin's other party: starts its interfaces, counts its calls, sends its messages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from hub.api import Adapter, Bound
from hub.errors import HubError
from hub.i18n import t
from hub.mapping import MappingLibrary
from hub.registry import LoadedPlugin, Registry
from hub.simulator.behaviour import Behaviour, Moods
from hub.simulator.binding import bound_interfaces, schema_folders
from hub.simulator.calls import SimulatedCall, SimulatedReply
from hub.simulator.counterpart import Counterpart, Listening
from hub.simulator.invent import invent, of_adapters
from hub.simulator.keys import KeyBook
from hub.simulator.party import Party
from hub.simulator.side import Side, login_for, make_side
from hub.simulator.tickets import Tickets
from hub.simulator.traffic import Traffic
from hub.validation import did_you_mean

__all__ = ["Simulator"]

#: Tries to find free ports: another program may take one between looking and listening.
_TRIES = 5


class Simulator:
    """The other party of one plugin, listening on loopback.

    ``settings`` are those of a system that talks to it. Secrets stand in them as their values: whoever writes a
    configuration from them puts each setting of type ``secret`` into a file of its own and writes ``file:PATH``.
    """

    settings: dict[str, Any]  #: for a system of this plugin that talks to this simulator (addresses, secrets, keys)
    not_simulated: dict[str, str]  #: interface -> why (its adapter has no counterpart, its answer can't be derived)
    problems: list[HubError]  #: business errors of the contract whose reply can't be derived, with the remedy

    def __init__(
        self,
        plugin: LoadedPlugin,
        registry: Registry,
        mappings: MappingLibrary,
        keys: KeyBook,
        *,
        seed: int = 0,
        lenient: bool = False,
    ) -> None:
        self.settings, self.not_simulated, self.problems = {}, {}, []
        self.keys = keys
        self._plugin, self._registry, self._mappings = plugin, registry, mappings
        self._moods = Moods(seed)
        self._party = Party(self._moods, self._call_back, lenient=lenient)
        self._sides: dict[str, Side] = {}
        self._traffic: dict[str, Traffic] = {}
        self._listening: list[Listening] = []
        self._sources: dict[str, Listening] = {}
        self._schemas: list[Path] = []
        #: Address of an ``in`` interface for callbacks; default: that of the settings.
        self.callback_to: dict[str, str] = {}

    @classmethod
    async def start(
        cls,
        plugin: LoadedPlugin,
        registry: Registry,
        mappings: MappingLibrary,
        *,
        settings: Mapping[str, Any] | None = None,
        interfaces: Iterable[str] = (),
        seed: int = 0,
        overrides: Mapping[str, Any] | None = None,
        schemas: Iterable[Path] = (),
        host: str = "127.0.0.1",
        keys: KeyBook | None = None,
        lenient: bool = False,
    ) -> Self:
        """Listen for every ``out`` interface, or those of ``interfaces``, and be ready to drive every ``in`` interface.

        ``settings`` replace invented ones, secrets as their values. ``overrides`` are the keys a system changes in
        interfaces. ``schemas`` are the folders of ``validate``; default: ``schemas`` beside the folder of plugins. ``keys`` has
        private keys of the other party that are known. ``lenient``: each call is answered by itself, as if what it builds on had been
        called before (an order to refund). Raises :class:`hub.errors.ConfigError` when the contract can't be bound at
        all, :class:`HubError` when a port can't be had.
        """
        chosen = list(interfaces) or list(plugin.contract.interfaces)
        for name in chosen:
            if name not in plugin.contract.interfaces:
                raise HubError(
                    t(f"there is no interface {name!r}", f"没有名为 {name!r} 的接口"),
                    code="simulate.interface",
                    remedy=did_you_mean(name, plugin.contract.interfaces),
                )
        folders = list(schemas) or schema_folders(plugin)
        for left in reversed(range(_TRIES)):
            made = cls(plugin, registry, mappings, keys or KeyBook(), seed=seed, lenient=lenient)
            made._schemas = folders
            given = {name: value for name, value in (settings or {}).items() if value is not None}
            found = of_adapters(plugin, registry.adapters, host, chosen)
            made.settings = invent(plugin, found | given, made.keys, host, chosen)
            try:
                await made._begin(chosen, overrides or {})
            except HubError as error:
                await made.stop()
                if error.code == "simulate.listen" and left:
                    continue
                raise
            return made
        raise AssertionError("the last try raises")

    async def _begin(self, chosen: list[str], overrides: Mapping[str, Any]) -> None:
        bounds = bound_interfaces(
            self._plugin, self._registry, self._mappings, self.settings, chosen, overrides, self._schemas
        )
        tickets = Tickets()
        together: dict[type[Counterpart], list[Side]] = {}
        for name in chosen:
            bound = bounds.get(name)
            if bound is None:
                continue
            adapter = self._registry.adapters[bound.contract.adapter]
            if adapter.alone:
                continue
            source = bound.contract.direction == "in" and adapter.reads_source
            try:
                counterpart = self._counterpart(bound)
                side = make_side(
                    bound,
                    self._plugin,
                    self._registry,
                    self._mappings,
                    self.keys,
                    tickets,
                    counterpart=counterpart,
                    called=source and counterpart.called,
                )
            except HubError as error:
                self.not_simulated[name] = f"{error.text} -> {error.remedy}" if error.remedy else error.text
                continue
            self._sides[name] = side
            if bound.contract.direction == "in":
                self._traffic[name] = Traffic(bound, self._plugin.folder, self._mappings, self._schemas)
            if source or bound.contract.direction == "out":
                together.setdefault(type(counterpart), []).append(side)
                self.problems += side.replies.problems if side.replies is not None else []
        for sides in together.values():
            sides.sort(key=lambda side: side.particular, reverse=True)
            try:
                listening = self._counterpart(sides[0].bound).listening(sides, self._party)
            except HubError as error:
                for side in sides:
                    self.not_simulated[side.interface] = error.text
                continue
            self._listening.append(listening)
            await listening.start()
            for side in sides:
                if side.bound.contract.direction == "in":
                    self._sources[side.interface] = listening
                    for example in self._traffic[side.interface].examples:
                        await listening.offer(side, example)

    def _counterpart(self, bound: Bound) -> Counterpart:
        adapter: Adapter = self._registry.adapters[bound.contract.adapter]
        found = adapter.counterpart()
        if found is None:
            raise HubError(
                t(
                    f"the other end of the adapter {adapter.name} can't be played",
                    f"不能模拟适配器 {adapter.name} 的对端",
                ),
                code="simulate.adapter",
            )
        return found

    # -- what came, and how to answer ----------------------------------------------------------------------------

    @property
    def interfaces(self) -> dict[str, str]:
        """What is played: interface -> ``in`` or ``out``, as the contract has it."""
        return {name: side.bound.contract.direction for name, side in self._sides.items()}

    @property
    def sources(self) -> list[str]:
        """The ``in`` interfaces that read what :meth:`offer` lays out."""
        return list(self._sources)

    @property
    def calls(self) -> list[SimulatedCall]:
        """Newest last; the oldest are forgotten beyond some thousands."""
        return list(self._party.calls)

    @property
    def records(self) -> list[dict[str, str]]:
        """What ``simulate.state`` made: kind, key and status of each record."""
        return self._party.memory.listed()

    def answers(self, interface: str) -> bool:
        """Whether what the hub sends to an ``out`` interface is answered at all."""
        return self._counterpart(self._side(interface).bound).answers

    def keeps(self, interface: str) -> bool:
        """Whether the hub keeps connections to an ``out`` interface, see :attr:`Counterpart.keeps`."""
        return self._counterpart(self._side(interface).bound).keeps

    def errors(self, interface: str) -> list[str]:
        """Codes an ``out`` interface can be told to answer."""
        side = self._side(interface)
        return side.replies.codes if side.replies is not None else []

    def signs_replies(self, interface: str) -> bool:
        """Whether a wrong signature in the reply means anything: the other party signs or encrypts what it answers."""
        return self._side(interface).seals_replies

    def misbehave(self, interface: str, behaviour: Behaviour, *, times: int | None = 1, share: float = 1.0) -> None:
        """The next ``times`` calls (None: all) of an interface, ``*`` for each, are answered so; of them a ``share``.

        Raises :class:`HubError` for an interface that is not played, or a way it can't misbehave.
        """
        if interface != "*":
            if self._side(interface).bound.contract.direction == "out" and not self.answers(interface):
                raise HubError(
                    t(f"{interface}: nothing is answered there", f"{interface} 没有应答"), code="simulate.behaviour"
                )
            if behaviour.kind == "wrong_signature" and not self.signs_replies(interface):
                raise HubError(
                    t(
                        f"the replies of {interface} are neither signed nor encrypted",
                        f"{interface} 的应答既不签名也不加密",
                    ),
                    code="simulate.not_signed",
                )
        self._moods.add(interface, behaviour, times, share)

    def behave(self, interface: str = "*") -> None:
        """No longer misbehave."""
        self._moods.clear(interface)

    def moods(self) -> list[dict[str, object]]:
        """What is still to be done wrong."""
        return self._moods.listed()

    # -- sending -------------------------------------------------------------------------------------------------

    async def send(
        self,
        interface: str,
        to: str | Mapping[str, Any] = "",
        body: bytes | None = None,
        *,
        misbehave: Behaviour | None = None,
        fresh: bool = True,
    ) -> SimulatedReply:
        """Send one message to an ``in`` interface of a hub, signed and encrypted as the other party would.

        ``to`` is its address (``http://host:port``, ``mllp://host:port``), "" that of the settings; or a mapping with ``url`` and
        values of ``{name}`` parts. ``body`` is a message before it is signed; default: the next example, ``fresh``: with numbers
        and times of its own. Raises :class:`HubError` when it can't be made or there is no answer.
        """
        side = self._side(interface)
        if side.bound.contract.direction != "in":
            raise HubError(
                t(
                    f"{interface} is an out interface: the hub calls, not the other party",
                    f"{interface} 是 out 接口，由枢纽调用",
                ),
                code="simulate.direction",
            )
        if interface in self._sources:
            raise HubError(
                t(f"{interface} reads a source, nobody sends to it", f"{interface} 主动读取来源，无法向其发送"),
                code="simulate.source",
                remedy=t("lay an entry out for it: offer", "请用 offer 放置待读取的条目"),
            )
        options = {} if isinstance(to, str) else {name: value for name, value in to.items() if name != "url"}
        url = to if isinstance(to, str) else str(to.get("url", ""))
        await self._log_in(side, url, options)
        if body is None:
            body = self._traffic[interface].next(fresh=fresh)
        counterpart = self._counterpart(side.bound)
        reply = await counterpart.send(side, url, options, body, misbehave)
        if misbehave is not None and misbehave.kind == "duplicate":
            reply = await counterpart.send(side, url, options, body, None)
        return reply

    async def offer(self, interface: str, body: bytes | None = None, *, fresh: bool = True) -> bytes:
        """Lay out one more entry for an ``in`` interface that reads a source; returns it.

        ``body`` is a message before it is signed; default: the next example, ``fresh``: with numbers and times of its own. The
        examples lie there from the start. Raises :class:`HubError` when it can't be made, or the interface reads nothing.
        """
        side = self._side(interface)
        listening = self._sources.get(interface)
        if listening is None:
            raise HubError(
                t(f"{interface} reads no source", f"{interface} 不读取来源"),
                code="simulate.source",
                remedy=t("send it a message", "请向其发送消息"),
            )
        if body is None:
            body = self._traffic[interface].next(fresh=fresh)
        await listening.offer(side, body)
        return body

    def example(self, interface: str, *, fresh: bool = True) -> bytes:
        """The next message of an ``in`` interface, before it is signed."""
        self._side(interface)
        return self._traffic[interface].next(fresh=fresh)

    async def _log_in(self, side: Side, url: str, options: Mapping[str, Any]) -> None:
        """Where the hub gives tokens: ask for one first."""
        login = login_for(side, self._sides.values())
        if login is not None:
            base = "/".join(url.split("/")[:3])
            body = self._traffic[login.interface].next(fresh=False)
            await self._counterpart(login.bound).send(login, base, options, body, None)

    async def _call_back(self, interface: str, body: bytes) -> None:
        await self.send(interface, self.callback_to.get(interface, ""), body)

    def _side(self, interface: str) -> Side:
        side = self._sides.get(interface)
        if side is None:
            why = self.not_simulated.get(interface, "")
            raise HubError(
                why or t(f"there is no interface {interface!r}", f"没有名为 {interface!r} 的接口"),
                code="simulate.interface",
                remedy="" if why else did_you_mean(interface, self._sides),
            )
        return side

    async def stop(self) -> None:
        """Close every listener; calls under way are dropped."""
        self._party.close()
        stopping, self._listening = self._listening, []
        results = await asyncio.gather(*(one.stop() for one in stopping), return_exceptions=True)
        for error in filter(None, results):  # once all the others are closed
            raise error
