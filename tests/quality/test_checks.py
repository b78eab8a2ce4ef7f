"""The library of named checks; every number is invented and has a right check digit unless it is meant not to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.mapping.functions import BUILTIN
from hub.mapping.runtime import FunctionError
from hub.quality.checks import CHECKS
from hub.quality.quantities import QUANTITIES, unit_key
from hub.quality.runtime import quantity_fault
from tests.quality.conftest import NOW

RIGHT: dict[str, list[Any]] = {
    "is_email": ["yb@example.com", "a.b+c@mail.example.com.cn", "x_1@e-1.org"],
    "is_mobile": ["19900000012", "+8619900000012", "86-19900000012", "008619900000012", 19900000012],
    "is_landline": [
        "0591-87654321",
        "01087654321",
        "(010)87654321",
        "+86 10 87654321",
        "0591-8765432-123",
        "400-123-4567",
    ],
    "is_phone": ["19900000012", "0591-87654321", "+44 1632 960001", "8001234567"],
    "is_id_card": ["359999195401130124", "359999540113012", "11010119851207004X", "11010119851207004x"],
    "is_id_card_18": ["359999195401130124"],
    "is_credit_code": ["91359999MADEM00015", "91359999madem0027r", "91359999MADEM0003B"],
    "is_credit_code_or_id_card": ["91359999MADEM00015", "359999195401130124"],
    "is_plate_number": ["闽Z00007", "闽Z·00007", "闽z-00007", "京AD12345", "粤B12345D", "沪A1234挂", "粤Z1234港"],
    "is_bank_card": ["6228480000000000018", "6228 4800 0000 0000 018", "4111111111111111"],
    "is_vin": ["1M8GDM9AXKP042788", "LSVAA49J132047371"],
    "is_division": ["359999", "110101", "110101001", "110101001002"],
    "is_postal_code": ["350000", "010010"],
    "is_chinese_name": ["样本", "样本人", "买买提·样本", "阿卜杜勒·样·本"],
    "is_icd10": ["I10", "I10.x00", "E11.9", "A00.001", "I10.x00x002", "A17.0+", "G01*"],
    "is_unit": ["mmol/L", "10*9/L", "10^9/L", "mm[Hg]", "%", "[degF]", "次/分", "μmol/L", "g/24.h"],
    "is_passport": ["E12345678", "G1234567"],
    "is_number": ["1", "-0.50", 3, 2.5],
    "is_age": ["0", "72", "72岁", 3, "0.5"],
    "is_date": ["2026", "202611", "20261128", "2026-11-28", "20261128093015+0800", "2024-02-29"],
}
WRONG: dict[str, list[Any]] = {
    "is_email": [
        "",
        None,
        "yb",
        "yb@",
        "@example.com",
        "yb@example",
        "y b@example.com",
        "yb@-x.com",
        "a" * 400 + "@x.com",
    ],
    "is_mobile": ["", None, "12900000012", "1990000001", "199000000123", "1990000001a"],
    "is_landline": ["", "87654321", "0591-17654321", "0591-876"],
    "is_phone": ["", None, "1", "+8612", "+12", "电话"],
    "is_id_card": [
        "",
        None,
        "359999195401130125",
        "359999195402300120",
        "999999195401130124",
        "35999919540113012",
        "x" * 18,
    ],
    "is_id_card_18": ["359999540113012", ""],
    "is_credit_code": ["", None, "91359999MADEM00016", "91359999IADEM00015", "9135"],
    "is_credit_code_or_id_card": ["", "91359999MADEM00016", "359999195401130125"],
    "is_plate_number": ["", None, "闽Z0000", "XZ00007", "闽I00007", "闽Z000071", "闽Z0O007"],
    "is_bank_card": ["", None, "6228480000000000019", "123", "0228480000000000018"],
    "is_vin": ["", "1M8GDM9AXKP042789", "1M8GDM9AXKP04278", "IM8GDM9AXKP042788"],
    "is_division": ["", None, "999999", "35999", "3599991"],
    "is_postal_code": ["", "35000", "950000", "35000a"],
    "is_chinese_name": ["", None, "样", "样 本", "样本1", "Yang", "样本(床3)", "·样本"],
    "is_icd10": ["", None, "10", "I1", "高血压", "I10.", "I10.x00x"],
    "is_unit": ["", None, "mmol / L", "a b", "(", "x" * 400],
    "is_passport": ["", "E-1", "e12345678"],
    "is_number": ["", None, "1,5", "1e5", True, "一"],
    "is_age": ["", None, "131", "-1", "老", True, [], {}],
    "is_date": ["", None, "2026-02-30", "20261301", "x", "2026112", [], 1.5],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in RIGHT.items() for value in values])
def test_right(name: str, value: Any) -> None:
    assert CHECKS.functions[name].call(value) is True


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_wrong(name: str, value: Any) -> None:
    assert CHECKS.functions[name].call(value) is False


def _with_check_character(body: str) -> str:
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return body + "10X98765432"[sum(w * int(d) for w, d in zip(weights, body, strict=True)) % 11]


@given(st.integers(0, 10**17 - 1), st.integers(0, 17), st.integers(1, 9))
def test_one_wrong_digit_of_a_citizen_number_is_always_found(body: int, place: int, shift: int) -> None:
    number = _with_check_character("110101" + "19800101" + f"{body % 1000:03}")
    if place == 17 and number[17] == "X":
        changed = number[:17] + str(shift)
    elif place >= 14:
        changed = number[:place] + str((int(number[place]) + shift) % 10) + number[place + 1 :]
    else:
        return
    assert CHECKS.functions["is_id_card"].call(number)
    assert not CHECKS.functions["is_id_card"].call(changed)


def test_citizen_number_against_birth_date_and_sex() -> None:
    birth = CHECKS.functions["id_card_fits_birth_date"].call
    sex = CHECKS.functions["id_card_fits_sex"].call
    number = "359999195401130124"
    assert [birth(number, day) for day in ("19540113", "195401", "1954", "1954-01-13 10:00", "", None, "what")] == [
        True
    ] * 7
    assert [birth(number, day) for day in ("19540114", "195402", "1955")] == [False] * 3
    assert birth("359999540113012", "19540113")
    assert birth("no number", "1999")
    assert [sex(number, code) for code in ("2", "F", "female", "女", "9", "U", "")] == [True] * 7
    assert [sex(number, code) for code in ("1", "M", "male", "男")] == [False] * 4


def test_against_the_time_of_the_run() -> None:
    past, birth = (CHECKS.functions[name].call for name in ("is_past", "is_birth_date"))
    assert [past(day, now_us=NOW) for day in ("20261128", "2026-11-28T09:00:00+08:00", "2026")] == [True] * 3
    assert [past(day, now_us=NOW) for day in ("20261129", "2026-11-28 09:00:01", "2027", "", "x", None)] == [False] * 6
    assert [birth(day, now_us=NOW) for day in ("19540113", "1897", "2026")] == [True] * 3
    assert [birth(day, now_us=NOW) for day in ("18951127", "2027", "", "19540231")] == [False] * 4
    assert not birth("19540113", 50, now_us=NOW)


def test_differences() -> None:
    days, minutes, order = (CHECKS.functions[name].call for name in ("days_between", "minutes_between", "not_after"))
    assert (days("20261120", "20261128"), days("20261128", "20261120"), days("", "20261128")) == (8, -8, None)
    assert minutes("2026-11-28 09:00", "2026-11-28T10:30+08:00") == 90
    assert (
        order("2026-11", "20261101"),
        order("20261102", "2026-11"),
        order("20261201", "2026-11"),
        order("", "x"),
    ) == (
        True,
        True,
        False,
        True,
    )


def test_no_check_takes_the_place_of_a_function_of_mappings() -> None:
    assert not set(CHECKS.functions) & set(BUILTIN)


@pytest.mark.parametrize("name", [name for name in CHECKS.functions if name.startswith("is_")])
@given(value=st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=60)))
def test_checks_answer_whatever_they_get(name: str, value: Any) -> None:
    try:
        assert CHECKS.functions[name].call(value) in (True, False)
    except FunctionError:
        assert isinstance(value, bool | float)  # no text: what the function works on is said


@pytest.mark.parametrize(
    ("name", "value", "unit", "fault"),
    [
        ("body_temperature", "36.6", "℃", None),
        ("body_temperature", "98.6", "[degF]", None),
        ("body_temperature", "98.6", "Cel", "not between 25 and 45"),
        ("body_temperature", "36.6", None, None),
        ("body_temperature", "36.6", "kg", "the unit is not one of cel, degf"),
        ("body_temperature", "warm", "Cel", "not a number"),
        ("pulse", 72, "次/分", None),
        ("pulse", 720, "bpm", "not between 10 and 350"),
        ("systolic_pressure", "120", "mm[Hg]", None),
        ("systolic_pressure", "16.0", "kPa", None),
        ("age", "18", "月", None),
        ("creatinine", "88", "μmol/L", None),
        ("creatinine", "88", "umol / l", None),
    ],
)
def test_quantities(name: str, value: Any, unit: Any, fault: str | None) -> None:
    assert quantity_fault(name)(value, unit) == fault


def test_every_quantity_has_limits_in_order_under_the_name_units_have() -> None:
    for quantity in QUANTITIES.values():
        assert quantity.usual in quantity.limits
        for unit, (low, high) in quantity.limits.items():
            assert low < high
            assert unit_key(unit) == unit
