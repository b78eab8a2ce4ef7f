"""Order → sample → result → report registered → shared, as a flow in a real hub between a HIS, a laboratory and a platform that share no code with it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from lxml import etree

from hub.flows.store import FlowStore, flows_file
from hub.node import salt_of
from tests.kernel.process import HubProcess, wait_for
from tests.plugins.hospital_support import HOSPITAL, QUICK, Platform, Taker, ask, example, field, segment, site, told

FLOW = HOSPITAL / "flows" / "hospital_lab_order.yaml"


@dataclass
class Ward:
    folder: Path
    his: Taker
    lis: Taker
    platform: Platform

    def site(self, waits: dict[str, str] | None = None) -> Path:
        """The hub's configuration; ``waits``: step -> how long it waits, in the place of hours and days."""
        flow = yaml.safe_load(FLOW.read_text("utf-8"))
        for step in flow["steps"]:
            if waits and step["id"] in waits:
                step["wait"]["within"] = waits[step["id"]]
        (self.folder / "flows").mkdir()
        (self.folder / "flows" / FLOW.name).write_text(yaml.safe_dump(flow, allow_unicode=True), encoding="utf-8")
        systems = {
            "his": {
                "plugin": "his_hl7v2",
                "settings": {"port": 0, "send_port": self.his.port},
                "interfaces": {"results": QUICK, "order_status": QUICK},
            },
            "lis": {
                "plugin": "lis_hl7v2",
                "settings": {"port": 0, "send_port": self.lis.port},
                "interfaces": {"orders": QUICK},
            },
            "platform": {
                "plugin": "hospital_platform",
                "settings": {
                    "url": self.platform.url,
                    "port": 0,
                    "sender_id": "TONGQU-0001",
                    "receiver_id": "HIP-0000001",
                    "organisation_code": "12359999400000001X",
                    "organisation_name": "演示市第一医院",
                },
                "interfaces": {"lab_report": QUICK, "lab_status": QUICK},
            },
        }
        flow_of: dict[str, Any] = {"to": "flow/hospital_lab_order"}
        routes = {
            "orders": {"from": "his/adt", "types": ["OML^O21"], "mapping": "canonical/order_from_v2", **flow_of},
            "states": {"from": "lis/oru", "types": ["OML^O21"], "mapping": "canonical/order_from_v2", **flow_of},
            "results": {"from": "lis/oru", "types": ["ORU^R01"], "mapping": "canonical/lab_report_from_v2", **flow_of},
        }
        return site(self.folder, systems, routes, flows=["../flows"])


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    his, lis, platform = Taker(), Taker(), Platform()
    yield Ward(tmp_path, his, lis, platform)
    for each in (his, lis, platform):
        each.close()


def order(hub: HubProcess, number: str, **replaced: str) -> None:
    message = example("his_hl7v2", "oml_o21.hl7", O20261120001=number, HIS202611200101=f"H{number}", **replaced)
    assert segment(ask(hub.port("his/adt"), message), "MSA")[1] == "AA"


def laboratory(hub: HubProcess, name: str, number: str, control: str, **replaced: str) -> None:
    old = {"orm_sample.hl7": "LIS20261120100", "oru_corrected.hl7": "LIS20261120102"}[name]
    replaced = {"R20261120001": f"R{number}", "O20261120001": number, old: control, **replaced}
    message = example("lis_hl7v2", name, **dict(sorted(replaced.items(), key=lambda each: each[0][0] != "R")))
    assert segment(ask(hub.port("lis/oru"), message), "MSA")[1] == "AA"


def first_result(hub: HubProcess, number: str, control: str) -> None:
    laboratory(
        hub, "oru_corrected.hl7", number, control, **{"||HM|C|": "||HM|F|", "5.80": "15.80", "|N|||C|": "|H|||F|"}
    )


def states(hub: HubProcess) -> list[tuple[str, str, str]]:
    """(business key, state, end) of every instance, read from the hub's files."""
    store = FlowStore(flows_file(hub.data), salt_of(hub.data), writable=False)
    try:
        return [(row.instance.key, row.instance.state, row.instance.end) for row in store.instances(limit=100)]
    finally:
        store.close()


def document(message: etree._Element) -> etree._Element:
    """The CDA document a registration carries."""
    return etree.fromstring(base64.b64decode(told(message, "//v:storageCode/v:originalText/@value")))


