"""The PKCS#11 provider against SoftHSM 2.

SoftHSM has no SM2 and no SM4. What it has is tested for itself (AES keys that wrap, RSA and ECDSA signatures); that the maker's
numbers of a configuration reach the device, with the right bytes, is tested with numbers SoftHSM knows: ECDSA stands in for SM2, AES for SM4.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pkcs11 as cryptoki
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters
from pkcs11.util.rsa import encode_rsa_public_key

from hub.crypto import CryptoError, CryptoUnavailable, DeviceKey, Sm2PrivateKey, classic, software
from hub.crypto.config import CryptoConfig, Pkcs11Config
from hub.crypto.errors import cannot_decrypt
from hub.crypto.pkcs11 import DeviceMaster, Pkcs11Provider
from hub.crypto.select import provider, use
from tests.peers.process import need

pytestmark = [pytest.mark.peers, pytest.mark.xdist_group("softhsm")]

PIN = "654321"
TOKEN = "tongqu-test"
WRAPPING = bytes(range(32))
STANDING_IN = {
    "sm2_sign": 0x1041,
    "sm4_ecb": 0x1081,
    "sm4_cbc": 0x1082,
    "sm2_decrypt": 0x1081,
}  # CKM_ECDSA, AES_ECB, AES_CBC
_MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A token of its own with keys in it; SoftHSM reads its configuration once per process."""
    program = need("softhsm2-util", "softhsm2")
    found = [path for path in _MODULES if Path(path).exists()]
    assert found, "softhsm2-util is there, its module is not"
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    command = [program, "--init-token", "--free", "--label", TOKEN, "--pin", PIN, "--so-pin", "87654321"]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    _fill(found[0])
    yield found[0]
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before


