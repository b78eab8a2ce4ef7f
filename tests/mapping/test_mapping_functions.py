"""Every function: what it gives, what it does with nothing, what it refuses."""

from __future__ import annotations

import datetime
import textwrap
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.codecs.hl7v2 import Hl7Codec
from hub.errors import MappingError
from hub.mapping import Context, compile_expression
from hub.mapping.functions import BUILTIN, with_plugins

if TYPE_CHECKING:
    from conftest import Folder

NOW = 1_768_440_615_123_000


def call(text: str, **values: Any) -> Any:
    return compile_expression(text, "json")(values, Context(now_us=NOW))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # presence
        ("x | default('d')", "d"),
        ("'' | default('d')", "d"),
        ("0 | default('d')", 0),
        ("false | default('d')", False),
        ("required('a')", "a"),
        ("exists(x)", False),
        ("exists('a')", True),
        ("exists(0)", True),
        ("empty('')", True),
        ("empty(x)", True),
        ("empty(list(x))", True),
        ("exists(list('a'))", True),
        ("coalesce(x, '', 'c', 'd')", "c"),
        ("coalesce(x)", None),
        ("null_if('\"\"', '\"\"')", None),
        ("null_if('a', '\"\"')", "a"),
        # text
        ("upper('aé')", "AÉ"),
        ("lower('AB')", "ab"),
        ("trim('  a\u3000')", "a"),
        ("substring('abcdef', 2)", "cdef"),
        ("substring('abcdef', 0, 3)", "abc"),
        ("substring('abcdef', -2)", "ef"),
        ("substring('abcdef', 9, 2)", ""),
        ("substring(123456, 0, 2)", "12"),
        ("replace('a-b-c', '-', '')", "abc"),
        ("split('a,b', ',')", ["a", "b"]),
        ("split(x, ',')", []),
        ("concat('a', x, 1, true)", "a1true"),
        ("concat()", None),
        ("join('-', 'a', x, '', 'b')", "a-b"),
        ("join('a', 'b')", "b"),
        ("join(x, 'b', sep='+')", "b"),
        ("join(concat('a'), 'b', sep='+')", "a+b"),
        ("list('a', 'b') | join(',')", "a,b"),
        ("join(',', list('a', 'b'))", "a,b"),
        ("list('a', 1) | join", "a 1"),
        ("pad_left(7, 3)", "007"),
        ("pad_left('1234', 3)", "1234"),
        ("pad_right('a', 3)", "a  "),
        ("pad_right('a', 3, '.')", "a.."),
        ("string(1.50)", "1.5"),
        ("string(true)", "true"),
        ("string(null)", None),
        ("string(number('100000000000000000000.5'))", "100000000000000000000.5"),
        ("mask('13812345678')", "138****5678"),
        # patterns
        ("regex_match('AB12', '[A-Z]+\\d+')", True),
        ("regex_match('AB12x', '[A-Z]+\\d+')", False),
        ("regex_match(x, 'a')", False),
        ("regex_replace('a1b22', '\\d+', '#')", "a#b#"),
        ("regex_replace('ab', '(a)(b)', '\\\\2\\\\1')", "ba"),
        ("regex_find('tel 025-1234', '(\\d+)-')", "025"),
        ("regex_find('abc', '\\d')", None),
        # numbers
        ("number('12')", 12),
        ("number('-3')", -3),
        ("number('71.5')", 71.5),
        ("number('71.50')", Decimal("71.50")),
        ("number(' 5 ')", 5),
        ("number('0.1234567890123456789')", Decimal("0.1234567890123456789")),
        ("number(x)", None),
        ("number('')", None),
        ("int('12.0')", 12),
        ("int(7)", 7),
        ("decimal('12.50')", Decimal("12.50")),
        ("round('2.345', 2)", Decimal("2.35")),
        ("round('2.5')", 3),
        ("round('2.5', mode='half_even')", 2),
        ("round('2.59', 1, 'down')", Decimal("2.5")),
        ("round(2.675, 2)", Decimal("2.68")),
        ("bool('Y')", True),
        ("bool('否')", False),
        ("bool(1)", True),
        ("bool('')", None),
        ("sum(list('1.10', 2))", Decimal("3.10")),
        ("sum(x)", 0),
        ("min(list('3', 2.5))", Decimal("2.5")),
        ("max(3, '12', 5)", 12),
        ("max(x)", None),
        ("abs(-3)", 3),
        # lists
        ("length('abc')", 3),
        ("length(x)", 0),
        ("length(list(1, 2))", 2),
        ("first(list('a', 'b'))", "a"),
        ("last(list('a', 'b'))", "b"),
        ("first(x)", None),
        ("count(list(1, 2), 3)", 3),
        ("unique(list('b', 'a', 'b'))", ["b", "a"]),
        ("unique(list(1, '1'))", [1, "1"]),
        ("sort(list('10', '9', 'b', 'a'))", ["9", "10", "a", "b"]),
        ("sort(list(1, 3, 2), descending=true)", [3, 2, 1]),
        # identity
        ("id_card('11010519491231002x')", "11010519491231002X"),
        ("id_card('110105491231002')", "11010519491231002X"),
        ("id_card_valid('110105194912310021')", False),
        ("id_card_valid('110105194913310025')", False),
        ("id_card_valid(x)", False),
        ("id_card_valid('11010519491231002X')", True),
        ("id_card_gender('11010519491231002X')", "2"),
        ("id_card_birth_date('11010519491231002X')", "1949-12-31"),
        ("phone('138 1234-5678')", "13812345678"),
        ("phone('+86 13812345678')", "13812345678"),
        ("phone('8613812345678')", "13812345678"),
        ("phone('0086-25-83456789')", "02583456789"),
        ("phone('(025) 8345 6789')", "02583456789"),
        ("phone('+44 1632 960001')", "+441632960001"),
        ("phone('12345')", "12345"),
        ("oid_uri('1.2.840.113619')", "urn:oid:1.2.840.113619"),
        ("oid_uri('http://a.b/c')", "http://a.b/c"),
        ("hash('abc')", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("hash('abc', 'sm3')", "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"),
        ("stable_id('a', 1) == stable_id('a', '1')", True),
        ("stable_id('a', 'b') == stable_id('ab')", False),
        ("stable_id('a', x) == stable_id('a')", False),
        ("base64_encode('张')", "5byg"),
        ("base64_decode('5byg')", "张"),
        ("json_encode(list('张', 1, true, null))", '["张",1,true]'),
        ("json_decode('{\"a\": 1.10}').a", Decimal("1.10")),
        # choice
        ("match('M', {'M': 'male', 'F': 'female'})", "male"),
        ("match(1, {'1': 'one'})", "one"),
        ("match(1, {1: 'one'})", "one"),
        ("match('X', {'M': 'male'}, default='other')", "other"),
        ("match('X', {'M': 'male'}, unmapped='keep')", "X"),
        ("match('X', {'M': 'male'}, unmapped='null')", None),
        ("match('X', {'M': 'male'}, unmapped='unknown')", "unknown"),
        ("match(x, {'M': 'male'})", None),
        ("match('M', {'M': null}, unmapped='keep')", None),
        # dates
        ("date('19830502')", "1983-05-02"),
        ("date('198305')", "1983-05"),
        ("date('1983')", "1983"),
        ("date('20240229')", "2024-02-29"),
        ("date('19830502120000+0800')", "1983-05-02"),
        ("date('1983-05-02T12:00:00Z')", "1983-05-02"),
        ("date('1983/5/2')", "1983-05-02"),
        ("date('1983.05.02')", "1983-05-02"),
        ("date('1983年5月2日')", "1983-05-02"),
        ("date('1983年5月')", "1983-05"),
        ("date('1983年')", "1983"),
        ("date(19830502)", "1983-05-02"),
        ("date('\"\"')", None),
        ("date(x)", None),
        ("datetime('20260115093015')", "2026-01-15T09:30:15+08:00"),
        ("datetime('202601150930')", "2026-01-15T09:30:00+08:00"),
        ("datetime('2026011509')", "2026-01-15T09:00:00+08:00"),
        ("datetime('20260115093015.123+0000')", "2026-01-15T09:30:15.123+00:00"),
        ("datetime('20260115093015.1')", "2026-01-15T09:30:15.1+08:00"),
        ("datetime('20260115093015-0330')", "2026-01-15T09:30:15-03:30"),
        ("datetime('20260131093015')", "2026-01-31T09:30:15+08:00"),
        ("datetime('2026-01-15 09:30')", "2026-01-15T09:30:00+08:00"),
        ("datetime('2026-01-15T09:30:15Z')", "2026-01-15T09:30:15Z"),
        ("datetime('2026年1月15日 9时30分5秒')", "2026-01-15T09:30:05+08:00"),
        ("datetime('20260115')", "2026-01-15"),
        ("datetime('19880701120000')", "1988-07-01T12:00:00+09:00"),
        ("datetime('20260115093015', tz='UTC')", "2026-01-15T09:30:15+00:00"),
        ("datetime('20260115093015', tz='-05:00')", "2026-01-15T09:30:15-05:00"),
        ("datetime(x)", None),
        ("convert_tz('20260115093015', 'UTC')", "2026-01-15T01:30:15+00:00"),
        ("convert_tz('2026-01-15T01:30:15.5Z', 'Asia/Shanghai')", "2026-01-15T09:30:15.500+08:00"),
        ("epoch(0)", "1970-01-01T08:00:00+08:00"),
        ("epoch('1768440615123', 'ms')", "2026-01-15T09:30:15.123+08:00"),
        ("epoch(0, tz='UTC')", "1970-01-01T00:00:00+00:00"),
        ("format_date('2026-01-15', 'yyyyMMdd')", "20260115"),
        ("format_date('2026-01-05', 'yyyy年M月d日')", "2026年1月5日"),
        ("format_date('20260115093015.5+0800', 'yyyyMMddHHmmssSSSZ')", "20260115093015500+0800"),
        ("format_date('2026-01-15T09:30:15Z', \"yyyy-MM-dd'T'HH:mm:ssXXX\")", "2026-01-15T09:30:15+00:00"),
        ("format_date('2026-01-15', 'yyyyMMddHHmmss')", "20260115000000"),
        ("format_date('2026-01-15T01:30:15Z', 'yyyyMMddHHmmss', tz='Asia/Shanghai')", "20260115093015"),
        ("format_date(x, 'yyyy')", None),
        ("$now | format_date('yyyyMMddHHmmss')", "20260115093015"),
        ("now()", "2026-01-15T09:30:15.123+08:00"),
        ("now('HH', 'UTC')", "01"),
    ],
)
def test_result(text: str, expected: Any) -> None:
    result = call(text)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("required(x)", "required value is absent"),
        ("required(x, 'no patient id')", "no patient id"),
        ("upper(list('a'))", "works on text"),
        ("upper(true)", "works on text"),
        ("substring('a', '1')", "whole number"),
        ("substring('a', 0, -1)", "0 or more"),
        ("replace('a', '', 'b')", "is empty"),
        ("split('a', '')", "is empty"),
        ("concat(list('a'))", "single value"),
        ("pad_left('a', 99999)", "0 to 10000"),
        ("pad_left('a', 3, 'xy')", "one character"),
        ("string(list('a'))", "single value"),
        ("number('1e5')", "not a number"),
        ("number('٣')", "not a number"),
        ("number(true)", "not a number but"),
        ("int('12.5')", "has decimals"),
        ("bool('perhaps')", "neither true nor false"),
        ("round('1', 99)", "0 to 30"),
        ("round('1', 1, 'up')", "half_up"),
        ("sum('a')", "not a number"),
        ("sort(list(true))", "can't order"),
        ("length(1)", "has no length"),
        ("id_card('110105194912310021')", "not a citizen number"),
        ("phone('no phone')", "not a phone number"),
        ("oid_uri('x y')", "neither an OID nor a URI"),
        ("hash('a', 'md5')", "sha256"),
        ("stable_id(x)", "all values are absent"),
        ("base64_decode('%%')", "not base 64"),
        ("json_decode('{')", "not JSON"),
        ("json_decode('NaN')", "not JSON"),
        ("match('X', {'M': 1})", "does not list"),
        ("date('19830231')", "not a date"),
        ("date('20230229')", "not a date"),
        ("date('19831301')", "not a date"),
        ("date('hello')", "not a date"),
        ("date('1983050')", "not a date"),
        ("date(1.5)", "not a date but"),
        ("datetime('20260115250000')", "not a date"),
        ("datetime('20260115093015+9900')", "not a date"),
        ("convert_tz('2026-01-15', 'UTC')", "no instant"),
        ("convert_tz('00010101000000', 'UTC')", "out of range"),
        ("epoch('x')", "whole number"),
        ("epoch(99999999999999999)", "out of range"),
        ("format_date('2026', 'yyyyMMdd')", "does not tell MM"),
        (
            "regex_match(concat('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', pad_left('a', 900)), '.*a.*b.*c')",
            "too long for this",
        ),
    ],
)
def test_refusal(text: str, part: str) -> None:
    with pytest.raises(MappingError) as caught:
        call(text)
    assert part in str(caught.value)


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_every_function_says_what_it_does(name: str) -> None:
    assert BUILTIN[name].summary
    assert BUILTIN[name].summary.endswith((".", ")"))


