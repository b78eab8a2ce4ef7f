"""Payments through a real hub: a business system, the hub, and a platform that checks every signature by itself."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl

import pytest
import yaml
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.kernel.process import ROOT, HubProcess, Sink, wait_for

TOKEN = "token-of-the-business-system"
API_KEY = "k" * 32
OURS, THEIRS = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)


def pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def public_pem(key: rsa.RSAPrivateKey) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def good(text: bytes, signature: str) -> bool:
    try:
        OURS.public_key().verify(base64.b64decode(signature), text, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


def signed(text: bytes) -> str:
    return base64.b64encode(THEIRS.sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()


class Platform:
    """Both platforms: what does not check is refused, orders are kept, answers are signed. Written from the public descriptions alone."""

    def __init__(self) -> None:
        self.orders: dict[str, dict[str, Any]] = {}
        self.refunds: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.wrong: list[str] = []
        self.fail_next: list[tuple[int, str]] = []  # (status, code) of the next WeChat calls
        self.unsigned = False
        platform = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

            def do_GET(self) -> None:
                self.answer(b"")

            def answer(self, body: bytes) -> None:
                platform.calls.append(f"{self.command} {self.path}")
                if self.path.startswith("/gateway.do"):
                    status, headers, out = platform.alipay(body)
                else:
                    status, headers, out = platform.wechat(
                        self.command, self.path, self.headers.get("Authorization", ""), body
                    )
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", str(len(out)))
                self.end_headers()
                if status != 204:
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

    # -- WeChat Pay ----------------------------------------------------------------------------------------------

    def wechat(self, method: str, target: str, authorization: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        status, tree = self._wechat(method, target, authorization, body)
        out = b"" if tree is None else json.dumps(tree, ensure_ascii=False).encode()
        stamp, nonce = str(int(time.time())), "platform-nonce"
        headers = {"Content-Type": "application/json"}
        if not self.unsigned:
            headers |= {
                "Wechatpay-Timestamp": stamp,
                "Wechatpay-Nonce": nonce,
                "Wechatpay-Serial": "PLAT",
                "Wechatpay-Signature": signed(f"{stamp}\n{nonce}\n".encode() + out + b"\n"),
            }
        return status, headers, out

    def _wechat(self, method: str, target: str, authorization: str, body: bytes) -> tuple[int, dict[str, Any] | None]:
        kind, _, rest = authorization.partition(" ")
        parts = dict(part.split("=", 1) for part in rest.split(",") if "=" in part)
        found = {name.strip(): value.strip('"') for name, value in parts.items()}
        text = f"{method}\n{target}\n{found.get('timestamp')}\n{found.get('nonce_str')}\n".encode() + body + b"\n"
        if (
            kind != "WECHATPAY2-SHA256-RSA2048"
            or found.get("mchid") != "1900000001"
            or found.get("serial_no") != "OURS"
        ):
            self.wrong.append("authorization")
        if not good(text, found.get("signature", "")) or abs(int(found.get("timestamp") or 0) - time.time()) > 300:
            self.wrong.append("signature")
        if self.wrong:
            return 401, {"code": "SIGN_ERROR", "message": "签名错误"}
        if self.fail_next:
            status, code = self.fail_next.pop(0)
            return status, {"code": code, "message": code}
        path, _, query = target.partition("?")
        tree: dict[str, Any] = json.loads(body) if body else {}
        if path in ("/v3/pay/transactions/jsapi", "/v3/pay/transactions/native"):
            amount = tree["amount"]
            if type(amount["total"]) is not int or amount["currency"] != "CNY" or tree["mchid"] != "1900000001":
                return 400, {"code": "PARAM_ERROR", "message": "amount.total"}
            known = self.orders.get(tree["out_trade_no"])
            if known is not None and known["body"] != tree:
                return 403, {"code": "OUT_TRADE_NO_USED", "message": "商户订单号重复"}
            self.orders[tree["out_trade_no"]] = {"body": tree, "state": "NOTPAY"}
            return 200, {"prepay_id": f"wx-{tree['out_trade_no']}"} if "payer" in tree else {"code_url": "weixin://x"}
        if path.endswith("/close"):
            number = path.split("/")[-2]
            self.orders[number]["state"] = "CLOSED"
            return 204, None
        if path.startswith("/v3/pay/transactions/out-trade-no/"):
            number = path.rpartition("/")[2]
            if dict(parse_qsl(query)).get("mchid") != "1900000001" or number not in self.orders:
                return 404, {"code": "ORDER_NOT_EXIST", "message": "订单不存在"}
            order = self.orders[number]
            return 200, {
                "out_trade_no": number,
                "trade_state": order["state"],
                "transaction_id": "4200000000",
                "amount": {"total": order["body"]["amount"]["total"], "currency": "CNY"},
            }
        if path == "/v3/refund/domestic/refunds":
            self.refunds.setdefault(tree["out_refund_no"], tree)
            return 200, {
                "out_refund_no": tree["out_refund_no"],
                "refund_id": "50000",
                "status": "PROCESSING",
                "amount": tree["amount"],
            }
        return 404, {"code": "NOT_FOUND", "message": path}

    def notification(self, number: str, resource: dict[str, Any], key: str = API_KEY) -> tuple[bytes, dict[str, str]]:
        nonce, aad = b"n" * 12, b"transaction"
        sealed = AESGCM(key.encode()).encrypt(nonce, json.dumps(resource).encode(), aad)
        tree = {
            "id": number,
            "event_type": "TRANSACTION.SUCCESS",
            "resource_type": "encrypt-resource",
            "resource": {
                "algorithm": "AEAD_AES_256_GCM",
                "ciphertext": base64.b64encode(sealed).decode(),
                "associated_data": "transaction",
                "nonce": nonce.decode(),
            },
        }
        return self.signed(tree)

    def signed(self, tree: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
        """A notification with its headers."""
        body = json.dumps(tree).encode()
        stamp, serial = str(int(time.time())), f"nonce-{time.monotonic_ns()}"
        return body, {
            "Content-Type": "application/json",
            "Wechatpay-Timestamp": stamp,
            "Wechatpay-Nonce": serial,
            "Wechatpay-Serial": "PLAT",
            "Wechatpay-Signature": signed(f"{stamp}\n{serial}\n".encode() + body + b"\n"),
        }

    # -- Alipay --------------------------------------------------------------------------------------------------

    def alipay(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        fields = dict(parse_qsl(body.decode()))
        sign = fields.pop("sign", "")
        text = "&".join(f"{name}={fields[name]}" for name in sorted(fields) if fields[name])
        if not good(text.encode(), sign) or fields.get("app_id") != "2021000000000001":
            self.wrong.append("alipay signature")
            inner: dict[str, Any] = {"code": "40002", "msg": "Invalid Arguments", "sub_code": "isv.invalid-signature"}
        else:
            inner = self._alipay(fields["method"], json.loads(fields["biz_content"]))
        node = json.dumps(inner, ensure_ascii=False)
        name = fields.get("method", "error").replace(".", "_") + "_response"
        out = f'{{"{name}":{node},"sign":"{signed(node.encode())}"}}'.encode()
        return 200, {"Content-Type": "text/html;charset=utf-8"}, out

    def _alipay(self, method: str, content: dict[str, Any]) -> dict[str, Any]:
        done = {"code": "10000", "msg": "Success"}
        number = content["out_trade_no"]
        if method == "alipay.trade.precreate":
            if not isinstance(content["total_amount"], str):
                return {"code": "40004", "msg": "Business Failed", "sub_code": "ACQ.INVALID_PARAMETER"}
            self.orders[number] = {"body": content, "state": "WAIT_BUYER_PAY"}
            return {**done, "out_trade_no": number, "qr_code": "https://qr.alipay.example/x"}
        if number not in self.orders:
            return {
                "code": "40004",
                "msg": "Business Failed",
                "sub_code": "ACQ.TRADE_NOT_EXIST",
                "sub_msg": "交易不存在",
            }
        if method == "alipay.trade.query":
            order = self.orders[number]
            return {
                **done,
                "out_trade_no": number,
                "trade_status": order["state"],
                "total_amount": order["body"]["total_amount"],
            }
        if method == "alipay.trade.refund":
            self.refunds[content["out_request_no"]] = content
            return {**done, "out_trade_no": number, "trade_no": "2026", "refund_fee": content["refund_amount"]}
        return {**done, "out_trade_no": number}


def keep_secrets(folder: Path) -> None:
    """The files the settings below name."""
    for name, value in {
        "token": TOKEN,
        "private": pem(OURS),
        "platform": public_pem(THEIRS),
        "api_key": API_KEY,
    }.items():
        (folder / name).write_text(value)
        (folder / name).chmod(0o600)


def wechat_settings(url: str) -> dict[str, Any]:
    return {
        "base_url": url,
        "appid": "wx0000000000000001",
        "mchid": "1900000001",
        "serial": "OURS",
        "private_key": "file:../private",
        "platform_serial": "PLAT",
        "platform_key": "file:../platform",
        "api_key": "file:../api_key",
        "notify_url": "https://hospital.example/wechat/notify",
        "notify_port": 0,
    }


def alipay_settings(url: str) -> dict[str, Any]:
    return {
        "gateway": f"{url}/gateway.do",
        "app_id": "2021000000000001",
        "private_key": "file:../private",
        "alipay_key": "file:../platform",
        "notify_url": "https://hospital.example/alipay/notify",
        "notify_port": 0,
    }


def make_site(folder: Path, platform: Platform, results: str) -> Path:
    (folder / "config").mkdir(parents=True)
    keep_secrets(folder)
    quick = {"retry": {"attempts": 3, "interval": "20ms"}, "breaker": {"failures": 1000}}
    out = {
        "wechat": ("native", "query", "close", "refund", "refund_query"),
        "alipay": ("precreate", "query", "close", "refund", "refund_query"),
    }
    config = {
        "plugins": [str(ROOT / "plugins" / "payment")],
        "mappings": [str(ROOT / "mappings")],
        "schemas": [str(ROOT / "schemas")],
        "watch": False,
        "store": {"path": "../var", "min_free_disk": 0},
        "admin": {"port": 0},
        "systems": {
            "desk": {
                "plugin": "payment_desk",
                "settings": {"port": 0, "token": "file:../token", "result_url": results},
                "interfaces": {"result": quick},
            },
            "wechat": {
                "plugin": "wechat_pay",
                "settings": wechat_settings(platform.url),
                "interfaces": {"jsapi": "off", **dict.fromkeys(out["wechat"], quick)},
            },
            "alipay": {
                "plugin": "alipay",
                "settings": alipay_settings(platform.url),
                "interfaces": dict.fromkeys(out["alipay"], quick),
            },
        },
        "routes": {
            "wechat_commands": {
                "from": "desk",
                "types": ["payment.*.wechat"],
                "to": [f"wechat/{name}" for name in out["wechat"]],
            },
            "alipay_commands": {
                "from": "desk",
                "types": ["payment.*.alipay"],
                "to": [f"alipay/{name}" for name in out["alipay"]],
            },
            "results": {"from": ["wechat", "alipay"], "to": "desk/result"},
        },
    }
    file = folder / "config" / "hub.yaml"
    file.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    return file


class Site:
    def __init__(self, hub: HubProcess, platform: Platform, results: Sink) -> None:
        self.hub, self.platform, self.results = hub, platform, results

    def command(self, number: str, channel: str, action: str, **more: Any) -> tuple[int, dict[str, Any]]:
        body = {"requestId": number, "channel": channel, "action": action, "orderNumber": "GH202601150001", **more}
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        return self.post("desk/command", "/payment/v1/commands", json.dumps(body).encode(), headers)

    def post(self, place: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        url = f"http://127.0.0.1:{self.hub.port(place)}{path}"
        request = urllib.request.Request(url, body, headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                raw = answer.read()
                status = answer.status
        except urllib.error.HTTPError as error:
            raw, status = error.read(), error.code
        try:
            return status, json.loads(raw) if raw else None
        except ValueError:
            return status, raw.decode()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    platform, results = Platform(), Sink()
    file = make_site(tmp_path_factory.mktemp("payments"), platform, results.url)
    with HubProcess(file) as hub:
        yield Site(hub, platform, results)
    platform.close()
    results.close()


@pytest.fixture(autouse=True)
def _fresh(site: Site) -> Iterator[None]:
    platform = site.platform
    for kept in (platform.orders, platform.refunds, platform.calls, platform.wrong, platform.fail_next):
        kept.clear()
    yield
    platform.unsigned = False


ORDER = {"description": "门诊挂号费", "amountFen": 1250}


def test_an_order_is_made_asked_for_and_closed_with_wechat(site: Site) -> None:
    assert site.command("w1", "wechat", "create", **ORDER) == (200, {"qrCode": "weixin://x"})
    assert site.platform.orders["GH202601150001"]["body"]["amount"] == {"total": 1250, "currency": "CNY"}
    status, answer = site.command("w2", "wechat", "query")
    assert (status, answer["state"], answer["amountFen"]) == (200, "waiting", 1250)
    assert site.command("w3", "wechat", "close") == (200, {})
    assert site.command("w4", "wechat", "query")[1]["state"] == "closed"
    assert site.platform.wrong == []


def test_the_same_request_again_does_not_ask_the_channel_twice(site: Site) -> None:
    first = site.command("w5", "wechat", "create", **ORDER)
    assert site.command("w5", "wechat", "create", **ORDER) == first
    assert site.platform.calls == ["POST /v3/pay/transactions/native"]


def test_a_refund_is_told_in_fen_and_tried_again_under_its_own_number(site: Site) -> None:
    site.command("w6", "wechat", "create", **ORDER)
    site.platform.fail_next = [(500, "SYSTEM_ERROR"), (429, "FREQUENCY_LIMITED")]
    status, answer = site.command(
        "w7", "wechat", "refund", refundNumber="TK1", amountFen=1250, refundFen=1250, reason="退号"
    )
    assert (status, answer["refundState"], answer["refundFen"]) == (200, "under_way", 1250)
    assert site.platform.calls.count("POST /v3/refund/domestic/refunds") == 3
    assert list(site.platform.refunds) == ["TK1"]


def test_a_refusal_of_the_channel_reaches_the_business_system_in_its_words(site: Site) -> None:
    site.command("w8", "wechat", "create", **ORDER)
    status, answer = site.command("w9", "wechat", "create", description="门诊挂号费", amountFen=9900)
    assert 400 <= status < 500
    assert answer == {"code": "OUT_TRADE_NO_USED", "message": "商户订单号重复"}


def test_a_reply_nobody_signed_is_not_believed(site: Site) -> None:
    site.platform.unsigned = True
    status, _ = site.command("w10", "wechat", "query")
    assert status >= 500


def test_wrong_commands_are_refused_before_anything_is_asked(site: Site) -> None:
    for number, more in (
        ("x1", {"amountFen": 12.5, "description": "x"}),
        ("x2", {"amountFen": 0, "description": "x"}),
        ("x3", {"description": "x"}),
    ):
        assert site.command(number, "wechat", "create", **more)[0] == 422
    assert site.platform.calls == []


def test_alipay_gets_yuan_and_answers_in_fen(site: Site) -> None:
    status, answer = site.command("a1", "alipay", "create", **ORDER)
    assert (status, answer["qrCode"]) == (200, "https://qr.alipay.example/x")
    assert site.platform.orders["GH202601150001"]["body"]["total_amount"] == "12.50"
    status, answer = site.command("a2", "alipay", "query")
    assert (answer["state"], answer["amountFen"]) == ("waiting", 1250)
    status, answer = site.command(
        "a3", "alipay", "refund", refundNumber="TK2", amountFen=1250, refundFen=5, reason="退差"
    )
    assert (status, answer["refundFen"]) == (200, 5)
    assert site.platform.refunds["TK2"]["refund_amount"] == "0.05"
    assert site.platform.wrong == []


def test_a_business_refusal_of_alipay(site: Site) -> None:
    status, answer = site.command("a4", "alipay", "query")
    assert 400 <= status < 500
    assert answer == {"code": "ACQ.TRADE_NOT_EXIST", "message": "交易不存在"}


def test_a_notification_of_wechat_counts_once_and_is_told_to_the_business_system(site: Site) -> None:
    resource = {
        "out_trade_no": "GH9",
        "transaction_id": "4200",
        "trade_state": "SUCCESS",
        "amount": {"total": 1250, "currency": "CNY"},
    }
    before = len(site.results.bodies)
    for _ in range(3):  # the platform repeats until it is sure; each time signed anew
        body, headers = site.platform.notification("EV-1", resource)
        assert site.post("wechat/notify", "/wechat/notify", body, headers)[0] == 204
    wait_for(lambda: len(site.results.bodies) > before, "the result")
    site.hub.settled()
    told = [body for _, body in site.results.bodies[before:]]
    assert told == [
        {
            "channel": "wechat",
            "notificationId": "EV-1",
            "orderNumber": "GH9",
            "transactionNumber": "4200",
            "state": "paid",
            "amountFen": 1250,
        }
    ]


def test_forged_notifications_are_refused(site: Site) -> None:
    before = len(site.results.bodies)
    body, headers = site.platform.notification("EV-2", {"out_trade_no": "GH8"})
    forged = body.replace(b"EV-2", b"EV-3")
    status, answer = site.post("wechat/notify", "/wechat/notify", forged, headers)
    assert (status, answer["code"]) == (401, "FAIL")
    probe = {**headers, "Wechatpay-Signature": "WECHATPAY/SIGNTEST/" + headers["Wechatpay-Signature"]}
    assert site.post("wechat/notify", "/wechat/notify", body, probe)[0] == 401
    other_key, headers = site.platform.notification("EV-4", {"out_trade_no": "GH8"}, key="x" * 32)
    assert site.post("wechat/notify", "/wechat/notify", other_key, headers)[0] == 400
    fields = "app_id=2021000000000001&trade_status=TRADE_SUCCESS&out_trade_no=GH8&notify_id=n1&sign_type=RSA2&sign=QUFB"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert site.post("alipay/notify", "/alipay/notify", fields.encode(), form) == (401, "fail")
    site.hub.settled()
    assert len(site.results.bodies) == before


def test_a_notification_of_alipay_is_answered_with_seven_letters(site: Site) -> None:
    fields = {
        "app_id": "2021000000000001",
        "notify_id": "n2",
        "out_trade_no": "GH7",
        "trade_no": "2026",
        "trade_status": "TRADE_SUCCESS",
        "total_amount": "12.50",
        "charset": "utf-8",
    }
    text = "&".join(f"{name}={fields[name]}" for name in sorted(fields))
    form = urllib.parse.urlencode({**fields, "sign": signed(text.encode()), "sign_type": "RSA2"})
    before = len(site.results.bodies)
    kind = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    assert site.post("alipay/notify", "/alipay/notify", form.encode(), kind) == (200, "success")
    wait_for(lambda: len(site.results.bodies) > before, "the result")
    told = site.results.bodies[-1][1]
    assert (told["channel"], told["state"], told["amountFen"]) == ("alipay", "paid", 1250)
