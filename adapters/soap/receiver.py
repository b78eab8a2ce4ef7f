"""Receiving: a SOAP call becomes a message, the hub's receipt an answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

from aiohttp import web

from adapters.http.auth import CALLER
from adapters.http.problem import MOST_FINDINGS, RETRY_AFTER, SERVER, Refusal, problem_of, target_code, wants
from adapters.http.protected import opened_params, refusal_of, sealed_answer, wire_of
from adapters.http.server import ServerPool
from adapters.http.service import HttpService
from adapters.soap.acknowledge import MCCI, fill, mcci
from adapters.soap.answer import Answer, Answerer
from adapters.soap.call import Call, CallReader
from adapters.soap.fault import FaultRefusal, fault_body, fault_status
from adapters.soap.names import Version
from adapters.soap.options import SoapListen
from adapters.soap.wsdl import WsdlFiles, generated
from hub.api import Bound, CodecError, IntakePort, Protection, Receipt, Refused, SendError
from hub.i18n import language, t
from hub.ids import id_text
from hub.masking import mask_text

__all__ = ["SoapReceiver"]

#: Above this, bytes, an envelope is read in a thread: the event loop must not stand still for it.
_THREAD_ABOVE = 128 << 10
_LONGEST_KEY = 256


class SoapReceiver(HttpService):
    """One listening SOAP interface: an HTTP interface whose body is an envelope."""

    def __init__(self, bound: Bound, intake: IntakePort, servers: ServerPool) -> None:
        options = cast(SoapListen, bound.options)
        super().__init__(bound, intake, servers, options, ("GET", "POST"))
        self._soap = options
        self._encoding = bound.contract.encoding
        #: Of messages; None where they were taken out of an envelope as text and are UTF-8.
        self._raw_encoding = self._encoding if options.binary or options.payload == "envelope" else None
        self._reader: CallReader
        self._answerer: Answerer
        self._files: WsdlFiles | None = None
        # What came with a password or a credential in it is not kept when it is refused.
        self._keeps_refused = options.security is None and not options.credentials

    async def start(self) -> None:
        self._reader = CallReader(self._soap, self._limit)
        self._answerer = Answerer(self._soap, self._encoding)
        self._files = await asyncio.to_thread(WsdlFiles, self._soap.wsdl) if self._soap.wsdl else None
        await super().start()

    def status(self) -> dict[str, Any]:
        return {**super().status(), "versions": list(self._soap.versions), "operations": list(self._soap.operations)}

    # -- one call ------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest, parts: dict[str, str]) -> web.StreamResponse:
        self._under_way += 1
        remote = request.remote or ""
        call = Call(_version_of(request))
        body = b""
        try:
            self._admit(request, remote)
            if request.method == "GET":
                return self._describe(request)
            body = await self._bodies.read(request)
            if self._bound.protection is not None:
                return await self._protected(self._bound.protection, request, call, body, remote)
            receipt = await self._exchange(request, call, body, remote, self._params(request))
            return self._told(request, call, receipt)
        except Refusal as refusal:
            kept = body if self._keeps_refused else b""
            self._intake.refuse(self._bound, kept, refusal.as_error(), remote=remote)
            return self._refusal(request, call, refusal)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._quiet.set()

    async def _protected(
        self, protection: Protection, request: web.BaseRequest, call: Call, body: bytes, remote: str
    ) -> web.Response:
        """A call that is opened first; the call log keeps what came."""
        wire = wire_of(request, body)
        try:
            opening = await protection.open_request(wire)
        except Refused as error:
            self._intake.refuse(self._bound, body if wire.evidence is None else wire.evidence, error, remote=remote)
            return self._refusal(request, call, refusal_of(error))
        receipt = None
        try:
            kept = body if wire.evidence is None else wire.evidence
            params = opened_params(self._params(request), opening, kept, wire.body)
            receipt = await self._exchange(request, call, wire.body, remote, params)
        finally:
            if receipt is None or not receipt.accepted:
                opening.forget()
        return await sealed_answer(protection, wire, self._told(request, call, receipt))

    def _params(self, request: web.BaseRequest) -> dict[str, str]:
        return {**self._logged_headers(request.headers), "path": self._soap.path, **self._asked(request)}

    async def _exchange(
        self, request: web.BaseRequest, call: Call, body: bytes, remote: str, params: dict[str, str]
    ) -> Receipt:
        headers = request.headers
        action = headers.get("SOAPAction", "").strip().strip('"')
        arguments = (call, body, headers.get("Content-Type", ""), action)
        if len(body) > _THREAD_ABOVE:
            await asyncio.to_thread(self._reader.read, *arguments)
        else:
            self._reader.read(*arguments)
        params.update({name: value for name, value in call.variables.items() if name != CALLER or name not in params})
        control_id = headers.get("Idempotency-Key", "")
        if not control_id and call.addressing is not None:
            control_id = call.addressing.message_id[:_LONGEST_KEY]
        return await self._handed_in(call.message, remote, control_id, params)

    # -- answers -------------------------------------------------------------------------------------------------

    def _told(self, request: web.BaseRequest, call: Call, receipt: Receipt) -> web.Response:
        try:
            if receipt.accepted:
                if receipt.reply is not None:
                    return _response(self._answerer.reply(call, receipt.reply), receipt.reply_status or 200)
                return _response(self._acknowledged(call, receipt), 200)
            if receipt.reply is not None:  # what the contract makes of the target's refusal
                return _response(self._answerer.reply(call, receipt.reply), 200)
            if self._soap.refused and problem_of(receipt.error)[0] not in (409, 503):
                return _response(self._answerer.reply(call, self._made(self._soap.refused, call, receipt, "AE")), 200)
        except CodecError as error:
            # It is stored; only the reply can't be told.
            failed = SendError(
                t("the reply can't be sent as SOAP: ", "应答无法以 SOAP 返回：") + error.text, code=error.code
            )
            return self._not_told(request, call, replace(receipt, error=failed))
        return self._not_told(request, call, receipt)

    def _acknowledged(self, call: Call, receipt: Receipt) -> Answer:
        if not self._soap.accepted:
            return self._answerer.empty(call)
        return self._answerer.reply(call, self._made(self._soap.accepted, call, receipt, "AA"))

    def _made(self, template: str, call: Call, receipt: Receipt, code: str) -> bytes:
        """An acknowledgement; ``code`` AA or AE."""
        error = receipt.error
        if code == "AA":
            text = t("accepted", "处理成功")
        else:
            text = mask_text(error.text) if error is not None else t("the message was refused", "消息被拒绝")
        findings = [finding["text"] or finding["rule"] for finding in receipt.findings[:MOST_FINDINGS]]
        text = "; ".join([text, *findings])
        if template == MCCI:
            return mcci(call.message, self._raw_encoding, code, text).encode()
        values = {
            "message_id": id_text(receipt.message_id) if receipt.message_id else "",
            "control_id": receipt.control_id,
            "outcome": receipt.outcome.word,
            "code": problem_of(error)[1] if code == "AE" else code,
            "text": text,
        }
        return fill(template, values).encode()

    def _not_told(self, request: web.BaseRequest, call: Call, receipt: Receipt) -> web.Response:
        """A fault for a message that was not accepted, or whose exchange failed."""
        error = receipt.error
        status, code = problem_of(error)
        kind = "server" if status >= 500 or status == 409 else "client"
        fault = fault_body(
            call.version,
            kind,
            code,
            mask_text(error.text) if error is not None else t("the message was refused", "消息被拒绝"),
            language=language(),
            remedy=error.remedy if error is not None else "",
            message_id=id_text(receipt.message_id) if receipt.message_id else "",
            target=target_code(error),
            findings=receipt.findings,
        )
        busy = status in (409, 503)
        response = _response(
            self._answerer.fault(call, fault), 503 if status == 503 else fault_status(call.version, kind)
        )
        if busy:
            response.headers["Retry-After"] = RETRY_AFTER
        return response

    def _refusal(self, request: web.BaseRequest, call: Call, refusal: Refusal) -> web.Response:
        if isinstance(refusal, FaultRefusal):
            kind, blocks = refusal.fault, tuple(refusal.blocks)
            status = refusal.status or fault_status(call.version, kind)
        else:
            kind, blocks, status = ("server" if refusal.status >= 500 else "client"), (), refusal.status
        chosen = wants(request.headers.get("Accept-Language", ""))
        pick = 1 if chosen == "zh" else 0
        fault = fault_body(
            call.version, kind, refusal.code, refusal.detail[pick], language=chosen, remedy=refusal.remedy[pick]
        )
        response = _response(self._answerer.fault(call, fault, blocks), status)
        response.headers.update(refusal.headers)
        if self._stopping or "Connection" in refusal.headers:
            response.force_close()
        return response

    def _describe(self, request: web.BaseRequest) -> web.Response:
        """The WSDL, or a schema it imports."""
        query = {name.lower(): value for name, value in request.rel_url.query.items()}
        options = self._soap
        host = request.host if request.host.isascii() else f"{options.host}:{self.status()['port']}"
        address = options.address or f"{request.scheme}://{host}{options.path}"
        found: bytes | None = None
        if "wsdl" in query:
            found = self._files.served("", address) if self._files is not None else generated(options, address)
        elif "xsd" in query and self._files is not None:
            found = self._files.served(query["xsd"], address)
        if found is not None:
            return web.Response(body=found, content_type="text/xml", charset="utf-8", headers=SERVER)
        raise Refusal(
            404,
            "soap.get",
            (
                "calls are made with POST; the description of the service is at ?wsdl",
                "请以 POST 调用；服务描述见 ?wsdl",
            ),
        )


def _version_of(request: web.BaseRequest) -> Version:
    """What a caller probably speaks, before its envelope is read."""
    return Version.V12 if "application/soap+xml" in request.headers.get("Content-Type", "") else Version.V11


def _response(answer: Answer, status: int) -> web.Response:
    body, kind = answer
    return web.Response(status=status, body=body, headers={"Content-Type": kind, **SERVER})
