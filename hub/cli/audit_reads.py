"""The audit trail as other commands meet it.

Those that show stored data leave an entry in it, as the admin API does: who, when, what was asked for, how many records.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

# Typer brings a click of its own from 0.20 on, and this name has led to the one in use in every version.
from typer.main import get_current_context  # type: ignore[attr-defined]

from hub.audit.questions import recorded_query
from hub.audit.trail import Trail
from hub.i18n import t

__all__ = ["audit_troubles", "recorded"]

T = TypeVar("T")

_SHOWS = {
    "messages": "access.message.search",
    "show": "access.message.read",
    "calls": "access.call.search",
    "dead": "access.delivery.search",
    "replay": "access.replay",
    "callbacks": "access.callback.search",
    "report": "access.quality.reports",
}
_SILENT = frozenset(["config", "as_json", "message_id", "id", "verb", "why", "dry_run", "everything"])


def recorded(data: Path, look: Callable[[], T], action: str = "", subject: str = "") -> T:
    """What ``look`` finds, handed out only after the entry is written; raises ``AuditUnwritable`` where it can't be.

    ``action``: as the entry calls it; "" for that of the command.
    """
    context = get_current_context(silent=True)
    action = action or (_SHOWS.get(context.info_name or "", "") if context is not None else "")
    if context is None or not action:
        return look()
    given = {
        name: value
        for name, value in context.params.items()
        if value not in (None, "", False, [], ()) and name not in _SILENT
    }
    detail: dict[str, Any] = {"command": context.command_path, "query": recorded_query(given)}
    if context.params.get("clear"):
        detail["clear"] = True
    user = getpass.getuser()
    actor = (os.environ.get("TONGQU_ACTOR") or user)[:64]
    if actor != user:
        detail["user"] = user
    subject = (subject or str(context.params.get("message_id") or ""))[:64]
    with_count = not action.endswith(".read")
    trail = Trail(data)
    try:
        if not with_count:  # it may write what it finds at once
            trail.record(actor, action, subject, {**detail, "records": 1})
            return look()
        found = look()
        trail.record(actor, action, subject, {**detail, "records": _count(found)})
        return found
    finally:
        trail.close()


def _count(found: Any) -> int:
    rows = getattr(found, "rows", found)
    return len(rows) if isinstance(rows, list | tuple) else 1


def audit_troubles(status: dict[str, Any]) -> list[str]:
    """What the status of a running hub says is wrong with its trail, for people."""
    trail = status.get("audit", {})
    told = [t("audit trail: ", "审计记录：") + text for text in trail.get("trouble", [])]
    for copy in trail.get("copies", []):
        where = t(f"copy of the audit trail {copy['place']}: ", f"审计副本 {copy['place']}：")
        if copy["trouble"]:
            told.append(where + copy["trouble"])
        if copy["set_back"]:
            chains = ", ".join(copy["set_back"])
            told.append(
                where
                + t(
                    f"chains are shorter than it: {chains} -> hub audit verify",
                    f"链短于副本：{chains} -> hub audit verify",
                )
            )
    return told
