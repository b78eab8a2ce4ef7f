from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hub.registry
from hub.codecs.base import Codec
from hub.errors import HubError
from hub.registry import Registry
from tests.config.config_support import WireAdapter, told, write

GOOD = """\
id: {id}
name: Good
interfaces:
  out: {{direction: out, adapter: wire, codec: json}}
"""


@pytest.fixture(autouse=True)
def only_our_adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.registry, "BUILTIN_MODULES", ("tests.config.config_support",))


@pytest.fixture(autouse=True)
def forget_modules() -> Iterator[None]:
    yield
    for name in [name for name in sys.modules if name.startswith("tongqu_plugins.")]:
        del sys.modules[name]


def discover(folder: Path, files: dict[str, str], **options: float) -> tuple[Registry, list[str]]:
    write(folder, files)
    registry = Registry.discover([folder / "plugins"], packages=False, **options)
    return registry, told(registry.problems, folder)


def good(name: str) -> str:
    return GOOD.format(id=name)


def test_plugins_are_found_one_and_two_levels_deep(tmp_path: Path) -> None:
    registry, problems = discover(
        tmp_path,
        {
            "plugins/one/plugin.yaml": good("one"),
            "plugins/group/two/plugin.yaml": good("two"),
            "plugins/group/sub/three/plugin.yaml": good("three"),
            "plugins/.hidden/plugin.yaml": good("hidden"),
            "plugins/one/examples/plugin.yaml": "not a plugin of its own",
        },
    )
    assert problems == []
    assert sorted(registry.plugins) == ["one", "two"]
    assert registry.plugins["two"].folder == tmp_path / "plugins" / "group" / "two"
    assert registry.plugins["two"].stamp == "two@1.0.0"
    assert sorted(registry.adapters) == ["sink", "wire"]
    assert {"hl7v2", "json"} <= set(registry.codecs)


def test_no_folder_is_no_plugin(tmp_path: Path) -> None:
    registry = Registry.discover([tmp_path / "nowhere", Path("a\0b")], packages=False)
    assert registry.plugins == {}
    assert registry.problems == []


BAD_CONTRACTS = [
    (
        "YAML",
        "id: [\n",
        "not valid YAML: did not find expected node content -> check indentation, quotes and brackets near this line",
        2,
    ),
    ("nothing", "", "expected keys and values, found nothing -> write keys and values", 1),
    (
        "id",
        "id: Bad-Id\nname: x\ninterfaces: {o: {direction: out, adapter: wire, codec: json}}\n",
        "id: 'Bad-Id' does not have the required form -> it must match ^[a-z][a-z0-9_]*$",
        1,
    ),
    ("no interfaces", "id: bad\nname: x\ninterfaces: {}\n", "interfaces: keys and values must be at least 1 long", 3),
    (
        "unknown key of an interface",
        "id: bad\nname: x\ninterfaces:\n  o:\n    direction: out\n    adaptor: wire\n    adapter: wire\n    codec: json\n",
        "interfaces.o.adaptor: unknown key 'adaptor' -> did you mean 'adapter'?",
        6,
    ),
    (
        "a word that is not one of the few",
        "id: bad\nname: x\ninterfaces:\n  o: {direction: outt, adapter: wire, codec: json}\n",
        "interfaces.o.direction: 'outt' is not allowed here -> did you mean 'out'? allowed: in, out",
        4,
    ),
    (
        "nested",
        "id: bad\nname: x\ninterfaces:\n  o:\n    direction: out\n    adapter: wire\n    codec: json\n    errors:\n      '1':\n        clas: transient\n",
        "interfaces.o.errors.1.clas: unknown key 'clas' -> did you mean 'class'?",
        10,
    ),
    (
        "a setting that stands where it can't be",
        "id: bad\nname: x\ninterfaces:\n  o: {direction: out, adapter: wire, codec: json, timeout: '${t}'}\n",
        "interfaces.o.timeout: '${t}' is not a duration; write e.g. 500ms, 5s, 30m, 24h, 90d -> correct the value",
        4,
    ),
]


