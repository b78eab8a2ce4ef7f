"""What generated code calls: steps into plain trees, comparisons and arithmetic. Small, total, without side effects."""

from __future__ import annotations

import decimal
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, NoReturn

from hub.i18n import t
from hub.ids import id_text
from hub.message import Message

__all__ = [
    "CHINA",
    "MAX_TEXT",
    "MESSAGE_KEYS",
    "RUNTIME",
    "FunctionError",
    "as_list",
    "instant_text",
    "is_absent",
    "kind_of",
    "number_of",
    "plain_text",
]

#: Beijing time; China has had no other offset since 1992.
CHINA = timezone(timedelta(hours=8))
#: What ``$message.…`` may name.
MESSAGE_KEYS = ("id", "received_at", "source", "type", "control_id", "correlation", "keys")
#: Longest text a function may make, characters.
MAX_TEXT = 16 << 20
#: Longest text taken for a number.
MAX_NUMBER = 100
_PLAIN_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)", re.ASCII)
#: Whole numbers up to here are added and multiplied as such, without rounding.
_WHOLE_LIMIT = 10**120
#: 34 digits as in IEEE 754 decimal128; a result out of range is an error, never infinity.
ARITHMETIC = decimal.Context(
    prec=34,
    Emax=400,
    Emin=-400,
    traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
)


class FunctionError(Exception):
    """A function or operator that can't do its work on a value. ``value`` is masked before anybody sees it."""

    def __init__(self, text: str, value: Any = None, remedy: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.value = value
        self.remedy = remedy


def is_absent(value: Any) -> bool:
    return value is None or value == ""


def kind_of(value: Any) -> str:
    """The kind of a value in the words of JSON, for error texts."""
    if isinstance(value, bool):
        return t("true/false", "布尔值")
    if isinstance(value, str):
        return t("text", "文本")
    if isinstance(value, int | float | Decimal):
        return t("number", "数字")
    if isinstance(value, list | tuple):
        return t("list", "列表")
    if isinstance(value, dict):
        return t("object", "对象")
    return type(value).__name__


def plain_text(value: Any) -> str:
    """A scalar as text: numbers without exponent, ``true``/``false``; FunctionError for lists and objects."""
    if isinstance(value, str):
        return value
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int):
        if value.bit_length() > 14_000:
            raise FunctionError(t("number too long for a text", "数字过长，无法转为文本"))
        return str(value)
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f") if "e" in repr(value) else repr(value)
    if isinstance(value, Decimal):
        if abs(value.adjusted()) > 1000:
            raise FunctionError(t("number too long for a text", "数字过长，无法转为文本"))
        return format(value, "f")
    raise FunctionError(
        t(f"a single value is needed, this is a {kind_of(value)}", f"需要单个值，实为{kind_of(value)}"),
        remedy=t(
            "pick one with [0], first or a filter, or name a member", "请用 [0]、first 或过滤条件取其一，或指明成员"
        ),
    )


def number_of(text: str) -> int | Decimal | None:
    """The number a text is written as (``12``, ``-0.50``), exactly; None when it is none."""
    text = text.strip()
    if len(text) > MAX_NUMBER or not _PLAIN_NUMBER.fullmatch(text):
        return None
    return Decimal(text) if "." in text else int(text)


def _operand(value: Any) -> int | Decimal | None:
    """A value as an exact number; None when absent."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        raise FunctionError(t("true/false is not a number", "布尔值不是数字"), value)
    if isinstance(value, int | Decimal):
        return value
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, str):
        found = number_of(value)
        if found is not None:
            return found
        raise FunctionError(
            t("not a number", "不是数字"), value, t("join texts with concat(a, b)", "拼接文本请用 concat(a, b)")
        )
    raise FunctionError(t(f"not a number but a {kind_of(value)}", f"不是数字，而是{kind_of(value)}"))


def _arithmetic(
    name: str, exact: Callable[[Decimal, Decimal], Decimal], whole: Callable[[int, int], int] | None
) -> Callable[[Any, Any], Any]:
    def calculate(left: Any, right: Any) -> Any:
        a, b = _operand(left), _operand(right)
        if a is None or b is None:
            return None
        both = isinstance(a, int) and isinstance(b, int)
        if both and whole is not None and -_WHOLE_LIMIT < a < _WHOLE_LIMIT and -_WHOLE_LIMIT < b < _WHOLE_LIMIT:
            return whole(int(a), int(b))
        try:
            result = exact(Decimal(a), Decimal(b))
        except decimal.DecimalException:
            if name == "divide" and not b:
                raise FunctionError(
                    t("division by zero", "除数为零"),
                    remedy=t("test the divisor with if … else", "请先用 if … else 判断除数"),
                ) from None
            raise FunctionError(t("the result is out of range", "结果超出范围")) from None
        return int(result) if both and result == result.to_integral_value() else result

    calculate.__name__ = name
    return calculate


def negate(value: Any) -> Any:
    found = _operand(value)
    return None if found is None else -found


def equal(left: Any, right: Any) -> bool:
    """Equality that sees through the way a number is written: 1001, "1001" and 1001.0 are the same."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, str) != isinstance(right, str):
        if left is None or right is None:
            return left in (None, "") and right in (None, "")
        if isinstance(left, list | dict) or isinstance(right, list | dict):
            return False
        a = number_of(left) if isinstance(left, str) else _operand(left)
        b = number_of(right) if isinstance(right, str) else _operand(right)
        return a is not None and a == b
    if isinstance(left, float) or isinstance(right, float):
        if isinstance(left, Decimal | float | int) and isinstance(right, Decimal | float | int):
            return _operand(left) == _operand(right)
        return False
    return bool(left == right)


