"""Objects that arrive. A small one is a message as it is; of a large one the message is its header, with a reference to the file.

The file is named by its content, below the hub's data folder: ``objects/<system>/<interface>/<two digits>/<SHA-256>.dcm``. It is complete and
on the disk (fsync) before the message is handed in, so no message refers to what may be missing after a power cut.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from adapters.dicom.object_file import ObjectReader, ObjectWriter, delete, made_before, sync_folder
from adapters.dicom.references import FOLDER, Part, Reference, file_head
from hub.api import CodecError, HubError
from hub.codecs.dicom_read import read_elements
from hub.i18n import t

__all__ = ["Incoming", "IncomingFile", "ObjectFolder", "header_of"]

_PIXELS = 0x7FE0
#: Longest value of an element that stays in the header, bytes.
_LONGEST_IN_HEADER = 64 << 10
_BIG_ENDIAN, _IMPLICIT, _DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"


class Layout(NamedTuple):
    """Of a file: where its data set begins, what it is."""

    start: int
    sop_class: str
    instance: str
    syntax: str


class Incoming(BytesIO):
    """The data set of one object as it comes: in memory while it is small, then in a file. Never raises while it is written."""

    def __init__(self, folder: ObjectFolder, instance: str, sop_class: str, syntax: str) -> None:
        super().__init__()
        self.instance, self.sop_class, self.syntax = instance, sop_class, syntax
        self.size = 0  # of the data set
        self.problem: HubError | OSError | None = None
        self._folder = folder
        self._head = file_head(sop_class, instance, syntax)
        self._hash = hashlib.sha256()
        self._file: ObjectWriter | None = None

    def write(self, piece: bytes | memoryview) -> int:  # type: ignore[override]
        count = len(piece)
        self.size += count
        if self.problem is not None:
            return count
        try:
            if self.size > self._folder.limit:
                self.discard()
                self.problem = _too_large(self._folder.limit)
                return count
            if self._file is None:
                super().write(piece)
                if self.size > self._folder.inline and self.syntax != _DEFLATED:
                    self._spill()
            else:
                self._hash.update(piece)
                self._file.write(piece)
        except OSError as error:
            self.discard()
            self.problem = error
        return count

    def layout(self, content: bytes) -> Layout:
        """Where the data set begins in the file, and what it is."""
        return Layout(len(self._head), self.sop_class, self.instance, self.syntax)

    def whole(self) -> bytes | None:
        """The object as a file, None where it is too large for a message."""
        return None if self._file is not None else self._head + self.getvalue()

    def keep(self) -> bytes:
        """Put a large object in its place and return its header, the message; raises :class:`HubError` and ``OSError``."""
        file = self._file
        assert file is not None  # noqa: S101 - whoever calls has asked whole()
        try:
            return self._folder.adopt(file, self._hash.hexdigest(), self)
        finally:
            file.discard()
            self._file = None

    def discard(self) -> None:
        """Leave nothing behind."""
        if self._file is not None:
            self._file.discard()
            self._file = None
        self.truncate(0)

    def close(self) -> None:
        if not self.closed:
            self.discard()
        super().close()

    def _spill(self) -> None:
        self._file = self._folder.temporary()
        for piece in (self._head, self.getvalue()):
            self._hash.update(piece)
            self._file.write(piece)
        self.seek(0)
        self.truncate(0)


class IncomingFile(Incoming):
    """The same for an object that comes as a file, with its meta information (DICOMweb)."""

    def __init__(self, folder: ObjectFolder) -> None:
        super().__init__(folder, "", "", "")
        self._head = b""
        self._hash = hashlib.sha256()

    def layout(self, content: bytes) -> Layout:
        return _stated(content)


class ObjectFolder:
    """The objects of one interface. ``inline``: bytes up to which an object is the message; ``limit``: of the largest one."""

    def __init__(self, data: Path, place: str, inline: int, limit: int) -> None:
        self._data = data
        self._relative = Path(FOLDER) / place
        self.root = data / self._relative
        self.inline, self.limit = inline, limit
        self._arriving = self.root / "arriving"
        self._made: set[str] = set()

    def open(self) -> None:
        """Make the folder, and take away what a crash has left unfinished."""
        self._arriving.mkdir(parents=True, exist_ok=True)
        for left in self._arriving.iterdir():
            left.unlink()

    def temporary(self) -> ObjectWriter:
        return ObjectWriter(self._arriving)

    def adopt(self, file: ObjectWriter, digest: str, incoming: Incoming) -> bytes:
        """The header of a complete file, which is then in its place and on the disk."""
        with file.view() as content:
            layout = incoming.layout(content)
            kept, parts = _outline(content, file.size, layout)
        relative = self._relative / digest[:2] / f"{digest}.dcm{file.suffix}"
        reference = Reference(relative.as_posix(), file.size, digest, parts).sealed(self._data)
        if digest[:2] not in self._made:
            (self.root / digest[:2]).mkdir(exist_ok=True)
            sync_folder(self.root)
            self._made.add(digest[:2])
        file.finish(self._data / relative)
        return file_head(layout.sop_class, layout.instance, layout.syntax, reference) + kept

    def clean(self, older_than: float) -> int:
        """Delete objects that came more than so many seconds ago; returns how many."""
        limit, count = time.time() - older_than, 0
        for file in self.root.glob("??/*.dcm*"):
            if made_before(file, limit):
                with contextlib.suppress(OSError):
                    delete(file)
                    count += 1
        return count


def header_of(path: Path) -> bytes:
    """An object without what is too large for a message; raises :class:`CodecError` and ``OSError``."""
    with ObjectReader(path) as file, file.view() as content:
        layout = _stated(content)
        kept, _ = _outline(content, file.size, layout)
    return file_head(layout.sop_class, layout.instance, layout.syntax) + kept


def _stated(content: bytes) -> Layout:
    """What a file says of itself."""
    if content[128:132] != b"DICM":
        raise CodecError(t("this is not a DICOM file", "不是 DICOM 文件"), code="dicom.not_dicom")
    meta, start = read_elements(content, 132, len(content), True, False, group=2)

    def text(tag: int) -> str:
        place = meta.get(tag)
        return content[place.value : place.value_end].decode("ascii", "replace").strip("\0 ") if place else ""

    found = Layout(start, text(0x00020002), text(0x00020003), text(0x00020010))
    if found.syntax in ("", _DEFLATED):
        raise CodecError(
            t("a large object in this transfer syntax is not taken", "不接收此传输语法的大对象"),
            code="dicom.syntax",
        )
    return found


def _outline(content: bytes, size: int, layout: Layout) -> tuple[bytes, tuple[Part, ...]]:
    """(the elements of a header, those that are in the file only)"""
    syntax = layout.syntax
    elements, _ = read_elements(content, layout.start, size, syntax != _IMPLICIT, syntax == _BIG_ENDIAN)
    kept: list[bytes] = []
    parts: list[Part] = []
    for tag in sorted(elements):
        place = elements[tag]
        if tag >> 16 == _PIXELS or place.value_end - place.value > _LONGEST_IN_HEADER:
            parts.append(Part(tag, place.start, place.end - place.start))
        else:
            kept.append(content[place.start : place.end])
    return b"".join(kept), tuple(parts)


def _too_large(limit: int) -> HubError:
    return HubError(
        t(f"the object has more than {limit} bytes", f"对象超过 {limit} 字节"),
        code="dicom.too_large",
        remedy=t("raise max_object of the interface", "请调大接口的 max_object"),
    )