KEEPS_ABSENT = [
    *(
        "upper(x)",
        "lower(x)",
        "trim(x)",
        "substring(x, 0)",
        "replace(x, 'a', 'b')",
        "pad_left(x, 3)",
        "pad_right(x, 3)",
    ),
    *("mask(x)", "regex_replace(x, 'a', 'b')", "number(x)", "int(x)", "decimal(x)", "round(x)", "bool(x)", "abs(x)"),
    *("date(x)", "datetime(x)", "convert_tz(x, 'UTC')", "epoch(x)", "format_date(x, 'yyyy')", "id_card(x)"),
    *("id_card_gender(x)", "id_card_birth_date(x)", "phone(x)", "oid_uri(x)", "hash(x)", "base64_encode(x)"),
    *("base64_decode(x)", "json_decode(x)", "match(x, {'a': 'b'})"),
]


@pytest.mark.parametrize("text", KEEPS_ABSENT)
@pytest.mark.parametrize("value", [None, ""])
def test_absent_stays_absent(text: str, value: Any) -> None:
    assert call(text, x=value) in (None, "")


@given(st.dates(min_value=datetime.date(1, 1, 1)))
def test_every_day_is_read_in_every_form(day: datetime.date) -> None:
    expected = day.isoformat()
    for text in (
        f"{day:%Y%m%d}".zfill(8),
        expected,
        f"{day.year:04}/{day.month}/{day.day}",
        f"{day.year:04}年{day.month}月{day.day}日",
    ):
        assert call("date(v)", v=text) == expected


