"""DICOM data sets: files (PS3.10), with or without preamble, and bare data sets, in every uncompressed and compressed transfer syntax.

Decoding lists the elements of the outermost data set by where they are; a value is read when it is asked for, pixel data never. An untouched
tree encodes to the bytes that came.
"""

from __future__ import annotations

from typing import Any, ClassVar

from hub.codecs.base import Codec
from hub.codecs.dicom_read import read_file
from hub.codecs.dicom_set import DicomTree
from hub.codecs.dicom_write import write_changed, write_new
from hub.errors import CodecError
from hub.i18n import t

__all__ = ["DicomCodec"]

_MODALITY, _INSTANCE = 0x00080060, 0x00080018


class DicomCodec(Codec):
    """See the module. Trees are :class:`~hub.codecs.dicom_set.DicomTree`; a plain ``dict`` of keywords or tags is written as a new file."""

    name: ClassVar[str] = "dicom"
    content_type: ClassVar[str] = "application/dicom"

    def decode(self, raw: bytes, *, encoding: str = "") -> DicomTree:
        """``encoding`` is for senders whose SpecificCharacterSet is wrong or missing: a name Python knows, as gb18030."""
        if encoding:
            try:
                "".encode(encoding)
            except LookupError as error:
                raise CodecError(
                    t(f"unknown character set {encoding}", f"未知字符集 {encoding}"), code="dicom.charset"
                ) from error
        return DicomTree(raw, read_file(raw), encoding)

    def encode(self, tree: Any, *, encoding: str = "") -> bytes:
        """Character sets are named in the data set, not by ``encoding``."""
        if isinstance(tree, DicomTree):
            return write_changed(tree) if tree.changes or tree.removed else tree.raw
        if isinstance(tree, dict):
            return write_new(tree)
        raise CodecError(
            t(f"a data set is needed, not {type(tree).__name__}", f"需要数据集，而不是 {type(tree).__name__}"),
            code="dicom.tree",
        )

    def envelope(self, tree: Any) -> tuple[str, str]:
        """(``DICOM.CT``, SOPInstanceUID): the type has the modality, of what has none it is ``DICOM``."""
        modality, instance = tree.value(_MODALITY), tree.value(_INSTANCE)
        kind = f"DICOM.{modality}" if isinstance(modality, str) and modality.isalnum() else "DICOM"
        return kind, instance if isinstance(instance, str) else ""
