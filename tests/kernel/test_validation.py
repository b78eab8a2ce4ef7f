"""``validate`` of an interface: what is refused, what is marked, what is not sent, and that nothing else is held up by it."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hub.api import Outgoing, Reply
from hub.checking import load as loading
from hub.checking import process
from hub.errors import ConfigError, Problem
from hub.message import CallRecord, CheckRecord, CheckVerdict, DeliveryState, Outcome
from hub.store.base import ReportQuery
from hub.validators.report import Validator
from hub.watch import Watcher
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Hub, Site, until
from tests.kernel.slow_child import Obedient
from tests.kernel.wire import DEADLINE, accept

SCHEMA = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 130}},
    "required": ["id", "pid"],
}
RULES = """
description: what a test asks for
for: {codec: json}
rules:
  bed:
    level: completeness
    severity: warning
    required: bed
  age:
    level: plausibility
    severity: error
    path: age
    range: {min: 0, max: 130}
"""
GOOD = {"id": "m1", "type": "t", "key": "a", "pid": "p1", "age": 7, "bed": "3"}


def schema(site: Site, content: Any = SCHEMA, name: str = "his/in.json") -> None:
    file = site.folder / "schemas" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content, indent=1), encoding="utf-8")


def checked(site: Site, mode: str = "strict", **rule: Any) -> None:
    """The interface his/in checks what it receives."""
    site.system("his", "his", **{"in": {"validate": {"mode": mode, **(rule or {"schema": "his/in.json"})}}})


@pytest.fixture
def slow(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The format's own check of JSON is one that takes long and does as the message says."""
    monkeypatch.setattr(process, "COMMAND", (sys.executable, "-m", "tests.kernel.slow_child"))

    def load(
        folders: Sequence[Path], *_: Any, standard: bool = False, **more: Any
    ) -> tuple[list[Validator], list[Problem]]:
        return ([Obedient()], []) if standard else ([], [])

    monkeypatch.setattr(loading, "load", load)
    site.config["validation"] = {"timeout": "20s"}


async def report(hub: Hub, message_id: int) -> CheckRecord | None:
    """The report kept with the call that brought a message."""
    calls = await hub.node.store.reader.calls_of(message_id)
    return calls[0].check


async def marked(hub: Hub, message_id: int) -> CheckRecord:
    """The same, once it is there."""
    async with asyncio.timeout(DEADLINE):
        while (found := await report(hub, message_id)) is None:
            await asyncio.sleep(0.01)
    return found


async def refusals(hub: Hub, count: int) -> list[CallRecord]:
    calls = await hub.logged("his/in", count)
    return [call for call in calls if call.outcome is Outcome.REFUSED]


def rules(record: CheckRecord | None) -> list[str]:
    assert record is not None
    return [finding["rule"] for finding in record.findings]


# -- receiving -----------------------------------------------------------------------------------------------------


async def test_strict_refuses_before_the_commit_and_keeps_bytes_and_report(site: Site, start: StartHub) -> None:
    peer = site.target()
    schema(site)
    checked(site)
    hub = await start(site)
    bad = await hub.wire.submit("his/in", {**GOOD, "age": 190})
    assert (bad.accepted, bad.message_id) == (False, 0)
    assert bad.error is not None
    assert bad.error.code == "validate.failed"
    assert [finding["place"] for finding in bad.findings] == ["age"]
    assert "190" not in bad.error.text
    good = await hub.wire.submit("his/in", {**GOOD, "id": "m2"})
    assert (good.accepted, list(good.findings)) == (True, [])
    await hub.reached(DeliveryState.DELIVERED)
    assert peer.ids() == ["m2"]
    (call,) = await refusals(hub, 2)
    assert call.request is not None
    assert json.loads(call.request)["age"] == 190
    assert call.check is not None
    assert (call.check.verdict, call.check.errors, call.code) == (CheckVerdict.REFUSED, 1, "validate.failed")
    clean = await report(hub, good.message_id)
    assert clean is not None
    assert (clean.verdict, clean.findings) == (CheckVerdict.CLEAN, [])
    stats = hub.node.metrics.checks("his/in")
    assert (stats.checked, stats.refused, stats.marked, stats.not_checked) == (2, 1, 0, 0)


