"""The data set of an object piece by piece, for a target: of the body, with what is on the disk put in again."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from adapters.dicom.object_file import ObjectReader
from adapters.dicom.references import Part, Reference, reference_of
from hub.api import CodecError
from hub.codecs.dicom_read import File, read_elements, read_file
from hub.codecs.dicom_set import DataSet, DicomTree
from hub.codecs.dicom_write import write_data_set
from hub.i18n import t

__all__ = ["converted", "pieces"]

#: VRs with a length of four bytes (PS3.5, table 7.1-1).
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
#: Largest element that is converted in memory, bytes.
_MOST_CONVERTED = 64 << 20


def pieces(body: bytes, data: Path) -> tuple[File, Iterator[bytes]]:
    """(what a body says of itself, its data set piece by piece, with what is on disk put in again).

    Raises :class:`CodecError`, and :class:`HubError` when the object's file is gone.
    """
    file = read_file(body)
    reference = reference_of(file)
    if reference is None:
        begin = max([file.head, *(place.end for place in file.meta.values())])
        return file, iter((body[begin:],))
    return file, _merged(file, reference, reference.open_in(data))


def _merged(file: File, reference: Reference, path: Path) -> Iterator[bytes]:
    places = sorted((tag, place.start, place.end) for tag, place in file.elements.items())
    held: list[bytes] = []
    at = 0
    with ObjectReader(path) as source:
        for part in sorted(reference.parts):
            while at < len(places) and places[at][0] < part.tag:
                held.append(file.data[places[at][1] : places[at][2]])
                at += 1
            yield b"".join(held)
            held = []
            yield from source.pieces(part.at, part.size)
        held += [file.data[start:end] for _, start, end in places[at:]]
        yield b"".join(held)


def converted(body: bytes, file: File, data: Path, *, explicit: bool) -> Iterator[bytes]:
    """The data set of an uncompressed object, little endian, in the other of the two transfer syntaxes, piece by piece."""
    tree = DicomTree(body, file, "")
    reference = reference_of(file)
    if reference is None:
        yield write_data_set(tree, explicit=explicit)
        return
    done = -1
    with ObjectReader(reference.open_in(data)) as source:
        for part in sorted(reference.parts):
            yield _between(tree, done, part.tag, explicit)
            yield from _converted_part(source, part, tree, explicit)
            done = part.tag
    yield _between(tree, done, 1 << 32, explicit)


def _between(tree: DicomTree, after: int, before: int, explicit: bool) -> bytes:
    places = {tag: place for tag, place in tree.places.items() if after < tag < before}
    return write_data_set(
        DataSet(tree.data, places, tree.explicit, tree.big, "", tree.terms, tree.get("PixelRepresentation") == 1),
        explicit=explicit,
    )


def _converted_part(source: ObjectReader, part: Part, tree: DicomTree, explicit: bool) -> Iterator[bytes]:
    head = source.at(part.at, 12)
    group, element = part.tag >> 16, part.tag & 0xFFFF
    vr = head[4:6] if tree.explicit else tree.vr(part.tag).encode()
    long = not tree.explicit or vr in _LONG_VRS
    at, length = (12, head[8:12]) if tree.explicit and long else (8, head[4:8] if long else head[6:8] + b"\0\0")
    size = int.from_bytes(length, "little")
    if vr == b"SQ" or size == 0xFFFFFFFF:
        if part.size > _MOST_CONVERTED:
            raise CodecError(t("a sequence is too large to convert", "序列过大，无法转换"), code="dicom.syntax")
        content = source.at(part.at, part.size)
        places, _ = read_elements(content, 0, len(content), tree.explicit, False)
        yield write_data_set(DataSet(content, places, tree.explicit, False, "", tree.terms), explicit=explicit)
        return
    if not explicit:
        yield struct.pack("<HHL", group, element, size)
    elif vr in _LONG_VRS or size > 0xFFFF:
        yield struct.pack("<HH2sHL", group, element, vr if vr in _LONG_VRS else b"UN", 0, size)
    else:
        yield struct.pack("<HH2sH", group, element, vr, size)
    yield from source.pieces(part.at + at, size)
