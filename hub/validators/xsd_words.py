"""What libxml2 finds against an XML schema, in plain words (XML Schema 1.0 part 1, appendix C: the rules ``cvc-…``).

Its messages quote values of the document: only what comes from the schema is taken from them.
"""

from __future__ import annotations

import re
from typing import Any

from hub.i18n import t
from hub.validators.findings import allowed
from hub.validators.report import Finding, Kind

__all__ = ["attribute_of", "finding_of", "name_of"]

_HEAD = re.compile(r"Element '([^']*)'(?:, attribute '([^']*)')?: ")
_EXPECTED = re.compile(r"Expected is (?:one of )?\( (.*) \)\.", re.DOTALL)
_ATTRIBUTE = re.compile(r"The attribute '([^']*)' is ")
_SPACE = re.compile(r"\{[^{}]*\}")
_BARE_TYPE = re.compile(r"xs:\w+")

_TYPES = {
    "xs:int": ("a whole number", "整数"),
    "xs:integer": ("a whole number", "整数"),
    "xs:long": ("a whole number", "整数"),
    "xs:short": ("a whole number", "整数"),
    "xs:positiveInteger": ("a whole number from 1", "正整数"),
    "xs:nonNegativeInteger": ("a whole number from 0", "非负整数"),
    "xs:decimal": ("a number", "数字"),
    "xs:double": ("a number", "数字"),
    "xs:float": ("a number", "数字"),
    "xs:boolean": ("true or false", "true 或 false"),
    "xs:date": ("a date such as 2026-01-15", "日期，如 2026-01-15"),
    "xs:dateTime": ("a time such as 2026-01-15T09:30:15", "日期时间，如 2026-01-15T09:30:15"),
    "xs:time": ("a time of day such as 09:30:15", "时间，如 09:30:15"),
    "xs:base64Binary": ("base 64", "base 64"),
    "xs:ID": ("an identifier that begins with a letter", "以字母开头的标识"),
}
#: Facets: kind, text with the limit, the words before the limit in libxml2's message.
_FACETS = {
    1830: (Kind.LENGTH, "must have {} characters", "长度须为 {}", "allowed length of "),
    1831: (Kind.LENGTH, "shorter than {} characters", "少于 {} 个字符", "allowed minimum length of "),
    1832: (Kind.LENGTH, "longer than {} characters", "超过 {} 个字符", "allowed maximum length of "),
    1833: (Kind.RANGE, "less than {}", "小于 {}", "minimum value allowed "),
    1834: (Kind.RANGE, "greater than {}", "大于 {}", "maximum value allowed "),
    1835: (Kind.RANGE, "not greater than {}", "不大于 {}", "must be greater than "),
    1836: (Kind.RANGE, "not less than {}", "不小于 {}", "must be less than "),
    1837: (Kind.LENGTH, "more than {} digits", "超过 {} 位数字", "than are allowed "),
    1838: (Kind.LENGTH, "more than {} decimals", "小数超过 {} 位", "than are allowed "),
}
#: Everything else whose text needs nothing from the message: rule, kind, text.
_PLAIN = {
    1828: ("content", Kind.STRUCTURE, "there are elements where a value belongs", "应为值处出现了元素"),
    1841: ("content", Kind.STRUCTURE, "must be empty", "须为空"),
    1842: ("content", Kind.STRUCTURE, "there are elements where a value belongs", "应为值处出现了元素"),
    1843: ("text", Kind.STRUCTURE, "there is text between elements", "元素之间有文字"),
    1845: ("root", Kind.STRUCTURE, "the schema does not know this document", "schema 中没有此文档的根元素"),
    1847: ("nil", Kind.STRUCTURE, "xsi:nil is not permitted here", "此处不允许 xsi:nil"),
    1848: ("nil", Kind.STRUCTURE, "has content although it says xsi:nil", "声明了 xsi:nil 却有内容"),
    1856: ("fixed", Kind.CODE, "differs from the value the schema fixes", "与 schema 规定的固定值不同"),
    1857: ("fixed", Kind.CODE, "differs from the value the schema fixes", "与 schema 规定的固定值不同"),
    1858: ("fixed", Kind.CODE, "differs from the value the schema fixes", "与 schema 规定的固定值不同"),
    1863: ("fixed", Kind.CODE, "differs from the value the schema fixes", "与 schema 规定的固定值不同"),
    1874: ("fixed", Kind.CODE, "differs from the value the schema fixes", "与 schema 规定的固定值不同"),
    1877: ("key", Kind.DUPLICATE, "a key is repeated or refers to nothing", "键重复或指向不存在的项"),
    1878: ("wildcard", Kind.STRUCTURE, "the schema does not know this element", "schema 中没有此元素"),
}


