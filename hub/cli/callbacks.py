"""``hub callbacks``, and the chain of messages that ``hub show`` prints."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hub.admin.chains import awaited_json
from hub.admin.present import awaited_query
from hub.cli.common import DEFAULT_CONFIG, AsJson, Config, Limit, console, emit, read, site, table
from hub.i18n import t
from hub.message import Awaited
from hub.store.base import StoreReader

__all__ = ["CALLBACKS_HELP", "callbacks", "print_chain"]

CALLBACKS_HELP = t(
    "Deliveries whose target has promised a later answer that has not come, newest first. Example: hub callbacks --overdue",
    "目标承诺稍后应答但尚未应答的投递，新的在前。例：hub callbacks --overdue",
)


def callbacks(
    config: Config = DEFAULT_CONFIG,
    overdue: Annotated[bool, typer.Option(help=t("only those that are overdue", "仅超期的"))] = False,
    target: Annotated[str, typer.Option(help=t("system or system/interface", "系统或 系统/接口"))] = "",
    before: Annotated[str, typer.Option(help=t("only older than this delivery", "仅早于此投递的"))] = "",
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    query = awaited_query({"target": target, "overdue": "1" if overdue else "", "before": before, "limit": str(limit)})

    async def question(reader: StoreReader) -> list[Awaited]:
        return await reader.unanswered(query)

    rows = [awaited_json(row) for row in read(site(config), question)]
    if as_json:
        return emit({"callbacks": rows})
    _awaited(rows)


def _awaited(rows: list[dict[str, Any]]) -> None:
    table(
        [
            t("target", "目标"),
            t("key", "编号"),
            t("message", "消息"),
            t("delivery", "投递"),
            t("since", "起"),
            t("due", "期限"),
            t("overdue", "超期"),
            t("answered by", "应答消息"),
        ],
        [
            [
                row["target"],
                row["key"],
                row["message_id"],
                row["delivery_id"],
                row["since"][:19],
                row["due"][:19],
                t("yes", "是") if row["overdue"] else "",
                row["answered_by"],
            ]
            for row in rows
        ],
    )


def print_chain(chain: dict[str, Any]) -> None:
    """What a message answers, and what is awaited for it or has answered it; nothing for one that stands alone."""
    answer = chain["answers"]
    if answer is not None:
        words = {
            "bound": t("message {message_id}, delivery {delivery_id}", "消息 {message_id}，投递 {delivery_id}"),
            "waiting": t("not known yet: it waits for that", "尚不清楚，正在等待"),
            "unknown": t("nothing known was sent under this number", "没有以此编号发送的已知请求"),
        }
        told = words[answer["state"]].format(**answer)
        console.print(t("answers ", "应答 ") + f"{answer['key']}: {told}", markup=False)
    if chain["answered_by"]:
        console.print(t("answered by: ", "应答消息：") + " ".join(chain["answered_by"]), markup=False)
    if chain["awaited"]:
        _awaited(chain["awaited"])
