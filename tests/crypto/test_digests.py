"""SM3 where Python's own OpenSSL has it and where it has not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.crypto import digests
from hub.crypto.digests_slow import CryptographyHash


@pytest.fixture(params=[True, False], ids=["hashlib", "cryptography"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(digests, "_FAST", request.param)
    return bool(request.param)


def test_published_vectors(either: bool) -> None:
    assert digests.sm3_hex(b"abc") == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
    assert digests.sm3(b"").hex() == "1ab21d8355cfa17f8e61194831e81a8f22bec8c728fefb747ed035eb5082aa2b"
    mac = digests.hmac_sm3(b"Jefe", b"what do ya want for nothing?").hex()
    assert mac == "2e87f1d16862e6d964b50a5200bf2b10b764faa9680a296a2405f24bec39f882"


def test_a_running_hash_can_be_copied_and_asked_twice(either: bool) -> None:
    one = digests.sm3_hash(b"a")
    two = one.copy()
    one.update(b"b")
    two.update(b"bc")
    assert one.digest() == one.digest() == digests.sm3(b"ab")
    assert two.digest() == digests.sm3(b"abc")


def test_the_other_is_chosen_where_python_has_no_sm3(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, data: bytes = b"") -> Any:
        raise ValueError(f"unsupported hash type {name}")

    assert digests._in_hashlib() in (True, False)
    monkeypatch.setattr("hashlib.new", refuse)
    assert not digests._in_hashlib()


@settings(max_examples=50)
@given(st.binary(max_size=300))
def test_both_agree(data: bytes) -> None:
    assert CryptographyHash(data).digest() == digests.sm3(data)
