"""The catalogue of external systems (``docs/catalog``), and how much of it the installed plugins cover.

A system is covered by every plugin whose ``catalog`` is its id. An interface of it is covered by an interface of such a
plugin that names it under its own ``catalog``, or has its id. What happens inside the hub (``internal``) is not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from hub.errors import ConfigError, HubError, Problem
from hub.i18n import t
from hub.registry import LoadedPlugin
from hub.validation import did_you_mean, validate
from hub.yaml_source import Document, load

__all__ = ["FOLDER", "Catalog", "CatalogInterface", "CatalogSystem", "Count", "Coverage", "SystemCoverage", "compare"]

#: The catalogue that comes with the hub.
FOLDER = Path(__file__).resolve().parents[1] / "docs" / "catalog"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Words(_Model):
    """A name or text in both languages."""

    en: str
    zh: str

    def __str__(self) -> str:
        return t(self.en, self.zh)


class CatalogInterface(_Model):
    """One exchange with a system. ``direction`` is seen from the hub; ``serve``: others call and the hub answers."""

    name: str
    direction: Literal["in", "out", "both", "serve"]
    style: Literal["query", "command", "event", "batch", "stream", "file", "sso", "probe"]
    named: bool = False  # the text itself calls it an interface, connection, callback or service
    internal: bool = False  # happens inside the hub
    source: str = Field(pattern=r"^\d{3}:\d")
    open: Words | None = None  # why no plugin covers it: what the text leaves unsaid, or where it happens instead


class CatalogSystem(_Model):
    """One external system of the requirement documents."""

    name: str
    aliases: list[str] = Field(default_factory=list)
    parent: str = ""
    priority: Literal[1, 2, 3]
    profile: str = ""
    own_module: bool = False  # built or renewed in the same project, but still another party
    maybe_same_as: list[str] = Field(default_factory=list)
    sources: list[str] = Field(min_length=1)
    interfaces: dict[str, CatalogInterface] = Field(default_factory=dict)


class _DocumentsFile(_Model):
    documents: dict[str, str]
    groups: dict[str, Words]


class _ProfilesFile(_Model):
    profiles: dict[str, dict[str, CatalogInterface]]


class _SystemsFile(_Model):
    systems: dict[str, CatalogSystem]


F = TypeVar("F", bound=_Model)


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything the folder holds; ``group_of`` says in which group a system is."""

    documents: Mapping[str, str]
    groups: Mapping[str, Words]
    profiles: Mapping[str, Mapping[str, CatalogInterface]]
    systems: Mapping[str, CatalogSystem]
    group_of: Mapping[str, str]

    @classmethod
    def read(cls, folder: Path = FOLDER) -> Catalog:
        """Read and check the catalogue; raises :class:`ConfigError` with every problem."""
        if not (folder / "documents.yaml").is_file():
            raise HubError(
                t(f"there is no catalogue in {folder}", f"{folder} 中没有系统目录"),
                code="catalog.missing",
                remedy=t("name the folder with --catalog", "请用 --catalog 指明文件夹"),
            )
        problems: list[Problem] = []
        head = _file(_DocumentsFile, folder / "documents.yaml", problems)
        shared = _file(_ProfilesFile, folder / "profiles.yaml", problems)
        systems: dict[str, CatalogSystem] = {}
        places: dict[str, Document] = {}
        for group in head[0].groups if head else ():
            part = _file(_SystemsFile, folder / "systems" / f"{group}.yaml", problems)
            if part is None:
                continue
            for name, system in part[0].systems.items():
                if name in systems:
                    text = t(f"is also in {places[name].path.name}", f"也出现在 {places[name].path.name} 中")
                    problems.append(part[1].problem(text, ("systems", name), remedy=t("rename one", "请改名其一")))
                systems[name] = system
                places[name] = part[1]
        if problems or head is None or shared is None:
            raise ConfigError(problems)
        found = cls(
            documents=head[0].documents,
            groups=head[0].groups,
            profiles=shared[0].profiles,
            systems=systems,
            group_of={name: document.path.stem for name, document in places.items()},
        )
        problems = [problem for name in systems for problem in found._references(name, places[name])]
        if problems:
            raise ConfigError(problems)
        return found

    def interfaces(self, system: str) -> dict[str, CatalogInterface]:
        """The interfaces of a system, those of its profile included, without what happens inside the hub."""
        entry = self.systems[system]
        everything = {**self.profiles.get(entry.profile, {}), **entry.interfaces}
        return {name: interface for name, interface in everything.items() if not interface.internal}

    def _references(self, name: str, document: Document) -> Iterable[Problem]:
        system = self.systems[name]
        wanted: list[tuple[str, str, Iterable[str]]] = [
            ("maybe_same_as", one, self.systems) for one in system.maybe_same_as
        ]
        if system.parent:
            wanted.append(("parent", system.parent, self.systems))
        if system.profile:
            wanted.append(("profile", system.profile, self.profiles))
        sources = (*system.sources, *(interface.source for interface in system.interfaces.values()))
        wanted.extend(("sources", source.partition(":")[0], self.documents) for source in sources)
        for key, value, known in wanted:
            if value not in known:
                text = t(f"the catalogue has no {value!r}", f"目录中没有 {value!r}")
                yield document.problem(text, ("systems", name, key), remedy=did_you_mean(value, known))


