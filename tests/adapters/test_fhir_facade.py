"""The FHIR facade, over real sockets; answers are judged by fhir.resources."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from adapters.fhir import FhirAdapter
from adapters.fhir.call import Call, call_of
from adapters.fhir.form import Forms
from adapters.http import HttpAdapter
from adapters.http.server import ServerPool
from hub.api import CodecError, Confidential, HubError, Receipt, StoreBusy, UnreachableError
from hub.ids import id_text
from hub.message import Outcome
from hub.validators.report import Finding, Kind, Severity
from tests.adapters import http_support
from tests.adapters.certificates import Authority
from tests.adapters.fhir_support import FhirIntake, ask, calling, judge, listening, outcome_of
from tests.adapters.http_support import outgoing, raw_call, until
from tests.codecs.fhir_support import SAMPLES as FHIR_SAMPLES

PATIENT = b'{"resourceType":"Patient","identifier":[{"system":"urn:h","value":"1"}],"active":true}'
SAMPLES = FHIR_SAMPLES / "r4-examples"
ID = (1 << 40) + 77
REQUEST = {"style": "request"}


def accepted(raw: bytes) -> Receipt:
    return Receipt(Outcome.OK, ID)


def intake_of(receipt: Receipt | None = None) -> FhirIntake:
    intake = FhirIntake()
    intake.verdict = (lambda raw: receipt) if receipt is not None else accepted
    return intake


def replying(tree: Any, status: int = 0) -> FhirIntake:
    body = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    return intake_of(Receipt(Outcome.OK, ID, reply=body, reply_status=status))


# -- event style -------------------------------------------------------------------------------------------------------


async def test_a_resource_is_created_and_its_bytes_are_the_message() -> None:
    intake = intake_of()
    async with listening(intake) as receiver:
        answer = await ask(
            receiver, "POST", "/Patient", PATIENT, If_None_Exist="identifier=urn:h|1", Idempotency_Key="k1"
        )
    assert (answer.status, answer.body) == (201, b"")
    assert answer.headers["location"] == f"http://hub/fhir/Patient/{id_text(ID)}"
    assert "etag" not in answer.headers  # versions are the target's
    assert answer.headers["last-modified"].endswith("GMT")
    taken = intake.taken[0]
    assert (taken.raw, taken.control_id) == (PATIENT, "k1")
    assert (taken.params["interaction"], taken.params["type"], taken.params["if_none_exist"]) == (
        "create",
        "Patient",
        "identifier=urn:h|1",
    )
    assert isinstance(taken.params["if_none_exist"], Confidential)  # the call log masks it, expressions don't


async def test_a_repetition_is_answered_as_the_first_time() -> None:
    intake = intake_of(Receipt(Outcome.DUPLICATE, ID))
    async with listening(intake) as receiver:
        answer = await ask(receiver, "POST", "/Patient", PATIENT)
    assert (answer.status, answer.headers["location"].split("/")[-1]) == (201, id_text(ID))


@pytest.mark.parametrize("wanted", ["minimal", "representation", "OperationOutcome"])
async def test_prefer(wanted: str) -> None:
    intake = intake_of()
    async with listening(intake, prefer="minimal") as receiver:
        answer = await ask(receiver, "POST", "/Patient", PATIENT, Prefer=f"return={wanted}")
    async with listening(intake_of(), prefer=wanted) as receiver:
        assert (await ask(receiver, "POST", "/Patient", PATIENT)).body == answer.body
    assert answer.status == 201
    if wanted == "minimal":
        assert answer.body == b""
    elif wanted == "representation":
        found = judge(answer)
        assert (found.id, found.meta.versionId, found.active) == (id_text(ID), None, True)
    else:
        assert outcome_of(answer) == (201, "information", "informational")


async def test_update_needs_the_same_id_or_a_search() -> None:
    intake = intake_of()
    body = b'{"resourceType":"Patient","id":"p-1","active":true}'
    async with listening(intake) as receiver:
        answer = await ask(receiver, "PUT", "/Patient/p-1", body, If_Match='W/"3"')
        assert (answer.status, answer.headers["location"]) == (200, "http://hub/fhir/Patient/p-1")
        assert outcome_of(await ask(receiver, "PUT", "/Patient/p-2", body)) == (400, "error", "invalid")
        assert outcome_of(await ask(receiver, "PUT", "/Patient?_format=json", body)) == (400, "error", "invalid")
        answer = await ask(receiver, "PUT", "/Patient?identifier=urn:h%7C1&_pretty=true", PATIENT)
        assert (answer.status, answer.headers["location"].split("/")[-1]) == (200, id_text(ID))
        assert outcome_of(await ask(receiver, "PUT", "/Observation/p-1", body)) == (400, "error", "invalid")
    assert [(one.params["id"], one.params["criteria"], one.params["if_match"]) for one in intake.taken] == [
        ("p-1", "", 'W/"3"'),
        ("", "identifier=urn:h%7C1", ""),
    ]


async def test_patch_and_delete_are_messages_of_their_own_type() -> None:
    intake = intake_of()
    patch = b' [{"op":"replace","path":"/x","value":1.50}]\n'
    parameters = b'{"resourceType":"Parameters","parameter":[]}'
    async with listening(intake, interactions=["patch", "delete"]) as receiver:
        answer = await ask(receiver, "PATCH", "/Patient/7", patch, "application/json-patch+json")
        assert answer.status == 200
        assert (await ask(receiver, "PATCH", "/Patient?identifier=1", parameters)).status == 200
        assert (await ask(receiver, "DELETE", "/Patient/7")).status == 204
        assert outcome_of(await ask(receiver, "DELETE", "/Patient/7", Prefer="return=OperationOutcome"))[0] == 200
        for body in (b'{"op":"add"}', b"[1]", b"[]", b'[{"op":"boom","path":"/a"}]', b"[", b""):
            assert outcome_of(await ask(receiver, "PATCH", "/Patient/7", body, "application/json-patch+json"))[0] in (
                400,
                415,
            )
        as_xml = await ask(receiver, "PATCH", "/Patient/7", patch, "application/fhir+xml", Accept="application/json")
        assert outcome_of(as_xml)[0] == 415
    assert [one.raw for one in intake.taken] == [
        b'{"resourceType":"Patient.patch","type":"Patient","id":"7","patch":' + patch.strip() + b"}",
        b'{"resourceType":"Patient.patch","type":"Patient","criteria":"identifier=1","patch":' + parameters + b"}",
        *[b'{"resourceType":"Patient.delete","type":"Patient","id":"7"}'] * 2,
    ]


async def test_a_transaction_is_one_message_and_gets_a_response_for_each_entry() -> None:
    intake = intake_of()
    entries = [
        {"resource": {"resourceType": "Patient"}, "request": {"method": "POST", "url": "Patient"}},
        {"resource": {"resourceType": "Patient", "id": "2"}, "request": {"method": "PUT", "url": "Patient/2"}},
        {"request": {"method": "DELETE", "url": "Patient/3"}},
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    async with listening(intake) as receiver:
        answer = await ask(receiver, "POST", "", json.dumps(bundle).encode())
        assert answer.status == 200
        found = judge(answer)
        asking = {**bundle, "entry": [{"request": {"method": "GET", "url": "Patient/1"}}]}
        assert outcome_of(await ask(receiver, "POST", "", json.dumps(asking).encode())) == (422, "error", "processing")
        for entry in (
            1,
            {},
            {"request": {"method": "POST", "url": "Patient"}},
            {"request": {"method": "BOOM", "url": "a"}},
        ):
            wrong = json.dumps({**bundle, "entry": [entry]}).encode()
            assert outcome_of(await ask(receiver, "POST", "/", wrong)) == (400, "error", "invalid")
    assert found.type == "transaction-response"
    assert [(one.response.status, one.response.location) for one in found.entry] == [
        ("201 Created", f"Patient/{id_text(ID)}-1"),
        ("200 OK", "Patient/2"),
        ("204 No Content", None),
    ]
    assert len(intake.taken) == 1


MESSAGE = {
    "resourceType": "Bundle",
    "type": "message",
    "timestamp": "2026-01-01T00:00:00Z",
    "entry": [
        {
            "fullUrl": "urn:uuid:267b18ce-3d37-4581-9baa-6fada338038b",
            "resource": {
                "resourceType": "MessageHeader",
                "id": "267b18ce-3d37-4581-9baa-6fada338038b",
                "eventCoding": {"system": "urn:e", "code": "admit"},
                "source": {"endpoint": "http://his.example/fhir"},
            },
        }
    ],
}


async def test_a_message_is_acknowledged_by_a_message() -> None:
    intake = intake_of()
    body = json.dumps(MESSAGE).encode()
    async with listening(intake) as receiver:
        for path in ("/$process-message", ""):
            found = judge(await ask(receiver, "POST", path, body))
            header = found.entry[0].resource
            assert (found.type, header.response.code) == ("message", "ok")
            assert header.response.identifier == "267b18ce-3d37-4581-9baa-6fada338038b"
            assert (header.eventCoding.code, header.destination[0].endpoint) == ("admit", "http://his.example/fhir")
        assert (await ask(receiver, "POST", "/$process-message?async=true", body)).status == 202
        elsewhere = await ask(receiver, "POST", "/$process-message?async=true&response-url=http://a/b", body)
        assert outcome_of(elsewhere)[0] == 422
        headless = json.dumps({**MESSAGE, "entry": [{"resource": {"resourceType": "Patient"}}]}).encode()
        assert outcome_of(await ask(receiver, "POST", "/$process-message", headless))[0] == 400
        assert outcome_of(await ask(receiver, "POST", "/$process-message", PATIENT))[0] == 400
        collection = b'{"resourceType":"Bundle","type":"collection"}'
        assert outcome_of(await ask(receiver, "POST", "", collection))[0] == 422
    assert [one.raw for one in intake.taken] == [body] * 3


async def test_a_collection_is_taken_where_it_is_offered() -> None:
    intake = intake_of()
    async with listening(intake, interactions=["collection"]) as receiver:
        answer = await ask(receiver, "POST", "", b'{"resourceType":"Bundle","type":"collection"}')
        assert (answer.status, answer.headers["location"]) == (201, f"http://hub/fhir/Bundle/{id_text(ID)}")
        assert outcome_of(await ask(receiver, "POST", "/Patient", PATIENT))[0] == 404


async def test_a_notification_without_a_body() -> None:
    intake = intake_of()
    async with listening(intake, interactions=["notify", "update"]) as receiver:
        answer = await ask(receiver, "POST", "?subscription=s1")
        assert (answer.status, answer.body) == (200, b"")
        assert (await ask(receiver, "PUT", "/Patient/7", b'{"resourceType":"Patient","id":"7"}')).status == 200
        assert outcome_of(await ask(receiver, "POST", "", b'{"resourceType":"Bundle","type":"batch"}'))[0] == 422
        intake.verdict = lambda raw: Receipt(Outcome.REFUSED, error=StoreBusy("later"))
        assert outcome_of(await ask(receiver, "POST", ""))[0] == 503
    told = b'{"resourceType":"Subscription.notify","type":"Subscription","parameters":{"subscription":"s1"}}'
    assert intake.taken[0].raw == told


# -- request style -----------------------------------------------------------------------------------------------------


async def test_a_search_becomes_a_message_and_its_reply_a_page() -> None:
    entries = [
        {"resource": {"resourceType": "Observation", "id": str(n), "status": "final", "code": {"text": "x"}}}
        for n in range(5)
    ]
    intake = replying({"resourceType": "Bundle", "type": "collection", "entry": entries})
    async with listening(intake, REQUEST) as receiver:
        answer = await ask(
            receiver, "GET", "/Observation?patient=p%7C1&date=ge2026&date=lt2027&_count=2&_offset=2&_format=json"
        )
        found = judge(answer)
        posted = await ask(
            receiver, "POST", "/Observation/_search", b"patient=p%7C1", "application/x-www-form-urlencoded"
        )
        assert outcome_of(await ask(receiver, "GET", "/Observation?_count=-1"))[0] == 400
        assert outcome_of(await ask(receiver, "GET", "/Observation?a=%FF"))[0] == 400
        assert outcome_of(await ask(receiver, "POST", "/Observation/_search", PATIENT))[0] == 415
    assert (found.type, found.total, [entry.resource.id for entry in found.entry]) == ("searchset", 5, ["2", "3"])
    assert {link.relation: link.url.partition("?")[2] for link in found.link} == {
        "self": "patient=p%7C1&date=ge2026&date=lt2027&_count=2&_format=json&_offset=2",
        "previous": "patient=p%7C1&date=ge2026&date=lt2027&_count=2&_format=json",
        "next": "patient=p%7C1&date=ge2026&date=lt2027&_count=2&_format=json&_offset=4",
    }
    assert json.loads(intake.taken[0].raw) == {
        "resourceType": "Observation.search",
        "type": "Observation",
        "parameters": {"patient": "p|1", "date": ["ge2026", "lt2027"], "_count": "2"},
    }
    assert len(judge(posted).entry) == 5
    assert json.loads(intake.taken[1].raw)["parameters"] == {"patient": "p|1"}


async def test_links_of_the_reply_are_kept_and_unknown_parameters_told() -> None:
    link = [{"relation": "next", "url": "http://other/fhir?page=2"}]
    intake = replying({"resourceType": "Bundle", "type": "searchset", "link": link, "total": 9})
    async with listening(intake, REQUEST, search={"patient": "reference"}) as receiver:
        found = judge(await ask(receiver, "GET", "/Observation?patient.name=a&color=red"))
        strict = await ask(receiver, "GET", "/Observation?color=red", Prefer="handling=strict")
    assert [one.relation for one in found.link] == ["self", "next"]
    assert (found.total, found.entry[0].search.mode, found.entry[0].resource.issue[0].severity) == (
        9,
        "outcome",
        "warning",
    )
    assert outcome_of(strict) == (400, "error", "invalid")


async def test_one_resource_is_a_page_and_nothing_is_an_empty_one() -> None:
    async with listening(replying(PATIENT), REQUEST) as receiver:
        assert judge(await ask(receiver, "GET", "/Patient")).total == 1
    async with listening(replying(b""), REQUEST) as receiver:
        found = judge(await ask(receiver, "GET", "/Patient?name=a"))
        assert (found.total, found.entry) == (0, None)


async def test_read() -> None:
    tree = {"resourceType": "Patient", "id": "7", "meta": {"versionId": "4"}}
    intake = replying(tree)
    async with listening(intake, REQUEST) as receiver:
        answer = await ask(receiver, "GET", "/Patient/7")
        assert (answer.status, answer.headers["etag"], answer.json) == (200, 'W/"4"', tree)
        assert (await ask(receiver, "GET", "/Patient/7", If_None_Match='W/"4"')).status == 304
        assert (await ask(receiver, "GET", "/Patient/7/_history/4")).status == 200
        assert outcome_of(await ask(receiver, "GET", "/Patient/7/_history"))[0] == 404
    assert json.loads(intake.taken[-1].raw) == {
        "resourceType": "Patient.read", "type": "Patient", "id": "7", "version": "4",
    }  # fmt: skip
    async with listening(replying(b""), REQUEST) as receiver:
        assert outcome_of(await ask(receiver, "GET", "/Patient/7")) == (404, "error", "not-found")
    del tree["meta"]  # a target without versions
    async with listening(replying(tree), REQUEST) as receiver:
        assert "etag" not in (await ask(receiver, "GET", "/Patient/7")).headers


async def test_the_history_is_asked_of_the_target() -> None:
    tree = {"resourceType": "Bundle", "type": "history"}
    intake = replying(tree)
    async with listening(intake, REQUEST, interactions=["history"]) as receiver:
        answer = await ask(receiver, "GET", "/Patient/7/_history?_count=5&_format=json")
        assert (answer.status, answer.json) == (200, tree)
        assert (await ask(receiver, "GET", "/Patient/_history?_since=2026-01-01")).status == 200
    assert [json.loads(one.raw) for one in intake.taken] == [
        {"resourceType": "Patient.history", "type": "Patient", "id": "7", "parameters": {"_count": "5"}},
        {"resourceType": "Patient.history", "type": "Patient", "parameters": {"_since": "2026-01-01"}},
    ]


@pytest.mark.parametrize(
    ("code", "status"),
    [("not-found", 404), ("deleted", 410), ("conflict", 409), ("multiple-matches", 412), ("throttled", 429),
     ("forbidden", 403), ("login", 401), ("business-rule", 422), ("transient", 503)],
)  # fmt: skip
async def test_an_outcome_of_the_target_gets_the_status_of_its_code(code: str, status: int) -> None:
    tree = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": code}]}
    async with listening(replying(tree), REQUEST) as receiver:
        assert outcome_of(await ask(receiver, "GET", "/Patient/7")) == (status, "error", code)
        assert outcome_of(await ask(receiver, "GET", "/Patient")) == (status, "error", code)


async def test_what_the_target_says_of_a_creation_is_the_answer() -> None:
    tree = {"resourceType": "Patient", "id": "new-1", "meta": {"versionId": "2"}}
    async with listening(replying(tree), REQUEST, interactions=["create"]) as receiver:
        answer = await ask(receiver, "POST", "/Patient", PATIENT)
    assert (answer.status, answer.json, answer.headers["location"]) == (
        201,
        tree,
        "http://hub/fhir/Patient/new-1/_history/2",
    )
    async with listening(replying(b"no FHIR"), REQUEST, interactions=["create"]) as receiver:
        assert outcome_of(await ask(receiver, "POST", "/Patient", PATIENT))[0] == 502


# -- CapabilityStatement, several interfaces, one base -----------------------------------------------------------------


async def test_the_capability_statement_says_what_the_interfaces_of_a_base_take() -> None:
    adapter = FhirAdapter()
    events, asks = intake_of(), replying({"resourceType": "Bundle", "type": "searchset"})
    options: dict[str, Any] = {
        "resources": ["Patient"],
        "interactions": ["create", "update", "transaction", "validate"],
    }
    async with listening(events, adapter=adapter, place="a/in", **options) as first:
        options = {"resources": ["Patient"], "interactions": ["read", "search"], "search": {"identifier": "token"}}
        async with listening(asks, REQUEST, adapter=adapter, place="a/ask", **options) as second:
            assert first.status()["port"] == second.status()["port"]
            found = judge(await ask(first, "GET", "/metadata"))
            assert (await ask(first, "GET", "/Patient")).status == 200
            assert (await ask(second, "POST", "/Patient/", PATIENT)).status == 201
            assert outcome_of(await ask(first, "GET", "/Observation"))[0] == 404
            with pytest.raises(HubError, match="belongs to a/ask"):
                async with listening(asks, REQUEST, adapter=adapter, place="a/more", **options):
                    pass
        answer = await ask(first, "DELETE", "/Patient/1")
        assert (outcome_of(answer)[0], answer.headers["allow"]) == (405, "PUT")
    assert (found.kind, str(found.fhirVersion), found.status) == ("instance", "4.0.1", "active")
    (rest,) = found.rest
    (resource,) = rest.resource
    assert [one.code for one in resource.interaction] == [
        "read", "update", "create", "vread", "search-type",
    ]  # fmt: skip
    assert [(one.name, one.type) for one in resource.searchParam] == [("identifier", "token")]
    assert (resource.conditionalCreate, resource.conditionalUpdate, resource.conditionalDelete) == (True, True, None)
    assert [one.code for one in rest.interaction] == ["transaction"]
    assert [one.name for one in resource.operation] == ["validate"]


async def test_a_port_is_shared_with_other_http_interfaces() -> None:
    pool = ServerPool()
    intake = intake_of()
    async with (
        listening(intake, adapter=FhirAdapter(pool)) as receiver,
        http_support.listening(intake, adapter=HttpAdapter(pool), place="b/in") as other,
    ):
        assert receiver.status()["port"] == other.status()["port"]
        assert (await http_support.call(other)).status == 202
        assert (await ask(receiver, "POST", "/Patient", PATIENT)).status == 201


@pytest.mark.parametrize(
    ("contract", "options"),
    [({}, {"interactions": ["search"]}), (REQUEST, {"interactions": ["import"]}), ({}, {"resources": ["Nonsense"]})],
)
async def test_what_does_not_fit_is_told_at_the_start(contract: dict[str, Any], options: dict[str, Any]) -> None:
    with pytest.raises(HubError) as caught:
        async with listening(intake_of(), contract, **options):
            pass
    assert caught.value.code == "fhir.contract"


# -- refusals ----------------------------------------------------------------------------------------------------------


async def test_refusals_are_operation_outcomes() -> None:
    intake = intake_of()
    auth = {"type": "bearer", "secret": "s3"}
    async with listening(intake, auth=auth, max_size=1000) as receiver:
        token = {"Authorization": "Bearer s3"}

        async def status(
            method: str, path: str, body: bytes = b"", kind: str = "application/fhir+json", **headers: str
        ) -> tuple[int, str, str]:
            return outcome_of(await ask(receiver, method, path, body, kind, **{**token, **headers}))

        assert outcome_of(await ask(receiver, "POST", "/Patient", PATIENT)) == (401, "error", "login")
        assert outcome_of(await ask(receiver, "GET", "/metadata")) == (401, "error", "login")
        assert await status("POST", "/Nonsense", PATIENT) == (404, "error", "not-found")
        assert await status("POST", "/a/b/c/d", PATIENT) == (404, "error", "not-found")
        assert await status("DELETE", "/Patient/1") == (405, "error", "not-supported")
        assert await status("POST", "/Patient", PATIENT, Accept="image/png") == (406, "error", "not-supported")
        assert await status("POST", "/Patient?_format=pdf", PATIENT) == (406, "error", "not-supported")
        assert await status("POST", "/Patient", PATIENT, "text/plain") == (415, "error", "not-supported")
        assert await status("POST", "/Patient", PATIENT, "application/fhir+json; charset=gbk") == (
            415,
            "error",
            "not-supported",
        )
        assert await status("POST", "/Patient", b" " * 1001) == (413, "error", "too-long")
        for body in (
            b" ",
            b"{",
            b"[]",
            b'"a"',
            b"{}",
            b'{"resourceType":5}',
            b"<Patient/>",
            b"[" * 900,
            b"\xff\xfe",
            b"\0",
        ):
            assert (await status("POST", "/Patient", body))[0] == 400, body
        intake.is_ready = False
        answer = await ask(receiver, "POST", "/Patient", PATIENT, **token)
        assert (outcome_of(answer), answer.headers["retry-after"]) == ((503, "error", "transient"), "5")
    assert not intake.taken
    assert any(raw == b"{" for _, raw, _ in intake.refused)  # the call log keeps what came


async def test_too_many_calls_are_throttled() -> None:
    async with listening(intake_of(), rate={"calls": 1, "per": "address"}) as receiver:
        answers = [await ask(receiver, "GET", "/metadata") for _ in range(50)]
    assert 429 in {answer.status for answer in answers}
    assert outcome_of(next(answer for answer in answers if answer.status == 429)) == (429, "error", "throttled")


@pytest.mark.parametrize(
    ("receipt", "status", "code"),
    [
        (Receipt(Outcome.REFUSED, error=StoreBusy("later")), 503, "transient"),
        (Receipt(Outcome.REFUSED, error=HubError("no", code="route.request")), 422, "processing"),
        (Receipt(Outcome.REFUSED, error=CodecError("no", code="json.syntax")), 400, "invalid"),
        (Receipt(Outcome.FAILED, error=HubError("x", code="request.pending")), 409, "conflict"),
        (Receipt(Outcome.FAILED, error=HubError("x", code="request.failed")), 502, "exception"),
        (Receipt(Outcome.FAILED, error=HubError("x", code="request.timeout")), 504, "timeout"),
    ],
)
async def test_what_the_hub_refuses(receipt: Receipt, status: int, code: str) -> None:
    async with listening(intake_of(receipt)) as receiver:
        assert outcome_of(await ask(receiver, "POST", "/Patient", PATIENT)) == (status, "error", code)
    async with listening(intake_of(receipt), REQUEST) as receiver:
        assert outcome_of(await ask(receiver, "GET", "/Patient?name=a")) == (status, "error", code)


MISSING = Finding("fhir.required", "name is missing", "Patient.name", "add it", Kind.MISSING).as_dict()
NOTED = Finding("code", "unknown", "Patient.gender", "", Kind.CODE, severity=Severity.WARNING).as_dict()


async def test_findings_are_issues_with_their_place() -> None:
    refused = Receipt(Outcome.REFUSED, error=HubError("2", code="validate.failed"), findings=[MISSING, NOTED])
    async with listening(intake_of(refused)) as receiver:
        answer = await ask(receiver, "POST", "/Patient", PATIENT)
    found = judge(answer)
    assert answer.status == 422
    assert [(one.severity, one.code, one.expression) for one in found.issue] == [
        ("error", "required", ["Patient.name"]),
        ("warning", "code-invalid", ["Patient.gender"]),
    ]


async def test_validate_stores_nothing() -> None:
    intake = intake_of()
    wrapped = b'{"resourceType":"Parameters","parameter":[{"name":"mode","valueCode":"create"},{"name":"resource","resource":%b}]}'
    async with listening(intake) as receiver:
        assert outcome_of(await ask(receiver, "POST", "/Patient/$validate", PATIENT)) == (
            200,
            "information",
            "informational",
        )
        intake.findings = [MISSING]
        assert outcome_of(await ask(receiver, "POST", "/Patient/7/$validate", wrapped % PATIENT)) == (
            200,
            "error",
            "required",
        )
        assert outcome_of(await ask(receiver, "POST", "/Observation/$validate", PATIENT)) == (200, "error", "invalid")
        empty = b'{"resourceType":"Parameters"}'
        assert outcome_of(await ask(receiver, "POST", "/Patient/$validate", empty))[0] == 400
        intake.fails = StoreBusy("later")
        assert outcome_of(await ask(receiver, "POST", "/Patient/$validate", PATIENT)) == (503, "error", "transient")
    assert (intake.taken, intake.checked) == ([], [PATIENT] * 3)


# -- forms -------------------------------------------------------------------------------------------------------------


async def test_answers_come_in_the_form_that_is_wanted() -> None:
    body = b'<Patient xmlns="http://hl7.org/fhir"><active value="true"/></Patient>'
    prefer = "return=representation"
    intake = intake_of()
    async with listening(intake) as receiver:
        xml = await ask(receiver, "POST", "/Patient", body, "application/fhir+xml", Prefer=prefer)
        as_json = await ask(
            receiver, "POST", "/Patient", body, "application/fhir+xml", Prefer=prefer, Accept="application/fhir+json"
        )
        pretty = await ask(
            receiver, "POST", "/Patient?_pretty=true&_format=application/fhir+json", body, "text/xml", Prefer=prefer
        )
    assert intake.taken[0].raw == body
    assert xml.headers["content-type"] == "application/fhir+xml; charset=utf-8"
    assert etree.fromstring(xml.body).find("{http://hl7.org/fhir}id").get("value") == id_text(ID)  # type: ignore[union-attr]
    assert as_json.headers["content-type"] == "application/fhir+json; charset=utf-8"
    assert pretty.json == as_json.json
    assert pretty.body.startswith(b'{\n  "resourceType": "Patient",\n  "active": true,')


@pytest.mark.parametrize(
    ("accept", "sent", "kind"),
    [
        ("*/*", "", "json"),
        ("*/*", "application/fhir+xml", "xml"),
        ("application/xml;q=0.9, application/json;q=0.3", "", "xml"),
        ("text/html, application/xhtml+xml, */*;q=0.1", "", "json"),
        ("application/fhir+xml;q=0, text/json", "", "json"),
    ],
)
def test_accept(accept: str, sent: str, kind: str) -> None:
    assert Forms("R4", "json").of([], accept, sent).codec.content_type == f"application/fhir+{kind}"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(), JSON))
def test_indented_json_is_the_same_json(tree: dict[str, Any]) -> None:
    tree["resourceType"] = "Basic"
    form = Forms("R4", "json").of([("_pretty", "true")], "*/*", "")
    try:
        written = form.write(tree)
    except CodecError:
        return
    assert json.loads(written) == tree


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["GET", "POST", "PUT", "HEAD", "X"]),
    st.lists(st.text(max_size=12) | st.sampled_from(["Patient", "_search", "$validate", "_history"]), max_size=5),
)
def test_every_path_is_a_call_or_none(method: str, parts: list[str]) -> None:
    found = call_of(method, parts)
    assert isinstance(found, Call) or method not in found


# -- bulk --------------------------------------------------------------------------------------------------------------

NDJSON = "application/fhir+ndjson"


async def test_an_import_takes_each_line_for_itself() -> None:
    intake = intake_of()
    lines = [b'{"resourceType":"Patient","id":"%d"}' % number for number in range(5)]
    body = b"\n".join([lines[0], b"", b"nonsense", *lines[1:], b'{"resourceType":"Basic"}\r'])
    async with listening(intake, interactions=["import"], resources=["Patient"], import_page=2) as receiver:
        answer = await ask(receiver, "POST", "/$import", body, NDJSON, Idempotency_Key="file-1")
        again = await ask(receiver, "POST", "/$import", body, NDJSON, Idempotency_Key="file-1")
        assert outcome_of(await ask(receiver, "POST", "/$import", body))[0] == 415
    found = judge(answer)
    assert [item.raw for item in intake.items[:5]] == lines
    assert [item.control_id for item in intake.items[:3]] == ["file-1:1", "file-1:4", "file-1:5"]
    assert intake.pages[:3] == [2, 2, 2]
    assert "5 lines stored" in found.issue[0].details.text or "已存储 5 行" in found.issue[0].details.text
    assert [(one.severity, one.diagnostics) for one in found.issue[1:]] == [
        ("error", "json.syntax: line 3"),
        ("error", "fhir.type: line 8"),
    ]
    told = judge(again).issue[0].details.text
    assert "5 were there before" in told or "重复 5 行" in told


async def test_an_import_that_ends_early_says_what_is_stored() -> None:
    line = b'{"resourceType":"Patient"}\n'
    intake = intake_of()
    async with listening(intake, interactions=["import"], max_size=100, import_page=1) as receiver:
        answer = await ask(receiver, "POST", "/$import", line + b"x" * 300, NDJSON)
        assert outcome_of(answer) == (413, "error", "too-long")
        assert len(intake.items) == 1
        head = b"POST /fhir/$import HTTP/1.1\r\nHost: hub\r\nContent-Type: application/fhir+ndjson\r\nContent-Length: 500\r\n\r\n"
        port = receiver.status()["port"]
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head + line * 2 + b"{")
        await until(lambda: len(intake.items) == 3)
        writer.close()
        intake.fails = StoreBusy("later")
        answer = await ask(receiver, "POST", "/$import", line * 2, NDJSON)
        assert (outcome_of(answer), answer.headers["retry-after"]) == ((503, "error", "transient"), "5")
        intake.fails = None
    assert len(intake.items) == 3


# -- connections -------------------------------------------------------------------------------------------------------


async def test_a_call_cut_in_the_middle_leaves_nothing() -> None:
    intake = intake_of()
    async with listening(intake) as receiver:
        port = receiver.status()["port"]
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /fhir/Patient HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n{")
        await until(lambda: receiver.status()["under_way"] == 1)
        writer.close()
        await until(lambda: receiver.status()["under_way"] == 0)
        assert (await ask(receiver, "POST", "/Patient", PATIENT)).status == 201
    assert len(intake.taken) == 1


async def test_stop_lets_calls_finish_and_the_base_opens_again() -> None:
    intake = intake_of()
    intake.at_once = False
    adapter = FhirAdapter()
    async with listening(intake, adapter=adapter) as receiver:
        under_way = asyncio.create_task(ask(receiver, "POST", "/Patient", PATIENT))
        await until(lambda: intake.waiting)
        stopping = asyncio.create_task(receiver.stop(5.0))
        await asyncio.sleep(0)
        intake.finish()
        assert (await under_way).status == 201
        await stopping
        await receiver.start()
        intake.at_once = True
        assert (await ask(receiver, "POST", "/Patient", PATIENT)).status == 201


async def test_a_forged_host_does_not_get_into_the_answer() -> None:
    async with listening(intake_of()) as receiver:
        head = b'POST /fhir/Patient HTTP/1.1\r\nHost: a"><b\r\nContent-Length: %d\r\n\r\n' % len(PATIENT)
        answer = await raw_call(receiver.status()["port"], head + PATIENT)
        assert answer.status in (201, 400)
        assert "<b" not in answer.headers.get("location", "")
    async with listening(intake_of(), public_url="https://hub.example.cn/r4/") as receiver:
        answer = await ask(receiver, "POST", "/Patient", PATIENT)
        assert answer.headers["location"].startswith("https://hub.example.cn/r4/Patient/")


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the public samples are not here")
async def test_public_samples_are_stored_byte_for_byte() -> None:
    intake = intake_of()
    files = sorted(SAMPLES.glob("*.json"))
    posted: list[bytes] = []
    async with listening(intake) as receiver:
        for file in files:
            raw = file.read_bytes()
            kind = json.loads(raw)["resourceType"]
            answer = await ask(receiver, "POST", f"/{kind}", raw, Prefer="return=representation")
            assert answer.status == 201, (file.name, answer.body[:300])
            assert {**answer.json, "id": 0, "meta": 0} == {**json.loads(raw), "id": 0, "meta": 0}, file.name
            posted.append(raw)
    assert [one.raw for one in intake.taken] == posted
    assert len(posted) > 50


async def test_what_is_stored_is_never_answered_with_a_failure() -> None:
    """Whatever stands in a body that was taken: XML can't hold all of it, and an answer of 500 would have it sent again."""
    strange = b'{"resourceType":"Patient","no element":"\\u0001"}'
    entry = {"resource": {"resourceType": "\x01"}, "request": {"method": "PUT", "url": "a\x01?/"}}
    batch = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [entry, {**entry, "request": {"method": "POST", "url": "x"}}],
    }
    header = {
        "resourceType": "MessageHeader",
        "id": 5,
        "eventCoding": {"code": "\x01", "x": 1},
        "source": {"endpoint": "\x02"},
    }
    message = {**MESSAGE, "entry": [{"resource": header}]}
    intake = intake_of()
    async with listening(intake) as receiver:
        for path, body in (("/Patient", strange), ("", json.dumps(batch).encode()), ("", json.dumps(message).encode())):
            for kind in ("xml", "json"):
                answer = await ask(receiver, "POST", f"{path}?_format={kind}", body, Prefer="return=representation")
                assert answer.status in (200, 201), answer.body
    assert len(intake.taken) == 6


