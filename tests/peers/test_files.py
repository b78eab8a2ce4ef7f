"""The adapters ``ftp`` and ``sftp`` against OpenSSH, vsftpd and pyftpdlib, and what can go wrong with them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from adapters.files import FtpAdapter, SftpAdapter
from adapters.files.receiver import FilesReceiver
from adapters.files.sender import FilesSender
from adapters.polling import Run
from hub.api import Adapter, IntakePort, PermanentError, SendError, TransientError, UnreachableError
from tests.adapters.files_support import Kept, bound, outgoing
from tests.peers.files import OpenSsh, PyFtpd, Vsftpd
from tests.peers.process import Server
from tests.peers.proxy import Proxy

BIG = os.urandom(24 << 20).replace(b"bad", b"BAD")  # what the codec of these tests refuses


@dataclass
class Place:
    """One server as the adapters see it."""

    server: Server
    files: Path  # the folder, on this machine
    adapter: Adapter
    options: dict[str, Any]

    def receiver(self, intake: Kept, **options: Any) -> FilesReceiver:
        model = self.adapter.listen_options
        assert model is not None
        given = {"archive": "done/x", "complete": {"by": "name"}, **self.options, **options}
        found = self.adapter.receiver(bound(model.model_validate(given)), cast(IntakePort, intake))
        assert isinstance(found, FilesReceiver)
        return found

    def sender(self, **options: Any) -> FilesSender:
        model = self.adapter.connect_options
        assert model is not None
        given = {"name": "{key}.bin", **self.options, **options}
        found = self.adapter.sender(bound(model.model_validate(given), direction="out"))
        assert isinstance(found, FilesSender)
        return found

    def put(self, name: str, content: bytes) -> None:
        path = self.files / name
        path.write_bytes(content)
        owner = self.files.stat()
        if os.geteuid() == 0:
            os.chown(path, owner.st_uid, owner.st_gid)

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self.files)) for path in self.files.rglob("*") if path.is_file())


def _sftp(server: OpenSsh) -> Place:
    options = {
        "host": "127.0.0.1",
        "port": server.port,
        "root": str(server.files),
        "user": server.account,
        "key": str(server.folder / "client"),
        "host_keys": [server.fingerprint],
        "timeout": "3s",
        "connect_timeout": "3s",
    }
    return Place(server, server.files, SftpAdapter(), options)


def _vsftpd(server: Vsftpd) -> Place:
    options = {
        "host": "127.0.0.1",
        "port": server.port,
        "root": "up",
        "user": "anonymous",
        "password": "secret",
        "tls": {"ca": str(server.folder / "ca.pem")},
        "timeout": "3s",
        "connect_timeout": "3s",
    }
    return Place(server, server.files, FtpAdapter(), options)


def _pyftpd(server: PyFtpd) -> Place:
    options = {
        "host": "127.0.0.1",
        "port": server.port,
        "user": "hub",
        "password": "secret",
        "encryption": "none",
        "timeout": "3s",
        "connect_timeout": "3s",
    }
    return Place(server, server.files, FtpAdapter(), options)


_KINDS: dict[str, Callable[[Any], Place]] = {"openssh": _sftp, "vsftpd": _vsftpd, "pyftpd": _pyftpd}
ALL = pytest.mark.parametrize(
    "place", [pytest.param(kind, marks=pytest.mark.xdist_group(kind)) for kind in _KINDS], indirect=True
)


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    found = _KINDS[request.param](request.getfixturevalue(request.param))
    yield found
    if not found.server.running:
        found.server.start()
    for entry in found.files.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


async def run(receiver: FilesReceiver) -> Run:
    found = Run(time.time(), "manual")
    await receiver.read(found)
    return found


@ALL
async def test_files_go_there_and_come_back(place: Place) -> None:
    mode = {} if isinstance(place.server, Vsftpd) else {"mode": "0644"}  # it lets this account not set any
    out = place.sender(folder="病区/{date}", name="{patient}_{key}.bin", marker="{stem}.ok", **mode)
    assert "127.0.0.1" in await out.probe()
    replies = [await out.send(outgoing(BIG[:3_000_000], patient="张")) for _ in range(2)]
    assert [reply.code for reply in replies] == ["written", "repeated"]
    assert place.names() == ["病区/20260115/张_K1.bin", "病区/20260115/张_K1.ok"]
    assert (place.files / "病区/20260115/张_K1.bin").read_bytes() == BIG[:3_000_000]
    assert (place.files / "病区/20260115/张_K1.bin").stat().st_mode & 0o777 == 0o644
    await out.stop()
    intake = Kept()
    receiver = place.receiver(intake, recurse=3, match="*.bin", complete={"by": "marker", "marker": "{stem}.ok"})
    assert "127.0.0.1" in await receiver.probe()
    assert (await run(receiver)).taken == 1
    assert intake.raws == [BIG[:3_000_000]]
    assert place.names() == ["done/x/病区/20260115/张_K1.bin"]


@ALL
async def test_names_and_order_and_archive(place: Place) -> None:
    intake = Kept()
    receiver = place.receiver(intake, complete={"by": "stable", "settle": "10ms"})
    for name in ("-la", "b c", "a'b", "检验", "x.tmp", "[1]*"):
        place.put(name, name.encode())
    unreadable = not isinstance(place.server, PyFtpd)  # it lists no such names
    if unreadable:
        place.put(os.fsdecode("检验".encode("gb18030")), b"gbk")
    (place.files / "link").symlink_to("/etc/passwd")
    found = await run(receiver)
    assert intake.raws == [b"-la", b"[1]*", b"a'b", b"b c", "检验".encode()]
    assert found.refused == unreadable
    place.put("b c", b"again")
    await run(receiver)
    assert (place.files / "done/x/b c").read_bytes() == b"b c"
    assert (place.files / "done/x/b c~1").read_bytes() == b"again"
    assert "link" not in [name for name in place.names() if name.startswith(("done", "error"))]


@ALL
async def test_records_go_on_after_the_connection_was_lost(place: Place) -> None:
    intake = Kept()
    receiver = place.receiver(intake, records={"by": "lines"}, page=100, answer={})
    place.put("a.txt", b"".join(b"%d\n" % n for n in range(1000)))
    commits = 0
    take = intake.take

    async def killing(*arguments: Any, **more: Any) -> Any:
        nonlocal commits
        commits += 1
        if commits == 4:
            await asyncio.to_thread(place.server.kill)
        return await take(*arguments, **more)

    intake.take = killing  # type: ignore[method-assign]
    with pytest.raises(SendError):
        await run(receiver)
    assert len(intake.items) < 1000
    with pytest.raises(UnreachableError):
        await run(receiver)
    await asyncio.to_thread(place.server.start)
    await run(place.receiver(intake, records={"by": "lines"}, page=100, answer={}))
    assert (intake.raws, intake.again) == ([b"%d\n" % n for n in range(1000)], 0)
    assert place.names() == ["answer/a.txt.answer.csv", "done/x/a.txt"]
    lines = (place.files / "answer/a.txt.answer.csv").read_text().splitlines()
    assert [int(line.split(",")[0]) for line in lines[1:]] == list(range(1, 1001))


@ALL
async def test_a_transfer_that_is_cut_off_goes_on(place: Place) -> None:
    # The FTP servers are told to be slow; the other one has more to do.
    big = BIG[:10_000_000] if isinstance(place.server, PyFtpd) else BIG if isinstance(place.server, Vsftpd) else BIG * 3
    out = place.sender()
    sending = asyncio.create_task(out.send(outgoing(big)))
    _, _, passing = out._names(outgoing(big))

    def begun() -> bool:
        with contextlib.suppress(FileNotFoundError):
            return (place.files / passing).stat().st_size > 2 << 20
        return sending.done()

    while not begun():
        await asyncio.sleep(0.001)
    await asyncio.to_thread(place.server.kill)
    with pytest.raises(TransientError):
        await sending
    assert place.names() == [passing]
    assert 0 < (place.files / passing).stat().st_size < len(big)
    await asyncio.to_thread(place.server.start)
    assert (await out.send(outgoing(big))).ok
    assert place.names() == ["K1.bin"]
    assert (place.files / "K1.bin").read_bytes() == big
    assert out.status()["resumed"] == 1
    await out.stop()


@ALL
async def test_absent_and_back(place: Place) -> None:
    out = place.sender()
    assert (await out.send(outgoing(b"1", "A"))).ok
    await asyncio.to_thread(place.server.stop)
    for _ in range(2):
        with pytest.raises(SendError):
            await out.send(outgoing(b"2", "B"))
    with pytest.raises(UnreachableError):
        await out.probe()
    await asyncio.to_thread(place.server.start)
    assert (await out.send(outgoing(b"2", "B"))).ok
    assert place.names() == ["A.bin", "B.bin"]
    await out.stop()


@ALL
async def test_a_server_that_hangs_is_given_up(place: Place) -> None:
    out = place.sender(timeout="2s", connect_timeout="2s")
    receiver = place.receiver(Kept(), timeout="2s", connect_timeout="2s")
    assert (await out.send(outgoing(b"1", "A"))).ok
    place.server.pause()
    try:
        with pytest.raises(TransientError):
            await out.send(outgoing(b"2", "B"))
        with pytest.raises(SendError):
            await out.send(outgoing(b"2", "B", timeout=0.3))
        with pytest.raises(UnreachableError):
            await run(receiver)
    finally:
        place.server.resume()
    assert (await out.send(outgoing(b"2", "B"))).ok
    await out.stop()


@ALL
async def test_wrong_credentials(place: Place, tmp_path: Path) -> None:
    server = place.server
    wrong = {"key": str(server.folder / "stranger")} if isinstance(server, OpenSsh) else {"password": "wrong"}
    with pytest.raises(UnreachableError) as caught:
        await place.sender(**wrong).send(outgoing())
    assert caught.value.code == "file.login"
    assert "wrong" not in caught.value.text
    with pytest.raises(UnreachableError) as caught:
        await run(place.receiver(Kept(), **wrong))
    assert caught.value.code == "file.login"


@ALL
async def test_many_at_once_over_few_connections(place: Place) -> None:
    out = place.sender(connections=3)
    await asyncio.gather(*(out.send(outgoing(b"%d" % n, f"K{n:02}")) for n in range(30)))
    intake = Kept()
    assert (await run(place.receiver(intake, after="delete"))).taken == 30
    assert intake.raws == [b"%d" % n for n in range(30)]
    assert place.names() == []
    await out.stop()


# -- of one kind only ---------------------------------------------------------------------------------------------


@pytest.mark.xdist_group("openssh")
async def test_sftp_host_keys(openssh: OpenSsh) -> None:
    place = _sftp(openssh)
    with pytest.raises(UnreachableError) as caught:
        await place.sender(host_keys=["SHA256:" + "A" * 43]).send(outgoing())
    assert caught.value.code == "file.host_key"
    assert openssh.fingerprint in caught.value.text
    known = openssh.folder / "known"
    key = " ".join((openssh.folder / "host.pub").read_text().split()[:2])
    known.write_text(f"[127.0.0.1]:{openssh.port} {key}\n")
    assert await place.sender(host_keys=[], known_hosts=str(known)).probe()
    stranger = " ".join((openssh.folder / "stranger.pub").read_text().split()[:2])
    known.write_text(f"[127.0.0.1]:{openssh.port} {stranger}\n")
    with pytest.raises(UnreachableError) as caught:
        await place.sender(host_keys=[], known_hosts=str(known)).probe()
    assert caught.value.code == "file.host_key"


@pytest.mark.xdist_group("openssh")
async def test_sftp_disk_full(openssh: OpenSsh) -> None:
    place = _sftp(openssh)
    out = place.sender()
    _, _, passing = out._names(outgoing(b"body"))
    (place.files / passing).symlink_to("/dev/full")
    with pytest.raises(TransientError):
        await out.send(outgoing(b"body"))
    assert place.names() == []
    assert (await out.send(outgoing(b"body"))).ok
    (place.files / "K1.bin").unlink()
    await out.stop()


@pytest.mark.xdist_group("openssh")
async def test_sftp_cut_in_the_middle_of_the_wire(openssh: OpenSsh) -> None:
    place = _sftp(openssh)
    proxy = Proxy(openssh.port)
    try:
        out = place.sender(port=proxy.port)
        proxy.cut_after = 4 << 20
        with pytest.raises(TransientError):
            await out.send(outgoing(BIG[: 6 << 20]))
        assert proxy.cuts == 1
        assert (await out.send(outgoing(BIG[: 6 << 20]))).ok
        assert out.status()["resumed"] == 1
        assert (place.files / "K1.bin").read_bytes() == BIG[: 6 << 20]
        (place.files / "K1.bin").unlink()
        await out.stop()
    finally:
        proxy.close()


@pytest.mark.xdist_group("vsftpd")
async def test_ftp_certificates_and_implicit_tls(vsftpd: Vsftpd, tmp_path: Path) -> None:
    place = _vsftpd(vsftpd)
    for tls in ({}, {"ca": str(vsftpd.folder / "ca.pem"), "server_name": "other.example"}):
        with pytest.raises(UnreachableError) as caught:
            await place.sender(tls=tls).send(outgoing())
        assert caught.value.code == "file.tls"
    with pytest.raises(UnreachableError):  # the server wants TLS before the password
        await place.sender(encryption="none").send(outgoing())

    class Implicit(Vsftpd):
        implicit = True

    server = Implicit(tmp_path)
    try:
        server.start()
        place = _vsftpd(server)
        out = place.sender(encryption="implicit")
        assert (await out.send(outgoing(BIG[:100_000]))).ok
        assert (server.files / "K1.bin").read_bytes() == BIG[:100_000]
        await out.stop()
    finally:
        server.stop()


@pytest.mark.xdist_group("vsftpd")
async def test_ftp_permission_denied(vsftpd: Vsftpd) -> None:
    place = _vsftpd(vsftpd)
    out = place.sender(root="/")
    with pytest.raises(TransientError) as caught:
        await out.send(outgoing())
    assert caught.value.code == "file.permission"
    out = place.sender(mode="0600")
    with pytest.raises(PermanentError) as refused:
        await out.send(outgoing())
    assert refused.value.code == "file.mode"
    assert place.names() == []
    await out.stop()


@pytest.mark.xdist_group("pyftpd")
async def test_ftp_names_in_gbk(tmp_path: Path) -> None:
    class Gbk(PyFtpd):
        encoding = "gbk"

    server = Gbk(tmp_path)
    try:
        server.start()
        place = _pyftpd(server)
        place.put("检验.csv", b"x")
        intake = Kept()
        assert (await run(place.receiver(intake, names="gbk", match="检*"))).taken == 1
        assert (intake.items[0].params or {})["file"] == "检验.csv"
        out = place.sender(names="gbk", name="{control_id}报告.txt")
        assert (await out.send(outgoing())).ok
        assert place.names() == ["C1报告.txt", "done/x/检验.csv"]
        await out.stop()
    finally:
        server.stop()


async def test_nothing_listens() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        ftp = {"host": "127.0.0.1", "port": port, "user": "u", "password": "p"}
        for adapter, options in ((FtpAdapter(), ftp), (SftpAdapter(), {**ftp, "host_keys": ["SHA256:" + "A" * 43]})):
            out = Place(cast(Server, None), Path(), adapter, options).sender()
            with pytest.raises(UnreachableError):
                await out.send(outgoing())
            await out.stop()
