"""Payloads without structure: text, and bytes that are only passed on."""

from __future__ import annotations

from typing import Any, ClassVar

from hub.codecs import text_charset
from hub.codecs.base import Codec
from hub.codecs.records import Received, untouched
from hub.errors import CodecError
from hub.i18n import t

__all__ = ["BinaryCodec", "TextCodec"]


class TextCodec(Codec):
    """Plain text, its character set found out where the contract does not say it; the tree is ``{"text": …}``."""

    name: ClassVar[str] = "text"
    content_type: ClassVar[str] = "text/plain"

    def decode(self, raw: bytes, *, encoding: str = "") -> Any:
        return Received({"text": text_charset.decode(raw, encoding, self.name)}, raw, self, encoding)

    def encode(self, tree: Any, *, encoding: str = "") -> bytes:
        kept = untouched(tree, self, encoding)
        if kept is not None:
            return kept
        text = tree.get("text") if isinstance(tree, dict) else tree
        if not isinstance(text, str):
            raise CodecError(
                t("there is no text", "没有文本"),
                code="text.tree",
                remedy=t("write fields: {text: …}", "请写 fields: {text: …}"),
            )
        return text_charset.encode(text, encoding, self.name)


class BinaryCodec(Codec):
    """Bytes as they are; the tree is ``{"bytes": …}``. Functions of mappings unpack them, or make text of them."""

    name: ClassVar[str] = "binary"

    def decode(self, raw: bytes, *, encoding: str = "") -> Any:
        return {"bytes": raw}

    def encode(self, tree: Any, *, encoding: str = "") -> bytes:
        data = tree.get("bytes") if isinstance(tree, dict) else tree
        if not isinstance(data, bytes):
            raise CodecError(
                t("there are no bytes", "没有字节数据"),
                code="binary.tree",
                remedy=t(
                    "write fields: {bytes: …}; unbase64 and encode make bytes",
                    "请写 fields: {bytes: …}；unbase64、encode 得到字节",
                ),
            )
        return data
