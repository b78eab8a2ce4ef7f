"""Reading what a call shows of its caller: API key, ``Authorization`` header (RFC 7617, RFC 6750), client certificate."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

__all__ = ["LONGEST", "basic_pair", "certificate_names", "fingerprint", "halves", "pem_or_der", "scheme_of"]

#: Longest credential read, characters: a JWT with a good many claims fits.
LONGEST = 8192


def scheme_of(header: str) -> tuple[str, str]:
    """Scheme in lower case and credentials of an ``Authorization`` header."""
    scheme, _, rest = header.partition(" ")
    return scheme.lower(), rest.strip(" ")


def halves(shown: str) -> tuple[str, str]:
    """``id.secret`` as id and secret; both empty for anything else."""
    credential, dot, secret = shown.partition(".")
    return (credential, secret) if dot and credential and secret and "." not in secret else ("", "")


def basic_pair(shown: str) -> tuple[str, str]:
    """User and password of RFC 7617; both empty for anything else."""
    try:
        user, _, password = base64.b64decode(shown, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return "", ""
    return user, password


def fingerprint(der: bytes) -> str:
    return "fingerprint:" + hashlib.sha256(der).hexdigest()


def certificate_names(der: bytes) -> Iterator[str]:
    """What a certificate may be registered by, the most precise first: fingerprint, names (DNS, URI, mail), subject (RFC 4514)."""
    yield fingerprint(der)
    try:
        certificate = x509.load_der_x509_certificate(der)
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            names = None
        if names is not None:
            for kind, word in (
                (x509.DNSName, "dns"),
                (x509.UniformResourceIdentifier, "uri"),
                (x509.RFC822Name, "mail"),
            ):
                for value in names.get_values_for_type(kind):
                    yield f"{word}:{value}"
        yield "subject:" + certificate.subject.rfc4514_string()
    except ValueError:  # a certificate OpenSSL takes and this library does not: known by its fingerprint only
        return


def pem_or_der(data: bytes) -> bytes:
    """A certificate as DER; ``ValueError`` for what is none."""
    if b"-----BEGIN" in data:
        return x509.load_pem_x509_certificate(data).public_bytes(Encoding.DER)
    x509.load_der_x509_certificate(data)
    return data
