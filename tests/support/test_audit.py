"""hub.audit: SM3 against the published vectors, and every way of tampering with the trail."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.audit import GENESIS, ChainCheck, canonical, chain_hash, entry, sm3, verify
from hub.i18n import language, set_language

VECTORS = [
    # GB/T 32905-2016, appendix A: examples 1 and 2
    (b"abc", "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"),
    (b"abcd" * 16, "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"),
    # draft-sca-cfrg-sm3: the empty message
    (b"", "1ab21d8355cfa17f8e61194831e81a8f22bec8c728fefb747ed035eb5082aa2b"),
]


@pytest.fixture(autouse=True)
def english() -> Any:
    before = language()
    set_language("en")
    yield
    set_language(before)


@pytest.mark.parametrize(("data", "digest"), VECTORS)
def test_published_vectors(data: bytes, digest: str) -> None:
    assert sm3(data) == digest


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_canonical_is_one_text_whatever_the_order(value: dict[str, Any]) -> None:
    text = canonical(value)
    assert canonical(dict(reversed(value.items()))) == text
    assert canonical(json.loads(text)) == text
    assert json.loads(text) == value


def test_canonical_details() -> None:
    assert canonical({"b": "张", "a": [1, None]}) == '{"a":[1,null],"b":"张"}'
    assert canonical({"a": "\ud800"}) == '{"a":"\\ud800"}'
    with pytest.raises(ValueError, match="Out of range"):
        canonical({"a": float("nan")})
    with pytest.raises(TypeError):
        canonical({"a": object()})


def test_chain_hash_is_sm3_over_previous_hash_and_entry() -> None:
    assert chain_hash("", "{}") == chain_hash(GENESIS, "{}") == sm3(b"0" * 64 + b"{}")
    assert chain_hash("ab" * 32, '{"a":"张"}') == sm3(b"ab" * 32 + '{"a":"张"}'.encode())


def test_entry_masks_what_people_write() -> None:
    made = entry(
        "li",
        "delivery.resend",
        "01K3A9BCDEFGH",
        {"姓名": "张三丰", "phone": ["13812345678"], "password": "hunter2", "count": 3, "more": {"name": "张三"}},
        "病人 11010519491231002X 打电话来",
    )
    assert made["actor"] == "li"
    assert made["action"] == "delivery.resend"
    assert made["subject"] == "01K3A9BCDEFGH"
    assert made["detail"] == {
        "姓名": "张*丰",
        "phone": ["138****5678"],
        "password": "***",
        "count": 3,
        "more": {"name": "张*"},
    }
    assert made["reason"] == "病人 110***********002X 打电话来"
    assert isinstance(made["at"], int)
    assert entry("a", "b", "c")["detail"] == ""


def trail(count: int) -> list[dict[str, Any]]:
    rows, previous = [], ""
    for seq in range(1, count + 1):
        text = canonical({"at": seq * 1_000_000, "actor": "li", "action": "x", "subject": str(seq)})
        previous = chain_hash(previous, text)
        rows.append({"seq": seq, "at": seq * 1_000_000 + 500, "entry": text, "hash": previous})
    return rows


def test_sound_trails() -> None:
    assert verify([]) == []
    assert verify(trail(1)) == []
    assert verify(trail(50)) == []
    assert verify([{**row, "entry": json.loads(row["entry"])} for row in trail(5)]) == []


def test_altered_entry() -> None:
    rows = trail(5)
    rows[2]["entry"] = rows[2]["entry"].replace("li", "wu")
    assert len(problems := verify(rows)) == 1
    assert problems[0].startswith("entry 3 does not match its hash")


def test_altered_hash_is_blamed_on_its_own_entry_only() -> None:
    rows = trail(5)
    rows[2]["hash"] = "0" * 64
    assert len(problems := verify(rows)) == 1
    assert "entry 3" in problems[0]


def test_altered_entry_with_a_hash_made_to_fit() -> None:
    rows = trail(5)
    rows[2]["entry"] = rows[2]["entry"].replace("li", "wu")
    rows[2]["hash"] = chain_hash(rows[1]["hash"], rows[2]["entry"])
    assert len(problems := verify(rows)) == 1
    assert "entry 4" in problems[0]
    assert "what stood before it" in problems[0]


def test_removed_entries() -> None:
    rows = trail(6)
    assert verify(rows[:2] + rows[3:]) == ["entry 3 is missing"]
    assert verify(rows[:1] + rows[4:]) == ["entries 2 to 4 are missing"]
    assert verify(rows[1:]) == ["entry 1 is missing"]


def test_removed_entry_with_numbers_closed_up() -> None:
    rows = trail(6)
    rest = rows[:2] + [{**row, "seq": row["seq"] - 1} for row in rows[3:]]
    assert len(problems := verify(rest)) == 1
    assert "entry 3 does not match" in problems[0]


def test_reordered_and_repeated_entries() -> None:
    rows = trail(4)
    assert any("entry 2 stands after entry 3" in p for p in verify([rows[0], rows[2], rows[1], rows[3]]))
    assert verify([rows[0], rows[0]]) == ["entry 1 stands after entry 1: repeated or moved"]
    swapped = [rows[0], {**rows[2], "seq": 2}, {**rows[1], "seq": 3}, rows[3]]
    assert any("entry 2 does not match" in p for p in verify(swapped))


def test_cut_off_end_shows_against_a_head_kept_elsewhere() -> None:
    rows = trail(5)
    head = (5, rows[4]["hash"])
    assert verify(rows, head) == []
    assert verify(rows[:4]) == []
    assert len(problems := verify(rows[:4], head)) == 1
    assert "ends at entry 4, it should end at 5" in problems[0]
    assert verify([], (0, "")) == []


def test_altered_time_column() -> None:
    rows = trail(3)
    rows[1]["at"] += 3600 * 1_000_000
    assert len(problems := verify(rows)) == 1
    assert "time of entry 2" in problems[0]


@pytest.mark.parametrize(
    "damaged",
    [{}, {"seq": None}, {"seq": 2, "hash": 7, "entry": "{}"}, {"seq": 2, "hash": "x", "entry": None}],
)
def test_damaged_rows_are_told_not_raised(damaged: dict[str, Any]) -> None:
    rows = trail(3)
    problems = verify([rows[0], damaged, rows[2]])
    assert "the row after number 1 is damaged" in problems[0]


def test_entry_that_is_no_object() -> None:
    assert verify([{"seq": 1, "at": 0, "entry": "[]", "hash": chain_hash("", "[]")}]) == [
        "entry 1 is not a JSON object"
    ]
    assert verify([{"seq": 1, "at": 0, "entry": "x", "hash": chain_hash("", "x")}]) == ["entry 1 is not a JSON object"]


def test_checking_may_begin_in_the_middle() -> None:
    rows = trail(10)
    check = ChainCheck(after=4, previous=rows[3]["hash"])
    for row in rows[4:]:
        check.add(row)
    assert check.finish((10, rows[9]["hash"])) == []


def test_number_of_problems_is_bounded() -> None:
    problems = verify([{}] * 5000)
    assert len(problems) == 1001
    assert problems[-1] == "further problems are not listed"


@given(st.integers(2, 12), st.data())
def test_any_single_change_is_found(count: int, data: st.DataObject) -> None:
    rows = trail(count)
    head = (count, rows[-1]["hash"])
    place = data.draw(st.integers(0, count - 1))
    what = data.draw(st.sampled_from(["entry", "hash", "drop", "swap", "copy"]))
    row = rows[place]
    if what == "entry":
        at = data.draw(st.integers(0, len(row["entry"]) - 1))
        letter = "~" if row["entry"][at] != "~" else "!"
        row["entry"] = row["entry"][:at] + letter + row["entry"][at + 1 :]
    elif what == "hash":
        at = data.draw(st.integers(0, 63))
        row["hash"] = row["hash"][:at] + ("0" if row["hash"][at] != "0" else "1") + row["hash"][at + 1 :]
    elif what == "drop":
        del rows[place]
    elif what == "swap":
        other = (place + 1) % count
        rows[place], rows[other] = rows[other], rows[place]
    else:
        rows.insert(place, dict(row))
    assert verify(rows, head)
