"""Stored rows as JSON for the API and the command line, and queries from their parameters."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from hub.errors import HubError
from hub.i18n import t
from hub.ids import id_text, parse_id
from hub.message import CallRecord, CheckRecord, CheckVerdict, Delivery, DeliveryState, Direction, Message, Outcome
from hub.privacy.screen import Screen, screen
from hub.privacy.search import stored_key
from hub.privacy.site import policy
from hub.store.base import (
    AwaitedQuery,
    CallQuery,
    DeliveryQuery,
    LedgerReport,
    MessageQuery,
    MessageRow,
    PlaceQuality,
    ReportQuery,
)
from hub.store.reports import add_up

__all__ = [
    "BadQuery",
    "awaited_query",
    "bodies_json",
    "call_json",
    "call_query",
    "check_json",
    "delivery_json",
    "delivery_query",
    "ledger_json",
    "message_json",
    "message_query",
    "message_row_json",
    "parse_ids",
    "quality_json",
    "quality_span",
    "report_query",
    "time_ms",
    "when_text",
]

_MOST = 1000


class BadQuery(HubError):
    """A parameter of a query can't be understood."""

    code = "query.invalid"


def when_text(micros: int) -> str:
    """Local time to the millisecond, ISO 8601 with offset."""
    return datetime.fromtimestamp(micros / 1e6).astimezone().isoformat(timespec="milliseconds") if micros else ""


def message_row_json(row: MessageRow, *, clear: bool = False, seen: Screen | None = None) -> dict[str, Any]:
    return {
        "id": id_text(row.id),
        "received_at": when_text(row.received_at),
        "source": row.source,
        "type": row.type,
        "control_id": row.control_id,
        "keys": (seen or screen(clear)).keys(row.keys),
        "size": row.size,
        "conflict": row.conflict,
        "causation": id_text(row.causation) if row.causation else "",
        "correlation": row.correlation,
        "deliveries": [{"target": target, "state": state.word} for target, state in row.deliveries],
    }


def message_json(message: Message, *, clear: bool = False, seen: Screen | None = None) -> dict[str, Any]:
    return {
        "id": id_text(message.id),
        "received_at": when_text(message.received_at),
        "source": message.source,
        "type": message.type,
        "control_id": message.control_id,
        "codec": message.codec,
        "keys": (seen or screen(clear)).keys(message.keys),
        "size": len(message.raw),
        "content_hash": message.content_hash.hex(),
        "conflict": message.conflict,
        "causation": id_text(message.causation) if message.causation else "",
        "correlation": message.correlation,
    }


def delivery_json(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": id_text(delivery.id),
        "message_id": id_text(delivery.message_id),
        "route": delivery.route,
        "target": delivery.target,
        "state": delivery.state.word,
        "attempts": delivery.attempts,
        "next_at": when_text(delivery.next_at),
        "updated_at": when_text(delivery.updated_at),
        "step": delivery.step,
        "reason": screen().text(delivery.reason),
        "parent": id_text(delivery.parent) if delivery.parent else "",
        "part": delivery.part,
        "parts": delivery.parts,
    }


def _body(data: bytes | None, seen: Screen) -> dict[str, str] | None:
    if data is not None and seen.view.open:
        try:
            return {"text": data.decode("utf-8")}
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(data).decode("ascii")}
    return seen.body(data)


def bodies_json(
    message: Message, *calls: list[CallRecord], clear: bool = False, seen: Screen | None = None
) -> tuple[dict[str, str] | None, list[list[dict[str, Any]]]]:
    """What a message says, and lists of calls with their bodies, masked unless ``clear``; ``seen``: the screen of who asks."""
    seen = seen or screen(clear)
    seen.know(message.codec, message.raw)
    body = _body(message.raw, seen)
    return body, [[call_json(call, bodies=True, seen=seen) for call in some] for some in calls]