def _fill(module: str) -> None:
    with cryptoki.lib(module).get_token(token_label=TOKEN).open(rw=True, user_pin=PIN) as session:
        secret = {
            cryptoki.Attribute.CLASS: cryptoki.ObjectClass.SECRET_KEY,
            cryptoki.Attribute.KEY_TYPE: cryptoki.KeyType.AES,
            cryptoki.Attribute.TOKEN: True,
            cryptoki.Attribute.ENCRYPT: True,
            cryptoki.Attribute.DECRYPT: True,
        }
        session.create_object({**secret, cryptoki.Attribute.LABEL: "master", cryptoki.Attribute.VALUE: WRAPPING})
        session.create_object({**secret, cryptoki.Attribute.LABEL: "data", cryptoki.Attribute.VALUE: bytes(16)})
        for _ in range(2):
            session.create_object({**secret, cryptoki.Attribute.LABEL: "twins", cryptoki.Attribute.VALUE: bytes(16)})
        session.generate_keypair(cryptoki.KeyType.RSA, 2048, label="rsa", store=True)
        curve = session.create_domain_parameters(
            cryptoki.KeyType.EC,
            {cryptoki.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")},
            local=True,
        )
        curve.generate_keypair(label="ec", store=True)


@pytest.fixture
def device(module: str, tmp_path: Path) -> Iterator[Callable[..., Pkcs11Provider]]:
    made: list[Pkcs11Provider] = []

    def make(pin: str = PIN, **options: Any) -> Pkcs11Provider:
        (tmp_path / "pin").write_text(pin)
        (tmp_path / "pin").chmod(0o600)
        values = {"module": module, "token": TOKEN, "pin": "file:pin", "mechanisms": STANDING_IN, **options}
        made.append(Pkcs11Provider(Pkcs11Config.model_validate(values), tmp_path, software()))
        return made[-1]

    yield make
    for one in made:
        one.close()


def _public(module: str, label: str) -> Any:
    with cryptoki.lib(module).get_token(token_label=TOKEN).open() as session:
        key = session.get_key(object_class=cryptoki.ObjectClass.PUBLIC_KEY, label=label)
        encoded = encode_rsa_public_key(key) if label == "rsa" else encode_ec_public_key(key)
    return serialization.load_der_public_key(encoded)


def test_what_softhsm_offers(device: Callable[..., Pkcs11Provider]) -> None:
    offered = device(mechanisms={}).operations()
    assert (offered["wrap"], offered["sign"]) == ("device", "device")
    assert offered["sm2_sign"] == offered["sm4"] == offered["sm3"] == "memory"
    offered = device(mechanisms={"sm2_sign": 0x80000101, "sm4_cbc": 0x80000102}).operations()
    assert offered["sm2_sign"] == offered["sm4"] == "memory"  # the device does not list these numbers
    assert device().operations()["sm2_sign"] == "device"


def test_master_keys_are_wrapped(device: Callable[..., Pkcs11Provider]) -> None:
    provider, key = device(), DeviceKey("master")
    secret = os.urandom(32)
    wrapped = provider.wrap(key, secret, b"purpose")
    assert provider.unwrap(key, wrapped, b"purpose") == secret
    assert classic.aes_decrypt(WRAPPING, wrapped[12:], mode="gcm", iv=wrapped[:12], aad=b"purpose") == secret
    assert provider.wrap(key, secret, b"purpose") != wrapped
    wrong = [
        wrapped[:-1],
        wrapped + b"\0",
        b"",
        bytes(60),
        bytes([wrapped[0] ^ 1]) + wrapped[1:],
        wrapped[:-1] + bytes([wrapped[-1] ^ 1]),
    ]
    for other in wrong:
        with pytest.raises(CryptoError) as caught:
            provider.unwrap(key, other, b"purpose")
        assert caught.value.text == cannot_decrypt().text
    with pytest.raises(CryptoError):
        provider.unwrap(key, wrapped, b"another purpose")
    with pytest.raises(CryptoError):
        provider.unwrap(DeviceKey("data"), wrapped, b"purpose")
    assert provider.unwrap(key, wrapped, b"purpose") == secret


def test_the_key_stores_master_key(device: Callable[..., Pkcs11Provider]) -> None:
    master = DeviceMaster(device(), "master")
    assert master.id == "pkcs11:master"
    assert master.unwrap(master.wrap(b"root key", "aes")) == b"root key"
    with pytest.raises(CryptoError):
        DeviceMaster(device(), "data").unwrap(master.wrap(b"root key", "sm4"))


@pytest.mark.parametrize(
    ("scheme", "name"), [("rsa-sha1", "pkcs1-sha1"), ("rsa-sha256", "pkcs1-sha256"), ("rsa-pss-sha256", "pss-sha256")]
)
def test_rsa_signatures(device: Callable[..., Pkcs11Provider], module: str, scheme: str, name: str) -> None:
    signature = device().sign(DeviceKey("rsa"), b"data", scheme)  # type: ignore[arg-type]
    public = _public(module, "rsa")
    assert isinstance(public, rsa.RSAPublicKey)
    assert classic.rsa_verify(public, b"data", signature, name)  # type: ignore[arg-type]


def test_ecdsa_signatures(device: Callable[..., Pkcs11Provider], module: str) -> None:
    provider, public = device(), _public(module, "ec")
    for number in range(20):  # halves with leading zeros and with the highest bit
        data = bytes([number])
        public.verify(provider.sign(DeviceKey("ec"), data, "ecdsa-sha256"), data, ec.ECDSA(hashes.SHA256()))
    with pytest.raises(InvalidSignature):
        public.verify(provider.sign(DeviceKey("ec"), b"data", "ecdsa-sha256"), b"Data", ec.ECDSA(hashes.SHA256()))


def test_the_makers_number_signs_the_digest(device: Callable[..., Pkcs11Provider], module: str) -> None:
    digest = os.urandom(32)
    raw = device().sm2_sign_digest(DeviceKey("ec"), digest, form="raw")
    signature = utils.encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    _public(module, "ec").verify(signature, digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))


