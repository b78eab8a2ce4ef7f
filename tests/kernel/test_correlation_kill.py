"""The hub is killed between requests, replies and later answers: every answer it acknowledged still finds its request."""

from __future__ import annotations

import json
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from hub.store.merged import open_reader
from tests.kernel.process import HubProcess, MllpClient, adt, make_site, wait_for

ROUNDS = 3

_LAB = """
id: lab
name: 检验中心
settings: {url: {type: url, required: true}}
interfaces:
  submit:
    direction: out
    adapter: http
    connect: {url: "${url}/submit"}
    codec: json
    mapping: patient
    order_by: ""
    retry: {attempts: 50, interval: 20ms}
    breaker: {failures: 1000, open_for: 50ms, max_open_for: 100ms}
    callback: {key: task}
  result:
    direction: in
    adapter: http
    listen: {port: 0, path: /result, auth: {type: none}}
    codec: json
    type: type
    control_id: id
    answers: {key: task, wait: 10m}
  back:
    direction: out
    adapter: http
    connect: {url: "${url}/back"}
    codec: json
    mapping: back
    order_by: ""
    retry: {attempts: 50, interval: 20ms}
    breaker: {failures: 1000, open_for: 50ms, max_open_for: 100ms}
"""
_BACK = """
from: {codec: json}
to: {codec: json}
fields: {number: $request.control_id, task: task}
"""


class Lab:
    """Answers each order once: for one half of them before it replies, for the other afterwards; until it is acknowledged."""

    def __init__(self) -> None:
        self.hub = ""  # where results go to
        self.back: list[tuple[str, str]] = []  # (number of the order, task) as they came back
        self._tasks: dict[str, str] = {}
        self._lock = threading.Lock()
        lab = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer: dict[str, Any] = {"code": 0}
                if self.path == "/back":
                    lab.back.append((body.get("number", ""), body["task"]))
                else:
                    answer["task"] = lab.taken(body["number"])
                data = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments: Any) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *arguments: Any) -> None:
                """A hub that was killed leaves connections behind."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def taken(self, number: str) -> str:
        with self._lock:
            known = self._tasks.get(number)
            task = self._tasks[number] = known or f"T{len(self._tasks)}"
        if known is None:
            sending = threading.Thread(target=self._tell, args=(task,), daemon=True)
            sending.start()
            if int(task[1:]) % 2:
                sending.join(2.0)  # the result is there before the reply, and perhaps the reply never comes
        return task

    def _tell(self, task: str) -> None:
        body = json.dumps({"id": f"R{task}", "type": "result", "task": task}).encode()
        while True:
            request = urllib.request.Request(self.hub, body, {"Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=5) as response:
                    assert response.status in (200, 202)
                    return
            except (OSError, ValueError, urllib.error.URLError):
                time.sleep(0.02)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def lab() -> Iterator[Lab]:
    server = Lab()
    yield server
    server.close()


async def test_every_answer_finds_its_request_however_often_the_hub_is_killed(tmp_path: Path, lab: Lab) -> None:
    config = make_site(tmp_path, lab.url)
    (tmp_path / "plugins" / "lab").mkdir()
    (tmp_path / "plugins" / "lab" / "plugin.yaml").write_text(_LAB, encoding="utf-8")
    (tmp_path / "mappings" / "back.yaml").write_text(_BACK, encoding="utf-8")
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings["systems"] = {"east": {"plugin": "his"}, "lab": {"plugin": "lab", "settings": {"url": lab.url}}}
    settings["routes"] = {
        "orders": {"from": "east", "to": "lab/submit"},
        "results": {"from": "lab/result", "to": "lab/back"},
    }
    config.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    chance = random.Random()
    acknowledged: list[str] = []

    def keep_sending(port: int, round_: int) -> None:
        try:
            client = MllpClient(port)
            for number in range(10_000):
                if client.ask(adt(f"K{round_}N{number}")) != "AA":
                    return
                acknowledged.append(f"K{round_}N{number}")
        except OSError:
            return

    for round_ in range(ROUNDS):
        hub = HubProcess(config)
        try:
            lab.hub = f"http://127.0.0.1:{hub.port('lab/result')}/result"
            sender = threading.Thread(target=keep_sending, args=(hub.port(), round_), daemon=True)
            sender.start()
            wanted = len(acknowledged) + chance.randrange(20, 200)
            wait_for(lambda wanted=wanted: len(acknowledged) >= wanted, "acknowledgements")
        finally:
            hub.kill()
        sender.join()
    with HubProcess(config) as hub:
        lab.hub = f"http://127.0.0.1:{hub.port('lab/result')}/result"
        wait_for(
            lambda: set(acknowledged) <= {number for number, _ in lab.back}, "an answer to everything acknowledged"
        )
        hub.settled()
        rows = hub.call("GET", "/api/v1/ledger").json["rows"]
        assert all(row["moving"] == 0 and row["dead"] == 0 for row in rows)
        (found,) = hub.call("GET", "/api/v1/messages?correlation=T0").json["messages"]
        chain = hub.call("GET", f"/api/v1/messages/{found['id']}").json["chain"]
        assert chain["answers"]["state"] == "bound"
        back = hub.call("GET", f"/api/v1/messages/{chain['answers']['message_id']}").json["chain"]
        assert back["answered_by"] == [found["id"]]
        assert [row["answered_by"] for row in back["awaited"]] == [found["id"]]
        assert hub.call("GET", "/api/v1/callbacks?overdue=1").json == {"callbacks": []}
        wait_for(
            lambda: b'tongqu_callbacks_overdue{target="lab/submit"} 0' in hub.call("GET", "/metrics").body, "metrics"
        )
    tasks: dict[str, set[str]] = {}
    for number, task in lab.back:
        assert number, "an answer went on without knowing its request"
        tasks.setdefault(task, set()).add(number)
    assert all(len(numbers) == 1 for numbers in tasks.values())
    reader = open_reader([tmp_path / "var" / "worker-00"])
    try:
        assert await reader.open_answers(100) == []
        report = await reader.verify_ledger()
        assert report.balanced, report.problems
    finally:
        await reader.close()
