"""hub.diff: nothing for the same, and otherwise exactly what turns the old into the new."""

from __future__ import annotations

import copy
import json
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.diff import Change, diff_bytes, diff_trees

scalars = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([1.0, 0.5, -0.5]) | st.text("ab.", max_size=2)
)
keys = st.sampled_from(["a", "b", "x.y", "", "姓名", "a[0]", '"', "0", "$"])
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=3), max_leaves=25
)

_STEP = re.compile(r'\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]|\.?([^\W\d][\w-]*)')


def steps(path: str) -> list[str | int]:
    """The path of a change as keys and indices."""
    rest = path[1:] if path.startswith("$") else path
    found: list[str | int] = []
    while rest:
        step = _STEP.match(rest)
        assert step, rest
        index, quoted, plain = step.groups()
        found.append(int(index) if index is not None else json.loads(quoted) if quoted else plain)
        rest = rest[step.end() :]
    return found


def apply(tree: Any, changes: list[Change]) -> Any:
    """The tree with the changes made, as the docstring of diff_trees says."""
    box = {"": copy.deepcopy(tree)}
    removed = [c for c in changes if c.kind == "removed"]
    for change in (
        [c for c in changes if c.kind == "changed"] + removed[::-1] + [c for c in changes if c.kind == "added"]
    ):
        *way, last = ["", *steps(change.path)]
        place: Any = box
        for step in way:
            place = place[step]
        if change.kind == "removed":
            assert same(place[last], change.old)
            del place[last]
        elif change.kind == "added" and isinstance(place, list):
            place.insert(int(last), copy.deepcopy(change.new))
        else:
            if change.kind == "changed":
                assert same(place[last], change.old)
            place[last] = copy.deepcopy(change.new)
    return box[""]


