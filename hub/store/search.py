"""Answers to :class:`~hub.store.base.MessageQuery` from the segments and their indexes.

Each segment, newest first, gives a stream of candidates in descending order of id, from whatever index leaves the fewest. The
rows of the candidates are then compared with the whole question. What an index does not cover yet (the newest
messages, or all of them while an index is being built) is read row by row: an answer never depends on the indexes, only its speed
does. Free text is the exception; it finds what has been indexed, and ``text_lag`` tells how much has not.

Conditions on state, target and route are about one and the same delivery: "dead at the insurance", not "dead somewhere, and sent
to the insurance". Times are compared with the time of receipt; segments more than a day away are left out by their ids.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import apsw

from hub.ids import first_id_at
from hub.message import DeliveryState
from hub.store.base import MessageQuery, MessageRow, SearchPage
from hub.store.derived import UNUSABLE, report
from hub.store.key_reader import KeyReader
from hub.store.keys import Wanted
from hub.store.lookup import Deliveries, Guests, json_list
from hub.store.question import ID_END, Question
from hub.store.rows import CONTROL_ID, CORRELATION, KEYS, keys_from
from hub.store.segment import SegmentFile
from hub.store.sql import scalar
from hub.store.text import TextReader

__all__ = ["index_lag", "run_search"]

_DAY_MS = 86_400_000
#: Candidates that are looked at together: few at first, since the first are often enough.
_CHUNK = 64
_CHUNK_MOST = 2_048
#: Up to so many deliveries in a state are looked through rather than the messages of a source, type or target.
_FEW_DELIVERIES = 2_000
_FEW_MESSAGES = 500
_COLUMNS = "id, received_at, source, type, control_id, keys, size, conflict, causation, correlation"

_Reader = TypeVar("_Reader", KeyReader, TextReader)


def run_search(segments: Sequence[SegmentFile], query: MessageQuery) -> SearchPage:
    """The page asked for, from segments of one or several folders in any order. For a reading thread: it blocks.

    Raises :class:`~hub.errors.HubError` for a question that can't be answered (too long, no word in it) and
    ``apsw.Error`` when a segment can't be read.
    """
    question = Question.of(query)
    if question is None:
        return SearchPage([], False)
    folders: dict[Path, list[SegmentFile]] = {}
    for segment in segments:
        folders.setdefault(segment.path.parent, []).append(segment)
    streams = [_hits(sorted(files, key=lambda file: file.first_id), question) for files in folders.values()]
    try:
        merged = heapq.merge(*streams, key=lambda hit: int(hit.row[0]), reverse=True)
        hits = list(islice(merged, question.limit + 1))
    finally:
        for stream in streams:
            stream.close()
    lag = sum(index_lag(files)[1] for files in folders.values()) if question.match else 0
    return SearchPage(_rows(hits[: question.limit]), len(hits) > question.limit, lag)


def index_lag(segments: Sequence[SegmentFile]) -> tuple[int, int]:
    """Stored messages of one folder's segments that are not in the business-key index, and not in the free-text index.

    Segments older than the oldest with a free-text index have none on purpose and don't count.
    """
    keys = texts = waiting = 0
    for segment in sorted(segments, key=lambda file: file.first_id, reverse=True):
        keys += _missing(segment, _opened(KeyReader, segment, segment.keys_path))
        text = _opened(TextReader, segment, segment.text_path)
        waiting += _missing(segment, text)
        if text is not None:
            texts = waiting
    has_text = any(segment.text_path.exists() for segment in segments)
    return keys, texts if has_text else waiting


def _missing(segment: SegmentFile, index: KeyReader | TextReader | None) -> int:
    connection = segment.connection()
    last = scalar(connection, "SELECT seq FROM message ORDER BY id DESC LIMIT 1")
    if last is None:
        return 0
    if index is not None and index.seq:
        return max(0, int(last - index.seq))
    return int(last - scalar(connection, "SELECT seq FROM message ORDER BY id LIMIT 1") + 1)


def _opened(kind: type[_Reader], segment: SegmentFile, path: Path) -> _Reader | None:
    """The index of a segment; None when there is none that can be used."""
    try:
        return kind.open(segment)
    except UNUSABLE as error:
        report(path, error)
        return None


@dataclass(slots=True)
class _Hit:
    found_in: _SegmentSearch
    row: tuple[Any, ...]


def _hits(segments: list[SegmentFile], question: Question) -> Generator[_Hit, None, None]:
    """What is found in one folder, newest first. ``segments``: oldest first."""
    latest = first_id_at(question.until_ms + _DAY_MS) if question.until_ms else ID_END
    earliest = first_id_at(question.since_ms - _DAY_MS) if question.since_ms else 0
    guests = [Guests(segment, question) for segment in segments]
    for place in range(len(segments) - 1, -1, -1):
        segment = segments[place]
        end = ID_END if segment.last_id is None else segment.last_id + 1
        if segment.first_id >= min(latest, question.before) or end <= earliest:
            continue
        try:
            yield from _SegmentSearch(segment, guests[place + 1 :], question).hits()
        except apsw.CantOpenError:
            if segment.path.exists():
                raise
            # It was pruned a moment ago.


def _rows(hits: list[_Hit]) -> list[MessageRow]:
    by_segment: dict[int, tuple[_SegmentSearch, list[int]]] = {}
    for hit in hits:
        by_segment.setdefault(id(hit.found_in), (hit.found_in, []))[1].append(hit.row[0])
    deliveries: dict[int, list[tuple[str, DeliveryState]]] = {}
    for search, ids in by_segment.values():
        deliveries.update(search.deliveries(ids))
    return [hit.found_in.message_row(hit.row, deliveries.get(hit.row[0], [])) for hit in hits]


class _SegmentSearch:
    """The messages of one segment. ``newer``: the newer segments of its folder, which may keep deliveries for them."""

    def __init__(self, segment: SegmentFile, newer: Sequence[Guests], question: Question) -> None:
        self._segment = segment
        self._newer = newer
        self._question = question
        self._connection = segment.connection()
        self._values = segment.values
        # As they may be stored: sealed or not.
        self._control_ids = self._values.tokens(question.control_id, CONTROL_ID) if question.control_id else []
        self._correlations = self._values.tokens(question.correlation, CORRELATION) if question.correlation else []
        self._delivery = Deliveries(self._connection, question)
        self._names = self._delivery.names
        self._low = segment.first_id
        self._high = min(ID_END if segment.last_id is None else segment.last_id + 1, question.before)
        self._sources = self._source_numbers()
        self._types = self._type_numbers()
        self._keys: KeyReader | None = None
        #: What the business-key index is asked: values, and numbers of envelopes. None: nothing it could answer.
        self._conditions: tuple[list[Wanted], list[int] | None] | None = None

    def _source_numbers(self) -> set[int] | None:
        question = self._question
        found = set(self._names.exactly(question.source)) if question.source else None
        if question.system:
            of_system = set(self._names.beginning(question.system + "/"))
            found = of_system if found is None else found & of_system
        return found

    def _type_numbers(self) -> set[int] | None:
        question = self._question
        if question.type_prefix is not None:
            return set(self._names.beginning(question.type_prefix)) if question.type_prefix else None
        return set(self._names.exactly(question.type)) if question.type else None

    # -- results ---------------------------------------------------------------------------------------------------

    def hits(self) -> Iterator[_Hit]:
        """Everything that meets the question, newest first."""
        if self._sources == set() or self._types == set():
            return
        size = min(max(_CHUNK, self._question.limit + 1), _CHUNK_MOST)
        with closing(self._candidates()) as candidates:
            while chunk := list(islice(candidates, size)):
                if self._question.asks_deliveries:
                    chunk = self._delivered(chunk)
                sql = f"SELECT {_COLUMNS} FROM message WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id DESC"  # noqa: S608
                for row in self._connection.execute(sql, (json_list(chunk),)).fetchall():
                    if self._fits(row):
                        yield _Hit(self, row)
                size = min(size * 2, _CHUNK_MOST)

    def _fits(self, row: tuple[Any, ...]) -> bool:
        question = self._question
        return (
            question.fits_time(row[1])
            and (self._sources is None or row[2] in self._sources)
            and (self._types is None or row[3] in self._types)
            and (not question.control_id or row[4] in self._control_ids)
            and (question.conflict is None or bool(row[7]) is question.conflict)
            and (not question.correlation or row[9] in self._correlations)
            and (not question.keys or question.fits_keys(self._values.text(row[5], KEYS, row[0])))
        )

    def _delivered(self, chunk: list[int]) -> list[int]:
        found = set(self._delivery.among(chunk))
        for guests in self._newer:
            if guests.lowest <= chunk[0]:
                found.update(guests.deliveries.among(chunk))
        return [row_id for row_id in chunk if row_id in found]

    def deliveries(self, ids: list[int]) -> dict[int, list[tuple[str, DeliveryState]]]:
        """Target and state of all deliveries of messages, in the order in which they were made."""
        found: dict[int, list[tuple[str, DeliveryState]]] = {}
        places = [(self._connection, self._names)]
        places += [(g.connection, g.deliveries.names) for g in self._newer if g.lowest <= max(ids)]
        sql = (
            "SELECT message_id, target, state FROM delivery "
            "WHERE message_id IN (SELECT value FROM json_each(?)) ORDER BY id"
        )
        for connection, names in places:
            for message_id, target, state in connection.execute(sql, (json_list(ids),)):
                found.setdefault(message_id, []).append((names.text(target), DeliveryState(state)))
        return found

    def message_row(self, row: tuple[Any, ...], deliveries: list[tuple[str, DeliveryState]]) -> MessageRow:
        return MessageRow(
            id=row[0],
            received_at=row[1],
            source=self._names.text(row[2]),
            type=self._names.text(row[3]),
            control_id=self._values.from_token(row[4], CONTROL_ID),
            keys=keys_from(self._values.text(row[5], KEYS, row[0])),
            size=row[6],
            conflict=bool(row[7]),
            causation=row[8],
            correlation=self._values.from_token(row[9], CORRELATION),
            deliveries=deliveries,
        )

    # -- candidates ------------------------------------------------------------------------------------------------

    def _candidates(self) -> Generator[int, None, None]:
        """Ids of messages, newest first, among which are all that meet the question."""
        self._keys = _opened(KeyReader, self._segment, self._segment.keys_path)
        with ExitStack() as stack:
            if self._keys is not None:
                try:
                    stack.enter_context(self._keys.snapshot())
                    self._conditions = self._index_conditions()
                except UNUSABLE as error:
                    self._give_up_keys(error)
            yield from self._by_best_index()

    def _by_best_index(self) -> Iterator[int]:
        if not self._question.match:
            yield from self._by_index(self._high)
            return
        text = _opened(TextReader, self._segment, self._segment.text_path)
        if text is not None:
            yield from self._by_text(text)

    def _give_up_keys(self, error: Exception) -> None:
        report(self._segment.keys_path, error)
        self._keys = self._conditions = None

    def _by_text(self, text: TextReader) -> Iterator[int]:
        match, high = self._question.match, min(self._high, text.upto + 1)
        if self._conditions is None and not self._delivery.state_indexed:
            try:
                for low, end in self._spans(high):
                    yield from text.ids(match, low, end)
            except UNUSABLE as error:
                report(self._segment.text_path, error)
            return
        candidates = self._by_index(high)
        size = _CHUNK
        while chunk := list(islice(candidates, size)):
            try:
                found = text.among(match, chunk)
            except UNUSABLE as error:
                report(self._segment.text_path, error)
                return
            yield from found
            size = min(size * 2, 2 * _CHUNK_MOST)

    def _by_index(self, high: int) -> Iterator[int]:
        low = self._low
        by_state = self._prefers_state()
        if by_state:
            streams = [self._delivery.in_state(self._first(high), high, *self._message_condition("m."))]
        else:
            streams = [self._by_keys(high)]
        if by_state or self._delivery.by_route:
            # Deliveries that are not where routing put them.
            if not by_state and self._delivery.routes is None:
                streams.append(iter(self._extras(high)))
            for guests in self._newer:
                if guests.lowest < high:
                    streams.append(guests.deliveries.messages(low, high))
        if len(streams) == 1:
            yield from streams[0]
            return
        last = 0
        for row_id in heapq.merge(*streams, reverse=True):
            if row_id != last:
                yield row_id
            last = row_id

    def _spans(self, high: int) -> list[tuple[int, int]]:
        """Ranges of ids below ``high``, newest first, that hold all messages of the time asked for."""
        keys = self._keys
        if keys is None:
            return [(self._low, high)]
        spans = [(max(self._low, keys.upto + 1), high)]
        first, end = keys.ids_between(self._question.since_ms, self._question.until_ms)
        spans.append((max(self._low, first), min(high, end)))
        return [(first, end) for first, end in spans if first < end]

    def _first(self, high: int) -> int:
        return min((first for first, _ in self._spans(high)), default=high)

    def _index_conditions(self) -> tuple[list[Wanted], list[int] | None] | None:
        if self._keys is None:
            return None
        wanted, envelopes = self._question.wanted, None
        where, values = self._envelope_condition("")
        by_route = self._delivery.by_route
        if values or by_route:
            envelopes = self._keys.envelopes(where, values, self._delivery.fits_routed if by_route else None)
        return (wanted, envelopes) if wanted or envelopes is not None else None

    def _prefers_state(self) -> bool:
        """Whether to go through the deliveries in the state asked for rather than through messages."""
        if not self._delivery.state_indexed:
            return False
        if self._conditions is None or self._keys is None:
            return True
        deliveries = self._delivery.count_in_state(_FEW_DELIVERIES)
        try:
            messages = self._keys.count(self._low, self._high, *self._conditions)
        except UNUSABLE as error:
            self._give_up_keys(error)
            return True
        if messages >= _FEW_MESSAGES:
            return deliveries < _FEW_DELIVERIES or not self._conditions[0]
        return deliveries < messages

    def _by_keys(self, high: int) -> Iterator[int]:
        """By the business-key index, and row by row where it does not reach or when it turns out to be damaged."""
        for first, end in self._spans(high):
            if self._keys is None or self._conditions is None or first > self._keys.upto:
                yield from self._scan(first, end)
                continue
            last = end
            try:
                for last in self._keys.ids(first, end, *self._conditions):
                    yield last
            except UNUSABLE as error:
                self._give_up_keys(error)
                yield from self._scan(first, last)

    def _scan(self, low: int, high: int) -> Iterator[int]:
        where, values = self._message_condition("")
        question = self._question
        for column, forms in (("control_id", self._control_ids), ("correlation", self._correlations)):
            if forms:
                where += f" AND +{column} IN ({', '.join('?' * len(forms))})"
                values += forms
        if question.keys:
            where += " AND keys <> ''"
        sql = f"SELECT id FROM message WHERE id >= ? AND id < ? AND {where} ORDER BY id DESC"  # noqa: S608
        for (row_id,) in self._connection.execute(sql, (low, high, *values)):
            yield row_id

    def _envelope_condition(self, alias: str) -> tuple[str, list[Any]]:
        """Conditions on source, type and conflict; the ``+`` keeps SQLite from choosing an index for them."""
        question = self._question
        clauses = ["1"]
        values: list[Any] = []
        for column, numbers in (("source", self._sources), ("type", self._types)):
            if numbers is not None:
                clauses.append(f"+{alias}{column} IN (SELECT value FROM json_each(?))")  # noqa: S608
                values.append(json_list(numbers))
        if question.conflict is not None:
            clauses.append(f"+{alias}conflict = ?")
            values.append(int(question.conflict))
        return " AND ".join(clauses), values

    def _message_condition(self, alias: str) -> tuple[str, list[Any]]:
        """All conditions on a message's row that SQLite can check."""
        question = self._question
        where, values = self._envelope_condition(alias)
        clauses = [where]
        if question.since_ms:
            clauses.append(f"{alias}received_at >= ?")
            values.append(question.since_ms * 1000)
        if question.until_ms:
            clauses.append(f"{alias}received_at < ?")
            values.append(question.until_ms * 1000)
        return " AND ".join(clauses), values

    def _extras(self, high: int) -> list[int]:
        """Messages for which an operator made a delivery that is kept in this segment, newest first."""
        known: list[int] = []
        upto = 0
        if self._keys is not None:
            try:
                known, upto = self._keys.extras(self._delivery.targets), self._keys.extra_upto
            except UNUSABLE as error:
                self._give_up_keys(error)
        found = {*known, *self._delivery.unrouted(upto)}
        return sorted((row_id for row_id in found if self._low <= row_id < high), reverse=True)
