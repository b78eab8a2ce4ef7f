"""A day of settlements against the platform, through a real hub: totals, rows, the list of differences; nothing is settled twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kernel.process import ROOT, HubProcess, Sink, wait_for
from tests.plugins.insurance_simulator import CHINA, HOSPITAL, Insurance
from tests.plugins.insurance_site import QUICK, Desk, call_of, make_site

YESTERDAY = (datetime.now(CHINA).date() - timedelta(days=1)).isoformat()
KEY = f"{YESTERDAY}/310/11/359999"


def with_book(file: Path, office: str, **settings: Any) -> Path:
    """The site with the book beside it, and the flow that goes to the platform with it."""
    tree = yaml.safe_load(file.read_text("utf-8"))
    tree["flows"] = [str(ROOT / "plugins" / "insurance" / "flows")]
    tree["systems"]["insurance_book"] = {
        "plugin": "insurance_reconciliation",
        "settings": {
            "fixmedins_code": HOSPITAL,
            "setl_optins": "359999",
            "at": "0 0 1 1 *",
            "report_url": office,
            **settings,
        },
        "interfaces": dict.fromkeys(("entries", "listing", "report"), QUICK),
    }
    tree["routes"] |= {
        "settled": {"from": "insurance/settled", "to": "insurance_book/entries"},
        "day": {"from": "insurance_book/daily", "to": "insurance_book/listing"},
    }
    del tree["routes"]["statements"]
    file.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    return file


class Day:
    """A hospital, its insurance, and the office that reads the results."""

    def __init__(self, hub: HubProcess, platform: Insurance, office: Sink) -> None:
        self.hub, self.platform, self.office, self.desk = hub, platform, office, Desk(hub)

    def settle(self, name: str) -> dict[str, Any]:
        """An outpatient visit to its end; returns what the settlement was answered."""
        visit: dict[str, Any] = {}
        answer: dict[str, Any] = {}
        for infno in ("2201", "2203A", "2204", "2207A"):
            status, answer = self.desk.ask(call_of(infno, f"{name}-{infno}", **visit))
            assert (status, answer["infcode"]) == (200, 0), answer
            if infno == "2201":
                visit["mdtrt_id"] = answer["output"]["data"]["mdtrt_id"]
        made: dict[str, Any] = answer["output"]["setlinfo"]
        return made

    def reconcile(self) -> dict[str, Any]:
        """The report of the day's one group."""
        self.hub.settled()
        before = len(self.office.bodies)
        assert self.hub.call("POST", "/api/v1/interfaces/insurance_book/daily/poll").status == 202
        told: dict[str, Any] = wait_for(lambda: self.office.bodies[before:], "the result of the day")[0][1]
        return told


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    platform, office = Insurance(), Sink()
    platform.settles_on = YESTERDAY
    file = with_book(make_site(tmp_path, platform.url, settlement={"timeout": "2s"}), office.url)
    try:
        with HubProcess(file) as hub:
            yield Day(hub, platform, office)
        assert platform.wrong == []
    finally:
        platform.close()
        office.close()


def test_a_day_that_agrees_is_told_with_its_totals(day: Day) -> None:
    day.settle("a")
    undone = day.settle("b")
    day.settle("c")
    asked = {"setl_id": undone["setl_id"], "mdtrt_id": undone["mdtrt_id"]}
    assert day.desk.ask(call_of("2208A", "b-2208A", **asked))[0] == 200
    told = day.reconcile()
    assert told == {
        "key": KEY, "day": YESTERDAY, "insutype": "310", "clr_type": "11", "setl_optins": "359999", "count": "4",
        "medfee_sumamt": "103.20", "fund_pay_sumamt": "72.24", "acct_pay": "0.00", "agreed": True, "told": "", "rows": 0,
    }  # fmt: skip
    assert [call["infno"] for call in day.platform.calls if call["infno"] in ("3201", "3202", "9101")] == ["3201"]


def test_what_only_one_side_has_is_in_the_list_of_differences(day: Day) -> None:
    even, ours, wrong = (day.settle(name) for name in ("even", "ours", "wrong"))
    ledger = {row["setl_id"]: row for row in day.platform.ledger}
    day.platform.ledger.remove(ledger[ours["setl_id"]])
    ledger[wrong["setl_id"]]["fund_pay_sumamt"] += 1
    day.platform.settled.pop(ours["setl_id"])  # the totals of 3201
    day.platform.ledger.append({**ledger[even["setl_id"]], "setl_id": "J99", "msgid": "MSG99"})
    told = day.reconcile()
    assert (told["agreed"], told["rows"], told["count"], told["medfee_sumamt"]) == (False, 4, "3", "154.80")
    found = [(one.get("setl_id"), one["medfee_sumamt"], one["memo"]) for one in told["differences"]]
    assert found == [
        (ours["setl_id"], "51.60", "中心无此记录"),
        (wrong["setl_id"], "51.60", "金额不符"),
        (None, "51.60", "医院无此记录"),
    ]


def test_a_settlement_whose_answer_was_lost_is_found_at_the_centre_until_it_is_reversed(day: Day) -> None:
    day.settle("known")
    visit: dict[str, Any] = {}
    for infno in ("2201", "2203A", "2204"):
        _, answer = day.desk.ask(call_of(infno, f"lost-{infno}", **visit))
        visit = visit or {"mdtrt_id": answer["output"]["data"]["mdtrt_id"]}
    day.platform.script["2207A"] = ["lost"]
    assert day.desk.ask(call_of("2207A", "lost-2207A", **visit))[0] == 504
    told = day.reconcile()
    assert [one["memo"] for one in told["differences"]] == ["医院无此记录"]
    assert told["differences"][0]["msgid"] == day.platform.of("2207A")[-1]["msgid"]
    reversal = {"infno": "2601", "requestId": "lost-2601", "of": "lost-2207A", "input": {}}
    assert day.desk.ask(reversal)[0] == 200
    assert day.reconcile()["agreed"] is True


def test_what_was_answered_and_then_reversed_is_in_no_total(day: Day) -> None:
    day.settle("stays")
    day.settle("goes")
    assert day.desk.ask({"infno": "2601", "requestId": "goes-2601", "of": "goes-2207A", "input": {}})[0] == 200
    told = day.reconcile()
    assert (told["agreed"], told["count"], told["medfee_sumamt"]) == (True, "1", "51.60")
