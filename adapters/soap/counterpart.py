"""The other end of SOAP for simulators: plays the services of ``out`` interfaces, and calls ``in`` interfaces of a hub."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from aiohttp import web

from adapters.http.played import PlayedInterface, Playing
from adapters.soap.answer import placed
from adapters.soap.call import action_of as said_action
from adapters.soap.envelope import envelope_bytes, read_envelope
from adapters.soap.fault import FaultRefusal, fault_body, fault_status
from adapters.soap.names import Version, local, namespace
from adapters.soap.options import SoapConnect, SoapListen
from adapters.soap.payload import Place, binary_of, content_of, parameters_of, resolved, serialised, text_of
from adapters.soap.sender import SoapSender, action_of
from adapters.soap.text import attribute
from adapters.template import Template
from hub.api import HubError, Outgoing, Wire
from hub.i18n import language, t
from hub.mapping import compile_expression
from hub.simulator.behaviour import Behaviour
from hub.simulator.calls import SimulatedReply
from hub.simulator.counterpart import Counterpart, Listening
from hub.simulator.party import Facts, Party, Said
from hub.simulator.side import Side, Unfit
from hub.simulator.texts import context_of

__all__ = ["SoapCounterpart"]

_TIMEOUT = 60.0
_BODY = "{body}"
_TRANSIENT = 500


class SoapCounterpart(Counterpart):
    """See the module. WS-Security, WSDL types and attachments are not played."""

    def listening(self, sides: Sequence[Side], party: Party) -> Listening:
        return Playing([_Service(side) for side in sides], party)

    async def send(
        self, side: Side, to: str, options: Mapping[str, Any], body: bytes, behaviour: Behaviour | None
    ) -> SimulatedReply:
        kind = behaviour.kind if behaviour is not None else ""
        if kind == "truncated":
            body = body[: len(body) // 2]
        elif kind == "garbage":
            body = b"garbage"
        listen = cast(SoapListen, side.bound.options)
        options = {**_told(side, body), **options}
        protection = side.forged() if kind == "wrong_signature" else side.protection
        bound = replace(side.bound, options=_calling(listen, to, options, kind), protection=protection, checks=None)
        sender = SoapSender(bound)
        await sender.start()
        side.sent += 1
        try:
            reply = await sender.send(Outgoing(body, side.sent, f"sim-{side.sent}", "", "", 1, _TIMEOUT, dict(options)))
        finally:
            await sender.stop()
        return SimulatedReply(reply.ok, reply.body, reply.status, reply.code, reply.error, sent=body)


def _calling(listen: SoapListen, to: str, options: Mapping[str, Any], kind: str) -> SoapConnect:
    """What the hub listens with, turned round. Raises :class:`HubError` for what can't be called from here."""
    if listen.security is not None or listen.payload == "envelope" or listen.auth.type == "caller":
        raise HubError(
            t(
                "callers with WS-Security, whole envelopes or a registration of their own are not played",
                "不能模拟使用 WS-Security、整个信封或已登记身份的调用方",
            ),
            code="simulate.soap",
        )
    scheme = "https" if listen.tls is not None else "http"
    parts = urlsplit(to or f"{scheme}://{listen.host}:{listen.port}")
    path = listen.path if parts.path in ("", "/") else parts.path
    call: dict[str, Any] = {
        "url": f"{parts.scheme}://{parts.netloc}{path}",
        "version": listen.versions[0],
        "connections": 1,
        "idempotency_header": "",
        "soap_action": listen.soap_actions[0] if listen.soap_actions else "",
        "tls": {"verify": False} if listen.tls is not None else {},
    }
    if listen.auth.type != "none":
        secret = listen.auth.secret.get_secret_value() + ("-wrong" if kind == "unauthorised" else "")
        call["auth"] = {
            "type": listen.auth.type,
            "user": listen.auth.user,
            "secret": secret,
            "header": listen.auth.header,
        }
    if listen.payload != "body":
        call |= {
            "operation": listen.operations[0] if listen.operations else "send",
            "namespace": listen.namespace,
            "qualified": listen.qualified,
            "binary": listen.binary,
            "parameters": _arguments(listen, options, "-wrong" if kind == "unauthorised" else ""),
            "result": "1",
        }
    return SoapConnect.model_validate(call)


def _arguments(listen: SoapListen, options: Mapping[str, Any], wrong: str) -> dict[str, str]:
    """The parameters of a call, in their order, the message among them where the service looks for it.

    Names are those of the WSDL; a position without one gets a name of its own.
    """
    place = Place(listen.payload)
    names = [name for name in listen.credentials if name not in listen.parameters] + listen.parameters
    named = place.find_name(names) or place.name
    if not named:
        at = place.position
        missing = at - len(names) if at > 0 else -at - len(names)
        made = [f"parameter{number}" for number in range(1, missing + 1)]
        names = names + made if at > 0 else made + names
        named = made[-1] if at > 0 else made[0]
    shown = {name: value.get_secret_value() + wrong for name, value in listen.credentials.items()}
    others = {name: str(options.get(name, "")) for name in names}
    return {**others, **shown, named: _BODY}


