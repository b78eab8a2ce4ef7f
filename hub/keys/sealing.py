"""Sealing of secrets: AES-256-GCM, or SM4-GCM (GB/T 32907) with SM3 (GB/T 32905) for derivation and authentication.

All keys come from the 32 bytes of one root key by HKDF (RFC 5869), one for each use. A sealed secret is nonce (12 bytes, random),
ciphertext, tag (16 bytes); the additional data is not in it.
"""

from __future__ import annotations

import os
from typing import Protocol

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import constant_time, hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from hub.i18n import t
from hub.keys.errors import KeysError, KeysTampered

__all__ = ["CIPHERS", "ROOT_BYTES", "Suite"]

ROOT_BYTES = 32
CIPHERS = ("aes", "sm4")
_NONCE = 12
_TAG = 16


class _Aead(Protocol):
    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes: ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes: ...


class _Sm4Gcm:
    """SM4-GCM in the shape of cryptography's ``AESGCM``, which has no such class."""

    def __init__(self, key: bytes) -> None:
        self._key = algorithms.SM4(key)

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes:
        encryptor = Cipher(self._key, modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(associated_data)
        return encryptor.update(data) + encryptor.finalize() + encryptor.tag

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes:
        decryptor = Cipher(self._key, modes.GCM(nonce, data[-_TAG:])).decryptor()
        decryptor.authenticate_additional_data(associated_data)
        return decryptor.update(data[:-_TAG]) + decryptor.finalize()


class Suite:
    """One root key at work."""

    def __init__(self, cipher: str, root: bytes) -> None:
        self.cipher = cipher
        self._hash: hashes.HashAlgorithm = hashes.SM3() if cipher == "sm4" else hashes.SHA256()
        try:
            key = self._derive(root, b"tongqu keys: seal", 16 if cipher == "sm4" else 32)
            self._aead: _Aead = _Sm4Gcm(key) if cipher == "sm4" else AESGCM(key)
            self._mac = self._derive(root, b"tongqu keys: mac", 32)
        except UnsupportedAlgorithm as error:
            raise KeysError(
                t(f"this OpenSSL can't do {cipher}", f"此 OpenSSL 不支持 {cipher}"),
                code="keys.cipher",
                remedy=t("install cryptography's own wheel", "请安装 cryptography 官方轮子包"),
            ) from error

    def _derive(self, root: bytes, label: bytes, length: int) -> bytes:
        return HKDFExpand(self._hash, length, label).derive(root)

    def seal(self, data: bytes, bound: bytes) -> bytes:
        """The secret sealed; it opens only together with the same ``bound``."""
        nonce = os.urandom(_NONCE)
        return nonce + self._aead.encrypt(nonce, data, bound)

    def open(self, sealed: bytes, bound: bytes) -> bytes:
        """Raises :class:`KeysTampered`."""
        if len(sealed) < _NONCE + _TAG:
            raise KeysTampered(t("a sealed secret is cut short", "密封的密钥被截短"))
        try:
            return self._aead.decrypt(sealed[:_NONCE], sealed[_NONCE:], bound)
        except InvalidTag:
            raise KeysTampered(t("a sealed secret does not open", "密封的密钥无法解封")) from None

    def mac(self, data: bytes) -> bytes:
        """HMAC (SHA-256 or SM3) of some bytes, 32 bytes."""
        code = hmac.HMAC(self._mac, self._hash)
        code.update(data)
        return code.finalize()

    def verify(self, data: bytes, mac: bytes) -> bool:
        """In constant time."""
        return constant_time.bytes_eq(self.mac(data), mac)
