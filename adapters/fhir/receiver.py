"""Receiving: a FHIR interaction becomes a message, the hub's receipt an answer of a FHIR server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from aiohttp import web

from adapters.fhir.answer import Answers
from adapters.fhir.bulk import NDJSON_TYPES, Import
from adapters.fhir.bundles import OFFSET
from adapters.fhir.call import EVENT, REQUEST, SUBSCRIBE, Call
from adapters.fhir.capability import capability_statement, known_types
from adapters.fhir.check import check_bundle, check_condition, check_resource
from adapters.fhir.exchange import (
    RESULT_PARAMETERS,
    Exchange,
    check_resource_type,
    instance_message,
    patch_message,
    query_of,
    question,
    resource_tree,
    validated,
)
from adapters.fhir.facade import Facade, Facades, FhirRoute
from adapters.fhir.form import Forms, media_type
from adapters.fhir.options import FhirListen
from adapters.fhir.outcome import issue, issues_of, outcome, refused
from adapters.fhir.subscriptions.service import Subscriptions
from adapters.fhir.subscriptions.store import file_of
from adapters.http.problem import MOST_FINDINGS, SERVER, Refusal
from adapters.http.server import ServerPool
from adapters.http.service import HttpService, clean
from hub.api import Bound, CodecError, Confidential, HubError, IntakePort, Receipt, StoreBusy
from hub.i18n import t
from hub.masking import mask_text

__all__ = ["FhirReceiver"]

R = TypeVar("R")

#: Above this, bytes, a body is read in a thread: the event loop must not stand still for it.
_THREAD_ABOVE = 128 << 10
_LONGEST_KEY = 256
_NOTHING = Confidential("")
#: A condition travels on as a business key, which is cut there: half a condition would find something else.
_LONGEST_CRITERIA = 256


class FhirReceiver(HttpService):
    """One FHIR interface: an HTTP interface whose path, method and answers are those of FHIR's RESTful API."""

    def __init__(self, bound: Bound, intake: IntakePort, facades: Facades) -> None:
        # A base offers of a server what an HTTP interface needs of one.
        self._fhir = options = cast(FhirListen, bound.options)
        super().__init__(bound, intake, cast(ServerPool, facades), options, ("POST",))
        self._asks = bound.contract.style == "request"
        self._offers = frozenset(options.interactions or (REQUEST if self._asks else EVENT))
        self._version = bound.contract.format.get("version", "R4")
        self._forms = Forms(self._version, bound.contract.format.get("write", "json"))
        self._route: FhirRoute = FhirRoute(
            bound.place,
            options.path,
            ("POST",),
            self._handle,
            self._offers,
            frozenset(options.resources or ["*"]),
            self._forms,
            options,
        )
        self._answers = Answers(bound.codec, options)
        self._subscriptions: Subscriptions | None = None
        if options.subscriptions is not None:
            self._subscriptions = Subscriptions(
                file_of(bound.data, bound.system),
                self._version,
                options.subscriptions,
                self._route.resources,
                lambda params, error, started: intake.note_run(bound, started_us=started, params=params, error=error),
            )
        self._since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

    async def start(self) -> None:
        wrong = self._offers & ({"import", "notify"} if self._asks else {"read", "search", "history"})
        if self._bound.codec.name != "fhir" or wrong:
            place = self._bound.place
            names = ", ".join(sorted(wrong))
            raise HubError(
                t(
                    f"{place}: style and interactions don't fit: {names}",
                    f"{place}：style 与 interactions 不符：{names}",
                )
                if wrong
                else t(f"{place} needs codec: fhir", f"{place} 须为 codec: fhir"),
                code="fhir.contract",
                remedy=t(
                    "read, search and history need style: request, import and notify need style: event",
                    "read、search 与 history 须为 style: request，import 与 notify 须为 style: event",
                ),
            )
        unknown = self._route.resources - known_types(self._version) - {"*"}
        if unknown:
            name = min(unknown)
            raise HubError(
                t(f"{self._version} has no resource {name}", f"{self._version} 没有资源 {name}"), code="fhir.contract"
            )
        subscriptions = self._subscriptions
        await super().start()
        if subscriptions is not None:
            own = self._fhir
            port = super().status()["port"]
            try:
                await subscriptions.start(own.public_url or f"http://{own.host}:{port}{own.path.rstrip('/')}")
            except BaseException:
                await super().stop(0.0)
                raise

    async def stop(self, grace: float) -> None:
        began = time.monotonic()
        await super().stop(grace)
        if self._subscriptions is not None:
            await self._subscriptions.stop(max(grace - (time.monotonic() - began), 0.0))

    def status(self) -> dict[str, Any]:
        known = super().status()
        del known["methods"]
        if self._subscriptions is not None:
            known |= self._subscriptions.status()
        return {
            **known,
            "interactions": sorted(self._offers),
            "resources": sorted(self._route.resources),
        }

    def _admit(self, request: web.BaseRequest, remote: str) -> None:
        try:
            super()._admit(request, remote)
        except Refusal as refusal:
            # An import is taken line by line: the limit is that of a line, and is the last thing but headers that is asked for.
            if refusal.code != "http.too_large" or not request.path.endswith("/$import"):
                raise

    # -- one call ------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest, parts: dict[str, str]) -> web.StreamResponse:
        self._under_way += 1
        call = Call(parts["interaction"], parts["type"], parts["id"], parts["version"])
        exchange = Exchange(request, call, self._forms.fallback, self._base(request), request.remote or "")
        try:
            headers = request.headers
            exchange.query = query_of(request.raw_path.partition("?")[2])
            exchange.form = self._forms.of(
                exchange.query, headers.get("Accept", "*/*"), headers.get("Content-Type", "")
            )
            self._admit(request, exchange.remote)
            if self._subscriptions is not None and call.type == "Subscription" and call.interaction in SUBSCRIBE:
                return await self._subscription(exchange, self._subscriptions)
            return await self._answered(exchange)
        except Refusal as refusal:
            self._intake.refuse(self._bound, exchange.raw, refusal.as_error(), remote=exchange.remote)
            answer = self._answers.refusal(exchange, refusal)
            if self._stopping or "Connection" in refusal.headers:
                answer.force_close()
            return answer
        except CodecError as error:
            self._intake.refuse(self._bound, exchange.raw, error, remote=exchange.remote)
            return self._answers.failure(exchange, error)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._quiet.set()

    def _base(self, request: web.BaseRequest) -> str:
        """The base as the caller knows it."""
        if self._fhir.public_url:
            return self._fhir.public_url
        host = request.host if request.host.isascii() and request.host.isprintable() else ""
        if not host or any(char in host for char in "/\\\"'<>?#@ "):
            host = f"{self._fhir.host}:{self.status()['port']}"
        return f"{request.scheme}://{host}{self._fhir.path.rstrip('/')}"

    async def _answered(self, exchange: Exchange) -> web.StreamResponse:
        interaction = exchange.call.interaction
        if interaction == "capabilities":
            routes = cast(Facade, self._server).routes
            tree = capability_statement(routes, self._version, exchange.base, self._since)
            return self._answers.told(exchange, 200, tree)
        if exchange.call.type and exchange.call.type not in known_types(self._version):
            name, version = exchange.call.type, self._version
            raise Refusal(404, "fhir.type", (f"{version} has no resource {name}", f"{version} 没有资源 {name}"))
        if interaction == "import":
            return await self._import(exchange)
        if interaction == "search":
            return await self._search(exchange)
        if interaction in ("read", "delete", "history"):
            if interaction != "history":
                check_condition(exchange)
            exchange.tree = {}
            message = self._answers.plain(instance_message(exchange, interaction))
            receipt = await self._taken(exchange, message)
            return await self._off_loop(len(receipt.reply or b""), self._answers.of, exchange, receipt, message)
        if interaction == "patch":
            check_condition(exchange)
            exchange.raw = await self._bodies.read(exchange.request)
            message = patch_message(exchange, exchange.raw)
            return self._answers.of(exchange, await self._taken(exchange, message), message)
        check_resource_type(exchange.header("Content-Type"))
        raw = exchange.raw = await self._bodies.read(exchange.request)
        if not raw.strip():
            if interaction == "bundle" and "notify" in self._offers:
                return await self._notified(exchange)
            raise Refusal(400, "fhir.empty", ("the body is empty", "消息体为空"))
        exchange.tree = await self._off_loop(len(raw), resource_tree, raw, self._bound.codec)
        if interaction == "validate":
            return await self._validate(exchange)
        if interaction in ("bundle", "message"):
            await self._off_loop(len(raw), check_bundle, exchange, self._offers, self._asks)
        else:
            check_resource(exchange)
        receipt = await self._taken(exchange, raw)
        return await self._off_loop(len(raw) + len(receipt.reply or b""), self._answers.of, exchange, receipt, raw)

    async def _off_loop(self, size: int, work: Callable[..., R], *arguments: Any) -> R:
        """Do what takes long for so many bytes where it holds up nobody."""
        return await asyncio.to_thread(work, *arguments) if size > _THREAD_ABOVE else work(*arguments)

    async def _subscription(self, exchange: Exchange, subscriptions: Subscriptions) -> web.StreamResponse:
        """The hub serves these itself."""
        call, started = exchange.call, time.time_ns() // 1000
        if call.interaction in ("create", "update"):
            check_resource_type(exchange.header("Content-Type"))
            exchange.tree = resource_tree(await self._bodies.read(exchange.request), self._bound.codec)
            check_resource(exchange)
        params = {"interaction": call.interaction, "type": call.type, "id": call.id, "method": exchange.request.method}
        params |= self._asked(exchange.request)
        try:
            answered = await subscriptions.answer(exchange)
        except StoreBusy as error:
            return self._answers.failure(exchange, error)
        self._intake.note_run(self._bound, started_us=started, params=params, remote=exchange.remote)
        if answered.tree is None:
            return web.Response(status=answered.status, headers={**answered.headers, **SERVER})
        return self._answers.told(exchange, answered.status, answered.tree, answered.headers)

    # -- handing over --------------------------------------------------------------------------------------------

    def _variables(self, exchange: Exchange) -> dict[str, str]:
        """What the contract's expressions know of the call, and what the call log shows of it."""
        call = exchange.call
        given = {
            "interaction": call.interaction,
            "type": call.type,
            "id": call.id,
            "criteria": exchange.criteria if call.interaction in ("update", "patch", "delete") else "",
            "if_none_exist": exchange.header("If-None-Exist") if call.interaction == "create" else "",
            "if_match": exchange.header("If-Match"),
        }
        found: dict[str, str] = dict.fromkeys(given, _NOTHING)
        for name, value in given.items():
            if not value:
                continue
            if len(value) > _LONGEST_CRITERIA or not value.isprintable():
                raise Refusal(400, "fhir.criteria", ("the condition is too long or not text", "条件过长或不是文本"))
            found[name] = Confidential(value)
        found |= self._logged_headers(exchange.request.headers) | self._asked(exchange.request)
        found["method"] = exchange.request.method
        return found

    async def _taken(self, exchange: Exchange, message: bytes) -> Receipt:
        params = self._variables(exchange)
        return await self._handed_in(message, exchange.remote, exchange.header("Idempotency-Key"), params)

    async def _search(self, exchange: Exchange) -> web.StreamResponse:
        request = exchange.request
        if request.method == "POST":
            kind, _ = media_type(exchange.header("Content-Type"))
            if kind != "application/x-www-form-urlencoded":
                raise Refusal(
                    415,
                    "http.content_type",
                    (
                        "_search takes application/x-www-form-urlencoded",
                        "_search 只接受 application/x-www-form-urlencoded",
                    ),
                )
            body = await self._bodies.read(request)
            exchange.query += query_of(body.decode("ascii", "replace"))
        known = self._fhir.search
        unknown = [
            name
            for name, _ in exchange.query
            if known and not name.startswith("_") and name.partition(":")[0].partition(".")[0] not in known
        ]
        if unknown and exchange.prefers("handling") == "strict":
            raise Refusal(
                400,
                "fhir.parameter",
                (f"these search parameters are not known: {_names(unknown)}", f"未知查询参数：{_names(unknown)}"),
            )
        message = question(exchange.call.type, "search", exchange.query, RESULT_PARAMETERS | {OFFSET})
        receipt = await self._taken(exchange, message)
        told = [_names([name]) for name in unknown]
        return await self._off_loop(len(receipt.reply or b""), self._answers.search, exchange, receipt, told)

    async def _notified(self, exchange: Exchange) -> web.StreamResponse:
        """A subscription says, with nothing in its call but its address, that there is something new."""
        message = question("Subscription", "notify", exchange.query, RESULT_PARAMETERS)
        receipt = await self._taken(exchange, message)
        if not receipt.accepted:
            return self._answers.failure(exchange, receipt.error, receipt.findings)
        return web.Response(status=200, headers=SERVER)

    async def _validate(self, exchange: Exchange) -> web.StreamResponse:
        codec = self._bound.codec
        raw = validated(exchange.tree, exchange.raw, codec)
        if exchange.tree["resourceType"] not in ("Parameters", exchange.call.type):
            issues = [
                issue("error", "invalid", t("another type of resource than in the address", "资源类型与地址不一致"))
            ]
            return self._answers.told(exchange, 200, outcome(issues))
        try:
            findings = await self._intake.check(self._bound, raw, params=self._variables(exchange))
        except CodecError as error:
            return self._answers.told(exchange, 200, refused(400, mask_text(error.text), error.code, error.remedy))
        except HubError as error:
            return self._answers.failure(exchange, error)
        issues = issues_of(codec, findings[:MOST_FINDINGS]) or [
            issue("information", "informational", t("nothing was found", "未发现问题"))
        ]
        return self._answers.told(exchange, 200, outcome(issues))

    # -- bulk ----------------------------------------------------------------------------------------------------

    async def _import(self, exchange: Exchange) -> web.StreamResponse:
        kind, _ = media_type(exchange.header("Content-Type"))
        if kind not in NDJSON_TYPES or exchange.header("Content-Encoding") not in ("", "identity"):
            raise Refusal(
                415,
                "http.content_type",
                ("an import is application/fhir+ndjson, not compressed", "导入须为未压缩的 application/fhir+ndjson"),
                headers={"Accept": "application/fhir+ndjson", "Accept-Encoding": "identity"},
            )
        work = Import(
            self._bound,
            self._intake,
            self._route.resources,
            self._limit,
            self._fhir.import_page,
            clean(exchange.header("Idempotency-Key"))[: _LONGEST_KEY - 12],
            exchange.remote,
            self._variables(exchange),
        )
        status, last, headers = await work.run(exchange.request, self._fhir.body_timeout)
        answer = self._answers.told(exchange, status, work.outcome(last), headers)
        if last is not None:
            answer.force_close()
        return answer


def _names(names: list[str]) -> str:
    """Names of parameters for people: only what looks like one."""
    return ", ".join(
        name if name.isascii() and name.replace("-", "").replace("_", "").isalnum() and len(name) < 40 else "…"
        for name in names[:10]
    )
