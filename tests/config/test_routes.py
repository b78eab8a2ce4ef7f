from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hub.registry
from hub.routes import overlap
from tests.config.test_deployment import deploy

PLUGIN = """\
id: {id}
name: Test
settings:
  port: {{type: port, default: 0}}
  host: {{type: host, default: 127.0.0.1}}
  path: {{type: string, default: ''}}
interfaces:
  in:
    direction: in
    adapter: wire
    codec: {codec}
    listen: {{port: "${{port}}", host: "${{host}}", path: "${{path}}"}}
  ask:
    direction: in
    style: request
    adapter: wire
    codec: {codec}
    listen: {{port: 0}}
  out:
    direction: out
    adapter: wire
    codec: {codec}
    accepts: [order.*, ADT^*]
    connect: {{url: http://x}}
"""
JSON_JSON = "from: {codec: json}\nto: {codec: json}\nfields: {a: b}\n"
JSON_HL7 = "from: {codec: json}\nto: {codec: hl7v2}\nfields: {MSH-9.1: b}\n"
IN = "config/routes/r.yaml:"


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.registry, "BUILTIN_MODULES", ("tests.config.config_support",))


def files(routes: str, systems: str = "") -> dict[str, str]:
    """Two systems that speak JSON and one that speaks HL7; requests are switched off unless ``systems`` says otherwise."""
    off = "interfaces: {ask: off}"
    text = f"systems:\n  a: {{plugin: js, {off}}}\n  b: {{plugin: js, {off}}}\n  h: {{plugin: hl, {off}}}\n"
    return {
        "plugins/his/plugin.yaml": PLUGIN.format(id="other", codec="json"),
        "plugins/js/plugin.yaml": PLUGIN.format(id="js", codec="json"),
        "plugins/hl/plugin.yaml": PLUGIN.format(id="hl", codec="hl7v2"),
        "mappings/json_json.yaml": JSON_JSON,
        "mappings/json_hl7.yaml": JSON_HL7,
        "config/systems/his.yaml": systems or text,
        "config/routes/r.yaml": "routes:\n" + routes,
    }


def of_routes(problems: list[str]) -> list[str]:
    return [problem for problem in problems if "no route takes" not in problem]


GOOD = [
    ("a system", "from: a, to: b/out", ["a/in"]),
    ("an interface", "from: a/in, to: b/out", ["a/in"]),
    ("several", "from: [b, a/in], to: b/out", ["b/in", "a/in"]),
    ("the same twice", "from: [a, a/in], to: b/out", ["a/in"]),
    ("a pattern of systems", "from: '*', to: h/out, mapping: ''", ["a/in", "b/in", "h/in"]),
    ("a pattern of interfaces", "from: 'a/*', to: b/out", ["a/in"]),
    ("a mapping that fits", "from: [a, b], to: h/out, mapping: json_hl7", ["a/in", "b/in"]),
    ("types that can match", "from: a, to: b/out, types: [order.new, x]", ["a/in"]),
    ("a condition", "from: a, to: b/out, when: kind == 'x'", ["a/in"]),
]


@pytest.mark.parametrize(("route", "sources"), [row[1:] for row in GOOD], ids=[row[0] for row in GOOD])
def test_routes(tmp_path: Path, route: str, sources: list[str]) -> None:
    deployment, problems = deploy(tmp_path, files(f"  r: {{{route}}}\n"))
    assert of_routes(problems) == []
    assert list(deployment.sources_of("r")) == sources