@given(st.datetimes(min_value=datetime.datetime(1992, 1, 1)), st.integers(0, 3))
def test_the_quick_way_and_the_long_way_agree(moment: datetime.datetime, form: int) -> None:
    text = f"{moment:%Y%m%d%H%M%S}" + ["", ".25", "+0800", ".25-0500"][form]
    expected = f"{moment:%Y-%m-%dT%H:%M:%S}" + ["+08:00", ".25+08:00", "+08:00", ".25-05:00"][form]
    assert call("datetime(v)", v=text) == expected
    assert call("datetime(v)", v=f" {text}") == expected


@given(st.text("0123456789 -年月张", min_size=8, max_size=25) | st.text(max_size=7))
def test_any_text_is_a_date_or_refused(text: str) -> None:
    refused: list[str] = []
    for name in ("date", "datetime", "phone", "number", "id_card", "bool", "base64_decode", "json_decode", "oid_uri"):
        try:
            call(f"{name}(v)", v=text)
        except MappingError as error:
            refused.append(str(error))
    assert len(text) < 8 or not any(text in told for told in refused)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**12), max_value=10**12))
def test_a_number_keeps_its_digits(number: Decimal) -> None:
    result = call("number(v)", v=str(number))
    assert Decimal(str(result)) == number
    assert call("string(decimal(v))", v=str(number)) == format(number, "f")


