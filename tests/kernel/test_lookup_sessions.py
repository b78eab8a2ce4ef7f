"""Lookups for sessions and serials: the target's own system, what a reply is kept for, when it is forgotten, numbers of messages."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.api import Outgoing, Reply
from hub.delivery.lookup_readings import MOST_SERIALS, LookupFailed, Readings
from hub.ids import IdGenerator, millis_of
from hub.mapping import MappingLibrary
from hub.message import DeliveryState, Message
from hub.store.base import MessageQuery, MessageRow, SearchPage
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Site
from tests.kernel.wire import Peer

SESSION = """
from: {codec: json}
to: {codec: json}
lookups:
  serial: {serial: true}
  session:
    system: ./login
    request: {user: $settings.channel, at: $message.id}
    cache: 10m
    cache_by: {day: "'today'"}
    required: true
fields: {id: id, session: $session.number, serial: $serial}
"""
_ONE_SYSTEM = """
id: both
name: a target with a login
settings: {channel: {type: string, required: true}}
interfaces:
  up: &up
    direction: out
    adapter: wire
    connect: {channel: "${channel}"}
    codec: json
    mapping: m
    order_by: ''
    success: code == 0
    reply: {code: code}
    errors: {"9": {class: transient}}
    breaker: {failures: 1000, open_for: 10ms, max_open_for: 10ms}
  login:
    direction: out
    adapter: wire
    connect: {channel: "${channel}"}
    codec: json
    order_by: ''
    breaker: {failures: 1000, open_for: 10ms, max_open_for: 10ms}
