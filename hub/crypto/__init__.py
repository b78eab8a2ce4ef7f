"""National cryptography (GB/T 32918 SM2, 32905 SM3, 32907 SM4) behind one interface, and what signing schemes need besides.

::

    from hub.crypto import load_sm2_private, provider

    key = load_sm2_private(text)
    signature = provider().sm2_sign(key, body, form="raw")
"""

from __future__ import annotations

from hub.crypto.digests import sm3_hex
from hub.crypto.errors import CryptoError, CryptoUnavailable, KeyFormatError
from hub.crypto.loading import load_sm2_private, load_sm2_public, pem
from hub.crypto.modes import Mode
from hub.crypto.padding import Padding
from hub.crypto.provider import Provider
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
