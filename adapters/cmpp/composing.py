"""What one short message to send is, read from the JSON that a mapping makes.

``{"phone": "13900000000", "text": "…", "extension": "01", "encoding": "gbk", "valid_until": "260101120000032+"}``; the last three
may be absent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from adapters.cmpp.options import CmppConnect
from adapters.cmpp.pdu import Submit
from adapters.cmpp.texts import TextError, pieces_of
from hub.api import PermanentError
from hub.i18n import t

__all__ = ["Order", "compose"]

_PHONE = re.compile(r"\+?(?:86)?(1\d{10})|\+?(\d{3,20})")
_EXTENSION = re.compile(r"\d{0,20}")
_TIME = re.compile(r"\d{12}\d{3}[+R-]|")
_ENCODINGS = ("auto", "ascii", "gbk", "ucs2")
_KNOWN = frozenset(("phone", "text", "extension", "encoding", "valid_until"))
#: Longest JSON read, bytes: 255 parts of 67 characters take less.
_LONGEST = 256 << 10


@dataclass(frozen=True, slots=True)
class Order:
    """A short message, ready to go: one SUBMIT for each part."""

    parts: list[Submit]
    fingerprint: bytes  # of who is sent what


def compose(body: bytes, key: str, options: CmppConnect) -> Order:
    """``key``: the idempotency key, which decides the reference of the parts: sent again they replace, in the reader's phone, those that came.

    Raises :class:`PermanentError`; the text holds neither number nor content.
    """
    tree = _tree(body)
    phone = _text(tree, "phone")
    found = _PHONE.fullmatch(phone)
    if not found:
        raise _wrong("phone", t("is no number", "不是号码"))
    extension, valid_until = _text(tree, "extension"), _text(tree, "valid_until")
    src_id = options.src_id + extension
    if not _EXTENSION.fullmatch(extension) or len(src_id) > 21:
        raise _wrong("extension", t("digits, 21 together with src_id", "只能为数字，与 src_id 合计至多 21 位"))
    if not _TIME.fullmatch(valid_until):
        raise _wrong("valid_until", t("is no time of the form YYMMDDhhmmsstnnp", "不符合 YYMMDDhhmmsstnnp 格式"))
    encoding: Any = _text(tree, "encoding") or options.encoding
    if encoding not in _ENCODINGS:
        raise _wrong("encoding", t("auto, ascii, gbk or ucs2", "只能为 auto、ascii、gbk、ucs2"))
    reference = int.from_bytes(blake2b(key.encode(), digest_size=2).digest(), "big")
    try:
        msg_fmt, pieces, udhi = pieces_of(
            _text(tree, "text"),
            encoding,
            reference=reference,
            wide_reference=options.wide_reference,
            most=options.max_parts,
        )
    except TextError as error:
        raise PermanentError(str(error), code="cmpp.text") from None
    total = len(pieces)
    parts = [
        Submit(
            phone=found[1] or found[2],
            content=content,
            msg_fmt=msg_fmt,
            udhi=udhi,
            src_id=src_id,
            msg_src=options.msg_src or options.account,
            service_id=options.service_id,
            pk_total=total,
            pk_number=number,
            registered=options.reports,
            level=options.level,
            fee_user_type=options.fee_user_type,
            fee_terminal=options.fee_terminal,
            fee_type=options.fee_type,
            fee_code=options.fee_code,
            valid_until=valid_until,
        )
        for number, content in enumerate(pieces, 1)
    ]
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(f"{part.phone} {part.msg_fmt} {part.content.hex()}\n".encode())
    return Order(parts, digest.digest())


def _tree(body: bytes) -> dict[str, Any]:
    if len(body) > _LONGEST:
        raise _bad(t("it is too long", "内容过长"))
    try:
        tree = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _bad(t("it is no JSON", "不是 JSON")) from None
    if not isinstance(tree, dict):
        raise _bad(t("it is no JSON object", "不是 JSON 对象"))
    strange = sorted(set(tree) - _KNOWN)
    if strange:
        raise _bad(t(f"unknown member {strange[0][:40]!r}", f"未知成员 {strange[0][:40]!r}"))
    return tree


def _text(tree: dict[str, Any], name: str) -> str:
    value = tree.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong(name, t("must be a text", "须为文本"))
    return value


def _wrong(name: str, why: str) -> PermanentError:
    return _bad(f"{name}: {why}")


def _bad(why: str) -> PermanentError:
    return PermanentError(t(f"not a short message to send: {why}", f"不是可发送的短信：{why}"), code="cmpp.message")
