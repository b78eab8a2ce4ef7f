"""SM4-GCM (GB/T 32907, RFC 8998) in the shape of ``AESGCM`` of ``cryptography``, which has no such class."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

__all__ = ["Sm4Gcm"]

_TAG = 16


class Sm4Gcm:
    """A cipher with its key, 16 bytes of what it is given."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = algorithms.SM4(key[:16])

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes:
        run = Cipher(self._key, modes.GCM(nonce)).encryptor()
        run.authenticate_additional_data(associated_data)
        return run.update(data) + run.finalize() + run.tag

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes:
        run = Cipher(self._key, modes.GCM(nonce, data[-_TAG:])).decryptor()
        run.authenticate_additional_data(associated_data)
        return run.update(data[:-_TAG]) + run.finalize()
