"""One end of a line without sockets: frames byte for byte, and everything that can happen between two stations."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.tcp.e1381 import Station
from adapters.tcp.e1381_frames import frames_of
from adapters.tcp.e1381_sending import Sent, State, Timers, Verdict
from hub.api import HubError
from tests.adapters.astm_support import ACK, ENQ, EOT, NAK, result

RECORDS = b"H|\\^&\rP|1\rL|1|N\r"


class End:
    """Remembers what its station does; takes messages as the test decides."""

    def __init__(self, **options: Any) -> None:
        self.out = b""
        self.taken: list[bytes] = []
        self.lost: list[bytes] = []
        self.outcomes: list[Sent] = []
        self.is_ready = True
        self.verdict: Verdict | None = "accepted"  # None: later
        self.token = 0
        self.floods = 0
        options = {"analyser": False, "whole": True, "max_size": 10_000, **options}
        self.station = Station(self, Timers(), **options)

    def write(self, data: bytes) -> None:
        self.out += data

    def ready(self) -> bool:
        return self.is_ready

    def take(self, text: bytes, token: int) -> None:
        self.taken.append(text)
        self.token = token
        if self.verdict is not None:
            self.station.verdict(token, self.verdict, 0.0)

    def unfinished(self, text: bytes, reason: str) -> None:
        self.lost.append(text)

    def sent(self, outcome: Sent) -> None:
        self.outcomes.append(outcome)

    def flooded(self) -> None:
        self.floods += 1

    def says(self, data: bytes, now: float = 0.0) -> bytes:
        """What it writes when this comes."""
        self.out = b""
        self.station.receive(data, now)
        return self.out

    def later(self, now: float) -> bytes:
        self.out = b""
        self.station.tick(now)
        return self.out

    def send(self, message: bytes, now: float = 0.0) -> bytes:
        self.out = b""
        self.station.send(frames_of(message, 240, by_record=True), now)
        return self.out


@pytest.fixture
def end() -> End:
    return End()


# -- frames ----------------------------------------------------------------------------------------------------------


def test_frames_byte_for_byte() -> None:
    assert frames_of(RECORDS, 240, by_record=True) == [
        b"\x021H|\\^&\r\x03E5\r\n",
        b"\x022P|1\r\x033F\r\n",
        b"\x023L|1|N\r\x0306\r\n",
    ]
    assert frames_of(b"H|\\^&\rL|1\r", 4, by_record=False) == [
        b"\x021H|\\^\x17C6\r\n",
        b"\x022&\rL|\x1744\r\n",
        b"\x0231\r\x0374\r\n",
    ]
    assert [frame[1:2] for frame in frames_of(b"x\r" * 9, 240, by_record=True)] == [
        b"%d" % (n % 8) for n in range(1, 10)
    ]


@pytest.mark.parametrize("text", [b"", b"a\x00b", b"a\nb", b"a\x02b", b"\x05", b"a\x17"])
def test_what_frames_can_not_carry(text: bytes) -> None:
    with pytest.raises(HubError):
        frames_of(text, 240, by_record=True)


TEXTS = (
    st.binary(min_size=1, max_size=60)
    .map(lambda b: bytes(c for c in b if c > 0x17 or c in b"\r\t\x07\x0b"))
    .filter(bool)
)


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.integers(1, 20), st.booleans(), st.data())
def test_any_text_survives_any_cut(text: bytes, size: int, by_record: bool, data: st.DataObject) -> None:
    end = End(whole=False)
    assert end.says(ENQ) == ACK
    for frame in frames_of(text, size, by_record=by_record):
        cut = data.draw(st.integers(0, len(frame)))
        assert end.says(frame[:cut]) + end.says(frame[cut:]) == ACK
    assert end.says(EOT) == b""
    assert (b"".join(end.taken), end.lost, end.station.state) == (text, [], State.NEUTRAL)


@settings(max_examples=400, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(0, 255),
    st.sampled_from(["change", "remove", "insert", "end"]),
    st.integers(0, 60),
)
def test_no_damage_gives_a_wrong_message(place: int, value: int, how: str, cut: int) -> None:
    """Whatever happens to one frame, it is not acknowledged, and the sender's remedies lead to the right message."""
    end = End()
    message = result()
    assert end.says(ENQ) == ACK
    frames = frames_of(message, 40, by_record=True)
    at = place % len(frames)
    for number, frame in enumerate(frames):
        if number == at:
            bad = bytearray(frame)
            spot = place // len(frames) % len(frame)
            if how == "change":
                bad[spot] = value
            elif how == "remove":
                del bad[spot]
            elif how == "insert":
                bad.insert(spot, value)
            else:
                del bad[spot:]
            cut %= len(bad) + 1
            answer = end.says(bytes(bad[:cut])) + end.says(bytes(bad[cut:]))
            if bytes(bad).upper() == frame.upper() and bad[1:-4] == frame[1:-4]:
                assert answer == ACK
                continue
            if answer == ACK:  # a byte before STX changes nothing
                assert (how, spot) == ("insert", 0)
                continue
            assert answer in (b"", NAK)
            if answer == NAK:  # the frame again
                assert end.says(frame) == ACK
                continue
            # Silence: the sender ends the transmission and sends everything again.
            end.says(EOT)
            end.later(1000.0)
            assert end.taken == []
            assert end.says(ENQ, 1000.0) == ACK
            for again in frames:
                assert end.says(again, 1000.0) == ACK
            break
        assert end.says(frame) == ACK
    end.says(EOT)
    assert end.taken == [message]


