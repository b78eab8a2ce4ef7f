"""Opening the store's files for writing: pragmas, schema, migrations, and what damage looks like."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import apsw

from hub.errors import StoreCorrupt
from hub.i18n import t
from hub.store.schema import CALLBACKS, CATALOG, FORMS, REPORTS, SCHEMA_VERSION, SEGMENT
from hub.store.wal import MAKING, WalRoom, prove

__all__ = [
    "ENVIRONMENT",
    "MAKING",
    "MIGRATIONS",
    "REMOVED",
    "Step",
    "check_file",
    "checked",
    "corrupt",
    "create_file",
    "expected_tables",
    "migrate",
    "open_writable",
    "quick_check",
    "remove_file",
    "set_aside",
    "sync_folder",
    "transaction",
]

#: SQLite errors that say something about the disk, not about what was to be written.
ENVIRONMENT: tuple[type[BaseException], ...] = (
    apsw.FullError,
    apsw.IOError,
    apsw.ReadOnlyError,
    apsw.CantOpenError,
    apsw.BusyError,
    apsw.LockedError,
    apsw.NoMemError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.PermissionsError,
    apsw.ProtocolError,
    apsw.NoLFSError,
    OSError,
    MemoryError,
)

#: Of 4, 8 and 16 KB, 8 KB pages cost least for messages of 1 to 2 KB, whether committed one by one or in batches.
PAGE_SIZE = 8192
#: What the name of a file begins with while it is being deleted.
REMOVED = "removed-"
_QUICK_CHECK_SECONDS = 2.0

Step = str | Callable[[apsw.Connection], None]
#: Kind of file -> version -> what makes the next version of it. Runs in one transaction per file.
MIGRATIONS: dict[str, Mapping[int, Step]] = {"segment": {1: REPORTS, 2: CALLBACKS + FORMS}, "catalog": {1: "", 2: ""}}

_SCHEMAS = {"segment": SEGMENT, "catalog": CATALOG}


def corrupt(path: Path, found: str, remedy: str = "") -> StoreCorrupt:
    """The error that names a damaged file, what was found in it, and what to do."""
    todo = remedy or t(
        "stop the hub, keep a copy of the folder, restore the file from the last backup",
        "请停止枢纽，保留该目录的副本，并用最近的备份恢复此文件",
    )
    return StoreCorrupt(f"{path.name}: {found} ({path}); {todo}", remedy=todo)


@cache
def expected_tables(kind: str) -> frozenset[str]:
    """Names of the tables a sound file of this kind has."""
    probe = apsw.Connection(":memory:")
    probe.execute(_SCHEMAS[kind])
    return frozenset(name for (name,) in probe.execute("SELECT name FROM sqlite_schema WHERE type = 'table'"))


def open_writable(path: Path, *, new: bool = False) -> apsw.Connection:
    """A connection for the writer; every commit on it is on the disk when it returns.

    When a commit fails with ``apsw.IOError``, what it wrote may be there all the same, now or after the next start.
    """
    connection = apsw.Connection(str(path), statementcachesize=64)
    try:
        connection.set_busy_timeout(5_000)
        if new:
            connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -16000")
        connection.execute("PRAGMA temp_store = MEMORY")
        if not new:  # one that is being made counts when it has its name
            page_size = connection.execute("PRAGMA page_size").fetchone()[0]  # type: ignore[index]
            connection.set_wal_hook(WalRoom(path, page_size).committed)
    except apsw.Error:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """All of it or nothing. Unlike that of ``with connection``, an error of the commit comes out as it is."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def create_file(path: Path, kind: str) -> None:
    """Make a new, empty file. It appears under its name when it is complete, or never."""
    making = path.with_name(MAKING + path.name)
    remove_file(making)
    connection = open_writable(making, new=True)
    try:
        with transaction(connection):
            connection.execute(_SCHEMAS[kind])
            connection.execute("INSERT INTO meta VALUES ('schema_version', ?)", (SCHEMA_VERSION,))
    finally:
        connection.close()
    making.rename(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make new names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    prove(folder)


def set_aside(path: Path) -> Path:
    """Take a database that is to be deleted out of sight at once; returns its new name. It may still be open."""
    aside = path.with_name(REMOVED + path.name)
    path.rename(aside)
    remove_file(path)
    return aside


def remove_file(path: Path) -> int:
    """Delete a database with what SQLite keeps beside it; returns the bytes freed."""
    freed = 0
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        try:
            size = part.stat().st_size
            part.unlink()
            freed += size
        except FileNotFoundError:
            continue
    return freed


def check_file(path: Path) -> None:
    """Look at the header of a database without opening it; raises ``StoreCorrupt``.

    SQLite itself notices a truncated file only when a missing page is asked for. The size in the header (bytes 28 to 31,
    valid when bytes 24 to 27 equal 92 to 95; SQLite file format 1.3.7) tells at once. While a WAL is there, the file may
    lag behind it and nothing can be said.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = file.read(100)
    except OSError as error:
        raise corrupt(path, t(f"can't be read: {error.strerror}", f"无法读取：{error.strerror}")) from error
    wal = path.with_name(path.name + "-wal")
    if wal.exists() and wal.stat().st_size:
        return
    if len(header) < 100 or not header.startswith(b"SQLite format 3\0"):
        raise corrupt(
            path, t("no SQLite header: not a database, or overwritten", "缺少 SQLite 文件头：不是数据库或已被覆盖")
        )
    page_size = struct.unpack(">H", header[16:18])[0]
    page_size = 65_536 if page_size == 1 else page_size
    pages = struct.unpack(">I", header[28:32])[0]
    if header[24:28] == header[92:96] and pages * page_size > size:
        raise corrupt(
            path,
            t(
                f"truncated: {size} bytes of {pages * page_size} are left",
                f"文件被截断：应有 {pages * page_size} 字节，仅余 {size} 字节",
            ),
        )


def checked(path: Path, kind: str, connection: apsw.Connection) -> int:
    """Check tables and schema version; returns the version. Raises ``StoreCorrupt``."""
    try:
        present = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        missing = expected_tables(kind) - present
        if "meta" in present:
            row = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
        else:
            row = None
    except (apsw.NotADBError, apsw.CorruptError) as error:
        raise corrupt(path, t(f"damaged: {error}", f"已损坏：{error}")) from error
    if row is None or not isinstance(row[0], int):
        raise corrupt(path, t("it has no schema version", "缺少结构版本号"))
    version: int = row[0]
    if version > SCHEMA_VERSION:
        raise corrupt(
            path,
            t(
                f"made by a newer hub (schema {version}, this one knows {SCHEMA_VERSION})",
                f"由更新版本的枢纽生成（结构版本 {version}，当前支持 {SCHEMA_VERSION}）",
            ),
            t("start the newer version of the hub", "请使用更新版本的枢纽启动"),
        )
    if version == SCHEMA_VERSION and missing:
        names = ", ".join(sorted(missing))
        raise corrupt(path, t(f"tables are missing: {names}", f"缺少数据表：{names}"))
    return version


def migrate(path: Path, kind: str, connection: apsw.Connection, version: int) -> None:
    """Bring a file to the present schema, all steps in one transaction. Raises ``StoreCorrupt`` when there is no way."""
    if version == SCHEMA_VERSION:
        return
    steps = MIGRATIONS[kind]
    with transaction(connection):
        for number in range(version, SCHEMA_VERSION):
            step = steps.get(number)
            if step is None:
                raise corrupt(
                    path,
                    t(
                        f"schema {number} is too old for this version of the hub",
                        f"结构版本 {number} 过旧，当前版本无法升级",
                    ),
                )
            if isinstance(step, str):
                connection.execute(step)
            else:
                step(connection)
        connection.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (SCHEMA_VERSION,))


def quick_check(path: Path, connection: apsw.Connection) -> None:
    """SQLite's quick check for a bounded time; what was sound until then counts as sound. Raises ``StoreCorrupt``."""
    deadline = time.monotonic() + _QUICK_CHECK_SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
    try:
        rows = connection.execute("PRAGMA quick_check(5)").fetchall()
    except apsw.InterruptError:
        return
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise corrupt(path, t(f"damaged: {error}", f"已损坏：{error}")) from error
    finally:
        connection.set_progress_handler(None)
    findings = [str(row[0]) for row in rows if row[0] != "ok"]
    if findings:
        raise corrupt(path, t(f"damaged: {findings[0]}", f"已损坏：{findings[0]}"))
