"""Users, roles, approvals and the login log, over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from hub.admin.backend import Backend, ids_of
from hub.admin.login import DESK, desk_of
from hub.admin.present import BadQuery, quality_span
from hub.admin.requests import as_json, order_of, principal_of
from hub.admin.scoped import ScopedBackend
from hub.errors import HubError
from hub.i18n import t
from hub.people.errors import NotAllowed, PeopleError
from hub.people.rights import TOKEN_ACTOR, Principal, Scope, rights_of

if TYPE_CHECKING:
    from hub.people.people import People

__all__ = ["approval_of_delete"]

#: What can be approved over HTTP: action -> how it is done then.
Perform = Callable[["People", Backend, Principal, dict[str, Any]], Awaitable[dict[str, Any]]]


def _asker(principal: Principal) -> str:
    """The name under which an approval is asked for; nobody can be a person by calling himself so with the hub's token."""
    return f"{TOKEN_ACTOR}:{principal.name}" if principal.kind == "token" else principal.name


async def _with_approval(
    request: web.Request, backend: Backend, action: str, subject: str, order: dict[str, Any], *, status: int = 200
) -> web.Response:
    """Do it, or, where somebody else has to approve, keep it until they do."""
    people, principal = desk_of(request).people, principal_of(request)
    if people.records.approvals.wanted(action):
        reason = str(order.get("reason", ""))
        ask = people.records.approvals.ask
        made = await people.run(ask, _asker(principal), action, subject, order, reason)
        return as_json({"approval": made.shown(int(people.now()))}, 202)
    return as_json(await PERFORM[action](people, backend, principal, order), status)


async def approval_of_delete(
    request: web.Request, backend: Backend, verb: str, order: dict[str, Any]
) -> web.Response | None:
    """Of many deliveries at once, where that has to be approved; None: go on."""
    if verb != "delete" or (order.get("ids") and len(ids_of(order)) < 2):
        return None
    desk = request.app.get(DESK)
    if desk is None or not desk.people.records.approvals.wanted("deliveries.delete"):
        return None
    subject = t("deliveries by a query", "按条件选取的投递")
    if order.get("ids"):
        subject = t(f"{len(order['ids'])} deliveries", f"{len(order['ids'])} 条投递")
    return await _with_approval(request, backend, "deliveries.delete", subject, order)


async def _delete(people: People, backend: Backend, principal: Principal, order: dict[str, Any]) -> dict[str, Any]:
    if not principal.may("deliveries.delete"):
        raise PeopleError(t("whoever asked may not do it any more", "申请人已无权执行"), code="approval.requester")
    return await backend.act("delete", order, principal.name)


# -- users -----------------------------------------------------------------------------------------------------------


def _within_own(principal: Principal, people: People, roles: Any, scope: Any) -> None:
    """Nobody gives rights or data they have not themselves."""
    if roles is not None and isinstance(roles, list):
        given = rights_of([role for role in roles if isinstance(role, str)], people.config.roles)
        if not given <= principal.rights | {"self"}:
            raise NotAllowed(
                t("these roles have rights you do not have", "这些角色的权限超出您的权限"), code="user.rights"
            )
    if scope is not None:
        try:
            wanted = Scope.read(scope)
        except ValueError:
            return  # told with the field
        if not principal.scope.covers(wanted):
            raise NotAllowed(t("this scope is wider than yours", "该数据范围超出您的数据范围"), code="user.scope")


