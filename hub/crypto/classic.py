"""The international algorithms that parties ask for, with the same options and errors as the national ones.

For interfaces whose specification demands them (WeChat Pay, Alipay, older platforms). MD5 and SHA-1 protect nothing any more; they are
here because interfaces prescribe them.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from typing import Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.x509 import InvalidVersion, load_der_x509_certificate

from hub.crypto import digests
from hub.crypto.errors import CryptoError, KeyFormatError, cannot_decrypt
from hub.crypto.loading import unarmour
from hub.crypto.modes import Mode, check_options, check_size, run
from hub.crypto.padding import Padding, pad, unpad
from hub.i18n import t

__all__ = [
    "DigestName",
    "RsaScheme",
    "aes_decrypt",
    "aes_encrypt",
    "digest",
    "hmac_digest",
    "load_rsa_private",
    "load_rsa_public",
    "rsa_decrypt",
    "rsa_encrypt",
    "rsa_sign",
    "rsa_verify",
    "same",
]

DigestName = Literal["md5", "sha1", "sha256", "sha384", "sha512", "sm3"]
RsaScheme = Literal["pkcs1-sha1", "pkcs1-sha256", "pss-sha256"]
_DIGESTS = ("md5", "sha1", "sha256", "sha384", "sha512", "sm3")
_SCHEMES: dict[str, tuple[rsa_padding.AsymmetricPadding, hashes.HashAlgorithm]] = {
    "pkcs1-sha1": (rsa_padding.PKCS1v15(), hashes.SHA1()),  # noqa: S303 - prescribed by older interfaces
    "pkcs1-sha256": (rsa_padding.PKCS1v15(), hashes.SHA256()),
    "pss-sha256": (rsa_padding.PSS(rsa_padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()),
}
#: RSA-OAEP with SHA-1, as WeChat Pay encrypts names and numbers (RFC 8017, 7.1).
_OAEP = rsa_padding.OAEP(rsa_padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303
_LEAST_BITS = 1024
#: SHA-256 of private keys found consistent in this process: testing the primes takes a thousand times longer than reading the key, and every
#: interface of a system loads it anew.
_sound: set[bytes] = set()


def same(one: str | bytes, other: str | bytes) -> bool:
    """Are they equal? In a time that does not depend on where they differ. Texts are compared as UTF-8."""
    first = one.encode("utf-8", "surrogatepass") if isinstance(one, str) else one
    second = other.encode("utf-8", "surrogatepass") if isinstance(other, str) else other
    return hmac.compare_digest(first, second)


def digest(name: DigestName, data: bytes) -> bytes:
    """Hash of some bytes. Raises :class:`CryptoError` for an unknown name."""
    _check_digest(name)
    return digests.sm3(data) if name == "sm3" else hashlib.new(name, data, usedforsecurity=False).digest()


def hmac_digest(name: DigestName, key: bytes, data: bytes) -> bytes:
    """HMAC (RFC 2104) with one of the hashes."""
    _check_digest(name)
    return digests.hmac_sm3(key, data) if name == "sm3" else hmac.digest(key, data, name)


def load_rsa_public(source: str | bytes) -> RSAPublicKey:
    """SubjectPublicKeyInfo, PKCS#1 or an X.509 certificate, as PEM, DER, hex or base64. Raises :class:`KeyFormatError`."""
    data = unarmour(source, ("PUBLIC KEY", "RSA PUBLIC KEY", "CERTIFICATE"))
    key: object = None
    try:
        key = serialization.load_der_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        with contextlib.suppress(ValueError, TypeError, UnsupportedAlgorithm, InvalidVersion):
            key = load_der_x509_certificate(data).public_key()
    if not isinstance(key, RSAPublicKey) or key.key_size < _LEAST_BITS:
        raise KeyFormatError(t("this is not an RSA public key of at least 1024 bits", "不是 1024 位以上的 RSA 公钥"))
    return key


