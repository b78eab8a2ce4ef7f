"""CSV in and out: dialects, headers, character sets, places of errors, exact round trips, hostile input."""

from __future__ import annotations

import csv
import io
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hub.codecs import records
from hub.codecs.csv_codec import MAX_FIELD, CsvCodec, CsvFormat
from hub.codecs.records import MAX_CELLS, MAX_COLUMNS
from hub.errors import CodecError
from tests.codecs.codec_support import SAMPLES


def codec(**options: Any) -> CsvCodec:
    return CsvCodec().configured(CsvFormat(**options))


def rows(text: str, **options: Any) -> Any:
    return codec(**options).decode(text.encode())["rows"]


def refused(raw: bytes | str, encoding: str = "", **options: Any) -> CodecError:
    with pytest.raises(CodecError) as caught:
        codec(**options).decode(raw.encode() if isinstance(raw, str) else raw, encoding=encoding)
    return caught.value


def told(error: CodecError) -> tuple[str, str]:
    return error.code, str(error)


# -- reading ---------------------------------------------------------------------------------------------------------


def test_the_tree() -> None:
    tree = CsvCodec().decode("编号,姓名,金额\r\n007,张三,12.50\r\n008,,0\r\n".encode())
    assert tree == {
        "header": ["编号", "姓名", "金额"],
        "rows": [
            {"编号": "007", "姓名": "张三", "金额": "12.50"},
            {"编号": "008", "姓名": None, "金额": "0"},
        ],
    }


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends(end: str, last: bool) -> None:
    text = end.join(["a,b", "1,2", "", '"x\r\ny\nz",",""q"""']) + (end if last else "")
    assert rows(text) == [{"a": "1", "b": "2"}, {"a": "x\r\ny\nz", "b": ',"q"'}]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(delimiter: str) -> None:
    text = f'a{delimiter}b{delimiter}c\n1{delimiter}"x,;|\t\n,,,;;;"{delimiter}3\n4{delimiter}5{delimiter}6\n'
    assert rows(text) == [{"a": "1", "b": "x,;|\t\n,,,;;;", "c": "3"}, {"a": "4", "b": "5", "c": "6"}]


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("a;b\n1,5;2\n3,5;4\n", {}, [{"a": "1,5", "b": "2"}, {"a": "3,5", "b": "4"}]),
        ("sep=;\r\na;b\r\n1;2\r\n", {}, [{"a": "1", "b": "2"}]),
        ('"sep=|"\na|b\n1|2\n', {}, [{"a": "1", "b": "2"}]),
        ("a\n1\n2\n", {}, [{"a": "1"}, {"a": "2"}]),
        ("a;b,c\n1;2,3\n", {"columns": ["a", "b,c"]}, [{"a": "1", "b,c": "2,3"}]),
        ("a;b\n1;2\n", {"delimiter": ","}, [{"a;b": "1;2"}]),
        ("a\tb\n1\t2\n", {"delimiter": "tab"}, [{"a": "1", "b": "2"}]),
        ("a\x01b\n1\x012\n", {"delimiter": "\x01"}, [{"a": "1", "b": "2"}]),
        ('a|b\n5" pipe|"x\n', {"delimiter": "bar", "quotes": False}, [{"a": '5" pipe', "b": '"x'}]),
        ('a,b\n5" pipe,x\n', {}, [{"a": '5" pipe', "b": "x"}]),
    ],
)
def test_dialects(text: str, options: dict[str, Any], expected: list[Any]) -> None:
    assert rows(text, **options) == expected


@pytest.mark.parametrize(
    ("text", "options", "header", "count"),
    [
        ("a,a,,b, a ,\n1,2,3,4,5,6\n", {}, ["a", "a_2", "c3", "b", "a_3", "c6"], 1),
        ("a,a_2,a\n1,2,3\n", {}, ["a", "a_2", "a_3"], 1),
        ("c2,\n1,2\n", {}, ["c2", "c2_2"], 1),
        (' 姓 名 ,"date\nof birth"\n1,2\n', {}, ["姓 名", "date of birth"], 1),
        ("1,2\n3,4\n", {"header": "none"}, ["c1", "c2"], 2),
        ("1,2\n3,4\n", {"header": "none", "columns": ["x", "y"]}, ["x", "y"], 2),
        ("id,name\n1,x\n", {"header": "auto"}, ["id", "name"], 1),
        ("1,x\n2,y\n", {"header": "auto"}, ["c1", "c2"], 2),
        ("110101199003070011,x\n2,y\n", {"header": "auto"}, ["c1", "c2"], 2),
        ("name,id,more\nx,1,2\n", {"header": "auto", "columns": ["id", "name"]}, ["name", "id", "more"], 1),
        ("7,x\n8,y\n", {"header": "auto", "columns": ["id", "name"]}, ["id", "name"], 2),
        ("对账单,,\n2026-01,,\nid,a,b\n1,2,3\n", {"skip": 2}, ["id", "a", "b"], 1),
        ("", {}, [], 0),
        ("", {"columns": ["a"]}, ["a"], 0),
        ("\r\n\r\n", {}, [], 0),
        ("a,b\n", {}, ["a", "b"], 0),
    ],
)
def test_headers(text: str, options: dict[str, Any], header: list[str], count: int) -> None:
    tree = codec(**options).decode(text.encode())
    assert (tree["header"], len(tree["rows"])) == (header, count)


