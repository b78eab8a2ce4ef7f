"""The remote provider against a signature server in a process of its own."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hub.crypto import CryptoError, CryptoUnavailable, DeviceKey, software
from hub.crypto.config import RemoteConfig
from hub.crypto.errors import cannot_decrypt
from hub.crypto.remote import RemoteProvider
from tests.adapters.certificates import Authority
from tests.crypto.sign_server import KEY, TOKEN, sign_server

DEVICE_KEY = DeviceKey("hospital-sign", KEY.public)
_CODES = {"code": "code", "success": [0], "transient": [5003]}
SIGN = {
    "path": "/sign",
    "body": {"key": "{key}", "id": "{user_id_hex}", "data": "{data_base64}"},
    "result": "data.value",
    **_CODES,
}
DIGEST = {
    "path": "/sign-digest",
    "body": {"key": "{key}", "data": "{digest_base64}"},
    "result": "data.hex",
    "encoding": "hex",
    "form": "raw",
    **_CODES,
}
DECRYPT = {
    "path": "/decrypt",
    "body": {"key": "{key}", "data": "{data_base64}"},
    "result": "data.value",
    "form": "raw",
    "order": "c1c2c3",
    **_CODES,
}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with sign_server() as found:
        yield found


@pytest.fixture
def remote(address: str, tmp_path: Path) -> Iterator[Callable[..., RemoteProvider]]:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    made = []

    def make(**options: Any) -> RemoteProvider:
        values = {
            "url": f"{address}/api",
            "headers": {"Authorization": "file:token"},
            "sm2_sign": SIGN,
            "sm2_decrypt": DECRYPT,
        }
        provider = RemoteProvider(RemoteConfig.model_validate({**values, **options}), tmp_path, software())
        made.append(provider)
        return provider

    behave(address, "")
    yield make
    for provider in made:
        provider.close()


def behave(address: str, behaviour: str) -> dict[str, Any]:
    body = json.dumps({"behaviour": behaviour}).encode()
    request = urllib.request.Request(f"{address}/api/behave", body, {"Authorization": TOKEN}, method="POST")
    with urllib.request.urlopen(request, timeout=10) as reply:
        found: dict[str, Any] = json.load(reply)
        return found


def test_a_server_that_takes_the_data(remote: Callable[..., RemoteProvider]) -> None:
    provider = remote()
    for form in ("der", "raw"):
        signature = provider.sm2_sign(DEVICE_KEY, b"data", user_id=b"hospital", form=form)  # type: ignore[arg-type]
        assert software().sm2_verify(KEY.public, b"data", signature, user_id=b"hospital", form=form)  # type: ignore[arg-type]
    with pytest.raises(CryptoError) as caught:
        provider.sm2_sign_digest(DEVICE_KEY, bytes(32))
    assert caught.value.code == "crypto.not_offered"


def test_a_server_that_takes_the_digest(remote: Callable[..., RemoteProvider]) -> None:
    provider = remote(sm2_sign=DIGEST)
    signature = provider.sm2_sign(DEVICE_KEY, b"data", user_id=b"hospital")
    assert software().sm2_verify(KEY.public, b"data", signature, user_id=b"hospital")
    signature = provider.sm2_sign_digest(DeviceKey("hospital-sign"), bytes(32))
    assert software().sm2_verify_digest(KEY.public, bytes(32), signature)


def test_decryption(remote: Callable[..., RemoteProvider]) -> None:
    provider = remote()
    for order in ("c1c3c2", "c1c2c3"):
        ciphertext = software().sm2_encrypt(KEY.public, b"sixteen letters.", order=order)  # type: ignore[arg-type]
        assert provider.sm2_decrypt(DEVICE_KEY, ciphertext, order=order) == b"sixteen letters."  # type: ignore[arg-type]


def test_keys_in_memory_stay_here(remote: Callable[..., RemoteProvider], address: str) -> None:
    provider = remote()
    behave(address, "500")
    key = provider.sm2_generate()
    assert provider.sm2_verify(key.public, b"data", provider.sm2_sign(key, b"data"))
    assert provider.sm2_decrypt(key, provider.sm2_encrypt(key.public, b"data")) == b"data"
    assert provider.sm4_decrypt(bytes(16), provider.sm4_encrypt(bytes(16), b"data", mode="ecb"), mode="ecb") == b"data"
    assert provider.sm3(b"abc") == software().sm3(b"abc")


def test_what_is_offered(remote: Callable[..., RemoteProvider]) -> None:
    offered = remote(sm2_decrypt=None).operations()
    assert (offered["sm2_sign"], offered["sm2_decrypt"], offered["sm3"]) == ("server", "memory", "memory")
    provider = remote(sm2_decrypt=None)
    with pytest.raises(CryptoError) as caught:
        provider.sm2_decrypt(DEVICE_KEY, software().sm2_encrypt(KEY.public, b"data"))
    assert caught.value.code == "crypto.not_offered"
    with pytest.raises(CryptoError):
        provider.sm4_encrypt(DEVICE_KEY, b"data", mode="ecb")


@pytest.mark.parametrize("behaviour", ["500", "502", "503", "429", "408", "close", 'reply {"code": 5003}'])
def test_what_may_be_better_later(remote: Callable[..., RemoteProvider], address: str, behaviour: str) -> None:
    provider = remote()
    behave(address, behaviour)
    with pytest.raises(CryptoUnavailable) as caught:
        provider.sm2_sign(DEVICE_KEY, b"data")
    assert caught.value.code == "crypto.unavailable"
    behave(address, "")
    assert provider.sm2_sign(DEVICE_KEY, b"data")


@pytest.mark.parametrize(
    "behaviour",
    [
        "400",
        "404",
        "302",
        "garbage",
        "huge",
        "deep",
        "other key",
        "reply []",
        "reply null",
        'reply {"code": 4001, "message": "张三"}',
        'reply {"code": true, "data": {"value": "AAAA"}}',
        'reply {"code": 0}',
        'reply {"code": 0, "data": {"value": "not base64"}}',
        'reply {"code": 0, "data": {"value": "AAAA"}}',
        'reply {"code": 0, "data": {"value": ["AAAA"]}}',
        'reply {"code": "' + "9" * 100 + '"}',
    ],
)
def test_what_will_not_be_better_later(remote: Callable[..., RemoteProvider], address: str, behaviour: str) -> None:
    provider = remote()
    behave(address, behaviour)
    with pytest.raises(CryptoError) as caught:
        provider.sm2_sign(DEVICE_KEY, b"data")
    assert not isinstance(caught.value, CryptoUnavailable)
    for secret in ("张三", TOKEN, "secret of the server", "9999999999"):
        assert secret not in caught.value.text


def test_an_answer_of_the_wrong_length_is_no_decryption(remote: Callable[..., RemoteProvider], address: str) -> None:
    provider = remote()
    ciphertext = software().sm2_encrypt(KEY.public, b"sixteen letters.")
    behave(address, 'reply {"code": 0, "data": {"value": "AAAA"}}')
    with pytest.raises(CryptoError) as caught:
        provider.sm2_decrypt(DEVICE_KEY, ciphertext)
    assert caught.value.text == cannot_decrypt().text


def test_a_server_that_hangs(remote: Callable[..., RemoteProvider], address: str) -> None:
    provider = remote(timeout="200ms")
    behave(address, "hang")
    with pytest.raises(CryptoUnavailable):
        provider.sm2_sign(DEVICE_KEY, b"data")


def test_no_server(remote: Callable[..., RemoteProvider]) -> None:
    provider = remote(url="http://127.0.0.1:9/api")
    with pytest.raises(CryptoUnavailable):
        provider.sm2_sign(DEVICE_KEY, b"data")


def test_without_the_right_token_nothing_is_signed(remote: Callable[..., RemoteProvider]) -> None:
    with pytest.raises(CryptoError) as caught:
        remote(headers={}).sm2_sign(DEVICE_KEY, b"data")
    assert "401" in caught.value.text


def test_connections_are_kept_and_shared_by_threads(remote: Callable[..., RemoteProvider], address: str) -> None:
    before = behave(address, "")["connections"]
    provider = remote(connections=2)
    with ThreadPoolExecutor(6) as pool:
        signatures = list(pool.map(lambda number: provider.sm2_sign(DEVICE_KEY, bytes([number])), range(60)))
    for number, signature in enumerate(signatures):
        assert software().sm2_verify(KEY.public, bytes([number]), signature)
    assert behave(address, "")["connections"] - before <= 4  # two of the pool, two of ``behave``


def test_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    authority.issue("server", "localhost")
    authority.issue("elsewhere", "elsewhere.example.org")
    Authority(tmp_path, "other")
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    for name, ca, good in (("server", "ca.pem", True), ("server", "other.pem", False), ("elsewhere", "ca.pem", False)):
        both = tmp_path / f"{name}-both.pem"
        both.write_bytes((tmp_path / f"{name}.key").read_bytes() + (tmp_path / f"{name}.pem").read_bytes())
        with sign_server(both) as url:
            values = {"url": f"{url}/api", "ca": ca, "headers": {"Authorization": "file:token"}, "sm2_sign": SIGN}
            provider = RemoteProvider(RemoteConfig.model_validate(values), tmp_path, software())
            if good:
                assert provider.sm2_sign(DEVICE_KEY, b"data")
            else:
                with pytest.raises(CryptoUnavailable):
                    provider.sm2_sign(DEVICE_KEY, b"data")
            provider.close()
    for missing in ({"ca": "none.pem"}, {"certificate": "none.pem"}):
        config = RemoteConfig.model_validate({"url": "https://localhost:1", **missing})
        with pytest.raises(CryptoError):
            RemoteProvider(config, tmp_path, software())
