"""Browsers led on: only to http addresses an answer holds, never to what could forge a header or run as a script."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from adapters.http import HttpAdapter
from hub.api import HubError, Receipt
from hub.message import Outcome
from tests.adapters.http_support import MemoryIntake, bound_in, call, listening, on_both_loops

REQUEST = {"style": "request"}


@on_both_loops
async def test_a_browser_is_led_on() -> None:
    answer = {"location": "https://login.example/?a=%E4%B8%AD&b=1"}
    intake = MemoryIntake()
    intake.verdict = lambda raw: Receipt(Outcome.OK, 1, reply=orjson.dumps(answer))
    async with listening(intake, REQUEST, methods=["GET"], query_as_body=True, redirect="location") as receiver:
        found = await call(receiver, b"", method="GET", path="/in?client_id=c1")
    assert (found.status, found.headers["location"], found.json) == (303, answer["location"], answer)
    assert (found.headers["cache-control"], found.headers["referrer-policy"]) == ("no-store", "no-referrer")
    assert [orjson.loads(taken.raw) for taken in intake.taken] == [{"client_id": "c1"}]


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "//evil.example/",
        "/login",
        "https://a.example/\r\nSet-Cookie: a=1",
        "https://a.example/ b",
        "https://中.example/",
        "https://",
        "https://a.example/" + "x" * 8000,
        7,
        None,
        ["https://a.example/"],
    ],
)
async def test_nowhere_else(address: Any) -> None:
    intake = MemoryIntake()
    intake.verdict = lambda raw: Receipt(Outcome.OK, 1, reply=orjson.dumps({"location": address}))
    async with listening(intake, REQUEST, redirect="location") as receiver:
        found = await call(receiver, b"{}")
    assert (found.status, found.json["code"]) == (502, "http.redirect")
    assert "location" not in found.headers


@pytest.mark.parametrize("reply", [b"", b"[]", b"{}"])
async def test_an_answer_without_an_address(reply: bytes) -> None:
    intake = MemoryIntake()
    intake.verdict = lambda raw: Receipt(Outcome.OK, 1, reply=reply)
    async with listening(intake, REQUEST, redirect="location") as receiver:
        assert (await call(receiver, b"{}")).status == 502


@pytest.mark.parametrize(("style", "codec"), [("event", "json"), ("request", "xml")])
def test_only_where_an_answer_in_json_is_waited_for(style: str, codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bound = bound_in({"style": style}, redirect="location")
    monkeypatch.setattr(bound.codec, "name", codec, raising=True)
    with pytest.raises(HubError) as caught:
        HttpAdapter().receiver(bound, MemoryIntake())
    assert caught.value.code == "http.redirect"
