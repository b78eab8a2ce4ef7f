"""Findings put in words. Values are masked: what a field of a patient holds is nobody's business in a report."""

from __future__ import annotations

from typing import Any

from hub.i18n import t
from hub.mapping.runtime import FunctionError, number_of, plain_text
from hub.masking import mask
from hub.quality.effective import EffectiveRule
from hub.quality.model import RuleModel
from hub.quality.runtime import Note
from hub.validators.report import Finding, Kind, Level, Severity

__all__ = ["BROKEN", "NOT_CHECKED", "finding_of", "stopped"]

#: Rules of findings that are about the rules themselves.
BROKEN = "quality.broken"
NOT_CHECKED = "quality.not_checked"
_KINDS = {
    "required": Kind.MISSING,
    "any_of": Kind.MISSING,
    "together": Kind.MISSING,
    "forbidden": Kind.STRUCTURE,
    "check": Kind.FORMAT,
    "pattern": Kind.FORMAT,
    "length": Kind.LENGTH,
    "range": Kind.RANGE,
    "quantity": Kind.RANGE,
    "one_of": Kind.CODE,
    "table": Kind.CODE,
    "assert": Kind.CONTRADICTION,
    "order": Kind.CONTRADICTION,
    "unique": Kind.DUPLICATE,
    "continuous": Kind.STRUCTURE,
}
#: Longest code and longest number shown as they are: too short for anything about a person.
_SHORT_CODE = 4
_SHORT_NUMBER = 7
_LISTED = 12


def _shown(value: Any, test: str) -> str:
    """A value for people: short codes and numbers as they are, everything else masked."""
    try:
        text = plain_text(value)
    except FunctionError:
        return ""
    plain = text.isascii() and text.isprintable()
    if test in ("one_of", "table") and plain and len(text) <= _SHORT_CODE:
        return text
    if test in ("range", "quantity", "continuous") and len(text) <= _SHORT_NUMBER and number_of(text) is not None:
        return text
    return mask(text)


def kind_of(model: RuleModel) -> Kind:
    return Kind(model.kind) if model.kind else _KINDS[model.test]


def finding_of(note: Note, rule: EffectiveRule) -> Finding:
    """The finding of a note."""
    model = rule.model
    if note.broken:
        return Finding(
            BROKEN,
            t(f"rule {rule.id} can't be applied: {note.detail}", f"规则 {rule.id} 无法执行：{note.detail}"),
            note.place,
            t(
                "the value has a shape the rule does not expect; correct the rule or the message",
                "取值形式超出规则预期，请更正规则或消息",
            ),
            Kind.STRUCTURE,
            Level(model.level),
            Severity.WARNING,
        )
    return Finding(
        rule.id,
        model.text.told() if model.text is not None else _default(model, note),
        note.place,
        model.advice.told() if model.advice is not None else "",
        kind_of(model),
        Level(model.level),
        Severity(model.severity),
    )


def stopped(reason: str) -> Finding:
    """The run ended before all rules were asked: under ``validate: strict`` such a message is refused."""
    return Finding(
        NOT_CHECKED,
        reason,
        advice=t("split the message, or look at the sender", "请拆分消息，或检查发送方"),
        kind=Kind.STRUCTURE,
        severity=Severity.ERROR,
    )


def _bounds(low: Any, high: Any) -> str:
    if low is None:
        return t(f"at most {high}", f"不大于 {high}")
    if high is None:
        return t(f"at least {low}", f"不小于 {low}")
    return t(f"from {low} to {high}", f"{low} 至 {high}")


def _default(model: RuleModel, note: Note) -> str:
    test = model.test
    value = _shown(note.value, test) if note.value is not None else ""
    of = t(f" (value {value})", f"（取值 {value}）") if value else ""
    if test in ("required", "together"):
        return t("the value is missing", "缺少取值")
    if test == "any_of":
        return t("one of these values is needed", "以下取值至少须有其一")
    if test == "forbidden":
        return t(f"there must be no value here{of}", f"此处不应有取值{of}")
    if test == "check":
        return t(f"does not pass {model.check}{of}", f"未通过 {model.check}{of}")
    if test == "pattern":
        return t(f"does not have the form {model.pattern}{of}", f"格式不符 {model.pattern}{of}")
    if test == "length" and model.length is not None:
        wanted = _bounds(model.length.min, model.length.max)
        return t(f"the length must be {wanted}{of}", f"长度须{wanted}{of}")
    if test == "range" and model.range is not None:
        wanted = _bounds(model.range.min, model.range.max)
        return t(f"must be {wanted}{of}", f"须为 {wanted}{of}")
    if test == "one_of" and model.one_of is not None:
        listed = ", ".join(str(one) for one in model.one_of[:_LISTED]) + (" …" if len(model.one_of) > _LISTED else "")
        return t(f"is none of {listed}{of}", f"不在 {listed} 之中{of}")
    if test == "table" and model.table is not None:
        return t(f"table {model.table.name} does not list it{of}", f"代码表 {model.table.name} 中没有{of}")
    if test == "quantity" and model.quantity is not None:
        return t(f"{model.quantity.name}: {note.detail}{of}", f"{model.quantity.name}：{note.detail}{of}")
    if test == "order":
        return t(f"before what it should follow, or no date{of}", f"早于应在其之前的时间，或不是日期{of}")
    if test == "unique":
        return t(f"the value is there already{of}", f"取值重复{of}")
    if test == "continuous":
        return t(f"does not follow the number before{of}", f"编号不连续{of}")
    return t(f"does not hold: {model.assert_}", f"不成立：{model.assert_}")
