"""Schemes of payment platforms: WeChat Pay API v3, Alipay's open API, UnionPay.

Each plays both parts: the merchant, which the hub is for hospitals, and the platform, for simulators. Facts: ``protocols-gov-pay.md``
4.1, 4.2, 4.3.
"""

from __future__ import annotations

import base64
import re
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal, Self
from zoneinfo import ZoneInfo

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import Field, SecretStr, model_validator

from hub.contract import Duration
from hub.crypto import CryptoError, load_sm2_private, load_sm2_public, provider
from hub.crypto.classic import digest, load_rsa_private, load_rsa_public, rsa_sign, rsa_verify, same
from hub.errors import HubError
from hub.i18n import t
from hub.security.errors import missing_signature, unreadable, wrong_signature
from hub.security.places import as_text, decode, encode, form_pairs, form_text, json_object, json_text
from hub.security.replay import ReplayGuard
from hub.security.scheme import Opening, Scheme, SchemeOptions
from hub.security.wire import Wire

__all__ = ["Alipay", "UnionPay", "WechatPay"]

_Clock = Callable[[], float]
_BEIJING = ZoneInfo("Asia/Shanghai")
_FORM = "application/x-www-form-urlencoded"


class _Pair:
    """Our private key and the other side's public keys, RSA or SM2."""

    def __init__(
        self, kind: Literal["rsa", "rsa-sha1", "sm2"], private: SecretStr, publics: Mapping[str, SecretStr]
    ) -> None:
        secret = private.get_secret_value()
        self._sm2 = kind == "sm2"
        self._scheme: Literal["pkcs1-sha1", "pkcs1-sha256"] = "pkcs1-sha1" if kind == "rsa-sha1" else "pkcs1-sha256"
        self._own_sm2 = load_sm2_private(secret) if secret and self._sm2 else None
        self._own_rsa = load_rsa_private(secret) if secret and not self._sm2 else None
        given = {serial: key.get_secret_value() for serial, key in publics.items()}
        self._sm2_keys = {serial: load_sm2_public(key) for serial, key in given.items()} if self._sm2 else {}
        self._rsa_keys = {serial: load_rsa_public(key) for serial, key in given.items()} if not self._sm2 else {}

    def sign(self, text: bytes) -> str:
        if self._own_sm2 is not None:
            return encode(provider().sm2_sign(self._own_sm2, text), "base64")
        if self._own_rsa is not None:
            return encode(rsa_sign(self._own_rsa, text, self._scheme), "base64")
        raise HubError(
            t("there is no private key to sign with", "缺少用于签名的私钥"),
            code="security.key",
            remedy=t("give private in the scheme's options", "请在方案选项中给出 private"),
        )

    def verify(self, text: bytes, signature: str, serial: str = "") -> bool:
        """By the key of this serial; without a serial by any."""
        given = decode(signature, "base64") if len(signature) <= 4096 else None
        if not given:
            return False
        if self._sm2:
            return any(
                provider().sm2_verify(key, text, given)
                for name, key in self._sm2_keys.items()
                if not serial or same(name, serial)
            )
        return any(
            rsa_verify(key, text, given, self._scheme)
            for name, key in self._rsa_keys.items()
            if not serial or same(name, serial)
        )


class WechatKey(SchemeOptions):
    """A certificate or public key of the other side."""

    serial: str = Field(min_length=1, description="its serial number, or PUB_KEY_ID_…")
    key: SecretStr


class WechatOptions(SchemeOptions):
    """Options of ``wechat_pay``."""

    mchid: str = Field(min_length=1, description="merchant number")
    serial: str = Field(min_length=1, description="serial number of our certificate")
    private: SecretStr = Field(description="our private key")
    others: list[WechatKey] = Field(
        min_length=1, description="the other side's certificates or public keys: several while they change"
    )
    api_key: SecretStr = Field(SecretStr(""), description="APIv3 key, 32 bytes, with sm2 16: opens notifications")
    algorithm: Literal["rsa", "sm2"] = Field("rsa", description="sm2: WECHATPAY2-SM2-WITH-SM3, AEAD_SM4_GCM")
    role: Literal["merchant", "platform"] = Field("merchant", description="platform: for simulators")
    unsigned: list[str] = Field(
        ["/v3/billdownload/"], description="paths whose replies are not signed: the download of bills"
    )
    window: Duration = Field(300.0, gt=0, description="calls and replies signed longer ago, or later, are refused")

    @model_validator(mode="after")
    def _key(self) -> Self:
        size = len(self.api_key.get_secret_value().encode())
        wanted = 16 if self.algorithm == "sm2" else 32
        if size not in (0, wanted):
            raise ValueError(f"the APIv3 key has {wanted} bytes with {self.algorithm}, this one has {size}")
        return self


