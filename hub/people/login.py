"""Signing in, step by step: password, second factor, a password that must be changed; and proving it again for what is sensitive."""

from __future__ import annotations

import asyncio
import base64
import secrets
from dataclasses import dataclass
from typing import Any

import orjson

from hub.errors import HubError
from hub.i18n import t
from hub.logs import get_logger
from hub.people import totp
from hub.people.book import Person
from hub.people.codes import Codes
from hub.people.errors import (
    LoginRefused,
    NotAllowed,
    PeopleError,
    locked,
    login_over,
    not_fresh,
    wrong_code,
    wrong_login,
)
from hub.people.loginlog import unknown
from hub.people.passwords import LONGEST, check_password, strength_of
from hub.people.people import People
from hub.people.rights import Principal
from hub.people.sessions import Session, State, csrf_of

__all__ = ["Login", "Step"]

log = get_logger(__name__)

_DAY = 86400
_RECOVERY_CODES = 10
_RECOVERY_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


@dataclass(frozen=True, slots=True)
class Step:
    """How far a login is: ``state`` second, enrol, change or full."""

    token: str
    state: State
    person: Person
    methods: list[str]
    notices: list[str]

    def as_dict(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "user": self.person.id,
            "name": self.person.name,
            "token": self.token,
            "csrf": csrf_of(self.token),
            "methods": self.methods,
            "notices": self.notices,
        }