async def _user_order(people: People, backend: Backend, principal: Principal, order: dict[str, Any]) -> dict[str, Any]:
    """One change of a user, named by ``do``."""
    if not principal.may("users.manage"):
        raise PeopleError(t("whoever asked may not do it any more", "申请人已无权执行"), code="approval.requester")
    records, actor = people.records, principal.name
    user, reason = str(order.get("user", "")), str(order.get("reason", ""))
    fields = order.get("fields", {})
    if not isinstance(fields, dict):
        raise BadQuery(t("the fields of a user", "用户各字段"))
    _within_own(principal, people, fields.get("roles"), fields.get("scope"))
    if order["do"] != "add":
        await _reach(people, principal, user)
    if order["do"] == "add":
        from hub.people.passwords import temporary_password  # a worker, which has no people, knows these orders, too

        person = await people.run(lambda: records.book.add(actor, fields, records.roles, reason=reason))
        temporary = temporary_password(people.config.passwords)
        hashed = await people.slow(records.passwords.hash, temporary)
        set_password = records.set_password
        await people.run(lambda: set_password(actor, person.id, hashed, temporary=True, action="user.password"))
        return {**(await people.run(records.book.get, person.id)).shown(), "temporary_password": temporary}
    if order["do"] == "set":
        return (await people.run(lambda: records.book.set(actor, user, fields, records.roles, reason=reason))).shown()
    if order["do"] == "state":
        state = str(order.get("state", ""))
        return (await people.run(lambda: records.book.set_state(actor, user, state, reason=reason))).shown()
    if order["do"] == "password":
        from hub.people.passwords import temporary_password

        temporary = temporary_password(people.config.passwords)
        hashed = await people.slow(records.passwords.hash, temporary)
        set_password = records.set_password
        await people.run(lambda: set_password(actor, user, hashed, temporary=True, action="user.reset"))
        return {**(await people.run(records.book.get, user)).shown(), "temporary_password": temporary}
    await people.run(records.reset_second_factor, actor, user, reason)
    return (await people.run(records.book.get, user)).shown()


async def _reach(people: People, principal: Principal, user: str) -> None:
    """Of users with a wider scope, or more rights, somebody with a scope knows nothing."""
    person = await people.run(people.records.book.get, user)
    if not principal.scope.covers(person.scope):
        raise PeopleError(t("there is no such user", "没有这个用户"), code="user.unknown")
    if not people.records.rights(person) <= principal.rights | {"self"}:
        raise NotAllowed(t("this user has rights you do not have", "该用户的权限超出您的权限"), code="user.rights")


PERFORM: dict[str, Perform] = {"deliveries.delete": _delete, "users.rights": _user_order}


async def _user_change(
    request: web.Request, backend: Backend, do: str, order: dict[str, Any], status: int = 200
) -> web.Response:
    people, principal = desk_of(request).people, principal_of(request)
    user = request.match_info.get("id", "")
    reason = order.pop("reason", "")
    content: dict[str, Any] = {"do": do, "user": user, "reason": reason if isinstance(reason, str) else ""}
    if do in ("add", "set"):
        content["fields"] = order
    elif do == "state":
        content["state"] = order.get("state", "")
    if do != "add":
        await _reach(people, principal, user)
    _within_own(principal, people, order.get("roles"), order.get("scope"))
    if do == "set" and not order.keys() & {"roles", "scope"}:  # who somebody is, not what they may do
        return as_json(await _user_order(people, backend, principal, content))
    subject = f"{do} {order.get('id', '') if do == 'add' else user}"
    return await _with_approval(request, backend, "users.rights", subject, content, status=status)


async def users(request: web.Request, backend: Backend) -> web.Response:
    people, principal = desk_of(request).people, principal_of(request)
    found = await people.run(people.records.book.search, dict(request.query))
    return as_json({"users": [person.shown() for person in found if principal.scope.covers(person.scope)]})


async def user(request: web.Request, backend: Backend) -> web.Response:
    people, principal = desk_of(request).people, principal_of(request)
    person = await people.run(people.records.book.find, request.match_info["id"])
    if person is None or not principal.scope.covers(person.scope):
        raise PeopleError(t("there is no such user", "没有这个用户"), code="user.unknown")
    clear = request.query.get("clear") in ("1", "true")
    if clear:
        detail = {"by": principal.kind, "address": principal.address, "scope": principal.scope.as_dict()}
        await people.run(people.records.note, principal.name, "access.user", person.id, detail)
    return as_json(person.shown(clear=clear))


async def user_add(request: web.Request, backend: Backend) -> web.Response:
    return await _user_change(request, backend, "add", await order_of(request), 201)


async def user_set(request: web.Request, backend: Backend) -> web.Response:
    return await _user_change(request, backend, "set", await order_of(request))


