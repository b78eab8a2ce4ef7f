"""The little of ASN.1 that SM2 keys, signatures and ciphertexts need: strict DER, read and written.

One way to write each value, as DER asks: indefinite or over-long lengths, padded or negative integers and bytes left over are refused,
so that nobody can make a second signature out of a first by rewriting its encoding.
"""

from __future__ import annotations

from hub.crypto.errors import KeyFormatError
from hub.i18n import t

__all__ = [
    "BIT_STRING",
    "INTEGER",
    "NULL_VALUE",
    "OCTET_STRING",
    "OID",
    "SEQUENCE",
    "DerError",
    "Node",
    "bits",
    "integer",
    "octets",
    "oid",
    "parse",
    "sequence",
    "wrap",
]

_MOST_CHILDREN = 64  # of one value; keys, signatures and certificates have a dozen

INTEGER, BIT_STRING, OCTET_STRING, OID, SEQUENCE = 0x02, 0x03, 0x04, 0x06, 0x30
NULL_VALUE = b"\x05\0"


class DerError(KeyFormatError):
    """Bytes that are not the DER structure they should be."""

    code = "crypto.der"

    def __init__(self) -> None:
        super().__init__(t("not the expected DER structure", "不是预期的 DER 结构"))


class Node:
    """One value: its tag, and its content as a part of the whole bytes."""

    __slots__ = ("_data", "end", "outer", "start", "tag")

    def __init__(self, data: bytes, tag: int, outer: int, start: int, end: int) -> None:
        self._data, self.tag, self.outer, self.start, self.end = data, tag, outer, start, end

    @property
    def content(self) -> bytes:
        return self._data[self.start : self.end]

    @property
    def whole(self) -> bytes:
        """Tag, length and content."""
        return self._data[self.outer : self.end]

    def children(self, tag: int = SEQUENCE, least: int = 0) -> list[Node]:
        """The values inside a constructed one, which must have this tag and at least so many."""
        if self.tag != tag:
            raise DerError
        found: list[Node] = []
        at = self.start
        while at < self.end:
            if len(found) == _MOST_CHILDREN:
                raise DerError
            node = _node(self._data, at, self.end)
            found.append(node)
            at = node.end
        if len(found) < least:
            raise DerError
        return found

    def uint(self) -> int:
        """A non-negative integer in its shortest form."""
        content = self.content
        if self.tag != INTEGER or not content or content[0] & 0x80:
            raise DerError
        if len(content) > 1 and not content[0] and not content[1] & 0x80:
            raise DerError
        return int.from_bytes(content)

    def octets(self) -> bytes:
        if self.tag != OCTET_STRING:
            raise DerError
        return self.content

    def bits(self) -> bytes:
        """A bit string of whole bytes."""
        if self.tag != BIT_STRING or self.start == self.end or self._data[self.start]:
            raise DerError
        return self._data[self.start + 1 : self.end]

    def oid(self) -> str:
        content = self.content
        if self.tag != OID or not content or content[-1] & 0x80 or len(content) > 64:
            raise DerError
        numbers: list[int] = []
        value = 0
        for byte in content:
            value = value << 7 | byte & 0x7F
            if not byte & 0x80:
                numbers.append(value)
                value = 0
        first = min(numbers[0] // 40, 2)
        return ".".join(map(str, [first, numbers[0] - first * 40, *numbers[1:]]))


def _node(data: bytes, at: int, end: int) -> Node:
    if end - at < 2 or data[at] & 0x1F == 0x1F:
        raise DerError
    tag, length, start = data[at], data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4 or end - start < count:
            raise DerError
        length = int.from_bytes(data[start : start + count])
        if length < 0x80 or length < 1 << 8 * (count - 1):
            raise DerError
        start += count
    if length > end - start:
        raise DerError
    return Node(data, tag, at, start, start + length)


def parse(data: bytes, tag: int = SEQUENCE) -> Node:
    """The one value the bytes are; raises :class:`DerError`, also for another tag or bytes left over."""
    node = _node(data, 0, len(data))
    if node.end != len(data) or node.tag != tag:
        raise DerError
    return node


def wrap(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(size))) + size + content


def sequence(*parts: bytes) -> bytes:
    return wrap(SEQUENCE, b"".join(parts))


def integer(value: int) -> bytes:
    return wrap(INTEGER, value.to_bytes(value.bit_length() // 8 + 1))


def octets(value: bytes) -> bytes:
    return wrap(OCTET_STRING, value)


def bits(value: bytes) -> bytes:
    return wrap(BIT_STRING, b"\0" + value)


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    content = bytearray()
    for number in (first * 40 + second, *rest):
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(number & 0x7F | 0x80)
        content += bytes(reversed(groups))
    return wrap(OID, bytes(content))
