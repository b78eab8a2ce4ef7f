"""``hub callers``: addresses that are allowed and blocked, and restrictions for a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.cli.callers_print import when
from hub.cli.common import DEFAULT_CONFIG, AsJson, Config, ask, console, emit, site, table
from hub.errors import HubError
from hub.i18n import t

__all__ = ["COMMANDS", "Until", "Why"]

Why = Annotated[str, typer.Option("--reason", help=t("why, for the journal", "原因，记入审计"))]
Until = Annotated[str, typer.Option("--until", help=t("valid before this day or time", "失效日期或时间"))]
Subject = Annotated[str, typer.Argument(help=t("a caller, or an address", "调用方或地址"))]


def _restriction(subject: str) -> dict[str, str]:
    """An id begins with a letter, and has no dot or colon in it; an address has one of them."""
    return {"kind": "address" if "." in subject or ":" in subject else "caller", "subject": subject}


def restrict(
    subject: Subject,
    config: Config = DEFAULT_CONFIG,
    duration: Annotated[str, typer.Option("--for", help=t("e.g. 10m, 24h", "例如 10m、24h"))] = "10m",
    reason: Why = "",
    as_json: AsJson = False,
) -> None:
    order = {**_restriction(subject), "for": duration, "reason": reason}
    answer = ask(site(config), "POST", "/api/v1/restrictions", body=order)
    if as_json:
        return emit(answer)
    if "until" in answer:
        console.print(
            t(f"{subject}: until {when(answer['until'])}", f"{subject}：至 {when(answer['until'])}"), markup=False
        )


def unrestrict(subject: Subject, config: Config = DEFAULT_CONFIG, reason: Why = "", as_json: AsJson = False) -> None:
    answer = ask(
        site(config), "POST", "/api/v1/restrictions", body={**_restriction(subject), "for": 0, "reason": reason}
    )
    if as_json:
        return emit(answer)
    lifted = t("lifted", "已解除") if answer["lifted"] else t("it was not restricted", "原本未受限制")
    console.print(f"{subject}: {lifted}", markup=False)


def restrictions(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    answer = ask(site(config), "GET", "/api/v1/restrictions")
    if as_json:
        return emit(answer)
    rows = [[r["subject"], r["kind"], when(r["until"]), r["made_by"], r["reason"]] for r in answer["restrictions"]]
    table([t("who", "对象"), t("kind", "类型"), t("until", "至"), t("by", "操作人"), t("reason", "原因")], rows)


Network = Annotated[
    str, typer.Argument(help=t("address or network, e.g. 192.168.1.0/24", "地址或网段，例如 192.168.1.0/24"))
]
Of = Annotated[
    str,
    typer.Option("--caller", help=t("only for this caller; default: the whole hub", "仅对该调用方；缺省为整个枢纽")),
]


def _rule(
    config: Path, effect: str, network: str, caller: str, note: str, until: str, reason: str, remove: bool
) -> Any:
    if remove:
        body: dict[str, Any] = {"network": network, "caller": caller, "reason": reason}
        return ask(site(config), "POST", "/api/v1/addresses/remove", body=body)
    row = {"network": network, "caller": caller, "note": note, "expires_at": until}
    return ask(site(config), "POST", f"/api/v1/addresses/{effect}", body={"rows": [row], "reason": reason})


def _said(answer: Any, as_json: bool) -> None:
    if as_json:
        return emit(answer)
    console.print(t(f"{answer['rules']} rules", f"{answer['rules']} 条规则"))


Remove = Annotated[bool, typer.Option("--remove", help=t("take the rules of this network away", "删除该网段的规则"))]
Note = Annotated[str, typer.Option(help=t("why it is there", "说明"))]


def allow(
    network: Network, config: Config = DEFAULT_CONFIG, caller: Of = "", note: Note = "", until: Until = "",
    remove: Remove = False, reason: Why = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    _said(_rule(config, "allow", network, caller, note, until, reason, remove), as_json)


def block(
    network: Network, config: Config = DEFAULT_CONFIG, caller: Of = "", note: Note = "", until: Until = "",
    remove: Remove = False, reason: Why = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    _said(_rule(config, "block", network, caller, note, until, reason, remove), as_json)


def addresses(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    answer = ask(site(config), "GET", "/api/v1/addresses")
    if as_json:
        return emit(answer)
    rows = [
        [r["network"], r["effect"], r["caller"] or "*", when(r["expires_at"]), r["hits"], r["last_hit"], r["note"]]
        for r in answer["addresses"]
    ]
    columns = [t("network", "网段"), t("effect", "作用"), t("caller", "调用方"), t("expires", "有效期至")]
    table([*columns, t("hits", "命中"), t("last", "最近"), t("note", "说明")], rows)


def import_(
    effect: Annotated[str, typer.Argument(help="allow, block")],
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    config: Config = DEFAULT_CONFIG,
    reason: Why = "",
    as_json: AsJson = False,
) -> None:
    from hub.callers.sheets import read_rows

    if effect not in ("allow", "block"):
        raise HubError(t("allow or block", "allow 或 block"))
    body = {"rows": read_rows(file), "reason": reason}
    _said(ask(site(config), "POST", f"/api/v1/addresses/{effect}", body=body), as_json)


def export(
    effect: Annotated[str, typer.Argument(help="allow, block")], file: Path, config: Config = DEFAULT_CONFIG
) -> None:
    from hub.callers.sheets import written

    rules = ask(site(config), "GET", "/api/v1/addresses")["addresses"]
    file.write_bytes(written(file, [rule for rule in rules if rule["effect"] == effect]))


#: Name, function, help.
COMMANDS: tuple[tuple[str, Callable[..., None], str], ...] = (
    ("restrict", restrict, t("Take no calls of a caller, or from an address, for a time.", "临时限制调用方或地址。")),
    ("unrestrict", unrestrict, t("Lift a restriction.", "解除临时限制。")),
    ("restrictions", restrictions, t("Who is restricted just now.", "当前受限制的调用方与地址。")),
    (
        "allow",
        allow,
        t(
            "Let calls in from a network; where there are such rules, from nowhere else.",
            "允许来自某网段的调用；有此类规则时，其余地址均被拒绝。",
        ),
    ),
    ("block", block, t("Take no calls from a network.", "拒绝来自某网段的调用。")),
    (
        "addresses",
        addresses,
        t("Allow and block lists, with how often each rule has decided.", "允许与拒绝名单及命中次数。"),
    ),
    (
        "import",
        import_,
        t(
            "Rules from a CSV or Excel file with a column network; all of them or none.",
            "从 CSV 或 Excel 文件导入规则（须有 network 列），全部成功或全部不变。",
        ),
    ),
    ("export", export, t("Rules to a CSV or Excel file.", "导出规则为 CSV 或 Excel 文件。")),
)
