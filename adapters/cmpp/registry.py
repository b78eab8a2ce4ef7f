"""Who takes what comes over the connections of a sending interface: in CMPP one connection serves both directions."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from adapters.cmpp.pdu import Pdu
from adapters.cmpp.session import Session
from adapters.cmpp.sessions import Sessions

__all__ = ["FirstParts", "Registry", "report_key"]

Place = tuple[str, str]  # system, interface
Taker = Callable[[Session, Pdu], None]
#: Parts whose text is remembered, newest last.
_PARTS = 100_000
#: Longest a report waits for the answer to the SUBMIT it may be about, seconds.
EARLY_S = 5.0
#: How long something that comes is kept for an interface that is not there yet, seconds; how many.
PATIENCE_S = 60.0
_HELD = 1000


def report_key(msg_id: int) -> str:
    """The number by which a SUBMIT and its report know each other.

    Some gateways write Msg_Id in the report with its bytes the other way round; of the two readings the smaller one is taken, on
    both sides, so that either way they agree.
    """
    turned = int.from_bytes(msg_id.to_bytes(8, "little"), "big")
    return str(min(msg_id, turned))


class FirstParts:
    """Of which text a part is one: key of its report -> that of the first part, by which the text's delivery is known.

    In memory: of what was sent before a restart only the report of the first part is matched.
    """

    def __init__(self, most: int = _PARTS) -> None:
        self._known: OrderedDict[str, str] = OrderedDict()
        self._most = most
        self._sending = 0  # long texts on their way
        self._early: dict[str, list[Callable[[str], None]]] = {}

    @contextmanager
    def sending(self, parts: int) -> Iterator[None]:
        """While a text of several parts is on its way: a report of something unknown may be of one of them."""
        self._sending += parts > 1
        try:
            yield
        finally:
            self._sending -= parts > 1
            for part in [] if self._sending else list(self._early):
                self._tell(part)

    def note(self, part: str, first: str) -> None:
        self._known[part] = first
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        self._tell(part)

    def ask(self, part: str, told: Callable[[str], None]) -> None:
        """``told`` gets the key of the first part: now, or when it is known, because a report may be faster than SUBMIT_RESP."""
        if part in self._known or not self._sending:
            told(self._known.get(part, part))
            return
        if part not in self._early:
            asyncio.get_running_loop().call_later(EARLY_S, self._tell, part)
        self._early.setdefault(part, []).append(told)

    def _tell(self, part: str) -> None:
        for told in self._early.pop(part, ()):
            told(self._known.get(part, part))


class Registry:
    """The interfaces of this process that share connections."""

    def __init__(self) -> None:
        self._takers: dict[Place, Taker] = {}
        self._alone: dict[Place, float] = {}  # since when nobody takes it, seconds
        self._held: dict[Place, list[tuple[Session, Pdu]]] = {}
        self.parts: dict[str, FirstParts] = {}  # by system
        self.sessions: dict[Place, Sessions] = {}  # of sending interfaces that run

    def parts_of(self, system: str) -> FirstParts:
        return self.parts.setdefault(system, FirstParts())

    def take_for(self, place: Place, taker: Taker) -> None:
        self._takers[place] = taker
        for session, pdu in self._held.pop(place, ()):
            taker(session, pdu)

    def leave(self, place: Place, taker: Taker) -> None:
        if self._takers.get(place) == taker:
            del self._takers[place]
            self._alone[place] = time.monotonic()

    def hand_over(self, place: Place, session: Session, pdu: Pdu) -> bool:
        """False where no interface takes it.

        At the start of the hub, and while an interface is replaced, the one that will take it is a moment late: until then it is
        kept, unanswered.
        """
        taker = self._takers.get(place)
        if taker is not None:
            taker(session, pdu)
            return True
        now = time.monotonic()
        if now - self._alone.setdefault(place, now) > PATIENCE_S:
            self._held.pop(place, None)
            return False
        held = self._held.setdefault(place, [])
        if len(held) < _HELD:
            held.append((session, pdu))
        return True