def same(one: Any, other: Any) -> bool:
    """Equal including types, which == is not for 1, 1.0 and True."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@given(trees)
def test_no_difference_to_itself(tree: Any) -> None:
    assert diff_trees(tree, copy.deepcopy(tree)) == []


@given(trees, trees)
def test_applying_the_changes_gives_the_new_tree(old: Any, new: Any) -> None:
    changes = diff_trees(old, new)
    assert same(apply(old, changes), new)
    assert (changes == []) is same(old, new)


@given(st.dictionaries(keys, trees, max_size=3), st.data())
def test_small_edits_of_one_tree(old: dict[str, Any], data: st.DataObject) -> None:
    new = copy.deepcopy(old)
    for _ in range(data.draw(st.integers(0, 4))):
        place: Any = new
        while isinstance(place, dict | list) and place and data.draw(st.booleans()):
            place = place[data.draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))]
        if isinstance(place, dict):
            place[data.draw(keys)] = data.draw(trees)
        elif isinstance(place, list):
            place.insert(data.draw(st.integers(0, len(place))), data.draw(trees))
    assert same(apply(old, diff_trees(old, new)), new)


def test_paths_people_can_read() -> None:
    old = {"patient": {"name": [{"text": "A"}], "id": "1"}, "odd key": {"x": 1}}
    new = {"patient": {"name": [{"text": "B"}], "sex": "M"}, "odd key": {"x": True}}
    assert {(c.path, c.kind, c.old, c.new) for c in diff_trees(old, new)} == {
        ("patient.name[0].text", "changed", "A", "B"),
        ("patient.id", "removed", "1", None),
        ("patient.sex", "added", None, "M"),
        ('$["odd key"].x', "changed", 1, True),
    }
    assert diff_trees(1, "1") == [Change("$", "changed", 1, "1")]
    assert diff_trees([1], [2]) == [Change("$[0]", "changed", 1, 2)]


def test_one_inserted_entry_is_one_change() -> None:
    assert diff_trees([1, 2, 3, 4], [1, 9, 2, 3, 4]) == [Change("$[1]", "added", None, 9)]
    assert diff_trees([1, 2, 3, 4], [1, 2, 4]) == [Change("$[2]", "removed", 3, None)]


def test_decimals_count_as_written_and_nan_equals_itself() -> None:
    assert diff_trees(Decimal("1.10"), Decimal("1.10")) == []
    assert len(diff_trees(Decimal("1.10"), Decimal("1.1"))) == 1
    assert diff_trees(float("nan"), float("nan")) == []


def test_deep_trees_do_not_exhaust_the_stack() -> None:
    old: Any = 1
    new: Any = 2
    for _ in range(100_000):
        old, new = [old], [new]
    (change,) = diff_trees(old, new)
    assert (change.old, change.new) == (1, 2)
    while isinstance(old, list):  # taken apart level by level: the interpreter would recurse to free them
        old, new = old[0], new[0]


# -- json ------------------------------------------------------------------------------------------------------------


@given(trees)
def test_json_layout_does_not_count(tree: Any) -> None:
    one = json.dumps(tree, ensure_ascii=False).encode()
    other = json.dumps(tree, indent=2, sort_keys=True).encode()
    assert diff_bytes(one, other, "json") == []


def test_json_numbers_count_as_written() -> None:
    old = b'{"a": 1.10, "b": 12345678901234567890, "c": 1e400, "d": 1, "e": 0.5}'
    new = b'{"a": 1.1, "b": 12345678901234567891, "c": 1e401, "d": 1.0, "e": 0.5}'
    changes = diff_bytes(old, new, "json")
    assert {(c.path, c.old, c.new) for c in changes} == {
        ("a", "1.10", 1.1),
        ("b", "12345678901234567890", "12345678901234567891"),
        ("c", "1e400", "1e401"),
        ("d", 1, 1.0),
    }
    assert diff_bytes(b"[1.10]", b'["1.10"]', "json") != []


def test_bytes_that_are_no_json_are_compared_as_text() -> None:
    assert diff_bytes(b'{"a": 1}\n', b'{"a": 2\n', "json") == [Change("line 1", "changed", '{"a": 1}\n', '{"a": 2\n')]
    deep = b"[" * 100_000
    assert diff_bytes(deep, deep + b"[", "json") == [Change("line 1 characters 100001", "added", None, "[")]


# -- hl7v2 -----------------------------------------------------------------------------------------------------------

ADT = (
    b"MSH|^~\\&|HIS|A|HUB|B|20261121100000||ADT^A01|1|P|2.5\r"
    b"PID|1||123^^^H&1.2.3&ISO^PI~456^^^H||ZHANG^SAN||19830502|M\r"
    b"OBX|1|NM|GLU||5.1\r"
    b"OBX|2|NM|NA||140\r"
)


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        (b"SAN", b"SI", Change("PID-5.2", "changed", "SAN", "SI")),
        (b"|M\r", b"|F\r", Change("PID-8", "changed", "M", "F")),
        (b"|M\r", b"\r", Change("PID-8", "removed", "M", None)),
        (b"|M\r", b"|M||X\r", Change("PID-10", "added", None, "X")),
        (b"|M\r", b'|""\r', Change("PID-8", "changed", "M", '""')),
        (b"1.2.3", b"1.2.4", Change("PID-3.4.2", "changed", "1.2.3", "1.2.4")),
        (b"~456", b"~457", Change("PID-3[2].1", "changed", "456", "457")),
        (b"|5.1", b"|5.2", Change("OBX-5", "changed", "5.1", "5.2")),
        (b"|140", b"|141", Change("OBX[2]-5", "changed", "140", "141")),
        (b"|2.5\r", b"|2.4\r", Change("MSH-12", "changed", "2.5", "2.4")),
        (b"A01", b"A04", Change("MSH-9.2", "changed", "A01", "A04")),
        (b"OBX|1|NM|GLU||5.1\r", b"", Change("OBX", "removed", "OBX|1|NM|GLU||5.1", None)),
        (b"OBX|2|NM|NA||140\r", b"", Change("OBX[2]", "removed", "OBX|2|NM|NA||140", None)),
        (b"PID|", b"EVN|A01\rPID|", Change("EVN", "added", None, "EVN|A01")),
    ],
)
def test_one_changed_field(old: bytes, new: bytes, change: Change) -> None:
    assert diff_bytes(ADT, ADT.replace(old, new, 1), "hl7v2") == [change]


def test_order_of_segments_counts() -> None:
    lines = ADT.split(b"\r")
    moved = b"\r".join([lines[0], lines[2], lines[1], *lines[3:]])
    assert diff_bytes(ADT, moved, "hl7v2") == [Change("segments", "changed", "MSH PID OBX OBX", "MSH OBX PID OBX")]


@pytest.mark.parametrize(
    "other",
    [
        ADT.replace(b"\r", b"\n"),
        ADT.replace(b"\r", b"\r\n"),
        b"\x0b" + ADT + b"\x1c\r",
        ADT.rstrip(b"\r"),
        ADT.replace(b"|M\r", b"|M|||\r"),
    ],
)
def test_line_ends_framing_and_empty_trailing_fields_do_not_count(other: bytes) -> None:
    assert diff_bytes(ADT, other, "hl7v2") == []


def test_other_separators_with_the_same_content() -> None:
    other = ADT.replace(b"^~\\&", b"!~\\&").replace(b"^", b"!")
    assert diff_bytes(ADT, other, "hl7v2") == [Change("MSH-2", "changed", "^~\\&", "!~\\&")]


def test_second_header_of_a_batch_is_read_as_one() -> None:
    batch = b"FHS|^~\\&|A\r" + ADT + ADT
    (change,) = diff_bytes(batch, batch[: -len(ADT)] + ADT.replace(b"|HUB|", b"|BUS|"), "hl7v2")
    assert change == Change("MSH[2]-5", "changed", "HUB", "BUS")


def test_chinese_in_either_encoding() -> None:
    old = ADT.replace(b"SAN", "三".encode("gb18030"))
    assert diff_bytes(old, old.replace("三".encode("gb18030"), "四".encode("gb18030")), "hl7v2") == [
        Change("PID-5.2", "changed", "三", "四")
    ]
    assert diff_bytes(ADT.replace(b"SAN", "三".encode()), old, "hl7v2") == []


def test_bytes_that_are_no_hl7_are_compared_as_text() -> None:
    assert diff_bytes(b"PID|1", b"PID|2", "hl7v2") == [Change("line 1", "changed", "PID|1", "PID|2")]
    assert diff_bytes(b"MSH", ADT[:20], "hl7v2") != []


values = st.text("ABC19", max_size=3)
positions = st.tuples(st.integers(3, 8), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2))


def hl7(fields: dict[tuple[int, int, int, int], str]) -> bytes:
    """A message with a PID whose values stand at (field, repetition, component, subcomponent)."""
    texts = []
    for field in range(1, 9):
        repetitions = []
        for repetition in range(1, 4):
            components = [
                "&".join(fields.get((field, repetition, component, sub), "") for sub in (1, 2))
                for component in (1, 2, 3)
            ]
            repetitions.append("^".join(components))
        texts.append("~".join(repetitions))
    return ("MSH|^~\\&|A\rPID|" + "|".join(texts) + "\r").encode()


@given(st.dictionaries(positions, values), st.dictionaries(positions, values))
def test_every_position_that_differs_is_named_and_no_other(
    old: dict[tuple[int, int, int, int], str], new: dict[tuple[int, int, int, int], str]
) -> None:
    def path(at: tuple[int, int, int, int]) -> str:
        field, repetition, component, sub = at
        return f"PID-{field}{f'[{repetition}]' if repetition > 1 else ''}.{component}.{sub}"

    expected = {
        path(at): (old.get(at) or None, new.get(at) or None)
        for at in old.keys() | new.keys()
        if old.get(at, "") != new.get(at, "")
    }
    changes = diff_bytes(hl7(old), hl7(new), "hl7v2")
    assert {c.path: (c.old, c.new) for c in changes} == expected
    assert len(changes) == len(expected)


@given(st.binary(max_size=60), st.binary(max_size=60), st.sampled_from(["hl7v2", "json", "xml", "fhir"]))
def test_hostile_bytes(old: bytes, new: bytes, codec: str) -> None:
    for head in (b"", b"MSH|^~\\&|", b"MSH", b"[1,"):
        assert diff_bytes(head + old, head + old, codec) == []
        for change in diff_bytes(head + old, head + new, codec):
            assert repr(change.old) != repr(change.new)
            if change.kind == "added":
                assert change.old is None
            if change.kind == "removed":
                assert change.new is None


# -- anything else ---------------------------------------------------------------------------------------------------


def test_lines() -> None:
    assert diff_bytes(b"a\nb\nc\n", b"a\nX\nc\n", "csv") == [Change("line 2", "changed", "b\n", "X\n")]
    assert diff_bytes(b"a\nb\n", b"a\nX\nb\n", "csv") == [Change("line 2", "added", None, "X\n")]
    assert diff_bytes(b"a\nX\nY\nb\n", b"a\nb\n", "csv") == [Change("lines 2-3", "removed", "X\nY\n", None)]
    assert diff_bytes(b"a\nb\nc\n", b"X\nb\nY\n", "csv") == [
        Change("line 1", "changed", "a\n", "X\n"),
        Change("line 3", "changed", "c\n", "Y\n"),
    ]


def test_long_lines_are_narrowed_down() -> None:
    old = "<a>" + "x" * 300 + "旧" + "y" * 300
    assert diff_bytes(old.encode(), old.replace("旧", "新的").encode(), "xml") == [
        Change("line 1 characters 304", "changed", "旧", "新的")
    ]


def test_binary() -> None:
    assert diff_bytes(b"\xff\x00\x01\x02", b"\xff\x00\x07\x08", "dicom") == [
        Change("bytes 2-3", "changed", "01 02", "07 08")
    ]
    assert diff_bytes(b"\xff\x00", b"\xff\x00\x09", "dicom") == [Change("bytes 2", "added", None, "09")]
    (change,) = diff_bytes(b"\xff", b"\xff" + b"\xfe" * 1000, "dicom")
    assert change.new.endswith(" … (1000)")


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_a_difference_is_never_silent(old: bytes, new: bytes) -> None:
    assert (diff_bytes(old, new, "dicom") == []) is (old == new)
