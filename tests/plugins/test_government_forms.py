"""What the middle platform's checks let in has a place in the canonical types, however odd: it never becomes a dead letter."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.codecs.json_codec import JsonCodec
from hub.mapping import Context, MappingLibrary
from hub.quality import RuleLibrary
from hub.validators import load
from hub.validators.report import Severity, Validator
from tests.kernel.process import ROOT

EXAMPLES = ROOT / "plugins" / "government" / "government_middle_platform" / "examples"
JSON = JsonCodec()
#: Example -> what it is checked with, what is made of it, and the type of that.
FORMS = {
    "case_receive": ("government/received.json", "government/case", "to_canonical/case", "government_case"),
    "materials_receive": ("government/materials.json", "government/materials", "to_canonical/materials", "government_materials"),
}  # fmt: skip
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, "", " ", "0", "x", "样", "2026-02-30 09:00:00", "2026-11-28 09:00:00", 0, 1, 2, 5, -1, 1.5, True, [], {}, "999", "a.PDF", "QQ=="]
)  # fmt: skip


@cache
def checks(schema: str, quality: str) -> list[Validator]:
    validators, problems = load([ROOT / "schemas"], "json", schemas=[schema])
    assert problems == []
    return [*validators, *([RuleLibrary([ROOT / "schemas"]).get(quality)] if quality else [])]


@cache
def library() -> MappingLibrary:
    return MappingLibrary([ROOT / "mappings"])


def errors(validators: list[Validator], tree: Any) -> list[str]:
    raw = JSON.encode(tree)
    return [
        f"{found.rule} {found.place}"
        for validator in validators
        for found in validator.check(raw, JSON.decode(raw), Context())
        if found.severity is Severity.ERROR
    ]


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Of everything in a tree, itself left out."""
    below = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [place for key, value in below for place in ((*path, key), *places(value, (*path, key)))]


def changed(tree: Any, path: tuple[Any, ...], value: Any, *, drop: bool) -> None:
    """Nothing happens where an earlier change took the place away."""
    at = tree
    try:
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value
    except (KeyError, IndexError, TypeError):
        return
    if drop and isinstance(at, dict):
        del at[path[-1]]


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=300, deadline=None, derandomize=True)
@given(data=st.data())
def test_what_is_let_in_fits_the_canonical_type(name: str, data: st.DataObject) -> None:
    schema, quality, mapping, kind = FORMS[name]
    tree = json.loads((EXAMPLES / f"{name}.json").read_bytes())
    found = places(tree)
    for _ in range(data.draw(st.integers(1, 3))):
        path, drop = data.draw(st.sampled_from(found)), data.draw(st.booleans())
        changed(tree, path, copy.deepcopy(data.draw(ODD)), drop=drop)
    if errors(checks(schema, quality), tree):
        return
    (made,) = library().get(f"government/{mapping}").run(JSON.decode(JSON.encode(tree)), Context())
    assert errors(checks(f"canonical/{kind}.json", ""), made) == []
