"""Objects on disk. A small one is a message as it is; of a large one the message is its header, with a reference to the file.

The file is named by its content, below the hub's data folder: ``objects/<system>/<interface>/<two digits>/<SHA-256>.dcm``. It is complete and
on the disk (fsync) before the message is handed in, so no message refers to what may be missing after a power cut. The reference stands
in the file meta information of the header, where PS3.10, 7.1 has a place for what is private (0002,0100 and 0002,0102).
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import mmap
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import orjson

from hub.api import CodecError, HubError
from hub.codecs.dicom_read import File, read_elements, read_file
from hub.codecs.dicom_set import DataSet, DicomTree
from hub.codecs.dicom_write import IMPLEMENTATION, write_data_set
from hub.i18n import t

__all__ = [
    "FOLDER",
    "Incoming",
    "IncomingFile",
    "ObjectFolder",
    "Part",
    "Reference",
    "converted",
    "file_head",
    "pieces",
    "reference_of",
]

#: Of all objects, in the hub's data folder.
FOLDER = "objects"
_PIXELS = 0x7FE0
#: Longest value of an element that stays in the header, bytes.
_LONGEST_IN_HEADER = 64 << 10
_CREATOR, _PRIVATE = 0x00020100, 0x00020102
_CHUNK = 1 << 20
_BIG_ENDIAN, _IMPLICIT, _DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"


#: VRs with a length of four bytes (PS3.5, table 7.1-1).
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
#: Largest element that is converted in memory, bytes.
_MOST_CONVERTED = 64 << 20


class Part(NamedTuple):
    """An element that is in the file only: its tag, where it begins, how long it is with tag and length."""

    tag: int
    at: int
    size: int


@dataclass(frozen=True, slots=True)
class Reference:
    """A file with an object; ``path`` is relative to the hub's data folder.

    ``seal``: made with a key of the data folder, so that nobody who may send messages can write a reference to what others have sent.
    """

    path: str
    size: int
    sha256: str
    parts: tuple[Part, ...]
    seal: str = ""

    def sealed(self, data: Path) -> Reference:
        return replace(self, seal=self._seal(data))

    def _seal(self, data: Path) -> str:
        stated = f"{self.path} {self.size} {self.sha256}".encode()
        return hmac.new(_key(data / FOLDER / "key"), stated, "sha256").hexdigest()

    def as_json(self) -> bytes:
        return orjson.dumps(
            {
                "path": self.path,
                "size": self.size,
                "sha256": self.sha256,
                "parts": [list(part) for part in self.parts],
                "seal": self.seal,
            }
        )

    def open_in(self, data: Path) -> Path:
        """The file; raises :class:`HubError` when it is gone or is another one."""
        path = data / self.path
        if not hmac.compare_digest(self.seal.encode(), self._seal(data).encode()):
            raise HubError(
                t("this hub has not written the reference to the object", "对象引用不是本枢纽写入的"),
                code="dicom.reference",
            )
        try:
            size = path.stat().st_size
        except OSError:
            size = -1
        if size != self.size:
            raise HubError(
                t(f"the object's file {self.path} is gone or damaged", f"对象文件 {self.path} 丢失或损坏"),
                code="dicom.reference",
                remedy=t(
                    "the option keep of the receiving interface says how long objects stay; ask for it to be sent again",
                    "对象保留时间由接收接口的 keep 选项决定；请对方重新发送",
                ),
            )
        return path


def reference_of(file: File) -> Reference | None:
    """The reference in a header, None where there is none."""
    creator, private = file.meta.get(_CREATOR), file.meta.get(_PRIVATE)
    if creator is None or private is None:
        return None
    if file.data[creator.value : creator.value_end].rstrip(b"\0 ") != IMPLEMENTATION.encode():
        return None
    try:
        said = orjson.loads(file.data[private.value : private.value_end].rstrip(b"\0 "))
        parts = tuple(Part(*map(int, part)) for part in said["parts"])
        return Reference(str(said["path"]), int(said["size"]), str(said["sha256"]), parts, str(said["seal"]))
    except (ValueError, KeyError, TypeError):
        raise CodecError(
            t("the reference to the object can't be read", "对象引用无法解析"), code="dicom.reference"
        ) from None


def file_head(sop_class: str, instance: str, syntax: str, reference: Reference | None = None) -> bytes:
    """Preamble and meta information (PS3.10, 7.1); the same for the same object, whoever sends it."""
    elements = [
        (0x0001, b"OB", b"\0\1"),
        (0x0002, b"UI", sop_class.encode()),
        (0x0003, b"UI", instance.encode()),
        (0x0010, b"UI", syntax.encode()),
        (0x0012, b"UI", IMPLEMENTATION.encode()),
        (0x0013, b"SH", b"TONGQU"),
    ]
    if reference is not None:
        elements += [(0x0100, b"UI", IMPLEMENTATION.encode()), (0x0102, b"OB", reference.as_json())]
    content = b"".join(_element(*element) for element in elements)
    return b"\0" * 128 + b"DICM" + struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(content)) + content


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    if len(value) & 1:
        value += b" " if vr == b"SH" else b"\0" if vr == b"UI" else b" "
    if vr == b"OB":
        return struct.pack("<HH2sHL", 2, number, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", 2, number, vr, len(value)) + value


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
        self._file: int = -1
        self._path = Path()

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
            if self._file < 0:
                super().write(piece)
                if self.size > self._folder.inline and self.syntax != _DEFLATED:
                    self._spill()
            else:
                self._hash.update(piece)
                _write_all(self._file, piece)
        except OSError as error:
            self.discard()
            self.problem = error
        return count

    def layout(self, content: bytes) -> Layout:
        """Where the data set begins in the file, and what it is."""
        return Layout(len(self._head), self.sop_class, self.instance, self.syntax)

    def whole(self) -> bytes | None:
        """The object as a file, None where it is too large for a message."""
        return None if self._file >= 0 else self._head + self.getvalue()

    def keep(self) -> bytes:
        """Put a large object in its place and return its header, the message; raises :class:`HubError` and ``OSError``."""
        try:
            return self._folder.adopt(self._file, self._path, self._hash.hexdigest(), self)
        finally:
            os.close(self._file)
            self._file = -1
            self._path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Leave nothing behind."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self._path.unlink(missing_ok=True)
        self.truncate(0)

    def close(self) -> None:
        if not self.closed:
            self.discard()
        super().close()

    def _spill(self) -> None:
        self._file, self._path = self._folder.temporary()
        for piece in (self._head, self.getvalue()):
            self._hash.update(piece)
            _write_all(self._file, piece)
        self.seek(0)
        self.truncate(0)


class IncomingFile(Incoming):
    """The same for an object that comes as a file, with its meta information (DICOMweb)."""

    def __init__(self, folder: ObjectFolder) -> None:
        super().__init__(folder, "", "", "")
        self._head = b""
        self._hash = hashlib.sha256()

    def layout(self, content: bytes) -> Layout:
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

    def temporary(self) -> tuple[int, Path]:
        path = self._arriving / os.urandom(12).hex()
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), path

    def adopt(self, descriptor: int, path: Path, digest: str, incoming: Incoming) -> bytes:
        """The header of a complete file, which is then in its place and on the disk."""
        size = os.fstat(descriptor).st_size
        relative = self._relative / digest[:2] / f"{digest}.dcm"
        with mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) as content:
            start, sop_class, instance, syntax = incoming.layout(cast(bytes, content))
            elements, _ = read_elements(cast(bytes, content), start, size, syntax != _IMPLICIT, syntax == _BIG_ENDIAN)
            kept: list[bytes] = []
            parts: list[Part] = []
            for tag in sorted(elements):
                place = elements[tag]
                if tag >> 16 == _PIXELS or place.value_end - place.value > _LONGEST_IN_HEADER:
                    parts.append(Part(tag, place.start, place.end - place.start))
                else:
                    kept.append(content[place.start : place.end])
        reference = Reference(relative.as_posix(), size, digest, tuple(parts)).sealed(self._data)
        head = file_head(sop_class, instance, syntax, reference)
        target = self.root / digest[:2] / f"{digest}.dcm"
        if target.exists() and target.stat().st_size == size:  # sent again after a break
            os.utime(target)
        else:
            os.fsync(descriptor)
            if digest[:2] not in self._made:
                target.parent.mkdir(exist_ok=True)
                _sync_folder(self.root)
                self._made.add(digest[:2])
            os.replace(path, target)
            _sync_folder(target.parent)
        return b"".join([head, *kept])

    def clean(self, older_than: float) -> int:
        """Delete objects that came more than so many seconds ago; returns how many."""
        limit, count = time.time() - older_than, 0
        for file in self.root.glob("??/*.dcm"):
            with contextlib.suppress(OSError):
                if file.stat().st_mtime < limit:
                    file.unlink()
                    count += 1
        return count


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
    with path.open("rb") as source:
        for part in sorted(reference.parts):
            while at < len(places) and places[at][0] < part.tag:
                held.append(file.data[places[at][1] : places[at][2]])
                at += 1
            yield b"".join(held)
            held = []
            source.seek(part.at)
            yield from _read(source, part.size)
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
    with reference.open_in(data).open("rb") as source:
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


def _converted_part(source: BinaryIO, part: Part, tree: DicomTree, explicit: bool) -> Iterator[bytes]:
    source.seek(part.at)
    head = source.read(12)
    group, element = part.tag >> 16, part.tag & 0xFFFF
    vr = head[4:6] if tree.explicit else tree.vr(part.tag).encode()
    long = not tree.explicit or vr in _LONG_VRS
    at, length = (12, head[8:12]) if tree.explicit and long else (8, head[4:8] if long else head[6:8] + b"\0\0")
    size = int.from_bytes(length, "little")
    if vr == b"SQ" or size == 0xFFFFFFFF:
        if part.size > _MOST_CONVERTED:
            raise CodecError(t("a sequence is too large to convert", "序列过大，无法转换"), code="dicom.syntax")
        source.seek(part.at)
        content = source.read(part.size)
        places, _ = read_elements(content, 0, len(content), tree.explicit, False)
        yield write_data_set(DataSet(content, places, tree.explicit, False, "", tree.terms), explicit=explicit)
        return
    if not explicit:
        yield struct.pack("<HHL", group, element, size)
    elif vr in _LONG_VRS or size > 0xFFFF:
        yield struct.pack("<HH2sHL", group, element, vr if vr in _LONG_VRS else b"UN", 0, size)
    else:
        yield struct.pack("<HH2sH", group, element, vr, size)
    source.seek(part.at + at)
    yield from _read(source, size)


def _read(source: BinaryIO, left: int) -> Iterator[bytes]:
    while left:
        piece = source.read(min(left, _CHUNK))
        if not piece:
            raise OSError("the object's file ends too early")
        left -= len(piece)
        yield piece


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


@lru_cache(maxsize=16)
def _key(path: Path) -> bytes:
    """The key of a data folder, made when it is first needed."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"key.{os.urandom(8).hex()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, os.urandom(32))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    with contextlib.suppress(FileExistsError):  # another worker was quicker
        os.link(fresh, path)
    fresh.unlink()
    _sync_folder(path.parent)
    return path.read_bytes()


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _too_large(limit: int) -> HubError:
    return HubError(
        t(f"the object has more than {limit} bytes", f"对象超过 {limit} 字节"),
        code="dicom.too_large",
        remedy=t("raise max_object of the interface", "请调大接口的 max_object"),
    )
