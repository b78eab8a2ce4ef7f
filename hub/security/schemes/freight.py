"""Schemes of the freight platforms that are queried: LOGINK's open gateway and the national vehicle supervision platform.

The envelopes of the waybill exchange are ``encryption`` with an envelope. Facts: ``protocols-gov-pay.md`` 1.11, 1.12.
"""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Callable

from pydantic import Field, SecretStr

from hub.contract import Duration
from hub.crypto.classic import digest, hmac_digest, same
from hub.security.errors import missing_signature, wrong_signature
from hub.security.places import as_text, form_pairs, form_text, is_form, json_object
from hub.security.replay import ReplayGuard
from hub.security.scheme import Opening, Scheme, SchemeOptions
from hub.security.wire import Wire

__all__ = ["Logink", "Sinoiov"]

_FORM = "application/x-www-form-urlencoded"
_MOST_SIGNED = 32


class LoginkOptions(SchemeOptions):
    """Options of ``logink``."""

    key: str = Field(min_length=1, description="X-Ca-Key: the application's key")
    secret: SecretStr
    window: Duration = Field(900.0, gt=0, description="the gateway's own: 15 minutes")


class Logink(Scheme):
    """``logink``: headers X-Ca-… with HMAC-SHA256 over method, headers and the sorted parameters."""

    name = "logink"
    options = LoginkOptions
    needs_http = True
    _SIGNED = ("x-ca-key", "x-ca-nonce", "x-ca-timestamp")

    def __init__(self, options: LoginkOptions, now: Callable[[], float] = time.time) -> None:
        super().__init__(options)
        self._own = options
        self._now = now
        self._guard = ReplayGuard(options.window, now=now)

    def seal_request(self, wire: Wire) -> None:
        headers = wire.headers
        headers["x-ca-key"] = self._own.key
        headers["x-ca-timestamp"] = str(int(self._now() * 1000))
        headers["x-ca-nonce"] = uuid.uuid4().hex
        # Written as in the text that is signed: a gateway builds the text from the names as they stand here.
        headers["x-ca-signature-headers"] = ",".join(_shown(name) for name in self._SIGNED)
        if wire.body and not is_form(wire):
            headers["content-md5"] = _md5(wire.body)
        headers["x-ca-signature"] = self._signature(wire, self._SIGNED)

    def open_request(self, wire: Wire, opening: Opening) -> None:
        headers = wire.headers
        given = headers.get("x-ca-signature", "")
        if not given:
            raise missing_signature()
        names = [name.strip().lower() for name in headers.get("x-ca-signature-headers", "").split(",")]
        if len(names) > _MOST_SIGNED or not set(self._SIGNED) <= set(names):
            raise wrong_signature()
        if wire.body and not is_form(wire) and not same(headers.get("content-md5", ""), _md5(wire.body)):
            raise wrong_signature()
        nonce, stamp = headers.get("x-ca-nonce", ""), headers.get("x-ca-timestamp", "")
        if (
            not nonce
            or not same(headers.get("x-ca-key", ""), self._own.key)
            or not same(given, self._signature(wire, names))
        ):
            raise wrong_signature()
        if not (stamp.isascii() and stamp.isdecimal() and len(stamp) <= 16):
            raise wrong_signature()
        opening.once(self._guard, int(stamp) / 1000, nonce)

    def _signature(self, wire: Wire, names: tuple[str, ...] | list[str]) -> str:
        get = wire.headers.get
        pairs = form_pairs(wire.query)
        if is_form(wire):
            pairs += form_pairs(wire.body.decode("utf-8", "replace"))
        sorted_pairs = "&".join(f"{name}={value}" if value else name for name, value in sorted(pairs))
        lines = [wire.method, get("accept", ""), get("content-md5", ""), get("content-type", ""), get("date", "")]
        lines += [f"{_shown(name)}:{get(name, '')}" for name in sorted(names)]
        lines.append(wire.path + (f"?{sorted_pairs}" if sorted_pairs else ""))
        text = "\n".join(lines).encode("utf-8", "surrogateescape")
        key = self._own.secret.get_secret_value().encode()
        return base64.b64encode(hmac_digest("sha256", key, text)).decode()


class SinoiovOptions(SchemeOptions):
    """Options of ``sinoiov``."""

    client_id: str = Field("", description="cid; added where the body has none")
    secret_field: str = Field("", description="field that carries the secret itself, where a platform wants that: srt")
    secret: SecretStr


class Sinoiov(Scheme):
    """``sinoiov``: the body, a JSON object or form, becomes a form with ``sign``: HMAC-SHA1 over names and values, sorted."""

    name = "sinoiov"
    options = SinoiovOptions

    def __init__(self, options: SinoiovOptions) -> None:
        super().__init__(options)
        self._own = options

    def seal_request(self, wire: Wire) -> None:
        if is_form(wire):
            fields = dict(form_pairs(wire.body.decode()))
        else:
            fields = {str(name): as_text(value) for name, value in json_object(wire.body or b"{}").items()}
        if self._own.client_id:
            fields.setdefault("cid", self._own.client_id)
        if self._own.secret_field:
            fields.setdefault(self._own.secret_field, self._own.secret.get_secret_value())
        fields["sign"] = self._sign(fields)
        wire.body = form_text(fields.items()).encode()
        wire.headers["content-type"] = _FORM

    def open_request(self, wire: Wire, opening: Opening) -> None:
        fields = dict(form_pairs(wire.body.decode("utf-8", "replace")))
        given = fields.pop("sign", "")
        if not given:
            raise missing_signature()
        if not same(given.upper(), self._sign(fields)):
            raise wrong_signature()
        wire.body = form_text(fields.items()).encode()

    def _sign(self, fields: dict[str, str]) -> str:
        text = "".join(f"{name}{value}" for name, value in sorted(fields.items()) if name != "sign")
        key = self._own.secret.get_secret_value().encode()
        return hmac_digest("sha1", key, text.encode("utf-8", "surrogateescape")).hex().upper()


def _md5(body: bytes) -> str:
    return base64.b64encode(digest("md5", body)).decode()


def _shown(name: str) -> str:
    """The name as the gateway writes it in the text: X-Ca-Key."""
    return "-".join(part.capitalize() for part in name.split("-"))
