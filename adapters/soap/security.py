"""WS-Security headers: checking those of callers, writing ours (WS-Security 1.1, UsernameToken Profile 1.1)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from datetime import UTC, datetime, timedelta

from lxml import etree

from adapters.soap.envelope import Envelope, read_envelope
from adapters.soap.fault import FaultRefusal
from adapters.soap.names import WSSE, WSU
from adapters.soap.security_options import InboundSecurity, OutboundSecurity
from adapters.soap.signature import Signer, Trust, load_certificates, verify
from adapters.soap.text import as_text

__all__ = ["SECURITY", "Inspector", "Nonces", "Stamp"]

SECURITY = f"{{{WSSE}}}Security"
_PROFILE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0"
_NONCE_TYPE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary"
_MOST_NONCES = 200_000
_LONGEST_NONCE = 256


class Nonces:
    """The nonces seen within a time; in memory, so that a restart forgets them."""

    def __init__(self, window: float) -> None:
        self._window = window
        self._seen: OrderedDict[bytes, float] = OrderedDict()
        self._lock = threading.Lock()  # large envelopes are read in threads

    def first(self, nonce: bytes, now: float) -> bool:
        """Whether this one was not seen before; ``now`` in seconds. False as well while there are too many to remember."""
        with self._lock:
            while self._seen and next(iter(self._seen.values())) <= now:
                self._seen.popitem(last=False)
            if nonce in self._seen or len(self._seen) >= _MOST_NONCES:
                return False
            self._seen[nonce] = now + self._window
            return True


class Inspector:
    """Checks the Security header of a message. Raises :class:`HubError` when files can't be used."""

    def __init__(self, options: InboundSecurity | OutboundSecurity, *, user: bool) -> None:
        self._user = options.username.encode() if user else b""
        self._password = options.password.get_secret_value().encode()
        self._kinds = ("text", "digest") if options.password_type == "any" else (options.password_type,)  # noqa: S105
        self._age = options.max_age
        self._signed = options.signed
        self._trust = Trust(load_certificates(options.trusted), sha1=options.sha1) if options.trusted else None
        # A nonce may come back as long as its creation time is taken: from max_age behind to max_age before us.
        self._nonces = Nonces(2 * options.max_age)

    def check(self, envelope: Envelope) -> None:
        """Raise :class:`FaultRefusal` unless the header shows what the options ask for."""
        if not self._user and self._trust is None:
            return
        found = [block for block in envelope.blocks() if block.tag == SECURITY]
        if len(found) != 1:
            raise _refused(
                "InvalidSecurity",
                "soap.security_missing",
                ("exactly one wsse:Security header is needed", "需要且仅需要一个 wsse:Security 头块"),
            )
        security = found[0]
        stamps = security.findall(f"{{{WSU}}}Timestamp")
        if len(stamps) > 1:
            raise _refused("InvalidSecurity", "soap.timestamp", ("more than one timestamp", "时间戳多于一个"))
        now = datetime.now(UTC)
        if stamps:
            self._check_times(stamps[0], now)
        if self._trust is not None:
            required = [envelope.body] if "body" in self._signed else []
            if "timestamp" in self._signed:
                if not stamps:
                    raise _refused("InvalidSecurity", "soap.timestamp", ("a timestamp is needed", "缺少时间戳"))
                required.append(stamps[0])
            verify(envelope, security, self._trust, required)
        if self._user:
            self._check_user(security, now)

    def _check_times(self, stamp: etree._Element, now: datetime) -> None:
        created, expires = stamp.findtext(f"{{{WSU}}}Created"), stamp.findtext(f"{{{WSU}}}Expires")
        self._check_created(created, now)
        if expires is not None and _moment(expires) <= now:
            raise _expired()

    def _check_created(self, text: str | None, now: datetime) -> None:
        if abs((_moment(text) - now).total_seconds()) > self._age:
            raise _expired()

    def _check_user(self, security: etree._Element, now: datetime) -> None:
        tokens = security.findall(f"{{{WSSE}}}UsernameToken")
        if len(tokens) != 1:
            raise _refused(
                "InvalidSecurity",
                "soap.user_missing",
                ("exactly one UsernameToken is needed", "需要且仅需要一个 UsernameToken"),
            )
        token = tokens[0]
        password = token.find(f"{{{WSSE}}}Password")
        name = (token.findtext(f"{{{WSSE}}}Username") or "").strip().encode("utf-8", "replace")
        shown = (password.text or "") if password is not None else ""
        kind = "digest" if password is not None and (password.get("Type") or "").endswith("#PasswordDigest") else "text"
        nonce, created = token.findtext(f"{{{WSSE}}}Nonce"), token.findtext(f"{{{WSU}}}Created")
        expected = self._password
        given = shown.encode("utf-8", "replace")
        if kind == "digest":
            salt = _nonce(nonce)
            expected = _digest(salt, created or "", self._password)
            given = shown.strip().encode("utf-8", "replace")
        right = hmac.compare_digest(given, expected) & hmac.compare_digest(name, self._user)
        if not right or kind not in self._kinds:
            raise _refused(
                "FailedAuthentication", "soap.user_wrong", ("user name or password is wrong", "用户名或密码不正确")
            )
        if created is not None or kind == "digest":
            self._check_created(created, now)
        if (nonce is not None or kind == "digest") and not self._nonces.first(_nonce(nonce), time.monotonic()):
            raise _refused(
                "FailedAuthentication",
                "soap.replayed",
                ("this nonce was used before", "该随机数已使用过"),
                ("make a new one for every call, also for a repetition", "每次调用（含重发）都应生成新的随机数"),
            )


