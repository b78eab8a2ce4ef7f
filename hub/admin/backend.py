"""What stands behind the admin API: one worker, or a front that spreads a question over several."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hub.admin.present import BadQuery, delivery_query, message_query, parse_ids
from hub.api import Receipt
from hub.audit import entry as audit_entry
from hub.audit import sm3
from hub.deployment import Deployment
from hub.errors import HubError, StoreBusy
from hub.i18n import t
from hub.ids import id_text
from hub.mapping.tables_unmapped import UNMAPPED
from hub.message import CheckRecord, CheckVerdict, Delivery, Outcome
from hub.node import Node, data_folder, salt_of
from hub.operations import VERBS
from hub.store.base import StoreReader

if TYPE_CHECKING:  # a worker has none of these
    from hub.audit.desk import AuditDesk
    from hub.callers.desk import CallerDesk
    from hub.flows.desk import FlowDesk
    from hub.people.people import People
    from hub.watch import Watcher

__all__ = ["MOST", "Backend", "NodeBackend", "ids_of", "most_of", "selection_of"]

#: Most deliveries or messages one request may touch.
MOST = 100_000


class Backend(ABC):
    """The questions and orders of the admin API; answers are JSON-ready."""

    reader: StoreReader
    salt: bytes  # of the business keys that are stored as keyed hashes
    audit: AuditDesk | None = None  # None: a worker, whose supervisor has it
    callers: CallerDesk | None = None  # None: a worker, whose supervisor has it
    people: People | None = None  # None: a worker
    flows: FlowDesk | None = None  # None: a worker
    watcher: Watcher | None = None  # takes up saved changes of the configuration; None: only reloads asked for do

    @abstractmethod
    async def status(self) -> dict[str, Any]: ...

    @abstractmethod
    async def readiness(self) -> list[str]: ...

    @abstractmethod
    async def metrics(self) -> bytes: ...

    @abstractmethod
    async def plugins(self) -> list[dict[str, Any]]: ...

    @abstractmethod
    async def unmapped(self) -> list[dict[str, Any]]: ...

    @abstractmethod
    async def act(self, verb: str, order: dict[str, Any], actor: str) -> dict[str, Any]: ...

    @abstractmethod
    async def replay(self, order: dict[str, Any], actor: str) -> dict[str, Any]: ...

    @abstractmethod
    async def rerun(self, order: dict[str, Any], actor: str) -> dict[str, Any]: ...

    @abstractmethod
    async def send(self, place: str, raw: bytes, actor: str) -> dict[str, Any]: ...

    @abstractmethod
    async def poll(self, place: str, actor: str) -> dict[str, Any]: ...

    @abstractmethod
    async def probe(self, order: dict[str, Any]) -> dict[str, Any]: ...

    @abstractmethod
    async def reload(self, actor: str) -> dict[str, Any]: ...

    async def flow_act(self, verb: str, instance: str, order: dict[str, Any], actor: str) -> dict[str, Any]:
        """Carry out an order about an instance of a flow; for the whole hub only."""
        raise HubError(t("flows are acted on as a whole", "流程只能整体操作"), code="flow.scope")

    async def archive_audit(self, order: dict[str, Any], actor: str) -> list[dict[str, Any]]:
        """Archive old entries of every worker's chain; for the whole hub only."""
        raise HubError(t("the trail is archived as a whole", "审计记录只能整体归档"), code="audit.scope")


def ids_of(order: dict[str, Any]) -> list[int]:
    """The ids an order names; none: it has to have a query."""
    ids = order.get("ids") or []
    if not isinstance(ids, list):
        raise BadQuery(t("ids: a list of ids", "ids：编号列表"))
    return parse_ids(ids)


def selection_of(order: dict[str, Any]) -> dict[str, str]:
    """The query of an order, as parameters. An order for everything there is must be a mistake."""
    query = order.get("query") or {}
    if not isinstance(query, dict):
        raise BadQuery(t("query: an object of names and values", "query：名称与值的对象"))
    if not query:
        raise BadQuery(t("say which: ids or query", "请用 ids 或 query 指明对象"))
    return {str(name): str(value) for name, value in query.items()}


