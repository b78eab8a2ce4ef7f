"""All mappings of a deployment: found in folders, compiled on first use, replaced as a whole by a reload."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub.errors import MappingError, Problem
from hub.i18n import t
from hub.mapping.chain import chain_hash, chained, check_chain
from hub.mapping.compiler import forget_parsed
from hub.mapping.definitions import Gathered, gather
from hub.mapping.document import Document, Text
from hub.mapping.document_read import MAX_FILE, parse_document
from hub.mapping.functions import with_plugins
from hub.mapping.functions.base import Function
from hub.mapping.lookups import compile_lookups
from hub.mapping.mapping import CompiledMapping, check_fragment, compile_mapping
from hub.mapping.tables import CodeTable, load_table

__all__ = ["MappingLibrary"]

_HASH_LENGTH = 12
_TABLES = "tables"


@dataclass(slots=True)
class _File:
    document: Document
    digest: str


@dataclass(slots=True)
class _Sources:
    """What was read from disk, so that one compilation, or one reload, sees every file in one state."""

    paths: dict[str, Path]
    tables: dict[str, Path]
    files: dict[str, _File] = field(default_factory=dict)
    loaded: dict[str, tuple[CodeTable, list[Problem]]] = field(default_factory=dict)
    #: What came of compiling a mapping, failures too: nothing is compiled twice from the same files.
    results: dict[str, tuple[CompiledMapping | None, list[Problem]]] = field(default_factory=dict)


class MappingLibrary:
    """``folders`` are searched for ``**/*.yaml`` (``*.tests.yaml`` are tests) and ``tables/*.csv``; earlier folders win.

    The name of a mapping is its path below the folder without suffix: ``freight_ministry/waybill``. ``functions`` are those plugins
    bring along. Raises ``ValueError`` when one of them has the name of a built-in function.
    """

    def __init__(
        self, folders: Sequence[Path], functions: Mapping[str, Callable[..., Any]] | None = None, *, budget: int = 0
    ) -> None:
        self._folders = [Path(folder) for folder in folders]
        self._functions: Mapping[str, Function] = with_plugins(functions or {})
        self._budget = budget
        self._sources = self._scan()
        self._compiled: dict[str, CompiledMapping] = {}
        self._parts: dict[str, set[str]] = {}  # mapping -> what it includes, and its steps with theirs

    # -- looking up ----------------------------------------------------------------------------------------------

    def get(self, name: str) -> CompiledMapping:
        """The mapping of a name; raises :class:`~hub.errors.MappingError` when there is none or it has errors."""
        found = self._compiled.get(name)
        if found is not None:
            return found
        if name not in self._sources.paths:
            text, remedy = self._missing(name, self._sources)
            raise MappingError(text, code="mapping.missing", remedy=remedy)
        compiled, problems = self._compile(name, self._sources)
        if compiled is None:
            errors = [problem for problem in problems if problem.severity == "error"]
            first = (
                errors[0]
                if errors
                else Problem(t("it is a fragment or only defines functions", "这是片段，或仅定义函数"), key=name)
            )
            more = t(f" (and {len(errors) - 1} more)", f"（另有 {len(errors) - 1} 处）") if len(errors) > 1 else ""
            raise MappingError(
                f"{first.text}{more}",
                file=first.file,
                line=first.line,
                target=first.key,
                code="mapping.invalid",
                remedy=first.remedy,
            )
        self._compiled[name] = compiled
        return compiled

    @property
    def stamps(self) -> dict[str, str]:
        """Name -> ``name@hash`` of the mappings that were asked for so far."""
        return {name: compiled.stamp for name, compiled in self._compiled.items()}

    def names(self) -> list[str]:
        """The names of all mappings, fragments included, in order."""
        return sorted(self._sources.paths)

    def document(self, name: str) -> Document | None:
        """A mapping as it is written, fragments included; None when there is none. For tools; not to be changed."""
        file = self._file(name, self._sources)
        return file.document if file is not None else None

    def table(self, name: str) -> CodeTable | None:
        """A code table; None when there is none."""
        return self._table(name, self._sources)[0] if name in self._sources.tables else None

    @property
    def functions(self) -> Mapping[str, Function]:
        """What expressions can call: the built-in functions and those of plugins."""
        return self._functions

    def gathered(self, document: Document) -> Gathered:
        """The files a mapping consists of, and the functions they define. For tools."""
        return gather(document, self.document, self._functions)

    def problems(self, names: Iterable[str] | None = None) -> list[Problem]:
        """Compile everything as it is on disk and tell everything that is wrong, in the order of the files.

        With ``names``, only these mappings with what they include and their code tables.
        """
        sources = self._scan()
        found: list[Problem] = []
        for name in sorted(sources.paths if names is None else names):
            found += [problem for problem in self._compile(name, sources)[1] if problem not in found]
        for name in sorted(sources.tables) if names is None else ():
            found += [problem for problem in self._table(name, sources)[1] if problem not in found]
        forget_parsed()
        return sorted(found, key=lambda problem: (problem.file, problem.line))

    def reload(self, names: Iterable[str] | None = None) -> list[Problem]:
        """Read the files again and use what they say from the next run on.

        All mappings, or those named and what includes them. A mapping that now has errors stays as it was, if it was in use, and its problems are
        returned; the others change together.
        """
        sources = self._scan()
        found: list[Problem] = []
        if names is None:
            wanted, fresh = set(sources.paths), {}
        else:
            named = set(names)
            wanted = named | {user for user, parts in self._parts.items() if parts & named}
            fresh = {name: old for name, old in self._compiled.items() if name in sources.paths}
            found += [
                Problem(t(f"there is no mapping {name!r}", f"没有映射 {name!r}"), key=name)
                for name in sorted(named - set(sources.paths) - set(self._compiled))
            ]
        for name in sorted(wanted & set(sources.paths)):
            compiled, problems = self._compile(name, sources)
            found += [problem for problem in problems if problem not in found]
            if compiled is not None:
                fresh[name] = compiled
            elif any(problem.severity == "error" for problem in problems) and name in self._compiled:
                fresh[name] = self._compiled[name]
        self._compiled, self._sources = fresh, sources
        forget_parsed()
        return found

    # -- reading -------------------------------------------------------------------------------------------------

    def _scan(self) -> _Sources:
        sources = _Sources({}, {})
        for folder in self._folders:
            for path in sorted(folder.glob("**/*.yaml")):
                if not path.name.endswith(".tests.yaml"):
                    name = path.relative_to(folder).with_suffix("").as_posix()
                    sources.paths.setdefault(name, path)
            for path in sorted((folder / _TABLES).glob("*.csv")):
                sources.tables.setdefault(path.stem, path)
        return sources

    def _file(self, name: str, sources: _Sources) -> _File | None:
        found = sources.files.get(name)
        if found is None:
            path = sources.paths.get(name)
            if path is None:
                return None
            found = sources.files[name] = self._read(name, path)
        return found

    def _read(self, name: str, path: Path) -> _File:
        place = str(path)
        try:
            if path.stat().st_size > MAX_FILE * 4:
                document = Document(name, place)
                document.problems.append(Problem(t("the file is too large", "文件过大"), place))
                return _File(document, "")
            raw = path.read_bytes()
            text = raw.decode("utf-8-sig")
        except OSError as error:
            document = Document(name, place)
            document.problems.append(
                Problem(t(f"can't be read: {error.strerror}", f"无法读取：{error.strerror}"), place)
            )
            return _File(document, "")
        except UnicodeDecodeError:
            document = Document(name, place)
            document.problems.append(
                Problem(t("is not UTF-8", "不是 UTF-8 编码"), place, remedy=t("save it as UTF-8", "请另存为 UTF-8"))
            )
            return _File(document, "")
        return _File(parse_document(text, name, place), hashlib.sha256(raw).hexdigest())

    def _table(self, name: str, sources: _Sources) -> tuple[CodeTable, list[Problem]]:
        found = sources.loaded.get(name)
        if found is None:
            found = sources.loaded[name] = load_table(sources.tables[name], name)
        return found

    # -- compiling -----------------------------------------------------------------------------------------------

    def _compile(
        self, name: str, sources: _Sources, above: tuple[str, ...] = ()
    ) -> tuple[CompiledMapping | None, list[Problem]]:
        """(the compiled mapping, None for a fragment or a mapping with errors; everything that is wrong with it).

        ``above``: the mappings of steps this one is a step of.
        """
        found = sources.results.get(name)
        if found is None:
            file = self._file(name, sources)
            if file is None:
                return None, []
            compile_ = self._compile_steps if file.document.steps else self._compile_rules
            found = sources.results[name] = compile_(file, sources, (*above, name))
        return found

    def _compile_steps(
        self, file: _File, sources: _Sources, chain: tuple[str, ...]
    ) -> tuple[CompiledMapping | None, list[Problem]]:
        document = file.document
        problems = list(document.problems)
        steps: list[tuple[Text, CompiledMapping]] = []
        known = set()
        for number, text in enumerate(document.steps):
            known.add(text.text)
            step, wrong = None, self._no_step(text.text, sources, chain)
            if not wrong:
                step, found = self._compile(text.text, sources, chain)
                problems += [problem for problem in found if problem not in problems]
                known |= self._parts.get(text.text, set())
                if step is None and not any(problem.severity == "error" for problem in found):
                    wrong = (
                        t(f"{text.text} is no whole mapping", f"{text.text} 不是完整的映射"),
                        t("name a whole mapping", "请指定完整的映射"),
                    )
            if wrong:
                problems.append(Problem(wrong[0], document.file, text.line, f"steps[{number}]", wrong[1]))
            if step is not None:
                steps.append((text, step))
        self._parts[document.name] = known
        if len(steps) == len(document.steps):
            problems += check_chain(document, steps)
        if not steps or any(problem.severity == "error" for problem in problems):
            return None, problems
        return chained(document, steps, chain_hash(file.digest, steps)[:_HASH_LENGTH]), problems

    def _no_step(self, name: str, sources: _Sources, chain: tuple[str, ...]) -> tuple[str, str] | None:
        """Why a name can't be a step, and what to do; None when it can."""
        if name in chain:
            cycle = " > ".join([*chain[chain.index(name) :], name])
            return (
                t(f"mappings are steps of each other: {cycle}", f"映射互为步骤：{cycle}"),
                t("leave one of them out", "请去掉其一"),
            )
        if name not in sources.paths:
            return self._missing(name, sources)
        return None

    def _missing(self, name: str, sources: _Sources) -> tuple[str, str]:
        near = difflib.get_close_matches(name, sources.paths, 3)
        return (
            t(f"there is no mapping {name!r}", f"没有映射 {name!r}"),
            t(f"did you mean {', '.join(near)}?", f"是否为 {', '.join(near)}？")
            if near
            else t("put it below a folder of mappings:", "请将其放入 mappings: 所列目录"),
        )

    def _compile_rules(
        self, file: _File, sources: _Sources, chain: tuple[str, ...]
    ) -> tuple[CompiledMapping | None, list[Problem]]:
        def find(wanted: str) -> Document | None:
            other = self._file(wanted, sources)
            return other.document if other is not None else None

        if file.document.fragment or file.document.shared:
            return None, check_fragment(file.document, find, self._functions)

        def find_table(wanted: str) -> CodeTable | None:
            return self._table(wanted, sources)[0] if wanted in sources.tables else None

        document = file.document
        result = compile_mapping(document, find, find_table, self._functions, budget=self._budget)
        lookups, others, more = compile_lookups(document, find, find_table, self._functions, budget=self._budget)
        problems = list(result.problems)
        for wrong in (*(problem for other in others for problem in other.problems), *more):
            if wrong not in problems:
                problems.append(wrong)
        included = {one.name: one for part in (result, *others) for one in part.included}
        tables = {table.name: table for part in (result, *others) for table in part.tables}
        for table in tables.values():
            problems += [problem for problem in self._table(table.name, sources)[1] if problem not in problems]
        if result.run is None or any(problem.severity == "error" for problem in problems):
            return None, problems
        self._parts[document.name] = set(included)
        digest = hashlib.sha256(file.digest.encode())
        for other in sorted(included):
            digest.update(f"{other}:{sources.files[other].digest}".encode())
        for table in sorted(tables.values(), key=lambda table: table.name):
            digest.update(f"{table.name}:{table.hash}".encode())
        compiled = CompiledMapping(
            document.name,
            document.file,
            digest.hexdigest()[:_HASH_LENGTH],
            document.source_codec,
            document.target_codec,
            document.types,
            document.split is not None,
            result.source,
            result.run,
            lookups=lookups,
        )
        return compiled, problems