class WechatPay(Scheme):
    """``wechat_pay``: signs calls, checks replies and notifications, opens ``resource`` of a notification in its place."""

    name = "wechat_pay"
    options = WechatOptions
    needs_http = True
    _AUTHORIZATION = re.compile(r'([a-z_]+)="([^"]*)"')

    def __init__(self, options: WechatOptions, now: _Clock = time.time) -> None:
        super().__init__(options)
        self._own = options
        self._now = now
        self._pair = _Pair(options.algorithm, options.private, {other.serial: other.key for other in options.others})
        self._word = "WECHATPAY2-SM2-WITH-SM3" if options.algorithm == "sm2" else "WECHATPAY2-SHA256-RSA2048"
        self._aead = "AEAD_SM4_GCM" if options.algorithm == "sm2" else "AEAD_AES_256_GCM"
        self._guard = ReplayGuard(options.window, now=now)

    def seal_request(self, wire: Wire) -> None:
        if self._own.role == "platform":  # a notification
            self._seal_resource(wire)
            return self._seal_headers(wire)
        stamp, nonce = str(int(self._now())), secrets.token_hex(16)
        signature = self._pair.sign(_lines(wire.method, wire.target, stamp, nonce, wire.body))
        own = self._own
        wire.headers["authorization"] = (
            f'{self._word} mchid="{own.mchid}",nonce_str="{nonce}",signature="{signature}",'
            f'timestamp="{stamp}",serial_no="{own.serial}"'
        )
        wire.headers["accept"] = "application/json"

    def open_reply(self, wire: Wire) -> None:
        if self._own.role == "platform" or any(wire.path.startswith(path) for path in self._own.unsigned):
            return
        stamp, _ = self._checked_headers(wire)
        if abs(int(stamp) - self._now()) > self._own.window:
            raise wrong_signature()

    def open_request(self, wire: Wire, opening: Opening) -> None:
        if self._own.role == "platform":
            return self._open_call(wire, opening)
        stamp, nonce = self._checked_headers(wire)
        opening.once(self._guard, int(stamp), nonce)
        opening.notes["serial"] = wire.headers.get("wechatpay-serial", "")[:64]
        self._open_resource(wire)

    def seal_reply(self, wire: Wire) -> None:
        if self._own.role == "platform" and not any(wire.path.startswith(path) for path in self._own.unsigned):
            self._seal_headers(wire)

    def _seal_headers(self, wire: Wire) -> None:
        stamp, nonce = str(int(self._now())), secrets.token_hex(16)
        wire.headers |= {
            "wechatpay-timestamp": stamp,
            "wechatpay-nonce": nonce,
            "wechatpay-serial": self._own.serial,
            "wechatpay-signature-type": self._word,
            "wechatpay-signature": self._pair.sign(_lines(stamp, nonce, wire.body)),
        }

    def _checked_headers(self, wire: Wire) -> tuple[str, str]:
        """Timestamp and nonce of what the platform signed. Raises :class:`Refused`."""
        get = wire.headers.get
        stamp, nonce, given = get("wechatpay-timestamp", ""), get("wechatpay-nonce", ""), get("wechatpay-signature", "")
        if not given:
            raise missing_signature()
        serial = get("wechatpay-serial", "")
        well_formed = stamp.isascii() and stamp.isdecimal() and len(stamp) <= 12 and nonce and serial
        # WECHATPAY/SIGNTEST/… is sent by the platform to see whether signatures are checked at all; it is never valid base64.
        if not well_formed or not self._pair.verify(_lines(stamp, nonce, wire.body), given, serial):
            raise wrong_signature()
        return stamp, nonce

    def _open_call(self, wire: Wire, opening: Opening) -> None:
        kind, _, rest = wire.headers.get("authorization", "").partition(" ")
        if not kind:
            raise missing_signature()
        found = dict(self._AUTHORIZATION.findall(rest[:4096]))
        stamp, nonce = found.get("timestamp", ""), found.get("nonce_str", "")
        text = _lines(wire.method, wire.target, stamp, nonce, wire.body)
        if (
            kind != self._word
            or not (stamp.isascii() and stamp.isdecimal() and len(stamp) <= 12)
            or not nonce
            or not same(found.get("mchid", ""), self._own.mchid)
            or not found.get("serial_no")
            or not self._pair.verify(text, found.get("signature", ""), found["serial_no"])
        ):
            raise wrong_signature()
        opening.once(self._guard, int(stamp), nonce)

    def _open_resource(self, wire: Wire) -> None:
        """The encrypted resource of a notification is replaced by what is in it."""
        tree = json_object(wire.body)
        resource = tree.get("resource")
        if not isinstance(resource, dict) or "ciphertext" not in resource:
            return
        data = decode(as_text(resource.get("ciphertext")), "base64")
        if resource.get("algorithm") != self._aead or data is None:
            raise unreadable()
        nonce, aad = as_text(resource.get("nonce")).encode(), as_text(resource.get("associated_data")).encode()
        try:
            tree["resource"] = orjson.loads(self._decrypted(data, nonce, aad))
        except (orjson.JSONDecodeError, CryptoError, InvalidTag, ValueError):
            raise unreadable() from None
        wire.body = json_text(tree)

    def _seal_resource(self, wire: Wire) -> None:
        tree = json_object(wire.body)
        if not isinstance(tree.get("resource"), dict):
            return
        nonce, aad = secrets.token_hex(6), as_text(tree.get("original_type")) or "transaction"
        plain = json_text(tree["resource"])
        if self._own.algorithm == "sm2":
            sealed = provider().sm4_encrypt(self._api_key, plain, mode="gcm", iv=nonce.encode(), aad=aad.encode())
        else:
            sealed = AESGCM(self._api_key).encrypt(nonce.encode(), plain, aad.encode())
        tree["resource"] = {
            "algorithm": self._aead,
            "ciphertext": base64.b64encode(sealed).decode(),
            "associated_data": aad,
            "nonce": nonce,
            "original_type": aad,
        }
        wire.body = json_text(tree)

    def _decrypted(self, data: bytes, nonce: bytes, aad: bytes) -> bytes:
        if self._own.algorithm == "sm2":
            return provider().sm4_decrypt(self._api_key, data, mode="gcm", iv=nonce, aad=aad)
        return AESGCM(self._api_key).decrypt(nonce, data, aad)

    @property
    def _api_key(self) -> bytes:
        key = self._own.api_key.get_secret_value().encode()
        if not key:
            raise HubError(
                t("notifications are encrypted, and api_key is missing", "通知已加密，但缺少 api_key"),
                code="security.key",
                remedy=t("give api_key in the scheme's options", "请在方案选项中给出 api_key"),
            )
        return key


