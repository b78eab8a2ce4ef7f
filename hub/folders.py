"""Where a hub keeps what it writes, and the key of what is looked up by a hash."""

from __future__ import annotations

import secrets
from pathlib import Path

from hub.contract import HubConfig
from hub.privacy.search import stored_key as protected_key
from hub.privacy.site import policy, search_key
from hub.secrets import made_once

__all__ = ["data_folder", "salt_of", "stored_key", "worker_folder"]


def data_folder(config_file: Path, config: HubConfig) -> Path:
    """The folder of everything the hub writes."""
    return (config_file.parent / config.store.path).resolve()


def worker_folder(data: Path, worker: int) -> Path:
    return data / f"worker-{worker:02d}"


def salt_of(data: Path) -> bytes:
    """The key of the hashes under which protected business keys are searched.

    The key ``search`` of the key store where there is one, else a file made at first start, readable by the owner only. Where that
    file is there already it stays the key: what is indexed was hashed with it.
    """
    path = data / "index.salt"
    found = None if path.exists() else search_key()
    return found or made_once(path, lambda: secrets.token_bytes(32))


def stored_key(salt: bytes, name: str, value: str) -> str:
    """The form in which the value of a business key is stored: of a protected class it is a hash."""
    return protected_key(policy(), salt, name, value)
