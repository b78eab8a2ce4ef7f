"""Schemes of health platforms: the medical insurance gateways, mobile insurance payment, e-bills, e-health cards.

Facts and their confidence: ``protocols-gov-pay.md`` 3.3, 3.7, 6.1, 6.2, 6.3. Where regions differ there is an option.
"""

from __future__ import annotations

import base64
import secrets
import time
import uuid
from collections.abc import Callable
from typing import Any, Literal

import orjson
from pydantic import Field, SecretStr

from hub.contract import Duration
from hub.crypto import load_sm2_private, load_sm2_public, mobile_payment, provider
from hub.crypto.classic import digest, hmac_digest, same
from hub.errors import HubError
from hub.i18n import t
from hub.security.errors import missing_signature, no_key, wrong_signature
from hub.security.places import as_text, decode, encode, json_object, json_text
from hub.security.replay import ReplayGuard
from hub.security.scheme import Opening, Scheme, SchemeOptions
from hub.security.wire import Wire

__all__ = ["Bosssoft", "HealthCard", "HunanInsurance", "MobileInsurance", "TencentHealthCard", "XTif"]

_Clock = Callable[[], float]


class XTifOptions(SchemeOptions):
    """Options of ``x_tif``."""

    paasid: str = Field(min_length=1, description="x-tif-paasid: the application's id on the gateway")
    token: SecretStr
    service_id: str = Field("", description="x-tif-serviceId, where the gateway wants one")
    case: Literal["lower", "upper"] = Field("lower", description="of the signature's hex digits; regions differ")
    window: Duration = Field(300.0, gt=0, description="calls signed longer ago, or later, are refused")


class XTif(Scheme):
    """``x_tif``: headers of the medical insurance gateway, SHA-256 over timestamp, token, nonce, timestamp."""

    name = "x_tif"
    options = XTifOptions
    needs_http = True

    def __init__(self, options: XTifOptions, now: _Clock = time.time) -> None:
        super().__init__(options)
        self._own = options
        self._now = now
        self._guard = ReplayGuard(options.window, now=now)

    def seal_request(self, wire: Wire) -> None:
        stamp, nonce = str(int(self._now())), secrets.token_hex(16)
        wire.headers["x-tif-paasid"] = self._own.paasid
        wire.headers["x-tif-timestamp"] = stamp
        wire.headers["x-tif-nonce"] = nonce
        wire.headers["x-tif-signature"] = self._signature(stamp, nonce)
        if self._own.service_id:
            wire.headers["x-tif-serviceid"] = self._own.service_id

    def open_request(self, wire: Wire, opening: Opening) -> None:
        get = wire.headers.get
        stamp, nonce, given = get("x-tif-timestamp", ""), get("x-tif-nonce", ""), get("x-tif-signature", "")
        if not given:
            raise missing_signature()
        good = same(get("x-tif-paasid", ""), self._own.paasid) & same(given, self._signature(stamp, nonce))
        if not good or not nonce:
            raise wrong_signature()
        _fresh(self._guard, opening, stamp, 1, nonce)

    def _signature(self, stamp: str, nonce: str) -> str:
        text = f"{stamp}{self._own.token.get_secret_value()}{nonce}{stamp}"
        made = digest("sha256", text.encode("utf-8", "surrogateescape")).hex()
        return made.upper() if self._own.case == "upper" else made


class HunanOptions(SchemeOptions):
    """Options of ``hunan_insurance``."""

    access_key: str = Field(min_length=1)
    secret: SecretStr
    version: str = Field("1.0.0", description="_api_version")
    name: str = Field("", description="_api_name; default: the field infno of the body")
    window: Duration = Field(1800.0, gt=0, description="the gateway's own: 30 minutes")


class HunanInsurance(Scheme):
    """``hunan_insurance``: headers _api_… of the Hunan gateway, HMAC-SHA1 over them sorted by name."""

    name = "hunan_insurance"
    options = HunanOptions
    needs_http = True
    _NAMES = ("_api_access_key", "_api_name", "_api_timestamp", "_api_version")

    def __init__(self, options: HunanOptions, now: _Clock = time.time) -> None:
        super().__init__(options)
        self._own = options
        self._now = now
        self._guard = ReplayGuard(options.window, now=now)

    def seal_request(self, wire: Wire) -> None:
        name = self._own.name or as_text(json_object(wire.body).get("infno"))
        wire.headers["_api_name"] = name
        wire.headers["_api_version"] = self._own.version
        wire.headers["_api_timestamp"] = str(int(self._now() * 1000))
        wire.headers["_api_access_key"] = self._own.access_key
        wire.headers["_api_signature"] = self._signature(wire)

    def open_request(self, wire: Wire, opening: Opening) -> None:
        given = wire.headers.get("_api_signature", "")
        if not given:
            raise missing_signature()
        known = same(wire.headers.get("_api_access_key", ""), self._own.access_key)
        if not (known & same(given, self._signature(wire))):
            raise wrong_signature()
        # There is no nonce, and the body is not signed: were it part of what is remembered, anybody could send the signature
        # again with another body. So the second of two calls of one name within a millisecond is refused.
        _fresh(self._guard, opening, wire.headers.get("_api_timestamp", ""), 1000, given)

    def _signature(self, wire: Wire) -> str:
        text = "&".join(f"{name}={wire.headers.get(name, '')}" for name in self._NAMES)
        key = self._own.secret.get_secret_value().encode()
        return encode(hmac_digest("sha1", key, text.encode("utf-8", "surrogateescape")), "base64")


