"""Reads ISO Schematron schemas (ISO/IEC 19757-3) whose queries are XPath 1.0 into rules.

Abstract patterns, abstract rules, variables, phases and diagnostics are understood. What is not, XPath 2 above all, is refused when the schema
is loaded: an assertion that silently never fires is worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from lxml import etree

from hub.errors import ConfigError, Problem
from hub.i18n import t
from hub.validators.report import Severity
from hub.validators.schema_files import Source
from hub.validators.xml_places import line_of
from hub.validators.xpath1 import CURRENT, Query, XPathError, compile_xpath, contexts
from hub.validators.xsd import parse_schema

__all__ = ["Assertion", "Pattern", "Rule", "Schema", "read_schematron"]

_SCH = "{http://purl.oclc.org/dsdl/schematron}"
_BINDINGS = frozenset({"", "xslt", "xslt1", "xpath", "xpath1"})
#: Roles and flags that do not refuse a message.
_MILD = frozenset({"warning", "warn", "w", "info", "information", "i", "hint", "caution"})
_PARAMETER = re.compile(r"\$([\w.-]+)")
#: Elements for people, which change nothing.
_IGNORED = frozenset(
    {"title", "p", "ns", "let", "phase", "diagnostics", "diagnostic", "param", "properties", "property"}
)
#: What is a path from the document when it stands in its context, and not a value or a function of one.
_PATH = re.compile(r"(?![\w.-]+(?::[\w.-]+)?\s*\()[^\W\d]|[.@*]")
_MARKUP = frozenset({"emph", "dir", "span"})


class Assertion(NamedTuple):
    """``text`` and ``advice``: words, queries whose value may be personal, and (query, True) for those that give a name."""

    test: Query
    fails_on: bool  # the value of the test that makes a finding: False for assert, True for report
    rule: str
    severity: Severity
    text: tuple[str | tuple[Query, bool], ...]
    advice: tuple[str | tuple[Query, bool], ...]


@dataclass(slots=True)
class Rule:
    """``contexts``: queries from the root; ``document``: the context is the document itself."""

    contexts: list[Query]
    document: bool
    lets: list[tuple[str, Query]] = field(default_factory=list)
    assertions: list[Assertion] = field(default_factory=list)


@dataclass(slots=True)
class Pattern:
    lets: list[tuple[str, Query]]
    rules: list[Rule]


@dataclass(slots=True)
class Schema:
    lets: list[tuple[str, Query]]
    patterns: list[Pattern]


def read_schematron(source: Source) -> Schema:
    """The rules of a schema; raises :class:`ConfigError` with everything that is wrong or not supported."""
    reader = _Reader(source, parse_schema(source))
    schema = reader.read()
    if reader.problems:
        raise ConfigError(reader.problems)
    return schema


class _Reader:
    def __init__(self, source: Source, root: etree._Element) -> None:
        self._file = str(source.path)
        self._root = root
        self._namespaces: dict[str, str] = {}
        self._parameters: dict[str, str] = {}
        self._known: set[str] = set()
        self.problems: list[Problem] = []

    def read(self) -> Schema:
        root = self._root
        if root.tag != f"{_SCH}schema":
            remedy = t("ISO Schematron has xmlns=", "ISO Schematron 的 xmlns=") + f'"{_SCH.strip("{}")}"'
            self._problem(root, t("not an ISO Schematron schema", "不是 ISO Schematron"), remedy)
            return Schema([], [])
        binding = root.get("queryBinding", "").lower()
        if binding not in _BINDINGS:
            text = t(f"queryBinding {binding[:20]!r} is not supported", f"不支持 queryBinding {binding[:20]!r}")
            remedy = t(
                "only XPath 1 is: rewrite the tests for it and write queryBinding='xslt'",
                "仅支持 XPath 1：请改写其中的测试，并写 queryBinding='xslt'",
            )
            self._problem(root, text, remedy)
            return Schema([], [])
        self._namespaces = {
            ns.get("prefix", ""): ns.get("uri", "") for ns in root.iterchildren(f"{_SCH}ns") if ns.get("prefix")
        }
        lets = self._lets(root)
        known = set(self._known)
        patterns = []
        for pattern in self._active():
            if pattern.get("abstract") == "true":
                continue
            self._known = set(known)
            patterns.append(self._pattern(pattern))
        return Schema(lets, patterns)

    def _problem(self, element: etree._Element, text: str, remedy: str = "") -> None:
        key = etree.QName(element).localname
        self.problems.append(Problem(text, self._file, line_of(element), key, remedy))

    def _children(self, parent: etree._Element, *names: str) -> Iterator[etree._Element]:
        """The children of these names; anything that is neither known nor for people is a problem."""
        for child in parent.iterchildren("*"):
            name = etree.QName(child)
            if name.namespace == _SCH.strip("{}") and name.localname in names:
                yield child
            elif name.namespace == _SCH.strip("{}") and name.localname not in _IGNORED:
                text = t(f"{name.localname} is not supported here", f"此处不支持 {name.localname}")
                self._problem(child, text, t("write its content in its place", "请将其内容直接写在此处"))
            elif name.namespace == "http://www.w3.org/1999/XSL/Transform":
                text = t(
                    f"XSLT ({name.localname}) in a schema is not supported",
                    f"不支持 schema 中的 XSLT（{name.localname}）",
                )
                self._problem(child, text, t("use let and XPath 1", "请使用 let 和 XPath 1"))

    def _active(self) -> list[etree._Element]:
        """The patterns of the default phase, all of them where there is none."""
        patterns = list(self._children(self._root, "pattern"))
        phase = self._root.get("defaultPhase", "#ALL")
        if phase == "#ALL":
            return patterns
        for found in self._root.iterchildren(f"{_SCH}phase"):
            if found.get("id") == phase:
                names = {active.get("pattern") for active in found.iterchildren(f"{_SCH}active")}
                return [pattern for pattern in patterns if pattern.get("id") in names]
        self._problem(self._root, t(f"there is no phase {phase!r}", f"没有 phase {phase!r}"))
        return []

    # -- queries -------------------------------------------------------------------------------------------------

    def _text(self, element: etree._Element, attribute: str) -> str:
        """An attribute with the parameters of an abstract pattern put in."""
        text = element.get(attribute)
        if text is None:
            self._problem(element, t(f"{attribute} is missing", f"缺少 {attribute}"))
            return "missing"
        if self._parameters:
            text = _PARAMETER.sub(lambda found: self._parameters.get(found[1], found[0]), text)
        return text

    def _query(self, element: etree._Element, attribute: str, form: str = "{}", text: str = "") -> Query | None:
        written = text or self._text(element, attribute)
        try:
            return compile_xpath(written, self._namespaces, self._known | {CURRENT}, form)
        except XPathError as error:
            self._problem(element, f"{attribute}: {error}", error.remedy)
            return None

    def _lets(self, parent: etree._Element) -> list[tuple[str, Query]]:
        found = []
        for let in parent.iterchildren(f"{_SCH}let"):
            query = self._query(let, "value")
            if query is not None:
                found.append((let.get("name", ""), query))
                self._known.add(let.get("name", ""))
        return found

    # -- patterns and rules --------------------------------------------------------------------------------------

    def _pattern(self, pattern: etree._Element) -> Pattern:
        body = pattern
        self._parameters = {}
        base = pattern.get("is-a")
        if base:
            named = {p.get("id"): p for p in self._root.iterchildren(f"{_SCH}pattern") if p.get("abstract") == "true"}
            if base not in named:
                self._problem(pattern, t(f"there is no abstract pattern {base!r}", f"没有抽象 pattern {base!r}"))
                return Pattern([], [])
            body = named[base]
            self._parameters = {
                param.get("name", ""): param.get("value", "") for param in pattern.iterchildren(f"{_SCH}param")
            }
        lets = self._lets(body)
        name = pattern.get("id") or body.get("id") or ""
        known = set(self._known)
        rules = []
        for rule in self._children(body, "rule"):
            if rule.get("abstract") == "true":
                continue
            self._known = set(known)
            rules.append(self._rule(rule, body, name))
        self._parameters = {}
        return Pattern(lets, rules)

    def _rule(self, rule: etree._Element, body: etree._Element, pattern: str) -> Rule:
        context = self._text(rule, "context")
        found = Rule([], False)
        try:
            alternatives, found.document = contexts(context)
        except XPathError as error:
            self._problem(rule, f"context: {error}", error.remedy)
            return found
        for alternative in alternatives:
            query = self._query(rule, "context", text=alternative)
            if query is not None:
                found.contexts.append(query)
        self._fill(found, rule, body, pattern, rule.get("role") or rule.get("flag") or "", set())
        return found

    def _fill(
        self, found: Rule, rule: etree._Element, body: etree._Element, pattern: str, role: str, seen: set[str]
    ) -> None:
        found.lets.extend(self._lets(rule))
        for child in self._children(rule, "assert", "report", "extends"):
            if etree.QName(child).localname != "extends":
                assertion = self._assertion(child, pattern, role, found.document)
                if assertion is not None:
                    found.assertions.append(assertion)
                continue
            name = child.get("rule", "")
            abstract = [
                r
                for scope in (body, self._root)
                for r in scope.iter(f"{_SCH}rule")
                if r.get("id") == name and r.get("abstract") == "true"
            ]
            if not abstract or name in seen:
                self._problem(child, t(f"there is no abstract rule {name!r}", f"没有抽象 rule {name!r}"))
                continue
            self._fill(found, abstract[0], body, pattern, role, seen | {name})

    def _assertion(self, element: etree._Element, pattern: str, role: str, document: bool) -> Assertion | None:
        test = self._query(element, "test", "boolean((/)[{}])" if document else "boolean({})")
        role = element.get("role") or element.get("flag") or role
        severity = Severity.WARNING if role.lower() in _MILD else Severity.ERROR
        kind = etree.QName(element).localname
        name = element.get("id") or pattern or kind
        advice: list[str | tuple[Query, bool]] = []
        for wanted in element.get("diagnostics", "").split():
            for diagnostic in self._root.iter(f"{_SCH}diagnostic"):
                if diagnostic.get("id") == wanted:
                    advice.extend([*self._words(diagnostic, document), " "])
        text = tuple(self._words(element, document))
        if test is None:
            return None
        return Assertion(test, kind == "report", f"sch.{name}", severity, text, tuple(advice))

    def _words(self, element: etree._Element, document: bool) -> Iterator[str | tuple[Query, bool]]:
        form = "string((/)/{})" if document else "{}"
        if element.text:
            yield element.text
        for child in element.iterchildren("*"):
            name = etree.QName(child).localname
            if name == "value-of":
                written = self._text(child, "select")
                query = self._query(
                    child, "select", form if document and _PATH.match(written.strip()) else "{}", written
                )
                if query is not None:
                    yield query, False
            elif name == "name":
                query = self._query(child, "path", "name({})", child.get("path") or ".")
                if query is not None:
                    yield query, True
            elif name in _MARKUP:
                yield from self._words(child, document)
            if child.tail:
                yield child.tail
