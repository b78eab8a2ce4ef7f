"""Real files: unchanged byte for byte, read as pydicom reads them, changed in one place only, and damaged in every way."""

from __future__ import annotations

import base64
import itertools
import random
import struct
import warnings
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.multival import MultiValue

from hub.codecs.dicom_set import PIXELS, DataSet, DicomTree
from hub.codecs.dicom_values import person_part
from hub.errors import CodecError
from tests.codecs.dicom_support import CODEC, SAMPLES, by_pydicom, sample_files

pytestmark = pytest.mark.skipif(not sample_files(), reason=f"no samples in {SAMPLES}")
IDS = [path.name for path in sample_files()]


@pytest.mark.parametrize("path", sample_files(), ids=IDS)
def test_untouched_bytes_come_back(path: Path) -> None:
    raw = path.read_bytes()
    tree = CODEC.decode(raw)
    assert CODEC.encode(tree) is raw
    # Every byte behind the meta information belongs to an element, without gaps.
    places = sorted((place.start, place.end) for place in (*tree.places.values(), *tree.meta.places.values()))
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(places))
    assert places[-1][1] == len(raw)


@pytest.mark.parametrize("path", sample_files(), ids=IDS)
def test_values_are_those_pydicom_reads(path: Path) -> None:
    raw = path.read_bytes()
    data_set = by_pydicom(raw)
    assert compared(data_set, CODEC.decode(raw), path.name) > 0
    assert compared(data_set.file_meta, CODEC.decode(raw).meta, path.name) == len(data_set.file_meta)


def compared(theirs: pydicom.Dataset, ours: DataSet, place: str) -> int:
    """How many elements were compared, those of items included."""
    assert {int(tag) for tag in theirs.keys()} == set(ours.places)  # noqa: SIM118
    count = 0
    for tag in ours.places:
        if tag >> 16 == PIXELS:
            assert ours.value(tag) is None
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            element = theirs[tag]
            value = element.value
        count += 1
        where = f"{place} {element.tag}"
        if element.VR == "SQ":
            items = ours.value(tag) or []
            assert len(items) == len(value), where
            count += sum(compared(a, b, f"{where}[{n}]") for n, (a, b) in enumerate(zip(value, items, strict=True)))
        else:
            assert comparable(element.VR, ours.value(tag)) == comparable(element.VR, of_pydicom(element.VR, value)), (
                where
            )
    return count


def of_pydicom(vr: str, value: Any) -> Any:
    if isinstance(value, MultiValue | list):
        return [of_pydicom(vr, item) for item in value] or None
    if value is None or value == "":
        return None
    if vr == "AT":
        return f"{int(value):08X}"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode() or None
    if vr in ("DS", "IS"):
        return str(getattr(value, "original_string", value)).strip()
    return value if isinstance(value, int | float) else str(value)


def comparable(vr: str, value: Any) -> Any:
    if isinstance(value, list):
        return [comparable(vr, item) for item in value]
    if value is None:
        return None
    if vr in ("DS", "IS"):
        try:
            return Decimal(str(value))
        except InvalidOperation:
            return value
    if vr == "FL":
        return struct.pack("f", value)
    if vr == "PN":  # pydicom takes off empty forms at the end
        return value.rstrip("= ") or None
    return value.strip(" \0") or None if isinstance(value, str) else value


