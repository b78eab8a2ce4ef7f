"""What can go wrong with keys. No text ever holds a secret; names and versions of keys are no secrets."""

from __future__ import annotations

from hub.errors import HubError

__all__ = ["KeyUnavailable", "KeysError", "KeysLocked", "KeysTampered"]


class KeysError(HubError):
    """An order to the key store that can't be carried out."""

    code = "keys.refused"


class KeyUnavailable(HubError):
    """There is no such key or version, or its state does not allow this use."""

    code = "key.unavailable"


class KeysLocked(KeysError):
    """The key store can't be opened: it is missing, not private, or its master key is missing or another one."""

    code = "keys.locked"


class KeysTampered(KeysError):
    """What is in the key store is not what was written there."""

    code = "keys.tampered"