BAD = [
    ("unknown source", "from: x, to: b/out", f"error {IN}2: routes.r.from: unknown source 'x' -> known: a, a/in, b, b/in, h, h/in"),
    ("unknown source in a list", "from: [a, bb/in], to: b/out", f"error {IN}2: routes.r.from[1]: unknown source 'bb/in' -> did you mean 'b/in'?"),
    ("a source that sends", "from: a/out, to: b/out", f"error {IN}2: routes.r.from: 'a/out' sends, it can't be a source -> known: a/in, b/in, h/in"),
    ("a pattern that matches nothing", "from: 'x*', to: b/out", f"warning {IN}2: routes.r.from: no source matches 'x*' -> known: a/in, b/in, h/in"),
    ("unknown target", "from: a, to: b/ot", f"error {IN}2: routes.r.to: unknown target 'b/ot' -> did you mean 'b/out'?"),
    ("a target without interface", "from: a, to: b", f"error {IN}2: routes.r.to: unknown target 'b' -> known: a/out, b/out, h/out"),
    ("a target that receives", "from: a, to: [b/in]", f"error {IN}2: routes.r.to[0]: 'b/in' receives, it can't be a target -> known: a/out, b/out, h/out"),
    ("a pattern of targets", "from: a, to: '*/out'", f"error {IN}2: routes.r.to: no target matches '*/out' -> name each target"),
    ("other codec and no mapping", "from: a, to: h/out", f"error {IN}2: routes.r: a/in sends json, h/out takes hl7v2, and there is no mapping -> name a mapping; mapping: '' sends the bytes as received"),
    ("mapping from another codec", "from: h, to: b/out, mapping: json_json", f"error {IN}2: routes.r.mapping: mapping 'json_json' reads json, but gets hl7v2 -> choose a mapping that fits"),
    ("mapping to another codec", "from: a, to: b/out, mapping: json_hl7", f"error {IN}2: routes.r.mapping: mapping 'json_hl7' writes hl7v2, but json is wanted -> choose a mapping that fits"),
    ("types that can't match", "from: a, to: b/out, types: [result.*, ORU]", f"warning {IN}2: routes.r.types: b/out accepts order.*, ADT^*: none of this route's types can match -> correct types here or accepts there"),
]  # fmt: skip


