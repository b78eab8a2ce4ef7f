"""The library of named checks (002:982): each tells whether a value is right, for ``check:`` and inside expressions.

Sources: GB 11643-1999 (citizen number), GB 32100-2015 (unified social credit identifier), GA 36-2018 (plates), ISO/IEC 7812-1 annex B
(Luhn), GB/T 2260 (administrative divisions), ITU-T E.164 and the numbering plan of MIIT (phones), RFC 5321 (mail addresses),
ICD-10 and its Chinese clinical extension, UCUM.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from hub.mapping.functions.base import Registry, text_of
from hub.mapping.functions.identity import id_card
from hub.mapping.nodes import CallNode
from hub.mapping.paths import Code, Scope
from hub.mapping.runtime import FunctionError, is_absent, number_of
from hub.masking import luhn
from hub.quality.moments import in_order, now_of, span_of, years_between

if TYPE_CHECKING:
    from hub.mapping.codegen import Generator

__all__ = ["CHECKS"]

CHECKS = Registry()

_EMAIL = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,64}(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,64}){0,8}"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}"
)
_MOBILE = re.compile(r"(?:(?:\+|00)?86[- ]?)?1[3-9][0-9]{9}")
_LANDLINE = re.compile(
    r"(?:(?:\+|00)86[- ]?[1-9][0-9]{1,2}|\(?0[1-9][0-9]{1,2}\)?)[- ]?[2-9][0-9]{6,7}(?:(?:-|ext\.?|转)[0-9]{1,6})?"
    r"|[48]00[- ]?[0-9]{3,4}[- ]?[0-9]{3,4}"
)
_CREDIT = re.compile(r"[0-9A-HJ-NPQRTUWXY]{2}[0-9]{6}[0-9A-HJ-NPQRTUWXY]{10}")
_CREDIT_CHARACTERS = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_CREDIT_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
_PROVINCES = "京津冀晋蒙辽吉黑沪苏浙皖闽赣鲁豫鄂湘粤桂琼渝川贵云藏陕甘青宁新"
_PLATE = re.compile(
    rf"[{_PROVINCES}][A-HJ-NP-Z](?:[A-HJ-NP-Z0-9]{{4}}[A-HJ-NP-Z0-9学警港澳挂领使]"
    r"|[A-HJK][A-HJ-NP-Z0-9][0-9]{4}|[0-9]{5}[A-HJK])"
)
_PLATE_NOISE = str.maketrans("", "", " ·.-•")
_CARD = re.compile(r"[1-9][0-9]{14,18}")
_ICD10 = re.compile(r"[A-Z][0-9]{2}(?:\.[0-9Xx][0-9]{0,2}(?:[Xx][0-9]{3})?)?[+*†]?")
#: First two digits of GB/T 2260.
_REGIONS = frozenset(
    [
        "11",
        "12",
        "13",
        "14",
        "15",
        "21",
        "22",
        "23",
        "31",
        "32",
        "33",
        "34",
        "35",
        "36",
        "37",
        "41",
        "42",
        "43",
        "44",
        "45",
        "46",
        "50",
        "51",
        "52",
        "53",
        "54",
        "61",
        "62",
        "63",
        "64",
        "65",
        "71",
        "81",
        "82",
    ]
)
_DIVISION = re.compile(r"[1-8][0-9]{5}(?:[0-9]{3}(?:[0-9]{3})?)?")
_POSTAL = re.compile(r"[0-8][0-9]{5}")
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_CHINESE_NAME = re.compile(rf"[{_HAN}]{{2,6}}|[{_HAN}]{{1,12}}(?:[·•‧][{_HAN}]{{1,12}}){{1,4}}")
_UNIT = re.compile(
    r"(?:[0-9]{1,3}(?:[*^][-+]?[0-9]{1,3})?|%|‰|[A-Za-zµμΩ°℃Å'\"\u4e00-\u9fff]{1,12}(?:[-+]?[0-9]{1,2})?|\[[A-Za-z_'/0-9.]{1,24}\]"
    r"|\{[^{}\s]{1,24}\}|[*^][-+]?[0-9]{1,3}|[./])+"
)
_VIN = re.compile(r"[A-HJ-NPR-Z0-9]{17}")
_VIN_VALUES = {c: int(v) for c, v in zip("ABCDEFGHJKLMNPRSTUVWXYZ", "12345678123457923456789", strict=True)}
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
_PASSPORT = re.compile(r"[A-Z0-9]{5,15}")
#: Longest text any check looks at; nothing it knows is longer.
_LONGEST = 320


def _text(value: Any, name: str) -> str:
    """The text to look at, "" for what is too long to be right."""
    text = text_of(value, name).strip()
    return text if len(text) <= _LONGEST else ""


def _form(name: str, pattern: re.Pattern[str], summary: str) -> None:
    def check(value: Any) -> bool:
        return not is_absent(value) and pattern.fullmatch(_text(value, name)) is not None

    check.__doc__ = summary
    CHECKS.add(name, returns="bool")(check)


_form("is_email", _EMAIL, "A mail address.")
_form("is_mobile", _MOBILE, "A mobile phone number of mainland China, with or without +86.")
_form("is_landline", _LANDLINE, "A landline number with area code, extension allowed; 400 and 800 numbers.")
_form("is_icd10", _ICD10, "A code of the form of ICD-10, the Chinese clinical extension I10.x00x002 included.")
_form("is_postal_code", _POSTAL, "Six digits of a postal code of mainland China.")
_form("is_chinese_name", _CHINESE_NAME, "A person's name in Chinese characters, parts joined by ·.")
_form("is_unit", _UNIT, "A unit of measure as UCUM or reports write it: mmol/L, 10*9/L, mm[Hg], 次/分.")
_form("is_passport", _PASSPORT, "Letters and digits of a passport or other travel document, 5 to 15.")


@CHECKS.add(returns="bool")
def is_phone(value: Any) -> bool:
    """A mobile phone or landline number, or one of another country with +."""
    if is_absent(value):
        return False
    text = _text(value, "is_phone")
    if _MOBILE.fullmatch(text) or _LANDLINE.fullmatch(text):
        return True
    digits = text[1:].replace(" ", "").replace("-", "")
    return (
        text[:1] == "+"
        and not text.startswith("+86")
        and digits.isascii()
        and digits.isdigit()
        and 7 <= len(digits) <= 15
    )


def _citizen(value: Any) -> str:
    """The number in 18 characters, "" when it is none."""
    try:
        found = id_card(value)
    except FunctionError:
        return ""
    return found or ""


@CHECKS.add(returns="bool")
def is_id_card(value: Any) -> bool:
    """A citizen number: 18 characters with a right check character, or 15 digits; with an existing birth date and a known region."""
    number = _citizen(value)
    return number[:2] in _REGIONS


@CHECKS.add(returns="bool")
def is_id_card_18(value: Any) -> bool:
    """A citizen number in the present form of 18 characters."""
    return is_id_card(value) and len(_text(value, "is_id_card_18")) == 18


@CHECKS.add(returns="bool")
def id_card_fits_birth_date(value: Any, birth: Any) -> bool:
    """Whether a birth date, as precise as it is, agrees with the citizen number; holds where one of them is absent or no such thing."""
    number = _citizen(value)
    if not number or is_absent(birth):
        return True
    try:
        told, said = span_of(number[6:14]), span_of(birth)
    except FunctionError:
        return True
    return told.first < said.end and said.first < told.end


@CHECKS.add(returns="bool")
def id_card_fits_sex(value: Any, sex: Any) -> bool:
    """Whether a sex (1/2 of GB/T 2261.1, M/F, male/female, 男/女) agrees with the citizen number; holds for any other code."""
    number = _citizen(value)
    if not number or is_absent(sex):
        return True
    said = {"1": 1, "2": 0, "m": 1, "f": 0, "male": 1, "female": 0, "男": 1, "女": 0, "男性": 1, "女性": 0}.get(
        _text(sex, "id_card_fits_sex").lower()
    )
    return said is None or int(number[16]) % 2 == said


@CHECKS.add(returns="bool")
def is_credit_code(value: Any) -> bool:
    """A unified social credit identifier of 18 characters with a right check character."""
    if is_absent(value):
        return False
    text = _text(value, "is_credit_code").upper()
    if not _CREDIT.fullmatch(text):
        return False
    total = sum(w * _CREDIT_CHARACTERS.index(c) for w, c in zip(_CREDIT_WEIGHTS, text, strict=False))
    return _CREDIT_CHARACTERS[(31 - total % 31) % 31] == text[17]


@CHECKS.add(returns="bool")
def is_credit_code_or_id_card(value: Any) -> bool:
    """The number of a firm or of a person: a unified social credit identifier or a citizen number."""
    return is_credit_code(value) or is_id_card(value)


@CHECKS.add(returns="bool")
def is_plate_number(value: Any) -> bool:
    """A vehicle's plate of mainland China, new energy (8 characters), trailers and special letters included."""
    return not is_absent(value) and bool(
        _PLATE.fullmatch(_text(value, "is_plate_number").translate(_PLATE_NOISE).upper())
    )


