"""Errors of librdkafka in the hub's words and classes."""

from __future__ import annotations

from confluent_kafka import KafkaError

from hub.api import PermanentError, SendError, TransientError, UnreachableError
from hub.i18n import t
from hub.masking import mask_text

__all__ = ["Trouble", "delivery_error", "explain"]

_LOGIN = (
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
    KafkaError.ILLEGAL_SASL_STATE,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
)
_TOPOLOGY = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.TOPIC_EXCEPTION,
)
#: The broker has said no to these very bytes.
_REFUSED = (
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_MSG,
    KafkaError.INVALID_RECORD,
    KafkaError.INVALID_TIMESTAMP,
    KafkaError.POLICY_VIOLATION,
)
#: It did not take them, for a reason that may pass.
_NOT_NOW = (
    KafkaError.NOT_ENOUGH_REPLICAS,
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError.THROTTLING_QUOTA_EXCEEDED,
    KafkaError._QUEUE_FULL,
)
_SLOW = (KafkaError._TIMED_OUT, KafkaError.REQUEST_TIMED_OUT, KafkaError._MSG_TIMED_OUT)
#: What librdkafka tells of one connection, from which the cause of a general failure is seen.
_CAUSES = (
    KafkaError._AUTHENTICATION,
    KafkaError._SSL,
    KafkaError._RESOLVE,
    KafkaError._TRANSPORT,
    KafkaError.SASL_AUTHENTICATION_FAILED,
)


class Trouble:
    """What the error callback of a client has told: the last cause, and whether no broker is left."""

    __slots__ = ("cause", "down", "fatal")

    def __init__(self) -> None:
        self.cause: KafkaError | None = None
        self.down = False
        self.fatal = False

    def told(self, error: KafkaError) -> None:
        """The callback ``error_cb``."""
        if error.fatal():
            self.fatal = True
        if error.code() in _CAUSES and (self.cause is None or error.code() != KafkaError._TRANSPORT):
            self.cause = error
        if error.code() == KafkaError._ALL_BROKERS_DOWN or error.code() in _LOGIN:
            self.down = True

    def over(self) -> None:
        self.cause, self.down = None, False


def _said(error: KafkaError) -> str:
    text = "".join(char if char.isprintable() else " " for char in error.str())
    return mask_text(" ".join(text.split())[:300])


def explain(error: KafkaError, address: str, cause: KafkaError | None = None) -> SendError:
    """Why the cluster can't be used; nothing has reached it. ``cause``: what its connections told before."""
    if cause is not None and error.code() not in _LOGIN + _TOPOLOGY:
        error = cause
    code, said = error.code(), _said(error)
    if code in _LOGIN:
        return UnreachableError(
            t(
                f"{address} refuses: {said} -> check user, password, mechanism and permissions",
                f"{address} 拒绝：{said} -> 请检查用户、密码、机制与权限",
            ),
            code="mq.login",
        )
    if code in (KafkaError._SSL, KafkaError._INVALID_ARG) and ("ssl" in said.lower() or "certificate" in said.lower()):
        return UnreachableError(
            t(
                f"{address}: TLS failed: {said} -> check tls.ca, and that the brokers' hosts are in their certificates",
                f"{address}：TLS 失败：{said} -> 请检查 tls.ca，以及证书中是否含有各节点的主机名",
            ),
            code="mq.certificate",
        )
    if code in _TOPOLOGY:
        return UnreachableError(
            t(f"{address}: {said} -> create the topic or correct its name", f"{address}：{said} -> 请创建或更正主题"),
            code="mq.topology",
        )
    if code in _SLOW:
        return UnreachableError(
            t(f"{address} does not answer in time", f"{address} 未在规定时间内应答"), code="mq.timeout"
        )
    return UnreachableError(t(f"{address}: {said}", f"{address}：{said}"), code="mq.unreachable")


def delivery_error(error: KafkaError, address: str) -> SendError:
    """For a delivery report that is no success."""
    code, said = error.code(), _said(error)
    if code in _REFUSED:
        return PermanentError(
            t(f"{address} refuses the message: {said}", f"{address} 拒绝该消息：{said}"), code="mq.refused"
        )
    if code in _TOPOLOGY + _LOGIN:
        return explain(error, address)
    if code in _NOT_NOW:
        return TransientError(
            t(f"{address} does not take the message: {said}", f"{address} 未接收该消息：{said}"), code="mq.nack"
        )
    return TransientError(
        t(
            f"{address}: {said}; the cluster may have the message",
            f"{address}：{said}；消息可能已被接收",
        ),
        code="mq.unconfirmed",
    )
