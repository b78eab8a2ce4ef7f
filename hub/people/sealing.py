"""What of people must not be readable in a stolen ``access.db``: names, telephone numbers, secrets of authenticators; and the key passwords are hashed with.

With a key store its key ``people`` is used, sealed by the master key; without one a file in the data folder that only the hub's user can read.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from hub.crypto import CryptoError, provider
from hub.i18n import t
from hub.keys import DataKeys
from hub.people.errors import PeopleError
from hub.secrets import made_once

__all__ = ["Sealing"]

_FILE_VERSION = "f"


class Sealing:
    """SM4-GCM with keys derived by purpose. Raises :class:`hub.keys.KeyUnavailable` when a key of the key store is gone."""

    def __init__(self, data: Path, keys: DataKeys | None = None) -> None:
        self._data = data
        self._keys = keys
        self._file = b""

    def _current(self) -> tuple[str, bytes]:
        if self._keys is not None:
            version, key = self._keys.current()
            return f"k{version}", key
        return _FILE_VERSION, self._of_file()

    def _of(self, version: str) -> bytes:
        if version == _FILE_VERSION:
            return self._of_file()
        number = version[1:]
        if (
            self._keys is None
            or version[:1] != "k"
            or not (number.isascii() and number.isdecimal() and len(number) < 10)
        ):
            raise PeopleError(
                t("the key store that sealed this is not there", "缺少密封此内容的密钥库"),
                code="people.keys",
                remedy=t("restore the key store, see docs/keys.md", "请恢复密钥库，见 docs/keys.md"),
            )
        return self._keys.get(int(number))

    def _of_file(self) -> bytes:
        if not self._file:
            self._file = made_once(self._data / "people.key", lambda: secrets.token_bytes(32))
        return self._file

    def pepper(self) -> tuple[str, bytes]:
        """(version, key) to hash new passwords with."""
        version, key = self._current()
        return version, _derived(key, b"pepper")

    def pepper_of(self, version: str) -> bytes:
        return _derived(self._of(version), b"pepper")

    def seal(self, text: str, bound: str) -> bytes:
        """``bound`` says whose and what it is: it opens for nothing else. Empty stays empty."""
        if not text:
            return b""
        version, key = self._current()
        nonce = secrets.token_bytes(12)
        head = version.encode() + b"$"
        sealed = provider().sm4_encrypt(
            _derived(key, b"seal")[:16],
            text.encode("utf-8", "surrogatepass"),
            mode="gcm",
            iv=nonce,
            aad=bound.encode(),
            padding="none",
        )
        return head + nonce + sealed

    def open(self, sealed: bytes, bound: str) -> str:
        if not sealed:
            return ""
        head, _, rest = sealed.partition(b"$")
        key = self._of(head.decode("ascii", "replace"))
        try:
            plain = provider().sm4_decrypt(
                _derived(key, b"seal")[:16], rest[12:], mode="gcm", iv=rest[:12], aad=bound.encode(), padding="none"
            )
        except CryptoError:
            raise PeopleError(
                t("a sealed value of a user does not open", "用户的密封内容无法解封"), code="people.sealed"
            ) from None
        return plain.decode("utf-8", "surrogatepass")

    def code_hash(self, code: str, bound: str) -> bytes:
        """Of short codes, which a plain hash would not hide."""
        return provider().hmac_sm3(
            _derived(self._of_file(), b"code"), f"{bound}\0{code}".encode("utf-8", "surrogatepass")
        )


def _derived(key: bytes, label: bytes) -> bytes:
    return provider().hmac_sm3(key, b"tongqu people: " + label)
