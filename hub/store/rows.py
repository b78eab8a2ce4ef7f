"""Rows of a segment and the objects they stand for. Columns are those of :mod:`hub.store.schema`, in that order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from hub.message import (
    CallRecord,
    CheckRecord,
    CheckVerdict,
    Delivery,
    DeliveryState,
    Direction,
    Message,
    Outcome,
)

__all__ = [
    "CALL_COLUMNS",
    "DELIVERY_COLUMNS",
    "INSERT",
    "MESSAGE_COLUMNS",
    "REPORT_COLUMNS",
    "UPDATE_DELIVERY",
    "Row",
    "call_from",
    "check_from",
    "delivery_from",
    "keys_from",
    "message_from",
    "stored_state",
    "update_row",
]

Row = tuple[Any, ...]

_COLUMNS = {
    "message": "id, seq, received_at, source, type, codec, control_id, content_hash, size, conflict, causation, "
    "correlation, routed, keys",
    "payload": "id, raw",
    "delivery": "id, message_id, route, target, state, order_key, attempts, next_at, step, reason, parent, part, parts, "
    "updated_at",
    "fixed": "id, payload",
    "call": "id, at, direction, place, outcome, message_id, delivery_id, attempt, code, error, took_us, remote, params, "
    "mapping, plugin",
    "body": "id, request, response",
    "report": "id, place, verdict, errors, warnings, score, took_us, checks, findings",
}
MESSAGE_COLUMNS = _COLUMNS["message"]
DELIVERY_COLUMNS = _COLUMNS["delivery"]
CALL_COLUMNS = _COLUMNS["call"]
REPORT_COLUMNS = _COLUMNS["report"]

#: Table -> statement that appends a row of all its columns.
INSERT = {
    table: f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(columns.split(',')))})"  # noqa: S608
    for table, columns in _COLUMNS.items()
}
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


def message_from(row: Row, raw: bytes, name: Callable[[int], str]) -> Message:
    """A message from its row, its bytes and the segment's names."""
    return Message(
        id=row[0],
        received_at=row[2],
        source=name(row[3]),
        type=name(row[4]),
        control_id=row[6],
        raw=raw,
        keys=keys_from(row[13]),
        content_hash=row[7],
        codec=name(row[5]),
        correlation=row[11],
        causation=row[10],
        conflict=bool(row[9]),
    )


def delivery_from(row: Row, name: Callable[[int], str]) -> Delivery:
    """A delivery, without message and payload, from its row."""
    return Delivery(
        row[0],
        row[1],
        name(row[2]),
        name(row[3]),
        row[5],
        _STATES[row[4]],
        row[6],
        row[7],
        row[8],
        row[9],
        row[10],
        row[11],
        row[12],
        None,
        row[13],
    )


def call_from(
    row: Row,
    name: Callable[[int], str],
    request: bytes | None,
    response: bytes | None,
    check: CheckRecord | None = None,
) -> CallRecord:
    """A row of the call log with its bodies and its report."""
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
        error=row[9],
        took_us=row[10],
        remote=row[11],
        params=row[12],
        request=request,
        response=response,
        mapping=name(row[13]),
        plugin=name(row[14]),
        check=check,
    )


def check_from(row: Row, name: Callable[[int], str]) -> CheckRecord:
    """A report from its row."""
    return CheckRecord(
        verdict=_VERDICTS[row[2]],
        findings=orjson.loads(row[8]) if row[8] else [],
        errors=row[3],
        warnings=row[4],
        score=row[5],
        took_us=row[6],
        checks=name(row[7]),
    )
