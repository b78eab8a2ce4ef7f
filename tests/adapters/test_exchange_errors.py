"""How each adapter tells a caller in request style that the target refused, failed, or has not answered."""

from __future__ import annotations

from typing import Any

import pytest
from lxml import etree

from adapters.http.problem import problem_of, retry_headers, target_code
from adapters.mllp.acknowledge import Acknowledger
from adapters.mq.envelope import error_headers
from adapters.soap.fault import fault_body
from adapters.soap.names import Version
from adapters.tcp.answers import Answers, answer_for
from hub.api import ExchangeError, Receipt
from hub.message import Outcome
from tests.adapters import fhir_support, soap_support
from tests.adapters.http_support import MemoryIntake, call, listening
from tests.adapters.mllp_support import code as ack_code
from tests.adapters.mllp_support import message


def failure(kind: str, reply_code: str = "", status: int = 0, reply: bytes | None = None) -> Receipt:
    code = {"late": "request.timeout", "pending": "request.pending"}.get(kind, "")
    error = ExchangeError("it says no", kind, code=code, reply_code=reply_code, status=status)
    return Receipt(Outcome.FAILED, 7, "query", "q1", error, reply)


@pytest.mark.parametrize(
    ("kind", "reply_code", "status", "expected"),
    [
        ("refused", "1002", 0, 422),
        ("refused", "1002", 200, 422),
        ("refused", "404", 404, 404),
        ("refused", "400", 400, 400),
        ("refused", "422", 422, 422),
        ("refused", "409", 409, 422),  # here 409 says that the first request is still under way
        ("refused", "401", 401, 502),  # it is the hub that the target does not let in
        ("refused", "403", 403, 502),
        ("failed", "500", 500, 502),
        ("failed", "send.timeout", 0, 504),
        ("unreachable", "send.unreachable", 0, 502),
        ("late", "", 0, 504),
        ("pending", "", 0, 409),
        ("hub", "mapping.failed", 0, 500),
    ],
)
def test_statuses(kind: str, reply_code: str, status: int, expected: int) -> None:
    receipt = failure(kind, reply_code, status)
    found, code = problem_of(receipt.error)
    assert found == expected
    assert retry_headers(found, code) == ({"Retry-After": "5"} if kind == "pending" else {})
    assert target_code(receipt.error) == reply_code


async def test_http_tells_the_targets_refusal_with_its_code() -> None:
    intake = MemoryIntake()
    intake.verdict = lambda raw: failure("refused", "1002", 404)
    async with listening(intake, {"style": "request"}) as receiver:
        answer = await call(receiver)
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
    assert (answer.json["code"], answer.json["target_code"]) == ("request.failed", "1002")
    assert answer.json["detail"] == "it says no"
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize(("kind", "status"), [("refused", 422), ("failed", 502)])
async def test_http_passes_on_what_the_contract_made_of_it(kind: str, status: int) -> None:
    intake = MemoryIntake()
    intake.verdict = lambda raw: failure(kind, "7", reply=b'{"why":"x"}')
    async with listening(intake, {"style": "request"}) as receiver:
        answer = await call(receiver)
    assert (answer.status, answer.body) == (status, b'{"why":"x"}')


@pytest.mark.parametrize(
    ("kind", "reply_code", "expected"),
    [
        ("refused", "1002", "AR"),
        ("refused", "AE", "AE"),
        ("refused", "AR", "AR"),
        ("failed", "500", "AE"),
        ("unreachable", "", "AE"),
        ("late", "", "AE"),
        ("pending", "", "AE"),
        ("hub", "", "AE"),
    ],
)
def test_mllp(kind: str, reply_code: str, expected: str) -> None:
    (found,) = Acknowledger("auto", True).answers(message("1"), failure(kind, reply_code))
    assert ack_code(found) == expected
    assert b"it says no" in found


def test_mllp_passes_on_what_the_contract_made_of_it() -> None:
    reply = b"MSH|^~\\&|x\rMSA|AE|1\r"
    assert Acknowledger("auto", True).answers(message("1"), failure("refused", "7", reply=reply)) == [reply]
    # Bytes that would end the frame are not sent as they are.
    (found,) = Acknowledger("auto", True).answers(message("1"), failure("refused", "7", reply=b"MSH\x1c\r"))
    assert ack_code(found) == "AR"


