from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.config import load_config
from hub.contract import HubConfig
from hub.i18n import set_language
from tests.config.config_support import told, write

REPO = Path(__file__).resolve().parents[2]


def load(folder: Path, files: dict[str, str]) -> tuple[HubConfig | None, list[str]]:
    write(folder, {"plugins/.keep": "", "mappings/.keep": "", **files})
    loaded = load_config(folder / "config" / "hub.yaml")
    return None if loaded.unusable else loaded.hub, told(loaded.problems, folder)


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, {"config/hub.yaml": ""}) == (HubConfig(), [])


def test_the_file_that_comes_with_the_hub_says_what_the_defaults_are() -> None:
    loaded = load_config(REPO / "config" / "hub.yaml")
    assert [p for p in loaded.problems if p.severity == "error"] == []
    assert loaded.hub.model_copy(update={"systems": {}, "routes": {}}) == HubConfig()


def test_the_production_example_is_valid_but_for_its_secret() -> None:
    loaded = load_config(REPO / "config" / "production.example.yaml")
    assert {p.key for p in loaded.problems if p.severity == "error"} <= {"admin.token"}
    assert loaded.store_path == Path("/var/lib/tongqu")


def test_systems_and_routes_come_from_all_files(tmp_path: Path) -> None:
    config, problems = load(
        tmp_path,
        {
            "config/hub.yaml": "systems:\n  a: {plugin: p}\n",
            "config/systems/b.yaml": "systems:\n  b: {plugin: p}\nroutes:\n  r1: {from: a, to: b/in}\n",
            "config/routes/r.yaml": "routes:\n  r2: {from: [a, b], to: [b/in], types: ADT^*}\n",
        },
    )
    assert problems == []
    assert config is not None
    assert list(config.systems) == ["a", "b"]
    assert list(config.routes) == ["r1", "r2"]
    assert config.routes["r2"].source == ["a", "b"]


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "config/hub.yaml": "plugins: [p, ../q]\nmappings: [m]\nstore: {path: d}\n",
            "config/p/.keep": "",
            "config/m/.keep": "",
        },
    )
    loaded = load_config(tmp_path / "config" / "hub.yaml")
    assert loaded.plugin_folders == [tmp_path / "config" / "p", tmp_path / "q"]
    assert loaded.mapping_folders == [tmp_path / "config" / "m"]
    assert loaded.store_path == tmp_path / "config" / "d"
    assert told(loaded.problems, tmp_path) == [
        f"warning config/hub.yaml:1: plugins[1]: there is no folder {tmp_path}/q".replace(f"{tmp_path}/", "")
        + " -> make it, or correct the path; it is relative to this file"
    ]


def test_an_included_file_is_read_once(tmp_path: Path) -> None:
    config, problems = load(
        tmp_path,
        {
            "config/hub.yaml": "include: [a.yaml, '*.yaml', 'no/*.yaml']\n",
            "config/a.yaml": "systems:\n  a: {plugin: p}\n",
        },
    )
    assert problems == []
    assert config is not None
    assert list(config.systems) == ["a"]


