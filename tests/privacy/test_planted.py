"""No value planted in any field of any codec is in what people without the right see, whatever else the message holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.codecs.dicom import DicomCodec
from hub.codecs.registry import builtin_codecs
from hub.privacy import Policy, Pseudonyms, load_policy, mask_message, rewrite_message, show_message
from hub.privacy.model import Act, View
from tests.privacy import planted

SEEDS = st.integers(0, 10**9)
POLICY = load_policy(None, [Path(__file__).resolve().parents[2] / "schemas"])


def leaks(text: str, person: planted.Person) -> list[str]:
    return [value for value in person.planted if value in text]


@pytest.mark.parametrize("codec", planted.CODECS)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_nothing_planted_is_shown(codec: str, seed: int) -> None:
    person = planted.person_of(seed)
    raw = planted.message_of(codec, person)
    for name in ("masked", "structure"):
        text = mask_message(POLICY, codec, raw, POLICY.view(name))
        assert text is not None
        assert leaks(text, person) == [], name
    assert "某" in (mask_message(POLICY, codec, raw, POLICY.view("masked")) or "某") or codec in (
        "astm",
        "fixed",
        "jsonl",
        "text",
    )


@pytest.mark.parametrize("codec", [c for c in planted.CODECS if c not in ("astm",)])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_a_message_whose_codec_is_unknown_or_wrong_hides_what_can_be_told(codec: str, seed: int) -> None:
    """Bodies of calls come without their codec."""
    person = planted.person_of(seed)
    raw = planted.message_of(codec, person)
    told = {person.name, person.id_number, person.phone, person.card, person.email}
    for wrong in ("", "binary", "dicom", "excel", "text"):
        text = mask_message(POLICY, wrong, raw, POLICY.view())
        assert text is not None
        if codec not in ("form",):  # percent-encoded
            assert [value for value in told if value in text] == [], (wrong, text)


@pytest.mark.parametrize("codec", ["hl7v2", "json", "fhir", "xml", "csv"])
@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=SEEDS, cut=st.floats(0.1, 0.98))
def test_a_torn_message_hides_what_has_a_form(codec: str, seed: int, cut: float) -> None:
    person = planted.person_of(seed)
    raw = planted.message_of(codec, person)
    torn = raw[: int(len(raw) * cut)]
    text = mask_message(POLICY, codec, torn, POLICY.view())
    assert text is not None
    assert [v for v in (person.id_number, person.phone, person.card, person.name) if v in text] == []


@pytest.mark.parametrize("codec", ["hl7v2", "json", "fhir", "cda", "hl7v3", "xml", "csv", "form", "jsonl", "astm"])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_what_a_tester_carries_away_is_still_such_a_message(codec: str, seed: int) -> None:
    person = planted.person_of(seed)
    raw = planted.message_of(codec, person)
    made = rewrite_message(POLICY, codec, raw, POLICY.view("test"), Pseudonyms(b"k" * 32))
    hidden = {person.name, person.given, person.id_number, person.phone, person.card, person.email, person.insurance}
    text = made.decode("utf-8")
    assert [value for value in hidden if value in text] == []
    known = {one.name: one for one in builtin_codecs()}[codec]
    known.decode(made)
    assert made == rewrite_message(POLICY, codec, raw, POLICY.view("test"), Pseudonyms(b"k" * 32))
    if codec in ("json", "fhir"):
        assert _shape(json.loads(raw)) == _shape(json.loads(made))
    if codec == "hl7v2":
        cut = [[len(field.split("^")) for field in line.split("|")] for line in raw.decode().split("\r")]
        assert cut == [[len(field.split("^")) for field in line.split("|")] for line in text.split("\r")]


def _shape(tree: object) -> object:
    if isinstance(tree, dict):
        return {key: _shape(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_shape(value) for value in tree]
    return None


@settings(max_examples=150, deadline=None)
@given(raw=st.binary(max_size=400), codec=st.sampled_from(["", *planted.CODECS, "dicom", "excel", "binary"]))
def test_no_bytes_make_it_fail(raw: bytes, codec: str) -> None:
    for view in POLICY.views.values():
        show_message(POLICY, codec, raw, view)


@pytest.mark.parametrize(
    ("codec", "raw"),
    [
        ("json", b"[" * 5000 + b"]" * 5000),
        ("json", b'{"a":' * 250 + b"1" + b"}" * 250),
        ("xml", b"<a>" * 5000 + b"</a>" * 5000),
        ("hl7v2", b"MSH|^~\\&|" + b"|" * 50_000),
        ("hl7v2", b"MSH|||||||"),
        ("hl7v2", b"MSH||||"),
        ("csv", b'"' * 10_000),
        ("csv", b"\xe5\xa7\x93\xe5\x90\x8d,a\n" + b'"\n' * 3000),
        ("form", b"&" * 20_000),
        ("text", "姓名：".encode() * 5000),
        ("text", b"1" * 100_000),
        ("text", b"a@" * 30_000),
        ("multipart", b"--\r\n" * 1000),
        ("astm", b"H|\\^&\r" + b"P|" * 5000),
        ("json", ('{"x":"' + '{\\"x\\":' * 50 + '"}').encode()),
    ],
)
def test_hostile_messages_cost_little_and_never_fail(policy: Policy, codec: str, raw: bytes) -> None:
    show_message(policy, codec, raw, policy.view())


def test_bytes_that_are_no_text_are_not_shown(policy: Policy) -> None:
    shown = show_message(policy, "binary", bytes(range(256)) * 4, policy.view())
    assert shown.text == ""
    assert "1024" in shown.withheld
    assert show_message(policy, "text", b"a" * (5 << 20), policy.view()).withheld
    assert show_message(policy, "hl7v2", b"MSH|^~\\&|A", policy.view("nothing")).withheld


def test_a_view_of_ones_own(policy: Policy) -> None:
    raw = planted.message_of("hl7v2", planted.person_of(1))
    names_only = View("names", 5, Act.MASK, {"name": Act.MASK})
    text = mask_message(policy, "hl7v2", raw, names_only)
    person = planted.person_of(1)
    assert text is not None
    assert person.name not in text
    assert person.id_number in text
    assert mask_message(policy, "hl7v2", raw, policy.view("clear")) == raw.decode()


def test_dicom_is_shown_as_text_without_the_person(policy: Policy) -> None:
    person = planted.person_of(5)
    raw = DicomCodec().encode(
        {
            "SpecificCharacterSet": "ISO_IR 192",
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
            "SOPInstanceUID": "1.2.3.4",
            "Modality": "CT",
            "PatientName": f"Zhang^San={person.family}^{person.given}",
            "PatientID": person.id_number,
            "PatientBirthDate": person.birth,
            "PatientAddress": person.address,
            "PatientTelephoneNumbers": person.phone,
            "PatientComments": person.note,
            "StudyDescription": f"{person.name} 胸部",
            "RequestAttributesSequence": [{"ScheduledProcedureStepDescription": person.id_number}],
            "ReferringPhysicianName": "王^小川",
        }
    )
    text = mask_message(policy, "dicom", raw, policy.view())
    assert text is not None
    assert leaks(text, person) == []
    assert person.birth not in text
    assert "(0010,0010) PN PatientName: Z****^***=" in text
    assert "(0008,0060) CS Modality: CT" in text
    assert "王^小川" in text
    assert mask_message(policy, "dicom", raw[:200], policy.view()) is None
    body = show_message(policy, "", raw, policy.view())  # the body of a call
    assert not body.text or leaks(body.text, person) == []
