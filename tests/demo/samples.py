"""A story of the hospital: an order, its sample, its result, the report; and text messages, at night only those that can't wait."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lxml import etree

from hub.i18n import t
from tests.demo.messages import oru
from tests.demo.people import patients
from tests.demo.place import REPOSITORY

if TYPE_CHECKING:
    from tests.demo.afternoon import Afternoon

__all__ = ["laboratory"]

_FLOW = "hospital_lab_order"


async def laboratory(day: Afternoon) -> None:
    checks, parties = day.checks, day.parties
    checks.chapter(
        t(
            f"15:00 – a blood count, and night at the telephone company until {parties.opens}",
            f"15:00 一份血常规；短信网关时值夜间，{parties.opens} 起才可发送",
        )
    )
    person, other = [person for person in patients(12) if person.phone][:2]
    serial = day.number("")
    order, report = f"O{serial}", f"RO{serial}"

    async def says(place: str, message: bytes) -> str:
        return (await parties.send(place, message)).code

    checks.expect(
        t("the HIS orders a blood count (OML^O21)", "HIS 开立血常规（OML^O21）"),
        "AA",
        await says(
            "his/adt", _example("his_hl7v2", "oml_o21", {"O20261120001": order, "HIS202611200101": f"HIS{serial}"})
        ),
    )
    (placed,) = await day.arrives(t("the laboratory has the order", "检验科收到申请"), "lis/orders")
    checks.expect(
        t("as a new one, under its number", "为新申请，单号一致"), ["NW", order], _fields(placed, "ORC", 1, 2)
    )
    sample = {"R20261120001": f"R{order}", "O20261120001": order, "LIS20261120100": f"LISA{serial}"}
    await says("lis/oru", _example("lis_hl7v2", "orm_sample", sample))
    (taken,) = await day.arrives(
        t("the sample is taken, and the HIS knows", "标本已采集，HIS 获知"), "his/order_status"
    )
    checks.expect(t("the order is in progress", "申请单状态为执行中"), ["SC", order], _fields(taken, "ORC", 1, 2))
    checks.expect(
        t("the laboratory reports in GB18030", "检验科以 GB18030 回报结果"),
        "CA",
        await says("lis/oru", oru(person, f"LIS{serial}", datetime.now())),
    )
    await checks.eventually(
        t(
            "the report is registered at the hospital's platform, which then gets the new state of the order",
            "报告在医院信息平台注册，随后更新检验状态",
        ),
        ["DocumentRegister", "ExamStatusInfoUpdate"],
        lambda: [action for action, _ in parties.platform.taken],
    )
    checks.expect(
        t("as an HL7 v3 message, by SOAP", "以 SOAP 承载 HL7 v3 消息"),
        ["RCMR_IN000002UV02", "POLB_IN224000UV01"],
        [etree.QName(message).localname for _, message in parties.platform.taken],
    )
    (result,) = await day.arrives(t("and the HIS has the result", "HIS 收到结果"), "his/results")
    checks.expect(
        t("of its order, in four values", "与申请单对应，共四项"),
        ([order], 4),
        ([value.split("^")[0] for value in _fields(result, "OBR", 2)], result.count("OBX|")),
    )
    await day.flow_waits(t("the flow is open for corrections", "流程等待可能的更正"), _FLOW, order, "correction")
    await _told_by_text(day, report, person, other)


async def _told_by_text(day: Afternoon, waiting: str, person: Any, other: Any) -> None:
    """It is night: the result waits, a critical one of somebody else does not."""
    checks, parties = day.checks, day.parties

    async def held_back() -> list[Any]:
        found = await day.hub.get("/api/v1/deliveries?target=cmpp%2Fsend&state=pending")
        return [(one["step"], parties.opens in one["reason"]) for one in found["deliveries"]]

    await checks.eventually(
        t(
            f"the patient's text message waits until {parties.opens}, as its delivery says",
            f"给患者的短信等待至 {parties.opens}，投递中注明原因",
        ),
        [("hours", True)],
        held_back,
    )
    serial = day.number("")
    critical = oru(other, f"LIS{serial}", datetime.now())
    await parties.send("lis/oru", re.sub(rb"(OBX\|1\|(?:[^|\r]*\|){6})[A-Z]+", rb"\1HH", critical, count=1))
    await day.flow_ends(
        t(
            "a critical value of somebody else goes out at once: reported DELIVRD",
            "另一患者的危急值立即发出：状态报告 DELIVRD",
        ),
        "result_notice",
        f"RO{serial}",
        "delivered",
    )
    checks.expect(
        t("the gateway got this one alone, without the result in it", "网关只收到这一条，且不含结果"),
        [(other.phone, True)],
        [(sms.fields["phone"], "检验报告已完成" in sms.text) for sms in parties.ismg.sms],
    )
    checks.expect(t("and found nothing wrong with a byte of it", "网关逐字节核对无误"), [], parties.ismg.wrong)
    status = (await day.hub.cli_json("status"))["workers"][0]["outbound"]["cmpp/send"]
    checks.expect(
        t("`hub status` counts the other as out of hours, not as late", "`hub status` 将另一条计为时段外，而非积压"),
        1,
        status.get("out_of_hours"),
    )
    checks.expect(
        t("its flow waits as well", "其流程同样等待"),
        ["notify"],
        (await day.instance("result_notice", waiting)).get("at"),
    )
    del person


def _example(plugin: str, name: str, replaced: dict[str, str]) -> bytes:
    """An example of a plugin with numbers of its own."""
    text = (REPOSITORY / "plugins" / "hospital" / plugin / "examples" / f"{name}.hl7").read_bytes()
    for before, after in replaced.items():
        text = text.replace(before.encode(), after.encode())
    return text


def _fields(message: str, segment: str, *numbers: int) -> list[str]:
    """First components of fields of the first segment of a name."""
    line = next(line for line in message.split("\r") if line.startswith(segment))
    return [line.split("|")[number].split("^")[0] for number in numbers]
