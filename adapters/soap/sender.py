"""Sending: a message becomes a SOAP call, the answer a verdict."""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from adapters.http.connection import Response
from adapters.http.options import HttpConnect
from adapters.http.sender import HttpSender
from adapters.soap.mtom import new_boundary
from adapters.soap.options import SoapConnect
from adapters.soap.reply import ReplyReader
from adapters.soap.request import RequestWriter, content_type
from hub.api import Bound, HubError, Outgoing, Reply, Sender, UnreachableError
from hub.i18n import t

if TYPE_CHECKING:
    from adapters.soap.typed import Typed

__all__ = ["SoapSender", "action_of"]

#: Above this, bytes, an envelope is written and read in a thread: the event loop must not stand still for it.
_THREAD_ABOVE = 128 << 10
_LARGEST_WSDL = 16 << 20
#: What may stand in an action as it is; the rest, which a header can't hold, is percent-encoded as in any IRI.
_IN_ACTION = " !#$&'()*+,/:;=?@[]~%|^`-._"


class SoapSender(Sender):
    """A client of one operation of a service. Connections, time limits and errors of transport are those of the HTTP adapter."""

    def __init__(self, bound: Bound) -> None:
        self._bound = bound
        self._options = options = cast(SoapConnect, bound.options)
        self._encoding = bound.contract.encoding
        self._as_json = (bound.reply_codec or bound.codec).name == "json" and not options.result
        self._typed: Typed | None = None
        self._loading = asyncio.Lock()
        self._boundary = new_boundary()
        self._writer: RequestWriter
        self._reader: ReplyReader
        self._http = self._client(action_of(options))

    def _client(self, action: str) -> HttpSender:
        options = self._options
        action = quote(action, safe=_IN_ACTION)
        headers = {"SOAPAction": f'"{action}"'} if options.version == "1.1" else {}
        return HttpSender(
            replace(self._bound, options=options.http(content_type(options, action, self._boundary), **headers))
        )

    async def start(self) -> None:
        options = self._options
        self._reader = ReplyReader(options, self._encoding)
        self._writer = RequestWriter(options, self._bound.place, self._encoding, action_of(options), self._boundary)
        await self._http.start()
        if options.wsdl:
            try:
                await self._ready(2 * options.connect_timeout)
            except UnreachableError as error:
                if error.code != "soap.wsdl_unreachable":
                    raise HubError(error.text, code=error.code) from error
                # The target is away: it is read before the first call.

    async def stop(self) -> None:
        await self._http.stop()

    async def send(self, outgoing: Outgoing) -> Reply:
        options = self._options
        large = len(outgoing.body) > _THREAD_ABOVE
        if options.wsdl:
            typed = await self._ready(outgoing.timeout)
            arguments = outgoing.body, self._encoding
            content = await asyncio.to_thread(typed.content, *arguments) if large else typed.content(*arguments)
            body = self._writer.enveloped(content, outgoing)
            read = typed.result if self._as_json else None
        else:
            body = await asyncio.to_thread(self._writer.write, outgoing) if large else self._writer.write(outgoing)
            read = None
        reply = await self._http.send(replace(outgoing, body=body))
        if len(reply.body) > _THREAD_ABOVE:
            return await asyncio.to_thread(self._reader.read, reply, read)
        return self._reader.read(reply, read)

    @property
    def capacity(self) -> int:
        return self._http.capacity

    async def probe(self) -> str:
        return await self._http.probe()

    def status(self) -> dict[str, Any]:
        options = self._options
        return {**self._http.status(), "version": options.version, "operation": options.operation}

    # -- WSDL ----------------------------------------------------------------------------------------------------

    async def _ready(self, within: float) -> Typed:
        if self._typed is not None:
            return self._typed
        try:
            async with asyncio.timeout(within):
                return await self._load()
        except TimeoutError:
            raise UnreachableError(
                t("the WSDL did not come in time, nothing was sent", "未能及时取得 WSDL，未发送任何内容"),
                code="soap.wsdl_unreachable",
            ) from None
        except HubError as error:
            raise UnreachableError(error.text, code=error.code) from error

    async def _load(self) -> Typed:
        """Read the WSDL, once, in a thread of its own."""
        async with self._loading:
            if self._typed is None:
                options = self._options
                reader = HttpSender(replace(self._bound, options=_of_the_wsdl(options)))
                await reader.start()
                pool = ThreadPoolExecutor(1, thread_name_prefix="wsdl")
                try:
                    loop = asyncio.get_running_loop()
                    typed = await loop.run_in_executor(pool, _read_wsdl, options, reader, loop)
                finally:
                    pool.shutdown(wait=False, cancel_futures=True)
                    await reader.stop()
                if typed.action != action_of(options):
                    old, self._http = self._http, self._client(typed.action)
                    await old.stop()
                    await self._http.start()
                self._writer = RequestWriter(options, self._bound.place, self._encoding, typed.action)
                self._typed = typed
            return self._typed


def _of_the_wsdl(options: SoapConnect) -> HttpConnect:
    """How the WSDL is read: with the credentials and on the way of the calls."""
    return options.http("").model_copy(update={"reply_limit": _LARGEST_WSDL, "connections": 1})


def _read_wsdl(options: SoapConnect, reader: HttpSender, loop: asyncio.AbstractEventLoop) -> Typed:
    from adapters.soap.typed import Typed  # brings zeep: 100 ms and 15 MB for those who have a WSDL

    within = options.connect_timeout

    def fetch(target: str) -> Response:
        asked = asyncio.run_coroutine_threadsafe(reader.ask("GET", target, within), loop)
        try:
            return asked.result(within + 1.0)
        except (TimeoutError, CancelledError):  # nobody waits any more: the sender was stopped
            asked.cancel()
            raise UnreachableError(t("it did not come in time", "未能及时取得"), code="http.timeout") from None

    return Typed(options, fetch)


def action_of(options: SoapConnect) -> str:
    """The SOAPAction; without one the namespace and the operation, as .NET, CXF and Ensemble make it."""
    if options.soap_action is not None:
        return options.soap_action
    if not options.operation or options.wsdl:
        return ""
    return f"{options.namespace.rstrip('/')}/{options.operation}" if options.namespace else options.operation
