"""The built-in adapters, offered to the kernel through the same hook as those of an installed package."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from hub.api import Adapter, Bound, HubError, IntakePort, Receiver, Sender, hookimpl
from hub.i18n import t

if TYPE_CHECKING:
    from hub.simulator.counterpart import Counterpart

__all__ = ["hub_adapters"]

#: Name of each adapter, its module and class.
_CLASSES = (
    ("mllp", "adapters.mllp", "MllpAdapter"),
    ("tcp", "adapters.tcp", "TcpAdapter"),
    ("astm", "adapters.tcp", "AstmAdapter"),
    ("http", "adapters.http", "HttpAdapter"),
    ("http_poll", "adapters.http", "HttpPollAdapter"),
    ("soap", "adapters.soap", "SoapAdapter"),
    ("sql", "adapters.sql", "SqlAdapter"),
    ("file", "adapters.files", "FileAdapter"),
    ("ftp", "adapters.files", "FtpAdapter"),
    ("sftp", "adapters.files", "SftpAdapter"),
    ("mq", "adapters.mq.adapter", "MqAdapter"),
    ("redis", "adapters.mq.redis", "RedisAdapter"),
    ("stomp", "adapters.mq.stomp", "StompAdapter"),
    ("amqp1", "adapters.amqp1.adapter", "Amqp1Adapter"),
    ("kafka", "adapters.kafka.adapter", "KafkaAdapter"),
    ("dicom", "adapters.dicom", "DicomAdapter"),
    ("dicomweb", "adapters.dicomweb", "DicomWebAdapter"),
    ("fhir", "adapters.fhir", "FhirAdapter"),
    ("fhir_poll", "adapters.fhir", "FhirPollAdapter"),
    ("fhir_subscriptions", "adapters.fhir.subscriptions.feed", "FhirSubscriptionsAdapter"),
    ("mail", "adapters.mail", "MailAdapter"),
    ("cmpp", "adapters.cmpp.adapter", "CmppAdapter"),
    ("results", "adapters.results", "ResultsAdapter"),
    ("timer", "adapters.timer", "TimerAdapter"),
    ("reconcile", "adapters.reconcile", "ReconcileAdapter"),
)
#: Those whose listeners share one server for each host and port.
_SHARING = ("dicomweb", "fhir", "http", "soap")


class _Servers:
    """The servers that the adapters of :data:`_SHARING` share; made when the first of them is loaded."""

    @cached_property
    def pool(self) -> Any:
        return import_module("adapters.http.server").ServerPool()


class _OnDemand(Adapter):
    """An adapter whose code is loaded when the first interface needs it: who only speaks MLLP waits for no database library."""

    def __init__(self, name: str, module: str, kind: str, servers: _Servers) -> None:
        self.name = name  # type: ignore[misc]  # one class stands for all of them
        self._module = module
        self._kind = kind
        self._servers = servers

    @cached_property
    def _adapter(self) -> Adapter:
        try:
            kind = getattr(import_module(self._module), self._kind)
            made: Adapter = kind(self._servers.pool) if self.name in _SHARING else kind()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise HubError(
                t(
                    f"adapter {self.name!r} can't be loaded: {reason}",
                    f"无法加载适配器 {self.name!r}：{reason}",
                ),
                code="adapter.missing",
                remedy=t("install the hub with all its dependencies", "请安装枢纽的全部依赖"),
            ) from error
        return made

    @property
    def listen_options(self) -> type[BaseModel] | None:  # type: ignore[override]  # known once it is loaded
        return self._adapter.listen_options

    @property
    def connect_options(self) -> type[BaseModel] | None:  # type: ignore[override]  # as above
        return self._adapter.connect_options

    @property
    def reads_source(self) -> bool:  # type: ignore[override]  # as above
        return self._adapter.reads_source

    @property
    def alone(self) -> bool:  # type: ignore[override]  # as above
        return self._adapter.alone

    @property
    def protects(self) -> tuple[Literal["in", "out"], ...]:  # type: ignore[override]  # as above
        return self._adapter.protects

    @property
    def opaque(self) -> bool:  # type: ignore[override]  # as above
        return self._adapter.opaque

    @property
    def queued(self) -> bool:  # type: ignore[override]  # as above
        return self._adapter.queued

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        return self._adapter.receiver(bound, intake)

    def descriptions(self, options: BaseModel, address: str = "") -> Mapping[str, bytes]:
        return self._adapter.descriptions(options, address)

    def sender(self, bound: Bound) -> Sender:
        return self._adapter.sender(bound)

    def counterpart(self) -> Counterpart | None:
        return self._adapter.counterpart()


@hookimpl
def hub_adapters() -> list[Adapter]:
    """One object per adapter. One whose libraries are missing is told where an interface uses it; the others work."""
    servers = _Servers()
    return [_OnDemand(name, module, kind, servers) for name, module, kind in _CLASSES]
