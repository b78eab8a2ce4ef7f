"""What the answers of the admin API have in common: orders as they come, who gives them, and JSON."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from hub.admin.present import BadQuery
from hub.i18n import t
from hub.people.rights import Principal

__all__ = ["PRINCIPAL", "actor_of", "as_json", "clear_of", "order_of", "principal_of", "problem"]

#: Who makes the call, once the gate knows.
PRINCIPAL: web.RequestKey[Principal] = web.RequestKey("principal", Principal)


def as_json(data: Any, status: int = 200) -> web.Response:
    return web.Response(
        body=orjson.dumps(data, option=orjson.OPT_INDENT_2), status=status, content_type="application/json"
    )


def problem(status: int, code: str, detail: str, **more: Any) -> web.Response:
    """An error as RFC 9457 says it."""
    body = {"type": "about:blank", "title": code, "status": status, "detail": detail, "code": code, **more}
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/problem+json")


async def order_of(request: web.Request) -> dict[str, Any]:
    """The body as a JSON object; raises :class:`BadQuery` for anything else."""
    try:
        data = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise BadQuery(t(f"the body is not JSON: {error}", f"请求体不是 JSON：{error}")) from error
    if not isinstance(data, dict):
        raise BadQuery(t("the body must be a JSON object", "请求体须为 JSON 对象"))
    return data


def clear_of(request: web.Request) -> bool:
    """Whether personal data is asked for unmasked."""
    return request.query.get("clear") in ("1", "true")


def actor_of(request: web.Request) -> str:
    """Who gives an order, for the audit trail; ``-`` while it is not known."""
    found = request.get(PRINCIPAL)
    return found.name if found is not None else "-"


def principal_of(request: web.Request) -> Principal:
    """Who makes this call, as the gate found."""
    return request[PRINCIPAL]
