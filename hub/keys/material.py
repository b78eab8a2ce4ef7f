"""The stuff of keys by kind: made, read from what people bring, told by a fingerprint, shown as text."""

from __future__ import annotations

import binascii
import contextlib
import hashlib
import secrets
from base64 import b64decode
from dataclasses import dataclass, field
from typing import Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.serialization import pkcs7

from hub.errors import HubError
from hub.i18n import t
from hub.keys.errors import KeysError
from hub.keys.model import Kind
from hub.keys.ring import pem

__all__ = [
    "Form",
    "Material",
    "Recipient",
    "bits_of",
    "certificates",
    "generate",
    "public_pem",
    "read",
    "recipient",
    "text",
]

Form = Literal["text", "hex", "base64", "pem"]

_SIZES = {Kind.DATA: (256,), Kind.AES: (128, 192, 256), Kind.SM4: (128,), Kind.HMAC: (128, 256, 384, 512)}
_USUAL = {Kind.DATA: 256, Kind.AES: 256, Kind.SM4: 128, Kind.HMAC: 256, Kind.RSA: 3072}
_RSA_BITS = (2048, 3072, 4096)
#: Shortest HMAC key taken from another party, bytes.
_LEAST_HMAC = 8
_CHAIN = 16


@dataclass(frozen=True, slots=True)
class Material:
    """What a version of a key is made of; the forms are those of :class:`hub.keys.ring.KeyMaterial`."""

    secret: bytes = field(repr=False)
    public: bytes = b""
    fingerprint: str = ""
    expires_at: int = 0  # of a certificate, Unix seconds


