"""Intake: what an adapter received or read becomes a durable message with its deliveries, and only then is acknowledged."""

from hub.intake.intake import Intake
from hub.intake.source import CHECK_OFF_LOOP_BYTES, OFF_LOOP_BYTES, TooLarge

__all__ = ["CHECK_OFF_LOOP_BYTES", "OFF_LOOP_BYTES", "Intake", "TooLarge"]
