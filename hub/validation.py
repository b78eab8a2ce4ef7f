"""Turns what pydantic says about a document into problems a person can act on: place, what is wrong, what would be right."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from types import UnionType
from typing import Any, Protocol, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hub.errors import MappingError, Problem
from hub.i18n import t
from hub.secrets import Secret
from hub.yaml_source import KeyPath

__all__ = ["Origin", "did_you_mean", "explain", "expression_problems", "listed", "validate"]

M = TypeVar("M", bound=BaseModel)

#: Under such keys somebody may have written a secret by mistake: the value is not repeated.
_SECRETIVE = re.compile("token|secret|passw|pwd|credential|private", re.IGNORECASE)
#: Longest value shown in a text, characters.
_SHOWN = 60
#: Most names listed in a remedy.
_LISTED = 40


class Origin(Protocol):
    """Where the checked data was written; :class:`hub.yaml_source.Place` is one."""

    def problem(self, text: str, path: KeyPath = (), *, remedy: str = "", severity: str = "error") -> Problem: ...


def listed(names: Iterable[object]) -> str:
    """Names for a remedy, as many as a person reads."""
    every = [str(name) for name in names]
    return ", ".join(every[:_LISTED]) + (" …" if len(every) > _LISTED else "")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A remedy for a name nobody knows: the nearest known one, else all of them."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return t(f"did you mean {near[0]!r}?", f"是否应为 {near[0]!r}？")
    if not names:
        return t("there is none; remove it", "没有可用的值，请删除")
    return t(f"known: {listed(names)}", f"可用：{listed(names)}")


def validate(model: type[M], data: Any, origin: Origin, problems: list[Problem]) -> M | None:
    """The model filled from ``data``; None when something is wrong, which is then added to ``problems``."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems.extend(explain(error, model, data, origin))
        return None


def explain(error: ValidationError, model: type[BaseModel], data: Any, origin: Origin) -> list[Problem]:
    """One problem for each place that is wrong, in the order of the lines."""
    details: dict[tuple[str | int, ...], ErrorDetails] = {}
    for detail in error.errors(include_url=False):
        path = _data_path(detail, data)
        # A union complains once for each of its members; for a text the one that lists words says most.
        if path not in details or (detail["type"] == "literal_error" and isinstance(detail["input"], str)):
            details[path] = detail
    problems = []
    for path, detail in details.items():
        text, remedy = _words(detail, model, path)
        problems.append(origin.problem(text, path, remedy=remedy))
    return sorted(problems, key=lambda problem: problem.line)


def _data_path(detail: ErrorDetails, data: Any) -> tuple[str | int, ...]:
    """Pydantic's location without the parts that name members of a union."""
    path: list[str | int] = []
    last = len(detail["loc"]) - 1
    for number, part in enumerate(detail["loc"]):
        if isinstance(data, dict) and part in data:
            data = data[part]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data.__getitem__(part)
        elif not (number == last and detail["type"] == "missing"):
            continue
        path.append(part)
    return tuple(path)


