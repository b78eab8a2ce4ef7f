"""The contracts of the demo check what they receive and send: the schema of the ministry's document says what its table says."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from hub.checking.checks import run
from hub.checking.load import CheckLibrary
from hub.codecs.json_codec import JsonCodec
from hub.contract import Interface
from hub.mapping import Context, MappingLibrary
from hub.message import Message
from hub.yaml_source import load
from tests.demo.fields import WAYBILL, Field
from tests.demo.place import REPOSITORY

FREIGHT = REPOSITORY / "plugins" / "freight"
EXAMPLE = json.loads(
    (FREIGHT / "freight_ministry" / "examples" / "waybill_wlhy_yd1001.json").read_text(encoding="utf-8")
)


def findings(plugin: str, interface: str, tree: Any) -> list[tuple[str, str]]:
    """What the contract of a plugin finds in a tree: (rule, place)."""
    document = load(FREIGHT / plugin / "plugin.yaml")
    contract = Interface.model_validate(
        {
            "validate": document.data["interfaces"][interface]["validate"],
            "direction": "out",
            "adapter": "a",
            "codec": "json",
        }
    )
    tables = MappingLibrary([REPOSITORY / "mappings"]).table
    library = CheckLibrary([REPOSITORY / "schemas"], {}, tables, {"json": JsonCodec()})
    problems: list[Any] = []
    checks = library.checks("a/b", contract, JsonCodec(), document.place("interfaces", interface), problems)
    assert checks is not None, problems
    raw = json.dumps(tree).encode()
    message = Message(1, 0, "a/b", "freight.waybill", "", raw)
    report = run(checks.fast, raw, JsonCodec().decode(raw), Context(message=message, now_us=1_796_000_000_000_000))
    return [(finding.rule, finding.place) for finding in report.findings]


def changed(field: Field, value: Any) -> Any:
    """The example with one field set, or taken away (None)."""
    tree = copy.deepcopy(EXAMPLE)
    at = tree
    *way, last = field.path.split(".")
    for part in way:
        at = at[part.removesuffix("[]")]
        at = at[0] if part.endswith("[]") else at
    if value is None:
        at.pop(last, None)
    else:
        at[last] = value
    return tree


def test_the_example_is_clean() -> None:
    assert findings("freight_ministry", "waybill_upload", EXAMPLE) == []


@pytest.mark.parametrize("field", WAYBILL, ids=lambda field: field.path)
def test_the_schema_says_what_the_table_says(field: Field) -> None:
    missing = findings("freight_ministry", "waybill_upload", changed(field, None))
    assert len(missing) == (field.need == "M")
    too_long = findings("freight_ministry", "waybill_upload", changed(field, "9" * (field.length + 1)))
    assert [place for _, place in too_long] == [field.path.replace("[]", "[0]")]


@pytest.mark.parametrize("name", ["waybill", "waybill_small_vehicle"])
def test_an_operators_waybill_is_scored_by_the_rules(name: str) -> None:
    tree = json.loads((FREIGHT / "freight_operator" / "examples" / f"{name}.json").read_text(encoding="utf-8"))
    assert findings("freight_operator", "waybill", tree) == []
    tree["waybill"].pop("orderNumber")
    assert [rule for rule, _ in findings("freight_operator", "waybill", tree)] == ["numbers"]
