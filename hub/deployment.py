"""What runs: the interfaces of all systems with their settings filled in, and the routes between them.

A system or route with errors is left out; the rest runs. Everything wrong is told with its place and remedy.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from hub.answering import check_answers, interface_problems
from hub.api import Adapter, Bound, Codec
from hub.batching import batching_problems, check_batching
from hub.codecs.options import configure
from hub.config import LoadedConfig, load_config
from hub.contract import HubConfig, Interface, RouteConfig, SystemConfig
from hub.deployment_diff import DeploymentDiff, diff
from hub.errors import ConfigError, HubError, Problem
from hub.i18n import t
from hub.keys.config import KeysConfig
from hub.keys.reference import References
from hub.process_wide import use_crypto, use_privacy
from hub.registry import LoadedPlugin, Registry
from hub.routes import check_receivers, resolve_routes
from hub.settings import check_settings, referenced, substitute
from hub.validation import Origin, did_you_mean, expression_problems, validate
from hub.workers import assign_workers, worker_conflicts
from hub.yaml_source import KeyPath, Place

if TYPE_CHECKING:
    from hub.checking.checks import Checks
    from hub.checking.load import CheckLibrary
    from hub.flows.definition import Definition
    from hub.mapping import MappingLibrary
    from hub.security.protection import Protection

__all__ = [
    "Deployment",
    "DeploymentDiff",
    "assign_workers",
    "bind_system",
    "build",
    "diff",
    "load_deployment",
]

#: Parts of an interface in which secrets may be used: they go to the adapter and nowhere else.
_FOR_ADAPTER = ("listen", "connect", "security")


@dataclass(slots=True)
class Deployment:
    """A configuration ready to run. Places are ``system/interface``."""

    config: HubConfig
    registry: Registry
    mappings: MappingLibrary
    inbound: dict[str, Bound] = field(default_factory=dict)
    outbound: dict[str, Bound] = field(default_factory=dict)
    systems: dict[str, SystemConfig] = field(default_factory=dict)  # those that run
    routes: dict[str, RouteConfig] = field(default_factory=dict)
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)  # route -> places its ``from`` stands for
    problems: list[Problem] = field(default_factory=list)
    declared: dict[str, Place] = field(default_factory=dict)  # "systems.his" -> where it is written
    origins: dict[str, InterfaceOrigin] = field(default_factory=dict)  # place -> where its keys are written
    schema_folders: list[Path] = field(default_factory=list)
    data: Path = Path()
    keys: References = field(default_factory=lambda: References(KeysConfig(), Path()))
    flows: dict[str, Definition] = field(default_factory=dict)  # those that can begin
    _library: CheckLibrary | None = None

    @property
    def adapters(self) -> Mapping[str, Adapter]:
        return self.registry.adapters

    @property
    def codecs(self) -> Mapping[str, Codec]:
        return self.registry.codecs

    @property
    def parties(self) -> dict[str, SystemConfig]:
        """The systems that are external parties; flows are a system of the hub's own, without a plugin."""
        return {name: system for name, system in self.systems.items() if system.plugin in self.registry.plugins}

    def check_library(self) -> CheckLibrary:
        """Schemas and rule sets, read when the first interface asks for them."""
        if self._library is None:
            from hub.checking.load import CheckLibrary  # most hubs need none of it

            functions, tables = self.registry.functions, self.mappings.table
            self._library = CheckLibrary(self.schema_folders, functions, tables, self.registry.codecs)
        return self._library

    def sources_of(self, route: str) -> Iterable[str]:
        """The inbound places whose messages a route takes."""
        return self.sources.get(route, ())

    def plugin_list(self) -> list[dict[str, Any]]:
        """Every plugin with its interfaces and the systems that run on it, for screens."""
        users: dict[str, list[str]] = {}
        for name, system in self.systems.items():
            users.setdefault(system.plugin, []).append(name)
        rows: list[dict[str, Any]] = [
            {
                "id": name,
                "name": plugin.contract.name,
                "version": plugin.contract.version,
                "catalog": plugin.contract.catalog,
                "assumed": plugin.contract.assumed,
                "loaded": True,
                "interfaces": [
                    {
                        "id": interface_id,
                        "name": interface.name,
                        "direction": interface.direction,
                        "style": interface.style,
                        "adapter": interface.adapter,
                        "codec": interface.codec,
                    }
                    for interface_id, interface in plugin.contract.interfaces.items()
                ],
                "systems": users.get(name, []),
            }
            for name, plugin in sorted(self.registry.plugins.items())
        ]
        empty = {"name": "", "version": "", "catalog": "", "assumed": False, "interfaces": [], "systems": []}
        rows.extend({"id": name, **empty, "loaded": False} for name in sorted(self.registry.failed))
        return rows


