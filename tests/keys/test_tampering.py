"""Whatever is changed in the file from outside, nothing of it is used."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from hub.keys.errors import KeysError, KeysLocked, KeysTampered
from hub.keys.model import Kind, Policy
from hub.keys.orders import Orders
from hub.keys.store import KeyStore
from tests.keys.keys_support import source

Open = Callable[[], KeyStore]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with keys of several kinds and states."""
    folder = tmp_path_factory.mktemp("original")
    KeyStore.create(folder / "keys", source(folder))
    with KeyStore(folder / "keys", source(folder)) as store:
        orders = Orders(store, actor="li")
        store.data_keys("store").current()
        orders.generate("mac", Kind.HMAC, "mac", owner="his", policy=Policy())
        orders.generate("other", Kind.HMAC, "mac", owner="his", policy=Policy())
        orders.rotate("mac")
        orders.revoke("mac", 1, reason="stolen")
        orders.rotate("mac", pending=True)
    return folder


def copy_of(original: Path, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder)
    return folder


def change(folder: Path, *statements: str) -> int:
    with closing(sqlite3.connect(folder / "keys" / "keys.db")) as db, db:
        return sum(db.execute(statement).rowcount for statement in statements)


def refused(folder: Path) -> None:
    with pytest.raises(KeysTampered):
        KeyStore(folder / "keys", source(folder))


def cells(folder: Path) -> list[tuple[str, str, int, Any]]:
    """(table, column, rowid or number of the row, value) of everything but the journal."""
    found = []
    with closing(sqlite3.connect(folder / "keys" / "keys.db")) as db:
        for table, order in (("meta", "key"), ("key", "name"), ("version", "name, number")):
            rows = db.execute(f"SELECT * FROM {table} ORDER BY {order}")
            names = [column[0] for column in rows.description]
            for number, row in enumerate(rows):
                found += [(table, name, number, value) for name, value in zip(names, row, strict=True)]
    return found


ORDER = {"meta": "key", "key": "name", "version": "name, number"}
KEYS = {"meta": ("key",), "key": ("name",), "version": ("name", "number")}


def put(folder: Path, table: str, column: str, number: int, value: Any) -> None:
    with closing(sqlite3.connect(folder / "keys" / "keys.db")) as db, db:
        keys = KEYS[table]
        row = db.execute(f"SELECT {', '.join(keys)} FROM {table} ORDER BY {ORDER[table]}").fetchall()[number]
        where = " AND ".join(f"{key} = ?" for key in keys)
        db.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (value, *row))


def altered(value: Any, data: st.DataObject) -> Any:
    if isinstance(value, int):
        return value + data.draw(st.sampled_from([-1, 1, 86400]))
    if not value:
        return b"x" if isinstance(value, bytes) else "x"
    at = data.draw(st.integers(0, len(value) - 1))
    if isinstance(value, bytes):
        return value[:at] + bytes([value[at] ^ (1 << data.draw(st.integers(0, 7)))]) + value[at + 1 :]
    return value[:at] + ("b" if value[at] == "a" else "a") + value[at + 1 :]


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.data())
def test_any_cell(original: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    table, column, number, value = data.draw(st.sampled_from(cells(original)))
    folder = copy_of(original, tmp_path_factory.getbasetemp() / "cell")
    try:
        put(folder, table, column, number, altered(value, data))
    except sqlite3.IntegrityError:  # the name or number of another row
        reject()
    with pytest.raises((KeysTampered, KeysLocked)):  # locked: the format, or the id of the master key
        KeyStore(folder / "keys", source(folder))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE version SET state = 'active' WHERE name = 'mac' AND number = 1",
        "UPDATE version SET expires_at = expires_at + 86400 * 365 WHERE name = 'mac' AND number = 2",
        "DELETE FROM version WHERE name = 'mac' AND number = 2",
        "DELETE FROM version WHERE name = 'mac' AND number = 1",
        "INSERT INTO version SELECT 'other', 2, state, created_at, active_from, expires_at, opens_until, fingerprint, "
        "public, sealed FROM version WHERE name = 'mac' AND number = 2",
        "UPDATE version SET sealed = (SELECT sealed FROM version WHERE name = 'other') WHERE name = 'mac'",
        "UPDATE key SET purpose = 'sign' WHERE name = 'mac'",
        "UPDATE key SET owner = 'elsewhere' WHERE name = 'mac'",
        "UPDATE key SET policy = replace(policy, '180', '365') WHERE name = 'mac'",
        "UPDATE meta SET value = value + 1 WHERE key = 'generation'",
        "UPDATE meta SET value = value - 1 WHERE key = 'journal_seq'",
        "DROP TABLE key",
    ],
)
def test_a_change_somebody_would_like(original: Path, tmp_path: Path, statement: str) -> None:
    folder = copy_of(original, tmp_path / "copy")
    assert change(folder, statement)
    refused(folder)


