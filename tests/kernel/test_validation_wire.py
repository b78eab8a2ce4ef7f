"""Validation as senders see it, over MLLP and HTTP, in a hub that is a process of its own; killed, and with changed rules."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapters.mllp.framing import FrameReader, frame
from tests.kernel.process import PATIENCE, HubProcess, Sink, make_site, wait_for

_RULES = """
description: ADT of a test
for: {codec: hl7v2, types: ["ADT^*"]}
rules:
  patient_number:
    level: completeness
    severity: error
    required: PID-3.1
    advice: {en: send the number, zh: 请发送患者号}
  sex:
    level: field
    severity: warning
    path: PID-8
    one_of: [M, F]
"""
_ORDERS = """
id: orders
name: orders
settings: {format: {type: string, default: json}}
interfaces:
  in:
    direction: in
    adapter: http
    listen: {port: 0, path: /orders, auth: {type: none}}
    codec: json
    control_id: id
    validate: {mode: strict, schema: orders.json}
  fhir:
    direction: in
    adapter: http
    listen: {port: 0, path: /fhir, auth: {type: none}, content_types: []}
    codec: fhir
    validate: {mode: strict, schema: orders.json}
"""
_SCHEMA = {"type": "object", "required": ["id", "amount"], "properties": {"amount": {"type": "number", "maximum": 100}}}


def adt(number: str, patient: str = "P1", sex: str = "M", version: str = "2.5.1") -> bytes:
    return (
        f"MSH|^~\\&|HIS|A|HUB|B|20260115093015||ADT^A01|{number}|P|{version}|||||||UNICODE UTF-8\r"
        f"PID|1||{patient}||张^三|||{sex}\r"
    ).encode()


class Sender:
    """One MLLP connection that gives the whole answers."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._frames = FrameReader(1 << 20)

    def write(self, *messages: bytes) -> None:
        self._socket.sendall(b"".join(frame(message) for message in messages))

    def read(self) -> list[str]:
        """The segments of the next answer."""
        while (answer := self._frames.next()) is None:
            data = self._socket.recv(65536)
            assert data, "closed before an answer"
            self._frames.feed(data)
        return answer.decode().rstrip("\r").split("\r")

    def ask(self, message: bytes) -> list[str]:
        self.write(message)
        return self.read()

    def close(self) -> None:
        self._socket.close()


def post(url: str, body: bytes) -> tuple[int, str, bytes]:
    request = urllib.request.Request(url, data=body, method="POST", headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read()


@pytest.fixture
def sink() -> Iterator[Sink]:
    server = Sink()
    yield server
    server.close()


@pytest.fixture
def file(tmp_path: Path, sink: Sink) -> Path:
    """East is strict, west only marks; orders come over HTTP."""
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "adt.rules.yaml").write_text(_RULES, encoding="utf-8")
    (tmp_path / "schemas" / "orders.json").write_text(json.dumps(_SCHEMA), encoding="utf-8")
    (tmp_path / "plugins" / "orders").mkdir(parents=True)
    (tmp_path / "plugins" / "orders" / "plugin.yaml").write_text(_ORDERS, encoding="utf-8")
    made = make_site(tmp_path, sink.url, watch=True)
    config = yaml.safe_load(made.read_text(encoding="utf-8"))
    for name, mode in (("east", "strict"), ("west", "warn")):
        config["systems"][name]["interfaces"] = {"adt": {"validate": {"mode": mode, "quality": "adt"}}}
    config["systems"]["orders"] = {"plugin": "orders"}
    made.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    return made


def quality(hub: HubProcess, place: str) -> dict[str, Any]:
    found = hub.call("GET", f"/api/v1/quality?place={place}").json["interfaces"]
    return found[0] if found else {}


def test_strict_and_warn_over_mllp(file: Path, sink: Sink) -> None:
    with HubProcess(file) as hub:
        east, west = Sender(hub.port("east/adt")), Sender(hub.port("west/adt"))
        answer = east.ask(adt("1", patient="", sex="X"))
        assert answer[1].startswith("MSA|AR|1|patient_number: PID-3.1: ")
        assert answer[2].startswith(
            "ERR||PID^1^3^^1|101^Required field missing^HL70357|E|patient_number||send the number|"
        )
        assert answer[3].startswith("ERR||PID^1^8|103^Table value not found^HL70357|W|sex||")
        answer = east.ask(adt("2", sex="X"))
        assert answer[1] == "MSA|AA|2"
        assert [segment.split("|")[4:6] for segment in answer[2:]] == [["W", "sex"]]
        answer = east.ask(adt("3", patient="", version="2.3"))
        assert (answer[1][:9], answer[2]) == ("MSA|AR|3|", "ERR|PID^^3^101&Required field missing&HL70357")
        assert east.ask(adt("4", sex="X", version="2.3"))[1:] == ["MSA|AA|4"]
        assert west.ask(adt("5", patient=""))[1] == "MSA|AA|5"
        east.write(*(adt(str(n), patient="" if n % 3 == 0 else "P1") for n in range(10, 30)))
        answers = [east.read()[1].split("|")[1:3] for n in range(10, 30)]
        assert answers == [["AR" if n % 3 == 0 else "AA", str(n)] for n in range(10, 30)]
        hub.settled()
        assert sink.numbers() == ["2", "4", *(str(n) for n in range(10, 30) if n % 3)]
        for sender in (east, west):
            sender.close()
        figures = wait_for(lambda: (now := quality(hub, "east")).get("messages") == 24 and now, "figures of all")
        assert (figures["messages"], figures["refused"], figures["marked"]) == (24, 8, 2)
        assert figures["rules"][0] == {"rule": "patient_number", "messages": 8}
        metrics = hub.call("GET", "/metrics").body.decode()
        assert 'tongqu_validation_refused_total{place="east/adt"} 8.0' in metrics
        (row,) = hub.call("GET", "/api/v1/quality/reports?place=west&rule=patient*").json["reports"]
        detail = hub.call("GET", f"/api/v1/messages/{row['message_id']}").json
        assert detail["calls"][0]["validation"]["findings"][0]["place"] == "PID-3.1"
        assert hub.stop() == 0


