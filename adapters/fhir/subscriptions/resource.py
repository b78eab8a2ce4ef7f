"""The resource Subscription as callers see it: its form, its versions, pages of it."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

from adapters.fhir.exchange import Exchange
from adapters.fhir.subscriptions.notification import instant
from adapters.fhir.subscriptions.spec import without_secrets
from adapters.fhir.subscriptions.store import Kept
from adapters.http.problem import Refusal

__all__ = [
    "check_match",
    "location",
    "missing",
    "says",
    "searchset",
    "shown",
    "stored",
    "version_headers",
]


def shown(kept: Kept) -> dict[str, Any]:
    """The resource as it is told to callers."""
    tree = without_secrets(kept.resource)
    given = tree.get("meta")
    meta = {
        **(given if isinstance(given, dict) else {}),
        "versionId": str(kept.version),
        "lastUpdated": instant(kept.updated),
    }
    found = {"resourceType": "Subscription", "id": kept.id, "meta": meta}
    more = {name: value for name, value in tree.items() if name not in ("resourceType", "id", "meta", "error")}
    found |= {**more, "status": kept.status}
    if kept.error and "criteria" in tree:  # R5 tells it in $status only
        found["error"] = kept.error
    return found


def stored(tree: dict[str, Any]) -> dict[str, Any]:
    """As it is kept: its id and what the hub says of it are kept beside it."""
    return {name: value for name, value in tree.items() if name not in ("id", "error")}


def says(tree: dict[str, Any], name: str) -> Any:
    """What it says of a search parameter: criteria, topic, url."""
    channel = tree.get("channel")
    if name == "url":
        return channel.get("endpoint") if isinstance(channel, dict) else tree.get("endpoint")
    return tree.get(name)


def version_headers(kept: Kept) -> dict[str, str]:
    return {"ETag": f'W/"{kept.version}"', "Last-Modified": formatdate(kept.updated, usegmt=True)}


def location(exchange: Exchange, kept: Kept) -> str:
    return f"{exchange.base}/Subscription/{kept.id}/_history/{kept.version}"


def check_match(exchange: Exchange, kept: Kept | None) -> None:
    """``If-Match``; raises :class:`Refusal` (412)."""
    wanted = exchange.header("If-Match")
    if wanted and (kept is None or wanted.strip() not in (f'W/"{kept.version}"', f'"{kept.version}"', "*")):
        raise Refusal(412, "fhir.version", ("the subscription is another version by now", "订阅已是其他版本"))


def missing() -> Refusal:
    return Refusal(404, "fhir.subscription", ("there is no such subscription", "没有该订阅"))


def searchset(exchange: Exchange, entries: list[dict[str, Any]]) -> dict[str, Any]:
    link = [{"relation": "self", "url": f"{exchange.base}/Subscription"}]
    found: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "total": len(entries), "link": link}
    return found | {"entry": entries} if entries else found
