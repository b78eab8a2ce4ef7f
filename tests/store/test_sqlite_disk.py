"""A disk that is full or fails: honest refusals, kept marks, and recovery without help."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from hub.contract import StoreConfig
from hub.errors import HubError, StoreBusy
from hub.message import DeliveryState, Outcome
from hub.store.base import Put, PutResult
from hub.store.catalog import Catalog
from hub.store.segment_writer import SegmentWriter
from hub.store.sqlite import SqliteStore
from hub.store.unit import TASK
from tests.store.conftest import SqliteOpener
from tests.store.store_support import DAY_US, finish, make_call, make_delivery, make_message, put, put_one, until


class SmallDisk:
    """A file system of its own that can be filled up and emptied again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        with self._filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def free(self) -> None:
        self._filler.unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    path = tmp_path / "disk"
    path.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(path)], capture_output=True)
    if made.returncode:
        pytest.skip("mounting a small file system needs privileges")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


async def test_what_is_stored_together_is_refused_together_and_the_mark_stays(
    opener: SqliteOpener, small_disk: SmallDisk
) -> None:
    store = await opener(small_disk.path / "store")
    await store.put_together([Put(make_message(store))], mark=("rows", "1"))
    small_disk.fill()
    puts = [Put(make_message(store, raw=os.urandom(100_000))) for _ in range(20)]
    with pytest.raises(StoreBusy):
        await store.put_together(puts, mark=("rows", "21"))
    small_disk.free()
    await until(lambda: store.writable)
    assert (await store.reader.mark("rows"))[1] == "1"
    for each in puts:
        assert await store.reader.message(each.message.id) is None
    again = [Put(make_message(store, raw=p.message.raw)) for p in puts]
    assert {r.outcome for r in await store.put_together(again, mark=("rows", "21"))} == {Outcome.OK}
    assert (await store.reader.mark("rows"))[1] == "21"
    assert (await store.reader.verify_ledger()).balanced


async def refused(store: SqliteStore) -> PutResult | StoreBusy:
    message = make_message(store, raw=os.urandom(100_000))
    try:
        return await put(store, message, [make_delivery(store, message)])
    except StoreBusy as error:
        return error


async def test_a_full_disk_refuses_keeps_marks_and_recovers(small_disk: SmallDisk, opener: SqliteOpener) -> None:
    store = await opener(small_disk.path / "store")
    _, delivery = await put_one(store)
    _, second = await put_one(store)
    small_disk.fill()
    accepted: list[int] = []
    while store.writable:
        answer = await refused(store)
        if isinstance(answer, PutResult) and answer.outcome is Outcome.OK:
            accepted.append(answer.message.id)
        else:
            assert isinstance(answer if isinstance(answer, StoreBusy) else answer.error, StoreBusy)
    with pytest.raises(StoreBusy):
        store.put(make_message(store), [], lambda result: None)
    with pytest.raises(StoreBusy):
        await store.apply(audit={"actor": "li"})
    done: list[str] = []
    delivery.state = DeliveryState.DELIVERED
    store.finish(delivery, None, lambda: done.append("delivery"))
    second.state = DeliveryState.DEAD
    store.finish(second, None, lambda: done.append("second"))
    assert done == []
    small_disk.free()
    await until(lambda: store.writable)
    await until(lambda: len(done) == 2)
    assert done == ["delivery", "second"]
    await put_one(store)
    for number, state in ((delivery.id, DeliveryState.DELIVERED), (second.id, DeliveryState.DEAD)):
        found = await store.reader.delivery(number)
        assert found is not None
        assert found.state is state
    for message_id in accepted:
        assert await store.reader.message(message_id) is not None
    report = await store.reader.verify_ledger()
    assert report.balanced, report.problems
    assert report.messages == 3 + len(accepted)
    assert await store.reader.audit() == []


async def test_closing_on_a_full_disk_says_what_was_not_written(small_disk: SmallDisk, opener: SqliteOpener) -> None:
    store = await opener(small_disk.path / "store")
    _, delivery = await put_one(store)
    small_disk.fill()
    while store.writable:
        await refused(store)
    delivery.state = DeliveryState.DELIVERED
    store.finish(delivery, None)
    with pytest.raises(StoreBusy, match="1"):
        await store.close()
    small_disk.free()
    again = await opener(small_disk.path / "store")
    opened = await again.open_deliveries("lis/in", 0, 10, 1 << 20)
    assert delivery.id in [d.id for d in opened]
    assert (await again.reader.verify_ledger()).balanced


