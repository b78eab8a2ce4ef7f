"""Tokens as Chinese platforms have them: given for user name and password by a call of its own, shown inside the body of every other.

``token`` puts the token of a login into the body of what leaves, and checks it in what comes; ``login`` plays the platform that gives
them. Such a token needs no memory: it says until when it is good, under a code that only the hub can make.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable
from typing import Self
from xml.sax.saxutils import escape

from pydantic import Field, SecretStr, model_validator

from hub.contract import Duration
from hub.crypto.classic import digest, hmac_digest, same
from hub.errors import HubError
from hub.i18n import t
from hub.security.errors import Refused
from hub.security.places import Place
from hub.security.scheme import Opening, Scheme, SchemeOptions
from hub.security.wire import Wire

__all__ = ["BodyToken", "BodyTokenOptions", "Login", "LoginOptions"]

_STAMP = 4  # bytes of the time a token ends, seconds since 1970
_CODE = 20  # bytes of its code: with the time 24, which are 32 characters, as many as the narrowest platforms allow
_LONGEST = 512


class _Account(SchemeOptions):
    user: str = Field("", description="name of the account")
    secret: SecretStr = Field(SecretStr(""), description="its password: tokens of a former one are no longer good")
    key: SecretStr = Field(SecretStr(""), description="what codes of tokens are made with: a long random text")

    def code(self, stamp: bytes) -> bytes:
        password = digest("sha256", self.secret.get_secret_value().encode())
        text = b"tongqu.token\0" + stamp + password + self.user.encode()
        return hmac_digest("sha256", self.key.get_secret_value().encode(), text)[:_CODE]


class BodyTokenOptions(_Account):
    """Options of ``token``. Without ``key`` for what leaves, with ``user``, ``secret`` and ``key`` for what comes."""

    at: Place | None = Field(None, description="where the token stands")
    mark: str = Field("", description="out: a text in the body in whose place the token is written, as XML escapes it")
    header: str = Field("x-access-token", description="out: the header in which auth shows it; it is not sent")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if (self.at is None) == (not self.mark):
            raise ValueError("give one of at, mark")
        if self.key.get_secret_value() and (self.at is None or not self.user or not self.secret.get_secret_value()):
            raise ValueError("to check tokens give at, user, secret and key")
        return self


class BodyToken(Scheme):
    """``token``: out, the token of a login moves from its header into the body; in, it is checked and taken out."""

    name = "token"
    options = BodyTokenOptions
    needs_http = True

    def __init__(self, options: BodyTokenOptions, now: Callable[[], float] = time.time) -> None:
        super().__init__(options)
        self._own = options
        self._header = options.header.lower()
        self._mark = options.mark.encode()
        self._now = now

    def seal_request(self, wire: Wire) -> None:
        token = wire.headers.pop(self._header, "")
        if not token:
            raise HubError(
                t(
                    f"there is no token to send: no header {self._header}",
                    f"没有可发送的令牌：缺少请求头 {self._header}",
                ),
                code="security.token",
                remedy=t(
                    "let auth of type login show it in this header", "请让 login 类型的 auth 在该请求头中给出令牌"
                ),
            )
        if self._own.at is not None:
            self._own.at.write(wire, token)
        else:
            wire.body = wire.body.replace(self._mark, escape(token, {'"': "&quot;"}).encode())

    def open_request(self, wire: Wire, opening: Opening) -> None:
        own = self._own
        if own.at is None or not own.key.get_secret_value():
            raise HubError(
                t("there is nothing to check tokens with", "缺少校验令牌所需的选项"),
                code="security.key",
                remedy=t("give user, secret and key", "请给出 user、secret 和 key"),
            )
        given = own.at.read(wire)
        own.at.remove(wire)  # it would be stored with the message
        wire.evidence = wire.body
        if not given:
            raise _refused(t("the token is missing", "缺少令牌"))
        try:
            shown = base64.urlsafe_b64decode(given) if len(given) <= _LONGEST else b""
        except (binascii.Error, ValueError):
            shown = b""
        stamp, code = shown[:_STAMP], shown[_STAMP:]
        good = same(own.code(stamp).hex(), code.hex())
        if not good or len(shown) != _STAMP + _CODE:
            raise _refused(t("the token is wrong", "令牌不正确"))
        if int.from_bytes(stamp, "big") <= self._now():
            raise _refused(t("the token has expired", "令牌已过期"))


class LoginOptions(_Account):
    """Options of ``login``."""

    user_at: Place = Field(description="where the call has the name")
    secret_at: Place = Field(description="where it has the password")
    hashed: str = Field(
        "", pattern="^(md5|sha1|sha256|sm3)?$", description="the call has a digest of it, in hexadecimal"
    )
    token_at: Place = Field(description="where the answer has the token")
    code_at: Place | None = Field(None, description="where the answer says whether it is one of success")
    success: str = Field("", description="what it says there; default: HTTP 2xx is success")
    lifetime: Duration = Field(7200.0, ge=1, le=366 * 86400, description="how long a token is good")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not (self.user and self.secret.get_secret_value() and self.key.get_secret_value()):
            raise ValueError("give user, secret and key")
        if self.code_at is not None and not self.success:
            raise ValueError("say what code_at holds in an answer of success: success")
        return self


class Login(Scheme):
    """``login``: in, name and password are checked, the password is taken out, and the answer gets a token for ``token``."""

    name = "login"
    options = LoginOptions
    needs_http = True

    def __init__(self, options: LoginOptions, now: Callable[[], float] = time.time) -> None:
        super().__init__(options)
        self._own = options
        self._now = now
        secret = options.secret.get_secret_value()
        self._expected = digest(options.hashed, secret.encode()).hex() if options.hashed else secret  # type: ignore[arg-type]

    def open_request(self, wire: Wire, opening: Opening) -> None:
        own = self._own
        user, secret = own.user_at.read(wire), own.secret_at.read(wire)
        own.secret_at.remove(wire)  # it would be stored with the message
        wire.evidence = wire.body
        if own.hashed:
            secret = secret.lower()
        known = same(user, own.user)
        if not (same(secret, self._expected) and known):
            raise Refused(
                t("user name or password is wrong", "用户名或密码不正确"),
                code="security.login",
                remedy=t("use the account given for this interface", "请使用为该接口分配的账号"),
            )

    def seal_reply(self, wire: Wire) -> None:
        own = self._own
        if not 200 <= wire.status < 300:
            return
        if own.code_at is not None and own.code_at.read(wire) != own.success:
            return
        stamp = (int(self._now()) + int(own.lifetime)).to_bytes(_STAMP, "big")
        own.token_at.write(wire, base64.urlsafe_b64encode(stamp + own.code(stamp)).decode())


def _refused(text: str) -> Refused:
    return Refused(
        text,
        code="security.token",
        remedy=t("log in again and send the same with the new token", "请重新登录，以新令牌再次发送"),
    )