def call_json(
    call: CallRecord, *, bodies: bool = False, clear: bool = False, seen: Screen | None = None
) -> dict[str, Any]:
    """A row of the call log; with ``bodies`` what was sent and answered, masked unless ``clear``. ``seen``: a screen that knows the message."""
    seen = seen or screen(clear)
    out: dict[str, Any] = {
        "id": id_text(call.id),
        "at": when_text(call.at),
        "direction": call.direction.name.lower(),
        "place": call.place,
        "outcome": call.outcome.word,
        "code": call.code,
        "error": seen.text(call.error),
        "took_ms": round(call.took_us / 1000, 3),
        "attempt": call.attempt,
        "message_id": id_text(call.message_id) if call.message_id else "",
        "delivery_id": id_text(call.delivery_id) if call.delivery_id else "",
        "remote": call.remote,
        "params": seen.params(call.params),
        "mapping": call.mapping,
        "plugin": call.plugin,
    }
    if call.check is not None:
        out["validation"] = check_json(call.check)
    if bodies:
        out["request"] = _body(call.request, seen)
        out["response"] = _body(call.response, seen)
    return out


def check_json(check: CheckRecord) -> dict[str, Any]:
    """What validation found; texts are masked when they are made."""
    return {
        "verdict": check.verdict.word,
        "errors": check.errors,
        "warnings": check.warnings,
        "score": check.score,
        "took_ms": round(check.took_us / 1000, 3),
        "checks": check.checks,
        "findings": check.findings,
    }


def quality_json(rows: Iterable[PlaceQuality], top: int = 10) -> list[dict[str, Any]]:
    """Figures of each interface, in all and by day; of the rules those that found most."""
    places: dict[str, list[PlaceQuality]] = {}
    for row in rows:
        places.setdefault(row.place, []).append(row)
    found = []
    for place, days in places.items():
        (whole,) = add_up(replace(row, day="") for row in days)
        found.append(
            {"place": place, **_figures(whole, top), "days": [{"day": r.day, **_figures(r, top)} for r in days]}
        )
    return found


def _figures(row: PlaceQuality, top: int) -> dict[str, Any]:
    rules = sorted(row.rules.items(), key=lambda item: (-item[1], item[0]))[:top]
    return {
        "messages": row.checked + row.not_checked,
        "marked": row.marked,
        "failed": row.failed,
        "refused": row.refused,
        "not_checked": row.not_checked,
        "score": round(row.score, 1) if row.scored else None,
        "scored": row.scored,
        "rules": [{"rule": rule, "messages": number} for rule, number in rules],
        "saturation": {p: round(row.filled.get(p, 0) / n, 4) for p, n in sorted(row.fields.items()) if n},
        "delays": row.delays,
    }


def ledger_json(report: LedgerReport) -> dict[str, Any]:
    return {
        "balanced": report.balanced,
        "messages": report.messages,
        "filtered": report.filtered,
        "waiting": report.waiting,
        "rows": [
            {
                "route": row.route,
                "target": row.target,
                "routed": row.routed,
                "delivered": row.delivered,
                "dead": row.dead,
                "held": row.held,
                "skipped": row.skipped,
                "moving": row.moving,
                "balanced": row.balanced,
            }
            for row in report.rows
        ],
        "problems": report.problems,
    }


# -- queries ---------------------------------------------------------------------------------------------------------


def parse_ids(texts: list[Any]) -> list[int]:
    """Ids as people write them; raises :class:`BadQuery` naming the one that is wrong."""
    try:
        return [parse_id(str(text)) for text in texts]
    except ValueError as error:
        raise BadQuery(str(error)) from error


def time_ms(value: str, name: str) -> int:
    """Milliseconds since the epoch: ISO 8601 (local time when it names no zone), or ``-15m`` before now."""
    if not value:
        return 0
    from hub.contract import parse_duration

    try:
        if value.startswith("-"):
            return int((datetime.now().timestamp() - parse_duration(value[1:])) * 1000)
        return int(datetime.fromisoformat(value).timestamp() * 1000)
    except ValueError as error:
        text = t(
            f"{name}: {value!r} is not a time; write e.g. 2026-11-21T08:30 or -15m",
            f"{name}：{value!r} 不是时间，请写成 2026-11-21T08:30 或 -15m",
        )
        raise BadQuery(text) from error


