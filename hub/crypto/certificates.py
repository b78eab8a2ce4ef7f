"""SM2 certificates (GM/T 0015, GB/T 20518): who holds which key, until when, and whether an authority signed it.

``cryptography`` reads the names and dates of such a certificate, and knows neither its key nor its signature: those are checked here.
"""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import ExtensionOID

from hub.crypto import der
from hub.crypto.base import Provider
from hub.crypto.errors import KeyFormatError
from hub.crypto.loading import load_sm2_public, unarmour
from hub.crypto.sm2 import DEFAULT_USER_ID, Sm2PublicKey
from hub.i18n import t

__all__ = ["Sm2Certificate", "load_sm2_certificate"]

#: What ``cryptography`` raises for certificates it can't read.
_UNREADABLE = (
    TypeError,  # names of unexpected types
    ValueError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
_SM2_WITH_SM3 = "1.2.156.10197.1.501"


class Sm2Certificate:
    """A certificate of an SM2 key."""

    def __init__(self, certificate: x509.Certificate, data: bytes, public: Sm2PublicKey) -> None:
        self.data, self.public = data, public
        self._certificate = certificate
        signed, algorithm, signature = der.parse(data).children(least=3)[:3]
        self._signed, self._algorithm, self._signature = (
            signed.whole,
            algorithm.children(least=1)[0].oid(),
            signature.bits(),
        )

    @property
    def subject(self) -> str:
        """As RFC 4514 writes it: ``CN=…,O=…,C=CN``."""
        return self._certificate.subject.rfc4514_string()

    @property
    def issuer(self) -> str:
        return self._certificate.issuer.rfc4514_string()

    @property
    def serial(self) -> int:
        return self._certificate.serial_number

    @property
    def not_before(self) -> datetime:
        return self._certificate.not_valid_before_utc

    @property
    def not_after(self) -> datetime:
        return self._certificate.not_valid_after_utc

    def valid_at(self, moment: datetime | None = None) -> bool:
        """Within its dates, by default now?"""
        return self.not_before <= (moment or datetime.now(UTC)) <= self.not_after

    @property
    def signs(self) -> bool:
        """May the key sign? TLCP and GM/T 0015 give everybody two certificates, one to sign with and one to encrypt to."""
        usage = self._usage()
        return usage is None or usage.digital_signature or usage.content_commitment

    @property
    def encrypts(self) -> bool:
        """May data or keys be encrypted to the key?"""
        usage = self._usage()
        return usage is None or usage.key_encipherment or usage.data_encipherment or usage.key_agreement

    @property
    def authority(self) -> bool:
        """May the key sign certificates?"""
        try:
            basic = self._certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        except (x509.ExtensionNotFound, ValueError):
            return False
        usage = self._usage()
        return basic.ca and (usage is None or usage.key_cert_sign)

    def issued_by(self, authority: Sm2Certificate, provider: Provider) -> bool:
        """Did this authority sign it (SM2 with SM3, the default user id)? Says nothing about dates and revocation."""
        if not authority.authority or self._certificate.issuer != authority._certificate.subject:
            return False
        if self._algorithm != _SM2_WITH_SM3:
            return False
        return provider.sm2_verify(authority.public, self._signed, self._signature, user_id=DEFAULT_USER_ID, form="der")

    def _usage(self) -> x509.KeyUsage | None:
        try:
            extension = self._certificate.extensions.get_extension_for_oid(ExtensionOID.KEY_USAGE)
        except (x509.ExtensionNotFound, ValueError):
            return None
        return extension.value if isinstance(extension.value, x509.KeyUsage) else None

    def __repr__(self) -> str:
        return f"Sm2Certificate({self.serial:x}, until {self.not_after:%Y-%m-%d})"


def load_sm2_certificate(source: str | bytes) -> Sm2Certificate:
    """An X.509 certificate of an SM2 key as PEM, DER, hex or base64. Raises :class:`KeyFormatError`."""
    data = unarmour(source, ("CERTIFICATE",))
    if data[:1] == b"\x30":
        public = load_sm2_public(data)
        try:
            certificate = x509.load_der_x509_certificate(data)
            found = Sm2Certificate(certificate, data, public)
            _ = found.subject, found.issuer, found.serial, found.not_before, found.not_after, certificate.extensions
        except _UNREADABLE:
            pass
        else:
            return found
    raise KeyFormatError(t("this is not an X.509 certificate of an SM2 key", "不是 SM2 的 X.509 证书"))
