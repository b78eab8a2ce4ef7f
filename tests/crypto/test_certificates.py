"""SM2 certificates made by the openssl program, and what it has signed and encrypted."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.crypto import KeyFormatError, Provider, Sm2PrivateKey, der, load_sm2_private
from hub.crypto.certificates import Sm2Certificate, load_sm2_certificate
from hub.crypto.classic import load_rsa_public
from hub.crypto.loading import unarmour
from hub.crypto.openssl import OpenSslProvider
from tests.crypto import samples

ROOT = load_sm2_certificate(samples.CA_CERTIFICATE)
SIGNING = load_sm2_certificate(samples.SIGN_CERTIFICATE)
ENCRYPTING = load_sm2_certificate(samples.ENC_CERTIFICATE)


def test_what_a_certificate_says() -> None:
    assert SIGNING.subject == "CN=hub.example.org,O=Example Hospital,C=CN"
    assert SIGNING.issuer == ROOT.subject == "CN=Test Root SM2,O=Example Authority,C=CN"
    assert SIGNING.public == load_sm2_private(samples.SIGN_KEY).public
    assert ROOT.serial == 1
    assert SIGNING.valid_at()
    assert not SIGNING.valid_at(datetime(2020, 1, 1, tzinfo=UTC))
    assert not SIGNING.valid_at(datetime(9999, 1, 1, tzinfo=UTC))


def test_what_the_keys_may_be_used_for() -> None:
    assert (SIGNING.signs, SIGNING.encrypts, SIGNING.authority) == (True, False, False)
    assert (ENCRYPTING.signs, ENCRYPTING.encrypts, ENCRYPTING.authority) == (False, True, False)
    assert ROOT.authority


def test_who_signed_a_certificate(provider: Provider) -> None:
    assert SIGNING.issued_by(ROOT, provider)
    assert ROOT.issued_by(ROOT, provider)
    assert not SIGNING.issued_by(ENCRYPTING, provider)  # no authority
    assert not ROOT.issued_by(SIGNING, provider)


def test_an_altered_certificate_is_not_the_authoritys(provider: Provider) -> None:
    data = unarmour(samples.SIGN_CERTIFICATE, ("CERTIFICATE",))
    forged = load_sm2_certificate(data.replace(b"Example Hospital", b"Another Hospital"))
    assert forged.subject != SIGNING.subject
    assert not forged.issued_by(ROOT, provider)
    swapped = load_sm2_certificate(data.replace(SIGNING.public.point, ENCRYPTING.public.point))
    assert not swapped.issued_by(ROOT, provider)


def _signed(tbs: bytes, key: Sm2PrivateKey) -> Sm2Certificate:
    algorithm = der.sequence(der.oid("1.2.156.10197.1.501"))
    return load_sm2_certificate(der.sequence(tbs, algorithm, der.bits(FAST.sm2_sign(key, tbs))))


def _tbs(certificate: Sm2Certificate, issuer: Sm2Certificate) -> bytes:
    """What is signed of a certificate, with another issuer."""
    fields = [field.whole for field in der.parse(certificate.data).children()[0].children()]
    fields[3] = der.parse(issuer.data).children()[0].children()[5].whole
    return der.sequence(*fields)


def test_only_authorities_and_only_those_named_issue() -> None:
    key = FAST.sm2_generate()
    own = _tbs(ROOT, ROOT).replace(b"Test Root SM2", b"Evil Root SM2").replace(ROOT.public.point, key.public.point)
    rogue = _signed(own, key)
    assert rogue.authority
    assert rogue.issued_by(rogue, FAST)
    assert _signed(_tbs(ENCRYPTING, rogue), key).issued_by(rogue, FAST)
    assert not _signed(_tbs(ENCRYPTING, ROOT), key).issued_by(rogue, FAST)  # its issuer is another
    issued = _signed(_tbs(ENCRYPTING, SIGNING), load_sm2_private(samples.SIGN_KEY))
    assert issued.issuer == SIGNING.subject
    assert not issued.issued_by(SIGNING, FAST)  # the signature is right, but its holder is no authority


def test_what_openssl_signed_and_encrypted(provider: Provider) -> None:
    assert provider.sm2_verify(SIGNING.public, samples.MESSAGE, samples.SIGNATURE)
    key = load_sm2_private(samples.ENC_KEY)
    assert provider.sm2_decrypt(key, samples.CIPHERTEXT, form="der") == samples.MESSAGE


@pytest.mark.parametrize("wrong", ["", "text", samples.SIGN_KEY, b"\x30\x00", samples.P256_KEY])
def test_what_is_no_certificate(wrong: str | bytes) -> None:
    with pytest.raises(KeyFormatError):
        load_sm2_certificate(wrong)


DATA = unarmour(samples.SIGN_CERTIFICATE, ("CERTIFICATE",))
FAST = OpenSslProvider()


def test_a_certificate_of_no_known_version() -> None:
    """``cryptography`` has an error of its own for it, which is no ValueError."""
    assert DATA[8:13] == bytes.fromhex("a003020102")
    with pytest.raises(KeyFormatError):
        load_sm2_certificate(DATA[:12] + b"\x01" + DATA[13:])
    with pytest.raises(KeyFormatError):
        load_rsa_public(DATA[:12] + b"\x01" + DATA[13:])


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, len(DATA) - 1), value=st.integers(0, 255), cut=st.sampled_from([0, 0, 0, 1, 100]))
def test_altered_certificates_are_refused_or_not_the_authoritys(place: int, value: int, cut: int) -> None:
    data = bytearray(DATA)
    data[place] = value
    altered = bytes(data[: len(data) - cut])
    try:
        certificate = load_sm2_certificate(altered)
    except KeyFormatError:
        return
    assert repr(certificate)
    assert {certificate.signs, certificate.encrypts, certificate.authority} <= {True, False}
    if altered != DATA:
        assert not certificate.issued_by(ROOT, FAST)
