"""SOAP: a service played for raw envelopes and for the hub's own client, and a caller of a service of the hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from lxml import etree

from adapters.soap.counterpart import _arguments
from adapters.soap.options import SoapListen
from adapters.soap.payload import Place
from hub.registry import Registry
from hub.simulator import Behaviour, Simulator
from hub.simulator.handover import system_of
from tests.kernel.process import HubProcess
from tests.simulator.simulator_support import Played, played, plugins, post

V11 = "http://schemas.xmlsoap.org/soap/envelope/"
CONTRACT = """
id: platform
name: 集成平台
settings:
  url: {type: url, required: true}
  port: {type: port, required: true}
  token: {type: secret, required: true}
interfaces:
  upload:
    direction: out
    adapter: soap
    connect:
      url: "${url}"
      operation: HIPMessageServer
      namespace: urn:hl7-org:v3
      parameters: {action: upload, message: "{body}"}
      result: HIPMessageServerResult
    codec: json
    success: code == 0
    reply: {code: code, message: text}
    errors: {"7": {class: permanent}}
    simulate:
      checks: [{when: "patient == null", code: "7"}]
      answer: {code: 0, number: $id}
  order:
    direction: in
    adapter: soap
    listen:
      port: "${port}"
      path: /orders
      auth: {type: none}
      operations: [SendOrder]
      namespace: urn:orders
      parameters: [token, message]
      credentials: {token: "${token}"}
      payload: parameter message
    codec: json
    control_id: number
    examples: [order.json]
  report:
    direction: in
    adapter: soap
    listen:
      port: "${port}"
      path: /reports
      auth: {type: none}
      operations: [HIPMessageServer]
      namespace: urn:reports
      qualified: true
      parameters: [input1, input2]
      variables: [input1]
      payload: parameter 2
    codec: json
    type: $input1
    examples: [order.json]
    simulate: {vary: {$input1: "concat('MES-', item)"}}
