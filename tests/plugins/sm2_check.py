"""SM2 signatures in plain integers (GB/T 32918.2-2016, curve of GB/T 32918.5), to check the hub's by other means."""

from __future__ import annotations

import secrets
from functools import cache

from cryptography.hazmat.primitives import hashes

__all__ = ["public_of", "sign", "verify"]

_P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
_A = _P - 3
_B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
_N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
_G = (
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)
Point = tuple[int, int] | None


def _sm3(data: bytes) -> bytes:
    made = hashes.Hash(hashes.SM3())
    made.update(data)
    return made.finalize()


def _double(x: int, y: int, z: int) -> tuple[int, int, int]:
    """In Jacobian coordinates, which need no division: the point is (x/z², y/z³), and z = 0 the point at infinity; a = -3."""
    square = y * y % _P
    part = x * square * 4 % _P
    slope = 3 * (x - z * z) * (x + z * z) % _P
    new = (slope * slope - 2 * part) % _P
    return new, (slope * (part - new) - 8 * square * square) % _P, 2 * y * z % _P


def _add(one: tuple[int, int, int], other: tuple[int, int]) -> tuple[int, int, int]:
    (x, y, z), (u, v) = one, other
    if not z:
        return u, v, 1
    square = z * z % _P
    across, up = (u * square - x) % _P, (v * square * z - y) % _P
    if not across:
        return (0, 1, 0) if up else _double(x, y, z)
    part = across * across % _P
    cube, part = part * across % _P, part * x % _P
    new = (up * up - cube - 2 * part) % _P
    return new, (up * (part - new) - y * cube) % _P, z * across % _P


def _times(*products: tuple[int, tuple[int, int]]) -> Point:
    """The sum of numbers times points."""
    total = (0, 1, 0)
    for place in range(256, -1, -1):
        total = _double(*total)
        for number, point in products:
            if number >> place & 1:
                total = _add(total, point)
    x, y, z = total
    if not z:
        return None
    inverse = pow(z, -1, _P)
    return x * inverse * inverse % _P, y * inverse * inverse * inverse % _P


@cache
def _key(private: int) -> tuple[int, int]:
    point = _times((private, _G))
    assert point is not None
    return point


def _digest(key: tuple[int, int], data: bytes, user: bytes) -> int:
    parts = b"".join(number.to_bytes(32, "big") for number in (_A, _B, *_G, *key))
    return int.from_bytes(_sm3(_sm3((len(user) * 8).to_bytes(2, "big") + user + parts) + data), "big")


def public_of(private: int) -> bytes:
    """04, x, y"""
    return b"\x04" + b"".join(number.to_bytes(32, "big") for number in _key(private))


def sign(private: int, data: bytes, user: bytes = b"1234567812345678") -> bytes:
    """r, s of 32 bytes each."""
    key = _key(private)
    while True:
        k = secrets.randbelow(_N - 1) + 1
        point = _times((k, _G))
        assert point is not None
        r = (_digest(key, data, user) + point[0]) % _N
        s = pow(1 + private, -1, _N) * (k - r * private) % _N
        if r and s and r + k != _N:
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def verify(public: bytes, data: bytes, signature: bytes, user: bytes = b"1234567812345678") -> bool:
    """``public``: 04, x, y; ``signature``: r, s of 32 bytes each."""
    if len(signature) != 64 or len(public) != 65:
        return False
    key = (int.from_bytes(public[1:33], "big"), int.from_bytes(public[33:], "big"))
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if not (0 < r < _N and 0 < s < _N) or (r + s) % _N == 0:
        return False
    e = _digest(key, data, user)
    point = _times((s, _G), ((r + s) % _N, key))
    return point is not None and (e + point[0]) % _N == r
