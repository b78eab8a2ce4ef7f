"""What a page is about: a plugin, or a system as deployed. Either way secrets stay names: ``${token}`` is never filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hub.contract import Interface, Plugin, Setting
from hub.deployment import Deployment
from hub.errors import HubError
from hub.i18n import t
from hub.registry import LoadedPlugin
from hub.validation import did_you_mean

__all__ = ["Subject", "of_plugin", "of_system", "sample_settings"]

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SAMPLES: dict[str, Any] = {
    "integer": 1,
    "number": 1,
    "boolean": True,
    "port": 8080,
    "duration": 60,
    "list": [],
    "url": "https://example.com",
    "host": "127.0.0.1",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """``values`` are settings that are known: those of a system, no secrets among them; empty for a plugin."""

    id: str
    name: str
    plugin: LoadedPlugin
    interfaces: Mapping[str, Interface]
    values: Mapping[str, Any] = field(default_factory=dict)
    system: bool = False

    @property
    def contract(self) -> Plugin:
        return self.plugin.contract

    @property
    def settings(self) -> Mapping[str, Setting]:
        return self.contract.settings

    def is_secret(self, value: Any) -> bool:
        """Whether a value of a contract is, or holds, a setting that is secret."""
        names = _REFERENCE.findall(value) if isinstance(value, str) else []
        return any(name not in self.settings or self.settings[name].type == "secret" for name in names)


def of_plugin(plugin: LoadedPlugin) -> Subject:
    contract = plugin.contract
    return Subject(contract.id, contract.name, plugin, dict(contract.interfaces))


def of_system(deployment: Deployment, name: str) -> Subject:
    """A system that runs; raises :class:`HubError` for one nobody knows or that has errors."""
    system = deployment.parties.get(name)
    if system is None:
        raise HubError(
            t(f"there is no system {name!r} that could run", f"没有可运行的系统 {name!r}"),
            code="handbook.system",
            remedy=did_you_mean(name, deployment.parties)
            or t("`hub check` tells what is wrong", "`hub check` 会说明原因"),
        )
    plugin = deployment.registry.plugins[system.plugin]
    settings = plugin.contract.settings
    values: dict[str, Any] = {}
    interfaces: dict[str, Interface] = {}
    for place, bound in sorted({**deployment.inbound, **deployment.outbound}.items()):
        if bound.system != name:
            continue
        values = {
            key: value
            for key, value in bound.settings.items()
            if key in settings and settings[key].type != "secret" and value is not None
        }
        merged = deployment.origins[place].merged
        shown = {
            key: _filled(merged.get(key) or empty, values)
            for key, empty in (("listen", {}), ("connect", {}), ("security", []))
        }
        interfaces[bound.interface_id] = bound.contract.model_copy(update=shown)
    order = [key for key in plugin.contract.interfaces if key in interfaces]
    title = system.name or plugin.contract.name
    return Subject(name, title, plugin, {key: interfaces[key] for key in order}, values, system=True)


def sample_settings(subject: Subject) -> dict[str, Any]:
    """A value for every setting: that of the system, its default, the first of its choices, or its own name in brackets."""
    found: dict[str, Any] = {}
    for name, setting in subject.settings.items():
        if setting.type == "secret":
            found[name] = f"<{name}>"
        elif name in subject.values:
            found[name] = subject.values[name]
        elif setting.default is not None:
            found[name] = setting.default
        else:
            found[name] = setting.choices[0] if setting.choices else _SAMPLES.get(setting.type, f"<{name}>")
    return found


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    """With the settings that are known in the place of ``${name}``; the others stay as they are written."""
    if isinstance(value, Mapping):
        return {key: _filled(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, values) for item in value]
    if not isinstance(value, str):
        return value
    whole = _REFERENCE.fullmatch(value)
    if whole is not None and whole[1] in values:
        return values[whole[1]]
    return _REFERENCE.sub(lambda found: str(values.get(found[1], found[0])), value)
