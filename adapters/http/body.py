"""The body of a call: read as it comes, never more than the limits, its content codings undone."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl

import orjson
from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError

from adapters.http.coding import ACCEPT_ENCODING, BadCoding, TooLong, UnknownCoding, codings, decode_async
from adapters.http.problem import RETRY_AFTER, Refusal

__all__ = ["BodyReader", "query_object"]

_MOST_QUERY_FIELDS = 1000
#: Bodies up to so many bytes are always read: what others hold must not keep them out.
_SMALL = 64 << 10
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BodyReader:
    """The bodies of one interface: ``limit`` bytes each, ``most`` bytes of unfinished large ones, ``within`` seconds each."""

    def __init__(self, limit: int, most: int, within: float) -> None:
        self._limit = limit
        self._most = most
        self._within = within
        self.buffered = 0  # bytes of unfinished large bodies

    async def read(self, request: web.BaseRequest) -> bytes:
        """Raises :class:`Refusal`."""
        headers = request.headers
        try:
            applied = codings(headers["Content-Encoding"]) if "Content-Encoding" in headers else []
        except UnknownCoding as error:
            shown = "".join(char if char.isprintable() else "?" for char in str(error))
            raise Refusal(
                415,
                "http.content_encoding",
                (f"the content coding {shown} is not understood", f"不支持内容编码 {shown}"),
                (f"use {ACCEPT_ENCODING}", f"请使用 {ACCEPT_ENCODING}"),
                {"Accept-Encoding": ACCEPT_ENCODING},
            ) from None
        body = await self._read(request)
        if applied and body:
            try:
                body = await decode_async(body, applied, self._limit)
            except TooLong:
                raise self.too_large() from None
            except BadCoding as error:
                raise Refusal(
                    400,
                    "http.content_encoding",
                    (
                        f"the body is not what Content-Encoding says: {error}",
                        f"消息体与 Content-Encoding 不符：{error}",
                    ),
                ) from None
        return body

    async def _read(self, request: web.BaseRequest) -> bytes:
        content = request.content
        if content.is_eof():
            return content.read_nowait()
        if "Expect" in request.headers and request.version >= HttpVersion11:
            await request.writer.write(_CONTINUE)
            request.writer.output_size = 0
        pieces: list[bytes] = []
        size = counted = 0
        try:
            async with asyncio.timeout(self._within):
                while piece := await content.readany():
                    size += len(piece)
                    if size > self._limit:
                        raise self.too_large()
                    if size > _SMALL:
                        self.buffered += size - counted
                        counted = size
                        if self.buffered > self._most:
                            raise self._no_room()
                    pieces.append(piece)
        except TimeoutError:
            limit = f"{self._within:g}"
            raise Refusal(
                408,
                "http.body_timeout",
                (f"the body was not complete within {limit} s", f"消息体未在 {limit} 秒内接收完整"),
                headers={"Connection": "close"},
            ) from None
        except (ConnectionError, HttpProcessingError, web.RequestPayloadError):
            raise Refusal(
                400,
                "http.body_incomplete",
                ("the body is cut short or its framing is broken", "消息体不完整或分块格式错误"),
                headers={"Connection": "close"},
            ) from None
        finally:
            self.buffered -= counted
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def too_large(self) -> Refusal:
        limit = self._limit
        return Refusal(
            413,
            "http.too_large",
            (f"this interface takes messages of at most {limit} bytes", f"该接口最多接收 {limit} 字节的消息"),
            ("split the message, or have max_size of the interface raised", "请拆分消息，或调大该接口的 max_size"),
        )

    def _no_room(self) -> Refusal:
        return Refusal(
            503,
            "http.no_room",
            ("too many large messages at once; nothing was stored", "同时到达的大消息过多，未存储任何内容"),
            ("send the same again later, or have max_buffered raised", "请稍后重发，或调大 max_buffered"),
            {"Retry-After": RETRY_AFTER, "Connection": "close"},
        )


def query_object(request: web.BaseRequest, parts: dict[str, str]) -> bytes:
    """Query parameters and path parts as a JSON object; a repeated parameter becomes a list, a path part wins."""
    query = request.raw_path.partition("?")[2]
    found: dict[str, str | list[str]] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=_MOST_QUERY_FIELDS)
        for name, value in pairs:
            earlier = found.get(name)
            if earlier is None:
                found[name] = value
            elif isinstance(earlier, list):
                earlier.append(value)
            else:
                found[name] = [earlier, value]
        return orjson.dumps(found | parts)
    except (ValueError, TypeError):
        raise Refusal(
            400,
            "http.query",
            ("the query is not UTF-8 or has too many parameters", "查询参数不是 UTF-8 编码或数量过多"),
        ) from None
