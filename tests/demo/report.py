"""The tables at the end of the demo: what was received, what was delivered, how long it took, and whether the books balance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from hub.i18n import t

__all__ = ["deliveries", "ledger", "milliseconds", "percentile", "receipts"]


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of the values does not exceed (nearest rank); 0 when there are none."""
    if not values:
        return 0.0
    ranked = sorted(values)
    return ranked[max(0, -int(-share * len(ranked) // 1) - 1)]


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f}" if seconds else "–"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=not number)
    return table


def _latencies(values: Sequence[float]) -> tuple[str, str]:
    return milliseconds(percentile(values, 0.50)), milliseconds(percentile(values, 0.99))


def receipts(console: Console, inbound: Mapping[str, Any], seconds: Mapping[str, Sequence[float]]) -> None:
    """``inbound``: the hub's own figures; ``seconds``: what each sender waited for its acknowledgement."""
    table = _table(
        t("Received", "接收"),
        t("interface", "接口"),
        t("received", "收到"),
        t("stored", "已存"),
        t("duplicate", "重复"),
        t("refused", "拒绝"),
        t("ack p50 ms", "应答 p50 毫秒"),
        t("ack p99 ms", "应答 p99 毫秒"),
    )
    for place, figures in sorted(inbound.items()):
        counts = [str(figures[name]) for name in ("received", "accepted", "duplicate", "refused")]
        table.add_row(place, *counts, *_latencies(seconds.get(place, ())))
    console.print(table)


def deliveries(console: Console, outbound: Mapping[str, Any], seconds: Mapping[str, Sequence[float]]) -> None:
    """``outbound``: the hub's own figures; ``seconds``: from sent by the source to taken by the target, on a quiet morning."""
    table = _table(
        t("Delivered", "投递"),
        t("target", "目标"),
        t("delivered", "成功"),
        t("calls", "调用"),
        t("retried", "重试"),
        t("dead", "死信"),
        t("call p50 ms", "调用 p50 毫秒"),
        t("call p99 ms", "调用 p99 毫秒"),
        t("end to end p50 ms", "端到端 p50 毫秒"),
        t("end to end p99 ms", "端到端 p99 毫秒"),
    )
    for target, figures in sorted(outbound.items()):
        calls = figures["seconds"]
        table.add_row(
            target,
            str(figures["delivered"]),
            str(calls["count"]),
            str(figures["retried"]),
            str(figures["dead"]),
            milliseconds(calls["p50"]),
            milliseconds(calls["p99"]),
            *_latencies(seconds.get(target, ())),
        )
    console.print(table)


def ledger(console: Console, report: Mapping[str, Any]) -> None:
    """What ``hub verify-ledger`` found in the store."""
    table = _table(
        t("Ledger, counted from the store", "账目（由存储核对）"),
        t("route", "路由"),
        t("target", "目标"),
        t("routed", "应投"),
        t("delivered", "已投"),
        t("dead", "死信"),
        t("held", "暂存"),
        t("skipped", "跳过"),
        t("moving", "进行中"),
        "",
    )
    for row in report["rows"]:
        counts = [str(row[name]) for name in ("routed", "delivered", "dead", "held", "skipped", "moving")]
        table.add_row(row["route"], row["target"], *counts, "=" if row["balanced"] else "≠")
    console.print(table)
    console.print(
        t(
            f"{report['messages']} messages stored, {report['filtered']} of them matched no route",
            f"存储 {report['messages']} 条消息，其中 {report['filtered']} 条无匹配路由",
        )
    )