def test_from_the_order_to_the_shared_report_and_its_correction_over_a_killed_hub(ward: Ward) -> None:
    file = ward.site()
    with HubProcess(file) as hub:
        order(hub, "OA1")
        (placed,) = ward.lis.wait(1)
        assert (field(placed, "ORC", 1), field(placed, "ORC", 2), field(placed, "OBR", 4)) == ("NW", "OA1", "CBC")
        assert (field(placed, "PID", 3), field(placed, "SPM", 2, 2)) == ("P000012", "TM20261120001")
        laboratory(hub, "orm_sample.hl7", "OA1", "L1")
        (sampled,) = ward.his.wait(1)
        assert [field(sampled, "ORC", n) for n in (1, 2, 3, 5)] == ["SC", "OA1", "ROA1", "IP"]
        hub.kill()
    with HubProcess(file) as hub:
        first_result(hub, "OA1", "L2")
        (result,) = ward.his.wait(1, "ORU^R01")
        assert [field(result, "OBR", n) for n in (2, 3, 25)] == ["OA1", "ROA1", "F"]
        assert [segment(result, "OBX", 1)[n].split("~")[0].split("^")[0] for n in (3, 5, 6, 8, 11)] == [
            "WBC",
            "15.80",
            "10*9/L",
            "H",
            "F",
        ]
        (registered,) = ward.platform.wait(1)
        (status,) = ward.platform.wait(1, "ExamStatusInfoUpdate")
        assert etree.QName(status).localname == "POLB_IN224000UV01"
        laboratory(hub, "oru_corrected.hl7", "OA1", "L3")
        corrected = ward.his.wait(2, "ORU^R01")[1]
        assert (field(corrected, "OBR", 25), segment(corrected, "OBX")[5]) == ("C", "5.80")
        newer = ward.platform.wait(2)[1]
        hub.settled()
        assert states(hub) == [("OA1", "running", "")]
        instance = hub.call("GET", "/api/v1/flows/instances").json
        assert instance["instances"]
    # Both versions are documents of their own, of one set.
    assert [told(each, "//v:clinicalDocument/v:versionNumber/@value") for each in (registered, newer)] == ["1", "2"]
    first, second = document(registered), document(newer)
    assert told(first, "v:setId/text()") == told(second, "v:setId/text()")
    assert told(first, "v:id/@extension") != told(second, "v:id/@extension")
    assert "P000012" not in told(first, "v:setId/text()")
    for message, cda in ((registered, first), (newer, second)):
        assert told(message, "//v:clinicalDocument/v:id/v:item/@extension") == told(cda, "v:id/@extension")
        assert (
            told(message, "//v:recordTarget/v:patient/v:id/v:item[@root='2.16.156.10011.2.5.1.4']/@extension")
            == "P000012"
        )


def test_a_cancellation_calls_the_laboratory_off_and_ends_the_flow(ward: Ward) -> None:
    with HubProcess(ward.site()) as hub:
        order(hub, "OC1")
        ward.lis.wait(1)
        order(hub, "OC1", **{"ORC|NW": "ORC|CA", "HOC1": "HOC1-2"})
        (off,) = ward.lis.wait(2)[1:]
        assert (field(off, "ORC", 1), field(off, "ORC", 2)) == ("CA", "OC1")
        wait_for(lambda: states(hub) == [("OC1", "ended", "cancelled")], "the flow ends")
        # What comes afterwards has no instance and is registered nowhere.
        first_result(hub, "OC1", "L9")
        hub.settled()
        assert ward.platform.taken == []


def test_no_sample_and_no_result_are_reminded_of(ward: Ward) -> None:
    with HubProcess(ward.site({"sample": "300ms", "result": "300ms"})) as hub:
        order(hub, "OT1")
        (late,) = ward.his.wait(1)
        assert [field(late, "ORC", n) for n in (1, 2)] == ["SC", "OT1"]
        laboratory(hub, "orm_sample.hl7", "OT1", "L1")
        ward.his.wait(2)
        (reminder,) = ward.lis.wait(2)[1:]
        assert (field(reminder, "ORC", 1), field(reminder, "ORC", 2)) == ("SC", "OT1")
        first_result(hub, "OT1", "L2")
        ward.platform.wait(1)
        ward.his.wait(1, "ORU^R01")


def test_an_order_without_sample_in_the_end_is_taken_back(ward: Ward) -> None:
    with HubProcess(ward.site({"sample": "100ms", "sample_late": "100ms"})) as hub:
        order(hub, "ON1")
        placed, off = ward.lis.wait(2)
        assert (field(placed, "ORC", 1), field(off, "ORC", 1)) == ("NW", "CA")
        wait_for(lambda: states(hub) == [("ON1", "ended", "no_sample")], "the flow ends")


def test_a_platform_that_refuses_holds_the_flow_and_the_report_is_not_lost(ward: Ward) -> None:
    ward.platform.say = lambda action: "AR"
    with HubProcess(ward.site()) as hub:
        order(hub, "OR1")
        ward.lis.wait(1)
        first_result(hub, "OR1", "L2")
        wait_for(lambda: states(hub) == [("OR1", "held", "")], "the flow is held")
        (dead,) = hub.call("GET", "/api/v1/deliveries?state=dead&limit=10").json["deliveries"]
        assert dead["target"] == "platform/lab_report"
        ward.platform.say = lambda action: "AA"
        answer = hub.call("POST", "/api/v1/deliveries/resend", {"ids": [dead["id"]], "reason": "mended"})
        assert answer.status == 200, answer.body
        ward.platform.wait(1)
        ward.his.wait(1, "ORU^R01")


def test_two_orders_of_one_message_are_two_flows(ward: Ward) -> None:
    with HubProcess(ward.site()) as hub:
        more = (
            "BLD^全血^L\r"
            "ORC|NW|OM2^HIS|||||||20261120090000|||D005^演示医生\rOBR|1|OM2^HIS||CRP^C反应蛋白^L||||||||||||||||||||LAB"
        )
        order(hub, "OM1", **{"BLD^全血^L": more})
        placed = ward.lis.wait(2)
        assert sorted(field(each, "ORC", 2) for each in placed) == ["OM1", "OM2"]
        wait_for(lambda: sorted(key for key, *_ in states(hub)) == ["OM1", "OM2"], "two instances")
