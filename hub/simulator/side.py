"""One interface of a plugin as the other party has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub.api import Bound
from hub.checking.checks import run
from hub.checking.load import make_slow
from hub.contract import SimulateRule
from hub.errors import HubError
from hub.i18n import t
from hub.mapping import Context, MappingLibrary
from hub.quality import QualityValidator
from hub.registry import LoadedPlugin, Registry
from hub.security import Protection, Scheme
from hub.simulator.counterpart import Counterpart
from hub.simulator.declared import Declared
from hub.simulator.keys import KeyBook
from hub.simulator.replies import Replies
from hub.simulator.sides import OTHER_INTERFACE, partner
from hub.simulator.source import Shelf, Source
from hub.simulator.state import StateRule
from hub.simulator.texts import Making, Writer
from hub.simulator.tickets import Tickets
from hub.validators.report import Severity, Validator

__all__ = ["CallbackRule", "Side", "Unfit", "login_for", "make_side"]


class Unfit(Exception):
    """A call the other party refuses. ``code`` is the simulator's own word for why; ``stage`` how far the call came."""

    def __init__(self, code: str, text: str, stage: int = 0, business: str = "") -> None:
        super().__init__(text)
        self.code, self.text, self.stage, self.business = code, text, stage, business


@dataclass(frozen=True, slots=True)
class CallbackRule:
    """``simulate.callback``, compiled."""

    to: str
    after: float
    body: Making
    when: Callable[[Any, Context], Any] | None
    becomes: Callable[[Any, Context], Any] | None


@dataclass(slots=True)
class Side:
    """``bound`` is the interface as the hub has it; the rest is the other party's."""

    bound: Bound
    protection: Protection | None
    tickets: Tickets
    replies: Replies | None = None  # of an ``out`` interface
    shelf: Shelf = field(default_factory=Shelf)  # of an ``in`` interface that reads a source
    source: Source | None = None  # the same, where the hub asks for what is on it
    state: StateRule | None = None
    callback: CallbackRule | None = None
    when: Callable[[Any, Context], Any] | None = None
    checks: Sequence[tuple[Callable[[Any, Context], Any], str]] = ()
    declared: Declared | None = None
    validators: Sequence[Validator] = ()
    forged: Callable[[], Protection | None] = lambda: None
    folders: Sequence[Path] = ()  # of the plugin and of the profiles it extends
    calls: int = 0
    sent: int = 0

    @property
    def interface(self) -> str:
        return self.bound.interface_id

    @property
    def rule(self) -> SimulateRule:
        return self.bound.contract.simulate

    def settings(self) -> Mapping[str, Any]:
        return self.bound.settings

    def read(self, body: bytes, context: Context) -> Any:
        """The tree of an opened request. Raises :class:`Unfit` for what the other party would not take."""
        if self.source is not None:
            return self.source.read(body, context)
        bound = self.bound
        contract = bound.contract
        if body or not self.bodiless:
            try:
                tree = bound.codec.decode(body, encoding=contract.encoding)
            except HubError as error:
                raise Unfit(error.code, error.text, 3) from None
        else:
            tree = {}
        if self.when is not None and not self.when(tree, context):
            raise Unfit(
                OTHER_INTERFACE,
                t("the call is for none of the interfaces at this address", "该调用不属于此地址的任何接口"),
                4,
            )
        if self.validators:
            report = run(self.validators, body, tree, context)
            errors = [finding for finding in report.findings if finding.severity is Severity.ERROR]
            if errors:
                first = errors[0]
                raise Unfit("validate.failed", f"{first.rule}: {first.place}: {first.text}", 5)
        if self.declared is not None and (missing := self.declared.missing(tree)):
            raise Unfit("mapping.declared", missing, 6)
        return tree

    @property
    def particular(self) -> tuple[int, bool]:
        """Of several interfaces at one address those that ask for most are asked first."""
        return len(self.declared.constants) if self.declared is not None else 0, self.when is not None

    @property
    def seals_replies(self) -> bool:
        """Does the other party sign or encrypt what it answers?"""
        return self.protection is not None and any(map(_seals_replies, self.protection.schemes))

    @property
    def bodiless(self) -> bool:
        """Do its calls have no body?"""
        return getattr(self.bound.options, "method", "POST") in ("GET", "HEAD", "DELETE")


