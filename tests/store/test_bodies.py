"""Large bodies in files of their own: there when the row is, gone when it is gone."""

from __future__ import annotations

import os
import random
import signal
from functools import partial
from pathlib import Path

import apsw
import pytest

import hub.store.segments
from hub.contract import StoreConfig
from hub.errors import StoreCorrupt
from hub.ids import millis_of
from hub.message import DeliveryState, Outcome
from hub.store import queries
from hub.store.base import MessageQuery
from hub.store.indexer import index_now
from hub.store.merged import open_reader
from hub.store.sealer import Sealer
from hub.store.segment_writer import SegmentWriter
from hub.store.sqlite import SqliteStore
from tests.store.conftest import SqliteOpener
from tests.store.sealed_support import LocalKeys
from tests.store.store_support import HOUR_US, finish, make_call, make_delivery, make_message, put, put_one, until
from tests.store.test_sqlite_crash import reported, start_child
from tests.store.test_sqlite_disk import SmallDisk, small_disk

__all__ = ["small_disk"]

LARGE = b"PID|1||Penicillin " * 1000


@pytest.fixture(params=[None, "aes-256-gcm"], ids=["plain", "sealed"])
def sealer(request: pytest.FixtureRequest) -> Sealer | None:
    return None if request.param is None else Sealer(LocalKeys(), request.param)


def files(folder: Path) -> list[Path]:
    return [path for path in (folder / "bodies").rglob("*") if path.is_file()]


def referred(folder: Path) -> set[str]:
    found: set[str] = set()
    for path in folder.glob("segment-*.db"):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        for sql in (
            "SELECT raw FROM payload WHERE form & 2",
            "SELECT payload FROM fixed WHERE form & 2",
            "SELECT request FROM body WHERE forms & 2",
            "SELECT response FROM body WHERE forms & 8",
        ):
            found.update(row[0].decode().split()[0] for row in connection.execute(sql))
        connection.close()
    return found


def nothing_left_over(folder: Path) -> None:
    assert {path.relative_to(folder / "bodies").as_posix() for path in files(folder)} == referred(folder)


async def fill(store: SqliteStore, control_id: str = "C1") -> tuple[int, int]:
    message = make_message(store, control_id, LARGE)
    delivery = make_delivery(store, message, payload=LARGE + b"fixed")
    await put(store, message, [delivery], window=HOUR_US)
    call = make_call(store, delivery_id=delivery.id, message_id=message.id, request=LARGE + b"q", response=LARGE + b"r")
    await finish(store, delivery, DeliveryState.DELIVERED, call)
    return message.id, delivery.id


async def test_large_bodies_are_files_and_read_as_before(opener: SqliteOpener, sealer: Sealer | None) -> None:
    store = await opener(claim_above=4096)
    message_id, delivery_id = await fill(store)
    _small, _ = await put_one(store)
    assert len(files(store.folder)) == 4
    nothing_left_over(store.folder)
    for _ in range(2):
        message = await store.reader.message(message_id)
        assert message is not None
        assert message.raw == LARGE
        delivery = await store.reader.delivery(delivery_id)
        assert delivery is not None
        assert delivery.payload == LARGE + b"fixed"
        (call,) = await store.reader.calls_of(message_id)
        assert (call.request, call.response) == (LARGE + b"q", LARGE + b"r")
        assert (await put(store, make_message(store, "C1", LARGE), window=HOUR_US)).outcome is Outcome.DUPLICATE
        index_now(store.folder, sealer=sealer)
        rows = (await store.reader.search(MessageQuery(text="penicillin"))).rows
        assert [(row.id, row.size) for row in rows] == [(message_id, len(LARGE))]
        nothing_left_over(store.folder)
        store = await opener(claim_above=4096)


async def test_the_window_of_a_queue_counts_the_bytes_of_files(opener: SqliteOpener) -> None:
    store = await opener(claim_above=4096)
    for _ in range(4):
        await put_one(store, raw=LARGE)
    found = await store.open_deliveries("lis/in", 0, 100, 2 * len(LARGE))
    assert len(found) == 2
    assert found[0].message is not None
    assert found[0].message.raw == LARGE
    assert len(await store.open_deliveries("lis/in", 0, 100, 1)) == 1


