"""Flows in the admin API, and their plain pages for a browser."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from aiohttp import web

from hub.admin.backend import Backend
from hub.admin.present import BadQuery
from hub.admin.requests import actor_of, as_json, clear_of, order_of, principal_of
from hub.errors import HubError
from hub.flows.desk import FlowDesk, instance_number
from hub.flows.page import SCRIPT, instance_page, list_page
from hub.i18n import t
from hub.people.errors import NotAllowed

__all__ = [
    "FLOW_VERBS",
    "complete",
    "flow_act",
    "flow_picture",
    "flows",
    "instance",
    "instance_console",
    "instances",
    "list_console",
    "picture",
    "script",
]

T = TypeVar("T")

FLOW_VERBS = ("retry", "cancel")
_SAFE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


async def _ask(backend: Backend, question: Callable[[FlowDesk], T]) -> T:
    desk = backend.flows
    if desk is None:
        raise HubError(
            t("flows are shown by the supervisor", "流程由主进程展示"),
            code="flow.worker",
            remedy=t("ask its admin API", "请使用主进程的管理接口"),
        )
    return await asyncio.to_thread(question, desk)


def _limit(request: web.Request) -> int:
    try:
        return max(1, min(1000, int(request.query.get("limit", "50"))))
    except ValueError as error:
        raise BadQuery(t("limit: a number", "limit：数字")) from error


async def flows(request: web.Request, backend: Backend) -> web.Response:
    return as_json({"flows": await _ask(backend, lambda desk: desk.flows())})


async def instances(request: web.Request, backend: Backend) -> web.Response:
    query, limit, clear = request.query, _limit(request), clear_of(request)

    def question(desk: FlowDesk) -> list[dict[str, object]]:
        flow, state, key, before = (query.get(name, "") for name in ("flow", "state", "key", "before"))
        return desk.instances(flow=flow, state=state, key=key, before=before, limit=limit, clear=clear)

    return as_json({"instances": await _ask(backend, question)})


async def instance(request: web.Request, backend: Backend) -> web.Response:
    number, clear = instance_number(request.match_info["id"]), clear_of(request)
    return as_json(await _ask(backend, lambda desk: desk.instance(number, clear=clear)))


async def picture(request: web.Request, backend: Backend) -> web.Response:
    number = instance_number(request.match_info["id"])
    svg = await _ask(backend, lambda desk: desk.diagram(number))
    return web.Response(text=svg, content_type="image/svg+xml", headers=_SAFE)


async def flow_picture(request: web.Request, backend: Backend) -> web.Response:
    flow = request.match_info["id"]
    svg = await _ask(backend, lambda desk: desk.diagram(flow=flow))
    return web.Response(text=svg, content_type="image/svg+xml", headers=_SAFE)


async def complete(request: web.Request, backend: Backend) -> web.Response:
    """Asks for the role of the step, besides the right."""
    order, principal = await order_of(request), principal_of(request)
    if principal.kind != "token":
        number, step = instance_number(request.match_info["id"]), str(order.get("step", ""))
        role = await _ask(backend, lambda desk: desk.role_of(number, step))
        if role and role not in principal.roles:
            raise NotAllowed(
                t(f"this step is for those with the role {role}", f"此步骤仅限角色 {role}"), code="flow.role"
            )
    return as_json(await backend.flow_act("complete", request.match_info["id"], order, actor_of(request)))


async def flow_act(request: web.Request, backend: Backend) -> web.Response:
    verb = request.match_info["verb"]
    if verb not in FLOW_VERBS:
        raise BadQuery(t(f"{verb!r} is none of {', '.join(FLOW_VERBS)}", f"{verb!r} 不在 {', '.join(FLOW_VERBS)} 之中"))
    order = await order_of(request)
    return as_json(await backend.flow_act(verb, request.match_info["id"], order, actor_of(request)))


# -- pages -----------------------------------------------------------------------------------------------------------


async def list_console(request: web.Request, backend: Backend) -> web.Response:
    query, limit = request.query, _limit(request)

    def question(desk: FlowDesk) -> str:
        flow, state, before = (query.get(name, "") for name in ("flow", "state", "before"))
        rows = desk.instances(flow=flow, state=state, before=before, limit=limit)
        return list_page(desk.flows(), rows, {"flow": flow, "state": state, "limit": str(limit)})

    return _html(await _ask(backend, question))


async def instance_console(request: web.Request, backend: Backend) -> web.Response:
    number, clear = instance_number(request.match_info["id"]), clear_of(request)
    page = await _ask(backend, lambda desk: instance_page(desk.instance(number, clear=clear), desk.diagram(number)))
    return _html(page)


async def script(request: web.Request, backend: Backend) -> web.Response:
    return web.Response(text=SCRIPT, content_type="text/javascript", headers=_SAFE)


def _html(text: str) -> web.Response:
    return web.Response(text=text, content_type="text/html", headers=_SAFE)