def _told(side: Side, body: bytes) -> dict[str, str]:
    """What the caller says beside the message: ``vary`` of the contract, where it names a parameter (``$action``)."""
    given = {name[1:]: text for name, text in side.rule.vary.items() if name.startswith("$")}
    if not given:
        return {}
    codec, contract = side.bound.codec, side.bound.contract
    try:
        tree = codec.decode(body, encoding=contract.encoding)
        context = context_of(side.settings(), {"count": side.sent + 1})
        return {name: str(compile_expression(text, codec.name)(tree, context) or "") for name, text in given.items()}
    except HubError:
        return {}  # noise that is sent on purpose says nothing of itself


class _Service(PlayedInterface):
    """One operation of a service."""

    def __init__(self, side: Side) -> None:
        options = self._soap = cast(SoapConnect, side.bound.options)
        if options.security is not None or options.wsdl or options.mtom:
            raise HubError(
                t(
                    "services with WS-Security, WSDL types or attachments are not played",
                    "不能模拟使用 WS-Security、WSDL 类型或附件的服务",
                ),
                code="simulate.soap",
            )
        self._version = Version.V11 if options.version == "1.1" else Version.V12
        super().__init__(side, options.http(self._version.content_type))

    def check(self, request: web.BaseRequest, facts: Facts) -> None:
        super().check(request, facts)
        wanted = action_of(self._soap)
        content_type, action = request.headers.get("Content-Type", ""), request.headers.get("SOAPAction", "")
        given = action if self._version is Version.V11 else said_action(content_type)
        if wanted and unquote(given).strip().strip('"') != wanted:
            raise Unfit("soap.action", t("there is no such SOAPAction", "没有该 SOAPAction"), 1)

    def unwrapped(self, wire: Wire) -> bytes:
        options = self._soap
        try:
            envelope = read_envelope(wire.body, "")
            if envelope.version is not self._version:
                raise Unfit("soap.version", t("another version of SOAP", "SOAP 版本不符"), 3)
            operation = envelope.operation
            if operation is None:
                raise Unfit("soap.empty", t("the Body is empty", "Body 为空"), 3)
            if not options.parameters:
                return serialised(operation)
            tag = str(operation.tag)
            named = not Template(options.operation).names
            if (named and local(tag) != options.operation) or namespace(tag) != options.namespace:
                raise Unfit("soap.operation", t("there is no such operation", "没有该操作"), 0)
            given = parameters_of(envelope)
            spaces = {namespace(str(element.tag)) for element in given.values()}
            if spaces - {options.namespace if options.qualified else ""}:
                raise Unfit("soap.namespace", t("parameters have another namespace", "参数的命名空间不符"), 3)
            message = b""
            for name, text in options.parameters.items():
                element = given.get(name)
                if element is None:
                    raise Unfit("soap.parameter", t(f"the parameter {name} is missing", f"缺少参数 {name}"), 3)
                element = resolved(element, envelope.body)
                if text == _BODY:
                    message = binary_of(element, {}) if options.binary else content_of(element)
                elif not Template(text).names and text_of(element).strip() != text:
                    raise Unfit("soap.parameter", t(f"the parameter {name} is wrong", f"参数 {name} 不正确"), 3)
            return message
        except FaultRefusal as error:
            raise Unfit(error.code, error.as_error().text, 3) from None

    def wrapped(self, said: Said) -> tuple[int, bytes, str]:
        media = f"{self._version.content_type}; charset=utf-8"
        contract = self.side.bound.contract
        if said.refused and not contract.success and not contract.simulate.refusal:
            fault = "server" if said.status >= _TRANSIENT else "client"
            body = fault_body(self._version, fault, said.code, said.text, language=language())
            return fault_status(self._version, fault), envelope_bytes(self._version, body), media
        return said.status, envelope_bytes(self._version, self._content(said.body)), media

    def _content(self, body: bytes) -> str:
        """The element in the Body of a good answer."""
        options = self._soap
        name = options.operation if options.operation and "{" not in options.operation else "Answer"
        declared = f' xmlns:m="{attribute(options.namespace)}"' if options.namespace else ""
        prefix = "m:" if options.namespace else ""
        encoding = self.side.bound.contract.encoding
        if not options.result:
            if body:
                return placed(body, encoding, "xml")
            return f"<{prefix}{name}Response{declared}/>"
        content = base64.b64encode(body).decode() if options.binary else placed(body, encoding, options.form)
        result = options.result if not options.result.lstrip("-").isdecimal() else f"{name}Result"
        before = "<p/>" * max(int(options.result) - 1, 0) if options.result.isdecimal() else ""
        return f"<{prefix}{name}Response{declared}>{before}<{result}>{content}</{result}></{prefix}{name}Response>"
