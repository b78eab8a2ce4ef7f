"""What an adapter adds so that the other party can be played over its transport."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from hub.errors import HubError
from hub.i18n import t
from hub.simulator.behaviour import Behaviour

if TYPE_CHECKING:
    from hub.api import Bound
    from hub.contract import Setting
    from hub.simulator.calls import SimulatedReply
    from hub.simulator.party import Party
    from hub.simulator.replies import Replies
    from hub.simulator.side import Side
    from hub.simulator.texts import Writer

__all__ = ["Counterpart", "Listening"]


class Listening(ABC):
    """The targets of ``out`` interfaces and the sources of ``in`` interfaces, played."""

    @abstractmethod
    async def start(self) -> None:
        """Listen. Raises :class:`hub.errors.HubError` when a port can't be had."""

    @abstractmethod
    async def stop(self) -> None:
        """Close everything at once."""

    async def offer(self, side: Side, body: bytes) -> None:
        """One more entry in the source of an ``in`` interface. Raises :class:`hub.errors.HubError` where it can't be one."""
        raise HubError(
            t(f"{side.interface}: nothing can be laid out there", f"{side.interface}：无法放置条目"),
            code="simulate.source",
            remedy=t("send messages to the hub instead: --drive", "请改用 --drive 向枢纽发送消息"),
        )


class Counterpart(ABC):
    """The other end of an adapter's transport. Given by ``Adapter.counterpart``; adapters whose counterparts are of one class are
    played together, and can share addresses."""

    #: Sources it plays are servers the hub calls: calls to them are protected as those of ``out`` interfaces.
    called: ClassVar[bool] = False
    #: What the hub sends is answered over this transport; where nothing is, there is no way to misbehave.
    answers: ClassVar[bool] = True
    #: The hub keeps its connections; a call it made on one that breaks before the answer it makes again at once, on another. An
    #: answer without a body is a message there, which can be cut off.
    keeps: ClassVar[bool] = False

    def replies(self, bound: Bound, writer: Writer, expired: str) -> Replies:
        """What an ``out`` interface answers; ``expired``: see :class:`hub.simulator.replies.Replies`."""
        from hub.simulator.replies import Replies  # which an adapter that only listens need not load

        return Replies(bound, writer, expired, answered=self.answers)

    def invented(
        self, entries: Iterable[Mapping[str, Any]], settings: Mapping[str, Setting], host: str
    ) -> dict[str, Any]:
        """Settings by which these interfaces, as a contract has them, find the other party, where their type does not tell."""
        return {}

    @abstractmethod
    def listening(self, sides: Sequence[Side], party: Party) -> Listening:
        """Plays the targets of these ``out`` interfaces, at the addresses of their own ``connect``, and the sources of ``in``
        interfaces whose adapter reads them.

        Of each call it checks what the transport knows (path, credentials, content type), opens it with ``Side.protection``,
        asks ``Party.hear`` what to say, and says it: sealed, or spoilt as told.
        """

    @abstractmethod
    async def send(
        self, side: Side, to: str, options: Mapping[str, Any], body: bytes, behaviour: Behaviour | None
    ) -> SimulatedReply:
        """One message to an ``in`` interface of a hub at ``to`` ("": as its own settings say).

        ``options`` are values for ``{name}`` parts of the address. Raises :class:`hub.errors.SendError` when there is no answer.
        """
