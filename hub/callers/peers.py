"""Callers of transports without headers (MLLP, TCP): known by the address a message comes from.

Stands between such an adapter and the intake, and lets in only messages of a caller whose own allow list has the address.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hub.api import Bound, IntakePort, Item, Receipt
from hub.callers.door import Door
from hub.callers.errors import CallerRefused
from hub.errors import HubError, StoreBusy
from hub.message import Outcome

__all__ = ["PeerIntake"]

#: Refusals that pass: the sender is told to try again, not that its message is wrong.
_LATER = (429, 503)


class PeerIntake:
    """A :class:`hub.api.IntakePort` for one interface."""

    def __init__(self, intake: IntakePort, door: Door) -> None:
        self._intake = intake
        self._door = door

    def submit(
        self,
        bound: Bound,
        raw: bytes,
        done: Callable[[Receipt], None],
        *,
        remote: str = "",
        control_id: str = "",
        params: Mapping[str, str] | None = None,
    ) -> None:
        try:
            caller = self._door.admit_peer(_address(remote))
        except CallerRefused as refused:
            self._intake.refuse(bound, raw, refused, remote=remote)
            error: HubError = refused
            if refused.status in _LATER:
                error = StoreBusy(refused.text, code=refused.code, remedy=refused.remedy)
            return done(Receipt(Outcome.REFUSED, error=error))
        self._intake.submit(
            bound, raw, done, remote=remote, control_id=control_id, params={**(params or {}), "caller": caller}
        )

    async def take(
        self, bound: Bound, items: Sequence[Item], *, mark: str | None = None, name: str = "", remote: str = ""
    ) -> list[Receipt]:
        return await self._intake.take(bound, items, mark=mark, name=name, remote=remote)

    async def mark(self, bound: Bound, name: str = "") -> str:
        return await self._intake.mark(bound, name)

    async def check(
        self, bound: Bound, raw: bytes, *, params: Mapping[str, str] | None = None
    ) -> Sequence[Mapping[str, str]]:
        return await self._intake.check(bound, raw, params=params)

    def note_run(
        self,
        bound: Bound,
        *,
        started_us: int,
        params: Mapping[str, str],
        error: HubError | None = None,
        remote: str = "",
    ) -> None:
        self._intake.note_run(bound, started_us=started_us, params=params, error=error, remote=remote)

    def refuse(self, bound: Bound, raw: bytes, error: HubError, *, remote: str = "") -> None:
        self._intake.refuse(bound, raw, error, remote=remote)

    def ready(self) -> bool:
        return self._intake.ready()


def _address(remote: str) -> str:
    """Of ``10.0.0.1:2575`` or ``[2001:db8::1]:2575``."""
    return remote.rpartition(":")[0].strip("[]")
