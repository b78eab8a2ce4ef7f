"""Samples, and bytes of data sets written by hand, for the tests of DICOM."""

from __future__ import annotations

import io
import os
import struct
import warnings
from pathlib import Path
from typing import Any

import pydicom
import pytest

from hub.codecs.dicom import DicomCodec
from hub.codecs.dicom_set import DicomTree
from hub.errors import CodecError

CODEC = DicomCodec()
SAMPLES = (
    Path(os.environ.get("TONGQU_SAMPLES") or Path(__file__).resolve().parents[2].parent / "shared" / "samples")
    / "dicom"
)
EXPLICIT, IMPLICIT, BIG, DEFLATED = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
)
LONG = ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
UNDEFINED = 0xFFFFFFFF


def sample_files() -> list[Path]:
    return sorted(SAMPLES.rglob("*.dcm")) if SAMPLES.is_dir() else []


def element(tag: int, vr: str, value: bytes, *, big: bool = False, length: int | None = None) -> bytes:
    """An element; ``vr`` "" writes it implicitly."""
    order = ">" if big else "<"
    size = len(value) if length is None else length
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    if not vr:
        return head + struct.pack(f"{order}L", size) + value
    if vr in LONG:
        return head + vr.encode() + struct.pack(f"{order}HL", 0, size) + value
    return head + vr.encode() + struct.pack(f"{order}H", size) + value


def item(content: bytes, *, undefined: bool = False) -> bytes:
    if undefined:
        return element(0xFFFEE000, "", content, length=UNDEFINED) + element(0xFFFEE00D, "", b"")
    return element(0xFFFEE000, "", content)


def sequence(tag: int, *items: bytes, undefined: bool = False, vr: str = "SQ") -> bytes:
    content = b"".join(items)
    if undefined:
        return element(tag, vr, content, length=UNDEFINED) + element(0xFFFEE0DD, "", b"")
    return element(tag, vr, content)


def file(body: bytes, syntax: str = EXPLICIT) -> bytes:
    uid = syntax.encode() + b"\0" * (len(syntax) & 1)
    meta = element(0x00020010, "UI", uid)
    return b"\0" * 128 + b"DICM" + element(0x00020000, "UL", struct.pack("<L", len(meta))) + meta + body


PATIENT = element(0x00080060, "CS", b"CT") + element(0x00100010, "PN", b"Zhang^San ") + element(0x00100020, "LO", b"P1")


def refused(raw: bytes, **options: str) -> CodecError:
    with pytest.raises(CodecError) as caught:
        CODEC.decode(raw, **options)
    return caught.value


def not_written(tree: Any) -> CodecError:
    with pytest.raises(CodecError) as caught:
        CODEC.encode(tree)
    return caught.value


def read(raw: bytes, *keys: str) -> Any:
    """The values of keys; of one key its value."""
    tree = CODEC.decode(raw)
    found = [tree.get(key) for key in keys]
    return found[0] if len(found) == 1 else found


def by_pydicom(raw: bytes) -> pydicom.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(io.BytesIO(raw), force=True)


def written(tree: dict[str, Any] | DicomTree) -> pydicom.Dataset:
    return by_pydicom(CODEC.encode(tree))