class AlipayOptions(SchemeOptions):
    """Options of ``alipay``."""

    app_id: str = Field(min_length=1)
    private: SecretStr = Field(description="our private key")
    public: SecretStr = Field(description="the other side's public key or certificate")
    method: str = Field("", description="operation, e.g. alipay.trade.query; default: the field method of the body")
    sign_type: Literal["RSA2", "RSA", "SM2"] = "RSA2"
    notify_url: str = ""
    more: dict[str, str] = Field(
        default_factory=dict,
        description="further public parameters: app_auth_token, app_cert_sn, alipay_root_cert_sn …",
    )
    role: Literal["merchant", "platform"] = Field("merchant", description="platform: for simulators")


class Alipay(Scheme):
    """``alipay``: the body becomes biz_content of a signed form; of a reply the signed node alone remains.

    A notification, a form as well, becomes a JSON object of its fields. It carries no nonce: its ``notify_id`` is the message's
    control id.
    """

    name = "alipay"
    options = AlipayOptions
    #: Codes of the gateway itself (unavailable, not authorised, parameters missing or wrong, permission): the business has not
    #: seen the call. Everything the business says is signed.
    _GATEWAY = ("20000", "20001", "40001", "40002", "40006")

    def __init__(self, options: AlipayOptions, now: _Clock = time.time) -> None:
        super().__init__(options)
        self._own = options
        self._now = now
        kind: Literal["rsa", "rsa-sha1", "sm2"] = "rsa"
        if options.sign_type != "RSA2":
            kind = "sm2" if options.sign_type == "SM2" else "rsa-sha1"
        self._pair = _Pair(kind, options.private, {"": options.public})

    def seal_request(self, wire: Wire) -> None:
        own, tree = self._own, json_object(wire.body)
        if own.role == "platform":  # a notification
            fields = {str(name): as_text(value) for name, value in tree.items()}
            fields["sign"] = self._pair.sign(_sorted(fields, ("sign", "sign_type")))
            fields["sign_type"] = own.sign_type
        else:
            method = own.method or as_text(tree.pop("method", ""))
            fields = {
                "app_id": own.app_id,
                "method": method,
                "format": "JSON",
                "charset": "utf-8",
                "sign_type": own.sign_type,
                "timestamp": datetime.fromtimestamp(self._now(), _BEIJING).strftime("%Y-%m-%d %H:%M:%S"),
                "version": "1.0",
                "notify_url": own.notify_url,
                **own.more,
                "biz_content": json_text(tree).decode(),
            }
            fields = {name: value for name, value in fields.items() if value}
            fields["sign"] = self._pair.sign(_sorted(fields, ("sign",)))
        wire.body = form_text(fields.items()).encode()
        wire.headers["content-type"] = f"{_FORM};charset=utf-8"

    def open_reply(self, wire: Wire) -> None:
        if self._own.role == "platform":
            return
        name, node = _node(wire.body)
        given = as_text(json_object(wire.body).get("sign"))
        if not given:
            # Refusals of the gateway itself come without a signature: what they say is passed on as a refusal only.
            inner = json_object(node)
            if as_text(inner.get("code")) in self._GATEWAY:
                wire.body = node
                return
            raise missing_signature()
        if not self._pair.verify(node, given):
            raise wrong_signature()
        wire.body = node
        wire.headers["x-alipay-node"] = name

    def open_request(self, wire: Wire, opening: Opening) -> None:
        fields = dict(form_pairs(wire.body.decode("utf-8", "replace")))
        given = fields.get("sign", "")
        if not given:
            raise missing_signature()
        notified = self._own.role == "merchant"
        text = _sorted(fields, ("sign", "sign_type") if notified else ("sign",))
        if not same(fields.get("app_id", ""), self._own.app_id) or not self._pair.verify(text, given):
            raise wrong_signature()
        if notified:
            wire.body = json_text({name: value for name, value in fields.items() if name not in ("sign", "sign_type")})
            return
        try:
            content = orjson.loads(fields.get("biz_content", "") or "{}")
        except orjson.JSONDecodeError:
            raise wrong_signature() from None
        public = {name: value for name, value in fields.items() if name not in ("sign", "biz_content")}
        wire.body = json_text({**public, "biz_content": content})

    def seal_reply(self, wire: Wire) -> None:
        if self._own.role == "merchant":
            return  # the answer to a notification is the word success
        tree = json_object(wire.body)
        name = as_text(tree.pop("method", "")) or self._own.method
        node = json_text(tree)
        key = name.replace(".", "_") + "_response"
        signature = self._pair.sign(node)
        wire.body = b'{"%b":%b,"sign":"%b"}' % (key.encode(), node, signature.encode())


