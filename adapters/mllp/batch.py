"""Several messages in one frame: each is handed to the intake, all are answered in one frame, in their order."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from adapters.mllp.acknowledge import batch_answer
from adapters.mllp.framing import frame
from hub.api import CodecError, HubError, Receipt, StoreBusy
from hub.codecs.hl7v2 import split_batch
from hub.i18n import t

if TYPE_CHECKING:
    from adapters.mllp.connection import Connection

__all__ = ["BatchExchange", "is_batch"]

_BLANK = b"\r\n \t\xef\xbb\xbf"


def is_batch(raw: bytes) -> bool:
    """A file or batch (FHS, BHS), or several messages one after the other."""
    first = raw[:3]
    if first != b"MSH":
        first = raw[:64].lstrip(_BLANK)[:3]
    return first in (b"FHS", b"BHS") or b"\rMSH" in raw or b"\nMSH" in raw


class BatchExchange:
    """The messages of one frame. At most ``max_in_flight`` of them are with the intake at once.

    When the hub is busy in the middle, the rest is refused as well, so that sending again keeps the order.
    """

    __slots__ = ("_advancing", "_answers", "_connection", "_messages", "_next", "_open", "_raw", "reply")

    def __init__(self, connection: Connection, raw: bytes) -> None:
        """Raises :class:`CodecError` for a batch that holds no message or too many."""
        limit = connection.receiver.options.max_batch
        count = raw.count(b"\rMSH") + raw.count(b"\nMSH")
        if count > limit:
            raise CodecError(
                t(f"more than {limit} messages in one batch", f"一个批次超过 {limit} 条消息"),
                place="BHS",
                code="mllp.batch_too_large",
                remedy=t("send smaller batches or raise max_batch", "请减小批次或调大 max_batch"),
            )
        self._messages = split_batch(raw)
        self.reply: bytes | None = None
        self._connection = connection
        self._raw = raw
        self._answers: list[list[bytes] | None] = [None] * len(self._messages)
        self._next = 0
        self._open = 0
        self._advancing = False

    def advance(self) -> None:
        """Hand over as many messages as the limit allows; answer when the last one is done."""
        if self._advancing:
            return
        connection = self._connection
        receiver = connection.receiver
        self._advancing = True
        while self._next < len(self._messages) and self._open < receiver.max_in_flight and not connection.lost:
            number = self._next
            self._next += 1
            self._open += 1
            receiver.intake.submit(
                receiver.bound, self._messages[number], partial(self._done, number), remote=connection.remote
            )
        self._advancing = False
        if self._next == len(self._messages) and not self._open and self.reply is None and not connection.lost:
            self._complete()

    def _done(self, number: int, receipt: Receipt) -> None:
        receiver = self._connection.receiver
        self._open -= 1
        found = receiver.acknowledger.answers(self._messages[number], receipt)
        self._answers[number] = found
        if receipt.error is not None:
            self._connection.not_taken(receipt.error, told=bool(found))
            if isinstance(receipt.error, StoreBusy):
                self._refuse_rest(receipt.error)
        self.advance()

    def _refuse_rest(self, error: HubError) -> None:
        acknowledger = self._connection.receiver.acknowledger
        for number in range(self._next, len(self._messages)):
            self._answers[number] = acknowledger.refusal(self._messages[number], error)
        self._next = len(self._messages)

    def _complete(self) -> None:
        messages = [message for found in self._answers if found for message in found]
        self.reply = frame(batch_answer(self._raw, messages)) if messages else b""
        self._connection.completed(self)
