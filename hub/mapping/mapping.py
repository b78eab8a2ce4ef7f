"""One mapping file compiled: from a source tree to target trees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hub.errors import MappingError, Problem
from hub.i18n import t
from hub.mapping.builder import CALLER_NAMES, Builder, TooManyRules
from hub.mapping.codegen import Generator
from hub.mapping.context import Context
from hub.mapping.definitions import gather
from hub.mapping.document import Document, Leaf, ListRule, ObjectRule, Rules, Text
from hub.mapping.formats import V3_CODECS, XML_CODECS, kind_of_tree, source_format
from hub.mapping.functions.base import Function
from hub.mapping.nodes import ExpressionError
from hub.mapping.paths import Scope
from hub.mapping.program import Rule, assemble
from hub.mapping.tables import CodeTable
from hub.mapping.target_dicom import DicomTarget
from hub.mapping.target_hl7 import Hl7Target
from hub.mapping.target_plain import PlainTarget
from hub.mapping.target_xml import XmlTarget

__all__ = ["Compilation", "CompiledMapping", "check_fragment", "compile_mapping"]


@dataclass(frozen=True, slots=True)
class CompiledLookup:
    """A value a mapping needs from elsewhere. ``ask`` gives the request, or the business keys, none when ``when:`` does not hold.

    ``system`` is the interface that is asked, in ``codec``; else ``store`` is the type of the messages that are searched, of
    ``source`` ("" of any), by ``keys``. ``read`` makes the value of the answer's tree; None: the tree itself is it.
    """

    name: str
    file: str
    line: int
    system: str
    store: str
    source: str
    codec: str
    keys: tuple[str, ...]
    cache: float  # seconds
    required: bool
    ask: Callable[[Any, Context], list[Any]]
    read: Callable[[Any, Context], list[Any]] | None
    #: For what a kept reply is used again; None: for the same request.
    same_for: Callable[[Any, Context], list[Any]] | None = None
    #: The place among the messages of a second is wanted: of the message found, or else of the one under way.
    serial: bool = False

    def place(self, target: str) -> str:
        """The interface that is asked; ``./x`` is interface x of the system of ``target`` (system/interface)."""
        return f"{target.partition('/')[0]}{self.system[1:]}" if self.system.startswith("./") else self.system

    def value(self, tree: Any, context: Context) -> Any:
        """What an answer says; None when there is nothing. Raises :class:`~hub.errors.MappingError`."""
        found = [tree] if self.read is None else self.read(tree, context)
        return found[0] if found and found[0] not in (None, "", [], {}) else None


@dataclass(frozen=True, slots=True)
class CompiledMapping:
    """``hash``: 12 hexadecimal digits of the file with its includes and code tables. ``splits``: may give several targets.

    ``parts``: of a mapping of steps the mappings it runs, in order, none of them of steps itself. ``lookups``: what must be
    found before it runs, and handed over among the variables of the context.
    """

    name: str
    file: str
    hash: str
    source_codec: str
    target_codec: str
    types: tuple[str, ...]
    splits: bool
    source: str
    _run: Callable[[Any, Context], list[Any]]
    parts: tuple[CompiledMapping, ...] = ()
    lookups: tuple[CompiledLookup, ...] = ()

    @property
    def stamp(self) -> str:
        """What attempts record: ``name@hash``."""
        return f"{self.name}@{self.hash}"

    def run(self, tree: Any, context: Context) -> list[Any]:
        """The target trees: one, several with ``split:``, none when ``when:`` does not hold.

        Raises :class:`~hub.errors.MappingError` and nothing else. The source tree is not changed.
        """
        for lookup in self.lookups:
            if lookup.name not in context.variables:
                raise MappingError(
                    t(f"lookup {lookup.name} has not been made", f"未执行查询 {lookup.name}"),
                    file=lookup.file,
                    line=lookup.line,
                    target=f"lookups.{lookup.name}",
                    code="mapping.lookup",
                    remedy=t(
                        "give its value: lookups: of a test, --lookups of a command",
                        "请给出其值：测试的 lookups:、命令的 --lookups",
                    ),
                )
        return self._run(tree, context)


@dataclass(slots=True)
class Compilation:
    """What came of compiling a file; ``source`` and ``run`` are there when no problem is an error."""

    problems: list[Problem]
    included: list[Document]
    tables: list[CodeTable]
    source: str = ""
    run: Callable[[Any, Context], list[Any]] | None = None


def compile_mapping(
    document: Document,
    find: Callable[[str], Document | None],
    find_table: Callable[[str], CodeTable | None],
    functions: Mapping[str, Function],
    *,
    budget: int = 0,
) -> Compilation:
    """Compile a mapping; ``find`` gives the mappings it includes, ``find_table`` code tables, ``budget`` replaces the step limit."""
    tables: dict[str, CodeTable] = {}

    def table(name: str) -> CodeTable | None:
        found = find_table(name)
        if found is not None:
            tables[name] = found
        return found

    source = source_format(document.source_codec, empty_absent=document.empty_absent)
    gathered = gather(document, find, functions)
    generator = Generator(source, {**functions, **gathered.functions}, table)
    if budget:
        generator.budget = budget
    builder = Builder(generator, document, find, provided=CALLER_NAMES | document.lookups.keys())
    program = None
    try:
        _write(builder, document)
        program = assemble(generator, builder.rules or [Rule(document.file)], "found")
    except TooManyRules:
        builder.problem(
            document.fields_line, "fields", t("too many rules", "规则过多"), t("split the mapping", "请拆分映射")
        )
    except ExpressionError as error:
        builder.problem(document.fields_line, "fields", error.text, error.remedy)
    except RecursionError:
        builder.problem(document.fields_line, "fields", t("nested too deeply", "嵌套过深"))
    included = list({other.name: other for other in (*builder.included.values(), *gathered.used)}.values())
    problems = list(document.problems)
    for found in (
        *(problem for other in included for problem in other.problems),
        *gathered.problems,
        *builder.problems,
    ):
        if found not in problems:
            problems.append(found)
    compilation = Compilation(problems, included, list(tables.values()))
    if program is not None and not any(problem.severity == "error" for problem in problems):
        compilation.source, compilation.run = program.source, program.run
    return compilation


def check_fragment(
    document: Document, find: Callable[[str], Document | None], functions: Mapping[str, Function]
) -> list[Problem]:
    """What can be told of a fragment by itself: its shape, its definitions, and the syntax of its expressions."""
    builder = Builder(Generator(source_format(document.source_codec), {}), document, lambda name: None)
    for text, key in _texts(document.fields, ""):
        with builder.guard(text, key):
            builder.parse(text)
    found = [*gather(document, find, functions).problems, *builder.problems]
    if document.lookups:
        told = t(
            "lookups stand in the mapping that is run, not in what it includes",
            "lookups 须写在被执行的映射中，而非被包含的映射",
        )
        found.append(Problem(told, document.file, min(one.line for one in document.lookups.values()), "lookups"))
    return [*document.problems, *(problem for problem in found if problem not in document.problems)]


def _texts(rules: Rules | None, target: str) -> Iterator[tuple[Text, str]]:
    """Every expression and path among rules, with the target it serves."""
    found: list[Text | None] = []
    if isinstance(rules, Leaf):
        found = [rules.expr, rules.when]
    elif isinstance(rules, ListRule):
        for number, item in enumerate(rules.items):
            yield from _texts(item, f"{target}[{number}]")
    elif isinstance(rules, ObjectRule):
        found = [rules.each, rules.where, rules.distinct, rules.when, rules.origin]
        yield from _texts(rules.value, target)
        for entry in rules.fields:
            yield from _texts(entry.rule, f"{target}.{entry.key}".lstrip("."))
    for text in found:
        if text is not None:
            yield text, target


def _write(builder: Builder, document: Document) -> None:
    for key, codec, namespaces in (
        ("from", document.source_codec, document.source_namespaces),
        ("to", document.target_codec, document.target_namespaces),
    ):
        if namespaces and codec not in XML_CODECS:
            builder.problem(1, f"{key}.namespaces", t("only XML has namespaces", "只有 XML 有命名空间"))
    if document.empty_absent and kind_of_tree(document.source_codec) != "json":
        text = t("this source knows no empty values", "该来源没有空值")
        builder.problem(1, "from.empty", text, t("it is for json and other plain trees", "仅用于 json 等普通树"))
    writer, scope = builder.generator.writer, builder.generator.root
    builder.at(document.fields_line, "")
    writer.line("found = []")
    if document.split is None:
        _write_target(builder, document, scope)
        return
    with builder.guard(document.split, "split"):
        builder.at(document.split.line, "split", document.split.text)
        with builder.elements(builder.looped(document.split), scope, 1) as inner:
            _write_target(builder, document, inner)


def _write_target(builder: Builder, document: Document, scope: Scope) -> None:
    with builder.when(document.when, scope, ""), builder.declared(scope):
        if document.target_codec == "hl7v2":
            result = Hl7Target(builder).build(document, scope)
        elif document.target_codec == "dicom":
            result = DicomTarget(builder).build(document, scope)
        elif document.target_codec in XML_CODECS:
            result = XmlTarget(builder, v3=document.target_codec in V3_CODECS).build(document, scope)
        elif document.base:
            builder.problem(
                1,
                "to.base",
                t("base: source is for HL7 v2, XML and DICOM only", "base: source 仅用于 HL7 v2、XML 和 DICOM"),
            )
            return
        else:
            fields = document.fields
            if fields is None:
                return
            result = PlainTarget(builder).build(fields, scope)
        builder.generator.writer.line(f"found.append({result})")
