"""Functions on FHIR bundles: the resources of a type, what references mean, who refers to a resource; times for HL7 v2.

Source: FHIR R4, Bundle (2.36.4.1, resolving references in bundles) and References (2.3). A relative reference is looked up by type and id; where
several entries have the same, it means none of them: a guess could be another patient. What is not in the bundle is absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from hub.i18n import t
from hub.mapping.functions.base import Registry
from hub.mapping.functions.dates import date_time, parse_moment
from hub.mapping.nodes import CallNode, ExpressionError
from hub.mapping.paths import Code, Scope
from hub.mapping.runtime import FunctionError, as_list

if TYPE_CHECKING:
    from hub.mapping.codegen import Generator

__all__ = ["FHIR", "BundleIndex"]

FHIR = Registry()
_DELETED = '""'
#: HL7 v2 has four digits behind the decimal point of a second (2.5.1, chapter 2A, DTM).
_FRACTION = 4
_VERSION = re.compile(r"/_history/[^/]*$")
_RESTFUL = re.compile(r"https?://.*?/([A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64})")

Resource = dict[str, Any]


class BundleIndex:
    """The resources of a bundle by type, URL and id, or a single resource with what it contains. Made once for each run; nothing raises.

    ``size`` is the number of entries, for the budget of the run. Contained resources are found by what refers to them only.
    """

    __slots__ = ("_by_id", "_by_url", "_contained", "_owners", "_referring", "kinds", "size")

    def __init__(self, tree: Any) -> None:
        self.kinds: dict[str, list[Resource]] = {}
        self._by_url: dict[str, Resource] = {}
        self._by_id: dict[str, Resource | None] = {}  # None: several resources have it
        self._owners: dict[int, Resource] | None = None
        self._contained: dict[int, dict[str, Resource]] = {}
        self._referring: dict[tuple[str, str], dict[int, list[Resource]]] = {}
        self.size = 0
        if not isinstance(tree, dict):
            return
        if tree.get("resourceType") != "Bundle":
            self._add(tree, None)
            return
        for entry in as_list(tree.get("entry")):
            self.size += 1
            if isinstance(entry, dict) and isinstance(entry.get("resource"), dict):
                self._add(entry["resource"], entry.get("fullUrl"))

    def _add(self, resource: Resource, url: Any) -> None:
        kind, number = resource.get("resourceType"), resource.get("id")
        if not isinstance(kind, str):
            return
        self.kinds.setdefault(kind, []).append(resource)
        names = {f"{kind}/{number}"} if isinstance(number, str) and number else set()
        if isinstance(url, str) and url:
            self._by_url.setdefault(url, resource)
            if found := _RESTFUL.fullmatch(url):
                names.add(found[1])
        for name in names:
            self._by_id[name] = resource if self._by_id.get(name, resource) is resource else None

    def resources(self, kind: Any, unless: Any = None) -> list[Resource]:
        """See :func:`resources`."""
        found = self.kinds.get(kind, []) if isinstance(kind, str) else []
        for place in as_list(unless):
            source, _, element = place.partition(".") if isinstance(place, str) else ("", "", "")
            found = [resource for resource in found if not self.referring(resource, source, element)]
        return found

    def resolve(self, reference: Any) -> Resource | None:
        """See :func:`resolve`."""
        if isinstance(reference, list):
            reference = reference[0] if reference else None
        target = reference.get("reference") if isinstance(reference, dict) else reference
        if not isinstance(target, str):
            return None
        if target.startswith("#"):
            return self._inside(reference, target[1:])
        found = self._by_url.get(target)
        if found is None and "/_history/" in target:
            target = _VERSION.sub("", target)
            found = self._by_url.get(target)
        return found if found is not None else self._by_id.get(target)

    def referring(self, resource: Any, kind: Any, element: Any) -> list[Resource]:
        """See :func:`referring`."""
        if not isinstance(resource, dict) or not isinstance(kind, str) or not isinstance(element, str):
            return []
        known = self._referring.get((kind, element))
        if known is None:
            known = self._referring[kind, element] = {}
            for source in self.resources(kind):
                for reference in _members(source, element.split(".")):
                    target = self.resolve(reference)
                    sources = known.setdefault(id(target), []) if target is not None else []
                    if not sources or sources[-1] is not source:
                        sources.append(source)
        return known.get(id(resource), [])

    def grouped(self, resources: Any, *elements: Any) -> list[list[Resource]]:
        """See :func:`grouped`."""
        groups: dict[tuple[Any, ...], list[Resource]] = {}
        for resource in as_list(resources):
            if isinstance(resource, dict):
                groups.setdefault(tuple(self._meant(resource.get(element)) for element in elements), []).append(
                    resource
                )
        return list(groups.values())

    def _meant(self, reference: Any) -> Any:
        """What is the same for two references to the same thing, inside the bundle or not, and for two equal texts."""
        target = self.resolve(reference)
        if target is not None:
            return id(target)
        if isinstance(reference, str):
            return reference
        if not isinstance(reference, dict):
            return bool(reference)
        if isinstance(reference.get("reference"), str):
            return reference["reference"]
        # Only named: those with the same number and name are one, and none of them is nobody.
        named = reference.get("identifier")
        number = (named.get("system"), named.get("value")) if isinstance(named, dict) else ()
        return bool(reference), str(number), str(reference.get("display"))

    def observation_rows(self, results: Any, missing: Any = "error") -> list[dict[str, Any]]:
        """See :func:`observation_rows`."""
        rows: list[dict[str, Any]] = []
        seen: set[int] = set()
        waiting = list(reversed(as_list(results)))
        while waiting:
            item = waiting.pop()
            observation = item if isinstance(item, dict) and "resourceType" in item else self.resolve(item)
            if observation is None or observation.get("resourceType") != "Observation":
                if missing == "skip":
                    continue
                raise FunctionError(
                    t("a result is not in the bundle", "有结果不在该 Bundle 中"),
                    remedy=t("the sender must put it in, or contain it", "发送方须将其放入 Bundle 或 contained"),
                )
            if id(observation) not in seen:
                seen.add(id(observation))
                rows += _rows(observation)
                waiting += reversed(as_list(observation.get("hasMember")))
        return rows

    def _inside(self, reference: Any, name: str) -> Resource | None:
        """The resource contained beside a reference; the one that contains both for ``#`` alone."""
        if self._owners is None:
            self._owners = {}
            for resources in self.kinds.values():
                for resource in resources:
                    if resource.get("contained"):
                        self._own(resource, self._owners)
        owner = self._owners.get(id(reference))
        if owner is None or not name:
            return owner
        if id(owner) not in self._contained:
            self._contained[id(owner)] = {
                item["id"]: item
                for item in reversed(as_list(owner.get("contained")))
                if isinstance(item, dict) and isinstance(item.get("id"), str)
            }
        return self._contained[id(owner)].get(name)

    @staticmethod
    def _own(resource: Resource, owners: dict[int, Resource]) -> None:
        waiting: list[Any] = [resource]
        while waiting:
            value = waiting.pop()
            if isinstance(value, dict):
                if isinstance(value.get("reference"), str):
                    owners[id(value)] = resource
                waiting += value.values()
            elif isinstance(value, list):
                waiting += value


