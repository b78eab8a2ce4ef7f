"""What validation found, in HTTP answers: problem documents, OperationOutcomes, XML."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from lxml import etree

from adapters.http import HttpAdapter
from adapters.http.receiver import HttpReceiver
from hub.api import Codec, HubError, Receipt, StoreBusy
from hub.codecs.fhir import FhirCodec, FhirFormat
from hub.codecs.json_codec import JsonCodec
from hub.codecs.xml_codec import XmlCodec
from hub.message import Outcome
from hub.validators.report import Finding, Kind, Severity
from tests.adapters.http_support import MemoryIntake, bound_in, call

MISSING = Finding("json.required", "amount is missing", "order.amount", "add amount", Kind.MISSING).as_dict()
NOTED = Finding("total", "the sum differs <5>", "", "", Kind.CONTRADICTION, severity=Severity.WARNING).as_dict()
REFUSED = Receipt(
    Outcome.REFUSED, error=HubError("2 findings", code="validate.failed", remedy="mend it"), findings=[MISSING, NOTED]
)
PROBLEM = "{urn:ietf:rfc:7807}"


@asynccontextmanager
async def receiving(codec: Codec, receipt: Receipt) -> AsyncIterator[HttpReceiver]:
    intake = MemoryIntake()
    intake.verdict = lambda raw: receipt
    receiver = HttpAdapter().receiver(replace(bound_in(content_types=[]), codec=codec), intake)
    assert isinstance(receiver, HttpReceiver)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop(1.0)


async def test_json_gets_a_problem_document_with_findings() -> None:
    async with receiving(JsonCodec(), REFUSED) as receiver:
        answer = await call(receiver)
    assert (answer.status, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json["code"] == "validate.failed"
    assert answer.json["findings"] == [MISSING, NOTED]


async def test_what_was_noted_is_told_with_the_acceptance() -> None:
    async with receiving(JsonCodec(), Receipt(Outcome.OK, 1, findings=[NOTED])) as receiver:
        answer = await call(receiver)
    assert (answer.status, answer.json["outcome"], answer.json["findings"]) == (202, "accepted", [NOTED])
    async with receiving(JsonCodec(), Receipt(Outcome.OK, 1)) as receiver:
        assert "findings" not in (await call(receiver)).json


async def test_no_more_than_twenty() -> None:
    many: Any = [MISSING] * 30
    for receipt in (replace(REFUSED, findings=many), Receipt(Outcome.OK, 1, findings=many)):
        async with receiving(JsonCodec(), receipt) as receiver:
            assert len((await call(receiver)).json["findings"]) == 20


async def test_fhir_gets_an_operation_outcome() -> None:
    async with receiving(FhirCodec(), REFUSED) as receiver:
        answer = await call(receiver)
    assert (answer.status, answer.headers["content-type"]) == (422, "application/fhir+json")
    assert answer.json == {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": "error",
                "code": "required",
                "details": {"text": "amount is missing"},
                "diagnostics": "json.required: add amount",
                "expression": ["order.amount"],
            },
            {
                "severity": "warning",
                "code": "business-rule",
                "details": {"text": "the sum differs <5>"},
                "diagnostics": "total",
            },
        ],
    }


async def test_fhir_in_xml() -> None:
    async with receiving(FhirCodec().configured(FhirFormat(write="xml")), REFUSED) as receiver:
        answer = await call(receiver)
    assert answer.headers["content-type"] == "application/fhir+xml"
    assert etree.fromstring(answer.body).tag == "{http://hl7.org/fhir}OperationOutcome"


@pytest.mark.parametrize(
    ("receipt", "status", "code"),
    [
        (Receipt(Outcome.REFUSED, error=StoreBusy("later")), 503, "transient"),
        (Receipt(Outcome.REFUSED), 422, "processing"),
    ],
)
async def test_fhir_hears_of_other_refusals_in_the_same_form(receipt: Receipt, status: int, code: str) -> None:
    async with receiving(FhirCodec(), receipt) as receiver:
        answer = await call(receiver)
    assert answer.status == status
    assert [(issue["severity"], issue["code"]) for issue in answer.json["issue"]] == [("error", code)]


async def test_xml_gets_a_problem_document_in_xml() -> None:
    async with receiving(XmlCodec(), REFUSED) as receiver:
        answer = await call(receiver)
        wrong_path = await call(receiver, method="PUT")
    assert (answer.status, answer.headers["content-type"]) == (422, "application/problem+xml")
    root = etree.fromstring(answer.body)
    assert root.tag == f"{PROBLEM}problem"
    assert root.findtext(f"{PROBLEM}code") == "validate.failed"
    entries = root.findall(f"{PROBLEM}findings/{PROBLEM}i")
    assert [entry.findtext(f"{PROBLEM}rule") for entry in entries] == ["json.required", "total"]
    assert entries[1].findtext(f"{PROBLEM}text") == "the sum differs <5>"
    assert wrong_path.status == 405
