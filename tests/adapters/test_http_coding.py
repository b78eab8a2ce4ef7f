"""adapters.http.coding: content codings, and what hostile ones may cost."""

from __future__ import annotations

import contextlib
import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.http.coding import BadCoding, TooLong, UnknownCoding, codings, compress, decode, decode_async


def raw_deflate(data: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-15)
    return engine.compress(data) + engine.flush()


@given(st.binary(max_size=5000))
def test_what_is_compressed_comes_back(data: bytes) -> None:
    assert decode(gzip.compress(data), ["gzip"], 5000) == data
    assert decode(zlib.compress(data), ["deflate"], 5000) == data
    assert decode(gzip.compress(zlib.compress(data)), ["deflate", "gzip"], 6000) == data


@given(st.binary(min_size=1, max_size=200))
def test_deflate_without_the_zlib_header(data: bytes) -> None:
    packed = raw_deflate(data)
    if packed[0] & 0x0F == 8 and (packed[0] << 8 | packed[1]) % 31 == 0:
        return  # looks like zlib: that reading goes first
    assert decode(packed, ["deflate"], 200) == data


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate"]))
def test_anything_ends_in_bytes_or_a_named_error(data: bytes, name: str) -> None:
    with contextlib.suppress(BadCoding, TooLong):
        assert len(decode(data, [name], 1000)) <= 1000


@given(st.binary(min_size=1, max_size=500), st.data())
def test_a_cut_stream_is_an_error(data: bytes, draw: st.DataObject) -> None:
    for packed, name in ((gzip.compress(data), "gzip"), (zlib.compress(data), "deflate")):
        cut = draw.draw(st.integers(0, len(packed) - 1))
        with pytest.raises(BadCoding):
            decode(packed[:cut], [name], 1000)


@pytest.mark.parametrize("name", ["gzip", "deflate"])
def test_limit_is_exact(name: str) -> None:
    packed = gzip.compress(b"x" * 1000) if name == "gzip" else zlib.compress(b"x" * 1000)
    assert decode(packed, [name], 1000) == b"x" * 1000
    with pytest.raises(TooLong):
        decode(packed, [name], 999)


def test_bomb_in_a_bomb_stops_at_the_limit_of_each_layer() -> None:
    bomb = gzip.compress(gzip.compress(b"\0" * (64 << 20)))
    with pytest.raises(TooLong):
        decode(bomb, ["gzip", "gzip"], 1 << 20)


def test_members_are_joined_across_slices() -> None:
    data = gzip.compress(b"a" * 70_000, 0) + gzip.compress(b"") + gzip.compress(b"b" * 10)
    assert decode(data, ["gzip"], 1 << 20) == b"a" * 70_000 + b"b" * 10


def test_too_many_members_are_refused() -> None:
    with pytest.raises(BadCoding, match="members"):
        decode(gzip.compress(b"") * 5000, ["gzip"], 1 << 20)


def test_bytes_after_deflate_are_an_error() -> None:
    with pytest.raises(BadCoding, match="follow"):
        decode(zlib.compress(b"x") + b"junk", ["deflate"], 100)


@pytest.mark.parametrize(
    ("header", "expected"),
    [("", []), ("identity", []), ("GZIP", ["gzip"]), ("x-gzip", ["gzip"]), ("deflate , gzip", ["deflate", "gzip"])],
)
def test_header(header: str, expected: list[str]) -> None:
    assert codings(header) == expected


@pytest.mark.parametrize("header", ["br", "gzip, br", "gzip,gzip,gzip", "zstd"])
def test_unknown_header(header: str) -> None:
    with pytest.raises(UnknownCoding):
        codings(header)


async def test_large_ones_in_a_thread_give_the_same() -> None:
    data = bytes(range(256)) * 4096
    packed = await compress(data)
    assert packed == gzip.compress(data, 6, mtime=0)
    stored = gzip.compress(data, 0)
    assert await decode_async(stored, ["gzip"], len(data)) == data
    assert await decode_async(await compress(b"small"), ["gzip"], 100) == b"small"
