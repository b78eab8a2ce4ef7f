"""The hub is killed again and again while many orders are under way: each comes to its right end, and each effect is there once."""

from __future__ import annotations

import json
import random
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from hub.flows.store import FlowStore, flows_file
from hub.node import salt_of
from hub.store.merged import open_reader
from tests.kernel.process import HubProcess, wait_for

ORDERS = 24
KILLS = 5

_PARTNER = """
id: partner
name: 合作方
settings: {url: {type: url, required: true}}
interfaces:
  orders:
    direction: in
    adapter: http
    listen: {port: 0, path: /orders, auth: {type: none}}
    codec: json
    type: type
    control_id: id
  stock:
    direction: out
    adapter: http
    connect: {url: "${url}/stock"}
    codec: json
    order_by: ""
    success: code == 0
    reply: {code: code}
    errors: {"7": {class: permanent}}
    retry: {attempts: 50, interval: 20ms}
    breaker: {failures: 1000, open_for: 50ms, max_open_for: 100ms}
  transport:
    direction: out
    adapter: http
    connect: {url: "${url}/transport"}
    codec: json
    order_by: ""
    retry: {attempts: 50, interval: 20ms}
    breaker: {failures: 1000, open_for: 50ms, max_open_for: 100ms}
    callback: {key: task}
  booked:
    direction: in
    adapter: http
    listen: {port: 0, path: /booked, auth: {type: none}}
    codec: json
    type: type
    control_id: id
    answers: {key: task, wait: 10m}
"""
_FLOW = """
start: {from: partner/orders, types: [order], key: no, set: {kind: kind}}
steps:
  - id: both
    parallel:
      branches:
        stock:
          - id: reserve
            send: {to: partner/stock, fields: {no: $flow.key, do: {const: reserve}, kind: kind}, until: reply, reply: {place: place}}
            compensate: {to: partner/stock, fields: {no: $flow.key, do: {const: release}, place: place}}
        transport:
          - id: book
            send: {to: partner/transport, fields: {no: $flow.key, do: {const: book}}, until: callback, callback: {slot: slot}}
            compensate: {to: partner/stock, fields: {no: $flow.key, do: {const: unbook}, slot: slot}}
  - {id: rest, delay: 50ms}
  - id: how
    choose:
      - when: kind == 'unpaid'
        steps:
          - id: reminder
            wait: {for: {from: partner/orders, types: [payment], key: no}, within: 100ms, on_timeout: {end: {name: unpaid, compensate: true}}}
  - id: paid
    wait: {for: {from: partner/orders, types: [payment], key: no, set: {amount: amount}}}
  - id: ship
    send: {to: partner/stock, fields: {no: $flow.key, do: {const: ship}, kind: kind, slot: slot}}
    on_error: {then: fail}
  - {id: fin, end: shipped}
"""


class Partner:
    """Does each thing once for each number it is told to (``X-Idempotency-Key`` is not looked at: the body is), and counts effects."""

    def __init__(self) -> None:
        self.hub: dict[str, str] = {}  # where the hub listens
        self.effects: Counter[tuple[str, str]] = Counter()
        self.order: list[tuple[str, str]] = []
        self._seen: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self.keys: dict[tuple[str, str], set[str]] = {}
        partner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                data = partner.answer(body, self.headers.get("Idempotency-Key", ""))
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

    def answer(self, body: dict[str, Any], key: str) -> bytes:
        """A repetition, which is known by its idempotency key, has no second effect and the same answer."""
        no, do = body["no"], body["do"]
        with self._lock:
            self.keys.setdefault((no, do), set()).add(key)
            known = self._seen.get(key)
            if known is None:
                refused = do == "ship" and body["kind"] == "sold_out"
                if not refused:
                    self.effects[no, do] += 1
                    self.order.append((no, do))
                reply = {"code": 7 if refused else 0, "place": f"P-{no}", "task": f"T-{no}"}
                self._seen[key] = json.dumps(reply).encode()
        if known is None and do == "book":
            threading.Thread(
                target=self.tell,
                args=("booked", {"id": f"B-{no}", "type": "booked", "task": f"T-{no}", "slot": f"S-{no}"}),
                daemon=True,
            ).start()
        return self._seen[key]

    def tell(self, where: str, body: dict[str, Any]) -> None:
        """Until it is acknowledged."""
        data = json.dumps(body).encode()
        while True:
            try:
                request = urllib.request.Request(self.hub[where], data, {"Content-Type": "application/json"})
                with urllib.request.urlopen(request, timeout=5) as response:
                    response.read()
                    return
            except (OSError, urllib.error.URLError, KeyError):
                time.sleep(0.05)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def partner() -> Iterator[Partner]:
    server = Partner()
    yield server
    server.close()


