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
