"""``hub new plugin --extends``: a plugin that takes over a profile."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hub.config import LoadedConfig
from hub.contract import Parameter
from hub.errors import HubError, Problem
from hub.i18n import t
from hub.profiles.compose import Composer
from hub.profiles.load import LoadedProfile
from hub.registry import Registry
from hub.validation import did_you_mean
from hub.yaml_source import parse

__all__ = ["extending_files", "parameters_of"]

_CONTRACT = """\
# What is special to this system; everything else is said by the profile {profile}. `hub plugins {id}` shows what holds.
# 仅写该系统的特有之处，其余由配置模板 {profile} 给出；`hub plugins {id}` 显示最终生效的契约。
id: {id}
name: {name}
version: 1.0.0
# Its id in the catalogue of external systems, where it is there (`hub catalog`). / 在外部系统目录中的编号（如有）。
# catalog: {id}
# Where the facts come from: documents with section or line. / 事实来源：文档及章节或行号。
sources: []
extends: {profile}
"""
_OWN = """\

# Interfaces of its own, and keys that differ: they are merged by name. `off` takes one away.
# 自有接口及不同的键，按名称合并；off 表示去除该接口。
# interfaces:
#   NAME: {timeout: 30s}
#   NAME: off
"""
_TEST = '''\
"""The plugin {id}: what it takes over and what it adds is sound."""

from __future__ import annotations

from pathlib import Path

from hub.check import check

CONFIG = Path(__file__).resolve().parent / {config}
FOLDER = Path(__file__).resolve().parent


def test_contract_and_examples() -> None:
    problems = [problem for problem in check(CONFIG).problems if Path(problem.file).resolve().parent == FOLDER]
    assert problems == []
'''


def parameters_of(registry: Registry, name: str) -> dict[str, Parameter]:
    """What the profile and its parents may be told. Raises :class:`HubError` for a profile nobody knows."""
    found: dict[str, Parameter] = {}

    def collect(profile: LoadedProfile) -> None:
        for parent in profile.contract.extends:
            if parent in registry.profiles:
                collect(registry.profiles[parent])
        found.update(profile.contract.parameters)

    profile = registry.profiles.get(name)
    if profile is None:
        raise HubError(
            t(f"there is no profile {name!r}", f"没有配置模板 {name!r}"),
            code="new.choice",
            remedy=did_you_mean(name, registry.profiles),
        )
    collect(profile)
    return found


def extending_files(
    loaded: LoadedConfig, registry: Registry, place: tuple[str, str, str], profile: str, values: Mapping[str, str]
) -> dict[Path, str]:
    """The files of the skeleton. ``place``: group, id and name; ``values``: texts in YAML for the parameters.

    Raises :class:`HubError` when the profile or a parameter does not exist, or a value is missing or wrong.
    """
    group, plugin_id, name = place
    known = parameters_of(registry, profile)
    for given in values:
        if given not in known:
            raise HubError(
                t(f"profile {profile!r} has no parameter {given!r}", f"配置模板 {profile!r} 没有参数 {given!r}"),
                code="new.choice",
                remedy=did_you_mean(given, known),
            )
    folder = loaded.plugin_folders[0] / group / plugin_id
    text = _CONTRACT.format(id=plugin_id, name=json.dumps(name, ensure_ascii=False), profile=profile)
    lines = [_line(parameter, known[parameter], values.get(parameter)) for parameter in known]
    if lines:
        head = "with:" if any(not line.startswith("#") for line in lines) else "# with:"
        text += "\n".join([head, *lines]) + "\n"
    text += _OWN
    _try(registry, folder / "plugin.yaml", text)
    config = json.dumps(os.path.relpath(loaded.file, folder))
    return {folder / "plugin.yaml": text, folder / f"test_{plugin_id}.py": _TEST.format(id=plugin_id, config=config)}


def _line(name: str, parameter: Parameter, value: str | None) -> str:
    about = f"  # {parameter.description}" if parameter.description else ""
    if value is not None:
        return f"  {name}: {value}{about}"
    if parameter.required and parameter.default is None:
        raise HubError(
            t(f"the profile needs a value for {name!r}", f"配置模板需要参数 {name!r}") + about.replace("  # ", ": "),
            code="new.missing",
            remedy=t(f"add --with {name}=VALUE", f"请添加 --with {name}=值"),
        )
    return f"#   {name}: {json.dumps(parameter.default, ensure_ascii=False)}{about}"


def _try(registry: Registry, file: Path, text: str) -> None:
    """Raises :class:`HubError` when the plugin could not be loaded."""
    problems: list[Problem] = []
    document: Any = parse(text.encode(), file)
    Composer(registry.profiles, registry.failed_profiles, registry.adapters).compose(document, problems)
    for problem in problems:
        raise HubError(problem.text, code="new.choice", remedy=problem.remedy)
