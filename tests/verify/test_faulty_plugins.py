"""Every check can fail: plugins with one fault each are told apart from a sound one, in one run."""

from __future__ import annotations

import pytest

from hub.verify import Report, Result, Status, verify
from tests.verify.verify_site import VARIANTS, make_site


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return verify(make_site(tmp_path_factory.mktemp("verify")))


def bad(report: Report, plugin: str, check: str) -> list[Result]:
    return [result for result in report.plugins[plugin].of(check) if result.status is not Status.PASSED]


def test_nothing_is_wrong_with_the_sound_one(report: Report) -> None:
    plugin = report.plugins["sound"]
    assert [(r.check, r.place, r.why) for r in plugin.failed] == []
    calls = (
        "round_trip",
        "receive",
        "errors",
        "faults",
        "idempotency",
        "order",
        "refusals",
        "probe",
        "outage",
        "privacy",
    )
    assert {check: plugin.status(check) for check in calls} == dict.fromkeys(calls, Status.PASSED)
    assert all(one in report.plugins for one in VARIANTS)


def test_the_matrix_is_complete(report: Report) -> None:
    # The sound one has the shape of others: one of them was put through the matrix, and the sound one says which.
    lent = report.plugins["sound"].of("faults")
    owner = lent[0].why.removeprefix("alike: tried at ").partition("/")[0]
    assert [result.place for result in lent] == ["send"]
    places = {result.place.removeprefix("send: ") for result in report.plugins[owner].of("faults")}
    wanted = {"silent", "refuse", "reset", "truncated", "garbage", "status 500", "status 503", "unauthorised", "delay"}
    assert wanted | {"for good"} == places
    codes = {result.place.removeprefix("send: ") for result in report.plugins[owner].of("errors")}
    assert codes == {"4001", "5001", "2001"}


def test_a_success_rule_that_is_always_true_is_found_by_every_code(report: Report) -> None:
    assert {result.place for result in bad(report, "believes", "errors")} == {"send: 4001", "send: 5001"}


def test_without_rules_for_the_answer_codes_mean_nothing(report: Report) -> None:
    assert report.plugins["blind"].status("errors") is not Status.PASSED


@pytest.mark.parametrize(
    ("plugin", "check", "told"),
    [
        ("unordered", "order", "another ordering key"),
        ("restless", "idempotency", "differs at number"),
        ("wrong_form", "round_trip", "must be a text"),
        ("forgetful", "refusals", "taken for another message"),
        ("dead_probe", "probe", "not well although the party is up"),
        ("talkative", "privacy", "log"),
        ("leaking", "privacy", "error of the mapping"),
        ("unmapped", "mappings", "missing or have errors"),
        ("unreachable_adapter", "manifest", "pigeon"),
    ],
)
def test_each_fault_is_found(report: Report, plugin: str, check: str, told: str) -> None:
    found = bad(report, plugin, check)
    assert any(told in result.why for result in found), [
        (r.check, r.place, r.why) for r in report.plugins[plugin].failed
    ]
    assert any(result.status is Status.FAILED for result in found)


def test_a_fault_of_one_is_not_told_of_the_others(report: Report) -> None:
    for plugin in ("sound", "talkative", "leaking"):
        checks = {result.check for result in report.plugins[plugin].failed}
        assert checks <= {"privacy"}, (plugin, checks)


def test_one_that_can_not_be_called_says_so(report: Report) -> None:
    plugin = report.plugins["unreachable_adapter"]
    assert plugin.status("round_trip") is Status.SKIPPED
    assert all(result.why for result in plugin.of("round_trip"))
