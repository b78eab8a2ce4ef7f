"""The table of fields of one interface: what its schemas say, and where its mapping takes each field from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from hub.contract import Interface
from hub.handbook.blocks import (
    Block,
    Bullets,
    Code,
    Fold,
    Heading,
    Inline,
    Link,
    Para,
    Strong,
    Table,
    code,
    joined,
    say,
)
from hub.handbook.mapping_fields import MappedField, MappedFields, Mappings, same_place
from hub.handbook.schema_fields import Condition, FieldRow, Fields, SchemaFiles, json_fields
from hub.handbook.words import anchor, in_language, readable
from hub.handbook.xsd_fields import xsd_fields
from hub.i18n import t

__all__ = ["FieldsTables", "schema_tables"]

_KINDS = {
    "string": ("text", "文本"),
    "integer": ("integer", "整数"),
    "number": ("number", "数字"),
    "boolean": ("boolean", "布尔"),
    "object": ("object", "对象"),
    "array": ("array", "数组"),
    "string (date-time)": ("text (date-time)", "文本（日期时间）"),
    "string (date)": ("text (date)", "文本（日期）"),
}
_DIGITS = re.compile(r"\^\[0-9\]\{(\d+)(?:,(\d*))?\}\$")
_SETTING = re.compile(r"\$settings\.(\w+)")
_NAME = re.compile(r"\$\w+")
_OWN = re.compile(r"^\.[\w.\[\]]+")
#: Most values of an enumeration in a cell.
_MOST_VALUES = 24


class FieldsTables:
    """For one page: a table that was shown is referred to. ``tables`` collects the code tables that are used."""

    def __init__(self, files: SchemaFiles, mappings: Mappings) -> None:
        self._files = files
        self._mappings = mappings
        self._read: dict[str, Fields] = {}
        self._shown: dict[tuple[tuple[str, ...], str], str] = {}  # schemas and mapping -> where they are
        self._groups: set[tuple[str, str, tuple[str, ...]]] = set()
        self.tables: dict[str, None] = {}

    def blocks(self, name: str, interface: Interface) -> list[Block]:
        schemas = tuple(interface.validation.schemas) if interface.validation is not None else ()
        mapping = self._mappings.get(interface.mapping) if interface.mapping else None
        key = (schemas, interface.mapping)
        if not schemas and mapping is None:
            return []
        place = anchor(name, "fields")
        blocks: list[Block] = [Heading(3, (t("Fields", "字段"),), place)]
        if mapping is not None:
            for table in mapping.tables:
                self.tables[table] = None
        before = self._shown.get(key)
        if before is not None:
            blocks.append(Para((Link(t("The same fields as above", "字段同上文"), f"#{before}"), t(".", "。"))))
        else:
            self._shown[key] = place
            blocks += self._told(interface, mapping)
        found = [fields for schema in schemas if (fields := self._fields(schema)) is not None]
        used: set[str] = set()
        for fields in found:
            if before is None:
                blocks += self._rows(fields, mapping, used)
        for fields in found:
            blocks += self._conditional(fields, interface)
        if before is None and mapping is not None:
            blocks += self._unlisted(mapping, used, bool(found))
        return blocks

    def _fields(self, schema: str) -> Fields | None:
        if schema not in self._read:
            path = self._files.find(schema)
            if path is None or path.suffix.lower() not in (".json", ".xsd"):
                return None
            self._read[schema] = json_fields(self._files, path) if path.suffix.lower() == ".json" else xsd_fields(path)
        return self._read[schema]

    def _told(self, interface: Interface, mapping: MappedFields | None) -> list[Block]:
        blocks: list[Block] = []
        rule = interface.validation
        if rule is not None and rule.schemas:
            names = joined([code(one) for one in rule.schemas])
            if rule.mode == "strict":
                words = (
                    t(
                        "Messages are checked against {names}; what does not pass is refused.",
                        "报文按 {names} 校验，不通过者拒收。",
                    )
                    if interface.direction == "in"
                    else t(
                        "What is sent is checked against {names} first; what does not pass is not sent.",
                        "发送前按 {names} 校验，不通过者不发送。",
                    )
                )
            else:
                words = t(
                    "Messages are checked against {names}; what is found is noted, the message goes on.",
                    "报文按 {names} 校验；发现的问题予以记录，不影响传递。",
                )
            blocks.append(Para(say(words, names=names)))
        for schema in rule.schemas if rule is not None else ():
            fields = self._fields(schema)
            if fields is None:
                continue
            sources = [in_language(one) for one in fields.sources]
            description = in_language(fields.description)
            if description and readable(description):
                blocks.append(Para((description,)))
            if sources:
                blocks.append(Para(say(t("Source: {source}.", "来源：{source}。"), source=t("; ", "；").join(sources))))
        if mapping is not None:
            blocks.append(
                Para(
                    say(
                        t(
                            "The column “taken from” says which part of the hub's own message ({codec}) each field is made of; mapping {name}.",
                            "“取自”一列为枢纽内部消息（{codec}）中的来源字段；映射 {name}。",
                        ),
                        codec=code(mapping.source_codec),
                        name=code(mapping.name),
                    )
                )
            )
        return blocks

    def _rows(self, fields: Fields, mapping: MappedFields | None, used: set[str]) -> list[Block]:
        by_place: dict[str, list[MappedField]] = {}
        for one in mapping.fields if mapping is not None else ():
            by_place.setdefault(same_place(one.target), []).append(one)
        rows = []
        for row in fields.rows:
            found = by_place.get(same_place(row.path), [])
            used.update(same_place(one.target) for one in found)
            rows.append(self._row(row, found if mapping is not None else None))
        return [trimmed(_head(mapping is not None), rows, "fields"), *_variables(mapping)] if rows else []

    def _conditional(self, fields: Fields, interface: Interface) -> Iterable[Block]:
        """Those of the message types of this interface; where it takes any, those not shown yet."""
        listed = (
            [pattern for pattern in interface.accepts if "*" not in pattern] if interface.direction == "out" else []
        )
        known = {value for condition, _ in fields.groups for value in condition.values}
        chosen = bool(known & set(listed))
        if not chosen and listed and len(known) > 3:
            return
        for condition, rows in fields.groups:
            mark = (fields.title, condition.path, condition.values)
            if chosen and not any(
                fnmatchcase(value, pattern) for value in condition.values for pattern in interface.accepts
            ):
                continue
            if not chosen and mark in self._groups:
                continue
            self._groups.add(mark)
            if all(row == FieldRow(row.path, required=True) for row in rows):
                needed = joined([code(row.path) for row in rows], t(", ", "、"))
                yield Para(
                    say(
                        t("{condition}, required are {names}.", "{condition}时，必填：{names}。"),
                        condition=_condition(condition),
                        names=needed,
                    )
                )
                continue
            yield Fold(_condition(condition), [trimmed(_head(False), [self._row(row, None) for row in rows], "fields")])

    def _unlisted(self, mapping: MappedFields, used: set[str], listed: bool) -> list[Block]:
        rest = [one for one in mapping.fields if same_place(one.target) not in used]
        if not rest:
            return []
        rows: list[list[Inline]] = []
        for one in rest:
            note = one.note if readable(one.note) else ""
            needed: Inline = (Strong(t("yes", "是")),) if one.required else ()
            rows.append([code(one.target), needed, _taken(one), (note,) if note else ()])
        head = [t("field", "字段"), t("required", "必填"), t("taken from", "取自"), t("note", "说明")]
        words = Para((t("Further fields that the mapping writes:", "映射另外写入的字段："),))
        return [*([words] if listed else []), trimmed(head, rows, "fields"), *([] if listed else _variables(mapping))]

    def _row(self, row: FieldRow, mapped: Sequence[MappedField] | None) -> list[Inline]:
        description = in_language(row.description)
        meaning = [part for part in (in_language(row.title), description if readable(description) else "") if part]
        codes = self._codes(row)
        cells: list[Inline] = [
            code(row.path),
            (t("; ", "；").join(meaning),) if meaning else (),
            (_kind(row.kind or ("string" if row.enum else "")),),
            _limits(row.limits),
            (Strong(t("yes", "是")),) if row.required else (),
            codes,
        ]
        if mapped is not None:
            cells.append(joined([_taken(one) for one in mapped], t("; or ", "；或 ")))
        cells.append((row.source,) if row.source else ())
        return cells

    def _codes(self, row: FieldRow) -> Inline:
        if row.table and self._mappings.table(row.table) is not None:
            self.tables[row.table] = None
            return (Link(row.table, f"#{anchor('table', row.table)}"),)
        values = [code(value) if value else (t("(empty)", "（空）"),) for value in row.enum[:_MOST_VALUES]]
        more = (" …",) if len(row.enum) > _MOST_VALUES else ()
        return (*joined(values), *more)


def trimmed(head: Sequence[str], rows: Sequence[Sequence[Inline]], kind: str) -> Table:
    """Without columns in which nothing stands."""
    kept = [number for number in range(len(head)) if any(row[number] for row in rows)]
    return Table([head[number] for number in kept], [[row[number] for number in kept] for row in rows], kind)


def _variables(mapping: MappedFields | None) -> list[Block]:
    """Values with a name that rules use."""
    if mapping is None:
        return []
    used = {source.partition(".")[0] for one in mapping.fields for source in (*one.sources, *_NAME.findall(one.when))}
    found = [(name, rule) for name, rule in mapping.variables.items() if name in used]
    if not found:
        return []
    items = [
        say("{name} = {rule}", name=code(name), rule=code(" ".join(_SETTING.sub(r"{\1}", rule).split())))
        for name, rule in found
    ]
    return [Para((t("Values with a name in the rules above:", "上述规则中的命名值："),)), Bullets(items)]


def _head(mapped: bool) -> list[str]:
    head = [
        t("field", "字段"),
        t("meaning", "含义"),
        t("type", "类型"),
        t("length, form", "长度与格式"),
        t("required", "必填"),
        t("codes", "代码"),
    ]
    return [*head, *([t("taken from", "取自")] if mapped else []), t("source", "来源")]


def _condition(condition: Condition) -> Inline:
    values = joined([code(value) for value in condition.values], t(" or ", " 或 "))
    title = in_language(condition.title)
    return say(
        t("Where {path} is {values}{title}", "当 {path} 为 {values}{title}"),
        path=code(condition.path),
        values=values,
        title=t(f": {title}", f"：{title}") if title else "",
    )


def _kind(kind: str) -> str:
    inner = kind.removeprefix("array of ")
    words = "" if not inner else t(" or ", " 或 ").join(t(*_KINDS.get(one, (one, one))) for one in inner.split(" | "))
    return words if inner == kind else t(f"list of {words}", f"{words}数组")


def _limits(limits: str) -> Inline:
    parts: list[Inline] = []
    for part in limits.split("; ") if limits else ():
        found = _DIGITS.fullmatch(part)
        if found is not None:
            least, most = found[1], found[2]
            if most is None:
                text = t(f"{least} digits", f"{least} 位数字")
            else:
                text = (
                    t(f"{least}–{most} digits", f"{least}–{most} 位数字")
                    if most
                    else t(f"at least {least} digits", f"至少 {least} 位数字")
                )
            parts.append((text,))
        else:
            parts.append(code(part) if part.startswith("^") else (part,))
    return joined(parts, t(" or ", " 或 "))


def _taken(one: MappedField) -> Inline:
    """Where a rule takes its value from, as a person reads it."""
    if one.constant:
        told: Inline = say(t("always {value}", "固定值 {value}"), value=code(one.constant))
    elif one.sources and len(one.rule) > 120:
        told = joined([code(source) for source in one.sources])
    else:
        rule = _OWN.sub(lambda _: one.sources[0], one.rule) if one.sources else one.rule  # .name, of an element
        told = code(" ".join(_SETTING.sub(r"{\1}", rule).split()))
    if one.default:
        told = (*told, *say(t("; when absent {value}", "；缺失时 {value}"), value=code(one.default)))
    if one.when:
        told = (*told, *say(t("; only when {rule}", "；仅当 {rule}"), rule=code(" ".join(one.when.split()))))
    return told


def schema_tables(names: Iterable[str], mappings: Mappings, most: int) -> list[Block]:
    """The code tables of a page, each with its rows."""
    blocks: list[Block] = []
    for name in sorted(names):
        table = mappings.table(name)
        if table is None:
            continue
        blocks.append(Heading(3, (Code(name),), anchor("table", name)))
        told = [
            part
            for part in (
                t(f"version {table.version}", f"版本 {table.version}") if table.version else "",
                in_language(table.source),
            )
            if part
        ]
        if told:
            blocks.append(Para((t("; ", "；").join(told),)))
        noted = any(row.note for row in table.rows[:most])
        rows: list[list[Inline]] = [
            [code(row.source), code(row.target), *([(row.note,) if row.note else ()] if noted else [])]
            for row in table.rows[:most]
        ]
        head = [t("from", "原值"), t("to", "目标值"), *([t("note", "说明")] if noted else [])]
        blocks.append(Table(head, rows, "codes"))
        if len(table.rows) > most:
            more = len(table.rows) - most
            blocks.append(Para((t(f"and {more} more rows", f"另有 {more} 行"),)))
    return blocks
