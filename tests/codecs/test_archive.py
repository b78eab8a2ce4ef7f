"""Unpacking with limits."""

from __future__ import annotations

import bz2
import gzip
import io
import struct
import zipfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.codecs import archive
from hub.codecs.archive import (
    DEFLATE,
    GZIP,
    MAX_ENTRIES,
    MAX_UNPACKED,
    ZLIB,
    check_zip,
    entry_name,
    inflate,
    read_entry,
)
from hub.errors import CodecError


def bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKERS = {GZIP: gzip.compress, ZLIB: zlib.compress, DEFLATE: bare}


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return out.getvalue()


@given(st.binary(max_size=300), st.sampled_from([GZIP, ZLIB, DEFLATE]))
def test_what_was_packed_comes_out(data: bytes, window: int) -> None:
    assert inflate(PACKERS[window](data), window, "x") == data


def test_several_members_of_gzip_are_one() -> None:
    raw = gzip.compress(b"a") + gzip.compress(b"b" * 200_000) + gzip.compress(b"c")
    assert inflate(raw, GZIP, "x") == b"a" + b"b" * 200_000 + b"c"
    assert inflate(raw + b"\0" * 100, GZIP, "x") == inflate(raw, GZIP, "x")


@pytest.mark.parametrize("window", [GZIP, ZLIB, DEFLATE])
def test_what_is_refused(window: int) -> None:
    good = PACKERS[window](b"abc" * 100)
    for raw in (b"", b"\xff" * 20, good[:-1], good[:5], good + b"x", good + good[:3]):
        with pytest.raises(CodecError) as caught:
            inflate(raw, window, "x")
        assert caught.value.code == "x"


def test_bombs() -> None:
    for raw in (gzip.compress(b"\0" * (30 << 20)), gzip.compress(b"\0" * (1 << 20)) * 30, gzip.compress(b"") * 20_000):
        with pytest.raises(CodecError):
            inflate(raw, GZIP, "x")
    assert len(inflate(gzip.compress(b"\0" * (1 << 20)), GZIP, "x")) == 1 << 20


def test_the_size_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_UNPACKED", 1000)
    monkeypatch.setattr(archive, "ALWAYS_ALLOWED", 1000)
    for size, fits in ((1000, True), (1001, False)):
        for call in (
            lambda data: inflate(gzip.compress(data), GZIP, "x"),
            lambda data: check_zip(zipped({"a": data[:500], "b": data[500:]}), "x"),
        ):
            if fits:
                call(b"x" * size)
            else:
                with pytest.raises(CodecError):
                    call(b"x" * size)
    assert MAX_UNPACKED > 1000


def test_entries() -> None:
    with check_zip(zipped({"a/b.xml": b"<x/>", "c": b""}), "x") as packed:
        assert [(entry_name(info), read_entry(packed, info, "x")) for info in packed.infolist()] == [
            ("a/b.xml", b"<x/>"),
            ("c", b""),
        ]
        assert read_entry(packed, packed.infolist()[0], "x", most=2) == b"<x"


def test_names_as_chinese_programs_write_them() -> None:
    raw = zipped({"AAAA.xml": b"x"}).replace(b"AAAA", "报告".encode("gbk"))
    with check_zip(raw, "x") as packed:
        assert entry_name(packed.infolist()[0]) == "报告.xml"
    with check_zip(zipped({"报告.xml": b"x"}), "x") as packed:
        assert entry_name(packed.infolist()[0]) == "报告.xml"
    with check_zip(zipped({"AB.xml": b"x"}).replace(b"AB", b"\x81\xff"), "x") as packed:
        assert entry_name(packed.infolist()[0]).endswith(".xml")


def test_archives_that_are_refused() -> None:
    good = zipped({"a": b"x" * 1000})
    at = good.index(b"PK\x01\x02")
    encrypted = bytearray(good)
    encrypted[at + 8] |= 1
    lying = bytearray(good)
    lying[at + 24 : at + 28] = struct.pack("<I", 0xFFFFFFF0)
    for raw in (
        b"",
        b"PK\x05\x06",
        good[:-10],
        bytes(encrypted),
        bytes(lying),
        zipped({"a": b"x"}, zipfile.ZIP_BZIP2),
        zipped({"a": b"x"}, zipfile.ZIP_LZMA),
        zipped({str(number): b"" for number in range(MAX_ENTRIES + 1)}),
        zipped({"a": b"\0" * (30 << 20)}),
        bz2.compress(b"x"),
    ):
        with pytest.raises(CodecError) as caught:
            check_zip(raw, "x")
        assert caught.value.code == "x"


def test_a_size_that_lies_gives_no_more_than_it_says() -> None:
    good = zipped({"a": b"x" * 1000})
    at = good.index(b"PK\x01\x02")
    lying = bytearray(good)
    lying[at + 24 : at + 28] = struct.pack("<I", 10)
    # Ten bytes have another checksum than the whole.
    with check_zip(bytes(lying), "x") as packed, pytest.raises(CodecError):
        read_entry(packed, packed.infolist()[0], "x")


@given(st.binary(max_size=60), st.integers(0, 150), st.integers(0, 3))
def test_damaged_archives(noise: bytes, at: int, cut: int) -> None:
    good = zipped({"a": b"hello", "b": b"x" * 50})
    raw = good[:at] + noise + good[at + cut :]
    try:
        with check_zip(raw, "x") as packed:
            for info in packed.infolist():
                read_entry(packed, info, "x")
    except CodecError:
        pass
