"""Free-text index: which messages contain these words.

One file per segment, ``text-<ID>.db``, with an FTS5 table without content (SQLite FTS5 4.4.3). Words are made here, the same
way for payloads and for questions, so that nothing depends on the Unicode tables SQLite was built with:

* A payload is decoded as UTF-8, else GB18030, else Latin-1; ``\\uXXXX`` of JSON becomes the character; long runs of base64 or
  hex are left out; Unicode NFKC, case and the marks of Latin letters are folded.
* What is neither letter nor digit separates words.
* A run of Chinese characters is entered as its overlapping pairs and its last character: 张三丰 as 张三, 三丰, 丰. Any part of two
  characters or more is then a phrase of pairs, and a single character is the prefix of a pair.
"""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

import apsw
import orjson

from hub.errors import HubError
from hub.i18n import t
from hub.store.derived import (
    SegmentUnreadable,
    newest,
    open_for_reading,
    open_for_writing,
    read_marks,
    read_segment,
    transaction,
    write_marks,
)
from hub.store.rows import RAW
from hub.store.segment import SegmentFile
from hub.store.sql import all_rows, scalar
from hub.store.values import IN_FILE, BodyMissing

__all__ = ["TEXT_LENGTH", "TextReader", "TextWriter", "expression", "index_text", "payload_text"]

#: Bytes of a payload that are indexed.
TEXT_LENGTH = 256 << 10
#: Characters and words of a question.
QUERY_LENGTH = 200
QUERY_WORDS = 16
#: Characters before the ``*`` of a prefix: shorter ones match nearly everything.
PREFIX_LENGTH = 3

_VERSION = 1
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE doc (n INTEGER PRIMARY KEY, id INTEGER NOT NULL UNIQUE);    -- small numbers make a small index
CREATE VIRTUAL TABLE body USING fts5(text, content='', columnsize=0, detail=full, tokenize='ascii');
INSERT INTO body(body, rank) VALUES ('automerge', 8);
INSERT INTO body(body, rank) VALUES ('hashsize', 16000000);
"""
# meta: upto, highest message id indexed; seq, its number; merged, 1 once a complete segment's index has been made one piece.

_READ_AT_ONCE = 32
_MERGE_PAGES = 400
_PROBED = 16  # more candidates than this are compared with all matches between the first and the last of them
_HAN = "\u3005\u3007\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_han = re.compile(f"[{_HAN}]+")
_han_or_word = re.compile(f"([{_HAN}]+)|([^{_HAN}]+)")
_not_a_word = re.compile(r"[^\w\x00-\x7f]+")
_alphanumeric = re.compile(r"[^\W_]+")
_escaped = re.compile(r"\\u([0-9a-fA-F]{4})")
_coded = re.compile(
    r"(?<![A-Za-z0-9+/=_-])(?:[A-Za-z0-9+/=_-]{201,}|[A-Za-z0-9+/=]{60,200}(?:[\r\n]{1,2}[A-Za-z0-9+/=]{60,200}){2,})"
)


# -- words ---------------------------------------------------------------------------------------------------------------


def payload_text(raw: bytes, cut: bool = False) -> str:
    """The text of a payload; ``cut`` when its end is missing, perhaps in the middle of a character."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if cut and error.start >= len(raw) - 3:
            text = raw[: error.start].decode("utf-8")
        else:
            text = _other_text(raw, cut)
    if "\\u" in text:
        text = _escaped.sub(lambda found: chr(int(found[1], 16)), text)
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _coded.sub(" ", text)


def _other_text(raw: bytes, cut: bool) -> str:
    try:
        return raw.decode("gb18030")
    except UnicodeDecodeError as error:
        if cut and error.start >= len(raw) - 3:
            return raw[: error.start].decode("gb18030")
        return raw.decode("latin-1")


def _folded(text: str) -> str:
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKC", text).casefold()
    if not unicodedata.is_normalized("NFD", text):
        apart = unicodedata.normalize("NFD", text)
        text = unicodedata.normalize("NFC", "".join([c for c in apart if not 0x300 <= ord(c) < 0x370]))
    return _not_a_word.sub(" ", text)


def _pairs(run: str, count: int) -> str:
    return " ".join([run[at : at + 2] for at in range(count)])


def index_text(text: str) -> str:
    """The words of a text, separated, as they are entered."""
    if text.isascii():
        return text
    return _han.sub(lambda run: f" {_pairs(run[0], len(run[0]))} ", _folded(text))