def test_http_refuses_with_findings_in_the_senders_form(file: Path) -> None:
    with HubProcess(file) as hub:
        port = hub.port("orders/in")
        status, kind, body = post(f"http://127.0.0.1:{port}/orders", b'{"id": "1", "amount": 101}')
        problem = json.loads(body)
        assert (status, kind, problem["code"]) == (422, "application/problem+json", "validate.failed")
        assert [finding["place"] for finding in problem["findings"]] == ["amount"]
        assert post(f"http://127.0.0.1:{port}/orders", b'{"id": "1", "amount": 99}')[0] == 202
        port = hub.port("orders/fhir")
        status, kind, body = post(f"http://127.0.0.1:{port}/fhir", b'{"resourceType": "Patient", "id": "1"}')
        outcome = json.loads(body)
        assert (status, kind, outcome["resourceType"]) == (422, "application/fhir+json", "OperationOutcome")
        assert [(issue["severity"], issue["code"]) for issue in outcome["issue"]] == [("error", "required")]
        assert hub.stop() == 0


def test_reports_outlive_a_kill_and_changed_rules_take_effect(file: Path) -> None:
    rules = file.parent.parent / "schemas" / "adt.rules.yaml"
    with HubProcess(file) as hub:
        sender = Sender(hub.port("west/adt"))
        assert sender.ask(adt("1", patient=""))[1] == "MSA|AA|1"
        hub.kill()
        sender.close()
    with HubProcess(file) as hub:
        wait_for(lambda: quality(hub, "west").get("marked") == 1, "the mark")
        sender = Sender(hub.port("west/adt"))
        assert len(sender.ask(adt("2", sex="X"))) == 3
        rules.write_text(_RULES.replace("[M, F]", "[M, F, X]"), encoding="utf-8")

        def accepted() -> bool:
            accepted.number += 1  # type: ignore[attr-defined]
            return len(sender.ask(adt(str(accepted.number), sex="X"))) == 2  # type: ignore[attr-defined]

        accepted.number = 100  # type: ignore[attr-defined]
        wait_for(accepted, "the changed rules are used")
        rules.write_text(_RULES.replace("one_of", "one_off"), encoding="utf-8")
        problem, *_ = wait_for(lambda: hub.call("GET", "/api/v1/status").json["not_taken_over"], "the mistake is told")
        assert problem["file"].endswith("adt.rules.yaml")
        assert problem["line"] > 0
        assert len(sender.ask(adt("3", sex="X"))) == 2
        counts = hub.call(
            "POST", "/api/v1/quality/rerun", {"query": {"source": "west/adt"}, "reason": "new rules"}
        ).json
        assert (counts["marked"], counts["failed"], counts["not_checked"], counts["skipped"]) == (1, 1, 0, 0)
        sender.close()
        assert hub.stop() == 0


def test_the_standards_own_check_and_two_workers(file: Path, sink: Sink) -> None:
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    config["systems"]["east"]["interfaces"] = {"adt": {"validate": "warn"}}
    config["systems"]["west"]["interfaces"] = {"adt": {"validate": "strict"}}
    file.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    with HubProcess(file, "--workers", "2") as hub:
        hub.send(adt("1"), place="east/adt")  # without EVN and PV1, which the standard asks for
        path = "/api/v1/quality/reports?place=east&verdict=marked"
        (row,) = wait_for(lambda: hub.call("GET", path).json["reports"], "the mark")
        assert row["validation"]["errors"] > 0
        assert "hl7apy" in row["validation"]["checks"]
        west = Sender(hub.port("west/adt"))
        answer = west.ask(adt("2"))
        assert answer[1].startswith("MSA|AR|2|")
        assert len(answer) == 2 + row["validation"]["errors"] + row["validation"]["warnings"]
        west.close()
        both = ("east", "west")
        wait_for(lambda: [quality(hub, place).get("messages") for place in both] == [1, 1], "figures of both workers")
        order = {"ids": [row["message_id"]]}
        assert hub.call("POST", "/api/v1/quality/rerun", order).json["checked"] == 1
        assert hub.call("POST", "/api/v1/quality/rerun", {**order, "missing": True}).json["skipped"] == 1
        assert hub.stop() == 0
