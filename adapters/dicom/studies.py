"""Which studies are under way, and when their index messages are due."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Any

from adapters.dicom.network import HubAssociation
from adapters.dicom.options import DicomListen
from adapters.dicom.state import State
from adapters.dicom.storage import index_message
from hub.api import Receipt, StoreBusy

__all__ = ["Studies"]

#: After an index message the store could not take, seconds.
_AGAIN_S = 1.0


class Studies:
    """Of one interface. ``hand_in``: hands in a message (its bytes, its number, of how many objects it tells)."""

    def __init__(self, options: DicomListen, hand_in: Callable[[bytes, str, int], Receipt]) -> None:
        self._after, self._at_end = options.index_after, options.index_at_end
        self._hand_in = hand_in
        self._loop: asyncio.AbstractEventLoop | None = None
        self._brought: dict[HubAssociation, set[str]] = {}  # what each association has brought
        self._quiet: dict[str, float] = {}  # study -> loop time when its index message is due
        self.told = 0

    @property
    def wanted(self) -> bool:
        """Whether there are index messages at all."""
        return bool(self._after or self._at_end)

    @property
    def under_way(self) -> int:
        return len(self._quiet)

    # -- in threads ----------------------------------------------------------------------------------------------

    def brought(self, association: HubAssociation, study: str) -> None:
        """An object of a study was stored."""
        if self.wanted and study:
            self._brought.setdefault(association, set()).add(study)
            if self._after:
                self._call_soon(self._wait_for, study)

    def ended(self, association: HubAssociation) -> None:
        brought = self._brought.pop(association, None)
        if brought and self._at_end:
            elsewhere = set().union(*list(self._brought.values()))
            self._call_soon(self._due_now, brought - elsewhere)

    def tell(self, state: State, study: str) -> bool:
        """Hand in the index message of a study; False: not now."""
        made = index_message(state, study)
        if made is None:
            return True
        raw, number, count = made
        receipt = self._hand_in(raw, number, count)
        if receipt.accepted:
            state.told(study, count)
            self.told += 1
            return True
        return not isinstance(receipt.error, StoreBusy)

    # -- on the event loop ---------------------------------------------------------------------------------------

    def begin(self, unfinished: Iterable[str], loop: asyncio.AbstractEventLoop) -> None:
        """With what was not told before the end of the last run."""
        self._loop = loop
        self._quiet = dict.fromkeys(unfinished, loop.time() + self._after)

    def due(self, now: float) -> list[str]:
        """Studies to tell of now; they count as told."""
        found = [study for study, due in self._quiet.items() if due <= now]
        for study in found:
            del self._quiet[study]
        return found

    def again(self, study: str) -> None:
        """It could not be told."""
        self._quiet.setdefault(study, asyncio.get_running_loop().time() + _AGAIN_S)

    def _wait_for(self, study: str) -> None:
        self._quiet[study] = asyncio.get_running_loop().time() + self._after

    def _due_now(self, studies: set[str]) -> None:
        self._quiet.update(dict.fromkeys(studies, 0.0))

    def _call_soon(self, work: Callable[..., Any], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            if self._loop is not None:
                self._loop.call_soon_threadsafe(work, *arguments)
