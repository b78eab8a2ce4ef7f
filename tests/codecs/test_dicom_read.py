"""Decoding DICOM: syntaxes, sequences, what is no DICOM, and hostile bytes."""

from __future__ import annotations

import contextlib
import struct
import zlib
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.codecs import dicom_read
from hub.codecs.dicom_read import MAX_DEPTH, MAX_ELEMENTS, MAX_ITEMS
from hub.errors import CodecError
from tests.codecs.dicom_support import (
    BIG,
    CODEC,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    PATIENT,
    UNDEFINED,
    element,
    file,
    item,
    read,
    refused,
    sequence,
)

STEPS = 0x00400100
MODALITY = element(0x00080060, "CS", b"CT")


def deflated(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


IMPLICIT_PATIENT = (
    element(0x00080060, "", b"CT") + element(0x00100010, "", b"Zhang^San ") + element(0x00100020, "", b"P1")
)
BIG_PATIENT = (
    element(0x00080060, "CS", b"CT", big=True)
    + element(0x00100010, "PN", b"Zhang^San ", big=True)
    + element(0x00100020, "LO", b"P1", big=True)
)


@pytest.mark.parametrize(
    "raw",
    [
        file(PATIENT),
        file(PATIENT)[132:],
        file(IMPLICIT_PATIENT, IMPLICIT),
        file(PATIENT, IMPLICIT),  # the bytes are explicit, whatever the file says
        file(BIG_PATIENT, BIG),
        file(deflated(PATIENT), DEFLATED),
        file(deflated(PATIENT) + b"\0", DEFLATED),
        file(PATIENT, "1.2.840.10008.1.2.4.50"),
        PATIENT,
        IMPLICIT_PATIENT,
        BIG_PATIENT,
        file(PATIENT) + bytes(512),
        b"\0" * 128 + b"DICM" + PATIENT,
    ],
)
def test_every_form_of_a_data_set(raw: bytes) -> None:
    tree = CODEC.decode(raw)
    assert [tree.get(key) for key in ("PatientName", "PatientID", "Modality")] == ["Zhang^San", "P1", "CT"]
    assert CODEC.encode(tree) is raw
    assert CODEC.envelope(tree) == ("DICOM.CT", "")
    again = CODEC.decode(CODEC.encode(tree.changed({"PatientID": "P22", "SOPInstanceUID": "1.2"}, ["PatientName"])))
    assert [again.get(key) for key in ("PatientName", "PatientID", "Modality")] == [None, "P22", "CT"]
    assert CODEC.envelope(again) == ("DICOM.CT", "1.2")
    assert again.get("TransferSyntaxUID") == tree.get("TransferSyntaxUID")


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("vr", ["SQ", "", "UN"])
def test_sequences(undefined: bool, inner: bool, vr: str) -> None:
    written = "" if vr in ("", "UN") else vr  # in what has no VR everything is implicit

    def of(tag: int, kind: str, value: bytes) -> bytes:
        return element(tag, kind if written else "", value)

    codes = sequence(0x00400008, item(of(0x00080100, "SH", b"C1")), undefined=inner, vr=written)
    first = item(of(0x00080060, "CS", b"CT") + codes + of(0x00400002, "DA", b"20260115"), undefined=inner)
    raw = sequence(STEPS, first, item(b""), item(of(0x00080060, "CS", b"MR")), undefined=undefined, vr=vr)
    after = element(0x00401001, "SH" if vr else "", b"R1")
    tree = CODEC.decode(file(raw + after, EXPLICIT if vr else IMPLICIT))
    steps = tree.get("ScheduledProcedureStepSequence")
    assert [step.get("Modality") for step in steps] == ["CT", None, "MR"]
    assert steps[0].get("ScheduledProtocolCodeSequence")[0].get("CodeValue") == "C1"
    assert steps[0].get("ScheduledProcedureStepStartDate") == "20260115"
    assert tree.get("RequestedProcedureID") == "R1"


def test_a_sequence_no_dictionary_knows() -> None:
    raw = sequence(0x00091001, item(element(0x00080060, "", b"CT")), undefined=True, vr="")
    assert read(file(raw, IMPLICIT), "(0009,1001)")[0].get("Modality") == "CT"


def test_names_of_elements() -> None:
    creator = element(0x00090011, "LO", b"GEMS_IDEN_01")
    raw = file(creator + element(0x00091102, "SH", b"S1") + PATIENT[len(MODALITY) :])
    tree = CODEC.decode(raw)
    assert tree.get("(0010,0010)") == tree.get("PatientName") == "Zhang^San"
    assert tree.get("(0009,GEMS_IDEN_01,02)") == tree.get("(0009,1102)") == "S1"
    assert tree.get("(0009,OTHER,02)") is None
    assert tree.get("(0009,0011)") == "GEMS_IDEN_01"
    for wrong in ("Nonsense", "00100010", "(10,10)", "(0008,X,02)", "", "(0010,0010"):
        assert tree.get(wrong, "none") == "none"
    # A private element of implicit syntax has the VR its creator says.
    implicit = element(0x00090011, "", b"GEMS_IDEN_01") + element(0x00091102, "", b"S1")
    assert read(file(implicit, IMPLICIT), "(0009,GEMS_IDEN_01,02)") == "S1"
    assert read(file(implicit, IMPLICIT), "(0009,GEMS_IDEN_01,7F)") is None


def test_pixel_data_are_never_read() -> None:
    fragments = item(b"\0\0\0\0") + item(b"\xfe\xff\xdd\xe0" + bytes(8))
    raw = file(PATIENT + element(0x7FE00010, "OB", fragments, length=UNDEFINED) + element(0xFFFEE0DD, "", b""))
    tree = CODEC.decode(raw)
    assert tree.get("PixelData") is None
    assert tree.get("PatientID") == "P1"
    assert CODEC.decode(CODEC.encode(tree.changed({"PatientID": "X"}))).places[0x7FE00010].end > 0
    assert CODEC.encode(tree.changed({"PatientID": "X1"})) == raw.replace(b"P1", b"X1")


@pytest.mark.parametrize("cut", [8, 9, 12, 20])
def test_deflated_data_that_end_too_early(cut: int) -> None:
    assert refused(file(deflated(PATIENT)[:-cut], DEFLATED)).code == "dicom.truncated"


def test_a_deflate_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_read, "MAX_INFLATED", 1 << 20)
    assert refused(file(deflated(bytes(50 << 20)), DEFLATED)).code == "dicom.bomb"
    assert refused(file(b"\xff" * 20, DEFLATED)).code == "dicom.deflate"


