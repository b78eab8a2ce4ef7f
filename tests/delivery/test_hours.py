"""Hours in which an interface may be used: nothing goes out at others, nothing is lost, and what may go at any time does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.check import check
from hub.contract import HoursRule
from hub.delivery.hours import Hours
from hub.message import Delivery, DeliveryState, Outcome
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Hub, Site, until
from tests.kernel.wire import DEADLINE

BEIJING = ZoneInfo("Asia/Shanghai")
# Later than any clock says: where the real time is asked by mistake, it is still night.
NIGHT = datetime(2090, 11, 27, 23, 30, tzinfo=BEIJING)
MORNING = datetime(2090, 11, 28, 8, 0, tzinfo=BEIJING)
HOURS = {"open": "08:00-20:00", "unless": "urgent"}


class Clock:
    def __init__(self) -> None:
        self.at = NIGHT.timestamp()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of day as the test says; looked at more often than it would be."""
    found = Clock()
    monkeypatch.setattr(Hours, "now", staticmethod(lambda: found.at))
    monkeypatch.setattr("hub.delivery.target_base.HOURS_LOOK_S", 0.05)
    return found


async def resting(hub: Hub, count: int) -> list[Delivery]:
    """Those that wait for their hours, once the store says so."""
    async with asyncio.timeout(DEADLINE):
        while True:
            open_ones = await hub.deliveries(DeliveryState.PENDING, DeliveryState.RETRYING)
            if len(found := [d for d in open_ones if d.step == "hours"]) == count:
                return found
            await asyncio.sleep(0.005)


def sms(number: str, **more: Any) -> dict[str, Any]:
    return {"id": number, "type": "t", "key": number, **more}


async def test_what_comes_at_night_waits_until_morning(site: Site, start: StartHub, clock: Clock) -> None:
    peer = site.target(hours=HOURS, order_by="")
    hub = await start(site)
    await hub.wire.submit("his/in", sms("late"))
    await hub.wire.submit("his/in", sms("code", urgent=True))
    await until(lambda: peer.ids() == ["code"])
    (waiting,) = await resting(hub, 1)
    assert waiting.state is DeliveryState.PENDING
    assert waiting.reason == "waits until 11-28 08:00 (Asia/Shanghai)"
    assert (waiting.next_at, waiting.attempts) == (int(MORNING.timestamp() * 1e6), 0)
    status = hub.node.engine.targets["sink/up"].status()
    assert (status["out_of_hours"], status["retrying"], status["oldest_age"]) == (1, 0, 0.0)
    clock.at = MORNING.timestamp() - 0.5
    await hub.wire.submit("his/in", sms("early"))
    await until(lambda: hub.node.engine.targets["sink/up"].status()["out_of_hours"] == 2)
    assert peer.ids() == ["code"]
    clock.at = MORNING.timestamp()
    done = await hub.reached(DeliveryState.DELIVERED, 3)
    assert sorted(peer.ids()) == ["code", "early", "late"]
    assert {(d.reason, d.step, d.next_at) for d in done} == {("", "", 0)}
    calls = await hub.calls("sink/up")
    assert [call.outcome for call in calls] == [Outcome.OK] * 3  # waiting is no attempt


@pytest.mark.parametrize("opens", [False, True])
async def test_a_restart_at_night(site: Site, start: StartHub, clock: Clock, opens: bool) -> None:
    peer = site.target(hours=HOURS, order_by="")
    hub = await start(site)
    await hub.send(3)
    await until(lambda: hub.node.engine.targets["sink/up"].status()["out_of_hours"] == 3)
    if opens:
        clock.at = MORNING.timestamp()
        await hub.stop(0)
    await hub.restart()
    if not opens:
        await until(lambda: hub.node.engine.targets["sink/up"].status()["out_of_hours"] == 3)
        assert peer.calls == []
        clock.at = MORNING.timestamp()
    await hub.reached(DeliveryState.DELIVERED, 3)
    assert sorted(peer.ids()) == ["m0", "m1", "m2"]


