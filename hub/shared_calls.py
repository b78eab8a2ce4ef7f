"""Calls that deliveries of several messages share: each delivery has a row of its own that points to the call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from hub.ids import parse_id
from hub.message import CallRecord
from hub.store.base import CallQuery, StoreReader

__all__ = ["batch_of", "shared_calls"]


def batch_of(call: CallRecord) -> dict[str, Any]:
    """``{call: id, place: 2, messages: 200}`` of a row that points to a shared call; ``{messages, number}`` of that call; else {}."""
    if '"batch"' not in call.params:
        return {}
    found = orjson.loads(call.params).get("batch")
    return found if isinstance(found, dict) else {}


async def shared_calls(reader: StoreReader, calls: Sequence[CallRecord]) -> list[CallRecord]:
    """The calls that rows point to, with their bodies, oldest first."""
    wanted = {(parse_id(batch["call"]), call.place) for call in calls if "call" in (batch := batch_of(call))}
    found = []
    for number, place in sorted(wanted):
        query = CallQuery(place=place, before=number + 1, limit=1, bodies=True)
        found += [call for call in await reader.calls(query) if call.id == number]
    return found
