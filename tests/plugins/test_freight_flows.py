"""Alarm and rectification, appeal, onboarding as flows, through a real hub that is killed in between, and independent parties."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kernel.process import HubProcess, wait_for
from tests.plugins.freight_province_site import FREIGHT, Province, province

EXAMPLES = FREIGHT / "freight_portal" / "examples"
PROOF = [{"name": "证明", "content": base64.b64encode(b"proof").decode()}]


def example(name: str, **changes: Any) -> dict[str, Any]:
    return {**json.loads((EXAMPLES / f"{name}.json").read_bytes()), **changes}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Province]:
    with province(tmp_path_factory.mktemp("flows"), flows=True, alarm_percent=10, alarm_least=4) as found:
        yield found
        found.hub.stop()  # the last one: tests put another in the place of the first


def restarted(site: Province) -> None:
    site.hub.kill()
    site.hub = HubProcess(site.config)


def judged(site: Province, operator: str, day: str, *, good: int, bad: int = 0) -> None:
    with closing(sqlite3.connect(site.config.parent / "monitor.sqlite", timeout=30)) as connection, connection:
        for number in range(good + bad):
            connection.execute(
                "INSERT INTO freight_check VALUES (?, 'waybill', ?, ?, 'r', ?, '20260101', 0, 0, ?, 0, 0, 0, 0, '')",
                (operator, f"{day}-{number}", f"{day}-{number}", day, int(number >= good)),
            )


def anomalous(site: Province, number: str) -> tuple[str, str]:
    """A waybill whose vehicle was never reported: its flow's key, and its number."""
    info = json.loads((FREIGHT / "freight_province" / "examples" / "waybill.json").read_bytes())["root"]["body"]
    plate = f"闽Z1{number[-4:]}"
    reference = site.takes(
        "waybill", shippingNoteNumber=number, vehicleInfo={**info["vehicleInfo"], "vehicleNumber": plate}
    )
    assert "qualification" in site.flags(f"{number}-0000")
    return f"DEMO0001-{reference}", plate


# -- 003:85 -------------------------------------------------------------------------------------------------------------


def test_an_appeal_that_is_upheld_takes_the_anomaly_out_of_the_figures(site: Province) -> None:
    site.takes("driver")
    key, plate = anomalous(site, "YDAPPEAL0001")
    wait_for(lambda: site.platforms.told("qualification", key), "the operator is told")
    site.at("freight_appeal", key, "appeal")
    appeal = example("appeal", anomaly=key, plate=plate, requestId="SS1", materials=PROOF)
    # Somebody else's appeal is not meant.
    assert site.portal("appeals", {**appeal, "requestId": "SS0", "enterprise": "DEMO0002"}) == 202
    assert site.portal("appeals", appeal) == 202
    found = site.at("freight_appeal", key, "decide")
    assert found["variables"]["still"] == 1  # nothing was mended yet
    site.decide("freight_appeal", key, "decide", "more", opinion="请补充行驶证")
    wait_for(lambda: site.platforms.told("supplement", key), "more is asked for")
    site.at("freight_appeal", key, "supplement")
    restarted(site)
    site.takes("vehicle", vehicleNumber=plate)
    assert site.portal("appeals", {**appeal, "requestId": "SS2", "reason": "车辆信息已补报"}) == 202
    found = site.at("freight_appeal", key, "decide")
    assert found["variables"]["still"] == 0  # compared anew: the vehicle is known by now
    assert found["documents"]["appeal"] == 2
    kept = {(each["name"], each["version"]): each["data"].get("reason") for each in found["versions"]}
    assert kept["appeal", 1] == appeal["reason"]
    assert kept["appeal", 2] == "车辆信息已补报"
    site.decide("freight_appeal", key, "decide", "withdraw", opinion="情况属实")
    assert site.ended("freight_appeal", key) == "withdrawn"
    assert site.flags("YDAPPEAL0001-0000") == set()
    assert site.rows("SELECT appeal FROM freight_check WHERE number = 'YDAPPEAL0001-0000'") == [("withdrawn",)]
    assert len(site.platforms.told("withdrawn", key)) == 1


