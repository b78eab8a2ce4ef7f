"""Money and numbers as they are written in China.

Sources: 支付结算办法 (PBC 1997), annex 1, for amounts in words; GB/T 15835-2011 for numbers in Chinese characters.
"""

from __future__ import annotations

import decimal
import re
from decimal import Decimal
from typing import Any

from hub.i18n import t
from hub.mapping.functions.base import Registry, text_of
from hub.mapping.functions.numbers import bounded
from hub.mapping.runtime import ARITHMETIC, FunctionError, is_absent

__all__ = ["MONEY"]

MONEY = Registry()
_CENT = Decimal("0.01")
_LARGEST = 10**16
_LARGE: tuple[tuple[int, str], ...] = ((10**8, "亿"), (10**4, "万"))
_FORMAL, _FORMAL_UNITS = "零壹贰叁肆伍陆柒捌玖", ("", "拾", "佰", "仟")
_PLAIN, _PLAIN_UNITS = "零一二三四五六七八九", ("", "十", "百", "千")
_VALUE = {
    **{character: number for number, character in enumerate("零一二三四五六七八九")},
    **{character: number for number, character in enumerate(_FORMAL)},
    "〇": 0, "○": 0, "两": 2, "贰": 2, "弐": 2, "参": 3,
}  # fmt: skip
_UNIT = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
_PLAIN_UNIT = {"拾": "十", "佰": "百", "仟": "千"}
_NUMERAL = re.compile("[零一二三四五六七八九十百千万亿〇○两壹贰叁肆伍陆柒捌玖拾佰仟弐参]{1,40}")


@MONEY.add(converts=True)
def yuan(value: Any) -> Any:
    """Fen as yuan with two decimals: 1234 is 12.34."""
    if is_absent(value):
        return None
    found = bounded(value, "yuan")
    if found != int(found):
        raise FunctionError(t("yuan: fen are whole", "yuan：分须为整数"), value)
    return Decimal(int(found)).scaleb(-2, context=ARITHMETIC) if found else Decimal("0.00")


@MONEY.add(converts=True)
def fen(value: Any) -> Any:
    """Yuan as whole fen: 12.34 is 1234; an error for fractions of a fen."""
    if is_absent(value):
        return None
    found = Decimal(bounded(value, "fen")) * 100
    if found != found.to_integral_value():
        raise FunctionError(
            t("fen: there are fractions of a fen", "fen：不足一分"),
            value,
            t("round it first: | round(2) | fen", "请先用 round(2)"),
        )
    return int(found)


@MONEY.add(converts=True)
def amount_in_words(value: Any) -> Any:
    """Yuan as written on bills: 1409.50 is 壹仟肆佰零玖元伍角; 整 follows whole yuan. Rounded to fen; less than 10^16."""
    if is_absent(value):
        return None
    try:
        amount = Decimal(bounded(value, "amount_in_words")).quantize(_CENT, decimal.ROUND_HALF_UP, ARITHMETIC)
    except decimal.DecimalException:
        amount = Decimal(_LARGEST)
    sign = "负" if amount < 0 else ""
    whole, cents = divmod(int(abs(amount) * 100), 100)
    if whole >= _LARGEST:
        raise FunctionError(t("amount_in_words: too large", "amount_in_words：金额过大"), value)
    jiao, single = divmod(cents, 10)
    text = f"{_written(whole, _FORMAL, _FORMAL_UNITS)}元" if whole else ""
    if not cents:
        return f"{sign}{text or '零元'}整"
    if jiao:
        text += f"{_FORMAL[jiao]}角"
    elif whole:
        text += "零"
    if single:
        text += f"{_FORMAL[single]}分"
    return sign + text


def _written(number: int, digits: str, units: tuple[str, ...]) -> str:
    """A whole number below 10^16 in Chinese characters; a 零 stands for noughts between digits, however many."""
    for size, unit in _LARGE:
        if number >= size:
            high, low = divmod(number, size)
            text = _written(high, digits, units) + unit
            if not low:
                return text
            return text + (digits[0] if low < size // 10 else "") + _written(low, digits, units)
    text, gap = "", False
    for position in (3, 2, 1, 0):
        digit = number // 10**position % 10
        if digit:
            text += (digits[0] if gap and text else "") + digits[digit] + units[position]
        gap = not digit
    return text or digits[0]


@MONEY.add(converts=True)
def chinese_numeral(value: Any) -> Any:
    """A whole number in Chinese characters: 15 is 十五, 3005 is 三千零五."""
    if is_absent(value):
        return None
    found = bounded(value, "chinese_numeral")
    if not -_LARGEST < found < _LARGEST or found != int(found):
        raise FunctionError(
            t("chinese_numeral: a whole number below 10^16 is needed", "chinese_numeral：须为小于 10^16 的整数"), value
        )
    return ("负" if found < 0 else "") + _numeral(abs(int(found)))


def _numeral(number: int) -> str:
    text = _written(number, _PLAIN, _PLAIN_UNITS)
    return text[1:] if text.startswith("一十") else text


@MONEY.add(converts=True)
def chinese_number(value: Any) -> Any:
    """The whole number of Chinese characters: 一百二十三, 十五, 二〇二六, 贰拾; an error for what is written in no usual way."""
    if is_absent(value):
        return None
    text = text_of(value, "chinese_number").strip()
    if _NUMERAL.fullmatch(text):
        if not set(text) & (_UNIT.keys() | {"万", "亿"}):
            return int("".join(str(_VALUE[character]) for character in text))
        number = _spelled(text)
        plain = "".join(_PLAIN[_VALUE[c]] if c in _VALUE else _PLAIN_UNIT.get(c, c) for c in text)
        if number < _LARGEST and plain in (_numeral(number), _written(number, _PLAIN, _PLAIN_UNITS)):
            return number
    raise FunctionError(
        t("chinese_number: not a number in Chinese characters", "chinese_number：不是中文数字"), value, "一百二十三"
    )


def _spelled(text: str) -> int:
    """The value of digits and units, whatever their order."""
    for size, unit in _LARGE:
        if unit in text:
            high, _, low = text.rpartition(unit)
            return (_spelled(high) if high else 1) * size + (_spelled(low) if low else 0)
    total = digit = 0
    for character in text:
        if character in _VALUE:
            digit = _VALUE[character]
        else:
            total += (digit or 1) * _UNIT[character]
            digit = 0
    return total + digit
