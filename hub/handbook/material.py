"""Everything pages are made from, read once: plugins, mappings, schemas, the catalogue, quality levels."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from hub.catalog import Catalog, Coverage, compare
from hub.config import LoadedConfig, load_config
from hub.deployment import Deployment, build
from hub.errors import ConfigError, HubError
from hub.handbook.mapping_fields import Mappings
from hub.handbook.schema_fields import SchemaFiles
from hub.i18n import t
from hub.mapping import MappingLibrary
from hub.mapping_tools.workbench import Workbench
from hub.registry import LoadedPlugin, Registry
from hub.validation import did_you_mean

__all__ = ["Material", "gather"]


@dataclass(slots=True)
class Material:
    """``levels`` is empty where quality was not asked for, or can't be told."""

    loaded: LoadedConfig
    deployment: Deployment
    mappings: Mappings
    schemas: SchemaFiles
    catalog: Catalog | None = None
    coverage: Coverage | None = None
    levels: dict[str, str] = field(default_factory=dict)

    @property
    def registry(self) -> Registry:
        return self.deployment.registry

    @property
    def bench(self) -> Workbench:
        return self.mappings.bench

    def plugin(self, name: str) -> LoadedPlugin:
        found = self.registry.plugins.get(name)
        if found is None:
            raise HubError(
                t(f"there is no plugin {name!r}", f"没有插件 {name!r}"),
                code="plugin.missing",
                remedy=did_you_mean(name, self.registry.plugins),
            )
        return found


def gather(config_file: str | os.PathLike[str], *, quality: bool = True) -> Material:
    """Read what the configuration names. Raises :class:`ConfigError` when it can't be used.

    ``quality`` tells the levels too, which takes as long as running the tests of all mappings.
    """
    loaded = load_config(config_file)
    if loaded.unusable:
        raise ConfigError(loaded.errors)
    registry = Registry.discover(loaded.plugin_folders)
    folders = [folder for folder in loaded.mapping_folders if folder.is_dir()]
    library = MappingLibrary(folders, registry.functions)
    deployment, _ = build(loaded, registry, library)
    bench = Workbench(library, registry.codecs, folders, registry.problems)
    material = Material(
        loaded,
        deployment,
        Mappings(bench),
        SchemaFiles([folder for folder in loaded.schema_folders if folder.is_dir()]),
    )
    try:
        material.catalog = Catalog.read()
        material.coverage = compare(material.catalog, registry.plugins.values())
    except (HubError, OSError):  # an installation without the catalogue has an index by folder
        material.catalog = None
    if quality:
        material.levels = _levels(Path(config_file))
    return material


def _levels(config_file: Path) -> dict[str, str]:
    from hub.plugin_quality import qualities

    try:
        return {name: found.level for name, found in qualities(config_file).items()}
    except HubError:  # pages are made without levels, too
        return {}
