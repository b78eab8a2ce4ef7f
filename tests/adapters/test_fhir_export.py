"""Bulk export read by the hub: kick-off, state, files; what breaks off goes on where it was."""

from __future__ import annotations

import gzip
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError

from adapters.fhir.options import FhirPoll
from tests.adapters.fhir_support import FhirIntake
from tests.adapters.http_support import Peer
from tests.adapters.test_fhir_poll import reading

TIME = "2026-02-01T00:00:00Z"


def line(number: int) -> bytes:
    meta = '{"versionId":"1"}'
    return f'{{"resourceType":"Observation", "id":"{number}","meta":{meta},"valueDecimal":1.50}}'.encode()


class ExportServer:
    """Exports what it has, in files; not at once."""

    def __init__(self) -> None:
        self.files = [[line(1), line(2), b"", line(3)], [line(4), line(5), line(6)]]
        self.calls: list[tuple[str, str]] = []  # method, path
        self.kicked: list[dict[str, list[str]]] = []
        self.tokens: set[str] = set()
        self.not_ready = 2
        self.states: list[str] = []  # answers to the next questions for the state
        self.cut = 0  # bytes of the second file after which the connection breaks
        self.elsewhere = ""
        self.zipped = False

    async def serve(self, peer: Peer) -> None:
        while True:
            start, headers, _ = await peer.request()
            method, target, _ = start.split(" ")
            path = urlsplit(target).path
            self.calls.append((method, path))
            self.tokens.add(headers.get("authorization", ""))
            host = f"http://{headers['host']}"
            if path.endswith("/$export"):
                assert headers["prefer"] == "respond-async"
                self.kicked.append(parse_qs(urlsplit(target).query))
                peer.answer(b"", "202 Accepted", f"Content-Location: {host}/r4/jobs/{len(self.kicked)}")
            elif "/jobs/" in path and method == "GET":
                self.state(peer, host)
            elif "/files/" in path:
                assert headers["accept"] == "application/fhir+ndjson"
                number = int(path.rpartition("/")[2])
                body = b"\n".join(self.files[number])
                if number == 1 and self.cut:
                    peer.say(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[: self.cut])
                    return
                if self.zipped:
                    peer.answer(gzip.compress(body), "200 OK", "Content-Encoding: gzip")
                else:
                    peer.answer(body)
            else:
                peer.answer(b"", "202 Accepted")

    def state(self, peer: Peer, host: str) -> None:
        if self.states:
            return peer.answer(b"", self.states.pop(0))
        if self.not_ready:
            self.not_ready -= 1
            return peer.answer(b"", "202 Accepted", "Retry-After: 0", "X-Progress: half")
        files = [
            {"type": "Observation", "url": f"{self.elsewhere or host}/r4/files/{n}"} for n in range(len(self.files))
        ]
        peer.answer(json.dumps({"transactionTime": TIME, "output": files}).encode())


OPTIONS: dict[str, Any] = {"export": "$export", "page_size": 2, "auth": {"type": "bearer", "secret": "s"}}


async def test_an_export_is_read_and_the_next_begins_there() -> None:
    server, intake = ExportServer(), FhirIntake()
    async with reading(server, intake, query={"_typeFilter": "x"}, **OPTIONS) as (_, once):
        run = await once()
        assert (run["taken"], run["error"]) == (6, "")
        assert [item.raw for item in intake.items] == [line(number) for number in range(1, 7)]
        assert [item.control_id for item in intake.items] == [f"{number}/1" for number in range(1, 7)]
        assert server.kicked == [
            {"_type": ["Observation"], "_outputFormat": ["application/fhir+ndjson"], "_typeFilter": ["x"]}
        ]
        assert server.calls[-1] == ("DELETE", "/r4/jobs/1")
        assert server.tokens == {"Bearer s"}
        assert json.loads(intake.marks["export"]) == {"since": TIME, "job": "", "file": 0, "line": 0}
        server.files = [[]]
        server.zipped = True
        assert (await once())["taken"] == 0
    assert server.kicked[1]["_since"] == [TIME]


async def test_what_breaks_off_goes_on_where_it_was() -> None:
    """Also with another receiver, as after a crash: the mark is in the store."""
    server, intake = ExportServer(), FhirIntake()
    server.cut = 2 * len(line(4)) + 5
    async with reading(server, intake, **OPTIONS) as (_, once):
        run = await once()
        assert run["error"]
        assert run["taken"] == 5  # the pages that were complete
    server.cut = 0

    async with reading(server, intake, **OPTIONS) as (_, once):
        run = await once()
        assert (run["taken"], run["duplicates"], run["error"]) == (1, 0, "")
    assert len(server.kicked) == 1
    assert [item.raw for item in intake.items] == [line(number) for number in range(1, 7)]


@pytest.mark.parametrize("state", ["404 Gone", "500 Failed"])
async def test_an_export_that_failed_is_begun_anew(state: str) -> None:
    server, intake = ExportServer(), FhirIntake()
    server.states = [state]
    async with reading(server, intake, **OPTIONS) as (_, once):
        assert state[:3] in (await once())["error"]
        assert (await once())["taken"] == 6
    assert len(server.kicked) == 2


async def test_a_busy_server_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.fhir.export._PAUSE", 0.05)
    server, intake = ExportServer(), FhirIntake()
    server.states = ["503 Busy", "429 Slower"]
    async with reading(server, intake, **OPTIONS) as (_, once):
        assert (await once())["taken"] == 6
    assert len(server.kicked) == 1


async def test_no_files_from_another_server_and_no_endless_lines() -> None:
    server, intake = ExportServer(), FhirIntake()
    server.elsewhere = "http://127.0.0.1:9"
    async with reading(server, intake, **OPTIONS) as (_, once):
        assert (await once())["error"]
        server.elsewhere = ""
        server.files = [[b"x" * 5000]]
    async with reading(server, intake, **{**OPTIONS, "reply_limit": 2000}) as (_, once):
        assert "2000" in (await once())["error"]
    assert not intake.items


async def test_a_refused_line_does_not_stop_the_others() -> None:
    server, intake = ExportServer(), FhirIntake()
    server.files = [[line(1), b"nonsense", line(2)]]
    async with reading(server, intake, **OPTIONS) as (_, once):
        run = await once()
    assert (run["taken"], run["refused"]) == (2, 1)


def test_only_exports_can_be_named() -> None:
    for path in ("Patient", "../$export", "http://a/$export", "Group/a b/$export"):
        with pytest.raises(ValidationError):
            FhirPoll.model_validate({"url": "http://127.0.0.1/r4", "resource": "Patient", "export": path})
