"""A strict CAS server: tickets count once, for ten seconds, and for the very service they were given for (protocol 3.0.3, 2.5 and 3.1.1)."""

from __future__ import annotations

import secrets
import time
from urllib.parse import parse_qs, urlencode, urlsplit
from xml.sax.saxutils import escape

from aiohttp import web

__all__ = ["CasServer"]

_ANSWER = '<cas:serviceResponse xmlns:cas="http://www.yale.edu/tp/cas">{}</cas:serviceResponse>'


class CasServer:
    """``user`` and ``attributes`` are those of whoever is signed in there."""

    def __init__(self) -> None:
        self.user = "zhang"
        self.attributes: dict[str, list[str]] = {}
        self.url = ""
        self._tickets: dict[str, tuple[str, float]] = {}
        app = web.Application()
        app.router.add_get("/cas/login", self._login)
        app.router.add_get("/cas/p3/serviceValidate", self._validate)
        app.router.add_get("/cas/serviceValidate", self._validate)
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/cas"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _login(self, request: web.Request) -> web.Response:
        service = request.query["service"]
        ticket = "ST-" + secrets.token_urlsafe(24)
        self._tickets[ticket] = (service, time.monotonic() + 10)
        parts = urlsplit(service)
        query = urlencode({**{k: v[0] for k, v in parse_qs(parts.query).items()}, "ticket": ticket})
        return web.Response(status=302, headers={"Location": parts._replace(query=query).geturl()})

    async def _validate(self, request: web.Request) -> web.Response:
        service, ends = self._tickets.pop(request.query.get("ticket", ""), ("", 0.0))
        if not service:
            return self._refuse("INVALID_TICKET")
        if service != request.query.get("service"):
            return self._refuse("INVALID_SERVICE")
        if time.monotonic() > ends:
            return self._refuse("INVALID_TICKET")
        more = ""
        if request.path.startswith("/cas/p3/"):
            rows = [(name, value) for name, values in self.attributes.items() for value in values]
            more = "".join(f"<cas:{name}>{escape(value)}</cas:{name}>" for name, value in rows)
            more = f"<cas:attributes>{more}</cas:attributes>"
        text = f"<cas:authenticationSuccess><cas:user>{escape(self.user)}</cas:user>{more}</cas:authenticationSuccess>"
        return web.Response(text=_ANSWER.format(text), content_type="application/xml")

    def _refuse(self, code: str) -> web.Response:
        text = f'<cas:authenticationFailure code="{code}">no</cas:authenticationFailure>'
        return web.Response(text=_ANSWER.format(text), content_type="application/xml")