def _rows(observation: Resource) -> Iterable[dict[str, Any]]:
    """A row of the observation itself unless it is but the head of others, and of its components."""
    components = [item for item in as_list(observation.get("component")) if isinstance(item, dict)]
    # A value that repeats has the code of the observation in each of its components.
    whole = bool(components) and all(item.get("code") == observation.get("code") for item in components)
    head = bool(components) or bool(observation.get("hasMember"))
    told = any(name.startswith("value") or name in ("interpretation", "dataAbsentReason") for name in observation)
    if whole or not head or told or ("note" in observation and not components):
        yield {"observation": observation, "item": observation}
    if not whole:
        for number, item in enumerate(components, 1):
            yield {"observation": observation, "item": item, "sub": str(number)}


def _members(value: Any, names: list[str]) -> Iterator[Any]:
    """What stands at a path of names, lists on the way taken apart."""
    found: list[Any] = list(as_list(value))
    for name in names:
        found = [item for one in found if isinstance(one, dict) for item in as_list(one.get(name))]
    yield from found


# -- functions ---------------------------------------------------------------------------------------------------------


def _emit(g: Generator, node: CallNode, scope: Scope) -> Code:
    """The call on the index of the tree, which is made once, where the first call stands or before the loops around it."""
    function = g.function(node)
    if g.source.name != "json":
        raise ExpressionError(
            t(f"{function.name} needs a FHIR source", f"{function.name} 要求来源为 FHIR"),
            node.at,
            "from: {codec: fhir}",
        )
    arguments = [g.compile(argument, scope).text for argument in node.arguments]
    arguments += [f"{name}={g.compile(value, scope).text}" for name, value in node.keywords]
    key = ("bundle index",)
    index = g.writer.known(key)
    if index is None:
        g.namespace["bundle_index"] = BundleIndex
        index = g.writer.temp("index")
        statements = [f"{index} = bundle_index(tree)", f"left -= {index}.size", "if left < 0: over_budget()"]
        g.writer.place(0, statements, {key: index})
    return Code(
        f"{index}.{function.name}({', '.join(arguments)})", function.returns, function.name == "observation_rows"
    )