@CHECKS.add(returns="bool")
def is_bank_card(value: Any) -> bool:
    """15 to 19 digits of a bank card with a right check digit (Luhn)."""
    if is_absent(value):
        return False
    text = _text(value, "is_bank_card").replace(" ", "")
    return bool(_CARD.fullmatch(text)) and luhn(text)


@CHECKS.add(returns="bool")
def is_vin(value: Any) -> bool:
    """A vehicle identification number of 17 characters with a right check character (GB 16735)."""
    if is_absent(value):
        return False
    text = _text(value, "is_vin").upper()
    if not _VIN.fullmatch(text):
        return False
    total = sum(w * (int(c) if c.isdigit() else _VIN_VALUES[c]) for w, c in zip(_VIN_WEIGHTS, text, strict=True))
    return "0123456789X"[total % 11] == text[8]


@CHECKS.add(returns="bool")
def is_division(value: Any) -> bool:
    """6, 9 or 12 digits of the form of an administrative division, of a province there is."""
    if is_absent(value):
        return False
    text = _text(value, "is_division")
    return _DIVISION.fullmatch(text) is not None and text[:2] in _REGIONS


# -- numbers, dates ----------------------------------------------------------------------------------------------------


@CHECKS.add(returns="bool")
def is_number(value: Any) -> bool:
    """A number, or a text that is one."""
    if isinstance(value, bool) or is_absent(value):
        return False
    return not isinstance(value, str) or number_of(value) is not None


