"""Both providers do the same, whatever the data; and gmssl itself, where it is sound, agrees with them."""

from __future__ import annotations

import secrets

from gmssl.sm2 import CryptSM2  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.crypto import Sm2PrivateKey
from hub.crypto.base import Provider
from hub.crypto.curve import N
from hub.crypto.gmssl import GmsslProvider
from hub.crypto.openssl import OpenSslProvider

FAST, PURE = OpenSslProvider(), GmsslProvider()
PAIRS: list[tuple[Provider, Provider]] = [(FAST, PURE), (PURE, FAST)]
KEYS = st.integers(1, N - 2).map(lambda d: Sm2PrivateKey(d.to_bytes(32)))
SOME = settings(max_examples=12, deadline=None, derandomize=True)
FORMS = st.sampled_from(["der", "raw"])
ORDERS = st.sampled_from(["c1c3c2", "c1c2c3"])


@SOME
@given(key=KEYS, data=st.binary(max_size=200), user_id=st.binary(max_size=40), form=FORMS)
def test_one_verifies_what_the_other_signs(key: Sm2PrivateKey, data: bytes, user_id: bytes, form: str) -> None:
    for one, other in PAIRS:
        signature = one.sm2_sign(key, data, user_id=user_id, form=form)  # type: ignore[arg-type]
        assert other.sm2_verify(key.public, data, signature, user_id=user_id, form=form)  # type: ignore[arg-type]
        assert not other.sm2_verify(key.public, data + b"x", signature, user_id=user_id, form=form)  # type: ignore[arg-type]
        assert not other.sm2_verify(key.public, data, signature, user_id=user_id + b"x", form=form)  # type: ignore[arg-type]


@SOME
@given(key=KEYS, data=st.binary(min_size=1, max_size=200), order=ORDERS, form=FORMS)
def test_one_decrypts_what_the_other_encrypts(key: Sm2PrivateKey, data: bytes, order: str, form: str) -> None:
    for one, other in PAIRS:
        ciphertext = one.sm2_encrypt(key.public, data, order=order, form=form)  # type: ignore[arg-type]
        assert other.sm2_decrypt(key, ciphertext, order=order, form=form) == data  # type: ignore[arg-type]
        if form == "raw":
            assert other.sm2_decrypt(key, ciphertext[1:], order=order, form=form) == data  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    key=st.binary(min_size=16, max_size=16),
    data=st.binary(max_size=100),
    mode=st.sampled_from(["ecb", "cbc", "ctr", "gcm"]),
    padding=st.sampled_from(["pkcs7", "zero"]),
    iv=st.binary(min_size=16, max_size=16),
    size=st.integers(8, 16),
    aad=st.binary(max_size=40),
)
def test_sm4(key: bytes, data: bytes, mode: str, padding: str, iv: bytes, size: int, aad: bytes) -> None:
    options = {
        "mode": mode,
        "padding": padding,
        "iv": b"" if mode == "ecb" else iv[:size] if mode == "gcm" else iv,
        "aad": aad if mode == "gcm" else b"",
    }
    ciphertext = FAST.sm4_encrypt(key, data, **options)  # type: ignore[arg-type]
    assert PURE.sm4_encrypt(key, data, **options) == ciphertext  # type: ignore[arg-type]
    expected = data.rstrip(b"\0") if padding == "zero" and mode in ("ecb", "cbc") else data
    assert FAST.sm4_decrypt(key, ciphertext, **options) == expected  # type: ignore[arg-type]
    assert PURE.sm4_decrypt(key, ciphertext, **options) == expected  # type: ignore[arg-type]


@SOME
@given(data=st.binary(max_size=300), key=st.binary(max_size=100), length=st.integers(0, 100))
def test_sm3_hmac_and_kdf(data: bytes, key: bytes, length: int) -> None:
    assert FAST.sm3(data) == PURE.sm3(data)
    assert FAST.hmac_sm3(key, data) == PURE.hmac_sm3(key, data)
    assert FAST.sm3_kdf(data, length) == PURE.sm3_kdf(data, length)
    assert len(FAST.sm3_kdf(data, length)) == length
    assert FAST.sm3_kdf(data, 100)[:length] == FAST.sm3_kdf(data, length)


def test_gmssl_itself_agrees_where_it_is_sound() -> None:
    key = Sm2PrivateKey(bytes.fromhex("3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8"))
    theirs = CryptSM2(private_key=key.secret().hex(), public_key=key.public.hex(prefix=False), mode=1)
    data = secrets.token_bytes(50)
    assert theirs.verify_with_sm3(FAST.sm2_sign(key, data, form="raw").hex(), data)
    assert FAST.sm2_verify(key.public, data, bytes.fromhex(theirs.sign_with_sm3(data)), form="raw")
    assert FAST.sm2_decrypt(key, theirs.encrypt(data)) == data
    assert theirs.decrypt(FAST.sm2_encrypt(key.public, data)[1:]) == data
