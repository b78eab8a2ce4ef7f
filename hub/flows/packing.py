"""Messages as they are kept until a flow asks for them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from hub.errors import HubError
from hub.flows.events import Arrived
from hub.i18n import t

__all__ = ["packed", "unpacked"]

#: Most bytes of a message that is kept.
_MOST = 1 << 20


def packed(place: str, raw: bytes, answers: str) -> dict[str, Any]:
    """What is kept of a message besides its envelope; one that is too large is kept without its bytes."""
    if len(raw) > _MOST:
        return {"place": place, "answers": answers}
    return {"place": place, "answers": answers, "raw": base64.b64encode(raw).decode()}


def unpacked(kept: dict[str, Any], decode: Callable[[str, bytes], Any]) -> Arrived:
    """The message again; ``decode`` reads bytes of a place. Raises :class:`HubError`."""
    if "raw" not in kept:
        raise HubError(
            t("a message larger than 1 MB came before it was waited for", "超过 1 MB 的消息早于流程等待到达"),
            code="flow.large",
        )
    return Arrived(
        event=str(kept["event"]),
        place=str(kept["place"]),
        type=str(kept["type"]),
        message_id=int(kept["message"]),
        tree=decode(str(kept["place"]), base64.b64decode(kept["raw"])),
        pack={name: kept[name] for name in ("place", "answers", "raw")},
        answers=str(kept.get("answers", "")),
    )
