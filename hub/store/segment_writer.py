"""Appending to one segment: the rows of a unit of work are collected by table and written in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import orjson

from hub.ids import id_text
from hub.message import Answer, Awaited, Binding, CallRecord, CheckRecord, Delivery, Message, Outcome
from hub.store.bodies import Claims
from hub.store.control_runs import ControlRuns
from hub.store.duplicates import ControlFilter
from hub.store.marks import sealed_mark
from hub.store.rows import (
    CONTROL_ID,
    CORRELATION,
    ERROR,
    FINDINGS,
    FIXED,
    INSERT,
    KEYS,
    ORDER_KEY,
    PARAMS,
    RAW,
    REASON,
    REPORT_COLUMNS,
    REQUEST,
    RESPONSE,
    UPDATE_DELIVERY,
    Row,
    stored_state,
)
from hub.store.sql import all_rows, first_row, scalar
from hub.store.values import Values

__all__ = ["SegmentWriteError", "SegmentWriter"]

_SUMMARY = ("messages", "seq_max", "received_max")
_SET_REPORT = (
    f"INSERT OR REPLACE INTO report ({REPORT_COLUMNS}) "  # noqa: S608
    f"SELECT {', '.join('?' * len(REPORT_COLUMNS.split(',')))} WHERE EXISTS (SELECT 1 FROM call WHERE id = ?)"
)


class SegmentWriteError(Exception):
    """The segment can't take this row; the text says which one and why (no content)."""


