"""The FHIR client against scripted servers, and against our own facade."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.fhir.options import FhirConnect
from hub.api import PermanentError, Receipt, TransientError, UnreachableError
from hub.message import Outcome
from tests.adapters.fhir_support import FhirIntake, calling, listening
from tests.adapters.http_support import Peer, outgoing, scripted

PATIENT = b'{"resourceType":"Patient","active":true}'
KNOWN = b'{"resourceType":"Patient","id":"p-1"}'


async def sent(
    body: bytes, variables: dict[str, Any] | None = None, **options: Any
) -> tuple[str, dict[str, str], bytes]:
    """What the server gets."""
    got: list[tuple[str, dict[str, str], bytes]] = []

    async def script(peer: Peer) -> None:
        got.append(await peer.request())
        peer.answer(b"", "200 OK")

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}/r4", **options) as sender:
        reply = await sender.send(outgoing(body, **(variables or {})))
    assert reply.ok
    return got[0]


@pytest.mark.parametrize(
    ("body", "options", "line"),
    [
        (PATIENT, {}, "POST /r4/Patient"),
        (KNOWN, {}, "PUT /r4/Patient/p-1"),
        (KNOWN, {"interaction": "create"}, "POST /r4/Patient"),
        (KNOWN, {"interaction": "validate", "profile": "http://p/1"}, "POST /r4/Patient/$validate?profile=http%3A%2F%2Fp%2F1"),
        (b'{"resourceType":"Bundle","type":"transaction"}', {}, "POST /r4"),
        (b'{"resourceType":"Bundle","type":"message"}', {}, "POST /r4/$process-message"),
        (b'{"resourceType":"Bundle","type":"document"}', {}, "POST /r4/Bundle"),
        (b'{"resourceType":"Patient.read","id":"7"}', {}, "GET /r4/Patient/7"),
        (b'{"resourceType":"Patient.read","id":"7","version":"2"}', {}, "GET /r4/Patient/7/_history/2"),
        (b'{"resourceType":"Patient.history","id":"7","parameters":{"_count":"5"}}', {},
         "GET /r4/Patient/7/_history?_count=5"),
        (b'{"resourceType":"Patient.history"}', {}, "GET /r4/Patient/_history"),
        (b'{"resourceType":"Patient.delete","id":"7"}', {}, "DELETE /r4/Patient/7"),
        (b'{"resourceType":"Patient.delete","criteria":"identifier=a%7Cb"}', {}, "DELETE /r4/Patient?identifier=a%7Cb"),
        (b'{"resourceType":"Observation.search","parameters":{"date":["ge1","lt2"],"code":"a|b"}}', {},
         "GET /r4/Observation?date=ge1&date=lt2&code=a%7Cb"),
        (b'<Patient xmlns="http://hl7.org/fhir"><id value="x1"/></Patient>', {}, "PUT /r4/Patient/x1"),
        (b'{"resourceType":"Patient","id":"a/../b?c"}', {}, "PUT /r4/Patient/a%2F..%2Fb%3Fc"),
    ],
)  # fmt: skip
async def test_the_request_follows_from_the_body(body: bytes, options: dict[str, Any], line: str) -> None:
    first, headers, got = await sent(body, **options)
    assert first == f"{line} HTTP/1.1"
    assert got == (b"" if line.startswith(("GET", "DELETE")) else body)
    assert headers.get("content-type", "application/fhir+json") == "application/fhir+json"
    assert headers["accept"] == "application/fhir+json"
    assert ("idempotency-key" in headers) == (not line.startswith("GET"))


async def test_conditions() -> None:
    key = {"mrn": "a|1&x=2"}
    first, headers, _ = await sent(PATIENT, key, if_none_exist="identifier=urn:h%7C{mrn}")
    assert (first.split(" ")[:2], headers["if-none-exist"]) == (
        ["POST", "/r4/Patient"],
        "identifier=urn:h%7Ca%7C1%26x%3D2",
    )
    first, _, _ = await sent(KNOWN, key, criteria="identifier={mrn}")
    assert first.startswith("PUT /r4/Patient?identifier=a%7C1%26x%3D2 ")
    # What the facade got is passed on as it is, and may be missing.
    options = {"if_none_exist": "{if_none_exist}", "if_match": "{if_match}", "prefer": "minimal"}
    first, headers, _ = await sent(PATIENT, {"if_none_exist": "identifier=a%7Cb&name=c"}, **options)
    assert headers["if-none-exist"] == "identifier=a%7Cb&name=c"
    first, headers, _ = await sent(KNOWN, {"if_none_exist": "", "if_match": 'W/"3"'}, **options)
    assert (first.split(" ")[:2], headers["if-match"], headers["prefer"]) == (
        ["PUT", "/r4/Patient/p-1"],
        'W/"3"',
        "return=minimal",
    )
    assert "if-none-exist" not in headers
    async with calling("http://127.0.0.1:9/r4", if_none_exist="identifier={mrn}") as sender:
        with pytest.raises(PermanentError):  # without the value the condition would find everything
            await sender.send(outgoing(PATIENT))


async def test_a_patch_goes_out_digit_for_digit() -> None:
    body = b'{"resourceType":"Patient.patch","type":"Patient","id":"7","patch":[{"op":"add","path":"/v","value":1.50}]}'
    first, headers, got = await sent(body)
    assert (first, headers["content-type"]) == ("PATCH /r4/Patient/7 HTTP/1.1", "application/json-patch+json")
    assert got == b'[{"op":"add","path":"/v","value":1.50}]'


async def test_oauth2_is_that_of_http() -> None:
    async def script(peer: Peer) -> None:
        line, headers, _ = await peer.request()
        if "/token" in line:
            peer.answer(b'{"access_token":"T1","expires_in":60}', "200 OK", "Content-Type: application/json")
        else:
            assert headers["authorization"] == "Bearer T1"
            peer.answer(b"", "201 Created")

    async with scripted(script) as port:
        auth = {"type": "oauth2", "url": f"http://127.0.0.1:{port}/token", "client_id": "c", "client_secret": "s"}
        async with calling(f"http://127.0.0.1:{port}/r4", auth=auth) as sender:
            assert (await sender.send(outgoing(PATIENT))).status == 201


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"{", b'{"resourceType":"Patient.read"}', b'{"resourceType":"Patient.read","id":".."}',
     b'{"resourceType":"X.search","parameters":1}', b"<a/>"],
)  # fmt: skip
async def test_what_can_not_be_sent_is_permanent(body: bytes) -> None:
    async with calling("http://127.0.0.1:9/r4") as sender:
        with pytest.raises(PermanentError):
            await sender.send(outgoing(body))


def test_options_that_contradict_are_refused() -> None:
    for options in ({"url": "http://a/{x}"}, {"url": "http://a/?q=1"}, {"if_none_exist": "{"}, {"path": "/x"}, {"since": "1"}):  # fmt: skip
        with pytest.raises(ValidationError):
            FhirConnect.model_validate({"url": "http://127.0.0.1/r4", **options})


# -- answers -----------------------------------------------------------------------------------------------------------


async def answered(status: str, tree: Any, *headers: str, **options: Any) -> Any:
    body = tree if isinstance(tree, bytes) else json.dumps(tree).encode()

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.answer(body, status, "Content-Type: application/fhir+json", *headers)

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}", **options) as sender:
        return await sender.send(outgoing(PATIENT))


def issue(severity: str, code: str, text: str = "why") -> dict[str, Any]:
    found = {"severity": severity, "code": code, "details": {"text": text}, "expression": ["Patient.name"]}
    return {"resourceType": "OperationOutcome", "issue": [{"severity": "information", "code": "informational"}, found]}


@pytest.mark.parametrize(
    ("status", "code", "transient"),
    [
        ("400 Bad Request", "invalid", False),
        ("409 Conflict", "conflict", False),
        ("412 Precondition Failed", "multiple-matches", False),
        ("422 Unprocessable", "business-rule", False),
        ("409 Conflict", "lock-error", True),
        ("429 Too Many Requests", "throttled", True),
        ("503 Service Unavailable", "transient", True),
    ],
)
async def test_an_operation_outcome_is_the_error(status: str, code: str, transient: bool) -> None:
    reply = await answered(status, issue("error", code, "call 13800138000"), "Retry-After: 7")
    assert (reply.ok, reply.code, reply.transient, reply.retry_after) == (False, code, transient, 7.0)
    assert f"error {code}" in reply.error
    assert "Patient.name" in reply.error
    assert "13800138000" not in reply.error  # masked
    assert reply.unavailable == status.startswith("503")


async def test_a_warning_is_no_error_and_errors_of_validate_are() -> None:
    assert (await answered("201 Created", issue("warning", "code-invalid"))).ok
    assert (await answered("200 OK", issue("error", "value"))).ok
    reply = await answered("200 OK", issue("error", "value"), interaction="validate")
    assert (reply.ok, reply.code, reply.transient) == (False, "value", False)


@pytest.mark.parametrize(
    ("code", "ok", "transient"), [("ok", True, False), ("transient-error", False, True), ("fatal-error", False, False)]
)
async def test_the_response_of_a_message(code: str, ok: bool, transient: bool) -> None:
    header = {"resourceType": "MessageHeader", "response": {"identifier": "1", "code": code}}
    entries = [{"resource": header}, {"resource": issue("error", "processing")}]
    reply = await answered("200 OK", {"resourceType": "Bundle", "type": "message", "entry": entries})
    assert (reply.ok, reply.transient) == (ok, transient)
    assert ok or (reply.code == code and "why" in reply.error)


@pytest.mark.parametrize(
    ("statuses", "ok", "transient"),
    [
        (["201", "200 OK"], True, False),
        (["201", "422"], False, False),
        (["503", "429"], False, True),
        (["503", "201"], False, False),
    ],
)
async def test_the_entries_of_a_batch(statuses: list[str], ok: bool, transient: bool) -> None:
    entries = [{"response": {"status": status}} for status in statuses]
    reply = await answered("200 OK", {"resourceType": "Bundle", "type": "batch-response", "entry": entries})
    assert (reply.ok, reply.transient) == (ok, transient)


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"[1]", b'{"resourceType":"OperationOutcome","issue":7}',
                                  b'{"resourceType":"OperationOutcome","issue":[1,{"severity":[],"code":{}}]}',
                                  b'{"resourceType":"Bundle","type":"message","entry":{}}'])  # fmt: skip
async def test_whatever_a_server_says_there_is_a_verdict(body: bytes) -> None:
    assert (await answered("400 Bad Request", body)).transient is False
    assert (await answered("200 OK", body)).ok
    assert (await answered("500 Oops", body)).transient


# -- faults ------------------------------------------------------------------------------------------------------------


async def test_absent_hanging_and_cut() -> None:
    async with calling("http://127.0.0.1:9/r4") as sender:
        with pytest.raises(UnreachableError):
            await sender.send(outgoing(PATIENT))
        with pytest.raises(UnreachableError):
            await sender.probe()

    async def hangs(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    async def cuts(peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\n{")

    for script, code in ((hangs, "http.timeout"), (cuts, "http.lost")):
        async with scripted(script) as port, calling(f"http://127.0.0.1:{port}") as sender:
            with pytest.raises(TransientError) as caught:
                await sender.send(outgoing(PATIENT, timeout=0.3))
            assert caught.value.code == code


async def test_a_create_is_not_repeated_on_a_connection_that_broke() -> None:
    """An idle connection may be closed at the moment it is used: what is not idempotent must not be sent twice silently."""
    requests: list[str] = []

    async def script(peer: Peer) -> None:
        requests.append((await peer.request())[0])
        peer.answer(b"", "201 Created")
        requests.append((await peer.request())[0])  # read, then closed without a reply

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}") as sender:
        assert (await sender.send(outgoing(PATIENT))).ok
        with pytest.raises(TransientError):
            await sender.send(outgoing(PATIENT))
        assert len(requests) == 2
        assert (await sender.send(outgoing(KNOWN))).ok  # and it goes on


# -- the facade as the peer --------------------------------------------------------------------------------------------


async def test_client_and_facade_understand_each_other() -> None:
    intake = FhirIntake()
    intake.verdict = lambda raw: Receipt(Outcome.OK, 5)
    everything = ["create", "update", "patch", "delete", "transaction", "message", "validate"]
    async with listening(intake, interactions=everything) as receiver:
        port = receiver.status()["port"]
        async with calling(f"http://127.0.0.1:{port}/fhir", if_none_exist="{condition}") as sender:
            assert "200" in await sender.probe()
            bodies = [
                PATIENT,
                KNOWN,
                b'{"resourceType":"Patient.delete","type":"Patient","id":"7"}',
                b'{"resourceType":"Patient.patch","type":"Patient","id":"7","patch":[{"op":"remove","path":"/a"}]}',
                b'{"resourceType":"Bundle","type":"transaction"}',
            ]
            replies = await asyncio.gather(*(sender.send(outgoing(body)) for body in bodies))
            assert [reply.status for reply in replies] == [201, 200, 204, 200, 200]
            assert sorted(one.raw for one in intake.taken) == sorted(bodies)
            refused = await sender.send(outgoing(b'{"resourceType":"Nonsense"}'))
            assert (refused.ok, refused.code, refused.status, refused.transient) == (False, "not-found", 404, False)