@dataclass(frozen=True, slots=True)
class InterfaceOrigin:
    """Says of each key of a merged interface whether the system or the plugin wrote it."""

    system: Place  # the system in its configuration file
    contract: Place  # the plugin's interface in plugin.yaml
    override: Mapping[str, Any]
    merged: Mapping[str, Any]  # before settings were filled in
    settings: frozenset[str]  # names the system itself gives

    def problem(self, text: str, path: KeyPath = (), *, remedy: str = "", severity: str = "error") -> Problem:
        raw = _at(self.merged, path)
        name = referenced(raw)
        if name in self.settings:
            return self.system.problem(text, ("settings", name), remedy=remedy, severity=severity)
        interface = str(self.contract.path[-1])
        if path and _at(self.override, path) is not None:
            return self.system.problem(text, ("interfaces", interface, *path), remedy=remedy, severity=severity)
        return self.contract.problem(text, path, remedy=remedy, severity=severity)

    def problem_here(self, text: str, *, remedy: str = "", severity: str = "error") -> Problem:
        """A problem of this deployment rather than of one key: told where the system is written."""
        return self.system.problem(text, remedy=remedy, severity=severity)


def _at(data: Any, path: KeyPath) -> Any:
    for part in path:
        if isinstance(data, Mapping):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data.__getitem__(part)
        else:
            return None
    return data


def load_deployment(config_file: str | os.PathLike[str]) -> Deployment:
    """Read everything the configuration names.

    Raises :class:`ConfigError` when ``hub.yaml`` itself can't be used; every other problem is in the result.
    """
    from hub.mapping import (
        MappingLibrary,  # the mapping compiler is the slowest import; reading a file needs none of it
    )
    from hub.mapping.compiler import forget_parsed

    loaded = load_config(config_file)
    if loaded.unusable:
        raise ConfigError(loaded.problems)
    use_crypto(loaded.hub, Path(config_file).resolve().parent)
    registry = Registry.discover(loaded.plugin_folders)
    folders = [folder for folder in loaded.mapping_folders if folder.is_dir()]
    deployment, _ = build(loaded, registry, MappingLibrary(folders, registry.functions))
    forget_parsed()
    return deployment


def build(loaded: LoadedConfig, registry: Registry, mappings: MappingLibrary) -> tuple[Deployment, list[Problem]]:
    """The deployment, and every problem of configuration, plugins, systems and routes (also ``deployment.problems``)."""
    deployment = Deployment(
        loaded.hub,
        registry,
        mappings,
        declared=loaded.declared,
        schema_folders=loaded.schema_folders,
        data=loaded.store_path,
        keys=References(loaded.hub.keys, loaded.file.parent),
    )
    problems = deployment.problems
    problems.extend(loaded.problems)
    problems.extend(registry.problems)
    try:
        use_privacy(loaded.file, loaded.hub)
    except ConfigError as error:  # what held before goes on: masking is never off
        problems.extend(error.problems)
    for name, system in loaded.hub.systems.items():
        if system.enabled:
            _System(name, system, deployment).add()
    check_receivers(deployment)
    check_answers(deployment)
    check_batching(deployment)
    if any(folder.is_dir() for folder in loaded.flow_folders):
        from hub.flows.deploy import add_flows, route_flows  # many hubs have none

        add_flows(deployment, loaded.flow_folders, loaded.declared)
        resolve_routes(deployment, loaded, route_flows)
    else:
        resolve_routes(deployment, loaded)
    problems.extend(worker_conflicts(deployment))
    return deployment, problems


def bind_system(name: str, deployment: Deployment) -> None:
    """Add the interfaces of one system of ``deployment.config``; what is wrong is in ``deployment.problems``."""
    _System(name, deployment.config.systems[name], deployment).add()


