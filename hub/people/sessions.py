"""Sessions of people and their personal API tokens: random tokens of which a hash is kept, and how far a login has come."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from hub.crypto.digests import sm3, sm3_hex
from hub.i18n import t
from hub.people.errors import PeopleError
from hub.people.rights import RIGHTS

if TYPE_CHECKING:
    from hub.people.book import Book, Person
    from hub.people.config import SessionsConfig

__all__ = ["API_PREFIX", "CODE_TRIES", "SESSION_PREFIX", "Session", "Sessions", "State", "csrf_of"]

#: second: the password was right, a second factor is wanted; enrol: one has to be set up; change: the password has to be changed; full: signed in.
State = Literal["second", "enrol", "change", "full"]

SESSION_PREFIX = "tqs_"
API_PREFIX = "tqp_"
#: Wrong codes a session survives.
CODE_TRIES = 5
#: A login that is not complete ends after so long, seconds.
_INCOMPLETE_S = 900
#: A call is noted as use of the session when so much time has passed since the last, seconds.
_NOTED_EVERY_S = 60
_MOST_API = 20
_COLUMNS = "id, person, kind, state, method, address, agent, note, rights, created_at, used_at, ends_at, verified_at, tries, code, code_until"


@dataclass(frozen=True, slots=True)
class Session:
    """A login, or a personal API token (``kind`` api, ``rights`` what it may do at most)."""

    id: str
    person: str
    kind: str
    state: State
    method: str
    address: str
    agent: str
    note: str
    rights: tuple[str, ...]
    created_at: int
    used_at: int
    ends_at: int
    verified_at: int
    tries: int
    code: bytes = field(repr=False)
    code_until: int

    def shown(self, current: str = "") -> dict[str, Any]:
        return {
            "id": self.id,
            "method": self.method,
            "address": self.address,
            "agent": self.agent,
            "created_at": self.created_at,
            "used_at": self.used_at,
            "ends_at": self.ends_at,
            "current": self.id == current,
        }

    def shown_api(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "note": self.note,
            "rights": [*self.rights],
            "created_at": self.created_at,
            "used_at": self.used_at,
            "ends_at": self.ends_at,
        }


def _hash(token: str) -> bytes:
    """256 random bits need no slow hash."""
    return sm3(token.encode("utf-8", "surrogatepass"))


def csrf_of(token: str) -> str:
    """What a page of the hub sends with every order it makes with the cookie; other sites can't know it."""
    return sm3_hex(b"tongqu csrf: " + token.encode("utf-8", "surrogatepass"))[:32]


