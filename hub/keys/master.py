"""The master key: what wraps the root key of the store. From a file, the environment, or a device that keeps it (PKCS#11).

A master key in a file is changed without a moment in which nothing fits: the next one is written beside it (``.next``), then the
store changes over in one commit, then the next one takes the place of the old. Whoever comes in between finds the one that fits by its id.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from hub.errors import HubError
from hub.i18n import t
from hub.keys.errors import KeysLocked, KeysTampered
from hub.keys.sealing import CIPHERS, Suite
from hub.secrets import made_once, resolve

__all__ = ["LocalMaster", "MasterKey", "MasterSource", "new_master_text"]

_BYTES = 32
_WRAPPED = b"tongqu keys: root"


class MasterKey(Protocol):
    """What a master key has to be able to do; errors are :class:`hub.keys.KeysLocked`."""

    @property
    def id(self) -> str:
        """Names the key and says nothing about it; another key has another id."""

    def wrap(self, data: bytes, cipher: str) -> bytes:
        """The root key, wrapped so that nobody can change it unseen. ``cipher`` is ``aes`` or ``sm4``."""

    def unwrap(self, data: bytes) -> bytes:
        """What :meth:`wrap` was given."""


class LocalMaster:
    """32 bytes in this process's memory."""

    def __init__(self, key: bytes) -> None:
        self._suites = {cipher: Suite(cipher, key) for cipher in CIPHERS}
        self.id = self._suites["aes"].mac(b"id")[:8].hex()

    def wrap(self, data: bytes, cipher: str) -> bytes:
        number = CIPHERS.index(cipher)
        return bytes([number]) + self._suites[cipher].seal(data, _WRAPPED)

    def unwrap(self, data: bytes) -> bytes:
        if not data or data[0] >= len(CIPHERS):
            raise KeysTampered(t("the wrapped root key is damaged", "被包裹的根密钥已损坏"))
        return self._suites[CIPHERS[data[0]]].open(data[1:], _WRAPPED)


def new_master_text() -> str:
    """A new master key as it stands in a file or variable: 64 hex digits."""
    return secrets.token_bytes(_BYTES).hex()


def _parse(text: str) -> bytes:
    text = text.strip()
    with contextlib.suppress(ValueError, binascii.Error):
        key = bytes.fromhex(text) if len(text) == 2 * _BYTES else base64.b64decode(text, validate=True)
        if len(key) == _BYTES and len(set(key)) > 4:
            return key
    raise KeysLocked(
        t("this is no master key", "这不是主密钥"),
        code="keys.master",
        remedy=t(
            "32 random bytes as hex or Base64: openssl rand -hex 32",
            "32 个随机字节的十六进制或 Base64：openssl rand -hex 32",
        ),
    )


class MasterSource:
    """Where the configuration says the master key is."""

    def __init__(self, reference: str, base: Path, device: Callable[[], MasterKey] | None = None) -> None:
        """``base`` is the folder relative paths start from; ``device`` opens a master key that never leaves its device."""
        self.reference = reference
        self.base = base
        self._device = device

    @property
    def file(self) -> Path | None:
        """The master key's file, where it is in one."""
        kind, _, rest = self.reference.partition(":")
        return self.base / rest.strip() if kind == "file" and rest.strip() else None

    @property
    def _next(self) -> Path | None:
        return self.file.with_name(self.file.name + ".next") if self.file else None

    def open(self, reference: str = "") -> MasterKey:
        """The master key. Raises :class:`HubError` with a remedy."""
        if self._device is not None:
            return self._device()
        return LocalMaster(_parse(resolve(reference or self.reference, self.base).reveal()))

    def find(self, wanted: str) -> MasterKey:
        """The master key with this id. Raises :class:`KeysLocked`."""
        following = self._following(wanted)
        if following is not None:
            return following
        try:
            found = self.open()
        except HubError as error:
            raise KeysLocked(error.text, code="keys.master", remedy=error.remedy) from error
        if found.id != wanted:
            raise KeysLocked(
                t(
                    f"{self.reference} is not the master key of this key store ({found.id}, not {wanted})",
                    f"{self.reference} 不是此密钥库的主密钥（{found.id}，应为 {wanted}）",
                ),
                code="keys.master",
                remedy=t(
                    "put the right master key there, or restore both from one backup",
                    "请放置正确的主密钥，或从同一备份恢复两者",
                ),
            )
        return found

    def _following(self, wanted: str) -> MasterKey | None:
        """The next master key, where the store is under that one already."""
        if self._next is None or not self._next.exists():
            return None
        try:
            found = self.open(f"file:{self._next}")
        except HubError:  # half written when the power failed, or another process has just put it in its place
            return None
        return found if found.id == wanted else None

    def make(self) -> MasterKey:
        """The master key for a new store; a file that is not there yet is made."""
        if self.file is not None and not self.file.exists():
            self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            made_once(self.file, lambda: new_master_text().encode() + b"\n")
        return self.open()

    # The next two are for whoever has the store's write lock: two of them at once could put the wrong key in place.

    def prepare(self, current: str) -> MasterKey:
        """The next master key, written beside the one with the id ``current``; only for files. Raises :class:`KeysLocked`."""
        following = self._next
        if following is None:
            raise KeysLocked(
                t("a new master key can only be made in a file", "只能在文件中生成新的主密钥"),
                code="keys.master",
                remedy=t("name the new one: --to env:NAME", "请指明新主密钥：--to env:变量名"),
            )
        self.settle(current)
        self.find(current)  # what is removed now is not the key in use
        try:
            following.unlink(missing_ok=True)
        except OSError as error:
            raise _cant(following, error) from error
        made_once(following, lambda: new_master_text().encode() + b"\n")
        return self.open(f"file:{following}")

    def unsettled(self) -> bool:
        """True where a change was cut off."""
        return self._next is not None and self._next.exists()

    def settle(self, current: str) -> None:
        """The next master key takes the place of the old one where the store has changed over to it, and is removed where it never did.

        Raises :class:`KeysLocked`.
        """
        if self.file is None or self._next is None or not self._next.exists():
            return
        following = self.open(f"file:{self._next}")
        try:
            if following.id == current:
                os.replace(self._next, self.file)
            else:
                self._next.unlink()
            descriptor = os.open(self.file.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _cant(self.file, error) from error


def _cant(path: Path, error: OSError) -> KeysLocked:
    reason = error.strerror or type(error).__name__
    return KeysLocked(
        t(f"{path} can't be written: {reason}", f"无法写入 {path}：{reason}"),
        code="keys.master",
        remedy=t("the hub's user must be able to write to its folder", "枢纽运行用户须有该目录的写权限"),
    )
