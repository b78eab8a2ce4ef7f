"""What a request asks for, by its method and the parts of its path (FHIR R4, RESTful API, summary)."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["BUNDLES", "EVENT", "OF_SYSTEM", "REQUEST", "SUBSCRIBE", "Call", "call_of"]

#: Kinds of bundle that are posted to the base.
BUNDLES = frozenset(("transaction", "batch", "message", "collection"))
#: Interactions that have no type of resource in their address.
OF_SYSTEM = BUNDLES | {"import", "notify", "subscribe"}
#: Interactions of an interface by its style, where it does not name them.
EVENT = ("create", "update", "transaction", "message", "validate")
REQUEST = ("read", "search")

#: What an interface that takes ``subscribe`` does with the resource Subscription.
SUBSCRIBE = frozenset(("create", "update", "read", "search", "delete", "status"))

_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}", re.ASCII)
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}", re.ASCII)
_OF_TYPE = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "search"}
_OF_INSTANCE = {"PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "read"}
_POST = {name: {"POST": name} for name in ("bundle", "message", "import", "search", "validate")}
_GET = {name: {"GET": name} for name in ("capabilities", "history", "read")}
_STATUS = {"GET": "status", "POST": "status"}


@dataclass(frozen=True, slots=True)
class Call:
    """``interaction`` "bundle": any of :data:`BUNDLES`, which only the body tells."""

    interaction: str
    type: str = ""
    id: str = ""
    version: str = ""


def call_of(method: str, parts: list[str]) -> Call | tuple[str, ...]:
    """The call; or the methods that are possible at this path, none where it is no path of FHIR."""
    names: dict[str, str] = {}
    kind = number = version = ""
    match parts:
        case []:
            names = _POST["bundle"]
        case ["metadata"]:
            names = _GET["capabilities"]
        case ["$process-message"]:
            names = _POST["message"]
        case ["$import"]:
            names = _POST["import"]
        case [kind]:
            names = _OF_TYPE
        case [kind, "_search"]:
            names = _POST["search"]
        case [kind, "$validate"]:
            names = _POST["validate"]
        case ["Subscription" as kind, "$status"]:
            names = _STATUS
        case [kind, "_history"]:
            names = _GET["history"]
        case [kind, number]:
            names = _OF_INSTANCE
        case [kind, number, "$validate"]:
            names = _POST["validate"]
        case ["Subscription" as kind, number, "$status"]:
            names = _STATUS
        case [kind, number, "_history"]:
            names = _GET["history"]
        case [kind, number, "_history", version]:
            names = _GET["read"]
    if (
        (kind and not _TYPE.fullmatch(kind))
        or (number and not _ID.fullmatch(number))
        or (version and not _ID.fullmatch(version))
        or "" in parts
    ):
        return ()
    name = names.get("GET" if method == "HEAD" else method)
    return Call(name, kind, number, version) if name is not None else tuple(names)
