"""The examples of the page about later answers are what `hub check` takes, and do what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from hub.check import check
from hub.i18n import language, set_language
from hub.mapping import Context, MappingLibrary

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "correlation.md").read_text(encoding="utf-8")

_HIS = """
id: his
name: HIS
settings: {url: {type: url, required: true}}
interfaces:
  orders:
    direction: in
    adapter: mllp
    listen: {port: 0}
    codec: hl7v2
    keys: {patient_id: PID-3.1}
  results:
    direction: out
    adapter: http
    connect: {url: "${url}/results"}
    codec: json
"""


@pytest.fixture(autouse=True)
def english() -> Any:
    before = language()
    set_language("en")
    yield
    set_language(before)


def block(name: str) -> str:
    """The example that begins with the name of its file."""
    found = re.search(rf"```yaml\n# {re.escape(name)}\n(.*?)```", TEXT, re.DOTALL)
    assert found, name
    return found[1]


def test_the_example_is_sound(tmp_path: Path) -> None:
    for name, text in (("his", _HIS), ("lab_center", block("plugins/lab/lab_center/plugin.yaml"))):
        (tmp_path / "plugins" / name).mkdir(parents=True)
        (tmp_path / "plugins" / name / "plugin.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "lab_result.yaml").write_text(block("mappings/lab_result.yaml"), encoding="utf-8")
    order = "from: {codec: hl7v2, types: ['ORM^O01']}\nto: {codec: json}\nfields: {id: MSH-10}\n"
    (tmp_path / "mappings" / "lab_order.yaml").write_text(order, encoding="utf-8")
    config = {
        "plugins": ["../plugins"],
        "mappings": ["../mappings"],
        "systems": {
            "his": {"plugin": "his", "settings": {"url": "http://his.example.org"}},
            "lab_center": {"plugin": "lab_center", "settings": {"url": "http://lab.example.org"}},
        },
        **yaml.safe_load(block("config/routes/lab.yaml")),
    }
    (tmp_path / "config").mkdir()
    file = tmp_path / "config" / "hub.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    assert [str(problem) for problem in check(file).problems] == []
    mapping = MappingLibrary([tmp_path / "mappings"]).get("lab_result")
    request = {"control_id": "O-1", "keys": {"patient_id": "P-1"}}
    tree = {"items": [{"name": "WBC", "value": 7}]}
    assert mapping.run(tree, Context(variables={"request": request})) == [
        {"orderNo": "O-1", "patientId": "P-1", "items": [{"name": "WBC", "value": 7}]}
    ]


def test_every_key_is_told() -> None:
    from hub.contract import Answers, Callback

    for model in (Callback, Answers):
        for name in model.model_fields:
            assert f"| `{name}` |" in TEXT
