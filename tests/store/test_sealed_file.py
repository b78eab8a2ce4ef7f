"""Files outside the database: what is read is what was written, or nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hub.store.sealed_file as module
from hub.errors import HubError, StoreCorrupt
from hub.store.sealed_file import FileReader, FileWriter
from hub.store.sealer import Sealer
from tests.store.sealed_support import LocalKeys

AES, SM4 = Sealer(LocalKeys(), "aes-256-gcm"), Sealer(LocalKeys(), "sm4-gcm")
HEAD = module._HEAD.size
PIECE = 40


@pytest.fixture(autouse=True)
def _short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE", PIECE)


def written(folder: Path, parts: list[bytes], sealer: Sealer | None, place: bytes = b"here") -> Path:
    path = folder / "file"
    with FileWriter(path, sealer, place) as file:
        for part in parts:
            assert file.write(part) == len(part)
        file.finish()
    assert [entry.name for entry in folder.iterdir()] == ["file"]
    return path


def read(path: Path, sealer: Sealer | None, place: bytes = b"here", *, sealed: bool = True) -> bytes:
    with FileReader(path, sealer, place, sealed=sealed) as file:
        return b"".join(file.pieces(17))


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(parts=st.lists(st.binary(max_size=130), max_size=8), sealer=st.sampled_from([AES, SM4, None]), data=st.data())
def test_any_part_reads_as_written(parts: list[bytes], sealer: Sealer | None, data: st.DataObject) -> None:
    whole = b"".join(parts)
    with tempfile.TemporaryDirectory() as name:
        path = written(Path(name), parts, sealer)
        assert read(path, sealer, sealed=sealer is not None) == whole
        with FileReader(path, sealer, b"here", sealed=sealer is not None) as file:
            assert file.size == len(whole)
            for _ in range(4):
                at = data.draw(st.integers(0, len(whole) + 3))
                count = data.draw(st.integers(-1, len(whole) + 3))
                file.seek(at)
                assert file.read(count) == (whole[at:] if count < 0 else whole[at : at + count])


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 7])
def test_every_flipped_byte_is_refused(folder: Path, size: int) -> None:
    path = written(folder, [os.urandom(size)], AES)
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x80]) + content[at + 1 :])
        with pytest.raises(HubError) as refused:
            read(path, AES)
        # A data key of another version is not there; anything else does not open.
        assert refused.value.code == ("key.unavailable" if 5 <= at < 9 else "store.tampered")


@pytest.mark.parametrize("sealer", [AES, SM4])
def test_every_cut_and_every_addition_is_refused(folder: Path, sealer: Sealer) -> None:
    path = written(folder, [os.urandom(3 * PIECE + 7)], sealer)
    content = path.read_bytes()
    for end in range(len(content)):
        path.write_bytes(content[:end])
        with pytest.raises(StoreCorrupt):
            read(path, sealer)
    for more in (b"\0", bytes(16), content[HEAD : HEAD + PIECE + 16]):
        path.write_bytes(content + more)
        with pytest.raises(StoreCorrupt):
            read(path, sealer)


def test_pieces_are_neither_reordered_nor_left_out_nor_taken_from_another_file(folder: Path) -> None:
    path = written(folder, [os.urandom(3 * PIECE + 7)], AES)
    content = path.read_bytes()
    step = PIECE + 16
    head, pieces = content[:HEAD], [content[at : at + step] for at in range(HEAD, len(content), step)]
    other = written(folder, [os.urandom(3 * PIECE + 7)], AES).read_bytes()
    forged = [
        head + b"".join([pieces[1], pieces[0], *pieces[2:]]),
        head + b"".join([pieces[0], *pieces[2:]]),
        head + b"".join(pieces[:-1]),
        head + b"".join([pieces[0], pieces[0], *pieces[1:]]),
        head + other[HEAD : HEAD + step] + b"".join(pieces[1:]),
        other[:HEAD] + b"".join(pieces),
    ]
    for each in forged:
        path.write_bytes(each)
        with pytest.raises(StoreCorrupt):
            read(path, AES)


def test_a_file_opens_only_for_what_it_was_written_for(folder: Path) -> None:
    path = written(folder, [b"secret"], AES)
    with pytest.raises(StoreCorrupt):
        read(path, AES, b"there")
    with pytest.raises(HubError, match="no keys"):
        read(path, None)
    with pytest.raises(StoreCorrupt):
        read(path, Sealer(LocalKeys("two"), "aes-256-gcm"))
    plain = written(folder, [b"harmless"], None)
    with pytest.raises(StoreCorrupt):
        read(plain, AES)


def test_a_file_that_is_not_finished_leaves_nothing(folder: Path) -> None:
    with FileWriter(folder / "file", AES, b"here") as file:
        file.write(bytes(1000))
    assert list(folder.iterdir()) == []


def test_nothing_written_can_be_read_in_the_file(folder: Path) -> None:
    secret = b"11010519491231002X" * 30
    assert b"11010519" not in written(folder, [secret], AES).read_bytes()
