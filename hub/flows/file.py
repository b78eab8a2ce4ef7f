"""``flows.db`` as a file: opened, sealed where the store of messages is, changed in transactions with fsync."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from hub.errors import HubError, StoreCorrupt
from hub.flows.schema import INDEXES, SCHEMA, VERSION
from hub.i18n import t
from hub.store.sealer import Sealer

__all__ = ["FlowFile", "flows_file"]

#: Below the data folder: whichever worker owns the flows has the same file.
FOLDER, FILE = "flows", "flows.db"
_BUSY_MS = 5_000
_PLAIN, _SEALED = b"\0", b"\1"
#: (table, place in authenticated data)
_BODIES = (("instance", b"flow.state"), ("outbox", b"flow.outbox"), ("note", b"flow.note"))
_MORE = (("document", b"flow.document"), ("early", b"flow.early"))
_PLACES = dict((*_BODIES, *_MORE))


def flows_file(data: Path) -> Path:
    return data / FOLDER / FILE


class FlowFile:
    """``salt`` is the key of the hashes of business keys. ``sealer`` None: bodies that are sealed can't be read."""

    def __init__(self, file: Path, salt: bytes, sealer: Sealer | None = None, *, writable: bool = True) -> None:
        """Open it, or make it. Raises :class:`HubError`."""
        self.file = file
        self._salt = salt
        self._sealer = sealer
        try:
            if writable:
                file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self.db = apsw.Connection(str(file))
                file.chmod(0o600)
            else:
                self.db = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
            self.db.set_busy_timeout(_BUSY_MS)
            if writable:
                self._prepare()
            self._check()
            self._seq = max(int(self._one(f"SELECT coalesce(max(seq), 0) FROM {name}") or 0) for name in _WITH_SEQ)  # noqa: S608
        except (apsw.Error, OSError) as error:
            raise _cant(file, error) from error

    def _prepare(self) -> None:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "temp_store = MEMORY", "trusted_schema = OFF"):
            self.db.execute(f"PRAGMA {pragma}")
        with self.db:
            if not self.db.table_exists(None, "meta"):
                self.db.execute(SCHEMA)
                self.db.execute("INSERT INTO meta VALUES ('version', ?)", (VERSION,))
            self.db.execute(INDEXES)

    def _check(self) -> None:
        version = self._one("SELECT value FROM meta WHERE name = 'version'")
        if version != VERSION:
            raise StoreCorrupt(
                t(
                    f"{self.file} was written by another version ({version})",
                    f"{self.file} 由其他版本（{version}）写入",
                ),
                code="flow.version",
                remedy=t("run the version that wrote it", "请使用写入它的版本"),
            )

    def close(self) -> None:
        self.db.close()

    def seal_old(self) -> int:
        """Seal what was stored before encryption was switched on; returns the number of bodies."""
        if self._sealer is None or not self._sealer.sealing:
            return 0
        count = 0
        with self.db:
            for table, place in _PLACES.items():
                key = "id" if table == "instance" else "seq"
                found = f"SELECT {key}, body FROM {table} WHERE substr(body, 1, 1) = x'00'"  # noqa: S608
                for number, body in list(self.db.execute(found)):
                    sealed = self._stored(bytes(body[1:]), place, number)
                    self.db.execute(f"UPDATE {table} SET body = ? WHERE {key} = ?", (sealed, number))  # noqa: S608
                    count += 1
        if count:
            self.db.execute("VACUUM")  # no plain bytes stay in free pages
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return count

    # -- bodies --------------------------------------------------------------------------------------------------

    def _stored(self, data: bytes, place: bytes, number: int) -> bytes:
        sealer = self._sealer
        if sealer is None or not sealer.sealing:
            return _PLAIN + data
        sealer.renew()
        return _SEALED + sealer.seal(data, number, place, number)

    def _opened(self, body: bytes, place: bytes, number: int) -> bytes:
        if body[:1] == _PLAIN:
            return body[1:]
        if self._sealer is None:
            raise HubError(
                t("flows are encrypted and no keys were given", "流程数据已加密，但未提供密钥"), code="store.sealed"
            )
        return self._sealer.open(body[1:], place, number)

    def lookup(self, flow: str, key: str) -> bytes:
        """What a business key is found by."""
        return hmac.digest(self._salt, f"flow\0{flow}\0{key}".encode(), "sha256")

    def _one(self, query: str, values: Sequence[Any] = ()) -> Any:
        row = self.db.execute(query, values).fetchone()
        return None if row is None else row[0]

    def _next(self) -> int:
        self._seq += 1
        return self._seq

    # -- transactions --------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, on the disk when it is left. Raises :class:`HubError`."""
        try:
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self.db.execute("ROLLBACK")
                raise
            try:
                self.db.execute("COMMIT")
            except BaseException:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                raise
        except apsw.Error as error:
            raise _cant(self.file, error) from error

    @contextmanager
    def part(self) -> Iterator[None]:
        """A part of a transaction that can fail by itself."""
        self.db.execute("SAVEPOINT flow_part")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK TO flow_part")
            self.db.execute("RELEASE flow_part")
            raise
        self.db.execute("RELEASE flow_part")


_WITH_SEQ = ("outbox", "note", "document", "early")


def _cant(file: Path, error: Exception) -> HubError:
    return HubError(
        t(f"{file} can't be used: {error}", f"无法使用 {file}：{error}"),
        code="flow.store",
        remedy=t("check the disk and the rights of the hub's user there", "请检查磁盘，以及运行用户对该处的权限"),
    )
