"""The admin API over HTTP: one table of operations makes the routes and the OpenAPI document."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from hub import __version__
from hub.admin.backend import Backend
from hub.admin.chains import awaited_json, chain_json
from hub.admin.present import (
    BadQuery,
    awaited_query,
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
from hub.errors import ConfigError, HubError, StoreBusy
from hub.i18n import t
from hub.logs import get_logger
from hub.masking import mask_text
from hub.operations import VERBS

__all__ = ["make_app"]

log = get_logger(__name__)

BACKEND: web.AppKey[Backend] = web.AppKey("backend", Backend)

#: Largest body of an order; messages sent in by hand may be larger.
MAX_BODY = 64 << 20
#: Bytes of a message that are read, and sent, at a time.
RAW_PART = 1 << 20

Answer = Callable[[web.Request, Backend], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Operation:
    """One row of the API."""

    method: str
    path: str
    summary: str
    answer: Answer
    query: tuple[tuple[str, str], ...] = ()
    body: str = ""  # what the JSON body holds
    open: bool = False  # answers without a token


def _json(data: Any, status: int = 200) -> web.Response:
    return web.Response(
        body=orjson.dumps(data, option=orjson.OPT_INDENT_2), status=status, content_type="application/json"
    )


def problem(status: int, code: str, detail: str, **more: Any) -> web.Response:
    """An error as RFC 9457 says it."""
    body = {"type": "about:blank", "title": code, "status": status, "detail": detail, "code": code, **more}
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/problem+json")


async def _order(request: web.Request) -> dict[str, Any]:
    try:
        data = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise BadQuery(t(f"the body is not JSON: {error}", f"请求体不是 JSON：{error}")) from error
    if not isinstance(data, dict):
        raise BadQuery(t("the body must be a JSON object", "请求体须为 JSON 对象"))
    return data


def _actor(request: web.Request) -> str:
    return request.headers.get("X-Actor", "admin")[:64]


def _clear(request: web.Request) -> bool:
    return request.query.get("clear") in ("1", "true")


async def healthz(request: web.Request, backend: Backend) -> web.Response:
    return _json({"alive": True, "version": __version__})


async def readyz(request: web.Request, backend: Backend) -> web.Response:
    reasons = await backend.readiness()
    return _json({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)


async def metrics(request: web.Request, backend: Backend) -> web.Response:
    return web.Response(
        body=await backend.metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )


async def openapi(request: web.Request, backend: Backend) -> web.Response:
    return _json(openapi_document())


async def status(request: web.Request, backend: Backend) -> web.Response:
    refused = backend.watcher.refused if backend.watcher is not None else []
    return _json({**await backend.status(), "not_taken_over": [problem.as_dict() for problem in refused]})


async def messages(request: web.Request, backend: Backend) -> web.Response:
    page = await backend.reader.search(message_query(request.query, backend.salt))
    rows = [message_row_json(row, clear=_clear(request)) for row in page.rows]
    return _json({"messages": rows, "more": page.more, "text_lag": page.text_lag})


async def message(request: web.Request, backend: Backend) -> web.Response:
    (message_id,) = parse_ids([request.match_info["id"]])
    found = await backend.reader.message(message_id)
    if found is None:
        return problem(404, "message.unknown", t("there is no such message", "没有这条消息"))
    deliveries = await backend.reader.deliveries_of(message_id)
    calls = await backend.reader.calls_of(message_id)
    return _json(
        {
            **message_json(found, clear=_clear(request)),
            "chain": chain_json(await backend.reader.chain(message_id)),
            "deliveries": [delivery_json(d) for d in deliveries],
            "calls": [call_json(c, bodies=_clear(request)) for c in calls],
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
    return _json({"deliveries": [delivery_json(row) for row in rows]})


async def callbacks(request: web.Request, backend: Backend) -> web.Response:
    rows = await backend.reader.unanswered(awaited_query(request.query))
    return _json({"callbacks": [awaited_json(row) for row in rows]})


async def calls(request: web.Request, backend: Backend) -> web.Response:
    rows = await backend.reader.calls(call_query(request.query))
    return _json({"calls": [call_json(row, bodies=_clear(request)) for row in rows]})


async def act(request: web.Request, backend: Backend) -> web.Response:
    return _json(await backend.act(request.match_info["verb"], await _order(request), _actor(request)))


async def replay(request: web.Request, backend: Backend) -> web.Response:
    return _json(await backend.replay(await _order(request), _actor(request)))


async def send(request: web.Request, backend: Backend) -> web.Response:
    place = f"{request.match_info['system']}/{request.match_info['interface']}"
    return _json(await backend.send(place, await request.read(), _actor(request)), 202)


async def poll(request: web.Request, backend: Backend) -> web.Response:
    place = f"{request.match_info['system']}/{request.match_info['interface']}"
    return _json(await backend.poll(place, _actor(request)), 202)


async def probe(request: web.Request, backend: Backend) -> web.Response:
    return _json(await backend.probe(await _order(request)))


async def reload(request: web.Request, backend: Backend) -> web.Response:
    return _json(await backend.reload(_actor(request)))


async def plugins(request: web.Request, backend: Backend) -> web.Response:
    return _json({"plugins": await backend.plugins()})


async def unmapped(request: web.Request, backend: Backend) -> web.Response:
    return _json({"unmapped": await backend.unmapped()})


async def ledger(request: web.Request, backend: Backend) -> web.Response:
    return _json(ledger_json(await backend.reader.verify_ledger()))


async def quality(request: web.Request, backend: Backend) -> web.Response:
    since, until = quality_span(request.query)
    rows = await backend.reader.quality(since, until, request.query.get("place", ""))
    return _json({"interfaces": quality_json(rows)})


async def quality_reports(request: web.Request, backend: Backend) -> web.Response:
    rows = await backend.reader.reports(report_query(request.query))
    return _json({"reports": [call_json(row) for row in rows]})


async def quality_rerun(request: web.Request, backend: Backend) -> web.Response:
    return _json(await backend.rerun(await _order(request), _actor(request)))


async def audit(request: web.Request, backend: Backend) -> web.Response:
    after = request.query.get("after", "0")
    if not (after.isascii() and after.isdecimal() and len(after) < 19):
        raise BadQuery(t("after: the number of an entry", "after：条目编号"))
    return _json({"entries": await backend.reader.audit(int(after))})


_TIMES = (("since", "from this time on (ISO 8601, or -15m)"), ("until", "before this time"))
_PAGE = (("before", "only older than this id"), ("limit", "at most so many, 1 to 1000"))
_MESSAGE_QUERY = (
    *_TIMES,
    ("system", "received from this system"),
    ("source", "received by this interface (system/interface)"),
    ("type", "message type; a trailing * matches any ending"),
    ("control_id", "the sender's message number"),
    ("correlation", "correlation id"),
    ("state", "a delivery is in this state"),
    ("target", "a delivery goes there"),
    ("route", "a delivery was made by this route"),
    ("key.NAME", "business key NAME has this value; names match by part"),
    ("text", "words in the payload"),
    ("conflict", "1: only messages whose control id was used before with other content"),
    ("clear", "1: personal data unmasked"),
    *_PAGE,
)

OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/healthz", "Alive?", healthz, open=True),
    Operation("GET", "/readyz", "Ready to accept messages? 503 with the reasons when not", readyz, open=True),
    Operation("GET", "/openapi.json", "This document", openapi, open=True),
    Operation("GET", "/metrics", "Prometheus metrics", metrics),
    Operation("GET", "/api/v1/status", "What runs and how it fares", status),
    Operation("GET", "/api/v1/messages", "Search messages, newest first", messages, _MESSAGE_QUERY),
    Operation(
        "GET",
        "/api/v1/messages/{id}",
        "A message with its deliveries, its calls, and the messages it answers or is answered by",
        message,
        (("clear", "1: unmasked, with bodies"),),
    ),
    Operation("GET", "/api/v1/messages/{id}/raw", "The bytes as received", raw),
    Operation(
        "GET",
        "/api/v1/deliveries",
        "Deliveries, newest first",
        deliveries,
        (
            ("state", "states, separated by commas"),
            ("target", ""),
            ("route", ""),
            ("reason", "part of the reason"),
            *_TIMES,
            *_PAGE,
        ),
    ),
    Operation(
        "POST",
        "/api/v1/deliveries/{verb}",
        f"Do one of {', '.join(VERBS)} to deliveries; audited",
        act,
        body="ids: [id] or query: {…} with most; reason; step: auto|map|send (resend); target (forward)",
    ),
    Operation(
        "GET",
        "/api/v1/callbacks",
        "Deliveries whose target has promised a later answer that has not come, newest first",
        callbacks,
        (
            ("target", "system or system/interface"),
            ("overdue", "1: only those that are overdue"),
            *_PAGE,
        ),
    ),
    Operation(
        "GET",
        "/api/v1/calls",
        "The call log, newest first",
        calls,
        (
            ("place", "system or system/interface"),
            ("direction", "in or out"),
            ("outcome", "outcomes, separated by commas"),
            ("failed", "1: only failures"),
            ("bodies", "1: with bodies"),
            ("clear", "1: bodies shown"),
            *_TIMES,
            *_PAGE,
        ),
    ),
    Operation(
        "POST",
        "/api/v1/replay",
        "Run stored messages again and compare with last time",
        replay,
        body="ids: [id] or query: {…} with most; target; mapping; dry_run (default true); reason",
    ),
    Operation(
        "POST",
        "/api/v1/interfaces/{system}/{interface}/messages",
        "Take in the body as if the interface had received it",
        send,
        body="the message",
    ),
    Operation(
        "POST", "/api/v1/interfaces/{system}/{interface}/poll", "Read a source now, whatever its schedule says", poll
    ),
    Operation(
        "POST", "/api/v1/probe", "Test connections without side effects", probe, body="place: system or interface"
    ),
    Operation("POST", "/api/v1/reload", "Read the configuration anew", reload),
    Operation("GET", "/api/v1/plugins", "Plugins, their interfaces and problems", plugins),
    Operation("GET", "/api/v1/tables/unmapped", "Values code tables did not list, with counts", unmapped),
    Operation(
        "GET",
        "/api/v1/quality",
        "What validation found, by interface and day; without since the last seven days",
        quality,
        (("place", "system or system/interface"), *_TIMES),
    ),
    Operation(
        "GET",
        "/api/v1/quality/reports",
        "Calls whose bytes were found wanting or could not be checked, newest first",
        quality_reports,
        (
            ("place", "system or system/interface"),
            ("verdict", "marked, refused, not_checked, separated by commas"),
            ("rule", "rule; a trailing * matches any ending"),
            *_TIMES,
            *_PAGE,
        ),
    ),
    Operation(
        "POST",
        "/api/v1/quality/rerun",
        "Check stored messages by the rules of today",
        quality_rerun,
        body="ids: [id] or query: {…} with most; missing: true leaves out those that have a report; reason",
    ),
    Operation("GET", "/api/v1/ledger", "Verify the ledger from the store", ledger),
    Operation(
        "GET", "/api/v1/audit", "The audit trail, oldest first", audit, (("after", "only entries after this number"),)
    ),
)


def openapi_document() -> dict[str, Any]:
    """OpenAPI 3.1 of the table."""
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        parameters: list[dict[str, Any]] = [
            {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string"}}
            for part in operation.path.split("/")
            if part.startswith("{")
        ]
        parameters += [
            {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
            for name, text in operation.query
        ]
        entry: dict[str, Any] = {
            "summary": operation.summary,
            "operationId": operation.answer.__name__,
            "parameters": parameters,
            "responses": {
                "200": {"description": "done"},
                "default": {"description": "what went wrong", "content": {"application/problem+json": {}}},
            },
        }
        if operation.body:
            entry["requestBody"] = {
                "description": operation.body,
                "required": True,
                "content": {"application/json": {}},
            }
        if operation.open:
            entry["security"] = []
        paths.setdefault(operation.path, {})[operation.method.lower()] = entry
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tongqu 通衢 admin API", "version": __version__},
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}],
        "paths": paths,
    }


def _guarded(operation: Operation, token: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    wanted = f"Bearer {token}".encode()

    async def handle(request: web.Request) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if not operation.open and not hmac.compare_digest(given, wanted):
            refusal = problem(401, "auth.required", t("a valid bearer token is needed", "需要有效的 Bearer 令牌"))
            refusal.headers["WWW-Authenticate"] = 'Bearer realm="tongqu"'
            return refusal
        try:
            return await operation.answer(request, request.app[BACKEND])
        except BadQuery as error:
            return problem(400, error.code, error.text)
        except ConfigError as error:
            return problem(422, error.code, error.text, problems=[p.as_dict() for p in error.problems])
        except StoreBusy as error:
            refusal = problem(503, error.code, error.text)
            refusal.headers["Retry-After"] = "5"
            return refusal
        except HubError as error:
            return problem(422, error.code, mask_text(error.text), remedy=error.remedy)
        except web.HTTPException:
            raise
        except Exception:
            log.exception("admin API: %s %s failed", request.method, operation.path)
            return problem(500, "hub.error", t("internal error; see the hub's log", "内部错误，请看枢纽日志"))

    return handle


@web.middleware
async def _harden(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """A page of another site must not reach this API through somebody's browser, nor may answers be cached."""
    if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
        return problem(403, "auth.cross_site", t("not from another site", "不接受跨站请求"))
    try:
        response = await handler(request)
    except web.HTTPException as error:  # no such path, wrong method, body too large
        response = problem(error.status, f"http.{error.status}", error.reason)
        if isinstance(error, web.HTTPMethodNotAllowed):
            response.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
    response.headers["Cache-Control"] = "no-store"
    return response


def make_app(backend: Backend, token: str) -> web.Application:
    """The aiohttp application; every operation but the open ones wants ``Authorization: Bearer <token>``."""
    app = web.Application(client_max_size=MAX_BODY, middlewares=[_harden])
    app[BACKEND] = backend
    for operation in OPERATIONS:
        app.router.add_route(operation.method, operation.path, _guarded(operation, token))
    return app
