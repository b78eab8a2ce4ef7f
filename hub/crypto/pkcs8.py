"""Private keys under a password: PKCS#8 with PBES2 (RFC 8018, GM/T 0091-2020), the ciphers and digests seen with SM2 keys.

Written here because ``cryptography`` opens such files only together with the key, and knows no SM2 key.
"""

from __future__ import annotations

import secrets

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES, SM4
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from hub.crypto import der, padding
from hub.crypto.errors import CryptoError, KeyFormatError
from hub.i18n import t

__all__ = ["decrypt", "encrypt", "wrong_password"]

_PBES2 = "1.2.840.113549.1.5.13"
_PBKDF2 = "1.2.840.113549.1.5.12"
# GM/T 0091-2020 gives the same schemes numbers of its own.
_PBES2_READ = (_PBES2, "1.2.156.10197.6.1.4.1.5.2")
_PBKDF2_READ = (_PBKDF2, "1.2.156.10197.6.1.4.1.5.1")
_SM4_CBC = "1.2.156.10197.1.104.2"
_HMAC_SHA1 = "1.2.840.113549.2.7"
_HMAC_SHA256 = "1.2.840.113549.2.9"
_CIPHERS: dict[str, tuple[type[AES] | type[SM4], int]] = {
    _SM4_CBC: (SM4, 16),
    "2.16.840.1.101.3.4.1.2": (AES, 16),
    "2.16.840.1.101.3.4.1.22": (AES, 24),
    "2.16.840.1.101.3.4.1.42": (AES, 32),
}
_DIGESTS: dict[str, type[hashes.HashAlgorithm]] = {
    _HMAC_SHA1: hashes.SHA1,
    _HMAC_SHA256: hashes.SHA256,
    "1.2.840.113549.2.10": hashes.SHA384,
    "1.2.840.113549.2.11": hashes.SHA512,
    "1.2.156.10197.1.401.2": hashes.SM3,
    "1.2.156.10197.1.401.3.1": hashes.SM3,  # the same in OpenSSL 3.2 and GM/T 0091
}
_ROUNDS = 210_000
_MOST_ROUNDS = 10_000_000  # seconds of work: no file may ask for hours
_MOST_SALT = 1024


def encrypt(plain: bytes, password: bytes) -> bytes:
    """EncryptedPrivateKeyInfo in DER: SM4-CBC under PBKDF2 with HMAC-SHA256, which OpenSSL 3 and Bouncy Castle read.

    ``plain`` is a PrivateKeyInfo (:meth:`Sm2PrivateKey.pkcs8`). HMAC-SM3 would be the national choice; OpenSSL 3.0 can't read it.
    """
    if not password:
        raise CryptoError(
            t("a private key needs a password that is not empty", "私钥口令不得为空"), code="crypto.option"
        )
    salt, iv = secrets.token_bytes(16), secrets.token_bytes(16)
    key = PBKDF2HMAC(hashes.SHA256(), 16, salt, _ROUNDS).derive(password)
    encryptor = Cipher(SM4(key), CBC(iv)).encryptor()
    data = encryptor.update(padding.pad(plain, "pkcs7")) + encryptor.finalize()
    prf = der.sequence(der.oid(_HMAC_SHA256), der.NULL_VALUE)
    kdf = der.sequence(der.oid(_PBKDF2), der.sequence(der.octets(salt), der.integer(_ROUNDS), prf))
    scheme = der.sequence(der.oid(_SM4_CBC), der.octets(iv))
    return der.sequence(der.sequence(der.oid(_PBES2), der.sequence(kdf, scheme)), der.octets(data))


def decrypt(data: bytes, password: bytes) -> bytes:
    """The PrivateKeyInfo inside an EncryptedPrivateKeyInfo; raises :class:`KeyFormatError`."""
    algorithm, content = der.parse(data).children(least=2)[:2]
    name, *parameters = algorithm.children(least=1)
    if name.oid() not in _PBES2_READ or not parameters:
        raise _not_read(name.oid())
    kdf, scheme = parameters[0].children(least=2)[:2]
    kdf_name, kdf_values = kdf.children(least=2)[:2]
    cipher_name, iv = scheme.children(least=2)[:2]
    if kdf_name.oid() not in _PBKDF2_READ:
        raise _not_read(kdf_name.oid())
    if cipher_name.oid() not in _CIPHERS:
        raise _not_read(cipher_name.oid())
    cipher, size = _CIPHERS[cipher_name.oid()]
    salt, rounds, *rest = kdf_values.children(least=2)
    prf = _HMAC_SHA1 if kdf_name.oid() == _PBKDF2 else "1.2.156.10197.1.401.2"  # when none is named
    for value in rest:
        if value.tag == der.INTEGER and value.uint() != size:
            raise der.DerError
        if value.tag == der.SEQUENCE:
            prf = value.children(least=1)[0].oid()
    if prf not in _DIGESTS:
        raise _not_read(prf)
    if not 1 <= rounds.uint() <= _MOST_ROUNDS or len(salt.octets()) > _MOST_SALT or len(iv.octets()) != padding.BLOCK:
        raise der.DerError
    try:
        key = PBKDF2HMAC(_DIGESTS[prf](), size, salt.octets(), rounds.uint()).derive(password)
        decryptor = Cipher(cipher(key), CBC(iv.octets())).decryptor()
        return padding.unpad(decryptor.update(content.octets()) + decryptor.finalize(), "pkcs7")
    except UnsupportedAlgorithm:
        raise _not_read(cipher_name.oid()) from None
    except (ValueError, CryptoError):
        raise wrong_password() from None


def wrong_password() -> KeyFormatError:
    return KeyFormatError(
        t("the private key can't be opened: wrong password, or the file is damaged", "私钥无法打开：口令错误或文件损坏")
    )


def _not_read(oid: str) -> KeyFormatError:
    return KeyFormatError(
        t(f"the private key is protected by a scheme that is not read: {oid}", f"不支持该私钥保护方式：{oid}"),
        remedy=t(
            "convert it: openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW",
            "请转换：openssl pkcs8 -topk8 -v2 aes-256-cbc -in 旧文件 -out 新文件",
        ),
    )