def test_a_row_put_back_to_an_earlier_state(original: Path, tmp_path: Path) -> None:
    folder = copy_of(original, tmp_path / "copy")
    with closing(sqlite3.connect(folder / "keys" / "keys.db")) as db:
        row = db.execute("SELECT * FROM version WHERE name = 'other'").fetchone()
    with KeyStore(folder / "keys", source(folder)) as store:
        Orders(store, actor="li").revoke("other", 1, reason="stolen")
    with closing(sqlite3.connect(folder / "keys" / "keys.db")) as db, db:
        db.execute(f"INSERT OR REPLACE INTO version VALUES ({','.join('?' * len(row))})", row)
    refused(folder)


def test_bytes_of_the_file(original: Path, tmp_path: Path) -> None:
    """A file cut short or overwritten is told, not believed."""
    for size in (0, 100, 5000):
        folder = copy_of(original, tmp_path / "copy")
        file = folder / "keys" / "keys.db"
        file.write_bytes(file.read_bytes()[:size])
        refused(folder)
    folder = copy_of(original, tmp_path / "copy")
    (folder / "keys" / "keys.db").write_bytes(b"\0" * 30000)
    refused(folder)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE journal SET entry = replace(entry, 'li', 'wu') WHERE seq = 3", "entry 3 does not match its hash"),
        ("DELETE FROM journal WHERE seq = 3", "entry 3 is missing"),
        ("DELETE FROM journal WHERE seq > 3", "the trail ends at entry 3"),
        ("UPDATE journal SET seq = seq + 100 WHERE seq = 3", "entry 3 is missing"),
        ("UPDATE journal SET at = at + 600000000 WHERE seq = 3", "the time of entry 3 differs"),
    ],
)
def test_the_journal(original: Path, tmp_path: Path, statement: str, told: str) -> None:
    folder = copy_of(original, tmp_path / "copy")
    assert change(folder, statement)
    with KeyStore(folder / "keys", source(folder)) as store:
        assert told in " ".join(store.verify_journal())
    folder = copy_of(original, tmp_path / "copy")
    with KeyStore(folder / "keys", source(folder)) as store:
        assert store.verify_journal() == []


def test_a_running_process_goes_on_with_what_it_read_and_tells(original: Path, tmp_path: Path) -> None:
    folder = copy_of(original, tmp_path / "copy")
    with KeyStore(folder / "keys", source(folder)) as store:
        handle = store.handle("mac")
        before = handle.current()
        change(folder, "UPDATE version SET state = 'active' WHERE name = 'mac' AND number = 1")
        store.refresh()
        assert isinstance(store.trouble, KeysTampered)
        assert handle.current() == before
        with pytest.raises(KeysError):
            Orders(store, actor="li").rotate("mac")
        change(folder, "UPDATE version SET state = 'revoked' WHERE name = 'mac' AND number = 1")
        store.refresh()
        assert store.trouble is None
        Orders(store, actor="li").rotate("mac")
        assert handle.current().version == before.version + 2
