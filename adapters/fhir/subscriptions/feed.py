"""The adapter ``fhir_subscriptions``: what the hub routes here is put into the queues of those who have subscribed to it."""

from __future__ import annotations

import asyncio
from typing import Any

import apsw

from adapters.fhir.exchange import resource_tree
from adapters.fhir.subscriptions.criteria import Criterion, criterion
from adapters.fhir.subscriptions.options import FeedConnect
from adapters.fhir.subscriptions.store import SubscriptionStore, Wanted, file_of
from hub.api import (
    Adapter,
    Bound,
    CodecError,
    HubError,
    Outgoing,
    PermanentError,
    Reply,
    Sender,
    StoreBusy,
    TransientError,
    UnreachableError,
)
from hub.codecs.fhir import FhirCodec, FhirFormat
from hub.i18n import t

__all__ = ["FeedSender", "FhirSubscriptionsAdapter"]

#: Above this, bytes, a message is read in a thread: the event loop must not stand still for it.
_THREAD_ABOVE = 128 << 10
_MOST_ENTRIES = 10_000


class FeedSender(Sender):
    """A feed: done with a message when it is stored for everybody who is to be told."""

    def __init__(self, bound: Bound) -> None:
        self._place = bound.place
        self._codec = bound.codec
        version: Any = bound.contract.format.get("version", "R4")
        self._json = FhirCodec(FhirFormat(version=version))
        self._store = SubscriptionStore(file_of(bound.data, bound.system))
        self._open = False
        self._seen = -1
        self._by_type: dict[str, list[tuple[str, list[list[Criterion]]]]] = {}
        self._matched = self._told = 0

    async def start(self) -> None:
        if self._codec.name != "fhir":
            raise HubError(
                t(f"{self._place} needs codec: fhir", f"{self._place} 须为 codec: fhir"), code="fhir.contract"
            )
        await self._store.open(owner=False)
        self._open = True

    async def stop(self) -> None:
        self._open = False
        await self._store.close()

    async def send(self, outgoing: Outgoing) -> Reply:
        if not self._open:
            raise UnreachableError(t(f"{self._place} is not started", f"{self._place} 尚未启动"), code="http.stopped")
        body = outgoing.body
        try:
            large = len(body) > _THREAD_ABOVE
            resources = await asyncio.to_thread(self._resources, body) if large else self._resources(body)
        except CodecError as error:
            raise PermanentError(error.text, code=error.code) from None

        def change(db: apsw.Connection) -> int:
            self._refresh(db)
            found = [(data, self._subscribers(tree)) for tree, data in resources]
            return SubscriptionStore.feed(db, outgoing.idempotency_key, found)

        try:
            told = await self._store.write(change)
        except StoreBusy as error:
            raise TransientError(error.text, code=error.code) from None
        self._matched += 1
        self._told += told
        return Reply(True, b'{"notifications":%d}' % told, 200, "200")

    def _resources(self, body: bytes) -> list[tuple[dict[str, Any], bytes]]:
        """What is matched: the resource, or, of a bundle, itself and each resource in it."""
        tree = resource_tree(body, self._codec)
        entries = tree.get("entry") if tree.get("resourceType") == "Bundle" else None
        plain = body.lstrip()[:1] == b"{"
        if not isinstance(entries, list):
            return [(tree, body if plain else self._json.encode(tree))]
        if len(entries) > _MOST_ENTRIES:
            raise CodecError(t("the bundle has too many entries", "Bundle 的条目过多"), code="fhir.bundle")
        exact = self._codec.decode(body)  # numbers digit for digit, as they go out again
        inner = [one.get("resource") for one in exact["entry"] if isinstance(one, dict)]
        found = [one for one in inner if isinstance(one, dict) and isinstance(one.get("resourceType"), str)]
        return [(one, self._json.encode(one)) for one in (exact, *found)]

    # -- matching; in the store's thread ---------------------------------------------------------------------------

    def _refresh(self, db: apsw.Connection) -> None:
        seen = SubscriptionStore.version(db)
        if seen == self._seen:
            return
        by_type: dict[str, list[tuple[str, list[list[Criterion]]]]] = {}
        for number, wanted in SubscriptionStore.wanted(db):
            for kind, every in _compiled(wanted).items():
                by_type.setdefault(kind, []).append((number, every))
        self._by_type, self._seen = by_type, seen

    def _subscribers(self, tree: dict[str, Any]) -> list[str]:
        of_type = self._by_type.get(tree.get("resourceType", ""), ())
        return [number for number, anyof in of_type if any(all(one.meets(tree) for one in every) for every in anyof)]

    async def probe(self) -> str:
        if not self._open:
            raise UnreachableError(t(f"{self._place} is not started", f"{self._place} 尚未启动"), code="http.stopped")
        try:
            told = len(await self._store.read(SubscriptionStore.wanted))
        except StoreBusy as error:
            raise TransientError(error.text, code=error.code) from None
        return t(f"{told} subscriptions are told", f"{told} 个有效订阅")

    def status(self) -> dict[str, Any]:
        return {"matched": self._matched, "notifications": self._told}


def _compiled(wanted: Wanted) -> dict[str, list[list[Criterion]]]:
    """By type of resource: lists of criteria of which all must be met."""
    found: dict[str, list[list[Criterion]]] = {}
    for texts in wanted["any"]:
        every = [criterion(text, wanted["version"]) for text in texts]
        found.setdefault(every[0].type, []).append(every)
    return found


class FhirSubscriptionsAdapter(Adapter):
    """Tells those of a message who have subscribed to it at the facade of the same system."""

    name = "fhir_subscriptions"
    connect_options = FeedConnect
    opaque = False

    def sender(self, bound: Bound) -> Sender:
        return FeedSender(bound)