def test_an_appeal_that_is_not_leaves_it_there(site: Province) -> None:
    key, plate = anomalous(site, "YDAPPEAL0002")
    site.at("freight_appeal", key, "appeal")
    assert site.portal("appeals", example("appeal", anomaly=key, plate=plate, requestId="SS3")) == 202
    site.decide("freight_appeal", key, "decide", "uphold", opinion="车辆确未上报")
    assert site.ended("freight_appeal", key) == "upheld"
    assert site.flags("YDAPPEAL0002-0000") == {"qualification"}
    assert site.rows("SELECT appeal FROM freight_check WHERE number = 'YDAPPEAL0002-0000'") == [("upheld",)]


def test_an_appeal_that_says_nothing_is_refused_at_the_door(site: Province) -> None:
    assert site.portal("appeals", {"requestId": "SS9", "enterprise": "DEMO0001"}) == 422


def test_without_an_appeal_it_is_final_and_a_late_one_changes_nothing(tmp_path: Path) -> None:
    """The same flow with seconds for days."""
    with province(tmp_path, flows=True) as site:
        site.hub.stop()
        (tmp_path / "flows").mkdir()
        for file in (FREIGHT / "flows").glob("*.yaml"):
            text = file.read_text("utf-8")
            assert file.name != "freight_appeal.yaml" or text.count("within: 30d") == 1
            (tmp_path / "flows" / file.name).write_text(text.replace("within: 30d", "within: 2s"), encoding="utf-8")
        tree = yaml.safe_load(site.config.read_text("utf-8"))
        tree["flows"] = ["../flows"]
        site.config.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
        site.hub = HubProcess(site.config)
        site.tokens.clear()
        key, plate = anomalous(site, "YDAPPEAL0003")
        assert site.ended("freight_appeal", key) == "final"
        assert site.portal("appeals", example("appeal", anomaly=key, plate=plate, requestId="SS4")) == 202
        site.hub.settled()
        assert site.instance("freight_appeal", key)["state"] == "ended"
        assert site.flags("YDAPPEAL0003-0000") == {"qualification"}
        site.hub.stop()


# -- 003:81, 89 ---------------------------------------------------------------------------------------------------------


def test_an_alarm_is_told_to_both_and_ends_when_the_county_is_content(site: Province) -> None:
    judged(site, "DEMO0003", "2026-05-01", good=3, bad=2)
    site.tick("freight.hour", "2026-05-01", "2026-04-30")
    site.tick("freight.hour", "2026-05-01", "2026-04-30")
    key = "DEMO0003-2026-05-01"
    site.at("freight_alarm", key, "rectification")
    assert [n["data"]["anomalous"] for n in site.platforms.told("alarm", key)] == [2]
    assert len(site.platforms.told("alarm", key, to="authority")) == 1
    result = example("rectification", alarm=key, enterprise="DEMO0003", requestId="ZG1")
    assert site.portal("rectifications", result) == 202
    site.decide("freight_alarm", key, "examine", "again", opinion="材料不足")
    wait_for(lambda: site.platforms.told("rectify", key), "the operator is reminded")
    assert site.portal("rectifications", {**result, "requestId": "ZG2"}) == 202
    site.decide("freight_alarm", key, "examine", "closed", opinion="已整改")
    assert site.ended("freight_alarm", key) == "closed"
    assert len(site.platforms.told("closed", key)) == 1


# -- 003:71-77 -----------------------------------------------------------------------------------------------------------


