"""The key store as one process uses it."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

import pytest

from hub.errors import HubError
from hub.keys import KeysError, KeysLocked, KeyUnavailable
from hub.keys.model import Kind, Policy, State
from hub.keys.orders import Orders
from hub.keys.store import KeyStore
from tests.keys.conftest import Open
from tests.keys.keys_support import DAY, Clock, source


def test_data_keys_are_made_when_first_asked_for(reopen: Open) -> None:
    ring = reopen().data_keys("store")
    with pytest.raises(KeyUnavailable, match="there is no key 'store'"):
        ring.get(1)  # a lost key store does not open what it sealed with a key made just now
    version, secret = ring.current()
    assert (version, len(secret)) == (1, 32)
    assert ring.get(1) == secret
    again = reopen().data_keys("store")
    assert again.current() == (1, secret)
    assert reopen().data_keys("pseudonym").current()[1] != secret
    with pytest.raises(KeyUnavailable, match="no version 2"):
        ring.get(2)


def test_a_rotated_data_key_seals_and_the_old_one_opens(store: KeyStore, orders: Orders, clock: Clock) -> None:
    ring = store.data_keys("store")
    _, one = ring.current()
    orders.rotate("store")
    version, two = ring.current()
    assert version == 2
    assert two != one
    clock.pass_days(4000)
    assert ring.get(1) == one
    assert ring.current() == (2, two)  # past its validity: told, but nothing stops


def test_the_hub_rotates_its_own_keys_when_due(store: KeyStore, orders: Orders, clock: Clock) -> None:
    store.data_keys("store").current()
    store.data_keys("pseudonym").current()
    orders.generate("sign", Kind.HMAC, "sign", policy=Policy())
    clock.pass_days(89)
    assert orders.rotate_due() == []
    clock.pass_days(1)
    assert [(v.name, v.number, v.state) for v in orders.rotate_due()] == [("store", 2, State.ACTIVE)]
    assert orders.rotate_due() == []
    last = json.loads(store.journal()[-1]["entry"])
    assert (last["action"], last["subject"], last["reason"]) == ("keys.rotate", "store", "policy")


def test_pseudonym_keys_want_a_reason(store: KeyStore, orders: Orders) -> None:
    ring = store.data_keys("pseudonym")
    ring.current()
    with pytest.raises(KeysError, match="breaks every comparison"):
        orders.rotate("pseudonym")
    assert ring.current()[0] == 1
    orders.rotate("pseudonym", reason="all pseudonyms are made anew tonight")
    assert ring.current()[0] == 2


def test_a_name_that_is_taken_is_no_data_key(store: KeyStore, orders: Orders) -> None:
    orders.generate("store", Kind.AES, "encrypt", policy=Policy())
    with pytest.raises(KeysError, match="not the hub's own data key"):
        store.data_keys("store").current()


def test_overlap(store: KeyStore, orders: Orders, clock: Clock) -> None:
    orders.generate("mac", Kind.HMAC, "mac", owner="his", policy=Policy(overlap_days=7))
    handle = store.handle("mac", purpose="mac", system="his")
    one = handle.current()
    orders.rotate("mac")
    two = handle.current()
    assert (one.version, two.version) == (1, 2)
    assert [m.version for m in handle.candidates()] == [2, 1]
    assert handle.version(1).secret == one.secret
    assert handle.version(1).state is State.RETIRING
    clock.pass_days(7)
    assert [m.version for m in handle.candidates()] == [2]
    with pytest.raises(KeyUnavailable, match="can't be used any more"):
        handle.version(1)


def test_a_pending_version_is_used_for_nothing_until_it_is_activated(store: KeyStore, orders: Orders) -> None:
    orders.generate("mac", Kind.HMAC, "mac", policy=Policy())
    handle = store.handle("mac")
    orders.rotate("mac", pending=True)
    assert handle.current().version == 1
    assert [m.version for m in handle.candidates()] == [1]
    with pytest.raises(KeyUnavailable):
        handle.version(2)
    orders.activate("mac", 2)
    assert handle.current().version == 2
    with pytest.raises(KeysError, match="mac@2 is active, not pending"):
        orders.activate("mac", 2)


def test_validity(store: KeyStore, orders: Orders, clock: Clock) -> None:
    orders.generate("mac", Kind.HMAC, "mac", policy=Policy(validity_days=30, rotate_days=30))
    orders.generate("app", Kind.HMAC, "login", policy=Policy(validity_days=30, rotate_days=30, expired="alert"))
    clock.pass_days(30)
    with pytest.raises(KeyUnavailable, match="mac@1 has expired") as caught:
        store.handle("mac").current()
    assert caught.value.remedy == "hub keys rotate mac"
    assert store.handle("mac").version(1).version == 1  # what is in flight still opens
    assert store.handle("app").current().version == 1
    orders.rotate("mac")
    assert store.handle("mac").current().version == 2


def test_the_life_of_a_version(store: KeyStore, orders: Orders) -> None:
    orders.generate("mac", Kind.HMAC, "mac", policy=Policy())
    handle = store.handle("mac")
    orders.retire("mac", 1)
    with pytest.raises(KeyUnavailable, match="no active version"):
        handle.current()
    assert handle.version(1).version == 1
    orders.retire("mac", 1, opens_days=0)
    with pytest.raises(KeyUnavailable):
        handle.version(1)
    orders.rotate("mac")
    with pytest.raises(KeysError, match="a reason is needed"):
        orders.revoke("mac", 2, reason=" ")
    orders.revoke("mac", 2, reason="stolen")
    with pytest.raises(KeyUnavailable):
        handle.version(2)
    with pytest.raises(KeysError, match="mac@2 is revoked"):
        orders.retire("mac", 2)
    assert store.content.version("mac", 2).sealed
    orders.destroy("mac", 2, reason="stolen")
    assert store.content.version("mac", 2).sealed == b""
    with pytest.raises(KeyUnavailable):
        handle.version(2)
    with pytest.raises(KeysError, match="mac@2 is destroyed"):
        orders.revoke("mac", 2, reason="again")


def test_the_active_version_is_not_destroyed(store: KeyStore, orders: Orders) -> None:
    store.data_keys("store").current()
    with pytest.raises(KeysError, match="store@1 is active"):
        orders.destroy("store", 1, reason="tidy")


def test_an_end_for_what_opens_the_hubs_own_data_wants_a_reason(store: KeyStore, orders: Orders) -> None:
    ring = store.data_keys("store")
    _, secret = ring.current()
    orders.rotate("store")
    with pytest.raises(KeysError, match="a reason is needed"):
        orders.retire("store", 1, opens_days=0)
    assert ring.get(1) == secret
    orders.retire("store", 1, opens_days=0, reason="everything was sealed anew")
    with pytest.raises(KeyUnavailable):
        ring.get(1)


def test_a_destroyed_secret_is_gone_from_the_file(made: Path, store: KeyStore, orders: Orders) -> None:
    orders.generate("mac", Kind.HMAC, "mac", policy=Policy())
    orders.rotate("mac")
    sealed = store.content.version("mac", 1).sealed
    assert sealed in (made / "keys" / "keys.db").read_bytes()
    orders.destroy("mac", 1, reason="over")
    assert sealed not in (made / "keys" / "keys.db").read_bytes()


def test_a_second_person_can_be_asked(store: KeyStore) -> None:
    asked = []

    def refuse(*question: str) -> None:
        asked.append(question)
        raise HubError("not approved")

    orders = Orders(store, actor="li", approve=refuse)
    orders.generate("mac", Kind.HMAC, "mac", policy=Policy())
    orders.rotate("mac")
    with pytest.raises(HubError, match="not approved"):
        orders.destroy("mac", 1, reason="over")
    assert asked == [("keys.destroy", "mac@1", "li", "over")]
    assert store.content.version("mac", 1).state is State.RETIRING


def test_purpose(store: KeyStore, orders: Orders) -> None:
    orders.generate("mac", Kind.HMAC, "mac", policy=Policy())
    with pytest.raises(KeyUnavailable, match="is for mac"):
        store.handle("mac", purpose="sign")
    with pytest.raises(KeyUnavailable, match="there is no key 'nobody'"):
        store.handle("nobody")


@pytest.mark.parametrize("name", ["", "Mac", "1mac", "a/b", "a b", "a@1", "x" * 65, "é"])
def test_names(orders: Orders, name: str) -> None:
    with pytest.raises(KeysError, match="can't be the name"):
        orders.generate(name, Kind.HMAC, "mac", policy=Policy())


@pytest.mark.parametrize(
    "policy", [Policy(validity_days=29), Policy(validity_days=366), Policy(rotate_days=91), Policy(overlap_days=400)]
)
def test_policy_has_bounds(orders: Orders, policy: Policy) -> None:
    with pytest.raises(KeysError, match=r"not \d+ to"):
        orders.generate("mac", Kind.HMAC, "mac", policy=policy)


def test_uses_are_counted_and_recorded(store: KeyStore, orders: Orders, clock: Clock) -> None:
    orders.generate("mac", Kind.HMAC, "mac", policy=Policy())
    handle = store.handle("mac", system="his")
    for _ in range(5):
        handle.current()
    orders.rotate("mac")
    list(handle.candidates())
    clock.pass_days(1)
    assert store.flush_uses() == 7
    assert store.flush_uses() == 0
    last = json.loads(store.journal()[-1]["entry"])
    assert last["action"] == "keys.use"
    assert last["detail"]["until"] - last["detail"]["from"] == DAY
    assert last["detail"]["uses"] == [
        {"key": "mac", "version": 1, "purpose": "mac", "system": "his", "count": 6},
        {"key": "mac", "version": 2, "purpose": "mac", "system": "his", "count": 1},
    ]
    assert store.verify_journal() == []


def test_nothing_shows_a_secret(store: KeyStore, orders: Orders) -> None:
    orders.generate("mac", Kind.HMAC, "mac", policy=Policy())
    material = store.handle("mac").current()
    assert material.secret.hex() not in repr(material)
    assert repr(material.secret)[2:-1] not in repr(material)
    assert repr(material.text()) == "Secret(***)"
    assert material.text().reveal() == material.secret.hex()


def test_a_closed_store_has_forgotten_its_keys(store: KeyStore) -> None:
    ring = store.data_keys("store")
    ring.current()
    kept = list(store._unsealed.values())
    assert any(kept[0])
    store.close()
    assert not any(b for secret in kept for b in secret)
    with pytest.raises(KeyUnavailable, match="closed"):
        ring.current()


def test_many_threads(store: KeyStore, orders: Orders) -> None:
    ring = store.data_keys("store")
    ring.current()
    stop = threading.Event()
    seen: list[set[tuple[int, bytes]]] = []
    errors: list[Exception] = []

    def work() -> None:
        mine: set[tuple[int, bytes]] = set()
        seen.append(mine)
        try:
            while not stop.is_set():
                version, secret = ring.current()
                mine.add((version, secret))
                assert ring.get(version) == secret
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        orders.rotate("store")
        orders.rotate_master("aes")
        store.flush_uses()
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    every = set().union(*seen)
    assert len({version for version, _ in every}) == len(every)
    assert not any(secret == bytes(32) for _, secret in every)
    assert [ring.get(n) for n in range(1, 7)] == [dict(every).get(n, ring.get(n)) for n in range(1, 7)]


def test_only_the_owner_can_reach_the_files(made: Path) -> None:
    assert stat.S_IMODE((made / "keys").stat().st_mode) == 0o700
    assert stat.S_IMODE((made / "keys" / "keys.db").stat().st_mode) == 0o600


@pytest.mark.parametrize(("name", "mode"), [("keys", 0o750), ("keys/keys.db", 0o640), ("keys/keys.db", 0o602)])
def test_files_others_can_reach_are_refused(made: Path, name: str, mode: int) -> None:
    os.chmod(made / name, mode)
    with pytest.raises(KeysLocked, match="others than its owner") as caught:
        KeyStore(made / "keys", source(made))
    assert caught.value.remedy.endswith(str(made / name))


def test_a_store_is_made_once(made: Path) -> None:
    with pytest.raises(KeysError, match="already"):
        KeyStore.create(made / "keys", source(made))


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(KeysLocked) as caught:
        KeyStore(tmp_path / "keys", source(tmp_path))
    assert (caught.value.code, caught.value.remedy) == ("keys.missing", "make it: hub keys init")


def test_word_is_left_when_a_key_changes_that_a_configuration_may_name(
    made: Path, store: KeyStore, orders: Orders
) -> None:
    file = made / "keys" / "changed"

    def told() -> str:
        return file.read_text()

    before = told()
    store.data_keys("store").current()
    orders.rotate("store")
    orders.rotate_master("aes")
    store.flush_uses()
    assert told() == before
    orders.generate("mac", Kind.HMAC, "mac", policy=Policy())
    assert told() != before
    before = told()
    orders.rotate("mac")
    assert told() != before
    before = told()
    file.unlink()  # killed between the commit and the word
    KeyStore(made / "keys", source(made)).close()
    assert told() == before


def test_a_full_disk_changes_nothing(store: KeyStore, orders: Orders) -> None:
    orders.generate("mac", Kind.HMAC, "mac", policy=Policy())
    ring = store.data_keys("store")
    ring.current()
    before = store.content
    database = store._vault._database._db
    database.pragma("max_page_count", int(database.pragma("page_count")))  # SQLite's own full disk

    def fill() -> None:
        for number in range(100):
            orders.generate(f"key{number}", Kind.HMAC, "mac", policy=Policy())

    with pytest.raises(KeysError) as caught:
        fill()
    assert caught.value.code == "keys.disk"
    assert "full" in caught.value.text
    kept = store.refresh()
    assert set(before.keys) <= set(kept.keys)
    assert ring.current()[0] == 1
    database.pragma("max_page_count", 1 << 20)
    orders.rotate("store")
    assert ring.current()[0] == 2
    assert store.verify_journal() == []
