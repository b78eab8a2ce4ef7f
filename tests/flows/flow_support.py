"""A hub with flows, and what tests of them ask again and again."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from hub.api import Outgoing, Reply
from hub.flows.events import Event
from hub.flows.present import instance_json
from hub.flows.store import FlowStore, Row, flows_file
from hub.ids import id_text
from hub.node import salt_of
from tests.kernel.kernel_support import Hub, Site
from tests.kernel.wire import DEADLINE

__all__ = ["ORDER", "SUPPLEMENT", "FlowHub", "ok", "order_site", "refuse"]

#: Order -> shop (its reply), courier (its later answer), a person decides; shop and courier are undone when the person says no.
ORDER = """
name: 订单
start: {from: his/in, types: [order], key: pid, set: {item: item, amount: amount}, document: order}
steps:
  - id: reserve
    send: {to: shop/up, fields: {id: $flow.key, type: {const: reserve}, item: item, amount: amount}, until: reply, reply: {reservation: number}}
    compensate: {to: shop/up, fields: {id: $flow.key, type: {const: release}, number: reservation}}
  - id: transport
    send: {to: courier/up, fields: {id: $flow.key, type: {const: book}, number: reservation}, until: callback, callback: {slot: slot}, within: 1h}
    compensate: {to: courier/up, fields: {id: $flow.key, type: {const: unbook}, slot: slot}}
  - id: review
    manual: {role: reviewer, choices: {yes: 同意, no: {name: 不同意, end: {name: refused, compensate: true}}}, fields: {opinion: {required: true}}, show: [item]}
  - id: confirm
    send: {to: shop/up, fields: {id: $flow.key, type: {const: confirm}, opinion: opinion, slot: slot}}
ends: {completed: 完成, refused: 不同意}
"""
#: A person asks for more, and each time there is a new version.
SUPPLEMENT = """
start: {from: his/in, types: [apply], key: pid, set: {text: text}, document: application}
steps:
  - id: check
    manual: {role: reviewer, choices: {ok: 通过, more: {name: 补正, goto: ask}}}
  - {id: done, end: completed}
  - id: ask
    send: {to: shop/up, fields: {id: $flow.key, type: {const: more}, version: $version.application}}
  - id: supplement
    wait: {for: {from: his/in, types: [supplement], key: pid, set: {text: text}, document: application, goto: check}, within: 30d}
"""
_COURIER = """
id: courier
name: answers later
settings: {channel: {type: string, required: true}}
interfaces:
  up:
    direction: out
    adapter: wire
    connect: {channel: "${channel}"}
    codec: json
    order_by: ""
    callback: {key: task}
    breaker: {failures: 1000, open_for: 10ms, max_open_for: 10ms}
  back:
    direction: in
    adapter: wire
    listen: {channel: "${channel}"}
    codec: json
    type: type
    control_id: id
    answers: {key: task}
"""


def ok(body: bytes = b'{"code":0,"number":"R-1"}') -> Any:
    """What a peer answers."""
    return lambda outgoing: Reply(True, body, code="200", status=200)


def refuse(code: str = "4001") -> Any:
    def react(outgoing: Outgoing) -> Reply:
        return Reply(False, b"{}", code=code, status=400, error="refused")

    return react


def order_site(folder: Path, flow: str = ORDER, name: str = "order") -> Site:
    """The systems his, shop and courier, and one flow; no routes but those of the flow."""
    site = Site(folder)
    site.plugin("courier", _COURIER)
    site.system("shop", "sink", up={"order_by": ""})
    site.system("courier", "courier")
    site.config["flows"] = ["../flows"]
    site.config["security"] = {"roles": {"reviewer": {"rights": ["messages.read"]}}}
    (folder / "flows").mkdir()
    (folder / "flows" / f"{name}.yaml").write_text(flow, encoding="utf-8")
    site.peer("shop/up").react = ok()
    tasks = iter(range(1, 10_000))
    site.peer("courier/up").react = lambda outgoing: Reply(
        True, f'{{"task":"T-{next(tasks)}"}}'.encode(), code="200", status=200
    )
    return site


class FlowHub(Hub):
    """Reads ``flows.db`` with a connection of its own."""

    def rows(self, flow: str = "order") -> list[Row]:
        file = flows_file(self.site.folder / "var")
        store = FlowStore(file, salt_of(self.site.folder / "var"), self.node.store.sealer, writable=False)
        try:
            return store.instances(flow=flow, limit=1000)[::-1]
        finally:
            store.close()

    def only_row(self, flow: str = "order") -> Row:
        (row,) = self.rows(flow)
        return row

    async def until_at(self, *steps: str, flow: str = "order") -> Row:
        """Wait until the one instance is at these steps."""
        return await self.until_row(lambda row: set(row.instance.at.values()) == set(steps), f"at {steps}", flow)

    async def until_state(self, state: str, flow: str = "order") -> Row:
        return await self.until_row(lambda row: row.instance.state == state, state, flow)

    async def until_row(self, condition: Any, what: str, flow: str = "order") -> Row:
        end = time.monotonic() + DEADLINE
        while True:
            rows = self.rows(flow) if flows_file(self.site.folder / "var").exists() else []
            if len(rows) == 1 and condition(rows[0]):
                return rows[0]
            assert time.monotonic() < end, (
                what,
                [instance_json(row.instance, None) for row in rows],
                self.node.problems,
            )
            await asyncio.sleep(0.01)

    async def order(self, row: Row, event: Event) -> None:
        assert self.node.flows is not None
        await self.node.flows.order(row.id, event)

    async def offer(self, place: str, **data: Any) -> None:
        receipt = await self.wire.submit(place, data)
        assert receipt.accepted, receipt

    def types(self, place: str) -> list[str]:
        return [body["type"] for body in self.wire.peer(place).bodies]

    def text_of(self, row: Row) -> str:
        return id_text(row.id)
