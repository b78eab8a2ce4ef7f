"""Functions on identifiers: citizen numbers, phones, OIDs, hashes, stable ids, encodings.

Sources: GB 11643-1999 (citizen number), GB/T 2261.1 (codes of sex), ITU-T E.164 (phone numbers), RFC 3061 (``urn:oid``), RFC 4122
(name-based UUIDs), GB/T 32905 (SM3), RFC 4648 (base 64).
"""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import json
import re
import uuid
from decimal import Decimal
from json.encoder import encode_basestring_ascii
from typing import Any

from hub.crypto.digests import sm3_hex
from hub.i18n import t
from hub.mapping.functions.base import Registry, text_of
from hub.mapping.runtime import FunctionError, is_absent, plain_text

__all__ = ["IDENTITY", "national_number"]

IDENTITY = Registry()
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECKS = "10X98765432"
_ID = re.compile(r"[1-9]\d{13}(?:\d|\d{3}[\dXx])", re.ASCII)
_OID = re.compile(r"[0-2](?:\.(?:0|[1-9]\d{0,38})){1,127}", re.ASCII)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}:\S{1,2000}")
_NAMESPACE = uuid.UUID("5b0c1c1e-6c0e-5e0a-9d0e-7e0d7c3f1a51")
_PHONE_NOISE = str.maketrans("", "", " -()（）\t\u3000")
#: Longest JSON or base-64 text taken in.
_MAX_TEXT = 8 << 20


def _citizen_number(value: Any, name: str) -> str:
    """18 characters with a right check character and an existing birth date; 15 digits are brought up to it."""
    text = text_of(value, name).strip().upper()
    if _ID.fullmatch(text):
        if len(text) == 15:
            body = f"{text[:6]}19{text[6:]}"
            text = body + _check_character(body)
        if _check_character(text) == text[17]:
            try:
                datetime.date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
            except ValueError:
                pass
            else:
                return text
    raise FunctionError(
        t(f"{name}: not a citizen number", f"{name}：不是有效的公民身份号码"),
        value,
        t(
            "18 characters with a right check character, or 15 digits; test first with id_card_valid",
            "须为校验正确的 18 位号码或 15 位号码；可先用 id_card_valid 判断",
        ),
    )


def _check_character(number: str) -> str:
    return _CHECKS[sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, number, strict=False)) % 11]


@IDENTITY.add(converts=True)
def id_card(value: Any) -> Any:
    """A citizen number checked and in 18 characters; 15 digits are upgraded."""
    return None if is_absent(value) else _citizen_number(value, "id_card")


@IDENTITY.add(returns="bool")
def id_card_valid(value: Any) -> bool:
    """Whether it is a citizen number with a right check character and an existing birth date."""
    if is_absent(value):
        return False
    try:
        _citizen_number(value, "id_card_valid")
    except FunctionError:
        return False
    return True


@IDENTITY.add(converts=True)
def id_card_gender(value: Any) -> Any:
    """The sex a citizen number tells, as GB/T 2261.1: 1 male, 2 female."""
    if is_absent(value):
        return None
    return "1" if int(_citizen_number(value, "id_card_gender")[16]) % 2 else "2"


@IDENTITY.add(converts=True)
def id_card_birth_date(value: Any) -> Any:
    """The date of birth a citizen number tells, ISO 8601."""
    if is_absent(value):
        return None
    number = _citizen_number(value, "id_card_birth_date")
    return f"{number[6:10]}-{number[10:12]}-{number[12:14]}"


def national_number(value: Any, name: str) -> str:
    """Digits without spaces, signs and +86, those of other countries behind +; raises :class:`FunctionError`."""
    text = text_of(value, name).replace(" ", "")
    number = text[1:] if text[:1] == "+" else text
    if not number.isdigit():
        text = text.translate(_PHONE_NOISE)
        number = text[1:] if text[:1] == "+" else text
    if not (number.isascii() and number.isdigit() and 3 <= len(number) <= 20):
        raise FunctionError(
            t(f"{name}: not a phone number", f"{name}：不是电话号码"),
            value,
            t("digits with an optional +", "须为数字，可带 +"),
        )
    if text.startswith("00"):
        text = "+" + text[2:]
    if text.startswith("+86"):
        national = text[3:]
        mobile = len(national) == 11 and national[0] == "1"
        return national if mobile or national.startswith(("0", "400", "800")) else "0" + national
    if len(text) == 13 and text.startswith("861"):
        return text[2:]
    return text


