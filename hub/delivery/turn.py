"""The turn of a worker: what it does for a delivery, or for several that share a call, and until when it may."""

from __future__ import annotations

import asyncio
import math

from hub.delivery.classify import Verdict
from hub.delivery.rate import TokenBucket
from hub.i18n import t
from hub.message import Outcome

__all__ = ["Turn"]


class Turn:
    """``seconds``: a sender must keep its own timeout; one that has not ended by then is cut off. ``bucket``: the pace of calls."""

    __slots__ = ("_bucket", "_loop", "_seconds", "limit", "overdue", "task")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        task: asyncio.Task[None],
        seconds: float,
        bucket: TokenBucket | None = None,
    ) -> None:
        self.task = task
        self.overdue = False  # it was cut off
        self.limit = loop.time() + seconds
        self._bucket = bucket
        self._loop = loop
        self._seconds = seconds

    def pause(self) -> None:
        """What follows is not the target's time."""
        self.limit = math.inf

    def resume(self) -> None:
        """What follows is a call."""
        self.limit = self._loop.time() + self._seconds

    async def pace(self) -> None:
        """Wait until another call may be made."""
        while self._bucket is not None and (pause := self._bucket.take()) > 0:  # noqa: ASYNC110 - time passes, no event
            await asyncio.sleep(pause)

    def cut_off(self) -> Verdict:
        """The verdict on a call that did not end by itself; the turn goes on."""
        self.overdue = False
        self.task.uncancel()
        text = t("no answer within the timeout, and the sender did not give up", "超时未应答，且发送端未自行放弃")
        return Verdict(Outcome.TRANSIENT, "send.overdue", text, "send")