def _never(name: str) -> FunctionError:
    """For a function that is only ever called on the index."""
    return FunctionError(t(f"{name} needs a FHIR source", f"{name} 要求来源为 FHIR"))


@FHIR.add(returns="list", emit=_emit)
def resources(kind: Any, unless: Any = None) -> list[Any]:
    """The resources of a type in a FHIR bundle: resources('Patient'); unless='Encounter.subject' leaves out those referred to there."""
    raise _never("resources")


@FHIR.add(emit=_emit)
def resolve(reference: Any) -> Any:
    """The resource of the same bundle a FHIR Reference means, contained ones too; null when it is not there."""
    raise _never("resolve")


@FHIR.add(returns="list", emit=_emit)
def referring(resource: Any, kind: Any, element: Any) -> list[Any]:
    """The resources of a type that refer to one in an element: referring($patient, 'Encounter', 'subject')."""
    raise _never("referring")


@FHIR.add(returns="list", emit=_emit)
def grouped(resources: Any, *elements: Any) -> list[Any]:
    """A list of lists: objects with the same reference or text in all of these elements: grouped($reports, 'subject', 'encounter')."""
    raise _never("grouped")


@FHIR.add(returns="list", emit=_emit)
def observation_rows(results: Any, missing: Any = "error") -> list[Any]:
    """Observations or references to them, with members and components, one by one: {observation, item, sub}; missing='error' or 'skip'."""
    raise _never("observation_rows")


@FHIR.add()
def hl7_time(value: Any, tz: Any = "Asia/Shanghai") -> Any:
    """ISO 8601 as HL7 v2 writes it, as precise as it came: 198305, 20260115093015; the offset unless it is that of `tz`."""
    if value in (None, "", _DELETED):
        return None
    moment = parse_moment(value, "hl7_time")
    digits = "".join(moment[:6])
    if moment.fraction:
        digits += f".{moment.fraction[:_FRACTION]}"
    if not moment.hour or not moment.offset:
        return digits
    offset = "+00:00" if moment.offset == "Z" else moment.offset
    local = date_time(f"{moment.year}-{moment.month}-{moment.day}T{moment.hour}:{moment.minute}:00", tz)
    return digits if local.endswith(offset) else digits + offset.replace(":", "")