BAD: list[tuple[str, dict[str, str], list[str]]] = [
    (
        "unknown key, with the nearest known one",
        {"config/hub.yaml": "name: x\nstore:\n  pth: y\n"},
        ["error config/hub.yaml:3: store.pth: unknown key 'pth' -> did you mean 'path'?"],
    ),
    (
        "unknown key without a near one",
        {"config/hub.yaml": "log: {xyzzy: 1}\n"},
        ["error config/hub.yaml:1: log.xyzzy: unknown key 'xyzzy' -> known: format, level"],
    ),
    (
        "a word out of a few",
        {"config/hub.yaml": "log: {level: warn, format: xml}\n"},
        [
            "error config/hub.yaml:1: log.level: 'warn' is not allowed here"
            " -> did you mean 'warning'? allowed: debug, info, warning, error",
            "error config/hub.yaml:1: log.format: 'xml' is not allowed here -> allowed: text, json",
        ],
    ),
    (
        "types and limits",
        {
            "config/hub.yaml": "name: 5\nplugins: x\nadmin:\n  port: 70000\n  host: [a]\nstore: {queue: 1, text_index: 7}\n"
        },
        [
            'error config/hub.yaml:1: name: expected text, found 5 -> put it in quotes: "5"',
            "error config/hub.yaml:2: plugins: expected a list, found 'x' -> write a list",
            "error config/hub.yaml:4: admin.port: 70000 must be at most 65535 -> write a value at most 65535",
            "error config/hub.yaml:5: admin.host: expected text, found a list -> write text",
            "error config/hub.yaml:6: store.queue: 1 must be at least 100 -> write a value at least 100",
            "error config/hub.yaml:6: store.text_index: expected true or false, found 7 -> write true or false",
        ],
    ),
    (
        "durations and sizes",
        {"config/hub.yaml": "store:\n  retention: 5 weeks\nintake:\n  max_size: big\n"},
        [
            "error config/hub.yaml:2: store.retention: '5 weeks' is not a duration; write e.g. 500ms, 5s, 30m, 24h, 90d"
            " -> correct the value",
            "error config/hub.yaml:4: intake.max_size: 'big' is not a size; write e.g. 64KB, 50MB, 2GB -> correct the value",
        ],
    ),
    (
        "a literal token is not repeated",
        {"config/hub.yaml": "admin:\n  token: hunter2\n"},
        [
            "error config/hub.yaml:2: admin.token: a secret must not be written here"
            " -> put it in a file that only its owner may read and write file:PATH, or write env:NAME"
        ],
    ),
    (
        "neither is one that is a number",
        {"config/hub.yaml": "admin: {token: 123456}\n"},
        ["error config/hub.yaml:1: admin.token: expected text, found *** -> write text"],
    ),
    (
        "not keys and values",
        {"config/hub.yaml": "- a\n"},
        ["error config/hub.yaml:1: expected keys and values -> write e.g. systems: …"],
    ),
    (
        "YAML",
        {"config/hub.yaml": "a: 1\na: 2\n"},
        ["error config/hub.yaml:2: key 'a' stands twice -> remove one of the two"],
    ),
    (
        "a named include that is missing",
        {"config/hub.yaml": "include:\n  - a.yaml\n"},
        [
            "error config/hub.yaml:2: include[0]: there is no file a.yaml -> correct the path; it is relative to this file"
        ],
    ),
    (
        "an included file with other keys",
        {"config/hub.yaml": "", "config/systems/a.yaml": "sytems: {}\n"},
        ["error config/systems/a.yaml:1: sytems: unknown key 'sytems' in an included file -> did you mean 'systems'?"],
    ),
    (
        "an included file that is broken",
        {"config/hub.yaml": "", "config/systems/a.yaml": "systems: [\n"},
        [
            "error config/systems/a.yaml:2: not valid YAML: did not find expected node content"
            " -> check indentation, quotes and brackets near this line"
        ],
    ),
    (
        "systems that are no mapping",
        {"config/hub.yaml": "systems: [a]\nroutes: x\n"},
        [
            "error config/hub.yaml:1: systems: expected keys and values -> write a name and, below it, its keys",
            "error config/hub.yaml:2: routes: expected keys and values -> write a name and, below it, its keys",
        ],
    ),
    (
        "duplicates name both places",
        {
            "config/hub.yaml": "systems:\n  a: {plugin: p}\n",
            "config/systems/x.yaml": "\nsystems:\n  a: {plugin: q}\n",
        },
        [
            "error config/systems/x.yaml:3: systems.a: 'a' is already declared in config/hub.yaml:2"
            " -> rename or remove one"
        ],
    ),
    (
        "a name that can't be part of a place",
        {"config/hub.yaml": "systems:\n  a/b: {plugin: p}\n"},
        ["error config/hub.yaml:2: systems.a/b: 'a/b' can't be a name -> use letters, digits, - and _, e.g. his_east"],
    ),
    (
        "a system",
        {"config/hub.yaml": "systems:\n  a:\n    plugn: p\n  b: x\n  c: {plugin: p, interfaces: {i: of}}\n"},
        [
            "error config/hub.yaml:2: systems.a.plugin: 'plugin' is missing -> add plugin: …",
            "error config/hub.yaml:3: systems.a.plugn: unknown key 'plugn' -> did you mean 'plugin'?",
            "error config/hub.yaml:4: systems.b: expected keys and values, found 'x' -> write keys and values",
            "error config/hub.yaml:5: systems.c.interfaces.i: 'of' is not allowed here -> did you mean 'off'? allowed: off",
        ],
    ),
    (
        "a route",
        {"config/hub.yaml": "routes:\n  r:\n    from: a\n    to: []\n    form: b\n"},
        [
            "error config/hub.yaml:4: routes.r.to: a list must be at least 1 long -> write a value at least 1 long",
            "error config/hub.yaml:5: routes.r.form: unknown key 'form' -> did you mean 'from'?",
        ],
    ),
]


@pytest.mark.parametrize(("files", "problems"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_problems(tmp_path: Path, files: dict[str, str], problems: list[str]) -> None:
    assert load(tmp_path, files)[1] == problems


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    loaded = load_config(tmp_path / "hub.yaml")
    assert loaded.unusable
    assert told(loaded.problems, tmp_path) == [
        "error hub.yaml: can't be read: No such file or directory -> check the path and its permissions"
    ]


def test_one_bad_system_leaves_the_others(tmp_path: Path) -> None:
    config, problems = load(tmp_path, {"config/hub.yaml": "systems:\n  a: {plugin: p}\n  b: {plugn: p}\n"})
    assert config is not None
    assert list(config.systems) == ["a"]
    assert len(problems) == 2


def test_errors_of_the_file_itself_leave_nothing_to_start(tmp_path: Path) -> None:
    """The rest is still looked through, so that all problems are told at once."""
    config, problems = load(tmp_path, {"config/hub.yaml": "nme: x\nsystems:\n  b: {plugn: p}\n"})
    assert config is None
    assert [problem.split(": ")[1] for problem in problems] == ["nme", "systems.b.plugin", "systems.b.plugn"]


def test_texts_in_chinese(tmp_path: Path) -> None:
    set_language("zh")
    assert load(tmp_path, {"config/hub.yaml": "nam: x\n"})[1] == [
        "error config/hub.yaml:1: nam: 未知的键 'nam' -> 是否应为 'name'？"
    ]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 70_000)
    | st.sampled_from(["", "a", "a/b", "*", "off", "env:X", "${x}", "\0"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "systems",
                    "routes",
                    "plugin",
                    "settings",
                    "interfaces",
                    "from",
                    "to",
                    "types",
                    "include",
                    "plugins",
                    "store",
                    "path",
                    "admin",
                    "token",
                    "a",
                    "b",
                    "i",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=25,
)


@given(VALUES)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_document_gives_a_configuration_or_problems(tmp_path: Path, data: object) -> None:
    file = tmp_path / "hub.yaml"
    file.write_text(json.dumps(data))
    loaded = load_config(file)
    assert not loaded.unusable or loaded.errors
    for problem in loaded.problems:
        assert problem.text
        assert problem.remedy
        assert problem.file
