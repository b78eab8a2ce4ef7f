"""Deciding about calls: who is it, may it call this, from there, now. Everything is in memory; a change of the registry is seen by the next call."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import apsw
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from hub.access import AccessError, AccessReader
from hub.callers import errors
from hub.callers.addresses import plain
from hub.callers.authenticate import Authenticator, Shown
from hub.callers.content import Content, Known, read_content
from hub.callers.limits import AbuseRule, Buckets, Offences
from hub.callers.model import Credential
from hub.callers.sealing import Secrets
from hub.callers.tokens import HubTokens
from hub.callers.traffic import Restriction, Traffic, seconds_left
from hub.logs import get_logger

__all__ = ["Callers", "Door", "Shown"]

log = get_logger(__name__)

K = TypeVar("K")

#: Seconds between two looks for restrictions of other workers, and between two writes of the counts.
LOOK_S = 0.05
WRITE_S = 1.0
_MOST_REMEMBERED = 20_000


class Callers:
    """The registry at work in one process, for all interfaces that ask who calls."""

    def __init__(
        self,
        data: Path,
        secrets: Secrets,
        *,
        audience: str,
        abuse: AbuseRule,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``audience``: what JWTs must be for where their credential does not say. Raises :class:`AccessError`."""
        self._reader = AccessReader(data)
        self.traffic = Traffic(data)
        self.clock = clock
        self.who = Authenticator(secrets, HubTokens(secrets, audience, clock), audience)
        self.content = Content()
        self._abuse = abuse
        self._offences = Offences(abuse)
        self._buckets = Buckets()
        self._restricted: dict[tuple[str, str], int] = {}  # (kind, subject) -> until
        self._look_at = 0.0
        self._hubwide: dict[str, int] = {}  # address -> rule that refuses it, -1 for none on the list, 0 for let in
        self._from: dict[tuple[str, str], int] = {}  # (caller, address) -> the same
        self._calls: Counter[tuple[str, bool]] = Counter()  # (caller, taken), since the start
        self._loaded = False
        self._trouble = ""

    # -- what is known -------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """See what was changed. Raises :class:`hub.callers.errors.CallerRefused` when the registry can't be read."""
        now = self.clock()
        try:
            if self._reader.changed() or not self._loaded or now >= self.content.changes_at:
                self._load(now)
            steady = time.monotonic()
            if steady >= self._look_at:
                self._look_at = steady + LOOK_S
                if self.traffic.changed():
                    self._read_restrictions(now)
            self._trouble = ""
        except (AccessError, apsw.Error) as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                log.error("nobody can be let in: %s", error)
            raise errors.not_available() from error

    def _load(self, now: float) -> None:
        content = Content()
        if self._reader.has("callers"):
            with self._reader.view() as db:
                if db is not None:
                    content = read_content(db, now)
        self.content = content
        self.who.use(content)
        self._hubwide.clear()
        self._from.clear()
        self._loaded = True

    def _read_restrictions(self, now: float) -> None:
        found = {(each.kind, each.subject): each.until for each in self.traffic.restrictions(now)}
        for lifted in self._restricted.keys() - found.keys():
            self._offences.clear(":".join(lifted))
        self._restricted = found

    # -- parts of a decision -------------------------------------------------------------------------------------

    def check_restriction(self, kind: str, subject: str, now: float) -> None:
        until = self._restricted.get((kind, subject))
        if until is not None and now < until:
            raise errors.restricted(max(1, int(until - now)))

    def check_address(self, remote: str, now: float) -> None:
        """Against the lists of the whole hub."""
        rule = self._hubwide.get(remote)
        if rule is None:
            rule = self._remember(self._hubwide, remote, _refusing(remote, self.content))
        if rule:
            if rule > 0:
                self.traffic.hit(rule, now)
            raise errors.address_refused()

    def check_caller_address(self, known: Known, remote: str, now: float) -> None:
        key = known.caller.id, remote
        rule = self._from.get(key)
        if rule is None:
            rule = self._remember(self._from, key, _refusing(remote, known))
        if rule:
            if rule > 0:
                self.traffic.hit(rule, now)
            raise errors.address_refused()

    @staticmethod
    def _remember(into: dict[K, int], key: K, value: int) -> int:
        if len(into) >= _MOST_REMEMBERED:
            into.clear()
        into[key] = value
        return value

    def check_limits(self, known: Known, now: float) -> None:
        """Take one call of the rate and of the quotas."""
        caller = known.caller
        limits = caller.limits
        if limits.per_second:
            wait = self._buckets.take(caller.id, limits, time.monotonic())
            if wait:
                raise errors.over_limit(wait)
        quotas = limits.quotas
        if quotas:
            try:
                used_up = self.traffic.spend(caller.id, quotas, now)
            except AccessError as error:
                log.error("quotas can't be counted: %s", error)
                raise errors.not_available() from error
            if used_up:
                raise errors.over_quota(used_up, seconds_left(used_up, now))

    def check_type(self, caller: str, message_type: str) -> None:
        """May the caller send such messages? Raises :class:`hub.callers.errors.CallerRefused`."""
        known = self.content.callers.get(caller)
        if known is not None and (known.every_type or known.types.fullmatch(message_type)):
            return
        self.offended("caller", caller, "caller.type")
        raise errors.type_refused(message_type[:64])

    def offended(self, kind: str, subject: str, code: str) -> None:
        """A call that was refused counts against its address while it is not known who it is, else against its caller.

        So whoever shows the id of somebody else with a wrong secret does not keep that one from calling.
        """
        now = self.clock()
        if not self._abuse.refused or not subject or not self._offences.add(f"{kind}:{subject}", now):
            return
        rule = self._abuse
        made = Restriction(kind, subject, int(now + rule.restrict), code, int(now), "hub")
        self._restricted[kind, subject] = made.until
        log.warning(
            "%s %s is restricted for %.0f s: %d refused calls, the last with %s",
            kind, subject, rule.restrict, rule.refused, code,
        )  # fmt: skip
        try:
            self.traffic.restrict(made)
        except AccessError as error:
            log.error("other workers do not know of a restriction: %s", error)

    def counted(self, caller: str, place: str, taken: bool, now: float) -> None:
        self.traffic.count(caller, place, taken=taken, now=now)
        self._calls[caller, taken] += 1

    def known(self, credential: Credential) -> Known | None:
        return self.content.callers.get(credential.caller)

    # -- life ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write down what is counted, until cancelled."""
        while True:
            await asyncio.sleep(WRITE_S)
            await self.write()

    async def write(self) -> None:
        """Once; counts that can't be written now are written later."""
        try:
            counts = self.traffic.pending(self.clock())
        except AccessError as error:
            log.error("the use by callers can't be recorded: %s", error)
            return
        if not counts.usage and not counts.hits:
            return
        try:
            await asyncio.to_thread(self.traffic.write, counts)
        except AccessError as error:
            self.traffic.put_back(counts)
            log.error("the use by callers can't be recorded: %s", error)

    def close(self) -> None:
        with suppress(AccessError, apsw.Error):
            self.traffic.close()
        self._reader.close()

    def families(self) -> Iterator[Metric]:
        """Figures for Prometheus; calls of nobody known have an empty caller."""
        family = CounterMetricFamily(
            "tongqu_caller_calls", "Calls to interfaces that ask who calls.", labels=("caller", "outcome")
        )
        for (caller, taken), calls in self._calls.items():
            family.add_metric((caller, "taken" if taken else "refused"), calls)
        yield family
        now = self.clock()
        restricted = Counter(kind for (kind, _), until in self._restricted.items() if now < until)
        gauge = GaugeMetricFamily(
            "tongqu_callers_restricted", "Callers and addresses under restriction.", labels=("kind",)
        )
        for kind in ("caller", "address"):
            gauge.add_metric((kind,), restricted[kind])
        yield gauge


