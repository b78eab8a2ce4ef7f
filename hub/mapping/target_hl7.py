"""Targets that are HL7 v2 messages: a copy of the source with changes, or a new message.

Keys are paths (``MSH-9.1``, ``PID-3[2].4``) or segment names with nested rules. A path of the source copied to a place of the same
level goes over as it is written, structure and escapes included.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from hub.codecs.hl7v2 import Hl7Codec, Hl7Message, Segment
from hub.i18n import t
from hub.mapping.builder import Builder
from hub.mapping.document import Document, Field, Leaf, ListRule, ObjectRule, Rules, Text
from hub.mapping.functions.documents import message_of
from hub.mapping.nodes import ExpressionError, PathNode
from hub.mapping.paths import Scope
from hub.mapping.paths_hl7 import Hl7Format
from hub.mapping.runtime import plain_text

__all__ = ["Hl7Target"]

_KEY = re.compile(
    r"([A-Z][A-Z0-9]{2})(?:\[(\d{1,4})\])?(?:-(\d{1,4})(?:\[(\d{1,4})\])?(?:\.(\d{1,4})(?:\.(\d{1,4}))?)?)?", re.ASCII
)
_RELATIVE = re.compile(r"\.(\d{1,4})(?:\[(\d{1,4})\])?(?:\.(\d{1,4})(?:\.(\d{1,4}))?)?", re.ASCII)
_REMOVE = re.compile(r"([A-Z][A-Z0-9]{2})(?:-(\d{1,4}))?", re.ASCII)
_HEADERS = ("MSH", "FHS", "BHS")
#: Largest number of a field, component or sub-component in a target: a typing mistake must not make a megabyte of separators.
_MAX_NUMBER = 999


@dataclass(frozen=True, slots=True)
class _Spot:
    """A place in the target. ``segment`` is the code of the segment; ``repetition`` code of its number, "0" all; 0: not given.

    ``present``: of a bare name inside a segment of that name, the code of this segment. ``looped``: it is added in a loop.
    """

    name: str
    segment: str
    field: int = 0
    repetition: str = "0"
    component: int = 0
    subcomponent: int = 0
    present: str = ""
    looped: bool = False

    @property
    def level(self) -> int:
        if self.component:
            return 3 if self.subcomponent else 2
        return 0 if self.repetition == "0" else 1


class Hl7Target:
    """Writes the statements that build a message."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._writer = builder.generator.writer
        self._message = ""
        builder.generator.namespace.update(
            new_message=_new_message,
            segment_of=_segment_of,
            put=_put,
            put_raw=_put_raw,
            remove=_remove,
        )

    def build(self, document: Document, scope: Scope) -> str:
        """The variable that holds the message."""
        if document.base and document.source_codec != "hl7v2":
            self._builder.problem(
                1,
                "to.base",
                t("base: source needs an HL7 v2 source", "base: source 要求来源为 HL7 v2"),
                "from: {codec: hl7v2}",
            )
            return "None"
        self._message = self._writer.assign("tree.copy()" if document.base else "new_message()")
        for path in document.remove:
            self._remove(path)
        fields = document.fields
        if isinstance(fields, ObjectRule) and fields.each is None:
            with self._builder.when(fields.when, scope, ""):
                self._fields(fields, scope, "", None)
        elif isinstance(fields, Leaf) and self._builder.makes_tree(fields) and fields.expr and not document.base:
            self._whole(fields.expr, scope)
        elif document.fields is not None:
            self._builder.problem(
                document.fields_line,
                "fields",
                t("a message is written as segments and fields", "消息须按段和字段书写"),
                t("e.g. PID-5.1: …, or OBX: {each: …}", "例如 PID-5.1: …，或 OBX: {each: …}"),
            )
        return self._message

    def _whole(self, text: Text, scope: Scope) -> None:
        """The whole message is the value of an expression."""
        with self._builder.guard(text, "fields"):
            self._builder.at(text.line, "fields", text.text)
            self._builder.generator.namespace["message_of"] = message_of
            value = self._builder.expression(text, scope)
            self._writer.line(f"{self._message} = message_of({value.text})")
            self._writer.line(f"if {self._message} is None: missing()")

    def _remove(self, path: Text) -> None:
        found = _REMOVE.fullmatch(path.text)
        if not found or (found[1] == "MSH" and (not found[2] or int(found[2]) <= 2)):
            self._builder.problem(
                path.line,
                "to.remove",
                t(f"{path.text!r} can't be removed", f"{path.text!r} 不能删除"),
                t("name a segment (NTE) or a field (PID-19)", "请写段名（NTE）或字段（PID-19）"),
            )
            return
        self._builder.at(path.line, "to.remove", path.text)
        self._writer.line(f"remove({self._message}, {found[1]!r}, {int(found[2] or 0)})")

    # -- keys ----------------------------------------------------------------------------------------------------

    def _fields(self, rule: ObjectRule, scope: Scope, target: str, context: _Spot | None) -> None:
        include = rule.include
        if include is not None:
            with self._builder.guard(include, target), self._builder.include(rule, scope, target) as (document, inner):
                if isinstance(document.fields, ObjectRule) and document.fields.each is None:
                    with self._builder.when(document.fields.when, inner, target):
                        self._fields(document.fields, inner, target, context)
                else:
                    self._builder.problem(
                        include.line,
                        target,
                        t(f"{document.name} has no segments or fields", f"{document.name} 没有段或字段"),
                    )
        for entry in rule.fields:
            spot = self._spot(entry, target, context)
            if spot is not None:
                self._rule(entry.rule, scope, self._named(entry, spot, target), spot)

    def _named(self, entry: Field, spot: _Spot, target: str) -> str:
        if not entry.key.startswith("."):
            return entry.key
        return f"{target}-{entry.key[1:]}" if re.fullmatch(r"[A-Z0-9]{3}(\[\])?", target) else f"{target}{entry.key}"

    def _spot(self, entry: Field, target: str, context: _Spot | None) -> _Spot | None:
        """The place a key names; None, and a problem, when it names none."""
        key = entry.key
        numbers: tuple[str | None, ...] = ()
        spot: _Spot | None = None
        found = _KEY.fullmatch(key)
        relative = _RELATIVE.fullmatch(key) if context is not None else None
        if found:
            name, occurrence, field, repetition, component, subcomponent = found.groups()
            numbers = found.groups()[1:]
            segment = f"segment_of({self._message}, {name!r}, {int(occurrence or 1)})"
            present = ""
            if context is not None and context.name == name and not context.field and occurrence is None:
                segment = present = context.segment
            repeats = isinstance(entry.rule, ListRule) or (isinstance(entry.rule, ObjectRule) and entry.rule.each)
            elsewhere = context is not None and context.looped and name != context.name and occurrence is None
            if context is not None and elsewhere and (field or not repeats):
                self._first_again(entry, target, context.name, name)
            spot = _Spot(
                name,
                segment if field or occurrence else "",
                int(field or 0),
                repetition or ("0" if not component else "1"),
                int(component or 0),
                int(subcomponent or 0),
                present,
            )
        elif relative and context is not None:
            first, repetition, second, third = numbers = relative.groups()
            if not context.field:
                spot = _Spot(
                    context.name,
                    context.segment,
                    int(first or 0),
                    repetition or ("0" if not second else "1"),
                    int(second or 0),
                    int(third or 0),
                )
            elif repetition is None and third is None:
                spot = _Spot(
                    context.name, context.segment, context.field, context.repetition, int(first or 0), int(second or 0)
                )
        if spot is None or any(number is not None and not 0 < int(number) <= _MAX_NUMBER for number in numbers):
            self._builder.problem(
                entry.line,
                f"{target}.{key}" if target and not key.startswith(".") else f"{target}{key}",
                t(f"{key!r} is not a place in a message", f"{key!r} 不是消息中的位置"),
                t("e.g. PID-3[2].4, OBX with each:, .4.2 inside", "例如 PID-3[2].4、带 each: 的 OBX、其内的 .4.2"),
            )
            return None
        if spot.name in _HEADERS and 0 < spot.field <= 2:
            self._builder.problem(
                entry.line,
                key,
                t("the delimiters are not set by a mapping", "分隔符不能由映射设置"),
                t("remove it", "请删除"),
            )
            return None
        return spot

    def _first_again(self, entry: Field, target: str, looped: str, name: str) -> None:
        """Every turn of a loop would write into the same segment, whoever it is about."""
        self._builder.problem(
            entry.line,
            f"{target}.{entry.key}".lstrip("."),
            t(
                f"this is the first {name} of the message for every {looped}",
                f"每个 {looped} 都写入消息的第一个 {name}",
            ),
            t(
                f"a {name} of its own: {name}: [{{…}}]; the first on purpose: {name}[1]",
                f"各自的段写作 {name}: [{{…}}]；确为第一个则写 {name}[1]",
            ),
            "warning",
        )

    # -- rules ---------------------------------------------------------------------------------------------------

    def _rule(self, rule: Rules, scope: Scope, target: str, spot: _Spot, seen: str = "") -> None:
        """``seen``: the variable with what ``distinct:`` has met in the list this is an item of."""
        if isinstance(rule, ListRule):
            self._list(rule, scope, target, spot)
        elif isinstance(rule, Leaf):
            if not spot.field:
                self._builder.problem(
                    rule.line,
                    target,
                    t("a segment is not a value", "段不是单个值"),
                    t(f"name a field: {target}-1", f"请写到字段：{target}-1"),
                )
            else:
                self._leaf(rule, scope, target, spot)
        elif spot.component:
            self._builder.problem(
                rule.line,
                target,
                t("a component has no fields", "组件之内没有字段"),
                t("write one rule", "请只写一条规则"),
            )
        elif rule.each is not None:
            self._each(rule, rule.each, scope, target, spot, seen)
        else:
            with self._builder.when(rule.when, scope, target):
                self._fields(rule, scope, target, self._only(spot))

    def _only(self, spot: _Spot) -> _Spot:
        """A segment or repetition that is not repeated: the present one, else the first."""
        if not spot.field:
            segment = spot.segment or spot.present or f"segment_of({self._message}, {spot.name!r}, 1)"
            return _Spot(spot.name, segment)
        return _Spot(spot.name, spot.segment, spot.field, "1" if spot.repetition == "0" else spot.repetition)

    def _added(self, spot: _Spot, *, looped: bool = False) -> _Spot:
        segment = self._writer.assign(f"{self._message}.add_segment({spot.name!r})")
        return _Spot(spot.name, segment, looped=looped)

    def _list(self, rule: ListRule, scope: Scope, target: str, spot: _Spot) -> None:
        if spot.component or (spot.segment and not spot.field):
            self._builder.problem(rule.line, target, t("this does not repeat", "此处不可重复"))
            return
        seen = ""
        if any(isinstance(item, ObjectRule) and item.distinct is not None for item in rule.items):
            seen = self._seen()
        for number, item in enumerate(rule.items, 1):
            place = f"{target}[{number}]"
            if spot.field:
                self._rule(item, scope, place, _Spot(spot.name, spot.segment, spot.field, str(number)), seen)
            elif isinstance(item, ObjectRule) and item.each is None:
                with self._builder.when(item.when, scope, place):
                    self._fields(item, scope, target, self._added(spot))
            else:
                self._rule(item, scope, target, spot, seen)

    def _seen(self) -> str:
        """A variable for what ``distinct:`` has met in a list."""
        seen = self._writer.temp("seen")
        self._writer.line(f"{seen} = {{}}")
        return seen

    def _each(self, rule: ObjectRule, path: Text, scope: Scope, target: str, spot: _Spot, seen: str = "") -> None:
        writer = self._writer
        with self._builder.guard(path, target):
            if rule.distinct is not None:
                seen = seen or self._seen()
            number = ""
            if spot.field:
                number = writer.temp("r")
                start = 0 if spot.repetition == "0" else int(spot.repetition) - 1
                writer.line(f"{number} = {start}")
            with (
                self._builder.each(path, rule, scope, target) as inner,
                self._builder.distinct(rule.distinct, inner, f"{target}[]", seen),
            ):
                if number:
                    writer.line(f"{number} += 1")
                    place = _Spot(spot.name, spot.segment, spot.field, number)
                else:
                    place = self._added(spot, looped=True)
                if rule.value is not None:
                    if not number:
                        raise ExpressionError(t("a segment is not a value", "段不是单个值"))
                    self._leaf(rule.value, inner, f"{target}[]", place)
                else:
                    self._fields(rule, inner, f"{target}[]" if number else target, place)

    def _leaf(self, leaf: Leaf, scope: Scope, target: str, spot: _Spot) -> None:
        text = leaf.expr or Text("", leaf.line)
        place = f"{spot.segment}, {spot.field}, {spot.repetition}, {spot.component}, {spot.subcomponent}"
        with self._builder.when(leaf.when, scope, target), self._builder.guard(text, target):
            self._builder.at(text.line, target, text.text)
            if self._copy(leaf, scope, spot, place):
                return
            value = self._builder.leaf(leaf, scope, target)
            statement = f"put({self._message}, {place}, {value.text})"
            self._writer.line(f"if {value.present}: {statement}" if value.present else statement)

    def _copy(self, leaf: Leaf, scope: Scope, spot: _Spot, place: str) -> bool:
        """Write a copy that keeps the structure, if the leaf is just a path of at least the same level."""
        source = self._builder.generator.source
        if leaf.expr is None or leaf.default is not None or not isinstance(source, Hl7Format):
            return False
        node = self._builder.parse(leaf.expr)
        if not isinstance(node, PathNode):
            return False
        raw, level = source.raw(self._builder.generator, node, scope)
        if level == 4 or spot.level > level:
            return False
        statement = f"put_raw({self._message}, {place}, {raw}, tree, {level})"
        if leaf.required:
            self._writer.line(f"if not {raw}: missing()")
        self._writer.line(statement if leaf.keep_null or leaf.required else f"if {raw}: {statement}")
        return True