@pytest.mark.parametrize("again", ["reload", "restart"])
async def test_hours_that_are_taken_away_hold_nothing_up(
    site: Site, start: StartHub, clock: Clock, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    monkeypatch.setattr("hub.delivery.target_base.HOURS_LOOK_S", 3600.0)  # not noticed by looking at the clock
    peer = site.target(hours=HOURS, order_by="")
    hub = await start(site)
    await hub.send(2)
    await resting(hub, 2)
    site.target(order_by="")
    await getattr(hub, again)()
    await hub.reached(DeliveryState.DELIVERED, 2)
    assert sorted(peer.ids()) == ["m0", "m1"]


async def test_operators_act_on_what_waits(site: Site, start: StartHub, clock: Clock) -> None:
    peer = site.target(hours=HOURS, order_by="")
    hub = await start(site)
    await hub.send(3)
    target = hub.node.engine.targets["sink/up"]
    await until(lambda: target.status()["out_of_hours"] == 3)
    first, second, third = (d.id for d in await hub.deliveries())
    await hub.act("hold", [first])
    await hub.act("ignore", [second])
    await until(lambda: target.status()["out_of_hours"] == 1)
    await hub.act("resend", [first])  # its message is not in memory now: it is read before anything is decided
    await until(lambda: target.status()["out_of_hours"] == 2)
    assert (peer.calls, target.status()["in_flight"]) == ([], 0)
    clock.at = MORNING.timestamp()
    assert {d.id for d in await hub.reached(DeliveryState.DELIVERED, 2)} == {first, third}


async def test_order_goes_before(site: Site, start: StartHub, clock: Clock) -> None:
    """An urgent message does not overtake others of its ordering key; those of other keys do not wait."""
    peer = site.target(hours=HOURS)
    hub = await start(site)
    await hub.wire.submit("his/in", sms("a1", key="a"))
    await hub.wire.submit("his/in", sms("a2", key="a", urgent=True))
    await hub.wire.submit("his/in", sms("b1", key="b", urgent=True))
    await until(lambda: peer.ids() == ["b1"])
    clock.at = MORNING.timestamp()
    await hub.reached(DeliveryState.DELIVERED, 3)
    assert peer.ids() == ["b1", "a1", "a2"]


async def test_a_night_longer_than_the_window(site: Site, start: StartHub, clock: Clock) -> None:
    site.config["delivery"] |= {"window": 10}
    peer = site.target(hours=HOURS, order_by="")
    hub = await start(site)
    await hub.send(100)
    await hub.wire.submit("his/in", sms("code", urgent=True))
    await until(lambda: peer.ids() == ["code"])
    await hub.restart()
    await hub.wire.submit("his/in", sms("code2", urgent=True))
    await until(lambda: peer.ids() == ["code", "code2"])
    clock.at = MORNING.timestamp()
    await hub.reached(DeliveryState.DELIVERED, 102)
    assert len(peer.ids()) == len(set(peer.ids())) == 102


async def test_a_retry_at_night_waits_as_well(site: Site, start: StartHub, clock: Clock) -> None:
    clock.at = MORNING.timestamp()
    peer = site.target(hours=HOURS, order_by="")

    def react(outgoing: Any) -> Any:
        clock.at = NIGHT.timestamp()
        raise ConnectionError

    peer.react = react
    hub = await start(site)
    await hub.send(1)
    (waiting,) = await resting(hub, 1)
    assert (waiting.state, waiting.attempts, len(peer.calls)) == (DeliveryState.RETRYING, 1, 1)


@pytest.mark.parametrize("again", ["restart", "reload"])
async def test_large_messages_are_looked_into_as_well(
    site: Site, start: StartHub, clock: Clock, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    for module in ("target", "target_base"):
        monkeypatch.setattr(f"hub.delivery.{module}.OFF_LOOP_BYTES", 10)
    peer = site.target(hours=HOURS, order_by="")
    hub = await start(site)
    await hub.wire.submit("his/in", sms("late"))
    await hub.wire.submit("his/in", sms("code", urgent=True))
    await until(lambda: peer.ids() == ["code"])
    await getattr(hub, again)()
    await until(lambda: hub.node.engine.targets["sink/up"].status()["out_of_hours"] == 1)
    assert peer.ids() == ["code"]


async def test_what_cannot_be_read_waits(site: Site, start: StartHub, clock: Clock) -> None:
    peer = site.target(hours={**HOURS, "unless": "level > 3"}, order_by="")
    hub = await start(site)
    await hub.wire.submit("his/in", sms("word", level="many"))
    await hub.wire.submit("his/in", sms("urgent", level=4))
    await until(lambda: hub.node.engine.targets["sink/up"].status()["out_of_hours"] == 1)
    await until(lambda: peer.ids() == ["urgent"])


@pytest.mark.parametrize(
    ("contract", "word"),
    [
        ({"hours": {"open": "8-20"}}, "time window"),
        ({"hours": {"open": []}}, "open"),
        ({"hours": {"open": "08:00-20:00", "zone": "Mars/Olympus"}}, "time zone"),
        ({"hours": {"open": "08:00-20:00", "unless": "urgent =="}}, "unless"),
        ({"hours": {"open": "08:00-20:00"}, "collect": {"mapping": ""}}, "go together"),
    ],
)
def test_what_cannot_be_is_told(site: Site, contract: dict[str, Any], word: str) -> None:
    site.target(**contract)
    problems = check(site.write()).problems
    assert any(word in f"{problem.key} {problem.text}" for problem in problems), problems


# -- the clock itself ------------------------------------------------------------------------------------------------

TIMES = st.integers(0, 48).map(lambda n: n * 30)
DAYS = ("", "MON-FRI ", "SAT-SUN ", "FRI-MON ", "WED ")


def holds(text: str, when: datetime) -> bool:
    """Whether a window holds, written down day by day."""
    days, _, span = text.rpartition(" ")
    names = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
    first, _, last = (days or "MON-SUN").partition("-")
    allowed, at = [], names.index(first)
    while True:
        allowed.append(at)
        if at == names.index(last or first):
            break
        at = (at + 1) % 7
    begin, end = (int(part[:2]) * 60 + int(part[3:]) for part in span.split("-"))
    minute = when.hour * 60 + when.minute
    today, yesterday = when.weekday() in allowed, (when.weekday() - 1) % 7 in allowed
    if begin < end:
        return today and begin <= minute < end
    return (today and minute >= begin) or (yesterday and minute < end)


@given(
    spans=st.lists(
        st.tuples(st.sampled_from(DAYS), TIMES, TIMES).filter(lambda s: s[1] != s[2] and s[1] < 1440),
        min_size=1,
        max_size=3,
    ),
    minutes=st.integers(0, 14 * 1440),
    zone=st.sampled_from(["Asia/Shanghai", "Asia/Urumqi", "UTC"]),
)
def test_the_next_opening_is_the_first_minute_that_holds(
    spans: list[tuple[str, int, int]], minutes: int, zone: str
) -> None:
    texts = [f"{days}{a // 60:02}:{a % 60:02}-{b // 60:02}:{b % 60:02}" for days, a, b in spans]
    begun = datetime(2026, 11, 23, tzinfo=ZoneInfo(zone)) + timedelta(minutes=minutes, seconds=17)
    found = Hours(HoursRule(open=texts, zone=zone), "a/b", None).opens_at(begun.timestamp())  # type: ignore[arg-type]
    if any(holds(text, begun) for text in texts):
        assert found <= begun.timestamp()
        return
    one = begun.replace(second=0)
    step: Callable[[datetime], datetime] = lambda at: at + timedelta(minutes=1)  # noqa: E731
    one = step(one)
    while not any(holds(text, one) for text in texts):
        one = step(one)
    assert found == one.timestamp()


def test_summer_time() -> None:
    """An opening in the hour that is left out comes when the clocks are past it."""
    zone = ZoneInfo("America/New_York")
    hours = Hours(HoursRule(open=["02:30-03:30"], zone=str(zone)), "a/b", None)  # type: ignore[arg-type]
    found = hours.opens_at(datetime(2026, 3, 8, 1, 0, tzinfo=zone).timestamp())
    assert datetime.fromtimestamp(found, zone).strftime("%H:%M") in ("03:00", "03:30")
