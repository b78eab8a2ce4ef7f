"""Mappings from and to DICOM data sets: keywords, tags, items of sequences, parts of names; and what is refused when they are loaded."""

from __future__ import annotations

import textwrap
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from hub.codecs.dicom import DicomCodec
from hub.codecs.dicom_set import DicomTree
from hub.errors import MappingError
from hub.mapping import Context, compile_expression
from hub.mapping.compiler import compile_extract

if TYPE_CHECKING:
    from conftest import Folder

CODEC = DicomCodec()
STUDY: dict[str, Any] = {
    "SOPInstanceUID": "1.2.3.4",
    "Modality": "CT",
    "StudyDate": "20260115",
    "StudyTime": "093015.5",
    "AccessionNumber": "A1",
    "PatientName": "Wang^XiaoDong^^Dr=王^小东=",
    "PatientID": "P1",
    "PatientBirthDate": "19830502",
    "PatientSex": "F",
    "PatientWeight": Decimal("62.50"),
    "OtherPatientIDs": ["X1", "X2"],
    "OtherPatientNames": ["Wang^A=王^甲", "Li^B"],
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    "RequestAttributesSequence": [
        {
            "ScheduledProcedureStepID": "S1",
            "ScheduledProtocolCodeSequence": [
                {"CodeValue": "1", "CodingSchemeDesignator": "99H", "CodeMeaning": "胸部"},
                {"CodeValue": "2", "CodingSchemeDesignator": "LN", "CodeMeaning": "平扫"},
            ],
        },
        {"ScheduledProcedureStepID": "S2", "ScheduledProcedureStepDescription": "增强"},
    ],
    "(0009,GEMS_IDEN_01,02)": "SUITE",
}


@pytest.fixture
def study() -> DicomTree:
    return CODEC.decode(CODEC.encode(STUDY))


def run(folder: Folder, fields: str, tree: DicomTree, target: str = "json") -> Any:
    text = f"from: {{codec: dicom}}\nto: {{codec: {target}}}\nfields:\n{textwrap.indent(textwrap.dedent(fields), '  ')}"
    (result,) = folder.mapping(text).run(tree, Context())
    return result


def test_values_of_a_study(folder: Folder, study: DicomTree) -> None:
    fields = """
        id: PatientID
        name: PatientName
        latin: concat(PatientName.family, ' ', PatientName.given)
        prefix: PatientName.prefix
        suffix: PatientName.suffix
        chinese: PatientName.ideographic.family | default('?')
        given: PatientName.ideographic.given
        phonetic: PatientName.phonetic
        gender: PatientSex | table('gender')
        birth: PatientBirthDate | date
        taken: concat(StudyDate, StudyTime) | datetime
        weight: PatientWeight
        heavy: PatientWeight > 62
        ids: OtherPatientIDs
        first: OtherPatientIDs[0]
        joined: OtherPatientIDs | join('/')
        x: ImageOrientationPatient[4]
        byTag: $.(0010,0020)
        private: $.(0009,GEMS_IDEN_01,02)
        syntax: TransferSyntaxUID
        nothing: StudyDescription
        none: $.(0009,OTHER,02)
        others: {each: OtherPatientNames, family: .family, chinese: .ideographic.given, whole: .}
    """
    assert run(folder, fields, study) == {
        "id": "P1",
        "name": "Wang^XiaoDong^^Dr=王^小东=",
        "latin": "Wang XiaoDong",
        "prefix": "Dr",
        "chinese": "王",
        "given": "小东",
        "gender": "female",
        "birth": "1983-05-02",
        "taken": "2026-01-15T09:30:15.5+08:00",
        "weight": Decimal("62.50"),
        "heavy": True,
        "ids": ["X1", "X2"],
        "first": "X1",
        "joined": "X1/X2",
        "x": 1,
        "byTag": "P1",
        "private": "SUITE",
        "syntax": "1.2.840.10008.1.2.1",
        "others": [
            {"family": "Wang", "chinese": "甲", "whole": "Wang^A=王^甲"},
            {"family": "Li", "whole": "Li^B"},
        ],
    }


def test_sequences(folder: Folder, study: DicomTree) -> None:
    fields = """
        step: RequestAttributesSequence[0].ScheduledProcedureStepID
        last: RequestAttributesSequence[-1].ScheduledProcedureStepDescription
        protocol: RequestAttributesSequence.ScheduledProtocolCodeSequence.CodeMeaning
        loinc: RequestAttributesSequence.ScheduledProtocolCodeSequence[CodingSchemeDesignator=='LN'].CodeValue
        all: {each: 'RequestAttributesSequence[*].ScheduledProtocolCodeSequence[*].CodeValue', expr: .}
        steps:
          each: RequestAttributesSequence
          no: $number
          id: .ScheduledProcedureStepID
          patient: PatientID
          codes:
            each: .ScheduledProtocolCodeSequence
            code: .CodeValue
            text: .(0008,0104)
            step: ..ScheduledProcedureStepID
        count: RequestAttributesSequence | count
        gone: ReferencedStudySequence[0].ReferencedSOPInstanceUID
    """
    assert run(folder, fields, study) == {
        "step": "S1",
        "last": "增强",
        "protocol": "胸部",
        "loinc": "2",
        "all": ["1", "2"],
        "steps": [
            {
                "no": 1,
                "id": "S1",
                "patient": "P1",
                "codes": [{"code": "1", "text": "胸部", "step": "S1"}, {"code": "2", "text": "平扫", "step": "S1"}],
            },
            {"no": 2, "id": "S2", "patient": "P1"},
        ],
        "count": 2,
    }


