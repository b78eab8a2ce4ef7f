"""Reading what a target answered, apart from what it means."""

from __future__ import annotations

import json
import time
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit

from adapters.http.client import HttpClient
from adapters.http.coding import BadCoding, TooLong, UnknownCoding, codings, decode_async
from adapters.http.connection import Response
from hub.api import PermanentError, TransientError
from hub.i18n import t
from hub.masking import mask_text

__all__ = ["decoded", "error_text", "json_error", "phrase", "retry_after"]

_EXCERPT = 300
_LONGEST_PAUSE = 86400.0


async def decoded(client: HttpClient, response: Response) -> bytes:
    """The body with its content codings undone; raises :class:`~hub.api.SendError`."""
    target = client.target
    try:
        applied = codings(response.header(b"content-encoding"))
        return await decode_async(response.body, applied, target.reply_limit)
    except TooLong:
        raise client.too_large() from None
    except UnknownCoding as error:
        raise PermanentError(
            t(
                f"the reply of {target} has the content coding {error}, which the request did not allow",
                f"{target} 的应答使用了请求未允许的内容编码 {error}",
            ),
            code="http.coding",
            response=response.body,
        ) from None
    except BadCoding as error:
        raise TransientError(
            t(
                f"the reply of {target} is not what its Content-Encoding says: {error}",
                f"{target} 的应答与其 Content-Encoding 不符：{error}",
            ),
            code="http.coding",
            response=response.body,
        ) from None


def retry_after(value: str) -> float:
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


def phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def error_text(response: Response, body: bytes) -> str:
    """Status and, masked, what the target says about it."""
    text = f"HTTP {response.status} {phrase(response.status)}".rstrip()
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
        said = json_error(body)
    if not said and (kind.startswith("text/") or "json" in kind or "xml" in kind):
        said = body[:_EXCERPT].decode("utf-8", "replace")
    said = " ".join("".join(char if char.isprintable() else " " for char in said).split())
    return f"{text}: {mask_text(said[:_EXCERPT])}" if said else text


def json_error(body: bytes) -> str:
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
