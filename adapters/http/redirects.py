"""Browsers are led to the address an answer holds: how OAuth 2.0 (RFC 6749, 4.1) and CAS sign people in."""

from __future__ import annotations

import re

import orjson
from aiohttp import web

from adapters.http.problem import SERVER, Refusal

__all__ = ["led_to"]

#: An absolute http or https address in the characters of RFC 3986: nothing that could end the header line.
_ADDRESS = re.compile(r"https?://[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]{1,8000}")


def led_to(answer: bytes, member: str) -> web.Response:
    """303 with the answer itself; kept by nobody, and the next page is not told where its visitor came from.

    Raises :class:`Refusal` for an answer without such an address.
    """
    found = orjson.loads(answer) if answer else None
    address = found.get(member) if isinstance(found, dict) else None
    if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
        raise Refusal(
            502,
            "http.redirect",
            ("the target gave no address to lead the browser to", "目标系统未给出可供浏览器跳转的地址"),
            (f"{member} must be an http or https address", f"{member} 须为 http 或 https 地址"),
        )
    headers = {
        **SERVER,
        "Location": address,
        "Content-Type": "application/json",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
    }
    return web.Response(status=303, body=answer, headers=headers)
