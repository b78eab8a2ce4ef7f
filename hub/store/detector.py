"""Recognising what a sender sends again: same source, same control id, within a window of time."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from hub.message import Message, Outcome
from hub.store.control_runs import find_earlier
from hub.store.duplicates import FilterLoader
from hub.store.segments import Entry, SegmentSet
from hub.store.sql import scalar

__all__ = ["DuplicateDetector"]

_OLDER_SOURCE = "SELECT id FROM name WHERE text = ?"
_REFRESH_US = 60_000_000


class DuplicateDetector:
    """Looks in the batch under way, then in the segments that can hold messages of the window, newest first.

    Used by the writer's thread only.
    """

    def __init__(self, segments: SegmentSet) -> None:
        self._segments = segments
        self._loader = FilterLoader()
        self._recent: dict[tuple[str, str], list[tuple[int, bytes, int]]] = {}
        self._windows: dict[int, tuple[int, list[Entry]]] = {}
        self._history = segments.current.messages > 0  # the newest segment holds messages its own filter does not know
        if self._history:
            current = segments.current
            self._loader.want(segments.file(segments.entries[-1]), current.messages, current.highest_id())

    def new_batch(self) -> None:
        """Everything judged so far is committed, or was not stored."""
        if self._recent:
            self._recent = {}

    def judge(self, message: Message, window_us: int) -> tuple[Outcome, int]:
        """OK, or DUPLICATE or CONFLICT with the id of the earlier message."""
        key = (message.source, message.control_id)
        content = message.content_hash
        if not content:
            content = message.content_hash = blake2b(message.raw, digest_size=16).digest()
        cutoff = message.received_at - window_us
        recent = self._recent.get(key)
        conflict = 0
        if recent is not None:
            conflict, duplicate = _compare(reversed(recent), [content], cutoff)
            if duplicate:
                return Outcome.DUPLICATE, duplicate
        segments = self._segments
        current = segments.current
        contents: list[bytes] | None = None
        if self._perhaps_in_current(key):
            contents = segments.values.hash_tokens(content)
            found, duplicate = _compare(current.earlier(key[0], key[1], contents), contents, cutoff)
            if duplicate:
                return Outcome.DUPLICATE, duplicate
            conflict = conflict or found
        if len(segments.entries) > 1:
            for entry in self._older(window_us, cutoff):
                known = self._loader.get(entry.first_id)
                if known is not None and key not in known:
                    continue
                contents = contents or segments.values.hash_tokens(content)
                found, duplicate = _compare(self._look_up(entry, key, contents), contents, cutoff)
                if duplicate:
                    return Outcome.DUPLICATE, duplicate
                conflict = conflict or found
        if recent is None:
            self._recent[key] = [(message.id, content, message.received_at)]
        else:
            recent.append((message.id, content, message.received_at))
        if conflict:
            return Outcome.CONFLICT, conflict
        return Outcome.OK, 0

    def forget(self, message: Message) -> None:
        """A message that was judged new could not be stored after all: what comes after it is no repeat of it."""
        known = self._recent.get((message.source, message.control_id))
        if known is not None:
            known[:] = [entry for entry in known if entry[0] != message.id]

    def stored(self, message: Message, first_id: int) -> None:
        """A message with a control id goes to this segment, judged or not."""
        current = self._segments.current
        if first_id == current.first_id and current.filter is not None:
            current.filter.add(message.source, message.control_id)
        else:
            self._loader.drop(first_id)
            self._windows.clear()

    def rolled(self, done: Entry, made: Any) -> None:
        """The newest segment is complete; ``made`` is the filter that was filled meanwhile."""
        if self._history:
            self._loader.forget([done.first_id])
            self._loader.want(self._segments.file(done), done.messages, self._segments.end_of(done.first_id) - 1)
        else:
            self._loader.put(done.first_id, made)
        self._history = False
        self._windows.clear()

    def removed(self, first_ids: Iterable[int]) -> None:
        """Segments were pruned."""
        self._loader.forget(first_ids)
        self._windows.clear()

    def stop(self) -> None:
        self._loader.stop()

    def _perhaps_in_current(self, key: tuple[str, str]) -> bool:
        current = self._segments.current
        if current.filter is None or key in current.filter:
            return True
        if not self._history:
            return False
        history = self._loader.get(current.first_id)
        return history is None or key in history

    def _older(self, window_us: int, cutoff: int) -> list[Entry]:
        """Complete segments that may hold something received since ``cutoff``, newest first."""
        known = self._windows.get(window_us)
        if known is None or not known[0] <= cutoff <= known[0] + _REFRESH_US:
            segments = self._segments
            entries = [entry for entry in reversed(segments.entries[:-1]) if entry.received_max >= cutoff]
            known = self._windows[window_us] = (cutoff, entries)
            for entry in entries:
                self._loader.want(segments.file(entry), entry.messages, segments.end_of(entry.first_id) - 1)
        return known[1]

    def _look_up(self, entry: Entry, key: tuple[str, str], contents: list[bytes]) -> list[tuple[Any, ...]]:
        connection = self._segments.connections.get(entry.path)
        source = scalar(connection, _OLDER_SOURCE, (key[0],))
        return [] if source is None else find_earlier(connection, self._segments.values, source, key[1], contents)


def _compare(rows: Iterable[tuple[Any, ...]], contents: list[bytes], cutoff: int) -> tuple[int, int]:
    """(newest message with other bytes, message with the same bytes) among (id, content hash, received at)."""
    conflict = 0
    for message_id, found, received_at, *_ in rows:
        if received_at >= cutoff:
            if found in contents:
                return 0, message_id
            conflict = max(conflict, message_id)
    return conflict, 0
