"""Digital envelopes, and the encryption of the health insurance's mobile payment."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.crypto import CryptoError, Provider, Sm2PrivateKey, der, mobile_payment
from hub.crypto.envelope import (
    EnvelopeForm,
    open_envelope,
    open_enveloped_key,
    seal_envelope,
    seal_enveloped_key,
)
from hub.crypto.errors import cannot_decrypt
from hub.crypto.openssl import OpenSslProvider

KEY = Sm2PrivateKey(bytes.fromhex("3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8"))
FAST = OpenSslProvider()
FORMS = [
    EnvelopeForm(),
    EnvelopeForm(order="c1c3c2", key_encoding="base64", text_key=False, mode="cbc", data_encoding="hex"),
    EnvelopeForm(form="der", mode="gcm"),
    EnvelopeForm(mode="ecb", padding="zero"),
]


@pytest.mark.parametrize("form", FORMS)
def test_an_envelope_is_opened(provider: Provider, form: EnvelopeForm) -> None:
    data = '{"originalDocumentNumber": "运单 1"}'.encode()
    wrapped, content = seal_envelope(provider, KEY.public, data, form)
    assert open_envelope(FAST, KEY, wrapped, content, form) == data
    assert seal_envelope(provider, KEY.public, data, form) != (wrapped, content)


def test_the_freight_platforms_form() -> None:
    """``04`` and hex of C1C2C3 over 16 letters and digits; base64 of SM4-ECB: protocols-gov-pay 1.3 (a)."""
    wrapped, content = seal_envelope(FAST, KEY.public, b'{"a":1}')
    assert len(wrapped) == 2 + 128 + 2 * 16 + 64
    assert wrapped.startswith("04")
    key = FAST.sm2_decrypt(KEY, bytes.fromhex(wrapped), order="c1c2c3")
    assert key.isalnum()
    assert FAST.sm4_decrypt(key, base64.b64decode(content), mode="ecb") == b'{"a":1}'


@pytest.mark.parametrize("form", FORMS)
def test_envelopes_of_others_or_altered_ones_are_not_opened(form: EnvelopeForm) -> None:
    wrapped, content = seal_envelope(FAST, KEY.public, b"data" * 10, form)
    other_wrapped, _ = seal_envelope(FAST, FAST.sm2_generate().public, b"data" * 10, form)
    short, _ = seal_envelope(FAST, KEY.public, b"x", form)
    assert short
    wrong = [
        (other_wrapped, content),
        (wrapped[:-2], content),
        (wrapped, content[:-3]),
        ("", content),
        ("zz", content),
        (wrapped, "*"),
        ("00" * 2000, content),
    ]
    if form.padding == "pkcs7":
        wrong.append((wrapped, ""))
    for pair in wrong:
        with pytest.raises(CryptoError) as caught:
            open_envelope(FAST, KEY, *pair, form)
        assert caught.value.text == cannot_decrypt().text


def test_a_key_of_another_length_is_not_used() -> None:
    wrapped = FAST.sm2_encrypt(KEY.public, b"0123456789", order="c1c2c3").hex()
    with pytest.raises(CryptoError):
        open_envelope(FAST, KEY, wrapped, base64.b64encode(bytes(16)).decode())


def test_an_enveloped_key_pair(provider: Provider) -> None:
    pair = provider.sm2_generate()
    sealed = seal_enveloped_key(provider, KEY.public, pair)
    assert open_enveloped_key(FAST, KEY, sealed) == pair
    assert pair.secret() not in sealed
    with pytest.raises(CryptoError):
        open_enveloped_key(FAST, pair, sealed)


def test_an_enveloped_key_pair_as_devices_write_it() -> None:
    """The number after 32 zero bytes (GM/T 0018), and SM4 without a mode."""
    pair = FAST.sm2_generate()
    key = bytes(range(16))
    content = FAST.sm4_encrypt(key, bytes(32) + pair.secret(), mode="ecb", padding="none")
    sealed = der.sequence(
        der.sequence(der.oid("1.2.156.10197.1.104")),
        FAST.sm2_encrypt(KEY.public, key, form="der"),
        der.bits(b"\x04" + pair.public.point),
        der.bits(content),
    )
    assert open_enveloped_key(FAST, KEY, sealed) == pair


def test_an_enveloped_key_pair_that_does_not_belong_together() -> None:
    sealed = seal_enveloped_key(FAST, KEY.public, FAST.sm2_generate())
    parts = der.parse(sealed).children()
    mixed = der.sequence(parts[0].whole, parts[1].whole, der.bits(b"\x04" + KEY.public.point), parts[3].whole)
    with pytest.raises(CryptoError):
        open_enveloped_key(FAST, KEY, mixed)


@settings(max_examples=100, deadline=None)
@given(place=st.integers(0, 400), value=st.integers(0, 255), cut=st.integers(0, 40))
def test_altered_enveloped_keys_are_refused(place: int, value: int, cut: int) -> None:
    sealed = bytearray(SEALED)
    sealed[place % len(sealed)] = value
    data = bytes(sealed[: len(sealed) - cut])
    try:
        found = open_enveloped_key(FAST, KEY, data)
    except CryptoError:
        return
    assert found == PAIR  # nothing but an identifier or a parameter was changed


PAIR = FAST.sm2_generate()
SEALED = seal_enveloped_key(FAST, KEY.public, PAIR)

APP_ID = "1G3K8LM6U05D76430B0A0000B1C47DE2"
APP_SECRET = "1G3K8LM6U05E60CF0A0A0000E6D0A2F1"


def test_the_key_of_mobile_payment(provider: Provider) -> None:
    """Computed step by step as protocols-gov-pay 3.7 says."""
    key = mobile_payment.derive_key(provider, APP_ID, APP_SECRET)
    step = FAST.sm4_encrypt(b"1G3K8LM6U05D7643", APP_SECRET.encode(), mode="ecb")
    assert key == step.hex().upper()[:16].encode()
    assert len(step) == 48  # the secret of 32 characters and a whole block of padding
    for wrong in ("short", "医" * 20, ""):
        with pytest.raises(CryptoError):
            mobile_payment.derive_key(provider, wrong, APP_SECRET)


def test_a_request_of_mobile_payment(provider: Provider) -> None:
    data = mobile_payment.data_text({"payAuthNo": "AUTH1", "feeSumamt": "12.50", "b": {"y": 1, "x": "甲"}})
    assert data == '{"b":{"x":"甲","y":1},"feeSumamt":"12.50","payAuthNo":"AUTH1"}'
    key = mobile_payment.derive_key(provider, APP_ID, APP_SECRET)
    encrypted = mobile_payment.encrypt_data(provider, key, data)
    assert encrypted == encrypted.upper()
    assert json.loads(mobile_payment.decrypt_data(FAST, key, encrypted)) == json.loads(data)
    parameters = {
        "appId": APP_ID,
        "data": data,
        "encType": "SM4",
        "signType": "SM2",
        "timestamp": "1700000000000",
        "version": "2.0.1",
        "encData": encrypted,
        "extra": "not signed",
    }
    text = mobile_payment.signature_text(parameters, APP_SECRET)
    assert text == (
        f"appId={APP_ID}&data={data}&encType=SM4&signType=SM2&timestamp=1700000000000&version=2.0.1&key={APP_SECRET}"
    )
    assert (
        mobile_payment.signature_text({"appId": "a", "data": "", "version": "2.0.1"}, "s")
        == "appId=a&version=2.0.1&key=s"
    )
    for user_id in (b"1234567812345678", APP_SECRET.encode()):
        signature = mobile_payment.sign(provider, KEY, parameters, APP_SECRET, user_id=user_id)
        assert len(base64.b64decode(signature)) == 64
        assert mobile_payment.verify(FAST, KEY.public, parameters, APP_SECRET, signature, user_id=user_id)
        assert not mobile_payment.verify(FAST, KEY.public, parameters, "other", signature, user_id=user_id)
        changed = {**parameters, "timestamp": "1700000000001"}
        assert not mobile_payment.verify(FAST, KEY.public, changed, APP_SECRET, signature, user_id=user_id)
    assert not mobile_payment.verify(FAST, KEY.public, parameters, APP_SECRET, "***")


@pytest.mark.parametrize("wrong", ["", "zz", "00", "00" * 16, "é"])
def test_data_of_mobile_payment_that_is_none(wrong: str) -> None:
    with pytest.raises(CryptoError) as caught:
        mobile_payment.decrypt_data(FAST, b"0123456789ABCDEF", wrong)
    assert caught.value.text == cannot_decrypt().text
