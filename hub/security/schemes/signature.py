"""``signature``: a signature over a text composed of parts of the call, as most platforms have one of their own."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal, Self
from urllib.parse import quote
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator, model_validator

from hub.contract import Duration
from hub.crypto.classic import same
from hub.errors import HubError
from hub.i18n import t
from hub.security.errors import missing_signature, unreadable_time, wrong_signature
from hub.security.keyed import KeyOptions, Signer, signer
from hub.security.places import Encoding, Place, as_text, decode, encode, form_pairs, is_form, json_object
from hub.security.replay import ReplayGuard
from hub.security.scheme import Opening, Scheme, SchemeOptions
from hub.security.text import Template
from hub.security.wire import Wire

__all__ = ["Fields", "Signature", "SignatureOptions", "Signed", "Value"]

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LONGEST = 4096
_LOGGED = 512  # characters of a signature in the call log: that of an RSA key of 3072 bits
_RESERVED = frozenset(("secret", "fields"))


class Value(SchemeOptions):
    """A value of its own for each call; one of now, random, const."""

    now: str = Field("", description="time of signing: s, ms, or a format such as %Y%m%d%H%M%S")
    zone: str = Field("Asia/Shanghai", description="time zone of ``now`` with a format")
    random: int = Field(0, ge=0, le=128, description="nonce of so many hexadecimal digits")
    const: SecretStr = Field(SecretStr(""), description="the same for each call, e.g. an application id")
    at: Place | None = Field(None, description="where it is sent; absent: it is only signed")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(map(bool, (self.now, self.random, self.const.get_secret_value()))) != 1:
            raise ValueError("give one of now, random, const")
        if (self.now or self.random) and self.at is None:
            raise ValueError("say where it is sent: at")
        return self

    @field_validator("zone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError):
            raise ValueError(f"unknown time zone {value!r}") from None
        return value

    def made(self, now: float) -> str:
        """For a call that leaves at ``now``, seconds since 1970."""
        if self.random:
            return secrets.token_hex((self.random + 1) // 2)[: self.random]
        if self.now == "s":
            return str(int(now))
        if self.now == "ms":
            return str(int(now * 1000))
        if self.now:
            return datetime.fromtimestamp(now, ZoneInfo(self.zone)).strftime(self.now)
        return self.const.get_secret_value()

    def seconds(self, text: str) -> float | None:
        """The time a call says it was signed at; None when it can't be read."""
        if self.now in ("s", "ms"):
            if not (text.isascii() and text.isdecimal() and len(text) <= 16):
                return None
            return int(text) / (1000 if self.now == "ms" else 1)
        try:
            return datetime.strptime(text, self.now).replace(tzinfo=ZoneInfo(self.zone)).timestamp()
        except (ValueError, OverflowError):
            return None


class Fields(SchemeOptions):
    """``{fields}`` in a text: names and values in one line, as most Chinese platforms sign them."""

    of: list[Literal["query", "body", "values"]] = Field(
        ["body"], min_length=1, description="where they come from; of a body: the form, or the JSON object"
    )
    under: str = Field("", description="of a JSON body: the object they are in; default: the whole")
    drop: list[str] = Field(default_factory=list, description="names left out; that of the signature always is")
    drop_empty: bool = Field(True, description="names without a value are left out")
    sort: bool = Field(True, description="by name, as bytes; false: as they come")
    pair: str = Field("=", description="between name and value")
    join: str = Field("&", description="between the pairs")
    url: bool = Field(False, description="values are percent-encoded")


class Signed(SchemeOptions):
    """What is signed, and where the signature stands."""

    text: str = Field("", description="template of the text; default: {fields} where fields are given, else {body}")
    fields: Fields | None = None
    values: dict[str, Value] = Field(default_factory=dict, description="values for the text, by name")
    at: Place
    prefix: str = Field("", description="text before the signature")
    encoding: Encoding = "hex"

    @model_validator(mode="after")
    def _sound(self) -> Self:
        for name in self.values:
            if not _NAME.fullmatch(name) or name in _RESERVED:
                raise ValueError(f"values: {name!r} is no name for a value: small letters, digits, _")
        names = self.template().names
        if "fields" in names and self.fields is None:
            raise ValueError("the text has {fields}: say which, below fields")
        if self.at.field and "body" in names:
            raise ValueError("a signature in the body can't cover {body}: sign {fields}, or put it into a header")
        if self.at.query and names & {"query", "query_sorted", "target"}:
            raise ValueError("a signature in the query can't cover the query as text: sign {fields}")
        return self

    def template(self) -> Template:
        text = self.text or ("{fields}" if self.fields is not None else "{body}")
        return Template(text, [*_RESERVED, *self.values])


class SignatureOptions(KeyOptions, Signed):
    """Options of ``signature``."""

    window: Duration = Field(300.0, gt=0, description="calls signed longer ago, or later, are refused")
    remembered: int = Field(100_000, ge=100, description="nonces remembered within the window; more are refused")
    skew: Duration = Field(5.0, ge=0, description="how far the clocks may differ at a restart of the hub")
    reply: Signed | None = Field(None, description="replies are signed too, in this way")

    @model_validator(mode="after")
    def _keyed(self) -> Self:
        for part in (self, self.reply):
            if part is None:
                continue
            has_secret = "secret" in part.template().names
            if self.keyless and not has_secret:
                raise ValueError(f"{self.algorithm} is no secret by itself: the text needs {{secret}}, or use hmac-…")
            if has_secret and not self.secret.get_secret_value():
                raise ValueError("the text has {secret}: give secret")
        if any(value.random for value in self.values.values()) and not any(v.now for v in self.values.values()):
            raise ValueError("a nonce needs a time beside it (now), so that old ones can be forgotten")
        return self


