"""Signing in and what concerns oneself, over HTTP: steps of the login, session, password, second factor, personal tokens, portal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from hub.admin.backend import Backend
from hub.admin.gate import COOKIE, NoCredentials, token_of_request
from hub.admin.present import BadQuery
from hub.admin.requests import as_json, order_of, principal_of
from hub.i18n import t
from hub.people.errors import login_over
from hub.people.sessions import Session, csrf_of

if TYPE_CHECKING:
    from hub.people.login import Step
    from hub.people.people import People

__all__ = ["ADDRESS", "DESK", "Desk", "desk_of"]

#: Finds the address of a caller.
ADDRESS: web.AppKey[Any] = web.AppKey("address")
_PORTAL_COOKIE = "tongqu_portal"
_TYPED = 512
#: Bytes of the body of a step of a login.
_LARGEST = 16_384


class Desk:
    """What the handlers ask."""

    def __init__(self, people: People) -> None:
        from hub.people.login import Login  # nobody signs in at a worker
        from hub.people.portal import Portal

        self.people = people
        self.login = Login(people)
        self.portal = Portal(people, self.login)


DESK: web.AppKey[Desk] = web.AppKey("desk", Desk)


def desk_of(request: web.Request) -> Desk:
    """Raises :class:`NoCredentials` where nobody can sign in: in a worker."""
    found = request.app.get(DESK)
    if found is None:
        raise NoCredentials(t("nobody can sign in here", "此处不提供登录"))
    return found


async def _small_order(request: web.Request) -> dict[str, Any]:
    """An order of somebody who is not known yet: nobody has this hub read megabytes. Raises :class:`BadQuery`."""
    return await order_of(request.clone(client_max_size=_LARGEST))


def _text(order: dict[str, Any], key: str, *, most: int = _TYPED) -> str:
    value = order.get(key, "")
    if not isinstance(value, str) or len(value) > most:
        raise BadQuery(t(f"{key}: a text", f"{key}：文本"))
    return value


def _from(request: web.Request) -> tuple[str, str]:
    return request.app[ADDRESS](request), request.headers.get("User-Agent", "")


def set_cookie(request: web.Request, response: web.StreamResponse, token: str) -> None:
    """The cookie of a session: out of reach of scripts and other sites, over TLS only where there is TLS."""
    secure = request.secure or desk_of(request).people.url.startswith("https:")
    response.set_cookie(COOKIE, token, httponly=True, samesite="Strict", secure=secure, path="/")


def _stepped(request: web.Request, step: Step, **more: Any) -> web.Response:
    """The answer to a step; a browser that wants a cookie (``cookie: true`` at the first step, a cookie at later ones) gets no token to keep."""
    data = {**step.as_dict(), **more}
    wants_cookie = bool(more.pop("cookie", False)) or COOKIE in request.cookies
    data.pop("cookie", None)
    response = as_json({k: v for k, v in data.items() if not (wants_cookie and k == "token")})
    if wants_cookie:
        set_cookie(request, response, step.token)
    return response


async def login(request: web.Request, backend: Backend) -> web.Response:
    order = await _small_order(request)
    desk = desk_of(request)
    step = await desk.login.password(_text(order, "user"), _text(order, "password"), *_from(request))
    return _stepped(request, step, cookie=order.get("cookie") is True)


async def login_code(request: web.Request, backend: Backend) -> web.Response:
    order = await _small_order(request)
    desk = desk_of(request)
    session, person = await desk.login.at(token_of_request(request), "second", "full")
    await desk.login.codes.send(session, person, _text(order, "method"))
    return as_json({"sent": True}, 202)


async def login_second(request: web.Request, backend: Backend) -> web.Response:
    order = await _small_order(request)
    desk = desk_of(request)
    session, person = await desk.login.at(token_of_request(request), "second")
    method, code = _text(order, "method") or "totp", _text(order, "code")
    if method == "password":
        raise BadQuery(t("method: totp, sms, mail or recovery", "method：totp、sms、mail 或 recovery"))
    return _stepped(request, await desk.login.second(session, person, method, code, _from(request)[0]))


async def logout(request: web.Request, backend: Backend) -> web.Response:
    """Of a login at any step; ``everywhere`` ends all sessions of the user."""
    order = await _small_order(request) if request.can_read_body else {}
    desk = desk_of(request)
    people = desk.people
    session, person = await desk.login.at(token_of_request(request), "second", "enrol", "change", "full")
    if order.get("everywhere") is True and session.state == "full":
        await people.run(people.records.sessions.end_all, person.id, person.id)
    else:
        await people.run(people.records.sessions.end, person.id, person.id, session.id)
    response = as_json({"signed_out": True})
    response.del_cookie(COOKIE, path="/")
    return response


async def me(request: web.Request, backend: Backend) -> web.Response:
    """Also of a login that is under way: which step is next."""
    desk = desk_of(request)
    token = token_of_request(request)
    found = await desk.people.session(token)
    if found is None:
        raise login_over()
    session, person = found
    answer: dict[str, Any] = {"state": session.state, "user": person.id, "methods": await desk.login.methods(person)}
    if session.kind == "session":
        answer["csrf"] = csrf_of(token)
    if session.state == "full":
        principal = desk.people.principal(session, person, "")
        answer |= {
            **person.shown(clear=True),
            "rights": sorted(principal.rights),
            "session": session.shown(session.id),
            "fresh": desk.people.fresh(principal),
            "notices": desk.login.notices(person),
        }
    return as_json(answer)


async def _own(request: web.Request) -> tuple[Desk, Session, Any]:
    desk = desk_of(request)
    return desk, *await desk.login.at(token_of_request(request), "full")


async def verify(request: web.Request, backend: Backend) -> web.Response:
    desk, session, person = await _own(request)
    order = await _small_order(request)
    await desk.login.verify(session, person, _text(order, "method") or "totp", _text(order, "code"), _from(request)[0])
    return as_json({"fresh": True})


async def change_password(request: web.Request, backend: Backend) -> web.Response:
    desk = desk_of(request)
    session, person = await desk.login.at(token_of_request(request), "change", "full")
    order = await _small_order(request)
    old, new = _text(order, "old"), _text(order, "new")
    step = await desk.login.change_password(session, person, old, new, _from(request)[0])
    return as_json({"changed": True}) if step is None else _stepped(request, step, changed=True)


async def password_strength(request: web.Request, backend: Backend) -> web.Response:
    """While it is typed; the password is neither kept nor logged."""
    desk = desk_of(request)
    await desk.login.at(token_of_request(request), "change", "full")
    return as_json({"strength": desk.login.strength(_text(await _small_order(request), "password"))})


async def totp_new(request: web.Request, backend: Backend) -> web.Response:
    desk = desk_of(request)
    session, person = await desk.login.at(token_of_request(request), "enrol", "full")
    principal = desk.people.principal(session, person, "") if session.state == "full" else None
    return as_json(await desk.login.enrol(session, person, principal))


async def totp_confirm(request: web.Request, backend: Backend) -> web.Response:
    desk = desk_of(request)
    session, person = await desk.login.at(token_of_request(request), "enrol", "full")
    code = _text(await _small_order(request), "code")
    codes, step = await desk.login.confirm(session, person, code, _from(request)[0])
    return as_json({"recovery": codes}) if step is None else _stepped(request, step, recovery=codes)


async def sessions(request: web.Request, backend: Backend) -> web.Response:
    desk, session, person = await _own(request)
    rows = await desk.people.run(desk.people.records.sessions.of, person.id)
    return as_json({"sessions": [row.shown(session.id) for row in rows]})


async def session_end(request: web.Request, backend: Backend) -> web.Response:
    desk, _, person = await _own(request)
    await desk.people.run(desk.people.records.sessions.end, person.id, person.id, request.match_info["id"])
    return as_json({"ended": True})


async def tokens(request: web.Request, backend: Backend) -> web.Response:
    desk, _, person = await _own(request)
    rows = await desk.people.run(desk.people.records.sessions.of, person.id, "api")
    return as_json({"tokens": [row.shown_api() for row in rows]})


async def token_issue(request: web.Request, backend: Backend) -> web.Response:
    """A personal API token, shown once."""
    desk, _, person = await _own(request)
    order = await _small_order(request)
    days, rights = order.get("days", 90), order.get("rights", [])
    if not isinstance(days, int) or isinstance(days, bool):
        raise BadQuery(t("days: a number", "days：数字"))
    if not isinstance(rights, list) or not all(isinstance(right, str) for right in rights):
        raise BadQuery(t("rights: a list of rights", "rights：权限列表"))
    held = principal_of(request).rights
    issue = desk.people.records.sessions.issue
    token, row = await desk.people.run(issue, person, _text(order, "note", most=200), rights, held, days)
    return as_json({"token": token, **row.shown_api()}, 201)


async def token_revoke(request: web.Request, backend: Backend) -> web.Response:
    desk, _, person = await _own(request)
    end = desk.people.records.sessions.end
    await desk.people.run(lambda: end(person.id, person.id, request.match_info["id"], kind="api"))
    return as_json({"revoked": True})


# -- portal ----------------------------------------------------------------------------------------------------------


async def portal_begin(request: web.Request, backend: Backend) -> web.StreamResponse:
    """Send a browser to the portal; what comes back is only taken from the same browser."""
    desk = desk_of(request)
    flow = await desk.portal.begin(request.match_info["portal"])
    response = web.HTTPFound(flow.location)
    answer = web.Response(status=302, headers={"Location": response.headers["Location"]})
    # Lax: the portal's page leads back here.
    answer.set_cookie(
        _PORTAL_COOKIE,
        flow.browser,
        httponly=True,
        samesite="Lax",
        secure=desk.people.url.startswith("https:"),
        path="/api/v1/login",
        max_age=600,
    )
    return answer


async def portal_back(request: web.Request, backend: Backend) -> web.StreamResponse:
    """The browser comes back from the portal. It gets a session, and goes on to the start page."""
    desk = desk_of(request)
    browser = request.cookies.get(_PORTAL_COOKIE, "")
    step = await desk.portal.back(request.match_info["portal"], dict(request.query), browser, *_from(request))
    answer = web.Response(status=303, headers={"Location": f"{desk.people.url}/"})
    set_cookie(request, answer, step.token)
    answer.del_cookie(_PORTAL_COOKIE, path="/api/v1/login")
    return answer
