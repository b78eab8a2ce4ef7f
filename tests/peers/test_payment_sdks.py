"""Signatures of the payment plugins, as their contracts declare them, compared with those of SDKs others wrote for merchants.

The signatures are deterministic: the same call at the same time has the same one. What a platform would say is signed by the SDKs too.
"""

from __future__ import annotations

import base64
import json
import time
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hub.api import TransientError
from hub.registry import Registry
from hub.security import Refused, Wire
from hub.security.protection import Protection
from tests.kernel.process import ROOT
from tests.peers.process import need_module
from tests.peers.protections import protection

wechat = need_module("wechatpayv3.utils", "wechatpayv3")
alipay = need_module("alipay", "python-alipay-sdk")

JSON = {"content-type": "application/json"}
API_KEY = "k" * 32
OURS, THEIRS = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)
pytestmark = pytest.mark.peers


def private(key: rsa.RSAPrivateKey, form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8) -> str:
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def public(key: rsa.RSAPrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def declared(plugin: str, interface: str, settings: dict[str, str]) -> Protection:
    registry = Registry.discover([ROOT / "plugins"])
    return protection(registry, registry.plugins[plugin].contract.interfaces[interface], settings)


WECHAT = {
    "mchid": "1900000001",
    "serial": "OURS",
    "private_key": private(OURS),
    "platform_serial": "PUB_KEY_ID_1",
    "platform_key": public(THEIRS),
    "api_key": API_KEY,
}
ALIPAY = {
    "app_id": "2021000000000001",
    "private_key": private(OURS),
    "alipay_key": public(THEIRS),
    "sign_type": "RSA2",
    "notify_url": "https://hospital.example/alipay/notify",
}


def parts(authorization: str) -> dict[str, str]:
    kind, _, rest = authorization.partition(" ")
    return {"kind": kind} | {name: value.strip('"') for name, value in (part.split("=", 1) for part in rest.split(","))}


@pytest.mark.parametrize(
    ("interface", "method", "target", "body"),
    [
        ("native", "POST", "/v3/pay/transactions/native", '{"description":"挂号","amount":{"total":1}}'),
        ("query", "GET", "/v3/pay/transactions/out-trade-no/GH1?mchid=1900000001", ""),
        ("refund", "POST", "/v3/refund/domestic/refunds", '{"out_refund_no":"TK1"}'),
    ],
)
async def test_wechats_request(
    interface: str, method: str, target: str, body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = Wire(body.encode(), dict(JSON), method, target, "api.mch.weixin.qq.com")
    await declared("wechat_pay", interface, WECHAT).seal_request(wire)
    ours = parts(wire.headers["authorization"])
    monkeypatch.setattr(wechat.time, "time", lambda: int(ours["timestamp"]))
    key = wechat.load_private_key(private(OURS))
    theirs = wechat.build_authorization(target, method, "1900000001", "OURS", key, body, ours["nonce_str"])
    assert ours == parts(theirs)


def said_by_wechat(body: bytes) -> dict[str, str]:
    stamp, nonce = str(int(time.time())), "n" * 32
    signature = wechat.rsa_sign(wechat.load_private_key(private(THEIRS)), f"{stamp}\n{nonce}\n{body.decode()}\n")
    return {
        "wechatpay-timestamp": stamp,
        "wechatpay-nonce": nonce,
        "wechatpay-serial": "PUB_KEY_ID_1",
        "wechatpay-signature": signature,
    }


async def test_wechats_reply() -> None:
    body = b'{"code_url":"weixin://wxpay/1"}'
    headers = said_by_wechat(body)
    merchant = declared("wechat_pay", "native", WECHAT)
    await merchant.open_reply(Wire(body, dict(headers), "POST", "/v3/pay/transactions/native", status=200))
    with pytest.raises(TransientError):
        await merchant.open_reply(Wire(body + b" ", headers, "POST", "/v3/pay/transactions/native", status=200))


async def test_wechats_notification() -> None:
    resource = {"out_trade_no": "GH1", "trade_state": "SUCCESS", "amount": {"total": 1}}
    nonce, about = "abcdefghijkl", "transaction"
    sealed = AESGCM(API_KEY.encode()).encrypt(nonce.encode(), json.dumps(resource).encode(), about.encode())
    ciphertext = base64.b64encode(sealed).decode()
    assert json.loads(wechat.aes_decrypt(nonce, ciphertext, about, API_KEY)) == resource
    envelope = {
        "algorithm": "AEAD_AES_256_GCM", "ciphertext": ciphertext, "nonce": nonce, "associated_data": about, "original_type": about,
    }  # fmt: skip
    body = json.dumps({"id": "EV-1", "event_type": "TRANSACTION.SUCCESS", "resource": envelope}).encode()
    wire = Wire(body, JSON | said_by_wechat(body), "POST", "/wechat/notify", "hospital.example")
    merchant = declared("wechat_pay", "notify", WECHAT)
    await merchant.open_request(wire)
    assert json.loads(wire.body)["resource"] == resource
    with pytest.raises(Refused):
        await merchant.open_request(Wire(body + b" ", JSON | said_by_wechat(body + b"\n"), "POST", "/wechat/notify"))


def merchant_sdk(key: rsa.RSAPrivateKey) -> Any:
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return alipay.AliPay(ALIPAY["app_id"], None, private(key, form), public(THEIRS), sign_type="RSA2")


@pytest.mark.parametrize("interface", ["precreate", "query", "close", "refund", "refund_query", "bill_request"])
async def test_alipays_request(interface: str) -> None:
    body = json.dumps({"out_trade_no": "GH1", "subject": "挂号 + 费 = 1 & 2"}, ensure_ascii=False).encode()
    wire = Wire(body, dict(JSON), "POST", "/gateway.do?charset=utf-8", "openapi.alipay.com")
    await declared("alipay", interface, ALIPAY).seal_request(wire)
    ours = dict(parse_qsl(wire.body.decode(), strict_parsing=True))
    theirs = dict(parse_qsl(merchant_sdk(OURS).sign_data({k: v for k, v in ours.items() if k != "sign"})))
    assert ours == theirs


async def test_alipays_notification() -> None:
    told = {
        "notify_id": "n1", "app_id": ALIPAY["app_id"], "out_trade_no": "GH1", "trade_status": "TRADE_SUCCESS", "subject": "a+b=c&d 费",
    }  # fmt: skip
    signed = dict(parse_qsl(merchant_sdk(THEIRS).sign_data(told))) | {"sign_type": "RSA2"}
    form = {"content-type": "application/x-www-form-urlencoded"}
    wire = Wire(urlencode(signed).encode(), dict(form), "POST", "/alipay/notify", "hospital.example")
    merchant = declared("alipay", "notify", ALIPAY)
    await merchant.open_request(wire)
    assert json.loads(wire.body) | told == json.loads(wire.body)
    forged = Wire(urlencode(signed | {"out_trade_no": "GH2"}).encode(), dict(form), "POST", "/alipay/notify")
    with pytest.raises(Refused):
        await merchant.open_request(forged)
