"""A file of table rows through the whole hub: each row read, checked by a schema, stored as a message, mapped and sent on.

Run with ``python -m benchmarks.rows [ROWS]``. The requirement is 100,000 rows in 30 minutes (002:1067), the goal 30 s.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.rig import Sink
from tests.kernel.process import HubProcess, wait_for

__all__ = ["main"]

_PLUGIN = """
id: rows
name: Rows of the benchmark
settings: {folder: {type: string, required: true}, url: {type: url, required: true}}
interfaces:
  in:
    direction: in
    adapter: file
    codec: csv
    type: "'lab.row'"
    control_id: "rows[0].number"
    keys: {patient_id: "rows[0].patient"}
    validate: {mode: strict, schema: row.json}
    listen:
      root: "${folder}"
      folder: in
      match: "*.csv"
      after: archive
      records: {by: lines}
      schedule: {every: 500ms}
  out:
    direction: out
    adapter: http
    connect: {url: "${url}/in", connections: 32}
    codec: json
    mapping: row
    order_by: ''
    concurrency: 32
    success: code == 1001
"""
_MAPPING = """
from: {codec: csv, types: ["*"]}
to: {codec: json}
fields:
  number: "rows[0].number"
  patient: {id: "rows[0].patient", name: "rows[0].name", sex: "rows[0].sex | match({'M': '1', 'F': '2'}, default='9')", birthDate: "rows[0].born | date"}
  item: "rows[0].item"
  value: "rows[0].value | number"
  unit: "rows[0].unit"
  at: "rows[0].time | datetime"
"""
_SCHEMA = {
    "type": "object",
    "properties": {
        "rows": {
            "items": {
                "required": ["number", "patient", "item", "value"],
                "properties": {"sex": {"enum": ["M", "F"]}, "value": {"pattern": r"^\d+(\.\d+)?$"}},
            }
        }
    },
}


def _site(folder: Path, rows: int, url: str) -> Path:
    for name in ("plugins/rows", "mappings", "schemas", "config", "data/in"):
        (folder / name).mkdir(parents=True)
    (folder / "plugins/rows/plugin.yaml").write_text(_PLUGIN, encoding="utf-8")
    (folder / "mappings/row.yaml").write_text(_MAPPING, encoding="utf-8")
    (folder / "schemas/row.json").write_text(json.dumps(_SCHEMA), encoding="utf-8")
    config: dict[str, Any] = {
        "plugins": ["../plugins"],
        "mappings": ["../mappings"],
        "schemas": ["../schemas"],
        "watch": False,
        "store": {"path": "../var", "min_free_disk": 0},
        "admin": {"port": 0},
        "systems": {"lis": {"plugin": "rows", "settings": {"folder": str(folder / "data"), "url": url}}},
        "routes": {"rows": {"from": "lis/in", "to": "lis/out"}},
    }
    file = folder / "config/hub.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    lines = ["number,patient,name,sex,born,item,value,unit,time"]
    lines += [
        f"N{number:07},P{number % 5000:05},Sample {number % 977},{'MF'[number % 2]},19{number % 90 + 10}0203,"
        f"GLU,{number % 200 / 10},mmol/L,20260115{number % 24:02}{number % 60:02}00"
        for number in range(rows)
    ]
    (folder / "data/in/rows.csv.part").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def main(rows: int = 100_000) -> list[tuple[str, float, str]]:
    """(name, value, unit): seconds until every row is stored, and until every row is delivered."""
    with tempfile.TemporaryDirectory(prefix="tongqu-rows-", dir=os.environ.get("TONGQU_BENCH_DIR")) as name:
        folder = Path(name)
        with Sink() as sink, HubProcess(_site(folder, rows, sink.url)) as hub:

            def counts() -> tuple[int, int]:
                (worker,) = hub.call("GET", "/api/v1/status").json["workers"]
                figures = worker["figures"]
                return (
                    figures["inbound"].get("lis/in", {}).get("accepted", 0),
                    figures["outbound"].get("lis/out", {}).get("delivered", 0),
                )

            begun = time.perf_counter()
            (folder / "data/in/rows.csv.part").rename(folder / "data/in/rows.csv")
            wait_for(lambda: counts()[0] >= rows, "rows stored", 600)
            stored = time.perf_counter() - begun
            wait_for(lambda: counts()[1] >= rows, "rows delivered", 600)
            delivered = time.perf_counter() - begun
    return [
        (f"CSV of {rows:,} rows: read, checked, stored", stored, "s"),
        ("  and mapped and delivered over HTTP", delivered, "s"),
    ]


if __name__ == "__main__":
    for label, value, unit in main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000):
        print(f"{label:48} {value:8.1f} {unit}")
