"""The adapter ``amqp1``."""

from __future__ import annotations

from adapters.amqp1.options import Amqp1Connect, Amqp1Listen
from hub.api import Adapter, Bound, HubError, IntakePort, Receiver, Sender
from hub.i18n import t

__all__ = ["Amqp1Adapter"]


class Amqp1Adapter(Adapter):
    """Queues and topics of brokers that speak AMQP 1.0."""

    name = "amqp1"
    listen_options = Amqp1Listen
    connect_options = Amqp1Connect
    queued = True

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        try:
            from adapters.amqp1.receiver import Amqp1Receiver
        except ImportError as error:
            raise _missing() from error
        return Amqp1Receiver(bound, intake)

    def sender(self, bound: Bound) -> Sender:
        try:
            from adapters.amqp1.sender import Amqp1Sender
        except ImportError as error:
            raise _missing() from error
        return Amqp1Sender(bound)


def _missing() -> HubError:
    """Proton is compiled when it is installed, which not every machine can: it is an extra."""
    return HubError(
        t("AMQP 1.0 needs python-qpid-proton, which is not installed", "AMQP 1.0 需要 python-qpid-proton，尚未安装"),
        code="adapter.missing",
        remedy=t(
            "install a C compiler and Python's headers, then: pip install 'tongqu[amqp1]'",
            "请先安装 C 编译器与 Python 头文件，然后执行：pip install 'tongqu[amqp1]'",
        ),
    )
