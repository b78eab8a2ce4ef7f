"""What ``flows.db`` keeps: instances, what they still have to send, and what happened.

For one thread of one process (a lock of the folder sees to it); readers may be others. Where the store of messages is encrypted, bodies
are sealed with the same key; beside them stand ids, times, states, names of steps, and keyed hashes of business keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from hub.codecs.json_codec import JsonCodec
from hub.flows.events import Document as NewDocument
from hub.flows.events import Note, Sending
from hub.flows.file import FlowFile, flows_file
from hub.flows.state import Instance
from hub.ids import parse_id

__all__ = ["FlowStore", "Outgoing", "Row", "flows_file"]

_JSON = JsonCodec()
_OUTBOX = "seq, control, instance, state, message, head, body"


@dataclass(slots=True)
class Outgoing:
    """A message to hand in to the hub, or handed in already."""

    seq: int
    control: str
    instance: int
    state: int
    message: int
    step: str
    undo: bool
    target: str
    type: str
    route: str
    key: str
    body: bytes


@dataclass(slots=True)
class Row:
    """An instance as it is stored."""

    id: int
    instance: Instance


class FlowStore(FlowFile):
    """Instances, their events, what they send, and what happened, by tables of the file."""

    # -- definitions ---------------------------------------------------------------------------------------------

    def keep_definition(self, flow: str, version: str, raw: bytes, now: int) -> None:
        self.db.execute("INSERT OR IGNORE INTO definition VALUES (?, ?, ?, ?)", (version, flow, now, raw))

    def open_definitions(self) -> list[tuple[str, str, bytes]]:
        """(version, flow, bytes) of the versions by which something still runs, or is still to be handed in."""
        query = (
            "SELECT version, flow, raw FROM definition WHERE version IN (SELECT version FROM instance WHERE ended_at = 0) "
            "OR version IN (SELECT version FROM instance WHERE id IN (SELECT instance FROM outbox WHERE state = 0))"
        )
        return [(str(version), str(flow), bytes(raw)) for version, flow, raw in self.db.execute(query)]

    def flows(self) -> list[str]:
        """Flows of which there are instances."""
        return [str(row[0]) for row in self.db.execute("SELECT DISTINCT flow FROM instance")]

    def last_definition(self, flow: str) -> bytes | None:
        """The newest version kept of a flow."""
        row = self.db.execute("SELECT raw FROM definition WHERE flow = ? ORDER BY at DESC LIMIT 1", (flow,)).fetchone()
        return None if row is None else bytes(row[0])

    def definition(self, version: str) -> tuple[str, bytes] | None:
        row = self.db.execute("SELECT flow, raw FROM definition WHERE version = ?", (version,)).fetchone()
        return None if row is None else (str(row[0]), bytes(row[1]))

    # -- instances -----------------------------------------------------------------------------------------------

    def instance(self, number: int) -> Row | None:
        row = self.db.execute("SELECT id, body FROM instance WHERE id = ?", (number,)).fetchone()
        return None if row is None else self._row(row)

    def _row(self, row: Any) -> Row:
        return Row(int(row[0]), Instance.load(self._opened(bytes(row[1]), b"flow.state", int(row[0]))))

    def running(self, flow: str, key: str) -> Row | None:
        query = "SELECT id, body FROM instance WHERE flow = ? AND lookup = ? AND ended_at = 0"
        row = self.db.execute(query, (flow, self.lookup(flow, key))).fetchone()
        return None if row is None else self._row(row)

    def latest(self, flow: str, key: str) -> Row | None:
        query = "SELECT id, body FROM instance WHERE flow = ? AND lookup = ? ORDER BY id DESC LIMIT 1"
        row = self.db.execute(query, (flow, self.lookup(flow, key))).fetchone()
        return None if row is None else self._row(row)

    def put(self, one: Instance) -> None:
        number = parse_id(one.id)
        body = self._stored(one.dump(), b"flow.state", number)
        self.db.execute(
            "INSERT INTO instance VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
            "state = excluded.state, ended_at = excluded.ended_at, due = excluded.due, body = excluded.body, version = excluded.version",
            (
                number,
                one.flow,
                one.version,
                self.lookup(one.flow, one.key),
                one.state,
                one.started_at,
                one.ended_at,
                one.due,
                body,
            ),
        )

    def due(self, now: int, limit: int) -> list[int]:
        query = "SELECT id FROM instance WHERE due > 0 AND due <= ? ORDER BY due LIMIT ?"
        return [int(row[0]) for row in self.db.execute(query, (now, limit))]

    def postpone(self, number: int, due: int) -> None:
        """Look at an instance later."""
        self.db.execute("UPDATE instance SET due = ? WHERE id = ?", (due, number))

    def next_due(self) -> int:
        """0: nothing is timed."""
        return int(self._one("SELECT min(due) FROM instance WHERE due > 0") or 0)

    # -- events --------------------------------------------------------------------------------------------------

    def seen(self, event: str) -> int | None:
        """The instance an event belonged to; None: it is new."""
        found = self._one("SELECT instance FROM event WHERE id = ?", (event,))
        return None if found is None else int(found)

    def note_seen(self, event: str, instance: int, now: int) -> None:
        self.db.execute("INSERT OR IGNORE INTO event VALUES (?, ?, ?)", (event, instance, now))

    def keep_early(self, flow: str, key: str, event: str, pack: dict[str, Any], until: int) -> None:
        seq = self._next()
        body = self._stored(_JSON.encode(pack), b"flow.early", seq)
        row = (seq, flow, self.lookup(flow, key), event, until, body)
        self.db.execute("INSERT OR IGNORE INTO early VALUES (?, ?, ?, ?, ?, ?)", row)

    def early(self, flow: str, key: str) -> tuple[int, int]:
        """How many messages wait for an instance that has not begun, and their bytes."""
        query = "SELECT count(*), coalesce(sum(length(body)), 0) FROM early WHERE flow = ? AND lookup = ?"
        ((number, size),) = self.db.execute(query, (flow, self.lookup(flow, key)))
        return int(number), int(size)

    def take_early(self, flow: str, key: str, instance: int) -> list[dict[str, Any]]:
        """What came before its instance, oldest first; it is the instance's from now on."""
        query = "SELECT seq, event, body FROM early WHERE flow = ? AND lookup = ? ORDER BY seq"
        rows = list(self.db.execute(query, (flow, self.lookup(flow, key))))
        self.db.executemany("DELETE FROM early WHERE seq = ?", [(row[0],) for row in rows])
        self.db.executemany("UPDATE event SET instance = ? WHERE id = ?", [(instance, row[1]) for row in rows])
        return [_JSON.decode(self._opened(bytes(body), b"flow.early", int(seq))) for seq, _, body in rows]

    def expired(self, now: int) -> list[dict[str, Any]]:
        """What nobody has asked for in time; it is forgotten here."""
        rows = list(self.db.execute("SELECT seq, event, body FROM early WHERE until <= ? LIMIT 200", (now,)))
        self.db.executemany("DELETE FROM early WHERE seq = ?", [(row[0],) for row in rows])
        self.db.executemany("DELETE FROM event WHERE id = ?", [(row[1],) for row in rows])
        return [_JSON.decode(self._opened(bytes(body), b"flow.early", int(seq))) for seq, _, body in rows]

    # -- what is to be sent --------------------------------------------------------------------------------------

    def enqueue(self, instance: int, key: str, sendings: Sequence[Sending], now: int) -> None:
        for each in sendings:
            seq = self._next()
            head = {
                "step": each.step,
                "undo": each.undo,
                "target": each.target,
                "type": each.type,
                "route": each.route,
            }
            said = _JSON.encode({"key": key}) + b"\n" + each.body
            body = self._stored(said, b"flow.outbox", seq)
            row = (seq, each.control_id, instance, 0, 0, now, orjson.dumps(head).decode(), body)
            self.db.execute("INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def outbox(self, state: int, after: int, limit: int) -> list[Outgoing]:
        query = f"SELECT {_OUTBOX} FROM outbox WHERE state = ? AND seq > ? ORDER BY seq LIMIT ?"  # noqa: S608
        return [self._outgoing(row) for row in self.db.execute(query, (state, after, limit))]

    def sent(self, *, control: str = "", message: int = 0) -> Outgoing | None:
        """By control id, or by the message it became."""
        column, value = ("control", control) if control else ("message", message)
        row = self.db.execute(f"SELECT {_OUTBOX} FROM outbox WHERE {column} = ?", (value,)).fetchone()  # noqa: S608
        return None if row is None else self._outgoing(row)

    def sent_by(self, instance: int) -> list[Outgoing]:
        query = f"SELECT {_OUTBOX} FROM outbox WHERE instance = ? ORDER BY seq"  # noqa: S608
        return [self._outgoing(row) for row in self.db.execute(query, (instance,))]

    def _outgoing(self, row: Any) -> Outgoing:
        seq, control, instance, state, message, head, body = row
        said = self._opened(bytes(body), b"flow.outbox", int(seq)) if body is not None else b"{}\n"
        first, _, data = said.partition(b"\n")
        key = str(_JSON.decode(first).get("key", ""))
        return Outgoing(
            int(seq), control, int(instance), int(state), int(message), **orjson.loads(head), key=key, body=data
        )

    def mark_sent(self, seq: int, message: int) -> None:
        """It is a message of the hub; its body is kept there."""
        self.db.execute(
            "UPDATE outbox SET state = max(state, 1), message = ?, body = NULL WHERE seq = ?", (message, seq)
        )

    def mark_done(self, control: str) -> None:
        self.db.execute("UPDATE outbox SET state = 2, body = NULL WHERE control = ?", (control,))

    # -- what happened -------------------------------------------------------------------------------------------

    def add_notes(self, instance: int, notes: Sequence[Note], now: int) -> None:
        for each in notes:
            seq = self._next()
            body = self._stored(each.text.encode(), b"flow.note", seq)
            row = (seq, instance, now, each.what, each.step, each.message_id, body)
            self.db.execute("INSERT INTO note VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def add_documents(self, instance: int, documents: Sequence[NewDocument], now: int) -> None:
        for each in documents:
            seq = self._next()
            body = self._stored(_JSON.encode(each.data), b"flow.document", seq)
            row = (seq, instance, each.name, each.version, now, each.message_id, body)
            self.db.execute("INSERT INTO document VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    # -- questions -----------------------------------------------------------------------------------------------

    def notes(self, instance: int) -> list[dict[str, Any]]:
        query = "SELECT seq, at, what, step, message, body FROM note WHERE instance = ? ORDER BY seq"
        return [
            {
                "at": at,
                "what": what,
                "step": step,
                "message": message,
                "text": self._opened(bytes(body), b"flow.note", int(seq)).decode(),
            }
            for seq, at, what, step, message, body in self.db.execute(query, (instance,))
        ]

    def documents(self, instance: int) -> list[dict[str, Any]]:
        query = "SELECT seq, name, version, at, message, body FROM document WHERE instance = ? ORDER BY seq"
        return [
            {
                "name": name,
                "version": version,
                "at": at,
                "message": message,
                "data": _JSON.decode(self._opened(bytes(body), b"flow.document", int(seq))),
            }
            for seq, name, version, at, message, body in self.db.execute(query, (instance,))
        ]

    def instances(
        self, *, flow: str = "", state: str = "", key: str = "", before: int = 0, limit: int = 50
    ) -> list[Row]:
        """Newest first. ``key`` needs ``flow``."""
        where, values = ["1"], []
        if flow:
            where.append("flow = ?")
            values.append(flow)
        if state == "open":
            where.append("ended_at = 0")
        elif state:
            where.append("state = ?")
            values.append(state)
        if key:
            where.append("lookup = ?")
            values.append(self.lookup(flow, key))  # type: ignore[arg-type]
        if before:
            where.append("id < ?")
            values.append(before)  # type: ignore[arg-type]
        query = f"SELECT id, body FROM instance WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?"  # noqa: S608
        return [self._row(row) for row in self.db.execute(query, (*values, limit))]

    def counts(self) -> list[tuple[str, str, int]]:
        """(flow, state, number)"""
        query = "SELECT flow, state, count(*) FROM instance GROUP BY flow, state ORDER BY flow, state"
        return [(str(f), str(s), int(n)) for f, s, n in self.db.execute(query)]

    # -- housekeeping --------------------------------------------------------------------------------------------

    def prune(self, flow: str, before: int, limit: int = 200) -> int:
        """Remove some of what has ended before a time, with everything that belongs to it; returns how many instances.

        One stays while something it sent is not handed in: its last message would be lost.
        """
        query = (
            "SELECT id FROM instance WHERE flow = ? AND ended_at > 0 AND ended_at < ? "
            "AND id NOT IN (SELECT instance FROM outbox WHERE state = 0) LIMIT ?"
        )
        gone = [(int(row[0]),) for row in self.db.execute(query, (flow, before, limit))]
        if not gone:
            return 0
        for table in ("note", "document", "outbox", "event"):
            self.db.executemany(f"DELETE FROM {table} WHERE instance = ?", gone)  # noqa: S608
        self.db.executemany("DELETE FROM instance WHERE id = ?", gone)
        self.db.execute("DELETE FROM definition WHERE version NOT IN (SELECT version FROM instance)")
        return len(gone)