# -- run time ----------------------------------------------------------------------------------------------------------


_EMPTY = Hl7Codec().decode(b"MSH|^~\\&\r")


def _new_message() -> Hl7Message:
    return _EMPTY.copy()


def _segment_of(message: Hl7Message, name: str, occurrence: int) -> Segment:
    if occurrence == 1:
        return message.first(name) or message.add_segment(name)
    found = message.all(name)
    while len(found) < occurrence:
        found.append(message.add_segment(name))
    return found[occurrence - 1]


def _remove(message: Hl7Message, name: str, field: int) -> None:
    for segment in message.all(name):
        if not field:
            message.delete_segment(segment)
        elif len(segment.fields) > field and segment.fields[field]:
            segment.set_field(field, "")


def _replaced(text: str, separator: str, number: int, value: str) -> str:
    """The text with its part ``number`` replaced, empty parts added as needed."""
    parts = text.split(separator)
    if number > len(parts):
        parts.extend([""] * (number - len(parts)))
    parts[number - 1] = value
    return separator.join(parts)


def _part_of(text: str, separator: str, number: int) -> str:
    parts = text.split(separator)
    return parts[number - 1] if number <= len(parts) else ""


def _written(message: Hl7Message, value: Any) -> str:
    """A value as escaped text."""
    return message.escape(
        "Y" if value is True else "N" if value is False else "" if value is None else plain_text(value)
    )


