"""A province: operators that report encrypted, the platforms it asks, its portal; none of them shares code with the hub."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from tests.kernel.process import ROOT, HubProcess, wait_for
from tests.plugins.freight_support import Server, form, make_site, secret_file, sm2_pair, sm2_seal, sm4_ecb
from tests.plugins.test_freight_exchange import QUICK, post
from tests.ports import free_port

__all__ = ["Platforms", "Province", "province", "today"]

FREIGHT = ROOT / "plugins" / "freight"
EXAMPLES = FREIGHT / "freight_province" / "examples"
#: Says what day it is, so that tests need not wait for it.
_CLOCK = """
id: clock
name: clock
settings: {port: {type: port, required: true}}
interfaces:
  tick:
    direction: in
    adapter: http
    listen: {host: 127.0.0.1, port: "${port}", path: /tick, methods: [POST], auth: {type: none}}
    codec: json
    type: kind
"""
#: Steps with others in them.
_AROUND = {"joint_test", "trial", "tell", "admitted"}


def today(days: int = 0) -> str:
    """The date in Beijing, or so many days later."""
    return (datetime.now(ZoneInfo("Asia/Shanghai")).date() + timedelta(days=days)).isoformat()


@dataclass
class Platforms:
    """Everybody but the operators and the hub. ``wrong``: what a party found wrong with a call; nothing may be."""

    wrong: list[str] = field(default_factory=list)
    queries: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    nonces: set[str] = field(default_factory=set)
    logins: list[str] = field(default_factory=list)
    notices: list[dict[str, Any]] = field(default_factory=list)
    token: str = ""
    entry: dict[str, Any] = field(default_factory=lambda: {"status": 1001, "result": "yes"})
    track: dict[str, Any] = field(default_factory=lambda: {"code": 0, "data": {"pass": True}})
    licence: dict[str, Any] = field(default_factory=lambda: {"code": 0, "data": {"valid": True, "validTo": "20300101"}})
    down: bool = False

    def expect(self, good: bool, what: str) -> None:
        if not good:
            self.wrong.append(what)

    def answer_gateway(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        signed = headers["x-ca-signature-headers"].split(",")
        names = sorted(signed)  # the text has the names as the header lists them
        self.expect("X-Ca-Key" in names, "the names of signed headers")
        md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        lines = [method, headers.get("accept", ""), md5, headers.get("content-type", ""), headers.get("date", "")]
        lines += [f"{name}:{headers[name.lower()]}" for name in names] + [path]
        good = hmac.digest(b"gateway-secret", "\n".join(lines).encode(), "sha256")
        self.expect(base64.b64encode(good).decode() == headers["x-ca-signature"], "signature of the gateway")
        self.expect(headers["x-ca-nonce"] not in self.nonces, "a nonce twice")
        self.nonces.add(headers["x-ca-nonce"])
        self.queries.append((path, json.loads(body)))
        return self.track

    def answer_vehicles(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        if self.down:
            return None
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
        return self.entry if path.endswith("checkTruckExist") else {"status": 1006, "result": ""}

    def answer_admin(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        self.expect(headers.get("authorization") == "Bearer admin-token", "token of the administration")
        self.queries.append((path, json.loads(body)))
        return self.licence

    def answer_portal(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        self.expect(headers.get("authorization") == "Bearer notice-token", "token of the notices")
        self.notices.append(json.loads(body))
        return {"code": 0}

    def told(self, subject: str, number: str = "", to: str = "operator") -> list[dict[str, Any]]:
        return [
            notice
            for notice in list(self.notices)
            if notice["subject"] == subject and notice["to"] == to and number in ("", notice["number"])
        ]


@dataclass
class Province:
    platforms: Platforms
    config: Path
    hub: HubProcess
    ports: dict[str, int]
    public: str
    numbers: int = 0
    tokens: dict[str, str] = field(default_factory=dict)

    def takes(self, document: str, *, settled: bool = True, enterprise: str = "DEMO0001", **body: Any) -> str:
        """An operator reports in the ministry's form; returns the number of the report."""
        self.numbers += 1
        url = f"http://127.0.0.1:{self.ports['province']}/wlhy/{enterprise}"
        token = self.tokens.get(enterprise)
        if token is None:
            token = post(f"{url}/token", {"userName": enterprise, "passWord": "Operator-1"})[1]["data"]
            self.tokens[enterprise] = token
        tree = json.loads((EXAMPLES / f"{document}.json").read_bytes())
        content = {**tree["root"]["body"], **self.recent(document), **body}
        plain = json.dumps(content, ensure_ascii=False).encode()
        reference = f"{self.numbers:032}"
        header = {"token": token, "messageReferenceNumber": reference, "enterpriseSenderCode": enterprise}
        tree["root"]["header"] |= header
        tree["root"]["body"] = {
            "encryptedCode": sm2_seal(self.public, b"Abcdefgh12345678", "c1c2c3").hex(),
            "encryptedContent": base64.b64encode(sm4_ecb(b"Abcdefgh12345678", plain, seal=True)).decode(),
        }
        answer = post(f"{url}/send", tree)[1]
        assert answer["code"] == 1001, answer
        if settled:
            self.hub.settled()
        return reference

    @staticmethod
    def recent(document: str) -> dict[str, Any]:
        """Times of a journey that ended an hour ago."""
        end = datetime.now(ZoneInfo("Asia/Shanghai")) - timedelta(hours=1)
        at = {hours: (end - timedelta(hours=hours)).strftime("%Y%m%d%H%M%S") for hours in (0, 20, 44)}
        if document == "waybill":
            return {
                "consignmentDateTime": at[44],
                "despatchActualDateTime": at[20],
                "goodsReceiptDateTime": at[0],
                "sendToProDateTime": at[0],
            }
        return {}

    def found(self, target: str) -> set[str]:
        """Rules that found something in what was last sent to a target."""
        rows = self.hub.call("GET", f"/api/v1/deliveries?limit=1&target={target}").json["deliveries"]
        message = self.hub.call("GET", f"/api/v1/messages/{rows[0]['message_id']}").json
        calls = [call for call in message["calls"] if call["place"] == target]
        return {finding["rule"] for finding in calls[-1]["validation"]["findings"]}

    def messages(self, kind: str) -> list[dict[str, Any]]:
        return list(self.hub.call("GET", f"/api/v1/messages?limit=100&type={kind}").json["messages"])

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.config.parent / "monitor.sqlite", timeout=30)) as connection:
            return connection.execute(sql, values).fetchall()

    def flags(self, number: str, kind: str = "waybill", enterprise: str = "DEMO0001") -> set[str]:
        """Which of the six anomalies the database has for a document."""
        names = ("document", "qualification", "entry", "track", "matching", "repeated")
        sql = f"SELECT {', '.join(names)} FROM freight_check WHERE operator = ? AND kind = ? AND number = ?"
        (row,) = self.rows(sql, enterprise, kind, number)
        return {name for name, flag in zip(names, row, strict=True) if flag}

    def tick(self, kind: str, day: str, yesterday: str) -> None:
        post(
            f"http://127.0.0.1:{self.ports['clock']}/tick",
            {"kind": kind, "day": day, "yesterday": yesterday, "number": secrets.token_hex(4)},
        )
        self.hub.settled()

    def portal(self, path: str, body: dict[str, Any]) -> int:
        url = f"http://127.0.0.1:{self.ports['portal']}/freight/v1/{path}"
        return post(url, body, Authorization="Bearer portal-token")[0]

    # -- flows -------------------------------------------------------------------------------------------------------

    def instance(self, flow: str, key: str) -> dict[str, Any]:
        found = wait_for(
            lambda: self.hub.call("GET", f"/api/v1/flows/instances?flow={flow}&key={key}").json["instances"],
            f"an instance of {flow}",
        )
        number = found[0]["id"]
        return dict(self.hub.call("GET", f"/api/v1/flows/instances/{number}?clear=1").json)

    def at(self, flow: str, key: str, *steps: str) -> dict[str, Any]:
        """Wait until an instance stands at these steps, and perhaps at those around them."""

        def stands() -> dict[str, Any] | None:
            found = self.instance(flow, key)
            return found if set(found["at"]) - _AROUND == set(steps) else None

        return dict(wait_for(stands, f"{key} stands at {steps}"))

    def ended(self, flow: str, key: str) -> str:
        return str(wait_for(lambda: self.instance(flow, key)["end"], f"{key} ends"))

    def decide(self, flow: str, key: str, step: str, choice: str, **fields: str) -> None:
        number = self.at(flow, key, step)["id"]
        body = {"step": step, "choice": choice, "fields": fields}
        done = self.hub.call("POST", f"/api/v1/flows/instances/{number}/complete", body)
        assert done.status < 300, done.body


