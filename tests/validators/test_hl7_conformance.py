"""HL7 v2 conformance: structure, fields, types, codes, places; what real and hostile messages do to it."""

from __future__ import annotations

from typing import Any

import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.core import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.codecs.hl7v2 import Hl7Codec
from hub.errors import CodecError
from hub.i18n import language, set_language
from hub.validators.hl7_conformance import MAX_SEGMENTS
from hub.validators.report import Finding, Kind, Severity
from tests.validators.validator_support import check, short, standard

CODEC = Hl7Codec()
MSH = "MSH|^~\\&|HIS|H1|HUB|C|20260115093000+0800||{}|MSG1|P|{}"
PERSON = "110101199003078515"
ADT = "\r".join(
    [
        MSH.format("ADT^A01^ADT_A01", "2.5.1"),
        "EVN|A01|20260115093000",
        "PID|1||800^^^H1&1.2.3&ISO^MR~999^^^NH&2.2.2&ISO^NH||Zhang^San^^^^^L||19900307|F",
        "PV1|1|I|W1^R2^B3",
        "OBX|1|NM|WBC^White cells^LN||7.1|10*9/L^^ISO+|4-10|N|||F",
    ]
)


def found(text: str) -> list[Finding]:
    return check(standard("hl7v2"), CODEC.decode(text.encode()), text.encode())


def errors(text: str) -> list[tuple[str, str]]:
    return short([finding for finding in found(text) if finding.severity is Severity.ERROR])


def test_slow_and_named() -> None:
    validator = standard("hl7v2")
    assert (validator.name, validator.slow) == ("hl7v2", True)
    assert "hl7apy" in validator.stamp  # type: ignore[attr-defined]


def test_a_good_message() -> None:
    assert errors(ADT) == []


@pytest.mark.parametrize(
    ("old", "new", "rule", "place", "kind"),
    [
        ("\rEVN|A01|20260115093000", "", "missing", "ADT_A01", Kind.MISSING),
        ("\rPV1|1|I|W1^R2^B3", "", "missing", "ADT_A01", Kind.MISSING),
        ("PV1|1|I|", "PV1|1||", "required", "PV1-2", Kind.MISSING),
        ("Zhang^San^^^^^L", "", "required", "PID-5", Kind.MISSING),
        ("19900307", PERSON, "type", "PID-7.1", Kind.FORMAT),
        ("19900307", "19900231", "type", "PID-7.1", Kind.FORMAT),
        ("|7.1|", f"|{PERSON}x|", "type", "OBX-5", Kind.FORMAT),
        ("|NM|WBC", "|QQ|WBC", "type", "OBX-2", Kind.CODE),
        ("PID|1|", "PID|one|", "type", "PID-1", Kind.FORMAT),
        ("|19900307|F", "|19900307|F^Female", "parts", "PID-8", Kind.STRUCTURE),
        ("H1&1.2.3&ISO^MR~", "H1&1.2.3&ISO&x^MR~", "unknown", "PID-3[1].4.4", Kind.STRUCTURE),
        ("|P|2.5.1", "|P|2.5.1" + "|" * 10 + "x", "unknown", "MSH-22", Kind.STRUCTURE),
        ("|I|W1^R2^B3", "|I~O|W1^R2^B3", "repeated", "PV1-2", Kind.STRUCTURE),
        ("PV1|1|I|W1^R2^B3", "PV1|1|I|W1^R2^B3\rPV1|2|I", "repeated", "ADT_A01", Kind.STRUCTURE),
        ("\rOBX|", "\rQQQ|1\rOBX|", "segment", "QQQ", Kind.STRUCTURE),
        ("\rOBX|", f"\r{PERSON}|1\rOBX|", "segment", "segment 5", Kind.STRUCTURE),
        ("\rOBX|", "\rSPM|1|||x\rOBX|", "misplaced", "SPM", Kind.STRUCTURE),
        ("MSH|^~\\&|", "MSH|^~\\&#|", "delimiters", "MSH-2", Kind.LENGTH),
        ("|P|2.5.1", "|P|", "version", "MSH-12", Kind.MISSING),
        ("|P|2.5.1", "|P|9.9", "version", "MSH-12", Kind.CODE),
    ],
)
def test_errors(old: str, new: str, rule: str, place: str, kind: Kind) -> None:
    assert old in ADT
    findings = [f for f in found(ADT.replace(old, new, 1)) if f.severity is Severity.ERROR]
    assert [(f.rule, f.place, f.kind) for f in findings] == [(f"hl7.{rule}", place, kind)]
    assert PERSON not in repr(findings)


@pytest.mark.parametrize(
    ("old", "new", "rule", "place"),
    [
        ("|19900307|F", "|19900307|Q", "table", "PID-8"),
        ("ISO^MR~", "ISO^ZZ~", "table", "PID-3[1].5"),
        ("ADT^A01^ADT_A01", "XYZ^Z99", "structure", "MSH-9"),
    ],
)
def test_warnings(old: str, new: str, rule: str, place: str) -> None:
    findings = found(ADT.replace(old, new, 1))
    assert (f"hl7.{rule}", place) in short(findings)
    assert all(finding.severity is Severity.WARNING for finding in findings)


def test_a_code_of_the_table_may_have_the_country_in_it() -> None:
    """NNxxx of table 0203."""
    assert short(found(ADT.replace("ISO^MR~", "ISO^NNCHN~", 1))) == []
    assert ("hl7.table", "PID-3[1].5") in short(found(ADT.replace("ISO^MR~", "ISO^NN123~", 1)))


def test_codes_are_told_once() -> None:
    lines = "".join(f"\rOBX|{n}|NM|WBC^x^QQ||7.1||||||F" for n in range(2, 60))
    assert short(found(ADT + lines)) == [("hl7.table", "OBX[2]-3.3")]


