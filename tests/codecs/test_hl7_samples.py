"""Real messages: unchanged byte for byte, and read as another library reads them."""

from __future__ import annotations

import contextlib
import random
import re
from pathlib import Path

import hl7
import pytest

from hub.codecs.hl7_ack import build_ack, parse_ack
from hub.codecs.hl7v2 import Hl7Message, split_batch
from hub.errors import CodecError
from tests.codecs.codec_support import CODEC, SAMPLES, sample_files, sample_messages

pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no samples in {SAMPLES}")

#: Files of python-hl7 and ruby-hl7 which are wrong on purpose: segments outside messages, batches without any.
WRONG = ("sample_bad_", "empty-batch")


@pytest.mark.parametrize("path", sample_files(), ids=lambda path: path.name)
def test_round_trip(path: Path) -> None:
    raw = path.read_bytes()
    if path.name.startswith(WRONG):
        with pytest.raises(CodecError):
            split_batch(raw)
        return
    messages = split_batch(raw)
    for data in messages:
        message = CODEC.decode(data)
        assert CODEC.encode(message) == data
        assert CODEC.encode(message.copy()) == data
        assert data in raw or data[:-1] in raw
    # Everything but headers, trailers and what frames the messages is in one of them.
    kept = sum(len(line) for data in messages for line in data.splitlines())
    outside = (b"FHS", b"BHS", b"BTS", b"FTS")
    lines = [line.strip(b"\x0b\x1c\x00") for line in raw.splitlines()]
    assert kept >= sum(len(line.strip()) for line in lines if line[:3] not in outside)


@pytest.mark.parametrize("number", range(len(sample_messages())))
def test_a_change_touches_its_segment_only(number: int) -> None:
    raw = sample_messages()[number]
    message = CODEC.decode(raw)
    lines = raw.splitlines(keepends=True)
    for at in {0, 1, len(message.segments) // 2, len(message.segments) - 1}:
        if at >= len(message.segments):
            continue
        changed = message.copy()
        segment = changed.segments[at]
        fields = segment.fields
        last = len(fields) - 1
        if last < 3:
            continue
        old = fields[last]
        segment.set_field(last, old + "X")
        written = CODEC.encode(changed)
        assert written != raw
        assert len(written) == len(raw) + 1
        differing = [(a, b) for a, b in zip(written.splitlines(keepends=True), lines, strict=True) if a != b]
        assert len(differing) == 1
        assert differing[0][0].rstrip() == differing[0][1].rstrip(b"\r\n") + b"X"
        segment.set_field(last, old)
        assert CODEC.encode(changed) == raw


def as_another_library_reads(raw: bytes) -> hl7.Message | None:
    """python-hl7 splits at CR only and knows no character sets, so it gets decoded lines."""
    lines = [segment.text() for segment in CODEC.decode(raw).segments]
    try:
        return hl7.parse("\r".join(lines))
    except (hl7.HL7Exception, ValueError, IndexError):
        return None


def test_fields_are_those_another_library_finds() -> None:
    compared = messages = 0
    for raw in sample_messages():
        other = as_another_library_reads(raw)
        if other is None:
            continue
        message = CODEC.decode(raw)
        messages += 1
        assert len(other) == len(message.segments)
        for theirs, segment in zip(other, message.segments, strict=True):
            assert [str(theirs(number)) for number in range(len(theirs))] == list(segment.fields)
            compared += len(theirs)
    assert messages > 100
    assert compared > 10_000


def test_values_are_those_another_library_finds() -> None:
    compared = 0
    for raw in sample_messages():
        other = as_another_library_reads(raw)
        message = CODEC.decode(raw)
        if other is None or len(message.escape_char + message.subcomponent_sep) != 2:
            continue
        for name in {segment.name for segment in message.segments if re.fullmatch("[A-Z][A-Z0-9]{2}", segment.name)}:
            compared += sum(same_values(message, other, name, occurrence) for occurrence in (1, 2))
    assert compared > 10_000


def same_values(message: Hl7Message, other: hl7.Message, name: str, occurrence: int) -> int:
    """Compare every sub-component of a segment; how many."""
    found = message.all(name)
    if len(found) < occurrence:
        return 0
    compared = 0
    for field in range(3, len(found[occurrence - 1].fields)):
        raw = found[occurrence - 1].fields[field]
        if message.escape_char in raw:
            continue  # python-hl7 drops formatting commands and unknown sequences
        for repetition, text in enumerate(raw.split(message.repetition_sep), 1):
            for component, part in enumerate(text.split(message.component_sep), 1):
                for subcomponent, value in enumerate(part.split(message.subcomponent_sep), 1):
                    path = f"{name}[{occurrence}]-{field}[{repetition}].{component}.{subcomponent}"
                    theirs = other.segments(name)[occurrence - 1].extract_field(
                        1, field, repetition, component, subcomponent
                    )
                    assert message.get(path) == str(theirs) == value
                    compared += 1
    return compared


def test_acknowledgements_of_all_samples() -> None:
    for raw in sample_messages():
        _, number = CODEC.envelope(CODEC.decode(raw))
        for code, text in (("AA", ""), ("AE", "no such ward: 内科|^~\\&")):
            answer = build_ack(raw, code, text)
            message = CODEC.decode(answer)
            assert message.get("MSA-1") == code
            assert parse_ack(answer)[:2] == (code, number)
            assert CODEC.envelope(message)[0].split("^")[0] == "ACK"


# -- fuzz ------------------------------------------------------------------------------------------------------------


def mutated(raw: bytes, chance: random.Random) -> bytes:
    data = bytearray(raw)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            data[at : at + chance.randint(1, 40)] = b""
        elif kind == 1:
            data[at:at] = chance.choice(
                (b"|", b"^", b"~", b"\\", b"&", b"\r", b"\n", b"\x0b", b"\x1c\r", b"MSH", b"\rMSH|", b"\xff", b"\x1b$B",
                 b"\\X", b"\xef\xbb\xbf", b"\x81|", b"\x00")
            )  # fmt: skip
        elif kind == 2 and data:
            data[at - 1] = chance.randrange(256)
        else:
            data[at:at] = data[max(at - chance.randint(1, 60), 0) : at]
    return bytes(data)


@pytest.mark.parametrize("seed", range(10))
def test_damaged_messages_are_read_or_refused(seed: int) -> None:
    chance = random.Random(seed)
    for raw in sample_messages():
        damaged = mutated(raw[:4000], chance)
        parse_ack(build_ack(damaged, "AE", "x", "207"))
        with contextlib.suppress(CodecError):
            split_batch(damaged)
        try:
            message = CODEC.decode(damaged)
        except CodecError:
            continue
        assert CODEC.encode(message) == damaged
        CODEC.envelope(message)
        for segment in message.segments:
            for field in segment.fields:
                message.unescape(field)
        try:
            message.set("PID-5[2].3.2", "x|y\r")
            written = CODEC.encode(message)
        except CodecError:
            continue
        assert CODEC.decode(written).get("PID-5[2].3.2") == "x|y\r"