# -- refused -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"DICM",
        b"MSH|^~\\&|HIS|H1|HUB|C|20260101120000||ADT^A01|MSG1|P|2.5\r",
        b'{"resourceType": "Patient"}',
        b"<?xml version='1.0'?><a/>",
        bytes(1000),
        b"\xff" * 1000,
        b"\x08\x00",
        "中文文本，不是 DICOM".encode("gb18030"),
    ],
)
def test_what_is_not_dicom(raw: bytes) -> None:
    assert refused(raw).code == "dicom.not_dicom"


def test_gzip_is_told() -> None:
    assert "gzip" in refused(b"\x1f\x8b\x08" + bytes(50)).remedy


@pytest.mark.parametrize(
    ("body", "code", "place"),
    [
        (element(0x00100010, "PN", b"Zhang^San", length=50), "dicom.truncated", "byte 172 (0010,0010) PatientName"),
        (element(0x00420011, "OB", b"x", length=50), "dicom.truncated", "EncapsulatedDocument"),
        (PATIENT + b"\x20\x00\x10", "dicom.truncated", "byte 210"),
        (element(STEPS, "SQ", item(MODALITY, undefined=False), length=UNDEFINED), "dicom.truncated", "byte 184 (0040,0100)"),
        (sequence(STEPS, MODALITY, undefined=True), "dicom.sequence", "byte 184 (0040,0100)"),
        (sequence(STEPS, element(0xFFFEE000, "", MODALITY, length=UNDEFINED), undefined=True), "dicom.sequence", ""),
        (item(MODALITY), "dicom.sequence", "byte 172"),
        (PATIENT + element(0x00100020, "LO", b"P2"), "dicom.twice", "byte 210 (0010,0020) PatientID"),
        (element(0x00080018, "UI", b"12")[:9], "dicom.truncated", ""),
    ],
)  # fmt: skip
def test_damaged_files(body: bytes, code: str, place: str) -> None:
    error = refused(file(body))
    assert error.code == code
    assert error.place.startswith("byte ")
    assert place in error.place


