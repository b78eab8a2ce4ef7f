"""The reference page of a mapping: one HTML file for the other party to read and sign. Needs nothing but itself, prints on A4."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

from hub.errors import HubError
from hub.i18n import language, t
from hub.mapping import CompiledMapping
from hub.mapping.document import Document, ListRule, ObjectRule, Rules, Text
from hub.mapping.functions.choice import chosen_rows
from hub.mapping.nodes import CallNode, LiteralNode, PathNode, StepNode, VariableNode
from hub.mapping.tables import CodeTable
from hub.mapping_tools.comments import comments_of
from hub.mapping_tools.places import Outline, outline_places
from hub.mapping_tools.scope import Expressions, Frame
from hub.mapping_tools.shown import shown
from hub.mapping_tools.table_rows import rows_of
from hub.mapping_tools.uses import uses
from hub.mapping_tools.walk import Group, Made
from hub.mapping_tools.workbench import Workbench
from hub.yaml_source import load

__all__ = ["page"]

#: Most rows of one code table on the page.
MAX_ROWS = 1000

_STYLE = """
@page { size: A4; margin: 16mm 14mm; }
:root { color-scheme: light; }
body { font: 10pt/1.45 "Noto Sans", "Noto Sans CJK SC", "Source Han Sans SC", "Microsoft YaHei", "PingFang SC", sans-serif;
  color: #111; background: #fff; max-width: 182mm; margin: 8mm auto; padding: 0 4mm; }
h1 { font-size: 16pt; margin: 0 0 2mm; } h2 { font-size: 12pt; margin: 7mm 0 2mm; } h3 { font-size: 10pt; margin: 5mm 0 1mm; }
h1.step { font-size: 14pt; margin-top: 10mm; break-after: avoid; }
p { margin: 0 0 2mm; }
table { border-collapse: collapse; width: 100%; table-layout: fixed; margin: 0 0 3mm; }
th, td { border: 0.3mm solid #999; padding: 1mm 1.5mm; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
th { background: #eee; font-weight: 600; }
thead { display: table-header-group; } tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
code { font: 8.5pt/1.4 "Noto Sans Mono", "Noto Sans Mono CJK SC", Consolas, Menlo, monospace; }
.facts th { width: 32mm; } .group td { background: #f6f6f6; } .small { font-size: 8.5pt; color: #444; }
.fields col:nth-child(1) { width: 27%; } .fields col:nth-child(2) { width: 19%; } .fields col:nth-child(3) { width: 31%; }
.fields col:nth-child(4) { width: 23%; }
.sign td { height: 11mm; } .sign { break-inside: avoid; }
@media print { body { max-width: none; margin: 0; padding: 0; } th { background: #eee; print-color-adjust: exact; } }
"""


def page(bench: Workbench, name: str) -> str:
    """The page, in the language of this process; raises :class:`HubError` for a mapping with errors."""
    mapping = bench.library.get(name)
    if not mapping.parts:
        one = _Page(bench, name)
        return _html(name, [one.facts(), *one.rules(), _signatures(mapping.stamp)])
    body = [_steps_facts(mapping)]
    for number, part in enumerate(mapping.parts, 1):
        step = _Page(bench, part.name)
        body.append(f'<h1 class="step">{escape(t(f"Step {number}: {part.name}", f"步骤 {number}：{part.name}"))}</h1>')
        body += [step.facts(), *step.rules()]
    return _html(name, [*body, _signatures(mapping.stamp)])


def _html(name: str, parts: Iterable[str]) -> str:
    title = t(f"Mapping {name}", f"映射 {name}")
    return (
        f'<!DOCTYPE html>\n<html lang="{"zh-CN" if language() == "zh" else "en"}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )


def _facts_table(facts: Iterable[tuple[str, str]]) -> str:
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{text}</td></tr>" for name, text in facts if text)
    return f'<table class="facts"><tbody>{rows}</tbody></table>'


def _description(file: str) -> str:
    try:
        data = load(file).data
    except HubError:
        return ""
    return str(data.get("description") or "") if isinstance(data, dict) else ""


def _steps_facts(mapping: CompiledMapping) -> str:
    return _facts_table(
        [
            (t("Purpose", "用途"), escape(_description(mapping.file))),
            (t("Source", "来源"), _code(mapping.source_codec)),
            (t("Target", "目标"), _code(mapping.target_codec)),
            (t("Steps", "步骤"), "<br>".join(_code(part.stamp) for part in mapping.parts)),
            (t("Version", "版本"), _code(mapping.stamp)),
        ]
    )


def _signatures(stamp: str) -> str:
    head = ("", t("sending party", "发送方"), t("receiving party", "接收方"))
    lines = (
        t("organisation", "单位（盖章）"),
        t("name", "姓名"),
        t("position", "职务"),
        t("signature", "签字"),
        t("date", "日期"),
    )
    rows = [_row(escape(line), "", "") for line in lines]
    text = t(f"Both parties confirm the mapping in the version {stamp}.", f"双方确认本映射，版本 {stamp}。")
    title = t("Signatures of both parties", "双方签字确认")
    return f"<h2>{escape(title)}</h2><p>{escape(text)}</p>{_table('sign', head, rows)}"


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _table(kind: str, head: Iterable[str], rows: Iterable[str], columns: int = 0) -> str:
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    widths = f"<colgroup>{'<col>' * columns}</colgroup>" if columns else ""
    return f'<table class="{kind}">{widths}<thead><tr>{cells}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _row(*cells: str, kind: str = "") -> str:
    opening = f'<tr class="{kind}">' if kind else "<tr>"
    return opening + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


class _Page:
    def __init__(self, bench: Workbench, name: str) -> None:
        self._bench = bench
        self._document = bench.document(name)
        self._mapping: CompiledMapping = bench.library.get(name)
        self._places: Outline = outline_places(self._document.source_codec)
        self._expressions: Expressions = bench.expressions(self._document)
        self._walk = bench.walk(self._document, None)
        self._notes: dict[str, dict[int, str]] = {}
        self._keys: dict[int, int] = {}  # rule -> line of its key
        self._tables: dict[str, CodeTable] = {}

    def rules(self) -> list[str]:
        """Variables, fields and the code tables these use."""
        return [self._variables(), self._fields(), self._code_tables()]

    # -- head ----------------------------------------------------------------------------------------------------

    def facts(self) -> str:
        document, mapping = self._document, self._mapping
        facts = [
            (t("Purpose", "用途"), escape(_description(self._document.file))),
            (t("Source", "来源"), _code(document.source_codec)),
            (t("Message types", "消息类型"), ", ".join(_code(kind) for kind in document.types)),
            (t("Target", "目标"), _code(document.target_codec)),
            (t("Only when", "仅当"), _code(document.when.text) if document.when else ""),
            (t("One target for each", "每个元素一份目标"), _code(document.split.text) if document.split else ""),
            (
                t("Starts from", "基础"),
                escape(t("a copy of the source message", "来源消息的副本")) if document.base else "",
            ),
            (
                t("Looked up", "查询"),
                "<br>".join(
                    f"{_code('$' + one.name)} ← {_code(one.system or one.store)} {escape(one.source)}"
                    for one in document.lookups.values()
                ),
            ),
            (
                t("Functions", "函数"),
                "<br>".join(
                    _code(f"{one.name}({', '.join(one.parameters)}) = {one.body.text}")
                    for one in document.definitions.values()
                ),
            ),
            (t("Taken out first", "先删除"), ", ".join(_code(path.text) for path in document.remove)),
            (t("Version", "版本"), _code(mapping.stamp)),
        ]
        return _facts_table(facts)

    # -- fields --------------------------------------------------------------------------------------------------

    def _note(self, document: Document, *rules: Rules, lines: Iterable[int] = ()) -> str:
        """The comments beside the keys of some rules, and at some more lines."""
        if document.file not in self._notes:
            self._notes[document.file] = comments_of(Path(document.file).read_text(encoding="utf-8-sig"))
            self._learn(document.fields)
        wanted = set(lines)
        for rule in rules:
            wanted.add(self._keys.get(id(rule), 0))
        notes = self._notes[document.file]
        return escape(" ".join(dict.fromkeys(notes[line] for line in sorted(wanted) if line in notes)))

    def _learn(self, rules: Rules | None) -> None:
        """Remember the line of every rule's key."""
        if isinstance(rules, ListRule):
            for item in rules.items:
                self._learn(item)
        elif isinstance(rules, ObjectRule):
            for entry in rules.fields:
                self._keys[id(entry.rule)] = entry.line
                self._learn(entry.rule)

    def _sources(self, text: Text, frame: Frame) -> str:
        """The paths and variables an expression uses, as a person would write them from the root."""
        found: dict[str, None] = {}
        for use in uses(self._expressions.parse(text), self._expressions.functions):
            if isinstance(use.node, PathNode):
                found[self._places.label(use.node, frame)] = None
            elif isinstance(use.node, VariableNode) and use.node.name != "number":
                found[f"${use.node.name}"] = None
            elif isinstance(use.node, StepNode) and isinstance(use.node.base, VariableNode):
                found[f"${use.node.base.name}.{use.node.step}"] = None
            elif isinstance(use.node, CallNode):
                self._remember_table(use.node)
        return "<br>".join(_code(label) for label in found)

    def _remember_table(self, node: CallNode) -> None:
        wanted = node.arguments[1] if len(node.arguments) > 1 else dict(node.keywords).get("name")
        if node.name == "table" and isinstance(wanted, LiteralNode):
            for table in chosen_rows(node, str(wanted.value), self._bench.library.table).tables:
                self._tables[table.name] = table

    def _variables(self) -> str:
        rows = []
        for asked in self._walk.asked:
            if asked.keyword.startswith("vars."):
                name = "$" + asked.keyword.removeprefix("vars.")
                document = next((d for d in self._documents() if d.file == asked.file), None)
                note = self._note(document, lines=(asked.text.line,)) if document is not None else ""
                row = _row(_code(name), self._sources(asked.text, asked.frame), _code(asked.text.text), note)
                if row not in rows:
                    rows.append(row)
        if not rows:
            return ""
        head = (t("name", "名称"), t("source", "来源"), t("computed", "计算方式"), t("note", "说明"))
        return f"<h2>{escape(t('Values with a name', '命名值'))}</h2>" + _table("fields", head, rows, 4)

    def _documents(self) -> list[Document]:
        found = {self._document.name: self._document}
        for item in self._walk.outline:
            document = item.document if isinstance(item, Made) else item.here.document
            found.setdefault(document.name, document)
            for include in item.includes if isinstance(item, Made) else item.here.includes:
                within = self._bench.library.document(include.name)
                if within is not None:
                    found.setdefault(within.name, within)
        return list(found.values())

    def _fields(self) -> str:
        rows = [self._made(item) if isinstance(item, Made) else self._group(item) for item in self._walk.outline]
        head = (t("target", "目标"), t("source", "来源"), t("rule", "规则"), t("note", "说明"))
        return f"<h2>{escape(t('Fields', '字段'))}</h2>" + _table("fields", head, filter(None, rows), 4)

    def _group(self, group: Group) -> str:
        rule = group.rule
        told = []
        source = ""
        if rule.each is not None:
            path = self._expressions.parse(rule.each)
            source = _code(self._places.label(path, group.frame)) if isinstance(path, PathNode) else ""
            told.append(escape(t("one entry for each element", "每个元素一项")))
        if rule.where is not None:
            told.append(escape(t("counted where", "筛选条件")) + " " + _code(rule.where.text))
        if rule.distinct is not None:
            told.append(escape(t("first with the same", "相同只取第一项")) + " " + _code(rule.distinct.text))
        if rule.when is not None:
            told.append(escape(t("only when", "仅当")) + " " + _code(rule.when.text))
        if rule.include is not None:
            told.append(escape(t("as in", "同")) + " " + _code(rule.include.text))
        if rule.origin is not None:
            told.append(escape(t("starting from", "起点")) + " " + _code(rule.origin.text))
        texts = (rule.each, rule.where, rule.distinct, rule.when, rule.include, rule.origin)
        note = self._note(group.here.document, rule, lines=[text.line for text in texts if text is not None])
        if not told and not note:
            return ""
        return _row(_code(group.pattern or "$"), source, "<br>".join(told), note, kind="group")

    def _made(self, made: Made) -> str:
        leaf = made.leaf
        if leaf.const is not None:
            source, rule = "", [escape(t("always", "固定值")) + " " + _code(shown(leaf.const[0], clear=True))]
        else:
            assert leaf.expr is not None  # noqa: S101 - the compiler has seen to it
            source, rule = self._sources(leaf.expr, made.frame), [_code(leaf.expr.text)]
        if leaf.required:
            rule.append(f"<strong>{escape(t('required', '必填'))}</strong>")
        if leaf.default is not None:
            rule.append(escape(t("when absent", "缺失时")) + " " + _code(shown(leaf.default[0], clear=True)))
        if leaf.keep_null:
            rule.append(escape(t("null is written when absent", "缺失时写 null")))
        if leaf.when is not None:
            rule.append(escape(t("only when", "仅当")) + " " + _code(leaf.when.text))
        lines = [text.line for text in (leaf.expr, leaf.when) if text is not None]
        note = self._note(made.document, leaf, lines=[leaf.line, *lines])
        return _row(_code(made.pattern or "$"), source, "<br>".join(rule), note)

    # -- code tables and signatures ------------------------------------------------------------------------------

    def _code_tables(self) -> str:
        if not self._tables:
            return ""
        parts = [f"<h2>{escape(t('Code tables', '代码表'))}</h2>"]
        for name in sorted(self._tables):
            table = self._tables[name]
            found = rows_of(table)
            version = f", {t('version', '版本')} {table.version}" if table.version else ""
            parts.append(f"<h3>{_code(name)}{escape(version)} <span class=small>{escape(table.hash[:12])}</span></h3>")
            rows = [
                _row(*(escape(cell) for cell in (*row.cells, *[""] * (len(found.columns) - len(row.cells)))))
                for row in found.rows[:MAX_ROWS]
            ]
            head = [
                {
                    "from": t("from", "原值"),
                    "to": t("to", "目标值"),
                    "note": t("note", "说明"),
                    "valid_from": t("valid from", "起始日"),
                    "valid_to": t("valid to", "截止日"),
                }.get(c, c)
                for c in found.columns
            ]
            parts.append(_table("codes", head, rows))
            if len(found.rows) > MAX_ROWS:
                more = len(found.rows) - MAX_ROWS
                parts.append(f"<p class=small>{escape(t(f'… and {more} more rows', f'…… 另有 {more} 行'))}</p>")
        return "\n".join(parts)
