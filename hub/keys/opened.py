"""The key store of a configuration: where it is, and one open store for a whole process."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub.keys.config import KeysConfig
from hub.keys.model import FILE, Policy
from hub.keys.ring import KeyHandle
from hub.secrets import Secret

if TYPE_CHECKING:
    from hub.keys.master import MasterKey, MasterSource
    from hub.keys.store import KeyStore

__all__ = [
    "KeySecret",
    "close_key_store",
    "folder_of",
    "key_store",
    "key_store_exists",
    "master_source",
    "usual_policy",
]

_open: dict[tuple[Path, str], KeyStore] = {}
_lock = threading.Lock()


def folder_of(config: KeysConfig, base: Path) -> Path:
    """The folder of the key store; ``base`` is that of ``hub.yaml``."""
    return (base / config.path).resolve()


def master_source(reference: str, base: Path) -> MasterSource:
    """Where the master key is; a device is the one ``security.crypto.pkcs11`` describes."""
    from hub.keys.master import MasterSource

    kind, _, label = reference.partition(":")
    if kind != "pkcs11":
        return MasterSource(reference, base)

    def device() -> MasterKey:
        from hub.crypto import provider  # most hubs have no device
        from hub.crypto.pkcs11 import DeviceMaster, Pkcs11Provider

        found = provider("pkcs11")
        assert isinstance(found, Pkcs11Provider)  # noqa: S101 - what that name stands for
        return DeviceMaster(found, label.strip())

    return MasterSource(reference, base, device)


def usual_policy(config: KeysConfig) -> Policy:
    """What the policies of new keys start from."""
    return Policy(
        validity_days=config.validity_days,
        rotate_days=config.rotate_days,
        overlap_days=config.overlap_days,
        warn_days=config.warn_days,
    )


def key_store_exists(config: KeysConfig, base: Path) -> bool:
    return (folder_of(config, base) / FILE).exists()


def key_store(config: KeysConfig, base: Path) -> KeyStore:
    """The key store, opened once in this process and kept open. Raises :class:`hub.keys.KeysLocked`, :class:`hub.keys.KeysTampered`."""
    from hub.keys.store import KeyStore  # with its ciphers; most hubs have no keys

    place = (folder_of(config, base), config.master)
    with _lock:
        found = _open.get(place)
        if found is None:
            source = master_source(config.master, base)
            found = _open[place] = KeyStore(place[0], source, usual=usual_policy(config))
        return found


def close_key_store(config: KeysConfig, base: Path) -> None:
    """Close what :func:`key_store` opened, if it did: what was used is recorded, every key forgotten."""
    with _lock:
        found = _open.pop((folder_of(config, base), config.master), None)
    if found is not None:
        found.close()


class KeySecret(Secret):
    """The secret of a key as it is now, and the way to what it will be: whoever can ask anew asks :attr:`handle`."""

    __slots__ = ("handle",)

    handle: KeyHandle

    def __new__(cls, text: Secret, handle: KeyHandle) -> KeySecret:
        made = super().__new__(cls, text.reveal())
        made.handle = handle
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies are plain secrets: a handle belongs to this process."""
        return Secret, (self.reveal(),)
