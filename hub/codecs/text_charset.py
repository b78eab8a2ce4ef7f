"""Character sets of files that don't declare one: text ⇄ bytes for CSV, JSON Lines, fixed width and plain text.

What the contract says is believed. Without it a byte order mark decides, then the bytes themselves: UTF-16 (what Windows Excel calls
"Unicode text"), UTF-8, GB 18030, which GBK and GB 2312 are parts of. Whatever fits none of these is refused, never guessed.
"""

from __future__ import annotations

import re

from hub.errors import CodecError
from hub.i18n import t

__all__ = ["decode", "encode", "is_unicode", "reading_name"]

_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_BOM = "\ufeff"
#: How much is looked at to find UTF-16 without a byte order mark.
_HEAD = 4096
#: One character in so many must be ASCII there.
_ZEROS = 4
#: Characters of three bytes in UTF-8; they hardly ever come about by chance in other sets.
_THREE_BYTES = re.compile("[\u0800-\uffff]")


def reading_name(encoding: str) -> str:
    """The set to read by: GB 18030 for its older parts, which many senders name and few keep to."""
    plain = encoding.lower().replace("-", "").replace("_", "")
    return "gb18030" if plain in ("gbk", "gb2312", "cp936", "936") else encoding


def is_unicode(encoding: str) -> bool:
    """Whether a byte order mark makes sense; the default is UTF-8."""
    return not encoding or encoding.lower().startswith(("utf", "u8"))


def decode(raw: bytes, encoding: str, codec: str) -> str:
    """The text without byte order mark; ``codec`` names the format in error codes. Raises :class:`CodecError`."""
    if encoding:
        return _strictly(raw, reading_name(encoding), codec, encoding).removeprefix(_BOM)
    for mark, charset in _MARKS:
        if raw.startswith(mark):
            return _strictly(raw, charset, codec, charset).removeprefix(_BOM)
    if b"\0" in (head := raw[:_HEAD]) and (wide := _wide(head)):
        return _strictly(raw, wide, codec, wide)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if _THREE_BYTES.search(
            raw[: error.start].decode("utf-8")
        ):  # UTF-8 that is damaged: any other set would give nonsense
            raise _broken("UTF-8", error.start, codec) from error
    try:
        return raw.decode("gb18030")
    except UnicodeDecodeError as error:
        raise _broken(t("UTF-8 or GB 18030", "UTF-8 或 GB 18030"), error.start, codec) from error


def encode(text: str, encoding: str, codec: str) -> bytes:
    """The bytes, UTF-8 when ``encoding`` is empty; raises :class:`CodecError` with the line that can't be written."""
    try:
        return text.encode(encoding or "utf-8")
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        name = encoding or "UTF-8"
        raise CodecError(
            t(f"a character can't be written in {name}", f"有字符无法用 {name} 表示"),
            place=t(f"line {line}", f"第 {line} 行"),
            code=f"{codec}.charset",
            remedy=t("use gb18030 or utf-8, if the receiver can read it", "如接收方支持，请改用 gb18030 或 utf-8"),
        ) from error
    except (LookupError, ValueError) as error:
        raise _unknown(encoding, codec) from error


def _wide(head: bytes) -> str:
    """UTF-16 without a byte order mark: every ASCII character brings a zero byte, always on the same side."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) * _ZEROS < len(head) // 2:
        return ""
    if odd > 4 * even:
        return "utf-16-le"
    return "utf-16-be" if even > 4 * odd else ""


def _strictly(raw: bytes, charset: str, codec: str, told: str) -> str:
    try:
        return raw.decode(charset)
    except UnicodeDecodeError as error:
        raise _broken(told, error.start, codec) from error
    except (LookupError, ValueError) as error:
        raise _unknown(told, codec) from error


def _broken(charset: str, at: int, codec: str) -> CodecError:
    return CodecError(
        t(f"the bytes are not {charset}", f"字节不是 {charset}"),
        place=t(f"byte {at}", f"第 {at} 字节"),
        code=f"{codec}.charset",
        remedy=t("set the interface's encoding, e.g. gb18030", "请设置接口的 encoding，如 gb18030"),
    )


def _unknown(encoding: str, codec: str) -> CodecError:
    return CodecError(t(f"unknown character set {encoding}", f"未知字符集 {encoding}"), code=f"{codec}.charset")