def test_a_signature_of_another_key_is_not_passed_on(device: Callable[..., Pkcs11Provider]) -> None:
    declared = Sm2PrivateKey((7).to_bytes(32)).public
    with pytest.raises(CryptoError) as caught:
        device().sm2_sign(DeviceKey("ec", declared), b"data")
    assert caught.value.code == "crypto.pkcs11"
    with pytest.raises(CryptoError) as caught:
        device().sm2_sign(DeviceKey("ec"), b"data")  # Z needs the public key
    assert caught.value.code == "crypto.option"


def test_the_makers_numbers_encrypt(device: Callable[..., Pkcs11Provider]) -> None:
    provider, key = device(), DeviceKey("data")
    iv = bytes(range(16))
    ecb = provider.sm4_encrypt(key, b"some data", mode="ecb")
    cbc = provider.sm4_encrypt(key, b"some data" * 1000, mode="cbc", iv=iv)
    assert classic.aes_decrypt(bytes(16), ecb, mode="ecb") == b"some data" == provider.sm4_decrypt(key, ecb, mode="ecb")
    assert classic.aes_decrypt(bytes(16), cbc, iv=iv) == b"some data" * 1000 == provider.sm4_decrypt(key, cbc, iv=iv)
    with pytest.raises(CryptoError) as caught:
        provider.sm4_decrypt(key, cbc[:-16], iv=iv)
    assert caught.value.text == cannot_decrypt().text
    with pytest.raises(CryptoError) as caught:
        provider.sm4_encrypt(key, b"some data", mode="gcm", iv=bytes(12))
    assert caught.value.code == "crypto.not_offered"


def test_a_makers_own_number_reaches_the_device(device: Callable[..., Pkcs11Provider]) -> None:
    """SoftHSM knows none: it says so itself."""
    provider = device(mechanisms={"sm2_sign": 0x80000101, "sm4_ecb": 0xFFFFFFFE})
    for run in (
        lambda: provider.sm2_sign_digest(DeviceKey("ec"), bytes(32)),
        lambda: provider.sm4_encrypt(DeviceKey("data"), b"data", mode="ecb"),
    ):
        with pytest.raises(CryptoError, match="MechanismInvalid"):
            run()


def test_without_a_number_nothing_is_offered(device: Callable[..., Pkcs11Provider]) -> None:
    provider = device(mechanisms={})
    for run in (
        lambda: provider.sm2_sign_digest(DeviceKey("ec"), bytes(32)),
        lambda: provider.sm2_decrypt(
            DeviceKey("ec"), software().sm2_encrypt(Sm2PrivateKey((7).to_bytes(32)).public, b"x")
        ),
        lambda: provider.sm4_encrypt(DeviceKey("data"), b"data", mode="ecb"),
    ):
        with pytest.raises(CryptoError) as caught:
            run()
        assert caught.value.code == "crypto.not_offered"


def test_keys_in_memory_stay_in_memory(device: Callable[..., Pkcs11Provider]) -> None:
    provider = device()
    key = provider.sm2_generate()
    assert provider.sm2_verify(key.public, b"data", provider.sm2_sign(key, b"data"))
    assert provider.sm2_decrypt(key, provider.sm2_encrypt(key.public, b"data")) == b"data"
    assert provider.sm4_decrypt(bytes(16), provider.sm4_encrypt(bytes(16), b"data", mode="ecb"), mode="ecb") == b"data"


def test_labels_that_name_none_or_several(device: Callable[..., Pkcs11Provider]) -> None:
    provider = device()
    for label in ("missing", "twins"):
        with pytest.raises(CryptoError) as caught:
            provider.wrap(DeviceKey(label), b"data")
        assert not isinstance(caught.value, CryptoUnavailable)
    assert provider.unwrap(DeviceKey("master"), provider.wrap(DeviceKey("master"), b"data")) == b"data"