def _file(model: type[F], path: Path, problems: list[Problem]) -> tuple[F, Document] | None:
    try:
        document = load(path)
    except ConfigError as error:
        problems.extend(error.problems)
        return None
    found = validate(model, document.data, document.place(), problems)
    return None if found is None else (found, document)


# -- comparing ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class SystemCoverage:
    """What the plugins cover of one system. ``assumed``: every plugin for it has a contract of our own making."""

    id: str
    system: CatalogSystem
    group: str
    plugins: list[str]
    assumed: bool
    covered: list[str]
    missing: list[str]
    open: dict[str, str]  # of those missing, why, where the catalogue says so

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.system.name,
            "group": self.group,
            "priority": self.system.priority,
            "plugins": self.plugins,
            "assumed": self.assumed,
            "interfaces": {"covered": self.covered, "missing": self.missing},
            "open": self.open,
        }


@dataclass(slots=True)
class Count:
    """Of systems and of interfaces: how many there are, and how many are covered."""

    systems: int = 0
    covered: int = 0
    assumed: int = 0  # of the covered systems
    interfaces: int = 0
    interfaces_covered: int = 0

    def as_dict(self) -> dict[str, int]:
        return {
            "systems": self.systems,
            "covered": self.covered,
            "assumed": self.assumed,
            "interfaces": self.interfaces,
            "interfaces_covered": self.interfaces_covered,
        }


@dataclass(slots=True)
class Coverage:
    """``problems`` are ids in contracts that the catalogue does not have; ``elsewhere`` are plugins without ``catalog``."""

    systems: list[SystemCoverage] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def chosen(self, group: str = "", priority: int = 0, *, missing: bool = False) -> Coverage:
        """Of one group, one priority; with ``missing`` only systems without a plugin or with interfaces nobody covers."""
        rows = [
            row
            for row in self.systems
            if group in ("", row.group)
            and priority in (0, row.system.priority)
            and not (missing and row.plugins and not row.missing)
        ]
        return Coverage(rows, self.problems, self.elsewhere)

    def count(self) -> Count:
        total = Count()
        for row in self.systems:
            total.systems += 1
            total.covered += bool(row.plugins)
            total.assumed += row.assumed
            total.interfaces += len(row.covered) + len(row.missing)
            total.interfaces_covered += len(row.covered)
        return total


def compare(catalog: Catalog, plugins: Iterable[LoadedPlugin]) -> Coverage:
    """What these plugins cover of the catalogue."""
    result = Coverage()
    of_system: dict[str, list[LoadedPlugin]] = {}
    for plugin in plugins:
        name = plugin.contract.catalog
        if not name:
            result.elsewhere.append(plugin.contract.id)
        elif name not in catalog.systems:
            text = t(f"the catalogue has no system {name!r}", f"目录中没有系统 {name!r}")
            remedy = did_you_mean(name, catalog.systems)
            result.problems.append(plugin.document.problem(text, ("catalog",), remedy=remedy))
        else:
            of_system.setdefault(name, []).append(plugin)
            result.problems.extend(_unknown_interfaces(catalog, plugin))
    for name, system in catalog.systems.items():
        mine = of_system.get(name, [])
        claimed = {
            claim
            for plugin in mine
            for interface_id, interface in plugin.contract.interfaces.items()
            for claim in interface.catalog or (interface_id,)
        }
        wanted = catalog.interfaces(name)
        result.systems.append(
            SystemCoverage(
                id=name,
                system=system,
                group=catalog.group_of[name],
                plugins=[plugin.contract.id for plugin in mine],
                assumed=bool(mine) and all(plugin.contract.assumed for plugin in mine),
                covered=[one for one in wanted if one in claimed],
                missing=[one for one in wanted if one not in claimed],
                open={name: str(one.open) for name, one in wanted.items() if one.open and name not in claimed},
            )
        )
    return result


def _unknown_interfaces(catalog: Catalog, plugin: LoadedPlugin) -> Iterable[Problem]:
    known = catalog.interfaces(plugin.contract.catalog)
    for interface_id, interface in plugin.contract.interfaces.items():
        for claim in interface.catalog:
            if claim not in known:
                text = t(
                    f"system {plugin.contract.catalog!r} of the catalogue has no interface {claim!r}",
                    f"目录中的系统 {plugin.contract.catalog!r} 没有接口 {claim!r}",
                )
                remedy = did_you_mean(claim, known)
                yield plugin.document.problem(text, ("interfaces", interface_id, "catalog"), remedy=remedy)
