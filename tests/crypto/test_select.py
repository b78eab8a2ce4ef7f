"""Which provider is taken, and what the configuration may say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from hub.crypto import CryptoError, Sm2PrivateKey, provider, software, use
from hub.crypto.config import CryptoConfig, filled, placeholders

SIGN = {"path": "/sign", "body": {"key": "{key}", "data": "{data_base64}"}, "result": "data.value", "code": "code"}


@pytest.fixture(autouse=True)
def back_to_normal() -> Iterator[None]:
    use(None)
    yield
    use(None)


def test_the_fastest_in_memory_is_taken_and_made_once() -> None:
    assert provider().name == "openssl"
    assert provider() is provider() is provider("openssl") is software()


def test_without_openssl_gmssl_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.crypto.libcrypto._candidates", lambda: iter([]))
    use(CryptoConfig())
    assert provider().name == "gmssl"
    with pytest.raises(CryptoError) as caught:
        provider("openssl")
    assert "gmssl" in caught.value.remedy


def test_with_neither_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.crypto.libcrypto._candidates", lambda: iter([]))
    monkeypatch.setattr("hub.crypto.select.find_spec", lambda name: None)
    use(CryptoConfig())
    with pytest.raises(CryptoError) as caught:
        provider()
    assert caught.value.code == "crypto.openssl"
    with pytest.raises(CryptoError, match="gmssl"):
        provider("gmssl")


def test_libraries_that_are_none_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "libcrypto.so").write_bytes(b"\x7fELF but no library")
    use(CryptoConfig(provider="openssl", libcrypto="libcrypto.so"), tmp_path)
    with pytest.raises(CryptoError):
        provider()
    use(CryptoConfig(provider="openssl", libcrypto="missing.so"), tmp_path)
    with pytest.raises(CryptoError):
        provider()


def test_the_configured_one_is_taken_until_another_is_configured() -> None:
    use(CryptoConfig(provider="gmssl"))
    assert provider().name == "gmssl"
    assert software().name == "openssl"
    use(CryptoConfig())
    assert provider().name == "openssl"


def test_keys_outlive_a_change_of_provider() -> None:
    key = Sm2PrivateKey((5).to_bytes(32))
    signature = provider().sm2_sign(key, b"data")
    use(CryptoConfig(provider="gmssl"))
    assert provider().sm2_verify(key.public, b"data", signature)
    use(CryptoConfig())
    assert provider().sm2_verify(key.public, b"data", signature)


@pytest.mark.parametrize("name", ["pkcs11", "remote", "tongsuo"])
def test_what_is_not_configured_is_not_given(name: str) -> None:
    with pytest.raises(CryptoError) as caught:
        provider(name)
    assert caught.value.code == "crypto.provider"


@pytest.mark.parametrize(
    "wrong",
    [
        {"provider": "best"},
        {"provider": "pkcs11"},
        {"provider": "remote"},
        {"remote": {"url": "ftp://sign.example.org"}},
        {"remote": {"url": "https://user:word@sign.example.org"}},
        {"remote": {"url": "https://sign.example.org", "timeout": "0s"}},
        {"remote": {"url": "https://sign.example.org", "sm2_sign": {**SIGN, "body": {"data": "{secret}"}}}},
        {"remote": {"url": "https://sign.example.org", "sm2_sign": {**SIGN, "body": {"key": "{key}"}}}},
        {"remote": {"url": "https://sign.example.org", "sm2_sign": {**SIGN, "body": ["{data_hex}", "{digest_hex}"]}}},
        {"remote": {"url": "https://sign.example.org", "sm2_decrypt": {**SIGN, "body": {"d": "{digest_hex}"}}}},
        {"pkcs11": {"module": "m.so", "token": "t", "pin": "env:PIN", "mechanisms": {"sm9_sign": 1}}},
        {"pkcs11": {"module": "m.so", "token": "t", "pin": "env:PIN", "mechanisms": {"sm2_sign": -1}}},
        {"unknown": 1},
    ],
)
def test_configurations_that_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CryptoConfig.model_validate(wrong)


def test_a_template_is_filled_once() -> None:
    """What stands in a value is never taken for a placeholder."""
    template = {"a": "{key}", "b": ["x{user_id}y", 1, None], "c": {"d": "{data_hex}{nothing}"}}
    assert placeholders(template) == {"key", "user_id", "data_hex", "nothing"}
    values = {"key": "{data_hex}", "user_id": "{key}", "data_hex": "00"}
    assert filled(template, values) == {"a": "{data_hex}", "b": ["x{key}y", 1, None], "c": {"d": "00"}}
