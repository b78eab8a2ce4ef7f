"""Callers of transports without headers (MLLP, TCP): known by the address a message comes from.

Stands between such an adapter and the intake, and lets in only messages of a caller whose own allow list has the address.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hub.api import Bound, IntakePort, Receipt
from hub.callers.door import Door
from hub.callers.errors import CallerRefused
from hub.errors import HubError, StoreBusy
from hub.forwarding import ForwardingIntake
from hub.message import Outcome

__all__ = ["PeerIntake"]

#: Refusals that pass: the sender is told to try again, not that its message is wrong.
_LATER = (429, 503)


class PeerIntake(ForwardingIntake):
    """A :class:`hub.api.IntakePort` for one interface."""

    def __init__(self, intake: IntakePort, door: Door) -> None:
        super().__init__(intake)
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


def _address(remote: str) -> str:
    """Of ``10.0.0.1:2575`` or ``[2001:db8::1]:2575``."""
    return remote.rpartition(":")[0].strip("[]")