async def user_state(request: web.Request, backend: Backend) -> web.Response:
    return await _user_change(request, backend, "state", await order_of(request))


async def user_password(request: web.Request, backend: Backend) -> web.Response:
    return await _user_change(request, backend, "password", await order_of(request) if request.can_read_body else {})


async def user_second_factor(request: web.Request, backend: Backend) -> web.Response:
    order = await order_of(request) if request.can_read_body else {}
    return await _user_change(request, backend, "second_factor", order)


async def user_unlock(request: web.Request, backend: Backend) -> web.Response:
    people, principal = desk_of(request).people, principal_of(request)
    await _reach(people, principal, request.match_info["id"])
    failures = await people.run(people.records.log.unlock, principal.name, request.match_info["id"])
    return as_json({"failures": failures})


async def roles(request: web.Request, backend: Backend) -> web.Response:
    return as_json({"roles": desk_of(request).people.records.role_list()})


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name) or str(default)
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise BadQuery(t(f"{name}: a number", f"{name}：数字"))
    return int(text)


async def login_log(request: web.Request, backend: Backend) -> web.Response:
    """Of users within one's scope; attempts with names that are nobody's only for those who see everything."""
    people, principal = desk_of(request).people, principal_of(request)
    since, until = quality_span({**request.query, "since": request.query.get("since") or "-800d"})
    before, limit = _number(request, "before", 0), _number(request, "limit", 50)
    search = people.records.log.search
    rows = await people.run(search, dict(request.query), since // 1000, until // 1000, before, limit)
    if not principal.scope.everything:
        everybody = await people.run(people.records.book.everybody)
        mine = {person.id for person in everybody if principal.scope.covers(person.scope)}
        rows = [row for row in rows if row["user"] in mine]
    return as_json({"logins": rows})


# -- approvals ---------------------------------------------------------------------------------------------------------


async def approvals(request: web.Request, backend: Backend) -> web.Response:
    """All for those who decide; for others their own."""
    people, principal = desk_of(request).people, principal_of(request)
    rows = await people.run(people.records.approvals.listed, request.query.get("state", ""))
    mine = [row for row in rows if principal.may("approvals.decide") or row.requester == _asker(principal)]
    return as_json({"approvals": [row.shown(int(people.now())) for row in mine]})


async def approval_decide(request: web.Request, backend: Backend) -> web.Response:
    """approve or reject. What is approved is done at once, in the name of whoever asked, with the rights they have now."""
    people, principal = desk_of(request).people, principal_of(request)
    order = await order_of(request) if request.can_read_body else {}
    decision, number = request.match_info["decision"], request.match_info["id"]
    if decision not in ("approve", "reject"):
        raise BadQuery(t("approve or reject", "approve 或 reject"))
    if principal.kind != "user":
        raise NotAllowed(t("a person who is signed in has to decide", "须由已登录的人员审批"), code="auth.person")
    records = people.records
    decide, reason = records.approvals.decide, str(order.get("reason", ""))
    found = await people.run(lambda: decide(principal.name, number, approve=decision == "approve", reason=reason))
    answer: dict[str, Any] = {}
    if decision == "approve" and found.action in PERFORM:
        found = await people.run(records.approvals.start, number)
        try:
            asked_by = await people.requester(found.requester)
            systems = people.within(asked_by.scope)
            seen = backend if systems is None else ScopedBackend(backend, systems)
            result = await PERFORM[found.action](people, seen, asked_by, found.content)
        except HubError as error:
            text = error.text
            found = await people.run(lambda: records.approvals.finish(number, text, failed=True))
        except BaseException:
            await people.run(lambda: records.approvals.finish(number, "internal error", failed=True))
            raise
        else:
            answer = {"result": result}
            found = await people.run(records.approvals.finish, number, _summary(result))
    return as_json({"approval": found.shown(int(people.now())), **answer})


def _summary(result: dict[str, Any]) -> str:
    """For the record: how much was done; never a temporary password."""
    if "done" in result:
        return f"done {len(result['done'])}, refused {len(result['refused'])}"
    return str(result.get("id", "done"))
