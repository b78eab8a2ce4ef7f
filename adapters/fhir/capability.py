"""The CapabilityStatement of a base: what its interfaces take, no more and no less."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from adapters.fhir.call import OF_SYSTEM
from hub.codecs.fhir_definitions import Definitions, definitions

if TYPE_CHECKING:
    from adapters.fhir.facade import FhirRoute

__all__ = ["capability_statement", "known_types"]

_VERSIONS = {"R4": "4.0.1", "R4B": "4.3.0", "R5": "5.0.0"}
_OF_TYPE = ("read", "update", "patch", "delete", "create")
_ABSTRACT = ("Resource", "DomainResource", "CanonicalResource", "MetadataResource")
_OPERATIONS = {
    "message": ("process-message", "http://hl7.org/fhir/OperationDefinition/MessageHeader-process-message"),
    "validate": ("validate", "http://hl7.org/fhir/OperationDefinition/Resource-validate"),
}
#: What the hub serves itself.
_SUBSCRIPTION: dict[str, Any] = {
    "type": "Subscription",
    "interaction": [{"code": code} for code in ("read", "vread", "update", "delete", "create", "search-type")],
    "versioning": "versioned-update",
    "updateCreate": True,
    "searchParam": [
        {"name": "criteria", "type": "string"},
        {"name": "status", "type": "token"},
        {"name": "url", "type": "uri"},
    ],
    "operation": [
        {
            "name": "status",
            "definition": "http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/backport-subscription-status",
        }
    ],
}


@lru_cache(maxsize=len(_VERSIONS))
def known_types(version: str) -> frozenset[str]:
    """The types of resource of a version."""
    known: Definitions = definitions(version)
    return frozenset(name for name in known.names if known.resource(name) is not None and name not in _ABSTRACT)


def capability_statement(routes: Iterable[FhirRoute], version: str, base: str, since: str) -> dict[str, Any]:
    """``since``: FHIR dateTime from which on this is so."""
    offered: dict[str, set[str]] = {}
    parameters: dict[str, dict[str, str]] = {}
    system: set[str] = set()
    secured = subscribe = False
    for route in routes:
        types = known_types(version) if "*" in route.resources else route.resources
        of_type = route.offers - OF_SYSTEM
        for kind in types if of_type else ():
            offered.setdefault(kind, set()).update(of_type)
            if "search" in of_type:
                parameters.setdefault(kind, {}).update(route.options.search)
        if "subscribe" in route.offers:
            subscribe = True
        system |= route.offers
        secured = secured or route.options.auth.type != "none"
    rest: dict[str, Any] = {"mode": "server"}
    if secured:
        rest["security"] = {"description": "HTTP authentication by the means agreed with the operator"}
    if offered:
        rest["resource"] = [_resource(kind, offered[kind], parameters.get(kind, {})) for kind in sorted(offered)]
    if subscribe:
        others = [one for one in rest.get("resource", ()) if one["type"] != "Subscription"]
        rest["resource"] = sorted([*others, _SUBSCRIPTION], key=lambda one: str(one["type"]))
    interactions = [{"code": name} for name in ("transaction", "batch") if name in system]
    if interactions:
        rest["interaction"] = interactions
    operations = [_operation("message")] if "message" in system else []
    if operations:
        rest["operation"] = operations
    patches = {"patchFormat": ["application/json-patch+json", "application/fhir+json"]} if "patch" in system else {}
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": since,
        "kind": "instance",
        "software": {"name": "Tongqu"},
        "implementation": {"description": "Tongqu (通衢) integration hub", "url": base},
        "fhirVersion": _VERSIONS[version],
        "format": ["application/fhir+json", "application/fhir+xml", "json", "xml"],
        **patches,
        "rest": [rest],
    }


def _resource(kind: str, offers: set[str], parameters: dict[str, str]) -> dict[str, Any]:
    codes = [name for name in _OF_TYPE if name in offers]
    codes += ["vread"] if "read" in offers else []
    codes += ["history-instance", "history-type"] if "history" in offers else []
    codes += ["search-type"] if "search" in offers else []
    found: dict[str, Any] = {"type": kind, "interaction": [{"code": code} for code in codes]}
    if not codes:
        del found["interaction"]
    if "read" not in offers:  # else it is as the target does it
        found["versioning"] = "no-version"
    if "update" in offers:
        found |= {"updateCreate": True, "conditionalUpdate": True}
    if "create" in offers:
        found["conditionalCreate"] = True
    if "delete" in offers:
        found["conditionalDelete"] = "single"
    if parameters:
        found["searchParam"] = [{"name": name, "type": of} for name, of in sorted(parameters.items())]
    if "validate" in offers:
        found["operation"] = [_operation("validate")]
    return found


def _operation(name: str) -> dict[str, str]:
    code, definition = _OPERATIONS[name]
    return {"name": code, "definition": definition}
