"""MTOM: an envelope with attachments as ``multipart/related`` (RFC 2387; SOAP MTOM 1.0; XOP 1.0)."""

from __future__ import annotations

import re
import secrets

from adapters.soap.fault import FaultRefusal
from adapters.soap.names import XOP, Version
from hub.api import CodecError
from hub.i18n import t

__all__ = ["include", "new_boundary", "package", "package_type", "unpack"]

_CONTENT_ID = "content@tongqu"
_ROOT_ID = "envelope@tongqu"
_MOST_PARTS = 1000
_LONGEST_HEAD = 16 << 10
_PARAMETER = re.compile(r';\s*([\w-]+)\s*=\s*(?:"([^"]*)"|([^\s;"]*))')
_FIRST_LINE = re.compile(rb"\s*--([^\r\n]{1,70}?)[ \t]*\r?\n")


def unpack(content_type: str, data: bytes) -> tuple[bytes, str, dict[str, bytes]]:
    """The envelope, its character set and the attachments by Content-ID.

    ``content_type``: that of the whole; without one the boundary is taken from the first line. Raises :class:`FaultRefusal`.
    """
    given = {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(content_type)}
    boundary = given.get("boundary", "").encode()
    if not boundary:
        first = _FIRST_LINE.match(data)
        boundary = first[1] if first else b""
    if not boundary:
        raise _broken(("the multipart message has no boundary", "multipart 消息没有分隔标记"))
    delimiter = b"\n--" + boundary
    pieces = (b"\n" + data).split(delimiter, _MOST_PARTS + 2)
    if len(pieces) > _MOST_PARTS + 2:
        raise _broken((f"more than {_MOST_PARTS} attachments", f"附件超过 {_MOST_PARTS} 个"))
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        raise _broken(("the end of the multipart message is missing", "multipart 消息缺少结束标记"))
    root: tuple[bytes, str] | None = None
    attachments: dict[str, bytes] = {}
    wanted = given.get("start", "").strip("<> ")
    for piece in pieces[1:-1]:
        head, content = _split(piece)
        name = head.get("content-id", "").strip("<> ")
        if head.get("content-transfer-encoding", "binary").lower() not in ("binary", "8bit", "7bit"):
            raise _broken(("an attachment is not sent as binary", "附件的传输编码不是 binary"))
        if root is None and (not wanted or name == wanted):
            kind = {
                key.lower(): quoted or plain for key, quoted, plain in _PARAMETER.findall(head.get("content-type", ""))
            }
            root = content, kind.get("charset", "")
        else:
            if name in attachments:
                raise _broken(("two attachments have the same Content-ID", "两个附件的 Content-ID 相同"))
            attachments[name] = content
    if root is None:
        raise _broken(("the part that start names is missing", "缺少 start 指定的部分"))
    return root[0], root[1], attachments


def include() -> str:
    """What stands in the envelope in the place of the attachment of :func:`package`."""
    return f'<xop:Include xmlns:xop="{XOP}" href="cid:{_CONTENT_ID}"/>'


def new_boundary() -> str:
    """One that nobody can foresee, and so write into a message."""
    return f"tongqu-{secrets.token_hex(16)}"


def package_type(version: Version, boundary: str, action: str = "") -> str:
    """The content type of :func:`package`."""
    kind = version.content_type
    named = f'; action="{action}"' if action and version is Version.V12 else ""
    return (
        f'multipart/related; type="application/xop+xml"; start="<{_ROOT_ID}>"; start-info="{kind}"; '
        f'boundary="{boundary}"{named}'
    )


def package(version: Version, envelope: bytes, content: bytes, boundary: str) -> bytes:
    """The envelope and one attachment. Raises :class:`CodecError` for contents that hold the boundary."""
    if boundary.encode() in content:
        raise CodecError(t("the message holds the boundary", "消息中含有分隔标记"), code="soap.multipart")
    return b"".join(
        (
            f"--{boundary}\r\n"
            f'Content-Type: application/xop+xml; charset=UTF-8; type="{version.content_type}"\r\n'
            f"Content-Transfer-Encoding: binary\r\nContent-ID: <{_ROOT_ID}>\r\n\r\n".encode(),
            envelope,
            f"\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n"
            f"Content-Transfer-Encoding: binary\r\nContent-ID: <{_CONTENT_ID}>\r\n\r\n".encode(),
            content,
            f"\r\n--{boundary}--\r\n".encode(),
        )
    )


def _split(piece: bytes) -> tuple[dict[str, str], bytes]:
    """Headers, in lower case, and content of a part."""
    line, _, rest = piece.partition(b"\n")
    if line.strip():
        raise _broken(("something follows a boundary", "分隔标记之后有多余字符"))
    head, content = b"", rest
    if rest[:2] == b"\r\n":
        content = rest[2:]
    elif rest[:1] == b"\n":
        content = rest[1:]
    else:
        at, gap = rest.find(b"\r\n\r\n", 0, _LONGEST_HEAD), 4
        if at < 0:
            at, gap = rest.find(b"\n\n", 0, _LONGEST_HEAD), 2
        if at < 0:
            raise _broken(("the header of a part has no end", "部分的头部没有结束"))
        head, content = rest[:at], rest[at + gap :]
    content = content.removesuffix(b"\r")
    unfolded = re.sub(r"\r?\n[ \t]+", " ", head.decode("latin-1"))
    pairs = (entry.partition(":") for entry in unfolded.splitlines())
    return {name.strip().lower(): value.strip() for name, _, value in pairs}, content


def _broken(text: tuple[str, str]) -> FaultRefusal:
    return FaultRefusal("client", "soap.multipart", text)
