"""Functions that choose: defaults, conditions, code tables. They write their own code, because most of them need no call at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from hub.i18n import t
from hub.mapping.functions.base import Registry, or_absent
from hub.mapping.functions.dates import format_pattern, now_in_zone, zone
from hub.mapping.functions.lists import joined
from hub.mapping.nodes import CallNode, Constant, DictNode, ExpressionError, LiteralNode, Node
from hub.mapping.paths import Code, Scope
from hub.mapping.runtime import FunctionError, is_absent, plain_text
from hub.mapping.tables_choice import Chosen, TableError, choose
from hub.mapping.tables_dates import day_of, day_text
from hub.mapping.tables_model import CodeTable
from hub.mapping.tables_unmapped import UNMAPPED

if TYPE_CHECKING:
    from hub.mapping.codegen import Generator

__all__ = ["CHOICE", "chosen_rows"]

CHOICE = Registry()


def _argument(node: CallNode, name: str, position: int) -> Node | None:
    if position < len(node.arguments):
        return node.arguments[position]
    return dict(node.keywords).get(name)


def _literal(node: Node | None, what: str, default: Constant) -> Constant:
    if node is None:
        return default
    if not isinstance(node, LiteralNode):
        raise ExpressionError(t(f"{what} must be a literal", f"{what} 须为字面量"), node.at)
    return node.value


# -- presence ----------------------------------------------------------------------------------------------------------


def _emit_default(g: Generator, node: CallNode, scope: Scope) -> Code:
    value, other = node.arguments[0], _argument(node, "other", 1)
    code = g.compile(value, scope)
    if other is None:
        raise ExpressionError(t("default: the other value is missing", "default：缺少默认值"), node.at)
    with g.writer.capture() as captured:
        fallback = g.compile(other, scope)
    kind = "text" if code.kind == fallback.kind == "text" else "any"
    if code.kind == "text" and not captured.risky:
        g.writer.splice(captured, share=True)
        return Code(f"({code.text} or {fallback.text})", kind, code.risky or fallback.risky)
    result = g.writer.temp()
    if code.risky or captured.risky or fallback.risky:
        g.writer.risky = True
    g.writer.line(f"{result} = {code.text}")
    with g.writer.block(f"if {result} is None or {result} == '':"):
        g.writer.splice(captured)
        g.writer.line(f"{result} = {fallback.text}")
    return Code(result, kind)


@CHOICE.add(emit=_emit_default)
def default(value: Any, other: Any) -> Any:
    """The other value when the first is absent (null or "")."""
    return other if is_absent(value) else value


def _told(text: Any, chinese: Any) -> str:
    """A text of a mapping in the language of the one who reads it."""
    english = text if isinstance(text, str) else ""
    return t(english, chinese) if isinstance(chinese, str) and chinese else english


@CHOICE.add()
def required(value: Any, text: Any = None, chinese: Any = None) -> Any:
    """The value; an error with ``text`` (in Chinese ``chinese``) when it is absent."""
    if is_absent(value):
        raise FunctionError(
            _told(text, chinese) or t("a required value is absent", "必填值缺失"),
            remedy=t("the source must send it, or give it a default", "来源须提供该值，或设置默认值"),
        )
    return value


@CHOICE.add()
def fail(text: Any, chinese: Any = None) -> Any:
    """An error with ``text`` (in Chinese ``chinese``): x if good else fail('several patients', '多个患者')."""
    raise FunctionError(_told(text, chinese) or t("the mapping refuses this", "映射拒绝处理"))


def _emit_presence(absent: bool) -> Callable[[Generator, CallNode, Scope], Code]:
    def emit(g: Generator, node: CallNode, scope: Scope) -> Code:
        code = g.compile(node.arguments[0], scope)
        if code.kind == "list":
            return Code(f"(not {code.text})" if absent else f"({code.text} != [])", "bool", code.risky)
        test = g.absent(code)
        return Code(test if absent else f"(not {test})", "bool", code.kind == "text" and code.risky)

    return emit


@CHOICE.add(emit=_emit_presence(absent=False))
def exists(value: Any) -> bool:
    """Whether there is a value: neither null nor ""."""
    return not is_absent(value)


@CHOICE.add(emit=_emit_presence(absent=True))
def empty(value: Any) -> bool:
    """Whether there is no value: null, "" or an empty list."""
    return is_absent(value)


@CHOICE.add()
def null_if(value: Any, *texts: Any) -> Any:
    """Null when the value equals one of the texts, such as the '""' of HL7 that means delete."""
    return None if value in texts else value


# -- texts and time that need the compiler -----------------------------------------------------------------------------


def _emit_join(g: Generator, node: CallNode, scope: Scope) -> Code:
    values = list(node.arguments)
    separator: Node | None = dict(node.keywords).get("sep")
    first_written = 1 if node.piped else 0
    if separator is None and len(values) > first_written and isinstance(values[first_written], LiteralNode):
        separator = values.pop(first_written)
    if any(name != "sep" for name, _ in node.keywords) or not values:
        raise ExpressionError(
            t("join takes values and sep=", "join 的参数为若干取值和 sep="),
            node.at,
            t("join(' ', .1, .2) or PID-3.1 | join(',')", "join(' ', .1, .2) 或 PID-3.1 | join(',')"),
        )
    mark = Code("' '", "text") if separator is None else g.compile(separator, scope)
    codes = [g.argument(value, scope, as_list=len(values) == 1) for value in values]
    if len(codes) == 2 and mark.kind == "text" and all(code.kind == "text" for code in codes):
        one, other = (g.keep(code) for code in codes)
        text = f"({one} + {mark.text} + {other} if {one} and {other} else {one} or {other})"
        return or_absent(g, Code(text, "text", mark.risky))
    g.namespace["f_join"] = joined
    return or_absent(g, Code(f"f_join({', '.join(code.text for code in (mark, *codes))})", "text", True))


def join(*values: Any, sep: Any = " ") -> str:
    """Texts put together with a separator, absent ones left out, absent when all are: join(' ', a, b), path | join(',')."""
    return joined(sep, *values)


CHOICE.add(emit=_emit_join)(join)


def _emit_now(g: Generator, node: CallNode, scope: Scope) -> Code:
    pattern = _literal(_argument(node, "pattern", 0), "pattern", None)
    tz = _literal(_argument(node, "tz", 1), "tz", "Asia/Shanghai")
    try:
        if pattern is not None:
            format_pattern(str(pattern))
        zone(str(tz))
    except FunctionError as error:
        raise ExpressionError(error.text, node.at, error.remedy) from None
    g.namespace["f_now"] = now_in_zone
    text = f"f_now(ctx.now_us, {g.literal(pattern)}, {g.literal(tz)})"
    return Code(g.writer.read(0, ("now", pattern, tz), text), "text")


@CHOICE.add(emit=_emit_now)
def now(pattern: Any = None, tz: Any = "Asia/Shanghai") -> str:
    """The time of the run as ISO 8601, or by a pattern of format_date: now('yyyyMMddHHmmss')."""
    raise FunctionError("now")


# -- code tables -------------------------------------------------------------------------------------------------------

_POLICIES = ("error", "keep", "null")
_UNLISTED = object()


def _lookup(
    name: str, find: Callable[..., Any], unmapped: Constant, other: Callable[[], Any], note: Callable[[str], object]
) -> Callable[..., Any]:
    """The slow side of a table: absent values, numbers, and what the table does not list.

    ``find`` is a function of the text, and of the day where rows have dates; it gives ``_UNLISTED`` for what is not listed.
    """

    def resolve(value: Any, *day: int) -> Any:
        if is_absent(value):
            return None
        text = plain_text(value)
        found = find(text, *day)
        if found is not _UNLISTED:
            return found
        note(text)
        if unmapped == "keep":
            return value
        if unmapped == "null":
            return None
        if unmapped == "error":
            on = t(f" on {day_text(day[0])}", f"（{day_text(day[0])}）") if day else ""
            raise FunctionError(
                t(f"{name} does not list the value{on}", f"{name} 中没有该值{on}"),
                value,
                t(
                    "add it, or choose unmapped='keep', 'null' or default=…",
                    "请补充该值，或指定 unmapped='keep'、'null' 或 default=…",
                ),
            )
        return other()

    return resolve


def _emit_lookup(
    g: Generator, code: Code, name: str, table: str, entries: Mapping[str, Any] | Chosen, node: CallNode, scope: Scope
) -> Code:
    """``entries``: what is listed, or whom to ask where that depends on the day; ``table``: its name in the notes on misses."""
    keywords = dict(node.keywords)
    unmapped = _literal(keywords.get("unmapped"), "unmapped", "error")
    fallback = keywords.get("default")
    absent = keywords.get("absent")
    value = g.keep(code)
    if fallback is None and unmapped not in _POLICIES:
        # Any other text is the value to use: table('gender', unmapped='unknown').
        fallback = LiteralNode(node.at, unmapped)
    day = ""
    if isinstance(entries, Chosen):
        g.namespace["day_of"] = day_of
        day = f", {g.writer.read(0, ('day',), 'day_of(ctx)')}"
        ask = entries.find
        found = f"{g.constant(ask)}({value}{day})"

        def find(text: str, *day: int) -> Any:
            answer = ask(text, *day)
            return _UNLISTED if answer is None else answer
    else:
        listed = entries
        found = f"{g.constant(listed)}.get({value})"

        def find(text: str, *day: int) -> Any:
            return listed.get(text, _UNLISTED)

    note = partial(UNMAPPED.note, table, *g.place)
    result = g.writer.temp()
    g.writer.line(
        f"{result} = {found}" if code.kind == "text" else f"{result} = {found} if type({value}) is str else None"
    )
    if absent is not None:
        with g.writer.block(f"if {value} is None or {value} == '':"):
            g.writer.line(f"{result} = {g.compile(absent, scope).text}")
    with g.writer.block(f"{'if' if absent is None else 'elif'} {result} is None:"):
        g.writer.risky = True
        if fallback is None:
            resolve = g.constant(_lookup(name, find, unmapped, lambda: None, note))
            g.writer.line(f"{result} = {resolve}({value}{day})")
        else:
            missing = object()
            resolve = g.constant(_lookup(name, find, "default", lambda: missing, note))
            g.writer.line(f"{result} = {resolve}({value}{day})")
            with g.writer.block(f"if {result} is {g.constant(missing)}:"):
                g.writer.line(f"{result} = {g.compile(fallback, scope).text}")
    return Code(result)


def chosen_rows(node: CallNode, name: str, find: Callable[[str], CodeTable | None] | None) -> Chosen:
    """The rows a call of ``table`` asks; raises :class:`ExpressionError`. ``find`` as :func:`~hub.mapping.tables_choice.choose` wants it."""
    keywords = dict(node.keywords)
    version = _literal(keywords.get("version"), "version", "")
    reverse = _literal(keywords.get("reverse"), "reverse", False)
    if isinstance(version, bool) or not isinstance(version, str | int):
        raise ExpressionError(
            t("table: the version must be a text", "table：版本须为文本"),
            node.at,
            t("version='2024'", "version='2024'"),
        )
    if not isinstance(reverse, bool):
        raise ExpressionError(t("table: reverse is true or false", "table：reverse 须为 true 或 false"), node.at)
    if find is None:
        raise ExpressionError(
            t("code tables are available in mappings only", "代码表仅可在映射中使用"),
            node.at,
            t("use match({…}) here", "此处请用 match({…})"),
        )
    try:
        found = choose(name, find, version=str(version), reverse=reverse)
    except TableError as error:
        raise ExpressionError(error.text, node.at, error.remedy) from None
    if found is None:
        raise ExpressionError(
            t(f"there is no code table {name!r}", f"没有代码表 {name!r}"),
            node.at,
            t(f"add tables/{name}.csv to the mappings folder", f"请在映射目录中添加 tables/{name}.csv"),
        )
    return found


def _emit_table(g: Generator, node: CallNode, scope: Scope) -> Code:
    name = _literal(_argument(node, "name", 1), "the name of a table", None)
    if not isinstance(name, str):
        raise ExpressionError(t("table: the name must be a text", "table：表名须为文本"), node.at)
    chosen = chosen_rows(node, name, g.find_table)
    # Without dates it stays one look-up in a dict.
    entries = chosen if chosen.dated else chosen.entries()
    told = t(f"table {name}", f"代码表 {name}")
    return _emit_lookup(g, g.compile(node.arguments[0], scope), told, name, entries, node, scope)


@CHOICE.add(emit=_emit_table)
def table(
    value: Any,
    name: Any,
    *,
    unmapped: Any = "error",
    default: Any = None,
    absent: Any = None,
    version: Any = "",
    reverse: Any = False,
) -> Any:
    """Translated by a code table; unmapped='error', 'keep', 'null', or default=… for what it does not list; absent=… for no value."""
    raise FunctionError(name)


def _emit_match(g: Generator, node: CallNode, scope: Scope) -> Code:
    cases = _argument(node, "cases", 1)
    if not isinstance(cases, DictNode):
        raise ExpressionError(
            t("match takes the cases in braces", "match 的各种情形须写在花括号中"),
            node.at,
            t("match({'M': '男', 'F': '女'})", "match({'M': '男', 'F': '女'})"),
        )
    entries: dict[str, Constant] = {}
    for key, value in cases.items:
        if not isinstance(value, LiteralNode):
            raise ExpressionError(
                t("match: the values must be literals", "match：取值须为字面量"),
                value.at,
                t("use a if … else b", "请用 a if … else b"),
            )
        text = "" if key is None else plain_text(key)
        if not text or text in entries:
            raise ExpressionError(
                t(f"match: {text!r} is empty or listed twice", f"match：{text!r} 为空或重复"), cases.at
            )
        entries[text] = value.value
    return _emit_lookup(g, g.compile(node.arguments[0], scope), "match", "match", entries, node, scope)


@CHOICE.add(emit=_emit_match)
def match(value: Any, cases: Any, *, unmapped: Any = "error", default: Any = None, absent: Any = None) -> Any:
    """Translated by the cases given: match({'M': 'male'}, default='other', absent='unknown')."""
    raise FunctionError("match")
