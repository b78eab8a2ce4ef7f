"""Writing an answer as the other party would on a bad day: late, half, garbled, not at all."""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
from contextlib import suppress

from aiohttp import web
from multidict import CIMultiDict

from hub.api import Wire
from hub.simulator.behaviour import Behaviour

__all__ = ["spoilt"]

_GARBAGE = 700


async def spoilt(
    request: web.BaseRequest, wire: Wire, behaviour: Behaviour | None, ended: asyncio.Event
) -> web.StreamResponse:
    """The answer in ``wire``, spoilt as told; ``ended``: the simulator stops."""
    match behaviour.kind if behaviour is not None else "":
        case "delay":
            assert behaviour is not None  # noqa: S101 - matched
            with suppress(TimeoutError):
                async with asyncio.timeout(behaviour.seconds):
                    await ended.wait()
        case "silent":
            await ended.wait()
            return _cut(request)
        case "refuse":
            return _cut(request)
        case "reset" | "truncated" as kind:
            return await _half(request, wire, reset=kind == "reset")
        case "garbage":
            return web.Response(status=200, body=secrets.token_bytes(_GARBAGE), content_type="application/octet-stream")
        case "status":
            assert behaviour is not None  # noqa: S101
            headers = {"Retry-After": f"{behaviour.seconds:.0f}"} if behaviour.seconds else {}
            return web.Response(status=int(behaviour.code), text="simulated", headers=headers)
    return web.Response(status=wire.status or 200, body=wire.body, headers=CIMultiDict(_headers(wire)))


def _headers(wire: Wire) -> dict[str, str]:
    return {name: value for name, value in wire.headers.items() if name != "content-length"}


async def _half(request: web.BaseRequest, wire: Wire, *, reset: bool) -> web.StreamResponse:
    body = wire.body or b"{}"
    answer = web.StreamResponse(status=wire.status or 200, headers=CIMultiDict(_headers(wire)))
    answer.content_length = len(body)
    await answer.prepare(request)
    await answer.write(body[: max(len(body) // 2, 1)])
    if reset:
        return _cut(request, answer)
    if request.transport is not None:
        request.transport.close()
    return answer


def _cut(request: web.BaseRequest, answer: web.StreamResponse | None = None) -> web.StreamResponse:
    """Reset the connection (RST)."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return answer if answer is not None else web.Response(status=500)
