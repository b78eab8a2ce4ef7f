"""A file system that finds itself damaged: what it reported as written just then is there after the repair."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from hub.contract import StoreConfig
from hub.errors import HubError, StoreBusy
from hub.message import Outcome
from hub.store.base import PutResult
from hub.store.files import create_file, open_writable, sync_folder
from hub.store.sqlite import SqliteStore
from tests.chaos.disk import Ext4Disk, may_mount_images
from tests.store.conftest import SqliteOpener
from tests.store.store_support import make_delivery, make_message, put_one

ROUNDS = 20
LINES = 6
BIG = 40_000  # bytes: such a message goes to a file of its own

needs_images = pytest.mark.skipif(not may_mount_images(), reason="mounting an image needs privileges")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Ext4Disk]:
    made = Ext4Disk(tmp_path / "disk")
    yield made
    made.remove()


class Line:
    """Puts one message after the other until one is refused."""

    def __init__(self, store: SqliteStore, raw: Callable[[], bytes]) -> None:
        self.accepted: list[int] = []
        self.refusal: HubError | None = None
        self.ended = asyncio.Event()
        self._store = store
        self._raw = raw
        self._put()

    def _put(self) -> None:
        message = make_message(self._store, raw=self._raw())
        try:
            self._store.put(message, [make_delivery(self._store, message)], self._done)
        except StoreBusy as error:
            self.refusal = error
            self.ended.set()

    def _done(self, result: PutResult) -> None:
        if result.outcome is Outcome.OK:
            self.accepted.append(result.message.id)
            self._put()
        else:
            self.refusal = result.error
            self.ended.set()


@needs_images
@pytest.mark.parametrize("bodies", ["rows", "files"])
async def test_what_is_accepted_while_the_file_system_fails_is_there_after_its_repair(
    disk: Ext4Disk, bodies: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.store.writer._LAST_TRIES", 0)  # nothing will repair it while the store closes
    chance = random.Random()
    config = StoreConfig.model_construct(min_free_disk=0, claim_above=BIG // 2)
    sizes = (100, 3_000) if bodies == "rows" else (100, BIG)
    folder = disk.folder / "store"
    for _ in range(ROUNDS):
        store = SqliteStore(folder, config)
        await store.open()
        lines = [Line(store, lambda: os.urandom(chance.choice(sizes))) for _ in range(LINES)]
        wanted = chance.randrange(1, 60)
        async with asyncio.timeout(20):
            while len(lines[0].accepted) < wanted:
                assert not lines[0].ended.is_set(), lines[0].refusal
                await asyncio.sleep(0.001)
            await asyncio.to_thread(disk.fill)
            for line in lines:
                await line.ended.wait()
        with contextlib.suppress(StoreBusy):
            await store.close()
        disk.repair()
        again = SqliteStore(folder, config)
        await again.open()
        try:
            for line in lines:
                for message_id in line.accepted:
                    assert await again.reader.message(message_id) is not None
                    assert len(await again.reader.deliveries_of(message_id)) == 1
            report = await again.reader.verify_ledger()
            assert report.balanced, report.problems
        finally:
            await again.close()
        shutil.rmtree(folder)  # a segment that is new has everything to grow
        sync_folder(folder.parent)


def used(connection: apsw.Connection) -> int:
    """Bytes of the WAL that hold what was committed and is not in the database yet."""
    pages, _ = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    return 32 + pages * (24 + 8192)


async def test_commits_find_their_room(opener: SqliteOpener, tmp_path: Path) -> None:
    """The file grows in a few strides, each of them before the commits that need it."""
    store = await opener()
    await put_one(store)
    (wal,) = (tmp_path / "store").glob("segment-*.db-wal")
    sizes = [wal.stat().st_size]
    for _ in range(150):
        await put_one(store, raw=os.urandom(3_000))
        sizes.append(wal.stat().st_size)
    assert sizes == sorted(sizes)
    assert len(set(sizes)) < 20
    assert max(sizes) > 1 << 20


def test_the_wal_begins_anew_where_it_was(tmp_path: Path) -> None:
    """After a checkpoint the room is still there; after a cut it is made again."""
    path = tmp_path / "segment-1.db"
    create_file(path, "segment")
    wal = path.with_name(path.name + "-wal")
    with contextlib.closing(open_writable(path)) as connection:
        grow = "INSERT OR REPLACE INTO meta VALUES ('x', zeroblob(20000000))"
        for _ in range(4):
            connection.execute(grow)
        whole = wal.stat().st_size
        connection.execute(grow)
        assert wal.stat().st_size == whole
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('y', 1)")
        assert 32 + 24 + 8192 < wal.stat().st_size < 1 << 20
    assert not wal.exists()


def test_what_follows_the_commits_is_no_commit(tmp_path: Path) -> None:
    """A copy made at any time, zeros at the end of its WAL included, opens with all that was committed."""
    path = tmp_path / "segment-1.db"
    create_file(path, "segment")
    with contextlib.closing(open_writable(path)) as connection:
        for number in range(40):
            connection.execute("INSERT INTO name VALUES (?, ?)", (number, f"name {number}"))
            copy = tmp_path / f"copy-{number}.db"
            for suffix in ("", "-wal"):
                shutil.copy(path.with_name(path.name + suffix), copy.with_name(copy.name + suffix))
            with contextlib.closing(open_writable(copy)) as opened:
                found = opened.execute("SELECT id FROM name ORDER BY id").fetchall()
                assert found == [(n,) for n in range(number + 1)]
                assert opened.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
