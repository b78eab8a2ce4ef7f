"""Plugins that take over profiles: what comes out, and where an error is told."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hub.registry
from hub.contract import Interface
from hub.registry import Registry
from tests.config.config_support import told, write

PORTAL = """\
id: portal
name: Portal application
version: 1.2.0
assumed: true
sources: ["004:10452"]
parameters:
  prefix: {default: /app, description: path}
  wait: {default: 10s}
settings:
  base_url: {type: url, required: true}
  token: {type: secret, default: "file:keys/token"}
defaults:
  any: {codec: json}
  out: {adapter: wire, timeout: "${{wait}}", retry: {attempts: 3, interval: 5s}}
  wire in: {max_size: 1MB}
interfaces:
  user_sync:
    direction: out
    connect: {url: "${base_url}${{prefix}}/users"}
    errors:
      "401": {class: permanent, text: unknown}
    examples: [examples/user.json]
  status:
    direction: in
    adapter: wire
    listen: {port: 0}
"""
APP = """\
id: app
name: App
extends: portal
"""


@pytest.fixture(autouse=True)
def only_our_adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.registry, "BUILTIN_MODULES", ("tests.config.config_support",))


def discover(folder: Path, files: dict[str, str]) -> tuple[Registry, list[str]]:
    write(folder, {f"plugins/{name}": text for name, text in files.items()})
    registry = Registry.discover([folder / "plugins"], packages=False)
    return registry, told(registry.problems, folder)


def loaded(folder: Path, app: str, profile: str = PORTAL, **more: str) -> dict[str, Interface]:
    """The interfaces of the plugin ``app``, which has no problems."""
    files = {"p/portal/profile.yaml": profile, "a/app/plugin.yaml": app}
    registry, problems = discover(folder, files | {f"p/{name}/profile.yaml": text for name, text in more.items()})
    assert problems == []
    return dict(registry.plugins["app"].contract.interfaces)


def wrong(folder: Path, app: str, profile: str = PORTAL, **more: str) -> list[str]:
    files = {"p/portal/profile.yaml": profile, "a/app/plugin.yaml": app}
    registry, problems = discover(folder, files | {f"p/{name}/profile.yaml": text for name, text in more.items()})
    assert registry.plugins == {}
    return problems


def test_everything_is_taken_over(tmp_path: Path) -> None:
    found = loaded(tmp_path, APP)
    assert list(found) == ["user_sync", "status"]
    sync = found["user_sync"]
    assert (sync.adapter, sync.codec, sync.timeout) == ("wire", "json", 10.0)
    assert sync.retry is not None
    assert sync.retry.interval == 5.0
    assert sync.connect == {"url": "${base_url}/app/users"}
    assert sync.max_size is None
    assert found["status"].max_size == 1 << 20
    assert found["status"].codec == "json"


def test_facts_of_the_profile_hold_for_the_plugin(tmp_path: Path) -> None:
    app = APP + 'sources: ["004:10340", "004:10452"]\nversion: 2.0.0\n'
    registry, problems = discover(tmp_path, {"p/portal/profile.yaml": PORTAL, "a/app/plugin.yaml": app})
    plugin = registry.plugins["app"]
    assert problems == []
    assert plugin.contract.assumed
    assert plugin.contract.sources == ["004:10452", "004:10340"]
    assert plugin.stamp == "app@2.0.0+portal@1.2.0"
    assert [one.contract.id for one in plugin.profiles] == ["portal"]
    assert list(registry.profiles) == ["portal"]


def test_what_the_plugin_says_of_itself_wins(tmp_path: Path) -> None:
    found = loaded(
        tmp_path,
        APP
        + dedent("""\
        assumed: false
        interfaces:
          user_sync:
            name: Users
            timeout: 3s
            errors: {"409": {class: delivered}}
            retry: {attempts: 1}
          more: {direction: out}
        """),
    )
    sync = found["user_sync"]
    assert (sync.name, sync.timeout) == ("Users", 3.0)
    assert {code: rule.kind for code, rule in sync.errors.items()} == {"401": "permanent", "409": "delivered"}
    assert sync.retry is not None
    assert (sync.retry.attempts, sync.retry.interval) == (1, 5.0)
    assert found["more"].adapter == "wire"  # defaults hold for what the plugin adds


def test_keys_and_interfaces_are_taken_away(tmp_path: Path) -> None:
    app = (
        APP + "interfaces:\n  status: off\n  user_sync: {retry: null, errors: {'401': null}}\nsettings: {token: null}\n"
    )
    registry, problems = discover(tmp_path, {"p/portal/profile.yaml": PORTAL, "a/app/plugin.yaml": app})
    contract = registry.plugins["app"].contract
    assert problems == []
    assert list(contract.interfaces) == ["user_sync"]
    assert list(contract.settings) == ["base_url"]
    assert contract.interfaces["user_sync"].retry is None
    assert contract.interfaces["user_sync"].errors == {}


def test_parameters(tmp_path: Path) -> None:
    found = loaded(tmp_path, APP + "with: {prefix: /v2, wait: 30s}\n")
    assert found["user_sync"].connect == {"url": "${base_url}/v2/users"}
    assert found["user_sync"].timeout == 30.0


def test_a_parameter_without_value_leaves_its_key_out(tmp_path: Path) -> None:
    profile = PORTAL.replace("{default: 10s}", "{}").replace("timeout: ", "rate: 3, timeout: ")
    assert loaded(tmp_path, APP, profile)["user_sync"].timeout == Interface.model_fields["timeout"].default


def test_a_profile_on_a_profile(tmp_path: Path) -> None:
    middle = """\
    id: middle
    name: Middle
    extends: [portal]
    with: {prefix: "/${{zone}}"}
    parameters: {zone: {required: true}}
    interfaces:
      status: off
      user_sync: {rate: 5}
    """
    found = loaded(tmp_path, "id: app\nname: App\nextends: middle\nwith: {zone: east, wait: 1s}\n", middle=middle)
    assert list(found) == ["user_sync"]
    assert found["user_sync"].connect == {"url": "${base_url}/east/users"}
    assert (found["user_sync"].rate, found["user_sync"].timeout) == (5.0, 1.0)


def test_of_two_profiles_the_later_wins_and_a_shared_parent_counts_once(tmp_path: Path) -> None:
    sides = {
        name: f"id: {name}\nname: N\nextends: portal\ninterfaces: {{user_sync: {{rate: {rate}, name: {name}}}}}\n"
        for name, rate in (("left", 1), ("right", 2))
    }
    found = loaded(tmp_path, "id: app\nname: App\nextends: [right, left]\n", **sides)
    assert (found["user_sync"].name, found["user_sync"].rate) == ("left", 1.0)
    assert found["user_sync"].timeout == 10.0


def test_files_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    app = APP + "interfaces:\n  own: {direction: out, examples: examples/mine.json}\n"
    files = {"p/portal/profile.yaml": PORTAL, "a/app/plugin.yaml": app, "p/portal/examples/user.json": "{}"}
    registry, _ = discover(tmp_path, files | {"a/app/examples/mine.json": "{}"})
    plugin = registry.plugins["app"]
    for interface in ("own", "user_sync"):
        (example,) = plugin.contract.interfaces[interface].examples
        assert (plugin.folder / example).is_file()
    assert plugin.contract.settings["token"].default == "file:../../p/portal/keys/token"


def test_files_given_by_a_parameter_are_relative_to_the_plugin(tmp_path: Path) -> None:
    profile = PORTAL.replace("parameters:", "parameters:\n  samples: {}").replace(
        "[examples/user.json]", '"${{samples}}"'
    )
    found = loaded(tmp_path, APP + "with: {samples: [examples/mine.json]}\n", profile)
    assert found["user_sync"].examples == ["examples/mine.json"]


# -- tables ------------------------------------------------------------------------------------------------------

TABLE = """\
id: app
name: App
tables:
  services:
    - {id: accept, title: 受理, path: /accept, codes: {"9": {text: closed}}}
    - {id: supplement, title: 补正, path: /supplement, wait: 30s}
