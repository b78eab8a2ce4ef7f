"""The rule sets of a deployment with everything it takes to run one by hand."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.config import LoadedConfig
from hub.errors import ConfigError, HubError, Problem
from hub.i18n import t
from hub.mapping import Context, MappingLibrary
from hub.mapping_tools.workbench import MAX_INPUT, Circumstances, Workbench
from hub.message import Message
from hub.quality.library import RuleLibrary
from hub.quality.ruleset import Assessment, QualityValidator
from hub.registry import Registry
from hub.validation import did_you_mean

__all__ = ["RuleBench", "open_rules"]


@dataclass(frozen=True, slots=True)
class RuleBench:
    """``workbench`` has the codecs of the deployment, and what is wrong with its plugins."""

    library: RuleLibrary
    workbench: Workbench
    folders: list[Path]

    def chosen(self, names: list[str]) -> list[str]:
        """The names of sets: those asked for, or all; raises :class:`ConfigError` for one nobody knows."""
        known = self.library.names()
        for name in names:
            if name not in known:
                text = t(f"there is no rule set {name!r}", f"没有规则集 {name!r}")
                raise ConfigError([Problem(text, remedy=did_you_mean(name, known))])
        return names or known

    def assess(
        self,
        validator: QualityValidator,
        raw: bytes,
        around: Circumstances,
        *,
        encoding: str = "",
        options: Mapping[str, Any] | None = None,
    ) -> Assessment:
        """Decode a message as an interface would and ask the rules; raises :class:`HubError` when it can't be decoded."""
        if len(raw) > MAX_INPUT:
            raise HubError(t(f"larger than {MAX_INPUT >> 20} MB", f"超过 {MAX_INPUT >> 20} MB"), code="input.size")
        codec = self.workbench.codec(validator.codec, options)
        tree = codec.decode(raw, encoding=encoding)
        kind, number = codec.envelope(tree)
        now = around.now_us or time.time_ns() // 1000
        message = Message(
            id=around.message_id,
            received_at=around.received_at or now,
            source=around.source,
            type=around.type or kind,
            control_id=around.control_id or number,
            raw=raw,
            keys=dict(around.keys),
            codec=codec.name,
            correlation=around.correlation,
        )
        return validator.assess(tree, Context(around.settings, message, now, around.variables))


def open_rules(loaded: LoadedConfig) -> RuleBench:
    """The rule sets below the schema folders of a configuration, with the codecs, functions and code tables of the deployment."""
    registry = Registry.discover(loaded.plugin_folders)
    folders = [folder for folder in loaded.schema_folders if folder.is_dir()]
    mapping_folders = [folder for folder in loaded.mapping_folders if folder.is_dir()]
    mappings = MappingLibrary(mapping_folders, registry.functions)
    workbench = Workbench(mappings, registry.codecs, mapping_folders, registry.problems)
    return RuleBench(RuleLibrary(folders, registry.functions, mappings.table, registry.codecs), workbench, folders)
