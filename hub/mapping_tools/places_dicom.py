"""Places in DICOM data sets: the elements and items that lead there, by keyword, and the parts of a person's name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hub.codecs.dicom_dictionary import keyword_of, parse_name
from hub.codecs.dicom_set import CHARSET, PIXELS, DataSet
from hub.codecs.dicom_values import NAME_PARTS, person_part
from hub.mapping_tools.places import Found, Occurring, Place
from hub.mapping_tools.places_plain import PlainPlaces
from hub.mapping_tools.steps import Step
from hub.mapping_tools.walk_dicom import dicom_text

__all__ = ["DicomPlaces"]

_Spot = tuple[Any, Place]
_FORMS = [part for part, kind in NAME_PARTS.items() if kind == "form"]
_COMPONENTS = [part for part, kind in NAME_PARTS.items() if kind == "component"]
_META = 0x0002


class DicomPlaces(PlainPlaces):
    """A place is names and numbers of items; that of a part of a name ends with the form and the component."""

    def __init__(self, tree: DataSet | None) -> None:
        super().__init__(tree)
        self._elements: dict[Place, tuple[DataSet, int]] = {}  # those that were looked at

    # -- what is there -------------------------------------------------------------------------------------------

    def occurring(self) -> Iterator[Occurring]:
        if isinstance(self._tree, DataSet):
            yield from self._inside(self._tree, ())

    def _inside(self, data_set: DataSet, around: Place) -> Iterator[Occurring]:
        """Not what only says how the rest is written: meta information, lengths, character sets, who owns private blocks."""
        for tag in sorted(data_set.places):
            element = tag & 0xFFFF
            if tag >> 16 in (_META, PIXELS) or not element or tag == CHARSET or (tag & 0x10000 and element < 0x100):
                continue
            value = data_set.value(tag)
            if value is not None:
                place = (*around, self._name(data_set, tag))
                self._elements[place] = data_set, tag
                yield from self._values(value, place, data_set.vr(tag))

    def _values(self, value: Any, place: Place, vr: str) -> Iterator[Occurring]:
        if isinstance(value, list):
            for number, one in enumerate(value):
                if isinstance(one, DataSet):
                    yield from self._inside(one, (*place, number))
                elif one is not None:
                    yield from self._values(one, (*place, number), vr)
        elif vr == "PN" and isinstance(value, str):
            yield from self._parts(value, place)
        else:
            yield self._occurring(place, place, value)

    def _parts(self, name: str, place: Place) -> Iterator[Occurring]:
        found = [
            ((*place, form, part), text)
            for form in _FORMS
            for part in _COMPONENTS
            if (text := person_part(person_part(name, form), part))
        ]
        for whole, text in found:
            yield self._occurring(whole, place if len(found) == 1 else whole, text)

    def _occurring(self, place: Place, shortest: Place, value: Any) -> Occurring:
        general = tuple(None if isinstance(step, int) else step for step in shortest)
        group = str(shortest[0]) if len(shortest) > 1 else ""
        return Occurring(place, shortest, dicom_text(general), group, value)

    def _name(self, data_set: DataSet, tag: int) -> str:
        """The keyword; of a private element its tag with the creator, which is the same in every data set."""
        if tag & 0x10000:
            creator = data_set.value(tag & 0xFFFF0000 | (tag >> 8 & 0xFF))
            if isinstance(creator, str):
                return f"({tag >> 16:04X},{creator},{tag & 0xFF:02X})"
        return keyword_of(tag)

    # -- what a path reaches -------------------------------------------------------------------------------------

    def member(self, spot: _Spot, key: str) -> _Spot:
        """As :func:`hub.mapping.paths_dicom.member`: a list stands for its first item."""
        value, place = spot
        while type(value) is list:
            if not value:
                return None, place
            value, place = value[0], (*place, 0)
        if not isinstance(value, DataSet):
            return person_part(value, key), (*place, *self._part(place, key))
        name = parse_name(key)
        tag = value.find(name) if name is not None else None
        if tag is None:
            return None, (*place, key)
        place = (*place, self._name(value, tag))
        self._elements[place] = value, tag
        return value.get(key), place

    def _part(self, place: Place, key: str) -> tuple[str, ...]:
        """A component without a form is of the first form."""
        if NAME_PARTS.get(key) == "component" and place[-1:] and place[-1] not in _FORMS:
            return _FORMS[0], key
        return (key,)

    def _told(self, spot: _Spot) -> Found:
        value, place = spot
        return Found(place, dicom_text(place), _plain(value))

    # -- where it stands -----------------------------------------------------------------------------------------

    def span(self, place: Place) -> tuple[int, int] | None:
        """Of an element that is in the bytes as they came; None for one of several values, and for what was deflated."""
        found = self._elements.get(_element(place))
        if found is None or isinstance(place[-1], int):
            return None
        data_set, tag = found
        where = data_set.places.get(tag)
        return (where.value, where.value_end) if where is not None and data_set.data is self._raw else None

    @property
    def _raw(self) -> Any:
        return getattr(self._tree, "raw", None)

    def describe(self, place: Place) -> str:
        found = self._elements.get(_element(place))
        if found is None:
            return ""
        data_set, tag = found
        return f"({tag >> 16:04X},{tag & 0xFFFF:04X}) {data_set.vr(tag)}"


def _element(place: Place) -> Place:
    """The place of the element a value belongs to."""
    steps: list[Step] = list(place)
    while steps and (isinstance(steps[-1], int) or steps[-1] in NAME_PARTS):
        steps.pop()
    return tuple(steps)


def _plain(value: Any) -> Any:
    """Without data sets, for those who show it."""
    if isinstance(value, DataSet):
        return {keyword_of(tag): _plain(value.value(tag)) for tag in sorted(value.places) if tag >> 16 != PIXELS}
    return [_plain(one) for one in value] if isinstance(value, list) else value
