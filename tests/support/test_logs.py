"""hub.logs: masked, one record one line, never blocking, repeats counted, losses told."""

from __future__ import annotations

import io
import json
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub import logs
from hub.contract import LogConfig
from hub.i18n import language, set_language
from hub.logs import LogOutput, Repeats, get_logger, one_line, setup


@pytest.fixture(autouse=True)
def root_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, words = root.handlers[:], root.level, language()
    set_language("en")
    yield
    if logs._active is not None:
        logs._active.stop()
        logs._active = None
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("hub", "adapters", "plugins"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.captureWarnings(False)
    set_language(words)


def written(act: Callable[[], None], **config: str) -> str:
    stream = io.BytesIO()
    output = setup(LogConfig.model_validate(config), stream)
    act()
    output.stop()
    return stream.getvalue().decode()


log = get_logger("hub.test_logs")


def test_text_line() -> None:
    text = written(lambda: log.warning("%s is %d", "x", 3, extra={"place": "a/b", "took": 1.5}))
    assert text.endswith(" WARNING hub.test_logs: x is 3 place=a/b took=1.5\n")
    assert text.count("\n") == 1


def test_json_line() -> None:
    def act() -> None:
        log.info("哈 %s", "x", extra={"place": "a/b", "count": 3})
        try:
            raise ValueError("phone 13812345678")
        except ValueError:
            log.exception("went wrong")

    first, second = map(json.loads, written(act, format="json").splitlines())
    time_of = first.pop("time")
    assert time_of[4] == "-"
    assert first == {"level": "info", "logger": "hub.test_logs", "message": "哈 x", "place": "a/b", "count": 3}
    assert second["exception"].endswith("ValueError: phone 138****5678")


def test_masked_in_message_arguments_fields_and_traceback() -> None:
    def act() -> None:
        log.warning("patient %s phone %s", "11010519491231002X", 13812345678, extra={"password": "hunter2"})
        try:
            raise ValueError("姓名：张三丰 token=hunter2")
        except ValueError:
            log.exception("bad %s", {"password": "hunter2"})
        logging.getLogger("some.library").error("password=hunter2")

    text = written(act)
    assert "hunter2" not in text
    assert "张三丰" not in text
    assert "110***********002X phone 138****5678 password=***" in text
    assert "    | ValueError: 姓名：张*丰 token=***" in text
    assert "some.library: password=***" in text


def test_masked_before_setup_and_for_other_handlers() -> None:
    records: list[logging.LogRecord] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Collect()
    log.addHandler(handler)
    try:
        log.warning("call %s", "13812345678")
    finally:
        log.removeHandler(handler)
    assert records[0].getMessage() == "call 138****5678"


def test_data_cannot_forge_a_line_or_steer_the_terminal() -> None:
    evil = "x\n2026-11-21T00:00:00 INFO hub.intake: forged\r\x1b[2J\u2028\u202e\x85\x00"

    def act() -> None:
        log.warning("got %s", evil, extra={"field": evil})
        try:
            raise ValueError(evil)
        except ValueError:
            log.exception("oops")

    text = written(act)
    lines = text.splitlines()
    assert lines[0].count("forged") == 2
    assert all(line.startswith(("20", "    | ")) for line in lines)
    assert not any(line.startswith("2026-11-21T00:00:00 INFO") for line in lines)
    assert all(c.isprintable() for c in text if c != "\n")


@given(st.text(st.characters(), max_size=100))
def test_one_line_has_no_line_ends(text: str) -> None:
    assert len(one_line(text).splitlines()) <= 1
    assert not set(one_line(text)) & set(map(chr, [*range(32), 127, *range(128, 160)]))


def test_wrong_arguments_do_not_lose_the_record() -> None:
    text = written(lambda: log.warning("%d of %d for 13812345678", "x"))
    assert "%d of %d for 138****5678 (TypeError)" in text


def test_long_messages_are_cut_and_their_length_is_told() -> None:
    text = written(lambda: log.warning("%s", "x" * 100_000))
    assert text.endswith("x … (100000)\n")
    assert len(text) < 8200


def test_levels() -> None:
    def act() -> None:
        log.debug("ours debug")
        log.info("ours info")
        logging.getLogger("some.library").info("theirs info")
        logging.getLogger("some.library").warning("theirs warning")

    text = written(act, level="info")
    assert "ours info" in text
    assert "theirs warning" in text
    assert "ours debug" not in text
    assert "theirs info" not in text
    assert "ours debug" in (debug := written(act, level="debug"))
    assert "theirs info" in debug


def test_identical_warnings_are_written_once_and_counted() -> None:
    def act() -> None:
        for _ in range(154):
            log.warning("target %s away", "lis")
        log.warning("another")
        for _ in range(3):
            log.info("ordinary")

    text = written(act)
    lines = text.splitlines()
    assert sum(line.endswith("target lis away") for line in lines) == 1
    assert sum(line.endswith("target lis away … repeated 153 times") for line in lines) == 1
    assert sum("another" in line for line in lines) == 1
    assert sum(line.endswith("ordinary") for line in lines) == 3


def record(message: str, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord("n", level, "", 0, message, None, None)


def test_repeats_by_the_clock() -> None:
    repeats = Repeats(window=10)
    assert repeats.first(record("a"), 0)
    assert not repeats.first(record("a"), 1)
    assert not repeats.first(record("a"), 9.9)
    assert repeats.first(record("b"), 5)
    assert repeats.first(record("a", logging.ERROR), 5)
    assert repeats.over(9.9) == []
    assert repeats.over(10) == [(("n", logging.WARNING, "a"), 2)]
    assert repeats.first(record("a"), 11)
    assert not repeats.first(record("a"), 12)
    assert repeats.first(record("a"), 30)  # a new window; the old one is told
    assert repeats.over(30) == [(("n", logging.WARNING, "a"), 1)]


def test_repeats_remember_a_bounded_number() -> None:
    repeats = Repeats(window=1e9)
    assert repeats.first(record("first"), 0)
    assert not repeats.first(record("first"), 0)
    for i in range(logs.REPEAT_KEYS * 3):
        assert repeats.first(record(str(i)), 1)
    assert len(repeats._seen) == logs.REPEAT_KEYS
    assert repeats.over(1) == [(("n", logging.WARNING, "first"), 1)]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=60))