class Login:
    """The steps. ``address`` and ``agent``: from where, with what. Every method raises :class:`LoginRefused` for what is wrong."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._config = people.config
        self.codes = Codes(people)
        self._reminders: set[asyncio.Task[None]] = set()

    # -- first step ----------------------------------------------------------------------------------------------

    async def password(self, user: str, password: str, address: str, agent: str) -> Step:
        """Answers, and works, alike for a user there is not and for a wrong password."""
        people, records = self._people, self._people.records
        wait = await people.run(records.log.attempt, user, address)
        person = await people.run(records.book.find, user)
        known = person.id if person is not None else unknown(user)
        if wait:
            await people.run(records.log.add, known, "password", "locked", address, agent)
            raise locked(wait)
        if person is None or not person.password or len(password) > LONGEST:
            await people.slow(records.passwords.verify_nobody, password)
            right = False
        else:
            right = await people.slow(records.passwords.verify, password, person.password)
        if person is None or not right or 0 < person.temporary_until <= people.now():
            await people.run(records.log.add, known, "password", "wrong", address, agent)
            raise wrong_login()
        if records.passwords.outdated(person.password):
            renewed = await people.slow(records.passwords.hash, password)
            await people.run(self._renew, person, renewed)
        return await self.identified(person, "password", address, agent)

    def _renew(self, person: Person, hashed: str) -> None:
        """The same password, kept as it is kept today; not if it was changed meanwhile."""
        with self._people.records.book.write() as db:
            db.execute(
                "UPDATE person SET password = ? WHERE id = ? AND password = ?", (hashed, person.id, person.password)
            )

    async def identified(self, person: Person, method: str, address: str, agent: str) -> Step:
        """Somebody is who they say, by a password or by a portal: what comes next?"""
        people, records = self._people, self._people.records
        if person.state != "normal":
            await people.run(records.log.add, person.id, method, person.state, address, agent)
            raise LoginRefused(
                t("the account is frozen or closed", "账号已冻结或注销"),
                code="login.state",
                remedy=t("ask an administrator", "请联系管理员"),
            )
        state = self._next(person, method, proven=False)
        whole = state in ("change", "full")
        # Before the login is noted: that makes the address a usual one, and the failures were counted as from elsewhere.
        await people.run(lambda: records.log.succeeded(person.id, address, whole=whole))
        notices = await self._arrived(person, method, address, agent) if whole else []
        token = await people.run(records.sessions.begin, person.id, state, method, address, agent)
        return Step(token, state, person, await self.methods(person), notices)

    def _next(self, person: Person, method: str, *, proven: bool) -> State:
        factor, portal = self._config.second_factor, method != "password"
        wanted = factor.required or bool(set(factor.roles) & set(person.roles)) or bool(person.totp)
        if portal and not self._config.portal.second_factor:
            wanted = False
        if wanted and not proven:
            return "second" if self._methods(person) else "enrol"
        lapsed = self._people.now() >= person.password_at + self._config.passwords.valid_days * _DAY
        return "change" if not portal and (person.temporary_until or lapsed) else "full"

    def _methods(self, person: Person) -> list[str]:
        factor = self._config.second_factor
        found = ["totp"] if person.totp else []
        found += ["sms"] if factor.sms and person.phone else []
        return found + (["mail"] if factor.mail and person.mail else [])

    async def methods(self, person: Person) -> list[str]:
        """How somebody can give a second proof; nothing: with the password."""
        sql = "SELECT 1 FROM recovery WHERE person = ?"
        find = self._people.records.database.db.execute
        left = await self._people.run(lambda: find(sql, (person.id,)).fetchone() is not None)
        return [*self._methods(person), *(["recovery"] if person.totp and left else [])]

    async def _arrived(self, person: Person, method: str, address: str, agent: str) -> list[str]:
        """Note the login; returns what the person should know."""
        records = self._people.records

        def note() -> bool:
            elsewhere = records.log.from_elsewhere(person.id, address)
            records.log.add(person.id, method, "ok", address, agent)
            with records.book.write() as db:
                db.execute("UPDATE person SET login_at = ? WHERE id = ?", (records.book.now(), person.id))
            return elsewhere

        notices = self.notices(person)
        if await self._people.run(note):
            region = records.log.region(address)
            text = t(
                f"signed in from {region}, where you have not signed in of late",
                f"本次登录来自 {region}，与您近期的登录地区不一致",
            )
            notices.append(text)
            task = asyncio.create_task(self._remind(person, text))
            self._reminders.add(task)
            task.add_done_callback(self._reminders.discard)
        return notices

    def notices(self, person: Person) -> list[str]:
        policy = self._config.passwords
        if not person.password or person.temporary_until:
            return []
        left = (person.password_at + policy.valid_days * _DAY - self._people.now()) / _DAY
        if not 0 < left <= policy.remind_days:
            return []
        days = max(1, int(left + 0.999))
        return [t(f"the password has to be changed within {days} days", f"口令将在 {days} 天内到期，请尽快修改")]

    async def _remind(self, person: Person, text: str) -> None:
        factor = self._config.second_factor
        for place, to in ((factor.mail, person.mail), (factor.sms, person.phone)):
            if place and to:
                body = orjson.dumps({"kind": "login_elsewhere", "to": to, "user": person.id, "text": text})
                try:
                    await self._people.send(place, body, person.id)
                except HubError as error:
                    log.warning("a reminder of a login from elsewhere could not be sent: %s", error.code)
                return

    # -- second factor -------------------------------------------------------------------------------------------

    async def _prove(self, session: Session, person: Person, method: str, code: str, address: str) -> None:
        """Raises when the code is not right; counts as a failed login then."""
        people, records = self._people, self._people.records
        wait = await people.run(records.log.attempt, person.id, address)
        if wait:
            raise locked(wait)
        if method == "password":
            right = len(code) <= LONGEST and await people.slow(records.passwords.verify, code, person.password)
        else:
            right = await people.run(self.codes.right, session.id, person.id, method, code)
        if not right:
            await people.run(records.sessions.failed, session)
            await people.run(records.log.add, person.id, method, "wrong", address, session.agent)
            raise wrong_code()

    async def second(self, session: Session, person: Person, method: str, code: str, address: str) -> Step:
        """The second factor of a login."""
        await self._prove(session, person, method, code, address)
        return await self._proven(session, person, address)

    async def _proven(self, session: Session, person: Person, address: str) -> Step:
        people, records = self._people, self._people.records
        state = self._next(person, session.method, proven=True)
        await people.run(lambda: records.log.succeeded(person.id, address, whole=True))
        notices = await self._arrived(person, f"{session.method}+2", address, session.agent)
        token = await people.run(lambda: records.sessions.advance(session, state, verified=True))
        return Step(token, state, person, [], notices)

    async def verify(self, session: Session, person: Person, method: str, code: str, address: str) -> None:
        """A second proof by somebody who is signed in; the password counts for whoever has nothing else."""
        if method == "password" and self._methods(person):
            raise PeopleError(
                t("method: one of those /api/v1/me names", "method：/api/v1/me 所列方式之一"), code="login.method"
            )
        await self._prove(session, person, method, code, address)
        people, records = self._people, self._people.records
        await people.run(lambda: records.log.succeeded(person.id, address, whole=False))
        await people.run(records.sessions.verify, session)

    # -- authenticator -------------------------------------------------------------------------------------------

    async def enrol(self, session: Session, person: Person, principal: Principal | None) -> dict[str, str]:
        """A new secret for an authenticator, not in use before :meth:`confirm`. Whoever has a second factor proves it first."""
        if (
            session.state == "full"
            and self._methods(person)
            and (principal is None or not self._people.fresh(principal))
        ):
            raise not_fresh()
        secret = secrets.token_bytes(20)
        records = self._people.records
        sealed = records.sealing.seal(base64.b64encode(secret).decode(), f"totp:{person.id}")

        def keep() -> None:
            with records.book.write() as db:
                db.execute("UPDATE person SET totp_new = ? WHERE id = ?", (sealed, person.id))

        await self._people.run(keep)
        text = base64.b32encode(secret).decode().rstrip("=")
        return {"secret": text, "uri": totp.uri(secret, person.id, self._people.name)}

    async def confirm(self, session: Session, person: Person, code: str, address: str) -> tuple[list[str], Step | None]:
        """The authenticator works: it is in use from now on. Returns recovery codes, shown once, and the next step of a login."""
        people, records = self._people, self._people.records
        codes = ["".join(secrets.choice(_RECOVERY_ALPHABET) for _ in range(12)) for _ in range(_RECOVERY_CODES)]

        def take() -> bool:
            fresh = records.book.get(person.id)
            if not fresh.totp_new:
                return False
            secret = base64.b64decode(records.sealing.open(fresh.totp_new, f"totp:{person.id}"))
            step = totp.matching_step(secret, code, people.now(), 0)
            if not step:
                return False
            with records.book.change(person.id, "user.second_factor", person.id, "set up") as db:
                db.execute(
                    "UPDATE person SET totp = totp_new, totp_new = x'', totp_step = ? WHERE id = ?", (step, person.id)
                )
                db.execute("DELETE FROM recovery WHERE person = ?", (person.id,))
                for each in codes:
                    hashed = records.sealing.code_hash(each, f"recovery:{person.id}")
                    db.execute("INSERT INTO recovery VALUES (?, ?)", (person.id, hashed))
                records.book.end_sessions(db, person.id, but=session.id, tokens=False)
            return True

        if not await people.run(take):
            await people.run(records.sessions.failed, session)
            raise wrong_code()
        shown = [f"{each[:4]}-{each[4:8]}-{each[8:]}" for each in codes]
        if session.state == "enrol":
            return shown, await self._proven(session, person, address)
        await people.run(records.sessions.verify, session)
        return shown, None

    # -- own password --------------------------------------------------------------------------------------------

    async def change_password(self, session: Session, person: Person, old: str, new: str, address: str) -> Step | None:
        """By the user. Raises :class:`PeopleError` for what the policy forbids; returns the next step where the login waited for this."""
        people, records = self._people, self._people.records
        policy = self._config.passwords
        if not person.password:
            raise PeopleError(t("this user signs in through the portal", "该用户经门户登录"), code="password.none")
        await self._prove(session, person, "password", old, address)
        await people.run(lambda: records.log.succeeded(person.id, address, whole=False))
        if len(new) > LONGEST:
            new = new[: LONGEST + 1]  # the policy refuses it
        check_password(new, policy, person.id)
        since = people.now() - person.password_at
        if session.state == "full" and not person.temporary_until and since < policy.change_days * _DAY:
            raise PeopleError(
                t(
                    f"a password can be changed every {policy.change_days} days",
                    f"两次修改口令须间隔 {policy.change_days} 天",
                ),
                code="password.interval",
                remedy=t("wait, or have it reset", "请等待，或请管理员重置"),
            )
        past = await people.run(records.past_passwords, person.id)
        if await people.slow(lambda: any(records.passwords.verify(new, each) for each in past)):
            raise PeopleError(
                t(f"not one of the last {policy.history} passwords", f"不得与最近 {policy.history} 次口令相同"),
                code="password.history",
            )
        hashed = await people.slow(records.passwords.hash, new)
        await people.run(
            lambda: records.set_password(
                person.id, person.id, hashed, temporary=False, action="user.password", keep=session.id
            )
        )
        if session.state != "change":
            return None
        token = await people.run(records.sessions.advance, session, "full")
        return Step(token, "full", person, [], [])

    def strength(self, password: str) -> str:
        return strength_of(password[:LONGEST])

    async def at(self, token: str, *states: State) -> tuple[Session, Person]:
        """The session of a login that is at one of these steps."""
        found = await self._people.session(token)
        if found is None or found[0].kind != "session":
            raise login_over()
        if found[0].state not in states:
            raise NotAllowed(
                t(f"the login is at the step {found[0].state!r}", f"登录处于步骤 {found[0].state!r}"),
                code="login.step",
                remedy=t("GET /api/v1/me tells what is next", "GET /api/v1/me 会说明下一步"),
            )
        return found
