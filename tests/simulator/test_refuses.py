"""What the real party would refuse is refused: calls made by hand, with keys and ciphers that are not the hub's."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from hub.simulator import Simulator
from tests.plugins.freight_support import sm2_pair, sm2_seal, sm4_ecb
from tests.simulator.simulator_support import ROOT, Played, played, post

# -- WeChat Pay ----------------------------------------------------------------------------------------------------------

ORDER = {
    "appid": "wx1",
    "mchid": "",
    "description": "门诊挂号费",
    "out_trade_no": "GH1",
    "notify_url": "https://hospital.example/notify",
    "amount": {"total": 1250, "currency": "CNY"},
}


class Merchant:
    """Signs as the public description of API v3 says, and checks what is answered."""

    def __init__(self, simulator: Simulator) -> None:
        self.settings = simulator.settings
        self.key: Any = serialization.load_pem_private_key(self.settings["private_key"].encode(), None)
        self.platform: Any = serialization.load_pem_public_key(self.settings["platform_key"].encode())
        self.order = {**ORDER, "mchid": self.settings["mchid"], "out_trade_no": secrets.token_hex(8)}

    def head(
        self, method: str, target: str, body: bytes, *, key: Any = None, stamp: int = 0, serial: str = ""
    ) -> dict[str, str]:
        stamp, nonce = stamp or int(time.time()), secrets.token_hex(16)
        text = f"{method}\n{target}\n{stamp}\n{nonce}\n".encode() + body + b"\n"
        signature = base64.b64encode((key or self.key).sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()
        return {
            "Authorization": f'WECHATPAY2-SHA256-RSA2048 mchid="{self.settings["mchid"]}",nonce_str="{nonce}",'
            f'signature="{signature}",timestamp="{stamp}",serial_no="{serial or self.settings["serial"]}"'
        }

    def call(self, method: str, target: str, tree: Any = None, **wrong: Any) -> tuple[int, Any]:
        body = json.dumps(tree).encode() if tree is not None else b""
        head = self.head(method, target, body, **wrong)
        return self.sent(method, target, body, head)

    def sent(self, method: str, target: str, body: bytes, head: dict[str, str]) -> tuple[int, Any]:
        status, headers, answer = post(self.settings["base_url"] + target, body or None, head, method)
        text = f"{headers['wechatpay-timestamp']}\n{headers['wechatpay-nonce']}\n".encode() + answer + b"\n"
        signature = base64.b64decode(headers["wechatpay-signature"])
        self.platform.verify(signature, text, padding.PKCS1v15(), hashes.SHA256())
        return status, json.loads(answer) if answer else None


@pytest.fixture(scope="module")
def wechat() -> Iterator[Simulator]:
    with played() as party:
        yield party.start("wechat_pay")


@pytest.fixture
def merchant(wechat: Simulator) -> Merchant:
    return Merchant(wechat)


NATIVE = "/v3/pay/transactions/native"


def test_a_well_signed_order_is_taken(merchant: Merchant) -> None:
    status, answer = merchant.call("POST", NATIVE, merchant.order)
    assert status == 200
    assert answer["code_url"].startswith("weixin://")


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": rsa.generate_private_key(65537, 2048)},
        {"stamp": int(time.time()) - 3600},
        {"serial": "ANOTHER"},
    ],
    ids=["another key", "an hour ago", "another certificate"],
)
def test_a_wrong_signature_is_refused(merchant: Merchant, wrong: dict[str, Any]) -> None:
    status, answer = merchant.call("POST", NATIVE, merchant.order, **wrong)
    assert (status, answer["code"]) == (401, "SIGN_ERROR")


def test_an_altered_body_is_refused(merchant: Merchant) -> None:
    body = json.dumps(merchant.order).encode()
    head = merchant.head("POST", NATIVE, body)
    status, answer = merchant.sent("POST", NATIVE, body.replace(b"1250", b"1"), head)
    assert (status, answer["code"]) == (401, "SIGN_ERROR")


def test_the_same_signed_call_again_is_a_replay(merchant: Merchant) -> None:
    body = json.dumps(merchant.order).encode()
    head = merchant.head("POST", NATIVE, body)
    assert merchant.sent("POST", NATIVE, body, head)[0] == 200
    assert merchant.sent("POST", NATIVE, body, head)[0] == 401


def test_an_unsigned_call_is_refused(merchant: Merchant) -> None:
    assert merchant.sent("POST", NATIVE, json.dumps(merchant.order).encode(), {})[0] == 401


def test_what_the_mapping_always_writes_must_be_there(merchant: Merchant) -> None:
    del merchant.order["out_trade_no"]
    status, answer = merchant.call("POST", NATIVE, merchant.order)
    assert (status, answer["code"]) == (400, "PARAM_ERROR")


# -- Alipay --------------------------------------------------------------------------------------------------------------


def alipay(
    settings: dict[str, Any], method: str, content: dict[str, Any], change: Callable[[dict[str, str]], None]
) -> Any:
    fields = {
        "app_id": settings["app_id"],
        "method": method,
        "format": "JSON",
        "charset": "utf-8",
        "sign_type": "RSA2",
        "timestamp": "2026-01-15 10:00:00",
        "version": "1.0",
        "biz_content": json.dumps(content),
    }
    key: Any = serialization.load_pem_private_key(settings["private_key"].encode(), None)
    text = "&".join(f"{name}={fields[name]}" for name in sorted(fields)).encode()
    fields["sign"] = base64.b64encode(key.sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()
    change(fields)
    form = {"Content-Type": "application/x-www-form-urlencoded;charset=utf-8"}
    _, _, answer = post(f"{settings['gateway']}?charset=utf-8", urllib.parse.urlencode(fields).encode(), form)
    name = method.replace(".", "_") + "_response"
    node = answer[len(name) + 4 : answer.rindex(b',"sign"')]
    platform: Any = serialization.load_pem_public_key(settings["alipay_key"].encode())
    signature = base64.b64decode(json.loads(answer)["sign"])
    platform.verify(signature, node, padding.PKCS1v15(), hashes.SHA256())
    return json.loads(node)


def test_alipay_takes_what_is_signed_and_nothing_else(party: Played) -> None:
    simulator = party.start("alipay")
    order = {"out_trade_no": "GH1", "total_amount": "12.50", "subject": "挂号"}

    def call(method: str, content: dict[str, Any], **changes: str) -> Any:
        return alipay(simulator.settings, method, content, lambda fields: fields.update(changes))

    assert (
        call("alipay.trade.precreate", order, biz_content=json.dumps({**order, "total_amount": "0.01"}))["code"]
        == "40002"
    )
    assert call("alipay.trade.precreate", order, app_id="2021999")["code"] == "40002"
    assert call("alipay.trade.precreate", order)["code"] == "10000"
    unknown = call("alipay.trade.query", {"out_trade_no": "GH2"})
    assert (unknown["code"], unknown["sub_code"]) == ("40004", "ACQ.TRADE_NOT_EXIST")
    assert [call.interface for call in simulator.calls[-2:]] == ["precreate", "query"]


# -- freight: token, digital envelope ------------------------------------------------------------------------------------


class Operator:
    """Seals with SM2 in plain integers and SM4 of another library."""

    def __init__(self, simulator: Simulator) -> None:
        self.settings = simulator.settings
        self.document = json.loads((ROOT / "plugins/freight/freight_exchange/examples/waybill.json").read_text("utf-8"))

    def login(self, password: str = "") -> Any:
        account = {"userName": self.settings["user"], "passWord": password or self.settings["password"]}
        return json.loads(post(self.settings["base_url"] + "/wlhy/token", account)[2])

    def send(self, token: str, *, public: str = "", key: bytes = b"0123456789abcdef", body: Any = None) -> Any:
        root = json.loads(json.dumps(self.document["root"]))
        plain = json.dumps(body if body is not None else root["body"]).encode()
        sealed = sm2_seal(public or self.settings["platform_key"], b"0123456789abcdef", "c1c2c3")
        root["header"]["token"] = token
        root["body"] = {
            "encryptedCode": sealed.hex(),
            "encryptedContent": base64.b64encode(sm4_ecb(key, plain, seal=True)).decode(),
        }
        return json.loads(post(self.settings["base_url"] + "/wlhy/send", {"root": root})[2])


def test_a_document_is_taken_once_and_only_with_token_key_and_fields(party: Played) -> None:
    operator = Operator(party.start("freight_exchange"))
    assert operator.login("another")["code"] != 1001
    token = operator.login()["data"]
    assert operator.send("no token")["code"] == 2001
    assert operator.send(token, public=sm2_pair()[1])["code"] == 3006
    assert operator.send(token, key=b"another key here")["code"] == 3006
    lacking = {name: value for name, value in operator.document["root"]["body"].items() if name != "shippingNoteNumber"}
    assert operator.send(token, body=lacking)["code"] == 3005
    assert operator.send(token)["code"] == 1001
    assert operator.send(token)["code"] == 3001


def test_an_unknown_kind_of_document_is_refused(party: Played) -> None:
    operator = Operator(party.start("freight_exchange"))
    operator.document["root"]["header"]["ipcType"] = "WLHY_XX1001"
    assert operator.send(operator.login()["data"])["code"] in (3002, 3005)


def test_a_token_that_was_ended_is_no_longer_good(party: Played) -> None:
    simulator = party.start("freight_ministry")
    url = simulator.settings["base_url"] + "/wlhy/v2/documents"
    body = (ROOT / "plugins/freight/freight_ministry/examples/waybill_wlhy_yd1001.json").read_bytes()
    assert post(url, body, {"Authorization": "Bearer wrong"})[0] in (200, 401)
    assert simulator.calls[-1].verdict == "refused"
    status, _, answer = post(url, body, {"Authorization": f"Bearer {simulator.settings['token']}"})
    assert (status, json.loads(answer)["code"]) == (200, 1001)


# -- medical insurance, cloud SMS, API key -------------------------------------------------------------------------------


def test_an_unknown_transaction_and_a_missing_field_are_refused(party: Played) -> None:
    simulator = party.start("medical_insurance")
    request = json.loads((ROOT / "plugins/insurance/medical_insurance/examples/1101.json").read_text("utf-8"))

    def call(**changes: Any) -> Any:
        tree = {name: value for name, value in {**request, **changes}.items() if value is not None}
        return json.loads(post(simulator.settings["base_url"], tree)[2])["infcode"]

    assert call() == 0
    assert call(infno="8888") == -1
    assert call(msgid=None) == -1
    assert call(input={}) == -1
    assert [one.verdict for one in simulator.calls] == ["accepted", "refused", "refused", "refused"]


def test_aliyuns_signature_is_computed_anew(party: Played) -> None:
    settings = party.start("aliyun_sms").settings
    body = urllib.parse.urlencode(
        {"PhoneNumbers": "13900000000", "SignName": "医院", "TemplateCode": "SMS_1", "TemplateParam": "{}"}
    ).encode()

    def call(secret: str, sent: bytes) -> Any:
        host = settings["endpoint"].removeprefix("http://")
        headers = {
            "host": host,
            "x-acs-action": "SendSms",
            "x-acs-content-sha256": hashlib.sha256(body).hexdigest(),
            "x-acs-date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "x-acs-signature-nonce": secrets.token_hex(16),
            "x-acs-version": "2017-05-25",
        }
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        canonical = f"POST\n/\n\n{lines}\n{names}\n{headers['x-acs-content-sha256']}"
        text = "ACS3-HMAC-SHA256\n" + hashlib.sha256(canonical.encode()).hexdigest()
        signature = hmac.digest(secret.encode(), text.encode(), "sha256").hex()
        headers["Authorization"] = (
            f"ACS3-HMAC-SHA256 Credential={settings['access_key']},SignedHeaders={names},Signature={signature}"
        )
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        return json.loads(post(settings["endpoint"] + "/", sent, headers)[2])["Code"]

    assert call(settings["access_secret"], body) == "OK"
    assert call("another secret", body) == "SignatureDoesNotMatch"
    assert call(settings["access_secret"], body + b"&x=1") == "SignatureDoesNotMatch"


def test_a_wrong_api_key_is_refused(party: Played) -> None:
    simulator = party.start("sms_gateway")
    url = simulator.settings["base_url"] + "/sms/v1/messages"
    body = {"phone": "13900000000", "signature": "样例医院", "text": "您好"}
    assert json.loads(post(url, body, {"X-Api-Key": simulator.settings["api_key"]})[2])["code"] == "OK"
    assert json.loads(post(url, body, {"X-Api-Key": "wrong"})[2])["code"] != "OK"
    assert json.loads(post(url, body)[2])["code"] != "OK"
    assert json.loads(post(url, b"no json", {"X-Api-Key": simulator.settings["api_key"]})[2])["code"] != "OK"
    assert post(simulator.settings["base_url"] + "/elsewhere", body)[0] == 404


def test_tencents_signature_has_no_nonce_so_the_same_call_again_is_taken(party: Played) -> None:
    settings = party.start("tencent_sms").settings
    body = json.dumps(
        {
            "PhoneNumberSet": ["+8613900000000"],
            "SmsSdkAppId": settings["app_id"],
            "SignName": "医院",
            "TemplateId": "1",
            "TemplateParamSet": ["1"],
        }
    ).encode()

    def call(secret: str, stamp: int) -> Any:
        host, date = settings["endpoint"].removeprefix("http://"), time.strftime("%Y-%m-%d", time.gmtime(stamp))
        kind = "application/json; charset=utf-8"
        canonical = (
            f"POST\n/\n\ncontent-type:{kind}\nhost:{host}\n\ncontent-type;host\n{hashlib.sha256(body).hexdigest()}"
        )
        scope = f"{date}/sms/tc3_request"
        text = f"TC3-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = b"TC3" + secret.encode()
        for part in (date, "sms", "tc3_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        headers = {
            "Authorization": f"TC3-HMAC-SHA256 Credential={settings['secret_id']}/{scope}, "
            f"SignedHeaders=content-type;host, Signature={hmac.digest(key, text.encode(), 'sha256').hex()}",
            "Content-Type": kind,
            "Host": host,
            "X-TC-Action": "SendSms",
            "X-TC-Timestamp": str(stamp),
            "X-TC-Version": "2021-01-11",
        }
        answer = json.loads(post(settings["endpoint"] + "/", body, headers)[2])["Response"]
        return answer["Error"]["Code"] if "Error" in answer else answer["SendStatusSet"][0]["Code"]

    now = int(time.time())
    assert call(settings["secret_key"], now) == "Ok"
    assert call(settings["secret_key"], now) == "Ok"
    assert call("another", now) == "AuthFailure.SignatureFailure"
    assert call(settings["secret_key"], now - 3600) == "AuthFailure.SignatureFailure"
