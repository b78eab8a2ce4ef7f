"""``hub plugins NAME``: the contract as it holds, with the file and line of each part."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson

from hub.cli.common import console, emit
from hub.config import load_config
from hub.errors import HubError
from hub.i18n import t
from hub.profiles.effective import Written, effective
from hub.registry import Registry
from hub.validation import did_you_mean

__all__ = ["print_effective"]


def print_effective(config_file: Path, name: str, as_json: bool) -> None:
    """Print the contract of one plugin. Raises :class:`HubError` for one nobody knows."""
    registry = Registry.discover(load_config(config_file).plugin_folders)
    plugin = registry.plugins.get(name)
    if plugin is None:
        text = t(f"there is no plugin {name!r}", f"没有插件 {name!r}")
        remedy = did_you_mean(name, registry.plugins)
        if name in registry.failed:
            text = t(f"plugin {name!r} could not be loaded", f"插件 {name!r} 未能加载")
            remedy = t("`hub check` tells why", "`hub check` 会说明原因")
        raise HubError(text, code="plugin.missing", remedy=remedy)
    rows = list(effective(plugin))
    if as_json:
        profiles = [profile.stamp for profile in plugin.profiles]
        return emit({"id": name, "stamp": plugin.stamp, "profiles": profiles, "keys": [row.as_dict() for row in rows]})
    lines = [_line(row) for row in rows]
    width = min(max(map(len, lines)), 90)
    places = [_place(row) for row in rows]
    for line, (before, place) in zip(lines, pairwise(["", *places]), strict=True):
        console.print(
            f"{line:<{width}}  # {place}" if place != before else line, markup=False, highlight=False, soft_wrap=True
        )
    return None


def _line(row: Written) -> str:
    indent = "  " * (len(row.path) - 1)
    return f"{indent}{row.path[-1]}:" if row.below else f"{indent}{row.path[-1]}: {_text(row.value)}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value and "\n" not in value else orjson.dumps(value).decode()


def _place(row: Written) -> str:
    return f"{os.path.relpath(row.file)}:{row.line}"
