"""How a receipt of the hub is said in HL7 (HL7 v2.5.1 chapter 2, 2.9.2 original and 2.9.3 enhanced mode).

==================  =========================================================================================
MSH-15, MSH-16      answer
==================  =========================================================================================
both empty          original mode: AA stored, AE not now (or the request failed), AR can't be accepted
MSH-15 asks         enhanced mode: CA, CE, CR, once, as soon as the message is stored. The hub accepts on behalf of the
                    application; an application acknowledgement follows on the same connection only in request
                    style, where it is the target's answer (AE when the request failed, AR when the target refuses it)
only MSH-16 asks    the application acknowledgement AA, AE, AR
neither asks        nothing
==================  =========================================================================================

"Asks" follows table 0155: AL always, NE never, ER only when refused, SU only when accepted; any other value counts as
empty. In request style an empty MSH-16 counts as AL: whoever makes a request wants the answer.
What validation found is told in ERR segments: with AR or CR as the reasons, with AA or CA as warnings.
The option ``ack`` replaces these rules: ``original`` and ``enhanced`` always answer in their mode, ``none`` never answers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from adapters.mllp.framing import BREAKS_FRAME
from adapters.mllp.header import conditions_of, decode_segment, read_conditions
from hub.api import CodecError, ExchangeError, HubError, Receipt, StoreBusy
from hub.codecs.hl7_ack import accepted_ack, build_ack, plain_header
from hub.i18n import t
from hub.masking import mask_text

__all__ = ["Acknowledger", "batch_answer"]

_LONGEST_TEXT = 400
#: Findings of validation told in one answer.
_MOST_FINDINGS = 20
#: HL7 table 0357, message error condition codes.
_INTERNAL_ERROR = "207"
_SEQUENCE_ERROR = "100"


class Acknowledger:
    """The rules of one interface: its option ``ack`` and whether it is in request style."""

    __slots__ = ("_policy", "_request", "_wishes")

    def __init__(self, policy: str, request: bool) -> None:
        self._policy = policy
        self._request = request
        conditions = ("", "AL", "NE", "ER", "SU")
        self._wishes = {(a, b): self._effective(a, b) for a in conditions for b in conditions}

    def answers(self, raw: bytes, receipt: Receipt) -> list[bytes]:
        """The messages that answer ``raw``, in order, unframed; usually one, none where the sender wants none."""
        if self._policy == "none":
            return []
        header = plain_header(raw)
        wish = self._wishes[read_conditions(raw) if header is None else conditions_of(header)]
        if receipt.accepted:
            if receipt.reply is None or not self._request:
                code = wish.codes[0]
                if not code:
                    return []
                if receipt.findings:
                    return [build_ack(raw, code, findings=receipt.findings[:_MOST_FINDINGS])]
                return [build_ack(raw, code) if header is None else accepted_ack(header, code)]
            if BREAKS_FRAME.search(receipt.reply):
                text = t("the reply contains 0x1C where MLLP would end it", "应答中含有会使 MLLP 帧提前结束的 0x1C")
                return self._exchanged(raw, wish, "E", build_ack(raw, "AE", text, _INTERNAL_ERROR))
            return self._exchanged(raw, wish, "A", receipt.reply)
        error = receipt.error or HubError(t("refused by the hub", "平台拒绝接收"))
        if self._request and receipt.message_id and not isinstance(error, StoreBusy):
            # Accepted and stored, but the exchange with the target failed: the application's error, not the hub's.
            if receipt.reply is not None and not BREAKS_FRAME.search(receipt.reply):
                return self._exchanged(raw, wish, "E", receipt.reply)  # what the contract makes of the target's refusal
            return self._exchanged(raw, wish, "E", build_ack(raw, _failure(error), _text(error), _INTERNAL_ERROR))
        return _refused(raw, wish, error, receipt.findings[:_MOST_FINDINGS])

    def refusal(self, raw: bytes, error: HubError) -> list[bytes]:
        """The answer to a frame that is not handed to the intake at all; ``raw`` may be only its beginning.

        A batch is answered through the header of its first message.
        """
        if self._policy == "none":
            return []
        at = raw.find(b"MSH")
        if at > 0:
            raw = raw[at:]
        return _refused(raw, self._wishes[read_conditions(raw)], error)

    def _effective(self, accept: str, application: str) -> _Wish:
        """MSH-15 and MSH-16 after the policy."""
        implied = "AL" if self._request else "NE"
        if self._policy == "enhanced":
            return _Wish("AL", application or implied)
        if self._policy == "original" or not (accept or application):
            return _Wish("", "AL")
        return _Wish(accept or "NE", application or implied)

    def _exchanged(self, raw: bytes, wish: _Wish, letter: str, reply: bytes) -> list[bytes]:
        """The answer to a request that was stored: accept acknowledgement and reply, as far as they are wanted."""
        found = [build_ack(raw, "CA")] if _asks(wish.accept, "A") else []
        if _asks(wish.application, letter):
            found.append(reply)
        return found


class _Wish:
    """Which acknowledgements a sender wants."""

    __slots__ = ("accept", "application", "codes")

    def __init__(self, accept: str, application: str) -> None:
        self.accept = accept  # table 0155; "" in original mode
        self.application = application
        self.codes = tuple(self._code(letter) for letter in "AER")  # for a single answer; "" = none

    def _code(self, letter: str) -> str:
        if _asks(self.accept, letter):
            return "C" + letter
        return "A" + letter if _asks(self.application, letter) else ""


def batch_answer(raw: bytes, messages: list[bytes]) -> bytes:
    """One message or batch that holds the answers to the messages of the batch ``raw``, in their order.

    Headers of the batch (FHS, BHS) are answered with headers that name sender and receiver the other way round.
    """
    body = b"".join(message if message.endswith(b"\r") else message + b"\r" for message in messages)
    raw = raw.lstrip(b"\r\n \t\xef\xbb\xbf")
    segments = raw[:65536].replace(b"\n", b"\r").split(b"\r", 4)
    heads = {segment[:3]: segment for segment in reversed(segments[:4]) if segment[:3] in (b"FHS", b"BHS")}
    if b"BHS" in heads:
        head, separator = _mirrored(heads[b"BHS"])
        body = head + body + b"BTS" + separator + b"%d\r" % len(messages)
    if b"FHS" in heads:
        head, separator = _mirrored(heads[b"FHS"])
        body = head + body + b"FTS" + separator + b"1\r"
    return body


def _asks(condition: str, letter: str) -> bool:
    """Table 0155, for an answer ending in ``letter``: A accepted, E or R not."""
    if condition == "AL":
        return True
    if condition == "SU":
        return letter == "A"
    return condition == "ER" and letter != "A"


def _refused(raw: bytes, wish: _Wish, error: HubError, findings: Sequence[Mapping[str, str]] = ()) -> list[bytes]:
    code = wish.codes[1 if isinstance(error, StoreBusy) else 2]
    if not code:
        return []
    error_code = _SEQUENCE_ERROR if isinstance(error, CodecError) else _INTERNAL_ERROR
    return [build_ack(raw, code, _text(error), error_code, findings)]


def _failure(error: HubError) -> str:
    """AR for what a target would not take if it came again, unless it says itself what it is; else AE."""
    if not isinstance(error, ExchangeError) or error.kind != "refused":
        return "AE"
    return error.reply_code if error.reply_code in ("AE", "AR") else "AR"


def _text(error: HubError) -> str:
    return mask_text(str(error))[:_LONGEST_TEXT]


def _mirrored(segment: bytes) -> tuple[bytes, bytes]:
    """A batch or file header that answers this one, and the field separator."""
    text, charset = decode_segment(segment)
    separator = text[3:4] or "|"
    fields = text[3:].split(separator)
    fields += [""] * (12 - len(fields))
    now = time.time_ns()
    stamp = time.strftime("%Y%m%d%H%M%S", time.localtime(now // 1_000_000_000))
    parts = [fields[1], *fields[4:6], *fields[2:4], stamp, "", "", "", str(now // 1000), fields[10]]
    line = text[:3] + separator + separator.join(parts) + "\r"
    return line.encode(charset, "replace"), separator.encode(charset)
