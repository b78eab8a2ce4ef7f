"""Interfaces of a plugin bound as a hub would bind them, with settings whose secrets are at hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hub.api import Bound
from hub.contract import HubConfig, SystemConfig
from hub.deployment import Deployment, bind_system
from hub.errors import ConfigError
from hub.mapping import MappingLibrary
from hub.registry import LoadedPlugin, Registry
from hub.secrets import Secret
from hub.yaml_source import Document

__all__ = ["SYSTEM", "bound_interfaces", "schema_folders"]

#: Name of the system that is bound.
SYSTEM = "simulated"


def bound_interfaces(
    plugin: LoadedPlugin,
    registry: Registry,
    mappings: MappingLibrary,
    settings: Mapping[str, Any],
    interfaces: Iterable[str],
    overrides: Mapping[str, Any],
    schemas: Iterable[Path],
) -> dict[str, Bound]:
    """Each interface as the hub has it. Raises :class:`ConfigError` with everything that is wrong."""
    declared = plugin.contract.settings
    secret = {name for name in settings if name in declared and declared[name].type == "secret"}
    chosen = set(interfaces)
    system = SystemConfig(
        plugin=plugin.contract.id,
        settings={name: f"key:{name}" if name in secret else value for name, value in settings.items()},
        interfaces={name: overrides.get(name, {}) if name in chosen else "off" for name in plugin.contract.interfaces},
    )
    document = Document(plugin.file, b"", {"systems": {SYSTEM: system.model_dump(include={"settings", "interfaces"})}})
    deployment = Deployment(
        HubConfig(systems={SYSTEM: system}),
        registry,
        mappings,
        declared={f"systems.{SYSTEM}": document.place("systems", SYSTEM)},
        schema_folders=list(schemas),
        keys=_Given(settings),  # type: ignore[arg-type]  # called like References, which opens the key store
    )
    bind_system(SYSTEM, deployment)
    errors = [problem for problem in deployment.problems if problem.severity == "error"]
    if errors:
        raise ConfigError(errors)
    return {bound.interface_id: bound for bound in (*deployment.outbound.values(), *deployment.inbound.values())}


def schema_folders(plugin: LoadedPlugin) -> list[Path]:
    """The folder ``schemas`` beside the folder of plugins."""
    found = next((above / "schemas" for above in plugin.folder.parents if (above / "schemas").is_dir()), None)
    return [found] if found is not None else []


class _Given:
    """Resolves ``key:NAME`` to the setting of that name."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings

    def __call__(self, name: str, system: str = "") -> Secret:
        value = self._settings[name]
        return value if isinstance(value, Secret) else Secret(str(value))