def generate(kind: Kind, bits: int) -> Material:
    """A new key; ``bits`` 0 means the usual strength. Raises :class:`KeysError`."""
    if kind is Kind.SM2:
        from hub.crypto import provider  # most hubs have no SM2 keys

        made = provider().sm2_generate()
        return _pair(made.pkcs8(), made.public.spki())
    sizes = _RSA_BITS if kind is Kind.RSA else _SIZES.get(kind, ())
    bits = bits or _USUAL.get(kind, 0)
    if bits not in sizes:
        raise _refused(
            t(f"a key of kind {kind} can't be made with {bits} bits", f"无法生成 {bits} 位的 {kind} 密钥")
            if sizes
            else t(f"a key of kind {kind} comes from the other party", f"{kind} 类型的密钥由对方提供"),
            t("one of " + ", ".join(map(str, sizes)), "可用：" + "、".join(map(str, sizes)))
            if sizes
            else t("hub keys import brings it in", "请用 hub keys import 导入"),
        )
    if kind is Kind.RSA:
        return _rsa(rsa.generate_private_key(65537, bits))
    return _symmetric(secrets.token_bytes(bits // 8))


def bits_of(kind: Kind, public: bytes) -> int:
    """The strength of a pair by its public part, for one like it; 0: the usual."""
    if kind is not Kind.RSA:
        return 0
    key = serialization.load_der_public_key(public)
    return key.key_size if isinstance(key, rsa.RSAPublicKey) and key.key_size in _RSA_BITS else 0


def read(kind: Kind, data: bytes, *, form: Form = "text", password: bytes | None = None) -> Material:
    """A key as another party handed it over. Raises :class:`KeysError`, never with any of it."""
    if kind is Kind.SECRET:
        return Material(_text_of(data).encode())
    if kind is Kind.DATA:
        raise _refused(t("the hub's own data keys are made, not imported", "枢纽自有的数据密钥只能生成，不能导入"))
    if kind in _SIZES:
        return _read_symmetric(kind, data, form)
    try:
        if kind is Kind.CERTIFICATE:
            return _read_certificate(data)
        if kind is Kind.PUBLIC:
            return _read_public(data)
        return _read_sm2(data, password) if kind is Kind.SM2 else _read_rsa(data, password)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _refused(
            t(f"this can't be read as a key of kind {kind}", f"无法按 {kind} 类型读取"),
            t("give PEM or DER, and the password if there is one", "请提供 PEM 或 DER；如有口令请一并提供"),
        ) from None


def _read_symmetric(kind: Kind, data: bytes, form: Form) -> Material:
    stripped = data.strip()
    try:
        if form == "hex":
            key = bytes.fromhex(stripped.decode("ascii"))
        elif form == "base64":
            key = b64decode(stripped, validate=True)
        else:
            key = data.rstrip(b"\r\n")
    except (ValueError, binascii.Error):
        raise _refused(t(f"this is not {form}", f"内容不是 {form}")) from None
    if kind is Kind.HMAC:
        if not _LEAST_HMAC <= len(key) <= 1024:
            raise _refused(t("an HMAC key has 8 to 1024 bytes", "HMAC 密钥为 8 至 1024 字节"))
    elif len(key) * 8 not in _SIZES[kind]:
        sizes = ", ".join(str(size // 8) for size in _SIZES[kind])
        raise _refused(
            t(
                f"a key of kind {kind} has {sizes} bytes, this has {len(key)}",
                f"{kind} 密钥应为 {sizes} 字节，此处为 {len(key)} 字节",
            ),
            t("say how it is written: --form hex or base64", "请指明写法：--form hex 或 base64"),
        )
    return _symmetric(key)


def _symmetric(key: bytes) -> Material:
    """Its fingerprint says too little to find it by, and enough to see whether two parties have the same."""
    told = hashlib.sha256(b"tongqu key: " + key).hexdigest()[:6] if len(key) >= 16 else ""
    return Material(key, fingerprint=told)


def _read_rsa(data: bytes, password: bytes | None) -> Material:
    load = serialization.load_pem_private_key if b"-----BEGIN" in data else serialization.load_der_private_key
    key = load(data, password)
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < _RSA_BITS[0]:
        raise _refused(t("an RSA private key of at least 2048 bits is wanted", "需要不少于 2048 位的 RSA 私钥"))
    return _rsa(key)


def _rsa(key: rsa.RSAPrivateKey) -> Material:
    secret = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return _pair(secret, _spki(key.public_key()))


def _read_sm2(data: bytes, password: bytes | None) -> Material:
    from hub.crypto import load_sm2_private

    try:
        key = load_sm2_private(data, password)
    except HubError as error:
        raise _refused(error.text, error.remedy) from None
    return _pair(key.pkcs8(), key.public.spki())


def _read_public(data: bytes) -> Material:
    with contextlib.suppress(ValueError, UnsupportedAlgorithm):
        load = serialization.load_pem_public_key if b"-----BEGIN" in data else serialization.load_der_public_key
        key = load(data)
        if isinstance(key, rsa.RSAPublicKey) and key.key_size < _RSA_BITS[0]:
            raise _refused(t("an RSA key of at least 2048 bits is wanted", "需要不少于 2048 位的 RSA 密钥"))
        return _pair(b"", _spki(key))
    from hub.crypto import load_sm2_public

    try:
        return _pair(b"", load_sm2_public(data).spki())
    except HubError as error:
        raise _refused(error.text, error.remedy) from None


def _spki(key: object) -> bytes:
    public: bytes = key.public_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return public


def _pair(secret: bytes, public: bytes) -> Material:
    return Material(secret, public, hashlib.sha256(public).hexdigest()[:16])


def certificates(data: bytes) -> list[x509.Certificate]:
    """The certificates in PEM or DER; ``ValueError`` for anything else."""
    if b"-----BEGIN" in data:
        return x509.load_pem_x509_certificates(data)
    return [x509.load_der_x509_certificate(data)]


def _read_certificate(data: bytes) -> Material:
    chain = certificates(data)
    if len(chain) > _CHAIN:
        raise _refused(t("too many certificates in one file", "单个文件中的证书过多"))
    own = chain[0].public_bytes(serialization.Encoding.DER)
    whole = b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in chain)
    expires = int(chain[0].not_valid_after_utc.timestamp())
    return Material(b"", whole, hashlib.sha256(own).hexdigest()[:16], expires)


def _text_of(data: bytes) -> str:
    try:
        text = data.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise _refused(t("this is not UTF-8 text", "内容不是 UTF-8 文本")) from None
    if not text:
        raise _refused(t("there is nothing in it", "内容为空"))
    return text


def text(kind: Kind, secret: bytes) -> bytes:
    """A secret as people hand it over: text as it is, pairs as PEM, other keys in hex."""
    if kind is Kind.SECRET:
        return secret
    return pem(secret, "PRIVATE KEY").encode() if kind.pair else secret.hex().encode()


def public_pem(kind: Kind, public: bytes) -> bytes:
    """PEM of a public part. Raises :class:`KeysError` where there is none."""
    if not public:
        raise _refused(t(f"a key of kind {kind} has no public part", f"{kind} 类型的密钥没有公开部分"))
    return public if kind is Kind.CERTIFICATE else pem(public, "PUBLIC KEY").encode()


class Recipient:
    """Whoever a secret is sealed to."""

    def __init__(self, certificate: x509.Certificate) -> None:
        self._certificate = certificate
        der = certificate.public_bytes(serialization.Encoding.DER)
        self.fingerprint = hashlib.sha256(der).hexdigest()[:16]

    def seal(self, data: bytes) -> bytes:
        """CMS EnvelopedData (RFC 5652) with AES-256, as PEM."""
        builder = pkcs7.PKCS7EnvelopeBuilder().set_data(data).add_recipient(self._certificate)
        builder = builder.set_content_encryption_algorithm(AES256)
        return builder.encrypt(serialization.Encoding.PEM, [pkcs7.PKCS7Options.Binary])


def recipient(data: bytes) -> Recipient:
    """The recipient a certificate names. Raises :class:`KeysError`."""
    try:
        certificate = certificates(data)[0]
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < _RSA_BITS[0]:
        raise _refused(
            t(
                "the recipient is not a certificate with an RSA key of at least 2048 bits",
                "接收方不是含 2048 位以上 RSA 密钥的证书",
            ),
            t("ask the recipient for one", "请向接收方索取"),
        )
    return Recipient(certificate)


def _refused(text: str, remedy: str = "") -> KeysError:
    return KeysError(text, code="keys.material", remedy=remedy)
