"""How a receipt of the hub is said in HL7 (HL7 v2.5.1 chapter 2, 2.9.2 original and 2.9.3 enhanced mode).

==================  =========================================================================================
MSH-15, MSH-16      answer
==================  =========================================================================================
both empty          original mode: AA stored, AE not now (or the request failed), AR can't be accepted
MSH-15 asks         enhanced mode: CA, CE, CR, once, as soon as the message is stored. The hub accepts on behalf of the
                    application; an application acknowledgement follows on the same connection only in request
                    style, where it is the target's answer (AE when the request failed)
only MSH-16 asks    the application acknowledgement AA, AE, AR
neither asks        nothing
==================  =========================================================================================

"Asks" follows table 0155: AL always, NE never, ER only when refused, SU only when accepted; any other value counts as
empty. In request style an empty MSH-16 counts as AL: whoever makes a request wants the answer.
The option ``ack`` replaces these rules: ``original`` and ``enhanced`` always answer in their mode, ``none`` never answers.
"""

from __future__ import annotations

import time

from adapters.mllp.header import Header, decode_segment, read_header
from hub.api import CodecError, HubError, Receipt, StoreBusy
from hub.codecs.hl7_ack import build_ack
from hub.i18n import t
from hub.masking import mask_text

__all__ = ["answers", "batch_answer", "refusal"]

_LONGEST_TEXT = 400
#: HL7 table 0357, message error condition codes.
_INTERNAL_ERROR = "207"
_SEQUENCE_ERROR = "100"


def answers(raw: bytes, receipt: Receipt, policy: str, request: bool) -> list[bytes]:
    """The messages that answer ``raw``, in order, unframed; usually one, none where the sender wants none.

    ``policy`` is the option ``ack``; ``request`` says that the interface is in request style.
    """
    if policy == "none":
        return []
    header = _header(raw, policy, request)
    if receipt.accepted:
        if not request or receipt.reply is None:
            return _single(raw, header, "A", "", "")
        found = [build_ack(raw, "CA")] if _asks(header.accept, "A") else []
        if not header.accept or _asks(header.application, "A"):
            found.append(receipt.reply)
        return found
    error = receipt.error or HubError(t("refused by the hub", "平台拒绝接收"))
    if request and receipt.message_id and not isinstance(error, StoreBusy):
        # Accepted and stored, but the exchange with the target failed: that is the application's error, not the hub's.
        found = [build_ack(raw, "CA")] if _asks(header.accept, "A") else []
        if not header.accept or _asks(header.application, "E"):
            found.append(build_ack(raw, "AE", _text(error), _INTERNAL_ERROR))
        return found
    return _refused(raw, header, error)


def refusal(raw: bytes, error: HubError, policy: str, request: bool) -> list[bytes]:
    """The answer to a frame that is not handed to the intake at all; ``raw`` may be only its beginning.

    A batch is answered through the header of its first message.
    """
    at = raw.find(b"MSH")
    if at > 0:
        raw = raw[at:]
    return [] if policy == "none" else _refused(raw, _header(raw, policy, request), error)


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


def _header(raw: bytes, policy: str, request: bool) -> Header:
    """The header as the policy sees it; in enhanced mode ``accept`` is never empty."""
    header = read_header(raw)
    if policy == "original" or not (header.accept or header.application):
        wanted = Header(header.control_id, "", "")
        return wanted if policy != "enhanced" else Header(header.control_id, "AL", "AL" if request else "")
    if policy == "enhanced":
        return Header(header.control_id, "AL", header.application or ("AL" if request else ""))
    return Header(header.control_id, header.accept or "NE", header.application or ("AL" if request else "NE"))


def _asks(condition: str, letter: str) -> bool:
    """Table 0155, for an answer ending in ``letter``: A accepted, E or R not."""
    if condition == "AL":
        return True
    if condition == "SU":
        return letter == "A"
    return condition == "ER" and letter != "A"


def _single(raw: bytes, header: Header, letter: str, text: str, error_code: str) -> list[bytes]:
    if not header.accept:
        kind = "A"
    elif _asks(header.accept, letter):
        kind = "C"
    elif _asks(header.application, letter):
        kind = "A"
    else:
        return []
    return [build_ack(raw, kind + letter, text, error_code)]


def _refused(raw: bytes, header: Header, error: HubError) -> list[bytes]:
    letter = "E" if isinstance(error, StoreBusy) else "R"
    error_code = _SEQUENCE_ERROR if isinstance(error, CodecError) else _INTERNAL_ERROR
    return _single(raw, header, letter, _text(error), error_code)


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