def test_the_same_element_twice_is_read_once() -> None:
    raw = file(PATIENT + element(0x00100020, "LO", b"P1"))
    assert read(raw, "PatientID") == "P1"
    assert CODEC.encode(CODEC.decode(raw)) is raw


def test_bare_data_sets_must_be_in_order() -> None:
    assert refused(PATIENT + MODALITY.replace(b"\x60", b"\x61")).code == "dicom.order"


def test_damage_within_a_sequence_is_told_when_it_is_read() -> None:
    tree = CODEC.decode(file(sequence(STEPS, item(element(0x00080060, "CS", b"CT", length=40)))))
    with pytest.raises(CodecError) as caught:
        tree.get("ScheduledProcedureStepSequence")
    assert caught.value.code == "dicom.truncated"


# -- hostile -----------------------------------------------------------------------------------------------------------


def nested(levels: int, undefined: bool) -> bytes:
    raw = MODALITY
    for _ in range(levels):
        raw = sequence(STEPS, item(raw, undefined=undefined), undefined=undefined)
    return raw


def test_depth_of_sequences_is_limited() -> None:
    tree: Any = CODEC.decode(file(nested(MAX_DEPTH, True)))
    for _ in range(MAX_DEPTH):
        tree = tree.get("ScheduledProcedureStepSequence")[0]
    assert tree.get("Modality") == "CT"
    assert refused(file(nested(MAX_DEPTH + 1, True))).code == "dicom.depth"
    assert (
        refused(file(sequence(STEPS, item(b"", undefined=True), undefined=True)[:20] * 100_000)).code == "dicom.depth"
    )
    # What has a length is looked into one level at a time; a whole copy has its limit.
    deep = CODEC.decode(file(nested(200, False)))
    with pytest.raises(CodecError) as caught:
        CODEC.encode(deep.changed({"SpecificCharacterSet": "GB18030"}))
    assert caught.value.code == "dicom.depth"


def test_number_of_elements_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    many = b"".join(element(0x00110000 + number, "", b"") for number in range(1, MAX_ELEMENTS + 2))
    assert len(CODEC.decode(file(many[:-8], IMPLICIT)).places) == MAX_ELEMENTS
    assert refused(file(many, IMPLICIT)).code == "dicom.elements"
    monkeypatch.setattr(dicom_read, "MAX_HEADERS", 1000)
    assert refused(file(sequence(STEPS, *[item(b"")] * 1001, undefined=True))).code == "dicom.elements"


def test_number_of_items_is_limited() -> None:
    tree = CODEC.decode(file(sequence(STEPS, item(b"") * (MAX_ITEMS + 1))))
    with pytest.raises(CodecError) as caught:
        tree.get("ScheduledProcedureStepSequence")
    assert caught.value.code == "dicom.elements"


def test_zeros_are_no_elements() -> None:
    assert refused(file(PATIENT + bytes(800_000) + b"x")).code == "dicom.element"
    assert read(file(PATIENT + bytes(800_000)), "PatientID") == "P1"


