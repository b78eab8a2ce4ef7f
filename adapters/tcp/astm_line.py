"""One connection to an analyser: E1381 on a socket, in both directions."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from adapters.streams.link import StreamLink
from adapters.tcp.astm_options import AstmConnect, AstmListen
from adapters.tcp.e1381 import Station
from adapters.tcp.e1381_frames import frames_of
from adapters.tcp.e1381_sending import Sent, State, Verdict
from hub.api import TransientError, UnreachableError
from hub.i18n import t

__all__ = ["Line", "Owner"]


class Owner(Protocol):
    """Who takes in what comes over a line."""

    def opened(self, line: Line, address: str) -> bool:
        """Whether the connection may stay."""

    def closed(self, line: Line) -> None: ...

    def ready(self) -> bool: ...

    def take(self, line: Line, text: bytes, token: int) -> None:
        """A whole message; :meth:`Line.verdict` follows."""

    def unfinished(self, line: Line, text: bytes, reason: str) -> None: ...


class _Job:
    """A message to send."""

    __slots__ = ("done", "frames")

    def __init__(self, frames: list[bytes]) -> None:
        self.frames = frames
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Line(StreamLink):
    """Protocol of a connection, whoever opened it. Without an owner the other side's messages are refused (NAK)."""

    def __init__(self, options: AstmListen | AstmConnect, owner: Owner | None, max_size: int) -> None:
        super().__init__()
        self.remote = ""
        self._owner = owner
        self._options = options
        self._station = Station(
            self,
            options.timers(),
            analyser=options.role == "analyser",
            whole=not isinstance(options, AstmListen) or options.message == "records",
            max_size=max_size,
        )
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._jobs: deque[_Job] = deque()  # the first one is with the station
        self._active = self._loop.time()
        self._draining = False
        self.gone = asyncio.Event()

    # -- use ---------------------------------------------------------------------------------------------------

    async def send(self, message: bytes, within: float) -> None:
        """Send a message and wait until the other side has acknowledged its last frame; one after the other.

        Raises :class:`~hub.api.HubError` for a message that can't be framed, :class:`UnreachableError` when not a frame went out
        (``within`` so many seconds), :class:`TransientError` otherwise. A cancellation ends the transmission (EOT).
        """
        job = _Job(frames_of(message, self._options.frame_size, by_record=self._options.frames == "record"))
        if not self.alive or self._draining:
            raise self._not_connected()
        self._jobs.append(job)
        try:
            if len(self._jobs) == 1:
                self._begin()
            await asyncio.wait((job.done,), timeout=within)
            if not job.done.done():
                raise self._too_late(job, within)
            job.done.result()
        finally:
            self._remove(job)

    def verdict(self, token: int, verdict: Verdict) -> None:
        """What became of a message that came."""
        if self.alive:
            self._station.verdict(token, verdict, self._loop.time())
            self._arm()

    @property
    def state(self) -> State:
        return self._station.state

    # -- Inbound -----------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Take what is under way, begin nothing more, then close."""
        self._draining = True
        self._close_if_drained()

    def abort(self) -> None:
        self._transport.abort()

    def check(self, clock: float) -> None:
        idle = self._options.idle_timeout if isinstance(self._options, AstmListen) else 0.0
        if idle and not self._jobs and self.state is State.NEUTRAL and self._loop.time() - self._active > idle:
            self._transport.close()

    # -- transport ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        address, port = (peer[0], peer[1]) if isinstance(peer, tuple) else ("", 0)
        self.remote = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        if self._owner is not None and not self._owner.opened(self, address):
            self.alive = False
            transport.close()
        elif self._options.keepalive:
            self.keep_alive()

    def data_received(self, data: bytes) -> None:
        self._active = self._loop.time()
        if self.alive:
            self._station.receive(data, self._active)
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        begun = self._station.begun
        self.alive = False
        if self._timer is not None:
            self._timer.cancel()
        self._station.lost()
        for number, job in enumerate(self._jobs):
            if job.done.done():
                continue
            if number == 0 and begun:
                text = t("the connection was lost before the last frame was answered", "最后一帧得到应答前连接中断")
                job.done.set_exception(TransientError(text, code="astm.no_reply"))
            else:
                job.done.set_exception(self._not_connected())
        self.gone.set()
        if self._owner is not None:
            self._owner.closed(self)

    # -- Handler -----------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def ready(self) -> bool:
        return self._owner is not None and not self._draining and self._owner.ready()

    def take(self, text: bytes, token: int) -> None:
        if self._owner is not None:
            self._owner.take(self, text, token)

    def unfinished(self, text: bytes, reason: str) -> None:
        if self._owner is not None:
            self._owner.unfinished(self, text, reason)

    def sent(self, outcome: Sent) -> None:
        job = self._jobs[0]
        if outcome == "ok":
            job.done.set_result(None)
        elif outcome == "unheard":
            text = t("nobody answers ENQ: is the analyser on and connected?", "ENQ 无应答：请检查仪器是否开机并已连接")
            job.done.set_exception(UnreachableError(text, code="astm.unheard"))
        elif outcome == "silent":
            text = t("a frame was not answered in time", "帧未在时限内得到应答")
            job.done.set_exception(TransientError(text, code="astm.no_reply"))
        else:
            text = t("a frame was refused (NAK) six times", "同一帧被拒绝（NAK）六次")
            job.done.set_exception(TransientError(text, code="astm.refused"))

    def flooded(self) -> None:
        self.abort()

    # -- inside ------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._station.send(self._jobs[0].frames, self._loop.time())
        self._arm()

    def _remove(self, job: _Job) -> None:
        """A job has ended, in whatever way: the next one."""
        if job not in self._jobs:
            return
        first = self._jobs[0] is job
        self._jobs.remove(job)
        if not self.alive or not first:
            return
        if not job.done.done():
            self._station.cancel()
        if self._jobs:
            self._begin()
        else:
            self._arm()

    def _arm(self) -> None:
        """Set the timer for what comes next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._station.deadline
        if deadline and self.alive:
            self._timer = self._loop.call_at(deadline, self._tick)
        self._close_if_drained()

    def _tick(self) -> None:
        self._timer = None
        self._station.tick(max(self._loop.time(), self._station.deadline))
        self._arm()

    def _close_if_drained(self) -> None:
        if self._draining and not self._station.begun and self.state in (State.NEUTRAL, State.ASKING):
            self._transport.close()

    def _not_connected(self) -> UnreachableError:
        return UnreachableError(t("the analyser is not connected", "仪器未连接"), code="astm.unreachable")

    def _too_late(self, job: _Job, seconds: float) -> UnreachableError | TransientError:
        if job is self._jobs[0] and self._station.begun:
            text = t(f"not sent to the end within {seconds:g} s", f"{seconds:g} 秒内未发送完毕")
            return TransientError(text, code="astm.timeout")
        text = t(f"the line did not become free within {seconds:g} s", f"{seconds:g} 秒内线路一直忙")
        return UnreachableError(text, code="astm.busy")
