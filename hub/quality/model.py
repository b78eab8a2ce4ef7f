"""What a file of quality rules may say; one model for each part of it.

Levels: 002:980, 998; the kinds of checks: 002:996, 1117; local rules within the frame of the central ones: 002:958, 1029.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, StrictFloat, StrictInt, StrictStr, model_validator

from hub.contract import Model
from hub.i18n import t

__all__ = [
    "EXPRESSION_KEYS",
    "TESTS",
    "VALUE_TESTS",
    "Continuous",
    "For",
    "Length",
    "OrderTest",
    "Override",
    "Quantity",
    "Range",
    "RuleModel",
    "RuleSetModel",
    "StatisticsModel",
    "TableTest",
    "Words",
]

#: Keys at which a plain number of YAML, or one in a list, is a path as it is written: ``.10`` is a path, not 0.1.
EXPRESSION_KEYS = frozenset(
    {
        *("when", "each", "path", "at", "required", "forbidden", "any_of", "together", "assert", "order"),
        *("unique", "continuous", "unit", "paths", "time", "fields"),
    }
)
#: Tests of a value that ``path:`` names.
VALUE_TESTS = ("check", "pattern", "length", "range", "one_of", "table", "quantity")
#: Every test; a rule has exactly one.
TESTS = (
    *("required", "forbidden", "any_of", "together"),
    *VALUE_TESTS,
    *("assert", "order", "unique", "continuous"),
)


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_words(value: Any) -> Any:
    return {"en": value, "zh": value} if isinstance(value, str) else value


def _under(key: str) -> BeforeValidator:
    """A short form: the value alone instead of ``{key: value}``."""
    return BeforeValidator(lambda value: value if isinstance(value, dict) else {key: value})


Expression = Annotated[str, Field(min_length=1, max_length=8000)]
Expressions = Annotated[list[Expression], BeforeValidator(_as_list), Field(min_length=1, max_length=100)]


class Words(Model):
    """A text in both languages; written as one text it is the same in both."""

    en: str = Field(min_length=1, max_length=500)
    zh: str = Field(min_length=1, max_length=500)

    def told(self) -> str:
        return t(self.en, self.zh)


Bilingual = Annotated[Words, BeforeValidator(_as_words)]


class For(Model):
    """The trees the rules are for."""

    codec: str = Field(min_length=1, description="codec of the messages")
    types: Annotated[list[str], BeforeValidator(_as_list)] = Field(
        default_factory=list, description="message types, * stands for anything; none: all"
    )
    namespaces: dict[str, str] = Field(default_factory=dict, description="prefixes of paths into XML")


class Length(Model):
    """Characters of a text, or items of a list; both bounds are allowed values."""

    min: int | None = Field(None, ge=0)
    max: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _some(self) -> Length:
        _bounds(self.min, self.max)
        return self


Bound = StrictInt | StrictFloat | StrictStr


class Range(Model):
    """Numbers, or dates where a bound is a text: ``1900-01-01``, ``now``, ``now - 130y``. Both bounds are allowed values."""

    min: Bound | None = None
    max: Bound | None = None

    @model_validator(mode="after")
    def _some(self) -> Range:
        if self.min is not None and self.max is not None and isinstance(self.min, str) != isinstance(self.max, str):
            raise ValueError(t("one bound is a number, the other a date", "一个界限是数字，另一个是日期"))
        for bound in (self.min, self.max):
            if isinstance(bound, str):
                from hub.quality.moments import bound_of

                bound_of(bound)
        if not isinstance(self.min, str) and not isinstance(self.max, str):
            _bounds(self.min, self.max)
        elif self.min is None and self.max is None:
            _bounds(None, None)
        return self

    @property
    def of_dates(self) -> bool:
        return isinstance(self.min, str) or isinstance(self.max, str)


def _bounds(low: Any, high: Any) -> None:
    if low is None and high is None:
        raise ValueError(t("min: or max: is needed", "需要 min: 或 max:"))
    if low is not None and high is not None and low > high:
        raise ValueError(t("min: is greater than max:", "min: 大于 max:"))


class TableTest(Model):
    """A code table of the mappings, and the side of it on which the value must stand."""

    name: str = Field(min_length=1)
    column: Literal["from", "to"] = "from"
    version: str = ""


class Quantity(Model):
    """A measured quantity with its plausible limits, and where its unit stands; see docs/quality-rules.md."""

    name: str = Field(min_length=1)
    unit: str = Field("", description="path of the unit; without it the first unit of the quantity is meant")


class OrderTest(Model):
    """Dates or times none of which may be before the one written before it; absent ones are passed over."""

    paths: Annotated[list[Expression], Field(min_length=2, max_length=20)]
    strict: bool = Field(False, description="equal ones are wrong too")


class Continuous(Model):
    """Numbers that count on by one from element to element."""

    path: Expression
    start: int | None = Field(None, description="the first number; without it any")


class RuleModel(Model):
    """One rule."""

    #: Keys written in the file with another name than in Python.
    TEST_FIELDS: ClassVar[dict[str, str]] = {"assert": "assert_"}

    level: Literal["field", "business", "plausibility", "completeness"] = Field(
        description="字段级 field, 业务级 business, 合理性 plausibility, 完整性 completeness"
    )
    severity: Literal["error", "warning"] = Field(
        "error", description="an error refuses the message under validate: strict"
    )
    kind: Literal["missing", "format", "length", "range", "code", "contradiction", "duplicate", "structure"] | None = (
        Field(None, description="error type; by default that of the test")
    )
    weight: float = Field(1.0, ge=0, le=1000, description="share of the score")
    priority: int = Field(0, ge=-1000, le=1000, description="of two rules that contradict each other the higher stays")
    allow_local: bool = Field(False, description="sets that include this one may loosen or disable the rule")
    disabled: bool = Field(False, description="the rule is not asked")
    when: str = Field("", description="condition; the rule is asked only where it holds")
    each: Expressions = Field(
        default_factory=list, description="asked once for each element; several paths are nested loops"
    )
    path: Expressions = Field(
        default_factory=list, description="the value that is tested; absent values are passed over"
    )
    at: Expressions = Field(default_factory=list, description="the place named in the finding")
    text: Bilingual | None = Field(None, description="what is wrong")
    advice: Bilingual | None = Field(None, description="how to clean it")

    required: Expressions | None = Field(None, description="values that must be there")
    forbidden: Expressions | None = Field(None, description="values that must not be there")
    any_of: Expressions | None = Field(None, description="one of these values must be there")
    together: Annotated[list[Expression], Field(min_length=2)] | None = Field(
        None, description="where one of these values is, all must be"
    )
    check: Expression | None = Field(None, description="a check of the library: is_id_card, is_age(max=120)")
    pattern: Expression | None = Field(None, description="regular expression for the whole value")
    length: Annotated[Length, BeforeValidator(lambda v: {"min": v, "max": v} if type(v) is int else v)] | None = None
    range: Range | None = None
    one_of: Annotated[list[StrictStr | StrictInt | StrictFloat], Field(min_length=1)] | None = Field(
        None, description="the values allowed"
    )
    table: Annotated[TableTest, _under("name")] | None = Field(
        None, description="a code table that must list the value"
    )
    quantity: Annotated[Quantity, _under("name")] | None = Field(None, description="plausible limits by unit")
    assert_: Expression | None = Field(None, alias="assert", description="an expression that must hold")
    order: Annotated[OrderTest, _under("paths")] | None = Field(None, description="dates that must not go back")
    unique: Expression | None = Field(None, description="a value no two elements of each: may share")
    continuous: Annotated[Continuous, _under("path")] | None = Field(
        None, description="numbers without gaps over each:"
    )

    @property
    def test(self) -> str:
        """The key of the test."""
        return next(name for name in TESTS if self.said(name) is not None)

    def said(self, test: str) -> Any:
        """What stands under the key of a test; None when it isn't there."""
        return getattr(self, self.TEST_FIELDS.get(test, test))

    @model_validator(mode="after")
    def _one_test(self) -> RuleModel:
        tests = [name for name in TESTS if self.said(name) is not None]
        if len(tests) != 1:
            found = ", ".join(tests) or t("none", "没有")
            raise ValueError(
                t(
                    f"a rule has exactly one test, this has {found}; tests: {', '.join(TESTS)}",
                    f"一条规则须恰有一种检查，此处为：{found}；可用：{'、'.join(TESTS)}",
                )
            )
        if (tests[0] in VALUE_TESTS) != bool(self.path):
            raise ValueError(
                t(f"{tests[0]}: needs path:, the value to test", f"{tests[0]}: 需要 path:，即被检查的值")
                if tests[0] in VALUE_TESTS
                else t(f"path: does not go with {tests[0]}:", f"path: 不能与 {tests[0]}: 同用")
            )
        if tests[0] in ("unique", "continuous") and not self.each:
            raise ValueError(t(f"{tests[0]}: needs each:, the elements", f"{tests[0]}: 需要 each:，即各元素"))
        return self


