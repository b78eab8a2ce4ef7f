"""Which acknowledgement a sender gets: the table of MSH-15 and MSH-16, in event and request style."""

from __future__ import annotations

import pytest

from adapters.mllp.acknowledge import Acknowledger, batch_answer
from adapters.mllp.header import read_header
from hub.api import CodecError, HubError, Receipt, StoreBusy
from hub.message import Outcome
from tests.adapters.mllp_support import answered, code, fields, message

EVENTS = Acknowledger("auto", False)
STORED = Receipt(Outcome.OK, 7)
BUSY = Receipt(Outcome.REFUSED, error=StoreBusy("queue full"))
WRONG = Receipt(Outcome.REFUSED, error=CodecError("no such delimiter", place="segment 1 (MSH)"))
FAILED = Receipt(Outcome.FAILED, 7, error=HubError("target said no"))
REPLIED = Receipt(Outcome.OK, 7, reply=b"MSH|^~\\&|reply\rMSA|AA|1\r")


def codes(accept: str, application: str, receipt: Receipt, policy: str = "auto", request: bool = False) -> list[str]:
    found = Acknowledger(policy, request).answers(message("1", accept, application), receipt)
    return ["reply" if reply is receipt.reply else code(reply) for reply in found]


@pytest.mark.parametrize(
    ("accept", "application", "stored", "busy", "wrong"),
    [
        ("", "", "AA", "AE", "AR"),
        ("AL", "", "CA", "CE", "CR"),
        ("AL", "NE", "CA", "CE", "CR"),
        ("AL", "AL", "CA", "CE", "CR"),
        ("NE", "NE", "", "", ""),
        ("NE", "AL", "AA", "AE", "AR"),
        ("", "AL", "AA", "AE", "AR"),
        ("ER", "NE", "", "CE", "CR"),
        ("ER", "AL", "AA", "CE", "CR"),
        ("SU", "NE", "CA", "", ""),
        ("SU", "ER", "CA", "AE", "AR"),
        ("NE", "SU", "AA", "", ""),
        ("NE", "ER", "", "AE", "AR"),
        ("", "0", "AA", "AE", "AR"),  # analysers: MSH-16 is the kind of result, not a condition
        ("", "2", "AA", "AE", "AR"),
    ],
)
def test_events(accept: str, application: str, stored: str, busy: str, wrong: str) -> None:
    assert codes(accept, application, STORED) == [stored] * bool(stored)
    assert codes(accept, application, BUSY) == [busy] * bool(busy)
    assert codes(accept, application, WRONG) == [wrong] * bool(wrong)


@pytest.mark.parametrize(
    ("accept", "application", "replied", "failed", "wrong"),
    [
        ("", "", ["reply"], ["AE"], ["AR"]),
        ("AL", "AL", ["CA", "reply"], ["CA", "AE"], ["CR"]),
        ("AL", "", ["CA", "reply"], ["CA", "AE"], ["CR"]),
        ("AL", "NE", ["CA"], ["CA"], ["CR"]),
        ("NE", "AL", ["reply"], ["AE"], ["AR"]),
        ("ER", "AL", ["reply"], ["AE"], ["CR"]),
        ("SU", "SU", ["CA", "reply"], ["CA"], []),
        ("NE", "ER", [], ["AE"], ["AR"]),
    ],
)
def test_requests(accept: str, application: str, replied: list[str], failed: list[str], wrong: list[str]) -> None:
    assert codes(accept, application, REPLIED, request=True) == replied
    assert codes(accept, application, FAILED, request=True) == failed
    assert codes(accept, application, WRONG, request=True) == wrong


@pytest.mark.parametrize("accept", ["", "AL", "NE", "ER"])
@pytest.mark.parametrize(
    ("policy", "expected"),
    [("original", ["AA", "AE", "AR"]), ("enhanced", ["CA", "CE", "CR"]), ("none", ["", "", ""])],
)
def test_policies_replace_the_header(accept: str, policy: str, expected: list[str]) -> None:
    found = [codes(accept, "", receipt, policy) for receipt in (STORED, BUSY, WRONG)]
    assert found == [[one] * bool(one) for one in expected]


