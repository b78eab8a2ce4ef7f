"""Rows of a segment and the objects they stand for. Columns are those of :mod:`hub.store.schema`, in that order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from hub.message import (
    Answer,
    Awaited,
    CallRecord,
    CheckRecord,
    CheckVerdict,
    Delivery,
    DeliveryState,
    Direction,
    Message,
    Outcome,
)

if TYPE_CHECKING:
    from hub.store.segment import SegmentFile

__all__ = [
    "ANSWER_COLUMNS",
    "AWAITED_COLUMNS",
    "CALL_COLUMNS",
    "CONTROL_ID",
    "CORRELATION",
    "DELIVERY_COLUMNS",
    "ERROR",
    "FINDINGS",
    "FIXED",
    "INSERT",
    "KEYS",
    "MESSAGE_COLUMNS",
    "ORDER_KEY",
    "PARAMS",
    "RAW",
    "REASON",
    "REPORT_COLUMNS",
    "REQUEST",
    "RESPONSE",
    "UPDATE_DELIVERY",
    "Row",
    "answer_from",
    "awaited_from",
    "call_from",
    "check_from",
    "delivery_from",
    "keys_from",
    "message_from",
    "stored_state",
    "update_row",
]

Row = tuple[Any, ...]

#: Columns that are looked up, and those that are not, as :mod:`hub.store.values` names them.
CONTROL_ID, CORRELATION, ORDER_KEY = b"control_id", b"correlation", b"order_key"
KEYS, REASON, ERROR, PARAMS, FINDINGS = (
    b"message.keys",
    b"delivery.reason",
    b"call.error",
    b"call.params",
    b"report.findings",
)
RAW, FIXED, REQUEST, RESPONSE = b"payload.raw", b"fixed.payload", b"body.request", b"body.response"

_COLUMNS = {
    "message": "id, seq, received_at, source, type, codec, control_id, content_hash, size, conflict, causation, "
    "correlation, routed, keys",
    "payload": "id, raw, form",
    "delivery": "id, message_id, route, target, state, order_key, attempts, next_at, step, reason, parent, part, parts, "
    "updated_at",
    "fixed": "id, payload, form",
    "call": "id, at, direction, place, outcome, message_id, delivery_id, attempt, code, error, took_us, remote, params, "
    "mapping, plugin",
    "body": "id, request, response, forms",
    "report": "id, place, verdict, errors, warnings, score, took_us, checks, findings",
    "answer": "id, key, places, request, delivery, waiting",
    "awaited": "id, message_id, place, key, at, due, answered",
}
MESSAGE_COLUMNS = _COLUMNS["message"]
DELIVERY_COLUMNS = _COLUMNS["delivery"]
CALL_COLUMNS = _COLUMNS["call"]
REPORT_COLUMNS = _COLUMNS["report"]
ANSWER_COLUMNS = _COLUMNS["answer"]
AWAITED_COLUMNS = _COLUMNS["awaited"]

#: Table -> statement that appends a row of all its columns.
INSERT = {
    table: f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(columns.split(',')))})"  # noqa: S608
    for table, columns in _COLUMNS.items()
}
# A delivery that is tried again may be answered under another number; who has answered already has.
INSERT["awaited"] += (
    " ON CONFLICT (id) DO UPDATE SET key = excluded.key, at = excluded.at, due = max(due, excluded.due)"
)
UPDATE_DELIVERY = "UPDATE delivery SET state = ?, attempts = ?, next_at = ?, step = ?, reason = ?, parts = ?, updated_at = ? WHERE id = ?"

_STATES = tuple(DeliveryState)
_DIRECTIONS = tuple(Direction)
_OUTCOMES = tuple(Outcome)
_VERDICTS = tuple(CheckVerdict)


def stored_state(delivery: Delivery) -> int:
    """The number to store: a delivery that is in flight will have to be tried again after a crash."""
    state = delivery.state
    if state is DeliveryState.IN_FLIGHT:
        return 2 if delivery.attempts else 0
    return int(state)


def update_row(delivery: Delivery) -> Row:
    """The columns of a delivery that change, in the order of :data:`UPDATE_DELIVERY`."""
    return (
        stored_state(delivery),
        delivery.attempts,
        delivery.next_at,
        delivery.step,
        delivery.reason,
        delivery.parts,
        delivery.updated_at,
        delivery.id,
    )


def keys_from(text: str) -> dict[str, str]:
    """The business keys of a message row."""
    return orjson.loads(text) if text else {}


def message_from(row: Row, raw: bytes, segment: SegmentFile) -> Message:
    """A message from its row, its bytes and its segment."""
    name, values = segment.name, segment.values
    return Message(
        id=row[0],
        received_at=row[2],
        source=name(row[3]),
        type=name(row[4]),
        control_id=values.from_token(row[6], CONTROL_ID),
        raw=raw,
        keys=keys_from(values.text(row[13], KEYS, row[0])),
        content_hash=values.from_hash_token(row[7]),
        codec=name(row[5]),
        correlation=values.from_token(row[11], CORRELATION),
        causation=row[10],
        conflict=bool(row[9]),
    )


def delivery_from(row: Row, segment: SegmentFile) -> Delivery:
    """A delivery, without message and payload, from its row."""
    name, values = segment.name, segment.values
    return Delivery(
        row[0],
        row[1],
        name(row[2]),
        name(row[3]),
        values.from_token(row[5], ORDER_KEY),
        _STATES[row[4]],
        row[6],
        row[7],
        row[8],
        values.text(row[9], REASON, row[0]),
        row[10],
        row[11],
        row[12],
        None,
        row[13],
    )


def call_from(
    row: Row,
    segment: SegmentFile,
    request: bytes | None,
    response: bytes | None,
    check: CheckRecord | None = None,
) -> CallRecord:
    """A row of the call log with its bodies and its report."""
    name, values = segment.name, segment.values
    return CallRecord(
        id=row[0],
        at=row[1],
        direction=_DIRECTIONS[row[2]],
        place=name(row[3]),
        outcome=_OUTCOMES[row[4]],
        message_id=row[5],
        delivery_id=row[6],
        attempt=row[7],
        code=row[8],
        error=values.text(row[9], ERROR, row[0]),
        took_us=row[10],
        remote=row[11],
        params=values.text(row[12], PARAMS, row[0]),
        request=request,
        response=response,
        mapping=name(row[13]),
        plugin=name(row[14]),
        check=check,
    )


def check_from(row: Row, segment: SegmentFile) -> CheckRecord:
    """A report from its row."""
    findings = segment.values.text(row[8], FINDINGS, row[0])
    return CheckRecord(
        verdict=_VERDICTS[row[2]],
        findings=orjson.loads(findings) if findings else [],
        errors=row[3],
        warnings=row[4],
        score=row[5],
        took_us=row[6],
        checks=segment.name(row[7]),
    )


def answer_from(row: Row, segment: SegmentFile) -> Answer:
    """What a message answers, from its row."""
    return Answer(
        segment.values.from_token(row[1], CORRELATION), orjson.loads(row[2]), bool(row[5]), row[0], row[3], row[4]
    )


def awaited_from(row: Row, segment: SegmentFile) -> Awaited:
    """What a delivery waits for, from its row."""
    key = segment.values.from_token(row[3], CORRELATION)
    return Awaited(key, segment.name(row[2]), row[0], row[1], row[4], row[5], row[6])