def test_rows_without_any_value_are_left_out() -> None:
    assert rows('a,b\n,\n1,\n"",""\n\n') == [{"a": "1", "b": None}]


def test_short_rows() -> None:
    assert rows("a,b,c\n1\n1,2,3,,\n", short_rows="fill") == [
        {"a": "1", "b": None, "c": None},
        {"a": "1", "b": "2", "c": "3"},
    ]
    assert refused("a,b\n1,2,3\n", short_rows="fill").code == "csv.ragged"


@pytest.mark.parametrize(
    "charset", ["utf-8", "utf-8-sig", "gb18030", "gbk", "utf-16", "utf-16-le", "utf-16-be", "UTF-16 with BOM, BE"]
)
def test_character_sets_are_found(charset: str) -> None:
    text = "编号\t姓名\r\n001\t张三\r\n"
    raw = b"\xfe\xff" + text.encode("utf-16-be") if " " in charset else text.encode(charset)
    assert CsvCodec().decode(raw)["rows"] == [{"编号": "001", "姓名": "张三"}]


def test_the_contracts_character_set() -> None:
    text = "姓名\r\n張\r\n"
    assert CsvCodec().decode(text.encode("big5"), encoding="big5")["rows"] == [{"姓名": "張"}]
    # Older names of Chinese sets mean the newest.
    assert CsvCodec().decode("名\r\n㐀\r\n".encode("gb18030"), encoding="GBK")["rows"] == [{"名": "㐀"}]
    damaged = "姓名,手机\n张三,138\n".encode() + b"\xff\n"
    assert told(refused(damaged)) == ("csv.charset", f"byte {len(damaged) - 2}: the bytes are not UTF-8")
    assert refused(b"a\n\xff\xff\n").code == "csv.charset"
    for name in ("no such", "hex", "a\0b"):
        assert refused(b"a\n", encoding=name).code == "csv.charset"
        with pytest.raises(CodecError):
            CsvCodec().encode([{"a": "1"}], encoding=name)


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "options", "code", "message"),
    [
        (
            '姓名,手机,住址\n"张\n三",1,2\n\n李四,13800138000\n',
            {},
            "csv.ragged",
            "line 5: 2 values for 3 columns; column 3 (住址) is the first without",
        ),
        ("a,b\n1,2\n1,2,3\n", {}, "csv.ragged", "line 3: 3 values for 2 columns"),
        (
            "title\na,b\n1\n",
            {"skip": 1},
            "csv.ragged",
            "line 3: 1 values for 2 columns; column 2 (b) is the first without",
        ),
        ('a,b\n1,"2\n3,4\n', {}, "csv.quotes", "line 2: a quotation mark is never closed"),
        ('a,b\n"1\n1"x,2\n', {}, "csv.quotes", "line 2: something follows a closing quotation mark"),
        ("\na,b\n", {"columns": ["b", "c"]}, "csv.header", "line 2: the header lacks the column c"),
    ],
)
def test_places_of_errors(text: str, options: dict[str, Any], code: str, message: str) -> None:
    error = refused(text, **options)
    assert told(error) == (code, message)
    assert error.remedy
    assert "13800138000" not in str(error)


def test_a_first_record_taken_for_a_header_is_not_told() -> None:
    error = refused("张三,110101199003070011,南京\n李四,110101199003070012\n")
    assert "(" not in str(error)
    assert "南京" not in str(error)


# -- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"delimiter": "||"},
        {"delimiter": '"'},
        {"delimiter": "\n"},
        {"delimiter": ""},
        {"columns": ["a", "a"]},
        {"columns": [""]},
        {"columns": [" a"]},
        {"header": True},
        {"skip": -1},
        {"quote": "'"},
    ],
)
def test_options_that_are_wrong(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CsvFormat(**options)


# -- writing ---------------------------------------------------------------------------------------------------------

DATA = [{"id": "007", "name": "张,三", "n": 5}, {"id": "8", "sum": Decimal("12.50"), "ok": True, "n": None}]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 'id,name,n,sum,ok\r\n007,"张,三",5,,\r\n8,,,12.50,true\r\n'),
        ({"line_end": "lf", "delimiter": ";"}, "id;name;n;sum;ok\n007;张,三;5;;\n8;;;12.50;true\n"),
        ({"header": "none", "quoting": "all"}, '"007","张,三","5","",""\r\n"8","","","12.50","true"\r\n'),
        (
            {"columns": ["sum", "id", "name", "n", "ok", "more"]},
            'sum,id,name,n,ok,more\r\n,007,"张,三",5,,\r\n12.50,8,,,true,\r\n',
        ),
        (
            {"bom": True, "delimiter": "tab"},
            "\ufeffid\tname\tn\tsum\tok\r\n007\t张,三\t5\t\t\r\n8\t\t\t12.50\ttrue\r\n",
        ),
    ],
)
def test_writing(options: dict[str, Any], expected: str) -> None:
    for tree in (DATA, {"rows": DATA}):
        assert codec(**options).encode(tree).decode() == expected


