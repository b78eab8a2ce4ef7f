"""Names and deliveries of one segment, as searching needs them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apsw
import orjson

from hub.message import DeliveryState
from hub.store.keys import after_prefix
from hub.store.question import ID_END, Question
from hub.store.segment import SegmentFile
from hub.store.sql import all_rows, scalar

__all__ = ["Deliveries", "Guests", "Names", "json_list"]

# Word for word the conditions of the partial indexes in hub.store.schema, or SQLite does not use them.
_PARKED = "d.state IN (4, 5, 6)"
_OPEN = "d.state IN (0, 2)"
_CONDITION = {
    DeliveryState.DEAD: _PARKED,
    DeliveryState.HELD: _PARKED,
    DeliveryState.SKIPPED: _PARKED,
    DeliveryState.PENDING: _OPEN,
    DeliveryState.RETRYING: _OPEN,
}
_OPEN_TARGETS = f"""
WITH RECURSIVE open (target) AS (
    SELECT min(d.target) FROM delivery d WHERE {_OPEN}
    UNION ALL
    SELECT (SELECT min(d.target) FROM delivery d WHERE {_OPEN} AND d.target > open.target) FROM open
    WHERE open.target IS NOT NULL
) SELECT target FROM open WHERE target IS NOT NULL
"""  # noqa: S608


def json_list(numbers: Iterable[int]) -> str:
    """Numbers as a parameter for ``IN (SELECT value FROM json_each(?))``."""
    return orjson.dumps(list(numbers)).decode()


class Names:
    """The names of one segment: numbers for texts and back."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._texts: dict[int, str] = {}

    def text(self, number: int) -> str:
        """The name with a number; empty when there is none."""
        found = self._texts.get(number)
        if found is None:
            found = self._texts[number] = (
                scalar(self._connection, "SELECT text FROM name WHERE id = ?", (number,)) or ""
            )
        return found

    def exactly(self, text: str) -> list[int]:
        """Numbers of a name: one, or none."""
        return [row[0] for row in all_rows(self._connection, "SELECT id FROM name WHERE text = ?", (text,))]

    def beginning(self, prefix: str) -> list[int]:
        """Numbers of the names with a prefix."""
        end = after_prefix(prefix)
        if end is None:
            return []
        sql = "SELECT id FROM name WHERE text >= ? AND text < ?"
        return [row[0] for row in all_rows(self._connection, sql, (prefix, end))]

    def places(self, place: str) -> list[int]:
        """Numbers of a ``system/interface``, or of every interface of a system."""
        return self.exactly(place) if "/" in place else self.beginning(place + "/")


