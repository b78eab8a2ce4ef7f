"""SM2 keys, and the forms their signatures and ciphertexts come in (GB/T 32918-2016, GM/T 0009-2012).

Nothing in here needs a provider. Keys are values; what a provider prepares for one it keeps in :attr:`Sm2PublicKey.handles`.
"""

from __future__ import annotations

import hmac
from typing import Any, Literal, NoReturn

from hub.crypto import curve, der
from hub.crypto.errors import CryptoError, KeyFormatError, cannot_decrypt
from hub.i18n import t

__all__ = [
    "DEFAULT_USER_ID",
    "Ciphertext",
    "DeviceKey",
    "Form",
    "Order",
    "Sm2PrivateKey",
    "Sm2PublicKey",
    "identity",
    "join_ciphertext",
    "join_signature",
    "split_ciphertext",
    "split_signature",
]

Form = Literal["der", "raw"]
Order = Literal["c1c3c2", "c1c2c3"]

#: The user id that GM/T 0009-2012 (clause 10) gives for whoever has agreed on none.
DEFAULT_USER_ID = b"1234567812345678"

#: Longest ciphertext that is read, bytes: envelopes carry a key of 16, freight platforms a document of some kilobytes.
MAX_CIPHERTEXT = 64 << 20

_MAX_USER_ID = 8191  # its length in bits is written in 16 bits
_CURVE = b"".join(v.to_bytes(32) for v in (curve.A, curve.B, *curve.G))


class Sm2PublicKey:
    """A point of the curve. :attr:`point` is x ‖ y, 64 bytes, without a prefix."""

    __slots__ = ("handles", "point")

    def __init__(self, point: bytes) -> None:
        """``point``: 64 bytes x ‖ y. Raises :class:`KeyFormatError` when it is not on the curve."""
        if len(point) != 64 or not curve.on_curve(int.from_bytes(point[:32]), int.from_bytes(point[32:])):
            raise KeyFormatError(
                t("this is not an SM2 public key: the point is not on the curve", "不是 SM2 公钥：点不在曲线上"),
                remedy=t(
                    "some libraries cut leading zeros or a 04 that belongs to the key: compare the length, 64 bytes",
                    "部分库会误删前导零或属于密钥的 04：请核对长度（64 字节）",
                ),
            )
        self.point = bytes(point)
        self.handles: dict[str, Any] = {}  # what providers prepared for this key, by provider; dropped with it

    def hex(self, *, prefix: bool = True) -> str:
        """``04`` ‖ x ‖ y in lower-case hex, 130 digits; 128 without the prefix."""
        return ("04" if prefix else "") + self.point.hex()

    def spki(self) -> bytes:
        """SubjectPublicKeyInfo in DER."""
        return der.sequence(_algorithm(), der.bits(b"\x04" + self.point))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sm2PublicKey) and self.point == other.point

    def __hash__(self) -> int:
        return hash(self.point)

    def __repr__(self) -> str:
        return f"Sm2PublicKey({self.point[:4].hex()}…)"


class Sm2PrivateKey:
    """A private key in memory, with its public key. It doesn't show itself and can't be pickled."""

    __slots__ = ("__secret", "handles", "public")

    def __init__(self, secret: bytes) -> None:
        """``secret``: 32 bytes d, 1 ≤ d ≤ n - 2 (GB/T 32918.1, 6.1). Raises :class:`KeyFormatError`."""
        number = int.from_bytes(secret)
        if len(secret) != 32 or not 1 <= number <= curve.N - 2:
            raise KeyFormatError(
                t(
                    "this is not an SM2 private key: it is not a number of 1 to n - 2 in 32 bytes",
                    "不是 SM2 私钥：应为 32 字节、取值 1 至 n-2",
                )
            )
        x, y = curve.public_point(number)
        self.__secret = bytes(secret)
        self.public = Sm2PublicKey(x.to_bytes(32) + y.to_bytes(32))
        self.handles: dict[str, Any] = {}

    def secret(self) -> bytes:
        """The 32 secret bytes; never for a log, an error or a screen."""
        return self.__secret

    def pkcs8(self) -> bytes:
        """PrivateKeyInfo in DER, not encrypted (RFC 5208, RFC 5915); see :func:`hub.crypto.pkcs8.encrypt`."""
        public = der.wrap(0xA1, der.bits(b"\x04" + self.public.point))
        inner = der.sequence(der.integer(1), der.octets(self.__secret), public)
        return der.sequence(der.integer(0), _algorithm(), der.octets(inner))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sm2PrivateKey) and hmac.compare_digest(self.__secret, other.__secret)

    def __hash__(self) -> int:
        return hash(self.public)

    def __repr__(self) -> str:
        return f"Sm2PrivateKey(***, {self.public!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key can't be pickled")


