"""Where values stand in a source: the one thing coverage, traces and pages need to know about each format.

One module per format implements :class:`Places`. A format without one can still be mapped, tested and run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hub.errors import HubError
from hub.i18n import t
from hub.mapping.formats import XML_CODECS, source_format
from hub.mapping.nodes import Node, PathNode
from hub.mapping.paths_plain import PlainFormat
from hub.mapping_tools.scope import Frame

__all__ = ["Ask", "Found", "Occurring", "Place", "Places", "outline_places", "places_of"]

#: Whether a filter condition holds for an element.
Ask = Callable[[Node, Frame], bool]
#: Where something stands, from the outside in; a part of it has a longer one that begins with it.
Place = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A value a path reaches: where it stands, the path to exactly this place, and the value."""

    place: Place
    path: str
    value: Any


@dataclass(frozen=True, slots=True)
class Occurring:
    """A single value of the input. ``path`` is to every value like it (``PID-3.1``, ``items[].code``), ``group`` to what is around them.

    ``shortest`` is its place as far as it says something: of an HL7 field without components the field, while ``place`` is of
    its first sub-component, because ``PID-8``, ``PID-8.1`` and ``PID-8.1.1`` read the same.
    """

    place: Place
    shortest: Place
    path: str
    group: str
    value: Any


class Outline(ABC):
    """What can be said of the paths of a format without an input."""

    @abstractmethod
    def root(self) -> Frame: ...

    @abstractmethod
    def inside(self, path: PathNode, frame: Frame) -> Frame:
        """The frame of any element of a path."""

    @abstractmethod
    def label(self, path: PathNode, frame: Frame) -> str:
        """A path as a person would write it from the root."""


class Places(Outline):
    """The places of one source tree; with ``None`` as tree only what :class:`Outline` has can be asked."""

    @abstractmethod
    def occurring(self) -> Iterator[Occurring]:
        """Every single value of the tree that is there."""

    @abstractmethod
    def elements(self, path: PathNode, frame: Frame, ask: Ask) -> list[Frame]:
        """What ``each``, ``split`` and ``include … from`` go through, as the compiled mapping does."""

    @abstractmethod
    def found(self, path: PathNode, frame: Frame, ask: Ask, *, every: bool) -> list[Found]:
        """What a path reaches that is there: one value, or ``every`` one as in the place of a list."""

    def span(self, place: Place) -> tuple[int, int] | None:
        """(first byte, byte behind the last) of a place, from 0; None where that can't be told."""
        return None

    def describe(self, place: Place) -> str:
        """What a place is called in this format besides its path; "" for nothing."""
        return ""


class _AsWritten(Outline):
    """For a format whose places are not known: paths are told as they are written."""

    def root(self) -> Frame:
        return Frame("root")

    def inside(self, path: PathNode, frame: Frame) -> Frame:
        return Frame("value", label=path.text, parent=frame, names=frame.names)

    def label(self, path: PathNode, frame: Frame) -> str:
        return path.text


def outline_places(codec: str) -> Outline:
    """What can be said without an input; there is something for every format."""
    try:
        return places_of(codec, None)
    except HubError:
        return _AsWritten()


def places_of(codec: str, tree: Any) -> Places:
    """Raises :class:`HubError` for a format whose places are not known."""
    from hub.mapping_tools.places_dicom import DicomPlaces
    from hub.mapping_tools.places_hl7 import Hl7Places
    from hub.mapping_tools.places_plain import PlainPlaces
    from hub.mapping_tools.places_xml import XmlPlaces

    if codec == "hl7v2":
        return Hl7Places(tree)
    if codec == "dicom":
        return DicomPlaces(tree)
    if codec in XML_CODECS:
        return XmlPlaces(tree)
    if type(source_format(codec)) is PlainFormat:  # a format may build on it and have trees of its own
        return PlainPlaces(tree)
    raise HubError(
        t(f"sources of codec {codec} can't be traced", f"无法追溯编解码器 {codec} 的来源"),
        code="mapping.untraceable",
        remedy=t(
            "this is for hl7v2, xml, dicom, json and other plain trees", "仅支持 hl7v2、xml、dicom、json 及其他普通树"
        ),
    )