async def test_a_file_that_may_not_grow_refuses_and_recovers(opener: SqliteOpener) -> None:
    """The same without privileges: SQLite itself refuses to let the file grow until it is opened again."""
    store = await opener()
    _, delivery = await put_one(store)
    connection = store._writer.segments.current.connection
    await store._in_turn(TASK, lambda: connection.execute("PRAGMA max_page_count = 1").fetchall())
    message = make_message(store, raw=os.urandom(1 << 20))
    results: list[PutResult] = []
    store.put(message, [], results.append)
    delivery.state = DeliveryState.DELIVERED
    done: list[bool] = []
    store.finish(delivery, None, lambda: done.append(True))
    await until(lambda: results)
    assert results[0].outcome is Outcome.REFUSED
    assert isinstance(results[0].error, StoreBusy)
    await until(lambda: done and store.writable)
    assert (await put(store, message)).outcome is Outcome.OK
    assert await store.reader.message(message.id) == message
    assert (await store.reader.verify_ledger()).balanced


async def test_too_little_free_disk_refuses_messages_but_not_marks(
    opener: SqliteOpener, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    free = [10 << 30]
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("hub.store.writer.disk_usage", lambda path: usage._replace(free=free[0]))
    store = await opener(min_free_disk=1 << 30)
    _, delivery = await put_one(store)
    free[0] = 1 << 20

    async def answer() -> bool:
        try:
            await put(store, make_message(store))
        except StoreBusy:
            return False
        return True

    deadline = time.monotonic() + 20
    while await answer():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert store.writable
    assert store.disk_low
    dropped = store.dropped_calls
    store.log(make_call(store, outcome=Outcome.REFUSED))
    assert store.dropped_calls == dropped + 1
    await finish(store, delivery, DeliveryState.DELIVERED)
    free[0] = (1 << 30) + (1 << 20)  # a little more than the limit is not enough to start again
    checks = store._writer._next_disk_check
    await until(lambda: store._writer._next_disk_check > checks)
    assert not await answer()
    free[0] = 2 << 30
    await until(lambda: not store.disk_low)
    assert await answer()


async def test_a_segment_that_cannot_be_begun_is_begun_later(
    opener: SqliteOpener, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await opener(segment_messages=5)
    failing = True
    real = Catalog.add_segment

    def add_segment(self: Catalog, first_id: int) -> None:
        if failing:
            raise apsw.FullError("database or disk is full")
        real(self, first_id)

    monkeypatch.setattr(Catalog, "add_segment", add_segment)
    for _ in range(5):
        await put_one(store)
    await until(lambda: not store.writable)
    with pytest.raises(StoreBusy):
        await put_one(store)
    await until(lambda: store.writable)  # the disk itself is sound: it is tried again with the next message
    result = await put(store, make_message(store))
    assert result.outcome is Outcome.REFUSED
    failing = False
    await until(lambda: store.writable)
    message, delivery = await put_one(store)
    assert await store.reader.message(message.id) == message
    assert [d.id for d in await store.reader.deliveries_of(message.id)] == [delivery.id]
    assert (await store.reader.size())["segments"] == 2
    report = await store.reader.verify_ledger()
    assert report.balanced, report.problems


async def test_a_commit_that_reached_the_disk_although_it_failed(
    opener: SqliteOpener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender was refused, the message is there: its number must not be given to another one."""
    store = await opener()
    _, delivery = await put_one(store)
    real = SegmentWriter.commit
    failures = [1]

    def commit(self: SegmentWriter) -> None:
        real(self)
        if failures:
            failures.pop()
            raise apsw.IOError("disk I/O error")

    message = make_message(store, "C1", b"x", type="ORU^R01")
    delivery.state = DeliveryState.DELIVERED
    done: list[bool] = []
    results: list[PutResult] = []
    with monkeypatch.context() as patch:
        patch.setattr(SegmentWriter, "commit", commit)
        store.put(message, [make_delivery(store, message)], results.append, duplicate_window_us=DAY_US)
        store.finish(delivery, make_call(store, delivery_id=delivery.id), lambda: done.append(True))
        await until(lambda: results and done)
    assert results[0].outcome is Outcome.REFUSED
    again = make_message(store, "C1", b"x", type="ORU^R01")
    result = await put(store, again, [make_delivery(store, again)], window=DAY_US)
    assert (result.outcome, result.earlier) == (Outcome.DUPLICATE, message.id)
    await put_one(store)
    assert len(await store.reader.calls_of(delivery.message_id)) == 1
    report = await store.reader.verify_ledger()
    assert report.balanced, report.problems
    assert report.messages == 3


async def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(HubError) as caught:
        await SqliteStore(tmp_path / "file" / "store", StoreConfig()).open()
    assert caught.value.code == "store.open"
    assert str(tmp_path) in caught.value.text
