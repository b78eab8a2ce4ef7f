"""Fields under a key, differences on a screen, and the keys of a deployment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.config import load_config
from hub.crypto import provider
from hub.diff import Change, diff_bytes, diff_trees
from hub.errors import HubError
from hub.keys.model import Kind
from hub.keys.opened import close_key_store, folder_of, key_store, master_source, usual_policy
from hub.keys.orders import Orders
from hub.keys.store import KeyStore
from hub.node import salt_of
from hub.privacy import Policy, fields, site
from hub.privacy.screen import Screen
from tests.privacy.planted import message_of, person_of


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyStore]:
    monkeypatch.setattr(site, "_place", site._place)
    monkeypatch.setattr(site, "_policy", site._policy)
    file = tmp_path / "config" / "hub.yaml"
    file.parent.mkdir()
    file.write_text("keys: {path: ../keys, master: 'file:../master.key'}\n", "utf-8")
    config = load_config(file).hub
    KeyStore.create(folder_of(config.keys, file.parent), master_source(config.keys.master, file.parent))
    site.use(file, config)
    store = key_store(config.keys, file.parent)
    orders = Orders(store, actor="li")
    for name, kind in (("partner", Kind.SM4), ("western", Kind.AES), ("wrong", Kind.HMAC)):
        orders.generate(name, kind, "field", policy=usual_policy(config.keys))
    yield store
    close_key_store(config.keys, file.parent)


@pytest.mark.parametrize("key", ["partner", "western"])
@pytest.mark.parametrize("value", ["张三丰", "x", "11010519491231002X", "😀" * 500])
def test_what_was_encrypted_comes_back(keys: KeyStore, key: str, value: str) -> None:
    first, second = fields.encrypt(key, value), fields.encrypt(key, value)
    assert first != second
    assert first.isascii()
    assert len(value) == 1 or value not in first
    assert fields.decrypt(key, first) == fields.decrypt(key, second) == value


def test_after_a_rotation_the_old_opens_and_the_new_seals(keys: KeyStore) -> None:
    old = fields.encrypt("partner", "张三丰")
    Orders(keys, actor="li").rotate("partner")
    new = fields.encrypt("partner", "张三丰")
    assert (old.split(".")[1], new.split(".")[1]) == ("1", "2")
    assert fields.decrypt("partner", old) == fields.decrypt("partner", new) == "张三丰"


def test_the_format_is_what_is_documented(keys: KeyStore) -> None:
    """Opened by hand, without the code that made it."""
    import base64

    sign, version, body = fields.encrypt("partner", "张三丰").split(".")
    assert (sign, version) == ("f1", "1")
    sealed = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    secret = keys.handle("partner").current().secret
    plain = provider().sm4_decrypt(secret, sealed[12:], mode="gcm", iv=sealed[:12], aad=b"tongqu field partner")
    assert plain.decode() == "张三丰"


@pytest.mark.parametrize("key", ["partner", "western"])
def test_what_was_altered_is_refused(keys: KeyStore, key: str) -> None:
    good = fields.encrypt(key, "张三丰")
    other = fields.encrypt("western" if key == "partner" else "partner", "张三丰")
    last = "A" if good[-1] != "A" else "B"
    middle = "A" if good[20] != "A" else "B"
    for bad in (
        "",
        "f1",
        "f1.1.",
        "f2" + good[2:],
        good[:20] + middle + good[21:],
        good[:-4],
        other,
        "张三丰",
        "f1.1.AAAA",
        f"{good}{last}!",
    ):
        with pytest.raises(HubError) as caught:
            fields.decrypt(key, bad)
        assert caught.value.code == "privacy.field"
        assert "张三丰" not in str(caught.value)
    with pytest.raises(HubError):
        fields.decrypt(key, good.replace("f1.1.", "f1.99."))


def test_a_key_of_another_kind_or_none(keys: KeyStore) -> None:
    with pytest.raises(HubError) as caught:
        fields.encrypt("wrong", "x")
    assert caught.value.code == "privacy.key_kind"
    with pytest.raises(HubError):
        fields.encrypt("unknown", "x")
    with pytest.raises(HubError) as caught:
        fields.mask_as("nonsense", "x")
    assert caught.value.code == "privacy.class"
    assert fields.mask_as("phone", "13812345678") == "138****5678"
    assert fields.pseudonym("phone", "13812345678") == fields.pseudonym("phone", "13812345678")


def test_without_a_key_store_there_are_no_pseudonyms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "_place", None)
    with pytest.raises(HubError) as caught:
        site.pseudonyms()
    assert caught.value.code == "privacy.no_keys"
    assert site.search_key() is None
    assert salt_of(tmp_path) == (tmp_path / "index.salt").read_bytes()


def test_business_keys_are_hashed_with_the_key_store_unless_they_were_before(keys: KeyStore, tmp_path: Path) -> None:
    fresh, old = tmp_path / "fresh", tmp_path / "old"
    fresh.mkdir()
    old.mkdir()
    (old / "index.salt").write_bytes(b"s" * 32)
    (old / "index.salt").chmod(0o600)
    assert salt_of(fresh) == keys.data_keys("search").current()[1]
    assert not (fresh / "index.salt").exists()
    assert salt_of(old) == b"s" * 32


# -- differences ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def seen(policy: Policy) -> Screen:
    return Screen(policy, policy.view())


@pytest.mark.parametrize("codec", ["hl7v2", "json", "fhir", "cda", "xml"])
def test_differences_show_no_person(seen: Screen, codec: str) -> None:
    one, other = person_of(21), person_of(22)
    bodies = message_of(codec, one), message_of(codec, other)
    changes = diff_bytes(*bodies, codec)
    assert changes
    told = repr([(c.path, c.old, c.new) for c in seen.changes(changes, codec, bodies)])
    leaks = [value for person in (one, other) for value in person.planted if value in told]
    assert leaks == []


@pytest.mark.parametrize("codec", ["hl7v2", "json", "fhir", "cda", "xml"])
def test_neither_does_what_was_added_or_removed(seen: Screen, codec: str) -> None:
    person = person_of(23)
    empty = {"hl7v2": b"MSH|^~\\&|HIS|H|HUB|H|1||ADT^A01|M1|P|2.5.1", "json": b"{}", "fhir": b"{}"}.get(
        codec, b"<other/>"
    )
    raw = message_of(codec, person)
    changes = diff_bytes(raw, empty, codec)
    told = repr([(c.path, c.old, c.new) for c in seen.changes(changes, codec, [raw, empty])])
    assert [value for value in person.planted if value in told] == []


def test_values_that_look_the_same_are_told_apart(seen: Screen) -> None:
    (change,) = seen.changes([Change("PID-5.1", "changed", "张三", "张四")])
    assert change.old != change.new
    assert change.old.startswith("张* #")
    plain = [Change("PID-8", "changed", "M", "F"), Change("amount", "changed", 1, 2)]
    assert seen.changes(plain) == plain
    (nested,) = seen.changes(diff_trees({"a": {"patient": {"name": "张三"}}}, {"a": {"patient": {"name": "李四"}}}))
    assert (nested.old, nested.new) == ("张*", "李*")


def test_business_keys_on_a_screen(seen: Screen) -> None:
    keys = {
        "patient_id": "P1",
        "name": "张三丰",
        "id_number": "h:0123456789abcdef",
        "odd": "abcdefgh",
        "phone": "13812345678",
    }
    assert seen.keys(keys) == {
        "patient_id": "P1",
        "name": "张**",
        "id_number": "h:0123456789abcdef",
        "odd": "ab****gh",
        "phone": "138****5678",
    }