@given(
    st.integers(0, 9),
    st.from_regex(r"[1-8][0-9]{5}", fullmatch=True),
    st.dates(datetime.date(1900, 1, 1), datetime.date(2099, 1, 1)),
)
def test_a_wrong_check_character_is_found(change: int, area: str, born: datetime.date) -> None:
    body = f"{area}{born:%Y%m%d}".ljust(14, "0") + "123"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    right = "10X98765432"[sum(w * int(d) for w, d in zip(weights, body, strict=True)) % 11]
    assert call("id_card(v)", v=body + right) == body + right
    if str(change) != right:
        assert call("id_card_valid(v)", v=f"{body}{change}") is False


def test_plugin_functions_are_called_by_name() -> None:
    functions = with_plugins({"twice": lambda value, times=2: value * times, "length_of": len})
    evaluate = compile_expression("v | twice(times=3)", "json", functions=functions)
    assert evaluate({"v": "ab"}, Context()) == "ababab"
    with pytest.raises(MappingError, match="twice"):
        compile_expression("v | twice(1, 2, 3)", "json", functions=functions)
    with pytest.raises(MappingError) as caught:
        compile_expression("v | length_of", "json", functions=functions)({"v": 5}, Context())
    assert "TypeError" in str(caught.value)


@pytest.mark.parametrize("name", ["upper", "a b", "_x", "é", "1x", ""])
def test_plugin_functions_need_a_name_of_their_own(name: str) -> None:
    with pytest.raises(ValueError):
        with_plugins({name: len})


