"""FHIR: a server played for raw requests and for the hub's own client, and a client of a facade of the hub."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hub.registry import Registry
from hub.simulator import Behaviour, Simulator
from tests.simulator.simulator_support import Played, played, plugins, post

CONTRACT = """
id: ward
name: 病区
settings:
  url: {type: url, required: true}
  port: {type: port, required: true}
  token: {type: secret, required: true}
interfaces:
  patients:
    direction: out
    adapter: fhir
    connect: {url: "${url}/r4", auth: {type: bearer, secret: "${token}"}}
    codec: fhir
    errors: {conflict: {class: transient}, duplicate: {class: permanent}}
  facade:
    direction: in
    adapter: fhir
    listen: {port: "${port}", auth: {type: bearer, secret: "${token}"}}
    codec: fhir
    examples: [patient.json]
"""
PATIENT = {"resourceType": "Patient", "id": "p1", "gender": "female"}
FHIR = {"Content-Type": "application/fhir+json"}


@pytest.fixture(scope="module")
def party() -> Iterator[Played]:
    with played() as found:
        yield found


@pytest.fixture
def ward(party: Played, tmp_path: Path) -> Iterator[Simulator]:
    (tmp_path / "ward").mkdir()
    (tmp_path / "ward" / "plugin.yaml").write_text(CONTRACT, encoding="utf-8")
    (tmp_path / "ward" / "patient.json").write_text(json.dumps(PATIENT), encoding="utf-8")
    registry = Registry.discover([tmp_path])
    simulator = party.run(Simulator.start(registry.plugins["ward"], registry, plugins()[1]))
    yield simulator
    party.run(simulator.stop())


def ask(simulator: Simulator, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
    headers = {**FHIR, "Authorization": f"Bearer {token or simulator.settings['token']}"}
    raw = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    status, _, answer = post(f"{simulator.settings['url']}/r4{path}", raw, headers, method)
    return status, json.loads(answer) if answer else None


def test_what_a_server_answers(ward: Simulator) -> None:
    assert ask(ward, "GET", "/metadata")[1]["resourceType"] == "CapabilityStatement"
    assert ask(ward, "PUT", "/Patient/p1", PATIENT) == (200, {"resourceType": "Patient", "id": "p1"})
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [{"resource": PATIENT}, {"resource": PATIENT}]}
    told = ask(ward, "POST", "", bundle)[1]
    assert (told["type"], len(told["entry"])) == ("transaction-response", 2)
    assert ask(ward, "GET", "/Patient?name=x")[1]["type"] == "searchset"
    assert ask(ward, "GET", "/Patient/p7")[1] == {"resourceType": "Patient", "id": "p7"}
    assert [call.verdict for call in ward.calls] == ["accepted"] * 4  # nobody counts who asks for the capabilities
    assert json.loads(ward.calls[2].body)["parameters"] == {"name": "x"}


def test_what_a_server_refuses(ward: Simulator) -> None:
    assert ask(ward, "PUT", "/Patient/p1", PATIENT, token="wrong")[0] == 401
    status, told = ask(ward, "POST", "/Patient", b"no json")
    assert (status, told["resourceType"]) == (400, "OperationOutcome")
    ward.misbehave("patients", Behaviour("error", "duplicate"))
    status, told = ask(ward, "PUT", "/Patient/p1", PATIENT)
    assert (status, told["issue"][0]["code"]) == (400, "duplicate")
    assert post(f"{ward.settings['url']}/r5/Patient", b"{}", FHIR)[0] == 404


class Facade:
    """Takes resources as they come."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, str, bytes]] = []
        facade = self

        class Handler(BaseHTTPRequestHandler):
            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                facade.got.append((self.command, self.path, self.headers.get("Authorization", ""), body))
                self.send_response(201)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_PUT = _any

            def log_message(self, *arguments: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_a_client_of_the_facade(ward: Simulator, party: Played) -> None:
    facade = Facade()
    token = f"Bearer {ward.settings['token']}"
    try:
        reply = party.run(ward.send("facade", facade.url))
        assert (reply.ok, reply.status) == (True, 201)
        party.run(ward.send("facade", facade.url, misbehave=Behaviour("unauthorised")))
        party.run(ward.send("facade", facade.url, misbehave=Behaviour("garbage")))
    finally:
        facade.close()
    assert facade.got[0][:3] == ("PUT", "/fhir/Patient/p1", token)
    assert json.loads(facade.got[0][3]) == PATIENT
    assert facade.got[1][2] == f"{token}-wrong"
    assert facade.got[2] == ("POST", "/fhir", token, bytes(range(256)))


def test_the_hubs_own_client_reads_the_issue(ward: Simulator) -> None:
    from adapters.fhir.options import FhirConnect
    from adapters.fhir.sender import FhirSender
    from hub.api import Bound, Outgoing, Reply
    from hub.codecs.registry import builtin_codecs
    from hub.contract import Interface

    codec = next(one for one in builtin_codecs() if one.name == "fhir")
    given = {"url": f"{ward.settings['url']}/r4", "auth": {"type": "bearer", "secret": ward.settings["token"]}}
    options = FhirConnect.model_validate(given)
    contract = Interface(direction="out", adapter="fhir", codec="fhir", accepts=["*"])
    bound = Bound("ward/patients", "ward", "patients", "ward@1", contract, codec, {}, options)

    async def work() -> list[Reply]:
        sender = FhirSender(bound)
        await sender.start()
        try:
            body = json.dumps(PATIENT).encode()
            return [await sender.send(Outgoing(body, n, f"k{n}", "", "", 1, 10.0)) for n in (1, 2)]
        finally:
            await sender.stop()

    ward.misbehave("patients", Behaviour("error", "conflict"))
    refused, taken = asyncio.run(work())
    assert (refused.ok, refused.code) == (False, "conflict")
    assert taken.ok
