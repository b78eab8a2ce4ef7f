"""Text messages through two clouds: a real hub, and gateways that compute every signature by themselves."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl

import pytest
import yaml

from tests.kernel.process import ROOT, HubProcess, wait_for

SECRET = "secret-of-the-access-key"
REPORTS = "password-of-the-reports"
DESK = """
id: sms_desk
name: 通知
interfaces:
  notice:
    direction: in
    adapter: http
    listen: {port: 0, path: /notices, auth: {type: none}}
    codec: json
    type: concat('sms.', channel)
    control_id: number
"""
ROUTED = {"aliyun": "aliyun/send", "tencent": "tencent/send"}


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Gateway:
    """Both clouds, written from their public descriptions alone."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []  # of the next calls, instead of success
        self.wrong: list[str] = []
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                kind = headers.get("authorization", "").partition(" ")[0]
                tree = gateway.aliyun(headers, body) if kind.startswith("ACS3") else gateway.tencent(headers, body)
                out = json.dumps(tree, ensure_ascii=False).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(out)))
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(out)

            def log_message(self, *arguments: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def aliyun(self, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        parts = dict(part.split("=", 1) for part in headers["authorization"].partition(" ")[2].split(","))
        names = parts["SignedHeaders"].split(";")
        if not {"host", "x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-version"} <= set(names):
            self.wrong.append("signed headers")
        lines = "".join(f"{name}:{headers[name].strip()}\n" for name in names)
        request = f"POST\n/\n\n{lines}\n{parts['SignedHeaders']}\n{sha(body)}"
        text = f"ACS3-HMAC-SHA256\n{sha(request.encode())}"
        if hmac.new(SECRET.encode(), text.encode(), "sha256").hexdigest() != parts["Signature"]:
            self.wrong.append("signature")
        if parts["Credential"] != "AK" or headers["x-acs-content-sha256"] != sha(body):
            self.wrong.append("credential or hash")
        if headers["x-acs-action"] != "SendSms" or headers["x-acs-version"] != "2017-05-25":
            self.wrong.append("action")
        self.sent.append(dict(parse_qsl(body.decode())))
        return self.answers.pop(0) if self.answers else {"Code": "OK", "BizId": "9327^0", "RequestId": "R"}

    def tencent(self, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        rest = headers["authorization"].partition(" ")[2].replace(" ", "")
        parts = dict(part.split("=", 1) for part in rest.split(","))
        stamp = int(headers["x-tc-timestamp"])
        date = time.strftime("%Y-%m-%d", time.gmtime(stamp))
        scope = f"{date}/sms/tc3_request"
        lines = "".join(f"{name}:{headers[name].strip().lower()}\n" for name in parts["SignedHeaders"].split(";"))
        request = f"POST\n/\n\n{lines}\n{parts['SignedHeaders']}\n{sha(body)}"
        text = f"TC3-HMAC-SHA256\n{stamp}\n{scope}\n{sha(request.encode())}"
        key = b"TC3" + SECRET.encode()
        for part in (date, "sms", "tc3_request"):
            key = hmac.new(key, part.encode(), "sha256").digest()
        if hmac.new(key, text.encode(), "sha256").hexdigest() != parts["Signature"]:
            self.wrong.append("signature")
        if parts["Credential"] != f"ID/{scope}" or headers["x-tc-action"] != "SendSms":
            self.wrong.append("credential or action")
        self.sent.append(json.loads(body))
        if self.answers:
            return self.answers.pop(0)
        status = {
            "SerialNo": "2019:1",
            "PhoneNumber": "+8613900000000",
            "Fee": 1,
            "Code": "Ok",
            "Message": "send success",
        }
        return {"Response": {"SendStatusSet": [status], "RequestId": "R"}}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HubProcess, Gateway]]:
    folder, gateway = tmp_path_factory.mktemp("sms"), Gateway()
    (folder / "plugins" / "sms_desk").mkdir(parents=True)
    (folder / "plugins" / "sms_desk" / "plugin.yaml").write_text(DESK, encoding="utf-8")
    (folder / "config").mkdir()
    for name, value in (("secret", SECRET), ("reports", REPORTS)):
        (folder / name).write_text(value)
        (folder / name).chmod(0o600)
    quick = {"send": {"retry": {"attempts": 3, "interval": "20ms"}}}
    reports = {"report_port": 0, "report_password": "file:../reports", "hours": "00:00-24:00"}
    config = {
        "plugins": ["../plugins", str(ROOT / "plugins" / "messaging")],
        "mappings": [str(ROOT / "mappings")],
        "schemas": [str(ROOT / "schemas")],
        "watch": False,
        "store": {"path": "../var", "min_free_disk": 0},
        "admin": {"port": 0},
        "systems": {
            "desk": {"plugin": "sms_desk"},
            "aliyun": {
                "plugin": "aliyun_sms",
                "settings": {
                    "endpoint": gateway.url,
                    "access_key": "AK",
                    "access_secret": "file:../secret",
                    "sign_name": "样例医院",
                    **reports,
                },
                "interfaces": quick,
            },
            "tencent": {
                "plugin": "tencent_sms",
                "settings": {
                    "endpoint": gateway.url,
                    "secret_id": "ID",
                    "secret_key": "file:../secret",
                    "app_id": "1400",
                    "sign_name": "样例医院",
                    **reports,
                },
                "interfaces": quick,
            },
        },
        "routes": {name: {"from": "desk", "types": [f"sms.{name}"], "to": to} for name, to in ROUTED.items()},
    }
    file = folder / "config" / "hub.yaml"
    file.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    with HubProcess(file) as hub:
        yield hub, gateway
    gateway.close()


@pytest.fixture(autouse=True)
def _fresh(site: tuple[HubProcess, Gateway]) -> None:
    gateway = site[1]
    gateway.sent.clear()
    gateway.answers.clear()
    gateway.wrong.clear()


def post(hub: HubProcess, place: str, path: str, body: Any, user: str = "") -> tuple[int, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{hub.port(place)}{path}", json.dumps(body).encode(), method="POST"
    )
    if user:
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{user}:{REPORTS}".encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def notice(number: str, channel: str) -> dict[str, Any]:
    return {
        "number": number,
        "channel": channel,
        "phone": "13900000000",
        "template": "SMS_1",
        "parameters": {"name": "王*", "time": "9:30"},
        "values": ["王*", "9:30"],
    }


def test_aliyun(site: tuple[HubProcess, Gateway]) -> None:
    hub, gateway = site
    gateway.answers = [{"Code": "isv.BUSINESS_LIMIT_CONTROL", "Message": "触发分钟级流控"}]
    assert post(hub, "desk/notice", "/notices", notice("A1", "aliyun"))[0] == 202
    wait_for(lambda: len(gateway.sent) == 2, "the second try")  # the first one met the limit
    hub.settled()
    assert gateway.wrong == []
    assert gateway.sent[1] == {
        "PhoneNumbers": "13900000000",
        "SignName": "样例医院",
        "TemplateCode": "SMS_1",
        "TemplateParam": '{"name":"王*","time":"9:30"}',
        "OutId": "A1",
    }


def test_tencent(site: tuple[HubProcess, Gateway]) -> None:
    hub, gateway = site
    gateway.answers = [{"Response": {"Error": {"Code": "RequestLimitExceeded", "Message": "限流"}, "RequestId": "R"}}]
    assert post(hub, "desk/notice", "/notices", notice("T1", "tencent"))[0] == 202
    wait_for(lambda: len(gateway.sent) == 2, "the second try")
    hub.settled()
    assert gateway.wrong == []
    assert gateway.sent[1] == {
        "PhoneNumberSet": ["+8613900000000"],
        "SmsSdkAppId": "1400",
        "SignName": "样例医院",
        "TemplateId": "SMS_1",
        "TemplateParamSet": ["王*", "9:30"],
        "SessionContext": "T1",
    }


@pytest.mark.parametrize(
    ("system", "path", "user", "example", "answer"),
    [
        ("aliyun", "/aliyun/sms/report", "aliyun", "aliyun_sms", {"code": 0, "msg": "成功"}),
        ("tencent", "/tencent/sms/report", "tencent", "tencent_sms", {"result": 0, "errmsg": "OK"}),
    ],
)
def test_receipts(
    site: tuple[HubProcess, Gateway], system: str, path: str, user: str, example: str, answer: dict[str, Any]
) -> None:
    hub, _ = site
    file = ROOT / "plugins" / "messaging" / example / "examples" / "report.json"
    report = json.loads(file.read_text(encoding="utf-8"))
    assert post(hub, f"{system}/report", path, report, user) == (200, answer)
    assert post(hub, f"{system}/report", path, report, "stranger")[0] == 401
