"""The registry as a worker has it in memory: only what is valid now, ready to be looked up. Made anew after every change."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import apsw
import orjson

from hub.callers.addresses import AddressSet
from hub.callers.model import Address, Caller, Credential, Limits, pattern_of

__all__ = ["Content", "Known", "addresses_of", "callers_of", "credentials_of", "read_content"]

_CALLER = (
    "id, name, kind, state, tenant, purpose, contact, reviewed_by, reason, places, types, limits, "
    "valid_from, valid_until, created_at, changed_at"
)
_CREDENTIAL = "id, caller, kind, note, hash, sealed, public, facts, created_at, valid_until, revoked_at, replaced_by"
_ADDRESS = "id, caller, effect, network, note, enabled, expires_at, created_at, created_by"


@dataclass(slots=True)
class Known:
    """A caller that may call now."""

    caller: Caller
    places: re.Pattern[str]
    types: re.Pattern[str]
    every_type: bool
    allow: AddressSet
    block: AddressSet
    credentials: list[Credential] = field(default_factory=list)


@dataclass(slots=True)
class Content:
    """``changes_at``: when the next thing begins or ends by its date, and this has to be made anew; infinity for never."""

    callers: dict[str, Known] = field(default_factory=dict)
    credentials: dict[str, Credential] = field(default_factory=dict)
    certificates: dict[str, Credential] = field(default_factory=dict)  # what a client certificate shows -> credential
    allow: AddressSet = field(default_factory=lambda: AddressSet(()))
    block: AddressSet = field(default_factory=lambda: AddressSet(()))
    changes_at: float = float("inf")


def callers_of(db: apsw.Connection, where: str = "", values: tuple[Any, ...] = ()) -> list[Caller]:
    """``where``: a condition of ours, never text of somebody else."""
    rows = db.execute(f"SELECT {_CALLER} FROM caller {where} ORDER BY id", values)  # noqa: S608
    return [_caller(row) for row in rows]


def credentials_of(db: apsw.Connection, where: str = "", values: tuple[Any, ...] = ()) -> list[Credential]:
    rows = db.execute(f"SELECT {_CREDENTIAL} FROM credential {where} ORDER BY created_at, id", values)  # noqa: S608
    return [Credential(*_read(row, {7: orjson.loads})) for row in rows]


def addresses_of(db: apsw.Connection, where: str = "", values: tuple[Any, ...] = ()) -> list[Address]:
    rows = db.execute(f"SELECT {_ADDRESS} FROM address {where} ORDER BY caller, effect, id", values)  # noqa: S608
    return [Address(*_read(row, {5: bool})) for row in rows]


def read_content(db: apsw.Connection, now: float) -> Content:
    """Everything that is valid at ``now`` (Unix seconds)."""
    made = Content()
    dates: list[int] = []
    rules: dict[tuple[str, str], list[tuple[int, str]]] = {}
    # Plain rows: there may be very many, and this runs where calls wait.
    for number, caller_id, effect, text, expires_at in db.execute(
        "SELECT id, caller, effect, network, expires_at FROM address WHERE enabled"
    ):
        kept = rules.setdefault((caller_id, effect), [])
        if expires_at:
            dates.append(expires_at)
        if not expires_at or now < expires_at:
            kept.append((number, text))
    made.allow, made.block = AddressSet(rules.get(("", "allow"), ())), AddressSet(rules.get(("", "block"), ()))
    allowed = {of for of, effect in rules if effect == "allow"}
    for caller in callers_of(db, "WHERE state = 'enabled'"):
        dates += [caller.valid_from, caller.valid_until]
        if not caller.active(now):
            continue
        allow = AddressSet(rules.get((caller.id, "allow"), ()))
        if caller.id in allowed and not allow:
            # Everything it was allowed to call from has expired: that is not the same as from everywhere.
            allow = _NOWHERE
        made.callers[caller.id] = Known(
            caller,
            pattern_of(caller.places),
            pattern_of(caller.types),
            "*" in caller.types,
            allow,
            AddressSet(rules.get((caller.id, "block"), ())),
        )
    if "" in allowed and not made.allow:
        made.allow = _NOWHERE
    for credential in credentials_of(db, "WHERE revoked_at = 0"):
        dates.append(credential.valid_until)
        known = made.callers.get(credential.caller)
        if known is None or not credential.active(now):
            continue
        made.credentials[credential.id] = credential
        known.credentials.append(credential)
        if credential.kind == "mtls":
            made.certificates[credential.facts["shows"]] = credential
    made.changes_at = min((date for date in dates if date > now), default=float("inf"))
    return made


#: An allow list that lets nobody in: an address nobody has (RFC 6666, discard only).
_NOWHERE = AddressSet([(0, "100::/128")])


def _caller(row: tuple[Any, ...]) -> Caller:
    def names(text: str) -> tuple[str, ...]:
        return tuple(orjson.loads(text))

    return Caller(*_read(row, {9: names, 10: names, 11: lambda text: Limits(**orjson.loads(text))}))


def _read(row: tuple[Any, ...], columns: dict[int, Callable[[Any], Any]]) -> list[Any]:
    """A row with some of its columns made what they stand for."""
    return [columns[number](value) if number in columns else value for number, value in enumerate(row)]
