"""Merging the runs of a business-key index (:mod:`hub.store.keys`) into large ones, in short steps.

The entries of the large run are written in their order, a range of values at a time, while nobody knows of it; then one
transaction puts it in the place of the small ones, whose entries are removed afterwards. What has been done so far is
in the table ``merging``, in the same transaction. Readers look at an index through a snapshot and see either the one or the others.
"""

from __future__ import annotations

import apsw
import orjson

from hub.store.derived import transaction
from hub.store.sql import all_rows, first_row, scalar

__all__ = ["merge_step", "new_run"]

#: Runs that make a large one.
MERGED_RUNS = 16
#: Entries that are moved in one step, about.
_ENTRIES = 60_000
# Stages, in place of a kind: every kind of an entry has a number from 1.
_SEEN, _REMOVE = -1, -2


def new_run(connection: apsw.Connection) -> int:
    """A number that no run has, not even one in the making or one that is being removed."""
    highest = "SELECT coalesce(max(n), 0) FROM (SELECT n FROM run UNION ALL SELECT target FROM merging)"
    return int(scalar(connection, highest)) + 1


def merge_step(connection: apsw.Connection, run: int, complete: bool) -> bool:
    """Do one step; returns whether there was anything to do.

    ``run``: messages of a full run. ``complete``: no more messages will come, so that all runs are merged.
    """
    under_way = "SELECT target, runs, kind, value FROM merging"
    if first_row(connection, under_way) is None and not _chosen(connection, run, complete):
        return False
    with transaction(connection):
        now = first_row(connection, under_way)  # another indexer may have been here
        if now is None:
            chosen = _chosen(connection, run, complete)
            if chosen:
                connection.execute("INSERT INTO merging VALUES (?, ?, 0, '')", (new_run(connection), _list(chosen)))
        elif now[2] == _REMOVE:
            _remove(connection, orjson.loads(now[1]))
        elif now[2] == _SEEN:
            _replace(connection, now[0], now[1])
        else:
            _copy(connection, *now)
    return True


def _chosen(connection: apsw.Connection, run: int, complete: bool) -> list[int]:
    """The runs to be merged next: the oldest small ones."""
    small = all_rows(connection, "SELECT n, messages FROM run WHERE merged = 0 ORDER BY first_id")
    full = [n for n, messages in small if complete or messages >= run][:MERGED_RUNS]
    return full if len(full) >= (2 if complete else MERGED_RUNS) else []


def _copy(connection: apsw.Connection, target: int, runs: str, kind: int, value: str) -> None:
    """Copy the entries after ``kind`` and ``value`` up to where one of the runs has its share of a step."""
    numbers = orjson.loads(runs)
    end = first_row(
        connection,
        "SELECT kind, value FROM entry WHERE run = ? AND (kind, value) > (?, ?) ORDER BY kind, value LIMIT 1 OFFSET ?",
        (numbers[len(numbers) // 2], kind, value, _ENTRIES // len(numbers)),
    )
    bound, values = "", [target, runs, kind, value]
    if end is not None:
        bound = " AND (kind, value) <= (?, ?)"
        values += end
    connection.execute(
        "INSERT OR IGNORE INTO entry SELECT ?, kind, value, id, envelope FROM entry "  # noqa: S608
        f"WHERE run IN (SELECT value FROM json_each(?)) AND (kind, value) > (?, ?){bound} ORDER BY kind, value, id",
        values,
    )
    connection.execute("UPDATE merging SET kind = ?, value = ?", end if end is not None else (_SEEN, ""))


def _replace(connection: apsw.Connection, target: int, runs: str) -> None:
    chosen = "(SELECT value FROM json_each(?))"
    connection.execute(
        f"INSERT OR IGNORE INTO seen SELECT ?, envelope, id FROM seen WHERE run IN {chosen} ORDER BY envelope, id",  # noqa: S608
        (target, runs),
    )
    connection.execute(
        "INSERT INTO run SELECT ?, min(first_id), max(last_id), sum(messages), 1 FROM run "  # noqa: S608
        f"WHERE n IN {chosen}",
        (target, runs),
    )
    connection.execute(f"DELETE FROM run WHERE n IN {chosen}", (runs,))  # noqa: S608
    connection.execute("UPDATE merging SET kind = ?", (_REMOVE,))


def _remove(connection: apsw.Connection, runs: list[int]) -> None:
    connection.execute("DELETE FROM entry WHERE run = ?", (runs[0],))
    connection.execute("DELETE FROM seen WHERE run = ?", (runs[0],))
    if len(runs) > 1:
        connection.execute("UPDATE merging SET runs = ?", (_list(runs[1:]),))
    else:
        connection.execute("DELETE FROM merging")


def _list(runs: list[int]) -> str:
    return orjson.dumps(runs).decode()