def make_side(
    bound: Bound,
    plugin: LoadedPlugin,
    registry: Registry,
    mappings: MappingLibrary,
    keys: KeyBook,
    tickets: Tickets,
    *,
    counterpart: Counterpart,
    called: bool = False,
) -> Side:
    """``called``: the hub calls, although what it gets are messages of an ``in`` interface.

    Raises :class:`HubError` that says why an interface can't be played, and what to write.
    """
    contract, rule = bound.contract, bound.contract.simulate
    inbound = contract.direction == "in" and not called
    protection = partner(contract.security, keys, tickets, registry.schemes, inbound=inbound)
    side = Side(bound, protection, tickets)
    side.folders = (plugin.folder, *(profile.folder for profile in plugin.profiles))
    side.forged = lambda: partner(contract.security, keys, tickets, registry.schemes, inbound=inbound, forged=True)
    if contract.direction == "in":
        return side
    target = bound.reply_codec or bound.codec
    writer = Writer(bound.codec.name, target, contract.encoding, plugin.folder, mappings, bound.interface_id)
    expired = getattr(getattr(bound.options, "auth", None), "expired", "")
    side.replies = counterpart.replies(bound, writer, expired)
    if rule.state is not None:
        side.state = StateRule(bound.interface_id, rule.state, writer.expression)
    if rule.when:
        side.when = writer.expression(rule.when, "when")
    side.checks = [(writer.expression(check.when, f"checks[{n}]"), check.code) for n, check in enumerate(rule.checks)]
    if contract.mapping and not side.bodiless:
        side.declared = Declared.of(mappings, contract.mapping)
    side.validators = _validators(bound)
    if rule.callback is not None:
        side.callback = _callback(rule.callback.to, side, plugin, registry, mappings)
    return side


def login_for(side: Side, sides: Iterable[Side]) -> Side | None:
    """The interface that gives a token for messages to ``side``; None where none is asked for, or there is one already."""
    if side.protection is None or "token" not in side.protection.names or side.tickets.of_hub:
        return None
    inbound = (one for one in sides if one.bound.contract.direction == "in" and one.protection is not None)
    return next((one for one in inbound if one.protection is not None and "login" in one.protection.names), None)


def _callback(to: str, side: Side, plugin: LoadedPlugin, registry: Registry, mappings: MappingLibrary) -> CallbackRule:
    told = plugin.contract.interfaces.get(to)
    if told is None or told.direction != "in":
        raise HubError(
            t(
                f"{side.interface}.simulate.callback.to: there is no in interface {to!r}",
                f"{side.interface}.simulate.callback.to：没有名为 {to!r} 的 in 接口",
            ),
            code="simulate.callback",
            remedy=t("name an in interface of the same plugin", "请填写同一插件的 in 接口"),
        )
    rule = side.rule.callback
    assert rule is not None  # noqa: S101 - checked by the caller
    writer = Writer(
        side.bound.codec.name,
        registry.codecs[told.codec],
        told.encoding,
        plugin.folder,
        mappings,
        f"{side.interface}.callback",
    )
    return CallbackRule(
        to,
        rule.after,
        writer.making(rule.body, "callback.body"),
        writer.expression(rule.when, "callback.when") if rule.when else None,
        writer.expression(rule.becomes, "callback.becomes") if rule.becomes else None,
    )


def _validators(bound: Bound) -> list[Validator]:
    """Schemas and the format's own check; rule sets are the hub's judgement, not the other party's."""
    checks = bound.checks
    if checks is None:
        return []
    found = [one for one in checks.fast if not isinstance(one, QualityValidator)]
    if checks.slow is not None:
        found += make_slow(checks.slow.body).validators
    return found


def _seals_replies(scheme: Any) -> bool:
    if type(scheme).seal_reply is Scheme.seal_reply:
        return False
    options = scheme._options
    return scheme.name not in ("signature", "encryption") or getattr(options, "reply", None) is not None
