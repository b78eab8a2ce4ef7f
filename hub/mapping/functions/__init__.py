"""The functions of the expression language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hub.mapping.functions.ages import AGES
from hub.mapping.functions.base import Function, plugin_function
from hub.mapping.functions.china import CHINA_CODES
from hub.mapping.functions.choice import CHOICE
from hub.mapping.functions.date_sums import DATE_SUMS
from hub.mapping.functions.dates import DATES
from hub.mapping.functions.documents import DOCUMENTS
from hub.mapping.functions.fhir import FHIR
from hub.mapping.functions.identity import IDENTITY
from hub.mapping.functions.lists import LISTS
from hub.mapping.functions.money import MONEY
from hub.mapping.functions.numbers import NUMBERS
from hub.mapping.functions.packing import PACKING
from hub.mapping.functions.privacy import PRIVACY
from hub.mapping.functions.text import TEXT
from hub.mapping.functions.units import UNITS

__all__ = ["BUILTIN", "Function", "with_plugins"]

BUILTIN: Mapping[str, Function] = {
    **CHOICE.functions,
    **TEXT.functions,
    **NUMBERS.functions,
    **MONEY.functions,
    **UNITS.functions,
    **DATES.functions,
    **DATE_SUMS.functions,
    **AGES.functions,
    **LISTS.functions,
    **IDENTITY.functions,
    **CHINA_CODES.functions,
    **PACKING.functions,
    **PRIVACY.functions,
    **DOCUMENTS.functions,
    **FHIR.functions,
}


def with_plugins(functions: Mapping[str, Callable[..., Any]]) -> dict[str, Function]:
    """The built-in functions and those of plugins; raises ``ValueError`` for a name that is taken or can't be written."""
    known = dict(BUILTIN)
    for name, call in functions.items():
        if name in BUILTIN:
            raise ValueError(f"function {name!r} is built in")
        known[name] = plugin_function(name, call)
    return known
