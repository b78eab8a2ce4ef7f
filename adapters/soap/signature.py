"""X.509 signatures of envelopes (WS-Security X.509 Certificate Token Profile 1.1, XML Signature 1.1).

A reference counts only for the element that is used: the Body of this envelope, a block of its Header, a member of its Security header.
Elements elsewhere that carry the same id are never looked at, so that a signed part which was moved aside proves nothing
(signature wrapping). Only exclusive canonicalisation is taken; no transform can hide anything.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from lxml import etree

from adapters.soap.envelope import Envelope
from adapters.soap.fault import FaultRefusal
from adapters.soap.names import DS, WSSE, WSU
from adapters.soap.security_options import SignWith
from hub.api import HubError
from hub.i18n import t

__all__ = ["Signer", "Trust", "load_certificates", "verify"]

_T = TypeVar("_T")

_EXC = "http://www.w3.org/2001/10/xml-exc-c14n#"
_C14N = {_EXC: False, f"{_EXC}WithComments": True}
_MORE = "http://www.w3.org/2001/04/xmldsig-more#"
_ENC = "http://www.w3.org/2001/04/xmlenc#"
_SIGNATURES: dict[str, tuple[str, type[hashes.HashAlgorithm]]] = {
    f"{_MORE}rsa-sha256": ("rsa", hashes.SHA256),
    f"{_MORE}rsa-sha384": ("rsa", hashes.SHA384),
    f"{_MORE}rsa-sha512": ("rsa", hashes.SHA512),
    f"{_MORE}ecdsa-sha256": ("ec", hashes.SHA256),
    f"{_MORE}ecdsa-sha384": ("ec", hashes.SHA384),
    f"{_MORE}ecdsa-sha512": ("ec", hashes.SHA512),
    f"{DS}rsa-sha1": ("rsa", hashes.SHA1),
}
_DIGESTS: dict[str, type[hashes.HashAlgorithm]] = {
    f"{_ENC}sha256": hashes.SHA256,
    f"{_MORE}sha384": hashes.SHA384,
    f"{_ENC}sha512": hashes.SHA512,
    f"{DS}sha1": hashes.SHA1,
}
_TOKEN = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0"  # noqa: S105
_BASE64 = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary"
_ID = f"{{{WSU}}}Id"
_MOST_REFERENCES = 20
_SMALLEST_RSA = 2048


def _d(name: str) -> str:
    return f"{{{DS}}}{name}"


def _s(name: str) -> str:
    return f"{{{WSSE}}}{name}"


# -- certificates ------------------------------------------------------------------------------------------------------


def load_certificates(path: str) -> list[x509.Certificate]:
    """The certificates of a PEM file; raises :class:`HubError` naming the file."""
    try:
        return x509.load_pem_x509_certificates(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise _unusable(path, error) from error


def _unusable(path: str, error: Exception) -> HubError:
    reason = error.strerror if isinstance(error, OSError) else type(error).__name__
    return HubError(
        t(f"file {path} can't be used: {reason}", f"文件 {path} 无法使用：{reason}"),
        code="soap.certificate",
        remedy=t(
            "give a PEM file that the hub's user may read; a key must belong to its certificate, an encrypted one needs its password",
            "请提供运行用户可读的 PEM 文件；私钥须与证书匹配，加密的私钥需要密码",
        ),
    )


class Trust:
    """The certificates whose signatures count."""

    def __init__(self, certificates: Sequence[x509.Certificate], *, sha1: bool = False) -> None:
        self.certificates = list(certificates)
        self.sha1 = sha1

    def admit(self, certificate: x509.Certificate) -> None:
        """Raise :class:`FaultRefusal` unless it is one of them, or issued by one, and valid today."""
        now = datetime.now(UTC)
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise _refused(
                "InvalidSecurityToken",
                "soap.certificate_expired",
                ("the certificate is not valid today", "证书不在有效期内"),
            )
        if certificate in self.certificates or any(_issued(certificate, issuer, now) for issuer in self.certificates):
            return
        raise _refused(
            "InvalidSecurityToken", "soap.certificate_unknown", ("the certificate is not a trusted one", "证书不受信任")
        )

    def named(self, reference: etree._Element) -> x509.Certificate | None:
        """The one that a key identifier or an issuer and serial number names."""
        identifier = reference.find(_s("KeyIdentifier"))
        if identifier is not None:
            wanted = _bytes(identifier.text)
            by_thumb = (identifier.get("ValueType") or "").endswith("#ThumbprintSHA1")
            return next((c for c in self.certificates if wanted == (_thumb(c) if by_thumb else _key_id(c))), None)
        serial = (reference.findtext(f".//{_d('X509SerialNumber')}") or "").strip()
        return next((c for c in self.certificates if str(c.serial_number) == serial), None)


def _issued(certificate: x509.Certificate, issuer: x509.Certificate, now: datetime) -> bool:
    try:
        if not issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        certificate.verify_directly_issued_by(issuer)
    except (x509.ExtensionNotFound, ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return issuer.not_valid_before_utc <= now <= issuer.not_valid_after_utc


def _thumb(certificate: x509.Certificate) -> bytes:
    return certificate.fingerprint(hashes.SHA1())  # noqa: S303 - a name, no proof


def _key_id(certificate: x509.Certificate) -> bytes:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except (x509.ExtensionNotFound, ValueError):
        return b""


# -- checking ----------------------------------------------------------------------------------------------------------


def verify(envelope: Envelope, security: etree._Element, trust: Trust, required: Iterable[etree._Element]) -> None:
    """Raise :class:`FaultRefusal` unless the one signature in ``security`` is right, trusted, and covers ``required``."""
    found = security.findall(_d("Signature"))
    if len(found) != 1:
        raise _refused(
            "InvalidSecurity", "soap.signature_missing", ("exactly one signature is needed", "需要且仅需要一个签名")
        )
    signature = found[0]
    info = signature.find(_d("SignedInfo"))
    if info is None:
        raise _broken("SignedInfo")
    kind, algorithm = _algorithm(info.find(_d("SignatureMethod")), _SIGNATURES, trust.sha1)
    references = _references(envelope, security, info, trust.sha1)
    certificate = _certificate(signature, security, trust)
    trust.admit(certificate)
    signed = _canonical(info, info.find(_d("CanonicalizationMethod")))
    _check_value(certificate, kind, algorithm(), _bytes(signature.findtext(_d("SignatureValue"))), signed)
    # Only now, for somebody who is trusted, what may take long.
    for reference in references:
        made = hashes.Hash(reference.digest())
        made.update(_canonical(reference.target, reference.transform))
        if not hmac.compare_digest(made.finalize(), reference.value):
            raise _refused("FailedCheck", "soap.signature_digest", ("a signed part was changed", "已签名的内容被改动"))
    covered = [reference.target for reference in references]
    if any(element not in covered for element in required):
        raise _refused(
            "InvalidSecurity",
            "soap.signature_scope",
            ("the signature does not cover all it must cover", "签名未覆盖全部必须签名的内容"),
            ("sign what listen.security.signed names", "请对 listen.security.signed 列出的内容签名"),
        )


class _Reference(NamedTuple):
    target: etree._Element
    transform: etree._Element
    digest: type[hashes.HashAlgorithm]
    value: bytes


def _references(envelope: Envelope, security: etree._Element, info: etree._Element, sha1: bool) -> list[_Reference]:
    """What the signature is about; raises for anything that could not be checked."""
    candidates = [envelope.body, *security.iterchildren(etree.Element)]
    if envelope.header is not None:
        candidates += envelope.header.iterchildren(etree.Element)
    references = info.findall(_d("Reference"))
    if not 0 < len(references) <= _MOST_REFERENCES:
        raise _broken("Reference")
    found = []
    for reference in references:
        uri = reference.get("URI") or ""
        targets = [c for c in candidates if uri[1:] and uri[1:] in (c.get(_ID), c.get("Id"))]
        if not uri.startswith("#") or len(targets) != 1:
            raise _refused(
                "FailedCheck",
                "soap.signature_reference",
                ("a reference of the signature is not to the body or a header block", "签名引用的不是 Body 或头块"),
            )
        transforms = reference.findall(f"{_d('Transforms')}/{_d('Transform')}")
        if len(transforms) != 1 or transforms[0].get("Algorithm") not in _C14N:
            raise _refused("UnsupportedAlgorithm", "soap.signature_transform", _ONLY_EXCLUSIVE)
        digest = _algorithm(reference.find(_d("DigestMethod")), _DIGESTS, sha1)
        found.append(_Reference(targets[0], transforms[0], digest, _bytes(reference.findtext(_d("DigestValue")))))
    return found


_ONLY_EXCLUSIVE = ("only exclusive canonicalisation (xml-exc-c14n) is taken", "仅支持独占规范化（xml-exc-c14n）")


def _algorithm(element: etree._Element | None, known: Mapping[str, _T], sha1: bool) -> _T:
    name = (element.get("Algorithm") or "") if element is not None else ""
    found = known.get(name)
    if found is None or (name.endswith("sha1") and not sha1):
        raise _refused(
            "UnsupportedAlgorithm",
            "soap.signature_algorithm",
            ("the signature uses an algorithm that is not taken", "签名使用了不被接受的算法"),
            ("use RSA or ECDSA with SHA-256 or better", "请使用 SHA-256 及以上的 RSA 或 ECDSA"),
        )
    return found


def _canonical(element: etree._Element, method: etree._Element | None) -> bytes:
    name = (method.get("Algorithm") or "") if method is not None else ""
    if method is None or name not in _C14N:
        raise _refused("UnsupportedAlgorithm", "soap.signature_transform", _ONLY_EXCLUSIVE)
    listed = method.find(f"{{{_EXC}}}InclusiveNamespaces")
    prefixes = (listed.get("PrefixList") or "").split() if listed is not None else None
    return etree.tostring(
        element, method="c14n", exclusive=True, with_comments=_C14N[name], inclusive_ns_prefixes=prefixes
    )


def _certificate(signature: etree._Element, security: etree._Element, trust: Trust) -> x509.Certificate:
    """The certificate that the signature names."""
    info = signature.find(_d("KeyInfo"))
    reference = info.find(_s("SecurityTokenReference")) if info is not None else None
    if info is None:
        raise _broken("KeyInfo")
    within = reference if reference is not None else info
    text = within.findtext(f"{_d('X509Data')}/{_d('X509Certificate')}")
    direct = within.find(_s("Reference"))
    if direct is not None:
        wanted = (direct.get("URI") or "")[1:]
        tokens = [e for e in security.findall(_s("BinarySecurityToken")) if wanted and e.get(_ID) == wanted]
        text = tokens[0].text if len(tokens) == 1 else None
    try:
        found = x509.load_der_x509_certificate(_bytes(text)) if text else trust.named(within)
    except ValueError:
        found = None
    if found is None:
        raise _refused(
            "InvalidSecurityToken",
            "soap.signature_key",
            ("the signature names no usable certificate", "签名未指明可用的证书"),
        )
    return found


def _check_value(
    certificate: x509.Certificate, kind: str, algorithm: hashes.HashAlgorithm, value: bytes, data: bytes
) -> None:
    key = certificate.public_key()
    try:
        if kind == "rsa" and isinstance(key, rsa.RSAPublicKey) and key.key_size >= _SMALLEST_RSA:
            return key.verify(value, data, padding.PKCS1v15(), algorithm)
        if kind == "ec" and isinstance(key, ec.EllipticCurvePublicKey) and len(value) % 2 == 0:
            half = len(value) // 2
            pair = encode_dss_signature(int.from_bytes(value[:half]), int.from_bytes(value[half:]))
            return key.verify(pair, data, ec.ECDSA(algorithm))
    except InvalidSignature:
        pass
    raise _refused("FailedCheck", "soap.signature_value", ("the signature is wrong", "签名不正确"))


def _bytes(text: str | None) -> bytes:
    try:
        return base64.b64decode("".join((text or "").split()), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _broken(name: str) -> FaultRefusal:
    return _refused(
        "InvalidSecurity",
        "soap.signature_form",
        (f"the signature's {name} is missing or unusable", f"签名的 {name} 缺失或不可用"),
    )


def _refused(fault: str, code: str, text: tuple[str, str], remedy: tuple[str, str] = ("", "")) -> FaultRefusal:
    return FaultRefusal(fault, code, text, remedy)


# -- signing -----------------------------------------------------------------------------------------------------------


class Signer:
    """A private key with its certificate; raises :class:`HubError` when the files can't be used."""

    def __init__(self, options: SignWith) -> None:
        self._certificate = load_certificates(options.certificate)[0]
        path = options.key or options.certificate
        password = options.key_password.get_secret_value().encode() or None
        try:
            key = serialization.load_pem_private_key(Path(path).read_bytes(), password)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise _unusable(path, error) from error
        if (
            not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
            or key.public_key() != self._certificate.public_key()
        ):
            raise _unusable(path, ValueError())
        self._key = key

    def sign(self, envelope: Envelope, security: etree._Element, parts: Sequence[etree._Element]) -> None:
        """Add the certificate and a signature over ``parts`` to a Security header."""
        word = secrets.token_hex(8)
        token = etree.SubElement(
            security,
            _s("BinarySecurityToken"),
            {"EncodingType": _BASE64, "ValueType": f"{_TOKEN}#X509v3", _ID: f"x509-{word}"},
        )
        token.text = base64.b64encode(self._certificate.public_bytes(serialization.Encoding.DER)).decode()
        signature = etree.SubElement(security, _d("Signature"), nsmap={"ds": DS})
        info = etree.SubElement(signature, _d("SignedInfo"))
        method = etree.SubElement(info, _d("CanonicalizationMethod"), Algorithm=_EXC)
        kind = "rsa" if isinstance(self._key, rsa.RSAPrivateKey) else "ecdsa"
        etree.SubElement(info, _d("SignatureMethod"), Algorithm=f"{_MORE}{kind}-sha256")
        for number, part in enumerate(parts, 1):
            part.set(_ID, f"part{number}-{word}")
            reference = etree.SubElement(info, _d("Reference"), URI=f"#part{number}-{word}")
            etree.SubElement(etree.SubElement(reference, _d("Transforms")), _d("Transform"), Algorithm=_EXC)
            etree.SubElement(reference, _d("DigestMethod"), Algorithm=f"{_ENC}sha256")
            made = hashes.Hash(hashes.SHA256())
            made.update(_canonical(part, method))
            etree.SubElement(reference, _d("DigestValue")).text = base64.b64encode(made.finalize()).decode()
        value = self._value(_canonical(info, method))
        etree.SubElement(signature, _d("SignatureValue")).text = base64.b64encode(value).decode()
        named = etree.SubElement(etree.SubElement(signature, _d("KeyInfo")), _s("SecurityTokenReference"))
        etree.SubElement(named, _s("Reference"), URI=f"#x509-{word}", ValueType=f"{_TOKEN}#X509v3")

    def _value(self, data: bytes) -> bytes:
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        r, s = decode_dss_signature(self._key.sign(data, ec.ECDSA(hashes.SHA256())))
        size = (self._key.key_size + 7) // 8
        return r.to_bytes(size) + s.to_bytes(size)
