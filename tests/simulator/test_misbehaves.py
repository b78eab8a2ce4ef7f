"""On the wire: what each way to misbehave looks like to a client that is not the hub's."""

from __future__ import annotations

import http.client
import json
import socket
import time
import urllib.error
import urllib.request
from typing import Any

import pytest

from hub.errors import HubError
from hub.simulator import Behaviour, Simulator
from hub.simulator.control import Control
from tests.simulator.simulator_support import Played, post


@pytest.fixture
def gateway(party: Played) -> Simulator:
    return party.start("sms_gateway", seed=3)


def call(simulator: Simulator, timeout: float = 10.0) -> tuple[int, dict[str, str], bytes]:
    url = simulator.settings["base_url"] + "/sms/v1/messages"
    headers = {"X-Api-Key": simulator.settings["api_key"], "Content-Type": "application/json"}
    body = json.dumps({"phone": "13900000000", "signature": "样例医院", "text": "您好"}).encode()
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def test_a_status_with_retry_after(gateway: Simulator) -> None:
    gateway.misbehave("send", Behaviour("status", "429", 7))
    status, headers, _ = call(gateway)
    assert (status, headers["Retry-After"]) == (429, "7")
    assert call(gateway)[0] == 200


def test_each_declared_error_is_answered_in_its_place(gateway: Simulator) -> None:
    codes = gateway.errors("send")
    assert "isv.OUT_OF_SERVICE" in codes
    for code in codes:
        gateway.misbehave("*", Behaviour("error", code))
        assert json.loads(call(gateway)[2])["code"] == code
    assert json.loads(call(gateway)[2])["code"] == "OK"


def test_reset_in_the_middle_of_the_answer(gateway: Simulator) -> None:
    gateway.misbehave("send", Behaviour("reset"))
    with pytest.raises((ConnectionError, http.client.IncompleteRead)):
        call(gateway)


def test_half_an_answer(gateway: Simulator) -> None:
    gateway.misbehave("send", Behaviour("truncated"))
    with pytest.raises(http.client.IncompleteRead):
        call(gateway)


def test_a_connection_closed_without_an_answer(gateway: Simulator) -> None:
    gateway.misbehave("send", Behaviour("refuse"))
    with pytest.raises((ConnectionError, urllib.error.URLError)):
        call(gateway)
    assert gateway.calls[-1].verdict == "misbehaved"


def test_garbage_is_no_json(gateway: Simulator) -> None:
    gateway.misbehave("send", Behaviour("garbage"))
    with pytest.raises(ValueError):
        json.loads(call(gateway)[2])


def test_silence_lasts_until_the_caller_gives_up(gateway: Simulator) -> None:
    gateway.misbehave("send", Behaviour("silent"))
    with pytest.raises((TimeoutError, urllib.error.URLError, socket.timeout)):
        call(gateway, 0.3)
    assert call(gateway)[0] == 200


def test_a_late_answer_is_late(gateway: Simulator) -> None:
    gateway.misbehave("send", Behaviour("delay", seconds=0.3))
    began = time.monotonic()
    assert call(gateway)[0] == 200
    assert time.monotonic() - began >= 0.3


def test_a_wrong_signature_needs_one(gateway: Simulator) -> None:
    with pytest.raises(HubError) as caught:
        gateway.misbehave("send", Behaviour("wrong_signature"))
    assert caught.value.code == "simulate.not_signed"
    with pytest.raises(HubError):
        gateway.misbehave("sned", Behaviour("garbage"))


def test_the_control_address_asks_for_its_token_and_masks_bodies(party: Played, gateway: Simulator) -> None:
    control = Control(gateway)
    party.run(control.start())
    url = f"http://127.0.0.1:{control.port}"
    bearer = {"Authorization": f"Bearer {control.token}"}

    def ask(path: str, body: dict[str, Any] | None = None, headers: dict[str, str] = bearer) -> tuple[int, Any]:
        status, _, answer = post(url + path, body, headers, "GET" if body is None else "POST")
        return status, json.loads(answer)

    try:
        assert ask("/status", headers={})[0] == 401
        assert ask("/misbehave", {"interface": "send", "behaviour": "garbage"}, {"Authorization": "Bearer x"})[0] == 401
        assert ask("/misbehave", {"interface": "send", "behaviour": "explode"})[0] == 422
        assert ask("/misbehave", {"interface": "send"})[0] == 400
        assert ask("/misbehave", {"interface": "send", "behaviour": "error:isv.OUT_OF_SERVICE", "times": 2})[0] == 200
        assert json.loads(call(gateway)[2])["code"] == "isv.OUT_OF_SERVICE"
        assert ask("/behave", {})[1] == {"misbehaving": []}
        assert json.loads(call(gateway)[2])["code"] == "OK"
        told = ask("/calls?interface=send")[1]
        assert [one["verdict"] for one in told["calls"]] == ["misbehaved", "accepted"]
        assert "13900000000" not in json.dumps(told)
    finally:
        party.run(control.stop())
