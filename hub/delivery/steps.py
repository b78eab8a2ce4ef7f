"""What the steps of an attempt share: where they look things up, and how one fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from hub.api import Bound, Codec
from hub.contract import RouteConfig
from hub.errors import HubError
from hub.i18n import t
from hub.mapping import MappingLibrary
from hub.message import CheckRecord, Message

__all__ = ["Prepared", "StepError", "World", "decode_message"]


class World(Protocol):
    """The part of a deployment that deliveries need."""

    @property
    def inbound(self) -> Mapping[str, Bound]: ...
    @property
    def outbound(self) -> Mapping[str, Bound]: ...
    @property
    def routes(self) -> Mapping[str, RouteConfig]: ...
    @property
    def mappings(self) -> MappingLibrary: ...
    @property
    def codecs(self) -> Mapping[str, Codec]: ...


class StepError(Exception):
    """A step before sending failed: the hub's own work, so trying again changes nothing until somebody mends it."""

    def __init__(self, step: str, error: HubError, check: CheckRecord | None = None) -> None:
        super().__init__(str(error))
        self.step = step
        self.error = error
        self.check = check


@dataclass(slots=True)
class Prepared:
    """What is to be sent."""

    bodies: list[bytes]  # several: the mapping splits; none: its condition does not hold
    stamp: str  # "name@hash" of the mapping, "" when the bytes go out as received
    idempotency_key: str


def decode_message(message: Message, world: World) -> Any:
    """The decoded tree of a message; decoded once, then shared by all its deliveries."""
    if message.tree is None:
        source = world.inbound.get(message.source)
        if source is not None and source.codec.name == message.codec:
            codec: Codec | None = source.codec  # with the options of the interface
        else:
            codec = world.codecs.get(message.codec)
        if codec is None:
            raise HubError(
                t(f"codec {message.codec!r} is not installed", f"未安装编解码器 {message.codec!r}"),
                code="codec.missing",
            )
        message.tree = codec.decode(message.raw, encoding=source.contract.encoding if source else "")
    return message.tree
