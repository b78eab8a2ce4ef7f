"""Public files: what the validators say of each, and that they say something of all."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from pathlib import Path

import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.exceptions import HL7apyException
from hl7apy.parser import parse_message
from hl7apy.validation import Validator as TheirValidator

from hub.codecs.dicom import DicomCodec
from hub.codecs.fhir import FhirCodec
from hub.codecs.hl7v2 import Hl7Codec, split_batch
from hub.codecs.hl7v3 import CdaCodec
from hub.errors import CodecError
from hub.validators.report import Severity
from tests.validators.validator_support import SAMPLES, check, made, short, standard

pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no samples in {SAMPLES}")
HL7, CDA, FHIR, DICOM = Hl7Codec(), CdaCodec(), FhirCodec(), DicomCodec()


def messages() -> list[tuple[str, bytes]]:
    found = []
    for path in sorted((SAMPLES / "hl7v2").rglob("*")):
        try:
            found += [(path.name, raw) for raw in split_batch(path.read_bytes())] if path.is_file() else []
        except CodecError:
            continue
    return found


def test_hl7_messages() -> None:
    """All are checked, those too that hl7apy itself refuses."""
    validator = standard("hl7v2")
    rules: Counter[str] = Counter()
    for _, raw in messages():
        findings = check(validator, HL7.decode(raw), raw)
        rules.update({finding.rule for finding in findings})
        assert all(finding.place or finding.rule == "hl7.more" for finding in findings)
    assert rules["hl7.not_checked"] == 0
    assert rules["hl7.table"] > 100


#: What the validator of hl7apy says of a field that is missing, and not of a group of segments.
_MISSING = re.compile(r"Missing required child [A-Z][A-Z0-9]{2}\.([A-Z][A-Z0-9]{2})_([0-9]+)$", re.MULTILINE)


def test_what_hl7apy_finds_is_found(tmp_path: Path) -> None:
    """Every field its own validator misses, in the short messages it can read, is missing by ours."""
    validator = standard("hl7v2")
    report = tmp_path / "report"
    compared = 0
    for _, raw in messages():
        tree = HL7.decode(raw)
        if len(tree.segments) > 15:
            continue
        report.write_text("")
        text = "\r".join(segment.text() for segment in tree.segments if not segment.name.startswith("Z"))
        with contextlib.suppress(HL7apyException, ValueError, AttributeError, IndexError, KeyError):
            theirs = parse_message(text, validation_level=VALIDATION_LEVEL.TOLERANT)
            TheirValidator.validate(theirs, report_file=str(report))
        places = {re.sub(r"\[\d+\]", "", finding.place) for finding in check(validator, tree, raw)}
        wanted = {f"{segment}-{field}" for segment, field in _MISSING.findall(report.read_text())}
        assert wanted <= places
        compared += len(wanted)
    assert compared >= 20


@pytest.mark.parametrize(("folder", "version"), [("r4-examples", "R4"), ("r4b-examples", "R4B")])
def test_fhir_examples_are_valid(folder: str, version: str) -> None:
    validator = standard("fhir", version=version)
    paths = sorted((SAMPLES / "fhir" / folder).glob("*.json"))
    assert len(paths) > 30
    for path in paths:
        raw = path.read_bytes()
        findings = check(validator, FHIR.decode(raw), raw)
        assert [f for f in findings if f.severity is Severity.ERROR] == [], path.name


#: Files whose file meta information names another instance than the data set, or with wrong values, on purpose or not.
DICOM_ERRORS = {
    "JPEGLSNearLossless_16.dcm": {"dicom.required"},
    "SC_jpeg_no_color_transform_2.dcm": {"dicom.required"},
    "SC_rgb_jls_lossy_sample.dcm": {"dicom.required"},
    "badVR.dcm": {"dicom.meta", "dicom.value"},
    "chrJapMulti.dcm": {"dicom.meta"},
    "chrJapMultiExplicitIR6.dcm": {"dicom.meta"},
    "rtdose_expb.dcm": {"dicom.meta", "dicom.value"},
    "rtdose_expb_1frame.dcm": {"dicom.meta", "dicom.value"},
    "rtdose_rle_1frame.dcm": {"dicom.value"},
    "rtplan.dcm": {"dicom.meta"},
}


def test_dicom_files() -> None:
    validator = standard("dicom")
    wrong = {}
    for path in sorted((SAMPLES / "dicom").rglob("*.dcm")):
        raw = path.read_bytes()
        rules = {f.rule for f in check(validator, DICOM.decode(raw), raw) if f.severity is Severity.ERROR}
        if rules:
            wrong[path.name] = rules
    assert wrong == DICOM_ERRORS


SCHEMAS = [
    *sorted((SAMPLES / "cda" / "cn-wst500-xsd").glob("*.xsd")),
    *sorted((SAMPLES / "other" / "cn-hip-messages" / "xsd-services").glob("*.xsd")),
]


def test_all_chinese_schemas_compile() -> None:
    assert len(SCHEMAS) == 122
    for path in SCHEMAS:
        assert made(path.parent, path.name, "cda").name == path.name


@pytest.mark.parametrize(
    ("schema", "message", "expected"),
    [
        ("PatientInfoQuery.xsd", "EMR-PL-04-个人信息查询服务-T01.xml", []),
        (
            "ProviderInfoQuery.xsd",
            "EMR-PL-10-医疗卫生人员信息查询服务-T01.xml",
            [
                ("xsd.unexpected", "/PRPM_IN306010UV01/receiver/telecom (line 9)"),
                ("xsd.unexpected", "/PRPM_IN306010UV01/sender/telecom (line 17)"),
                ("xsd.type", "/PRPM_IN306010UV01/controlActProcess/queryByParameterPayload/dOB/value/low/@value (line 34)"),
                ("xsd.type", "/PRPM_IN306010UV01/controlActProcess/queryByParameterPayload/dOB/value/high/@value (line 35)"),
                ("xsd.type", "/PRPM_IN306010UV01/controlActProcess/queryByParameterPayload/providerID/value[2]/@extension (line 42)"),
            ],
        ),
    ],
)  # fmt: skip
def test_chinese_messages(schema: str, message: str, expected: list[tuple[str, str]]) -> None:
    folder: Path = SAMPLES / "other" / "cn-hip-messages"
    raw = (folder / "evaluation" / message).read_bytes()
    assert short(check(made(folder / "xsd-services", schema, "hl7v3"), CDA.decode(raw), raw)) == expected


def test_foreign_documents_are_refused_by_chinese_schemas() -> None:
    """C-CDA has other templates."""
    validator = made(SAMPLES / "cda" / "cn-wst500-xsd", "C0007.xsd", "cda")
    count = 0
    for path in sorted((SAMPLES / "cda").rglob("*.ccda")):
        raw = path.read_bytes()
        try:
            tree = CDA.decode(raw)
        except CodecError:
            continue
        count += 1
        assert "xsd.unexpected" in {rule for rule, _ in short(check(validator, tree, raw))}
    assert count >= 3
