"""SM2 signatures in plain integers (GB/T 32918.2-2016, curve of GB/T 32918.5), to check the hub's by other means."""

from __future__ import annotations

import secrets

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


def _add(one: Point, other: Point) -> Point:
    if one is None or other is None:
        return other if one is None else one
    (x, y), (u, v) = one, other
    if x == u and (y + v) % _P == 0:
        return None
    slope = (3 * x * x + _A) * pow(2 * y, -1, _P) if one == other else (v - y) * pow(u - x, -1, _P)
    new = (slope * slope - x - u) % _P
    return new, (slope * (x - new) - y) % _P


def _times(number: int, point: Point) -> Point:
    total: Point = None
    while number:
        if number & 1:
            total = _add(total, point)
        point, number = _add(point, point), number >> 1
    return total


def _digest(key: tuple[int, int], data: bytes, user: bytes) -> int:
    parts = b"".join(number.to_bytes(32, "big") for number in (_A, _B, *_G, *key))
    return int.from_bytes(_sm3(_sm3((len(user) * 8).to_bytes(2, "big") + user + parts) + data), "big")


def public_of(private: int) -> bytes:
    """04, x, y"""
    point = _times(private, _G)
    assert point is not None
    return b"\x04" + b"".join(number.to_bytes(32, "big") for number in point)


def sign(private: int, data: bytes, user: bytes = b"1234567812345678") -> bytes:
    """r, s of 32 bytes each."""
    key = _times(private, _G)
    assert key is not None
    while True:
        k = secrets.randbelow(_N - 1) + 1
        point = _times(k, _G)
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
    point = _add(_times(s, _G), _times((r + s) % _N, key))
    return point is not None and (e + point[0]) % _N == r
