"""What ``key:NAME`` in a setting stands for."""

from __future__ import annotations

from pathlib import Path

from hub.errors import HubError
from hub.i18n import t
from hub.keys.config import KeysConfig
from hub.secrets import Secret

__all__ = ["References"]


class References:
    """Resolves ``NAME`` and ``NAME@VERSION``; the key store is opened when the first one is met."""

    def __init__(self, config: KeysConfig, base: Path) -> None:
        """``base``: the folder of ``hub.yaml``."""
        self._config = config
        self._base = base

    def __call__(self, reference: str, system: str = "") -> Secret:
        """The key as a setting holds it: a :class:`hub.keys.opened.KeySecret`. Raises :class:`HubError`.

        ``system`` is whose setting it is; its uses are counted under it.
        """
        name, at, number = reference.partition("@")
        if not name or (at and not (number.isascii() and number.isdecimal() and 0 < len(number) < 10)):
            raise HubError(
                t("key: is not followed by the name of a key", "key: 后应为密钥名称"),
                code="secret.reference",
                remedy=t("write e.g. key:app_secret or key:app_secret@2", "例如 key:app_secret 或 key:app_secret@2"),
            )
        from hub.keys.opened import KeySecret, key_store  # most hubs have no key store

        store = key_store(self._config, self._base)
        store.refresh()  # whoever reads the configuration anew wants the keys as they are now
        handle = store.handle(name, system=system, version=int(number) if at else 0)
        return KeySecret(handle.current().text(), handle)