@pytest.mark.parametrize(("route", "problem"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_problems_of_routes(tmp_path: Path, route: str, problem: str) -> None:
    deployment, problems = deploy(tmp_path, files(f"  r: {{{route}}}\n  ok: {{from: a, to: b/out}}\n"))
    assert of_routes(problems) == [problem]
    assert "ok" in deployment.routes
    # Without a source, or with nothing that could ever be a target, there is no route; else its messages wait for the repair.
    gone = "a pattern" in problem or "no target matches" in problem or "it can't be a target" in problem
    gone = gone or ("routes.r.from" in problem and "from[1]" not in problem) or "waits for" in problem
    gone = gone or "routes.r.when" in problem
    assert ("r" in deployment.routes) != gone


def test_a_target_with_problems_stays_and_its_deliveries_wait(tmp_path: Path) -> None:
    deployment, problems = deploy(tmp_path, files("  r: {from: [a, x], to: [y/out, a/out, h/out, b/out]}\n"))
    assert len(of_routes(problems)) == 3
    assert deployment.routes["r"].to == ["y/out", "a/out", "h/out", "b/out"]
    assert list(deployment.sources_of("r")) == ["a/in"]


@pytest.mark.parametrize(
    ("route", "start"),
    [
        ("from: a, to: b/out, mapping: no_such", f"error {IN}2: routes.r.mapping: mapping 'no_such': "),
        ("from: a, to: b/out, when: 'x =='", f"error {IN}2: routes.r.when: "),
    ],
)
def test_problems_told_by_the_mapping_compiler(tmp_path: Path, route: str, start: str) -> None:
    deployment, problems = deploy(tmp_path, files(f"  r: {{{route}}}\n"))
    found = of_routes(problems)
    assert len(found) == 1
    assert found[0].startswith(start)
    assert ("r" in deployment.routes) == ("routes.r.mapping" in start)


@pytest.mark.parametrize("key", ["order_by", "idempotency"])
def test_expressions_of_the_target_are_checked_for_each_source(tmp_path: Path, key: str) -> None:
    world = files("  r: {from: [a, b], to: b/out}\n")
    world["plugins/js/plugin.yaml"] += f"    {key}: 'x =='\n"
    _, problems = deploy(tmp_path, world)
    found = of_routes(problems)
    line = world["plugins/js/plugin.yaml"].count("\n")
    assert [problem.split(": ", 3)[:3] for problem in found] == [
        [f"error plugins/js/plugin.yaml:{line}", f"interfaces.out.{key}", f"for messages of {place}"]
        for place in ("a/in", "b/in")
    ]


def test_the_mapping_of_the_contract_is_checked_where_it_is_written(tmp_path: Path) -> None:
    world = files("  r: {from: a, to: b/out}\n")
    world["plugins/js/plugin.yaml"] += "    mapping: json_hl7\n"
    _, problems = deploy(tmp_path, world)
    line = world["plugins/js/plugin.yaml"].count("\n")
    assert of_routes(problems) == [
        f"error plugins/js/plugin.yaml:{line}: interfaces.out.mapping: mapping 'json_hl7' writes hl7v2, but json is"
        " wanted -> choose a mapping that fits"
    ]


def test_a_system_switched_off_or_with_problems(tmp_path: Path) -> None:
    systems = (
        "systems:\n  a: {plugin: js, interfaces: {ask: off}}\n  b: {plugin: js, enabled: false}\n  c: {plugin: no}\n"
    )
    _, problems = deploy(tmp_path, files("  r1: {from: a, to: [a/out, b/out]}\n  r2: {from: c, to: a/out}\n", systems))
    assert problems[1:] == [
        f"warning {IN}2: routes.r1.to[1]: system 'b' is switched off -> switch it on, or the route off",
        f"error {IN}3: routes.r2.from: system 'c' has problems and is left out -> correct them first",
    ]


def test_a_route_that_is_switched_off_is_not_looked_at(tmp_path: Path) -> None:
    deployment, problems = deploy(tmp_path, files("  r: {from: x, to: y, enabled: false}\n"))
    assert of_routes(problems) == []
    assert deployment.routes == {}


def test_messages_that_would_go_nowhere(tmp_path: Path) -> None:
    _, problems = deploy(tmp_path, files("  r: {from: [a, b], to: b/out}\n"))
    assert problems == [
        "warning config/systems/his.yaml:4: systems.h: no route takes the messages of h/in"
        " -> add a route, or switch the interface off"
    ]


# -- requests ----------------------------------------------------------------------------------------------------

ASKING = "systems:\n  a: {plugin: js, interfaces: {in: off}}\n  b: {plugin: js, interfaces: {in: off, ask: off}}\n"


@pytest.mark.parametrize(
    ("routes", "problems"),
    [
        ("  r: {from: a, to: b/out}\n", []),
        (
            "  r: {from: a, to: [a/out, b/out]}\n",
            [
                f"error {IN}2: routes.r.to: a/ask waits for a reply (style: request), so there can be one target only"
                " -> name one target",
                "error config/systems/his.yaml:2: systems.a: no route takes the messages of a/ask"
                " -> add a route, or switch the interface off",
            ],
        ),
        (
            "  r: {from: a, to: b/out, types: order.*}\n  s: {from: a, to: a/out, types: '*.new'}\n",
            [
                f"error {IN}3: routes.s: a/ask waits for one reply, but route 'r' takes the same messages"
                " -> tell them apart by types or when"
            ],
        ),
        ("  r: {from: a, to: b/out, types: order.*}\n  s: {from: a, to: a/out, types: ADT^*}\n", []),
        ("  r: {from: a, to: b/out, when: x == 1}\n  s: {from: a, to: a/out, when: x == 2}\n", []),
    ],
)
def test_a_request_has_one_target(tmp_path: Path, routes: str, problems: list[str]) -> None:
    assert deploy(tmp_path, files(routes, ASKING))[1] == problems


def test_the_mapping_of_the_reply_fits(tmp_path: Path) -> None:
    systems = ASKING.replace("{in: off}", "{in: off, ask: {reply_mapping: json_hl7}}", 1)
    assert deploy(tmp_path, files("  r: {from: a, to: b/out}\n", systems))[1][:1] == [
        "error config/systems/his.yaml:2: systems.a.interfaces.ask.reply_mapping: mapping 'json_hl7' writes hl7v2, but"
        " json is wanted -> choose a mapping that fits"
    ]


# -- receivers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "clash"),
    [
        ("port: 7001", "port: 7001", True),
        ("port: 7001", "port: 7002", False),
        ("port: 0", "port: 0", False),
        ("port: 7001, path: /x", "port: 7001, path: /y", False),
        ("port: 7001, path: /x", "port: 7001, path: /x", True),
        ("port: 7001, path: '/x/{a}'", "port: 7001, path: '/x/{b}'", True),
        ("port: 7001, path: /x", "port: 7001", True),
        ("port: 7001, host: 0.0.0.0", "port: 7001, host: 10.0.0.1", True),
        ("port: 7001, host: 10.0.0.2", "port: 7001, host: 10.0.0.1", False),
    ],
)
def test_two_receivers_on_one_address(tmp_path: Path, a: str, b: str, clash: bool) -> None:
    systems = (
        f"systems:\n  a: {{plugin: js, settings: {{{a}}}, interfaces: {{ask: off}}}}\n"
        f"  b: {{plugin: js, settings: {{{b}}}, interfaces: {{ask: off}}}}\n"
    )
    deployment, problems = deploy(tmp_path, files("  r: {from: '*', to: b/out}\n", systems))
    assert sorted(deployment.inbound) == (["a/in"] if clash else ["a/in", "b/in"])
    assert [problem.split(": ", 2)[2].split(" on ")[0] for problem in problems] == (
        ["b/in and a/in would both listen"] if clash else []
    )


def test_methods_tell_receivers_apart(tmp_path: Path) -> None:
    def systems(method: str) -> str:
        listen = "listen: {{port: 7001, path: /x, methods: [{0}]}}"
        return "systems:\n" + "".join(
            f"  {name}: {{plugin: js, interfaces: {{ask: off, in: {{{listen.format(m)}}}}}}}\n"
            for name, m in (("a", "GET"), ("b", method))
        )

    assert deploy(tmp_path, files("  r: {from: '*', to: b/out}\n", systems("POST")))[1] == []
    assert len(deploy(tmp_path, files("  r: {from: '*', to: b/out}\n", systems("get")))[1]) == 1


def test_the_port_of_the_hub_itself(tmp_path: Path) -> None:
    systems = "systems:\n  a: {plugin: js, settings: {port: 8700}, interfaces: {ask: off}}\n"
    deployment, problems = deploy(tmp_path, files("", systems) | {"config/routes/r.yaml": ""})
    assert deployment.inbound == {}
    assert problems == [
        "error config/systems/his.yaml:2: systems.a.settings.port: a/in would listen on port 8700, which is the hub's own"
        " (admin.port) -> choose another port"
    ]


# -- patterns ----------------------------------------------------------------------------------------------------

PATTERNS = st.text(alphabet="ab*", max_size=6)


@given(PATTERNS, PATTERNS)
def test_overlap_is_symmetric_and_agrees_with_matching(one: str, other: str) -> None:
    assert overlap(one, other) == overlap(other, one)
    if "*" not in other:
        assert overlap(one, other) == bool(re.fullmatch(one.replace("*", ".*"), other))


@given(PATTERNS, PATTERNS)
def test_overlap_finds_a_common_text(one: str, other: str) -> None:
    """Brute force over all texts that can be the shortest common one."""
    longest = min(6, len(one.replace("*", "")) + len(other.replace("*", "")))
    patterns = [re.compile(pattern.replace("*", ".*")) for pattern in (one, other)]
    common = any(
        all(pattern.fullmatch("".join(text)) for pattern in patterns)
        for length in range(longest + 1)
        for text in itertools.product("ab", repeat=length)
    )
    if len(one.replace("*", "")) + len(other.replace("*", "")) <= 6:
        assert overlap(one, other) == common
    elif common:
        assert overlap(one, other)