def test_from_the_application_to_admission(site: Province) -> None:
    key = "DEMO0002"
    site.platforms.licence = {"code": 0, "data": {"valid": False}}
    assert site.portal("applications", example("application", enterprise=key, requestId="SQ1")) == 202
    # No account before the licence is certified.
    site.decide("freight_onboarding", key, "doubt", "back", opinion="许可证已过期")
    site.at("freight_onboarding", key, "supplement")
    site.platforms.licence = {"code": 0, "data": {"valid": True, "validTo": "20300101"}}
    renewed = example("application", enterprise=key, requestId="SQ2", permit="359999000010")
    assert site.portal("applications", renewed) == 202
    site.at("freight_onboarding", key, "account")
    asked = [body["permit"] for path, body in site.platforms.queries if path == "/licences/query"]
    assert asked == ["359999000009", "359999000010"]
    site.decide("freight_onboarding", key, "account", "issued", account="op2")
    (told,) = wait_for(lambda: site.platforms.told("account", key), "the account is told")
    assert told["data"] == {"account": "op2"}
    tests = {"waybill", "fund_flow", "vehicle", "driver"}
    site.at("freight_onboarding", key, *(f"test_{name}" for name in tests))
    for name in ("vehicle", "driver", "waybill"):
        site.takes(name, enterprise=key)
    site.at("freight_onboarding", key, "test_fund_flow")
    restarted(site)
    site.takes("fund_flow", enterprise=key)
    site.at("freight_onboarding", key, "day")

    days = iter(range(1, 31))

    def day(good: int, bad: int = 0, skip: int = 0) -> None:
        for _ in range(skip):
            next(days)
        number = next(days)
        date, after = f"2026-06-{number:02}", f"2026-06-{number + 1:02}"
        judged(site, key, date, good=good, bad=bad)
        before = site.instance("freight_onboarding", key)["variables"].get("period")
        site.tick("freight.day", after, date)
        assert before != date
        wait_for(
            lambda: (
                site.instance("freight_onboarding", key)["variables"].get("last") == date
                or "admission" in site.instance("freight_onboarding", key)["at"]
            ),
            f"{date} is counted",
        )

    def counted() -> int:
        return int(site.instance("freight_onboarding", key)["variables"]["days"])

    day(5)
    day(6)
    assert counted() == 2
    day(4)  # too few
    assert counted() == 0
    day(5)
    day(5, skip=1)  # a day without any
    assert counted() == 1
    for _ in range(8):
        day(20)
    assert counted() == 9
    day(20)
    shown = site.at("freight_onboarding", key, "admission")["variables"]
    assert (shown["days"], shown["judgedInAll"], shown["anomalousInAll"]) == (10, 185, 0)
    site.decide("freight_onboarding", key, "admission", "admit", opinion="符合接入条件")
    assert site.ended("freight_onboarding", key) == "admitted"
    assert len(site.platforms.told("admitted", key)) == 1
    assert len(site.platforms.told("admitted", key, to="authority")) == 1


def test_a_trial_with_too_many_anomalies_begins_anew(site: Province) -> None:
    key = "DEMO0001"
    site.platforms.licence = {"code": 0, "data": {"valid": True}}
    assert site.portal("applications", example("application", enterprise=key, requestId="SQ3")) == 202
    site.decide("freight_onboarding", key, "account", "issued", account="op1")
    for name in ("vehicle", "driver", "waybill", "fund_flow"):
        site.takes(name, enterprise=key)
    site.at("freight_onboarding", key, "day")
    for number in range(1, 11):
        judged(site, key, f"2026-07-{number:02}", good=9, bad=int(number == 3))  # 1 of 91: 1.1 %
        site.tick("freight.day", f"2026-07-{number + 1:02}", f"2026-07-{number:02}")
    (told,) = wait_for(lambda: site.platforms.told("trial_again", key), "told that it begins anew")
    assert told["data"] == {"judged": 91, "anomalous": 1}
    assert site.at("freight_onboarding", key, "day")["variables"]["days"] == 0


def test_a_firm_whose_licence_is_not_valid_may_be_refused(site: Province) -> None:
    key = "DEMO0008"
    site.platforms.licence = {"code": 0, "data": {"valid": False}}
    assert site.portal("applications", example("application", enterprise=key, requestId="SQ4")) == 202
    site.decide("freight_onboarding", key, "doubt", "no", opinion="无有效许可证")
    assert site.ended("freight_onboarding", key) == "refused"
    assert len(site.platforms.told("refused", key)) == 1
    assert site.platforms.told("account", key) == []