@contextmanager
def province(folder: Path, *, flows: bool = False, **settings: Any) -> Iterator[Province]:
    """``settings``: of the system monitor; its database is a new file of SQLite unless they say otherwise."""
    platforms = Platforms()
    private, public = sm2_pair()
    ports = {name: free_port() for name in ("province", "portal", "clock")}
    servers = {
        name: Server(getattr(platforms, f"answer_{name}")) for name in ("gateway", "vehicles", "admin", "portal")
    }

    def secret(name: str, text: str) -> str:
        return secret_file(folder, name, text)

    def operator(enterprise: str) -> dict[str, Any]:
        return {
            "plugin": "freight_province",
            "settings": {
                "port": ports["province"],
                "base_path": f"/wlhy/{enterprise}",
                "enterprise_code": enterprise,
                "user": enterprise,
                "password": secret("operator", "Operator-1"),
                "token_key": secret("token_key", "0123456789abcdef0123456789abcdef"),
                "private_key": secret("private", private),
            },
        }

    systems: dict[str, Any] = {
        "op1": operator("DEMO0001"),
        "op2": operator("DEMO0002"),
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
            "interfaces": {
                "last_location": {"accepts": ["*"], **QUICK},
                "truck_exists": {"breaker": {"open_for": "50ms", "max_open_for": "200ms"}},
            },
        },
        "monitor": {
            "plugin": "freight_monitor",
            "settings": {"database": str(folder / "config" / "monitor.sqlite"), **settings},
            "interfaces": {
                "waybill_check": {"retry": {"attempts": 1000, "interval": "50ms", "backoff": "fixed"}},
            },
        },
        "portal": {
            "plugin": "freight_portal",
            "settings": {
                "port": ports["portal"],
                "token": secret("portal", "portal-token"),
                "notice_url": servers["portal"].url,
                "notice_token": secret("notice", "notice-token"),
            },
        },
        "transport_admin": {
            "plugin": "road_transport_admin",
            "settings": {"base_url": servers["admin"].url, "token": secret("admin", "admin-token")},
        },
        "clock": {"plugin": "clock", "settings": {"port": ports["clock"]}},
    }
    routes: dict[str, Any] = {
        "checks": {"from": ["op1", "op2"], "types": ["wlhy.waybill"], "to": "monitor/waybill_check"},
        "funds": {"from": ["op1", "op2"], "types": ["wlhy.fund_flow"], "to": "monitor/fund_flow_check"},
        "last": {
            "from": "op1",
            "types": ["wlhy.location"],
            "to": "vehicle_platform/last_location",
            "mapping": "query",
        },
        "hour": {"from": "clock", "types": ["freight.hour"], "to": "monitor/alarms_due"},
        "day": {"from": "clock", "types": ["freight.day"], "to": "monitor/rates_query"},
        "hourly": {"from": "monitor/hourly", "to": "monitor/alarms_due"},
    }
    if flows:
        kinds = [f"wlhy.{kind}" for kind in ("waybill", "fund_flow", "vehicle", "driver")]
        routes["joint_test"] = {"from": ["op1", "op2"], "types": kinds, "to": "flow/freight_onboarding"}
    file = make_site(folder, systems, routes)
    (folder / "plugins" / "clock").mkdir()
    (folder / "plugins" / "clock" / "plugin.yaml").write_text(_CLOCK, encoding="utf-8")
    (folder / "mappings" / "query.yaml").write_text(
        "from: {codec: json}\nto: {codec: json}\nfields: {vclN: root.body.vehicleNumber, timeNearby: {const: 24}}\n"
    )
    tree = yaml.safe_load(file.read_text("utf-8"))
    if flows:
        tree["flows"] = [str(FREIGHT / "flows")]
        roles = ("freight_supervisor", "freight_county")
        tree["security"] = {"roles": {name: {"rights": ["flows.read", "flows.complete"]} for name in roles}}
    file.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    with closing(sqlite3.connect(file.parent / "monitor.sqlite")) as connection:
        connection.executescript((FREIGHT / "freight_monitor" / "schema.sql").read_text("utf-8"))
    try:
        with HubProcess(file) as hub:
            yield Province(platforms, file, hub, ports, public)
        assert platforms.wrong == []
    finally:
        for server in servers.values():
            server.close()
