"""Sealing what is stored: authenticated encryption with a key of its own for every message.

The hub's data keys (:mod:`hub.keys`) are kept apart from the data. None of them seals anything itself: the rows of a message are
sealed with a key derived from a data key and the id of the message (HMAC with SHA-256, or SM3 where SM4 is used), each value
under a random nonce. Table, column and row id are authenticated with it, so a value moved to another place does not open.

A sealed value is ``form, version, scope, nonce, ciphertext, tag`` with form 1 byte (which cipher), version 4 (of the data key), scope 8
(message id the key was derived for), nonce 12 and tag 16, numbers big-endian. AES-256-GCM: NIST SP 800-38D. SM4-GCM: GB/T 32907, RFC 8998.
"""

from __future__ import annotations

import hmac
import logging
import os
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol

from hub.errors import HubError, StoreCorrupt
from hub.i18n import t

if TYPE_CHECKING:
    from hub.keys.ring import DataKeys

__all__ = ["Aead", "Algorithm", "Sealer", "Suite", "finished", "no_keys", "not_authentic", "suite_of", "tampered"]

log = logging.getLogger(__name__)

Algorithm = Literal["aes-256-gcm", "sm4-gcm"]

_HEAD = struct.Struct(">BIQ")
_NONCE, _TAG = 12, 16
_NONCES = 512  # drawn at once
_CACHED = 4_096
_RENEW_S = 1.0


