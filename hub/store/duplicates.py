"""Which control ids a segment may hold: small filters in memory that spare most look-ups on the disk.

A filter says "certainly not" or "perhaps". It is only ever used to skip a look-up, so a wrong "perhaps" costs a few
microseconds and nothing else.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from queue import SimpleQueue

import apsw

from hub.errors import HubError
from hub.store.rows import CONTROL_ID
from hub.store.segment import SegmentFile
from hub.store.sql import all_rows

__all__ = ["ControlFilter", "FilterLoader"]

log = logging.getLogger(__name__)

_BITS_PER_ENTRY = 16  # four probes: about 0.24 % false "perhaps" when full
_CHUNK = 2_000
_PAUSE_SECONDS = 0.002


class ControlFilter:
    """A Bloom filter with four probes over (source, control id). One thread adds, any may ask."""

    __slots__ = ("_bits", "_mask")

    def __init__(self, entries: int) -> None:
        bits = 1 << max(13, (entries * _BITS_PER_ENTRY - 1).bit_length())
        self._bits = bytearray(bits >> 3)
        self._mask = bits - 1

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return len(self._bits)

    def add(self, source: str, control_id: str) -> None:
        value = hash((source, control_id))
        mask, bits, step = self._mask, self._bits, value >> 32 | 1
        for _ in range(4):
            place = value & mask
            bits[place >> 3] |= 1 << (place & 7)
            value += step

    def __contains__(self, key: tuple[str, str]) -> bool:
        value = hash(key)
        mask, bits, step = self._mask, self._bits, value >> 32 | 1
        for _ in range(4):
            place = value & mask
            if not bits[place >> 3] >> (place & 7) & 1:
                return False
            value += step
        return True


class FilterLoader:
    """Builds the filters of segments that were there before this start, in the background, newest first.

    ``get`` answers None while a filter is not ready, or will never be because ``memory`` is used up.
    """

    def __init__(self, memory: int = 64 << 20) -> None:
        self._memory = memory
        self._filters: dict[int, ControlFilter | None] = {}
        self._dropped: set[int] = set()
        self._queue: SimpleQueue[tuple[SegmentFile, int, int] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def want(self, segment: SegmentFile, messages: int, last_id: int) -> None:
        """Ask for the filter of what a segment holds up to ``last_id``; asking again does nothing."""
        if segment.first_id in self._filters:
            return
        self._filters[segment.first_id] = None
        self._queue.put((segment, messages, last_id))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="store filters", daemon=True)
            self._thread.start()

    def get(self, first_id: int) -> ControlFilter | None:
        return self._filters.get(first_id)

    def put(self, first_id: int, built: ControlFilter) -> None:
        """Keep a filter that was filled while its segment was written."""
        if self._take(built.size):
            self._filters[first_id] = built
        else:
            self._filters.setdefault(first_id, None)

    def drop(self, first_id: int) -> None:
        """The segment got something its filter does not know: from now on look it up."""
        self._dropped.add(first_id)
        self._filters[first_id] = None

    def forget(self, first_ids: Iterable[int]) -> None:
        """These segments are gone."""
        for first_id in first_ids:
            gone = self._filters.pop(first_id, None)
            if gone is not None:
                self._memory += gone.size

    def stop(self) -> None:
        self._stopping.set()
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join()

    def _take(self, size: int) -> bool:
        if size > self._memory:
            return False
        self._memory -= size
        return True

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            segment, messages, last_id = job
            made = ControlFilter(messages)
            if not self._take(made.size):
                continue
            try:
                complete = self._fill(made, segment, last_id)
            except (apsw.Error, HubError) as error:
                log.warning("%s: no filter of control ids: %s", segment.path.name, error)
                complete = False
            if complete and segment.first_id in self._filters:
                self._filters[segment.first_id] = made
                if segment.first_id in self._dropped:  # asked after the filter is in place: drop() can't be missed
                    self._filters[segment.first_id] = None
            if self._stopping.is_set():
                return

    def _fill(self, made: ControlFilter, segment: SegmentFile, last_id: int) -> bool:
        """In short strides with pauses, so that the event loop gets its turn."""
        connection = segment.connection()
        names: dict[int, str] = dict(all_rows(connection, "SELECT id, text FROM name"))
        values = segment.values
        after = -1
        while not self._stopping.is_set():
            rows = all_rows(
                connection,
                "SELECT id, source, control_id FROM message WHERE id > ? AND id <= ? ORDER BY id LIMIT ?",
                (after, last_id, _CHUNK),
            )
            if not rows:
                return True
            for _, source, control_id in rows:
                if control_id:
                    made.add(names[source], values.from_token(control_id, CONTROL_ID))
            after = rows[-1][0]
            self._stopping.wait(_PAUSE_SECONDS)
        return False
