"""What goes into the database as an anomaly is what the rule set finds, for any combination of facts."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hub.config import load_config
from hub.mapping import Context
from hub.mapping_tools import open_workbench
from hub.message import Message
from hub.quality.bench import open_rules
from tests.kernel.process import ROOT

EXAMPLES = ROOT / "plugins" / "freight" / "freight_province" / "examples"
SETTINGS = {"track_hours": 2, "late_hours": 24}
#: Beginnings of rules -> column of freight_check.
KINDS = {
    "duplicate": "repeated",
    "qualification": "qualification",
    "entry": "entry",
    "track": "track",
    "document": "document",
    "fund": "matching",
}
GOOD: dict[str, dict[str, Any]] = {
    "vehicle": {"certificate": "359999000707", "tons": 32.5, "colour": "2"},
    "driver": {"qualification": "3599990020201234567", "since": "20200501", "until": "20300501"},
}


def waybill(changes: dict[str, Any]) -> dict[str, Any]:
    tree = json.loads((EXAMPLES / "waybill.json").read_bytes())
    body = tree["root"]["body"]
    body["totalMonetaryAmount"] = changes["amount"]
    body["consignmentDateTime"] = changes["ordered"]
    if changes["small"]:
        body["actualCarrierInfo"]["actualCarrierBusinessLicense"] = "359999000000"
    if changes["two"]:
        body["vehicleInfo"]["driver"].append({"driverName": "司机样8", "drivingLicense": "359999197309150172"})
    return dict(tree)


@cache
def benches() -> tuple[Any, Any]:
    loaded = load_config(ROOT / "config" / "hub.yaml")
    return open_workbench(loaded), open_rules(loaded)


def judged(name: str, tree: dict[str, Any], lookups: dict[str, Any], kind: str) -> tuple[dict[str, Any], set[str]]:
    """(what the mapping says, kinds of anomaly the rules find)"""
    workbench, rules = benches()
    message = Message(1, 1795136400_000000, "op1/documents", kind, "c1", b"")  # 09:00 of 2026-11-20 in Beijing
    context = Context(settings=SETTINGS, message=message, variables=lookups)
    (facts,) = workbench.library.get(f"freight_monitor/{name}").run(tree, context)
    found = rules.library.get("quality/freight_anomalies").assess(facts, Context(settings=SETTINGS, message=message))
    errors = {each.rule.partition("_")[0] for each in found.findings if str(each.severity) == "error"}
    return facts, {KINDS[each] for each in errors}


people = st.sampled_from(
    [
        None,
        GOOD["driver"],
        {**GOOD["driver"], "until": "20261119"},
        {**GOOD["driver"], "until": "20261118"},
        {**GOOD["driver"], "since": "20261120"},
        {**GOOD["driver"], "qualification": "359999000000"},
        {"qualification": "3599990020201234567", "since": None, "until": None},
    ]
)
payments = st.builds(
    lambda carrier, colour, noted, paid: {
        "document": "ZJ1",
        "reference": "m9",
        "carrier": carrier,
        "carrierHash": "0cb1c250bffbc593dda160195901caa84f047306eba89917bbda09b3e91cc6d3",
        "plate": "闽Z00007",
        "colour": colour,
        "noted": noted,
        "listed": noted,
        "paid": paid,
    },
    st.sampled_from(["演示运输7队", "别家"]),
    st.sampled_from(["1", "2"]),
    st.sampled_from([3271.75, 3000]),
    st.sampled_from([3271.75, 3000]),
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    changes=st.fixed_dictionaries(
        {
            "amount": st.sampled_from([3271.75, 0]),
            "ordered": st.sampled_from(["20261118081200", "20261120081200"]),
            "small": st.booleans(),
            "two": st.booleans(),
        }
    ),
    lookups=st.fixed_dictionaries(
        {
            "earlier": st.sampled_from(
                [
                    None,
                    {"reference": "m1", "plate": "闽Z00007", "despatched": "20261119121200", "content": "x"},
                    {"reference": "m1", "plate": "闽Z00009", "despatched": "20261119121200", "content": "x"},
                ]
            ),
            "elsewhere": st.sampled_from([None, {"enterprise": "DEMO0001"}, {"enterprise": "DEMO0002"}]),
            "payment": st.one_of(st.none(), payments),
            "vehicle": st.sampled_from(
                [
                    None,
                    GOOD["vehicle"],
                    {**GOOD["vehicle"], "certificate": "359999000000"},
                    {**GOOD["vehicle"], "tons": 5},
                    {**GOOD["vehicle"], "colour": "1"},
                ]
            ),
            "driver": people,
            "second": people,
            "entry": st.sampled_from([None, {"answer": "yes"}, {"answer": "no"}]),
            "track": st.sampled_from([None, {"pass": True}, {"pass": False}]),
            "positions": st.sampled_from(
                [
                    None,
                    {"origin": "359999", "destination": "359998", "first": "20261119121200", "last": "20261120081200"},
                    {"origin": "359999", "destination": "359998", "first": "20261119151200", "last": "20261120081200"},
                    {"origin": "359999", "destination": "359998", "first": "20261119121200", "last": "20261120031200"},
                    {"origin": "359997", "destination": "359998", "first": "20261119121200", "last": "20261120081200"},
                ]
            ),
        }
    ),
)
def test_the_database_has_what_the_rules_find_of_a_waybill(changes: dict[str, Any], lookups: dict[str, Any]) -> None:
    facts, found = judged("waybill", waybill(changes), lookups, "wlhy.waybill")
    flags = {name for row in facts["row"] for name in KINDS.values() if int(row[name])}
    assert flags == found


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    paid=st.sampled_from([3271.75, 3271.74]),
    known=st.booleans(),
    carrier=st.sampled_from(["演示运输7队", "别家"]),
    plate=st.sampled_from(["闽Z00007", "闽Z00008"]),
    amount=st.sampled_from([3271.75, 3271.76]),
)
def test_and_of_a_payment(paid: float, known: bool, carrier: str, plate: str, amount: float) -> None:
    tree = json.loads((EXAMPLES / "fund_flow.json").read_bytes())
    tree["root"]["body"]["financiallist"][0]["monetaryAmount"] = paid
    digest = "0cb1c250bffbc593dda160195901caa84f047306eba89917bbda09b3e91cc6d3"
    waybill = {"reference": "m1", "carrier": carrier, "carrierHash": digest, "plate": plate, "colour": "2"}
    lookups = {"note": {**waybill, "amount": amount} if known else None}
    facts, found = judged("fund_flow", tree, lookups, "wlhy.fund_flow")
    assert bool(int(facts["matching"])) == ("matching" in found)
    assert bool(int(facts["awaits"])) is not known
