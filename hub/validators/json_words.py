"""What a JSON Schema finds, in plain words: the keyword, what the schema permits, never the value of the message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from hub.i18n import t
from hub.validators.findings import allowed, missing, plain_path
from hub.validators.report import Finding, Kind

__all__ = ["findings_of"]

_KINDS = {
    "type": Kind.FORMAT,
    "pattern": Kind.FORMAT,
    "format": Kind.FORMAT,
    "multipleOf": Kind.FORMAT,
    "contentEncoding": Kind.FORMAT,
    "contentMediaType": Kind.FORMAT,
    "maxLength": Kind.LENGTH,
    "minLength": Kind.LENGTH,
    "minimum": Kind.RANGE,
    "maximum": Kind.RANGE,
    "exclusiveMinimum": Kind.RANGE,
    "exclusiveMaximum": Kind.RANGE,
    "enum": Kind.CODE,
    "const": Kind.CODE,
    "uniqueItems": Kind.DUPLICATE,
}
_LIMITS = {
    "maxLength": ("longer than {} characters", "超过 {} 个字符"),
    "minLength": ("shorter than {} characters", "少于 {} 个字符"),
    "minimum": ("less than {}", "小于 {}"),
    "maximum": ("greater than {}", "大于 {}"),
    "exclusiveMinimum": ("not greater than {}", "不大于 {}"),
    "exclusiveMaximum": ("not less than {}", "不小于 {}"),
    "minItems": ("fewer than {} items", "少于 {} 项"),
    "maxItems": ("more than {} items", "超过 {} 项"),
    "minProperties": ("fewer than {} members", "少于 {} 个成员"),
    "maxProperties": ("more than {} members", "超过 {} 个成员"),
}
_TYPES = {
    "string": ("a text", "文本"),
    "number": ("a number", "数字"),
    "integer": ("a whole number", "整数"),
    "boolean": ("true or false", "true 或 false"),
    "object": ("an object", "对象"),
    "array": ("a list", "列表"),
    "null": ("null", "null"),
}
#: Alternatives inside alternatives are followed so deep.
_DEPTH = 4


def _path(tree: Any, stated: Iterable[str | int]) -> list[str | int]:
    """A path of the library, which takes every key of digits for an index."""
    path: list[str | int] = []
    for part in stated:
        step = part if isinstance(tree, list | tuple) else str(part)
        path.append(step)
        try:
            tree = tree[step]
        except (KeyError, IndexError, TypeError):
            tree = None
    return path


def findings_of(error: Any, tree: Any, known: frozenset[str], depth: int = 0) -> Iterator[Finding]:
    """The findings of one error of ``jsonschema_rs`` in a tree; several where one error names several members.

    ``known``: the members the schema names, which may be told.
    """
    kind = error.kind
    keyword: str = kind.name
    path = _path(tree, error.instance_path)
    rule = f"json.{keyword}"
    place = plain_path(path, known)
    if keyword in ("required", "dependentRequired"):
        name = getattr(kind, "property", "")
        yield missing(rule, plain_path([name], known), plain_path([*path, name], known))
    elif keyword in ("additionalProperties", "unevaluatedProperties"):
        text = t("the schema has no such member here", "schema 中此处没有该成员")
        advice = t("remove it, or correct its name", "请删除或更正名称")
        for name in kind.unexpected:
            yield Finding(rule, text, plain_path([*path, name], known), advice)
    elif keyword in ("anyOf", "oneOf") and all(kind.context):  # one without errors: more than one fits
        yield _none_fits(rule, place, kind, tree, known, depth)
    else:
        text, advice = _words(keyword, kind)
        yield Finding(rule, text, place, advice, _KINDS.get(keyword, Kind.STRUCTURE))


def _words(keyword: str, kind: Any) -> tuple[str, str]:
    """(text, advice)"""
    limit = _LIMITS.get(keyword)
    if limit is not None:
        return t(limit[0].format(kind.limit), limit[1].format(kind.limit)), ""
    if keyword == "type":
        named = kind.types if isinstance(kind.types, list) else [kind.types]
        names = [t(*_TYPES.get(str(name), (str(name), str(name)))) for name in named]
        return t(f"must be {' or '.join(names)}", f"须为{'或'.join(names)}"), ""
    if keyword == "enum":
        values = allowed(kind.options)
        return t(f"not one of: {values}", f"不在允许值之列：{values}"), t("translate the code", "请转换代码")
    if keyword == "const":
        value = allowed([kind.expected_value])
        return t(f"must be {value}", f"须为 {value}"), ""
    if keyword == "pattern":
        if not hasattr(kind, "pattern"):  # the library gave up
            return t("the pattern takes too long on this value", "该值匹配模式耗时过长"), ""
        pattern = allowed([kind.pattern])
        return t(f"does not have the form {pattern}", f"不符合格式 {pattern}"), ""
    if keyword == "format":
        name = str(kind.format)
        return t(f"not a valid {name}", f"不是有效的 {name}"), _FORMATS.get(name, "")
    if keyword == "multipleOf":
        return t(f"not a multiple of {kind.multiple_of}", f"不是 {kind.multiple_of} 的倍数"), ""
    if keyword == "uniqueItems":
        return t("two items are the same", "有重复项"), t("remove the repeated ones", "请删除重复项")
    if keyword == "contains":
        return t("none of the items is as required", "没有符合要求的项"), ""
    if keyword == "oneOf":
        return t("fits more than one of the alternatives", "同时符合多个备选"), ""
    if keyword == "not":
        return t("is as it must not be", "为 schema 所不允许"), ""
    if keyword in ("additionalItems", "unevaluatedItems"):
        return t("the list has more items than the schema knows", "列表项多于 schema 的规定"), ""
    if keyword == "propertyNames":
        return t("a member has a name that is not permitted", "成员名称不允许"), ""
    if keyword == "falseSchema":
        return t("must not be there", "不允许出现"), t("remove it", "请删除")
    return t(f"does not fulfil {keyword}", f"不满足 {keyword}"), ""


_FORMATS = {
    "date": "2026-01-15",
    "date-time": "2026-01-15T09:30:15+08:00",
    "time": "09:30:15+08:00",
    "uuid": "0b7f6a52-3c1e-4d8a-9a55-6d1c2f0e7b11",
}


def _none_fits(rule: str, place: str, kind: Any, tree: Any, known: frozenset[str], depth: int) -> Finding:
    """Of alternatives none of which fits, what is wrong with the one that comes nearest: got deepest, with the fewest errors."""
    count = len(kind.context)
    text = t(f"fits none of the {count} alternatives", f"不符合 {count} 个备选中的任何一个")
    if not kind.context or depth >= _DEPTH:
        return Finding(rule, text, place)
    nearest = max(kind.context, key=lambda branch: (max(len(e.instance_path) for e in branch), -len(branch)))
    error = max(nearest, key=lambda e: len(e.instance_path))
    inner = next(findings_of(error, tree, known, depth + 1), None)
    if inner is None:
        return Finding(rule, text, place)
    text += t(f"; the nearest: {inner.text}", f"；最接近的：{inner.text}")
    return Finding(rule, text, inner.place, inner.advice, inner.kind)
