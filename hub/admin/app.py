"""The admin API over HTTP: who may ask, errors in one form, the routes of the table of operations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from aiohttp import web

from hub.admin import audit as of_audit
from hub.admin import login as of_login
from hub.admin.backend import Backend
from hub.admin.gate import Gate, NoCredentials
from hub.admin.operations import OPERATIONS, Operation
from hub.admin.present import BadQuery
from hub.admin.requests import clear_of, problem
from hub.errors import ConfigError, HubError, StoreBusy
from hub.i18n import t
from hub.logs import get_logger
from hub.masking import mask_text
from hub.people.errors import LoginRefused, NotAllowed

__all__ = ["make_app"]

log = get_logger(__name__)

BACKEND: web.AppKey[Backend] = web.AppKey("backend", Backend)

#: Largest body of an order; messages sent in by hand may be larger.
MAX_BODY = 64 << 20

_RETURNS = frozenset(operation.path for operation in OPERATIONS if operation.returns)


def _guarded(operation: Operation, gate: Gate) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            backend = request.app[BACKEND]
            if not operation.open and not operation.login:
                principal = await gate.admit(request, operation.right, fresh=operation.fresh, scoped=operation.scoped)
                if operation.personal or clear_of(request):
                    gate.may_see_persons(principal)
                backend = gate.seen_by(principal, backend)
            return await operation.answer(request, backend)
        except (NoCredentials, LoginRefused) as error:
            wait = getattr(error, "retry_after", 0)
            refusal = problem(429 if wait else 401, error.code, error.text, remedy=error.remedy)
            refusal.headers["Retry-After" if wait else "WWW-Authenticate"] = (
                str(wait) if wait else 'Bearer realm="tongqu"'
            )
            return refusal
        except NotAllowed as error:
            return problem(403, error.code, error.text, remedy=error.remedy)
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


def _comes_back(request: web.Request) -> bool:
    """A browser that a portal sends back to finish a login: a page is opened, nothing is asked by script."""
    resource = request.match_info.route.resource
    path = resource.canonical if resource is not None else ""
    return path in _RETURNS and request.method == "GET" and request.headers.get("Sec-Fetch-Mode") == "navigate"


@web.middleware
async def _harden(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """A page of another site must not reach this API through somebody's browser, nor may answers be cached."""
    if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site") and not _comes_back(request):
        return problem(403, "auth.cross_site", t("not from another site", "不接受跨站请求"))
    try:
        response = await handler(request)
    except web.HTTPException as error:  # no such path, wrong method, body too large
        response = problem(error.status, f"http.{error.status}", error.reason)
        if isinstance(error, web.HTTPMethodNotAllowed):
            response.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
    response.headers["Cache-Control"] = "no-store"
    return response


def make_app(backend: Backend, token: str, proxies: Sequence[str] = ()) -> web.Application:
    """The aiohttp application; every operation but the open ones wants to know who asks, and whether they may.

    ``token``: the hub's own; "" for none. ``proxies``: networks whose X-Forwarded-For is believed.
    """
    gate = Gate(token, backend.people, proxies)
    app = web.Application(client_max_size=MAX_BODY, middlewares=[of_audit.recording(backend), _harden])
    app[BACKEND] = backend
    app[of_login.ADDRESS] = gate.address
    if backend.people is not None:
        app[of_login.DESK] = of_login.Desk(backend.people)
    app.on_response_prepare.append(partial(of_audit.before_streaming, backend))
    for operation in OPERATIONS:
        app.router.add_route(operation.method, operation.path, _guarded(operation, gate))
    return app
