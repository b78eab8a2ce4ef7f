"""Profiles in the tools: check, the contract as it holds, skeletons, systems, the file watcher."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hub.check import check
from hub.cli.look import plugins
from hub.cli.new import app
from hub.errors import HubError
from hub.profiles.effective import effective
from hub.registry import Registry
from hub.watch import Watcher
from tests.config.config_support import told, write

PROFILE = """\
id: portal
name: Portal application
parameters:
  prefix: {required: true, description: path}
  wait: {default: 10s}
settings:
  base_url: {type: url, required: true}
  limit: {type: number}
defaults:
  out: {adapter: http, codec: json, timeout: "${{wait}}"}
interfaces:
  user_sync:
    direction: out
    rate: ${limit}
    connect: {url: "${base_url}${{prefix}}/users"}
    success: code == 0
"""
APP = "id: app\nname: App\nextends: portal\nwith: {prefix: /v1}\ninterfaces: {user_sync: {name: Users}}\n"
SYSTEM = "systems:\n  one: {plugin: app, settings: {base_url: 'http://app.test', limit: 5}}\n"
SITE = {
    "config/hub.yaml": "language: en\n",
    "mappings/.keep": "",
    "plugins/p/portal/profile.yaml": PROFILE,
    "plugins/a/app/plugin.yaml": APP,
    "config/systems/one.yaml": SYSTEM,
}


def problems_of(folder: Path, files: dict[str, str]) -> list[str]:
    return told(check(write(folder, SITE | files)).problems, folder)


def test_a_system_on_a_plugin_with_a_profile(tmp_path: Path) -> None:
    from hub.deployment import load_deployment

    deployment = load_deployment(write(tmp_path, SITE))
    assert told(deployment.problems, tmp_path) == []
    bound = deployment.outbound["one/user_sync"]
    assert (bound.contract.rate, bound.contract.timeout, bound.contract.name) == (5.0, 10.0, "Users")
    assert bound.options.url == "http://app.test/v1/users"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        ("plugins/p/portal/profile.yaml", "code == 0", "code ===", "14: interfaces.user_sync.success"),
        ("plugins/p/portal/profile.yaml", "connect: {", "connect: {urls: a, ", "13: interfaces.user_sync.connect.urls"),
        ("plugins/p/portal/profile.yaml", "adapter: http", "adapter: htp", "10: defaults.out.adapter"),
        ("plugins/p/portal/profile.yaml", "codec: json", "codec: jsn", "10: defaults.out.codec"),
        ("plugins/p/portal/profile.yaml", "rate: ${limit}", "rate: ${limt}", "15: interfaces.user_sync.rate"),
        ("plugins/a/app/plugin.yaml", "name: Users", "success: 'code ==='", "5: interfaces.user_sync.success"),
        ("config/systems/one.yaml", "limit: 5", "limit: -5", "2: systems.one.settings.limit"),
    ],
)
def test_what_only_a_system_shows_is_told_where_it_stands(
    tmp_path: Path, file: str, old: str, new: str, problem: str
) -> None:
    text = SITE[file].replace(old, new)
    assert text != SITE[file]
    key = problem.split(": ")[1]
    line = text[: text.index(new)].count("\n") + 1
    found = problems_of(tmp_path, {file: text})
    assert any(one.startswith(f"error {file}:{line}: {key}: ") for one in found), found


def test_a_profile_nobody_extends_is_checked(tmp_path: Path) -> None:
    part = "id: part\nname: Part\ninterfaces: {a: {timeout: 3s}}\n"
    assert problems_of(tmp_path, {"plugins/p/part/profile.yaml": part}) == []
    whole = PROFILE.replace("id: portal", "id: whole").replace("code == 0", "code == 0\n    examples: [none.json]")
    bad = {
        "plugins/p/part/profile.yaml": part.replace("3s", "soon"),
        "plugins/p/whole/profile.yaml": whole.replace("codec: json", "codec: jsn"),
        "plugins/p/more/profile.yaml": whole.replace("id: whole", "id: more"),
        "plugins/p/gone/profile.yaml": "id: gone\nname: Gone\nextends: nobody\n",
    }
    assert [problem.split(" -> ")[0] for problem in problems_of(tmp_path, bad)] == [
        "error plugins/p/gone/profile.yaml:3: extends: unknown profile 'nobody'",
        "error plugins/p/more/profile.yaml:17: interfaces.user_sync.examples[0]: none.json: can't be read: No such file or directory",
        "error plugins/p/part/profile.yaml:3: interfaces.a.timeout: 'soon' is not a duration; write e.g. 500ms, 5s, 30m, 24h, 90d",
        "error plugins/p/whole/profile.yaml:10: defaults.out.codec: unknown codec 'jsn'",
    ]


def test_the_contract_as_it_holds(tmp_path: Path) -> None:
    write(tmp_path, SITE)
    registry = Registry.discover([tmp_path / "plugins"])
    found = {row.as_dict()["key"]: (row.value, row.file.name, row.line) for row in effective(registry.plugins["app"])}
    assert found["id"] == ("app", "plugin.yaml", 1)
    assert found["interfaces.user_sync.name"] == ("Users", "plugin.yaml", 5)
    assert found["interfaces.user_sync.adapter"] == ("http", "profile.yaml", 10)
    assert found["interfaces.user_sync.timeout"] == ("10s", "profile.yaml", 5)
    assert found["interfaces.user_sync.connect.url"] == ("${base_url}/v1/users", "profile.yaml", 15)
    assert found["settings.limit.type"] == ("number", "profile.yaml", 8)
    assert not any(key.startswith(("extends", "defaults", "with")) for key in found)


def test_the_contract_as_it_holds_on_the_command_line(tmp_path: Path) -> None:
    import typer

    config = write(tmp_path, SITE)
    shell = typer.Typer()
    shell.command()(plugins)
    result = CliRunner().invoke(shell, ["app", "-c", str(config)])
    assert result.exit_code == 0
    line = next(line for line in result.stdout.splitlines() if "adapter: http" in line)
    assert line.endswith("plugins/p/portal/profile.yaml:10")
    answer = json.loads(CliRunner().invoke(shell, ["app", "-c", str(config), "--json"]).stdout)
    assert answer["profiles"] == ["portal@1.0.0"]
    assert {row["key"]: row["value"] for row in answer["keys"]}["interfaces.user_sync.direction"] == "out"
    wrong = CliRunner().invoke(shell, ["ap", "-c", str(config)])
    assert isinstance(wrong.exception, HubError)


def test_a_skeleton_on_a_profile(tmp_path: Path) -> None:
    config = write(tmp_path, SITE)
    options = ["plugin", "-c", str(config), "--id", "second", "--group", "a", "--name", "二", "--extends", "portal"]
    result = CliRunner().invoke(app, [*options, "--with", "prefix=/v2", "--json"])
    assert result.exit_code == 0, result.exception
    assert [Path(file).name for file in json.loads(result.stdout)["files"]] == ["plugin.yaml", "test_second.py"]
    assert told(check(config).problems, tmp_path) == []
    plugin = Registry.discover([tmp_path / "plugins"]).plugins["second"].contract
    assert plugin.interfaces["user_sync"].connect == {"url": "${base_url}/v2/users"}
    assert plugin.interfaces["user_sync"].timeout == 10.0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--extends", "portl"], "there is no profile 'portl'"),
        (["--extends", "portal"], "needs a value for 'prefix': path"),
        (["--extends", "portal", "--with", "prefix=/a", "--with", "x=1"], "has no parameter 'x'"),
    ],
)
def test_a_skeleton_that_is_not_possible(tmp_path: Path, options: list[str], text: str) -> None:
    config = write(tmp_path, SITE)
    result = CliRunner().invoke(app, ["plugin", "-c", str(config), "--id", "second", "--group", "a", *options])
    assert isinstance(result.exception, HubError)
    assert text in result.exception.text
    assert not (tmp_path / "plugins" / "a" / "second").exists()


def test_a_changed_profile_changes_every_system_on_it(tmp_path: Path) -> None:
    from hub.deployment import diff, load_deployment

    config = write(tmp_path, SITE)
    before = load_deployment(config)
    profile = tmp_path / "plugins" / "p" / "portal" / "profile.yaml"
    profile.write_text(PROFILE.replace("default: 10s", "default: 20s"), encoding="utf-8")
    after = load_deployment(config)
    assert after.outbound["one/user_sync"].contract.timeout == 20.0
    assert "one/user_sync" in str(diff(before, after))


def test_a_system_for_a_plugin_on_a_profile(tmp_path: Path) -> None:
    config = write(tmp_path, SITE)
    result = CliRunner().invoke(app, ["system", "app", "two", "-c", str(config)])
    assert result.exit_code == 0
    assert "base_url" in (tmp_path / "config" / "systems" / "two.yaml").read_text(encoding="utf-8")
    assert told(check(config).problems, tmp_path) == []


async def _nothing(_who: str) -> None:
    return None


def test_the_watcher_sees_profiles(tmp_path: Path) -> None:
    config = write(tmp_path, SITE)
    watcher = Watcher(config, _nothing)
    before = watcher.look()
    profile = tmp_path / "plugins" / "p" / "portal" / "profile.yaml"
    assert str(profile) in before
    os.utime(profile, ns=(time.time_ns(), before[str(profile)][0] + 1))
    assert watcher.look() != before
