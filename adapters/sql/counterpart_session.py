"""What a simulated database does in one session: statements in transactions, each of which is a call to an interface."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson

from adapters.sql.counterpart_known import Known
from adapters.sql.counterpart_tables import Answer, SqlRefusal, Tables
from adapters.sql.counterpart_wire import Wire, error_message, reset
from hub.i18n import t
from hub.simulator.behaviour import Behaviour
from hub.simulator.party import Facts, Opened, Party, Said
from hub.simulator.side import Side, Unfit

__all__ = ["Base", "Session", "state_of"]

_IDLE, _OPEN, _FAILED = b"I", b"T", b"E"
_STATE = re.compile(r"[0-9A-Z]{5}")
#: What the hub calls an error -> one that it calls so.
_STATES = {
    "sql.credentials": "28000",
    "sql.lost": "57P01",
    "sql.deadlock": "40P01",
    "sql.timeout": "55P03",
    "sql.busy": "53300",
    "sql.duplicate": "23505",
    "sql.constraint": "23514",
    "sql.data": "22001",
    "sql.statement": "42501",
    "sql.raised": "P0001",
}
_NOW_NOT, _INTERNAL, _RIGHTS, _RAISED = "57P03", "XX000", "42501", "P0001"
_SETTINGS = frozenset(("SET", "RESET", "DEALLOCATE", "DISCARD", "CLOSE"))
_SHOWN = {"standard_conforming_strings": "on", "transaction isolation level": "read committed"}
#: A statement that waits longer for another session gives up, seconds.
_LOCK_S = 30.0


def state_of(code: str) -> str:
    """The SQLSTATE of an error asked for: one itself, or a word of the hub."""
    return code if _STATE.fullmatch(code) else _STATES.get(code, _RAISED)


class Base:
    """One database that is played, and its interfaces."""

    def __init__(self, tables: Tables, known: Known, party: Party) -> None:
        self.tables, self.known, self.party = tables, known, party


class Session:
    """Of one connection. ``choose`` finds a database by its name."""

    def __init__(self, login: tuple[str, str], find: Callable[[str], Base | None], ended: asyncio.Event) -> None:
        self.login = login
        self.state = _IDLE
        self._find = find
        self._ended = ended
        self._base: Base | None = None
        self._holds = False
        self._sides: list[Side] | None = None  # whose call it may be; None: nothing has told yet
        self._said: list[dict[str, Any]] = []
        self._spoil: Behaviour | None = None  # of the next answer

    def choose(self, database: str) -> bool:
        self._base = self._find(database)
        return self._base is not None

    def gone(self) -> None:
        """What was not committed is undone."""
        self._settle(commit=False)

    # -- statements --------------------------------------------------------------------------------------------------

    async def run(self, sql: str, params: dict[str, Any]) -> Answer:
        """Raises :class:`SqlRefusal`."""
        assert self._base is not None  # noqa: S101 - chosen before anything is asked
        word = sql.split(None, 1)[0].rstrip(";").upper()
        if word in ("COMMIT", "END", "ROLLBACK", "ABORT"):
            return self._end(commit=word in ("COMMIT", "END") and self.state != _FAILED)
        if self.state == _FAILED:
            raise SqlRefusal("25P02", "the transaction has failed, its statements are passed over")
        if word in ("BEGIN", "START"):
            self.state = _OPEN
            return Answer("BEGIN")
        if word in _SETTINGS:
            return Answer(word)
        if word == "SHOW":
            shown = _SHOWN.get(sql.split(None, 1)[1].strip().lower(), "")
            return Answer("SHOW", [("setting", 25)], [(shown,)])
        if "pg_type" in sql:  # which types there are besides those a driver knows: none
            return Answer("SELECT 0", [("name", 25)])
        return await self._ask(self._base, sql, params)

    async def _ask(self, base: Base, sql: str, params: dict[str, Any]) -> Answer:
        alone = self.state == _IDLE
        await self._hold(base)
        self._note(base, sql, params)
        try:
            answer = base.tables.run(sql, params)
        except SqlRefusal as refusal:
            self._hear(base, refusal)
            self._settle(commit=False)
            self.state = _IDLE if alone else _FAILED
            raise
        if alone:
            self._end(commit=True)
        return answer

    async def _hold(self, base: Base) -> None:
        """Transactions are one after another, as if each locked everything."""
        if self._holds:
            return
        try:
            async with asyncio.timeout(_LOCK_S):
                await base.tables.lock.acquire()
        except TimeoutError:
            raise SqlRefusal("55P03", "another session holds the lock") from None
        self._holds = True
        base.tables.begin()

    def _settle(self, *, commit: bool) -> None:
        self._sides, self._said = None, []
        if self._holds and self._base is not None:
            self._holds = False
            try:
                self._base.tables.end(commit=commit)
            finally:
                self._base.tables.lock.release()

    def _note(self, base: Base, sql: str, params: dict[str, Any]) -> None:
        self._said.append({"sql": sql, "params": base.known.named(sql, params)})
        if sides := base.known.sides(sql):
            both = [side for side in self._sides or () if side in sides]
            self._sides = both or self._sides or sides

    # -- the end of a call ---------------------------------------------------------------------------------------------

    def _end(self, *, commit: bool) -> Answer:
        base = self._base
        assert base is not None  # noqa: S101
        said = self._hear(base, None) if commit else None
        kept = commit and (said is None or _takes_effect(said))
        self.state = _IDLE
        self._settle(commit=kept)
        if said is None or kept:
            self._spoil = said.behaviour if said is not None else None
            return Answer("COMMIT" if commit else "ROLLBACK")
        kind = said.behaviour.kind if said.behaviour is not None else "error"
        if kind in ("refuse", "unauthorised"):
            self._spoil = said.behaviour
            return Answer("COMMIT")
        if kind == "status":
            raise SqlRefusal(_of_status(said.status), "the database does not do it, as told")
        raise SqlRefusal(state_of(said.code), said.text)

    def _hear(self, base: Base, refusal: SqlRefusal | None) -> Said | None:
        """What the party says to a call that is complete, or refused; None where it is no interface's."""
        if not self._sides:
            return None
        tree = {"statements": self._said}
        unfit = None
        if refusal is not None:
            about = " ".join(part for part in (refusal.table, refusal.column) if part)
            unfit = Unfit(refusal.state, f"{refusal.text} {about}".strip(), 6)
        body = orjson.dumps(tree, default=str)
        return base.party.hear(Opened(self._sides[0], body, Facts(), tree, unfit))

    async def say(self, wire: Wire, answer: bytes) -> bool:
        """See :class:`adapters.sql.counterpart_wire.Work`."""
        behaviour, self._spoil = self._spoil, None
        writer = wire.writer
        match behaviour.kind if behaviour is not None else "":
            case "delay":
                assert behaviour is not None  # noqa: S101 - matched
                with suppress(TimeoutError):
                    async with asyncio.timeout(behaviour.seconds):
                        await self._ended.wait()
            case "silent":
                while await wire.reader.read(1 << 16):
                    pass
                return False
            case "refuse":
                reset(writer)
                return False
            case "unauthorised":
                writer.write(error_message(SqlRefusal("28000", t("no longer let in", "不再允许访问")), "FATAL"))
                await writer.drain()
                return False
            case "reset":
                writer.write(answer[: len(answer) // 2])
                await writer.drain()
                reset(writer)
                return False
            case "truncated":
                writer.write(answer[: len(answer) // 2])
                await writer.drain()
                return False
            case "garbage":
                writer.write(secrets.token_bytes(300))
                await writer.drain()
                return False
        writer.write(answer)
        return True


def _takes_effect(said: Said) -> bool:
    return not said.refused and (said.behaviour is None or said.behaviour.takes_effect)


def _of_status(status: int) -> str:
    """A database has no status: what one with this status means."""
    if status == 503:
        return _NOW_NOT
    return _INTERNAL if status >= 500 else _RIGHTS
