"""Encoding DICOM: new files as pydicom reads them, character sets, and what can't be written."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.codecs.dicom_charset import decode_text, encode_text
from hub.codecs.dicom_values import person_part
from hub.codecs.dicom_write import IMPLEMENTATION
from tests.codecs.dicom_support import (
    BIG,
    CODEC,
    IMPLICIT,
    PATIENT,
    by_pydicom,
    element,
    file,
    item,
    not_written,
    read,
    sequence,
    written,
)

TREE: dict[str, Any] = {
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
    "SOPInstanceUID": "1.2.3.4",
    "PatientName": "Wang^XiaoDong=王^小东",
    "PatientBirthDate": "19830502",
    "PatientSex": None,
    "OtherPatientIDs": ["A1", None, "B2"],
    "PatientWeight": Decimal("62.50"),
    "PatientSize": 1.75,
    "SeriesNumber": 7,
    "Rows": 512,
    "PixelAspectRatio": [1, 1],
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    "FrameIncrementPointer": "00181063",
    "EncapsulatedDocument": "JVBERg==",
    "DiffusionBValue": 0.1,
    "ScheduledProcedureStepSequence": [
        {
            "Modality": "CT",
            "ScheduledProtocolCodeSequence": [{"CodeValue": "C1", "CodeMeaning": "胸部"}, {}],
        }
    ],
    "(0008,103E)": "系列",
    "(0009,GEMS_IDEN_01,02)": "S1",
    "(0009,GEMS_IDEN_01,04)": "P1",
}


def test_a_new_file() -> None:
    raw = CODEC.encode(TREE)
    data_set = by_pydicom(raw)
    meta = data_set.file_meta
    assert meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert meta.MediaStorageSOPClassUID == TREE["SOPClassUID"]
    assert meta.MediaStorageSOPInstanceUID == "1.2.3.4"
    assert meta.ImplementationClassUID == IMPLEMENTATION
    assert meta.FileMetaInformationVersion == b"\0\1"
    assert raw[132:][: 12 + meta.FileMetaInformationGroupLength][-8:] == b"SH\6\0TONGQU"[-8:]
    assert data_set.SpecificCharacterSet == "ISO_IR 192"
    assert data_set.PatientName.ideographic == "王^小东"
    assert data_set.PatientSex == ""
    assert list(data_set.OtherPatientIDs) == ["A1", "", "B2"]
    assert data_set.PatientWeight.original_string == "62.50"
    assert data_set.SeriesNumber == 7
    assert data_set["Rows"].VR == "US"
    assert data_set["Rows"].value == 512
    assert data_set["FrameIncrementPointer"].value == 0x00181063
    assert data_set.EncapsulatedDocument == b"%PDF"
    assert data_set.DiffusionBValue == 0.1
    assert [
        code.get("CodeMeaning") for code in data_set.ScheduledProcedureStepSequence[0].ScheduledProtocolCodeSequence
    ] == [
        "胸部",
        None,
    ]
    assert data_set.SeriesDescription == "系列"
    assert data_set.private_block(0x0009, "GEMS_IDEN_01")[0x04].value == "P1"
    # In order, and the same again.
    assert [int(tag) for tag in data_set.keys()] == sorted(int(tag) for tag in data_set.keys())  # noqa: SIM118
    tree = CODEC.decode(raw)
    assert CODEC.envelope(tree) == ("DICOM", "1.2.3.4")
    values = {key: tree.get(key) for key in TREE if not key.endswith("Sequence")}
    assert values == {key: value for key, value in TREE.items() if not key.endswith("Sequence")}
    assert type(tree.get("PatientWeight")) is Decimal


def test_an_empty_tree_is_a_file() -> None:
    assert [int(tag) for tag in written({}).keys()] == [0x00080005]  # noqa: SIM118


def test_meta_information_can_be_set() -> None:
    assert written({"SourceApplicationEntityTitle": "HUB"}).file_meta.SourceApplicationEntityTitle == "HUB"
    assert not_written({"TransferSyntaxUID": IMPLICIT}).code == "dicom.syntax"
    tree = CODEC.decode(file(PATIENT))
    assert (
        written(tree.changed({"SourceApplicationEntityTitle": "HUB"})).file_meta.SourceApplicationEntityTitle == "HUB"
    )
    assert not_written(tree.changed({"TransferSyntaxUID": IMPLICIT})).code == "dicom.syntax"


@pytest.mark.parametrize(
    ("tree", "code", "place"),
    [
        ({"Nonsense": "x"}, "dicom.keyword", "Nonsense"),
        ({7: "x"}, "dicom.keyword", "7"),
        ({"PixelData": "AA=="}, "dicom.pixels", "PixelData"),
        ({"PatientID": {"a": 1}}, "dicom.value", "PatientID"),
        ({"PatientID": True}, "dicom.value", "PatientID"),
        ({"PatientID": "a\\b"}, "dicom.value", "PatientID"),
        ({"PatientID": "x" * 65}, "dicom.value", "PatientID"),
        ({"PatientName": "x" * 65}, "dicom.value", "PatientName"),
        ({"AccessionNumber": "x" * 17}, "dicom.value", "AccessionNumber"),
        ({"PatientBirthDate": "1983-05-02"}, "dicom.value", "PatientBirthDate"),
        ({"StudyTime": "09:30"}, "dicom.value", "StudyTime"),
        ({"SOPInstanceUID": "x"}, "dicom.value", "SOPInstanceUID"),
        ({"SOPInstanceUID": "1" * 65}, "dicom.value", "SOPInstanceUID"),
        ({"PatientWeight": "x"}, "dicom.value", "PatientWeight"),
        ({"PatientWeight": Decimal("1.23456789012345678")}, "dicom.value", "PatientWeight"),
        ({"PatientWeight": Decimal("NaN")}, "dicom.value", "PatientWeight"),
        ({"SeriesNumber": 1.5}, "dicom.value", "SeriesNumber"),
        ({"SeriesNumber": 10**20}, "dicom.value", "SeriesNumber"),
        ({"Rows": 70000}, "dicom.value", "Rows"),
        ({"Rows": -1}, "dicom.value", "Rows"),
        ({"Rows": float("inf")}, "dicom.value", "Rows"),
        ({"Rows": 1.5}, "dicom.value", "Rows"),
        ({"Rows": "x"}, "dicom.value", "Rows"),
        ({"FrameIncrementPointer": "x"}, "dicom.value", "FrameIncrementPointer"),
        ({"EncapsulatedDocument": "%%"}, "dicom.value", "EncapsulatedDocument"),
        ({"TextValue": ["a", "b"]}, "dicom.value", "TextValue"),
        ({"ContentSequence": "x"}, "dicom.item", "ContentSequence[0]"),
        ({"ContentSequence": [{}, {"ContentSequence": [{"PatientID": [[]]}]}]}, "dicom.value", "ContentSequence[1].ContentSequence[0].PatientID"),
        ({"(0009,1002)": "x"}, "dicom.vr", "(0009,1002)"),
        ({"SpecificCharacterSet": "KOI8"}, "dicom.charset", "SpecificCharacterSet"),
        ({"SpecificCharacterSet": "ISO_IR 100", "PatientName": "王"}, "dicom.charset", "PatientName"),
        ({"SpecificCharacterSet": "GB18030", "Modality": "王"}, "dicom.charset", "Modality"),
        ([], "dicom.tree", ""),
        ("x", "dicom.tree", ""),
    ],
)  # fmt: skip
def test_not_written(tree: Any, code: str, place: str) -> None:
    error = not_written(tree)
    assert (error.code, error.place) == (code, place)
    assert "王" not in str(error)


def test_a_vr_that_depends_on_another_element() -> None:
    for signed, value in ((0, 65535), (1, -5)):
        data_set = written({"PixelRepresentation": signed, "SmallestImagePixelValue": value})
        assert data_set.SmallestImagePixelValue == value
    assert not_written({"SmallestImagePixelValue": -5}).place == "SmallestImagePixelValue"
    assert written({"PixelRepresentation": 0, "LUTData": "AQI="})["LUTData"].VR == "OW"


def test_items_are_in_the_character_set_of_the_file() -> None:
    raw = CODEC.encode({"ContentSequence": [{"SpecificCharacterSet": "GB18030", "TextValue": "中"}]})
    assert by_pydicom(raw).ContentSequence[0].TextValue == "中"
    assert "SpecificCharacterSet" not in by_pydicom(raw).ContentSequence[0]


def test_depth_of_a_tree_is_limited() -> None:
    tree: dict[str, Any] = {}
    for _ in range(500):
        tree = {"ContentSequence": [tree]}
    assert not_written(tree).code == "dicom.depth"


# -- character sets ----------------------------------------------------------------------------------------------------

CHINESE = [["ISO_IR 192"], ["GB18030"], ["GBK"], ["", "ISO 2022 IR 58"], ["ISO 2022 IR 6", "ISO 2022 IR 58"]]


@pytest.mark.parametrize("terms", CHINESE)
def test_chinese_names_in_every_set(terms: list[str]) -> None:
    name, text = "Zhang^XiaoDong=张^小东=", "第一行\r\n第二行：江苏镇江（东）"
    out = CODEC.encode({"SpecificCharacterSet": terms, "PatientName": name, "PatientComments": text})
    assert read(out, "PatientName", "PatientComments") == [name, text]
    if len(terms) == 1:
        assert by_pydicom(out).PatientName.ideographic == "张^小东"
        assert by_pydicom(out).PatientComments == text


#: The name of the example in PS3.5, annex K, byte for byte.
NAME_58 = b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab="


def test_iso_2022_ir_58_as_the_standard_writes_it() -> None:
    terms = ("", "ISO 2022 IR 58")
    assert decode_text(NAME_58, terms) == "Zhang^XiaoDong=张^小东="
    assert encode_text("Zhang^XiaoDong=张^小东=", terms) == NAME_58
    # Many write the escape sequence once for the whole name.
    assert decode_text(b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\xd0\xa1\xb6\xab=", terms) == "Zhang^XiaoDong=张^小东="


def test_bytes_within_characters_that_look_like_separators() -> None:
    backslash, caret = b"\x81\\\x87\\".decode("gbk"), b"\x81^\x8f^".decode("gbk")
    assert len(backslash) == len(caret) == 2
    for terms in ("GBK", "GB18030"):
        out = CODEC.encode({"SpecificCharacterSet": terms, "OtherPatientNames": [f"{backslash}^{caret}", caret]})
        assert read(out, "OtherPatientNames") == [f"{backslash}^{caret}", caret]
        assert person_part(read(out, "OtherPatientNames")[0], "given") == caret


@pytest.mark.parametrize("sent", ["utf-8", "gb18030"])
def test_characters_nobody_declared(sent: str) -> None:
    raw = file(element(0x00100010, "PN", "张三丰".encode(sent) + b" " * (len("张三丰".encode(sent)) & 1)))
    assert read(raw, "PatientName") == "张三丰"


def test_the_contract_knows_better() -> None:
    raw = file(element(0x00080005, "CS", b"ISO_IR 100") + element(0x00100010, "PN", "张三".encode("gb18030")))
    assert read(raw, "PatientName") == "ÕÅÈý"
    tree = CODEC.decode(raw, encoding="gb18030")
    assert tree.get("PatientName") == "张三"
    out = CODEC.encode(tree.changed({"SpecificCharacterSet": "ISO_IR 192", "PatientID": "王"}))
    assert read(out, "SpecificCharacterSet", "PatientName", "PatientID") == ["ISO_IR 192", "张三", "王"]
    assert CODEC.encode(tree) is raw


def test_text_cut_in_a_character_shows_it() -> None:
    raw = file(element(0x00080005, "CS", b"GB18030 ") + element(0x00100020, "LO", "张三".encode("gb18030")[:3] + b" "))
    assert read(raw, "PatientID") == "张\ufffd"


def test_an_item_may_have_its_own_character_set() -> None:
    inner = item(element(0x00080005, "CS", b"GB18030 ") + element(0x00080104, "LO", "胸部".encode("gb18030")))
    outer = item(element(0x00080104, "LO", "胸".encode() + b" "))
    raw = file(element(0x00080005, "CS", b"ISO_IR 192") + sequence(0x00321064, inner, outer))
    items = read(raw, "RequestedProcedureCodeSequence")
    assert [code.get("CodeMeaning") for code in items] == ["胸部", "胸"]
    again = CODEC.encode(CODEC.decode(raw).changed({"SpecificCharacterSet": ["", "ISO 2022 IR 58"]}))
    items = read(again, "RequestedProcedureCodeSequence")
    assert [code.get("CodeMeaning") for code in items] == ["胸部", "胸"]
    assert [code.terms for code in items] == [("", "ISO 2022 IR 58")] * 2


# -- copies ------------------------------------------------------------------------------------------------------------


def test_items_of_another_data_set_are_copied() -> None:
    numbers = element(0x00280010, "US", b"\2\0", big=True) + element(0x00089459, "FL", b"\x3f\x80\0\0", big=True)
    entry = element(0xFFFEE000, "", element(0x00080104, "LO", b"x ", big=True) + numbers, big=True)
    source = CODEC.decode(file(element(0x00081199, "SQ", entry, big=True), BIG))
    copied = source.get("ReferencedSOPSequence")
    assert [copied[0].get(key) for key in ("CodeMeaning", "Rows")] == ["x", 512]
    out = CODEC.encode({"ReferencedSOPSequence": copied, "PatientName": "王"})
    (again,) = read(out, "ReferencedSOPSequence")
    assert [again.get(key) for key in ("CodeMeaning", "Rows", "RecommendedDisplayFrameRateInFloat")] == ["x", 512, 1.0]
    target = CODEC.decode(file(element(0x00100020, "", b"P1"), IMPLICIT))
    (again,) = read(CODEC.encode(target.changed({"ReferencedSOPSequence": copied})), "ReferencedSOPSequence")
    assert [again.get(key) for key in ("CodeMeaning", "Rows")] == ["x", 512]


def test_private_elements_find_their_block() -> None:
    raw = file(element(0x00090010, "LO", b"OTHER ") + element(0x00091001, "LO", b"x "))
    tree = CODEC.decode(raw)
    data_set = written(tree.changed({"(0009,GEMS_IDEN_01,02)": "S1"}))
    assert data_set.private_block(0x0009, "OTHER")[0x01].value == "x"
    assert data_set.private_block(0x0009, "GEMS_IDEN_01")[0x02].value == "S1"
    again = CODEC.decode(CODEC.encode(tree.changed({"(0009,GEMS_IDEN_01,02)": "S1"})))
    assert again.places.keys() - CODEC.decode(
        CODEC.encode(again.changed({}, ["(0009,GEMS_IDEN_01,02)"]))
    ).places.keys() == {0x00091102}


def test_group_lengths_do_not_survive_a_change() -> None:
    raw = file(element(0x00080000, "UL", b"\x0a\0\0\0") + element(0x00080060, "CS", b"CT") + PATIENT[10:])
    assert 0x00080000 not in written(CODEC.decode(raw).changed({"PatientID": "X"}))


# -- properties --------------------------------------------------------------------------------------------------------

texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="\\"), min_size=1, max_size=16
)
trees = st.deferred(
    lambda: st.fixed_dictionaries(
        {},
        optional={
            "PatientName": texts.map(lambda text: text.replace("=", "-")),
            "PatientID": texts,
            "PatientComments": texts,
            "OtherPatientNames": st.lists(texts, min_size=2, max_size=4),
            "SeriesNumber": st.integers(-(10**10), 10**11),
            "PatientWeight": st.decimals("0", "999", places=2),
            "Rows": st.integers(0, 65535),
            "ReferencePixelX0": st.integers(-(2**31), 2**31 - 1),
            "DiffusionBValue": st.floats(allow_nan=False, allow_infinity=False),
            "ContentSequence": st.lists(trees, min_size=1, max_size=2),
        },
    )
)


def plain(tree: Any, keys: dict[str, Any]) -> dict[str, Any]:
    """The values a tree was made of, read back."""
    found = {}
    for key, value in keys.items():
        read_back = tree.get(key)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            read_back = [plain(one, other) for one, other in zip(read_back, value, strict=True)]
        found[key] = Decimal(str(read_back)) if isinstance(value, Decimal) else read_back
    return found


@settings(max_examples=150, deadline=None)
@given(trees, st.sampled_from(["ISO_IR 192", "GB18030"]))
def test_what_is_written_is_read(tree: dict[str, Any], charset: str) -> None:
    raw = CODEC.encode({**tree, "SpecificCharacterSet": charset})
    again = CODEC.decode(raw)
    assert plain(again, tree) == tree
    assert CODEC.encode(CODEC.decode(raw).changed({"SpecificCharacterSet": charset})) == raw
