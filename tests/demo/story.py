"""A morning at the hub: hospital, laboratory and freight operator send; a platform, a ministry and a gateway receive.

Everything goes through real sockets, a real ``hub run`` and the real command line. Every expectation is a check; the order
of the chapters is the order of the story.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from rich.console import Console

from hub.i18n import t
from tests.demo import report
from tests.demo.checks import Checks
from tests.demo.hub import DemoError, Hub
from tests.demo.messages import Clock, adt, oru, waybill
from tests.demo.peers import Peers
from tests.demo.people import Patient, patients, plate
from tests.demo.place import Place
from tests.demo.senders import Ack, MllpLine, Operator

__all__ = ["Morning"]

_PATIENTS = 60
_WAYBILLS = 24
#: The vehicle nobody reported to the ministry.
_STRANGER = 99

_PATIENT_DOCUMENTS = "/api/v1/patients"
_ENCOUNTERS = "/api/v1/encounters"
_LAB_REPORTS = "/api/v1/lab-reports"


class Morning:
    """The story and what it needs: the hub, the parties it delivers to, the senders."""

    def __init__(self, place: Place, hub: Hub, peers: Peers, checks: Checks, console: Console) -> None:
        self.checks = checks
        self._place = place
        self._hub = hub
        self._province, self._ministry, self._sms = peers.province, peers.ministry, peers.sms
        self._console = console
        self._clock = Clock(datetime.now().replace(hour=8, minute=0, second=0, microsecond=0))
        self._people = patients(_PATIENTS)
        self._numbers: defaultdict[str, int] = defaultdict(int)
        self._sent_at: dict[str, float] = {}  # control id -> when it was sent, for the time from end to end
        self._quiet: set[str] = set()  # control ids sent while everybody was well
        self._history: defaultdict[str, list[str]] = defaultdict(list)  # patient -> control ids, in the order sent
        self._his: MllpLine
        self._lis: MllpLine
        self._operator: Operator
        # What must have arrived by now, in effect.
        self._wanted = {_PATIENT_DOCUMENTS: 0, _ENCOUNTERS: 0, _LAB_REPORTS: 0, "waybills": 0, "sms": 0}
        self._messages = 0  # stored

    async def tell(self) -> None:
        """The whole morning. Raises :class:`tests.demo.hub.DemoError` when it can't go on."""
        inbound = (await self._hub.status())["inbound"]
        missing = {"his/adt", "lis/oru", "operator/waybill"} - set(inbound)
        if missing:
            raise DemoError(f"{', '.join(sorted(missing))}: not listening; see {self._place.log}")
        async with (
            MllpLine(inbound["his/adt"]["port"], "utf-8") as self._his,
            MllpLine(inbound["lis/oru"]["port"], "gb18030") as self._lis,
            Operator(inbound["operator/waybill"]["port"], self._place.secret("operator.token")) as self._operator,
        ):
            await self._doors_open()
            await self._malformed()
            await self._duplicates()
            await self._platform_away()
            await self._dead_letter()
            await self._search()
            await self._books()

    # -- chapters ------------------------------------------------------------------------------------------------

    async def _doors_open(self) -> None:
        checks = self.checks
        checks.chapter(t("8:00 – the doors open", "8:00 开门"))
        for order in range(1, _WAYBILLS + 10):
            self._ministry.vehicles.add(plate(order))
        visitors = [(adt("A01" if p.order % 3 == 0 else "A04", p, self._number("HIS", p), self._clock.tick()), p)
                    for p in self._people]  # fmt: skip
        for _, patient in visitors:
            self._expect_documents(_PATIENT_DOCUMENTS, _ENCOUNTERS)
            del patient
        reports = [(oru(p, self._number("LIS", p), self._clock.tick()), p) for p in self._people[:40]]
        for _, patient in reports:
            self._expect_documents(_LAB_REPORTS)
            self._wanted["sms"] += bool(patient.phone)
        waybills = [waybill(order, self._clock.tick(), small=order % 4 == 0) for order in range(1, _WAYBILLS + 1)]
        self._wanted["waybills"] += len(waybills)
        acks, results, answers = await asyncio.gather(
            self._send(self._his, (m for m, _ in visitors)),
            self._send(self._lis, (m for m, _ in reports)),
            self._post(waybills),
        )
        self._quiet.update(self._sent_at)
        self._messages += len(visitors) + len(reports) + len(waybills)
        checks.expect(
            t(f"the HIS's {len(visitors)} admissions and registrations are acknowledged AA",
              f"HIS 的 {len(visitors)} 条入院与挂号消息均应答 AA"),
            ["AA"] * len(visitors), [ack.code for ack in acks],
        )  # fmt: skip
        checks.expect(
            t(f"the LIS's {len(reports)} results in GB18030 are acknowledged CA, as MSH-15 asks",
              f"LIS 的 {len(reports)} 条 GB18030 检验结果按 MSH-15 应答 CA"),
            ["CA"] * len(reports), [ack.code for ack in results],
        )  # fmt: skip
        checks.expect(
            t(f"the operator's {len(waybills)} waybills are answered 202", f"经营者的 {len(waybills)} 张运单均应答 202"),
            [202] * len(waybills), [answer for answer, _ in answers],
        )  # fmt: skip
        stranger = await self._operator.post_raw(b"{}", token="not-the-token")
        checks.expect(
            t("a caller with a wrong token is turned away: 401", "令牌错误的调用被拒绝：401"), 401, stranger.status
        )
        person = self._people[1]
        ack = (await self._send(self._his, [adt("A31", person, self._number("HIS", person), self._clock.tick())]))[0]
        self._messages += 1
        checks.expect(
            t("an update no route takes (A31) is stored and acknowledged all the same",
              "无路由的更新（A31）同样存储并应答"), "AA", ack.code,
        )  # fmt: skip
        await self._all_arrived()
        rare = next(p for p in self._people[:40] if "𠮷" in p.name)
        names = {d["report"]["patientName"] for d in self._province.documents(_LAB_REPORTS)}
        checks.expect_that(
            t("rare characters of GB18030 names arrive as they are (眧 䶮 𠮷)", "GB18030 姓名中的生僻字原样送达（眧 䶮 𠮷）"),
            rare.name in names and any("眧" in n for n in names) and any("䶮" in n for n in names),
            "眧 䶮 𠮷", "".join(sorted({n[-1] for n in names})),
        )  # fmt: skip
        units = {r["unit"] for d in self._province.documents(_LAB_REPORTS) for r in d["results"]}
        checks.expect(
            t(r"escapes are resolved: the unit 10\S\9/L arrives as 10^9/L", r"转义已还原：单位 10\S\9/L 送达为 10^9/L"),
            {"10^9/L", "10^12/L", "g/L"}, units,
        )  # fmt: skip

    async def _malformed(self) -> None:
        checks = self.checks
        checks.chapter(t("8:40 – two messages that are none", "8:40 两条格式错误的消息"))
        broken = adt("A04", self._people[0], "HIS-BROKEN", self._clock.tick()).replace(b"MSH|^~\\&|", b"MSH||", 1)
        ack = await self._his.send(broken)
        checks.say(f"{ack.code} {ack.text}")
        checks.expect(
            t(
                "HL7 that does not name its delimiters is refused with AR",
                "未声明分隔符的 HL7 被拒绝，应答 AR",
            ),
            "AR",
            ack.code,
        )
        checks.expect_that(
            t("and the answer names the place", "并指明位置"),
            "(MSH)" in ack.text and ack.control_id == "HIS-BROKEN",
            "(MSH) …, HIS-BROKEN",
            ack,
        )
        answer = await self._operator.post_raw(b'{"messageId": "OP-BROKEN",\n "waybill": {"number": }}')
        detail = str(answer.body.get("detail"))
        checks.say(f"{answer.status} {detail}")
        checks.expect(t("broken JSON is refused with 400", "错误的 JSON 被拒绝，应答 400"), 400, answer.status)
        checks.expect_that(
            t("and the answer names line and column", "并指明行与列"),
            "line 2" in detail or "2 行" in detail, "line 2", detail,
        )  # fmt: skip

    async def _duplicates(self) -> None:
        checks = self.checks
        checks.chapter(t("8:45 – sent twice", "8:45 重复发送"))
        person = self._people[4]
        message = adt("A08", person, self._number("HIS", person), self._clock.tick())
        self._expect_documents(_PATIENT_DOCUMENTS, _ENCOUNTERS)
        self._messages += 1
        first = (await self._send(self._his, [message]))[0]
        again = await self._his.send(message)
        checks.expect(
            t("a message sent again is answered as the first time", "重发的消息按首次结果应答"),
            (first.code, first.control_id), (again.code, again.control_id),
        )  # fmt: skip
        document = waybill(_WAYBILLS + 1, self._clock.tick())
        self._wanted["waybills"] += 1
        self._messages += 1
        (_, number), (_, number_again) = [*await self._post([document]), *await self._post([document])]
        checks.expect(
            t("a waybill posted again gets the number of the first", "重复上报的运单得到首次的消息编号"),
            number,
            number_again,
        )
        await self._all_arrived()

    async def _platform_away(self) -> None:
        checks = self.checks
        checks.chapter(
            t("9:10 – the provincial platform goes away, others stumble", "9:10 省平台中断，其他对方偶有故障")
        )
        before = len(self._province.taken)
        await self._province.go_away()
        self._ministry.faults.extend(["busy", "lose_reply"])
        self._sms.faults.append("busy")
        repeated = self._ministry.repeated
        updates: list[bytes] = []
        for round_ in range(3):
            for person in self._people[:12]:
                phone = f"1990002{round_}{person.order:03}"
                updates.append(adt("A08", person, self._number("HIS", person), self._clock.tick(), phone=phone))
                self._expect_documents(_PATIENT_DOCUMENTS, _ENCOUNTERS)
        for person in [p for p in self._people if p.order % 3 == 0][:8]:
            updates.append(adt("A03", person, self._number("HIS", person), self._clock.tick()))
            self._expect_documents(_ENCOUNTERS)
            self._wanted["sms"] += bool(person.phone)
        waybills = [waybill(order, self._clock.tick()) for order in range(_WAYBILLS + 2, _WAYBILLS + 8)]
        self._wanted["waybills"] += len(waybills)
        self._messages += len(updates) + len(waybills)
        acks, answers = await asyncio.gather(self._send(self._his, updates), self._post(waybills))
        checks.expect(
            t(f"{len(updates)} updates and discharges are acknowledged AA although the platform is away",
              f"平台中断期间 {len(updates)} 条更新与出院消息仍应答 AA"),
            ["AA"] * len(updates), [ack.code for ack in acks],
        )  # fmt: skip
        checks.expect(
            t(f"{len(waybills)} more waybills are answered 202", f"又有 {len(waybills)} 张运单应答 202"),
            [202] * len(waybills), [status for status, _ in answers],
        )  # fmt: skip
        await checks.eventually(
            t("the ministry gets its waybills meanwhile, through a server error and a lost answer",
              "期间部系统照常收到运单，中间有一次服务器错误、一次应答丢失"),
            self._wanted["waybills"], lambda: len(self._ministry.taken),
        )  # fmt: skip
        checks.expect(
            t("the waybill whose answer was lost was sent again under the same key, and counted once",
              "应答丢失的运单以同一幂等键重发，只计一次"),
            (repeated + 1, self._wanted["waybills"]), (self._ministry.repeated, len(self._ministry.taken)),
        )  # fmt: skip
        await checks.eventually(
            t("the gateway's limit (429) only delays a notice", "短信网关限流（429）仅使通知延后"),
            self._wanted["sms"], lambda: len(self._sms.taken),
        )  # fmt: skip
        outbound = (await self._hub.status())["outbound"]
        waiting = outbound["province/patient_upload"]
        checks.expect_that(
            t("for the platform the circuit is open and its messages wait", "平台的熔断器断开，消息等待"),
            waiting["breaker"] != "closed" and waiting["in_memory"] >= 36 and len(self._province.taken) == before,
            "breaker open, 36 waiting",
            {name: waiting[name] for name in ("breaker", "in_memory")},
        )  # fmt: skip
        await self._province.come_back()
        checks.say(t("the platform is back", "平台恢复"))
        await self._all_arrived()
        checks.expect(
            t("every patient's messages arrived in the order they happened", "每位患者的消息按发生顺序到达"),
            [], self._out_of_order(),
        )  # fmt: skip

    async def _dead_letter(self) -> None:
        checks = self.checks
        checks.chapter(t("10:20 – a dead letter", "10:20 死信"))
        await self._post([waybill(_STRANGER, self._clock.tick())])
        self._messages += 1

        async def dead() -> list[str]:
            found = await self._hub.get("/api/v1/deliveries?state=dead")
            return [f"{d['target']} {d['step']}" for d in found["deliveries"]]

        await checks.eventually(
            t("the ministry refuses a waybill (3005); it is a dead letter", "部系统拒绝一张运单（3005），成为死信"),
            ["ministry/waybill_upload classify"], dead,
        )  # fmt: skip
        listed = (await self._hub.cli_json("dead"))["deliveries"]
        reason = listed[0]["reason"] if listed else ""
        checks.say(reason)
        checks.expect_that(
            t("`hub dead` shows the ministry's own words", "`hub dead` 显示部系统的原话"),
            "车辆基本信息未上报" in reason, "… 车辆基本信息未上报 …", reason,
        )  # fmt: skip
        self._ministry.vehicles.add(plate(_STRANGER))
        checks.say(t("the vehicle is reported to the ministry; the waybill is resent", "车辆已向部系统上报，重发运单"))
        self._wanted["waybills"] += 1
        ids = [row["id"] for row in listed]
        done = await self._hub.cli_json("dead", "resend", *ids, "--why", "vehicle reported")
        checks.expect(t("`hub dead resend` takes it", "`hub dead resend` 执行成功"), ids, done.get("done"))
        await self._all_arrived()
        await checks.eventually(t("no dead letter is left", "不再有死信"), [], dead)
        trail = await self._hub.cli_json("audit", "--verify")
        actions = [entry["entry"]["action"] if isinstance(entry["entry"], dict) else entry["entry"]
                   for entry in trail["entries"]]  # fmt: skip
        checks.expect_that(
            t("the audit trail names it, and its chain is whole", "审计记录在案，链完整"),
            not trail["problems"] and any("delivery.resend" in str(action) for action in actions),
            "delivery.resend, no problems",
            (actions, trail["problems"]),
        )  # fmt: skip

    async def _search(self) -> None:
        checks = self.checks
        checks.chapter(t("10:40 – somebody asks", "10:40 有人查询"))
        person = next(p for p in self._people[:12] if "𠮷" in p.name and p.order % 3)
        found = (await self._hub.cli_json("messages", "--key", f"name={person.name}"))["messages"]
        by_id = (await self._hub.cli_json("messages", "--key", f"id_number={person.citizen}"))["messages"]
        wanted = sorted(self._history[person.id])
        checks.expect(
            t("`hub messages --key name=…` finds what HIS and LIS sent about a patient",
              "`hub messages --key name=…` 查到 HIS 与 LIS 关于某患者的全部消息"),
            wanted, sorted({row["control_id"] for row in found} & set(wanted)),
        )  # fmt: skip
        checks.expect(
            t("by the citizen number as well, of which only a keyed hash is stored",
              "按身份证号亦可查到，索引中仅存带密钥的摘要"),
            wanted, sorted(row["control_id"] for row in by_id),
        )  # fmt: skip
        checks.expect_that(
            t("without --clear no name or number is shown", "未加 --clear 时不显示姓名与号码"),
            bool(found) and person.name not in str(found) and person.citizen not in str(by_id),
            t("masked values", "掩码值"),
            found[0]["keys"] if found else None,
        )

    async def _books(self) -> None:
        checks = self.checks
        checks.chapter(t("11:00 – the books", "11:00 对账"))
        status = await self._hub.status()
        inbound, outbound = status["figures"]["inbound"], status["figures"]["outbound"]
        report.receipts(
            self._console,
            inbound,
            {
                "his/adt": self._his.seconds,
                "lis/oru": self._lis.seconds,
                "operator/waybill": self._operator.seconds,
            },
        )
        report.deliveries(self._console, outbound, self._end_to_end())
        found = await self._hub.cli_json("verify-ledger")
        report.ledger(self._console, found)
        checks.expect(t("the ledger balances", "账目平衡"), (True, []), (found["balanced"], found["problems"]))
        checks.expect(
            t("it counts every message sent, the unrouted one included", "账目计入每条消息，包括无路由的一条"),
            (self._messages, 1), (found["messages"], found["filtered"]),
        )  # fmt: skip
        open_ = {row["target"]: (row["dead"], row["held"], row["moving"]) for row in found["rows"]}
        checks.expect(
            t("nothing is dead, held or still moving", "没有死信、暂存或进行中的投递"),
            dict.fromkeys(open_, (0, 0, 0)), open_,
        )  # fmt: skip
        effect = {
            "province": len(self._province.taken),
            "ministry": len(self._ministry.taken),
            "sms": len(self._sms.taken),
        }
        delivered: defaultdict[str, int] = defaultdict(int)
        for row in found["rows"]:
            delivered[row["target"].partition("/")[0]] += row["delivered"]
        checks.expect(
            t("each party has exactly what the ledger says was delivered", "各方收到的数量与账目完全一致"),
            effect, dict(delivered),
        )  # fmt: skip
        checks.expect(
            t("two duplicates were recognised, three calls refused", "识别重复 2 条，拒绝 3 次"),
            (2, 3), tuple(sum(row[name] for row in inbound.values()) for name in ("duplicate", "refused")),
        )  # fmt: skip

    # -- parts ---------------------------------------------------------------------------------------------------

    def _number(self, system: str, patient: Patient) -> str:
        """The next message number of a system, noted for the patient it is about."""
        self._numbers[system] += 1
        number = f"{system}{datetime.now():%Y%m%d}{self._numbers[system]:05}"
        self._history[patient.id].append(number)
        return number

    async def _send(self, line: MllpLine, messages: Iterable[bytes]) -> list[Ack]:
        acks = []
        for message in messages:
            number = message.split(b"|", 10)[9].decode()
            self._sent_at[number] = time.perf_counter()
            acks.append(await line.send(message))
        return acks

    async def _post(self, documents: list[dict[str, Any]]) -> list[tuple[int, str]]:
        """(HTTP status, number the hub gave) of each."""
        answers = []
        for document in documents:
            self._sent_at.setdefault(document["waybill"]["number"], time.perf_counter())
            answer = await self._operator.post(document)
            answers.append((answer.status, str(answer.body.get("message_id", answer.body))))
        return answers

    def _expect_documents(self, *paths: str) -> None:
        for path in paths:
            self._wanted[path] += 1

    async def _all_arrived(self) -> None:
        """Wait until every party has what it must have, and not a document more."""
        for what, wanted, peer, path in (
            (t("patients at the platform", "平台收到患者信息"), self._wanted[_PATIENT_DOCUMENTS], self._province, _PATIENT_DOCUMENTS),
            (t("visits at the platform", "平台收到就诊信息"), self._wanted[_ENCOUNTERS], self._province, _ENCOUNTERS),
            (t("laboratory reports at the platform", "平台收到检验报告"), self._wanted[_LAB_REPORTS], self._province, _LAB_REPORTS),
            (t("waybills at the ministry", "部系统收到运单"), self._wanted["waybills"], self._ministry, ""),
            (t("notices at the gateway", "网关收到通知"), self._wanted["sms"], self._sms, ""),
        ):  # fmt: skip
            seen = lambda peer=peer, path=path: len(peer.documents(path))  # noqa: E731
            await self.checks.eventually(f"{what}: {wanted}", wanted, seen)

    def _out_of_order(self) -> list[str]:
        """Patients whose documents did not arrive in the order they were sent."""
        wrong = []
        for path, owner in ((_PATIENT_DOCUMENTS, "localId"), (_ENCOUNTERS, "patientId")):
            arrived: defaultdict[str, list[str]] = defaultdict(list)
            for document in self._province.documents(path):
                part = document["patient"] if path == _PATIENT_DOCUMENTS else document["encounter"]
                arrived[part[owner]].append(document["header"]["sourceMessageId"])
            for patient, numbers in arrived.items():
                if numbers != [number for number in self._history[patient] if number in numbers]:
                    wrong.append(f"{path} {patient}: {numbers}")
        return wrong

    def _end_to_end(self) -> dict[str, list[float]]:
        """Seconds from the moment a source sent to the moment a target had it, for what was sent on a quiet morning."""
        found: defaultdict[str, list[float]] = defaultdict(list)
        targets = {
            _PATIENT_DOCUMENTS: "province/patient_upload",
            _ENCOUNTERS: "province/encounter_upload",
            _LAB_REPORTS: "province/result_upload",
            "/wlhy/v2/documents": "ministry/waybill_upload",
            "/sms/v1/messages": "sms/send",
        }
        for peer in (self._province, self._ministry, self._sms):
            for taken in peer.taken:
                number = _source_number(taken.document)
                if number in self._quiet:
                    found[targets[taken.path]].append(taken.at - self._sent_at[number])
        return found


def _source_number(document: dict[str, Any]) -> str:
    """The number of the message a document was made from."""
    if "root" in document:
        return str(document["root"]["body"]["shippingNoteNumber"])
    return str(document["header"]["sourceMessageId"] if "header" in document else document["reference"])