@pytest.mark.parametrize(
    ("text", "problem", "line"), [row[1:] for row in BAD_CONTRACTS], ids=[r[0] for r in BAD_CONTRACTS]
)
def test_a_broken_contract_leaves_out_that_plugin_only(tmp_path: Path, text: str, problem: str, line: int) -> None:
    registry, problems = discover(tmp_path, {"plugins/bad/plugin.yaml": text, "plugins/good/plugin.yaml": good("good")})
    assert list(registry.plugins) == ["good"]
    assert registry.failed == {"bad"} or registry.failed == {"Bad-Id"}
    assert len(problems) == 1
    assert problems[0].startswith(f"error plugins/bad/plugin.yaml:{line}: {problem}")


def test_keys_of_the_other_direction_have_no_effect(tmp_path: Path) -> None:
    text = (
        "id: p\nname: P\ninterfaces:\n"
        "  i:\n    direction: in\n    adapter: wire\n    codec: json\n    order_by: x\n"
        "  o:\n    direction: out\n    adapter: wire\n    codec: json\n    keys: {a: b}\n"
    )
    registry, problems = discover(tmp_path, {"plugins/p/plugin.yaml": text})
    assert list(registry.plugins) == ["p"]
    assert problems == [
        "warning plugins/p/plugin.yaml:8: interfaces.i.order_by: has no effect on an interface of direction in"
        " -> remove it, or correct direction",
        "warning plugins/p/plugin.yaml:13: interfaces.o.keys: has no effect on an interface of direction out"
        " -> remove it, or correct direction",
    ]


def test_settings_may_stand_for_what_is_not_text(tmp_path: Path) -> None:
    text = (
        "id: p\nname: P\nsettings: {t: {type: duration, default: 7s}, n: {type: integer}}\ninterfaces:\n"
        "  o: {direction: out, adapter: wire, codec: json, timeout: '${t}', concurrency: '${n}'}\n"
    )
    registry, problems = discover(tmp_path, {"plugins/p/plugin.yaml": text})
    assert problems == []
    assert list(registry.plugins) == ["p"]


def test_two_plugins_with_one_id(tmp_path: Path) -> None:
    registry, problems = discover(
        tmp_path, {"plugins/a/plugin.yaml": good("same"), "plugins/b/plugin.yaml": good("same")}
    )
    assert registry.plugins["same"].folder.name == "a"
    assert problems == [
        "error plugins/b/plugin.yaml:1: id: plugin 'same' is already declared in plugins/a/plugin.yaml"
        " -> rename or remove one"
    ]


# -- code of plugins ---------------------------------------------------------------------------------------------

CODE = """\
from hub.api import hookimpl
from .words import shout

@hookimpl
def hub_functions():
    return {"shout": shout}
"""


def test_code_beside_the_contract_is_loaded_in_isolation(tmp_path: Path) -> None:
    registry, problems = discover(
        tmp_path,
        {
            "plugins/a/plugin.yaml": good("a"),
            "plugins/a/plugin.py": CODE,
            "plugins/a/words.py": "def shout(value):\n    return value.upper()\n",
            "plugins/b/plugin.yaml": good("b"),
            "plugins/b/plugin.py": "x = 1\n",
        },
    )
    assert problems == []
    module = registry.plugins["a"].module
    assert module is not None
    assert module.__name__ == "tongqu_plugins.a"
    assert registry.plugins["b"].module is not None
    assert registry.functions["shout"]("a") == "A"
    assert "plugin" not in sys.modules
    assert not list(tmp_path.glob("plugins/*/__pycache__/plugin*"))


def test_a_reload_sees_an_edit_made_at_once(tmp_path: Path) -> None:
    code = "from hub.api import hookimpl\n@hookimpl\ndef hub_functions():\n    return {'answer': lambda value: %d}\n"
    files = {"plugins/a/plugin.yaml": good("a"), "plugins/a/plugin.py": code % 1}
    first, _ = discover(tmp_path, files)
    second, _ = discover(tmp_path, files | {"plugins/a/plugin.py": code % 2})
    assert first.functions["answer"](None) == 1
    assert second.functions["answer"](None) == 2


def hook(name: str, body: str) -> str:
    return f"from hub.api import *\n@hookimpl\ndef {name}():\n    {body}\n"


