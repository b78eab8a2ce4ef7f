"""What validation found, in HL7 acknowledgements: one ERR segment each, as the version of the sender has it."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.mllp.acknowledge import Acknowledger
from hub.api import HubError, Receipt
from hub.codecs.hl7_ack import build_ack
from hub.codecs.hl7v2 import Hl7Codec
from hub.message import Outcome
from hub.validators.report import Finding, Kind, Severity
from tests.adapters.mllp_support import MemoryIntake, client, listening, message

MISSING = Finding("patient.number", "PID-3 is missing", "PID-3", "send the number", Kind.MISSING).as_dict()
CODE = Finding("sex", "no such code", "PID[2]-8[3].1.2", "", Kind.CODE, severity=Severity.WARNING).as_dict()
REFUSED = Receipt(Outcome.REFUSED, error=HubError("not as agreed", code="validate.failed"), findings=[MISSING, CODE])


def raw(version: str = "2.5.1", marks: str = "^~\\&", charset: str = "") -> bytes:
    head = f"MSH|{marks}|HIS|NORTH|HUB|CENTRAL|2026||ADT^A01|7|P|{version}" + (f"||||||{charset}" if charset else "")
    return f"{head}\rPID|1\r".encode()


def segments(answer: bytes, charset: str = "utf-8") -> list[str]:
    return answer.decode(charset).rstrip("\r").split("\r")[1:]


def test_since_2_5_each_finding_is_a_segment() -> None:
    assert segments(build_ack(raw(), "AR", "not as agreed", "207", [MISSING, CODE])) == [
        "MSA|AR|7|not as agreed",
        "ERR||PID^1^3|101^Required field missing^HL70357|E|patient.number||send the number|PID-3 is missing",
        "ERR||PID^2^8^3^1^2|103^Table value not found^HL70357|W|sex|||no such code",
    ]


def test_before_2_5_each_finding_is_a_repetition() -> None:
    assert segments(build_ack(raw("2.3.1"), "AR", "not as agreed", "207", [MISSING, CODE])) == [
        "MSA|AR|7|not as agreed",
        "ERR|PID^^3^101&Required field missing&HL70357~PID^2^8^103&Table value not found&HL70357",
    ]


@pytest.mark.parametrize(
    ("version", "errors"),
    [
        (
            "2.6",
            ["ERR||PID^1^3|101^Required field missing^HL70357|W|patient.number||send the number|PID-3 is missing"],
        ),
        ("2.4", []),  # an ERR there is an error
    ],
)
def test_what_was_noted_goes_with_the_acceptance_as_warnings(version: str, errors: list[str]) -> None:
    assert segments(build_ack(raw(version), "AA", findings=[MISSING])) == ["MSA|AA|7", *errors]


@pytest.mark.parametrize(
    ("place", "told"), [("order.items[0]", "order.items[0]: x"), ("", "x"), ("line 3", "line 3: x")]
)
def test_a_place_that_is_none_of_hl7_stands_in_the_text(place: str, told: str) -> None:
    finding = Finding("r", "x", place).as_dict()
    assert segments(build_ack(raw(), "AR", "no", findings=[finding]))[1].split("|")[2::6] == ["", told]


def test_texts_are_escaped_and_readable_in_the_senders_character_set() -> None:
    finding = Finding("r|1", "有|号^码 €", "PID-5", "a~b").as_dict()
    answer = build_ack(raw(charset="GB18030"), "AR", "no", findings=[finding])
    assert answer.decode("gb18030").split("\r")[2].split("|")[5:] == ["r\\F\\1", "", "a\\R\\b", "有\\F\\号\\S\\码 €"]
    answer = build_ack(raw(charset="8859/1"), "AR", "no", findings=[finding])
    assert answer.decode("latin-1").split("\r")[2].endswith("?\\F\\?\\S\\? ?")
    tree = Hl7Codec().decode(answer)  # it is a message all the same
    assert tree is not None


@pytest.mark.parametrize("marks", ["^~\\&", "^", "^~", "$%!@"])
def test_whatever_the_delimiters(marks: str) -> None:
    for version in ("2.5", "2.3"):
        answer = build_ack(raw(version, marks), "AR", "no", findings=[MISSING, CODE])
        assert segments(answer)[0] == "MSA|AR|7|no"


def test_enhanced_mode_and_no_more_than_twenty() -> None:
    many = Receipt(Outcome.REFUSED, error=HubError("no"), findings=[MISSING] * 30)
    (answer,) = Acknowledger("auto", False).answers(message("1", "AL", "NE"), many)
    told = segments(answer)
    assert (told[0][:7], len(told)) == ("MSA|CR|", 21)
    noted = Receipt(Outcome.OK, 1, findings=[MISSING] * 30)
    (answer,) = Acknowledger("auto", False).answers(message("1", "AL", "NE"), noted)
    told = segments(answer)
    assert (told[0], len(told)) == ("MSA|CA|1", 21)


async def test_over_a_connection() -> None:
    intake = MemoryIntake()
    verdicts: dict[bytes, Any] = {b"bad": REFUSED, b"ok": Receipt(Outcome.OK, 1, findings=[CODE])}
    intake.verdict = lambda got: next(receipt for word, receipt in verdicts.items() if word in got)
    async with listening(intake) as receiver, client(receiver) as peer:
        answer = segments(await peer.ask(message("1", text="bad")))
        assert [row[:6] for row in answer] == ["MSA|AR", "ERR||P", "ERR||P"]
        assert segments(await peer.ask(message("2", text="ok")))[0] == "MSA|AA|2"
