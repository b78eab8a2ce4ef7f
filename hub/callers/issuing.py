"""Orders about credentials: issue, rotate with overlap, revoke. A secret is told once, when it is made, and kept as a hash or sealed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from hub.audit import entry
from hub.callers.authenticate import sealed_for
from hub.callers.content import credentials_of
from hub.callers.errors import CallersError
from hub.callers.model import CREDENTIAL_KINDS, Credential
from hub.callers.orders import CallerOrders, check_time
from hub.callers.sealing import new_id, new_secret
from hub.callers.shown import fingerprint, pem_or_der
from hub.callers.tokens import ALGORITHMS, check_public
from hub.crypto import load_sm2_public
from hub.crypto.classic import load_rsa_public
from hub.errors import HubError
from hub.i18n import t

__all__ = ["CallerCredentials", "Issued"]

_LONGEST = 500
_MOST = 100  # credentials of a caller that are not revoked
_FACTS: dict[str, tuple[str, ...]] = {"jwt": ("alg", "iss", "aud", "once", "longest"), "mtls": ("shows",)}
_SHOWS = ("fingerprint:", "subject:", "dns:", "uri:", "mail:")


@dataclass(frozen=True, slots=True)
class Issued:
    """A credential and, this once, its secret. ``shown``: what the caller sends as it is, where there is such a thing."""

    credential: Credential
    secret: str = field(default="", repr=False)

    @property
    def shown(self) -> str:
        joined = self.credential.kind in ("api_key", "bearer") and self.secret
        return f"{self.credential.id}.{self.secret}" if joined else ""


class CallerCredentials:
    """Beside :class:`CallerOrders`, on the same database."""

    def __init__(self, orders: CallerOrders) -> None:
        self._orders = orders
        self._database = orders.database
        self._database = orders.database

    def of(self, caller: str = "") -> list[Credential]:
        """All of a caller, or of everybody."""
        where = ("WHERE caller = ?", (caller,)) if caller else ("", ())
        return credentials_of(self._database.db, *where)

    def credential(self, credential: str) -> Credential:
        """Raises :class:`CallersError` when there is none."""
        found = credentials_of(self._database.db, "WHERE id = ?", (credential,))
        if not found:
            raise CallersError(
                t(f"there is no credential {credential!r:.40}", f"没有凭据 {credential!r:.40}"),
                code="callers.credential",
                remedy="hub callers show CALLER",
            )
        return found[0]

    def issue(self, caller: str, order: Mapping[str, Any], actor: str, reason: str = "") -> Issued:
        """``kind``, and perhaps ``note``, ``valid_until``; jwt: ``facts`` and ``public``, mtls: ``facts`` or ``public``, sm2 and rsa: ``public``."""
        self._orders.caller(caller)
        if sum(not each.revoked_at for each in self.of(caller)) >= _MOST:
            raise CallersError(
                t(f"{caller} has {_MOST} credentials", f"{caller} 已有 {_MOST} 个凭据"), code="callers.credentials"
            )
        issued = self._made(caller, order)
        told = entry(actor, "credential.issue", caller, _told(issued.credential), reason)
        self._store([issued.credential], told)
        return issued

    def rotate(self, credential: str, overlap: int, actor: str, order: Mapping[str, Any] | None = None) -> Issued:
        """A new one of the same kind; the old one is valid for ``overlap`` seconds more, never longer than it was to be."""
        old = self.credential(credential)
        now = int(self._orders.clock())
        if not old.active(now):
            raise CallersError(
                t(f"{credential} is not valid any more", f"{credential} 已失效"),
                code="callers.credential",
                remedy=f"hub callers issue {old.caller}",
            )
        if not 0 <= overlap <= 366 * 86_400:
            raise CallersError(t("overlap: 0 to 366 days", "overlap：0 至 366 天"), code="callers.order")
        renewed = order or {}
        facts = (
            {} if old.kind == "mtls" and renewed.get("public") else old.facts
        )  # the new certificate tells what it shows
        issued = self._made(
            old.caller, {"kind": old.kind, "note": old.note, "facts": facts, "public": old.public, **renewed}
        )
        until = now + overlap
        old = replace(
            old,
            valid_until=min(until, old.valid_until) if old.valid_until else until,
            replaced_by=issued.credential.id,
            revoked_at=0 if overlap else now,
        )
        detail = {**_told(issued.credential), "old": old.id, "old_valid_until": old.valid_until}
        self._store([issued.credential, old], entry(actor, "credential.rotate", old.caller, detail))
        return issued

    def revoke(self, credential: str, actor: str, reason: str) -> Credential:
        """At once, and for good."""
        found = self.credential(credential)
        if found.revoked_at:
            return found
        found = replace(found, revoked_at=int(self._orders.clock()))
        self._store([found], entry(actor, "credential.revoke", found.caller, _told(found), reason))
        return found

    def _made(self, caller: str, order: Mapping[str, Any]) -> Issued:
        kind = str(order.get("kind", ""))
        if kind not in CREDENTIAL_KINDS:
            raise CallersError(
                t(f"kind: one of {', '.join(CREDENTIAL_KINDS)}", f"kind：{'、'.join(CREDENTIAL_KINDS)} 之一"),
                code="callers.order",
            )
        facts = dict(order.get("facts") or {})
        if not facts.keys() <= set(_FACTS.get(kind, ())):
            raise CallersError(
                t(
                    f"facts of {kind}: {', '.join(_FACTS.get(kind, ())) or '-'}",
                    f"{kind} 的 facts：{'、'.join(_FACTS.get(kind, ())) or '-'}",
                ),
                code="callers.order",
            )
        now = int(self._orders.clock())
        until = check_time("valid_until", order.get("valid_until") or 0)
        if until and until <= now:
            raise CallersError(t("valid_until is past", "valid_until 已过"), code="callers.time")
        public = str(order.get("public") or "")
        note = str(order.get("note") or "")[:_LONGEST]
        blank = Credential(new_id(), caller, kind, note, b"", b"", "", facts, now, until, 0, "")
        if kind == "mtls":
            return Issued(replace(blank, facts={"shows": self._shows(facts, public)}))
        if kind in ("sm2", "rsa"):
            try:
                (load_sm2_public if kind == "sm2" else load_rsa_public)(public)
            except HubError as error:
                raise CallersError(error.text, code="callers.key", remedy=error.remedy) from error
            return Issued(replace(blank, public=public))
        if kind == "jwt":
            _check_jwt(facts, public)
            if facts["alg"] != "HS256":
                return Issued(replace(blank, public=public))
        secret = new_secret()
        if kind in ("jwt", "hmac"):  # both sides compute with it
            return Issued(replace(blank, sealed=self._orders.secrets.seal(secret, sealed_for(blank))), secret)
        return Issued(replace(blank, hash=self._orders.secrets.hash(blank.id, secret)), secret)

    def _shows(self, facts: Mapping[str, Any], public: str) -> str:
        """What the certificate shows, as :func:`hub.callers.shown.certificate_names` says it."""
        shows = str(facts.get("shows") or "")
        if not shows and public:
            try:
                shows = fingerprint(pem_or_der(public.encode()))
            except ValueError as error:
                raise CallersError(t("this is no certificate", "不是证书"), code="callers.key") from error
        name = shows.partition(":")[2]
        if not shows.startswith(_SHOWS) or not name or len(name) > _LONGEST:
            raise CallersError(
                t(f"what the certificate shows: {', '.join(_SHOWS)}", f"证书标识：{'、'.join(_SHOWS)}"),
                code="callers.order",
                remedy=t(
                    "e.g. dns:client.example.org, or give the certificate", "例如 dns:client.example.org，或提供证书"
                ),
            )
        taken = [
            each
            for each in self.of()
            if each.kind == "mtls" and each.facts["shows"] == shows and each.active(self._orders.clock())
        ]
        if taken:
            raise CallersError(
                t(f"{taken[0].caller} is known by this certificate already", f"该证书已属于 {taken[0].caller}"),
                code="callers.taken",
            )
        return shows

    def _store(self, credentials: list[Credential], told: dict[str, Any]) -> None:
        rows = [
            (
                *(each.id, each.caller, each.kind, each.note, each.hash, each.sealed, each.public),
                *(orjson.dumps(each.facts).decode(), each.created_at, each.valid_until, each.revoked_at),
                each.replaced_by,
            )
            for each in credentials
        ]
        with self._database.change(told) as db:
            db.executemany("INSERT OR REPLACE INTO credential VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def _check_jwt(facts: Mapping[str, Any], public: str) -> None:
    if facts.get("alg") not in ALGORITHMS:
        raise CallersError(
            t(f"alg: one of {', '.join(ALGORITHMS)}", f"alg：{'、'.join(ALGORITHMS)} 之一"), code="callers.order"
        )
    longest = facts.get("longest", 60)
    texts = all(
        isinstance(facts.get(name, ""), str) and len(facts.get(name, "")) <= _LONGEST for name in ("iss", "aud")
    )
    if (
        not texts
        or not isinstance(longest, int)
        or not 1 <= longest <= 86_400
        or not isinstance(facts.get("once", False), bool)
    ):
        raise CallersError(
            t(
                "iss, aud: text; once: true or false; longest: seconds, at most a day",
                "iss、aud：文本；once：true 或 false；longest：秒，最长一天",
            ),
            code="callers.order",
        )
    if facts["alg"] != "HS256":
        check_public(public, facts["alg"])


def _told(credential: Credential) -> dict[str, Any]:
    return {"credential": credential.id, "kind": credential.kind, "valid_until": credential.valid_until}
