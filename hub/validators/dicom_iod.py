"""Checks DICOM data sets: the essential attributes of their kind, the form of every value, the character set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hub.codecs.dicom_charset import known_terms
from hub.codecs.dicom_dictionary import keyword_of, parse_name
from hub.codecs.dicom_set import DataSet, DicomTree
from hub.codecs.dicom_values import CHARSET_VRS
from hub.errors import CodecError
from hub.i18n import t
from hub.mapping import Context
from hub.validators.dicom_forms import CHECKED, fault
from hub.validators.dicom_modules import Kind as DataKind
from hub.validators.dicom_modules import kind_of
from hub.validators.findings import Findings, missing, not_checked
from hub.validators.report import Finding, Kind, Severity

__all__ = ["MAX_ELEMENTS", "DicomValidator"]

#: Most elements looked at, those of sequences included, and the deepest nesting of these.
MAX_ELEMENTS, _MAX_DEPTH = 50_000, 8
_SAME = (("MediaStorageSOPClassUID", "SOPClassUID"), ("MediaStorageSOPInstanceUID", "SOPInstanceUID"))
_ONE_OF = {"PerformedProcedureStepStatus": ("IN PROGRESS", "COMPLETED", "DISCONTINUED"), "PatientSex": ("M", "F", "O")}


class _TooMuchError(Exception):
    pass


class DicomValidator:
    """See :class:`hub.validators.report.Validator`."""

    name = "dicom"
    slow = True
    stamp = ""

    def check(self, raw: bytes, tree: Any, context: Context) -> list[Finding]:
        if not isinstance(tree, DicomTree):
            return [not_checked("dicom", t("this is no DICOM data set", "不是 DICOM 数据集"))]
        findings = Findings("dicom")
        try:
            _essentials(tree, findings)
            _Values(findings).check(tree)
        except _TooMuchError:
            findings.add(not_checked("dicom", t("to the end: it has too many elements", "元素过多，未完成")))
        except CodecError as error:
            findings.add(not_checked("dicom", error.text))
        return findings.found


def _tag(keyword: str) -> int:
    name = parse_name(keyword)
    assert name is not None, keyword  # noqa: S101 - the tables of this package are tested
    return name.tag


def _essentials(tree: DicomTree, findings: Findings) -> None:
    kind = kind_of(tree)
    if kind is None:
        text = t(
            "a kind of data set the hub has no table for; only its values were checked", "未知种类的数据集，仅校验了值"
        )
        findings.add(Finding("dicom.kind", text, "SOPClassUID", severity=Severity.WARNING))
    else:
        _kind(tree, kind, findings)
    for inside, outside in _SAME:
        stated, own = tree.meta.get(inside), tree.get(outside)
        if stated is not None and own is not None and stated != own:
            text = t(f"differs from {inside} of the file", f"与文件的 {inside} 不同")
            findings.add(Finding("dicom.meta", text, outside, kind=Kind.CONTRADICTION))
    for keyword, values in _ONE_OF.items():
        value = tree.get(keyword)
        if value is not None and value not in values:
            text = t(f"not one of: {', '.join(values)}", f"不在允许值之列：{'、'.join(values)}")
            findings.add(Finding("dicom.code", text, keyword, kind=Kind.CODE))


def _kind(tree: DicomTree, kind: DataKind, findings: Findings) -> None:
    _attributes(tree, kind.required, kind.present, "", findings)
    for sequence, required, present in kind.items:
        items = tree.get(sequence)
        for number, item in enumerate(items if isinstance(items, list) else ()):
            if isinstance(item, DataSet):
                _attributes(item, required, present, f"{sequence}[{number}].", findings)
    if kind.modality and tree.get("Modality") not in (None, kind.modality):
        text = t(f"a {kind.name} has modality {kind.modality}", f"{kind.name} 的 Modality 须为 {kind.modality}")
        findings.add(Finding("dicom.modality", text, "Modality", kind=Kind.CONTRADICTION))


def _attributes(
    data: DataSet, required: tuple[str, ...], present: tuple[str, ...], before: str, findings: Findings
) -> None:
    for keyword in required:
        if data.value(_tag(keyword)) is None:
            findings.add(missing("dicom.required", keyword, before + keyword))
    for keyword in present:
        if _tag(keyword) not in data.places:
            text = t(f"{keyword} must be there, it may be empty", f"须有 {keyword}，可为空")
            advice = t(f"add {keyword} without a value", f"请加入空的 {keyword}")
            findings.add(
                Finding("dicom.present", text, before + keyword, advice, Kind.MISSING, severity=Severity.WARNING)
            )


class _Values:
    """The form of all values, those in sequences included, and whether their character set is declared."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._count = 0

    def check(self, tree: DicomTree) -> None:
        terms = tree.terms
        if terms and not known_terms(terms):
            text = t("a character set DICOM does not know", "DICOM 没有的字符集")
            advice = t("use GB18030 or ISO_IR 192", "请使用 GB18030 或 ISO_IR 192")
            self._findings.add(Finding("dicom.charset", text, "SpecificCharacterSet", advice, Kind.CODE))
        for data, before in self._sets(tree):
            self._set(data, before)
            if self._findings.full:
                return

    def _sets(self, tree: DicomTree) -> Iterator[tuple[DataSet, str]]:
        rest: list[tuple[DataSet, str, int]] = [(tree, "", 0)]
        while rest:
            data, before, depth = rest.pop()
            yield data, before
            if depth == _MAX_DEPTH:
                continue
            inner = []
            for tag in data.places:
                items = data.value(tag) if data.vr(tag) == "SQ" else None
                for number, item in enumerate(items or ()):
                    inner.append((item, f"{before}{keyword_of(tag)}[{number}].", depth + 1))
            rest.extend(reversed(inner))

    def _set(self, data: DataSet, before: str) -> None:
        undeclared = not any(data.terms) and not data.encoding
        for tag, place in data.places.items():
            self._count += 1
            if self._count > MAX_ELEMENTS:
                raise _TooMuchError
            vr = data.vr(tag)
            if vr not in CHECKED or place.end != place.value_end:
                continue
            raw = data.data[place.value : place.value_end]
            if not raw.isascii() or b"\x1b" in raw:
                if undeclared and vr in CHARSET_VRS:
                    self._undeclared(before + keyword_of(tag))
                    continue
                value = data.value(tag)
                values = [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str)]
            else:
                text = raw.decode("ascii").rstrip(" \0")
                parts = [text] if vr in ("LT", "ST") else text.split("\\")
                values = [part.strip(" ") for part in parts]
            wrong = fault(vr, values)
            if wrong is not None:
                kind = Kind.LENGTH if wrong[1] else Kind.FORMAT
                if not self._findings.add(Finding("dicom.value", wrong[0], before + keyword_of(tag), kind=kind)):
                    return

    def _undeclared(self, place: str) -> None:
        text = t("is not ASCII, and no character set is declared", "含非 ASCII 字符，却未声明字符集")
        advice = t("send SpecificCharacterSet, for Chinese GB18030 or ISO_IR 192",
                   "请发送 SpecificCharacterSet，中文用 GB18030 或 ISO_IR 192")  # fmt: skip
        self._findings.add(Finding("dicom.charset", text, place, advice, Kind.FORMAT))