def load_rsa_private(source: str | bytes, password: str | bytes | None = None) -> RSAPrivateKey:
    """PKCS#8, PKCS#1 or encrypted PKCS#8, as PEM, DER, hex or base64. Raises :class:`KeyFormatError`."""
    data = unarmour(source, ("PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY"))
    secret = password.encode() if isinstance(password, str) else password
    mark = hashlib.sha256(data).digest()
    try:
        key: object = serialization.load_der_private_key(data, secret, unsafe_skip_rsa_key_validation=mark in _sound)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: a password too many or too few
        key = None
    if not isinstance(key, RSAPrivateKey) or key.key_size < _LEAST_BITS:
        raise KeyFormatError(
            t(
                "this is not an RSA private key of at least 1024 bits, or the password is wrong or missing",
                "不是 1024 位以上的 RSA 私钥，或口令错误、缺失",
            )
        )
    _sound.add(mark)
    return key


def rsa_sign(key: RSAPrivateKey, data: bytes, scheme: RsaScheme = "pkcs1-sha256") -> bytes:
    """Sign (RFC 8017): ``pkcs1-sha256`` is what Alipay calls RSA2, ``pkcs1-sha1`` RSA; ``pss-sha256`` has 32 bytes of salt."""
    padding, algorithm = _scheme(scheme)
    return key.sign(data, padding, algorithm)


def rsa_verify(key: RSAPublicKey, data: bytes, signature: bytes, scheme: RsaScheme = "pkcs1-sha256") -> bool:
    """Is it the signature of ``data``?"""
    padding, algorithm = _scheme(scheme)
    try:
        key.verify(signature, data, padding, algorithm)
    except InvalidSignature:
        return False
    return True


def rsa_encrypt(key: RSAPublicKey, data: bytes) -> bytes:
    """RSA-OAEP with SHA-1. Raises :class:`CryptoError` for data longer than the key takes."""
    try:
        return key.encrypt(data, _OAEP)
    except ValueError:
        raise CryptoError(
            t("the data are too long for the RSA key", "数据超出 RSA 密钥可加密长度"), code="crypto.option"
        ) from None


def rsa_decrypt(key: RSAPrivateKey, data: bytes) -> bytes:
    """The reverse of :func:`rsa_encrypt`; raises :class:`CryptoError`, with one text whatever is wrong."""
    try:
        return key.decrypt(data, _OAEP)
    except ValueError:
        raise cannot_decrypt() from None


def aes_encrypt(
    key: bytes, data: bytes, *, mode: Mode = "cbc", iv: bytes = b"", padding: Padding = "pkcs7", aad: bytes = b""
) -> bytes:
    """AES with a key of 16, 24 or 32 bytes; options as of :meth:`hub.crypto.Provider.sm4_encrypt`."""
    cipher = _aes(key)
    check_options(mode, iv, padding, aad)
    return run(cipher, pad(data, padding) if mode in ("ecb", "cbc") else data, mode, iv, aad, encrypt=True)


def aes_decrypt(
    key: bytes, data: bytes, *, mode: Mode = "cbc", iv: bytes = b"", padding: Padding = "pkcs7", aad: bytes = b""
) -> bytes:
    """The reverse of :func:`aes_encrypt`; raises :class:`CryptoError`, with one text whatever is wrong with the data."""
    cipher = _aes(key)
    check_options(mode, iv, padding, aad)
    check_size(data, mode, padding)
    plain = run(cipher, data, mode, iv, aad, encrypt=False)
    return unpad(plain, padding) if mode in ("ecb", "cbc") else plain


def _aes(key: bytes) -> AES:
    if len(key) not in (16, 24, 32):
        raise CryptoError(
            t("an AES key has 16, 24 or 32 bytes", "AES 密钥应为 16、24 或 32 字节"), code="crypto.option"
        )
    return AES(key)


def _check_digest(name: str) -> None:
    if name not in _DIGESTS:
        raise CryptoError(
            t(f"unknown digest {name!r}: {', '.join(_DIGESTS)}", f"未知摘要算法 {name!r}：{'、'.join(_DIGESTS)}"),
            code="crypto.option",
        )


def _scheme(name: str) -> tuple[rsa_padding.AsymmetricPadding, hashes.HashAlgorithm]:
    if name not in _SCHEMES:
        raise CryptoError(
            t(f"unknown RSA scheme {name!r}: {', '.join(_SCHEMES)}", f"未知 RSA 方案 {name!r}：{'、'.join(_SCHEMES)}"),
            code="crypto.option",
        )
    return _SCHEMES[name]
