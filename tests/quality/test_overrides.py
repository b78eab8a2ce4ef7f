"""Sets that include others: what they may change, and rules that contradict each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hub.errors import ConfigError
from hub.mapping.tables import load_table
from hub.quality import RuleLibrary
from tests.quality.conftest import assess, found, hl7

Library = Callable[..., RuleLibrary]

CENTRAL = """
for: {codec: hl7v2}
rules:
  name: {level: completeness, required: PID-5}
  sex: {level: field, severity: warning, path: PID-8, one_of: [M, F, O], weight: 2}
  pulse: {level: plausibility, path: OBX-5, range: {min: 20, max: 300}}
  free: {level: field, path: PID-19, length: {max: 9}, allow_local: true}
"""


def local(overrides: str, rules: str = "") -> dict[str, str]:
    return {
        "central": CENTRAL,
        "local": f"for: {{codec: hl7v2}}\ninclude: [central]\nrules: {{{rules}}}\noverrides:\n" + overrides,
    }


@pytest.mark.parametrize(
    "change",
    [
        "  sex: {severity: error}",
        "  sex: {one_of: [M, F]}",
        "  sex: {weight: 3, priority: 1}",
        "  sex: {text: no sex we know, advice: ask, at: PID}",
        "  name: {required: [PID-5, PID-7]}",
        "  pulse: {range: {max: 250}}",
        "  pulse: {range: {min: 30, max: 300}}",
        "  free: {disabled: true}",
        "  free: {length: {max: 20}, severity: warning}",
    ],
)
def test_stricter_is_possible_and_looser_where_it_is_allowed(library: Library, change: str) -> None:
    assert library(local(change)).problems() == []


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("  name: {disabled: true}", "disabled"),
        ("  name: {severity: warning}", "severity"),
        ("  name: {required: PID-7}", "required"),
        ("  name: {when: PV1}", "when"),
        ("  sex: {one_of: [M, F, X]}", "one_of"),
        ("  sex: {weight: 1}", "weight"),
        ("  sex: {path: PID-9}", "path"),
        ("  sex: {priority: -1}", "priority"),
        ("  pulse: {range: {max: 301}}", "range"),
        ("  pulse: {range: {min: 10}}", "range"),
    ],
)
def test_looser_is_refused_with_the_place_of_both(library: Library, change: str, key: str) -> None:
    (problem,) = library(local(change)).problems()
    rule = change.split(":")[0].strip()
    assert (problem.line, problem.key) == (5, f"overrides.{rule}.{key}")
    assert Path(problem.file).name == "local.rules.yaml"
    assert "central.rules.yaml:" in problem.text
    assert "allow_local" in problem.remedy


def test_a_change_takes_effect(library: Library) -> None:
    made = library(local("  sex: {one_of: [M], severity: error}\n  free: {disabled: true}"))
    message = hl7("PID|1||||a|||F|||||||||||1234567890")
    assert found(made.get("central"), message) == [("free", "PID-19")]
    assert [(f.rule, f.severity.value) for f in assess(made.get("local"), message).findings] == [("sex", "error")]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("  nome: {disabled: true}", "no included set has a rule 'nome'"),
        ("  own: {disabled: true}", "'own' is a rule of this set"),
        ("  sex: {required: PID-8}", "the rule's test is one_of:"),
        ("  sex: {one_off: [M]}", "unknown key 'one_off'"),
        ("  sex: {level: fields}", "'fields' is not allowed here"),
    ],
)
def test_changes_that_mean_nothing(library: Library, change: str, text: str) -> None:
    (problem,) = library(local(change, "own: {level: field, required: PID-9}")).problems()
    assert problem.text.startswith(text)
    assert problem.line == 5


def test_includes(library: Library) -> None:
    made = library(
        {
            "a": "for: {codec: hl7v2}\ninclude: [b]\nrules: {x: {level: field, required: PID-1}}",
            "b": "for: {codec: hl7v2}\ninclude: a\n",
            "c": "for: {codec: json}\ninclude: [b, none]\n",
            "d": "for: {codec: hl7v2}\ninclude: [e]\nrules: {x: {level: field, required: PID-1}}",
            "e": "for: {codec: hl7v2}\nrules: {x: {level: field, required: PID-2}}",
        }
    )
    told = {Path(p.file).name[0]: f"{p.line} {p.text}" for p in made.problems(["c", "d"])}
    assert told["c"] == "2 there is no rule set 'none'"
    assert told["d"].startswith("3 rule 'x' is there already: ")
    assert "b is for hl7v2, this set for json" in [p.text for p in made.problems(["c"])]
    assert "sets include each other: a > b > a" in [p.text for p in made.problems(["a"])]


def test_a_set_reached_twice_counts_once(library: Library) -> None:
    made = library(
        {
            "top": "for: {codec: hl7v2}\ninclude: [left, right]",
            "left": "for: {codec: hl7v2}\ninclude: [base]",
            "right": "for: {codec: hl7v2}\ninclude: [base]",
            "base": "for: {codec: hl7v2}\nrules: {x: {level: field, required: PID-1}}",
        }
    )
    assert made.problems() == []
    assert [rule.id for rule in made.get("top").rules] == ["x"]


# -- contradictions ------------------------------------------------------------------------------------------------------


def two(one: str, other: str) -> dict[str, str]:
    return {"x": f"for: {{codec: hl7v2}}\nrules:\n  one: {{level: field, {one}}}\n  other: {{level: field, {other}}}\n"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("required: PID-5", "forbidden: [PID-4, PID-5]"),
        ("path: PID-8, one_of: [M, F]", "path: PID-8, one_of: ['1', '2']"),
        ("path: PID-8, one_of: [M, F]", "path: PID-8, pattern: '[0-9]'"),
        ("path: PID-8, one_of: [M, F]", "path: PID-8, length: 2"),
        ("path: PID-8, one_of: [5, 6]", "path: PID-8, range: {min: 7}"),
        ("path: OBX-5, range: {max: 10}", "path: OBX-5, range: {min: 11}"),
        ("path: PID-7, range: {max: 1999-12-31}", "path: PID-7, range: {min: 2000-01-01}"),
        ("path: PID-7, range: {min: now + 1d}", "path: PID-7, range: {max: now}"),
        ("path: PID-3, length: {max: 8}", "path: PID-3, length: {min: 9}"),
        ("assert: PID-8 == 'M'", "assert: PID-8 == 'F'"),
        ("assert: PID-8 == 'M' and PID-7", "assert: PID-8 != 'M'"),
        ("assert: PID-8 == ''", "required: PID-8"),
        ("assert: \"PID-8 in ['M', 'F']\"", "path: PID-8, one_of: [O]"),
        ("assert: 3 > OBX-5", "path: OBX-5, range: {min: 4}"),
        ("each: OBX, path: .5, one_of: [a]", "each: OBX, path: .5, one_of: [b]"),
        ("when: PV1, required: PID-5", "forbidden: PID-5"),
        ("path: PID-8, table: sex", "path: PID-8, one_of: [X]"),
    ],
)
def test_contradictions_are_told_at_both_places(library: Library, tmp_path: Path, one: str, other: str) -> None:
    (tmp_path / "sex.csv").write_text("from,to\nM,1\nF,2\n")
    table, _ = load_table(tmp_path / "sex.csv", "sex")
    made = library(two(one, other), find_table=lambda name: table if name == "sex" else None)
    problems = made.problems()
    assert [(p.line, p.severity, p.key) for p in problems] == [(3, "error", "rules.one"), (4, "error", "rules.other")]
    assert "x.rules.yaml:4" in problems[0].text
    assert "x.rules.yaml:3" in problems[1].text
    with pytest.raises(ConfigError):
        made.get("x")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("required: PID-5", "forbidden: PID-6"),
        ("when: PV1, required: PID-5", "when: not PV1, forbidden: PID-5"),
        ("path: PID-8, one_of: [M, F]", "path: PID-8, one_of: [F, X]"),
        ("path: OBX-5, range: {max: 10}", "path: OBX-5, range: {min: 10}"),
        ("path: PID-8, one_of: [M, F]", "path: PID-8, pattern: '[A-Z]'"),
        ("path: PID-8, one_of: [M, F]", "required: PID-8"),
        ("each: OBX, path: .5, one_of: [a]", "each: OBR, path: .5, one_of: [b]"),
        ("assert: PID-8 == 'M' or PID-7", "assert: PID-8 != 'M'"),
        ("path: PID-8, one_of: [M]", "path: PID-8, one_of: [F], disabled: true"),
        ("path: PID-8, range: {min: 1}", "path: PID-8, range: {max: now}"),
    ],
)
def test_no_contradiction(library: Library, one: str, other: str) -> None:
    assert library(two(one, other)).problems() == []


def test_the_higher_priority_stays(library: Library) -> None:
    made = library(two("required: PID-5", "forbidden: PID-5, priority: 5"))
    (problem,) = made.problems()
    assert (problem.severity, problem.line) == ("warning", 3)
    assert "higher priority" in problem.text
    assert "x.rules.yaml:4" in problem.text
    assert found(made.get("x"), hl7("PID|1||||a")) == [("other", "PID-5")]


def test_a_local_rule_can_not_put_out_a_central_one(library: Library) -> None:
    sets = {
        "central": "for: {codec: hl7v2}\nrules: {a: {level: field, required: PID-5%s}}",
        "local": "for: {codec: hl7v2}\ninclude: [central]\nrules: {b: {level: field, forbidden: PID-5, priority: 9}}",
    }
    refused = library({**sets, "central": sets["central"] % ""}).problems(["local"])
    assert [(Path(p.file).name, p.severity) for p in refused] == [
        ("central.rules.yaml", "error"),
        ("local.rules.yaml", "error"),
    ]
    allowed = library({**sets, "central": sets["central"] % ", allow_local: true"}).problems(["local"])
    assert [(Path(p.file).name, p.severity) for p in allowed] == [("central.rules.yaml", "warning")]
