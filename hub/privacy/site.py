"""The policy and the keys of the deployment this process serves. Nothing is read before it is asked for.

A process serves one deployment, as it speaks one language. Before :func:`use` the hub's own classes hold, so that masking is never off.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hub.errors import HubError
from hub.i18n import t
from hub.privacy.load import load_policy, policy_of
from hub.privacy.model import Policy
from hub.privacy.pseudonyms import Pseudonyms

if TYPE_CHECKING:
    from hub.contract import HubConfig
    from hub.keys.ring import KeyHandle
    from hub.keys.store import KeyStore

__all__ = ["PSEUDONYM", "SEARCH", "field_key", "policy", "pseudonyms", "search_key", "use"]

#: Name of the data key pseudonyms are made with.
PSEUDONYM = "pseudonym"
#: … and business keys are hashed with.
SEARCH = "search"

_lock = threading.Lock()
_place: tuple[Path, HubConfig] | None = None
_policy: Policy | None = None
_pseudonyms: tuple[bytes, Pseudonyms] | None = None


def use(config_file: Path, config: HubConfig, schemas: Sequence[str] = ()) -> None:
    """From now on the classes and keys are those of a deployment. Raises :class:`ConfigError`; what held before then goes on."""
    global _place, _policy
    found = policy_of(config_file, schemas or config.schemas)
    with _lock:
        _place, _policy = (config_file, config), found


def policy() -> Policy:
    """The policy in force."""
    global _policy
    with _lock:
        if _policy is None:
            _policy = load_policy()
        return _policy


def pseudonyms() -> Pseudonyms:
    """The pseudonyms of the deployment. Raises :class:`HubError`, as of a key store that is not there or locked."""
    global _pseudonyms
    key = _store().data_keys(PSEUDONYM).current()[1]
    with _lock:
        if _pseudonyms is None or _pseudonyms[0] != key:
            _pseudonyms = key, Pseudonyms(key)
        return _pseudonyms[1]


def search_key() -> bytes | None:
    """32 bytes for the hashes of business keys; None without a key store. Raises :class:`HubError` when it is locked."""
    from hub.keys.opened import key_store_exists

    if _place is None or not key_store_exists(_place[1].keys, _place[0].parent):
        return None
    return _store().data_keys(SEARCH).current()[1]


def field_key(name: str) -> KeyHandle:
    """A key by its name, to protect fields with. Raises :class:`HubError`."""
    return _store().handle(name)


def _store() -> KeyStore:
    from hub.keys.opened import key_store, key_store_exists

    if _place is None or not key_store_exists(_place[1].keys, _place[0].parent):
        raise HubError(
            t("there is no key store", "没有密钥库"),
            code="privacy.no_keys",
            remedy=t("make one: hub keys init", "请先执行 hub keys init"),
        )
    return key_store(_place[1].keys, _place[0].parent)