async def test_a_file_goes_with_its_row(opener: SqliteOpener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.store.segments.SegmentSet, "room", property(lambda self: 4 - self.current.messages))
    store = await opener(claim_above=4096)
    for number in range(6):  # the first four are a segment that is removed as a whole
        await fill(store, f"C{number}")
    kept, _ = await put_one(store, raw=LARGE)
    store.log(make_call(store, request=LARGE, outcome=Outcome.REFUSED))
    await store.reported()
    assert len(files(store.folder)) == 6 * 4 + 2
    report = await store.prune(kept.received_at // 1000 + 60_000)
    assert (report.messages, report.kept) == (6, 1)
    assert len(files(store.folder)) == 1
    assert (await store.reader.message(kept.id)) == kept
    nothing_left_over(store.folder)


async def test_edited_bytes_replace_the_file(opener: SqliteOpener) -> None:
    store = await opener(claim_above=4096)
    _message, delivery = await put_one(store, payload=LARGE)
    delivery.payload = LARGE[::-1]
    await store.apply(update=[delivery])
    found = await store.reader.delivery(delivery.id)
    assert found is not None
    assert found.payload == LARGE[::-1]
    nothing_left_over(store.folder)
    delivery.payload = None
    await store.apply(update=[delivery])
    assert files(store.folder) == []


async def test_what_is_refused_leaves_no_file(opener: SqliteOpener) -> None:
    store = await opener(claim_above=4096)
    _message, delivery = await put_one(store, raw=LARGE)
    bad = make_message(store, raw=LARGE, type="\ud800")
    assert (await put(store, bad)).outcome is Outcome.REFUSED
    delivery.payload, delivery.route = LARGE, "\ud800"
    delivery.id = store.ids.next()
    result = await put(store, make_message(store, raw=LARGE), [delivery])
    assert result.outcome is Outcome.REFUSED
    assert len(files(store.folder)) == 1
    nothing_left_over(store.folder)


async def test_a_missing_cut_or_swapped_file_is_told(opener: SqliteOpener, sealer: Sealer | None) -> None:
    store = await opener(claim_above=4096)
    first, _ = await put_one(store, raw=LARGE)
    second, _ = await put_one(store, raw=LARGE[::-1])
    path, other = sorted(files(store.folder), key=lambda path: path.name)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(StoreCorrupt):
        await store.reader.message(first.id)
    if sealer is not None:
        path.write_bytes(other.read_bytes())
        with pytest.raises(StoreCorrupt):
            await store.reader.message(first.id)
        path.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
        with pytest.raises(StoreCorrupt) as refused:
            await store.reader.message(first.id)
        assert refused.value.code == "store.tampered"
    assert await store.reader.check() == []
    path.unlink()
    with pytest.raises(StoreCorrupt, match="missing"):
        await store.reader.message(first.id)
    assert [path.name in finding for finding in await store.reader.check()] == [True]
    assert (await store.reader.message(second.id)) == second


async def test_a_reference_can_not_leave_the_folder(opener: SqliteOpener) -> None:
    store = await opener(claim_above=4096)
    message, _ = await put_one(store, raw=LARGE)
    await store.close()
    (path,) = store.folder.glob("segment-*.db")
    connection = apsw.Connection(str(path))
    for name in (b"../../../etc/passwd 10", b"/etc/passwd 10", b"0000000000000/../../x 1"):
        connection.execute("UPDATE payload SET raw = ?", (name,))
        reader = open_reader([store.folder], Sealer(LocalKeys(), "aes-256-gcm"))
        with pytest.raises(StoreCorrupt, match="name that is none"):
            await reader.message(message.id)
        await reader.close()
    connection.close()


async def test_after_a_commit_that_failed_only_rows_keep_their_files(
    opener: SqliteOpener, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await opener(claim_above=4096)
    await put_one(store, raw=LARGE)
    commit = SegmentWriter.commit
    failures = ["once"]

    def failing(self: SegmentWriter) -> None:
        if failures:
            failures.pop()
            self.flush()
            self.claims.sync()
            raise apsw.IOError("the disk failed")
        commit(self)

    monkeypatch.setattr(SegmentWriter, "commit", failing)
    assert (await put(store, make_message(store, raw=LARGE))).outcome is Outcome.REFUSED
    await until(lambda: store.writable)
    await put_one(store, raw=LARGE)
    nothing_left_over(store.folder)
    assert len(files(store.folder)) == 2


async def test_a_full_disk_refuses_large_bodies_and_leaves_no_half_file(
    opener: SqliteOpener, small_disk: SmallDisk
) -> None:
    store = await opener(small_disk.path / "store", claim_above=4096)
    await put_one(store, raw=LARGE)
    small_disk.fill()
    result = await put(store, make_message(store, raw=os.urandom(2 << 20)))
    assert result.outcome is Outcome.REFUSED
    small_disk.free()
    await until(lambda: store.writable)
    message, _ = await put_one(store, raw=LARGE)
    found = await store.reader.message(message.id)
    assert found is not None
    assert found.raw == LARGE
    nothing_left_over(store.folder)


def all_there(put_ids: list[int], segments: queries.Segments) -> None:
    # What came less than 400 ms before the kill can't have been pruned.
    certain = millis_of(max(put_ids)) - 300
    for message_id in put_ids:
        message = queries.load_message(segments, message_id)
        assert message is not None or millis_of(message_id) < certain
        if message is not None:
            assert len(message.raw) == 9000
            for call in queries.calls_of(segments, message_id):
                assert (len(call.request or b""), len(call.response or b"")) == (6000, 7000)


async def test_kill_loses_nothing_acknowledged_and_no_file_stays_behind(tmp_path: Path) -> None:
    chance = random.Random()
    for _ in range(5):
        child = start_child("claims", str(tmp_path / "store"))
        assert child.stdout is not None
        output = b""
        wanted = chance.randrange(1_000, 12_000)
        while len(output) < wanted:
            read = os.read(child.stdout.fileno(), 65_536)
            assert read, "the child ended by itself"
            output += read
        child.send_signal(signal.SIGKILL)
        output += child.stdout.read()
        child.wait()
        child.stdout.close()
        config = StoreConfig.model_construct(segment_messages=40, min_free_disk=0, claim_above=4096)
        store = SqliteStore(tmp_path / "store", config, sealer=Sealer(LocalKeys(), "aes-256-gcm"))
        await store.open()
        try:
            nothing_left_over(store.folder)
            await store.reader.ask(partial(all_there, reported(output)["put"]))
            report = await store.reader.verify_ledger()
            assert report.balanced, report.problems
        finally:
            await store.close()
