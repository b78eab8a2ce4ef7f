"""Sending: a resource, a bundle or a question becomes a request of FHIR's RESTful API."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, cast

from adapters.fhir.options import FhirConnect
from adapters.fhir.reply import judged
from adapters.fhir.request import Request, RequestMaker
from adapters.http.answer import decoded
from adapters.http.caller import HttpCaller, own_credentials
from adapters.http.client import HttpClient
from adapters.http.coding import compress
from adapters.http.connection import Response
from adapters.http.request import RequestHead, header_line
from hub.api import Bound, Outgoing, Reply

__all__ = ["FhirSender"]

#: Above this, bytes, bodies are read in a thread: the event loop must not stand still for it.
_THREAD_ABOVE = 128 << 10
_GZIP_ABOVE = 1024
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass(slots=True)
class _Made(Outgoing):
    """A call with the request it becomes, which is made once."""

    request: Request = field(kw_only=True)


class FhirSender(HttpCaller):
    """A client of one FHIR server. Connections, credentials, time limits and errors of transport are those of the HTTP adapter."""

    def __init__(self, bound: Bound) -> None:
        self._fhir = options = cast(FhirConnect, bound.options)
        super().__init__(bound, options)
        self._key_header = options.idempotency_header.lower()
        self._codec = bound.codec
        self._reply_codec = bound.reply_codec or bound.codec
        self._maker = RequestMaker(bound.place, options, self._endpoint.path, bound.codec)
        accept = (
            {}
            if any(name.lower() == "accept" for name in options.headers)
            else {"Accept": self._reply_codec.content_type}
        )
        self._heads = {
            method: RequestHead(
                bound.place,
                self._endpoint,
                method,
                headers={**options.headers, **accept},
                auth=own_credentials(options),
                proxy=options.proxy,
            )
            for method in _METHODS
        }

    async def send(self, outgoing: Outgoing) -> Reply:
        if len(outgoing.body) > _THREAD_ABOVE:
            request = await asyncio.to_thread(self._maker.make, outgoing.body, outgoing.variables)
        else:
            request = self._maker.make(outgoing.body, outgoing.variables)
        given = {field.name: getattr(outgoing, field.name) for field in fields(outgoing)}
        reply = await super().send(_Made(**given, request=request))
        large = len(reply.body) > _THREAD_ABOVE
        arguments = reply, self._reply_codec, request
        return await asyncio.to_thread(judged, *arguments) if large else judged(*arguments)

    async def _exchange(
        self, client: HttpClient, outgoing: Outgoing, more: bytes, variables: Mapping[str, Any], within: float
    ) -> Response:
        request = cast(_Made, outgoing).request
        head, body = await self._written(request, outgoing, more, variables)
        response = await client.call(head, body, within, repeatable=request.repeatable)
        if response.body and b"content-encoding" in response.headers:
            response.body = await decoded(client, response)
        return response

    async def _written(
        self, request: Request, outgoing: Outgoing, more: bytes, variables: Mapping[str, Any]
    ) -> tuple[bytes, bytes]:
        body = request.body
        lines = [self._heads[request.method].fill(variables, target=request.target), more]
        lines += [header_line(name, value) for name, value in request.headers.items()]
        if self._key_header and request.method != "GET":
            lines.append(header_line(self._key_header, outgoing.idempotency_key))
        if request.content_type:
            lines.append(header_line("content-type", request.content_type))
            if self._fhir.gzip and len(body) > _GZIP_ABOVE:
                body = await compress(body)
                lines.append(b"content-encoding: gzip\r\n")
            lines.append(b"content-length: %d\r\n" % len(body))
        return b"".join(lines) + b"\r\n", body
