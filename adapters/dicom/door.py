"""Who is not let in: strangers, TLS that fails, associations that were rejected. One row of the call log in a while, not one for each."""

from __future__ import annotations

import time
from collections.abc import Callable

from adapters.access import AllowList
from adapters.dicom.network import HubAssociation
from hub.api import HubError
from hub.i18n import t
from hub.masking import mask_text

__all__ = ["Door"]

_TELL_EVERY_S = 1.0


class Door:
    """Of one interface; called in threads. ``tell``: records a refusal (what, address)."""

    def __init__(self, allow: AllowList, tell: Callable[[HubError, str], None]) -> None:
        self._allow = allow
        self._tell = tell
        self._told = -_TELL_EVERY_S
        self.strangers = self.rejected = 0

    def permits(self, address: str) -> bool:
        if self._allow.permits(address):
            return True
        self.strangers += 1
        error = HubError(
            t(f"address {address} may not connect", f"地址 {address} 不允许连接"),
            code="dicom.not_allowed",
            remedy=t("add it to allow of the interface", "请将其加入接口的 allow"),
        )
        self._once(error, address)
        return False

    def bad_tls(self, address: str, error: Exception) -> None:
        self.rejected += 1
        reason = getattr(error, "reason", None) or type(error).__name__
        text = t(f"no TLS connection with {address}: {reason}", f"无法与 {address} 建立 TLS 连接：{reason}")
        self._once(HubError(text, code="tls.handshake"), address)

    def turned_away(self, association: HubAssociation) -> None:
        """An association was rejected."""
        self.rejected += 1
        asked = association.requestor.primitive
        calling, called = (asked.calling_ae_title.strip(), asked.called_ae_title.strip()) if asked else ("", "")
        error = HubError(
            t(
                f"the association of {mask_text(calling)} for {mask_text(called)} was rejected",
                f"已拒绝 {mask_text(calling)} 对 {mask_text(called)} 的关联请求",
            ),
            code="dicom.rejected",
            remedy=t(
                "see ae_title, calling and max_associations of the interface",
                "请检查接口的 ae_title、calling 与 max_associations",
            ),
        )
        self._once(error, association.peer)

    def _once(self, error: HubError, remote: str) -> None:
        now = time.monotonic()
        if now - self._told > _TELL_EVERY_S:
            self._told = now
            self._tell(error, remote)
