"""Records of fixed width: by bytes and by characters, numbers, types of records, strict writing."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hub.codecs import records as records_module
from hub.codecs.fixed_codec import FixedCodec
from hub.codecs.fixed_layout import MAX_LENGTH, FixedFormat
from hub.errors import CodecError

PERSON = [
    {"name": "id", "length": 6},
    {"name": "name", "length": 8},
    {"name": "amount", "length": 9, "type": "number", "decimals": 2},
    {"name": "count", "length": 4, "type": "number"},
]
TYPES = {
    "header": [{"name": "kind", "length": 1, "value": "H"}, {"name": "date", "length": 8}],
    "detail": [
        {"name": "kind", "length": 1, "value": "D"},
        {"name": "no", "length": 5, "align": "right"},
        {"name": "sum", "length": 8, "type": "number", "decimals": 2},
    ],
    "trailer": [{"name": "kind", "length": 1, "value": "T"}, {"name": "lines", "length": 6, "type": "number"}],
}


def codec(fields: Any = None, **options: Any) -> FixedCodec:
    given = {"fields": PERSON if fields is None and "records" not in options else fields or [], **options}
    return FixedCodec().configured(FixedFormat.model_validate(given))


def one(fields: list[dict[str, Any]], line: str, **options: Any) -> Any:
    (row,) = codec(fields, **options).decode(line.encode())["rows"]
    return row


def failed(error: pytest.ExceptionInfo[CodecError]) -> tuple[str, str]:
    return error.value.code, str(error.value)


# -- reading ---------------------------------------------------------------------------------------------------------


def test_by_bytes() -> None:
    raw = "000123张三丰  000012550  42\r\n00X   Li      -00000005    \r\n".encode("gbk")
    assert codec().decode(raw, encoding="gbk") == {
        "rows": [
            {"id": "000123", "name": "张三丰", "amount": Decimal("125.50"), "count": 42},
            {"id": "00X", "name": "Li", "amount": Decimal("-0.05"), "count": None},
        ]
    }


def test_by_characters() -> None:
    raw = "000123张三丰     000012550  42\n".encode()
    assert codec(by="characters").decode(raw)["rows"][0]["name"] == "张三丰"
    assert codec(by="characters").decode(raw.decode().encode("gb18030"), encoding="gbk") == codec(
        by="characters"
    ).decode(raw)


@pytest.mark.parametrize(("encoding", "cut"), [("gbk", 8), ("gb18030", 8), ("utf-8", 8), ("big5", 8)])
def test_half_a_character_at_the_end_is_dropped(encoding: str, cut: int) -> None:
    name = "a中文中文中"
    data = name.encode(encoding)[:cut]
    raw = b"000001" + data + b"000000100   1\n"
    (row,) = codec().decode(raw, encoding=encoding)["rows"]
    assert row["name"] == data.decode(encoding, "ignore")
    # The same where blanks follow the half.
    raw = b"000001" + data[:-1] + b" " + b"000000100   1\n"
    if len(data[:-1].decode(encoding, "ignore").encode(encoding)) != len(data) - 1:
        assert codec().decode(raw, encoding=encoding)["rows"][0]["name"] == data[:-1].decode(encoding, "ignore")


def test_bytes_that_fit_no_character_are_refused() -> None:
    raw = b"000001\xff\xff\xff\xff\xff\xff\xff\xff000000100   1\n"
    with pytest.raises(CodecError) as caught:
        codec().decode(b"000001abcdefgh000000100   1\n" + raw, encoding="gbk")
    assert failed(caught) == ("fixed.value", "line 2 field name: the bytes are not gb18030")
    with pytest.raises(CodecError) as caught:
        codec().decode("000001张三    000000100   1\n".encode("gbk"))
    assert caught.value.code == "fixed.value"


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ({}, "ab   ", "ab"),
        ({}, " ab  ", " ab"),
        ({}, "     ", None),
        ({"align": "right"}, "   ab", "ab"),
        ({"align": "right", "pad": "0"}, "00123", "123"),
        ({"pad": "*"}, "ab***", "ab"),
        ({"type": "number"}, "00123", 123),
        ({"type": "number"}, "  123", 123),
        ({"type": "number"}, "123  ", 123),
        ({"type": "number"}, "+0123", 123),
        ({"type": "number"}, "-0123", -123),
        ({"type": "number"}, "0123-", -123),
        ({"type": "number", "pad": "*"}, "**123", 123),
        ({"type": "number"}, "00000", 0),
        ({"type": "number"}, "     ", None),
        ({"type": "number", "decimals": 2}, "00005", Decimal("0.05")),
        ({"type": "number", "decimals": 2}, "00000", Decimal("0.00")),
        ({"type": "number", "decimals": 5}, "    7", Decimal("0.00007")),
        ({"type": "number", "decimals": 2}, "1234-", Decimal("-12.34")),
    ],
)
def test_fields(field: dict[str, Any], text: str, value: Any) -> None:
    row = one([{"name": "x", "length": 5, **field}], text + "\n")
    assert row == {"x": value}
    assert type(row["x"]) is type(value)


@pytest.mark.parametrize("text", ["12.50", "1 2 3", "12a45", "--123", "+12-3", "+123-", "    -", "１２３"])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(CodecError) as caught:
        codec([{"name": "x", "length": 5, "type": "number"}], short_rows="fill", by="characters").decode(text.encode())
    assert failed(caught) == ("fixed.value", "line 1 field x: not a number")


def test_fillers_and_positions() -> None:
    fields = [{"name": "a", "length": 2}, {"length": 2}, {"name": "b", "start": 7, "length": 2}]
    one_codec = codec(fields, length=10, line_end="lf")
    assert one_codec.decode(b"AA..  BB..\n")["rows"] == [{"a": "AA", "b": "BB"}]
    assert one_codec.encode([{"a": "x", "b": "y"}]) == b"x     y   \n"


def test_types_of_records() -> None:
    raw = b"H20260115\r\nD   1200001250\r\nD    X-0000099\r\nT000002\r\n"
    one_codec = codec(records=TYPES)
    tree = one_codec.decode(raw)
    assert tree == {
        "rows": [
            {"record": "header", "kind": "H", "date": "20260115"},
            {"record": "detail", "kind": "D", "no": "12", "sum": Decimal("12.50")},
            {"record": "detail", "kind": "D", "no": "X", "sum": Decimal("-0.99")},
            {"record": "trailer", "kind": "T", "lines": 2},
        ]
    }
    assert codec(records=TYPES).encode(tree) == raw
    for row in tree["rows"]:
        del row["kind"]  # what always stands there need not be given
    assert one_codec.encode(tree) == raw
    with pytest.raises(CodecError) as caught:
        one_codec.decode(b"H20260115\r\n\r\nX\r\n")
    assert failed(caught) == ("fixed.record", "line 3: none of the types of records header, detail, trailer")


def test_a_last_type_may_take_all_others() -> None:
    records = {"header": TYPES["header"], "line": [{"name": "text", "length": 3}]}
    rows = codec(records=records).decode(b"H20260115\nabc\n")["rows"]
    assert [row["record"] for row in rows] == ["header", "line"]


def test_a_constant_in_the_only_type() -> None:
    fields = [{"name": "version", "length": 2, "value": "01"}, {"length": 1, "value": "#"}, {"name": "x", "length": 1}]
    assert one(fields, "01#a\n") == {"version": "01", "x": "a"}
    for line, field in (("02#a", "version"), ("01-a", "#")):
        with pytest.raises(CodecError) as caught:
            codec(fields).decode(line.encode())
        assert failed(caught) == ("fixed.record", f"line 1 field {field}: not what must stand here")


def test_a_constant_in_another_character_set() -> None:
    fields = [{"name": "kind", "length": 4, "value": "入"}, {"name": "x", "length": 2}]
    one_codec = codec(fields, line_end="lf")
    raw = "入  ab\n".encode("gbk")
    assert one_codec.decode(raw, encoding="gbk")["rows"] == [{"kind": "入", "x": "ab"}]
    assert codec(fields, line_end="lf").encode([{"x": "ab"}], encoding="gbk") == raw
    with pytest.raises(CodecError) as caught:
        one_codec.decode(raw, encoding="latin-1")
    assert caught.value.code == "fixed.charset"


def test_records_that_follow_one_another() -> None:
    fields = [{"name": "a", "length": 3}, {"name": "b", "length": 2, "type": "number"}]
    one_codec = codec(fields, line_end="none")
    assert one_codec.decode(b"abc01x  02")["rows"] == [{"a": "abc", "b": 1}, {"a": "x", "b": 2}]
    assert one_codec.decode(b"abc01\r\n\x1a")["rows"] == [{"a": "abc", "b": 1}]
    assert one_codec.encode([{"a": "abc", "b": 1}, {"a": "x"}]) == b"abc01x    "
    with pytest.raises(CodecError) as caught:
        one_codec.decode(b"abc01abc")
    assert failed(caught) == ("fixed.length", "record 2: length 3 instead of 5")
    with pytest.raises(CodecError) as caught:
        one_codec.decode(b"abc01abcXX")
    assert failed(caught) == ("fixed.value", "record 2 field b: not a number")


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_lines(end: bytes) -> None:
    fields = [{"name": "a", "length": 3}]
    raw = end.join((b"", b"abc", b"", b"x  ", b"\x1a"))
    assert codec(fields).decode(raw)["rows"] == [{"a": "abc"}, {"a": "x"}]
    with pytest.raises(CodecError) as caught:
        codec(fields).decode(end.join((b"abc", b"", b"", b"x")))
    assert failed(caught) == ("fixed.length", "line 4: length 1 instead of 3")
    filling = codec(fields, short_rows="fill")
    assert filling.decode(end.join((b"x", b"abc   ")))["rows"] == [{"a": "x"}, {"a": "abc"}]
    with pytest.raises(CodecError):
        filling.decode(b"abcd")


def test_a_byte_order_mark() -> None:
    assert codec([{"name": "a", "length": 3}]).decode(b"\xef\xbb\xbfabc\n")["rows"] == [{"a": "abc"}]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32-le", "iso2022_jp", "utf-7", "cp037", "no such", "hex"])
def test_sets_in_which_bytes_can_not_be_counted(encoding: str) -> None:
    with pytest.raises(CodecError) as caught:
        codec().decode(b"", encoding=encoding)
    assert caught.value.code == "fixed.charset"


def test_nothing_without_a_layout() -> None:
    for call in (lambda: FixedCodec().decode(b"a"), lambda: FixedCodec().encode([{"a": 1}])):
        with pytest.raises(CodecError) as caught:
            call()
        assert (caught.value.code, bool(caught.value.remedy)) == ("fixed.layout", True)


# -- writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ({}, "ab", "ab   "),
        ({}, None, "     "),
        ({}, 123, "123  "),
        ({}, Decimal("1.50"), "1.50 "),
        ({"align": "right"}, "ab", "   ab"),
        ({"align": "right", "pad": "0"}, "12", "00012"),
        ({"type": "number"}, 123, "00123"),
        ({"type": "number"}, "123", "00123"),
        ({"type": "number"}, 12.0, "00012"),
        ({"type": "number"}, -12, "-0012"),
        ({"type": "number"}, 0, "00000"),
        ({"type": "number"}, None, "     "),
        ({"type": "number"}, "", "     "),
        ({"type": "number", "pad": " "}, -12, "  -12"),
        ({"type": "number", "align": "left"}, 12, "12   "),
        ({"type": "number", "decimals": 2}, Decimal("12.5"), "01250"),
        ({"type": "number", "decimals": 2}, "12.500", "01250"),
        ({"type": "number", "decimals": 2}, 0.29, "00029"),
        ({"type": "number", "decimals": 2}, Decimal("-0.00"), "00000"),
        ({"type": "number", "decimals": 2}, Decimal("1E+1"), "01000"),
    ],
)
def test_writing_fields(field: dict[str, Any], value: Any, text: str) -> None:
    for by in ("bytes", "characters"):
        one_codec = codec([{"name": "x", "length": 5, **field}], by=by)
        assert one_codec.encode({"rows": [{"x": value}]}).decode() == text + "\r\n"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"name": "张三丰张三"}, "row 2 field name: the value is 10 long, the field 8"),
        ({"amount": Decimal("10000000")}, "row 2 field amount: the value is 10 long, the field 9"),
        ({"amount": Decimal("0.005")}, "row 2 field amount: more than 2 decimals"),
        ({"count": 10000}, "row 2 field count: the value is 5 long, the field 4"),
        ({"count": -1000}, "row 2 field count: the value is 5 long, the field 4"),
        ({"count": True}, "row 2 field count: not a number"),
        ({"count": "x"}, "row 2 field count: not a number"),
        ({"count": float("inf")}, "row 2 field count: not a number that can be written"),
        ({"count": [1]}, "row 2 field count: not a number"),
        ({"name": "a\nb"}, "row 2 field name: the value holds a line end"),
        ({"name": ["a"]}, "row 2 field name: text is needed, this is of type list"),
        ({"name": "㐀"}, "row 2 field name: a character can't be written in gbk"),
    ],
)
def test_what_does_not_fit(row: dict[str, Any], message: str) -> None:
    with pytest.raises(CodecError) as caught:
        codec().encode([{}, row], encoding="gbk")
    assert failed(caught) == ("fixed.value", message)


def test_rows_that_are_no_records() -> None:
    for tree, code in (({}, "fixed.tree"), ([1], "fixed.tree"), ([{"nme": "x"}], "fixed.column")):
        with pytest.raises(CodecError) as caught:
            codec().encode(tree)
        assert caught.value.code == code
    for row in ({"date": "x"}, {"record": "other"}, {"record": "header", "kind": "X"}):
        with pytest.raises(CodecError) as caught:
            codec(records=TYPES).encode([row])
        assert caught.value.code in ("fixed.record", "fixed.value")


# -- layouts that are wrong --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fields": PERSON, "records": TYPES},
        {"fields": [{"name": "a", "length": 0}]},
        {"fields": [{"name": "a", "length": MAX_LENGTH}, {"name": "b", "length": 1}]},
        {"fields": [{"name": "a", "length": 2}, {"name": "a", "length": 2}]},
        {"fields": [{"name": "a", "length": 2}, {"name": "b", "start": 2, "length": 2}]},
        {"fields": [{"name": "a", "length": 2, "decimals": 1}]},
        {"fields": [{"name": "a", "length": 2, "type": "number", "value": "1"}]},
        {"fields": [{"name": "a", "length": 2, "type": "number", "pad": "x"}]},
        {"fields": [{"name": "a", "length": 2, "type": "number", "align": "left", "pad": "0"}]},
        {"fields": [{"name": "a", "length": 2, "pad": "中"}]},
        {"fields": [{"name": "a", "length": 2, "value": "abc"}]},
        {"fields": [{"name": "a", "length": 2}], "length": 1},
        {"records": {"a": [{"name": "x", "length": 1}], "b": [{"name": "x", "length": 1, "value": "b"}]}},
        {"records": {"a": [{"name": "record", "length": 1, "value": "a"}]}},
        {"records": {"a": []}},
        {"records": TYPES, "line_end": "none"},
    ],
)
def test_layouts_that_are_wrong(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FixedFormat.model_validate(options)


# -- round trips, hostile input --------------------------------------------------------------------------------------

texts = st.text(st.sampled_from("ab1 张三é㐀0*"), max_size=6).map(str.rstrip)
records = st.fixed_dictionaries(
    {
        "id": st.one_of(st.none(), st.from_regex(r"[0-9A-Z]{1,6}", fullmatch=True)),
        "name": texts,
        "amount": st.one_of(st.none(), st.integers(-9999999, 999999999).map(lambda n: Decimal(n).scaleb(-2))),
        "count": st.one_of(st.none(), st.integers(-999, 9999)),
    }
)


@given(st.lists(records, max_size=4), st.sampled_from(["bytes", "characters"]), st.sampled_from(["crlf", "lf", "none"]))
def test_what_is_written_is_read(rows: list[dict[str, Any]], by: Any, line_end: Any) -> None:
    fields = [{**field, "length": 24} if field["name"] == "name" else field for field in PERSON]
    one_codec = codec(fields, by=by, line_end=line_end)
    raw = one_codec.encode(rows, encoding="gb18030")
    expected = [{name: value if value != "" else None for name, value in row.items()} for row in rows]
    assert one_codec.decode(raw, encoding="gb18030") == {"rows": expected}
    assert codec(fields, by=by, line_end=line_end).encode({"rows": expected}, encoding="gb18030") == raw


def test_what_nobody_changed_is_written_as_it_came() -> None:
    one_codec = codec(short_rows="fill")
    raw = "000123张三    12550\n\n00X   Li\n".encode("gbk")
    tree = one_codec.decode(raw, encoding="gbk")
    assert one_codec.encode(tree, encoding="gbk") == raw
    tree["rows"][0]["count"] = 1
    assert one_codec.encode(tree, encoding="gbk").startswith("000123张三    ".encode("gbk"))


@given(
    st.binary(max_size=120),
    st.sampled_from(["", "gbk", "latin-1"]),
    st.sampled_from(["bytes", "characters"]),
    st.booleans(),
)
def test_any_bytes_are_read_or_refused(raw: bytes, encoding: str, by: Any, types: bool) -> None:
    options: dict[str, Any] = (
        {"records": TYPES} if types else {"fields": [{"name": "a", "length": 2}, {"name": "b", "length": 1}]}
    )
    one_codec = codec(by=by, short_rows="fill", **options)
    try:
        tree = one_codec.decode(raw, encoding=encoding)
    except CodecError:
        return
    assert one_codec.encode(tree, encoding=encoding) == raw


def test_damaged_files_are_read_or_refused() -> None:
    chance = random.Random(1)
    good = "000123张三丰  000012550  42\r\n00X   Li      -00000005    \r\n".encode("gbk")
    one_codec = codec(short_rows="fill")
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data))
            data[at : at + chance.randrange(3)] = chance.choice(
                (b"", b"\n", b"\r", b"\0", b"\xff", b"\xb0", b" ", b"-")
            )
        try:
            tree = one_codec.decode(bytes(data), encoding="gbk")
        except CodecError:
            continue
        assert one_codec.encode(tree, encoding="gbk") == data


def test_rows_and_values_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records_module, "MAX_ROWS", 100)
    monkeypatch.setattr(records_module, "MAX_CELLS", 1000)
    wide = [{"name": f"f{number}", "length": 1} for number in range(20)]
    for fields, most in ((wide[:1], 100), (wide, 50)):
        one_codec = codec(fields, short_rows="fill")
        assert len(one_codec.decode(b"a\n" * most)["rows"]) == most
        with pytest.raises(CodecError) as caught:
            one_codec.decode(b"a\n" * (most + 1))
        assert caught.value.code == "fixed.rows"


def test_empty_lines_and_long_ones_cost_nothing() -> None:
    tiny = codec([{"name": "a", "length": 1}])
    assert tiny.decode(b"\n" * 3_000_000)["rows"] == []
    with pytest.raises(CodecError):
        tiny.decode(b"a" * 10_000_000)
