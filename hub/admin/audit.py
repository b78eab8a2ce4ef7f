"""The audit trail in the admin API: what everybody asks for is recorded, and auditors search, verify and export.

Recording is a middleware, so that no operation can be forgotten: what changes something in the store brings its own entry in the same
commit, what shows data is recorded here before it is shown, and so is every refusal. Workers, whom only their supervisor asks, have no
desk and record nothing here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from hub.admin.backend import Backend
from hub.admin.login import ADDRESS
from hub.admin.present import BadQuery, time_ms
from hub.admin.requests import actor_of, as_json, order_of
from hub.audit.entries import CLASSES, acting_from
from hub.audit.errors import AuditUnwritable
from hub.audit.questions import recorded_query
from hub.audit.tables import FORMATS, MEDIA, Format
from hub.audit.view import AuditQuery
from hub.errors import HubError, StoreBusy
from hub.i18n import t
from hub.logs import get_logger
from hub.masking import mask_text
from hub.operations import VERBS

if TYPE_CHECKING:
    from hub.audit.desk import AuditDesk

__all__ = [
    "ADDRESS_HEADER",
    "AUDIT_QUERY",
    "audit",
    "audit_archive",
    "audit_export",
    "audit_verify",
    "before_streaming",
    "recording",
]

log = get_logger(__name__)

#: How a supervisor tells its workers where somebody is.
ADDRESS_HEADER = "X-Tongqu-Address"
_LONGEST_ADDRESS = 64
_DONE = "audit.done"

#: What shows data: path -> (action, where the records are in the answer).
_SHOWS = {
    ("GET", "/api/v1/messages"): ("access.message.search", "messages"),
    ("GET", "/api/v1/messages/{id}"): ("access.message.read", ""),
    ("GET", "/api/v1/messages/{id}/raw"): ("access.message.raw", ""),
    ("GET", "/api/v1/deliveries"): ("access.delivery.search", "deliveries"),
    ("GET", "/api/v1/callbacks"): ("access.callback.search", "callbacks"),
    ("GET", "/api/v1/calls"): ("access.call.search", "calls"),
    ("GET", "/api/v1/quality/reports"): ("access.quality.reports", "reports"),
    ("POST", "/api/v1/replay"): ("access.replay", "results"),
    ("GET", "/api/v1/flows/instances"): ("access.flow.search", "instances"),
    ("GET", "/api/v1/flows/instances/{id}"): ("access.flow.read", ""),
    ("GET", "/console/flows"): ("access.flow.search", ""),
    ("GET", "/console/flows/{id}"): ("access.flow.read", ""),
}
#: What does something and leaves no entry of its own.
_DOES = {("POST", "/api/v1/probe"): "interface.probe"}
#: Steps of a login; refused ones are recorded as all refusals are.
_LOGINS = frozenset({("POST", "/api/v1/login"), ("POST", "/api/v1/login/second")})
#: Names for what is refused, where they are not those of the path.
_NAMES = {
    ("POST", "/api/v1/reload"): "config.reload",
    ("POST", "/api/v1/replay"): "replay",
    ("POST", "/api/v1/probe"): "interface.probe",
    ("POST", "/api/v1/interfaces/{system}/{interface}/messages"): "message.send",
    ("POST", "/api/v1/interfaces/{system}/{interface}/poll"): "interface.poll",
    ("POST", "/api/v1/quality/rerun"): "quality.rerun",
}
#: Ids of records that are named in an entry.
_MOST_IDS = 50


AUDIT_QUERY = (
    ("actor", "who; in this and the next two * matches any run of characters"),
    ("action", "what was done, e.g. delivery.*"),
    ("subject", "to what"),
    ("address", "from where"),
    ("class", ", ".join(CLASSES)),
    ("result", "done, refused or failed"),
    ("chain", "hub, worker-00, keys, access"),
    ("since", "from this time on (ISO 8601, or -15m)"),
    ("until", "before this time"),
)


# -- recording -------------------------------------------------------------------------------------------------------


def _where(request: web.Request) -> str:
    """The address of whoever asks; from a supervisor over the socket file, that of whoever asked it."""
    if isinstance(request.transport and request.transport.get_extra_info("peername"), tuple):
        return str(request.app[ADDRESS](request))[:_LONGEST_ADDRESS]
    return request.headers.get(ADDRESS_HEADER, "")[:_LONGEST_ADDRESS]


def _path(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else ""


def recording(backend: Backend) -> Callable[..., Awaitable[web.StreamResponse]]:
    """The middleware of one admin API."""

    @web.middleware
    async def middleware(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        with acting_from(_where(request)):
            response = await handler(request)
            if backend.audit is None or request.get(_DONE):
                return response
            try:
                await _record(request, response, backend.audit)
            except AuditUnwritable as error:
                if response.status >= 400:  # nothing was done or shown
                    log.error("%s", error)
                    return response
                return _busy(error)
            return response

    return middleware


async def before_streaming(backend: Backend, request: web.Request, response: web.StreamResponse) -> None:
    """For what is sent in parts: the entry comes before the first of them. Raises ``AuditUnwritable``."""
    key = (request.method, _path(request))
    if backend.audit is None or isinstance(response, web.Response) or key not in _SHOWS:
        return
    request[_DONE] = True
    await backend.audit.record(actor_of(request), _SHOWS[key][0], _subject(request), {"records": 1, "clear": True})


def _busy(error: StoreBusy) -> web.Response:
    body = {"type": "about:blank", "title": error.code, "status": 503, "detail": error.text, "code": error.code}
    headers = {"Retry-After": "5", "Cache-Control": "no-store"}
    return web.Response(body=orjson.dumps(body), status=503, content_type="application/problem+json", headers=headers)


async def _record(request: web.Request, response: web.StreamResponse, desk: AuditDesk) -> None:
    key = (request.method, _path(request))
    status = response.status
    if status >= 400:
        if status in (401, 403, 429) or request.method != "GET":
            await _refused(request, key, status, _body(response), desk)
        return
    if key in _DOES:
        await desk.record(actor_of(request), _DOES[key], _subject(request), {})
    if key in _LOGINS and (found := _body(response)) is not None:
        await desk.record(str(found.get("user") or "-"), "auth.login", key[1], {"state": str(found.get("state", ""))})
    if key in _SHOWS:
        await _shown(request, _SHOWS[key], _body(response), desk)


async def _refused(request: web.Request, key: tuple[str, str], status: int, body: Any, desk: AuditDesk) -> None:
    code = str(body.get("code", "")) if isinstance(body, dict) else ""
    detail = {"status": status, "code": code, "method": key[0], "path": key[1]}
    if status in (401, 403, 429):
        # The path as declared: what a stranger asks for is his own text.
        action = {401: "auth.refused", 403: "auth.forbidden", 429: "auth.limited"}[status]
        await desk.refused(actor_of(request), action, key[1], detail, "refused")
        return
    action = _NAMES.get(key) or _name(request, key[1])
    await desk.refused(actor_of(request), action, _subject(request), detail, "refused" if status < 500 else "failed")


def _name(request: web.Request, path: str) -> str:
    if path == "/api/v1/deliveries/{verb}":
        verb = request.match_info["verb"]
        return f"delivery.{verb if verb in VERBS else 'unknown'}"
    return "api." + ".".join(part.strip("{}") for part in path.removeprefix("/api/v1/").split("/"))


async def _shown(request: web.Request, what: tuple[str, str], body: Any, desk: AuditDesk) -> None:
    action, name = what
    if action == "access.replay" and not (isinstance(body, dict) and body.get("dry_run")):
        return  # what was sent has its entry
    clear = request.query.get("clear") in ("1", "true") or action == "access.message.raw"
    rows = body.get(name, []) if name and isinstance(body, dict) else None
    records = len(rows) if isinstance(rows, list) else 1
    ids = [str(row.get("id") or row.get("message_id") or "") for row in rows or () if isinstance(row, dict)]
    detail: dict[str, Any] = {"query": recorded_query(request.query)} if name else {}
    if clear:
        detail["clear"] = True
    more = {"ids": ids[:_MOST_IDS]} if ids else {}
    actor, subject = actor_of(request), _subject(request)
    if clear:  # what is shown unmasked is told each time
        await desk.record(actor, action, subject, {**detail, "records": records, **more})
    else:
        await desk.seen(actor, action, subject, detail, records, more)


def _subject(request: web.Request) -> str:
    """The place or the id in the path, as far as it is one."""
    parts = request.match_info
    if "system" in parts:
        return mask_text(f"{parts['system']}/{parts['interface']}"[:128])
    return mask_text(str(parts.get("id", ""))[:64])


def _body(response: web.StreamResponse) -> Any:
    if not isinstance(response, web.Response) or not isinstance(response.body, bytes):
        return None
    if not response.content_type.endswith("json"):
        return None
    try:
        return orjson.loads(response.body)
    except orjson.JSONDecodeError:
        return None


# -- operations --------------------------------------------------------------------------------------------------------


def _desk(backend: Backend) -> AuditDesk:
    if backend.audit is None:
        raise HubError(
            t("the audit trail is kept by the supervisor", "审计记录由主进程管理"),
            code="audit.worker",
            remedy=t("ask its admin API", "请使用主进程的管理接口"),
        )
    return backend.audit


def audit_query(parameters: Any) -> AuditQuery:
    """Raises :class:`BadQuery`."""
    query = AuditQuery(
        actor=parameters.get("actor", ""),
        action=parameters.get("action", ""),
        subject=parameters.get("subject", ""),
        address=parameters.get("address", ""),
        kind=_one_of("class", parameters.get("class", ""), CLASSES),
        result=_one_of("result", parameters.get("result", ""), ("done", "refused", "failed")),
        chain=parameters.get("chain", ""),
        since_us=time_ms(parameters.get("since", ""), "since") * 1000,
        until_us=time_ms(parameters.get("until", ""), "until") * 1000,
    )
    _after(query, parameters.get("after", ""))
    return query


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value and value not in allowed:
        raise BadQuery(t(f"{name}: one of {', '.join(allowed)}", f"{name}：{'、'.join(allowed)} 之一"))
    return value


def _after(query: AuditQuery, text: str) -> None:
    """The number of an entry, or what ``next`` said."""
    number, _, rest = text.partition(".")
    chain, _, seq = rest.rpartition(".")
    good = [part.isascii() and part.isdecimal() and len(part) < 19 for part in (number, seq)]
    if not text:
        return
    if good[0] and not rest:
        query.after_number = int(number)
    elif all(good) and chain:
        query.after = (int(number), chain, int(seq))
    else:
        raise BadQuery(t("after: the number of an entry, or what next said", "after：条目编号，或 next 所给"))


async def audit(request: web.Request, backend: Backend) -> web.Response:
    query = audit_query(request.query)
    limit = request.query.get("limit", "1000")
    last = request.query.get("last", "")
    for text in (limit, last or "1"):
        if not (text.isascii() and text.isdecimal() and 0 < int(text[:9]) <= 10_000):
            raise BadQuery(t("limit, last: 1 to 10000", "limit、last：1 至 10000"))
    if backend.audit is None:
        return as_json({"entries": await backend.reader.audit(query.after_number)})
    if last:
        return as_json({"entries": await backend.audit.newest(query, int(last)), "next": ""})
    rows, following = await backend.audit.page(query, int(limit))
    return as_json({"entries": rows, "next": following})


async def audit_export(request: web.Request, backend: Backend) -> web.StreamResponse:
    desk = _desk(backend)
    query = audit_query(request.query)
    form: Format | None = next((f for f in FORMATS if f == request.query.get("format", "csv")), None)
    if form is None:
        raise BadQuery(t(f"format: one of {', '.join(FORMATS)}", f"format：{'、'.join(FORMATS)} 之一"))
    detail = {
        "format": form,
        "query": {name: str(request.query[name])[:128] for name, _ in AUDIT_QUERY if name in request.query},
    }
    await desk.record(actor_of(request), "audit.export", "", detail, request.query.get("reason", "")[:500])
    parts = desk.export(query, form)
    first = await asyncio.to_thread(next, parts, b"")  # what can't be made is told before anything is sent
    answer = web.StreamResponse(
        headers={
            "Content-Type": MEDIA[form],
            "Content-Disposition": f'attachment; filename="audit.{form}"',
            "X-Content-Type-Options": "nosniff",
        }
    )
    await answer.prepare(request)
    await answer.write(first)
    while part := await asyncio.to_thread(_some, parts):
        await answer.write(part)
    await answer.write_eof()
    return answer


def _some(parts: Iterator[bytes]) -> bytes:
    """About 64 KB, or what is left."""
    taken: list[bytes] = []
    size = 0
    for part in parts:
        taken.append(part)
        size += len(part)
        if size >= 1 << 16:
            break
    return b"".join(taken)


async def audit_verify(request: web.Request, backend: Backend) -> web.Response:
    return as_json((await _desk(backend).verify()).as_dict())


async def audit_archive(request: web.Request, backend: Backend) -> web.Response:
    """Archive now, on all workers; a worker archives its own chain only."""
    order = await order_of(request)
    older = order.get("older_than_days")
    if older is not None and (not isinstance(older, int | float) or isinstance(older, bool) or older < 0):
        raise BadQuery(t("older_than_days: a number", "older_than_days：数"))
    actor = actor_of(request)
    if backend.audit is not None:
        detail = {"older_than_days": older} if older is not None else {}
        await backend.audit.record(actor, "audit.archive", "", detail, str(order.get("reason", "")))
    done = await backend.archive_audit(order, actor)
    if backend.audit is not None:
        seconds = None if older is None else older * 86400.0
        done = [*(one.as_dict() for one in await backend.audit.archive(seconds)), *done]
    return as_json({"archived": done})
