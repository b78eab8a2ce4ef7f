"""Messages as they are kept until a flow asks for them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from hub.errors import HubError
from hub.flows.events import Arrived
from hub.i18n import t

__all__ = ["keepable", "must_fit", "packed", "unpacked"]

#: Most bytes of a message that is kept.
_MOST = 1 << 20
#: Messages that are kept for one instance; and their bytes, which are written anew with each event.
_MOST_KEPT, _MOST_KEPT_BYTES = 50, 4 << 20


def packed(place: str, raw: bytes, answers: str) -> dict[str, Any]:
    """What is kept of a message besides its envelope; one that is too large can't be kept, see :func:`keepable`."""
    if len(raw) > _MOST:
        return {"place": place, "answers": answers, "large": True}
    return {"place": place, "answers": answers, "raw": base64.b64encode(raw).decode()}


def keepable(pack: dict[str, Any]) -> dict[str, Any]:
    """The same. Raises :class:`HubError` for what is too large: a dead letter can be sent again, what is left out is gone."""
    if pack.get("large"):
        raise HubError(
            t("a message larger than 1 MB came before it was waited for", "超过 1 MB 的消息早于流程等待到达"),
            code="flow.large",
            remedy=t("send it again once the flow waits for it", "请在流程等待该消息时重发"),
        )
    return pack


def must_fit(number: int, size: int) -> None:
    """Raises :class:`HubError` where so many messages, of so many bytes, with the new one, are more than are kept for an instance."""
    if number <= _MOST_KEPT and size <= _MOST_KEPT_BYTES:
        return
    raise HubError(
        t(
            f"{number - 1} messages wait already until the flow asks for them: there is no room for another",
            f"已有 {number - 1} 条消息等待流程接收，无法再保存",
        ),
        code="flow.full",
        remedy=t("send it again once the flow waits for it", "请在流程等待该消息时重发"),
    )


def unpacked(kept: dict[str, Any], decode: Callable[[str, bytes], Any]) -> Arrived:
    """The message again; ``decode`` reads bytes of a place. Raises :class:`HubError`."""
    return Arrived(
        event=str(kept["event"]),
        place=str(kept["place"]),
        type=str(kept["type"]),
        message_id=int(kept["message"]),
        tree=decode(str(kept["place"]), base64.b64decode(kept["raw"])),
        pack={name: kept[name] for name in ("place", "answers", "raw")},
        answers=str(kept.get("answers", "")),
    )
