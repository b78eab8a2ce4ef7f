"""OperationOutcomes, and which HTTP status belongs to which code (FHIR R4, RESTful API, 3.1.0.1.5 and value set issue-type)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from adapters.http.findings import operation_outcome
from hub.api import Codec

__all__ = ["issue", "issues_of", "outcome", "refused", "severest", "status_of"]

_CODES = {
    400: "invalid",
    401: "login",
    403: "forbidden",
    404: "not-found",
    405: "not-supported",
    406: "not-supported",
    408: "timeout",
    409: "conflict",
    410: "deleted",
    412: "conflict",
    413: "too-long",
    415: "not-supported",
    417: "not-supported",
    422: "processing",
    429: "throttled",
    500: "exception",
    502: "exception",
    503: "transient",
    504: "timeout",
}
_STATUSES = {
    "not-found": 404,
    "deleted": 410,
    "conflict": 409,
    "duplicate": 409,
    "multiple-matches": 412,
    "lock-error": 409,
    "login": 401,
    "security": 403,
    "forbidden": 403,
    "suppressed": 403,
    "not-supported": 422,
    "too-long": 413,
    "too-costly": 403,
    "throttled": 429,
    "transient": 503,
    "no-store": 503,
    "timeout": 504,
    "incomplete": 503,
    "exception": 500,
}
_SEVERITIES = ("fatal", "error", "warning", "information")


def issue(severity: str, code: str, text: str, diagnostics: str = "", expression: str = "") -> dict[str, Any]:
    return {
        "severity": severity,
        "code": code,
        **({"details": {"text": text}} if text else {}),
        **({"diagnostics": diagnostics} if diagnostics else {}),
        **({"expression": [expression]} if expression else {}),
    }


def outcome(issues: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {"resourceType": "OperationOutcome", "issue": [dict(one) for one in issues]}


def refused(status: int, text: str, diagnostics: str, remedy: str = "") -> dict[str, Any]:
    """What is answered with an error status. ``diagnostics``: our own code."""
    told = f"{diagnostics}: {remedy}" if remedy else diagnostics
    severity = "fatal" if status == 500 else "error"
    return outcome([issue(severity, _CODES.get(status, "processing"), text, told)])


def issues_of(codec: Codec, findings: Iterable[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Findings of validation as issues."""
    found = list(findings)
    if not found:
        return []
    tree = codec.decode(operation_outcome(codec, {}, found))
    issues: list[dict[str, Any]] = tree["issue"]
    return issues


def severest(tree: Any) -> dict[str, Any] | None:
    """The severest issue of an OperationOutcome; None where it has none, or is none."""
    if not isinstance(tree, dict) or tree.get("resourceType") != "OperationOutcome":
        return None
    issues = tree.get("issue")
    sound = [one for one in issues if isinstance(one, dict)] if isinstance(issues, list) else []
    return min(sound, key=_rank, default=None)


def _rank(one: Mapping[str, Any]) -> int:
    severity = one.get("severity")
    return _SEVERITIES.index(severity) if severity in _SEVERITIES else len(_SEVERITIES)


def status_of(tree: Any) -> int:
    """HTTP status for an OperationOutcome that is the whole of an answer: 200 unless it tells of an error."""
    worst = severest(tree)
    if worst is None or worst.get("severity") not in ("fatal", "error"):
        return 200
    code = worst.get("code")
    return _STATUSES.get(code, 422) if isinstance(code, str) else 422
