"""The published vectors: GB/T 32918.5 (SM2), 32905 (SM3), 32907 (SM4), draft-ribose-cfrg-sm4, RFC 8998, GM/T 0042 (HMAC)."""

from __future__ import annotations

import pytest

from hub.crypto import Provider, Sm2PrivateKey, Sm2PublicKey
from hub.crypto.openssl import OpenSslProvider
from hub.crypto.sm2 import identity

D = bytes.fromhex("3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8")
POINT = bytes.fromhex(
    "09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020"
    "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
)
K = 0x59276E27D506861A16680F3AD9C02DCCEF3CC1FA3CDBE4CE6D54B80DEAC1BC21
SIGNED = b"message digest"
R_S = bytes.fromhex(
    "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3"
    "B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA"
)
ENCRYPTED = b"encryption standard"
C1 = bytes.fromhex(
    "04EBFC718E8D1798620432268E77FEB6415E2EDE0E073C0F4F640ECD2E149A73"
    "E858F9D81E5430A57B36DAAB8F950A3C64E6EE6A63094D99283AFF767E124DF0"
)
C3 = bytes.fromhex("59983C18F809E262923C53AEC295D30383B54E39D609D160AFCB1908D0BD8766")
C2 = bytes.fromhex("21886CA989CA9C7D58087307CA93092D651EFA")
SM4_KEY = bytes.fromhex("0123456789abcdeffedcba9876543210")
COUNTING = bytes(range(16))


def _blocks(letters: str) -> bytes:
    return b"".join(bytes([int(letter * 2, 16)]) * 8 for letter in letters)


def test_the_public_key_of_the_standards_private_key() -> None:
    assert Sm2PrivateKey(D).public == Sm2PublicKey(POINT)


def test_z_and_e(provider: Provider) -> None:
    z = provider.sm3(identity(Sm2PublicKey(POINT), b"1234567812345678"))
    assert z.hex() == "b2e14c5c79c6df5b85f4fe7ed8db7a262b9da7e07ccb0ea9f4747b8ccda8a4f3"
    assert provider.sm3(z + SIGNED).hex() == "f0b43e94ba45accaace692ed534382eb17e6ab5a19ce7b31f4486fdfc0d28640"


def test_sm2_verifies_the_standards_signature(provider: Provider) -> None:
    public = Sm2PublicKey(POINT)
    assert provider.sm2_verify(public, SIGNED, R_S, form="raw")
    assert not provider.sm2_verify(public, SIGNED + b".", R_S, form="raw")
    e = bytes.fromhex("f0b43e94ba45accaace692ed534382eb17e6ab5a19ce7b31f4486fdfc0d28640")
    assert provider.sm2_verify_digest(public, e, R_S, form="raw")


@pytest.mark.parametrize(
    ("order", "form", "ciphertext"),
    [
        ("c1c3c2", "raw", b"\x04" + C1 + C3 + C2),
        ("c1c2c3", "raw", b"\x04" + C1 + C2 + C3),
        ("c1c3c2", "raw", C1 + C3 + C2),  # begins with the 04 of x itself
        ("c1c2c3", "raw", C1 + C2 + C3),
        (
            "c1c3c2",
            "der",
            bytes.fromhex("307c0220")
            + C1[:32]
            + bytes.fromhex("022100")
            + C1[32:]
            + b"\x04\x20"
            + C3
            + b"\x04\x13"
            + C2,
        ),
    ],
)
def test_sm2_decrypts_the_standards_ciphertext(provider: Provider, order: str, form: str, ciphertext: bytes) -> None:
    assert provider.sm2_decrypt(Sm2PrivateKey(D), ciphertext, order=order, form=form) == ENCRYPTED  # type: ignore[arg-type]


