"""Interfaces with the same base path are one FHIR server: each takes its own interactions with its own types of resource."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from adapters.fhir.call import SUBSCRIBE, Call, call_of
from adapters.fhir.form import Forms
from adapters.fhir.options import FhirListen, slots
from adapters.fhir.outcome import refused
from adapters.http.problem import SERVER, Refusal, wants
from adapters.http.server import HttpServer, Route, ServerPool
from adapters.http.server_options import ServerOptions
from hub.api import HubError
from hub.i18n import t

__all__ = ["Facade", "Facades", "FhirRoute"]

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
#: Parts of a path below the base.
_DEEPEST = 4
#: What interfaces on one socket must agree on.
_OF_THE_SOCKET = ("tls", "keepalive_timeout", "header_size", "max_connections", "backlog")


@dataclass(slots=True, eq=False)
class FhirRoute(Route):
    """What one interface takes. ``resources``: types, ``*`` any."""

    offers: frozenset[str]
    resources: frozenset[str]
    forms: Forms
    options: FhirListen

    @property
    def slots(self) -> frozenset[tuple[str, str]]:
        """What only one interface of a base can have."""
        return slots(self.offers, self.resources)


class Facade:
    """One base path of one server; opens with its first interface and closes with its last."""

    def __init__(self, server: HttpServer, path: str) -> None:
        self._server = server
        self._path = path.rstrip("/")
        self.routes: list[FhirRoute] = []
        self._slots: dict[tuple[str, str], FhirRoute] = {}
        own = {"", "/", "/metadata"} if self._path else {"/", "/metadata"}
        parts = ["".join(f"/{{p{at}}}" for at in range(depth)) for depth in range(1, _DEEPEST + 1)]
        own |= {part + end for part in parts for end in ("", "/")}
        self._own = [Route(f"{path} {below}", self._path + below, _METHODS, self._handle) for below in sorted(own)]

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def connections(self) -> int:
        return self._server.connections

    @property
    def refused(self) -> int:
        return self._server.refused

    async def add(self, route: FhirRoute, options: FhirListen) -> None:
        """Serve an interface. Raises :class:`HubError` with a remedy."""
        self._check(route, options)
        first = not self.routes
        self.routes.append(route)
        self._slots |= dict.fromkeys(route.slots, route)
        if not first:
            return
        added: list[Route] = []
        try:
            for own in self._own:
                await self._server.add(own, options)
                added.append(own)
        except BaseException:
            self._forget(route)
            for own in added:
                await self._server.remove(own, 0.5)
            raise

    async def remove(self, route: FhirRoute, within: float) -> None:
        self._forget(route)
        if not self.routes:
            for own in self._own:
                await self._server.remove(own, within)

    def stop_listening(self, route: FhirRoute) -> None:
        """The socket belongs to the base; an interface that stops refuses for itself."""

    def _check(self, route: FhirRoute, options: FhirListen) -> None:
        for other in self.routes:
            if any(getattr(other.options, name) != getattr(options, name) for name in _OF_THE_SOCKET):
                raise HubError(
                    t(
                        f"{route.place}: other settings than {other.place}, which has the same base",
                        f"{route.place}：与同一基础路径上的 {other.place} 设置不同",
                    ),
                    code="http.shared_port",
                    remedy=t(
                        f"give both the same {', '.join(_OF_THE_SOCKET)}",
                        f"请使两者的 {'、'.join(_OF_THE_SOCKET)} 一致",
                    ),
                )
        for slot in route.slots & self._slots.keys():
            taken = self._slots[slot].place
            what = " ".join(part for part in slot if part)
            raise HubError(
                t(
                    f"{route.place}: {what} at {self._path} belongs to {taken} already",
                    f"{route.place}：{self._path} 的 {what} 已由 {taken} 使用",
                ),
                code="http.path_taken",
                remedy=t(
                    "give it other interactions, resources or another path", "请更换 interactions、resources 或 path"
                ),
            )

    def _forget(self, route: FhirRoute) -> None:
        if route in self.routes:
            self.routes.remove(route)
        self._slots = {slot: other for slot, other in self._slots.items() if other is not route}

    async def _handle(self, request: web.BaseRequest, parts: dict[str, str]) -> web.StreamResponse:
        target = request.raw_path
        if not target.startswith("/"):
            target = request.rel_url.raw_path  # absolute form, RFC 9112, 3.2.2
        below = target.partition("?")[0][len(self._path) :].strip("/")
        call = call_of(request.method, [unquote(part) for part in below.split("/")] if below else [])
        if not isinstance(call, Call):
            return self._nobody(request, call)
        if call.interaction == "capabilities":
            route: FhirRoute | None = self.routes[0] if self.routes else None
        else:
            slots = self._slots
            own = (
                slots.get(("subscribe", "")) if call.type == "Subscription" and call.interaction in SUBSCRIBE else None
            )
            route = own or slots.get((call.interaction, call.type)) or slots.get((call.interaction, "*"))
        if route is None:
            return self._nobody(request, self._methods(call))
        given = {"interaction": call.interaction, "type": call.type, "id": call.id, "version": call.version}
        return await route.handler(request, given)

    def _methods(self, call: Call) -> tuple[str, ...]:
        """What may be done instead at this path."""
        below = {"history": "_history", "status": "$status"}.get(call.interaction, "_history" if call.version else "")
        parts = [part for part in (call.type, call.id, below, call.version) if part]
        found = ((method, call_of(method, parts)) for method in _METHODS)
        slots = self._slots
        return tuple(
            method
            for method, other in found
            if isinstance(other, Call)
            and (
                (other.interaction, other.type) in slots
                or (other.interaction, "*") in slots
                or (other.type == "Subscription" and other.interaction in SUBSCRIBE and ("subscribe", "") in slots)
            )
        )

    def _nobody(self, request: web.BaseRequest, methods: tuple[str, ...]) -> web.Response:
        """404, or 405 with the methods that are possible."""
        forms = self.routes[0].forms if self.routes else Forms("R4", "json")
        headers = dict(SERVER)
        try:
            form = forms.of(request.rel_url.query.items(), request.headers.get("Accept", ""), "")
        except Refusal:
            form = forms.fallback
        pick = 1 if wants(request.headers.get("Accept-Language", "")) == "zh" else 0
        if methods:
            headers["Allow"] = ", ".join(sorted(methods))
            text = ("this is not offered here; see metadata", "此处不提供该操作，参见 metadata")
            status, code = 405, "fhir.interaction"
        else:
            text = ("there is nothing at this path; see metadata", "该路径下没有内容，参见 metadata")
            status, code = 404, "fhir.path"
        body = form.write(refused(status, text[pick], code))
        return web.Response(status=status, body=body, headers={"Content-Type": form.content_type, **headers})

    def status(self) -> dict[str, Any]:
        return {"base": self._path, "interfaces": [route.place for route in self.routes]}


class Facades:
    """The bases of one adapter, by host, port and path."""

    def __init__(self, servers: ServerPool) -> None:
        self._servers = servers
        self._facades: dict[tuple[str, int, str], Facade] = {}

    def server(self, options: ServerOptions) -> Facade:
        key = options.host, options.port, options.path
        found = self._facades.get(key)
        if found is None:
            found = self._facades[key] = Facade(self._servers.server(options), options.path)
        return found
