"""Encryption and signatures of the national health insurance's mobile payment (医保移动支付, electronic voucher 2.0.1).

The SM4 key is derived from the application's id and secret; the signature covers the parameters in alphabetical order. Facts:
``protocols-gov-pay.md`` 3.7, seen alike in several hospitals' clients.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from hub.crypto.base import Provider
from hub.crypto.errors import CryptoError, cannot_decrypt
from hub.crypto.padding import BLOCK
from hub.crypto.sm2 import DEFAULT_USER_ID, DeviceKey, Sm2PrivateKey, Sm2PublicKey
from hub.i18n import t

__all__ = [
    "data_text",
    "decrypt_data",
    "derive_key",
    "encrypt_data",
    "national_text",
    "sign",
    "signature_text",
    "sorted_text",
    "verify",
]

_SIGNED = ("appId", "data", "encType", "signType", "timestamp", "transType", "version")


def derive_key(provider: Provider, app_id: str, app_secret: str) -> bytes:
    """The SM4 key: the first 16 digits of upper-case hex(SM4-ECB(first 16 characters of ``app_id``, ``app_secret``)), as text.

    Raises :class:`CryptoError` when the id has fewer than 16 ASCII characters.
    """
    first = app_id.encode("ascii", "replace")[:BLOCK]
    if len(first) != BLOCK or not app_id[:BLOCK].isascii():
        raise CryptoError(
            t(
                "the appId of mobile payment has at least 16 ASCII characters",
                "医保移动支付 appId 至少 16 个 ASCII 字符",
            ),
            code="crypto.option",
        )
    return provider.sm4_encrypt(first, app_secret.encode(), mode="ecb").hex().upper()[:BLOCK].encode()


def data_text(data: Mapping[str, Any]) -> str:
    """The JSON of ``data`` that is encrypted and signed: keys sorted at every level, no blanks, Chinese as it is."""
    return json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


class _Number(str):
    """A number as it was written: 36.10 stays 36.10."""

    __slots__ = ()


def sorted_text(text: str) -> str:
    """:func:`data_text` of a JSON document, its numbers digit for digit. Raises ``ValueError`` for what is no JSON."""
    return _written(json.loads(text, parse_float=_Number, parse_int=_Number))


def national_text(text: str) -> str:
    """The content as the national platform's own client signs it: as :func:`sorted_text`, at the first level numbers and true or false as text,
    empty texts, empty lists and null left out. So are recorded calls of the public hall fuwu.nhsa.gov.cn. Raises ``ValueError`` for what is no object.
    """
    tree = json.loads(text, parse_float=_Number, parse_int=_Number)
    if not isinstance(tree, dict):
        raise ValueError("not an object")
    said = {name: str(value).lower() if isinstance(value, bool) else value for name, value in tree.items()}
    kept = {
        name: str.__str__(value) if isinstance(value, _Number) else value
        for name, value in said.items()
        if value is not None and value not in ("", [])
    }
    return _written(kept)


def _written(value: Any) -> str:
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, dict):
        inside = (f"{json.dumps(name, ensure_ascii=False)}:{_written(value[name])}" for name in sorted(value))
        return "{" + ",".join(inside) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def encrypt_data(provider: Provider, key: bytes, text: str) -> str:
    """``encData``: upper-case hex of SM4-ECB with PKCS#7 padding."""
    return provider.sm4_encrypt(key, text.encode(), mode="ecb").hex().upper()


def decrypt_data(provider: Provider, key: bytes, enc_data: str) -> str:
    """The text in ``encData``. Raises :class:`CryptoError`, with one text whatever is wrong with it."""
    try:
        return provider.sm4_decrypt(key, bytes.fromhex(enc_data), mode="ecb").decode()
    except ValueError:
        raise cannot_decrypt() from None


def signature_text(parameters: Mapping[str, str], app_secret: str) -> str:
    """What is signed: ``appId=…&data=…&encType=…&signType=…&timestamp=…&transType=…&version=…&key=…``, empty ones left out.

    ``parameters["data"]`` is :func:`data_text`. ``transType`` stands in the calls of the electronic voucher, and in the example of a
    signed text that several clients carry.
    """
    pairs = [f"{name}={parameters[name]}" for name in _SIGNED if parameters.get(name)]
    return "&".join([*pairs, f"key={app_secret}"])


def sign(
    provider: Provider,
    private: Sm2PrivateKey | DeviceKey,
    parameters: Mapping[str, str],
    app_secret: str,
    *,
    user_id: bytes = DEFAULT_USER_ID,
) -> str:
    """``signData``: base64 of r ‖ s. In some regions the user id is the application's secret."""
    text = signature_text(parameters, app_secret).encode()
    return base64.b64encode(provider.sm2_sign(private, text, user_id=user_id, form="raw")).decode()


def verify(
    provider: Provider,
    public: Sm2PublicKey,
    parameters: Mapping[str, str],
    app_secret: str,
    sign_data: str,
    *,
    user_id: bytes = DEFAULT_USER_ID,
) -> bool:
    """Is ``sign_data`` the signature of the parameters?"""
    try:
        signature = base64.b64decode(sign_data, validate=True)
    except (ValueError, binascii.Error):
        return False
    text = signature_text(parameters, app_secret).encode()
    return provider.sm2_verify(public, text, signature, user_id=user_id, form="raw")
