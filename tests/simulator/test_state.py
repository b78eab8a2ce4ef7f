"""What the simulated party remembers changes with calls it takes, and with no others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.registry import Registry
from hub.simulator import Simulator
from hub.simulator.counterpart import Listening
from hub.simulator.state import Memory, Record
from tests.simulator.simulator_support import Played, plugins, post

CONTRACT = """
id: till
name: 收银台
settings:
  url: {type: url, required: true}
interfaces:
  pay:
    direction: out
    adapter: http
    connect: {url: "${url}", path: /pay}
    codec: json
    success: code == 0
    reply: {code: code, message: text}
    errors: {"8": {class: permanent}}
    simulate:
      answer: {code: 0, cents: amount | int}
      state: {record: account, key: account, creates: true, becomes: "'paid'", keep: {amount: amount}, exists: "8"}
  look:
    direction: out
    adapter: http
    connect: {url: "${url}", path: "/accounts/{account}", method: GET}
    codec: json
    reply: {code: code}
    errors: {"9": {class: permanent}}
    simulate:
      answer: {status: $record.status, amount: $record.amount}
      state: {record: account, key: $path.account, missing: "9"}
"""


@pytest.fixture
def till(party: Played, tmp_path: Path) -> Iterator[Simulator]:
    (tmp_path / "till").mkdir()
    (tmp_path / "till" / "plugin.yaml").write_text(CONTRACT, encoding="utf-8")
    registry = Registry.discover([tmp_path])
    simulator = party.run(Simulator.start(registry.plugins["till"], registry, plugins()[1]))
    yield simulator
    party.run(simulator.stop())


def test_a_call_that_can_not_be_answered_has_changed_nothing(till: Simulator) -> None:
    def pay(amount: Any) -> Any:
        return json.loads(post(till.settings["url"] + "/pay", {"account": "A", "amount": amount})[2])

    assert pay("a lot")["code"] not in (0, "0", "8")
    assert till.records == []
    assert pay(12) == {"code": 0, "cents": 12}
    assert [record["status"] for record in till.records] == ["paid"]
    assert str(pay(13)["code"]) == "8"
    assert json.loads(post(till.settings["url"] + "/accounts/A", None, method="GET")[2]) == {
        "status": "paid",
        "amount": 12,
    }


def test_a_record_that_changes_pushes_no_other_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.simulator.state._MOST", 2)
    memory = Memory()
    for key in ("a", "b", "a", "b"):
        memory.put("account", key, Record(key))
    assert [one["key"] for one in memory.listed()] == ["a", "b"]
    memory.put("account", "c", Record())
    assert [one["key"] for one in memory.listed()] == ["b", "c"]


def test_one_that_fails_to_stop_keeps_no_other_open(party: Played, till: Simulator) -> None:
    class Broken(Listening):
        async def start(self) -> None:
            return

        async def stop(self) -> None:
            raise RuntimeError("of an adapter")

    till._listening.insert(0, Broken())
    with pytest.raises(RuntimeError):
        party.run(till.stop())
    with pytest.raises(OSError):
        post(till.settings["url"] + "/pay", {"account": "A", "amount": 1})
