"""Request style: what a caller is told when the target refuses, fails, or is not asked at all."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from hub.api import ExchangeError, Outgoing, PermanentError, Receipt, Reply, TransientError
from hub.message import DeliveryState, Outcome
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Hub, Site
from tests.kernel.wire import Peer

ASK = {"id": "q1", "type": "query", "key": "a"}


def asked(site: Site, ask: dict[str, Any] | None = None, **contract: Any) -> Peer:
    peer = site.target(**contract)
    site.system("his", "his", ask=ask or {}, **{"in": "off"})
    return peer


async def failed(hub: Hub, number: str = "q1") -> tuple[Receipt, ExchangeError]:
    receipt = await hub.wire.submit("his/ask", {**ASK, "id": number})
    assert receipt.outcome is Outcome.FAILED
    assert not receipt.accepted
    assert isinstance(receipt.error, ExchangeError)
    return receipt, receipt.error


def answers(reply: Reply) -> Any:
    return lambda outgoing: reply


@pytest.mark.parametrize(
    ("reply", "kind", "passing"),
    [
        (Reply(False, b"{}", status=422, code="422", error="no such patient"), "refused", False),
        (Reply(False, b"{}", status=404, code="404"), "refused", False),
        (Reply(True, b'{"code":7}', status=200, code="200"), "refused", False),
        (Reply(True, b'{"code":9}', status=200, code="200"), "failed", True),
        (Reply(False, b"{}", status=500, code="500", transient=True), "failed", True),
    ],
)
async def test_whose_fault_it_is_and_what_the_target_said(
    site: Site, start: StartHub, reply: Reply, kind: str, passing: bool
) -> None:
    peer = asked(
        site,
        success="code == 0" if reply.ok else "",
        reply={"code": "code"},
        errors={"9": {"class": "transient"}, "7": {"text": "余额不足"}},
        retry={"attempts": 1, "interval": "1ms"},
    )
    peer.react = answers(reply)
    hub = await start(site)
    receipt, error = await failed(hub)
    code = str(orjson.loads(reply.body).get("code", reply.code))
    assert (error.kind, error.passing, error.reply_code, error.status) == (kind, passing, code, reply.status)
    assert (receipt.message_id > 0, receipt.reply) == (True, None)
    if code == "7":
        assert "余额不足" in error.text
    # The same request again: answered alike, and the target is left in peace.
    calls = len(peer.calls)
    again, repeated = await failed(hub)
    assert (repeated.kind, repeated.reply_code, again.message_id) == (kind, code, receipt.message_id)
    assert len(peer.calls) == calls


async def test_what_the_hub_itself_can_not_do_is_not_the_targets_fault(site: Site, start: StartHub) -> None:
    asked(site, mapping="strict")
    site.mapping("strict", "from: {codec: json}\nto: {codec: json}\nfields: {id: {expr: missing, required: true}}\n")
    hub = await start(site)
    _, error = await failed(hub)
    assert error.kind == "hub"


@pytest.mark.parametrize("error", [PermanentError("no", code="x.no"), TransientError("lost", code="send.timeout")])
async def test_a_call_without_a_reply(site: Site, start: StartHub, error: Exception) -> None:
    peer = asked(site, retry={"attempts": 0})

    def fail(outgoing: Outgoing) -> Reply:
        raise error

    peer.react = fail
    hub = await start(site)
    _, told = await failed(hub)
    wanted = "refused" if isinstance(error, PermanentError) else "failed"
    assert (told.kind, told.status) == (wanted, 0)


async def test_personal_data_in_what_a_target_says_is_masked(site: Site, start: StartHub) -> None:
    peer = asked(site)
    peer.react = answers(Reply(False, b"{}", status=422, code="422", error="11010119900307889X is unknown"))
    hub = await start(site)
    _, error = await failed(hub)
    assert "11010119900307889X" not in error.text
    assert "is unknown" in error.text


async def test_the_body_of_a_refusal_goes_through_its_mapping(site: Site, start: StartHub) -> None:
    site.mapping(
        "no",
        "from: {codec: json}\nto: {codec: json}\nfields: {why: detail.text, status: $status, id: $message.control_id}\n",
    )
    peer = asked(site, ask={"error_mapping": "no"})
    peer.react = answers(Reply(False, b'{"detail":{"text":"unknown"}}', status=422, code="422"))
    hub = await start(site)
    receipt, error = await failed(hub)
    assert orjson.loads(receipt.reply or b"") == {"why": "unknown", "status": 422, "id": "q1"}
    assert error.kind == "refused"
    again, _ = await failed(hub)
    assert orjson.loads(again.reply or b"") == {"why": "unknown", "status": 422, "id": "q1"}


async def test_a_refusal_that_can_not_be_mapped_is_told_in_the_protocols_own_form(site: Site, start: StartHub) -> None:
    site.mapping("no", "from: {codec: json}\nto: {codec: json}\nfields: {why: detail.text}\n")
    peer = asked(site, ask={"error_mapping": "no"})
    peer.react = answers(Reply(False, b"<html>", status=422, code="422"))
    hub = await start(site)
    receipt, error = await failed(hub)
    assert (receipt.reply, error.kind, error.status) == (None, "refused", 422)


async def test_a_request_that_is_tried_again_is_still_pending(site: Site, start: StartHub) -> None:
    peer = asked(site, retry={"attempts": 100, "interval": "5m"})
    peer.react = answers(Reply(False, b"{}", status=500, code="500", transient=True))
    site.config["intake"] = {"request_timeout": "50ms"}
    hub = await start(site)
    _, late = await failed(hub)
    assert (late.kind, late.code) == ("late", "request.timeout")
    await hub.reached(DeliveryState.RETRYING)
    _, pending = await failed(hub)
    assert (pending.kind, pending.code) == ("pending", "request.pending")


async def test_many_callers_each_get_their_own_refusal(site: Site, start: StartHub) -> None:
    peer = asked(site, order_by="")
    peer.react = lambda outgoing: Reply(False, b"{}", status=422, code=outgoing.control_id)
    hub = await start(site)
    told = await asyncio.gather(*(failed(hub, f"q{number}") for number in range(20)))
    assert [error.reply_code for _, error in told] == [f"q{number}" for number in range(20)]