"""


def call(
    url: str,
    operation: str,
    message: str,
    action: str = "upload",
    soap_action: str = "urn:hl7-org:v3/HIPMessageServer",
    prefix: str = "",
) -> etree._Element:
    body = (
        f'<s:Envelope xmlns:s="{V11}"><s:Body><h:{operation} xmlns:h="urn:hl7-org:v3"><action>{action}</action>'
        f"<{prefix}message><![CDATA[{message}]]></{prefix}message></h:{operation}></s:Body></s:Envelope>"
    )
    headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{soap_action}"'}
    _, _, answer = post(url, body.encode(), headers)
    found = etree.fromstring(answer).find(f"{{{V11}}}Body")
    assert found is not None
    return found[0]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Played, Simulator, Path]]:
    folder = tmp_path_factory.mktemp("soap")
    (folder / "plugins" / "platform").mkdir(parents=True)
    (folder / "plugins" / "platform" / "plugin.yaml").write_text(CONTRACT, encoding="utf-8")
    (folder / "plugins" / "platform" / "order.json").write_text('{"number": "A00000000001", "item": "血常规"}', "utf-8")
    registry = Registry.discover([folder / "plugins"])
    assert registry.problems == []
    with played() as party:
        simulator = party.run(Simulator.start(registry.plugins["platform"], registry, plugins()[1]))
        assert simulator.not_simulated == {}
        system = system_of(registry.plugins["platform"], simulator, folder / "secrets")
        config = {
            "plugins": ["../plugins"],
            "mappings": [],
            "watch": False,
            "store": {"path": "../var", "min_free_disk": 0},
            "admin": {"port": 0},
            "systems": {"platform": system},
            "routes": {"up": {"from": "platform/order", "to": "platform/upload"}},
        }
        (folder / "config").mkdir()
        (folder / "config" / "hub.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
        yield party, simulator, folder / "config" / "hub.yaml"
        party.run(simulator.stop())


def test_a_service_takes_its_operation_only(platform: tuple[Played, Simulator, Path]) -> None:
    _, simulator, _ = platform
    url = simulator.settings["url"]
    good = call(url, "HIPMessageServer", '{"patient": "P1"}')
    assert good.findtext("HIPMessageServerResult", "").startswith('{"code":0,"number":"')
    assert '"code":7' in call(url, "HIPMessageServer", '{"x": 1}').findtext("HIPMessageServerResult", "").replace(
        '"7"', "7"
    )
    before = len(simulator.calls)
    for operation, message, action in (
        ("Other", '{"patient": "P1"}', "upload"),
        ("HIPMessageServer", '{"patient": "P1"}', "delete"),
        ("HIPMessageServer", "no json", "upload"),
    ):
        call(url, operation, message, action)
    call(url, "HIPMessageServer", '{"patient": "P1"}', soap_action="urn:hl7-org:v3/Other")
    call(url, "HIPMessageServer", '{"patient": "P1"}', prefix="h:")
    assert [one.verdict for one in simulator.calls[before:]] == ["refused"] * 5


def test_the_message_is_the_second_parameter_and_the_first_says_what_it_is(
    platform: tuple[Played, Simulator, Path],
) -> None:
    party, simulator, file = platform
    with HubProcess(file) as hub:
        assert party.run(simulator.send("report")).ok
        (kept,) = hub.call("GET", "/api/v1/messages?source=platform/report&limit=5").json["messages"]
        assert kept["type"] == "MES-血常规"
        raw = hub.call("GET", f"/api/v1/messages/{kept['id']}/raw").json
        assert raw["item"] == "血常规"
        assert not party.run(simulator.send("report", misbehave=Behaviour("garbage"))).ok


@pytest.mark.parametrize(
    ("payload", "parameters", "credentials", "expected"),
    [
        ("parameter 2", ["input1", "input2"], {}, ["input1", "input2"]),
        ("parameter 1", ["input1", "input2"], {}, ["input1", "input2"]),
        ("parameter -1", ["input1", "input2"], {}, ["input1", "input2"]),
        ("parameter -1", [], {}, ["parameter1"]),
        ("parameter 3", ["a"], {}, ["a", "parameter1", "parameter2"]),
        ("parameter -3", ["a"], {}, ["parameter1", "parameter2", "a"]),
        ("parameter message", [], {}, ["message"]),
        ("parameter message", ["action", "message"], {"token": "t"}, ["token", "action", "message"]),
        ("parameter 1", ["message", "token"], {"token": "t"}, ["message", "token"]),
    ],
)
def test_parameters_are_called_in_the_order_of_the_service(
    payload: str, parameters: list[str], credentials: dict[str, str], expected: list[str]
) -> None:
    listen = SoapListen.model_validate(
        {"port": 0, "path": "/x", "auth": {"type": "none"}}
        | {"payload": payload, "parameters": parameters, "credentials": credentials, "variables": []}
    )
    made = _arguments(listen, {"action": "A1"}, "")
    assert list(made) == expected
    place = Place(payload)
    named = place.name or expected[place.position - 1 if place.position > 0 else place.position]
    assert {name for name, text in made.items() if text == "{body}"} == {named}
    assert made.get("action", "A1") == "A1"


def test_orders_go_into_a_hub_and_on_to_the_service(platform: tuple[Played, Simulator, Path]) -> None:
    party, simulator, file = platform
    with HubProcess(file) as hub:
        before = len(simulator.calls)
        refused = party.run(simulator.send("order", misbehave=Behaviour("unauthorised")))
        assert not refused.ok
        assert party.run(simulator.send("order")).ok
        hub.settled()
        assert [(one.interface, one.verdict) for one in simulator.calls[before:]] == [("upload", "refused")]
        body = b'{"number": "B1", "patient": "P1"}'
        assert party.run(simulator.send("order", body=body)).ok
        hub.settled()
        assert (simulator.calls[-1].verdict, simulator.calls[-1].body) == ("accepted", body)
