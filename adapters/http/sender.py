"""Sending: an outgoing call becomes an HTTP request, the answer a verdict."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote, urljoin, urlsplit

from adapters.http.client import HttpClient, Target
from adapters.http.coding import ACCEPT_ENCODING, BadCoding, TooLong, UnknownCoding, codings, compress, decode_async
from adapters.http.connection import Response
from adapters.http.options import HttpConnect, OutboundAuth
from adapters.http.template import MissingVariable, Template
from adapters.tls import client_context
from hub.api import Bound, Outgoing, PermanentError, Reply, Sender, TransientError, UnreachableError
from hub.i18n import t
from hub.masking import mask_text

__all__ = ["HttpSender"]

_BODILESS = frozenset(("GET", "HEAD", "DELETE"))
_IDEMPOTENT = frozenset(("GET", "HEAD", "PUT", "DELETE"))  # RFC 9110, 9.2.2
_TRANSIENT = frozenset((408, 425, 429, 500))
_UNAVAILABLE = frozenset((502, 503, 504))
_PERMANENT_5XX = frozenset((501, 505))
_GZIP_ABOVE = 1024
_EXCERPT = 300
_LONGEST_PAUSE = 86400.0
#: What may stand in a path or query as it is (RFC 3986, 3.3 and 3.4, and ``%`` for what is already encoded).
_PATH_SAFE = "/:@!$&'()*+,;=%~-._"
_QUERY_SAFE = _PATH_SAFE + "?"


class HttpSender(Sender):
    """A client of one HTTP interface."""

    def __init__(self, bound: Bound) -> None:
        self._options = options = cast(HttpConnect, bound.options)
        self._place = bound.place
        url = urlsplit(options.url)
        name = url.hostname or ""
        host = name if name.isascii() else name.encode("idna").decode()
        self._secure = url.scheme == "https"
        port = url.port or (443 if self._secure else 80)
        self._target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._address = host, port
        self._client: HttpClient | None = None
        self._method = options.method.encode()
        self._bodiless = options.method in _BODILESS
        self._asks_head = options.method == "HEAD"
        self._path = Template(quote(_join(url.path, options.path), safe=_PATH_SAFE + "{}"))
        query = [quote(url.query, safe=_QUERY_SAFE + "{}")] if url.query else []
        query += [f"{quote(key, safe='')}={quote(value, safe='{}')}" for key, value in options.query.items()]
        self._query = Template("?" + "&".join(query) if query else "")
        self._headers = [(key.lower(), Template(value)) for key, value in options.headers.items()]
        self._fixed = _own_headers(options, self._target if url.port else self._target.rpartition(":")[0])
        if not self._bodiless:
            self._fixed += f"content-type: {options.content_type or bound.codec.content_type}\r\n".encode()
        self._key_header = options.idempotency_header.lower()
        self._repeatable = bool(options.idempotency_header) or options.method in _IDEMPOTENT
        templates = [self._path, self._query, *(value for _, value in self._headers)]
        #: Request line and headers where every call has the same.
        self._start = None if any(template.names for template in templates) else self._render({})

    async def start(self) -> None:
        """Read the TLS files; connections are opened when the first calls come. Raises :class:`HubError`."""
        options = self._options
        host, port = self._address
        self._client = HttpClient(
            Target(
                host=host,
                port=port,
                ssl=client_context(options.tls) if self._secure else None,
                server_name=options.tls.server_name,
                connections=options.connections,
                connect_timeout=options.connect_timeout,
                idle_timeout=options.idle_timeout,
                reply_limit=options.reply_limit,
            )
        )

    async def stop(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def send(self, outgoing: Outgoing) -> Reply:
        client = self._client
        if client is None:
            raise self._not_started()
        start = self._start if self._start is not None else self._render(outgoing.variables)
        key = _header_line(self._key_header, outgoing.idempotency_key) if self._key_header else b""
        if self._bodiless:
            body = b""
            head = b"%b%b\r\n" % (start, key)
        else:
            body = outgoing.body
            if self._options.gzip and len(body) > _GZIP_ABOVE:
                body = await compress(body)
                key += b"content-encoding: gzip\r\n"
            head = b"%b%bcontent-length: %d\r\n\r\n" % (start, key, len(body))
        response = await client.call(
            head, body, outgoing.timeout, repeatable=self._repeatable, without_body=self._asks_head
        )
        status = response.status
        body = response.body
        if body and b"content-encoding" in response.headers:
            body = await self._decoded(client, response)
        if 200 <= status < 300:
            return Reply(True, body, status, str(status))
        return _refusal(response, body)

    @property
    def capacity(self) -> int:
        return self._options.connections

    async def probe(self) -> str:
        started = time.perf_counter()
        client = self._client
        if client is None:
            raise self._not_started()
        probe = self._options.probe
        if probe is None:
            await client.check(self._options.connect_timeout)
            took = (time.perf_counter() - started) * 1000
            return t(f"connected to {self._target} in {took:.0f} ms", f"已连接 {self._target}，用时 {took:.0f} 毫秒")
        path = _join(urlsplit(self._options.url).path, probe.path)
        head = b"%b %b HTTP/1.1\r\n%b\r\n" % (probe.method.encode(), quote(path, safe=_PATH_SAFE).encode(), self._fixed)
        response = await client.call(
            head, b"", self._options.connect_timeout * 2, repeatable=True, without_body=probe.method == "HEAD"
        )
        status = response.status
        if status not in probe.expect if probe.expect else not 200 <= status < 300:
            raise TransientError(
                t(
                    f"{probe.method} {path} answered {status} {_phrase(status)}",
                    f"{probe.method} {path} 返回 {status} {_phrase(status)}",
                ),
                code=str(status),
            )
        took = (time.perf_counter() - started) * 1000
        return t(f"{status} {_phrase(status)} in {took:.0f} ms", f"{status} {_phrase(status)}，用时 {took:.0f} 毫秒")

    def status(self) -> dict[str, Any]:
        known: dict[str, Any] = {"target": self._target, "tls": self._secure}
        client = self._client
        if client is not None:
            known |= {
                "connections": client.open,
                "idle": client.idle,
                "waiting": client.waiting,
                "opened": client.opened,
                "repeated": client.repeated,
            }
        return known

    def _not_started(self) -> UnreachableError:
        return UnreachableError(t(f"{self._place} is not started", f"{self._place} 尚未启动"), code="http.stopped")

    # -- request -------------------------------------------------------------------------------------------------

    def _render(self, variables: Mapping[str, Any]) -> bytes:
        """Request line and headers, except those that differ from call to call."""
        try:
            target = self._path.fill(variables, _path_part) + self._query.fill(variables, _encode)
            lines = [_header_line(name, value.fill(variables, str)) for name, value in self._headers]
        except MissingVariable as error:
            raise PermanentError(
                t(
                    f"{self._place}: the call has no value for {{{error.name}}}",
                    f"{self._place}：调用缺少 {{{error.name}}} 的值",
                ),
                code="http.variable",
            ) from None
        return b"%b %b HTTP/1.1\r\n%b%b" % (self._method, target.encode(), self._fixed, b"".join(lines))

    # -- reply ---------------------------------------------------------------------------------------------------

    async def _decoded(self, client: HttpClient, response: Response) -> bytes:
        try:
            applied = codings(response.header(b"content-encoding"))
            return await decode_async(response.body, applied, client.target.reply_limit)
        except TooLong:
            raise client.too_large() from None
        except UnknownCoding as error:
            raise PermanentError(
                t(
                    f"the reply of {self._target} has the content coding {error}, which the request did not allow",
                    f"{self._target} 的应答使用了请求未允许的内容编码 {error}",
                ),
                code="http.coding",
                response=response.body,
            ) from None
        except BadCoding as error:
            raise TransientError(
                t(
                    f"the reply of {self._target} is not what its Content-Encoding says: {error}",
                    f"{self._target} 的应答与其 Content-Encoding 不符：{error}",
                ),
                code="http.coding",
                response=response.body,
            ) from None


# -- parts of a request ------------------------------------------------------------------------------------------------


def _own_headers(options: HttpConnect, host: str) -> bytes:
    given = {name.lower() for name in options.headers}
    lines = [("host", host), ("accept-encoding", ACCEPT_ENCODING), ("user-agent", "tongqu"), ("accept", "*/*")]
    text = "".join(f"{key}: {value}\r\n" for key, value in lines if key not in given)
    return text.encode() + (_credentials(options.auth) if options.auth else b"")


def _credentials(auth: OutboundAuth) -> bytes:
    secret = auth.secret.get_secret_value()
    if auth.type == "api_key":
        return f"{auth.header.lower()}: {secret}\r\n".encode()
    if auth.type == "bearer":
        return f"authorization: Bearer {secret}\r\n".encode()
    return b"authorization: Basic " + base64.b64encode(f"{auth.user}:{secret}".encode()) + b"\r\n"


def _join(base: str, path: str) -> str:
    """One slash between the two; an empty ``path`` leaves the base as it is."""
    if not path:
        return base or "/"
    return base.rstrip("/") + "/" + path.lstrip("/")


def _encode(value: str) -> str:
    return quote(value, safe="")


def _path_part(value: str) -> str:
    """A value inside a path; what would change the path itself is refused."""
    if value in ("", ".", ".."):
        raise PermanentError(
            t("a value for the path of the URL is empty, '.' or '..'", "URL 路径中的变量值为空、“.”或“..”"),
            code="http.variable",
        )
    return quote(value, safe="")


def _header_line(name: str, value: str) -> bytes:
    """A header, non-ASCII as UTF-8; control characters could forge further headers and are refused."""
    if value.isprintable() or not any(char < " " or char == "\x7f" for char in value):
        return f"{name}: {value}\r\n".encode("utf-8", "replace")
    raise PermanentError(
        t(f"the value for the header {name} has control characters", f"请求头 {name} 的值含有控制字符"),
        code="http.header",
    )


# -- reading an answer -------------------------------------------------------------------------------------------------


def _refusal(response: Response, body: bytes) -> Reply:
    status = response.status
    unavailable = status in _UNAVAILABLE
    return Reply(
        ok=False,
        body=body,
        status=status,
        code=str(status),
        error=_error_text(response, body),
        transient=unavailable or status in _TRANSIENT or (500 <= status < 600 and status not in _PERMANENT_5XX),
        unavailable=unavailable,
        retry_after=_retry_after(response.header(b"retry-after")),
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _error_text(response: Response, body: bytes) -> str:
    """Status and, masked, what the target says about it."""
    text = f"HTTP {response.status} {_phrase(response.status)}".rstrip()
    location = response.header(b"location")
    if 300 <= response.status < 400 and location:
        host = urlsplit(urljoin("//", location)).netloc.rpartition("@")[2] or t("the same host", "同一主机")
        return t(
            f"{text}: it redirects to {mask_text(host[:200])}, which is not followed; correct the url",
            f"{text}：重定向到 {mask_text(host[:200])}，不会自动跟随，请更正 url",
        )
    kind = response.header(b"content-type").partition(";")[0].strip().lower()
    said = ""
    if kind == "application/json" or kind.endswith("+json"):
        said = _json_error(body)
    if not said and (kind.startswith("text/") or "json" in kind or "xml" in kind):
        said = body[:_EXCERPT].decode("utf-8", "replace")
    said = " ".join("".join(char if char.isprintable() else " " for char in said).split())
    return f"{text}: {mask_text(said[:_EXCERPT])}" if said else text


def _json_error(body: bytes) -> str:
    """The words of a problem document (RFC 9457) or of the usual error objects."""
    if len(body) > 64 << 10:
        return ""
    try:
        tree = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(tree, dict):
        return ""
    found = [tree[name] for name in ("title", "detail", "code", "message", "msg", "error") if name in tree]
    return " ".join(str(value)[:_EXCERPT] for value in found if isinstance(value, str | int))


def _retry_after(value: str) -> float:
    """Seconds of a ``Retry-After`` header (RFC 9110, 10.2.3), at most a day; 0 for none or nonsense."""
    if not value:
        return 0.0
    if value.isascii() and value.isdigit():
        return min(float(value[:12]), _LONGEST_PAUSE)
    try:
        seconds = parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, OverflowError, TypeError):
        return 0.0
    return min(max(seconds, 0.0), _LONGEST_PAUSE)