# -- receiving -------------------------------------------------------------------------------------------------------


def test_a_frame_again_is_acknowledged_and_not_taken_again(end: End) -> None:
    frames = frames_of(RECORDS, 240, by_record=True)
    assert end.says(ENQ + frames[0]) == ACK + ACK
    assert end.says(frames[0]) == ACK
    assert end.says(frames[1] + frames[1] + frames[2]) == ACK + ACK + ACK
    assert end.says(frames[2]) == ACK
    assert (end.taken, end.lost) == ([RECORDS], [])


def test_a_frame_is_missing(end: End) -> None:
    frames = frames_of(RECORDS, 240, by_record=True)
    assert end.says(ENQ + frames[0] + frames[2]) == ACK + ACK + NAK
    assert end.says(frames[1] + frames[2]) == ACK + ACK
    assert end.taken == [RECORDS]


def test_the_first_frame_has_number_one(end: End) -> None:
    frames = frames_of(RECORDS, 240, by_record=True)
    assert end.says(ENQ + frames[1]) == ACK + NAK
    assert end.says(frames_of(b"x" * 2000, 240, by_record=False)[7]) == NAK


def test_several_messages_in_one_transmission(end: End) -> None:
    both = RECORDS + result()
    end.says(ENQ)
    for frame in frames_of(both, 240, by_record=True):
        assert end.says(frame) == ACK
    assert end.taken == [RECORDS, result()]


def test_one_message_for_each_end_frame() -> None:
    end = End(whole=False)
    assert end.says(ENQ + b"".join(frames_of(b"a\rb\r", 240, by_record=True))) == ACK * 3
    assert end.taken == [b"a\r", b"b\r"]


def test_the_last_frame_waits_for_the_commit(end: End) -> None:
    end.verdict = None
    *first, last = frames_of(RECORDS, 240, by_record=True)
    assert end.says(ENQ + b"".join(first)) == ACK * 3
    assert end.says(last) == b""
    assert end.station.state is State.HOLDING
    end.out = b""
    end.station.verdict(end.token, "accepted", 1.0)
    assert end.out == ACK
    assert end.says(EOT) == b""