def test_split_by_items(folder: Folder, study: DicomTree) -> None:
    text = """
        from: {codec: dicom}
        to: {codec: json}
        split: RequestAttributesSequence
        when: .ScheduledProcedureStepID != 'S9'
        fields: {step: .ScheduledProcedureStepID, patient: PatientID}
    """
    assert folder.mapping(textwrap.dedent(text)).run(study, Context()) == [
        {"step": "S1", "patient": "P1"},
        {"step": "S2", "patient": "P1"},
    ]


def test_expressions_on_messages(study: DicomTree) -> None:
    assert compile_expression("Modality in ['CT', 'MR'] and PatientWeight >= 62.5", "dicom")(study, Context()) is True
    assert compile_expression("PatientName.ideographic == '王^小东'", "dicom")(study, Context()) is True
    extract = compile_extract({"patient": "PatientID", "name": "PatientName.ideographic", "no": "StudyID"}, "dicom")
    assert extract(study, Context()) == {"patient": "P1", "name": "王^小东"}


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("PatientNmae", "did you mean PatientName"),
        ("PixelData", "pixel data"),
        ("$.(7FE0,0010)", "pixel data"),
        ("PatientID.family", "not a DICOM keyword"),
        ("PatientName.family.given", "not a DICOM keyword"),
        ("PatientName.ideographic.phonetic", "not a DICOM keyword"),
        ("RequestAttributesSequence[0].Nonsense", "not a DICOM keyword"),
        ("RequestAttributesSequence[Nonsense=='x'].CodeValue", "not a DICOM keyword"),
        ("PatientName.", "keyword or tag expected"),
        ("a", "not a DICOM keyword"),
        ("(PatientID", "expected"),
    ],
)
def test_wrong_paths_are_found_when_the_mapping_is_loaded(folder: Folder, path: str, said: str) -> None:
    folder.write("m.yaml", f"from: {{codec: dicom}}\nto: {{codec: json}}\nfields:\n  x: {path!r}\n")
    (problem,) = folder.library().problems()
    assert (problem.line, problem.key) == (4, "x")
    assert said in f"{problem.text} {problem.remedy}"


WORKLIST = """
    PatientName: name
    PatientID: id
    PatientBirthDate: birth | format_date('yyyyMMdd')
    ReferencedStudySequence: {const: null}
    RequestedProcedureID: missing
    ScheduledProcedureStepSequence:
      each: steps
      Modality: .kind
      ScheduledStationAETitle: .station
      ScheduledProtocolCodeSequence: [{CodeValue: .code, CodeMeaning: .text}]
    RequestAttributesSequence[0].ScheduledProcedureStepID: id
"""
ORDER = {
    "name": "王^小东",
    "id": "P1",
    "birth": "1983-05-02",
    "steps": [{"kind": "CT", "station": "CT1", "code": "C1", "text": "胸部"}, {"kind": "MR"}],
}


def test_a_new_data_set(folder: Folder) -> None:
    text = f"from: {{codec: json}}\nto: {{codec: dicom}}\nfields:{textwrap.indent(WORKLIST, '  ')}"
    (target,) = folder.mapping(text).run(ORDER, Context())
    assert target == {
        "PatientName": "王^小东",
        "PatientID": "P1",
        "PatientBirthDate": "19830502",
        "ReferencedStudySequence": None,
        "ScheduledProcedureStepSequence": [
            {
                "Modality": "CT",
                "ScheduledStationAETitle": "CT1",
                "ScheduledProtocolCodeSequence": [{"CodeValue": "C1", "CodeMeaning": "胸部"}],
            },
            {"Modality": "MR"},
        ],
        "RequestAttributesSequence": [{"ScheduledProcedureStepID": "P1"}],
    }
    tree = CODEC.decode(CODEC.encode(target))
    assert tree.get("SpecificCharacterSet") == "ISO_IR 192"
    assert tree.get("PatientName") == "王^小东"
    assert 0x00081110 in tree.places  # empty, as asked for
    step, other = tree.get("ScheduledProcedureStepSequence")
    assert step.get("ScheduledProtocolCodeSequence")[0].get("CodeMeaning") == "胸部"
    assert other.get("Modality") == "MR"


def test_sequences_are_copied_from_one_data_set_to_another(folder: Folder, study: DicomTree) -> None:
    target = run(folder, "RequestAttributesSequence: RequestAttributesSequence\nPatientID: PatientID", study, "dicom")
    items = CODEC.decode(CODEC.encode(target)).get("RequestAttributesSequence")
    assert [one.get("ScheduledProcedureStepID") for one in items] == ["S1", "S2"]
    assert items[0].get("ScheduledProtocolCodeSequence")[1].get("CodeMeaning") == "平扫"


def test_damage_found_while_mapping_names_the_rule(folder: Folder) -> None:
    raw = CODEC.encode({"RequestAttributesSequence": [{"ScheduledProcedureStepID": "S1"}]})
    damaged = raw[: raw.rindex(b"SH\x02\0")] + b"SH\x09\0S1"
    with pytest.raises(MappingError) as caught:
        run(folder, "step: RequestAttributesSequence[0].ScheduledProcedureStepID", CODEC.decode(damaged))
    assert caught.value.target == "step"
    assert "the middle of an element" in caught.value.reason
