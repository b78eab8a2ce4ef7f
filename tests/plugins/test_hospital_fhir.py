"""HIS and laboratory in different languages: HL7 v2 here, FHIR R4 there, through the canonical types, in a real hub."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.process import HubProcess
from tests.plugins.hospital_support import (
    HOSPITAL,
    FhirServer,
    Platform,
    Taker,
    ask,
    example,
    field,
    free_port,
    secret,
    segment,
    site,
)

bundle = pytest.importorskip("fhir.resources.R4B.bundle")

HIS_TOKEN, LIS_TOKEN = "token-of-the-his-0001", "token-of-the-lis-0001"


def post(url: str, token: str, tree: Any) -> tuple[int, Any]:
    headers = {"Content-Type": "application/fhir+json", "Authorization": f"Bearer {token}"}
    request = urllib.request.Request(url, tree if isinstance(tree, bytes) else json.dumps(tree).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.loads(response.read() or b"{}")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def resources(tree: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [entry["resource"] for entry in tree["entry"] if entry["resource"]["resourceType"] == kind]


class Parties:
    """A HIS and a laboratory in each language, and what the hub is told of them."""

    def __init__(self, folder: Path) -> None:
        self.his, self.lis, self.platform = Taker(), Taker(), Platform()
        self.his_fhir, self.lis_fhir = FhirServer(), FhirServer()
        tokens = {name: secret(folder, name, text) for name, text in (("his", HIS_TOKEN), ("lis", LIS_TOKEN))}
        self.systems = {
            "his": {"plugin": "his_hl7v2", "settings": {"port": 0, "send_port": self.his.port}},
            "lis": {"plugin": "lis_hl7v2", "settings": {"port": 0, "send_port": self.lis.port}},
            "his_fhir": {
                "plugin": "his_fhir",
                "settings": {
                    "port": free_port(),
                    "token": tokens["his"],
                    "server": self.his_fhir.url,
                    "server_token": tokens["his"],
                },
            },
            "lis_fhir": {
                "plugin": "lis_fhir",
                "settings": {
                    "port": free_port(),
                    "token": tokens["lis"],
                    "server": self.lis_fhir.url,
                    "server_token": tokens["lis"],
                },
            },
        }

    def close(self) -> None:
        for each in (self.his, self.lis, self.platform, self.his_fhir, self.lis_fhir):
            each.close()


@pytest.fixture
def parties(tmp_path: Path) -> Iterator[Parties]:
    found = Parties(tmp_path)
    yield found
    found.close()


def test_orders_and_results_between_the_two_languages(parties: Parties, tmp_path: Path) -> None:
    routes = {
        "v2_orders": {
            "from": "his/adt",
            "types": ["OML^O21"],
            "to": "lis_fhir/orders",
            "mapping": "hospital/order_v2_to_fhir",
        },
        "fhir_results": {
            "from": "lis_fhir/resources",
            "types": ["Bundle.*"],
            "to": "his/results",
            "mapping": "hospital/lab_report_fhir_to_oru",
        },
        "fhir_orders": {
            "from": "his_fhir/resources",
            "types": ["Bundle.*"],
            "to": "lis/orders",
            "mapping": "hospital/order_fhir_to_oml",
        },
        "v2_results": {
            "from": "lis/oru",
            "types": ["ORU^R01"],
            "to": "his_fhir/results",
            "mapping": "hospital/lab_report_v2_to_fhir",
        },
    }
    with HubProcess(site(tmp_path, parties.systems, routes)) as hub:
        # HL7 v2 → FHIR
        assert segment(ask(hub.port("his/adt"), example("his_hl7v2", "oml_o21.hl7")), "MSA")[1] == "AA"
        (order,) = parties.lis_fhir.wait(1)
        bundle.Bundle.model_validate_json(json.dumps(order))
        (request,) = resources(order, "ServiceRequest")
        assert (request["identifier"][0]["value"], request["status"], request["code"]["text"]) == (
            "O20261120001",
            "active",
            "血常规",
        )
        (person,) = resources(order, "Patient")
        assert [each["value"] for each in person["identifier"]] == ["P000012", "359999195401130124"]
        (specimen,) = resources(order, "Specimen")
        assert specimen["accessionIdentifier"]["value"] == "TM20261120001"

        # and the result back, FHIR → HL7 v2
        report = (HOSPITAL / "lis_fhir" / "examples" / "report.json").read_bytes()  # digits and all
        url = f"http://127.0.0.1:{hub.port('lis_fhir/resources')}/fhir/Bundle"
        assert post(url, "wrong", report)[0] == 401
        status, answer = post(url, LIS_TOKEN, report)
        assert status in (200, 201), answer
        (result,) = parties.his.wait(1, "ORU^R01")
        assert (field(result, "OBR", 2), field(result, "OBR", 3), field(result, "OBR", 25)) == (
            "O20261120001",
            "R20261120001",
            "C",
        )
        rows = [segment(result, "OBX", number) for number in (1, 2)]
        assert [(row[3].split("^")[0], row[5], row[6], row[11]) for row in rows] == [
            ("WBC", "5.80", rows[0][6], "C"),
            ("HGB", "142", rows[1][6], "F"),
        ]

        # FHIR → HL7 v2, and HL7 v2 → FHIR
        order = json.loads((HOSPITAL / "his_fhir" / "examples" / "order.json").read_bytes())
        status, answer = post(f"http://127.0.0.1:{hub.port('his_fhir/resources')}/fhir", HIS_TOKEN, order)
        assert status == 200, answer
        (placed,) = parties.lis.wait(1)
        assert [field(placed, "ORC", n) for n in (1, 2)] == ["NW", "O20261120001"]
        assert (field(placed, "OBR", 4, 2), field(placed, "PID", 5), field(placed, "SPM", 4)) == (
            "血常规",
            "样本人",
            "BLD",
        )
        assert segment(ask(hub.port("lis/oru"), example("lis_hl7v2", "oru_corrected.hl7")), "MSA")[1] == "AA"
        (told,) = parties.his_fhir.wait(1)
        bundle.Bundle.model_validate_json(json.dumps(told))
        (found,) = resources(told, "DiagnosticReport")
        assert (found["status"], len(found["result"])) == ("corrected", 2)
        hub.settled()
        assert hub.call("GET", "/api/v1/deliveries?state=dead&limit=10").json["deliveries"] == []


def test_what_is_no_resource_is_refused_with_an_outcome(parties: Parties, tmp_path: Path) -> None:
    routes = {"orders": {"from": "his_fhir/resources", "to": "lis/orders", "mapping": "hospital/order_fhir_to_oml"}}
    with HubProcess(site(tmp_path, parties.systems, routes)) as hub:
        url = f"http://127.0.0.1:{hub.port('his_fhir/resources')}/fhir"
        wrong: list[Any] = [{"resourceType": "Medication"}, {"resourceType": "Bundle"}, {"no": "resource"}, []]
        for tree in wrong:
            status, answer = post(url, HIS_TOKEN, tree)
            assert 400 <= status < 500
            assert answer["resourceType"] == "OperationOutcome"
        # A request of a patient who is not in the bundle is taken, and is nobody's order.
        order = json.loads((HOSPITAL / "his_fhir" / "examples" / "order.json").read_bytes())
        order["entry"] = [each for each in order["entry"] if each["resource"]["resourceType"] != "Patient"]
        status, answer = post(url, HIS_TOKEN, order)
        assert status == 200, answer
        hub.settled()
        (dead,) = hub.call("GET", "/api/v1/deliveries?state=dead&limit=10").json["deliveries"]
        assert dead["target"] == "lis/orders"
        assert parties.lis.taken == []


def test_the_flow_of_a_laboratory_order_does_not_care_for_the_language(parties: Parties, tmp_path: Path) -> None:
    """HIS in HL7 v2, laboratory in FHIR, one flow file."""
    platform = {
        "plugin": "hospital_platform",
        "settings": {
            "url": parties.platform.url,
            "port": 0,
            "sender_id": "TONGQU-0001",
            "receiver_id": "HIP-0000001",
            "organisation_code": "12359999400000001X",
            "organisation_name": "演示市第一医院",
        },
    }
    systems = {"his": parties.systems["his"], "lis": parties.systems["lis_fhir"], "platform": platform}
    flow: dict[str, Any] = {"to": "flow/hospital_lab_order"}
    routes = {
        "orders": {"from": "his/adt", "types": ["OML^O21"], "mapping": "canonical/order_from_v2", **flow},
        "reports": {
            "from": "lis/resources",
            "types": ["Bundle.*"],
            "mapping": "canonical/lab_report_from_fhir",
            **flow,
        },
    }
    with HubProcess(site(tmp_path, systems, routes, flows=[str(HOSPITAL / "flows")])) as hub:
        assert segment(ask(hub.port("his/adt"), example("his_hl7v2", "oml_o21.hl7")), "MSA")[1] == "AA"
        parties.lis_fhir.wait(1)
        report = json.loads((HOSPITAL / "lis_fhir" / "examples" / "report.json").read_bytes())
        status, answer = post(f"http://127.0.0.1:{hub.port('lis/resources')}/fhir/Bundle", LIS_TOKEN, report)
        assert status in (200, 201), answer
        parties.platform.wait(1)
        (result,) = parties.his.wait(1, "ORU^R01")
        assert field(result, "OBR", 2) == "O20261120001"
