from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from hub.api import Bound
from hub.keys.config import KeysConfig
from hub.keys.expiry import Notice, certificate_files, expiring, file_notices
from hub.keys.keeper import KeyKeeper
from hub.keys.material import read
from hub.keys.model import Kind, Policy
from hub.keys.opened import close_key_store, key_store
from hub.keys.orders import Orders
from hub.keys.store import KeyStore
from tests.keys.keys_support import DAY, NOW, Clock, certificate, source


def due(store: KeyStore) -> list[tuple[str, str, int, int]]:
    return [(n.what, n.name, n.version, n.days) for n in expiring(store.content, store.clock())]


def test_what_is_due(store: KeyStore, orders: Orders, clock: Clock) -> None:
    orders.generate("mac", Kind.HMAC, "mac", owner="his", policy=Policy())
    store.data_keys("pseudonym").current()
    found = read(Kind.CERTIFICATE, certificate(NOW + 100 * DAY)[0])
    orders.import_("peer", Kind.CERTIFICATE, "verify", found, policy=Policy().fitting(Kind.CERTIFICATE, "verify"))
    assert due(store) == []
    clock.pass_days(70)
    assert due(store) == [("expires", "peer", 1, 30)]
    clock.pass_days(20)
    assert due(store) == [("rotate", "mac", 1, 0), ("expires", "peer", 1, 10)]
    clock.pass_days(11)
    assert due(store) == [("rotate", "mac", 1, -11), ("expired", "peer", 1, -1)]
    clock.pass_days(99)
    assert due(store)[1:] == [("expired", "mac", 1, -20), ("expired", "pseudonym", 1, -20)]
    orders.rotate("mac", pending=True)
    assert ("expired", "mac", 1, -20) in due(store)
    clock.pass_days(14)
    assert ("pending", "mac", 2, 0) in due(store)
    orders.activate("mac", 2)
    assert [n for n in due(store) if n[1] == "mac"] == []


def test_texts(store: KeyStore, orders: Orders, clock: Clock) -> None:
    orders.generate("mac", Kind.HMAC, "mac", owner="his", policy=Policy())
    clock.pass_days(175)
    (notice,) = expiring(store.content, store.clock())
    assert notice.text == "key mac@1 expires in 5 days"
    assert notice.remedy == "hub keys rotate mac, agreed with his"
    assert notice.urgent
    assert notice.as_dict()["at"] == NOW + 180 * DAY


class Tls(BaseModel):
    certificate: str = ""
    ca: str = ""


class Deep(BaseModel):
    tls: Tls | None = None


class Options(BaseModel):
    certificate: str = "a field of the adapter's own"
    tls: Tls | None = None
    dial: Deep | None = None


def bound(place: str, options: Options) -> Bound:
    made = Bound.__new__(Bound)
    made.place, made.options = place, options
    return made


def test_certificates_in_files(tmp_path: Path) -> None:
    names = {"soon": 10, "late": 300, "gone": -3}
    for name, days in names.items():
        (tmp_path / name).write_bytes(certificate(NOW + days * DAY)[0])
    (tmp_path / "chain").write_bytes((tmp_path / "late").read_bytes() + (tmp_path / "soon").read_bytes())
    (tmp_path / "broken").write_text("nonsense")
    tls = [Tls(certificate=str(tmp_path / name)) for name in ("soon", "gone", "chain", "broken")]
    files = certificate_files(
        [
            bound("his/adt", Options(tls=tls[0])),
            bound("lis/oru", Options(tls=tls[0], dial=Deep(tls=tls[1]))),
            bound("pay/in", Options(tls=Tls(ca=str(tmp_path / "late"), certificate=str(tmp_path / "absent")))),
            bound("pay/out", Options(dial=Deep(tls=tls[2]))),
            bound("pay/more", Options(dial=Deep(tls=tls[3]))),
            bound("plain/in", Options()),
        ]
    )
    assert files[str(tmp_path / "soon")] == ("his/adt", "lis/oru")
    found = {Path(n.name).name: (n.what, n.days, n.places) for n in file_notices(files, NOW, 30)}
    assert found == {
        "soon": ("expires", 10, ("his/adt", "lis/oru")),
        "gone": ("expired", -3, ("lis/oru",)),
        "chain": ("expires", 10, ("pay/out",)),
        "absent": ("unreadable", 0, ("pay/in",)),
        "broken": ("unreadable", 0, ("pay/more",)),
    }


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Callable[..., KeyKeeper]]:
    config = KeysConfig(path="keys", master="file:master.key")

    def make(clock: Clock, bounds: list[Bound] | None = None) -> KeyKeeper:
        return KeyKeeper(config, tmp_path, lambda: bounds or [], clock=clock)

    yield make
    close_key_store(config, tmp_path)


