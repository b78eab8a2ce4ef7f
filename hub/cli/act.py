"""Commands that change something: ``send``, ``dead``, ``replay``, ``reload``. They go through the running hub."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import track

from hub.admin.present import delivery_json, delivery_query, message_query, parse_ids
from hub.cli.common import DEFAULT_CONFIG, AsJson, Clear, Config, Limit, Site, ask, console, emit, read, site, table
from hub.errors import HubError
from hub.i18n import t
from hub.message import Delivery
from hub.operations import VERBS
from hub.store.base import StoreReader

SEND_HELP = t(
    "Hand files to an inbound interface of the running hub as if it had received them. Example: hub send his/adt a01.hl7",
    "把文件交给正在运行的枢纽的某个接收接口，如同其收到一般。例：hub send his/adt a01.hl7",
)
DEAD_HELP = t(
    "List dead letters, or do something about them: hub dead resend ID … | hub dead resend --target platform --all. "
    "Verbs: resend, forward, hold, delete, ignore.",
    "列出死信，或处理：hub dead resend 编号 … | hub dead resend --target platform --all。"
    "操作：resend 重发、forward 转发、hold 暂存、delete 删除、ignore 忽略。",
)
REPLAY_HELP = t(
    "Run stored messages again and show, field by field, what differs from last time. Nothing is sent with --dry-run.",
    "重放已存消息，逐字段显示与上次的差异。--dry-run 时不发送。",
)
RELOAD_HELP = t("Make the running hub read its configuration anew.", "让正在运行的枢纽重新读取配置。")


POLL_HELP = t(
    "Let the running hub read a source now, whatever its schedule says. Example: hub poll his/rows",
    "让正在运行的枢纽立即读取某个来源，不论其调度。例：hub poll his/rows",
)


def poll(
    place: Annotated[str, typer.Argument(help=t("system/interface", "系统/接口"))],
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    if place.count("/") != 1:
        raise HubError(t(f"{place}: write system/interface", f"{place}：请写成 系统/接口"))
    answer = ask(site(config), "POST", f"/api/v1/interfaces/{place}/poll", body=b"")
    if as_json:
        return emit(answer)
    console.print(
        t(f"{place}: asked; hub status shows the run", f"{place}：已要求读取；hub status 可查看"), markup=False
    )


def send(
    place: Annotated[str, typer.Argument(help=t("system/interface", "系统/接口"))],
    files: Annotated[
        list[Path], typer.Argument(help=t("files, each one message", "文件，每个一条消息"), exists=True, dir_okay=False)
    ],
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    where = site(config)
    if place.count("/") != 1:
        raise HubError(t(f"{place}: write system/interface", f"{place}：请写成 系统/接口"))
    results = []
    failed = False
    for file in track(
        files, t("sending", "发送中"), console=console, transient=True, disable=as_json or len(files) < 20
    ):
        try:
            answer = ask(where, "POST", f"/api/v1/interfaces/{place}/messages", body=file.read_bytes())
        except HubError as error:
            failed = True
            answer = {"outcome": "refused", "error": error.text, "code": error.code}
        results.append({"file": str(file), **answer})
    if as_json:
        emit({"results": results})
    else:
        table(
            [t("file", "文件"), t("outcome", "结果"), t("message", "消息"), t("type", "类型"), t("error", "错误")],
            [
                [r["file"], r["outcome"], r.get("message_id", ""), r.get("type", ""), r.get("error", "")]
                for r in results
            ],
        )
    if failed:
        sys.exit(1)


def dead(
    verb: Annotated[
        str,
        typer.Argument(
            help=t("list, resend, forward, hold, delete or ignore", "list、resend、forward、hold、delete 或 ignore")
        ),
    ] = "list",
    ids: Annotated[list[str] | None, typer.Argument(help=t("ids of deliveries", "投递编号"))] = None,
    config: Config = DEFAULT_CONFIG,
    state: Annotated[str, typer.Option(help=t("states, separated by commas", "状态，逗号分隔"))] = "dead",
    target: Annotated[str, typer.Option(help=t("only to this target", "仅此目标"))] = "",
    route: Annotated[str, typer.Option(help=t("only by this route", "仅此路由"))] = "",
    with_reason: Annotated[str, typer.Option(help=t("only whose reason contains this", "仅原因含此文字的"))] = "",
    since: Annotated[str, typer.Option(help=t("from: 2026-11-21T08:30, or -15m", "起始时间"))] = "",
    everything: Annotated[bool, typer.Option("--all", help=t("all that the options select", "选项选中的全部"))] = False,
    step: Annotated[
        str,
        typer.Option(help=t("resend from: auto (the failed step), map, send", "重发起点：auto（失败步骤）、map、send")),
    ] = "auto",
    to: Annotated[str, typer.Option(help=t("forward to this target", "转发至此目标"))] = "",
    why: Annotated[str, typer.Option(help=t("reason, for the audit trail", "理由，记入审计"))] = "",
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    where = site(config)
    selection = {"state": state, "target": target, "route": route, "reason": with_reason, "since": since}
    if verb == "list":
        query = delivery_query({**selection, "limit": str(limit)})

        async def question(reader: StoreReader) -> list[Delivery]:
            return await reader.deliveries(query)

        rows = [delivery_json(d) for d in read(where, question)]
        if as_json:
            return emit({"deliveries": rows})
        table(
            [
                t("delivery", "投递"),
                t("message", "消息"),
                t("target", "目标"),
                t("state", "状态"),
                t("attempts", "次数"),
                t("updated", "更新"),
                t("step", "步骤"),
                t("reason", "原因"),
            ],
            [
                [
                    r["id"],
                    r["message_id"],
                    r["target"],
                    r["state"],
                    r["attempts"],
                    r["updated_at"][:23],
                    r["step"],
                    r["reason"],
                ]
                for r in rows
            ],
        )
        return
    if verb not in VERBS:
        raise HubError(
            t(f"{verb!r} is none of list, {', '.join(VERBS)}", f"{verb!r} 不在 list, {', '.join(VERBS)} 之中")
        )
    if bool(ids) == everything:
        raise HubError(t("name deliveries by id, or select them with --all", "请给出投递编号，或用 --all 选中全部"))
    order: dict[str, Any] = {"reason": why, "step": step, "target": to}
    if ids:
        parse_ids(list(ids))
        order["ids"] = ids
    else:
        order["query"] = {k: v for k, v in selection.items() if v}
    answer = ask(where, "POST", f"/api/v1/deliveries/{verb}", body=order)
    if as_json:
        emit(answer)
    else:
        console.print(
            t(
                f"{verb}: {len(answer['done'])} done, {len(answer['refused'])} refused",
                f"{verb}：{len(answer['done'])} 完成，{len(answer['refused'])} 未做",
            )
        )
        for number, text in answer["refused"].items():
            console.print(f"  {number}: {text}", markup=False)
    if answer["refused"]:
        sys.exit(1)


def replay(
    ids: Annotated[list[str] | None, typer.Argument(help=t("ids of messages", "消息编号"))] = None,
    config: Config = DEFAULT_CONFIG,
    since: Annotated[str, typer.Option(help=t("messages from this time on", "起始时间"))] = "",
    until: Annotated[str, typer.Option(help=t("until", "截止时间"))] = "",
    source: Annotated[str, typer.Option(help=t("received by this interface", "接收接口"))] = "",
    message_type: Annotated[str, typer.Option("--type", help=t("message type", "消息类型"))] = "",
    state: Annotated[str, typer.Option(help=t("a delivery is in this state", "有投递处于此状态"))] = "",
    target: Annotated[str, typer.Option(help=t("to this target instead", "改投此目标"))] = "",
    mapping: Annotated[str, typer.Option(help=t("through this mapping instead", "改用此映射"))] = "",
    most: Annotated[int, typer.Option(help=t("at most so many messages", "最多消息数"), min=1)] = 1000,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run/--send", help=t("only compare, or send the results as well", "只比较，或同时发送结果")),
    ] = True,
    why: Annotated[str, typer.Option(help=t("reason, for the audit trail", "理由，记入审计"))] = "",
    clear: Clear = False,
    as_json: AsJson = False,
) -> None:
    where = site(config)
    order: dict[str, Any] = {"target": target, "mapping": mapping, "dry_run": dry_run, "most": most, "reason": why}
    if ids:
        parse_ids(list(ids))
        order["ids"] = ids
    else:
        selection = {"since": since, "until": until, "source": source, "type": message_type, "state": state}
        order["query"] = {k: v for k, v in selection.items() if v}
        if not order["query"]:
            raise HubError(
                t(
                    "name messages by id, or select them (--since, --source, …)",
                    "请给出消息编号，或用选项选取（--since、--source 等）",
                )
            )
        message_query(order["query"], where.salt)
    answer = replay_here(where, order, clear=clear) if dry_run else ask(where, "POST", "/api/v1/replay", body=order)
    if as_json:
        return emit(answer)
    same = sum(1 for r in answer["results"] if r["same"])
    for row in answer["results"]:
        if row["same"]:
            continue
        what = row["error"] or (t("nothing to compare with", "无可比较") if not row["compared"] else "")
        console.print(
            f"{row['message_id']} → {row['target']}  {row['mapping_before']} → {row['mapping']}  {what}", markup=False
        )
        for change in row["changes"]:
            console.print(f"    {change['path']}: {change['old']!r} → {change['new']!r}", markup=False)
    console.print(
        t(
            f"{len(answer['results'])} replayed, {same} the same as last time, {len(answer['made'])} sent",
            f"重放 {len(answer['results'])} 条，{same} 条与上次相同，发送 {len(answer['made'])} 条",
        )
    )


def replay_here(where: Site, order: dict[str, Any], *, clear: bool = False) -> dict[str, Any]:
    """A dry run needs no running hub: the files as they are now, the messages as they are stored."""
    from hub.delivery.lookup_readings import Readings
    from hub.delivery.plan import Plan
    from hub.deployment import load_deployment
    from hub.folders import stored_key
    from hub.replay import Replayer

    deployment = load_deployment(where.file)
    plans = {
        place: Plan(bound, deployment, where.config.delivery.retry) for place, bound in deployment.outbound.items()
    }
    mapping = deployment.mappings.get(order["mapping"]) if order["mapping"] else None

    async def question(reader: StoreReader) -> list[dict[str, Any]]:
        replayer = Replayer(reader, deployment, plans, Readings(reader, partial(stored_key, where.salt)))
        if order.get("ids"):
            numbers = parse_ids(order["ids"])
        else:
            numbers = [i async for i in replayer.select(message_query(order["query"], where.salt), order["most"])]
        results = []
        for number in track(
            numbers, t("replaying", "重放中"), console=console, transient=True, disable=len(numbers) < 50
        ):
            results += [
                r.as_dict(clear=clear) for r in await replayer.run(number, target=order["target"], mapping=mapping)
            ]
        return results

    return {"dry_run": True, "results": read(where, question), "made": []}


def reload(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    answer = ask(site(config), "POST", "/api/v1/reload", body=b"")
    if as_json:
        return emit(answer)
    changed = {f"{worker} {name}".strip(): what for worker, name, what in _changes(answer) if what}
    if not changed:
        console.print(t("read anew; nothing has changed", "已重新读取，没有变化"))
    for name, what in changed.items():
        console.print(f"{name}: {' '.join(what)}", markup=False)


def _changes(answer: dict[str, Any]) -> list[tuple[str, str, list[str]]]:
    """(worker, what, names) of the answer of one worker, or of several."""
    rows = []
    for name, what in answer.items():
        if isinstance(what, dict):
            rows += [(f"worker {name}", inner, names) for inner, names in what.items()]
        else:
            rows.append(("", name, what))
    return rows
