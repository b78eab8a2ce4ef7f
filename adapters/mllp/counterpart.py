"""The other end of MLLP for simulators: answers the messages of ``out`` interfaces, and sends to ``in`` interfaces of a hub."""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

from adapters.mllp.framing import FrameReader, FrameTooLarge, frame
from adapters.mllp.options import MllpConnect, MllpListen
from adapters.mllp.sender import MllpSender
from hub.api import HubError, Outgoing
from hub.codecs.hl7_ack import build_ack
from hub.i18n import t
from hub.simulator.behaviour import Behaviour
from hub.simulator.calls import SimulatedReply
from hub.simulator.counterpart import Counterpart, Listening
from hub.simulator.party import Facts, Party, Said
from hub.simulator.side import Side

__all__ = ["MllpCounterpart"]

_TIMEOUT = 60.0
_LARGEST = 64 << 20
_READ = 1 << 16
_CODES = frozenset(("AA", "AE", "AR", "CA", "CE", "CR"))
#: What HTTP says by its status: passing or not.
_PASSING = 500


class MllpCounterpart(Counterpart):
    """See the module."""

    def listening(self, sides: Sequence[Side], party: Party) -> Listening:
        return _Playing(sides, party)

    async def send(
        self, side: Side, to: str, options: Mapping[str, Any], body: bytes, behaviour: Behaviour | None
    ) -> SimulatedReply:
        listen = cast(MllpListen, side.bound.options)
        parts = urlsplit(to or f"mllp://{listen.host}:{listen.port}")
        if not parts.hostname or not parts.port:
            raise HubError(
                t("the address has no host or port", "地址缺少主机或端口"),
                code="simulate.address",
                remedy=t("write e.g. mllp://127.0.0.1:2575", "例如 mllp://127.0.0.1:2575"),
            )
        kind = behaviour.kind if behaviour is not None else ""
        if kind == "garbage":
            body = bytes(byte for byte in range(32, 127)) * 4
        elif kind == "truncated":
            body = body[: len(body) // 2]
        tls = {"verify": False} if listen.tls is not None else None
        connect = MllpConnect.model_validate({"host": parts.hostname, "port": parts.port, "tls": tls})
        sender = MllpSender(replace(side.bound, options=connect, protection=None, checks=None))
        await sender.start()
        side.sent += 1
        try:
            reply = await sender.send(Outgoing(body, side.sent, f"sim-{side.sent}", "", "", 1, _TIMEOUT))
        finally:
            await sender.stop()
        return SimulatedReply(reply.ok, reply.body, 0, reply.code, reply.error, sent=body)


class _Playing(Listening):
    """All ``out`` interfaces of one plugin over MLLP: those with one host and port share a listener."""

    def __init__(self, sides: Sequence[Side], party: Party) -> None:
        self._party = party
        self._ports: dict[tuple[str, int], list[Side]] = {}
        self._servers: list[asyncio.Server] = []
        self._open: set[asyncio.StreamWriter] = set()
        self._ended = asyncio.Event()
        for side in sides:
            options = cast(MllpConnect, side.bound.options)
            if options.tls is not None:
                raise HubError(
                    t("targets over TLS are played without a certificate: not yet", "尚不能模拟使用 TLS 的 MLLP 目标"),
                    code="simulate.tls",
                )
            self._ports.setdefault((options.host, options.port), []).append(side)

    async def start(self) -> None:
        for (host, port), sides in self._ports.items():
            try:
                server = await asyncio.start_server(partial(self._serve, sides), host, port)
            except OSError as error:
                await self.stop()
                raise HubError(
                    t(f"can't listen on {host}:{port}: {error.strerror}", f"无法监听 {host}:{port}：{error.strerror}"),
                    code="simulate.listen",
                    remedy=t("choose a free port of this machine", "请选择本机空闲端口"),
                ) from error
            self._servers.append(server)

    async def stop(self) -> None:
        self._ended.set()
        for server in self._servers:
            server.close()
        self._servers.clear()
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, sides: Sequence[Side], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        frames = FrameReader(_LARGEST)
        try:
            while data := await reader.read(_READ):
                frames.feed(data)
                while (message := frames.next() or frames.settle()) is not None:
                    if message and not await self._answer(sides, message, writer):
                        return
        except (ConnectionError, FrameTooLarge, asyncio.CancelledError):
            return
        finally:
            self._open.discard(writer)
            with suppress(ConnectionError):
                writer.close()

    async def _answer(self, sides: Sequence[Side], message: bytes, writer: asyncio.StreamWriter) -> bool:
        """False where the connection is over."""
        opened = None
        for side in sides:
            read = await asyncio.to_thread(self._party.read, side, message, Facts())
            if opened is None or read.unfit is None:
                opened = read
            if read.unfit is None:
                break
        assert opened is not None  # noqa: S101 - a listener has a side
        said = self._party.hear(opened)
        answer = frame(said.body if said.body.startswith(b"MSH") else _acknowledgement(message, said))
        match said.behaviour.kind if said.behaviour is not None else "":
            case "delay":
                assert said.behaviour is not None  # noqa: S101 - matched
                with suppress(TimeoutError):
                    async with asyncio.timeout(said.behaviour.seconds):
                        await self._ended.wait()
            case "silent":
                await self._ended.wait()
                return False
            case "refuse" | "status":
                _reset(writer)
                return False
            case "reset":
                writer.write(answer[: len(answer) // 2])
                await writer.drain()
                _reset(writer)
                return False
            case "truncated":
                writer.write(answer[: len(answer) // 2])
                await writer.drain()
                return False
            case "garbage":
                writer.write(secrets.token_bytes(300).replace(b"\x0b", b"x"))
                await writer.drain()
                return False
        writer.write(answer)
        await writer.drain()
        return True


def _acknowledgement(message: bytes, said: Said) -> bytes:
    """AA, or what the party refuses with: the code itself where it is one of HL7, else AE or AR by its class."""
    if not said.refused:
        return build_ack(message, "AA")
    code = said.code if said.code in _CODES else "AE" if said.status >= _PASSING else "AR"
    return build_ack(message, code, said.text)


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
