"""A real hub process between callers and simulators: every plugin's interfaces are called, answered and read as declared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hub.simulator import Behaviour, Simulator
from tests.kernel.process import ROOT, HubProcess, wait_for
from tests.simulator.simulator_support import GROUPS, Played, played, plugins, post

#: Played for the hub's calls; with each example of each ``out`` interface.
TARGETS = (
    "freight_exchange",
    "freight_ministry",
    "freight_shaanxi",
    "freight_tianjin",
    "logink_exchange",
    "vehicle_platform",
    "logink_gateway",
    "medical_insurance",
    "mobile_insurance_payment",
    "sms_gateway",
)
#: Examples of the other plugins are made by the hub's own mappings: business systems call it.
DESK = ("payment_desk", "wechat_pay", "alipay")


class Site:
    def __init__(self, party: Played, folder: Path) -> None:
        self.party = party
        self.simulators: dict[str, Simulator] = {}
        self.calls: list[tuple[str, str, bytes]] = []  # plugin, interface, example
        self.folder = folder
        self.file = self._write()

    def _write(self) -> Path:
        entry: dict[str, Any] = {}
        systems: dict[str, Any] = {}
        routes: dict[str, Any] = {}
        quick = {
            "retry": {"attempts": 2, "interval": "20ms"},
            "breaker": {"failures": 1000, "open_for": "50ms", "max_open_for": "100ms"},
        }
        for name in (*TARGETS, *DESK):
            simulator = self.simulators[name] = self.party.start(name, lenient=name == "mobile_insurance_payment")
            systems[name] = self.party.system(name, simulator, self.folder / "secrets")
            plugin = plugins()[0].plugins[name]
            if name in DESK:
                continue
            systems[name]["interfaces"] = {}
            for interface, contract in plugin.contract.interfaces.items():
                if contract.adapter == "results":
                    continue
                if contract.direction != "out" or interface not in simulator.interfaces:
                    systems[name]["interfaces"][interface] = "off"
                    continue
                own = {**quick, "mapping": "", "accepts": "*", "order_by": ""}
                if contract.retry is not None and not contract.retry.attempts:
                    del own["retry"]  # money moves: it is sent once
                systems[name]["interfaces"][interface] = own
                examples = [(plugin.folder / one).read_bytes() for one in contract.examples]
                self.calls += [(name, interface, body) for body in examples]
                entry[f"{name}_{interface}"] = {
                    "direction": "in",
                    "style": "request",
                    "adapter": "http",
                    "listen": {"port": 0, "path": f"/{name}/{interface}", "auth": {"type": "none"}},
                    "codec": contract.codec,
                    "type": "'call'",
                }
                routes[f"{name}_{interface}"] = {"from": f"entry/{name}_{interface}", "to": f"{name}/{interface}"}
        systems["entry"] = {"plugin": "entry"}
        systems["wechat_pay"]["interfaces"] = {"jsapi": "off", **dict.fromkeys(("native", "query", "refund"), quick)}
        commands = {"wechat_pay": ("native", "query", "close", "refund"), "alipay": ("precreate", "query", "refund")}
        for name, channel in (("wechat_pay", "wechat"), ("alipay", "alipay")):
            routes[name] = {
                "from": "payment_desk/command",
                "types": [f"payment.*.{channel}"],
                "to": [f"{name}/{one}" for one in commands[name]],
            }
            routes[f"{name}_results"] = {"from": f"{name}/notify", "to": "payment_desk/result"}
        (self.folder / "plugins" / "entry").mkdir(parents=True)
        inlet = {"id": "entry", "name": "入口", "interfaces": entry}
        (self.folder / "plugins" / "entry" / "plugin.yaml").write_text(
            yaml.safe_dump(inlet, allow_unicode=True), "utf-8"
        )
        config = {
            "plugins": [*map(str, GROUPS), "../plugins"],
            "mappings": [str(ROOT / "mappings")],
            "schemas": [str(ROOT / "schemas")],
            "watch": False,
            "store": {"path": "../var", "min_free_disk": 0},
            "admin": {"port": 0},
            "systems": systems,
            "routes": routes,
        }
        file = self.folder / "config" / "hub.yaml"
        file.parent.mkdir()
        file.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
        return file

    def call(self, hub: HubProcess, plugin: str, interface: str, body: bytes) -> tuple[int, bytes]:
        kind = "application/xml" if body.startswith(b"<") else "application/json"
        url = f"http://127.0.0.1:{hub.port(f'entry/{plugin}_{interface}')}/{plugin}/{interface}"
        status, _, answer = post(url, body, {"Content-Type": kind})
        return status, answer


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with played() as party:
        yield Site(party, tmp_path_factory.mktemp("simulated"))


@pytest.fixture(scope="module")
def hub(site: Site) -> Iterator[HubProcess]:
    with HubProcess(site.file) as process:
        yield process


def test_every_interface_is_answered_as_the_contract_reads_it(site: Site, hub: HubProcess) -> None:
    wrong = []
    for plugin, interface, body in site.calls:
        status, answer = site.call(hub, plugin, interface, body)
        call = site.simulators[plugin].calls[-1]
        shared = interface in (
            "forward",
            "document",
            "query",
        )  # whose calls another interface at that address takes as well
        if (
            not 200 <= status < 300
            or (call.verdict != "accepted" and not shared)
            or (call.interface != interface and not shared)
        ):
            wrong.append((plugin, interface, status, answer[:200], call.verdict, call.problem))
    assert wrong == []
    assert {plugin for plugin, _, _ in site.calls} == set(TARGETS)


@pytest.mark.parametrize(
    ("plugin", "interface", "behaviour", "tries"),
    [
        ("sms_gateway", "send", Behaviour("status", "503"), 2),
        ("sms_gateway", "send", Behaviour("error", "isv.BUSINESS_LIMIT_CONTROL"), 2),
        ("sms_gateway", "send", Behaviour("error", "isv.OUT_OF_SERVICE"), 1),
        ("freight_exchange", "vehicle", Behaviour("unauthorised"), 2),
        ("freight_ministry", "vehicle_upload", Behaviour("reset"), 2),
        ("freight_tianjin", "driver", Behaviour("garbage"), 2),
        ("vehicle_platform", "licence", Behaviour("truncated"), 2),
    ],
    ids=lambda value: getattr(value, "kind", str(value)),
)
def test_a_bad_moment_of_the_other_party_is_tried_again_where_the_contract_says_so(
    site: Site, hub: HubProcess, plugin: str, interface: str, behaviour: Behaviour, tries: int
) -> None:
    simulator = site.simulators[plugin]
    body = next(body for name, one, body in site.calls if (name, one) == (plugin, interface))
    before = len(simulator.calls)
    simulator.misbehave(interface, behaviour)
    status, _ = site.call(hub, plugin, interface, body)
    seen = [call.verdict for call in simulator.calls[before:]]
    assert seen[0] == "misbehaved"
    assert len(seen) == tries
    assert (200 <= status < 300) == (tries == 2)


def desk(site: Site, hub: HubProcess, **body: Any) -> tuple[int, Any]:
    """A command of the business system, which the simulator of its own plugin sends."""
    simulator = site.simulators["payment_desk"]
    to = f"http://127.0.0.1:{hub.port('payment_desk/command')}"
    reply = site.party.run(simulator.send("command", to, json.dumps(body).encode()))
    return reply.status, json.loads(reply.body)


@pytest.mark.parametrize("channel", ["wechat", "alipay"])
def test_an_order_is_paid_asked_for_refunded_and_no_more_than_that(site: Site, hub: HubProcess, channel: str) -> None:
    platform = site.simulators["wechat_pay" if channel == "wechat" else "alipay"]
    order = {"channel": channel, "orderNumber": f"GH-{channel}"}
    command = {"description": "门诊挂号费", "amountFen": 1250}
    assert desk(site, hub, requestId=f"{channel}1", action="query", **order)[0] >= 400  # nobody made it
    assert desk(site, hub, requestId=f"{channel}2", action="create", **order, **command)[0] == 200
    wait_for(lambda: any(record["status"].endswith("SUCCESS") for record in platform.records), "the payer pays")
    status, answer = desk(site, hub, requestId=f"{channel}3", action="query", **order)
    assert (status, answer["state"], answer["amountFen"]) == (200, "paid", 1250)
    told = site.simulators["payment_desk"]
    wait_for(
        lambda: any(order["orderNumber"].encode() in call.body for call in told.calls), "the business system is told"
    )
    back = {"action": "refund", "amountFen": 1250, "reason": "退号", **order}
    assert desk(site, hub, requestId=f"{channel}4", refundNumber="TK1", refundFen=1000, **back)[0] == 200
    assert desk(site, hub, requestId=f"{channel}5", refundNumber="TK2", refundFen=251, **back)[0] >= 400
    assert desk(site, hub, requestId=f"{channel}6", refundNumber="TK3", refundFen=250, **back)[0] == 200
    assert platform.calls[-1].verdict == "accepted"


def test_a_reply_signed_with_another_key_is_not_believed(site: Site, hub: HubProcess) -> None:
    platform = site.simulators["wechat_pay"]
    platform.misbehave("native", Behaviour("wrong_signature"), times=None)
    try:
        order = {"channel": "wechat", "orderNumber": "GH-forged", "description": "x", "amountFen": 1}
        assert desk(site, hub, requestId="forged", action="create", **order)[0] >= 500
    finally:
        platform.behave()
