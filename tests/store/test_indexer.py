"""The indexer: crashes, restarts, several folders, text kept for the newest messages only."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

import hub.store.indexer as indexer_module
from hub.message import DeliveryState
from hub.store.base import MessageQuery
from hub.store.derived import marker_of
from hub.store.indexer import FolderIndexer, index_now
from hub.store.indexer_process import IndexerProcess
from hub.store.search import index_lag, run_search
from hub.store.segment import list_segments, segment_path
from tests.store.conftest import SqliteOpener
from tests.store.search_support import Builder, expected
from tests.store.store_support import finish, make_delivery, make_message, put

ROOT = Path(indexer_module.__file__).parents[2]


def lag(folder: Path) -> tuple[int, int]:
    return index_lag(list_segments(folder))


def fill(builder: Builder, count: int, text: str = "hello") -> None:
    connection = builder.connection
    connection.execute("BEGIN")
    for number in range(count):
        builder.add(
            keys={"patient_id": str(number % 97), "name": f"张三{number % 13}"},
            raw=f"{text} {number}".encode(),
            control_id=str(number),
            routed=[("r", "lis/in", DeliveryState.DELIVERED)],
        )
    connection.execute("COMMIT")


def finds_everything(builder: Builder) -> None:
    for query in (
        MessageQuery(keys={"patient_id": "5"}, limit=1000),
        MessageQuery(keys={"name": "三7"}, limit=1000),
        MessageQuery(control_id="3"),
        MessageQuery(system="his", limit=1000),
    ):
        page = run_search(list_segments(builder.folder), query)
        assert ([row.id for row in page.rows], page.more) == expected(builder.messages, query)


def entries(folder: Path) -> list[object]:
    """What the indexes hold, apart from how they came about."""
    found: list[object] = []
    for path in sorted(folder.glob("keys-*.db")):
        connection = apsw.Connection(str(path))
        found += connection.execute(
            "SELECT k.text, e.value, e.id FROM entry e JOIN kind k ON k.id = e.kind ORDER BY 1, 2, 3"
        ).fetchall()
        found += connection.execute(
            "SELECT e.source, e.type, e.conflict, e.routed, s.id FROM seen s JOIN envelope e ON e.id = s.envelope ORDER BY s.id"
        ).fetchall()
        connection.close()
    return found


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.02)


def start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "hub.store.indexer", *arguments],
        stdin=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    assert process.stdin is not None
    process.stdin.close()


def test_bit_by_bit_gives_the_same_as_at_once(tmp_path: Path) -> None:
    for name in ("once", "bits"):
        builder = Builder(tmp_path / name)
        fill(builder, 300)
        while index_now(builder.folder, limit=None if name == "once" else 7):
            pass
        builder.close()
    assert entries(tmp_path / "once") == entries(tmp_path / "bits") != []


async def test_killed_in_mid_batch_it_continues_where_it_was(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "killed")
    whole = Builder(tmp_path / "whole")
    for each in (builder, whole):
        fill(each, 12_000)
        each.new_segment()
        fill(each, 10)
    halfway = 0
    for _ in range(20):
        if lag(builder.folder) == (0, 0):
            if halfway > 1:
                break
            for each in (builder, whole):  # it was faster than we looked
                fill(each, 12_000, "more")
        before = lag(builder.folder)
        process = start("--folder", str(builder.folder))
        try:
            # The moment is any: sometimes in a key batch, sometimes in a text step.
            await until(lambda before=before: lag(builder.folder) != before)  # type: ignore[misc]
        finally:
            end(process)
        halfway += lag(builder.folder) != (0, 0)
        finds_everything(builder)
    assert lag(builder.folder) == (0, 0)
    assert halfway > 1
    index_now(whole.folder)
    index_now(builder.folder)  # what is left is to merge runs
    assert entries(builder.folder) == entries(whole.folder)
    page = run_search(list_segments(builder.folder), MessageQuery(text="hello 1234"))
    assert [row.id for row in page.rows] == [builder.messages[1234].id]
    for path in builder.folder.glob("*.db"):
        connection = apsw.Connection(str(path))
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
    builder.close()
    whole.close()


def test_a_batch_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hub.store.keys as keys_module

    builder = Builder(tmp_path)
    fill(builder, 50)
    real = keys_module.write_marks

    def fail(*_: object, **__: object) -> None:
        raise apsw.FullError("database or disk is full")

    monkeypatch.setattr(keys_module, "write_marks", fail)
    with pytest.raises(apsw.FullError):
        index_now(tmp_path)
    assert entries(tmp_path) == []
    monkeypatch.setattr(keys_module, "write_marks", real)
    finds_everything(builder)
    assert index_now(tmp_path) == 50
    finds_everything(builder)
    builder.close()


async def test_the_process_follows_several_folders_while_they_grow(tmp_path: Path) -> None:
    builders = [Builder(tmp_path / str(worker), worker) for worker in range(3)]
    for builder in builders:
        fill(builder, 100)
    process = IndexerProcess([builder.folder for builder in builders])
    await process.start()
    try:
        for _ in range(3):
            for builder in builders:
                fill(builder, 200)
            await until(lambda: all(lag(builder.folder) == (0, 0) for builder in builders))
            for builder in builders:
                finds_everything(builder)
                builder.new_segment()
    finally:
        await process.stop()
    assert process.pid == 0
    for builder in builders:
        builder.close()


async def test_it_is_started_again_when_it_dies(tmp_path: Path) -> None:
    builder = Builder(tmp_path)
    fill(builder, 10)
    process = IndexerProcess([tmp_path], text=False, pause=0.05)
    await process.start()
    first = process.pid
    assert first
    os.kill(first, signal.SIGKILL)
    await until(lambda: process.pid not in (0, first))
    assert process.restarts == 1
    fill(builder, 10)
    await until(lambda: lag(tmp_path)[0] == 0)
    assert not list(tmp_path.glob("text-*.db"))
    await process.stop()
    builder.close()


@pytest.mark.parametrize("how", ["stdin", "SIGTERM"])
def test_it_ends_when_asked_and_when_the_hub_has_gone(tmp_path: Path, how: str) -> None:
    builder = Builder(tmp_path)
    fill(builder, 10)
    process = start("--folder", str(tmp_path))
    try:
        assert process.stdin is not None
        deadline = time.monotonic() + 60
        while lag(tmp_path) != (0, 0):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        if how == "stdin":
            process.stdin.close()
        else:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        end(process)
    builder.close()


async def test_it_outlives_a_folder_that_can_not_be_read(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "good")
    fill(builder, 10)
    (tmp_path / "bad").mkdir()
    segment_path(tmp_path / "bad", 5).write_bytes(b"no database" * 1000)
    process = IndexerProcess([tmp_path / "missing", tmp_path / "bad", builder.folder])
    await process.start()
    await until(lambda: lag(builder.folder) == (0, 0))
    assert process.restarts == 0
    await process.stop()
    builder.close()


def work_all(indexer: FolderIndexer) -> None:
    """Let the indexer do what it would do in the course of time."""
    deadline = time.monotonic() + 60
    idle = 0
    while idle < 3:
        assert time.monotonic() < deadline
        indexer._next_list = indexer._next_keys = indexer._next_extras = indexer._next_text = 0.0
        idle = 0 if indexer.work() else idle + 1


def test_text_is_kept_for_the_newest_messages_only(tmp_path: Path) -> None:
    builder = Builder(tmp_path)
    for number in range(5):
        builder.new_segment()
        fill(builder, 100, f"segment{number}")
    index_now(tmp_path)
    assert len(list(tmp_path.glob("text-*.db"))) == 5
    indexer = FolderIndexer(tmp_path, text_messages=150)
    work_all(indexer)
    assert len(list(tmp_path.glob("text-*.db"))) == 2
    for number in range(5):
        page = run_search(list_segments(tmp_path), MessageQuery(text=f"segment{number}"))
        assert bool(page.rows) is (number >= 3)
        assert page.text_lag == 0
    builder.new_segment()
    fill(builder, 100, "segment5")
    assert lag(tmp_path) == (100, 100)
    work_all(indexer)
    indexer.close()
    assert lag(tmp_path) == (0, 0)
    assert len(list(tmp_path.glob("text-*.db"))) == 2
    builder.close()


def test_the_text_of_a_complete_segment_becomes_one_piece(tmp_path: Path) -> None:
    builder = Builder(tmp_path)
    indexer = FolderIndexer(tmp_path)
    for _ in range(6):
        fill(builder, 200)
        work_all(indexer)
    builder.new_segment()
    fill(builder, 5)
    work_all(indexer)
    indexer.close()
    oldest = sorted(tmp_path.glob("text-*.db"))[0]
    connection = apsw.Connection(str(oldest))
    assert connection.execute("SELECT value FROM meta WHERE key = 'merged'").fetchall() == [(1,)]
    assert len(connection.execute("SELECT DISTINCT segid FROM body_idx").fetchall()) == 1
    connection.execute("INSERT INTO body(body) VALUES ('integrity-check')")
    connection.close()
    page = run_search(list_segments(tmp_path), MessageQuery(text="hello", limit=1000))
    assert page.more
    builder.close()


@pytest.mark.parametrize("kind", ["keys", "text"])
def test_indexes_that_vanish_or_are_reported_are_built_again_while_it_runs(tmp_path: Path, kind: str) -> None:
    builder = Builder(tmp_path)
    fill(builder, 100)
    builder.new_segment()
    fill(builder, 100)
    indexer = FolderIndexer(tmp_path)
    work_all(indexer)
    for path in sorted(tmp_path.glob(f"{kind}-*.db")):
        for part in tmp_path.glob(path.name + "*"):
            part.unlink()
        finds_everything(builder)
        work_all(indexer)
        assert lag(tmp_path) == (0, 0)
        marker_of(path).touch()
        inode = path.stat().st_ino
        keep = path.open("rb")  # so that its inode number is not used again
        work_all(indexer)
        assert path.stat().st_ino != inode
        keep.close()
        assert lag(tmp_path) == (0, 0)
        finds_everything(builder)
    indexer.close()
    builder.close()


def test_indexes_of_pruned_segments_are_removed(tmp_path: Path) -> None:
    builder = Builder(tmp_path)
    gone = builder.new_segment()
    fill(builder, 10)
    builder.new_segment()
    fill(builder, 10)
    indexer = FolderIndexer(tmp_path)
    work_all(indexer)
    gone.unlink()
    work_all(indexer)
    indexer.close()
    stem = gone.stem.removeprefix("segment")
    assert not list(tmp_path.glob(f"keys{stem}*")) + list(tmp_path.glob(f"text{stem}*"))
    assert len(list(tmp_path.glob("keys-*.db"))) == 1
    builder.close()


def test_damage_met_while_indexing_is_repaired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexer_module, "_PAUSE_S", 0.0)
    builder = Builder(tmp_path)
    fill(builder, 3000)
    index_now(tmp_path)
    for path in [*tmp_path.glob("keys-*.db"), *tmp_path.glob("text-*.db")]:
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(8192)
            file.write(b"\xa5" * (size - 8192))
    fill(builder, 3000)
    indexer = FolderIndexer(tmp_path)
    work_all(indexer)
    indexer.close()
    assert lag(tmp_path) == (0, 0)
    finds_everything(builder)
    builder.close()


def test_deliveries_made_by_operators_are_noted_once_they_are_old_enough(tmp_path: Path) -> None:
    builder = Builder(tmp_path)
    fill(builder, 20)
    forwarded = builder.messages[3]
    builder.deliver(forwarded, "pay/in", DeliveryState.DELIVERED)
    query = MessageQuery(target="pay")
    for _ in range(2):
        assert [row.id for row in run_search(list_segments(tmp_path), query).rows] == [forwarded.id]
        index_now(tmp_path)
    (path,) = tmp_path.glob("keys-*.db")
    connection = apsw.Connection(str(path))
    assert connection.execute("SELECT message_id FROM extra").fetchall() == [(forwarded.id,)]
    connection.close()
    builder.close()


def test_it_loads_nothing_it_does_not_need() -> None:
    code = "import sys, hub.store.indexer; print([m for m in ('pydantic', 'aiohttp', 'yaml', 'hub.contract', 'cryptography', 'asyncio') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_a_store_is_searched_while_it_is_written(opener: SqliteOpener) -> None:
    """The real writer and reader, a new segment begun on the way, results never behind."""
    store = await opener(segment_messages=1000)
    process = IndexerProcess([store.folder])
    await process.start()
    try:
        for start in range(0, 2500, 250):
            messages = [
                make_message(
                    store, f"c{n}", raw=f"word{n} 张三".encode(), keys={"visit": f"V{n // 2}", "name": "张三丰"}
                )
                for n in range(start, start + 250)
            ]
            deliveries = [make_delivery(store, message) for message in messages]
            await asyncio.gather(*(put(store, m, [d]) for m, d in zip(messages, deliveries, strict=True)))
            await finish(store, deliveries[7], DeliveryState.DEAD)
            by_visit = await store.reader.search(MessageQuery(keys={"visit": f"v{start // 2 + 3}"}))
            assert [row.control_id for row in by_visit.rows] == [f"c{start + 7}", f"c{start + 6}"]
            dead = await store.reader.search(MessageQuery(state=DeliveryState.DEAD, keys={"name": "三"}))
            assert [row.control_id for row in dead.rows] == [f"c{n + 7}" for n in range(start, -1, -250)]
            assert dead.rows[0].deliveries == [("lis/in", DeliveryState.DEAD)]
        await until(lambda: lag(store.folder) == (0, 0))
        assert len(list_segments(store.folder)) == 3
        for number in (0, 999, 1000, 2499):
            page = await store.reader.search(MessageQuery(text=f"张三 word{number}"))
            assert [row.control_id for row in page.rows] == [f"c{number}"]
    finally:
        await process.stop()
