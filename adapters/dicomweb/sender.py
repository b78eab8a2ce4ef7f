"""STOW-RS, QIDO-RS and WADO-RS as a client.

On aiohttp's client, not on the one of the adapter ``http``: objects go out and come in piece by piece, and that one holds whole bodies.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from adapters.dicom.content import pieces
from adapters.dicom.model import dumps
from adapters.dicom.objects import IncomingFile, ObjectFolder
from adapters.dicom.references import file_head, reference_of
from adapters.dicom.status import reply_of
from adapters.dicom.storage import message_of
from adapters.dicomweb.options import DicomWebConnect
from adapters.dicomweb.query import keys_of, retrieve_path, search_path
from adapters.tls import client_context
from hub.api import (
    Bound,
    CodecError,
    HubError,
    Outgoing,
    PermanentError,
    Reply,
    Sender,
    TransientError,
    UnreachableError,
)
from hub.codecs.dicom_read import read_file
from hub.codecs.dicom_set import DicomTree
from hub.i18n import t
from hub.masking import mask_text
from hub.tasks import again

__all__ = ["DicomWebSender"]

_JSON = "application/dicom+json"
_CHUNK = 256 << 10
_FAILED, _REASON = "00081198", "00081197"
_NOTHING = {"wado": b'{"completed":0,"objects":[]}', "metadata": b"[]"}
_CLEAN_EVERY_S = 3600.0
_UNAVAILABLE = (502, 503, 504)
_TRANSIENT = (408, 425, 429, 500, *_UNAVAILABLE)
_EXCERPT = 200


class DicomWebSender(Sender):
    """A client of one DICOMweb service."""

    def __init__(self, bound: Bound) -> None:
        options = bound.options
        if not isinstance(options, DicomWebConnect):
            raise TypeError("bound.options must be DicomWebConnect")
        self._bound = bound
        self._options = options
        self._folder = ObjectFolder(bound.data, bound.place, 0, options.max_object)
        self._session: aiohttp.ClientSession | None = None
        self._cleaner: asyncio.Task[None] | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._secure = options.url.startswith("https")
        self._context: ssl.SSLContext | None = None
        self._target = urlsplit(options.url).netloc

    # -- Sender --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        options = self._options
        self._context = client_context(options.tls) if self._secure else None
        self._threads = ThreadPoolExecutor(options.connections, thread_name_prefix="dicomweb")
        if options.service == "wado":
            await self._in_thread(self._folder.open)
            self._cleaner = asyncio.get_running_loop().create_task(self._clean())
        headers = {"User-Agent": "tongqu"}
        if options.auth is not None:
            secret = options.auth.secret.get_secret_value()
            if options.auth.type == "basic":
                pair = base64.b64encode(f"{options.auth.user}:{secret}".encode()).decode()
                headers["Authorization"] = f"Basic {pair}"
            elif options.auth.type == "bearer":
                headers["Authorization"] = f"Bearer {secret}"
            else:
                headers[options.auth.header] = secret
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=options.connections, keepalive_timeout=options.idle_timeout),
            headers=headers,
            auto_decompress=True,
        )

    async def stop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        cleaner, self._cleaner = self._cleaner, None
        if cleaner is not None:
            cleaner.cancel()
            await asyncio.gather(cleaner, return_exceptions=True)
        threads, self._threads = self._threads, None
        if threads is not None:
            await asyncio.get_running_loop().run_in_executor(None, threads.shutdown)

    @property
    def capacity(self) -> int:
        return self._options.connections

    async def send(self, outgoing: Outgoing) -> Reply:
        service = self._options.service
        try:
            async with asyncio.timeout(outgoing.timeout):
                if service == "stow":
                    return await self._stow(outgoing.body)
                keys, asked = keys_of(outgoing.body)
                if service == "qido":
                    return await self._search(keys)
                reply = await self._retrieve(keys)
                if asked and reply.status == 404:  # somebody asks the hub for what is not there: that is an answer
                    return Reply(True, _NOTHING[service], 404, "404")
                return reply
        except TimeoutError:
            raise TransientError(
                t(
                    f"{self._target} did not answer within {outgoing.timeout:g} s",
                    f"{self._target} 在 {outgoing.timeout:g} 秒内未应答",
                ),
                code="http.timeout",
            ) from None
        except HubError as error:
            if isinstance(error, PermanentError | TransientError | UnreachableError):
                raise
            raise PermanentError(error.text, code=error.code) from error

    async def probe(self) -> str:
        started = time.perf_counter()
        limit = self._options.connect_timeout * 2
        try:
            async with asyncio.timeout(limit):
                reply = await self._call("GET", "/studies?limit=1", {"Accept": _JSON})
        except TimeoutError:
            raise TransientError(
                t(f"{self._target} did not answer within {limit:g} s", f"{self._target} 在 {limit:g} 秒内未应答"),
                code="http.timeout",
            ) from None
        if not reply.ok:
            raise TransientError(reply.error, code=reply.code)
        took = (time.perf_counter() - started) * 1000
        return t(f"{reply.code} in {took:.0f} ms", f"{reply.code}，用时 {took:.0f} 毫秒")

    def status(self) -> dict[str, Any]:
        return {"target": self._target, "tls": self._secure, "service": self._options.service}

    # -- services ------------------------------------------------------------------------------------------------

    async def _stow(self, body: bytes) -> Reply:
        head, content = await self._in_thread(_as_file, body, self._bound.data)
        boundary = f"tongqu-{secrets.token_hex(16)}"
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'

        async def parts() -> AsyncIterator[bytes]:
            yield f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + head
            while (piece := await self._in_thread(next, content, None)) is not None:
                yield piece
            yield f"\r\n--{boundary}--\r\n".encode()

        reply = await self._call("POST", "/studies", {"Content-Type": kind, "Accept": _JSON}, parts())
        reason = _failure(reply.body)
        if reason is None:
            return reply
        told = reply_of(reason, None, body=reply.body)
        told.status = reply.status
        return told

    async def _search(self, keys: dict[str, Any]) -> Reply:
        reply = await self._call("GET", search_path(keys, self._options.level), {"Accept": _JSON})
        if reply.ok and not reply.body:
            reply.body = b"[]"  # 204: nothing found
        return reply

    async def _retrieve(self, keys: dict[str, Any]) -> Reply:
        path = retrieve_path(keys)
        if self._options.service == "metadata":
            return await self._call("GET", f"{path}/metadata", {"Accept": _JSON})
        accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        return await self._call("GET", path, {"Accept": accept}, read=self._objects)

    async def _objects(self, response: aiohttp.ClientResponse) -> bytes:
        """The objects of an answer go to the disk one by one; the reply refers to them."""
        found: list[dict[str, Any]] = []
        reader = aiohttp.MultipartReader.from_response(response)
        while (part := await reader.next()) is not None:
            if not isinstance(part, aiohttp.BodyPartReader) or len(found) >= self._options.max_parts:
                raise ValueError("parts")
            incoming = IncomingFile(self._folder)
            try:
                while piece := await part.read_chunk(_CHUNK):
                    await self._in_thread(incoming.write, piece)
                raw, tree = await self._in_thread(message_of, incoming)
            finally:
                await self._in_thread(incoming.close)
            reference = reference_of(read_file(raw))
            if reference is not None:
                found.append(reference.told(str(tree.get("SOPInstanceUID")), str(tree.get("SOPClassUID"))))
        return dumps({"completed": len(found), "objects": found})

    # -- calls ---------------------------------------------------------------------------------------------------

    async def _call(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        data: AsyncIterator[bytes] | None = None,
        read: Callable[[aiohttp.ClientResponse], Any] | None = None,
    ) -> Reply:
        session, options = self._session, self._options
        if session is None:
            raise UnreachableError(
                t(f"{self._bound.place} is not started", f"{self._bound.place} 尚未启动"), code="http.stopped"
            )
        limits = aiohttp.ClientTimeout(total=None, sock_connect=options.connect_timeout)
        try:
            async with session.request(
                method,
                options.url + path,
                headers=headers,
                data=data,
                timeout=limits,
                allow_redirects=False,
                ssl=self._context if self._context is not None else True,
                server_hostname=options.tls.server_name or None,
            ) as response:
                ok = 200 <= response.status < 300
                if ok and read is not None:
                    return Reply(True, await read(response), response.status, str(response.status))
                body = await self._body(response)
        except aiohttp.ClientConnectorCertificateError as error:
            raise UnreachableError(
                t(f"the certificate of {self._target} is not trusted", f"{self._target} 的证书不受信任"),
                code="tls.verify",
            ) from error
        except aiohttp.ClientConnectorError as error:
            reason = getattr(error.os_error, "strerror", None) or type(error.os_error).__name__
            raise UnreachableError(
                t(f"no connection to {self._target}: {reason}", f"无法连接 {self._target}：{reason}"),
                code="http.unreachable",
            ) from error
        except aiohttp.ConnectionTimeoutError:
            raise UnreachableError(
                t(f"{self._target} did not accept a connection in time", f"{self._target} 未在规定时间内接受连接"),
                code="http.connect_timeout",
            ) from None
        except (aiohttp.ClientError, ValueError, OSError, AssertionError) as error:
            if self._session is None:
                raise TransientError(t("the hub is stopping", "平台正在停止"), code="http.stopped") from None
            raise TransientError(
                t(
                    f"the call of {self._target} broke off ({type(error).__name__}); its outcome is unknown",
                    f"调用 {self._target} 中断（{type(error).__name__}），结果未知",
                ),
                code="http.lost",
            ) from None
        return Reply(
            ok,
            body,
            response.status,
            str(response.status),
            "" if ok else _error_text(response, body),
            transient=response.status in _TRANSIENT,
            unavailable=response.status in _UNAVAILABLE,
        )

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        limit = self._options.reply_limit
        held: list[bytes] = []
        size = 0
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > limit:
                raise PermanentError(
                    t(
                        f"the answer of {self._target} is larger than reply_limit ({limit} bytes)",
                        f"{self._target} 的应答超过 reply_limit（{limit} 字节）",
                    ),
                    code="http.reply_too_large",
                )
            held.append(piece)
        return b"".join(held)

    async def _clean(self) -> None:
        keep = self._options.keep
        await again(self._bound.place, lambda: self._in_thread(self._folder.clean, keep), min(_CLEAN_EVERY_S, keep))

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)


def _as_file(body: bytes, data: Any) -> tuple[bytes, Iterator[bytes]]:
    """(preamble and meta information, data set piece by piece) of a body, with what is on the disk."""
    file, content = pieces(body, data)
    reference = reference_of(file)
    if reference is not None:
        tree = DicomTree(body, file, "")
        return file_head(
            str(tree.get("MediaStorageSOPClassUID")), str(tree.get("MediaStorageSOPInstanceUID")), file.syntax.uid
        ), content
    if not file.meta or not file.head:
        raise CodecError(
            t("DICOMweb takes DICOM files, with meta information", "DICOMweb 需要带元信息的 DICOM 文件"),
            code="dicom.file",
        )
    return body[: max(place.end for place in file.meta.values())], content


def _failure(body: bytes) -> int | None:
    """The reason of the first object that failed, of an answer to STOW-RS; None where none did."""
    try:
        tree = orjson.loads(body)
        item = tree[_FAILED]["Value"][0]
        return int(item.get(_REASON, {}).get("Value", [0x0110])[0])
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None


def _error_text(response: aiohttp.ClientResponse, body: bytes) -> str:
    text = f"HTTP {response.status} {response.reason or ''}".rstrip()
    kind = response.headers.get("Content-Type", "")
    if not any(word in kind for word in ("json", "xml", "text/plain")):
        return text
    said = body[:_EXCERPT].decode("utf-8", "replace")
    said = " ".join("".join(char if char.isprintable() else " " for char in said).split())
    return f"{text}: {mask_text(said)}" if said else text
