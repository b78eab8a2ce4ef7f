"""Keys: the sealed key store, its rings and its command line.

:class:`hub.keys.store.KeyStore` is imported from its module: the models of the configuration come through here and need none of it.
"""

from hub.keys.errors import KeysError, KeysLocked, KeysTampered, KeyUnavailable
from hub.keys.ring import DataKeys

__all__ = ["DataKeys", "KeyUnavailable", "KeysError", "KeysLocked", "KeysTampered"]