class _System:
    """Binds the interfaces of one system."""

    def __init__(self, name: str, system: SystemConfig, deployment: Deployment) -> None:
        self._name = name
        self._system = system
        self._place = deployment.declared[f"systems.{name}"]
        self._deployment = deployment
        self._registry = deployment.registry
        self._problems: list[Problem] = []

    def add(self) -> None:
        bounds = self._bind()
        self._deployment.problems.extend(self._problems)
        if any(problem.severity == "error" for problem in self._problems):
            return
        self._deployment.systems[self._name] = self._system
        for bound, origin in bounds:
            side = self._deployment.inbound if bound.contract.direction == "in" else self._deployment.outbound
            side[bound.place] = bound
            self._deployment.origins[bound.place] = origin

    def _bind(self) -> list[tuple[Bound, InterfaceOrigin]]:
        system = self._system
        plugin = self._registry.plugins.get(system.plugin)
        if plugin is None:
            if system.plugin in self._registry.failed:
                text = t(f"plugin {system.plugin!r} could not be loaded", f"插件 {system.plugin!r} 未能加载")
                remedy = t("correct the problems told for it", "请先解决该插件的问题")
            else:
                text = t(f"unknown plugin {system.plugin!r}", f"未知的插件 {system.plugin!r}")
                remedy = did_you_mean(system.plugin, self._registry.plugins)
            self._problems.append(self._place.problem(text, ("plugin",), remedy=remedy))
            return []
        interfaces = plugin.contract.interfaces
        for name in system.interfaces:
            if name not in interfaces:
                text = t(
                    f"plugin {system.plugin!r} has no interface {name!r}", f"插件 {system.plugin!r} 没有接口 {name!r}"
                )
                remedy = did_you_mean(name, interfaces)
                self._problems.append(self._place.problem(text, ("interfaces", name), remedy=remedy))
        values = check_settings(
            plugin.contract.settings,
            system.settings,
            Place(self._place.document, (*self._place.path, "settings")),
            plugin.document.place("settings"),
            (self._place.document.path.parent, plugin.folder),
            self._problems,
            partial(self._deployment.keys, system=self._name),
        )
        if any(problem.severity == "error" for problem in self._problems):
            return []
        settings = MappingProxyType(values)
        found = [
            self._interface(plugin, name, interface, settings)
            for name, interface in interfaces.items()
            if system.interfaces.get(name) != "off"
        ]
        return [pair for pair in found if pair is not None]

    def _interface(
        self, plugin: LoadedPlugin, name: str, interface: Interface, settings: Mapping[str, Any]
    ) -> tuple[Bound, InterfaceOrigin] | None:
        override = self._system.interfaces.get(name) or {}
        assert not isinstance(override, str)  # noqa: S101 - ``off`` was sorted out by the caller
        raw = plugin.document.data["interfaces"][name]
        merged = _merged(raw, override)
        if isinstance(override.get("validate"), str) and isinstance(raw.get("validate"), dict):
            merged["validate"] = {**raw["validate"], "mode": override["validate"]}  # a word is the mode; the rest stays
        origin = InterfaceOrigin(
            self._place,
            plugin.document.place("interfaces", name),
            override,
            merged,
            frozenset(key for key, value in self._system.settings.items() if value is not None),
        )
        problems = self._problems
        before = len(problems)
        keys = replace(
            origin, settings=frozenset()
        )  # a reference that is wrong is at fault itself, not what it refers to
        filled = {
            key: substitute(value, settings, key in _FOR_ADAPTER, (key,), keys, problems)
            for key, value in merged.items()
        }
        contract: Interface | None = interface
        if filled != raw:
            filled = {key: value for key, value in filled.items() if value is not None or merged[key] is None}
            contract = validate(Interface, filled, origin, problems)
        if contract is None or len(problems) > before:
            return None
        options = self._options(contract, origin)
        problems.extend(interface_problems(contract, self._registry.adapters.get(contract.adapter), origin))
        codec = self._registry.codecs.get(contract.codec)
        if codec is None:
            problems.append(self._unknown("codec", contract.codec, self._registry.codecs, origin, ("codec",)))
        else:
            codec = configure(codec, contract.format, _Below(origin, "format"), problems)
        if codec is not None:
            problems.extend(batching_problems(contract, codec, origin))
        reply: Codec | None = None
        if contract.reply.codec:
            reply = self._registry.codecs.get(contract.reply.codec)
            if reply is None:
                path = ("reply", "codec")
                problems.append(self._unknown("codec", contract.reply.codec, self._registry.codecs, origin, path))
            else:
                reply = configure(reply, contract.reply.format, _Below(_Below(origin, "reply"), "format"), problems)
        if options is None or codec is None or len(problems) > before:
            return None
        place = f"{self._name}/{name}"
        self._check_expressions(contract, place, origin)
        checks: Checks | None = None
        if contract.validation is not None and contract.validation.mode != "off":
            checks = self._deployment.check_library().checks(place, contract, codec, origin, problems)
        protection: Protection | None = None
        if contract.security:
            from hub.security.load import load_protection  # most interfaces have none

            protection = load_protection(
                contract.security,
                adapter=self._registry.adapters[contract.adapter],
                direction=contract.direction,
                added=self._registry.schemes,
                origin=origin,
                problems=problems,
            )
            if protection is None:
                return None
        data = self._deployment.data
        return (
            Bound(
                place,
                self._name,
                name,
                plugin.stamp,
                contract,
                codec,
                settings,
                options,
                reply,
                checks,
                protection,
                data,
            ),
            origin,
        )

    def _unknown(
        self, kind: str, name: str, known: Iterable[str], origin: InterfaceOrigin, path: tuple[str, ...]
    ) -> Problem:
        words = {"adapter": t("adapter", "适配器"), "codec": t("codec", "编解码器")}[kind]
        return origin.problem(
            t(f"unknown {words} {name!r}", f"未知的{words} {name!r}"), path, remedy=did_you_mean(name, known)
        )

    def _options(self, contract: Interface, origin: InterfaceOrigin) -> BaseModel | None:
        """``listen`` or ``connect`` as the adapter's own model."""
        adapter = self._registry.adapters.get(contract.adapter)
        if adapter is None:
            self._problems.append(
                self._unknown("adapter", contract.adapter, self._registry.adapters, origin, ("adapter",))
            )
            return None
        receives = contract.direction == "in"
        try:
            model = adapter.listen_options if receives else adapter.connect_options
        except HubError as error:
            self._problems.append(origin.problem(error.text, ("adapter",), remedy=error.remedy))
            return None
        if model is None:
            text = t(
                f"adapter {contract.adapter!r} can't {'receive' if receives else 'send'}",
                f"适配器 {contract.adapter!r} 不能{'接收' if receives else '发送'}",
            )
            remedy = t("choose another adapter or direction", "请更换适配器或方向")
            self._problems.append(origin.problem(text, ("adapter",), remedy=remedy))
            return None
        key, data = ("listen", contract.listen) if receives else ("connect", contract.connect)
        try:
            return validate(model, data, _Below(origin, key), self._problems)
        except Exception as error:  # an adapter of a package: its bug must cost this system only
            text = t(
                f"adapter {contract.adapter!r} failed on its options: {type(error).__name__}",
                f"适配器 {contract.adapter!r} 处理选项时出错：{type(error).__name__}",
            )
            remedy = t("tell the author of the adapter", "请联系适配器的作者")
            self._problems.append(origin.problem(text, (key,), remedy=remedy))
            return None

    def _check_expressions(self, contract: Interface, place: str, origin: InterfaceOrigin) -> None:
        reply_codec = contract.reply.codec or contract.codec
        expressions: list[tuple[tuple[str, ...], str, str]] = [
            (("type",), contract.type, contract.codec),
            (("control_id",), contract.control_id, contract.codec),
            (("success",), contract.success, reply_codec),
            (("reply", "code"), contract.reply.code, reply_codec),
            (("reply", "message"), contract.reply.message, reply_codec),
        ]
        for path, text, codec in expressions:
            if text:
                key = ".".join((place, *path))
                self._problems.extend(expression_problems(text, codec, origin, path, key=key))
        for name, text in contract.keys.items():
            self._problems.extend(expression_problems(text, contract.codec, origin, ("keys", name)))


@dataclass(frozen=True, slots=True)
class _Below:
    origin: Origin
    key: str

    def problem(self, text: str, path: KeyPath = (), *, remedy: str = "", severity: str = "error") -> Problem:
        return self.origin.problem(text, (self.key, *path), remedy=remedy, severity=severity)


def _merged(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """``override`` over ``base``, key by key; an empty value takes the key of the contract away."""
    merged = dict(base)
    for key, value in override.items():
        below = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(below, dict):
            merged[key] = _merged(below, value)
        else:
            merged[key] = value
    return merged
