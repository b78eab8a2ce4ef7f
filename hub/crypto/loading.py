"""Reading SM2 keys in the forms parties send them: hex, base64, PEM, DER, certificates, structures of devices.

A form is recognised, never guessed wrongly: lengths and first bytes differ, and whatever is taken for a key must be a point of the
curve. No digit is ever cut from a key: ``04`` is removed only from the front of 65 bytes.
"""

from __future__ import annotations

import base64
import binascii
import re

from hub.crypto import curve, der, pkcs8
from hub.crypto.errors import KeyFormatError
from hub.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from hub.i18n import t

__all__ = ["load_sm2_private", "load_sm2_public", "pem", "unarmour"]

#: Longest key, certificate or PEM file that is read, bytes.
MAX_KEY = 64 << 10

_EC = "1.2.840.10045.2.1"
_SM2 = "1.2.156.10197.1.301"
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,40})-----\s((?:[^-]|-(?!----))*)-----END \1-----")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_PUBLIC_LABELS = ("PUBLIC KEY", "CERTIFICATE")
_PRIVATE_LABELS = ("PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "EC PRIVATE KEY", "SM2 PRIVATE KEY")


def load_sm2_public(source: str | bytes) -> Sm2PublicKey:
    """The public key in a text or in bytes.

    Read are x ‖ y with or without 04 (64, 65 bytes), compressed points (33), SubjectPublicKeyInfo, X.509 certificates, and
    ECCrefPublicKey of GM/T 0018 (132); each as bytes, hex or base64, and PEM. Raises :class:`KeyFormatError`.
    """
    data = unarmour(source, _PUBLIC_LABELS)
    size = len(data)
    if size == 65 and data[0] == 4:
        return Sm2PublicKey(data[1:])
    if size == 64:
        return Sm2PublicKey(data)
    if size == 33 and data[0] in (2, 3):
        return _compressed(data)
    if size == 132 and data[:4] in (b"\0\1\0\0", b"\0\0\1\0") and not any(data[4:36] + data[68:100]):
        return Sm2PublicKey(data[36:68] + data[100:])
    if data[:1] == b"\x30":
        return _from_der(data)
    raise _unknown(t("an SM2 public key", "SM2 公钥"))


def load_sm2_private(source: str | bytes, password: str | bytes | None = None) -> Sm2PrivateKey:
    """The private key in a text or in bytes, with its public key.

    Read are the number d (32 bytes, or 33 with a leading 00), PKCS#8, PKCS#8 under a password, ECPrivateKey (RFC 5915), and
    ECCrefPrivateKey of GM/T 0018 (68); each as bytes, hex or base64, and PEM. A public key that comes along must belong to it.
    Raises :class:`KeyFormatError`, which never repeats a part of the key.
    """
    data = unarmour(source, _PRIVATE_LABELS)
    size = len(data)
    if size == 32:
        return Sm2PrivateKey(data)
    if size == 33 and not data[0]:
        return Sm2PrivateKey(data[1:])
    if size == 68 and data[:4] in (b"\0\1\0\0", b"\0\0\1\0") and not any(data[4:36]):
        return Sm2PrivateKey(data[36:])
    if data[:1] != b"\x30":
        raise _unknown(t("an SM2 private key", "SM2 私钥"))
    parts = der.parse(data).children(least=2)
    if parts[0].tag == der.SEQUENCE:
        return _encrypted(data, password)
    return _private_der(data)


def pem(label: str, data: bytes) -> str:
    """DER as PEM: ``PUBLIC KEY``, ``PRIVATE KEY``, ``ENCRYPTED PRIVATE KEY``, ``CERTIFICATE``."""
    body = base64.b64encode(data).decode()
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


def unarmour(source: str | bytes, labels: tuple[str, ...] = ()) -> bytes:
    """The bytes behind PEM (the first block with one of the ``labels``), hex or base64; others are given back as they are.

    Raises :class:`KeyFormatError`.
    """
    if len(source) > MAX_KEY:
        raise _unknown(t("a key or certificate: too long", "密钥或证书：过长"))
    if isinstance(source, bytes):
        # Nothing but printable characters is the text of a file; 32 random bytes are that once in 10^13 times.
        if not source.isascii() or any(byte < 32 and byte not in b"\t\r\n" for byte in source):
            return source
        text = source.decode()
    else:
        text = str.__str__(source)
    if "-----BEGIN" in text:
        return _from_pem(text, labels)
    compact = "".join(text.split())
    if _HEX.fullmatch(compact):
        return bytes.fromhex(compact)
    if _BASE64.fullmatch(compact):
        try:
            padded = compact.rstrip("=")
            return base64.b64decode(padded.translate(_URL_SAFE) + "=" * (-len(padded) % 4), validate=True)
        except binascii.Error:
            pass
    raise _unknown(t("hex, base64 or PEM", "十六进制、base64 或 PEM"))


_URL_SAFE = str.maketrans("-_", "+/")


def _from_pem(text: str, labels: tuple[str, ...]) -> bytes:
    found = _PEM.findall(text)
    for label, body in found:
        if label not in labels:
            continue
        if ":" in body:  # RFC 1421 headers: the old encryption of OpenSSL, with one round of MD5
            raise KeyFormatError(
                t("the private key is encrypted in OpenSSL's old form", "私钥采用 OpenSSL 旧式加密"),
                remedy=t(
                    "convert it: openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW",
                    "请转换：openssl pkcs8 -topk8 -v2 aes-256-cbc -in 旧文件 -out 新文件",
                ),
            )
        try:
            return base64.b64decode("".join(body.split()), validate=True)
        except binascii.Error:
            break
    names = ", ".join(label for label, _ in found[:4])
    raise _unknown(
        t(f"a PEM file with {' or '.join(labels)}", f"含 {'、'.join(labels)} 的 PEM 文件")
        + (t(f", it holds {names}", f"，实际为 {names}") if names else "")
    )


def _compressed(data: bytes) -> Sm2PublicKey:
    point = curve.decompress(int.from_bytes(data[1:]), data[0] == 3)
    if point is None:
        raise _unknown(t("an SM2 public key", "SM2 公钥"))
    return Sm2PublicKey(point[0].to_bytes(32) + point[1].to_bytes(32))


def _from_der(data: bytes) -> Sm2PublicKey:
    """The key of a SubjectPublicKeyInfo, or of a certificate, whose structure begins with two sequences."""
    parts = der.parse(data).children(least=2)
    if parts[1].tag == der.BIT_STRING:
        return _public_info(parts)
    fields = [part for part in parts[0].children(least=6) if part.tag != 0xA0]  # without the version
    if len(fields) < 6:  # serial, algorithm, issuer, validity, subject, key
        raise der.DerError
    return _public_info(fields[5].children(least=2))


def _public_info(parts: list[der.Node]) -> Sm2PublicKey:
    _check_algorithm(parts[0])
    bits = parts[1].bits()
    if len(bits) == 65 and bits[0] == 4:
        return Sm2PublicKey(bits[1:])
    if len(bits) == 33 and bits[0] in (2, 3):
        return _compressed(bits)
    raise der.DerError


def _check_algorithm(algorithm: der.Node) -> None:
    names = [part.oid() for part in algorithm.children() if part.tag == der.OID]
    if names != [_EC, _SM2]:
        raise KeyFormatError(
            t(
                f"the key is not an SM2 key, its algorithm is {' '.join(names[:2])}",
                f"不是 SM2 密钥，其算法为 {' '.join(names[:2])}",
            ),
            remedy=t("ask for a key of the curve sm2p256v1", "请索取 sm2p256v1 曲线的密钥"),
        )


def _encrypted(data: bytes, password: str | bytes | None) -> Sm2PrivateKey:
    if password is None:
        raise KeyFormatError(
            t("the private key is under a password, and none was given", "私钥受口令保护，但未提供口令"),
            code="crypto.password",
        )
    secret = password.encode() if isinstance(password, str) else password
    plain = pkcs8.decrypt(data, secret)
    try:
        return _private_der(plain)
    except der.DerError:
        raise pkcs8.wrong_password() from None  # one time in 256 the padding of garbage is right


def _private_der(data: bytes) -> Sm2PrivateKey:
    """The key of a PrivateKeyInfo or of an ECPrivateKey."""
    parts = der.parse(data).children(least=2)
    if parts[1].tag == der.SEQUENCE:
        if len(parts) < 3:
            raise der.DerError
        _check_algorithm(parts[1])
        parts = der.parse(parts[2].octets()).children(least=2)
    else:
        for part in parts[2:]:
            if part.tag == 0xA0 and part.children(0xA0, 1)[0].oid() != _SM2:
                raise _unknown(t("an SM2 private key", "SM2 私钥"))
    secret = parts[1].octets()
    key = Sm2PrivateKey(secret.rjust(32, b"\0"))  # some writers leave out leading zeros
    for part in parts[2:]:
        if part.tag == 0xA1 and part.children(0xA1, 1)[0].bits() != b"\x04" + key.public.point:
            raise KeyFormatError(
                t("the public key in the file does not belong to the private key", "文件中的公钥与私钥不匹配")
            )
    return key


def _unknown(expected: str) -> KeyFormatError:
    return KeyFormatError(
        t(f"this is not {expected}", f"不是{expected}"),
        remedy=t(
            "give hex, base64, PEM, DER or, for a public key, a certificate",
            "请提供十六进制、base64、PEM、DER，公钥也可用证书",
        ),
    )
