"""Settings of a simulator written as the system of a configuration, each secret in a file of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from hub.registry import LoadedPlugin
from hub.simulator.simulator import Simulator

__all__ = ["system_of", "write_system"]


def system_of(plugin: LoadedPlugin, simulator: Simulator, folder: Path) -> dict[str, Any]:
    """The system as it stands under ``systems:``; its secrets are written below ``folder``, readable by the owner only."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings: dict[str, Any] = {}
    for name, value in simulator.settings.items():
        declared = plugin.contract.settings.get(name)
        if declared is not None and declared.type == "secret":
            file = folder / f"{plugin.contract.id}.{name}"
            file.unlink(missing_ok=True)
            with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
                stream.write(str(value))
            value = f"file:{file.absolute()}"
        settings[name] = value
    return {"plugin": plugin.contract.id, "settings": settings}


def write_system(plugin: LoadedPlugin, simulator: Simulator, folder: Path, name: str) -> Path:
    """``folder/NAME.yaml``, to be named under ``include`` of a configuration."""
    system = system_of(plugin, simulator, folder)
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({"systems": {name: system}}, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return file
