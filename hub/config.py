"""Reading the configuration: ``hub.yaml`` and the files it includes.

What is wrong with one system or route leaves out that system or route; the others are read. What is wrong with
``hub.yaml`` itself is an error that stops a start.
"""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from hub.contract import HubConfig, Model, RouteConfig, SystemConfig
from hub.errors import ConfigError, HubError, Problem
from hub.i18n import t
from hub.people.check import people_problems
from hub.secrets import Secret, resolve
from hub.validation import did_you_mean, validate
from hub.yaml_source import Document, Place, load

__all__ = ["LoadedConfig", "load_config"]

M = TypeVar("M", bound=Model)

_PARTS = ("systems", "routes")
_NAME_REMEDY = ("use letters, digits, - and _, e.g. his_east", "请使用字母、数字、- 和 _，例如 his_east")


@dataclass(slots=True)
class LoadedConfig:
    """The configuration as read; what isn't valid is left out and told in ``problems``."""

    file: Path
    hub: HubConfig  # with systems and routes of all files
    problems: list[Problem]
    plugin_folders: list[Path]
    mapping_folders: list[Path]
    schema_folders: list[Path]
    flow_folders: list[Path]
    store_path: Path
    unusable: bool = False  # hub.yaml itself has errors: nothing can be started with it
    admin_token: Secret | None = None  # None: not configured
    declared: dict[str, Place] = field(default_factory=dict)  # "systems.his" -> where it is written

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.severity == "error"]


def load_config(path: str | os.PathLike[str]) -> LoadedConfig:
    """Read ``hub.yaml`` and its includes. Never raises: what can't be used is in ``problems``."""
    file = Path(os.path.normpath(path))
    problems: list[Problem] = []
    document = _read(file, problems)
    if document is None:
        document = Document(file, b"", {})
    data = _top_level(document, problems)
    own = {key: value for key, value in data.items() if key not in _PARTS}
    whole = validate(HubConfig, own, document.place(), problems)
    # The good parts of a bad file are still used to look for further problems.
    config = whole or HubConfig.model_validate({key: value for key, value in own.items() if _is_valid(key, value)})
    base = file.parent
    loaded = LoadedConfig(
        file=file,
        hub=config,
        problems=problems,
        plugin_folders=[_join(base, folder) for folder in config.plugins],
        mapping_folders=[_join(base, folder) for folder in config.mappings],
        schema_folders=[_join(base, folder) for folder in config.schemas],
        flow_folders=[_join(base, folder) for folder in config.flows],
        store_path=_join(base, config.store.path),
    )
    if config.admin.token not in ("", "off"):
        try:
            loaded.admin_token = resolve(config.admin.token, base)
        except HubError as error:
            problems.append(document.problem(error.text, ("admin", "token"), remedy=error.remedy))
    loaded.unusable = bool(loaded.errors)
    if document.data:
        _check_folders(loaded, document)
    documents = [document, *_included(config.include, document, problems)]
    systems = _collect("systems", SystemConfig, documents, loaded)
    routes = _collect("routes", RouteConfig, documents, loaded)
    loaded.hub = config.model_copy(update={"systems": systems, "routes": routes})
    problems.extend(people_problems(loaded.hub, document))
    return loaded


def _is_valid(key: str, value: Any) -> bool:
    try:
        HubConfig.model_validate({key: value})
    except ValidationError:
        return False
    return True


def _join(base: Path, path: str) -> Path:
    return Path(os.path.normpath(base / path))


def _read(file: Path, problems: list[Problem]) -> Document | None:
    try:
        return load(file)
    except ConfigError as error:
        problems.extend(error.problems)
        return None


def _top_level(document: Document, problems: list[Problem]) -> dict[str, Any]:
    if document.data is None:
        return {}
    if isinstance(document.data, dict):
        return document.data
    remedy = t("write e.g. systems: …", "例如 systems: …")
    problems.append(document.problem(t("expected keys and values", "应为键值"), remedy=remedy))
    return {}


def _check_folders(loaded: LoadedConfig, document: Document) -> None:
    kinds = [("plugins", loaded.plugin_folders), ("mappings", loaded.mapping_folders)]
    if isinstance(document.data, dict) and "schemas" in document.data:  # many hubs have none
        kinds.append(("schemas", loaded.schema_folders))
    if isinstance(document.data, dict) and "flows" in document.data:
        kinds.append(("flows", loaded.flow_folders))
    for key, folders in kinds:
        for number, folder in enumerate(folders):
            if not folder.is_dir():
                text = t(f"there is no folder {folder}", f"文件夹 {folder} 不存在")
                remedy = t(
                    "make it, or correct the path; it is relative to this file", "请创建或更正路径（相对本文件）"
                )
                loaded.problems.append(document.problem(text, (key, number), remedy=remedy, severity="warning"))


def _included(patterns: list[str], document: Document, problems: list[Problem]) -> list[Document]:
    """The included files, each once, in the order of the patterns and then of their names."""
    documents: list[Document] = []
    seen = {os.path.realpath(document.path)}
    for number, pattern in enumerate(patterns):
        try:
            found = sorted(glob.glob(str(document.path.parent / pattern), recursive=True))
        except (OSError, ValueError):
            found = []
        if not found and not glob.has_magic(pattern):
            text = t(f"there is no file {pattern}", f"文件 {pattern} 不存在")
            remedy = t("correct the path; it is relative to this file", "请更正路径（相对本文件）")
            problems.append(document.problem(text, ("include", number), remedy=remedy))
        for name in found:
            real = os.path.realpath(name)
            if real in seen or os.path.isdir(real):
                continue
            seen.add(real)
            included = _read(Path(os.path.normpath(name)), problems)
            if included is None:
                continue
            for key in _top_level(included, problems):
                if key not in _PARTS:
                    text = t(f"unknown key {key!r} in an included file", f"被包含文件中有未知的键 {key!r}")
                    remedy = did_you_mean(key, _PARTS)
                    problems.append(included.problem(text, (key,), remedy=remedy))
            documents.append(included)
    return documents


def _collect(part: str, model: type[M], documents: list[Document], loaded: LoadedConfig) -> dict[str, M]:
    """Every system or route of all files; the first of two with one name is used."""
    result: dict[str, M] = {}
    problems = loaded.problems
    for document in documents:
        entries = document.data.get(part) if isinstance(document.data, dict) else None
        if entries is None:
            continue
        if not isinstance(entries, dict):
            remedy = t("write a name and, below it, its keys", "请写名称，并在其下写各键")
            problems.append(document.problem(t("expected keys and values", "应为键值"), (part,), remedy=remedy))
            continue
        for name, data in entries.items():
            place = document.place(part, name)
            if not all(char.isalnum() or char in "-_" for char in name) or not name:
                text = t(f"{name!r} can't be a name", f"{name!r} 不能作为名称")
                problems.append(place.problem(text, remedy=t(*_NAME_REMEDY)))
                continue
            earlier = loaded.declared.get(f"{part}.{name}")
            if earlier is not None:
                where = f"{earlier.document.path}:{earlier.document.line(earlier.path)}"
                text = t(f"{name!r} is already declared in {where}", f"{name!r} 已在 {where} 声明")
                problems.append(place.problem(text, remedy=t("rename or remove one", "请改名或删除其一")))
                continue
            loaded.declared[f"{part}.{name}"] = place
            entry = validate(model, data, place, problems)
            if entry is not None:
                result[name] = entry
    return result
