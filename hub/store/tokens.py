"""Values that are looked up by equality: sealed so that the same text always gives the same bytes.

That tells who reads the files which rows have the same value, and nothing else; so it is used only for what an index must find (ordering
keys, control ids, correlation ids). What is found by parts or words is in indexes sealed as a whole (:mod:`hub.store.sealed_vfs`).

Synthetic initialisation vector: AES-256-SIV (RFC 5297) or, with SM4, its construction from HMAC-SM3 and SM4-CTR.
"""

from __future__ import annotations

import hmac
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from hub.store.sealer import finished, tampered

__all__ = ["Tokens"]

_IV = 16


class _Sm4Siv:
    def __init__(self, key: bytes) -> None:
        self._mac, self._key = hmac.new(key[:32], digestmod="sm3"), algorithms.SM4(key[32:48])

    def encrypt(self, data: bytes, associated: list[bytes]) -> bytes:
        vector = self._vector(data, associated)
        return vector + self._run(vector, data)

    def decrypt(self, data: bytes, associated: list[bytes]) -> bytes:
        plain = self._run(data[:_IV], data[_IV:])
        if not hmac.compare_digest(self._vector(plain, associated), data[:_IV]):
            raise InvalidTag
        return plain

    def _vector(self, data: bytes, associated: list[bytes]) -> bytes:
        return finished(self._mac, b"".join([*associated, b"\0", data]))[:_IV]

    def _run(self, vector: bytes, data: bytes) -> bytes:
        run = Cipher(self._key, modes.CTR(vector)).encryptor()
        return run.update(data) + run.finalize()


class Tokens:
    """The lasting key of one store: 64 bytes. ``sm4``: with SM4 and SM3."""

    def __init__(self, key: bytes, *, sm4: bool) -> None:
        self._cipher: Any = _Sm4Siv(key) if sm4 else AESSIV(key)

    def __repr__(self) -> str:
        return "Tokens()"

    def seal(self, data: bytes, column: bytes) -> bytes:
        """The same bytes for the same data (not empty) and column, always; 16 more."""
        sealed: bytes = self._cipher.encrypt(data, [column])
        return sealed

    def open(self, sealed: bytes, column: bytes) -> bytes:
        """The data. Raises :class:`hub.errors.StoreCorrupt` for what was not sealed with this key for this column."""
        try:
            found: bytes = self._cipher.decrypt(sealed, [column])
        except (InvalidTag, ValueError) as error:
            raise tampered(column.decode()) from error
        return found
