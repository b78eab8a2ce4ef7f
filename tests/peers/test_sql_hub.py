"""A whole hub between two tables of PostgreSQL, killed again and again: every row arrives exactly once."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kernel.process import HubProcess, wait_for
from tests.peers.databases import PostgreSql

pytestmark = [pytest.mark.peers, pytest.mark.xdist_group("postgresql")]

_DATABASE = 'database: {product: postgresql, host: 127.0.0.1, port: "${port}", database: hub, user: hub, password: "${password}"}'
_SOURCE = f"""
id: front
name: 前置库
settings: {{port: {{type: integer, required: true}}, password: {{type: secret, required: true}}}}
interfaces:
  visits:
    direction: in
    adapter: sql
    codec: json
    type: "'visit'"
    listen:
      {_DATABASE}
      table: visit_in
      read: {{by: timestamp, column: changed, key: id, overlap: OVERLAP}}
      page: 50
      schedule: {{every: 100ms}}
"""
_TARGET = f"""
id: centre
name: 中心库
settings: {{port: {{type: integer, required: true}}, password: {{type: secret, required: true}}}}
interfaces:
  visits:
    direction: out
    adapter: sql
    codec: json
    connect:
      {_DATABASE}
      write: {{action: insert, table: visit_out, columns: {{id: id, name: name}}}}
      dedupe: {{table: visit_seen, column: k}}
    order_by: ""
    retry: {{attempts: 1000, interval: 20ms}}
    breaker: {{failures: 1000, open_for: 50ms, max_open_for: 100ms}}
"""


def make_site(folder: Path, port: int, overlap: str) -> Path:
    for name, text in (("front", _SOURCE.replace("OVERLAP", overlap)), ("centre", _TARGET)):
        (folder / "plugins" / name).mkdir(parents=True)
        (folder / "plugins" / name / "plugin.yaml").write_text(text, encoding="utf-8")
    (folder / "mappings").mkdir()
    (folder / "config").mkdir()
    (password := folder / "config" / "password").write_text("secret\n")
    password.chmod(0o600)
    given = {"port": port, "password": "file:password"}
    settings: dict[str, Any] = {
        "plugins": ["../plugins"],
        "mappings": ["../mappings"],
        "watch": False,
        "store": {"path": "../var", "min_free_disk": 0},
        "admin": {"port": 0},
        "systems": {
            "front": {"plugin": "front", "settings": given},
            "centre": {"plugin": "centre", "settings": given},
        },
        "routes": {"up": {"from": "front", "to": "centre/visits"}},
    }
    file = folder / "config" / "hub.yaml"
    file.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    return file


@pytest.mark.parametrize("overlap", ["0s", "1m"])  # by the mark alone; by the intake, which is offered every row again
def test_every_row_arrives_exactly_once_through_kill_9(postgresql: PostgreSql, tmp_path: Path, overlap: str) -> None:
    postgresql.sql(
        "DROP TABLE IF EXISTS visit_in, visit_out, visit_seen;"
        "CREATE TABLE visit_in (id serial PRIMARY KEY, name text, changed timestamptz DEFAULT clock_timestamp());"
        "CREATE INDEX ON visit_in (changed, id);"
        "CREATE TABLE visit_out (id int, name text); CREATE TABLE visit_seen (k varchar(200) PRIMARY KEY)"
    )
    stop = threading.Event()

    def fill() -> None:
        while not stop.is_set():
            postgresql.sql("INSERT INTO visit_in (name) SELECT '张三' || n FROM generate_series(1, 30) n")
            stop.wait(0.02)

    def count(table: str) -> int:
        return int(postgresql.sql(f"SELECT count(*) FROM {table}"))

    config = make_site(tmp_path, postgresql.port, overlap)
    writer = threading.Thread(target=fill)
    writer.start()
    try:
        for _ in range(2):
            hub = HubProcess(config)
            arrived = count("visit_out")
            wait_for(lambda more=arrived + 100: count("visit_out") > more, "rows arrive")
            os.kill(hub.pid, signal.SIGKILL)
            hub.kill()
    finally:
        stop.set()
        writer.join()
    with HubProcess(config) as hub:
        wait_for(lambda: count("visit_out") >= count("visit_in"), "all rows have arrived")
        hub.settled()
        assert postgresql.sql("SELECT count(*), count(DISTINCT id) FROM visit_out").strip() == "|".join(
            [str(count("visit_in"))] * 2
        )
        found = hub.call("GET", "/api/v1/status").json
        assert (found["workers"][0]["figures"]["inbound"]["front/visits"]["duplicate"] > 0) is (overlap != "0s")
        status = json.dumps(found, ensure_ascii=False)
        assert "visit_in" in status
        assert "secret" not in status
        assert "张三" not in (config.parent / "run.log").read_text()
    postgresql.sql("DROP TABLE visit_in, visit_out, visit_seen")