BAD_CODE = [
    ("syntax", "def (:\n", "can't be loaded: SyntaxError: invalid syntax (plugin.py, line 1)"),
    ("exception", "\n1 / 0\n", "can't be loaded: ZeroDivisionError: division by zero (plugin.py:2)"),
    ("exit", "raise SystemExit(3)\n", "can't be loaded: SystemExit: 3 (plugin.py:1)"),
    ("import", "import no_such_module_anywhere\n", "can't be loaded: ModuleNotFoundError: No module named"),
    (
        "bare exception",
        "class Odd(BaseException):\n    def __str__(self): raise ValueError\nraise Odd\n",
        "can't be loaded: Odd (plugin.py:3)",
    ),
    ("hook raises", hook("hub_functions", "raise KeyError('x')"), "can't be loaded: KeyError: 'x' (plugin.py:4)"),
    ("hook gives a list", hook("hub_functions", "return ['a']"), "hub_functions gave something of type list"),
    ("hook gives a bad name", hook("hub_functions", "return {'a b': print}"), "hub_functions gave something of type"),
    ("hook gives no function", hook("hub_functions", "return {'a': 5}"), "hub_functions gave something of type int"),
    ("hook gives no adapter", hook("hub_adapters", "return [5]"), "hub_adapters gave something of type int"),
    ("hook gives no codec", hook("hub_codecs", "return 'json'"), "hub_codecs gave something of type str"),
    (
        "hook with an argument",
        "from hub.api import *\n@hookimpl\ndef hub_codecs(x):\n    return []\n",
        "can't be loaded: PluginValidationError",
    ),
    (
        "taken name",
        "from tests.config.config_support import WireAdapter\n" + hook("hub_adapters", "return [WireAdapter()]"),
        "adapter 'wire' is already provided by tests.config.config_support -> choose another name",
    ),
]


@pytest.mark.parametrize(("code", "problem"), [row[1:] for row in BAD_CODE], ids=[row[0] for row in BAD_CODE])
def test_broken_code_leaves_out_that_plugin_only(tmp_path: Path, code: str, problem: str) -> None:
    registry, problems = discover(
        tmp_path,
        {
            "plugins/bad/plugin.yaml": good("bad"),
            "plugins/bad/plugin.py": code,
            "plugins/good/plugin.yaml": good("good"),
            "plugins/good/plugin.py": hook("hub_functions", "return {'fine': str}"),
        },
    )
    assert list(registry.plugins) == ["good"]
    assert registry.failed == {"bad"}
    assert list(registry.functions) == ["fine"]
    assert len(problems) == 1
    assert problems[0].startswith(f"error plugins/bad/plugin.py: {problem}")


def test_two_plugins_with_one_function(tmp_path: Path) -> None:
    code = hook("hub_functions", "return {'same': str, '%s': str}")
    registry, problems = discover(
        tmp_path,
        {
            "plugins/a/plugin.yaml": good("a"),
            "plugins/a/plugin.py": code % "one",
            "plugins/b/plugin.yaml": good("b"),
            "plugins/b/plugin.py": code % "two",
        },
    )
    assert list(registry.plugins) == ["a"]
    assert sorted(registry.functions) == ["one", "same"]
    assert problems == [
        "error plugins/b/plugin.py: function 'same' is already provided by plugins/a/plugin.py -> choose another name"
    ]


def test_code_that_hangs_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(sys.modules[__name__], "RELEASE", release, raising=False)
    code = f"import sys\nsys.modules[{__name__!r}].RELEASE.wait(60)\n" + hook("hub_functions", "return {'late': str}")
    try:
        registry, problems = discover(
            tmp_path,
            {
                "plugins/bad/plugin.yaml": good("bad"),
                "plugins/bad/plugin.py": code,
                "plugins/good/plugin.yaml": good("good"),
            },
            load_seconds=0.2,
        )
        assert list(registry.plugins) == ["good"]
        assert problems == [
            "error plugins/bad/plugin.py: was not loaded within 0.2 s -> do nothing at import that waits"
        ]
    finally:
        release.set()
        for thread in threading.enumerate():
            if thread.name == "plugin loader":
                thread.join(30)
    assert registry.functions == {}


def test_slow_code_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.registry, "SLOW_SECONDS", -1.0)
    registry, problems = discover(tmp_path, {"plugins/a/plugin.yaml": good("a"), "plugins/a/plugin.py": "x = 1\n"})
    assert list(registry.plugins) == ["a"]
    assert problems[-1].startswith("warning plugins/a/plugin.py: took ")


# -- packages ----------------------------------------------------------------------------------------------------


def package(folder: Path, code: str, target: str = "test_package_hooks") -> None:
    write(
        folder,
        {
            "test_package_hooks.py": code,
            "test_package-1.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: test-package\nVersion: 1.2\n",
            "test_package-1.2.dist-info/entry_points.txt": f"[tongqu]\nextra = {target}\n",
        },
    )


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    sys.modules.pop("test_package_hooks", None)


