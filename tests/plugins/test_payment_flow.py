"""A payment order from its creation to its end as a flow, between a business system and a platform that checks every signature."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from hub.flows.store import FlowStore, flows_file
from hub.node import salt_of
from tests.kernel.process import ROOT, HubProcess, Sink, wait_for
from tests.plugins.test_payments import TOKEN, Platform, Site, make_site

FLOW = ROOT / "plugins" / "payment" / "flows" / "payment_order.yaml"
LIMIT = "30m"
#: How long an order may stay unpaid: longer than a test that is not about it, and short.
LONG, SHORT = "5m", "1500ms"


@dataclass
class Orders:
    file: Path
    platform: Platform
    business: Sink

    def create(self, hub: HubProcess, order: str, fen: int = 1250) -> None:
        self._command(hub, order, "create", description="门诊挂号费", amountFen=fen)

    def cancel(self, hub: HubProcess, order: str) -> None:
        self._command(hub, order, "close")

    def _command(self, hub: HubProcess, order: str, action: str, **more: Any) -> None:
        body = {"requestId": f"{order}-{action}", "channel": "wechat", "action": action, "orderNumber": order, **more}
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        status, answer = self._site(hub).post(
            "desk/command", "/payment/v1/commands", json.dumps(body).encode(), headers
        )
        assert status == 202, answer

    def notify(self, hub: HubProcess, order: str, fen: int = 1250) -> None:
        """The payer has paid, and the platform says so."""
        self.platform.orders[order]["state"] = "SUCCESS"
        resource = {
            "out_trade_no": order,
            "transaction_id": f"42-{order}",
            "trade_state": "SUCCESS",
            "amount": {"total": fen, "currency": "CNY"},
        }
        body, headers = self.platform.notification(f"EV-{order}", resource)
        status, _ = self._site(hub).post("wechat/notify", "/wechat/notify", body, headers)
        assert status == 204

    def _site(self, hub: HubProcess) -> Site:
        return Site(hub, self.platform, self.business)

    def told(self, order: str) -> list[str]:
        """The states the business system was told, in their order."""
        return [body["state"] for _, body in list(self.business.bodies) if body["orderNumber"] == order]

    def waits_for_payment(self, order: str) -> dict[str, Any]:
        wait_for(lambda: self.told(order) == ["waiting"], f"{order} is to be paid")
        (body,) = [body for _, body in self.business.bodies if body["orderNumber"] == order]
        return dict(body)

    def ended(self, hub: HubProcess, order: str) -> str:
        """How the order ended, read from the hub's files, once it has."""

        def end() -> str:
            store = FlowStore(flows_file(hub.data), salt_of(hub.data), writable=False)
            try:
                rows = store.instances(limit=100)
            finally:
                store.close()
            return next((r.instance.end for r in rows if r.instance.key == order and r.instance.state == "ended"), "")

        return str(wait_for(end, f"{order} ends"))


def configured(folder: Path, limit: str) -> Orders:
    platform, business = Platform(), Sink()
    file = make_site(folder, platform, f"{business.url}/states")
    tree = yaml.safe_load(file.read_text("utf-8"))
    flows = folder / "flows"
    flows.mkdir()
    text = FLOW.read_text("utf-8")
    assert text.count(f"within: {LIMIT}") == 1
    # The systems of these tests are called otherwise; the flow is the one that is shipped.
    text = text.replace(f"within: {LIMIT}", f"within: {limit}").replace("orders/", "desk/")
    (flows / FLOW.name).write_text(text, encoding="utf-8")
    # What is not needed is left out: a hub compiles everything it finds.
    for name in ("payment_desk", "wechat_pay"):
        shutil.copytree(ROOT / "mappings" / name, folder / "mappings" / name)
    tree["mappings"] = ["../mappings"]
    tree["flows"] = ["../flows"]
    tree["routes"] = {}
    del tree["systems"]["alipay"]
    tree["systems"]["desk"]["interfaces"]["command"] = {"style": "event", "reply_mapping": "", "error_mapping": ""}
    wechat = tree["systems"]["wechat"]["interfaces"]
    path = "/v3/pay/transactions/out-trade-no/{flow_key}"
    wechat["query"] = {**wechat["query"], "connect": {"path": path}}
    wechat["close"] = {**wechat["close"], "connect": {"path": f"{path}/close"}}
    file.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    return Orders(file, platform, business)


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Orders]:
    """Orders nobody closes while the test runs."""
    yield from _running(configured(tmp_path, LONG))


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[Orders]:
    """Orders that have to be paid at once."""
    yield from _running(configured(tmp_path, SHORT))


