"""The tables and statements of the monitoring database on servers: checks, alarm, figures, appeal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel.process import wait_for
from tests.peers.databases import MariaDb, PostgreSql
from tests.plugins.freight_province_site import FREIGHT, province, today
from tests.plugins.freight_support import secret_file

pytestmark = [pytest.mark.peers]
_SCHEMA = (FREIGHT / "freight_monitor" / "schema.sql").read_text("utf-8")


@pytest.mark.parametrize(("product", "make"), [("postgresql", PostgreSql), ("mariadb", MariaDb)])
def test_on_a_server(
    product: str, make: Callable[[Path], PostgreSql | MariaDb], tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = make(tmp_path_factory.mktemp(product))
    folder = tmp_path_factory.mktemp("province")
    try:
        server.start()
        server.sql(_SCHEMA)
        settings = {"product": product, "host": "127.0.0.1", "port": server.port, "database": "hub", "user": "hub"}
        settings |= {"password": secret_file(folder, "database", "secret"), "alarm_percent": 1, "alarm_least": 3}
        with province(folder, flows=True, **settings) as site:
            site.takes("fund_flow")  # before its waybill, which is that of the examples
            site.takes("driver")
            reference = site.takes("waybill")  # of a vehicle nobody reported
            site.takes("waybill", shippingNoteNumber="YDSERVER1")
            kinds = "SELECT kind, qualification, awaits FROM freight_check ORDER BY kind, number"
            rows = server.sql(kinds).replace("\t", "|").split()
            assert rows == ["fund_flow|0|0", "waybill|1|0", "waybill|1|0"]
            assert len(site.messages("freight.anomaly")) == 2
            for _ in range(2):
                site.tick("freight.hour", today(), today(-1))
            assert [m["control_id"] for m in site.messages("freight.alarm")] == [f"DEMO0001-{today()}"]
            site.tick("freight.day", today(1), today())
            (rate,) = site.messages("freight.rate")
            figures = json.loads(site.hub.call("GET", f"/api/v1/messages/{rate['id']}/raw").body)
            assert (figures["judged"], figures["waybills"], figures["anomalous"], figures["matching"]) == (3, 2, 2, 0)
            key = f"DEMO0001-{reference}"
            appeal = json.loads((FREIGHT / "freight_portal" / "examples" / "appeal.json").read_bytes())
            site.at("freight_appeal", key, "appeal")
            assert site.portal("appeals", {**appeal, "anomaly": key}) == 202
            assert site.at("freight_appeal", key, "decide")["variables"]["still"] == 1
            site.decide("freight_appeal", key, "decide", "withdraw", opinion="情况属实")
            assert site.ended("freight_appeal", key) == "withdrawn"
            result = f"SELECT appeal, qualification FROM freight_check WHERE reference = '{reference}'"
            wait_for(lambda: server.sql(result).replace("\t", "|").split() == ["withdrawn|0"], "the figures follow")
            assert site.hub.call("GET", "/api/v1/deliveries?limit=5&state=dead").json["deliveries"] == []
    finally:
        server.stop()
