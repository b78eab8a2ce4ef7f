"""FHIR resources put together in one Bundle (FHIR R4, 3.1.0.11 batch and transaction)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from hub.codecs.base import Joint

__all__ = ["BUNDLES", "bundle_of"]

#: Types of bundle; ``collection`` asks the server for nothing.
BUNDLES = ("batch", "transaction", "collection")
_ASKING = BUNDLES[:2]


def bundle_of(resources: Sequence[dict[str, Any]], kind: str, joint: Joint) -> dict[str, Any]:
    """A bundle of resources; the entries of one that is a Bundle itself are taken over as they are.

    A resource with ``id`` is put there, one without is created.
    """
    entries: list[Any] = []
    for resource in resources:
        own = resource.get("entry")
        if resource["resourceType"] == "Bundle" and isinstance(own, list):
            entries += [_asking(entry) if kind in _ASKING else entry for entry in own]
        else:
            entry: dict[str, Any] = {"resource": resource}
            entries.append(_asking(entry) if kind in _ASKING else entry)
    return {
        "resourceType": "Bundle",
        "identifier": {"value": joint.number},
        "type": kind,
        "timestamp": datetime.fromtimestamp(joint.at_us / 1e6, UTC).isoformat(timespec="milliseconds"),
        "entry": entries,
    }


def _asking(entry: Any) -> Any:
    """The entry with what the server is to do; as it is where it says so itself."""
    resource = entry.get("resource") if isinstance(entry, dict) else None
    if not isinstance(resource, dict) or "request" in entry:
        return entry
    kind, number = resource.get("resourceType"), resource.get("id")
    request = {"method": "PUT", "url": f"{kind}/{number}"} if number else {"method": "POST", "url": kind}
    return {**entry, "request": request}
