"""Sealing what was stored before encryption was switched on, while the hub is stopped.

Segment by segment, a few hundred rows a transaction. Every row tells by itself whether it is sealed, so the work can be broken
off anywhere and begun again. At the end the file is written anew (``VACUUM``), so that no plain bytes are left in its free pages;
plain indexes are deleted, the indexer builds sealed ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import apsw

from hub.errors import HubError
from hub.i18n import t
from hub.store.derived import drop
from hub.store.lock import FolderLock
from hub.store.marks import sealed_mark
from hub.store.recovery import open_folder
from hub.store.rows import (
    CONTROL_ID,
    CORRELATION,
    ERROR,
    FINDINGS,
    FIXED,
    KEYS,
    ORDER_KEY,
    PARAMS,
    RAW,
    REASON,
    REQUEST,
    RESPONSE,
)
from hub.store.sealed_vfs import is_sealed
from hub.store.sealer import Sealer
from hub.store.segment_writer import SegmentWriter
from hub.store.sql import all_rows
from hub.store.values import IN_FILE, SEALED, Values

__all__ = ["encrypt_folder"]

_ROWS = 200
Progress = Callable[[str], None]

#: (table, column, name of the place, SQL for the message whose key seals it)
_TEXTS = (
    ("message", "keys", KEYS, "id"),
    ("delivery", "reason", REASON, "message_id"),
    ("call", "error", ERROR, "message_id"),
    ("call", "params", PARAMS, "message_id"),
    ("report", "findings", FINDINGS, "coalesce((SELECT message_id FROM call WHERE call.id = report.id), 0)"),
)
_TOKENS = (
    ("message", "control_id", CONTROL_ID),
    ("message", "correlation", CORRELATION),
    ("delivery", "order_key", ORDER_KEY),
    ("awaited", "key", CORRELATION),
    ("answer", "key", CORRELATION),
)
_OF_CALL = "coalesce((SELECT message_id FROM call WHERE call.id = body.id), 0)"
_OF_DELIVERY = "coalesce((SELECT message_id FROM delivery WHERE delivery.id = fixed.id), 0)"
#: (table, column, column of the form, its shift, name of the place, SQL for the message)
_BYTES = (
    ("payload", "raw", "form", 0, RAW, "id"),
    ("fixed", "payload", "form", 0, FIXED, _OF_DELIVERY),
    ("body", "request", "forms", 0, REQUEST, _OF_CALL),
    ("body", "response", "forms", 2, RESPONSE, _OF_CALL),
)


def encrypt_folder(folder: Path, sealer: Sealer, claim_above: int, progress: Progress) -> int:
    """Seal every plain row of a worker's folder; returns the number of segments converted.

    ``progress`` is told the name of each segment. Raises :class:`~hub.errors.HubError`: the hub is running, a key is missing, a file is
    damaged, the disk is full. What is done stays done.
    """
    lock = FolderLock(folder)
    try:
        return _encrypt(folder, Values(folder, sealer, claim_above), progress)
    except (apsw.Error, OSError) as error:
        raise HubError(
            t(f"{folder} can't be converted: {error}", f"无法转换 {folder}：{error}"),
            code="store.unwritable",
            remedy=t(
                "make room for once more the largest segment, then go on with the same command",
                "请腾出至少一个最大分段的空间，然后再次执行同一命令",
            ),
        ) from error
    finally:
        lock.release()


def _encrypt(folder: Path, values: Values, progress: Progress) -> int:
    catalog, segments, _, _ = open_folder(folder, 1 << 62, values)
    count = 0
    try:
        if catalog.intents(values):
            raise HubError(
                t(f"{folder}: decided changes are not made yet", f"{folder}：尚有已决定但未执行的变更"),
                code="store.intents",
                remedy=t("start and stop the hub once, then try again", "请先启动并停止一次枢纽后重试"),
            )
        for entry in list(segments.entries):
            writer = segments.writer(entry.first_id)
            if writer.meta("sealed") is None:
                progress(writer.path.name)
                _Conversion(writer, values).run()
                count += 1
        for path in (*folder.glob("keys-*.db"), *folder.glob("text-*.db")):
            if not is_sealed(path):
                drop(path)
        segments.current.seal()
        catalog.clean = True
    finally:
        segments.close()
        catalog.close()
    return count


class _Conversion:
    """One segment."""

    def __init__(self, writer: SegmentWriter, values: Values) -> None:
        self._writer = writer
        self._values = values
        self._connection = writer.connection

    def run(self) -> None:
        for table, column, place, scope in _TEXTS:
            self._each(
                f"SELECT id, {column}, {scope} FROM {table} "  # noqa: S608
                f"WHERE id > ? AND typeof({column}) = 'text' AND {column} <> ''",
                f"UPDATE {table} SET {column} = ? WHERE id = ?",  # noqa: S608
                lambda row, place=place: (self._values.sealed_text(row[1], row[2], place, row[0]), row[0]),
            )
        for table, column, place in _TOKENS:
            self._each(
                f"SELECT id, {column} FROM {table} "  # noqa: S608
                f"WHERE id > ? AND typeof({column}) = 'text' AND {column} <> ''",
                f"UPDATE {table} SET {column} = ? WHERE id = ?",  # noqa: S608
                lambda row, place=place: (self._values.token(row[1], place), row[0]),
            )
        self._each(
            "SELECT id, content_hash FROM message WHERE id > ? AND length(content_hash) = 16",
            "UPDATE message SET content_hash = ? WHERE id = ?",
            lambda row: (self._values.hash_token(row[1]), row[0]),
        )
        for table, column, forms, shift, place, scope in _BYTES:
            self._each(
                f"SELECT id, {column}, {scope}, {forms} >> {shift} & 3 FROM {table} "  # noqa: S608
                f"WHERE id > ? AND {column} IS NOT NULL AND {forms} >> {shift} & {SEALED} = 0",
                f"UPDATE {table} SET {column} = ?, {forms} = ({forms} & ~(3 << {shift})) | (? << {shift}) WHERE id = ?",  # noqa: S608
                lambda row, place=place: (*self._bytes(row, place), row[0]),
            )
        self._control_ids()
        self._marks()
        self._connection.execute("VACUUM")
        self._writer.mark_sealed()
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _bytes(self, row: tuple[Any, ...], place: bytes) -> tuple[bytes, int]:
        row_id, value, scope, form = row
        data = self._values.data(value, form, place, row_id)
        if form & IN_FILE:
            self._writer.claims.give_up(value)
        return self._values.stored(data, scope, place, row_id, self._writer.claims)

    def _each(self, select: str, update: str, sealed: Callable[..., tuple[Any, ...]]) -> None:
        """Seal rows in order of their ids; the statement's parameter is the last id done."""
        after = -1
        while rows := all_rows(self._connection, f"{select} ORDER BY id LIMIT {_ROWS}", (after,)):
            self._in_one(update, (sealed(row) for row in rows))
            after = rows[-1][0]

    def _control_ids(self) -> None:
        select = f"SELECT run, control_id, source, id FROM control WHERE typeof(control_id) = 'text' LIMIT {_ROWS}"  # noqa: S608
        update = "UPDATE control SET control_id = ? WHERE run = ? AND control_id = ? AND source = ? AND id = ?"
        while rows := all_rows(self._connection, select):
            self._in_one(update, ((self._values.token(row[1], CONTROL_ID), *row) for row in rows))

    def _marks(self) -> None:
        marks = all_rows(self._connection, "SELECT key, value FROM meta WHERE key >= 'mark:' AND key < 'mark;'")
        plain = [(key, value) for key, value in marks if isinstance(value, str)]
        update = "UPDATE meta SET value = ? WHERE key = ?"
        self._in_one(update, ((sealed_mark(self._values, key, value), key) for key, value in plain))

    def _in_one(self, update: str, rows: Iterable[tuple[Any, ...]]) -> None:
        writer = self._writer
        try:
            writer.begin()
            self._connection.executemany(update, rows)
            writer.commit()
        except BaseException:
            writer.rollback()
            raise
