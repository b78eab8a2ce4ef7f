"""The tree of DICOM: data sets over the bytes that came, in which every value is read when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hub.codecs.dicom_dictionary import Name, parse_name, private_vr, vr_of
from hub.codecs.dicom_read import File, Place, read_elements, read_items
from hub.codecs.dicom_values import read_value

__all__ = ["CHARSET", "PIXELS", "DataSet", "DicomTree"]

CHARSET = 0x00080005
#: Group of the pixel data, which are no part of the tree.
PIXELS = 0x7FE0
_META = 0x0002
_SIGNED = 0x00280103
_CREATORS = range(0x10, 0x100)


class DataSet:
    """A data set or an item of a sequence. Not changed once it is decoded; changes belong to copies (:class:`DicomTree`)."""

    __slots__ = (
        "_cache",
        "_inherited_signed",
        "_inherited_terms",
        "_terms",
        "big",
        "data",
        "encoding",
        "explicit",
        "places",
    )

    def __init__(
        self,
        data: bytes,
        places: dict[int, Place],
        explicit: bool,
        big: bool,
        encoding: str = "",
        terms: tuple[str, ...] = (),
        signed: bool = False,
    ) -> None:
        """``encoding``: the contract's character set, which wins over what is declared. ``terms`` and ``signed``: what holds for an item unless
        it says otherwise. It has no reference to the data set around it: the ring would keep the pixels until the collector comes by.
        """
        self.data = data
        self.places = places
        self.explicit = explicit
        self.big = big
        self.encoding = encoding
        self._inherited_terms = terms
        self._inherited_signed = signed
        self._terms: tuple[str, ...] | None = None
        self._cache: dict[int, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a keyword (``PatientName``) or tag (``(0010,0010)``, ``(0009,GEMS_IDEN_01,02)``); a list of :class:`DataSet` for
        a sequence. ``default`` when the element is not there, is empty, or is pixel data.
        """
        name = parse_name(key)
        tag = self.find(name) if name is not None else None
        value = self.value(tag) if tag is not None else None
        return default if value is None else value

    def find(self, name: Name) -> int | None:
        """The tag of a name in this data set; None for a private one whose creator is not in it."""
        if not name.creator:
            return name.tag
        group = name.tag & 0xFFFF0000
        for block in _CREATORS:
            if group | block in self.places and self.value(group | block) == name.creator:
                return name.tag | block << 8
        return None

    @property
    def terms(self) -> tuple[str, ...]:
        """The terms of the character set: its own, else those of the data set around it."""
        found = self._terms
        if found is None:
            place = self.places.get(CHARSET)
            if place is not None:
                stated = read_value("CS", self.data[place.value : place.value_end], (), "", False)
                found = tuple(term or "" for term in (stated if isinstance(stated, list) else [stated]))
            else:
                found = self._inherited_terms
            self._terms = found
        return found

    def vr(self, tag: int) -> str:
        """The value representation: as written, else by the dictionary; ``UN`` when nobody knows."""
        place = self.places.get(tag)
        vr = place.vr if place is not None else ""
        if vr and vr != "UN":
            return vr
        if tag & 0x10000 and tag & 0xFF00:
            creator = self.value(tag & 0xFFFF0000 | (tag >> 8 & 0xFF))
            vr = private_vr(tag, creator) if isinstance(creator, str) else "UN"
        else:
            vr = vr_of(tag)
        if vr == "UN" and place is not None and place.end != place.value_end:
            return "SQ"  # PS3.5, 6.2.2 note 1: what has no length and is not known can only be a sequence
        if " or " in vr:
            vr = "SS" if "SS" in vr and self._signed() else "OW" if "OW" in vr else "US"
        return vr

    def _signed(self) -> bool:
        """Whether pixel values are signed, which the data set around an item says for it."""
        stated = self.value(_SIGNED)
        return self._inherited_signed if stated is None else bool(stated == 1)

    def value(self, tag: int) -> Any:
        """What :meth:`get` gives, by tag."""
        try:
            return self._cache[tag]
        except KeyError:
            value = self._cache[tag] = self._read(tag)
            return value

    def _read(self, tag: int) -> Any:
        place = self.places.get(tag)
        if place is None or tag >> 16 == PIXELS:
            return None
        vr = self.vr(tag)
        if vr == "SQ":
            return self._items(place) or None
        if place.end != place.value_end:  # fragments of compressed data
            return None
        big = self.big and place.vr != "UN"
        return read_value(vr, self.data[place.value : place.value_end], self.terms, self.encoding, big)

    def _items(self, place: Place) -> list[DataSet]:
        # What an element of unknown VR holds is always implicit and little endian (PS3.5, 6.2.2).
        known = place.vr != "UN"
        explicit, big, data = self.explicit and known, self.big and known, self.data
        terms, signed = self.terms, self._signed()
        return [
            DataSet(
                data, read_elements(data, start, end, explicit, big)[0], explicit, big, self.encoding, terms, signed
            )
            for start, end in read_items(data, place.value, place.value_end, explicit, big)
        ]


class DicomTree(DataSet):
    """A file or bare data set as it came, ``raw``, with the file meta information, ``meta`` (PS3.10, 7.1), whose elements :meth:`get` finds, too.

    ``changes`` and ``removed`` say what is written differently, by keyword or tag.
    """

    __slots__ = ("changes", "file", "meta", "raw", "removed")

    def __init__(self, raw: bytes, file: File, encoding: str = "") -> None:
        syntax = file.syntax
        super().__init__(file.data, file.elements, syntax.explicit, syntax.big, encoding)
        self.raw = raw
        self.file = file
        self.meta = DataSet(raw, file.meta, True, False)
        self.changes: dict[str, Any] = {}
        self.removed: frozenset[str] = frozenset()

    def value(self, tag: int) -> Any:
        return self.meta.value(tag) if tag >> 16 == _META else super().value(tag)

    def changed(self, fields: dict[str, Any], removed: Iterable[str] = ()) -> DicomTree:
        """A copy that is written with these elements set and those removed; everything else goes out byte for byte."""
        copy = DicomTree(self.raw, self.file, self.encoding)
        copy.changes = {**self.changes, **fields}
        copy.removed = self.removed | frozenset(removed)
        return copy
