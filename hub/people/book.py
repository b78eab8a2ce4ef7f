"""Users as they are stored: found, made, changed, each change with its entry in the journal. All of it blocks; one thread at a time."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import apsw

from hub.access import AccessDatabase
from hub.audit import entry
from hub.i18n import t
from hub.masking import mask
from hub.people.errors import PeopleError
from hub.people.rights import Scope
from hub.people.sealing import Sealing

__all__ = ["STATES", "Book", "Person"]

#: 正常, 冻结, 注销 (004:10013).
STATES = ("normal", "frozen", "closed")
_ID = re.compile(r"[a-z][a-z0-9._-]{1,63}")
_PHONE = re.compile(r"\+?[0-9 -]{5,20}")
_MAIL = re.compile(r"[^\s@]{1,64}@[^\s@]{1,190}")
_COLUMNS = (
    "id, name, institution, phone, mail, note, state, state_reason, roles, scope, password, password_at, temporary_until, "
    "totp, totp_new, totp_step, created_at, changed_at, login_at"
)
_SEALED = ("name", "phone", "mail")


@dataclass(frozen=True, slots=True)
class Person:
    """One user. ``temporary_until``: the password is a temporary one and lapses then; 0: it is the user's own."""

    id: str
    name: str = field(repr=False)
    institution: str
    phone: str = field(repr=False)
    mail: str = field(repr=False)
    note: str
    state: str
    state_reason: str
    roles: tuple[str, ...]
    scope: Scope
    password: str = field(repr=False)
    password_at: int
    temporary_until: int
    totp: bytes = field(repr=False)  # sealed; empty: no authenticator
    totp_new: bytes = field(repr=False)  # sealed, not confirmed yet
    totp_step: int
    created_at: int
    changed_at: int
    login_at: int

    def shown(self, *, clear: bool = False) -> dict[str, Any]:
        """For people; telephone and mail address masked unless ``clear``."""

        def contact(text: str) -> str:
            return text if clear or not text else mask(text)

        return {
            "id": self.id,
            "name": self.name,
            "institution": self.institution,
            "phone": contact(self.phone),
            "mail": contact(self.mail),
            "note": self.note,
            "state": self.state,
            "state_reason": self.state_reason,
            "roles": [*self.roles],
            "scope": self.scope.as_dict(),
            "has_password": bool(self.password),
            "must_change_password": bool(self.temporary_until),
            "second_factor": bool(self.totp),
            "created_at": self.created_at,
            "changed_at": self.changed_at,
            "login_at": self.login_at,
        }


