"""Regular expressions with a bound on the work they can cause.

Python's matcher goes back and tries again, so a careless pattern on hostile text can run for hours. Patterns here are a subset: characters,
classes, ``.``, ``^ $ \\b``, groups, ``|`` and the quantifiers ``* + ? {m,n}``, greedy or lazy. No look-around, no back-references, no
variable quantifier inside a repeated group. For such a pattern the number of ways to match a text of n characters is at most
``choices * n ** open`` with ``open`` the number of unbounded quantifiers; texts for which this passes :data:`MAX_STEPS` are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from hub.i18n import t
from hub.mapping.runtime import FunctionError

__all__ = ["MAX_PATTERN", "MAX_STEPS", "Pattern", "compile_pattern"]

#: Longest pattern, characters.
MAX_PATTERN = 200
#: Bound on the matcher's steps for one text.
MAX_STEPS = 5_000_000
#: Longest text searched, whatever the pattern.
MAX_SUBJECT = 100_000
_MAX_REPEAT = 1000

_QUANTIFIER = re.compile(r"(?:[*+?]|\{(\d{1,4})(?:(,)(\d{0,4}))?\})\??", re.ASCII)
_CLASS = re.compile(r"\[\^?\]?(?:[^\]\\\[]|\\[^\W_]|\\[^\w\s])*\]", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:[dDwWsSbBnrt]|[^\w\s]|u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Cost:
    """Ways to match: ``choices * n ** open``."""

    choices: int = 1
    open: int = 0


class _Reader:
    """Checks the syntax of a pattern and counts its choices."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.depth = 0

    def error(self, text: str, remedy: str = "") -> FunctionError:
        return FunctionError(
            t(f"pattern, character {self.at + 1}: {text}", f"模式第 {self.at + 1} 个字符：{text}"), remedy=remedy
        )

    def alternatives(self) -> _Cost:
        choices, most = 0, 0
        while True:
            cost = self.sequence()
            choices += cost.choices
            most = max(most, cost.open)
            if not self.pattern.startswith("|", self.at):
                return _Cost(choices, most)
            self.at += 1

    def sequence(self) -> _Cost:
        choices, open_ = 1, 0
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            cost = self.quantified(self.atom())
            choices, open_ = choices * cost.choices, open_ + cost.open
        return _Cost(choices, open_)

    def atom(self) -> _Cost:
        char = self.pattern[self.at]
        if char == "(":
            self.at += 1
            self.depth += 1
            if self.depth > 10:
                raise self.error(t("groups nested deeper than 10", "分组嵌套超过 10 层"))
            if self.pattern.startswith("?", self.at):
                if not self.pattern.startswith("?:", self.at):
                    raise self.error(
                        t("only plain groups ( ) and (?: ) are supported", "仅支持分组 ( ) 和 (?: )"),
                        t("write it without look-around, flags and names", "请勿使用环视、标志和命名分组"),
                    )
                self.at += 2
            cost = self.alternatives()
            if not self.pattern.startswith(")", self.at):
                raise self.error(t("a group is not closed", "分组未闭合"))
            self.at += 1
            self.depth -= 1
            return cost
        if char in "*+?{":
            raise self.error(
                t("nothing to repeat", "没有可重复的内容"),
                t("a literal one is written \\" + char, "字面量请写 \\" + char),
            )
        for pattern, what in ((_CLASS, "["), (_ESCAPE, "\\")):
            if char == what:
                found = pattern.match(self.pattern, self.at)
                if not found:
                    raise self.error(
                        t("not a supported class or escape", "不支持的字符类或转义"),
                        t("back-references are not supported", "不支持反向引用"),
                    )
                self.at = found.end()
                return _Cost()
        self.at += 1
        return _Cost()

    def quantified(self, cost: _Cost) -> _Cost:
        found = _QUANTIFIER.match(self.pattern, self.at)
        if not found:
            return cost
        mark = self.pattern[self.at]
        self.at = found.end()
        low = int(found[1]) if found[1] else 1 if mark == "+" else 0
        if mark == "{":
            high = int(found[1]) if not found[2] else int(found[3]) if found[3] else -1
        else:
            high = 1 if mark == "?" else -1
        if max(low, high) > _MAX_REPEAT or 0 <= high < low:
            raise self.error(t(f"at most {_MAX_REPEAT} repetitions", f"重复次数最多 {_MAX_REPEAT}"))
        if self.pattern[self.at : self.at + 1] in ("*", "+", "?", "{") and self.at < len(self.pattern):
            raise self.error(t("a quantifier after a quantifier", "量词后不能再跟量词"))
        simple = cost == _Cost()
        if high == -1:
            if not simple:
                raise self.error(
                    t("a variable part inside a repeated group", "重复分组内含可变部分"),
                    t("use split, or a class such as [^,]*", "请改用 split，或使用 [^,]* 之类的字符类"),
                )
            return _Cost(1, 1)
        if high <= 1:
            return _Cost(cost.choices + (low == 0), cost.open)
        if simple:
            return _Cost(high - low + 1)
        if cost.open or cost.choices**high > MAX_STEPS:
            raise self.error(
                t("a variable part inside a repeated group", "重复分组内含可变部分"),
                t("write the repetitions out or use split", "请逐一写出或改用 split"),
            )
        return _Cost(cost.choices**high * (high - low + 1))


