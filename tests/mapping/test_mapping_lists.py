"""Lists put together from several sources: entries of loops and of included lists, each thing once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hub.errors import MappingError
from hub.mapping import Context, MappingLibrary

HEAD = "from: {codec: json}\nto: {codec: json}\n"


def run(folder: Path, tree: Any, fields: str, **fragments: str) -> Any:
    (folder / "m.yaml").write_text(HEAD + fields, "utf-8")
    for name, text in fragments.items():
        (folder / f"{name}.yaml").write_text("fragment: true\n" + HEAD + text, "utf-8")
    (found,) = MappingLibrary([folder]).get("m").run(tree, Context())
    return found


def test_loops_add_their_entries_to_the_list_they_stand_in(tmp_path: Path) -> None:
    fields = "fields:\n  list:\n    - a\n    - {each: many, n: .x}\n    - {each: more, expr: .}\n    - b\n"
    tree = {"a": 1, "many": [{"x": 2}, {"x": 3}], "more": [4, 5], "b": 6}
    assert run(tmp_path, tree, fields) == {"list": [1, {"n": 2}, {"n": 3}, 4, 5, 6]}
    assert run(tmp_path, {"b": 6}, fields) == {"list": [6]}


def test_a_list_in_brackets_stays_a_list(tmp_path: Path) -> None:
    assert run(tmp_path, {"many": [1, 2]}, "fields:\n  list: [[{each: many, expr: .}], x]\n") == {"list": [[1, 2]]}


def test_included_lists_add_their_entries_once_for_each_element(tmp_path: Path) -> None:
    part = "fields:\n  - {head: .id}\n  - {each: .items, item: ., of: ..id}\n"
    tree = {"orders": [{"id": 1, "items": ["a", "b"]}, {"id": 2}]}
    assert run(tmp_path, tree, "fields:\n  entry:\n    - {each: orders, include: part}\n", part=part) == {
        "entry": [{"head": 1}, {"item": "a", "of": 1}, {"item": "b", "of": 1}, {"head": 2}]
    }
    assert run(tmp_path, tree, "fields:\n  entry: [{include: part, from: orders}, {const: 0}]\n", part=part) == {
        "entry": [{"head": 1}, {"item": "a", "of": 1}, {"item": "b", "of": 1}, 0]
    }


def test_distinct_holds_for_the_whole_list(tmp_path: Path) -> None:
    fields = "fields:\n  list:\n    - {each: a, distinct: .id, id: .id, n: $number}\n    - {each: b, distinct: .id, id: .id}\n"
    tree = {"a": [{"id": "x"}, {"id": "y"}, {"id": "x"}], "b": [{"id": "y"}, {"id": "z"}, {"id": "z"}]}
    assert run(tmp_path, tree, fields) == {"list": [{"id": "x", "n": 1}, {"id": "y", "n": 2}, {"id": "z"}]}


def test_distinct_starts_anew_with_each_list(tmp_path: Path) -> None:
    fields = "fields:\n  out: {each: all, list: {each: .in, distinct: ., expr: .}}\n"
    assert run(tmp_path, {"all": [{"in": [1, 1, "1"]}, {"in": [1]}]}, fields) == {"out": [{"list": [1]}, {"list": [1]}]}


def test_distinct_needs_single_values_and_a_loop(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="list"):
        run(tmp_path, {"a": [{"id": []}]}, "fields:\n  l: {each: a, distinct: .id, x: .}\n")
    with pytest.raises(MappingError, match="distinct"):
        run(tmp_path, {}, "fields:\n  l: {distinct: a, x: b}\n")


def test_errors_name_the_list_they_add_to(tmp_path: Path) -> None:
    part = "fields: [{x: .n | int}]\n"
    with pytest.raises(MappingError, match="int") as found:
        run(tmp_path, {"a": [{"n": "?"}]}, "fields:\n  entry: [{each: a, include: part}]\n", part=part)
    assert found.value.target == "entry[0].x"


def test_filters_on_variables(tmp_path: Path) -> None:
    fields = """
vars: {all: body.list, wanted: "'b'"}
fields:
  first: $all[kind=='b'].v
  whole: "$all[kind=='z' or v == 3]"
  none: $all[kind=='none'].v
  other: $all[kind==$wanted and v != 2].v
  root: $all[kind==$.kind].v
  every: $all[kind=='b'].v | list
  texts: $all[kind=='b'].tags | join('-')
  count: $all[kind=='b'] | count
  entries: {each: "$all[kind=='b']", v: .v, tags: {each: ".tags", expr: .}, n: $number}
  deep: $outer.list[v==4]['odd key'][0]
  one: $single[v==5].v
  key: $all[0]['kind']
"""
    tree = {
        "kind": "c",
        "body": {"list": [
            {"kind": "a", "v": 1}, {"kind": "b", "v": 2, "tags": ["x", "y"]}, {"kind": "b", "v": 3, "tags": ["z"]}, {"kind": "c", "v": 9},
        ]},
    }  # fmt: skip
    (tmp_path / "m.yaml").write_text(HEAD + fields, "utf-8")
    variables = {"outer": {"list": [{"v": 4, "odd key": ["k"]}]}, "single": {"v": 5}}
    (found,) = MappingLibrary([tmp_path]).get("m").run(tree, Context(variables=variables))
    assert found == {
        "first": 2,
        "whole": {"kind": "b", "v": 3, "tags": ["z"]},
        "other": 3,
        "root": 9,
        "every": [2, 3],
        "texts": "x-y-z",
        "count": 2,
        "entries": [{"v": 2, "tags": ["x", "y"], "n": 1}, {"v": 3, "tags": ["z"], "n": 2}],
        "deep": "k",
        "one": 5,
        "key": "a",
    }


def test_a_filter_on_a_variable_is_charged(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(
        HEAD + 'vars: {all: list}\nfields: {a: {each: list, expr: "count($all[. == 0])"}}\n', "utf-8"
    )
    with pytest.raises(MappingError, match="permitted number of nodes"):
        MappingLibrary([tmp_path]).get("m").run({"list": list(range(3000))}, Context())


def test_filters_on_variables_are_for_plain_trees(tmp_path: Path) -> None:
    text = HEAD.replace("json", "hl7v2", 1) + "vars: {all: PID-3}\nfields: {a: \"$all[.1=='x']\"}\n"
    (tmp_path / "m.yaml").write_text(text, "utf-8")
    with pytest.raises(MappingError, match="a number expected"):
        MappingLibrary([tmp_path]).get("m")
