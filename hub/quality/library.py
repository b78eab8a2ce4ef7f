"""All rule sets of a deployment: found in folders, compiled on first use. A reload makes a new library."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.codecs.base import Codec
from hub.errors import ConfigError, Problem
from hub.i18n import t
from hub.mapping.document import Text
from hub.mapping.functions import with_plugins
from hub.mapping.functions.base import Function
from hub.mapping.tables_model import CodeTable
from hub.quality.checks import CHECKS
from hub.quality.compiler import BUDGET, compile_rules
from hub.quality.conflicts import settle_conflicts
from hub.quality.document import SUFFIX, RuleDocument, read_document
from hub.quality.effective import Effective, effective_rules
from hub.quality.ruleset import QualityValidator
from hub.router import type_matcher
from hub.validation import did_you_mean

__all__ = ["RuleLibrary", "functions_for_rules"]

_HASH_LENGTH = 12


def functions_for_rules(plugins: Mapping[str, Callable[..., Any]]) -> dict[str, Function]:
    """What rules can call: the functions of mappings, the library of checks, and those of plugins.

    Raises ``ValueError`` when a plugin's function has the name of one of ours.
    """
    for name in plugins:
        if name in CHECKS.functions:
            raise ValueError(t(f"{name!r} is a check of the library", f"{name!r} 是内置检查的名称"))
    return {**with_plugins(plugins), **CHECKS.functions}


@dataclass(slots=True)
class _Result:
    validator: QualityValidator | None
    effective: Effective
    problems: list[Problem]


class RuleLibrary:
    """``folders`` are searched for ``**/*.rules.yaml``; earlier folders win. ``functions`` are those plugins bring along.

    The name of a set is its path below the folder without suffix: ``quality/adt`` for ``schemas/quality/adt.rules.yaml``. ``find_table`` gives
    the code tables of the mappings (:meth:`hub.mapping.MappingLibrary.table`). Files are read when the library is made.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        functions: Mapping[str, Callable[..., Any]] | None = None,
        find_table: Callable[[str], CodeTable | None] = lambda name: None,
        codecs: Mapping[str, Codec] | None = None,
        *,
        budget: int = BUDGET,
    ) -> None:
        self.functions = functions_for_rules(functions or {})
        self.codecs = codecs
        self._find_table = find_table
        self._budget = budget
        self._documents: dict[str, RuleDocument] = {}
        for folder in folders:
            for path in sorted(Path(folder).glob(f"**/*{SUFFIX}")):
                name = path.relative_to(folder).as_posix().removesuffix(SUFFIX)
                if name not in self._documents:
                    self._documents[name] = read_document(name, path)
        self._results: dict[str, _Result] = {}

    def names(self) -> list[str]:
        """The names of all sets, in order."""
        return sorted(self._documents)

    def document(self, name: str) -> RuleDocument | None:
        """A set as it is written; None when there is none. For tools."""
        return self._documents.get(name)

    def get(self, name: str) -> QualityValidator:
        """The validator of a set; raises :class:`~hub.errors.ConfigError` when there is none or it has errors."""
        if name not in self._documents:
            text = t(f"there is no rule set {name!r}", f"没有规则集 {name!r}")
            raise ConfigError([Problem(text, remedy=did_you_mean(name, self._documents))])
        result = self._result(name)
        if result.validator is None:
            raise ConfigError([problem for problem in result.problems if problem.severity == "error"])
        return result.validator

    def effective(self, name: str) -> Effective:
        """The rules of a set with where they come from; raises ``KeyError`` for a name there is not."""
        return self._result(name).effective

    def problems(self, names: Iterable[str] | None = None) -> list[Problem]:
        """Everything that is wrong with all sets, or the ones named, in the order of the files."""
        found: list[Problem] = []
        for name in sorted(self._documents if names is None else names):
            found += [problem for problem in self._result(name).problems if problem not in found]
        return sorted(found, key=lambda problem: (problem.file, problem.line))

    # -- compiling -----------------------------------------------------------------------------------------------

    def _result(self, name: str) -> _Result:
        found = self._results.get(name)
        if found is None:
            found = self._results[name] = self._compile(self._documents[name])
        return found

    def _compile(self, document: RuleDocument) -> _Result:
        effective = effective_rules(document, self._documents.get)
        problems = effective.problems
        head = document.for_
        if head is None:
            return _Result(None, effective, problems)
        if self.codecs is not None and head.codec not in self.codecs and document.place is not None:
            text = t(f"unknown codec {head.codec!r}", f"未知的编解码器 {head.codec!r}")
            problems.append(
                document.place.problem(text, ("for", "codec"), remedy=did_you_mean(head.codec, self.codecs))
            )
        namespaces = {**{p: u for part in effective.parts if part.for_ for p, u in part.for_.namespaces.items()}}
        rules, conflicts = settle_conflicts(effective.rules, head.codec, namespaces, self._find_table)
        problems += [problem for problem in conflicts if problem not in problems]
        effective.rules = rules
        fields, time = _counted(effective.parts)
        compiled = compile_rules(
            rules,
            head.codec,
            namespaces,
            self.functions,
            self._find_table,
            fields=fields,
            time=time,
            budget=self._budget,
        )
        problems += [problem for problem in compiled.problems if problem not in problems]
        if compiled.run is None or any(problem.severity == "error" for problem in problems):
            return _Result(None, effective, problems)
        digest = hashlib.sha256()
        for part in effective.parts:
            digest.update(f"{part.name}:{part.digest}\n".encode())
        for table in sorted(compiled.tables):
            digest.update(f"{table}:{compiled.tables[table].hash}\n".encode())
        validator = QualityValidator(
            document.name,
            digest.hexdigest()[:_HASH_LENGTH],
            head.codec,
            tuple(head.types),
            rules,
            [text.text for _, text in fields],
            compiled.run,
            compiled.source,
            type_matcher(head.types) if head.types else None,
        )
        return _Result(validator, effective, problems)


def _counted(parts: Sequence[RuleDocument]) -> tuple[list[tuple[str, Text]], tuple[str, Text] | None]:
    """The fields all parts count, each once, and the business time of the nearest part that names one."""
    fields: list[tuple[str, Text]] = []
    time: tuple[str, Text] | None = None
    seen: set[str] = set()
    for part in parts:
        if part.place is None:
            continue
        document = part.place.document
        for number, path in enumerate(part.statistics.fields):
            if path not in seen:
                seen.add(path)
                fields.append((str(part.file), Text(path, document.line(("statistics", "fields", number)))))
        if time is None and part.statistics.time:
            time = (str(part.file), Text(part.statistics.time, document.line(("statistics", "time"))))
    return fields, time
