"""Questions to a portal over HTTP: short, small, to where the configuration says and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from hub.i18n import t
from hub.people.errors import LoginRefused

__all__ = ["ask", "ask_json", "no_answer", "not_believed"]

_MOST = 1 << 20
_TIMEOUT_S = 10.0
_LOCAL = ("127.0.0.1", "localhost", "::1")


def not_believed(why: str) -> LoginRefused:
    """``why`` is for the log of whoever operates the hub; it is about the portal, not about the person."""
    return LoginRefused(
        t(f"the portal's answer is not valid: {why}", f"门户的应答无效：{why}"),
        code="portal.invalid",
        remedy=t("sign in again; if it stays so, ask the portal's operator", "请重新登录；若仍如此，请联系门户运维方"),
    )


def no_answer() -> LoginRefused:
    return LoginRefused(
        t("the portal does not answer", "门户无应答"),
        code="portal.unreachable",
        remedy=t("try again later", "请稍后再试"),
    )


async def ask(
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """The body of a 200. Raises :class:`LoginRefused`."""
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in _LOCAL:
        raise not_believed(t("an address without TLS", "地址未使用 TLS"))
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.request(
                "GET" if form is None else "POST", url, data=form, params=query, headers=headers, allow_redirects=False
            ) as response,
        ):
            body = await response.content.read(_MOST + 1)
            while len(body) <= _MOST and (more := await response.content.read(_MOST + 1)):
                body += more
            if len(body) > _MOST:
                raise not_believed(t("too long", "过长"))
            if response.status != 200:
                raise not_believed(f"HTTP {response.status}")
            return body
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise no_answer() from error


async def ask_json(url: str, **more: Any) -> dict[str, Any]:
    try:
        found = orjson.loads(await ask(url, **more))
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise not_believed(t("not a JSON object", "不是 JSON 对象"))
    return found
