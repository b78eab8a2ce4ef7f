"""Real documents: unchanged byte for byte, and the same after a change of character set; fragments that are no XML are named."""

from __future__ import annotations

import collections
import os
from pathlib import Path

import pytest
from lxml import etree

from hub.codecs.hl7v3 import CdaCodec, Hl7v3Codec
from hub.codecs.xml_codec import XmlCodec
from hub.errors import CodecError

SAMPLES = Path(os.environ.get("TONGQU_SAMPLES") or Path(__file__).resolve().parents[2].parent / "shared" / "samples")
pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no samples in {SAMPLES}")

FILES = (
    sorted(path for path in SAMPLES.rglob("*") if path.suffix in (".xml", ".xsd", ".ccda") and path.is_file())
    if SAMPLES.is_dir()
    else []
)
#: Pieces cut out of documents, with prefixes that are declared in what was cut off: by prefix.
CUT_OUT = {
    "sdtc": {"Inpatient_Encounter_Discharged_to_Rehab_Location(C-CDA2.1)", "Patient Deceased Extension(C-CDA2.1)"},
    "xsi": {
        "Active Problem(C-CDA2.1)",
        "Allergy to specific drug class Penicillins(C-CDA2.1)",
        "Birth Sex(C-CDA2.1)",
        "Family History generic(C-CDA2.1)",
        "Family History two individuals same relationship to the patient(C-CDA2.1)",
        "Free Text Medication SIG (C-CDAR2.1)",
        "Health Concerns Link to Problems Section(C-CDA2.1)",
        "Hospital Discharge Encounter with Billable Diagnoses(C-CDA2.1)",
        "Med oral liquid PRN(C-CDA2.1)",
        "Med oral with indications and instructions(C-CDA2.1)",
        "Memory Impairment(C-CDAR2.1)",
        "Multiple CPT E&M Codes Single Encounter(C-CDAR2.1)",
        "No Functional Impairment (C-CDAR2.1)",
        "No Known Allergies with Author Timestamp(C-CDA2.1)",
        "No Known Medication Allergies(C-CDA2.1)",
        "Patient Health Questionnaire PHQ-9(C-CDAR2.1)",
        "Planned Encounter - Reason for Referral(C-CDAR2.1)",
        "Problem List with different translation and qualifier usages(C-CDA2.1)",
        "Quality Care Compliance in C-CDA (C-CDAR2.1)",
        "Resolved Problem(C-CDA2.1)",
        "Result with an unstructured string as value urine color (C-CDA2.1)",
        "Results with less than specific value(C-CDA2.1)",
        "SDOH Goal(C-CDA2.1)",
        "Sexual Orientation Gender Identity(C-CDA2.1)",
        "Share with Patient or Proxy (C-CDAR2.1)",
        "WE Care Assessment(C-CDA2.1)",
        "Withdrawn Antibiotics with varied dosing(C-CDA2.1)",
        "Withdrawn Patient reported oral medication no brand(C-CDA2.1)",
        "Withdrawn_Allergy to specific drug Epinephrine(C-CDA2.1)",
    },
}


def codec_of(path: Path) -> XmlCodec:
    return CdaCodec() if "cda" in path.parts else Hl7v3Codec()


def test_there_are_samples() -> None:
    assert len(FILES) > 200


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_round_trip(path: Path) -> None:
    raw = path.read_bytes()
    codec = codec_of(path)
    for prefix, names in CUT_OUT.items():
        if path.stem in names:
            with pytest.raises(CodecError, match=f"line [0-9]+ column [0-9]+: the namespace prefix {prefix} is not"):
                codec.decode(raw)
            return
    document = codec.decode(raw)
    assert codec.encode(document) == raw
    twin = document.copy()
    assert codec.encode(twin) == raw
    twin.root.set("tongqu", "张")
    changed = codec.decode(codec.encode(twin)).copy()
    del changed.root.attrib["tongqu"]
    assert canonical(changed.root) == canonical(document.root)
    other = codec.encode(document, encoding="GB18030")
    assert canonical(codec.decode(other).root) == canonical(document.root)


def canonical(root: etree._Element) -> bytes:
    return etree.tostring(root.getroottree(), method="c14n", with_comments=True)


def test_types_and_numbers_of_interactions() -> None:
    found: collections.Counter[str] = collections.Counter()
    for path in FILES:
        if path.suffix == ".xml" and "other" in path.parts:
            codec = Hl7v3Codec()
            kind, number = codec.envelope(codec.decode(path.read_bytes()))
            assert number or path.stem == "prpa-invalid"
            found[kind] += 1
    assert found == {
        "PRPA_IN201301UV02": 4,
        "PRPA_IN201304UV02": 2,
        "PRPA_IN201305UV02": 3,
        "PRPA_IN201306UV02": 3,
        "PRPA_IN201309UV02": 1,
        "PRPA_IN900300UV": 4,
        "PRPM_IN306010UV01": 2,
        "PRPM_IN406010UV01": 1,
        "PRSC_IN100000UV": 1,
        "QUMT_IN020030UV01": 11,
        "RCMR_IN000029UV01": 2,
        "RCMR_IN000031UV01": 1,
    }
