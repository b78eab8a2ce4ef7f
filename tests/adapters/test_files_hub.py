"""A whole hub between two folders, killed in the middle: every record arrives exactly once, and is answered."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import yaml

from tests.kernel.process import HubProcess, wait_for

RECORDS = 1500
_FOLDERS = """
id: exchange
name: 文件交换
settings: {root: {type: string, required: true}}
interfaces:
  rows:
    direction: in
    adapter: file
    codec: csv
    format: {columns: [id, name]}
    type: "'row'"
    listen:
      root: "${root}"
      folder: in
      match: "*.csv"
      complete: {by: name}
      records: {by: lines}
      answer: {}
      page: 20
      schedule: {every: 100ms}
  files:
    direction: out
    adapter: file
    codec: csv
    connect: {root: "${root}", folder: out, name: "{control_id}.csv"}
    order_by: ""
    retry: {attempts: 1000, interval: 20ms}
    breaker: {failures: 1000, open_for: 50ms, max_open_for: 100ms}
"""


def make_site(folder: Path) -> Path:
    for name in ("plugins/exchange", "mappings", "config", "files/in"):
        (folder / name).mkdir(parents=True)
    (folder / "plugins" / "exchange" / "plugin.yaml").write_text(_FOLDERS, encoding="utf-8")
    settings = {
        "plugins": ["../plugins"],
        "mappings": ["../mappings"],
        "watch": False,
        "store": {"path": "../var", "min_free_disk": 0},
        "admin": {"port": 0},
        "systems": {"lis": {"plugin": "exchange", "settings": {"root": str(folder / "files")}}},
        "routes": {"through": {"from": "lis/rows", "to": "lis/files"}},
    }
    file = folder / "config" / "hub.yaml"
    file.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    return file


def test_every_record_arrives_exactly_once_through_kill_9(tmp_path: Path) -> None:
    config = make_site(tmp_path)
    root = tmp_path / "files"
    rows = [f"{number},张三{number}" for number in range(RECORDS)]
    rows[700] = "700,too,many"
    (root / "part.tmp").write_text("\n".join(["id,name", *rows, ""]))
    (root / "part.tmp").rename(root / "in" / "a.csv")

    def written() -> int:
        folder = root / "out"
        return sum(not name.startswith(".") for name in os.listdir(folder)) if folder.exists() else 0

    for _ in range(3):
        hub = HubProcess(config)
        before = written()
        wait_for(lambda least=before + 200: written() > least, "records arrive")
        os.kill(hub.pid, signal.SIGKILL)
        hub.kill()
    with HubProcess(config) as hub:
        answer = root / "answer" / "a.csv.answer.csv"
        wait_for(answer.exists, "the file is answered")
        wait_for(lambda: written() == RECORDS - 1, "all records have arrived")
        hub.settled()
        status = str(hub.call("GET", "/api/v1/status").json)
        assert str(root) in status
    assert sorted(os.listdir(root / "in")) == []
    contents = sorted(path.read_text() for path in (root / "out").iterdir())
    assert contents == sorted(f"id,name\n{row}\n" for number, row in enumerate(rows) if number != 700)
    lines = [line.split(",") for line in answer.read_text().splitlines()[1:]]
    assert [int(line[0]) for line in lines] == list(range(1, RECORDS + 1))
    assert [line[0] for line in lines if line[2] == "refused"] == ["701"]
    assert "张三" not in (config.parent / "run.log").read_text()
