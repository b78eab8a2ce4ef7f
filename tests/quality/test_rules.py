"""Every kind of test, with the places findings name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hub.codecs.csv_codec import CsvCodec
from hub.codecs.dicom import DicomCodec
from hub.codecs.xml_codec import XmlCodec
from hub.mapping.tables import load_table
from hub.mapping.tables_model import CodeTable
from hub.quality import QualityValidator
from hub.validators.report import Kind, Level, Severity
from tests.codecs.dicom_support import element, file, item, sequence
from tests.quality.conftest import assess, found, hl7, json

Rules = Callable[..., QualityValidator]


def one(rules: Rules, test: str, codec: str = "hl7v2", **options: object) -> QualityValidator:
    return rules(f"r: {{level: field, {test}}}", codec, **options)


# -- presence ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pid", ["PID|1", "PID|1||", 'PID|1||""', "PID|1||  ", "PID|1||^^^H9001"])
def test_required(rules: Rules, pid: str) -> None:
    assert found(one(rules, "required: PID-3.1"), hl7(pid)) == [("r", "PID-3.1")]


def test_required_each_place_by_itself(rules: Rules) -> None:
    validator = one(rules, "required: [PID-3, PID-5.1, PV1-2]")
    assert found(validator, hl7("PID|1||P1")) == [("r", "PID-5.1"), ("r", "PV1-2")]


@pytest.mark.parametrize("tree", ['{"a": null}', '{"a": ""}', '{"a": []}', '{"a": {}}', '{"a": " "}', "{}", "[]", "1"])
def test_required_in_json(rules: Rules, tree: str) -> None:
    assert found(one(rules, "required: a", "json"), json(tree)) == [("r", "a")]


@pytest.mark.parametrize("tree", ['{"a": 0}', '{"a": false}', '{"a": [0]}', '{"a": {"b": null}}'])
def test_there_in_json(rules: Rules, tree: str) -> None:
    assert found(one(rules, "required: a", "json"), json(tree)) == []


def test_forbidden(rules: Rules) -> None:
    validator = one(rules, "forbidden: [PID-19, PID-20]")
    assert found(validator, hl7('PID|1||||||||||||||||||""')) == []
    assert found(validator, hl7("PID|1||||||||||||||||||1")) == [("r", "PID-19")]


def test_any_of(rules: Rules) -> None:
    validator = one(rules, "any_of: [PID-5.1, PID-5.2]")
    assert found(validator, hl7("PID|1||||^本")) == []
    assert found(validator, hl7("PID|1")) == [("r", "PID-5.1, PID-5.2")]


def test_together(rules: Rules) -> None:
    validator = one(rules, "together: [a, b, c]", "json")
    assert found(validator, json("{}")) == []
    assert found(validator, json('{"a": 1, "b": 2, "c": 3}')) == []
    assert found(validator, json('{"b": 1}')) == [("r", "a"), ("r", "c")]
    assert assess(validator, json("{}")).score is None


# -- values --------------------------------------------------------------------------------------------------------------


def test_absent_values_are_passed_over(rules: Rules) -> None:
    for test in ("check: is_date", "pattern: x", "length: 3", "range: {min: 1}", "one_of: [a]", "quantity: pulse"):
        assert assess(one(rules, f"path: PID-7, {test}"), hl7("PID|1")).asked == {}


def test_check(rules: Rules) -> None:
    assert found(one(rules, "path: PID-7, check: is_date"), hl7("PID|1||||||19540231")) == [("r", "PID-7")]
    assert found(one(rules, "path: PID-7, check: is_birth_date(max=50)"), hl7("PID|1||||||1954")) == [("r", "PID-7")]
    # a converter that can't understand a value has judged it, one that can is content
    assert found(one(rules, "path: PID-7, check: date"), hl7("PID|1||||||19540231")) == [("r", "PID-7")]
    assert found(one(rules, "path: PID-7, check: date"), hl7("PID|1||||||19540228")) == []
    # arguments may be paths
    matches = one(rules, "path: PID-3, check: id_card_fits_birth_date(PID-7)")
    assert found(matches, hl7("PID|1||359999195401130124||||19540114")) == [("r", "PID-3")]


def test_a_check_of_a_plugin(rules: Rules) -> None:
    validator = one(
        rules, "path: PID-8, check: is_ours('x')", functions={"is_ours": lambda value, other: value == other}
    )
    assert found(validator, hl7("PID|1|||||||x")) == []
    assert found(validator, hl7("PID|1|||||||y")) == [("r", "PID-8")]


def test_pattern_takes_the_whole_value(rules: Rules) -> None:
    validator = one(rules, "path: a, pattern: '[0-9]{2}'", "json")
    assert [found(validator, json(f'{{"a": {a}}}')) for a in ('"12"', "12", '"123"')] == [[], [], [("r", "a")]]


@pytest.mark.parametrize(
    ("length", "right", "wrong"),
    [
        ("3", '"abc"', '"ab"'),
        ("{min: 2}", '"ab"', '"a"'),
        ("{max: 2}", "[1, 2]", "[1, 2, 3]"),
        ("{min: 1, max: 3}", "123", "1234"),
    ],
)
def test_length(rules: Rules, length: str, right: str, wrong: str) -> None:
    validator = one(rules, f"path: a, length: {length}", "json")
    assert [found(validator, json(f'{{"a": {a}}}')) for a in (right, wrong)] == [[], [("r", "a")]]


@pytest.mark.parametrize(
    ("limits", "right", "wrong"),
    [
        ("{min: 1}", "1", "0.99"),
        ("{max: 0.1}", '"0.10"', '"0.11"'),
        ("{min: -1, max: 1}", "0", '"x"'),
        ("{min: 1}", "2", "true"),
        ("{max: now}", '"2026-11-28"', '"2026-11-29"'),
        ("{min: now - 1y}", '"2026"', '"20251127"'),
        ("{min: 1900-01-01, max: 1999-12-31}", '"1999"', '"2000"'),
        ("{max: now}", '"1999"', '"soon"'),
    ],
)
def test_range(rules: Rules, limits: str, right: str, wrong: str) -> None:
    validator = one(rules, f"path: a, range: {limits}", "json")
    assert [found(validator, json(f'{{"a": {a}}}')) for a in (right, wrong)] == [[], [("r", "a")]]


def test_one_of(rules: Rules) -> None:
    assert found(one(rules, "path: PID-8, one_of: [M, F]"), hl7("PID|1|||||||X")) == [("r", "PID-8")]
    numbers = one(rules, "path: a, one_of: [1, 2]", "json")
    assert [found(numbers, json(f'{{"a": {a}}}')) for a in ("1", '"2"', "3", "[1]")] == [
        [],
        [],
        [("r", "a")],
        [("r", "a")],
    ]


def test_several_paths(rules: Rules) -> None:
    validator = one(rules, "path: [a, b, c], check: is_number", "json")
    assert found(validator, json('{"a": "x", "b": 1, "c": "y"}')) == [("r", "a"), ("r", "c")]


# -- code tables ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def tables(tmp_path: Path) -> Callable[[str], CodeTable | None]:
    (tmp_path / "sex.csv").write_text("# version: 2003\nfrom,to\nM,1\nF,2\nO,9\nU,9\n")
    (tmp_path / "unit.csv").write_text(
        "# version: 2\nfrom,to,note,valid_from,valid_to\na,1,,,2026-11-27\nb,2,,2026-11-28,\n"
    )
    (tmp_path / "unit@1.csv").write_text("from,to\nc,3\n")

    def find(name: str) -> CodeTable | None:
        file = tmp_path / f"{name}.csv"
        return load_table(file, name)[0] if file.is_file() else None

    return find


@pytest.mark.parametrize(
    ("table", "right", "wrong"),
    [
        ("sex", ["M", "U"], ["1", "X"]),
        ("{name: sex, column: to}", ["1", "9"], ["M", "3"]),
        ("unit", ["b"], ["a", "c"]),
        ("{name: unit, column: to}", ["2"], ["1", "3"]),
        ("{name: unit, version: '1'}", ["c"], ["a", "b"]),
        ("{name: unit, version: '1', column: to}", ["3"], ["1", "2"]),
    ],
)
def test_table(
    rules: Rules, tables: Callable[[str], CodeTable | None], table: str, right: list[str], wrong: list[str]
) -> None:
    validator = one(rules, f"path: PID-8, table: {table}", find_table=tables)
    assert [value for value in [*right, *wrong] if found(validator, hl7(f"PID|1|||||||{value}"))] == wrong


# -- several values ------------------------------------------------------------------------------------------------------


def test_order(rules: Rules) -> None:
    validator = one(rules, "order: [a, b, c]", "json")
    assert found(validator, json('{"a": "2026", "b": "20260301", "c": "2026-03"}')) == []
    assert found(validator, json('{"a": "20260302", "c": "20260301"}')) == [("r", "c")]
    assert found(validator, json('{"a": "x", "b": "20260301"}')) == [("r", "a")]
    assert assess(validator, json('{"a": "2026"}')).asked == {}
    strict = one(rules, "order: {paths: [a, b], strict: true}", "json")
    assert found(strict, json('{"a": "2026-03-01 10:00:00", "b": "2026-03-01 10:00:00"}')) == [("r", "b")]


def test_assert_and_where_it_says_it_is(rules: Rules) -> None:
    validator = rules(
        "r: {level: business, when: b, assert: a <= b}\ns: {level: business, assert: count(c) < 2, at: [c, d]}", "json"
    )
    assert found(validator, json('{"a": 2, "b": 1, "c": [1, 2]}')) == [("r", "a"), ("s", "c, d")]
    assert found(validator, json('{"a": 2}')) == []


def test_unique(rules: Rules) -> None:
    validator = one(rules, "each: a, unique: .x", "json")
    assert found(validator, json('{"a": [{"x": 1}, {"x": "1"}, {}, {"x": 2}, {"x": 1}]}')) == [
        ("r", "a[1].x"),
        ("r", "a[4].x"),
    ]
    several = one(rules, "each: a, unique: 'concat(.x, .y)'", "json")
    assert found(several, json('{"a": [{"x": 1, "y": 2}, {"x": 1, "y": 2}]}')) == [("r", "a[1]")]


def test_continuous(rules: Rules) -> None:
    numbers = ("OBX|1", "OBX|2", "OBX|4", "OBX|5", "OBX|x", "OBX|6")
    assert found(one(rules, "each: OBX, continuous: .1"), hl7(*numbers)) == [("r", "OBX[3]-1"), ("r", "OBX[5]-1")]
    assert found(one(rules, "each: OBX, continuous: {path: .1, start: 2}"), hl7("OBX|1", "OBX|2")) == [
        ("r", "OBX[1]-1")
    ]
    nested = one(rules, "each: [OBR, .OBX], continuous: {path: .1, start: 1}")
    assert found(nested, hl7("OBR|1", "OBX|1", "OBX|2", "OBR|2", "OBX|1", "OBX|3")) == [("r", "OBX[4]-1")]


# -- loops and places ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "places"),
    [
        ("each: OBX, required: .5", ["OBX[1]-5", "OBX[3]-5"]),
        ("each: \"OBX[.2=='NM']\", required: .5", ["OBX[3]-5"]),
        ("each: OBX, required: .3.1", ["OBX[2]-3.1", "OBX[3]-3.1"]),
        ("each: OBX, when: not .5, required: .6, at: .", ["OBX[1]", "OBX[3]"]),
        ("each: [OBX, .8], path: ., one_of: [H]", ["OBX[2]-8[2]"]),
        ("each: [OBX, .8], required: ..5", ["OBX[1]-5"]),
        ("each: PID-13, path: .1, check: is_phone", ["PID-13[4].1"]),
        ("each: \"PID-13[.2=='X']\", required: .1", ["PID-13[3].1"]),
        ("each: PID-13, when: .2, required: .1", ["PID-13[3].1"]),
        ("each: OBR, required: .OBX-9", ["OBR[1].OBX-9"]),
        ("when: PID, required: PV1-2", ["PV1-2"]),
    ],
)
def test_places_in_hl7(rules: Rules, rule: str, places: list[str]) -> None:
    tree = hl7(
        "PID|1||||||||||||19900000012~~^X~12",
        "OBR|1",
        "OBX|1|ST|A|||||H",
        "OBX|2|ST|^b||1|||H~L",
        "OBX|3|NM",
    )
    validator = one(rules, rule)
    assert [place for _, place in found(validator, tree)] == places


@pytest.mark.parametrize(
    ("rule", "places"),
    [
        ("each: a, required: .x", ["a[1].x"]),
        ('each: "a[y == 2]", required: .x', ["a[1].x"]),
        ("each: [a, .b], path: ., range: {max: 2}", ["a[0].b[2]", "a[1].b[0]"]),
        ("each: [a, .b], path: ..y, one_of: [1], when: . > 2", ["a[1].y"]),
        ('each: ["a[y == 2]", .b], required: .z', ["a[1].b[0].z"]),
        ("each: a, required: \".['odd key']\"", ["a[0]['odd key']", "a[1]['odd key']"]),
        ("each: 'a[*].b', path: ., range: {max: 2}", ["(a[*].b)[3]", "(a[*].b)[4]"]),
        ("each: c, path: ., one_of: [1]", ["c[0]"]),
        ("each: a, required: c.d", ["c.d", "c.d"]),
    ],
)
def test_places_in_json(rules: Rules, rule: str, places: list[str]) -> None:
    tree = json('{"a": [{"x": 1, "y": 1, "b": [1, 2, 3]}, {"y": 2, "b": [4]}], "c": 5}')
    assert [place for _, place in found(one(rules, rule, "json"), tree)] == places


@pytest.mark.parametrize(
    ("rule", "places"),
    [
        ("required: doc/id/@root", ["doc/id/@root"]),
        ("each: doc/entry, required: .code/@code", ["doc/entry[2]/code/@code"]),
        ("each: doc/entry, required: .@id", ["doc/entry[1]/@id"]),
        ("each: \"doc/entry[@id='2']\", required: .code/@code", ["(doc/entry[@id='2'])[1]/code/@code"]),
        ("each: [doc/entry, .code], path: .@code, one_of: [b]", ["doc/entry[1]/code[1]/@code"]),
    ],
)
def test_places_in_xml(rules: Rules, rule: str, places: list[str]) -> None:
    tree = XmlCodec().decode(b"<doc><entry><code code='a'/></entry><entry id='2'><code/></entry></doc>")
    assert [place for _, place in found(one(rules, rule, "xml"), tree)] == places


def test_a_path_that_begins_with_a_dot_is_not_a_number(rules: Rules) -> None:
    """``.10`` is field 10, ``0.1`` would be another."""
    validator = one(rules, "each: OBX, required: [.10, .3.1, .5]")
    assert found(validator, hl7("OBX|1||a||b")) == [("r", "OBX[1]-10")]


@pytest.mark.parametrize("name", ["order", "time", "at", "rules", "continuous"])
def test_a_rule_may_have_the_name_of_a_key(rules: Rules, name: str) -> None:
    validator = rules(f"{name}: {{level: field, each: OBX, continuous: {{path: .10, start: 2}}, weight: 2}}")
    assert found(validator, hl7("OBX|" + "|" * 8 + "|1")) == [(name, "OBX[1]-10")]


# -- what a finding says -------------------------------------------------------------------------------------------------


def test_words(rules: Rules) -> None:
    validator = rules(
        "r:\n  level: plausibility\n  severity: warning\n  kind: code\n  path: PID-5.1\n  pattern: '[A-Z]+'\n"
        "  text: {en: no letters, zh: 不是字母}\n  advice: write letters"
    )
    (finding,) = assess(validator, hl7("PID|1||||样本人")).findings
    assert finding.as_dict() == {
        "rule": "r",
        "level": "plausibility",
        "severity": "warning",
        "kind": "code",
        "place": "PID-5.1",
        "text": "no letters",
        "advice": "write letters",
    }


@pytest.mark.parametrize(
    ("test", "pid", "kind", "text"),
    [
        ("required: PID-5", "PID|1", Kind.MISSING, "the value is missing"),
        ("any_of: [PID-5, PID-6]", "PID|1", Kind.MISSING, "one of these values is needed"),
        ("forbidden: PID-5", "PID|1||||样本人", Kind.STRUCTURE, "there must be no value here (value 样*人)"),
        ("path: PID-5, check: is_passport", "PID|1||||样本人", Kind.FORMAT, "does not pass is_passport (value 样*人)"),
        ("path: PID-3, check: is_id_card", "PID|1||359999195401130125", Kind.FORMAT, "does not pass is_id_card (value 359***********0125)"),
        ("path: PID-5, pattern: '[a-z]*'", "PID|1||||样本人", Kind.FORMAT, "does not have the form [a-z]* (value 样*人)"),
        ("path: PID-5, length: {max: 1}", "PID|1||||样本", Kind.LENGTH, "the length must be at most 1 (value 样*)"),
        ("path: PID-8, one_of: [M, F]", "PID|1|||||||X", Kind.CODE, "is none of M, F (value X)"),
        ("path: PID-8, one_of: [M, F]", "PID|1|||||||Zhang San", Kind.CODE, "is none of M, F (value Zh*****an)"),
        ("path: PID-8, range: {min: 1, max: 2}", "PID|1|||||||300", Kind.RANGE, "must be from 1 to 2 (value 300)"),
        ("path: PID-7, range: {max: now}", "PID|1||||||20991231", Kind.RANGE, "must be at most now (value 20****31)"),
        ("path: PID-8, quantity: pulse", "PID|1|||||||720", Kind.RANGE, "pulse: not between 10 and 350 (value 720)"),
        ("assert: PID-8 == 'M'", "PID|1|||||||F", Kind.CONTRADICTION, "does not hold: PID-8 == 'M'"),
        ("order: [PID-7, PID-29]", "PID|1||||||1954||||||||||||||||||||||1953", Kind.CONTRADICTION, "before what it should follow, or no date (value 1***)"),
    ],
)  # fmt: skip
def test_default_words_hide_what_a_value_says(rules: Rules, test: str, pid: str, kind: Kind, text: str) -> None:
    (finding,) = assess(one(rules, test), hl7(pid)).findings
    assert (finding.kind, finding.level, finding.severity) == (kind, Level.FIELD, Severity.ERROR)
    assert finding.text == text


def test_places_in_dicom(rules: Rules) -> None:
    procedure = item(element(0x00400007, "LO", b"CT")) + item(element(0x00400009, "SH", b"S2"))
    tree = DicomCodec().decode(file(element(0x00100020, "LO", b"P1") + sequence(0x00400275, procedure)))
    validator = rules(
        "a: {level: completeness, required: [PatientID, PatientBirthDate]}\n"
        "b: {level: completeness, each: RequestAttributesSequence, required: .ScheduledProcedureStepID}",
        "dicom",
    )
    assert found(validator, tree) == [
        ("a", "PatientBirthDate"),
        ("b", "RequestAttributesSequence[0].ScheduledProcedureStepID"),
    ]


def test_rows_of_a_table(rules: Rules) -> None:
    tree = CsvCodec().decode("编号,金额\n1,5\n2,x\n1,\n".encode())
    validator = rules(
        "a: {level: field, each: rows, path: \".['金额']\", range: {min: 0}}\n"
        "b: {level: business, each: rows, unique: \".['编号']\"}\n"
        "c: {level: completeness, each: rows, required: .金额}",
        "csv",
    )
    assert found(validator, tree) == [
        ("a", "rows[1]['金额']"),
        ("b", "rows[2]['编号']"),
        ("c", "rows[2].金额"),
    ]
