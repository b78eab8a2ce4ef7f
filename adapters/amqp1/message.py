"""Messages of AMQP 1.0 in bytes: the body cut out here, the few sections around it read and written by Proton.

A message is a row of described values (part 3, section 3.2 of the standard). The body is not given to Proton: it would make an object
of every value in it, and 64 MB of nulls are 64 million objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from proton import Message

from adapters.mq.envelope import control_of, params_of
from hub.api import HubError
from hub.i18n import t

__all__ = ["Incoming", "encode", "read"]

_HEADER, _DELIVERY, _ANNOTATIONS, _PROPERTIES, _APPLICATION = 0x70, 0x71, 0x72, 0x73, 0x74
_DATA, _SEQUENCE, _VALUE, _FOOTER = 0x75, 0x76, 0x77, 0x78
#: Sections given to Proton, and their bytes together at most.
_WANTED = frozenset((_HEADER, _PROPERTIES, _APPLICATION))
_MOST_AROUND = 64 << 10
#: Bytes of a value by the upper half of its constructor, and of its size field where it has one (part 1, section 1.2).
_FIXED = {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}
_SIZED = {0xA: 1, 0xB: 4, 0xC: 1, 0xD: 4, 0xE: 1, 0xF: 4}
_BINARY, _STRING = (0xA0, 0xB0), (0xA1, 0xB1)


@dataclass(slots=True)
class Incoming:
    """What came: the body as bytes, and what stands around it."""

    body: bytes
    control_id: str
    correlation_id: Any  # as it came: an answer carries the same type
    message_id: Any
    reply_to: str
    params: dict[str, str]
    around: bytes  # header, properties, application properties as they came


def read(raw: bytes, source: str) -> Incoming:
    """Raises :class:`HubError` (``mq.protocol``, ``mq.body``) for what is no message, or one whose body is not bytes or a text."""
    around, body = _sections(raw)
    message = Message()
    try:
        message.decode(around)
        correlation, number = message.correlation_id, message.id
        known = {
            "source": source,
            "message_id": _id_text(number),
            "correlation_id": _id_text(correlation),
            "reply_to": message.reply_to,
            "subject": message.subject,
            "to": message.address,
            "content_type": _plain(message.content_type),
            "content_encoding": _plain(message.content_encoding),
            "group_id": message.group_id,
            "timestamp": _time(message.creation_time),
            "priority": message.priority,
            "delivery_count": message.delivery_count,
        }
        params = params_of(known, message.properties or {})
        reply_to = message.reply_to or ""
    except HubError:
        raise
    except Exception as error:  # Proton raises its own, and what Python does for wrong UTF-8, too deep or too large
        raise _broken() from error
    return Incoming(body, control_of(_id_text(number)), correlation, number, reply_to, params, around)


def encode(
    body: bytes | str,
    *,
    message_id: Any = None,
    correlation_id: Any = None,
    properties: Mapping[str, str],
    content_type: str = "",
    subject: str = "",
    to: str = "",
    durable: bool = True,
    around: bytes = b"",
) -> bytes:
    """A message ready to send; bytes become a data section, a ``str`` an amqp-value. ``around``: sections to keep from one that came."""
    message: Any = Message()  # its annotations don't know that properties can be set
    if around:
        message.decode(around)
        message.ttl = 0  # what is parked must not expire
        message.properties = {**(message.properties or {}), **properties}
    else:
        message.properties = dict(properties)
        message.id, message.correlation_id = message_id, correlation_id
        message.content_type = content_type or None
        message.subject = subject or None
        message.address = to or None
        message.creation_time = datetime.now(UTC).timestamp()
    message.durable = durable
    message.inferred = isinstance(body, bytes)
    message.body = body
    return bytes(message.encode())


def _sections(raw: bytes) -> tuple[bytes, bytes]:
    around = b""
    parts: list[memoryview] = []
    view = memoryview(raw)
    at, size, found = 0, len(raw), False
    while at < size:
        began = at
        code, at = _descriptor(raw, at)
        if at >= size:
            raise _broken()
        kind = raw[at]
        start, at = _extent(raw, at)
        if at > size:
            raise _broken()
        if code == _DATA:
            if kind not in _BINARY:
                raise _broken()
            parts.append(view[start:at])
            found = True
        elif code == _VALUE:
            if kind not in _BINARY + _STRING:
                raise _not_bytes()
            parts.append(view[start:at])
            found = True
        elif code == _SEQUENCE:
            raise _not_bytes()
        elif code in _WANTED:
            around += raw[began:at]
            if len(around) > _MOST_AROUND:
                raise HubError(t("the properties of the message are too large", "消息的属性过大"), code="mq.protocol")
        elif code not in (_DELIVERY, _ANNOTATIONS, _FOOTER):
            raise _broken()
    if not found:
        raise _not_bytes()
    return around, bytes(parts[0]) if len(parts) == 1 else b"".join(parts)


def _descriptor(raw: bytes, at: int) -> tuple[int, int]:
    """The code of a section and where its value begins: ``00 53 xx``, or the same number in eight bytes."""
    if raw[at : at + 2] == b"\x00\x53" and at + 2 < len(raw):
        return raw[at + 2], at + 3
    if raw[at : at + 2] == b"\x00\x80" and at + 10 <= len(raw):
        return int.from_bytes(raw[at + 2 : at + 10], "big"), at + 10
    raise _broken()


def _extent(raw: bytes, at: int) -> tuple[int, int]:
    """Where the content of the value at ``at`` begins and ends; it may end after the message."""
    half = raw[at] >> 4
    if half in _FIXED:
        return at + 1, at + 1 + _FIXED[half]
    width = _SIZED.get(half)
    if width is None or at + 1 + width > len(raw):
        raise _broken()
    start = at + 1 + width
    return start, start + int.from_bytes(raw[at + 1 : start], "big")


def _broken() -> HubError:
    return HubError(t("these bytes are no AMQP 1.0 message", "内容不是有效的 AMQP 1.0 消息"), code="mq.protocol")


def _not_bytes() -> HubError:
    return HubError(
        t("the body of the message is neither bytes nor a text", "消息体既不是字节也不是文本"),
        code="mq.body",
        remedy=t(
            "let the sender use a BytesMessage or TextMessage (data or amqp-value string)",
            "请让发送方使用 BytesMessage 或 TextMessage（data 或 amqp-value 字符串）",
        ),
    )


def _id_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return str(value) if isinstance(value, int | UUID) else ""


def _plain(value: Any) -> str:
    """A symbol as text; Proton makes ``symbol("None")`` of one that is not there."""
    return str(value) if value and value != "None" else ""


def _time(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds else None
    except (OverflowError, OSError, ValueError):
        return None
