"""Logging: structured, masked, and never in the way of the event loop.

A record is masked where it is made (invariant 7), then queued; a thread of its own writes it, so a slow or stuck ``stderr`` costs
lost lines, which are counted and told, and never a pause of the loop. One record is one line (a traceback's lines are indented
behind a bar): data can't forge a line, nor reach the terminal as control characters (CWE-117).
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import re
import sys
import threading
import time
import traceback
from collections import OrderedDict
from datetime import datetime
from typing import Any, BinaryIO

import orjson

from hub.contract import LogConfig
from hub.i18n import t
from hub.masking import mask_text

__all__ = ["LogOutput", "MaskingFilter", "Repeats", "get_logger", "one_line", "setup"]

QUEUE = 4096  # records that wait to be written
LONGEST = 8_000  # characters of a message or traceback that are kept
REPEAT_WINDOW_S = 10.0
REPEAT_KEYS = 1000  # different warnings remembered at a time

_LONGEST_RAW = 8 * LONGEST  # beyond this a message is cut before it is masked, or masking itself could be made slow
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "masked"}

# C0, DEL, C1, line and paragraph separator, direction overrides, surrogates
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def one_line(text: str) -> str:
    """The text with every character that could end a line or steer a terminal written as an escape."""
    return text if text.isprintable() else _CONTROL.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    char = found[0]
    return _ESCAPES.get(char) or (f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}")


def _clean(text: str) -> str:
    masked = mask_text(text[:_LONGEST_RAW])
    if len(masked) > LONGEST or len(text) > _LONGEST_RAW:
        masked = f"{masked[:LONGEST]} … ({len(text)})"
    return masked


class MaskingFilter(logging.Filter):
    """Puts the masked text in place of message and arguments, traceback and extra fields. Lets every record pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "masked", False):
            return True
        record.masked = True
        try:
            message = record.getMessage()
        except (
            Exception
        ) as error:  # arguments that do not fit the text are a bug, but the rest of the record is still of use
            message = f"{record.msg} ({type(error).__name__})"
        record.msg, record.args = one_line(_clean(message)), None
        if record.exc_info and record.exc_info[1] is not None:
            record.exc_text = "".join(traceback.format_exception(record.exc_info[1], limit=-20, chain=True))
            record.exc_info = None
        if record.exc_text:
            # The end of a traceback names the error.
            lines = mask_text(record.exc_text[-_LONGEST_RAW:])[-LONGEST:].strip().split("\n")
            record.exc_text = "\n".join(map(one_line, lines))
        if record.stack_info:
            record.stack_info = "\n".join(map(one_line, _clean(record.stack_info).split("\n")))
        for name in record.__dict__.keys() - _STANDARD:
            value = record.__dict__[name]
            if not isinstance(value, bool | int | float):
                # With its label: a name is only recognised as one by what stands before it.
                label = f"{name}="
                record.__dict__[name] = one_line(_clean(label + str(value)).removeprefix(label))
        return True


_masking = MaskingFilter()


def get_logger(name: str) -> logging.Logger:
    """The logger of a module; its records are masked wherever they go, also before :func:`setup`."""
    logger = logging.getLogger(name)
    logger.addFilter(_masking)
    return logger


class Repeats:
    """Lets the first of identical warnings through and counts the others for a while."""

    def __init__(self, window: float = REPEAT_WINDOW_S) -> None:
        self._window = window
        self._lock = threading.Lock()
        self._seen: OrderedDict[tuple[str, int, str], tuple[float, int]] = (
            OrderedDict()
        )  # oldest first: (since, repeats)
        self._over: list[tuple[tuple[str, int, str], int]] = []

    def first(self, record: logging.LogRecord, now: float) -> bool:
        """Is this record to be written? ``now`` in seconds of any steady clock."""
        if record.levelno < logging.WARNING:
            return True
        key = (record.name, record.levelno, str(record.msg))
        with self._lock:
            since, repeats = self._seen.get(key, (0.0, -1))
            if repeats >= 0 and now - since < self._window:
                self._seen[key] = (since, repeats + 1)
                return False
            if repeats >= 0:
                self._close(key)
            elif len(self._seen) >= REPEAT_KEYS:
                self._close(next(iter(self._seen)))
            self._seen[key] = (now, 0)
            return True

    def over(self, now: float) -> list[tuple[tuple[str, int, str], int]]:
        """((logger, level, message), repeats) of the windows that have ended with repeats in them."""
        with self._lock:
            while self._seen:
                key, (since, _) = next(iter(self._seen.items()))
                if now - since < self._window:
                    break
                self._close(key)
            ended, self._over = self._over, []
            return ended

    def _close(self, key: tuple[str, int, str]) -> None:
        _, repeats = self._seen.pop(key)
        if repeats:
            self._over.append((key, repeats))


