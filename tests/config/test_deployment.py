from __future__ import annotations

from pathlib import Path

import pytest

import hub.registry
from hub.config import load_config
from hub.deployment import Deployment, build, load_deployment
from hub.errors import ConfigError
from hub.mapping import MappingLibrary
from hub.registry import Registry
from hub.secrets import Secret
from tests.config.config_support import WireConnect, WireListen, told, write

PLUGIN = """\
id: his
name: HIS
version: 2.1.0
settings:
  port: {type: port, default: 7001}
  base_url: {type: url, required: true}
  token: {type: secret}
  timeout: {type: duration, default: 7s}
  parallel: {type: integer, default: 2}
interfaces:
  adt_in:
    direction: in
    adapter: wire
    codec: json
    listen:
      port: ${port}
    keys: {patient: patient.id}
  result_out:
    direction: out
    adapter: wire
    codec: json
    connect:
      url: ${base_url}/results
      auth: {kind: bearer, secret: "${token}"}
    timeout: ${timeout}
    concurrency: ${parallel}
    retry: {attempts: 5, interval: 1s}
"""
SYSTEM = """\
systems:
  his:
    plugin: his
    settings:
      base_url: http://his.example
      token: env:HIS_TOKEN
"""
ROUTE = "routes:\n  r: {from: his, to: his/result_out}\n"


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.registry, "BUILTIN_MODULES", ("tests.config.config_support",))
    monkeypatch.setenv("HIS_TOKEN", "tiger")


def deploy(folder: Path, files: dict[str, str]) -> tuple[Deployment, list[str]]:
    base = {
        "config/hub.yaml": "",
        "mappings/.keep": "",
        "plugins/his/plugin.yaml": PLUGIN,
        "config/systems/his.yaml": SYSTEM,
        "config/routes/r.yaml": ROUTE,
    }
    loaded = load_config(write(folder, base | files))
    registry = Registry.discover(loaded.plugin_folders, packages=False)
    deployment, problems = build(loaded, registry, MappingLibrary(loaded.mapping_folders, registry.functions))
    assert problems == deployment.problems
    return deployment, told(problems, folder)


def test_a_system_is_bound(tmp_path: Path) -> None:
    deployment, problems = deploy(tmp_path, {})
    assert problems == []
    inbound = deployment.inbound["his/adt_in"]
    assert (inbound.place, inbound.system, inbound.interface_id, inbound.plugin) == (
        "his/adt_in",
        "his",
        "adt_in",
        "his@2.1.0",
    )
    assert inbound.options == WireListen(port=7001)
    assert inbound.codec is deployment.codecs["json"]
    outbound = deployment.outbound["his/result_out"]
    assert isinstance(outbound.options, WireConnect)
    assert outbound.options.url == "http://his.example/results"
    assert outbound.options.auth is not None
    assert outbound.options.auth.secret == "tiger"
    assert outbound.contract.timeout == 7.0
    assert outbound.contract.concurrency == 2
    assert isinstance(outbound.settings["token"], Secret)
    assert list(deployment.routes) == ["r"]
    assert list(deployment.sources_of("r")) == ["his/adt_in"]
    (row,) = deployment.plugin_list()
    assert (row["id"], row["name"], row["version"], row["loaded"], row["systems"]) == (
        "his",
        "HIS",
        "2.1.0",
        True,
        ["his"],
    )
    assert [(i["id"], i["direction"]) for i in row["interfaces"]] == [("adt_in", "in"), ("result_out", "out")]


def test_a_setting_not_given_leaves_the_key_out(tmp_path: Path) -> None:
    files = {"config/systems/his.yaml": SYSTEM.replace("      token: env:HIS_TOKEN\n", "")}
    deployment, problems = deploy(tmp_path, files)
    assert problems == []
    options = deployment.outbound["his/result_out"].options
    assert isinstance(options, WireConnect)
    assert options.auth is not None
    assert options.auth.secret == ""


def test_overrides(tmp_path: Path) -> None:
    more = """\
    interfaces:
      adt_in: off
      result_out:
        connect: {connections: 3, auth: null}
        retry: {attempts: 9}
        timeout: 3s
"""
    files = {"config/systems/his.yaml": SYSTEM + more, "config/routes/r.yaml": ""}
    deployment, problems = deploy(tmp_path, files)
    assert problems == []
    assert deployment.inbound == {}
    bound = deployment.outbound["his/result_out"]
    assert bound.options == WireConnect(url="http://his.example/results", connections=3)
    assert bound.contract.timeout == 3.0
    assert bound.contract.retry is not None
    assert (bound.contract.retry.attempts, bound.contract.retry.interval) == (9, 1.0)


