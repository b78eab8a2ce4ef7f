"""All schemes of one interface, applied in order: sealing first to last, opening last to first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from hub.crypto.errors import CryptoError
from hub.errors import HubError, PermanentError, TransientError
from hub.i18n import t
from hub.logs import get_logger
from hub.security.errors import Refused, unreadable
from hub.security.scheme import Opening, Scheme
from hub.security.wire import Wire

__all__ = ["Protection"]

log = get_logger(__name__)

#: Below it hashing and decrypting is quicker than handing over to a thread.
_ON_LOOP_BYTES = 64 << 10
#: Ours to mend, not the caller's: a key is missing, a device or sign server can't be reached.
_OURS = frozenset(("security.key", "security.failed", "crypto.unavailable"))


class Protection:
    """``security`` of one interface, ready to use by its adapter."""

    def __init__(self, schemes: Sequence[Scheme]) -> None:
        self.schemes = tuple(schemes)
        self.names = tuple(scheme.name for scheme in schemes)
        self._reversed = tuple(reversed(self.schemes))
        self._blocking = any(scheme.blocking for scheme in schemes)

    def quick(self, size: int) -> bool:
        """Whether so many bytes are opened or sealed on the event loop, by :meth:`open_now` and :meth:`seal_now`."""
        return not self._blocking and size <= _ON_LOOP_BYTES

    async def seal_request(self, wire: Wire) -> None:
        """Out: before the call. Raises :class:`PermanentError` when it can't be signed or encrypted."""

        def work() -> None:
            for scheme in self.schemes:
                _run(scheme, scheme.seal_request, wire)

        try:
            await self._do(work, wire)
        except (PermanentError, TransientError):
            raise
        except HubError as error:
            kind = TransientError if error.code == "crypto.unavailable" else PermanentError
            raise kind(error.text, code=error.code) from error

    async def open_reply(self, wire: Wire) -> None:
        """Out: the target's reply. Raises :class:`TransientError` when it is not what was agreed: what it says is unknown."""

        def work() -> None:
            for scheme in self._reversed:
                _run(scheme, scheme.open_reply, wire)

        try:
            await self._do(work, wire)
        except (PermanentError, TransientError):
            raise
        except HubError as error:
            text = t(
                f"the reply is not protected as agreed, whether the call took effect is unknown: {error.text}",
                f"应答的签名或加密不符合约定，调用是否生效未知：{error.text}",
            )
            raise TransientError(text, code=error.code) from error

    async def open_request(self, wire: Wire) -> Opening:
        """In: before the message is handed over. Raises :class:`Refused`; nothing is remembered then."""
        if self.quick(len(wire.body)):
            return self.open_now(wire)
        return await asyncio.to_thread(self.open_now, wire)

    def open_now(self, wire: Wire, *, live: bool = True) -> Opening:
        """As :meth:`open_request`, at once. ``live``: see :class:`Opening`."""
        opening = Opening(live=live)
        try:
            for scheme in self._reversed:
                _run(scheme, scheme.open_request, wire, opening)
        except Refused:
            opening.forget()
            raise
        except HubError as error:
            opening.forget()
            if error.code in _OURS:
                raise Refused(error.text, code=error.code, remedy=error.remedy, status=503, retry_after=5) from error
            if isinstance(error, CryptoError):  # which step failed would help whoever tries
                raise unreadable() from error
            raise Refused(error.text, code=error.code, remedy=error.remedy, status=400) from error
        return opening

    async def seal_reply(self, wire: Wire) -> None:
        """In: the answer to the caller. Raises :class:`HubError` when it can't be signed or encrypted."""
        await self._do(lambda: self.seal_now(wire), wire)

    def seal_now(self, wire: Wire) -> None:
        """As :meth:`seal_reply`, at once."""
        for scheme in self.schemes:
            _run(scheme, scheme.seal_reply, wire)

    async def _do(self, work: Callable[[], None], wire: Wire) -> None:
        if self.quick(len(wire.body)):
            work()
        else:
            await asyncio.to_thread(work)


def _run(scheme: Scheme, step: Callable[..., None], *arguments: Any) -> None:
    """One step of one scheme; whatever a plugin's scheme throws becomes an error of this call only (invariant 5)."""
    try:
        step(*arguments)
    except HubError:
        raise
    except Exception as error:
        why = type(error).__name__
        log.error("security scheme %s failed: %s", scheme.name, why)  # not its text: it may hold what it was to protect
        raise HubError(
            t(f"security scheme {scheme.name!r} failed: {why}", f"安全方案 {scheme.name!r} 出错：{why}"),
            code="security.failed",
            remedy=t("tell the author of the scheme", "请联系该方案的作者"),
        ) from error
