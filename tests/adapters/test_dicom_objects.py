"""Objects on disk, their headers, and putting both together again."""

from __future__ import annotations

import hashlib
import resource
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.dicom.content import pieces
from adapters.dicom.objects import Incoming, ObjectFolder, header_of
from adapters.dicom.references import FOLDER, Reference, file_head, reference_of
from hub.api import HubError
from hub.codecs.dicom import DicomCodec
from hub.codecs.dicom_read import read_file
from hub.store.sealer import Sealer
from hub.store.sealing import seals
from tests.adapters.dicom_support import CT, PDF, document, image
from tests.store.sealed_support import LocalKeys

EXPLICIT = "1.2.840.10008.1.2.1"


def folder(data: Path, inline: int = 1024, limit: int = 64 << 20) -> ObjectFolder:
    found = ObjectFolder(data, "pacs/in", inline, limit)
    found.open()
    return found


def bare(raw: bytes) -> bytes:
    """The data set of a file."""
    file = read_file(raw)
    return raw[max(place.end for place in file.meta.values()) :]


def received(objects: ObjectFolder, data_set: bytes, sop_class: str = PDF, step: int = 1000) -> Incoming:
    incoming = Incoming(objects, "1.2.3.9.1", sop_class, EXPLICIT)
    for at in range(0, len(data_set), step):
        incoming.write(memoryview(data_set)[at : at + step])
    return incoming


def files(objects: ObjectFolder) -> list[Path]:
    return sorted(path for path in objects.root.rglob("*") if path.is_file())


def test_a_small_object_is_the_message(tmp_path: Path) -> None:
    objects = folder(tmp_path)
    data_set = bare(image())
    assert received(objects, data_set, CT).whole() == file_head(CT, "1.2.3.9.1", EXPLICIT) + data_set
    assert files(objects) == []


def test_of_a_large_object_the_message_is_the_header(tmp_path: Path) -> None:
    objects = folder(tmp_path)
    data_set = bare(document(200_000))
    incoming = received(objects, data_set)
    assert incoming.whole() is None
    header = incoming.keep()
    assert len(header) < 2000
    reference = reference_of(read_file(header))
    assert reference is not None
    content = (tmp_path / reference.path).read_bytes()
    assert content == file_head(PDF, "1.2.3.9.1", EXPLICIT) + data_set
    assert (len(content), hashlib.sha256(content).hexdigest()) == (reference.size, reference.sha256)
    assert files(objects) == [tmp_path / reference.path]
    assert DicomCodec().decode(header).get("PatientID") == "P1"
    _, found = pieces(header, tmp_path)
    assert b"".join(found) == data_set


def test_the_same_object_again_is_the_same_message_and_one_file(tmp_path: Path) -> None:
    objects = folder(tmp_path)
    data_set = bare(document(100_000))
    assert received(objects, data_set).keep() == received(objects, data_set, step=77_777).keep()
    assert len(files(objects)) == 1


def test_a_changed_header_takes_its_pixels_along(tmp_path: Path) -> None:
    data_set = bare(document(100_000))
    header = received(folder(tmp_path), data_set).keep()
    tree = DicomCodec().decode(header)
    tree.changes["PatientID"] = "P2"
    changed = DicomCodec().encode(tree)
    _, found = pieces(changed, tmp_path)
    assert b"".join(found) == data_set.replace(b"P1", b"P2")


