"""What an attacker sends: nothing passes, nothing but CryptoError comes out, and no error says which check failed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.crypto import CryptoError, Provider, Sm2PrivateKey, Sm2PublicKey, der
from hub.crypto.curve import N, P, add, negate, on_curve, public_point
from hub.crypto.errors import cannot_decrypt
from hub.crypto.gmssl import GmsslProvider
from hub.crypto.openssl import OpenSslProvider
from hub.crypto.sm2 import MAX_CIPHERTEXT, split_ciphertext, split_signature

KEY = Sm2PrivateKey(bytes.fromhex("3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8"))
BOTH: list[Provider] = [OpenSslProvider(), GmsslProvider()]
REFUSAL = cannot_decrypt().text


def refused(run: Callable[[], object]) -> CryptoError:
    with pytest.raises(CryptoError) as caught:
        run()
    return caught.value


def _der(r: int, s: int) -> bytes:
    return der.sequence(der.integer(r), der.integer(s))


@pytest.mark.parametrize(
    ("r", "s"), [(0, 1), (1, 0), (0, 0), (N, 1), (1, N), (N - 1, 1), (1, N - 1), (2**256 - 1, 2**256 - 1)]
)
def test_r_and_s_out_of_range_or_adding_up_to_the_order(provider: Provider, r: int, s: int) -> None:
    raw = r.to_bytes(32) + s.to_bytes(32)
    assert not provider.sm2_verify(KEY.public, b"data", raw, form="raw")
    assert not provider.sm2_verify(KEY.public, b"data", _der(r, s), form="der")


def test_r_and_s_that_add_up_to_the_order_forge_nothing(provider: Provider) -> None:
    """With r + s = n the public key drops out of the equation: without the check anybody could sign some digest."""
    s = 12345
    r = N - s
    own = (int.from_bytes(KEY.public.point[:32]), int.from_bytes(KEY.public.point[32:]))
    for point in (public_point(s), add(public_point(s), own)):
        assert point is not None
        digest = ((r - point[0]) % N).to_bytes(32)
        assert not provider.sm2_verify_digest(KEY.public, digest, r.to_bytes(32) + s.to_bytes(32), form="raw")


def test_r_and_s_that_are_right_but_for_a_multiple_of_the_order(provider: Provider) -> None:
    r, s = split_signature(provider.sm2_sign(KEY, b"data"), "der") or (0, 0)
    assert provider.sm2_verify(KEY.public, b"data", _der(r, s))
    assert not provider.sm2_verify(KEY.public, b"data", _der(r + N, s))
    assert not provider.sm2_verify(KEY.public, b"data", _der(r, s + N))
    assert not provider.sm2_verify(KEY.public, b"data", _der(s, r))


def _rewritten(signature: bytes) -> list[bytes]:
    """The same signature in encodings that are not DER."""
    body = signature[2:]
    size = signature[1]
    r_size = signature[3]
    r, rest = signature[4 : 4 + r_size], signature[4 + r_size :]
    return [
        b"\x30\x81" + bytes([size]) + body,  # a length longer than it need be
        b"\x30\x80" + body + b"\0\0",  # of indefinite length
        bytes([0x30, size + 1, 0x02, r_size + 1, 0]) + r + rest,  # a zero more than needed
        bytes([0x30, size + 1]) + body + b"\0",  # bytes left over inside
        signature + b"\0",  # and outside
        bytes([0x31, size]) + body,  # a set
        bytes([0x30, size + 3]) + body + b"\x02\x01\x01",  # three numbers
    ]


def test_a_signature_has_one_encoding(provider: Provider) -> None:
    signature = provider.sm2_sign(KEY, b"data")
    for rewritten in _rewritten(signature):
        assert not provider.sm2_verify(KEY.public, b"data", rewritten)


def test_a_signature_in_the_other_form_or_length(provider: Provider) -> None:
    raw = provider.sm2_sign(KEY, b"data", form="raw")
    signature = provider.sm2_sign(KEY, b"data", form="der")
    assert not provider.sm2_verify(KEY.public, b"data", raw, form="der")
    assert not provider.sm2_verify(KEY.public, b"data", signature, form="raw")
    for wrong in (b"", raw[:-1], raw + b"\0", b"\0" * 64, raw.hex().encode()):
        assert not provider.sm2_verify(KEY.public, b"data", wrong, form="raw")


@settings(max_examples=150, deadline=None)
@given(junk=st.binary(max_size=90))
def test_any_bytes_as_a_signature(junk: bytes) -> None:
    assert not BOTH[0].sm2_verify(KEY.public, b"data", junk, form="der")
    assert not BOTH[0].sm2_verify(KEY.public, b"data", junk, form="raw")


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 600), bit=st.integers(0, 7))
def test_a_signature_with_one_bit_changed(place: int, bit: int) -> None:
    for form in ("der", "raw"):
        signature = bytearray(BOTH[0].sm2_sign(KEY, b"data", form=form))  # type: ignore[arg-type]
        signature[place % len(signature)] ^= 1 << bit
        assert not BOTH[0].sm2_verify(KEY.public, b"data", bytes(signature), form=form)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["raw", "der"])
@pytest.mark.parametrize("order", ["c1c3c2", "c1c2c3"])
def test_every_altered_or_cut_ciphertext_gives_the_same_error(provider: Provider, form: str, order: str) -> None:
    options = {"form": form, "order": order}
    ciphertext = provider.sm2_encrypt(KEY.public, b"sixteen letters.", **options)  # type: ignore[arg-type]
    step = 1 if provider.name == "openssl" else 17
    changed = [
        bytes([*ciphertext[:at], ciphertext[at] ^ 1, *ciphertext[at + 1 :]]) for at in range(0, len(ciphertext), step)
    ]
    cut = [ciphertext[:size] for size in range(0, len(ciphertext), step)]
    longer = [ciphertext + b"\0", ciphertext + ciphertext, b"\0" * len(ciphertext), b""]
    for wrong in changed + cut + longer:
        if wrong == ciphertext[1:]:
            continue
        error = refused(lambda wrong=wrong: provider.sm2_decrypt(KEY, wrong, **options))  # type: ignore[misc]
        assert (error.text, error.code) == (REFUSAL, "crypto.decrypt")


def test_the_wrong_order_form_or_key_gives_the_same_error(provider: Provider) -> None:
    ciphertext = provider.sm2_encrypt(KEY.public, b"data" * 20)
    other = provider.sm2_generate()
    for run in (
        lambda: provider.sm2_decrypt(KEY, ciphertext, order="c1c2c3"),
        lambda: provider.sm2_decrypt(KEY, ciphertext, form="der"),
        lambda: provider.sm2_decrypt(other, ciphertext),
    ):
        assert refused(run).text == REFUSAL


def test_points_that_are_not_on_the_curve(provider: Provider) -> None:
    """The attack with invalid curves: each answer would tell a part of the private key."""
    ciphertext = provider.sm2_encrypt(KEY.public, b"data")
    c1, rest = ciphertext[1:65], ciphertext[65:]
    x, y = int.from_bytes(c1[:32]), int.from_bytes(c1[32:])
    wrong = [(x, y ^ 1), (0, 0), (1, 1), (x, 0), (P, y), (x, P), (2**256 - 1, 2**256 - 1)]
    for one, two in wrong:
        assert not on_curve(one, two)
        raw = b"\x04" + one.to_bytes(32) + two.to_bytes(32) + rest
        assert refused(lambda raw=raw: provider.sm2_decrypt(KEY, raw)).text == REFUSAL  # type: ignore[misc]
        with pytest.raises(CryptoError):
            Sm2PublicKey(one.to_bytes(32) + two.to_bytes(32))
    for one, two in wrong[:5]:
        sent = der.sequence(der.integer(one), der.integer(two), der.octets(rest[:32]), der.octets(rest[32:]))
        with pytest.raises(CryptoError):
            split_ciphertext(sent, "c1c3c2", "der")
    too_large = der.sequence(der.integer(x + P), der.integer(y), der.octets(rest[:32]), der.octets(rest[32:]))
    assert refused(lambda: provider.sm2_decrypt(KEY, too_large, form="der")).text == REFUSAL


def test_sums_of_points_at_the_edges() -> None:
    point = (int.from_bytes(KEY.public.point[:32]), int.from_bytes(KEY.public.point[32:]))
    assert add(point, negate(point)) is None
    double = add(point, point)
    assert double is not None
    assert on_curve(*double)


@settings(max_examples=150, deadline=None)
@given(junk=st.binary(max_size=200), form=st.sampled_from(["raw", "der"]), order=st.sampled_from(["c1c3c2", "c1c2c3"]))
def test_any_bytes_as_a_ciphertext(junk: bytes, form: str, order: str) -> None:
    with pytest.raises(CryptoError):
        split_ciphertext(junk, order, form)  # type: ignore[arg-type]


def test_sizes_have_limits(openssl: Provider) -> None:
    assert refused(lambda: openssl.sm2_decrypt(KEY, bytes(MAX_CIPHERTEXT + 1))).text == REFUSAL
    many = der.wrap(der.SEQUENCE, b"\x05\0" * 1000)  # thousands of values where four belong
    assert refused(lambda: openssl.sm2_decrypt(KEY, many, form="der")).text == REFUSAL
    refused(lambda: der.parse(many).children())
    for run in (
        lambda: openssl.sm2_sign(KEY, b"", user_id=bytes(8192)),
        lambda: openssl.sm3_kdf(b"", -1),
        lambda: openssl.sm3_kdf(b"", 1 << 60),
        lambda: openssl.sm2_encrypt(KEY.public, b""),
        lambda: openssl.sm2_sign_digest(KEY, bytes(31)),
    ):
        assert refused(run).code in ("crypto.option", "crypto.failed")


def test_a_large_document(openssl: Provider) -> None:
    data = bytes(range(256)) * 8192
    assert openssl.sm2_decrypt(KEY, openssl.sm2_encrypt(KEY.public, data, form="der"), form="der") == data


@pytest.mark.parametrize(("mode", "iv"), [("ecb", b""), ("cbc", bytes(16))])
def test_padding_errors_are_not_told_apart(provider: Provider, mode: str, iv: bytes) -> None:
    """An oracle would have to see a difference between these: wrong padding of each kind, wrong length, nothing at all."""
    key = bytes(range(16))
    texts = set()
    endings = [b"\0", b"\x11", b"\xff", b"\x02", b"\x03\x03", b"\x01\x02\x02\x03", bytes([16]) * 15]
    for ending in endings:
        plain = (b"A" * 32)[: 32 - len(ending)] + ending
        if plain[-1:] == b"\x01":
            continue
        wrong = provider.sm4_encrypt(key, plain, mode=mode, iv=iv, padding="none")  # type: ignore[arg-type]
        error = refused(lambda wrong=wrong: provider.sm4_decrypt(key, wrong, mode=mode, iv=iv))  # type: ignore[misc]
        texts.add((error.text, error.code, error.remedy))
    for wrong in (b"", bytes(15), bytes(17)):
        error = refused(lambda wrong=wrong: provider.sm4_decrypt(key, wrong, mode=mode, iv=iv))  # type: ignore[misc]
        texts.add((error.text, error.code, error.remedy))
    assert len(texts) == 1


def test_gcm_notices_everything(provider: Provider) -> None:
    key, iv, aad = bytes(16), bytes(12), b"head"
    sealed = provider.sm4_encrypt(key, b"some data", mode="gcm", iv=iv, aad=aad)
    wrong = [(bytes([*sealed[:at], sealed[at] ^ 128, *sealed[at + 1 :]]), iv, aad) for at in range(len(sealed))]
    wrong += [(sealed[:size], iv, aad) for size in range(len(sealed))]
    wrong += [(sealed, b"\1" + iv[1:], aad), (sealed, iv, b""), (sealed, iv, b"heaD"), (sealed + b"\0", iv, aad)]
    for data, nonce, head in wrong:
        error = refused(
            lambda data=data, nonce=nonce, head=head: provider.sm4_decrypt(key, data, mode="gcm", iv=nonce, aad=head)
        )  # type: ignore[misc]
        assert error.text == REFUSAL


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "cbc"},
        {"mode": "cbc", "iv": bytes(15)},
        {"mode": "ecb", "iv": bytes(16)},
        {"mode": "gcm", "iv": bytes(7)},
        {"mode": "ofb", "iv": bytes(16)},
        {"mode": "ecb", "padding": "pkcs5"},
        {"mode": "ecb", "aad": b"x"},
        {"mode": "ecb", "padding": "none"},
    ],
)
def test_wrong_options_are_refused(provider: Provider, options: dict[str, object]) -> None:
    assert refused(lambda: provider.sm4_encrypt(bytes(16), b"data", **options)).code == "crypto.option"  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_wrong_keys_are_refused(provider: Provider, size: int) -> None:
    assert refused(lambda: provider.sm4_encrypt(bytes(size), b"data", mode="ecb")).code == "crypto.option"
    assert refused(lambda: provider.sm4_decrypt(bytes(size), b"data", mode="ecb")).code == "crypto.option"


def test_a_stream_of_zeros_is_never_used(gmssl: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """GB/T 32918.4, 6.1, A5: for one byte it happens once in 256 times, and would send the byte as it is."""
    streams = iter([b"\0", b"\0", b"\x5a"])
    monkeypatch.setattr(type(gmssl), "sm3_kdf", lambda self, secret, length: next(streams))
    assert gmssl.sm2_encrypt(KEY.public, b"\x0f")[-1] == 0x0F ^ 0x5A


def test_keys_do_not_show_themselves() -> None:
    import copy
    import pickle

    for text in (repr(KEY), str(KEY), f"{KEY}"):
        assert KEY.secret().hex()[:8] not in text.lower()
        assert "***" in text
    for run in (lambda: pickle.dumps(KEY), lambda: copy.deepcopy(KEY)):
        with pytest.raises(TypeError):
            run()
