"""What contract tests work on: the plugins, mappings, schemas and codecs of a configuration."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from hub.check import plugin_problems
from hub.config import LoadedConfig, load_config
from hub.deployment import Deployment, build
from hub.errors import ConfigError, HubError, Problem
from hub.i18n import t
from hub.mapping import MappingLibrary
from hub.mapping_tools.workbench import Workbench
from hub.plugin_mappings import MappingProofs
from hub.registry import LoadedPlugin, Registry
from hub.verify.declared import Declared, declared

__all__ = ["Subject", "VerifySite", "open_site", "root_of"]


@dataclass(slots=True)
class Subject:
    """One plugin that is tested, with what ``verify.yaml`` says of it."""

    plugin: LoadedPlugin
    declared: Declared
    problems: list[Problem] = field(default_factory=list)  # of the contract and of verify.yaml

    @property
    def id(self) -> str:
        return self.plugin.contract.id


def root_of(loaded: LoadedConfig) -> Path:
    """The folder the first folder of plugins stands in."""
    return loaded.plugin_folders[0].parent if loaded.plugin_folders else loaded.file.parent


@dataclass(slots=True)
class VerifySite:
    """A configuration opened for contract tests; its systems and routes are not used."""

    loaded: LoadedConfig
    registry: Registry
    mappings: MappingLibrary
    deployment: Deployment
    bench: Workbench
    proofs: MappingProofs
    #: Checks of interfaces: what they share is compiled once for all hubs of a run.
    held: list[object] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """The folder ``plugins`` stands in, from which tests and records are named."""
        return root_of(self.loaded)

    def subject(self, name: str) -> Subject:
        """Raises :class:`HubError` for a plugin nobody knows."""
        plugin = self.registry.plugins.get(name)
        if plugin is None:
            raise HubError(
                t(f"there is no plugin {name!r}", f"没有插件 {name!r}"),
                code="plugin.missing",
                remedy=t("`hub check` tells why it is not loaded", "`hub check` 会说明未能加载的原因"),
            )
        problems = plugin_problems(plugin, self.registry, self.deployment, self.held)
        return Subject(plugin, declared(plugin, problems), problems)

    def chosen(self, names: Iterable[str]) -> list[str]:
        """The plugins asked for, or all; raises :class:`HubError` for one nobody knows."""
        wanted = list(dict.fromkeys(names))
        for name in wanted:
            if name not in self.registry.plugins:
                self.subject(name)
        return wanted or sorted(self.registry.plugins)


def open_site(config_file: str | os.PathLike[str]) -> VerifySite:
    """Raises :class:`ConfigError` when the configuration can't be used."""
    loaded = load_config(Path(config_file).resolve())
    if loaded.unusable:
        raise ConfigError(loaded.errors)
    registry = Registry.discover(loaded.plugin_folders)
    folders = [folder for folder in loaded.mapping_folders if folder.is_dir()]
    mappings = MappingLibrary(folders, registry.functions)
    deployment, _ = build(loaded, registry, mappings)
    bench = Workbench(mappings, registry.codecs, folders, registry.problems)
    return VerifySite(loaded, registry, mappings, deployment, bench, MappingProofs(bench))
