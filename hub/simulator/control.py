"""Telling a running simulator what to do, over HTTP on loopback: see its calls, let it misbehave, let it send.

::

    GET  /status                                   interfaces, what is not played, what is still to be done wrong, records
    GET  /calls?interface=NAME&limit=100           newest last; bodies masked
    POST /misbehave  {"interface": "*", "behaviour": "status:503", "times": 3, "share": 1}
    POST /behave     {"interface": "*"}
    POST /offer      {"interface": "reports", "body": {...}}    one more entry for the hub to read; default: an example
    POST /send       {"interface": "notify", "to": "http://127.0.0.1:8080", "body": {...}, "misbehave": "wrong_signature"}

A caller shows the token that ``hub simulate`` prints: ``Authorization: Bearer …``.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Any

import orjson
from aiohttp import web

from hub.errors import HubError
from hub.i18n import t
from hub.masking import mask_text
from hub.simulator.behaviour import parse_behaviour
from hub.simulator.calls import SimulatedCall
from hub.simulator.simulator import Simulator

__all__ = ["Control", "shown_call"]

_LARGEST = 4 << 20
_SHOWN = 4000


class Control:
    """The control address of one simulator."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._runner: web.AppRunner | None = None
        self.token = secrets.token_urlsafe(24)
        self.port = 0

    async def start(self, port: int = 0) -> None:
        """Raises :class:`HubError` when the port can't be had."""
        app = web.Application(client_max_size=_LARGEST, middlewares=[self._guarded])
        app.router.add_get("/status", self._status)
        app.router.add_get("/calls", self._calls)
        app.router.add_post("/misbehave", self._misbehave)
        app.router.add_post("/behave", self._behave)
        app.router.add_post("/offer", self._offer)
        app.router.add_post("/send", self._send)
        runner = self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
        except OSError as error:
            raise HubError(
                t(
                    f"can't listen on 127.0.0.1:{port}: {error.strerror}",
                    f"无法监听 127.0.0.1:{port}：{error.strerror}",
                ),
                code="simulate.listen",
            ) from error
        self.port = int(runner.addresses[0][1])

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Any) -> web.StreamResponse:
        shown = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(shown.encode("utf-8", "replace"), self.token.encode()):
            return _said({"error": t("the token is missing or wrong", "令牌缺失或错误")}, 401)
        try:
            answer: web.StreamResponse = await handler(request)
        except HubError as error:
            return _said({"error": mask_text(error.text), "code": error.code, "remedy": error.remedy}, 422)
        except (KeyError, TypeError, ValueError) as error:
            return _said({"error": t(f"not understood: {error}", f"无法识别：{error}")}, 400)
        return answer

    async def _status(self, request: web.Request) -> web.Response:
        simulator = self._simulator
        return _said(
            {
                "interfaces": simulator.interfaces,
                "sources": simulator.sources,
                "not_simulated": simulator.not_simulated,
                "misbehaving": simulator.moods(),
                "records": simulator.records,
                "calls": len(simulator.calls),
            }
        )

    async def _calls(self, request: web.Request) -> web.Response:
        wanted = request.query.get("interface", "")
        limit = min(int(request.query.get("limit", "100")), 5000)
        found = [call for call in self._simulator.calls if wanted in ("", "*", call.interface)]
        return _said({"calls": [shown_call(call) for call in found[-limit:]]})

    async def _misbehave(self, request: web.Request) -> web.Response:
        asked = await _asked(request)
        self._simulator.misbehave(
            str(asked.get("interface", "*")),
            parse_behaviour(str(asked["behaviour"])),
            times=None if asked.get("times") is None else int(asked["times"]),
            share=float(asked.get("share", 1.0)),
        )
        return _said({"misbehaving": self._simulator.moods()})

    async def _behave(self, request: web.Request) -> web.Response:
        self._simulator.behave(str((await _asked(request)).get("interface", "*")))
        return _said({"misbehaving": self._simulator.moods()})

    async def _offer(self, request: web.Request) -> web.Response:
        asked = await _asked(request)
        laid = await self._simulator.offer(str(asked["interface"]), _given(asked))
        return _said({"offered": mask_text(laid.decode("utf-8", "replace")[:_SHOWN])})

    async def _send(self, request: web.Request) -> web.Response:
        asked = await _asked(request)
        reply = await self._simulator.send(
            str(asked["interface"]),
            str(asked.get("to", "")),
            _given(asked),
            misbehave=parse_behaviour(str(asked["misbehave"])) if asked.get("misbehave") else None,
        )
        return _said(
            {
                "ok": reply.ok,
                "status": reply.status,
                "code": reply.code,
                "error": reply.error,
                "problems": [problem.as_dict() for problem in reply.problems],
            }
        )


def shown_call(call: SimulatedCall) -> dict[str, Any]:
    """As it is listed: the body masked and cut."""
    return {
        "interface": call.interface,
        "number": call.number,
        "verdict": call.verdict,
        "code": call.code,
        "problem": call.problem,
        "at": call.at,
        "body": mask_text(call.body.decode("utf-8", "replace")[:_SHOWN]),
    }


def _given(asked: dict[str, Any]) -> bytes | None:
    """The body of a message to send or to lay out."""
    body = asked.get("body")
    return None if body is None else body.encode() if isinstance(body, str) else orjson.dumps(body)


async def _asked(request: web.Request) -> dict[str, Any]:
    asked = orjson.loads(await request.read() or b"{}")
    if not isinstance(asked, dict):
        raise ValueError("a JSON object is expected")
    return asked


def _said(answer: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(answer), content_type="application/json")