class MobileOptions(SchemeOptions):
    """Options of ``mobile_insurance``."""

    app_id: str = Field(min_length=16)
    app_secret: SecretStr
    private: SecretStr = Field(SecretStr(""), description="our SM2 private key: signs what leaves")
    public: SecretStr = Field(SecretStr(""), description="the other side's SM2 public key: checks what comes")
    user_id: Literal["standard", "app_secret"] = Field("standard", description="SM2 user id; regions differ")
    version: str = "2.0.1"
    data_text: Literal["sorted", "national"] = Field(
        "sorted", description="content in the signed text: as it is, or without what is empty and numbers as text"
    )
    trans_type: Literal["signed", "beside"] = Field(
        "signed", description="transType, where a call has one; regions differ"
    )
    window: Duration = Field(300.0, gt=0, description="calls signed longer ago, or later, are refused")


class MobileInsurance(Scheme):
    """``mobile_insurance``: the envelope of 医保移动支付 around the body's field ``data``: SM4 and SM2."""

    name = "mobile_insurance"
    options = MobileOptions

    def __init__(self, options: MobileOptions, now: _Clock = time.time) -> None:
        super().__init__(options)
        self._own = options
        self._now = now
        self._secret = options.app_secret.get_secret_value()
        self._user = self._secret.encode() if options.user_id == "app_secret" else b"1234567812345678"
        private, public = options.private.get_secret_value(), options.public.get_secret_value()
        self._private = load_sm2_private(private) if private else None
        self._public = load_sm2_public(public) if public else None
        self._key = mobile_payment.derive_key(provider(), options.app_id, self._secret)
        self._guard = ReplayGuard(options.window, now=now)

    def seal_request(self, wire: Wire) -> None:
        self._seal(wire)

    def open_reply(self, wire: Wire) -> None:
        if "encData" in json_object(wire.body):  # a refusal has no content to encrypt
            self._open(wire)

    def open_request(self, wire: Wire, opening: Opening) -> None:
        signed = self._open(wire)
        # Not the signature as text: base64 can be written in several ways.
        nonce = digest("sha256", signed["data"].encode()).hex()
        _fresh(self._guard, opening, signed["timestamp"], 1000, signed["timestamp"] + nonce)

    def seal_reply(self, wire: Wire) -> None:
        self._seal(wire)

    def _seal(self, wire: Wire) -> None:
        if self._private is None:
            raise no_key("private")
        tree = json_object(wire.body)
        data = tree.pop("data", {})
        if not isinstance(data, dict):
            raise HubError(t("data is not an object", "data 不是对象"), code="security.body")
        text = mobile_payment.data_text(data)
        head = {
            "appId": self._own.app_id,
            "encType": "SM4",
            "signType": "SM2",
            "timestamp": str(int(self._now() * 1000)),
            "version": self._own.version,
        }
        made = provider()
        said = mobile_payment.national_text(text) if self._own.data_text == "national" else text
        signed = {**head, **self._trans_type(tree), "data": said}
        signature = mobile_payment.sign(made, self._private, signed, self._secret, user_id=self._user)
        sealed = mobile_payment.encrypt_data(made, self._key, text)
        wire.body = json_text({**tree, **head, "encData": sealed, "signData": signature})

    def _open(self, wire: Wire) -> dict[str, str]:
        """What was signed; the wire then has the content as ``data``."""
        if self._public is None:
            raise no_key("public")
        tree = json_object(wire.body)
        given = {name: as_text(tree.get(name)) for name in ("appId", "encType", "signType", "timestamp", "version")}
        signature, sealed = as_text(tree.get("signData")), as_text(tree.get("encData"))
        if not signature or not sealed:
            raise missing_signature()
        if not same(given["appId"], self._own.app_id) or given["encType"] != "SM4" or given["signType"] != "SM2":
            raise wrong_signature()
        text = mobile_payment.decrypt_data(provider(), self._key, sealed)
        try:
            data = orjson.loads(text)
            forms = (mobile_payment.sorted_text(text), text, mobile_payment.national_text(text))
        except (ValueError, RecursionError):
            data = None
        if not isinstance(data, dict):
            raise wrong_signature()
        # Each way to write the same content that platforms are known to sign.
        for said in dict.fromkeys(forms):
            parameters = {**given, **self._trans_type(tree), "data": said}
            if mobile_payment.verify(provider(), self._public, parameters, self._secret, signature, user_id=self._user):
                break
        else:
            raise wrong_signature()
        # Without what is new in every call, a repetition is recognised as one.
        rest = {name: value for name, value in tree.items() if name not in ("encData", "signData", "timestamp")}
        wire.body = json_text({**rest, "data": data})
        return parameters

    def _trans_type(self, tree: dict[str, Any]) -> dict[str, str]:
        return {"transType": as_text(tree.get("transType"))} if self._own.trans_type == "signed" else {}


