"""Reading the classes: ``classes.yaml`` of the hub, what the canonical types say, and a site's ``privacy.yaml`` over them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from hub.errors import ConfigError, HubError, Problem
from hub.i18n import t
from hub.privacy.model import Act, PersonalClass, Policy, Rule, View, as_rule, plain_key
from hub.yaml_source import Document, load

__all__ = ["SITE_FILE", "load_policy", "policy_of"]

#: What a site adds and changes, beside ``hub.yaml``.
SITE_FILE = "privacy.yaml"
_OWN = Path(__file__).with_name("classes.yaml")
_HL7_TYPES = frozenset({"identifier", "person", "staff", "address", "contact"})
_V3_TYPES = _HL7_TYPES | {"organisation", "staff_number"}
_PSEUDONYMS = ("keep", "hide", "id_number", "number", "bank_card", "name", "phone", "email", "address", "date", "plate")
_MASKS = ("hide", "name", "email", "date", "address")
_MAX_PATTERN = 500


class _Class(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    title: str
    title_zh: str = Field("", alias="名称")
    level: int = Field(ge=1, le=4)
    mask: str | tuple[int, int] = "hide"
    pseudonym: str = "hide"
    search: str = ""

    @field_validator("mask")
    @classmethod
    def _known_mask(cls, value: str | tuple[int, int]) -> str | tuple[int, int]:
        if isinstance(value, str) and value not in _MASKS:
            raise ValueError(f"one of {', '.join(_MASKS)}, or [first, last]")
        if isinstance(value, tuple) and min(value) < 0:
            raise ValueError("numbers of characters are not negative")
        return value

    @field_validator("pseudonym")
    @classmethod
    def _known_pseudonym(cls, value: str) -> str:
        if value not in _PSEUDONYMS:
            raise ValueError(f"one of {', '.join(_PSEUDONYMS)}")
        return value


class _View(BaseModel):
    model_config = ConfigDict(extra="forbid")

    level: int = Field(3, ge=1, le=5)
    do: Act = Act.MASK
    classes: dict[str, Act] = Field(default_factory=dict)
    others: Act = Act.CLEAR
    bodies: bool = True


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    classes: dict[str, _Class] = Field(default_factory=dict)
    views: dict[str, _View] = Field(default_factory=dict)
    default: str = ""
    roles: dict[str, str] = Field(default_factory=dict)
    identifiers: dict[str, list[str]] = Field(default_factory=dict)
    hl7v2: dict[str, dict[int, str]] = Field(default_factory=dict)
    astm: dict[str, dict[int, str]] = Field(default_factory=dict)
    fhir: dict[str, list[str]] = Field(default_factory=dict)
    hl7v3: dict[str, list[str]] = Field(default_factory=dict)
    names: dict[str, list[str]] = Field(default_factory=dict)
    patterns: dict[str, str] = Field(default_factory=dict)
    things: list[str] = Field(default_factory=list)
    staff: list[str] = Field(default_factory=list)
    dicom: dict[str, list[str]] = Field(default_factory=dict)
    keys: dict[str, str] = Field(default_factory=dict)


def policy_of(config_file: Path, schemas: Sequence[str] = ("../schemas",)) -> Policy:
    """The policy of a deployment; ``config_file`` is its ``hub.yaml``. Raises :class:`ConfigError`."""
    base = config_file.parent
    site = base / SITE_FILE
    folders = tuple(str((base / folder).resolve()) for folder in schemas)
    stamp = site.stat().st_mtime_ns if site.is_file() else 0
    return _cached(str(site) if stamp else "", stamp, folders)


@lru_cache(maxsize=16)
def _cached(site: str, stamp: int, folders: tuple[str, ...]) -> Policy:
    return load_policy(Path(site) if site else None, [Path(folder) for folder in folders])


def load_policy(site: Path | None = None, schemas: Sequence[Path] = ()) -> Policy:
    """The classes of the hub with a site's file laid over them, and the ``x-privacy`` of canonical types found in ``schemas``.

    Raises :class:`ConfigError`, naming file, line and key.
    """
    own, document = _read(_OWN)
    files = [(own, document)]
    if site is not None:
        files.append(_read(site))
    classes: dict[str, PersonalClass] = {}
    for file, _ in files:
        classes |= {
            name: PersonalClass(name, c.title, c.title_zh or c.title, c.level, c.mask, c.pseudonym, c.search)
            for name, c in file.classes.items()
        }
    for file, document in files:
        _check(file, document, classes, [one for one, _ in files])
    names: dict[str, str] = {}
    identifiers: dict[str, str] = {}
    fhir: dict[str, str] = {}
    dicom: dict[str, str] = {}
    things: set[str] = set()
    staff: set[str] = set()
    views: dict[str, View] = {}
    roles: dict[str, str] = {}
    patterns: dict[str, str] = {}
    segments: tuple[dict[str, dict[int, Rule]], ...] = ({}, {})
    v3: dict[str, dict[tuple[str, ...], str]] = {}
    keys: dict[str, str] = {}
    default = ""
    for file, _ in files:
        _spread(file.names, names, plain_key)
        _spread(file.identifiers, identifiers, str)
        _spread(file.fhir, fhir, str)
        _spread(file.dicom, dicom, str)
        things |= {plain_key(name) for name in file.things}
        staff |= {plain_key(name) for name in file.staff}
        views |= {n: View(n, v.level, v.do, v.classes, v.others, v.bodies) for n, v in file.views.items()}
        roles |= file.roles
        keys |= file.keys
        patterns |= file.patterns
        default = file.default or default
        for table, given in zip(segments, (file.hl7v2, file.astm), strict=True):
            for segment, fields in given.items():
                table.setdefault(segment, {}).update({number: as_rule(rule) for number, rule in fields.items()})
        for kind, paths in file.hl7v3.items():
            for path in paths:
                *above, last = path.split("/")
                element, at, attribute = last.partition("@")
                name = f"@{attribute}" if at else element
                v3.setdefault(name, {})[(*above, element) if at else tuple(above)] = kind
    return Policy(
        classes,
        views,
        roles,
        default,
        identifiers,
        segments[0],
        segments[1],
        fhir,
        {name: tuple(sorted(rules.items(), key=lambda r: -len(r[0]))) for name, rules in v3.items()},
        {name: kind for name, kind in names.items() if kind in classes},
        tuple((re.compile(pattern, re.IGNORECASE), kind) for kind, pattern in patterns.items()),
        frozenset(things),
        frozenset(staff),
        dicom,
        _pairs(schemas, classes),
        keys,
    )


def _spread(given: Mapping[str, list[str]], found: dict[str, str], form: Any) -> None:
    for kind, members in given.items():
        for member in members:
            found[form(member)] = kind


def _read(path: Path) -> tuple[_File, Document]:
    document = load(path)
    try:
        return _File.model_validate(document.data or {}), document
    except ValidationError as error:
        raise ConfigError(
            [document.problem(e["msg"], [p for p in e["loc"] if isinstance(p, str | int)]) for e in error.errors()]
        ) from error


def _check(file: _File, document: Document, classes: Mapping[str, PersonalClass], files: list[_File]) -> None:
    problems: list[Problem] = []

    def known(kind: str, path: list[str | int], more: frozenset[str] = frozenset()) -> None:
        if kind not in classes and kind not in more:
            problems.append(
                document.problem(t(f"{kind!r} is no class of personal data", f"没有个人信息类别 {kind!r}"), path)
            )

    for part in ("identifiers", "fhir", "names", "patterns", "dicom"):
        for kind in getattr(file, part):
            known(kind, [part, kind])
    for name, kind in file.keys.items():
        known(kind, ["keys", name])
    for kind in file.hl7v3:
        known(kind, ["hl7v3", kind], _V3_TYPES)
    for part in ("hl7v2", "astm"):
        for segment, fields in getattr(file, part).items():
            for number, rule in fields.items():
                try:
                    known(as_rule(rule).kind, [part, segment, str(number)], _HL7_TYPES)
                except ValueError:
                    problems.append(
                        document.problem(
                            t(f"{rule!r}: write class@1,2", f"{rule!r}：请写成 类别@1,2"), [part, segment, str(number)]
                        )
                    )
    for kind, pattern in file.patterns.items():
        try:
            re.compile(pattern)
            fits = len(pattern) <= _MAX_PATTERN * (1 if file is not files[0] else 4)
        except re.error:
            fits = False
        if not fits:
            problems.append(document.problem(t("not a regular expression", "不是正则表达式"), ["patterns", kind]))
    views = {name for one in files for name in one.views}
    for role, view in [*file.roles.items(), *([("", file.default)] if file.default else [])]:
        if view not in views:
            path: list[str | int] = ["roles", role] if role else ["default"]
            problems.append(document.problem(t(f"there is no view {view!r}", f"没有视图 {view!r}"), path))
    for name, one in file.views.items():
        for kind in one.classes:
            known(kind, ["views", name, "classes", kind])
    if problems:
        raise ConfigError(problems)


# -- canonical types -----------------------------------------------------------------------------------------------------


def _pairs(folders: Sequence[Path], classes: Mapping[str, PersonalClass]) -> dict[tuple[str, str], str]:
    """Where a property with ``x-privacy`` stands: the member that holds it, and itself."""
    pairs: dict[tuple[str, str], str] = {}
    for folder in folders:
        documents = {path.name: _json(path) for path in sorted((folder / "canonical").glob("*.json"))}
        marked = {
            f"{file}#/$defs/{name}": _marked(definition)
            for file, document in documents.items()
            for name, definition in document.get("$defs", {}).items()
        }
        for file, document in documents.items():
            _walk(document, "", file, marked, pairs)
    return {pair: kind for pair, kind in pairs.items() if kind in classes or kind in _HL7_TYPES}


def _json(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise HubError(t(f"{path.name} can't be read", f"{path.name} 无法读取"), code="privacy.schema") from error


def _marked(definition: Any) -> dict[str, str]:
    properties = definition.get("properties", {}) if isinstance(definition, dict) else {}
    return {name: one["x-privacy"] for name, one in properties.items() if isinstance(one, dict) and "x-privacy" in one}


def _walk(
    schema: Any, member: str, file: str, marked: Mapping[str, dict[str, str]], pairs: dict[tuple[str, str], str]
) -> None:
    if not isinstance(schema, dict):
        return
    reference = schema.get("$ref", "")
    if reference:
        pairs.update({(plain_key(member), n): k for n, k in marked.get(_full(reference, file), {}).items()})
    for name, one in schema.get("properties", {}).items():
        kind = one.get("x-privacy") if isinstance(one, dict) else None
        if kind:
            pairs[plain_key(member), name] = kind
        _walk(one, name, file, marked, pairs)
    _walk(schema.get("items"), member, file, marked, pairs)
    for name, one in schema.get("$defs", {}).items():
        _walk(one, name, file, marked, pairs)


def _full(reference: str, file: str) -> str:
    return reference if not reference.startswith("#") else file + reference