async def test_tls_and_a_certificate_that_is_not_trusted(tmp_path: Path) -> None:
    Authority(tmp_path, "mine").issue("hub", "127.0.0.1")
    Authority(tmp_path, "other")
    tls = {"certificate": str(tmp_path / "hub.pem"), "key": str(tmp_path / "hub.key")}
    async with listening(intake_of(), tls=tls) as receiver:
        url = f"https://127.0.0.1:{receiver.status()['port']}/fhir"
        async with calling(url, tls={"ca": str(tmp_path / "mine.pem")}) as sender:
            assert (await sender.send(outgoing(PATIENT))).status == 201
        async with calling(url, tls={"ca": str(tmp_path / "other.pem")}) as sender:
            with pytest.raises(UnreachableError) as caught:
                await sender.send(outgoing(PATIENT))
            assert caught.value.code == "tls.verify"


async def test_a_large_transaction() -> None:
    entry = {"resource": {"resourceType": "Basic"}, "request": {"method": "POST", "url": "Basic"}}
    body = json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": [entry] * 3000}).encode()
    intake = intake_of()
    async with listening(intake) as receiver:
        answer = await ask(receiver, "POST", "", body)
    assert (answer.status, len(answer.json["entry"]), intake.taken[0].raw) == (200, 3000, body)


