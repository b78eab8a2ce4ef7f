from __future__ import annotations

from pathlib import Path

import pytest

import hub.registry
from hub.deployment import diff
from tests.config.test_deployment import PLUGIN, ROUTE, SYSTEM, deploy

EMPTY: dict[str, list[str]] = {
    "start_inbound": [],
    "stop_inbound": [],
    "swap_inbound": [],
    "start_outbound": [],
    "stop_outbound": [],
    "restart_outbound": [],
    "swap_outbound": [],
    "routes": [],
}


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.registry, "BUILTIN_MODULES", ("tests.config.config_support",))
    monkeypatch.setenv("HIS_TOKEN", "tiger")


def interfaces(text: str) -> dict[str, str]:
    return {"config/systems/his.yaml": SYSTEM + f"    interfaces: {text}\n"}


CHANGES: list[tuple[str, dict[str, str], dict[str, list[str]]]] = [
    ("nothing", {}, {}),
    (
        "an option of the connection",
        interfaces("{adt_in: {listen: {port: 7005}}, result_out: {connect: {connections: 4}}}"),
        {"start_inbound": ["his/adt_in"], "stop_inbound": ["his/adt_in"], "restart_outbound": ["his/result_out"]},
    ),
    (
        "rules only",
        interfaces("{adt_in: {keys: {visit: visit.id}}, result_out: {success: code == 1, retry: {attempts: 1}}}"),
        {"swap_inbound": ["his/adt_in"], "swap_outbound": ["his/result_out"]},
    ),
    (
        "what the adapter looks at besides its options",
        interfaces("{adt_in: {max_size: 5MB}, result_out: {timeout: 99s}}"),
        {"start_inbound": ["his/adt_in"], "stop_inbound": ["his/adt_in"], "restart_outbound": ["his/result_out"]},
    ),
    (
        "another version of the plugin",
        {"plugins/his/plugin.yaml": PLUGIN.replace("2.1.0", "2.1.1")},
        {"swap_inbound": ["his/adt_in"], "swap_outbound": ["his/result_out"]},
    ),
    (
        "an interface switched off",
        interfaces("{adt_in: off}") | {"config/routes/r.yaml": ""},
        {"stop_inbound": ["his/adt_in"], "routes": ["r"]},
    ),
    (
        "a system more",
        {"config/systems/b.yaml": "systems:\n  b: {plugin: his, settings: {base_url: 'http://b', port: 7002}}\n"},
        {"start_inbound": ["b/adt_in"], "start_outbound": ["b/result_out"]},
    ),
    (
        "a system less",
        {"config/systems/his.yaml": "", "config/routes/r.yaml": ""},
        {"stop_inbound": ["his/adt_in"], "stop_outbound": ["his/result_out"], "routes": ["r"]},
    ),
    ("a route", {"config/routes/r.yaml": ROUTE.replace("}", ", types: ADT^*}")}, {"routes": ["r"]}),
]


@pytest.mark.parametrize(("files", "wanted"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_what_a_reload_has_to_do(tmp_path: Path, files: dict[str, str], wanted: dict[str, list[str]]) -> None:
    old, _ = deploy(tmp_path, {})
    new, _ = deploy(tmp_path, files)
    assert diff(old, new).as_dict() == EMPTY | wanted


def test_a_wildcard_that_now_means_more_is_a_changed_route(tmp_path: Path) -> None:
    star = {"config/routes/r.yaml": ROUTE.replace("from: his", "from: '*'")}
    old, _ = deploy(tmp_path, star)
    new, _ = deploy(
        tmp_path,
        star
        | {"config/systems/b.yaml": "systems:\n  b: {plugin: his, settings: {base_url: 'http://b', port: 7002}}\n"},
    )
    assert diff(old, new).routes == ["r"]


def test_a_new_secret_means_new_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, _ = deploy(tmp_path, {})
    monkeypatch.setenv("HIS_TOKEN", "lion")
    new, _ = deploy(tmp_path, {})
    assert diff(old, new).restart_outbound == ["his/result_out"]


def test_code_of_a_transport_that_was_loaded_anew_means_new_connections(tmp_path: Path) -> None:
    code = (
        "from hub.api import Adapter, hookimpl\nfrom tests.config.config_support import WireConnect\n"
        "class Own(Adapter):\n    name = 'own'\n    connect_options = WireConnect\n"
        "@hookimpl\ndef hub_adapters():\n    return [Own()]\n"
    )
    own = PLUGIN.replace("direction: out\n    adapter: wire", "direction: out\n    adapter: own")
    files = {"plugins/his/plugin.py": code, "plugins/his/plugin.yaml": own}
    old, problems = deploy(tmp_path, files)
    assert problems == []
    new, _ = deploy(tmp_path, files)
    assert diff(old, new).restart_outbound == ["his/result_out"]
