"""Units of UCUM: published factors, and that converting there and back gives what was there."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.errors import MappingError
from hub.mapping import Context, compile_expression
from hub.mapping.functions import BUILTIN
from hub.mapping.functions.units import parse_unit
from hub.mapping.runtime import FunctionError

ALIKE = [
    ["g/L", "mg/dL", "ug/mL", "kg/m3"],
    ["mmol/L", "umol/L", "nmol/mL", "mol/m3"],
    ["10*9/L", "10*3/uL", "/nL", "×10⁹/L", "10^9/L", "{cells}/nL"],
    ["mm[Hg]", "kPa", "mmHg", "cm[H2O]", "mbar"],
    ["Cel", "[degF]", "K", "℃"],
    ["d", "h", "wk", "mo", "a", "min"],
    ["mL/min/{1.73_m2}", "mL/s", "L/d"],
    ["U/L", "nkat/L", "ukat/mL"],
    ["mIU/L", "u[iU]/mL", "m[iU]/L", "µIU/mL"],
    ["kg/m2", "kg/m²", "g/cm2"],
]


def convert(value: Any, source: str, target: str, **options: Any) -> Any:
    return BUILTIN["convert_unit"].call(value, source, target, **options)


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        ("13.1", "g/dL", "g/L", 131),
        ("120", "mm[Hg]", "kPa", Decimal("15.99864")),
        ("37", "Cel", "[degF]", Decimal("98.6")),
        ("98.6", "℉", "℃", 37),
        ("0", "Cel", "K", Decimal("273.15")),
        ("6.2", "×10⁹/L", "10*3/uL", Decimal("6.2")),
        ("30", "mIU/L", "u[iU]/mL", 30),
        ("45", "%", "1", Decimal("0.45")),
        ("9", "U/L", "nkat/L", 150),
        ("1", "kg/m²", "g/cm2", Decimal("0.1")),
        ("1", "[lb_av]", "kg", Decimal("0.45359237")),
        ("1", "[in_i]", "cm", Decimal("2.54")),
        ("-40", "Cel", "[degF]", -40),
    ],
)
def test_factors(value: str, source: str, target: str, expected: Any) -> None:
    assert convert(value, source, target) == expected


def test_moles_become_grams_only_when_told_of_what() -> None:
    assert convert("5.6", "mmol/L", "mg/dL", analyte="glucose") == Decimal("100.88736")
    assert convert("5.6", "mmol/L", "mg/dL", molar_mass="180.156") == Decimal("100.88736")
    assert round(convert(100, "mg/dL", "mmol/L", analyte="cholesterol"), 2) == Decimal("2.59")
    assert round(convert(1, "mg/dL", "umol/L", analyte="creatinine"), 1) == Decimal("88.4")
    assert round(convert(1, "mg/dL", "umol/L", analyte="bilirubin"), 1) == Decimal("17.1")
    assert convert("5", "mmol/L", "umol/L", analyte="glucose") == 5000
    for options in ({}, {"analyte": "water"}, {"molar_mass": 0}, {"analyte": "glucose", "molar_mass": 1}):
        with pytest.raises(FunctionError):
            convert("5.6", "mmol/L", "mg/dL", **options)


@pytest.mark.parametrize(
    ("source", "target"),
    [("mmol/L", "mm[Hg]"), ("U/L", "[iU]/L"), ("g", "L"), ("10*9/L", "mmol/L"), ("mmol/L", "meq/L"), ("Cel", "g")],
)
def test_what_measures_something_else_is_refused(source: str, target: str) -> None:
    with pytest.raises(FunctionError):
        convert("1", source, target)


@pytest.mark.parametrize(
    "unit", ["", "xyz", "mmol//L", "Cel/L", "Cel2", "m99", "mm Hg2 3", "(g)", "1" * 61, "/", "g/", "2g"]
)
def test_what_is_no_unit(unit: str) -> None:
    with pytest.raises(FunctionError):
        parse_unit(unit)


@pytest.mark.parametrize("units", ALIKE, ids=lambda units: units[0])
@given(value=st.decimals("-10000", "10000", places=3), data=st.data())
@settings(max_examples=40, deadline=None)
def test_there_and_back(units: list[str], value: Decimal, data: st.DataObject) -> None:
    source, target = data.draw(st.sampled_from(units)), data.draw(st.sampled_from(units))
    back = Decimal(convert(convert(value, source, target), target, source))
    assert abs(back - value) <= max(abs(value), 500) * Decimal("1e-11")


@given(st.text("mgLdlUkuµμ0123456789*^/.[]{}() ×⁹iHO%", max_size=20))
@settings(max_examples=300, deadline=None)
def test_a_unit_is_understood_or_refused(text: str) -> None:
    try:
        assert parse_unit(text).factor > 0
    except FunctionError as error:
        assert "UCUM" in error.text  # noqa: PT017


def test_in_a_mapping_units_that_are_written_out_are_checked_when_it_is_compiled() -> None:
    run = compile_expression("value | convert_unit(unit, 'g/L')", "json")
    assert run({"value": "1.5", "unit": "g/dL"}, Context()) == 15
    assert run({"unit": "g/dL"}, Context()) is None
    assert run({"value": 1}, Context()) is None
    for text in ("x | convert_unit('g/Q', 'g/L')", "x | convert_unit('g', 'g', analyte='gold')"):
        with pytest.raises(MappingError):
            compile_expression(text, "json")
    lenient = compile_expression("x | convert_unit(u, 'g/L', invalid='null')", "json")
    assert lenient({"x": "1", "u": "?"}, Context()) is None