def _ordered(name: str, test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Comparison of two numbers or two texts; False when one is absent."""

    def compare(left: Any, right: Any) -> bool:
        if left is None or right is None or left == "" or right == "":
            return False
        if isinstance(left, str) and isinstance(right, str):
            a, b = number_of(left), number_of(right)
            return test(left, right) if a is None or b is None else test(a, b)
        a, b = _operand(left), _operand(right)
        return test(a, b)

    compare.__name__ = name
    return compare


def contains(member: Any, whole: Any) -> bool:
    """``member in whole``: part of a text, item of a list, key of an object; False when one is absent."""
    if whole is None or member is None:
        return False
    if isinstance(whole, str):
        return member != "" and plain_text(member) in whole
    if isinstance(whole, dict):
        return isinstance(member, str) and member in whole
    if isinstance(whole, list | tuple):
        return any(equal(member, item) for item in whole)
    raise FunctionError(
        t(
            f"'in' needs a text, list or object, not a {kind_of(whole)}",
            f"'in' 右侧须为文本、列表或对象，而非{kind_of(whole)}",
        )
    )


def member(value: Any, key: str) -> Any:
    """``value.key`` of a plain tree; a list stands for its first item, anything else has no members."""
    while type(value) is list:
        if not value:
            return None
        value = value[0]
    return value.get(key) if isinstance(value, Mapping) else None


def item(value: Any, index: int) -> Any:
    """``value[index]``, 0 the first, -1 the last; a single value counts as a list of one."""
    if isinstance(value, list | tuple):
        return value[index] if -len(value) <= index < len(value) else None
    return value if index in (0, -1) else None


def message_value(message: Message | None, key: str) -> Any:
    """What expressions may know of the message under way; None where there is no message yet."""
    if message is None:
        return None
    if key == "id":
        return id_text(message.id)
    if key == "received_at":
        return instant_text(message.received_at)
    return getattr(message, key)


def instant_text(microseconds: int, offset: timezone = CHINA) -> str:
    """Microseconds since the epoch as ISO 8601 with milliseconds and offset."""
    return datetime.fromtimestamp(microseconds / 1e6, offset).isoformat(timespec="milliseconds")


def as_list(value: Any) -> Sequence[Any]:
    """Everything a value stands for in a list position: items of a list, a single value, nothing."""
    if type(value) is list:
        return value if None not in value else [item for item in value if item is not None]
    if value is None or value == "":
        return ()
    return value if isinstance(value, tuple) else (value,)


def each_one(access: Callable[[Any, Any], Any], values: Sequence[Any], step: str | int) -> list[Any]:
    """What a step leads to from each of the values; lists count by their items, what is absent is left out."""
    return [found for value in values for found in as_list(access(value, step))]


def filled(values: Sequence[Any]) -> Sequence[Any]:
    """A list without its empty texts."""
    return values if "" not in values else [value for value in values if value != ""]


def missing() -> NoReturn:
    raise FunctionError(
        t("a required value is absent", "必填值缺失"),
        remedy=t("the source must send it, or give it a default:", "来源须提供该值，或设置 default:"),
    )


def over_budget() -> NoReturn:
    raise FunctionError(
        t("the target grows beyond the permitted number of nodes", "目标节点数超过上限"),
        remedy=t(
            "look for an each: inside an each: over the same list, or narrow it with where:",
            "请检查是否在 each: 内对同一列表再次 each:，或用 where: 缩小范围",
        ),
    )


RUNTIME: dict[str, Callable[..., Any]] = {
    "add": _arithmetic("add", ARITHMETIC.add, operator.add),
    "subtract": _arithmetic("subtract", ARITHMETIC.subtract, operator.sub),
    "multiply": _arithmetic("multiply", ARITHMETIC.multiply, operator.mul),
    "divide": _arithmetic("divide", ARITHMETIC.divide, None),
    "negate": negate,
    "equal": equal,
    "lt": _ordered("lt", lambda a, b: bool(a < b)),
    "le": _ordered("le", lambda a, b: bool(a <= b)),
    "gt": _ordered("gt", lambda a, b: bool(a > b)),
    "ge": _ordered("ge", lambda a, b: bool(a >= b)),
    "contains": contains,
    "member": member,
    "item": item,
    "message_value": message_value,
    "instant_text": instant_text,
    "as_list": as_list,
    "each_one": each_one,
    "filled": filled,
    "plain_text": plain_text,
    "missing": missing,
    "over_budget": over_budget,
}
