"""Fetching tokens: kept until shortly before they expire, one fetch at a time, never in a log or an error."""

from __future__ import annotations

import asyncio
import base64
import math
from collections import deque
from collections.abc import Awaitable, Callable
from urllib.parse import quote_plus, urlencode

from adapters.http.client import Target
from adapters.http.connection import Response
from adapters.http.content import fill_tree, plain_body
from adapters.http.protected import client_of
from adapters.http.proxy import Proxy
from adapters.http.request import Endpoint, RequestHead, header_line
from adapters.http.token_options import LoginAuth, OAuth2Auth, TokenAuth
from adapters.template import Template
from adapters.tls import ClientTls, client_context
from hub.api import HubError, PermanentError, Protection, SendError, UnreachableError
from hub.codecs.json_codec import JsonCodec
from hub.i18n import t
from hub.mapping import Context, compile_expression

__all__ = ["TokenSource", "shared_tokens"]

#: Largest reply with a token, bytes.
_REPLY_LIMIT = 256 << 10
#: Longest token, characters.
_LONGEST = 16 << 10
#: For so long, seconds, refused credentials are not shown again: many systems lock an account after a few wrong logins.
_REFUSED_FOR = 30.0
_DAY = 86400.0
_LONGEST_LIFE = 30 * _DAY


class TokenSource:
    """The token of one login. Belongs to the event loop it is first used on."""

    def __init__(
        self,
        place: str,
        auth: TokenAuth,
        tls: ClientTls,
        proxy: Proxy | None,
        connect_timeout: float,
        protection: Protection | None = None,
    ) -> None:
        self._place = place
        self._auth = auth
        self._endpoint = endpoint = Endpoint(auth.url)
        self._client = client_of(
            Target(
                host=endpoint.host,
                port=endpoint.port,
                ssl=client_context(tls) if endpoint.secure else None,
                server_name=tls.server_name,
                connections=1,
                connect_timeout=connect_timeout,
                reply_limit=_REPLY_LIMIT,
                proxy=proxy,
            ),
            _of_login(auth, protection),
        )
        self._codec = JsonCodec()
        self._token = ""
        self._until = 0.0
        self._refused: PermanentError | None = None
        self._refused_until = 0.0
        self._fetching: asyncio.Task[str] | None = None
        self.fetched = 0  # since the start
        self.users = 0
        self._lately: deque[float] = deque()  # when logins of the last day were made, where they are counted
        if isinstance(auth, OAuth2Auth):
            self._head, self._body = _oauth2(place, endpoint, auth, proxy)
            self._header, self._value = "authorization", Template("Bearer {token}")
            self._read_token, self._read_lifetime = (
                compile_expression(e, "json") for e in ("access_token", "expires_in")
            )
            self._success = self._expired = None
        else:
            secrets = {"user": auth.user, "secret": auth.secret.get_secret_value()}
            tree = fill_tree(auth.body, secrets)
            self._body, kind = plain_body(tree, as_form=auth.form) if auth.method != "GET" else (b"", "")
            head = RequestHead(
                place,
                endpoint,
                auth.method,
                query=auth.query,
                headers=auth.headers,
                content_type=kind,
                proxy=proxy,
            )
            self._head = _whole(head.fill(secrets), self._body, auth.method != "GET")
            self._header, self._value = auth.header.lower(), Template(auth.value)
            self._read_token = compile_expression(auth.token, "json")
            self._read_lifetime = compile_expression(auth.lifetime or "7200", "json")
            self._success = compile_expression(auth.success, "json") if auth.success else None
            self._expired = compile_expression(auth.expired, "json") if auth.expired else None

    async def get(self) -> str:
        """A token that is still good; raises :class:`SendError`. Whoever comes during a fetch waits for the same one."""
        now = asyncio.get_running_loop().time()
        if self._token and now < self._until:
            return self._token
        if self._refused is not None and now < self._refused_until:
            raise self._refused
        if self._fetching is None:
            self._count(now)
            self._fetching = asyncio.create_task(self._fetch(), name=f"token of {self._place}")
            self._fetching.add_done_callback(self._fetched)
        fetching = self._fetching
        # One caller that gives up must not take it from the others.
        await asyncio.wait([fetching])
        if fetching.cancelled():
            raise UnreachableError(
                t("the interface was stopped, nothing was sent", "接口已停止，未发送任何内容"), code="http.stopped"
            )
        return fetching.result()

    async def get_by(self, deadline: float) -> str:
        """:meth:`get`, no longer than until then (seconds of the loop's clock)."""
        try:
            async with asyncio.timeout_at(deadline):
                return await self.get()
        except TimeoutError:
            raise UnreachableError(
                t("no token came in time, nothing was sent", "未能及时取得令牌，未发送任何内容"),
                code="http.token_unreachable",
            ) from None

    async def shown(self, deadline: float, call: Callable[[bytes, str], Awaitable[Response]]) -> Response:
        """Make a call with the token, once more with a new one when the reply says it is no longer good.

        ``call`` gets the header line and the token, and gives a reply whose content codings are undone.
        """
        for last in (False, True):
            token = await self.get_by(deadline)
            response = await call(self.line(token), token)
            if not self.says_expired(response.status, response.body):
                break
            self.forget(token)
            if last:
                break
        return response

    def line(self, token: str) -> bytes:
        """The header that shows it."""
        return header_line(self._header, self._value.fill({"token": token}, str)) if self._header else b""

    def forget(self, token: str) -> None:
        """The target does not accept it. A newer one stays."""
        if token == self._token:
            self._token = ""

    def says_expired(self, status: int, body: bytes) -> bool:
        """Whether the reply to a call says that the token was not good."""
        if status == 401:
            return True
        if self._expired is None:
            return False
        try:
            return bool(self._expired(self._codec.decode(body), Context()))
        except HubError:
            return False

    async def close(self) -> None:
        self.users -= 1
        if self.users > 0:
            return
        _SHARED[:] = [entry for entry in _SHARED if entry[1] is not self]
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
        await self._client.close()

    def _count(self, now: float) -> None:
        """One login more; raises :class:`UnreachableError` when the platform would not take it today."""
        most = self._auth.daily if isinstance(self._auth, LoginAuth) else 0
        if not most:
            return
        while self._lately and self._lately[0] <= now - _DAY:
            self._lately.popleft()
        if len(self._lately) >= most:
            raise UnreachableError(
                t(
                    f"{most} logins were made within a day, more are not allowed: does somebody else use this account?",
                    f"一天内已登录 {most} 次，不允许更多：是否有他人使用该账号？",
                ),
                code="http.token_daily",
            )
        self._lately.append(now)

    # -- fetching ------------------------------------------------------------------------------------------------

    def _fetched(self, task: asyncio.Task[str]) -> None:
        self._fetching = None
        if not task.cancelled():
            task.exception()  # everybody who waited has it; nobody may be left

    async def _fetch(self) -> str:
        loop = asyncio.get_running_loop()
        try:
            response = await self._client.call(self._head, self._body, self._auth.timeout, repeatable=True)
        except SendError as error:  # the application itself has not heard of the message
            raise UnreachableError(
                t(f"no token: {error.text}", f"无法取得令牌：{error.text}"), code="http.token_unreachable"
            ) from None
        status = response.status
        if status in (408, 425, 429) or status >= 500:
            raise UnreachableError(
                t(
                    f"no token: {self._endpoint.target} answered {status}",
                    f"无法取得令牌：{self._endpoint.target} 返回 {status}",
                ),
                code="http.token_unreachable",
            )
        token, lifetime = self._read(status, response.body)
        if not token:
            refused = PermanentError(
                t(
                    f"{self._endpoint.target} gives no token (HTTP {status}); check the credentials in auth",
                    f"{self._endpoint.target} 未发放令牌（HTTP {status}），请检查 auth 中的凭据",
                ),
                code="http.token_refused",
            )
            self._refused, self._refused_until = refused, loop.time() + _REFUSED_FOR
            raise refused
        self._refused = None
        self._token = token
        self._until = loop.time() + max(lifetime - self._auth.early, lifetime / 2)
        self.fetched += 1
        return token

    def _read(self, status: int, body: bytes) -> tuple[str, float]:
        """(token, seconds it lives); ("", 0) where there is none."""
        if not 200 <= status < 300:
            return "", 0.0
        try:
            tree = self._codec.decode(body)
            if self._success is not None and not self._success(tree, Context()):
                return "", 0.0
            token, lifetime = self._read_token(tree, Context()), self._read_lifetime(tree, Context())
        except HubError:
            return "", 0.0
        if (
            not isinstance(token, str)
            or not 0 < len(token) <= _LONGEST
            or not (token.isascii() and token.isprintable())
        ):
            return "", 0.0
        try:
            seconds = float(lifetime)
        except (TypeError, ValueError):
            seconds = self._auth.lifetime if isinstance(self._auth, OAuth2Auth) else 7200.0
        return token, min(seconds, _LONGEST_LIFE) if math.isfinite(seconds) and seconds > 0 else 0.001


