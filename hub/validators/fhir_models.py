"""Checks FHIR resources against the models of fhir.resources: elements, data types, cardinality; and the references inside bundles.

R4 is checked by the models of R4B, the nearest there are. Codes of required bindings, invariants and profiles are not checked.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from hub.codecs.fhir_read import telling
from hub.i18n import t
from hub.mapping import Context
from hub.validators.fhir_references import unresolved
from hub.validators.fhir_words import finding_of
from hub.validators.findings import Findings, not_checked, plain_path
from hub.validators.report import Finding, Kind

__all__ = ["MAX_DEPTH", "MAX_NODES", "FhirValidator"]

#: Packages of models; that of R5 is the root.
_PACKAGES = {"R4": "fhir.resources.R4B", "R4B": "fhir.resources.R4B", "R5": "fhir.resources"}
#: Largest resource, values, and deepest nesting: the models take 1 to 10 µs a value, and recurse.
MAX_NODES, MAX_DEPTH = 100_000, 60


class FhirValidator:
    """See :class:`hub.validators.report.Validator`."""

    slow = True
    stamp = ""

    def __init__(self, version: str) -> None:
        """``version``: R4, R4B or R5. Raises :class:`ImportError` when fhir.resources is not installed."""
        self.name = f"fhir {version}"
        self._version = version
        self._package = _PACKAGES[version]
        self._base: type[BaseModel] = importlib.import_module(f"{self._package}.resource").Resource

    def check(self, raw: bytes, tree: Any, context: Context) -> list[Finding]:
        findings = Findings("fhir")
        if not isinstance(tree, dict):
            return [not_checked("fhir", t("this is no FHIR resource", "不是 FHIR 资源"))]
        if _too_large(tree):
            why = t(
                f"more than {MAX_NODES} values or {MAX_DEPTH} levels", f"值超过 {MAX_NODES} 个或嵌套超过 {MAX_DEPTH} 层"
            )
            return [not_checked("fhir", why)]
        for path, resource in _resources(tree):
            self._resource(resource, path, findings)
            if findings.full:
                return findings.found
        for place in unresolved(tree):
            if not findings.add(place):
                break
        return findings.found

    def _resource(self, resource: Any, path: list[str | int], findings: Findings) -> None:
        name = resource.get("resourceType") if isinstance(resource, dict) else None
        model = self._model(name) if isinstance(name, str) else None
        if model is None:
            said = telling(name) if isinstance(name, str) else "…"
            text = t(f"{self._version} has no resource {said}", f"{self._version} 没有资源 {said}")
            findings.add(Finding("fhir.resource_type", text, plain_path(path), kind=Kind.CODE))
            return
        try:
            model.model_validate(_without_resources(resource))
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                if _faulty(detail):
                    continue
                if not findings.add(finding_of(detail, path or [str(name)])):
                    return
        except (KeyError, TypeError, ValueError, AttributeError, AssertionError, RecursionError, ArithmeticError):
            findings.add(not_checked("fhir", t(f"the model of {name} gave up on it", f"{name} 的模型无法处理")))

    def _model(self, name: str) -> type[BaseModel] | None:
        """The model of a resource; its module is loaded when the first one comes."""
        if telling(name) != name or not name.isalnum():
            return None
        try:
            module = importlib.import_module(f"{self._package}.{name.lower()}")
        except ImportError:
            return None
        model = getattr(module, name, None)
        return model if isinstance(model, type) and issubclass(model, self._base) else None


def _faulty(detail: Any) -> bool:
    """Whether the model is wrong and not the resource: it does not know extensions of the value of an extension."""
    name = detail["loc"][-1] if detail["loc"] else ""
    return detail["type"] == "extra_forbidden" and isinstance(name, str) and name.startswith("_value")


def _too_large(tree: dict[str, Any]) -> bool:
    count = 0
    level: list[Any] = [tree]
    for _ in range(MAX_DEPTH):
        count += len(level)
        if count > MAX_NODES:
            return True
        level = [
            item
            for value in level
            if isinstance(value, dict | list)
            for item in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return False
    return True


def _resources(tree: dict[str, Any]) -> Iterator[tuple[list[str | int], Any]]:
    """A resource and all that are in it, each with its path: entries of bundles, contained ones, parameters."""
    rest: list[tuple[list[str | int], Any]] = [([], tree)]
    while rest:
        path, resource = rest.pop()
        yield path, resource
        inner = []
        if isinstance(resource, dict):
            start: list[str | int] = path or [str(resource.get("resourceType"))]
            for key, items in resource.items():
                if not isinstance(items, list) or key not in ("contained", "entry"):
                    continue
                for number, item in enumerate(items):
                    if key == "contained":
                        inner.append(([*start, key, number], item))
                    elif isinstance(item, dict) and "resource" in item:
                        inner.append(([*start, key, number, "resource"], item["resource"]))
        rest.extend(reversed(inner))


def _without_resources(resource: dict[str, Any]) -> dict[str, Any]:
    """The same without the resources in it, which are checked one by one: an error in one would hide all others."""
    copy = {key: value for key, value in resource.items() if key != "contained"}
    if copy.get("resourceType") == "Bundle" and isinstance(copy.get("entry"), list):
        copy["entry"] = [
            {key: value for key, value in entry.items() if key != "resource"} if isinstance(entry, dict) else entry
            for entry in copy["entry"]
        ]
    return copy
