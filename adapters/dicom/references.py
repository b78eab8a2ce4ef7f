"""References to objects on the disk: what the message of a large object has in the place of the object.

The reference stands in the file meta information of the header, where PS3.10, 7.1 has a place for what is private (0002,0100 and 0002,0102).
"""

from __future__ import annotations

import contextlib
import hmac
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from adapters.dicom.object_file import plain_size, sync_folder
from hub.api import CodecError, HubError
from hub.codecs.dicom_read import File
from hub.codecs.dicom_write import IMPLEMENTATION
from hub.i18n import t

__all__ = ["FOLDER", "Part", "Reference", "file_head", "reference_of"]

#: Of all objects, in the hub's data folder.
FOLDER = "objects"
_CREATOR, _PRIVATE = 0x00020100, 0x00020102


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

    def told(self, instance: str, sop_class: str) -> dict[str, Any]:
        """What a reply says of an object that was fetched; see :meth:`of_told`."""
        return {
            "instance": instance,
            "sop_class": sop_class,
            "path": self.path,
            "size": self.size,
            "sha256": self.sha256,
            "seal": self.seal,
        }

    @classmethod
    def of_told(cls, told: Mapping[str, Any]) -> Reference:
        """The other way round; raises ``ValueError``, ``KeyError`` and ``TypeError`` for what :meth:`told` did not make."""
        return cls(str(told["path"]), int(told["size"]), str(told["sha256"]), (), str(told["seal"]))

    def open_in(self, data: Path) -> Path:
        """The file; raises :class:`HubError` when it is gone or is another one."""
        path = data / self.path
        if not hmac.compare_digest(self.seal.encode(), self._seal(data).encode()):
            raise HubError(
                t("this hub has not written the reference to the object", "对象引用不是本枢纽写入的"),
                code="dicom.reference",
            )
        if plain_size(path) != self.size:
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
    sync_folder(path.parent)
    return path.read_bytes()