def figures(keeper: KeyKeeper) -> dict[tuple[str, ...], float]:
    return {
        (family.name, *sample.labels.values()): sample.value
        for family in keeper.families()
        for sample in family.samples
    }


def test_a_hub_without_a_key_store(keeper: Callable[..., KeyKeeper], clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "soon").write_bytes(certificate(NOW + 10 * DAY)[0])
    watching = keeper(clock, [bound("his/adt", Options(tls=Tls(certificate=str(tmp_path / "soon"))))])
    watching.round()
    assert [n.what for n in watching.expiring()] == ["expires"]
    assert watching.trouble is None
    assert not (tmp_path / "keys").exists()


def test_the_keeper(
    keeper: Callable[..., KeyKeeper], tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    KeyStore.create(tmp_path / "keys", source(tmp_path))
    key_store(KeysConfig(path="keys", master="file:master.key"), tmp_path).clock = clock
    running = keeper(clock)
    running.round()
    assert running.expiring() == []
    with KeyStore(tmp_path / "keys", source(tmp_path), clock=clock) as store:
        ring = store.data_keys("store")
        ring.current()
        Orders(store, actor="li").generate("mac", Kind.HMAC, "mac", policy=Policy())
        clock.pass_days(91)
        with caplog.at_level(logging.WARNING):
            running.round()
            running.round()
        assert [r.getMessage() for r in caplog.records] == ["key mac@1 is due for rotation -> hub keys rotate mac"]
        store.refresh()
        assert ring.current()[0] == 2
    assert [(n.what, n.name) for n in running.expiring()] == [("rotate", "mac")]
    assert figures(running)["tongqu_key_due_seconds", "mac", "1", "rotate"] == -DAY
    assert figures(running)["tongqu_key_store_trouble",] == 0
    clock.pass_days(1)
    running.round()
    assert len([r for r in caplog.records if "due for rotation" in r.getMessage()]) == 2


def test_a_store_in_trouble_does_not_stop_the_keeper(
    keeper: Callable[..., KeyKeeper], tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    KeyStore.create(tmp_path / "keys", source(tmp_path))
    (tmp_path / "keys" / "keys.db").chmod(0o644)
    running = keeper(clock)
    with caplog.at_level(logging.ERROR):
        running.round()
        running.round()
    assert running.trouble is not None
    assert figures(running)["tongqu_key_store_trouble",] == 1
    assert len(caplog.records) == 1
    (tmp_path / "keys" / "keys.db").chmod(0o600)
    running.round()
    assert running.trouble is None


def test_uses_are_recorded_now_and_then(keeper: Callable[..., KeyKeeper], tmp_path: Path, clock: Clock) -> None:
    KeyStore.create(tmp_path / "keys", source(tmp_path))
    config = KeysConfig(path="keys", master="file:master.key")
    running = keeper(clock)
    running.round()
    shared = key_store(config, tmp_path)
    shared.data_keys("store").current()
    running.round()
    assert "keys.use" not in shared.journal()[-1]["entry"]
    clock.now += 600
    running.round()
    assert "keys.use" in shared.journal()[-1]["entry"]


def test_what_is_urgent() -> None:
    assert Notice("rotate", "a", 1, 5, 0).urgent is False
    assert Notice("expires", "a", 1, 5, 6).urgent is True
    assert Notice("expires", "a", 1, 5, 7).urgent is False
