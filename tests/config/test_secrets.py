from __future__ import annotations

import copy
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from threading import Barrier

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import HubError
from hub.secrets import MAX_SECRET_BYTES, Secret, made_once, resolve


def private(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(0o600)
    return path


def test_a_secret_does_not_show_itself(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret("tiger")
    assert repr(secret) == "Secret(***)"
    assert repr({"token": [secret]}) == "{'token': [Secret(***)]}"
    for show in (str, lambda s: f"{s}", lambda s: f"{s:>9}", "{}".format):
        with pytest.raises(TypeError, match="reveal"):
            show(secret)
    logging.getLogger("test").warning("settings: %s", {"token": secret})
    assert "tiger" not in caplog.text


def test_a_secret_can_be_used() -> None:
    secret = Secret("tiger")
    assert secret.reveal() == "tiger"
    assert type(secret.reveal()) is str
    assert secret.encode() == b"tiger"
    assert "Bearer " + secret == "Bearer tiger"
    assert orjson.dumps(secret) == b'"tiger"'
    assert secret == "tiger"
    assert repr(copy.deepcopy(secret)) == "Secret(***)"


def test_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    private(tmp_path / "keys" / "token", "tiger\r\n")
    assert resolve("file:keys/token", tmp_path).reveal() == "tiger"
    assert resolve(f"file:{tmp_path / 'keys' / 'token'}", Path("/elsewhere")).reveal() == "tiger"


def test_a_key_of_several_lines_stays_whole(tmp_path: Path) -> None:
    private(tmp_path / "key", "-----BEGIN-----\nabc\n-----END-----\n")
    assert resolve("file:key", tmp_path).reveal() == "-----BEGIN-----\nabc\n-----END-----"


def test_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_SECRET", "tiger")
    assert resolve("env:TEST_SECRET", tmp_path).reveal() == "tiger"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o644])
def test_a_file_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = private(tmp_path / "token", "tiger")
    path.chmod(mode)
    with pytest.raises(HubError) as caught:
        resolve("file:token", tmp_path)
    assert caught.value.text == f"others than its owner can read {path}"
    assert caught.value.remedy == f"chmod 600 {path}"


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("tiger", "a secret must not be written here"),
        (123456, "a secret must not be written here"),
        (["tiger"], "a secret must not be written here"),
        ("ENV:X", "a secret must not be written here"),
        ("env:", "env: is not followed by the name of a variable"),
        ("env:A-B", "env: is not followed by the name of a variable"),
        ("env:NOT_SET_ANYWHERE", "the environment variable NOT_SET_ANYWHERE is not set"),
        ("file:", "file: is not followed by a path"),
        ("file:missing", "{}/missing can't be read: No such file or directory"),
        ("file:a\0b", "{}/a\0b can't be read: embedded null byte"),
        ("file:empty", "{}/empty is empty"),
        ("file:binary", "{}/binary is not UTF-8 text"),
        ("file:big", "{}/big is larger than 64 KB"),
        ("file:folder", "{}/folder can't be read: Is a directory"),
        ("file:pipe", "{}/pipe is not a regular file"),
    ],
)
def test_what_is_refused(tmp_path: Path, reference: object, text: str) -> None:
    private(tmp_path / "empty", "\n")
    private(tmp_path / "binary", b"\xff\xfe")
    private(tmp_path / "big", "x" * (MAX_SECRET_BYTES + 1))
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(HubError) as caught:
        resolve(reference, tmp_path)
    assert caught.value.text == text.replace("{}", str(tmp_path))
    assert caught.value.remedy
    assert "tiger" not in caught.value.text + caught.value.remedy


@given(st.text(min_size=1))
def test_nothing_but_a_reference_is_taken(text: str) -> None:
    if not text.startswith(("env:", "file:")):
        with pytest.raises(HubError) as caught:
            resolve(text, Path("/nowhere"))
        assert caught.value.code == "secret.literal"


def test_a_file_made_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "token"
    assert made_once(path, lambda: b"first") == b"first"
    assert made_once(path, lambda: b"second") == b"first"
    assert path.stat().st_mode & 0o077 == 0
    assert [file.name for file in path.parent.iterdir()] == ["token"]


def test_whoever_comes_first_makes_it_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes have their own temporary names; a reader sees the whole content or none."""
    path = tmp_path / "token"
    together = Barrier(8)
    pids = count()
    monkeypatch.setattr("hub.secrets.os.getpid", lambda: next(pids))

    def make(number: int) -> bytes:
        together.wait()
        return made_once(path, lambda: bytes([number]) * 100)

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(make, range(8)))
    assert found == {path.read_bytes()}
    assert len(path.read_bytes()) == 100


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "token"
    steps: list[str] = []
    sync, link = os.fsync, os.link
    monkeypatch.setattr("hub.secrets.os.fsync", lambda fd: (steps.append("sync"), sync(fd)))
    monkeypatch.setattr("hub.secrets.os.link", lambda *names: (steps.append("link"), link(*names)))
    made_once(path, lambda: b"x")
    assert steps == ["sync", "link", "sync"]


def test_a_folder_that_takes_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(HubError) as caught:
        made_once(tmp_path / "file" / "token", lambda: b"x")
    assert caught.value.code == "secret.file"
    assert str(tmp_path) in caught.value.text
    assert caught.value.remedy
