"""What a security scheme is: one agreed way to sign or encrypt calls, named in ``security`` of an interface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from hub.security.replay import ReplayGuard
from hub.security.wire import Wire

if TYPE_CHECKING:
    from hub.callers.door import Door

__all__ = ["NoOptions", "Opening", "Scheme", "SchemeOptions"]


class SchemeOptions(BaseModel):
    """Base of every scheme's options: unknown keys are errors, secrets are ``SecretStr``."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoOptions(SchemeOptions):
    """A scheme with nothing to choose."""


@dataclass(slots=True)
class Opening:
    """What opening a call yielded besides the opened :class:`Wire`."""

    #: Notes for the call log, e.g. the serial of the key that signed. No secrets, no personal data.
    notes: dict[str, str] = field(default_factory=dict)
    #: Called when the call was not taken in after all: it may come again with the same nonce.
    undo: list[Callable[[], None]] = field(default_factory=list)
    #: False for what lay in a queue, folder or mailbox: it may be old, and come again when its receipt got lost. There
    #: repetitions are recognised by control id and content, as without a scheme.
    live: bool = True

    def once(self, guard: ReplayGuard, signed_at: float, nonce: str) -> None:
        """A well-signed call: signed lately (seconds since 1970), and not seen before. Raises :class:`hub.security.Refused`."""
        if not self.live:
            return
        guard.check_time(signed_at)
        guard.remember(nonce)
        self.undo.append(lambda: guard.forget(nonce))

    def forget(self) -> None:
        for step in self.undo:
            step()


class Scheme:
    """One scheme of one interface. Four moments, each changing the wire in place; what a scheme does not do it leaves out.

    Called on the event loop for small bodies and in a thread for large ones or where :attr:`blocking`; one call at a time
    of an instance is not guaranteed, so state needs care. Opening raises :class:`hub.security.Refused`.
    """

    name: ClassVar[str]
    options: ClassVar[type[BaseModel]] = NoOptions
    #: Needs headers, address or status, which only HTTP has.
    needs_http: ClassVar[bool] = False
    #: Asks somebody else, e.g. a sign server: never on the event loop.
    blocking: bool = False
    #: Takes the keys of callers: what comes is opened with those of the credential it names. The hub then gives :attr:`door`.
    asks_caller: bool = False
    door: Door | None = None

    def __init__(self, options: Any) -> None:
        self._options = options

    def seal_request(self, wire: Wire) -> None:
        """Out: sign or encrypt what is about to be sent."""

    def open_reply(self, wire: Wire) -> None:
        """Out: check and decrypt what the target answered."""

    def open_request(self, wire: Wire, opening: Opening) -> None:
        """In: check and decrypt what came."""

    def seal_reply(self, wire: Wire) -> None:
        """In: sign or encrypt the answer."""
