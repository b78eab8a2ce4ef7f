"""Workbooks: what Excel and openpyxl write is read as people see it; what is written, openpyxl reads; hostile archives."""

from __future__ import annotations

import datetime
import io
import random
import warnings
import zipfile
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook, load_workbook

from hub.codecs.excel_codec import ExcelCodec, ExcelFormat
from hub.codecs.excel_formats import kind_of_format, number_text
from hub.codecs.excel_write import MAX_TEXT
from hub.errors import CodecError

NAMESPACE = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def codec(**options: Any) -> ExcelCodec:
    return ExcelCodec().configured(ExcelFormat(**options))


def saved(book: Workbook) -> bytes:
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def made(*rows: list[Any], change: Callable[[Any], None] = lambda sheet: None) -> bytes:
    """A workbook by openpyxl."""
    book = Workbook()
    sheet = book.active
    for row in rows:
        sheet.append(row)
    change(sheet)
    return saved(book)


def read(*rows: list[Any], change: Callable[[Any], None] = lambda sheet: None, **options: Any) -> Any:
    return codec(**options).decode(made(*rows, change=change))["rows"]


def replaced(raw: bytes, part: str, new: bytes | Callable[[bytes], bytes]) -> bytes:
    """The workbook with one part changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in old.namelist():
            data = old.read(name)
            if name == part:
                data = new if isinstance(new, bytes) else new(data)
            archive.writestr(name, data)
    return out.getvalue()


def with_sheet(inside: str, raw: bytes | None = None) -> bytes:
    """A workbook whose only sheet has this content."""
    text = f"<worksheet {NAMESPACE}>{inside}</worksheet>"
    return replaced(raw or made(["a"]), "xl/worksheets/sheet1.xml", text.encode())


def refused(raw: bytes, **options: Any) -> CodecError:
    with pytest.raises(CodecError) as caught:
        codec(**options).decode(raw)
    return caught.value


# -- reading ---------------------------------------------------------------------------------------------------------


def test_the_tree() -> None:
    tree = ExcelCodec().decode(made(["编号", "姓名"], ["007", "张三"], [None, None], ["008", None]))
    assert tree == {
        "name": "Sheet",
        "header": ["编号", "姓名"],
        "rows": [{"编号": "007", "姓名": "张三"}, {"编号": "008", "姓名": None}],
    }


@pytest.mark.parametrize(
    ("value", "pattern", "text"),
    [
        ("00123", "General", "00123"),
        ("  a\n b ", "General", "  a\n b "),
        (123, "General", "123"),
        (-1.5, "General", "-1.5"),
        (0.1 + 0.2, "General", "0.3"),
        (1e20, "General", "100000000000000000000"),
        (1.5e-7, "General", "0.00000015"),
        (123456789012345, "0", "123456789012345"),
        (42, "00000", "00042"),
        (12.5, "0.00", "12.5"),
        (0.12, "0%", "0.12"),
        (1234, '#,##0"元"', "1234"),
        (5, '0" days"', "5"),
        (True, "General", "true"),
        (False, "General", "false"),
        ("#N/A", "General", "#N/A"),
        (datetime.date(2026, 1, 15), "yyyy-mm-dd", "2026-01-15"),
        (datetime.datetime(2026, 1, 15, 9, 30, 15), "yyyy-mm-dd hh:mm:ss", "2026-01-15T09:30:15"),
        (datetime.datetime(2026, 1, 15, 9, 30), 'yyyy"年"m"月"d"日"', "2026-01-15"),
        (datetime.datetime(2026, 1, 15, 9, 30), "[$-804]yyyy/m/d h:mm", "2026-01-15T09:30:00"),
        (datetime.datetime(2026, 1, 15), "m月d日", "2026-01-15"),
        (datetime.time(9, 30, 5), "h:mm:ss", "09:30:05"),
        (datetime.time(21, 5), 'h"时"mm"分"', "21:05:00"),
        (datetime.timedelta(hours=26, minutes=3), "[h]:mm:ss", "26:03:00"),
        (46037, "m/d/yy h:mm", "2026-01-15T00:00:00"),
        (1, "yyyy-mm-dd", "1900-01-01"),
        (59, "yyyy-mm-dd", "1900-02-28"),
        (61, "yyyy-mm-dd", "1900-03-01"),
        (2958465, "yyyy-mm-dd", "9999-12-31"),
        (2958465.99999, "yyyy-mm-dd h:mm:ss", "9999-12-31T23:59:59.136"),
        (2958466, "yyyy-mm-dd", "2958466"),
        (-1, "yyyy-mm-dd", "-1"),
    ],
)
def test_values(value: Any, pattern: str, text: str) -> None:
    def change(sheet: Any) -> None:
        sheet["A2"].number_format = pattern

    assert read(["x"], [value], change=change) == [{"x": text}]


@pytest.mark.parametrize(
    ("identity", "text"), [(14, "2026-01-15"), (31, "2026-01-15"), (57, "2026-01-15"), (33, "12:00:00"), (0, "46037.5")]
)
def test_formats_a_chinese_excel_does_not_write_down(identity: int, text: str) -> None:
    raw = made(["x"], [46037.5], change=lambda sheet: setattr(sheet["A2"], "number_format", "0.0000"))
    raw = replaced(
        raw, "xl/styles.xml", lambda data: data.replace(b'numFmtId="164" fontId', b'numFmtId="%d" fontId' % identity)
    )
    assert ExcelCodec().decode(raw)["rows"] == [{"x": text}]


def test_days_from_1904() -> None:
    book = Workbook()
    book.epoch = datetime.datetime(1904, 1, 1)
    book.active.append(["x"])
    book.active.append([datetime.datetime(2026, 1, 15, 9, 30)])
    assert ExcelCodec().decode(saved(book))["rows"] == [{"x": "2026-01-15T09:30:00"}]


def test_a_number_with_more_digits_than_excel_keeps_is_taken_as_it_is_in_the_file() -> None:
    cells = '<row><c t="str"><v>id</v></c></row><row><c><v>110101199003070011</v></c></row><row><c><v>1.1010119900307E+17</v></c></row>'
    rows = ExcelCodec().decode(with_sheet(f"<sheetData>{cells}</sheetData>"))["rows"]
    assert rows == [{"id": "110101199003070011"}, {"id": "110101199003070000"}]


def test_formulas_give_the_value_that_was_stored() -> None:
    cells = (
        '<row r="1"><c r="A1" t="str"><v>a</v></c><c r="B1" t="str"><v>b</v></c></row>'
        '<row r="2"><c r="A2"><f>1+1</f><v>2</v></c><c r="B2" t="str"><f>"x"&amp;"y"</f><v>xy</v></c></row>'
        '<row r="3"><c r="A3"><f>1+1</f></c><c r="B3" t="e"><f>1/0</f><v>#DIV/0!</v></c></row>'
    )
    rows = ExcelCodec().decode(with_sheet(f"<sheetData>{cells}</sheetData>"))["rows"]
    assert rows == [{"a": "2", "b": "xy"}, {"a": None, "b": "#DIV/0!"}]


def test_texts_in_runs_and_with_escapes() -> None:
    shared = (
        f"<sst {NAMESPACE}><si><t>head</t></si><si><r><t>张</t></r><r><rPr><b/></rPr><t xml:space='preserve'>三 </t></r>"
        "<rPh sb='0' eb='1'><t>zhang</t></rPh></si><si><t>a_x000D_b_x005F_x0041_</t></si><si/></sst>"
    ).encode()
    cells = "".join(f'<row><c t="s"><v>{number}</v></c></row>' for number in (0, 1, 3, 2, 1))
    raw = with_sheet(f"<sheetData>{cells}</sheetData>", replaced(made(["a"]), "xl/theme/theme1.xml", shared))
    raw = replaced(
        raw,
        "xl/_rels/workbook.xml.rels",
        lambda data: data.replace(b"relationships/theme", b"relationships/sharedStrings"),
    )
    assert [row["head"] for row in ExcelCodec().decode(raw)["rows"]] == ["张三 ", "a\rb_x0041_", "张三 "]


def test_merged_cells() -> None:
    def change(sheet: Any) -> None:
        for cells in ("A1:D1", "A3:A4", "C2:D2", "B5:C6", "A9:D20"):
            sheet.merge_cells(cells)

    found = read(
        ["对账单", None, None, None],
        ["科室", "姓名", "地址", None],
        ["内科", "甲", "x", "y"],
        [None, "乙", None, "z"],
        ["外科", "丙", None, None],
        ["儿科", None, None, "w"],
        change=change,
        skip=1,
    )
    assert found == [
        {"科室": "内科", "姓名": "甲", "地址": "x", "地址_2": "y"},
        {"科室": "内科", "姓名": "乙", "地址": None, "地址_2": "z"},
        {"科室": "外科", "姓名": "丙", "地址": "丙", "地址_2": None},
        {"科室": "儿科", "姓名": "丙", "地址": "丙", "地址_2": "w"},
    ]


def test_headers() -> None:
    assert read(["a", None, "a"], ["1", "2", "3"]) == [{"a": "1", "c2": "2", "a_2": "3"}]
    assert read(["1", "x"], header="auto") == [{"c1": "1", "c2": "x"}]
    assert read(["1", "x"], header="none", columns=["id", "name"]) == [{"id": "1", "name": "x"}]
    error = refused(made([None], [None, "a"], ["b", "c"]), columns=["a", "d"])
    assert (error.code, str(error)) == ("excel.header", "row 2: the header lacks the column d")
    error = refused(made(["a"], ["1", None, "2"]))
    assert (error.code, str(error)) == ("excel.ragged", "row 2: a value in column 3, the table has 1")


def test_sheets() -> None:
    book = Workbook()
    book.active.title = "字典"
    book.active.sheet_state = "hidden"
    book.active.append(["code"])
    for name in ("人员", "机构"):
        sheet = book.create_sheet(name)
        sheet.append(["id"])
        sheet.append([name])
    raw = saved(book)
    assert codec().decode(raw)["name"] == "人员"
    assert codec(sheet="机构").decode(raw)["rows"] == [{"id": "机构"}]
    assert codec(sheet="字典").decode(raw) == {"name": "字典", "header": ["code"], "rows": []}
    tree = codec(sheet="*").decode(raw)
    assert [(sheet["name"], sheet["rows"]) for sheet in tree["sheets"]] == [
        ("人员", [{"id": "人员"}]),
        ("机构", [{"id": "机构"}]),
    ]
    assert refused(raw, sheet="没有").code == "excel.sheet"
    written = codec(sheet="*").encode(dict(tree))
    assert [(sheet["name"], sheet["rows"]) for sheet in codec(sheet="*").decode(written)["sheets"]] == [
        ("人员", [{"id": "人员"}]),
        ("机构", [{"id": "机构"}]),
    ]


def test_an_empty_sheet() -> None:
    assert ExcelCodec().decode(saved(Workbook())) == {"name": "Sheet", "header": [], "rows": []}


# -- writing ---------------------------------------------------------------------------------------------------------


def test_openpyxl_reads_what_is_written() -> None:
    rows = [
        {"id": "00123", "f": "=1+1", "n": 12, "d": Decimal("12.50"), "b": True, "long": 123456789012345678},
        {"id": "a <&> \"'\n\r\tb ", "n": None, "d": -0.5, "b": False, "long": "110101199003070011"},
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        book = load_workbook(io.BytesIO(codec(sheet="表 1").encode(rows)))
    sheet = book["表 1"]
    assert [[cell.value for cell in row] for row in sheet.iter_rows()] == [
        ["id", "f", "n", "d", "b", "long"],
        ["00123", "=1+1", 12, 12.5, True, "123456789012345678"],
        ["a <&> \"'\n\r\tb ", None, None, -0.5, False, "110101199003070011"],
    ]
    assert [cell.data_type for cell in sheet[2]] == ["s", "s", "n", "n", "b", "s"]
    assert sheet["A2"].number_format == "@"


def test_columns() -> None:
    out = codec(columns=["b", "a"], header="none").encode([{"a": "1"}])
    assert ExcelCodec(ExcelFormat(header="none")).decode(out)["rows"] == [{"c1": None, "c2": "1"}]
    assert codec().decode(codec(columns=["b", "a"]).encode([]))["header"] == ["b", "a"]


def test_the_same_rows_give_the_same_bytes() -> None:
    assert codec().encode([{"a": "1"}]) == codec().encode([{"a": "1"}])


@pytest.mark.parametrize(
    ("tree", "code"),
    [
        ({}, "excel.tree"),
        ({"sheets": 1}, "excel.tree"),
        ({"sheets": []}, "excel.sheet"),
        ({"sheets": [{"name": "a", "rows": []}, {"name": "A", "rows": []}]}, "excel.sheet"),
        ({"name": "a/b", "rows": []}, "excel.sheet"),
        ({"name": "x" * 32, "rows": []}, "excel.sheet"),
        ([{"a": "\x01"}], "excel.value"),
        ([{"a": "\ud800"}], "excel.value"),
        ([{"a": "x" * (MAX_TEXT + 1)}], "excel.value"),
        ([{"a": ["x"]}], "excel.value"),
        ([{"a": float("inf")}], "excel.value"),
    ],
)
def test_what_can_not_be_written(tree: Any, code: str) -> None:
    with pytest.raises(CodecError) as caught:
        codec().encode(tree)
    assert caught.value.code == code
    with pytest.raises(CodecError) as caught:
        codec(columns=["b"]).encode([{"a": 1}])
    assert caught.value.code == "excel.column"


texts = st.text(
    st.one_of(st.sampled_from("_x0041_ =\r\n<&>\"'"), st.characters(exclude_categories=["Cs", "Cc"])),
    min_size=1,
    max_size=9,
)


@given(st.lists(st.fixed_dictionaries({"a": texts, "b": st.one_of(st.none(), texts)}), max_size=4))
def test_what_is_written_is_read(rows: list[dict[str, Any]]) -> None:
    rows = [
        {name: (value and value.replace("\ufffe", "").replace("\uffff", "")) or "x" for name, value in row.items()}
        for row in rows
    ]
    assert codec(columns=["a", "b"]).decode(codec(columns=["a", "b"]).encode(rows))["rows"] == rows


def test_what_nobody_changed_is_written_as_it_came() -> None:
    raw = made(["a"], [datetime.date(2026, 1, 15)])
    one = codec()
    tree = one.decode(raw)
    assert one.encode(tree) == raw
    tree["rows"][0]["a"] = "new"
    assert one.decode(one.encode(tree))["rows"] == [{"a": "new"}]


# -- formats ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "kind"),
    [
        ("General", ""),
        ("0.00E+00", ""),
        ("@", ""),
        ("yyyy", "date"),
        ("mmm-yy", "date"),
        ("[DBNum1]yyyy年m月d日", "date"),
        ("上午/下午h时mm分", "time"),
        ("h:mm AM/PM", "time"),
        ("mm:ss.0", "time"),
        ("[mm]:ss", "duration"),
        ("[Red]0", ""),
        ("000", "000"),
        ("000;-000", "000"),
        ("\\d0", ""),
        ("_-* #,##0_-", ""),
        ("yyyy/m/d;@", "date"),
    ],
)
def test_kinds_of_formats(pattern: str, kind: str) -> None:
    assert kind_of_format(200, pattern) == kind


@given(st.datetimes(datetime.datetime(1900, 3, 1), datetime.datetime(9999, 12, 31)))
def test_every_moment(moment: datetime.datetime) -> None:
    moment = moment.replace(microsecond=0)
    serial = (moment - datetime.datetime(1899, 12, 30)) / datetime.timedelta(days=1)
    assert number_text(repr(serial), "datetime", False) == moment.isoformat()


# -- hostile input ---------------------------------------------------------------------------------------------------


def bomb(names: list[str], size: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, b"\0" * size)
    return out.getvalue()


def test_what_is_no_workbook() -> None:
    old = refused(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600)
    assert (old.code, "xlsx" in old.remedy) == ("excel.old", True)
    for raw in (b"", b"PK", b"a,b\n1,2\n", bomb(["a.txt"], 10), bomb([], 0), made(["a"])[:-30]):
        assert refused(raw).code in ("excel.archive", "excel.invalid", "excel.sheet")


def test_bombs() -> None:
    for raw in (bomb(["xl/worksheets/sheet1.xml"], 40 << 20), bomb([f"{n}" for n in range(2001)], 1)):
        assert refused(raw).code == "excel.archive"


def test_entities_are_refused() -> None:
    for head in (
        '<!DOCTYPE x [<!ENTITY a "b">]>',
        f'<!--{"x" * 70_000}--><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<?xml version="1.0"?>\n\n<!DOCTYPE x SYSTEM "http://example.org/x">',
    ):
        text = f"{head}<worksheet {NAMESPACE}><sheetData/></worksheet>"
        for encoding in ("utf-8", "utf-16"):
            raw = replaced(made(["a"]), "xl/worksheets/sheet1.xml", text.encode(encoding))
            assert refused(raw).code == "excel.invalid"


@pytest.mark.parametrize(
    ("inside", "code"),
    [
        ('<row r="1048577"><c r="A1"><v>1</v></c></row>', "excel.invalid"),
        ('<row r="2"/><row r="1"/>', "excel.invalid"),
        ('<row r="x"/>', "excel.invalid"),
        ('<row><c r="XFE1"><v>1</v></c></row>', "excel.size"),
        ('<row><c r="ZZZZZZZZZ1"><v>1</v></c></row>', "excel.size"),
        ('<row><c r="1"><v>1</v></c></row>', "excel.size"),
        ('<row><c t="s"><v>99</v></c></row>', "excel.invalid"),
        ('<row><c s="x"><v>1</v></c></row>', "excel.invalid"),
        ("<row><c><v>one</v></c></row>", "excel.value"),
        ("<row><c>", "excel.invalid"),
        ("<row>" * 400 + "</row>" * 400, "excel.invalid"),
    ],
)
def test_sheets_that_are_wrong(inside: str, code: str) -> None:
    assert refused(with_sheet(f"<sheetData>{inside}</sheetData>")).code == code


def test_a_row_far_down_costs_nothing() -> None:
    cells = '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    assert codec(header="none").decode(with_sheet(f"<sheetData>{cells}</sheetData>"))["rows"][0]["c16384"] == "1"


@pytest.mark.parametrize(
    ("around", "junk"),
    [
        ("{}", "<!--{}-->"),
        ("<row>{}</row>", '<c x="{}"/>'),
        ("<row/>{}<row/>", '<x x="{}"/>'),
        ("<row/></sheetData>{}<sheetData><row/>", '<x x="{}"/>'),
    ],
)
def test_what_is_held_at_once_has_a_limit(around: str, junk: str) -> None:
    chance = random.Random(1)
    many = "".join(junk.format(chance.randbytes(200).hex()) for _ in range(21_000))
    assert refused(with_sheet(f"<sheetData>{around.format(many)}</sheetData>")).code == "excel.size"


def test_parts_that_are_read_at_once_have_a_limit() -> None:
    chance = random.Random(1)
    styles = "".join(f'<xf numFmtId="{chance.randrange(10**9)}"/>' for _ in range(400_000))
    text = f"<styleSheet {NAMESPACE}><cellXfs>{styles}</cellXfs></styleSheet>"
    assert refused(replaced(made(["a"]), "xl/styles.xml", text.encode())).code == "excel.size"


def test_a_wide_header_limits_the_rows() -> None:
    head = '<row r="1"><c r="A1"><v>1</v></c><c r="XFD1"><v>2</v></c></row>'
    rows = "".join(f'<row r="{n}"><c r="A{n}"><v>{n}</v></c></row>' for n in range(2, 310))
    assert refused(with_sheet(f"<sheetData>{head}{rows}</sheetData>")).code == "excel.rows"


def test_merged_cells_have_a_limit() -> None:
    rows = "".join(f'<row r="{n}"><c r="{"XFD" if n == 1 else "A"}{n}"><v>1</v></c></row>' for n in range(1, 3000))
    merged = '<mergeCells><mergeCell ref="A2:XFD1048576"/></mergeCells>'
    assert refused(with_sheet(f"<sheetData>{rows}</sheetData>{merged}"), header="none").code == "excel.size"


def test_damaged_workbooks_are_read_or_refused() -> None:
    chance = random.Random(1)
    good = made(["a", "b"], ["1", 2], [datetime.date(2026, 1, 15), "x"])
    sheet = zipfile.ZipFile(io.BytesIO(good)).read("xl/worksheets/sheet1.xml")
    for number in range(300):
        data = bytearray(good if number % 3 == 0 else sheet)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data))
            data[at : at + chance.randrange(3)] = chance.choice((b"", b"\0", b"<", b'"', b"9", b"\xff", b"/>"))
        raw = bytes(data) if number % 3 == 0 else replaced(good, "xl/worksheets/sheet1.xml", bytes(data))
        try:
            tree = codec(header="none").decode(raw)
        except CodecError:
            continue
        assert set(tree) == {"name", "header", "rows"}
