"""Numbers and codes used in China, money, ages: published examples, and properties that hold for all of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.mapping.functions import BUILTIN
from hub.mapping.functions.china import _COMPOUND, _CREDIT, _credit_check, _organisation_check
from hub.mapping.runtime import FunctionError

few = settings(max_examples=150, deadline=None)
CONVERTERS = [
    "credit_code", "organisation_code", "division", "ethnic_group", "family_name", "given_name", "mobile", "landline",
    "plate_number", "bank_card", "yuan", "fen", "amount_in_words", "chinese_numeral", "chinese_number",
]  # fmt: skip


def call(name: str, *arguments: Any, **options: Any) -> Any:
    return BUILTIN[name].call(*arguments, **options)


def refused(name: str, *arguments: Any) -> bool:
    try:
        call(name, *arguments)
    except FunctionError:
        return True
    return False


@pytest.mark.parametrize("name", CONVERTERS)
def test_an_absent_value_is_null(name: str) -> None:
    assert call(name, None) is None
    assert call(name, "") is None


@pytest.mark.parametrize("name", CONVERTERS)
@given(value=st.one_of(st.text(max_size=30), st.integers(), st.decimals(allow_nan=False), st.booleans(), st.just([1])))
@settings(max_examples=60, deadline=None)
def test_whatever_comes_is_converted_or_refused(name: str, value: Any) -> None:
    try:
        call(name, value)
    except FunctionError as error:
        assert error.text.startswith(name) or "number too long" in error.text  # noqa: PT017


# -- organisations -----------------------------------------------------------------------------------------------------


def test_credit_codes() -> None:
    assert call("credit_code", "91350100m000100y43 ") == "91350100M000100Y43"
    assert call("organisation_code", "91350100M000100Y43") == "M000100Y4"
    assert call("organisation_code", "M000100Y-4") == "M000100Y4"
    for wrong in ("91350100M000100Y44", "91350100M000100Y4", "91350100O000100Y43", "M000100Y5"):
        assert refused("credit_code", wrong)
        assert refused("organisation_code", wrong)


@few
@given(st.text("0123456789", min_size=6, max_size=6), st.text(_CREDIT, min_size=8, max_size=8), st.data())
def test_a_changed_character_is_found(division: str, organisation: str, data: st.DataObject) -> None:
    body = "91" + division + organisation + _organisation_check(organisation)
    code = body + _credit_check(body)
    assert call("credit_code", code) == code
    place = data.draw(st.integers(0, 17))
    other = data.draw(st.sampled_from(_CREDIT))
    if other != code[place]:
        assert refused("credit_code", code[:place] + other + code[place + 1 :])


# -- places ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "level", "expected"),
    [
        ("320102", "province", "320000"),
        ("320102", "city", "320100"),
        ("320102", "county", "320102"),
        ("320100", "county", None),
        ("320000", "city", None),
        ("320102001", "county", "320102"),
        ("320102001", "town", "320102001"),
        ("320102", "town", None),
        ("320102001003", "village", "320102001003"),
        ("320102001000", "village", None),
        ("11010519491231002X", "city", "110100"),
        (320102, "city", "320100"),
    ],
)
def test_divisions(code: Any, level: str, expected: str | None) -> None:
    assert call("division", code, level) == expected


def test_what_is_no_division() -> None:
    for wrong in ("3201", "020102", "ABCDEF", "32010200", "南京"):
        assert refused("division", wrong)
    assert refused("division", "320102", "street")


# -- people ------------------------------------------------------------------------------------------------------------


def test_ethnic_groups_in_every_form() -> None:
    assert call("ethnic_group", "维吾尔") == "05"
    assert call("ethnic_group", "5", "name") == "维吾尔族"
    assert call("ethnic_group", "ug", "letters") == "UG"
    assert len({call("ethnic_group", str(number), "letters") for number in range(1, 57)}) == 56
    for number in range(1, 57):
        code = f"{number:02}"
        assert call("ethnic_group", call("ethnic_group", code, "name")) == code
        assert call("ethnic_group", call("ethnic_group", code, "letters")) == code
    for wrong in ("57", "0", "族", "H"):
        assert refused("ethnic_group", wrong)
    assert refused("ethnic_group", "01", "pinyin")


@pytest.mark.parametrize(
    ("name", "family", "given_"),
    [
        ("张三", "张", "三"),
        ("欧阳明", "欧阳", "明"),
        ("司马 相如", "司马", "相如"),
        ("诸葛", "诸", "葛"),
        ("爱新觉罗溥仪", "爱新觉罗", "溥仪"),
        ("買", None, "買"),
        ("阿卜杜拉·买买提", None, "阿卜杜拉·买买提"),
        ("John Smith", None, "John Smith"),
    ],
)
def test_names_are_split(name: str, family: str | None, given_: str) -> None:
    assert (call("family_name", name), call("given_name", name)) == (family, given_)


@few
@given(st.sampled_from(sorted(_COMPOUND)), st.text("明丽芳伟强", min_size=1, max_size=2))
def test_both_parts_make_the_name_again(family: str, rest: str) -> None:
    assert call("family_name", family + rest) + call("given_name", family + rest) == family + rest
    assert call("family_name", family + rest) == family


# -- phones, plates, cards ---------------------------------------------------------------------------------------------


def test_phones() -> None:
    for written in ("13812345678", "+86 138-1234-5678", "0086 13812345678", "8613812345678"):
        assert call("mobile", written) == "13812345678"
    for written in ("(025)8327 1111", "+86-25-83271111", "02583271111"):
        assert call("landline", written) == "025-83271111"
    assert call("landline", "05127654321") == "0512-7654321"
    for wrong in ("12812345678", "1381234567", "02583271111", "+441632960001"):
        assert refused("mobile", wrong)
    for wrong in ("83271111", "02513271111", "13812345678"):
        assert refused("landline", wrong)


@pytest.mark.parametrize(
    ("written", "plate"),
    [
        ("苏A·12345", "苏A12345"),
        ("苏 ad12345", "苏AD12345"),
        ("苏A12345D", "苏A12345D"),
        ("粤B1234学", "粤B1234学"),
        ("鲁B1234挂", "鲁B1234挂"),
        ("京A1234警", "京A1234警"),
        ("粤Z1234港", "粤Z1234港"),
        ("使123456", "使123456"),
        ("WJ苏1234A", "WJ苏1234A"),
    ],
)
def test_plates(written: str, plate: str) -> None:
    assert call("plate_number", written) == plate


def test_what_is_no_plate() -> None:
    for wrong in ("苏I12345", "苏A1234", "苏A123456", "台A12345", "苏AL12345", "12345"):
        assert refused("plate_number", wrong)


@few
@given(st.text("0123456789", min_size=11, max_size=17), st.data())
def test_cards_have_a_check_digit(body: str, data: st.DataObject) -> None:
    body = "6" + body
    fitting = [digit for digit in "0123456789" if not refused("bank_card", body + digit)]
    assert len(fitting) == 1
    card = body + fitting[0]
    place = data.draw(st.integers(1, len(card) - 1))
    changed = card[:place] + str((int(card[place]) + 1) % 10) + card[place + 1 :]
    assert refused("bank_card", changed)
    assert call("bank_card", f"{card[:4]} {card[4:]}") == card


# -- money and numerals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        ("1409.50", "壹仟肆佰零玖元伍角"),
        ("6007.14", "陆仟零柒元壹角肆分"),
        ("1680.32", "壹仟陆佰捌拾元叁角贰分"),
        ("107000.53", "壹拾万柒仟元伍角叁分"),
        ("16409.02", "壹万陆仟肆佰零玖元零贰分"),
        ("325.04", "叁佰贰拾伍元零肆分"),
        ("0.05", "伍分"),
        (0.5, "伍角"),
        (0, "零元整"),
        (100000000, "壹亿元整"),
        ("-12", "负壹拾贰元整"),
        ("10.005", "壹拾元零壹分"),
        ("10000.00", "壹万元整"),
    ],
)
def test_amounts_in_words(amount: Any, words: str) -> None:
    assert call("amount_in_words", amount) == words


def test_amounts_too_large() -> None:
    assert refused("amount_in_words", 10**16)
    assert refused("amount_in_words", "9" * 60)
    assert refused("chinese_numeral", 10**16)
    assert refused("chinese_numeral", "1.5")


@few
@given(st.integers(0, 10**16 - 1))
def test_numerals_can_be_read_back(number: int) -> None:
    text = call("chinese_numeral", number)
    assert call("chinese_number", text) == number
    assert "零零" not in text
    words = call("amount_in_words", number).removesuffix("元整")
    assert call("chinese_number", words) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("十五", 15),
        ("二〇二六", 2026),
        ("两万", 20000),
        ("贰拾", 20),
        ("三千零五十", 3050),
        ("一百二十三", 123),
        ("零", 0),
    ],
)
def test_numerals_people_write(text: str, number: int) -> None:
    assert call("chinese_number", text) == number


@pytest.mark.parametrize("text", ["一万五", "亿", "百", "一二十", "十十", "12", "三千五十零", "零零百"])
def test_what_is_no_number(text: str) -> None:
    assert refused("chinese_number", text)


@few
@given(st.integers(-(10**15), 10**15))
def test_fen_and_yuan(number: int) -> None:
    assert call("fen", call("yuan", number)) == number
    assert call("yuan", number) == Decimal(number) / 100
    assert str(call("yuan", number))[-3] == "."


def test_what_is_no_fen() -> None:
    assert refused("fen", "1.005")
    assert refused("yuan", "1.5")


# -- ages --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("birth", "at", "years", "text"),
    [
        ("19830502", "2026-11-28", 43, "43岁"),
        ("19831128", "2026-11-28", 43, "43岁"),
        ("19831129", "2026-11-28", 42, "42岁"),
        ("20000229", "20010228", 0, "11月30天"),
        ("20000229", "20010301", 1, "1岁"),
        ("20260825", "2026-11-28", 0, "3月3天"),
        ("20260828", "2026-11-28", 0, "3月"),
        ("20260131", "20260301", 0, "1月"),
        ("20261120", "20261128", 0, "8天"),
        ("20261128", "20261128", 0, "0天"),
        ("20261128060000", "2026-11-28T12:30:00+08:00", 0, "6小时"),
        ("1983", "20261128", None, "43岁"),
        ("1983-05", "20261128", None, "43岁"),
        ("", "20261128", None, None),
        ("19830502", None, None, None),
        ('""', "20261128", None, None),
        ("2026-11-28T23:00:00Z", "2026-11-29T08:00:00+08:00", 0, "1小时"),
    ],
)
def test_ages(birth: Any, at: Any, years: int | None, text: str | None) -> None:
    assert call("age", birth, at) == years
    assert call("age_text", birth, at) == text


def test_ages_in_other_units() -> None:
    assert call("age", "20251128", "20261128", "months") == 12
    assert call("age", "20251128", "20261128", "days") == 365
    assert call("age", "20261128060000", "20261128123000", "hours") == 6
    assert call("age", "20261128", "20261128", "hours") is None
    for wrong in (
        ("20261129", "20261128"),
        ("20261128", "2026-11"),
        ("x", "20261128"),
        ("20261128", "20261128", "weeks"),
    ):
        assert refused("age", *wrong)


@few
@given(st.dates(), st.dates())
def test_an_age_is_reached_on_the_birthday_and_not_before(one: Any, other: Any) -> None:
    born, then = sorted((one, other))
    years = call("age", born.isoformat(), then.isoformat())
    assert years == then.year - born.year - ((then.month, then.day) < (born.month, born.day))
    assert call("age", born.isoformat(), then.isoformat(), "days") == (then - born).days
    assert call("age_text", born.isoformat(), then.isoformat())
