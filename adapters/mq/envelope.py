"""What travels around the body of a queue's message: properties and headers, in and out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from adapters.template import MissingVariable, Template
from hub.api import ExchangeError, HubError, Outgoing, PermanentError, SendError, UnreachableError
from hub.i18n import t
from hub.logs import get_logger
from hub.masking import mask_text

__all__ = [
    "ERROR_CODE",
    "ERROR_TEXT",
    "Filler",
    "check_templates",
    "control_of",
    "error_headers",
    "params_of",
    "unexpected",
]

log = get_logger(__name__)

#: Headers of a refused message or of the answer to a refused request.
ERROR_CODE = "x-error-code"
ERROR_TEXT = "x-error-text"

_MOST_HEADERS = 64
_LONGEST_VALUE = 256
_LONGEST_CONTROL = 256
_NOT_A_NAME = re.compile(r"\W", re.ASCII)


def control_of(value: Any) -> str:
    """A message id as control id; one too long to be kept, or unprintable, counts as none."""
    text = value if isinstance(value, str) else ""
    return text if len(text) <= _LONGEST_CONTROL and text.isprintable() else ""


def params_of(known: Mapping[str, Any], headers: Mapping[Any, Any] | Iterable[tuple[Any, Any]]) -> dict[str, str]:
    """Params of the call log and of expressions: properties by their names, headers as ``header_<name>``, masked.

    Names keep ASCII letters, digits and ``_``, in lower case; everything else becomes ``_``. At most 64 headers of 256
    characters; of tables and lists only that they are there.
    """
    found: dict[str, str] = {}
    for name, value in known.items():
        text = _text(value)
        if text:
            found[name] = text
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    for number, (key, value) in enumerate(pairs):
        if number == _MOST_HEADERS:
            break
        name = "header_" + _NOT_A_NAME.sub("_", str(key)[:_LONGEST_VALUE]).lower()
        if name not in found:
            found[name] = _text(value)
    return found


def _text(value: Any) -> str:
    if isinstance(value, str):
        text = value[:_LONGEST_VALUE]
    elif isinstance(value, bytes):
        text = value[:_LONGEST_VALUE].decode("utf-8", "replace")
    elif isinstance(value, bool):
        return "true" if value else "false"
    elif value is None:
        return ""
    elif isinstance(value, datetime):
        return value.isoformat()
    elif isinstance(value, dict | list | tuple):
        return f"({len(value)})"
    else:
        text = str(value)[:_LONGEST_VALUE]
    if not text.isprintable():
        text = "".join(char if char.isprintable() else "?" for char in text)
    return mask_text(text)


def error_headers(error: HubError | None) -> dict[str, str]:
    """The reason of a refusal in the headers of what is parked or answered; masked, one line."""
    if error is None:
        return {ERROR_CODE: "hub.refused", ERROR_TEXT: t("refused by the hub", "平台拒绝接收")}
    text = " ".join(mask_text(str(error)).split())
    headers = {ERROR_CODE: error.code, ERROR_TEXT: text[:400]}
    if isinstance(error, ExchangeError):
        headers["x-error-kind"] = error.kind
        if error.reply_code.isprintable():
            headers["x-target-code"] = mask_text(error.reply_code)[:64]
    return headers


def unexpected(error: Exception, place: str) -> SendError:
    """For the loop of a receiver, which has to go on whatever happens: a fault of ours, told in the log with its place."""
    log.error("%s: unexpected", place, exc_info=error)
    name = type(error).__name__
    return UnreachableError(t(f"reading failed: {name}", f"读取失败：{name}"), code="hub.unexpected")


# -- out -----------------------------------------------------------------------------------------------------------------


def check_templates(*texts: str) -> None:
    """Raise ``ValueError`` for a template that can't be read."""
    for text in texts:
        Template(text)


class Filler:
    """Templates of one interface, filled from the variables of a call; ``{type}`` and ``{control_id}`` are always there."""

    def __init__(self, place: str, texts: Mapping[str, str]) -> None:
        self._place = place
        self._templates = [(name, Template(text)) for name, text in texts.items()]
        fixed = not any(template.names for _, template in self._templates)
        self._fixed = dict(texts) if fixed else None

    def fill(self, outgoing: Outgoing) -> dict[str, str]:
        """Raises :class:`PermanentError` for a variable without a value or a value with control characters."""
        if self._fixed is not None:
            return self._fixed
        variables = {"type": outgoing.type, "control_id": outgoing.control_id, **outgoing.variables}
        found = {}
        for name, template in self._templates:
            try:
                found[name] = template.fill(variables, _printable)
            except MissingVariable as error:
                raise PermanentError(
                    t(
                        f"{self._place}: the call has no value for {{{error.name}}}",
                        f"{self._place}：调用缺少 {{{error.name}}} 的值",
                    ),
                    code="mq.variable",
                ) from None
        return found


def _printable(value: str) -> str:
    if not value.isprintable():
        raise PermanentError(
            t("a value for the routing key or a header has control characters", "路由键或消息头的值含有控制字符"),
            code="mq.variable",
        )
    return value
