"""The gateway's half of CMPP: what a gateway reads of a service provider, and what it writes. For :mod:`adapters.cmpp.counterpart`.

Source: CMPP V2.0 chapter 7, V3.0 chapter 8, as :mod:`adapters.cmpp.pdu`, which has the other half.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from adapters.cmpp.pdu import RESPONSE, BadPdu, Command, Deliver, Report, Submit, pack
from hub.i18n import t

__all__ = [
    "Connect",
    "pack_connect_reply",
    "pack_deliver",
    "pack_submit_reply",
    "read_connect",
    "read_deliver_reply",
    "read_submit",
    "report_content",
]

_CONNECT = struct.Struct("!6s16sBI")
_NEW = 0x30


@dataclass(frozen=True, slots=True)
class Connect:
    """CMPP_CONNECT; ``stamp`` is MMDDHHMMSS, as it went into the digest."""

    account: str
    digest: bytes
    version: int
    stamp: str


def read_connect(body: bytes) -> Connect:
    if len(body) != _CONNECT.size:
        raise BadPdu(t(f"CONNECT with {len(body)} bytes", f"CONNECT 长度为 {len(body)}"))
    account, digest, version, stamp = _CONNECT.unpack(body)
    return Connect(_text(account), digest, version, f"{stamp:010d}")


def pack_connect_reply(sequence: int, status: int, digest: bytes, secret: str, version: int, own_version: int) -> bytes:
    """``digest``: AuthenticatorSource; ``version``: the one asked for, which decides the width of Status."""
    told = status.to_bytes(4 if version >= _NEW else 1, "big")
    proof = hashlib.md5(told + digest + secret.encode(), usedforsecurity=False).digest()  # the protocol has no other
    return pack(Command.CONNECT | RESPONSE, sequence, told + proof + bytes((own_version,)))


def read_submit(body: bytes, version: int) -> Submit:
    """A SUBMIT to one number. Raises :class:`BadPdu`."""
    new = version >= _NEW
    wide, at = (32, 0) if new else (21, 0)

    def take(count: int) -> bytes:
        nonlocal at
        at += count
        if at > len(body):
            raise BadPdu(t(f"SUBMIT with {len(body)} bytes", f"SUBMIT 长度为 {len(body)}"))
        return body[at - count : at]

    take(8)
    total, number, registered, level = take(4)
    service_id, fee_user_type, fee_terminal = _text(take(10)), take(1)[0], _text(take(wide))
    fee_terminal_type = take(1)[0] if new else 0
    pid, udhi, msg_fmt = take(3)
    msg_src, fee_type, fee_code = _text(take(6)), _text(take(2)), _text(take(6))
    valid_until, at_time, src_id = _text(take(17)), _text(take(17)), _text(take(21))
    if take(1)[0] != 1:
        raise BadPdu(t("SUBMIT to more than one number", "SUBMIT 含多个号码"))
    phone = _text(take(wide))
    phone_type = take(1)[0] if new else 0
    content = take(take(1)[0])
    link_id = _text(take(20 if new else 8))
    if at != len(body):
        raise BadPdu(t("SUBMIT is longer than it says", "SUBMIT 长度与内容不符"))
    return Submit(
        phone, content, msg_fmt, src_id, msg_src, service_id, total, number, bool(registered), level, fee_user_type,
        fee_terminal, fee_terminal_type, pid, bool(udhi), fee_type, fee_code, valid_until, at_time, phone_type, link_id,
    )  # fmt: skip


def pack_submit_reply(sequence: int, msg_id: int, result: int, version: int) -> bytes:
    body = msg_id.to_bytes(8, "big") + result.to_bytes(4 if version >= _NEW else 1, "big")
    return pack(Command.SUBMIT | RESPONSE, sequence, body)


def pack_deliver(sequence: int, deliver: Deliver, version: int) -> bytes:
    """``ValueError`` for a field that does not fit its place."""
    new = version >= _NEW
    if len(deliver.content) > 255:
        raise ValueError("content has more than 255 bytes")
    body = b"".join(
        (
            deliver.msg_id.to_bytes(8, "big"),
            _padded(deliver.dest_id, 21),
            _padded(deliver.service_id, 10),
            bytes((deliver.pid, deliver.udhi, deliver.msg_fmt)),
            _padded(deliver.src, 32 if new else 21),
            b"\0" if new else b"",
            bytes((int(deliver.is_report), len(deliver.content))),
            deliver.content,
            _padded(deliver.link_id, 20 if new else 8),
        )
    )
    return pack(Command.DELIVER, sequence, body)


def report_content(report: Report, version: int) -> bytes:
    """The content of a DELIVER that is a status report."""
    return b"".join(
        (
            report.msg_id.to_bytes(8, "big"),
            _padded(report.stat, 7),
            _padded(report.submitted, 10),
            _padded(report.done, 10),
            _padded(report.phone, 32 if version >= _NEW else 21),
            report.serial.to_bytes(4, "big"),
        )
    )


def read_deliver_reply(body: bytes) -> int:
    """The result."""
    if len(body) not in (9, 12):
        raise BadPdu(t(f"DELIVER_RESP with {len(body)} bytes", f"DELIVER_RESP 长度为 {len(body)}"))
    return int.from_bytes(body[8:], "big")


def _text(data: bytes) -> str:
    text, _, padding = data.partition(b"\0")
    if padding.strip(b"\0") or not text.isascii():
        raise BadPdu(t("a text is not padded with zeros", "文本字段未以零填充"))
    return text.decode("ascii")


def _padded(text: str, width: int) -> bytes:
    data = text.encode("ascii")
    if len(data) > width:
        raise ValueError(f"more than {width} characters")
    return data.ljust(width, b"\0")
