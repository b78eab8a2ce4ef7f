"""``signature``: a signature over a text composed of parts of the call, as most platforms have one of their own."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import quote
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator, model_validator

from hub.contract import Duration
from hub.crypto.classic import same
from hub.errors import HubError
from hub.i18n import t
from hub.security.errors import Refused, missing_signature, no_key, unreadable_time, wrong_signature
from hub.security.keyed import KeyOptions, Signer, signer
from hub.security.places import Encoding, Place, as_text, decode, encode, form_pairs, is_form, json_object
from hub.security.replay import ReplayGuard
from hub.security.scheme import Opening, Scheme, SchemeOptions
from hub.security.text import Template, filtered
from hub.security.wire import Wire

if TYPE_CHECKING:
    from hub.callers.door import Door
    from hub.callers.model import Credential

__all__ = ["Fields", "Signature", "SignatureOptions", "Signed", "Value"]

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LONGEST = 4096
_LOGGED = 512  # characters of a signature in the call log: that of an RSA key of 3072 bits
_MOST_PARTS = 1000
#: By the first part of an algorithm's name: kinds of callers' credentials; else they share a secret with the hub.
_CREDENTIALS = {"sm2": ("sm2",), "rsa": ("rsa",)}
_RESERVED = frozenset(("secret", "fields", "sorted"))


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

    text: str = Field(
        "", description="template of the text; default: {fields} or {sorted} where one of them is given, else {body}"
    )
    fields: Fields | None = None
    sorted: list[str] = Field(
        default_factory=list,
        description="templates whose texts are sorted and joined: {sorted}, e.g. ['{secret}', '{nonce}']",
    )
    values: dict[str, Value] = Field(default_factory=dict, description="values for the text, by name")
    at: Place
    first: list[str] = Field(
        default_factory=list, description="filters the text goes through before it is signed, e.g. [sha1, hex]"
    )
    prefix: str = Field("", description="text before the signature")
    encoding: Encoding = "hex"

    @model_validator(mode="after")
    def _sound(self) -> Self:
        for name in self.values:
            if not _NAME.fullmatch(name) or name in _RESERVED:
                raise ValueError(f"values: {name!r} is no name for a value: small letters, digits, _")
        for name in self.first:
            filtered(name)
        names = self.names()
        if "fields" in names and self.fields is None:
            raise ValueError("the text has {fields}: say which, below fields")
        if "sorted" in names and not self.sorted:
            raise ValueError("the text has {sorted}: say what, below sorted")
        if self.at.field and "body" in names:
            raise ValueError("a signature in the body can't cover {body}: sign {fields}, or put it into a header")
        if self.at.query and names & {"query", "query_sorted", "target"}:
            raise ValueError("a signature in the query can't cover the query as text: sign {fields}")
        return self

    def template(self) -> Template:
        usual = "{fields}" if self.fields is not None else "{sorted}" if self.sorted else "{body}"
        return Template(self.text or usual, [*_RESERVED, *self.values])

    def sorted_templates(self) -> list[Template]:
        return [Template(text, ["secret", *self.values]) for text in self.sorted]

    def names(self) -> set[str]:
        """Everything that is signed."""
        own = self.template().names
        return own.union(*(part.names for part in self.sorted_templates())) if "sorted" in own else own


class SignatureOptions(KeyOptions, Signed):
    """Options of ``signature``."""

    window: Duration = Field(300.0, gt=0, description="calls signed longer ago, or later, are refused")
    remembered: int = Field(100_000, ge=100, description="nonces remembered within the window; more are refused")
    skew: Duration = Field(5.0, ge=0, description="how far the clocks may differ at a restart of the hub")
    reply: Signed | None = Field(None, description="replies are signed too, in this way")
    keys: Literal["given", "caller"] = Field(
        "given", description="caller: what comes is checked with the key of the credential it names, see `hub callers`"
    )
    key_id: Place | None = Field(None, description="keys: caller: where the call names its credential")

    @model_validator(mode="after")
    def _only_replies_answer(self) -> Self:
        if any(name.startswith("asked.") for name in self.names()):
            raise ValueError("asked.NAME is of the request that a reply answers: it belongs to reply.text")
        return self

    @model_validator(mode="after")
    def _keys_of_callers(self) -> Self:
        if (self.keys == "caller") != (self.key_id is not None):
            raise ValueError("keys: caller and key_id belong together")
        if self.keys == "given":
            return self
        if self.secret.get_secret_value() or self.public.get_secret_value() or self.earlier:
            raise ValueError("keys: caller has no secret, public or earlier: they are those of the caller's credential")
        if self.reply is not None and not self.private.get_secret_value():
            raise ValueError("replies to callers are signed with the hub's own key: give private, or no reply")
        return self

    @model_validator(mode="after")
    def _keyed(self) -> Self:
        for part in (self, self.reply):
            if part is None:
                continue
            has_secret = "secret" in part.names()
            if self.keyless and not has_secret:
                raise ValueError(f"{self.algorithm} is no secret by itself: the text needs {{secret}}, or use hmac-…")
            if has_secret and not self.secret.get_secret_value() and self.keys == "given":
                raise ValueError("the text has {secret}: give secret")
        if any(value.random for value in self.values.values()) and not any(v.now for v in self.values.values()):
            raise ValueError("a nonce needs a time beside it (now), so that old ones can be forgotten")
        return self


class _Part:
    """One signed direction: requests, or replies."""

    def __init__(self, signed: Signed, options: SignatureOptions, made_by: Signer, now: Callable[[], float]) -> None:
        self._signed = signed
        self._template = signed.template()
        self._first = [filtered(name) for name in signed.first]
        self._sorted = signed.sorted_templates()
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
        if self._sorted:
            given["sorted"] = b"".join(sorted([part.fill(wire, given) for part in self._sorted]))
        text = self._template.fill(wire, given)
        for change in self._first:
            text = change(text)
        return text

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
        self._now = now
        self._parts: dict[str, tuple[Credential, _Part]] = {}  # of callers, by the id of the credential
        self._key_id = options.key_id
        self.asks_caller = options.keys == "caller"
        self._kinds = _CREDENTIALS.get(options.algorithm.partition("-")[0], ("hmac",))
        if self.asks_caller:  # for calls that name no credential: the same steps, and nothing that verifies
            options = options.model_copy(update={"secret": SecretStr(secrets.token_hex(32))})
        made_by = signer(options)
        self._request = _Part(options, options, made_by, now)
        self._reply = _Part(options.reply, options, made_by, now) if options.reply is not None else None
        self._values = options.values
        self._timed = next((name for name, value in options.values.items() if value.now), "")
        self._nonce = next((name for name, value in options.values.items() if value.random), "")
        self._guard = ReplayGuard(options.window, limit=options.remembered, skew=options.skew, now=now)

    def seal_request(self, wire: Wire) -> None:
        if self.asks_caller:
            raise no_key("secret")
        self._request.seal(wire)

    def open_reply(self, wire: Wire) -> None:
        if self._reply is not None:
            self._reply.check(wire)

    def open_request(self, wire: Wire, opening: Opening) -> None:
        if self._key_id is None:
            self._open(self._request, wire, opening)
        else:
            self._open_of_caller(self._key_id, wire, opening)

    def _open_of_caller(self, key_id: Place, wire: Wire, opening: Opening) -> None:
        """With the key of the credential the call names; then its caller has to be let in."""
        door = self.door
        if door is None:
            raise Refused(
                t("callers can't be checked just now", "暂时无法核验调用方"), code="caller.unavailable", status=503
            )
        credential = door.look_up(key_id.read(wire), self._kinds, wire.remote)
        part = self._request if credential is None else self._part_of(credential, door)
        try:
            self._open(part, wire, opening, credential.id if credential is not None else "")
            if credential is None:
                raise wrong_signature()
        except Refused:
            door.not_proved(wire.remote)
            raise
        opening.notes["caller"] = door.let_in(credential, wire.remote)

    def _part_of(self, credential: Credential, door: Door) -> _Part:
        known = self._parts.get(credential.id)
        if known is None or known[0] is not credential:  # read anew after a change of the registry
            key = SecretStr(door.key_of(credential))
            options: SignatureOptions = self._options
            options = options.model_copy(update={"public" if credential.public else "secret": key})
            if len(self._parts) >= _MOST_PARTS:
                self._parts.clear()
            known = self._parts[credential.id] = credential, _Part(options, options, signer(options), self._now)
        return known[1]

    def _open(self, part: _Part, wire: Wire, opening: Opening, scope: str = "") -> None:
        """``scope``: whose nonces they are."""
        values, signature = part.check(wire)
        opening.notes["signature"] = encode(signature, "base64")[:_LOGGED]
        if not self._timed:
            return
        signed_at = self._values[self._timed].seconds(values[self._timed])
        if signed_at is None:
            raise unreadable_time()
        # Without a nonce the signature itself tells a call apart; SM2 and RSA-PSS sign the same text differently each time,
        # but whoever sends a call again has only the one signature.
        opening.once(self._guard, signed_at, scope + (values.get(self._nonce) or signature.hex()))

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
