"""Flows of the folders ``flows:`` of hub.yaml, as far as they can be judged by themselves."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hub.errors import ConfigError, Problem
from hub.flows.definition import Definition
from hub.flows.model import NAME, End, FlowModel
from hub.i18n import t
from hub.validation import did_you_mean, validate
from hub.yaml_source import load

__all__ = ["RESERVED", "flow_files", "load_flows"]

#: Names that mean something else in expressions.
RESERVED = frozenset({"flow", "doc", "version", "choice", "error", "result", "status", "code", "request"})


def flow_files(folders: Iterable[Path]) -> list[Path]:
    """Files below the folders that declare a flow."""
    return [path for folder in folders if folder.is_dir() for path in sorted(folder.rglob("*.yaml"))]


def load_flows(folders: Iterable[Path], problems: list[Problem]) -> dict[str, Definition]:
    """Name -> definition of every flow without errors of its own; what is wrong is added to ``problems``."""
    found: dict[str, Definition] = {}
    for path in flow_files(folders):
        name = path.stem
        try:
            document = load(path)
        except ConfigError as error:
            problems.extend(error.problems)
            continue
        if not NAME.fullmatch(name):
            text = t(f"{name!r} can't be the name of a flow", f"{name!r} 不能作为流程名称")
            remedy = t("use letters, digits and _", "请使用字母、数字和 _")
            problems.append(document.problem(text, remedy=remedy))
            continue
        if name in found:
            text = t(f"there is another flow {name!r}", f"已有同名流程 {name!r}")
            problems.append(document.problem(text, remedy=t("rename the file", "请更改文件名")))
            continue
        wrong: list[Problem] = []
        model = validate(FlowModel, document.data, document.place(), wrong)
        if model is not None:
            definition = Definition.of(name, document.raw, model, document)
            wrong.extend(_problems(definition))
            if not any(problem.severity == "error" for problem in wrong):
                found[name] = definition
        problems.extend(wrong)
    return found


def _problems(one: Definition) -> list[Problem]:
    problems = _twice(one)
    if problems:  # where steps are is not known then
        return problems
    told = one.document.problem
    ends = {*one.model.ends, "completed"}
    for step, then, path in one.thens():
        end = then if isinstance(then, End) else then.end
        if end is not None and one.model.ends and end.name not in ends:
            text = t(f"there is no end {end.name!r} among ends", f"ends 中没有 {end.name!r}")
            problems.append(told(text, path, remedy=did_you_mean(end.name, ends)))
        if isinstance(then, End) or not then.goto:
            continue
        within = [*one.around(step)] if step else [""]
        reachable = [other for name in within for other in one.lists[name]]
        if then.goto not in one.steps:
            text = t(f"there is no step {then.goto!r}", f"没有步骤 {then.goto!r}")
            problems.append(told(text, path, remedy=did_you_mean(then.goto, reachable)))
        elif then.goto not in reachable:
            text = t(f"{then.goto!r} is inside another list of steps", f"{then.goto!r} 位于其他步骤列表之内")
            remedy = t("go to a step of the same list, or of one around it", "请转到同一列表或外层列表中的步骤")
            problems.append(told(text, path, remedy=remedy))
    for names, path in _variables(one):
        for name in names:
            if name in RESERVED:
                text = t(f"{name!r} means something else in expressions", f"{name!r} 在表达式中另有含义")
                problems.append(told(text, (*path, name), remedy=t("choose another name", "请更换名称")))
    return problems


def _twice(one: Definition) -> list[Problem]:
    problems: list[Problem] = []
    seen: set[str] = set()

    def look(data: object, path: tuple[str | int, ...]) -> None:
        if isinstance(data, dict):
            for key, below in data.items():
                look(below, (*path, key))
        elif isinstance(data, list):
            for number, below in enumerate(data):
                identifier = below.get("id") if isinstance(below, dict) and path[-1:] == ("steps",) else None
                if path and isinstance(path[-1], str) and len(path) > 1 and path[-2] == "branches":
                    identifier = below.get("id") if isinstance(below, dict) else None
                if isinstance(identifier, str):
                    if identifier in seen:
                        text = t(f"there is another step {identifier!r}", f"已有同名步骤 {identifier!r}")
                        remedy = t("each step of a flow has an id of its own", "流程中每个步骤的 id 须唯一")
                        problems.append(one.document.problem(text, (*path, number, "id"), remedy=remedy))
                    seen.add(identifier)
                look(below, (*path, number))

    look(one.document.data, ())
    return problems


def _variables(one: Definition) -> list[tuple[list[str], tuple[str | int, ...]]]:
    """Names of variables that are set, with where."""
    found: list[tuple[list[str], tuple[str | int, ...]]] = []
    for number, given in enumerate(one.model.start):
        found.append(([*given.set], ("start", number, "set")))
    for name, step in one.steps.items():
        base = one.paths[name]
        if step.set is not None:
            found.append(([*step.set], (*base, "set")))
        if step.send is not None:
            found.append(([*step.send.reply], (*base, "send", "reply")))
            found.append(([*step.send.callback], (*base, "send", "callback")))
        if step.wait is not None:
            for number, given in enumerate(step.wait.inputs):
                found.append(([*given.set], (*base, "wait", "for", number, "set")))
        if step.manual is not None:
            found.append(([*step.manual.fields], (*base, "manual", "fields")))
    return found
