"""What an expression can see besides the source tree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hub.message import Message

__all__ = ["Context"]


@dataclass(slots=True)
class Context:
    """``settings`` are those of the system concerned, secrets resolved; ``now_us`` is microseconds since the epoch, UTC."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    message: Message | None = None
    now_us: int = 0
    variables: Mapping[str, Any] = field(default_factory=dict)
