"""The sending side of the demo: MLLP connections of HIS and LIS, HTTP calls of the freight operator."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

import aiohttp

__all__ = ["Ack", "Answer", "MllpLine", "Operator"]

_LIMIT = 1 << 20
_WAIT = 15.0


@dataclass(frozen=True, slots=True)
class Ack:
    """An acknowledgement as the sender reads it."""

    code: str  # MSA-1
    control_id: str  # MSA-2
    text: str  # MSA-3
    error: str  # the ERR segment, "" when there is none


class MllpLine:
    """One connection of a system that sends HL7 over MLLP, one message under way at a time."""

    def __init__(self, port: int, charset: str) -> None:
        self.seconds: list[float] = []  # from the first byte sent to the acknowledgement read
        self._port = port
        self._charset = charset
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> MllpLine:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=_LIMIT)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def send(self, message: bytes) -> Ack:
        started = time.perf_counter()
        self._writer.write(b"\x0b" + message + b"\x1c\r")
        async with asyncio.timeout(_WAIT):
            frame = await self._reader.readuntil(b"\x1c\r")
        self.seconds.append(time.perf_counter() - started)
        return _read_ack(frame.strip(b"\x0b\x1c\r"), self._charset)


def _read_ack(raw: bytes, charset: str) -> Ack:
    segments = {line[:3]: line.split("|") for line in raw.decode(charset).split("\r") if line}
    msa = segments.get("MSA", ["MSA"]) + [""] * 4
    return Ack(msa[1], msa[2], _unescaped(msa[3]), "|".join(segments.get("ERR", [])))


def _unescaped(text: str) -> str:
    for letter, char in (("F", "|"), ("S", "^"), ("T", "&"), ("R", "~"), ("E", "\\")):
        text = text.replace(f"\\{letter}\\", char)
    return text


@dataclass(frozen=True, slots=True)
class Answer:
    """The hub's answer to a call."""

    status: int
    body: dict[str, Any]


class Operator:
    """The freight operator's platform: posts waybills with its token."""

    def __init__(self, port: int, token: str) -> None:
        self.seconds: list[float] = []
        self._url = f"http://127.0.0.1:{port}/freight/v1/waybills"
        self._token = token
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Operator:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_WAIT))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def post(self, document: dict[str, Any]) -> Answer:
        return await self.post_raw(json.dumps(document, ensure_ascii=False).encode())

    async def post_raw(self, body: bytes, *, token: str | None = None) -> Answer:
        """``token`` instead of the operator's own; "" sends none."""
        token = self._token if token is None else token
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        started = time.perf_counter()
        async with self._session.post(self._url, data=body, headers=headers) as response:
            answer = Answer(response.status, json.loads(await response.read()))
        if response.ok:
            self.seconds.append(time.perf_counter() - started)
        return answer
