"""The catalog of a worker's folder: which segments there must be, decided changes, and the audit trail."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import apsw

from hub.audit import canonical, chain_hash
from hub.i18n import t
from hub.store.files import check_file, checked, corrupt, create_file, migrate, open_writable, quick_check, transaction
from hub.store.sql import all_rows, first_row, scalar
from hub.store.values import Values

__all__ = ["Catalog"]

_INTENT = b"intent.body"


class Catalog:
    """``catalog.db`` opened for writing; used by the writer's thread only."""

    #: States of a segment.
    PRESENT, REMOVING, LOST = range(3)

    def __init__(self, path: Path) -> None:
        """Open or create; raises ``StoreCorrupt`` or ``apsw.Error``."""
        self.path = path
        if not path.exists():
            create_file(path, "catalog")
        check_file(path)
        try:
            self.connection = open_writable(path)
        except (apsw.NotADBError, apsw.CorruptError) as error:
            raise corrupt(path, t(f"damaged: {error}", f"已损坏：{error}")) from error
        try:
            version = checked(path, "catalog", self.connection)
            migrate(path, "catalog", self.connection, version)
            quick_check(path, self.connection)
        except BaseException:
            self.connection.close()
            raise

    def close(self) -> None:
        self.connection.close()

    def reopen(self) -> None:
        """Start afresh after an error of the disk."""
        self.connection.close()
        self.connection = open_writable(self.path)

    # -- orderly shutdown ----------------------------------------------------------------------------------------

    @property
    def clean(self) -> bool:
        return bool(scalar(self.connection, "SELECT value FROM meta WHERE key = 'clean'"))

    @clean.setter
    def clean(self, value: bool) -> None:
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES ('clean', ?)", (int(value),))

    # -- segments ------------------------------------------------------------------------------------------------

    def segments(self) -> dict[int, int]:
        """First id of every segment -> its state, see the constants of this class."""
        return dict(all_rows(self.connection, "SELECT first_id, state FROM segment ORDER BY first_id"))

    def add_segment(self, first_id: int) -> None:
        """From now on there must be this segment."""
        self.connection.execute("INSERT OR REPLACE INTO segment VALUES (?, ?)", (first_id, self.PRESENT))

    def give_up(self, first_id: int) -> None:
        """An operator does without a segment that was lost; the ledger goes on saying so."""
        self.connection.execute("UPDATE segment SET state = ? WHERE first_id = ?", (self.LOST, first_id))

    def drop_segment(self, first_id: int) -> None:
        """The files are gone."""
        self.connection.execute("DELETE FROM segment WHERE first_id = ?", (first_id,))

    def begin_removal(self, first_id: int, ranges: list[tuple[int, int, int, int]]) -> None:
        """Decide that a segment goes, and keep which seq numbers and ids went with it."""
        with transaction(self.connection):
            self.connection.execute("UPDATE segment SET state = ? WHERE first_id = ?", (self.REMOVING, first_id))
            self.connection.executemany("INSERT OR REPLACE INTO pruned VALUES (?, ?, ?, ?)", ranges)

    def highest_pruned(self) -> tuple[int, int]:
        """Highest seq and id of what was pruned."""
        found = all_rows(self.connection, "SELECT coalesce(max(last_seq), 0), coalesce(max(last_id), 0) FROM pruned")
        return found[0][0], found[0][1]

    # -- decided changes -----------------------------------------------------------------------------------------

    def add_intent(self, body: bytes, audit: dict[str, Any] | None, values: Values) -> int:
        """Decide a change: from here on it will be made, whatever happens. The audit entry is part of the decision."""
        with transaction(self.connection):
            self.connection.execute("INSERT INTO intent (body) VALUES (?)", (b"" if values.sealing else body,))
            number = self.connection.last_insert_rowid()
            if values.sealer is not None and values.sealing:
                sealed = values.sealer.seal(body, 0, _INTENT, number)
                self.connection.execute("UPDATE intent SET body = ? WHERE id = ?", (sealed, number))
            if audit is not None:
                self._append(audit)
        return number

    def intents(self, values: Values) -> list[tuple[int, bytes]]:
        """Changes that are decided and perhaps not yet made everywhere, oldest first."""
        rows = all_rows(self.connection, "SELECT id, body FROM intent ORDER BY id")
        # One that is not sealed is a JSON object.
        return [(number, body if body[:1] == b"{" else values.opened(body, _INTENT, number)) for number, body in rows]

    def clear_intent(self, number: int) -> None:
        """The change is made everywhere. Needs no fsync: were it lost, the change would be found made already."""
        self.connection.execute("PRAGMA synchronous = NORMAL")
        try:
            self.connection.execute("DELETE FROM intent WHERE id = ?", (number,))
        finally:
            self.connection.execute("PRAGMA synchronous = FULL")

    # -- audit trail ---------------------------------------------------------------------------------------------

    def append_audit(self, entry: dict[str, Any]) -> None:
        with transaction(self.connection):
            self._append(entry)

    def trim_audit(self, seq: int) -> int:
        """Forget entries up to a number, which are archived, but never the last one; returns how many."""
        with transaction(self.connection):
            self.connection.execute("DELETE FROM audit WHERE seq <= ? AND seq < (SELECT max(seq) FROM audit)", (seq,))
            trimmed = self.connection.changes()
        return trimmed

    def _append(self, entry: dict[str, Any]) -> None:
        seq, previous = first_row(self.connection, "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1") or (0, "")
        text = canonical(entry)
        self.connection.execute(
            "INSERT INTO audit VALUES (?, ?, ?, ?)",
            (seq + 1, time.time_ns() // 1000, text, chain_hash(previous, text)),
        )
