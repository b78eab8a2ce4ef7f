"""``hours`` of an interface: what comes at other times waits in the store, and is sent when they begin."""

from __future__ import annotations

import time
from datetime import datetime
from zoneinfo import ZoneInfo

from hub.contract import HoursRule
from hub.delivery.steps import World, decode_message
from hub.i18n import t
from hub.mapping import Context, compile_expression
from hub.message import Delivery, DeliveryState, Message
from hub.windows import Window

__all__ = ["STEP", "Hours"]

#: ``step`` of a delivery that waits for its hours; its ``next_at`` is when they begin.
STEP = "hours"


class Hours:
    """The windows of one interface, and what goes at any time."""

    def __init__(self, rule: HoursRule, place: str, world: World) -> None:
        self.rule = rule
        self._place = place
        self._world = world
        self._windows = [Window(text) for text in rule.open]
        self._zone = ZoneInfo(rule.zone)
        self._minute = -1  # that of ``_opens``: windows have whole minutes
        self._opens = 0.0

    @staticmethod
    def now() -> float:
        """Unix time, seconds."""
        return time.time()

    def pause(self) -> float:
        """Seconds until the interface may be used; 0: it may be now."""
        now = self.now()
        minute = int(now // 60)
        if minute != self._minute:
            self._opens, self._minute = self.opens_at(now), minute
        return max(0.0, self._opens - now)

    def opens_at(self, now: float) -> float:
        """Unix time from which on it may be used: ``now`` or earlier, where it may be now."""
        when = datetime.fromtimestamp(now, self._zone)
        if any(window.holds(when) for window in self._windows):
            return now
        return min(window.next_begin(when).timestamp() for window in self._windows)

    def exempt(self, message: Message, context: Context) -> bool:
        """Whether a message goes at any time. One that can't be read does not: better late than at night."""
        if not self.rule.unless:
            return False
        try:
            read = compile_expression(self.rule.unless, message.codec, key=f"{self._place}.hours.unless")
            return bool(read(decode_message(message, self._world), context))
        except Exception:  # also a bug in a plugin's function: it must not end the worker that asks
            return False

    def note(self, delivery: Delivery) -> None:
        """What people are shown of a delivery that waits, and what is known of it after a restart."""
        now = self.now()
        opens = self.opens_at(now)
        when, today = (datetime.fromtimestamp(at, self._zone) for at in (opens, now))
        text = when.strftime("%H:%M" if when.date() == today.date() else "%m-%d %H:%M")
        delivery.state = DeliveryState.RETRYING if delivery.attempts else DeliveryState.PENDING
        delivery.step = STEP
        delivery.reason = t(f"waits until {text} ({self.rule.zone})", f"等待至 {text}（{self.rule.zone}）")
        delivery.updated_at = int(now * 1e6)
        delivery.next_at = int(opens * 1e6)