class _Part:
    """One signed direction: requests, or replies."""

    def __init__(self, signed: Signed, options: SignatureOptions, made_by: Signer, now: Callable[[], float]) -> None:
        self._signed = signed
        self._template = signed.template()
        self._signer = made_by
        self._now = now
        self._secret = options.secret.get_secret_value().encode()
        self._earlier = [each.get_secret_value().encode() for each in options.earlier] if options.keyless else []

    def seal(self, wire: Wire) -> None:
        signed, now = self._signed, self._now()
        values = {name: value.made(now) for name, value in signed.values.items()}
        for name, value in signed.values.items():
            if value.at is not None:
                value.at.write(wire, values[name])
        signature = self._signer.sign(self._text(wire, values, self._secret))
        signed.at.write(wire, signed.prefix + encode(signature, signed.encoding))

    def check(self, wire: Wire) -> tuple[dict[str, str], bytes]:
        """The values of a well-signed call, and its signature. Raises :class:`Refused`."""
        signed = self._signed
        given = signed.at.read(wire)
        if not given:
            raise missing_signature()
        values: dict[str, str] = {}
        for name, value in signed.values.items():
            found = value.at.read(wire) if value.at is not None else value.made(0)
            const = value.const.get_secret_value()
            if len(found) > _LONGEST or (const and not same(found, const)):
                raise wrong_signature()
            values[name] = found
        form = given.removeprefix(signed.prefix) if given.startswith(signed.prefix) else ""
        signature = decode(form, signed.encoding) if len(form) <= _LONGEST else None
        if not signature:
            raise wrong_signature()
        good = [
            self._signer.verify(self._text(wire, values, secret), signature)
            for secret in (self._secret, *self._earlier)
        ]
        if not any(good):
            raise wrong_signature()
        return values, signature

    def _text(self, wire: Wire, values: Mapping[str, str], secret: bytes) -> bytes:
        given = {name: value.encode("utf-8", "surrogateescape") for name, value in values.items()}
        given["secret"] = secret
        if "fields" in self._template.names:
            given["fields"] = self._fields(wire, values)
        return self._template.fill(wire, given)

    def _fields(self, wire: Wire, values: Mapping[str, str]) -> bytes:
        rule = self._signed.fields
        assert rule is not None  # noqa: S101 - checked with the options
        pairs: list[tuple[str, str]] = []
        for source in rule.of:
            if source == "query":
                pairs += form_pairs(wire.query)
            elif source == "values":
                pairs += list(values.items())
            elif is_form(wire):
                pairs += form_pairs(wire.body.decode("utf-8", "replace"))
            elif wire.body:
                pairs += [(str(name), as_text(value)) for name, value in _object(wire.body, rule.under).items()]
        at = self._signed.at
        left_out = {*rule.drop, at.query or at.field.rpartition(".")[2]}
        kept = [(name, value) for name, value in pairs if name not in left_out and (value or not rule.drop_empty)]
        if rule.sort:
            kept.sort(key=lambda pair: pair[0].encode("utf-8", "surrogateescape"))
        if rule.url:
            kept = [(name, quote(value, safe="")) for name, value in kept]
        return rule.join.join(f"{name}{rule.pair}{value}" for name, value in kept).encode("utf-8", "surrogateescape")


class Signature(Scheme):
    """``signature``: signs what leaves, checks what comes."""

    name = "signature"
    options = SignatureOptions

    def __init__(self, options: SignatureOptions, now: Callable[[], float] = time.time) -> None:
        super().__init__(options)
        made_by = signer(options)
        self._request = _Part(options, options, made_by, now)
        self._reply = _Part(options.reply, options, made_by, now) if options.reply is not None else None
        self._values = options.values
        self._timed = next((name for name, value in options.values.items() if value.now), "")
        self._nonce = next((name for name, value in options.values.items() if value.random), "")
        self._guard = ReplayGuard(options.window, limit=options.remembered, skew=options.skew, now=now)

    def seal_request(self, wire: Wire) -> None:
        self._request.seal(wire)

    def open_reply(self, wire: Wire) -> None:
        if self._reply is not None:
            self._reply.check(wire)

    def open_request(self, wire: Wire, opening: Opening) -> None:
        values, signature = self._request.check(wire)
        opening.notes["signature"] = encode(signature, "base64")[:_LOGGED]
        if not self._timed:
            return
        signed_at = self._values[self._timed].seconds(values[self._timed])
        if signed_at is None:
            raise unreadable_time()
        # Without a nonce the signature itself tells a call apart; SM2 and RSA-PSS sign the same text differently each time,
        # but whoever sends a call again has only the one signature.
        opening.once(self._guard, signed_at, values.get(self._nonce) or signature.hex())

    def seal_reply(self, wire: Wire) -> None:
        if self._reply is not None:
            self._reply.seal(wire)


def _object(body: bytes, under: str) -> dict[str, object]:
    found: object = json_object(body)
    for part in under.split(".") if under else ():
        found = found.get(part) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise HubError(
            t(f"the body has no object {under}", f"正文没有对象 {under}"),
            code="security.body",
            remedy=t("send the body as agreed for this interface", "请按该接口的约定发送正文"),
        )
    return found
