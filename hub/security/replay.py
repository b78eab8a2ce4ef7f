"""Calls that were signed lately and are remembered, so that nobody can send one of them again."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b

from hub.i18n import t
from hub.security.errors import Refused

__all__ = ["ReplayGuard"]

_LONGEST = 64  # characters of a nonce that are kept as they are


class ReplayGuard:
    """Remembers what came within the window. Memory ends with the process: what was signed before it began is refused.

    That refusal costs an honest caller one call signed anew; a memory on disk would cost a write for each call.
    ``skew`` is how far the clock of a caller may be behind, seconds. Used from the event loop and from threads.
    """

    def __init__(
        self, window: float, *, limit: int = 100_000, skew: float = 5.0, now: Callable[[], float] = time.time
    ) -> None:
        self.window = window
        self._limit = limit
        self._now = now
        self._since = now() - skew
        self._seen: OrderedDict[str, float] = OrderedDict()  # nonce -> until when it must be remembered
        self._lock = threading.Lock()  # two copies of a large call are opened in two threads

    def check_time(self, signed_at: float) -> None:
        """``signed_at``: seconds since 1970. Raises :class:`Refused` outside the window."""
        if abs(signed_at - self._now()) > self.window:
            raise Refused(
                t("the call was not signed within the agreed time", "签名时间不在约定范围内"),
                code="security.time",
                remedy=t("check the clock of both sides and the unit of the timestamp", "请检查双方时钟及时间戳单位"),
            )
        if signed_at < self._since:
            raise Refused(
                t("the call was signed before the hub was started", "该调用签名于枢纽启动之前"),
                code="security.restarted",
                remedy=t("sign the call anew and send it again", "请重新签名后再次发送"),
            )

    def remember(self, nonce: str) -> None:
        """Raises :class:`Refused` when it came before, or when no more can be remembered just now."""
        nonce = _short(nonce)
        with self._lock:
            now, seen = self._now(), self._seen
            while seen:
                first = next(iter(seen))
                if seen[first] > now:
                    break
                del seen[first]
            if nonce in seen:
                raise Refused(
                    t("this call came before", "该调用此前已收到"),
                    code="security.replayed",
                    remedy=t("sign every call anew", "每次调用请重新签名"),
                )
            if len(seen) >= self._limit:
                raise Refused(
                    t("too many signed calls within the window", "时间窗口内的签名调用过多"),
                    code="security.many",
                    remedy=t("send the same again later", "请稍后重发"),
                    status=429,
                    retry_after=5,
                )
            seen[nonce] = now + 2 * self.window  # one from the future stays good so much longer

    def forget(self, nonce: str) -> None:
        """The call was not taken in: the same may come again."""
        with self._lock:
            self._seen.pop(_short(nonce), None)


def _short(nonce: str) -> str:
    """A caller chooses how long its nonces are, but not how much memory they take."""
    if len(nonce) <= _LONGEST:
        return nonce
    return blake2b(nonce.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()