def test_what_a_plugin_function_raises_is_not_repeated() -> None:
    def fail(value: object) -> object:
        raise RuntimeError(f"secret of {value}")

    evaluate = compile_expression("v | broken", "json", functions=with_plugins({"broken": fail}))
    with pytest.raises(MappingError) as caught:
        evaluate({"v": "张三"}, Context())
    assert "secret" not in str(caught.value)
    assert "张三" not in str(caught.value)
    assert "RuntimeError" in str(caught.value)


def test_what_loops_compute_of_the_same_texts_is_the_same(folder: Folder) -> None:
    text = """
        fields:
          each: OBX
          id: stable_id('x', .3, PID-3, 1)
          one: stable_id('k', .3)
          two: stable_id(.3, .4)
          at: .14 | datetime
          utc: .14 | datetime(tz='UTC')
          text: .5
          found: .3 | regex_find('[A-Z]+(\\d?)')
          whole: regex_match(.3, '[A-Z]\\d')
    """
    rows = [("A1", "", "x\\T\\y"), ("B", "A1", "x\\T\\y"), ("A1", "", "z"), ("", "A1", "x\\T\\y"), ("b2", "", "\\T\\")]
    lines = [f"OBX|1|ST|{code}|{sub}|{value}|||||||||20260115{10 + len(code)}" for code, sub, value in rows]
    message = Hl7Codec().decode("\r".join(["MSH|^~\\&|", "PID|1||8", *lines, ""]).encode())
    loop = textwrap.dedent(text)
    (found,) = folder.mapping(loop, source="hl7v2").run(message, Context())
    alone = folder.mapping("split: OBX\n" + loop.replace("  each: OBX\n", ""), name="s", source="hl7v2")
    single = [
        alone.run(Hl7Codec().decode("\r".join(["MSH|^~\\&|", "PID|1||8", line, ""]).encode()), Context())
        for line in lines[:3]
    ]
    assert found[:3] == [one[0] for one in single]
    assert [entry["text"] for entry in found] == ["x&y", "x&y", "z", "x&y", "&"]
    assert found[0] == {**found[2], "text": "x&y"}
    assert len({entry["two"] for entry in found}) == 4
    assert [entry.get("found") for entry in found] == ["1", None, "1", None, None]
    assert [entry["whole"] for entry in found] == [True, False, True, False, False]


def test_what_is_not_asked_for_is_not_computed_in_loops_either(folder: Folder) -> None:
    text = "fields: {each: OBX, id: \"stable_id(concat(.3, fail('asked') if .4 else '')) if .1 == '1' else .3\"}\n"
    message = Hl7Codec().decode(b"MSH|^~\\&|\rOBX|1||A\rOBX|2||B|x\rOBX|1||A\r")
    (found,) = folder.mapping(text, source="hl7v2").run(message, Context())
    assert found == [found[0], {"id": "B"}, found[0]]
    with pytest.raises(MappingError, match="asked"):
        folder.library().get("m").run(Hl7Codec().decode(b"MSH|^~\\&|\rOBX|1||A|x\r"), Context())


def test_a_text_too_long_for_a_pattern_is_refused_wherever_it_is_found() -> None:
    for call in ("regex_match('[a-c]*x?[a-c]*x?[a-c]*y')", "regex_find('[a-c]*x?[a-c]*x?[a-c]*y')"):
        for codec in ("hl7v2", "json"):
            evaluate = compile_expression(f"{'PID-3' if codec == 'hl7v2' else 'v'} | {call}", codec)
            long = "a" * 5000
            tree = Hl7Codec().decode(f"MSH|^~\\&|\rPID|1||{long}\r".encode()) if codec == "hl7v2" else {"v": long}
            with pytest.raises(MappingError, match="too long for this pattern"):
                evaluate(tree, Context())
