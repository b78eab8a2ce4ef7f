"""The indexer: builds the indexes of a store's segments behind the writer's back, in a process of its own.

``python -m hub.store.indexer --folder DIR [--folder DIR …] [--no-text] [--text-messages N]``

It reads the segments and writes only ``keys-*.db`` and ``text-*.db``. It can be killed at any moment: each index says how far
it goes, in the same transaction as its entries. It ends on SIGTERM or when its standard input is closed, which
happens when the hub dies, however it dies. Business keys always come first; free text is done in short steps in between.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import apsw

from hub.store.derived import BROKEN, SegmentUnreadable, drop, newest, read_segment
from hub.store.keys import BATCH, KeyWriter
from hub.store.sealer import Sealer
from hub.store.segment import Connections, SegmentFile, list_segments
from hub.store.text import TextWriter
from hub.store.values import Values

__all__ = ["TEXT_MESSAGES", "FolderIndexer", "index_now", "main"]

log = logging.getLogger(__name__)

#: Newest messages that free text covers, unless told otherwise.
TEXT_MESSAGES = 2_000_000
_POLL_S = 0.15
_LIST_S = 1.0
_EXTRAS_S = 5.0
_TEXT_STEP_S = 0.15
_PAUSE_S = 5.0  # after an error of the disk
#: A batch is made when so many messages wait, or after this long: very small batches write too much for what they bring.
_WORTHWHILE = 1_000
_WAIT_S = 0.5
#: While messages pour in (thousands a second), free text rests so many times as long as it worked: the processor is the hub's.
_REST = 6.0
_POURING_S = 1.0
_NICE = 10


class FolderIndexer:
    """Keeps the indexes of one worker's folder up to date. Owned by one thread."""

    def __init__(
        self, folder: Path, *, text: bool = True, text_messages: int = TEXT_MESSAGES, sealer: Sealer | None = None
    ) -> None:
        self._folder = folder
        self._text = text
        self._text_messages = text_messages
        self._connections = Connections(keep=4, values=Values(folder, sealer))
        self._segments: list[SegmentFile] = []  # newest first
        self._keys: dict[Path, KeyWriter] = {}
        self._texts: dict[Path, TextWriter] = {}
        self._done: set[Path] = set()  # indexes of complete segments that are complete themselves
        self._busy: Path | None = None  # the index being worked on
        self._next_list = self._next_keys = self._next_extras = self._paused_until = 0.0
        self._next_text = self._pouring_until = 0.0

    def close(self) -> None:
        for path in [*self._keys, *self._texts]:
            self._let_go(path)
        self._connections.close()

    def work(self) -> bool:
        """Do one short piece of what there is to do, the most urgent first; returns whether there was any."""
        now = time.monotonic()
        if now < self._paused_until:
            return False
        try:
            if now >= self._next_list:
                self.list_files()
                self._next_list = now + _LIST_S
            return self._key_step(now) or self._text_turn(now)
        except (apsw.Error, SegmentUnreadable) as error:
            self.recover(error)
            self._paused_until = now + _PAUSE_S
            return False

    def catch_up(self, limit: int | None = None) -> int:
        """Index everything there is now, at most ``limit`` messages; returns the number of messages newly findable by key."""
        self.list_files()
        count = 0
        for segment in self._segments:
            writer = self._key_writer(segment)
            while done := writer.step(BATCH if limit is None else min(BATCH, limit - count)):
                count += done
            while writer.merge(segment.last_id is not None):
                pass
            writer.extras()
        texts = 0
        for segment in self._segments:
            text = self._texts.get(segment.text_path)
            self._busy = segment.text_path
            while text is not None and (done := text.step(_TEXT_STEP_S, None if limit is None else limit - texts)):
                texts += done
        return count

    # -- which files there are -------------------------------------------------------------------------------------

    def list_files(self) -> None:
        """Look which segments there are; remove the indexes of those that are gone and those reported as damaged."""
        known = {(segment.path, segment.last_id): segment for segment in self._segments}
        fresh = [known.get((s.path, s.last_id), s) for s in reversed(list_segments(self._folder, self._connections))]
        self._segments = fresh
        wanted = {path for segment in fresh for path in (segment.keys_path, segment.text_path)}
        present = {path for kind in ("keys", "text") for path in self._folder.glob(f"{kind}-*.db")}
        reported = {path.with_suffix(".db") for path in self._folder.glob("*.rebuild")}
        for path in (present - wanted) | reported:
            self._remove(path)
        for path in [*self._keys, *self._texts, *self._done]:
            if not path.exists():
                self._let_go(path)
        if self._text:
            self._choose_texts()

    def _choose_texts(self) -> None:
        """Have text indexes for the segments that hold the newest messages, and remove the others."""
        newer = 0
        for segment in self._segments:
            path = segment.text_path
            if newer >= self._text_messages:
                if path.exists():
                    self._remove(path)
            elif path not in self._texts and path not in self._done:
                # Made before it is its turn, so that a search can tell "not yet" from "not any more".
                self._busy = path
                self._texts[path] = TextWriter(segment)
            newer += _messages(segment)

    def _let_go(self, path: Path) -> None:
        for writer in (self._keys.pop(path, None), self._texts.pop(path, None)):
            if writer is not None:
                writer.close()
        self._done.discard(path)

    def _remove(self, path: Path) -> None:
        self._let_go(path)
        drop(path)

    def recover(self, error: Exception) -> None:
        """Begin again after an error: close everything; what is in the files tells how far they go. A damaged index is removed."""
        log.warning("%s: indexing interrupted: %s", self._busy.name if self._busy else self._folder.name, error)
        if isinstance(error, BROKEN) and self._busy is not None:
            self._remove(self._busy)
        self.close()
        self._done.clear()
        self._segments = []
        self._next_list = 0.0

    # -- work ------------------------------------------------------------------------------------------------------

    def _key_writer(self, segment: SegmentFile) -> KeyWriter:
        path = self._busy = segment.keys_path
        writer = self._keys.get(path)
        if writer is None:
            writer = self._keys[path] = KeyWriter(segment)
        return writer

    def _key_step(self, now: float) -> bool:
        for segment in self._segments:
            if segment.keys_path in self._done:
                continue
            writer = self._key_writer(segment)
            waiting = writer.waiting()
            complete = segment.last_id is not None
            if waiting >= _WORTHWHILE or (waiting and (complete or now >= self._next_keys)):
                writer.step()
                self._next_keys = time.monotonic() + _WAIT_S
                if waiting >= _WORTHWHILE and not complete:
                    self._pouring_until = self._next_keys + _POURING_S
                return True
            if waiting:
                continue
            if writer.merge(complete):
                return True
            if complete:
                if writer.extras():
                    self._let_go(segment.keys_path)
                    self._done.add(segment.keys_path)
                    return True
            elif now >= self._next_extras:
                self._next_extras = now + _EXTRAS_S
                writer.extras()
        return False

    def _text_turn(self, now: float) -> bool:
        if now < self._next_text:
            return False
        done = self._text_step()
        if now < self._pouring_until:
            ended = time.monotonic()
            self._next_text = ended + _REST * (ended - now)
        return done

    def _text_step(self) -> bool:
        for segment in self._segments:
            path = segment.text_path
            writer = self._texts.get(path)
            if writer is None:
                continue
            self._busy = path
            if writer.waiting():
                return writer.step(_TEXT_STEP_S) > 0
            if segment.last_id is not None:
                if writer.merged:
                    self._let_go(path)
                    self._done.add(path)
                else:
                    writer.merge()
                return True
        return False


