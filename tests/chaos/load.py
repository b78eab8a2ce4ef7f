"""Upstream systems: many connections, each sending its own patients' messages and repeating what was not acknowledged."""

from __future__ import annotations

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count

__all__ = ["HttpUpstream", "MllpUpstream", "Upstream", "document", "hl7", "mllp_frame", "read_mllp"]

START, END = b"\x0b", b"\x1c\r"


def hl7(control: str, patient: str, padding: int = 0) -> bytes:
    """An admission with its number in MSH-10 and the patient in PID-3."""
    return (
        f"MSH|^~\\&|HIS|H1|HUB|T|20261121080000||ADT^A01^ADT_A01|{control}|P|2.5.1\r"
        f"EVN|A01|20261121080000\r"
        f"PID|1||{patient}^^^H1^MR||TEST^PATIENT||19830502|M\r"
        f"PV1|1|I|W1^101^1^H1||||||||||||||||V{control}\r" + (f"NTE|1||{'x' * padding}\r" if padding else "")
    ).encode()


def document(control: str, patient: str) -> bytes:
    return f'{{"control":"{control}","type":"note","patient":"{patient}","text":"\u75c5\u5386 {control}"}}'.encode()


def mllp_frame(body: bytes) -> bytes:
    return START + body + END


async def read_mllp(reader: asyncio.StreamReader) -> bytes:
    """The next framed message; raises ``asyncio.IncompleteReadError`` at the end of the connection."""
    return (await reader.readuntil(END)).lstrip(START).removesuffix(END)


class Upstream(ABC):
    """One sending system. Each connection has patients of its own, so that their order is well defined."""

    def __init__(self, name: str, port: int, *, connections: int = 4, patients: int = 3, pause: float = 0.0) -> None:
        self.name = name
        self.port = port
        self.acked: list[str] = []  # control ids the hub has accepted
        self.acked_at: dict[str, float] = {}
        self.sent = 0
        self.resent = 0
        self.refused: Counter[str] = Counter()  # by what the hub said; repeated until accepted
        self.connects = 0
        self.pause = pause  # mean pause between two messages of a connection, seconds
        self.patience = 10.0  # for an acknowledgement
        self._connections = connections
        self._patients = patients
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._chance = random.Random(name)
        self._numbers: Counter[str] = Counter()

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._speak(n)) for n in range(self._connections)]

    async def finish(self, seconds: float = 60.0) -> None:
        """Send nothing new, go on until everything sent is acknowledged."""
        self._stopping = True
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(*self._tasks)
        except TimeoutError:
            raise AssertionError(f"{self.name}: not everything was acknowledged; {dict(self.refused)}") from None

    async def abandon(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def acked_more(self, number: int, seconds: float = 30.0) -> None:
        """Wait until so many more are acknowledged."""
        wanted = len(self.acked) + number
        deadline = time.monotonic() + seconds
        while len(self.acked) < wanted:
            for task in self._tasks:
                if task.done():
                    task.result()
            assert time.monotonic() < deadline, f"{self.name}: no acknowledgement; {dict(self.refused)}"
            await asyncio.sleep(0.005)

    async def _speak(self, connection: int) -> None:
        talk: Callable[[str, str], Awaitable[str]] | None = None
        for turn in count():
            if self._stopping:
                break
            patient = f"{self.name}{connection}p{turn % self._patients}"
            control = f"{patient}-{self._numbers[patient]:06d}"
            self._numbers[patient] += 1
            self.sent += 1
            tries = 0
            while True:
                self.resent += tries > 0
                tries += 1
                try:
                    if talk is None:
                        talk = await self._connect()
                        self.connects += 1
                    said = await asyncio.wait_for(talk(control, patient), self.patience)
                except (OSError, EOFError, TimeoutError):
                    talk = None
                    await asyncio.sleep(0.02)
                    continue
                if said == "ok":
                    break
                self.refused[said] += 1
                await asyncio.sleep(0.05)
            self.acked.append(control)
            self.acked_at[control] = time.monotonic()
            if self.pause:
                await asyncio.sleep(self._chance.expovariate(1 / self.pause))

    @abstractmethod
    async def _connect(self) -> Callable[[str, str], Awaitable[str]]:
        """A new connection; the function returned sends one message and gives ``ok`` or the code of the refusal."""


class MllpUpstream(Upstream):
    """Speaks HL7 over MLLP, one message at a time per connection."""

    async def _connect(self) -> Callable[[str, str], Awaitable[str]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)

        async def talk(control: str, patient: str) -> str:
            try:
                writer.write(mllp_frame(hl7(control, patient)))
                ack = await read_mllp(reader)
            except BaseException:
                writer.close()
                raise
            fields = ack.split(b"\rMSA|", 1)[1].split(b"\r", 1)[0].split(b"|")
            assert fields[1] == control.encode(), f"the acknowledgement of {control} names {fields[1]!r}"
            return "ok" if fields[0] == b"AA" else fields[0].decode()

        return talk


class HttpUpstream(Upstream):
    """Posts JSON documents to ``path``."""

    path = "/notes"

    async def _connect(self) -> Callable[[str, str], Awaitable[str]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)

        async def talk(control: str, patient: str) -> str:
            body = document(control, patient)
            head = (
                f"POST {self.path} HTTP/1.1\r\nHost: hub\r\nContent-Type: application/json\r\n"
                f"Idempotency-Key: {control}\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            try:
                writer.write(head.encode() + body)
                answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(answer.partition("content-length: ")[2].partition("\r\n")[0] or 0)
                await reader.readexactly(length)
                if "connection: close" in answer:
                    writer.close()
            except BaseException:
                writer.close()
                raise
            if writer.is_closing() and answer[9:12] not in ("200", "202"):
                raise ConnectionError(answer[9:12])
            return "ok" if answer[9:12] in ("200", "202") else answer[9:12]

        return talk