NAMES = {
    "chrX1.dcm": ("Wang^XiaoDong=王^小東=", "Wang", "王^小東", "王", "小東", None),
    "chrX2.dcm": ("Wang^XiaoDong=王^小东=", "Wang", "王^小东", "王", "小东", None),
    "chrH31.dcm": ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada", "山田^太郎", "山田", "太郎", "やまだ^たろう"),
    "chrI2.dcm": ("Hong^Gildong=洪^吉洞=홍^길동", "Hong", "洪^吉洞", "洪", "吉洞", "홍^길동"),
    "chrGerm.dcm": ("Äneas^Rüdiger", "Äneas", None, None, None, None),
    "chrRuss.dcm": ("Люкceмбypг", "Люкceмбypг", None, None, None, None),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_in_their_character_sets(name: str) -> None:
    path = SAMPLES / "charsets" / name
    if not path.is_file():
        pytest.skip("not among the samples")
    value = CODEC.decode(path.read_bytes()).get("PatientName")
    forms = person_part(value, "ideographic")
    assert (
        value,
        person_part(value, "family"),
        forms,
        person_part(forms, "family"),
        person_part(forms, "given"),
        person_part(value, "phonetic"),
    ) == NAMES[name]


def every_element(data_set: pydicom.Dataset) -> Iterator[tuple[int, Any]]:
    for tag in data_set.keys():  # noqa: SIM118
        if tag.element:
            yield int(tag), data_set.get_item(tag)


@pytest.mark.parametrize("path", sample_files(), ids=IDS)
def test_a_change_touches_its_element_only(path: Path) -> None:
    raw = path.read_bytes()
    tree = CODEC.decode(raw)
    changed = tree.changed({"PatientID": "NEW-1", "InstitutionName": "H"}, ["PatientBirthDate", "StudyDescription"])
    out = CODEC.encode(changed)
    assert CODEC.encode(tree) is raw
    again = CODEC.decode(out)
    assert (again.get("PatientID"), again.get("InstitutionName")) == ("NEW-1", "H")
    assert "PatientBirthDate" not in by_pydicom(out)
    touched = {0x00100020, 0x00080080, 0x00100030, 0x00081030}
    for tag, place in tree.places.items():
        if tag in touched or not tag & 0xFFFF:
            continue
        now = again.places[tag]
        assert again.data[now.start : now.end] == tree.data[place.start : place.end]
    before, after = by_pydicom(raw), by_pydicom(out)
    assert str(after.get("PatientID")) == "NEW-1"
    assert list(every_element(before.file_meta)) == list(every_element(after.file_meta))


@pytest.mark.parametrize("path", sample_files(), ids=IDS)
def test_another_character_set_changes_no_text(path: Path) -> None:
    raw = path.read_bytes()
    tree = CODEC.decode(raw)
    again = CODEC.decode(CODEC.encode(tree.changed({"SpecificCharacterSet": "ISO_IR 192"})))
    assert again.get("SpecificCharacterSet") == "ISO_IR 192"
    same_text(tree, again)


def same_text(one: DataSet, other: DataSet) -> None:
    for tag in one.places:
        if tag == 0x00080005 or not tag & 0xFFFF:
            continue
        a, b = one.value(tag), other.value(tag)
        if isinstance(a, list) and a and isinstance(a[0], DataSet):
            assert len(a) == len(b)
            for x, y in zip(a, b, strict=True):
                same_text(x, y)
        else:
            assert a == b


def walk(data_set: DataSet, depth: int = 0) -> None:
    for tag in data_set.places:
        value = data_set.value(tag)
        if isinstance(value, list) and depth < 40:
            for entry in value:
                if isinstance(entry, DataSet):
                    walk(entry, depth + 1)


def test_damaged_files_are_refused_or_read_but_never_break_the_codec() -> None:
    random_ = random.Random(20260115)
    files = [path.read_bytes() for path in sample_files()]
    inserted = (b"\xff" * 4, b"\xfe\xff\x00\xe0\xff\xff\xff\xff", b"SQ", b"UN", b"\xfe\xff\xdd\xe0\0\0\0\0", bytes(8))
    refused = 0
    for _ in range(3000):
        data = bytearray(random_.choice(files))
        for _ in range(random_.choice((1, 1, 2, 5, 20))):
            at = random_.randrange(min(len(data) or 1, random_.choice((400, 2000, 1_000_000))))
            kind = random_.random()
            if kind < 0.5:
                data[at : at + 1] = random_.randbytes(1)
            elif kind < 0.65:
                del data[at : at + random_.choice((1, 2, 8, 100))]
            elif kind < 0.9:
                data[at:at] = random_.choice(inserted)
            else:
                del data[at + 1 :]
        try:
            tree = CODEC.decode(bytes(data))
            CODEC.envelope(tree)
            walk(tree)
            CODEC.encode(tree.changed({"SpecificCharacterSet": "GB18030", "PatientName": "张^三"}, ["PatientID"]))
        except CodecError:
            refused += 1
    assert refused > 500


@pytest.mark.parametrize("path", sample_files()[:20], ids=IDS[:20])
def test_files_cut_off_are_refused_or_end_between_elements(path: Path) -> None:
    raw = path.read_bytes()
    whole = CODEC.decode(raw)
    ends = {place.end for place in (*whole.places.values(), *whole.meta.places.values())}
    for size in range(0, min(len(raw), 3000), 7):
        code, tree = decoded(raw[:size])
        if tree is None:
            assert code in ("dicom.truncated", "dicom.not_dicom"), size
        else:
            # Nothing but zeros, which may fill up a block, is behind the last element.
            assert not any(raw[max(end for end in ends if end <= size) : size])
            assert set(tree.places) <= set(whole.places)


def decoded(raw: bytes) -> tuple[str, DicomTree | None]:
    """(code of the error, tree)."""
    try:
        return "", CODEC.decode(raw)
    except CodecError as error:
        return error.code, None