"""


class Sessions:
    """A target that takes what has a session that still holds, and its login."""

    def __init__(self, site: Site, name: str = "bank") -> None:
        site.mapping("m", SESSION)
        site.plugin("both", _ONE_SYSTEM)
        site.system(name, "both")
        site.config["routes"][f"to_{name}"] = {"from": "his", "to": f"{name}/up"}
        self.up: Peer = site.peer(f"{name}/up")
        self.login: Peer = site.peer(f"{name}/login")
        self.good = ""
        self.up.react = self._take
        self.login.react = self._open

    def _open(self, outgoing: Outgoing) -> Reply:
        self.good = f"S{len(self.login.calls)}"
        return Reply(True, orjson.dumps({"number": self.good}), code="200")

    def _take(self, outgoing: Outgoing) -> Reply:
        good = orjson.loads(outgoing.body)["session"] == self.good
        return Reply(True, orjson.dumps({"code": 0 if good else 9}), code="200")


async def hand_in(hub: Any, *numbers: int) -> None:
    for number in numbers:
        receipt = await hub.wire.submit("his/in", {"id": str(number), "type": "t"})
        assert receipt.accepted, receipt


async def test_a_session_of_the_target_s_own_system_is_opened_once(site: Site, start: StartHub) -> None:
    one, other = Sessions(site), Sessions(site, "insurer")
    hub = await start(site)
    await hand_in(hub, 1, 2, 3)
    await hub.reached(DeliveryState.DELIVERED, 6)
    assert [body["session"] for body in one.up.bodies] == ["S1"] * 3
    assert (len(one.login.calls), len(other.login.calls)) == (1, 1)


async def test_a_session_that_has_ended_is_opened_anew_at_the_next_try(site: Site, start: StartHub) -> None:
    bank = Sessions(site)
    hub = await start(site)
    await hand_in(hub, 1)
    await hub.reached(DeliveryState.DELIVERED)
    bank.good = "somebody else's"
    await hand_in(hub, 2)
    await hub.reached(DeliveryState.DELIVERED, 2)
    await hand_in(hub, 3)
    await hub.reached(DeliveryState.DELIVERED, 3)
    assert [body["session"] for body in bank.up.bodies] == ["S1", "S1", "S2", "S2"]
    assert len(bank.login.calls) == 2


async def test_an_interface_that_the_system_has_not_is_told(site: Site, start: StartHub) -> None:
    Sessions(site)
    site.mapping("m", SESSION.replace("./login", "./logon"))
    hub = await start(site)
    assert any("there is no bank/logon" in problem.text for problem in hub.node.deployment.problems)


async def test_a_serial_stays_with_its_message_at_every_try_and_after_a_restart(site: Site, start: StartHub) -> None:
    bank = Sessions(site)
    hub = await start(site)
    await hand_in(hub, *range(30))
    await hub.reached(DeliveryState.DELIVERED, 30)
    first = {body["id"]: (body["serial"]["time"], body["serial"]["number"]) for body in bank.up.bodies}
    assert len(set(first.values())) == 30
    bank.up.calls.clear()
    bank.up.react = lambda outgoing: Reply(True, b'{"code":9}', code="200")
    await hand_in(hub, *range(30, 60))
    await hub.reached(DeliveryState.DEAD, 30)
    tried: dict[str, set[tuple[str, int]]] = {}
    for body in bank.up.bodies:
        tried.setdefault(body["id"], set()).add((body["serial"]["time"], body["serial"]["number"]))
    assert {len(serials) for serials in tried.values()} == {1}
    await hub.restart()
    bank.up.calls.clear()
    bank.up.react = bank._take
    await hub.act("resend", await dead(hub), step="map")
    await hub.reached(DeliveryState.DELIVERED, 60)
    for body in bank.up.bodies:
        assert tried[body["id"]] == {(body["serial"]["time"], body["serial"]["number"])}
    known = [*first.values(), *(next(iter(serials)) for serials in tried.values())]
    assert len(set(known)) == 60


async def dead(hub: Any) -> list[int]:
    return [delivery.id for delivery in await hub.reached(DeliveryState.DEAD, 30)]


class _Stored:
    """Ids of messages, searched as the store does."""

    def __init__(self, ids: list[int]) -> None:
        self._ids = ids

    async def search(self, query: MessageQuery) -> SearchPage:
        found = [
            MessageRow(each, 0, "", "", "", {}, 0, False, 0, "", [])
            for each in sorted(self._ids, reverse=True)
            if each < query.before and query.since_ms <= millis_of(each) < query.until_ms
        ]
        return SearchPage(found[: query.limit], len(found) > query.limit)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    worker=st.integers(0, 63),
    steps=st.lists(st.tuples(st.integers(-5, 900), st.integers(1, 25)), min_size=1, max_size=25),
    others=st.integers(1, 5),
)
def test_no_two_messages_of_a_worker_have_one_serial(worker: int, steps: list[tuple[int, int]], others: int) -> None:
    made, mine = IdGenerator(worker), []
    clock = 1_900_000_000_000
    for step, count in steps:
        clock += step
        made._ms = max(made._ms, clock - 1_577_836_800_000)  # the clock of the machine, which may be set back
        for _ in range(count):
            mine.append(made.next())
            for _ in range(others):  # ids of deliveries and calls
                made.next()
        made = restarted(worker, mine[-1])
    serials = asyncio.run(of_all(mine))
    assert len(set(serials)) == len(mine)
    assert all(len(time) == 14 and 0 <= number < MOST_SERIALS for time, number in serials)


def restarted(worker: int, last: int) -> IdGenerator:
    made = IdGenerator(worker)
    made.advance(last)
    return made


async def of_all(ids: list[int]) -> list[tuple[str, int]]:
    readings = Readings(_Stored(ids), lambda key, value: value)  # type: ignore[arg-type]
    found = [await readings.serial(Message(each, 0, "his/in", "t", "", b"")) for each in ids]
    return [(one["time"], one["number"]) for one in found]


async def test_beyond_four_digits_there_is_no_serial() -> None:
    made = IdGenerator(0)
    made._ms = 300_000_000_000
    ids = [((made._ms + count % 1000) << 22) | count // 1000 for count in range(MOST_SERIALS + 2)]
    readings = Readings(_Stored(ids), lambda key, value: value)  # type: ignore[arg-type]
    with pytest.raises(LookupFailed) as failed:
        await readings.serial(Message(max(ids), 0, "his/in", "t", "", b""))
    assert failed.value.verdict.code == "lookup.serial"


def test_what_a_mapping_may_write(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(SESSION, encoding="utf-8")
    (tmp_path / "bad.yaml").write_text(
        SESSION.replace("{serial: true}", "{serial: true, cache: 10m}"), encoding="utf-8"
    )
    problems = MappingLibrary([tmp_path]).problems()
    assert [(Path(problem.file).name, problem.key) for problem in problems] == [("bad.yaml", "lookups.serial.cache")]