def test_a_slow_commit_is_bridged_by_nak_and_taken_once(end: End) -> None:
    end.verdict = None
    *first, last = frames_of(RECORDS, 240, by_record=True)
    end.says(ENQ + b"".join(first))
    assert end.says(last) == b""
    assert end.later(10.0) == NAK
    assert end.says(last, 10.1) == b""
    assert end.later(20.1) == NAK
    end.out = b""
    end.station.verdict(end.token, "accepted", 21.0)
    assert end.out == b""
    assert end.says(last, 21.1) == ACK
    assert end.taken == [RECORDS]


def test_busy_is_nak_after_a_while_and_another_try(end: End) -> None:
    end.verdict = "busy"
    *first, last = frames_of(RECORDS, 240, by_record=True)
    end.says(ENQ + b"".join(first))
    assert end.says(last) == b""
    assert end.later(10.0) == NAK
    end.verdict = "accepted"
    assert end.says(last, 10.1) == ACK
    assert end.taken == [RECORDS, RECORDS]


def test_refused_is_nak_until_the_sender_gives_up(end: End) -> None:
    end.verdict = "refused"
    *first, last = frames_of(RECORDS, 240, by_record=True)
    end.says(ENQ + b"".join(first))
    for _ in range(6):
        assert end.says(last) == NAK
    assert end.says(EOT) == b""
    assert (end.taken, end.lost) == ([RECORDS], [])
    end.verdict = "accepted"
    assert end.says(ENQ + b"".join(first) + last) == ACK * 4


def test_a_sender_that_gives_up_while_the_commit_runs(end: End) -> None:
    end.verdict = None
    frames = b"".join(frames_of(RECORDS, 240, by_record=True))
    end.says(ENQ + frames)
    assert end.says(EOT) == b""
    stale = end.token
    end.verdict = "accepted"
    assert end.says(ENQ) == ACK
    end.out = b""
    end.station.verdict(stale, "accepted", 0.0)
    assert end.out == b""
    assert end.says(frames) == ACK * 3
    assert end.lost == []


def test_another_frame_in_the_place_of_the_one_that_waits(end: End) -> None:
    end.verdict = None
    *first, last = frames_of(RECORDS, 240, by_record=True)
    end.says(ENQ + b"".join(first) + last)
    assert end.later(10.0) == NAK
    other = frames_of(b"H|\\^&\rP|1\rP|2\r", 240, by_record=True)[2]
    assert end.says(other, 11.0) == NAK
    end.station.verdict(end.token, "accepted", 12.0)
    assert end.says(other, 12.0) == NAK
    assert end.says(last, 12.0) == ACK
    assert end.taken == [RECORDS]


@pytest.mark.parametrize(
    "texts",
    [
        [b"H|\\^&\rL|1|N"],
        [b"H|\\^&\rL", b"|1\r"],
        [b"H|\\^&\r", b"L\r"],
        [b"H|\\^&\rL|1|N\r", b""],
        [b"H|\\^&\rL|1|N", b"\r"],
    ],
)
def test_where_a_message_ends(end: End, texts: list[bytes]) -> None:
    """In the frame that is the last one by ETX, however the record L is cut."""
    end.says(ENQ)
    for number, text in enumerate(texts, 1):
        body = b"%d" % number + text + (b"\x03" if number == len(texts) else b"\x17")
        assert end.says(b"\x02" + body + b"%02X" % (sum(body) % 256) + b"\r\n") == ACK
    assert end.taken == [b"".join(texts)]


def test_a_record_without_end_costs_no_time() -> None:
    end = End(max_size=8 << 20)
    end.says(ENQ)
    for number in range(1, 16_001):
        body = b"%d" % (number % 8) + b"x" * 240 + b"\x03"
        assert end.says(b"\x02" + body + b"%02X" % (sum(body) % 256) + b"\r\n") == ACK
    assert end.taken == []


def test_not_ready_is_nak_to_enq(end: End) -> None:
    end.is_ready = False
    assert end.says(ENQ) == NAK
    end.is_ready = True
    assert end.says(ENQ) == ACK


