"""A hub as a process with FHIR on all sides, by the example of the documentation."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import yaml
from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import OperationOutcome, ResourceNotFound

from hub.deployment import load_deployment
from tests.kernel.process import ROOT, HubProcess, wait_for

_EXAMPLE = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Repository:
    """The FHIR server downstream: remembers requests, keeps resources by type and id, and finds them by identifier or time."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str]]] = []  # method, path with query, headers
        self.resources: dict[tuple[str, str], dict[str, Any]] = {}
        repository = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet

            def _do(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                repository.requests.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
                status, tree = repository.answer(self.command, self.path.removeprefix("/r4/"), body)
                answer = json.dumps(tree).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/fhir+json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _do

            def log_message(self, *arguments: Any) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *arguments: Any) -> None:
                """A hub that was killed leaves connections behind."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/r4"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, dict[str, Any]]:
        path, _, query = target.partition("?")
        kind, _, number = path.partition("/")
        if method == "GET" and number:
            found = self.resources.get((kind, number))
            issue = {"severity": "error", "code": "not-found"}
            return (200, found) if found else (404, {"resourceType": "OperationOutcome", "issue": [issue]})
        if method == "GET":
            wanted = parse_qs(query)
            given = [one for (of, _), one in self.resources.items() if of == kind]
            if "identifier" in wanted:
                given = [one for one in given if one["identifier"][0]["value"] in wanted["identifier"][0]]
            if "_lastUpdated" in wanted:
                given = [one for one in given if one["meta"]["lastUpdated"] >= wanted["_lastUpdated"][0][2:]]
            return 200, {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": one} for one in given]}
        tree = json.loads(body) if body else {}
        if kind == "Patient" and tree.get("gender") == "wrong":
            issue = {"severity": "error", "code": "value", "expression": ["Patient.gender"]}
            return 422, {"resourceType": "OperationOutcome", "issue": [issue]}
        if method in ("POST", "PUT") and kind in ("Patient", "Observation"):
            number = number or tree["identifier"][0]["value"]
            self.resources[(kind, number)] = {**tree, "id": number}
        return 200, tree or {"resourceType": "OperationOutcome", "issue": []}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def repository() -> Iterator[Repository]:
    found = Repository()
    yield found
    found.close()


def site(folder: Path, url: str) -> Path:
    """The plugin and the systems of the documentation; the port of its base is the test's."""
    text = (ROOT / "docs" / "adapters" / "fhir.md").read_text(encoding="utf-8")
    plugin, config, *_ = _EXAMPLE.findall(text)
    (folder / "plugins" / "fhir_platform").mkdir(parents=True)
    (folder / "plugins" / "fhir_platform" / "plugin.yaml").write_text(plugin, encoding="utf-8")
    given = yaml.safe_load(config)
    given["systems"]["platform"]["settings"] = {"server": url, "port": 0}
    settings = {
        "plugins": ["../plugins"],
        "mappings": [],
        "schemas": [],
        "watch": False,
        "store": {"path": "../var", "min_free_disk": 0},
        "admin": {"port": 0},
        **given,
    }
    file = folder / "config" / "hub.yaml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    return file


