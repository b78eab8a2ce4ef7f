"""The server's end of PostgreSQL's protocol 3.0 (chapters 55.2, 55.7), as far as a driver with parameters needs it.

Not here: TLS, COPY, passwords other than in plain, results in binary. One session is one connection.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any, Protocol

from adapters.sql.counterpart_tables import Answer, SqlRefusal
from adapters.sql.counterpart_values import parameter, told

__all__ = ["Wire", "Work", "error_message", "reset"]

_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102
_LARGEST = 64 << 20
_GREETINGS = {
    "server_version": "15.0",
    "server_encoding": "UTF8",
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "integer_datetimes": "on",
    "standard_conforming_strings": "on",
}
_CURSOR = re.compile(
    r'DECLARE\s+"?([^"\s]+)"?\s+(?:(?:NO\s+)?SCROLL\s+)?CURSOR\s+(?:WITH\s+HOLD\s+)?FOR\s+(.*)', re.I | re.S
)
_FETCH = re.compile(r'FETCH\s+FORWARD\s+(ALL|\d+)\s+FROM\s+"?([^"\s]+)"?\s*', re.I)


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def error_message(refusal: SqlRefusal, severity: str = "ERROR") -> bytes:
    fields = {"S": severity, "V": severity, "C": refusal.state, "M": refusal.text}
    fields |= {"t": refusal.table, "c": refusal.column}
    body = b"".join(key.encode() + _text(value) for key, value in fields.items() if value)
    return message(b"E", body + b"\0")


def rows_of(answer: Answer) -> bytes:
    """The rows of an answer; their description goes before."""
    types = [kind for _, kind in answer.columns or ()]
    found = []
    for row in answer.rows:
        parts = [struct.pack("!h", len(row))]
        for kind, value in zip(types, row, strict=True):
            raw = told(value, kind)
            parts += [struct.pack("!i", -1)] if raw is None else [struct.pack("!i", len(raw)), raw]
        found.append(message(b"D", b"".join(parts)))
    return b"".join(found)


def _described(answer: Answer) -> bytes:
    if answer.columns is None:
        return message(b"n")
    parts = [struct.pack("!h", len(answer.columns))]
    parts += [_text(name) + struct.pack("!ihihih", 0, 0, kind, -1, -1, 0) for name, kind in answer.columns]
    return message(b"T", b"".join(parts))


def _text(value: str) -> bytes:
    return value.encode().replace(b"\0", b"") + b"\0"


def reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Work(Protocol):
    """What is behind a connection."""

    login: tuple[str, str]  # user and password that are let in
    state: bytes  # I: no transaction, T: in one, E: in one that has failed

    def choose(self, database: str) -> bool:
        """False where there is no such database."""

    async def run(self, sql: str, params: dict[str, Any]) -> Answer:
        """One statement. Raises :class:`SqlRefusal`."""

    async def say(self, wire: Wire, answer: bytes) -> bool:
        """Send an answer, or what stands in its place; False where the connection is over."""

    def gone(self) -> None:
        """The connection has ended."""


class _Over(Exception):
    """The connection ends."""


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, work: Work) -> None:
        self.reader, self.writer = reader, writer
        self._work = work
        self._statements: dict[bytes, tuple[str, list[int]]] = {}
        self._portals: dict[bytes, tuple[str, dict[str, Any]]] = {}
        self._answers: dict[bytes, Answer] = {}  # of portals that have run, and of cursors
        self._failed = False  # of a series of messages the rest is passed over

    async def serve(self) -> None:
        try:
            await self._greet()
            async for kind, body in self._messages():
                await self._take(kind, body)
                if kind in b"SQH":
                    await self.writer.drain()
        except (_Over, ConnectionError, EOFError, ValueError, struct.error, IndexError):
            pass
        finally:
            self._work.gone()
            with suppress(ConnectionError):
                self.writer.close()

    # -- the beginning -----------------------------------------------------------------------------------------------

    async def _greet(self) -> None:
        while True:
            (size, code) = struct.unpack("!ii", await self.reader.readexactly(8))
            if not 8 <= size <= 10_000 or code == _CANCEL:
                raise _Over
            rest = await self.reader.readexactly(size - 8)
            if code not in (_SSL, _GSS):
                break
            self.writer.write(b"N")
        if code >> 16 != 3:
            raise _Over
        if code & 0xFFFF:
            self.writer.write(message(b"v", struct.pack("!ii", 3 << 16, 0)))
        words = [part.decode() for part in rest.split(b"\0")]
        given = dict(zip(words[::2], words[1::2], strict=False))
        await self._admit(given.get("user", ""), given.get("database") or given.get("user", ""))
        self.writer.write(message(b"R", struct.pack("!i", 0)))
        for name, value in _GREETINGS.items():
            self.writer.write(message(b"S", _text(name) + _text(value)))
        self.writer.write(message(b"K", secrets.token_bytes(8)))
        self._ready()
        await self.writer.drain()

    async def _admit(self, user: str, database: str) -> None:
        wanted_user, password = self._work.login
        shown = ""
        if password:
            self.writer.write(message(b"R", struct.pack("!i", 3)))
            await self.writer.drain()
            kind, body = await self._one()
            shown = body.rstrip(b"\0").decode("utf-8", "replace") if kind == b"p" else ""
        if user != wanted_user or not hmac.compare_digest(shown.encode(), password.encode()):
            await self._end(SqlRefusal("28P01", "password authentication failed"))
        if not self._work.choose(database):
            await self._end(SqlRefusal("3D000", "the database does not exist"))

    async def _end(self, refusal: SqlRefusal) -> None:
        self.writer.write(error_message(refusal, "FATAL"))
        await self.writer.drain()
        raise _Over

    # -- messages ----------------------------------------------------------------------------------------------------

    async def _messages(self) -> AsyncIterator[tuple[bytes, bytes]]:
        while True:
            kind, body = await self._one()
            if kind == b"X":
                return
            yield kind, body

    async def _one(self) -> tuple[bytes, bytes]:
        head = await self.reader.readexactly(5)
        (size,) = struct.unpack("!i", head[1:])
        if not 4 <= size <= _LARGEST:
            raise _Over
        return head[:1], await self.reader.readexactly(size - 4)

    async def _take(self, kind: bytes, body: bytes) -> None:
        if kind == b"S":
            self._failed = False
            self._ready()
            return
        if self._failed:
            return
        try:
            match kind:
                case b"Q":
                    await self._query(body.rstrip(b"\0").decode())
                case b"P":
                    self._parse(body)
                case b"B":
                    self._bind(body)
                case b"D":
                    await self._describe(body)
                case b"E":
                    await self._execute(body.split(b"\0", 1)[0])
                case b"C":
                    self.writer.write(message(b"3"))
                case b"H":
                    pass
                case _:
                    raise SqlRefusal("08P01", "this message is not known here")
        except SqlRefusal as refusal:
            self.writer.write(error_message(refusal))
            if kind == b"Q":
                self._ready()
            else:
                self._failed = True

    def _ready(self) -> None:
        self.writer.write(message(b"Z", self._work.state))

    async def _query(self, sql: str) -> None:
        if not sql.strip():
            self.writer.write(message(b"I"))
        else:
            answer = await self._run(sql, {})
            if answer.columns is not None:
                self.writer.write(_described(answer))
            await self._say(answer)
        self._ready()

    def _parse(self, body: bytes) -> None:
        name, sql, rest = body.split(b"\0", 2)
        (count,) = struct.unpack_from("!h", rest)
        self._statements[name] = (sql.decode(), list(struct.unpack_from(f"!{count}i", rest, 2)))
        self.writer.write(message(b"1"))

    def _bind(self, body: bytes) -> None:
        portal, name, rest = body.split(b"\0", 2)
        if name not in self._statements:
            raise SqlRefusal("26000", "the prepared statement does not exist")
        sql, kinds = self._statements[name]
        formats, at = _shorts(rest, 0)
        (count,) = struct.unpack_from("!h", rest, at)
        at += 2
        params: dict[str, Any] = {}
        for number in range(count):
            (size,) = struct.unpack_from("!i", rest, at)
            at += 4
            raw = rest[at : at + size] if size >= 0 else None
            at += max(size, 0)
            binary = bool(formats[number] if len(formats) > 1 else formats[0] if formats else 0)
            params[str(number + 1)] = parameter(raw, kinds[number] if number < len(kinds) else 0, binary)
        self._portals[portal] = (sql, params)
        self._answers.pop(portal, None)
        self.writer.write(message(b"2"))

    async def _describe(self, body: bytes) -> None:
        name = body[1:].split(b"\0", 1)[0]
        if body[:1] != b"P":
            raise SqlRefusal("0A000", "a statement can't be described before it is bound")
        self.writer.write(_described(await self._portal(name)))

    async def _execute(self, name: bytes) -> None:
        await self._say(await self._portal(name))
        self._portals.pop(name, None)
        self._answers.pop(name, None)

    async def _portal(self, name: bytes) -> Answer:
        if (answer := self._answers.get(name)) is not None:
            return answer
        if name not in self._portals:
            raise SqlRefusal("34000", "the portal does not exist")
        answer = self._answers[name] = await self._run(*self._portals[name])
        return answer

    async def _run(self, sql: str, params: dict[str, Any]) -> Answer:
        if (declared := _CURSOR.fullmatch(sql.strip())) is not None:
            answer = await self._work.run(declared[2], params)
            self._answers[declared[1].encode()] = answer
            return Answer("DECLARE CURSOR")
        if (fetched := _FETCH.fullmatch(sql.strip())) is not None:
            open_cursor = self._answers.get(fetched[2].encode())
            if open_cursor is None:
                raise SqlRefusal("34000", "the cursor does not exist")
            most = len(open_cursor.rows) if fetched[1].upper() == "ALL" else int(fetched[1])
            page, open_cursor.rows = open_cursor.rows[:most], open_cursor.rows[most:]
            return Answer(f"FETCH {len(page)}", open_cursor.columns, page)
        return await self._work.run(sql, params)

    async def _say(self, answer: Answer) -> None:
        """What was answered, or what the party does instead."""
        whole = rows_of(answer) + message(b"C", _text(answer.tag))
        if not await self._work.say(self, whole):
            raise _Over


def _shorts(raw: bytes, at: int) -> tuple[Sequence[int], int]:
    (count,) = struct.unpack_from("!h", raw, at)
    return struct.unpack_from(f"!{count}h", raw, at + 2), at + 2 + 2 * count
