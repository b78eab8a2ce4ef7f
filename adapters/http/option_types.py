"""What the option models of the HTTP adapters have in common."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict

__all__ = ["OWN_HEADERS", "SECRET_HEADERS", "HeaderName", "Options", "PlainUrl", "header_token", "texts_of"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
#: How deep the tree of a body may be nested.
_DEEPEST = 20

#: Headers that belong to the connection or the framing of a request: the client writes them itself.
OWN_HEADERS = frozenset(
    (
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
#: Headers that carry credentials: never in the call log.
SECRET_HEADERS = frozenset(("authorization", "cookie", "proxy-authorization", "set-cookie"))


def header_token(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is not a header name; write e.g. X-Request-Id")
    return name


def _plain_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"url: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("url starts with http:// or https:// and a host")
    if "{" in parts.netloc or "@" in parts.netloc:
        raise ValueError("the host part of url has neither templates nor credentials; those belong into auth")
    if parts.fragment:
        raise ValueError("url has no fragment (#)")
    try:
        ascii_host = host.encode("idna").decode() if not host.isascii() else host
    except UnicodeError:
        ascii_host = ""
    if not re.fullmatch(r"[A-Za-z0-9._:%-]+", ascii_host):
        raise ValueError(f"url: {host!r} is not a host name or address")
    return url


HeaderName = Annotated[str, AfterValidator(header_token)]
PlainUrl = Annotated[str, AfterValidator(_plain_url)]


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def texts_of(tree: Any, depth: int = 0) -> list[str]:
    """Every text in the tree of a body; raises ``ValueError`` for what JSON does not have."""
    if depth > _DEEPEST:
        raise ValueError(f"body is nested deeper than {_DEEPEST}")
    if isinstance(tree, str):
        return [tree]
    if isinstance(tree, dict):
        if not all(isinstance(name, str) for name in tree):
            raise ValueError("body: the names of members are texts; put them in quotes")
        return [text for value in tree.values() for text in texts_of(value, depth + 1)]
    if isinstance(tree, list):
        return [text for value in tree for text in texts_of(value, depth + 1)]
    if tree is None or isinstance(tree, int | float):
        return []
    raise ValueError(f"body: {type(tree).__name__} is not a value of JSON; put it in quotes")