def post(port: int, path: str, tree: dict[str, Any], **headers: str) -> tuple[int, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    given = {
        "Content-Type": "application/fhir+json",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    connection.request("POST", path, json.dumps(tree), given)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status, {name.lower(): value for name, value in response.getheaders()}


def patient(number: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "identifier": [{"system": "urn:oid:1.2.3", "value": number}], **more}


def test_the_example_of_the_documentation_works(tmp_path: Path, repository: Repository) -> None:
    #: An invented number with a right check digit: the log masks it, the condition must not be touched.
    card = "110101199003070118"
    condition = f"identifier=urn:id|{card}"
    with HubProcess(site(tmp_path, repository.url)) as hub:
        port = hub.port("platform/changes")
        assert hub.port("platform/questions") == port
        status, headers = post(port, "/fhir/Patient", patient("P-1"), If_None_Exist=condition, Idempotency_Key="one")
        assert status == 201
        again, repeated = post(port, "/fhir/Patient", patient("P-1"), If_None_Exist=condition, Idempotency_Key="one")
        assert (again, repeated["location"]) == (201, headers["location"])
        assert post(port, "/fhir/Patient", patient("P-2", gender="wrong"))[0] == 201
        wait_for(lambda: len(repository.requests) == 2, "both resources")
        hub.settled()
        assert repository.requests[0][:2] == ("POST", "/r4/Patient")
        assert repository.requests[0][2]["if-none-exist"] == condition
        dead = hub.call("GET", "/api/v1/deliveries?state=dead").json["deliveries"]
        calls = hub.call("GET", "/api/v1/calls").body
        assert len(dead) == 1
        assert b"if_none_exist" in calls
        assert card.encode() not in calls
        # Somebody else's client library.
        client = SyncFHIRClient(f"http://127.0.0.1:{port}/fhir")
        found = client.resources("Patient").search(identifier="urn:oid:1.2.3|P-1").fetch()
        assert [one["id"] for one in found] == ["P-1"]
        assert client.reference("Patient", "P-1").to_resource()["id"] == "P-1"
        with pytest.raises(ResourceNotFound):
            client.reference("Patient", "nobody").to_resource()
        with pytest.raises(OperationOutcome):
            client.execute("Patient", method="post", data={"resourceType": "Observation"})
        client.resource("Patient", id="P-3", identifier=[{"value": "P-3"}], active=True).save()
        wait_for(lambda: ("Patient", "P-3") in repository.resources, "the update")
        assert client.execute("metadata", method="get")["resourceType"] == "CapabilityStatement"
        # Read by search.
        meta = {"versionId": "1", "lastUpdated": "2026-01-01T00:00:00Z"}
        repository.resources[("Observation", "O-1")] = {"resourceType": "Observation", "id": "O-1", "meta": meta}
        for _ in range(2):
            assert hub.call("POST", "/api/v1/interfaces/platform/results/poll").status in (200, 202)
            wait_for(
                lambda: any(one[:2] == ("PUT", "/r4/Observation/O-1") for one in repository.requests), "the result"
            )
        hub.settled()
        types = [one["type"] for one in hub.call("GET", "/api/v1/messages").json["messages"]]
    assert sorted(types) == [
        "Observation", "Patient", "Patient", "Patient", "Patient.read", "Patient.read", "Patient.search",
    ]  # fmt: skip


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, repository: Repository) -> None:
    config = site(tmp_path, repository.url)
    acknowledged: list[str] = []

    def keep_sending(port: int, sender: int) -> None:
        number = 0
        try:
            while True:
                number += 1
                name = f"S{sender}N{number:05}"
                if post(port, "/fhir/Patient", patient(name), Idempotency_Key=name)[0] == 201:
                    acknowledged.append(name)
        except (OSError, http.client.HTTPException):
            return

    hub = HubProcess(config)
    port = hub.port("platform/changes")
    threads = [threading.Thread(target=keep_sending, args=(port, sender), daemon=True) for sender in range(3)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(acknowledged) > 60, "some traffic")
    hub.kill()
    for thread in threads:
        thread.join()
    with HubProcess(config) as hub:
        last = acknowledged[-1]
        assert post(hub.port("platform/changes"), "/fhir/Patient", patient(last), Idempotency_Key=last)[0] == 201
        hub.settled()
        stored = {number for kind, number in repository.resources if kind == "Patient"}
        messages = hub.call("GET", "/api/v1/messages?limit=1000").json["messages"]
    assert set(acknowledged) <= stored
    controls = [one["control_id"] for one in messages]
    assert len(controls) == len(set(controls))


def test_validate_says_what_a_strict_interface_would_refuse(tmp_path: Path, repository: Repository) -> None:
    config = site(tmp_path, repository.url)
    plugin = tmp_path / "plugins" / "fhir_platform" / "plugin.yaml"
    text = plugin.read_text(encoding="utf-8").replace("    style: event ", "    validate: strict\n    style: event ")
    plugin.write_text(text, encoding="utf-8")
    wrong = patient("P-1", birthDate="yesterday")
    with HubProcess(config) as hub:
        port = hub.port("platform/changes")
        client = SyncFHIRClient(f"http://127.0.0.1:{port}/fhir")
        asked = client.execute("Patient/$validate", method="post", data=wrong)
        assert [(one["severity"], one["expression"]) for one in asked["issue"]] == [("error", ["Patient.birthDate"])]
        assert "yesterday" not in json.dumps(asked)
        asked = client.execute("Patient/$validate", method="post", data=patient("P-1"))
        assert [one["severity"] for one in asked["issue"]] == ["information"]
        assert post(port, "/fhir/Patient", wrong)[0] == 422
        assert post(port, "/fhir/Patient", patient("P-1"))[0] == 201
        hub.settled()
        assert len(hub.call("GET", "/api/v1/messages").json["messages"]) == 1
    assert len(repository.requests) == 1


def test_two_interfaces_that_take_the_same_are_told_by_the_check(tmp_path: Path, repository: Repository) -> None:
    config = site(tmp_path, repository.url)
    plugin = tmp_path / "plugins" / "fhir_platform" / "plugin.yaml"
    text = plugin.read_text(encoding="utf-8").replace("port: ${port}", "port: 8095")
    plugin.write_text(text, encoding="utf-8")
    assert not load_deployment(config).problems
    plugin.write_text(text.replace("interactions: [read, search]", "interactions: [read, create]"), encoding="utf-8")
    problems = [problem.text for problem in load_deployment(config).problems]
    assert "platform/questions" in problems[0]
    assert "platform/changes" in problems[0]
