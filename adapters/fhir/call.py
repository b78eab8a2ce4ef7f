"""What a request asks for, by its method and the parts of its path (FHIR R4, RESTful API, summary)."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["BUNDLES", "EVENT", "OF_SYSTEM", "REQUEST", "Call", "call_of"]

#: Kinds of bundle that are posted to the base.
BUNDLES = frozenset(("transaction", "batch", "message", "collection"))
#: Interactions that have no type of resource in their address.
OF_SYSTEM = BUNDLES | {"import", "notify"}
#: Interactions of an interface by its style, where it does not name them.
EVENT = ("create", "update", "transaction", "message", "validate")
REQUEST = ("read", "search")

_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}", re.ASCII)
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}", re.ASCII)
_OF_TYPE = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "search"}
_OF_INSTANCE = {"PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "read"}


@dataclass(frozen=True, slots=True)
class Call:
    """``interaction`` "bundle": any of :data:`BUNDLES`, which only the body tells."""

    interaction: str
    type: str = ""
    id: str = ""
    version: str = ""


def call_of(method: str, parts: list[str]) -> Call | tuple[str, ...]:
    """The call; or the methods that are possible at this path, none where it is no path of FHIR."""
    found: dict[str, Call] = {}
    match parts:
        case []:
            found = {"POST": Call("bundle")}
        case ["metadata"]:
            found = {"GET": Call("capabilities")}
        case ["$process-message"]:
            found = {"POST": Call("message")}
        case ["$import"]:
            found = {"POST": Call("import")}
        case [kind] if _TYPE.fullmatch(kind):
            found = {verb: Call(name, kind) for verb, name in _OF_TYPE.items()}
        case [kind, "_search"] if _TYPE.fullmatch(kind):
            found = {"POST": Call("search", kind)}
        case [kind, "$validate"] if _TYPE.fullmatch(kind):
            found = {"POST": Call("validate", kind)}
        case [kind, number] if _TYPE.fullmatch(kind) and _ID.fullmatch(number):
            found = {verb: Call(name, kind, number) for verb, name in _OF_INSTANCE.items()}
        case [kind, number, "$validate"] if _TYPE.fullmatch(kind) and _ID.fullmatch(number):
            found = {"POST": Call("validate", kind, number)}
        case [kind, number, "_history", version] if (
            _TYPE.fullmatch(kind) and _ID.fullmatch(number) and _ID.fullmatch(version)
        ):
            found = {"GET": Call("read", kind, number, version)}
    if method == "HEAD" and "GET" in found:
        method = "GET"
    return found.get(method) or tuple(found)
