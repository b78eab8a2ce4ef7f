"""Calls of others: signatures, replays, answers in their own words, limits; over real sockets."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.http.limits import RateLimit, RateLimiter
from adapters.http.options import HttpListen
from adapters.http.problem import Refusal
from hub.api import HubError, Receipt, StoreBusy
from hub.message import Outcome
from tests.adapters.http_support import OPEN, Answer, MemoryIntake, call, listening, until

KEY = b"webhook-secret"
BODY = '{"no": 1, "name": "张三"}'.encode()


def signed(algorithm: str, data: bytes) -> bytes:
    return hmac.new(KEY, data, algorithm).digest()


# -- signatures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["sha256", "sha1", "sha512", "md5", "sm3"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
async def test_a_signature_over_the_body(algorithm: str, encoding: str) -> None:
    intake = MemoryIntake()
    signature = {
        "algorithm": f"hmac-{algorithm}",
        "secret": KEY.decode(),
        "at": {"header": "X-Signature"},
        "prefix": "v1=",
        "encoding": encoding,
    }
    made = signed(algorithm, BODY)
    text = made.hex() if encoding == "hex" else base64.b64encode(made).decode()
    async with listening(intake, {"security": [{"signature": signature}]}) as receiver:
        assert (await call(receiver, BODY, headers={"X-Signature": f"v1={text}"})).status == 202
        for wrong in (f"v1={text[:-2]}", f"v1={text}0", text, "v1=", "v1=张", f"v1={'0' * 5000}", ""):
            answer = await call(receiver, BODY, headers={"X-Signature": wrong.encode().decode("latin-1")})
            assert answer.status == 401
        assert (await call(receiver, BODY + b" ", headers={"X-Signature": f"v1={text}"})).status == 401
        assert (await call(receiver, BODY)).json["code"] == "security.signature_missing"
    assert [taken.raw for taken in intake.taken] == [BODY]
    assert {error.code for _, _, error in intake.refused} == {"security.signature_wrong", "security.signature_missing"}


async def test_the_sm3_of_the_standard() -> None:
    # GB/T 32905-2016, appendix A.1: the digest of "abc"
    digest = "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
    signature = {"algorithm": "sm3", "secret": "c", "at": {"query": "s"}, "text": "{body}{secret}"}
    async with listening(MemoryIntake(), {"security": [{"signature": signature}]}) as receiver:
        assert (await call(receiver, b"ab", path=f"/in?s={digest}")).status == 202


CANONICAL = {
    "secret": KEY.decode(),
    "at": {"header": "X-Sign"},
    "text": "{timestamp}\n{nonce}\n{body}",
    "values": {
        "timestamp": {"now": "ms", "at": {"header": "X-Time"}},
        "nonce": {"random": 32, "at": {"query": "nonce"}},
    },
    "window": "5m",
}


def canonical(nonce: str, at: float | None = None, body: bytes = BODY) -> tuple[str, dict[str, str]]:
    """Path and headers of a call signed as CANONICAL says."""
    stamp = str(int((time.time() if at is None else at) * 1000))
    made = signed("sha256", b"\n".join((stamp.encode(), nonce.encode(), body))).hex()
    return f"/in?nonce={nonce}", {"X-Sign": made, "X-Time": stamp}


async def test_a_call_that_comes_again_is_refused_and_one_that_was_not_stored_may_come_again() -> None:
    intake = MemoryIntake()
    async with listening(intake, {"security": [{"signature": CANONICAL}]}) as receiver:
        path, headers = canonical("n1")
        intake.verdict = lambda raw: Receipt(Outcome.REFUSED, error=StoreBusy("full"))
        assert (await call(receiver, BODY, path=path, headers=headers)).status == 503
        intake.verdict = lambda raw: Receipt(Outcome.OK, 1)
        assert (await call(receiver, BODY, path=path, headers=headers)).status == 202
        again = await call(receiver, BODY, path=path, headers=headers)
        assert (again.status, again.json["code"]) == (401, "security.replayed")
        other = path.replace("n1", "n2")  # the nonce is part of what is signed
        assert (await call(receiver, BODY, path=other, headers=headers)).json["code"] == "security.signature_wrong"
    assert len(intake.taken) == 2


@pytest.mark.parametrize("size", [100, 200_000])
async def test_the_same_call_twice_at_once_is_taken_once(size: int) -> None:
    intake = MemoryIntake()
    intake.at_once = False
    body = b'"%b"' % (b"x" * size)  # large ones are opened in threads
    async with listening(intake, {"security": [{"signature": CANONICAL}]}) as receiver:
        path, headers = canonical("n1", body=body)
        calls = [asyncio.create_task(call(receiver, body, path=path, headers=headers)) for _ in range(2)]
        await until(lambda: intake.waiting and intake.refused)
        intake.finish()
        assert sorted([(await each).status for each in calls]) == [202, 401]


@pytest.mark.parametrize("off", [-301, 301])
async def test_a_call_signed_long_ago_is_refused(off: int) -> None:
    intake = MemoryIntake()
    async with listening(intake, {"security": [{"signature": CANONICAL}]}) as receiver:
        path, headers = canonical("n1", time.time() + off)
        assert (await call(receiver, BODY, path=path, headers=headers)).json["code"] == "security.time"
    assert intake.taken == []


async def test_sorted_parts_with_the_secret_among_them() -> None:
    signature = {
        "algorithm": "sha1",
        "secret": KEY.decode(),
        "at": {"query": "signature"},
        "sorted": ["{secret}", "{timestamp}", "{nonce}"],
        "values": {
            "timestamp": {"now": "s", "at": {"query": "timestamp"}},
            "nonce": {"random": 8, "at": {"query": "nonce"}},
        },
    }
    stamp = str(int(time.time()))
    made = hashlib.sha1(b"".join(sorted((KEY, stamp.encode(), b"9x")))).hexdigest()
    intake = MemoryIntake()
    contract = {"security": [{"signature": signature}]}
    async with listening(intake, contract, methods=["GET"], query_as_body=True) as receiver:
        path = f"/in?signature={made}&timestamp={stamp}&nonce=9x"
        assert (await call(receiver, b"", method="GET", path=path)).status == 202
        assert (await call(receiver, b"", method="GET", path=path.replace("9x", "9y"))).status == 401


# -- answers -----------------------------------------------------------------------------------------------------------


async def test_answers_in_the_callers_words() -> None:
    replies = {
        "accepted": {"body": {"code": 0, "msg": "success", "id": "{message_id}"}},
        "refused": {"status": 200, "body": {"code": "{status}", "msg": "{code}: {message}"}},
    }
    intake = MemoryIntake()
    async with listening(intake, replies=replies, auth={"type": "bearer", "secret": "t"}) as receiver:
        good = await call(receiver, headers={"Authorization": "Bearer t"})
        assert (good.status, good.headers["content-type"]) == (200, "application/json")
        assert good.json["code"] == 0
        assert len(good.json["id"]) == 13
        stranger = await call(receiver, headers={"Accept-Language": "en"})
        assert (stranger.status, stranger.json["code"]) == (200, 401)
        assert stranger.json["msg"] == "http.auth_missing: the header Authorization is missing"
        intake.verdict = lambda raw: Receipt(Outcome.REFUSED, error=StoreBusy("full"))
        busy = await call(receiver, headers={"Authorization": "Bearer t"})
        assert (busy.json["code"], busy.headers["retry-after"]) == (503, "5")


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ("SUCCESS", "text/plain; charset=utf-8", b"SUCCESS"),
        ("<r><m>{message}</m></r>", "application/xml; charset=utf-8", b"<r><m>a &lt;b&gt;</m></r>"),
    ],
)
async def test_answers_as_text_and_xml(body: str, kind: str, said: bytes) -> None:
    intake = MemoryIntake()
    intake.verdict = lambda raw: Receipt(Outcome.REFUSED, error=HubError("a <b>"))
    async with listening(intake, replies={"refused": {"body": body}}) as receiver:
        answer = await call(receiver)
    assert (answer.status, answer.headers["content-type"], answer.body) == (422, kind, said)


# -- limits ------------------------------------------------------------------------------------------------------------


async def test_too_many_calls_are_told_when_to_come_again() -> None:
    intake = MemoryIntake()
    async with listening(intake, rate={"calls": 2, "within": "1h"}) as receiver:
        answers = [await call(receiver) for _ in range(3)]
    assert [answer.status for answer in answers] == [202, 202, 429]
    assert (answers[2].json["code"], int(answers[2].headers["retry-after"])) == ("http.rate", 1800)
    assert len(intake.taken) == 2


async def test_each_credential_has_its_own_allowance_and_wrong_ones_use_up_none() -> None:
    intake = MemoryIntake()
    auth = {"type": "bearer", "secret": "t"}
    async with listening(intake, rate={"calls": 1, "within": "1h", "per": "credentials"}, auth=auth) as receiver:
        statuses = [
            (await call(receiver, headers={"Authorization": f"Bearer {token}"})).status
            for token in ("x", "x", "t", "t")
        ]
    assert statuses == [401, 401, 202, 429]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 3)), max_size=60))
def test_never_more_calls_than_allowed(calls: list[tuple[str, float]]) -> None:
    limiter = RateLimiter(RateLimit(calls=3, within=2.0))
    now = 0.0
    taken: dict[str, list[float]] = {"a": [], "b": []}
    for caller, pause in calls:
        now += pause
        with contextlib.suppress(Refusal):
            limiter.take(caller, now)
            taken[caller].append(now)
    for times in taken.values():
        for first in range(len(times)):
            for last in range(first, len(times)):
                assert last - first + 1 <= 3 + (times[last] - times[first]) * 1.5 + 1e-6


async def test_calls_beyond_the_concurrency_are_refused() -> None:
    intake = MemoryIntake()
    intake.at_once = False
    async with listening(intake, concurrency=2) as receiver:
        under_way = [asyncio.create_task(call(receiver)) for _ in range(2)]
        await until(lambda: len(intake.waiting) == 2)
        third: Answer = await call(receiver)
        assert (third.status, third.json["code"], third.headers["retry-after"]) == (503, "http.concurrency", "5")
        intake.finish()
        intake.finish()
        assert [(await each).status for each in under_way] == [202, 202]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"replies": {"accepted": {"body": "{code}"}}}, "{code}"),
        ({"replies": {"accepted": {"status": 204, "body": "x"}}}, "204"),
        ({"rate": {"calls": 1, "per": "credentials"}}, "credentials"),
    ],
)
def test_options_that_can_not_work_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as raised:
        HttpListen.model_validate({"path": "/in", "auth": OPEN, **options})
    assert says in str(raised.value)
