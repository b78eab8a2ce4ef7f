"""Marks: how far a source that is read rather than listened to has been read.

A mark is a row of ``meta`` in the segment its messages went to, so that it is committed with them. The newest of all segments
holds; its value begins with an id made when it was noted, which tells.
"""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from hub.ids import id_text, parse_id
from hub.store.segment import SegmentFile
from hub.store.sql import all_rows, scalar
from hub.store.values import Values

__all__ = ["carry_marks", "find_mark", "marks_key", "marks_value", "sealed_mark"]

_PREFIX = "mark:"
_DIGITS = len(id_text(0))
_PLACE = b"meta."


def marks_key(name: str) -> str:
    """The key of ``meta`` under which a mark stands."""
    return _PREFIX + name


def marks_value(noted: int, value: str) -> str:
    """A mark as it is stored; of two, the one that compares higher is the newer one."""
    return id_text(noted) + value


def find_mark(segments: Sequence[SegmentFile], name: str) -> tuple[int, str]:
    """The value noted last and the id made then; (0, "") when there is none."""
    sql = "SELECT value FROM meta WHERE key = ?"
    key = marks_key(name)
    found = [(scalar(segment.connection(), sql, (key,)), segment) for segment in segments]
    noted = [(_opened(segment.values, key, value)) for value, segment in found if value is not None]
    last = max(noted, default="")
    return (parse_id(last[:_DIGITS]), last[_DIGITS:]) if last else (0, "")


def sealed_mark(values: Values, key: str, value: str) -> str | bytes:
    """A mark as it is stored, sealed or not: a cursor may name files or persons."""
    sealed = values.sealed_text(value, 0, _PLACE + key.encode(), 0)
    # The id in front stays readable: of two marks, the one that compares higher is the newer one.
    return sealed if isinstance(sealed, str) else value[:_DIGITS].encode() + sealed


def _opened(values: Values, key: str, value: str | bytes) -> str:
    return value if isinstance(value, str) else values.text(value[_DIGITS:], _PLACE + key.encode(), 0)


def carry_marks(old: apsw.Connection, newest: apsw.Connection) -> None:
    """Keep the marks of a segment that is about to be removed; one transaction in the newest."""
    # ";" follows ":" in ASCII: the range of every key that begins with the prefix.
    marks = all_rows(old, "SELECT key, value FROM meta WHERE key >= 'mark:' AND key < 'mark;'")
    if marks:
        sql = (
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = "
            "iif(CAST(value AS BLOB) > CAST(excluded.value AS BLOB), value, excluded.value)"
        )
        with newest:
            newest.executemany(sql, marks)
