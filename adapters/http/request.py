"""Building the head of a request once, and filling what differs from call to call."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from adapters.http.client_options import OutboundAuth
from adapters.http.coding import ACCEPT_ENCODING
from adapters.http.proxy import Proxy, proxy_authorization
from adapters.template import MissingVariable, Template
from hub.api import PermanentError
from hub.i18n import t

__all__ = ["Endpoint", "RequestHead", "auth_line", "encoded_path", "header_line", "join_path"]

#: What may stand in a path or query as it is (RFC 3986, 3.3 and 3.4, and ``%`` for what is already encoded).
_PATH_SAFE = "/:@!$&'()*+,;=%~-._"
_QUERY_SAFE = _PATH_SAFE + "?"
_QUERY = re.compile(r"(?:[A-Za-z0-9/:@!$&'()*+,;=._~?-]|%[0-9A-Fa-f]{2})*")  # RFC 3986, 3.4


class Endpoint:
    """The parts of an http or https address."""

    __slots__ = ("authority", "host", "path", "port", "query", "secure", "target")

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        name = parts.hostname or ""
        self.host = name if name.isascii() else name.encode("idna").decode()
        self.secure = parts.scheme == "https"
        self.port = parts.port or (443 if self.secure else 80)
        shown = f"[{self.host}]" if ":" in self.host else self.host
        self.target = f"{shown}:{self.port}"  #: for people
        self.authority = self.target if parts.port else shown  #: for the header Host
        self.path = parts.path
        self.query = parts.query

    def same_place(self, other: Endpoint) -> bool:
        """Whether both have the same scheme, host and port."""
        return (self.secure, self.host.lower(), self.port) == (other.secure, other.host.lower(), other.port)


class RequestHead:
    """Request line and headers of one interface's calls, except Content-Length and what a call adds."""

    __slots__ = ("_fixed", "_headers", "_method", "_path", "_place", "_prefix", "_query", "_query_text", "names")

    def __init__(
        self,
        place: str,
        endpoint: Endpoint,
        method: str,
        *,
        path: str = "",
        query: Mapping[str, str] | None = None,
        query_text: str = "",
        headers: Mapping[str, str] | None = None,
        auth: OutboundAuth | None = None,
        content_type: str = "",
        proxy: Proxy | None = None,
    ) -> None:
        self._place = place
        self._method = method.encode()
        forwarded = proxy is not None and not endpoint.secure  # absolute form, RFC 9112, 3.2.2
        self._prefix = f"http://{endpoint.authority}" if forwarded else ""
        self._path = Template(quote(join_path(endpoint.path, path), safe=_PATH_SAFE + "{}"))
        self._query = [Template(quote(endpoint.query, safe=_QUERY_SAFE + "{}"))] if endpoint.query else []
        self._query += [
            Template(f"{quote(name, safe='')}={quote(value, safe='{}')}") for name, value in (query or {}).items()
        ]
        self._query_text = query_text
        given = {name.lower(): Template(value) for name, value in (headers or {}).items()}
        self._headers = list(given.items())
        own = {
            "host": endpoint.authority,
            "accept-encoding": ACCEPT_ENCODING,
            "user-agent": "tongqu",
            "accept": "*/*",
            "content-type": content_type,
        }
        self._fixed = "".join(
            f"{name}: {text}\r\n" for name, text in own.items() if text and name not in given
        ).encode()
        self._fixed += auth_line(auth) if auth is not None else b""
        if forwarded and proxy is not None:
            self._fixed += proxy_authorization(proxy)
        #: Of every variable the templates need.
        names = (name for each in (self._path, *self._query, *given.values()) for name in each.names)
        self.names = frozenset([*names, *([query_text] if query_text else [])])

    def fill(self, variables: Mapping[str, Any], *, optional: bool = False, target: str = "") -> bytes:
        """Raises :class:`PermanentError` for a value that is missing or can't stand where it should.

        ``optional``: parameters and headers whose value is missing are left out; ``target``: path and query instead of
        those of the templates, encoded.
        """
        try:
            if not target:
                query = [_filled(part, variables, optional) for part in self._query]
                if self._query_text:
                    query.append(_whole_query(self._query_text, variables))
                text = "&".join(part for part in query if part)
                target = self._path.fill(variables, _path_part) + ("?" + text if text else "")
            lines = [
                header_line(name, value.fill(variables, str))
                for name, value in self._headers
                if not optional or _complete(value, variables)
            ]
        except MissingVariable as error:
            raise PermanentError(
                t(
                    f"{self._place}: the call has no value for {{{error.name}}}",
                    f"{self._place}：调用缺少 {{{error.name}}} 的值",
                ),
                code="http.variable",
            ) from None
        return b"%b %b%b HTTP/1.1\r\n%b%b" % (
            self._method,
            self._prefix.encode(),
            target.encode(),
            self._fixed,
            b"".join(lines),
        )


def auth_line(auth: OutboundAuth) -> bytes:
    """The header that proves who the hub is."""
    secret = auth.secret.get_secret_value()
    if auth.type == "api_key":
        return f"{auth.header.lower()}: {secret}\r\n".encode()
    if auth.type == "bearer":
        return f"authorization: Bearer {secret}\r\n".encode()
    return b"authorization: Basic " + base64.b64encode(f"{auth.user}:{secret}".encode()) + b"\r\n"


def header_line(name: str, value: str) -> bytes:
    """A header, non-ASCII as UTF-8; control characters could forge further headers and are refused."""
    if value.isprintable() or not any(char < " " or char == "\x7f" for char in value):
        return f"{name}: {value}\r\n".encode("utf-8", "replace")
    raise PermanentError(
        t(f"the value for the header {name} has control characters", f"请求头 {name} 的值含有控制字符"),
        code="http.header",
    )


def join_path(base: str, path: str) -> str:
    """One slash between the two; an empty ``path`` leaves the base as it is."""
    if not path:
        return base or "/"
    return base.rstrip("/") + "/" + path.lstrip("/")


def encoded_path(path: str, query: str = "") -> str:
    """Path and query as they may stand in a request line."""
    text = quote(path or "/", safe=_PATH_SAFE)
    return f"{text}?{quote(query, safe=_QUERY_SAFE)}" if query else text


def _complete(template: Template, variables: Mapping[str, Any]) -> bool:
    return all(variables.get(name) is not None for name in template.names)


def _filled(template: Template, variables: Mapping[str, Any], optional: bool) -> str:
    if optional and not _complete(template, variables):
        return ""
    return template.fill(variables, _encode)


def _whole_query(name: str, variables: Mapping[str, Any]) -> str:
    """A query string that is sent as it is; what could end it, or the request line, is refused."""
    value = variables.get(name)
    if value is None:
        raise MissingVariable(name)
    text = str(value)
    if not _QUERY.fullmatch(text):
        raise PermanentError(
            t(
                f"{{{name}}} is no query string: name=value&…, percent-encoded",
                f"{{{name}}} 不是查询串：name=value&…（百分号编码）",
            ),
            code="http.variable",
        )
    return text


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
