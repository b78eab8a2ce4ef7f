"""FHIR R4 → HL7 v2: what comes out can be read, conforms, and comes back; what can't be said is refused with its place."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.codecs.fhir import FhirCodec
from hub.codecs.hl7v2 import Hl7Codec, Hl7Message, Segment, split_batch
from hub.errors import CodecError, MappingError
from hub.mapping import Context, MappingLibrary, compile_expression

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "mappings" / "hl7v2" / "examples").glob("*.json"))
SAMPLES = ROOT.parent / "shared" / "samples"
HL7, FHIR = Hl7Codec(), FhirCodec()
CONTEXT = Context(now_us=1_768_440_615_000_000)
KINDS = {
    "adt": {"Patient", "Encounter"},
    "oru": {"DiagnosticReport", "Observation"},
    "orm": {"ServiceRequest"},
    "oml": {"ServiceRequest"},
    "siu": {"Appointment"},
    "mdm": {"DocumentReference"},
    "dft": {"ChargeItem"},
}
#: What HL7 requires and many senders do not tell: nothing is put in its place.
UNTOLD = {"PID_3", "PID_5", "OBX_11", "SPM_4", "IN1_2", "IN1_3", "SCH_16", "TXA_2"}


@cache
def library() -> MappingLibrary:
    return MappingLibrary([ROOT / "mappings"])


def messages(name: str, tree: Any, context: Context = CONTEXT) -> list[bytes]:
    """What would be sent."""
    return [HL7.encode(found) for found in library().get(f"hl7v2/{name}").run(tree, context)]


def to_fhir(name: str, message: Hl7Message) -> dict[str, Any]:
    (found,) = library().get(f"fhir_r4/{name}").run(message, CONTEXT)
    return FHIR.decode(FHIR.encode(found))


def there_and_back(name: str, message: Hl7Message) -> Hl7Message:
    (found,) = messages(name, to_fhir(name, message))
    return HL7.decode(found)


def types(bundle: Any) -> set[str]:
    return {entry.get("resource", {}).get("resourceType") for entry in bundle.get("entry", [])}


# -- conformance -------------------------------------------------------------------------------------------------------


def complaint(raw: bytes) -> str:
    """The first thing hl7apy has against a message, the name of the required child that is missing where it is that."""
    parser = pytest.importorskip("hl7apy.parser")
    validation = pytest.importorskip("hl7apy.validation")
    exceptions = pytest.importorskip("hl7apy.exceptions")
    try:
        validation.Validator.validate(parser.parse_message(raw.decode(), find_groups=True, force_validation=False))
    except exceptions.HL7apyException as error:
        missing = re.search(r"Missing required child \w+\.(\w+)$", str(error))
        return missing[1] if missing else str(error)
    return ""


def conforms(name: str, raw: bytes) -> bool:
    """Of ORM and OML hl7apy wants all kinds of order details at once (RQD beside OBR) and prior results whole: it is not able. Several
    patients in one ORU it takes for one group; each is looked at alone."""
    if name in ("orm", "oml"):
        return True
    head, *patients = re.split(rb"\r(?=PID\|)", raw)
    return {complaint(b"\r".join([head, patient])) for patient in patients} <= {"", *UNTOLD}


@pytest.mark.parametrize("version", ["2.5.1", "2.4"])
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_conform(path: Path, version: str) -> None:
    tree = FHIR.decode(path.read_bytes())
    names = [
        name
        for name, kinds in KINDS.items()
        if kinds & (types(tree) - ({"Patient"} if len(types(tree)) > 1 else set()))
    ]
    names = [name for name in names if name != "adt" or path.stem == "admission"]
    names = [name for name in names if name != "oru" or path.stem == "results"]
    assert names
    for name in names:
        found = messages(name, tree, Context(settings={"hl7_version": version}, now_us=CONTEXT.now_us))
        assert found
        assert all(conforms(name, raw) for raw in found), [complaint(raw) for raw in found]


@pytest.mark.parametrize(
    ("status", "kind", "event"),
    [
        ("planned", "AMB", "A05"),
        ("arrived", "IMP", "A01"),
        ("in-progress", "EMER", "A04"),
        ("onleave", "IMP", "A08"),
        ("finished", "IMP", "A03"),
        ("cancelled", "IMP", "A11"),
        (None, None, "A08"),
    ],
)
def test_the_visit_tells_the_event(status: str | None, kind: str | None, event: str) -> None:
    tree = FHIR.decode((ROOT / "mappings/hl7v2/examples/admission.json").read_bytes())
    tree["entry"][0]["resource"] |= {"status": status, "class": {"code": kind}}
    (raw,) = messages("adt", tree)
    assert HL7.envelope(HL7.decode(raw))[0] == f"ADT^{event}"
    assert conforms("adt", raw), complaint(raw)


@pytest.mark.parametrize("event", ["A02", "A06", "A13", "A14", "A28"])
def test_the_message_tells_the_event(event: str) -> None:
    tree = FHIR.decode((ROOT / "mappings/hl7v2/examples/admission.json").read_bytes())
    tree["entry"].insert(0, {"resource": {"resourceType": "MessageHeader", "eventCoding": {"code": event}}})
    (raw,) = messages("adt", tree)
    assert HL7.envelope(HL7.decode(raw))[0] == f"ADT^{event}"
    assert conforms("adt", raw), complaint(raw)


def test_characters_outside_the_declared_set_are_refused_and_chinese_sets_work() -> None:
    tree = FHIR.decode((ROOT / "mappings/hl7v2/examples/admission.json").read_bytes())
    (target,) = library().get("hl7v2/adt").run(tree, Context(settings={"hl7_charset": "GB 18030-2000"}))
    raw = HL7.encode(target)
    assert "样本人".encode("gb18030") in raw
    assert "|样本人^" in HL7.decode(raw).all("PID")[0].text()
    (target,) = library().get("hl7v2/adt").run(tree, Context(settings={"hl7_charset": "8859/1"}))
    with pytest.raises(CodecError):
        HL7.encode(target)


# -- there and back ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["adt", "oru"])
def test_messages_come_back_character_for_character(name: str) -> None:
    """Two messages that fill what both directions know, in the form in which these mappings write."""
    message = HL7.decode((ROOT / f"mappings/hl7v2/examples/round_trip_{name}.hl7").read_bytes())
    assert [segment.text() for segment in there_and_back(name, message).segments] == [
        s.text() for s in message.segments
    ]


def public_messages() -> Iterator[tuple[str, str, Hl7Message]]:
    """(file, mapping, message) of the public messages that have a way to FHIR."""
    for path in sorted((SAMPLES / "hl7v2").rglob("*")):
        if not path.is_file():
            continue
        try:
            for raw in split_batch(path.read_bytes()):
                message = HL7.decode(raw)
                name = HL7.envelope(message)[0][:3].lower()
                if name in KINDS:
                    yield path.name, name, message
        except CodecError:
            continue


#: Places whose content FHIR holds completely: field and component.
LOSSLESS = {
    "MSH": "3.1 4.1 9.1 9.2 10.1",
    "EVN": "2.1 5.1 5.2 5.3",
    "PID": "5.1 5.2 7.1 11.3 11.4 11.5 11.6 15.1 23.1 25.1 29.1",
    "PV1": "3.1 3.2 3.3 3.4 4.1 7.1 7.2 7.3 8.1 8.2 8.3 9.1 10.1 14.1 17.1 19.1 36.1 44.1 45.1",
    "PV2": "3.1 3.2",
    "AL1": "3.1 3.2 5.1",
    "DG1": "3.1 3.2 5.1",
    "IN1": "2.1 3.1 4.1 8.1 12.1 13.1",
    "OBR": "2.1 2.2 3.1 3.2 4.1 4.2 7.1 8.1 24.1",
    "OBX": "3.1 3.2 7.1 8.1 14.1 16.1",
    "SPM": "4.1 4.2 17.1 18.1",
}
#: Where public messages differ all the same, and why.
DIFFERENT = {
    ("test.hl7", "MSH-9.2"): "ORU^R03 goes back as R01",
    ("sample_msh.hl7", "IN1-4.1"): "two payors with the same number are one organization",
    ("adt_a31_person.hl7", "EVN-2.1"): "a date alone is no instant",
}
#: Events on the person have no visit in FHIR.
NO_VISIT = ("ADT-A28-02.hl7", "ADT-A31-02.hl7")
#: ADT with OBX, which FHIR does not get; ORU whose documents go behind the results.
NO_RESULTS = ("sample_unix.hl7", "sample_win.hl7", "ADT-A01-01.hl7", "ADT-A14-01.hl7", "ORU-R01-01.hl7")


def parts(message: Hl7Message, fields: tuple[str, ...], place: str) -> list[str]:
    """A component of each repetition of a field, unescaped, without further structure; blanks around it do not count."""
    field, component = (int(number) for number in place.split("."))
    found = []
    for repetition in fields[field].split(message.repetition_sep) if field < len(fields) else ():
        components = repetition.split(message.component_sep)
        part = components[component - 1].split(message.subcomponent_sep)[0] if component <= len(components) else ""
        found.append(message.unescape(part))
    return found


def instant(text: str) -> Any:
    """Times in the form both directions agree on; other texts as they are."""
    try:
        return compile_expression("text | datetime", "json")({"text": text}, CONTEXT)
    except MappingError:
        return text


def lost(one: Hl7Message, other: Hl7Message) -> Iterator[tuple[str, str, str]]:
    """(place, before, after) of what is not the same in the other message."""
    for name, places in LOSSLESS.items():
        others = other.all(name)
        for number, segment in enumerate(one.all(name)):
            there = others[number].fields if number < len(others) else ()
            for place in places.split():
                after = parts(other, tuple(there), place)
                for at, before in enumerate(parts(one, segment.fields, place)):
                    now = after[at] if at < len(after) else ""
                    if before not in ("", '""', now) and instant(before) != instant(now):
                        yield f"{name}-{place}", before, now
    for result, back in zip(one.all("OBX"), other.all("OBX"), strict=False):
        if value(one, result) != value(other, back):
            yield "OBX-5", value(one, result), value(other, back)


def value(message: Hl7Message, observation: Segment) -> str:
    """OBX-5 without structure, in one form: ``=^0.5`` is a plain number, ``<30`` one with a comparison, lines are lines."""
    fields = (*observation.fields, *[""] * 6)
    found = re.sub(r"[~\^]|\\\.br\\|\s", "", message.unescape(fields[5]).replace("HL7 0136", ""))
    if fields[2] in ("CE", "CWE"):  # names of code systems and repeated texts are by design
        return message.unescape(fields[5].split(message.component_sep)[0]).strip()
    return found.lstrip("=") if fields[2] in ("SN", "NM") else str(instant(found) or found)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no samples in {SAMPLES}")
def test_what_fhir_holds_comes_back_of_public_messages() -> None:
    seen = 0
    refused: dict[str, str] = {}
    for file, name, message in public_messages():
        if name not in ("adt", "oru"):
            continue
        try:
            back = there_and_back(name, message)
        except MappingError as error:
            # Dates that are none, ADT events without a map, ORU without an order.
            refused[file] = f"{error.reason} {error.target}"
            continue
        seen += 1
        differences = [
            (file, place, before, after)
            for place, before, after in lost(message, back)
            if (file, place) not in DIFFERENT
            and not (place == "MSH-10.1" and len(before) > 20)  # a UUID, where the version has 20 characters
            and not (file in NO_VISIT and place.startswith("PV1"))
            and not (file in NO_RESULTS and place.startswith("OBX"))
        ]
        assert differences == []
    assert seen > 90
    assert [file for file, why in refused.items() if not re.search(r"date|structure|some", why)] == []


def unstable(name: str, bundle: dict[str, Any]) -> bool:
    """What the way to FHIR reads otherwise than it was written: a number in PID-13 without a use is one at home, a means of
    communication without a code is a telephone, texts with the same title are one, blank lines are left out."""
    text = json.dumps(bundle, default=str)
    contacts = re.findall(r'"system": "(?:other|url)"', text) or re.search(
        r'"telecom": \[{"system": "\w+", "value": "[^"]*"}', text
    )
    return bool(contacts) or name == "mdm" or "\\n\\n" in text


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no samples in {SAMPLES}")
def test_a_second_way_there_and_back_changes_nothing() -> None:
    same: dict[str, int] = {}
    for file, name, message in public_messages():
        try:
            bundle = to_fhir(name, message)
            (raw,) = messages(name, bundle)
        except MappingError:
            continue
        once = HL7.decode(raw)
        assert conforms(name, raw), (file, complaint(raw))
        if not unstable(name, bundle):
            twice = there_and_back(name, once)
            assert [s.text() for s in twice.segments] == [s.text() for s in once.segments], file
            same[name] = same.get(name, 0) + 1
    assert same["oru"] > 55
    assert same["adt"] > 15
    assert set(same) >= {"adt", "oru", "orm"}


@pytest.mark.parametrize(
    "path", sorted((ROOT / "mappings" / "fhir_r4" / "examples").glob("*.hl7")), ids=lambda path: path.stem
)
def test_examples_of_the_other_direction_are_stable(path: Path) -> None:
    message = HL7.decode(path.read_bytes())
    kind = HL7.envelope(message)[0]
    name = kind[:3].lower()
    if name not in KINDS or kind == "ADT^A40":
        pytest.skip("these are not made")
    bundle = to_fhir(name, message)
    found = messages(name, bundle)
    assert len(found) == 1
    if not unstable(name, bundle):
        once = HL7.decode(found[0])
        assert [s.text() for s in there_and_back(name, once).segments] == [s.text() for s in once.segments]


# -- public FHIR -------------------------------------------------------------------------------------------------------


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def completed(bundle: dict[str, Any]) -> dict[str, Any]:
    """With a stand-in for everything it refers to and does not hold."""
    entries = [entry["resource"] for entry in bundle["entry"] if "resource" in entry]
    there = {f"{item.get('resourceType')}/{item.get('id')}" for item in entries}
    added = []
    for reference in sorted(set(references(entries)) - there):
        if found := re.fullmatch(r"([A-Z]\w+)/([\w.-]+)", reference):
            person = found[1] in ("Patient", "Practitioner", "RelatedPerson")
            name: Any = [{"text": "样本人"}] if person else "样本"
            code = {"coding": [{"code": "X", "display": "样本"}]}
            added.append(
                {
                    "resourceType": found[1],
                    "id": found[2],
                    "status": "final",
                    "identifier": [{"value": found[2]}],
                    "name": name,
                    "code": code,
                }
            )
    return {**bundle, "entry": [*bundle["entry"], *({"resource": item} for item in added)]}


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no samples in {SAMPLES}")
def test_public_resources_and_bundles() -> None:
    made: dict[str, int] = {}
    refused: list[MappingError] = []
    for path in sorted((SAMPLES / "fhir").rglob("*.json")):
        tree = FHIR.decode(path.read_bytes())
        if tree["resourceType"] != "Bundle":
            tree = {"resourceType": "Bundle", "id": "B1", "type": "collection", "entry": [{"resource": tree}]}
        for name, kinds in KINDS.items():
            if not kinds & types(tree):
                continue
            try:
                messages(name, tree)
            except MappingError as error:
                refused.append(error)
            for raw in messages(name, completed(tree)):
                assert conforms(name, raw), (path.name, complaint(raw))
                made[name] = made.get(name, 0) + 1
    assert set(made) == set(KINDS)
    assert all(error.file and error.line and error.target for error in refused)
    assert all("bundle" in str(error).lower() or "Patient" in str(error) for error in refused)


# -- hostile bundles ---------------------------------------------------------------------------------------------------

ODD: list[Any] = [
    None,
    "",
    0,
    True,
    [],
    {},
    "x",
    "|^~\\&",
    "\r\n",
    ["x"],
    [[]],
    {"reference": "#"},
    {"reference": "Patient/p12"},
    [{"coding": "x"}],
    "urn:uuid:1",
]


def inner(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every value inside."""
    found: list[tuple[Any, Any]] = []
    for key, item in list(
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        found += [(value, key), *inner(item)]
    return found


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A good bundle with values dropped or replaced by something else, by another place of itself, or moved."""
    path = draw(st.sampled_from(EXAMPLES))
    tree = copy.deepcopy(FHIR.decode(path.read_bytes()))
    for _ in range(draw(st.integers(1, 6))):
        places = inner(tree)
        container, key = places[draw(st.integers(0, len(places) - 1))]
        action = draw(st.sampled_from(["drop", "odd", "odd", "refer", "other"]))
        if action == "drop":
            del container[key]
        elif action == "odd":
            container[key] = copy.deepcopy(draw(st.sampled_from(ODD)))
        elif action == "refer":
            container[key] = {
                "reference": draw(
                    st.sampled_from(["#", "#doctor", "Patient/p12", "Location/ward", "Location/bed", "Observation/1"])
                )
            }
        else:
            other, at = places[draw(st.integers(0, len(places) - 1))]
            container[key] = copy.deepcopy(other[at])
        if not isinstance(tree.get("entry"), list) or not tree["entry"]:
            break
    return draw(st.sampled_from([name for name in KINDS if KINDS[name] & types(FHIR.decode(path.read_bytes()))])), tree


@given(damaged())
@settings(
    max_examples=400,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_damaged_bundles_give_messages_or_a_place(case: tuple[str, dict[str, Any]]) -> None:
    name, tree = case
    try:
        found = messages(name, tree)
    except CodecError:
        return
    except MappingError as error:
        refused = error
    else:
        for raw in found:
            assert HL7.envelope(HL7.decode(raw))[0].startswith(name.upper())
            assert b"\n" not in raw
        return
    assert all((refused.file, refused.line, refused.target))


def test_every_result_of_a_long_report_goes_out_in_order() -> None:
    tree: dict[str, Any] = {"resourceType": "Bundle", "id": "B", "entry": []}
    for number in range(1500):
        observation = {"resourceType": "Observation", "code": {"text": "x"}, "valueInteger": number}
        tree["entry"].append({"fullUrl": f"urn:uuid:{number}", "resource": observation})
    results = [{"reference": f"urn:uuid:{number}"} for number in reversed(range(1500))]
    tree["entry"].append({"resource": {"resourceType": "DiagnosticReport", "code": {"text": "y"}, "result": results}})
    (raw,) = messages("oru", tree)
    found = [segment.fields for segment in HL7.decode(raw).all("OBX")]
    assert [(fields[1], fields[5]) for fields in found] == [(str(n + 1), str(1499 - n)) for n in range(1500)]


@pytest.mark.parametrize("name", sorted(KINDS))
def test_references_in_circles_end(name: str) -> None:
    ring = [
        {"resourceType": "Location", "id": str(n), "partOf": {"reference": f"Location/{(n + 1) % 3}"}} for n in range(3)
    ]
    panel = [
        {
            "resourceType": "Observation",
            "id": str(n),
            "code": {"text": "x"},
            "hasMember": [{"reference": f"Observation/{1 - n}"}],
            "valueInteger": n,
        }
        for n in range(2)
    ]
    subject = {"subject": {"reference": "Patient/p"}}
    others: list[dict[str, Any]] = [
        {"resourceType": "Patient", "id": "p", "link": [{"other": {"reference": "Patient/p"}}]},
        {
            "resourceType": "Encounter",
            **subject,
            "status": "planned",
            "partOf": {"reference": "#"},
            "location": [{"location": {"reference": "Location/0"}}],
        },
        {
            "resourceType": "DiagnosticReport",
            **subject,
            "code": {"text": "x"},
            "result": [{"reference": "Observation/0"}],
        },
        {
            "resourceType": "ServiceRequest",
            **subject,
            "basedOn": [{"reference": "#"}],
            "supportingInfo": [{"reference": "Observation/1"}],
        },
        {"resourceType": "Appointment", "status": "booked", "participant": [{"actor": {"reference": "Location/1"}}]},
        {"resourceType": "DocumentReference", **subject, "content": [{"attachment": {"url": "Location/2"}}]},
        {"resourceType": "ChargeItem", **subject, "code": {"text": "x"}},
    ]
    tree = {"resourceType": "Bundle", "id": "B", "entry": [{"resource": item} for item in (*ring, *panel, *others)]}
    (found,) = messages(name, tree)
    assert found.count(b"OBX|") == (2 if name in ("oru",) else 1 if name == "mdm" else 0)


@pytest.mark.parametrize("name", sorted(KINDS))
@pytest.mark.parametrize(
    "tree",
    [{"resourceType": "Bundle"}, {"resourceType": "Patient"}, {"resourceType": "Bundle", "entry": {"resource": []}}],
)
def test_bundles_without_what_is_needed(name: str, tree: Any) -> None:
    if name in ("siu", "mdm"):
        assert messages(name, tree) == []
    elif name == "adt" and tree["resourceType"] == "Patient":
        assert b"ADT^A31" in messages(name, tree)[0]
    else:
        with pytest.raises(MappingError):
            messages(name, tree)


def test_text_can_not_leave_its_field() -> None:
    text = "样|本^人~&\\\r\nPID|2||"
    tree = {
        "resourceType": "Bundle",
        "id": "B",
        "entry": [{"resource": {"resourceType": "Patient", "name": [{"text": text}]}}],
    }
    (raw,) = messages("adt", tree)
    message = HL7.decode(raw)
    assert len(message.all("PID")) == 1
    assert parts(message, message.all("PID")[0].fields, "5.1") == [text]
