"""A backend of the admin API as somebody with a scope sees it: what is outside is not there.

A message belongs to the system it came from; a delivery and a call belong to the system they concern. Whoever may see a message sees its
deliveries and calls with it, wherever they went; of other messages only what went to a system of theirs, and never the bytes received.
What is asked for by number and is not theirs is answered as if there were no such number. Lists are asked system by system, so that
pages, counts and "more" are those of the scope.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from hub.admin.backend import MOST, Backend, ids_of, most_of, selection_of
from hub.admin.present import BadQuery, delivery_query, message_query
from hub.errors import HubError
from hub.i18n import t
from hub.ids import id_text
from hub.message import Answer, Awaited, CallRecord, Delivery, DeliveryState, Message
from hub.people.errors import out_of_reach
from hub.store.base import (
    AwaitedQuery,
    CallQuery,
    Chain,
    DeliveryQuery,
    LedgerReport,
    MessageQuery,
    MessageRow,
    PlaceQuality,
    ReportQuery,
    SearchPage,
    StoreReader,
)

__all__ = ["ScopedBackend", "ScopedReader"]

Q = TypeVar("Q", DeliveryQuery, CallQuery, ReportQuery, AwaitedQuery)
R = TypeVar("R")


def system_of(place: str) -> str:
    return place.partition("/")[0]


class ScopedReader(StoreReader):
    """``systems``: those of the scope."""

    def __init__(self, reader: StoreReader, systems: frozenset[str]) -> None:
        self._reader = reader
        self._systems = systems

    def has(self, place: str) -> bool:
        return system_of(place) in self._systems

    async def close(self) -> None:
        """What is behind it is not its own."""

    async def _mine(self, message_id: int) -> bool:
        envelope = await self._reader.envelope(message_id)
        return envelope is not None and self.has(envelope.source)

    # -- one by one ----------------------------------------------------------------------------------------------

    async def message(self, message_id: int) -> Message | None:
        return await self._reader.message(message_id) if await self._mine(message_id) else None

    async def envelope(self, message_id: int) -> Message | None:
        found = await self._reader.envelope(message_id)
        return found if found is not None and self.has(found.source) else None

    async def raw_part(self, message_id: int, at: int, count: int) -> bytes | None:
        return await self._reader.raw_part(message_id, at, count) if await self._mine(message_id) else None

    async def delivery(self, delivery_id: int) -> Delivery | None:
        found = await self._reader.delivery(delivery_id)
        if found is None or self.has(found.target) or await self._mine(found.message_id):
            return found
        return None

    async def deliveries_of(self, message_id: int) -> list[Delivery]:
        found = await self._reader.deliveries_of(message_id)
        return found if await self._mine(message_id) else [d for d in found if self.has(d.target)]

    async def calls_of(self, message_id: int) -> list[CallRecord]:
        found = await self._reader.calls_of(message_id)
        return found if await self._mine(message_id) else [call for call in found if self.has(call.place)]

    async def chain(self, message_id: int) -> Chain:
        """Of what a message answers, and what answers it, only what is within the scope; an answer still says whether it is bound."""
        if not await self._mine(message_id):
            return Chain()
        whole = await self._reader.chain(message_id)
        answer = whole.answer
        if answer is not None and answer.request and not await self._mine(answer.request):
            answer = replace(answer, request=0, delivery=0)
        answered = [row for row in whole.answered_by if await self._mine(row.message_id)]
        awaited = [row if await self._answer_is_mine(row) else replace(row, answered=0) for row in whole.awaited]
        return Chain(answer, awaited, answered)

    async def _answer_is_mine(self, row: Awaited) -> bool:
        return not row.answered or await self._mine(row.answered)

    # -- lists -----------------------------------------------------------------------------------------------------

    def _asked(self, place: str) -> list[str]:
        """What has to be asked for: the place given, if it is one's own; each system, if none is given."""
        if not place:
            return sorted(self._systems)
        return [place] if self.has(place) else []

    async def _each(self, places: Sequence[str], question: Callable[[str], Awaitable[list[R]]]) -> list[R]:
        """A few at a time: a scope may have hundreds of systems, the store has few threads."""
        found: list[R] = []
        for start in range(0, len(places), 8):
            answers = await asyncio.gather(*(question(place) for place in places[start : start + 8]))
            found += [row for rows in answers for row in rows]
        return found

    async def search(self, query: MessageQuery) -> SearchPage:
        if query.source and not self.has(query.source):
            return SearchPage([], False)
        pages: list[SearchPage] = []

        async def ask(system: str) -> list[MessageRow]:
            page = await self._reader.search(replace(query, system=system))
            pages.append(page)
            return page.rows

        systems = self._asked(query.system)
        rows = sorted(await self._each(systems, ask), key=lambda row: row.id, reverse=True)
        more = any(page.more for page in pages) or len(rows) > query.limit
        # How much is not indexed is told as yes or no: the number would be that of the whole hub.
        return SearchPage(rows[: query.limit], more, min(1, max((page.text_lag for page in pages), default=0)))

    async def deliveries(self, query: DeliveryQuery) -> list[Delivery]:
        places = self._asked(query.target)
        found = await self._each(places, lambda place: self._reader.deliveries(replace(query, target=place)))
        return sorted(found, key=lambda row: row.id, reverse=not query.oldest_first)[: query.limit]

    async def calls(self, query: CallQuery) -> list[CallRecord]:
        places = self._asked(query.place)
        found = await self._each(places, lambda place: self._reader.calls(replace(query, place=place)))
        return sorted(found, key=lambda row: row.id, reverse=True)[: query.limit]

    async def reports(self, query: ReportQuery) -> list[CallRecord]:
        places = self._asked(query.place)
        found = await self._each(places, lambda place: self._reader.reports(replace(query, place=place)))
        return sorted(found, key=lambda row: row.id, reverse=True)[: query.limit]

    async def quality(self, since_ms: int, until_ms: int = 0, place: str = "") -> list[PlaceQuality]:
        if place and not self.has(place):
            return []
        return [row for row in await self._reader.quality(since_ms, until_ms, place) if self.has(row.place)]

    async def unanswered(self, query: AwaitedQuery) -> list[Awaited]:
        places = self._asked(query.target)
        found = await self._each(places, lambda place: self._reader.unanswered(replace(query, target=place)))
        return sorted(found, key=lambda row: row.delivery_id, reverse=True)[: query.limit]

    async def awaited(self, places: Sequence[str], key: str) -> Awaited | None:
        mine = [place for place in places if self.has(place)]
        return await self._reader.awaited(mine, key) if mine else None

    async def unanswered_counts(self, now_us: int) -> dict[str, tuple[int, int]]:
        found = await self._reader.unanswered_counts(now_us)
        return {place: counts for place, counts in found.items() if self.has(place)}

    async def counts(self) -> dict[tuple[str, DeliveryState], int]:
        return {key: number for key, number in (await self._reader.counts()).items() if self.has(key[0])}

    # -- of the whole hub --------------------------------------------------------------------------------------------

    async def open_answers(self, limit: int) -> list[Answer]:
        raise out_of_reach()

    async def verify_ledger(self, progress: Callable[[int, int], None] | None = None) -> LedgerReport:
        raise out_of_reach()

    async def check(self, progress: Callable[[int, int], None] | None = None) -> list[str]:
        raise out_of_reach()

    async def size(self) -> dict[str, int]:
        raise out_of_reach()

    async def mark(self, name: str) -> tuple[int, str]:
        raise out_of_reach()

    async def audit(self, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        raise out_of_reach()


class ScopedBackend(Backend):
    """Orders are turned into orders about what is within the scope before the hub gets them."""

    watcher = audit = callers = people = None  # of the whole hub

    def __init__(self, backend: Backend, systems: frozenset[str]) -> None:
        self._backend = backend
        self._systems = systems
        self._scoped = ScopedReader(backend.reader, systems)
        self.reader = self._scoped
        self.salt = backend.salt

    def _has(self, place: str) -> bool:
        return system_of(place) in self._systems

    async def status(self) -> dict[str, Any]:
        """Interfaces of the scope with their figures; nothing of the machine they run on."""
        workers = (await self._backend.status())["workers"]
        return {"workers": [self._status(worker) for worker in workers]}

    def _status(self, worker: dict[str, Any]) -> dict[str, Any]:
        figures = worker["figures"]
        return {
            "worker": worker["worker"],
            "started_at": worker["started_at"],
            "writable": worker["writable"],
            "inbound": self._own(worker["inbound"]),
            "outbound": self._own(worker["outbound"]),
            "problems": [problem for problem in worker["problems"] if self._has(problem["key"])],
            "figures": {
                name: self._own(figures[name]) for name in ("inbound", "outbound", "checks") if name in figures
            },
        }

    def _own(self, rows: dict[str, Any]) -> dict[str, Any]:
        return {place: row for place, row in rows.items() if self._has(place)}

    async def readiness(self) -> list[str]:
        return await self._backend.readiness()

    async def metrics(self) -> bytes:
        raise out_of_reach()

    async def plugins(self) -> list[dict[str, Any]]:
        """Plugins are public within a hub; which systems run on them is not."""
        rows = await self._backend.plugins()
        return [{**row, "systems": [name for name in row["systems"] if name in self._systems]} for row in rows]

    async def unmapped(self) -> list[dict[str, Any]]:
        raise out_of_reach()

    # -- orders ----------------------------------------------------------------------------------------------------

    async def act(self, verb: str, order: dict[str, Any], actor: str) -> dict[str, Any]:
        if verb == "forward":
            self._check_target(str(order.get("target", "")))
        ids = ids_of(order)
        refused: dict[str, str] = {}
        if ids:
            unknown = t("there is no such delivery", "没有这个投递")
            mine = [i for i in ids if await self._scoped.delivery(i) is not None]
            refused = {id_text(i): unknown for i in ids if i not in set(mine)}
        else:
            mine = await self._deliveries(delivery_query(selection_of(order)), most_of(order, MOST))
        if not mine:
            return {"done": [], "made": [], "refused": refused}
        given = {key: value for key, value in order.items() if key not in ("query", "most")}
        answer = await self._backend.act(verb, {**given, "ids": [id_text(i) for i in mine]}, actor)
        return {**answer, "refused": {**answer["refused"], **refused}}

    async def _deliveries(self, query: DeliveryQuery, most: int) -> list[int]:
        found: list[int] = []
        query.oldest_first, query.limit = True, min(1000, most)
        while len(found) < most:
            rows = await self._scoped.deliveries(query)
            found += [row.id for row in rows]
            if len(rows) < query.limit:
                break
            query.after = rows[-1].id
        return found[:most]

    async def replay(self, order: dict[str, Any], actor: str) -> dict[str, Any]:
        target = str(order.get("target", ""))
        if target:
            self._check_target(target)
        ids = await self._messages(order, 1000)
        if not ids:
            return {"dry_run": bool(order.get("dry_run", True)), "results": [], "made": []}
        return await self._backend.replay(self._by_ids(order, ids), actor)

    async def rerun(self, order: dict[str, Any], actor: str) -> dict[str, Any]:
        ids = await self._messages(order, MOST)
        if not ids:
            return dict.fromkeys(("checked", "marked", "failed", "not_checked", "skipped"), 0)
        return await self._backend.rerun(self._by_ids(order, ids), actor)

    @staticmethod
    def _by_ids(order: dict[str, Any], ids: list[int]) -> dict[str, Any]:
        given = {key: value for key, value in order.items() if key not in ("query", "most")}
        return {**given, "ids": [id_text(i) for i in ids]}

    async def _messages(self, order: dict[str, Any], most: int) -> list[int]:
        """Those an order is about, in the order of arrival. One that is outside is told as one there is not."""
        ids = ids_of(order)
        for message_id in ids:
            if await self._scoped.envelope(message_id) is None:
                raise HubError(
                    t(f"there is no message {id_text(message_id)}", f"没有消息 {id_text(message_id)}"),
                    code="message.unknown",
                )
        if ids:
            return ids
        query, most = message_query(selection_of(order), self.salt), most_of(order, most)
        query.limit = min(1000, most)
        found: list[int] = []
        while len(found) < most:
            page = await self._scoped.search(query)
            found += [row.id for row in page.rows]
            if not page.more or not page.rows:
                break
            query.before = page.rows[-1].id
        return sorted(found[:most])

    def _check_target(self, target: str) -> None:
        if not self._has(target):
            raise HubError(
                t(f"no target {target!r} within your scope", f"您的数据范围内没有目标 {target!r}"),
                code="target.unknown",
            )

    def _check_inbound(self, place: str) -> None:
        if not self._has(place):
            raise BadQuery(
                t(f"no inbound interface {place!r} within your scope", f"您的数据范围内没有接收接口 {place!r}")
            )

    async def send(self, place: str, raw: bytes, actor: str) -> dict[str, Any]:
        self._check_inbound(place)
        return await self._backend.send(place, raw, actor)

    async def poll(self, place: str, actor: str) -> dict[str, Any]:
        self._check_inbound(place)
        return await self._backend.poll(place, actor)

    async def probe(self, order: dict[str, Any]) -> dict[str, Any]:
        place = str(order.get("place", ""))
        if place and not self._has(place):
            return {"probes": []}
        found = await self._backend.probe(order)
        return {"probes": [row for row in found["probes"] if self._has(row["place"])]}

    async def reload(self, actor: str) -> dict[str, Any]:
        raise out_of_reach()

    async def archive_audit(self, order: dict[str, Any], actor: str) -> list[dict[str, Any]]:
        raise out_of_reach()
