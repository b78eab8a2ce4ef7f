"""The registry at work: what a process that takes calls knows of callers, in memory. A change is seen by the next call."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import apsw
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from hub.access import AccessError, AccessReader
from hub.callers import errors
from hub.callers.addresses import plain
from hub.callers.authenticate import Authenticator
from hub.callers.content import Content, Known, read_content
from hub.callers.limits import AbuseRule, Buckets, Offences
from hub.callers.model import Credential
from hub.callers.sealing import Secrets
from hub.callers.tokens import HubTokens
from hub.callers.traffic import Restriction, Traffic, seconds_left
from hub.logs import get_logger
from hub.tasks import again

if TYPE_CHECKING:
    from hub.callers.door import Door

__all__ = ["Callers"]

log = get_logger(__name__)

K = TypeVar("K")
V = TypeVar("V")

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
        self._peers: dict[str, Known | None] = {}  # address -> the caller that is known by it
        self._calls: Counter[tuple[str, bool]] = Counter()  # (caller, taken), since the start
        self._loaded = False
        self._trouble = ""
        self.lock = threading.RLock()  # signatures of large bodies are checked in threads

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
        self._peers.clear()
        self._loaded = True

    def _read_restrictions(self, now: float) -> None:
        found = {(each.kind, each.subject): each.until for each in self.traffic.restrictions(now)}
        for lifted in self._restricted.keys() - found.keys():
            self._offences.clear(":".join(lifted))
        self._restricted = found

    def door(self, place: str, accept: Collection[str] = ()) -> Door:
        """For one interface."""
        from hub.callers.door import Door  # it is written with this

        return Door(self, place, accept)

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

    def peer(self, remote: str) -> Known | None:
        """The one caller whose own allow list has an address; an address in the lists of two is nobody's."""
        if remote not in self._peers:
            address = plain(remote)
            found = [each for each in self.content.callers.values() if address is not None and each.allow.find(address)]
            self._remember(self._peers, remote, found[0] if len(found) == 1 else None)
        return self._peers[remote]

    @staticmethod
    def _remember(into: dict[K, V], key: K, value: V) -> V:
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
        with self.lock:
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
        await again("counting callers", self.write, WRITE_S, first=WRITE_S)

    async def write(self) -> None:
        """Once; counts that can't be written now are written later."""
        try:
            with self.lock:
                counts = self.traffic.pending(self.clock())
        except AccessError as error:
            log.error("the use by callers can't be recorded: %s", error)
            return
        if not counts.usage and not counts.hits:
            return
        try:
            await asyncio.to_thread(self.traffic.write, counts)
        except AccessError as error:
            with self.lock:
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


def _refusing(remote: str, lists: Content | Known) -> int:
    """The rule that refuses an address, -1 where an allow list does not have it, 0 where it is let in."""
    address = plain(remote)
    if address is None:  # a socket file, or nothing known of the peer
        return -1 if lists.allow else 0
    blocked = lists.block.find(address)
    if blocked:
        return blocked
    return -1 if lists.allow and not lists.allow.find(address) else 0
