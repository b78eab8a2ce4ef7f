"""Nothing acknowledged is lost and nothing is half done, however the process ends."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from hub.contract import StoreConfig
from hub.message import DeliveryState
from hub.store import queries
from hub.store.segment import SegmentFile
from hub.store.sqlite import SqliteStore
from tests.store.store_support import put_one

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 10


def start_child(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.store.child", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def reported(output: bytes) -> dict[str, list[int]]:
    """Complete lines only: the last one may have been cut off."""
    found: dict[str, list[int]] = {}
    for line in output.splitlines(keepends=True):
        if line.endswith(b"\n"):
            word, number = line.split()
            found.setdefault(word.decode(), []).append(int(number))
    return found


def everything_is_there(found: dict[str, list[int]], segments: Sequence[SegmentFile]) -> None:
    for message_id in found["put"]:
        assert queries.load_message(segments, message_id) is not None
        assert len(queries.deliveries_of(segments, message_id)) == 2
    for delivery_id in found.get("done", []):
        delivery = queries.load_delivery(segments, delivery_id)
        assert delivery is not None
        assert delivery.state is DeliveryState.DELIVERED


async def test_nothing_acknowledged_is_lost_by_kill(tmp_path: Path) -> None:
    chance = random.Random()
    total = 0
    for _ in range(ROUNDS):
        child = start_child("busy", str(tmp_path / "store"))
        assert child.stdout is not None
        output = b""
        wanted = chance.randrange(2_000, 40_000)  # bytes of acknowledgements after which it is killed
        while len(output) < wanted:
            read = os.read(child.stdout.fileno(), 65_536)
            assert read, "the child ended by itself"
            output += read
        child.send_signal(signal.SIGKILL)
        output += child.stdout.read()
        child.wait()
        child.stdout.close()
        found = reported(output)
        store = SqliteStore(tmp_path / "store", StoreConfig.model_construct(segment_messages=400, min_free_disk=0))
        await store.open()
        try:
            await store.reader.ask(partial(everything_is_there, found))
            total += len(found["put"])
            report = await store.reader.verify_ledger()
            assert report.balanced, report.problems
            assert report.messages >= total
            assert await store.reader.check() == []
        finally:
            await store.close()


async def test_a_source_that_is_read_again_after_kill_is_read_exactly_once(tmp_path: Path) -> None:
    chance = random.Random()
    for _ in range(ROUNDS):
        child = start_child("read", str(tmp_path / "store"))
        assert child.stdout is not None
        output = b""
        wanted = chance.randrange(50, 1_500)
        while len(output) < wanted:
            read = os.read(child.stdout.fileno(), 65_536)
            assert read, "the child ended by itself"
            output += read
        child.send_signal(signal.SIGKILL)
        output += child.stdout.read()
        child.wait()
        child.stdout.close()
        store = SqliteStore(tmp_path / "store", StoreConfig.model_construct(segment_messages=400, min_free_disk=0))
        await store.open()
        try:
            upto = int((await store.reader.mark("rows"))[1])
            assert upto >= max(reported(output)["row"])
            rows = await store.reader.ask(
                lambda segments: [
                    row[0]
                    for s in segments
                    for row in s.connection().execute("SELECT control_id FROM message ORDER BY id")
                ]
            )
            assert rows == [f"row {number}" for number in range(1, upto + 1)]
            report = await store.reader.verify_ledger()
            assert report.balanced, report.problems
        finally:
            await store.close()


@pytest.mark.parametrize(
    ("stage", "made"),
    [
        ("before the decision", False),
        ("after the decision", True),
        ("after part 1", True),
        ("after part 2", True),
        ("after all", True),
        ("never", True),
    ],
)
async def test_a_change_of_several_files_is_made_as_a_whole(tmp_path: Path, stage: str, made: bool) -> None:
    child = start_child("apply", str(tmp_path), stage)
    output, _ = child.communicate(timeout=60)
    found = reported(output)
    assert ("applied" in found) is (stage == "never")
    store = SqliteStore(tmp_path, StoreConfig.model_construct(segment_messages=3, min_free_disk=0))
    for _ in range(2):  # opening again must not make it again
        await store.open()
        (old,), (new,) = found["old"], found["new"]
        changed, forwarded = await store.reader.delivery(old), await store.reader.delivery(new)
        assert changed is not None
        assert changed.state is (DeliveryState.SKIPPED if made else DeliveryState.PENDING)
        assert (forwarded is not None) is made
        if forwarded is not None:
            assert forwarded.payload == b"fixed \x00"
            assert [d.id for d in await store.reader.deliveries_of(changed.message_id)] == [old, new]
        assert len(await store.reader.audit()) == made
        report = await store.reader.verify_ledger()
        assert report.balanced, report.problems
        await store.close()
        store = SqliteStore(tmp_path, StoreConfig.model_construct(segment_messages=3, min_free_disk=0))


async def test_a_killed_process_does_not_keep_the_lock(tmp_path: Path) -> None:
    child = start_child("busy", str(tmp_path / "store"))
    assert child.stdout is not None
    assert child.stdout.readline().startswith(b"put")
    child.kill()
    child.wait()
    child.stdout.close()
    store = SqliteStore(tmp_path / "store", StoreConfig(min_free_disk=0))
    await store.open()
    await put_one(store)
    await store.close()
