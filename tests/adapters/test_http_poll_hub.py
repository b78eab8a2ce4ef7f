"""A whole hub that reads a REST source page by page, killed in the middle: every item arrives exactly once."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from tests.kernel.process import HubProcess, wait_for

_SOURCE = """
id: lis
name: LIS
settings: {url: {type: url, required: true}, secret: {type: secret, required: true}}
interfaces:
  reports:
    direction: in
    adapter: http_poll
    codec: json
    type: "'report'"
    listen:
      url: ${url}/reports
      query: QUERY
      items: data.list
      success: code == 0
      paging: PAGING
      since: {by: item, value: at}
      auth: {type: oauth2, url: "${url}/token", client_id: hub, client_secret: "${secret}"}
      schedule: {every: 100ms}
"""
_TARGET = """
id: centre
name: 中心
settings: {url: {type: url, required: true}}
interfaces:
  reports:
    direction: out
    adapter: http
    codec: json
    connect: {url: "${url}/taken"}
    order_by: ""
    retry: {attempts: 1000, interval: 20ms}
    breaker: {failures: 1000, open_for: 50ms, max_open_for: 100ms}
"""
#: Items a page has.
_SIZE = 7


class World:
    """The source and the target, in threads. The source gives what is as old as ``since`` or newer, in order."""

    def __init__(self) -> None:
        self.made = 0
        self.taken: dict[int, set[str]] = defaultdict(set)  # number -> idempotency keys it came with
        self.tokens = 0
        self.calls = 0
        world = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
                if self.headers["Authorization"] != "Bearer opaque-token-of-the-source":
                    self.answer({"code": 401}, 401)
                    return
                world.calls += 1
                since = int(query.get("since", "0"))
                at = int(query.get("next", (int(query.get("page", "1")) - 1) * _SIZE))
                found = [{"id": n, "at": n // 3} for n in range(1, world.made + 1) if n // 3 >= since]
                following = at + _SIZE if at + _SIZE < len(found) else None
                self.answer({"code": 0, "data": {"list": found[at : at + _SIZE], "next": following}})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/token":
                    world.tokens += 1
                    self.answer({"access_token": "opaque-token-of-the-source", "expires_in": 3600})
                    return
                world.taken[json.loads(body)["id"]].add(self.headers["Idempotency-Key"])
                self.answer({})

            def answer(self, body: Any, status: int = 200) -> None:
                raw = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

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
        self._server.shutdown()
        self._server.server_close()


def make_site(folder: Path, url: str, source: str) -> Path:
    for name, text in (("lis", source), ("centre", _TARGET)):
        (folder / "plugins" / name).mkdir(parents=True)
        (folder / "plugins" / name / "plugin.yaml").write_text(text, encoding="utf-8")
    (folder / "mappings").mkdir()
    (folder / "config").mkdir()
    (secret := folder / "config" / "secret").write_text("secret-of-the-client\n")
    secret.chmod(0o600)
    settings: dict[str, Any] = {
        "plugins": ["../plugins"],
        "mappings": ["../mappings"],
        "watch": False,
        "store": {"path": "../var", "min_free_disk": 0},
        "admin": {"port": 0},
        "systems": {
            "lis": {"plugin": "lis", "settings": {"url": url, "secret": "file:secret"}},
            "centre": {"plugin": "centre", "settings": {"url": url}},
        },
        "routes": {"up": {"from": "lis", "to": "centre/reports"}},
    }
    file = folder / "config" / "hub.yaml"
    file.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("query", "paging"),
    [
        ('{page: "{page}", size: "{size}", since: "{since}"}', f"{{by: page, size: {_SIZE}}}"),
        ('{next: "{next}", since: "{since}"}', "{by: next, next: data.next}"),
    ],
    ids=["page", "next"],
)
def test_every_item_arrives_exactly_once_through_kill_9(tmp_path: Path, query: str, paging: str) -> None:
    world = World()
    stop = threading.Event()

    def grow() -> None:
        while not stop.wait(0.02):
            world.made += 3

    config = make_site(tmp_path, world.url, _SOURCE.replace("QUERY", query).replace("PAGING", paging))
    growing = threading.Thread(target=grow)
    growing.start()
    try:
        hub = HubProcess(config)
        wait_for(lambda: len(world.taken) > 100, "items arrive")
        os.kill(hub.pid, signal.SIGKILL)
        hub.kill()
    finally:
        stop.set()
        growing.join()
    with HubProcess(config) as hub:
        wait_for(lambda: len(world.taken) >= world.made, "all items have arrived")
        calls = world.calls
        wait_for(lambda: world.calls > calls + 4, "further runs that find nothing new")
        hub.settled()
        assert sorted(world.taken) == list(range(1, world.made + 1))
        assert [number for number, keys in world.taken.items() if len(keys) > 1] == []
        assert world.tokens == 2  # one a process
        status = json.dumps(hub.call("GET", "/api/v1/status").json, ensure_ascii=False)
    world.close()
    told = status + (config.parent / "run.log").read_text()
    assert "opaque-token" not in told
    assert "secret-of-the-client" not in told
