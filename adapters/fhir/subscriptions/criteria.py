"""A criterion, ``Observation?status=final&code=http://loinc.org|718-7``, and whether a resource meets it (FHIR, Search)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from adapters.fhir.subscriptions.parameters import parameter
from hub.codecs.fhir_definitions import definitions
from hub.errors import HubError
from hub.i18n import t

__all__ = ["Criterion", "criterion"]

_LONGEST = 2000
_MOST = 20
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}", re.ASCII)
_COMMA = re.compile(r"(?<!\\),")
_PREFIX = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb)(?=\d)")
_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:\d\d)?)?)?)?", re.ASCII
)
_MODIFIERS = {
    "token": frozenset(("", "not", "missing")),
    "reference": frozenset(("", "missing")),
    "date": frozenset(("", "missing")),
    "string": frozenset(("", "exact", "contains", "missing")),
    "uri": frozenset(("", "missing")),
}

Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class _Test:
    ways: tuple[tuple[str, ...], ...]
    modifier: str
    values: tuple[str, ...]
    meets: Callable[[Any, str], bool]

    def holds(self, tree: dict[str, Any]) -> bool:
        found = [value for way in self.ways for value in _values(tree, way)]
        if self.modifier == "missing":
            return (not found) == (self.values[0] == "true")
        hit = any(self.meets(value, wanted) for value in found for wanted in self.values)
        return not hit if self.modifier == "not" else hit


@dataclass(frozen=True, slots=True)
class Criterion:
    """``type``: of resource; every test must hold. ``text``: as it was given."""

    text: str
    type: str
    tests: tuple[_Test, ...]

    def meets(self, tree: dict[str, Any]) -> bool:
        return tree.get("resourceType") == self.type and all(test.holds(tree) for test in self.tests)


@lru_cache(maxsize=4096)
def criterion(text: str, version: str) -> Criterion:
    """Raises :class:`HubError` for one that is not understood: half a criterion would tell too much."""
    kind, _, query = text.strip().partition("?")
    if len(text) > _LONGEST or not _TYPE.fullmatch(kind) or definitions(version).resource(kind) is None:
        raise _wrong(
            "it begins with a type of resource: Observation?status=final", "须以资源类型开头：Observation?status=final"
        )
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, strict_parsing=bool(query), errors="strict", max_num_fields=_MOST
        )
    except ValueError:
        raise _wrong("its query can't be read", "查询部分无法读取") from None
    return Criterion(text.strip(), kind, tuple(_test(kind, name, value, version) for name, value in pairs))


def _test(kind: str, full: str, text: str, version: str) -> _Test:
    name, _, modifier = full.partition(":")
    shown = name if re.fullmatch(r"[A-Za-z_-]{1,40}", name) else "…"
    known = parameter(definitions(version), kind, name)
    if known is None:
        raise _wrong(f"{kind} is not matched by {shown} here", f"此处不支持按 {shown} 匹配 {kind}")
    of, ways = known
    if of == "reference" and _TYPE.fullmatch(modifier):
        values = tuple(f"{modifier}/{value}" for value in _COMMA.split(text))
        modifier = ""
    else:
        values = tuple(value.replace("\\,", ",") for value in _COMMA.split(text))
    if modifier not in _MODIFIERS[of] or not all(values) or (modifier == "missing" and text not in ("true", "false")):
        raise _wrong(f"the modifier or value of {shown} is not understood", f"{shown} 的修饰符或取值无法识别")
    if name == "patient":
        values = tuple(value if "/" in value else f"Patient/{value}" for value in values)
    if of == "date" and modifier != "missing":
        for value in values:
            if _span(_PREFIX.sub("", value, 1)) is None:
                raise _wrong(
                    f"{shown} needs a date or time, e.g. ge2026-01-01", f"{shown} 须为日期或时间，如 ge2026-01-01"
                )
    return _Test(ways, modifier, values, _string(modifier) if of == "string" else _MEETS[of])


def _wrong(english: str, chinese: str) -> HubError:
    return HubError(t(f"the criterion: {english}", f"订阅条件：{chinese}"), code="fhir.criteria")


def _values(tree: Any, way: tuple[str, ...]) -> Iterator[Any]:
    if isinstance(tree, list):
        for each in tree:
            yield from _values(each, way)
    elif not way:
        if tree is not None:
            yield tree
    elif isinstance(tree, dict):
        yield from _values(tree.get(way[0]), way[1:])


def _token(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):
        return wanted == ("true" if value else "false")
    if isinstance(value, str):
        return value == wanted.rpartition("|")[2]
    if not isinstance(value, dict):
        return False
    if "concept" in value:  # CodeableReference
        return _token(value["concept"], wanted)
    codings = value.get("coding")
    if isinstance(codings, list):
        return any(_token(coding, wanted) for coding in codings)
    system, bar, code = wanted.rpartition("|")
    given = value.get("code", value.get("value"))  # Coding; Identifier, ContactPoint
    return (not code or given == code) and (not bar or (value.get("system") or "") == system)


def _reference(value: Any, wanted: str) -> bool:
    given = value.get("reference") if isinstance(value, dict) else value
    if isinstance(given, dict):  # CodeableReference
        given = given.get("reference")
    if not isinstance(given, str):
        return False
    given = given.partition("/_history/")[0]
    if given == wanted:
        return True
    if "/" in wanted:
        return "://" in given and "://" not in wanted and given.endswith(f"/{wanted}")
    return given.rpartition("/")[2] == wanted


def _uri(value: Any, wanted: str) -> bool:
    return bool(value == wanted)


def _string(modifier: str) -> Callable[[Any, str], bool]:
    def meets(value: Any, wanted: str) -> bool:
        if isinstance(value, dict):  # HumanName, Address
            return any(meets(inner, wanted) for inner in value.values())
        if isinstance(value, list):
            return any(meets(inner, wanted) for inner in value)
        if not isinstance(value, str):
            return False
        if modifier == "exact":
            return value == wanted
        if modifier == "contains":
            return wanted.casefold() in value.casefold()
        return value.casefold().startswith(wanted.casefold())

    return meets


def _date(value: Any, wanted: str) -> bool:
    """Ranges are compared as FHIR says (Search, 3.1.1.5.4): a value that is less precise is all it may be."""
    if isinstance(value, dict):
        start, end = _span(value.get("start")), _span(value.get("end"))
        if start is None and end is None:
            return False
        given: Span = (start[0] if start else _FIRST, end[1] if end else _LAST)
    else:
        single = _span(value)
        if single is None:
            return False
        given = single
    found = _PREFIX.match(wanted)
    asked = _span(wanted[found.end() :] if found else wanted)
    if asked is None:
        return False
    inside = asked[0] <= given[0] and given[1] <= asked[1]
    match found[1] if found else "eq":
        case "eq":
            return inside
        case "ne":
            return not inside
        case "gt":
            return given[1] > asked[1]
        case "lt":
            return given[0] < asked[0]
        case "ge":
            return given[1] > asked[1] or inside
        case "le":
            return given[0] < asked[0] or inside
        case "sa":
            return given[0] >= asked[1]
        case _:
            return given[1] <= asked[0]


_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
_MEETS: dict[str, Callable[[Any, str], bool]] = {"token": _token, "reference": _reference, "uri": _uri, "date": _date}


def _span(text: Any) -> Span | None:
    """What a date or time may mean, from and until; without a zone it is UTC."""
    found = _DATE.fullmatch(text) if isinstance(text, str) and len(text) < 40 else None
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        start = datetime(
            int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC
        )
        if month is None:
            return start, start.replace(year=start.year + 1)
        if day is None:
            return start, (start + timedelta(days=32)).replace(day=1)
        if hour is None:
            return start, start + timedelta(days=1)
        if zone and zone != "Z":
            hours, minutes = zone[1:].split(":")
            shift = timedelta(hours=int(hours), minutes=int(minutes))
            start = start + shift if zone[0] == "-" else start - shift
        if second is None:
            return start, start + timedelta(minutes=1)
        if fraction is None:
            return start, start + timedelta(seconds=1)
        start += timedelta(microseconds=int(fraction.ljust(6, "0")[:6]))
        return start, start + timedelta(microseconds=max(1, 10 ** (6 - min(len(fraction), 6))))
    except (ValueError, OverflowError):
        return None