def _short(names: str) -> str:
    return allowed(_SPACE.sub("", name).strip() for name in names.split(", "))


def _last_quoted(message: str, before: str) -> str:
    """What the schema says at the end of a message, behind the last ``before``: the value of the document comes earlier."""
    end = message.rpartition(before)[2] if before in message else ""
    return end.strip().rstrip(".").strip("()").strip("'")


def attribute_of(entry: Any) -> str:
    """The attribute an error is about, ``""`` for an element."""
    head = _HEAD.match(entry.message)
    missing = _ATTRIBUTE.search(entry.message) if entry.type in (1866, 1868) else None
    name = missing[1] if missing else (head[2] or "") if head else ""
    return _SPACE.sub("", name)


def name_of(entry: Any) -> str:
    """The local name of the element an error is about."""
    head = _HEAD.match(entry.message)
    return _SPACE.sub("", head[1]) if head else ""


def finding_of(entry: Any, place: str) -> Finding:
    """The finding of one entry of an error log."""
    code: int = entry.type
    message: str = entry.message
    if code == 1871:
        return _content(message, place, name_of(entry))
    if code == 1868:
        name = attribute_of(entry)
        text, advice = t(f"attribute {name} is missing", f"缺少属性 {name}"), t(f"add {name}", f"请补充 {name}")
        return Finding("xsd.attribute_missing", text, place, advice, Kind.MISSING)
    if code in (1866, 1867):
        text = t("the schema has no such attribute here", "schema 中此处没有该属性")
        return Finding("xsd.attribute", text, place, t("remove it", "请删除"), Kind.STRUCTURE)
    if code in (1824, 1825, 1826):
        return _type(message, place)
    if code == 1840:
        values = message.rpartition("is not an element of the set {")[2].rstrip(".").rstrip("}")
        names = allowed(value.strip("'") for value in values.split(", "))
        text, advice = t(f"not one of: {names}", f"不在允许值之列：{names}"), t("translate the code", "请转换代码")
        return Finding("xsd.enumeration", text, place, advice, Kind.CODE)
    if code == 1839:
        pattern = allowed([_last_quoted(message, "is not accepted by the pattern ")])
        text = t(f"does not have the form {pattern}", f"不符合格式 {pattern}")
        return Finding("xsd.pattern", text, place, kind=Kind.FORMAT)
    if code in _FACETS:
        kind, english, chinese, before = _FACETS[code]
        limit = _last_quoted(message, before)
        return Finding("xsd.facet", t(english.format(limit), chinese.format(limit)), place, kind=kind)
    if code in _PLAIN:
        rule, kind, english, chinese = _PLAIN[code]
        return Finding(f"xsd.{rule}", t(english, chinese), place, kind=kind)
    name = entry.type_name.removeprefix("SCHEMAV_").lower()
    return Finding(f"xsd.{name}", t(f"does not fit the schema ({name})", f"不符合 schema（{name}）"), place)


def _content(message: str, place: str, name: str) -> Finding:
    found = _EXPECTED.search(message)
    expected = _short(found[1]) if found else ""
    if "Missing child element(s)" in message:
        text = t(f"elements are missing in it; expected: {expected}", f"缺少子元素；应有：{expected}")
        return Finding("xsd.missing", text, place, t(f"add {expected}", f"请补充 {expected}"), Kind.MISSING)
    text = t(f"{name} does not belong here", f"此处不应有 {name}")
    if expected:
        text += t(f"; expected: {expected}", f"；应为：{expected}")
    advice = t(
        "put the elements into the order of the schema, remove what it does not know",
        "请按 schema 的顺序排列元素，删除其中没有的元素",
    )
    return Finding("xsd.unexpected", text, place, advice, Kind.STRUCTURE)


def _type(message: str, place: str) -> Finding:
    name = _last_quoted(message, " type ")
    if name in _TYPES:
        words = t(*_TYPES[name])
        text = t(f"must be {words}", f"须为{words}")
    elif _BARE_TYPE.fullmatch(name):
        text = t(f"is not of type {name}", f"不是类型 {name}")
    else:
        text = t("is not of the type the schema demands", "不是 schema 要求的类型")
    return Finding("xsd.type", text, place, kind=Kind.FORMAT)