class BosssoftOptions(SchemeOptions):
    """Options of ``bosssoft``."""

    appid: str = Field(min_length=1)
    key: SecretStr
    version: str = "1.0"
    more: dict[str, str] = Field(
        default_factory=dict, description="further fields some regions want, e.g. region, deptcode; not signed"
    )


class Bosssoft(Scheme):
    """``bosssoft``: medical e-bills (博思): the body in base64, MD5 over it. The reply's result and message are decoded."""

    name = "bosssoft"
    options = BosssoftOptions

    def __init__(self, options: BosssoftOptions) -> None:
        super().__init__(options)
        self._own = options

    def seal_request(self, wire: Wire) -> None:
        data, noise = base64.b64encode(wire.body).decode(), uuid.uuid4().hex
        own = self._own
        head = {"appid": own.appid, "data": data, "noise": noise, "version": own.version}
        wire.body = json_text({**own.more, **head, "sign": self._sign(data, noise)})

    def open_reply(self, wire: Wire) -> None:
        inner = json_object(self._data(wire))
        message = inner.get("message")
        if isinstance(message, str):
            inner["message"] = _unpacked(message)
        wire.body = json_text(inner)

    def open_request(self, wire: Wire, opening: Opening) -> None:
        if not same(as_text(json_object(wire.body).get("appid")), self._own.appid):
            raise wrong_signature()
        wire.body = self._data(wire)

    def seal_reply(self, wire: Wire) -> None:
        inner = json_object(wire.body)
        message = inner.get("message", "")
        plain = message.encode() if isinstance(message, str) else json_text(message)
        inner["message"] = base64.b64encode(plain).decode()
        data, noise = base64.b64encode(json_text(inner)).decode(), uuid.uuid4().hex
        wire.body = json_text({"data": data, "noise": noise, "sign": self._sign(data, noise)})

    def _data(self, wire: Wire) -> bytes:
        tree = json_object(wire.body)
        data, noise, given = (as_text(tree.get(name)) for name in ("data", "noise", "sign"))
        if not given:
            raise missing_signature()
        if not same(given.upper(), self._sign(data, noise)):
            raise wrong_signature()
        plain = decode(data, "base64")
        if plain is None:
            raise wrong_signature()
        return plain

    def _sign(self, data: str, noise: str) -> str:
        own = self._own
        text = f"appid={own.appid}&data={data}&noise={noise}&key={own.key.get_secret_value()}&version={own.version}"
        return digest("md5", text.encode("utf-8", "surrogateescape")).hex().upper()


class HealthCardOptions(SchemeOptions):
    """Options of ``health_card``."""

    app_id: str = Field(min_length=1)
    app_secret: SecretStr
    term_id: str = ""
    version: str = "v1.0.0"
    encrypt: bool = Field(True, description="biz_content goes under SM4-ECB, with the app secret as key")
    encoding: Literal["hex", "HEX", "base64"] = "hex"
    variant: Literal["fields", "content"] = Field(
        "fields", description="digest over the sorted fields and app_secret; content: over biz_content and app_secret"
    )
    window: Duration = Field(300.0, gt=0, description="calls signed longer ago, or later, are refused")


