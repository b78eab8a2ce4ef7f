"""JSON Schema: every keyword in words, places, drafts, references, hostile trees."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.i18n import language, set_language
from hub.validators.findings import MAX_FINDINGS
from hub.validators.json_recursion import ambiguous
from hub.validators.json_schema import MAX_NODES
from hub.validators.report import Kind, Severity
from tests.validators.validator_support import check, faults, made, short, write

PERSON = "110101199003078515"
WAYBILL = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["no", "items"],
    "additionalProperties": False,
    "properties": {
        "no": {"type": "string", "maxLength": 8, "pattern": "^[A-Z0-9]+$"},
        "when": {"type": "string", "format": "date-time"},
        "items": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/item"}},
    },
    "$defs": {
        "item": {
            "required": ["code"],
            "properties": {
                "code": {"enum": ["01", "02"]},
                "weight": {"type": "number", "exclusiveMinimum": 0, "maximum": 100, "multipleOf": 0.5},
                "owner": {"minLength": 2},
                "tags": {"uniqueItems": True},
                "flag": {"const": 1},
            },
        }
    },
}


def schema(tmp_path: Path, document: Any) -> Any:
    return made(write(tmp_path, x_json=json.dumps(document)), "x.json")


def one(tmp_path: Path, document: Any, tree: Any) -> Any:
    (finding,) = check(schema(tmp_path, document), tree)
    return finding


def test_valid(tmp_path: Path) -> None:
    tree = {"no": "AB1", "when": "2026-01-15T09:30:15+08:00", "items": [{"code": "01", "weight": 12.5}]}
    assert check(schema(tmp_path, WAYBILL), tree) == []


def test_all_errors_with_their_places(tmp_path: Path) -> None:
    tree = {
        "no": "toolongforthis",
        "when": "yesterday",
        "items": [
            {"code": "09", "weight": 101, "owner": "x", "tags": [1, 1], "flag": 2},
            {"weight": 0, "code": "01"},
            {"weight": 0.75},
            7,
        ],
        "extra": PERSON,
    }
    found = {(f.rule, f.place, f.kind) for f in check(schema(tmp_path, WAYBILL), tree)}
    assert found == {
        ("json.maxLength", "no", Kind.LENGTH),
        ("json.pattern", "no", Kind.FORMAT),
        ("json.format", "when", Kind.FORMAT),
        ("json.enum", "items[0].code", Kind.CODE),
        ("json.maximum", "items[0].weight", Kind.RANGE),
        ("json.multipleOf", "items[2].weight", Kind.FORMAT),
        ("json.minLength", "items[0].owner", Kind.LENGTH),
        ("json.uniqueItems", "items[0].tags", Kind.DUPLICATE),
        ("json.const", "items[0].flag", Kind.CODE),
        ("json.exclusiveMinimum", "items[1].weight", Kind.RANGE),
        ("json.required", "items[2].code", Kind.MISSING),
        ("json.additionalProperties", "extra", Kind.STRUCTURE),
    }


@pytest.mark.parametrize(
    ("keyword", "tree", "text"),
    [
        ({"type": "integer"}, "x", "must be a whole number"),
        ({"type": ["string", "null"]}, 1, "must be null or a text"),
        ({"maxLength": 2}, PERSON, "longer than 2 characters"),
        ({"minLength": 2}, "x", "shorter than 2 characters"),
        ({"minimum": 2}, 1, "less than 2"),
        ({"exclusiveMaximum": 2}, 2, "not less than 2"),
        ({"pattern": "^[0-9]+$"}, "x", "does not have the form ^[0-9]+$"),
        ({"format": "date"}, "2026-02-30", "not a valid date"),
        ({"enum": ["男", "女"]}, PERSON, "not one of: 男, 女"),
        ({"const": "x"}, PERSON, "must be x"),
        ({"minItems": 2}, [1], "fewer than 2 items"),
        ({"maxItems": 0}, [1], "more than 0 items"),
        ({"minProperties": 1}, {}, "fewer than 1 members"),
        ({"maxProperties": 0}, {"a": 1}, "more than 0 members"),
        ({"contains": {"const": 1}}, [2], "none of the items is as required"),
        ({"not": {}}, 1, "is as it must not be"),
        (False, 1, "must not be there"),
        ({"oneOf": [{}, {}]}, 1, "fits more than one of the alternatives"),
        ({"unevaluatedItems": False}, [1], "the list has more items than the schema knows"),
        ({"propertyNames": {"maxLength": 1}}, {"ab": 1}, "a member has a name that is not permitted"),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, "b is missing"),
        ({"unevaluatedProperties": False}, {"a": 1}, "the schema has no such member here"),
        ({"contentEncoding": "base64"}, "!", None),
    ],
)
def test_words(tmp_path: Path, keyword: Any, tree: Any, text: str | None) -> None:
    found = check(schema(tmp_path, keyword), tree)
    assert [finding.text for finding in found] == ([] if text is None else [text])
    assert PERSON not in repr(found)


def test_both_languages(tmp_path: Path) -> None:
    before = language()
    try:
        set_language("zh")
        assert one(tmp_path, {"enum": ["男", "女"]}, "x").text == "不在允许值之列：男、女"
    finally:
        set_language(before)


def test_the_nearest_alternative_is_told(tmp_path: Path) -> None:
    document = {
        "oneOf": [
            {"type": "string"},
            {"properties": {"kind": {"const": "a"}, "size": {"maximum": 5}}, "required": ["kind"]},
        ]
    }
    finding = one(tmp_path, document, {"kind": "a", "size": 9})
    assert (finding.rule, finding.place, finding.kind) == ("json.oneOf", "size", Kind.RANGE)
    assert finding.text == "fits none of the 2 alternatives; the nearest: greater than 5"


def test_keys_that_may_be_persons_are_masked(tmp_path: Path) -> None:
    finding = one(tmp_path, {"additionalProperties": {"type": "number"}}, {PERSON: "x"})
    assert finding.place == "$['110***********8515']"


@pytest.mark.parametrize(
    "draft",
    [
        "https://json-schema.org/draft/2020-12/schema",
        "https://json-schema.org/draft/2019-09/schema",
        "http://json-schema.org/draft-07/schema#",
    ],
)
def test_drafts_assert_formats(tmp_path: Path, draft: str) -> None:
    assert one(tmp_path, {"$schema": draft, "format": "date"}, "x").rule == "json.format"


def test_a_draft_has_its_own_keywords(tmp_path: Path) -> None:
    old = {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}]}
    assert one(tmp_path, old, [1]).place == "$[0]"
    assert check(schema(tmp_path, {**old, "dependentRequired": {"a": ["b"]}}), {"a": 1}) == []


def test_numbers_are_exact(tmp_path: Path) -> None:
    validator = schema(tmp_path, {"maximum": 100, "multipleOf": 0.01})
    assert check(validator, Decimal("12.50")) == []
    assert short(check(validator, Decimal("100.01"))) == [("json.maximum", "$")]
    assert [f.rule for f in check(validator, 10**40)] == ["json.maximum"]


# -- references --------------------------------------------------------------------------------------------------------


def test_references_between_files(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        a__main_json='{"$id": "https://example.org/main.json", "properties": {"p": {"$ref": "../shared/t.json#/$defs/p"}}}',
        shared__t_json='{"$id": "https://example.org/other/t.json", "$defs": {"p": {"$ref": "inner.json"}}}',
        shared__inner_json='{"type": "string"}',
    )
    assert short(check(made(folder, "a/main.json"), {"p": 1})) == [("json.type", "p")]


def test_references_reach_other_folders(tmp_path: Path) -> None:
    from hub.validators import load

    own = write(tmp_path / "own", a__main_json='{"$ref": "../canonical/t.json"}')
    common = write(tmp_path / "common", canonical__t_json='{"type": "string"}')
    (validator,), problems = load([own, common], "json", schemas=["a/main.json"])
    assert problems == []
    assert len(check(validator, 1)) == 1


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("missing.json", "there is no file 'a/missing.json'"),
        ("../../../etc/passwd", "leads out of the schema folders"),
        ("%2e%2e/../shared.x", "leads out of the schema folders"),
        ("/etc/passwd", "leads out of the schema folders"),
        ("https://example.org/x.json", "outside of the schema folders"),
        ("file:///etc/passwd", "outside of the schema folders"),
        ("//host/x.json", "outside of the schema folders"),
        ("http://[", "outside of the schema folders"),
        ("#/$defs/nope", "leads nowhere"),
        ("t.json#/$defs/nope", "leads nowhere"),
    ],
)
def test_broken_references(tmp_path: Path, reference: str, said: str) -> None:
    main = f'{{\n "properties": {{\n  "p": {{"$ref": "{reference}"}}\n }}\n}}'
    folder = write(tmp_path, a__main_json=main, a__t_json="{}")
    (problem,) = faults(folder, "a/main.json")
    assert said in problem.text
    assert (problem.file, problem.line, problem.key) == (str(folder / "a/main.json"), 3, "properties.p.$ref")
    assert problem.remedy


def test_a_link_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("{}")
    folder = write(tmp_path / "schemas", main_json='{"$ref": "link.json"}')
    (folder / "link.json").symlink_to(tmp_path / "secret.json")
    assert "leads out of" in faults(folder, "main.json")[0].text


def test_circles(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        a_json='{"properties": {"b": {"$ref": "b.json"}}}',
        b_json='{"properties": {"a": {"$ref": "a.json"}}, "type": "object"}',
    )
    assert short(check(made(folder, "a.json"), {"b": {"a": {"b": 1}}})) == [("json.type", "b.a.b")]


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ('{\n "type": "strin"\n}', 2, "type"),
        ('{\n "properties": {\n  "a": {"pattern": "("}}}', 3, "properties.a.pattern"),
        ('{\n "required": "a"}', 2, "required"),
        ('{\n "a": }', 2, ""),
        ("", 1, ""),
        ('{"$schema": "https://example.org/own"}', 0, ""),
        ("[]", 0, ""),
        ("7", 0, ""),
    ],
)
def test_broken_schemas(tmp_path: Path, text: str, line: int, key: str) -> None:
    (problem, *_) = faults(write(tmp_path, x_json=text), "x.json")
    assert problem.file == str(tmp_path / "x.json")
    assert (problem.line, problem.key) == (line, key) or not line
    assert problem.severity == "error"


def test_an_unknown_format_is_a_warning(tmp_path: Path) -> None:
    from hub.validators import load

    folder = write(tmp_path, x_json='{\n"properties": {"a": {\n"format": "id-card", "type": "string"}}}')
    for _ in range(2):  # also when it is already compiled
        (validator,), (problem,) = load([folder], "json", schemas=["x.json"])
        assert (problem.severity, problem.line, problem.key) == ("warning", 3, "properties.a.format")
        assert short(check(validator, {"a": 1})) == [("json.type", "a")]


# -- hostile trees -----------------------------------------------------------------------------------------------------


def test_many_errors(tmp_path: Path) -> None:
    found = check(schema(tmp_path, {"items": {"type": "string"}}), list(range(MAX_NODES // 2)))
    assert len(found) == MAX_FINDINGS + 1
    assert found[-1].rule == "json.more"


def test_a_large_wrong_tree_tells_its_first_error(tmp_path: Path) -> None:
    found = check(schema(tmp_path, {"items": {"type": "string"}}), ["x", *range(MAX_NODES * 20)])
    assert short(found) == [("json.type", "$[1]"), ("json.not_checked", "")]
    assert all(finding.severity is Severity.ERROR for finding in found)


def test_deep_trees(tmp_path: Path) -> None:
    tree: Any = 1
    for _ in range(250):
        tree = {"a": [tree]}
    document = {"properties": {"a": {"items": {"$ref": "#"}}}, "type": "object"}
    (finding,) = check(schema(tmp_path, document), tree)
    assert finding.place == ".".join(["a[0]"] * 250)


RECURSIVE = {
    "anyOf": [
        {"properties": {"a": {"$ref": "#"}}, "required": ["b"]},
        {"properties": {"a": {"$ref": "#"}}, "required": ["c"]},
    ]
}


def test_alternatives_that_contain_themselves(tmp_path: Path) -> None:
    validator = schema(tmp_path, RECURSIVE)
    assert [finding.rule for finding in check(validator, {"a": {"b": 1}})] == ["json.anyOf"]
    tree: Any = {}
    for _ in range(200):
        tree = {"a": tree, "b": 1, "c": 1}
    assert short(check(validator, tree)) == [("json.alternatives", "$")]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"x": RECURSIVE}, True),
        ({"x": {"properties": {"a": {"$ref": "#"}}}}, False),
        ({"x": {"anyOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"type": "string"}}}}, False),
        ({"x": {"$ref": "#/$defs/a", "$defs": {"a": {"oneOf": [{"items": {"$ref": "#/$defs/a"}}, {}]}}}}, True),
        ({"x": {"anyOf": [{"$ref": "y.json"}]}, "y.json": {"items": {"$ref": "x#"}}}, True),
        ({"x": {"anyOf": [{"$ref": "y.json"}]}, "y.json": {"items": {"$ref": "#"}}}, False),
        ({"x": {"enum": [{"anyOf": [{"$ref": "#"}]}]}}, False),
        ({"x": {"$defs": {"a/b": {"anyOf": [{"not": {"$ref": "#/$defs/a~1b"}}]}}, "$ref": "#/$defs/a~1b"}}, True),
        ({"x": True}, False),
    ],
)
def test_what_is_ambiguous(files: dict[str, Any], expected: bool) -> None:
    assert ambiguous(files) is expected


@pytest.mark.parametrize("pattern", ["^(a+)+$", r"^(a|aa)+(?<!x)$", r"^(?:(a+)+)\1$"])
def test_expensive_patterns_end(tmp_path: Path, pattern: str) -> None:
    assert short(check(schema(tmp_path, {"pattern": pattern}), "a" * 5000 + "!")) == [("json.pattern", "$")]


@pytest.mark.parametrize("tree", [b"x", {"a": object()}, {1: 2}, float("nan"), {"a": {3}}])
def test_values_json_does_not_have(tmp_path: Path, tree: Any) -> None:
    assert all(finding.rule.startswith("json.") for finding in check(schema(tmp_path, {"type": "string"}), tree))


def test_threads(tmp_path: Path) -> None:
    validator = schema(tmp_path, {"items": {"type": "string"}})
    trees = [[*range(number)] for number in range(40)]
    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(lambda tree: len(check(validator, tree)), trees * 5))
    assert counts == [*range(40)] * 5


leaves = st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "ab", "01", "2026-01-15"])
trees = st.recursive(
    leaves, lambda t: st.lists(t, max_size=3) | st.dictionaries(st.sampled_from("abc"), t, max_size=3), max_leaves=8
)
SHAPES = {
    "type": ["object", "array"],
    "required": ["a"],
    "additionalProperties": False,
    "properties": {
        "a": {"enum": [1, "01", None]},
        "b": {"anyOf": [{"type": "string", "maxLength": 1}, {"type": "array", "maxItems": 1, "items": {"$ref": "#"}}]},
    },
    "items": {"type": ["integer", "object"], "minimum": 0},
}


@given(trees)
@settings(max_examples=150, derandomize=True, deadline=None)
def test_agrees_with_another_library(tmp_path_factory: pytest.TempPathFactory, tree: Any) -> None:
    validator = schema(tmp_path_factory.getbasetemp(), SHAPES)
    theirs = list(jsonschema.Draft202012Validator(SHAPES).iter_errors(tree))
    assert bool(check(validator, tree)) == bool(theirs)
