"""``hub callers``: who may call. Orders go through the running hub, which alone writes the registry; they are in force with the next call."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from hub.cli.callers_addresses import COMMANDS, Until, Why
from hub.cli.callers_print import print_caller, print_issued, print_list, print_usage
from hub.cli.common import DEFAULT_CONFIG, AsJson, Clear, Config, ask, console, emit, site, table
from hub.i18n import t

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help=t(
        "Who may call interfaces with auth: {type: caller}: callers, their credentials, addresses and limits.",
        "调用方管理：谁可以调用 auth: {type: caller} 的接口，及其凭据、地址与配额。",
    ),
)

for command_name, command, text in COMMANDS:
    app.command(command_name, help=text)(command)

Name = Annotated[str, typer.Argument(help=t("id of the caller", "调用方标识"))]
Credential = Annotated[str, typer.Argument(help=t("id of the credential", "凭据编号"))]
Places = Annotated[
    list[str] | None,
    typer.Option("--place", help=t("interfaces, e.g. his/*; repeatable", "可用接口，例如 his/*，可重复")),
]
Types = Annotated[
    list[str] | None,
    typer.Option("--type", help=t("message types, e.g. ADT^*; default: all", "消息类型，例如 ADT^*；缺省为全部")),
]
Rate = Annotated[
    float | None, typer.Option("--rate", min=0, help=t("calls per second, 0: no limit", "每秒调用数，0 为不限"))
]
Burst = Annotated[int | None, typer.Option(min=0, help=t("calls at once", "突发调用数"))]
PerDay = Annotated[int | None, typer.Option("--per-day", min=0, help=t("calls per day", "每日调用数"))]
PerMonth = Annotated[int | None, typer.Option("--per-month", min=0, help=t("calls per month", "每月调用数"))]
PerYear = Annotated[int | None, typer.Option("--per-year", min=0, help=t("calls per year", "每年调用数"))]
From = Annotated[str, typer.Option("--from", help=t("valid from this day on", "生效日期"))]
Purpose = Annotated[str, typer.Option(help=t("what it calls for", "用途"))]
Tenant = Annotated[str, typer.Option(help=t("institution or region it belongs to", "所属机构或地区"))]
Contact = Annotated[str, typer.Option(help=t("people to talk to; kept sealed", "联系人，密封保存"))]
Public = Annotated[
    Path | None,
    typer.Option(help=t("file: public key, JWK set or certificate", "公钥、JWK 集合或证书文件"), exists=True),
]


def _rights(**given: Any) -> dict[str, Any]:
    """What was said on the command line, as the admin API wants it; what was not said stays as it is."""
    limits = {
        name: given[name]
        for name in ("per_second", "burst", "per_day", "per_month", "per_year")
        if given.get(name) is not None
    }
    order = {name: given[name] for name in given if name not in limits and given[name] not in (None, "")}
    order = {name: value for name, value in order.items() if not name.startswith("per_") and name != "burst"}
    return {**order, **({"limits": limits} if limits else {})}


def _done(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        return emit(answer)
    console.print(f"{answer['id']}: {answer['state']}", markup=False)


def _verb(config: Path, caller: str, verb: str, order: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = ask(site(config), "POST", f"/api/v1/callers/{quote(caller, safe='')}/{verb}", body=order)
    return answer


@app.command(
    "apply",
    help=t(
        "Enter an application. Example: hub callers apply east_hospital --name 'East hospital' --kind institution --place 'his/*'",
        "登记申请。例：hub callers apply east_hospital --name 东区医院 --kind institution --place 'his/*'",
    ),
)
def apply(
    caller: Name,
    name: Annotated[str, typer.Option(help=t("its name", "名称"))],
    kind: Annotated[str, typer.Option(help="developer, institution, operator")],
    config: Config = DEFAULT_CONFIG,
    place: Places = None,
    message_type: Types = None,
    rate: Rate = None,
    burst: Burst = None,
    per_day: PerDay = None,
    per_month: PerMonth = None,
    per_year: PerYear = None,
    valid_from: From = "",
    valid_until: Until = "",
    purpose: Purpose = "",
    tenant: Tenant = "",
    contact: Contact = "",
    as_json: AsJson = False,
) -> None:
    order = _rights(
        name=name, kind=kind, places=place, types=message_type, per_second=rate, burst=burst, per_day=per_day,
        per_month=per_month, per_year=per_year, valid_from=valid_from, valid_until=valid_until, purpose=purpose,
        tenant=tenant, contact=contact,
    )  # fmt: skip
    _done(ask(site(config), "POST", "/api/v1/callers", body={"id": caller, **order}), as_json)


@app.command(
    "change",
    help=t("Change what a caller may do. Limits are given anew as a whole.", "更改调用方的权限；配额须整体重新给出。"),
)
def change(
    caller: Name,
    config: Config = DEFAULT_CONFIG,
    name: Annotated[str, typer.Option(help=t("its name", "名称"))] = "",
    place: Places = None,
    message_type: Types = None,
    rate: Rate = None,
    burst: Burst = None,
    per_day: PerDay = None,
    per_month: PerMonth = None,
    per_year: PerYear = None,
    valid_from: From = "",
    valid_until: Until = "",
    purpose: Purpose = "",
    tenant: Tenant = "",
    contact: Contact = "",
    reason: Why = "",
    as_json: AsJson = False,
) -> None:
    order = _rights(
        name=name, places=place, types=message_type, per_second=rate, burst=burst, per_day=per_day,
        per_month=per_month, per_year=per_year, valid_from=valid_from, valid_until=valid_until, purpose=purpose,
        tenant=tenant, contact=contact, reason=reason,
    )  # fmt: skip
    _done(_verb(config, caller, "change", order), as_json)


@app.command("review", help=t("Approve or reject an application.", "审核申请：批准或驳回。"))
def review(
    caller: Name,
    approve: Annotated[bool, typer.Option("--approve/--reject", help=t("the decision", "审核结论"))],
    config: Config = DEFAULT_CONFIG,
    reason: Why = "",
    as_json: AsJson = False,
) -> None:
    _done(_verb(config, caller, "review", {"approve": approve, "reason": reason}), as_json)


@app.command("enable", help=t("Let a disabled caller call again.", "恢复已停用的调用方。"))
def enable(caller: Name, config: Config = DEFAULT_CONFIG, reason: Why = "", as_json: AsJson = False) -> None:
    _done(_verb(config, caller, "enable", {"reason": reason}), as_json)


@app.command(
    "disable", help=t("Take nothing more from a caller, from its next call on.", "停用调用方，自下一次调用起生效。")
)
def disable(caller: Name, config: Config = DEFAULT_CONFIG, reason: Why = "", as_json: AsJson = False) -> None:
    _done(_verb(config, caller, "disable", {"reason": reason}), as_json)


@app.command("list", help=t("Callers and their state.", "调用方及其状态。"))
def list_(
    config: Config = DEFAULT_CONFIG,
    state: Annotated[str, typer.Option(help="applied, rejected, enabled, disabled")] = "",
    as_json: AsJson = False,
) -> None:
    answer = ask(site(config), "GET", "/api/v1/callers", query={"state": state})
    return emit(answer) if as_json else print_list(answer["callers"])


@app.command("show", help=t("A caller with its credentials, addresses and quotas.", "调用方及其凭据、地址与配额。"))
def show(caller: Name, config: Config = DEFAULT_CONFIG, clear: Clear = False, as_json: AsJson = False) -> None:
    answer = ask(
        site(config), "GET", f"/api/v1/callers/{quote(caller, safe='')}", query={"clear": "1" if clear else ""}
    )
    return emit(answer) if as_json else print_caller(answer)


# -- credentials ---------------------------------------------------------------------------------------------------------


@app.command(
    "issue",
    help=t(
        "Make a credential; its secret is shown once. Example: hub callers issue east_hospital --kind api_key",
        "签发凭据，密钥只显示一次。例：hub callers issue east_hospital --kind api_key",
    ),
)
def issue(
    caller: Name,
    kind: Annotated[str, typer.Option(help="api_key, bearer, basic, oauth2, hmac, jwt, mtls, sm2, rsa")],
    config: Config = DEFAULT_CONFIG,
    until: Until = "",
    note: Annotated[str, typer.Option(help=t("what it is for", "备注"))] = "",
    public: Public = None,
    algorithm: Annotated[str, typer.Option("--alg", help="jwt: RS256, PS256, ES256, EdDSA, HS256")] = "",
    issuer: Annotated[
        str, typer.Option("--iss", help=t("jwt: default: the caller's id", "jwt：缺省为调用方标识"))
    ] = "",
    audience: Annotated[
        str, typer.Option("--aud", help=t("jwt: default: access.audience", "jwt：缺省为 access.audience"))
    ] = "",
    once: Annotated[
        bool, typer.Option("--once", help=t("jwt: each token (jti) counts once", "jwt：每个令牌（jti）只可用一次"))
    ] = False,
    longest: Annotated[int, typer.Option(help=t("jwt: longest life of a token, seconds", "jwt：令牌最长有效秒数"))] = 0,
    shows: Annotated[
        str,
        typer.Option(
            help=t("mtls: dns:NAME, uri:…, subject:…, fingerprint:…", "mtls：dns:名称、uri:…、subject:…、fingerprint:…")
        ),
    ] = "",
    reason: Why = "",
    as_json: AsJson = False,
) -> None:
    facts = {
        "alg": algorithm, "iss": issuer, "aud": audience, "once": once, "longest": longest, "shows": shows
    }  # fmt: skip
    order = {
        "kind": kind,
        "valid_until": until,
        "note": note,
        "reason": reason,
        "facts": {name: value for name, value in facts.items() if value},
        "public": public.read_text(encoding="utf-8") if public else "",
    }
    answer = _verb(config, caller, "issue", order)
    return emit(answer) if as_json else print_issued(answer)


@app.command(
    "rotate",
    help=t(
        "Make a credential's successor; the old one stays valid for --overlap.",
        "轮换凭据；旧凭据在 --overlap 期内仍有效。",
    ),
)
def rotate(
    credential: Credential,
    config: Config = DEFAULT_CONFIG,
    overlap: Annotated[str, typer.Option(help=t("e.g. 7d, 0s", "例如 7d、0s"))] = "7d",
    until: Until = "",
    public: Public = None,
    as_json: AsJson = False,
) -> None:
    order: dict[str, Any] = {"overlap": overlap, "valid_until": until}
    if public is not None:
        order["public"] = public.read_text(encoding="utf-8")
    answer = ask(site(config), "POST", f"/api/v1/credentials/{quote(credential, safe='')}/rotate", body=order)
    return emit(answer) if as_json else print_issued(answer)


@app.command("revoke", help=t("Take a credential out of use at once.", "立即吊销凭据。"))
def revoke(credential: Credential, config: Config = DEFAULT_CONFIG, reason: Why = "", as_json: AsJson = False) -> None:
    path = f"/api/v1/credentials/{quote(credential, safe='')}/revoke"
    answer = ask(site(config), "POST", path, body={"reason": reason})
    if as_json:
        return emit(answer)
    console.print(t(f"{credential} is revoked", f"{credential} 已吊销"), markup=False)


# -- looking -------------------------------------------------------------------------------------------------------------


@app.command(
    "usage",
    help=t(
        "Calls by day, caller and interface; the last 30 days unless told otherwise.",
        "按日、调用方与接口统计调用；缺省为最近 30 天。",
    ),
)
def usage(
    caller: Annotated[str, typer.Argument(help=t("only of this caller", "仅该调用方"))] = "",
    config: Config = DEFAULT_CONFIG,
    since: Annotated[str, typer.Option(help=t("first day", "起始日期"))] = "",
    until: Annotated[str, typer.Option(help=t("last day", "结束日期"))] = "",
    as_json: AsJson = False,
) -> None:
    answer = ask(site(config), "GET", "/api/v1/caller-usage", query={"caller": caller, "since": since, "until": until})
    return emit(answer) if as_json else print_usage(answer["usage"])


@app.command("log", help=t("What was changed about callers by whom.", "调用方的变更记录。"))
def log(
    config: Config = DEFAULT_CONFIG,
    after: Annotated[int, typer.Option(min=0, help=t("only entries after this number", "仅此编号之后"))] = 0,
    as_json: AsJson = False,
) -> None:
    import json

    answer = ask(site(config), "GET", "/api/v1/caller-journal", query={"after": after})
    if as_json:
        return emit(answer)
    entries = [(row["seq"], json.loads(row["entry"])) for row in answer["entries"]]
    rows = [
        [
            seq,
            datetime.fromtimestamp(e["at"] / 1e6).isoformat(" ", "seconds"),
            e["actor"],
            e["action"],
            e["subject"],
            e["reason"],
        ]
        for seq, e in entries
    ]
    table(
        ["#", t("at", "时间"), t("who", "操作人"), t("action", "操作"), t("about", "对象"), t("reason", "原因")], rows
    )
    for problem in answer["problems"]:
        console.print(problem, markup=False)
