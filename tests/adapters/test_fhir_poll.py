"""Reading a FHIR server by search: nothing lost, nothing taken twice, no credentials to other hosts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from adapters.fhir import FhirPollAdapter
from adapters.fhir.options import FhirPoll
from adapters.fhir.poll import FhirPollReceiver
from hub.api import Bound, HubError, PermanentError, StoreBusy, TransientError, UnreachableError
from hub.codecs.fhir import FhirCodec
from hub.contract import Interface
from tests.adapters.fhir_support import FhirIntake
from tests.adapters.http_support import Peer, scripted, until


class FhirServer:
    """Resources that can be searched by when they changed, as FHIR servers do it."""

    def __init__(self, page: int = 2) -> None:
        self.resources: list[dict[str, Any]] = []
        self.page = page
        self.queries: list[dict[str, list[str]]] = []
        self.headers: list[dict[str, str]] = []
        self.next_link: Callable[[str], str] = lambda url: url
        self.status = "200 OK"
        self.fails_at = ""  # the page that begins there can't be had
        self.backwards = False

    def put(self, number: str, updated: str, version: str = "1") -> None:
        self.resources = [one for one in self.resources if one["id"] != number]
        meta = {"versionId": version, "lastUpdated": updated}
        self.resources.append({"resourceType": "Observation", "id": number, "meta": meta, "valueDecimal": 1.5})

    async def serve(self, peer: Peer) -> None:
        while True:
            line, headers, _ = await peer.request()
            target = urlsplit(line.split(" ")[1])
            query = parse_qs(target.query)
            self.queries.append(query)
            self.headers.append(headers)
            status = "503 Busy" if self.fails_at and query.get("_offset") == [self.fails_at] else self.status
            if target.path.endswith("/metadata"):
                body: dict[str, Any] = {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1"}
            else:
                body = self.search(target.path, query, status)
            peer.answer(json.dumps(body).encode(), status, "Content-Type: application/fhir+json")

    def search(self, path: str, query: dict[str, list[str]], status: str) -> dict[str, Any]:
        if not status.startswith("200"):
            return {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "throttled"}]}
        since = query.get("_lastUpdated", ["ge"])[0][2:]
        found = sorted(
            (one for one in self.resources if one["meta"]["lastUpdated"] >= since),
            key=lambda one: one["meta"]["lastUpdated"],
        )
        if self.backwards:
            found.reverse()
        offset = int(query.get("_offset", ["0"])[0])
        bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset"}
        bundle["entry"] = [{"resource": one, "search": {"mode": "match"}} for one in found[offset : offset + self.page]]
        bundle["entry"].append({"resource": {"resourceType": "OperationOutcome"}, "search": {"mode": "outcome"}})
        if offset + self.page < len(found):
            url = f"{path}?_lastUpdated=ge{since}&_offset={offset + self.page}"
            bundle["link"] = [{"relation": "self", "url": "x"}, {"relation": "next", "url": self.next_link(url)}]
        return bundle


@asynccontextmanager
async def reading(
    server: Any, intake: FhirIntake, **options: Any
) -> AsyncIterator[tuple[FhirPollReceiver, Callable[[], Any]]]:
    """A receiver that is read by hand, and the call that reads once."""
    async with scripted(server.serve) as port:
        given = {
            "url": f"http://127.0.0.1:{port}/r4",
            "resource": "Observation",
            "schedule": {"manual": True},
            **options,
        }
        interface = Interface(direction="in", adapter="fhir_poll", codec="fhir")
        bound = Bound("lis/new", "lis", "new", "p@1", interface, FhirCodec(), {}, FhirPoll.model_validate(given))
        receiver = FhirPollAdapter().receiver(bound, intake)  # type: ignore[arg-type]
        assert isinstance(receiver, FhirPollReceiver)
        await receiver.start()
        done = 0

        async def once() -> dict[str, Any]:
            nonlocal done
            receiver.run_now()
            await until(lambda: len(receiver.status()["runs"]) > done)
            done += 1
            runs: list[dict[str, Any]] = receiver.status()["runs"]
            return runs[0]

        try:
            yield receiver, once
        finally:
            await receiver.stop(5.0)


def ids(intake: FhirIntake) -> list[str]:
    return [json.loads(item.raw)["id"] for item in intake.items]


async def test_all_pages_then_only_what_is_new() -> None:
    server, intake = FhirServer(), FhirIntake()
    for number in range(5):
        server.put(str(number), f"2026-01-01T00:0{number}:00Z")
    async with reading(server, intake, query={"status": "final"}, auth={"type": "bearer", "secret": "s"}) as (_, once):
        assert (await once())["taken"] == 5
        assert server.queries[0] == {"status": ["final"], "_sort": ["_lastUpdated"], "_count": ["200"]}
        assert server.headers[0]["authorization"] == "Bearer s"
        server.put("2", "2026-01-01T00:09:00Z", "2")  # changed
        server.put("late", "2026-01-01T00:03:30Z")  # committed late: found by the overlap
        run = await once()
        assert (run["taken"], run["duplicates"], run["error"]) == (2, 0, "")
        assert server.queries[3]["_lastUpdated"] == ["ge2026-01-01T00:03:00.000Z"]
        assert (await once())["taken"] == 0
    assert ids(intake) == ["0", "1", "2", "3", "4", "late", "2"]
    assert [item.control_id for item in intake.items][-2:] == ["late/1", "2/2"]
    assert json.loads(intake.items[0].raw)["valueDecimal"] == 1.5


async def test_the_first_run_may_begin_later() -> None:
    server, intake = FhirServer(), FhirIntake()
    server.put("old", "2025-01-01T00:00:00Z")
    server.put("new", "2026-01-01T00:00:00Z")
    async with reading(server, intake, since="2025-06-01T00:00:00Z") as (_, once):
        await once()
    assert ids(intake) == ["new"]


async def test_a_run_that_breaks_off_goes_on_where_it_was() -> None:
    """The page is committed with its mark: what was taken is not taken again, what was not is."""
    server, intake = FhirServer(page=2), FhirIntake()
    for number in range(6):
        server.put(str(number), f"2026-01-01T0{number}:00:00Z")
    server.fails_at = "4"
    async with reading(server, intake) as (_, once):
        run = await once()
        assert (run["taken"], "503" in run["error"]) == (4, True)
        server.fails_at = ""
        run = await once()
        assert (run["taken"], run["duplicates"]) == (2, 0)
    assert ids(intake) == [str(number) for number in range(6)]


async def test_a_restart_goes_on_by_the_mark() -> None:
    server, intake = FhirServer(), FhirIntake()
    server.put("1", "2026-01-01T00:00:00Z")
    async with reading(server, intake) as (_, once):
        await once()
    server.put("2", "2026-01-01T00:00:00.5Z")
    async with reading(server, intake) as (_, once):
        await once()
    assert ids(intake) == ["1", "2"]


async def test_a_server_that_does_not_sort_loses_nothing() -> None:
    server, intake = FhirServer(page=2), FhirIntake()
    server.backwards = True
    for number in range(6):
        server.put(str(number), f"2026-01-01T0{number}:00:00Z")

    server.fails_at = "2"
    async with reading(server, intake) as (_, once):
        await once()
        assert ids(intake) == ["5", "4"]
        server.fails_at = ""
        await once()
        assert sorted(ids(intake)) == [str(number) for number in range(6)]
        assert (await once())["taken"] == 0


@pytest.mark.parametrize(
    "link",
    [
        "http://127.0.0.1:9/r4/Observation?_offset=2",
        "//evil.example/x",
        "https://127.0.0.1/r4",
        "http://[",
        "file:///etc/passwd",
    ],
)
async def test_no_next_page_from_another_server(link: str) -> None:
    server, intake = FhirServer(page=1), FhirIntake()
    server.next_link = lambda url: link
    for number in range(3):
        server.put(str(number), f"2026-01-01T0{number}:00:00Z")
    async with reading(server, intake, auth={"type": "bearer", "secret": "s"}) as (_, once):
        run = await once()
    assert run["error"]
    assert len(server.queries) == 1


async def test_next_links_in_a_circle_end() -> None:
    server, intake = FhirServer(page=1), FhirIntake()
    server.next_link = lambda url: "/r4/Observation?_offset=1"
    for number in range(4):
        server.put(str(number), f"2026-01-01T0{number}:00:00Z")
    async with reading(server, intake) as (_, once):
        assert (await once())["error"]
    assert len(server.queries) == 2


async def test_a_busy_store_is_waited_for() -> None:
    server, intake = FhirServer(), FhirIntake()
    server.put("1", "2026-01-01T00:00:00Z")
    intake.fails = StoreBusy("full")
    async with reading(server, intake) as (receiver, _):
        receiver.run_now()
        await until(lambda: server.queries)
        await asyncio.sleep(0)
        assert not intake.items
        intake.fails = None
        await until(lambda: intake.items)
    assert ids(intake) == ["1"]


async def test_probe_and_what_it_says() -> None:
    server, intake = FhirServer(), FhirIntake()
    async with reading(server, intake) as (receiver, _):
        assert "4.0.1" in await receiver.probe()
        for status, kind in (("401 No", TransientError), ("404 No", PermanentError), ("503 No", UnreachableError)):
            server.status = status
            with pytest.raises(kind):
                await receiver.probe()
    with pytest.raises(HubError):
        await receiver.probe()


@pytest.mark.parametrize(
    "page", [b"", b"<html>", b"[]", b'{"resourceType":"Bundle","entry":5}', b'{"resourceType":"Bundle","entry":[1,{"resource":2}],"link":7}',
             b'{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"A","meta":5,"id":[]}},{"resource":{}}]}']
)  # fmt: skip
async def test_hostile_pages(page: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.answer(page)

    server, intake = FhirServer(), FhirIntake()
    server.serve = script  # type: ignore[method-assign]
    async with reading(server, intake) as (receiver, once):
        run = await once()
        assert run["error"] == "" or "unexpectedly" not in run["error"]
        assert receiver.status()["failures_in_a_row"] == (1 if run["error"] else 0)
