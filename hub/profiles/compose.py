"""Putting a contract together: a plugin over its profiles, key by key.

What several plugins take over unchanged is one object for all of them, so that three hundred plugins on a profile
load about as fast as three hundred plugins without.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hub.contract import Fragment, Interface
from hub.errors import Problem
from hub.i18n import t
from hub.profiles.document import ComposedDocument, Layer, Part
from hub.profiles.family import Family, Source, check_selectors, defaults_of, parameters, tables
from hub.profiles.load import LoadedProfile
from hub.profiles.parameters import Scope, fill, referenced
from hub.profiles.tables import entries
from hub.validation import did_you_mean, validate
from hub.yaml_source import Document, Place

__all__ = ["MAX_INTERFACES", "Composer", "is_composed"]

#: Most interfaces of one plugin.
MAX_INTERFACES = 2000
#: Longest way from a plugin to the last of its profiles.
MAX_PARENTS = 16

_KEYS = ("extends", "with", "defaults", "tables")
_WORDS = ("any", "in", "out", "event", "request")
_OFF = (None, "off")


def is_composed(data: Any) -> bool:
    """Whether the data of ``plugin.yaml`` has to be put together; most plugins stand as they are."""
    if not isinstance(data, dict):
        return False
    if not data.keys().isdisjoint(_KEYS):
        return True
    parts = (data.get(kind) for kind in ("interfaces", "settings"))
    return any("${{" in name for part in parts if isinstance(part, dict) for name in part)


@dataclass(slots=True)
class Composer:
    """Composes the plugins of one registry. ``adapters`` are the names a key of ``defaults`` may have."""

    profiles: Mapping[str, LoadedProfile]
    failed: Iterable[str] = ()
    adapters: Iterable[str] = ()
    _shared: dict[Any, tuple[dict[tuple[str, str], Part], list[Problem]]] = field(default_factory=dict)
    _ready: dict[int, tuple[Any, Interface]] = field(default_factory=dict)

    def compose(self, document: Document, problems: list[Problem]) -> tuple[Document, list[LoadedProfile]]:
        """The plugin with what it takes over, and its profiles, the lowest first.

        What is wrong is added to ``problems``; the result is then of no use.
        """
        found: list[Problem] = []
        composed = self._compose(document, found)
        problems.extend(dict.fromkeys(found))
        return composed

    def _compose(self, document: Document, problems: list[Problem]) -> tuple[Document, list[LoadedProfile]]:
        data = document.data
        own = {key: data[key] for key in _KEYS if key in data}
        fragment = validate(Fragment, own, document.place(), problems)
        if fragment is None:
            return document, []
        chain: list[LoadedProfile] = []
        self._line_up(fragment.extends, document, [], chain, problems)
        sources = [
            *(Source(one.document, one.contract, one.contract.parameters) for one in chain),
            Source(document, fragment, {}),
        ]
        values, declared = parameters(sources, problems)
        family = Family(sources, Scope(values, declared), {}, document.path.parent)
        if any(problem.severity == "error" for problem in problems):
            return document, chain
        family.tables = tables(family, problems)
        check_selectors(sources, {*_WORDS, *self.adapters}, problems)
        parts = self._parts(family, problems)
        made, tops = _top_level(sources, parts)
        return ComposedDocument(document, made, parts, tops, self._ready), chain

    def _line_up(
        self,
        names: list[str],
        document: Document,
        under: list[str],
        chain: list[LoadedProfile],
        problems: list[Problem],
    ) -> None:
        """Every profile once, parents before those that extend them."""
        written = document.data.get("extends")
        for number, name in enumerate(names):
            place = document.place("extends", number) if isinstance(written, list) else document.place("extends")
            profile = self.profiles.get(name)
            if name in under:
                way = " → ".join([*under[under.index(name) :], name])
                remedy = t("take one of these out", "请去掉其中之一")
                problems.append(place.problem(t(f"goes in a circle: {way}", f"循环继承：{way}"), remedy=remedy))
            elif profile is None:
                problems.append(self._no_profile(name, place))
            elif len(under) >= MAX_PARENTS:
                text = t(f"more than {MAX_PARENTS} profiles above each other", f"继承层次超过 {MAX_PARENTS} 层")
                problems.append(place.problem(text, remedy=t("make it flatter", "请减少层次")))
            elif not any(profile is one for one in chain):
                self._line_up(profile.contract.extends, profile.document, [*under, name], chain, problems)
                chain.append(profile)

    def _no_profile(self, name: str, place: Place) -> Problem:
        if name in self.failed:
            text = t(f"profile {name!r} could not be loaded", f"配置模板 {name!r} 未能加载")
            return place.problem(text, remedy=t("correct the problems told for it", "请先解决该模板的问题"))
        text = t(f"unknown profile {name!r}", f"未知的配置模板 {name!r}")
        return place.problem(text, remedy=did_you_mean(name, self.profiles))

    def _parts(self, family: Family, problems: list[Problem]) -> dict[tuple[str, str], Part]:
        """Interfaces and settings of the whole family.

        Those of the profiles are made once for all plugins that say nothing of their own to them; then a plugin's own go on top.
        """
        own, defaults = family.sources[-1], defaults_of(family)
        below = Family(family.sources[:-1], family.scope, family.tables, family.folder)
        fragment = own.fragment
        if fragment.values or fragment.tables or fragment.defaults:
            parts = _layered(below, defaults, problems)
        else:
            folders = (os.path.relpath(source.document.path.parent, family.folder) for source in below.sources)
            key = (*fragment.extends, *folders)
            if key not in self._shared:
                found: list[Problem] = []
                made = _layered(below, defaults, found)
                self._shared[key] = {one: replace(part, shared=True) for one, part in made.items()}, found
            shared, told = self._shared[key]
            parts = dict(shared)
            problems.extend(told)
        _lay_all(own, family, defaults, parts, problems)
        count = sum(kind == "interfaces" for kind, _ in parts)
        if count > MAX_INTERFACES:
            text = t(f"{count} interfaces are more than {MAX_INTERFACES}", f"接口数 {count} 超过 {MAX_INTERFACES}")
            remedy = t("make several plugins", "请拆成多个插件")
            problems.append(own.document.problem(text, ("interfaces",), remedy=remedy))
        return parts


def _layered(
    family: Family, defaults: list[tuple[frozenset[str], Layer]], problems: list[Problem]
) -> dict[tuple[str, str], Part]:
    parts: dict[tuple[str, str], Part] = {}
    for source in family.sources:
        _lay_all(source, family, defaults, parts, problems)
    return parts


def _lay_all(
    source: Source,
    family: Family,
    defaults: list[tuple[frozenset[str], Layer]],
    parts: dict[tuple[str, str], Part],
    problems: list[Problem],
) -> None:
    for kind in ("settings", "interfaces"):
        place = source.document.place(kind)
        for name, layer in entries(source.part(kind), place, family.scope, family.tables, problems):
            _lay(kind, name, layer, defaults, family.folder, parts, problems)


def _lay(
    kind: str,
    name: str,
    layer: Layer,
    defaults: list[tuple[frozenset[str], Layer]],
    folder: Path,
    parts: dict[tuple[str, str], Part],
    problems: list[Problem],
) -> None:
    """Put one more layer on what there is of an interface or setting."""
    key = (kind, name)
    below = parts.get(key)
    if layer.data in _OFF:
        if parts.pop(key, None) is None:
            known = [one for group, one in parts if group == kind]
            text = t(f"there is nothing called {name!r} to take away", f"没有可去除的 {name!r}")
            problems.append(layer.place.problem(text, remedy=did_you_mean(name, known)))
        return
    if not isinstance(layer.data, dict):
        text = t("expected keys and values", "应为键值")
        problems.append(layer.place.problem(text, remedy=t("write e.g. direction: out", "例如 direction: out")))
        return
    given = [one for one in below.layers if one.place.path[0] != "defaults"] if below is not None else []
    layers = (*given, layer)
    if kind == "interfaces" and defaults:
        layers = (*_holding(layers, defaults), *layers)
    made: dict[str, Any] = {}
    for one in layers:
        made = _merged(made, _filled(one, kind, folder, problems))
    parts[key] = Part(made, layers)


def _holding(layers: tuple[Layer, ...], defaults: list[tuple[frozenset[str], Layer]]) -> Iterator[Layer]:
    """The defaults for an interface with these layers."""
    facts = {"style": "event"}

    def learn(layer: Layer, *, over: bool) -> None:
        for key in ("direction", "style", "adapter"):
            value = fill(layer.data.get(key), layer.scope, layer.place, (key,), [])
            if isinstance(value, str) and (over or key not in facts):
                facts[key] = value

    for layer in layers:
        learn(layer, over=True)
    for words, layer in defaults:
        if words <= set(facts.values()):
            learn(layer, over=False)
            yield layer


def _filled(layer: Layer, kind: str, folder: Path, problems: list[Problem]) -> dict[str, Any]:
    """What the layer says, with files named as seen from the plugin's folder."""
    data = layer.data
    filled: dict[str, Any] = fill(data, layer.scope, layer.place, (), problems)
    if kind == "interfaces" and "examples" in filled:
        written = data["examples"]
        names = filled["examples"]
        if isinstance(names, list) and isinstance(written, list) and len(names) == len(written):
            return {
                **filled,
                "examples": [_seen(name, one, layer, folder) for name, one in zip(names, written, strict=True)],
            }
        if isinstance(names, list):
            return {**filled, "examples": [_seen(name, written, layer, folder) for name in names]}
        return {**filled, "examples": _seen(names, written, layer, folder)}
    if kind == "settings" and filled.get("type") == "secret":
        default = filled.get("default")
        if isinstance(default, str) and default.startswith("file:"):
            return {**filled, "default": f"file:{_seen(default[5:], data.get('default'), layer, folder)}"}
    return filled


