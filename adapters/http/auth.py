"""Checking the credentials of a caller, in a time that does not depend on how nearly right they are."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping

from adapters.http.problem import Refusal
from adapters.http.server_options import InboundAuth

__all__ = ["Gate"]

_REALM = 'realm="tongqu"'


class Gate:
    """The ``auth`` option of one interface."""

    __slots__ = ("_challenge", "_expected", "_header", "_kind")

    def __init__(self, auth: InboundAuth) -> None:
        secret = auth.secret.get_secret_value().encode()
        self._kind = auth.type
        self._header = auth.header if auth.type == "api_key" else "Authorization"
        self._expected = auth.user.encode() + b":" + secret if auth.type == "basic" else secret
        self._challenge = {
            "none": "",
            "basic": f'Basic {_REALM}, charset="UTF-8"',
            "bearer": f"Bearer {_REALM}",
            "api_key": f'ApiKey {_REALM}, header="{auth.header}"',
        }[auth.type]

    def check(self, headers: Mapping[str, str]) -> None:
        """Raise :class:`Refusal` (401) when the credentials are missing or wrong."""
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