def _show(value: Any) -> str:
    if isinstance(value, Secret):
        return "***"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return t("keys and values", "键值")
    if isinstance(value, list):
        return t("a list", "列表")
    if value is None:
        return t("nothing", "空")
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _words(detail: ErrorDetails, model: type[BaseModel], path: tuple[str | int, ...]) -> tuple[str, str]:
    """(text, remedy)"""
    kind = detail["type"]
    context = detail.get("ctx") or {}
    value = detail.get("input")
    name = str(path[-1]) if path else ""
    if any(isinstance(part, str) and _SECRETIVE.search(part) for part in path):
        value = Secret("")
        if kind == "value_error":
            return t("this value is not acceptable", "此值不可用"), t("correct the value", "请更正此值")
    if kind == "missing":
        return t(f"{name!r} is missing", f"缺少 {name!r}"), t(f"add {name}: …", f"请添加 {name}: …")
    if kind == "extra_forbidden":
        return t(f"unknown key {name!r}", f"未知的键 {name!r}"), did_you_mean(name, _keys_at(model, path[:-1]))
    if kind in ("literal_error", "enum"):
        allowed = [part.strip("'") for part in str(context.get("expected", "")).replace(" or ", ", ").split(", ")]
        remedy = t(f"allowed: {listed(allowed)}", f"可用：{listed(allowed)}")
        near = get_close_matches(value, allowed, n=1, cutoff=0.6) if isinstance(value, str) else []
        if near:
            remedy = t(f"did you mean {near[0]!r}? {remedy}", f"是否应为 {near[0]!r}？{remedy}")
        return t(f"{_show(value)} is not allowed here", f"此处不可用 {_show(value)}"), remedy
    if kind in ("value_error", "assertion_error"):
        reason = context.get("error")
        return str(reason), t("correct the value", "请更正此值")
    expected = _EXPECTED.get(kind)
    if expected is not None:
        wanted = expected()
        remedy = t(f"write {wanted}", f"请写{wanted}")
        if kind == "string_type" and isinstance(value, int | float) and not isinstance(value, bool):
            remedy = t(f'put it in quotes: "{value}"', f'请加引号："{value}"')
        return t(f"expected {wanted}, found {_show(value)}", f"应为{wanted}，实为{_show(value)}"), remedy
    for limit, words in _LIMITS.items():
        if limit in context and kind.endswith(words.kinds):
            bound = words.text(context[limit])
            return t(f"{_show(value)} must be {bound}", f"{_show(value)} 必须{bound}"), t(
                f"write a value {bound}", f"请写一个{bound}的值"
            )
    if kind == "string_pattern_mismatch":
        pattern = context.get("pattern", "")
        return (
            t(f"{_show(value)} does not have the required form", f"{_show(value)} 格式不符"),
            t(f"it must match {pattern}", f"须匹配 {pattern}"),
        )
    return detail["msg"], t("correct the value", "请更正此值")


_EXPECTED: dict[str, Callable[[], str]] = {
    **dict.fromkeys(("string_type", "string_sub_type"), lambda: t("text", "文本")),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), lambda: t("a whole number", "整数")),
    **dict.fromkeys(("float_type", "float_parsing"), lambda: t("a number", "数字")),
    **dict.fromkeys(("bool_type", "bool_parsing"), lambda: t("true or false", "true 或 false")),
    **dict.fromkeys(("list_type", "tuple_type", "set_type"), lambda: t("a list", "列表")),
    **dict.fromkeys(
        ("dict_type", "model_type", "model_attributes_type", "mapping_type"), lambda: t("keys and values", "键值")
    ),
}


class _Limit:
    def __init__(self, kinds: tuple[str, ...], text: Callable[[Any], str]) -> None:
        self.kinds = kinds
        self.text = text


_LIMITS = {
    "ge": _Limit(("greater_than_equal",), lambda n: t(f"at least {n}", f"不小于 {n}")),
    "gt": _Limit(("greater_than",), lambda n: t(f"greater than {n}", f"大于 {n}")),
    "le": _Limit(("less_than_equal",), lambda n: t(f"at most {n}", f"不大于 {n}")),
    "lt": _Limit(("less_than",), lambda n: t(f"less than {n}", f"小于 {n}")),
    "min_length": _Limit(("too_short",), lambda n: t(f"at least {n} long", f"至少有 {n} 项")),
    "max_length": _Limit(("too_long",), lambda n: t(f"at most {n} long", f"至多有 {n} 项")),
}


def _keys_at(model: type[BaseModel], path: KeyPath) -> list[str]:
    """The keys the model allows at a place; none when that can't be told."""
    annotation: Any = model
    for part in path:
        found = _model_in(annotation)
        if found is not None:
            annotation = next(
                (info.annotation for name, info in found.model_fields.items() if part in (name, info.alias)), None
            )
        else:
            annotation = _item_of(annotation)
    found = _model_in(annotation)
    return [] if found is None else [info.alias or name for name, info in found.model_fields.items()]


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for member in _members(annotation):
        if isinstance(member, type) and get_origin(member) is None and issubclass(member, BaseModel):
            return member
    return None


def _item_of(annotation: Any) -> Any:
    """What a dict's values or a list's items are."""
    for member in _members(annotation):
        if get_origin(member) in (dict, list):
            return get_args(member)[-1]
    return None


def expression_problems(
    text: str, codec: str, origin: Origin, path: KeyPath, *, about: str = "", key: str = ""
) -> list[Problem]:
    """What is wrong with an expression on the trees of a codec; ``about`` goes before the text.

    ``key`` is the one under which the expression is compiled when it is used: the compiler keeps the result for then.
    """
    from hub.mapping import compile_expression  # reading a configuration file alone needs no compiler

    try:
        compile_expression(text, codec, key=key)
    except MappingError as error:
        return [origin.problem(about + error.reason, path, remedy=error.remedy)]
    return []
