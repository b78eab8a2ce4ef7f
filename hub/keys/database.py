"""The file of the key store: SQLite, every change one durable transaction, everything in it under one MAC.

Each secret is sealed with its own row as additional data, so none can be moved, renamed or given another life span. The MAC in ``meta``
covers all rows, the generation and the head of the journal, so none can be removed, added or put back to an earlier state either. What can't
be seen from inside is the whole file put back to an earlier state.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from hub.audit import GENESIS, canonical, chain_hash
from hub.errors import HubError
from hub.i18n import t
from hub.keys.errors import KeysError, KeysLocked, KeysTampered
from hub.keys.model import FILE, Content, Key, Kind, Policy, State, Version
from hub.keys.sealing import Suite

__all__ = ["Database", "Meta", "bound_to", "verified"]

_FORMAT = 1
_BUSY_MS = 10_000

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE key (
    name TEXT PRIMARY KEY, kind TEXT NOT NULL, purpose TEXT NOT NULL, owner TEXT NOT NULL, policy TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE version (
    name TEXT NOT NULL REFERENCES key, number INTEGER NOT NULL, state TEXT NOT NULL, created_at INTEGER NOT NULL,
    active_from INTEGER NOT NULL, expires_at INTEGER NOT NULL, opens_until INTEGER NOT NULL, fingerprint TEXT NOT NULL,
    public BLOB NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (name, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE journal (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, entry TEXT NOT NULL, hash TEXT NOT NULL) STRICT;
"""


@dataclass(slots=True)
class Meta:
    """The store's own row of facts."""

    store: str
    cipher: str
    generation: int
    told: int  # the generation with the last change of a key that a configuration may name
    master: str  # id of the master key
    root: bytes  # the root key under the master key
    journal_seq: int = 0
    journal_hash: str = GENESIS
    mac: bytes = b""


def bound_to(store: str, key: Key, version: Version) -> bytes:
    """What a sealed secret is bound to."""
    return canonical(
        {
            "store": store,
            "format": _FORMAT,
            "key": [key.name, key.kind, key.purpose, key.owner],
            "version": [version.number, version.state, version.fingerprint],
            "times": [version.created_at, version.active_from, version.expires_at, version.opens_until],
        }
    ).encode()