class Aead(Protocol):
    """A cipher with its key. ``encrypt`` gives ciphertext and tag; ``decrypt`` raises ``InvalidTag``."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes: ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes: ...


class Suite:
    """The primitives of one algorithm; ``form`` is its mark in what it sealed."""

    __slots__ = ("_hash", "aead", "form")

    def __init__(self, form: int, aead: Callable[[bytes], Aead], digest: str) -> None:
        self.form = form
        self.aead = aead
        self._hash = digest

    def keyed(self, secret: bytes) -> hmac.HMAC:
        """The keyed hash of :meth:`derive`, to be used for many purposes."""
        return hmac.new(secret, digestmod=self._hash)

    def derive(self, secret: bytes, purpose: bytes) -> bytes:
        """32 bytes for one purpose; different purposes give keys that tell nothing of each other."""
        return finished(self.keyed(secret), purpose)


def finished(keyed: hmac.HMAC, data: bytes) -> bytes:
    """The keyed hash of some data.

    A copy of one that is set up is twice as fast as ``hmac.digest``, and that one lets go of the interpreter's lock each time: the
    writer would wait for the event loop with every message.
    """
    copy = keyed.copy()
    copy.update(data)
    return copy.digest()


# The ciphers are loaded by the first value that is sealed or opened: a store that is not encrypted does without 8 MB in each process.


def _aes_gcm(key: bytes) -> Aead:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def _sm4_gcm(key: bytes) -> Aead:
    from hub.store.sm4_gcm import Sm4Gcm

    return Sm4Gcm(key)


def not_authentic() -> type[Exception]:
    """What a cipher raises for data that does not open."""
    from cryptography.exceptions import InvalidTag

    return InvalidTag


_SUITES: dict[str, Suite] = {
    "aes-256-gcm": Suite(0xA1, _aes_gcm, "sha256"),
    "sm4-gcm": Suite(0xA4, _sm4_gcm, "sm3"),
}
_BY_FORM = {suite.form: suite for suite in _SUITES.values()}


def suite_of(form: int) -> Suite:
    """The suite with a mark. Raises ``KeyError``."""
    return _BY_FORM[form]


def tampered(place: str) -> StoreCorrupt:
    """The refusal of a sealed value that does not open."""
    return StoreCorrupt(
        t(
            f"{place} does not open: it was altered, moved from elsewhere, or sealed with another key",
            f"{place} 无法解密：内容已被更改、来自其他位置或由其他密钥加密",
        ),
        code="store.tampered",
        remedy=t(
            "restore the file from the last backup; if the key store was replaced, restore that",
            "请用最近的备份恢复该文件；如更换过密钥库，请恢复原密钥库",
        ),
    )


def no_keys(place: str = "") -> HubError:
    """The refusal to read what is sealed without keys."""
    where = f"{place}: " if place else ""
    return HubError(
        where + t("this store is encrypted and no keys were given", "存储已加密，但未提供密钥"),
        code="store.sealed",
        remedy=t(
            "set store.encryption and the key store (keys) as they were when the messages were stored; see hub keys list",
            "请按写入消息时的配置设置 store.encryption 与密钥库（keys）；参见 hub keys list",
        ),
    )


class Sealer:
    """Seals with the present data key, opens with any. Safe to be used by several threads.

    ``algorithm`` None: nothing new is sealed, what is sealed can be read.
    """

    def __init__(self, keys: DataKeys, algorithm: Algorithm | None) -> None:
        self._keys = keys
        self.suite = _SUITES[algorithm or "aes-256-gcm"]
        self.sealing = algorithm is not None
        self._current = (0, b"")  # version and secret of the data key that seals
        self._renew_at = 0.0
        self._troubled = False
        self._sealing: dict[int, tuple[Aead, bytes]] = {}  # by message
        self._ciphers: dict[tuple[int, int, int], Aead] = {}
        self._keyed: dict[tuple[int, int], hmac.HMAC] = {}  # by form and version
        self._nonces: list[bytes] = []

    def __repr__(self) -> str:
        return "Sealer()"

    def renew(self) -> None:
        """Look for a new version of the data key, at most once a second. Raises :class:`HubError` when there is none at all.

        When keys can't be asked any more, the version in use goes on: messages are worth more than a rotation in time.
        """
        now = time.monotonic()
        if now < self._renew_at and self._current[0]:
            return
        self._renew_at = now + _RENEW_S
        try:
            current = self._keys.current()
        except HubError as error:
            if not self._current[0]:
                raise
            if not self._troubled:
                log.error("the store goes on with version %d of its data key: %s", self._current[0], error.text)
            self._troubled = True
            return
        self._troubled = False
        if current != self._current:
            self._current = current
            self._sealing = {}  # what is sealed with the old one meanwhile says so

    @property
    def version(self) -> int:
        """Of the data key that seals. Raises :class:`hub.keys.KeyUnavailable` when there is none."""
        if not self._current[0]:
            self.renew()
        return self._current[0]

    def _data_key(self, version: int) -> bytes:
        current = self._current
        return current[1] if version == current[0] else self._keys.get(version)

    # -- values ----------------------------------------------------------------------------------------------------

    def seal(self, data: bytes, scope: int, place: bytes, row_id: int) -> bytes:
        """``data`` for this table and column (``place``) and row, with the key of message ``scope``."""
        cipher, head = self._sealing.get(scope) or self._begin(scope)
        try:
            nonce = self._nonces.pop()
        except IndexError:
            nonce = self._draw()
        return head + nonce + cipher.encrypt(nonce, data, head + place + row_id.to_bytes(8, "big"))

    def open(self, sealed: bytes, place: bytes, row_id: int) -> bytes:
        """What was sealed for this place and row. Raises :class:`StoreCorrupt` and :class:`hub.keys.KeyUnavailable`."""
        try:
            form, version, scope = _HEAD.unpack_from(sealed)
            suite = _BY_FORM[form]
            at = _HEAD.size + _NONCE
            cipher = self._ciphers.get((form, version, scope)) or self._cipher(suite, version, scope)
            head = sealed[: _HEAD.size]
            return cipher.decrypt(sealed[_HEAD.size : at], sealed[at:], head + place + row_id.to_bytes(8, "big"))
        except (struct.error, KeyError, ValueError, not_authentic()) as error:
            raise tampered(f"{place.decode()} {row_id}") from error

    def _begin(self, scope: int) -> tuple[Aead, bytes]:
        """What seals for a message, and how its sealed values begin."""
        suite, version = self.suite, self._current[0] or self.version
        begun = (self._cipher(suite, version, scope), _HEAD.pack(suite.form, version, scope))
        if len(self._sealing) >= _CACHED:
            self._sealing = {}
        self._sealing[scope] = begun
        return begun

    def _cipher(self, suite: Suite, version: int, scope: int) -> Aead:
        ciphers = self._ciphers
        if len(ciphers) >= _CACHED:
            ciphers = self._ciphers = {}
        keyed = self._keyed.get((suite.form, version))
        if keyed is None:
            keyed = self._keyed[suite.form, version] = suite.keyed(self._data_key(version))
        key = finished(keyed, b"tongqu.row" + scope.to_bytes(8, "big"))
        cipher = ciphers[suite.form, version, scope] = suite.aead(key)
        return cipher

    def _draw(self) -> bytes:
        drawn = os.urandom(_NONCE * _NONCES)
        fresh = [drawn[at : at + _NONCE] for at in range(0, len(drawn), _NONCE)]
        nonce = fresh.pop()
        self._nonces.extend(fresh)
        return nonce

    # -- keys for files --------------------------------------------------------------------------------------------

    def file_key(self, form: int, version: int, salt: bytes) -> Aead:
        """The cipher of one file. Raises ``KeyError`` for a form that does not exist."""
        suite = _BY_FORM[form]
        return suite.aead(suite.derive(self._data_key(version), b"tongqu.file" + salt))
