"""Sending: an outgoing call becomes an HTTP request, the answer a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from adapters.http.answer import decoded
from adapters.http.caller import HttpCaller, own_credentials
from adapters.http.client import HttpClient
from adapters.http.coding import compress
from adapters.http.connection import Response
from adapters.http.options import HttpConnect
from adapters.http.request import RequestHead, header_line
from hub.api import Bound, Outgoing

__all__ = ["HttpSender"]

_BODILESS = frozenset(("GET", "HEAD", "DELETE"))
_IDEMPOTENT = frozenset(("GET", "HEAD", "PUT", "DELETE"))  # RFC 9110, 9.2.2
_GZIP_ABOVE = 1024


class HttpSender(HttpCaller):
    """A client of one HTTP interface."""

    def __init__(self, bound: Bound) -> None:
        self._options = options = cast(HttpConnect, bound.options)
        super().__init__(bound, options)
        self._bodiless = options.method in _BODILESS
        self._asks_head = options.method == "HEAD"
        self._head = RequestHead(
            bound.place,
            self._endpoint,
            options.method,
            path=options.path,
            query=options.query,
            query_text=options.query_text,
            headers=options.headers,
            auth=own_credentials(options),
            content_type="" if self._bodiless else options.content_type or bound.codec.content_type,
            proxy=options.proxy,
        )
        self._key_header = options.idempotency_header.lower()
        self._repeatable = bool(options.idempotency_header) or options.method in _IDEMPOTENT
        #: Request line and headers where every call has the same.
        self._start = None if self._head.names else self._head.fill({})

    async def _exchange(
        self, client: HttpClient, outgoing: Outgoing, more: bytes, variables: Mapping[str, Any], within: float
    ) -> Response:
        start = self._start if self._start is not None else self._head.fill(variables)
        if self._key_header:
            more += header_line(self._key_header, outgoing.idempotency_key)
        if self._bodiless:
            body = b""
            head = b"%b%b\r\n" % (start, more)
        else:
            body = outgoing.body
            if self._options.gzip and len(body) > _GZIP_ABOVE:
                body = await compress(body)
                more += b"content-encoding: gzip\r\n"
            head = b"%b%bcontent-length: %d\r\n\r\n" % (start, more, len(body))
        response = await client.call(head, body, within, repeatable=self._repeatable, without_body=self._asks_head)
        if response.body and b"content-encoding" in response.headers:
            response.body = await decoded(client, response)
        return response
