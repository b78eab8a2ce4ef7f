"""The other end of FHIR for simulators: plays the servers of ``out`` interfaces, and is a client of the hub's facade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

import orjson
from aiohttp import web

from adapters.fhir.exchange import resource_tree
from adapters.fhir.options import FhirConnect, FhirListen
from adapters.fhir.sender import FhirSender
from adapters.http.counterpart import shown_to
from adapters.http.options import HttpConnect
from adapters.http.played import PlayedInterface, Playing
from adapters.http.sender import HttpSender
from hub.api import CodecError, Outgoing, Wire
from hub.i18n import t
from hub.mapping import Context
from hub.simulator.behaviour import Behaviour
from hub.simulator.calls import SimulatedReply
from hub.simulator.counterpart import Counterpart, Listening
from hub.simulator.party import Facts, Party
from hub.simulator.replies import Replies
from hub.simulator.side import Side, Unfit

__all__ = ["FhirCounterpart"]

_TIMEOUT = 60.0
_MEDIA = "application/fhir+json"
_WITHOUT_BODY = frozenset(("GET", "DELETE"))
_CAPABILITY = {
    "resourceType": "CapabilityStatement",
    "status": "active",
    "kind": "instance",
    "fhirVersion": "4.0.1",
    "format": ["json"],
    "rest": [{"mode": "server"}],
}


class FhirCounterpart(Counterpart):
    """See the module."""

    def replies(self, bound: Any, writer: Any, expired: str) -> Replies:
        return _Answers(bound, writer, expired)

    def listening(self, sides: Sequence[Side], party: Party) -> Listening:
        return _Servers([_Server(side, cast(FhirConnect, side.bound.options)) for side in sides], party)

    async def send(
        self, side: Side, to: str, options: Mapping[str, Any], body: bytes, behaviour: Behaviour | None
    ) -> SimulatedReply:
        listen = cast(FhirListen, side.bound.options)
        parts = urlsplit(to or f"http://{listen.host}:{listen.port}")
        kind = behaviour.kind if behaviour is not None else ""
        path = listen.path if parts.path in ("", "/") else parts.path
        call: dict[str, Any] = {"url": f"{parts.scheme}://{parts.netloc}{path}", "connections": 1}
        if listen.tls is not None:
            call["tls"] = {
                "verify": False
            }  # what is asked is the hub under test, which may have made its own certificate
        if (auth := shown_to(listen.auth, options, kind)) is not None:
            call["auth"] = auth
        if kind == "garbage":
            body = bytes(range(256))
        elif kind == "truncated":
            body = body[: len(body) // 2]
        bound = replace(side.bound, options=FhirConnect.model_validate(call), protection=None, checks=None)
        sender: HttpSender | FhirSender = FhirSender(bound)
        try:
            resource_tree(body, side.bound.codec)
        except (CodecError, orjson.JSONDecodeError):  # no resource says where it belongs
            raw = HttpConnect.model_validate({**call, "content_type": _MEDIA})
            sender = HttpSender(replace(bound, options=raw))
        await sender.start()
        side.sent += 1
        try:
            reply = await sender.send(Outgoing(body, side.sent, f"sim-{side.sent}", "", "", 1, _TIMEOUT))
        finally:
            await sender.stop()
        return SimulatedReply(reply.ok, reply.body, reply.status, reply.code, reply.error, sent=body)


class _Answers(Replies):
    """What a FHIR server says: a resource as it is kept, a Bundle of responses, an OperationOutcome."""

    def _derived_good(self) -> bytes:
        return b""

    def _check(self, code: str) -> None:
        """Codes are those of the issue, which the adapter reads."""

    def good(self, tree: Any, context: Context) -> bytes:
        if self._answer is not None:
            return self._answer(tree, context)
        kind = tree.get("resourceType", "") if isinstance(tree, dict) else ""
        if kind.endswith((".search", ".history")):
            return _json({"resourceType": "Bundle", "type": "searchset", "total": 0})
        if "." in kind:
            return _json({"resourceType": tree.get("type"), "id": tree.get("id", "1")})
        if kind == "Bundle" and tree.get("type") == "message":
            header = {"resourceType": "MessageHeader", "response": {"identifier": "1", "code": "ok"}}
            return _json({"resourceType": "Bundle", "type": "message", "entry": [{"resource": header}]})
        if kind == "Bundle" and tree.get("type") in ("transaction", "batch"):
            entries = [{"response": {"status": "201 Created"}} for _ in tree.get("entry", ())]
            return _json({"resourceType": "Bundle", "type": f"{tree['type']}-response", "entry": entries})
        return _json({"resourceType": kind, "id": tree.get("id", "1")})

    def _solved(self, code: str, message: str) -> bytes:
        issue = {"severity": "error", "code": code, "diagnostics": message}
        return _json({"resourceType": "OperationOutcome", "issue": [issue]})


class _Server(PlayedInterface):
    """One interface on the base of its server."""

    def __init__(self, side: Side, options: FhirConnect) -> None:
        plain = HttpConnect.model_construct(url=options.url, method="POST", headers=options.headers, auth=options.auth)
        super().__init__(side, plain)
        self.base = self.endpoint.path.rstrip("/")

    def content_type(self) -> str:
        return self.side.bound.codec.content_type

    def facts(self, request: web.BaseRequest, raw_path: str, body: bytes) -> Facts | None:
        below = raw_path.removeprefix(self.base)
        if not raw_path.startswith(self.base) or (below and not below.startswith("/")):
            return None
        names = below.strip("/").split("/")
        return Facts(
            dict(request.query),
            dict(zip(("type", "id"), names, strict=False)),
            {name.lower(): value for name, value in request.headers.items()},
        )

    def check_media(self, request: web.BaseRequest, facts: Facts) -> None:
        if request.method not in _WITHOUT_BODY and request.method != "PATCH":
            super().check_media(request, facts)

    def unwrapped(self, wire: Wire) -> bytes:
        """Of a call without a body the question, as the hub writes it."""
        path, _, query = wire.target.partition("?")
        kind, _, number = path.removeprefix(self.base).strip("/").partition("/")
        if wire.method not in _WITHOUT_BODY:
            return wire.body
        if not kind:
            raise Unfit("fhir.type", t("no resource type is named", "未指明资源类型"), 3)
        what = "delete" if wire.method == "DELETE" else "read" if number else "search"
        tree: dict[str, Any] = {"resourceType": f"{kind}.{what}", "type": kind}
        tree |= {"id": number} if number else {"parameters": dict(parse_qsl(query, keep_blank_values=True))}
        return _json(tree)


class _Servers(Playing):
    async def _answer(self, address: Any, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "GET" and request.path.endswith("/metadata"):
            return web.Response(body=_json(_CAPABILITY), content_type=_MEDIA)
        return await super()._answer(address, request)


def _json(tree: Any) -> bytes:
    return orjson.dumps(tree)
