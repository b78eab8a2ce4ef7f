"""The portable provider: gmssl, written in Python. Forty times slower than OpenSSL's, for machines whose OpenSSL has no SM2.

Of gmssl the primitives are used: multiplication of points, the compression of SM3, the block cipher of SM4. What is built on them is
done here, because gmssl 3.2.2

- cuts all leading 0 and 4 from a public key, not just the prefix;
- draws random numbers from ``random``, which can be predicted;
- decrypts without comparing C3, so that altered ciphertexts pass as data;
- verifies without checking the range of r and s, and fails on the point at infinity;
- removes paddings without looking at them, and pads CBC in one way only;
- knows one user id, and neither CTR nor GCM.
"""

from __future__ import annotations

import hmac
import secrets
from typing import ClassVar

from gmssl import sm2 as gmssl_sm2  # type: ignore[import-untyped]
from gmssl import sm3 as gmssl_sm3
from gmssl import sm4 as gmssl_sm4

from hub.crypto import curve
from hub.crypto.base import Provider
from hub.crypto.errors import cannot_decrypt
from hub.crypto.modes import TAG, Mode
from hub.crypto.padding import BLOCK
from hub.crypto.sm2 import Ciphertext, DeviceKey, Sm2PrivateKey, Sm2PublicKey

__all__ = ["GmsslProvider"]

_R = 0xE1 << 120  # the polynomial of GCM (GB/T 36624; NIST SP 800-38D, 6.3)
_BASE = b"".join(value.to_bytes(32) for value in curve.G)


class _Sm3:
    """gmssl hashes whole lists of numbers only; so does this running hash, at the end."""

    def __init__(self, data: bytes | bytearray) -> None:
        self._data = bytearray(data)

    def update(self, data: bytes, /) -> None:
        self._data += data

    def copy(self) -> _Sm3:
        return _Sm3(self._data)

    def digest(self) -> bytes:
        return bytes.fromhex(gmssl_sm3.sm3_hash(list(self._data)))


class _Sm4:
    """The block cipher with one key."""

    def __init__(self, key: bytes, *, encrypt: bool) -> None:
        self._cipher = gmssl_sm4.CryptSM4()
        self._cipher.set_key(key, gmssl_sm4.SM4_ENCRYPT if encrypt else gmssl_sm4.SM4_DECRYPT)

    def block(self, data: bytes) -> bytes:
        return bytes(self._cipher.one_round(self._cipher.sk, data))


class GmsslProvider(Provider):
    name: ClassVar[str] = "gmssl"

    def __init__(self) -> None:
        self._points = gmssl_sm2.CryptSM2(private_key="", public_key="")

    def sm3_hash(self, data: bytes = b"") -> _Sm3:
        return _Sm3(data)

    def _sm4(self, key: bytes | DeviceKey, data: bytes, mode: Mode, iv: bytes, aad: bytes, *, encrypt: bool) -> bytes:
        secret = self.key_bytes(key)
        if mode == "ecb":
            cipher = _Sm4(secret, encrypt=encrypt)
            return b"".join(cipher.block(data[at : at + BLOCK]) for at in range(0, len(data), BLOCK))
        if mode == "cbc":
            return _cbc(_Sm4(secret, encrypt=encrypt), data, iv, encrypt=encrypt)
        cipher = _Sm4(secret, encrypt=True)
        if mode == "ctr":
            return _ctr(cipher, data, int.from_bytes(iv), 128)
        return _gcm(cipher, data, iv, aad, encrypt=encrypt)

    def _sm2_sign(self, private: Sm2PrivateKey | DeviceKey, digest: bytes) -> tuple[int, int]:
        secret = int.from_bytes(self.in_memory(private).secret())
        e = int.from_bytes(digest)
        while True:
            k = secrets.randbelow(curve.N - 1) + 1
            r = (e + self._times(k, _BASE)[0]) % curve.N
            s = pow(1 + secret, -1, curve.N) * (k - r * secret) % curve.N
            if r and s and r + k != curve.N:
                return r, s

    def _sm2_verify(self, public: Sm2PublicKey, digest: bytes, r: int, s: int) -> bool:
        total = (r + s) % curve.N
        if not total:
            return False
        point = curve.add(self._times(s, _BASE), self._times(total, public.point))
        return point is not None and (int.from_bytes(digest) + point[0]) % curve.N == r

    def _sm2_encrypt(self, public: Sm2PublicKey, data: bytes) -> Ciphertext:
        k = secrets.randbelow(curve.N - 1) + 1
        x1, y1 = self._times(k, _BASE)
        x2, y2 = (value.to_bytes(32) for value in self._times(k, public.point))
        stream = self.sm3_kdf(x2 + y2, len(data))
        return x1.to_bytes(32) + y1.to_bytes(32), self.sm3(x2 + data + y2), _xor(data, stream)

    def _sm2_decrypt(self, private: Sm2PrivateKey | DeviceKey, parts: Ciphertext) -> bytes:
        c1, c3, c2 = parts
        secret = int.from_bytes(self.in_memory(private).secret())
        x2, y2 = (value.to_bytes(32) for value in self._times(secret, c1))
        data = _xor(c2, self.sm3_kdf(x2 + y2, len(c2)))
        if not hmac.compare_digest(self.sm3(x2 + data + y2), c3):
            raise cannot_decrypt()
        return data

    def _times(self, k: int, point: bytes) -> tuple[int, int]:
        """k·point for 0 < k < n; ``point`` is x ‖ y. Private in gmssl, whose versions are therefore pinned."""
        product: str = self._points._kg(k, point.hex())
        return int(product[:64], 16), int(product[64:], 16)


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one) ^ int.from_bytes(other)).to_bytes(len(one))


