"""What is kept of secrets: a keyed hash of those the caller sends, sealed text of those the hub itself needs, and the hub's own tokens.

The key of hashes and tokens is a file in the data folder, readable by the hub's user only, as that of the search hashes. What is sealed is
sealed by the key ``callers`` of the key store, which is elsewhere (:mod:`hub.keys`).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import struct
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hub.callers.errors import CallersError
from hub.errors import HubError
from hub.i18n import t
from hub.keys import DataKeys
from hub.secrets import made_once

__all__ = ["PURPOSE", "Secrets", "new_id", "new_secret"]

#: Name of the key in the key store.
PURPOSE = "callers"
_NONCE = 12
_HEAD = struct.Struct(">I")  # version of the key
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # no l, o, 0, 1: ids are read out on the telephone


def new_id() -> str:
    """The public half of a credential: 12 characters, 60 bits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(12))


def new_secret() -> str:
    """32 random bytes, in 43 characters of base64url."""
    return secrets.token_urlsafe(32)


class Secrets:
    """``keys`` gives the key store's ring when it is first needed; it raises :class:`HubError` where there is no key store."""

    def __init__(self, data: Path, keys: Callable[[], DataKeys]) -> None:
        root = made_once(data / "callers.salt", lambda: secrets.token_bytes(32))
        self._hashing = _derived(root, b"hash")
        self._tokens = AESGCM(_derived(root, b"token"))
        self.jwt_key = _derived(root, b"jwt")
        self._keys = keys
        self._ring: DataKeys | None = None

    def hash(self, credential: str, secret: str) -> bytes:
        """HMAC-SHA256 over id and secret. The secrets are 256 random bits: there is nothing to slow down for whoever guesses."""
        return hmac.digest(self._hashing, f"{credential}.{secret}".encode("utf-8", "surrogatepass"), "sha256")

    def seal(self, text: str, bound: str) -> bytes:
        """The text sealed; it opens only with the same ``bound``. Raises :class:`HubError` without a key store."""
        version, key = self._data_keys().current()
        nonce = os.urandom(_NONCE)
        head = _HEAD.pack(version)
        return head + nonce + AESGCM(key).encrypt(nonce, text.encode(), head + bound.encode())

    def open(self, sealed: bytes, bound: str) -> str:
        """Raises :class:`HubError` for what was altered or moved, or when its key is gone."""
        head, nonce, body = (
            sealed[: _HEAD.size],
            sealed[_HEAD.size : _HEAD.size + _NONCE],
            sealed[_HEAD.size + _NONCE :],
        )
        try:
            key = self._data_keys().get(_HEAD.unpack(head)[0])
            return AESGCM(key).decrypt(nonce, body, head + bound.encode()).decode()
        except (InvalidTag, ValueError, struct.error):
            raise CallersError(
                t("a sealed value of a caller does not open", "调用方的密封内容无法解封"), code="callers.sealed"
            ) from None

    def seal_token(self, content: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._tokens.encrypt(nonce, content, b"")

    def open_token(self, sealed: bytes) -> bytes | None:
        """None for anything that is no token of this hub."""
        try:
            return self._tokens.decrypt(sealed[:_NONCE], sealed[_NONCE:], b"")
        except (InvalidTag, ValueError):
            return None

    def _data_keys(self) -> DataKeys:
        if self._ring is None:
            try:
                self._ring = self._keys()
            except HubError as error:
                raise CallersError(
                    t(
                        f"contact data and HMAC secrets are sealed by the key store: {error.text}",
                        f"联系方式与 HMAC 密钥须由密钥库密封：{error.text}",
                    ),
                    code="callers.keys",
                    remedy=error.remedy or t("make it: hub keys init", "请建立：hub keys init"),
                ) from error
        return self._ring


def _derived(root: bytes, label: bytes) -> bytes:
    return hashlib.blake2b(b"tongqu callers: " + label, key=root, digest_size=32).digest()