async def test_a_condition_that_would_be_cut_is_refused() -> None:
    async with listening(intake_of()) as receiver:
        answer = await ask(receiver, "POST", "/Patient", PATIENT, If_None_Exist="identifier=" + "1" * 256)
        assert outcome_of(answer) == (400, "error", "invalid")


async def test_broken_bodies_always_get_an_operation_outcome() -> None:
    chance = random.Random(4)
    xml = b'<Patient xmlns="http://hl7.org/fhir"><id value="1"/><text><div xmlns="http://www.w3.org/1999/xhtml">a</div></text></Patient>'
    sources = [json.dumps(MESSAGE).encode(), PATIENT, xml]
    statuses: set[int] = set()
    async with listening(
        intake_of(), interactions=["create", "patch", "transaction", "message", "validate"]
    ) as receiver:
        for _ in range(150):
            body = bytearray(chance.choice(sources))
            for _ in range(chance.randint(1, 4)):
                at = chance.randrange(len(body))
                body[at : at + chance.randint(0, 20)] = chance.choice(
                    [b"", b"\xff", b"{", b"]", b"null", b'"', b"<!DOCTYPE a>", b"9" * 30]
                )
            path = chance.choice(["", "/Patient", "/$process-message", "/Patient/$validate"])
            answer = await ask(
                receiver,
                "POST",
                path,
                bytes(body) or b" ",
                chance.choice(["text/xml", "application/json"]),
                Accept="text/json",
            )
            statuses.add(answer.status)
            assert answer.status in (200, 201, 400, 422), (bytes(body), answer.body)
            if answer.status >= 400:
                outcome_of(answer)
    assert statuses >= {200, 400}