#: What a login is, and its token.
_SHARED: list[tuple[tuple[object, ...], TokenSource]] = []


def shared_tokens(
    place: str,
    auth: TokenAuth,
    tls: ClientTls,
    proxy: Proxy | None,
    connect_timeout: float,
    protection: Protection | None,
) -> TokenSource:
    """The token of one login, shared by all interfaces of a system that log in alike, to be closed by each of them.

    Many platforms let a new login end the token before it, and count logins. Called on the event loop it is used on. Raises
    :class:`HubError` when TLS files can't be used.
    """
    login = (place.partition("/")[0], auth, tls, proxy, asyncio.get_running_loop())
    found = next((source for known, source in _SHARED if known == login), None)
    if found is None:
        found = TokenSource(place, auth, tls, proxy, connect_timeout, protection)
        _SHARED.append((login, found))
    found.users += 1
    return found


def _of_login(auth: TokenAuth, protection: Protection | None) -> Protection | None:
    """Of the interface's schemes those the login goes through."""
    if protection is None or not isinstance(auth, LoginAuth) or not auth.security:
        return None
    return Protection([scheme for scheme in protection.schemes if scheme.name in auth.security])


def _oauth2(place: str, endpoint: Endpoint, auth: OAuth2Auth, proxy: Proxy | None) -> tuple[bytes, bytes]:
    """The request of RFC 6749, 4.4.2, with the client's credentials as in 2.3.1."""
    form: dict[str, str] = {"grant_type": "client_credentials"}
    if auth.scope:
        form["scope"] = auth.scope
    form |= auth.parameters
    secret = auth.client_secret.get_secret_value()
    headers: dict[str, str] = {"Accept": "application/json"}
    if auth.client_auth == "basic":
        pair = f"{quote_plus(auth.client_id)}:{quote_plus(secret)}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    else:
        form |= {"client_id": auth.client_id, "client_secret": secret}
    head = RequestHead(
        place,
        endpoint,
        "POST",
        headers=headers,
        content_type="application/x-www-form-urlencoded",
        proxy=proxy,
    )
    body = urlencode(form).encode()
    return _whole(head.fill({}), body, True), body


def _whole(head: bytes, body: bytes, has_body: bool) -> bytes:
    return head + (b"content-length: %d\r\n\r\n" % len(body) if has_body else b"\r\n")