def test_a_message_without_end_is_told(end: End) -> None:
    frames = frames_of(RECORDS, 240, by_record=True)
    end.says(ENQ + frames[0] + frames[1])
    end.says(EOT)
    assert (end.taken, end.lost) == ([], [b"H|\\^&\rP|1\r"])
    end.says(ENQ + frames[0])
    end.station.lost()
    assert end.lost[1:] == [b"H|\\^&\r"]


def test_silence_ends_a_transmission(end: End) -> None:
    frames = frames_of(RECORDS, 240, by_record=True)
    end.says(ENQ + frames[0] + b"\x022P|")
    assert end.station.deadline == 30.0
    assert end.later(30.0) == b""
    assert (end.station.state, end.lost) == (State.NEUTRAL, [b"H|\\^&\r"])
    assert end.says(ENQ + b"".join(frames), 31.0) == ACK * 4


def test_a_sender_that_begins_again(end: End) -> None:
    frames = frames_of(RECORDS, 240, by_record=True)
    assert end.says(ENQ + frames[0]) == ACK * 2
    assert end.says(ENQ, 1.0) == b""  # it may be a damaged STX, and more may follow
    assert end.later(2.0) == ACK
    assert end.says(b"".join(frames), 2.0) == ACK * 3
    assert (end.taken, end.lost) == ([RECORDS], [b"H|\\^&\r"])


def test_line_ends_between_frames_are_no_damage(end: End) -> None:
    frames = frames_of(RECORDS, 240, by_record=True)
    assert end.says(b"\r\n" + ENQ + b"\r\n" + frames[0] + b"\r\n" + frames[1] + b"\n" + frames[2] + b"\r\n") == ACK * 4


def test_noise_gets_one_nak(end: End) -> None:
    end.says(ENQ)
    assert end.says(b"noise\r\nmore\r\n") == NAK
    assert end.says(b"and more\r\n") == b""


def test_hostile_sizes(end: End) -> None:
    end.says(ENQ)
    assert end.says(b"\x021" + b"x" * 70_000) == NAK
    assert end.says(b"x" * 70_000) == b""
    big = End(max_size=500)
    big.says(ENQ)
    answers = b"".join(
        big.says(frame) for frame in frames_of(b"H|\\^&\r" + b"x" * 600 + b"\rL|1\r", 240, by_record=True)
    )
    assert answers == ACK + ACK + ACK + NAK * 2
    assert len(big.lost) == 1
    end = End()
    end.verdict = None
    end.says(ENQ + b"".join(frames_of(RECORDS, 240, by_record=True)))
    end.says(b"x" * 200_000)
    assert end.floods == 1


# -- sending ---------------------------------------------------------------------------------------------------------


def test_sending_byte_for_byte(end: End) -> None:
    frames = frames_of(RECORDS, 240, by_record=True)
    assert end.send(RECORDS) == ENQ
    assert end.says(ACK) == frames[0]
    assert end.says(ACK) == frames[1]
    assert end.says(ACK) == frames[2]
    assert end.says(ACK) == EOT
    assert (end.outcomes, end.station.state) == (["ok"], State.NEUTRAL)


def test_six_naks_end_it(end: End) -> None:
    frames = frames_of(RECORDS, 240, by_record=True)
    end.send(RECORDS)
    assert end.says(ACK) == frames[0]
    for _ in range(5):
        assert end.says(NAK) == frames[0]
    assert end.says(NAK) == EOT
    assert end.outcomes == ["refused"]


def test_naks_are_counted_for_each_frame(end: End) -> None:
    end.send(RECORDS)
    end.says(ACK)
    for _ in range(3):
        for _ in range(5):
            end.says(NAK)
        end.says(ACK)
    assert end.outcomes == ["ok"]


def test_a_storm_of_answers_is_one_answer(end: End) -> None:
    frames = frames_of(RECORDS, 240, by_record=True)
    end.send(RECORDS)
    end.says(ACK)
    assert end.says(NAK * 100) == frames[0]
    assert end.says(b"\x00\xff" * 50) == frames[0]


