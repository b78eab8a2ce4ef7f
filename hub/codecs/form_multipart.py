"""Forms with files: ``multipart/form-data`` (RFC 7578).

A field is text in the tree, ``{name: text}``; a file, and whatever else has a content type of its own, is
``{name: {"filename": …, "content_type": …, "bytes": …}}``. A name that occurs more than once has a list. A part that is itself a
multipart document stays bytes: nothing nests.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from hub.codecs import text_charset
from hub.codecs.base import Codec
from hub.codecs.form_codec import MAX_FIELDS, collected, fields_of, too_many
from hub.codecs.records import Received, cell_text, untouched
from hub.errors import CodecError
from hub.i18n import t

__all__ = ["BOUNDARY", "MultipartCodec"]

#: Always the same, so that the same message gives the same bytes.
BOUNDARY = "tongqu-part-6d1f0b7c52e94a38"
_FIRST_LINE = re.compile(rb"--([0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-])[ \t]*\r\n")
_LONGEST_HEAD = 16 << 10
_DISPOSITION = re.compile(r"\s*form-data\s*(?=;|$)", re.IGNORECASE)
_PARAMETER = re.compile(r';\s*([A-Za-z*]+)\s*=\s*(?:"([^"]*)"|([^\s;"]*))\s*')
_CHARSET = re.compile(r';\s*charset\s*=\s*"?([A-Za-z0-9_.:-]+)', re.IGNORECASE)
_CONTENT_TYPE = re.compile(r"[\x21-\x7e]+/[\x20-\x7e]+")
_TEXT_TYPE = re.compile(r"text/plain\s*(?:;|$)", re.IGNORECASE)
_ESCAPES = {'"': "%22", "\r": "%0D", "\n": "%0A"}
_ESCAPED = re.compile("%22|%0D|%0A", re.IGNORECASE)


class MultipartCodec(Codec):
    """See the module. The boundary of what is read is taken from its first line."""

    name: ClassVar[str] = "multipart"
    content_type: ClassVar[str] = f"multipart/form-data; boundary={BOUNDARY}"

    # -- reading -------------------------------------------------------------------------------------------------

    def decode(self, raw: bytes, *, encoding: str = "") -> Any:
        first = _FIRST_LINE.match(raw)
        if first is None:
            raise _refused(t("the first line is no boundary", "首行不是分隔标记"), 0)
        if first[1].endswith(b"--") and first.end() == len(raw):
            return Received({}, raw, self, encoding)  # nothing but the end
        delimiter = b"\r\n--" + first[1]
        body = b"\r\n" + raw
        if body.count(delimiter) > MAX_FIELDS + 1:
            raise too_many(self.name)
        pieces = body.split(delimiter)[1:]
        last = pieces.pop()
        if not last.startswith(b"--"):
            raise _refused(t("the end is missing", "缺少结束标记"), len(pieces) + 1)
        found: list[tuple[str, Any]] = []
        for number, piece in enumerate(pieces, 1):
            found.append(self._part(piece, number, encoding))
        return Received(collected(found), raw, self, encoding)

    def _part(self, piece: bytes, number: int, encoding: str) -> tuple[str, Any]:
        line, end, rest = piece.partition(b"\r\n")
        if not end or line.strip(b" \t"):
            raise _refused(t("something follows the boundary", "分隔标记之后有多余字符"), number)
        at = rest.find(b"\r\n\r\n", 0, _LONGEST_HEAD) if not rest.startswith(b"\r\n") else 0
        if at < 0:
            raise _refused(t("the end of the header is missing", "缺少头部结束标记"), number)
        head, content = rest[:at], rest[at + 4 :] if at else rest[2:]
        headers = self._headers(head, number, encoding)
        name, filename = _names(headers.get("content-disposition", ""), number)
        kind = headers.get("content-type", "")
        if headers.get("content-transfer-encoding", "binary").strip().lower() not in ("binary", "8bit", "7bit"):
            raise _refused(t("encoded content is not allowed in forms", "表单中不允许编码后的内容"), number)
        if filename is None and (not kind or _TEXT_TYPE.match(kind)):
            charset = _CHARSET.search(kind)
            return name, self._text(content, charset[1] if charset else encoding, number)
        file: dict[str, Any] = {} if filename is None else {"filename": filename}
        return name, {**file, "content_type": kind or "application/octet-stream", "bytes": content}

    def _headers(self, head: bytes, number: int, encoding: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for line in self._text(head, encoding, number).split("\r\n"):
            name, colon, value = line.partition(":")
            if not colon:
                raise _refused(t("a header line has no colon", "头部行缺少冒号"), number)
            found.setdefault(name.strip().lower(), value.strip())
        return found

    def _text(self, data: bytes, encoding: str, number: int) -> str:
        try:
            return text_charset.decode(data, encoding or "utf-8", self.name)
        except CodecError as error:
            raise CodecError(
                error.text.removeprefix(f"{error.place}: "), place=_part(number), code=error.code, remedy=error.remedy
            ) from error

    # -- writing -------------------------------------------------------------------------------------------------

    def encode(self, tree: Any, *, encoding: str = "") -> bytes:
        kept = untouched(tree, self, encoding)
        if kept is not None:
            return kept
        parts: list[bytes] = []
        mark = f"--{BOUNDARY}".encode("ascii")
        for number, (name, value) in enumerate(fields_of(tree, self.name), 1):
            head = f'Content-Disposition: form-data; name="{_escaped(name)}"'
            if isinstance(value, dict):
                more, content = self._file(value, number)
                head += more
            else:
                content = text_charset.encode(cell_text(value, self.name, number, name), encoding, self.name)
            if mark in content:
                raise _refused(t("the content holds the boundary", "内容中含分隔标记"), number)
            parts += (mark, b"\r\n", text_charset.encode(head, encoding, self.name), b"\r\n\r\n", content, b"\r\n")
        return b"".join((*parts, mark, b"--\r\n"))

    def _file(self, value: dict[str, Any], number: int) -> tuple[str, bytes]:
        """(the rest of the header, the content) of a file"""
        content, kind, filename = value.get("bytes"), value.get("content_type"), value.get("filename")
        if not isinstance(content, bytes) or not isinstance(filename, str | None):
            raise CodecError(
                t("a file needs bytes, and its filename must be text", "文件须有 bytes，且 filename 须为文本"),
                place=_part(number),
                code="multipart.tree",
                remedy=t("unbase64 and encode make bytes", "unbase64、encode 得到字节"),
            )
        kind = kind or "application/octet-stream"
        if not isinstance(kind, str) or not _CONTENT_TYPE.fullmatch(kind):
            raise _refused(t("not a content type", "不是有效的内容类型"), number)
        name = "" if filename is None else f'; filename="{_escaped(filename)}"'
        return f"{name}\r\nContent-Type: {kind}", content


def _names(disposition: str, number: int) -> tuple[str, str | None]:
    """(name of the field, file name or None)"""
    kind = _DISPOSITION.match(disposition)
    found: dict[str, str] = {}
    at = kind.end() if kind else 0
    while kind and at < len(disposition):
        parameter = _PARAMETER.match(disposition, at)
        if parameter is None:
            break
        value = parameter[3] if parameter[2] is None else parameter[2]
        found.setdefault(parameter[1].lower(), _ESCAPED.sub(lambda m: chr(int(m[0][1:], 16)), value))
        at = parameter.end()
    if kind is None or "name" not in found or at < len(disposition):
        raise _refused(t("no name of a field in Content-Disposition", "Content-Disposition 中没有字段名"), number)
    return found["name"], found.get("filename")


def _escaped(name: str) -> str:
    return "".join(_ESCAPES.get(char, char) for char in name)


def _part(number: int) -> str:
    return t(f"part {number}", f"第 {number} 部分") if number else ""


def _refused(text: str, number: int) -> CodecError:
    return CodecError(text, place=_part(number), code="multipart.invalid")
