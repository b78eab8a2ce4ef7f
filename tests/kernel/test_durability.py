"""The hub is killed in the middle of its work: what it acknowledged is there and goes on its way."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.store.merged import open_reader
from tests.kernel.process import HubProcess, MllpClient, Sink, adt, make_site, wait_for

ROUNDS = 2
SENDERS = 4


@pytest.fixture
def sink() -> Iterator[Sink]:
    server = Sink()
    yield server
    server.close()


async def test_what_was_acknowledged_survives_a_kill_and_is_delivered_in_order(tmp_path: Path, sink: Sink) -> None:
    config = make_site(tmp_path, sink.url)
    chance = random.Random()
    acknowledged: dict[int, list[int]] = {sender: [] for sender in range(SENDERS)}
    sent = dict.fromkeys(range(SENDERS), 0)

    def keep_sending(port: int, sender: int) -> None:
        """One patient per sender, numbers rising; the last one has no answer when the hub is killed."""
        client = MllpClient(port)
        try:
            while True:
                number = sent[sender] = sent[sender] + 1
                if client.ask(adt(f"S{sender}N{number:06}", f"P{sender}")) != "AA":
                    return
                acknowledged[sender].append(number)
        except OSError:
            return
        finally:
            client.close()

    for _ in range(ROUNDS):
        hub = HubProcess(config)
        before = sum(map(len, acknowledged.values()))
        threads = [
            threading.Thread(target=keep_sending, args=(hub.port(), sender), daemon=True) for sender in range(SENDERS)
        ]
        for thread in threads:
            thread.start()
        wanted = before + chance.randrange(20, 300)
        wait_for(lambda wanted=wanted: sum(map(len, acknowledged.values())) >= wanted, "acknowledgements")
        hub.kill()
        for thread in threads:
            thread.join()
    with HubProcess(config) as hub:
        names = {f"S{sender}N{number:06}" for sender, numbers in acknowledged.items() for number in numbers}
        wait_for(lambda: names <= set(sink.numbers()), "delivery of everything acknowledged")
        # What was stored and could not be acknowledged any more is delivered as well.
        wait_for(lambda: all(row["moving"] == 0 for row in hub.call("GET", "/api/v1/ledger").json["rows"]), "the rest")
    for sender in range(SENDERS):
        got = [name for name in dict.fromkeys(sink.numbers()) if name.startswith(f"S{sender}N")]
        assert got == sorted(got)
    reader = open_reader([tmp_path / "var" / "worker-00"])
    try:
        report = await reader.verify_ledger()
        assert report.balanced, report.problems
        assert len(names) <= report.messages <= len(names) + SENDERS * ROUNDS
        assert all(row.moving == 0 for row in report.rows)
        assert await reader.check() == []
    finally:
        await reader.close()
