"""How passwords are kept, and what they must be like."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.crypto import provider
from hub.people.config import LoginConfig, PasswordsConfig
from hub.people.errors import PeopleError
from hub.people.passwords import Passwords, check_password, strength_of, temporary_password
from hub.people.sealing import Sealing

POLICY = PasswordsConfig()


@pytest.fixture
def sealing(tmp_path: Path) -> Sealing:
    return Sealing(tmp_path)


def test_a_hash_opens_to_its_password_only(sealing: Sealing) -> None:
    passwords = Passwords(sealing, 10)
    stored = passwords.hash("Riverbank#1")
    assert passwords.verify("Riverbank#1", stored)
    assert not passwords.verify("Riverbank#2", stored)
    assert stored != passwords.hash("Riverbank#1")
    assert not passwords.outdated(stored)
    assert Passwords(sealing, 11).outdated(stored)


@pytest.mark.skipif("sm3" not in hashlib.algorithms_available, reason="this OpenSSL has no SM3")
def test_it_is_pbkdf2_as_others_compute_it(sealing: Sealing) -> None:
    import base64

    stored = Passwords(sealing, 12).hash("口令Abc#1")
    _, iterations, version, salt, wanted = stored.split("$")
    slow = hashlib.pbkdf2_hmac("sm3", "口令Abc#1".encode(), base64.b64decode(salt), int(iterations))
    assert hmac.new(sealing.pepper_of(version), slow, "sm3").digest() == base64.b64decode(wanted)


def test_without_the_key_outside_of_the_database_nothing_can_be_guessed(tmp_path: Path) -> None:
    one, other = Sealing(tmp_path / "one"), Sealing(tmp_path / "other")
    stored = Passwords(one, 10).hash("Riverbank#1")
    assert not Passwords(other, 10).verify("Riverbank#1", stored)


@given(st.text(max_size=80))
@settings(deadline=None)
def test_what_is_stored_may_be_damaged(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    passwords = Passwords(Sealing(tmp_path_factory.getbasetemp()), 10)
    assert not passwords.verify("x", text)
    assert not passwords.verify("x", f"pbkdf2-sm3$0$f$${text}")


class Keys:
    """A key store whose key is rotated."""

    def __init__(self) -> None:
        self.version = 1

    def current(self) -> tuple[int, bytes]:
        return self.version, bytes([self.version]) * 32

    def get(self, version: int) -> bytes:
        return bytes([version]) * 32


def test_a_key_that_is_rotated_goes_on_opening_what_it_sealed(tmp_path: Path) -> None:
    keys = Keys()
    sealing = Sealing(tmp_path, keys)
    passwords = Passwords(sealing, 10)
    stored, sealed = passwords.hash("Riverbank#1"), sealing.seal("张三", "name:zhang")
    keys.version = 2
    assert passwords.verify("Riverbank#1", stored)
    assert passwords.outdated(stored)
    assert sealing.open(sealed, "name:zhang") == "张三"
    with pytest.raises(PeopleError):
        sealing.open(sealed, "name:li")
    with pytest.raises(PeopleError):
        Sealing(tmp_path).open(sealed, "name:zhang")


@given(st.text(max_size=50), st.text(max_size=20))
def test_what_was_sealed_opens(tmp_path_factory: pytest.TempPathFactory, text: str, bound: str) -> None:
    sealing = Sealing(tmp_path_factory.getbasetemp(), Keys())
    assert sealing.open(sealing.seal(text, f"{bound!r}"), f"{bound!r}") == text


@given(st.binary(max_size=60))
def test_anything_else_does_not_open(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    sealing = Sealing(tmp_path_factory.getbasetemp(), Keys())
    if data:
        with pytest.raises(PeopleError):
            sealing.open(data, "x")


def test_hmac_is_that_of_others() -> None:
    if "sm3" in hashlib.algorithms_available:
        assert provider().hmac_sm3(b"k", b"d") == hmac.new(b"k", b"d", "sm3").digest()


# -- policy ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("password", "missing"),
    [
        ("Ab#4567", "8 to 32"),
        ("A1#" + "x7" * 15, "8 to 32"),
        ("12345678#", "letter"),
        ("Abcdefgh#", "digit"),
        ("Abcdefgh1", "special"),
        ("Abcdef1 #\x07", "can be seen"),
        ("xZhang#2026", "name"),
        ("aaaaaaa#1", "strength"),
    ],
)
def test_what_the_policy_misses_is_told(password: str, missing: str) -> None:
    with pytest.raises(PeopleError) as caught:
        check_password(password, POLICY, "zhang")
    assert missing in caught.value.text
    assert password not in caught.value.text


def test_what_the_policy_takes() -> None:
    check_password("Riverbank#7", POLICY, "zhang")
    check_password("a1#!xy", PasswordsConfig(length=6, strength="weak"), "zhang")
    check_password("河流与山川Ab7#x2", POLICY, "zhang")


@pytest.mark.parametrize(
    ("password", "strength"),
    [
        ("abc", "weak"),
        ("abcdefghijklmnop1", "weak"),
        ("aaaaaaaaaaaaa#A1", "weak"),
        ("kfjwmqpz", "weak"),
        ("kfjwmqp7z", "middle"),
        ("Kfj7wm#qpzx", "middle"),
        ("Kfj7wm#qtzxd", "strong"),
        ("", "weak"),
    ],
)
def test_strength(password: str, strength: str) -> None:
    assert strength_of(password) == strength


@given(
    st.integers(6, 32),
    st.integers(6, 32),
    st.sampled_from(["weak", "middle", "strong"]),
)
@settings(deadline=None)
def test_a_temporary_password_meets_its_policy(least: int, most: int, strength: str) -> None:
    if least > most or (strength != "weak" and most < {"middle": 10, "strong": 14}[strength]):
        return
    policy = PasswordsConfig(length=least, longest=most, strength=strength)  # type: ignore[arg-type]
    check_password(temporary_password(policy), policy, "nobody.of.this.name")


@pytest.mark.parametrize(
    ("model", "key", "wrong"),
    [
        (PasswordsConfig, "length", (5, 33)),
        (PasswordsConfig, "valid_days", (0, 366)),
        (PasswordsConfig, "change_days", (-1, 31)),
        (PasswordsConfig, "history", (0, 11)),
        (LoginConfig, "tries", (0, 11)),
        (LoginConfig, "lock", ("59m", "25h")),
        (LoginConfig, "keep_months", (5, 25)),
    ],
)
def test_the_limits_of_the_document(model: type, key: str, wrong: tuple[object, object]) -> None:
    for value in wrong:
        with pytest.raises(ValueError, match=key):
            model.model_validate({key: value})