def expression(question: str) -> str:
    """The FTS5 expression for a question: words separated by blanks, all of which must occur.

    A word of letters and digits occurs as it is or, with a ``*`` at its end, as the beginning of a word; Chinese
    characters occur anywhere. Made of quoted words only: nothing in a question is syntax of FTS5.
    Raises :class:`~hub.errors.HubError` for a question that can't be answered, with the remedy.
    """
    if len(question) > QUERY_LENGTH:
        raise _refused(
            t(f"the text searched for is longer than {QUERY_LENGTH} characters", f"搜索文本超过 {QUERY_LENGTH} 个字符"),
            t("search for fewer or shorter words", "请减少或缩短搜索词"),
        )
    phrases: list[str] = []
    for word in question.split():
        phrases += _phrases(_folded(word.rstrip("*")), word.endswith("*"))
    if not phrases or len(phrases) > QUERY_WORDS:
        raise _refused(
            t(
                f"the text searched for must have 1 to {QUERY_WORDS} words of letters or digits",
                f"搜索文本须包含 1 到 {QUERY_WORDS} 个由文字或数字组成的词",
            ),
            t("search for other words", "请更换搜索词"),
        )
    return " AND ".join(phrases)


def _phrases(word: str, prefix: bool) -> list[str]:
    phrases = []
    parts = list(_han_or_word.finditer(word))
    for place, part in enumerate(parts, 1):
        run = part[1]
        if run is not None:
            phrases.append(f'"{run}" *' if len(run) == 1 else f'"{_pairs(run, len(run) - 1)}"')
            continue
        words = _alphanumeric.findall(part[2])
        if not words:
            continue
        quoted = '"' + " ".join(words) + '"'
        if prefix and place == len(parts):
            if len(words[-1]) < PREFIX_LENGTH:
                raise _refused(
                    t(
                        f"a word that ends in * needs at least {PREFIX_LENGTH} characters before it",
                        f"以 * 结尾的词，其前至少需要 {PREFIX_LENGTH} 个字符",
                    ),
                    t("write more of the word, or leave out the *", "请补充该词或去掉 *"),
                )
            quoted += " *"
        phrases.append(quoted)
    return phrases


def _refused(text: str, remedy: str) -> HubError:
    return HubError(text, code="search.text", remedy=remedy)


# -- index ---------------------------------------------------------------------------------------------------------------


