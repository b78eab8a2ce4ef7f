"""Reading keys in every form parties send, and refusing what only looks like one."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.crypto import (
    CryptoError,
    KeyFormatError,
    Sm2PrivateKey,
    Sm2PublicKey,
    der,
    load_sm2_private,
    load_sm2_public,
    pem,
    pkcs8,
    provider,
)
from hub.crypto.curve import N
from hub.secrets import Secret
from tests.crypto import samples

D = bytes.fromhex("3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8")
KEY = Sm2PrivateKey(D)
POINT = KEY.public.point


def _compressed(public: Sm2PublicKey) -> bytes:
    return bytes([2 + (public.point[63] & 1)]) + public.point[:32]


PUBLIC_FORMS = {
    "04 x y": b"\x04" + POINT,
    "x y": POINT,
    "compressed": _compressed(KEY.public),
    "spki": KEY.public.spki(),
    "GM/T 0018": (256).to_bytes(4, "little") + bytes(32) + POINT[:32] + bytes(32) + POINT[32:],
}
PRIVATE_FORMS = {
    "number": D,
    "number with a leading zero": b"\0" + D,
    "pkcs8": KEY.pkcs8(),
    "GM/T 0018": (256).to_bytes(4, "little") + bytes(32) + D,
}


def _texts(data: bytes) -> list[str | bytes]:
    whole = base64.b64encode(data).decode()
    lines = "\r\n".join(whole[at : at + 20] for at in range(0, len(whole), 20))
    return [
        data,
        data.hex(),
        data.hex().upper(),
        f" {data.hex()}\n",
        data.hex().encode(),
        whole,
        lines,
        whole.rstrip("="),
        base64.urlsafe_b64encode(data).decode(),
    ]


@pytest.mark.parametrize("form", PUBLIC_FORMS)
def test_public_keys(form: str) -> None:
    for text in _texts(PUBLIC_FORMS[form]):
        assert load_sm2_public(text) == KEY.public


@pytest.mark.parametrize("form", PRIVATE_FORMS)
def test_private_keys(form: str) -> None:
    for text in _texts(PRIVATE_FORMS[form]):
        assert load_sm2_private(text) == KEY


def test_secrets_are_read_too() -> None:
    assert load_sm2_private(Secret(D.hex())) == KEY


def test_pem() -> None:
    assert load_sm2_public(pem("PUBLIC KEY", KEY.public.spki())) == KEY.public
    assert load_sm2_private("comment\n" + pem("PRIVATE KEY", KEY.pkcs8()).replace("\n", "\r\n")) == KEY
    assert load_sm2_private(pem("PRIVATE KEY", KEY.pkcs8()).encode()) == KEY


@settings(max_examples=40, deadline=None)
@given(number=st.one_of(st.integers(1, N - 2), st.integers(1, 2**200)))
def test_forms_lead_back_to_the_key(number: int) -> None:
    """Small numbers have many leading zeros, in hex and in points."""
    key = Sm2PrivateKey(number.to_bytes(32))
    assert load_sm2_private(key.pkcs8()) == key
    assert load_sm2_private(f"{number:064x}") == key
    for text in (
        key.public.hex(),
        key.public.hex(prefix=False),
        key.public.spki().hex(),
        _compressed(key.public).hex(),
    ):
        assert load_sm2_public(text) == key.public


def test_the_same_key_in_the_forms_of_openssl() -> None:
    key = load_sm2_private(samples.SIGN_KEY)
    for text in (samples.SIGN_KEY_SEC1, samples.SIGN_KEY_AES, samples.SIGN_KEY_SM4):
        assert load_sm2_private(text, samples.PASSWORD) == key
    assert load_sm2_public(samples.SIGN_CERTIFICATE) == key.public
    assert load_sm2_private(samples.SIGN_KEY_AES, samples.PASSWORD.encode()) == key


@pytest.mark.parametrize("form", ["SIGN_KEY_3DES", "SIGN_KEY_LEGACY"])
def test_forms_of_protection_that_are_not_read_say_how_to_convert_them(form: str) -> None:
    with pytest.raises(KeyFormatError) as caught:
        load_sm2_private(getattr(samples, form), samples.PASSWORD)
    assert "openssl pkcs8 -topk8" in caught.value.remedy


def _sealed(rounds: int, digest: str = "1.2.156.10197.1.401.2") -> bytes:
    """Under the password ``word``, with HMAC-SM3 and the numbers of GM/T 0091: as makers of national products write it."""
    secret = PBKDF2HMAC(hashes.SM3(), 16, b"salt" * 4, min(rounds, 1000)).derive(b"word")
    content = provider().sm4_encrypt(secret, KEY.pkcs8(), iv=bytes(16))
    prf = der.sequence(der.oid(digest), der.NULL_VALUE)
    kdf = der.sequence(der.octets(b"salt" * 4), der.integer(rounds), der.integer(16), prf)
    scheme = der.sequence(
        der.sequence(der.oid("1.2.156.10197.6.1.4.1.5.1"), kdf),
        der.sequence(der.oid("1.2.156.10197.1.104.2"), der.octets(bytes(16))),
    )
    return der.sequence(der.sequence(der.oid("1.2.156.10197.6.1.4.1.5.2"), scheme), der.octets(content))


@pytest.mark.parametrize("digest", ["1.2.156.10197.1.401.2", "1.2.156.10197.1.401.3.1"])
def test_a_key_under_hmac_sm3(digest: str) -> None:
    assert load_sm2_private(_sealed(1000, digest), "word") == KEY


@pytest.mark.parametrize("rounds", [0, 10_000_001, 1 << 62])
def test_rounds_have_a_limit(rounds: int) -> None:
    with pytest.raises(KeyFormatError) as caught:
        load_sm2_private(_sealed(rounds) if rounds else _sealed(1).replace(der.integer(1), der.integer(0)), "word")
    assert caught.value.code == "crypto.der"


def test_a_key_under_a_password_comes_back_and_only_with_it() -> None:
    sealed = pkcs8.encrypt(KEY.pkcs8(), "口令 Sesame".encode())
    assert load_sm2_private(pem("ENCRYPTED PRIVATE KEY", sealed), "口令 Sesame") == KEY
    assert D not in sealed
    assert sealed != pkcs8.encrypt(KEY.pkcs8(), "口令 Sesame".encode())
    for wrong in ("", "x", "口令 sesame"):
        with pytest.raises(KeyFormatError) as caught:
            load_sm2_private(sealed, wrong)
        assert caught.value.code == "crypto.key"
    with pytest.raises(KeyFormatError) as caught:
        load_sm2_private(sealed)
    assert caught.value.code == "crypto.password"
    with pytest.raises(CryptoError):
        pkcs8.encrypt(KEY.pkcs8(), b"")


@pytest.mark.parametrize("secret", [0, N - 1, N, 2**256 - 1])
def test_numbers_that_are_no_private_key(secret: int) -> None:
    with pytest.raises(KeyFormatError):
        load_sm2_private(secret.to_bytes(32))


def test_a_public_key_that_does_not_belong() -> None:
    other = load_sm2_private(samples.OTHER_KEY)
    mixed = KEY.pkcs8().replace(KEY.public.point, other.public.point)
    with pytest.raises(KeyFormatError, match=r"belong|匹配"):
        load_sm2_private(mixed)


@pytest.mark.parametrize(
    "text", [samples.P256_KEY, samples.SIGN_KEY_EXPLICIT, samples.SIGN_CERTIFICATE, KEY.public.spki()]
)
def test_other_keys_are_not_taken_for_sm2_private_keys(text: str | bytes) -> None:
    with pytest.raises(KeyFormatError):
        load_sm2_private(text)


def test_a_key_of_another_curve_is_refused_by_its_name() -> None:
    with pytest.raises(KeyFormatError, match=r"1\.2\.840\.10045\.3\.1\.7"):
        load_sm2_private(samples.P256_KEY)
    curve = der.sequence(der.oid("1.2.840.10045.2.1"), der.oid("1.2.840.10045.3.1.7"))
    with pytest.raises(KeyFormatError, match=r"1\.2\.840\.10045\.3\.1\.7"):
        load_sm2_public(der.sequence(curve, der.bits(b"\x04" + POINT)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "04",
        "not a key!",
        "abc",
        samples.SIGN_KEY,
        D.hex(),
        KEY.pkcs8(),
        b"\x04" + bytes(64),
        b"\x02" + bytes(31) + b"\x05",
        KEY.public.hex()[:-2],
        KEY.public.hex() + "00",
        pem("PUBLIC KEY", KEY.public.spki()[:-1]),
        "-----BEGIN PUBLIC KEY-----\n!!!!\n-----END PUBLIC KEY-----",
        "-----BEGIN PUBLIC KEY-----\n" + "A" * 70000,
        b"\x30\x80\0\0",
    ],
)
def test_what_is_no_public_key(text: str | bytes) -> None:
    with pytest.raises(KeyFormatError) as caught:
        load_sm2_public(text)
    assert D.hex()[:10] not in str(caught.value).lower()


@settings(max_examples=300, deadline=None)
@given(junk=st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_any_input_gives_a_key_or_an_error_of_ours(junk: str | bytes) -> None:
    for load in (load_sm2_public, load_sm2_private):
        try:
            load(junk)
        except KeyFormatError as error:
            assert error.text  # noqa: PT017 - both outcomes are fine


SEALED = _sealed(1)


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, 500), value=st.integers(0, 255), cut=st.integers(0, 60))
def test_altered_files_give_a_key_or_an_error_of_ours(place: int, value: int, cut: int) -> None:
    for whole, password in ((KEY.pkcs8(), None), (KEY.public.spki(), None), (SEALED, "word")):
        data = bytearray(whole)
        data[place % len(data)] = value
        for load in (load_sm2_public, lambda text, password=password: load_sm2_private(text, password)):
            try:
                load(bytes(data[: len(data) - cut]))
            except KeyFormatError as error:
                assert error.text  # noqa: PT017
