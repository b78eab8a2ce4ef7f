"""An entry of the trail: who did what to what, when, from where, why, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, get_args

from hub.masking import mask_text

__all__ = ["CLASSES", "AuditClass", "Result", "acting_from", "address", "class_of", "entry"]

#: What an entry is about; each class is kept for a time of its own.
AuditClass = Literal["access", "config", "operation", "security", "system"]
CLASSES: tuple[AuditClass, ...] = get_args(AuditClass)

#: ``""``: it was done.
Result = Literal["", "refused", "failed"]

_SECURITY = "address approval audit auth caller client credential group keys login password person people role second session token user"
_CLASS_OF: dict[str, AuditClass] = {
    **dict.fromkeys(_SECURITY.split(), "security"),
    "audit.checkpoint": "system",
    "config": "config",
    "hub": "system",
    "access": "access",
}

_address: ContextVar[str] = ContextVar("audit_address", default="")


@contextmanager
def acting_from(where: str) -> Iterator[None]:
    """Within, entries are about somebody at this network address."""
    token = _address.set(where)
    try:
        yield
    finally:
        _address.reset(token)


def address() -> str:
    """Where the person is on whose behalf something is being done; "" where that is not known."""
    return _address.get()


def class_of(action: str) -> AuditClass:
    """The class of an action: by its whole name, else by what stands before the first dot, else ``operation``."""
    return _CLASS_OF.get(action) or _CLASS_OF.get(action.partition(".")[0], "operation")


def entry(
    actor: str,
    action: str,
    subject: str,
    detail: Mapping[str, Any] | str = "",
    reason: str = "",
    *,
    address: str = "",
    result: Result = "",
) -> dict[str, Any]:
    """An entry for the trail: who did what to what, with which particulars, and why they said they did it.

    ``at`` is the time in microseconds since the Unix epoch; as part of the entry it is covered by the hash. ``address`` is where the
    person was, by default what :func:`acting_from` said; it and ``result`` are left out where there is nothing to say.
    Personal data and secrets in ``detail`` and ``reason`` are masked.
    """
    made: dict[str, Any] = {
        "at": time.time_ns() // 1000,
        "actor": actor,
        "action": action,
        "subject": subject,
        "detail": _masked(detail),
        "reason": mask_text(reason),
    }
    if where := address or _address.get():
        made["address"] = where
    if result:
        made["result"] = result
    return made


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, Mapping):
        # Label and value together: a lone "张三丰" is only recognised as a name by the label that stands before it.
        return {str(k): _masked_pair(str(k), v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(v) for v in value]
    return value


def _masked_pair(label: str, value: Any) -> Any:
    if not isinstance(value, str):
        return _masked(value)
    head = f"{label}="
    whole = mask_text(head + value)
    return whole[len(head) :] if whole.startswith(head) else mask_text(value)