def _running(orders: Orders) -> Iterator[Orders]:
    try:
        yield orders
        assert orders.platform.wrong == []
    finally:
        orders.platform.close()
        orders.business.close()


def test_an_order_is_paid_and_the_hub_was_killed_in_between(patient: Orders) -> None:
    with HubProcess(patient.file) as hub:
        patient.create(hub, "GH0001")
        assert patient.waits_for_payment("GH0001")["qrCode"] == "weixin://x"
        hub.settled()  # what is not yet recorded as told would be told again
        hub.kill()
    with HubProcess(patient.file) as hub:
        patient.notify(hub, "GH0001")
        assert patient.ended(hub, "GH0001") == "paid"
        hub.settled()
    assert patient.told("GH0001") == ["waiting", "paid"]
    assert patient.business.bodies[-1][1]["transactionNumber"] == "42-GH0001"
    assert patient.business.bodies[-1][1]["amountFen"] == 1250
    assert patient.platform.calls == ["POST /v3/pay/transactions/native"]


def test_another_sum_than_was_ordered_is_a_matter_for_a_person(patient: Orders) -> None:
    with HubProcess(patient.file) as hub:
        patient.create(hub, "GH0007")
        patient.waits_for_payment("GH0007")
        patient.notify(hub, "GH0007", fen=1)

        def asked() -> str:
            found = hub.call("GET", "/api/v1/flows/instances?flow=payment_order&key=GH0007").json["instances"]
            whole = hub.call("GET", f"/api/v1/flows/instances/{found[0]['id']}").json
            return str(found[0]["id"]) if whole["at"] == ["differs"] else ""

        instance = wait_for(asked, "somebody is asked")
        hub.settled()
        assert patient.told("GH0007") == ["waiting"]
        answer = hub.call(
            "POST", f"/api/v1/flows/instances/{instance}/complete", {"step": "differs", "choice": "reject"}
        )
        assert answer.status == 200, answer.body
        assert patient.ended(hub, "GH0007") == "disputed"
        hub.settled()
    assert patient.told("GH0007") == ["waiting"]


def test_a_business_system_cancels_before_anybody_pays(patient: Orders) -> None:
    with HubProcess(patient.file) as hub:
        patient.create(hub, "GH0002")
        patient.create(hub, "GH0003")
        for order in ("GH0002", "GH0003"):
            patient.waits_for_payment(order)
        patient.cancel(hub, "GH0002")
        assert patient.ended(hub, "GH0002") == "cancelled"
        assert patient.platform.orders["GH0002"]["state"] == "CLOSED"
        # Paid while it was being cancelled: the platform refuses to close, and says why.
        patient.platform.orders["GH0003"]["state"] = "SUCCESS"
        patient.platform.fail_next.append((400, "ORDERPAID"))
        patient.cancel(hub, "GH0003")
        assert patient.ended(hub, "GH0003") == "paid"
        hub.settled()
    assert patient.told("GH0002") == ["waiting", "cancelled"]
    assert patient.told("GH0003") == ["waiting", "paid"]


def test_what_the_channel_refuses_has_failed_and_the_business_system_knows_why(patient: Orders) -> None:
    patient.platform.fail_next.append((400, "PARAM_ERROR"))
    with HubProcess(patient.file) as hub:
        patient.create(hub, "GH0004")
        assert patient.ended(hub, "GH0004") == "failed"
        hub.settled()
    assert patient.told("GH0004") == ["failed"]
    assert patient.business.bodies[-1][1]["reason"] == "参数错误"


def test_an_order_nobody_pays_is_closed_and_a_lost_notification_is_no_lost_payment(hasty: Orders) -> None:
    with HubProcess(hasty.file) as hub:
        hasty.create(hub, "GH0005")
        hasty.waits_for_payment("GH0005")
        assert hasty.ended(hub, "GH0005") == "timed_out"
        assert hasty.platform.orders["GH0005"]["state"] == "CLOSED"
        assert hasty.platform.calls[-2:] == [
            "GET /v3/pay/transactions/out-trade-no/GH0005?mchid=1900000001",
            "POST /v3/pay/transactions/out-trade-no/GH0005/close",
        ]
        hasty.create(hub, "GH0006")
        hasty.waits_for_payment("GH0006")
        hasty.platform.orders["GH0006"]["state"] = "SUCCESS"  # and nobody says so
        assert hasty.ended(hub, "GH0006") == "paid"
        assert hasty.platform.orders["GH0006"]["state"] == "SUCCESS"
        hub.settled()
    assert hasty.told("GH0005") == ["waiting", "timed_out"]
    assert hasty.told("GH0006") == ["waiting", "paid"]