async def test_warn_accepts_marks_and_says_so_with_the_acknowledgement(site: Site, start: StartHub) -> None:
    site.target()
    schema(site)
    checked(site, "warn")
    hub = await start(site)
    receipt = await hub.wire.submit("his/in", {**GOOD, "age": 190})
    assert receipt.accepted
    assert [finding["severity"] for finding in receipt.findings] == ["error"]
    record = await report(hub, receipt.message_id)
    assert record is not None
    assert (record.verdict, record.errors) == (CheckVerdict.MARKED, 1)
    await hub.reached(DeliveryState.DELIVERED)


async def test_a_duplicate_keeps_the_report_of_the_first(site: Site, start: StartHub) -> None:
    schema(site)
    checked(site, "warn")
    hub = await start(site)
    first = await hub.wire.submit("his/in", {**GOOD, "age": 190})
    again = await hub.wire.submit("his/in", {**GOOD, "age": 190})
    assert (again.outcome, again.message_id) == (Outcome.DUPLICATE, first.message_id)
    reports = await hub.node.store.reader.reports(ReportQuery(place="his/in"))
    assert [call.message_id for call in reports] == [first.message_id]


async def test_rule_sets_score_and_min_score(site: Site, start: StartHub) -> None:
    (site.folder / "schemas").mkdir()
    (site.folder / "schemas" / "q.rules.yaml").write_text(RULES, encoding="utf-8")
    checked(site, quality="q", min_score=80)
    hub = await start(site)
    no_bed = {name: value for name, value in GOOD.items() if name != "bed"}
    receipt = await hub.wire.submit("his/in", no_bed)  # a warning alone, but half of the score
    assert not receipt.accepted
    assert [finding["rule"] for finding in receipt.findings] == ["quality.min_score", "bed"]
    assert (await hub.wire.submit("his/in", {**GOOD, "id": "m2"})).accepted
    (call,) = await refusals(hub, 2)
    assert call.check is not None
    assert call.check.score == 50.0
    assert "q@" in call.check.checks


@pytest.mark.parametrize("size", [20 << 10, 300 << 10])
async def test_a_large_message_is_checked_in_its_turn(site: Site, start: StartHub, size: int) -> None:
    peer = site.target()
    schema(site)
    checked(site)
    hub = await start(site)
    large = {**GOOD, "text": "x" * size}
    offers = [
        hub.wire.offer("his/in", {**large, "id": "m1"}),
        hub.wire.offer("his/in", {**GOOD, "id": "m2"}),
        hub.wire.offer("his/in", {**large, "id": "m3", "age": -1}),
        hub.wire.offer("his/in", {**GOOD, "id": "m4"}),
    ]
    receipts = await asyncio.gather(*offers)
    assert [receipt.accepted for receipt in receipts] == [True, True, False, True]
    await hub.reached(DeliveryState.DELIVERED, 3)
    assert peer.ids() == ["m1", "m2", "m4"]


@pytest.mark.parametrize("size", [20 << 10, 300 << 10])
async def test_a_large_message_that_is_only_marked_is_acknowledged_first(
    site: Site, start: StartHub, size: int
) -> None:
    schema(site)
    checked(site, "warn")
    hub = await start(site)
    receipt = await hub.wire.submit("his/in", {**GOOD, "age": 190, "text": "x" * size})
    assert (receipt.accepted, list(receipt.findings)) == (True, [])
    assert (await marked(hub, receipt.message_id)).verdict is CheckVerdict.MARKED


