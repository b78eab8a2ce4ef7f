"""What stands between an adapter and the intake: all of it handed on, but for what the one that stands there changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hub.errors import HubError

if TYPE_CHECKING:
    from hub.api import Bound, IntakePort, Item, Receipt

__all__ = ["ForwardingIntake"]


class ForwardingIntake:
    """All of :class:`hub.api.IntakePort` but ``submit``, which is what whoever stands in between is there for."""

    def __init__(self, intake: IntakePort) -> None:
        self._intake = intake

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
