"""Receiving: an HTTP request becomes a message, the hub's receipt an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import orjson
from aiohttp import web

from adapters.http.body import query_object
from adapters.http.options import HttpListen
from adapters.http.problem import (
    MOST_FINDINGS,
    SERVER,
    Refusal,
    problem_of,
    problem_response,
    retry_headers,
    target_code,
    wants,
)
from adapters.http.protected import opened_params, refusal_of, sealed_answer, wire_of
from adapters.http.redirects import led_to
from adapters.http.replies import own_answer, own_refusal
from adapters.http.server import ServerPool
from adapters.http.service import HttpService, logged
from hub.api import Bound, HubError, IntakePort, Protection, Receipt, Refused
from hub.i18n import t
from hub.ids import id_text
from hub.masking import mask_text

if TYPE_CHECKING:
    from adapters.http.token_endpoint import TokenService

__all__ = ["HttpReceiver"]


class HttpReceiver(HttpService):
    """One listening HTTP interface."""

    def __init__(self, bound: Bound, intake: IntakePort, servers: ServerPool) -> None:
        self._options = options = cast(HttpListen, bound.options)
        if options.redirect and (bound.contract.style, bound.codec.name) != ("request", "json"):
            raise HubError(
                t(
                    f"{bound.place}: redirect needs an answer in JSON to lead on by",
                    f"{bound.place}：redirect 需要 JSON 应答给出跳转地址",
                ),
                code="http.redirect",
                remedy=t("set style: request and codec: json", "请设置 style: request 与 codec: json"),
            )
        super().__init__(bound, intake, servers, options, options.methods, options.content_types)
        door = self._gate.door
        self._tokens: TokenService | None = None
        if options.token is not None and door:
            from adapters.http.token_endpoint import TokenService  # with JWT and certificates; most listeners have none

            self._tokens = TokenService(bound, intake, options, options.token, door)
        self._replies = options.replies
        self._reply_headers = {"Content-Type": bound.codec.content_type, **SERVER}
        self._json_headers = {"Content-Type": "application/json", **SERVER}

    async def start(self) -> None:
        await super().start()
        if self._tokens is not None:
            try:
                await self._tokens.start(self._servers.server(self._served))
            except BaseException:
                await super().stop(0.5)
                raise

    async def stop(self, grace: float) -> None:
        if self._tokens is not None:
            await self._tokens.stop()
        await super().stop(grace)

    # -- one call ------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest, parts: dict[str, str]) -> web.StreamResponse:
        self._under_way += 1
        remote = request.remote or ""
        try:
            self._admit(request, remote)
            bodied = request.can_read_body  # a query taken for a body is not what is signed as one
            body = await self._body(request, parts)
            protection = self._bound.protection
            if protection is not None:
                return await self._protected(protection, request, parts, body, remote, bodied)
            params = self._params(request, parts)
            receipt = await self._handed_in(body, remote, request.headers.get("Idempotency-Key", ""), params)
        except Refusal as refusal:
            self._intake.refuse(self._bound, b"", refusal.as_error(), remote=remote)
            return self._say_no(request, refusal)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._quiet.set()
        return self._answer(request, receipt)

    async def _protected(
        self,
        protection: Protection,
        request: web.BaseRequest,
        parts: dict[str, str],
        body: bytes,
        remote: str,
        bodied: bool,
    ) -> web.StreamResponse:
        """A call that is opened first; the call log keeps what came, the message is what was in it."""
        call = wire_of(request, body if bodied else b"")
        sealed = call.body
        try:
            opening = await protection.open_request(call)
        except Refused as error:
            kept = sealed if call.evidence is None else call.evidence
            self._intake.refuse(self._bound, kept, error, remote=remote)
            return self._say_no(request, refusal_of(error))
        if call.evidence is not None:
            sealed = call.evidence
        receipt = None
        try:
            body = call.body if bodied else body
            opened = opened_params(self._params(request, parts), opening, sealed, call.body)
            receipt = await self._handed_in(body, remote, request.headers.get("Idempotency-Key", ""), opened)
        finally:
            if receipt is None or not receipt.accepted:
                opening.forget()
        return await sealed_answer(protection, call, self._answer(request, receipt))

    async def _body(self, request: web.BaseRequest, parts: dict[str, str]) -> bytes:
        """The message: the body with its content codings undone, or the query where the interface says so."""
        body = await self._bodies.read(request)
        if not body and self._options.query_as_body:
            body = query_object(request, parts)
        return body

    def _params(self, request: web.BaseRequest, parts: dict[str, str]) -> dict[str, str]:
        params = {name: logged(value) for name, value in parts.items()}
        params["method"] = request.method
        params["path"] = logged(request.raw_path.partition("?")[0]) if parts else self._options.path
        return params | self._logged_headers(request.headers) | self._asked(request)

    # -- answers -------------------------------------------------------------------------------------------------

    def _answer(self, request: web.BaseRequest, receipt: Receipt) -> web.Response:
        if not receipt.accepted:
            return self._not_accepted(request, receipt)
        if receipt.reply is not None:
            if self._options.redirect:
                try:
                    return led_to(receipt.reply, self._options.redirect)
                except Refusal as refusal:
                    return self._say_no(request, refusal)
            return web.Response(status=receipt.reply_status or 200, body=receipt.reply, headers=self._reply_headers)
        own = self._replies.accepted
        if own is not None:
            word = _word(receipt)
            variables = {"message_id": id_text(receipt.message_id), "outcome": word, "code": own.code(word)}
            return own_answer(own, own.status or 200, variables)
        status = self._options.accepted_status
        if status == 204:
            return web.Response(status=204, headers=SERVER)
        word = _word(receipt)
        if receipt.findings:
            told = {"message_id": id_text(receipt.message_id), "outcome": word}
            noted = [dict(finding) for finding in receipt.findings[:MOST_FINDINGS]]
            return web.Response(
                status=status, body=orjson.dumps({**told, "findings": noted}), headers=self._json_headers
            )
        return web.Response(
            status=status,
            body=b'{"message_id":"%b","outcome":"%b"}' % (id_text(receipt.message_id).encode(), word.encode()),
            headers=self._json_headers,
        )

    def _not_accepted(self, request: web.BaseRequest, receipt: Receipt) -> web.Response:
        error = receipt.error
        status, code = problem_of(error)
        text = mask_text(error.text) if error is not None else t("the message was refused", "消息被拒绝")
        remedy = error.remedy if error is not None else ""
        headers = retry_headers(status, code)
        if receipt.reply is not None:
            return web.Response(status=status, body=receipt.reply, headers={**self._reply_headers, **headers})
        if self._replies.refused is not None:
            return own_refusal(self._replies.refused, status, code, text, headers)
        return problem_response(
            request.headers.get("Accept-Language", ""),
            request.raw_path.partition("?")[0],
            status,
            code,
            (text, text),
            remedy=(remedy, remedy),
            message_id=receipt.message_id,
            target=target_code(error),
            headers=headers,
            findings=receipt.findings,
            codec=self._bound.codec,
        )

    def _say_no(self, request: web.BaseRequest, refusal: Refusal) -> web.Response:
        language = request.headers.get("Accept-Language", "")
        if self._replies.refused is not None:
            text = refusal.detail[1 if wants(language) == "zh" else 0]
            answer = own_refusal(self._replies.refused, refusal.status, refusal.code, text, refusal.headers)
            if self._stopping or "Connection" in refusal.headers:
                answer.force_close()
            return answer
        answer = problem_response(
            language,
            request.raw_path.partition("?")[0],
            refusal.status,
            refusal.code,
            refusal.detail,
            remedy=refusal.remedy,
            headers=refusal.headers,
            codec=self._bound.codec,
        )
        if self._stopping or "Connection" in refusal.headers:
            answer.force_close()
        return answer


def _word(receipt: Receipt) -> str:
    word = receipt.outcome.word
    return "accepted" if word == "ok" else word
