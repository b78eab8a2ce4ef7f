"""``hub check``: everything that can be known to be wrong before anything runs."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub.answering import interface_problems
from hub.api import Codec
from hub.batching import batching_problems
from hub.codecs.options import configure
from hub.config import load_config
from hub.contract import Interface
from hub.deployment import Deployment, build
from hub.errors import CodecError, Problem
from hub.i18n import t
from hub.profiles.check import profile_problems
from hub.registry import LoadedPlugin, Registry
from hub.validation import did_you_mean

__all__ = ["MAX_EXAMPLE_BYTES", "CheckReport", "check", "plugin_problems"]

#: Largest example file, bytes.
MAX_EXAMPLE_BYTES = 16 << 20


@dataclass(slots=True)
class CheckReport:
    """Every problem found, and how much was looked at."""

    problems: list[Problem] = field(default_factory=list)
    plugins: int = 0  # loaded without errors
    systems: int = 0  # that would run
    routes: int = 0  # that would run
    mappings: int = 0  # found
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """True when nothing would stop a start; warnings don't."""
        return not any(problem.severity == "error" for problem in self.problems)

    def as_dict(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "plugins": self.plugins,
            "systems": self.systems,
            "routes": self.routes,
            "mappings": self.mappings,
            "seconds": round(self.seconds, 3),
            "problems": [problem.as_dict() for problem in self.problems],
        }


def check(config_path: str | os.PathLike[str]) -> CheckReport:
    """Check the configuration, every plugin with its examples, every mapping, system and route. Never starts anything."""
    from hub.mapping import MappingLibrary

    begun = time.perf_counter()
    loaded = load_config(config_path)
    registry = Registry.discover(loaded.plugin_folders)
    folders = [folder for folder in loaded.mapping_folders if folder.is_dir()]
    mappings = MappingLibrary(folders, registry.functions)
    deployment, problems = build(loaded, registry, mappings)
    problems = [*problems, *mappings.problems()]
    held: list[object] = []  # many plugins name the same schema, which is compiled once while somebody has it
    for plugin in registry.plugins.values():
        problems.extend(plugin_problems(plugin, registry, deployment, held))
    problems.extend(profile_problems(registry, lambda plugin: plugin_problems(plugin, registry, deployment, held)))
    if any(folder.is_dir() for folder in loaded.schema_folders):
        problems.extend(deployment.check_library().problems())
    return CheckReport(
        problems=list(dict.fromkeys(problems)),
        plugins=len(registry.plugins),
        systems=len(deployment.systems),
        routes=len(deployment.routes),
        mappings=len(mappings.names()),
        seconds=time.perf_counter() - begun,
    )


def plugin_problems(
    plugin: LoadedPlugin, registry: Registry, deployment: Deployment, held: list[object] | None = None
) -> list[Problem]:
    """What is wrong with a contract even where no system uses it; ``held`` gets the checks of its interfaces."""
    from hub.simulator.check import simulate_problems  # a reload of a hub that runs needs none of it

    problems: list[Problem] = []
    for name, interface in plugin.contract.interfaces.items():
        if interface.adapter not in registry.adapters:
            text = t(f"unknown adapter {interface.adapter!r}", f"未知的适配器 {interface.adapter!r}")
            remedy = did_you_mean(interface.adapter, registry.adapters)
            problems.append(plugin.document.problem(text, ("interfaces", name, "adapter"), remedy=remedy))
        codec = registry.codecs.get(interface.codec)
        if codec is None:
            text = t(f"unknown codec {interface.codec!r}", f"未知的编解码器 {interface.codec!r}")
            remedy = did_you_mean(interface.codec, registry.codecs)
            problems.append(plugin.document.problem(text, ("interfaces", name, "codec"), remedy=remedy))
            continue
        adapter = registry.adapters.get(interface.adapter)
        problems.extend(interface_problems(interface, adapter, plugin.document.place("interfaces", name)))
        if "${" not in str(interface.format):  # otherwise known, and checked, for each system
            codec = configure(codec, interface.format, plugin.document.place("interfaces", name, "format"), problems)
            if codec is None:
                continue
        problems.extend(batching_problems(interface, codec, plugin.document.place("interfaces", name)))
        rule = interface.validation
        if rule is not None and rule.mode != "off":
            origin = plugin.document.place("interfaces", name)
            checks = deployment.check_library().checks(
                f"{plugin.contract.id}/{name}", interface, codec, origin, problems
            )
            if held is not None:
                held.append(checks)
        for number, example in enumerate(interface.examples):
            problem = _example_problem(plugin.folder / example, interface, codec)
            if problem is not None:
                text, remedy = problem
                path: tuple[str | int, ...] = ("interfaces", name, "examples", number)
                problems.append(plugin.document.problem(f"{example}: {text}", path, remedy=remedy))
    problems.extend(simulate_problems(plugin, registry, deployment.mappings))
    return problems


def _example_problem(file: Path, interface: Interface, codec: Codec) -> tuple[str, str] | None:
    """(text, remedy) of what is wrong with an example file."""
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_EXAMPLE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        remedy = t(
            "add the file, or correct the path; it is relative to the file that names it",
            "请添加文件或更正路径（相对书写该路径的文件）",
        )
        return t(f"can't be read: {reason}", f"无法读取：{reason}"), remedy
    if len(raw) > MAX_EXAMPLE_BYTES:
        size = MAX_EXAMPLE_BYTES >> 20
        return t(f"larger than {size} MB", f"超过 {size} MB"), t("give a smaller example", "请使用较小的示例")
    try:
        codec.decode(raw, encoding=interface.encoding)
    except CodecError as error:
        text = t(f"is not {codec.name}: {error.text}", f"不是 {codec.name}：{error.text}")
        return text, error.remedy or t("correct the example", "请更正示例")
    except Exception as error:  # a codec of a package
        text = t(
            f"codec {codec.name} failed: {type(error).__name__}", f"编解码器 {codec.name} 出错：{type(error).__name__}"
        )
        return text, t("tell the author of the codec", "请联系编解码器的作者")
    return None
