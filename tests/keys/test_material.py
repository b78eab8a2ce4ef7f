from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from hub.crypto import load_sm2_private, load_sm2_public
from hub.keys import KeysError, material
from hub.keys.model import Kind, Policy
from hub.keys.orders import Orders
from hub.keys.store import KeyStore
from tests.keys.keys_support import DAY, NOW, certificate


@pytest.mark.parametrize(
    ("kind", "bits", "size"),
    [
        (Kind.DATA, 0, 32),
        (Kind.AES, 0, 32),
        (Kind.AES, 128, 16),
        (Kind.SM4, 0, 16),
        (Kind.HMAC, 0, 32),
        (Kind.HMAC, 512, 64),
    ],
)
def test_symmetric_keys(kind: Kind, bits: int, size: int) -> None:
    one, other = material.generate(kind, bits), material.generate(kind, bits)
    assert len(one.secret) == size
    assert one.secret != other.secret
    assert (one.public, len(one.fingerprint)) == (b"", 6)
    assert one.secret.hex() not in repr(one)


@pytest.mark.parametrize(("kind", "bits"), [(Kind.SM4, 256), (Kind.RSA, 1024), (Kind.AES, 64), (Kind.CERTIFICATE, 0)])
def test_what_is_too_weak_or_not_ours_is_not_made(kind: Kind, bits: int) -> None:
    with pytest.raises(KeysError):
        material.generate(kind, bits)


def test_sm2_pairs(store: KeyStore, orders: Orders) -> None:
    orders.generate("sign", Kind.SM2, "sign", policy=Policy())
    found = store.handle("sign").current()
    private = load_sm2_private(found.text().reveal())
    assert load_sm2_public(orders.export_public("sign")) == private.public
    assert found.public == private.public.spki()
    again = material.read(Kind.SM2, private.secret().hex().encode())
    assert (again.secret, again.public) == (found.secret, found.public)
    public = material.read(Kind.PUBLIC, private.public.hex().encode())
    assert (public.secret, public.public) == (b"", found.public)


def test_rsa_pairs_keep_their_strength(store: KeyStore, orders: Orders) -> None:
    orders.generate("sign", Kind.RSA, "sign", policy=Policy(), bits=2048)
    orders.rotate("sign")
    loaded = serialization.load_pem_private_key(store.handle("sign").current().text().encode(), None)
    assert isinstance(loaded, rsa.RSAPrivateKey)
    assert loaded.key_size == 2048
    public = serialization.load_pem_public_key(orders.export_public("sign", 2))
    assert public == loaded.public_key()
    assert orders.export_public("sign", 1) != orders.export_public("sign")


def test_an_encrypted_private_key_wants_its_password() -> None:
    key = serialization.load_pem_private_key(certificate(NOW)[1], None)
    encryption = serialization.BestAvailableEncryption(b"tiger")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    assert material.read(Kind.RSA, pem, password=b"tiger").secret
    for password in (None, b"lion"):
        with pytest.raises(KeysError, match="can't be read as a key of kind rsa"):
            material.read(Kind.RSA, pem, password=password)


def test_other_kinds_of_keys_are_refused() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with pytest.raises(KeysError, match="at least 2048 bits"):
        material.read(Kind.RSA, pem)


@pytest.mark.parametrize(
    ("kind", "data", "form", "secret"),
    [
        (Kind.SM4, b"0123456789abcdef", "text", b"0123456789abcdef"),
        (Kind.SM4, b"30313233343536373839616263646566\n", "hex", b"0123456789abcdef"),
        (Kind.AES, b"MDEyMzQ1Njc4OWFiY2RlZg==\n", "base64", b"0123456789abcdef"),
        (Kind.HMAC, b"0123456789\r\n", "text", b"0123456789"),
        (Kind.SECRET, "口令一二三\n".encode(), "text", "口令一二三".encode()),
    ],
)
def test_forms(kind: Kind, data: bytes, form: material.Form, secret: bytes) -> None:
    assert material.read(kind, data, form=form).secret == secret


