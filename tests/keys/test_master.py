from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest

from hub.errors import HubError
from hub.keys.errors import KeysLocked, KeysTampered
from hub.keys.master import LocalMaster, MasterSource, new_master_text
from hub.keys.orders import Orders
from hub.keys.store import KeyStore
from tests.keys.conftest import Open
from tests.keys.keys_support import source


def test_a_file_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    one = source(tmp_path).make()
    file = tmp_path / "master.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert source(tmp_path).make().id == one.id
    assert one.id not in file.read_text()


def test_hex_and_base64_are_the_same_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = new_master_text()
    monkeypatch.setenv("ONE", text)
    monkeypatch.setenv("OTHER", base64.b64encode(bytes.fromhex(text)).decode())
    assert MasterSource("env:ONE", tmp_path).open().id == MasterSource("env:OTHER", tmp_path).open().id


@pytest.mark.parametrize("text", ["tiger", "a" * 64, "0" * 63, "x" * 64, base64.b64encode(b"short").decode()])
def test_what_can_be_guessed_is_no_master_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    monkeypatch.setenv("WEAK", text)
    with pytest.raises(KeysLocked, match="no master key") as caught:
        MasterSource("env:WEAK", tmp_path).open()
    assert text not in str(caught.value) + caught.value.remedy


@pytest.mark.parametrize("cipher", ["aes", "sm4"])
def test_wrapping(cipher: str) -> None:
    key = LocalMaster(bytes(range(32)))
    wrapped = key.wrap(b"root" * 8, cipher)
    assert key.unwrap(wrapped) == b"root" * 8
    for bad in (b"", b"\x07" + wrapped[1:], wrapped[:-1], LocalMaster(bytes(range(1, 33))).wrap(b"root" * 8, cipher)):
        with pytest.raises(KeysTampered):
            key.unwrap(bad)


def test_another_master_key_is_told_from_a_damaged_store(made: Path) -> None:
    (made / "master.key").write_text(new_master_text())
    with pytest.raises(KeysLocked, match="is not the master key of this key store"):
        KeyStore(made / "keys", source(made))


def test_without_the_master_key_nothing_opens(made: Path) -> None:
    (made / "master.key").unlink()
    with pytest.raises(KeysLocked, match="can't be read"):
        KeyStore(made / "keys", source(made))


def test_a_master_key_others_can_read_is_refused(made: Path) -> None:
    (made / "master.key").chmod(0o640)
    with pytest.raises(HubError) as caught:
        KeyStore(made / "keys", source(made))
    assert caught.value.remedy == f"chmod 600 {made / 'master.key'}"


def test_rotation_replaces_the_file(made: Path, store: KeyStore, orders: Orders) -> None:
    secret = store.data_keys("store").current()
    before = (made / "master.key").read_text()
    raw = (made / "keys" / "keys.db").read_bytes()
    assert orders.rotate_master("sm4", reason="yearly") == 1
    assert (made / "master.key").read_text() != before
    assert not (made / "master.key.next").exists()
    assert store.data_keys("store").current() == secret
    with KeyStore(made / "keys", source(made)) as again:
        assert again.content.cipher == "sm4"
        assert again.data_keys("store").current() == secret
        assert again.verify_journal() == []
    sealed = raw[raw.index(b"store") :]
    assert sealed not in (made / "keys" / "keys.db").read_bytes()


def test_rotation_to_the_environment(
    made: Path, store: KeyStore, orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = store.data_keys("store").current()
    monkeypatch.setenv("NEW_MASTER", new_master_text())
    following = MasterSource("env:NEW_MASTER", made)
    orders.rotate_master("aes", to=following)
    with pytest.raises(KeysLocked):
        KeyStore(made / "keys", source(made))
    with KeyStore(made / "keys", following) as again:
        assert again.data_keys("store").current() == secret
        with pytest.raises(KeysLocked, match="only be made in a file"):
            Orders(again, actor="li").rotate_master("aes")
        assert again.data_keys("store").current() == secret


def test_a_running_process_that_can_not_have_the_new_master_key_goes_on(
    reopen: Open, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, other = reopen(), reopen()
    ring = running.data_keys("store")
    current = ring.current()
    monkeypatch.setenv("NEW_MASTER", new_master_text())
    Orders(other, actor="li").rotate_master("aes", to=MasterSource("env:NEW_MASTER", made))
    Orders(other, actor="li").rotate("store")
    running.refresh()
    assert isinstance(running.trouble, KeysLocked)
    assert ring.current() == current
    with pytest.raises(KeysLocked):
        Orders(running, actor="li").rotate("store")
    assert ring.current() == current


@pytest.mark.parametrize("committed", [True, False])
def test_a_rotation_that_was_cut_off(made: Path, store: KeyStore, orders: Orders, committed: bool) -> None:
    """Before the commit the old key is the right one, after it the next one, wherever it lies."""
    secret = store.data_keys("store").current()
    file, following = made / "master.key", made / "master.key.next"
    old = file.read_text()
    if committed:
        orders.rotate_master("aes")
        file.rename(following)
        file.write_text(old)
        file.chmod(0o600)
    else:
        following.write_text(new_master_text())
        following.chmod(0o600)
    with KeyStore(made / "keys", source(made)) as again:
        assert again.data_keys("store").current() == secret
        Orders(again, actor="li").rotate_master("aes")
        assert again.data_keys("store").current() == secret
    assert not following.exists()
    with KeyStore(made / "keys", source(made)) as again:
        assert again.data_keys("store").current() == secret


def test_a_half_written_next_key_is_ignored(made: Path, store: KeyStore) -> None:
    secret = store.data_keys("store").current()
    """Nor is it removed: one that can't be read might be the one that is needed."""
    (made / "master.key.next").write_text(new_master_text()[:20])
    with KeyStore(made / "keys", source(made)) as again:
        assert again.data_keys("store").current() == secret
    assert (made / "master.key.next").exists()
