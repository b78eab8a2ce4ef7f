"""The plugin 医保移动支付 as delivered, against a platform that opens and checks every envelope by itself."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.kernel.process import ROOT, HubProcess, Sink, wait_for
from tests.plugins.mobile_simulator import MobilePlatform, opened, sealed
from tests.plugins.sm2_check import public_of

APP_ID, SECRET = "APP0000000000000001", "an-app-secret-of-the-tests"
OURS, THEIRS = (
    0x1111222233334444555566667777888899990000AAAABBBBCCCCDDDDEEEEFFFF,
    0x2222333344445555666677778888999900001111BBBBCCCCDDDDEEEEFFFF0000,
)
EXAMPLES = ROOT / "plugins" / "insurance" / "mobile_insurance_payment" / "examples"
HOSPITAL = """
id: hospital
name: 医院
settings: {url: {type: url, required: true}}
interfaces:
  pay:
    direction: in
    style: request
    adapter: http
    listen: {path: /pay, auth: {type: none}}
    codec: json
    type: infno
    control_id: requestId
    keys: {order: data.payOrdId}
  state: {direction: out, adapter: http, connect: {url: "${url}"}, codec: json, order_by: ''}
"""
OUT = ("fee_upload", "pay_order", "refund", "order_query", "fee_revoke", "order_sync", "ec_terminal")


@pytest.fixture(scope="module")
def platform() -> Iterator[MobilePlatform]:
    platform = MobilePlatform(APP_ID, SECRET, public_of(OURS), THEIRS)
    yield platform
    platform.close()


@pytest.fixture(scope="module")
def states() -> Iterator[Sink]:
    states = Sink()
    yield states
    states.close()


@pytest.fixture(scope="module")
def hub(platform: MobilePlatform, states: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    folder = tmp_path_factory.mktemp("mobile")
    (folder / "plugins" / "hospital").mkdir(parents=True)
    (folder / "plugins" / "hospital" / "plugin.yaml").write_text(HOSPITAL, encoding="utf-8")
    (folder / "config").mkdir()
    for name, text in (("secret", SECRET), ("ours", f"{OURS:064x}"), ("theirs", public_of(THEIRS).hex())):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    config = {
        "plugins": [str(ROOT / "plugins" / "insurance"), "../plugins"],
        "mappings": [str(ROOT / "mappings")],
        "schemas": [str(ROOT / "schemas")],
        "watch": False,
        "store": {"path": "../var", "min_free_disk": 0},
        "admin": {"port": 0},
        "systems": {
            "mobile": {
                "plugin": "mobile_insurance_payment",
                "settings": {
                    "base_url": platform.url,
                    "org_code": "H35999900001",
                    "app_id": APP_ID,
                    "app_secret": "file:../secret",
                    "private_key": "file:../ours",
                    "platform_key": "file:../theirs",
                    "sync_path": "/sync",
                    "ec_path": "/terminal",
                },
                "interfaces": {"pay_order": {"timeout": "2s"}},
            },
            "hospital": {"plugin": "hospital", "settings": {"url": states.url}},
        },
        "routes": {
            "pay": {"from": "hospital/pay", "to": [f"mobile/{name}" for name in OUT]},
            "states": {"from": "mobile/notice", "to": "hospital/state", "mapping": "mobile_insurance/order_state"},
        },
    }
    file = folder / "config" / "hub.yaml"
    file.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    with HubProcess(file) as hub:
        yield hub


def post(url: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(url, data=json.dumps(body).encode(), method="POST")
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"{}")


def pay(hub: HubProcess, infno: str, number: str, **data: Any) -> tuple[int, dict[str, Any]]:
    call = json.loads((EXAMPLES / f"{infno}.json").read_text(encoding="utf-8"))
    url = f"http://127.0.0.1:{hub.port('hospital/pay')}/pay"
    return post(url, {"infno": infno, "requestId": number, "data": {**call["data"], **data}})


def test_an_order_from_upload_to_refund(platform: MobilePlatform, hub: HubProcess) -> None:
    status, uploaded = pay(hub, "6201", "o1")
    assert (status, uploaded["code"]) == (200, 0), uploaded
    order = {"payOrdId": uploaded["data"]["payOrdId"], "payToken": uploaded["data"]["payToken"]}
    assert pay(hub, "6202", "o2", **order)[1]["data"]["ordStas"] == "6"
    assert pay(hub, "6301", "o3", **order)[1]["data"]["fundPay"] == 36.12
    assert pay(hub, "6203", "o4", payOrdId=order["payOrdId"])[1]["data"]["refStatus"] == "SUCC"
    assert [infno for infno, _ in platform.calls][-4:] == ["6201", "6202", "6301", "6203"]
    assert platform.wrong == []


def test_a_payment_without_answer_is_not_sent_again_and_asked_about(platform: MobilePlatform, hub: HubProcess) -> None:
    order = pay(hub, "6201", "s1")[1]["data"]
    named = {"payOrdId": order["payOrdId"], "payToken": order["payToken"]}
    platform.silent = {"6202"}
    before = len(platform.calls)
    assert pay(hub, "6202", "s2", **named)[0] == 504
    assert [infno for infno, _ in platform.calls[before:]] == ["6202"]
    platform.silent = set()
    assert pay(hub, "6301", "s3", **named)[1]["data"]["ordStas"] == "0"
    assert pay(hub, "6401", "s4", **named)[1]["data"]["success"] is True
    assert platform.states[order["payOrdId"]] == "12"


def test_a_refusal_and_what_would_be_refused(platform: MobilePlatform, hub: HubProcess) -> None:
    status, answer = pay(hub, "6301", "r1", payOrdId="PO9999999999")
    assert (status, answer["target_code"]) == (422, "1001")
    before = len(platform.calls)
    assert pay(hub, "6201", "r2", medfeeSumamt="51.61")[0] == 500
    assert pay(hub, "6203", "r3", refdType="SOME")[0] == 500
    assert len(platform.calls) == before


def test_how_the_rest_was_paid_is_told_when_it_adds_up(platform: MobilePlatform, hub: HubProcess) -> None:
    order = pay(hub, "6201", "y1")[1]["data"]["payOrdId"]
    assert pay(hub, "6204", "y2", payOrdId=order)[0] == 200
    assert platform.calls[-1][1]["thdPayType"] == "1"
    before = len(platform.calls)
    assert pay(hub, "6204", "y3", payOrdId=order, ownPayAmt="15.49")[0] == 500
    assert len(platform.calls) == before


def test_a_code_is_read_by_the_terminal(platform: MobilePlatform, hub: HubProcess) -> None:
    call = json.loads((EXAMPLES / "ec.json").read_text(encoding="utf-8"))
    url = f"http://127.0.0.1:{hub.port('hospital/pay')}/pay"
    status, answer = post(url, {**call, "infno": "cn.nhsa.ec.auth", "requestId": "ec1"})
    assert (status, answer["data"]["authNo"]) == (200, "AB202611280001"), answer
    assert platform.kinds == ["cn.nhsa.ec.auth"]
    assert platform.calls[-1][1] == call["data"]
    del call["data"]["businessType"]
    assert post(url, {**call, "infno": "cn.nhsa.ec.auth", "requestId": "ec2"})[0] == 500
    assert platform.wrong == []


def test_a_notice_is_opened_answered_and_taken_once(hub: HubProcess, states: Sink) -> None:
    url = f"http://127.0.0.1:{hub.port('mobile/notice')}/insurance/mobile/notices"
    told = json.loads((EXAMPLES / "6302.json").read_text(encoding="utf-8"))["data"]
    for _ in range(2):
        status, answer = post(url, sealed(told, APP_ID, SECRET, THEIRS))
        assert (status, answer["code"], answer["success"]) == (200, 0, True)
        assert opened({name: value for name, value in answer.items() if name not in ("code", "success", "message")}, APP_ID, SECRET,
                      public_of(OURS)) == {"success": True, "message": "成功"}  # fmt: skip
    ((_, state),) = wait_for(lambda: list(states.bodies), "the state of the order")
    assert (state["order"], state["state"], state["total"], state["cash"]) == ("PO0000000001", "paid", 51.6, 15.48)
    hub.settled()
    assert len(states.bodies) == 1


def test_a_notice_somebody_else_signed_is_refused(hub: HubProcess, states: Sink) -> None:
    url = f"http://127.0.0.1:{hub.port('mobile/notice')}/insurance/mobile/notices"
    told = json.loads((EXAMPLES / "6302.json").read_text(encoding="utf-8"))["data"] | {"payOrdId": "PO0000000002"}
    before = len(states.bodies)
    assert post(url, sealed(told, APP_ID, SECRET, OURS))[0] == 401
    hub.settled()
    assert len(states.bodies) == before
