"""References inside bundles that must be complete in themselves (FHIR R4, Bundle, resolving references)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hub.i18n import t
from hub.validators.findings import plain_path
from hub.validators.report import Finding, Kind, Severity

__all__ = ["unresolved"]

_COMPLETE = frozenset({"message", "document", "transaction", "batch"})
_LOCAL = ("urn:uuid:", "urn:oid:")


def unresolved(tree: dict[str, Any]) -> Iterator[Finding]:
    """A warning for each reference by ``urn:uuid:`` or ``urn:oid:`` that no entry of the bundle has, and each such number used twice."""
    entries, kind = tree.get("entry"), tree.get("type")
    if tree.get("resourceType") != "Bundle" or not isinstance(entries, list):
        return
    if not isinstance(kind, str) or kind not in _COMPLETE:
        return
    urls = set()
    for number, entry in enumerate(entries):
        url = entry.get("fullUrl") if isinstance(entry, dict) else None
        if not isinstance(url, str):
            continue
        if url in urls and url.startswith(_LOCAL):
            text = t("an entry before has the same fullUrl", "前面的条目已有相同的 fullUrl")
            place = plain_path(["Bundle", "entry", number, "fullUrl"])
            yield Finding("fhir.full_url", text, place, kind=Kind.DUPLICATE, severity=Severity.WARNING)
        urls.add(url)
    rest: list[tuple[tuple[str | int, ...], Any]] = [(("Bundle",), tree)]
    while rest:
        path, value = rest.pop()
        if isinstance(value, dict):
            reference = value.get("reference")
            if isinstance(reference, str) and reference.startswith(_LOCAL) and reference not in urls:
                text = t("no entry of this bundle has this fullUrl", "Bundle 中没有条目具有此 fullUrl")
                place = plain_path([*path, "reference"])
                yield Finding("fhir.reference", text, place, kind=Kind.CONTRADICTION, severity=Severity.WARNING)
            rest.extend(((*path, key), item) for key, item in reversed(value.items()))
        elif isinstance(value, list):
            rest.extend(((*path, number), value[number]) for number in range(len(value) - 1, -1, -1))
