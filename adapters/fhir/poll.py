"""Reading a FHIR server: what changed since the last time, page by page, each resource a message."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, cast
from urllib.parse import urlencode

import orjson

from adapters.fhir.export import export_run
from adapters.fhir.options import FhirPoll
from adapters.fhir.source import FhirSource
from adapters.polling import PollingReceiver, Run
from hub.api import Bound, CodecError, HubError, IntakePort, Item, TransientError, UnreachableError
from hub.i18n import t

__all__ = ["FhirPollReceiver"]

_MARK = "search"
#: Resources in the time looked back on that are remembered, so that they are not taken again.
_MOST_SEEN = 4000
#: A page with more entries is taken apart in a thread.
_MANY = 50


@dataclass(slots=True)
class _Mark:
    """How far the server was read: the newest ``lastUpdated``, and what was seen around it (digest -> its time)."""

    newest: str = ""
    seen: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> _Mark:
        try:
            kept = orjson.loads(text)
            return cls(str(kept["newest"]), {str(key): str(value) for key, value in kept["seen"].items()})
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def text(self, overlap: float) -> str:
        """What is older than the next run looks back to is forgotten."""
        newest = _time(self.newest)
        kept = list(self.seen.items())[-_MOST_SEEN:]
        if newest is not None:
            since = newest - timedelta(seconds=overlap)
            kept = [(key, at) for key, at in kept if (when := _time(at)) is None or when >= since]
        return orjson.dumps({"newest": self.newest, "seen": dict(kept)}).decode()


@dataclass(slots=True)
class _Found:
    """One resource of a page."""

    raw: bytes
    key: str
    control_id: str
    updated: str  # "" where it has none, or was only included


class FhirPollReceiver(PollingReceiver):
    """Reads one type of resource of one server."""

    def __init__(self, bound: Bound, intake: IntakePort) -> None:
        self._options = options = cast(FhirPoll, bound.options)
        super().__init__(bound, intake, options.schedule)
        self._codec = bound.codec
        self._source: FhirSource | None = None
        self._address = f"{options.url}/{options.export or options.resource}"

    # -- hub.api.Receiver ----------------------------------------------------------------------------------------

    async def start(self) -> None:
        if self._codec.name != "fhir":
            place = self.bound.place
            raise HubError(t(f"{place} needs codec: fhir", f"{place} 须为 codec: fhir"), code="fhir.contract")
        self._source = FhirSource(self.bound, self._options)
        await super().start()

    async def stop(self, grace: float) -> None:
        await super().stop(grace)
        if self._source is not None:
            await self._source.close()

    @property
    def source(self) -> str:
        return self._address

    async def probe(self) -> str:
        source = self._started()
        tree = await source.tree(source.target("metadata"))
        if tree.get("resourceType") != "CapabilityStatement":
            raise TransientError(
                t("there is no FHIR server at this address", "该地址不是 FHIR 服务器"), code="fhir.metadata"
            )
        version = str(tree.get("fhirVersion", ""))[:10]
        return t(f"FHIR server, version {version}", f"FHIR 服务器，版本 {version}")

    def item_of(self, line: bytes) -> Item:
        """A resource of an export: the bytes as they come."""
        try:
            tree = orjson.loads(line)
        except orjson.JSONDecodeError:
            tree = None  # the intake says what is wrong with it
        return Item(line, _state(tree)[0] if isinstance(tree, dict) else "")

    def _started(self) -> FhirSource:
        if self._source is None:
            raise UnreachableError(t("not started", "尚未启动"), code="http.stopped")
        return self._source

    # -- one run -------------------------------------------------------------------------------------------------

    async def read(self, run: Run) -> None:
        source = self._started()
        if self._options.export:
            await export_run(self, source, self._options, run)
        else:
            await self._search(source, run)

    async def _search(self, source: FhirSource, run: Run) -> None:
        stored = await self.intake.mark(self.bound, _MARK)
        mark = _Mark.of(stored)
        target = source.target(self._options.resource, self._first(mark))
        asked: set[bytes] = set()
        newest = mark.newest  # of this run; becomes the mark when nothing older can follow
        sorted_so_far = True
        last = mark.newest
        while target:
            digest = blake2b(target.encode(), digest_size=16).digest()
            if digest in asked:
                raise TransientError(
                    t("the server's next links lead in a circle", "服务器的 next 链接循环"), code="fhir.next"
                )
            asked.add(digest)
            tree = await source.tree(target)
            large = isinstance(tree.get("entry"), list) and len(tree["entry"]) > _MANY
            found = await asyncio.to_thread(list, self._resources(tree)) if large else list(self._resources(tree))
            fresh: list[Item] = []
            for one in found:
                if one.updated:
                    sorted_so_far = sorted_so_far and not _later(last, one.updated)
                    last = one.updated
                    if _later(one.updated, newest):
                        newest = one.updated
                if one.key not in mark.seen:
                    fresh.append(Item(one.raw, one.control_id))
                mark.seen.pop(one.key, None)
                mark.seen[one.key] = one.updated or newest
            target = _page_after(source, tree, target)
            if sorted_so_far or not target:
                mark.newest = newest
            noted = mark.text(self._options.overlap)
            if fresh or noted != stored:
                await self.take(run, fresh, noted, _MARK)
                stored = noted
            if not self.go_on(run):
                return

    def _first(self, mark: _Mark) -> str:
        options = self._options
        newest = _time(mark.newest)
        since = options.since
        if newest is not None:
            back = newest - timedelta(seconds=options.overlap)
            since = back.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{back.microsecond // 1000:03}Z"
        query = dict(options.query)
        if since:
            query["_lastUpdated"] = f"ge{since}"
        query |= {"_sort": "_lastUpdated", "_count": str(options.page_size)}
        return urlencode(query)

    def _resources(self, tree: dict[str, Any]) -> Iterator[_Found]:
        entries = tree.get("entry")
        for entry in entries if isinstance(entries, list) else ():
            resource = entry.get("resource") if isinstance(entry, dict) else None
            search = entry.get("search") if isinstance(entry, dict) else None
            mode = search.get("mode") if isinstance(search, dict) else None
            if not isinstance(resource, dict) or mode == "outcome":
                continue
            try:
                raw = self._codec.encode(resource)
            except CodecError as error:
                raise TransientError(
                    t(f"a resource of the page can't be read: {error.text}", f"页面中的资源无法读取：{error.text}"),
                    code="fhir.page",
                ) from None
            control_id, updated = _state(resource)
            named = f"{resource.get('resourceType')}/{control_id}".encode() if control_id else raw
            key = blake2b(named, digest_size=8).hexdigest()
            yield _Found(raw, key, control_id, updated if mode != "include" else "")


def _page_after(source: FhirSource, tree: dict[str, Any], target: str) -> str:
    """Path and query of the page that follows; "" for none."""
    links = tree.get("link")
    url = ""
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("relation") == "next" and isinstance(link.get("url"), str):
            url = link["url"]
    return source.same_server(url, target) if url else ""


def _state(resource: dict[str, Any]) -> tuple[str, str]:
    """(control id, lastUpdated) of a resource; "" for what it does not have."""
    meta = resource.get("meta")
    updated = meta.get("lastUpdated") if isinstance(meta, dict) else None
    version = meta.get("versionId") if isinstance(meta, dict) else None
    updated = updated if isinstance(updated, str) and _time(updated) is not None else ""
    state = version if isinstance(version, str) and version else updated
    number = resource.get("id")
    return (f"{number}/{state}"[:128] if isinstance(number, str) and state and len(number) <= 64 else ""), updated


def _time(text: str) -> datetime | None:
    if "T" not in text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def _later(one: str, other: str) -> bool:
    """Whether a time is after another; nothing is before everything."""
    first, second = _time(one), _time(other)
    return first is not None and (second is None or first > second)
