"""What ``hub mapping`` shows to people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.cli.common import console, table
from hub.i18n import t

if TYPE_CHECKING:
    from hub.mapping_tools.coverage import Coverage
    from hub.mapping_tools.explanation import Explanation, Field, Part
    from hub.mapping_tools.testing import CaseResult

__all__ = ["failed_case", "print_coverage", "print_explanation"]


def failed_case(result: CaseResult, clear: bool) -> None:
    console.print(f"{result.file}:{result.line}: {result.mapping}: {result.name}", markup=False)
    if result.error:
        console.print(f"    {result.error}", markup=False)
    if result.differences:
        rows = [difference.shown(clear=clear) for difference in result.differences]
        table(
            ["    " + t("path", "路径"), t("expected", "期望"), t("found", "实际")],
            [("    " + r[0], *r[1:]) for r in rows],
        )


def print_coverage(found: Coverage) -> None:
    rules = t(
        f"; {found.fields} target fields, {found.paths} source paths",
        f"；目标字段 {found.fields} 个，来源路径 {found.paths} 个",
    )
    console.print(
        t(f"{found.mapping}: {len(found.inputs)} inputs", f"{found.mapping}：{len(found.inputs)} 个输入")
        + ("" if found.steps else rules),
        markup=False,
    )
    for name, error in found.failed.items():
        console.print(f"! {name}: {error}", markup=False)
    for step in found.steps:
        console.print()
        print_coverage(step)
    if found.copies:
        console.print(
            t("the target is a copy of the source: everything is sent on", "目标为来源的副本：全部内容都会转发")
        )
    _section(
        t("in the inputs, read by no rule", "输入中有、没有规则读取"),
        [t("source", "来源"), t("times", "次数"), t("example", "示例")],
        [
            (n.path + (t(" (whole)", "（整体）") if n.whole else ""), f"{n.count}/{n.of}", n.example)
            for n in found.never_read
        ],
    )
    _section(
        t("read by a rule, never in the inputs", "规则读取、输入中从未出现"),
        [t("source", "来源"), t("rule at", "规则位置"), t("rule", "规则")],
        [(n.path, f"{n.file}:{n.line}", n.rule) for n in found.never_there],
    )
    _section(
        t("target fields never written", "从未写出的目标字段"),
        [t("target", "目标"), t("rule at", "规则位置"), t("rule", "规则")],
        [(n.target, f"{n.file}:{n.line}", n.rule) for n in found.never_written],
    )
    _section(
        t("required by the schema, never written", "Schema 必填、从未写出"),
        [t("target", "目标")],
        [(target,) for target in found.required],
    )


def _section(title: str, columns: list[str], rows: list[tuple[str, ...]]) -> None:
    if rows:
        console.print(f"\n{title}: {len(rows)}", markup=False)
        table(columns, rows)


def _states() -> dict[str, str]:
    return {
        "written": t("written", "已写出"),
        "absent": t("not written: the rule gives no value", "未写出：规则没有取值"),
        "skipped": t("not written: a condition does not hold", "未写出：条件不成立"),
        "failed": t("error", "错误"),
    }


def print_explanation(found: Explanation) -> None:
    of = (
        t(f", output {found.output} of {found.outputs}", f"，第 {found.output}/{found.outputs} 个输出")
        if found.outputs > 1
        else ""
    )
    console.print(found.mapping + of, markup=False)
    if found.failure:
        _say(t(f"! on this input the mapping fails: {found.failure}", f"! 映射处理此输入失败：{found.failure}"))
    for field in found.fields:
        _print_field(field)
    if found.before is not None:
        console.print()
        print_explanation(found.before)


def _say(text: str) -> None:
    """A line with data in it: control characters must not reach the terminal."""
    console.print("".join(c if c.isprintable() else "·" for c in text), markup=False)


def _print_field(field: Field) -> None:
    state = _states()[field.state]
    console.print()
    _say(field.target + (f" = {field.value}" if field.state == "written" else f": {state}"))
    if field.error:
        _say(f"  {field.error}")
    for include in field.includes:
        _say("  " + t(f"included: {include.name}", f"包含：{include.name}") + f"  ({include.file}:{include.line})")
    if field.constant:
        _say("  " + t("constant", "常量") + f"  ({field.rule.file}:{field.rule.line})")
    else:
        _part(t("rule", "规则"), field.rule)
    if field.default:
        _say("    " + t(f"when absent: {field.default}", f"缺失时：{field.default}"))
    for part in field.variables:
        _part(part.keyword, part, f" = {part.value}")
    for part in field.conditions:
        holds = t("holds", "成立") if part.holds else t("does not hold", "不成立")
        if part.keyword in ("each", "from", "split"):
            holds = t("has no element", "没有元素")
        _part(part.keyword, part, f"  [{holds}]")


def _bytes(span: tuple[int, int] | None) -> str:
    if span is None:
        return ""
    first, last = span[0], span[1] - 1
    return (
        t(f"byte {first}", f"第 {first} 字节") if first >= last else t(f"bytes {first}-{last}", f"字节 {first}-{last}")
    )


def _part(title: str, part: Part, more: str = "") -> None:
    _say(f"  {title}: {part.text}{more}  ({part.file}:{part.line})")
    for read in part.reads:
        for origin in read.origins:
            place = ", ".join(text for text in (origin.where, _bytes(origin.span)) if text)
            _say(f"    ← {origin.path} = {origin.value}" + (f"  ({place})" if place else ""))
        if not read.origins:
            _say(f"    ← {read.path}: " + t("not in the input", "输入中没有"))
    for lookup in part.lookups:
        what = t(f"table {lookup.table}", f"代码表 {lookup.table}") if lookup.table else "match"
        version = f" {lookup.version}" if lookup.version else ""
        place = f"  ({lookup.file}:{lookup.line})" if lookup.line else ""
        if lookup.table and not lookup.line:
            place = "  (" + t("not listed", "未列出") + ")"
        _say(f"    {what}{version}: {lookup.value} → {lookup.result}{place}")
