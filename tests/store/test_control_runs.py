"""What was received before is recognised wherever its control id is kept: in memory, in a run, in an older segment."""

from __future__ import annotations

import random
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

from hub.message import Message, Outcome
from hub.store import control_runs
from hub.store.sqlite import SqliteStore
from tests.store.conftest import SqliteOpener
from tests.store.store_support import DAY_US, make_message, put


@pytest.fixture(autouse=True)
def _short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_runs, "RUN", 6)


def runs(store: SqliteStore) -> list[int]:
    """Length of each run of the newest segment."""
    connection = store.reader.segments()[-1].connection()
    return [row[0] for row in connection.execute("SELECT count(*) FROM control GROUP BY run ORDER BY run").fetchall()]


@pytest.mark.parametrize("segment_messages", [25, 1000])
@pytest.mark.parametrize("seed", range(4))
async def test_any_order_of_repeats_conflicts_restarts_and_crashes(
    opener: SqliteOpener, tmp_path: Path, seed: int, segment_messages: int
) -> None:
    chance = random.Random(seed)
    folder = tmp_path / "0"
    store = await opener(folder, segment_messages=segment_messages)
    stored: defaultdict[tuple[str, str], dict[bytes, int]] = defaultdict(dict)
    late: list[Message] = []  # have an id, come later
    for number in range(220):
        raw = b"%d" % chance.randrange(3)
        control = str(chance.randrange(40))
        message = make_message(store, control, raw, source=chance.choice(("his/adt", "lis/out")))
        if chance.random() < 0.1:
            late.append(message)
            continue
        if late and chance.random() < 0.2:
            message = late.pop(chance.randrange(len(late)))
        known = stored[message.source, message.control_id]
        result = await put(store, message, window=DAY_US)
        if message.raw in known:
            assert (result.outcome, result.earlier) == (Outcome.DUPLICATE, known[message.raw])
        else:
            assert result.outcome is (Outcome.CONFLICT if known else Outcome.OK)
            known[message.raw] = message.id
        step = chance.random()
        if step < 0.03:
            await store.close()
            store = await opener(folder, segment_messages=segment_messages)
        elif step < 0.06:  # as the power fails: what was committed is in the files, nothing was closed
            folder = Path(shutil.copytree(folder, tmp_path / str(number + 1)))
            store = await opener(folder, segment_messages=segment_messages)
    assert (await store.reader.verify_ledger()).balanced


async def test_runs_are_written_together_and_hold_every_id_once(opener: SqliteOpener) -> None:
    store = await opener()
    for number in range(40):
        await put(store, make_message(store, str(number)), window=DAY_US)
    await put(store, make_message(store, "3", b"other bytes"), window=DAY_US)
    assert len(runs(store)) > 3
    assert all(length >= 6 for length in runs(store))
    await store.close()
    store = await opener()
    assert sum(runs(store)) == 40  # the conflict is in the index of conflicts


async def test_a_sender_that_numbers_everything_alike(opener: SqliteOpener) -> None:
    store = await opener()
    sent = [make_message(store, "1", b"%d" % number) for number in range(60)]
    outcomes = [(await put(store, message, window=DAY_US)).outcome for message in sent]
    assert outcomes == [Outcome.OK] + [Outcome.CONFLICT] * 59
    for message in (sent[0], sent[30], sent[59]):
        result = await put(store, make_message(store, "1", message.raw), window=DAY_US)
        assert (result.outcome, result.earlier) == (Outcome.DUPLICATE, message.id)
    assert sum(runs(store)) <= 1


async def test_what_was_pruned_is_not_recognised(opener: SqliteOpener) -> None:
    store = await opener()
    message = make_message(store, "P", received_at=1_000_000)
    await put(store, message, window=DAY_US)
    await store.prune(10_000)
    assert await store.reader.message(message.id) is None
    again = make_message(store, "P", received_at=1_000_001)
    assert (await put(store, again, window=DAY_US)).outcome is Outcome.OK
