"""Operator → province → ministry: two real hubs and a ministry that shares no code with them, encrypted all the way."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hub.codecs.json_codec import JsonCodec
from hub.mapping import Context, MappingLibrary
from hub.validators import load
from tests.kernel.process import ROOT, HubProcess, wait_for
from tests.plugins.freight_support import Exchange, make_site, secret_file, sm2_pair, sm2_seal, sm4_ecb
from tests.ports import free_port

EXAMPLES = ROOT / "plugins" / "freight" / "freight_operator" / "examples"
PATHS = {
    "vehicle": "vehicles",
    "driver": "drivers",
    "waybill": "waybills",
    "fund_flow": "fund-flows",
    "location": "locations",
}
QUICK = {"retry": {"attempts": 3, "interval": "50ms"}, "breaker": {"open_for": "50ms", "max_open_for": "200ms"}}
DOCUMENTS = ("waybill", "fund_flow", "vehicle", "driver", "location")


def post(url: str, body: Any, **headers: str) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@dataclass
class Chain:
    ministry: Exchange
    operator: HubProcess
    province: HubProcess
    operator_port: int
    province_url: str
    province_public: str
    numbers: int = 0

    def report(self, document: str, **changes: Any) -> str:
        """The operator's own system reports; returns the number of the message. Each waybill, payment … is another one."""
        self.numbers += 1
        tree = json.loads((EXAMPLES / f"{document}.json").read_bytes())
        tree["messageId"] = f"T{self.numbers:06}"
        for path, value in changes.items():
            *way, last = path.split("__")
            at = tree
            for part in way:
                at = at[part]
            at[last] = value
        url = f"http://127.0.0.1:{self.operator_port}/freight/v1/{PATHS[document]}"
        status, answer = post(url, tree, Authorization="Bearer operator-token-1")
        assert status == 202, answer
        return str(answer["message_id"])

    def deliveries(self, hub: HubProcess, message: str = "", state: str = "") -> list[dict[str, Any]]:
        found = hub.call("GET", f"/api/v1/deliveries?limit=100{f'&state={state}' if state else ''}").json["deliveries"]
        return [each for each in found if not message or each["message_id"] == message]

    def ended(self, hub: HubProcess, message: str) -> dict[str, Any]:
        def end() -> dict[str, Any] | None:
            mine = self.deliveries(hub, message)
            return mine[0] if mine and mine[0]["state"] in ("delivered", "dead") else None

        return dict(wait_for(end, "the delivery ends"))

    def login(self, user: str = "op1", password: str = "Operator-1") -> Any:
        return post(f"{self.province_url}/token", {"userName": user, "passWord": password})[1]

    def envelope(self, document: str = "waybill", reference: str = "", token: str = "", **body: Any) -> dict[str, Any]:
        """As an operator's own software would make it."""
        file = ROOT / "plugins" / "freight" / "freight_province" / "examples" / f"{document}.json"
        tree: dict[str, Any] = json.loads(file.read_bytes())
        tree["root"]["body"].update(body)
        key = b"Abcdefgh12345678"
        plain = json.dumps(tree["root"]["body"], ensure_ascii=False).encode()
        tree["root"]["body"] = {
            "encryptedCode": sm2_seal(self.province_public, key, "c1c2c3").hex(),
            "encryptedContent": base64.b64encode(sm4_ecb(key, plain, seal=True)).decode(),
        }
        tree["root"]["header"]["messageReferenceNumber"] = reference or "0" * 32
        tree["root"]["header"]["token"] = token or self.login()["data"]
        return tree

    def send(self, tree: Any) -> Any:
        status, answer = post(f"{self.province_url}/send", tree)
        assert status == 200
        return answer


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    ministry = Exchange()
    private, public = sm2_pair()
    here, there = tmp_path_factory.mktemp("operator"), tmp_path_factory.mktemp("province")
    operator_port, province_port = free_port(), free_port()
    province_url = f"http://127.0.0.1:{province_port}/wlhy/DEMO0001"
    operator = make_site(
        here,
        {
            "source": {
                "plugin": "freight_operator",
                "settings": {"port": operator_port, "token": secret_file(here, "token", "operator-token-1")},
            },
            "province": {
                "plugin": "freight_exchange",
                "settings": {
                    "base_url": province_url,
                    "login_path": "/token",
                    "send_path": "/send",
                    "user": "op1",
                    "password": secret_file(here, "password", "Operator-1"),
                    "platform_key": secret_file(here, "platform", public),
                    "sender_code": "359999",
                    "enterprise_code": "DEMO0001",
                },
                "interfaces": dict.fromkeys((*DOCUMENTS, "forward"), QUICK),
            },
        },
        {name: {"from": f"source/{name}", "to": f"province/{name}"} for name in DOCUMENTS},
    )
    province = make_site(
        there,
        {
            "op1": {
                "plugin": "freight_province",
                "settings": {
                    "port": province_port,
                    "base_path": "/wlhy/DEMO0001",
                    "enterprise_code": "DEMO0001",
                    "user": "op1",
                    "password": secret_file(there, "password", "Operator-1"),
                    "token_key": secret_file(there, "token", "0123456789abcdef0123456789abcdef"),
                    "private_key": secret_file(there, "private", private),
                },
            },
            "ministry": {
                "plugin": "freight_exchange",
                "settings": {
                    "base_url": ministry.url,
                    "user": "demo",
                    "password": secret_file(there, "ministry", "Pass-1234"),
                    "platform_key": secret_file(there, "ministry_key", ministry.public),
                    "sender_code": "350000",
                    "enterprise_code": "unused",
                },
                "interfaces": dict.fromkeys((*DOCUMENTS, "forward"), QUICK),
            },
        },
        {"up": {"from": "op1/documents", "types": ["wlhy.*"], "to": "ministry/forward"}},
    )
    try:
        with HubProcess(province) as province_hub, HubProcess(operator) as operator_hub:
            yield Chain(ministry, operator_hub, province_hub, operator_port, province_url, public)
    finally:
        ministry.close()