def test_two_systems_on_one_plugin(tmp_path: Path) -> None:
    files = {
        "config/systems/b.yaml": "systems:\n  b: {plugin: his, settings: {base_url: 'http://b', port: 7002}}\n",
        "config/systems/c.yaml": "systems:\n  c: {plugin: his, enabled: false}\n",
        "config/routes/r.yaml": "routes:\n  r: {from: '*', to: [b/result_out, his/result_out]}\n",
    }
    deployment, problems = deploy(tmp_path, files)
    assert problems == []
    assert sorted(deployment.inbound) == ["b/adt_in", "his/adt_in"]
    assert list(deployment.sources_of("r")) == ["b/adt_in", "his/adt_in"]


def system(settings: str = "base_url: http://h", interfaces: str = "{}", plugin: str = "his") -> dict[str, str]:
    text = f"systems:\n  his:\n    plugin: {plugin}\n    settings: {{{settings}}}\n    interfaces: {interfaces}\n"
    return {"config/systems/his.yaml": text, "config/routes/r.yaml": ""}


def plugin(old: str, new: str) -> dict[str, str]:
    assert old in PLUGIN
    return {"plugins/his/plugin.yaml": PLUGIN.replace(old, new), "config/routes/r.yaml": ""}


IN_SYSTEM = "error config/systems/his.yaml:"
IN_PLUGIN = "error plugins/his/plugin.yaml:"

BAD: list[tuple[str, dict[str, str], list[str]]] = [
    (
        "unknown plugin",
        system(plugin="hiss"),
        [f"{IN_SYSTEM}3: systems.his.plugin: unknown plugin 'hiss' -> did you mean 'his'?"],
    ),
    (
        "unknown interface",
        system(interfaces="{adt_inn: off}"),
        [
            f"{IN_SYSTEM}5: systems.his.interfaces.adt_inn: plugin 'his' has no interface 'adt_inn'"
            " -> did you mean 'adt_in'?"
        ],
    ),
    (
        "missing setting",
        system(settings=""),
        [f"{IN_SYSTEM}4: systems.his.settings.base_url: setting 'base_url' is missing -> add base_url: … (url)"],
    ),
    (
        "setting of a wrong type",
        system(settings="base_url: http://h, port: x"),
        [
            f"{IN_SYSTEM}4: systems.his.settings.port: expected a port, 1 to 65535, or 0 for any free one"
            " -> write e.g. 2575"
        ],
    ),
    (
        "default of a wrong type",
        plugin("default: 7001", "default: x"),
        [f"{IN_PLUGIN}5: settings.port.default: expected a port, 1 to 65535, or 0 for any free one -> write e.g. 2575"],
    ),
    (
        "a setting the contract's key can't take is told where the setting is",
        system(settings="base_url: http://h, parallel: 0"),
        [f"{IN_SYSTEM}4: systems.his.settings.parallel: 0 must be at least 1 -> write a value at least 1"],
    ),
    (
        "its default where the key is",
        plugin("{type: integer, default: 2}", "{type: integer, default: 0}"),
        [f"{IN_PLUGIN}26: interfaces.result_out.concurrency: 0 must be at least 1 -> write a value at least 1"],
    ),
    (
        "unknown name of a setting",
        plugin("${base_url}/results", "${base_ulr}/results"),
        [
            f"{IN_PLUGIN}23: interfaces.result_out.connect.url: there is no setting 'base_ulr'"
            " -> did you mean 'base_url'?"
        ],
    ),
    (
        "a secret outside of the adapter's options",
        plugin("keys: {patient: patient.id}", 'keys: {patient: "${token}"}'),
        [
            f"{IN_PLUGIN}17: interfaces.adt_in.keys.patient: the secret 'token' can't be used here"
            " -> secrets belong in listen and connect"
        ],
    ),
    (
        "override with an unknown key",
        system(interfaces="{result_out: {timout: 5s}}"),
        [f"{IN_SYSTEM}5: systems.his.interfaces.result_out.timout: unknown key 'timout' -> did you mean 'timeout'?"],
    ),
    (
        "option written by the system",
        system(interfaces="{result_out: {connect: {connections: 0}}}"),
        [
            f"{IN_SYSTEM}5: systems.his.interfaces.result_out.connect.connections: 0 must be at least 1"
            " -> write a value at least 1"
        ],
    ),
    (
        "option written by the plugin",
        plugin("      auth:", "      conections: 2\n      auth:"),
        [
            f"{IN_PLUGIN}24: interfaces.result_out.connect.conections: unknown key 'conections'"
            " -> did you mean 'connections'?"
        ],
    ),
    (
        "option that is missing",
        plugin("    listen:\n      port: ${port}\n", ""),
        [f"{IN_PLUGIN}11: interfaces.adt_in.listen.port: 'port' is missing -> add port: …"],
    ),
    (
        "unknown adapter",
        plugin("direction: in\n    adapter: wire", "direction: in\n    adapter: wier"),
        [f"{IN_PLUGIN}13: interfaces.adt_in.adapter: unknown adapter 'wier' -> did you mean 'wire'?"],
    ),
    (
        "adapter of one direction",
        plugin("direction: in\n    adapter: wire", "direction: in\n    adapter: sink"),
        [
            f"{IN_PLUGIN}13: interfaces.adt_in.adapter: adapter 'sink' can't receive -> choose another adapter or direction"
        ],
    ),
    (
        "unknown codec",
        plugin("codec: json\n    listen", "codec: jsn\n    listen"),
        [f"{IN_PLUGIN}14: interfaces.adt_in.codec: unknown codec 'jsn' -> did you mean 'json'?"],
    ),
    (
        "unknown codec of the reply",
        system(interfaces="{result_out: {reply: {codec: jsn}}}"),
        [f"{IN_SYSTEM}5: systems.his.interfaces.result_out.reply.codec: unknown codec 'jsn' -> did you mean 'json'?"],
    ),
]


