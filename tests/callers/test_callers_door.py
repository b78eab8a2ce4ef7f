"""What a caller may do, how often, and what becomes of those who try too much; in several processes, and after they are killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from hub.callers.door import Door
from hub.callers.errors import CallerRefused
from hub.callers.limits import AbuseRule, Buckets, Offences
from hub.callers.model import Limits
from hub.callers.traffic import Restriction, Traffic, period_of, seconds_left
from tests.callers.callers_support import Registry

REMOTE = "10.0.0.1"
ROOT = Path(__file__).resolve().parents[2]


def code(door: Door, key: str, remote: str = REMOTE) -> str:
    """How a call ends: "" for one that is taken."""
    try:
        door.admit(api_key=key, remote=remote)
    except CallerRefused as error:
        return error.code
    return ""


def test_only_the_interfaces_and_types_it_was_given(registry: Registry) -> None:
    registry.caller(places=["his/adt", "lis/*"], types=["ADT^*", "ORU^R01"])
    key = registry.issue().shown
    callers = registry.callers()
    allowed = {
        place: code(callers.door(place, ["api_key"]), key)
        for place in ("his/adt", "lis/x", "his/adt2", "xlis/x", "his")
    }
    assert allowed == {
        "his/adt": "",
        "lis/x": "",
        "his/adt2": "caller.interface",
        "xlis/x": "caller.interface",
        "his": "caller.interface",
    }
    for good in ("ADT^A01", "ORU^R01"):
        callers.check_type("east", good)
    for bad in ("ORU^R02", "XADT^A01", "", "ORU^R01\n"):
        with pytest.raises(CallerRefused) as caught:
            callers.check_type("east", bad)
        assert (caught.value.code, caught.value.status) == ("caller.type", 403)


def test_changes_are_seen_by_the_next_call(registry: Registry) -> None:
    registry.abuse = AbuseRule(0, 1.0, 1.0)
    registry.caller()
    key = registry.issue().shown
    door = registry.door()
    for _ in range(20):
        assert code(door, key) == ""
        registry.orders.disable("east", "bob")
        assert code(door, key) == "caller.wrong"
        registry.orders.enable("east", "bob")
    registry.orders.change("east", {"places": ["lis/*"]}, "bob")
    assert code(door, key) == "caller.interface"


def test_dates_begin_and_end(registry: Registry) -> None:
    now = int(registry.clock())
    registry.caller(valid_from=now + 100, valid_until=now + 200)
    key = registry.issue().shown
    door = registry.door()
    for ahead, ends in ((0, "caller.wrong"), (101, ""), (201, "caller.wrong")):
        registry.clock.ahead = ahead
        assert code(door, key) == ends


def test_a_registry_that_is_not_there_lets_nobody_in(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.caller()
    key = registry.issue().shown
    door = registry.door()
    assert code(door, key) == ""
    registry.close()
    registry.open.clear()
    for file in tmp_path.glob("access.db*"):
        file.unlink()
    (tmp_path / "access.db").write_bytes(b"no database at all " * 100)
    other = Registry.callers(registry).door("his/adt", ["api_key"])
    assert code(other, key) == "caller.unavailable"
    other.callers.close()


# -- limits ----------------------------------------------------------------------------------------------------------------


def test_buckets_fill_at_their_pace() -> None:
    buckets = Buckets()
    limits = Limits(per_second=2, burst=3)
    assert [buckets.take("east", limits, 100.0) for _ in range(4)] == [0, 0, 0, 1]
    assert [buckets.take("east", limits, 100.5) for _ in range(2)] == [0, 1]
    assert [buckets.take("east", limits, 200.0) for _ in range(4)] == [0, 0, 0, 1]
    assert buckets.take("west", limits, 100.0) == 0
    slow = Limits(per_second=0.1)
    assert [buckets.take("slow", slow, 0.0) for _ in range(2)] == [0, 10]


def test_a_quota_is_not_exceeded_by_several_workers(registry: Registry) -> None:
    registry.abuse = AbuseRule(0, 1.0, 1.0)
    registry.caller(limits={"per_day": 1000, "per_year": 1001})
    key = registry.issue().shown
    doors = [registry.door() for _ in range(4)]
    ends = [code(doors[number % 4], key) for number in range(1200)]
    taken = ends.count("")
    assert set(ends) == {"", "caller.quota"}
    assert 950 <= taken <= 1000  # what other workers hold of their leases is missing
    for door in doors:
        asyncio.run(door.callers.write())  # those that did not call since the last time give theirs back
        asyncio.run(door.callers.write())
    while code(doors[0], key) == "":
        taken += 1
    assert taken == 1000
    with pytest.raises(CallerRefused) as caught:
        doors[1].admit(api_key=key, remote=REMOTE)
    assert caught.value.status == 429
    assert 0 < caught.value.retry_after <= seconds_left("day", registry.clock())


def test_a_quota_is_raised_and_lowered_at_once(registry: Registry) -> None:
    registry.abuse = AbuseRule(0, 1.0, 1.0)
    registry.caller(limits={"per_day": 3})
    key = registry.issue().shown
    door = registry.door()
    assert [code(door, key) for _ in range(4)] == ["", "", "", "caller.quota"]
    registry.orders.change("east", {"limits": {"per_day": 5}}, "bob")
    assert [code(door, key) for _ in range(3)] == ["", "", "caller.quota"]
    registry.orders.change("east", {"limits": {"per_month": 4}}, "bob")
    assert code(door, key) == "caller.quota"


def test_a_new_day_has_its_own_quota(registry: Registry) -> None:
    registry.abuse = AbuseRule(0, 1.0, 1.0)
    registry.caller(limits={"per_day": 2, "per_year": 3})
    key = registry.issue().shown
    door = registry.door()
    now = datetime.now()
    if (now.month, now.day) == (12, 31):
        registry.clock.ahead = 86_400  # so that two days of one year follow each other
    assert [code(door, key) for _ in range(3)] == ["", "", "caller.quota"]
    registry.clock.ahead += seconds_left("day", registry.clock()) + 1
    assert [code(door, key) for _ in range(2)] == ["", "caller.quota"]


def test_periods() -> None:
    at = datetime(2026, 12, 31, 23, 59, 58).timestamp()
    assert [period_of(p, at) for p in ("day", "month", "year")] == ["2026-12-31", "2026-12", "2026"]
    assert [seconds_left(p, at) for p in ("day", "month", "year")] == [2, 2, 2]
    assert [period_of(p, at + 3) for p in ("day", "month", "year")] == ["2027-01-01", "2027-01", "2027"]
    assert period_of("day", at - 86_400) == "2026-12-30"


_SPENDER = """
import sys
from pathlib import Path
from hub.callers.door import Callers
from hub.callers.limits import AbuseRule
from hub.callers.sealing import Secrets
from tests.callers.callers_support import Ring
folder = Path(sys.argv[1])
callers = Callers(folder, Secrets(folder, Ring), audience="x", abuse=AbuseRule(0, 1, 1))
door = callers.door("his/adt", ["api_key"])
from hub.callers.errors import CallerRefused
print("ready", flush=True)
sys.stdin.readline()
while True:
    try:
        door.admit(api_key=sys.argv[2], remote="10.0.0.1")
    except CallerRefused as error:
        print(error.code, flush=True)
        sys.stdin.readline()
    else:
        print("taken", flush=True)
