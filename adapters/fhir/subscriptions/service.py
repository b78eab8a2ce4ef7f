"""The subscriptions of a facade: all subscribers, and what callers may do with the resource Subscription."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from adapters.fhir.exchange import Exchange
from adapters.fhir.subscriptions.notification import Notifications, status_resource
from adapters.fhir.subscriptions.options import SubscriptionOptions
from adapters.fhir.subscriptions.resource import (
    check_match,
    location,
    missing,
    says,
    searchset,
    shown,
    stored,
    version_headers,
)
from adapters.fhir.subscriptions.spec import Spec, spec_of, with_secrets
from adapters.fhir.subscriptions.store import Kept, SubscriptionStore, Wanted
from adapters.fhir.subscriptions.subscriber import Note, Subscriber
from adapters.http.problem import Refusal
from hub.api import HubError, StoreBusy
from hub.i18n import t
from hub.logs import get_logger
from hub.masking import mask_text

__all__ = ["Answered", "Subscriptions"]

log = get_logger(__name__)

#: Feeds, also those in other processes, are heard so often, seconds.
_LISTEN = 0.1
_CLEAN = 3600.0
_STATUSES = ("requested", "active", "off")


@dataclass(frozen=True, slots=True)
class Answered:
    """What a caller is answered; ``tree`` None for nothing."""

    status: int
    tree: dict[str, Any] | None
    headers: Mapping[str, str]


class Subscriptions:
    """Of one system. ``version`` of FHIR."""

    def __init__(
        self, file: Path, version: Any, options: SubscriptionOptions, types: frozenset[str], note: Note
    ) -> None:
        self._store = SubscriptionStore(file)
        self._version: str = version
        self._options = options
        self._types = types
        self._note = note
        self._writer = Notifications(version, "")
        self._subscribers: dict[str, Subscriber] = {}
        self._listening: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()

    async def start(self, base: str) -> None:
        """Go on where it was; ``base`` of the facade. Raises :class:`HubError`."""
        await self._store.open(owner=True)
        self._writer.base = base
        try:
            for kept in await self._store.read(SubscriptionStore.all):
                await self._resume(kept)
        except BaseException:
            await self._store.close()
            raise
        self._listening = asyncio.create_task(self._listen(), name="subscriptions")

    async def stop(self, grace: float) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
            self._listening = None
        await asyncio.gather(*(self._end(number, grace) for number in list(self._subscribers)))
        await self._store.close()

    def status(self) -> dict[str, Any]:
        found: dict[str, int] = {}
        for one in self._subscribers.values():
            found[one.kept.status] = found.get(one.kept.status, 0) + 1
        return {"subscriptions": found, "notified": sum(one.told for one in self._subscribers.values())}

    # -- subscribers ---------------------------------------------------------------------------------------------

    async def _resume(self, kept: Kept) -> None:
        if kept.status == "off":
            return
        try:
            spec = self._spec(kept.resource)
        except HubError as error:
            # The options are others than when it was taken. It keeps what waits, and gets nothing more, until they fit again.
            self._note({"subscription": kept.id}, error, time.time_ns() // 1000)
            text = error.text
            await self._store.write(lambda db: SubscriptionStore.set_status(db, kept, "requested", text, 0.0))
            return
        await self._store.write(lambda db: SubscriptionStore.set_wanted(db, kept.id, self._wanted(spec)))
        self._begin(kept, spec)

    def _wanted(self, spec: Spec) -> Wanted:
        return {"version": self._version, "any": spec.criteria}

    def _begin(self, kept: Kept, spec: Spec) -> None:
        self._subscribers[kept.id] = Subscriber(kept, spec, self._store, self._options, self._writer, self._note)

    async def _end(self, number: str, grace: float = 0.0) -> None:
        one = self._subscribers.pop(number, None)
        if one is not None:
            await one.stop(grace)

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        seen, cleaned = -1, loop.time()
        counts: dict[str, int] = {}
        while True:
            try:
                version = await self._store.read(SubscriptionStore.version)
                if version != seen:
                    for number, events, waiting in await self._store.read(SubscriptionStore.queues):
                        one = self._subscribers.get(number)
                        if one is not None and counts.get(number) != events:
                            one.wake()
                            if waiting > self._options.max_waiting:
                                await one.off_for_its_queue(waiting)
                        counts[number] = events
                    seen = version
                if loop.time() - cleaned > _CLEAN:
                    cleaned = loop.time()
                    await self._store.write(SubscriptionStore.clean)
                    for number in [key for key, one in self._subscribers.items() if one.task.done()]:
                        await self._end(number)
            except StoreBusy:
                pass  # heard a moment later
            except Exception as error:  # nobody would be told anything any more
                log.error("subscriptions: %s", mask_text(repr(error)), exc_info=error)
            await asyncio.sleep(_LISTEN)

    def _spec(self, tree: dict[str, Any]) -> Spec:
        spec = spec_of(tree, self._version, self._options)
        if "*" not in self._types and not spec.types <= self._types:
            raise HubError(
                t("this type of resource is not offered to subscribers", "不向订阅方提供该类型的资源"),
                code="fhir.subscription",
            )
        return spec

    # -- calls ---------------------------------------------------------------------------------------------------

    async def answer(self, exchange: Exchange) -> Answered:
        """Raises :class:`Refusal` and :class:`StoreBusy`."""
        call = exchange.call
        match call.interaction:
            case "create":
                return await self._create(exchange)
            case "update" if call.id:
                async with self._changing:
                    return await self._update(exchange)
            case "read":
                kept = await self._get(call.id)
                if call.version and call.version != str(kept.version):
                    raise missing()
                if f'W/"{kept.version}"' in exchange.header("If-None-Match"):
                    return Answered(304, None, version_headers(kept))
                return Answered(200, shown(kept), version_headers(kept))
            case "delete" if call.id:
                async with self._changing:
                    return await self._delete(exchange)
            case "status":
                return await self._status(exchange)
            case "search":
                return await self._search(exchange)
        raise Refusal(
            405,
            "fhir.interaction",
            ("subscriptions are not changed this way", "不能以此方式更改订阅"),
            headers={"Allow": "DELETE, GET, POST, PUT"},
        )

    def _checked(self, tree: dict[str, Any]) -> tuple[str, Spec]:
        """The status a new or changed subscription gets, and what it asks for."""
        wanted = tree.get("status", "requested")
        if wanted not in _STATUSES:
            raise Refusal(
                422, "fhir.subscription", ("the status to ask for is requested, or off", "status 须为 requested 或 off")
            )
        try:
            spec = self._spec(tree)
            orjson.dumps(tree)
        except HubError as error:
            raise Refusal(422, error.code, (error.text, error.text)) from None
        except TypeError:
            raise Refusal(
                422,
                "fhir.subscription",
                ("the resource is nested too deeply, or has numbers that are too long", "资源嵌套过深或含有过长的数字"),
            ) from None
        return "off" if wanted == "off" else "requested", spec

    def _room(self, number: str) -> None:
        others = sum(one.kept.status != "off" for key, one in self._subscribers.items() if key != number)
        if others >= self._options.most:
            raise Refusal(
                422,
                "fhir.subscriptions",
                (f"there are {others} subscriptions already", f"订阅数已达 {others} 个"),
                ("end some of them, or have subscriptions.most raised", "请结束部分订阅，或调大 subscriptions.most"),
            )

    async def _create(self, exchange: Exchange) -> Answered:
        tree = exchange.tree
        if exchange.header("If-None-Exist"):
            raise Refusal(
                422,
                "fhir.subscription",
                (
                    "subscriptions are not created conditionally; use PUT with an id",
                    "订阅不支持条件创建，请使用带 id 的 PUT",
                ),
            )
        async with self._changing:
            status, spec = self._checked(tree)
            number = str(uuid.uuid4())
            self._room(number)
            told = stored(tree), self._wanted(spec)
            kept = await self._store.write(lambda db: SubscriptionStore.put(db, number, status, *told))
            if status != "off":
                self._begin(kept, spec)
        return Answered(201, shown(kept), {**version_headers(kept), "Location": location(exchange, kept)})

    async def _update(self, exchange: Exchange) -> Answered:
        tree, number = exchange.tree, exchange.call.id
        before = await self._store.read(lambda db: SubscriptionStore.get(db, number))
        check_match(exchange, before)
        if before is not None:
            tree = with_secrets(tree, before.resource)
        status, spec = self._checked(tree)
        self._room(number)

        def change(db: Any) -> Kept:
            kept = SubscriptionStore.put(db, number, status, stored(tree), self._wanted(spec))
            if status == "off":
                SubscriptionStore.set_status(db, kept, "off", "", 0.0)
            return kept

        kept = await self._store.write(change)
        await self._end(number)
        if status != "off":
            self._begin(kept, spec)
        headers = {**version_headers(kept), "Location": location(exchange, kept)}
        return Answered(200 if before is not None else 201, shown(kept), headers)

    async def _delete(self, exchange: Exchange) -> Answered:
        number = exchange.call.id
        check_match(exchange, await self._store.read(lambda db: SubscriptionStore.get(db, number)))
        await self._store.write(lambda db: SubscriptionStore.remove(db, number))
        await self._end(number)
        return Answered(204, None, {})

    async def _get(self, number: str) -> Kept:
        kept = await self._store.read(lambda db: SubscriptionStore.get(db, number))
        if kept is None:
            raise missing()
        return kept

    async def _status(self, exchange: Exchange) -> Answered:
        if exchange.call.id:
            found = [await self._get(exchange.call.id)]
        else:
            wanted = {value for name, value in exchange.query if name == "id" for value in value.split(",")}
            every = await self._store.read(SubscriptionStore.all)
            found = [kept for kept in every if not wanted or kept.id in wanted]
        entries = []
        for kept in found:
            at = f"{exchange.base}/Subscription/{kept.id}"
            topic = str(kept.resource.get("topic" if self._version == "R5" else "criteria", ""))
            topic = topic if "://" in topic else ""
            tree = status_resource(self._version, at, kept, topic, "query-status", kept.events)
            entries.append(
                {
                    "fullUrl": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, at)}",
                    "resource": tree,
                    "search": {"mode": "match"},
                }
            )
        return Answered(200, searchset(exchange, entries), {})

    async def _search(self, exchange: Exchange) -> Answered:
        tests: list[Callable[[Kept], bool]] = []
        for name, value in exchange.query:
            wanted = frozenset(value.split(","))
            if name == "_id":
                tests.append(lambda kept, wanted=wanted: kept.id in wanted)  # type: ignore[misc]
            elif name == "status":
                tests.append(lambda kept, wanted=wanted: kept.status in wanted)  # type: ignore[misc]
            elif name in ("criteria", "url", "topic"):
                tests.append(lambda kept, name=name, value=value: says(kept.resource, name) == value)  # type: ignore[misc]
            elif not name.startswith("_"):
                raise Refusal(
                    400,
                    "fhir.parameter",
                    (
                        "subscriptions are found by _id, status, criteria, topic and url",
                        "订阅可按 _id、status、criteria、topic、url 查询",
                    ),
                )
        every = await self._store.read(SubscriptionStore.all)
        entries = [
            {"fullUrl": f"{exchange.base}/Subscription/{kept.id}", "resource": shown(kept), "search": {"mode": "match"}}
            for kept in every
            if all(test(kept) for test in tests)
        ]
        return Answered(200, searchset(exchange, entries), {})
