"""Targets that are DICOM data sets: a new one, or a copy of the source in which elements are set and removed.

Keys are keywords and tags, sequences are lists of objects. A value that is absent leaves the element as it is; null (``{const: null}``,
``keep_null``) writes it empty, as attributes of type 2 want it.
"""

from __future__ import annotations

import re

from hub.codecs.dicom_set import DicomTree
from hub.i18n import t
from hub.mapping.builder import Builder
from hub.mapping.document import Document, Leaf, ListRule, ObjectRule, Rules, Text
from hub.mapping.paths import Scope
from hub.mapping.paths_dicom import check_name
from hub.mapping.target_plain import PlainTarget

__all__ = ["DicomTarget"]

#: The names in a key of the target, which is written as for plain trees.
_NAMES = re.compile(r"\.?([^\s.\[\]'\"]+)|\['((?:[^'\\]|\\.)*)'\]")


class DicomTarget:
    """Writes the statements that build a data set."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        builder.generator.namespace["changed"] = DicomTree.changed

    def build(self, document: Document, scope: Scope) -> str:
        """The variable that holds the target."""
        fields = document.fields if document.fields is not None else ObjectRule(document.fields_line)
        if document.base and document.source_codec != "dicom":
            text = t("base: source needs a DICOM source", "base: source 要求来源为 DICOM")
            self._builder.problem(1, "to.base", text, "from: {codec: dicom}")
            return "None"
        if not isinstance(fields, ObjectRule) or fields.each is not None:
            text = t("a data set is written as keywords and tags", "数据集须按关键字和标签书写")
            self._builder.problem(document.fields_line, "fields", text, "PatientName: …")
            return "None"
        self._check(fields, "")
        for path in document.remove:
            self._name(path.text, path, "to.remove")
        made = PlainTarget(self._builder).build(fields, scope)
        if not document.base:
            return made
        removed = tuple(path.text for path in document.remove)
        return self._builder.generator.writer.assign(f"changed(tree, {made}, {removed!r})")

    def _check(self, rules: Rules, target: str) -> None:
        """Every keyword and tag that is written; what an include brings along is checked when it is encoded."""
        if isinstance(rules, ListRule):
            for item in rules.items:
                self._check(item, f"{target}[]")
        elif isinstance(rules, ObjectRule):
            for entry in rules.fields:
                for plain, quoted in _NAMES.findall(re.sub(r"\[\d+\]", "", entry.key)):
                    name = plain or quoted
                    self._name(name, Text(name, entry.line), f"{target}.{entry.key}".lstrip("."))
                if not isinstance(entry.rule, Leaf):
                    self._check(entry.rule, f"{target}.{entry.key}".lstrip("."))

    def _name(self, name: str, at: Text, key: str) -> None:
        wrong = check_name(name)
        if wrong is not None:
            self._builder.problem(at.line, key, *wrong)
