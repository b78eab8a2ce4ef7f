"""The other end of HTTP for simulators: plays the servers of ``out`` interfaces, and calls ``in`` interfaces of a hub."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast
from urllib.parse import urlsplit

import orjson

from adapters.http.options import HttpConnect, HttpListen
from adapters.http.played import PlayedInterface, Playing
from adapters.http.played_source import PlayedSource
from adapters.http.poll_options import HttpPoll
from adapters.http.replies import ReplyBody
from adapters.http.sender import HttpSender
from adapters.http.server_options import InboundAuth
from hub.api import Bound, HubError, Outgoing, Problem
from hub.i18n import t
from hub.simulator.behaviour import Behaviour
from hub.simulator.calls import SimulatedReply
from hub.simulator.counterpart import Counterpart, Listening
from hub.simulator.party import Party
from hub.simulator.side import Side

__all__ = ["HttpCounterpart", "shown_to"]

_TIMEOUT = 60.0
_PLACE = re.compile(r"\{\w+\}")
_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class HttpCounterpart(Counterpart):
    """Of ``http``, and of ``http_poll``, whose sources may be at the same addresses."""

    called = True

    def listening(self, sides: Sequence[Side], party: Party) -> Listening:
        return Playing([_played(side) for side in sides], party)

    async def send(
        self, side: Side, to: str, options: Mapping[str, Any], body: bytes, behaviour: Behaviour | None
    ) -> SimulatedReply:
        listen = cast(HttpListen, side.bound.options)
        bound = _calling(side, listen, to, options, behaviour)
        side.sent += 1
        if behaviour is not None and behaviour.kind == "garbage":
            body = bytes(range(256))
        elif behaviour is not None and behaviour.kind == "truncated":
            body = body[: len(body) // 2]
        variables = {name: str(options.get(name, "1")) for name in _names(listen.path)}
        if listen.query_as_body and listen.methods[0] == "GET":
            asked = _query(body)
            variables |= asked
            bound.options = bound.options.model_copy(update={"query": {name: f"{{{name}}}" for name in asked}})
        sender = HttpSender(bound)
        await sender.start()
        try:
            reply = await sender.send(Outgoing(body, side.sent, f"sim-{side.sent}", "", "", 1, _TIMEOUT, variables))
        finally:
            await sender.stop()
        found = SimulatedReply(reply.ok, reply.body, reply.status, reply.code, reply.error, sent=body)
        _read(side, listen, found)
        return found


def _played(side: Side) -> PlayedInterface:
    options = side.bound.options
    return (
        PlayedSource(side, options)
        if isinstance(options, HttpPoll)
        else PlayedInterface(side, cast(HttpConnect, options))
    )


def _calling(side: Side, listen: HttpListen, to: str, options: Mapping[str, Any], behaviour: Behaviour | None) -> Bound:
    """The interface turned round: what the hub listens with, as what it is called with."""
    scheme = "https" if listen.tls is not None else "http"
    base = to or f"{scheme}://{listen.host}:{listen.port}"
    parts = urlsplit(base)
    path = listen.path if parts.path in ("", "/") else parts.path
    kind = behaviour.kind if behaviour is not None else ""
    protection = side.forged() if kind == "wrong_signature" else side.protection
    if kind in ("garbage", "truncated"):
        protection = None  # what is no document can't be sealed
    if kind == "wrong_signature" and protection is None:
        raise HubError(
            t("messages of this interface are not signed", "此接口的消息不带签名"), code="simulate.not_signed"
        )
    call: dict[str, Any] = {
        "url": f"{parts.scheme or scheme}://{parts.netloc}",
        "path": path,
        "method": listen.methods[0],
        "content_type": listen.content_types[0] if listen.content_types else "",
        "connections": 1,
        "idempotency_header": "",
    }
    if listen.tls is not None:
        call["tls"] = {"verify": False}  # what is asked is the hub under test, which may have made its own certificate
    if (auth := shown_to(listen.auth, options, kind)) is not None:
        call["auth"] = auth
    checked = HttpConnect.model_validate(call)
    return replace(side.bound, options=checked, protection=protection, checks=None)


def shown_to(auth: InboundAuth, options: Mapping[str, Any], kind: str) -> dict[str, Any] | None:
    """The credentials a listener of the hub asks for; ``kind`` of a behaviour: unauthorised shows wrong ones."""
    if auth.type == "caller":
        return _credential_of_caller(options)
    if auth.type == "none":
        return None
    secret = auth.secret.get_secret_value()
    shown = f"{secret}-wrong" if kind == "unauthorised" else secret
    return {"type": auth.type, "user": auth.user, "secret": shown, "header": auth.header}


def _credential_of_caller(options: Mapping[str, Any]) -> dict[str, Any]:
    key = options.get("api_key")
    if not key:
        raise HubError(
            t("only a registered caller may call this interface", "该接口仅限已登记的调用方"),
            code="simulate.caller",
            remedy=t(
                "issue an API key with hub callers and give it: api_key",
                "请用 hub callers 签发 API 密钥并以 api_key 给出",
            ),
        )
    return {"type": "api_key", "secret": str(key)}


def _query(body: bytes) -> dict[str, str]:
    """The members of a message that comes as the query of a call; of what is no JSON object none."""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return {name: str(value) for name, value in told.items() if _WORD.fullmatch(name)} if isinstance(told, dict) else {}


def _names(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{") and part.endswith("}")]


def _read(side: Side, listen: HttpListen, found: SimulatedReply) -> None:
    """Whether the answer is an acceptance in the words of the contract, and where it is neither that nor a refusal."""
    if listen.redirect:
        found.ok = found.status == 303
    if side.bound.contract.style == "request" or not found.ok:
        return
    own, refused = listen.replies.accepted, listen.replies.refused
    wanted = own.status if own is not None and own.status else listen.accepted_status if own is None else 0
    if own is not None and not _said(own, found.body):
        found.ok = False
        if refused is None or not _said(refused, found.body):
            found.problems.append(
                Problem(
                    t("the answer is not the one under replies.accepted", "应答与 replies.accepted 不符"),
                    key=f"{side.interface}.listen.replies.accepted",
                )
            )
    elif wanted and found.status != wanted:
        found.problems.append(
            Problem(
                t(
                    f"answered {found.status}, the contract says {wanted}",
                    f"应答为 {found.status}，契约约定为 {wanted}",
                ),
                key=f"{side.interface}.listen.accepted_status",
            )
        )


def _said(own: ReplyBody, body: bytes) -> bool:
    """Whether a body is this answer, whatever stands in the places of its templates; of codes only those it has."""
    if isinstance(own.body, str):
        parts = [re.escape(part) for part in _PLACE.split(own.body)]
        return re.fullmatch(".*".join(parts), body.decode("utf-8", "replace"), re.DOTALL) is not None
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    if not isinstance(told, dict):
        return False
    codes = {str(code) for code in own.codes.values()}
    for name, value in own.body.items():
        if value == "{code}" and codes:
            if str(told.get(name)) not in codes:
                return False
        elif value != "" and (not isinstance(value, str) or "{" not in value) and told.get(name) != value:
            return False  # "" is the place of a token
    return True
