"""The FHIR client and the polling of FHIR servers against fhirstarter, with faults."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from adapters.fhir import FhirPollAdapter
from adapters.fhir.options import FhirPoll
from adapters.fhir.poll import FhirPollReceiver
from hub.api import Bound, TransientError, UnreachableError
from hub.codecs.fhir import FhirCodec
from hub.contract import Interface
from tests.adapters.fhir_support import FhirIntake, calling
from tests.adapters.http_support import outgoing, until
from tests.peers.fhir_peer import FhirStarter

pytestmark = pytest.mark.xdist_group("fhirstarter")


def patient(number: str = "", **more: Any) -> bytes:
    return json.dumps(
        {"resourceType": "Patient", **({"id": number} if number else {}), "active": True, **more}
    ).encode()


def question(kind: str, **more: Any) -> bytes:
    return json.dumps({"resourceType": f"Patient.{kind}", "type": "Patient", **more}).encode()


async def test_every_interaction(fhirstarter: FhirStarter) -> None:
    async with calling(fhirstarter.url) as sender:
        assert "200" in await sender.probe()
        created = await sender.send(outgoing(patient()))
        assert (created.ok, created.status) == (True, 201)
        assert (await sender.send(outgoing(patient("every-1", gender="male")))).ok
        read = await sender.send(outgoing(question("read", id="every-1")))
        assert (json.loads(read.body)["gender"], json.loads(read.body)["meta"]["versionId"]) == ("male", "1")
        patch = [{"op": "replace", "path": "/gender", "value": "female"}]
        patched = await sender.send(outgoing(question("patch", id="every-1", patch=patch)))
        assert patched.ok, patched.error
        found = await sender.send(outgoing(question("search", parameters={"_id": "every-1"})))
        assert [one["resource"]["gender"] for one in json.loads(found.body)["entry"]] == ["female"]
        assert (await sender.send(outgoing(question("delete", id="every-1")))).ok
        gone = await sender.send(outgoing(question("read", id="every-1")))
        assert (gone.ok, gone.status, json.loads(gone.body)["issue"][0]["code"]) == (True, 404, "not-found")
        wrong = await sender.send(outgoing(patient("every-2", gender=["no", "list"])))
        assert (wrong.ok, wrong.transient, wrong.status) == (False, False, 400)
        assert "error" in wrong.error
        unknown = await sender.send(outgoing(b'{"resourceType":"Observation","status":"final"}'))
        assert (unknown.ok, unknown.transient, unknown.status) == (False, False, 404)


async def test_a_server_that_hangs_and_goes_on(fhirstarter: FhirStarter) -> None:
    async with calling(fhirstarter.url) as sender:
        fhirstarter.pause()
        try:
            with pytest.raises(TransientError) as caught:
                await sender.send(outgoing(patient("slow-1"), timeout=0.5))
            assert caught.value.code == "http.timeout"
        finally:
            fhirstarter.resume()
        assert (await sender.send(outgoing(patient("slow-1")))).ok


async def test_a_server_that_is_killed_under_load_gets_everything_once(fhirstarter: FhirStarter) -> None:
    """Each is sent until it is accepted, as the hub does; updates by id have no second effect."""
    numbers = [f"load-{number}" for number in range(80)]
    accepted: set[str] = set()
    kinds: set[str] = set()

    async with calling(fhirstarter.url, connections=4) as sender:

        async def deliver(number: str) -> None:
            while number not in accepted:
                try:
                    reply = await sender.send(outgoing(patient(number), timeout=5.0))
                    assert reply.ok or reply.transient, reply.error
                    if reply.ok:
                        accepted.add(number)
                except (TransientError, UnreachableError) as error:
                    kinds.add(type(error).__name__)
                    await asyncio.sleep(0.05)

        work = [asyncio.create_task(deliver(number)) for number in numbers]
        await until(lambda: len(accepted) > 10)
        await asyncio.to_thread(fhirstarter.kill)
        await until(lambda: "UnreachableError" in kinds)
        await asyncio.to_thread(fhirstarter.start)
        await asyncio.gather(*work)
        found = await sender.send(outgoing(question("search", parameters={})))
    stored = [one["resource"]["id"] for one in json.loads(found.body)["entry"]]
    assert sorted(number for number in stored if number.startswith("load-")) == sorted(numbers)


@asynccontextmanager
async def reading(server: FhirStarter, intake: FhirIntake) -> AsyncIterator[FhirPollReceiver]:
    options = {"url": server.url, "resource": "Patient", "schedule": {"every": 0.1}, "timeout": 2.0}
    interface = Interface(direction="in", adapter="fhir_poll", codec="fhir")
    bound = Bound("p/new", "p", "new", "p@1", interface, FhirCodec(), {}, FhirPoll.model_validate(options))
    receiver = FhirPollAdapter().receiver(bound, intake)  # type: ignore[arg-type]
    assert isinstance(receiver, FhirPollReceiver)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop(5.0)


async def test_what_changes_is_read_once_also_when_the_server_hangs(fhirstarter: FhirStarter) -> None:
    intake = FhirIntake()

    def versions(number: str) -> list[str]:
        return [item.control_id for item in intake.items if item.control_id.startswith(f"{number}/")]

    async with calling(fhirstarter.url) as sender, reading(fhirstarter, intake) as receiver:
        assert "4.3" in await receiver.probe()
        await sender.send(outgoing(patient("read-1")))
        await until(lambda: versions("read-1"))
        fhirstarter.pause()
        try:
            await until(lambda: receiver.status()["failures_in_a_row"])
        finally:
            fhirstarter.resume()
        await sender.send(outgoing(patient("read-1", gender="male")))
        await sender.send(outgoing(patient("read-2")))
        await until(lambda: versions("read-2") and len(versions("read-1")) == 2)
        done = len(receiver.status()["runs"])
        receiver.run_now()
        await until(
            lambda: receiver.status()["runs"][0]["error"] == "" and receiver.status()["runs"][0]["taken"] == 0 and done
        )
    assert len({item.control_id for item in intake.items}) == len(intake.items)
