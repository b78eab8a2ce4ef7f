"""The checks of interfaces, made from ``validate`` of their contracts when the configuration is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from hub.checking.checks import Checks, SlowSpec
from hub.codecs.base import Codec
from hub.codecs.options import configure
from hub.codecs.registry import builtin_codecs
from hub.contract import Interface, ValidateRule
from hub.errors import ConfigError, Problem
from hub.i18n import t
from hub.mapping.tables_model import CodeTable
from hub.quality import RuleLibrary
from hub.validation import Origin
from hub.validators import load
from hub.validators.report import Validator
from hub.yaml_source import KeyPath

__all__ = ["CheckLibrary", "Made", "make_slow"]


@dataclass(frozen=True, slots=True)
class Made:
    """What a process of its own checks with."""

    codec: Codec
    encoding: str
    validators: tuple[Validator, ...]


class CheckLibrary:
    """Schemas and rule sets of a deployment; a reload makes a new one."""

    def __init__(
        self,
        folders: Sequence[Path],
        functions: Mapping[str, Callable[..., Any]],
        find_table: Callable[[str], CodeTable | None],
        codecs: Mapping[str, Codec],
    ) -> None:
        self._folders = [folder for folder in folders if folder.is_dir()]
        self._functions, self._find_table, self._codecs = functions, find_table, codecs
        self._made: RuleLibrary | None = None
        self._clash: list[Problem] = []

    @property
    def _rules(self) -> RuleLibrary:
        """Read when the first interface names a set: most name none, and a site has very many."""
        if self._made is None:
            try:
                self._made = RuleLibrary(self._folders, self._functions, self._find_table, self._codecs)
            except ValueError as error:  # a plugin's function has the name of a check of the library
                self._clash = [Problem(str(error), remedy=t("rename the plugin's function", "请更改插件函数的名称"))]
                self._made = RuleLibrary(self._folders, {}, self._find_table, self._codecs)
        return self._made

    def problems(self) -> list[Problem]:
        """What is wrong with rule sets, whether an interface names them or not."""
        found = self._rules.problems()
        return [*self._clash, *found]

    def checks(
        self, place: str, contract: Interface, codec: Codec, origin: Origin, problems: list[Problem]
    ) -> Checks | None:
        """The checks of one interface; None when it asks for none, or something is wrong with them."""
        rule = contract.validation
        if rule is None or rule.mode == "off":
            return None
        before = len(problems)
        validators = self._schemas(contract, rule, codec, origin, problems)
        validators += self._quality(rule, codec, origin, problems)
        if rule.min_score is not None and not rule.quality:
            text = t("min_score: needs quality, whose rules make the score", "min_score 需要 quality：得分由其规则产生")
            remedy = t("name a rule set under quality:", "请在 quality: 下写明规则集")
            problems.append(origin.problem(text, ("validate", "min_score"), remedy=remedy))
        if any(problem.severity == "error" for problem in problems[before:]):
            return None
        if not validators and len(problems) > before:
            return None  # told already
        if not validators:
            text = t(
                f"nothing is checked: the format {codec.name} has no check of its own",
                f"没有可执行的校验：格式 {codec.name} 没有自带校验",
            )
            remedy = t("name a schema: or quality:", "请写明 schema: 或 quality:")
            problems.append(origin.problem(text, ("validate",), remedy=remedy, severity="warning"))
            return None
        stamp = ", ".join(_stamp(validator) for validator in validators)
        slow = [validator for validator in validators if validator.slow]
        return Checks(
            place=place,
            strict=rule.mode == "strict",
            fast=tuple(validator for validator in validators if not validator.slow),
            slow=self._spec(contract, rule, codec, ", ".join(map(_stamp, slow))) if slow else None,
            min_score=rule.min_score,
            stamp=stamp,
        )

    def _schemas(
        self, contract: Interface, rule: ValidateRule, codec: Codec, origin: Origin, problems: list[Problem]
    ) -> list[Validator]:
        found: list[Validator] = []
        for number, name in enumerate(rule.schemas):
            path: KeyPath = ("validate", "schema", number) if len(rule.schemas) > 1 else ("validate", "schema")
            made, wrong = load(self._folders, codec.name, contract.format, schemas=[name])
            found += made
            problems += [_placed(problem, origin, path) for problem in wrong]
        if _standard(rule):
            made, wrong = load(self._folders, codec.name, contract.format, standard=True)
            if rule.mode == "warn":
                # What refuses nothing must not keep a system from running where the library is missing.
                wrong = [replace(problem, severity="warning") for problem in wrong]
            if not made and not wrong and rule.standard:
                text = t(f"the format {codec.name} has no check of its own", f"格式 {codec.name} 没有自带校验")
                remedy = t("remove standard:, or name a schema:", "请删除 standard:，或写明 schema:")
                problems.append(origin.problem(text, ("validate", "standard"), remedy=remedy))
            found += made
            problems += [_placed(problem, origin, ("validate",)) for problem in wrong]
        return found

    def _quality(self, rule: ValidateRule, codec: Codec, origin: Origin, problems: list[Problem]) -> list[Validator]:
        if not rule.quality:
            return []
        found: list[Validator] = []
        rules = self._rules
        problems += [_placed(problem, origin, ("validate", "quality")) for problem in self._clash]
        for number, name in enumerate(rule.quality):
            path: KeyPath = ("validate", "quality", number) if len(rule.quality) > 1 else ("validate", "quality")
            try:
                validator = rules.get(name)
            except ConfigError as error:
                problems += [_placed(problem, origin, path) for problem in error.problems]
                continue
            if validator.codec != codec.name:
                text = t(
                    f"rule set {name} is for {validator.codec}, the interface is {codec.name}",
                    f"规则集 {name} 用于 {validator.codec}，而接口格式为 {codec.name}",
                )
                remedy = t("name a set for this format", "请选用该格式的规则集")
                problems.append(origin.problem(text, path, remedy=remedy))
                continue
            found.append(validator)
        return found

    def _spec(self, contract: Interface, rule: ValidateRule, codec: Codec, stamp: str) -> SlowSpec:
        body = {
            "folders": [str(folder) for folder in self._folders],
            "codec": codec.name,
            "format": contract.format,
            "encoding": contract.encoding,
            "schemas": list(rule.schemas),
            "standard": _standard(rule),
        }
        digest = hashlib.sha256(orjson.dumps([body, stamp], option=orjson.OPT_SORT_KEYS)).hexdigest()
        return SlowSpec(digest[:16], body)


def make_slow(body: Mapping[str, Any]) -> Made:
    """What :class:`CheckLibrary` wrote into a specification, made in another process; raises :class:`ConfigError`."""
    problems: list[Problem] = []
    plain = next(codec for codec in builtin_codecs() if codec.name == body["codec"])
    codec = configure(plain, body["format"], _Nowhere(), problems)
    found: list[Validator] = []
    folders = [Path(folder) for folder in body["folders"]]
    for name in body["schemas"]:
        made, wrong = load(folders, plain.name, body["format"], schemas=[name])
        found += made
        problems += wrong
    if body["standard"]:
        made, wrong = load(folders, plain.name, body["format"], standard=True)
        found += made
        problems += wrong
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors or codec is None:
        raise ConfigError(errors)
    return Made(codec, body["encoding"], tuple(validator for validator in found if validator.slow))


class _Nowhere:
    """The origin of problems that were told when the configuration was loaded."""

    def problem(self, text: str, path: KeyPath = (), *, remedy: str = "", severity: str = "error") -> Problem:
        return Problem(text, remedy=remedy, severity=severity)


def _standard(rule: ValidateRule) -> bool:
    return rule.standard if rule.standard is not None else not (rule.schemas or rule.quality)


def _stamp(validator: Validator) -> str:
    return str(getattr(validator, "stamp", validator.name))


def _placed(problem: Problem, origin: Origin, path: KeyPath) -> Problem:
    """A problem without a file of its own is one of the contract that names what is wrong."""
    if problem.file:
        return problem
    return origin.problem(problem.text, path, remedy=problem.remedy, severity=problem.severity)
