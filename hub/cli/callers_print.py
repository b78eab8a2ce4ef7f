"""Callers for people at a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from hub.cli.common import console, table
from hub.i18n import t

__all__ = ["print_caller", "print_issued", "print_list", "print_usage", "when"]


def when(seconds: int) -> str:
    return datetime.fromtimestamp(seconds).isoformat(" ", "minutes") if seconds else "-"


def print_list(callers: Sequence[dict[str, Any]]) -> None:
    rows = [
        [
            c["id"],
            c["name"],
            c["kind"],
            c["state"] + (t(" (restricted)", "（受限）") if c["restricted"] else ""),
            " ".join(c["places"]),
            " ".join(f"{name}={value:g}" for name, value in c["limits"].items()),
            when(c["valid_until"]),
        ]
        for c in callers
    ]
    columns = [t("caller", "调用方"), t("name", "名称"), t("kind", "类型"), t("state", "状态"), t("interfaces", "接口")]
    table([*columns, t("limits", "限额"), t("until", "有效期至")], rows)


def print_caller(caller: dict[str, Any]) -> None:
    spent = caller["spent"]
    limits = " ".join(f"{name}={value:g}" for name, value in caller["limits"].items()) or "-"
    facts = [
        (t("name", "名称"), caller["name"]),
        (t("kind", "类型"), caller["kind"]),
        (t("state", "状态"), caller["state"]),
        (t("tenant", "所属"), caller["tenant"]),
        (t("purpose", "用途"), caller["purpose"]),
        (t("contact", "联系人"), caller["contact"]),
        (t("reviewed by", "审核人"), f"{caller['reviewed_by']} {caller['reason']}".strip()),
        (t("interfaces", "接口"), " ".join(caller["places"])),
        (t("message types", "消息类型"), " ".join(caller["types"])),
        (t("limits", "限额"), limits),
        (
            t("calls", "已调用"),
            t("{day} today, {month} this month, {year} this year", "今日 {day}，本月 {month}，本年 {year}").format(
                **spent
            ),
        ),
        (t("valid", "有效期"), f"{when(caller['valid_from'])} … {when(caller['valid_until'])}"),
    ]
    table([t("caller", "调用方"), caller["id"]], [fact for fact in facts if fact[1]])
    rows = [
        [c["id"], c["kind"], _state(c), when(c["created_at"]), when(c["valid_until"]), c["note"]]
        for c in caller["credentials"]
    ]
    columns = [
        t("credential", "凭据"),
        t("kind", "类型"),
        t("state", "状态"),
        t("issued", "签发"),
        t("until", "有效期至"),
    ]
    table([*columns, t("note", "备注")], rows)
    for rule in caller["addresses"]:
        console.print(f"{rule['effect']} {rule['network']} {rule['note']}".strip(), markup=False)
    for found in caller["restrictions"]:
        text = t(f"restricted until {when(found['until'])}: ", f"受限至 {when(found['until'])}：")
        console.print(text + found["reason"], markup=False)


def _state(credential: dict[str, Any]) -> str:
    if credential["revoked_at"]:
        return t("revoked", "已吊销")
    if credential["valid_until"] and credential["valid_until"] <= datetime.now().timestamp():
        return t("expired", "已过期")
    if credential["replaced_by"]:
        return t(f"replaced by {credential['replaced_by']}", f"已由 {credential['replaced_by']} 取代")
    return t("valid", "有效")


def print_issued(issued: dict[str, Any]) -> None:
    console.print(t(f"credential: {issued['id']}", f"凭据编号：{issued['id']}"), markup=False)
    if "shown" in issued:
        console.print(t(f"the caller sends: {issued['shown']}", f"调用方携带：{issued['shown']}"), markup=False)
    elif "secret" in issued:
        console.print(t(f"secret: {issued['secret']}", f"密钥：{issued['secret']}"), markup=False)
    if "secret" in issued:
        console.print(t("it is shown only now; hand it over safely", "仅此一次显示，请安全交付"))


def print_usage(usage: Sequence[dict[str, Any]]) -> None:
    rows = [[u["day"], u["caller"] or "?", u["place"], u["taken"], u["refused"]] for u in usage]
    table(
        [t("day", "日期"), t("caller", "调用方"), t("interface", "接口"), t("taken", "受理"), t("refused", "拒绝")],
        rows,
    )
