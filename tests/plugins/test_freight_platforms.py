"""The other envelopes, the queries and the six checks, each against a party that shares no code with the hub."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from lxml import etree

from tests.kernel.process import ROOT, HubProcess, wait_for
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
    sm4_ecb,
)
from tests.plugins.test_freight_exchange import EXAMPLES, PATHS, QUICK, free_port, post

PROVINCE = ROOT / "plugins" / "freight" / "freight_province" / "examples"
KINDS = ("waybill", "fund_flow", "vehicle", "driver")
WSSE = "{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd}"


@dataclass
class World:
    """Everybody but the hub. ``wrong``: what a party found wrong with a call; nothing may be."""

    tianjin: tuple[str, str] = field(default_factory=sm2_pair)
    wrong: list[str] = field(default_factory=list)
    tianjin_documents: list[etree._Element] = field(default_factory=list)
    shaanxi: list[dict[str, Any]] = field(default_factory=list)
    soap: list[tuple[etree._Element, etree._Element]] = field(default_factory=list)  # (envelope, document)
    queries: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    nonces: set[str] = field(default_factory=set)
    logins: list[str] = field(default_factory=list)
    token: str = ""
    facts: list[dict[str, Any]] = field(default_factory=list)
    entered: bool = True

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
        plain = sm2_open(self.tianjin[0], bytes.fromhex(tree["EncryptedContent"]), "c1c3c2")
        self.tianjin_documents.append(etree.fromstring(plain))
        return {"code": "00000", "msg": "ok"}

    def answer_shaanxi(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        fields = form(body)
        if path == "/token/sign":
            self.expect(fields == {"userName": "sx", "passWord": "ab12"}, "login of Shaanxi")
            return {"code": "0000", "content": {"accessToken": "sx-token", "userId": "U1", "expire": 7200}}
        self.expect(headers.get("authorization") == "Bearer sx-token", "token of Shaanxi")
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

    def answer_gateway(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        signed = headers["x-ca-signature-headers"].split(",")
        names = sorted("-".join(word.capitalize() for word in name.split("-")) for name in signed)
        md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        lines = [method, headers.get("accept", ""), md5, headers.get("content-type", ""), headers.get("date", "")]
        lines += [f"{name}:{headers[name.lower()]}" for name in names] + [path]
        good = hmac.digest(b"gateway-secret", "\n".join(lines).encode(), "sha256")
        self.expect(base64.b64encode(good).decode() == headers["x-ca-signature"], "signature of the gateway")
        self.expect(headers["x-ca-nonce"] not in self.nonces, "a nonce twice")
        self.nonces.add(headers["x-ca-nonce"])
        self.queries.append((path, json.loads(body)))
        return {"code": 0, "data": {"pass": True}}

    def answer_vehicles(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        fields = form(body)
        sign = fields.pop("sign")
        text = "".join(name + fields[name] for name in sorted(fields))
        self.expect(sign == hmac.digest(b"vehicle-secret", text.encode(), "sha1").hex().upper(), "sign of a query")
        self.expect(fields["cid"] == "C1", "cid")
        if path == "/save/apis/login":
            self.expect(fields["user"] == "veh" and fields["pwd"] == "Vehicle-1", "login")
            self.token = secrets.token_hex(8)  # the one before is no longer good
            self.logins.append(self.token)
            return {"status": 1001, "result": self.token}
        if fields.get("token") != self.token:
            return {"status": 1016, "result": "令牌无效"}
        self.queries.append((path, fields))
        if path.endswith("checkTruckExist"):
            return {"status": 1001, "result": "yes" if self.entered else "no"}
        return {"status": 1006, "result": ""}

    def answer_monitor(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        self.expect(headers.get("authorization") == "Bearer monitor-token", "token of the monitor")
        self.facts.append(json.loads(body))
        return {"ok": True}


@dataclass
class Site:
    world: World
    hub: HubProcess
    operator: str
    province: str
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

    def province_takes(self, document: str, **body: Any) -> None:
        """An operator reports in the ministry's form."""
        self.numbers += 1
        token = post(f"{self.province}/token", {"userName": "op1", "passWord": "Operator-1"})[1]["data"]
        tree = json.loads((PROVINCE / f"{document}.json").read_bytes())
        tree["root"]["body"].update(body)
        plain = json.dumps(tree["root"]["body"], ensure_ascii=False).encode()
        tree["root"]["header"] |= {"token": token, "messageReferenceNumber": f"{self.numbers:032}"}
        tree["root"]["body"] = {
            "encryptedCode": sm2_seal(self.public, b"Abcdefgh12345678", "c1c2c3").hex(),
            "encryptedContent": base64.b64encode(sm4_ecb(b"Abcdefgh12345678", plain, seal=True)).decode(),
        }
        answer = post(f"{self.province}/send", tree)[1]
        assert answer["code"] == 1001, answer
        self.hub.settled()

    def found(self, target: str) -> set[str]:
        """Rules that found something in what was last sent to a target."""
        rows = self.hub.call("GET", f"/api/v1/deliveries?limit=1&target={target}").json["deliveries"]
        message = self.hub.call("GET", f"/api/v1/messages/{rows[0]['message_id']}").json
        calls = [call for call in message["calls"] if call["place"] == target]
        return {finding["rule"] for finding in calls[-1]["validation"]["findings"]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    world = World()
    folder = tmp_path_factory.mktemp("hub")
    private, public = sm2_pair()
    answers = ("tianjin", "shaanxi", "soap", "gateway", "vehicles", "monitor")
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
        "op1": {
            "plugin": "freight_province",
            "settings": {
                "port": province_port,
                "base_path": "/wlhy/DEMO0001",
                "enterprise_code": "DEMO0001",
                "user": "op1",
                "password": secret("op1", "Operator-1"),
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
        "logink_gateway": {
            "plugin": "logink_gateway",
            "settings": {
                "base_url": servers["gateway"].url,
                "app_key": "K1",
                "app_secret": secret("gateway", "gateway-secret"),
            },
        },
        "vehicle_platform": {
            "plugin": "vehicle_platform",
            "settings": {
                "base_url": servers["vehicles"].url,
                "user": "veh",
                "password": secret("vehicles", "Vehicle-1"),
                "client_id": "C1",
                "secret": secret("vehicles_key", "vehicle-secret"),
            },
            "interfaces": {"last_location": {"accepts": ["*"], **QUICK}},
        },
        "monitor": {
            "plugin": "freight_monitor",
            "settings": {"base_url": servers["monitor"].url, "token": secret("monitor", "monitor-token")},
        },
    }
    routes: dict[str, Any] = {
        f"{target}_{kind}": {"from": f"source/{kind}", "to": f"{target}/{kind}"}
        for kind in KINDS
        for target in ("tianjin", "ours", "shaanxi", "logink")
    }
    routes["checks"] = {"from": "op1", "types": ["wlhy.waybill"], "to": "monitor/waybill_check"}
    routes["funds"] = {"from": "op1", "types": ["wlhy.fund_flow"], "to": "monitor/fund_flow_check"}
    routes["last"] = {
        "from": "op1",
        "types": ["wlhy.location"],
        "to": "vehicle_platform/last_location",
        "mapping": "query",
    }
    file = make_site(folder, systems, routes)
    (folder / "mappings" / "query.yaml").write_text(
        "from: {codec: json}\nto: {codec: json}\nfields: {vclN: root.body.vehicleNumber, timeNearby: {const: 24}}\n"
    )
    try:
        with HubProcess(file) as hub:
            yield Site(
                world,
                hub,
                f"http://127.0.0.1:{operator_port}/freight/v1",
                f"http://127.0.0.1:{province_port}/wlhy/DEMO0001",
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
    assert waybill.findtext("Body/VehicleInfo/Driver/DrivingLicense") == "359999197208150157"
    assert fund.findtext("Body/Financiallist/MonetaryAmount") == "3271.750"
    assert [each["action"] for each in world.shaanxi] == [
        "LOGINK_CN_CREDIT_VEHICLE",
        "LOGINK_CN_CREDIT_PERSON",
        "LOGINK_CN_FREIGHTBROKER_WAYBILL",
        "LOGINK_CN_FREIGHTCHARGES",
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
    call = {
        "IPCType": "WLHY_JSY1001",
        "DocumentName": "驾驶员信息单",
        "EncryptedContent": sm2_seal(site.public, b"<Root><Body/></Root>", "c1c3c2").hex(),
        "MessageReferenceNumber": "T1",
        "MessageSendingDateTime": "20261128093000",
        "UserId": "TJ01",
        "Token": answer["token"],
    }
    url = f"{site.province_xml}/wlhy/send"
    assert post(url, call)[1]["code"] == "00000"
    assert post(url, call)[1]["code"] == "3001"
    assert post(url, {**call, "Token": "no"})[1]["code"] == "20000"
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


def test_the_six_checks_judge_what_the_look_ups_found(site: Site) -> None:
    """003:57, each by what was reported before or what another platform says."""
    world = site.world
    site.province_takes("waybill", shippingNoteNumber="YDCHECK0001")
    assert site.found("monitor/waybill_check") == {"qualification_vehicle_known", "qualification_driver_known"}
    site.province_takes("vehicle")
    site.province_takes("driver")
    site.province_takes("waybill", shippingNoteNumber="YDCHECK0002")
    assert site.found("monitor/waybill_check") == set()
    assert world.facts[-1]["entry"] == "yes"
    assert world.facts[-1]["track"] == {"known": True, "pass": True}
    # Reported again under another number of the report.
    site.province_takes("waybill", shippingNoteNumber="YDCHECK0002")
    assert site.found("monitor/waybill_check") == {"duplicate_waybill"}
    site.province_takes("driver", validPeriodTo="20261118")
    site.province_takes("waybill", shippingNoteNumber="YDCHECK0003")
    assert site.found("monitor/waybill_check") == {"qualification_driver_licence"}
    note = {"shippingNoteNumber": "YDCHECK0002", "serialNumber": "0000", "totalMonetaryAmount": 3271.75}
    site.province_takes("fund_flow", shippingNoteList=[note])
    assert site.found("monitor/fund_flow_check") == set()
    site.province_takes("fund_flow", shippingNoteList=[{**note, "totalMonetaryAmount": 3000}], carrier="别家运输队")
    assert site.found("monitor/fund_flow_check") == {"fund_carrier", "fund_amount", "fund_paid"}
    site.province_takes("fund_flow", shippingNoteList=[{**note, "shippingNoteNumber": "YDNONE"}])
    assert site.found("monitor/fund_flow_check") == {"fund_waybill"}
    # The figures a rate is computed from, and who is concerned.
    page = "/api/v1/quality/reports?place=monitor/waybill_check&rule=duplicate_waybill"
    assert len(site.hub.call("GET", page).json["reports"]) == 1
    told = json.dumps(world.facts, ensure_ascii=False)
    for personal in ("359999197208150157", "司机样7", "91359999MADEM1007Y"):
        assert personal not in told
    assert world.wrong == []


def test_a_vehicle_that_is_not_on_the_national_platform(site: Site) -> None:
    site.world.entered = False
    site.province_takes("vehicle", vehicleNumber="闽Z00008")
    tree = json.loads((PROVINCE / "waybill.json").read_bytes())["root"]["body"]
    other = {**tree["vehicleInfo"], "vehicleNumber": "闽Z00008"}
    site.province_takes("waybill", shippingNoteNumber="YDCHECK0008", vehicleInfo=other)
    assert "entry_vehicle" in site.found("monitor/waybill_check")


def test_one_login_serves_all_queries_and_is_made_anew_when_it_ended(site: Site) -> None:
    """Two interfaces that logged in each for itself would end each other's token for ever."""
    world = site.world
    site.province_takes("location")
    assert [path for path, _ in world.queries if path.endswith("vLastLocationV3")] == ["/save/apis/vLastLocationV3"]
    assert len(world.logins) == 1
    world.token = ""
    site.province_takes("location")
    wait_for(lambda: len(world.logins) == 2, "a new login")
    site.hub.settled()
    assert len([path for path, _ in world.queries if path.endswith("vLastLocationV3")]) == 2
    assert world.wrong == []
