"""Scores, odd messages, limits, stamps, and what is wrong with files."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.errors import CodecError, ConfigError
from hub.mapping import Context
from hub.message import Message
from hub.quality import QualityValidator, RuleLibrary
from hub.quality.document import read_document
from hub.quality.runtime import MAX_FINDINGS, MAX_OF_A_RULE
from hub.validators.report import Level
from tests.quality.conftest import NOW, assess, found, hl7, json

Rules = Callable[..., QualityValidator]
Library = Callable[..., RuleLibrary]

# -- score ---------------------------------------------------------------------------------------------------------------


def test_score_by_weight_and_share(rules: Rules) -> None:
    validator = rules(
        "a: {level: completeness, required: PID-5, weight: 3}\n"
        "b: {level: field, each: OBX, path: .5, check: is_number, weight: 2}\n"
        "c: {level: field, path: PID-8, one_of: [M], weight: 5}\n"
        "d: {level: business, assert: 'true', weight: 0}"
    )
    result = assess(validator, hl7("PID|1||||a", "OBX|1||||x", "OBX|2||||2", "OBX|3||||3", "OBX|4||||4"))
    assert result.score == 90.0  # 100 × (1 - 2 × 1/4 ÷ (3 + 2)); c was not asked: there is no value
    assert result.levels == {Level.COMPLETENESS: 100.0, Level.FIELD: 75.0}
    assert (result.asked, result.failed) == ({"a": 1, "b": 4, "d": 1}, {"b": 1})


def test_no_rule_was_asked(rules: Rules) -> None:
    result = assess(rules("a: {level: field, when: PV1, required: PV1-2}"), hl7("PID|1"))
    assert (result.findings, result.score, result.levels, result.asked) == ([], None, {}, {})


def test_messages_of_other_types_are_not_asked(library: Library) -> None:
    validator = library({"x": "for: {codec: hl7v2, types: 'ADT^*'}\nrules: {a: {level: field, required: PV1}}"}).get(
        "x"
    )

    def run(kind: str) -> int:
        message = Message(1, NOW, "his/adt", kind, "1", b"")
        return len(validator.assess(hl7("PID|1"), Context(message=message, now_us=NOW)).findings)

    assert [run(kind) for kind in ("ADT^A01", "ORU^R01", "")] == [1, 0, 1]
    assert len(validator.check(b"", hl7("PID|1"), Context(now_us=NOW))) == 1
    assert (validator.slow, validator.name, validator.codec, validator.types) == (False, "x", "hl7v2", ("ADT^*",))


# -- odd messages --------------------------------------------------------------------------------------------------------


def test_a_rule_that_fails_is_a_finding_and_the_others_go_on(rules: Rules) -> None:
    validator = rules(
        "a: {level: business, assert: a + 1 > 0}\nb: {level: field, required: b}\nc: {level: field, path: c, check: boom}",
        "json",
        functions={"boom": lambda value: 1 // 0},
    )
    findings = assess(validator, json('{"a": "x", "c": 1}')).findings
    assert [(f.rule, f.severity.value, f.text) for f in findings] == [
        ("quality.broken", "warning", "rule a can't be applied: not a number"),
        ("b", "error", "the value is missing"),
        ("quality.broken", "warning", "rule c can't be applied: ZeroDivisionError"),
    ]


def test_findings_of_one_rule_and_of_one_message_are_limited(rules: Rules) -> None:
    many = [f"OBX|{number}" for number in range(1, 101)]
    one = rules("a: {level: field, each: OBX, required: .5}\nb: {level: field, required: PID}")
    result = assess(one, hl7(*many))
    assert [f.rule for f in result.findings] == ["a"] * MAX_OF_A_RULE + ["b"]
    assert result.score is not None
    names = [f"r{number}" for number in range(20)]
    every = rules("\n".join(f"{name}: {{level: field, each: OBX, required: .5}}" for name in names))
    result = assess(every, hl7(*many))
    assert (len(result.findings), result.score) == (MAX_FINDINGS + 1, None)
    assert (result.findings[-1].rule, result.findings[-1].severity.value) == ("quality.not_checked", "error")


def test_a_run_that_looks_through_too_much_is_stopped(rules: Rules) -> None:
    validator = rules(
        "a: {level: field, required: PID}\nb: {level: field, each: [OBX, 'OBX[*]-5'], required: .}", budget=500
    )
    result = assess(validator, hl7(*[f"OBX|{number}||||x" for number in range(1, 100)]))
    assert [f.rule for f in result.findings] == ["a", "quality.not_checked"]
    assert "more to look through" in result.findings[1].text
    assert result.score is None


def test_a_run_that_takes_too_long_is_stopped(rules: Rules, monkeypatch: pytest.MonkeyPatch) -> None:
    validator = rules("a: {level: field, required: PID}\nb: {level: field, each: OBX, path: .5, check: is_number}")
    message = hl7(*[f"OBX|{number}||||1" for number in range(1, 100)])
    assert [f.rule for f in assess(validator, message).findings] == ["a"]
    seconds = itertools.count()
    monkeypatch.setattr("hub.quality.runtime.clock", lambda: next(seconds))
    findings = assess(validator, message).findings
    assert [f.rule for f in findings] == ["a", "quality.not_checked"]
    assert "took longer" in findings[1].text


_RULES = """
a: {level: field, each: [OBR, .OBX], continuous: .1}
b: {level: field, each: "PID-3[.5 in ['ID']]", path: .1, check: is_id_card}
c: {level: field, order: [PID-7, PV1-44, PV1-45]}
d: {level: field, path: [PID-7, PV1-44], range: {min: now - 130y, max: now}}
e: {level: field, each: OBX, path: .5, quantity: {name: pulse, unit: .6}}
f: {level: field, each: OBX, unique: "concat(.3, '^', .4)"}
g: {level: field, together: [PID-5, PID-8]}
h: {level: field, when: OBX, assert: OBX-5 + 1 > OBX-7 * 2}
i: {level: field, path: PID-13, check: is_phone}
j: {level: field, each: PID-13, path: .1, pattern: '[0-9]{1,20}', at: [., PID-7]}
"""
_part = st.text(st.sampled_from('0123456789|~^&\\ .-xM人"'), max_size=30)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["PID", "OBR", "OBX", "PV1", "DG1", "ZZ"]), _part), max_size=12))
def test_no_message_makes_the_rules_fail(rules: Rules, segments: list[tuple[str, str]]) -> None:
    validator = _kept(rules, _RULES, "hl7v2")
    try:
        tree = hl7("MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5", *[f"{name}|{part}" for name, part in segments])
    except CodecError:
        return
    for finding in assess(validator, tree).findings:
        assert finding.text
        assert finding.rule in "abcdefghij" or finding.rule == "quality.broken"


_PLAIN_RULES = """
a: {level: field, each: [a, .b], continuous: .c}
b: {level: field, each: "a[c == 1]", path: .b, check: is_id_card}
c: {level: field, order: [a.b, b, c.a]}
d: {level: field, path: [a, b.c], range: {min: now - 130y, max: now}}
e: {level: field, each: a, path: .b, quantity: {name: pulse, unit: .c}}
f: {level: field, each: 'a[*].b', unique: .}
g: {level: field, together: [a, b, c]}
h: {level: field, path: [a, b, c], length: {max: 1}}
i: {level: field, path: [a, b, c], one_of: [1, x]}
j: {level: field, path: [a, b, c], pattern: '[a-cx]{1,2}'}
k: {level: field, assert: "sum(a[*].b) < 3 and b in a"}
"""
_tree = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_tree)
def test_no_tree_makes_the_rules_fail(rules: Rules, tree: Any) -> None:
    for finding in assess(_kept(rules, _PLAIN_RULES, "json"), tree).findings:
        assert finding.rule in "abcdefghijk" or finding.rule == "quality.broken"


_made: dict[tuple[Any, str], QualityValidator] = {}


def _kept(rules: Rules, text: str, codec: str) -> QualityValidator:
    """Compiled once for all examples of a test."""
    key = (rules, codec)
    if key not in _made:
        _made[key] = rules(text, codec)
    return _made[key]


# -- statistics of a message ---------------------------------------------------------------------------------------------


def test_fields_and_business_time(library: Library) -> None:
    made = library(
        {
            "base": "for: {codec: hl7v2}\nstatistics: {time: MSH-7, fields: [PID-5, PID-8]}",
            "x": "for: {codec: hl7v2}\ninclude: base\nstatistics: {time: EVN-2, fields: [PID-8, PV1-2]}",
        }
    )
    result = assess(made.get("x"), hl7("EVN|A01|202611281000+0800", "PID|1||||a||", "PV1|1| "))
    assert result.filled == {"PID-8": False, "PV1-2": False, "PID-5": True}
    assert result.business_time == NOW / 1e6 + 3600
    assert assess(made.get("x"), hl7("EVN|A01|soon")).business_time is None
    assert assess(made.get("base"), hl7("PID|1")).business_time == (NOW / 1e6) - 8 * 86_400 - 48 * 60


# -- library and files ---------------------------------------------------------------------------------------------------


def test_the_stamp_covers_set_includes_and_tables(library: Library, tmp_path: Path) -> None:
    sets = {
        "a": "for: {codec: hl7v2}\ninclude: b\n",
        "b": "for: {codec: hl7v2}\nrules: {x: {level: field, required: PID}}",
    }
    first = library(sets).get("a").stamp
    assert library(sets).get("a").stamp == first
    assert first.startswith("a@")
    assert library({**sets, "b": sets["b"] + "\n# changed"}).get("a").stamp != first


def test_names_and_precedence_of_folders(tmp_path: Path) -> None:
    for folder, path in (("one", "PID"), ("two", "PV1")):
        (tmp_path / folder / "q").mkdir(parents=True)
        (tmp_path / folder / "q" / "x.rules.yaml").write_text(
            f"for: {{codec: hl7v2}}\nrules: {{a: {{level: field, required: {path}}}}}"
        )
    (tmp_path / "two" / "y.rules.yaml").write_text("for: {codec: hl7v2}")
    (tmp_path / "two" / "y.rules.tests.yaml").write_text("cases: []")
    made = RuleLibrary([tmp_path / "one", tmp_path / "two"])
    assert made.names() == ["q/x", "y"]
    assert found(made.get("q/x"), hl7("PV1|1")) == [("a", "PID")]
    with pytest.raises(ConfigError, match="did you mean 'q/x'"):
        made.get("q/z")


def test_a_plugin_can_not_take_the_name_of_a_check() -> None:
    with pytest.raises(ValueError, match="is_phone"):
        RuleLibrary([], {"is_phone": bool})


@pytest.mark.parametrize(
    ("text", "line", "key", "words"),
    [
        ("rules: {}", 1, "for", "'for' is missing"),
        ("for: {codec: hl7v2}\nrule: {}", 2, "rule", "unknown key 'rule'"),
        ("for: {codec: hl7v3x}", 1, "for.codec", "unknown codec 'hl7v3x'"),
        ("for: {codec: hl7v2}\nrules:\n  a:\n    required: PID-5", 3, "rules.a.level", "'level' is missing"),
        ("for: {codec: hl7v2}\nrules:\n  a: {level: field}", 3, "rules.a", "a rule has exactly one test, this has none"),
        ("for: {codec: hl7v2}\nrules:\n  a: {level: field, required: PID, assert: PID}", 3, "rules.a", "a rule has exactly one test, this has required, assert"),
        ("for: {codec: hl7v2}\nrules:\n  a: {level: field, check: is_date}", 3, "rules.a", "check: needs path:"),
        ("for: {codec: hl7v2}\nrules:\n  a: {level: field, path: PID-5, required: PID}", 3, "rules.a", "path: does not go with required:"),
        ("for: {codec: hl7v2}\nrules:\n  a: {level: field, unique: PID-3}", 3, "rules.a", "unique: needs each:"),
        ("for: {codec: hl7v2}\nrules:\n  a:\n    level: field\n    required: [PID-5, PID-0]", 5, "a.required", "fields, components and sub-components count from 1"),
        ("for: {codec: hl7v2}\nrules:\n  a:\n    level: field\n    when: PID-\n    required: PID", 5, "a.when", ""),
        ("for: {codec: hl7v2}\nrules:\n  a:\n    level: field\n    each: PID-3.1\n    required: .", 5, "a.each", "PID-3.1: components don't repeat"),
        ("for: {codec: hl7v2}\nrules:\n  a:\n    level: field\n    path: PID\n    check: is_dat", 6, "a.check", "there is no function 'is_dat'"),
        ("for: {codec: hl7v2}\nrules:\n  a:\n    level: field\n    path: PID\n    check: PID == 1", 6, "a.check", "one check is named here"),
        ("for: {codec: hl7v2}\nrules:\n  a:\n    level: field\n    path: PID\n    pattern: '(a*)*'", 6, "a.pattern", "pattern"),
        ("for: {codec: hl7v2}\nrules:\n  a:\n    level: field\n    path: PID\n    table: nothing", 6, "a.table", "there is no code table 'nothing'"),
        ("for: {codec: hl7v2}\nrules:\n  a:\n    level: field\n    path: PID\n    quantity: puls", 6, "a.quantity", "there is no quantity 'puls'"),
        ("for: {codec: hl7v2}\nrules:\n  a:\n    level: field\n    path: PID\n    range: {min: 2, max: 1}", 6, "rules.a.range", "min: is greater than max:"),
        ("for: {codec: hl7v2}\nrules:\n  a:\n    level: field\n    path: PID\n    range: {min: 2, max: now}", 6, "rules.a.range", "one bound is a number"),
        ("for: {codec: hl7v2}\nrules:\n  a:\n    level: field\n    path: PID\n    range: {min: soon}", 6, "rules.a.range", "'soon' is neither a number nor a date"),
        ("for: {codec: hl7v2}\nrules:\n  a:\n    level: field\n    path: PID\n    length: {}", 6, "rules.a.length", "min: or max: is needed"),
        ("for: {codec: hl7v2}\nrules:\n  a:\n    level: field\n    required: PID\n    at: [PID-3, PID + 1]", 6, "a.at", "a path is needed here"),
        ("for: {codec: hl7v2}\nrules:\n  a:\n    level: field\n    each: OBX\n    required: .3\n    at: ..5", 7, "a.at", "..5 is relative, and there is no element here"),
        ("for: {codec: hl7v2}\nrules:\n  quality.x: {level: field, required: PID}", 3, "rules.quality.x", "'quality.x' can't be the id of a rule"),
        ("for: {codec: hl7v2}\nstatistics:\n  fields: [PID-5, PID-0]", 3, "statistics.fields", "fields, components"),
        ("for: {codec: hl7v2}\nrules:\n  a: {level: field, required: PID}\n  a: {level: field, required: PV1}", 4, "", "key 'a' stands twice"),
        ("- 1", 1, "", "expected keys and values"),
        ("for: [", 2, "", "not valid YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file(library: Library, text: str, line: int, key: str, words: str) -> None:
    made = library({"x": text}, codecs={"hl7v2": None, "json": None})
    (problem,) = made.problems()
    assert (problem.key, Path(problem.file).name) == (key, "x.rules.yaml")
    assert problem.line in (line, 1) if "YAML" in words else problem.line == line
    assert problem.text.startswith(words) or words in problem.text


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(
            [
                "for: ",
                "{codec: hl7v2}\n",
                "rules:\n",
                "  a: ",
                "&x ",
                "*x",
                ".10",
                "[",
                "]",
                "{",
                "}",
                "\n",
                ", ",
                "level: field",
                "required: .1",
                "\ufeff",
                "\x00",
                "- ",
                "!!int 1",
            ]
        ),
        max_size=15,
    )
)
def test_no_text_makes_the_reader_fail(tmp_path: Path, parts: list[str]) -> None:
    file = tmp_path / "x.rules.yaml"
    file.write_text("".join(parts), encoding="utf-8")
    assert read_document("x", file).problems or "for: " in parts


def test_an_anchor_used_twice(library: Library) -> None:
    made = library(
        {
            "x": "for: {codec: hl7v2}\nrules:\n  a: {level: &a field, required: PID}\n  b: {level: &a field, required: PV1}"
        }
    )
    assert [problem.line for problem in made.problems()] in ([], [4])


def test_a_byte_order_mark(library: Library) -> None:
    made = library({"x": "\ufefffor: {codec: hl7v2}\nrules:\n  a: {level: field, each: OBX, required: .10}"})
    assert found(made.get("x"), hl7("OBX|1")) == [("a", "OBX[1]-10")]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(
            ["level", "each", "path", "when", "required", "check", "range", "order", "at", "one_of", "text", "table"]
        ),
        st.sampled_from(
            [
                "field",
                "PID-3",
                ".1",
                "PID-",
                "now",
                "is_date",
                "{min: 1}",
                "[PID-3, PID-5]",
                "[]",
                "1",
                "null",
                "{a: 1}",
                "x(",
                "'",
            ]
        ),
        max_size=5,
    )
)
def test_no_file_makes_the_library_fail(library: Library, rule: dict[str, str]) -> None:
    text = "for: {codec: hl7v2}\nrules:\n  a:\n" + "".join(f"    {key}: {value}\n" for key, value in rule.items())
    made = library({"x": text})
    if not any(problem.severity == "error" for problem in made.problems()):
        assess(made.get("x"), hl7("PID|1||P1"))
