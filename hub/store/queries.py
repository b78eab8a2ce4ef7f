"""Questions to the segments, answered in the calling thread. Newest segment last in every list of segments."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from hub.ids import first_id_at
from hub.message import CallRecord, Delivery, DeliveryState, Message, Outcome
from hub.store.base import CallQuery, DeliveryQuery
from hub.store.reports import report_of
from hub.store.rows import (
    CALL_COLUMNS,
    DELIVERY_COLUMNS,
    FIXED,
    MESSAGE_COLUMNS,
    ORDER_KEY,
    RAW,
    REQUEST,
    RESPONSE,
    Row,
    call_from,
    delivery_from,
    message_from,
)
from hub.store.segment import SegmentFile
from hub.store.sql import all_rows, first_row, scalar
from hub.store.values import IN_FILE, BodyMissing

__all__ = [
    "calls_of",
    "counts",
    "deliveries_of",
    "find_calls",
    "find_deliveries",
    "load_delivery",
    "load_envelope",
    "load_message",
    "load_part",
    "open_children",
    "open_deliveries",
    "open_targets",
    "segment_of",
]

Segments = Sequence[SegmentFile]

_PARKED = frozenset({DeliveryState.DEAD, DeliveryState.HELD, DeliveryState.SKIPPED})
_OPEN = frozenset({DeliveryState.PENDING, DeliveryState.RETRYING})
_HIGHEST = (1 << 63) - 1
#: Longest answer to one query; more is asked for page by page.
MOST_ROWS = 10_000

_MESSAGE = f"SELECT {MESSAGE_COLUMNS} FROM message WHERE id = ?"  # noqa: S608
_DELIVERY = f"SELECT {DELIVERY_COLUMNS} FROM delivery WHERE id = ?"  # noqa: S608
_PAYLOAD = "SELECT raw, form FROM payload WHERE id = ?"
_FIXED = "SELECT payload, form FROM fixed WHERE id = ?"
_REQUEST = "SELECT request, forms & 3 FROM body WHERE id = ?"
_RESPONSE = "SELECT response, forms >> 2 FROM body WHERE id = ?"


def segment_of(segments: Segments, row_id: int) -> SegmentFile | None:
    """The segment an id falls into."""
    if not segments:
        return None
    return segments[max(0, bisect_right(segments, row_id, key=lambda segment: segment.first_id) - 1)]


def _from(segments: Segments, row_id: int) -> Segments:
    """The segment an id falls into and the newer ones."""
    return segments[max(0, bisect_right(segments, row_id, key=lambda segment: segment.first_id) - 1) :]


# -- single rows -------------------------------------------------------------------------------------------------


def load_message(segments: Segments, message_id: int) -> Message | None:
    segment = segment_of(segments, message_id)
    if segment is None:
        return None
    connection = segment.connection()
    row = first_row(connection, _MESSAGE, (message_id,))
    raw = _bytes(segment, _PAYLOAD, RAW, message_id) if row else None
    if row is None or raw is None:
        return None
    message = message_from(row, raw, segment)
    if message.causation:
        message.request = load_envelope(segments, message.causation)
    return message


def load_part(segments: Segments, message_id: int, at: int, count: int) -> bytes | None:
    """See :meth:`hub.store.base.StoreReader.raw_part`."""
    segment = segment_of(segments, message_id)
    if segment is None:
        return None
    row = first_row(segment.connection(), _PAYLOAD, (message_id,))
    if row is not None and row[1] & IN_FILE:
        try:
            with segment.values.file(row[0], row[1], RAW, message_id) as file:
                file.seek(at)
                return file.read(count)
        except BodyMissing:
            if segment.path.exists() and first_row(segment.connection(), _PAYLOAD, (message_id,)) is not None:
                raise
            return None
    whole = _bytes(segment, _PAYLOAD, RAW, message_id)
    return None if whole is None else whole[at : at + count]


def load_envelope(segments: Segments, message_id: int) -> Message | None:
    """A message without its bytes."""
    segment = segment_of(segments, message_id)
    row = first_row(segment.connection(), _MESSAGE, (message_id,)) if segment else None
    return None if segment is None or row is None else message_from(row, b"", segment)


def load_delivery(segments: Segments, delivery_id: int) -> Delivery | None:
    segment = segment_of(segments, delivery_id)
    row = first_row(segment.connection(), _DELIVERY, (delivery_id,)) if segment else None
    if segment is None or row is None:
        return None
    delivery = delivery_from(row, segment)
    delivery.payload = _bytes(segment, _FIXED, FIXED, delivery_id)
    delivery.message = load_message(segments, delivery.message_id)
    return delivery


def deliveries_of(segments: Segments, message_id: int) -> list[Delivery]:
    sql = f"SELECT {DELIVERY_COLUMNS} FROM delivery WHERE message_id = ? ORDER BY id"  # noqa: S608
    return [
        delivery_from(row, segment)
        for segment in _from(segments, message_id)
        for row in all_rows(segment.connection(), sql, (message_id,))
    ]


def calls_of(segments: Segments, message_id: int) -> list[CallRecord]:
    sql = (
        f"SELECT {CALL_COLUMNS} FROM call "  # noqa: S608
        "WHERE message_id = ? AND message_id <> 0"
    )
    found = [
        call_from(row, segment, *_bodies(segment, row[0]), report_of(segment, row[0]))
        for segment in _from(segments, message_id)
        for row in all_rows(segment.connection(), sql, (message_id,))
    ]
    found.sort(key=lambda call: call.id)
    return found


# -- lists -------------------------------------------------------------------------------------------------------


def _limit(limit: int) -> int:
    return max(0, min(limit, MOST_ROWS))


def _marks(values: Iterable[Any]) -> str:
    return ", ".join("?" * len(list(values)))


def find_deliveries(segments: Segments, query: DeliveryQuery) -> list[Delivery]:
    low = max(query.after + 1, first_id_at(query.since_ms) if query.since_ms else 0)
    high = min(
        query.before - 1 if query.before else _HIGHEST, first_id_at(query.until_ms) - 1 if query.until_ms else _HIGHEST
    )
    limit = _limit(query.limit)
    found: list[Delivery] = []
    for segment in segments if query.oldest_first else reversed(segments):
        if low <= (segment.last_id or _HIGHEST) and high >= segment.first_id and len(found) < limit:
            rows = _deliveries_in(segment, query, low, high, limit - len(found))
            found.extend(delivery_from(row, segment) for row in rows)
    return found


def _deliveries_in(segment: SegmentFile, query: DeliveryQuery, low: int, high: int, limit: int) -> list[Row]:
    """Matches within a segment. Parked and open ones come from their own index; the rest is walked by id."""
    targets = segment.places(query.target) if query.target else []
    route = segment.number(query.route) if query.route else None
    if (query.target and not targets) or (query.route and route is None):
        return []
    order = "ASC" if query.oldest_first else "DESC"
    where, values = ["id BETWEEN ? AND ?"], [low, high]
    rest: list[str] = []
    rest_values: list[Any] = []
    if route is not None:
        rest.append("route = ?")
        rest_values.append(route)
    if query.reason:
        rest.append("instr(opened('delivery.reason', id, reason), ?) > 0")
        rest_values.append(query.reason)
    states = set(query.states)
    found: list[Row] = []

    def ask(index: str, conditions: list[str], parameters: list[Any]) -> None:
        text = " AND ".join([*where, *conditions, *rest])
        sql = f"SELECT {DELIVERY_COLUMNS} FROM delivery {index} WHERE {text} ORDER BY id {order} LIMIT ?"  # noqa: S608
        found.extend(all_rows(segment.connection(), sql, [*values, *parameters, *rest_values, limit]))

    by_target = [f"target IN ({_marks(targets)})"] if targets else []
    if states and states <= _PARKED | _OPEN:
        for state in sorted(states & _PARKED):
            parked = ["state = ?", "state IN (4, 5, 6)", *by_target]
            ask("INDEXED BY delivery_parked", parked, [int(state), *targets])
        wanted = sorted(states & _OPEN)
        if wanted:
            for target in targets or _distinct(segment, "target", "delivery", "delivery_open", "state IN (0, 2)"):
                opened = ["target = ?", "state IN (0, 2)", f"state IN ({_marks(wanted)})"]
                ask("INDEXED BY delivery_open", opened, [target, *map(int, wanted)])
    else:
        by_state = [f"state IN ({_marks(states)})"] if states else []
        ask("NOT INDEXED", [*by_target, *by_state], [*targets, *map(int, states)])
    found.sort(key=lambda row: row[0], reverse=not query.oldest_first)
    return found[:limit]


def _distinct(segment: SegmentFile, column: str, table: str, index: str, where: str) -> list[int]:
    """The values of the first column of an index, found by leaping from one to the next."""
    sql = f"SELECT {column} FROM {table} INDEXED BY {index} WHERE {where} AND {column} > ? ORDER BY {column} LIMIT 1"  # noqa: S608
    values: list[int] = []
    value = scalar(segment.connection(), sql, (0,))
    while value is not None:
        values.append(value)
        value = scalar(segment.connection(), sql, (value,))
    return values


def find_calls(segments: Segments, query: CallQuery) -> list[CallRecord]:
    """An attempt is kept with its delivery, so an old segment may hold new calls: results are merged by id."""
    low = first_id_at(query.since_ms) if query.since_ms else 0
    high = min(
        query.before - 1 if query.before else _HIGHEST, first_id_at(query.until_ms) - 1 if query.until_ms else _HIGHEST
    )
    limit = _limit(query.limit)
    found: list[tuple[Row, SegmentFile]] = []
    for segment in reversed(segments):
        newest = scalar(segment.connection(), "SELECT max(id) FROM call")
        full = len(found) >= limit
        if newest is None or newest < low or (full and (limit == 0 or newest < found[-1][0][0])):
            continue
        found.extend((row, segment) for row in _calls_in(segment, query, low, high, limit))
        found.sort(key=lambda item: item[0][0], reverse=True)
        del found[limit:]
    calls = []
    for row, segment in found:
        request, response = _bodies(segment, row[0]) if query.bodies else (None, None)
        calls.append(call_from(row, segment, request, response, report_of(segment, row[0])))
    return calls


def _bodies(segment: SegmentFile, call_id: int) -> tuple[bytes | None, bytes | None]:
    return _bytes(segment, _REQUEST, REQUEST, call_id), _bytes(segment, _RESPONSE, RESPONSE, call_id)


def _bytes(segment: SegmentFile, sql: str, place: bytes, row_id: int) -> bytes | None:
    """The bytes a row has, wherever they are kept; None when it has none."""
    row = first_row(segment.connection(), sql, (row_id,))
    if row is None or row[0] is None:
        return None
    try:
        return segment.values.data(row[0], row[1], place, row_id)
    except BodyMissing:
        if not segment.path.exists() or first_row(segment.connection(), sql, (row_id,)) is None:  # pruned a moment ago
            return None
        raise


def _calls_in(segment: SegmentFile, query: CallQuery, low: int, high: int, limit: int) -> list[Row]:
    places = segment.places(query.place) if query.place else []
    if query.place and not places:
        return []
    conditions, values = ["id BETWEEN ? AND ?"], [low, high]
    outcomes = sorted(set(query.outcomes))
    if outcomes:
        conditions.append(f"outcome IN ({_marks(outcomes)})")
        values += map(int, outcomes)
    if query.direction is not None:
        conditions.append("direction = ?")
        values.append(int(query.direction))
    failed = bool(outcomes) and Outcome.OK not in outcomes
    if failed:
        conditions.append("outcome <> 0")
        places = places or _distinct(segment, "place", "call", "call_failed", "outcome <> 0")
    found: list[Row] = []

    def ask(index: str, more: list[str], parameters: list[int]) -> None:
        text = " AND ".join([*conditions, *more])
        sql = f"SELECT {CALL_COLUMNS} FROM call {index} WHERE {text} ORDER BY id DESC LIMIT ?"  # noqa: S608
        found.extend(all_rows(segment.connection(), sql, [*values, *parameters, limit]))

    if places:
        index = "INDEXED BY call_failed" if failed else "INDEXED BY call_place"
        for place in places:
            ask(index, ["place = ?"], [place])
    elif not failed:
        ask("NOT INDEXED", [], [])
    found.sort(key=lambda row: row[0], reverse=True)
    return found[:limit]


def counts(segments: Segments) -> dict[tuple[str, DeliveryState], int]:
    totals: Counter[tuple[str, DeliveryState]] = Counter()
    # Grouped by the first column only, so that the index gives the order and nothing has to be sorted.
    opened = "SELECT target, count(*), sum(state = 2) FROM delivery INDEXED BY delivery_open WHERE state IN (0, 2) GROUP BY target"
    parked = (
        "SELECT target, state, count(*) FROM delivery INDEXED BY delivery_parked "
        "WHERE state IN (4, 5, 6) GROUP BY state, target"
    )
    for segment in segments:
        for target, number, retrying in all_rows(segment.connection(), opened):
            name = segment.name(target)
            totals[name, DeliveryState.RETRYING] += retrying
            totals[name, DeliveryState.PENDING] += number - retrying
        for target, state, number in all_rows(segment.connection(), parked):
            totals[segment.name(target), DeliveryState(state)] += number
    return {key: number for key, number in totals.items() if number}


# -- feeding the queues ------------------------------------------------------------------------------------------


def open_targets(segments: Segments) -> dict[str, int]:
    totals: dict[str, int] = {}
    sql = "SELECT target, count(*) FROM delivery INDEXED BY delivery_open WHERE state IN (0, 2) GROUP BY target"
    for segment in segments:
        for target, number in all_rows(segment.connection(), sql):
            name = segment.name(target)
            totals[name] = totals.get(name, 0) + number
    return totals


def open_deliveries(
    segments: Segments, target: str, order_key: str | None, after: int, limit: int, max_bytes: int
) -> list[Delivery]:
    """Open deliveries with id > ``after`` in id order, with messages and payloads, of one ordering key or of all (None)."""
    found: list[Delivery] = []
    messages: dict[int, Message | None] = {}
    size = 0
    for segment in _from(segments, after):
        number = segment.number(target)
        if number is None:
            continue
        keys = [] if order_key is None else segment.values.tokens(order_key, ORDER_KEY)
        key = f"AND order_key IN ({_marks(keys)})" if keys else ""
        sql = (
            f"SELECT {DELIVERY_COLUMNS} FROM delivery INDEXED BY delivery_open "  # noqa: S608
            f"WHERE target = ? AND state IN (0, 2) AND id > ? {key} ORDER BY id LIMIT ?"
        )
        parameters = [number, after, *keys, limit - len(found)]
        for row in all_rows(segment.connection(), sql, parameters):
            delivery = delivery_from(row, segment)
            message_id = delivery.message_id
            if message_id not in messages:
                room = max_bytes - size if found else _HIGHEST
                message = _load_within(segments, message_id, room)
                if message is _TOO_LARGE:
                    return found
                messages[message_id] = message
                size += len(message.raw) if message else 0
            delivery.message = messages[message_id]
            delivery.payload = _bytes(segment, _FIXED, FIXED, delivery.id)
            found.append(delivery)
            if size >= max_bytes:
                return found
        if len(found) >= limit:
            return found
    return found


_TOO_LARGE = Message(0, 0, "", "", "", b"")


def _load_within(segments: Segments, message_id: int, room: int) -> Message | None:
    """A message unless it is larger than ``room`` bytes."""
    segment = segment_of(segments, message_id)
    size = scalar(segment.connection(), "SELECT size FROM message WHERE id = ?", (message_id,)) if segment else None
    if size is not None and size > room:
        return _TOO_LARGE
    return load_message(segments, message_id)


def open_children(segments: Segments, target: str) -> list[Delivery]:
    sql = (
        f"SELECT {DELIVERY_COLUMNS} FROM delivery INDEXED BY delivery_part "  # noqa: S608
        "WHERE target = ? AND parent <> 0 AND state IN (0, 2) ORDER BY id"
    )
    found: list[Delivery] = []
    for segment in segments:
        number = segment.number(target)
        if number is not None:
            found.extend(delivery_from(row, segment) for row in all_rows(segment.connection(), sql, (number,)))
    return found
