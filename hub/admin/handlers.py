"""What the admin API answers about the store, the interfaces and the hub itself."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from hub import __version__
from hub.admin import people as of_people
from hub.admin.backend import Backend
from hub.admin.chains import awaited_json, chain_json
from hub.admin.present import (
    awaited_query,
    bodies_json,
    call_json,
    call_query,
    delivery_json,
    delivery_query,
    ledger_json,
    message_json,
    message_query,
    message_row_json,
    parse_ids,
    quality_json,
    quality_span,
    report_query,
)
from hub.admin.requests import actor_of, as_json, clear_of, order_of, principal_of, problem
from hub.i18n import t
from hub.masking import mask
from hub.people.errors import no_right
from hub.privacy.screen import Screen, screen, screen_for

__all__ = [
    "act",
    "callbacks",
    "calls",
    "deliveries",
    "healthz",
    "ledger",
    "message",
    "messages",
    "metrics",
    "plugins",
    "poll",
    "probe",
    "quality",
    "quality_reports",
    "quality_rerun",
    "raw",
    "readyz",
    "reload",
    "replay",
    "send",
    "status",
    "unmapped",
]

#: Bytes of a message that are read, and sent, at a time.
RAW_PART = 1 << 20


async def healthz(request: web.Request, backend: Backend) -> web.Response:
    return as_json({"alive": True, "version": __version__})


async def readyz(request: web.Request, backend: Backend) -> web.Response:
    reasons = await backend.readiness()
    return as_json({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)


async def metrics(request: web.Request, backend: Backend) -> web.Response:
    return web.Response(
        body=await backend.metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )


async def status(request: web.Request, backend: Backend) -> web.Response:
    refused = backend.watcher.refused if backend.watcher is not None else []
    trail = {"audit": backend.audit.keeper.status()} if backend.audit is not None else {}
    return as_json({**await backend.status(), **trail, "not_taken_over": [problem.as_dict() for problem in refused]})


def _seen_by(request: web.Request) -> Screen:
    """Unmasked is given to whom may have it and asks for it; everybody else sees what their roles are for."""
    return screen(True) if clear_of(request) else screen_for(principal_of(request).roles)


async def messages(request: web.Request, backend: Backend) -> web.Response:
    page = await backend.reader.search(message_query(request.query, backend.salt))
    seen = _seen_by(request)
    rows = [message_row_json(row, seen=seen) for row in page.rows]
    return as_json({"messages": rows, "more": page.more, "text_lag": page.text_lag})


async def message(request: web.Request, backend: Backend) -> web.Response:
    (message_id,) = parse_ids([request.match_info["id"]])
    found = await backend.reader.message(message_id)
    if found is None:
        return problem(404, "message.unknown", t("there is no such message", "没有这条消息"))
    deliveries = await backend.reader.deliveries_of(message_id)
    calls = await backend.reader.calls_of(message_id)
    seen = _seen_by(request)
    body, shown = await asyncio.to_thread(bodies_json, found, calls, seen=seen)
    return as_json(
        {
            **message_json(found, seen=seen),
            "body": body,
            "chain": chain_json(await backend.reader.chain(message_id)),
            "deliveries": [delivery_json(d) for d in deliveries],
            "calls": shown[0],
        }
    )


async def raw(request: web.Request, backend: Backend) -> web.StreamResponse:
    (message_id,) = parse_ids([request.match_info["id"]])
    part = await backend.reader.raw_part(message_id, 0, RAW_PART)
    if part is None:
        return problem(404, "message.unknown", t("there is no such message", "没有这条消息"))
    # Never a type a browser would render: the bytes came from outside.
    headers = {
        "Content-Disposition": f'attachment; filename="{request.match_info["id"]}.bin"',
        "Content-Type": "application/octet-stream",
        "X-Content-Type-Options": "nosniff",
    }
    if len(part) < RAW_PART:
        return web.Response(body=part, headers=headers)
    answer = web.StreamResponse(headers=headers)
    await answer.prepare(request)
    at = 0
    while part:
        await answer.write(part)
        at += len(part)
        part = await backend.reader.raw_part(message_id, at, RAW_PART)
    if part is None:  # pruned meanwhile: the caller must not take the beginning for the whole
        raise ConnectionResetError("the message was removed while it was being read")
    await answer.write_eof()
    return answer


async def deliveries(request: web.Request, backend: Backend) -> web.Response:
    rows = await backend.reader.deliveries(delivery_query(request.query))
    return as_json({"deliveries": [delivery_json(row) for row in rows]})


async def callbacks(request: web.Request, backend: Backend) -> web.Response:
    rows = await backend.reader.unanswered(awaited_query(request.query))
    return as_json({"callbacks": [awaited_json(row) for row in rows]})


async def calls(request: web.Request, backend: Backend) -> web.Response:
    rows = await backend.reader.calls(call_query(request.query))
    bodies, seen = request.query.get("bodies") in ("1", "true"), _seen_by(request)
    # Masking hundreds of bodies would hold up everybody else.
    shown = await asyncio.to_thread(lambda: [call_json(row, bodies=bodies, seen=seen) for row in rows])
    return as_json({"calls": shown})


async def act(request: web.Request, backend: Backend) -> web.Response:
    verb, order = request.match_info["verb"], await order_of(request)
    if verb == "delete" and not principal_of(request).may("deliveries.delete"):
        raise no_right("deliveries.delete")
    waiting = await of_people.approval_of_delete(request, backend, verb, order)
    return waiting if waiting is not None else as_json(await backend.act(verb, order, actor_of(request)))


async def replay(request: web.Request, backend: Backend) -> web.Response:
    answer = await backend.replay(await order_of(request), actor_of(request))
    if not principal_of(request).may("personal.read"):
        for result in answer["results"]:
            result["changes"] = [
                {**change, "old": _hidden(change["old"]), "new": _hidden(change["new"])} for change in result["changes"]
            ]
    return as_json(answer)


def _hidden(value: Any) -> str | None:
    """Where something changed, for those who may not see what."""
    return None if value is None else mask(str(value))


async def send(request: web.Request, backend: Backend) -> web.Response:
    place = f"{request.match_info['system']}/{request.match_info['interface']}"
    return as_json(await backend.send(place, await request.read(), actor_of(request)), 202)


async def poll(request: web.Request, backend: Backend) -> web.Response:
    place = f"{request.match_info['system']}/{request.match_info['interface']}"
    return as_json(await backend.poll(place, actor_of(request)), 202)


async def probe(request: web.Request, backend: Backend) -> web.Response:
    return as_json(await backend.probe(await order_of(request)))


async def reload(request: web.Request, backend: Backend) -> web.Response:
    return as_json(await backend.reload(actor_of(request)))


async def plugins(request: web.Request, backend: Backend) -> web.Response:
    return as_json({"plugins": await backend.plugins()})


async def unmapped(request: web.Request, backend: Backend) -> web.Response:
    return as_json({"unmapped": await backend.unmapped()})


async def ledger(request: web.Request, backend: Backend) -> web.Response:
    return as_json(ledger_json(await backend.reader.verify_ledger()))


async def quality(request: web.Request, backend: Backend) -> web.Response:
    since, until = quality_span(request.query)
    rows = await backend.reader.quality(since, until, request.query.get("place", ""))
    return as_json({"interfaces": quality_json(rows)})


async def quality_reports(request: web.Request, backend: Backend) -> web.Response:
    rows = await backend.reader.reports(report_query(request.query))
    return as_json({"reports": [call_json(row) for row in rows]})


async def quality_rerun(request: web.Request, backend: Backend) -> web.Response:
    return as_json(await backend.rerun(await order_of(request), actor_of(request)))