@settings(max_examples=300)
@given(st.binary(max_size=300), st.sampled_from([b"", file(b"")[:132], file(b""), PATIENT, file(PATIENT)]))
def test_any_bytes_are_read_or_refused(raw: bytes, before: bytes) -> None:
    with contextlib.suppress(CodecError):
        tree = CODEC.decode(before + raw)
        for tag in tree.places:
            with contextlib.suppress(CodecError):
                tree.value(tag)


# -- values ------------------------------------------------------------------------------------------------------------


def single(vr: str, raw: bytes, big: bool = False) -> Any:
    return CODEC.decode(file(element(0x00091001, vr, raw, big=big), BIG if big else EXPLICIT)).value(0x00091001)


@pytest.mark.parametrize(
    ("vr", "raw", "value"),
    [
        ("LO", b"", None),
        ("LO", b"  ", None),
        ("LO", b" a b ", "a b"),
        ("LO", b"a\\\\b ", ["a", None, "b"]),
        ("LT", b" a\\b ", " a\\b"),
        ("UT", b"x\0", "x"),
        ("UI", b"1.2.3\0", "1.2.3"),
        ("DA", b"20260115", "20260115"),
        ("TM", b"093015.123 ", "093015.123"),
        ("IS", b"-007 ", -7),
        ("IS", b"1\\2", [1, 2]),
        ("IS", b"x ", "x"),
        ("DS", b"12", 12),
        ("DS", b"1.5 ", 1.5),
        ("DS", b"1.50", Decimal("1.50")),
        ("DS", b"0.12345678901234", 0.12345678901234),
        ("DS", b"-1.20E+03 ", Decimal("-1.20E+03")),
        ("DS", b"1.0\\2.50", [1.0, Decimal("2.50")]),
        ("DS", b"NaN ", "NaN"),
        ("US", b"\x01\x02", 0x0201),
        ("US", b"\x01\0\x02\0", [1, 2]),
        ("SS", b"\xff\xff", -1),
        ("UL", b"\x01\0\0\x80", 0x80000001),
        ("SL", b"\xff\xff\xff\xff", -1),
        ("SV", b"\xff" * 8, -1),
        ("UV", b"\xff" * 8, 2**64 - 1),
        ("FL", struct.pack("<f", 0.1), 0.1),
        ("FL", struct.pack("<f", 16777217.0), 16777216.0),
        ("FD", struct.pack("<d", 0.1), 0.1),
        ("AT", b"\x10\0\x20\0", "00100020"),
        ("OB", b"\0\x01", "AAE="),
        ("UN", b"\0\x01", "AAE="),
        ("US", b"\x01", None),
    ],
)
def test_values(vr: str, raw: bytes, value: object) -> None:
    found = single(vr, raw)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("vr", "form"), [("US", "H"), ("SS", "h"), ("UL", "L"), ("SL", "l"), ("FD", "d"), ("FL", "f")])
def test_big_endian_numbers(vr: str, form: str) -> None:
    assert single(vr, struct.pack(f">2{form}", 1, 2), big=True) == [1, 2]


def digits(value: float) -> int:
    """Significant digits of the shortest text that gives the value back."""
    return len(Decimal(repr(value)).normalize().as_tuple().digits)


@given(st.floats(width=32, allow_nan=False))
def test_single_precision_has_no_digits_too_many(value: float) -> None:
    found = single("FL", struct.pack("<f", value))
    assert struct.pack("<f", found) == struct.pack("<f", value)
    assert digits(found) <= digits(value)


def test_a_vr_that_depends_on_another_element() -> None:
    smallest = element(0x00280106, "", b"\xff\xff")
    for signed, value in ((b"\0\0", 65535), (b"\1\0", -1)):
        raw = element(0x00280103, "", signed) + smallest
        assert read(file(raw, IMPLICIT), "SmallestImagePixelValue") == value
        (inner,) = read(file(raw + sequence(STEPS, item(smallest), vr=""), IMPLICIT), "ScheduledProcedureStepSequence")
        assert inner.get("SmallestImagePixelValue") == value
    assert read(file(smallest, IMPLICIT), "SmallestImagePixelValue") == 65535
