"""Handing in to the hub what flows send: each message under its control id, so that one handed in twice is one message."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from hub.api import Receipt
from hub.errors import StoreBusy
from hub.flows.definition import FLOW_SYSTEM, place_of
from hub.flows.events import Settled, Tick
from hub.flows.keeper import Keeper
from hub.flows.store import FlowStore, Outgoing
from hub.flows.work import Accepted, Fate, Work
from hub.i18n import t
from hub.masking import Confidential, mask_text
from hub.store.base import MessageQuery, StoreReader

if TYPE_CHECKING:
    from hub.api import IntakePort
    from hub.deployment import Deployment

__all__ = ["Outbox"]

#: Messages handed in at once and not committed yet.
_HANDING = 256
#: A store that is busy is asked again after so long, seconds.
_AGAIN_S = 1.0
#: What was refused, and whose flow could not be told (its version can't be read, perhaps), is handed in again after so long.
_REFUSED_AGAIN_S = 60.0


class Outbox:
    """``in_thread`` calls in the thread of ``flows.db``; ``add`` gives the service work; ``alone``: there are no folders of other workers."""

    def __init__(
        self,
        store: FlowStore,
        keeper: Keeper,
        in_thread: Callable[..., Awaitable[Any]],
        add: Callable[[Work], None],
        intake: IntakePort,
        everywhere: StoreReader,
        alone: bool,
    ) -> None:
        self.open = True  # False: the hub is stopping
        self.waits = False  # for the routes of a new configuration
        self._store = store
        self._keeper = keeper
        self._in_thread = in_thread
        self._add = add
        self._intake = intake
        self._everywhere = everywhere
        self._alone = alone
        self._handing: set[int] = set()
        self._refused: dict[int, float] = {}  # seq -> until when it is left in peace, by the clock of the loop

    def handed_in(self, seq: int) -> None:
        """It is noted in ``flows.db`` that this is a message of the hub."""
        self._handing.discard(seq)

    async def find_handed_in(self) -> None:
        """Another worker may have owned the flows: what it handed in lies in its own folder."""
        if self._alone:
            return
        after = 0
        while rows := await self._in_thread(self._store.outbox, 0, after, _HANDING):
            for row in rows:
                after = row.seq
                source = place_of(row.route.split(":")[1])
                query = MessageQuery(source=source, control_id=row.control, limit=1)
                page = await self._everywhere.search(query)
                if page.rows:
                    await self._in_thread(self._keeper.handle, [Accepted(row.seq, page.rows[0].id)])

    async def hand_in(self, deployment: Deployment) -> None:
        """Hand in what is new, as far as there is room."""
        now = asyncio.get_running_loop().time()
        self._refused = {seq: until for seq, until in self._refused.items() if until > now}
        after = 0
        while self.open and not self.waits and len(self._handing) < _HANDING:
            rows: list[Outgoing] = await self._in_thread(self._store.outbox, 0, after, _HANDING)
            for row in rows:
                if row.seq not in self._handing and row.seq not in self._refused and self.open and not self.waits:
                    self._handing.add(row.seq)
                    self._submit(row, deployment)
            if len(rows) < _HANDING:
                return
            after = rows[-1].seq

    def _submit(self, row: Outgoing, deployment: Deployment) -> None:
        flow = row.route.split(":")[1]
        bound = deployment.inbound.get(place_of(flow))
        key = row.key
        params = {
            "flow_route": row.route,
            "flow_type": row.type,
            "flow_key": Confidential(key),
            "flow_instance": row.control.partition("/")[0],
        }
        if bound is None:
            text = t(f"flow {flow} is not configured any more", f"流程 {flow} 已不在配置中")
            return self._refuse(row, "flow.gone", text)

        def done(receipt: Receipt) -> None:
            if receipt.accepted:
                self._add(Accepted(row.seq, receipt.message_id))
            elif isinstance(receipt.error, StoreBusy) or receipt.error is None:
                asyncio.get_running_loop().call_later(_AGAIN_S, self._give_back, row.seq)
            else:
                self._refuse(row, receipt.error.code, mask_text(receipt.error.text))

        self._intake.submit(bound, row.body, done, remote=FLOW_SYSTEM, control_id=row.control, params=params)
        return None

    def _refuse(self, row: Outgoing, code: str, text: str) -> None:
        """The flow is told; once it knows, the message is not in the outbox any more."""
        self._handing.discard(row.seq)
        self._refused[row.seq] = asyncio.get_running_loop().time() + _REFUSED_AGAIN_S
        self._add(Fate(Settled(row.control, False, code, text)))

    def _give_back(self, seq: int) -> None:
        self._handing.discard(seq)
        self._add(Tick())