PACKAGE = """\
from pathlib import Path
from hub.api import Codec, hookimpl

class Plain(Codec):
    name = "plain"
    def decode(self, raw, *, encoding=""):
        return raw.decode(encoding or "utf-8")
    def encode(self, tree, *, encoding=""):
        return tree.encode(encoding or "utf-8")

@hookimpl
def hub_codecs():
    return [Plain()]

@hookimpl
def hub_plugin_folders():
    return [str(Path(__file__).parent / "bundled")]
"""


def test_an_installed_package_contributes(tmp_path: Path, site: Path) -> None:
    package(site, PACKAGE)
    write(site, {"bundled/x/plugin.yaml": good("bundled")})
    registry = Registry.discover([])
    assert [p for p in registry.problems if "extra" in p.file] == []
    assert isinstance(registry.codecs["plain"], Codec)
    assert registry.codecs["plain"].decode(b"a") == "a"
    assert registry.plugins["bundled"].file == site / "bundled" / "x" / "plugin.yaml"
    assert "plain" not in Registry.discover([], packages=False).codecs


@pytest.mark.parametrize(
    ("code", "target", "problem"),
    [
        (
            "1 / 0",
            "test_package_hooks",
            "can't be loaded: ZeroDivisionError: division by zero (test_package_hooks.py:1)",
        ),
        ("", "test_package_hooks:missing", "can't be loaded: AttributeError"),
        ("", "no_such_module_anywhere", "can't be loaded: ModuleNotFoundError"),
    ],
)
def test_a_broken_package_is_left_out(site: Path, code: str, target: str, problem: str) -> None:
    package(site, code, target)
    registry = Registry.discover([])
    found = [p for p in registry.problems if p.file == "tongqu:extra (test-package 1.2)"]
    assert len(found) == 1
    assert found[0].text.startswith(problem)
    assert "wire" in registry.adapters


def test_an_adapter_that_is_missing_is_told_where_it_is_used_and_the_others_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import adapters

    monkeypatch.setattr(hub.registry, "BUILTIN_MODULES", ("adapters",))
    monkeypatch.setattr(
        adapters,
        "_CLASSES",
        (("wire", "tests.config.config_support", "WireAdapter"), ("gone", "adapters.no_such", "NoAdapter")),
    )
    registry = Registry.discover([], packages=False)
    assert (sorted(registry.adapters), registry.problems) == (["gone", "wire"], [])
    assert registry.adapters["wire"].listen_options is WireAdapter.listen_options
    with pytest.raises(HubError) as missing:
        _ = registry.adapters["gone"].connect_options
    assert missing.value.text == (
        "adapter 'gone' can't be loaded: ModuleNotFoundError: No module named 'adapters.no_such'"
    )
    assert missing.value.remedy == "install the hub with all its dependencies"


def test_no_adapter_is_loaded_before_an_interface_needs_it() -> None:
    script = (
        "import sys, hub.registry\n"
        "registry = hub.registry.Registry.discover([], packages=False)\n"
        "assert 'sql' in registry.adapters and not registry.problems\n"
        "print([name for name in sys.modules if name.startswith('adapters.')])\n"
        "registry.adapters['mllp'].listen_options\n"
        "assert 'adapters.mllp' in sys.modules and 'sqlalchemy' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


WORDS = st.sampled_from(
    [
        "id",
        "name",
        "version",
        "settings",
        "interfaces",
        "type",
        "default",
        "a",
        "direction",
        "in",
        "out",
        "adapter",
        "wire",
        "codec",
        "json",
        "timeout",
        "${a}",
        "5s",
        "*",
    ]
)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 5) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=30,
)


@given(
    TREES | st.fixed_dictionaries({"id": st.just("a"), "name": st.just("A"), "settings": TREES, "interfaces": TREES})
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_contract_is_loaded_or_a_problem(tmp_path: Path, data: object) -> None:
    import json

    write(tmp_path, {"plugins/x/plugin.yaml": json.dumps(data)})
    registry = Registry.discover([tmp_path / "plugins"], packages=False)
    found = [p for p in registry.problems if p.severity == "error" and p.file.endswith("plugin.yaml")]
    assert bool(registry.plugins) != bool(found)
    assert all(problem.remedy for problem in found)
