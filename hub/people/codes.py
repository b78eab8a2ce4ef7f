"""Codes of the second factor: sent by text message or mail, shown by an application, kept for recovery. Each counts once."""

from __future__ import annotations

import base64
import hmac
import secrets

import orjson

from hub.errors import HubError
from hub.i18n import t
from hub.logs import get_logger
from hub.people import totp
from hub.people.book import Person
from hub.people.errors import LoginRefused, PeopleError
from hub.people.people import People
from hub.people.sessions import Session

__all__ = ["Codes"]

log = get_logger(__name__)

#: Seconds between two codes sent to somebody who signs in.
_CODE_PAUSE_S = 60


class Codes:
    """What is sent goes through an interface of the hub."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._config = people.config

    async def send(self, session: Session, person: Person, method: str) -> None:
        """Send six digits by ``sms`` or ``mail``, not oftener than once a minute."""
        people, records = self._people, self._people.records
        factor = self._config.second_factor
        place, to = {"sms": (factor.sms, person.phone), "mail": (factor.mail, person.mail)}.get(method, ("", ""))
        if not place or not to:
            raise PeopleError(
                t("method: one of those the login names", "method：登录结果所列方式之一"), code="login.method"
            )
        now = int(people.now())
        sent_at = session.code_until - int(factor.valid)
        if session.code_until and now < sent_at + _CODE_PAUSE_S:
            raise LoginRefused(
                t("a code was sent a moment ago", "验证码刚刚已发送"),
                code="login.code_sent",
                retry_after=sent_at + _CODE_PAUSE_S - now,
            )
        code = f"{secrets.randbelow(10**6):06d}"
        hashed = records.sealing.code_hash(code, session.id)
        await people.run(records.sessions.expect_code, session, hashed, now + int(factor.valid))
        minutes = int(factor.valid) // 60
        text = t(
            f"{code} is your code for signing in, for {minutes} minutes", f"登录验证码 {code}，{minutes} 分钟内有效"
        )
        body = orjson.dumps({"kind": "code", "to": to, "code": code, "minutes": minutes, "text": text})
        try:
            await people.send(place, body, person.id)
        except HubError as error:
            log.error("a login code could not be sent: %s", error.code)
            raise PeopleError(t("the code could not be sent", "验证码发送失败"), code="login.not_sent") from error

    def right(self, token_session: str, user: str, method: str, code: str) -> bool:
        """Looks, and uses the code up, in one go; in the thread of the database."""
        records = self._people.records
        person = records.book.find(user)
        if person is None or len(code) > 32:
            return False
        if method == "totp" and person.totp:
            secret = base64.b64decode(records.sealing.open(person.totp, f"totp:{user}"))
            step = totp.matching_step(secret, code, self._people.now(), person.totp_step)
            if step:
                with records.book.write() as db:
                    db.execute("UPDATE person SET totp_step = ? WHERE id = ? AND totp_step < ?", (step, user, step))
            return bool(step)
        if method == "recovery":
            with records.book.write() as db:
                hashed = records.sealing.code_hash(code.replace("-", "").lower(), f"recovery:{user}")
                db.execute("DELETE FROM recovery WHERE person = ? AND code = ?", (user, hashed))
                return bool(db.changes())
        if method in ("sms", "mail"):
            session = next((s for s in records.sessions.of(user) if s.id == token_session), None)
            if session is None or not session.code or self._people.now() >= session.code_until:
                return False
            right = hmac.compare_digest(session.code, records.sealing.code_hash(code, session.id))
            if right:
                records.sessions.take_code(session)
            return right
        return False