class Deliveries:
    """Which messages have a delivery, kept in this segment, that meets the conditions on state, target and route."""

    def __init__(self, connection: apsw.Connection, question: Question) -> None:
        self._connection = connection
        self.names = Names(connection)
        self._state = question.state
        self.targets = self.names.places(question.target) if question.target else None
        self.routes = self.names.exactly(question.route) if question.route else None
        # A segment that does not even know the target or the route has no such delivery.
        self._possible = self.targets != [] and self.routes != []

    @property
    def state_indexed(self) -> bool:
        """Whether the deliveries in the state asked for can be listed without looking at all others."""
        return self._state in _CONDITION

    @property
    def by_route(self) -> bool:
        """Whether there is a condition that routing decides: on target or route."""
        return self.targets is not None or self.routes is not None

    def _where(self) -> tuple[str, list[Any]]:
        clauses: list[str] = ["1"]
        values: list[Any] = []
        if self._state is not None:
            clauses.append("d.state = ?")
            values.append(int(self._state))
        for column, numbers in (("target", self.targets), ("route", self.routes)):
            if numbers is not None:
                clauses.append(f"d.{column} IN (SELECT value FROM json_each(?))")  # noqa: S608
                values.append(json_list(numbers))
        return " AND ".join(clauses), values

    def fits_routed(self, routed: str) -> bool:
        """Whether routing made such a delivery, whatever became of it; ``routed`` is the column of that name."""
        for pair in routed.split(",") if routed else ():
            route, _, target = pair.partition(">")
            if (self.targets is None or int(target) in self.targets) and (
                self.routes is None or int(route) in self.routes
            ):
                return True
        return False

    def messages(self, low: int, high: int) -> Iterator[int]:
        """All such messages with ``low <= id < high``, newest first, looking at each message's deliveries in turn."""
        if self._possible:
            where, values = self._where()
            sql = (
                "SELECT DISTINCT d.message_id FROM delivery d WHERE d.message_id >= ? AND d.message_id < ? "  # noqa: S608
                f"AND {where} ORDER BY d.message_id DESC"
            )
            for (message_id,) in self._connection.execute(sql, (low, high, *values)):
                yield message_id

    def among(self, ids: Sequence[int]) -> list[int]:
        """Those of the messages."""
        if not self._possible:
            return []
        where, values = self._where()
        sql = (
            "SELECT DISTINCT d.message_id FROM delivery d "  # noqa: S608
            f"WHERE d.message_id IN (SELECT value FROM json_each(?)) AND {where}"
        )
        return [row[0] for row in all_rows(self._connection, sql, (json_list(ids), *values))]

    def unrouted(self, after: int) -> list[int]:
        """Messages for which an operator, not a route, made a delivery with id > ``after``."""
        clause = ""
        values: list[Any] = [after]
        if self.targets is not None:
            clause = " AND target IN (SELECT value FROM json_each(?))"
            values.append(json_list(self.targets))
        sql = (
            "SELECT message_id FROM delivery WHERE id > ? "  # noqa: S608
            f"AND route = (SELECT id FROM name WHERE text = ''){clause}"
        )
        return [row[0] for row in all_rows(self._connection, sql, values)]

    # -- by state --------------------------------------------------------------------------------------------------

    def count_in_state(self, most: int) -> int:
        """How many deliveries there are in the state asked for, counted up to ``most``."""
        total = 0
        for sql, values in self._in_state("1", "", []):
            total += scalar(self._connection, f"SELECT count(*) FROM ({sql} LIMIT ?)", (*values, most))  # noqa: S608
        return min(total, most)

    def in_state(self, low: int, high: int, where: str, values: Sequence[Any]) -> Iterator[int]:
        """Messages with ``low <= id < high`` that have a delivery in the state asked for, newest first.

        ``where``: a further condition on the message ``m``. The indexes list deliveries in order of their own id. A delivery
        is younger than its message; so, once the list has come down to a delivery, all messages above it are known.
        """
        clause = " AND d.id >= ? AND d.message_id >= ? AND d.message_id < ?"
        bounds: list[Any] = [low, low, high]
        if where:
            clause += f" AND EXISTS (SELECT 1 FROM message m WHERE m.id = d.message_id AND {where})"  # noqa: S608
            bounds += values
        cursors = [
            self._connection.execute(f"{sql} ORDER BY d.id DESC", parameters)
            for sql, parameters in self._in_state("d.id, d.message_id", clause, bounds)
        ]
        waiting: list[int] = []
        last = 0
        for delivery_id, message_id in heapq.merge(*cursors, reverse=True):
            while waiting and -waiting[0] >= delivery_id:
                found = -heapq.heappop(waiting)
                if found != last:
                    yield found
                last = found
            heapq.heappush(waiting, -message_id)
        for found in sorted({-negative for negative in waiting}, reverse=True):
            if found != last:
                yield found

    def _in_state(self, columns: str, clause: str, bounds: list[Any]) -> list[tuple[str, list[Any]]]:
        """One statement for parked deliveries; one for each target for open ones, whose index begins with the target."""
        if self._state is None or not self._possible:
            return []
        condition = _CONDITION[self._state]
        where, values = self._where()
        sql = f"SELECT {columns} FROM delivery d WHERE {condition} AND {where}{clause}"  # noqa: S608
        values += bounds
        if condition is _PARKED:
            return [(sql, values)]
        targets = self.targets
        if targets is None:
            targets = [row[0] for row in all_rows(self._connection, _OPEN_TARGETS)]
        return [(f"{sql} AND d.target = ?", [*values, target]) for target in targets]


class Guests:
    """The deliveries a segment keeps for messages of older ones: made by operators, or split when it had begun."""

    def __init__(self, segment: SegmentFile, question: Question) -> None:
        self._segment = segment
        self._question = question
        self._lowest: int | None = None
        self._deliveries: Deliveries | None = None

    @property
    def lowest(self) -> int:
        """No message with a lower id has a delivery here."""
        if self._lowest is None:
            try:
                lowest = scalar(self.connection, "SELECT min(message_id) FROM delivery")
            except apsw.CantOpenError:
                if self._segment.path.exists():
                    raise
                lowest = None  # it was pruned a moment ago
            self._lowest = ID_END if lowest is None else int(lowest)
        return self._lowest

    @property
    def connection(self) -> apsw.Connection:
        return self._segment.connection()

    @property
    def deliveries(self) -> Deliveries:
        if self._deliveries is None:
            self._deliveries = Deliveries(self.connection, self._question)
        return self._deliveries
