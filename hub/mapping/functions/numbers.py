"""Functions on numbers. Texts are read exactly; what a float can't hold as written becomes a Decimal."""

from __future__ import annotations

import decimal
from decimal import Decimal
from typing import Any

from hub.i18n import t
from hub.mapping.functions.base import Registry
from hub.mapping.runtime import ARITHMETIC, MAX_NUMBER, FunctionError, as_list, is_absent, kind_of, number_of

__all__ = ["NUMBERS", "bounded", "exact"]

NUMBERS = Registry()
_TRUE = frozenset({"true", "1", "y", "yes", "t", "是"})
_FALSE = frozenset({"false", "0", "n", "no", "f", "否"})
_ROUNDING = {"half_up": decimal.ROUND_HALF_UP, "half_even": decimal.ROUND_HALF_EVEN, "down": decimal.ROUND_DOWN}


def exact(value: Any, name: str) -> int | Decimal:
    """A number, or a text that is one, without loss."""
    if isinstance(value, str):
        found = number_of(value)
        if found is None:
            raise FunctionError(
                t(f"{name}: not a number", f"{name}：不是数字"),
                value,
                t("expected e.g. 12 or -0.50", "应形如 12 或 -0.50"),
            )
        return found
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise FunctionError(
            t(f"{name}: not a number but a {kind_of(value)}", f"{name}：不是数字，而是{kind_of(value)}")
        )
    return Decimal(repr(value)) if isinstance(value, float) else value


def bounded(value: Any, name: str) -> int | Decimal:
    """The same, of at most 100 digits before and behind the decimal point."""
    found = exact(value, name)
    if isinstance(found, int):
        found = found if found.bit_length() < 4 * MAX_NUMBER else Decimal("Infinity")
    if isinstance(found, Decimal) and not (found.is_finite() and abs(found.adjusted()) <= MAX_NUMBER):
        raise FunctionError(t(f"{name}: out of range", f"{name}：超出范围"))
    return found


@NUMBERS.add(converts=True)
def number(value: Any) -> Any:
    """A number with the digits as written: whole, float where it holds them exactly, else Decimal."""
    if is_absent(value):
        return None
    if type(value) is str and len(value) <= MAX_NUMBER and value.isascii():
        if value.isdigit():
            return int(value)
        if "." in value and "e" not in value:
            try:
                near = float(value)
            except ValueError:
                pass
            else:
                if repr(near) == value:
                    return near
    elif isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return value
    return exact(value, "number")


@NUMBERS.add("int", converts=True)
def whole(value: Any) -> Any:
    """A whole number; 12.0 is one, 12.5 is an error."""
    if is_absent(value):
        return None
    found = exact(value, "int")
    if isinstance(found, int):
        return found
    if abs(found.adjusted()) > 400 or found != found.to_integral_value():
        raise FunctionError(
            t("int: has decimals", "int：含小数"), value, t("round it first: | round | int", "请先取整：| round | int")
        )
    return int(found)


@NUMBERS.add("decimal", converts=True)
def as_decimal(value: Any) -> Any:
    """An exact decimal number, trailing zeros kept: 12.50."""
    return None if is_absent(value) else Decimal(exact(value, "decimal"))


@NUMBERS.add("round", converts=True)
def rounded(value: Any, digits: Any = 0, mode: Any = "half_up") -> Any:
    """Rounded to ``digits`` decimals, as Decimal (whole when 0); mode half_up (commercial), half_even or down."""
    if is_absent(value):
        return None
    if not isinstance(digits, int) or isinstance(digits, bool) or not 0 <= digits <= 30:
        raise FunctionError(t("round: digits must be 0 to 30", "round：小数位须为 0 至 30"))
    rounding = _ROUNDING.get(mode) if isinstance(mode, str) else None
    if rounding is None:
        raise FunctionError(
            t("round: mode is half_up, half_even or down", "round：方式须为 half_up、half_even 或 down")
        )
    found = exact(value, "round")
    try:
        result = Decimal(found).quantize(Decimal(1).scaleb(-digits), rounding=rounding, context=ARITHMETIC)
    except decimal.DecimalException:
        raise FunctionError(t("round: more than 34 digits", "round：超过 34 位数字")) from None
    return result if digits else int(result)


@NUMBERS.add("bool", converts=True)
def boolean(value: Any) -> Any:
    """True or false from true/false, 1/0, Y/N, yes/no, 是/否; anything else is an error."""
    if is_absent(value):
        return None
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and value in (0, 1):
        return value == 1
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise FunctionError(
        t("bool: neither true nor false", "bool：既非真也非假"),
        value,
        t("compare instead: PID-30 == 'Y'", "请改用比较：PID-30 == 'Y'"),
    )


def _numbers(name: str, values: tuple[Any, ...]) -> list[int | Decimal]:
    return [exact(item, name) for value in values for item in as_list(value) if not is_absent(item)]


@NUMBERS.add("sum", lists=("values",))
def total(*values: Any) -> Any:
    """The sum of numbers, exactly; 0 when there are none."""
    result: int | Decimal = 0
    for value in _numbers("sum", values):
        if isinstance(result, int) and isinstance(value, int):
            result += value
        else:
            result = _added(result, value)
    return result


def _added(left: int | Decimal, right: int | Decimal) -> Decimal:
    try:
        return ARITHMETIC.add(Decimal(left), Decimal(right))
    except decimal.DecimalException:
        raise FunctionError(t("sum: out of range", "sum：超出范围")) from None


@NUMBERS.add("min", lists=("values",))
def least(*values: Any) -> Any:
    """The smallest number; null when there are none."""
    return min(_numbers("min", values), default=None)


@NUMBERS.add("max", lists=("values",))
def greatest(*values: Any) -> Any:
    """The largest number; null when there are none."""
    return max(_numbers("max", values), default=None)


@NUMBERS.add("abs", converts=True)
def magnitude(value: Any) -> Any:
    """The number without its sign."""
    return None if is_absent(value) else abs(exact(value, "abs"))
