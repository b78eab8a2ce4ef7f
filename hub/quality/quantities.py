"""Plausible limits of measured quantities, by unit: what no living patient and no lorry has is an error of writing.

The limits are wide on purpose: they separate wrong units and slipped digits from sick people. They are plain sense, not a reference
range; a rule with ``range:`` narrows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

__all__ = ["QUANTITIES", "QuantityLimits", "unit_key"]


@dataclass(frozen=True, slots=True)
class QuantityLimits:
    """``limits``: unit (:func:`unit_key`) to the smallest and largest plausible value; the first unit is the usual one."""

    name: str
    limits: dict[str, tuple[Decimal, Decimal]]

    @property
    def usual(self) -> str:
        return next(iter(self.limits))


_ALIASES = {
    "℃": "cel", "°c": "cel", "c": "cel", "degc": "cel", "摄氏度": "cel", "度": "cel",
    "[degf]": "degf", "°f": "degf", "℉": "degf", "f": "degf",
    "次/分": "/min", "次/分钟": "/min", "次/min": "/min", "bpm": "/min", "{beats}/min": "/min", "beats/min": "/min",
    "1/min": "/min", "{breaths}/min": "/min", "breaths/min": "/min",
    "mm[hg]": "mmhg", "毫米汞柱": "mmhg",
    "a": "y", "岁": "y", "年": "y", "yr": "y", "years": "y", "mo": "month", "月": "month", "wk": "week", "周": "week",
    "天": "d", "日": "d", "厘米": "cm", "米": "m", "公斤": "kg", "千克": "kg", "克": "g", "吨": "t", "公里": "km",
    "百分比": "%",
}  # fmt: skip


def unit_key(unit: str) -> str:
    """The unit under the name the limits have: blanks, case and usual spellings don't matter."""
    plain = unit.strip().replace(" ", "").lower().replace("µ", "u").replace("μ", "u")
    return _ALIASES.get(plain, plain)


def _quantity(name: str, units: dict[str, tuple[str, str]]) -> QuantityLimits:
    return QuantityLimits(name, {unit: (Decimal(low), Decimal(high)) for unit, (low, high) in units.items()})


QUANTITIES: dict[str, QuantityLimits] = {
    quantity.name: quantity
    for quantity in (
        _quantity("age", {"y": ("0", "130"), "month": ("0", "1560"), "week": ("0", "6780"), "d": ("0", "47500")}),
        _quantity("body_temperature", {"cel": ("25", "45"), "degf": ("77", "113")}),
        _quantity("pulse", {"/min": ("10", "350")}),
        _quantity("respiratory_rate", {"/min": ("2", "120")}),
        _quantity("systolic_pressure", {"mmhg": ("30", "320"), "kpa": ("4", "43")}),
        _quantity("diastolic_pressure", {"mmhg": ("10", "220"), "kpa": ("1.3", "30")}),
        _quantity("oxygen_saturation", {"%": ("20", "100")}),
        _quantity("body_height", {"cm": ("20", "260"), "m": ("0.2", "2.6")}),
        _quantity("body_weight", {"kg": ("0.2", "450"), "g": ("200", "450000")}),
        _quantity("glucose", {"mmol/l": ("0.1", "100"), "mg/dl": ("2", "1800")}),
        _quantity("haemoglobin", {"g/l": ("5", "300"), "g/dl": ("0.5", "30")}),
        _quantity("leukocytes", {"10*9/l": ("0", "1000"), "10^9/l": ("0", "1000")}),
        _quantity("platelets", {"10*9/l": ("0", "5000"), "10^9/l": ("0", "5000")}),
        _quantity("potassium", {"mmol/l": ("0.5", "20")}),
        _quantity("sodium", {"mmol/l": ("70", "250")}),
        _quantity("creatinine", {"umol/l": ("1", "5000"), "mg/dl": ("0.01", "60")}),
        _quantity("load_weight", {"t": ("0.001", "100"), "kg": ("1", "100000")}),
        _quantity("load_volume", {"m3": ("0.001", "200")}),
        _quantity("road_distance", {"km": ("0.1", "8000")}),
    )
}  # fmt: skip
