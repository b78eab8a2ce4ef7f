"""The schemes of named platforms: their published vectors, both parts of each, and what must be refused."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import orjson
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hub.crypto import provider
from hub.errors import HubError
from hub.security import Opening, Refused, Scheme, Wire
from hub.security.load import BUILT_IN, scheme_class
from hub.security.schemes import cloud
from hub.security.schemes.health import TencentHealthCard

NOW = 1_764_300_000.0
JSON = {"content-type": "application/json"}


def rsa_pair() -> tuple[rsa.RSAPrivateKey, str, str]:
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key, private.decode(), public.decode()


OUR_RSA, OUR_PRIVATE, OUR_PUBLIC = rsa_pair()
THEIR_RSA, THEIR_PRIVATE, THEIR_PUBLIC = rsa_pair()
OUR_SM2, THEIR_SM2 = provider().sm2_generate(), provider().sm2_generate()


def make(name: str, clock: Callable[[], float] = lambda: NOW, **options: Any) -> Scheme:
    kind = scheme_class(name, {})
    assert kind is not None
    checked = kind.options.model_validate(options)
    try:
        return kind(checked, clock)  # type: ignore[call-arg]
    except TypeError:
        return kind(checked)


def opened(scheme: Scheme, wire: Wire) -> Opening:
    opening = Opening()
    scheme.open_request(wire, opening)
    return opening


def code_of(scheme: Scheme, wire: Wire) -> str:
    with pytest.raises(HubError) as caught:
        opened(scheme, wire)
    return caught.value.code


def post(body: Any, target: str = "/api/x?b=2&a=1", headers: dict[str, str] | None = None) -> Wire:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return Wire(raw, dict(headers or JSON), "POST", target, "platform.example")


SM2_MERCHANT = {"private": OUR_SM2.secret().hex()}
#: name -> (options of the one who calls, options of the one who is called, a body)
BOTH_SIDES: dict[str, tuple[dict[str, Any], dict[str, Any], Any]] = {
    "x_tif": ({"paasid": "p1", "token": "t0k"}, {"paasid": "p1", "token": "t0k"}, {"infno": "1101"}),
    "hunan_insurance": ({"access_key": "ak", "secret": "sk"}, {"access_key": "ak", "secret": "sk"}, {"infno": "1101"}),
    "mobile_insurance": (
        {"app_id": "1FIAPP0000000001", "app_secret": "s" * 32, "private": OUR_SM2.secret().hex()},
        {"app_id": "1FIAPP0000000001", "app_secret": "s" * 32, "public": OUR_SM2.public.point.hex()},
        {"data": {"orgCodg": "H1", "b": {"d": 1, "c": "中"}}},
    ),
    "bosssoft": ({"appid": "A1", "key": "k3y"}, {"appid": "A1", "key": "k3y"}, {"busNo": "1", "payer": "测试"}),
    "health_card": (
        {"app_id": "A1", "app_secret": "0123456789abcdef", "term_id": "T"},
        {"app_id": "A1", "app_secret": "0123456789abcdef", "term_id": "T"},
        {"method": "ehc.ehealthcode.verify", "biz_content": {"ehealth_code": "1"}},
    ),
    "tencent_health_card": (
        {"app_secret": "s"},
        {"app_secret": "s"},
        {"commonIn": {"requestId": "R", "channelNum": 0}, "req": {"name": "测试", "empty": ""}},
    ),
    "logink": ({"key": "k", "secret": "s"}, {"key": "k", "secret": "s"}, {"vehicleNumber": "苏A12345"}),
    "sinoiov": ({"client_id": "c", "secret": "s"}, {"secret": "s"}, {"vclN": "苏A12345", "timeNearby": 1}),
    "aliyun_acs3": (
        {"access_key": "ak", "secret": "sk", "action": "SendSms", "version": "2017-05-25"},
        {"access_key": "ak", "secret": "sk"},
        {"PhoneNumbers": "1"},
    ),
    "tencent_tc3": (
        {"secret_id": "id", "secret": "sk", "service": "sms", "action": "SendSms"},
        {"secret_id": "id", "secret": "sk", "service": "sms"},
        {"PhoneNumberSet": ["+861"]},
    ),
    "wechat_pay": (
        {
            "mchid": "1900",
            "serial": "OURS",
            "private": OUR_PRIVATE,
            "others": [{"serial": "PLAT", "key": THEIR_PUBLIC}],
        },
        {
            "mchid": "1900",
            "serial": "PLAT",
            "private": THEIR_PRIVATE,
            "others": [{"serial": "OURS", "key": OUR_PUBLIC}],
            "role": "platform",
        },
        {"out_trade_no": "1", "amount": {"total": 1}},
    ),
    "alipay": (
        {"app_id": "2021", "private": OUR_PRIVATE, "public": THEIR_PUBLIC, "method": "alipay.trade.query"},
        {"app_id": "2021", "private": THEIR_PRIVATE, "public": OUR_PUBLIC, "role": "platform"},
        {"out_trade_no": "1", "subject": "挂号 + 费"},
    ),
    "unionpay": (
        {"cert_id": "68759663125", "private": OUR_PRIVATE, "public": THEIR_PUBLIC},
        {"cert_id": "1", "private": THEIR_PRIVATE, "public": OUR_PUBLIC},
        {"orderId": "20260101", "txnAmt": "100", "empty": ""},
    ),
}


def test_every_named_scheme_is_tested_here() -> None:
    elsewhere = {"as_form", "encryption", "login", "signature", "token"}
    assert set(BOTH_SIDES) == set(BUILT_IN) - elsewhere


@pytest.mark.parametrize("name", BOTH_SIDES)
def test_what_one_side_seals_the_other_opens(name: str) -> None:
    ours, theirs, body = BOTH_SIDES[name]
    wire = post(body)
    make(name, **ours).seal_request(wire)
    opened(make(name, **theirs), wire)


@pytest.mark.parametrize("name", BOTH_SIDES)
def test_an_altered_or_unsigned_call_is_refused(name: str) -> None:
    ours, theirs, body = BOTH_SIDES[name]
    wire = post(body)
    make(name, **ours).seal_request(wire)
    altered = Wire(wire.body.replace(b"1", b"2", 1), dict(wire.headers), wire.method, wire.target, wire.host)
    if altered.body != wire.body and name not in ("x_tif", "hunan_insurance"):  # whose signatures do not cover the body
        assert code_of(make(name, **theirs), altered).startswith(("security.", "crypto."))
    assert code_of(make(name, **theirs), post(body)).startswith("security.")


@pytest.mark.parametrize(
    "name",
    sorted(set(BOTH_SIDES) - {"bosssoft", "tencent_health_card", "sinoiov", "alipay", "unionpay"}),
)
def test_a_call_sent_twice_or_too_late_is_refused(name: str) -> None:
    """The others have no nonce or time: a repetition is recognised by the message's control id."""
    ours, theirs, body = BOTH_SIDES[name]
    wire = post(body)
    make(name, **ours).seal_request(wire)

    def copy() -> Wire:
        return Wire(wire.body, dict(wire.headers), wire.method, wire.target, wire.host)

    receiver = make(name, **theirs)
    opened(receiver, copy()).forget()
    opened(receiver, copy())
    assert code_of(receiver, copy()) == "security.replayed"
    assert code_of(make(name, lambda: NOW + 7200, **theirs), copy()) == "security.time"


