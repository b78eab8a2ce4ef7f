"""What the simulated party tells later: once, twice, out of order; and its memory between calls."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hub.registry import Registry
from hub.simulator import Behaviour, Simulator
from tests.kernel.process import wait_for
from tests.simulator.simulator_support import Played, plugins, post

CONTRACT = """
id: bank
name: 银行
settings:
  url: {type: url, required: true}
  port: {type: port, required: true}
  token: {type: secret, required: true}
interfaces:
  pay:
    direction: out
    adapter: http
    connect: {url: "${url}", path: /pay}
    codec: json
    success: code == 0
    reply: {code: code, message: text}
    errors: {"7": {class: permanent}, "8": {class: permanent}}
    simulate:
      answer: {code: 0, number: $record.number, balance: $record.balance}
      checks: [{when: amount > 500, code: "7"}]
      state:
        record: account
        key: account
        creates: true
        becomes: "'paid'"
        keep: {number: $id, balance: amount}
        exists: "8"
      callback: {to: notice, after: 10ms, body: {account: account, status: $record.status}}
  look:
    direction: out
    adapter: http
    connect: {url: "${url}", path: "/accounts/{account}", method: GET}
    codec: json
    reply: {code: code}
    errors: {"9": {class: permanent}}
    simulate:
      answer: {status: $record.status, balance: $record.balance}
      state: {record: account, key: $path.account, missing: "9"}
  notice:
    direction: in
    adapter: http
    listen: {port: "${port}", path: /notice, auth: {type: bearer, secret: "${token}"}}
    codec: json
"""


class Hub:
    """Takes notices as they come."""

    def __init__(self) -> None:
        self.got: list[tuple[str, Any]] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hub.got.append((self.headers["Authorization"], body))
                self.send_response(202)
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def accounts(self) -> list[str]:
        return [body["account"] for _, body in self.got]


@pytest.fixture
def hub() -> Iterator[Hub]:
    found = Hub()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def bank(party: Played, tmp_path: Path, hub: Hub) -> Iterator[Simulator]:
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank" / "plugin.yaml").write_text(CONTRACT, encoding="utf-8")
    registry = Registry.discover([tmp_path])
    assert registry.problems == []
    simulator = party.run(Simulator.start(registry.plugins["bank"], registry, plugins()[1]))
    assert simulator.not_simulated == {}
    simulator.callback_to["notice"] = hub.url
    yield simulator
    party.run(simulator.stop())


def pay(bank: Simulator, account: str, amount: str = "12.50") -> Any:
    body = f'{{"account": "{account}", "amount": {amount}}}'.encode()
    return json.loads(post(bank.settings["url"] + "/pay", body)[2])


def test_a_repeated_request_is_answered_as_before_another_is_refused(bank: Simulator) -> None:
    first = pay(bank, "A")
    assert first["code"] == 0
    assert pay(bank, "A") == first
    assert pay(bank, "A", "13")["code"] in (8, "8")
    assert pay(bank, "B", "501")["code"] in (7, "7")
    assert pay(bank, "C")["number"] != first["number"]


def test_amounts_keep_their_digits(bank: Simulator) -> None:
    pay(bank, "A", "12.50")
    _, _, answer = post(bank.settings["url"] + "/accounts/A", None, method="GET")
    assert answer == b'{"status":"paid","balance":12.50}'
    status, _, answer = post(bank.settings["url"] + "/accounts/Z", None, method="GET")
    assert (status, json.loads(answer)["code"]) == (400, "9")


def test_what_is_told_later_carries_the_credentials_and_the_record(bank: Simulator, hub: Hub) -> None:
    pay(bank, "A")
    wait_for(lambda: hub.got, "the notice")
    assert hub.got == [(f"Bearer {bank.settings['token']}", {"account": "A", "status": "paid"})]


def test_a_notice_comes_twice(bank: Simulator, hub: Hub) -> None:
    bank.misbehave("notice", Behaviour("duplicate"))
    pay(bank, "A")
    wait_for(lambda: len(hub.got) == 2, "both notices")
    pay(bank, "B")
    wait_for(lambda: len(hub.got) == 3, "the next")
    assert hub.accounts == ["A", "A", "B"]


def test_notices_come_out_of_order(bank: Simulator, hub: Hub) -> None:
    bank.misbehave("notice", Behaviour("out_of_order"))
    pay(bank, "A")
    wait_for(lambda: bank.moods() == [], "the first is held")
    pay(bank, "B")
    wait_for(lambda: len(hub.got) == 2, "both notices")
    assert hub.accounts == ["B", "A"]