@IDENTITY.add(converts=True)
def phone(value: Any) -> Any:
    """A phone number without spaces and signs: 13812345678, 02512345678, +441632960001 (other countries keep +)."""
    return None if is_absent(value) else national_number(value, "phone")


@IDENTITY.add(converts=True)
def oid_uri(value: Any) -> Any:
    """An OID as URI: urn:oid:1.2.840; what is a URI already stays as it is."""
    if is_absent(value):
        return None
    text = text_of(value, "oid_uri").strip()
    if _OID.fullmatch(text):
        return f"urn:oid:{text}"
    if _URI.fullmatch(text):
        return text
    raise FunctionError(t("oid_uri: neither an OID nor a URI", "oid_uri：既非 OID 也非 URI"), value)


@IDENTITY.add("hash")
def digest(value: Any, algorithm: Any = "sha256") -> Any:
    """Hexadecimal sha256 or sm3 of the text in UTF-8."""
    if is_absent(value):
        return None
    raw = text_of(value, "hash").encode("utf-8", "surrogatepass")
    if algorithm == "sha256":
        return hashlib.sha256(raw).hexdigest()
    if algorithm == "sm3":
        return sm3_hex(raw)
    raise FunctionError(t("hash: the algorithm is 'sha256' or 'sm3'", "hash：算法须为 'sha256' 或 'sm3'"))


@IDENTITY.add(returns="text", memo=True)
def stable_id(*values: Any) -> str:
    """A UUID (version 5) that depends on the values alone: the same values always give the same id."""
    parts: list[str] = []
    told = False
    for value in values:
        if value is None or value == "":
            parts.append("null")
        else:
            told = True
            parts.append(encode_basestring_ascii(value if type(value) is str else plain_text(value)))
    if not told:
        raise FunctionError(
            t("stable_id: all values are absent", "stable_id：所有取值均不存在"),
            remedy=t("use values that identify the thing", "请使用能标识该对象的取值"),
        )
    # The values as a JSON list are the name of the UUID; uuid.uuid5 and json.dumps would take five times as long.
    name = f"[{', '.join(parts)}]".encode()
    digest = hashlib.sha1(_NAMESPACE.bytes + name, usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


@IDENTITY.add()
def base64_encode(value: Any) -> Any:
    """The text in UTF-8 as base 64."""
    if is_absent(value):
        return value
    return base64.b64encode(text_of(value, "base64_encode").encode("utf-8", "surrogatepass")).decode("ascii")


@IDENTITY.add(converts=True)
def base64_decode(value: Any) -> Any:
    """The UTF-8 text that was encoded in base 64."""
    if is_absent(value):
        return value
    text = text_of(value, "base64_decode")
    if len(text) <= _MAX_TEXT:
        try:
            return base64.b64decode("".join(text.split()), validate=True).decode("utf-8")
        except (binascii.Error, ValueError):
            pass
    raise FunctionError(t("base64_decode: not base 64 of a UTF-8 text", "base64_decode：不是 UTF-8 文本的 base64"))


def _json_default(value: Any) -> Any:
    if isinstance(value, Decimal):
        whole = int(value) if value == value.to_integral_value() and abs(value.adjusted()) < 300 else None
        return whole if whole is not None and "." not in str(value) else float(value)
    raise TypeError


@IDENTITY.add()
def json_encode(value: Any) -> Any:
    """The value as JSON text, compact; null when absent."""
    if value is None:
        return None
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_json_default)
    except (TypeError, ValueError, RecursionError):
        raise FunctionError(
            t("json_encode: the value can't be written as JSON", "json_encode：该值无法写成 JSON")
        ) from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


@IDENTITY.add(converts=True)
def json_decode(value: Any) -> Any:
    """The value of a JSON text; numbers keep their digits."""
    if is_absent(value):
        return None
    text = text_of(value, "json_decode")
    if len(text) <= _MAX_TEXT:
        try:
            return json.loads(text, parse_float=Decimal, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            pass
    raise FunctionError(t("json_decode: not JSON", "json_decode：不是 JSON"))
