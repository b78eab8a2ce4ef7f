"""The traps of gmssl 3.2.2 (FEASIBILITY section 5): each is there in the package, and none in the provider built on it."""

from __future__ import annotations

import pytest
from gmssl.sm2 import CryptSM2  # type: ignore[import-untyped]
from gmssl.sm4 import SM4_DECRYPT, CryptSM4  # type: ignore[import-untyped]

from hub.crypto import CryptoError, Provider, Sm2PrivateKey, load_sm2_public
from hub.crypto.curve import N


def _key_whose_public_key_begins_with(digits: str) -> Sm2PrivateKey:
    return next(
        key
        for key in (Sm2PrivateKey(number.to_bytes(32)) for number in range(1, 5000))
        if key.public.hex(prefix=False).startswith(digits)
    )


@pytest.mark.parametrize("digits", ["04", "4", "0"])
def test_a_public_key_that_begins_like_the_prefix(gmssl: Provider, openssl: Provider, digits: str) -> None:
    key = _key_whose_public_key_begins_with(digits)
    assert len(CryptSM2(private_key="", public_key=key.public.hex()).public_key) < 128  # the trap
    for text in (key.public.hex(), key.public.hex(prefix=False)):
        public = load_sm2_public(text)
        assert public == key.public
        assert gmssl.sm2_verify(public, b"data", openssl.sm2_sign(key, b"data"))
        assert gmssl.sm2_decrypt(key, openssl.sm2_encrypt(public, b"data")) == b"data"
        assert openssl.sm2_decrypt(key, gmssl.sm2_encrypt(public, b"data")) == b"data"


def test_the_standards_own_key_with_its_prefix() -> None:
    text = (
        "0409F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020"
        "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
    )
    assert len(CryptSM2(private_key="", public_key=text).public_key) == 127  # the trap
    assert load_sm2_public(text).hex() == text.lower()


def test_an_altered_ciphertext_is_not_decrypted(gmssl: Provider) -> None:
    key = Sm2PrivateKey((7).to_bytes(32))
    ciphertext = gmssl.sm2_encrypt(key.public, b"pay 100")
    altered = ciphertext[:-1] + bytes([ciphertext[-1] ^ 1])
    theirs = CryptSM2(private_key=key.secret().hex(), public_key=key.public.hex(prefix=False), mode=1)
    assert theirs.decrypt(altered[1:]) == b"pay 101"  # the trap
    with pytest.raises(CryptoError):
        gmssl.sm2_decrypt(key, altered)


def test_a_signature_whose_point_is_at_infinity_is_refused(gmssl: Provider) -> None:
    key = Sm2PrivateKey((7).to_bytes(32))
    s = 8 * 5 % N  # s + (r + s)·d = 0 mod n for r = s·(-1 - 1/d)
    r = s * (-1 - pow(7, -1, N)) % N
    theirs = CryptSM2(private_key="", public_key=key.public.hex(prefix=False))
    with pytest.raises(TypeError):  # the trap
        theirs.verify(f"{r:064x}{s:064x}", bytes(32))
    assert not gmssl.sm2_verify_digest(key.public, bytes(32), r.to_bytes(32) + s.to_bytes(32), form="raw")


def test_a_padding_that_is_none_is_refused(gmssl: Provider) -> None:
    key = bytes(16)
    block = gmssl.sm4_encrypt(key, b"no padding \x20\x20\x20\x20\x05", mode="ecb", padding="none")
    theirs = CryptSM4()
    theirs.set_key(key, SM4_DECRYPT)
    assert theirs.crypt_ecb(block) == b"no padding "  # the trap: five bytes cut that no padding was
    with pytest.raises(CryptoError):
        gmssl.sm4_decrypt(key, block, mode="ecb")


def test_random_numbers_are_not_those_of_the_random_module(gmssl: Provider) -> None:
    """gmssl draws from ``random``; seeded alike, it encrypts alike."""
    import random

    key = Sm2PrivateKey((7).to_bytes(32))
    theirs = CryptSM2(private_key="", public_key=key.public.hex(prefix=False), mode=1)
    seen, ours = [], []
    state = random.getstate()
    for _ in range(2):
        random.seed(1)
        seen.append(theirs.encrypt(b"data"))
        random.seed(1)
        ours.append(gmssl.sm2_encrypt(key.public, b"data"))
    random.setstate(state)
    assert seen[0] == seen[1]  # the trap
    assert ours[0] != ours[1]