class Stamp:
    """Writes the Security header of our messages. Raises :class:`HubError` when files can't be used."""

    def __init__(self, options: OutboundSecurity | InboundSecurity) -> None:
        self._signer = Signer(options.sign) if options.sign is not None else None
        ours = isinstance(options, OutboundSecurity)
        self._user = options.username if ours else ""
        self._password = options.password.get_secret_value().encode()
        self._digest = options.password_type == "digest"  # noqa: S105
        self._lifetime = timedelta(
            seconds=options.lifetime if isinstance(options, OutboundSecurity) else options.max_age
        )
        self._timestamp = isinstance(options, OutboundSecurity) and options.timestamp
        self._must_understand = isinstance(options, OutboundSecurity) and options.must_understand

    @property
    def signs(self) -> bool:
        return self._signer is not None

    def header(self) -> str:
        """The header block, without a signature; "" for nothing to show."""
        parts = ""
        now = datetime.now(UTC)
        if self._timestamp or self._signer is not None:
            parts += (
                f"<wsu:Timestamp><wsu:Created>{_written(now)}</wsu:Created>"
                f"<wsu:Expires>{_written(now + self._lifetime)}</wsu:Expires></wsu:Timestamp>"
            )
        if self._user:
            parts += self._token(_written(now))
        if not parts:
            return ""
        flag = ' soap:mustUnderstand="1"' if self._must_understand else ""
        return f'<wsse:Security xmlns:wsse="{WSSE}" xmlns:wsu="{WSU}"{flag}>{parts}</wsse:Security>'

    def _token(self, created: str) -> str:
        nonce = secrets.token_bytes(16)
        if self._digest:
            kind, shown = "PasswordDigest", _digest(nonce, created, self._password).decode()
        else:
            kind, shown = "PasswordText", as_text(self._password.decode())
        return (
            f"<wsse:UsernameToken><wsse:Username>{as_text(self._user)}</wsse:Username>"
            f'<wsse:Password Type="{_PROFILE}#{kind}">{shown}</wsse:Password>'
            f'<wsse:Nonce EncodingType="{_NONCE_TYPE}">{base64.b64encode(nonce).decode()}</wsse:Nonce>'
            f"<wsu:Created>{created}</wsu:Created></wsse:UsernameToken>"
        )

    def signed(self, data: bytes) -> bytes:
        """An envelope that has our :meth:`header`, signed where that is wanted."""
        if self._signer is None:
            return data
        envelope = read_envelope(data, "utf-8")
        security = next(block for block in envelope.blocks() if block.tag == SECURITY)
        parts = [envelope.body, *security.iterchildren(f"{{{WSU}}}Timestamp", f"{{{WSSE}}}UsernameToken")]
        self._signer.sign(envelope, security, parts)
        return etree.tostring(envelope.root, encoding="UTF-8", xml_declaration=True)


def _digest(nonce: bytes, created: str, password: bytes) -> bytes:
    """UsernameToken Profile 1.1, 3.1: Base64 ( SHA-1 ( nonce + created + password ) )."""
    made = hashlib.sha1(nonce + created.encode() + password, usedforsecurity=False)
    return base64.b64encode(made.digest())


def _nonce(text: str | None) -> bytes:
    try:
        found = base64.b64decode((text or "").strip(), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if not 0 < len(found) <= _LONGEST_NONCE:
        raise _refused("InvalidSecurity", "soap.nonce", ("the nonce is missing or unusable", "随机数缺失或不可用"))
    return found


def _moment(text: str | None) -> datetime:
    """A time of xs:dateTime; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat((text or "").strip()[:40])
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except ValueError:
        raise _refused(
            "InvalidSecurity", "soap.timestamp", ("a time is missing or unusable", "时间缺失或不可用")
        ) from None


def _written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


def _expired() -> FaultRefusal:
    return _refused(
        "MessageExpired",
        "soap.expired",
        ("the message is too old, or the clocks differ too much", "消息已过期，或双方时钟相差过大"),
        ("set the clocks, or raise security.max_age", "请校准时钟，或调大 security.max_age"),
    )


def _refused(fault: str, code: str, text: tuple[str, str], remedy: tuple[str, str] = ("", "")) -> FaultRefusal:
    return FaultRefusal(fault, code, text, remedy)