settings:
  base_url: {type: url, required: true}
  "${{id}}_path": {each: services, default: "${{path}}", description: "${{title}}"}
interfaces:
  "hd1_${{id}}":
    each: services
    name: ${{title}}
    direction: out
    adapter: wire
    codec: json
    timeout: ${{wait}}
    errors: ${{codes}}
    connect: {url: "${base_url}${${{id}}_path}"}
  hd1_accept: {rate: 2}
"""


def test_a_table_makes_interfaces_and_settings(tmp_path: Path) -> None:
    registry, problems = discover(tmp_path, {"a/app/plugin.yaml": TABLE})
    contract = registry.plugins["app"].contract
    assert problems == []
    assert list(contract.interfaces) == ["hd1_accept", "hd1_supplement"]
    accept, supplement = contract.interfaces.values()
    assert (accept.name, accept.timeout, accept.rate) == ("受理", 10.0, 2.0)
    assert accept.errors["9"].text == "closed"
    assert (supplement.name, supplement.timeout, supplement.errors) == ("补正", 30.0, {})
    assert supplement.connect == {"url": "${base_url}${supplement_path}"}
    assert contract.settings["supplement_path"].default == "/supplement"


def test_a_plugin_gives_the_rows_to_a_profile(tmp_path: Path) -> None:
    template = PORTAL + '  "x_${{id}}": {each: "${{rows}}", direction: out, connect: {url: "${{url}}${{prefix}}"}}\n'
    profile = template.replace("parameters:", "parameters:\n  rows: {}")
    assert list(loaded(tmp_path, APP, profile)) == ["user_sync", "status"]
    found = loaded(tmp_path, APP + 'with: {rows: [{id: 1, url: "http://a.test"}, {id: 2, url: b}]}\n', profile)
    assert list(found) == ["user_sync", "status", "x_1", "x_2"]
    assert found["x_1"].connect == {"url": "http://a.test/app"}


def test_a_plugin_replaces_a_table_of_its_profile(tmp_path: Path) -> None:
    profile = PORTAL + '  "x_${{id}}": {each: kinds, direction: out}\ntables: {kinds: [{id: a}, {id: b}]}\n'
    assert list(loaded(tmp_path, APP, profile)) == ["user_sync", "status", "x_a", "x_b"]
    assert list(loaded(tmp_path, APP + "tables: {kinds: [{id: c}]}\n", profile)) == ["user_sync", "status", "x_c"]


# -- errors ------------------------------------------------------------------------------------------------------


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("codec: json}", "codec: json, speed: 3}", "defaults.any.speed: unknown key 'speed'"),
        ("text: unknown}", "txt: unknown}", "interfaces.user_sync.errors.401.txt: unknown key 'txt'"),
        ("class: permanent", "class: bad", "interfaces.user_sync.errors.401.class: 'bad' is not allowed"),
        ("direction: in\n", "direction: up\n", "interfaces.status.direction: 'up' is not allowed"),
        ("{default: 10s}", "{default: soon}", "parameters.wait.default: 'soon' is not a duration"),
        ("${{prefix}}", "${{prefx}}", "interfaces.user_sync.connect.url: there is no parameter 'prefx'"),
        ("wire in:", "wire im:", "defaults.wire im: 'im' is neither"),
        ("type: url", "type: uri", "settings.base_url.type: 'uri' is not allowed"),
        ("listen: {port", "listn: {port", "interfaces.status.listn: unknown key 'listn'"),
    ],
)
def test_what_is_wrong_in_a_profile_is_told_there(tmp_path: Path, old: str, new: str, problem: str) -> None:
    profile = PORTAL.replace(old, new, 1)
    assert profile != PORTAL
    (found,) = wrong(tmp_path, APP, profile)
    assert found.startswith(f"error plugins/p/portal/profile.yaml:{line_of(profile, new)}: {problem}")


def test_what_is_missing_is_told_where_it_would_stand(tmp_path: Path) -> None:
    profile = PORTAL.replace("    adapter: wire\n", "", 1)
    (found,) = wrong(tmp_path, APP, profile)
    where = line_of(profile, "  status:")
    assert found.startswith(
        f"error plugins/p/portal/profile.yaml:{where}: interfaces.status.adapter: 'adapter' is missing"
    )


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ("with: {wait: soon}\n", "4: with.wait: 'soon' is not a duration"),
        ("with: {waits: 1s}\n", "4: with.waits: no profile has a parameter 'waits' -> did you mean 'wait'?"),
        ("interfaces:\n  user_sync:\n    rate: fast\n", "6: interfaces.user_sync.rate: expected a number"),
        ("interfaces:\n  user_sync: {direction: null}\n", "5: interfaces.user_sync.direction: 'direction' is missing"),
        ("interfaces:\n  user_syncs: off\n", "5: interfaces.user_syncs: there is nothing called 'user_syncs'"),
        ("interfaces:\n  user_sync: 3\n", "5: interfaces.user_sync: expected keys and values"),
        ("settings:\n  base_url: {type: text}\n", "5: settings.base_url.type: 'text' is not allowed"),
        ("defaults: {outt: {rate: 1}}\n", "4: defaults.outt: 'outt' is neither a direction"),
    ],
)
def test_what_is_wrong_in_a_plugin_is_told_there(tmp_path: Path, more: str, place: str) -> None:
    problems = wrong(tmp_path, APP + more)
    assert [problem for problem in problems if f"plugins/a/app/plugin.yaml:{place}" in problem], problems
    assert len(problems) == 1


def test_choices_and_required_parameters(tmp_path: Path) -> None:
    profile = PORTAL.replace("wait: {default: 10s}", "wait: {required: true, choices: [1s, 2s], description: how long}")
    assert wrong(tmp_path, APP, profile) == [
        "error plugins/a/app/plugin.yaml:1: with.wait: parameter 'wait' is missing (how long) -> add with: {wait: …}"
    ]
    assert wrong(tmp_path, APP + "with: {wait: 3s}\n", profile) == [
        "error plugins/a/app/plugin.yaml:4: with.wait: '3s' is not one of the choices -> allowed: 1s, 2s"
    ]


def test_unknown_and_circular_profiles(tmp_path: Path) -> None:
    assert wrong(tmp_path, "id: app\nname: App\nextends: [portl]\n") == [
        "error plugins/a/app/plugin.yaml:3: extends[0]: unknown profile 'portl' -> did you mean 'portal'?"
    ]
    a, b = ("id: a\nname: A\nextends: b\n", "id: b\nname: B\nextends: a\n")
    assert wrong(tmp_path, "id: app\nname: App\nextends: a\n", a=a, b=b) == [
        "error plugins/p/b/profile.yaml:3: extends: goes in a circle: a → b → a -> take one of these out"
    ]


def test_very_long_ways_are_refused(tmp_path: Path) -> None:
    chain = {f"p{n}": f"id: p{n}\nname: P\nextends: p{n + 1}\n" for n in range(20)}
    problems = wrong(tmp_path, "id: app\nname: App\nextends: p0\n", p20="id: p20\nname: P\n", **chain)
    assert problems == [
        "error plugins/p/p15/profile.yaml:3: extends: more than 16 profiles above each other -> make it flatter"
    ]


def test_a_broken_profile_takes_only_its_own_plugins_along(tmp_path: Path) -> None:
    files = {
        "p/portal/profile.yaml": PORTAL + "colour: red\n",
        "p/good/profile.yaml": PORTAL.replace("id: portal", "id: good"),
        "p/yaml/profile.yaml": "id: [",
        "a/app/plugin.yaml": APP,
        "a/well/plugin.yaml": "id: well\nname: Well\nextends: good\n",
        "a/last/plugin.yaml": "id: last\nname: Last\nextends: yaml\n",
    }
    registry, problems = discover(tmp_path, files)
    assert list(registry.plugins) == ["well"]
    assert registry.failed == {"app", "last"}
    assert [problem.split(": ")[0] for problem in problems] == [
        "error plugins/p/portal/profile.yaml:27",
        "error plugins/p/yaml/profile.yaml:2",
        "error plugins/a/app/plugin.yaml:3",
        "error plugins/a/last/plugin.yaml:3",
    ]
    assert "profile 'portal' could not be loaded" in problems[2]


def test_one_mistake_in_a_profile_is_told_once(tmp_path: Path) -> None:
    apps = {f"a/app{n}/plugin.yaml": f"id: app{n}\nname: App\nextends: portal\n" for n in range(3)}
    profile = PORTAL.replace("direction: in\n", "direction: up\n", 1)
    registry, problems = discover(tmp_path, {"p/portal/profile.yaml": profile, **apps})
    assert len(problems) == 1
    assert registry.failed == {"app0", "app1", "app2"}


@pytest.mark.parametrize(
    ("old", "new", "at", "problem"),
    [
        ("${{wait}}", "${{wat}}", "${{wat}}", "interfaces.hd1_${{id}}.timeout: there is no parameter 'wat'"),
        ("wait: 30s", "wait: soon", "wait: soon", "tables.services[1].wait: 'soon' is not a duration"),
        ("text: closed", "txt: closed", "txt: closed", "tables.services[0].codes.9.txt: unknown key 'txt'"),
        ("id: supplement", "id: accept", "title: 补正", "tables.services[1]: makes 'accept_path' as row 1 does"),
        (
            "each: services\n",
            "each: servces\n",
            "each: servces",
            "interfaces.hd1_${{id}}.each: there is no table 'servces'",
        ),
        ("    each: services\n", "", '"hd1_', "interfaces.hd1_${{id}}: a name made from rows needs each"),
        (
            "    codec: json",
            "    speed: 1\n    codec: json",
            "speed",
            "interfaces.hd1_${{id}}.speed: unknown key 'speed'",
        ),
        ("hd1_accept: {", "x: {each: services, ", "x: {each", "interfaces.x: every row would get this name"),
        ("id: supplement, ", "", "title: 补正", "tables.services[1]: row 2 makes no name"),
        ('"hd1_${{id}}"', '"hd1_${{id}"', '"hd1_', "interfaces.hd1_${{id}: ${{ is not followed by a name"),
    ],
)
def test_what_is_wrong_in_a_table_is_told_there(tmp_path: Path, old: str, new: str, at: str, problem: str) -> None:
    text = TABLE.replace(old, new, 1)
    assert text != TABLE
    registry, problems = discover(tmp_path, {"a/app/plugin.yaml": text})
    assert registry.plugins == {}
    assert any(one.startswith(f"error plugins/a/app/plugin.yaml:{line_of(text, at)}: {problem}") for one in problems), (
        problems
    )


def test_a_column_that_a_row_lacks_leaves_its_key_out(tmp_path: Path) -> None:
    registry, problems = discover(tmp_path, {"a/app/plugin.yaml": TABLE.replace("path: /supplement, ", "")})
    assert problems == []
    assert registry.plugins["app"].contract.settings["supplement_path"].default is None


def test_a_column_that_a_row_lacks_is_missed_within_a_text(tmp_path: Path) -> None:
    text = TABLE.replace("path: /supplement, ", "").replace('default: "${{path}}"', 'default: "/x${{path}}"')
    registry, problems = discover(tmp_path, {"a/app/plugin.yaml": text})
    assert registry.plugins == {}
    assert "settings.${{id}}_path.default: 'path' has no value, and stands within a text" in problems[0]


def test_a_value_that_contains_itself(tmp_path: Path) -> None:
    profile = PORTAL.replace("{default: 10s}", '{default: "a${{prefix}}"}').replace(
        "{default: /app,", '{default: "${{wait}}",'
    )
    assert any("contains itself" in problem for problem in wrong(tmp_path, APP, profile))


# -- anything ----------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(
    [
        *("id", "name", "direction", "in", "out", "adapter", "wire", "codec", "json", "extends", "p", "with", "each"),
        *("tables", "defaults", "any", "rows", "${{rows}}", "x_${{id}}", "${{", "off", "a${{id}}b", "interfaces"),
    ]
)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 5) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=30,
)
FRAGMENTS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("extends", "with", "tables", "defaults"), TREES),
        "interfaces": st.dictionaries(WORDS, TREES, max_size=3),
        "settings": st.dictionaries(WORDS, TREES, max_size=3),
    },
)


@given(FRAGMENTS, FRAGMENTS)
@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_profile_is_loaded_or_a_problem(
    tmp_path: Path, profile: dict[str, object], plugin: dict[str, object]
) -> None:
    write(
        tmp_path,
        {
            "plugins/p/p/profile.yaml": json.dumps({"id": "p", "name": "P", "parameters": {"rows": {}}, **profile}),
            "plugins/a/x/plugin.yaml": json.dumps({"id": "x", "name": "X", "extends": "p", **plugin}),
        },
    )
    registry = Registry.discover([tmp_path / "plugins"], packages=False)
    found = [p for p in registry.problems if p.severity == "error" and p.file.endswith(".yaml")]
    assert bool(registry.plugins) != bool(found)
    assert all(problem.remedy for problem in found)
