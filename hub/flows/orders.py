"""What people order about instances: audited, then carried out by the worker that owns the flows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hub.audit import entry
from hub.errors import HubError
from hub.flows.desk import instance_number
from hub.flows.events import Cancelled, Completed, Event, Retried
from hub.i18n import t

if TYPE_CHECKING:
    from hub.node import Node

__all__ = ["carry_out"]


async def carry_out(node: Node, verb: str, instance: str, order: dict[str, Any], actor: str) -> dict[str, Any]:
    """Raises :class:`HubError` for what can't be. The trail has the order also where it is refused."""
    if node.flows is None:
        raise HubError(t("no flows run here", "此处没有运行流程"), code="flow.none")
    event = _event(verb, order, actor)
    # What was filled in may be personal data: the trail has the names, the instance the values.
    detail: dict[str, Any] = {name: order[name] for name in ("step", "choice", "skip") if name in order}
    detail["fields"] = sorted(order.get("fields") or {})
    await node.store.apply(audit=entry(actor, f"flow.{verb}", instance, detail, str(order.get("reason", ""))))
    await node.flows.order(instance_number(instance), event)
    return {"instance": instance, "done": verb}


def _event(verb: str, order: dict[str, Any], actor: str) -> Event:
    step = str(order.get("step", ""))
    if verb == "complete":
        fields = order.get("fields") or {}
        if not isinstance(fields, dict):
            raise HubError(t("fields: names and values", "fields：名称与值"), code="flow.order")
        return Completed(step, str(order.get("choice", "")), fields, actor)
    if verb == "retry":
        return Retried(step, actor, skip=order.get("skip") in (True, 1, "1", "true"))
    reason = str(order.get("reason", "")).strip()
    if not reason:
        raise HubError(t("say why (reason)", "请说明原因（reason）"), code="flow.order")
    return Cancelled(actor, reason[:500])