@pytest.mark.parametrize(("files", "problems"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_system_with_problems_is_left_out(tmp_path: Path, files: dict[str, str], problems: list[str]) -> None:
    other = {
        "plugins/ok/plugin.yaml": PLUGIN.replace("id: his", "id: ok"),
        "config/systems/ok.yaml": "systems:\n  ok: {plugin: ok, settings: {base_url: 'http://ok', port: 7009}}\n",
        "config/routes/ok.yaml": "routes:\n  ok: {from: ok, to: ok/result_out}\n",
    }
    deployment, found = deploy(tmp_path, other | files)
    assert found == problems
    assert list(deployment.systems) == ["ok"]
    assert list(deployment.inbound) == ["ok/adt_in"]
    assert list(deployment.routes) == ["ok"]


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("{adt_in: {type: 'a('}}", "adt_in.type"),
        ("{adt_in: {control_id: 'a('}}", "adt_in.control_id"),
        ("{adt_in: {keys: {visit: 'a('}}}", "adt_in.keys.visit"),
        ("{result_out: {success: 'a('}}", "result_out.success"),
        ("{result_out: {reply: {code: 'a('}}}", "result_out.reply.code"),
        ("{result_out: {reply: {message: 'a('}}}", "result_out.reply.message"),
    ],
)
def test_expressions_are_compiled(tmp_path: Path, override: str, key: str) -> None:
    deployment, problems = deploy(tmp_path, system(interfaces=override))
    assert len(problems) == 1
    assert problems[0].startswith(f"{IN_SYSTEM}5: systems.his.interfaces.{key}: ")
    assert deployment.systems == {}


def test_a_plugin_that_could_not_be_loaded_is_told_as_such(tmp_path: Path) -> None:
    _, problems = deploy(tmp_path, {"plugins/his/plugin.py": "1 / 0\n", "config/routes/r.yaml": ""})
    assert problems == [
        "error plugins/his/plugin.py: can't be loaded: ZeroDivisionError: division by zero (plugin.py:1)"
        " -> correct the code or remove the file",
        "error config/systems/his.yaml:3: systems.his.plugin: plugin 'his' could not be loaded"
        " -> correct the problems told for it",
    ]


OWN = """\
from pydantic import BaseModel, model_validator
from hub.api import Adapter, Codec, hookimpl

class Options(BaseModel):
    url: str = ""

    @model_validator(mode="before")
    @classmethod
    def broken(cls, data):
        raise KeyError("x")

class Own(Adapter):
    name = "own"
    connect_options = Options

@hookimpl
def hub_adapters():
    return [Own()]
"""


def test_an_adapter_with_a_bug_costs_its_own_system_only(tmp_path: Path) -> None:
    own = PLUGIN.replace("id: his", "id: own").replace(
        "direction: out\n    adapter: wire", "direction: out\n    adapter: own"
    )
    deployment, problems = deploy(
        tmp_path,
        {
            "plugins/own/plugin.yaml": own,
            "plugins/own/plugin.py": OWN,
            "config/systems/own.yaml": "systems:\n  own: {plugin: own, settings: {base_url: 'http://o', port: 7009}}\n",
        },
    )
    assert list(deployment.systems) == ["his"]
    assert problems == [
        "error plugins/own/plugin.yaml:22: interfaces.result_out.connect: adapter 'own' failed on its options: KeyError"
        " -> tell the author of the adapter"
    ]


def test_load_deployment(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        {
            "config/hub.yaml": "name: east\n",
            "mappings/.keep": "",
            "plugins/his/plugin.yaml": PLUGIN,
            "config/systems/his.yaml": SYSTEM,
            "config/routes/r.yaml": ROUTE,
        },
    )
    deployment = load_deployment(file)
    assert deployment.config.name == "east"
    assert list(deployment.outbound) == ["his/result_out"]
    file.write_text("nme: east\n")
    with pytest.raises(ConfigError, match="did you mean 'name'"):
        load_deployment(file)