def test_every_warning_is_written_or_counted(events: list[tuple[str, int]]) -> None:
    repeats = Repeats(window=7)
    now, shown, counted = 0, 0, 0
    for message, pause in events:
        now += pause
        shown += repeats.first(record(message), now)
        counted += sum(number for _, number in repeats.over(now))
    counted += sum(number for _, number in repeats.over(math.inf))
    assert shown + counted == len(events)


class StuckStream(io.BytesIO):
    """Standard error of a terminal somebody paused."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.free = threading.Event()

    def write(self, data: object) -> int:
        self.entered.set()
        assert self.free.wait(60)
        return super().write(data)  # type: ignore[arg-type]


def test_a_stuck_stream_holds_nobody_up_and_losses_are_told() -> None:
    stream = StuckStream()
    output = LogOutput(LogConfig(), stream, size=10)
    try:
        output.handle(record("0", logging.INFO))
        assert stream.entered.wait(60)
        for i in range(1, 101):  # returns although the writer is stuck
            output.handle(record(str(i), logging.INFO))
        assert output.dropped == 90
    finally:
        stream.free.set()
        output.stop(60)
    lines = stream.getvalue().decode().splitlines()
    assert [line.rsplit(" ", 1)[1] for line in lines[:11]] == [str(i) for i in range(11)]
    assert lines[11].endswith("90 log records were lost: the log output is too slow or can't be written")


class BrokenStream(io.BytesIO):
    broken = True

    def write(self, data: object) -> int:
        if self.broken:
            raise OSError(28, "No space left on device")
        return super().write(data)  # type: ignore[arg-type]


def test_a_full_disk_is_survived_and_told_when_it_is_over() -> None:
    stream = BrokenStream()
    output = LogOutput(LogConfig(), stream)
    for i in range(5):
        output.handle(record(str(i), logging.INFO))
    limit = time.monotonic() + 60
    while output.dropped < 5 and time.monotonic() < limit:
        time.sleep(0.005)
    stream.broken = False
    output.handle(record("after", logging.INFO))
    output.stop(60)
    text = stream.getvalue().decode()
    assert " n: after" in text
    assert "log records were lost" in text


def test_setup_again_replaces_the_output() -> None:
    first, second = io.BytesIO(), io.BytesIO()
    setup(LogConfig(), first)
    log.warning("one")
    output = setup(LogConfig(format="json"), second)
    log.warning("two")
    output.stop()
    assert b"one" in first.getvalue()
    assert b"two" not in first.getvalue()
    assert json.loads(second.getvalue())["message"] == "two"