# -- checks that take long -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("slow")
async def test_strict_waits_for_slow_checks_in_order_and_others_go_on(
    site: Site, start: StartHub, tmp_path: Path
) -> None:
    peer = site.target(order_by=None)
    checked(site, standard=True)
    site.system("lab", "his")
    hub = await start(site)
    gate = tmp_path / "gate"
    first = hub.wire.offer("his/in", {**GOOD, "id": "m1", "check": "gate", "gate": str(gate)})
    second = hub.wire.offer("his/in", {**GOOD, "id": "m2", "check": "error"})
    third = hub.wire.offer("his/in", {**GOOD, "id": "m3", "check": "warning"})
    assert (await hub.wire.submit("lab/in", {**GOOD, "id": "other"})).accepted
    assert not any(one.done() for one in (first, second, third))
    gate.touch()
    async with asyncio.timeout(DEADLINE):
        receipts = [await first, await second, await third]
    assert [receipt.accepted for receipt in receipts] == [True, False, True]
    assert [finding["rule"] for finding in receipts[2].findings] == ["obedient.told"]
    await hub.reached(DeliveryState.DELIVERED, 2)
    assert peer.ids() == ["m1", "m3"]


@pytest.mark.usefixtures("slow")
async def test_warn_never_waits_for_slow_checks(site: Site, start: StartHub, tmp_path: Path) -> None:
    checked(site, "warn", standard=True)
    hub = await start(site)
    gate = tmp_path / "gate"
    held = await hub.wire.submit("his/in", {**GOOD, "check": "gate", "gate": str(gate)})
    after = await hub.wire.submit("his/in", {**GOOD, "id": "m2", "check": "error"})
    assert held.accepted
    assert after.accepted
    assert await report(hub, after.message_id) is None
    gate.touch()
    assert (await marked(hub, held.message_id)).verdict is CheckVerdict.CLEAN
    assert (await marked(hub, after.message_id)).verdict is CheckVerdict.MARKED
    assert hub.node.metrics.checks("his/in").delay.count == 2


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("order", ["hang", "die", "raise"])
async def test_a_check_that_fails_is_told_and_stops_nothing(site: Site, start: StartHub, order: str) -> None:
    checked(site, "warn", standard=True)
    site.config["validation"] = {"timeout": "2s"}
    hub = await start(site)
    broken = await hub.wire.submit("his/in", {**GOOD, "check": order})
    record = await marked(hub, broken.message_id)
    assert record.verdict is CheckVerdict.NOT_CHECKED
    assert rules(record)[0].endswith(".not_checked")
    after = await hub.wire.submit("his/in", {**GOOD, "id": "m2", "check": "error"})
    assert (await marked(hub, after.message_id)).verdict is CheckVerdict.MARKED
    stats = hub.node.metrics.checks("his/in")
    assert (stats.not_checked, stats.checked) == (1, 1)


@pytest.mark.usefixtures("slow")
async def test_strict_lets_nothing_through_that_nobody_looked_at(site: Site, start: StartHub) -> None:
    checked(site, standard=True)
    site.config["validation"] = {"timeout": "2s"}
    hub = await start(site)
    receipt = await hub.wire.submit("his/in", {**GOOD, "check": "hang"})
    assert not receipt.accepted
    assert [finding["rule"] for finding in receipt.findings] == ["standard.not_checked"]
    assert (await hub.wire.submit("his/in", {**GOOD, "id": "m2"})).accepted


@pytest.mark.usefixtures("slow")
async def test_too_many_at_once_are_told_as_not_checked(site: Site, start: StartHub, tmp_path: Path) -> None:
    checked(site, "warn", standard=True)
    site.config["validation"] = {"queue": 2, "timeout": "20s"}
    hub = await start(site)
    gate = tmp_path / "gate"
    held = [
        await hub.wire.submit("his/in", {**GOOD, "id": f"m{n}", "check": "gate", "gate": str(gate)}) for n in range(3)
    ]
    assert all(receipt.accepted for receipt in held)
    skipped = await marked(hub, held[2].message_id)
    assert (skipped.verdict, rules(skipped)) == (CheckVerdict.NOT_CHECKED, ["validation.not_checked"])
    gate.touch()
    assert [(await marked(hub, one.message_id)).verdict for one in held[:2]] == [CheckVerdict.CLEAN] * 2


