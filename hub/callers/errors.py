"""Why a call was turned away. The texts tell a caller what to do, and somebody who tries nothing."""

from __future__ import annotations

from hub.access import AccessError
from hub.i18n import t
from hub.security.errors import Refused

__all__ = [
    "CallerRefused",
    "CallersError",
    "address_refused",
    "no_credentials",
    "not_available",
    "over_limit",
    "over_quota",
    "place_refused",
    "restricted",
    "type_refused",
    "wrong_credentials",
]


class CallersError(AccessError):
    """An order about callers that can't be carried out."""

    code = "callers.invalid"


class CallerRefused(Refused):
    """A call that is not let in; ``status`` as HTTP has it, ``retry_after`` in seconds."""

    code = "caller.refused"


def no_credentials() -> CallerRefused:
    return CallerRefused(
        t("credentials are missing", "缺少认证信息"), code="caller.missing", remedy=_send_yours(), status=401
    )


def wrong_credentials() -> CallerRefused:
    """Of everything that is wrong about them: unknown, wrong, expired, revoked, another caller's, of a disabled caller."""
    return CallerRefused(
        t("the credentials are not valid", "认证信息无效"), code="caller.wrong", remedy=_send_yours(), status=401
    )


def address_refused() -> CallerRefused:
    return CallerRefused(
        t("calls from this address are not taken", "不接受来自该地址的调用"),
        code="caller.address",
        remedy=t("have the address allowed by the hub's operator", "请联系枢纽运维方放行该地址"),
        status=403,
    )


def place_refused() -> CallerRefused:
    return CallerRefused(
        t("the caller may not use this interface", "调用方无权使用此接口"),
        code="caller.interface",
        remedy=t("apply to the hub's operator for the interface", "请向枢纽运维方申请该接口的权限"),
        status=403,
    )


def type_refused(message_type: str) -> CallerRefused:
    return CallerRefused(
        t(f"the caller may not send messages of type {message_type}", f"调用方无权发送 {message_type} 类型的消息"),
        code="caller.type",
        remedy=t("apply to the hub's operator for the message type", "请向枢纽运维方申请该消息类型的权限"),
        status=403,
    )


def restricted(seconds: int) -> CallerRefused:
    return CallerRefused(
        t("calls are not taken for the time being, after too many that were refused", "被拒绝的调用过多，暂时限制调用"),
        code="caller.restricted",
        remedy=t("stop, correct the calls, and try again after Retry-After", "请停止调用并更正，待 Retry-After 后再试"),
        status=429,
        retry_after=seconds,
    )


def over_limit(seconds: int) -> CallerRefused:
    return CallerRefused(
        t("too many calls", "调用过于频繁"),
        code="caller.rate",
        remedy=t(
            "call less often; Retry-After says when the next is taken",
            "请降低调用频率，Retry-After 给出可再次调用的时间",
        ),
        status=429,
        retry_after=seconds,
    )


def over_quota(period: str, seconds: int) -> CallerRefused:
    word = {"day": t("day", "日"), "month": t("month", "月"), "year": t("year", "年")}[period]
    return CallerRefused(
        t(f"the calls of this {word} are used up", f"本{word}调用配额已用完"),
        code="caller.quota",
        remedy=t("wait until Retry-After, or apply for more", "请等待至 Retry-After，或申请提高配额"),
        status=429,
        retry_after=seconds,
    )


def not_available() -> CallerRefused:
    """The registry can't be read: nobody is let in unchecked."""
    return CallerRefused(
        t("callers can't be checked just now", "暂时无法核验调用方"),
        code="caller.unavailable",
        remedy=t("send the same again later", "请稍后重发"),
        status=503,
        retry_after=5,
    )


def _send_yours() -> str:
    return t("send the credentials issued to you, while they are valid", "请携带签发给您且在有效期内的认证信息")
