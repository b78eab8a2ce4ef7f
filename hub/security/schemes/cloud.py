"""Request signatures of two public clouds, whose SMS services hospitals use: Aliyun V3 and Tencent Cloud V3."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from urllib.parse import quote

from pydantic import Field, SecretStr

from hub.contract import Duration
from hub.crypto.classic import digest, hmac_digest, same
from hub.security.errors import missing_signature, wrong_signature
from hub.security.places import form_pairs
from hub.security.replay import ReplayGuard
from hub.security.scheme import Opening, Scheme, SchemeOptions
from hub.security.wire import Wire

__all__ = ["AliyunAcs3", "AliyunOptions", "TencentOptions", "TencentTc3"]

_PART = re.compile(r"(Credential|SignedHeaders|Signature)=([^,\s]+)")
_MOST_HEADERS = 64


class AliyunOptions(SchemeOptions):
    """Options of ``aliyun_acs3``."""

    access_key: str = Field(min_length=1)
    secret: SecretStr
    action: str = Field("", description="name of the operation, e.g. SendSms; x-acs-action")
    version: str = Field("", description="of the API, e.g. 2017-05-25; x-acs-version")
    window: Duration = Field(900.0, gt=0, description="the platform's own: 15 minutes")


class AliyunAcs3(Scheme):
    """``aliyun_acs3``: ACS3-HMAC-SHA256. In: checks calls as the platform does, for simulators and for partners that sign so."""

    name = "aliyun_acs3"
    options = AliyunOptions
    needs_http = True

    def __init__(self, options: AliyunOptions, now: Callable[[], float] = time.time) -> None:
        super().__init__(options)
        self._own = options
        self._now = now
        self._guard = ReplayGuard(options.window, now=now)

    def seal_request(self, wire: Wire) -> None:
        own, headers = self._own, wire.headers
        moment = datetime.fromtimestamp(self._now(), UTC)
        headers["x-acs-date"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        headers["x-acs-signature-nonce"] = secrets.token_hex(16)
        headers["x-acs-content-sha256"] = digest("sha256", wire.body).hex()
        if own.action:
            headers["x-acs-action"] = own.action
        if own.version:
            headers["x-acs-version"] = own.version
        headers.setdefault("host", wire.host)
        names = sorted(name for name in headers if name.startswith("x-acs-") or name in ("host", "content-type"))
        signature = self._signature(wire, names)
        headers["authorization"] = (
            f"ACS3-HMAC-SHA256 Credential={own.access_key},SignedHeaders={';'.join(names)},Signature={signature}"
        )

    def open_request(self, wire: Wire, opening: Opening) -> None:
        credential, names, given = _parts(wire, "ACS3-HMAC-SHA256")
        needed = {"host", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce"}
        if not same(credential, self._own.access_key) or not needed <= set(names):
            raise wrong_signature()
        if not same(wire.headers.get("x-acs-content-sha256", ""), digest("sha256", wire.body).hex()):
            raise wrong_signature()
        if not same(given, self._signature(wire, names)):
            raise wrong_signature()
        try:
            signed_at = datetime.strptime(wire.headers["x-acs-date"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except (KeyError, ValueError):
            raise wrong_signature() from None
        nonce = wire.headers.get("x-acs-signature-nonce", "")
        if not nonce:
            raise wrong_signature()
        opening.once(self._guard, signed_at.timestamp(), nonce)

    def _signature(self, wire: Wire, names: Iterable[str]) -> str:
        names = list(names)
        lines = "".join(f"{name}:{wire.headers.get(name, '').strip()}\n" for name in names)
        request = "\n".join(
            (
                wire.method,
                wire.path or "/",
                _canonical_query(wire),
                lines,
                ";".join(names),
                wire.headers.get("x-acs-content-sha256", ""),
            )
        )
        text = "ACS3-HMAC-SHA256\n" + digest("sha256", request.encode("utf-8", "surrogateescape")).hex()
        return hmac_digest("sha256", self._own.secret.get_secret_value().encode(), text.encode()).hex()


class TencentOptions(SchemeOptions):
    """Options of ``tencent_tc3``."""

    secret_id: str = Field(min_length=1)
    secret: SecretStr
    service: str = Field(min_length=1, description="e.g. sms")
    action: str = Field("", description="e.g. SendSms; X-TC-Action")
    version: str = Field("", description="of the API, e.g. 2021-01-11; X-TC-Version")
    region: str = Field("", description="e.g. ap-guangzhou; X-TC-Region")
    window: Duration = Field(300.0, gt=0, description="the platform's own: 5 minutes")


class TencentTc3(Scheme):
    """``tencent_tc3``: TC3-HMAC-SHA256 over a JSON body. In: checks calls as the platform does."""

    name = "tencent_tc3"
    options = TencentOptions
    needs_http = True

    def __init__(self, options: TencentOptions, now: Callable[[], float] = time.time) -> None:
        super().__init__(options)
        self._own = options
        self._now = now
        self._guard = ReplayGuard(options.window, now=now)

    def seal_request(self, wire: Wire) -> None:
        own, headers = self._own, wire.headers
        stamp = int(self._now())
        headers["x-tc-timestamp"] = str(stamp)
        for name, value in (("action", own.action), ("version", own.version), ("region", own.region)):
            if value:
                headers[f"x-tc-{name}"] = value
        headers.setdefault("host", wire.host)
        headers.setdefault("content-type", "application/json")
        names = ["content-type", "host", *(["x-tc-action"] if "x-tc-action" in headers else [])]
        signature = self._signature(wire, names, stamp)
        headers["authorization"] = (
            f"TC3-HMAC-SHA256 Credential={own.secret_id}/{self._scope(stamp)}, "
            f"SignedHeaders={';'.join(names)}, Signature={signature}"
        )

    def open_request(self, wire: Wire, opening: Opening) -> None:
        credential, names, given = _parts(wire, "TC3-HMAC-SHA256")
        text = wire.headers.get("x-tc-timestamp", "")
        if not (text.isascii() and text.isdecimal() and len(text) <= 11) or not {"content-type", "host"} <= set(names):
            raise wrong_signature()
        stamp = int(text)
        if not same(credential, f"{self._own.secret_id}/{self._scope(stamp)}"):
            raise wrong_signature()
        if not same(given, self._signature(wire, names, stamp)):
            raise wrong_signature()
        opening.once(self._guard, stamp, given)

    def _scope(self, stamp: int) -> str:
        return f"{datetime.fromtimestamp(stamp, UTC):%Y-%m-%d}/{self._own.service}/tc3_request"

    def _signature(self, wire: Wire, names: Iterable[str], stamp: int) -> str:
        names = list(names)
        lines = "".join(f"{name}:{wire.headers.get(name, '').strip().lower()}\n" for name in names)
        request = "\n".join(
            (
                wire.method,
                "/",
                wire.query if wire.method == "GET" else "",
                lines,
                ";".join(names),
                digest("sha256", wire.body).hex(),
            )
        )
        hashed = digest("sha256", request.encode("utf-8", "surrogateescape")).hex()
        text = f"TC3-HMAC-SHA256\n{stamp}\n{self._scope(stamp)}\n{hashed}"
        key = b"TC3" + self._own.secret.get_secret_value().encode()
        for part in self._scope(stamp).split("/"):
            key = hmac_digest("sha256", key, part.encode())
        return hmac_digest("sha256", key, text.encode()).hex()


def _canonical_query(wire: Wire) -> str:
    pairs = sorted((quote(name, safe="~"), quote(value, safe="~")) for name, value in form_pairs(wire.query))
    return "&".join(f"{name}={value}" for name, value in pairs)


def _parts(wire: Wire, algorithm: str) -> tuple[str, list[str], str]:
    """Credential, names of signed headers, signature. Raises :class:`Refused`."""
    kind, _, rest = wire.headers.get("authorization", "").partition(" ")
    if not kind:
        raise missing_signature()
    found = dict(_PART.findall(rest[:4096]))
    names = found.get("SignedHeaders", "").split(";")
    if kind != algorithm or len(found) != 3 or len(names) > _MOST_HEADERS:
        raise wrong_signature()
    return found["Credential"], names, found["Signature"]
