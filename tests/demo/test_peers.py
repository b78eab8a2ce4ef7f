"""The stand-ins of the demo are strict, remember what they were told, and misbehave only on demand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.masking import is_id_number
from tests.demo.peers import Gateway
from tests.demo.people import citizen_number, credit_code, patients

NOTICE = {
    "phone": "19900000001",
    "signature": "演示",
    "template": "T",
    "parameters": {"patient": "赵"},
    "text": "您好",
    "reference": "R1",
}


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    peer = Gateway("the-key")
    await peer.start(0)
    yield peer
    await peer.stop()


async def post(peer: Gateway, document: Any, key: str = "k1", secret: str = "the-key") -> tuple[int, Any]:
    headers = {"X-Api-Key": secret, "Idempotency-Key": key}
    url = f"http://127.0.0.1:{peer.port}/sms/v1/messages"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=json.dumps(document), headers=headers) as reply,
    ):
        return reply.status, await reply.json()


async def test_a_good_document_takes_effect_once(gateway: Gateway) -> None:
    first = await post(gateway, NOTICE)
    again = await post(gateway, NOTICE)
    assert first == again == (200, {"code": "OK", "message": "sent"})
    assert (len(gateway.taken), gateway.repeated, gateway.calls) == (1, 1, 2)


async def test_a_wrong_secret_and_a_wrong_document_take_no_effect(gateway: Gateway) -> None:
    assert (await post(gateway, NOTICE, secret="guessed"))[0] == 401
    status, body = await post(gateway, {**NOTICE, "phone": "abc"})
    assert (status, body["code"]) == (400, "isv.INVALID_PARAMETERS")
    assert "phone: not digits" in body["message"]
    assert gateway.taken == []


async def test_a_call_without_a_key_is_refused(gateway: Gateway) -> None:
    assert (await post(gateway, NOTICE, key=""))[0] == 400
    assert gateway.taken == []


async def test_busy_is_said_once(gateway: Gateway) -> None:
    gateway.faults.append("busy")
    assert (await post(gateway, NOTICE))[0] == 429
    assert (await post(gateway, NOTICE))[0] == 200


async def test_a_lost_reply_is_known_the_next_time(gateway: Gateway) -> None:
    gateway.faults.append("lose_reply")
    with pytest.raises(aiohttp.ClientError):
        await post(gateway, NOTICE)
    assert len(gateway.taken) == 1
    assert (await post(gateway, NOTICE))[0] == 200
    assert (len(gateway.taken), gateway.repeated) == (1, 1)


async def test_away_means_nobody_answers_and_the_port_stays_ours(gateway: Gateway) -> None:
    port = gateway.port
    await gateway.go_away()
    with pytest.raises(aiohttp.ClientConnectorError):
        await post(gateway, NOTICE)
    await gateway.come_back()
    assert gateway.port == port
    assert (await post(gateway, NOTICE))[0] == 200


@given(st.dates(), st.integers(1, 999))
def test_citizen_numbers_have_right_check_characters(day: Any, order: int) -> None:
    number = citizen_number(f"{max(day.year, 1900):04}{day.month:02}{min(day.day, 28):02}", order)
    assert len(number) == 18
    if 1900 <= day.year < 2100:
        assert is_id_number(number)


@given(st.integers(0, 9999))
def test_credit_codes_have_right_check_characters(order: int) -> None:
    code = credit_code(order)
    alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    assert len(code) == 18
    # GB 32100-2015: the weighted sum including the check character is divisible by 31.
    weights = [pow(3, place, 31) for place in range(17)] + [1]
    assert sum(alphabet.index(char) * weight for char, weight in zip(code, weights, strict=True)) % 31 == 0


def test_patients_differ() -> None:
    people = patients(60)
    assert len({p.citizen for p in people}) == len({p.id for p in people}) == 60
    assert all(is_id_number(p.citizen) for p in people)
    assert {p.citizen[:6] for p in people} == {"359999"}
