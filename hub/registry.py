"""Finding and loading what the hub can be extended with: plugin folders, installed packages, adapters, codecs, functions.

A plugin that can't be loaded is left out and told in ``problems``; all others work (invariant 5). Code of plugins and
packages runs in a thread of its own while it loads: when it does not come back in time the hub goes on without it. The
thread can't be ended from outside; it is abandoned, and nothing it still produces is used.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TypeVar

import pluggy

from hub import hookspecs
from hub.api import Adapter, Codec
from hub.contract import Plugin
from hub.errors import ConfigError, Problem
from hub.i18n import t
from hub.plugin_file import parse_contract
from hub.profiles.compose import Composer, is_composed
from hub.profiles.load import LoadedProfile, read_profile
from hub.security.scheme import Scheme
from hub.yaml_source import Document, load

__all__ = ["BUILTIN_MODULES", "ENTRY_POINTS", "LOAD_SECONDS", "LoadedPlugin", "Registry"]

#: Modules of hooks that come with the hub; imported by name, because the kernel must not depend on them.
BUILTIN_MODULES = ("adapters",)
#: Entry point group of installed packages.
ENTRY_POINTS = "tongqu"
#: Time the code of one plugin or package may take to load, seconds.
LOAD_SECONDS = 10.0
#: Loading that takes longer than this is told, seconds.
SLOW_SECONDS = 1.0

_PACKAGE = "tongqu_plugins"
_PLUGIN, _PROFILE = "plugin.yaml", "profile.yaml"
_HOOKS = ("hub_adapters", "hub_codecs", "hub_functions", "hub_security_schemes", "hub_plugin_folders")

R = TypeVar("R")


@dataclass(slots=True)
class LoadedPlugin:
    """A plugin folder that was read without errors."""

    contract: Plugin
    folder: Path
    file: Path
    document: Document
    module: ModuleType | None = None
    profiles: tuple[LoadedProfile, ...] = ()  # those it takes over, the nearest first

    @property
    def stamp(self) -> str:
        """Which contract it is: its version, and those of its profiles."""
        return "+".join([f"{self.contract.id}@{self.contract.version}", *(one.stamp for one in self.profiles)])


@dataclass(slots=True)
class _Contribution:
    """What the hooks of one module give."""

    adapters: list[Adapter] = field(default_factory=list)
    codecs: list[Codec] = field(default_factory=list)
    functions: dict[str, Callable[..., Any]] = field(default_factory=dict)
    schemes: list[type[Scheme]] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


class _LoadError(Exception):
    def __init__(self, text: str, remedy: str) -> None:
        super().__init__(text)
        self.text, self.remedy = text, remedy


@dataclass(slots=True)
class Registry:
    """Everything that is available to systems."""

    plugins: dict[str, LoadedPlugin] = field(default_factory=dict)
    profiles: dict[str, LoadedProfile] = field(default_factory=dict)
    adapters: dict[str, Adapter] = field(default_factory=dict)
    codecs: dict[str, Codec] = field(default_factory=dict)
    functions: dict[str, Callable[..., Any]] = field(default_factory=dict)
    schemes: dict[str, type[Scheme]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)  # ids (or folder names) of plugins that were left out
    failed_profiles: set[str] = field(default_factory=set)

    @classmethod
    def discover(
        cls, folders: Iterable[str | os.PathLike[str]], packages: bool = True, *, load_seconds: float = LOAD_SECONDS
    ) -> Registry:
        """Load everything. Never raises: what can't be loaded is in ``problems``.

        ``folders`` hold ``<id>/plugin.yaml`` or ``<group>/<id>/plugin.yaml``, and profiles in the same way; ``packages`` says whether installed packages
        are asked through entry points; ``load_seconds`` is how long the code of each may take.
        """
        return _Discovery(load_seconds).run([Path(folder) for folder in folders], packages)


class _Discovery:
    def __init__(self, load_seconds: float) -> None:
        self._seconds = load_seconds
        self._found = Registry()
        self._manager = _new_manager()  # holds one module at a time, while it is asked what it gives
        self._asked: list[Any] = []
        self._owners: dict[tuple[str, str], str] = {}  # ("codec", "json") -> who contributed it
        self._more_folders: list[Path] = []

    def run(self, folders: Sequence[Path], packages: bool) -> Registry:
        self._builtin_codecs()
        for name in BUILTIN_MODULES:
            self._hooks_of(name, lambda name=name: importlib.import_module(name))  # type: ignore[misc]
        if packages:
            self._packages()
        files = list(_contract_files([*folders, *self._more_folders]))
        for file in files:
            if file.name == _PROFILE:
                self._profile(file)
        composer = Composer(self._found.profiles, self._found.failed_profiles, self._found.adapters)
        for file in files:
            if file.name == _PLUGIN:
                self._plugin(file, composer)
        self._found.problems = list(dict.fromkeys(self._found.problems))  # those of a profile are told for every plugin
        return self._found

    # -- sources -------------------------------------------------------------------------------------------------

    def _builtin_codecs(self) -> None:
        name = "hub.codecs"
        try:
            registry = importlib.import_module("hub.codecs.registry")
            contribution = _Contribution(codecs=list(registry.builtin_codecs()))
        except Exception as error:  # an optional library missing: the interfaces that need it will say so
            text = t(
                f"the built-in codecs can't be loaded: {_reason(error)}", f"无法加载内置编解码器：{_reason(error)}"
            )
            remedy = t("install the hub with all its dependencies", "请安装枢纽的全部依赖")
            self._found.problems.append(Problem(text, name, remedy=remedy))
            return
        self._accept(contribution, name)

    def _packages(self) -> None:
        try:
            points = sorted(importlib.metadata.entry_points(group=ENTRY_POINTS), key=lambda point: point.name)
        except Exception as error:  # damaged metadata of any package on the path
            text = t(f"installed packages can't be listed: {_reason(error)}", f"无法列出已安装的包：{_reason(error)}")
            remedy = t("repair or reinstall the package", "请修复或重装该包")
            self._found.problems.append(Problem(text, remedy=remedy))
            return
        for point in points:
            dist = f" ({point.dist.name} {point.dist.version})" if point.dist is not None else ""
            self._hooks_of(f"{ENTRY_POINTS}:{point.name}{dist}", point.load)

    def _profile(self, file: Path) -> None:
        found = self._found
        try:
            document = load(file)
        except ConfigError as error:
            found.problems.extend(error.problems)
            found.failed_profiles.add(file.parent.name)
            return
        profile = read_profile(document, found.problems)
        if profile is None:
            found.failed_profiles.add(_declared_id(document) or file.parent.name)
            return
        earlier = found.profiles.setdefault(profile.contract.id, profile)
        if earlier is not profile:
            name = profile.contract.id
            text = t(
                f"profile {name!r} is already declared in {earlier.file}", f"模板 {name!r} 已在 {earlier.file} 声明"
            )
            found.problems.append(document.problem(text, ("id",), remedy=t("rename or remove one", "请改名或删除其一")))

    def _plugin(self, file: Path, composer: Composer) -> None:
        found = self._found
        try:
            document = load(file)
        except ConfigError as error:
            found.problems.extend(error.problems)
            found.failed.add(file.parent.name)
            return
        problems: list[Problem] = []
        profiles: list[LoadedProfile] = []
        if is_composed(document.data):
            document, profiles = composer.compose(document, problems)
        wrong = any(problem.severity == "error" for problem in problems)
        contract = None if wrong else parse_contract(document, problems)
        found.problems.extend(problems)
        if contract is None:
            found.failed.add(_declared_id(document) or file.parent.name)
            return
        earlier = found.plugins.get(contract.id)
        if earlier is not None:
            text = t(
                f"plugin {contract.id!r} is already declared in {earlier.file}",
                f"插件 {contract.id!r} 已在 {earlier.file} 声明",
            )
            remedy = t("rename or remove one", "请改名或删除其一")
            found.problems.append(document.problem(text, ("id",), remedy=remedy))
            return
        module: ModuleType | None = None
        code = file.with_name("plugin.py")
        if code.is_file():
            loaded = self._hooks_of(str(code), lambda: _import_plugin(contract.id, code))
            if loaded is None:
                found.failed.add(contract.id)
                return
            module = loaded
        found.plugins[contract.id] = LoadedPlugin(
            contract, file.parent, file, document, module, tuple(reversed(profiles))
        )

    # -- hooks ---------------------------------------------------------------------------------------------------

    def _hooks_of(self, name: str, importer: Callable[[], Any]) -> Any:
        """Import, register and ask one module of hooks; None when any of it fails, which is then a problem."""
        manager = self._manager

        def work() -> tuple[Any, _Contribution]:
            module = importer()
            if any(module is earlier for earlier in self._asked):  # two entry points name one module
                return module, _Contribution()
            manager.register(module, name)
            try:
                return module, _ask(manager)
            finally:
                manager.unregister(module)

        begun = time.monotonic()
        try:
            module, contribution = _within(self._seconds, work)
            self._check(contribution)
        except _LoadError as error:
            self._manager = _new_manager()  # an abandoned thread may still use the other
            self._found.problems.append(Problem(error.text, name, remedy=error.remedy))
            return None
        self._asked.append(module)
        took = time.monotonic() - begun
        if took > SLOW_SECONDS:
            text = t(f"took {took:.1f} s to load", f"加载耗时 {took:.1f} 秒")
            remedy = t("do nothing slow at import", "请勿在导入时执行耗时操作")
            self._found.problems.append(Problem(text, name, remedy=remedy, severity="warning"))
        self._accept(contribution, name)
        return module

    def _check(self, contribution: _Contribution) -> None:
        """Names must be new; nothing of a module is used when one of its names is not."""
        for kind, known, names in self._named(contribution):
            for item in names:
                if item in known:
                    owner = self._owners.get((kind, item), "hub")
                    raise _LoadError(
                        t(f"{kind} {item!r} is already provided by {owner}", f"{kind} {item!r} 已由 {owner} 提供"),
                        t("choose another name", "请改用其他名称"),
                    )

    def _accept(self, contribution: _Contribution, owner: str) -> None:
        found = self._found
        for kind, _, names in self._named(contribution):
            self._owners.update({(kind, item): owner for item in names})
        found.adapters.update({adapter.name: adapter for adapter in contribution.adapters})
        found.codecs.update({codec.name: codec for codec in contribution.codecs})
        found.functions.update(contribution.functions)
        found.schemes.update({scheme.name: scheme for scheme in contribution.schemes})
        found.problems.extend(contribution.problems)
        self._more_folders.extend(Path(folder) for folder in contribution.folders)

    def _named(self, contribution: _Contribution) -> list[tuple[str, dict[str, Any], list[str]]]:
        found = self._found
        return [
            ("adapter", found.adapters, [adapter.name for adapter in contribution.adapters]),
            ("codec", found.codecs, [codec.name for codec in contribution.codecs]),
            ("function", found.functions, list(contribution.functions)),
            ("security scheme", found.schemes, [scheme.name for scheme in contribution.schemes]),
        ]


def _new_manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def _ask(manager: pluggy.PluginManager) -> _Contribution:
    """Call the hooks of the one module the manager knows and check what they give."""
    contribution = _Contribution()
    for hook in _HOOKS:
        for given in getattr(manager.hook, hook)():
            if hook == "hub_functions":
                for name, function in _pairs(hook, given):
                    contribution.functions[name] = function
                continue
            for item in _items(hook, given):
                if isinstance(item, Problem) and hook in ("hub_adapters", "hub_codecs"):
                    contribution.problems.append(item)
                elif hook == "hub_adapters" and isinstance(item, Adapter) and _is_name(item):
                    contribution.adapters.append(item)
                elif hook == "hub_codecs" and isinstance(item, Codec) and _is_name(item):
                    contribution.codecs.append(item)
                elif hook == "hub_security_schemes" and isinstance(item, type) and issubclass(item, Scheme):
                    contribution.schemes.append(item)
                elif hook == "hub_plugin_folders" and isinstance(item, str | os.PathLike):
                    contribution.folders.append(os.fspath(item))
                else:
                    raise _wrong(hook, item)
    return contribution


def _is_name(item: Adapter | Codec) -> bool:
    name = getattr(item, "name", None)
    return isinstance(name, str) and bool(name)


def _items(hook: str, given: Any) -> Iterator[Any]:
    if not isinstance(given, list | tuple):
        raise _wrong(hook, given)
    yield from given


def _pairs(hook: str, given: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    if not isinstance(given, dict):
        raise _wrong(hook, given)
    for name, function in given.items():
        if not (isinstance(name, str) and name.isidentifier() and callable(function)):
            raise _wrong(hook, function)
        yield name, function


def _wrong(hook: str, item: Any) -> _LoadError:
    wanted = {
        "hub_adapters": t("a list of named Adapter objects", "带名称的 Adapter 对象列表"),
        "hub_codecs": t("a list of named Codec objects", "带名称的 Codec 对象列表"),
        "hub_functions": t("a dict of names and functions", "名称到函数的字典"),
        "hub_security_schemes": t("a list of classes of Scheme", "Scheme 子类的列表"),
        "hub_plugin_folders": t("a list of paths", "路径列表"),
    }[hook]
    kind = type(item).__name__
    return _LoadError(
        t(f"{hook} gave something of type {kind}", f"{hook} 返回了类型 {kind}"),
        t(f"return {wanted}", f"请返回{wanted}"),
    )


def _within(seconds: float, work: Callable[[], R]) -> R:
    """Run foreign code in a thread; raises :class:`_LoadError` when it fails or is not done in time."""
    results: list[R] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # also SystemExit: a plugin must not end the hub
            errors.append(error)

    thread = threading.Thread(target=run, name="plugin loader", daemon=True)
    thread.start()
    thread.join(seconds)
    if results:
        return results[0]
    if not errors:
        raise _LoadError(
            t(f"was not loaded within {seconds:g} s", f"在 {seconds:g} 秒内未完成加载"),
            t("do nothing at import that waits", "请勿在导入时等待外部资源"),
        )
    error = errors[0]
    if isinstance(error, _LoadError):
        raise error
    raise _LoadError(
        t(f"can't be loaded: {_reason(error)}", f"无法加载：{_reason(error)}"),
        t("correct the code or remove the file", "请更正代码或移除该文件"),
    ) from error


def _reason(error: BaseException) -> str:
    """Type, text and the last place in the code, on one line."""
    place = ""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is not None:
        place = f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})"
    try:
        text = " ".join(str(error).split())[:300]
    except Exception:  # an exception class of the plugin whose own __str__ fails
        text = ""
    return f"{type(error).__name__}: {text}{place}" if text else f"{type(error).__name__}{place}"


# -- plugin folders ----------------------------------------------------------------------------------------------


def _contract_files(folders: Iterable[Path]) -> Iterator[Path]:
    """``<folder>/<id>/plugin.yaml`` and ``<folder>/<group>/<id>/plugin.yaml``, in the order of their names; profiles too."""
    seen: set[Path] = set()
    for folder in folders:
        for first in _subfolders(folder):
            places = [first] if (first / _PLUGIN).is_file() else [first, *_subfolders(first)]
            for candidate in (place / name for place in places for name in (_PROFILE, _PLUGIN)):
                if candidate not in seen and candidate.is_file():
                    seen.add(candidate)
                    yield candidate


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith((".", "__")))
    except (OSError, ValueError):
        return []
    return [folder / name for name in names]


def _declared_id(document: Document) -> str:
    data = document.data
    found = data.get("id") if isinstance(data, dict) else None
    return found if isinstance(found, str) else ""


class _FreshLoader(SourceFileLoader):
    """Compiles from source each time: a reload must see an edit made within the same second, and folders stay clean."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def _import_plugin(plugin_id: str, file: Path) -> ModuleType:
    """Import ``plugin.py`` as the package ``tongqu_plugins.<id>``, so that it can import its neighbours relatively."""
    package = sys.modules.get(_PACKAGE)
    if package is None:
        package = sys.modules[_PACKAGE] = ModuleType(_PACKAGE)
        package.__path__ = []
    name = f"{_PACKAGE}.{plugin_id}"
    if name in sys.modules:
        for old in [key for key in sys.modules if key == name or key.startswith(f"{name}.")]:
            del sys.modules[old]
    spec = spec_from_file_location(
        name, file, loader=_FreshLoader(name, str(file)), submodule_search_locations=[str(file.parent)]
    )
    assert spec is not None  # noqa: S101 - only without a loader
    assert spec.loader is not None  # noqa: S101
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module