def test_all_five_documents_reach_the_ministry_whole_and_encrypted(chain: Chain) -> None:
    before = {kind: len(found) for kind, found in chain.ministry.documents.items()}
    for document in ("vehicle", "driver", "waybill", "location", "fund_flow"):
        assert chain.ended(chain.operator, chain.report(document))["state"] == "delivered"
    chain.province.settled()
    found = {kind: each[before.get(kind, 0) :] for kind, each in chain.ministry.documents.items()}
    assert {kind: len(each) for kind, each in found.items()} == {
        "WLHY_CL1001": 1,
        "WLHY_JSY1001": 1,
        "WLHY_YD1001": 1,
        "WLHY_WZ1001": 1,
        "WLHY_ZJ1001": 1,
    }
    waybill = found["WLHY_YD1001"][0]
    assert waybill["shippingNoteNumber"] == "YD2026112000007"
    assert waybill["totalMonetaryAmount"] == "3271.750"  # digit for digit through four mappings and two envelopes
    assert waybill["vehicleInfo"]["driver"] == [{"driverName": "司机样7", "drivingLicense": "359999197208150157"}]
    assert found["WLHY_ZJ1001"][0]["financiallist"][0]["monetaryAmount"] == "3271.750"
    wire = b"".join(chain.ministry.raw)
    assert "司机样7".encode() not in wire
    assert b"359999197208150157" not in wire
    header = json.loads(chain.ministry.raw[-1])["root"]["header"]
    assert (header["senderCode"], header["enterpriseSenderCode"]) == ("350000", "DEMO0001")
    assert header["messageReferenceNumber"].isalnum()
    assert len(header["messageReferenceNumber"]) == 32


def test_amounts_a_double_does_not_hold_keep_all_their_digits(chain: Chain) -> None:
    message = chain.report("waybill", waybill__freightYuan="123456789012345.678", waybill__number="YDMONEY0001")
    assert chain.ended(chain.operator, message)["state"] == "delivered"
    chain.province.settled()
    (found,) = [d for d in chain.ministry.documents["WLHY_YD1001"] if d["shippingNoteNumber"] == "YDMONEY0001"]
    assert found["totalMonetaryAmount"] == "123456789012345.678"


def test_a_token_that_ended_is_fetched_anew_and_the_document_arrives_once(chain: Chain) -> None:
    assert chain.ended(chain.operator, chain.report("waybill", waybill__number="YDTOKEN0001"))["state"] == "delivered"
    chain.province.settled()
    logins = chain.ministry.logins
    chain.ministry.forget_tokens()
    assert chain.ended(chain.operator, chain.report("waybill", waybill__number="YDTOKEN0002"))["state"] == "delivered"
    chain.province.settled()
    assert chain.ministry.logins == logins + 1
    numbers = [d["shippingNoteNumber"] for d in chain.ministry.documents["WLHY_YD1001"]]
    assert numbers.count("YDTOKEN0002") == 1