@pytest.mark.usefixtures("slow")
async def test_too_many_at_once_are_refused_for_now_where_strict(site: Site, start: StartHub, tmp_path: Path) -> None:
    checked(site, standard=True)
    site.config["validation"] = {"queue": 2, "timeout": "20s"}
    hub = await start(site)
    gate = tmp_path / "gate"
    waiting = [hub.wire.offer("his/in", {**GOOD, "id": f"m{n}", "check": "gate", "gate": str(gate)}) for n in range(2)]
    checking = hub.node.intake.checking
    await until(lambda: checking.full)
    receipt = await hub.wire.submit("his/in", {**GOOD, "id": "m9"})
    assert (receipt.accepted, receipt.error and receipt.error.code) == (False, "store.busy")
    gate.touch()
    async with asyncio.timeout(DEADLINE):
        assert all([(await one).accepted for one in waiting])


@pytest.mark.usefixtures("slow")
async def test_what_waits_at_a_stop_is_recorded_as_not_checked(site: Site, start: StartHub, tmp_path: Path) -> None:
    checked(site, "warn", standard=True)
    hub = await start(site)
    held = await hub.wire.submit("his/in", {**GOOD, "check": "gate", "gate": str(tmp_path / "never")})
    await hub.restart(5.0)
    record = await report(hub, held.message_id)
    assert record is not None
    assert record.verdict is CheckVerdict.NOT_CHECKED


# -- sending -------------------------------------------------------------------------------------------------------

MAPPING = """
from: {{codec: json}}
to: {{codec: json}}
fields: {{id: id, patient: {path}}}
"""
OUT = {"type": "object", "properties": {"patient": {"type": "string"}}, "required": ["id", "patient"]}


async def test_strict_keeps_a_wrong_message_from_being_sent_until_the_mapping_is_mended(
    site: Site, start: StartHub
) -> None:
    schema(site, OUT, "sink/up.json")
    site.mapping("m", MAPPING.format(path="age"))
    peer = site.target(mapping="m", validate={"mode": "strict", "schema": "sink/up.json"})
    hub = await start(site)
    assert (await hub.wire.submit("his/in", GOOD)).accepted
    (dead,) = await hub.reached(DeliveryState.DEAD)
    assert (dead.step, peer.calls, dead.attempts) == ("validate", [], 1)
    assert "patient" in dead.reason
    (call,) = await hub.calls("sink/up")
    assert (call.outcome, call.code) == (Outcome.FAILED, "validate.failed")
    assert call.check is not None
    assert call.check.verdict is CheckVerdict.REFUSED
    site.mapping("m", MAPPING.format(path="pid"))
    await hub.reload()
    await hub.act("resend", [dead.id])
    await hub.reached(DeliveryState.DELIVERED)
    assert peer.bodies == [{"id": "m1", "patient": "p1"}]
    after = (await hub.calls("sink/up"))[-1]
    assert after.check is not None
    assert after.check.verdict is CheckVerdict.CLEAN


async def test_warn_sends_and_keeps_the_report_with_the_attempt(site: Site, start: StartHub) -> None:
    schema(site, OUT, "sink/up.json")
    peer = site.target(validate={"mode": "warn", "schema": "sink/up.json"})
    hub = await start(site)
    await hub.wire.submit("his/in", GOOD)
    await hub.reached(DeliveryState.DELIVERED)
    assert peer.ids() == ["m1"]
    (call,) = await hub.calls("sink/up")
    assert call.check is not None
    assert (call.outcome, call.check.verdict) == (Outcome.OK, CheckVerdict.MARKED)