"""


def spender(registry: Registry, key: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _SPENDER, str(registry.folder), key],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_killed_workers_do_not_give_a_quota_back(registry: Registry) -> None:
    """Whoever is killed in the middle of it: never more than the quota is taken, and at most its leases are lost."""
    quota = 2000
    registry.caller(limits={"per_day": quota})
    key = registry.issue().shown
    taken = 0
    for enough in (150, 400, 700):
        process = spender(registry, key)
        assert process.stdout is not None
        go(process)
        seen = 0
        while seen < enough:
            assert process.stdout.readline() == "taken\n"
            seen += 1
        process.send_signal(signal.SIGKILL)
        seen += sum(line == "taken\n" for line in process.stdout)
        process.wait()
        process.stdout.close()
        assert process.stdin is not None
        process.stdin.close()
        taken += seen
    registry.abuse = AbuseRule(0, 1.0, 1.0)
    door = registry.door()
    while code(door, key) == "":
        taken += 1
    assert quota - 3 * (quota // 50) <= taken <= quota


def test_another_process_sees_a_change_with_its_next_call(registry: Registry) -> None:
    registry.caller()
    key = registry.issue().shown
    process = spender(registry, key)
    assert process.stdout is not None
    assert process.stdin is not None
    go(process)
    assert process.stdout.readline() == "taken\n"
    registry.orders.disable("east", "bob")
    deadline = time.monotonic() + 30
    while (line := process.stdout.readline()) != "caller.wrong\n":
        assert line == "taken\n"
        assert time.monotonic() < deadline
    registry.orders.enable("east", "bob")
    go(process)
    assert process.stdout.readline() == "taken\n"
    process.kill()
    process.communicate()


def test_use_is_kept(registry: Registry) -> None:
    registry.caller(places=["his/adt"])
    key = registry.issue().shown
    callers = registry.callers()
    assert code(callers.door("his/adt", ["api_key"]), key) == ""
    assert code(callers.door("his/oru", ["api_key"]), key) == "caller.interface"
    assert code(callers.door("his/adt", ["api_key"]), "x.y") == "caller.wrong"
    asyncio.run(callers.write())
    assert code(callers.door("his/adt", ["api_key"]), key) == ""
    callers.close()  # writes what is left
    registry.open.clear()
    today = period_of("day", registry.clock())
    assert registry.orders.traffic.usage(today, today) == [
        {"day": today, "caller": "", "place": "his/adt", "taken": 0, "refused": 1},
        {"day": today, "caller": "east", "place": "his/adt", "taken": 2, "refused": 0},
        {"day": today, "caller": "east", "place": "his/oru", "taken": 0, "refused": 1},
    ]
    assert registry.orders.traffic.usage(today, today, "west") == []


def test_counts_that_can_not_be_written_are_written_later(registry: Registry) -> None:
    registry.caller()
    key = registry.issue().shown
    door = registry.door()
    assert code(door, key) == ""
    other = registry.orders.traffic._db
    other.execute("ALTER TABLE usage RENAME TO away")
    asyncio.run(door.callers.write())
    other.execute("ALTER TABLE away RENAME TO usage")
    asyncio.run(door.callers.write())
    assert [row["taken"] for row in registry.orders.traffic.usage("2000-01-01", "2100-01-01")] == [1]


# -- abuse -----------------------------------------------------------------------------------------------------------------


def test_offences_are_counted_within_the_window() -> None:
    offences = Offences(AbuseRule(3, 10.0, 60.0))
    assert [offences.add("a", at) for at in (0.0, 5.0, 11.0, 12.0)] == [False, False, False, True]
    assert [offences.add("a", 12.5), offences.add("b", 12.5)] == [False, False]
    offences.clear("a")
    assert not offences.add("a", 13.0)


def test_wrong_credentials_restrict_the_address_and_not_the_caller(registry: Registry) -> None:
    registry.caller()
    issued = registry.issue()
    door, elsewhere = registry.door(), registry.door()
    wrong = f"{issued.credential.id}.wrong"
    assert [code(door, wrong) for _ in range(6)] == ["caller.wrong"] * 5 + ["caller.restricted"]
    assert code(door, issued.shown) == "caller.restricted"
    assert code(door, issued.shown, "10.0.0.2") == ""
    deadline = time.monotonic() + 10
    while code(elsewhere, issued.shown) != "caller.restricted":  # another worker
        assert time.monotonic() < deadline
    with pytest.raises(CallerRefused) as caught:
        door.admit(api_key=issued.shown, remote=REMOTE)
    assert caught.value.status == 429
    assert 590 <= caught.value.retry_after <= 600
    registry.clock.ahead = 601
    assert code(door, issued.shown) == code(elsewhere, issued.shown) == ""


def test_addresses_are_blamed_in_one_form(registry: Registry) -> None:
    registry.caller()
    key = registry.issue().shown
    door = registry.door()
    for number in range(5):  # of one /64
        assert code(door, "x.y", f"2001:db8::{number}") == "caller.wrong"
    assert code(door, key, "2001:db8::ffff") == "caller.restricted"
    assert code(door, key, "2001:db8:0:1::1") == ""
    registry.orders.restrict("address", "10.7.7.7", 60, "bob", "x")
    deadline = time.monotonic() + 10
    while code(door, key, "::ffff:10.7.7.7") != "caller.restricted":
        assert time.monotonic() < deadline


def test_calls_over_a_limit_restrict_the_caller(registry: Registry) -> None:
    registry.caller(limits={"per_second": 0.001})
    registry.caller("west")
    east, west = registry.issue().shown, registry.issue(caller="west").shown
    door = registry.door()
    assert [code(door, east) for _ in range(7)] == ["", *["caller.rate"] * 5, "caller.restricted"]
    assert code(door, east, "10.0.0.2") == "caller.restricted"
    assert code(door, west) == ""
    (made,) = registry.orders.traffic.restrictions(registry.clock())
    assert (made.kind, made.subject, made.made_by, made.reason) == ("caller", "east", "hub", "caller.rate")


def test_calling_what_is_not_allowed_restricts_the_caller(registry: Registry) -> None:
    registry.caller(places=["his/adt"], types=["ADT^*"])
    key = registry.issue().shown
    callers = registry.callers()
    door = callers.door("his/oru", ["api_key"])
    assert [code(door, key) for _ in range(3)] == ["caller.interface"] * 3
    for _ in range(2):
        with pytest.raises(CallerRefused):
            callers.check_type("east", "ORU^R01")
    assert code(callers.door("his/adt", ["api_key"]), key) == "caller.restricted"


def test_people_restrict_and_lift(registry: Registry) -> None:
    registry.caller()
    key = registry.issue().shown
    door = registry.door()
    assert code(door, key) == ""
    deadline = time.monotonic() + 10
    for kind, subject in (("caller", "east"), ("address", REMOTE)):
        registry.orders.restrict(kind, subject, 3600, "bob", "too much")
        while code(door, key) != "caller.restricted":
            assert time.monotonic() < deadline
        assert registry.orders.unrestrict(kind, subject, "bob")
        while code(door, key) != "":
            assert time.monotonic() < deadline
        assert not registry.orders.unrestrict(kind, subject, "bob")


def test_a_lifted_restriction_begins_to_count_anew(registry: Registry) -> None:
    registry.caller()
    key = registry.issue().shown
    door = registry.door()
    for _ in range(5):
        code(door, "x.y")
    registry.orders.unrestrict("address", REMOTE, "bob")
    deadline = time.monotonic() + 10
    while code(door, key) != "":
        assert time.monotonic() < deadline
    assert [code(door, "x.y") for _ in range(4)] == ["caller.wrong"] * 4
    assert code(door, key) == ""


def test_no_abuse_rule_no_restriction(registry: Registry) -> None:
    registry.abuse = AbuseRule(0, 1.0, 1.0)
    registry.caller()
    door = registry.door()
    assert {code(door, "x.y") for _ in range(50)} == {"caller.wrong"}


def test_restrictions_outlive_a_restart(tmp_path: Path) -> None:
    traffic = Traffic(tmp_path)
    traffic.restrict(Restriction("address", REMOTE, int(time.time()) + 60, "x", 0, "hub"))
    traffic.close()
    traffic = Traffic(tmp_path)
    assert [each.subject for each in traffic.restrictions(time.time())] == [REMOTE]
    assert traffic.restrictions(time.time() + 61) == []
    traffic.close()


# -- transports without headers ----------------------------------------------------------------------------------------------


def test_peers_are_known_by_their_address(registry: Registry) -> None:
    for name, net in (("east", "10.1.0.0/16"), ("west", "10.1.2.0/24")):
        registry.caller(name)
        registry.orders.add_addresses("allow", [{"network": net, "caller": name}], "bob")
    door = registry.door()
    assert door.admit_peer("10.1.9.9") == "east"
    for remote in ("10.1.2.3", "10.2.0.1", ""):  # of two, of nobody
        with pytest.raises(CallerRefused):
            door.admit_peer(remote)
