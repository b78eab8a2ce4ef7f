"""Cutting batch files, and reading what FTP servers list."""

from __future__ import annotations

import errno
import ftplib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.files.backend import Entry
from adapters.files.ftp import _refused
from adapters.files.ftp_list import from_facts, from_line, from_time
from adapters.files.local import _sorted_out
from adapters.files.splitting import HL7, Cut, Lines, Pieces, Splitter
from hub.api import CodecError, PermanentError, TransientError
from hub.codecs.hl7_batch import split_batch

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def cuts(splitter: Splitter, raw: bytes, block: int) -> list[Cut]:
    found: list[Cut] = []
    for at in range(0, len(raw), block):
        found += splitter.feed(raw[at : at + block])
    return [*found, *splitter.finish()]


@given(st.lists(st.sampled_from([b"a", b'"', b'""', b"\r\n", b"\n", b",", "检".encode("gb18030")])), st.integers(1, 9))
def test_lines_are_cut_alike_whatever_the_blocks_and_lose_nothing(parts: list[bytes], block: int) -> None:
    raw = b"".join(parts)
    for quotes in (True, False):
        found = cuts(Lines(1000, quotes=quotes), raw, block)
        assert found == cuts(Lines(1000, quotes=quotes), raw, 1000)
        joined = b"".join(cut.raw for cut in found)
        assert raw.startswith(joined)
        assert not raw[len(joined) :].strip()
        for cut in found:  # each can be the place to go on from
            rest = Lines(1000, quotes=quotes, at=cut.end)
            assert cuts(rest, raw[cut.end :], block) == [c for c in found if c.end > cut.end]


_SEGMENTS = st.sampled_from(
    [b"MSH|^~\\&|a\r", b"PID|1\r", b"FHS|x\r", b"BHS|x\n", b"BTS|2\r\n", b"FTS\x0b|\r", b"\r", b"\x0bMSH|b\r\x1c\r"]
)


@given(st.lists(_SEGMENTS), st.integers(1, 9))
def test_hl7_batches_are_cut_as_the_codec_cuts_them(parts: list[bytes], block: int) -> None:
    raw = b"".join(parts)
    try:
        expected = [m.strip(b"\r\n\x0b\x1c") for m in split_batch(raw)]
    except CodecError:
        expected = None
    try:
        found = [cut.raw.strip(b"\r\n\x0b\x1c") for cut in cuts(HL7(1000), raw, block)]
    except CodecError:
        assert expected is None
        return
    assert found == (expected or [])
    assert expected is not None or b"MSH" not in raw


@given(st.binary(max_size=60), st.integers(1, 9), st.integers(1, 9))
def test_records_of_one_length(raw: bytes, length: int, block: int) -> None:
    try:
        found = cuts(Pieces(length), raw, block)
    except CodecError:
        assert len(raw) % length
        return
    assert all(len(cut.raw) == length for cut in found)
    assert raw.startswith(b"".join(cut.raw for cut in found))


def test_a_record_without_end_is_refused_before_it_fills_the_memory() -> None:
    splitter = Lines(100, quotes=True)
    with pytest.raises(CodecError):
        list(splitter.feed(b'"' + b"\n" * 200))


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        ("-rw-r--r--    1 0  0   12 Feb 28 09:30 a b.csv", Entry("in/a b.csv", "file", 12, 1772271000.0, "20260228")),
        ("-rw-r--r-- 1 ftp ftp 7 Mar 02 11:59 c", Entry("in/c", "file", 7, 1772452740.0, "20260302")),
        ("-rw-r--r-- 1 ftp ftp 7 Mar 03 11:59 c", Entry("in/c", "file", 7, 1741003140.0, "20250303")),
        ("-rw-r--r-- 1 ftp ftp 7 Jan 1 2020 检验", Entry("in/检验", "file", 7, 1577836800.0, "20200101")),
        ("-rw-r--r-- 1 ftp ftp 7 Feb 29 10:00 leap", Entry("in/leap", "file", 7, 1709200800.0, "20240229")),
        (
            "drwxr-xr-x    2 0        0            4096 Jan  1  2020 sub",
            Entry("in/sub", "folder", 4096, 1577836800.0, "20200101"),
        ),
        ("prw-r--r-- 1 0 0 0 Jan 1 2020 pipe", Entry("in/pipe", "other", 0, 1577836800.0, "20200101")),
        ("01-15-26  09:30PM       <DIR>          sub", Entry("in/sub", "folder", 0, 1768512600.0, "20260115")),
        ("01-15-2026  12:05AM   1234 a.txt", Entry("in/a.txt", "file", 1234, 1768435500.0, "20260115")),
        ("lrwxrwxrwx 1 0 0 3 Jan 1 2020 link -> /etc", None),
        ("-rw-r--r-- 1 0 0 3 Jan 1 2020 ../../x", None),
        ("total 12", None),
        ("-rw-r--r-- 1 0 0 3 Foo 99 2020 x", None),
        ("13-45-26  09:30PM 1 x", None),
    ],
)
def test_lines_of_list(line: str, entry: Entry | None) -> None:
    assert from_line("in/", line, NOW) == entry


def test_facts_of_mlsd() -> None:
    facts = {"type": "file", "size": "5", "modify": "20260115013015.250", "unique": "fd01"}
    assert from_facts("", "a", facts) == Entry("a", "file", 5, 1768440615.25, "1768440615.250.fd01")
    assert from_facts("", "a", {"type": "OS.unix=slink:/etc"}) == Entry("a", "other", 0, 0.0, "0.000.")
    assert from_facts("", ".", {"type": "cdir"}) is None
    assert from_time("99999999999999") == 0.0


@given(st.text(), st.dictionaries(st.sampled_from(["type", "size", "modify"]), st.text()))
def test_whatever_a_server_lists_is_read_or_left_out(line: str, facts: dict[str, str]) -> None:
    from_line("", line, NOW)
    from_facts("", line, facts)


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.ENOSPC, TransientError, "file.full"),
        (errno.EDQUOT, TransientError, "file.full"),
        (errno.EACCES, TransientError, "file.permission"),
        (errno.EROFS, TransientError, "file.permission"),
        (errno.ELOOP, PermanentError, "file.kind"),
        (errno.ENAMETOOLONG, PermanentError, "file.name"),
        (errno.EEXIST, PermanentError, "file.exists"),
        (errno.ENOENT, PermanentError, "file.missing"),
        (errno.EXDEV, PermanentError, "file.device"),
        (errno.EIO, TransientError, "file.failed"),
    ],
)
def test_what_an_error_of_this_machine_means(number: int, kind: type[Exception], code: str) -> None:
    error = _sorted_out("a", OSError(number, "words"))
    assert isinstance(error, kind)
    assert error.code == code


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("550 Permission denied.", "file.permission"),
        ("553 Could not create file.", "file.permission"),
        ("550 No such file or directory.", "file.missing"),
        ("550 The file does not exist.", "file.missing"),
        ("550 File exists", "file.exists"),
        ("552 Quota exceeded.", "file.full"),
        ("550 Not enough space on the disk", "file.full"),
        ("530 Please login with USER and PASS.", "file.login"),
        ("501 Syntax error.", "file.refused"),
    ],
)
def test_what_a_refusal_of_an_ftp_server_means(reply: str, code: str) -> None:
    assert _refused("a", ftplib.error_perm(reply)).code == code