def _word(
    kind: type[DeliveryState] | type[Outcome] | type[Direction] | type[CheckVerdict], value: str, name: str
) -> Any:
    try:
        return kind[value.strip().upper()]
    except KeyError as error:
        words = ", ".join(member.name.lower() for member in kind)
        raise BadQuery(t(f"{name}: {value!r} is none of {words}", f"{name}：{value!r} 不在 {words} 之中")) from error


def _limit(params: Mapping[str, str]) -> int:
    value = params.get("limit", "50")
    if not value.isdecimal() or not 1 <= int(value) <= _MOST:
        raise BadQuery(t(f"limit: a number from 1 to {_MOST}", f"limit：1 到 {_MOST} 之间的数"))
    return int(value)


def _id(params: Mapping[str, str], name: str) -> int:
    return parse_ids([params[name]])[0] if params.get(name) else 0


def message_query(params: Mapping[str, str], salt: bytes) -> MessageQuery:
    """A search from parameters; business keys are given as ``key.NAME=value``. ``salt`` is that of the hashed keys."""
    keys = {name[4:]: value for name, value in params.items() if name.startswith("key.") and value}
    return MessageQuery(
        since_ms=time_ms(params.get("since", ""), "since"),
        until_ms=time_ms(params.get("until", ""), "until"),
        system=params.get("system", ""),
        source=params.get("source", ""),
        type=params.get("type", ""),
        control_id=params.get("control_id", ""),
        correlation=params.get("correlation", ""),
        state=_word(DeliveryState, params["state"], "state") if params.get("state") else None,
        target=params.get("target", ""),
        route=params.get("route", ""),
        keys={name: stored_key(policy(), salt, name, value) for name, value in keys.items()},
        text=params.get("text", ""),
        conflict=True if params.get("conflict") in ("1", "true") else None,
        before=_id(params, "before"),
        limit=_limit(params),
    )


def delivery_query(params: Mapping[str, str]) -> DeliveryQuery:
    states = [s for s in params.get("state", "").split(",") if s]
    return DeliveryQuery(
        states=tuple(_word(DeliveryState, s, "state") for s in states),
        target=params.get("target", ""),
        route=params.get("route", ""),
        since_ms=time_ms(params.get("since", ""), "since"),
        until_ms=time_ms(params.get("until", ""), "until"),
        reason=params.get("reason", ""),
        before=_id(params, "before"),
        limit=_limit(params),
    )


def report_query(params: Mapping[str, str]) -> ReportQuery:
    """A search for findings from parameters."""
    verdicts = [v for v in params.get("verdict", "").split(",") if v]
    return ReportQuery(
        place=params.get("place", ""),
        verdicts=tuple(_word(CheckVerdict, v, "verdict") for v in verdicts),
        rule=params.get("rule", ""),
        since_ms=time_ms(params.get("since", ""), "since"),
        until_ms=time_ms(params.get("until", ""), "until"),
        before=_id(params, "before"),
        limit=_limit(params),
    )


def awaited_query(params: Mapping[str, str]) -> AwaitedQuery:
    """A search for deliveries whose target has not answered yet, from parameters."""
    return AwaitedQuery(
        target=params.get("target", ""),
        due_before=time.time_ns() // 1000 if params.get("overdue") in ("1", "true") else 0,
        before=_id(params, "before"),
        limit=_limit(params),
    )


def quality_span(params: Mapping[str, str]) -> tuple[int, int]:
    """(since, until) in milliseconds; without ``since`` the last seven days."""
    since = time_ms(params.get("since", "") or "-7d", "since")
    return since, time_ms(params.get("until", ""), "until")


def call_query(params: Mapping[str, str]) -> CallQuery:
    outcomes = [o for o in params.get("outcome", "").split(",") if o]
    if params.get("failed") in ("1", "true"):
        outcomes = [o.name for o in Outcome if o not in (Outcome.OK, Outcome.DUPLICATE)]
    return CallQuery(
        place=params.get("place", ""),
        direction=_word(Direction, params["direction"], "direction") if params.get("direction") else None,
        outcomes=tuple(_word(Outcome, o, "outcome") for o in outcomes),
        since_ms=time_ms(params.get("since", ""), "since"),
        until_ms=time_ms(params.get("until", ""), "until"),
        before=_id(params, "before"),
        limit=_limit(params),
        bodies=params.get("bodies") in ("1", "true"),
    )
