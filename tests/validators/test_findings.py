"""Places, and the limit on what one validator reports."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.mapping import Context, compile_expression
from hub.validators.findings import MAX_FINDINGS, Findings, allowed, plain_path
from hub.validators.report import Finding, Severity


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        ([], "$"),
        (["order", "items", 0, "code"], "order.items[0].code"),
        ([0, "a"], "$[0].a"),
        (["a-b", "c"], "$['a-b'].c"),
        (["a", "b c"], "a['b**']"),
        (["110101199003078515"], "$['110***********8515']"),
        (["张三"], "$['张*']"),
    ],
)
def test_paths(parts: list[str | int], path: str) -> None:
    assert plain_path(parts) == path


def test_names_of_the_schema_are_told() -> None:
    assert plain_path(["姓名", "odd 'key'"], frozenset({"姓名", "odd 'key'"})) == r"姓名['odd \'key\'']"


@given(
    st.lists(st.sampled_from(["a", "b_1", "x-y", "姓名", "q'", "back\\slash", "$ref", "and"]), min_size=1, max_size=4)
)
@settings(max_examples=60, derandomize=True, deadline=None)
def test_mappings_read_the_place_of_a_value(keys: list[str]) -> None:
    tree: object = "here"
    for key in reversed(keys):
        tree = {key: tree}
    path = plain_path(keys, frozenset(keys))
    if "and" in keys:
        return  # a word of expressions: written as ['and'] there
    assert compile_expression(path, "json")(tree, Context()) == "here"


def test_limit() -> None:
    findings = Findings("xsd")
    taken = [findings.add(Finding("xsd.type", "x")) for _ in range(MAX_FINDINGS + 20)]
    assert taken == [True] * MAX_FINDINGS + [False] * 20
    assert len(findings.found) == MAX_FINDINGS + 1
    assert findings.found[-1].rule == "xsd.more"
    assert findings.found[-1].severity is Severity.WARNING


def test_exactly_as_many_as_fit() -> None:
    findings = Findings("xsd")
    for _ in range(MAX_FINDINGS):
        findings.add(Finding("xsd.type", "x"))
    assert {finding.rule for finding in findings.found} == {"xsd.type"}


def test_allowed_values_are_few_and_short() -> None:
    assert allowed(["a", 1, None]) == "a, 1, None"
    assert allowed(range(30)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 … (30 values)"
    assert allowed(["x" * 100]) == "x" * 40 + "…"
