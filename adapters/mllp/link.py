"""One outgoing MLLP connection: one message under way at a time."""

from __future__ import annotations

import asyncio

from adapters.mllp.framing import FrameReader, FrameTooLarge, frame
from adapters.mllp.header import Header
from adapters.streams.link import StreamLink
from hub.api import CodecError, TransientError
from hub.codecs.hl7_ack import parse_ack
from hub.i18n import t

__all__ = ["Acknowledgement", "Link", "no_frame"]

REPLY_LIMIT = 1 << 20
_STRAY_LIMIT = 64 << 10


class Acknowledgement:
    """The reply that ended an exchange."""

    __slots__ = ("body", "code", "text")

    def __init__(self, body: bytes, code: str, text: str) -> None:
        self.body = body
        self.code = code
        self.text = text


class Link(StreamLink):
    """Protocol of an outgoing connection.

    A reply belongs to the message under way when its MSA-2 is the MSH-10 sent. Other replies are dropped and counted,
    except a refusal with an empty MSA-2: a target that could not read the header has no number to give back.
    """

    def __init__(self) -> None:
        super().__init__()
        self._reader = FrameReader(REPLY_LIMIT)
        self._waiting: asyncio.Future[Acknowledgement] | None = None
        self._header = Header("", "", "")
        self._past_accept = False

    # -- use ---------------------------------------------------------------------------------------------------

    async def exchange(self, body: bytes, header: Header, *, past_accept: bool) -> Acknowledgement:
        """Send a message and wait for its acknowledgement; with ``past_accept`` a CA is not the end of it.

        Raises :class:`TransientError` when the connection is lost or what comes back is no acknowledgement. The link
        can't be used again after any exception, a cancellation included: a late reply must not meet another message.
        """
        self._header = header
        self._past_accept = past_accept
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            self._transport.write(frame(body))
            return await self._waiting
        except BaseException:
            self.close()
            raise
        finally:
            self._waiting = None

    @property
    def stray(self) -> int:
        """Bytes outside frames since the last frame; 0 when they are only blanks."""
        return self._reader.outside if self._reader.stray.strip() else 0

    # -- transport ---------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        reader.feed(data)
        try:
            while self.alive:
                # A reply is complete at its 0x1C even if nothing follows: the target waits for us now, not we for it.
                reply = reader.next()
                if reply is None:
                    reply = reader.settle()
                    if reply is None:
                        break
                if reply:
                    self._take(reply)
        except FrameTooLarge as error:
            self._fail(
                t(f"the reply is larger than {error.limit} bytes", f"应答超过 {error.limit} 字节"),
            )
        if reader.outside > _STRAY_LIMIT:
            self._fail(no_frame(reader.outside))

    def connection_lost(self, exc: Exception | None) -> None:
        self.alive = False
        if self.stray:
            self._fail(no_frame(self.stray))
        else:
            reason = f" ({exc.strerror})" if isinstance(exc, OSError) and exc.strerror else ""
            self._fail(
                t(
                    f"the connection was lost before the acknowledgement came{reason}",
                    f"未收到应答，连接已中断{reason}",
                )
            )

    # -- replies -----------------------------------------------------------------------------------------------

    def _take(self, reply: bytes) -> None:
        waiting = self._waiting
        if waiting is None or waiting.done():
            self.mismatched += 1
            return
        try:
            code, control_id, text = parse_ack(reply)
        except CodecError as error:
            self._fail(t(f"the reply is no acknowledgement: {error}", f"应答不是有效的确认消息：{error}"))
            return
        wanted = self._header.control_id
        positive = code in ("AA", "CA")
        if wanted and control_id.strip() != wanted and (control_id or positive):
            self.mismatched += 1
            return
        if code == "CA" and self._past_accept:
            return
        waiting.set_result(Acknowledgement(reply, code, text))

    def _fail(self, text: str) -> None:
        waiting = self._waiting
        if waiting is not None and not waiting.done():
            waiting.set_exception(TransientError(text, code="mllp.no_reply"))
        if self.alive:
            self.close()


def no_frame(count: int) -> str:
    """Text for a peer that answers with something else than MLLP."""
    return t(f"{count} bytes came back that are no MLLP frame", f"收到 {count} 字节，但不是 MLLP 帧")