@pytest.mark.usefixtures("slow")
async def test_slow_checks_before_sending_hold_up_only_their_own_key(
    site: Site, start: StartHub, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    peer = site.target(validate={"mode": "strict", "standard": True}, concurrency=4)
    quick = site.target("other")
    hub = await start(site)
    await hub.wire.submit("his/in", {**GOOD, "id": "m1", "key": "a", "check": "gate", "gate": str(gate)})
    await hub.wire.submit("his/in", {**GOOD, "id": "m2", "key": "a"})
    await hub.reached(DeliveryState.DELIVERED, 2, "other/up")
    assert (peer.calls, quick.ids()) == ([], ["m1", "m2"])
    gate.touch()
    await hub.reached(DeliveryState.DELIVERED, 2, "sink/up")
    assert peer.ids() == ["m1", "m2"]


# -- configuration, store, figures ---------------------------------------------------------------------------------


async def test_a_changed_schema_is_used_after_a_reload_and_a_broken_one_changes_nothing(
    site: Site, start: StartHub
) -> None:
    schema(site)
    checked(site)
    hub = await start(site)
    young = {**GOOD, "age": 100}
    assert (await hub.wire.submit("his/in", young)).accepted
    schema(site, {**SCHEMA, "properties": {"age": {"maximum": 99}}})
    assert (await hub.reload())["checks"] == ["his/in"]
    assert not (await hub.wire.submit("his/in", {**young, "id": "m2"})).accepted
    schema(site, '{"type": "object",\n "required": [}')
    with pytest.raises(ConfigError) as error:
        await hub.reload()
    (problem,) = error.value.problems
    assert problem.file.endswith("schemas/his/in.json")
    assert problem.line == 2
    assert not (await hub.wire.submit("his/in", {**young, "id": "m3"})).accepted


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"schema": "his/none.json"}, "none.json"),
        ({"quality": "none"}, "'none'"),
        ({"schema": "his/in.json", "min_score": 80}, "min_score"),
        ({"schema": "his/in.json", "standard": True}, "json"),
        ({"mode": "hard"}, "'hard'"),
    ],
)
async def test_what_is_wrong_with_a_rule_is_told_where_it_is_written(
    site: Site, start: StartHub, rule: dict[str, Any], text: str
) -> None:
    schema(site)
    site.system("his", "his", **{"in": {"validate": {"mode": "strict", **rule}}})
    hub = await start(site)
    (problem,) = [problem for problem in hub.node.problems if problem.severity == "error"]
    assert text in problem.text
    assert "validate" in problem.key
    assert problem.line > 0
    assert "his" not in hub.node.deployment.systems


async def test_a_format_without_a_check_of_its_own_is_told(site: Site, start: StartHub) -> None:
    site.system("his", "his", **{"in": {"validate": "warn"}})
    hub = await start(site)
    told = [problem for problem in hub.node.problems if problem.key.endswith("validate")]
    assert [problem.severity for problem in told] == ["warning"]
    receipt = await hub.wire.submit("his/in", GOOD)
    assert (receipt.accepted, await report(hub, receipt.message_id)) == (True, None)


async def test_schemas_and_rules_are_watched(site: Site) -> None:
    schema(site)
    (site.folder / "schemas" / "q.rules.yaml").write_text(RULES, encoding="utf-8")
    (site.folder / "schemas" / "q.rules.tests.yaml").write_text("", encoding="utf-8")
    (site.folder / "schemas" / "notes.md").write_text("", encoding="utf-8")

    async def reload(actor: str) -> None:
        raise AssertionError

    found = {Path(path).name for path in Watcher(site.write(), reload).look()}
    assert found >= {"in.json", "q.rules.yaml"}
    assert not found & {"q.rules.tests.yaml", "notes.md"}


