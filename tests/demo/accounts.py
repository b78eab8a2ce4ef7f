"""Stories of money: a settlement nobody answers, an order that is paid, one that is not, and the books of yesterday."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hub.i18n import t
from hub.simulator import Behaviour
from tests.demo.bill import YESTERDAY
from tests.demo.parties import NOT_PAID_FEN

if TYPE_CHECKING:
    from tests.demo.afternoon import Afternoon

__all__ = ["insurance", "payments", "unpaid"]

_UNPAID = "YYWZF0001"
_DESK = "insurance/insurance_desk"


async def insurance(day: Afternoon) -> None:
    """An outpatient settles; no answer comes, so it is taken back by its number, and settled anew."""
    checks, parties = day.checks, day.parties
    checks.chapter(t("14:30 – a settlement without an answer", "14:30 一笔没有应答的医保结算"))
    platform = parties["insurance"]

    async def ask(infno: str) -> tuple[int, Any]:
        call = {**day.example(_DESK, infno), "requestId": day.number("MZ")}
        reply = await parties.send("desk/transaction", call)
        return reply.status, (json.loads(reply.body) if reply.body else {}).get("infcode")

    async def settle(number: str) -> None:
        order = {**day.example(_DESK, "settlement"), "requestId": day.number("JS"), "number": number}
        await parties.send("desk/settlement", order)
        await checks.eventually(
            t("calculated: the cashier sees what the patient pays", "预结算完成，收费员看到应付金额"),
            ["presettled"],
            lambda: states(number),
        )
        await parties.send(
            "desk/settlement", {**day.example(_DESK, "confirm"), "requestId": day.number("QR"), "number": number}
        )

    def states(number: str) -> list[str]:
        return [told["state"] for told in parties.got("desk/result") if told["number"] == number]

    checks.expect(
        t("the person is known, the visit registered (1101, 2201)", "查询人员、挂号（1101、2201）"),
        [(200, 0)] * 2,
        [await ask("1101"), await ask("2201")],
    )
    signs = [call for call in platform.calls if call.interface == "sign_in"]
    checks.expect(t("the hub signed in by itself, once", "枢纽自行签到一次"), 1, len(signs))
    platform.misbehave("settlement", Behaviour("silent"))
    lost, again = day.number("SF"), day.number("SF")
    await settle(lost)
    one = await day.flow_ends(
        t("confirmed, but nobody answers the settlement (2207A): all is undone", "确认后结算（2207A）无应答：整单撤销"),
        "insurance_settlement",
        lost,
        "failed",
    )
    checks.expect(
        t("`hub flows`: undone are the settlement and the fees", "撤销的是结算与费用"),
        ["settle", "fees"],
        [sent["step"] for sent in (await day.hub.cli_json("flows", "show", one["id"]))["sent"] if sent["undo"]],
    )
    sent = parties.calls("insurance/settlement")
    checks.expect(t("it was not sent a second time", "结算未重复发送"), 1, len(sent))
    (made,) = (json.loads(call.body)["msgid"] for call in sent)
    state = {record["key"]: record["status"] for record in platform.records}
    checks.expect(
        t(
            "the platform had carried it out, and took back exactly that transaction (2601)",
            "平台实已扣款，按原报文号冲正（2601）",
        ),
        "reversed",
        state.get(made),
    )
    checks.expect(t("the cashier was told that it failed", "收费员获知失败"), ["presettled", "failed"], states(lost))
    await settle(again)
    await day.flow_ends(t("the patient settles anew", "患者重新结算"), "insurance_settlement", again, "completed")
    checks.expect(t("and the cashier has the result", "收费员得到结算结果"), ["presettled", "settled"], states(again))
    dead = (await day.hub.cli_json("dead"))["deliveries"]
    checks.expect(
        t("`hub dead` has the one whose outcome was unknown", "`hub dead` 列出结果未知的那一笔"),
        ["insurance/settlement"],
        [row["target"] for row in dead],
    )


async def unpaid(day: Afternoon) -> None:
    """An order nobody is going to pay."""
    await _order(day, _UNPAID, NOT_PAID_FEN)


async def _order(day: Afternoon, order: str, fen: int) -> int:
    command = {"requestId": day.number("DD"), "channel": "wechat", "action": "create", "orderNumber": order}
    return (await day.parties.send("orders/command", {**command, "description": "门诊挂号费", "amountFen": fen})).status


def _told(day: Afternoon, order: str) -> list[str]:
    return [body["state"] for body in day.parties.got("orders/result") if body["orderNumber"] == order]


async def payments(day: Afternoon) -> None:
    """One order is paid and given back, the other closed; then the books of yesterday are compared."""
    checks, parties = day.checks, day.parties
    checks.chapter(t("16:00 – two orders, and the books of yesterday", "16:00 两个订单，与昨日的账"))
    order = "YYZF0001"
    checks.expect(t("an order of 12.50 yuan is taken", "受理 12.50 元的订单"), 202, await _order(day, order, 1250))
    await day.flow_ends(
        t("WeChat Pay notifies, signed and encrypted, that it is paid", "微信支付通知已支付（签名、加密）"),
        "payment_order",
        order,
        "paid",
    )
    checks.expect(
        t("the business system was told: to be paid, paid", "业务系统获知：待支付、支付成功"),
        ["waiting", "paid"],
        _told(day, order),
    )
    refund = {"requestId": day.number("TK"), "channel": "wechat", "action": "refund", "orderNumber": order}
    reply = await parties.send(
        "till/command", {**refund, "refundNumber": "TK0001", "amountFen": 1250, "refundFen": 1250, "reason": "退号"}
    )
    told = json.loads(reply.body) if reply.body else {}
    checks.expect(
        t("it is given back in full, and the till has its number", "全额退款，收款台得到退款单号"),
        (200, "TK0001", 1250),
        (reply.status, told.get("refundNumber"), told.get("refundFen")),
    )
    await day.flow_ends(
        t(
            "the order of half past one, which nobody paid, was asked for and closed",
            "一点半的订单无人支付，查询后自动关闭",
        ),
        "payment_order",
        _UNPAID,
        "timed_out",
    )
    states = {record["key"]: record["status"] for record in parties["wechat"].records if record["record"] == "order"}
    checks.expect(
        t("at WeChat Pay one is refunded, one is closed", "微信侧：一笔已退款，一笔已关闭"),
        {order: "REFUND", _UNPAID: "CLOSED"},
        states,
    )
    await _reconciled(day)


async def _reconciled(day: Afternoon) -> None:
    checks, parties = day.checks, day.parties
    for number, fen in (("YQ0001", 1250), ("YQ0002", 3000)):
        resource = {
            "out_trade_no": number,
            "transaction_id": f"42{number}",
            "trade_state": "SUCCESS",
            "success_time": f"{YESTERDAY}T15:00:00+08:00",
            "amount": {"total": fen, "currency": "CNY"},
        }
        notice = {"id": f"EV-{number}", "event_type": "TRANSACTION.SUCCESS", "resource_type": "encrypt-resource"}
        await parties.send("wechat/notify", {**notice, "resource": resource})
    entries = [
        {"kind": "payment", "number": n, "amountFen": fen, "state": "paid", "at": f"{YESTERDAY}T15:00:02+08:00"}
        for n, fen in (("YQ0001", 1250), ("YQ0002", 2900))
    ]
    ledger = await parties.send("books/ledger", {"requestId": day.number("TZ"), "day": YESTERDAY, "entries": entries})
    checks.expect(t("the hospital hands in its ledger of yesterday", "医院提交昨日台账"), True, ledger.ok)
    await day.hub.cli("poll", "books/daily")
    (alert,) = await day.arrives(
        t("bill, ledger and the hub's own record are compared: an alert", "账单、台账、平台流水三方核对：预警一次"),
        "books/alert",
    )

    listed = (await day.hub.cli_json("messages", "--source", "books/report"))["messages"]
    checks.expect(
        t("`hub messages` has the report of the day", "`hub messages` 列出当日报告"),
        ["reconciliation.differences"],
        [message["type"] for message in listed],
    )
    checks.expect(
        t("one of two payments differs, by one yuan", "两笔中一笔不符，差 1 元"),
        (2, 1, 100),
        (alert["total"], alert["abnormal"], alert["differenceFen"]),
    )
    await checks.eventually(
        t("its workbook lies in the folder of reports", "对账报表（Excel）已生成"),
        1,
        lambda: len(list((parties.folder / "reports").glob("*.xlsx"))),
    )
