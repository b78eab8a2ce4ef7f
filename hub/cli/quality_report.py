"""``hub quality report`` and ``hub quality rerun``: what validation found in the messages that came and went."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hub.admin.present import call_json, quality_json, quality_span, report_query
from hub.cli.common import DEFAULT_CONFIG, AsJson, Config, Limit, ask, console, emit, read, site, table
from hub.errors import HubError
from hub.i18n import t
from hub.message import CallRecord
from hub.store.base import PlaceQuality, StoreReader

__all__ = ["REPORT_HELP", "RERUN_HELP", "report", "rerun"]

REPORT_HELP = t(
    "What validation found, by interface; the last seven days unless --since says otherwise. --rule or --verdict list the messages.",
    "各接口的校验结果，缺省为最近七天；--rule 或 --verdict 列出具体消息。",
)
RERUN_HELP = t(
    "Check stored messages by the rules of today. Example: hub quality rerun --source his/adt --since -1d --missing",
    "按当前规则重新校验已存消息。例：hub quality rerun --source his/adt --since -1d --missing",
)

_Place = Annotated[str, typer.Option(help=t("system or system/interface", "系统或 系统/接口"))]
_Since = Annotated[str, typer.Option(help=t("from: 2026-11-21T08:30, or -15m", "起始时间：2026-11-21T08:30 或 -15m"))]
_Until = Annotated[str, typer.Option(help=t("until", "截止时间"))]


def report(
    config: Config = DEFAULT_CONFIG,
    place: _Place = "",
    since: _Since = "",
    until: _Until = "",
    rule: Annotated[
        str, typer.Option(help=t("this rule; a trailing * matches any ending", "此规则，可用 * 结尾"))
    ] = "",
    verdict: Annotated[str, typer.Option(help=t("marked, refused, not_checked", "marked、refused、not_checked"))] = "",
    days: Annotated[bool, typer.Option("--days", help=t("day by day", "按天列出"))] = False,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    where = site(config)
    if rule or verdict:
        query = report_query(
            {"place": place, "rule": rule, "verdict": verdict, "since": since, "until": until, "limit": str(limit)}
        )

        async def listed(reader: StoreReader) -> list[CallRecord]:
            return await reader.reports(query)

        rows = [call_json(call) for call in read(where, listed)]
        return emit({"reports": rows}) if as_json else _reports(rows)
    span = quality_span({"since": since, "until": until})

    async def counted(reader: StoreReader) -> list[PlaceQuality]:
        return await reader.quality(*span, place)

    found = quality_json(read(where, counted))
    if as_json:
        return emit({"interfaces": found})
    head = [
        t("interface", "接口"),
        t("messages", "消息"),
        t("marked", "有问题"),
        t("with errors", "有错误"),
        t("refused", "拒绝"),
        t("not checked", "未校验"),
        t("score", "得分"),
        t("most frequent", "最常见的规则"),
    ]
    lines = []
    for one in found:
        lines.append([one["place"], *_line(one)])
        lines += [[f"  {day['day']}", *_line(day)] for day in one["days"]] if days else []
    table(head, lines)


def _line(row: dict[str, Any]) -> list[Any]:
    rules = ", ".join(f"{r['rule']} ({r['messages']})" for r in row["rules"][:3])
    score = "" if row["score"] is None else f"{row['score']:.1f}"
    return [*(row[k] for k in ("messages", "marked", "failed", "refused", "not_checked")), score, rules]


def _reports(rows: list[dict[str, Any]]) -> None:
    table(
        [
            t("message", "消息"),
            t("at", "时间"),
            t("interface", "接口"),
            t("verdict", "结果"),
            t("first finding", "首个问题"),
        ],
        [
            [
                row["message_id"] or t("(refused)", "（已拒绝）"),
                row["at"][:23],
                row["place"],
                row["validation"]["verdict"],
                " ".join(
                    row["validation"]["findings"][0][k]
                    for k in ("rule", "place", "text")
                    if row["validation"]["findings"]
                ),
            ]
            for row in rows
        ],
    )


def rerun(
    ids: Annotated[list[str] | None, typer.Argument(help=t("ids of messages", "消息编号"))] = None,
    config: Config = DEFAULT_CONFIG,
    source: Annotated[str, typer.Option(help=t("received by this interface", "接收接口"))] = "",
    since: _Since = "",
    until: _Until = "",
    missing: Annotated[
        bool, typer.Option("--missing", help=t("only what has no report or was not checked", "仅无报告或未校验的消息"))
    ] = False,
    most: Annotated[int, typer.Option(help=t("at most so many", "最多条数"), min=1)] = 10_000,
    reason: Annotated[str, typer.Option(help=t("for the audit trail", "写入审计的原因"))] = "",
    as_json: AsJson = False,
) -> None:
    query = {name: value for name, value in (("source", source), ("since", since), ("until", until)) if value}
    if not ids and not query:
        raise HubError(t("say which: ids, --source or --since", "请用编号、--source 或 --since 指明消息"))
    order: dict[str, Any] = {"missing": missing, "most": most, "reason": reason}
    order |= {"ids": ids} if ids else {"query": query}
    counts = ask(site(config), "POST", "/api/v1/quality/rerun", body=order)
    if as_json:
        return emit(counts)
    words = {
        "checked": t("checked", "已校验"),
        "marked": t("marked", "有问题"),
        "failed": t("with errors", "有错误"),
        "not_checked": t("not checked", "未校验"),
        "skipped": t("nothing to check", "无需校验"),
    }
    console.print(", ".join(f"{words[name]} {number}" for name, number in counts.items()), markup=False)
    return None
