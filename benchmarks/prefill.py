"""Stores with a past: deliveries that a crash left pending, and messages of the last month."""

from __future__ import annotations

import asyncio
import shutil
import time
from hashlib import blake2b
from pathlib import Path

import apsw
import uvloop

from benchmarks import search
from benchmarks.load import control_id
from benchmarks.mapping import MESSAGE
from hub.contract import StoreConfig
from hub.message import CallRecord, Delivery, Direction, Message, Outcome
from hub.store.base import PutResult
from hub.store.indexer import index_now
from hub.store.schema import SCHEMA_VERSION
from hub.store.segment import list_segments
from hub.store.sqlite import SqliteStore

__all__ = ["fill_history", "fill_pending"]

_AHEAD = 4_000


def fill_pending(folder: Path, count: int) -> None:
    """Messages of ``source0/adt``, each with a pending delivery to ``target0/in``; through the store, as the hub would."""
    uvloop.run(_fill_pending(folder, count))


async def _fill_pending(folder: Path, count: int) -> None:
    store = SqliteStore(folder, StoreConfig(min_free_disk=0, queue=_AHEAD * 2))
    await store.open()
    room = asyncio.Semaphore(_AHEAD)
    refused: list[PutResult] = []

    def done(result: PutResult) -> None:
        if result.outcome is not Outcome.OK:
            refused.append(result)
        room.release()

    next_id = store.ids.next
    for number in range(count):
        await room.acquire()
        now = time.time_ns() // 1000
        control = control_id("fill", number % 10_000, number // 10_000)
        patient = f"8{number % 100_000:08d}"
        raw = MESSAGE.replace(b"CTRL0001", control).replace(b"800012345", patient.encode())
        message = Message(
            id=next_id(),
            received_at=now,
            source="source0/adt",
            type="ADT^A01",
            control_id=control.decode(),
            raw=raw,
            keys={"patient_id": patient},
            content_hash=blake2b(raw, digest_size=16).digest(),
            codec="hl7v2",
        )
        delivery = Delivery(next_id(), message.id, "route0", "target0/in", patient, updated_at=now)
        call = CallRecord(next_id(), now, Direction.IN, "source0/adt", Outcome.OK, message.id)
        store.put(message, [delivery], done, call=call)
    for _ in range(_AHEAD):
        await room.acquire()
    await store.close()
    if refused:
        raise RuntimeError(f"{len(refused)} messages were not stored: {refused[0].error}")


def fill_history(folder: Path, count: int) -> None:
    """Segments with messages of the past beside the hub's own, indexed; the hub must have made ``folder`` before."""
    search.build(count)
    index_now(search.FOLDER)
    for segment in list_segments(search.FOLDER):
        connection = apsw.Connection(str(segment.path))
        row = connection.execute("SELECT count(*), max(seq), max(received_at) FROM message").fetchall()[0]
        summary = [("schema_version", SCHEMA_VERSION), *zip(("messages", "seq_max", "received_max"), row, strict=True)]
        connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", summary)
        connection.close()
    for path in list(search.FOLDER.iterdir()):
        shutil.move(path, folder / path.name)
    search.FOLDER.rmdir()