def test_an_answer_can_not_come_before_its_frame(end: End) -> None:
    frames = frames_of(RECORDS, 240, by_record=True)
    end.send(RECORDS)
    assert end.says(ACK * 10) == frames[0]
    assert end.says(ACK * 10) == frames[1]
    assert end.says(NAK + ACK) == frames[1]


def test_nobody_answers(end: End) -> None:
    assert end.send(RECORDS) == ENQ
    assert end.station.deadline == 15.0
    assert end.later(15.0) == EOT
    assert end.outcomes == ["unheard"]
    end.send(RECORDS, 20.0)
    end.says(ACK, 20.0)
    assert end.later(35.0) == EOT
    assert end.outcomes == ["unheard", "silent"]


def test_a_busy_peer_is_asked_again_after_ten_seconds(end: End) -> None:
    end.send(RECORDS)
    assert end.says(NAK) == b""
    assert end.station.deadline == 10.0
    assert end.later(9.9) == b""
    assert end.later(10.0) == ENQ


def test_an_interrupt_request_counts_as_acknowledged(end: End) -> None:
    frames = frames_of(RECORDS, 240, by_record=True)
    end.send(RECORDS)
    end.says(ACK)
    assert end.says(EOT) == frames[1]
    assert end.says(ACK) == frames[2]
    assert end.says(EOT) == EOT
    assert end.send(RECORDS, 1.0) == b""  # the other side may send now
    assert end.later(15.0) == ENQ


def test_contention_the_host_yields(end: End) -> None:
    end.send(RECORDS)
    assert end.says(ENQ) == b""
    assert end.station.deadline == 20.0
    assert end.says(ENQ, 1.0) == ACK  # the analyser insists after a second
    assert end.says(b"".join(frames_of(result(), 240, by_record=True)), 1.0).strip(ACK) == b""
    assert end.says(EOT, 2.0) == ENQ  # the line is free
    assert end.taken == [result()]


def test_contention_the_analyser_insists() -> None:
    end = End(analyser=True)
    end.send(RECORDS)
    assert end.says(ENQ) == b""
    assert end.later(1.0) == ENQ


def test_two_stations_that_begin_at_once() -> None:
    host, analyser = End(), End(analyser=True)
    to_analyser, to_host = host.send(RECORDS), analyser.send(result())
    now = 0.0
    for _ in range(200):
        to_host, to_analyser = analyser.says(to_analyser, now), host.says(to_host, now)
        if not to_host and not to_analyser:
            waits = [end.station.deadline for end in (host, analyser) if end.station.deadline]
            if not waits:
                break
            now = max(now, min(waits))
            to_host, to_analyser = analyser.later(now), host.later(now)
    assert (host.taken, analyser.taken) == ([result()], [RECORDS])
    assert (host.outcomes, analyser.outcomes) == (["ok"], ["ok"])


def test_cancel_ends_the_transmission(end: End) -> None:
    end.send(RECORDS)
    end.says(ACK)
    end.out = b""
    end.station.cancel()
    assert (end.out, end.station.state, end.outcomes) == (EOT, State.NEUTRAL, [])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from([ENQ, EOT, ACK, NAK, b"\x02", b"\x03", b"\r\n", b"\x021H|\\^&\r\x03E5\r\n"]),
            st.binary(max_size=8),
        ),
        max_size=30,
    ),
    st.booleans(),
)
def test_any_bytes_at_all(pieces: list[bytes], sends: bool) -> None:
    end = End(max_size=100)
    if sends:
        end.send(RECORDS)
    for number, piece in enumerate(pieces):
        end.says(piece, float(number))
        end.later(float(number))
    end.later(1e6)
    end.says(EOT, 1e6)
    assert end.station.state in (State.NEUTRAL, State.ASKING, State.RECEIVING)
    end.station.lost()