@pytest.mark.parametrize(
    ("kind", "later", "expected"),
    [("refused", "L", "R"), ("failed", "L", "L"), ("late", "L", "L"), ("failed", "", "R"), ("hub", "L", "R")],
)
def test_tcp(kind: str, later: str, expected: str) -> None:
    answers = Answers.model_validate({"accepted": "A", "refused": "R", "later": later})
    assert answer_for(answers, failure(kind), "utf-8") == expected.encode()


def test_soap_names_the_targets_code() -> None:
    fault = fault_body(Version.V12, "client", "request.failed", "it says no", language="en", target="1002 <x>")
    tree: Any = etree.fromstring(f'<e xmlns:soap="urn:s">{fault}</e>')
    assert tree.findtext(".//{urn:tongqu:problem}targetCode") == "1002 <x>"


def test_queues_name_whose_fault_it_is() -> None:
    headers = error_headers(failure("refused", "1002").error)
    assert (headers["x-error-code"], headers["x-error-kind"], headers["x-target-code"]) == (
        "request.failed",
        "refused",
        "1002",
    )


@pytest.mark.parametrize(
    ("kind", "status", "expected", "code", "fault"),
    [
        ("refused", 0, 422, "processing", "Client"),
        ("refused", 400, 400, "invalid", "Client"),
        ("refused", 404, 404, "not-found", "Client"),
        ("refused", 401, 502, "exception", "Server"),
        ("failed", 500, 502, "exception", "Server"),
        ("late", 0, 504, "timeout", "Server"),
        ("pending", 0, 409, "conflict", "Server"),
        ("hub", 0, 500, "exception", "Server"),
    ],
)
async def test_fhir_and_soap_tell_whose_fault_it_is(
    kind: str, status: int, expected: int, code: str, fault: str
) -> None:
    receipt = failure(kind, "E7", status)
    intake = fhir_support.FhirIntake()
    intake.verdict = lambda raw: receipt
    patient = b'{"resourceType":"Patient","active":true}'
    async with fhir_support.listening(intake, {"style": "request"}, interactions=["create", "search"]) as facade:
        answers = [
            await fhir_support.ask(facade, "POST", "/Patient", patient),
            await fhir_support.ask(facade, "GET", "/Patient?name=a"),
        ]
    for answer in answers:
        severity = "fatal" if expected == 500 else "error"
        assert fhir_support.outcome_of(answer) == (expected, severity, code)
        assert "(E7)" in answer.json["issue"][0]["diagnostics"]
        assert ("retry-after" in answer.headers) == (kind == "pending")
    soap = MemoryIntake()
    soap.verdict = lambda raw: receipt
    async with soap_support.listening(soap, **soap_support.HIP) as service:
        told = await soap_support.post(service, soap_support.hip_call("M"))
    assert told.status == 500
    assert soap_support.fault_of(told)[:2] == (fault, "it says no")
    assert etree.fromstring(told.body).findtext(".//{urn:tongqu:problem}targetCode") == "E7"


async def test_fhir_and_soap_pass_on_what_the_contract_made_of_it() -> None:
    intake = fhir_support.FhirIntake()
    issue = b'{"severity":"error","code":"business-rule","details":{"text":"no bed"}}'
    outcome = b'{"resourceType":"OperationOutcome","issue":[' + issue + b"]}"
    intake.verdict = lambda raw: failure("refused", "7", reply=outcome)
    patient = b'{"resourceType":"Patient","active":true}'
    async with fhir_support.listening(intake, {"style": "request"}, interactions=["create", "search"]) as facade:
        answer = await fhir_support.ask(facade, "POST", "/Patient", patient)
    assert fhir_support.outcome_of(answer) == (422, "error", "business-rule")
    soap = MemoryIntake()
    soap.verdict = lambda raw: failure("refused", "7", reply=b"<refused>7</refused>")
    async with soap_support.listening(soap, **soap_support.HIP) as service:
        told = await soap_support.post(service, soap_support.hip_call("M"))
    assert told.status == 200
    assert b"&lt;refused&gt;7&lt;/refused&gt;" in told.body
