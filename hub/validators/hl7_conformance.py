"""Checks HL7 v2 messages against the standard, in the version of MSH-12, by the definitions of hl7apy.

hl7apy groups the segments and knows what belongs where; the message is read by the hub's own codec. Given whole, hl7apy would refuse a fifth of
the messages seen in practice, pass over segments it does not expect, and take thirty times as long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from hl7apy.exceptions import HL7apyException

from hub.codecs.hl7v2 import Hl7Message, Segment
from hub.errors import CodecError
from hub.i18n import language, t
from hub.mapping import Context
from hub.validators.findings import Findings, allowed, not_checked
from hub.validators.hl7_fields import FieldCheck, TooMuchError
from hub.validators.hl7_tables import Definition, grouped, segment, structure, versions
from hub.validators.report import Finding, Kind, Severity

__all__ = ["MAX_SEGMENTS", "Hl7Validator"]

#: Longest message; grouping takes 0.1 ms a segment.
MAX_SEGMENTS = 5_000

#: Most segments of messages whose structure is remembered.
_REMEMBERED = 100


class Hl7Validator:
    """See :class:`hub.validators.report.Validator`."""

    name = "hl7v2"
    slow = True
    stamp = ""

    def check(self, raw: bytes, tree: Any, context: Context) -> list[Finding]:
        if not isinstance(tree, Hl7Message):
            return [not_checked("hl7", t("this is no HL7 v2 message", "不是 HL7 v2 消息"))]
        findings = Findings("hl7")
        try:
            _check(tree, findings)
        except TooMuchError:
            findings.add(not_checked("hl7", t("to the end: it has too many values", "值过多，未完成")))
        except CodecError as error:
            findings.add(not_checked("hl7", error.text))
        return findings.found


def _check(message: Hl7Message, findings: Findings) -> None:
    version = message.get("MSH-12.1").strip()
    if version not in versions():
        text = (
            t("this version of HL7 is not known", "未知的 HL7 版本")
            if version
            else t("the version is missing", "缺少版本")
        )
        names = allowed(versions())
        advice = t(f"known: {names}", f"可用：{names}")
        kind = Kind.CODE if version else Kind.MISSING
        findings.add(Finding("hl7.version", text, "MSH-12", advice, kind))
        return
    segments = message.segments
    if len(segments) > MAX_SEGMENTS:
        findings.add(not_checked("hl7", t(f"more than {MAX_SEGMENTS} segments", f"超过 {MAX_SEGMENTS} 段")))
        return
    known: list[tuple[Segment, str, Definition]] = []
    for found, label in zip(segments, _labels(segments), strict=True):
        if found.name.startswith("Z"):
            continue  # a site's own: nobody but the site knows its fields
        definition = segment(found.name, version) if len(found.name) == 3 else None
        if definition is not None:
            known.append((found, label, definition))
            continue
        text = t(f"version {version} has no such segment", f"{version} 版本没有此段")
        advice = t("correct MSH-12; own segments begin with Z", "请更正 MSH-12；自定义段以 Z 开头")
        findings.add(Finding("hl7.segment", text, label, advice))
    _structure(message, version, [(found.name, label) for found, label, _ in known], findings)
    fields = FieldCheck(message, version, findings)
    for found, label, definition in known:
        if findings.full:
            return
        fields.segment(found, label, definition)


def _labels(segments: Sequence[Segment]) -> list[str]:
    """``PID``, ``OBX[3]``: what paths call each segment. What is no name of a segment may hold anything and is told by number."""
    many = Counter(found.name for found in segments)
    seen: Counter[str] = Counter()
    labels = []
    for number, found in enumerate(segments, 1):
        name = found.name
        seen[name] += 1
        if not (len(name) == 3 and name.isascii() and name.isalnum() and name.isupper()):
            labels.append(t(f"segment {number}", f"第 {number} 段"))
        else:
            labels.append(f"{name}[{seen[name]}]" if many[name] > 1 else name)
    return labels


# -- which segments, how often, where ------------------------------------------------------------------------------------


def _structure(message: Hl7Message, version: str, known: list[tuple[str, str]], findings: Findings) -> None:
    kind, event, stated = (message.get(f"MSH-9.{number}") for number in (1, 2, 3))
    name = structure(kind, event, stated, version)
    if not name or not known or known[0][0] != "MSH":
        text = t(
            f"version {version} has no structure for this type of message; only its fields were checked",
            f"{version} 版本没有此类消息的结构，仅校验了字段",
        )
        findings.add(Finding("hl7.structure", text, "MSH-9", kind=Kind.CODE, severity=Severity.WARNING))
        return
    find = _structure_findings if len(known) <= _REMEMBERED else _structure_findings.__wrapped__
    for finding in find(name, tuple(known), version, language()):
        findings.add(finding)


@lru_cache(maxsize=256)
def _structure_findings(
    name: str, known: tuple[tuple[str, str], ...], version: str, spoken: str
) -> tuple[Finding, ...]:
    """What is wrong with the segments of a message, by their names and labels alone. Senders repeat themselves: what was found for the
    same names in the language ``spoken`` is remembered, which saves two thirds of the time.
    """
    findings = Findings("hl7")
    try:
        tree = grouped(name, [found for found, _ in known], version)
    except (HL7apyException, AttributeError, KeyError, ValueError):
        return (not_checked("hl7", t("the order of its segments", "段的顺序")),)
    _cardinality(tree, name, dict(_placed(tree, known, findings)), findings)
    return tuple(findings.found)


def _leaves(element: Any) -> Iterator[Any]:
    for child in element.children:
        if child.classname == "Segment":
            yield child
        else:
            yield from _leaves(child)


def _placed(tree: Any, known: Sequence[tuple[str, str]], findings: Findings) -> Iterator[tuple[int, str]]:
    """(identity of a segment in the tree, its label); segments for which hl7apy found no place become findings."""
    rest = iter(known)
    for leaf in _leaves(tree):
        for name, label in rest:
            if name == leaf.name:
                yield id(leaf), label
                break
            _misplaced(label, findings)
    for _, label in rest:
        _misplaced(label, findings)


def _misplaced(label: str, findings: Findings) -> None:
    text = t("does not belong here in this type of message", "此类消息的此处不应有该段")
    findings.add(Finding("hl7.misplaced", text, label))


def _cardinality(element: Any, name: str, places: dict[int, str], findings: Findings) -> None:
    """What a message or group must and may hold."""
    children = list(element.children)
    counts = Counter(child.name for child in children)
    first = next((places.get(id(leaf), "") for leaf in _leaves(element)), "")
    where = first if element.classname == "Group" and first else name
    if element.reference[0] == "choice":
        if not children:
            findings.add(Finding("hl7.missing", t("a segment is missing", "缺少段"), where, kind=Kind.MISSING))
    else:
        for child, _, (least, most), kind in element.reference[1]:
            count = counts[child]
            if count < least:
                what = t(f"group {child}", f"段组 {child}") if kind == "GRP" else t(f"segment {child}", f" {child} 段")
                text = t(f"{what} is missing", f"缺少{what}")
                findings.add(Finding("hl7.missing", text, where, t(f"add {child}", f"请补充 {child}"), Kind.MISSING))
            elif -1 < most < count:
                text = t(
                    f"{child} is there {count} times, at most {most} are allowed",
                    f"{child} 出现 {count} 次，最多 {most} 次",
                )
                findings.add(Finding("hl7.repeated", text, where))
    for child in children:
        if child.classname == "Group":
            _cardinality(child, name, places, findings)