def test_both_languages() -> None:
    before = language()
    try:
        set_language("zh")
        finding = found(ADT.replace("19900307", "x"))[0]
        assert finding.text == "须为日期时间 yyyyMMddHHmmss"
        assert found(ADT.replace("\rEVN|A01|20260115093000", ""))[0].text == "缺少 EVN 段"
    finally:
        set_language(before)


def test_segments_of_a_site_are_left_alone() -> None:
    assert errors(ADT.replace("\rPV1", "\rZPI|x^y&z|~|||\rPV1")) == []


def test_fields_whose_type_nobody_names_are_left_alone() -> None:
    """MFE-4 may be of any type: the field before it says nothing about that."""
    text = "\r".join([MSH.format("MFN^M01^MFN_M01", "2.5.1"), "MFI|x||UPD|||NE", "MFE|MAD|1||a^b&c|CE"])
    assert not [place for _, place in errors(text) if place.startswith("MFE")]


def test_delete_and_escapes() -> None:
    assert errors(ADT.replace("|19900307|F", '|""|F').replace("White cells", "White \\T\\ cells")) == []


def test_structure_without_its_name() -> None:
    """Senders of old leave out MSH-9.3: the event tells, also one that shares the structure of another."""
    assert errors(ADT.replace("ADT^A01^ADT_A01", "ADT^A01")) == []
    assert errors(ADT.replace("ADT^A01^ADT_A01", "ADT^A08").replace("\rEVN|A01|20260115093000", "")) == [
        ("hl7.missing", "ADT_A01")
    ]


def test_groups() -> None:
    head = MSH.format("ORU^R01^ORU_R01", "2.5.1")
    obr, obx = "OBR|1|||1^a^L", "OBX|1|NM|1^a^L||1||||||F"
    assert errors("\r".join([head, "PID|1||1||A^B", obr, obx, obx, obr, obx])) == []
    assert errors("\r".join([head, "PID|1||1||A^B"])) == [("hl7.missing", "PID")]
    assert errors(head) == [("hl7.missing", "ORU_R01")]
    assert errors("\r".join([head, obx])) == [("hl7.missing", "OBX")]


@pytest.mark.parametrize("version", ["2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.2"])
def test_versions(version: str) -> None:
    text = "\r".join(
        [
            MSH.format("ADT^A01^ADT_A01", version),
            "EVN||20260115",
            "PID|1||800^^^H1^MR||Zhang^San||19900307|F",
            "PV1|1|I|W1",
        ]
    )
    assert [pair for pair in errors(text) if not pair[1].startswith("MSH")] == (
        [("hl7.required", "EVN-1")] if version < "2.3.1" else []
    )
    assert ("hl7.type", "PID-7") in [(rule, place[:5]) for rule, place in errors(text.replace("19900307", "x"))]


def test_what_hl7apy_builds_is_accepted() -> None:
    """A message made by the library whose definitions they are."""
    message = Message("ADT_A01", version="2.5.1", validation_level=VALIDATION_LEVEL.STRICT)
    message.msh.msh_7 = "20260115093000"
    message.msh.msh_9 = "ADT^A01^ADT_A01"
    message.msh.msh_10, message.msh.msh_11 = "1", "P"
    message.evn.evn_2 = "20260115093000"
    message.pid.pid_3, message.pid.pid_5 = "800^^^H1^MR", "Zhang^San"
    message.pv1.pv1_2 = "I"
    assert message.validate()
    assert errors(message.to_er7()) == []


# -- hostile ---------------------------------------------------------------------------------------------------------------


def test_too_many_segments() -> None:
    assert errors(ADT + "\rNTE|1" * MAX_SEGMENTS) == [("hl7.not_checked", "")]


@pytest.mark.parametrize(
    "text",
    [
        ADT.replace("800^^^H1&1.2.3&ISO^MR", "1~" * 150_000),
        ADT + "\rOBX|2|ED|x^y^L||" + "^" * 300_000,
        ADT + "\rOBX|2|ST|x^y^L||" + "&" * 300_000 + "||||||F",
        ADT + "\rPID" + "|x" * 90_000,
        ADT + "\rOBX|2|NM|x^y^L||" + "1" * 300_000 + "||||||F",
        ADT + "\rPID|" * 2_000,
        ADT + "\rOBR|" * 2_000,
    ],
)  # fmt: skip
def test_large_messages_end(text: str) -> None:
    assert 0 < len(found(text)) <= 102


def test_a_large_document_inside_is_fine() -> None:
    document = "OBX|2|ED|x^y^LN||HIS^AP^PDF^Base64^" + "QUJD" * 500_000 + "||||||F"
    assert errors(f"{ADT}\r{document}") == []


@pytest.mark.parametrize("tree", [None, {}, "MSH|", b"x"])
def test_other_trees(tree: Any) -> None:
    assert short(check(standard("hl7v2"), tree)) == [("hl7.not_checked", "")]


pieces = st.sampled_from(
    ["|", "^", "~", "&", "\\", "\r", "MSH", "PID", "OBX|1|NM|", '""', "x", "张", "\\F\\", "2.5.1", "|||||"]
)


@given(st.lists(st.tuples(st.integers(0, len(ADT)), pieces), min_size=1, max_size=8))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_damaged_messages(changes: list[tuple[int, str]]) -> None:
    text = ADT
    for at, piece in changes:
        text = text[:at] + piece + text[at + len(piece) % 3 :]
    try:
        tree = CODEC.decode(text.encode())
    except CodecError:
        return
    for finding in check(standard("hl7v2"), tree, text.encode()):
        assert finding.text
        assert finding.rule.startswith("hl7.")
