"""The running numbers of messages: runs without a gap."""

from __future__ import annotations

from collections.abc import Iterable

import apsw

from hub.store.sql import all_rows, first_row

__all__ = ["Run", "extend", "removed", "runs"]

#: (first seq, last seq, first id, last id) of messages whose seq numbers follow each other.
Run = tuple[int, int, int, int]

#: All numbers between the lowest and the highest occur, once each, when there are as many of them: one run.
_SUMMARY = "SELECT min(seq), max(seq), min(id), max(id), count(*), count(DISTINCT seq) FROM message"
_BREAKS = """
SELECT before, before_id, seq, id FROM (
    SELECT seq, id, lag(seq) OVER by_id AS before, lag(id) OVER by_id AS before_id FROM message WINDOW by_id AS (ORDER BY id))
WHERE before IS NULL OR seq <> before + 1
"""


def runs(connection: apsw.Connection) -> list[Run]:
    """The runs of a segment's messages in id order: one, unless messages were pruned, lost, or came late."""
    lowest, highest, first_id, last_id, messages, different = all_rows(connection, _SUMMARY)[0]
    if messages and messages == different == highest - lowest + 1:
        return [(lowest, highest, first_id, last_id)]
    breaks = all_rows(connection, _BREAKS)
    last = first_row(connection, "SELECT seq, id FROM message ORDER BY id DESC LIMIT 1")
    if last is None:
        return []
    ends = [(before, before_id) for before, before_id, _, _ in breaks[1:]] + [last]
    return [(seq, end[0], row_id, end[1]) for (_, _, seq, row_id), end in zip(breaks, ends, strict=True)]


def removed(connection: apsw.Connection) -> list[Run]:
    """What a segment, or the catalog, says was removed on purpose."""
    found = all_rows(connection, "SELECT first_seq, last_seq, first_id, last_id FROM pruned ORDER BY first_seq")
    return [(row[0], row[1], row[2], row[3]) for row in found]


def extend(connection: apsw.Connection, numbers: Iterable[tuple[int, int]]) -> None:
    """Note (seq, id) of messages being removed from a segment, in id order, as few runs."""
    for seq, row_id in numbers:
        connection.execute("UPDATE pruned SET last_seq = ?1, last_id = ?2 WHERE last_seq = ?1 - 1", (seq, row_id))
        if connection.changes() == 0:
            connection.execute("INSERT INTO pruned VALUES (?1, ?1, ?2, ?2)", (seq, row_id))
