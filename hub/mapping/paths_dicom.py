"""Paths into DICOM data sets.

``PatientName``, ``(0010,0010)``, ``(0009,GEMS_IDEN_01,02)`` of a private creator, ``RequestAttributesSequence[0].ScheduledProcedureStepID``,
``[*]`` and filters as in plain trees, ``.CodeValue`` within an item. A person's name has parts: ``PatientName.ideographic.family``. Keywords and
tags are checked when the mapping is loaded; pixel data can't be named.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from hub.codecs.dicom_dictionary import TAG, near, parse_name, vr_of
from hub.codecs.dicom_set import PIXELS, DataSet
from hub.codecs.dicom_values import NAME_PARTS, person_part
from hub.i18n import t
from hub.mapping.expression import KEYWORDS
from hub.mapping.nodes import PathNode
from hub.mapping.paths import Code, Elements, Scope
from hub.mapping.paths_plain import PlainFormat, PlainStep

if TYPE_CHECKING:
    from hub.mapping.codegen import Generator
    from hub.mapping.expression import Parser

__all__ = ["DicomFormat", "check_name"]

_KEYWORD = re.compile(r"[A-Za-z][A-Za-z0-9]*", re.ASCII)
_CALL = re.compile(r"\s*\(")
_MAX_STEPS = 60


def check_name(text: str) -> tuple[str, str] | None:
    """(what is wrong, remedy) of a keyword or tag; None when it can be used."""
    name = parse_name(text)
    if name is None:
        found = near(text)
        return (
            t(f"{text!r} is not a DICOM keyword or tag", f"{text!r} 不是 DICOM 关键字或标签"),
            t(f"did you mean {', '.join(found)}?", f"是否为 {', '.join(found)}？")
            if found
            else t("e.g. PatientName, (0010,0010)", "例如 PatientName、(0010,0010)"),
        )
    if name.tag >> 16 == PIXELS:
        return (
            t("pixel data are not for mappings", "映射不处理像素数据"),
            t("they go along with base: source", "base: source 会原样保留"),
        )
    return None


def member(value: Any, key: str) -> Any:
    """``value.key``: of a data set, of the first item of a sequence, or a part of a person's name."""
    while type(value) is list:
        if not value:
            return None
        value = value[0]
    if isinstance(value, DataSet):
        return value.get(key)
    return person_part(value, key)


class DicomFormat(PlainFormat):
    """See the module."""

    name = "dicom"
    plain = False

    def path_help(self) -> str:
        return "PatientName, (0010,0010), RequestAttributesSequence[0].CodeValue, .relative"

    # -- parsing -------------------------------------------------------------------------------------------------

    def parse_path(self, parser: Parser) -> PathNode | None:
        start = parser.at
        up = 0
        steps: list[PlainStep] = []
        char = parser.peek()
        if char == "$" and parser.peek(1) in (".", "[") and parser.peek(1):
            parser.at += 1
            if parser.accept("."):
                steps.append(self._step_name(parser, steps))
        elif char == ".":
            while parser.accept("."):
                up += 1
            if _KEYWORD.match(parser.text, parser.at) or TAG.match(parser.text, parser.at):
                steps.append(self._step_name(parser, steps))
        elif char == "(":
            if not TAG.match(parser.text, parser.at):
                return None
            steps.append(self._step_name(parser, steps))
            up = 1 if parser.in_filter else 0
        else:
            word = parser.word()
            if not word or word in KEYWORDS or _CALL.match(parser.text, parser.at + len(word)):
                return None
            steps.append(self._step_name(parser, steps))
            up = 1 if parser.in_filter else 0
        while True:
            if parser.accept("["):
                steps.append(self._bracket(parser))
            elif parser.peek() == ".":
                parser.at += 1
                steps.append(self._step_name(parser, steps))
            else:
                break
            if len(steps) > _MAX_STEPS:
                raise parser.error(t(f"path with more than {_MAX_STEPS} steps", f"路径超过 {_MAX_STEPS} 步"))
        return PathNode(start, up, tuple(steps), parser.text[start : parser.at])

    def _step_name(self, parser: Parser, before: list[PlainStep]) -> PlainStep:
        at = parser.at
        text = parser.match(TAG) or parser.match(_KEYWORD)
        if not text:
            raise parser.error(t("a keyword or tag expected", "此处应为关键字或标签"), self.path_help(), at=at)
        names = [step.key for step in before if step.kind == "key"]
        if text in NAME_PARTS and self._of_a_name(names, text):
            return PlainStep("key", text)
        wrong = check_name(text)
        if wrong is not None:
            raise parser.error(*wrong, at=at)
        return PlainStep("key", text)

    def _of_a_name(self, names: list[str], text: str) -> bool:
        """Whether a part of a person's name may follow these steps: the path is one of an element with VR PN, or relative to it."""
        if not names:
            return True  # relative to an element of each:
        if names[-1] in NAME_PARTS:
            return NAME_PARTS[names[-1]] == "form" and NAME_PARTS[text] == "component"
        found = parse_name(names[-1])
        return found is not None and (found.creator != "" or vr_of(found.tag) in ("PN", "UN"))

    # -- reading -------------------------------------------------------------------------------------------------

    def scalar(self, generator: Generator, path: PathNode, scope: Scope) -> Code:
        generator.namespace["member"] = member
        return super().scalar(generator, path, scope)

    def elements(self, generator: Generator, path: PathNode, scope: Scope) -> Elements:
        generator.namespace["member"] = member
        return super().elements(generator, path, scope)