class Database:
    """One connection to the file; not to be used by two threads at once."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        _private(folder)
        _private(self.path)
        try:
            self._db = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE)
            self._db.set_busy_timeout(_BUSY_MS)
            # A rollback journal leaves one file at rest. EXTRA: its removal, which is the commit, is on the disk as well.
            for pragma in ("synchronous=EXTRA", "secure_delete=ON", "trusted_schema=OFF", "foreign_keys=ON"):
                self._db.pragma(*pragma.split("="))
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise KeysTampered(_cant(self.path, error)) from error
        except apsw.Error as error:
            raise KeysLocked(_cant(self.path, error)) from error

    @classmethod
    def create(cls, folder: Path, meta: Meta, suite: Suite, entry: dict[str, Any]) -> Database:
        """A new, empty store; raises :class:`KeysError` where there is one."""
        path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            raise KeysError(
                t(f"there is a key store in {folder} already", f"{folder} 中已有密钥库"), code="keys.exists"
            ) from None
        except OSError as error:
            raise KeysLocked(_cant(path, error)) from error
        try:
            made = cls(folder)
            with made._db:
                made._db.execute(_SCHEMA)
                made.write_entry(meta, entry)
                made.write_meta(meta, suite)
        except BaseException:
            path.unlink()
            raise
        return made

    def close(self) -> None:
        self._db.close()

    def changes(self) -> int:
        """Another number after another connection has committed. Raises :class:`apsw.BusyError` rather than wait."""
        with self._not_waiting():
            return int(self._db.pragma("data_version"))

    @contextlib.contextmanager
    def _not_waiting(self) -> Iterator[None]:
        self._db.set_busy_timeout(0)
        try:
            yield
        finally:
            self._db.set_busy_timeout(_BUSY_MS)

    def begin(self, *, wait: bool = True) -> None:
        """From here to :meth:`commit` or :meth:`rollback` nobody else writes."""
        try:
            with contextlib.nullcontext() if wait else self._not_waiting():
                self._db.execute("BEGIN IMMEDIATE")
        except apsw.Error as error:
            raise KeysLocked(_cant(self.path, error), code="keys.busy") from error

    def commit(self) -> None:
        try:
            self._db.execute("COMMIT")
        except apsw.Error as error:
            self.rollback()
            raise self.failed(error) from error

    def failed(self, error: apsw.Error) -> KeysError:
        """What could not be written, and was not."""
        return KeysError(
            _cant(self.path, error),
            code="keys.disk",
            remedy=t("nothing was changed; check the disk, then try again", "未作任何更改；请检查磁盘后重试"),
        )

    def rollback(self) -> None:
        if not self._db.get_autocommit():
            self._db.execute("ROLLBACK")

    def read(self, *, wait: bool = True) -> tuple[Meta, list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """Everything but the journal, as it was at one moment; not verified. Raises :class:`KeysTampered`."""
        try:
            with contextlib.nullcontext() if wait else self._not_waiting(), self._db:
                values = dict(self._db.execute("SELECT key, value FROM meta"))
                keys = list(self._db.execute("SELECT * FROM key ORDER BY name"))
                versions = list(self._db.execute("SELECT * FROM version ORDER BY name, number"))
            if values.pop("format") != _FORMAT:
                raise KeysLocked(t("the key store was made by a newer version", "密钥库由更新的版本建立"))
            return Meta(**values), keys, versions
        except apsw.BusyError as error:
            raise KeysLocked(_cant(self.path, error), code="keys.busy") from error
        except (apsw.Error, KeyError, TypeError, ValueError) as error:
            raise KeysTampered(_cant(self.path, error)) from error

    def write_key(self, key: Key) -> None:
        row = (key.name, key.kind, key.purpose, key.owner, canonical(key.policy.as_dict()), key.created_at)
        self._db.execute("INSERT OR REPLACE INTO key VALUES (?,?,?,?,?,?)", row)

    def write_version(self, version: Version) -> None:
        row = tuple(getattr(version, name) for name in Version.__slots__)
        self._db.execute("INSERT OR REPLACE INTO version VALUES (?,?,?,?,?,?,?,?,?,?)", row)

    def write_entry(self, meta: Meta, entry: dict[str, Any]) -> None:
        """Append to the journal."""
        text = canonical(entry)
        meta.journal_seq += 1
        meta.journal_hash = chain_hash(meta.journal_hash, text)
        row = (meta.journal_seq, entry["at"], text, meta.journal_hash)
        self._db.execute("INSERT INTO journal VALUES (?,?,?,?)", row)

    def write_meta(self, meta: Meta, suite: Suite) -> None:
        """The last write of every transaction: the MAC over what the tables hold now."""
        keys = list(self._db.execute("SELECT * FROM key ORDER BY name"))
        versions = list(self._db.execute("SELECT * FROM version ORDER BY name, number"))
        meta.mac = suite.mac(_covered(meta, keys, versions))
        rows = [("format", _FORMAT), *((name, getattr(meta, name)) for name in Meta.__slots__)]
        self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?,?)", rows)

    def journal(self, after: int, limit: int) -> list[dict[str, Any]]:
        """Entries after a number, oldest first, as the audit trail has them."""
        query = "SELECT seq, at, entry, hash FROM journal WHERE seq > ? ORDER BY seq LIMIT ?"
        names = ("seq", "at", "entry", "hash")
        try:
            return [dict(zip(names, row, strict=True)) for row in self._db.execute(query, (after, limit))]
        except apsw.Error as error:
            raise KeysTampered(_cant(self.path, error)) from error


def verified(meta: Meta, keys: list[tuple[Any, ...]], versions: list[tuple[Any, ...]], suite: Suite) -> Content:
    """What was read, as objects. Raises :class:`KeysTampered` unless it is exactly what was written."""
    try:
        sound = suite.verify(_covered(meta, keys, versions), meta.mac)
    except (TypeError, ValueError):
        sound = False
    if not sound:
        raise KeysTampered(
            t("the key store was changed from outside", "密钥库被外部改动"),
            remedy=t("restore it from a backup, and find out who can write there", "请从备份恢复，并查明何人可写该处"),
        )
    content = Content(meta.store, meta.cipher, meta.generation, {}, {})
    for name, kind, purpose, owner, policy, created_at in keys:
        content.keys[name] = Key(name, Kind(kind), purpose, owner, Policy(**json.loads(policy)), created_at)
        content.versions[name] = {}
    for name, number, state, *rest in versions:
        content.versions[name][number] = Version(name, number, State(state), *rest)
    return content


def _covered(meta: Meta, keys: list[tuple[Any, ...]], versions: list[tuple[Any, ...]]) -> bytes:
    facts = [_FORMAT, meta.store, meta.cipher, meta.generation, meta.told, meta.master, meta.root.hex()]
    head = [meta.journal_seq, meta.journal_hash]
    rows = [[v.hex() if isinstance(v, bytes) else v for v in row] for row in (*keys, *versions)]
    return canonical({"facts": facts, "head": head, "keys": len(keys), "rows": rows}).encode()


def _private(path: Path) -> None:
    """Raises :class:`KeysLocked` where others than its owner can read or write."""
    try:
        facts = path.stat()
    except OSError as error:
        raise KeysLocked(
            t(f"there is no key store at {path}: {error.strerror}", f"{path} 处没有密钥库：{error.strerror}"),
            code="keys.missing",
            remedy=t("make it: hub keys init", "请建立：hub keys init"),
        ) from None
    if os.name == "posix" and facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mode = "700" if stat.S_ISDIR(facts.st_mode) else "600"
        raise KeysLocked(
            t(f"others than its owner can reach {path}", f"{path} 可被属主以外的用户访问"),
            code="keys.permissions",
            remedy=f"chmod {mode} {path}",
        )


def _cant(path: Path, error: Exception) -> str:
    reason = error.text if isinstance(error, HubError) else str(error)
    return t(f"{path} can't be used: {reason}", f"无法使用 {path}：{reason}")
