"""What the hub reads, played: entries that lie ready, and what is answered to who asks for them."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hub.mapping import Context
    from hub.simulator.party import Facts, Said

__all__ = ["Entry", "Shelf", "Source"]

#: Entries that lie ready at most; beyond, the oldest is taken away.
_MOST = 100_000


@dataclass(slots=True)
class Entry:
    """One message of a source, before it is signed and encrypted. ``at``: when it came, Unix seconds."""

    body: bytes = field(repr=False)
    at: float = field(default_factory=time.time)
    given: bool = False  # to whoever asked


@dataclass(slots=True)
class Shelf:
    """The entries of one source, oldest first; ``gone`` have been taken away."""

    entries: list[Entry] = field(default_factory=list)
    gone: int = 0

    def put(self, body: bytes) -> None:
        if len(self.entries) >= _MOST:
            del self.entries[0]
            self.gone += 1
        self.entries.append(Entry(body))


class Source(ABC):
    """A source that is asked over a transport, as its counterpart plays it."""

    @abstractmethod
    def read(self, body: bytes, context: Context) -> Any:
        """The tree of an opened question. Raises :class:`hub.simulator.side.Unfit` for one the source would not take."""

    def check_entry(self, body: bytes) -> None:  # noqa: B027 - most take any
        """Raises :class:`hub.errors.HubError` for bytes that can't be an entry."""

    @abstractmethod
    def answer(self, tree: Any, facts: Facts) -> Said:
        """What there is to read. Raises :class:`hub.simulator.side.Unfit`, and :class:`hub.errors.HubError` where an entry can't be told."""

    @abstractmethod
    def refused(self, code: str, text: str) -> tuple[int, bytes]:
        """(HTTP status, body) of a refusal."""
