"""The definitions of HL7 v2 by version, as hl7apy has them: segments, data types, code tables, and the grouping of a message's segments."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import hl7apy
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.exceptions import HL7apyException
from hl7apy.factories import datatype_factory
from hl7apy.parser import parse_message

__all__ = ["Definition", "fits", "grouped", "segment", "structure", "table", "type_of", "versions"]

#: Events that share the structure of another, for senders that leave out MSH-9.3 (HL7 v2.5.1 table 0354).
_SHARED = {
    "ADT_A01": "A04 A08 A13",
    "ADT_A02": "A02",
    "ADT_A05": "A14 A28 A31",
    "ADT_A06": "A07",
    "ADT_A09": "A10 A11 A12",
    "ADT_A21": "A22 A23 A25 A26 A27 A29 A32 A33",
    "ADT_A39": "A40 A41 A42 A34 A35 A36",
    "ADT_A43": "A44",
    "ADT_A45": "A46 A47 A48 A49",
    "MDM_T01": "T03 T05 T07 T09 T11",
    "MDM_T02": "T04 T06 T08 T10",
    "ORU_R01": "R03",
    "QBP_Q21": "Q22 Q23 Q24",
    "SIU_S12": "S13 S14 S15 S16 S17 S18 S19 S20 S21 S22 S23 S24 S26",
}
_STRUCTURES = {f"{name[:3]}_{event}": name for name, events in _SHARED.items() for event in events.split()}
#: The version whose rules for dates hold where a version has no type for them.
_DATES_OF = "2.5.1"


class Definition(NamedTuple):
    """A segment, field or component: ``children`` are (name, definition, (least, most)), none for a plain value; most -1: any number."""

    children: tuple[tuple[str, Definition, tuple[int, int]], ...]
    datatype: str
    name: str
    table: str
    longest: int  # characters, -1: any


def versions() -> Sequence[str]:
    return sorted(hl7apy.SUPPORTED_LIBRARIES)


def _definition(reference: Any) -> Definition:
    children = tuple(
        (name, _definition(child), cardinality) for name, child, cardinality, *_ in reference[1] or () if child
    )
    datatype, name, table_name, longest = (*reference[2:6], None, None, None, None)[:4]
    words = str(name or "").replace("_", " ").capitalize()
    return Definition(children, datatype or "", words, table_name or "", -1 if longest is None else int(longest))


@lru_cache(maxsize=2_000)
def segment(name: str, version: str) -> Definition | None:
    """The fields of a segment; None for one the version does not have."""
    try:
        return _definition(hl7apy.load_reference(name, "Segment", version))
    except (HL7apyException, KeyError):
        return None


@lru_cache(maxsize=2_000)
def type_of(datatype: str, version: str) -> Definition | None:
    """The components of a data type, for OBX-5; None for one that is not known."""
    if datatype in hl7apy.load_library(version).get_base_datatypes():
        return Definition((), datatype, "", "", -1)
    try:
        children = hl7apy.load_reference(datatype, "Datatypes_Structs", version)
    except (HL7apyException, KeyError):
        return None
    return _definition(("sequence", children, datatype, None, None, -1))


@lru_cache(maxsize=5_000)
def table(name: str, version: str) -> frozenset[str]:
    """The codes of a table; empty when it is not known or has none."""
    try:
        return frozenset(hl7apy.load_reference(name, "Table", version)[1])
    except (HL7apyException, KeyError, IndexError, TypeError):
        return frozenset()


@cache
def _structures(version: str) -> frozenset[str]:
    return frozenset(hl7apy.load_library(version).MESSAGES)


def structure(kind: str, event: str, stated: str, version: str) -> str:
    """The structure of a message, by MSH-9; ``""`` when the version has none."""
    known = _structures(version)
    usual = f"{kind}_{event}"
    return next((name for name in (stated, usual, _STRUCTURES.get(usual, ""), kind) if name in known), "")


def grouped(name: str, names: Sequence[str], version: str) -> Any:
    """The tree of groups hl7apy makes of segments with these names, the first of which is MSH.

    Only the names are given to it: its parser is slow, and refuses or alters one real message in five. Raises :class:`HL7apyException`.
    """
    kind, _, event = name.partition("_")
    lines = [f"MSH|^~\\&|||||||{kind}^{event}^{name}||P|{version}", *(f"{other}|" for other in names[1:])]
    return parse_message("\r".join(lines), validation_level=VALIDATION_LEVEL.TOLERANT, find_groups=True)


def fits(datatype: str, value: str, version: str) -> bool:
    """Whether a value has the form of a base data type."""
    if datatype == "DTM":
        version = _DATES_OF
    try:
        datatype_factory(datatype, value, version, VALIDATION_LEVEL.STRICT)
    except (HL7apyException, ValueError):
        return False
    return True
