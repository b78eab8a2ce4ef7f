"""The SM2 curve (GB/T 32918.5-2017): parameters, points, and the one multiplication a key needs when it is loaded.

Signatures and ciphertexts are made by a provider. Only the public key of a private key is computed here, so that it is the
same with every provider.
"""

from __future__ import annotations

import hashlib
import secrets

__all__ = ["A", "B", "G", "N", "P", "add", "decompress", "negate", "on_curve", "public_point"]

P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
A = P - 3
B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
G = (
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)

Point = tuple[int, int]
#: Public points by a hash of the secret; the key of the hash is this process's own.
_HASH_KEY = secrets.token_bytes(32)
_KNOWN: dict[bytes, Point] = {}
_MOST_KNOWN = 1024
_Jacobian = tuple[int, int, int]  # x/z², y/z³; z = 0 is the point at infinity


def on_curve(x: int, y: int) -> bool:
    """Is (x, y) a point of the curve, and not the one at infinity? The group has prime order, so that is all to check."""
    return 0 <= x < P and 0 <= y < P and (y * y - (x * x + A) * x - B) % P == 0


def decompress(x: int, odd: bool) -> Point | None:
    """The point with this x whose y is odd or even; None when there is none (GB/T 32918.1, 4.2.10)."""
    if not 0 <= x < P:
        return None
    y = pow((x * x + A) * x + B, (P + 1) // 4, P)  # P = 3 mod 4
    if (y & 1) != odd:
        y = P - y
    return (x, y) if on_curve(x, y) else None


def negate(point: Point) -> Point:
    return point[0], P - point[1]


def add(one: Point, other: Point) -> Point | None:
    """The sum of two affine points; None is the point at infinity."""
    (x1, y1), (x2, y2) = one, other
    if x1 == x2:
        if (y1 + y2) % P == 0:
            return None
        slope = (3 * x1 * x1 + A) * pow(2 * y1, -1, P)
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, P)
    x = (slope * slope - x1 - x2) % P
    return x, (slope * (x1 - x) - y1) % P


def public_point(secret: int) -> Point:
    """The point ``secret``·G for 0 < secret < N.

    One key often serves dozens of interfaces, and each is checked against its public half: what was computed is kept, under a
    hash that tells nothing of the secret.
    """
    known = hashlib.blake2b(secret.to_bytes(32, "big"), key=_HASH_KEY).digest()
    found = _KNOWN.get(known)
    if found is None:
        while len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.pop(next(iter(_KNOWN)), None)
        found = _KNOWN[known] = _multiple(secret)
    return found


def _multiple(secret: int) -> Point:
    """The point ``secret``·G.

    The multiplier is blinded by a random multiple of the order, so that the time taken tells nothing about the secret's bits.
    """
    blinded = secret + (secrets.randbits(63) | 1 << 63) * N
    low: _Jacobian = (1, 1, 0)
    high: _Jacobian = (*G, 1)
    for bit in bin(blinded)[2:]:  # Montgomery's ladder: both steps for every bit
        if bit == "1":
            low, high = _sum(low, high), _double(high)
        else:
            low, high = _double(low), _sum(low, high)
    x, y, z = low
    inverse = pow(z, -1, P)
    square = inverse * inverse % P
    return x * square % P, y * square * inverse % P


def _double(point: _Jacobian) -> _Jacobian:
    x, y, z = point
    if not z:
        return point
    z2 = z * z % P
    y2 = y * y % P
    s = 4 * x * y2 % P
    m = 3 * (x - z2) * (x + z2) % P  # a = -3
    x3 = (m * m - 2 * s) % P
    return x3, (m * (s - x3) - 8 * y2 * y2) % P, 2 * y * z % P


def _sum(one: _Jacobian, other: _Jacobian) -> _Jacobian:
    x1, y1, z1 = one
    x2, y2, z2 = other
    if not z1:
        return other
    if not z2:
        return one
    z1s, z2s = z1 * z1 % P, z2 * z2 % P
    u1, u2 = x1 * z2s % P, x2 * z1s % P
    s1, s2 = y1 * z2s * z2 % P, y2 * z1s * z1 % P
    h, r = (u2 - u1) % P, (s2 - s1) % P
    if not h:
        return (1, 1, 0) if r else _double(one)
    h2 = h * h % P
    h3, v = h * h2 % P, u1 * h2 % P
    x3 = (r * r - h3 - 2 * v) % P
    return x3, (r * (v - x3) - s1 * h3) % P, z1 * z2 * h % P
