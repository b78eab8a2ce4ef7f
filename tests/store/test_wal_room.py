"""The room in the WAL ahead of commits: there from the first, there again when the file was cut, and no success without proof."""

from __future__ import annotations

import errno
from pathlib import Path

import apsw
import pytest

from hub.store import wal
from hub.store.files import open_writable


def _filled(connection: apsw.Connection, kilobytes: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO t VALUES (?)", (b"x" * (kilobytes << 10),))
    connection.execute("COMMIT")


@pytest.fixture
def connection(tmp_path: Path) -> apsw.Connection:
    found = open_writable(tmp_path / "a.db")
    found.execute("CREATE TABLE t (x BLOB)")
    return found


def _room(folder: Path) -> int:
    return (folder / "a.db-wal").stat().st_size


def test_commits_find_their_room(connection: apsw.Connection, tmp_path: Path) -> None:
    before = _room(tmp_path)
    assert before >= 256 << 10
    _filled(connection, 16)
    assert _room(tmp_path) == before  # it only overwrites
    for _ in range(40):
        _filled(connection, 16)
    connection.close()
    again = apsw.Connection(str(tmp_path / "a.db"))
    assert again.execute("SELECT count(*) FROM t").fetchone() == (41,)


def test_a_file_that_was_cut_gets_its_room_again(connection: apsw.Connection, tmp_path: Path) -> None:
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    _filled(connection, 1)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    _filled(connection, 64)  # more pages than the commit before: the number does not tell that it was cut
    assert _room(tmp_path) >= (64 << 10) + (256 << 10)


def test_what_had_to_grow_without_proof_is_no_success(
    connection: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(folder: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(wal, "prove", broken)
    with pytest.raises(apsw.IOError, match="Read-only"):
        _filled(connection, 512)  # more than there is room for
