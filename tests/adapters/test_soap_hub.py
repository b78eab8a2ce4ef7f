"""A hub as a process with SOAP on both sides, by the example of the documentation: nothing that was acknowledged is lost when it is killed."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from lxml import etree

from adapters.soap.acknowledge import mcci
from tests.adapters.soap_support import KINDS, V12, envelope, hip_call
from tests.kernel.process import ROOT, HubProcess, wait_for

_EXAMPLE = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Platform:
    """The platform downstream: takes calls of HIPMessageServer, remembers them, answers MCCI_IN000002UV01."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []  # action, message id
        platform = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet

            def do_POST(self) -> None:
                root = etree.fromstring(self.rfile.read(int(self.headers["Content-Length"])))
                message = (root.findtext(".//message") or "").encode()
                number = etree.fromstring(message).find("{*}id").get("extension", "")  # type: ignore[union-attr]
                platform.calls.append((root.findtext(".//action") or "", number))
                code = "AE" if number.startswith("BAD") else "AA"
                text = mcci(message, "", code, "done").replace("&", "&amp;").replace("<", "&lt;")
                body = f"<HIPMessageServerResponse><HIPMessageServerResult>{text}</HIPMessageServerResult></HIPMessageServerResponse>"
                answer = envelope(body, space=V12)
                self.send_response(200)
                self.send_header("Content-Type", KINDS[V12])
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments: Any) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *arguments: Any) -> None:
                """A hub that was killed leaves connections behind."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/services/HIPService"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def platform() -> Iterator[Platform]:
    found = Platform()
    yield found
    found.close()


def site(folder: Path, url: str) -> Path:
    """The plugin and the systems of the documentation, on free ports."""
    text = (ROOT / "docs" / "adapters" / "soap.md").read_text(encoding="utf-8")
    plugin, config, *_ = _EXAMPLE.findall(text)
    (folder / "plugins" / "hip_platform").mkdir(parents=True)
    (folder / "plugins" / "hip_platform" / "plugin.yaml").write_text(plugin, encoding="utf-8")
    given = yaml.safe_load(config)
    given["systems"]["platform"]["settings"] = {"next_url": url, "port": 0}
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


def message(number: str) -> str:
    return f"&lt;PRPA_IN201311UV02 xmlns='urn:hl7-org:v3'>&lt;id extension='{number}'/>&lt;/PRPA_IN201311UV02>"


class Client:
    """One connection to the hub's service."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

    def ask(self, number: str, action: str = "PatientInfoRegister") -> tuple[int, str]:
        """Status and the code of the acknowledgement."""
        body = hip_call(message(number), action)
        self._connection.request("POST", "/services/HIPService", body, {"Content-Type": "text/xml; charset=utf-8"})
        response = self._connection.getresponse()
        data = response.read()
        text = etree.fromstring(data).findtext(".//HIPMessageServerResult")
        if text is None:
            return response.status, ""
        found = etree.fromstring(text).find("{*}acknowledgement")
        return response.status, found.get("typeCode", "") if found is not None else ""


def test_the_example_of_the_documentation_works(tmp_path: Path, platform: Platform) -> None:
    with HubProcess(site(tmp_path, platform.url)) as hub:
        client = Client(hub.port("platform/service"))
        assert client.ask("E-1") == (200, "AA")
        assert client.ask("E-1") == (200, "AA")  # a repetition: acknowledged, not forwarded again
        assert client.ask("BAD-1", "DocumentRegister") == (200, "AA")
        assert client.ask("E-2", "PatientInfoQuery") == (200, "AA")  # no route for it
        wait_for(lambda: len(platform.calls) == 2, "both calls")
        hub.settled()
        dead = hub.call("GET", "/api/v1/deliveries?state=dead").json["deliveries"]
        messages = hub.call("GET", "/api/v1/messages").json["messages"]
    assert platform.calls == [("PatientInfoRegister", "E-1"), ("DocumentRegister", "BAD-1")]
    assert len(dead) == 1
    assert sorted(entry["type"] for entry in messages) == [
        "DocumentRegister",
        "PatientInfoQuery",
        "PatientInfoRegister",
    ]


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, platform: Platform) -> None:
    config = site(tmp_path, platform.url)
    acknowledged: list[str] = []

    def keep_sending(port: int, sender: int) -> None:
        client = Client(port)
        number = 0
        try:
            while True:
                number += 1
                name = f"S{sender}N{number:05}"
                if client.ask(name) == (200, "AA"):
                    acknowledged.append(name)
        except (OSError, http.client.HTTPException):
            return

    hub = HubProcess(config)
    port = hub.port("platform/service")
    threads = [threading.Thread(target=keep_sending, args=(port, sender), daemon=True) for sender in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(acknowledged) >= 200, "acknowledgements")
    hub.kill()
    for thread in threads:
        thread.join()
    with HubProcess(config) as again:
        client = Client(again.port("platform/service"))
        wait_for(lambda: set(acknowledged) <= {number for _, number in list(platform.calls)}, "everything arrives")
        for name in acknowledged[:3]:  # whoever did not hear the answer asks again
            assert client.ask(name) == (200, "AA")
        again.settled()
        before = len(platform.calls)
        assert client.ask(acknowledged[0]) == (200, "AA")
        again.settled()
    assert len(platform.calls) == before