@pytest.mark.parametrize("name", BOTH_SIDES)
@given(
    body=st.binary(max_size=200),
    extra=st.dictionaries(
        st.sampled_from(
            [
                "authorization",
                "x-tif-signature",
                "x-ca-signature",
                "x-ca-signature-headers",
                "wechatpay-signature",
                "content-type",
                "_api_signature",
            ]
        ),
        st.text(max_size=60),
        max_size=4,
    ),
)
@settings(max_examples=40, deadline=None)
def test_garbage_is_refused_and_nothing_else_happens(name: str, body: bytes, extra: dict[str, str]) -> None:
    _, theirs, _ = BOTH_SIDES[name]
    scheme = make(name, **theirs)
    for open_it in (
        lambda: opened(scheme, post(body, headers=extra)),
        lambda: scheme.open_reply(post(body, headers=extra)),
    ):
        with contextlib.suppress(HubError):
            open_it()
    if name != "x_tif":
        with pytest.raises(HubError):
            opened(scheme, post(body, headers=extra))


# -- vectors -------------------------------------------------------------------------------------------------------------


def test_aliyuns_published_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the description of the V3 signature: RunInstances, 2023-10-26."""
    monkeypatch.setattr(cloud.secrets, "token_hex", lambda size: "3156853299f313e23d1673dc12e1703d")
    at = datetime(2023, 10, 26, 10, 22, 32, tzinfo=UTC).timestamp()
    options = {"access_key": "YourAccessKeyId", "secret": "YourAccessKeySecret"}
    scheme = make("aliyun_acs3", lambda: at, **options, action="RunInstances", version="2014-05-26")
    query = "ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd&RegionId=cn-shanghai"
    wire = Wire(b"", {}, "POST", f"/?{query}", "ecs.cn-shanghai.aliyuncs.com")
    scheme.seal_request(wire)
    assert wire.headers["authorization"] == (
        "ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders=host;x-acs-action;x-acs-content-sha256;"
        "x-acs-date;x-acs-signature-nonce;x-acs-version,"
        "Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
    )


def test_tencent_clouds_published_example() -> None:
    """Of the description of TC3-HMAC-SHA256: DescribeInstances, 2019-02-25."""
    scheme = make(
        "tencent_tc3",
        lambda: 1551113065,
        secret_id="AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE",
        secret="Gu5t9xGARNpq86cd98joQYCN3EXAMPLE",
        service="cvm",
    )
    body = rb'{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}'
    headers = {"content-type": "application/json; charset=utf-8"}
    wire = Wire(body, headers, "POST", "/", "cvm.tencentcloudapi.com")
    scheme.seal_request(wire)
    assert wire.headers["authorization"] == (
        "TC3-HMAC-SHA256 Credential=AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE/2019-02-25/cvm/tc3_request, "
        "SignedHeaders=content-type;host, Signature=72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168"
    )


def test_the_tencent_health_cards_published_examples() -> None:
    common = {
        "appId": "a1a2e0bde41574ad8ea9a4bb58022oop",
        "hospitalId": "90003",
        "requestId": "DB4D975748A84309977EA25224C0F5CF",
        "timestamp": "1525392000",
    }
    first = make("tencent_health_card", app_secret="8c8e763f443ef983ac33aef1c7085cfb")
    assert isinstance(first, TencentHealthCard)
    assert first.signature({"req": common}) == "TsccMUMTHfOiEovR2hMlRXcQqctRFmPbpPIZdxXCJ/o="
    assert len(base64.b64decode(first.signature({"req": common}))) == 32


def test_x_tif_by_hand() -> None:
    wire = post({})
    make("x_tif", paasid="p", token="tok", case="upper").seal_request(wire)
    stamp, nonce = wire.headers["x-tif-timestamp"], wire.headers["x-tif-nonce"]
    assert stamp == str(int(NOW))
    expected = hashlib.sha256(f"{stamp}tok{nonce}{stamp}".encode()).hexdigest().upper()
    assert wire.headers["x-tif-signature"] == expected


def test_hunan_by_hand() -> None:
    wire = post({"infno": "2201"})
    make("hunan_insurance", access_key="AK", secret="SK").seal_request(wire)
    stamp = wire.headers["_api_timestamp"]
    text = f"_api_access_key=AK&_api_name=2201&_api_timestamp={stamp}&_api_version=1.0.0"
    assert len(stamp) == 13
    assert wire.headers["_api_signature"] == base64.b64encode(hmac.digest(b"SK", text.encode(), "sha1")).decode()


def test_sinoiov_by_hand() -> None:
    wire = post({"vclN": "苏A12345", "timeNearby": "24"})
    make("sinoiov", client_id="cid1", secret="S").seal_request(wire)
    fields = dict(parse_qsl(wire.body.decode()))
    text = "cidcid1timeNearby24vclN苏A12345"
    assert fields["sign"] == hmac.digest(b"S", text.encode(), "sha1").hex().upper()


def test_bosssoft_by_hand_and_its_reply() -> None:
    scheme = make("bosssoft", appid="APP", key="KEY")
    wire = post({"busNo": "1"})
    scheme.seal_request(wire)
    sent = orjson.loads(wire.body)
    text = f"appid=APP&data={sent['data']}&noise={sent['noise']}&key=KEY&version=1.0"
    assert sent["sign"] == hashlib.md5(text.encode(), usedforsecurity=False).hexdigest().upper()
    assert base64.b64decode(sent["data"]) == b'{"busNo":"1"}'
    reply = Wire(orjson.dumps({"result": "S0000", "message": {"billNo": "42"}}))
    make("bosssoft", appid="APP", key="KEY").seal_reply(reply)
    assert b"billNo" not in reply.body
    scheme.open_reply(reply)
    assert orjson.loads(reply.body) == {"result": "S0000", "message": {"billNo": "42"}}
    refused = Wire(orjson.dumps({"result": "E0001", "message": "单号重复"}))
    make("bosssoft", appid="APP", key="KEY").seal_reply(refused)
    scheme.open_reply(refused)
    assert orjson.loads(refused.body)["message"] == "单号重复"


def test_the_health_card_digest_covers_the_content_before_it_is_encrypted() -> None:
    options = {"app_id": "A", "app_secret": "0123456789abcdef", "term_id": "T"}
    wire = post({"method": "m", "biz_content": {"id": "1"}})
    make("health_card", **options).seal_request(wire)
    sent = orjson.loads(wire.body)
    text = (
        f'app_id=A&biz_content={{"id":"1"}}&digest_type=SM3&enc_type=SM4&method=m&term_id=T'
        f"&timestamp={sent['timestamp']}&version=v1.0.0&app_secret=0123456789abcdef"
    )
    assert sent["digest"] == provider().sm3(text.encode()).hex()
    plain = provider().sm4_decrypt(b"0123456789abcdef", bytes.fromhex(sent["biz_content"]), mode="ecb")
    assert plain == b'{"id":"1"}'
    in_plain = {**sent, "biz_content": '{"id":"1"}', "enc_type": "plain"}
    assert code_of(make("health_card", **options), post(in_plain)) == "security.signature_wrong"


# -- payments ------------------------------------------------------------------------------------------------------------


def wechat(role: str, **more: Any) -> Scheme:
    ours, theirs, _ = BOTH_SIDES["wechat_pay"]
    return make("wechat_pay", **((ours if role == "merchant" else theirs) | {"api_key": "k" * 32} | more))


def test_wechats_request_signature_by_hand() -> None:
    wire = post({"a": "中"}, "/v3/pay/transactions/jsapi?x=1")
    wechat("merchant").seal_request(wire)
    kind, _, rest = wire.headers["authorization"].partition(" ")
    assert kind == "WECHATPAY2-SHA256-RSA2048"
    found = {name: value.strip('"') for name, value in (part.split("=", 1) for part in rest.split(","))}
    text = f'POST\n/v3/pay/transactions/jsapi?x=1\n{found["timestamp"]}\n{found["nonce_str"]}\n{{"a":"中"}}\n'
    OUR_RSA.public_key().verify(
        base64.b64decode(found["signature"]), text.encode(), padding.PKCS1v15(), hashes.SHA256()
    )
    assert (found["mchid"], found["serial_no"]) == ("1900", "OURS")


def test_wechats_replies_are_checked() -> None:
    reply = Wire(b'{"prepay_id":"1"}', {}, "POST", "/v3/pay/transactions/jsapi", status=200)
    wechat("platform").seal_reply(reply)
    wechat("merchant").open_reply(reply)
    reply.body = b'{"prepay_id":"2"}'
    with pytest.raises(Refused):
        wechat("merchant").open_reply(reply)
    with pytest.raises(Refused):
        wechat("merchant").open_reply(Wire(b"{}", {}, "POST", "/v3/pay/transactions/jsapi", status=200))
    wechat("merchant").open_reply(Wire(b"bill", {}, "GET", "/v3/billdownload/file?token=1", status=200))
    late = make("wechat_pay", lambda: NOW + 301, **BOTH_SIDES["wechat_pay"][0])
    reply.body = b'{"prepay_id":"1"}'
    with pytest.raises(Refused):
        late.open_reply(reply)


@pytest.mark.parametrize("algorithm", ["rsa", "sm2"])
def test_wechats_notification_is_opened_in_place(algorithm: str) -> None:
    keys: dict[str, dict[str, Any]] = {"merchant": {}, "platform": {}}
    if algorithm == "sm2":
        shared = {"algorithm": "sm2", "api_key": "k" * 16}
        keys = {
            "merchant": {
                **shared,
                "private": OUR_SM2.secret().hex(),
                "others": [{"serial": "PLAT", "key": THEIR_SM2.public.point.hex()}],
            },
            "platform": {
                **shared,
                "private": THEIR_SM2.secret().hex(),
                "others": [{"serial": "OURS", "key": OUR_SM2.public.point.hex()}],
            },
        }
    resource = {"out_trade_no": "1", "trade_state": "SUCCESS"}
    wire = post({"id": "EV-1", "event_type": "TRANSACTION.SUCCESS", "resource": resource})
    wechat("platform", **keys["platform"]).seal_request(wire)
    assert b"trade_state" not in wire.body
    merchant = wechat("merchant", **keys["merchant"])
    opening = opened(merchant, wire)
    assert orjson.loads(wire.body)["resource"] == resource
    assert opening.notes == {"serial": "PLAT"}


def test_wechats_test_of_whether_signatures_are_checked_fails_as_it_must() -> None:
    wire = post({"id": "EV-1", "resource": {}})
    wechat("platform").seal_request(wire)
    wire.headers["wechatpay-signature"] = "WECHATPAY/SIGNTEST/" + wire.headers["wechatpay-signature"]
    assert code_of(wechat("merchant"), wire) == "security.signature_wrong"


def test_an_unknown_serial_is_refused_though_the_signature_is_good() -> None:
    wire = post({"id": "EV-1", "resource": {}})
    wechat("platform", serial="NEW").seal_request(wire)
    assert code_of(wechat("merchant"), wire) == "security.signature_wrong"


def alipay(role: str, **more: Any) -> Scheme:
    ours, theirs, _ = BOTH_SIDES["alipay"]
    return make("alipay", **((ours if role == "merchant" else theirs) | more))


def test_alipays_form_by_hand() -> None:
    wire = post({"out_trade_no": "1"})
    alipay("merchant", notify_url="https://hospital.example/n").seal_request(wire)
    fields = dict(parse_qsl(wire.body.decode()))
    sign = base64.b64decode(fields.pop("sign"))
    assert (fields["biz_content"], fields["sign_type"], fields["method"]) == (
        '{"out_trade_no":"1"}',
        "RSA2",
        "alipay.trade.query",
    )
    text = "&".join(f"{name}={fields[name]}" for name in sorted(fields))
    OUR_RSA.public_key().verify(sign, text.encode(), padding.PKCS1v15(), hashes.SHA256())


def test_alipays_reply_is_checked_over_the_raw_node() -> None:
    node = b'{"code": "10000", "msg":"Success","total":"1.00","tricky":"}\\"]{"}'
    sign = base64.b64encode(THEIR_RSA.sign(node, padding.PKCS1v15(), hashes.SHA256()))
    reply = Wire(b'{"alipay_trade_query_response": %b ,"sign":"%b"}' % (node, sign), status=200)
    alipay("merchant").open_reply(reply)
    assert reply.body == node
    forged = Wire(b'{"alipay_trade_query_response":%b,"sign":"%b"}' % (node.replace(b"1.00", b"0.01"), sign))
    with pytest.raises(Refused):
        alipay("merchant").open_reply(forged)
    with pytest.raises(Refused):
        alipay("merchant").open_reply(Wire(b'{"alipay_trade_query_response":%b}' % node))


def test_an_unsigned_refusal_of_alipays_gateway_stays_a_refusal() -> None:
    reply = Wire(b'{"error_response":{"code":"40002","msg":"Invalid Arguments"}}')
    alipay("merchant").open_reply(reply)
    assert orjson.loads(reply.body)["code"] == "40002"


def test_alipays_notification_both_ways() -> None:
    wire = post({"notify_id": "n1", "app_id": "2021", "trade_status": "TRADE_SUCCESS", "subject": "a+b=c&d"})
    alipay("platform").seal_request(wire)
    opened(alipay("merchant"), wire)
    assert orjson.loads(wire.body)["subject"] == "a+b=c&d"
    foreign = post({"notify_id": "n1", "app_id": "9999", "trade_status": "TRADE_SUCCESS"})
    alipay("platform").seal_request(foreign)
    assert code_of(alipay("merchant"), foreign) == "security.signature_wrong"


def test_the_platforms_reply_is_what_the_merchant_accepts() -> None:
    reply = Wire(orjson.dumps({"method": "alipay.trade.query", "code": "10000", "subject": "挂号"}))
    alipay("platform").seal_reply(reply)
    alipay("merchant").open_reply(reply)
    assert orjson.loads(reply.body) == {"code": "10000", "subject": "挂号"}


@pytest.mark.parametrize("method", ["01", "11", "12"])
def test_unionpay_both_ways(method: str) -> None:
    ours, theirs, body = BOTH_SIDES["unionpay"]
    if method != "01":
        ours = theirs = {"key": "k"}
    sender, receiver = make("unionpay", sign_method=method, **ours), make("unionpay", sign_method=method, **theirs)
    wire = post(body)
    sender.seal_request(wire)
    opened(receiver, wire)
    assert orjson.loads(wire.body)["orderId"] == "20260101"
    reply = Wire(orjson.dumps({"respCode": "00", "respMsg": "成功 [0000000]"}))
    receiver.seal_reply(reply)
    sender.open_reply(reply)
    assert orjson.loads(reply.body)["respMsg"] == "成功 [0000000]"


def test_a_unionpay_reply_that_is_not_percent_encoded() -> None:
    """The platform writes k=v as they are: a plus in the base64 signature must stay one."""
    ours, theirs, _ = BOTH_SIDES["unionpay"]
    for number in range(64):
        reply = Wire(orjson.dumps({"respCode": "00", "n": str(number)}))
        make("unionpay", **theirs).seal_reply(reply)
        fields = parse_qsl(reply.body.decode())
        if "+" in dict(fields)["signature"]:
            break
    plain = Wire("&".join(f"{name}={value}" for name, value in fields).encode(), {"content-type": "text/plain"})
    make("unionpay", **ours).open_reply(plain)
    assert orjson.loads(plain.body)["respCode"] == "00"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("wechat_pay", {"mchid": "1", "serial": "s", "private": OUR_PRIVATE, "others": []}),
        (
            "wechat_pay",
            {"mchid": "1", "serial": "s", "private": "x", "others": [{"serial": "a", "key": "b"}], "api_key": "short"},
        ),
        ("unionpay", {"sign_method": "01"}),
        ("unionpay", {"sign_method": "11"}),
        ("mobile_insurance", {"app_id": "short", "app_secret": "s"}),
    ],
)
def test_options_that_can_not_work_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make(name, **options)
