"""A story of freight: the hub is the province. What operators report goes on to the ministry, and is checked."""

from __future__ import annotations

import secrets
import sqlite3
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from hub.i18n import t

if TYPE_CHECKING:
    from tests.demo.afternoon import Afternoon

__all__ = ["freight"]

_PROVINCE = "freight/freight_province"
_DRIVER, _PLATE = "359999197208150157", "闽Z00007"
_APPEAL, _REVIEW = "freight_appeal", "anomaly_review"


class _Operator:
    """Reports documents, each under a number of its own."""

    def __init__(self, day: Afternoon) -> None:
        self._day = day
        self.waybill = day.number("YD")

    async def report(self, name: str, body: dict[str, Any]) -> tuple[str, str]:
        """("" or what was wrong, the number of the report)."""
        document = self._day.example(_PROVINCE, name)
        reference = secrets.token_hex(16)
        document["root"]["header"]["messageReferenceNumber"] = reference
        document["root"]["body"] |= body
        reply = await self._day.parties.send("carrier/documents", document)
        return ("" if reply.ok and not reply.problems else f"{reply.code} {reply.error} {reply.problems}"), reference

    def journey(self) -> dict[str, Any]:
        """A journey of yesterday that ended an hour ago."""
        now = datetime.now(ZoneInfo("Asia/Shanghai"))
        times = {"consignmentDateTime": 30, "despatchActualDateTime": 20, "goodsReceiptDateTime": 1}
        return {
            "shippingNoteNumber": self.waybill,
            **{name: f"{now - timedelta(hours=hours):%Y%m%d%H%M%S}" for name, hours in times.items()},
        }

    def payment(self, number: str, yuan: float) -> dict[str, Any]:
        body: dict[str, Any] = self._day.example(_PROVINCE, "fund_flow")["root"]["body"]
        body["shippingNoteList"][0] |= {"shippingNoteNumber": self.waybill, "totalMonetaryAmount": yuan}
        body["financiallist"][0] |= {"monetaryAmount": yuan}
        return {**body, "documentNumber": number}


def _judged(day: Afternoon, column: str) -> dict[str, int]:
    """What the monitoring database has of each document."""
    with sqlite3.connect(day.parties.folder / "monitor.db") as database:
        return dict(database.execute(f"SELECT number, {column} FROM freight_check").fetchall())


async def freight(day: Afternoon) -> None:
    """A journey and two payments for it: a driver nobody reported, and one payment that is too small."""
    checks = day.checks
    checks.chapter(t("14:00 – a lorry, its driver, and too little money", "14:00 一车货、一名司机、一笔不符的运费"))
    operator = _Operator(day)
    good, bad = day.number("ZJ"), day.number("ZJ")
    told = [await operator.report("vehicle", {}), await operator.report("waybill", operator.journey())]
    for number, yuan in ((good, 3271.75), (bad, 3000.0)):
        told.append(await operator.report("fund_flow", operator.payment(number, yuan)))
    checks.expect(
        t(
            "the operator logs in and reports vehicle, waybill and two payments in SM2/SM4 envelopes",
            "经营者登录，以 SM2/SM4 数字信封上报车辆、运单与两笔资金流水",
        ),
        [""] * 4,
        [wrong for wrong, _ in told],
    )
    found = await day.arrives(
        t("the ministry opens all four with its own key", "部系统以自己的私钥解开全部四份单证"), "ministry/forward", 4
    )
    checks.expect(
        t("each is what it says it is, in the operator's name", "单证类型无误，仍以经营者名义上报"),
        [("DEMO0001", kind) for kind in ("WLHY_CL1001", "WLHY_YD1001", "WLHY_ZJ1001", "WLHY_ZJ1001")],
        sorted((one["root"]["header"]["enterpriseSenderCode"], one["root"]["header"]["ipcType"]) for one in found),
    )
    part = f"{operator.waybill}-0000"
    await checks.eventually(
        t("the payment that does not match its waybill is found", "核验发现与运单不匹配的一笔"),
        {part: 0, good: 0, bad: 1},
        lambda: _judged(day, "matching"),
    )
    checks.expect(
        t("and the driver nobody reported: a qualification anomaly", "以及未上报的驾驶员：资质异常"),
        {part: 1, good: 0, bad: 0},
        _judged(day, "qualification"),
    )
    checks.expect(
        t("vehicle platform and LOGINK were asked, and found nothing", "已向车辆平台与 LOGINK 查询，入网与轨迹无异常"),
        (1, 1, 0, 0),
        (
            len(day.parties.got("vehicle_platform/truck_exists")),
            len(day.parties.got("logink_gateway/vehicle_track_check")),
            _judged(day, "entry")[part],
            _judged(day, "track")[part],
        ),
    )
    await _appeal(day, operator, f"DEMO0001-{told[1][1]}", part)
    one = await day.flow_waits(
        t("of the payment an official has to judge", "不匹配的资金流水待人工复核"), _REVIEW, f"DEMO0001-{bad}", "review"
    )
    await day.decides(one["id"], "review", "correct", "请更正后重新上报")
    await day.flow_ends(t("it has to be corrected", "要求更正"), _REVIEW, f"DEMO0001-{bad}", "to_correct")


async def _appeal(day: Afternoon, operator: _Operator, anomaly: str, part: str) -> None:
    checks = day.checks
    (notice,) = await day.arrives(t("the operator is told", "告知经营者"), "portal/notice")
    checks.expect(
        t("of this anomaly", "所告知的即此异常"), ("qualification", anomaly), (notice["subject"], notice["number"])
    )
    wrong, _ = await operator.report("driver", {})
    appeal = day.example("freight/freight_portal", "appeal")
    appeal |= {"requestId": day.number("SS"), "anomaly": anomaly, "plate": _PLATE, "driverIdNumber": _DRIVER}
    reply = await day.parties.send("portal/appeal", appeal)
    checks.expect(t("it reports the driver, and appeals", "经营者补报驾驶员信息并申诉"), ("", True), (wrong, reply.ok))
    one = await day.flow_waits(
        t("compared anew; a supervisor has to decide", "再次比对后，待主管部门决定"), _APPEAL, anomaly, "decide"
    )
    await day.decides(one["id"], "decide", "withdraw", "驾驶员信息已补报，资质有效")
    await day.flow_ends(
        t("`hub flows complete`: the anomaly is withdrawn", "`hub flows complete`：异常撤销"),
        _APPEAL,
        anomaly,
        "withdrawn",
    )
    checks.expect(
        t("in the statistics as well, and the operator knows", "统计随之更新，经营者获知结果"),
        (0, ["qualification", "withdrawn"]),
        (_judged(day, "qualification")[part], [told["subject"] for told in day.parties.got("portal/notice")]),
    )
