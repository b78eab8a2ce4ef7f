"""Unpacking what strangers packed: zip, gzip and deflate with limits on how much may come out.

What is refused: more than :data:`MAX_UNPACKED` bytes; more than :data:`MAX_RATIO` times what went in, beyond :data:`ALWAYS_ALLOWED` bytes; archives
with too many entries, encrypted ones, and methods whose memory a sender chooses (LZMA, bzip2).
"""

from __future__ import annotations

import io
import zipfile
import zlib

from hub.errors import CodecError
from hub.i18n import t

__all__ = [
    "ALWAYS_ALLOWED",
    "DEFLATE",
    "GZIP",
    "MAX_ENTRIES",
    "MAX_RATIO",
    "MAX_UNPACKED",
    "ZLIB",
    "check_zip",
    "entry_name",
    "inflate",
    "read_entry",
]

#: How zlib calls the formats of RFC 1952, 1950 and 1951.
GZIP, ZLIB, DEFLATE = 31, 15, -15
#: Most bytes unpacked from one value or archive.
MAX_UNPACKED = 256 << 20
#: Most bytes for each byte that was packed; XML of spreadsheets reaches about 50.
MAX_RATIO = 200
#: Up to so many bytes the ratio does not matter.
ALWAYS_ALLOWED = 1 << 20
#: Most entries of an archive.
MAX_ENTRIES = 2000
#: Most members of one gzip stream, and how much is looked at at a time: together they bound what is copied.
_MAX_MEMBERS = 10_000
_CHUNK = 64 << 10
_ENTRY_MARK = b"PK\x01\x02"
_UTF8_NAME = 0x800
_ENCRYPTED = 0x1


def inflate(raw: bytes, window: int, code: str) -> bytes:
    """What zlib unpacks; ``window`` is :data:`GZIP`, :data:`ZLIB` or :data:`DEFLATE`.

    Several gzip members one after the other are one (RFC 1952, 2.2). Raises :class:`CodecError`.
    """
    limit = _limit(len(raw))
    parts: list[bytes] = []
    size = at = members = 0
    try:
        while at < len(raw) or not members:
            members += 1
            if members > 1 and (window != GZIP or members > _MAX_MEMBERS):
                raise CodecError(t("something follows the packed data", "压缩数据之后有多余字节"), code=code)
            stream = zlib.decompressobj(window)
            while not stream.eof:
                chunk = raw[at : at + _CHUNK]
                if not chunk:
                    raise CodecError(t("the end of the packed data is missing", "压缩数据不完整"), code=code)
                part = stream.decompress(chunk, limit - size + 1)
                size += len(part)
                if size > limit:
                    raise _too_much(code)
                parts.append(part)
                at += len(chunk) - len(stream.unused_data) - len(stream.unconsumed_tail)
            if raw[at : at + 1] == b"\0" and not raw[at:].strip(b"\0"):
                break  # zeros fill the last block of some tools
    except zlib.error as error:
        raise CodecError(
            t("not packed data of this kind, or damaged", "不是此类压缩数据，或已损坏"), code=code
        ) from error
    return b"".join(parts)


def check_zip(raw: bytes, code: str) -> zipfile.ZipFile:
    """The archive, once its directory promises to stay within the limits; sizes are enforced again when entries are read.

    Raises :class:`CodecError`.
    """
    # Counted before the directory is read: each entry there takes far more memory than its bytes.
    if raw.count(_ENTRY_MARK) > MAX_ENTRIES:
        raise CodecError(t(f"more than {MAX_ENTRIES} entries", f"条目超过 {MAX_ENTRIES} 个"), code=code)
    try:
        archive = zipfile.ZipFile(io.BytesIO(raw))
    except Exception as error:  # zipfile raises whatever a damaged structure happens to cause
        raise CodecError(t("not a zip archive, or damaged", "不是 zip 压缩包，或已损坏"), code=code) from error
    total = 0
    for info in archive.infolist():
        if info.flag_bits & _ENCRYPTED:
            raise CodecError(
                t("the archive is encrypted", "压缩包已加密"),
                code=code,
                remedy=t("send it without a password", "请发送未设密码的文件"),
            )
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise CodecError(t("a method of packing other than deflate", "不支持 deflate 以外的压缩方法"), code=code)
        total += info.file_size
        if info.file_size > _limit(info.compress_size) or total > MAX_UNPACKED:
            raise _too_much(code)
    return archive


def read_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, code: str, *, most: int = -1) -> bytes:
    """The content of an entry, or its first ``most`` bytes; raises :class:`CodecError` when it is not what the directory says."""
    try:
        with archive.open(info) as stream:
            return stream.read(most)  # never more than the size that was checked
    except Exception as error:  # as above
        raise CodecError(t("an entry of the archive is damaged", "压缩包条目已损坏"), code=code) from error


def entry_name(info: zipfile.ZipInfo) -> str:
    """The name of an entry: UTF-8 where it says so, else GB 18030, which Chinese programs write, else as zip's own set has it."""
    if info.flag_bits & _UTF8_NAME:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("gb18030")
    except UnicodeError:
        return info.filename


def _too_much(code: str) -> CodecError:
    return CodecError(
        t(
            f"unpacks to more than {MAX_UNPACKED >> 20} MB, or more than {MAX_RATIO} times its size",
            f"解压后超过 {MAX_UNPACKED >> 20} MB，或超过原大小的 {MAX_RATIO} 倍",
        ),
        code=code,
        remedy=t("send less in one file", "请减少单个文件的内容"),
    )


def _limit(packed: int) -> int:
    """How many bytes may come of so many."""
    return min(MAX_UNPACKED, max(ALWAYS_ALLOWED, packed * MAX_RATIO))
