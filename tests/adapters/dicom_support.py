"""What the tests of the DICOM adapters share: an intake in memory, both ends of the adapter, objects."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from adapters.dicom import DicomAdapter
from adapters.dicom.options import DicomConnect, DicomListen
from adapters.dicom.receiver import DicomReceiver
from adapters.dicom.sender import DicomSender
from hub.api import Bound, HubError, Outgoing, Receipt
from hub.codecs.dicom import DicomCodec
from hub.codecs.dicom_write import write_new
from hub.codecs.json_codec import JsonCodec
from hub.contract import Interface
from hub.message import Outcome

#: Longest wait for anything a test expects, seconds.
DEADLINE = 20.0
CT = "1.2.840.10008.5.1.4.1.1.2"
PDF = "1.2.840.10008.5.1.4.1.1.104.1"


class MemoryIntake:
    """An intake whose verdicts the test decides."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.numbers: list[str] = []
        self.params: list[dict[str, str]] = []
        self.refused: list[HubError] = []
        self.waiting: list[tuple[bytes, Callable[[Receipt], None]]] = []
        self.at_once = True
        self.is_ready = True
        self.verdict: Callable[[bytes], Receipt] = lambda raw: Receipt(Outcome.OK, 1)

    def submit(self, bound: Bound, raw: bytes, done: Callable[[Receipt], None], **more: Any) -> None:
        self.taken.append(raw)
        self.numbers.append(more["control_id"])
        self.params.append(dict(more["params"]))
        if self.at_once:
            done(self.verdict(raw))
        else:
            self.waiting.append((raw, done))

    def refuse(self, bound: Bound, raw: bytes, error: HubError, *, remote: str = "") -> None:
        self.refused.append(error)

    def ready(self) -> bool:
        return self.is_ready

    def of(self, service: str) -> list[bytes]:
        return [raw for raw, params in zip(self.taken, self.params, strict=True) if params["service"] == service]


def bound_in(data: Path, **options: Any) -> Bound:
    queries = {"worklist", "find"} & set(options.get("services", ()))
    contract = Interface(
        direction="in", adapter="dicom", codec="json" if queries else "dicom", style="request" if queries else "event"
    )
    codec = JsonCodec() if queries else DicomCodec()
    return Bound("pacs/in", "pacs", "in", "pacs@1", contract, codec, {}, DicomListen(**options), data=data)


def bound_out(data: Path, **options: Any) -> Bound:
    contract = Interface(direction="out", adapter="dicom", codec="dicom")
    chosen = DicomConnect(**{"host": "127.0.0.1", "called": "TONGQU", **options})
    return Bound("archive/out", "archive", "out", "archive@1", contract, DicomCodec(), {}, chosen, data=data)


@asynccontextmanager
async def listening(intake: MemoryIntake, data: Path, **options: Any) -> AsyncIterator[DicomReceiver]:
    receiver = DicomAdapter().receiver(bound_in(data, **options), intake)  # type: ignore[arg-type]
    assert isinstance(receiver, DicomReceiver)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop(5.0)


@asynccontextmanager
async def calling(port: int, data: Path, **options: Any) -> AsyncIterator[DicomSender]:
    sender = DicomAdapter().sender(bound_out(data, port=port, **options))
    assert isinstance(sender, DicomSender)
    await sender.start()
    try:
        yield sender
    finally:
        await sender.stop()


def outgoing(body: bytes, timeout: float = DEADLINE, attempt: int = 1) -> Outgoing:
    return Outgoing(body, 1, "key", "DICOM.CT", "1", attempt, timeout)


def port_of(receiver: DicomReceiver) -> int:
    port: int = receiver.status()["port"]
    return port


def image(number: int = 1, study: str = "1.2.3", series: str = "1.2.3.1", **more: Any) -> bytes:
    """A small object of CT, without pixels."""
    return write_new(
        {
            "SOPClassUID": CT,
            "SOPInstanceUID": f"1.2.3.9.{number}",
            "StudyInstanceUID": study,
            "SeriesInstanceUID": series,
            "Modality": "CT",
            "PatientID": "P1",
            "PatientName": "Zhang^San=张^三",
            "AccessionNumber": "A1",
            **more,
        }
    )


def document(size: int, number: int = 1) -> bytes:
    """An object of about this size: a PDF in DICOM."""
    import base64

    pattern = bytes(range(251)) * (size // 251 + 1)
    return image(
        number, SOPClassUID=PDF, Modality="DOC", EncapsulatedDocument=base64.b64encode(pattern[:size]).decode()
    )


async def until(condition: Callable[[], Any]) -> None:
    """Wait for a condition; fails at the deadline."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "condition not met in time"
        await asyncio.sleep(0.005)


def threads() -> set[str]:
    """Threads of the adapter that are alive."""
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("dicom")}
