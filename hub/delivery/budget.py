"""How much of what waits may be in memory."""

from __future__ import annotations

from hub.message import Delivery

__all__ = ["Budget", "Charges"]


class Budget:
    """Bytes of message bodies that all targets together keep in memory; above it bodies are read when needed."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def take(self, count: int) -> bool:
        if self.used + count > self.limit:
            return False
        self.used += count
        return True

    def give(self, count: int) -> None:
        self.used -= count


class Charges:
    """What one target has of the budget, by delivery."""

    __slots__ = ("_budget", "_charged")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._charged: dict[int, int] = {}

    def charge(self, delivery: Delivery) -> None:
        """Count the body of a delivery, or leave it to be read again when its turn comes."""
        message = delivery.message
        if message is None:
            return
        size = len(message.raw)
        if self._budget.take(size):
            self._charged[delivery.id] = size
        else:
            delivery.message = None

    def discharge(self, delivery_id: int) -> None:
        size = self._charged.pop(delivery_id, 0)
        if size:
            self._budget.give(size)
