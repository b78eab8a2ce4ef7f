"""Data sets as JSON and back; the meaning of status codes; numbers that don't fit into a double."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.dicom.model import as_fields, bare, dumps, json_model, plain, read_bare, read_json
from adapters.dicom.status import reply_of
from hub.api import CodecError

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
_TEXT = st.text(st.sampled_from("ABCz 19张王李龘é-."), min_size=1, max_size=12).map(str.strip).filter(bool)
_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "PatientName": st.tuples(_TEXT, _TEXT).map(lambda pair: f"Wang^Li={pair[0]}^{pair[1]}"),
        "PatientID": _TEXT,
        "StudyDate": st.sampled_from(["20260115", "20260101-20260131"]),
        "ModalitiesInStudy": st.lists(st.sampled_from(["CT", "MR", "DX"]), min_size=2, max_size=3),
        "NumberOfStudyRelatedInstances": st.integers(0, 99999),
        "PatientWeight": st.sampled_from([70, 70.5, 1e-3]),
        "AccessionNumber": st.none(),
        "ScheduledProcedureStepSequence": st.lists(
            st.fixed_dictionaries({"Modality": st.sampled_from(["CT", "MR"])}), min_size=1, max_size=3
        ),
    },
)


@settings(deadline=None, max_examples=60)
@given(fields=_FIELDS, explicit=st.booleans(), charset=st.sampled_from(["", "GB18030", "ISO 2022 IR 58"]))
def test_there_and_back(fields: dict[str, Any], explicit: bool, charset: str) -> None:
    syntax = EXPLICIT if explicit else IMPLICIT
    raw = bare(fields, explicit=explicit, charset=charset)
    tree = read_bare(raw, syntax)
    expected = dict(sorted(fields.items()))
    assert dict(sorted(plain(tree).items())) == expected
    model = read_json(dumps(json_model(tree)))
    again = read_bare(bare(as_fields(model), explicit=explicit, charset=charset), syntax)
    assert plain(again) == plain(tree)


def test_a_character_set_that_lacks_a_character_becomes_utf8() -> None:
    tree = read_bare(bare({"PatientName": "龘"}, explicit=True, charset="ISO 2022 IR 58"), EXPLICIT)
    assert (tree.get("PatientName"), tree.get("SpecificCharacterSet")) == ("龘", "ISO_IR 192")


def test_json_has_every_digit() -> None:
    raw = bare({"PatientWeight": "70.50"}, explicit=True)
    assert json.loads(dumps(json_model(read_bare(raw, EXPLICIT))))["00101030"]["Value"] == ["70.50"]


@pytest.mark.parametrize(
    "tree",
    [
        [],
        "text",
        {"NoSuchKeyword": "1"},
        {"00100010": "text"},
        {"00100010": {"vr": "PN", "BulkDataURI": "http://elsewhere"}},
        {"PatientBirthDate": "1983-05-02"},
        {"ScheduledProcedureStepSequence": "text"},
    ],
)
def test_what_is_no_data_set(tree: Any) -> None:
    with pytest.raises(CodecError):
        bare(as_fields(tree), explicit=True)


def test_nesting_has_a_limit() -> None:
    tree: dict[str, Any] = {"Modality": "CT"}
    for _ in range(100):
        tree = {"ScheduledProcedureStepSequence": [tree]}
    with pytest.raises(CodecError) as caught:
        as_fields(tree)
    assert caught.value.code == "dicom.depth"


@pytest.mark.parametrize(
    ("status", "repeated", "ok", "transient"),
    [
        (0x0000, False, True, False),
        (0xB000, False, True, False),
        (0xB007, False, True, False),
        (0x0107, False, True, False),
        (0xA700, False, False, True),
        (0xA702, False, False, True),
        (0x0213, False, False, True),
        (0xFE00, False, False, True),
        (0xA801, False, False, False),
        (0xA900, False, False, False),
        (0xC000, False, False, False),
        (0xC123, False, False, False),
        (0x0122, False, False, False),
        (0x0110, False, False, False),
        (0x0111, False, False, False),
        (0x0111, True, True, False),
    ],
)
def test_status_codes(status: int, repeated: bool, ok: bool, transient: bool) -> None:
    reply = reply_of(status, SimpleNamespace(ErrorComment="no room for 13800001111"), repeated=repeated)
    assert (reply.ok, reply.transient, reply.code) == (ok, transient, f"{status:04X}")
    assert "13800001111" not in reply.error
    assert bool(reply.error) is (status != 0)