def test_writing_in_a_character_set() -> None:
    tree = {"rows": [{"姓名": "张三"}]}
    assert codec().encode(tree, encoding="gbk") == "姓名\r\n张三\r\n".encode("gbk")
    assert codec(bom=True).encode(tree, encoding="gbk") == "姓名\r\n张三\r\n".encode("gbk")
    assert codec(bom=True).encode(tree, encoding="utf-16") == "姓名\r\n张三\r\n".encode("utf-16")
    with pytest.raises(CodecError) as caught:
        codec().encode({"rows": [{"姓名": "张三"}, {"姓名": "㐀"}]}, encoding="gbk")
    assert told(caught.value) == ("csv.charset", "line 3: a character can't be written in gbk")


@pytest.mark.parametrize(
    ("tree", "options", "code", "place"),
    [
        ({"row": []}, {}, "csv.tree", ""),
        ("x", {}, "csv.tree", ""),
        ([["a"]], {}, "csv.tree", "row 1"),
        ([{"a": "1"}, {"b": "1"}], {"columns": ["a"]}, "csv.column", "row 2"),
        ([{"a": "1"}, {"a": ["1"]}], {}, "csv.value", "row 2 column a"),
        ([{"a": {"b": 1}}], {}, "csv.value", "row 1 column a"),
        ([{"a": float("nan")}], {}, "csv.value", "row 1 column a"),
        ([{"a": b"x"}], {}, "csv.value", "row 1 column a"),
        ([{"a": "1"}, {"a": "x,y"}], {"quotes": False}, "csv.value", "row 2"),
        ([{"a": "x\ny"}], {"quotes": False, "line_end": "crlf"}, "csv.value", "row 1"),
        ([{"a": "\ud800"}], {}, "csv.charset", "line 2"),
    ],
)
def test_what_can_not_be_written(tree: Any, options: dict[str, Any], code: str, place: str) -> None:
    with pytest.raises(CodecError) as caught:
        codec(**options).encode(tree)
    assert (caught.value.code, caught.value.place) == (code, place)


def test_numbers_are_written_without_exponent() -> None:
    written = codec(header="none").encode(
        [{"a": 1e22, "b": Decimal("1E+3"), "c": 0.1, "d": 2**70, "e": False, "f": 1e-7}]
    )
    assert written == b"10000000000000000000000,1000,0.1,1180591620717411303424,false,0.0000001\r\n"


# -- round trips -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b'a;"b"\n1;"2"\n;\n',
        b"\xef\xbb\xbfa,a\r1,2",
        "姓名\t号\r\n张三\t1\r\n".encode("utf-16"),
        "姓名,号\n张三,\n".encode("gb18030"),
        b"",
    ],
)
def test_what_nobody_changed_is_written_as_it_came(raw: bytes) -> None:
    one = codec()
    tree = one.decode(raw)
    assert one.encode(tree) == raw
    tree["rows"].append(dict.fromkeys(tree["header"], "new"))
    if tree["header"]:
        changed = one.encode(tree)
        assert changed != raw
        assert one.decode(changed)["rows"] == tree["rows"]


def test_another_codec_writes_by_its_own_options() -> None:
    tree = codec().decode(b"a;b\n1;2\n")
    assert codec(delimiter="tab", line_end="lf").encode(tree) == b"a\tb\n1\t2\n"


cells = st.text(
    st.one_of(st.sampled_from(',;\t|"\r\n 01=张三é'), st.characters(exclude_categories=["Cs"])), min_size=1, max_size=12
)
names = st.lists(
    st.sampled_from(["id", "姓名", "a,b", "x;y", 'q"q', "n\tn", "c9"]), min_size=1, max_size=4, unique=True
)


