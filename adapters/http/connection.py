"""One keep-alive HTTP/1.1 connection to a target: writes a request, reads its reply (RFC 9110, RFC 9112).

Built for cost: no task, no stream objects and no timer per call. The timer of a connection is only moved when it fires.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from adapters.http.coding import TooLong

__all__ = ["BadReply", "Connection", "Lost", "Response", "TimedOut"]

#: Bytes of a reply that may go by without any byte of its body: status line, headers, chunk extensions, trailers.
FRAMING_LIMIT = 64 << 10
_JOIN_BELOW = 64 << 10
_PROXY_AUTH = 407


class Lost(Exception):
    """The connection ended before the reply was complete. ``started``: some byte of the reply had come."""

    def __init__(self, started: bool) -> None:
        super().__init__()
        self.started = started


class BadReply(Exception):
    """What came is not an HTTP reply; the text says why, without quoting it."""


class TimedOut(Exception):
    """The reply was not complete in time."""


class Response:
    """A complete final reply; header names in lower case, repeated headers joined by commas."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: dict[bytes, bytes], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def header(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin-1").strip()


class Connection(asyncio.Protocol):
    """The state of one connection. One call at a time; whoever holds the connection has it alone."""

    __slots__ = (
        "_body",
        "_complete",
        "_deadline",
        "_framing",
        "_future",
        "_head_done",
        "_headers",
        "_keep_alive",
        "_limit",
        "_loop",
        "_on_lost",
        "_parser",
        "_seen",
        "_size",
        "_spoiled",
        "_status",
        "_timer",
        "_timer_at",
        "_to_end",
        "_transport",
        "_without_body",
        "open",
        "reusable",
        "used",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, reply_limit: int, on_lost: Callable[[Connection], None]
    ) -> None:
        self._loop = loop
        self._limit = reply_limit
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._future: asyncio.Future[Response] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._keep_alive = False
        self._spoiled = False
        self._seen = False
        self._without_body = False
        self.open = False  #: connected, and not closing
        self.reusable = False  #: the last reply was complete and nothing forbids another call
        self.used = False  #: an earlier call went over this connection
        self._status = 0
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._size = 0  # bytes of the body
        self._framing = 0  # bytes since the last one of the body
        self._head_done = False
        self._to_end = False  # the body ends with the connection
        self._complete = False

    # -- for the pool --------------------------------------------------------------------------------------------

    def call(self, head: bytes, body: bytes, deadline: float, *, without_body: bool) -> asyncio.Future[Response]:
        """Write a request. The future ends with a :class:`Response`, or :class:`Lost`, :class:`BadReply`,
        :class:`~adapters.http.coding.TooLong` or :class:`TimedOut`; after any of these the connection is closed.

        ``deadline`` in seconds of the loop's clock; ``without_body``: the reply has none whatever it announces (HEAD).
        """
        self._future = future = self._loop.create_future()
        transport = self._transport
        if transport is None:
            self._fail(Lost(False))
            return future
        self._complete = False
        self._seen = False
        self._without_body = without_body
        self._deadline = deadline
        if self._timer is None or deadline < self._timer_at:
            self._arm()
        if len(body) < _JOIN_BELOW:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)
        return future

    def rest(self, until: float) -> None:
        """Nothing to do: close at ``until`` unless a call comes."""
        self.used = True
        self._deadline = until
        if self._timer is None or until < self._timer_at:
            self._arm()

    def close(self) -> None:
        """Close at once; a call under way ends with :class:`Lost`."""
        self.open = False
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.Protocol ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.open = True

    def data_received(self, data: bytes) -> None:
        if self._future is None:
            self.close()  # nobody asked: a server that says farewell (408), or a desynchronised one
            return
        self._seen = True
        self._framing += len(data)
        try:
            self._parser.feed_data(data)
        except TooLong as error:
            self._fail(error)
        except httptools.HttpParserUpgrade:
            self._fail(BadReply("it switches protocols, which nobody asked for"))
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self._fail(cause if isinstance(cause, TooLong | BadReply) else BadReply(type(error).__name__))
        except httptools.HttpParserError as error:
            if self._complete:
                self._spoiled = True
                self._finish()
            else:
                self._fail(BadReply(_reason(error)))
        else:
            if self._complete:
                self._finish()
            elif self._framing > FRAMING_LIMIT:
                self._fail(TooLong())

    def eof_received(self) -> bool:
        self.open = False
        if self._future is not None and self._head_done and self._to_end:
            self._complete = True
            self._finish()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        del self._parser  # it refers to this object
        if self._future is not None:
            if self._head_done and self._status == _PROXY_AUTH:
                self._finish()  # proxies say so without reading the request, and may cut off their own words
            else:
                self._fail(Lost(self._seen))
        self._on_lost(self)

    # -- httptools -----------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._complete:
            self._spoiled = True  # a second reply to one request

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_done:
            return  # a trailer: nothing here needs one
        name = name.lower()
        headers = self._headers
        headers[name] = headers[name] + b", " + value if name in headers else value

    def on_headers_complete(self) -> None:
        if self._complete:
            return
        parser = self._parser
        self._status = status = parser.get_status_code()
        if status < 200:
            if status < 100:
                raise BadReply("its status is below 100")
            if status == 101:
                raise BadReply("it switches protocols, which nobody asked for")
            return
        self._head_done = True
        self._keep_alive = parser.should_keep_alive()
        headers = self._headers
        length = headers.get(b"content-length")
        coding = headers.get(b"transfer-encoding")
        if self._without_body:
            # The parser can't be told, and would wait for the body the headers announce.
            self._complete = True
            self._parser = httptools.HttpResponseParser(self)
        elif coding is not None:
            if coding.strip().lower() != b"chunked":
                raise BadReply("it has a transfer coding other than chunked")
        elif length is None:
            self._to_end = status not in (204, 304)
        elif int(length) > self._limit:
            raise TooLong

    def on_body(self, body: bytes) -> None:
        if self._complete:
            self._spoiled = True
            return
        self._framing = 0
        self._size += len(body)
        if self._size > self._limit:
            raise TooLong
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._head_done:
            self._complete = True
        else:
            self._headers = {}  # 1xx: the reply proper is still to come

    # -- parts ---------------------------------------------------------------------------------------------------

    def _reset(self) -> None:
        self._status = 0
        self._headers = {}
        self._body = []
        self._size = 0
        self._framing = 0
        self._head_done = False
        self._to_end = False
        self._complete = False

    def _finish(self) -> None:
        future, self._future = self._future, None
        body = self._body
        response = Response(self._status, self._headers, body[0] if len(body) == 1 else b"".join(body))
        self._reset()
        self._complete = True  # whatever comes now belongs to no call
        transport = self._transport
        self.reusable = (
            self._keep_alive
            and not self._spoiled
            and self.open
            and transport is not None
            and transport.get_write_buffer_size() == 0  # answered before it had the whole request: don't trust it
        )
        if future is not None and not future.done():
            future.set_result(response)

    def _fail(self, error: Exception) -> None:
        future, self._future = self._future, None
        self._spoiled = True
        self.reusable = False
        self._reset()
        if future is not None and not future.done():
            future.set_exception(error)
        self.close()

    def _arm(self) -> None:
        """Let the timer run to the deadline. A later deadline leaves it as it is: it looks again when it fires."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._deadline
        self._timer = self._loop.call_at(self._deadline, self._due)

    def _due(self) -> None:
        self._timer = None
        if self._loop.time() < self._deadline:
            self._arm()
        elif self._future is not None:
            self._fail(TimedOut())
        else:
            self.close()


def _reason(error: Exception) -> str:
    """The parser's words, which never quote what came."""
    text = str(error)
    return text if text.isascii() and len(text) < 120 else type(error).__name__