def _site(folder: Path, url: str) -> Path:
    (folder / "plugins" / "partner").mkdir(parents=True)
    (folder / "plugins" / "partner" / "plugin.yaml").write_text(_PARTNER, encoding="utf-8")
    (folder / "mappings").mkdir()
    (folder / "flows").mkdir()
    (folder / "flows" / "order.yaml").write_text(_FLOW, encoding="utf-8")
    file = folder / "config" / "hub.yaml"
    file.parent.mkdir()
    settings = {
        "watch": False,
        "store": {"path": "../var", "min_free_disk": 0, "text_index": False},
        "admin": {"port": 0},
        "systems": {"partner": {"plugin": "partner", "settings": {"url": url}}},
    }
    file.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    return file


def _kind(number: int) -> str:
    """What is to become of an order."""
    return ("good", "unpaid", "sold_out")[number % 3]


def test_every_order_comes_to_its_end_and_has_every_effect_once(tmp_path: Path, partner: Partner) -> None:
    config = _site(tmp_path, partner.url)
    chance = random.Random(7)
    hub = HubProcess(config)

    def listen(where: HubProcess) -> None:
        for name in ("orders", "booked"):
            partner.hub[name] = f"http://127.0.0.1:{where.port(f'partner/{name}')}/{name}"

    def order(number: int) -> None:
        no = f"O-{number}"
        partner.tell("orders", {"id": no, "type": "order", "no": no, "kind": _kind(number)})
        if _kind(number) != "unpaid":
            partner.tell("orders", {"id": f"{no}-p", "type": "payment", "no": no, "amount": 1})

    listen(hub)
    senders = [threading.Thread(target=order, args=(number,), daemon=True) for number in range(ORDERS)]
    for sender in senders:
        sender.start()
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.05, 0.6))  # not waiting for anything: whatever is under way then is killed
        hub.kill()
        hub = HubProcess(config)
        listen(hub)
    with hub:
        for sender in senders:
            sender.join(60)

        def ended() -> bool:
            rows = hub.call("GET", "/api/v1/flows/instances?limit=1000").json["instances"]
            return len(rows) == ORDERS and all(row["ended_at"] for row in rows)

        wait_for(ended, "all have ended")
        hub.settled()
        hub.stop()
    store = FlowStore(flows_file(tmp_path / "var"), salt_of(tmp_path / "var"), writable=False)
    ends = {row.instance.key: (row.instance.state, row.instance.end) for row in store.instances(limit=1000)}
    store.close()
    wanted = {"good": ("ended", "shipped"), "unpaid": ("ended", "unpaid"), "sold_out": ("failed", "failed")}
    assert ends == {f"O-{n}": wanted[_kind(n)] for n in range(ORDERS)}
    effects = Counter[tuple[str, str]]()
    for number in range(ORDERS):
        undone = [] if _kind(number) == "good" else ["release", "unbook"]
        for done in ["reserve", "book", *(["ship"] if _kind(number) == "good" else []), *undone]:
            effects[f"O-{number}", done] = 1
    assert partner.effects == effects
    assert all(len(keys) == 1 for keys in partner.keys.values())  # each under one number, however often it was sent
    for number in range(ORDERS):
        if _kind(number) != "good":
            mine = [do for no, do in partner.order if no == f"O-{number}"]
            # Undone in the opposite order of what was done first and last, whichever that was.
            assert mine[-2:] in (["release", "unbook"], ["unbook", "release"])
    _balanced(tmp_path)


def _balanced(folder: Path) -> None:
    import asyncio

    async def verify() -> None:
        reader = open_reader(sorted((folder / "var").glob("worker-*")))
        try:
            assert (await reader.verify_ledger()).balanced
        finally:
            await reader.close()

    asyncio.run(verify())