class SegmentWriter:
    """One segment file opened for writing; used by the writer's thread only."""

    def __init__(self, path: Path, first_id: int, connection: apsw.Connection, values: Values) -> None:
        self.path = path
        self.first_id = first_id
        self.connection = connection
        self.control = ControlRuns(connection, values)
        self.claims = Claims(values.bodies, first_id)
        self._values = values
        self._sealing = values.sealing
        self._marked_sealed = self.meta("sealed") is not None
        self._inline = -1 if values.sealing else values.claim_above  # bytes up to which a body is stored as it is
        self.filter: ControlFilter | None = None  # complete for everything put through this object
        self.messages = 0
        self.seq_max = 0
        self.received_max = 0
        self.sealed = False  # the summary in meta is valid and must be kept so
        self._names: dict[str, int] = dict(all_rows(connection, "SELECT text, id FROM name"))
        self._new_names: list[str] = []
        self._routes: dict[tuple[str, str], str] = {}
        self._before = (0, 0, 0)
        self._marked = (0, 0, 0, 0, 0)
        self._claimed = (0, 0)
        self._rows: dict[str, list[Row]] = {table: [] for table in INSERT}
        self._messages = self._rows["message"]
        self._payloads = self._rows["payload"]
        self._deliveries = self._rows["delivery"]
        self._fixed = self._rows["fixed"]
        self._calls = self._rows["call"]
        self._bodies = self._rows["body"]
        self._reports = self._rows["report"]
        self._answers = self._rows["answer"]
        self._awaited = self._rows["awaited"]
        self._updates: list[Row] = []

    # -- a unit of work ------------------------------------------------------------------------------------------

    def begin(self) -> None:
        if self._sealing and self._values.sealer is not None:
            self._values.sealer.renew()
        self.connection.execute("BEGIN IMMEDIATE")
        if self._marked_sealed and not self._sealing:
            self.connection.execute("DELETE FROM meta WHERE key = 'sealed'")
            self._marked_sealed = False
        self._before = (self.messages, self.seq_max, self.received_max)

    def commit(self) -> None:
        """Write what was collected and wait for the disk."""
        self.flush()
        sealed = self.sealed
        spilled = (self.control.due or sealed) and self.control.spill(everything=sealed)
        if self.sealed and self._before != (self.messages, self.seq_max, self.received_max):
            self._store_summary()
        self.claims.sync()
        self.connection.execute("COMMIT")
        self.claims.committed()
        if spilled:
            self.control.spilled(everything=sealed)
        self.control.committed()
        self._new_names.clear()

    def rollback(self) -> None:
        """Undo everything since ``begin``."""
        self.discard()
        self.claims.undo()
        self.control.undo()
        self.messages, self.seq_max, self.received_max = self._before
        for text in self._new_names:
            self._names.pop(text, None)
        self._routes.clear()
        self._new_names.clear()
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def mark(self) -> None:
        """A point within the unit to come back to."""
        self.flush()
        self.connection.execute("SAVEPOINT one")
        self._claimed = self.claims.state
        self._marked = (len(self._new_names), self.control.added, self.messages, self.seq_max, self.received_max)

    def undo(self) -> None:
        """Undo everything since ``mark``."""
        self.discard()
        self.claims.undo(self._claimed)
        self.connection.execute("ROLLBACK TO one")
        known, added, self.messages, self.seq_max, self.received_max = self._marked
        self.control.undo(added)
        for text in self._new_names[known:]:
            self._names.pop(text, None)
        del self._new_names[known:]
        self._routes.clear()

    def release(self) -> None:
        """Write what was collected since ``mark`` and forget the mark."""
        self.flush()
        self.connection.execute("RELEASE one")

    def discard(self) -> None:
        """Forget what was collected and not flushed."""
        for rows in self._rows.values():
            rows.clear()
        self._updates.clear()

    def flush(self) -> None:
        """Execute what was collected, within the transaction."""
        run = self.connection.executemany
        for table, rows in self._rows.items():
            if rows:
                run(INSERT[table], rows)
                rows.clear()
        updates = self._updates
        if updates:
            before = self.connection.total_changes()
            run(UPDATE_DELIVERY, updates)
            if self.connection.total_changes() - before != len(updates):
                raise SegmentWriteError("a delivery to be updated is not there")
            updates.clear()

    # -- rows ----------------------------------------------------------------------------------------------------

    def add_message(self, message: Message, seq: int, deliveries: Sequence[Delivery]) -> None:
        raw = message.raw
        names = self._names
        if len(deliveries) == 1:
            routed = self._routes.get((deliveries[0].route, deliveries[0].target)) or self._routed(deliveries[0])
        else:
            routed = ",".join([self._routed(delivery) for delivery in deliveries])
        message_id = message.id
        received_at = message.received_at
        content = message.content_hash
        control_id: str | bytes = message.control_id
        correlation: str | bytes = message.correlation
        keys: str | bytes = (text := orjson.dumps(message.keys).decode() if message.keys else "")
        if self._sealing:
            values = self._values
            content = values.hash_token(content)
            control_id = values.token(message.control_id, CONTROL_ID)
            correlation = values.token(message.correlation, CORRELATION)
            keys = values.sealed_text(text, message_id, KEYS, message_id)
        source = names.get(message.source) or self.name(message.source)
        if message.control_id and not message.conflict:
            self.control.add(source, message.control_id, message_id, content, received_at, seq, control_id)
        self._messages.append(
            (
                message_id,
                seq,
                received_at,
                source,
                names.get(message.type) or self.name(message.type),
                names.get(message.codec) or self.name(message.codec),
                control_id,
                content,
                len(raw),
                1 if message.conflict else 0,
                message.causation,
                correlation,
                routed,
                keys,
            )
        )
        if len(raw) <= self._inline:
            self._payloads.append((message_id, raw, 0))
        else:
            self._payloads.append((message_id, *self._values.stored(raw, message_id, RAW, message_id, self.claims)))
        if message.answer is not None:
            self._answers.append(self._answer_row(message_id, message.answer))
        self.messages += 1
        if seq > self.seq_max:
            self.seq_max = seq
        if received_at > self.received_max:
            self.received_max = received_at

    def add_delivery(self, delivery: Delivery) -> None:
        names = self._names
        order_key: str | bytes = delivery.order_key
        reason: str | bytes = delivery.reason
        if self._sealing:
            order_key = self._values.token(delivery.order_key, ORDER_KEY)
            reason = self._values.sealed_text(delivery.reason, delivery.message_id, REASON, delivery.id)
        self._deliveries.append(
            (
                delivery.id,
                delivery.message_id,
                names.get(delivery.route) or self.name(delivery.route),
                names.get(delivery.target) or self.name(delivery.target),
                stored_state(delivery),
                order_key,
                delivery.attempts,
                delivery.next_at,
                delivery.step,
                reason,
                delivery.parent,
                delivery.part,
                delivery.parts,
                delivery.updated_at,
            )
        )
        if delivery.payload is not None:
            self._fixed.append((delivery.id, *self._kept(delivery.payload, delivery.id, FIXED, delivery.id)))

    def add_call(self, call: CallRecord) -> None:
        names = self._names
        error: str | bytes = call.error
        params: str | bytes = call.params
        if self._sealing:
            error = self._values.sealed_text(call.error, call.message_id, ERROR, call.id)
            params = self._values.sealed_text(call.params, call.message_id, PARAMS, call.id)
        self._calls.append(
            (
                call.id,
                call.at,
                int(call.direction),
                names.get(call.place) or self.name(call.place),
                int(call.outcome),
                call.message_id,
                call.delivery_id,
                call.attempt,
                call.code,
                error,
                call.took_us,
                call.remote,
                params,
                names.get(call.mapping) or self.name(call.mapping),
                names.get(call.plugin) or self.name(call.plugin),
            )
        )
        if call.request is not None or call.response is not None:
            self._bodies.append(self._body(call))
        if call.check is not None and call.outcome is not Outcome.DUPLICATE:  # the first one has its report
            self._reports.append(self._report(call.id, call.message_id, call.place, call.check))
        if call.awaited is not None:
            self._awaited.append(self._awaited_row(call.awaited))

    def _body(self, call: CallRecord) -> Row:
        request, response = call.request, call.response
        forms = 0
        if request is not None:
            request, forms = self._kept(request, call.message_id, REQUEST, call.id)
        if response is not None:
            response, form = self._kept(response, call.message_id, RESPONSE, call.id)
            forms |= form << 2
        return (call.id, request, response, forms)

    def _kept(self, data: bytes, scope: int, place: bytes, row_id: int) -> tuple[bytes, int]:
        """Bytes as they are stored, with their form."""
        if len(data) <= self._inline:
            return data, 0
        return self._values.stored(data, scope, place, row_id, self.claims)

    def set_report(self, message_id: int, call_id: int, place: str, check: CheckRecord) -> None:
        """The report of a call that is here; nothing is done when the call has been pruned."""
        self.flush()
        self.connection.execute(_SET_REPORT, (*self._report(call_id, message_id, place, check), call_id))

    def bind(self, binding: Binding) -> None:
        """What a message of this segment answers. Nothing is done when it has been pruned."""
        self.flush()
        self.connection.execute(
            "UPDATE answer SET request = ?, delivery = ?, waiting = 0 WHERE id = ?",
            (binding.request, binding.delivery, binding.answer),
        )
        if binding.request:
            self.connection.execute("UPDATE message SET causation = ? WHERE id = ?", (binding.request, binding.answer))

    def set_answered(self, binding: Binding) -> None:
        """That a delivery of this segment has its answer. Nothing is done when it has been pruned."""
        self.flush()
        self.connection.execute(
            "UPDATE awaited SET answered = ? WHERE id = ? AND answered = 0", (binding.answer, binding.delivery)
        )

    def _answer_row(self, message_id: int, answer: Answer) -> Row:
        key = self._values.token(answer.key, CORRELATION)
        places = orjson.dumps(answer.places).decode()
        return (message_id, key, places, answer.request, answer.delivery, int(answer.waiting))

    def _awaited_row(self, awaited: Awaited) -> Row:
        return (
            awaited.delivery_id,
            awaited.message_id,
            self._names.get(awaited.place) or self.name(awaited.place),
            self._values.token(awaited.key, CORRELATION),
            awaited.at,
            awaited.due,
            awaited.answered,
        )

    def _report(self, call_id: int, message_id: int, place: str, check: CheckRecord) -> Row:
        findings = orjson.dumps(check.findings).decode() if check.findings else ""
        return (
            call_id,
            self._names.get(place) or self.name(place),
            int(check.verdict),
            check.errors,
            check.warnings,
            check.score,
            check.took_us,
            self._names.get(check.checks) or self.name(check.checks),
            self._values.sealed_text(findings, message_id, FINDINGS, call_id),
        )

    def add_update(self, row: Row, message_id: int) -> None:
        """The present state of a delivery, in the order of :data:`UPDATE_DELIVERY`."""
        self._updates.append(self._sealed_update(row, message_id))

    def _sealed_update(self, row: Row, message_id: int) -> Row:
        if not (self._sealing and row[4]):
            return row
        return (*row[:4], self._values.sealed_text(row[4], message_id, REASON, row[7]), *row[5:])

    def update_or_insert(self, delivery: Delivery, row: Row) -> None:
        """Record the state of a delivery that is not there, too: what happened must not be lost."""
        self.connection.execute(UPDATE_DELIVERY, self._sealed_update(row, delivery.message_id))
        if self.connection.changes() == 0:
            self.add_delivery(delivery)

    def set_payload(self, delivery: Delivery) -> None:
        """Fix the bytes to send for a delivery, or let it be mapped again (None)."""
        old = first_row(self.connection, "SELECT payload FROM fixed WHERE id = ? AND form & 2", (delivery.id,))
        if old is not None:
            self.claims.give_up(old[0])
        if delivery.payload is None:
            self.connection.execute("DELETE FROM fixed WHERE id = ?", (delivery.id,))
        else:
            kept = self._kept(delivery.payload, delivery.message_id, FIXED, delivery.id)
            self.connection.execute("INSERT OR REPLACE INTO fixed VALUES (?, ?, ?)", (delivery.id, *kept))

    def add_routed(self, delivery: Delivery) -> None:
        """Note at its message, which is in this segment, that a delivery was made later."""
        item = self._routed(delivery)
        self.connection.execute(
            "UPDATE message SET routed = CASE routed WHEN '' THEN ?1 ELSE routed || ',' || ?1 END WHERE id = ?2",
            (item, delivery.message_id),
        )
        if self.connection.changes() != 1:
            raise SegmentWriteError(f"message {id_text(delivery.message_id)} is not there")

    # -- names ---------------------------------------------------------------------------------------------------

    def name(self, text: str) -> int:
        """The number of a name, made on first use."""
        number = self._names.get(text)
        if number is None:
            number = len(self._names) + 1
            self.connection.execute("INSERT INTO name VALUES (?, ?)", (number, text))
            self._names[text] = number
            self._new_names.append(text)
        return number

    def _routed(self, delivery: Delivery) -> str:
        key = (delivery.route, delivery.target)
        item = self._routes.get(key)
        if item is None:
            item = self._routes[key] = f"{self.name(delivery.route)}>{self.name(delivery.target)}"
        return item

    # -- questions -----------------------------------------------------------------------------------------------

    def earlier(self, source: str, control_id: str, contents: list[bytes]) -> list[Row]:
        """Committed messages with this control id that may make another one a duplicate or a conflict.

        ``contents``: the forms in which the hash of that one may be stored.
        """
        number = self._names.get(source)
        if number is None:
            return []
        return self.control.earlier(number, control_id, contents)

    def has_message(self, message_id: int) -> bool:
        return scalar(self.connection, "SELECT 1 FROM message WHERE id = ?", (message_id,)) is not None

    def has_delivery(self, delivery_id: int) -> bool:
        return scalar(self.connection, "SELECT 1 FROM delivery WHERE id = ?", (delivery_id,)) is not None

    def set_mark(self, key: str, value: str) -> None:
        """Note how far a source has been read."""
        self.set_meta(key, sealed_mark(self._values, key, value))

    def set_meta(self, key: str, value: Any) -> None:
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def meta(self, key: str) -> Any:
        return scalar(self.connection, "SELECT value FROM meta WHERE key = ?", (key,))

    def mark_sealed(self) -> None:
        """Note that every row is sealed, or will be: the segment is empty, or has just been converted."""
        self.set_meta("sealed", 1)
        self._marked_sealed = True

    # -- beginning and end ---------------------------------------------------------------------------------------

    def load_summary(self, *, trust: bool) -> None:
        """Number of messages, highest seq and latest time: from meta when it can be trusted, else counted."""
        if trust and self.meta("messages") is not None:
            self.messages, self.seq_max, self.received_max = (int(self.meta(key)) for key in _SUMMARY)
            return
        row = first_row(
            self.connection,
            "SELECT count(*), coalesce(max(seq), 0), coalesce(max(received_at), 0), "
            "(SELECT coalesce(max(last_seq), 0) FROM pruned) FROM message",
        )
        assert row is not None  # noqa: S101 - an aggregate always has a row
        self.messages, self.seq_max, self.received_max = row[0], max(row[1], row[3]), row[2]

    def highest_id(self) -> int:
        """The highest id of any row."""
        tables = ("message", "delivery", "call")
        return max(int(scalar(self.connection, f"SELECT coalesce(max(id), 0) FROM {table}")) for table in tables)  # noqa: S608

    def seal(self) -> None:
        """Write the summary and the last run of control ids; from now on both are kept up to date."""
        self.connection.execute("BEGIN IMMEDIATE")
        self.control.spill()
        self._store_summary()
        self.connection.execute("COMMIT")
        self.control.spilled()
        self.sealed = True

    def _store_summary(self) -> None:
        values = zip(_SUMMARY, (self.messages, self.seq_max, self.received_max), strict=True)
        self.connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values))

    def close(self) -> None:
        self.connection.close()
