"""Index files: made whole, made again when broken, left alone when only the moment is bad."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

import hub.store.derived as derived
from hub.store.derived import (
    marker_of,
    open_for_reading,
    open_for_writing,
    read_marks,
    report,
    transaction,
    write_marks,
)

SCHEMA = "CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID; CREATE TABLE thing (n INTEGER)"


def things(path: Path) -> int:
    connection = open_for_reading(path)
    assert connection is not None
    return len(connection.execute("SELECT n FROM thing").fetchall())


def made(path: Path, version: int = 1) -> apsw.Connection:
    connection = open_for_writing(path, SCHEMA, version)
    connection.execute("INSERT INTO thing VALUES (1)")
    return connection


def test_an_index_is_kept_from_one_opening_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "keys-1.db"
    assert open_for_reading(path) is None
    for count in (1, 2, 3):
        made(path).close()
        assert things(path) == count
    assert not path.with_suffix(".new").exists()


def test_another_version_or_a_report_makes_it_new(tmp_path: Path) -> None:
    path = tmp_path / "keys-1.db"
    made(path).close()
    made(path, version=2).close()
    assert things(path) == 1
    report(path, apsw.CorruptError("database disk image is malformed"))
    assert marker_of(path).exists()
    made(path, version=2).close()
    assert things(path) == 1
    assert not marker_of(path).exists()


@pytest.mark.parametrize(
    "error", [apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.FullError, apsw.BusyError]
)
def test_a_bad_moment_is_no_reason_to_throw_an_index_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[apsw.Error]
) -> None:
    path = tmp_path / "keys-1.db"
    made(path).close()
    report(path, error())
    assert not marker_of(path).exists()

    def fail(connection: apsw.Connection) -> dict[str, int]:
        raise error()

    with monkeypatch.context() as patch:
        patch.setattr(derived, "read_marks", fail)
        with pytest.raises(error):
            open_for_writing(path, SCHEMA, 1)
    assert things(path) == 1


def test_a_replaced_file_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "keys-1.db"
    made(path).close()
    made(path).close()
    assert things(path) == 2
    first = open_for_reading(path)
    assert open_for_reading(path) is first
    derived.drop(path)
    assert open_for_reading(path) is None
    made(path).close()
    assert things(path) == 1


def test_only_so_many_connections_are_kept(tmp_path: Path) -> None:
    for number in range(40):
        made(tmp_path / f"keys-{number}.db").close()
    for _ in range(2):
        for number in range(40):
            assert things(tmp_path / f"keys-{number}.db") == 1
    assert len(derived._open.cache) == derived._KEPT_OPEN


def test_marks_that_are_no_numbers_are_damage(tmp_path: Path) -> None:
    connection = made(tmp_path / "keys-1.db")
    write_marks(connection, upto=7)
    assert read_marks(connection) == {"version": 1, "upto": 7}
    connection.execute("UPDATE meta SET value = 'x' WHERE key = 'upto'")
    with pytest.raises(apsw.CorruptError):
        read_marks(connection)
    connection.close()


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "keys-1.db"
    connection = made(path)

    def stop_half_way() -> None:
        with transaction(connection):
            connection.execute("INSERT INTO thing VALUES (2)")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        stop_half_way()
    with transaction(connection):
        connection.execute("INSERT INTO thing VALUES (3)")
    assert things(path) == 2
    connection.close()
