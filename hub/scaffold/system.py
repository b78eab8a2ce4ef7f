"""``hub new system``: a system on a plugin, switched off until its placeholders are replaced."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator
from pathlib import Path

from hub.config import load_config
from hub.contract import Plugin, Setting
from hub.errors import ConfigError, HubError
from hub.i18n import t
from hub.registry import Registry
from hub.scaffold.files import write_new
from hub.validation import did_you_mean

__all__ = ["new_system", "system_text"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
_PLACEHOLDERS = {
    "integer": "0",
    "number": "0",
    "boolean": "false",
    "url": "https://host.example",
    "host": "host.example",
    "port": "9",
    "duration": "5s",
    "list": "[]",
}
_HEAD = """\
# Replace the placeholders, make the files of the secrets (readable by their owner only), remove `enabled: false`, then `hub check`.
# 替换占位值，建立机密文件（仅属主可读），删除 `enabled: false`，再运行 `hub check`。
systems:
  {id}:
    enabled: false
    plugin: {plugin}
    name: {name}
"""
_ROUTE = """\
  {id}_{interface}:
    enabled: false
    from: {source}
    to: {target}
"""


def new_system(config_file: Path, plugin_id: str, system_id: str, name: str = "") -> list[Path]:
    """Write ``systems/<id>.yaml`` beside a configuration; gives the file.

    Raises :class:`HubError` for a plugin nobody knows, a name that is taken or impossible, a configuration that would not
    read the file, and a file that is there already.
    """
    loaded = load_config(config_file)
    if loaded.unusable:
        raise ConfigError(loaded.errors)
    plugins = Registry.discover(loaded.plugin_folders).plugins
    if plugin_id not in plugins:
        raise HubError(
            t(f"there is no plugin {plugin_id!r}", f"没有插件 {plugin_id!r}"),
            code="plugin.missing",
            remedy=did_you_mean(plugin_id, plugins),
        )
    if not _NAME.fullmatch(system_id):
        raise HubError(
            t(f"id {system_id!r} is not possible", f"编号 {system_id!r} 不可用"),
            code="new.name",
            remedy=t("letters, digits, - and _, e.g. his_east", "请使用字母、数字、- 和 _，例如 his_east"),
        )
    if system_id in loaded.hub.systems:
        raise HubError(t(f"there is a system {system_id!r} already", f"已有系统 {system_id!r}"), code="new.exists")
    place = f"systems/{system_id}.yaml"
    if not any(fnmatch.fnmatch(place, pattern) for pattern in loaded.hub.include):
        raise HubError(
            t(f"the configuration does not read {place}", f"配置不会读取 {place}"),
            code="new.include",
            remedy=t("add systems/*.yaml under include:", "请在 include: 下加入 systems/*.yaml"),
        )
    return write_new({loaded.file.parent / place: system_text(plugins[plugin_id].contract, system_id, name)})


def system_text(contract: Plugin, system: str, name: str = "") -> str:
    """The file of one system, off, with placeholders; the name is by default the plugin's."""
    shown = json.dumps(name or contract.name, ensure_ascii=False)
    text = _HEAD.format(id=system, plugin=contract.id, name=shown)
    if contract.settings:
        text += "    settings:\n" + "".join(_settings(contract.settings, system))
        if not any(setting.required for setting in contract.settings.values()):
            text = text.replace("    settings:\n", "    settings: {}\n")  # all below is commented out
    text += "\n# What comes from it and what goes to it; the other side is another system/interface. / 收发路由；另一端为其他 系统/接口。\nroutes:\n"
    first = {interface.direction: interface_id for interface_id, interface in reversed(contract.interfaces.items())}
    if "in" in first:
        text += _ROUTE.format(
            id=system, interface=first["in"], source=f"{system}/{first['in']}", target="target/interface"
        )
    if "out" in first:
        text += _ROUTE.format(
            id=system, interface=first["out"], source="source/interface", target=f"{system}/{first['out']}"
        )
    return text


def _settings(settings: dict[str, Setting], system: str) -> Iterator[str]:
    for name, setting in settings.items():
        if setting.description:
            yield f"      # {' '.join(setting.description.split())}\n"
        yield f"      {'' if setting.required else '# '}{name}: {_placeholder(name, setting, system)}\n"


def _placeholder(name: str, setting: Setting, system: str) -> str:
    if setting.type == "secret":
        return f"file:secrets/{system}.{name}"
    given = setting.default if setting.default is not None else next(iter(setting.choices), None)
    if given is not None:
        return json.dumps(given, ensure_ascii=False)
    return _PLACEHOLDERS.get(setting.type, "REPLACE")
