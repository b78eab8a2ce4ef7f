"""Writing files: whole or not at all, once whatever is repeated, never outside of the folder."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from adapters.files.backend import MAX_NAME, check_path
from adapters.files.naming import safe
from adapters.files.options import FileConnect, FtpConnect, SftpConnect, SftpListen
from hub.api import PermanentError, SendError, UnreachableError
from tests.adapters.files_support import Crash, outgoing, sender


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


async def test_a_file_has_the_name_the_template_gives_and_a_repetition_writes_none(tmp_path: Path) -> None:
    out = sender(
        tmp_path, folder="{type}/{date}", name="{patient}_{time}_{key}{kind}.xml", marker="{stem}.ok", mode="0640"
    )
    for _ in range(2):
        reply = await out.send(outgoing(patient="P/1", kind=".."))
        assert reply.ok
    path = "ADT^A01/20260115/P%2F1_20260115093015250_K1%2E.."
    found = files(tmp_path)
    assert len(found) == 2
    (name,) = [name for name in found if name.endswith(".xml")]
    assert name == f"{path.replace('K1%2E..', 'K1%2E.')}.xml"
    assert found[name] == b"body"
    assert found[name.removesuffix("xml") + "ok"] == b""
    assert os.stat(tmp_path / name).st_mode & 0o777 == 0o640
    assert reply.code == "repeated"
    assert (out.status()["written"], out.status()["repeated"]) == (1, 1)
    await out.stop()


async def test_another_file_of_the_name(tmp_path: Path) -> None:
    for exists, code, content in (("refuse", "", b"old"), ("keep", "kept", b"old"), ("replace", "written", b"body")):
        root = tmp_path / exists
        root.mkdir()
        (root / "C1").write_bytes(b"old")
        out = sender(root, name="{control_id}", exists=exists)
        if code:
            assert (await out.send(outgoing())).code == code
        else:
            with pytest.raises(PermanentError) as caught:
                await out.send(outgoing())
            assert caught.value.code == "file.exists"
        assert files(root) == {"C1": content}
        await out.stop()


async def test_wherever_it_dies_there_is_one_whole_file_after_the_next_try(tmp_path: Path) -> None:
    body = os.urandom(1_500_000)
    died = 0
    while True:
        root = tmp_path / f"{died}"
        root.mkdir()
        left = died

        def step() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Crash

        out = sender(root, step, folder="new", name="{key}.bin", marker="{name}.ok")
        try:
            await out.send(outgoing(body))
        except Crash:
            died += 1
        else:
            break
        assert files(root).get("new/K1.bin", body) == body, died
        out = sender(root, folder="new", name="{key}.bin", marker="{name}.ok")
        await out.send(outgoing(body))
        assert files(root) == {"new/K1.bin": body, "new/K1.bin.ok": b""}, died
        await out.stop()
    assert died > 8


@pytest.mark.parametrize(
    ("kept", "resumed"), [(lambda b: b[:1_200_000], 1), (lambda b: b, 1), (lambda b: b"\0" * 1_200_000, 0)]
)
async def test_a_transfer_goes_on_where_it_ended_if_that_is_certain(tmp_path: Path, kept: Any, resumed: int) -> None:
    body = os.urandom(2_000_000)
    out = sender(tmp_path, name="{key}")
    _, _, passing = out._names(outgoing(body))
    (tmp_path / passing).write_bytes(kept(body))
    await out.send(outgoing(body))
    assert files(tmp_path) == {"K1": body}
    assert out.status()["resumed"] == resumed
    await out.stop()


async def test_a_try_that_ended_within_the_rename_leaves_nothing_behind(tmp_path: Path) -> None:
    out = sender(tmp_path, name="{key}")
    _, _, passing = out._names(outgoing())
    (tmp_path / passing).write_bytes(b"body")
    os.link(tmp_path / passing, tmp_path / "K1")
    assert (await out.send(outgoing())).code == "repeated"
    assert files(tmp_path) == {"K1": b"body"}
    await out.stop()


async def test_nothing_leads_out_of_the_folder(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    root.mkdir()
    other.mkdir()
    (root / "link").symlink_to(other)
    (root / "K1").symlink_to(other / "target")
    out = sender(root, folder="link", name="{key}x")
    with pytest.raises(PermanentError):
        await out.send(outgoing())
    out = sender(root, name="{key}", exists="replace")
    with pytest.raises(PermanentError):
        await out.send(outgoing())
    out = sender(root, folder="{folder}", name="{name_}")
    await out.send(outgoing(folder="../../x", name_="../\0y\n"))
    assert os.listdir(other) == []
    assert [name for name in files(root) if name.startswith("%2E./..".replace("/", "%2F")[:3])]
    await out.stop()


async def test_what_a_name_needs_must_be_there(tmp_path: Path) -> None:
    out = sender(tmp_path, name="{patient}")
    with pytest.raises(PermanentError, match="patient"):
        await out.send(outgoing())
    with pytest.raises(PermanentError):
        await out.send(outgoing(patient="y" * 300))
    await out.stop()


async def test_a_root_that_is_missing_is_unreachable_and_one_that_is_full_is_not_for_good(tmp_path: Path) -> None:
    out = sender(tmp_path / "none")
    with pytest.raises(UnreachableError):
        await out.send(outgoing())
    with pytest.raises(UnreachableError):
        await out.probe()
    await out.stop()


async def test_a_folder_that_goes_while_the_connection_is_open_is_unreachable_until_it_is_back(tmp_path: Path) -> None:
    root = tmp_path / "share"
    root.mkdir()
    out = sender(root, name="{key}.xml")
    assert (await out.send(outgoing())).code == "written"
    root.rename(tmp_path / "gone")
    (tmp_path / "gone" / "K1.xml").unlink()
    (tmp_path / "gone").rmdir()
    for _ in range(2):
        with pytest.raises(UnreachableError):
            await out.send(outgoing())
    root.mkdir()
    assert (await out.send(outgoing())).code == "written"
    await out.stop()


async def test_many_at_once_over_few_connections(tmp_path: Path) -> None:
    out = sender(tmp_path, name="{key}", connections=2)
    await asyncio.gather(*(out.send(outgoing(b"%d" % n, f"K{n}")) for n in range(20)))
    assert files(tmp_path) == {f"K{n}": b"%d" % n for n in range(20)}
    assert out.status()["connections"] <= out.capacity == 2
    await out.stop()


@given(st.text())
def test_values_become_parts_of_names_that_stay_different_and_inside(value: str) -> None:
    part = safe(value)
    assert "/" not in part
    assert part not in (".", "..")
    assert part.isprintable() or all(c.isprintable() or ord(c) > 127 for c in part)
    if part and len(part.encode()) <= MAX_NAME:
        check_path(part)


@given(st.text(max_size=5), st.text(max_size=5))
def test_different_values_make_different_names(one: str, other: str) -> None:
    assert (safe(one) == safe(other)) == (one == other)


@given(st.text(alphabet="./a\\\0%", max_size=12))
def test_a_checked_path_stays_below_its_root(path: str) -> None:
    try:
        check_path(path)
    except SendError:
        return
    assert os.path.normpath(f"/root/{path}").startswith("/root")


def test_the_example_of_the_docs_is_one() -> None:
    text = (Path(__file__).parents[2] / "docs" / "adapters" / "files.md").read_text(encoding="utf-8")
    block = text.split("```yaml")[1].split("```")[0]
    for name, value in (("host", "h"), ("user", "u"), ("password", "p"), ("host_key", "SHA256:" + "A" * 43)):
        block = block.replace(f"${{{name}}}", value)
    interfaces = yaml.safe_load(block)["interfaces"]
    assert SftpListen.model_validate(interfaces["results"]["listen"]).records is not None
    assert SftpConnect.model_validate(interfaces["orders"]["connect"]).marker == "{name}.ok"


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (FileConnect, {"name": "fixed.txt"}),
        (FileConnect, {"name": "a/{key}"}),
        (FileConnect, {"folder": "a/../b"}),
        (FileConnect, {"marker": "ok"}),
        (FileConnect, {"mode": "rw"}),
        (FtpConnect, {"host": "h", "user": "a\r\nDELE b"}),
        (SftpConnect, {"host": "h", "user": "u", "password": "p"}),
        (SftpConnect, {"host": "h", "user": "u", "host_keys": "SHA256:" + "A" * 43}),
        (SftpConnect, {"host": "h", "user": "u", "password": "p", "host_keys": "MD5:1"}),
    ],
)
def test_options_that_cannot_be_meant_are_refused(model: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        model.model_validate({"root": "/data", **options})
