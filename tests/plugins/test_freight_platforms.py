"""The other envelopes, each against a party that shares no code with the hub."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from lxml import etree

from tests.kernel.process import ROOT, HubProcess
from tests.plugins.freight_support import (
    Server,
    aes_cbc,
    form,
    make_site,
    query,
    secret_file,
    sha1,
    sm2_open,
    sm2_pair,
    sm2_seal,
)
from tests.plugins.test_freight_exchange import EXAMPLES, PATHS, QUICK, post
from tests.ports import free_port

KINDS = ("waybill", "fund_flow", "vehicle", "driver")
#: As the guide of Tianjin (V1.2.1) has them.
TIANJIN_NAMES = {
    "WLHY_YD1001": "电子运单",
    "WLHY_ZJ1001": "资金流水单",
    "WLHY_CL1001": "车辆信息单",
    "WLHY_JSY1001": "驾驶员信息单",
}
WSSE = "{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd}"


@dataclass
class World:
    """Everybody but the hub. ``wrong``: what a party found wrong with a call; nothing may be."""

    tianjin: tuple[str, str] = field(default_factory=sm2_pair)
    wrong: list[str] = field(default_factory=list)
    tianjin_documents: list[etree._Element] = field(default_factory=list)
    shaanxi: list[dict[str, Any]] = field(default_factory=list)
    soap: list[tuple[etree._Element, etree._Element]] = field(default_factory=list)  # (envelope, document)

    def expect(self, good: bool, what: str) -> None:
        if not good:
            self.wrong.append(what)

    def answer_tianjin(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        tree = json.loads(body)
        if path == "/auth/applyToken":
            md5 = hashlib.md5(b"Tianjin-1", usedforsecurity=False).hexdigest()
            self.expect(tree == {"userId": "TJ01", "password": md5}, "login of Tianjin")
            return {"code": "00000", "token": "t" * 32}
        self.expect(tree["Token"] == "t" * 32 and len(tree["EncryptedContent"]) <= 8192, "call of Tianjin")
        self.expect(tree["DocumentName"] == TIANJIN_NAMES[tree["IPCType"]], "DocumentName of Tianjin")
        plain = sm2_open(self.tianjin[0], bytes.fromhex(tree["EncryptedContent"]), "c1c3c2")
        self.tianjin_documents.append(etree.fromstring(plain))
        return {"code": "00000", "msg": "ok"}

    def answer_shaanxi(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        if path == "/token/sign":
            fields = form(body)
            self.expect(fields == {"userName": "sx", "passWord": "ab12"}, "login of Shaanxi")
            return {"code": "0000", "content": {"accessToken": "sx-token", "userId": "U1", "expire": 7200}}
        self.expect(headers.get("authorization") == "Bearer sx-token", "token of Shaanxi")
        self.expect(path.startswith("/send2Logink/v1/send?") and not body, "parameters of Shaanxi")
        fields = query(path)
        text = f"actionType={fields['actionType']}&data={fields['data']}&userId={fields['userId']}"
        inner = sha1(f"SIGN{text}SIGN".encode()).hex()
        self.expect(fields["sign"] == hashlib.md5(inner.encode(), usedforsecurity=False).hexdigest(), "sign of Shaanxi")
        root = json.loads(fields["data"])["root"]
        self.expect(set(root["body"]) == {"encryptedContent"}, "plain text for Shaanxi")
        key = sha1(sha1(b"aes-text"))[:16]
        plain = aes_cbc(key, b"0123456789abcdef", bytes.fromhex(root["body"]["encryptedContent"]))
        self.shaanxi.append({"action": fields["actionType"], "header": root["header"], "body": json.loads(plain)})
        return {"code": "0000", "message": "ok"}

    def answer_soap(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        if path.startswith("/auth"):
            self.expect(query(path) == {"userid": "LK01", "password": "Logink-1", "resource": "R1"}, "login of LOGINK")
            return {"resultCode": "100000", "token": "tick<et"}
        envelope = etree.fromstring(body)
        data = envelope.findtext(".//Base64EncodedData") or ""
        self.soap.append((envelope, etree.fromstring(base64.b64decode(data))))
        return b"<E><Body><sendResponse><SendResult>true</SendResult></sendResponse></Body></E>"


@dataclass
class Site:
    world: World
    hub: HubProcess
    operator: str
    province_xml: str
    public: str
    numbers: int = 0

    def report(self, document: str, **changes: Any) -> str:
        self.numbers += 1
        tree = json.loads((EXAMPLES / f"{document}.json").read_bytes())
        tree["messageId"] = f"P{self.numbers:06}"
        tree.update(changes)
        status, answer = post(f"{self.operator}/{PATHS[document]}", tree, Authorization="Bearer operator-token-1")
        assert status == 202, answer
        return str(answer["message_id"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    world = World()
    folder = tmp_path_factory.mktemp("hub")
    private, public = sm2_pair()
    answers = ("tianjin", "shaanxi", "soap")
    servers = {name: Server(getattr(world, f"answer_{name}")) for name in answers}
    operator_port, province_port = free_port(), free_port()

    def secret(name: str, text: str) -> str:
        return secret_file(folder, name, text)

    md5 = hashlib.md5(b"Tianjin-1", usedforsecurity=False).hexdigest()
    key = secret("token_key", "0123456789abcdef0123456789abcdef")
    systems: dict[str, Any] = {
        "source": {
            "plugin": "freight_operator",
            "settings": {"port": operator_port, "token": secret("operator", "operator-token-1")},
        },
        "tianjin": {
            "plugin": "freight_tianjin",
            "settings": {
                "base_url": servers["tianjin"].url,
                "exchange_code": "TJ01",
                "password_md5": secret("tianjin", md5),
                # As SubjectPublicKeyInfo in hexadecimal, which is how it is handed out there.
                "platform_key": secret(
                    "tianjin_key",
                    "3059301306072a8648ce3d020106082a811ccf5501822d034200" + world.tianjin[1],
                ),
            },
            "interfaces": dict.fromkeys(KINDS, QUICK),
        },
        "ours": {
            "plugin": "freight_tianjin",
            "settings": {
                "base_url": f"http://127.0.0.1:{province_port}/tj/TJ01",
                "exchange_code": "TJ01",
                "password_md5": secret("ours", md5),
                "platform_key": secret("ours_key", public),
            },
            "interfaces": dict.fromkeys(KINDS, QUICK),
        },
        "op_xml": {
            "plugin": "freight_province_xml",
            "settings": {
                "port": province_port,
                "base_path": "/tj/TJ01",
                "exchange_code": "TJ01",
                "password": secret("op_xml", "Tianjin-1"),
                "token_key": key,
                "private_key": secret("private", private),
            },
        },
        "shaanxi": {
            "plugin": "freight_shaanxi",
            "settings": {
                "base_url": servers["shaanxi"].url,
                "user": "sx",
                "user_id": "U1",
                "password_encrypted": secret("sx", "ab12"),
                "aes_secret": secret("sx_aes", "aes-text"),
                "iv": secret("sx_iv", "0123456789abcdef"),
                "sign_key": secret("sx_sign", "SIGN"),
                "sender_code": "359999",
            },
        },
        "logink": {
            "plugin": "logink_exchange",
            "settings": {
                "url": f"{servers['soap'].url}/send",
                "auth_url": f"{servers['soap'].url}/auth",
                "user_id": "LK01",
                "password": secret("lk", "Logink-1"),
                "resource": "R1",
                "to_address": "359999",
                "sender_code": "LK01",
                "recipient_code": "359999",
            },
        },
    }
    routes: dict[str, Any] = {
        f"{target}_{kind}": {"from": f"source/{kind}", "to": f"{target}/{kind}"}
        for kind in KINDS
        for target in ("tianjin", "ours", "shaanxi", "logink")
    }
    file = make_site(folder, systems, routes)
    try:
        with HubProcess(file) as hub:
            yield Site(
                world,
                hub,
                f"http://127.0.0.1:{operator_port}/freight/v1",
                f"http://127.0.0.1:{province_port}/tj/TJ01",
                public,
            )
    finally:
        for server in servers.values():
            server.close()


def dead(site: Site) -> list[dict[str, Any]]:
    return list(site.hub.call("GET", "/api/v1/deliveries?limit=100&state=dead").json["deliveries"])


def test_each_document_in_the_envelopes_of_the_provinces_and_of_logink(site: Site) -> None:
    for kind in ("vehicle", "driver", "waybill", "fund_flow"):
        site.report(kind)
        site.hub.settled()
    world = site.world
    assert dead(site) == []
    assert world.wrong == []
    assert [doc[0][0].tag for doc in world.tianjin_documents] == [
        "VehicleNumber",
        "DriverName",
        "OriginalDocumentNumber",
        "DocumentNumber",
    ]
    waybill, fund = world.tianjin_documents[2], world.tianjin_documents[3]
    assert waybill.findtext("Body/TotalMonetaryAmount") == "3271.750"
    # What Tianjin asks for besides.
    asked = ("FinishDateTime", "TransportationCost", "TransportationDistance")
    assert [waybill.findtext(f"Body/{name}") for name in asked] == ["20261120093000", "2900.500", "412"]
    assert waybill.findtext("Body/VehicleInfo/Driver/DrivingLicense") == "359999197208150157"
    assert fund.findtext("Body/Financiallist/MonetaryAmount") == "3271.750"
    assert [each["action"] for each in world.shaanxi] == [
        "WLHY_CL1001",
        "WLHY_JSY1001",
        "WLHY_YD1001",
        "WLHY_ZJ1001",
    ]
    assert world.shaanxi[2]["body"]["shippingNoteNumber"] == "YD2026112000007"
    assert set(world.shaanxi[2]["header"]) == {"messageReferenceNumber", "messageSendingDateTime", "senderCode"}
    envelope, document = world.soap[2]
    assert envelope.findtext(f".//{WSSE}UserTokenID") == "ticket:tick<et"
    assert envelope.findtext(".//ToAddress") == "359999"
    assert document.findtext("Header/DocumentVersionNumber") == "V2020"
    assert document.findtext("Body/ShippingNoteNumber") == "YD2026112000007"


def test_our_own_receiver_of_that_envelope_takes_them_and_knows_repetitions(site: Site) -> None:
    message = site.report("driver")
    site.hub.settled()
    rows = site.hub.call("GET", "/api/v1/messages?limit=20&source=op_xml/documents").json["messages"]
    assert rows[0]["type"] == "wlhy_xml.driver", rows
    assert message
    md5 = hashlib.md5(b"Tianjin-1", usedforsecurity=False).hexdigest()
    answer = post(f"{site.province_xml}/auth/applyToken", {"userId": "TJ01", "password": md5})[1]
    assert answer["code"] == "00000"
    driver = json.loads((ROOT / "plugins/freight/freight_tianjin/examples/driver.json").read_bytes())[
        "EncryptedContent"
    ]

    def sealed(text: str) -> str:
        return sm2_seal(site.public, text.encode(), "c1c3c2").hex()

    call = {
        "IPCType": "WLHY_JSY1001",
        "DocumentName": "驾驶员信息单",
        "EncryptedContent": sealed(driver),
        "MessageReferenceNumber": "T1",
        "MessageSendingDateTime": "20261128093000",
        "UserId": "TJ01",
        "Token": answer["token"],
    }
    url = f"{site.province_xml}/wlhy/send"
    assert post(url, call)[1]["code"] == "00000"
    assert post(url, call)[1]["code"] == "3001"
    assert post(url, {**call, "Token": "no"})[1]["code"] == "20000"
    # The document inside is looked at as well; the public SDK writes WLHY_JZ1001 for the fund flow.
    for number, (kind, text, code) in enumerate(
        (
            ("WLHY_JSY1001", driver.replace("<Telephone>", "<Phone>").replace("</Telephone>", "</Phone>"), "3005"),
            ("WLHY_JSY1001", "hello", "3005"),
            ("WLHY_JZ1001", driver, "3005"),
            ("WLHY_XX1001", driver, "3002"),
        )
    ):
        other = {**call, "IPCType": kind, "EncryptedContent": sealed(text), "MessageReferenceNumber": f"T2{number}"}
        assert post(url, other)[1]["code"] == code, text
    assert post(url, {**call, "EncryptedContent": call["EncryptedContent"][:-2]})[1]["code"] == "3007"


def test_a_document_beyond_8192_characters_is_not_sent_and_says_by_how_much(site: Site) -> None:
    before = len(site.world.tianjin_documents)
    goods = [{"name": f"货物{number:04}号", "kind": "钢铁", "tons": "1.5"} for number in range(60)]
    message = site.report("waybill", goods=goods)
    site.hub.settled()
    mine = [each for each in dead(site) if each["message_id"] == message]
    assert {each["target"] for each in mine} == {"tianjin/waybill", "ours/waybill"}
    assert all("8192" in each["reason"] for each in mine), mine
    assert len(site.world.tianjin_documents) == before
