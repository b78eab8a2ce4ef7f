"""Looking at the trail: all chains as one, in the order of time, by who, what, when and where."""

from __future__ import annotations

import heapq
import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any

from hub.audit.chain import CLOCK_SLACK_US
from hub.audit.entries import class_of
from hub.audit.sources import Source

__all__ = ["AuditQuery", "find", "newest", "next_page"]


@dataclass(slots=True)
class AuditQuery:
    """What is asked for; empty: everything. In ``actor``, ``action`` and ``subject`` a * matches any run of characters."""

    actor: str = ""
    action: str = ""
    subject: str = ""
    address: str = ""
    kind: str = ""  # class
    result: str = ""  # done, refused, failed
    chain: str = ""
    since_us: int = 0
    until_us: int = 0
    after: tuple[int, str, int] | None = None  # time, chain and number of the last one seen
    after_number: int = 0  # of every chain

    def wants(self, at: int, entry: dict[str, Any]) -> bool:
        """Is this entry asked for?"""
        if at < self.since_us or (self.until_us and at >= self.until_us):
            return False
        action = str(entry.get("action", ""))
        return (
            (not self.kind or class_of(action) == self.kind)
            and _matches(str(entry.get("actor", "")), self.actor)
            and _matches(action, self.action)
            and _matches(str(entry.get("subject", "")), self.subject)
            and (not self.address or entry.get("address") == self.address)
            and (not self.result or (entry.get("result") or "done") == self.result)
        )


def _matches(text: str, pattern: str) -> bool:
    return not pattern or text == pattern or ("*" in pattern and fnmatchcase(text, pattern.replace("[", "[[]")))


#: Sorts all rows: time, chain, number.
Key = tuple[int, str, int]


def _keyed(source: Source, query: AuditQuery) -> Iterator[tuple[Key, dict[str, Any]]]:
    """The rows of one chain that are asked for, in their order; a clock that was set back does not change it."""
    latest = 0
    for row in source.rows(query.after_number):
        if row["entry"] is None:
            continue
        try:
            entry = json.loads(row["entry"])
        except (ValueError, TypeError, RecursionError):
            entry = None
        if not isinstance(entry, dict):  # somebody has damaged it: verifying says so
            entry = {"at": row["at"], "actor": "?", "action": "?", "subject": "?", "detail": "", "reason": ""}
        made = entry.get("at")
        at = made if isinstance(made, int) else latest
        latest = max(latest, at)
        if query.until_us and at > query.until_us + CLOCK_SLACK_US:
            return
        key = (latest, source.name, row["seq"])
        if query.wants(at, entry) and (query.after is None or key > query.after):
            yield key, {"chain": source.name, "seq": row["seq"], "at": row["at"], "entry": entry, "hash": row["hash"]}


def find(chains: Sequence[Source], query: AuditQuery) -> Iterator[tuple[Key, dict[str, Any]]]:
    """Entries of all chains, oldest first: ``chain``, ``seq``, ``at``, ``entry`` (an object), ``hash``; ``worker`` where it is one's."""
    chosen = [source for source in chains if not query.chain or source.name == query.chain]
    for key, row in heapq.merge(*(_keyed(source, query) for source in chosen), key=lambda pair: pair[0]):
        if row["chain"].startswith("worker-"):
            row["worker"] = int(row["chain"].partition("-")[2])
        yield key, row


def next_page(chains: Sequence[Source], query: AuditQuery, limit: int) -> tuple[list[dict[str, Any]], str]:
    """At most ``limit`` entries, and where the next page begins; "" at the end."""
    found = list(islice(find(chains, query), limit + 1))
    rows = [row for _, row in found[:limit]]
    if len(found) <= limit:
        return rows, ""
    at, chain, seq = found[limit - 1][0]
    return rows, f"{at}.{chain}.{seq}"


def newest(chains: Sequence[Source], query: AuditQuery, most: int) -> list[dict[str, Any]]:
    """The last ``most`` entries, oldest first."""
    return [row for _, row in deque(find(chains, query), maxlen=most)]
