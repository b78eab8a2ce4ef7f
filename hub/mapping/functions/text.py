"""Functions on texts. An absent value (null, "") comes back as it is unless a function says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from hub.i18n import t
from hub.mapping.functions.base import Registry, or_absent, text_of
from hub.mapping.nodes import CallNode, LiteralNode
from hub.mapping.paths import Code, Scope
from hub.mapping.patterns import Pattern, compile_pattern
from hub.mapping.runtime import MAX_TEXT, FunctionError, is_absent, plain_text

if TYPE_CHECKING:
    from hub.mapping.codegen import Generator

__all__ = ["TEXT"]

TEXT = Registry()


@TEXT.add(inline="{}.upper()")
def upper(value: Any) -> Any:
    """Capital letters."""
    return value if is_absent(value) else text_of(value, "upper").upper()


@TEXT.add(inline="{}.lower()")
def lower(value: Any) -> Any:
    """Small letters."""
    return value if is_absent(value) else text_of(value, "lower").lower()


@TEXT.add(inline="{}.strip()")
def trim(value: Any) -> Any:
    """Without white space at both ends, the full-width space included."""
    return value if is_absent(value) else text_of(value, "trim").strip()


@TEXT.add()
def substring(value: Any, start: Any, length: Any = None) -> Any:
    """``length`` characters (absent: the rest) from position ``start``; 0 is the first, -1 the last."""
    if is_absent(value):
        return value
    text = text_of(value, "substring")
    if not isinstance(start, int) or isinstance(start, bool):
        raise FunctionError(t("substring: start must be a whole number", "substring：start 须为整数"))
    if length is not None and (not isinstance(length, int) or isinstance(length, bool) or length < 0):
        raise FunctionError(t("substring: length must be a whole number, 0 or more", "substring：length 须为非负整数"))
    if start < 0:
        start = max(0, len(text) + start)
    return text[start:] if length is None else text[start : start + length]


@TEXT.add()
def replace(value: Any, old: Any, new: Any) -> Any:
    """Every occurrence of the text ``old`` replaced by ``new``."""
    if is_absent(value):
        return value
    text, old, new = text_of(value, "replace"), text_of(old, "replace"), text_of(new, "replace")
    if not old:
        raise FunctionError(t("replace: the text to look for is empty", "replace：查找文本为空"))
    if len(text) + text.count(old) * len(new) > MAX_TEXT:
        raise FunctionError(t(f"replace: the result is longer than {MAX_TEXT}", f"replace：结果超过 {MAX_TEXT} 个字符"))
    return text.replace(old, new)


@TEXT.add(returns="list")
def split(value: Any, separator: Any) -> Any:
    """A list of the parts between separators; an empty list when absent."""
    if is_absent(value):
        return []
    separator = text_of(separator, "split")
    if not separator:
        raise FunctionError(t("split: the separator is empty", "split：分隔符为空"))
    return text_of(value, "split").split(separator)


def _emit_concat(g: Generator, node: CallNode, scope: Scope) -> Code:
    codes = [g.argument(value, scope, as_list=False) for value in node.arguments]
    written = sum(isinstance(value, LiteralNode) for value in node.arguments)
    if codes and len(codes) - written <= 1 and all(code.kind == "text" for code in codes):
        # One text between constants can't grow out of bounds.
        text = Code(f"({' + '.join(code.text for code in codes)})", "text", any(code.risky for code in codes))
    else:
        g.namespace["f_concat"] = concat
        text = Code(f"f_concat({', '.join(code.text for code in codes)})", "text", True)
    always = any(isinstance(value, LiteralNode) and value.value not in (None, "") for value in node.arguments)
    return text if always else or_absent(g, text)


@TEXT.add(returns="text", emit=_emit_concat)
def concat(*values: Any) -> str:
    """The values one after the other as text, absent ones left out, absent when all are."""
    text = "".join([value if type(value) is str else "" if value is None else plain_text(value) for value in values])
    if len(text) > MAX_TEXT:
        raise FunctionError(t(f"concat: the result is longer than {MAX_TEXT}", f"concat：结果超过 {MAX_TEXT} 个字符"))
    return text


def _padded(name: str, value: Any, width: Any, fill: Any) -> tuple[str, int, str]:
    if not isinstance(width, int) or isinstance(width, bool) or not 0 <= width <= 10_000:
        raise FunctionError(t(f"{name}: width must be 0 to 10000", f"{name}：宽度须为 0 至 10000"))
    fill = text_of(fill, name)
    if len(fill) != 1:
        raise FunctionError(t(f"{name}: fill with one character", f"{name}：填充须为单个字符"))
    return text_of(value, name), width, fill


@TEXT.add()
def pad_left(value: Any, width: Any, fill: Any = "0") -> Any:
    """Filled up on the left to ``width`` characters; longer texts stay whole."""
    if is_absent(value):
        return value
    text, width, fill = _padded("pad_left", value, width, fill)
    return text.rjust(width, fill)


@TEXT.add()
def pad_right(value: Any, width: Any, fill: Any = " ") -> Any:
    """Filled up on the right to ``width`` characters; longer texts stay whole."""
    if is_absent(value):
        return value
    text, width, fill = _padded("pad_right", value, width, fill)
    return text.ljust(width, fill)


@TEXT.add()
def string(value: Any) -> Any:
    """A number or true/false as text; null stays null."""
    return None if value is None else plain_text(value)


def _check_pattern(literals: Mapping[str, Any]) -> None:
    if "pattern" in literals:
        _pattern(literals["pattern"])


def _pattern(pattern: Any) -> Pattern:
    if not isinstance(pattern, str):
        raise FunctionError(t("the pattern must be a text", "模式须为文本"))
    return compile_pattern(pattern)


def _quick_match(g: Generator, found: Pattern, text: str) -> str:
    match, call = g.constant(found.expression.fullmatch), g.constant(found.fullmatch)
    return f"({text} != '' and ({match}({text}) is not None if len({text}) <= {found.harmless} else {call}({text})))"


def _quick_find(g: Generator, found: Pattern, text: str) -> str:
    search, call, result = g.constant(found.expression.search), g.constant(found.find), g.writer.temp()
    group = 1 if found.expression.groups else 0
    short = f"({result}[{group}] if ({result} := {search}({text})) is not None else None)"
    return f"(({short} if len({text}) <= {found.harmless} else {call}({text})) if {text} else None)"


def _emit_regex(
    name: str, quick: Callable[[Generator, Pattern, str], str], kind: str
) -> Callable[[Generator, CallNode, Scope], Code]:
    """A pattern written in the expression is looked up once, when the mapping is compiled, and only texts need no check."""

    def emit(g: Generator, node: CallNode, scope: Scope) -> Code:
        values = [g.argument(value, scope, as_list=False) for value in node.arguments]
        pattern = node.arguments[1] if len(values) == 2 else None
        if isinstance(pattern, LiteralNode) and isinstance(pattern.value, str) and values[0].kind == "text":
            found = compile_pattern(pattern.value)
            return Code(quick(g, found, g.keep(values[0])), kind, True)
        g.namespace[f"f_{name}"] = g.functions[name].call
        texts = [value.text for value in values]
        texts += [f"{keyword}={g.argument(value, scope, as_list=False).text}" for keyword, value in node.keywords]
        return Code(f"f_{name}({', '.join(texts)})", kind, True)

    return emit


@TEXT.add(returns="bool", check=_check_pattern, emit=_emit_regex("regex_match", _quick_match, "bool"))
def regex_match(value: Any, pattern: Any) -> bool:
    """Whether the whole text matches a pattern; false when absent."""
    if is_absent(value):
        return False
    return _pattern(pattern).fullmatch(text_of(value, "regex_match"))


@TEXT.add(check=_check_pattern)
def regex_replace(value: Any, pattern: Any, replacement: Any) -> Any:
    r"""Every match of a pattern replaced; ``\1`` in the replacement is the first group."""
    if is_absent(value):
        return value
    return _pattern(pattern).replace(text_of(value, "regex_replace"), text_of(replacement, "regex_replace"), MAX_TEXT)


@TEXT.add(check=_check_pattern, emit=_emit_regex("regex_find", _quick_find, "any"))
def regex_find(value: Any, pattern: Any) -> Any:
    """The first match of a pattern, of its first group where it has one; null when there is none."""
    if is_absent(value):
        return None
    return _pattern(pattern).find(text_of(value, "regex_find"))
