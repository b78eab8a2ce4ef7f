"""Signed calls (webhooks): whether a call was signed with the agreed secret, lately, and comes for the first time."""

from __future__ import annotations

import base64
import hmac
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal, Self
from urllib.parse import parse_qsl

from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from pydantic import Field, SecretStr, model_validator

from adapters.http.option_types import HeaderName, Options
from adapters.http.problem import Refusal
from hub.contract import Duration

__all__ = ["Signature", "SignatureCheck"]

Part = Literal["timestamp", "nonce", "body", "secret", "method", "path", "query"]

#: Not those of hashlib: Python's own OpenSSL may be built without SM3.
_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "md5": hashes.MD5,
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha512": hashes.SHA512,
    "sm3": hashes.SM3,
}
_LONGEST = 1024
_MOST_FIELDS = 100
_TIME = re.compile(r"\d{1,16}", re.ASCII)


class Place(Options):
    """Where in a call a value stands: in a header or in the query."""

    header: HeaderName | Literal[""] = ""
    query: str = ""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if bool(self.header) == bool(self.query):
            raise ValueError("give either header or query")
        return self


class Timestamp(Place):
    """When the call was signed, as a number since 1970."""

    unit: Literal["s", "ms"] = "s"


class Signature(Options):
    """How callers sign their calls. Bodies are signed as they are after Content-Encoding is undone."""

    algorithm: Literal[
        "hmac-sha256", "hmac-sha1", "hmac-sha512", "hmac-md5", "hmac-sm3", "sha256", "sha1", "sha512", "md5", "sm3"
    ] = Field("hmac-sha256", description="without hmac- the secret is one of the parts that are hashed")
    secret: SecretStr = Field(description="what both sides know")
    at: Place = Field(description="where the signature stands, e.g. {header: X-Signature}")
    prefix: str = Field("", description="text before the signature, e.g. sha256=")
    encoding: Literal["hex", "base64"] = "hex"
    over: list[Part] = Field(["body"], min_length=1, description="what is signed, in this order")
    separator: str = Field("", description="between the parts")
    sort: bool = Field(False, description="the parts are sorted as text before they are joined")
    timestamp: Timestamp | None = Field(None, description="must be within window of the hub's time")
    nonce: Place | None = Field(None, description="a value that no other call has; absent: the signature itself")
    window: Duration = Field(300.0, gt=0, description="calls signed longer ago, or later, are refused")
    remembered: int = Field(
        100_000, ge=100, description="calls within the window that are remembered; more are refused for the time being"
    )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not self.secret.get_secret_value():
            raise ValueError("signature needs a secret")
        if not self.algorithm.startswith("hmac-") and "secret" not in self.over:
            raise ValueError(f"{self.algorithm} without hmac-: the secret must be one of the parts in over")
        if ("timestamp" in self.over) != (self.timestamp is not None):
            raise ValueError("timestamp: say where it stands, and name it in over; otherwise anybody could change it")
        if self.nonce is not None and ("nonce" not in self.over or self.timestamp is None):
            raise ValueError("nonce: name it in over, and give timestamp, so that old ones can be forgotten")
        if "nonce" in self.over and self.nonce is None:
            raise ValueError("over has nonce: say where it stands")
        return self


