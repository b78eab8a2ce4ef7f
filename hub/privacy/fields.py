"""Fields that leave the hub masked, replaced or encrypted: what mappings call for partners who must not get plain values."""

from __future__ import annotations

import base64
import binascii
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hub.errors import HubError
from hub.i18n import t
from hub.keys.model import Kind
from hub.keys.ring import KeyMaterial
from hub.privacy import site
from hub.privacy.masks import masked
from hub.privacy.model import PersonalClass

__all__ = ["class_named", "decrypt", "encrypt", "mask_as", "pseudonym"]

_NONCE = 12
_SIGN = "f1"  # format of what encrypt gives
_LONGEST = 1 << 20


def class_named(name: str) -> PersonalClass:
    """A class by its name. Raises :class:`HubError` (``privacy.class``)."""
    found = site.policy().classes.get(name)
    if found is None:
        raise HubError(
            t(f"there is no class of personal data {name!r}", f"没有个人信息类别 {name!r}"), code="privacy.class"
        )
    return found


def mask_as(kind: str, value: str) -> str:
    """The masked form of a value of a class."""
    return masked(class_named(kind), value)


def pseudonym(kind: str, value: str) -> str:
    """The pseudonym of a value of a class, by the key ``pseudonym`` of the key store. Raises :class:`HubError`."""
    return site.pseudonyms().of(class_named(kind), value)


def encrypt(key: str, value: str) -> str:
    """``f1.VERSION.BASE64URL`` of nonce, ciphertext and tag: SM4-GCM with an SM4 key (GB/T 32907, NIST SP 800-38D), AES-GCM with an AES key.

    Bound to the name of the key. The same value never gives the same text twice: what has to be compared is made with ``pseudonym``.
    """
    material = site.field_key(key).current()
    nonce = secrets.token_bytes(_NONCE)
    sealed = nonce + _seal(material, nonce, value.encode(), _bound(key))
    return f"{_SIGN}.{material.version}.{base64.urlsafe_b64encode(sealed).decode().rstrip('=')}"


def decrypt(key: str, text: str) -> str:
    """What :func:`encrypt` was given. Raises :class:`HubError` (``privacy.field``) for anything else."""
    sign, _, rest = text.partition(".")
    number, _, body = rest.partition(".")
    try:
        if sign != _SIGN or not number.isdecimal() or len(number) > 9 or len(body) > _LONGEST:
            raise ValueError
        sealed = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        if len(sealed) < _NONCE + 16:
            raise ValueError
        material = site.field_key(key).version(int(number))
        return _open(material, sealed[:_NONCE], sealed[_NONCE:], _bound(key)).decode()
    except (ValueError, binascii.Error, InvalidTag) as error:
        raise _not_ours(key) from error


def _not_ours(key: str) -> HubError:
    return HubError(
        t(f"this was not encrypted with the key {key!r}, or was altered", f"不是用密钥 {key!r} 加密的，或已被改动"),
        code="privacy.field",
    )


def _bound(key: str) -> bytes:
    return f"tongqu field {key}".encode()


def _seal(material: KeyMaterial, nonce: bytes, data: bytes, bound: bytes) -> bytes:
    if material.kind is Kind.SM4:
        from hub.crypto import provider

        return provider().sm4_encrypt(material.secret, data, mode="gcm", iv=nonce, aad=bound)
    return _aes(material).encrypt(nonce, data, bound)


def _open(material: KeyMaterial, nonce: bytes, data: bytes, bound: bytes) -> bytes:
    if material.kind is Kind.SM4:
        from hub.crypto import CryptoError, provider

        try:
            return provider().sm4_decrypt(material.secret, data, mode="gcm", iv=nonce, aad=bound)
        except CryptoError as error:
            raise ValueError from error
    return _aes(material).decrypt(nonce, data, bound)


def _aes(material: KeyMaterial) -> AESGCM:
    if material.kind is not Kind.AES:
        raise HubError(
            t(
                f"the key {material.name!r} is of kind {material.kind}, not sm4 or aes",
                f"密钥 {material.name!r} 为 {material.kind} 类，须为 sm4 或 aes",
            ),
            code="privacy.key_kind",
        )
    return AESGCM(material.secret)
