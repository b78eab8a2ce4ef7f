"""JSON (RFC 8259): fast where it can be, exact where it must be.

orjson reads and writes. It rounds numbers a double can't hold and keeps the last of two equal keys, so what it read is written
again and compared with what came: usually both are the same, which proves that nothing was lost. Where they differ by more than blanks,
the cause is looked for, and amounts and long identifiers are read a second, slower way: they come out as ``int`` or ``Decimal`` and
are written back digit for digit, and an object with a key twice is refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar, NoReturn

import orjson

from hub.codecs.base import Codec, Joint
from hub.errors import CodecError
from hub.i18n import t

__all__ = ["MAX_DEPTH", "JsonCodec"]

#: How deep arrays and objects may be nested, reading and writing; the most orjson writes.
MAX_DEPTH = 254
#: Numbers that may not survive: 16 digits or more (a double always holds 15, DBL_DIG), a zero at the end of a fraction (12.50 is
#: an amount, not 12.5), and exponents at the ends of a double's range.
_INEXACT = re.compile(rb"(?:^|[-:\[,\s])\d(?:[\d.]{15}|\d*\.\d*0(?![\d.eE])|[\d.]*[eE][-+]?\d{3})")
#: An ASCII character written as an escape sequence, which could be a colon.
_ESCAPED_ASCII = b"\\u00"
#: What orjson says of a number beyond a double, which an exact reader takes.
_BEYOND_DOUBLE = "infinity"
#: Keys that can be told in an error: names from a schema, not values used as keys.
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z_.-]{0,39}[0-9]{0,2}", re.ASCII)
_ESCAPED = b"\\u"
_BLANKS = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"


class JsonCodec(Codec):
    """See the module. Objects are ``dict``, arrays ``list``, numbers ``int``, ``float`` or, where that would not be exact, ``Decimal``."""

    name: ClassVar[str] = "json"
    content_type: ClassVar[str] = "application/json"
    joins: ClassVar[tuple[str, ...]] = ("array",)

    def decode(self, raw: bytes, *, encoding: str = "") -> Any:
        data = _utf8(raw, encoding)
        try:
            tree = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            if _BEYOND_DOUBLE not in error.msg:
                _refuse(error.msg, data, error)
            tree = _exact(data)
            _write(tree)  # refuses what orjson would have: deep nesting, halves of characters
            return tree
        try:
            again = orjson.dumps(tree)
        except orjson.JSONEncodeError as error:
            raise _too_deep() from error
        if again == data or _without_blanks(again) == (bare := _without_blanks(data)):
            return tree
        # Many write all but ASCII as escape sequences.
        if _ESCAPED in data and _without_blanks(again).decode("utf-8").encode("ascii", "backslashreplace") == bare:
            return tree
        # orjson writes a colon per key, and those in texts as they are.
        if again.count(b":") == data.count(b":") and _ESCAPED_ASCII not in data and not _INEXACT.search(data):
            return tree
        return _exact(data)

    def encode(self, tree: Any, *, encoding: str = "") -> bytes:
        try:
            out = orjson.dumps(tree, default=_decimal)
        except (orjson.JSONEncodeError, TypeError):
            out = _write(tree).encode("utf-8")
        else:
            if b"null" in out:
                _refuse_nan(tree)
        if encoding and not _is_utf8(encoding):
            try:
                return out.decode("utf-8").encode(encoding)
            except LookupError as error:
                raise _unknown_charset(encoding) from error
            except UnicodeError as error:
                raise CodecError(
                    t(f"a character can't be written in {encoding}", f"有字符无法用 {encoding} 表示"),
                    code="json.charset",
                ) from error
        return out

    def join(self, trees: Sequence[Any], way: str, joint: Joint) -> Any:
        return list(trees)


def _decimal(value: Any) -> orjson.Fragment:
    """A Decimal with its digits, for orjson, which does not know it; anything else goes the slow way to its error."""
    if type(value) is Decimal and value.is_finite():
        return orjson.Fragment(format(value, "f") if abs(value.adjusted()) < 100 else str(value))
    raise TypeError


def _without_blanks(data: bytes) -> bytes:
    return data.translate(None, _BLANKS)


def _is_utf8(encoding: str) -> bool:
    return encoding.lower() in ("utf-8", "utf8")


def _utf8(raw: bytes, encoding: str) -> bytes:
    if encoding and not _is_utf8(encoding):
        try:
            return raw.decode(encoding).removeprefix("\ufeff").encode("utf-8")
        except LookupError as error:
            raise _unknown_charset(encoding) from error
        except UnicodeError as error:
            at = error.start if isinstance(error, UnicodeDecodeError) else 0
            raise CodecError(
                t(f"the bytes are not {encoding}", f"字节不是 {encoding}"),
                place=t(f"byte {at}", f"第 {at} 字节"),
                code="json.charset",
            ) from error
    return raw[3:] if raw.startswith(_BOM) else raw


def _unknown_charset(encoding: str) -> CodecError:
    return CodecError(t(f"unknown character set {encoding}", f"未知字符集 {encoding}"), code="json.charset")


def _too_deep() -> CodecError:
    return CodecError(t(f"nested deeper than {MAX_DEPTH}", f"嵌套超过 {MAX_DEPTH} 层"), code="json.depth")


def _refuse(text: str, data: bytes, error: json.JSONDecodeError) -> NoReturn:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as broken:
        raise CodecError(
            t("the bytes are not UTF-8", "字节不是 UTF-8"),
            place=t(f"byte {broken.start}", f"第 {broken.start} 字节"),
            code="json.charset",
            remedy=t("set the interface's encoding, e.g. gb18030", "请设置接口的 encoding，如 gb18030"),
        ) from error
    if "depth" in text or "recursion" in text.lower():
        raise _too_deep() from error
    raise CodecError(
        t(f"not JSON: {text}", f"不是 JSON：{text}"),
        place=t(f"line {error.lineno} column {error.colno}", f"第 {error.lineno} 行第 {error.colno} 列"),
        code="json.invalid",
    ) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                told = f" ({key})" if _PLAIN_KEY.fullmatch(key) else ""
                raise CodecError(
                    t(f"a key stands twice in one object{told}", f"同一对象中有键重复{told}"),
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
    """The slow way: every number as written, every key once."""
    try:
        return json.loads(
            data.decode("utf-8"), parse_float=_number, parse_constant=_constant, object_pairs_hook=_unique
        )
    except json.JSONDecodeError as error:
        _refuse(error.msg, data, error)
    except RecursionError as error:
        raise _too_deep() from error
    except (ValueError, ArithmeticError) as error:  # more digits, or a greater exponent, than Python converts
        raise CodecError(t("a number is too long", "数字过长"), code="json.number") from error


def _write(value: Any, depth: int = 0) -> str:
    """What orjson can't write exactly: integers beyond 64 bits and Decimals."""
    if isinstance(value, dict | list | tuple):
        if depth == MAX_DEPTH:
            raise _too_deep()
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                raise CodecError(t("keys of a JSON object must be text", "JSON 对象的键须为文本"), code="json.key")
            pairs = (f"{_write(key)}:{_write(item, depth + 1)}" for key, item in value.items())
            return "{" + ",".join(pairs) + "}"
        return "[" + ",".join(_write(item, depth + 1) for item in value) + "]"
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise _not_a_number()
        return format(value, "f") if abs(value.adjusted()) < 100 else str(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise _not_a_number()
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return str(int(value))
        except ValueError as error:  # more digits than Python converts
            raise CodecError(t("a number is too long", "数字过长"), code="json.number") from error
    try:
        return orjson.dumps(value).decode("utf-8")
    except (orjson.JSONEncodeError, TypeError) as error:
        kind = type(value).__name__
        raise CodecError(
            t(f"a value of type {kind} can't be written as JSON", f"类型为 {kind} 的值无法写成 JSON"),
            code="json.type",
        ) from error


def _not_a_number() -> CodecError:
    return CodecError(t("NaN and Infinity are not JSON", "NaN、Infinity 不是 JSON"), code="json.number")


def _refuse_nan(tree: Any) -> None:
    """orjson would write null for them."""
    rest = [tree]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            rest.extend(value.values())
        elif isinstance(value, list | tuple):
            rest.extend(value)
        elif isinstance(value, float) and not math.isfinite(value):
            raise _not_a_number()
