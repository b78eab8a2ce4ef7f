"""Values of DICOM by their value representation (PS3.5, 6.2): bytes to what expressions work on, and back.

Dates, times and codes stay the texts they are. Numbers, also those written as text (IS, DS), become numbers without losing a digit; what is
no number there stays text. Binary values become base 64. Several values become a list, none becomes None.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from hub.codecs.dicom_charset import decode_text, encode_text
from hub.errors import CodecError
from hub.i18n import t

__all__ = ["BINARY", "CHARSET_VRS", "NAME_PARTS", "person_part", "read_value", "write_value"]

#: VRs whose text is in the data set's character set.
CHARSET_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
#: VRs that are never several values, in which a backslash is a character.
_SINGLE = frozenset({"LT", "ST", "UR", "UT"})
#: VRs that keep blanks at the beginning.
_LEADING = frozenset({"LT", "ST", "UC", "UT", "PN"})
_TEXT = CHARSET_VRS | {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"}
BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_NUMBERS = {"FD": "d", "FL": "f", "SL": "l", "SS": "h", "SV": "q", "UL": "L", "US": "H", "UV": "Q"}
_SIZES = {"d": 8, "f": 4, "l": 4, "h": 2, "q": 8, "L": 4, "H": 2, "Q": 8}
_PADDING = " \0"
_INTEGER = re.compile(r"[-+]?\d{1,30}", re.ASCII)
_DECIMAL = re.compile(r"[-+]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][-+]?\d{1,3})?", re.ASCII)
_RANGE = r"(?:{0})?-?(?:{0})?"
#: Longest text of one value in characters, and its form; dates and times may be ranges, as queries have them.
_LENGTHS = {"AE": 16, "AS": 4, "CS": 16, "DS": 16, "IS": 12, "LO": 64, "LT": 10240, "SH": 16, "ST": 1024, "UI": 64}
_LONGEST_NAME = 64
_FORMS = {
    "AS": re.compile(r"\d{3}[DWMY]", re.ASCII),
    "DA": re.compile(_RANGE.format(r"\d{8}"), re.ASCII),
    "DS": _DECIMAL,
    "DT": re.compile(_RANGE.format(r"\d{4,14}(?:\.\d{1,6})?(?:[-+]\d{4})?"), re.ASCII),
    "IS": _INTEGER,
    "TM": re.compile(_RANGE.format(r"\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?"), re.ASCII),
    "UI": re.compile(r"\d+(?:\.\d+)*", re.ASCII),
}
#: Parts of a person's name (PS3.5, 6.2.1): what each is.
NAME_PARTS = {
    **dict.fromkeys(("alphabetic", "ideographic", "phonetic"), "form"),
    **dict.fromkeys(("family", "given", "middle", "prefix", "suffix"), "component"),
}
_GROUPS = {"alphabetic": 0, "ideographic": 1, "phonetic": 2}
_COMPONENTS = {"family": 0, "given": 1, "middle": 2, "prefix": 3, "suffix": 4}


# -- reading -------------------------------------------------------------------------------------------------------------


def read_value(vr: str, raw: bytes, terms: Sequence[str], encoding: str, big: bool) -> Any:
    """The value of an element that is not a sequence. ``terms``: of its character set; never raises."""
    if not raw:
        return None
    if vr in _TEXT:
        return _read_text(vr, raw, terms, encoding)
    form = _NUMBERS.get(vr)
    if form is not None:
        return _read_numbers(form, raw, big)
    if vr == "AT":
        pairs = struct.iter_unpack(">HH" if big else "<HH", raw[: len(raw) // 4 * 4])
        return _one_or_many([f"{group:04X}{element:04X}" for group, element in pairs])
    return base64.b64encode(raw).decode("ascii")


def _read_text(vr: str, raw: bytes, terms: Sequence[str], encoding: str) -> Any:
    text = decode_text(raw, terms if vr in CHARSET_VRS else (), encoding if vr in CHARSET_VRS else "")
    convert: Callable[[str], Any] | None = _integer if vr == "IS" else _decimal if vr == "DS" else None
    if vr in _SINGLE or "\\" not in text:
        text = text.rstrip(_PADDING) if vr in _LEADING else text.strip(_PADDING)
        return (convert(text) if convert else text) if text else None
    values = [(part.rstrip if vr in _LEADING else part.strip)(_PADDING) or None for part in text.split("\\")]
    return [convert(value) if convert and value else value for value in values]


def _integer(text: str) -> int | str:
    return int(text) if _INTEGER.fullmatch(text) else text


def _decimal(text: str) -> int | float | Decimal | str:
    """As JSON has numbers: whole, a double where it has the same digits, else exact."""
    if _INTEGER.fullmatch(text):
        return int(text)
    if not _DECIMAL.fullmatch(text):
        return text
    number = float(text)
    return number if repr(number) == text else Decimal(text)


def _read_numbers(form: str, raw: bytes, big: bool) -> Any:
    size = _SIZES[form]
    count = len(raw) // size
    values = list(struct.unpack(f"{'>' if big else '<'}{count}{form}", raw[: count * size]))
    if form == "f":
        values = [_shortest(value) for value in values]
    return _one_or_many(values)


def _shortest(value: float) -> float:
    """The double with the fewest digits that is this single: 0.1, not 0.10000000149011612."""
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        try:
            if struct.unpack("f", struct.pack("f", short))[0] == value:
                return short
        except OverflowError:
            continue
    return value


def _one_or_many(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values or None


def person_part(name: Any, part: str) -> str | None:
    """A part of a person's name (PS3.5, 6.2.1): one of its three forms, which are ``alphabetic``, ``ideographic`` and ``phonetic``, or a
    component of a form: ``family``, ``given``, ``middle``, ``prefix``, ``suffix``, of the alphabetic one when the whole name is given.
    None when it has none.
    """
    if not isinstance(name, str):
        return None
    if part in _GROUPS:
        forms = name.split("=")
        return (forms[_GROUPS[part]].rstrip("^ ") or None) if len(forms) > _GROUPS[part] else None
    if part not in _COMPONENTS:
        return None
    components = name.partition("=")[0].split("^")
    return (components[_COMPONENTS[part]].strip() or None) if len(components) > _COMPONENTS[part] else None


# -- writing -------------------------------------------------------------------------------------------------------------


def write_value(vr: str, value: Any, terms: Sequence[str], encoding: str, big: bool) -> bytes:
    """The bytes of a value, padded to an even length. Raises :class:`~hub.errors.CodecError` for what the VR can't hold."""
    if value is None or value == "" or value == []:
        return b""
    values = value if isinstance(value, list | tuple) else [value]
    if vr in _TEXT:
        return _write_text(vr, values, terms, encoding)
    form = _NUMBERS.get(vr)
    if form is not None:
        return _write_numbers(vr, form, values, big)
    if vr == "AT":
        return b"".join(_write_tag(item, big) for item in values)
    if len(values) != 1 or not isinstance(values[0], str):
        raise _unfit(vr, t("base 64 text", "base64 文本"))
    try:
        raw = base64.b64decode(values[0], validate=True)
    except (binascii.Error, ValueError) as error:
        raise _unfit(vr, t("base 64 text", "base64 文本")) from error
    return raw + b"\0" if len(raw) & 1 else raw