@CHECKS.add(returns="bool")
def is_age(value: Any, max: Any = 130) -> bool:
    """Whole or decimal years from 0 to ``max``, 岁 allowed behind them."""
    if isinstance(value, str):
        value = number_of(value.strip().removesuffix("岁"))
    if value is None or isinstance(value, bool) or not hasattr(value, "__le__") or isinstance(value, str | list | dict):
        return False
    return bool(0 <= value <= max)


@CHECKS.add(returns="bool")
def is_date(value: Any) -> bool:
    """A date or time that exists, as precise as it is: 2026, 202611, 2026-11-28, 20261128093015+0800."""
    if is_absent(value):
        return False
    try:
        span_of(value)
    except FunctionError:
        return False
    return True


def _with_now(g: Generator, node: CallNode, scope: Scope) -> Code:
    """The function gets the time of the run behind its own arguments."""
    texts = [g.compile(argument, scope).text for argument in node.arguments]
    texts += [f"{name}={g.compile(value, scope).text}" for name, value in node.keywords]
    function = g.functions[node.name]
    g.namespace[f"f_{node.name}"] = function.call
    return Code(f"f_{node.name}({', '.join([*texts, 'now_us=ctx.now_us'])})", function.returns, True)


@CHECKS.add(returns="bool", emit=_with_now)
def is_past(value: Any, *, now_us: Any = 0) -> bool:
    """A date or time that exists and is not after the time of the run."""
    if is_absent(value):
        return False
    try:
        return span_of(value).first <= now_of(now_us)
    except FunctionError:
        return False


@CHECKS.add(returns="bool", emit=_with_now)
def is_birth_date(value: Any, max: Any = 130, *, now_us: Any = 0) -> bool:
    """A date that exists, is not in the future and not more than ``max`` years ago."""
    try:
        return not is_absent(value) and 0 <= years_between(span_of(value), now_of(now_us)) <= max
    except FunctionError:
        return False


@CHECKS.add()
def days_between(first: Any, last: Any) -> Any:
    """Whole days from one date to another, negative backwards; null where one is absent."""
    if is_absent(first) or is_absent(last):
        return None
    return int((span_of(last).first - span_of(first).first) // 86_400)


@CHECKS.add()
def minutes_between(first: Any, last: Any) -> Any:
    """Whole minutes from one time to another, negative backwards; null where one is absent."""
    if is_absent(first) or is_absent(last):
        return None
    return int((span_of(last).first - span_of(first).first) // 60)


@CHECKS.add(returns="bool")
def not_after(first: Any, last: Any) -> bool:
    """Whether one date may be before another or the same, given how precise both are; holds where one is absent."""
    if is_absent(first) or is_absent(last):
        return True
    return in_order(span_of(first), span_of(last))
