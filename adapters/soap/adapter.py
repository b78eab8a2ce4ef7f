"""The adapter ``soap``."""

from __future__ import annotations

from adapters.http.server import ServerPool
from adapters.soap.options import SoapConnect, SoapListen
from adapters.soap.receiver import SoapReceiver
from adapters.soap.sender import SoapSender
from hub.api import Adapter, Bound, IntakePort, Receiver, Sender

__all__ = ["SoapAdapter"]


class SoapAdapter(Adapter):
    """SOAP over HTTP. Its receivers share one server for each host and port, also with other adapters on the same pool."""

    name = "soap"
    listen_options = SoapListen
    connect_options = SoapConnect
    protects = ("in", "out")

    def __init__(self, servers: ServerPool | None = None) -> None:
        self._servers = servers if servers is not None else ServerPool()

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        return SoapReceiver(bound, intake, self._servers)

    def sender(self, bound: Bound) -> Sender:
        return SoapSender(bound)
