"""``hub flows``: what runs, what has happened in it, and what people do about it."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from hub.cli.audit_reads import recorded
from hub.cli.common import DEFAULT_CONFIG, AsJson, Clear, Config, Limit, Site, ask, console, emit, site, table
from hub.config import load_config
from hub.errors import HubError
from hub.flows.desk import FlowDesk, instance_number
from hub.i18n import t
from hub.node import salt_of
from hub.store.sealing import store_sealer

__all__ = ["app"]

app = typer.Typer(
    name="flows",
    no_args_is_help=True,
    help=t(
        "Flows: exchanges of several steps. hub flows list; hub flows show ID; hub flows complete ID review yes -f opinion=fine",
        "流程：多步骤交换。hub flows list；hub flows show 编号；hub flows complete 编号 review yes -f opinion=同意",
    ),
)
Id = Annotated[str, typer.Argument(help=t("the instance", "实例编号"))]


def _desk(where: Site) -> FlowDesk:
    salt = salt_of(where.data) if where.data.is_dir() else b""
    folders = load_config(where.file).flow_folders
    return FlowDesk(where.data, folders, salt, store_sealer(where.config, where.file.parent))


@app.command("list", help=t("Flows, and their instances, newest first.", "流程及其实例，新的在前。"))
def list_(
    config: Config = DEFAULT_CONFIG,
    flow: Annotated[str, typer.Option(help=t("only of this flow", "仅此流程"))] = "",
    state: Annotated[
        str,
        typer.Option(
            help=t(
                "open, running, held, compensating, ended, failed, cancelled",
                "状态：open、running、held、compensating、ended、failed、cancelled",
            )
        ),
    ] = "",
    key: Annotated[str, typer.Option(help=t("with this business key (and --flow)", "业务键（须与 --flow 同用）"))] = "",
    before: Annotated[str, typer.Option(help=t("only older than this instance", "仅早于此实例"))] = "",
    limit: Limit = 50,
    clear: Clear = False,
    as_json: AsJson = False,
) -> None:
    where = site(config)
    desk = _desk(where)
    rows = recorded(
        where.data,
        lambda: desk.instances(flow=flow, state=state, key=key, before=before, limit=limit, clear=clear),
        "access.flow.search",
    )
    flows = desk.flows()
    if as_json:
        return emit({"flows": flows, "instances": rows})
    table(
        [t("flow", "流程"), t("name", "名称"), t("version", "版本"), t("instances", "实例")],
        ([f["flow"], f["name"], f["version"], ", ".join(f"{s} {n}" for s, n in f["states"].items())] for f in flows),
    )
    table(
        [
            t("instance", "实例"),
            t("flow", "流程"),
            t("key", "业务键"),
            t("state", "状态"),
            t("at", "所在步骤"),
            t("since", "起始"),
            t("due", "到期"),
        ],
        (
            [
                r["id"],
                r["flow"],
                r["key"],
                f"{r['state']} {r['end_name'] or r['end']}".strip(),
                ", ".join(r["at"]),
                r["started_at"][:19],
                r["due"][:19],
            ]
            for r in rows
        ),
    )


def _instance(config: Any, text: str, clear: bool) -> dict[str, Any]:
    where = site(config)
    number = instance_number(text)
    return recorded(where.data, lambda: _desk(where).instance(number, clear=clear), "access.flow.read", text)


@app.command(
    "show", help=t("One instance: its steps, variables, documents and messages.", "一个实例：步骤、变量、文档与消息。")
)
def show(id: Id, config: Config = DEFAULT_CONFIG, clear: Clear = False, as_json: AsJson = False) -> None:
    one = _instance(config, id, clear)
    if as_json:
        return emit(one)
    console.print(
        f"{one['flow']} {one['id']}  {one['key']}  {one['state']} {one['end_name'] or one['end']} {one['reason']}".rstrip(),
        markup=False,
    )
    table(
        [
            t("step", "步骤"),
            t("name", "名称"),
            t("state", "状态"),
            t("runs", "次数"),
            t("due", "到期"),
            t("why", "原因"),
        ],
        (
            [s["id"], s["name"], s["state"], s["run"] or "", s["due"][:19], f"{s['code']} {s['text']}".strip()]
            for s in one["steps"]
        ),
    )
    table(
        [t("sent", "已发消息"), t("step", "步骤"), t("to", "目标"), t("type", "类型"), t("state", "状态")],
        (
            [s["message"] or "-", s["step"] + (" ~" if s["undo"] else ""), s["target"], s["type"], s["state"]]
            for s in one["sent"]
        ),
    )
    table(
        [t("document", "文档"), t("version", "版本"), t("at", "时间"), t("content", "内容")],
        ([d["name"], d["version"], d["at"][:19], d["data"]] for d in one["versions"]),
    )
    table([t("variable", "变量"), t("value", "值")], ([name, value] for name, value in one["variables"].items()))


@app.command("history", help=t("What has happened in an instance, oldest first.", "实例的经过，旧的在前。"))
def history(id: Id, config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    rows = _instance(config, id, False)["history"]
    if as_json:
        return emit({"history": rows})
    table(
        [t("at", "时间"), t("what", "事件"), t("step", "步骤"), "", t("message", "消息")],
        ([r["at"][:23], r["what"], r["step"], r["text"], r["message"]] for r in rows),
    )


@app.command("retry", help=t("Let a held step be tried again, or leave it out.", "重试挂起的步骤，或跳过它。"))
def retry(
    id: Id,
    step: Annotated[str, typer.Option(help=t("which, where several are held", "多个步骤挂起时指明"))] = "",
    skip: Annotated[bool, typer.Option(help=t("leave it out and go on", "跳过并继续"))] = False,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    _order(config, id, "retry", {"step": step, "skip": skip}, as_json)


@app.command("cancel", help=t("Break an instance off and undo what was done.", "取消实例，并补偿已完成的步骤。"))
def cancel(
    id: Id,
    reason: Annotated[str, typer.Option(help=t("why", "原因"))],
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    _order(config, id, "cancel", {"reason": reason}, as_json)


@app.command("complete", help=t("Decide a manual step.", "办理人工步骤。"))
def complete(
    id: Id,
    step: Annotated[str, typer.Argument(help=t("the step", "步骤"))],
    choice: Annotated[str, typer.Argument(help=t("one of its choices", "选项"))] = "done",
    field: Annotated[
        list[str] | None,
        typer.Option("--field", "-f", help=t("NAME=VALUE", "名称=值")),
    ] = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    fields = dict(_field(each) for each in field or ())
    _order(config, id, "complete", {"step": step, "choice": choice, "fields": fields}, as_json)


def _field(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found:
        raise HubError(t(f"{text!r}: write NAME=VALUE", f"{text!r}：请写成 名称=值"))
    return name, value


@app.command(
    "diagram",
    help=t(
        "Write the picture of a flow or of an instance (SVG) to standard output.",
        "将流程或实例的图（SVG）写到标准输出。",
    ),
)
def diagram(
    what: Annotated[str, typer.Argument(help=t("a flow or an instance", "流程名或实例编号"))],
    config: Config = DEFAULT_CONFIG,
) -> None:
    desk = _desk(site(config))
    known = {flow["flow"] for flow in desk.flows()}
    svg = desk.diagram(flow=what) if what in known else desk.diagram(instance_number(what))
    sys.stdout.write(svg + "\n")


def _order(config: Any, text: str, verb: str, order: dict[str, Any], as_json: bool) -> None:
    instance_number(text)
    answer = ask(site(config), "POST", f"/api/v1/flows/instances/{text}/{verb}", body=order)
    if as_json:
        return emit(answer)
    console.print(f"{answer['instance']}: {verb}", markup=False)
