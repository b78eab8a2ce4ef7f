"""DICOM essentials: attributes by kind, the form of values, character sets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.codecs.dicom import DicomCodec
from hub.codecs.dicom_dictionary import parse_name, vr_of
from hub.errors import CodecError
from hub.validators.dicom_forms import fault
from hub.validators.dicom_modules import KINDS
from hub.validators.report import Finding, Kind, Severity
from tests.validators.validator_support import check, short, standard

CODEC = DicomCodec()
CT: dict[str, Any] = {
    "SpecificCharacterSet": "GB18030",
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
    "SOPInstanceUID": "1.2.3.4",
    "StudyInstanceUID": "1.2.3",
    "SeriesInstanceUID": "1.2.3.1",
    "FrameOfReferenceUID": "1.2.3.9",
    "Modality": "CT",
    "PatientName": "Zhang^San=张^三",
    "PatientID": "P1",
    "PatientBirthDate": "19900307",
    "PatientSex": "F",
    "StudyDate": "20260115",
    "StudyTime": "093015.123",
    "StudyID": "S1",
    "AccessionNumber": "A1",
    "ReferringPhysicianName": "",
    "SeriesNumber": 1,
    "InstanceNumber": 1,
    "Manufacturer": "",
    "PositionReferenceIndicator": "",
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    "PixelSpacing": [0.5, 0.5],
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    "ImagePositionPatient": [0, 0, 0],
    "SliceThickness": 5,
    "RescaleIntercept": -1024,
    "RescaleSlope": 1,
    "KVP": 120,
    "Rows": 512,
    "Columns": 512,
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "BitsAllocated": 16,
    "BitsStored": 12,
    "HighBit": 11,
    "PixelRepresentation": 0,
}
STEP = {
    "Modality": "CT",
    "ScheduledStationAETitle": "CT1",
    "ScheduledProcedureStepStartDate": "20260115",
    "ScheduledProcedureStepStartTime": "0930",
    "ScheduledProcedureStepID": "1",
    "ScheduledPerformingPhysicianName": "",
}
WORKLIST: dict[str, Any] = {
    "PatientName": "Zhang^San",
    "PatientID": "P1",
    "PatientBirthDate": "",
    "PatientSex": "",
    "AccessionNumber": "A1",
    "ReferringPhysicianName": "",
    "StudyInstanceUID": "1.2.3",
    "RequestedProcedureID": "R1",
    "ScheduledProcedureStepSequence": [STEP],
}
MPPS: dict[str, Any] = {
    "PatientName": "Zhang^San",
    "PatientID": "P1",
    "PatientBirthDate": "",
    "PatientSex": "",
    "ScheduledStepAttributesSequence": [
        {"StudyInstanceUID": "1.2.3", "AccessionNumber": "", "RequestedProcedureID": "", "ScheduledProcedureStepID": ""}
    ],
    "PerformedProcedureStepID": "PP1",
    "PerformedStationAETitle": "CT1",
    "PerformedProcedureStepStartDate": "20260115",
    "PerformedProcedureStepStartTime": "093000",
    "PerformedProcedureStepEndDate": "",
    "PerformedProcedureStepEndTime": "",
    "PerformedProcedureStepStatus": "IN PROGRESS",
    "PerformedSeriesSequence": [],
    "Modality": "CT",
}


def found(tree: dict[str, Any]) -> list[Finding]:
    raw = CODEC.encode(tree)
    return check(standard("dicom"), CODEC.decode(raw), raw)


def without(tree: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in tree.items() if key not in keys}


@pytest.mark.parametrize("tree", [CT, WORKLIST, MPPS])
def test_valid(tree: dict[str, Any]) -> None:
    assert found(tree) == []


@pytest.mark.parametrize(
    "keyword", ["StudyInstanceUID", "Modality", "Rows", "PixelSpacing", "RescaleSlope", "ImageType"]
)
def test_type_1(keyword: str) -> None:
    for tree in (without(CT, keyword), {**CT, keyword: ""}):
        (finding,) = found(tree)
        assert (finding.rule, finding.place, finding.kind) == ("dicom.required", keyword, Kind.MISSING)
        assert finding.severity is Severity.ERROR


@pytest.mark.parametrize("keyword", ["PatientName", "PatientSex", "KVP", "SliceThickness", "ReferringPhysicianName"])
def test_type_2(keyword: str) -> None:
    assert found({**CT, keyword: ""}) == []
    (finding,) = found(without(CT, keyword))
    assert (finding.rule, finding.place, finding.severity) == ("dicom.present", keyword, Severity.WARNING)


def test_items_of_sequences() -> None:
    tree = {**WORKLIST, "ScheduledProcedureStepSequence": [STEP, without(STEP, "Modality")]}
    assert short(found(tree)) == [("dicom.required", "ScheduledProcedureStepSequence[1].Modality")]


def test_the_end_of_a_procedure_step() -> None:
    end: dict[str, Any] = {
        "PerformedProcedureStepStatus": "COMPLETED",
        "PerformedProcedureStepEndDate": "20260115",
        "PerformedProcedureStepEndTime": "094500",
        "PerformedSeriesSequence": [
            {"SeriesInstanceUID": "1.2.3.1", "ProtocolName": "Chest", "RetrieveAETitle": "", "SeriesDescription": "", "OperatorsName": ""}
        ],
    }  # fmt: skip
    assert found(end) == []
    assert short(found(without(end, "PerformedSeriesSequence"))) == [("dicom.required", "PerformedSeriesSequence")]


@pytest.mark.parametrize(
    ("change", "rule", "place", "kind"),
    [
        ({"Modality": "MR"}, "modality", "Modality", Kind.CONTRADICTION),
        ({"PatientSex": "X"}, "code", "PatientSex", Kind.CODE),
        ({"StudyDate": "20260231"}, "value", "StudyDate", Kind.FORMAT),
        ({"StudyTime": "256100"}, "value", "StudyTime", Kind.FORMAT),
        ({"StudyInstanceUID": "1.02.3"}, "value", "StudyInstanceUID", Kind.FORMAT),
        ({"BodyPartExamined": "Brust"}, "value", "BodyPartExamined", Kind.FORMAT),
        ({"RequestAttributesSequence": [{"ScheduledProcedureStepStartDate": "20261301"}]}, "value", "RequestAttributesSequence[0].ScheduledProcedureStepStartDate", Kind.FORMAT),
    ],
)  # fmt: skip
def test_errors(change: dict[str, Any], rule: str, place: str, kind: Kind) -> None:
    (finding,) = found({**CT, **change})
    assert (finding.rule, finding.place, finding.kind) == (f"dicom.{rule}", place, kind)


def test_chinese_without_a_character_set() -> None:
    raw = CODEC.encode({**CT, "SpecificCharacterSet": "ISO_IR 192"}).replace(b"ISO_IR 192", b"          ")
    findings = check(standard("dicom"), CODEC.decode(raw), raw)
    assert short(findings) == [("dicom.charset", "PatientName")]
    assert "张" not in repr(findings)


def test_an_unknown_character_set() -> None:
    raw = CODEC.encode({**CT, "SpecificCharacterSet": "ISO_IR 192"}).replace(b"ISO_IR 192", b"ISO_IR 999")
    assert ("dicom.charset", "SpecificCharacterSet") in short(check(standard("dicom"), CODEC.decode(raw), raw))


def test_file_and_data_set_must_agree() -> None:
    raw = CODEC.encode(CT)
    other = raw[:200].replace(b"1.2.3.4", b"1.2.3.5") + raw[200:].replace(b"1.2.3.4", b"1.2.3.4")
    at = raw.rfind(b"1.2.3.4")
    other = raw[:at] + b"1.2.3.5" + raw[at + 7 :]
    assert short(check(standard("dicom"), CODEC.decode(other), other)) == [("dicom.meta", "SOPInstanceUID")]


def test_messages_in_files_are_known_by_their_class() -> None:
    """As an adapter keeps them: with the SOP class the message was for (PS3.4, annexes F and R)."""
    step, available = {"SOPClassUID": "1.2.840.10008.3.1.2.3.3"}, {"SOPClassUID": "1.2.840.10008.5.1.4.33"}
    assert found({**MPPS, **step}) == []
    assert found(step) == []  # a change in between
    ended = short(found({**step, "PerformedProcedureStepStatus": "COMPLETED"}))
    assert ("dicom.required", "PerformedProcedureStepEndDate") in ended
    assert short(found(available)) == [
        ("dicom.required", "StudyInstanceUID"),
        ("dicom.required", "ReferencedSeriesSequence"),
    ]


def test_unknown_kinds() -> None:
    (finding,) = found({"PatientName": "Zhang"})
    assert (finding.rule, finding.severity) == ("dicom.kind", Severity.WARNING)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_table_names_what_dicom_has(kind: Any) -> None:
    sequences = {sequence for sequence, _, _ in kind.items}
    for keyword in (*kind.required, *kind.present, *sequences):
        assert parse_name(keyword), keyword
    for sequence, required, present in kind.items:
        assert vr_of(parse_name(sequence).tag) == "SQ"  # type: ignore[union-attr]
        for keyword in (*required, *present):
            assert parse_name(keyword), keyword
    assert not set(kind.required) & set(kind.present)
    assert len(kind.required) == len(set(kind.required))


@pytest.mark.parametrize(
    ("vr", "good", "bad"),
    [
        ("AE", ["CT1", "x" * 16], ["x" * 17]),
        ("AS", ["034Y", ""], ["34Y", "034y"]),
        ("CS", ["A_1 B", ""], ["a", "A-B", "A" * 17]),
        ("DA", ["20240229", "1990.03.07", ""], ["20230229", "2024", "2024-02-29", "20240229-"]),
        ("DS", ["1", "-1.5e3", "+.5", "1."], ["x", "1,5", "1" * 17]),
        ("DT", ["2026", "202601", "20260115093015.123+0800", "2026011509"], ["202613", "20260231", "2026+2500", "202"]),
        ("IS", ["12", "-1"], ["1.5", "1" * 13]),
        ("LO", ["x" * 64], ["x" * 65]),
        ("PN", ["x" * 64 + "=" + "张" * 64], ["x" * 65]),
        ("SH", ["x" * 16], ["x" * 17]),
        ("TM", ["09", "0930", "093015.123456", "09:30:15"], ["24", "0960", "9", "09301"]),
        ("UI", ["1.2.840.10008", "0", "1.0.2"], ["1.02", "1..2", "x", "1." * 33 + "1"]),
    ],
)
def test_forms(vr: str, good: list[str], bad: list[str]) -> None:
    assert [value for value in good if fault(vr, [value])] == []
    assert [value for value in bad if not fault(vr, [value])] == []


@pytest.mark.parametrize("tree", [None, {}, b"x"])
def test_other_trees(tree: Any) -> None:
    assert short(check(standard("dicom"), tree)) == [("dicom.not_checked", "")]


def test_many_errors() -> None:
    tree = {**CT, "ReferencedImageSequence": [{"ReferencedSOPInstanceUID": "1.2.3"}] * 300}
    raw = CODEC.encode(tree).replace(b"\x08\x00\x55\x11UI\x06\x001.2.3\x00", b"\x08\x00\x55\x11UI\x06\x001.02.3")
    assert len(check(standard("dicom"), CODEC.decode(raw), raw)) == 101


RAW = CODEC.encode({**CT, "RequestAttributesSequence": [STEP, STEP]})


@given(st.lists(st.tuples(st.integers(132, len(RAW) - 1), st.binary(min_size=1, max_size=3)), min_size=1, max_size=6))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_damaged_files(changes: list[tuple[int, bytes]]) -> None:
    raw = RAW
    for at, piece in changes:
        raw = raw[:at] + piece + raw[at + len(piece) :]
    try:
        tree = CODEC.decode(raw)
    except CodecError:
        return
    for finding in check(standard("dicom"), tree, raw):
        assert finding.rule.startswith("dicom.")
        assert finding.text
