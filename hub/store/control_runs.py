"""The control ids of a segment, kept in a way that writes nothing to random places.

An index of the messages by control id would be written at another leaf for every message: more bytes than everything else in
a commit. So the newest ids are kept in memory and go to the table ``control`` a few thousand at a time, sorted, as a *run*: a part of
the table that is written from its beginning to its end. Those that are in no run yet are read from the messages when the segment is
opened; ``meta`` tells which (``control_upto``, ``control_seq``).

Messages that conflict with an earlier one are not in the runs but in an index of their own: a sender that numbers all its messages
alike would make the runs slow to ask.
"""

from __future__ import annotations

import apsw

from hub.ids import first_id_at, millis_of
from hub.store.rows import CONTROL_ID, Row
from hub.store.sql import all_rows, scalar
from hub.store.values import Values

__all__ = ["RUN", "ControlRuns", "find_earlier"]

#: Control ids kept in memory before they become a run. Writing so many takes some three milliseconds; asking a million messages asks 250 runs.
RUN = 4_096
#: How much later than others a message with a lower id may be committed, ms.
_LATE_MS = 10_000
#: Earlier messages of one control id that are looked at. More than one does not conflict only where detection was off for a while.
_MOST = 16

#: Those in the runs, the newest conflicting one, and the conflicting one with the same bytes.
_EARLIER = f"""
WITH RECURSIVE run(n) AS (SELECT max(run) FROM control UNION ALL SELECT n - 1 FROM run WHERE n > 1)
SELECT id, content_hash, received_at FROM (
    SELECT message.id, content_hash, received_at FROM run
    CROSS JOIN control ON control.run = run.n AND control.control_id = ?2 AND control.source = ?1
    CROSS JOIN message ON message.id = control.id LIMIT {_MOST})
UNION ALL SELECT id, content_hash, received_at FROM (
    SELECT id, content_hash, received_at FROM message INDEXED BY message_conflicts
    WHERE source = ?1 AND control_id = ?2 AND conflict = 1 ORDER BY id DESC LIMIT 1)
UNION ALL SELECT id, content_hash, received_at FROM (
    SELECT id, content_hash, received_at FROM message INDEXED BY message_conflict
    WHERE source = ?1 AND control_id = ?2 AND content_hash = ?3 AND conflict = 1 ORDER BY id DESC LIMIT 1)
"""  # noqa: S608 - nothing but a constant is put in
_IN_NO_RUN = """
SELECT source, control_id, id, content_hash, received_at, seq FROM message
WHERE id >= ? AND seq > ? AND control_id <> '' AND conflict = 0 ORDER BY id
"""


def find_earlier(
    connection: apsw.Connection, values: Values, source: int, control_id: str, contents: list[bytes]
) -> list[Row]:
    """(id, content hash, received at) of what the runs and the indexes of a segment hold, whether it is sealed or not.

    ``contents``: the forms in which the hash asked for may be stored.
    """
    found: list[Row] = []
    for form, content in zip(values.tokens(control_id, CONTROL_ID), contents, strict=True):
        found += all_rows(connection, _EARLIER, (source, form, content))
    return found


class ControlRuns:
    """The control ids of one segment that is open for writing; used by the writer's thread only.

    What is added counts once the transaction is committed.
    """

    __slots__ = ("_added", "_connection", "_count", "_recent", "_seq", "_upto", "_values")

    def __init__(self, connection: apsw.Connection, values: Values) -> None:
        self._connection = connection
        self._values = values
        #: (source, control id) -> (id, content hash, received at, control id as it is stored), …
        self._recent: dict[tuple[int, str], list[Row]] = {}
        self._count = 0
        # Highest id and number in memory or in a run.
        self._upto, self._seq = self._meta("control_upto"), self._meta("control_seq")
        start = first_id_at(millis_of(self._upto) - _LATE_MS) if self._upto else 0
        self._added: list[tuple[int, str, int, bytes, int, int, str | bytes]] = [
            (row[0], values.from_token(row[1], CONTROL_ID), *row[2:], row[1])
            for row in all_rows(connection, _IN_NO_RUN, (start, self._seq))
        ]
        self.committed()

    def _meta(self, key: str) -> int:
        return int(scalar(self._connection, "SELECT value FROM meta WHERE key = ?", (key,)) or 0)

    # -- a transaction -------------------------------------------------------------------------------------------

    def add(
        self,
        source: int,
        control_id: str,
        row_id: int,
        content: bytes,
        received_at: int,
        seq: int,
        stored: str | bytes,
    ) -> None:
        """A message that does not conflict is being written; ``stored``: its control id as it is stored."""
        self._added.append((source, control_id, row_id, content, received_at, seq, stored))

    @property
    def added(self) -> int:
        """How many messages the transaction has added, for :meth:`undo`."""
        return len(self._added)

    def undo(self, kept: int = 0) -> None:
        """Forget what the transaction added after the first ``kept``."""
        del self._added[kept:]

    def committed(self) -> None:
        """The transaction is on the disk."""
        recent = self._recent
        for source, control_id, row_id, content, received_at, seq, stored in self._added:
            row = (row_id, content, received_at, stored)
            known = recent.get((source, control_id))
            if known is None:
                recent[source, control_id] = [row]
            else:
                known.append(row)
                del known[:-_MOST]
            if row_id > self._upto:
                self._upto = row_id
            if seq > self._seq:
                self._seq = seq
        self._count += len(self._added)
        self._added.clear()

    @property
    def due(self) -> bool:
        """There are enough for a run."""
        return self._count >= RUN

    def spill(self, *, everything: bool = False) -> bool:
        """Write a run of what was committed so far, within the transaction; ``everything``: and of what the transaction adds.

        Call :meth:`spilled` after the commit if this returns True.
        """
        rows = [(row[3], source, row[0]) for (source, _), known in self._recent.items() for row in known]
        upto, seq = self._upto, self._seq
        if everything:
            for source, _, row_id, _, _, number_of, stored in self._added:
                rows.append((stored, source, row_id))
                upto, seq = max(upto, row_id), max(seq, number_of)
        if not rows:
            return False
        number = int(scalar(self._connection, "SELECT max(run) FROM control") or 0) + 1
        try:
            rows.sort()
        except TypeError:  # a segment that was plain until just now has both kinds; bytes go after texts
            rows.sort(key=lambda row: (isinstance(row[0], bytes), row))
        self._connection.executemany("INSERT INTO control VALUES (?, ?, ?, ?)", [(number, *row) for row in rows])
        self._connection.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)", [("control_upto", upto), ("control_seq", seq)]
        )
        return True

    def spilled(self, *, everything: bool = False) -> None:
        """The run is on the disk."""
        self._recent.clear()
        self._count = 0
        if everything:
            for _, _, row_id, _, _, seq, _ in self._added:
                self._upto, self._seq = max(self._upto, row_id), max(self._seq, seq)
            self._added.clear()

    # -- questions -----------------------------------------------------------------------------------------------

    def earlier(self, source: int, control_id: str, contents: list[bytes]) -> list[Row]:
        """Committed messages with this control id that may make another one a duplicate or a conflict."""
        known = self._recent.get((source, control_id), [])
        if any(row[1] in contents for row in known):
            return known
        return known + find_earlier(self._connection, self._values, source, control_id, contents)

    def forget(self, row_ids: list[int]) -> None:
        """These messages are removed."""
        gone = set(row_ids)
        for known in self._recent.values():
            if any(row[0] in gone for row in known):
                known[:] = [row for row in known if row[0] not in gone]
