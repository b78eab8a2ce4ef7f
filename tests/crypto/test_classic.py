"""RSA, AES, HMAC and digests: published vectors, and the same errors as the national algorithms."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from hub.crypto import CryptoError, KeyFormatError, classic
from hub.crypto.errors import cannot_decrypt
from tests.crypto import samples

KEY = rsa.generate_private_key(65537, 2048)
DER = serialization.Encoding.DER
PEM = serialization.Encoding.PEM
PLAIN = serialization.NoEncryption()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("md5", "900150983cd24fb0d6963f7d28e17f72"),  # RFC 1321
        ("sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"),  # FIPS 180-4
        ("sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("sm3", "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"),
    ],
)
def test_digests(name: str, expected: str) -> None:
    assert classic.digest(name, b"abc").hex() == expected  # type: ignore[arg-type]


def test_hmac() -> None:
    """RFC 4231, case 2; GM/T 0042 D.3 with the same key and data."""
    key, data = b"Jefe", b"what do ya want for nothing?"
    assert classic.hmac_digest("sha256", key, data).hex() == (
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )
    assert classic.hmac_digest("sm3", key, data).hex() == (
        "2e87f1d16862e6d964b50a5200bf2b10b764faa9680a296a2405f24bec39f882"
    )


@pytest.mark.parametrize("name", ["md4", "", "MD5"])
def test_unknown_digests(name: str) -> None:
    for run in (lambda: classic.digest(name, b""), lambda: classic.hmac_digest(name, b"", b"")):  # type: ignore[arg-type]
        with pytest.raises(CryptoError):
            run()


def test_aes() -> None:
    """NIST SP 800-38A F.2.1 (CBC) and F.1.1 (ECB); the GCM test case 4 of McGrew and Viega."""
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    block = bytes.fromhex("6bc1bee22e409f96e93d7e117393172a")
    cbc = classic.aes_encrypt(key, block, iv=bytes(range(16)), padding="none")
    assert cbc.hex() == "7649abac8119b246cee98e9b12e9197d"
    assert classic.aes_encrypt(key, block, mode="ecb", padding="none").hex() == "3ad77bb40d7a3660a89ecaf32466ef97"
    key = bytes.fromhex("feffe9928665731c6d6a8f9467308308")
    iv, aad = bytes.fromhex("cafebabefacedbaddecaf888"), bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    plain = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    )
    sealed = classic.aes_encrypt(key, plain, mode="gcm", iv=iv, aad=aad)
    assert sealed[-16:].hex() == "5bc94fbc3221a5db94fae95ae7121a47"
    assert classic.aes_decrypt(key, sealed, mode="gcm", iv=iv, aad=aad) == plain


@pytest.mark.parametrize("size", [16, 24, 32])
@pytest.mark.parametrize(("mode", "iv"), [("ecb", b""), ("cbc", bytes(16)), ("ctr", bytes(16)), ("gcm", bytes(12))])
def test_aes_there_and_back_and_altered(size: int, mode: str, iv: bytes) -> None:
    key = bytes(range(size))
    ciphertext = classic.aes_encrypt(key, b"some data", mode=mode, iv=iv)  # type: ignore[arg-type]
    assert classic.aes_decrypt(key, ciphertext, mode=mode, iv=iv) == b"some data"  # type: ignore[arg-type]
    if mode != "ctr":
        with pytest.raises(CryptoError) as caught:
            classic.aes_decrypt(key, ciphertext[:-1], mode=mode, iv=iv)  # type: ignore[arg-type]
        assert caught.value.text == cannot_decrypt().text
    with pytest.raises(CryptoError):
        classic.aes_encrypt(key[1:], b"", mode="ecb")


@pytest.mark.parametrize("scheme", ["pkcs1-sha1", "pkcs1-sha256", "pss-sha256"])
def test_rsa(scheme: str) -> None:
    signature = classic.rsa_sign(KEY, b"data", scheme)  # type: ignore[arg-type]
    public = KEY.public_key()
    assert classic.rsa_verify(public, b"data", signature, scheme)  # type: ignore[arg-type]
    wrong = [
        signature[:-1],
        signature + b"\0",
        b"",
        bytes(256),
        b"\xff" * 256,
        signature[:-1] + bytes([signature[-1] ^ 1]),
    ]
    for other in wrong:
        assert not classic.rsa_verify(public, b"data", other, scheme)  # type: ignore[arg-type]
    assert not classic.rsa_verify(public, b"Data", signature, scheme)  # type: ignore[arg-type]
    others = {"pkcs1-sha1", "pkcs1-sha256", "pss-sha256"} - {scheme}
    assert not any(classic.rsa_verify(public, b"data", signature, other) for other in others)  # type: ignore[arg-type]


def test_rsa_encryption() -> None:
    ciphertext = classic.rsa_encrypt(KEY.public_key(), "张三".encode())
    assert classic.rsa_decrypt(KEY, ciphertext).decode() == "张三"
    for wrong in (b"", ciphertext[:-1], bytes(256)):
        with pytest.raises(CryptoError) as caught:
            classic.rsa_decrypt(KEY, wrong)
        assert caught.value.text == cannot_decrypt().text
    with pytest.raises(CryptoError):
        classic.rsa_encrypt(KEY.public_key(), bytes(300))


def test_rsa_keys() -> None:
    import base64

    pkcs8 = KEY.private_bytes(DER, serialization.PrivateFormat.PKCS8, PLAIN)
    pkcs1 = KEY.private_bytes(DER, serialization.PrivateFormat.TraditionalOpenSSL, PLAIN)
    sealed = KEY.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"word"))
    expected = KEY.private_numbers()
    for source in (pkcs8, pkcs1, base64.b64encode(pkcs8), base64.b64encode(pkcs1).decode(), pkcs8.hex()):
        assert classic.load_rsa_private(source).private_numbers() == expected
    assert classic.load_rsa_private(sealed, "word").private_numbers() == expected
    spki = KEY.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert classic.load_rsa_public(base64.b64encode(spki)).public_numbers() == KEY.public_key().public_numbers()
    for wrong in (b"", "word", sealed, samples.P256_KEY, samples.SIGN_CERTIFICATE):
        with pytest.raises(KeyFormatError):
            classic.load_rsa_private(wrong, None)
        with pytest.raises(KeyFormatError):
            classic.load_rsa_public(wrong)
    with pytest.raises(KeyFormatError):
        classic.load_rsa_private(sealed, "other")


def test_a_key_whose_parts_do_not_belong_together_is_refused_every_time() -> None:
    """Also after sound ones were loaded, which are tested once."""
    numbers = KEY.private_numbers()
    for change in ({"d": numbers.d + 2}, {"dmp1": numbers.dmp1 + 2}, {"iqmp": numbers.iqmp + 1}):
        parts = {part: getattr(numbers, part) for part in ("p", "q", "d", "dmp1", "dmq1", "iqmp")}
        bad = rsa.RSAPrivateNumbers(**{**parts, **change}, public_numbers=numbers.public_numbers)
        key = bad.private_key(unsafe_skip_rsa_key_validation=True)
        source = key.private_bytes(DER, serialization.PrivateFormat.PKCS8, PLAIN)
        for _ in range(2):
            with pytest.raises(KeyFormatError):
                classic.load_rsa_private(source)
            assert classic.load_rsa_private(KEY.private_bytes(DER, serialization.PrivateFormat.PKCS8, PLAIN))


def test_comparison() -> None:
    assert classic.same("口令", "口令".encode())
    assert not classic.same("a", "b")
    assert not classic.same("a", "aa")
    assert classic.same("\ud800", "\ud800")
