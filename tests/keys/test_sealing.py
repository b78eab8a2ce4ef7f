from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.keys.errors import KeysTampered
from hub.keys.sealing import CIPHERS, Suite

SUITES = {cipher: Suite(cipher, bytes(range(32))) for cipher in CIPHERS}
ciphers = st.sampled_from(CIPHERS)


@given(ciphers, st.binary(max_size=200), st.binary(max_size=50))
def test_what_is_sealed_opens(cipher: str, secret: bytes, bound: bytes) -> None:
    sealed = SUITES[cipher].seal(secret, bound)
    assert SUITES[cipher].open(sealed, bound) == secret
    assert len(sealed) == len(secret) + 28
    assert SUITES[cipher].seal(secret, bound) != sealed


@given(ciphers, st.binary(min_size=1, max_size=60), st.data())
def test_altered_anywhere_it_does_not_open(cipher: str, secret: bytes, data: st.DataObject) -> None:
    sealed = SUITES[cipher].seal(secret, b"bound")
    at = data.draw(st.integers(0, len(sealed) * 8 - 1))
    bad = bytearray(sealed)
    bad[at // 8] ^= 1 << at % 8
    with pytest.raises(KeysTampered):
        SUITES[cipher].open(bytes(bad), b"bound")


@given(ciphers, st.binary(max_size=60), st.data())
def test_cut_short_it_does_not_open(cipher: str, secret: bytes, data: st.DataObject) -> None:
    sealed = SUITES[cipher].seal(secret, b"bound")
    with pytest.raises(KeysTampered):
        SUITES[cipher].open(sealed[: data.draw(st.integers(0, len(sealed) - 1))], b"bound")


@given(ciphers, st.binary(max_size=30), st.binary(max_size=30))
def test_bound_to_something_else_it_does_not_open(cipher: str, bound: bytes, other: bytes) -> None:
    sealed = SUITES[cipher].seal(b"secret", bound)
    if bound != other:
        with pytest.raises(KeysTampered):
            SUITES[cipher].open(sealed, other)


@pytest.mark.parametrize("cipher", CIPHERS)
def test_under_another_root_key_it_does_not_open(cipher: str) -> None:
    sealed = SUITES[cipher].seal(b"secret", b"")
    with pytest.raises(KeysTampered):
        Suite(cipher, bytes(32)).open(sealed, b"")


def test_every_cipher_and_root_key_has_its_own_mac() -> None:
    macs = {SUITES["aes"].mac(b"x"), SUITES["sm4"].mac(b"x"), Suite("aes", bytes(32)).mac(b"x")}
    assert len(macs) == 3
    assert SUITES["sm4"].verify(b"x", SUITES["sm4"].mac(b"x"))
    assert not SUITES["sm4"].verify(b"y", SUITES["sm4"].mac(b"x"))
