"""Files: a folder of this machine, SFTP and FTP, beside plain calls of the system, asyncssh and ftplib."""

from __future__ import annotations

import ftplib
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncssh
import uvloop

from adapters.files import FileAdapter, FtpAdapter, SftpAdapter
from benchmarks.adapters.measure import BODY, Case, Run, bind, client, expect, lanes, read_all
from hub.api import Adapter
from tests.peers.files import OpenSsh, PyFtpd

__all__ = ["ftp", "local", "sftp"]

_IN = {"archive": "done/x", "complete": {"by": "name"}, "schedule": {"manual": True}}


def _cases(
    adapter: Adapter,
    place: Path,
    options: dict[str, Any],
    count: int,
    take: Callable[[], int],
    put: Callable[[], None],
    names: tuple[str, str],
) -> Iterator[Case]:
    """``take`` reads every file below ``place`` and moves it to ``done``; ``put`` writes so many."""

    def empty() -> None:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()

    def fill() -> None:
        empty()
        (place / "done").mkdir()
        for number in range(count):
            (place / f"{number:06}.json").write_bytes(BODY)

    def moved() -> int:
        return sum(path.is_file() for path in (place / "done").rglob("*"))

    def receive() -> Run:
        fill()
        run = read_all(adapter, bind(adapter, "in", {**_IN, **options}), count)
        expect(moved(), count, adapter.name)
        return run

    def read() -> Run:
        fill()
        run = client(lambda: expect(take(), count, names[0]), count)
        expect(moved(), count, names[0])
        return run

    yield Case(adapter.name, "in", names[0], receive, read)

    def send() -> Run:
        empty()
        bound = bind(adapter, "out", {"name": "{key}.json", **options})
        run = lanes(adapter, bound, [BODY] * count, 1)
        expect(len(list(place.glob("*.json"))), count, adapter.name)
        return run

    def write() -> Run:
        empty()
        run = client(put, count)
        expect(len(list(place.glob("*.json"))), count, names[1])
        return run

    yield Case(adapter.name, "out", names[1], send, write)


def local(folder: Path, share: float) -> Iterator[Case]:
    place, count = folder / "files", max(20, int(2_000 * share))

    def take() -> int:
        found = sorted(entry.name for entry in os.scandir(place) if entry.is_file())
        read = 0
        for name in found:
            read += len((place / name).read_bytes()) == len(BODY)
            (place / name).rename(place / "done" / name)
        return read

    def put() -> None:
        folder_itself = os.open(place, os.O_RDONLY)
        for number in range(count):
            part = place / f".{number}.part"
            with part.open("wb") as file:
                file.write(BODY)
                file.flush()
                os.fsync(file.fileno())
            part.rename(place / f"{number}.json")
            os.fsync(folder_itself)
        os.close(folder_itself)

    names = ("read and rename", "write, fsync of file and folder, rename")
    yield from _cases(FileAdapter(), place, {"root": str(place)}, count, take, put, names)


def sftp(folder: Path, share: float) -> Iterator[Case]:
    count = max(20, int(300 * share))
    server = OpenSsh(folder / "sshd")
    server.start()
    options = {
        "host": "127.0.0.1",
        "port": server.port,
        "root": str(server.files),
        "user": server.account,
        "key": str(server.folder / "client"),
        "host_keys": [server.fingerprint],
    }

    async def session(work: Callable[[asyncssh.SFTPClient], Any]) -> Any:
        connected = asyncssh.connect(
            "127.0.0.1",
            server.port,
            username=server.account,
            client_keys=[str(server.folder / "client")],
            known_hosts=str(server.folder / "known_hosts"),
            config=None,
        )
        async with connected as connection, connection.start_sftp_client() as client_:
            await client_.chdir(str(server.files))
            return await work(client_)

    async def take(client_: asyncssh.SFTPClient) -> int:
        found = [str(each.filename) for each in await client_.readdir(".") if str(each.filename).endswith(".json")]
        read = 0
        for name in sorted(found):
            async with client_.open(name, "rb") as file:
                read += len(await file.read()) == len(BODY)
            await client_.rename(name, f"done/{name}")
        return read

    async def put(client_: asyncssh.SFTPClient) -> None:
        for number in range(count):
            async with client_.open(f".{number}.part", "wb") as file:
                await file.write(BODY)
            await client_.posix_rename(f".{number}.part", f"{number}.json")

    names = ("asyncssh: list, open, read, rename", "asyncssh: open, write, rename")
    try:
        yield from _cases(
            SftpAdapter(),
            server.files,
            options,
            count,
            lambda: int(uvloop.run(session(take))),
            lambda: uvloop.run(session(put)),
            names,
        )
    finally:
        server.stop()


def ftp(folder: Path, share: float) -> Iterator[Case]:
    count = max(20, int(300 * share))
    server = PyFtpd(folder / "ftpd")
    server.start()
    options = {"host": "127.0.0.1", "port": server.port, "user": "hub", "password": "secret", "encryption": "none"}

    def session() -> ftplib.FTP:
        connection = ftplib.FTP(timeout=30)
        connection.connect("127.0.0.1", server.port)
        connection.login("hub", "secret")
        return connection

    def take() -> int:
        read = 0
        with session() as connection:
            found = [name for name, facts in connection.mlsd() if facts["type"] == "file"]
            for name in sorted(found):
                parts: list[bytes] = []
                connection.retrbinary(f"RETR {name}", parts.append)
                read += len(b"".join(parts)) == len(BODY)
                connection.rename(name, f"done/{name}")
        return read

    def put() -> None:
        with session() as connection:
            for number in range(count):
                connection.storbinary(f"STOR .{number}.part", io.BytesIO(BODY))
                connection.rename(f".{number}.part", f"{number}.json")

    names = ("ftplib: MLSD, RETR, rename", "ftplib: STOR, rename")
    try:
        yield from _cases(FtpAdapter(), server.files, options, count, take, put, names)
    finally:
        server.stop()
