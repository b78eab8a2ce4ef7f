"""Segments written directly, and what a search of them must find, worked out the slow and obvious way."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from hub.ids import EPOCH_MS, millis_of
from hub.message import DeliveryState
from hub.store.base import MessageQuery
from hub.store.schema import SEGMENT
from hub.store.segment import segment_path

START_MS = EPOCH_MS + 200_000_000_000


@dataclass
class Sent:
    id: int
    route: str
    target: str
    state: DeliveryState
    parent: int = 0


@dataclass
class Stored:
    id: int
    received_at: int
    source: str = "his/adt"
    type: str = "ADT^A01"
    control_id: str = ""
    keys: dict[str, str] = field(default_factory=dict)
    raw: bytes = b""
    conflict: bool = False
    correlation: str = ""
    sent: list[Sent] = field(default_factory=list)


class Builder:
    """Writes one worker's folder; every call is committed at once, or at the end of ``with builder.batch():``."""

    def __init__(self, folder: Path, worker: int = 0, start_ms: int = START_MS) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.worker = worker
        self.messages: list[Stored] = []
        self._ms = start_ms
        self._counter = 0
        self._seq = 0
        self._names: dict[str, int] = {}
        self._connection: apsw.Connection | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def next_id(self, pass_ms: int = 0) -> int:
        if pass_ms:
            self._ms += pass_ms
            self._counter = 0
        else:
            self._counter += 1
        return ((self._ms - EPOCH_MS) << 22) | (self.worker << 16) | self._counter

    def new_segment(self) -> Path:
        self.close()
        path = segment_path(self.folder, self.next_id(1))
        self._connection = apsw.Connection(str(path))
        self._connection.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF")
        self._connection.execute(SEGMENT)
        self._names = {}
        return path

    @property
    def connection(self) -> apsw.Connection:
        if self._connection is None:
            self.new_segment()
        assert self._connection is not None
        return self._connection

    def _name(self, text: str) -> int:
        if text not in self._names:
            self.connection.execute("INSERT INTO name (text) VALUES (?)", (text,))
            self._names[text] = self.connection.last_insert_rowid()
        return self._names[text]

    def add(
        self,
        *,
        routed: list[tuple[str, str, DeliveryState]] | None = None,
        pass_ms: int = 1,
        behind_ms: int = 0,
        **values: object,
    ) -> Stored:
        """A message with deliveries (route, target, state); ``behind_ms``: the clock says so much less than the id."""
        connection = self.connection
        row_id = self.next_id(pass_ms)
        stored = Stored(row_id, (millis_of(row_id) - behind_ms) * 1000 + 7, **values)  # type: ignore[arg-type]
        self._seq += 1
        pairs = ",".join(f"{self._name(route)}>{self._name(target)}" for route, target, _ in routed or ())
        connection.execute(
            "INSERT INTO message (id, seq, received_at, source, type, codec, control_id, content_hash, size, conflict, "
            "causation, correlation, routed, keys) VALUES (?, ?, ?, ?, ?, ?, ?, x'00', ?, ?, 0, ?, ?, ?)",
            (
                stored.id,
                self._seq,
                stored.received_at,
                self._name(stored.source),
                self._name(stored.type),
                self._name("hl7v2"),
                stored.control_id,
                len(stored.raw),
                int(stored.conflict),
                stored.correlation,
                pairs,
                json.dumps(stored.keys, ensure_ascii=False) if stored.keys else "",
            ),
        )
        connection.execute("INSERT INTO payload (id, raw) VALUES (?, ?)", (stored.id, stored.raw))
        for route, target, state in routed or ():
            self.deliver(stored, target, state, route)
        self.messages.append(stored)
        return stored

    def deliver(self, message: Stored, target: str, state: DeliveryState, route: str = "", parent: int = 0) -> Sent:
        """A delivery in the newest segment, whichever segment its message is in."""
        sent = Sent(self.next_id(), route, target, state, parent)
        self.connection.execute(
            "INSERT INTO delivery (id, message_id, route, target, state, order_key, attempts, next_at, step, reason, "
            "parent, part, parts, updated_at) VALUES (?, ?, ?, ?, ?, '', 0, 0, '', '', ?, 0, 0, 0)",
            (sent.id, message.id, self._name(route), self._name(target), int(state), parent),
        )
        message.sent.append(sent)
        return sent


def _place(place: str, wanted: str) -> bool:
    return place == wanted if "/" in wanted else place.split("/")[0] == wanted


def _plain(value: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", value).casefold()).strip()


def matches(message: Stored, query: MessageQuery) -> bool:
    """Whether a message meets a query, free text left out."""
    if query.since_ms and message.received_at < query.since_ms * 1000:
        return False
    if query.until_ms and message.received_at >= query.until_ms * 1000:
        return False
    if query.system and message.source.split("/")[0] != query.system:
        return False
    if query.source and message.source != query.source:
        return False
    if query.type.endswith("*"):
        if not message.type.startswith(query.type[:-1]):
            return False
    elif query.type and message.type != query.type:
        return False
    if query.control_id and message.control_id != query.control_id:
        return False
    if query.correlation and message.correlation != query.correlation:
        return False
    if query.conflict is not None and message.conflict is not query.conflict:
        return False
    if query.state is not None or query.target or query.route:
        for sent in message.sent:
            if (
                (query.state is None or sent.state is query.state)
                and (not query.target or _place(sent.target, query.target))
                and (not query.route or sent.route == query.route)
            ):
                break
        else:
            return False
    for kind, value in query.keys.items():
        if not _plain(value):
            continue
        present = message.keys.get(kind)
        if present is None:
            return False
        if kind == "name" or kind.endswith("_name"):
            if _plain(value) not in _plain(present):
                return False
        elif _plain(value) != _plain(present):
            return False
    return not query.before or message.id < query.before


def expected(messages: list[Stored], query: MessageQuery) -> tuple[list[int], bool]:
    """Ids of the page and whether there is more."""
    found = sorted((m.id for m in messages if matches(m, query)), reverse=True)
    return found[: query.limit], len(found) > query.limit


def has_words(text: str, question: str) -> bool:
    """Whether every word is in a text, for texts of ASCII words, Chinese characters, ``|`` and ``^`` only."""
    text = text.lower()
    words = re.findall(r"[a-z0-9]+", text)
    runs = re.findall(r"[\u4e00-\u9fff]+", text)
    for word in question.lower().split():
        if word.endswith("*"):
            if not any(w.startswith(word[:-1]) for w in words):
                return False
        elif word.isascii():
            if word not in words:
                return False
        elif not any(word in run for run in runs):
            return False
    return True