class LogOutput(logging.Handler):
    """Queues records and writes them in a thread. Made by :func:`setup`."""

    def __init__(self, config: LogConfig, stream: BinaryIO, *, size: int = QUEUE) -> None:
        super().__init__()
        self.addFilter(_masking)
        self.dropped = 0  # records lost because the queue was full or the stream could not be written
        self._json = config.format == "json"
        self._stream = stream
        self._unflushed = 0
        self._repeats = Repeats()
        self._queue: queue.Queue[logging.LogRecord | None] = queue.Queue(size)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        if not self._repeats.first(record, time.monotonic()):
            return
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def stop(self, timeout: float = 5.0) -> None:
        """Write what is queued, for at most ``timeout`` seconds, and end the thread."""
        self._stopping.set()
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)  # only to wake the thread at once; with a full queue it is awake
        self._thread.join(timeout)

    def close(self) -> None:
        """At the end of the process, by :func:`logging.shutdown`: the last lines, often those that matter, are written."""
        self.stop()
        super().close()

    # -- in the thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        told = 0
        while True:
            try:
                record = self._queue.get(timeout=1.0)
            except queue.Empty:
                record = None
            if record is not None:
                self._write(record)
            if self._queue.empty() or record is None:
                ending = self._stopping.is_set() and self._queue.empty()
                now = math.inf if ending else time.monotonic()
                for (name, level, message), repeats in self._repeats.over(now):
                    again = t(f"{message} … repeated {repeats} times", f"{message} … 重复 {repeats} 次")
                    self._write(_made(name, level, again))
                lost = self.dropped - told
                if lost:
                    told = self.dropped
                    text = t(
                        f"{lost} log records were lost: the log output is too slow or can't be written",
                        f"丢失 {lost} 条日志：日志输出过慢或无法写入",
                    )
                    self._write(_made(__name__, logging.WARNING, text))
                self._flush()
                if ending:
                    return

    def _write(self, record: logging.LogRecord) -> None:
        try:
            self._stream.write((_as_json if self._json else _as_text)(record))
            self._unflushed += 1
        except (OSError, ValueError):  # full disk, closed pipe or stream
            self.dropped += 1

    def _flush(self) -> None:
        lines, self._unflushed = self._unflushed, 0
        if lines:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self.dropped += lines


def _made(name: str, level: int, text: str) -> logging.LogRecord:
    return logging.LogRecord(name, level, "", 0, text, None, None)


def _when(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: record.__dict__[name] for name in sorted(record.__dict__.keys() - _STANDARD)}


def _as_text(record: logging.LogRecord) -> bytes:
    line = f"{_when(record)} {record.levelname:<7} {record.name}: {record.msg}"
    line += "".join(f" {name}={value}" for name, value in _extra(record).items())
    for block in (record.exc_text, record.stack_info):
        if block:
            line += "".join(f"\n    | {part}" for part in block.split("\n"))
    return (line + "\n").encode("utf-8", "backslashreplace")


def _as_json(record: logging.LogRecord) -> bytes:
    fields = _extra(record) | {
        "time": _when(record),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": record.msg,
    }
    if record.exc_text:
        fields["exception"] = record.exc_text
    if record.stack_info:
        fields["stack"] = record.stack_info
    return orjson.dumps(fields) + b"\n"


_active: LogOutput | None = None


def setup(config: LogConfig, stream: BinaryIO | None = None) -> LogOutput:
    """Send all logging of this process through one :class:`LogOutput` to ``stream`` (default: standard error).

    Replaces the output of an earlier call; what is queued at the end of the process is still written. Libraries' own chatter
    below a warning is left out unless the level is ``debug``.
    """
    global _active
    root = logging.getLogger()
    if _active is not None:
        root.removeHandler(_active)
        _active.stop()
    _active = LogOutput(config, stream or sys.stderr.buffer)
    for handler in root.handlers[:]:
        if isinstance(handler, logging.StreamHandler) and handler.stream in (sys.stderr, sys.stdout):
            root.removeHandler(handler)  # or every line would appear twice, once unmasked
    root.addHandler(_active)
    level = logging.getLevelNamesMapping()[config.level.upper()]
    root.setLevel(level if config.level == "debug" else max(level, logging.WARNING))
    for ours in ("hub", "adapters", "plugins"):
        logging.getLogger(ours).setLevel(level)
    logging.captureWarnings(True)
    return _active
