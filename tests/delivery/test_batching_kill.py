"""``kill -9`` while several messages share a call, and while a reply becomes messages: nothing is lost, no reply comes in twice."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from hub.store.base import MessageQuery
from hub.store.merged import open_reader
from tests.kernel.process import HubProcess, MllpClient, adt, make_site, wait_for

_COLLECTING = """
id: platform
name: 平台
settings: {url: {type: url, required: true}}
interfaces:
  patient:
    direction: out
    adapter: http
    connect: {url: "${url}/patient"}
    codec: json
    mapping: patient
    order_by: PID-3.1
    retry: {attempts: 30, interval: 20ms}
    breaker: {failures: 1000, open_for: 50ms, max_open_for: 100ms}
    collect: {messages: 8, within: 20ms}
"""
_ASKING = """
id: platform
name: 平台
settings: {url: {type: url, required: true}}
interfaces:
  patient:
    direction: out
    adapter: http
    connect: {url: "${url}/ask", query: {page: "{page}"}}
    codec: json
    mapping: patient
    order_by: ''
    retry: {attempts: 30, interval: 20ms}
    breaker: {failures: 1000, open_for: 50ms, max_open_for: 100ms}
    results: {to: results, each: items, first: {page: 1}, next: {page: $page + 1}, more: more}
  results:
    direction: in
    adapter: results
    codec: json
"""


class Target:
    """Remembers the calls; while ``hold`` is cleared it answers none."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.hold = threading.Event()
        self.hold.set()
        target = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                target.calls.append((self.path, body))
                target.hold.wait(30)
                answer: Any = {"code": 0}
                if "/ask" in self.path:
                    page = int(self.path.rpartition("=")[2])
                    answer = {"items": [{"no": f"{body['number']}.{page}.{n}"} for n in range(3)], "more": page < 3}
                data = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments: Any) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *arguments: Any) -> None:
                """A hub that was killed leaves connections behind."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def target() -> Iterator[Target]:
    found = Target()
    yield found
    found.close()


def site(folder: Path, target: Target, platform: str) -> Path:
    file = make_site(folder, target.url, store={"path": "../var", "min_free_disk": 0, "text_index": False})
    (folder / "plugins" / "platform" / "plugin.yaml").write_text(platform, encoding="utf-8")
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    for name in ("west", "west_platform"):
        del config["systems"][name]
    del config["routes"]["west_up"]
    file.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    return file


def send(hub: HubProcess, first: int, count: int) -> None:
    client = MllpClient(hub.port())
    for number in range(first, first + count):
        assert client.ask(adt(f"n{number}", f"P{number % 5}")) == "AA"
    client.close()


def audited(file: Path) -> Counter[str]:
    """The ledger balances; returns how many messages each interface took in."""

    async def look() -> Counter[str]:
        reader = open_reader([file.parent.parent / "var" / "worker-00"])
        try:
            report = await reader.verify_ledger()
            assert report.balanced, report
            rows = (await reader.search(MessageQuery(limit=1000))).rows
            return Counter(row.source for row in rows)
        finally:
            await reader.close()

    return asyncio.run(look())


def test_nothing_of_a_batch_is_lost(tmp_path: Path, target: Target) -> None:
    file = site(tmp_path, target, _COLLECTING)
    with HubProcess(file) as hub:
        send(hub, 0, 40)
        hub.settled()  # otherwise one of these would be the call that is held
        target.hold.clear()
        send(hub, 40, 20)
        wait_for(lambda: any(item["number"] == "n40" for _, body in target.calls for item in body), "a call under way")
        under_way = {item["number"] for _, body in target.calls for item in body}
        hub.kill()
    target.hold.set()
    with HubProcess(file) as hub:
        send(hub, 60, 20)
        hub.settled()
    got = Counter(item["number"] for _, body in target.calls for item in body)
    assert set(got) == {f"n{n}" for n in range(80)}
    assert {number for number, times in got.items() if times > 1} <= under_way
    for patient in range(5):
        numbers = [int(item["number"][1:]) for _, body in target.calls for item in body if item["id"] == f"P{patient}"]
        assert list(dict.fromkeys(numbers)) == list(range(patient, 80, 5))
    assert max(len(body) for _, body in target.calls) > 1
    assert audited(file) == {"east/adt": 80}


def test_a_reply_comes_in_once(tmp_path: Path, target: Target) -> None:
    file = site(tmp_path, target, _ASKING)
    sent = 0
    for moment in (1, 12, 29):  # calls after which the hub dies, in the middle of whatever it does then
        with HubProcess(file) as hub:
            begun = len(target.calls)
            send(hub, sent, 10)
            sent += 10
            wait_for(lambda begun=begun, moment=moment: len(target.calls) >= begun + moment, "calls were made")
            hub.kill()
    with HubProcess(file) as hub:
        hub.settled()
    asked = Counter(body["number"] for path, body in target.calls if path.endswith("page=3"))
    assert set(asked) == {f"n{n}" for n in range(sent)}
    assert audited(file) == {"east/adt": sent, "east_platform/results": sent * 9}
