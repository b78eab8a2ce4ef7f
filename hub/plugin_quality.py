"""How good a plugin is, computed from its files: bronze, silver, gold.

Only what files can show is looked at; nothing is called. That an interface works against the other party, or against a
simulator with faults, is not part of these levels. A level is reached when everything of it and of those below holds.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.api import Codec
from hub.check import plugin_problems
from hub.checking.load import make_slow
from hub.codecs.options import configure
from hub.config import load_config
from hub.contract import Interface
from hub.deployment import Deployment, build
from hub.errors import ConfigError, HubError, Problem
from hub.i18n import t
from hub.mapping import Context, MappingLibrary
from hub.mapping_tools.workbench import Workbench
from hub.plugin_mappings import MappingProofs, mappings_of
from hub.quality import QualityValidator
from hub.registry import LoadedPlugin, Registry
from hub.validators.report import Severity, Validator

__all__ = ["LEVELS", "Criterion", "Quality", "qualities"]

LEVELS = ("bronze", "silver", "gold")
#: Adapters whose replies carry codes of the other party's business, so that an error table says what they mean.
_WITH_CODES = frozenset(("http", "soap"))
#: Letters in each language below which notes are none.
_NOTES_EN, _NOTES_ZH = 120, 60
_MAX_TEXT = 1 << 20


@dataclass(frozen=True, slots=True)
class Criterion:
    """One demand of a level; ``why`` says what is missing, "" where it is met."""

    level: str
    name: str
    why: str = ""

    @property
    def met(self) -> bool:
        return not self.why


@dataclass(frozen=True, slots=True)
class Quality:
    """The criteria of one plugin. ``level`` is "" below bronze."""

    plugin: str
    criteria: tuple[Criterion, ...]

    @property
    def level(self) -> str:
        reached = ""
        for level in LEVELS:
            if not all(one.met for one in self.criteria if one.level == level):
                break
            reached = level
        return reached

    @property
    def missing(self) -> list[str]:
        """What is missing for the next level."""
        above = LEVELS[LEVELS.index(self.level) + 1 :] if self.level else LEVELS
        return list(dict.fromkeys(one.why for one in self.criteria if one.level in above[:1] and not one.met))

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.plugin,
            "level": self.level,
            "missing": self.missing,
            "criteria": [{"level": c.level, "name": c.name, "met": c.met, "why": c.why} for c in self.criteria],
        }


def qualities(config_file: str | os.PathLike[str], names: Iterable[str] = ()) -> dict[str, Quality]:
    """The quality of these plugins, or of all that a configuration finds; those that can't be loaded are left out.

    Runs the tests of their mappings. Raises :class:`ConfigError` when the configuration can't be used, :class:`HubError` for
    a plugin nobody knows.
    """
    loaded = load_config(config_file)
    if loaded.unusable:
        raise ConfigError(loaded.errors)
    registry = Registry.discover(loaded.plugin_folders)
    folders = [folder for folder in loaded.mapping_folders if folder.is_dir()]
    mappings = MappingLibrary(folders, registry.functions)
    deployment, _ = build(loaded, registry, mappings)
    judge = _Judge(registry, deployment, Workbench(mappings, registry.codecs, folders, registry.problems))
    wanted = list(names) or sorted(registry.plugins)
    for name in wanted:
        if name not in registry.plugins:
            raise HubError(
                t(f"there is no plugin {name!r}", f"没有插件 {name!r}"),
                code="plugin.missing",
                remedy=t("`hub check` tells why it is not loaded", "`hub check` 会说明未能加载的原因"),
            )
    return {name: judge.quality(registry.plugins[name]) for name in wanted}


class _Judge:
    def __init__(self, registry: Registry, deployment: Deployment, bench: Workbench) -> None:
        self._registry = registry
        self._deployment = deployment
        self._proofs = MappingProofs(bench)
        self._wrong: dict[str, list[Problem]] = {}

    def quality(self, plugin: LoadedPlugin) -> Quality:
        demands: tuple[tuple[str, str, Callable[[LoadedPlugin], str]], ...] = (
            ("bronze", "contract", self._contract),
            ("bronze", "examples", self._examples),
            ("bronze", "mappings", lambda p: self._mappings(p, self._proofs.tested)),
            ("bronze", "coverage", lambda p: self._mappings(p, self._proofs.covered)),
            ("silver", "errors", self._errors),
            ("silver", "retry", self._retry),
            ("silver", "probe", self._probe),
            ("silver", "notes", self._notes),
            ("gold", "sources", self._sources),
            ("gold", "proof", self._proof),
        )
        return Quality(plugin.contract.id, tuple(Criterion(level, name, ask(plugin)) for level, name, ask in demands))

    # -- bronze --------------------------------------------------------------------------------------------------

    def _contract(self, plugin: LoadedPlugin) -> str:
        found = self._problems(plugin)
        return _told(f"{p.key}: {p.text}" for p in found if p.severity == "error" and not _of_example(p))

    def _examples(self, plugin: LoadedPlugin) -> str:
        unreadable = [problem.text for problem in self._problems(plugin) if _of_example(problem)]
        return _told(unreadable or self._wrong_examples(plugin))

    def _problems(self, plugin: LoadedPlugin) -> list[Problem]:
        name = plugin.contract.id
        if name not in self._wrong:
            self._wrong[name] = plugin_problems(plugin, self._registry, self._deployment)
        return self._wrong[name]

    def _wrong_examples(self, plugin: LoadedPlugin) -> Iterator[str]:
        """What an interface receives has an example, and neither its schemas nor the format's own check find an error in it.

        Rule sets are not asked: what they look at may be settings of a system, or other messages.
        """
        for name, interface in plugin.contract.interfaces.items():
            if interface.direction == "in" and not interface.examples:
                yield t(f"{name} has no example", f"{name} 没有示例")
            codec = self._codec(interface)
            if codec is None:
                continue
            for example in interface.examples:
                raw = (plugin.folder / example).read_bytes()
                tree = codec.decode(raw, encoding=interface.encoding)
                for validator in self._validators(plugin, name, codec):
                    found = validator.check(raw, tree, Context(now_us=time.time_ns() // 1000))
                    if any(finding.severity is Severity.ERROR for finding in found):
                        yield t(f"{example} fails {validator.name}", f"{example} 未通过 {validator.name}")

    def _validators(self, plugin: LoadedPlugin, name: str, codec: Codec) -> list[Validator]:
        interface = plugin.contract.interfaces[name]
        origin = plugin.document.place("interfaces", name)
        checks = self._deployment.check_library().checks(name, interface, codec, origin, [])
        if checks is None:
            return []
        slow = make_slow(checks.slow.body).validators if checks.slow is not None else ()
        return [validator for validator in (*checks.fast, *slow) if not isinstance(validator, QualityValidator)]

    def _codec(self, interface: Interface) -> Codec | None:
        """The codec with its options; None where they are not known without a system, or wrong."""
        codec = self._registry.codecs.get(interface.codec)
        if codec is None or "${" in str(interface.format):
            return None
        return configure(codec, interface.format, _Nowhere(), [])

    def _mappings(self, plugin: LoadedPlugin, ask: Callable[[str], str]) -> str:
        names = [name for interface in plugin.contract.interfaces.values() for name in mappings_of(interface)]
        return _listed((ask(name), name) for name in dict.fromkeys(names))

    # -- silver --------------------------------------------------------------------------------------------------

    def _errors(self, plugin: LoadedPlugin) -> str:
        text = t("interfaces without error table", "没有错误码表的接口")
        return _listed((text, name) for name, one in _sending(plugin) if one.adapter in _WITH_CODES and not one.errors)

    def _retry(self, plugin: LoadedPlugin) -> str:
        text = t("interfaces that don't say how they retry", "未写明重试策略的接口")
        return _listed((text, name) for name, one in _sending(plugin) if one.retry is None)

    def _probe(self, plugin: LoadedPlugin) -> str:
        """Whatever sends has a probe; the question is whether the adapter can send at all."""
        text = t("interfaces that can't be probed", "无法探测的接口")
        able = {name for name, adapter in self._registry.adapters.items() if adapter.connect_options is not None}
        return _listed((text, name) for name, one in _sending(plugin) if one.adapter not in able)

    def _notes(self, plugin: LoadedPlugin) -> str:
        text = _text(plugin.folder / "README.md")
        if "<!-- hub new plugin:" in text:
            text = ""  # nobody has written them yet
        english = "operator" in text.lower() and len(re.findall(r"[A-Za-z]", text)) >= _NOTES_EN
        chinese = "运维" in text and len(re.findall(r"[\u4e00-\u9fff]", text)) >= _NOTES_ZH
        missing = [
            word for word, there in ((t("English", "英文"), english), (t("Chinese", "中文"), chinese)) if not there
        ]
        if not missing:
            return ""
        return t(
            f"README.md has no operator notes in {' and '.join(missing)}", f"README.md 缺少{'、'.join(missing)}运维须知"
        )

    # -- gold ----------------------------------------------------------------------------------------------------

    def _sources(self, plugin: LoadedPlugin) -> str:
        return "" if plugin.contract.sources else t("no sources are cited", "未注明来源")

    def _proof(self, plugin: LoadedPlugin) -> str:
        if any(_files(plugin.folder / "replay", "*")) or any(_naming(plugin)):
            return ""
        return t(
            "no test of its own in tests/plugins and no replay set", "tests/plugins 中没有专门的测试，也没有重放集"
        )


class _Nowhere:
    """Where options come from whose problems :func:`hub.check.plugin_problems` tells."""

    def problem(self, text: str, path: Any = (), *, remedy: str = "", severity: str = "error") -> Problem:
        return Problem(text, remedy=remedy, severity=severity)


def _sending(plugin: LoadedPlugin) -> Iterator[tuple[str, Interface]]:
    return ((name, one) for name, one in plugin.contract.interfaces.items() if one.direction == "out")


def _of_example(problem: Problem) -> bool:
    return ".examples" in problem.key


def _told(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(texts))


def _listed(pairs: Iterable[tuple[str, str]]) -> str:
    """Names put together under what is wrong with them, which is "" for nothing."""
    found: dict[str, list[str]] = {}
    for text, name in pairs:
        if text:
            found.setdefault(text, []).append(name)
    return "; ".join(f"{text}: {', '.join(names)}" for text, names in found.items())


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern)) if folder.is_dir() else []


def _naming(plugin: LoadedPlugin) -> Iterator[Path]:
    """Test modules beside the plugin folders that are named after the plugin, or deploy it in a system."""
    name = plugin.contract.id
    uses = re.compile(rf"""\bplugin["']?\s*[:=]\s*["']?{name}\b""")
    for parent in plugin.folder.parents[1:3]:  # plugins/<group>/<id>, or plugins/<id>
        for file in _files(parent / "tests" / "plugins", "test_*.py"):
            if file.name.startswith(f"test_{name}") or uses.search(_text(file)):
                yield file


def _text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return stream.read(_MAX_TEXT).decode("utf-8", "replace")
    except OSError:
        return ""
