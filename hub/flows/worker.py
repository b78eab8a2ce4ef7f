"""The one who works: gives the keeper what there is to do, a batch in one commit, and lets time pass."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from hub.errors import HubError, TransientError
from hub.flows.clock import Clock
from hub.flows.events import Tick
from hub.flows.keeper import Keeper
from hub.flows.store import FlowStore
from hub.flows.work import Told, Work
from hub.i18n import t
from hub.logs import get_logger
from hub.masking import mask_text

__all__ = ["Worker"]

log = get_logger(__name__)

#: Events of one commit.
_BATCH = 64
#: What can't be written is tried again after so long, seconds.
_AGAIN_S = 1.0
#: Longest time without a look at the clock, seconds.
_LOOK_S = 30.0


class _Piece:
    """A piece of work, and who waits for what becomes of it."""

    __slots__ = ("future", "work")

    def __init__(self, work: Work, future: asyncio.Future[Told] | None = None) -> None:
        self.work = work
        self.future = future


class Worker:
    """``in_thread`` calls in the thread of ``flows.db``; ``told`` hears of each piece that is done, ``after`` comes after each commit."""

    def __init__(
        self,
        store: FlowStore,
        keeper: Keeper,
        clock: Clock,
        in_thread: Callable[..., Awaitable[Any]],
        told: Callable[[Work], None],
        after: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._keeper = keeper
        self._clock = clock
        self._in_thread = in_thread
        self._told = told
        self._after = after
        self._work: deque[_Piece] = deque()
        self._doing: list[_Piece] = []
        self._wake = asyncio.Event()
        self._next_due = 0  # microseconds since the epoch; 0: nothing is timed
        self._over = False

    # -- what there is to do -------------------------------------------------------------------------------------

    def wake(self) -> None:
        self._wake.set()

    def add(self, work: Work) -> None:
        """Something nobody waits for."""
        self._add(_Piece(work))

    async def ask(self, work: Work) -> Told:
        """What became of a piece of work. Raises :class:`TransientError` when it can't be done now."""
        if self._over:
            raise _stopping()
        future: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._add(_Piece(work, future))
        return await future

    def _add(self, piece: _Piece) -> None:
        self._work.append(piece)
        self._wake.set()

    def end(self) -> None:
        """Nothing more is done: whoever still waits is told so. What was just being committed counts, and is known as done next time."""
        self._over = True
        for piece in (*self._doing, *self._work):
            if piece.future is not None and not piece.future.done():
                piece.future.set_exception(_stopping())
        self._work.clear()

    # -- doing it ------------------------------------------------------------------------------------------------

    async def run(self, begin: Callable[[], Awaitable[None]]) -> None:
        """Until it is cancelled; ``begin`` comes first, and again until it succeeds."""
        begun = False
        while True:
            try:
                if not begun:
                    await begin()
                    self._next_due = await self._in_thread(self._store.next_due)
                    begun = True
                    await self._after()
                await self._once()
            except Exception as error:  # of the disk, most likely: flows go on when it does
                (log.error if isinstance(error, HubError) else log.exception)("flows: %s", mask_text(str(error)))
                await asyncio.sleep(_AGAIN_S)

    async def _once(self) -> None:
        """Wait until there is something to do, and do it."""
        if not self._work and self._time_left() != 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._time_left()):
                    await self._wake.wait()
        self._wake.clear()
        pieces = self._doing = [self._work.popleft() for _ in range(min(_BATCH, len(self._work)))]
        if self._time_left() == 0:
            pieces.append(_Piece(Tick()))
        try:
            told = await self._in_thread(self._handle, [piece.work for piece in pieces])
        except Exception as error:
            await self._failed(pieces, error)
            return
        self._doing = []
        self._tell(pieces, told)
        await self._after()

    def _time_left(self) -> float | None:
        """Seconds until something is due; None: nothing is timed."""
        if not self._next_due:
            return None
        return min(_LOOK_S, max(0.0, (self._next_due - self._clock()) / 1e6))

    def _handle(self, works: Sequence[Work]) -> list[Told]:
        told = self._keeper.handle(works)
        self._next_due = self._store.next_due()
        return told

    def _tell(self, pieces: list[_Piece], told: list[Told]) -> None:
        for piece, result in zip(pieces, told, strict=True):
            if piece.future is not None and not piece.future.done():
                piece.future.set_result(result)
            elif result.error is not None:
                log.error("flows: %s: %s", type(piece.work).__name__, mask_text(result.error.text))
            self._told(piece.work)

    async def _failed(self, pieces: list[_Piece], error: Exception) -> None:
        """Nothing of it is committed: senders try again, the rest is done again here."""
        (log.error if isinstance(error, HubError) else log.exception)("flows: %s", mask_text(str(error)))
        again: list[_Piece] = []
        for piece in pieces:
            if piece.future is None:
                if not isinstance(piece.work, Tick):
                    again.append(piece)
            elif not piece.future.done():
                text = t("flows can't be written just now", "流程数据暂时无法写入")
                piece.future.set_exception(TransientError(text, code="flow.store"))
        self._doing = []
        self._work.extendleft(reversed(again))
        await asyncio.sleep(_AGAIN_S)


def _stopping() -> TransientError:
    return TransientError(t("the hub is stopping", "枢纽正在停止"), code="flow.stopping")
