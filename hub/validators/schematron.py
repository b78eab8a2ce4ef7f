"""Checks XML documents against ISO Schematron.

Every rule is evaluated by XPath on the tree of the codec, not by a stylesheet made from the schema: it compiles in a tenth of the time, gives the
element a finding is about, and can be stopped. A document that needs too long is reported as not checked to the end.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

from lxml import etree

from hub.errors import ConfigError, Problem
from hub.i18n import t
from hub.mapping import Context
from hub.masking import mask
from hub.validators.findings import Findings, not_checked
from hub.validators.report import Finding
from hub.validators.schema_files import Reference, Source
from hub.validators.schematron_read import Pattern, Rule, Schema, read_schematron
from hub.validators.xml_places import more_elements, place_of
from hub.validators.xpath1 import CURRENT, Query, text_of

__all__ = ["BUDGET", "MAX_ELEMENTS", "SchematronValidator", "compile_schematron", "schematron_references"]

#: Largest document: one XPath can't be stopped, and a test may look at all elements for each of them.
MAX_ELEMENTS = 20_000
#: Longest time for one document, seconds.
BUDGET = 2.0
_BLANKS = re.compile(r"\s+")


class _TimeUpError(Exception):
    pass


class SchematronValidator:
    """See :class:`hub.validators.report.Validator`."""

    slow = True
    stamp = ""

    def __init__(self, name: str, schema: Schema) -> None:
        self.name = name
        self._schema = schema

    def check(self, raw: bytes, tree: Any, context: Context) -> list[Finding]:
        root = getattr(tree, "root", None)
        if not isinstance(root, etree._Element):
            return [not_checked("sch", t("this is no XML document", "不是 XML 文档"))]
        if more_elements(root, MAX_ELEMENTS, raw):
            return [not_checked("sch", t(f"more than {MAX_ELEMENTS} elements", f"元素超过 {MAX_ELEMENTS} 个"))]
        run = _Run(root)
        try:
            run.schema(self._schema)
        except _TimeUpError:
            run.findings.add(
                not_checked("sch", t(f"to the end: it took more than {BUDGET:g} s", f"耗时超过 {BUDGET:g} 秒，未完成"))
            )
        except etree.LxmlError:
            run.findings.add(not_checked("sch", t("an expression failed on it", "表达式执行失败")))
        return run.findings.found


class _Run:
    def __init__(self, root: etree._Element) -> None:
        self.findings = Findings("sch")
        self._root = root
        self._until = time.monotonic() + BUDGET

    def schema(self, schema: Schema) -> None:
        variables: dict[str, Any] = {CURRENT: [self._root]}
        self._let(schema.lets, self._root, variables)
        for pattern in schema.patterns:
            self._pattern(pattern, dict(variables))
            if self.findings.full:
                return

    def _let(self, lets: Sequence[tuple[str, Query]], node: etree._Element, variables: dict[str, Any]) -> None:
        for name, query in lets:
            value = query(node, **variables)
            # lxml takes back elements only; of attributes and texts the first stands for all, as in string().
            if isinstance(value, list) and any(not isinstance(item, etree._Element) for item in value):
                value = text_of(value)
            variables[name] = value

    def _pattern(self, pattern: Pattern, variables: dict[str, Any]) -> None:
        self._let(pattern.lets, self._root, variables)
        taken: set[etree._Element] = set()  # by an earlier rule of this pattern: the first that fits is the only one
        for rule in pattern.rules:
            for node in self._nodes(rule, variables):
                if node in taken:
                    continue
                taken.add(node)
                if time.monotonic() > self._until:
                    raise _TimeUpError
                self._rule(rule, node, dict(variables))
                if self.findings.full:
                    return

    def _nodes(self, rule: Rule, variables: dict[str, Any]) -> list[etree._Element]:
        if rule.document:
            return [self._root]
        found: list[etree._Element] = []
        for query in rule.contexts:
            nodes = query(self._root, **variables)
            if isinstance(nodes, list):
                found.extend(node for node in nodes if isinstance(node, etree._Element))
        return found

    def _rule(self, rule: Rule, node: etree._Element, variables: dict[str, Any]) -> None:
        variables[CURRENT] = [node]
        self._let(rule.lets, node, variables)
        for assertion in rule.assertions:
            if bool(assertion.test(node, **variables)) is assertion.fails_on:
                text = self._words(assertion.text, node, variables)
                advice = self._words(assertion.advice, node, variables)
                place = "/" if rule.document else place_of(node)
                finding = Finding(assertion.rule, text, place, advice, severity=assertion.severity)
                if not self.findings.add(finding):
                    return

    def _words(self, parts: Sequence[str | tuple[Query, bool]], node: etree._Element, variables: dict[str, Any]) -> str:
        """A message; what it quotes from the document is masked, but for numbers and names of elements."""
        text = ""
        for part in parts:
            if isinstance(part, str):
                text += part
                continue
            query, is_name = part
            value = query(node, **variables)
            said = text_of(value)
            text += said if is_name or isinstance(value, bool | float) else mask(said.strip())
        return _BLANKS.sub(" ", text).strip()


# -- loading -------------------------------------------------------------------------------------------------------------


def schematron_references(source: Source) -> Sequence[Reference]:
    """None: includes are not supported, and reported when the schema is compiled."""
    return ()


def compile_schematron(sources: Sequence[Source]) -> tuple[SchematronValidator | None, list[Problem]]:
    """The validator of a schema, and what is wrong with it."""
    try:
        return SchematronValidator(sources[0].name, read_schematron(sources[0])), []
    except ConfigError as error:
        return None, error.problems
