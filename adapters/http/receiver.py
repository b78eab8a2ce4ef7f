"""Receiving: an HTTP request becomes a message, the hub's receipt an answer."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import orjson
from aiohttp import web

from adapters.access import AllowList
from adapters.http.auth import Gate
from adapters.http.body import BodyReader, query_object
from adapters.http.limits import RateLimiter, shown_by
from adapters.http.options import HttpListen
from adapters.http.problem import MOST_FINDINGS, RETRY_AFTER, SERVER, Refusal, problem_of, problem_response, wants
from adapters.http.replies import own_answer, own_refusal
from adapters.http.server import HttpServer, Route, ServerPool
from adapters.http.signature import SignatureCheck
from hub.api import Bound, IntakePort, Receipt, Receiver, StoreBusy
from hub.i18n import t
from hub.ids import id_text
from hub.masking import mask_text

__all__ = ["HttpReceiver"]

_LONGEST_KEY = 256
_LONGEST_LOGGED = 200
_MOST_REMEMBERED = 4096


class HttpReceiver(Receiver):
    """One listening HTTP interface."""

    def __init__(self, bound: Bound, intake: IntakePort, servers: ServerPool) -> None:
        self._bound = bound
        self._intake = intake
        self._servers = servers
        self._options = options = cast(HttpListen, bound.options)
        self._limit = bound.contract.max_size or options.max_size
        self._gate = Gate(options.auth)
        self._allow = AllowList(options.allow)
        self._rate = RateLimiter(options.rate) if options.rate is not None else None
        self._key_header = options.auth.header if options.auth.type == "api_key" else "Authorization"
        self._signature = SignatureCheck(options.signature) if options.signature is not None else None
        self._replies = options.replies
        self._peers: dict[str, bool] = {}  # address -> may it call
        self._masked: dict[str, str] = {}  # header value -> how it is logged; most values come again and again
        self._types = frozenset(options.content_types)
        self._reply_headers = {"Content-Type": bound.codec.content_type, **SERVER}
        self._json_headers = {"Content-Type": "application/json", **SERVER}
        self._route = Route(bound.place, options.path, tuple(options.methods), self._handle)
        self._server: HttpServer | None = None
        self._under_way = 0
        self._bodies = BodyReader(self._limit, options.max_buffered, options.body_timeout)
        self._quiet = asyncio.Event()
        self._stopping = False

    async def start(self) -> None:
        self._stopping = False
        server = self._servers.server(self._options)
        await server.add(self._route, self._options)
        self._server = server

    async def stop(self, grace: float) -> None:
        server = self._server
        if server is None:
            return
        self._stopping = True
        server.stop_listening(self._route)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace
        if self._under_way:
            self._quiet.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._quiet.wait()
            except TimeoutError:
                pass  # what is stored stays accepted; only these callers don't hear of it
        await server.remove(self._route, max(deadline - loop.time(), 0.5))
        self._server = None

    def status(self) -> dict[str, Any]:
        server = self._server
        options = self._options
        port = server.port if server is not None else options.port
        return {
            "listening": [f"{options.host}:{port}{options.path}"],
            "host": options.host,
            "port": port,
            "path": options.path,
            "methods": list(options.methods),
            "tls": options.tls is not None,
            "connections": server.connections if server is not None else 0,
            "refused_connections": server.refused if server is not None else 0,
            "under_way": self._under_way,
            "buffered": self._bodies.buffered,
        }

    # -- one call ------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest, parts: dict[str, str]) -> web.StreamResponse:
        self._under_way += 1
        remote = request.remote or ""
        try:
            self._admit(request, remote)
            bodied = request.can_read_body  # a query taken for a body is not what is signed as one
            body = await self._body(request, parts, remote)
            if self._signature is None:
                receipt = await self._submit(request, parts, body, remote)
            else:
                receipt = await self._submit_signed(self._signature, request, parts, body, remote, bodied)
        except Refusal as refusal:
            self._intake.refuse(self._bound, b"", refusal.as_error(), remote=remote)
            return self._say_no(request, refusal)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._quiet.set()
        return self._answer(request, receipt)

    def _admit(self, request: web.BaseRequest, remote: str) -> None:
        """Everything that can be refused before the body is read."""
        headers = request.headers
        permitted = self._peers.get(remote)
        if permitted is None:
            if len(self._peers) >= _MOST_REMEMBERED:
                self._peers.clear()
            permitted = self._peers[remote] = self._allow.permits(remote)
        if not permitted:
            raise Refusal(
                403,
                "http.address",
                ("this address may not call the interface", "该地址不允许调用此接口"),
                ("have it added to listen.allow", "请将其加入 listen.allow"),
            )
        rate = self._rate
        if rate is not None and rate.per == "address":  # also of calls with wrong credentials
            rate.take(remote, time.monotonic())
        self._gate.check(headers)
        if rate is not None and rate.per != "address":
            caller = shown_by(headers.get(self._key_header, "")) if rate.per == "credentials" else ""
            rate.take(caller, time.monotonic())
        if self._options.concurrency and self._under_way > self._options.concurrency:
            raise Refusal(
                503,
                "http.concurrency",
                ("too many calls at once; nothing was stored", "同时调用过多，未存储任何内容"),
                ("send the same again later", "请稍后重发"),
                {"Retry-After": RETRY_AFTER},
            )
        if self._stopping or not self._intake.ready():
            raise Refusal(
                503,
                StoreBusy.code,
                ("the hub takes nothing in just now; nothing was stored", "枢纽暂时无法接收，未存储任何内容"),
                ("send the same again later", "请稍后重发"),
                {"Retry-After": RETRY_AFTER},
            )
        if self._types:
            kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if kind not in self._types and kind.partition("/")[0] + "/*" not in self._types and request.can_read_body:
                expected = ", ".join(self._options.content_types)
                raise Refusal(
                    415,
                    "http.content_type",
                    (f"this interface takes {expected}", f"该接口只接受 {expected}"),
                    headers={"Accept": expected},
                )
        length = headers.get("Content-Length")
        if length is not None and int(length) > self._limit:
            raise self._bodies.too_large()
        expect = headers.get("Expect")
        if expect is not None and expect.lower() != "100-continue":
            raise Refusal(417, "http.expect", ("only 100-continue is understood", "仅支持 100-continue"))
        key = headers.get("Idempotency-Key")
        if key is not None and len(key) > _LONGEST_KEY:
            raise Refusal(
                400,
                "http.idempotency_key",
                (
                    f"Idempotency-Key is longer than {_LONGEST_KEY} characters",
                    f"Idempotency-Key 超过 {_LONGEST_KEY} 个字符",
                ),
            )

    async def _body(self, request: web.BaseRequest, parts: dict[str, str], remote: str) -> bytes:
        """The message: the body with its content codings undone, or the query where the interface says so."""
        body = await self._bodies.read(request)
        if not body and self._options.query_as_body:
            body = query_object(request, parts)
        return body

    async def _submit_signed(
        self,
        signature: SignatureCheck,
        request: web.BaseRequest,
        parts: dict[str, str],
        body: bytes,
        remote: str,
        bodied: bool,
    ) -> Receipt:
        nonce = signature.check(request, body if bodied else b"")
        receipt = None
        try:
            receipt = await self._submit(request, parts, body, remote)
        finally:
            if receipt is None or not receipt.accepted:
                signature.forget(nonce)
        return receipt

    async def _submit(self, request: web.BaseRequest, parts: dict[str, str], body: bytes, remote: str) -> Receipt:
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()

        def done(receipt: Receipt) -> None:
            if not future.done():  # cancelled when the server is closed under a call
                future.set_result(receipt)

        headers = request.headers
        params = {name: _logged(value) for name, value in parts.items()}
        params["method"] = request.method
        params["path"] = _logged(request.raw_path.partition("?")[0]) if parts else self._options.path
        for name in self._options.log_headers:
            if name in headers:
                params[name] = self._logged_header(headers[name])
        control_id = headers.get("Idempotency-Key", "")
        if control_id:
            control_id = _clean(control_id)
        self._intake.submit(self._bound, body, done, remote=remote, control_id=control_id, params=params)
        return await future

    def _logged_header(self, value: str) -> str:
        value = value[:_LONGEST_LOGGED]
        known = self._masked.get(value)
        if known is None:
            if len(self._masked) >= _MOST_REMEMBERED:
                self._masked.clear()
            known = self._masked[value] = _logged(value)
        return known

    # -- answers -------------------------------------------------------------------------------------------------

    def _answer(self, request: web.BaseRequest, receipt: Receipt) -> web.StreamResponse:
        if not receipt.accepted:
            return self._not_accepted(request, receipt)
        if receipt.reply is not None:
            return web.Response(status=receipt.reply_status or 200, body=receipt.reply, headers=self._reply_headers)
        own = self._replies.accepted
        if own is not None:
            variables = {"message_id": id_text(receipt.message_id), "outcome": _word(receipt)}
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
        headers = {"Retry-After": RETRY_AFTER} if status in (503, 409) else {}
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


def _clean(value: str) -> str:
    """Without control characters and the stand-ins of bytes that are not UTF-8."""
    return value if value.isprintable() else "".join(char if char.isprintable() else "?" for char in value)


def _logged(value: str) -> str:
    return mask_text(_clean(value[:_LONGEST_LOGGED]))
