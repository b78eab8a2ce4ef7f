"""CMPP as bytes: vectors, arbitrary cuts, hostile input."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.cmpp.pdu import (
    LONGEST,
    BadPdu,
    Pdu,
    PduReader,
    Submit,
    pack,
    pack_connect,
    pack_deliver_reply,
    pack_submit,
    read_connect_reply,
    read_deliver,
    read_report,
    read_submit_reply,
)
from adapters.cmpp.registry import report_key
from adapters.cmpp.texts import TextError, pieces_of, read_piece, text_of

#: The request of the examples of a public implementation (bigwhite/gocmpp): account 900001, secret 888888, 10-21 08:05:10.
CONNECT = (
    "00000027" "00000001" "00000017" "393030303031" "90d00c1d517abd0b4f65f6bcf8535d16" "21" "3cdc73be"
)  # fmt: skip


def read(data: bytes, step: int) -> list[Pdu]:
    reader, found = PduReader(), []
    for at in range(0, len(data), step):
        reader.feed(data[at : at + step])
        while (pdu := reader.next()) is not None:
            found.append(pdu)
    return found


def test_connect_is_the_published_one() -> None:
    assert pack_connect(0x17, "900001", "888888", 0x21, "1021080510").hex() == CONNECT


def test_a_leading_zero_of_the_month_is_hashed() -> None:
    one = pack_connect(1, "900001", "888888", 0x30, "0101000000")
    assert one[-4:] == (101000000).to_bytes(4, "big")
    assert one[18:34] != pack_connect(1, "900001", "888888", 0x30, "1101000000")[18:34]


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=200)), max_size=5),
       st.integers(1, 60))  # fmt: skip
def test_what_is_written_is_read_however_it_is_cut(pdus: list[tuple[int, int, bytes]], step: int) -> None:
    assert read(b"".join(pack(*pdu) for pdu in pdus), step) == [Pdu(*pdu) for pdu in pdus]


@pytest.mark.parametrize("length", [0, 11, LONGEST + 1, 0xFFFFFFFF])
def test_a_length_that_cannot_be(length: int) -> None:
    with pytest.raises(BadPdu):
        read(length.to_bytes(4, "big"), 1)


@settings(max_examples=300)
@given(st.binary(max_size=260), st.sampled_from([0x20, 0x30]))
def test_nonsense_is_refused(data: bytes, version: int) -> None:
    for reader in (read_connect_reply, read_submit_reply, read_report, lambda body: read_deliver(body, version)):
        try:
            reader(data)
        except BadPdu:
            continue


@settings(max_examples=150)
@given(
    version=st.sampled_from([0x20, 0x30]),
    msg_id=st.integers(0, 2**64 - 1),
    dest=st.text("0123456789", max_size=21),
    src=st.text("0123456789", max_size=21),
    content=st.binary(max_size=255),
    flags=st.tuples(*[st.integers(0, 255)] * 3),
    report=st.booleans(),
    more=st.integers(-3, 3),
)
def test_deliver(
    version: int, msg_id: int, dest: str, src: str, content: bytes, flags: tuple[int, int, int], report: bool, more: int
) -> None:
    """Laid out here by hand; a byte more or less anywhere is refused."""
    new = version == 0x30
    body = struct.pack(">Q21s10s3B", msg_id, dest.encode(), b"HELP", *flags)
    body += struct.pack(">32sB" if new else ">21s", *([src.encode(), 0] if new else [src.encode()]))
    body += bytes((report, len(content))) + content + (b"L" * 20 if new else bytes(8))
    if more:
        with pytest.raises(BadPdu):
            read_deliver(body + bytes(more) if more > 0 else body[:more], version)
        return
    found = read_deliver(body, version)
    assert (found.msg_id, found.dest_id, found.service_id, found.src) == (msg_id, dest, "HELP", src)
    assert (found.pid, found.udhi, found.msg_fmt) == flags
    assert (found.is_report, found.content, found.link_id) == (report, content, "L" * 20 if new else "")


@pytest.mark.parametrize("width", [21, 32])
def test_report(width: int) -> None:
    content = struct.pack(
        f">Q7s10s10s{width}sI", 2**63 + 5, b"DELIVRD", b"2611280930", b"2611280931", b"13900000000", 9
    )
    found = read_report(content)
    assert found.msg_id == 2**63 + 5
    assert (found.stat, found.submitted, found.done) == ("DELIVRD", "2611280930", "2611280931")
    assert (found.phone, found.serial) == ("13900000000", 9)


@given(st.integers(0, 2**64 - 1))
def test_the_key_of_a_report_is_the_same_either_way_round(msg_id: int) -> None:
    turned = int.from_bytes(msg_id.to_bytes(8, "big"), "little")
    assert report_key(msg_id) == report_key(turned)
    assert report_key(msg_id) in (str(msg_id), str(turned))


@pytest.mark.parametrize(("version", "length"), [(0x20, 12 + 117 + 21 + 1 + 5 + 8), (0x30, 12 + 129 + 32 + 2 + 5 + 20)])
def test_submit_has_the_length_of_the_protocol(version: int, length: int) -> None:
    data = pack_submit(7, Submit("13900000000", b"hello", 0, "10690001", "901234"), version)
    assert len(data) == length == int.from_bytes(data[:4], "big")


@pytest.mark.parametrize(
    "field", [{"phone": "1" * 33}, {"service_id": "12345678901"}, {"src_id": "1" * 22}, {"msg_src": "é"}]
)
def test_a_field_that_does_not_fit(field: dict[str, str]) -> None:
    fields = {"phone": "13900000000", "content": b"x", "msg_fmt": 0, "src_id": "1", "msg_src": "901234", **field}
    with pytest.raises(ValueError):
        pack_submit(1, Submit(**fields), 0x30)  # type: ignore[arg-type]


def test_deliver_reply() -> None:
    assert pack_deliver_reply(3, 2**64 - 1, 9, 0x20).hex() == "000000158000000500000003" + "ff" * 8 + "09"
    assert len(pack_deliver_reply(3, 1, 0, 0x30)) == 24


# -- texts -----------------------------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(
    text=st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=700),
    wide=st.booleans(),
    reference=st.integers(0, 65535),
)
def test_parts_together_are_the_text(text: str, wide: bool, reference: int) -> None:
    fmt, parts, udhi = pieces_of(text, "auto", reference=reference, wide_reference=wide, most=255)
    pieces = [read_piece(part, udhi) for part in parts]
    assert all(len(part) <= (160 if fmt == 0 and not udhi else 140) for part in parts)
    assert "".join(str(text_of(piece.data, fmt)) for piece in pieces) == text  # each for itself: nothing is cut in two
    if udhi:
        assert [piece.number for piece in pieces] == list(range(1, len(parts) + 1))
        assert {piece.total for piece in pieces} == {len(parts)}
        assert {piece.reference & 0xFFFF for piece in pieces} == {reference if wide else reference & 0xFF}


@pytest.mark.parametrize(
    ("text", "coding", "sizes"),
    [
        ("a" * 160, "auto", [160]),
        ("a" * 161, "auto", [140, 33]),
        ("中" * 70, "auto", [140]),
        ("中" * 71, "auto", [140, 14]),
        ("中" * 66 + "😀中中中", "auto", [138, 16]),
        ("中a" * 46, "gbk", [138]),
        ("a" + "中" * 70, "gbk", [139, 14]),
    ],
    ids=["ascii", "ascii+", "ucs2", "ucs2+", "pair", "gbk", "gbk+"],
)
def test_where_texts_are_cut(text: str, coding: str, sizes: list[int]) -> None:
    _, parts, _ = pieces_of(text, coding, reference=1, wide_reference=False, most=10)  # type: ignore[arg-type]
    assert [len(part) for part in parts] == sizes


def test_headers() -> None:
    narrow = pieces_of("中" * 71, "auto", reference=0x1234, wide_reference=False, most=10)[1]
    assert narrow[1][:6].hex() == "050003340202"
    wide = pieces_of("中" * 71, "auto", reference=0x1234, wide_reference=True, most=10)[1]
    assert wide[0][:7].hex() == "06080412340201"


@pytest.mark.parametrize(("text", "coding"), [("", "auto"), ("中", "ascii"), ("😀", "gbk"), ("中" * 671, "auto")])
def test_a_text_that_cannot_be_sent(text: str, coding: str) -> None:
    with pytest.raises(TextError):
        pieces_of(text, coding, reference=1, wide_reference=False, most=10)  # type: ignore[arg-type]


@settings(max_examples=300)
@given(st.binary(max_size=160), st.booleans(), st.integers(0, 255))
def test_any_content_is_something(content: bytes, udhi: bool, fmt: int) -> None:
    piece = read_piece(content, udhi)
    assert 1 <= piece.number <= piece.total
    text_of(piece.data, fmt)