@pytest.mark.parametrize("outcome", [Outcome.DUPLICATE, Outcome.CONFLICT])
def test_duplicates_and_conflicts_are_answered_as_the_first_time(outcome: Outcome) -> None:
    assert codes("", "", Receipt(outcome, 7)) == ["AA"]
    assert codes("AL", "", Receipt(outcome, 7)) == ["CA"]


def test_a_failed_request_that_is_only_busy_is_not_accepted() -> None:
    receipt = Receipt(Outcome.FAILED, 7, error=StoreBusy("stopping"))
    assert codes("AL", "AL", receipt, request=True) == ["CE"]


def test_reply_that_would_end_its_own_frame() -> None:
    receipt = Receipt(Outcome.OK, 7, reply=b"MSH|^~\\&|a\x1c\rb")
    assert codes("AL", "AL", receipt, request=True) == ["CA", "AE"]


def test_refusal_says_why_and_masks() -> None:
    error = StoreBusy("queue full for 110101199003078515")
    (reply,) = EVENTS.refusal(message("42"), error)
    assert code(reply) == "AE"
    assert answered(reply) == "42"
    assert fields(reply)["ERR"][3].startswith("207")
    text = reply.decode()
    assert "queue full" in text
    assert "199003078515" not in text


def test_content_errors_name_the_place() -> None:
    (reply,) = EVENTS.answers(message("42"), WRONG)
    assert "segment 1 (MSH)" in reply.decode()


def test_refusal_without_error_is_still_a_refusal() -> None:
    assert codes("", "", Receipt(Outcome.REFUSED)) == ["AR"]


@pytest.mark.parametrize("raw", [b"", b"junk", b"MSH", b"MSH|", b"\x00" * 50, b"MSH|^~\\&|a\rPID|1"])
def test_unreadable_messages_are_answered_too(raw: bytes) -> None:
    (reply,) = EVENTS.answers(raw, WRONG)
    assert code(reply) == "AR"


def test_header_ignores_what_is_no_header() -> None:
    assert read_header(b"PID|1||a") == ("", "", "")
    assert read_header(b"MSH|^~\\&|a\rPID|1|2|3|4|5|6|7|8|9|10|11|12|AL|AL") == ("", "", "")
    assert read_header(b"MSH|^~\\&|a\nPID|1|2|3|4|5|6|7|8|9|10|11|12|AL|AL") == ("", "", "")
    assert read_header(b"\r\nMSH#^~\\&#a#b#c#d#e#f#g# 12 #P#2.5###AL#SU#x\r") == ("12", "AL", "SU")


def test_header_with_a_separator_inside_a_gbk_character() -> None:
    name = "\u4e85".encode("gb18030")  # its second byte is |
    assert name.endswith(b"|")
    raw = b"MSH|^~\\&|" + name + b"|b|c|d|e|f|g|12|P|2.5|||AL|NE\r"
    assert read_header(raw) == ("12", "AL", "NE")


def test_batch_answer_mirrors_the_headers() -> None:
    raw = b"FHS|^~\\&|A1|F1|A2|F2|2026||||77\rBHS|^~\\&|A1|F1|A2|F2|2026||||88\rMSH|^~\\&|x\rBTS|1\rFTS|1\r"
    lines = batch_answer(raw, [b"MSH|1\rMSA|AA|1\r", b"MSH|2\rMSA|AA|2"]).decode().split("\r")
    assert [line[:3] for line in lines] == ["FHS", "BHS", "MSH", "MSA", "MSH", "MSA", "BTS", "FTS", ""]
    assert lines[0].split("|")[1:6] == ["^~\\&", "A2", "F2", "A1", "F1"]
    assert lines[0].split("|")[11] == "77"
    assert lines[1].split("|")[11] == "88"
    assert lines[6] == "BTS|2"


def test_batch_answer_without_headers_is_the_answers() -> None:
    assert batch_answer(b"MSH|a\rMSH|b\r", [b"MSH|1\r", b"MSH|2\r"]) == b"MSH|1\rMSH|2\r"