class Sessions:
    """Blocks; in the thread of the book."""

    def __init__(self, book: Book, config: SessionsConfig) -> None:
        self._book = book
        self._config = config

    def begin(self, person: str, state: State, method: str, address: str, agent: str, *, verified: bool = False) -> str:
        """A new session; returns its token. Of too many the oldest end."""
        token = SESSION_PREFIX + secrets.token_urlsafe(32)
        now = self._book.now()
        ends = now + int(self._config.longest if state == "full" else _INCOMPLETE_S)
        row = (secrets.token_hex(8), _hash(token), person, "session", state, method, address, agent[:200], "", "[]")
        with self._book.write() as db:
            db.execute("DELETE FROM session WHERE ends_at < ?", (now,))
            db.execute(
                "INSERT INTO session VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, x'', 0)",
                (*row, now, now, ends, now if verified else 0),
            )
            db.execute(
                "DELETE FROM session WHERE id IN (SELECT id FROM session WHERE person = ? AND kind = 'session' "
                "AND token <> ? ORDER BY created_at DESC, id LIMIT -1 OFFSET ?)",
                (person, _hash(token), self._config.most - 1),
            )
        return token

    def find(self, token: str) -> Session | None:
        """The session of a token, unless it has ended; without noting its use."""
        sql = f"SELECT {_COLUMNS} FROM session WHERE token = ?"  # noqa: S608
        row = self._book.database.db.execute(sql, (_hash(token),)).fetchone()
        if row is None:
            return None
        values = dict(zip(Session.__slots__, row, strict=True))
        values["rights"] = tuple(json.loads(values["rights"]))
        session = Session(**values)
        now = self._book.now()
        idle = session.kind == "session" and now - session.used_at > self._config.idle
        return None if idle or now >= session.ends_at else session

    def use(self, session: Session) -> None:
        """Note that it was used, not with every call."""
        now = self._book.now()
        if now - session.used_at >= min(_NOTED_EVERY_S, self._config.idle / 10):
            with self._book.write() as db:
                db.execute("UPDATE session SET used_at = ? WHERE id = ?", (now, session.id))

    def advance(self, session: Session, state: State, *, verified: bool = False) -> str:
        """The login has come further: the token before ends, a new one is returned (no fixed sessions)."""
        with self._book.write() as db:
            db.execute("DELETE FROM session WHERE id = ?", (session.id,))
        verified = verified or bool(session.verified_at)
        return self.begin(session.person, state, session.method, session.address, session.agent, verified=verified)

    def verify(self, session: Session) -> None:
        """A second proof was given just now."""
        with self._book.write() as db:
            db.execute("UPDATE session SET verified_at = ?, tries = 0 WHERE id = ?", (self._book.now(), session.id))

    def failed(self, session: Session) -> None:
        """One wrong code or password more; too many end the session."""
        with self._book.write() as db:
            db.execute("UPDATE session SET tries = tries + 1 WHERE id = ?", (session.id,))
            db.execute("DELETE FROM session WHERE id = ? AND tries >= ?", (session.id, CODE_TRIES))

    def expect_code(self, session: Session, code: bytes, until: int) -> None:
        """A code was sent: it replaces one sent before."""
        with self._book.write() as db:
            db.execute("UPDATE session SET code = ?, code_until = ? WHERE id = ?", (code, until, session.id))

    def take_code(self, session: Session) -> None:
        """A code that was sent counts once."""
        with self._book.write() as db:
            db.execute("UPDATE session SET code = x'', code_until = 0 WHERE id = ?", (session.id,))

    def end(self, actor: str, person: str, session: str, *, kind: str = "session") -> None:
        with self._book.change(
            actor, "session.end" if kind == "session" else "token.revoke", person, {"id": session}
        ) as db:
            db.execute("DELETE FROM session WHERE id = ? AND person = ? AND kind = ?", (session, person, kind))
            if not db.changes():
                raise PeopleError(t("there is no such session or token", "没有这个会话或令牌"), code="session.unknown")

    def end_all(self, actor: str, person: str) -> None:
        with self._book.change(actor, "session.end", person, {"all": True}) as db:
            self._book.end_sessions(db, person, tokens=False)

    def of(self, person: str, kind: str = "session") -> list[Session]:
        sql = f"SELECT {_COLUMNS} FROM session WHERE person = ? AND kind = ? AND ends_at > ? ORDER BY created_at, id"  # noqa: S608
        found = []
        for row in self._book.database.db.execute(sql, (person, kind, self._book.now())):
            values = dict(zip(Session.__slots__, row, strict=True))
            found.append(Session(**{**values, "rights": tuple(json.loads(values["rights"]))}))
        return found

    # -- personal tokens -----------------------------------------------------------------------------------------

    def issue(
        self, person: Person, note: str, rights: Sequence[str], held: frozenset[str], days: int
    ) -> tuple[str, Session]:
        """A personal API token: (token, shown once; what is known of it). Its rights are never more than the user's at the time of a call."""
        wanted = sorted(set(rights))
        wrong = [right for right in wanted if right not in RIGHTS or right not in held or right == "self"]
        if wrong or not wanted:
            allowed = ", ".join(sorted(held - {"self"}))
            raise PeopleError(t(f"rights: some of {allowed}", f"rights：{allowed} 中的若干项"), code="token.rights")
        if not 1 <= days <= 365:
            raise PeopleError(t("days: 1 to 365", "days：1 至 365"), code="token.days")
        token = API_PREFIX + secrets.token_urlsafe(32)
        now = self._book.now()
        number = secrets.token_hex(8)
        with self._book.change(
            person.id, "token.issue", person.id, {"id": number, "rights": wanted, "days": days}
        ) as db:
            if len(self.of(person.id, "api")) >= _MOST_API:
                raise PeopleError(t(f"at most {_MOST_API} tokens", f"令牌最多 {_MOST_API} 个"), code="token.most")
            db.execute(
                "INSERT INTO session VALUES (?, ?, ?, 'api', 'full', 'token', '', '', ?, ?, ?, ?, ?, 0, 0, x'', 0)",
                (number, _hash(token), person.id, note[:200], json.dumps(wanted), now, now, now + days * 86400),
            )
        found = self.find(token)
        assert found is not None  # noqa: S101 - written a moment ago
        return token, found
