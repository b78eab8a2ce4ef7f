"""Solving expressions backwards, ways to misbehave, invented settings, replies that can't be derived."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.errors import HubError
from hub.mapping import Context, MappingLibrary, compile_expression
from hub.registry import Registry
from hub.simulator import Behaviour, Simulator, parse_behaviour
from hub.simulator.behaviour import Moods
from hub.simulator.check import simulate_problems
from hub.simulator.solve import give, hold, parsed, put
from tests.simulator.simulator_support import Played, plugins

CONDITIONS = (
    "code == 1001",
    "code == '0000'",
    'code in ["A", "B"]',
    "code not in ['E1', 'E2']",
    "success == true",
    "ok",
    "not failed",
    "code == 0 and success != false",
    "result.code == 'OK' or status == 'done'",
    "Response.SendStatusSet[0].Code == 'Ok'",
    "string(code) == $settings.good",
    "coalesce(code, status) == '0'",
)


@pytest.mark.parametrize("text", CONDITIONS)
@pytest.mark.parametrize("wanted", [True, False])
def test_a_condition_is_solved_both_ways(text: str, wanted: bool) -> None:
    known = {"good": "0"}
    tree = hold({}, parsed(text, "json"), wanted, known)
    assert bool(compile_expression(text, "json")(tree, Context(settings=known))) is wanted


@pytest.mark.parametrize(
    "text", ["code", "sub_code | default(code)", "coalesce(msg, message)", "a.b[0].c", "x if y else z"]
)
def test_a_value_is_put_where_the_expression_reads_it(text: str) -> None:
    tree = give({}, parsed(text, "json"), "E42")
    assert compile_expression(text, "json")(tree, Context()) == "E42"


@given(st.lists(st.one_of(st.text(min_size=1, max_size=5), st.integers(0, 5)), min_size=1, max_size=6), st.integers())
@settings(max_examples=100, deadline=None)
def test_what_is_put_at_a_place_is_found_there(keys: list[str | int], value: int) -> None:
    found: Any = put({}, keys, value)
    for key in keys:
        found = found[key]
    assert found == value


@pytest.mark.parametrize("text", ["", "explode", "status:99", "status:x", "delay:soon", "error", "error:"])
def test_what_is_no_way_to_misbehave_is_told(text: str) -> None:
    with pytest.raises(HubError) as caught:
        parse_behaviour(text)
    assert caught.value.remedy


def test_ways_to_misbehave() -> None:
    assert parse_behaviour("status:429:5") == Behaviour("status", "429", 5.0)
    assert parse_behaviour("delay:0.5") == Behaviour("delay", seconds=0.5)
    assert parse_behaviour("error:SYSTEM_ERROR").code == "SYSTEM_ERROR"
    assert not parse_behaviour("refuse").takes_effect


def test_the_next_calls_only_then_well_again() -> None:
    moods = Moods()
    moods.add("a", Behaviour("garbage"), 2, 1.0)
    moods.add("a", Behaviour("silent"), 1, 1.0)
    assert [getattr(moods.next(name), "kind", None) for name in "aabaa"] == ["garbage", "garbage", None, "silent", None]


def test_a_share_of_calls_is_drawn_alike_from_one_seed() -> None:
    def drawn() -> list[bool]:
        moods = Moods(7)
        moods.add("*", Behaviour("garbage"), None, 0.3)
        return [moods.next("a") is not None for _ in range(200)]

    assert drawn() == drawn()
    assert 30 < sum(drawn()) < 90


def test_settings_are_invented_for_both_sides(party: Played) -> None:
    simulator = party.start("wechat_pay")
    assert len(simulator.settings["api_key"]) == 32
    assert simulator.settings["base_url"].startswith("http://127.0.0.1:")
    assert simulator.settings["notify_url"] == f"http://127.0.0.1:{simulator.settings['notify_port']}/wechat/notify"
    assert "PRIVATE KEY" in simulator.settings["private_key"]
    assert "PUBLIC KEY" in simulator.settings["platform_key"]
    assert party.start("medical_insurance", interfaces=["query"]).settings["fixmedins_code"].isdecimal()


def test_a_public_key_nobody_has_the_private_one_of_is_not_played(party: Played) -> None:
    other = party.start("freight_exchange").settings["platform_key"]
    simulator = party.start("freight_exchange", settings={"platform_key": other})
    assert simulator.interfaces == {}
    assert "private key" in simulator.not_simulated["waybill"]


CONTRACT = """
id: odd
name: 某平台
settings: {{url: {{type: url, required: true}}}}
interfaces:
  ask:
    direction: out
    adapter: http
    connect: {{url: "${{url}}", path: /ask}}
    codec: json
    {rules}
"""


def odd(folder: Path, rules: str) -> tuple[Registry, MappingLibrary]:
    (folder / "odd").mkdir()
    (folder / "odd" / "plugin.yaml").write_text(CONTRACT.format(rules=rules.replace("\n", "\n    ")), "utf-8")
    registry = Registry.discover([folder])
    assert registry.problems == []
    return registry, plugins()[1]


async def _started(registry: Registry, mappings: MappingLibrary) -> Simulator:
    simulator = await Simulator.start(registry.plugins["odd"], registry, mappings)
    await simulator.stop()
    return simulator


def test_a_good_reply_that_cannot_be_derived_is_told_with_the_remedy(party: Played, tmp_path: Path) -> None:
    simulator = party.run(_started(*odd(tmp_path, "success: length(items) > 3")))
    assert "length(items) > 3" in simulator.not_simulated["ask"]
    assert "simulate: {answer" in simulator.not_simulated["ask"]


def test_an_error_the_contract_could_never_read_is_told(party: Played, tmp_path: Path) -> None:
    rules = "success: code == '0'\nreply: {code: \"'X' if code == '1' else 'Y'\"}\nerrors: {X: {class: permanent}, Z: {class: permanent}}"
    simulator = party.run(_started(*odd(tmp_path, rules)))
    assert [problem.code for problem in simulator.problems] == ["simulate.refusal"] * len(simulator.problems)
    assert any("errors.Z" in problem.text for problem in simulator.problems)


def test_a_check_finds_what_is_wrong_with_simulate_and_where(tmp_path: Path) -> None:
    rules = (
        "simulate:\n  when: length(\n  answer: nowhere/mapping\n  checks: [{when: 1 +, code: X}]\n"
        "  callback: {to: ask, body: {a: ')'}}"
    )
    registry, mappings = odd(tmp_path, rules)
    found = simulate_problems(registry.plugins["odd"], registry, mappings)
    assert [problem.key.rpartition("simulate.")[2] for problem in found] == [
        "callback.to",
        "when",
        "checks[0].when",
        "answer",
        "callback.body",
    ]
    assert all(problem.line > 1 and problem.file for problem in found)


def test_the_shipped_rules_are_sound() -> None:
    registry, mappings = plugins()
    assert [
        problem for one in registry.plugins.values() for problem in simulate_problems(one, registry, mappings)
    ] == []


def test_a_wrong_expression_of_simulate_costs_its_interface_only(party: Played, tmp_path: Path) -> None:
    simulator = party.run(_started(*odd(tmp_path, 'simulate: {answer: {code: "length("}}')))
    assert "ask.simulate.answer.code" in simulator.not_simulated["ask"]
