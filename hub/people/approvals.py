"""What one person asks for and another has to approve before it is done, once (002:762)."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hub.i18n import t
from hub.masking import mask_text
from hub.people.book import Book
from hub.people.config import ApprovalsConfig
from hub.people.errors import NotAllowed, PeopleError

__all__ = ["Approval", "Approvals"]

_COLUMNS = "id, action, subject, content, requester, reason, state, created_at, ends_at, decided_by, decided_at, decision, result"
_MOST = 1000


@dataclass(frozen=True, slots=True)
class Approval:
    """``state``: asked, approved (to be done once), doing, done, failed, rejected. What was asked lapses at ``ends_at``."""

    id: str
    action: str
    subject: str
    content: dict[str, Any]
    requester: str
    reason: str
    state: str
    created_at: int
    ends_at: int
    decided_by: str
    decided_at: int
    decision: str
    result: str

    def shown(self, now: int) -> dict[str, Any]:
        open_still = self.state in ("asked", "approved")
        return {
            "id": self.id,
            "action": self.action,
            "subject": self.subject,
            "requester": self.requester,
            "reason": self.reason,
            "state": "lapsed" if open_still and now >= self.ends_at else self.state,
            "created_at": self.created_at,
            "ends_at": self.ends_at,
            "decided_by": self.decided_by,
            "decided_at": self.decided_at,
            "decision": self.decision,
            "result": self.result,
        }


class Approvals:
    """Blocks; in the thread of the book. Everything is in the journal: who asked, who decided, what came of it."""

    def __init__(self, book: Book, config: ApprovalsConfig) -> None:
        self._book = book
        self.config = config

    def wanted(self, action: str) -> bool:
        return action in self.config.actions

    def ask(self, requester: str, action: str, subject: str, content: Mapping[str, Any], reason: str) -> Approval:
        """Keep a request until somebody decides. Raises :class:`PeopleError` without a reason: nobody could decide."""
        if not reason.strip():
            raise PeopleError(
                t("this has to be approved: say why", "此操作须经审批：请说明理由"), code="approval.reason"
            )
        number = secrets.token_hex(8)
        now = self._book.now()
        sealed = self._book.sealing.seal(json.dumps(content, ensure_ascii=False), f"approval:{number}")
        row = (number, action, subject[:500], sealed, requester, mask_text(reason)[:500], "asked", now)
        detail = {"id": number, "action": action}
        with self._book.change(requester, "approval.ask", subject[:500], detail, reason) as db:
            db.execute(
                "INSERT INTO approval VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '', 0, '', '')",
                (*row, now + int(self.config.within)),
            )
        return self.get(number)

    def get(self, number: str) -> Approval:
        row = self._book.database.db.execute(f"SELECT {_COLUMNS} FROM approval WHERE id = ?", (number,)).fetchone()  # noqa: S608
        if row is None:
            raise PeopleError(t("there is no such request", "没有这个申请"), code="approval.unknown")
        return self._approval(row)

    def listed(self, state: str = "") -> list[Approval]:
        where, values = ("WHERE state = ?", (state,)) if state else ("", ())
        sql = f"SELECT {_COLUMNS} FROM approval {where} ORDER BY created_at DESC, id LIMIT {_MOST}"  # noqa: S608
        return [self._approval(row) for row in self._book.database.db.execute(sql, values)]

    def _approval(self, row: tuple[Any, ...]) -> Approval:
        content = json.loads(self._book.sealing.open(row[3], f"approval:{row[0]}"))
        values = dict(zip(Approval.__slots__, row, strict=True))
        return Approval(**{**values, "content": content})

    def decide(self, person: str, number: str, *, approve: bool, reason: str) -> Approval:
        """Another person approves or rejects, in time. Raises :class:`PeopleError`, :class:`NotAllowed`."""
        word = "approved" if approve else "rejected"
        if not approve and not reason.strip():
            raise PeopleError(t("a reason is needed", "须说明理由"), code="approval.reason")
        now = self._book.now()
        with self._book.change(person, f"approval.{word}", number, "", reason) as db:
            found = self.get(number)
            if person == found.requester:
                raise NotAllowed(
                    t("another person has to decide than the one who asks", "审批人不能是申请人本人"),
                    code="approval.own",
                )
            if found.state != "asked" or now >= found.ends_at:
                raise PeopleError(
                    t("this request is decided already, or has lapsed", "该申请已处理或已过期"), code="approval.state"
                )
            db.execute(
                "UPDATE approval SET state = ?, decided_by = ?, decided_at = ?, decision = ? WHERE id = ?",
                (word, person, now, mask_text(reason)[:500], number),
            )
        return self.get(number)

    def start(self, number: str) -> Approval:
        """Claim an approved request: from here on nobody else does it, whatever happens."""
        found = self.get(number)
        with self._book.change(
            found.requester, "approval.start", found.subject, {"id": number, "action": found.action}
        ) as db:
            db.execute(
                "UPDATE approval SET state = 'doing' WHERE id = ? AND state = 'approved' AND ends_at > ?",
                (number, self._book.now()),
            )
            if not db.changes():
                raise PeopleError(
                    t("this request is not approved, done already, or has lapsed", "该申请未获批准、已执行或已过期"),
                    code="approval.state",
                )
        return self.get(number)

    def finish(self, number: str, result: str, *, failed: bool = False) -> Approval:
        found = self.get(number)
        state = "failed" if failed else "done"
        with self._book.change(
            found.requester, f"approval.{state}", found.subject, {"id": number, "action": found.action}
        ) as db:
            db.execute(
                "UPDATE approval SET state = ?, result = ? WHERE id = ? AND state = 'doing'",
                (state, mask_text(result)[:2000], number),
            )
        return self.get(number)

    def claim(self, action: str, subject: str, requester: str, reason: str) -> None:
        """For orders made at the command line (:data:`hub.keys.orders.Approver`): go on if approved, else ask and refuse by raising.

        An approval is used up by this, whether the order then succeeds or not.
        """
        if not self.wanted(action):
            return
        now = self._book.now()
        mine = [
            found
            for found in self.listed()
            if (found.action, found.subject, found.requester) == (action, subject, requester) and now < found.ends_at
        ]
        for found in mine:
            if found.state == "approved":
                self.start(found.id)
                self.finish(found.id, "claimed")
                return
        waiting = next((found for found in mine if found.state == "asked"), None)
        if waiting is None:
            waiting = self.ask(requester, action, subject, {}, reason)
        raise NotAllowed(
            t(f"request {waiting.id} waits for another person's approval", f"申请 {waiting.id} 等待他人审批"),
            code="approval.waiting",
            remedy=t(
                f"have it approved (hub approvals approve {waiting.id}), then give this order again",
                f"请他人审批（hub approvals approve {waiting.id}）后重新执行本命令",
            ),
        )
