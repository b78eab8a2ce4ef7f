"""Rows as JSON, marks, paths: exact, and the same again."""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.sql.marks import dump_values, earlier, load_values, parse
from adapters.sql.paths import Path
from adapters.sql.rows import JsonWriter, key_text, plain_bytes
from hub.api import HubError

DUMP = JsonWriter(ZoneInfo("Asia/Shanghai")).dump


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Decimal("12345678901234567890.1200"), "12345678901234567890.1200"),
        (Decimal("1E+3"), "1000"),
        (Decimal("NaN"), "null"),
        (float("inf"), "null"),
        (10**30, "1" + "0" * 30),
        (-(2**63) - 1, "-9223372036854775809"),
        (datetime(2026, 1, 15, 9, 30, 15), '"2026-01-15T09:30:15+08:00"'),
        (datetime(2026, 1, 15, 9, 30, 15, 250000, UTC), '"2026-01-15T17:30:15.250000+08:00"'),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), '"0001-01-01T00:00:00+14:00"'),
        (date(2026, 1, 15), '"2026-01-15"'),
        (time(9, 5), '"09:05:00"'),
        (timedelta(hours=-30, seconds=-1), '"-30:00:01"'),
        (timedelta(seconds=1, microseconds=5), '"00:00:01.000005"'),
        (b"\x00\xff", '"AP8="'),
        (memoryview(b"a"), '"YQ=="'),
        (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (True, "true"),
        (None, "null"),
        ("张三\n", '"张三\\n"'),
        ("\ud800", '"?"'),
        ([{"a": Decimal("1.10")}], '[{"a":1.10}]'),
    ],
)
def test_values(value: Any, written: str) -> None:
    assert DUMP({"v": value}).decode() == f'{{"v":{written}}}'


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(),
    st.binary(),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30),
    st.datetimes(timezones=st.none() | st.just(UTC), min_value=datetime(1902, 1, 1), max_value=datetime(9000, 1, 1)),
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), VALUES))
def test_a_row_can_be_read_back(row: dict[str, Any]) -> None:
    found = json.loads(DUMP(row), parse_float=Decimal)
    assert found.keys() == row.keys()
    for name, value in row.items():
        back = found[name]
        if isinstance(value, bytes):
            assert base64.b64decode(back) == value
        elif isinstance(value, datetime):
            zone = ZoneInfo("Asia/Shanghai")
            assert datetime.fromisoformat(back) == (value if value.tzinfo else value.replace(tzinfo=zone))
        else:
            assert back == value


def test_a_message_in_a_column() -> None:
    assert plain_bytes(None, "") == b""
    assert plain_bytes(memoryview(b"MSH|"), "") == b"MSH|"
    assert plain_bytes("张", "gb18030") == "张".encode("gb18030")


MARKS = st.one_of(
    st.text(), st.integers(), st.decimals(allow_nan=False), st.floats(allow_nan=False), st.binary(), st.dates(),
    st.datetimes(timezones=st.none() | st.just(UTC)), st.times(), st.uuids(),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(MARKS))
def test_a_mark_comes_back_with_type_and_digits(values: list[Any]) -> None:
    found = load_values(json.loads(json.dumps(dump_values(values))))
    assert list(found) == values
    assert [type(each) for each in found] == [type(each) for each in values]


@pytest.mark.parametrize("value", [None, True, [1], object()])
def test_what_can_not_mark_a_place(value: Any) -> None:
    with pytest.raises(HubError):
        dump_values([value])


def test_a_damaged_mark_says_so() -> None:
    assert parse("") == {}
    for text in ("{", "[]", "x"):
        with pytest.raises(HubError):
            parse(text)


def test_an_earlier_time() -> None:
    assert earlier(datetime(2026, 1, 1), 60) == datetime(2025, 12, 31, 23, 59)
    assert earlier(date(2026, 1, 2), 60) == date(2026, 1, 1)
    assert earlier("2026-01-01 00:00:00", 1) == "2025-12-31 23:59:59"
    assert earlier("2026-01-01T00:00:00.5", 1) == "2025-12-31T23:59:59.500000"
    assert earlier("2026-01-02", 1) == "2026-01-01"
    for value in ("yesterday", 7, b"x"):
        with pytest.raises(HubError):
            earlier(value, 1)


@given(st.lists(st.text(), min_size=1), st.lists(st.text(), min_size=1))
def test_different_keys_have_different_texts(one: list[str], other: list[str]) -> None:
    assert (key_text(one) == key_text(other)) is (one == other)


def test_paths() -> None:
    body = {"a": {"b": [{"c": 1}, None]}, "患者": {"id": 7}}
    row = body["a"]
    assert Path("b[0].c").get(row, body) == 1
    assert Path("$.患者.id").get(row, body) == 7
    assert Path("$").get(row, body) is body
    assert Path("").get(row, body) is row
    assert Path("[1]").get([1, 2], body) == 2
    for missing in ("b[5].c", "b.c", "x.y", "b[1].c", "$[0]"):
        assert Path(missing).get(row, body) is None
    for wrong in ("a..b", "a[", "a[x]", "a]b", ".", "a.", "a[1]b"):
        with pytest.raises(ValueError):
            Path(wrong)
