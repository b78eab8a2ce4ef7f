"""C-STORE received, against dcmtk's storescp, from the same sender in one run: objects and megabytes per second.

``python -m benchmarks.dicom [--objects N]``. The sender is dcmtk's ``dcmsend`` with one association. The intake acknowledges at once, so that only the
adapter is measured; what it puts on the disk it does put there (fsync), which storescp doesn't. ``processor`` is the receiver's own time per object.
dcmtk runs without Nagle's algorithm: with it, as it comes, its own two ends spend 45 ms per object waiting for each other.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import uvloop

from adapters.dicom import DicomAdapter
from adapters.dicom.options import DicomListen
from hub.api import Bound, HubError, Receipt
from hub.codecs.dicom import DicomCodec
from hub.codecs.dicom_write import write_new
from hub.contract import Interface
from hub.message import Outcome

_CT = "1.2.840.10008.5.1.4.1.1.2"
_ROUNDS = 3
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


class _Intake:
    """Acknowledges at once."""

    def submit(self, bound: Bound, raw: bytes, done: Callable[[Receipt], None], **more: Any) -> None:
        done(Receipt(Outcome.OK, 1))

    def refuse(self, bound: Bound, raw: bytes, error: HubError, *, remote: str = "") -> None:
        raise error

    def ready(self) -> bool:
        return True


def image(number: int, size: int) -> bytes:
    """An image of about so many bytes."""
    head = write_new(
        {
            "SOPClassUID": _CT,
            "SOPInstanceUID": f"1.2.3.{size}.{number}",
            "StudyInstanceUID": "1.2.3",
            "SeriesInstanceUID": "1.2.3.1",
            "Modality": "CT",
            "PatientID": "P1",
            "Rows": 512,
            "Columns": 512,
        }
    )
    pixels = bytes([number % 251]) * (size & ~1)
    return head + b"\xe0\x7f\x10\x00OW\0\0" + len(pixels).to_bytes(4, "little") + pixels


async def _serve(folder: str, inline: int, pipe: Pipe) -> None:
    interface = Interface(direction="in", adapter="dicom", codec="dicom")
    options = DicomListen(inline=inline)
    bound = Bound("b/in", "b", "in", "b@1", interface, DicomCodec(), {}, options, data=Path(folder))
    receiver = DicomAdapter().receiver(bound, _Intake())  # type: ignore[arg-type]
    await receiver.start()
    pipe.send(receiver.status()["port"])
    while await asyncio.to_thread(pipe.recv) is not None:
        pipe.send(time.process_time())
    await receiver.stop(1.0)


def _server(folder: str, inline: int, pipe: Pipe) -> None:
    uvloop.run(_serve(folder, inline, pipe))


@contextmanager
def hub_receiver(folder: Path, inline: int) -> Iterator[tuple[int, Callable[[], float]]]:
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_server, args=(str(folder), inline, theirs))
    process.start()
    port = int(ours.recv())

    def used() -> float:
        ours.send("time")
        return float(ours.recv())

    try:
        yield port, used
    finally:
        ours.send(None)
        process.join()


@contextmanager
def storescp(folder: Path) -> Iterator[tuple[int, Callable[[], float]]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    (folder / "received").mkdir()
    process = subprocess.Popen(
        ["storescp", "-od", str(folder / "received"), "+xa", "-pdu", "131072", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
    )
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.02)

    def used() -> float:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    try:
        yield port, used
    finally:
        process.kill()
        process.wait()


def _measure(kind: str, size: int, count: int) -> tuple[float, float]:
    """(objects per second, milliseconds of the receiver's processor time per object), the best of a few rounds."""
    folder = Path(tempfile.mkdtemp(prefix="dicom"))
    try:
        (folder / "sent").mkdir()
        for number in range(count):
            (folder / "sent" / f"{number}.dcm").write_bytes(image(number, size))
        with (
            storescp(folder) if kind == "storescp" else hub_receiver(folder, (1 << 20) if kind == "message" else 0) as (
                port,
                used,
            )
        ):
            best, processor = 0.0, 1e9
            for _ in range(_ROUNDS):
                before, started = used(), time.perf_counter()
                command = ["dcmsend", "-aec", "TONGQU", "-pdu", "131072", "+sd", "127.0.0.1", str(port)]
                subprocess.run([*command, str(folder / "sent")], check=True, capture_output=True, env=ENVIRONMENT)
                best = max(best, count / (time.perf_counter() - started))
                processor = min(processor, (used() - before) * 1000 / count)
            return best, processor
    finally:
        shutil.rmtree(folder)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--objects", type=int, default=200)
    count = arguments.parse_args().objects
    print(f"{'receiver':28} {'object':>8} {'objects/s':>10} {'MB/s':>7} {'processor':>10}")
    for size in (10_000, 524_288):
        for kind, name in (
            ("storescp", "storescp"),
            ("message", "hub, object is message"),
            ("file", "hub, object is file"),
        ):
            speed, processor = _measure(kind, size, count)
            shown = f"{size // 1000} KB"
            print(f"{name:28} {shown:>8} {speed:10.0f} {speed * size / 1e6:7.1f} {processor:7.2f} ms")


if __name__ == "__main__":
    main()
