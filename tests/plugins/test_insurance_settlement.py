"""The flow 门诊医保结算 through a real hub: to its end, cancelled, refused, without an answer, and with the hub killed in between."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hub.flows.store import FlowStore, flows_file
from hub.node import salt_of
from tests.kernel.process import ROOT, HubProcess, Sink, wait_for
from tests.plugins.insurance_simulator import Insurance
from tests.plugins.insurance_site import DESK_TOKEN, Desk, call_of, make_site

_EXAMPLE = json.loads((ROOT / "plugins/insurance/insurance_desk/examples/settlement.json").read_text(encoding="utf-8"))


class Window:
    """A cashier: hands in settlements, reads what became of them."""

    def __init__(self, file: Path, platform: Insurance, told: Sink) -> None:
        self.file, self.platform, self.told = file, platform, told

    def on(self, hub: HubProcess) -> Window:
        self.hub = hub
        return self

    def begin(self, number: str) -> None:
        """Register a patient and hand in what is to be settled."""
        _, answer = Desk(self.hub).ask(call_of("2201", f"{number}-2201"))
        visit = answer["output"]["data"]["mdtrt_id"]
        order = json.loads(json.dumps(_EXAMPLE)) | {"requestId": f"{number}-1", "number": number}
        order["visit"]["mdtrt_id"] = order["settle"]["mdtrt_id"] = visit
        for row in order["fees"]:
            row["mdtrt_id"] = visit
        assert self.post(order) == 202

    def say(self, number: str, yes: bool) -> None:
        assert self.post({"requestId": f"{number}-2", "number": number, "confirm": yes}) == 202

    def post(self, body: dict[str, Any]) -> int:
        url = f"http://127.0.0.1:{self.hub.port('desk/settlement')}/insurance/settlements"
        request = urllib.request.Request(url, data=json.dumps(body).encode(), method="POST")
        request.add_header("Content-Type", "application/json")
        request.add_header("Authorization", f"Bearer {DESK_TOKEN}")
        with urllib.request.urlopen(request, timeout=30) as response:
            return int(response.status)

    def hears(self, number: str, state: str) -> dict[str, Any]:
        def find() -> dict[str, Any] | None:
            return next((b for _, b in list(self.told.bodies) if (b["number"], b["state"]) == (number, state)), None)

        found: dict[str, Any] = wait_for(find, f"{number} is {state}")
        return found

    def ends(self, number: str, end: str) -> None:
        def find() -> bool:
            store = FlowStore(flows_file(self.hub.data), salt_of(self.hub.data), writable=False)
            try:
                rows = [row.instance for row in store.instances(limit=100)]
            finally:
                store.close()
            return any((one.key, one.end) == (number, end) and one.state == "ended" for one in rows)

        wait_for(find, f"{number} ends as {end}")

    def made(self) -> list[str]:
        return [call["infno"] for call in self.platform.calls if call["infno"] not in ("9001", "2201")]


@pytest.fixture
def window(tmp_path: Path) -> Iterator[Window]:
    platform, told = Insurance(), Sink()
    file = make_site(tmp_path, platform.url, settlement={"timeout": "2s"})
    tree = yaml.safe_load(file.read_text("utf-8"))
    # Only this flow: the other one needs a system this hospital has not.
    (tmp_path / "flows").mkdir()
    flow = ROOT / "plugins" / "insurance" / "flows" / "insurance_settlement.yaml"
    (tmp_path / "flows" / flow.name).write_text(flow.read_text("utf-8"), encoding="utf-8")
    tree["systems"]["desk"]["settings"]["result_url"] = told.url
    file.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    try:
        yield Window(file, platform, told)
        assert platform.wrong == []
    finally:
        platform.close()
        told.close()


def test_to_the_end_cancelled_and_refused(window: Window) -> None:
    platform = window.platform
    with HubProcess(window.file) as hub:
        window.on(hub).begin("JS1")
        assert window.hears("JS1", "presettled")["setlinfo"]["psn_cash_pay"] == 15.48
        window.say("JS1", yes=True)
        settled = window.hears("JS1", "settled")["setlinfo"]
        assert settled["setl_id"] in platform.settled
        window.ends("JS1", "completed")
        assert window.made() == ["2203A", "2204", "2206A", "2207A"]

        before = len(window.made())
        window.begin("JS2")
        window.hears("JS2", "presettled")
        window.say("JS2", yes=False)
        window.ends("JS2", "cancelled")
        assert window.made()[before:] == ["2203A", "2204", "2206A", "2205"]

        before = len(window.made())
        platform.script["2206A"] = ["busy"] * 4
        window.begin("JS3")
        told = window.hears("JS3", "failed")
        assert (told["step"], told["message"]) == ("presettle", "系统繁忙，请稍后再试")
        window.ends("JS3", "failed")
        assert window.made()[before:] == ["2203A", "2204", *["2206A"] * 4, "2205"]
        assert len(platform.settled) == 1


def test_a_settlement_without_answer_is_reversed_and_its_fees_are_taken_back(window: Window) -> None:
    with HubProcess(window.file) as hub:
        window.on(hub).begin("JS1")
        window.hears("JS1", "presettled")
        window.platform.script["2207A"] = ["lost"]
        window.say("JS1", yes=True)
        assert window.hears("JS1", "failed")["step"] == "settle"
        window.ends("JS1", "failed")
        assert window.made() == ["2203A", "2204", "2206A", "2207A", "2601", "2205"]
        assert window.platform.reversed == [window.platform.of("2207A")[0]["msgid"]]
        assert window.platform.settled == {}


def test_killed_while_it_settles_the_hub_reverses_after_its_start(window: Window) -> None:
    window.platform.script["2207A"] = ["lost"]
    with HubProcess(window.file) as hub:
        window.on(hub).begin("JS1")
        window.hears("JS1", "presettled")
        window.say("JS1", yes=True)
        wait_for(lambda: window.platform.settled, "the settlement is carried out")
        hub.kill()
    with HubProcess(window.file) as hub:
        window.on(hub).ends("JS1", "failed")
        assert window.hears("JS1", "failed")["code"] == "delivery.interrupted"
        assert window.made() == ["2203A", "2204", "2206A", "2207A", "2601", "2205"]
        assert window.platform.settled == {}
