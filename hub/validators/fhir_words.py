"""What the models of FHIR find, in plain words, with the path as FHIRPath writes it; never the value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from hub.i18n import t
from hub.validators.findings import allowed, missing, plain_path
from hub.validators.report import Finding, Kind

__all__ = ["finding_of"]

_TYPES = {
    "string_type": ("must be a text", "须为文本"),
    "string_too_short": ("must not be empty", "不能为空"),
    "list_type": ("must be a list", "须为列表"),
    "dict_type": ("must be an object", "须为对象"),
    "model_validation_format": ("must be an object", "须为对象"),
    "model_type": ("must be an object", "须为对象"),
    "model_attributes_type": ("must be an object", "须为对象"),
    "bool_type": ("must be true or false", "须为 true 或 false"),
    "bool_parsing": ("must be true or false", "须为 true 或 false"),
    "int_type": ("must be a whole number", "须为整数"),
    "int_parsing": ("must be a whole number", "须为整数"),
    "int_from_float": ("must be a whole number", "须为整数"),
    "decimal_type": ("must be a number", "须为数字"),
    "decimal_parsing": ("must be a number", "须为数字"),
    "date_type": ("must be a date such as 2026-01-15", "须为日期，如 2026-01-15"),
    "date_parsing": ("must be a date such as 2026-01-15", "须为日期，如 2026-01-15"),
    "datetime_type": ("must be a time such as 2026-01-15T09:30:15+08:00", "须为日期时间，如 2026-01-15T09:30:15+08:00"),
    "datetime_parsing": (
        "must be a time such as 2026-01-15T09:30:15+08:00",
        "须为日期时间，如 2026-01-15T09:30:15+08:00",
    ),
    "string_pattern_mismatch": ("has characters that are not permitted", "含有不允许的字符"),
    "string_too_long": ("is too long", "过长"),
}
#: Of a choice such as value[x], the elements of which one may be there.
_CHOICE = re.compile(r"is expected from this list \[([A-Za-z0-9', ]{1,2000})\](, but got multiple)?")
_LENGTHS = ("string_too_long", "string_too_short")
#: What the models say in words of their own about a value: the word in it, and ours.
_SPECS = (
    ("Date value", "date_parsing"),
    ("DateTime value", "datetime_parsing"),
    ("Instant value", "datetime_parsing"),
    ("Decimal value", "decimal_parsing"),
    ("Integer value", "int_parsing"),
)


def finding_of(detail: Any, path: Sequence[str | int]) -> Finding:
    """``detail``: an error of pydantic; ``path``: of the resource it is about, ``Bundle.entry[0].resource``."""
    kind: str = detail["type"]
    message: str = detail["msg"]
    location = [part for part in detail["loc"] if not (isinstance(part, str) and "[" in part)]
    if kind == "model_validation_format" and location[-1:] == ["root"]:
        location.pop()
    place = plain_path([*path, *location])
    name = str(location[-1]) if location else ""
    if kind in ("missing", "model_field_validation.missing") or "field required" in message.lower():
        return missing("fhir.required", plain_path([name]) if name else t("an element", "元素"), place)
    if kind == "extra_forbidden":
        text = t("FHIR has no such element here", "FHIR 中此处没有该元素")
        return Finding("fhir.element", text, place, t("check the version of FHIR", "请检查 FHIR 版本"))
    for word, known in _SPECS:
        if word in message:
            kind = known
            break
    if kind in _TYPES:
        return Finding("fhir.type", t(*_TYPES[kind]), place, kind=Kind.LENGTH if kind in _LENGTHS else Kind.FORMAT)
    choice = _CHOICE.search(message)
    if choice is not None:
        names = allowed(choice[1].replace("'", "").split(", "))
        if not choice[2]:
            return missing("fhir.required", names, place)
        text = t(f"only one of these may be there: {names}", f"以下元素只能有一个：{names}")
        return Finding("fhir.choice", text, place, kind=Kind.CONTRADICTION)
    return Finding("fhir.value", t("is not as FHIR demands", "不符合 FHIR 的要求"), place, kind=Kind.FORMAT)
