"""Coverage and explanations of mappings from and to DICOM, by keyword and tag."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.codecs.dicom import DicomCodec
from hub.codecs.dicom_set import DataSet, DicomTree
from hub.codecs.dicom_write import write_new
from hub.errors import HubError
from hub.mapping import Context, compile_expression
from hub.mapping_tools.coverage import coverage
from hub.mapping_tools.explain import explain
from hub.mapping_tools.page import page
from hub.mapping_tools.places_dicom import DicomPlaces
from hub.mapping_tools.walk_dicom import DicomWalk
from tests.mapping_tools.conftest import Bench
from tests.mapping_tools.test_coverage import never_read
from tests.mapping_tools.test_explain import reads
from tests.mapping_tools.test_places import found

TREE: dict[str, Any] = {
    "ImageType": ["ORIGINAL", "PRIMARY"],
    "Modality": "CT",
    "PatientName": "Zhang^San=张^三",
    "PatientID": "P1",
    "(0009,0010)": "GEMS_IDEN_01",
    "RequestAttributesSequence": [
        {"ScheduledProcedureStepID": "S1", "RequestedProcedureID": "R1"},
        {"ScheduledProcedureStepID": "S2", "ScheduledProtocolCodeSequence": [{"CodeValue": "C"}]},
    ],
    "Rows": 512,
}


def raw_of(**more: Any) -> bytes:
    return write_new({**{key: value for key, value in TREE.items() if key[0] != "("}, **more})


def tree_of(raw: bytes) -> DicomTree:
    return DicomCodec().decode(raw)


def plain(value: Any) -> Any:
    if isinstance(value, DataSet):
        return [value.value(tag) is not None for tag in sorted(value.places)]
    return [plain(one) for one in value] if isinstance(value, list) else value


PATHS = (
    "PatientName", "(0010,0010)", "PatientName.family", "PatientName.ideographic", "PatientName.ideographic.given", "PatientName.phonetic",
    "ImageType", "ImageType[1]", "ImageType[5]", "PatientAge", "Rows", "TransferSyntaxUID", "RequestAttributesSequence[1].ScheduledProcedureStepID",
    "RequestAttributesSequence.RequestedProcedureID", "RequestAttributesSequence[*].ScheduledProcedureStepID",
    "RequestAttributesSequence[ScheduledProcedureStepID=='S2'].ScheduledProtocolCodeSequence.CodeValue", "(0040,0275)[-1].(0040,0009)",
    "OperatorsName", "OperatorsName[1].given", "(0009,GEMS_IDEN_01,02)",
)  # fmt: skip
NAMES = st.lists(st.sampled_from(["Li^Si", "王^五=Wang^Wu", "=张^三", "Ann", ""]), max_size=3)
ITEMS = st.lists(
    st.fixed_dictionaries({}, optional={"ScheduledProcedureStepID": st.sampled_from(["S1", "S2"]), "RequestedProcedureID": st.just("R")}),
    max_size=3,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(names=NAMES, items=ITEMS, path=st.sampled_from(PATHS))
def test_paths_give_what_expressions_give(names: list[str], items: list[Any], path: str) -> None:
    raw = raw_of(OperatorsName=names or None, RequestAttributesSequence=items or None)
    tree = tree_of(raw)
    expected = compile_expression(path, "dicom")(tree, Context())
    one = [value for _, _, value in found("dicom", tree, path)]
    assert len(one) == (expected is not None)
    if expected is not None and not isinstance(expected, list):
        assert one == [expected]
    every = compile_expression(f"{path} | list", "dicom")(tree, Context())
    assert len(found("dicom", tree, path, every=True)) == len(every)
    if not any(isinstance(value, DataSet) for value in every):
        assert [value for _, _, value in found("dicom", tree, path, every=True)] == every


def test_the_same_place_by_whatever_name() -> None:
    tree = tree_of(raw_of())
    for one, other in (("PatientName", "(0010,0010)"), ("PatientName.family", "PatientName.alphabetic.family")):
        assert [place for place, _, _ in found("dicom", tree, one)] == [
            place for place, _, _ in found("dicom", tree, other)
        ]
    ((place, path, value),) = found("dicom", tree, "(0040,0275)[1].(0040,0009)")
    assert (place, path, value) == (
        ("RequestAttributesSequence", 1, "ScheduledProcedureStepID"),
        "RequestAttributesSequence[1].ScheduledProcedureStepID",
        "S2",
    )


def test_every_value_is_at_its_bytes() -> None:
    raw = raw_of()
    places = DicomPlaces(tree_of(raw))
    looked_at = 0
    for one in places.occurring():
        span = places.span(one.shortest)
        if isinstance(one.shortest[-1], int):
            assert span is None
            continue
        assert span is not None, one
        written = raw[span[0] : span[1]]
        assert (str(one.value).encode() in written) or one.value == int.from_bytes(written, "little")
        assert places.describe(one.place).startswith("(")
        looked_at += 1
    assert looked_at > 6


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            "{a: PatientName, b: PatientID, c: Modality, d: Rows, e: ImageType, f: RequestAttributesSequence}",
            [],
        ),
        (
            "{a: PatientName.ideographic, b: (0010,0020), c: Modality, d: Rows, e: 'ImageType[1]'}",
            [
                "ImageType[] 1/2",
                "PatientName.alphabetic.family 1/1",
                "PatientName.alphabetic.given 1/1",
                "RequestAttributesSequence* 4/4",
            ],
        ),
        (
            "{a: PatientName.family, c: {each: RequestAttributesSequence, id: .ScheduledProcedureStepID}}",
            [
                "ImageType* 2/2",
                "Modality 1/1",
                "PatientName.alphabetic.given 1/1",
                "PatientName.ideographic.family 1/1",
                "PatientName.ideographic.given 1/1",
                "PatientID 1/1",
                "Rows 1/1",
                "RequestAttributesSequence[].RequestedProcedureID 1/1",
                "RequestAttributesSequence[].ScheduledProtocolCodeSequence[].CodeValue 1/1",
            ],
        ),
    ],
)
def test_what_nobody_reads(folder: Bench, fields: str, expected: list[str]) -> None:
    folder.mapping(f"fields: {fields.replace('(0010,0020)', chr(34) + '(0010,0020)' + chr(34))}", source="dicom")
    found_ = coverage(folder.open(), "m", [folder.given(raw_of())[1]], clear=True)
    assert never_read(found_) == expected


def test_what_is_never_there_is_told_with_its_line(folder: Bench) -> None:
    folder.mapping(
        "fields:\n  a: PatientAge\n  b:\n    each: RequestAttributesSequence\n    x: .StudyID\n", source="dicom"
    )
    result = coverage(folder.open(), "m", [folder.given(raw_of())[1]])
    assert [(one.path, one.line) for one in result.never_there] == [
        ("PatientAge", 4),
        ("RequestAttributesSequence[].StudyID", 7),
    ]


def test_private_elements_are_known_by_their_creator() -> None:
    raw = bytearray(raw_of())
    private = b"\x09\x00\x10\x00LO\x0c\x00GEMS_IDEN_01" + b"\x09\x00\x02\x10SH\x02\x00v1"
    at = raw.index(b"\x10\x00\x10\x00PN")
    tree = tree_of(bytes(raw[:at] + private + raw[at:]))
    told = {one.path: one.value for one in DicomPlaces(tree).occurring()}
    assert told["(0009,GEMS_IDEN_01,02)"] == "v1"
    assert "(0009,0010)" not in told
    ((_, path, value),) = found("dicom", tree, "(0009,GEMS_IDEN_01,02)")
    assert (path, value) == ("(0009,GEMS_IDEN_01,02)", "v1")


def test_a_field_is_explained_by_keyword_tag_and_bytes(folder: Bench) -> None:
    folder.mapping("fields:\n  name: PatientName.ideographic | default(PatientID)\n", source="dicom")
    bench, given_ = folder.given(raw_of())
    (field,) = explain(bench, "m", given_, "name", clear=True).fields
    assert reads(field.rule) == [("PatientName.ideographic", [("PatientName.ideographic", "张^三")])]
    origin = field.rule.reads[0].origins[0]
    assert origin.where == "(0010,0010) PN"
    assert origin.span is not None
    assert "张^三".encode() in raw_of()[origin.span[0] : origin.span[1]]
    (masked,) = explain(bench, "m", given_, "name", clear=False).fields
    assert "张^三" not in str(masked)


@pytest.mark.parametrize("target", ["PatientName", "(0010,0010)"])
def test_an_element_of_a_target_by_keyword_or_tag(folder: Bench, target: str) -> None:
    folder.mapping('fields: {"(0010,0010)": x, PatientID: y}', target="dicom")
    bench, given_ = folder.given('{"x": "Li^Si", "y": "1"}')
    (field,) = explain(bench, "m", given_, target, clear=True).fields
    assert (field.target, field.value) == ("PatientName", "Li^Si")
    with pytest.raises(HubError, match="no rule writes PatientAge"):
        explain(bench, "m", given_, "PatientAge")


def test_items_of_a_target(folder: Bench) -> None:
    folder.mapping(
        "fields:\n  ScheduledProcedureStepSequence: {each: many, Modality: .m}\n"
        "  \"['(0009,SIEMENS CSA HEADER,02)']\": {const: z}\n  ReferencedStudySequence: seq\n",
        target="dicom",
    )
    bench, given_ = folder.given('{"many": [{"m": "CT"}, {"m": "MR"}]}')
    (field,) = explain(bench, "m", given_, "ScheduledProcedureStepSequence[1].(0008,0060)", clear=True).fields
    assert (field.target, field.value) == ("ScheduledProcedureStepSequence[1].Modality", "MR")
    walk = bench.walk(bench.document("m"), given_)
    assert isinstance(walk, DicomWalk)
    assert walk.target_steps("(0009,SIEMENS CSA HEADER,02)") == ("(0009,SIEMENS CSA HEADER,02)",)
    assert walk.target_steps("ScheduledProcedureStepSequence[].Modality") == (
        "ScheduledProcedureStepSequence",
        None,
        "Modality",
    )


def test_copies_of_sequences_and_pages(folder: Bench) -> None:
    folder.mapping(
        "fields:\n  RequestAttributesSequence: RequestAttributesSequence\n  PatientID: PatientID\n",
        source="dicom",
        target="dicom",
    )
    bench, given_ = folder.given(raw_of())
    for clear in (True, False):
        fields = explain(bench, "m", given_, "$", clear=clear).fields
        assert [one.state for one in fields] == ["written", "written"]
    assert "PatientID" in page(bench, "m")