class Override(Model):
    """Changes to a rule of an included set: what is not written stays."""

    level: str = ""
    severity: str = ""
    kind: str = ""
    weight: float = 1.0
    priority: int = 0
    disabled: bool = False
    when: str = ""
    path: Any = None
    at: Any = None
    text: Any = None
    advice: Any = None
    required: Any = None
    forbidden: Any = None
    any_of: Any = None
    together: Any = None
    check: Any = None
    pattern: Any = None
    length: Any = None
    range: Any = None
    one_of: Any = None
    table: Any = None
    quantity: Any = None
    assert_: Any = Field(None, alias="assert")
    order: Any = None
    unique: Any = None
    continuous: Any = None


class StatisticsModel(Model):
    """What is counted besides the findings (002:1121-1123: 及时性, 字段饱和度)."""

    time: str = Field("", description="when what the message tells of happened; compared with when it was received")
    fields: Annotated[list[Expression], BeforeValidator(_as_list)] = Field(
        default_factory=list, max_length=200, description="paths whose presence is counted"
    )


class RuleSetModel(Model):
    """One file."""

    description: str = ""
    for_: For = Field(alias="for")
    include: Annotated[list[str], BeforeValidator(_as_list)] = Field(
        default_factory=list, description="other sets whose rules are part of this one"
    )
    statistics: StatisticsModel = StatisticsModel()
    rules: dict[str, Any] = Field(default_factory=dict)
    overrides: dict[str, Any] = Field(
        default_factory=dict, description="changes to rules of included sets, by their ids"
    )
