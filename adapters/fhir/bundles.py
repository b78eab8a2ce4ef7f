"""Bundles in answers: what became of a transaction, the reply to a message, the pages of a search."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from adapters.fhir.outcome import issue, outcome
from adapters.http.problem import Refusal
from hub.ids import id_text

__all__ = ["OFFSET", "check_entries", "message_response", "search_page", "transaction_response"]

#: Our own parameter of a page of a search: entries to leave out.
OFFSET = "_offset"
_MOST_ENTRIES = 1000
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}", re.ASCII)
_RELATIVE = re.compile(rf"[A-Za-z]+/{_ID.pattern}", re.ASCII)
_STATUS = {"POST": "201 Created", "PUT": "200 OK", "PATCH": "200 OK", "DELETE": "204 No Content"}


def check_entries(tree: dict[str, Any], answers: bool) -> None:
    """Entries of a transaction or batch that can be taken; ``answers``: a target answers, so they may also ask.

    Raises :class:`Refusal`.
    """
    entries = tree.get("entry", [])
    if not isinstance(entries, list):
        raise _bad("entry must be a list", "entry 须为列表")
    for number, entry in enumerate(entries):
        place = f"entry[{number}].request"
        request = entry.get("request") if isinstance(entry, dict) else None
        method = request.get("method") if isinstance(request, dict) else None
        url = request.get("url") if isinstance(request, dict) else None
        if not isinstance(method, str) or not isinstance(url, str) or not url:
            raise _bad(f"{place} needs method and url", f"{place} 须有 method 与 url")
        if method not in (*_STATUS, "GET", "HEAD"):
            raise _bad(f"{place}.method is none of FHIR", f"{place}.method 不是 FHIR 的方法")
        if method not in _STATUS and not answers:
            raise Refusal(
                422,
                "fhir.entry",
                (f"{place}: this interface stores and does not answer questions", f"{place}：该接口只存储，不回答查询"),
                ("ask with GET where the CapabilityStatement offers it", "请在 CapabilityStatement 提供处使用 GET"),
            )
        if method in ("POST", "PUT") and not isinstance(entry.get("resource"), dict):
            raise _bad(f"entry[{number}] has no resource", f"entry[{number}] 缺少 resource")


def _bad(english: str, chinese: str) -> Refusal:
    return Refusal(400, "fhir.entry", (english, chinese))


def transaction_response(tree: dict[str, Any], message_id: int, modified: str) -> dict[str, Any]:
    """``tree``: what was stored, as one message; the ids of new resources are that of the message with their number."""
    entries: list[dict[str, Any]] = []
    for number, entry in enumerate(tree.get("entry", []), 1):
        request = entry["request"]
        response: dict[str, Any] = {"status": _STATUS[request["method"]], "lastModified": modified}
        if request["method"] == "POST":
            kind = entry["resource"].get("resourceType")
            if isinstance(kind, str) and kind.isalpha() and kind.isascii():
                response["location"] = f"{kind}/{id_text(message_id)}-{number}"
        elif request["method"] == "PUT" and _RELATIVE.fullmatch(request["url"]):
            response["location"] = request["url"]
        elif request["method"] == "DELETE":
            del response["lastModified"]
        entries.append({"response": response})
    found: dict[str, Any] = {"resourceType": "Bundle", "type": f"{tree['type']}-response"}
    return found | {"entry": entries} if entries else found


def message_response(tree: dict[str, Any], message_id: int, base: str, now: str) -> dict[str, Any]:
    """The acknowledgement of a message that is stored (FHIR R4, messaging, 2.4.4)."""
    first = tree["entry"][0]["resource"]
    # What was sent is stored; of what is in it only what is sound goes into the answer.
    event: dict[str, Any] = {}
    coding = first.get("eventCoding")
    if isinstance(coding, dict):
        event["eventCoding"] = {name: coding[name] for name in ("system", "code") if _plain(coding.get(name))}
    elif _plain(first.get("eventUri")):
        event["eventUri"] = first["eventUri"]
    sender, number = first.get("source"), first.get("id")
    endpoint = sender.get("endpoint") if isinstance(sender, dict) else None
    header: dict[str, Any] = {
        "resourceType": "MessageHeader",
        "id": str(uuid.uuid4()),
        **event,
        **({"destination": [{"endpoint": endpoint}]} if _plain(endpoint) else {}),
        "source": {"name": "Tongqu", "endpoint": base},
        "response": {
            "identifier": number if isinstance(number, str) and _ID.fullmatch(number) else id_text(message_id),
            "code": "ok",
        },
    }
    return {
        "resourceType": "Bundle",
        "id": str(uuid.uuid4()),
        "type": "message",
        "timestamp": now,
        "entry": [{"fullUrl": f"urn:uuid:{header['id']}", "resource": header}],
    }


def _plain(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) < 1000 and value.isprintable()


def search_page(
    tree: dict[str, Any], base: str, kind: str, query: Sequence[tuple[str, str]], usual: int, unknown: Sequence[str]
) -> dict[str, Any]:
    """One page of the reply to a search, which holds all of it or, with a ``next`` link of its own, a page.

    ``usual``: entries of a page where ``_count`` says nothing; ``unknown``: parameters nobody knows, which is told.
    Raises :class:`Refusal` for a page that is none.
    """
    count, offset = usual, 0
    for name, value in query:
        if name in ("_count", OFFSET):
            if not (value.isascii() and value.isdigit() and len(value) < 10):
                raise Refusal(400, "fhir.page", (f"{name} is a number from 0", f"{name} 须为非负整数"))
            if name == "_count":
                count = min(int(value), _MOST_ENTRIES)
            else:
                offset = int(value)
    if tree.get("resourceType") != "Bundle":
        tree = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": tree}]}
    entries = [entry for entry in tree.get("entry") or [] if isinstance(entry, dict)]
    notes = [entry for entry in entries if _mode(entry) == "outcome"]
    entries = [entry for entry in entries if _mode(entry) != "outcome"]
    if unknown:
        told = [issue("warning", "not-supported", f"not known: {name}", "fhir.parameter") for name in unknown]
        notes.append({"resource": outcome(told), "search": {"mode": "outcome"}})
    page = entries[offset : offset + count]
    given = [link for link in tree.get("link") or [] if isinstance(link, dict) and link.get("relation") != "self"]
    links = [{"relation": "self", "url": _url(base, kind, query, offset)}]
    if not given:
        if offset:
            links.append({"relation": "previous", "url": _url(base, kind, query, max(offset - count, 0))})
        if offset + count < len(entries) and count:
            links.append({"relation": "next", "url": _url(base, kind, query, offset + count)})
    found = {**tree, "type": "searchset", "link": links + given, "entry": [_found(entry) for entry in page] + notes}
    if "total" not in tree and not given:
        found["total"] = sum(_mode(entry) != "include" for entry in entries)
    if not found["entry"]:
        del found["entry"]
    return found


def _mode(entry: dict[str, Any]) -> Any:
    search = entry.get("search")
    return search.get("mode") if isinstance(search, dict) else None


def _found(entry: dict[str, Any]) -> dict[str, Any]:
    return entry if "search" in entry else {**entry, "search": {"mode": "match"}}


def _url(base: str, kind: str, query: Sequence[tuple[str, str]], offset: int) -> str:
    kept = [(name, value) for name, value in query if name != OFFSET]
    if offset:
        kept.append((OFFSET, str(offset)))
    return f"{base}/{kind}?{urlencode(kept)}" if kept else f"{base}/{kind}"
