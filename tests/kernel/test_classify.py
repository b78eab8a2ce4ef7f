"""How a target's answer is understood."""

from __future__ import annotations

from typing import Any

import pytest

from hub.api import Bound, Reply
from hub.codecs.registry import builtin_codecs
from hub.contract import Interface
from hub.delivery.classify import Classifier, Verdict
from hub.errors import PermanentError, TransientError, UnreachableError
from hub.message import Outcome
from tests.kernel.wire import WireConnect

CODECS = {codec.name: codec for codec in builtin_codecs()}
ERRORS = {
    "0": {"class": "delivered", "text": "already known"},
    "3001": {"class": "permanent", "text": "报文格式错误"},
    "5001": {"class": "transient"},
    "503": {"class": "permanent"},
}
BY_CODE = {"success": "code == 1001", "reply": {"code": "code", "message": "message"}, "errors": ERRORS}


def judge(contract: dict[str, Any], reply: Reply) -> Verdict:
    interface = Interface.model_validate({"direction": "out", "adapter": "wire", "codec": "json", **contract})
    bound = Bound("a/b", "a", "b", "a@1", interface, CODECS["json"], {}, WireConnect(channel="x"))
    return Classifier(bound, CODECS).judge(reply)


def brief(verdict: Verdict) -> tuple[Outcome, str, str]:
    return verdict.outcome, verdict.code, verdict.error


@pytest.mark.parametrize(
    ("reply", "wanted"),
    [
        (Reply(True, b"", code="200"), (Outcome.OK, "200", "")),
        (Reply(False, b"", code="404", error="not found"), (Outcome.PERMANENT, "404", "not found")),
        (Reply(False, b"", code="500", error="x", transient=True), (Outcome.TRANSIENT, "500", "x")),
        (Reply(False, b"", code="5001", error="busy"), (Outcome.TRANSIENT, "5001", "busy")),
        (Reply(False, b"", code="3001", error="x", transient=True), (Outcome.REJECTED, "3001", "报文格式错误")),
        (Reply(False, b"", code="0", error="x"), (Outcome.OK, "0", "already known")),
        (Reply(False, b"", code="9", unavailable=True), (Outcome.UNREACHABLE, "9", "")),
    ],
)
def test_the_protocols_own_verdict(reply: Reply, wanted: tuple[Outcome, str, str]) -> None:
    assert brief(judge({"errors": ERRORS}, reply)) == wanted


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b'{"code":1001}', (Outcome.OK, "1001", "")),
        (b'{"code":3001,"message":"bad"}', (Outcome.REJECTED, "3001", "报文格式错误")),
        (b'{"code":"5001","message":"later"}', (Outcome.TRANSIENT, "5001", "later")),
        (b'{"code":0}', (Outcome.OK, "0", "already known")),
        (b'{"code":4711,"message":"never heard of"}', (Outcome.REJECTED, "4711", "never heard of")),
        (b'{"code":4711,"message":"ID 110101199003070011"}', (Outcome.REJECTED, "4711", "ID 110***********0011")),
    ],
)
def test_the_contracts_rules_on_the_body(body: bytes, wanted: tuple[Outcome, str, str]) -> None:
    assert brief(judge(BY_CODE, Reply(True, body, code="200", status=200))) == wanted


def test_a_refusal_without_a_word_says_that_the_contract_does_not_know_it() -> None:
    verdict = judge(BY_CODE, Reply(True, b'{"code":4711}', code="200"))
    assert (verdict.outcome, verdict.code, bool(verdict.error)) == (Outcome.REJECTED, "4711", True)


def test_an_answer_without_a_body_is_the_protocols_to_judge_where_nothing_says_what_success_is() -> None:
    words = {"reply": {"code": "code", "message": "message"}, "errors": ERRORS}
    assert brief(judge(words, Reply(True, b"", status=204, code="204"))) == (Outcome.OK, "204", "")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[", b'{"code":1001'])
def test_a_body_that_can_not_be_read(body: bytes) -> None:
    verdict = judge(BY_CODE, Reply(True, body, code="200"))
    assert (verdict.outcome, verdict.step, bool(verdict.error)) == (Outcome.TRANSIENT, "classify", True)
    # Where the protocol says no already, its own verdict stands.
    assert judge(BY_CODE, Reply(False, body, code="400", error="no")).outcome is Outcome.PERMANENT
    assert judge(BY_CODE, Reply(False, body, code="500", error="no", transient=True)).outcome is Outcome.TRANSIENT


def test_rules_may_look_at_the_protocol_too() -> None:
    contract = {"success": "$status == 200 and code == 1001"}
    assert judge(contract, Reply(True, b'{"code":1001}', code="200", status=200)).outcome is Outcome.OK
    assert judge(contract, Reply(True, b'{"code":1001}', code="202", status=202)).outcome is Outcome.REJECTED


def test_without_a_success_rule_the_protocol_decides_and_the_code_is_read() -> None:
    contract = {"reply": {"code": "code"}, "errors": ERRORS}
    assert brief(judge(contract, Reply(True, b'{"code":7}', code="200"))) == (Outcome.OK, "7", "")
    assert judge(contract, Reply(False, b'{"code":5001}', code="400")).outcome is Outcome.TRANSIENT


def test_a_reply_in_another_format() -> None:
    contract = {"reply": {"codec": "hl7v2", "code": "MSA-1", "message": "MSA-3"}, "success": "MSA-1 == 'AA'"}
    ack = b"MSH|^~\\&|A|B|C|D|20260101||ACK|1|P|2.5\rMSA|%s|1|because\r"
    assert judge(contract, Reply(True, ack % b"AA")).outcome is Outcome.OK
    assert brief(judge(contract, Reply(True, ack % b"AR"))) == (Outcome.REJECTED, "AR", "because")


def test_a_rule_that_fails_on_this_body_lets_it_be_tried_again() -> None:
    verdict = judge({"success": "(code | number) > 5"}, Reply(True, b'{"code":"none"}', code="200"))
    assert (verdict.outcome, verdict.step) == (Outcome.TRANSIENT, "classify")


def test_the_pause_a_target_asks_for_is_passed_on() -> None:
    assert judge({}, Reply(False, code="429", transient=True, retry_after=7)).retry_after == 7
    assert judge(BY_CODE, Reply(False, code="503", unavailable=True, retry_after=8)).retry_after == 8


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (UnreachableError("x"), Outcome.UNREACHABLE),
        (TransientError("x"), Outcome.TRANSIENT),
        (PermanentError("x"), Outcome.PERMANENT),
    ],
)
def test_errors_of_a_sender(error: Any, outcome: Outcome) -> None:
    verdict = Verdict.of_send_error(error)
    assert (verdict.outcome, verdict.step) == (outcome, "send")