def _seen(name: Any, written: Any, layer: Layer, folder: Path) -> Any:
    """A path relative to the file that names it, as a path relative to ``folder``."""
    if not isinstance(name, str) or os.path.isabs(name):
        return name
    place = layer.scope.place(referenced(written)) if referenced(written) else None
    base = (place or layer.place).document.path.parent
    return name if base == folder else os.path.relpath(base / name, folder)


def _merged(base: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``above`` over ``base``, key by key; an empty value takes a key away."""
    if not base:
        return {key: value for key, value in above.items() if value is not None}
    merged = dict(base)
    for key, value in above.items():
        below = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(below, dict):
            merged[key] = _merged(below, value)
        elif key == "validate" and isinstance(value, str) and isinstance(below, dict):
            merged[key] = {**below, "mode": value}  # a word is the mode; the rest stays
        else:
            merged[key] = value
    return merged


def _top_level(sources: list[Source], parts: Mapping[tuple[str, str], Part]) -> tuple[dict[str, Any], dict[str, Place]]:
    """The whole contract, and where the keys that are not the plugin's own are written."""
    own = sources[-1]
    made = dict(own.data)
    tops: dict[str, Place] = {}
    cited: dict[str, None] = {}
    for source in sources:
        for citation in source.data.get("sources") or ():
            cited.setdefault(str(citation))
        if "assumed" not in own.data and source.data.get("assumed") is True:
            made["assumed"] = True
            tops["assumed"] = source.document.place("assumed")
    if cited:
        made["sources"] = list(cited)
    for kind in ("settings", "interfaces"):
        found = {name: part.data for (group, name), part in parts.items() if group == kind}
        if found or kind in made:
            made[kind] = found
    return made, tops
