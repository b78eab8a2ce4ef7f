"""The levels of plugins: each demand is felt when it is not met, and met again when it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hub.errors import HubError
from hub.plugin_quality import Quality, qualities
from hub.scaffold import PluginAnswers, new_plugin

NOTES = """# Desk

**For operators.** The desk sends what the hospital's systems say, and takes the answers of the other party. When deliveries fail, look at the code and call the other party's desk.

**运维须知。** 本插件负责将院内系统的消息发送至对方平台，并接收对方的应答。投递失败时请查看错误码，并联系对方平台的值班人员处理，处理完成后可在死信中重新发送，发送前请确认对方系统已经恢复正常。
"""


@pytest.fixture
def root(config: Path) -> Path:
    """A site with one plugin that is gold."""
    new_plugin(config, PluginAnswers("desk", "group", "Desk", "both"))
    root = config.parent.parent
    folder = root / "plugins" / "group" / "desk"
    (folder / "README.md").write_text(NOTES, encoding="utf-8")
    edit(folder / "plugin.yaml", "sources: []", "sources: [specification 1.2]")
    tests = root / "tests" / "plugins"
    tests.mkdir(parents=True)
    (tests / "test_something.py").write_text('SITE = {"plugin": "desk"}\n', encoding="utf-8")
    return root


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def judged(root: Path) -> Quality:
    return qualities(root / "config" / "hub.yaml")["desk"]


def test_everything_is_there(root: Path) -> None:
    found = judged(root)
    assert (found.level, found.missing) == ("gold", [])


CONTRACT = "plugins/group/desk/plugin.yaml"
CASES: dict[str, tuple[str, str, str, Callable[[Path], object]]] = {
    "an adapter nobody knows": ("contract", "", "pigeon", lambda r: edit(r / CONTRACT, "http\n    connect", "pigeon\n    connect")),
    "no example": ("examples", "", "receive has no example", lambda r: edit(r / CONTRACT, "keys: {number: number}\n    examples: [examples/message.json]", "keys: {number: number}")),
    "an example that is no JSON": ("examples", "", "message.json", lambda r: (r / "plugins/group/desk/examples/message.json").write_text("{")),
    "a mapping that is not there": ("mappings", "", "missing or have errors: desk/nothing", lambda r: edit(r / CONTRACT, "mapping: desk/sent", "mapping: desk/nothing")),
    "no tests": ("mappings", "", "without tests: desk/sent", lambda r: (r / "mappings/desk/sent.tests.yaml").unlink()),
    "a test that fails": ("mappings", "", "tests fail: desk/sent", lambda r: edit(r / "mappings/desk/sent.tests.yaml", "title: 示例\n      at", "title: 别的\n      at")),
    "too little covered": ("coverage", "", "less than 80%: desk/sent", lambda r: edit(r / "mappings/desk/sent.yaml", "  at: at", "  at: at\n  more: more\n  again: again")),
    "no error table": ("errors", "bronze", "without error table: send", lambda r: edit(r / CONTRACT, 'errors:\n      "4001": {class: permanent, text: 报文不合格}\n      "5001": {class: transient, text: 系统繁忙}\n', "timeout: 9s\n")),
    "no retry policy": ("retry", "bronze", "retry: send", lambda r: edit(r / CONTRACT, "retry: {attempts: 3, interval: 5s}", "timeout: 9s")),
    "notes in English only": ("notes", "bronze", "in Chinese", lambda r: (r / "plugins/group/desk/README.md").write_text(NOTES.split("**运维")[0])),
    "notes in Chinese only": ("notes", "bronze", "in English", lambda r: (r / "plugins/group/desk/README.md").write_text("**运维" + NOTES.split("**运维")[1])),
    "no notes": ("notes", "bronze", "English and Chinese", lambda r: (r / "plugins/group/desk/README.md").unlink()),
    "no sources": ("sources", "silver", "no sources", lambda r: edit(r / CONTRACT, "sources: [specification 1.2]", "sources: []")),
    "no test of its own": ("proof", "silver", "no test of its own", lambda r: edit(r / "tests/plugins/test_something.py", "desk", "desktop")),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_there(root: Path, case: str) -> None:
    name, level, told, spoil = CASES[case]
    spoil(root)
    found = judged(root)
    assert found.level == level
    assert told in next(one.why for one in found.criteria if one.name == name)
    assert any(told in text for text in found.missing)


def test_an_example_that_its_schema_refuses(root: Path) -> None:
    (root / "schemas" / "desk.json").write_text('{"type": "object", "required": ["price"]}', encoding="utf-8")
    edit(
        root / CONTRACT,
        "    control_id: number\n",
        "    control_id: number\n    validate: {mode: warn, schema: desk.json}\n",
    )
    assert judged(root).missing == ["examples/message.json fails desk.json"]
    (root / "schemas" / "desk.json").write_text('{"type": "object", "required": ["number"]}', encoding="utf-8")
    assert judged(root).level == "gold"


def test_a_replay_set_or_a_test_of_its_name_is_proof_as_well(root: Path) -> None:
    (root / "tests" / "plugins" / "test_something.py").unlink()
    assert judged(root).level == "silver"
    replay = root / "plugins" / "group" / "desk" / "replay"
    replay.mkdir()
    assert judged(root).level == "silver", "an empty folder proves nothing"
    (replay / "one.json").write_text("{}", encoding="utf-8")
    assert judged(root).level == "gold"
    (replay / "one.json").unlink()
    (root / "tests" / "plugins" / "test_desk_live.py").touch()
    assert judged(root).level == "gold"


def test_a_plugin_nobody_knows(config: Path) -> None:
    with pytest.raises(HubError) as caught:
        qualities(config, ["nobody"])
    assert caught.value.code == "plugin.missing"
