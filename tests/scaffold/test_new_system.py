"""What ``hub new system`` writes is off, valid, and works once its placeholders are replaced."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hub.check import check
from hub.config import load_config
from hub.errors import HubError
from hub.registry import Registry
from hub.scaffold import TRANSPORTS, PluginAnswers, new_plugin, new_system
from hub.scaffold.system import system_text

FILLED = {
    "listen_port": "12681",
    "brokers": "[localhost:9092]",
    "topics": "[messages]",
    "host_keys": "[SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU]",
    "root": "/nowhere/exchange",
}
ROOT = Path(__file__).resolve().parents[2]


def test_off_and_valid_then_filled_in_and_on(config: Path) -> None:
    new_plugin(config, PluginAnswers("desk", "group", "Desk", "both"))
    (file,) = new_system(config, "desk", "east-desk", "东院")
    assert file == config.parent / "systems" / "east-desk.yaml"
    report = check(config)
    assert (report.problems, report.systems, report.routes) == ([], 0, 0)
    system = load_config(config).hub.systems["east-desk"]
    assert (system.plugin, system.name, system.enabled) == ("desk", "东院", False)
    assert system.settings["token"] == "file:secrets/east-desk.token"

    text = file.read_text(encoding="utf-8").replace("    enabled: false\n    plugin", "    plugin")
    file.write_text(text.replace("listen_port: 9", "listen_port: 12680"), encoding="utf-8")
    assert not check(config).ok, "the secrets are not there yet"
    secrets = file.parent / "secrets"
    secrets.mkdir()
    for name in ("token", "listen_token"):
        secret = secrets / f"east-desk.{name}"
        secret.write_text("a-secret-nobody-uses-0123456789", encoding="utf-8")
        secret.chmod(0o600)
    report = check(config)
    assert (report.ok, report.systems) == (True, 1)
    assert [problem.text for problem in report.problems] == ["no route takes the messages of east-desk/receive"]

    text = file.read_text(encoding="utf-8")
    head, routes = text.split("routes:\n")
    routes = routes.replace("    enabled: false\n", "").replace("target/interface", "east-desk/send")
    file.write_text(head + "routes:\n" + routes.replace("source/interface", "east-desk/receive"), encoding="utf-8")
    report = check(config)
    assert (report.problems, report.routes) == ([], 2)


@pytest.mark.parametrize("adapter", TRANSPORTS)
def test_every_adapter_is_bound_with_what_is_filled_in(config: Path, adapter: str) -> None:
    transport = TRANSPORTS[adapter]
    direction = "both" if transport.receives and transport.sends else "in" if transport.receives else "out"
    codec = transport.codecs[0] if transport.codecs else "json"
    new_plugin(config, PluginAnswers("plug", "group", "Plug", direction, adapter, codec))
    (file,) = new_system(config, "plug", "east")
    text = file.read_text(encoding="utf-8").replace("    enabled: false\n    plugin", "    plugin")
    for setting, value in FILLED.items():
        text = re.sub(rf"^( +\w*{setting}): .*$", rf"\1: {value}", text, flags=re.MULTILINE)
    text = text.replace("_url: REPLACE", "_url: amqp://localhost/")
    file.write_text(text, encoding="utf-8")
    (file.parent / "secrets").mkdir()
    for name in re.findall(r"file:(secrets/\S+)", text):
        (file.parent / name).write_text("a-secret-nobody-uses-0123456789", encoding="utf-8")
        (file.parent / name).chmod(0o600)
    report = check(config)
    assert [str(problem) for problem in report.problems if problem.severity == "error"] == []
    assert report.systems == 1


def test_every_shipped_plugin(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    config = folder / "hub.yaml"
    places = "\n".join(f"{name}: [{ROOT / name}]" for name in ("plugins", "mappings", "schemas"))
    config.write_text(f"name: site\nlanguage: en\n{places}\n", encoding="utf-8")
    plugins = Registry.discover([ROOT / "plugins"]).plugins
    systems = folder / "systems"
    systems.mkdir()
    for name, plugin in plugins.items():
        (systems / f"{name}.yaml").write_text(system_text(plugin.contract, f"x-{name}"), encoding="utf-8")
    loaded = load_config(config)
    assert loaded.problems == []
    assert set(loaded.hub.systems) == {f"x-{name}" for name in plugins} != set()
    for name, plugin in plugins.items():
        required = {key for key, setting in plugin.contract.settings.items() if setting.required}
        assert set(loaded.hub.systems[f"x-{name}"].settings) == required


def test_nothing_is_replaced(config: Path) -> None:
    new_plugin(config, PluginAnswers("desk", "group", "Desk"))
    (file,) = new_system(config, "desk", "east")
    before = file.read_bytes()
    with pytest.raises(HubError) as caught:
        new_system(config, "desk", "east")
    assert caught.value.code == "new.exists"
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("plugin", "system", "code"),
    [("none", "east", "plugin.missing"), ("desk", "../up", "new.name"), ("desk", "", "new.name")],
)
def test_what_is_refused(config: Path, plugin: str, system: str, code: str) -> None:
    new_plugin(config, PluginAnswers("desk", "group", "Desk"))
    with pytest.raises(HubError) as caught:
        new_system(config, plugin, system)
    assert caught.value.code == code
    assert not (config.parent / "systems").exists()


def test_a_configuration_that_would_not_read_it(config: Path) -> None:
    new_plugin(config, PluginAnswers("desk", "group", "Desk"))
    config.write_text("name: site\ninclude: [routes/*.yaml]\n", encoding="utf-8")
    with pytest.raises(HubError) as caught:
        new_system(config, "desk", "east")
    assert caught.value.code == "new.include"
