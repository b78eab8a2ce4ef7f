"""``simulate`` of a contract, read without playing anything: expressions, mappings and files it names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hub.contract import Interface, SimulateRule
from hub.errors import HubError, Problem
from hub.i18n import t
from hub.mapping import MappingLibrary
from hub.registry import LoadedPlugin, Registry
from hub.simulator.texts import Writer
from hub.validation import did_you_mean
from hub.yaml_source import KeyPath

__all__ = ["simulate_problems"]


def simulate_problems(plugin: LoadedPlugin, registry: Registry, mappings: MappingLibrary) -> list[Problem]:
    """What is wrong with ``simulate`` of every interface, with its place."""
    problems: list[Problem] = []
    for name, interface in plugin.contract.interfaces.items():
        if interface.simulate == SimulateRule() or interface.codec not in registry.codecs:
            continue
        place = plugin.document.place("interfaces", name, "simulate")
        callback = interface.simulate.callback
        told = plugin.contract.interfaces.get(callback.to) if callback is not None else None
        if callback is not None and (told is None or told.direction != "in"):
            text = t(f"there is no in interface {callback.to!r}", f"没有名为 {callback.to!r} 的 in 接口")
            remedy = did_you_mean(
                callback.to, [n for n, one in plugin.contract.interfaces.items() if one.direction == "in"]
            )
            problems.append(place.problem(text, ("callback", "to"), remedy=remedy))
        reply = registry.codecs.get(interface.reply.codec or interface.codec)
        if reply is None:
            continue
        writer = Writer(interface.codec, reply, interface.encoding, plugin.folder, mappings, name)
        for path, given, whole in _written(interface):
            try:
                if whole:
                    writer.making(given, ".".join(map(str, path)))
                else:
                    writer.expression(given, ".".join(map(str, path)))
            except HubError as error:
                problems.append(place.problem(error.text, path, remedy=error.remedy))
    return problems


def _written(interface: Interface) -> Iterator[tuple[KeyPath, Any, bool]]:
    """(path, what stands there, whether it is a whole reply) of everything that is compiled."""
    rule = interface.simulate
    if rule.when:
        yield ("when",), rule.when, False
    for number, check in enumerate(rule.checks):
        yield ("checks", number, "when"), check.when, False
    for name, text in rule.vary.items():
        yield ("vary", name), text, False
    for key, given in (("answer", rule.answer), ("refusal", rule.refusal)):
        if given is not None:
            yield (key,), given, True
    for code, given in rule.refusals.items():
        yield ("refusals", code), given, True
    if rule.state is not None:
        yield ("state", "key"), rule.state.key, False
        if rule.state.becomes:
            yield ("state", "becomes"), rule.state.becomes, False
        for name, text in rule.state.keep.items():
            yield ("state", "keep", name), text, False
    if rule.callback is not None:
        yield ("callback", "body"), rule.callback.body, True
        for key, text in (("when", rule.callback.when), ("becomes", rule.callback.becomes)):
            if text:
                yield ("callback", key), text, False
