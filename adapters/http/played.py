"""Servers of ``out`` interfaces, played: every call is checked as the other party would, answered as its contract says."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from aiohttp import web

from adapters.http.auth import Gate
from adapters.http.client_options import OutboundAuth
from adapters.http.options import HttpConnect
from adapters.http.played_login import PlayedLogin, played_login
from adapters.http.poll_options import HttpPoll
from adapters.http.problem import Refusal
from adapters.http.protected import wire_of
from adapters.http.request import Endpoint, join_path
from adapters.http.server_options import InboundAuth
from adapters.http.spoilt import spoilt
from adapters.template import Template
from hub.api import HubError, Protection, Refused, Wire
from hub.i18n import t
from hub.security import Opening
from hub.simulator.counterpart import Listening
from hub.simulator.party import Facts, Opened, Party, Said
from hub.simulator.side import Side, Unfit
from hub.simulator.sides import OTHER_INTERFACE

__all__ = ["PlayedInterface", "Playing"]

_LARGEST = 64 << 20
_EMPTY = frozenset((204, 304))
_FORM = "application/x-www-form-urlencoded"
_PLACE = re.compile(r"\{(\w+)\}")


class PlayedInterface:
    """One interface at one address."""

    def __init__(self, side: Side, options: HttpConnect | HttpPoll) -> None:
        self.side = side
        self.options = options
        endpoint = self.endpoint = Endpoint(options.url)
        path = join_path(endpoint.path, options.path)
        self.pattern = re.compile("([^/]+)".join(re.escape(part) for part in _PLACE.split(path)[::2]))
        self.names = _PLACE.findall(path)
        self.query = {**dict(parse_qsl(endpoint.query)), **options.query}
        self.login = played_login(side)
        self.gate = Gate(InboundAuth.model_validate(_inbound(options.auth))) if _plain(options.auth) else None
        #: Media types it takes; schemes that make forms of what is sent change it.
        forms = {"as_form", "alipay", "sinoiov", "unionpay"} & set(side.protection.names if side.protection else ())
        kind = _FORM if forms else self.content_type()
        self.media = kind.partition(";")[0].strip().lower()

    def content_type(self) -> str:
        """Of what the hub writes."""
        return getattr(self.options, "content_type", "") or self.side.bound.codec.content_type

    def facts(self, request: web.BaseRequest, raw_path: str, body: bytes) -> Facts | None:
        """None: the call is not for this address."""
        found = self.pattern.fullmatch(raw_path) or self.pattern.fullmatch(unquote(raw_path))
        if found is None or request.method != self.options.method:
            return None
        media = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        form = dict(parse_qsl(body.decode("utf-8", "replace"))) if media == _FORM else {}
        return Facts(
            dict(request.query),
            dict(zip(self.names, map(unquote, found.groups()), strict=True)),
            {name.lower(): value for name, value in request.headers.items()},
            form,
        )

    def unwrapped(self, wire: Wire) -> bytes:
        """The message in an opened call. Raises :class:`Unfit` where there is none."""
        return wire.body

    def wrapped(self, said: Said) -> tuple[int, bytes, str]:
        """Status, body and content type of an answer, before it is signed and encrypted."""
        codec = self.side.bound.reply_codec or self.side.bound.codec
        body = b"" if said.status in _EMPTY else said.body
        return said.status, body, codec.content_type if body else ""

    def check(self, request: web.BaseRequest, facts: Facts) -> None:
        """What the transport knows. Raises :class:`Unfit`."""
        if self.gate is not None:
            try:
                self.gate.check(request.headers)
            except Refusal as refusal:
                raise Unfit(refusal.code, refusal.as_error().text, 1) from None
        if self.login is not None:
            self.login.check(request.headers, facts.query)
        for name, value in self.query.items():
            wanted = Template(value)
            if not wanted.names and facts.query.get(name) != value:
                raise Unfit(
                    "http.query", t(f"query parameter {name} is not as agreed", f"查询参数 {name} 不符合约定"), 1
                )
        self.check_media(request, facts)

    def check_media(self, request: web.BaseRequest, facts: Facts) -> None:
        """Raises :class:`Unfit` for a body of another type than the hub writes."""
        media = facts.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not self.side.bodiless and media != self.media:
            raise Unfit("http.content_type", t(f"the body is {media or '-'}", f"正文类型为 {media or '-'}"), 1)


@dataclass(slots=True)
class _Address:
    """What listens on one host and port."""

    host: str
    port: int
    interfaces: list[PlayedInterface] = field(default_factory=list)
    logins: list[PlayedLogin] = field(default_factory=list)
    runner: web.ServerRunner | None = None


class Playing(Listening):
    """All ``out`` interfaces of one plugin over HTTP."""

    def __init__(self, interfaces: Sequence[PlayedInterface], party: Party) -> None:
        self._party = party
        self._addresses: dict[tuple[str, int], _Address] = {}
        self._ended = asyncio.Event()
        for interface in interfaces:
            endpoint = interface.endpoint
            self._address(endpoint.host, endpoint.port).interfaces.append(interface)
            if interface.login is not None:
                parts = urlsplit(interface.login.url)
                address = self._address(parts.hostname or "", parts.port or 80)
                if not any(login.same_as(interface.login) for login in address.logins):
                    address.logins.append(interface.login)

    def _address(self, host: str, port: int) -> _Address:
        return self._addresses.setdefault((host, port), _Address(host, port))

    async def start(self) -> None:
        for address in self._addresses.values():
            server = web.Server(partial(self._answer, address), access_log=None, auto_decompress=False)
            runner = web.ServerRunner(server, shutdown_timeout=0.1)
            await runner.setup()
            address.runner = runner
            try:
                await web.TCPSite(runner, address.host, address.port).start()
            except OSError as error:
                await self.stop()
                raise HubError(
                    t(
                        f"can't listen on {address.host}:{address.port}: {error.strerror}",
                        f"无法监听 {address.host}:{address.port}：{error.strerror}",
                    ),
                    code="simulate.listen",
                    remedy=t("choose a free port of this machine", "请选择本机空闲端口"),
                ) from error

    async def stop(self) -> None:
        self._ended.set()
        for address in self._addresses.values():
            runner, address.runner = address.runner, None
            if runner is not None:
                await runner.cleanup()

    async def offer(self, side: Side, body: bytes) -> None:
        if side.source is not None:
            side.source.check_entry(body)
        side.shelf.put(body)

    # -- one call ------------------------------------------------------------------------------------------------

    async def _answer(self, address: _Address, request: web.BaseRequest) -> web.StreamResponse:
        try:
            body = await _body(request)
        except ValueError:
            return web.Response(status=413)
        raw_path = request.raw_path.partition("?")[0]
        for login in address.logins:
            if login.is_for(request.method, raw_path):
                return login.answer(request, body)
        best: tuple[Opened, PlayedInterface, Opening | None] | None = None
        for interface in address.interfaces:
            facts = interface.facts(request, raw_path, body)
            if facts is None:
                continue
            opened, opening = await asyncio.to_thread(self._read, interface, request, body, facts)
            if best is None or _stage(opened) > _stage(best[0]):
                if best is not None and best[2] is not None:
                    best[2].forget()
                best = opened, interface, opening
            elif opening is not None:
                opening.forget()
            if opened.unfit is None:
                break
        if best is None:
            return web.Response(status=404, text=t("nothing is at this address", "此地址没有接口"))
        opened, interface, opening = best
        said = self._party.hear(opened)
        if opening is not None and (said.refused or (said.behaviour is not None and not said.behaviour.takes_effect)):
            opening.forget()
        return await self._write(interface, request, said)

    def _read(
        self, interface: PlayedInterface, request: web.BaseRequest, body: bytes, facts: Facts
    ) -> tuple[Opened, Opening | None]:
        side = interface.side
        opening: Opening | None = None
        wire = wire_of(request, body)
        try:
            interface.check(request, facts)
            if side.protection is not None:
                try:
                    opening = side.protection.open_now(wire)
                except Refused as error:
                    raise Unfit(error.code, error.text, 0 if error.code == OTHER_INTERFACE else 2) from None
        except Unfit as error:
            return Opened(side, body, facts, unfit=error), None
        try:
            return self._party.read(side, interface.unwrapped(wire), facts), opening
        except Unfit as error:
            return Opened(side, wire.body, facts, unfit=error), opening

    async def _write(self, interface: PlayedInterface, request: web.BaseRequest, said: Said) -> web.StreamResponse:
        side = interface.side
        kind = said.behaviour.kind if said.behaviour is not None else ""
        status, body, media = interface.wrapped(said)
        headers = {**({"content-type": media} if media else {}), **said.headers}
        asked = {name.lower(): value for name, value in request.headers.items()}
        host = request.headers.get("Host", "")
        wire = Wire(body, headers, request.method, request.raw_path, host, status, asked=asked)
        protection: Protection | None = side.protection
        if kind == "wrong_signature":
            protection = side.forged()
        if protection is not None and said.status and kind != "status":
            try:
                await protection.seal_reply(wire)
            except HubError:  # nothing to protect, e.g. an empty body
                wire.body = body
        return await spoilt(request, wire, said.behaviour, self._ended)


def _stage(opened: Opened) -> int:
    return 99 if opened.unfit is None else opened.unfit.stage


def _plain(auth: Any) -> bool:
    return isinstance(auth, OutboundAuth)


def _inbound(auth: Any) -> dict[str, Any]:
    return {"type": auth.type, "user": auth.user, "secret": auth.secret.get_secret_value(), "header": auth.header}


async def _body(request: web.BaseRequest) -> bytes:
    """The body, decompressed; ``ValueError`` for one that is too large or damaged."""
    body = bytearray()
    async for chunk in request.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > _LARGEST:
            raise ValueError
    if request.headers.get("Content-Encoding", "").lower() != "gzip":
        return bytes(body)
    inflate = zlib.decompressobj(31)
    try:
        plain = inflate.decompress(bytes(body), _LARGEST + 1)
    except zlib.error:
        raise ValueError from None
    if len(plain) > _LARGEST:
        raise ValueError
    return plain