class UnionPayOptions(SchemeOptions):
    """Options of ``unionpay``."""

    sign_method: Literal["01", "11", "12"] = Field(
        "01", description="01: RSA, 11: SHA-256 with a key, 12: SM3 with a key"
    )
    cert_id: str = Field("", description="decimal serial number of our certificate; 01")
    private: SecretStr = Field(SecretStr(""), description="our private key; 01")
    public: SecretStr = Field(SecretStr(""), description="the platform's public key or certificate; 01")
    key: SecretStr = Field(SecretStr(""), description="what both sides know; 11 and 12")

    @model_validator(mode="after")
    def _keys(self) -> Self:
        if self.sign_method == "01" and not (self.private.get_secret_value() and self.public.get_secret_value()):
            raise ValueError("sign_method 01 needs private and public")
        if self.sign_method != "01" and not self.key.get_secret_value():
            raise ValueError(f"sign_method {self.sign_method} needs key")
        return self


class UnionPay(Scheme):
    """``unionpay``: version 5.1.0; the body, a flat JSON object, becomes a signed form, and the form of a reply JSON again."""

    name = "unionpay"
    options = UnionPayOptions

    def __init__(self, options: UnionPayOptions) -> None:
        super().__init__(options)
        self._own = options
        self._pair = _Pair("rsa", options.private, {"": options.public} if options.sign_method == "01" else {})

    def seal_request(self, wire: Wire) -> None:
        self._seal(wire)

    def open_reply(self, wire: Wire) -> None:
        self._open(wire)

    def open_request(self, wire: Wire, opening: Opening) -> None:
        self._open(wire)

    def seal_reply(self, wire: Wire) -> None:
        self._seal(wire)

    def _seal(self, wire: Wire) -> None:
        fields = {str(name): as_text(value) for name, value in json_object(wire.body).items()}
        fields["signMethod"] = self._own.sign_method
        if self._own.cert_id:
            fields["certId"] = self._own.cert_id
        fields["signature"] = self._signature(fields)
        wire.body = form_text(fields.items()).encode()
        wire.headers["content-type"] = _FORM

    def _open(self, wire: Wire) -> None:
        # Replies are not percent-encoded as forms are: a base64 + must stay one.
        text = wire.body.decode("utf-8", "replace")
        encoded = wire.headers.get("content-type", "").startswith(_FORM)
        fields = dict(form_pairs(text if encoded else text.replace("+", "%2B")))
        given = fields.pop("signature", "")
        if not given:
            raise missing_signature()
        if fields.get("signMethod") != self._own.sign_method:
            raise wrong_signature()
        text_hash = digest("sha256", _sorted(fields, ("signature",), keep_empty=True)).hex().encode()
        if self._own.sign_method == "01":
            good = self._pair.verify(text_hash, given)
        else:
            good = same(given, self._signature(fields))
        if not good:
            raise wrong_signature()
        wire.body = json_text(fields)

    def _signature(self, fields: Mapping[str, str]) -> str:
        text = _sorted(fields, ("signature",), keep_empty=True)
        if self._own.sign_method == "01":
            return self._pair.sign(digest("sha256", text).hex().encode())
        name: Literal["sha256", "sm3"] = "sha256" if self._own.sign_method == "11" else "sm3"
        key = digest(name, self._own.key.get_secret_value().encode()).hex()
        return digest(name, text + b"&" + key.encode()).hex()


