"""Criteria of subscriptions: what they mean, and what is refused."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.fhir.subscriptions.criteria import criterion
from adapters.fhir.subscriptions.options import SubscriptionOptions
from hub.api import HubError

OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "o-1",
    "meta": {
        "profile": ["http://p/1"],
        "lastUpdated": "2026-03-01T08:00:00.250+08:00",
        "tag": [{"system": "urn:t", "code": "x"}],
    },
    "status": "final",
    "category": [{"coding": [{"system": "urn:cat", "code": "laboratory"}]}],
    "code": {"coding": [{"system": "http://loinc.org", "code": "718-7"}, {"code": "HGB"}]},
    "subject": {"reference": "http://his/fhir/Patient/7"},
    "encounter": {"reference": "Encounter/3/_history/2"},
    "effectiveDateTime": "2026-03-01",
    "performer": [{"reference": "Practitioner/9"}, {"display": "nobody"}],
    "identifier": [{"system": "urn:lis", "value": "4711"}],
}
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "active": True,
    "gender": "female",
    "birthDate": "1990-03",
    "name": [{"family": "Müller", "given": ["Ada", "Maria"]}, {"text": "张三"}],
}
ENCOUNTER: dict[str, Any] = {
    "resourceType": "Encounter",
    "status": "in-progress",
    "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
    "period": {"start": "2026-02-01T10:00:00Z"},
    "subject": {"reference": "Patient/7"},
}


@pytest.mark.parametrize(
    ("tree", "text", "met"),
    [
        (OBSERVATION, "Observation", True),
        (OBSERVATION, "Patient", False),
        (OBSERVATION, "Observation?status=final", True),
        (OBSERVATION, "Observation?status=preliminary,final", True),
        (OBSERVATION, "Observation?status:not=final", False),
        (OBSERVATION, "Observation?status:not=entered-in-error", True),
        (OBSERVATION, "Observation?code=718-7", True),
        (OBSERVATION, "Observation?code=http://loinc.org|718-7", True),
        (OBSERVATION, "Observation?code=http://loinc.org%7C718-7&status=final", True),
        (OBSERVATION, "Observation?code=http://other|718-7", False),
        (OBSERVATION, "Observation?code=http://loinc.org|", True),
        (OBSERVATION, "Observation?code=|HGB", True),
        (OBSERVATION, "Observation?code=|718-7", False),
        (OBSERVATION, "Observation?category=laboratory&status=preliminary", False),
        (OBSERVATION, "Observation?identifier=urn:lis|4711", True),
        (OBSERVATION, "Observation?identifier=4712", False),
        (OBSERVATION, "Observation?patient=7", True),
        (OBSERVATION, "Observation?patient=Patient/7", True),
        (OBSERVATION, "Observation?subject=http://his/fhir/Patient/7", True),
        (OBSERVATION, "Observation?subject=http://other/fhir/Patient/7", False),
        (OBSERVATION, "Observation?subject:Patient=7", True),
        (OBSERVATION, "Observation?subject:Group=7", False),
        (OBSERVATION, "Observation?encounter=Encounter/3", True),
        (OBSERVATION, "Observation?performer=9", True),
        (OBSERVATION, "Observation?specimen:missing=true", True),
        (OBSERVATION, "Observation?subject:missing=true", False),
        (OBSERVATION, "Observation?date=2026-03-01", True),
        (OBSERVATION, "Observation?date=2026-03", True),
        (OBSERVATION, "Observation?date=ge2026-03-01&date=lt2026-03-02", True),
        (OBSERVATION, "Observation?date=gt2026-03-01", False),
        (OBSERVATION, "Observation?date=sa2026-02", True),
        (OBSERVATION, "Observation?date=eb2026-03", False),
        (OBSERVATION, "Observation?date=ne2025", True),
        (OBSERVATION, "Observation?_lastUpdated=ge2026-03-01T00:00:00Z", True),
        (OBSERVATION, "Observation?_lastUpdated=lt2026-03-01T00:00:00Z", False),
        (OBSERVATION, "Observation?_profile=http://p/1&_tag=urn:t|x&_id=o-1", True),
        (PATIENT, "Patient?active=true&gender=female", True),
        (PATIENT, "Patient?active=false", False),
        (PATIENT, "Patient?birthdate=1990", True),
        (PATIENT, "Patient?birthdate=1990-03-05", False),
        (PATIENT, "Patient?birthdate=le1990-03-31", True),
        (PATIENT, "Patient?family=mül", True),
        (PATIENT, "Patient?family:exact=müller", False),
        (PATIENT, "Patient?name=张", True),
        (PATIENT, "Patient?given:contains=aria", True),
        (ENCOUNTER, "Encounter?class=IMP&status=in-progress", True),
        (ENCOUNTER, "Encounter?date=2026-05", False),
        (ENCOUNTER, "Encounter?date=ge2026-05", True),
        (ENCOUNTER, "Encounter?date=lt2026-01", False),
    ],
)  # fmt: skip
def test_a_criterion_is_met_or_not(tree: dict[str, Any], text: str, met: bool) -> None:
    assert criterion(text, "R4").meets(tree) is met


@pytest.mark.parametrize(
    "text",
    [
        "", "?", "patient", "Patients?active=true", "Patient?nonsense=1", "Patient?status=final", "Patient?active", "Patient?active=",
        "Patient?active:exact=true", "Patient?family:not=a", "Patient?birthdate=soon", "Patient?birthdate=ge", "Patient?birthdate=2026-13",
        "Patient?active:missing=perhaps", "Observation?subject.name=peter", "Observation?_has:x=1", "Patient?" + "&".join(["active=true"] * 30),
        "Patient?name=" + "x" * 3000, "Patient?name=%ff",
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(HubError):
        criterion(text, "R4")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["2026-01", "Patient/7", "9999-12-31"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["coding", "code", "value", "reference", "start", "concept", "family"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(
    st.sampled_from(["Observation?code=a|b", "Observation?date=ge2026", "Observation?subject=Patient/7", "Observation?status:missing=false"]),
    st.dictionaries(st.sampled_from(["code", "effectiveDateTime", "effectivePeriod", "subject", "status"]), _JSON),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_any_content_is_met_or_not(text: str, tree: dict[str, Any]) -> None:
    assert criterion(text, "R4").meets({"resourceType": "Observation", **tree}) in (True, False)


@given(
    st.text(max_size=40) | st.text(string.ascii_letters + "?&=:|,-0123456789_", max_size=40).map("Observation?".__add__)
)
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_criterion_or_refused(text: str) -> None:
    try:
        criterion(text, "R4").meets(OBSERVATION)
    except HubError:
        return


# -- endpoints ---------------------------------------------------------------------------------------------------------

GIVEN = {
    "endpoints": ["https://app.example.cn/hooks", "https://*.example.org", "http://10.1.2.3:8080"],
    "networks": ["10.1.0.0/16"],
}


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://app.example.cn/hooks", True),
        ("https://app.example.cn:443/hooks/a?b=c", True),
        ("https://app.example.cn/hooks2", False),
        ("https://app.example.cn/hooks/../admin", False),
        ("https://app.example.cn/hooks/%2e%2e/admin", False),
        ("https://app.example.cn/", False),
        ("http://app.example.cn/hooks", False),
        ("https://app.example.cn:8443/hooks", False),
        ("https://app.example.cn@evil.example/hooks", False),
        ("https://user:pw@app.example.cn/hooks", False),
        ("https://a.example.org/x", True),
        ("https://a.b.example.org", True),
        ("https://example.org", False),
        ("https://evilexample.org", False),
        ("https://a.example.org.evil.cn", False),
        ("http://10.1.2.3:8080/x", True),
        ("http://10.1.2.3/x", False),
        ("file:///etc/passwd", False),
        ("https://app.example.cn/hooks\r\nX: y", False),
        ("https://[::1", False),
        ("", False),
    ],
)
def test_endpoints_are_those_of_the_list(url: str, allowed: bool) -> None:
    assert SubscriptionOptions.model_validate(GIVEN).allows(url) is allowed


@pytest.mark.parametrize(
    ("address", "permitted"),
    [
        ("10.1.2.3", True), ("10.2.0.1", False), ("127.0.0.1", False), ("169.254.169.254", False), ("192.168.1.1", False), ("0.0.0.0", False),
        ("::1", False), ("::ffff:127.0.0.1", False), ("::ffff:10.1.9.9", True), ("fe80::1%eth0", False), ("fd00::1", False), ("224.0.0.1", False),
        ("100.64.0.1", False), ("8.8.8.8", True), ("2001:4860:4860::8888", True),
        ("64:ff9b::7f00:1", False), ("2002:7f00:1::", False),
    ],
)  # fmt: skip
def test_connections_are_made_to_public_addresses_and_those_of_the_list(address: str, permitted: bool) -> None:
    assert SubscriptionOptions.model_validate(GIVEN).permits(address) is permitted


@pytest.mark.parametrize(
    "options",
    [
        {"endpoints": []}, {}, {"endpoints": ["app.example.cn"]}, {"endpoints": ["https://a*.example.cn"]}, {"endpoints": ["https://*"]},
        {"endpoints": ["https://u:p@a.cn"]}, {"endpoints": ["https://a.cn"], "networks": ["10.0.0.1/8"]},
        {"endpoints": ["https://a.cn"], "retry_interval": "10m"}, {"endpoints": ["https://a.cn"], "off_after": "1s"},
    ],
)  # fmt: skip
def test_options_that_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SubscriptionOptions.model_validate(options)
