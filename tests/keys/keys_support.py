"""What the tests of the key store share."""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from hub.keys.master import MasterSource

__all__ = ["DAY", "NOW", "Clock", "certificate", "source"]

DAY = 86400
NOW = 1_800_000_000.0

_key = rsa.generate_private_key(65537, 2048)


class Clock:
    """A clock the test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now

    def pass_days(self, days: float) -> None:
        self.now += days * DAY


def source(folder: Path) -> MasterSource:
    return MasterSource("file:master.key", folder)


def certificate(until: float, name: str = "platform") -> tuple[bytes, bytes]:
    """A certificate valid until then, and its private key; both PEM."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    end = datetime.datetime.fromtimestamp(until, datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(_key.public_key())
        .serial_number(4711)
        .not_valid_before(end - datetime.timedelta(days=3650))
        .not_valid_after(end)
        .sign(_key, hashes.SHA256())
    )
    private = _key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM), private
