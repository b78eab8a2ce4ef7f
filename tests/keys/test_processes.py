"""Several processes, and processes that are killed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.keys.model import State
from hub.keys.orders import Orders
from hub.keys.store import KeyStore
from tests.keys.keys_support import source

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0


def child(folder: Path, work: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.keys.keys_child", str(folder), work]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    KeyStore.create(tmp_path / "keys", source(tmp_path))
    return tmp_path


def wait_for(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.02)


def test_several_writers_at_once(folder: Path) -> None:
    children = [child(folder, "ring") for _ in range(3)]
    outputs = [process.communicate(timeout=PATIENCE)[0].decode().split("\n") for process in children]
    assert [process.returncode for process in children] == [0, 0, 0]
    told = [line.split() for output in outputs for line in output[1:] if line]
    assert sorted(int(number) for number, _ in told) == list(range(2, 32))
    with KeyStore(folder / "keys", source(folder)) as store:
        ring = store.data_keys("store")
        assert {number: ring.get(int(number)).hex() for number, _ in told} == dict(told)
        versions = store.content.versions["store"].values()
        assert [v.number for v in versions if v.state is State.ACTIVE] == [31]
        assert store.verify_journal() == []


def test_a_reader_sees_what_another_process_changes(folder: Path) -> None:
    with KeyStore(folder / "keys", source(folder)) as store:
        ring = store.data_keys("store")
        assert ring.current()[0] == 1
        process = child(folder, "ring")
        process.communicate(timeout=PATIENCE)
        wait_for(lambda: ring.current()[0] == 11, "the new version, without a restart")
        assert store.trouble is None


def test_a_reader_follows_a_new_master_key(folder: Path) -> None:
    with KeyStore(folder / "keys", source(folder)) as store, KeyStore(folder / "keys", source(folder)) as other:
        ring = store.data_keys("store")
        _, secret = ring.current()
        Orders(other, actor="li").rotate_master("sm4")
        Orders(other, actor="li").rotate("store")
        wait_for(lambda: ring.current()[0] == 2, "the new version under the new master key")
        assert ring.get(1) == secret
        assert store.content.cipher == "sm4"


@pytest.mark.parametrize("work", ["master", "rotate"])
def test_killed_in_the_middle(folder: Path, work: str) -> None:
    """Whatever was told as done is there; whatever was under way is done or not, and the store opens."""
    with KeyStore(folder / "keys", source(folder)) as store:
        first = store.data_keys("store").current()[1]
    chance = random.Random(work)
    told = 1
    for _ in range(5):
        process = child(folder, work)
        assert process.stdout is not None
        last = process.stdout.readline()
        time.sleep(chance.random() * 0.03)  # anywhere within a transaction
        process.kill()
        last = process.stdout.read().rpartition(b"\n")[0].rpartition(b"\n")[2] or last
        process.wait(PATIENCE)
        if work == "rotate":
            told = int(last)
        with KeyStore(folder / "keys", source(folder)) as store:
            ring = store.data_keys("store")
            assert ring.get(1) == first
            assert ring.current()[0] >= told
            assert store.verify_journal() == []
    assert not (folder / "master.key.next").exists()
