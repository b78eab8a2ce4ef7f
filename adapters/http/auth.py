"""Checking the credentials of a caller, in a time that does not depend on how nearly right they are."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aiohttp import web

from adapters.http.problem import Refusal
from adapters.http.server_options import InboundAuth
from hub.api import Bound, HubError, Refused
from hub.i18n import t

if TYPE_CHECKING:
    from hub.callers.door import Door

__all__ = ["CALLER", "Gate", "caller_of"]

_REALM = 'realm="tongqu"'
#: Name of the parameter in the call log, and of ``$caller``.
CALLER = "caller"
_CALLER: web.RequestKey[str] = web.RequestKey(CALLER, str)


class Gate:
    """The ``auth`` option of one interface."""

    __slots__ = ("_auth", "_bound", "_challenge", "_expected", "_header", "_kind", "door")

    def __init__(self, auth: InboundAuth, bound: Bound | None = None) -> None:
        secret = auth.secret.get_secret_value().encode()
        self._auth = auth
        self._bound = bound
        self._kind = auth.type
        self._header = auth.header if auth.type in ("api_key", "caller") else "Authorization"
        self._expected = auth.user.encode() + b":" + secret if auth.type == "basic" else secret
        self._challenge = _challenge(auth)
        self.door: Door | None = None
        if auth.type == "caller" and bound is not None and bound.callers is not None:
            self.door = bound.callers.door(bound.place, auth.accept)

    def ready(self) -> None:
        """Raise :class:`HubError` where callers are asked for and can't be checked: nobody is let in unchecked."""
        if self._kind != "caller" or self._bound is None:
            return
        if self.door is None:
            raise HubError(
                t(f"{self._bound.place}: callers can't be checked", f"{self._bound.place}：无法核验调用方"),
                code="caller.unavailable",
                remedy=t("see the problem with access", "请查看 access 的问题"),
            )
        schemes = self._bound.protection.schemes if self._bound.protection is not None else ()
        if any(scheme.asks_caller for scheme in schemes):
            raise HubError(
                t(
                    f"{self._bound.place}: both auth and security ask who calls",
                    f"{self._bound.place}：auth 与 security 均要求识别调用方",
                ),
                code="caller.twice",
                remedy=t("write auth: {type: none}; the signature tells", "请写 auth: {type: none}，由签名识别"),
            )

    def admit(self, request: web.BaseRequest) -> None:
        """Raise :class:`Refusal` unless the call may be made; a caller is kept with the request, see :func:`caller_of`."""
        if self._kind == "caller":
            self._admit_caller(request)
        else:
            self.check(request.headers)

    def check(self, headers: Mapping[str, str]) -> None:
        """Raise :class:`Refusal` (401) when the credentials every caller shares are missing or wrong."""
        if self._kind == "none":
            return
        given = headers.get(self._header)
        if given is None:
            raise self._refusal(
                "http.auth_missing",
                (f"the header {self._header} is missing", f"缺少请求头 {self._header}"),
            )
        if not hmac.compare_digest(self._shown(given), self._expected):
            raise self._refusal("http.auth_wrong", ("the credentials are wrong", "认证信息不正确"))

    def _admit_caller(self, request: web.BaseRequest) -> None:
        door = self.door
        if door is None:  # an interface that does not start is not called
            raise _not_now()
        headers = request.headers
        certificate = b""
        if "mtls" in self._auth.accept and request.transport is not None:
            tls = request.transport.get_extra_info("ssl_object")
            certificate = (tls.getpeercert(True) if tls is not None else None) or b""
        try:
            request[_CALLER] = door.admit(
                authorization=headers.get("Authorization", ""),
                api_key=headers.get(self._header, ""),
                certificate=certificate,
                remote=request.remote or "",
            )
        except Refused as error:
            raise _refusal_of(error, self._challenge) from None

    def _shown(self, given: str) -> bytes:
        """What the caller shows, as far as it has the right form."""
        if self._kind == "api_key":
            return given.encode("utf-8", "surrogatepass")
        scheme, _, value = given.partition(" ")
        if scheme.lower() != self._kind:
            return b""
        value = value.strip(" ")
        if self._kind == "bearer":
            return value.encode("utf-8", "surrogatepass")
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return b""

    def _refusal(self, code: str, detail: tuple[str, str]) -> Refusal:
        return Refusal(
            401,
            code,
            detail,
            ("send the credentials agreed for this interface", "请携带该接口约定的认证信息"),
            {"WWW-Authenticate": self._challenge},
        )


def caller_of(request: web.BaseRequest) -> dict[str, str]:
    """Who calls, as a parameter of the call; nothing where the interface does not ask."""
    return {CALLER: request[_CALLER]} if _CALLER in request else {}


def _refusal_of(error: Refused, challenge: str) -> Refusal:
    """Why a caller was not let in, as an answer."""
    headers = {}
    if error.status == 401 and challenge:
        headers["WWW-Authenticate"] = challenge
    if error.retry_after:
        headers["Retry-After"] = str(error.retry_after)
    return Refusal(error.status, error.code, (error.text, error.text), (error.remedy, error.remedy), headers)


def _not_now() -> Refusal:
    return Refusal(503, "caller.unavailable", ("callers can't be checked just now", "暂时无法核验调用方"))


def _challenge(auth: InboundAuth) -> str:
    """``WWW-Authenticate`` of RFC 9110, 11.6.1: one challenge for each scheme that is taken."""
    key = f'ApiKey {_REALM}, header="{auth.header}"'
    basic, bearer = f'Basic {_REALM}, charset="UTF-8"', f"Bearer {_REALM}"
    if auth.type != "caller":
        return {"none": "", "basic": basic, "bearer": bearer, "api_key": key}[auth.type]
    kinds = set(auth.accept)
    wanted = [bearer] if kinds & {"bearer", "jwt", "oauth2"} else []
    wanted += [basic] if "basic" in kinds else []
    wanted += [key] if "api_key" in kinds else []
    return ", ".join(wanted)
