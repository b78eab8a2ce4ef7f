"""What a server's answer means: its OperationOutcome, the response of a message, the entries of a batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from adapters.fhir.exchange import resource_tree
from adapters.fhir.outcome import severest, status_of
from adapters.fhir.request import Request
from hub.api import Codec, CodecError, Reply
from hub.i18n import t
from hub.masking import mask_text

__all__ = ["judged", "outcome_text"]

_LONGEST = 300
#: Codes of issues that say that the same may succeed later.
_PASSING = frozenset(("transient", "lock-error", "no-store", "throttled", "timeout", "incomplete"))


def judged(reply: Reply, codec: Codec, request: Request) -> Reply:
    """The reply with what FHIR says in it.

    That there is no such resource is an answer to a read; an OperationOutcome with errors is a no to ``$validate``,
    whatever its status.
    """
    tree = _tree(reply.body, codec)
    if request.interaction in ("read", "history") and reply.status in (404, 410):
        return replace(reply, ok=True, error="", body=reply.body if severest(tree) is not None else b"")
    if tree is None:
        return reply
    worst = severest(tree)
    if not reply.ok:
        if worst is None:
            # Some other resource: what is in it is nobody's business here.
            return replace(reply, error=f"HTTP {reply.status}")
        given = worst.get("code")
        code = given if isinstance(given, str) else reply.code
        return replace(
            reply,
            code=code,
            error=f"HTTP {reply.status}: {outcome_text(worst)}",
            transient=reply.transient or code in _PASSING,
        )
    if worst is not None and request.interaction == "validate" and status_of(tree) != 200:
        return replace(reply, ok=False, code=str(worst.get("code", "")), error=outcome_text(worst))
    if tree.get("resourceType") != "Bundle":
        return reply
    if tree.get("type") == "message":
        return _message(reply, tree)
    if tree.get("type") == "batch-response":
        return _batch(reply, tree)
    return reply


def outcome_text(worst: dict[str, Any]) -> str:
    """One issue for people, masked."""
    details = worst.get("details")
    texts = [details.get("text") if isinstance(details, dict) else None, worst.get("diagnostics")]
    said = "; ".join(text for text in texts if isinstance(text, str))
    said = "".join(char if char.isprintable() else " " for char in said[:_LONGEST])
    places = worst.get("expression") or worst.get("location")
    place = places[0] if isinstance(places, list) and places and isinstance(places[0], str) else ""
    parts = [f"{worst.get('severity', 'error')} {worst.get('code', '')}".strip(), said, place[:100]]
    return mask_text(": ".join(part for part in parts if part))


def _tree(body: bytes, codec: Codec) -> dict[str, Any] | None:
    if not body.strip():
        return None
    try:
        return resource_tree(body, codec)
    except (CodecError, orjson.JSONDecodeError):
        return None


def _message(reply: Reply, tree: dict[str, Any]) -> Reply:
    """``MessageHeader.response.code`` (FHIR R4, value set response-code)."""
    entries = _entries(tree)
    header = entries[0].get("resource") if entries else None
    response = header.get("response") if isinstance(header, dict) else None
    code = response.get("code") if isinstance(response, dict) else None
    if code not in ("transient-error", "fatal-error"):
        return reply
    worst = next((found for entry in entries if (found := severest(entry.get("resource"))) is not None), None)
    text = outcome_text(worst) if worst is not None else str(code)
    return replace(reply, ok=False, code=str(code), error=text, transient=code == "transient-error")


def _batch(reply: Reply, tree: dict[str, Any]) -> Reply:
    """Entries that failed: what succeeded must not be sent again, so only where all of them may pass later is it transient."""
    failed: list[tuple[int, int, str]] = []
    entries = _entries(tree)
    for number, entry in enumerate(entries):
        response = entry.get("response")
        status = str(response.get("status", "")) if isinstance(response, dict) else ""
        code = int(status[:3]) if status[:3].isascii() and status[:3].isdigit() else 0
        if code >= 400 and isinstance(response, dict):
            worst = severest(response.get("outcome"))
            failed.append((number, code, outcome_text(worst) if worst is not None else f"HTTP {code}"))
    if not failed:
        return reply
    number, code, text = failed[0]
    told = t(
        f"{len(failed)} of {len(entries)} entries failed, entry[{number}]: {text}",
        f"{len(entries)} 个条目中 {len(failed)} 个失败，entry[{number}]：{text}",
    )
    passing = len(failed) == len(entries) and all(code in (429, 503) for _, code, _ in failed)
    return replace(reply, ok=False, code=str(code), error=told, transient=passing)


def _entries(tree: dict[str, Any]) -> list[dict[str, Any]]:
    entries = tree.get("entry")
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