def _lines(*parts: str | bytes) -> bytes:
    """Each part, and a line feed after it."""
    return b"".join(
        (part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part) + b"\n" for part in parts
    )


def _sorted(fields: Mapping[str, str], left_out: tuple[str, ...], *, keep_empty: bool = False) -> bytes:
    """``name=value`` joined by &, in the order of the names."""
    kept = sorted((name, value) for name, value in fields.items() if name not in left_out and (value or keep_empty))
    return "&".join(f"{name}={value}" for name, value in kept).encode("utf-8", "surrogatepass")


def _node(body: bytes) -> tuple[str, bytes]:
    """Name and raw text of the ``…_response`` node: the signature covers it byte for byte."""
    tree = json_object(body)
    name = next((str(key) for key in tree if str(key).endswith("_response")), "")
    start = body.find(b'"%b"' % name.encode()) if name else -1
    if start < 0:
        raise wrong_signature()
    start = body.index(b":", start + len(name) + 2) + 1
    depth, inside, escaped = 0, False, False
    for at in range(start, len(body)):
        char = body[at]
        if inside:
            if escaped:
                escaped = False
            elif char == 0x5C:
                escaped = True
            elif char == 0x22:
                inside = False
        elif char == 0x22:
            inside = True
        elif char in b"{[":
            depth += 1
        elif char in b"}]":
            depth -= 1
            if depth == 0:
                return name, body[start : at + 1].strip()
    raise wrong_signature()