class Book:
    """The registry of users."""

    def __init__(self, database: AccessDatabase, sealing: Sealing, clock: Callable[[], float] = time.time) -> None:
        self.database = database
        self.sealing = sealing
        self.clock = clock

    def now(self) -> int:
        return int(self.clock())

    @contextlib.contextmanager
    def change(
        self, actor: str, action: str, subject: str, detail: Mapping[str, Any] | str = "", reason: str = ""
    ) -> Iterator[apsw.Connection]:
        """One change and its entry. What is read within it holds until it is written."""
        with self.database.change(entry(actor, action, subject, detail, reason)) as db:
            yield db

    @contextlib.contextmanager
    def write(self) -> Iterator[apsw.Connection]:
        """A change that needs no entry: counters and marks."""
        with self.database.db:
            yield self.database.db

    # -- finding -------------------------------------------------------------------------------------------------

    def find(self, user: str) -> Person | None:
        row = self.database.db.execute(f"SELECT {_COLUMNS} FROM person WHERE id = ?", (user,)).fetchone()  # noqa: S608
        return None if row is None else self._person(row)

    def get(self, user: str) -> Person:
        found = self.find(user)
        if found is None:
            raise PeopleError(t("there is no such user", "没有这个用户"), code="user.unknown")
        return found

    def everybody(self) -> list[Person]:
        rows = self.database.db.execute(f"SELECT {_COLUMNS} FROM person ORDER BY id")  # noqa: S608
        return [self._person(row) for row in rows]

    def search(self, words: Mapping[str, str]) -> list[Person]:
        """By ``state``, ``role``, ``institution`` exactly, and ``word``: part of id, name or telephone number."""
        word = words.get("word", "").casefold()
        return [
            person
            for person in self.everybody()
            if (not words.get("state") or person.state == words["state"])
            and (not words.get("role") or words["role"] in person.roles)
            and (not words.get("institution") or person.institution == words["institution"])
            and (not word or any(word in text.casefold() for text in (person.id, person.name, person.phone)))
        ]

    def _person(self, row: tuple[Any, ...]) -> Person:
        values = dict(zip(Person.__slots__, row, strict=True))
        for column in _SEALED:
            values[column] = self.sealing.open(values[column], f"{column}:{values['id']}")
        values["roles"] = tuple(json.loads(values["roles"]))
        values["scope"] = Scope.read(json.loads(values["scope"]))
        return Person(**values)

    # -- changing ------------------------------------------------------------------------------------------------

    def add(self, actor: str, given: Mapping[str, Any], roles: frozenset[str], *, reason: str = "") -> Person:
        """A new user, without a password. ``roles``: those there are."""
        user = given.get("id")
        if not isinstance(user, str) or not _ID.fullmatch(user):
            raise PeopleError(
                t("the id of a user: 2 to 64 small letters, digits, . _ -", "用户名：2 至 64 个小写字母、数字、. _ -"),
                code="user.id",
                remedy=t("e.g. zhang.san", "例如 zhang.san"),
            )
        values = self._checked({key: value for key, value in given.items() if key != "id"}, roles)
        values = {
            "name": "",
            "institution": "",
            "phone": "",
            "mail": "",
            "note": "",
            "roles": [],
            "scope": Scope(),
            **values,
        }
        now = self.now()
        detail = {"roles": values["roles"], "scope": values["scope"].as_dict(), "institution": values["institution"]}
        with self.change(actor, "user.add", user, detail, reason) as db:
            if self.find(user) is not None:
                raise PeopleError(t(f"there is a user {user} already", f"用户 {user} 已存在"), code="user.exists")
            row = {column: self._stored(user, column, value) for column, value in values.items()}
            row |= {"id": user, "state": "normal", "created_at": now, "changed_at": now}
            row |= {"state_reason": "", "password": "", "password_at": 0, "temporary_until": 0}
            row |= {"totp": b"", "totp_new": b"", "totp_step": 0, "login_at": 0}
            names = ", ".join(row)
            db.execute(f"INSERT INTO person ({names}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))  # noqa: S608
        return self.get(user)

    def set(
        self, actor: str, user: str, given: Mapping[str, Any], roles: frozenset[str], *, reason: str = ""
    ) -> Person:
        """Change name, institution, phone, mail, note, roles, scope; the id stays (004:10007)."""
        values = self._checked(given, roles)
        detail: dict[str, Any] = {"changed": sorted(values)}
        if "roles" in values:
            detail["roles"] = values["roles"]
        if "scope" in values:
            detail["scope"] = values["scope"].as_dict()
        with self.change(actor, "user.set", user, detail, reason) as db:
            before = self.get(user)
            if "roles" in values and "administrator" not in values["roles"]:
                self._not_the_last(before)
            if "scope" in values and not values["scope"].everything:
                self._not_the_last(before)
            for column, value in values.items():
                db.execute(f"UPDATE person SET {column} = ? WHERE id = ?", (self._stored(user, column, value), user))  # noqa: S608
            db.execute("UPDATE person SET changed_at = ? WHERE id = ?", (self.now(), user))
            if values.keys() & {"roles", "scope"}:
                self.end_sessions(db, user)
        return self.get(user)

    def set_state(self, actor: str, user: str, state: str, *, reason: str) -> Person:
        """normal, frozen or closed; needs a reason (004:10013). Whoever is not normal is signed out at once."""
        if state not in STATES:
            raise PeopleError(
                t(f"state: one of {', '.join(STATES)}", f"state：{'、'.join(STATES)} 之一"), code="user.state"
            )
        if not reason.strip():
            raise PeopleError(t("a reason is needed", "须说明理由"), code="user.reason")
        with self.change(actor, "user.state", user, {"state": state}, reason) as db:
            before = self.get(user)
            if state != "normal":
                self._not_the_last(before)
                self.end_sessions(db, user)
            db.execute(
                "UPDATE person SET state = ?, state_reason = ?, changed_at = ? WHERE id = ?",
                (state, reason[:500], self.now(), user),
            )
        return self.get(user)

    def administrators(self) -> list[Person]:
        """Those who can manage users of every scope, and sign in."""
        return [
            p for p in self.everybody() if p.state == "normal" and "administrator" in p.roles and p.scope.everything
        ]

    def _not_the_last(self, person: Person) -> None:
        if [each.id for each in self.administrators()] == [person.id]:
            raise PeopleError(
                t(f"{person.id} is the last administrator", f"{person.id} 是最后一名管理员"),
                code="user.last",
                remedy=t("make another first", "请先设置另一名管理员"),
            )

    @staticmethod
    def end_sessions(db: apsw.Connection, user: str, *, but: str = "", tokens: bool = True) -> None:
        kinds = "" if tokens else " AND kind = 'session'"
        db.execute(f"DELETE FROM session WHERE person = ? AND id <> ?{kinds}", (user, but))  # noqa: S608

    def _stored(self, user: str, column: str, value: Any) -> Any:
        if column in _SEALED:
            return self.sealing.seal(value, f"{column}:{user}")
        if column == "scope":
            return json.dumps(value.as_dict(), ensure_ascii=False)
        return json.dumps(value) if column == "roles" else value

    def _checked(self, given: Mapping[str, Any], roles: frozenset[str]) -> dict[str, Any]:
        """Raises :class:`PeopleError` naming the field that is wrong, never its value."""
        values: dict[str, Any] = {}
        for key, value in given.items():
            if key in ("name", "institution", "note", "phone", "mail"):
                limit = 500 if key == "note" else 200
                sound = isinstance(value, str) and len(value) <= limit and all(c.isprintable() for c in value)
                shape = {"phone": _PHONE, "mail": _MAIL}.get(key)
                sound = sound and (not value or shape is None or shape.fullmatch(value) is not None)
            elif key == "roles":
                sound = isinstance(value, list) and all(isinstance(role, str) and role in roles for role in value)
                if not sound:
                    known = ", ".join(sorted(roles))
                    raise PeopleError(t(f"roles: some of {known}", f"roles：{known} 中的若干项"), code="user.roles")
                value = sorted(set(value))
            elif key == "scope":
                try:
                    value, sound = Scope.read(value), True
                except ValueError:
                    sound = False
            else:
                sound = False
            if not sound:
                raise PeopleError(t(f"{key}: not valid for a user", f"{key}：对用户无效"), code="user.field")
            values[key] = value
        return values
