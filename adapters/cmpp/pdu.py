"""CMPP 2.0 and 3.0 as bytes: reading and writing of every PDU a service provider and a gateway exchange.

Source: 中国移动通信互联网短信网关接口协议 (CMPP) V2.0 chapter 7, V3.0 chapter 8. All numbers are big-endian; texts are padded with
zero bytes on the right. Readers raise :class:`BadPdu` for everything that does not fit exactly.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass
from enum import IntEnum

from hub.i18n import t

__all__ = [
    "HEADER",
    "LONGEST",
    "RESPONSE",
    "BadPdu",
    "Command",
    "ConnectReply",
    "Deliver",
    "Pdu",
    "PduReader",
    "Report",
    "Submit",
    "SubmitReply",
    "authenticator",
    "gateway_authentic",
    "pack",
    "pack_connect",
    "pack_deliver_reply",
    "pack_submit",
    "read_connect_reply",
    "read_deliver",
    "read_report",
    "read_submit_reply",
]

HEADER = struct.Struct("!III")
RESPONSE = 0x8000_0000
#: Longest PDU of both versions: SUBMIT of 3.0 to 100 numbers with 255 bytes, 12 + 129 + 3200 + 2 + 255 + 20 bytes.
LONGEST = 3618
_MASK64 = (1 << 64) - 1


class Command(IntEnum):
    """Command_Id of requests; that of an answer has :data:`RESPONSE` added."""

    CONNECT = 0x1
    TERMINATE = 0x2
    SUBMIT = 0x4
    DELIVER = 0x5
    ACTIVE_TEST = 0x8


class BadPdu(Exception):
    """Bytes that are no CMPP; the text is for people and holds nothing of the message."""


@dataclass(frozen=True, slots=True)
class Pdu:
    """A PDU with its body unread."""

    command: int
    sequence: int
    body: bytes


class PduReader:
    """Cuts a stream into PDUs. A length that can't be is an error at once: nothing after it can be understood."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def unfinished(self) -> int:
        """Bytes of a PDU that has begun."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> Pdu | None:
        """The next complete PDU; raises :class:`BadPdu`."""
        buffer = self._buffer
        if len(buffer) < 4:
            return None
        length = int.from_bytes(buffer[:4], "big")
        if not HEADER.size <= length <= LONGEST:
            raise BadPdu(t(f"a PDU of {length} bytes can't be", f"PDU 长度 {length} 无效"))
        if len(buffer) < length:
            return None
        _, command, sequence = HEADER.unpack_from(buffer)
        body = bytes(buffer[HEADER.size : length])
        del buffer[:length]
        return Pdu(command, sequence, body)


def pack(command: int, sequence: int, body: bytes = b"") -> bytes:
    return HEADER.pack(HEADER.size + len(body), command, sequence) + body


def _text(value: str, width: int, name: str) -> bytes:
    """ASCII, padded; ``ValueError`` for what does not fit."""
    data = value.encode("ascii")
    if len(data) > width or b"\0" in data:
        raise ValueError(f"{name} has more than {width} characters, or one that can't be")
    return data.ljust(width, b"\0")


def _plain(data: bytes) -> str:
    """A padded text as it was meant: to the first zero byte, without blanks; what is not printable ASCII is shown as ``?``."""
    text = data.split(b"\0", 1)[0].decode("ascii", "replace").strip()
    return "".join(char if " " <= char <= "~" else "?" for char in text)


# -- CONNECT ---------------------------------------------------------------------------------------------------------


def authenticator(account: str, secret: str, stamp: str) -> bytes:
    """AuthenticatorSource: MD5 of the account as it is sent (6 bytes), nine zero bytes, the secret and ``stamp`` (MMDDHHMMSS)."""
    data = _text(account, 6, "account") + b"\0" * 9 + secret.encode("utf-8") + stamp.encode("ascii")
    return hashlib.md5(data, usedforsecurity=False).digest()  # the protocol has no other


def pack_connect(sequence: int, account: str, secret: str, version: int, stamp: str) -> bytes:
    digest = authenticator(account, secret, stamp)
    body = _text(account, 6, "account") + digest + bytes((version,)) + int(stamp).to_bytes(4, "big")
    return pack(Command.CONNECT, sequence, body)


@dataclass(frozen=True, slots=True)
class ConnectReply:
    """CMPP_CONNECT_RESP. ``status`` as it came, in the bytes the digest was made of."""

    status: int
    status_bytes: bytes
    digest: bytes
    version: int


def read_connect_reply(body: bytes) -> ConnectReply:
    """The length tells the version: Status has one byte in 2.0 and four in 3.0."""
    if len(body) not in (18, 21):
        raise BadPdu(t(f"CONNECT_RESP with {len(body)} bytes", f"CONNECT_RESP 长度为 {len(body)}"))
    cut = len(body) - 17
    return ConnectReply(int.from_bytes(body[:cut], "big"), body[:cut], body[cut : cut + 16], body[-1])


def gateway_authentic(reply: ConnectReply, source_digest: bytes, secret: str) -> bool:
    """Whether the gateway knows the secret: AuthenticatorISMG is MD5 of Status, AuthenticatorSource and the secret."""
    data = reply.status_bytes + source_digest + secret.encode("utf-8")
    return hmac.compare_digest(hashlib.md5(data, usedforsecurity=False).digest(), reply.digest)


# -- SUBMIT ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Submit:
    """The fields of CMPP_SUBMIT; one number, because each message is answered and reported on its own."""

    phone: str
    content: bytes
    msg_fmt: int  # 0 ASCII, 8 UCS2, 15 GBK
    src_id: str
    msg_src: str
    service_id: str = ""
    pk_total: int = 1
    pk_number: int = 1
    registered: bool = True
    level: int = 0
    fee_user_type: int = 0
    fee_terminal: str = ""
    fee_terminal_type: int = 0
    pid: int = 0
    udhi: bool = False
    fee_type: str = "01"
    fee_code: str = "0"
    valid_until: str = ""  # SMPP form YYMMDDhhmmsstnnp
    at_time: str = ""
    phone_type: int = 0
    link_id: str = ""


def pack_submit(sequence: int, submit: Submit, version: int) -> bytes:
    """``ValueError`` for a field that does not fit its place."""
    new = version >= 0x30
    wide = 32 if new else 21
    if len(submit.content) > 255:
        raise ValueError("content has more than 255 bytes")
    body = b"".join(
        (
            bytes(8),
            bytes((submit.pk_total, submit.pk_number, int(submit.registered), submit.level)),
            _text(submit.service_id, 10, "service_id"),
            bytes((submit.fee_user_type,)),
            _text(submit.fee_terminal, wide, "fee_terminal"),
            bytes((submit.fee_terminal_type,)) if new else b"",
            bytes((submit.pid, int(submit.udhi), submit.msg_fmt)),
            _text(submit.msg_src, 6, "msg_src"),
            _text(submit.fee_type, 2, "fee_type"),
            _text(submit.fee_code, 6, "fee_code"),
            _text(submit.valid_until, 17, "valid_until"),
            _text(submit.at_time, 17, "at_time"),
            _text(submit.src_id, 21, "src_id"),
            b"\x01",
            _text(submit.phone, wide, "phone"),
            bytes((submit.phone_type,)) if new else b"",
            bytes((len(submit.content),)),
            submit.content,
            _text(submit.link_id, 20, "link_id") if new else bytes(8),
        )
    )
    return pack(Command.SUBMIT, sequence, body)


@dataclass(frozen=True, slots=True)
class SubmitReply:
    msg_id: int
    result: int


def read_submit_reply(body: bytes) -> SubmitReply:
    """Result has one byte in 2.0 and four in 3.0."""
    if len(body) not in (9, 12):
        raise BadPdu(t(f"SUBMIT_RESP with {len(body)} bytes", f"SUBMIT_RESP 长度为 {len(body)}"))
    return SubmitReply(int.from_bytes(body[:8], "big"), int.from_bytes(body[8:], "big"))


# -- DELIVER ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Deliver:
    """The fields of CMPP_DELIVER."""

    msg_id: int
    dest_id: str
    service_id: str
    pid: int
    udhi: int
    msg_fmt: int
    src: str
    is_report: bool
    content: bytes
    link_id: str = ""


_DELIVER_HEAD = struct.Struct("!Q21s10sBBB")


def read_deliver(body: bytes, version: int) -> Deliver:
    new = version >= 0x30
    wide = 32 if new else 21
    tail = 20 if new else 8
    fixed = _DELIVER_HEAD.size + wide + (1 if new else 0) + 2
    if len(body) < fixed + tail:
        raise BadPdu(t(f"DELIVER with {len(body)} bytes", f"DELIVER 长度为 {len(body)}"))
    msg_id, dest, service, pid, udhi, fmt = _DELIVER_HEAD.unpack_from(body)
    at = _DELIVER_HEAD.size
    src = body[at : at + wide]
    registered, length = body[fixed - 2], body[fixed - 1]
    if len(body) != fixed + length + tail:
        raise BadPdu(
            t(
                f"DELIVER of {len(body)} bytes says its content has {length}",
                f"DELIVER 共 {len(body)} 字节，却声明内容 {length} 字节",
            )
        )
    content = body[fixed : fixed + length]
    link = _plain(body[fixed + length :]) if new else ""
    return Deliver(msg_id, _plain(dest), _plain(service), pid, udhi, fmt, _plain(src), registered == 1, content, link)


@dataclass(frozen=True, slots=True)
class Report:
    """The content of a DELIVER that is a status report."""

    msg_id: int
    stat: str
    submitted: str  # YYMMDDhhmm
    done: str
    phone: str
    serial: int  # SMSC_sequence


_REPORT_HEAD = struct.Struct("!Q7s10s10s")


def read_report(content: bytes) -> Report:
    """60 bytes in 2.0 and 71 in 3.0; gateways of 3.0 that send 60 exist, so the length decides and not the version."""
    if len(content) not in (60, 71):
        raise BadPdu(t(f"a report of {len(content)} bytes", f"状态报告长度为 {len(content)}"))
    msg_id, stat, submitted, done = _REPORT_HEAD.unpack_from(content)
    phone, serial = content[_REPORT_HEAD.size : -4], int.from_bytes(content[-4:], "big")
    return Report(msg_id, _plain(stat), _plain(submitted), _plain(done), _plain(phone), serial)


def pack_deliver_reply(sequence: int, msg_id: int, result: int, version: int) -> bytes:
    body = (msg_id & _MASK64).to_bytes(8, "big") + result.to_bytes(4 if version >= 0x30 else 1, "big")
    return pack(Command.DELIVER | RESPONSE, sequence, body)