@settings(deadline=None, max_examples=30)
@given(size=st.integers(1, 200_000), step=st.integers(1, 70_000), inline=st.integers(0, 100_000))
def test_what_comes_goes_out_unchanged(
    tmp_path_factory: pytest.TempPathFactory, size: int, step: int, inline: int
) -> None:
    data = tmp_path_factory.mktemp("objects")
    data_set = bare(document(size))
    incoming = received(folder(data, inline), data_set, step=max(step, size // 50))
    raw = incoming.whole() or incoming.keep()
    _, found = pieces(raw, data)
    assert b"".join(found) == data_set


def test_too_large_an_object_leaves_nothing(tmp_path: Path) -> None:
    objects = folder(tmp_path, limit=50_000)
    incoming = received(objects, bare(document(100_000)))
    assert isinstance(incoming.problem, HubError)
    assert incoming.problem.code == "dicom.too_large"
    assert files(objects) == []


@pytest.fixture(params=["plain", "sealed"])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A data folder of a hub whose store is encrypted, or not."""
    if request.param == "sealed":
        seals(tmp_path, Sealer(LocalKeys(), "aes-256-gcm"))
    return tmp_path


def test_a_full_disk_is_noticed_and_leaves_nothing(data: Path) -> None:
    objects = folder(data)
    content = bare(document(300_000))
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, allowed[1]))
    try:
        incoming = received(objects, content)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    assert isinstance(incoming.problem, OSError)
    assert files(objects) == []


def test_where_the_store_is_encrypted_objects_are_too(tmp_path: Path) -> None:
    seals(tmp_path, Sealer(LocalKeys(), "aes-256-gcm"))
    objects = folder(tmp_path)
    data_set = bare(document(300_000))
    header = received(objects, data_set).keep()
    (file,) = files(objects)
    assert file.name.endswith(".dcm.sealed")
    content = file.read_bytes()
    assert b"DICM" not in content
    assert data_set[1000:1016] not in content
    _, found = pieces(header, tmp_path)
    assert b"".join(found) == data_set
    assert DicomCodec().decode(header_of(file)).get("PatientID") == "P1"
    # The same again is one file; one that has lived its time is taken away.
    assert received(objects, data_set).keep() == header
    assert files(objects) == [file]
    assert objects.clean(-10) == 1
    assert files(objects) == []


@pytest.mark.parametrize("change", ["byte", "cut", "grown", "other"])
def test_an_altered_sealed_object_is_not_given_out(tmp_path: Path, change: str) -> None:
    seals(tmp_path, Sealer(LocalKeys(), "sm4-gcm"))
    objects = folder(tmp_path)
    header = received(objects, bare(document(300_000))).keep()
    (file,) = files(objects)
    content = bytearray(file.read_bytes())
    if change == "byte":
        content[150_000] ^= 1
    elif change == "cut":
        del content[-40:]
    elif change == "grown":
        content += b"x"
    else:
        content[:] = bytes(len(content))
    file.write_bytes(bytes(content))
    with pytest.raises((OSError, HubError)):
        b"".join(pieces(header, tmp_path)[1])


def test_objects_from_before_the_store_was_encrypted_stay_readable(tmp_path: Path) -> None:
    data_set = bare(document(100_000))
    header = received(folder(tmp_path), data_set).keep()
    seals(tmp_path, Sealer(LocalKeys(), "aes-256-gcm"))
    assert b"".join(pieces(header, tmp_path)[1]) == data_set


def test_without_the_key_a_sealed_object_is_an_error_that_says_so(tmp_path: Path) -> None:
    keys = LocalKeys()
    seals(tmp_path, Sealer(keys, "aes-256-gcm"))
    header = received(folder(tmp_path), bare(document(100_000))).keep()
    seals(tmp_path, Sealer(LocalKeys("another"), "aes-256-gcm"))
    with pytest.raises(OSError, match="open"):
        b"".join(pieces(header, tmp_path)[1])


def test_what_a_crash_left_unfinished_goes_at_the_start(tmp_path: Path) -> None:
    objects = folder(tmp_path)
    received(objects, bare(document(100_000)))._file = -1  # as if the process were gone
    assert len(files(objects)) == 1
    objects.open()
    assert files(objects) == []


def test_old_files_go(tmp_path: Path) -> None:
    objects = folder(tmp_path)
    received(objects, bare(document(100_000))).keep()
    assert objects.clean(3600.0) == 0
    assert objects.clean(-1.0) == 1
    assert files(objects) == []


@pytest.mark.parametrize("path", ["../secrets/key", f"{FOLDER}/../../etc/passwd", "/etc/passwd", "hub.db"])
def test_only_the_hub_writes_references(tmp_path: Path, path: str) -> None:
    (tmp_path / "hub.db").write_bytes(b"x")
    header = received(folder(tmp_path), bare(document(100_000))).keep()
    good = reference_of(read_file(header))
    assert good is not None
    good.open_in(tmp_path)
    for forged in (Reference(path, 1, "", ()), replace(good, path=path), replace(good, seal=""), replace(good, size=1)):
        with pytest.raises(HubError) as caught:
            forged.open_in(tmp_path)
        assert caught.value.code == "dicom.reference"


def test_a_header_of_another_hub_is_worth_nothing(tmp_path: Path) -> None:
    header = received(folder(tmp_path / "one"), bare(document(100_000))).keep()
    received(folder(tmp_path / "two"), bare(document(100_000))).keep()
    with pytest.raises(HubError) as caught:
        pieces(header, tmp_path / "two")
    assert caught.value.code == "dicom.reference"


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    header = received(folder(tmp_path), bare(document(100_000))).keep()
    for path in (tmp_path / FOLDER).rglob("*.dcm"):
        path.unlink()
    with pytest.raises(HubError) as caught:
        pieces(header, tmp_path)
    assert caught.value.code == "dicom.reference"


def test_what_only_looks_like_a_data_set_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    objects = folder(tmp_path)
    incoming = received(objects, b"\x08\x00\x16\x00UI\xff\xff" + b"\xfe" * 5000)
    with pytest.raises(HubError):
        incoming.keep()
    assert files(objects) == []
