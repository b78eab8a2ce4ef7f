"""Orders about callers: application, review, rights, restrictions, addresses. Each is one durable change with its entry in the journal.

Only the process that owns ``access.db`` has this. Credentials are in :mod:`hub.callers.issuing`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import apsw
import orjson

from hub.access import AccessDatabase
from hub.audit import entry
from hub.callers.addresses import network, origin, plain
from hub.callers.content import addresses_of, callers_of
from hub.callers.errors import CallersError
from hub.callers.model import KINDS, Address, Caller, Limits, check_id, check_patterns
from hub.callers.sealing import Secrets
from hub.callers.traffic import Restriction, Traffic
from hub.i18n import t

__all__ = ["CallerOrders"]

_LONGEST = 500
_LONGEST_CONTACT = 4000
#: All of them are looked at anew with every change of the registry, where calls wait: this many take about 0.1 s.
_MOST_ADDRESSES = 20_000
#: Rules about addresses are removed so long after they have expired.
_KEPT_S = 30 * 86_400


class CallerOrders:
    """Not for two threads at once."""

    def __init__(
        self, database: AccessDatabase, traffic: Traffic, secrets: Secrets, clock: Callable[[], float] = time.time
    ) -> None:
        self.database = database
        self.traffic = traffic
        self.secrets = secrets
        self.clock = clock

    # -- looking -------------------------------------------------------------------------------------------------

    def callers(self) -> list[Caller]:
        return callers_of(self.database.db)

    def caller(self, caller: str) -> Caller:
        """Raises :class:`CallersError` when there is none."""
        found = callers_of(self.database.db, "WHERE id = ?", (caller,))
        if not found:
            raise CallersError(
                t(f"there is no caller {caller!r:.70}", f"没有调用方 {caller!r:.70}"),
                code="callers.unknown",
                remedy="hub callers list",
            )
        return found[0]

    def contact(self, caller: Caller) -> str:
        """As it was given. Raises :class:`HubError` without the key store."""
        return self.secrets.open(caller.contact, _contact_of(caller.id)) if caller.contact else ""

    def addresses(self) -> list[Address]:
        return addresses_of(self.database.db)

    # -- the life of a caller ------------------------------------------------------------------------------------

    def apply(self, order: Mapping[str, Any], actor: str) -> Caller:
        """An application: ``id``, ``name``, ``kind``, and what :meth:`change` knows besides. It can call nothing before its review."""
        caller_id = check_id(str(order.get("id", "")))
        if callers_of(self.database.db, "WHERE id = ?", (caller_id,)):
            raise CallersError(
                t(f"there is a caller {caller_id} already", f"调用方 {caller_id} 已存在"), code="callers.exists"
            )
        now = int(self.clock())
        blank = Caller(
            caller_id, "", "", "applied", "", "", b"", "", "", (), (), Limits(), 0, 0, created_at=now, changed_at=now
        )
        made = self._changed(blank, {"types": ["*"], **{k: v for k, v in order.items() if k != "id"}})
        return self._store(made, entry(actor, "caller.apply", caller_id, _told(made)))

    def review(self, caller: str, actor: str, *, approve: bool, reason: str = "") -> Caller:
        """Approved it may call; rejected it may not, and a reason must be given."""
        found = self.caller(caller)
        if found.state not in ("applied", "rejected"):
            raise CallersError(
                t(f"{caller} was reviewed already", f"{caller} 已审核"),
                code="callers.state",
                remedy=t("use enable or disable", "请使用 enable 或 disable"),
            )
        if not approve and not reason.strip():
            raise CallersError(t("a rejection needs a reason", "驳回须说明理由"), code="callers.reason")
        if approve and not found.places:
            raise CallersError(
                t(f"{caller} has no interfaces: it could call nothing", f"{caller} 未指定接口，批准后无法调用任何接口"),
                code="callers.places",
                remedy=t("give places first", "请先给出 places"),
            )
        made = replace(
            found, state="enabled" if approve else "rejected", reviewed_by=actor[:64], reason=reason[:_LONGEST]
        )
        action = "caller.approve" if approve else "caller.reject"
        return self._store(made, entry(actor, action, caller, _told(made), reason))

    def enable(self, caller: str, actor: str, reason: str = "") -> Caller:
        return self._switch(caller, actor, "disabled", "enabled", reason)

    def disable(self, caller: str, actor: str, reason: str = "") -> Caller:
        """From the next call on nothing of it is taken, whatever it shows."""
        return self._switch(caller, actor, "enabled", "disabled", reason)

    def _switch(self, caller: str, actor: str, before: str, after: str, reason: str) -> Caller:
        found = self.caller(caller)
        if found.state == after:
            return found
        if found.state != before:
            raise CallersError(
                t(f"{caller} was not approved", f"{caller} 尚未通过审核"),
                code="callers.state",
                remedy=f"hub callers review {caller} --approve",
            )
        made = replace(found, state=after)
        return self._store(made, entry(actor, f"caller.{after.removesuffix('d')}", caller, {}, reason))

    def change(self, caller: str, order: Mapping[str, Any], actor: str, reason: str = "") -> Caller:
        """Some of ``name``, ``kind``, ``tenant``, ``purpose``, ``contact``, ``places``, ``types``, ``limits``, ``valid_from``, ``valid_until``."""
        found = self.caller(caller)
        made = self._changed(found, order)
        detail = {name: value for name, value in _told(made).items() if value != _told(found)[name]}
        if made.contact != found.contact:
            detail["contact"] = "changed"
        return self._store(made, entry(actor, "caller.change", caller, detail, reason))

    def _changed(self, caller: Caller, order: Mapping[str, Any]) -> Caller:
        given = dict(order)
        for name in given:
            if name not in _CHANGEABLE:
                raise CallersError(
                    t(
                        f"{name!r:.70} is none of {', '.join(_CHANGEABLE)}",
                        f"{name!r:.70} 不在 {'、'.join(_CHANGEABLE)} 之中",
                    ),
                    code="callers.order",
                )
        contact = given.pop("contact", None)
        for name in ("places", "types"):
            if name in given:
                given[name] = check_patterns(name, given[name])
        if "limits" in given:
            given["limits"] = Limits.read(given["limits"])
        for name in ("valid_from", "valid_until"):
            if name in given:
                given[name] = check_time(name, given[name])
        for name in ("name", "kind", "tenant", "purpose"):
            if name in given and (not isinstance(given[name], str) or len(given[name]) > _LONGEST):
                raise CallersError(
                    t(f"{name}: text of at most {_LONGEST} characters", f"{name}：不超过 {_LONGEST} 个字符的文本"),
                    code="callers.order",
                )
        made = replace(caller, **given)
        if made.kind not in KINDS or not made.name.strip():
            raise CallersError(
                t(f"name, and kind: one of {', '.join(KINDS)}", f"须给出 name，以及 kind：{'、'.join(KINDS)} 之一"),
                code="callers.order",
            )
        if contact is not None:
            if not isinstance(contact, str) or len(contact) > _LONGEST_CONTACT:
                raise CallersError(t("contact: text", "contact：文本"), code="callers.order")
            made = replace(made, contact=self.secrets.seal(contact, _contact_of(made.id)) if contact else b"")
        return made

    def _store(self, caller: Caller, told: dict[str, Any]) -> Caller:
        made = replace(caller, changed_at=int(self.clock()))
        row = (
            *(made.id, made.name, made.kind, made.state, made.tenant, made.purpose, made.contact),
            *(made.reviewed_by, made.reason, *(orjson.dumps(x).decode() for x in (made.places, made.types))),
            *(orjson.dumps(made.limits.as_dict()).decode(), made.valid_from, made.valid_until),
            *(made.created_at, made.changed_at),
        )
        with self.database.change(told) as db:
            # Not INSERT OR REPLACE: that would take the credentials' caller away for a moment.
            db.execute(
                f"INSERT INTO caller VALUES ({', '.join('?' * len(row))}) ON CONFLICT (id) DO UPDATE SET "  # noqa: S608
                + ", ".join(f"{name} = excluded.{name}" for name in Caller.__slots__[1:]),
                row,
            )
        return made

    # -- restrictions --------------------------------------------------------------------------------------------

    def restrict(self, kind: str, subject: str, seconds: int, actor: str, reason: str) -> Restriction:
        """Take no calls of a caller, or from an address, for so long."""
        subject = self._subject(kind, subject)
        if not 1 <= seconds <= 366 * 86_400:
            raise CallersError(t("for: 1 second to 366 days", "for：1 秒至 366 天"), code="callers.order")
        now = int(self.clock())
        made = Restriction(kind, subject, now + seconds, reason[:_LONGEST], now, actor[:64])
        # The entry first: there may be one for what then failed, never the other way round.
        with self.database.change(entry(actor, f"{kind}.restrict", subject, {"seconds": seconds}, reason)):
            pass
        self.traffic.restrict(made)
        return made

    def unrestrict(self, kind: str, subject: str, actor: str, reason: str = "") -> bool:
        """False where it was not restricted."""
        subject = self._subject(kind, subject)
        with self.database.change(entry(actor, f"{kind}.unrestrict", subject, {}, reason)):
            pass
        return self.traffic.unrestrict(kind, subject)

    def _subject(self, kind: str, subject: str) -> str:
        if kind == "caller":
            return self.caller(subject).id
        address = plain(subject)
        if kind != "address" or address is None:
            raise CallersError(t("a caller, or one address", "一个调用方，或一个地址"), code="callers.order")
        return origin(subject)

    # -- addresses -----------------------------------------------------------------------------------------------

    def add_addresses(self, effect: str, rows: Sequence[Mapping[str, Any]], actor: str, reason: str = "") -> int:
        """Rules, each with ``network`` and perhaps ``caller``, ``note``, ``expires_at``, ``enabled``; one that is known is changed.

        All of them or none: a bad row names its number. Returns how many.
        """
        if effect not in ("allow", "block"):
            raise CallersError(t("allow or block", "allow 或 block"), code="callers.order")
        now = int(self.clock())
        known = {caller.id for caller in self.callers()}
        made = []
        for number, row in enumerate(rows, 1):
            try:
                made.append(self._address(effect, row, known, now, actor))
            except CallersError as error:
                raise CallersError(
                    t(f"row {number}: {error.text}", f"第 {number} 行：{error.text}"),
                    code=error.code,
                    remedy=error.remedy,
                ) from error
        detail = {
            "networks": [row[2] for row in made[:100]],
            "rules": len(made),
            "callers": sorted({r[0] for r in made}),
        }
        with self.database.change(entry(actor, f"address.{effect}", f"{len(made)} rules", detail, reason)) as db:
            self._tidy(db, now)
            if db.execute("SELECT COUNT(*) FROM address").get + len(made) > _MOST_ADDRESSES:
                raise CallersError(
                    t(f"more than {_MOST_ADDRESSES} rules about addresses", f"地址规则超过 {_MOST_ADDRESSES} 条"),
                    code="callers.addresses",
                )
            db.executemany(
                "INSERT INTO address (caller, effect, network, note, enabled, expires_at, created_at, created_by) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (caller, effect, network) DO UPDATE SET "
                "note = excluded.note, enabled = excluded.enabled, expires_at = excluded.expires_at",
                made,
            )
        return len(made)

    def _address(
        self, effect: str, row: Mapping[str, Any], known: set[str], now: int, actor: str
    ) -> tuple[str, str, str, str, int, int, int, str]:
        caller = str(row.get("caller") or "")
        if caller and caller not in known:
            raise CallersError(t(f"no caller {caller!r:.70}", f"没有调用方 {caller!r:.70}"), code="callers.unknown")
        expires = check_time("expires_at", row.get("expires_at") or 0)
        enabled = str(row.get("enabled", "1")).strip().lower() not in ("0", "false", "no", "否", "停用")
        note = str(row.get("note") or "")[:_LONGEST]
        return caller, effect, network(str(row.get("network", ""))), note, int(enabled), expires, now, actor[:64]

    def remove_addresses(self, numbers: Sequence[int], actor: str, reason: str = "") -> int:
        """Returns how many there were."""
        wanted = set(numbers)
        found = [rule for rule in self.addresses() if rule.id in wanted]
        detail = {"rules": [f"{rule.effect} {rule.network} {rule.caller}".strip() for rule in found[:100]]}
        with self.database.change(entry(actor, "address.remove", f"{len(found)} rules", detail, reason)) as db:
            db.executemany("DELETE FROM address WHERE id = ?", [(rule.id,) for rule in found])
        return len(found)

    @staticmethod
    def _tidy(db: apsw.Connection, now: int) -> None:
        """What expired long ago is only in the way. An allow list that would then be empty would let everybody in: its last rule stays."""
        db.execute(
            "DELETE FROM address WHERE expires_at BETWEEN 1 AND ? AND (effect = 'block' OR EXISTS (SELECT 1 FROM address other "
            "WHERE other.caller = address.caller AND other.effect = 'allow' AND other.expires_at = 0 AND other.enabled))",
            (now - _KEPT_S,),
        )


_CHANGEABLE = (
    *("name", "kind", "tenant", "purpose", "contact"),
    *("places", "types", "limits", "valid_from", "valid_until"),
)


def check_time(name: str, given: Any) -> int:
    """Unix seconds, or a day or time as ISO 8601 has it, by the clock of this machine; 0 for none. Raises :class:`CallersError`."""
    from datetime import datetime

    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < 1 << 40:
        return given
    try:
        return int(datetime.fromisoformat(given).timestamp()) if given else 0
    except (TypeError, ValueError, OverflowError):
        raise CallersError(
            t(f"{name}: a day or time such as 2027-03-31", f"{name}：日期或时间，例如 2027-03-31"), code="callers.time"
        ) from None


def _contact_of(caller: str) -> str:
    return f"contact:{caller}"


def _told(caller: Caller) -> dict[str, Any]:
    """For the journal; the contact is nobody's business there."""
    return {
        "name": caller.name,
        "kind": caller.kind,
        "state": caller.state,
        "tenant": caller.tenant,
        "purpose": caller.purpose,
        "places": list(caller.places),
        "types": list(caller.types),
        "limits": caller.limits.as_dict(),
        "valid_from": caller.valid_from,
        "valid_until": caller.valid_until,
    }