def _unfit(vr: str, needed: str, remedy: str = "") -> CodecError:
    return CodecError(
        t(f"the value is not {needed} ({vr})", f"值不是{needed}（{vr}）"), code="dicom.value", remedy=remedy
    )


def _write_text(vr: str, values: Sequence[Any], terms: Sequence[str], encoding: str) -> bytes:
    texts = [_checked(vr, value) for value in values]
    text = "\\".join(texts)
    if vr in _SINGLE and len(texts) > 1:
        raise _unfit(vr, t("a single text", "单个文本"))
    if vr not in CHARSET_VRS:
        terms, encoding = (), ""
    try:
        raw = encode_text(text, terms, encoding)
    except UnicodeEncodeError as error:
        said = "\\".join(terms) or "ASCII"
        raise CodecError(
            t(f"a character can't be written in {said}", f"有字符无法用 {said} 表示"),
            code="dicom.charset",
            remedy=t("set SpecificCharacterSet: {const: ISO_IR 192}", "请写 SpecificCharacterSet: {const: ISO_IR 192}"),
        ) from error
    if len(raw) & 1:
        raw += b"\0" if vr == "UI" else b" "
    return raw


def _checked(vr: str, value: Any) -> str:
    """One value as text, in the form and of the length its VR has."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else _number_text(vr, value)
    if vr not in _SINGLE and "\\" in text:
        remedy = t("several values are written as a list", "多个值请写成列表")
        raise _unfit(vr, t("a text without backslash", "不含反斜杠的文本"), remedy)
    longest = _LENGTHS.get(vr)
    if vr == "PN":
        longest = _LONGEST_NAME * 3 + 2
        if any(len(form) > _LONGEST_NAME for form in text.split("=")):
            longest = 0
    if longest is not None and len(text) > longest:
        at_most = longest or _LONGEST_NAME
        text_en, text_zh = f"a text of at most {at_most} characters", f"不超过 {at_most} 个字符的文本"
        raise _unfit(vr, t(text_en, text_zh), t("shorten it, or round() a number", "请缩短文本，数字可用 round()"))
    form = _FORMS.get(vr)
    if text and form is not None and not form.fullmatch(text):
        words = {
            "AS": t("an age such as 034Y", "年龄（如 034Y）"),
            "DA": t("a date yyyyMMdd", "日期 yyyyMMdd"),
            "DT": t("a time yyyyMMddHHmmss", "日期时间 yyyyMMddHHmmss"),
            "TM": t("a time of day HHmmss", "时间 HHmmss"),
            "UI": t("a UID", "UID"),
        }
        dates = t("use format_date", "请用 format_date") if vr in ("DA", "DT", "TM") else ""
        raise _unfit(vr, words.get(vr, t("a number", "数字")), dates)
    return text


def _number_text(vr: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise _unfit(vr, t("text or a number", "文本或数字"))
    if isinstance(value, int):
        return str(value) if value.bit_length() < 400 else "9" * 100
    if isinstance(value, Decimal):
        plain = format(value, "f") if value.is_finite() and abs(value.adjusted()) < 40 else str(value)
        return plain if len(plain) <= _LENGTHS["DS"] else str(value)
    return repr(value)


def _write_numbers(vr: str, form: str, values: Sequence[Any], big: bool) -> bytes:
    numbers: list[int | float | Decimal] = []
    for value in values:
        exact = value
        if isinstance(value, str):
            if not _DECIMAL.fullmatch(value):
                raise _unfit(vr, t("a number", "数字"))
            exact = Decimal(value)
        if isinstance(exact, bool) or not isinstance(exact, int | float | Decimal):
            raise _unfit(vr, t("a number", "数字"))
        if form in "df":
            numbers.append(exact)
        elif not _finite(exact) or exact != int(exact):
            raise _unfit(vr, t("a whole number", "整数"))
        else:
            numbers.append(int(exact))
    try:
        return struct.pack(f"{'>' if big else '<'}{len(numbers)}{form}", *numbers)
    except (struct.error, OverflowError) as error:
        raise _unfit(vr, t("a number in its range", "范围内的数字")) from error


def _finite(value: int | float | Decimal) -> bool:
    return value.is_finite() if isinstance(value, Decimal) else isinstance(value, int) or math.isfinite(value)


def _write_tag(value: Any, big: bool) -> bytes:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9A-Fa-f]{8}", value, re.ASCII):
        raise _unfit("AT", t("a tag of eight hexadecimal digits", "8 位十六进制标签"))
    return struct.pack(">HH" if big else "<HH", int(value[:4], 16), int(value[4:], 16))
