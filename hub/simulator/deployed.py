"""Playing the other party of one system of a configuration, with the settings it really has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from hub.check_security.listeners import is_loopback
from hub.deployment import Deployment
from hub.errors import HubError
from hub.i18n import t
from hub.registry import LoadedPlugin
from hub.secrets import Secret
from hub.simulator.invent import folder_settings, key_settings, of_adapters
from hub.simulator.keys import KeyBook
from hub.validation import did_you_mean

__all__ = ["Deployed", "deployed"]


@dataclass(slots=True)
class Deployed:
    """What :meth:`hub.simulator.Simulator.start` is given. ``replaced``: settings it invents, because it can't be what they name."""

    plugin: LoadedPlugin
    settings: dict[str, Any] = field(repr=False)
    overrides: dict[str, Any] = field(default_factory=dict)
    replaced: list[str] = field(default_factory=list)


def deployed(deployment: Deployment, system: str, keys: KeyBook) -> Deployed:
    """Raises :class:`HubError` for a system that does not run.

    An address of another machine is replaced by one on loopback, a folder and a database by one of its own, and a public key of the other party whose private key is not in
    ``keys`` by that of a pair made for the occasion.
    """
    declared = deployment.parties.get(system)
    if declared is None:
        raise HubError(
            t(f"there is no system {system!r} that runs", f"没有可运行的系统 {system!r}"),
            code="simulate.system",
            remedy=did_you_mean(system, deployment.parties),
        )
    plugin = deployment.registry.plugins[declared.plugin]
    bounds = [
        bound for bound in (*deployment.outbound.values(), *deployment.inbound.values()) if bound.system == system
    ]
    settings: dict[str, Any] = {
        name: value.reveal() if isinstance(value, Secret) else value
        for name, value in (bounds[0].settings if bounds else {}).items()
        if value is not None
    }
    found = Deployed(plugin, settings, {name: value for name, value in declared.interfaces.items() if value != "off"})
    for name, setting in plugin.contract.settings.items():
        if setting.type == "url" and name in settings and not is_loopback(urlsplit(settings[name]).hostname or ""):
            del settings[name]
            found.replaced.append(name)
    chosen = [bound.interface_id for bound in bounds]
    databases = of_adapters(plugin, deployment.registry.adapters, "127.0.0.1", chosen)
    for name in (folder_settings(plugin.document.data["interfaces"]) | databases.keys()) & settings.keys():
        del settings[name]
        found.replaced.append(name)
    for name, whose, kind in list(key_settings(plugin.document.data["interfaces"], settings)):
        if whose != "theirs" or name not in settings:
            continue
        try:
            keys.private_of(kind, settings[name])  # type: ignore[arg-type]  # a pair's kind
        except HubError:
            del settings[name]
            found.replaced.append(name)
    return found