def _put(
    message: Hl7Message, segment: Segment, field: int, repetition: int, component: int, subcomponent: int, value: Any
) -> None:
    """Set a value as text; a list in the place of a whole field makes repetitions."""
    if type(value) is list and not repetition and not component:
        segment.set_field(field, message.repetition_sep.join(_written(message, item) for item in value))
        return
    _place(message, segment, field, repetition, component, subcomponent, _written(message, value))


def _place(
    message: Hl7Message, segment: Segment, field: int, repetition: int, component: int, subcomponent: int, raw: str
) -> None:
    if not repetition and not component:
        segment.set_field(field, raw)
        return
    fields = segment.fields
    old = fields[field] if field < len(fields) else ""
    number = repetition or 1
    if component:
        whole = _part_of(old, message.repetition_sep, number)
        if subcomponent:
            part = _part_of(whole, message.component_sep, component)
            raw = _replaced(part, message.subcomponent_sep, subcomponent, raw)
        raw = _replaced(whole, message.component_sep, component, raw)
    segment.set_field(field, _replaced(old, message.repetition_sep, number, raw))


def _put_raw(
    message: Hl7Message,
    segment: Segment,
    field: int,
    repetition: int,
    component: int,
    subcomponent: int,
    raw: str,
    source: Hl7Message,
    level: int,
) -> None:
    """Set a text as the source wrote it; where the delimiters differ, its parts are put together anew."""
    theirs = _delimiters(source)
    ours = _delimiters(message)
    if theirs != ours:
        raw = _translated(raw, source, message, theirs[1:4], ours[1:4], level)
    _place(message, segment, field, repetition, component, subcomponent, raw)


def _delimiters(message: Hl7Message) -> tuple[str, str, str, str, str]:
    return (
        message.field_sep,
        message.repetition_sep,
        message.component_sep,
        message.subcomponent_sep,
        message.escape_char,
    )


def _translated(
    raw: str, source: Hl7Message, message: Hl7Message, theirs: tuple[str, ...], ours: tuple[str, ...], level: int
) -> str:
    if level >= len(theirs):
        return _written(message, source.unescape(raw))
    parts = raw.split(theirs[level])
    return ours[level].join(_translated(part, source, message, theirs, ours, level + 1) for part in parts)
