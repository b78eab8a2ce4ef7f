"""Two stories of administration: a licence from filing to archive, and a person who may no longer sign in anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hub.i18n import t

if TYPE_CHECKING:
    from tests.demo.afternoon import Afternoon

__all__ = ["licence", "portal"]

_PLATFORM, _DEPARTMENT = "government/government_middle_platform", "government/government_approval"


async def licence(day: Afternoon) -> None:
    """公共场所卫生许可: filed, sent back once, accepted, surveyed, granted, archived."""
    checks, parties = day.checks, day.parties
    checks.chapter(t("13:30 – a hotel asks for its hygiene licence", "13:30 一家旅馆申请公共场所卫生许可"))
    case = day.number("359999000000GC")

    async def files(version: int, **changes: Any) -> str:
        name = "case_receive" if version == 1 else "case_corrected"
        document = day.example(_PLATFORM, name)
        document["data"] |= {"projid": case, "dataver": version, **changes}
        reply = await parties.send(f"middle/{name}", document)
        return "" if reply.ok else f"{reply.status} {reply.error}"

    async def reports(name: str, version: int, **parts: Any) -> bool:
        document = day.example(_DEPARTMENT, name)
        document |= {"messageId": day.number("YW")}
        document["case"] |= {"number": case, "version": version}
        for part, values in parts.items():
            document[part] |= values
        return (await parties.send("approval/progress", document)).ok

    checks.expect(
        t("the platform files the case, signed by SM2 and encrypted by SM4", "中台推送办件，SM2 签名、SM4 加密"),
        "",
        await files(1),
    )
    await day.arrives(t("the department has it", "部门业务系统收到办件"), "approval/application")
    await reports("correction", 1)
    (asked,) = await day.arrives(
        t("a report is not complete: the platform is told to ask for a correction", "检测报告不全：告知中台要求补正"),
        "middle/case_correction",
    )
    checks.expect(t("of version 1", "针对第 1 版"), 1, asked["data"]["dataver"])
    await day.flow_waits(
        t("the flow waits for the applicant", "流程等待申请人补正"), "public_place_licence", case, "supplement"
    )
    await files(2)
    await day.arrives(t("the corrected case reaches the department", "补正材料送达部门"), "approval/corrected")
    for name in ("accept", "step", "done", "archive"):
        await reports(name, 2)
    one = await day.flow_ends(
        t("accepted, surveyed, decided, archived: the licence is granted", "受理、勘验、办结、归档：准予许可"),
        "public_place_licence",
        case,
        "granted",
    )
    told = [
        call.interface
        for call in parties["middle"].calls
        if call.verdict == "accepted" and call.interface.startswith(("case_", "archive"))
    ]
    checks.expect(
        t("the platform verified and decrypted every step, in their order", "中台逐环节验签解密，次序无误"),
        ["case_correction", "case_accept", "case_step", "case_done", "archive_notice"],
        [name for name in told if name not in ("case_receive", "case_corrected")],
    )
    texts = [sent["data"] for sent in parties.got("sms/send")]
    checks.expect(
        t("the applicant got three text messages", "申请人收到三条短信"),
        ["补正", "受理", "办结"],
        [m["node"] for m in texts],
    )
    shown = await day.hub.cli_json("flows", "show", one["id"])
    versions = [document["version"] for document in shown["versions"] if document["name"] == "application"]
    checks.expect(
        t("`hub flows show` has both versions of the application", "`hub flows show` 保留申请的两个版本"),
        [1, 2],
        sorted(versions),
    )


async def portal(day: Afternoon) -> None:
    """A user is frozen in the portal; the applications in which he has an account know, and no other."""
    checks, parties = day.checks, day.parties
    checks.chapter(t("16:40 – somebody leaves: frozen once, known everywhere", "16:40 人员离岗：一处冻结，处处生效"))
    event = {
        "eventId": day.number("EV"),
        "kind": "user_status",
        "userName": "zhangsan",
        "status": "frozen",
        "reason": "离岗",
        "changedAt": "2026-11-28T16:40:00+08:00",
        "accounts": [{"application": "oa", "account": "oa-17"}, {"application": "tcm", "account": "zy-0017"}],
    }
    reply = await parties.send("identity/event", event)
    checks.expect(t("the identity service tells the hub", "统一身份认证告知枢纽"), True, reply.ok)
    for system, account in (("oa", "oa-17"), ("tcm", "zy-0017")):
        (told,) = await day.arrives(
            t(f"{system} is told, under SM2 and SM4", f"{system} 收到通知（SM2、SM4）"), f"{system}/user_status_push"
        )
        checks.expect_that(
            t(f"of the account he has there, {account}", f"账号为其本系统账号 {account}"),
            account in str(told),
            account,
            told,
        )

    async def skipped() -> list[str]:
        found = await day.hub.get("/api/v1/deliveries?target=blood_center%2Fuser_status_push&limit=5")
        return [delivery["state"] for delivery in found["deliveries"]]

    await checks.eventually(
        t("the blood centre, where he has none, is left out", "血液中心无其账号，跳过"), ["skipped"], skipped
    )
    checks.expect(t("and got nothing", "且未收到任何内容"), [], parties.got("blood_center/user_status_push"))
    question = {"requestId": day.number("RQ"), "protocol": "oauth2", "token": "token-of-the-browser"}
    answer = await parties.send("oa/sso_token_check", question)
    checks.expect_that(
        t("an application asks whether a token is good and gets the signed answer", "应用校验令牌，得到签名的应答"),
        answer.ok and len(parties.got("identity/token_check")) == 1,
        "ok",
        (answer.status, answer.error, [str(problem) for problem in answer.problems]),
    )
    checks.expect(
        t("the identity service knows which application asked", "身份认证获知由哪个应用发起"),
        "oa",
        parties.got("identity/token_check")[0].get("application"),
    )