@given(
    st.data(),
    names,
    st.sampled_from([",", ";", "|", "tab"]),
    st.sampled_from(["minimal", "all"]),
    st.sampled_from(["crlf", "lf"]),
    st.sampled_from(["", "utf-8", "gb18030", "utf-16", "utf-16-le"]),
    st.booleans(),
)
def test_what_is_written_is_read(
    data: st.DataObject, columns: list[str], delimiter: str, quoting: Any, line_end: Any, encoding: str, bom: bool
) -> None:
    columns = [" ".join(name.split()) for name in columns]
    one = codec(delimiter=delimiter, quoting=quoting, line_end=line_end, bom=bom)
    row = st.fixed_dictionaries(dict.fromkeys(columns, st.one_of(st.none(), cells))).filter(
        lambda row: any(row.values())
    )
    tree = {"header": columns, "rows": data.draw(st.lists(row, max_size=4))}
    raw = one.encode(tree, encoding=encoding)
    assert one.decode(raw, encoding=encoding) == tree


@given(st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1, max_size=5))
def test_the_standard_library_agrees(table: list[list[str]]) -> None:
    out = io.StringIO(newline="")
    csv.writer(out).writerows([["a", "b", "c"], *table])
    read = codec(delimiter=",").decode(out.getvalue().encode(), encoding="utf-8")
    assert [list(row.values()) for row in read["rows"]] == table
    again = codec().encode([dict(zip("abc", row, strict=True)) for row in table]).decode()
    assert list(csv.reader(io.StringIO(again, newline="")))[1:] == table


@pytest.mark.skipif(not SAMPLES.parent.is_dir(), reason="no samples")
def test_samples() -> None:
    files = sorted(SAMPLES.parent.rglob("*.csv"))
    assert files
    one = CsvCodec()
    for file in files:
        raw = file.read_bytes()
        tree = one.decode(raw)
        table = [row for row in csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline="")) if any(row)]
        assert len(tree["header"]) == len(table[0]), file.name
        assert [[value or "" for value in row.values()] for row in tree["rows"]] == table[1:], file.name
        assert one.encode(tree) == raw


# -- hostile input ---------------------------------------------------------------------------------------------------


def test_rows_and_values_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_ROWS", 100)
    monkeypatch.setattr(records, "MAX_CELLS", 1000)
    assert len(rows("a\n" + "1\n" * 100)) == 100
    assert refused("a\n" + "1\n" * 101).code == "csv.rows"
    wide = ",".join(["x"] * 20) + "\n"
    assert len(rows(wide + "1\n" * 50, short_rows="fill")) == 50
    assert refused(wide + "1\n" * 51, short_rows="fill").code == "csv.rows"
    with pytest.raises(CodecError) as caught:
        codec().encode([{"a": "1"}] * 101)
    assert caught.value.code == "csv.rows"


def test_limits() -> None:
    assert refused("a\n" + '"' + "x" * (MAX_FIELD + 1) + '"\n').code == "csv.size"
    assert rows("a\n" + '"' + "x" * (1 << 20) + '"\n') == [{"a": "x" * (1 << 20)}]
    assert refused(b"," * 1_000_000).code == "csv.columns"
    assert refused(b"a,b\n" + b"," * 1_000_000).code == "csv.ragged"
    assert len(codec().decode(b"," * (MAX_COLUMNS - 1))["header"]) == MAX_COLUMNS
    assert refused(b"a,b\n" + b"," * (MAX_CELLS + 1)).code == "csv.size"
    assert codec().decode(b"a," * 10_000)["header"][9_999] == "a_10000"
    assert rows("\n" * 3_000_000 + "a\n1\n") == [{"a": "1"}]
    assert refused('"' * 2_000_001).code == "csv.quotes"


@given(
    st.binary(max_size=120),
    st.sampled_from(["", "gbk", "utf-16", "latin-1"]),
    st.sampled_from(["first", "auto", "none"]),
)
def test_any_bytes_are_read_or_refused(raw: bytes, encoding: str, header: Any) -> None:
    one = codec(header=header)
    try:
        tree = one.decode(raw, encoding=encoding)
    except CodecError:
        return
    assert one.encode(tree, encoding=encoding) == raw


def test_damaged_files_are_read_or_refused() -> None:
    chance = random.Random(1)
    good = 'id,姓名,"备注"\r\n001,张三,"a ""b"", c"\r\n002,李四,"两\r\n行"\r\n'.encode()
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data))
            data[at : at + chance.randrange(3)] = chance.choice(
                (b"", b'"', b",", b"\n", b"\r", b"\0", b"\xff", b"\xb0")
            )
        try:
            tree = codec().decode(bytes(data))
        except CodecError:
            continue
        again = codec().encode(dict(tree))
        assert codec(delimiter=",").decode(again)["rows"] == tree["rows"]


def test_a_table_that_has_a_header_may_have_no_rows() -> None:
    assert CsvCodec().encode({"header": ["a", "b"]}) == b"a,b\r\n"
    with pytest.raises(CodecError, match="list of rows"):
        CsvCodec().encode({"name": "x"})