@pytest.mark.parametrize(
    ("kind", "data", "form"),
    [
        (Kind.SM4, b"30313233343536373839616263646566", "text"),
        (Kind.SM4, b"zz", "hex"),
        (Kind.AES, b"%%", "base64"),
        (Kind.HMAC, b"short", "text"),
        (Kind.SECRET, b"\xff\xfe", "text"),
        (Kind.SECRET, b"\n", "text"),
        (Kind.DATA, bytes(32), "text"),
    ],
)
def test_what_does_not_fit_is_refused(kind: Kind, data: bytes, form: material.Form) -> None:
    with pytest.raises(KeysError):
        material.read(kind, data, form=form)


@given(st.sampled_from(list(Kind)), st.binary(max_size=300), st.sampled_from(["text", "hex", "base64"]))
def test_any_bytes(kind: Kind, data: bytes, form: material.Form) -> None:
    """Accepted or refused, and never repeated in the refusal."""
    told = ""
    try:
        material.read(kind, data, form=form)
    except KeysError as error:
        told = error.text + error.remedy
    assert len(data) < 7 or not data.isalnum() or data.decode() not in told


def test_certificates(store: KeyStore, orders: Orders) -> None:
    one, _ = certificate(NOW + 20 * DAY)
    two, _ = certificate(NOW + 300 * DAY)
    found = material.read(Kind.CERTIFICATE, one + two)
    assert found.expires_at == NOW + 20 * DAY
    version = orders.import_("peer", Kind.CERTIFICATE, "verify", found, policy=Policy())
    assert version.expires_at == NOW + 20 * DAY
    assert orders.export_public("peer") == one + two
    assert store.handle("peer").current().text().encode() == one + two
    with pytest.raises(KeysError):
        material.read(Kind.CERTIFICATE, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


def test_an_import_of_a_known_name_is_a_new_version(store: KeyStore, orders: Orders) -> None:
    first = material.read(Kind.SECRET, b"first")
    assert orders.import_("app", Kind.SECRET, "login", first, policy=Policy()).number == 1
    second = material.read(Kind.SECRET, b"second")
    assert orders.import_("app", Kind.SECRET, "login", second, policy=Policy(), pending=True).number == 2
    assert store.handle("app").current().text() == "first"
    orders.activate("app", 2)
    assert store.handle("app").current().text() == "second"
    with pytest.raises(KeysError, match="is of kind secret, not hmac"):
        orders.import_("app", Kind.HMAC, "login", material.generate(Kind.HMAC, 0), policy=Policy())
    with pytest.raises(KeysError, match="comes from the other party"):
        orders.rotate("app")
    assert len(store.content.versions["app"]) == 2


def test_a_private_key_leaves_only_sealed(store: KeyStore, orders: Orders, tmp_path: Path) -> None:
    orders.generate("sign", Kind.SM2, "sign", policy=Policy())
    pem, private = certificate(time.time() + 300 * DAY, "backup")
    with pytest.raises(KeysError, match="a reason is needed"):
        orders.export_private("sign", 1, pem, reason="")
    with pytest.raises(KeysError, match="not a certificate with an RSA key"):
        orders.export_private("sign", 1, b"nonsense", reason="move")
    before = len(store.journal())
    sealed = orders.export_private("sign", 1, pem, reason="move to the new site")
    assert b"PRIVATE KEY" not in sealed
    assert '"action":"keys.export"' in store.journal(before)[0]["entry"]
    assert "move to the new site" in store.journal(before)[0]["entry"]
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    (tmp_path / "sealed.pem").write_bytes(sealed)
    (tmp_path / "backup.key").write_bytes(private)
    command = ["openssl", "cms", "-decrypt", "-inform", "PEM", "-in", "sealed.pem", "-inkey", "backup.key"]
    opened = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout
    assert load_sm2_private(opened.decode()).public.spki() == store.content.version("sign", 1).public


def test_what_is_public_has_nothing_to_export_sealed(orders: Orders) -> None:
    found = material.read(Kind.CERTIFICATE, certificate(NOW + 300 * DAY)[0])
    orders.import_("peer", Kind.CERTIFICATE, "verify", found, policy=Policy())
    with pytest.raises(KeysError, match="has no secret"):
        orders.export_private("peer", 1, certificate(NOW + 300 * DAY)[0], reason="why not")
    orders.generate("mac", Kind.HMAC, "mac", policy=Policy())
    with pytest.raises(KeysError, match="no public part"):
        orders.export_public("mac")
