"""Full comparison: which rows are new, changed or gone since the last pass over the table.

What is known of each row, its key and a hash, is kept in a SQLite file of the interface: a mark of the hub has no room for it, and
the source may often be a view that nobody may write to. Each change is taken exactly once, although file and hub commit apart:
the changes of a page are written into the file as *pending*, under a number; the hub commits the messages together with that number
as its mark; then the file applies them. After a crash between these steps the mark tells whether what is pending was taken.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.sql.listen import ByComparison
from adapters.sql.marks import dump_values, load_values, parse
from adapters.sql.page import Page
from adapters.sql.rows import key_text
from hub.api import HubError, Item
from hub.i18n import t

__all__ = ["Changes", "Comparison"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rows (
    key TEXT PRIMARY KEY, hash BLOB, version INTEGER NOT NULL, seen INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pending (key TEXT PRIMARY KEY, hash BLOB, version INTEGER NOT NULL) WITHOUT ROWID;
"""
_LIST = 500
#: So many rows may be missing whatever their share.
_FEW = 100

Dump = Callable[[Any], bytes]


@dataclass(slots=True)
class Changes:
    """Messages of one page, and the mark that goes with them."""

    items: list[Item]
    mark: str = ""


class Comparison:
    """The file of one interface. Calls block and must not overlap."""

    def __init__(self, read: ByComparison, path: Path, owner: str) -> None:
        """Open or create the file; raises :class:`HubError` when it can't be used."""
        self._read = read
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(str(error)) from error
        self._told = ""  # key of the last row told to be removed in this run
        self._state: dict[str, str] = dict(self._db.execute("SELECT name, value FROM state"))
        if self._state.setdefault("owner", owner) != owner:
            self._db.close()
            raise self._unusable(
                t(f"it belongs to {self._state['owner']}", f"该文件属于 {self._state['owner']}"),
            )
        if "file" not in self._state:
            with self._db:
                self._set(owner=owner, file=uuid.uuid4().hex, run="0", after="", change="0")

    def close(self) -> None:
        self._db.close()

    def begin(self, mark: str) -> tuple[Any, ...] | None:
        """Begin a pass, or go on with one that was interrupted: the values of the key to go on after."""
        found = parse(mark)
        self._told = ""
        with self._transaction():
            if "pending" in self._state:
                number = self._state["pending"]
                if (found.get("file"), found.get("change")) == (self._state["file"], number):
                    self._apply()
                else:
                    self._forget_pending()
            if not self._state["after"]:
                self._set(run=str(self._run + 1))
        return load_values(json.loads(self._state["after"])) if self._state["after"] else None

    def compare(self, page: Page, dump: Dump) -> Changes:
        """What is new or changed in a page of rows that carry their records."""
        if not page.rows or page.last is None:
            return Changes([])
        after = _text(page.last)
        keys = [_text(row.key) for row in page.rows]
        if len(set(keys)) < len(keys):
            raise HubError(
                t("several rows have the same key", "多行的键值相同"),
                code="sql.key",
                remedy=t(
                    "give columns that together identify a row as read.key", "请将能唯一标识一行的列设为 read.key"
                ),
            )
        known: dict[str, tuple[bytes | None, int]] = {}
        for start in range(0, len(keys), _LIST):
            part = keys[start : start + _LIST]
            marks = ",".join("?" * len(part))
            found = self._db.execute(f"SELECT key, hash, version FROM rows WHERE key IN ({marks})", part)  # noqa: S608
            known.update((key, (content, version)) for key, content, version in found)
        items: list[Item] = []
        pending: list[tuple[str, bytes | None, int]] = []
        same: list[tuple[int, str]] = []
        for row, key in zip(page.rows, keys, strict=True):
            content, version = known.get(key, (None, 0))
            digest = hashlib.blake2b(row.raw, digest_size=16).digest()
            if digest == content:
                same.append((self._run, key))
                continue
            pending.append((key, digest, version + 1))
            record = {**(row.record or {}), self._read.change_field: "added" if content is None else "changed"}
            items.append(Item(dump(record), f"{key_text(row.key)}@{version + 1}"))
        with self._transaction():
            self._db.executemany("UPDATE rows SET seen = ? WHERE key = ?", same)
            if not pending:
                self._set(after=after)
                return Changes([])
            return Changes(items, self._note(pending, after))

    def removed(self, dump: Dump, most: int) -> Changes:
        """Some of the rows the pass did not meet; none when there are no more, or when nobody wants to know."""
        if not self._read.removed:
            return Changes([])
        sql = "SELECT key, version FROM rows WHERE key > ? AND seen < ? AND hash IS NOT NULL ORDER BY key LIMIT ?"
        gone = self._db.execute(sql, (self._told, self._run, most)).fetchall()
        if not gone:
            return Changes([])
        if "removing" not in self._state:
            self._check_share()
        items, pending = [], []
        for key, version in gone:
            values = load_values(json.loads(key))
            record = {**dict(zip(self._read.key, values, strict=True)), self._read.change_field: "removed"}
            items.append(Item(dump(record), f"{key_text(values)}@{version + 1}"))
            pending.append((key, None, version + 1))
        self._told = gone[-1][0]
        with self._transaction():
            self._set(removing="1")
            return Changes(items, self._note(pending, self._state["after"]))

    def confirm(self) -> None:
        """What :meth:`compare` or :meth:`removed` gave last was taken."""
        with self._transaction():
            self._apply()

    def finish(self) -> None:
        """The pass is complete."""
        with self._transaction():
            self._set(after="")
            self._unset("removing")

    # -- the file ------------------------------------------------------------------------------------------------

    @property
    def _run(self) -> int:
        return int(self._state["run"])

    def _check_share(self) -> None:
        alive, gone = self._db.execute(
            "SELECT count(*), coalesce(sum(seen < ?), 0) FROM rows WHERE hash IS NOT NULL", (self._run,)
        ).fetchone()
        if gone > _FEW and gone > alive * self._read.most_removed:
            self.finish()
            raise HubError(
                t(f"{gone} of {alive} rows are missing; none is reported", f"{alive} 行中有 {gone} 行缺失，均不上报"),
                code="sql.removed",
                remedy=t(
                    "wait until the table is filled again; if they are really gone, raise read.most_removed",
                    "请等待该表重新填充；若确已删除，请调大 read.most_removed",
                ),
            )

    def _note(self, pending: Sequence[tuple[str, bytes | None, int]], after: str) -> str:
        number = str(int(self._state["change"]) + 1)
        self._forget_pending()
        self._db.executemany("INSERT INTO pending VALUES (?, ?, ?)", pending)
        self._set(pending=number, pending_after=after)
        return json.dumps({"file": self._state["file"], "change": number}, separators=(",", ":"))

    def _apply(self) -> None:
        self._db.execute(
            "INSERT INTO rows SELECT key, hash, version, ? FROM pending WHERE true ON CONFLICT (key) DO UPDATE"
            " SET hash = excluded.hash, version = excluded.version, seen = excluded.seen",
            (self._run,),
        )
        self._set(after=self._state["pending_after"], change=self._state["pending"])
        self._forget_pending()

    def _forget_pending(self) -> None:
        self._db.execute("DELETE FROM pending")
        self._unset("pending", "pending_after")

    def _set(self, **values: str) -> None:
        self._db.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", list(values.items()))
        self._state.update(values)

    def _unset(self, *names: str) -> None:
        for name in names:
            self._db.execute("DELETE FROM state WHERE name = ?", (name,))
            self._state.pop(name, None)

    def _transaction(self) -> _Transaction:
        return _Transaction(self._db, self._state, self._unusable)

    def _unusable(self, reason: str) -> HubError:
        return HubError(
            t(
                f"the file {self._path} of the comparison can't be used: {reason}",
                f"全表比对的状态文件 {self._path} 不可用：{reason}",
            ),
            code="sql.state",
            remedy=t("give a file of this interface alone, on a writable disk", "请指定本接口独占、可写磁盘上的文件"),
        )


class _Transaction:
    """All or nothing, also for the copy of the state in memory."""

    def __init__(self, db: sqlite3.Connection, state: dict[str, str], unusable: Callable[[str], HubError]) -> None:
        self._db, self._state, self._unusable = db, state, unusable

    def __enter__(self) -> None:
        self._before = dict(self._state)
        self._run("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            try:
                self._run("COMMIT")
                return
            except HubError:
                self._undo()
                raise
        self._undo()
        if isinstance(error, sqlite3.Error):
            raise self._unusable(str(error)) from error

    def _run(self, sql: str) -> None:
        try:
            self._db.execute(sql)
        except sqlite3.Error as error:
            raise self._unusable(str(error)) from error

    def _undo(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._state.clear()
        self._state.update(self._before)


def _text(values: Sequence[Any]) -> str:
    return json.dumps(dump_values(values), ensure_ascii=False, separators=(",", ":"))