class SignatureCheck:
    """The ``signature`` option of one interface. A replay is recognised within the window, as long as the hub runs."""

    def __init__(self, options: Signature, now: Callable[[], float] = time.time) -> None:
        self._options = options
        self._now = now
        self._secret = options.secret.get_secret_value().encode()
        self._keyed = options.algorithm.startswith("hmac-")
        self._hash = _HASHES[options.algorithm.removeprefix("hmac-")]
        self._seen: OrderedDict[str, float] = OrderedDict()  # nonce -> until when it must be remembered

    def check(self, request: web.BaseRequest, body: bytes) -> str:
        """The nonce of a call that is signed well; raises :class:`Refusal`. What is not stored in the end: :meth:`forget`."""
        options = self._options
        query = _query_of(request) if self._reads_query else {}
        given = _value(options.at, request, query)
        stamp = _value(options.timestamp, request, query) if options.timestamp is not None else ""
        nonce = _value(options.nonce, request, query) if options.nonce is not None else ""
        if not given:
            raise _refusal("http.signature_missing", ("the signature is missing", "缺少签名"))
        parts = [self._part(name, request, body, stamp, nonce) for name in options.over]
        if options.sort:
            parts.sort()
        data = options.separator.encode().join(parts)
        digest = HMAC(self._secret, self._hash()) if self._keyed else hashes.Hash(self._hash())
        digest.update(data)
        made = digest.finalize()
        if not given.startswith(options.prefix):
            raise _wrong()
        if not hmac.compare_digest(_bytes_of(given[len(options.prefix) :], options.encoding), made):
            raise _wrong()
        if options.timestamp is None:
            return ""
        self._check_time(stamp)
        key = nonce or made.hex()
        self._remember(key)
        return key

    def forget(self, nonce: str) -> None:
        """The call was not taken in: the same may come again."""
        self._seen.pop(nonce, None)

    @property
    def _reads_query(self) -> bool:
        options = self._options
        return any(place is not None and place.query for place in (options.at, options.timestamp, options.nonce))

    def _part(self, name: Part, request: web.BaseRequest, body: bytes, stamp: str, nonce: str) -> bytes:
        match name:
            case "body":
                return body
            case "secret":
                return self._secret
            case "timestamp":
                return stamp.encode("utf-8", "surrogateescape")
            case "nonce":
                return nonce.encode("utf-8", "surrogateescape")
            case "method":
                return request.method.encode()
            case "path":
                return request.raw_path.partition("?")[0].encode("utf-8", "surrogateescape")
            case "query":
                return request.raw_path.partition("?")[2].encode("utf-8", "surrogateescape")

    def _check_time(self, stamp: str) -> None:
        options = self._options
        unit = 1000.0 if options.timestamp is not None and options.timestamp.unit == "ms" else 1.0
        if not _TIME.fullmatch(stamp) or abs(int(stamp) / unit - self._now()) > options.window:
            raise _refusal(
                "http.signature_time",
                ("the call was not signed within the agreed time", "签名时间不在约定范围内"),
                ("check the clock of both sides and the unit of the timestamp", "请检查双方时钟及时间戳单位"),
            )

    def _remember(self, key: str) -> None:
        now, seen = self._now(), self._seen
        while seen:
            first = next(iter(seen))
            if seen[first] > now:
                break
            del seen[first]
        if key in seen:
            raise _refusal(
                "http.replayed",
                ("this call came before", "该调用此前已收到"),
                ("sign every call anew", "每次调用请重新签名"),
            )
        if len(seen) >= self._options.remembered:
            raise Refusal(
                429,
                "http.signature_many",
                ("too many signed calls within the window", "时间窗口内的签名调用过多"),
                (
                    "send the same again later, or have signature.remembered raised",
                    "请稍后重发，或调大 signature.remembered",
                ),
                {"Retry-After": "5"},
            )
        seen[key] = now + 2 * self._options.window  # one from the future stays good so much longer


def _query_of(request: web.BaseRequest) -> dict[str, str]:
    try:
        return dict(parse_qsl(request.raw_path.partition("?")[2], max_num_fields=_MOST_FIELDS))
    except ValueError:
        return {}


def _value(place: Place | None, request: web.BaseRequest, query: dict[str, str]) -> str:
    if place is None:
        return ""
    value = request.headers.get(place.header, "") if place.header else query.get(place.query, "")
    return value.strip() if len(value) <= _LONGEST else ""


def _bytes_of(text: str, encoding: str) -> bytes:
    """What the caller shows, as far as it has the right form."""
    try:
        return bytes.fromhex(text) if encoding == "hex" else base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def _wrong() -> Refusal:
    return _refusal("http.signature_wrong", ("the signature is wrong", "签名不正确"))


def _refusal(code: str, detail: tuple[str, str], remedy: tuple[str, str] | None = None) -> Refusal:
    usual = ("sign the call as agreed for this interface", "请按该接口的约定签名")
    return Refusal(401, code, detail, remedy or usual, {"WWW-Authenticate": 'Signature realm="tongqu"'})