class HealthCard(Scheme):
    """``health_card``: resident e-health cards (居民电子健康卡): SM3 digest over the fields, content under SM4."""

    name = "health_card"
    options = HealthCardOptions
    _FIELDS = ("app_id", "biz_content", "digest_type", "enc_type", "method", "term_id", "timestamp", "version")

    def __init__(self, options: HealthCardOptions, now: _Clock = time.time) -> None:
        super().__init__(options)
        self._own = options
        self._now = now
        self._secret = options.app_secret.get_secret_value().encode()
        if options.encrypt and len(self._secret) < 16:
            raise HubError(
                t("app_secret is the SM4 key: at least 16 characters", "app_secret 用作 SM4 密钥：至少 16 个字符"),
                remedy=t("correct app_secret, or say encrypt: false", "请更正 app_secret，或设 encrypt: false"),
            )
        self._guard = ReplayGuard(options.window, now=now)

    def seal_request(self, wire: Wire) -> None:
        own, tree = self._own, json_object(wire.body)
        content = as_text(tree.get("biz_content"))
        tree |= {
            "app_id": own.app_id,
            "term_id": own.term_id,
            "version": own.version,
            "timestamp": str(int(self._now() * 1000)),
            "digest_type": "SM3",
            "enc_type": "SM4" if own.encrypt else "plain",
            "biz_content": content,
        }
        tree["digest"] = self._digest(tree)
        if own.encrypt:
            sealed = provider().sm4_encrypt(self._secret[:16], content.encode(), mode="ecb")
            tree["biz_content"] = encode(sealed, own.encoding)
        wire.body = json_text(tree)

    def open_request(self, wire: Wire, opening: Opening) -> None:
        own, tree = self._own, json_object(wire.body)
        given = as_text(tree.get("digest"))
        if not given:
            raise missing_signature()
        # What was agreed, not what the call says: nobody may choose to send in plain.
        if tree.get("enc_type") != ("SM4" if own.encrypt else "plain") or tree.get("app_id") != own.app_id:
            raise wrong_signature()
        if own.encrypt:
            sealed = decode(as_text(tree.get("biz_content")), own.encoding)
            if sealed is None:
                raise wrong_signature()
            plain = provider().sm4_decrypt(self._secret[:16], sealed, mode="ecb")
            tree["biz_content"] = plain.decode("utf-8", "replace")
        if not same(given.lower(), self._digest(tree)):
            raise wrong_signature()
        _fresh(self._guard, opening, as_text(tree.get("timestamp")), 1000, given.lower())
        try:
            tree["biz_content"] = orjson.loads(as_text(tree["biz_content"]))
        except orjson.JSONDecodeError:
            raise wrong_signature() from None
        wire.body = json_text(tree)

    def _digest(self, tree: dict[str, Any]) -> str:
        if self._own.variant == "content":
            text = as_text(tree.get("biz_content")).encode() + self._secret
        else:
            pairs = "&".join(f"{name}={as_text(tree.get(name))}" for name in self._FIELDS)
            text = f"{pairs}&app_secret=".encode("utf-8", "surrogatepass") + self._secret
        return provider().sm3(text).hex()


class TencentHealthCardOptions(SchemeOptions):
    """Options of ``tencent_health_card``."""

    app_secret: SecretStr


class TencentHealthCard(Scheme):
    """``tencent_health_card``: ``commonIn.sign`` of the Tencent health card platform: SHA-256 over both objects' fields."""

    name = "tencent_health_card"
    options = TencentHealthCardOptions

    def __init__(self, options: TencentHealthCardOptions) -> None:
        super().__init__(options)
        self._secret = options.app_secret.get_secret_value()

    def seal_request(self, wire: Wire) -> None:
        tree = json_object(wire.body)
        common = tree.setdefault("commonIn", {})
        if not isinstance(common, dict):
            raise HubError(t("commonIn is not an object", "commonIn 不是对象"), code="security.body")
        common["sign"] = self.signature(tree)
        wire.body = json_text(tree)

    def open_request(self, wire: Wire, opening: Opening) -> None:
        tree = json_object(wire.body)
        common = tree.get("commonIn")
        given = as_text(common.get("sign")) if isinstance(common, dict) else ""
        if not given:
            raise missing_signature()
        if not same(given, self.signature(tree)):
            raise wrong_signature()

    def signature(self, tree: dict[str, Any]) -> str:
        """Empty values are dropped, the number 0 is kept; the secret follows without a separator."""
        pairs: dict[str, str] = {}
        for part in ("commonIn", "req"):
            fields = tree.get(part)
            if isinstance(fields, dict):
                pairs |= {str(name): as_text(value) for name, value in fields.items()}
        pairs.pop("sign", None)
        text = "&".join(f"{name}={value}" for name, value in sorted(pairs.items()) if value) + self._secret
        return encode(digest("sha256", text.encode("utf-8", "surrogatepass")), "base64")


def _unpacked(message: str) -> Any:
    """``message`` of a reply: base64 of JSON or of a text; sometimes plain."""
    plain = decode(message, "base64")
    if plain is None:
        return message
    try:
        return orjson.loads(plain)
    except orjson.JSONDecodeError:
        pass
    try:
        return plain.decode()
    except UnicodeDecodeError:
        return message


def _fresh(guard: ReplayGuard, opening: Opening, stamp: str, unit: int, nonce: str) -> None:
    """A call of a good signature: signed lately, and not seen before."""
    if not (stamp.isascii() and stamp.isdecimal() and len(stamp) <= 16):
        raise wrong_signature()
    opening.once(guard, int(stamp) / unit, nonce)