@dataclass(frozen=True, slots=True)
class Pattern:
    """A checked pattern."""

    expression: re.Pattern[str]
    choices: int
    open: int

    def _admit(self, text: str, *, search: bool) -> None:
        # A search starts at every character, and each way to match runs over the text once at most.
        size = max(len(text), 1)
        if size > MAX_SUBJECT or self.choices * size ** (self.open + search) > MAX_STEPS:
            raise FunctionError(
                t(
                    f"a text of {size} characters is too long for this pattern",
                    f"对该模式而言，{size} 个字符的文本过长",
                ),
                remedy=t("use fewer * and +, or cut the text with substring", "请减少 * 和 +，或先用 substring 截取"),
            )

    @property
    def harmless(self) -> int:
        """So many characters may be matched without a second look."""
        low, high = 0, MAX_SUBJECT
        while low < high:
            size = (low + high + 1) // 2
            if self.choices * size ** (self.open + 1) <= MAX_STEPS:
                low = size
            else:
                high = size - 1
        return low

    def fullmatch(self, text: str) -> bool:
        self._admit(text, search=False)
        return self.expression.fullmatch(text) is not None

    def find(self, text: str) -> str | None:
        self._admit(text, search=True)
        found = self.expression.search(text)
        if found is None:
            return None
        return found[1] if self.expression.groups else found[0]

    def replace(self, text: str, replacement: str, longest: int) -> str:
        """Raises :class:`FunctionError` for a bad replacement or a result longer than ``longest``."""
        self._admit(text, search=True)
        if len(replacement) * (len(text) + 1) > longest:
            raise FunctionError(t("the replacement is too long for this text", "替换文本对该文本而言过长"))
        try:
            result = self.expression.sub(replacement, text)
        except (re.error, IndexError):
            raise FunctionError(
                t("the replacement names a group the pattern does not have", "替换文本引用了模式中不存在的分组")
            ) from None
        if len(result) > longest:
            raise FunctionError(t(f"the result is longer than {longest}", f"结果超过 {longest} 个字符"))
        return result


@lru_cache(maxsize=1024)
def compile_pattern(pattern: str) -> Pattern:
    """Check and compile; raises :class:`FunctionError` with the place in the pattern."""
    if len(pattern) > MAX_PATTERN:
        raise FunctionError(t(f"pattern longer than {MAX_PATTERN} characters", f"模式超过 {MAX_PATTERN} 个字符"))
    reader = _Reader(pattern)
    cost = reader.alternatives()
    if reader.at < len(pattern):
        raise reader.error(t("unexpected )", "多余的 )"))
    try:
        expression = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise FunctionError(t(f"pattern: {error}", f"模式有误：{error}")) from None
    if cost.choices > MAX_STEPS or cost.open > 6:
        raise FunctionError(
            t("the pattern has too many variable parts", "模式的可变部分过多"), remedy=t("simplify it", "请简化")
        )
    return Pattern(expression, cost.choices, cost.open)