async def test_a_word_changes_the_mode_of_a_contract_and_leaves_the_rest(site: Site, start: StartHub) -> None:
    schema(site)
    file = site.folder / "plugins" / "his" / "plugin.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(
        text.replace("    keys:", "    validate: {mode: warn, schema: his/in.json}\n    keys:"), encoding="utf-8"
    )
    hub = await start(site)
    bad = {**GOOD, "age": 190}
    assert (await hub.wire.submit("his/in", bad)).accepted
    site.system("his", "his", **{"in": {"validate": "strict"}})
    await hub.reload()
    assert not (await hub.wire.submit("his/in", {**bad, "id": "m2"})).accepted
    site.system("his", "his", **{"in": {"validate": "off"}})
    await hub.reload()
    assert (await hub.wire.submit("his/in", {**bad, "id": "m3"})).accepted


async def test_reports_survive_a_restart_are_counted_and_go_with_their_messages(site: Site, start: StartHub) -> None:
    site.target()
    schema(site)
    checked(site, "warn")
    hub = await start(site)
    for number, age in enumerate((7, 190, -1)):
        await hub.wire.submit("his/in", {**GOOD, "id": f"m{number}", "age": age})
    await hub.reached(DeliveryState.DELIVERED, 3)
    await hub.restart(5.0)
    reader = hub.node.store.reader
    found = await reader.reports(ReportQuery(place="his"))
    assert [rules(call.check) for call in found] == [["json.minimum"], ["json.maximum"]]
    assert len(await reader.reports(ReportQuery(rule="json.max*"))) == 1
    assert await reader.reports(ReportQuery(rule="json.max")) == []
    (day,) = await reader.quality(0)
    assert (day.place, day.checked, day.marked, day.failed, day.refused) == ("his/in", 3, 2, 2, 0)
    assert day.rules == {"json.maximum": 1, "json.minimum": 1}
    await hub.node.store.prune(int(time.time() * 1000) + 60_000)
    assert await reader.quality(0) == []


async def test_stored_messages_are_checked_again_by_the_rules_of_today(site: Site, start: StartHub) -> None:
    schema(site)
    hub = await start(site)
    receipt = await hub.wire.submit("his/in", {**GOOD, "age": 190})
    assert await hub.node.check_again(receipt.message_id) is None  # nothing asks for a check
    checked(site)
    await hub.reload()
    record = await hub.node.check_again(receipt.message_id)
    assert record is not None
    assert record.verdict is CheckVerdict.MARKED  # it was accepted
    assert (await marked(hub, receipt.message_id)).errors == 1
    assert await hub.node.check_again(receipt.message_id, missing=True) is None


async def test_nothing_of_it_is_loaded_where_nothing_is_checked(site: Site) -> None:
    site.target()
    code = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from hub.node import Node\n"
        "async def go():\n"
        "    node = Node(Path(sys.argv[1]))\n"
        "    await node.start()\n"
        "    await node.stop(1.0)\n"
        "asyncio.run(go())\n"
        "print([n for n in sys.modules if n.startswith(('hub.checking', 'hub.quality', 'hub.validators', 'jsonschema'))])\n"
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(site.write()), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await child.communicate()
    assert out.decode().strip().splitlines()[-1] == "[]"


async def test_a_reply_is_awaited_as_usual_behind_a_check(site: Site, start: StartHub) -> None:
    """The time of a check before sending does not count for the target's timeout."""
    schema(site, OUT, "sink/up.json")
    peer = site.target(validate={"mode": "warn", "schema": "sink/up.json"})
    gate = asyncio.Event()

    async def wait(outgoing: Outgoing) -> Reply:
        await gate.wait()
        return accept(outgoing)

    peer.react = wait
    hub = await start(site)
    await hub.wire.submit("his/in", GOOD)
    await until(lambda: peer.under_way == 1)
    gate.set()
    await hub.reached(DeliveryState.DELIVERED)
