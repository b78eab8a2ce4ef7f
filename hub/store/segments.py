"""The segments of a worker's folder as the writer sees them: the newest one, and the older ones opened on demand."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from hub.store.catalog import Catalog
from hub.store.duplicates import ControlFilter
from hub.store.files import create_file, open_writable
from hub.store.segment import Connections, SegmentFile, segment_path
from hub.store.segment_writer import SegmentWriter
from hub.store.values import Values

__all__ = ["Entry", "SegmentSet"]

_OLDER_OPEN = 4
_FILTER_ENTRIES = 4_000_000  # beyond, the filter of a segment says "perhaps" more often


@dataclass(slots=True)
class Entry:
    """What the writer knows of a segment without opening it. For the newest one the writer itself knows better."""

    first_id: int
    path: Path
    messages: int
    seq_max: int
    received_max: int


class SegmentSet:
    """Owned by the writer's thread."""

    def __init__(
        self,
        folder: Path,
        catalog: Catalog,
        entries: list[Entry],
        current: SegmentWriter,
        limit: int,
        values: Values,
    ) -> None:
        self.folder = folder
        self.values = values
        self.entries = entries  # oldest first, the newest included
        self.current = current
        self.connections = Connections(values=values)  # for looking things up in older segments
        self._catalog = catalog
        self._limit = limit
        self._firsts = [entry.first_id for entry in entries]
        self._older: OrderedDict[int, SegmentWriter] = OrderedDict()
        current.filter = self._new_filter()

    @property
    def room(self) -> int:
        """Messages that still go into the newest segment."""
        return self._limit - self.current.messages

    def first_of(self, row_id: int) -> int:
        """First id of the segment an id falls into; what is older than everything falls into the oldest."""
        return self._firsts[max(0, bisect_right(self._firsts, row_id) - 1)]

    def end_of(self, first_id: int) -> int:
        """The first id that no longer falls into a segment."""
        place = bisect_right(self._firsts, first_id)
        return self._firsts[place] if place < len(self._firsts) else 1 << 63

    def entry(self, first_id: int) -> Entry:
        return self.entries[bisect_right(self._firsts, first_id) - 1]

    def file(self, entry: Entry) -> SegmentFile:
        """A segment for reading in the writer's thread."""
        return SegmentFile(entry.path, entry.first_id, self.end_of(entry.first_id) - 1, self.connections)

    def writer(self, first_id: int) -> SegmentWriter:
        """The writer of a segment; an older one is opened when needed and the one used longest ago closed."""
        if first_id == self.current.first_id:
            return self.current
        found = self._older.get(first_id)
        if found is None:
            entry = self.entry(first_id)
            found = SegmentWriter(entry.path, first_id, open_writable(entry.path), self.values)
            found.load_summary(trust=True)
            found.sealed = True
            self._older[first_id] = found
            if len(self._older) > _OLDER_OPEN:
                self._older.popitem(last=False)[1].close()
        else:
            self._older.move_to_end(first_id)
        return found

    def note(self, writer: SegmentWriter) -> None:
        """Keep in mind what a commit did to an older segment."""
        entry = self.entry(writer.first_id)
        entry.messages, entry.seq_max, entry.received_max = writer.messages, writer.seq_max, writer.received_max

    def roll(self, first_id: int) -> SegmentWriter:
        """Complete the newest segment and begin the next one; returns the one completed, which stays open."""
        done = self.current
        done.seal()
        self.note(done)
        path = segment_path(self.folder, first_id)
        if not path.exists():  # it does after an attempt that failed half-way
            create_file(path, "segment")
        self._catalog.add_segment(first_id)
        self.current = SegmentWriter(path, first_id, open_writable(path), self.values)
        if self.values.sealing:
            self.current.mark_sealed()
        self.current.filter = self._new_filter()
        self.entries.append(Entry(first_id, path, 0, 0, 0))
        self._firsts.append(first_id)
        self._older[done.first_id] = done
        return done

    def detach(self, first_id: int) -> None:
        """Let go of a segment whose removal the catalog has decided; its files may then be deleted."""
        writer = self._older.pop(first_id, None)
        if writer is not None:
            writer.close()
        self.entries.remove(self.entry(first_id))
        self._firsts.remove(first_id)

    def reopen(self) -> None:
        """Start afresh with every file after an error of the disk: a commit that failed may have reached it all the same."""
        while self._older:
            older = self._older.popitem()[1]
            older.close()
            if older.claims.doubtful:
                self._sweep(older)
        old = self.current
        old.connection.close()
        new = SegmentWriter(old.path, old.first_id, open_writable(old.path), self.values)
        new.load_summary(trust=False)
        new.filter, new.sealed = old.filter, old.sealed
        self.current = new
        if old.claims.doubtful:
            self._sweep(new)

    def _sweep(self, writer: SegmentWriter) -> None:
        """Find out which body files of a commit that failed belong to rows all the same."""
        connection = open_writable(writer.path)
        try:
            self.values.bodies.sweep(writer.first_id, connection)
        finally:
            connection.close()

    def close(self) -> None:
        """Close every file; SQLite brings the WAL into the database with that."""
        self.connections.close()
        while self._older:
            self._older.popitem()[1].close()
        self.current.close()

    def _new_filter(self) -> ControlFilter:
        return ControlFilter(min(self._limit, _FILTER_ENTRIES))
