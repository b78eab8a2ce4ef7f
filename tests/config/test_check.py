from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hub.check
import hub.registry
from hub.check import check
from tests.config.config_support import told, write
from tests.config.test_deployment import PLUGIN, ROUTE, SYSTEM

WORLD = {
    "config/hub.yaml": "",
    "mappings/.keep": "",
    "plugins/his/plugin.yaml": PLUGIN,
    "config/systems/his.yaml": SYSTEM,
    "config/routes/r.yaml": ROUTE,
}


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.registry, "BUILTIN_MODULES", ("tests.config.config_support",))
    monkeypatch.setenv("HIS_TOKEN", "tiger")


def test_a_good_configuration(tmp_path: Path) -> None:
    mapping = "from: {codec: json}\nto: {codec: json}\nfields: {a: b}\n"
    report = check(write(tmp_path, WORLD | {"mappings/his/m.yaml": mapping}))
    assert told(report.problems, tmp_path) == []
    assert report.ok
    assert (report.plugins, report.systems, report.routes, report.mappings) == (1, 1, 1, 1)
    assert report.seconds > 0
    assert report.as_dict()["ok"] is True


def test_warnings_do_not_stop_a_start(tmp_path: Path) -> None:
    report = check(write(tmp_path, WORLD | {"config/routes/r.yaml": ""}))
    assert [p.severity for p in report.problems] == ["warning"]
    assert report.ok


def test_everything_is_told_at_once(tmp_path: Path) -> None:
    files = WORLD | {
        "config/hub.yaml": "nme: x\n",
        "config/systems/b.yaml": "systems:\n  b: {plugin: x}\n",
        "plugins/bad/plugin.yaml": "id: bad\n",
        "plugins/bad/README.md": "",
        "mappings/bad.yaml": "from: {codec: json}\nto: {codec: json}\nfields: {a: 'b =='}\n",
    }
    report = check(write(tmp_path, files))
    assert not report.ok
    named = {problem.file.removeprefix(f"{tmp_path}/") for problem in report.problems}
    assert named == {"config/hub.yaml", "config/systems/b.yaml", "plugins/bad/plugin.yaml", "mappings/bad.yaml"}
    assert all(problem.line for problem in report.problems)


def test_a_plugin_is_checked_where_no_system_uses_it(tmp_path: Path) -> None:
    unused = PLUGIN.replace("id: his", "id: unused").replace("adapter: wire", "adapter: wrie", 1)
    unused = unused.replace("codec: json", "codec: jso", 1)
    report = check(write(tmp_path, WORLD | {"plugins/unused/plugin.yaml": unused}))
    assert told(report.problems, tmp_path) == [
        "error plugins/unused/plugin.yaml:13: interfaces.adt_in.adapter: unknown adapter 'wrie' -> did you mean 'wire'?",
        "error plugins/unused/plugin.yaml:14: interfaces.adt_in.codec: unknown codec 'jso' -> did you mean 'json'?",
    ]


def test_examples_exist_and_can_be_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.check, "MAX_EXAMPLE_BYTES", 1 << 20)
    names = "[examples/good.json, examples/bad.json, examples/missing.json, examples/big.json]"
    files = WORLD | {
        "plugins/his/plugin.yaml": PLUGIN + f"    examples: {names}\n",
        "plugins/his/examples/good.json": '{"a": 1}',
        "plugins/his/examples/bad.json": '{"name": 张三',
        "plugins/his/examples/big.json": "x" * ((1 << 20) + 1),
    }
    problems = told(check(write(tmp_path, files)).problems, tmp_path)
    start = "error plugins/his/plugin.yaml:28: interfaces.result_out.examples"
    assert [problem.split(": ")[:3] for problem in problems] == [
        [*f"{start}[1]: examples/bad.json".split(": ")],
        [*f"{start}[2]: examples/missing.json".split(": ")],
        [*f"{start}[3]: examples/big.json".split(": ")],
    ]
    assert "is not json" in problems[0]
    assert "张三" not in problems[0]
    assert "can't be read: No such file or directory" in problems[1]
    assert "larger than 1 MB" in problems[2]


def test_a_codec_with_a_bug_is_told(tmp_path: Path) -> None:
    code = (
        "from hub.api import Codec, hookimpl\nclass Odd(Codec):\n    name = 'odd'\n"
        "    def decode(self, raw, *, encoding=''):\n        return raw[99]\n"
        "    def encode(self, tree, *, encoding=''):\n        return b''\n"
        "@hookimpl\ndef hub_codecs():\n    return [Odd()]\n"
    )
    odd = PLUGIN.replace("id: his", "id: odd").replace("codec: json\n    connect", "codec: odd\n    connect")
    files = WORLD | {
        "plugins/odd/plugin.yaml": odd + "    examples: a.txt\n",
        "plugins/odd/plugin.py": code,
        "plugins/odd/a.txt": "a",
    }
    assert told(check(write(tmp_path, files)).problems, tmp_path) == [
        "error plugins/odd/plugin.yaml:28: interfaces.result_out.examples[0]: a.txt: codec odd failed: IndexError"
        " -> tell the author of the codec"
    ]


KEYS = st.sampled_from(
    [
        "systems",
        "routes",
        "plugin",
        "settings",
        "interfaces",
        "from",
        "to",
        "types",
        "when",
        "mapping",
        "his",
        "adt_in",
        "result_out",
        "listen",
        "connect",
        "port",
        "url",
        "base_url",
        "token",
        "codec",
        "adapter",
        "worker",
        "enabled",
        "keys",
        "order_by",
        "retry",
        "attempts",
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-2, 70_000)
    | st.sampled_from(
        [
            "his",
            "his/adt_in",
            "his/result_out",
            "*",
            "a.b",
            "x ==",
            "${port}",
            "${x}",
            "env:HIS_TOKEN",
            "off",
            "json",
            "wire",
            "7s",
        ]
    )
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(
    system=st.fixed_dictionaries(
        {"plugin": st.just("his")}, optional={"settings": TREES, "interfaces": TREES, "worker": TREES}
    ),
    route=st.fixed_dictionaries(
        {"from": TREES, "to": TREES}, optional={"types": TREES, "when": TREES, "mapping": TREES}
    ),
    more=TREES,
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_anything_can_be_checked(tmp_path: Path, system: object, route: object, more: object) -> None:
    files = WORLD | {
        "config/systems/his.yaml": json.dumps({"systems": {"his": system}}),
        "config/routes/r.yaml": json.dumps({"routes": {"r": route}}),
        "config/systems/more.yaml": json.dumps(more),
    }
    report = check(write(tmp_path, files))
    for problem in report.problems:
        assert problem.text
        assert problem.remedy
        assert problem.file.startswith(str(tmp_path))
        assert "tiger" not in str(problem)
