"""Payloads inside payloads: the tree of a text or of bytes in another format, base 64, compression, archives, character sets.

What is packed is bytes; bytes are values of their own in expressions, and only these functions take them. Codecs are looked up
when they are needed: they are no part of the language, which the hub's modules load before them.

Sources: RFC 4648 (base 64), RFC 1950 to 1952 (zlib, deflate, gzip), PKWARE APPNOTE (zip).
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import gzip
import io
import zipfile
import zlib
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from hub.codecs import archive, text_charset
from hub.codecs.base import Codec
from hub.codecs.hl7v2 import Hl7Message
from hub.codecs.records import Received
from hub.codecs.xml_codec import XmlDocument
from hub.errors import CodecError
from hub.i18n import t
from hub.mapping.functions.base import Registry, lenient, text_of
from hub.mapping.nodes import CallNode
from hub.mapping.paths import Code, Scope
from hub.mapping.runtime import MAX_TEXT, FunctionError, is_absent, kind_of

if TYPE_CHECKING:
    from hub.mapping.codegen import Generator

__all__ = ["PACKING"]

PACKING = Registry()
#: Bytes or characters that count as one step of a run's budget: 64 MB may go through these functions in one run.
_STEP = 64
_LEVEL = 6
_EARLIEST = (1980, 1, 1, 0, 0, 0)
#: Ends of the content types of formats that are text, besides those that begin with text/.
_TEXTUAL = ("json", "xml", "x-www-form-urlencoded", "hl7-v2")
_URL_SAFE = str.maketrans("-_", "+/")


def _cost(*values: Any) -> int:
    return sum(len(value) // _STEP for value in values if isinstance(value, bytes | str)) + 1


def _measured(g: Generator, node: CallNode, scope: Scope) -> Code:
    """The call, with the size of what goes in and comes out taken off the budget."""
    call, name, node = lenient(g.function(node), node)
    texts = [g.compile(argument, scope).text for argument in node.arguments]
    texts += [f"{keyword}={g.compile(value, scope).text}" for keyword, value in node.keywords]
    first = ""
    if node.arguments:
        first = texts[0] = g.keep(Code(texts[0], risky=True))
    g.namespace[name] = call
    g.namespace["packing_cost"] = _cost
    result = g.keep(Code(f"{name}({', '.join(texts)})", risky=True))
    g.writer.line(f"left -= packing_cost({first or result}, {result})")
    g.writer.line("if left < 0: over_budget()")
    return Code(result)


# -- other formats -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _codecs() -> dict[str, Codec]:
    """The built-in codecs that need no options. DICOM is no text, and nothing reads data sets inside messages."""
    from hub.codecs.registry import builtin_codecs

    return {codec.name: codec for codec in builtin_codecs() if codec.name != "dicom" and _ready(codec)}


def _ready(codec: Codec) -> bool:
    if codec.format_options is None:
        return True
    try:
        codec.format_options()
    except ValidationError:
        return False
    return True


def _codec(name: Any) -> Codec:
    known = _codecs()
    found = known.get(name) if isinstance(name, str) else None
    if found is None:
        near = get_close_matches(name, known, 1) if isinstance(name, str) else []
        raise FunctionError(
            t(f"{name!r} is no codec that can be used here", f"{name!r} 不是此处可用的编解码器"),
            remedy=t(f"did you mean {near[0]!r}?", f"是否应为 {near[0]!r}？")
            if near
            else t(f"known: {', '.join(sorted(known))}", f"可用：{', '.join(sorted(known))}"),
        )
    return found


def _check_codec(literals: Mapping[str, Any]) -> None:
    if "codec" in literals:
        _codec(literals["codec"])


def _failed(name: str, error: CodecError) -> FunctionError:
    return FunctionError(f"{name}: {error.text}", remedy=error.remedy)


@PACKING.add(check=_check_codec, emit=_measured, converts=True)
def parse(value: Any, codec: Any, encoding: Any = "") -> Any:
    """The tree of a text or of bytes in another format: parse('json'), parse('csv', 'gbk'); null when absent."""
    if is_absent(value):
        return None
    other = _codec(codec)
    if isinstance(value, bytes):
        raw, charset = value, text_of(encoding, "parse")
    else:
        raw, charset = _utf8(value, "parse"), "utf-8"
    try:
        tree = other.decode(raw, encoding=charset)
    except CodecError as error:
        raise _failed(f"parse {other.name}", error) from None
    return dict(tree) if isinstance(tree, Received) else tree


@PACKING.add("format", check=_check_codec, emit=_measured)
def formatted(value: Any, codec: Any, encoding: Any = "") -> Any:
    """A tree written in another format: text, or bytes when an encoding is given or the format is no text; null when absent."""
    if value is None:
        return None
    other = _codec(codec)
    charset = text_of(encoding, "format")
    try:
        # A text has no character set of its own, whatever the document was read from.
        raw = other.encode(value, encoding=charset or ("utf-8" if isinstance(value, XmlDocument | Hl7Message) else ""))
    except CodecError as error:
        raise _failed(f"format {other.name}", error) from None
    if charset or not (other.content_type.startswith("text/") or other.content_type.endswith(_TEXTUAL)):
        return raw
    return _limited(raw.decode("utf-8"), "format")


# -- texts and bytes ---------------------------------------------------------------------------------------------------


def _utf8(value: Any, name: str) -> bytes:
    """Bytes as they are, a text in UTF-8."""
    if isinstance(value, bytes):
        return value
    try:
        return text_of(value, name).encode("utf-8")
    except UnicodeEncodeError:
        raise FunctionError(t(f"{name}: half a character", f"{name}：含不完整的字符")) from None


def _bytes(value: Any, name: str) -> bytes:
    if isinstance(value, bytes):
        return value
    raise FunctionError(
        t(f"{name} works on bytes, this is a {kind_of(value)}", f"{name} 处理字节，实为{kind_of(value)}"),
        remedy=t("unbase64 makes bytes of base 64, encode of a text", "base64 用 unbase64、文本用 encode 转为字节"),
    )


def _limited(text: str, name: str) -> str:
    if len(text) > MAX_TEXT:
        raise FunctionError(t(f"{name}: the result is longer than {MAX_TEXT}", f"{name}：结果超过 {MAX_TEXT} 个字符"))
    return text


@PACKING.add(emit=_measured, converts=True)
def decode(value: Any, encoding: Any = "") -> Any:
    """The text of bytes; without an encoding a byte order mark decides, then UTF-8, then GB 18030."""
    if is_absent(value):
        return None
    try:
        text = text_charset.decode(_bytes(value, "decode"), text_of(encoding, "decode"), "text")
    except CodecError as error:
        raise _failed("decode", error) from None
    return _limited(text, "decode")


@PACKING.add(emit=_measured)
def encode(value: Any, encoding: Any = "utf-8") -> Any:
    """The bytes of a text."""
    if value is None:
        return None
    try:
        return text_charset.encode(text_of(value, "encode"), text_of(encoding, "encode"), "text")
    except CodecError as error:
        raise _failed("encode", error) from None


@PACKING.add("base64", emit=_measured)
def base64_text(value: Any) -> Any:
    """Bytes, or a text in UTF-8, as base 64."""
    if is_absent(value):
        return None
    return _limited(base64.b64encode(_utf8(value, "base64")).decode("ascii"), "base64")


@PACKING.add(emit=_measured, converts=True)
def unbase64(value: Any) -> Any:
    """The bytes that were encoded in base 64; blanks, the alphabet for URLs and missing = at the end are understood."""
    if is_absent(value):
        return None
    text = "".join(text_of(value, "unbase64").split()).translate(_URL_SAFE)
    if not text.endswith("="):
        text += "=" * (-len(text) % 4)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise FunctionError(t("unbase64: not base 64", "unbase64：不是 base64")) from None


# -- compression -------------------------------------------------------------------------------------------------------


def _unpacked(value: Any, name: str, window: int) -> bytes:
    try:
        return archive.inflate(_bytes(value, name), window, name)
    except CodecError as error:
        raise _failed(name, error) from None


@PACKING.add("gzip", emit=_measured)
def gzipped(value: Any) -> Any:
    """Bytes, or a text in UTF-8, compressed as gzip; the same always gives the same bytes."""
    return None if is_absent(value) else gzip.compress(_utf8(value, "gzip"), _LEVEL, mtime=0)


@PACKING.add(emit=_measured, converts=True)
def gunzip(value: Any) -> Any:
    """The bytes that were compressed as gzip."""
    return None if is_absent(value) else _unpacked(value, "gunzip", archive.GZIP)


@PACKING.add(emit=_measured)
def deflate(value: Any) -> Any:
    """Bytes, or a text in UTF-8, compressed by zlib."""
    return None if is_absent(value) else zlib.compress(_utf8(value, "deflate"), _LEVEL)


@PACKING.add(emit=_measured, converts=True)
def inflate(value: Any) -> Any:
    """The bytes that were compressed by zlib, or deflated without its header."""
    if is_absent(value):
        return None
    head = _bytes(value, "inflate")[:2]
    zlib_header = len(head) == 2 and head[0] & 0x0F == 8 and int.from_bytes(head) % 31 == 0
    return _unpacked(value, "inflate", archive.ZLIB if zlib_header else archive.DEFLATE)


@PACKING.add("zip", emit=_measured)
def zipped(value: Any, name: Any) -> Any:
    """A zip archive with bytes, or a text in UTF-8, under one name; the same always gives the same bytes."""
    if is_absent(value):
        return None
    path = text_of(name, "zip")
    if not path or len(path) > 255 or "\0" in path:
        raise FunctionError(t("zip: not a name of a file", "zip：不是有效的文件名"))
    content = _utf8(value, "zip")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr(zipfile.ZipInfo(path, _EARLIEST), content, zipfile.ZIP_DEFLATED, _LEVEL)
    return out.getvalue()


@PACKING.add(emit=_measured, converts=True)
def unzip(value: Any, name: Any = "*") -> Any:
    """The bytes of the first file of a zip archive whose name is, or with * and ? matches, the one given; null when there is none."""
    if is_absent(value):
        return None
    pattern = text_of(name, "unzip")
    try:
        with archive.check_zip(_bytes(value, "unzip"), "unzip") as packed:
            for info in packed.infolist():
                if not info.is_dir() and fnmatch.fnmatchcase(archive.entry_name(info), pattern):
                    return archive.read_entry(packed, info, "unzip")
    except CodecError as error:
        raise _failed("unzip", error) from None
    return None
