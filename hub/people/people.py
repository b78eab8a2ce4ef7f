"""Everything about people in one object: opened by the one process that serves the admin API, asked by its handlers and the command line.

What touches ``access.db`` runs in one thread, one thing after the other; what is slow on purpose in two others. Nothing blocks the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hub.access import AccessDatabase
from hub.i18n import t
from hub.keys import DataKeys
from hub.people.approvals import Approvals
from hub.people.book import Book, Person
from hub.people.errors import LoginRefused, PeopleError
from hub.people.loginlog import LoginLog
from hub.people.passwords import ITERATIONS, Passwords, check_password, temporary_password
from hub.people.rights import (
    EVERYTHING,
    RIGHTS,
    ROLES,
    TOKEN_ACTOR,
    Labelled,
    Principal,
    Scope,
    rights_of,
    role_names,
)
from hub.people.schema import SCHEMA
from hub.people.sealing import Sealing
from hub.people.sessions import Session, Sessions

if TYPE_CHECKING:
    from hub.contract import SecurityConfig

__all__ = ["People", "Records"]

T = TypeVar("T")

#: Passwords that may wait to be looked at; beyond, logins are told to come back.
MOST_WAITING = 16


class Records:
    """What is stored about people, for one thread; the command line uses it as it is. Raises :class:`hub.access.AccessError`."""

    def __init__(
        self,
        data: Path,
        config: SecurityConfig,
        *,
        keys: DataKeys | None = None,
        iterations: int = ITERATIONS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.database = AccessDatabase(data, [SCHEMA])
        self.sealing = Sealing(data, keys)
        self.book = Book(self.database, self.sealing, clock)
        self.log = LoginLog(self.book, config.login)
        self.sessions = Sessions(self.book, config.sessions)
        self.approvals = Approvals(self.book, config.approvals)
        self.passwords = Passwords(self.sealing, iterations)

    @property
    def roles(self) -> frozenset[str]:
        return frozenset(ROLES) | frozenset(self.config.roles)

    def rights(self, person: Person) -> frozenset[str]:
        return rights_of(person.roles, self.config.roles)

    def role_list(self) -> list[dict[str, Any]]:
        """Every role with its name and rights."""
        return [
            {"id": role, "name": name, "rights": sorted(rights_of([role], self.config.roles) & RIGHTS.keys())}
            for role, name in role_names(self.config.roles).items()
        ]

    def set_password(self, actor: str, user: str, hashed: str, *, temporary: bool, action: str, keep: str = "") -> None:
        """Replace a password; ``keep`` is the session that goes on, all others end, and after a reset personal tokens too."""
        now = self.book.now()
        until = now + int(self.config.passwords.temporary) if temporary else 0
        with self.book.change(actor, action, user) as db:
            before = self.book.get(user)
            if before.password:
                db.execute("INSERT INTO past_password VALUES (?, ?, ?)", (user, now, before.password))
                db.execute(
                    "DELETE FROM past_password WHERE person = ? AND rowid NOT IN "
                    "(SELECT rowid FROM past_password WHERE person = ? ORDER BY at DESC, rowid DESC LIMIT 10)",
                    (user, user),
                )
            db.execute(
                "UPDATE person SET password = ?, password_at = ?, temporary_until = ?, changed_at = ? WHERE id = ?",
                (hashed, now, until, now, user),
            )
            self.book.end_sessions(db, user, but=keep, tokens=temporary)

    def past_passwords(self, user: str) -> list[str]:
        """The last ones, the present one among them, as many as the policy forbids."""
        rows = self.database.db.execute(
            "SELECT password FROM past_password WHERE person = ? ORDER BY at DESC, rowid DESC LIMIT ?",
            (user, self.config.passwords.history - 1),
        )
        present = self.book.get(user).password
        return [*([present] if present else []), *(row[0] for row in rows)]

    def first_password(self, actor: str, user: str, password: str = "") -> str:
        """Set a password given by whoever makes the user, or a temporary one, which is returned. Slow."""
        if password:
            check_password(password, self.config.passwords, user)
        made = password or temporary_password(self.config.passwords)
        hashed = self.passwords.hash(made)
        self.set_password(actor, user, hashed, temporary=not password, action="user.password")
        return "" if password else made

    def reset_second_factor(self, actor: str, user: str, reason: str = "") -> None:
        """Take an authenticator that was lost away; the user sets up another."""
        with self.book.change(actor, "user.second_factor", user, "removed", reason) as db:
            self.book.get(user)
            db.execute("UPDATE person SET totp = x'', totp_new = x'', totp_step = 0 WHERE id = ?", (user,))
            db.execute("DELETE FROM recovery WHERE person = ?", (user,))
            self.book.end_sessions(db, user)

    def note(self, actor: str, action: str, subject: str, detail: Mapping[str, Any]) -> None:
        """An entry without a change, e.g. of access to personal data (R-147)."""
        with self.book.change(actor, action, subject, detail):
            pass

    def close(self) -> None:
        self.database.close()


class People:
    """The same for the event loop. ``systems`` are those of the configuration as it is now; ``send`` hands a message to an interface."""

    def __init__(
        self,
        data: Path,
        config: SecurityConfig,
        *,
        systems: Callable[[], Mapping[str, Labelled]],
        send: Callable[[str, bytes, str], Awaitable[Any]],
        name: str = "tongqu",
        url: str = "",
        base: Path = Path(),
        keys: Callable[[], DataKeys | None] = lambda: None,
        iterations: int = ITERATIONS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.systems = systems
        self.send = send
        self.name = name
        self.url = url.rstrip("/")
        self.base = base  # of relative paths in the configuration
        self.records: Records
        self._make = lambda: Records(data, config, keys=keys(), iterations=iterations, clock=clock)
        self._clock = clock
        self._store = ThreadPoolExecutor(1, thread_name_prefix="people")
        self._hashing = ThreadPoolExecutor(2, thread_name_prefix="passwords")
        self._waiting = 0

    async def open(self) -> None:
        """Raises :class:`hub.access.AccessError`."""
        self.records = await self.run(self._make)

    async def close(self) -> None:
        if hasattr(self, "records"):
            await self.run(self.records.close)
        await asyncio.to_thread(self._store.shutdown)
        await asyncio.to_thread(self._hashing.shutdown)

    def now(self) -> float:
        return self._clock()

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """In the thread that has the database."""
        return await asyncio.get_running_loop().run_in_executor(self._store, work, *arguments)

    async def slow(self, work: Callable[..., T], *arguments: Any) -> T:
        """In a thread for password hashes; raises :class:`LoginRefused` when too many wait."""
        if self._waiting >= MOST_WAITING:
            raise LoginRefused(t("too many logins at once", "同时登录过多"), code="login.busy", retry_after=2)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._hashing, work, *arguments)
        finally:
            self._waiting -= 1

    # -- who makes a call ------------------------------------------------------------------------------------------

    async def session(self, token: str) -> tuple[Session, Person] | None:
        """The session of a token and its user, as they are now; None when it has ended or the user may not sign in."""

        def find() -> tuple[Session, Person] | None:
            session = self.records.sessions.find(token)
            person = self.records.book.find(session.person) if session is not None else None
            if session is None or person is None or person.state != "normal":
                return None
            self.records.sessions.use(session)
            return session, person

        return await self.run(find)

    def principal(self, session: Session, person: Person, address: str) -> Principal:
        """What somebody may do by a complete login, or by a personal token."""
        rights = self.records.rights(person)
        if session.kind == "api":
            rights &= frozenset(session.rights)
        return Principal(
            person.id,
            "user" if session.kind == "session" else "api",
            rights,
            person.scope,
            session.id,
            session.verified_at,
            address,
            frozenset(person.roles),
        )

    def service(self, name: str, address: str) -> Principal:
        """The hub's own token: an administrator that is no person."""
        return Principal(name, "token", frozenset(RIGHTS), EVERYTHING, address=address)

    async def requester(self, name: str) -> Principal:
        """Whoever asked for an approval, with the rights and scope they have now. Raises :class:`PeopleError` when there are none."""
        if name == TOKEN_ACTOR or name.startswith(f"{TOKEN_ACTOR}:"):
            return self.service(name.partition(":")[2] or name, "")
        person = await self.run(self.records.book.find, name)
        if person is None or person.state != "normal":
            raise PeopleError(t("whoever asked may not do it any more", "申请人已无权执行"), code="approval.requester")
        return Principal(person.id, "user", self.records.rights(person), person.scope)

    def fresh(self, principal: Principal) -> bool:
        """Did they prove who they are in two ways a short time ago? The hub's own token need not."""
        if principal.kind == "token":
            return True
        return principal.kind == "user" and self.now() - principal.verified_at <= self.config.second_factor.fresh

    def within(self, scope: Scope) -> frozenset[str] | None:
        return scope.within(self.systems())
