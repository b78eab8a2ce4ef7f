"""National cryptography (GB/T 32918 SM2, 32905 SM3, 32907 SM4) behind one interface, and what signing schemes need besides.

::

    from hub.crypto import load_sm2_private, provider

    key = load_sm2_private(text)
    signature = provider().sm2_sign(key, body, form="raw")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hub.crypto.digests import sm3_hex
from hub.crypto.errors import CryptoError, CryptoUnavailable, KeyFormatError

if TYPE_CHECKING:
    from hub.crypto.base import Provider
    from hub.crypto.loading import load_sm2_private, load_sm2_public, pem
    from hub.crypto.modes import Mode
    from hub.crypto.padding import Padding
    from hub.crypto.select import provider, software, use
    from hub.crypto.sm2 import DEFAULT_USER_ID, DeviceKey, Form, Order, Sm2PrivateKey, Sm2PublicKey

__all__ = [
    "DEFAULT_USER_ID",
    "CryptoError",
    "CryptoUnavailable",
    "DeviceKey",
    "Form",
    "KeyFormatError",
    "Mode",
    "Order",
    "Padding",
    "Provider",
    "Sm2PrivateKey",
    "Sm2PublicKey",
    "load_sm2_private",
    "load_sm2_public",
    "pem",
    "provider",
    "sm3_hex",
    "software",
    "use",
]

#: Names of this package by the module that has them. Each is loaded when it is first asked for: the configuration and the audit trail
#: need digests alone, and the rest brings ``cryptography``, 8 MB in each process of a hub.
_MODULES = {
    "loading": ("load_sm2_private", "load_sm2_public", "pem"),
    "modes": ("Mode",),
    "padding": ("Padding",),
    "base": ("Provider",),
    "select": ("provider", "software", "use"),
    "sm2": ("DEFAULT_USER_ID", "DeviceKey", "Form", "Order", "Sm2PrivateKey", "Sm2PublicKey"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"hub.crypto.{module}"), name)
    return found