class DeviceKey:
    """A key that stays where it is: in a PKCS#11 device or on a signature server, known by its label.

    ``public`` is the SM2 public key that belongs to it; whoever signs with a user id must know it.
    """

    __slots__ = ("label", "public")

    def __init__(self, label: str, public: Sm2PublicKey | None = None) -> None:
        self.label, self.public = label, public

    def __repr__(self) -> str:
        return f"DeviceKey({self.label!r})"


def _algorithm() -> bytes:
    return der.sequence(der.oid("1.2.840.10045.2.1"), der.oid("1.2.156.10197.1.301"))


def identity(public: Sm2PublicKey, user_id: bytes) -> bytes:
    """What Z_A is the SM3 of: ENTL ‖ ID ‖ a ‖ b ‖ x_G ‖ y_G ‖ x_A ‖ y_A (GB/T 32918.2, 5.5)."""
    if len(user_id) > _MAX_USER_ID:
        raise CryptoError(t("an SM2 user id has at most 8191 bytes", "SM2 用户标识最长 8191 字节"))
    return (len(user_id) * 8).to_bytes(2) + user_id + _CURVE + public.point


def join_signature(r: int, s: int, form: Form) -> bytes:
    """``raw`` is r ‖ s, 64 bytes; ``der`` is SEQUENCE {r, s} (GM/T 0009, 7.3)."""
    if form == "raw":
        return r.to_bytes(32) + s.to_bytes(32)
    _known(form, "der")
    return der.sequence(der.integer(r), der.integer(s))


def split_signature(signature: bytes, form: Form) -> tuple[int, int] | None:
    """r and s, each of 1 to n - 1; None for anything else."""
    if form == "raw":
        if len(signature) != 64:
            return None
        r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    else:
        _known(form, "der")
        if not 8 <= len(signature) <= 72:
            return None
        try:
            parts = der.parse(signature).children()
            if len(parts) != 2:
                return None
            r, s = parts[0].uint(), parts[1].uint()
        except der.DerError:
            return None
    return (r, s) if 0 < r < curve.N and 0 < s < curve.N else None


Ciphertext = tuple[bytes, bytes, bytes]
"""C1 as x ‖ y (64 bytes), C3 (32 bytes), C2 (as long as the data)."""


def join_ciphertext(parts: Ciphertext, order: Order, form: Form) -> bytes:
    """``raw`` begins with 04; ``der`` is SEQUENCE {x, y, C3, C2}, whose order is fixed (GM/T 0009, 7.2)."""
    c1, c3, c2 = parts
    if form == "der":
        x, y = int.from_bytes(c1[:32]), int.from_bytes(c1[32:])
        return der.sequence(der.integer(x), der.integer(y), der.octets(c3), der.octets(c2))
    _known(form, "raw")
    if order == "c1c2c3":
        return b"\x04" + c1 + c2 + c3
    _known(order, "c1c3c2")
    return b"\x04" + c1 + c3 + c2


def split_ciphertext(ciphertext: bytes, order: Order, form: Form) -> Ciphertext:
    """The parts of a ciphertext, its point checked; ``raw`` also without the leading 04, as some libraries write it.

    Raises :class:`CryptoError` with the one text of all failed decryptions.
    """
    if len(ciphertext) > MAX_CIPHERTEXT:
        raise cannot_decrypt()
    if form == "der":
        return _split_der(ciphertext)
    _known(form, "raw")
    # A first byte of 04 may also belong to x. Only one of the two readings can be a point of the curve.
    for skip in (1, 0):
        c1, rest = ciphertext[skip : skip + 64], ciphertext[skip + 64 :]
        if skip and ciphertext[:1] != b"\x04":
            continue
        if len(rest) > 32 and curve.on_curve(int.from_bytes(c1[:32]), int.from_bytes(c1[32:])):
            if order == "c1c2c3":
                return c1, rest[-32:], rest[:-32]
            _known(order, "c1c3c2")
            return c1, rest[:32], rest[32:]
    raise cannot_decrypt()


def _split_der(ciphertext: bytes) -> Ciphertext:
    try:
        parts = der.parse(ciphertext).children()
        if len(parts) != 4:
            raise cannot_decrypt()
        x, y, c3, c2 = parts[0].uint(), parts[1].uint(), parts[2].octets(), parts[3].octets()
    except der.DerError:
        raise cannot_decrypt() from None
    if len(c3) != 32 or not c2 or not curve.on_curve(x, y):
        raise cannot_decrypt()
    return x.to_bytes(32) + y.to_bytes(32), c3, c2


def _known(value: str, only: str) -> None:
    if value != only:
        raise CryptoError(t(f"unknown form or order {value!r}", f"未知的形式或排列 {value!r}"), code="crypto.option")