def most_of(order: dict[str, Any], default: int) -> int:
    most = order.get("most", default)
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        raise BadQuery(t("most: a number from 1", "most：不小于 1 的数"))
    return min(most, MOST)


def _counted(record: CheckRecord | None) -> list[str]:
    """What a report counts for; none: there was nothing to check."""
    if record is None:
        return ["skipped"]
    if record.verdict is CheckVerdict.NOT_CHECKED:
        return ["not_checked"]
    marked = ["marked"] if record.verdict is CheckVerdict.MARKED else []
    return ["checked", *marked, *(["failed"] if record.errors else [])]


class NodeBackend(Backend):
    """The worker in this process."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.reader = node.store.reader
        self.salt = salt_of(data_folder(node.config_file, node.deployment.config))
        self._levels: tuple[Deployment, Mapping[str, str]] | None = None  # of the plugins of a deployment

    async def status(self) -> dict[str, Any]:
        return {"workers": [self._node.status()]}

    async def readiness(self) -> list[str]:
        return self._node.readiness()

    async def metrics(self) -> bytes:
        return self._node.metrics.render()

    async def plugins(self) -> list[dict[str, Any]]:
        from hub.verify.badges import levels  # reading contracts and mappings a second time; only when somebody asks

        deployment = self._node.deployment
        if self._levels is None or self._levels[0] is not deployment:
            self._levels = deployment, await asyncio.to_thread(levels, self._node.config_file)
        reached = self._levels[1]
        return [row | {"level": reached.get(row["id"], "")} for row in deployment.plugin_list()]

    async def unmapped(self) -> list[dict[str, Any]]:
        return UNMAPPED.rows()

    async def act(self, verb: str, order: dict[str, Any], actor: str) -> dict[str, Any]:
        chosen = next((v for v in VERBS if v == verb), None)
        if chosen is None:
            raise BadQuery(t(f"{verb!r} is none of {', '.join(VERBS)}", f"{verb!r} 不在 {', '.join(VERBS)} 之中"))
        operations = self._node.operations
        ids = ids_of(order)
        if not ids:
            ids = await operations.select(delivery_query(selection_of(order)), most_of(order, MOST))
        step = order.get("step", "auto")
        if step not in ("auto", "map", "send"):
            raise BadQuery(t("step: auto, map or send", "step：auto、map 或 send"))
        result = await operations.act(
            chosen,
            ids,
            actor=actor,
            reason=str(order.get("reason", "")),
            step=step,
            target=str(order.get("target", "")),
        )
        return result.as_dict()

    async def replay(self, order: dict[str, Any], actor: str) -> dict[str, Any]:
        """Replay chosen messages; unless ``dry_run`` each result is delivered as a new delivery of its message."""
        node = self._node
        replayer = node.replayer()
        target = str(order.get("target", ""))
        name = str(order.get("mapping", ""))
        mapping = node.deployment.mappings.get(name) if name else None
        dry = bool(order.get("dry_run", True))
        ids = ids_of(order)
        if not ids:
            found = replayer.select(message_query(selection_of(order), self.salt), most_of(order, 1000))
            ids = sorted([i async for i in found])  # found newest first, sent in the order of arrival
        results = []
        made: list[Delivery] = []
        for message_id in ids:
            for done in await replayer.run(message_id, target=target, mapping=mapping):
                results.append(done.as_dict())
                if dry or done.error:
                    continue
                count = len(done.outputs)
                made.extend(
                    Delivery(
                        id=node.store.ids.next(),
                        message_id=message_id,
                        route="",
                        target=done.target,
                        order_key=done.order_key,
                        part=number if count > 1 else 0,
                        payload=body,
                    )
                    for number, body in enumerate(done.outputs, 1)
                )
            await asyncio.sleep(0)
        if made:
            detail = {"messages": [id_text(i) for i in ids[:1000]], "target": target, "mapping": name}
            await node.store.apply(
                create=made,
                audit=audit_entry(actor, "replay", f"{len(made)} deliveries", detail, str(order.get("reason", ""))),
            )
            for delivery in made:
                node.engine.offer(delivery)
        return {"dry_run": dry, "results": results, "made": [id_text(d.id) for d in made]}

    async def rerun(self, order: dict[str, Any], actor: str) -> dict[str, Any]:
        """Check stored messages by the rules of today and keep the new reports."""
        node = self._node
        ids = ids_of(order)
        if not ids:
            chosen = message_query(selection_of(order), self.salt)
            ids = sorted([i async for i in node.replayer().select(chosen, most_of(order, MOST))])
        missing = bool(order.get("missing", False))
        counts = dict.fromkeys(("checked", "marked", "failed", "not_checked", "skipped"), 0)
        for message_id in ids:
            record = await node.check_again(message_id, missing=missing)
            for word in _counted(record):
                counts[word] += 1
        detail = {"messages": len(ids), **counts}
        await node.store.apply(
            audit=audit_entry(actor, "quality.rerun", f"{len(ids)} messages", detail, str(order.get("reason", "")))
        )
        return counts

    async def send(self, place: str, raw: bytes, actor: str) -> dict[str, Any]:
        """Take in a message as if the interface had received it."""
        bound = self._node.deployment.inbound.get(place)
        if bound is None:
            known = ", ".join(sorted(self._node.deployment.inbound)) or "-"
            raise BadQuery(
                t(f"no inbound interface {place!r}; there are: {known}", f"没有接收接口 {place!r}；现有：{known}")
            )
        told = {"bytes": len(raw), "sm3": sm3(raw)}
        await self._node.store.apply(audit=audit_entry(actor, "message.send", place, told, ""))
        answer: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._node.intake.submit(bound, raw, answer.set_result, remote=f"admin:{actor}")
        receipt = await asyncio.shield(answer)  # the future must outlive a caller that went away
        if receipt.error is not None:
            raise receipt.error
        if receipt.outcome is Outcome.REFUSED:
            raise StoreBusy(t("not accepted", "未接收"))
        detail = {"message": id_text(receipt.message_id), "outcome": receipt.outcome.word}
        await self._node.store.apply(audit=audit_entry(actor, "message.sent", place, detail, ""))
        reply = receipt.reply.decode("utf-8", "replace") if receipt.reply is not None else None
        return {
            "message_id": id_text(receipt.message_id),
            "outcome": "accepted" if receipt.outcome is Outcome.OK else receipt.outcome.word,
            "type": receipt.type,
            "control_id": receipt.control_id,
            "reply": reply,
        }

    async def poll(self, place: str, actor: str) -> dict[str, Any]:
        """Read a source now, whatever its schedule says."""
        if place in self._node.receivers:
            await self._node.store.apply(audit=audit_entry(actor, "interface.poll", place, {}, ""))
        self._node.run_now(place)
        return {"place": place, "asked": True}

    async def probe(self, order: dict[str, Any]) -> dict[str, Any]:
        """Test connections; ``place`` is a system or system/interface."""
        return {"probes": [result.as_dict() for result in await self._node.probe(str(order.get("place", "")))]}

    async def flow_act(self, verb: str, instance: str, order: dict[str, Any], actor: str) -> dict[str, Any]:
        from hub.flows.orders import carry_out  # most hubs have none

        return await carry_out(self._node, verb, instance, order, actor)

    async def reload(self, actor: str) -> dict[str, Any]:
        try:
            return await self._node.reload(actor)
        except OSError as error:
            raise HubError(str(error), code="config.unreadable") from error

    async def archive_audit(self, order: dict[str, Any], actor: str) -> list[dict[str, Any]]:
        """Move old entries of the worker's chain into archives."""
        days = order.get("older_than_days")
        done = await self._node.archive_audit(None if days is None else days * 86400.0)
        return [done.as_dict()]
