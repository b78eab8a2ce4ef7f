"""Callers in the admin API. Only the process that owns the registry answers; workers send nobody away unasked, they are never asked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from aiohttp import web

from hub.admin.backend import Backend
from hub.admin.present import BadQuery
from hub.admin.requests import actor_of, as_json, order_of
from hub.audit import entry
from hub.callers.addresses import network
from hub.callers.model import Address, Caller
from hub.callers.traffic import Restriction
from hub.contract import parse_duration
from hub.errors import HubError
from hub.i18n import t
from hub.masking import mask, mask_text

if TYPE_CHECKING:
    from hub.callers.desk import CallerDesk
    from hub.callers.issuing import CallerCredentials, Issued
    from hub.callers.orders import CallerOrders

__all__ = [
    "CALLER_VERBS",
    "CREDENTIAL_VERBS",
    "addresses",
    "addresses_act",
    "caller",
    "caller_act",
    "caller_apply",
    "caller_journal",
    "caller_usage",
    "callers",
    "credential_act",
    "restrict",
    "restrictions",
]

CALLER_VERBS = ("review", "change", "enable", "disable", "issue")
CREDENTIAL_VERBS = ("rotate", "revoke")
_DAYS = 30
_LONGEST_OVERLAP = "7d"


def _desk(backend: Backend) -> CallerDesk:
    if backend.callers is None:
        raise HubError(
            t("callers are kept by the supervisor", "调用方由主进程管理"),
            code="callers.worker",
            remedy=t("ask its admin API", "请使用主进程的管理接口"),
        )
    return backend.callers


async def callers(request: web.Request, backend: Backend) -> web.Response:
    state = request.query.get("state", "")

    def work(orders: CallerOrders, credentials: CallerCredentials) -> list[dict[str, Any]]:
        restricted = {each.subject for each in orders.traffic.restrictions(orders.clock()) if each.kind == "caller"}
        return [
            {**_caller(found), "restricted": found.id in restricted}
            for found in orders.callers()
            if not state or found.state == state
        ]

    return as_json({"callers": await _desk(backend).do(work)})


async def caller(request: web.Request, backend: Backend) -> web.Response:
    name, actor = request.match_info["caller"], actor_of(request)
    clear = request.query.get("clear") in ("1", "true")

    def work(orders: CallerOrders, credentials: CallerCredentials) -> dict[str, Any]:
        found = orders.caller(name)
        now = orders.clock()
        contact = orders.contact(found)
        if clear and contact:
            with orders.database.change(entry(actor, "caller.contact", name, "shown")):
                pass
        return {
            **_caller(found),
            "contact": contact if clear else _masked(contact),
            "credentials": [each.shown() for each in credentials.of(name)],
            "addresses": [_address(each) for each in orders.addresses() if each.caller == name],
            "spent": orders.traffic.spent(name, now),
            "restrictions": [
                _restriction(each)
                for each in orders.traffic.restrictions(now)
                if each.kind == "caller" and each.subject == name
            ],
        }

    return as_json(await _desk(backend).do(work))


async def caller_apply(request: web.Request, backend: Backend) -> web.Response:
    order, actor = await order_of(request), actor_of(request)
    return as_json(await _desk(backend).do(lambda orders, _: _caller(orders.apply(order, actor))), 201)


async def caller_act(request: web.Request, backend: Backend) -> web.Response:
    name, verb, actor = request.match_info["caller"], request.match_info["verb"], actor_of(request)
    order = await order_of(request)
    reason = str(order.pop("reason", ""))

    def work(orders: CallerOrders, credentials: CallerCredentials) -> dict[str, Any]:
        if verb == "review":
            approve = order.get("approve")
            if not isinstance(approve, bool):
                raise BadQuery(t("approve: true or false", "approve：true 或 false"))
            return _caller(orders.review(name, actor, approve=approve, reason=reason))
        if verb == "change":
            return _caller(orders.change(name, order, actor, reason))
        if verb == "enable":
            return _caller(orders.enable(name, actor, reason))
        if verb == "disable":
            return _caller(orders.disable(name, actor, reason))
        if verb == "issue":
            return _issued(credentials.issue(name, order, actor, reason))
        raise BadQuery(
            t(f"{verb!r:.40} is none of {', '.join(CALLER_VERBS)}", f"{verb!r:.40} 不在 {', '.join(CALLER_VERBS)} 之中")
        )

    return as_json(await _desk(backend).do(work))


async def credential_act(request: web.Request, backend: Backend) -> web.Response:
    name, verb, actor = request.match_info["credential"], request.match_info["verb"], actor_of(request)
    order = await order_of(request)

    def work(orders: CallerOrders, credentials: CallerCredentials) -> dict[str, Any]:
        if verb == "revoke":
            return credentials.revoke(name, actor, str(order.get("reason", ""))).shown()
        if verb == "rotate":
            overlap = _seconds("overlap", order.pop("overlap", _LONGEST_OVERLAP))
            order.pop("reason", "")
            return _issued(credentials.rotate(name, overlap, actor, order))
        raise BadQuery(
            t(
                f"{verb!r:.40} is none of {', '.join(CREDENTIAL_VERBS)}",
                f"{verb!r:.40} 不在 {', '.join(CREDENTIAL_VERBS)} 之中",
            )
        )

    return as_json(await _desk(backend).do(work))


async def addresses(request: web.Request, backend: Backend) -> web.Response:
    def work(orders: CallerOrders, credentials: CallerCredentials) -> list[dict[str, Any]]:
        hits = orders.traffic.hits()
        return [
            {**_address(each), "hits": hits.get(each.id, (0, ""))[0], "last_hit": hits.get(each.id, (0, ""))[1]}
            for each in orders.addresses()
        ]

    return as_json({"addresses": await _desk(backend).do(work)})


async def addresses_act(request: web.Request, backend: Backend) -> web.Response:
    verb, actor, order = request.match_info["verb"], actor_of(request), await order_of(request)
    reason = str(order.get("reason", ""))

    def work(orders: CallerOrders, credentials: CallerCredentials) -> int:
        if verb == "remove":
            return orders.remove_addresses(_numbers(orders, order), actor, reason)
        rows = order.get("rows")
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            raise BadQuery(t("rows: a list of {network, …}", "rows：{network, …} 的列表"))
        return orders.add_addresses(verb, rows, actor, reason)

    return as_json({"rules": await _desk(backend).do(work)})


def _numbers(orders: CallerOrders, order: Mapping[str, Any]) -> list[int]:
    """The rules an order is about: by number, or all with a network (and caller)."""
    ids = order.get("ids") or []
    if not isinstance(ids, list) or not all(isinstance(each, int) for each in ids):
        raise BadQuery(t("ids: a list of numbers", "ids：编号列表"))
    if order.get("network"):
        wanted, of = network(str(order["network"])), str(order.get("caller") or "")
        ids = [rule.id for rule in orders.addresses() if rule.network == wanted and rule.caller == of]
    if not ids:
        raise BadQuery(t("say which: ids, or the network of a rule", "请用 ids 或规则的 network 指明"))
    return ids


async def restrictions(request: web.Request, backend: Backend) -> web.Response:
    found = await _desk(backend).do(lambda orders, _: orders.traffic.restrictions(orders.clock()))
    return as_json({"restrictions": [_restriction(each) for each in found]})


async def restrict(request: web.Request, backend: Backend) -> web.Response:
    """``kind``: caller or address; ``subject``; ``for``: how long, 0 lifts it."""
    order, actor = await order_of(request), actor_of(request)
    kind, subject, reason = (str(order.get(name, "")) for name in ("kind", "subject", "reason"))
    seconds = _seconds("for", order.get("for", "10m"))

    def work(orders: CallerOrders, credentials: CallerCredentials) -> dict[str, Any]:
        if not seconds:
            return {"lifted": orders.unrestrict(kind, subject, actor, reason)}
        return _restriction(orders.restrict(kind, subject, seconds, actor, reason))

    return as_json(await _desk(backend).do(work))


async def caller_usage(request: web.Request, backend: Backend) -> web.Response:
    """Days as 2026-11-28, both included; without since the last 30."""
    today = date.today()
    since = _day(request.query.get("since", ""), today - timedelta(days=_DAYS - 1))
    until = _day(request.query.get("until", ""), today)
    name = request.query.get("caller", "")
    rows = await _desk(backend).do(lambda orders, _: orders.traffic.usage(since, until, name))
    return as_json({"since": since, "until": until, "usage": rows})


async def caller_journal(request: web.Request, backend: Backend) -> web.Response:
    after = request.query.get("after", "0")
    if not (after.isascii() and after.isdecimal() and len(after) < 19):
        raise BadQuery(t("after: the number of an entry", "after：条目编号"))

    def work(orders: CallerOrders, credentials: CallerCredentials) -> dict[str, Any]:
        return {"entries": orders.database.journal(int(after)), "problems": orders.database.verify_journal()}

    return as_json(await _desk(backend).do(work))


def _day(text: str, usual: date) -> str:
    try:
        return (date.fromisoformat(text) if text else usual).isoformat()
    except ValueError:
        raise BadQuery(t("a day such as 2026-11-28", "日期，例如 2026-11-28")) from None


def _seconds(name: str, given: Any) -> int:
    try:
        return int(parse_duration(given))
    except ValueError as error:
        raise BadQuery(f"{name}: {error}") from None


def _masked(contact: str) -> str:
    """Words one by one: nothing tells a lone name from other words."""
    return " ".join(mask(word) for word in contact.split())


def _caller(found: Caller) -> dict[str, Any]:
    names = ("id", "name", "kind", "state", "tenant", "purpose", "reviewed_by", "reason", "places", "types")
    times = ("valid_from", "valid_until", "created_at", "changed_at")
    row = {name: getattr(found, name) for name in (*names, *times)}
    return {
        **row,
        "purpose": mask_text(found.purpose),
        "limits": found.limits.as_dict(),
        "has_contact": bool(found.contact),
    }


def _issued(issued: Issued) -> dict[str, Any]:
    """The only time the secret is told."""
    told = {"secret": issued.secret} if issued.secret else {}
    return {**issued.credential.shown(), **told, **({"shown": issued.shown} if issued.shown else {})}


def _address(rule: Address) -> dict[str, Any]:
    return {name: getattr(rule, name) for name in Address.__slots__}


def _restriction(found: Restriction) -> dict[str, Any]:
    return {name: getattr(found, name) for name in Restriction.__slots__}
