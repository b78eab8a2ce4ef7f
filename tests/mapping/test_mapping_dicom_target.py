"""Mappings that change a DICOM data set, and what is found wrong with a target when it is loaded."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

from hub.codecs.dicom import DicomCodec
from hub.mapping import Context, compile_expression

if TYPE_CHECKING:
    from conftest import Folder

CODEC = DicomCodec()
SOURCE = CODEC.encode(
    {
        "SpecificCharacterSet": "GB18030",
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "SOPInstanceUID": "1.2.3.4",
        "Modality": "CT",
        "PatientName": "王^小东",
        "PatientID": "P1",
        "PatientBirthDate": "19830502",
        "PatientSex": "F",
        "(0009,GEMS_IDEN_01,02)": "SUITE",
        "ReferencedStudySequence": [{"ReferencedSOPInstanceUID": "1.2"}],
    }
)
ANONYMISE = """
    from: {codec: dicom}
    to: {codec: dicom, base: source, remove: [PatientBirthDate, "(0010,0040)", "(0009,GEMS_IDEN_01,02)", ReferencedStudySequence]}
    fields:
      PatientName: {const: 匿名}
      PatientID: concat('A-', stable_id(PatientID) | substring(0, 8))
      SOPInstanceUID: {expr: missing | default('1.2.3.5')}
      StudyDescription: {const: null}
      AccessionNumber: StudyID
"""


def test_a_copy_with_changes(folder: Folder) -> None:
    source = CODEC.decode(SOURCE)
    mapping = folder.mapping(textwrap.dedent(ANONYMISE).replace("missing", "StudyID"))
    (target,) = mapping.run(source, Context())
    out = CODEC.decode(CODEC.encode(target))
    assert CODEC.encode(source) is SOURCE
    assert out.get("PatientName") == "匿名"
    assert out.get("PatientID") == "A-" + compile_expression("stable_id(PatientID) | substring(0, 8)", "dicom")(
        source, Context()
    )
    assert CODEC.envelope(out) == ("DICOM.CT", "1.2.3.5")
    assert out.get("MediaStorageSOPInstanceUID") == "1.2.3.5"
    removed = {0x00100030, 0x00100040, 0x00091002, 0x00081110}
    assert set(out.places) == (set(source.places) - removed) | {0x00081030}
    for tag in set(source.places) - removed - {0x00100010, 0x00100020, 0x00080018}:
        old, new = source.places[tag], out.places[tag]
        assert source.data[old.start : old.end] == out.data[new.start : new.end]


def test_a_copy_in_another_character_set(folder: Folder) -> None:
    text = (
        "from: {codec: dicom}\nto: {codec: dicom, base: source}\nfields: {SpecificCharacterSet: {const: ISO_IR 192}}\n"
    )
    (target,) = folder.mapping(text).run(CODEC.decode(SOURCE), Context())
    out = CODEC.encode(target)
    assert "王^小东".encode() in out
    assert CODEC.decode(out).get("PatientName") == "王^小东"


def test_a_copy_with_nothing_but_removals(folder: Folder) -> None:
    text = "from: {codec: dicom}\nto: {codec: dicom, base: source, remove: PatientName}\n"
    (target,) = folder.mapping(text).run(CODEC.decode(SOURCE), Context())
    assert CODEC.decode(CODEC.encode(target)).get("PatientName") is None


def test_a_path_may_begin_with_a_tag() -> None:
    tree = CODEC.decode(SOURCE)
    assert compile_expression("(0010,0020)", "dicom")(tree, Context()) == "P1"
    assert compile_expression("(0009,GEMS_IDEN_01,02) | lower", "dicom")(tree, Context()) == "suite"
    assert (
        compile_expression("ReferencedStudySequence[(0008,1155)=='1.2'].(0008,1155)", "dicom")(tree, Context()) == "1.2"
    )
    assert compile_expression("(1 + 2) * (Rows)", "dicom")(tree, Context()) is None


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("to: {codec: dicom}\nfields: {PatientNmae: {const: x}}", "PatientNmae", "did you mean PatientName"),
        (
            "to: {codec: dicom}\nfields: {ContentSequence: [{X: {const: x}}]}",
            "ContentSequence[].X",
            "'X' is not a DICOM",
        ),
        (
            "to: {codec: dicom}\nfields: {'ContentSequence[0].X': {const: x}}",
            "ContentSequence[0].X",
            "'X' is not a DICOM",
        ),
        ("to: {codec: dicom}\nfields: {PixelData: {const: x}}", "PixelData", "pixel data"),
        ("to: {codec: dicom, base: source, remove: Nonsense}", "to.remove", "'Nonsense' is not a DICOM"),
        ("to: {codec: dicom}\nfields: [{const: x}]", "fields", "keywords and tags"),
        ("to: {codec: dicom, base: source}\nfields: {PatientID: {const: x}}", "to.base", "needs a DICOM source"),
    ],
)
def test_wrong_targets(folder: Folder, text: str, key: str, said: str) -> None:
    codec = "json" if key == "to.base" else "dicom"
    folder.write("m.yaml", f"from: {{codec: {codec}}}\n{text}\n")
    (problem,) = folder.library().problems()
    assert problem.key == key
    assert said in f"{problem.text} {problem.remedy}"
