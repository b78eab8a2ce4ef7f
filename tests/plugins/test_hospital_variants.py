"""The same business in other wrappings: HTTP, files, HIPMessageServer; and how HL7 v2 parties are treated when they misbehave."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from tests.kernel.process import HubProcess, wait_for
from tests.plugins.hospital_support import (
    QUICK,
    Acknowledger,
    Platform,
    Taker,
    ask,
    example,
    field,
    free_port,
    secret,
    segment,
    site,
    states,
)

TOKEN = "token-of-the-his-0001"


@pytest.fixture
def his() -> Iterator[Taker]:
    found = Taker()
    yield found
    found.close()


def systems_of(his: Taker) -> dict[str, dict[str, object]]:
    return {
        "his": {
            "plugin": "his_hl7v2",
            "settings": {"port": 0, "send_port": his.port},
            "interfaces": {"results": QUICK},
        },
        "lis": {"plugin": "lis_hl7v2", "settings": {"port": 0}},
    }


RESULTS = {"from": "lis/oru", "types": ["ORU^R01"], "to": "his/results", "mapping": ""}


def test_results_pass_byte_for_byte_and_in_order_of_the_patient(his: Taker, tmp_path: Path) -> None:
    with HubProcess(site(tmp_path, systems_of(his), {"results": RESULTS})) as hub:
        sent = [example("lis_hl7v2", "oru_corrected.hl7", LIS20261120102=f"R{n:02}") for n in range(12)]
        for message in sent:
            assert segment(ask(hub.port("lis/oru"), message), "MSA")[1] == "AA"
        assert his.wait(12) == sent
        # One that comes again is answered and goes nowhere.
        assert segment(ask(hub.port("lis/oru"), sent[0]), "MSA")[1] == "AA"
        hub.settled()
        assert len(his.taken) == 12


def test_what_the_his_says_decides_what_becomes_of_a_result(his: Taker, tmp_path: Path) -> None:
    answers = {"L-AE": ["AE", "AE", "AA"], "L-AR": ["AR"]}
    his.say = lambda message: (answers.get(segment(message, "MSH")[10]) or ["AA"]).pop(0)
    with HubProcess(site(tmp_path, systems_of(his), {"results": RESULTS})) as hub:
        for number in ("L-AE", "L-AR", "L-AA"):
            ask(hub.port("lis/oru"), example("lis_hl7v2", "oru_corrected.hl7", LIS20261120102=number))
        his.wait(2)
        hub.settled()
        assert [segment(message, "MSH")[10] for message in his.taken] == ["L-AE", "L-AA"]
        assert states(hub) == {"delivered": 2, "dead": 1}
        (dead,) = hub.call("GET", "/api/v1/deliveries?state=dead&limit=5").json["deliveries"]
        assert dead["attempts"] == 1


def test_what_is_no_message_is_refused_and_the_port_stays_open(his: Taker, tmp_path: Path) -> None:
    with HubProcess(site(tmp_path, systems_of(his), {"results": RESULTS})) as hub:
        port = hub.port("lis/oru")
        for message in (
            b"no HL7 at all",
            b"MSH|",
            b"PID|1||P1\r",
        ):
            answer = ask(port, message)
            assert segment(answer, "MSA")[1] in ("AR", "AE", "CR"), message
            assert segment(ask(port, example("lis_hl7v2", "oru_r01.hl7")), "MSA")[1] == "CA"
        hub.settled()
        # hostile, but a message: it is kept as it is
        assert segment(ask(port, b"MSH|^~\\&|LIS|L|T|H|20261120||ORU^R01|X|P|2.5.1\r" + b"OBX|" * 100_000), "MSA")[
            1
        ] in ("AA", "AR")


def test_hl7_over_http_both_ways(tmp_path: Path) -> None:
    partner = Acknowledger()
    systems = {
        "his": {
            "plugin": "his_hl7v2_http",
            "settings": {"port": 0, "token": secret(tmp_path, "his", TOKEN), "url": f"{partner.url}/in"},
            "interfaces": {"results": QUICK},
        },
        "lis": {"plugin": "lis_hl7v2", "settings": {"port": 0}},
    }
    with HubProcess(site(tmp_path, systems, {"results": RESULTS})) as hub:
        url = f"http://127.0.0.1:{hub.port('his/messages')}/hl7"

        def post(token: str, body: bytes) -> int:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/hl7-v2"}
            try:
                with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as response:
                    return int(response.status)
            except urllib.error.HTTPError as error:
                return error.code

        message = example("his_hl7v2_http", "adt_a04.hl7")
        assert [post(TOKEN, message), post("wrong", message)] == [202, 401]
        assert 400 <= post(TOKEN, b"no HL7") < 500
        kept = hub.call("GET", "/api/v1/messages?source=his/messages&limit=5").json["messages"]
        assert [each["type"] for each in kept] == ["ADT^A04"]
        partner.codes = ["AE", "AA", "AR"]
        for number in ("R1", "R2"):
            ask(hub.port("lis/oru"), example("lis_hl7v2", "oru_corrected.hl7", LIS20261120102=number))
        wait_for(lambda: states(hub) == {"delivered": 1, "dead": 1}, "one is taken, one is refused")
        assert [field(body, "MSH", 10) for body in partner.taken] == ["R1"]
    partner.close()


def test_hl7_in_files_one_or_a_batch(tmp_path: Path) -> None:
    folder = tmp_path / "exchange"
    (folder / "in").mkdir(parents=True)
    (folder / "out").mkdir()
    systems = {
        "his": {"plugin": "his_hl7v2_files", "settings": {"folder": str(folder), "every": "1s"}},
        "lis": {"plugin": "lis_hl7v2", "settings": {"port": 0}},
    }
    batch = b"FHS|^~\\&|HIS\rBHS|^~\\&|HIS\r" + b"".join(
        example("his_hl7v2_files", "adt_a04.hl7", HIS202611200001=f"B{n}") for n in (1, 2, 3)
    )
    (folder / "in" / "batch.hl7").write_bytes(batch + b"BTS|3\rFTS|1\r")
    with HubProcess(site(tmp_path, systems, {"results": RESULTS})) as hub:

        def taken() -> bool:
            kept = hub.call("GET", "/api/v1/messages?source=his/messages&limit=10").json["messages"]
            return sorted(each["control_id"] for each in kept) == ["B1", "B2", "B3"]

        wait_for(taken, "all messages of the batch are stored")
        sent = example("lis_hl7v2", "oru_corrected.hl7")
        ask(hub.port("lis/oru"), sent)
        written = wait_for(lambda: list((folder / "out").glob("*.hl7")), "a file is written")
        assert [each.read_bytes() for each in written] == [sent]


SOAP = """<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><HIPMessageServer xmlns="{space}">
<{first}>{action}</{first}><{second}><![CDATA[{message}]]></{second}></HIPMessageServer></s:Body></s:Envelope>"""


def call(url: str, envelope: str = SOAP, **values: str) -> str:
    body = envelope.format(**values).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "text/xml; charset=utf-8"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return "".join(str(text) for text in etree.fromstring(response.read()).itertext())


def test_the_convention_of_the_standard_and_that_of_one_maker(tmp_path: Path) -> None:
    platform = Platform()
    platform.result = "output"  # makers name it differently
    platform.say = lambda action: "CA" if action == "OutPatientInfoAdd" else "AA"
    numbers = {"sender_id": "TONGQU-0001", "receiver_id": "HIP-0000001"}
    ports = {"platform": free_port(), "maker": free_port()}
    systems = {
        "platform": {
            "plugin": "hospital_platform",
            "settings": {"url": platform.url, "port": ports["platform"], **numbers},
        },
        "maker": {
            "plugin": "hip_dhc",
            "settings": {
                "url": platform.url,
                "port": ports["maker"],
                "soap_action": "http://www.dhcc.com.cn/X",
                **numbers,
            },
        },
        "his": {"plugin": "his_hl7v2", "settings": {"port": 0}},
    }
    routes = {
        "patients": {
            "from": "his/adt",
            "types": ["ADT^A04"],
            "to": "platform/patient_register",
            "mapping": "hl7v3/patient_register_from_v2",
        },
        "visits": {
            "from": "his/adt",
            "types": ["ADT^A04"],
            "to": "platform/outpatient_add",
            "mapping": "hl7v3/outpatient_add_from_v2",
        },
        "forward": {"from": "maker/service", "to": "maker/forward"},
    }
    with HubProcess(site(tmp_path, systems, routes)) as hub:
        hub.port("platform/service")
        message = example("hospital_platform", "patient_register.xml").decode().split("?>", 1)[-1]
        said = call(
            f"http://127.0.0.1:{ports['platform']}/services/HIPService",
            space="urn:hl7-org:v3",
            first="action",
            second="message",
            action="PatientInfoRegister",
            message=message,
        )
        assert 'typeCode="AA"' in said
        request = example("hip_dhc", "request.xml").decode()
        said = call(
            f"http://127.0.0.1:{ports['maker']}/services/HIPService",
            space="http://www.dhcc.com.cn",
            first="input1",
            second="input2",
            action="MES0001",
            message=request,
        )
        assert "<MessageID>202979</MessageID>" in said
        assert "<ResultCode>0</ResultCode>" in said
        # One that comes again is one; at some sites the service has one parameter only, whatever its name.
        maker = f"http://127.0.0.1:{ports['maker']}/services/HIPService"
        again = {"space": "http://www.dhcc.com.cn", "first": "input1", "second": "input2", "action": "MES0001"}
        assert call(maker, message=request, **again) == said
        alone = SOAP.replace("<{first}>{action}</{first}>", "")
        other = request.replace("202979", "202980")
        told = call(maker, alone, space="http://www.dhcc.com.cn", second="pInput", message=other)
        assert "<MessageID>202980</MessageID>" in told
        kept = hub.call("GET", "/api/v1/messages?limit=10").json["messages"]
        assert {(each["source"], each["type"]) for each in kept} == {
            ("platform/service", "PatientInfoRegister"),
            ("maker/service", "MES0001"),
            ("maker/service", "Request"),
        }
        assert len(kept) == 3
        assert segment(ask(hub.port("his/adt"), example("his_hl7v2", "adt_a04.hl7")), "MSA")[1] == "AA"
        (person,) = platform.wait(1, "PatientInfoRegister")
        (visit,) = platform.wait(1, "OutPatientInfoAdd")
        assert etree.QName(person).localname == "PRPA_IN201311UV02"
        assert etree.QName(visit).localname == "PRPA_IN400001UV"
        wait_for(lambda: states(hub).get("delivered", 0) >= 2, "both are done")
        # What the maker's system sent goes on under the same code; the platform of the test answers in the other manner.
        wait_for(lambda: any(b"MES0001" in body for body in platform.calls), "the request is forwarded")
        forwarded = next(body for body in platform.calls if b"MES0001" in body)
        operation = etree.fromstring(forwarded).find("{*}Body")[0]  # type: ignore[index]
        assert [etree.QName(child).localname for child in operation] == ["input1", "input2"]
        assert {etree.QName(node).namespace for node in operation.iter()} == {"http://www.dhcc.com.cn"}
    platform.close()
