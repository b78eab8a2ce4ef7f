"""HL7 v2 → FHIR R4: whatever comes in, the bundle that goes out is valid, complete in itself, and always the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.codecs.fhir import FhirCodec
from hub.codecs.hl7v2 import Hl7Codec, split_batch
from hub.errors import CodecError, MappingError
from hub.mapping import Context, MappingLibrary

bundle = pytest.importorskip("fhir.resources.R4B.bundle")

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "mappings" / "fhir_r4" / "examples").glob("*.hl7"))
SAMPLES = ROOT.parent / "shared" / "samples" / "hl7v2"
HL7, FHIR = Hl7Codec(), FhirCodec()
#: The mapping of a kind of message; ADT^A40 has one of its own.
MAPPINGS = {
    "ADT": "adt",
    "ORU": "oru",
    "ORM": "orm",
    "OMP": "orm",
    "OML": "oml",
    "OMG": "oml",
    "SIU": "siu",
    "MDM": "mdm",
    "DFT": "dft",
}
#: Public files with a date that does not exist, or words in the place of one: they are refused.
WRONG = {
    "ORU_deidentified.hl7",
    "elims_40_4988249_33033-with-truncation.hl7",
    "sample_1.hl7",
    "sample_hl7.hl7",
    "realm-animal-rabies.hl7",
    "realm-batch.hl7",
    "realm-lead-laboratory-result.hl7",
}
#: Public files that are refused for something else: where.
REFUSED = {
    "Message.hl7_MDM_T02.txt": "attachment.data",  # words in the place of base 64
    "ORM-O01-05.hl7": "resource.code.text",  # ordered by RQD
}


@cache
def library() -> MappingLibrary:
    return MappingLibrary([ROOT / "mappings"])


def transform(raw: bytes) -> bytes:
    """The bundle of a message as it would be sent."""
    tree = HL7.decode(raw)
    kind, event = HL7.envelope(tree)[0].partition("^")[::2]
    name = "adt_merge" if (kind, event[:3]) == ("ADT", "A40") else MAPPINGS.get(kind, "adt")
    (found,) = library().get(f"fhir_r4/{name}").run(tree, Context())
    return FHIR.encode(found)


def places(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    yield path, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, f"{path}.{key}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from places(item, f"{path}[{number}]")


def check(raw: bytes) -> None:
    """Valid by the models, nothing empty, every URL once, every reference to an entry of the bundle."""
    tree = json.loads(raw)
    bundle.Bundle.model_validate(tree)
    urls = [entry["fullUrl"] for entry in tree["entry"]]
    assert len(set(urls)) == len(urls)
    assert [path for path, value in places(tree) if value in (None, "", [], {})] == []
    assert {value for path, value in places(tree) if path.endswith(".reference")} <= set(urls)
    assert tree["type"] == "message"
    assert tree["entry"][0]["resource"]["resourceType"] == "MessageHeader"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_valid_and_always_the_same(path: Path) -> None:
    once, again = transform(path.read_bytes()), transform(path.read_bytes())
    assert once == again
    check(once)


def sample_messages() -> list[tuple[str, bytes]]:
    found = []
    for path in sorted(SAMPLES.rglob("*")) if SAMPLES.is_dir() else ():
        if path.is_file():
            try:
                messages = split_batch(path.read_bytes())
                kinds = [HL7.envelope(HL7.decode(raw))[0] for raw in messages]
            except CodecError:
                continue
            found += [
                (path.name, raw)
                for raw, kind in zip(messages, kinds, strict=True)
                if kind.partition("^")[0] in MAPPINGS
            ]
    return found


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no samples in {SAMPLES}")
def test_public_messages() -> None:
    messages = sample_messages()
    assert len(messages) > 100
    for name, raw in messages:
        if name in WRONG:
            with pytest.raises(MappingError, match="date"):
                transform(raw)
        elif name in REFUSED:
            with pytest.raises(MappingError) as refused:
                transform(raw)
            assert refused.value.target.endswith(REFUSED[name])
        else:
            check(transform(raw))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good message with segments and fields dropped, doubled or filled with something else."""
    segments = draw(st.sampled_from(EXAMPLES)).read_text("utf-8").strip("\r\n").splitlines()
    for _ in range(draw(st.integers(1, 8))):
        at = draw(st.integers(0, len(segments) - 1))
        action = draw(st.sampled_from(["drop", "double", "field", "field", "field", "component"]))
        if action == "drop" and at:
            del segments[at]
        elif action == "double" and at:
            segments.insert(draw(st.integers(1, len(segments))), segments[at])
        else:
            fields = segments[at].split("|")
            number = draw(st.integers(min(2, len(fields) - 1), len(fields) - 1))
            components = fields[number].split("^")
            if action == "component":
                components[draw(st.integers(0, len(components) - 1))] = ""
                fields[number] = "^".join(components)
            elif number > 2 or at:
                fields[number] = draw(
                    st.sampled_from(["", '""', "^", "~", "&", "^x&&y", "~~a^b", " ", "a  b", "张三", "<3"])
                )
            segments[at] = "|".join(fields)
    return "\r".join(segments).encode()


@given(damaged())
@settings(max_examples=250, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_messages_give_a_valid_bundle_or_a_place(raw: bytes) -> None:
    try:
        found = transform(raw)
    except CodecError:
        return
    except MappingError as error:
        refused = error
    else:
        check(found)
        return
    assert all((refused.file, refused.line, refused.target))


def test_digits_of_results_are_kept() -> None:
    raw = (ROOT / "mappings/fhir_r4/examples/oru_chinese_blood_count.hl7").read_bytes()
    assert b'"value":6.20,' in transform(raw)