class TextWriter:
    """Builds the index of one segment. Owned by one thread; the segment is only read."""

    def __init__(self, segment: SegmentFile) -> None:
        self._segment = segment
        self._connection = open_for_writing(segment.text_path, _SCHEMA, _VERSION, segment.values.index_vfs)
        marks = read_marks(self._connection)
        self._upto = marks.get("upto", 0)
        self.merged = bool(marks.get("merged", 0))

    def close(self) -> None:
        self._connection.close()

    def waiting(self) -> bool:
        """Whether there are messages that are not in the index; a matter of microseconds."""
        return newest(self._segment)[0] > self._upto

    def step(self, seconds: float, limit: int | None = None) -> int:
        """Index messages for about so long, in one transaction; returns their number."""
        end = time.monotonic() + seconds
        count = 0
        with transaction(self._connection):
            marks = read_marks(self._connection)  # another indexer may have been here
            upto, seq = marks.get("upto", 0), marks.get("seq", 0)
            number = scalar(self._connection, "SELECT coalesce(max(n), 0) FROM doc")
            while limit is None or count < limit:
                asked = _READ_AT_ONCE if limit is None else min(_READ_AT_ONCE, limit - count)
                rows = self._read(upto, asked)
                docs, bodies = [], []
                for row_id, number_of, raw, cut in rows:
                    upto, seq = row_id, number_of
                    number += 1
                    docs.append((number, row_id))
                    bodies.append((number, index_text(payload_text(raw, cut))))
                self._connection.executemany("INSERT INTO doc VALUES (?, ?)", docs)
                self._connection.executemany("INSERT INTO body (rowid, text) VALUES (?, ?)", bodies)
                count += len(rows)
                if len(rows) < asked or time.monotonic() >= end:
                    break
            if count:
                write_marks(self._connection, upto=upto, seq=seq, merged=0)
                self.merged = False
        self._upto = upto
        return count

    def merge(self) -> None:
        """Make the index of a complete segment one piece, a bit at a time; ``merged`` tells when it is."""
        with transaction(self._connection):
            started = read_marks(self._connection).get("merging", 0)
            before = self._connection.total_changes()
            pages = _MERGE_PAGES if started else -_MERGE_PAGES  # negative: begin to merge everything into one
            self._connection.execute("INSERT INTO body(body, rank) VALUES ('merge', ?)", (pages,))
            done = self._connection.total_changes() - before < 2  # SQLite FTS5 6.8: nothing was left to do
            write_marks(self._connection, merging=0 if done else 1, merged=int(done))
        self.merged = done

    def _read(self, upto: int, limit: int) -> list[tuple[int, int, bytes, bool]]:
        rows = read_segment(
            self._segment,
            "SELECT m.id, m.seq, CASE WHEN m.size <= ? OR p.form <> 0 THEN p.raw END, p.form FROM message m "
            "LEFT JOIN payload p ON p.id = m.id WHERE m.id > ? ORDER BY m.id LIMIT ?",
            (TEXT_LENGTH, upto, limit),
        )
        return [
            (row_id, seq, raw, False)
            if raw is not None and not form
            else (row_id, seq, *self._beginning(row_id, raw, form))
            for row_id, seq, raw, form in rows
        ]

    def _beginning(self, row_id: int, value: bytes | None, form: int | None) -> tuple[bytes, bool]:
        """The first part of a payload and whether it is large; empty when it has been removed."""
        if not form or value is None:
            return self._first_part(row_id), True
        values = self._segment.values
        try:
            if form & IN_FILE:
                with values.file(value, form, RAW, row_id) as file:
                    return file.read(TEXT_LENGTH), file.size > TEXT_LENGTH
            raw = values.data(value, form, RAW, row_id)
        except BodyMissing:
            return b"", True
        except (HubError, OSError) as error:
            raise SegmentUnreadable(f"{self._segment.path.name}: {error}") from error
        return raw[:TEXT_LENGTH], len(raw) > TEXT_LENGTH

    def _first_part(self, row_id: int) -> bytes:
        try:
            blob = self._segment.connection().blob_open("main", "payload", "raw", row_id, False)
            try:
                return blob.read(TEXT_LENGTH)
            finally:
                blob.close()
        except apsw.SQLError:
            return b""
        except apsw.Error as error:
            raise SegmentUnreadable(f"{self._segment.path.name}: {error}") from error


class TextReader:
    """Looks words up in the index of one segment.

    Everything raises one of :data:`hub.store.derived.UNUSABLE` when the file turns out to be unusable.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        marks = read_marks(connection)
        self.upto = marks.get("upto", 0)  #: highest message id that is in the index
        self.seq = marks.get("seq", 0)  #: number of that message

    @classmethod
    def open(cls, segment: SegmentFile) -> TextReader | None:
        """None when the segment has no text index."""
        connection = open_for_reading(segment.text_path, segment.values.index_vfs)
        return None if connection is None else cls(connection)

    def ids(self, match: str, low: int, high: int) -> Iterator[int]:
        """Ids with ``low <= id < high`` of the messages that match an :func:`expression`, newest first."""
        first = scalar(self._connection, "SELECT n FROM doc WHERE id >= ? ORDER BY id LIMIT 1", (low,))
        last = scalar(self._connection, "SELECT n FROM doc WHERE id < ? ORDER BY id DESC LIMIT 1", (high,))
        if first is None or last is None:
            return
        rows = self._connection.execute(
            "SELECT d.id FROM body b CROSS JOIN doc d ON d.n = b.rowid "
            "WHERE b.body MATCH ? AND b.rowid BETWEEN ? AND ? ORDER BY b.rowid DESC",
            (match, first, last),
        )
        row_id: Any
        for (row_id,) in rows:
            yield row_id

    def among(self, match: str, ids: Sequence[int]) -> list[int]:
        """Those of the ids (newest first) whose message matches."""
        if len(ids) > _PROBED:
            found = set(self.ids(match, ids[-1], ids[0] + 1))
            return [row_id for row_id in ids if row_id in found]
        numbers = all_rows(
            self._connection,
            "SELECT n, id FROM doc WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id DESC",
            (orjson.dumps(list(ids)).decode(),),
        )
        probe = "SELECT 1 FROM body WHERE body MATCH ? AND rowid = ?"
        return [row_id for n, row_id in numbers if scalar(self._connection, probe, (match, n))]
