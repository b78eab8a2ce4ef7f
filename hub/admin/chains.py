"""Which message answers which, as JSON for the API and the command line."""

from __future__ import annotations

import time
from typing import Any

from hub.admin.present import when_text
from hub.ids import id_text
from hub.message import Answer, Awaited
from hub.store.base import Chain

__all__ = ["awaited_json", "chain_json"]


def awaited_json(row: Awaited) -> dict[str, Any]:
    """A delivery whose target answers later."""
    return {
        "key": row.key,
        "target": row.place,
        "message_id": id_text(row.message_id),
        "delivery_id": id_text(row.delivery_id),
        "since": when_text(row.at),
        "due": when_text(max(row.due, 0)),
        "overdue": row.due > 0 and not row.answered and row.due < time.time_ns() // 1000,
        "answered_by": id_text(row.answered) if row.answered else "",
    }


def chain_json(chain: Chain) -> dict[str, Any]:
    """What a message answers, what is awaited for it, and what answers it."""
    return {
        "answers": _answer_json(chain.answer) if chain.answer is not None else None,
        "awaited": [awaited_json(row) for row in chain.awaited],
        "answered_by": [id_text(row.message_id) for row in chain.answered_by],
    }


def _answer_json(row: Answer) -> dict[str, Any]:
    """``state``: bound to what it answers, waiting for it, or unknown."""
    return {
        "key": row.key,
        "targets": row.places,
        "state": "bound" if row.request else "waiting" if row.waiting else "unknown",
        "message_id": id_text(row.request) if row.request else "",
        "delivery_id": id_text(row.delivery) if row.delivery else "",
    }
