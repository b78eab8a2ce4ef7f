"""Short messages over CMPP: real hub processes, and a gateway that shares no code with them, checks every byte and misbehaves."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from tests.adapters.cmpp.ismg import Ismg, Script
from tests.kernel.process import ROOT, HubProcess, Sink, wait_for

DESK = """
id: sms_desk
name: 通知
interfaces:
  notice:
    direction: in
    adapter: http
    listen: {port: 0, path: /notices, auth: {type: none}}
    codec: json
    type: concat('sms.', channel)
    control_id: number
    validate: {mode: strict, schema: sms/notice.json}
  receipt:
    direction: out
    adapter: http
    connect: {url: "${url}/receipts"}
    codec: json
    order_by: ""
settings: {url: {type: url, required: true}}
"""


def site(folder: Path, ismg: Ismg, sink: Sink, night: str, **settings: Any) -> Path:
    (folder / "plugins" / "sms_desk").mkdir(parents=True)
    (folder / "plugins" / "sms_desk" / "plugin.yaml").write_text(DESK, encoding="utf-8")
    (folder / "config").mkdir()
    (folder / "password").write_text("secret")
    (folder / "password").chmod(0o600)
    quick = {
        "retry": {"attempts": 4, "interval": "50ms"},
        "breaker": {"failures": 1000, "open_for": "50ms", "max_open_for": "100ms"},
    }
    gateway = {
        "plugin": "cmpp_gateway",
        "settings": {
            "host": "127.0.0.1",
            "port": ismg.port,
            "account": "901234",
            "password": "file:../password",
            "src_id": "10690001",
            "sign_name": "样例医院",
            "hours": "00:00-24:00",
            **settings,
        },
        "interfaces": {"send": quick, "code": quick},
    }
    config: dict[str, Any] = {
        "plugins": ["../plugins", str(ROOT / "plugins" / "messaging")],
        "mappings": [str(ROOT / "mappings")],
        "schemas": [str(ROOT / "schemas")],
        "watch": False,
        "store": {"path": "../var", "min_free_disk": 0},
        "admin": {"port": 0},
        "systems": {
            "desk": {"plugin": "sms_desk", "settings": {"url": sink.url}},
            "gateway": gateway,
        },
        "routes": {
            "notices": {"from": "desk", "types": ["sms.notice"], "to": "gateway/send"},
            "codes": {"from": "desk", "types": ["sms.code"], "to": "gateway/code"},
            "receipts": {
                "from": "gateway/report",
                "types": ["sms.report"],
                "to": "desk/receipt",
                "mapping": "cmpp_gateway/receipt",
            },
        },
    }
    if night:
        config["systems"]["night"] = {**gateway, "settings": {**gateway["settings"], "hours": night}}
        config["routes"]["night"] = {"from": "desk", "types": ["sms.notice.night"], "to": "night/send"}
    file = folder / "config" / "hub.yaml"
    file.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    return file


class Live:
    """A hub with two systems on one gateway: ``gateway`` sends at any time, ``night`` not at this time of day."""

    def __init__(self, folder: Path) -> None:
        self.ismg, self.sink = Ismg(), Sink()
        begin = datetime.now(ZoneInfo("Asia/Shanghai")) + timedelta(hours=3)
        self.opens = f"{begin:%H:%M}"
        self.hub = HubProcess(site(folder, self.ismg, self.sink, f"{self.opens}-{begin + timedelta(hours=6):%H:%M}"))

    def reset(self) -> None:
        """Between two tests: the gateway behaves, both connections of ``gateway`` are there, nothing is remembered."""
        self.ismg.script = Script()
        self.ismg.wait(lambda: sum(1 for link in self.ismg.links if link.version) == 4, "the connections")
        assert self.ismg.wrong == []
        for kept in (self.ismg.sms, self.ismg.deliver_answers, self.sink.bodies):
            kept.clear()

    def close(self) -> None:
        self.hub.stop()
        self.ismg.close()
        self.sink.close()
        assert self.ismg.wrong == []


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    found = Live(tmp_path_factory.mktemp("cmpp"))
    yield found
    found.close()


@pytest.fixture
def live(running: Live) -> Live:
    running.reset()
    return running


def post(hub: HubProcess, *numbers: str, channel: str = "notice", **more: Any) -> None:
    url = f"http://127.0.0.1:{hub.port('desk/notice')}/notices"
    for number in numbers:
        notice = {"number": number, "channel": channel, "phone": "13900000000", **more}
        if "template" not in notice:
            notice.setdefault("text", f"编号{number}")
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(notice).encode()), timeout=30) as answer:
            assert answer.status == 202


def deliveries(hub: HubProcess, **query: str) -> list[dict[str, Any]]:
    words = "&".join(f"{name}={value}" for name, value in query.items())
    return list(hub.call("GET", f"/api/v1/deliveries?limit=1000&{words}").json["deliveries"])


def calls(hub: HubProcess, place: str) -> list[dict[str, Any]]:
    return list(hub.call("GET", f"/api/v1/calls?place={place}&limit=1000").json["calls"])


def test_a_notice_and_its_receipt(live: Live) -> None:
    """The report comes before SUBMIT_RESP, with Msg_Id the other way round."""
    hub, ismg, sink = live.hub, live.ismg, live.sink
    script = ismg.script
    script.report = "DELIVRD"
    script.report_first = script.turned = True
    parameters = {"patient": "王", "date": "11月28日"}
    post(hub, "R1", template="LAB_REPORT_READY", parameters=parameters)
    post(hub, "R2", channel="code", template="VERIFICATION_CODE", parameters={"code": "012345", "minutes": 5})
    wait_for(lambda: len(sink.bodies) == 2, "both receipts")
    assert {body["number"]: (body["state"], body["text"]) for _, body in sink.bodies} == {
        "R1": ("delivered", "已送达"),
        "R2": ("delivered", "已送达"),
    }
    assert sorted(sms.text for sms in ismg.sms) == [
        "【样例医院】王**，您11月28日的检验报告已完成，请登录就诊平台查看。",
        "【样例医院】验证码012345，5分钟内有效，请勿告知他人。",
    ]


def test_every_part_of_a_long_text_is_reported_to_whoever_wrote_it(live: Live) -> None:
    """One part that did not arrive must not be lost among those that did."""
    ismg, sink = live.ismg, live.sink
    ismg.script.report, ismg.script.report_behind = "DELIVRD", True
    post(live.hub, "L1", text="长" * 150)
    wait_for(lambda: len(sink.bodies) == 3, "a receipt for each part")
    assert {(body["number"], body["receipt"]) for _, body in sink.bodies} == {
        ("L1", str(sms.msg_id)) for sms in ismg.sms
    }


def test_a_report_that_comes_twice_is_one(live: Live) -> None:
    hub, ismg = live.hub, live.ismg
    post(hub, "D1")
    wait_for(lambda: ismg.sms, "the message")
    for _ in range(3):
        ismg.report_of(ismg.sms[0], "EXPIRED")
    wait_for(lambda: len(ismg.deliver_answers) == 3, "the answers")
    wait_for(lambda: live.sink.bodies, "the receipt")
    found = hub.call("GET", "/api/v1/messages?type=sms.report&since=-1h").json["messages"]
    assert len([row for row in found if row["control_id"].startswith(f"{ismg.sms[0].msg_id}-")]) == 1
    assert {result for _, _, result in ismg.deliver_answers} == {0}
    assert [(body["number"], body["state"]) for _, body in live.sink.bodies] == [("D1", "expired")]


def test_what_the_gateway_refuses(live: Live) -> None:
    hub, ismg = live.hub, live.ismg
    ismg.script.results = [8, 8, 0]
    begun = len(calls(hub, "gateway/send"))
    post(hub, "T1")
    wait_for(lambda: ismg.sms, "the third try")
    found = wait_for(lambda: (rows := calls(hub, "gateway/send"))[: len(rows) - begun][2:] and rows[:3], "three calls")
    assert [call["code"] for call in reversed(found)] == ["8", "8", "0"]
    ismg.script.results = [13]
    post(hub, "T2")
    post(hub, "T4", channel="code", template="LAB_REPORT_READY", parameters={})
    dead = wait_for(lambda: (rows := deliveries(hub, state="dead"))[1:] and rows, "two dead letters")
    assert any("目的号码错误" in row["reason"] for row in dead)
    with pytest.raises(urllib.error.HTTPError):  # refused before it is stored
        post(hub, "T3", text="")
    assert [sms.text for sms in ismg.sms] == ["【样例医院】编号T1"]


def test_a_wrong_password_and_nobody_there(live: Live) -> None:
    hub, ismg = live.hub, live.ismg
    ismg.script.secret = b"another"
    ismg.cut()
    begun = len(ismg.connects)
    ismg.wait(lambda: len(ismg.connects) > begun, "another login")
    post(hub, "W1")
    found = wait_for(lambda: [c for c in calls(hub, "gateway/send") if c["code"] == "cmpp.login"], "a call")
    assert found[0]["outcome"] == "unreachable"
    ismg.stop_listening()
    wait_for(lambda: calls(hub, "gateway/send")[0]["code"] == "cmpp.unreachable", "another reason")
    ismg.script.secret = b"secret"
    ismg.listen_again()
    wait_for(lambda: ismg.sms, "the message")
    assert [sms.text for sms in ismg.sms] == ["【样例医院】编号W1"]
    done = wait_for(lambda: calls(hub, "gateway/send")[0]["code"] == "0" and calls(hub, "gateway/send")[0], "the call")
    assert done["attempt"] == 1  # while nobody was there no try was used up


def test_quiet_hours(live: Live) -> None:
    """At this time of day only what may not wait."""
    hub, ismg = live.hub, live.ismg
    post(hub, "Q1", channel="notice.night")
    post(hub, "Q2", channel="notice.night", urgent=True)
    wait_for(lambda: len(ismg.sms) == 1, "what may not wait")
    (waiting,) = wait_for(lambda: [d for d in deliveries(hub, state="pending") if d["step"] == "hours"], "the other")
    assert f"{live.opens} (Asia/Shanghai)" in waiting["reason"]
    assert [sms.text for sms in ismg.sms] == ["【样例医院】编号Q2"]


def test_killed_under_load(tmp_path: Path) -> None:
    """Nothing is lost, and nothing twice but what was under way: SUBMIT has no key by which a gateway could tell."""
    ismg, sink = Ismg(report="DELIVRD"), Sink()
    file = site(tmp_path, ismg, sink, "", window=4)
    numbers = [f"N{n}" for n in range(120)]
    text = "退订".encode("utf-16-be")
    half = [b"\x05\x00\x03\x07\x02" + bytes((n,)) + text for n in (1, 2)]
    with HubProcess(file) as hub:
        post(hub, *numbers[:60])
        wait_for(lambda: len(ismg.sms) > 20, "some are sent")
        part = ismg.deliver(half[1], fmt=8, udhi=1, msg_id=501)
        wait_for(lambda: ismg.answer_of(part) == 0, "the answer to a part")
        hub.kill()
    with HubProcess(file) as hub:
        post(hub, *numbers[60:])
        ismg.cut()
        delivered = {"state": "delivered", "target": "gateway/send"}
        wait_for(lambda: len(deliveries(hub, **delivered)) == len(numbers), "each is sent")
        ismg.wait(lambda: sum(1 for link in ismg.links if link.version) == 2, "the connections")
        ismg.repeat_reports()  # those that met the kill or the cut
        wait_for(lambda: len({body["number"] for _, body in sink.bodies}) == len(numbers), "a receipt for each")
        hub.settled()
        for _ in range(2):  # sent again by the gateway, for want of an answer
            part = ismg.deliver(half[0], fmt=8, udhi=1, msg_id=500)
            wait_for(lambda at=part: ismg.answer_of(at) == 0, "the answer to the other part")
        (found,) = hub.call("GET", "/api/v1/messages?type=sms.message").json["messages"]
        assert json.loads(hub.call("GET", f"/api/v1/messages/{found['id']}/raw").body)["text"] == "退订退订"
    ismg.close()
    sink.close()
    assert ismg.wrong == []
    sent = Counter(sms.text.removeprefix("【样例医院】编号") for sms in ismg.sms)
    assert set(sent) == set(numbers)
    # Sent again: what had no answer on record when the hub was killed, and when the connection was cut.
    assert sum(sent.values()) - len(numbers) <= 60