def test_with_the_standards_random_number_the_results_are_the_standards(
    gmssl: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only gmssl can be given the random number; OpenSSL draws its own."""
    monkeypatch.setattr("hub.crypto.gmssl.secrets.randbelow", lambda below: K - 1)
    assert gmssl.sm2_sign(Sm2PrivateKey(D), SIGNED, form="raw") == R_S
    assert gmssl.sm2_encrypt(Sm2PublicKey(POINT), ENCRYPTED) == b"\x04" + C1 + C3 + C2
    assert gmssl.sm2_encrypt(Sm2PublicKey(POINT), ENCRYPTED, order="c1c2c3") == b"\x04" + C1 + C2 + C3


def test_sm3(provider: Provider) -> None:
    assert provider.sm3(b"abc").hex() == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
    assert provider.sm3(b"abcd" * 16).hex() == "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"


@pytest.mark.parametrize(
    ("key", "data", "mac"),
    [
        (
            bytes(range(1, 33)),
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq" * 2,
            "ca05e144ed05d1857840d1f318a4a8669e559fc8391f414485bfdf7bb408963a",
        ),
        (bytes(range(1, 38)), b"\xcd" * 50, "220bf579ded555393f0159f66c99877822a3ecf610d1552154b41d44b94db3ae"),
        (b"\x0b" * 32, b"Hi There", "c0ba18c68b90c88bc07de794bfc7d2c8d19ec31ed8773bc2b390c9604e0be11e"),
        (b"Jefe", b"what do ya want for nothing?", "2e87f1d16862e6d964b50a5200bf2b10b764faa9680a296a2405f24bec39f882"),
    ],
)
def test_hmac_sm3(provider: Provider, key: bytes, data: bytes, mac: str) -> None:
    assert provider.hmac_sm3(key, data).hex() == mac


def test_sm4_block(provider: Provider) -> None:
    block = provider.sm4_encrypt(SM4_KEY, SM4_KEY, mode="ecb", padding="none")
    assert block.hex() == "681edf34d206965e86b3e94f536e4246"
    assert provider.sm4_decrypt(SM4_KEY, block, mode="ecb", padding="none") == SM4_KEY


def test_sm4_block_a_million_times(openssl: OpenSslProvider) -> None:
    """A million encryptions are CBC of zeros, each block the cipher of the one before: the same vector, a thousand times faster."""
    last = openssl.sm4_encrypt(SM4_KEY, bytes(16) * 999_999, mode="cbc", iv=_first(openssl), padding="none")[-16:]
    assert last.hex() == "595298c7c6fd271f0402f804c33d3f66"


def _first(provider: Provider) -> bytes:
    return provider.sm4_encrypt(SM4_KEY, SM4_KEY, mode="ecb", padding="none")


@pytest.mark.parametrize(
    ("mode", "iv", "plain", "cipher"),
    [
        (
            "cbc",
            COUNTING,
            bytes.fromhex("aaaaaaaabbbbbbbbccccccccddddddddeeeeeeeeffffffffaaaaaaaabbbbbbbb"),
            "78ebb11cc40b0a48312aaeb2040244cb4cb7016951909226979b0d15dc6a8f6d",
        ),
        (
            "ctr",
            COUNTING,
            _blocks("abcdefab"),
            "ac3236cb970cc20791364c395a1342d1a3cbc1878c6f30cd074cce385cdd70c7"
            "f234bc0e24c11980fd1286310ce37b926e02fcd0faa0baf38b2933851d824514",
        ),
    ],
)
def test_sm4_modes(provider: Provider, mode: str, iv: bytes, plain: bytes, cipher: str) -> None:
    options = {"mode": mode, "iv": iv, "padding": "none"}
    assert provider.sm4_encrypt(SM4_KEY, plain, **options).hex() == cipher  # type: ignore[arg-type]
    assert provider.sm4_decrypt(SM4_KEY, bytes.fromhex(cipher), **options) == plain  # type: ignore[arg-type]


def test_sm4_gcm(provider: Provider) -> None:
    iv, aad = bytes.fromhex("00001234567800000000abcd"), bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    sealed = provider.sm4_encrypt(SM4_KEY, _blocks("abcdefea"), mode="gcm", iv=iv, aad=aad)
    assert sealed.hex() == (
        "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735"
        "d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d"
        "83de3541e4c2b58177e065a9bf7b62ec"
    )
    assert provider.sm4_decrypt(SM4_KEY, sealed, mode="gcm", iv=iv, aad=aad) == _blocks("abcdefea")