def test_a_lost_reply_is_followed_by_the_same_number_and_counts_as_delivered(chain: Chain) -> None:
    chain.ministry.forced.append("lost")
    first = len(chain.ministry.references)
    chain.report("waybill", waybill__number="YDLOST0001")
    wait_for(lambda: len(chain.ministry.references) >= first + 2, "the document is sent again")
    chain.province.settled()
    again = chain.ministry.references[first:]
    assert len(set(again)) == 1
    numbers = [d["shippingNoteNumber"] for d in chain.ministry.documents["WLHY_YD1001"]]
    assert numbers.count("YDLOST0001") == 1
    assert chain.deliveries(chain.province, state="dead") == []


def test_passing_errors_are_tried_again_and_business_errors_are_dead_with_the_ministrys_words(chain: Chain) -> None:
    chain.ministry.forced += ["3003", "9001"]
    chain.report("waybill", waybill__number="YDBUSY0001")
    wait_for(
        lambda: "YDBUSY0001" in [d["shippingNoteNumber"] for d in chain.ministry.documents.get("WLHY_YD1001", [])],
        "delivered",
    )
    chain.ministry.forced.append("3005")
    chain.report("waybill", waybill__number="YDBAD0001")
    (dead,) = wait_for(lambda: chain.deliveries(chain.province, state="dead"), "a dead letter")
    try:
        assert dead["reason"] == "字段 permitNumber 校验未通过"
    finally:
        body = {"ids": [dead["id"]], "reason": "a test"}
        done = chain.province.call("POST", "/api/v1/deliveries/ignore", body)
        assert done.status < 300, done.body


# -- the province, as operators' own software meets it ------------------------------------------------------------------


def test_the_province_answers_in_the_codes_of_the_guide(chain: Chain) -> None:
    token = chain.login()["data"]
    assert len(token) == 32
    good = chain.envelope(reference="a" * 32, token=token)
    assert chain.send(good)["code"] == 1001
    # The same document under the same number again, encrypted anew and with another token.
    assert chain.send(chain.envelope(reference="a" * 32))["code"] == 3001
    assert chain.login(password="wrong")["code"] == 2001
    assert chain.login(user="op2")["code"] == 2001
    assert chain.login(password="wrong")["data"] is None
    assert chain.send(chain.envelope(token="x" * 32))["code"] == 2001
    bare = chain.envelope(token=token)
    del bare["root"]["header"]["token"]
    assert chain.send(bare)["code"] == 2001
    unknown = chain.envelope(reference="b" * 32, token=token)
    unknown["root"]["header"]["ipcType"] = "WLHY_XX1001"
    assert chain.send(unknown)["code"] == 3002
    assert chain.send(b"{")["code"] == 3004
    plain = chain.envelope(token=token)
    plain["root"]["body"] = {"shippingNoteNumber": "1"}
    assert chain.send(plain)["code"] == 3004
    wrong = chain.send(chain.envelope(reference="c" * 32, token=token, vehicleAmount="many"))
    assert wrong["code"] == 3005
    assert "root.body.vehicleAmount" in wrong["msg"]
    foreign = chain.envelope(reference="d" * 32, token=token)
    foreign["root"]["header"]["enterpriseSenderCode"] = "DEMO0002"
    assert chain.send(foreign)["code"] == 3005


def as_fujian(document: str, body: dict[str, Any]) -> dict[str, Any]:
    """How the public client of Fujian writes a document: every field is there, optional ones as empty texts, codes and counts as numbers,
    identifiers ending in Id, the times and places of the vehicle always."""
    body["remark"] = ""
    if document == "waybill":
        for part, name in (("consignorInfo", "consignor"), ("actualCarrierInfo", "actualCarrier")):
            body[part][f"{name}Id"] = body[part].pop(f"{name}ID")
        body["consigneeInfo"]["consigneeId"] = ""
        body |= {"vehicleAmount": 1, "transportTypeCode": 1}
        body["vehicleInfo"] |= {
            "vehiclePlateColorCode": 2,
            "despatchActualDateTime": body["despatchActualDateTime"],
            "goodsReceiptDateTime": body["goodsReceiptDateTime"],
            "placeOfLoading": body["consignorInfo"]["placeOfLoading"],
            "goodsReceiptPlace": body["consigneeInfo"]["goodsReceiptPlace"],
            "loadingCountrySubdivisionCode": body["consignorInfo"]["countrySubdivisionCode"],
            "receiptCountrySubdivisionCode": body["consigneeInfo"]["countrySubdivisionCode"],
        }
    elif document == "fund_flow":
        body["financiallist"][0] |= {"bankCode": "", "monetaryAmount": 999.999}
        body["shippingNoteList"][0]["totalMonetaryAmount"] = 888
    elif document == "vehicle":
        body["trailerVehiclePlateNumber"] = ""
    return body


