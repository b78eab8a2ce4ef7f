"""Callers, credentials and rules about addresses, as they are stored."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from hub.callers.errors import CallersError
from hub.i18n import t

__all__ = [
    "KINDS",
    "STATES",
    "Address",
    "Caller",
    "Credential",
    "CredentialKind",
    "Limits",
    "check_id",
    "check_patterns",
    "pattern_of",
]

#: developer: who builds against the hub; institution: hospital, office, company; operator: who runs a platform, e.g. of freight.
KINDS = ("developer", "institution", "operator")
#: applied -> enabled or rejected; enabled <-> disabled.
STATES = ("applied", "rejected", "enabled", "disabled")
PERIODS = ("day", "month", "year")

CredentialKind = Literal["api_key", "bearer", "basic", "hmac", "jwt", "oauth2", "mtls", "sm2", "rsa"]
CREDENTIAL_KINDS: tuple[str, ...] = get_args(CredentialKind)

_ID = re.compile(r"[a-z][a-z0-9_-]{1,63}")
_PATTERN = re.compile(r"[\w*./^:-]{1,200}")
_MOST_PATTERNS = 1000


@dataclass(frozen=True, slots=True)
class Limits:
    """How often a caller may call; 0 for no limit."""

    per_second: float = 0.0
    burst: int = 0  # calls at once; 0: as many as a second has, at least 1
    per_day: int = 0
    per_month: int = 0
    per_year: int = 0

    @classmethod
    def read(cls, given: object) -> Limits:
        """From JSON; raises :class:`CallersError`."""
        names = cls.__slots__
        if not isinstance(given, dict) or not given.keys() <= set(names):
            raise CallersError(
                t(f"limits: some of {', '.join(names)}", f"limits：{'、'.join(names)} 中的若干项"),
                code="callers.limits",
            )
        for name, value in given.items():
            whole = isinstance(value, int) or (name == "per_second" and isinstance(value, float))
            if not whole or isinstance(value, bool) or not 0 <= value <= 10**12:
                raise CallersError(
                    t(f"limits.{name}: a number, 0 for no limit", f"limits.{name}：数字，0 表示不限"),
                    code="callers.limits",
                )
        return cls(**given)

    @property
    def quotas(self) -> dict[str, int]:
        """period -> calls, of those that are limited."""
        found = {"day": self.per_day, "month": self.per_month, "year": self.per_year}
        return {period: calls for period, calls in found.items() if calls}

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value}


@dataclass(frozen=True, slots=True)
class Caller:
    """One client of the hub. ``places`` and ``types`` are patterns, * for any run of characters; none of them lets nothing in."""

    id: str
    name: str
    kind: str
    state: str
    tenant: str  # institution or region whose data it belongs to; "" for none
    purpose: str
    contact: bytes = field(repr=False)  # sealed; empty for none
    reviewed_by: str
    reason: str
    places: tuple[str, ...]
    types: tuple[str, ...]
    limits: Limits
    valid_from: int
    valid_until: int
    created_at: int
    changed_at: int

    def active(self, now: float) -> bool:
        return self.state == "enabled" and self.valid_from <= now and (not self.valid_until or now < self.valid_until)


@dataclass(frozen=True, slots=True)
class Credential:
    """How a caller proves who it is. ``facts``: of jwt ``alg``, ``iss``, ``aud``, ``once``, ``longest``; of mtls what it shows."""

    id: str
    caller: str
    kind: str
    note: str
    hash: bytes = field(repr=False)  # of the secret, keyed; empty where there is none or it is sealed
    sealed: bytes = field(repr=False)
    public: str  # jwt: PEM or JWK set; sm2, rsa: public key
    facts: dict[str, Any]
    created_at: int
    valid_until: int
    revoked_at: int
    replaced_by: str

    def active(self, now: float) -> bool:
        return not self.revoked_at and (not self.valid_until or now < self.valid_until)

    def shown(self) -> dict[str, Any]:
        """For people: everything but secrets."""
        return {
            "id": self.id,
            "caller": self.caller,
            "kind": self.kind,
            "note": self.note,
            **({"facts": self.facts} if self.facts else {}),
            "created_at": self.created_at,
            "valid_until": self.valid_until,
            "revoked_at": self.revoked_at,
            "replaced_by": self.replaced_by,
        }


@dataclass(frozen=True, slots=True)
class Address:
    """A rule about addresses; of everybody where ``caller`` is empty."""

    id: int
    caller: str
    effect: str  # allow or block
    network: str  # as ipaddress writes it, an address as /32 or /128
    note: str
    enabled: bool
    expires_at: int
    created_at: int
    created_by: str


def check_id(given: str) -> str:
    """The id of a caller: it is told in logs, metrics and ``$caller``. Raises :class:`CallersError`."""
    if not _ID.fullmatch(given):
        raise CallersError(
            t(
                "the id of a caller: 2 to 64 small letters, digits, - and _",
                "调用方标识：2 至 64 个小写字母、数字、- 和 _",
            ),
            code="callers.id",
            remedy=t("e.g. east_hospital", "例如 east_hospital"),
        )
    return given


def check_patterns(name: str, given: object) -> tuple[str, ...]:
    """Patterns of interfaces or message types. Raises :class:`CallersError`."""
    sound = (
        isinstance(given, list)
        and len(given) <= _MOST_PATTERNS
        and all(isinstance(each, str) and _PATTERN.fullmatch(each) for each in given)
    )
    if not sound:
        raise CallersError(
            t(f"{name}: a list of patterns, e.g. his/* or ADT^*", f"{name}：模式列表，例如 his/* 或 ADT^*"),
            code="callers.patterns",
        )
    return tuple(dict.fromkeys(given))  # type: ignore[call-overload]


def pattern_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """What one of the patterns matches, as a whole."""
    alternatives = (".*".join(map(re.escape, pattern.split("*"))) for pattern in patterns)
    return re.compile("|".join(alternatives) if patterns else r"(?!)", re.DOTALL)
