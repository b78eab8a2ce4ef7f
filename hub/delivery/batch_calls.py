"""Rows of the call log for a call that several deliveries share: the call with its bodies once, and a row for each delivery."""

from __future__ import annotations

from typing import Any

import orjson

from hub.delivery.batch_attempt import BatchAttempt, Member
from hub.delivery.classify import Verdict
from hub.ids import id_text
from hub.message import CallRecord, Direction

__all__ = ["row_of", "shared_call"]


def shared_call(
    call_id: int, place: str, plugin: str, attempt: BatchAttempt, count: int, envelope: str, *, keep_bodies: bool
) -> CallRecord:
    """The call itself; ``envelope``: the stamp of the mapping that put it together."""
    verdict, reply = attempt.verdict, attempt.reply
    return CallRecord(
        id=call_id,
        at=attempt.started_us,
        direction=Direction.OUT,
        place=place,
        outcome=verdict.outcome,
        code=verdict.code,
        error=verdict.error,
        took_us=attempt.took_us,
        params=orjson.dumps({"batch": {"messages": count, "number": attempt.number}}).decode(),
        request=attempt.request if keep_bodies else None,
        response=reply.body if reply is not None and reply.body and keep_bodies else None,
        mapping=envelope,
        plugin=plugin,
        check=attempt.check,
    )


def row_of(
    row_id: int,
    plugin: str,
    member: Member,
    verdict: Verdict,
    attempt: BatchAttempt,
    shared: tuple[int, int, int] | None = None,
) -> CallRecord:
    """The attempt of one delivery; ``shared``: (id of the call, its place in it from 1, how many it carried)."""
    delivery = member.delivery
    params: dict[str, Any] = {}
    if member.answers is not None and member.answers.references:
        params["lookups"] = member.answers.references
    if shared is not None:
        call_id, number, count = shared
        params["batch"] = {"call": id_text(call_id), "place": number, "messages": count}
    return CallRecord(
        id=row_id,
        at=attempt.started_us,
        direction=Direction.OUT,
        place=delivery.target,
        outcome=verdict.outcome,
        message_id=delivery.message_id,
        delivery_id=delivery.id,
        attempt=delivery.attempts,
        code=verdict.code,
        error=verdict.error,
        took_us=attempt.took_us,
        params=orjson.dumps(params).decode() if params else "",
        mapping=member.made.stamp if member.made is not None else "",
        plugin=plugin,
        check=member.check,
    )
