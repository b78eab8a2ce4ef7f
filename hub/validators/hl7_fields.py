"""Checks the fields of one HL7 v2 segment against its definition: required, repeated, data types, lengths, codes."""

from __future__ import annotations

import re

from hub.codecs.hl7v2 import Hl7Message, Segment
from hub.i18n import t
from hub.validators.findings import Findings, allowed, missing
from hub.validators.hl7_tables import Definition, fits, table, type_of
from hub.validators.report import Finding, Kind, Severity

__all__ = ["MAX_VALUES", "FieldCheck", "TooMuchError"]

#: Most values looked at in one message.
MAX_VALUES = 100_000
#: The longest value that is compared with a code table or tried as a number or date, characters.
_LONGEST_TRIED = 100
_DELETE = '""'
_WORDS = {
    "DT": ("a date yyyyMMdd", "日期 yyyyMMdd"),
    "DTM": ("a time yyyyMMddHHmmss", "日期时间 yyyyMMddHHmmss"),
    "TM": ("a time of day HHmmss", "时间 HHmmss"),
    "NM": ("a number", "数字"),
    "SI": ("a whole number", "整数"),
}
#: Table of data types, which is compared with the definitions themselves: the tables of hl7apy lag behind.
_TYPES_TABLE = "HL70125"
#: Numbers of repeated segments and fields, without which places are the same.
_NUMBERS = re.compile(r"\[\d+\]")
#: The field whose type another field names.
_OBSERVATION = "OBX_5"
#: Of versions before 2.5, whose definitions call the time in a time stamp a text.
_TIME_STAMP = "TS_1"


class TooMuchError(Exception):
    """More values than :data:`MAX_VALUES`."""


class FieldCheck:
    """The fields of one message, segment after segment."""

    def __init__(self, message: Hl7Message, version: str, findings: Findings) -> None:
        self._message = message
        self._version = version
        self._findings = findings
        self._separators = (message.component_sep, message.subcomponent_sep)
        self._values = 0
        self._codes_told: set[str] = set()

    def segment(self, segment: Segment, label: str, definition: Definition) -> None:
        """``label``: ``OBX[3]``, as paths write it. Raises :class:`TooMuchError`."""
        fields = segment.fields
        header = segment.name == "MSH"
        known = set()
        for name, field, (least, most) in definition.children:
            number = int(name.rpartition("_")[2])
            known.add(number)
            raw = fields[number] if number < len(fields) else ""
            place = f"{label}-{number}"
            if not raw:
                if least:
                    self._findings.add(missing("hl7.required", f"{place} ({field.name})", place))
                continue
            if header and number <= 2:
                if number == 2 and len(raw) > 4 and self._version < "2.7":
                    text = t("more than four delimiters before version 2.7", "2.7 以前的版本最多四个分隔符")
                    self._findings.add(Finding("hl7.delimiters", text, place, kind=Kind.LENGTH))
                continue
            repetitions = raw.split(self._message.repetition_sep)
            if not most:
                text = t(f"version {self._version} has withdrawn it", f"{self._version} 版本已取消此项")
                self._findings.add(Finding("hl7.withdrawn", text, place))
                continue
            if -1 < most < len(repetitions):
                self._too_often(place, most)
            if name == _OBSERVATION:
                field = self._observed(fields, f"{label}-2") or field
            for at, repetition in enumerate(repetitions, 1):
                self._value(field, name, repetition, place if len(repetitions) == 1 else f"{place}[{at}]", 0)
                if self._findings.full:
                    return
        for number in range(1, len(fields)):
            if number not in known and fields[number] and not self._unknown(f"{label}-{number}"):
                return

    def _too_often(self, place: str, most: int) -> None:
        text = t(f"is there more than {most} times", f"出现超过 {most} 次")
        self._findings.add(Finding("hl7.repeated", text, place, kind=Kind.STRUCTURE))

    def _unknown(self, place: str) -> bool:
        text = t(f"version {self._version} does not have it", f"{self._version} 版本没有此项")
        advice = t("correct MSH-12 or leave it out", "请更正 MSH-12 或删除")
        return self._findings.add(Finding("hl7.unknown", text, place, advice))

    def _observed(self, fields: tuple[str, ...], place: str) -> Definition | None:
        """The type of OBX-5, which OBX-2 names."""
        stated = fields[2] if len(fields) > 2 else ""
        found = type_of(stated, self._version) if stated and len(stated) <= 3 else None
        if stated and found is None and stated != "CF":
            text = t(f"version {self._version} has no such data type", f"{self._version} 版本没有此数据类型")
            self._findings.add(Finding("hl7.type", text, place, kind=Kind.CODE))
        return found

    def _value(self, definition: Definition, name: str, raw: str, place: str, depth: int, codes: str = "") -> None:
        """``depth``: 0 field, 1 component, 2 sub-component; ``codes``: the table of the value around this one."""
        self._values += 1
        if self._values > MAX_VALUES:
            raise TooMuchError
        if not raw or raw == _DELETE:
            return
        codes = definition.table or codes
        if not definition.children:
            self._plain(definition, name, raw, place, depth, codes)
            return
        separator = self._separators[depth] if depth < len(self._separators) else ""
        parts = raw.split(separator, len(definition.children)) if separator else [raw]
        for number, (child_name, child, (least, _)) in enumerate(definition.children, 1):
            part = parts[number - 1] if number <= len(parts) else ""
            inner = f"{place}.{number}"
            if part:
                self._value(child, child_name, part, inner, depth + 1, codes if number == 1 else "")
            elif least:
                self._findings.add(missing("hl7.required", f"{inner} ({child.name})", inner))
        if len(parts) > len(definition.children) and parts[-1].strip(separator):
            self._unknown(f"{place}.{len(parts)}")

    def _plain(self, definition: Definition, name: str, raw: str, place: str, depth: int, codes: str) -> None:
        datatype = definition.datatype
        if datatype == "varies":
            return
        if any(separator in raw for separator in self._separators[depth:]):
            text = t(f"has parts, which type {datatype} has not", f"含有组成部分，而类型 {datatype} 没有")
            self._findings.add(Finding("hl7.parts", text, place))
            return
        value = self._message.unescape(raw)
        longest = definition.longest
        if -1 < longest < len(value):
            text = t(f"longer than {longest} characters", f"超过 {longest} 个字符")
            self._findings.add(Finding("hl7.length", text, place, kind=Kind.LENGTH, severity=Severity.WARNING))
        wanted = "DTM" if name == _TIME_STAMP else datatype
        if wanted in _WORDS and (len(value) > _LONGEST_TRIED or not fits(wanted, value, self._version)):
            words = t(*_WORDS[wanted])
            self._findings.add(Finding("hl7.type", t(f"must be {words}", f"须为{words}"), place, kind=Kind.FORMAT))
        if codes and codes != _TYPES_TABLE:
            self._code(codes, value, place)

    def _code(self, codes: str, value: str, place: str) -> None:
        """Whether a code is in its table; told once for all repetitions, or a hundred results would fill the report."""
        known = table(codes, self._version)
        if f"{value[:-3]}xxx" in known and value[-3:].isalpha():
            return  # NNxxx of table 0203: xxx is the country, NNCHN is China's number of a person
        alike = _NUMBERS.sub("", place)
        if known and value not in known and alike not in self._codes_told:
            self._codes_told.add(alike)
            number, names = codes.removeprefix("HL7"), allowed(sorted(known))
            text = t(f"not in table {number}: {names}", f"不在代码表 {number} 中：{names}")
            self._findings.add(Finding("hl7.table", text, place, kind=Kind.CODE, severity=Severity.WARNING))
