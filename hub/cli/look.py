"""Commands that only look: ``status``, ``probe``, ``plugins``, ``messages``, ``show``, ``calls``, ``verify-ledger``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.progress import Progress

from hub.admin.chains import chain_json
from hub.admin.present import (
    bodies_json,
    call_json,
    call_query,
    delivery_json,
    ledger_json,
    message_json,
    message_query,
    message_row_json,
    parse_ids,
)
from hub.cli.audit_reads import audit_troubles
from hub.cli.callbacks import print_chain
from hub.cli.common import (
    DEFAULT_CONFIG,
    AsJson,
    Clear,
    Config,
    Limit,
    ask,
    console,
    emit,
    read,
    site,
    table,
)
from hub.errors import HubError, Problem
from hub.i18n import t
from hub.ids import id_text
from hub.message import CallRecord, Delivery, Message
from hub.shared_calls import batch_of, shared_calls
from hub.store.base import Chain, LedgerReport, SearchPage, StoreReader

#: Bytes of a message that are read, and written, at a time.
_RAW_PART = 1 << 20

STATUS_HELP = t("How the running hub fares: interfaces, targets, queues.", "正在运行的枢纽的状况：接口、目标、队列。")
PLUGINS_HELP = t(
    "The plugins, what they can receive and send, and what is wrong with them.", "插件及其收发接口与问题。"
)
MESSAGES_HELP = t(
    "Search stored messages, newest first. Example: hub messages --key name=小明 --since -1h --state dead",
    "检索已存消息，新的在前。例：hub messages --key name=小明 --since -1h --state dead",
)
SHOW_HELP = t(
    "One message: envelope, deliveries, every call; --raw prints the bytes as received.",
    "一条消息：信封、投递、每次调用；--raw 输出原始字节。",
)
CALLS_HELP = t(
    "The call log, newest first: every call in and every attempt out.", "调用日志，新的在前：每次接入与每次投递尝试。"
)
LEDGER_HELP = t(
    "Prove from the store that nothing vanished; status 1 when it does not balance.",
    "据存储证明没有消息丢失；不平时退出码为 1。",
)
PROBE_HELP = t(
    "Test the connections of a system, or of one interface, without side effects; status 1 when one fails. Example: hub probe his",
    "测试某系统或某接口的连接，不产生副作用；有失败时退出码为 1。例：hub probe his",
)

_Since = Annotated[str, typer.Option(help=t("from: 2026-11-21T08:30, or -15m", "起始时间：2026-11-21T08:30 或 -15m"))]
_Until = Annotated[str, typer.Option(help=t("until", "截止时间"))]


def probe(
    place: Annotated[str, typer.Argument(help=t("system, or system/interface", "系统，或 系统/接口"))],
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    where = site(config)
    answer = ask(where, "POST", "/api/v1/probe", body=orjson.dumps({"place": place}))
    rows = answer["probes"]
    if not rows:
        raise HubError(t(f"nothing called {place} is running", f"没有正在运行的 {place}"))
    if as_json:
        emit(answer)
    else:
        table(
            [t("interface", "接口"), t("way", "方向"), t("well", "正常"), "ms", t("what it said", "说明")],
            [
                [
                    row["place"],
                    row["direction"],
                    t("yes", "是") if row["ok"] else t("no", "否"),
                    row["took_ms"],
                    row["text"],
                ]
                for row in rows
            ],
        )
    if not all(row["ok"] for row in rows):
        sys.exit(1)


def status(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    answer = ask(site(config), "GET", "/api/v1/status")
    if as_json:
        return emit(answer)
    for problem in answer["not_taken_over"]:
        text = t("saved, but not taken over: ", "已保存但未生效：") + str(Problem(**problem))
        console.print(text, style="red", markup=False)
    for text in audit_troubles(answer):
        console.print(text, style="red", markup=False)
    for worker in answer["workers"]:
        figures = worker["figures"]
        table(
            [
                t("receives", "接收"),
                t("address", "地址"),
                t("received", "收到"),
                t("accepted", "接受"),
                t("duplicate", "重复"),
                t("refused", "拒绝"),
            ],
            [
                [
                    place,
                    " ".join(row.get("listening", ())) or row.get("source", ""),
                    *(
                        figures["inbound"].get(place, {}).get(k, 0)
                        for k in ("received", "accepted", "duplicate", "refused")
                    ),
                ]
                for place, row in worker["inbound"].items()
            ],
        )
        table(
            [
                t("delivers to", "投递至"),
                t("delivered", "成功"),
                t("dead", "死信"),
                t("retried", "重试"),
                t("ready", "待发"),
                t("in flight", "在途"),
                t("waiting", "等待重试"),
                t("breaker", "熔断器"),
            ],
            [
                [
                    place,
                    *(figures["outbound"].get(place, {}).get(k, 0) for k in ("delivered", "dead", "retried")),
                    row["ready"],
                    row["in_flight"],
                    row["retrying"],
                    row["breaker"],
                ]
                for place, row in worker["outbound"].items()
            ],
        )
        collected = [
            [
                place,
                row.get("gathering", 0),
                *(round(figures["outbound"][place]["batch"][k], 1) for k in ("count", "mean", "max")),
            ]
            for place, row in worker["outbound"].items()
            if "batch" in figures["outbound"].get(place, {})
        ]
        if collected:
            table(
                [
                    t("several in one call", "合并发送"),
                    t("gathering", "聚集中"),
                    t("calls", "调用"),
                    t("messages per call", "每次条数"),
                    t("most", "最多"),
                ],
                collected,
            )
        resting = [[place, row["out_of_hours"]] for place, row in worker["outbound"].items() if row.get("out_of_hours")]
        if resting:
            table([t("out of hours", "时段外等待"), t("deliveries", "投递")], resting)
        awaited = [
            [place, row["awaited"], row["overdue"]] for place, row in figures["outbound"].items() if "awaited" in row
        ]
        if awaited:
            table([t("answers later", "稍后应答"), t("awaited", "待应答"), t("overdue", "超期")], awaited)
        if figures["checks"]:
            table(
                [
                    t("validates", "校验"),
                    t("checked", "已校验"),
                    t("marked", "有问题"),
                    t("refused", "拒绝"),
                    t("not checked", "未校验"),
                ],
                [
                    [place, *(row[k] for k in ("checked", "marked", "refused", "not_checked"))]
                    for place, row in figures["checks"].items()
                ],
            )
        for problem in worker["problems"]:
            console.print(f"{problem['severity']}: {problem['file']} {problem['key']}: {problem['text']}", markup=False)


def plugins(
    plugin: Annotated[
        str,
        typer.Argument(
            help=t("show the contract of this one, and where each part is written", "显示此插件生效的契约及各部分出处")
        ),
    ] = "",
    config: Config = DEFAULT_CONFIG,
    quality: Annotated[
        bool,
        typer.Option("--quality", help=t("their levels, and what is missing for the next", "质量等级及升级所缺")),
    ] = False,
    as_json: AsJson = False,
) -> None:
    from hub.deployment import load_deployment

    if plugin:
        from hub.cli.effective import print_effective

        return print_effective(site(config).file, plugin, as_json)
    if quality:
        return _plugin_qualities(site(config).file, as_json)

    from hub.verify.badges import levels

    deployment = load_deployment(site(config).file)
    reached = levels(site(config).file)
    rows = [row | {"level": reached.get(row["id"], "")} for row in deployment.plugin_list()]
    if as_json:
        return emit({"plugins": rows, "problems": [p.as_dict() for p in deployment.problems]})
    table(
        [
            t("plugin", "插件"),
            t("level", "等级"),
            t("name", "名称"),
            t("version", "版本"),
            t("interfaces", "接口"),
            t("systems", "系统"),
        ],
        [
            [
                r["id"],
                r["level"] or "–",
                r["name"],
                r["version"],
                " ".join(("← " if i["direction"] == "in" else "→ ") + i["id"] for i in r["interfaces"]),
                " ".join(r["systems"]),
            ]
            if r["loaded"]
            else [r["id"], "", t("could not be loaded", "未能加载"), "", "", ""]
            for r in rows
        ],
    )
    for problem in deployment.problems:
        console.print(f"{problem.severity}: {problem}", markup=False)


def _plugin_qualities(config_file: Path, as_json: bool) -> None:
    from hub.plugin_quality import qualities

    found = qualities(config_file)
    if as_json:
        return emit({"plugins": [quality.as_dict() for quality in found.values()]})
    table(
        [t("plugin", "插件"), t("level", "等级"), t("missing for the next level", "升级所缺")],
        [[name, quality.word, "; ".join(quality.missing)] for name, quality in found.items()],
    )


def messages(
    config: Config = DEFAULT_CONFIG,
    since: _Since = "",
    until: _Until = "",
    system: Annotated[str, typer.Option(help=t("received from this system", "来源系统"))] = "",
    source: Annotated[str, typer.Option(help=t("received by this interface", "接收接口"))] = "",
    message_type: Annotated[str, typer.Option("--type", help=t("message type, ADT^A*", "消息类型，可写 ADT^A*"))] = "",
    state: Annotated[str, typer.Option(help=t("a delivery is in this state", "有投递处于此状态"))] = "",
    target: Annotated[str, typer.Option(help=t("a delivery goes there", "投递目标"))] = "",
    route: Annotated[str, typer.Option(help=t("by this route", "路由"))] = "",
    control_id: Annotated[str, typer.Option(help=t("the sender's message number", "发送方控制号"))] = "",
    correlation: Annotated[str, typer.Option(help=t("correlation id", "关联号"))] = "",
    key: Annotated[
        list[str] | None, typer.Option(help=t("business key, name=value; repeatable", "业务键，名=值，可重复"))
    ] = None,
    text: Annotated[str, typer.Option(help=t("words in the payload", "报文中的文字"))] = "",
    conflict: Annotated[bool, typer.Option(help=t("only conflicting ones", "仅控制号冲突的"))] = False,
    before: Annotated[str, typer.Option(help=t("only older than this id", "仅早于此编号的"))] = "",
    limit: Limit = 50,
    clear: Clear = False,
    as_json: AsJson = False,
) -> None:
    params: dict[str, str] = {
        "since": since, "until": until, "system": system, "source": source, "type": message_type, "state": state,
        "target": target, "route": route, "control_id": control_id, "correlation": correlation, "text": text,
        "conflict": "1" if conflict else "", "before": before, "limit": str(limit),
    }  # fmt: skip
    for pair in key or []:
        name, found, value = pair.partition("=")
        if not found:
            raise HubError(t(f"--key {pair}: write name=value", f"--key {pair}：请写成 名=值"))
        params[f"key.{name}"] = value
    where = site(config)
    query = message_query(params, where.salt if key else b"")

    async def question(reader: StoreReader) -> SearchPage:
        return await reader.search(query)

    page = read(where, question)
    rows = [message_row_json(row, clear=clear) for row in page.rows]
    if as_json:
        return emit({"messages": rows, "more": page.more, "text_lag": page.text_lag})
    table(
        [
            "id",
            t("received", "接收时间"),
            t("source", "来源"),
            t("type", "类型"),
            t("control id", "控制号"),
            t("keys", "业务键"),
            t("deliveries", "投递"),
        ],
        [
            [
                r["id"],
                r["received_at"][:23],
                r["source"],
                r["type"] + (" !" if r["conflict"] else ""),
                r["control_id"],
                " ".join(f"{k}={v}" for k, v in r["keys"].items()),
                " ".join(f"{d['target']}:{d['state']}" for d in r["deliveries"]),
            ]
            for r in rows
        ],
    )
    if page.more:
        console.print(t(f"… older ones: --before {rows[-1]['id']}", f"… 更早的：--before {rows[-1]['id']}"))
    if text and page.text_lag:
        console.print(t(f"the text index is {page.text_lag} messages behind", f"全文索引落后 {page.text_lag} 条消息"))


async def _write_raw(reader: StoreReader, number: int, name: str) -> None:
    at = 0
    while (part := await reader.raw_part(number, at, _RAW_PART)) != b"":
        if part is None:
            raise HubError(t(f"there is no message {name}", f"没有消息 {name}"))
        sys.stdout.buffer.write(part)
        at += len(part)


def show(
    message_id: Annotated[str, typer.Argument(help=t("id of a message", "消息编号"))],
    config: Config = DEFAULT_CONFIG,
    raw: Annotated[bool, typer.Option(help=t("only the bytes as received", "只输出原始字节"))] = False,
    clear: Clear = False,
    as_json: AsJson = False,
) -> None:
    (number,) = parse_ids([message_id])
    if raw:
        return read(site(config), lambda reader: _write_raw(reader, number, message_id))

    async def question(
        reader: StoreReader,
    ) -> tuple[Message | None, list[Delivery], list[CallRecord], list[CallRecord], Chain]:
        calls = await reader.calls_of(number)
        found = await reader.message(number), await reader.deliveries_of(number), calls
        return *found, await shared_calls(reader, calls), await reader.chain(number)

    message, deliveries, calls, shared, chain = read(site(config), question)
    if message is None:
        raise HubError(t(f"there is no message {message_id}", f"没有消息 {message_id}"))
    body, bodies = bodies_json(message, calls, shared, clear=clear)
    out: dict[str, Any] = {
        **message_json(message, clear=clear),
        "body": body,
        "chain": chain_json(chain),
        "deliveries": [delivery_json(d) for d in deliveries],
        "calls": bodies[0],
        "shared_calls": bodies[1],
    }
    if as_json:
        return emit(out)
    for name in ("id", "received_at", "source", "type", "control_id", "size", "keys", "conflict"):
        console.print(f"{name}: {out[name]}", markup=False)
    print_chain(out["chain"])
    _deliveries(out["deliveries"])
    _calls(out["calls"])
    for row in calls:
        if "call" in (batch := batch_of(row)):
            at, count, call_id = batch["place"], batch["messages"], batch["call"]
            text = t(f"number {at} of {count} in call {call_id}", f"为调用 {call_id} 所带 {count} 条中的第 {at} 条")
            console.print(f"{id_text(row.id)}: {text}", markup=False)
    for call in out["calls"]:
        if "validation" in call:
            _findings(call["place"], call["validation"])
    for line in "".join((body or {}).get(key, "") for key in ("text", "withheld", "base64")).splitlines():
        console.print("".join(c if c.isprintable() or c == "\t" else "·" for c in line), markup=False)


def _deliveries(rows: list[dict[str, Any]]) -> None:
    table(
        [
            t("delivery", "投递"),
            t("target", "目标"),
            t("state", "状态"),
            t("attempts", "次数"),
            t("updated", "更新"),
            t("reason", "原因"),
        ],
        [
            [
                r["id"],
                r["target"],
                r["state"],
                r["attempts"],
                r["updated_at"][:23],
                f"{r['step']} {r['reason']}".strip(),
            ]
            for r in rows
        ],
    )


def _calls(rows: list[dict[str, Any]]) -> None:
    table(
        [
            t("call", "调用"),
            t("at", "时间"),
            t("place", "接口"),
            t("outcome", "结果"),
            t("code", "代码"),
            "ms",
            t("try", "第几次"),
            t("message", "消息"),
            t("error", "错误"),
        ],
        [
            [
                r["id"],
                r["at"][:23],
                ("← " if r["direction"] == "in" else "→ ") + r["place"],
                r["outcome"],
                r["code"],
                r["took_ms"],
                r["attempt"] or "",
                r["message_id"],
                r["error"],
            ]
            for r in rows
        ],
    )


def _findings(place: str, report: dict[str, Any]) -> None:
    score = "" if report["score"] is None else t(f", score {report['score']:.1f}", f"，得分 {report['score']:.1f}")
    console.print(t("validation ", "校验 ") + f"{place}: {report['verdict']}{score}  {report['checks']}", markup=False)
    if report["findings"]:
        table(
            [t("severity", "级别"), t("rule", "规则"), t("place", "位置"), t("finding", "问题"), t("advice", "建议")],
            [[f["severity"], f["rule"], f["place"], f["text"], f["advice"]] for f in report["findings"]],
        )
    hidden = report["errors"] + report["warnings"] - len(report["findings"])
    if hidden > 0:
        console.print(t(f"… and {hidden} more", f"… 另有 {hidden} 项"))


def calls(
    config: Config = DEFAULT_CONFIG,
    place: Annotated[str, typer.Option(help=t("system or system/interface", "系统或 系统/接口"))] = "",
    direction: Annotated[str, typer.Option(help=t("in or out", "in 或 out"))] = "",
    outcome: Annotated[str, typer.Option(help=t("outcomes, separated by commas", "结果，逗号分隔"))] = "",
    failed: Annotated[bool, typer.Option(help=t("only failures", "仅失败"))] = False,
    since: _Since = "",
    until: _Until = "",
    before: Annotated[str, typer.Option(help=t("only older than this id", "仅早于此编号的"))] = "",
    limit: Limit = 50,
    bodies: Annotated[
        bool, typer.Option("--bodies", help=t("with what was sent and answered (--json)", "含收发内容（--json）"))
    ] = False,
    clear: Clear = False,
    as_json: AsJson = False,
) -> None:
    query = call_query(
        {
            "place": place,
            "direction": direction,
            "outcome": outcome,
            "failed": "1" if failed else "",
            "since": since,
            "until": until,
            "before": before,
            "limit": str(limit),
            "bodies": "1" if clear or bodies else "",
        }
    )

    async def question(reader: StoreReader) -> list[CallRecord]:
        return await reader.calls(query)

    rows = [call_json(c, bodies=clear or bodies, clear=clear) for c in read(site(config), question)]
    if as_json:
        return emit({"calls": rows})
    _calls(rows)


def verify_ledger(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    with Progress(console=console, transient=True, disable=as_json) as progress:
        job = progress.add_task(t("verifying", "核对中"), total=None)

        async def question(reader: StoreReader) -> LedgerReport:
            return await reader.verify_ledger(lambda done, total: progress.update(job, completed=done, total=total))

        report = read(site(config), question)
    if as_json:
        emit(ledger_json(report))
    else:
        table(
            [
                t("route", "路由"),
                t("target", "目标"),
                t("routed", "应投"),
                t("delivered", "已投"),
                t("dead", "死信"),
                t("held", "暂存"),
                t("skipped", "跳过"),
                t("moving", "进行中"),
                "",
            ],
            [
                [
                    row.route or t("(operator)", "（人工）"),
                    row.target,
                    row.routed,
                    row.delivered,
                    row.dead,
                    row.held,
                    row.skipped,
                    row.moving,
                    "=" if row.balanced else "≠",
                ]
                for row in report.rows
            ],
        )
        for problem in report.problems:
            console.print(f"! {problem}", markup=False)
        verdict = (
            t("the ledger balances", "账目平衡") if report.balanced else t("THE LEDGER DOES NOT BALANCE", "账目不平")
        )
        console.print(
            t(
                f"{report.messages} messages, {report.filtered} matched no route"
                + (f", {report.waiting} wait for what they answer: " if report.waiting else ": "),
                f"{report.messages} 条消息，{report.filtered} 条无路由"
                + (f"，{report.waiting} 条等待其所应答的请求：" if report.waiting else "："),
            )
            + verdict
        )
    if not report.balanced:
        sys.exit(1)
