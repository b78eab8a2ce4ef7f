"""The schemas for editors: every mapping there is fits, typical mistakes don't, and nothing is missing from them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from hub.codecs.registry import builtin_codecs
from hub.i18n import set_language
from hub.mapping.functions import BUILTIN
from hub.mapping_tools import cases, schema
from hub.mapping_tools.cases import load_tests
from hub.yaml_source import load, parse
from tests.mapping_tools.conftest import ROOT, Bench

CODECS = {codec.name: codec for codec in builtin_codecs()}
MAPPING = Draft202012Validator(schema.mapping_schema(CODECS, BUILTIN))
TESTS = Draft202012Validator(schema.tests_schema())
FILES = sorted(path for path in (ROOT / "mappings").glob("**/*.yaml"))
HEAD = "from: {codec: json}\nto: {codec: json}\n"


def fits(validator: Draft202012Validator, data: Any) -> bool:
    return bool(validator.is_valid(data))


def parsed(text: str) -> Any:
    """Read by the core schema of YAML 1.2, as editors do: a time is a text."""
    return parse(text.encode(), "example").data


@pytest.mark.parametrize("validator", [MAPPING, TESTS], ids=["mapping", "tests"])
def test_they_are_schemas(validator: Draft202012Validator) -> None:
    Draft202012Validator.check_schema(validator.schema)


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_every_shipped_file_fits(file: Path) -> None:
    validator = TESTS if file.name.endswith(".tests.yaml") else MAPPING
    assert [error.message for error in validator.iter_errors(load(file).data)] == []


def examples(document: str) -> list[str]:
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    return re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("example", examples("mapping.md"))
def test_every_example_of_the_reference_fits(example: str) -> None:
    if "fields:" not in example:
        example = "fields:\n" + "".join(f"  {line}\n" for line in example.splitlines())
    if "from:" not in example:
        example = HEAD + example
    assert [error.message for error in MAPPING.iter_errors(parsed(example))] == []


@pytest.mark.parametrize("example", [text for text in examples("mapping-tools.md") if "cases:" in text])
def test_the_examples_of_tests_fit_and_can_be_read(folder: Bench, example: str) -> None:
    assert [error.message for error in TESTS.iter_errors(parsed(example))] == []
    assert load_tests(folder.write("m.tests.yaml", example)).problems == []


FIELDS = [
    "a: x",
    "a: 5",
    "a: true",
    "a: {b: {c: x}}",
    "a: [x, {b: y}, {const: 1}]",
    "a: {const: null}",
    "a: {const: {any: [thing]}}",
    "a: {expr: x, default: 0, required: false, keep_null: true, when: y}",
    "a: {each: l, where: .x, when: .y, b: .z}",
    "a: {each: l, expr: .x, default: ''}",
    "a: {each: l, where: .x, const: 1}",
    "a: {include: p, from: x, more: y}",
    "a: {each: l, include: p}",
    "a: {when: x, b: y}",
    "\"['default']\": x",
    "OBX: {each: l, '.5': .v, NTE: {each: .n, '.3': .}}",
]


@pytest.mark.parametrize("fields", FIELDS)
def test_every_kind_of_rule_fits_and_compiles(folder: Bench, fields: str) -> None:
    hl7 = fields.startswith("OBX")
    head = HEAD.replace("to: {codec: json}", "to: {codec: hl7v2}") if hl7 else HEAD
    text = f"{head}fields:\n  {fields}\n"
    assert [error.message for error in MAPPING.iter_errors(parsed(text))] == []
    folder.mapping("fragment: true\nfields: {p: x}", "p")
    folder.write("m.yaml", text)
    assert folder.open().library.problems() == []


MISTAKES = [
    "fields: {a: x}",
    "from: {codec: json}\nfields: {a: x}",
    "from: json\nto: {codec: json}\nfields: {a: x}",
    "from: {codec: json, type: x}\nto: {codec: json}\nfields: {a: x}",
    "from: {codec: json}\nto: {codec: json, base: target}\nfields: {a: x}",
    HEAD,
    HEAD + "field: {a: x}",
    HEAD + "fields: {a: x}\nvar: {}",
    HEAD + "fields: {a: x}\nvars: {now: x}",
    HEAD + "fields: {a: x}\nvars: {a-b: x}",
    HEAD + "fields: {a: x}\nfragment: maybe",
    HEAD + "fields:\n  a:\n",
    HEAD + "fields: {a: {}}",
    HEAD + "fields: {a: {const: 1, expr: x}}",
    HEAD + "fields: {a: {expr: x, defualt: 1}}",
    HEAD + "fields: {a: {expr: x, required: maybe}}",
    HEAD + "fields: {a: {const: 1, b: x}}",
    HEAD + "fields: {a: {required: true, b: x}}",
    HEAD + "fields: {a: {where: x, b: y}}",
    HEAD + "fields: {a: {from: x, b: y}}",
    HEAD + "fields: {a: {each: l, expr: .x, b: y}}",
    HEAD + "fields: {a: {each: l, include: p, expr: .x}}",
    HEAD + "fields: {a: {each: {b: c}, d: x}}",
    HEAD + "fields: {a: {include: p, const: 1}}",
]


@pytest.mark.parametrize("text", MISTAKES)
def test_typical_mistakes_do_not_fit_and_do_not_compile(folder: Bench, text: str) -> None:
    assert not fits(MAPPING, parsed(text))
    folder.mapping("fragment: true\nfields: {p: x}", "p")
    folder.write("m.yaml", text)
    assert any(problem.severity == "error" for problem in folder.open().library.problems())


TEST_MISTAKES = [
    "cases: []",
    "case: [{name: a, input: 1, count: 0}]",
    "cases: [{name: a, input: 1}]",
    "cases: [{input: 1, count: 0}]",
    "cases: [{name: a, count: 0}]",
    "cases: [{name: a, input: 1, input_file: x, count: 0}]",
    "cases: [{name: a, input: 1, error: {}}]",
    "cases: [{name: a, input: 1, error: {txt: a}}]",
    "cases: [{name: a, input: 1, error: {text: a}, count: 0}]",
    "cases: [{name: a, input: 1, output: 1, output_file: x}]",
    "cases: [{name: a, input: 1, count: -1}]",
    "cases: [{name: a, input: 1, count: 0, message: {kind: x}}]",
    "defaults: {sets: 1}\ncases: [{name: a, input: 1, count: 0}]",
]


@pytest.mark.parametrize("text", TEST_MISTAKES)
def test_mistakes_in_tests_do_not_fit_and_are_refused(folder: Bench, text: str) -> None:
    assert not fits(TESTS, parsed(text))
    assert load_tests(folder.write("m.tests.yaml", text)).problems


def test_the_schema_of_tests_names_every_key() -> None:
    whole = schema.tests_schema()
    case = whole["$defs"]["case"]
    assert set(case["properties"]) == set(cases.Case.model_fields)
    assert set(whole["properties"]) == set(cases.Tests.model_fields)
    assert set(whole["properties"]["defaults"]["properties"]) == set(cases.Given.model_fields)
    assert set(case["properties"]["message"]["properties"]) == set(cases.MessageFacts.model_fields)
    assert set(case["properties"]["error"]["properties"]) == set(cases.ExpectedError.model_fields)


def test_hover_in_both_languages_with_the_functions() -> None:
    english = schema.mapping_schema(CODECS, BUILTIN)
    text = english["properties"]["when"]["description"]
    assert all(function.usage in text for function in BUILTIN.values())
    assert english["properties"]["split"]["description"].splitlines()[0].startswith("One target")
    set_language("zh")
    chinese = schema.mapping_schema(CODECS, BUILTIN)
    assert chinese["properties"]["split"]["description"].splitlines()[0].startswith("路径")
    assert set(english["properties"]["from"]["properties"]["codec"]["anyOf"][0]["enum"]) == set(CODECS)
