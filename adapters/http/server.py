"""One listening socket, shared by every interface with the same host and port."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from adapters.http.problem import problem_response
from adapters.http.server_options import ServerOptions
from adapters.tls import ServerTls, server_context
from hub.api import HubError
from hub.i18n import t

__all__ = ["HttpServer", "Route", "ServerPool"]

log = logging.getLogger(__name__)

#: Seconds to swallow the rest of a body after a refusal, so that the caller gets to read the answer.
_LINGER = 2.0
_TLS_HANDSHAKE = 10.0
_MOST_HEADERS = 64
_NAME = re.compile(r"\{(\w+)\}")

#: Answers a call; gets the values of the {name} parts of its path.
Handler = Callable[[web.BaseRequest, dict[str, str]], Awaitable[web.StreamResponse]]


@dataclass(slots=True, eq=False)
class Route:
    """Which calls go to an interface."""

    place: str
    path: str
    methods: tuple[str, ...]
    handler: Handler
    names: list[str] = field(init=False)  # of the {name} parts of the path

    def __post_init__(self) -> None:
        self.names = _NAME.findall(self.path)


@dataclass(frozen=True, slots=True)
class _Settings:
    """What interfaces that share a server must agree on."""

    tls: ServerTls | None
    keepalive_timeout: float
    header_size: int
    max_connections: int
    backlog: int


class _Path:
    """Interfaces under one path, by method."""

    __slots__ = ("methods", "pattern")

    def __init__(self, path: str) -> None:
        self.methods: dict[str, Route] = {}
        literal = (re.escape(part) for part in _NAME.split(path)[::2])
        self.pattern = re.compile("([^/]+)".join(literal))


class _Connection(web.RequestHandler):
    """aiohttp's connection, with our words for what it refuses by itself."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status == 500:
            log.error("an HTTP call failed inside the hub", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        if isinstance(exc, LineTooLong):
            answer = problem_response(
                "", "/", 431, "http.head_too_large", ("a line of the request head is too long", "请求头中有一行过长")
            )
        elif status < 500:
            answer = problem_response(
                "", "/", 400, "http.malformed", ("this is not an HTTP/1.1 request", "不是合法的 HTTP/1.1 请求")
            )
        else:
            answer = problem_response(
                "", "/", 500, "http.internal", ("the call failed inside the hub", "枢纽处理该调用时出错")
            )
        answer.force_close()
        return answer


class _Refused(asyncio.Protocol):
    """A connection beyond ``max_connections``."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.abort()
        else:
            transport.close()


class _Listener(web.Server):
    def __init__(
        self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], settings: _Settings
    ) -> None:
        # A caller that goes away does not cancel the handler: what is stored stays accepted.
        super().__init__(handler, handler_cancellation=False)
        self.open = 0
        self.refused = 0  # connections closed because there were too many
        self._limit = settings.max_connections
        self._handler_settings: dict[str, Any] = {
            "access_log": None,
            "logger": log,
            "keepalive_timeout": settings.keepalive_timeout,
            "lingering_time": _LINGER,
            "max_line_size": settings.header_size,
            "max_field_size": settings.header_size,
            "max_headers": _MOST_HEADERS,
            "auto_decompress": False,  # bodies are decoded by the receiver, which has the limit
        }

    def __call__(self) -> Any:
        if self.open >= self._limit:
            self.refused += 1
            return _Refused()
        return _Connection(self, loop=asyncio.get_running_loop(), **self._handler_settings)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        self.open += 1
        super().connection_made(handler, transport)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        self.open -= 1
        super().connection_lost(handler, exc)


class HttpServer:
    """The server of one host and port; opens with the first interface and closes with the last."""

    def __init__(self, options: ServerOptions) -> None:
        self._host = options.host
        self._port = options.port
        self._settings = _settings(options)
        self._static: dict[str, _Path] = {}
        self._templates: list[_Path] = []
        self._by_path: dict[str, _Path] = {}
        self._routes: dict[str, Route] = {}
        self._server: asyncio.Server | None = None
        self._listener: _Listener | None = None
        self._lock = asyncio.Lock()
        self.port = options.port  #: as bound, once it is open

    @property
    def connections(self) -> int:
        return self._listener.open if self._listener is not None else 0

    @property
    def refused(self) -> int:
        return self._listener.refused if self._listener is not None else 0

    async def add(self, route: Route, options: ServerOptions) -> None:
        """Serve an interface; opens the socket for the first. Raises :class:`HubError` with a remedy."""
        async with self._lock:
            if self._routes and self._settings != _settings(options):
                raise HubError(
                    t(
                        f"{route.place}: other settings than {next(iter(self._routes))}, which listens on the same "
                        f"{self._host}:{self._port}",
                        f"{route.place}：与监听同一地址 {self._host}:{self._port} 的 {next(iter(self._routes))} 设置不同",
                    ),
                    code="http.shared_port",
                    remedy=t(
                        "give both the same tls, keepalive_timeout, header_size, max_connections and backlog, "
                        "or another port",
                        "请使两者的 tls、keepalive_timeout、header_size、max_connections、backlog 一致，或改用其他端口",
                    ),
                )
            self._settings = _settings(options)
            self._register(route)
            if self._server is None or not self._server.is_serving():
                try:
                    await self._open()
                except BaseException:
                    self._unregister(route)
                    raise

    async def remove(self, route: Route, within: float) -> None:
        """Serve the interface no more; with the last one, close the server within about ``within`` seconds."""
        async with self._lock:
            self._unregister(route)
            if not self._routes:
                await self._close(within)

    def stop_listening(self, route: Route) -> None:
        """Accept no new connections if this is the only interface."""
        if self._server is not None and all(other is route for other in self._routes.values()):
            self._server.close()

    # -- routes --------------------------------------------------------------------------------------------------

    def _register(self, route: Route) -> None:
        key = _NAME.sub("{}", route.path)
        path = self._by_path.get(key)
        taken = [path.methods[m] for m in route.methods if m in path.methods] if path is not None else []
        if taken:
            raise HubError(
                t(
                    f"{route.place}: {route.path} on port {self.port} belongs to {taken[0].place} already",
                    f"{route.place}：端口 {self.port} 上的 {route.path} 已被 {taken[0].place} 使用",
                ),
                code="http.path_taken",
                remedy=t("give it another path, method or port", "请更换路径、方法或端口"),
            )
        if path is None:
            self._by_path[key] = path = _Path(route.path)
            if route.names:
                self._templates.append(path)
            else:
                self._static[route.path] = path
        for method in route.methods:
            path.methods[method] = route
        self._routes[route.place] = route

    def _unregister(self, route: Route) -> None:
        key = _NAME.sub("{}", route.path)
        path = self._by_path.get(key)
        if path is None or self._routes.pop(route.place, None) is None:
            return
        path.methods = {method: other for method, other in path.methods.items() if other is not route}
        if not path.methods:
            del self._by_path[key]
            self._static.pop(route.path, None)
            if path in self._templates:
                self._templates.remove(path)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        target = request.raw_path
        if not target.startswith("/"):
            target = request.rel_url.raw_path  # absolute form, RFC 9112, 3.2.2
        raw_path = target.partition("?")[0]
        path = self._static.get(raw_path)
        values: tuple[str, ...] = ()
        if path is None:
            path, values = self._search(raw_path)
        route = path.methods.get(request.method) if path is not None else None
        if route is None:
            return _nobody(request, raw_path, path)
        parts = dict(zip(route.names, map(unquote, values), strict=True)) if values else {}
        return await route.handler(request, parts)

    def _search(self, raw_path: str) -> tuple[_Path | None, tuple[str, ...]]:
        for path in self._templates:
            found = path.pattern.fullmatch(raw_path)
            if found is not None:
                return path, found.groups()
        if "%" in raw_path:
            return self._static.get(unquote(raw_path)), ()
        return None, ()

    # -- socket --------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        settings = self._settings
        context = server_context(settings.tls) if settings.tls is not None else None
        listener = self._listener or _Listener(self._handle, settings)
        try:
            self._server = await asyncio.get_running_loop().create_server(
                listener,
                self._host,
                self._port,
                ssl=context,
                ssl_handshake_timeout=_TLS_HANDSHAKE if context is not None else None,
                backlog=settings.backlog,
            )
        except (OSError, OverflowError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise HubError(
                t(
                    f"can't listen on {self._host}:{self._port}: {reason}",
                    f"无法监听 {self._host}:{self._port}：{reason}",
                ),
                code="http.listen",
                remedy=t(
                    "choose a free port and an address of this machine; ports below 1024 need a privilege",
                    "请选择空闲端口和本机地址；1024 以下的端口需要特权",
                ),
            ) from error
        self._listener = listener
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self, within: float) -> None:
        server, listener = self._server, self._listener
        self._server = self._listener = None
        self.port = self._port
        if server is not None:
            server.close()
        if listener is not None:
            await asyncio.sleep(0)  # let calls that have just arrived begin
            listener.pre_shutdown()
            await listener.shutdown(within)


def _nobody(request: web.BaseRequest, raw_path: str, path: _Path | None) -> web.Response:
    language = request.headers.get("Accept-Language", "")
    if path is None:
        return problem_response(
            language,
            raw_path,
            404,
            "http.no_such_path",
            ("no interface listens on this path", "没有接口监听该路径"),
            remedy=("check the path, also upper and lower case", "请检查路径及其大小写"),
        )
    allowed = ", ".join(sorted(path.methods))
    return problem_response(
        language,
        raw_path,
        405,
        "http.method",
        (f"this interface takes {allowed}", f"该接口只接受 {allowed}"),
        headers={"Allow": allowed},
    )


class ServerPool:
    """The servers of one adapter, by host and port. A server without interfaces holds no socket."""

    def __init__(self) -> None:
        self._servers: dict[tuple[str, int], HttpServer] = {}

    def server(self, options: ServerOptions) -> HttpServer:
        key = options.host, options.port
        server = self._servers.get(key)
        if server is None:
            server = self._servers[key] = HttpServer(options)
        return server


def _settings(options: ServerOptions) -> _Settings:
    return _Settings(
        options.tls, options.keepalive_timeout, options.header_size, options.max_connections, options.backlog
    )