class Door:
    """One interface that asks who calls. ``accept``: kinds of credentials it takes."""

    def __init__(self, callers: Callers, place: str, accept: Collection[str]) -> None:
        self.callers = callers
        self.place = place
        self._accept = frozenset(accept)

    def admit(self, shown: Shown, remote: str) -> str:
        """The id of the caller that may make this call; counted. Raises :class:`hub.callers.errors.CallerRefused`."""
        callers = self.callers
        now = self._arrived(remote)
        credential = callers.who.credential(shown, self._accept, now, callers.traffic.first)
        if credential is None:
            raise self.not_proved(remote, missing=not shown)
        return self.let_in(credential, remote, now)

    def admit_peer(self, certificate: bytes, remote: str) -> str:
        """The caller of a transport without headers: by its client certificate, else the one whose addresses include this one."""
        callers = self.callers
        now = self._arrived(remote)
        if certificate:
            credential = callers.who.credential(Shown(certificate=certificate), ("mtls",), now, callers.traffic.first)
            known = callers.known(credential) if credential is not None else None
        else:
            address = plain(remote)
            found = [k for k in callers.content.callers.values() if address is not None and k.allow.find(address)]
            known = found[0] if len(found) == 1 else None  # an address of two callers tells neither
        if known is None:
            raise self.not_proved(remote, missing=not certificate)
        return self._let_in(known, remote, now)

    def look_up(self, credential: str, kinds: Collection[str], remote: str) -> Credential | None:
        """The credential of a call that is yet to be verified by whoever asks; then :meth:`let_in` or :meth:`not_proved`."""
        self._arrived(remote)
        found = self.callers.content.credentials.get(credential)
        return found if found is not None and found.kind in kinds else None

    def token(self, client: str, secret: str, remote: str) -> Credential | None:
        """The OAuth2 client that shows id and secret at the token endpoint; None where they are wrong."""
        callers = self.callers
        now = self._arrived(remote)
        found = callers.who.secret("oauth2", client, secret)
        known = callers.known(found) if found is not None else None
        if found is None or known is None:
            self.not_proved(remote)
            return None
        callers.check_restriction("caller", known.caller.id, now)
        callers.check_caller_address(known, remote, now)
        return found

    def _arrived(self, remote: str) -> float:
        callers = self.callers
        callers.refresh()
        now = callers.clock()
        try:
            callers.check_restriction("address", remote, now)
            callers.check_address(remote, now)
        except errors.CallerRefused:
            callers.counted("", self.place, False, now)
            raise
        return now

    def not_proved(self, remote: str, *, missing: bool = False) -> errors.CallerRefused:
        """Whatever was wrong, to be raised; counted against the address."""
        self.callers.counted("", self.place, False, self.callers.clock())
        error = errors.no_credentials() if missing else errors.wrong_credentials()
        self.callers.offended("address", remote, error.code)
        return error

    def let_in(self, credential: Credential, remote: str, now: float = 0.0) -> str:
        """The second half of :meth:`admit`, for a credential that was proved."""
        known = self.callers.known(credential)
        if known is None:
            raise self.not_proved(remote)
        return self._let_in(known, remote, now or self.callers.clock())

    def _let_in(self, known: Known, remote: str, now: float) -> str:
        callers, caller = self.callers, known.caller.id
        try:
            callers.check_restriction("caller", caller, now)
            callers.check_caller_address(known, remote, now)
            if not known.places.fullmatch(self.place):
                raise errors.place_refused()
            callers.check_limits(known, now)
        except errors.CallerRefused as error:
            callers.counted(caller, self.place, False, now)
            if error.code not in ("caller.restricted", "caller.unavailable"):
                callers.offended("caller", caller, error.code)
            raise
        callers.counted(caller, self.place, True, now)
        return caller


def _refusing(remote: str, lists: Content | Known) -> int:
    """The rule that refuses an address, -1 where an allow list does not have it, 0 where it is let in."""
    address = plain(remote)
    if address is None:  # a socket file, or nothing known of the peer
        return -1 if lists.allow else 0
    blocked = lists.block.find(address)
    if blocked:
        return blocked
    return -1 if lists.allow and not lists.allow.find(address) else 0
