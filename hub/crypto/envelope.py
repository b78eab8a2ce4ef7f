"""Digital envelopes: data under an SM4 key of their own, and that key under the receiver's SM2 key.

Two kinds: what platforms exchange in JSON (a pair of texts, whose details differ from one to the next), and the SM2EnvelopedKey of GM/T 0009-2012
(clause 7.4; GB/T 35276-2017), in which certification authorities hand out encryption key pairs.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import string
from dataclasses import dataclass
from typing import Literal

from hub.crypto import der
from hub.crypto.base import Provider
from hub.crypto.errors import CryptoError, KeyFormatError, cannot_decrypt
from hub.crypto.modes import Mode
from hub.crypto.padding import BLOCK, Padding
from hub.crypto.sm2 import DeviceKey, Form, Order, Sm2PrivateKey, Sm2PublicKey
from hub.i18n import t

__all__ = ["EnvelopeForm", "open_envelope", "open_enveloped_key", "seal_envelope", "seal_enveloped_key"]

Encoding = Literal["base64", "hex"]

_ALPHABET = string.ascii_letters + string.digits
_SM4 = "1.2.156.10197.1.104"
_SM4_ECB = "1.2.156.10197.1.104.1"
#: Longest text of an encrypted key that is looked at: 16 bytes make 113, in DER at most 126.
_MOST_KEY = 1024
_IV_SIZE = {"ecb": 0, "cbc": 16, "ctr": 16, "gcm": 12}


@dataclass(frozen=True, slots=True)
class EnvelopeForm:
    """How two parties write an envelope. As it stands: that of the freight platforms (SM2 in C1C2C3, SM4-ECB)."""

    order: Order = "c1c2c3"
    form: Form = "raw"
    key_encoding: Encoding = "hex"
    #: The SM4 key is 16 letters and digits instead of 16 random bytes: 95 bits, and what platforms expect that treat it as text.
    text_key: bool = True
    mode: Mode = "ecb"
    padding: Padding = "pkcs7"
    data_encoding: Encoding = "base64"


def seal_envelope(
    provider: Provider, public: Sm2PublicKey, data: bytes, form: EnvelopeForm = EnvelopeForm()
) -> tuple[str, str]:
    """The encrypted key and the encrypted data, as texts. With a mode that has an IV it stands before the data.

    Raises :class:`CryptoError`.
    """
    if form.text_key:
        key = "".join(secrets.choice(_ALPHABET) for _ in range(BLOCK)).encode()
    else:
        key = secrets.token_bytes(BLOCK)
    wrapped = provider.sm2_encrypt(public, key, order=form.order, form=form.form)
    iv = secrets.token_bytes(_IV_SIZE.get(form.mode, 0))
    content = iv + provider.sm4_encrypt(key, data, mode=form.mode, iv=iv, padding=form.padding)
    return _encode(wrapped, form.key_encoding), _encode(content, form.data_encoding)


def open_envelope(
    provider: Provider,
    private: Sm2PrivateKey | DeviceKey,
    wrapped: str,
    content: str,
    form: EnvelopeForm = EnvelopeForm(),
) -> bytes:
    """The data of an envelope. Raises :class:`CryptoError`, with one text whatever is wrong with it."""
    if len(wrapped) > _MOST_KEY:
        raise cannot_decrypt()
    key = provider.sm2_decrypt(private, _decode(wrapped, form.key_encoding), order=form.order, form=form.form)
    if len(key) != BLOCK:
        raise cannot_decrypt()
    data = _decode(content, form.data_encoding)
    size = _IV_SIZE.get(form.mode, 0)
    if len(data) < size:
        raise cannot_decrypt()
    return provider.sm4_decrypt(key, data[size:], mode=form.mode, iv=data[:size], padding=form.padding)


def seal_enveloped_key(provider: Provider, public: Sm2PublicKey, private: Sm2PrivateKey) -> bytes:
    """``private`` for the holder of ``public``, as SM2EnvelopedKey in DER: SM4-ECB over the 32 bytes, without padding."""
    key = secrets.token_bytes(BLOCK)
    algorithm = der.sequence(der.oid(_SM4_ECB), der.NULL_VALUE)
    wrapped = provider.sm2_encrypt(public, key, form="der")
    content = provider.sm4_encrypt(key, private.secret(), mode="ecb", padding="none")
    return der.sequence(algorithm, wrapped, der.bits(b"\x04" + private.public.point), der.bits(content))


def open_enveloped_key(provider: Provider, private: Sm2PrivateKey | DeviceKey, data: bytes) -> Sm2PrivateKey:
    """The key pair in an SM2EnvelopedKey; its public key must belong to it. Raises :class:`CryptoError`."""
    parts = der.parse(data).children(least=4)
    algorithm = parts[0].children(least=1)[0].oid()
    if len(parts) != 4:
        raise der.DerError
    if algorithm not in (_SM4, _SM4_ECB):
        raise KeyFormatError(
            t(f"the enveloped key is not under SM4-ECB but {algorithm}", f"密钥信封未使用 SM4-ECB，而是 {algorithm}")
        )
    key = provider.sm2_decrypt(private, parts[1].whole, form="der")
    if len(key) != BLOCK:
        raise cannot_decrypt()
    plain = provider.sm4_decrypt(key, parts[3].bits(), mode="ecb", padding="none")
    # Some authorities put 32 zero bytes before the number, as devices keep it (GM/T 0018).
    if len(plain) not in (32, 64) or any(plain[:-32]):
        raise cannot_decrypt()
    try:
        found = Sm2PrivateKey(plain[-32:])
    except CryptoError:
        raise cannot_decrypt() from None
    if parts[2].bits() != b"\x04" + found.public.point:
        raise KeyFormatError(
            t("the public key in the envelope does not belong to the private key", "信封中的公钥与私钥不匹配")
        )
    return found


def _encode(data: bytes, encoding: Encoding) -> str:
    return data.hex() if encoding == "hex" else base64.b64encode(data).decode()


def _decode(text: str, encoding: Encoding) -> bytes:
    compact = "".join(text.split())
    try:
        return bytes.fromhex(compact) if encoding == "hex" else base64.b64decode(compact, validate=True)
    except (ValueError, binascii.Error):
        raise cannot_decrypt() from None
