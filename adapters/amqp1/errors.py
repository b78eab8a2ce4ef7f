"""Why a broker ended or refused something, in the hub's words."""

from __future__ import annotations

from typing import Any

from adapters.mq.stomp_link import explain as explain_connection
from hub.api import PermanentError, SendError, TransientError, UnreachableError
from hub.i18n import t
from hub.masking import mask_text

__all__ = ["Refused", "explain", "refusal"]

#: Conditions of the standard (part 2, section 2.8.15 ff.) that name a missing or unsuitable node.
_TOPOLOGY = ("amqp:not-found", "amqp:resource-locked", "amqp:resource-deleted", "amqp:link:redirect")
_LOGIN = ("amqp:unauthorized-access",)
#: Conditions of a rejected message that may be gone later; without one nobody can tell.
_PASSING = (
    "",
    "amqp:resource-limit-exceeded",
    "amqp:internal-error",
    "amqp:resource-locked",
    "amqp:transaction:timeout",
)


class Refused(Exception):
    """An error condition the peer named: ``name`` is its symbol."""

    def __init__(self, condition: Any) -> None:
        self.name = str(condition.name or "")[:100] if condition is not None else ""
        said = str(condition.description or "") if condition is not None else ""
        text = "".join(char if char.isprintable() else " " for char in f"{self.name} {said[:1000]}")
        super().__init__(mask_text(" ".join(text.split())[:300]) or "closed without a reason")


def explain(error: Exception, address: str) -> SendError:
    """Why a connection could not be opened or ended, or a link could not be attached; nothing has reached an application."""
    if not isinstance(error, Refused):
        return explain_connection(error, address)
    if error.name in _LOGIN:
        return UnreachableError(
            t(
                f"{address} refuses: {error} -> check user, password, virtual host and permissions",
                f"{address} 拒绝：{error} -> 请检查用户、密码、虚拟主机与权限",
            ),
            code="mq.login",
        )
    if error.name in _TOPOLOGY:
        return UnreachableError(
            t(f"{address}: {error} -> check source or target", f"{address}：{error} -> 请检查 source 或 target"),
            code="mq.topology",
        )
    if error.name == "amqp:resource-limit-exceeded" and "idle-timeout" in str(error):
        return explain_connection(TimeoutError(), address)
    if error.name == "amqp:connection:framing-error":
        return UnreachableError(
            t(f"{address} does not speak AMQP 1.0: {error}", f"{address} 不是 AMQP 1.0 服务：{error}"),
            code="mq.protocol",
        )
    return UnreachableError(t(f"{address} refuses: {error}", f"{address} 拒绝：{error}"), code="mq.refused")


def refusal(condition: Any, address: str) -> SendError:
    """For a message with the outcome *rejected*."""
    error = Refused(condition)
    if error.name in _PASSING:
        return TransientError(
            t(f"{address} does not take the message: {error}", f"{address} 未接收该消息：{error}"), code="mq.nack"
        )
    return PermanentError(
        t(f"{address} refuses the message: {error}", f"{address} 拒绝该消息：{error}"), code="mq.refused"
    )
