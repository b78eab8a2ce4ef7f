"""A mapping that makes no target, or several: the delivery ends, each part goes its own way as a delivery of its own."""

from __future__ import annotations

from collections.abc import Sequence

from hub.delivery.queue import KeyedQueue
from hub.i18n import t
from hub.message import Delivery, DeliveryState
from hub.store.base import Store

__all__ = ["spread"]


async def spread(
    store: Store, queue: KeyedQueue, delivery: Delivery, bodies: Sequence[bytes], started_us: int
) -> list[Delivery]:
    """End a delivery and make its parts, in one commit; when that fails the delivery is as it was, and the error is raised.

    The parts are known to the queue before they are committed, or the feeder might bring them as well.
    """
    count = len(bodies)
    children = [
        Delivery(
            id=store.ids.next(),
            message_id=delivery.message_id,
            route=delivery.route,
            target=delivery.target,
            order_key=delivery.order_key,
            parent=delivery.id,
            part=number,
            payload=body,
            updated_at=started_us,
        )
        for number, body in enumerate(bodies, 1)
    ]
    before = delivery.state
    born = {child.id for child in children}
    queue.ids |= born
    delivery.state = DeliveryState.SKIPPED
    delivery.parts = count
    delivery.updated_at = started_us
    delivery.step = ""
    delivery.reason = (
        t(f"split into {count} parts", f"拆分为 {count} 份")
        if count
        else t("the mapping's condition does not hold", "不满足映射的条件")
    )
    try:
        await store.apply(create=children, update=[delivery])
    except BaseException:
        queue.ids -= born
        delivery.state = before
        delivery.parts = 0
        raise
    for child in children:
        child.message = delivery.message
    return children