@pytest.mark.parametrize("document", ["waybill", "fund_flow", "vehicle", "driver"])
def test_what_the_public_client_of_fujian_sends_is_taken_in_and_understood(chain: Chain, document: str) -> None:
    tree = json.loads(
        (ROOT / "plugins" / "freight" / "freight_province" / "examples" / f"{document}.json").read_bytes()
    )
    body = as_fujian(document, tree["root"]["body"])
    assert chain.send(chain.envelope(document, reference=uuid.uuid4().hex, **body)) == {
        "code": 1001,
        "msg": "accepted",
        "data": None,
    }
    header = {"messageReferenceNumber": "F1", "enterpriseSenderCode": "DEMO0001"}
    tree = JsonCodec().decode(json.dumps({"root": {"header": header, "body": body}}).encode())
    (made,) = MappingLibrary([ROOT / "mappings"]).get(f"freight_ministry/to_canonical/{document}").run(tree, Context())
    raw = JsonCodec().encode(made)
    validators, _ = load([ROOT / "schemas"], "json", schemas=[f"canonical/{document}.json"])
    assert list(validators[0].check(raw, JsonCodec().decode(raw), Context())) == []
    if document == "waybill":
        assert made["consignor"]["creditCode"] == body["consignorInfo"]["consignorId"]
        assert made["vehicle"]["plateColour"] == "黄"


def test_an_altered_envelope_is_told_which_part_can_not_be_opened(chain: Chain) -> None:
    token = chain.login()["data"]
    key = chain.envelope(reference="e" * 32, token=token)
    code = key["root"]["body"]["encryptedCode"]
    key["root"]["body"]["encryptedCode"] = code[:-2] + ("00" if code[-2:] != "00" else "01")
    assert chain.send(key)["code"] == 3006
    other = chain.envelope(reference="e" * 32, token=token)
    other["root"]["body"]["encryptedCode"] = sm2_seal(sm2_pair()[1], b"Abcdefgh12345678", "c1c2c3").hex()
    assert chain.send(other)["code"] == 3006
    cut = chain.envelope(reference="e" * 32, token=token)
    content = base64.b64decode(cut["root"]["body"]["encryptedContent"])
    cut["root"]["body"]["encryptedContent"] = base64.b64encode(content[:-7]).decode()
    assert chain.send(cut)["code"] == 3007
    text = chain.envelope(reference="e" * 32, token=token)
    sealed = base64.b64encode(sm4_ecb(b"Abcdefgh12345678", b"no json", seal=True)).decode()
    text["root"]["body"]["encryptedContent"] = sealed
    assert chain.send(text)["code"] == 3008


def test_a_wrong_platform_key_is_a_dead_letter_that_says_so(chain: Chain, tmp_path: Path) -> None:
    public = sm2_pair()[1]
    file = make_site(
        tmp_path,
        {
            "source": {
                "plugin": "freight_operator",
                "settings": {"port": free_port(), "token": secret_file(tmp_path, "token", "operator-token-1")},
            },
            "province": {
                "plugin": "freight_exchange",
                "settings": {
                    "base_url": chain.province_url,
                    "login_path": "/token",
                    "send_path": "/send",
                    "user": "op1",
                    "password": secret_file(tmp_path, "password", "Operator-1"),
                    "platform_key": secret_file(tmp_path, "platform", public),
                    "sender_code": "359999",
                    "enterprise_code": "DEMO0001",
                },
            },
        },
        {"waybill": {"from": "source/waybill", "to": "province/waybill"}},
    )
    with HubProcess(file) as hub:
        other = Chain(chain.ministry, hub, chain.province, hub.port("source/waybill"), chain.province_url, public)
        end = other.ended(hub, other.report("waybill"))
        assert end["state"] == "dead"
        assert end["reason"] == "对称密钥解密失败，请核对平台公钥"


def test_no_password_and_no_token_is_stored_anywhere(chain: Chain) -> None:
    token = chain.login()["data"]
    chain.login(password="Guessed-Password-1")
    assert chain.send(chain.envelope("driver", reference="f" * 32, token=token))["code"] == 1001
    bad = chain.envelope("driver", reference="f" * 32, token=token)
    bad["root"]["body"]["encryptedCode"] = "04"
    assert chain.send(bad)["code"] == 3006
    chain.province.settled()
    stored = b"".join(file.read_bytes() for file in chain.province.data.rglob("*") if file.is_file())
    log = (chain.province.config.parent / "run.log").read_bytes()
    for secret in (token, "Operator-1", "Guessed-Password-1", "Pass-1234"):
        assert secret.encode() not in stored
        assert secret.encode() not in log
    assert b"DEMO0001" in stored  # the documents are there
