"""Units of measure: conversion of values between units of UCUM.

Source: The Unified Code for Units of Measure, version 2.1, tables 1 to 7 (the units laboratories and monitors use), with exact factors. The mole is a
number here, as in UCUM: an amount of substance becomes a mass only with the molar mass of what is measured, in g/mol, from
IUPAC's standard atomic weights (2021, abridged).
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

from hub.i18n import t
from hub.mapping.functions.base import Registry, text_of
from hub.mapping.functions.numbers import bounded
from hub.mapping.runtime import ARITHMETIC, FunctionError, is_absent

__all__ = ["UNITS", "parse_unit"]

UNITS = Registry()


class Unit(NamedTuple):
    """``powers``: of metre, second, gram, kelvin, mole. ``kind``: of units that compare with nothing else, such as ``[iU]``."""

    factor: Fraction
    powers: tuple[int, ...] = (0, 0, 0, 0, 0)
    kind: str = ""
    offset: Fraction = Fraction(0)  # of temperatures: kelvin at the unit's zero


def _plain(factor: Fraction | int | str, *powers: int) -> Unit:
    return Unit(Fraction(factor), (*powers, 0, 0, 0, 0, 0)[:5])


def _own(kind: str, moles: int = 0) -> Unit:
    return Unit(Fraction(1), (0, 0, 0, 0, moles), kind)


_PREFIXES = {
    "": Fraction(1),
    **{
        name: Fraction(10) ** power
        for name, power in zip(
            ["T", "G", "M", "k", "h", "da", "d", "c", "m", "u", "n", "p", "f"],
            (12, 9, 6, 3, 2, 1, -1, -2, -3, -6, -9, -12, -15),
            strict=True,
        )
    },
}
_METRIC = {
    "m": _plain(1, 1),
    "s": _plain(1, 0, 1),
    "g": _plain(1, 0, 0, 1),
    "K": _plain(1, 0, 0, 0, 1),
    "mol": _plain(1, 0, 0, 0, 0, 1),
    "eq": _own("eq", 1),
    "osm": _own("osm", 1),
    "L": _plain("1/1000", 3),
    "l": _plain("1/1000", 3),
    "Hz": _plain(1, 0, -1),
    "N": _plain(1000, 1, -2, 1),
    "Pa": _plain(1000, -1, -2, 1),
    "bar": _plain(10**8, -1, -2, 1),
    "m[Hg]": _plain(133_322_000, -1, -2, 1),
    "m[H2O]": _plain(9_806_650, -1, -2, 1),
    "J": _plain(1000, 2, -2, 1),
    "W": _plain(1000, 2, -3, 1),
    "cal": _plain(4184, 2, -2, 1),
    "kat": _plain(1, 0, -1, 0, 0, 1),
    "U": _plain("1/60000000", 0, -1, 0, 0, 1),
    "[iU]": _own("[iU]"),
    "[IU]": _own("[iU]"),
    "Bq": _plain(1, 0, -1),
    "Gy": _plain(1, 2, -2),
}
_OTHER = {
    "1": _plain(1),
    "10*": _plain(10),
    "10^": _plain(10),
    "%": _plain("1/100"),
    "[ppm]": _plain("1/1000000"),
    "[ppth]": _plain("1/1000"),
    "min": _plain(60, 0, 1),
    "h": _plain(3600, 0, 1),
    "d": _plain(86_400, 0, 1),
    "wk": _plain(604_800, 0, 1),
    "mo": _plain("2629800", 0, 1),
    "a": _plain("31557600", 0, 1),
    "Cel": Unit(Fraction(1), (0, 0, 0, 1, 0), "", Fraction("273.15")),
    "[degF]": Unit(Fraction(5, 9), (0, 0, 0, 1, 0), "", Fraction("273.15") - 32 * Fraction(5, 9)),
    "[in_i]": _plain("0.0254", 1),
    "[ft_i]": _plain("0.3048", 1),
    "[lb_av]": _plain("453.59237", 0, 0, 1),
    "[oz_av]": _plain("28.349523125", 0, 0, 1),
    "[pH]": _own("[pH]"),
    "[arb'U]": _own("[arb'U]"),
    "[CFU]": _own("[CFU]"),
    "[drp]": _plain("1/20000000", 3),
}
#: What laboratories in China write instead.
_WRITTEN = (
    (re.compile("[μµ]"), "u"),
    (re.compile(r"[×xX*]?10\s*\^\s*(-?\d+)"), r"10*\1"),
    (re.compile(r"[×xX]\s*10\*"), "10*"),
    (re.compile("℃|°C"), "Cel"),
    (re.compile("℉|°F"), "[degF]"),
    (re.compile(r"mm\s?Hg"), "mm[Hg]"),
    (re.compile(r"cm\s?H2O"), "cm[H2O]"),
    (re.compile(r"(?<![A-Za-z\[])([mkμu]?)IU(?![A-Za-z])"), r"\1[iU]"),
)
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_SUPERSCRIPTS = re.compile("([⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)")
_ANNOTATED = re.compile(r"(?<=[\w\]%'*])\{[^{}]*\}")
_ANNOTATION = re.compile(r"\{[^{}]*\}")
_TERM = re.compile(r"(10[*^]|1|[^\d./(){}]*(?:\[[^\]]*\])?[^\d./(){}+-]*)([+-]?\d+)?")
_MAX_UNIT = 60
#: Molar masses, g/mol, of what is reported both ways; of triglycerides that of triolein, by convention.
_ANALYTES = {
    "glucose": "180.156",
    "cholesterol": "386.65",
    "triglycerides": "885.43",
    "creatinine": "113.12",
    "urea": "60.056",
    "urea nitrogen": "28.014",
    "uric acid": "168.11",
    "bilirubin": "584.66",
    "calcium": "40.078",
    "phosphorus": "30.974",
    "magnesium": "24.305",
    "iron": "55.845",
    "lactate": "90.078",
    "haemoglobin": "64458",
}


@lru_cache(maxsize=1024)
def parse_unit(text: str) -> Unit:
    """A unit of UCUM, or as it is commonly written in China (×10⁹/L, μmol/L, mmHg, ℃); raises :class:`FunctionError`."""
    if not text or len(text) > _MAX_UNIT:
        raise _unknown(text)
    written = _SUPERSCRIPTS.sub(lambda found: "^" + found[1].translate(_SUPERSCRIPT), text.strip())
    for pattern, instead in _WRITTEN:
        written = pattern.sub(instead, written)
    written = re.sub(r"(?<=[A-Za-z])\^(-?\d)", r"\1", written)
    written = _ANNOTATION.sub("1", _ANNOTATED.sub("", written))
    factor, powers, kinds, offset = Fraction(1), [0] * 5, [], Fraction(0)
    sign = -1 if written.startswith("/") else 1
    terms = re.split("([./])", written.removeprefix("/"))
    for number, term in enumerate(terms):
        if number % 2:
            sign = 1 if term == "." else -1
            continue
        found = _TERM.fullmatch(term)
        if not found or not found[1]:
            raise _unknown(text)
        unit = _atom(found[1], text)
        power = int(found[2] or 1) * sign
        if abs(power) > 18 or (unit.offset and (len(terms) > 1 or power != 1)):
            raise _unknown(text)
        factor *= unit.factor**power
        powers = [sum_ + own * power for sum_, own in zip(powers, unit.powers, strict=True)]
        kinds += [f"{unit.kind}{power}"] if unit.kind else []
        offset = unit.offset
    return Unit(factor, tuple(powers), " ".join(sorted(kinds)), offset)


def _atom(name: str, text: str) -> Unit:
    found = _OTHER.get(name) or _METRIC.get(name)
    if found is not None:
        return found
    for size in (2, 1):
        prefix, rest = _PREFIXES.get(name[:size]), _METRIC.get(name[size:])
        if prefix is not None and rest is not None:
            return rest._replace(factor=rest.factor * prefix)
    raise _unknown(text)


def _unknown(text: str) -> FunctionError:
    return FunctionError(
        t(f"{text[:_MAX_UNIT]!r} is no unit of UCUM", f"{text[:_MAX_UNIT]!r} 不是 UCUM 单位"),
        remedy=t("as mmol/L, mg/dL, 10*9/L, mm[Hg], Cel", "如 mmol/L、mg/dL、10*9/L、mm[Hg]、Cel"),
    )


def _molar_mass(analyte: Any, molar_mass: Any) -> Fraction | None:
    if molar_mass is not None and analyte is not None:
        raise FunctionError(
            t("convert_unit: either analyte or molar_mass", "convert_unit：analyte 与 molar_mass 只能用其一")
        )
    if molar_mass is not None:
        mass = Fraction(bounded(molar_mass, "convert_unit"))
        if mass <= 0:
            raise FunctionError(t("convert_unit: a molar mass is greater than 0", "convert_unit：摩尔质量须大于 0"))
        return mass
    if analyte is None:
        return None
    known = _ANALYTES.get(analyte) if isinstance(analyte, str) else None
    if known is None:
        raise FunctionError(
            t("convert_unit: the molar mass of this is not known", "convert_unit：未知该物质的摩尔质量"),
            remedy=t(
                f"molar_mass=… in g/mol, or one of {', '.join(_ANALYTES)}",
                f"请用 molar_mass=…（g/mol），或 {'、'.join(_ANALYTES)} 之一",
            ),
        )
    return Fraction(known)


def _check(literals: Any) -> None:
    for name in ("source", "target"):
        if isinstance(literals.get(name), str):
            parse_unit(literals[name])
    if isinstance(literals.get("analyte"), str):
        _molar_mass(literals["analyte"], None)


@UNITS.add(check=_check, converts=True)
def convert_unit(value: Any, source: Any, target: Any, *, analyte: Any = None, molar_mass: Any = None) -> Any:
    """A value in another unit of UCUM: OBX-5 | convert_unit('g/L', 'g/dL'); between mol and g only with analyte='glucose' or molar_mass=.

    At most 15 significant digits; round to as many as the receiver shows.
    """
    if is_absent(value) or is_absent(source):
        return None
    number = Fraction(bounded(value, "convert_unit"))
    one, other = (parse_unit(text_of(unit, "convert_unit")) for unit in (source, target))
    mass = _molar_mass(analyte, molar_mass)
    if (one.powers, one.kind) != (other.powers, other.kind):
        number *= _between(one, other, mass)
    result = (number * one.factor + one.offset - other.offset) / other.factor
    if result.denominator == 1 and abs(result.numerator) < 10**15:
        return result.numerator
    if abs(result) >= 10**100 or (result and abs(result) < Fraction(1, 10**100)):
        raise FunctionError(t("convert_unit: out of range", "convert_unit：超出范围"), value)
    found = ARITHMETIC.divide(Decimal(result.numerator), Decimal(result.denominator))
    return Decimal(f"{found:.15g}").normalize(ARITHMETIC)


def _between(one: Unit, other: Unit, mass: Fraction | None) -> Fraction:
    """The factor between a unit with a mole and one with a gram in its place."""
    metre, second, grams, kelvin, moles = (b - a for a, b in zip(one.powers, other.powers, strict=True))
    if one.kind == other.kind and not (metre or second or kelvin) and grams == -moles and abs(grams) == 1:
        if mass is not None:
            return mass if grams == 1 else 1 / mass
        raise FunctionError(
            t("convert_unit: mol and g need the molar mass", "convert_unit：摩尔与质量换算须给出摩尔质量"),
            remedy=t("analyte='glucose', or molar_mass=180.156", "analyte='glucose' 或 molar_mass=180.156"),
        )
    raise FunctionError(
        t("convert_unit: these units measure different things", "convert_unit：两个单位的量不同"),
        remedy=t("mmol/L and mg/dL, mm[Hg] and kPa can be converted", "如 mmol/L 与 mg/dL、mm[Hg] 与 kPa 可以换算"),
    )
