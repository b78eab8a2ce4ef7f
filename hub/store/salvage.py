"""Texts that can't be stored as they are (half surrogate pairs from a lenient decoder, what a plugin gave for a text), made storable."""

from __future__ import annotations

from dataclasses import replace

from hub.message import CallRecord, Delivery, DeliveryState
from hub.store.rows import Row

__all__ = ["clean_call", "clean_delivery"]


def _clean(text: object) -> str:
    return str(text).encode("utf-8", "replace").decode()


def clean_delivery(delivery: Delivery, row: Row) -> Delivery:
    """The delivery as it was when ``row`` (see ``UPDATE_DELIVERY``) was made, with texts that can be stored."""
    state, attempts, next_at, step, reason, parts, updated_at, _ = row
    return replace(
        delivery,
        route=_clean(delivery.route),
        target=_clean(delivery.target),
        order_key=_clean(delivery.order_key),
        state=DeliveryState(state),
        attempts=attempts,
        next_at=next_at,
        step=_clean(step),
        reason=_clean(reason),
        parts=parts,
        updated_at=updated_at,
        payload=None,
        message=None,
    )


def clean_call(call: CallRecord) -> CallRecord:
    """The call with texts that can be stored."""
    return replace(
        call,
        place=_clean(call.place),
        code=_clean(call.code),
        error=_clean(call.error),
        remote=_clean(call.remote),
        params=_clean(call.params),
        mapping=_clean(call.mapping),
        plugin=_clean(call.plugin),
        check=None,  # made of the texts that can't be stored
        awaited=None if call.awaited is None else replace(call.awaited, key=_clean(call.awaited.key)),
    )