def _messages(segment: SegmentFile) -> int:
    """Messages of a segment, counted by their numbers."""
    first = read_segment(segment, "SELECT seq FROM message ORDER BY id LIMIT 1")
    return newest(segment)[1] - first[0][0] + 1 if first else 0


def index_now(
    folder: Path,
    text: bool = True,
    limit: int | None = None,
    text_messages: int = TEXT_MESSAGES,
    sealer: Sealer | None = None,
) -> int:
    """Bring the indexes of a folder up to date, at most ``limit`` messages of each kind.

    Free text covers at least the newest ``text_messages``; older text indexes are removed, but none is when ``text`` is false.
    Returns the number of messages newly findable by key. A damaged index is built again. Raises ``apsw.Error`` when an
    index can't be written and :class:`~hub.store.derived.SegmentUnreadable` when a segment can't be read.
    """
    indexer = FolderIndexer(folder, text=text, text_messages=text_messages, sealer=sealer)
    try:
        try:
            return indexer.catch_up(limit)
        except BROKEN as error:
            indexer.recover(error)
            return indexer.catch_up(limit)
    finally:
        indexer.close()


# -- the process ---------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve folders until SIGTERM or the end of standard input; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m hub.store.indexer", description="Build search indexes.")
    parser.add_argument("--folder", action="append", required=True, type=Path, help="a worker's folder")
    parser.add_argument("--no-text", action="store_true", help="business keys only")
    parser.add_argument("--text-messages", type=int, default=TEXT_MESSAGES, help="newest messages free text covers")
    parser.add_argument("--config", type=Path, help="hub.yaml, for the keys of a store that is encrypted")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the hub, which then closes our standard input
    threading.Thread(target=_wait_for_end, args=(stop,), daemon=True).start()
    with suppress(OSError):
        os.nice(_NICE)
    indexers = [
        FolderIndexer(
            folder, text=not options.no_text, text_messages=options.text_messages, sealer=_sealer(options.config)
        )
        for folder in options.folder
    ]
    while not stop.is_set():
        busy = [indexer.work() for indexer in indexers]
        if not any(busy):
            stop.wait(_POLL_S)
    for indexer in indexers:
        indexer.close()
    return 0


def _sealer(config_file: Path | None) -> Sealer | None:
    if config_file is None:
        return None
    from hub.config import load_config  # needed for encrypted stores only
    from hub.store.sealing import store_sealer

    return store_sealer(load_config(config_file).hub, config_file.parent)


def _wait_for_end(stop: threading.Event) -> None:
    with suppress(OSError):
        while os.read(0, 4096):
            pass
    stop.set()


if __name__ == "__main__":
    raise SystemExit(main())
