"""JSON (RFC 8259): fast where it can be, exact where it must be.

orjson reads and writes; numbers that a 64-bit integer or a double can't hold as written (amounts, long identifiers) are
read a second, slower way and come out as ``int`` or ``Decimal``, and are written back digit for digit.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, ClassVar, NoReturn

import orjson

from hub.codecs.base import Codec
from hub.errors import CodecError
from hub.i18n import t

__all__ = ["JsonCodec"]

#: Digits that a double always holds (DBL_DIG).
_EXACT_DIGITS = 15
#: A number with more digits than that somewhere outside our judgement of strings; the slow path sorts it out.
_LONG_NUMBER = re.compile(rb"[-:\[,\s]\d[\d.]{%d}" % _EXACT_DIGITS)
#: A zero at the end of a fraction would vanish: 12.50 is an amount, not 12.5.
_TRAILING_ZERO = re.compile(rb"\d\.\d*0(?![\d.eE])")
_BOM = b"\xef\xbb\xbf"
_DEPTH = 500


class JsonCodec(Codec):
    """See the module."""

    name: ClassVar[str] = "json"
    content_type: ClassVar[str] = "application/json"

    def decode(self, raw: bytes, *, encoding: str = "") -> Any:
        data = raw[3:] if raw.startswith(_BOM) else raw
        if encoding and encoding.lower() not in ("utf-8", "utf8"):
            try:
                data = raw.decode(encoding).lstrip("\ufeff").encode("utf-8")
            except LookupError as error:
                raise CodecError(
                    t(f"unknown character set {encoding}", f"未知字符集 {encoding}"), code="json.charset"
                ) from error
            except (UnicodeDecodeError, UnicodeEncodeError) as error:
                raise CodecError(
                    t(f"the bytes are not {encoding}", f"字节不是 {encoding}"),
                    place=f"byte {error.start}",
                    code="json.charset",
                ) from error
        if _LONG_NUMBER.search(data) or _TRAILING_ZERO.search(data):
            return _exact(data)
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError as error:
            _refuse(error.msg, data, error.pos, error)

    def encode(self, tree: Any, *, encoding: str = "") -> bytes:
        try:
            out = orjson.dumps(tree)
        except (orjson.JSONEncodeError, TypeError):
            out = _write(tree).encode("utf-8")
        if encoding and encoding.lower() not in ("utf-8", "utf8"):
            try:
                return out.decode("utf-8").encode(encoding)
            except (UnicodeEncodeError, LookupError) as error:
                raise CodecError(
                    t(f"can't be written in {encoding}", f"无法用 {encoding} 表示"), code="json.charset"
                ) from error
        return out


def _refuse(text: str, data: bytes, characters: int, cause: Exception) -> NoReturn:
    """``characters``: position in characters, as the parsers tell it."""
    before = data.decode("utf-8", "replace")[:characters]
    line = before.count("\n") + 1
    column = characters - (before.rfind("\n") + 1) + 1
    raise CodecError(
        t(f"not JSON: {text}", f"不是 JSON：{text}"),
        place=t(f"line {line} column {column}", f"第 {line} 行第 {column} 列"),
        code="json.invalid",
    ) from cause


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise CodecError(
                    t(f"the key {key[:40]!r} stands twice in one object", f"同一对象中键 {key[:40]!r} 重复"),
                    code="json.duplicate_key",
                )
            seen.add(key)
    return found


def _number(text: str) -> float | Decimal:
    """A double where it is exact as written, a Decimal elsewhere."""
    value = float(text)
    return value if repr(value) == text else Decimal(text)


def _constant(text: str) -> NoReturn:
    raise CodecError(t(f"{text} is not JSON", f"{text} 不是 JSON"), code="json.invalid")


def _exact(data: bytes) -> Any:
    """The slow way: every number as written. Duplicate keys are noticed here only; orjson keeps the last one."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CodecError(
            t("the bytes are not UTF-8", "字节不是 UTF-8"),
            place=f"byte {error.start}",
            code="json.charset",
            remedy=t("set the interface's encoding", "请设置接口的 encoding"),
        ) from error
    try:
        return json.loads(text, parse_float=_number, parse_constant=_constant, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        _refuse(error.msg, data, error.pos, error)
    except RecursionError as error:
        raise CodecError(t("nested too deeply", "嵌套过深"), code="json.depth") from error
    except ValueError as error:  # a number with more digits than Python converts
        raise CodecError(t("a number is too long", "数字过长"), code="json.number") from error


def _write(value: Any, depth: int = 0) -> str:
    """What orjson can't write exactly: integers beyond 64 bits and Decimals."""
    if depth > _DEPTH:
        raise CodecError(t("nested too deeply", "嵌套过深"), code="json.depth")
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise CodecError(t("keys of a JSON object must be text", "JSON 对象的键须为文本"), code="json.key")
        pairs = (f"{_write(key)}:{_write(item, depth + 1)}" for key, item in value.items())
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_write(item, depth + 1) for item in value) + "]"
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise CodecError(t(f"{value} can't be written as JSON", f"{value} 无法写成 JSON"), code="json.number")
        return format(value, "f") if abs(value.adjusted()) < 100 else str(value)
    if isinstance(value, bool) or value is None or isinstance(value, str | float):
        try:
            return orjson.dumps(value).decode("utf-8")
        except (orjson.JSONEncodeError, TypeError) as error:
            raise CodecError(t("text with half a character", "文本含不完整的字符"), code="json.text") from error
    if isinstance(value, int):
        return str(value)
    raise CodecError(
        t(f"a {type(value).__name__} can't be written as JSON", f"{type(value).__name__} 无法写成 JSON"),
        code="json.type",
    )