def _cbc(cipher: _Sm4, data: bytes, iv: bytes, *, encrypt: bool) -> bytes:
    out = bytearray()
    for at in range(0, len(data), BLOCK):
        block = data[at : at + BLOCK]
        if encrypt:
            iv = cipher.block(_xor(block, iv))
            out += iv
        else:
            out += _xor(cipher.block(block), iv)
            iv = block
    return bytes(out)


def _ctr(cipher: _Sm4, data: bytes, counter: int, width: int) -> bytes:
    """Counter mode; only the last ``width`` bits of the counter count."""
    fixed, low = counter >> width << width, counter & (1 << width) - 1
    out = bytearray()
    for number, at in enumerate(range(0, len(data), BLOCK)):
        block = data[at : at + BLOCK]
        stream = cipher.block((fixed | (low + number) & (1 << width) - 1).to_bytes(BLOCK))
        out += _xor(block, stream[: len(block)])
    return bytes(out)


def _gcm(cipher: _Sm4, data: bytes, iv: bytes, aad: bytes, *, encrypt: bool) -> bytes:
    """Galois/counter mode (NIST SP 800-38D), tag of 16 bytes at the end."""
    h = int.from_bytes(cipher.block(bytes(BLOCK)))
    start = int.from_bytes(iv) << 32 | 1 if len(iv) == 12 else _ghash(h, b"", iv)
    body = data if encrypt else data[:-TAG]
    result = _ctr(cipher, body, (start >> 32 << 32) | (start + 1) & 0xFFFFFFFF, 32)
    mask = int.from_bytes(cipher.block(start.to_bytes(BLOCK)))
    tag = (_ghash(h, aad, result if encrypt else body) ^ mask).to_bytes(BLOCK)
    if encrypt:
        return result + tag
    if not hmac.compare_digest(tag, data[-TAG:]):
        raise cannot_decrypt()
    return result


def _ghash(h: int, aad: bytes, text: bytes) -> int:
    sizes = (len(aad) * 8).to_bytes(8) + (len(text) * 8).to_bytes(8)
    y = 0
    for part in (aad, text, sizes):
        for at in range(0, len(part), BLOCK):
            y = _multiply(y ^ int.from_bytes(part[at : at + BLOCK].ljust(BLOCK, b"\0")), h)
    return y


def _multiply(x: int, y: int) -> int:
    """Product in GF(2^128), bits in the order of GCM."""
    z = 0
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            z ^= y
        y = y >> 1 ^ (_R if y & 1 else 0)
    return z