def test_a_wrong_pin_is_offered_once(device: Callable[..., Pkcs11Provider], monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices lock themselves after a few."""
    provider = device(pin="999999")
    asked: list[str] = []
    resolve = __import__("hub.secrets", fromlist=["resolve"]).resolve
    monkeypatch.setattr("hub.crypto.pkcs11.resolve", lambda *arguments: (asked.append("pin"), resolve(*arguments))[1])
    for _ in range(20):
        with pytest.raises(CryptoError) as caught:
            provider.wrap(DeviceKey("master"), b"data")
        assert caught.value.code == "crypto.pin"
        assert "999999" not in caught.value.text + caught.value.remedy
    assert asked == ["pin"]
    assert device().unwrap(DeviceKey("master"), device().wrap(DeviceKey("master"), b"data")) == b"data"


def test_a_token_that_is_not_there_may_come(device: Callable[..., Pkcs11Provider]) -> None:
    provider = device(token="another")
    with pytest.raises(CryptoUnavailable):
        provider.wrap(DeviceKey("master"), b"data")
    with pytest.raises(CryptoError):
        device(module="missing.so").wrap(DeviceKey("master"), b"data")


def test_a_lost_session_is_opened_again(device: Callable[..., Pkcs11Provider]) -> None:
    provider, key = device(), DeviceKey("master")
    wrapped = provider.wrap(key, b"data")
    assert provider._session is not None
    provider._session.close()  # as after a restart of the device: the handle means nothing any more
    assert provider.unwrap(key, wrapped) == b"data"


def test_two_providers_share_the_login(device: Callable[..., Pkcs11Provider]) -> None:
    """A process logs in once: that the old provider is still in use when the configuration is read anew must not matter."""
    old, new, key = device(), device(), DeviceKey("master")
    wrapped = old.wrap(key, b"data")
    assert new.unwrap(key, wrapped) == b"data"
    old.close()  # logs the whole process out
    assert new.wrap(DeviceKey("data"), b"data")  # a key that was not looked for before
    old.close()
    assert new.unwrap(key, wrapped) == b"data"
    assert old.unwrap(key, wrapped) == b"data"


def test_many_threads(device: Callable[..., Pkcs11Provider]) -> None:
    provider, key = device(), DeviceKey("master")

    def work(number: int) -> bool:
        data = os.urandom(32)
        return (
            provider.unwrap(key, provider.wrap(key, data)) == data
            and len(provider.sign(DeviceKey("ec"), data, "ecdsa-sha256")) > 60
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(80)))


def test_as_the_configured_provider(module: str, tmp_path: Path) -> None:
    (tmp_path / "pin").write_text(PIN)
    (tmp_path / "pin").chmod(0o600)
    part = Pkcs11Config(module=module, token=TOKEN, pin="file:pin")
    try:
        use(CryptoConfig(provider="pkcs11", pkcs11=part), tmp_path)
        found = provider()
        assert isinstance(found, Pkcs11Provider)
        assert found is provider()
        assert found.blocking
        assert found.unwrap(DeviceKey("master"), found.wrap(DeviceKey("master"), b"data")) == b"data"
        found.close()
    finally:
        use(None)


@pytest.mark.parametrize(("form", "size"), [("raw04", 159), ("raw", 160), ("der", 148)])
def test_the_device_gets_the_ciphertext_in_the_configured_form(
    device: Callable[..., Pkcs11Provider], module: str, form: str, size: int
) -> None:
    """RSA without padding stands in for the maker's SM2: raising what comes back to e shows which bytes the device was given."""
    key = Sm2PrivateKey((7).to_bytes(32))
    public = _public(module, "rsa").public_numbers()
    while True:
        ciphertext = software().sm2_encrypt(key.public, os.urandom(size), form="der" if form == "der" else "raw")
        expected = ciphertext[1:] if form == "raw" else ciphertext
        if len(expected) == 256 and int.from_bytes(expected) < public.n:
            break
    provider = device(sm2_ciphertext=form, mechanisms={"sm2_decrypt": 0x3})  # CKM_RSA_X_509
    back = provider.sm2_decrypt(DeviceKey("rsa"), ciphertext, form="der" if form == "der" else "raw")
    assert pow(int.from_bytes(back), public.e, public.n).to_bytes(256) == expected
